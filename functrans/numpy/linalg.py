"""numpy.linalg: norms, products and powers of matrices.

Norms are compositions; their derivative at 0 is 0, since elementwise derivatives have strong zeros.
Decompositions and solvers are in ``decompositions``.
"""

from __future__ import annotations

import functools

import numpy as np

from .. import errors
from . import products
from .complexes import squared
from .core import asvalue, aval_of, axes_of, axis_of, convert, implements, promote, refuse_out, shape_of
from .decompositions import (
    EighResult,
    EigResult,
    QRResult,
    SlogdetResult,
    SVDResult,
    check_matrices,
    cholesky,
    cond,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    inexact,
    inv,
    lstsq,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
)

# ----- norms --------------------------------------------------------------------------------------




def _sum(x, axes, keepdims):
    return np.sum(x, axis=axes, keepdims=keepdims)


def _max(x, axes, keepdims):
    return np.max(x, axis=axes, keepdims=keepdims)


def _min(x, axes, keepdims):
    return np.min(x, axis=axes, keepdims=keepdims)


def _vector_norm(x, ord, axes, keepdims):
    if ord is None or ord == 2:
        return np.sqrt(_sum(squared(x), axes, keepdims))
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order {ord!r} for vectors")
    if ord == np.inf:
        return _max(np.abs(x), axes, keepdims)
    if ord == -np.inf:
        return _min(np.abs(x), axes, keepdims)
    if ord == 0:
        return _sum(convert(np.not_equal(x, 0), np.abs(x).dtype), axes, keepdims)
    if ord == 1:
        return _sum(np.abs(x), axes, keepdims)
    ord = float(ord)
    return np.power(_sum(np.power(np.abs(x), ord), axes, keepdims), 1.0 / ord)


def _matrix_norm(x, ord, rows, cols, keepdims):
    if rows == cols:
        raise ValueError("Duplicate axes given.")
    if ord is None or ord in ("fro", "f"):
        return np.sqrt(_sum(squared(x), (rows, cols), keepdims))
    if ord in (2, -2, "nuc"):
        s = svdvals.traced(products.transposed(x, (*[i for i in range(len(shape_of(x))) if i not in (
            rows, cols)], rows, cols)))
        found = _sum(s, -1, False) if ord == "nuc" else (_max if ord == 2 else _min)(s, -1, False)
        return np.expand_dims(found, tuple(sorted((rows, cols)))) if keepdims else found
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError("Invalid norm order for matrices.")
    along, other = (rows, cols) if abs(ord) == 1 else (cols, rows)
    sums = _sum(np.abs(x), along, True)
    best = (_max if ord > 0 else _min)(sums, other, True)
    return best if keepdims else np.squeeze(best, axis=(rows, cols))


def _of_floats(norm):
    """Integers count as float64; of float16 the norm is float16, computed in float32."""
    @functools.wraps(norm)
    def wrapped(x, *args, **kwargs):
        x = asvalue(x)
        if aval_of(x).dtype == np.float16:
            return convert(norm(convert(x, np.float32), *args, **kwargs), np.float16)
        return norm(inexact(x), *args, **kwargs)
    return wrapped


@implements(np.linalg.norm)
@_of_floats
def norm(x, ord=None, axis=None, keepdims=False):
    """Norm of vectors along an axis, or of matrices in two axes."""
    ndim = len(shape_of(x))
    if axis is None:
        if ord is None:
            return _vector_norm(x, None, tuple(range(ndim)), keepdims)
        if ndim not in (1, 2):
            raise ValueError(f"norm: ord={ord!r} of {aval_of(x)} is neither a vector's nor a matrix's "
                             "norm. Improper number of dimensions to norm; give axis=")
        axis = tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple([axis_of(a, ndim) for a in axes])
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, *axes, keepdims)
    raise ValueError("Improper number of dimensions to norm: axis must name one or two axes")


@implements(np.linalg.vector_norm)
@_of_floats
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    """Norm of all elements along axes, read as one vector."""
    return _vector_norm(x, ord, axes_of(axis, len(shape_of(x))), keepdims)


@implements(np.linalg.matrix_norm)
@_of_floats
def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    """Norms of the matrices in the last two axes."""
    ndim = check_matrices("matrix_norm", x)
    return _matrix_norm(x, ord, ndim - 2, ndim - 1, keepdims)


# ----- products and powers ------------------------------------------------------------------------


