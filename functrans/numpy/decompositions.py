"""numpy.linalg: decompositions, solvers and what follows from them, on stacks of matrices.

NumPy raises LinAlgError where a matrix has no decomposition; a compiled program gives NaN (or inf)
for that matrix and the right result for the others of the stack.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import errors
from ..ops import determinant, matrix_functions, spectral
from ..ops import matrices as mat
from ..ops import solve as solving
from .core import (
    asvalue,
    aval_of,
    broadcast_shape,
    broadcast_to,
    convert,
    implements,
    is_number,
    promote,
    shape_of,
)


class SVDResult(NamedTuple):
    U: Any
    S: Any
    Vh: Any


class EighResult(NamedTuple):
    eigenvalues: Any
    eigenvectors: Any


class EigResult(NamedTuple):
    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    sign: Any
    logabsdet: Any


def inexact(x):
    """x as a float or complex array, as numpy.linalg computes."""
    x = asvalue(x)
    return x if aval_of(x).dtype.kind in "fc" and aval_of(x).dtype != np.float16 else convert(x, np.float64)


def check_matrices(name, x, square=False):
    """The number of axes of x, which must be a stack of matrices; ShapeError for anything else."""
    shape = shape_of(x)
    if len(shape) < 2:
        raise errors.ShapeError(f"{name}: a matrix needs two axes, got {aval_of(x)}.",
                                "Add axes with x[None].")
    if square and shape[-1] != shape[-2]:
        raise errors.ShapeError(f"{name}: the last two axes must be equal, got {aval_of(x)}.",
                                "Pass square matrices.")
    return len(shape)


def matrices(name, a, square=False):
    """a as a stack of inexact matrices."""
    a = inexact(a)
    check_matrices(name, a, square)
    return a


def symmetric(a):
    """(a + a') / 2: exact for a symmetric matrix, and makes the derivative symmetric."""
    return np.multiply(np.add(a, mat.h(a)), 0.5)


def _square(name, a, uplo=None):
    a = matrices(name, a, square=True)
    if uplo is None:
        return symmetric(a)
    half = mat.lower_part(a) if uplo == "L" else mat.upper_part(a)
    strict = (mat.lower_part if uplo == "L" else mat.upper_part)(a, strict=True)
    return np.add(half, mat.h(strict))


def _uplo(name, uplo):
    if str(uplo).upper() not in ("L", "U"):
        raise ValueError(f"{name}: UPLO must be 'L' or 'U', got {uplo!r}")


@implements(np.linalg.cholesky)
def cholesky(a, /, *, upper=False, symmetrize_input=True):
    """The lower triangular factor l of a = l l' (or with ``upper`` the upper one, u' u = a).

    ``a`` [..., n, n] stands for (a + a') / 2, so that its derivative is symmetric;
    ``symmetrize_input=False`` reads the lower triangle only, as NumPy does. A matrix that is not
    positive definite gives NaN.

    >>> import numpy as np, functrans as ft
    >>> ft.jit(np.linalg.cholesky)(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    a = _square("cholesky", a) if symmetrize_input else matrices("cholesky", a, square=True)
    factor = solving.cholesky(a)
    return mat.h(factor) if upper else factor


@implements(np.linalg.eigh)
def eigh(a, UPLO="L", *, symmetrize_input=True):
    """Eigenvalues, ascending, and eigenvectors (columns) of symmetric or Hermitian matrices.

    ``a`` [..., n, n] stands for (a + a') / 2; ``symmetrize_input=False`` reads one triangle only,
    as NumPy does. Derivatives of eigenvalues are right for equal ones too, in functions that treat
    these alike. The derivative of eigenvectors whose eigenvalues are equal (to rounding) is NaN where it
    is needed: no choice of them is smooth.
    """
    _uplo("eigh", UPLO)
    w, v = spectral.eigh(_square("eigh", a, None if symmetrize_input else str(UPLO).upper()), vectors=True)
    return EighResult(w, v)


@implements(np.linalg.eigvalsh)
def eigvalsh(a, UPLO="L", *, symmetrize_input=True):
    """Eigenvalues of symmetric or Hermitian matrices, ascending. See :func:`eigh`."""
    _uplo("eigvalsh", UPLO)
    a = _square("eigvalsh", a, None if symmetrize_input else str(UPLO).upper())
    return spectral.eigh(a, vectors=False)[0]


@implements(np.linalg.eig)
def eig(a):
    """Eigenvalues and right eigenvectors (columns, of length 1) of square matrices: complex."""
    w, v = spectral.eig(matrices("eig", a, square=True), left=False, right=True)
    return EigResult(w, v)


@implements(np.linalg.eigvals)
def eigvals(a):
    """Eigenvalues of square matrices: complex, in LAPACK's order."""
    return spectral.eig(matrices("eigvals", a, square=True), left=False, right=False)[0]


@implements(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    """Singular values, descending, and vectors: a = u @ diag(s) @ vh.

    The derivative of vectors needs ``full_matrices=False`` unless ``a`` is square. Vectors of equal
    singular values have NaN for a derivative where it is needed, as in :func:`eigh`.
    """
    a = matrices("svd", a)
    if not compute_uv:
        return spectral.svd(a, full=False, vectors=False)[0]
    return SVDResult(*spectral.svd(a, full=bool(full_matrices), vectors=True))


@implements(np.linalg.svdvals)
def svdvals(x, /):
    """Singular values, descending."""
    return spectral.svd(matrices("svdvals", x), full=False, vectors=False)[0]


@implements(np.linalg.qr)
def qr(a, mode="reduced"):
    """q with orthonormal columns and upper triangular r: a = q @ r.

    ``mode`` is 'reduced', 'complete' or 'r'. The derivative of 'complete' needs a square matrix.
    """
    a = matrices("qr", a)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    m, n = shape_of(a)[-2:]
    if m < n:              # the square part decides q; the rest of r follows, and with it the derivative
        q, r = solving.qr(a[..., :m], full=False)
        r = np.concatenate([r, np.matmul(mat.h(q), a[..., m:])], axis=-1)
    else:
        q, r = solving.qr(a, full=mode == "complete" and m != n)
    return r if mode == "r" else QRResult(q, r)


def ordered_schur(t, z, choose, by_parts=False):
    """A Schur form whose first eigenvalues are those for which ``choose``, a function of arrays, holds; and
    for which it does, of the given form's. ``by_parts``: it takes their real and imaginary parts."""
    w = np.diagonal(t, axis1=-2, axis2=-1)
    if aval_of(t).dtype.kind != "c":
        size = [np.sqrt(np.abs(np.diagonal(t, k, axis1=-2, axis2=-1))) for k in (-1, 1)]
        pairs = np.multiply(*size)                     # of blocks of 2, else 0
        none = np.zeros_like(w[..., :1])
        imag = np.subtract(np.concatenate([pairs, none], -1), np.concatenate([none, pairs], -1))
        w = (w, imag) if by_parts else w + 1j * imag
    chosen = choose(*w) if by_parts else choose(w)
    chosen = np.not_equal(asvalue(chosen), 0)
    if shape_of(chosen) != shape_of(t)[:-1]:
        raise errors.ShapeError(
            f"schur: which eigenvalues come first is {aval_of(chosen)}, not a truth value for each of "
            f"{shape_of(t)[:-1]}.", "Write the function for arrays, with & and |.")
    if aval_of(t).dtype.kind != "c" and shape_of(t)[-1] > 1:  # either of a pair chooses both
        linked = np.not_equal(np.diagonal(t, -1, axis1=-2, axis2=-1), 0)
        no = np.zeros_like(linked[..., :1])
        chosen = chosen | (np.concatenate([no, chosen[..., :-1] & linked], -1)) | (
            np.concatenate([chosen[..., 1:] & linked, no], -1))
    return *matrix_functions.schur_order(chosen, t, z), chosen


@implements(np.linalg.solve)
def solve(a, b):
    """x of a @ x = b; ``b`` is a vector if it has one axis, else a stack of matrices.

    Singular matrices give inf or NaN.
    """
    a, b = promote(inexact(a), inexact(b))
    a = matrices("solve", a, square=True)
    vector = len(shape_of(b)) == 1
    if not shape_of(b):
        raise errors.ShapeError(f"solve: b needs an axis, got {aval_of(b)}.", "Pass b[None].")
    if vector:
        b = b[..., None]
    if shape_of(b)[-2] != shape_of(a)[-1]:
        raise errors.ShapeError(f"solve: {aval_of(a)} and {aval_of(b)} do not fit.",
                                "b needs as many rows as a.")
    a, b = same_lead(a, b)
    x = solving.solve(a, b)
    return x[..., 0] if vector else x


def same_lead(*xs):
    """Stacks of matrices with their leading axes broadcast."""
    lead = broadcast_shape(*[shape_of(x)[:-2] for x in xs])
    return [broadcast_to(x, (*lead, *shape_of(x)[-2:])) for x in xs]


@implements(np.linalg.inv)
def inv(a):
    """Inverses of square matrices. Singular ones give inf or NaN."""
    return solving.inverse(matrices("inv", a, square=True))


@implements(np.linalg.det)
def det(a):
    """Determinants; the derivative is right for singular matrices too."""
    return determinant.det(matrices("det", a, square=True))


@implements(np.linalg.slogdet)
def slogdet(a):
    """Sign and logarithm of the size of determinants."""
    return SlogdetResult(*determinant.slogdet(matrices("slogdet", a, square=True)))


def _rtol(a, rtol):
    """A number, or an array with one for each matrix of the stack."""
    dtype = aval_of(a).dtype
    if rtol is None:
        return max(shape_of(a)[-2:]) * float(np.finfo(dtype).eps)
    if is_number(rtol):
        return float(rtol)
    return np.broadcast_to(convert(asvalue(rtol), np.dtype(dtype.char.lower())), shape_of(a)[:-2])


@implements(np.linalg.pinv)
def pinv(a, rcond=None, hermitian=False, *, rtol=np._NoValue):
    """Moore-Penrose inverses; singular values up to ``rtol`` times the largest count as 0.

    ``rtol`` is a number or an array [...], one for each matrix of a stack [..., m, n]; it counts as constant.
    The default is NumPy's: 1e-15 for ``rcond``, max(m, n) * eps where ``rtol`` is None. The derivative
    (Golub and Pereyra 1973) holds where the rank does not change.
    """
    a = matrices("pinv", a)
    given = rtol if rcond is None else rcond
    tol = 1e-15 if given is np._NoValue else _rtol(a, given)
    return spectral.pinv(a, rtol=tol) if isinstance(tol, float) else spectral.pinv(a, tol, rtol=None)


@implements(np.linalg.lstsq)
def lstsq(a, b, rcond=None):
    """Least-squares solutions ``(x, residuals, rank, s)`` of a @ x = b, as numpy.linalg.lstsq."""
    a, b = promote(inexact(a), inexact(b))
    a = matrices("lstsq", a)
    vector = len(shape_of(b)) == 1
    if vector:
        b = b[:, None]
    if len(shape_of(a)) != 2 or len(shape_of(b)) != 2 or shape_of(a)[0] != shape_of(b)[0]:
        raise errors.ShapeError(f"lstsq: {aval_of(a)} and {aval_of(b)} do not fit.",
                                "Pass a [m, n] and b [m] or [m, k]; map over stacks with functrans.vmap.")
    m, n = shape_of(a)
    rtol = _rtol(a, None if rcond is None else max(float(rcond), 0.0))
    if 0 in (m, n, shape_of(b)[1]):
        s = svdvals.traced(a)
        x, rank = np.matmul(spectral.pinv(a, rtol=rtol), b), _rank(s, rtol)
    else:
        x, s, rank = spectral.lstsq(a, b, rtol=rtol)
    rest = np.sum(np.square(np.abs(np.subtract(b, np.matmul(a, x)))), axis=0)
    if m <= n:
        rest = rest[:0]
    return (x[:, 0] if vector else x), rest, convert(rank, np.int32), s


def _rank(s, rtol):
    if shape_of(s)[-1] == 0:
        return np.sum(np.greater(s, 0), axis=-1)
    rtol = rtol if isinstance(rtol, float) else np.expand_dims(rtol, -1)
    return np.sum(np.greater(s, np.multiply(np.max(s, axis=-1, keepdims=True), rtol)), axis=-1)


@implements(np.linalg.matrix_rank)
def matrix_rank(A, tol=None, hermitian=False, *, rtol=None):
    """Number of singular values above ``tol``, or above ``rtol`` times the largest."""
    A = inexact(A)
    if len(shape_of(A)) < 2:
        return np.any(np.not_equal(A, 0)).astype(np.int64)
    s = svdvals.traced(A)
    if tol is None:
        return _rank(s, _rtol(A, rtol))
    return np.sum(np.greater(s, np.expand_dims(asvalue(tol), -1)), axis=-1)


@implements(np.linalg.cond)
def cond(x, p=None):
    """Condition numbers: ratio of the extreme singular values, or norm(x) * norm(inv(x))."""
    x = matrices("cond", x)
    if p in (None, 2, -2):
        s = svdvals.traced(x)
        return np.divide(s[..., -1], s[..., 0]) if p == -2 else np.divide(s[..., 0], s[..., -1])
    x = matrices("cond", x, square=True)
    return np.multiply(np.linalg.norm(x, ord=p, axis=(-2, -1)),
                       np.linalg.norm(inv.traced(x), ord=p, axis=(-2, -1)))


@implements(np.linalg.tensorinv)
def tensorinv(a, ind=2):
    """The inverse of a with respect to tensordot over its first ``ind`` axes."""
    a = inexact(a)
    if ind <= 0:
        raise ValueError(f"tensorinv: ind must be positive, got {ind}")
    shape = shape_of(a)
    rows = math.prod(shape[:ind])
    return np.reshape(inv.traced(np.reshape(a, (rows, -1))), (*shape[ind:], *shape[:ind]))


@implements(np.linalg.tensorsolve)
def tensorsolve(a, b, axes=None):
    """x of tensordot(a, x, x.ndim) = b."""
    a, b = inexact(a), inexact(b)
    ndim = len(shape_of(a))
    if axes is not None:
        kept = [i for i in range(ndim) if i not in axes]
        a = np.transpose(a, (*kept, *axes))
    out = shape_of(a)[len(shape_of(b)):]
    x = solve.traced(np.reshape(a, (-1, math.prod(out))), np.reshape(b, (-1,)))
    return np.reshape(x, out)
