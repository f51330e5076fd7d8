"""scipy.linalg on traced arrays; functions without a traced argument are SciPy's own.

Matrices are the last two axes, any number of axes before them. ``overwrite_*`` and ``check_finite``
are accepted and mean nothing: nothing is overwritten, and what is not finite gives NaN.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..lax.linalg import lu_pivots_to_permutation
from ..numpy import decompositions as np_linalg
from ..numpy.core import asvalue, aval_of, convert, promote, shape_of, traced
from ..numpy.decompositions import inexact, matrices, ordered_schur, same_lead, symmetric
from ..ops import matrices as mat
from ..ops import matrix_functions, spectral
from ..ops import solve as solving

_IGNORED = ("overwrite_a", "overwrite_b", "overwrite_x", "check_finite")


def _scipy(function):
    """Without traced arguments, SciPy's function of this name."""
    name = function.__name__

    @functools.wraps(function)
    def public(*args, **kwargs):
        if any(traced(x) for x in args) or any(traced(x) for x in kwargs.values()):
            for k in _IGNORED:
                kwargs.pop(k, None)
            return function(*args, **kwargs)
        import scipy.linalg
        return getattr(scipy.linalg, name)(*args, **kwargs)

    public.traced = function
    return public


def _columns(b):
    """b as matrices, and whether it was one vector."""
    vector = len(shape_of(b)) == 1
    return (b[..., None] if vector else b), vector


def _fit(name, a, b):
    a, b = promote(inexact(a), inexact(b))
    a = matrices(name, a, square=True)
    b, vector = _columns(b)
    if shape_of(b)[-2] != shape_of(a)[-1]:
        raise errors.ShapeError(f"{name}: {aval_of(a)} and {aval_of(b)} do not fit.",
                                "b needs as many rows as a.")
    a, b = same_lead(a, b)
    return a, b, vector


def _out(x, vector):
    return x[..., 0] if vector else x


_TRANS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}


def _trans(name, trans):
    if trans not in _TRANS:
        raise ValueError(f"{name}: trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}")
    return _TRANS[trans]


# ----- factorisations -----------------------------------------------------------------------------------


@_scipy
def cholesky(a, lower=False):
    """The triangular factor: u' u = a, or with ``lower`` l l' = a. NaN where a is not positive definite."""
    return np_linalg.cholesky.traced(a, upper=not lower)


@_scipy
def cho_factor(a, lower=False):
    """``(factor, lower)`` for :func:`cho_solve`; the other triangle of the factor is 0."""
    return cholesky.traced(a, lower), bool(lower)


@_scipy
def cho_solve(c_and_lower, b):
    """x of a @ x = b, from ``cho_factor(a)``."""
    c, lower = c_and_lower
    c, b, vector = _fit("cho_solve", c, b)
    for trans in (0, 2) if lower else (2, 0):
        b = solving.triangular_solve(c, b, lower=bool(lower), trans=trans, unit=False)
    return _out(b, vector)


@_scipy
def lu(a, permute_l=False, p_indices=False):
    """``(p, l, u)`` with a = p @ l @ u; ``(p @ l, u)`` with ``permute_l``."""
    factors, _, perm = solving.lu(matrices("lu", a))
    m, n = shape_of(a)[-2:]
    k = min(m, n)
    left = np.add(np.tril(factors[..., :k], -1), np.eye(m, k, dtype=aval_of(factors).dtype))
    right = np.triu(factors[..., :k, :])
    back = _inverse_permutation(perm)
    if permute_l:
        return solving.permute_rows(left, back), right
    if p_indices:
        return back, left, right
    return np.equal(perm[..., None, :], np.arange(m)[:, None]).astype(aval_of(factors).dtype), left, right


def _inverse_permutation(perm):
    """Where each row went."""
    m = shape_of(perm)[-1]
    hit = np.equal(perm[..., None, :], np.arange(m)[:, None])
    return np.sum(np.where(hit, np.arange(m), 0), axis=-1)


@_scipy
def lu_factor(a):
    """``(lu, piv)``: both triangular factors in one matrix, and the row exchanged with each row."""
    factors, pivots, _ = solving.lu(matrices("lu_factor", a, square=True))
    return factors, pivots


