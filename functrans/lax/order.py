"""Sorting, and scans with an associative operation, with JAX's signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors, tree
from ..ir.op import OPS
from ..numpy.core import asvalue, axis_of, convert
from ..numpy.indexing import take_along_axis
from ..numpy.sorting import lexsort
from ..trace.core import aval_of


def sort(operand, dimension: int = -1, is_stable: bool = True, num_keys: int = 1):
    """The operand sorted along a dimension; a tuple of arrays is sorted by its first ``num_keys``.

    Ties of the first key are broken by the second, and so on. Always stable; nan last.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.sort((np.array([2, 1, 2]), np.array([7.0, 8.0, 6.0])), num_keys=2)
    (array([1, 2, 2]), array([8., 6., 7.]))
    """
    if not isinstance(operand, (list, tuple)):
        x = asvalue(operand)
        return OPS["sort"](x, axis=axis_of(dimension, aval_of(x).ndim))
    operands = [asvalue(x) for x in operand]
    if not 1 <= num_keys <= len(operands):
        raise errors.ArgumentError(f"lax.sort: num_keys must be from 1 to the {len(operands)} operands, got "
                                   f"{num_keys}.")
    shapes = {aval_of(x).shape for x in operands}
    if len(shapes) > 1:
        raise errors.ShapeError(f"lax.sort: operands have shapes {sorted(shapes)}.", "They must be equal.")
    axis = axis_of(dimension, aval_of(operands[0]).ndim)
    if num_keys == 1:
        order = OPS["argsort"](operands[0], axis=axis, descending=False)
    else:
        order = lexsort.traced(tuple(operands[num_keys - 1::-1]), axis)
    return tuple([take_along_axis.traced(x, order, axis) for x in operands])


def sort_key_val(keys, values, dimension: int = -1, is_stable: bool = True):
    """Keys sorted along a dimension, and values moved in the same way."""
    return sort((keys, values), dimension, is_stable)


def top_k(operand, k: int, *, axis: int = -1):
    """(values, positions) of the k greatest along an axis, greatest first; nan counts as greatest.

    Positions are int64 (int32 in JAX); of equal elements the first come first.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.top_k(np.array([1.0, 9.0, 3.0]), 2)
    (array([9., 3.]), array([1, 2]))
    """
    x = asvalue(operand)
    a = aval_of(x)
    if not a.ndim:
        raise errors.ShapeError("lax.top_k of a scalar: it has no axis.", "Use np.atleast_1d.")
    axis = axis_of(axis, a.ndim)
    places = OPS["top_k"](x, k=k.__index__(), axis=axis)
    return take_along_axis.traced(x, places, axis), places


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes of ``elems`` combined by an associative ``fn``, in about log2(n) vectorised steps.

    Args:
      fn: ``(a, b) -> c`` on pytrees like ``elems``, whose leaves have any extent along ``axis``: it must
        work on many elements at once.
      elems: a pytree of arrays of one extent along ``axis``.
      reverse: combine from the end.

    Returns a pytree like ``elems``. Method: pairs are combined, the half as long row is scanned in the
    same way, and its results are combined with the elements in between (Blelloch, "Prefix sums and their
    applications", 1990).

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.associative_scan(np.multiply, np.array([1.0, 2.0, 3.0, 4.0]))
    array([ 1.,  2.,  6., 24.])
    """
    leaves, structure = tree.flatten(elems)
    leaves = [asvalue(x) for x in leaves]
    if not leaves:
        return elems
    ranks = [aval_of(x).ndim for x in leaves]
    axes = [axis_of(axis, n) for n in ranks]
    extents = {aval_of(x).shape[d] for x, d in zip(leaves, axes, strict=True)}
    if len(extents) > 1:
        raise errors.ShapeError(f"lax.associative_scan: the leaves have extents {sorted(extents)} along axis "
                                f"{axis}.", "They must be equal.")

    def cut(xs: Sequence[Any], start: int, stop: int, step: int = 1) -> list[Any]:
        return [x[(*[slice(None)] * d, slice(start, stop, step))] for x, d in zip(xs, axes, strict=True)]

    def combined(a: list[Any], b: list[Any]) -> list[Any]:
        out, found = tree.flatten(fn(tree.unflatten(structure, a), tree.unflatten(structure, b)))
        if found != structure:
            raise errors.TreeError(f"lax.associative_scan: fn returned {found} of operands {structure}.",
                                   "Return a pytree like its operands.")
        for x, y in zip(out, a, strict=True):
            if aval_of(x).shape != aval_of(y).shape:
                raise errors.ShapeError(f"lax.associative_scan: fn of {aval_of(y)} returned {aval_of(x)}.",
                                        "It must keep the shapes of its operands.")
        return [convert(x, aval_of(y).dtype) for x, y in zip(out, a, strict=True)]

    def woven(even: list[Any], odd: list[Any], n: int) -> list[Any]:
        """Elements in turn: even first."""
        out = []
        for x, y, d in zip(even, odd, axes, strict=True):
            m = aval_of(y).shape[d]
            pairs = np.stack([x[(*[slice(None)] * d, slice(0, m))], y], d + 1)
            shape = list(aval_of(x).shape)
            shape[d] = 2 * m
            joined = np.reshape(pairs, shape)
            out.append(joined if n == 2 * m else
                       np.concatenate([joined, x[(*[slice(None)] * d, slice(m, None))]], d))
        return out

    def scan(xs: list[Any], n: int) -> list[Any]:
        if n < 2:
            return xs
        half = n // 2
        odd = scan(combined(cut(xs, 0, 2 * half, 2), cut(xs, 1, 2 * half, 2)), half)
        rest = (n - 1) // 2
        even = cut(xs, 0, 1)
        if rest:
            later = combined(cut(odd, 0, rest), cut(xs, 2, n, 2))
            even = [np.concatenate([a, b], d) for a, b, d in zip(even, later, axes, strict=True)]
        return woven(even, odd, n)

    if reverse:
        leaves = [np.flip(x, d) for x, d in zip(leaves, axes, strict=True)]
    leaves = scan(leaves, extents.pop())
    if reverse:
        leaves = [np.flip(x, d) for x, d in zip(leaves, axes, strict=True)]
    return tree.unflatten(structure, leaves)


__all__ = ["associative_scan", "sort", "sort_key_val", "top_k"]