@implements(np.linalg.multi_dot)
def multi_dot(arrays, *, out=None):
    """Product of several matrices, in the order of multiplication that costs least.

    The first and the last may be vectors.
    """
    refuse_out(out)
    arrays = promote(*arrays)
    n = len(arrays)
    if n < 2:
        raise ValueError("multi_dot: expecting at least two arrays")
    first, last = len(shape_of(arrays[0])) == 1, len(shape_of(arrays[-1])) == 1
    if first:
        arrays[0] = np.reshape(arrays[0], (1, -1))
    if last:
        arrays[-1] = np.reshape(arrays[-1], (-1, 1))
    for a in arrays:
        if len(shape_of(a)) != 2:
            raise errors.ShapeError(f"multi_dot: matrices are needed, got {aval_of(a)}.",
                                    "Only the first and the last may be vectors.")
    sizes = [shape_of(a)[0] for a in arrays] + [shape_of(arrays[-1])[1]]
    cut = _cheapest_order(sizes)

    def product(i, j):
        if i == j:
            return arrays[i]
        k = cut[i, j]
        return products.dot(product(i, k), product(k + 1, j))

    result = product(0, n - 1)
    if first or last:
        rows, cols = shape_of(result)
        result = np.reshape(result, (() if first else (rows,)) + (() if last else (cols,)))
    return result


def _cheapest_order(sizes):
    """Where to split each run i..j of a chain of matrices, matrix i being sizes[i] x sizes[i+1]."""
    n = len(sizes) - 1
    cost, cut = {(i, i): 0 for i in range(n)}, {}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i, j], cut[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j))
    return cut


@implements(np.linalg.matrix_power)
def matrix_power(a, n):
    """Square matrices to the power of an integer, by repeated squaring."""
    a = asvalue(a)
    check_matrices("matrix_power", a, square=True)
    n = n.__index__()
    if n < 0:
        a, n = inv.traced(a), -n
    if n == 0:
        return np.broadcast_to(np.eye(shape_of(a)[-1], dtype=aval_of(a).dtype), shape_of(a)).copy()
    result, square = None, a
    while True:
        if n & 1:
            result = square if result is None else np.matmul(result, square)
        n >>= 1
        if not n:
            return result
        square = np.matmul(square, square)


# ----- the same names as elsewhere, on the last two axes


@implements(np.linalg.matmul)
def matmul(x1, x2, /):
    """Matrix product; axes before the last two broadcast."""
    return np.matmul(asvalue(x1), asvalue(x2))


@implements(np.linalg.vecdot)
def vecdot(x1, x2, /, *, axis=-1):
    """Dot products of the vectors along ``axis``."""
    return products.vecdot.traced(x1, x2, axis=axis)


@implements(np.linalg.tensordot)
def tensordot(x1, x2, /, *, axes=2):
    """Sums over given axes of both."""
    return products.tensordot.traced(x1, x2, axes)


@implements(np.linalg.outer)
def outer(x1, x2, /):
    """All products of the elements of two vectors."""
    x1, x2 = asvalue(x1), asvalue(x2)
    for x in (x1, x2):
        if len(shape_of(x)) != 1:
            raise errors.ShapeError(f"outer: vectors are needed, got {aval_of(x)}.",
                                    "numpy.outer flattens its arguments.")
    return products.outer.traced(x1, x2)


@implements(np.linalg.cross)
def cross(x1, x2, /, *, axis=-1):
    """Cross products of vectors of three components."""
    x1, x2 = asvalue(x1), asvalue(x2)
    for x in (x1, x2):
        if shape_of(x)[axis_of(axis, len(shape_of(x)))] != 3:
            raise errors.ShapeError(f"cross: three components are needed along axis {axis}, got "
                                    f"{aval_of(x)}.", "numpy.cross takes two components as well.")
    return products.cross.traced(x1, x2, axis=axis)


@implements(np.linalg.trace)
def trace(x, /, *, offset=0, dtype=None):
    """Sums of the diagonals of the last two axes."""
    return np.trace(x, offset=offset, axis1=-2, axis2=-1, dtype=dtype)


@implements(np.linalg.diagonal)
def diagonal(x, /, *, offset=0):
    """Diagonals of the last two axes."""
    return np.diagonal(x, offset=offset, axis1=-2, axis2=-1)


@implements(np.linalg.matrix_transpose)
def matrix_transpose(x, /):
    """The last two axes exchanged."""
    x = asvalue(x)
    ndim = check_matrices("matrix_transpose", x)
    return products.transposed(x, (*range(ndim - 2), ndim - 1, ndim - 2))

LinAlgError = np.linalg.LinAlgError

__all__ = ["cholesky", "cond", "cross", "det", "diagonal", "eig", "EigResult", "eigh", "EighResult",
           "eigvals", "eigvalsh", "inv", "LinAlgError", "lstsq", "matmul", "matrix_norm", "matrix_power",
           "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "QRResult",
           "slogdet", "SlogdetResult", "solve", "svd", "svdvals", "SVDResult", "tensordot", "tensorinv",
           "tensorsolve", "trace", "vecdot", "vector_norm"]