@_scipy
def lu_solve(lu_and_piv, b, trans=0):
    """x of op(a) @ x = b, from ``lu_factor(a)``; op by ``trans``: 0 a, 1 its transpose, 2 its conjugate."""
    factors, pivots = lu_and_piv
    trans = _trans("lu_solve", trans)
    factors, b, vector = _fit("lu_solve", factors, b)
    perm = lu_pivots_to_permutation(pivots, shape_of(factors)[-1])
    perm = np.broadcast_to(perm, (*shape_of(factors)[:-2], shape_of(perm)[-1]))

    def triangular(x, lower):
        return solving.triangular_solve(factors, x, lower=lower, trans=trans, unit=lower)

    if trans == 0:
        return _out(triangular(triangular(solving.permute_rows(b, perm), True), False), vector)
    x = triangular(triangular(b, False), True)
    return _out(solving.permute_rows(x, _inverse_permutation(perm)), vector)


@_scipy
def qr(a, mode="full"):
    """``(q, r)`` with a = q @ r; ``mode`` is 'full', 'economic' or 'r'. No pivoting."""
    modes = {"full": "complete", "economic": "reduced", "r": "r"}
    if mode not in modes:
        raise ValueError(f"qr: mode must be one of {sorted(modes)}, got {mode!r}")
    out = np_linalg.qr.traced(a, modes[mode])
    return (out,) if mode == "r" else tuple(out)


@_scipy
def svd(a, full_matrices=True, compute_uv=True):
    """``(u, s, vh)``, or s alone. See functrans.numpy.linalg.svd."""
    out = np_linalg.svd.traced(a, full_matrices, compute_uv)
    return tuple(out) if compute_uv else out


@_scipy
def svdvals(a):
    """Singular values, descending."""
    return np_linalg.svdvals.traced(a)


@_scipy
def polar(a, side="right"):
    """``(u, p)``: a = u @ p (side 'left': p @ u); u has orthonormal columns, p is positive semidefinite."""
    if side not in ("right", "left"):
        raise ValueError(f"polar: side must be 'left' or 'right', got {side!r}")
    w, s, vh = np_linalg.svd.traced(a, full_matrices=False)
    u = np.matmul(w, vh)
    if side == "right":
        return u, np.matmul(np.multiply(mat.h(vh), s[..., None, :]), vh)
    return u, np.matmul(np.multiply(w, s[..., None, :]), mat.h(w))


# ----- eigenvalues --------------------------------------------------------------------------------------


@_scipy
def eigh(a, b=None, lower=True, eigvals_only=False, type=1):
    """Eigenvalues and vectors of symmetric a, or of the pair a v = w b v (``type`` 2: a b v = w v,
    3: b a v = w v) with positive definite b."""
    if b is None:
        w, v = spectral.eigh(symmetric(matrices("eigh", a, square=True)), vectors=True)
        return w if eigvals_only else (w, v)
    if type not in (1, 2, 3):
        raise ValueError(f"eigh: type must be 1, 2 or 3, got {type!r}")
    a, b = promote(inexact(a), inexact(b))
    a, b = symmetric(matrices("eigh", a, square=True)), symmetric(matrices("eigh", b, square=True))
    a, b = same_lead(a, b)
    factor = solving.cholesky(b)
    if type == 1:            # l^-1 a l'^-1
        half = solving.triangular_solve(factor, a, lower=True, trans=0, unit=False)
        c = solving.solve_right(factor, half)
    else:                    # l' a l
        c = np.matmul(mat.h(factor), np.matmul(a, factor))
    w, v = spectral.eigh(symmetric(c), vectors=True)
    if eigvals_only:
        return w
    if type == 3:
        return w, np.matmul(factor, v)
    return w, solving.triangular_solve(factor, v, lower=True, trans=2, unit=False)


@_scipy
def eigvalsh(a, b=None, lower=True, type=1):
    """Eigenvalues of symmetric matrices, ascending."""
    if b is None:
        return np_linalg.eigvalsh.traced(a)
    return eigh.traced(a, b, lower, True, type)


