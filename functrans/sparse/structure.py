"""How a sparse matrix is found from few products with it: seeds, and where each entry is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import ArgumentError, SparsityError
from .coloring import ORDERS, color_acyclic, color_columns, color_star, substitute, substitution


def as_pattern(sparsity, shape) -> sp.csr_array:
    """A pattern given by a user (any matrix: its nonzeros) as csr_array of bool, without duplicates."""
    p = sp.csr_array(sparsity).astype(bool)
    if p.shape != shape:
        raise SparsityError(f"the sparsity pattern has shape {p.shape}, the derivative {shape}.",
                            "One row per element of the result, one column per element of the argument.")
    p.sum_duplicates()
    p.eliminate_zeros()
    return p


class Structure:
    """A pattern, its colouring, and how entries are read from compressed products.

    Attributes:
      pattern: csr_array of bool.
      colors: int64 array, the colour of each column (of each row, for ``mode="reverse"``).
      n_colors: how many products an evaluation takes.
      mode: "forward" (products with columns: jvp or hvp) or "reverse" (with rows: vjp).
      where: for each entry, in the order of the result's data, its place in the products, [n_colors, size].
    """

    def __init__(self, pattern: sp.csr_array, colors: np.ndarray, mode: str, layout: str):
        pattern.sort_indices()
        self.pattern, self.colors, self.mode = pattern, colors, mode
        self.n_colors = int(colors.max(initial=-1)) + 1
        numbers = np.arange(1, pattern.nnz + 1)
        ordered = sp.csr_array((numbers, pattern.indices, pattern.indptr), pattern.shape).asformat(layout)
        ordered.sort_indices()
        self.layout = layout
        self.order = ordered.data - 1           # entry of the pattern (by rows) of each entry of the result
        index = np.int32 if max(*pattern.shape, pattern.nnz) < 2**31 else np.int64
        self.indices, self.indptr = ordered.indices.astype(index), ordered.indptr.astype(index)
        for a in (self.indices, self.indptr):   # shared by all results
            a.flags.writeable = False
        self.where = self._places()[self.order]

    @property
    def rows(self) -> np.ndarray:
        """The row of each entry."""
        return np.repeat(np.arange(self.pattern.shape[0]), np.diff(self.pattern.indptr))

    def _places(self) -> np.ndarray:
        m, n = self.pattern.shape
        if self.mode == "reverse":
            return self.colors[self.rows] * n + self.pattern.indices
        return self.colors[self.pattern.indices] * m + self.rows

    def seeds(self, dtype) -> np.ndarray:
        """The directions, [n_colors, size]."""
        size = len(self.colors)
        s = np.zeros((self.n_colors, size), dtype)
        s[self.colors, np.arange(size)] = 1
        return s

    def entries(self, values: np.ndarray) -> np.ndarray:
        """The result's data from the values at ``where``."""
        return values

    def matrix(self, data: np.ndarray):
        """The result: a sparse array that shares its structure with the others."""
        kind = sp.csr_array if self.layout == "csr" else sp.csc_array
        made = kind((data, self.indices, self.indptr), self.pattern.shape, copy=False)
        made.has_canonical_format = True
        return made


class Star(Structure):
    """Of a symmetric matrix: an entry is alone with its colour in its row, or its mirror image is."""

    def _places(self):
        n = self.pattern.shape[0]
        i, j = self.rows, self.pattern.indices
        key = i * self.n_colors + self.colors[j]
        _, at, count = np.unique(key, return_inverse=True, return_counts=True)
        alone = count[at] == 1
        return np.where(alone, self.colors[j] * n + i, self.colors[i] * n + j)


class Acyclic(Structure):
    """Of a symmetric matrix: entries follow from one another by substitution."""

    def __init__(self, pattern, colors, trees, edges, layout):
        super().__init__(pattern, colors, "forward", layout)
        off = np.flatnonzero(self.rows != self.pattern.indices)
        self.off, self.twin = off, edges[2]
        self.steps = substitution(*edges, trees)
        self.back = np.argsort(self.order)

    def entries(self, values):
        by_rows = values[self.back]
        mixed = np.ascontiguousarray(by_rows[self.off], np.float64)
        found = np.empty(len(mixed))
        entry, low, high, n_slots = self.steps
        substitute(mixed, found, entry, self.twin, low, high, n_slots)
        by_rows[self.off] = found
        return by_rows[self.order]


def _indices(x) -> tuple[np.ndarray, np.ndarray]:
    return x.indptr.astype(np.int64), x.indices.astype(np.int64)


def columns_colored(pattern, order: str) -> np.ndarray:
    """A colour for each column; columns that share a row differ."""
    if order not in ORDERS:
        raise ArgumentError(f"order is {order!r}.", f"Use one of {', '.join(map(repr, ORDERS))}.")
    by_column, by_row = pattern.tocsc(), pattern.tocsr()
    n = pattern.shape[1]
    if n and np.diff(by_row.indptr).max(initial=0) == n:        # a row holds all of them: all differ
        return np.arange(n)
    return color_columns(*_indices(by_column), *_indices(by_row), order)


def of_jacobian(pattern, mode: str, order: str, layout: str) -> Structure:
    """The cheaper of both directions, unless ``mode`` chooses: a vjp costs about as much as two jvps."""
    if mode == "forward":
        return Structure(pattern, columns_colored(pattern, order), mode, layout)
    by_rows = columns_colored(pattern.T, order)
    if mode == "auto":
        by_columns = columns_colored(pattern, order)
        if by_columns.max(initial=-1) <= 2 * by_rows.max(initial=-1) + 1:
            return Structure(pattern, by_columns, "forward", layout)
    return Structure(pattern, by_rows, "reverse", layout)


def of_hessian(pattern, coloring: str, order: str, layout: str) -> Structure:
    """``coloring`` is "star" (entries are read off), "acyclic" (fewer products; entries are substituted,
    which adds rounding errors up) or "column" (symmetry is not used)."""
    if coloring == "column" or pattern.nnz == pattern.shape[0] ** 2:
        return Structure(pattern, columns_colored(pattern, order), "forward", layout)
    if order not in ORDERS:
        raise ArgumentError(f"order is {order!r}.", f"Use one of {', '.join(map(repr, ORDERS))}.")
    pattern.sort_indices()
    edges = _edges(pattern)
    if coloring == "star":
        return Star(pattern, color_star(*edges[:2], order), "forward", layout)
    colors, trees = color_acyclic(*edges, order)
    return Acyclic(pattern, colors, trees, edges, layout)


def _edges(pattern) -> Any:
    """Off-diagonal entries by rows, and where the mirror image of each is: ``(start, ends, twin)``."""
    n = pattern.shape[0]
    rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
    off = rows != pattern.indices
    i, j = rows[off], pattern.indices[off].astype(np.int64)
    start = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=n))]).astype(np.int64)
    # sorted by (i, j), so position k of the entries sorted by (j, i) holds entry k's mirror image
    return start, j, np.lexsort((i, j)).astype(np.int64)