@_scipy
def eig(a):
    """Eigenvalues and right eigenvectors, complex."""
    return tuple(np_linalg.eig.traced(a))


@_scipy
def eigvals(a):
    """Eigenvalues, complex."""
    return np_linalg.eigvals.traced(a)


_SORTS = {"lhp": lambda w: np.less(np.real(w), 0), "rhp": lambda w: np.greater_equal(np.real(w), 0),
          "iuc": lambda w: np.less_equal(np.abs(w), 1), "ouc": lambda w: np.greater(np.abs(w), 1)}


@_scipy
def schur(a, output="real", sort=None):
    """``(t, z)`` with a = z @ t @ z^H: z unitary, t upper triangular or, if real, with blocks of 2.

    Args:
        a: ``[..., n, n]``.
        output: 'complex' makes a complex first; a complex matrix has a complex form anyway.
        sort: 'lhp', 'rhp' (real part below 0, or not), 'iuc', 'ouc' (at most 1 in size, or more), or a
            function of arrays that says which eigenvalues come first: of complex ones, or for a real form of
            their real and imaginary parts, as SciPy's. Then their number is a third result.

    Raises:
        NonDifferentiableError: when it is differentiated, see ``lax.linalg.schur``.
    """
    a = matrices("schur", a, square=True)
    if output not in ("real", "r", "complex", "c"):
        raise ValueError(f"schur: output must be 'real' or 'complex', got {output!r}")
    if output in ("complex", "c"):
        a = convert(a, np.result_type(aval_of(a).dtype, np.complex64))
    form = matrix_functions.schur(a)
    if sort is None:
        return tuple(form)
    if not callable(sort) and sort not in _SORTS:
        raise ValueError(f"schur: sort must be one of {sorted(_SORTS)} or a function, got {sort!r}")
    by_parts = callable(sort) and aval_of(a).dtype.kind != "c"
    t, z, first = ordered_schur(*form, sort if callable(sort) else _SORTS[sort], by_parts)
    return t, z, np.sum(first, axis=-1)


# ----- solvers ------------------------------------------------------------------------------------------


@_scipy
def solve(a, b, lower=False, assume_a=None, transposed=False):
    """x of a @ x = b (``transposed``: a.T @ x = b). ``assume_a`` 'pos' takes Cholesky's factors, the
    triangular ones substitution, everything else LU."""
    a, b, vector = _fit("solve", a, b)
    if assume_a in ("pos", "positive definite"):
        return _out(cho_solve.traced(cho_factor.traced(a, True), b), vector)
    if assume_a in ("upper triangular", "lower triangular"):
        return _out(solving.triangular_solve(a, b, lower=assume_a.startswith("lower"), trans=int(transposed),
                                            unit=False), vector)
    if assume_a in ("sym", "symmetric", "her", "hermitian"):
        a = symmetric(a)
    return _out(solving.solve(a, b, int(transposed)), vector)


@_scipy
def solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False):
    """x of op(a) @ x = b for triangular a; the other triangle is not read."""
    a, b, vector = _fit("solve_triangular", a, b)
    return _out(solving.triangular_solve(a, b, lower=bool(lower), trans=_trans("solve_triangular", trans),
                                        unit=bool(unit_diagonal)), vector)


@_scipy
def solve_sylvester(a, b, q):
    """x of a @ x + x @ b = q.

    By Schur forms (Bartels and Stewart 1972). Where an eigenvalue of a is minus one of b there is no single
    solution; as LAPACK does, such a sum counts as a tiny number.
    """
    a, b, q = promote(inexact(a), inexact(b), inexact(q))
    return matrix_functions.sylvester(*same_lead(matrices("solve_sylvester", a, square=True),
                                       matrices("solve_sylvester", b, square=True),
                                       matrices("solve_sylvester", q)))


@_scipy
def solve_continuous_lyapunov(a, q):
    """x of a @ x + x @ a^H = q."""
    return solve_sylvester.traced(a, mat.h(asvalue(a)), q)


@_scipy
def inv(a):
    """Inverses. Singular matrices give inf or NaN."""
    return np_linalg.inv.traced(a)


@_scipy
def pinv(a, atol=None, rtol=None):
    """Moore-Penrose inverses; singular values up to rtol times the largest count as 0."""
    if atol:
        raise errors.NotSupportedError("pinv: atol is not supported for traced arrays.", "Pass rtol.")
    a = matrices("pinv", a)
    return spectral.pinv(a, rtol=float(rtol) if rtol is not None else max(shape_of(a)[-2:]) * float(
        np.finfo(aval_of(a).dtype).eps))


@_scipy
def lstsq(a, b, cond=None):
    """``(x, residuals, rank, s)`` of the least-squares problem a @ x = b."""
    return np_linalg.lstsq.traced(a, b, cond)


@_scipy
def det(a):
    """Determinants; the derivative is right for singular matrices too."""
    return np_linalg.det.traced(a)


@_scipy
def norm(a, ord=None, axis=None, keepdims=False):
    """See functrans.numpy.linalg.norm."""
    return np.linalg.norm(a, ord, axis, keepdims)


# ----- functions of matrices ----------------------------------------------------------------------------


def _exponentials(a):
    """exp(i a) and exp(-i a), or for a real matrix exp(i a) alone."""
    turn = np.complex64(1j) if aval_of(a).dtype.itemsize // (1 + (aval_of(a).dtype.kind == "c")) == 4 else 1j
    if aval_of(a).dtype.kind == "c":
        return OPS["expm"](np.multiply(a, turn)), OPS["expm"](np.multiply(a, -turn))
    return (OPS["expm"](np.multiply(a, turn)),)


@_scipy
def expm(A):
    """The exponential of matrices.

    By scaling and squaring (Al-Mohy and Higham 2009), its derivative by the same algorithm on pairs; that of
    order k comes from matrices 2^(k-1) times as large (Higham 2008). What overflows is inf or NaN.
    """
    return OPS["expm"](matrices("expm", A, square=True))


@_scipy
def logm(A):
    """The principal logarithm of matrices.

    By the Schur form, inverse scaling and squaring (Al-Mohy and Higham 2012). NaN for a singular matrix, and
    for a real one with a negative eigenvalue, whose logarithm is complex: cast that one to complex first.
    """
    return OPS["logm"](matrices("logm", A, square=True))


@_scipy
def sqrtm(A):
    """The principal square root of matrices.

    By the Schur form (Deadman, Higham and Ralha 2013). NaN for a singular matrix without a root, and for a
    real one with a negative eigenvalue, whose root is complex: cast that one to complex first. The derivative
    solves Sylvester's equation, and needs a matrix that is not singular.
    """
    return matrix_functions.sqrtm(matrices("sqrtm", A, square=True))


@_scipy
def cosm(A):
    """The cosine of matrices, from exponentials of i A and -i A."""
    waves = _exponentials(matrices("cosm", A, square=True))
    return np.multiply(np.add(*waves), 0.5) if len(waves) == 2 else np.real(waves[0])


@_scipy
def sinm(A):
    """The sine of matrices, from exponentials of i A and -i A."""
    waves = _exponentials(matrices("sinm", A, square=True))
    if len(waves) == 1:
        return np.imag(waves[0])
    return np.multiply(np.subtract(*waves), aval_of(waves[0]).dtype.type(-0.5j))


@_scipy
def tanm(A):
    """The tangent of matrices: cosm(A) t = sinm(A)."""
    return solving.solve(cosm.traced(A), sinm.traced(A))


def _real_exponentials(name, A):
    a = matrices(name, A, square=True)
    return OPS["expm"](a), OPS["expm"](np.negative(a))


@_scipy
def coshm(A):
    """The hyperbolic cosine of matrices."""
    return np.multiply(np.add(*_real_exponentials("coshm", A)), 0.5)


@_scipy
def sinhm(A):
    """The hyperbolic sine of matrices."""
    return np.multiply(np.subtract(*_real_exponentials("sinhm", A)), 0.5)


@_scipy
def tanhm(A):
    """The hyperbolic tangent of matrices: coshm(A) t = sinhm(A)."""
    up, down = _real_exponentials("tanhm", A)
    return solving.solve(np.add(up, down), np.subtract(up, down))


@_scipy
def signm(A):
    """The sign of matrices, A (A A)^(-1/2) (Higham 2008, 5.2): eigenvalues become 1 or -1 by their real part.

    NaN, or garbage of a matrix that is that to rounding, where an eigenvalue is imaginary or 0.
    """
    a = matrices("signm", A, square=True)
    return solving.solve(matrix_functions.sqrtm(np.matmul(a, a)), a)


@_scipy
def fractional_matrix_power(A, t):
    """A to the power of a known number t: an integer power times expm of a fraction of the logarithm.

    As :func:`logm`, it is NaN where that is for t that is no integer.
    """
    a, whole = matrices("fractional_matrix_power", A, square=True), math.floor(t)
    if t - whole > 0.5:
        whole += 1
    power = np.linalg.matrix_power(a, whole)
    if t == whole:
        return power
    part = float(t - whole)
    rest = matrix_functions.sqrtm(a) if part == 0.5 else OPS["expm"](np.multiply(OPS["logm"](a), part))
    return rest if whole == 0 else np.matmul(power, rest)


@_scipy
def expm_frechet(A, E, compute_expm=True):
    """``(expm(A), its derivative in the direction E)``, or the derivative alone."""
    A, E = promote(inexact(A), inexact(E))
    found = OPS["expm_frechet"](matrices("expm_frechet", A, square=True), E)
    return (OPS["expm"](A), found) if compute_expm else found


# ----- matrices of a given form -------------------------------------------------------------------------


@_scipy
def block_diag(*arrs):
    """Matrices along a diagonal, zeros elsewhere; vectors count as rows."""
    blocks = [np.atleast_2d(asvalue(x)) for x in arrs] or [np.zeros((1, 0))]
    blocks = promote(*blocks)
    cols = sum(shape_of(x)[1] for x in blocks)
    rows, at = [], 0
    for x in blocks:
        n = shape_of(x)[1]
        rows.append(np.pad(x, ((0, 0), (at, cols - at - n))))
        at += n
    return np.concatenate(rows, axis=0)


@_scipy
def toeplitz(c, r=None):
    """The matrix with first column c and first row r (its first element is ignored; default: conj(c))."""
    c = np.ravel(asvalue(c))
    r = np.conj(c) if r is None else np.ravel(asvalue(r))
    c, r = promote(c, r)
    m, n = shape_of(c)[0], shape_of(r)[0]
    values = np.concatenate([np.flip(r[1:]), c])         # by diagonal
    return np.take(values, np.arange(m)[:, None] - np.arange(n)[None, :] + n - 1)


@_scipy
def circulant(c):
    """The matrix whose columns are c, rotated."""
    n = shape_of(c)[-1]
    return np.take(asvalue(c), (np.arange(n)[:, None] - np.arange(n)[None, :]) % n, axis=-1)


@_scipy
def hankel(c, r=None):
    """The matrix with first column c and last row r (default zeros), constant along anti-diagonals."""
    c = np.ravel(asvalue(c))
    r = np.zeros_like(c) if r is None else np.ravel(asvalue(r))
    c, r = promote(c, r)
    m, n = shape_of(c)[0], shape_of(r)[0]
    return np.take(np.concatenate([c, r[1:]]), np.arange(m)[:, None] + np.arange(n)[None, :])


@_scipy
def khatri_rao(a, b):
    """Kronecker products of columns."""
    a, b = promote(a, b)
    return np.reshape(np.multiply(a[:, None, :], b[None, :, :]), (-1, shape_of(a)[1]))


__all__ = ["block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "coshm", "cosm", "det", "eig",
           "eigh", "eigvals", "eigvalsh", "expm", "expm_frechet", "fractional_matrix_power", "hankel", "inv",
           "khatri_rao", "logm", "lstsq", "lu", "lu_factor", "lu_solve", "norm", "pinv", "polar", "qr",
           "schur", "signm", "sinhm", "sinm", "solve", "solve_continuous_lyapunov", "solve_sylvester",
           "solve_triangular", "sqrtm", "svd", "svdvals", "tanhm", "tanm", "toeplitz"]
