"""Decompositions of ``jax.lax.linalg``, over any leading axes.

Those of LAPACK are ops of their own; reflectors and tridiagonal systems are loops over columns, so that all
of their derivatives follow.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy import decompositions as dec
from ..numpy.core import asvalue
from ..ops import matrices as mat
from ..ops import matrix_functions, spectral
from ..ops import solve as solving
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from .control import scan


class SvdAlgorithm(enum.Enum):
    """How an accelerator finds singular values; here LAPACK's divide and conquer."""

    DEFAULT = "default"
    QR = "QR"
    JACOBI = "Jacobi"
    POLAR = "polar"


class EighImplementation(enum.Enum):
    """How an accelerator finds eigenvalues of symmetric matrices; here LAPACK's divide and conquer."""

    QR = "QR"
    JACOBI = "Jacobi"
    QDWH = "QDWH"


class EigImplementation(enum.Enum):
    """How eigenvalues are found; here by LAPACK."""

    CUSOLVER = "cusolver"
    MAGMA = "magma"
    LAPACK = "lapack"


def _shape(x):
    return aval_of(x).shape


def _matrices(name, x, square=False):
    return dec.matrices(f"lax.linalg.{name}", asvalue(x), square=square)


def _placed(keep, x):
    """x where ``keep`` holds, else 0."""
    return np.where(keep, x, np.zeros((), aval_of(x).dtype)[()])


# ----- factors ------------------------------------------------------------------------------------


def cholesky(x, *, symmetrize_input: bool = True):
    """The lower triangular l of x = l l'; ``symmetrize_input`` takes (x + x') / 2 first.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    return dec.cholesky.traced(_matrices("cholesky", x, True), symmetrize_input=symmetrize_input)


def cholesky_update(r_matrix, w_vector):
    """The upper factor of r' r + w w' from the upper factor r, without forming that matrix.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.cholesky_update(np.eye(1) * 3.0, np.array([4.0]))
    array([[5.]])
    """
    r, w = _matrices("cholesky_update", r_matrix, True), asvalue(w_vector)
    if _shape(w) != _shape(r)[:-1]:
        raise errors.ShapeError(f"lax.linalg.cholesky_update: {aval_of(r)} and {aval_of(w)} do not fit.")
    rows = np.concatenate([r, np.expand_dims(np.conj(w), -2)], -2)
    new = solving.qr(rows, full=False)[1]
    signs = np.where(np.real(np.diagonal(new, axis1=-2, axis2=-1)) < 0, -1.0, 1.0)
    return np.multiply(new, np.expand_dims(signs, -1).astype(aval_of(r).dtype))


def lu(x):
    """``(factors, pivots, permutation)``: x[permutation] = l u, both in one matrix, l with a unit diagonal.

    ``pivots[i]`` is the row that was exchanged with row i.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.lu(np.array([[1.0, 2.0], [4.0, 4.0]]))[0]
    array([[4.  , 4.  ],
           [0.25, 1.  ]])
    """
    return tuple(solving.lu(_matrices("lu", x)))


def lu_pivots_to_permutation(pivots, permutation_size: int):
    """The order of the rows after exchanging row i with row ``pivots[i]``, one after the other.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.lu_pivots_to_permutation(np.array([1, 1, 2]), 3)
    array([1, 0, 2])
    """
    pivots = asvalue(pivots)
    lead, k = _shape(pivots)[:-1], _shape(pivots)[-1]
    places = np.arange(permutation_size)
    if k > permutation_size:
        raise errors.ShapeError(f"lax.linalg.lu_pivots_to_permutation: {k} pivots for {permutation_size} "
                                "rows.")

    def exchange(perm, step):
        i, j = step
        j = np.expand_dims(j, -1)
        here = np.sum(_placed(places == i, perm), -1, keepdims=True)
        there = np.sum(_placed(places == j, perm), -1, keepdims=True)
        return np.where(places == i, there, np.where(places == j, here, perm)), None

    start = np.broadcast_to(places, (*lead, permutation_size))
    return scan(exchange, start, (np.arange(k), np.moveaxis(pivots, -1, 0)))[0]


def qr(x, *, pivoting: bool = False, full_matrices: bool = True, use_magma: bool | None = None):
    """``(q, r)`` with x = q r; with ``pivoting`` ``(q, r, p)`` with x[:, p] = q r.

    Pivoting takes the longest remaining column at each step, so that the diagonal of r falls in size.
    ``full_matrices`` gives all columns of q. Derivatives need a matrix that is not wider than high, and
    ``full_matrices=False`` unless it is square.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.qr(np.array([[1.0, 3.0], [0.0, 4.0]]), pivoting=True)[2]
    array([1, 0])
    """
    x = _matrices("qr", x)
    if not pivoting:
        return tuple(solving.qr(x, full=bool(full_matrices)))
    order = _pivots(x)
    columns = np.take_along_axis(x, np.expand_dims(order, -2), -1)
    return (*solving.qr(columns, full=bool(full_matrices)), order)


def _pivots(x):
    """The order in which columns are taken, by reflecting those that remain."""
    x = OPS["stop_gradient"](x) if type(x) is Tracer else x
    *lead, m, n = _shape(x)
    rows, cols = np.arange(m), np.arange(n)

    def step(carry, i):
        a, order = carry
        left = _placed((rows >= i)[:, None], a)
        length = np.where(cols >= i, np.sum(np.real(left * np.conj(left)), -2), -1.0)
        j = np.expand_dims(np.argmax(length, -1), -1)
        swap = np.where(cols == i, j, np.where(cols == j, i, cols))
        a = np.take_along_axis(a, np.expand_dims(swap, -2), -1)
        order = np.take_along_axis(order, swap, -1)
        column = np.sum(_placed(cols == i, a), -1)
        _, tau, v = _reflector(column, i)
        return (_reflected(a, np.conj(tau), v), order), None

    start = np.broadcast_to(cols, (*lead, n))
    return scan(step, (x, start), np.arange(min(m, n)))[0][1]


def triangular_solve(a, b, *, left_side: bool = False, lower: bool = False, transpose_a: bool = False,
                     conjugate_a: bool = False, unit_diagonal: bool = False):
    """x with x op(a) = b, or op(a) x = b if ``left_side``, for triangular a.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.triangular_solve(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[4.0], [3.0]]),
    ...                             left_side=True, lower=True)
    array([[2.],
           [1.]])
    """
    a, b = asvalue(a), asvalue(b)
    vector = left_side and aval_of(b).ndim == aval_of(a).ndim - 1
    b = np.expand_dims(b, -1) if vector else b
    a, b = _matrices("triangular_solve", a, True), _matrices("triangular_solve", b)
    if aval_of(a).dtype != aval_of(b).dtype or _shape(a)[:-2] != _shape(b)[:-2] or (
            _shape(a)[-1] != _shape(b)[-2 if left_side else -1]):
        raise errors.ShapeError(f"lax.linalg.triangular_solve: {aval_of(a)} and {aval_of(b)} do not fit.",
                                "They need one dtype, equal leading axes, and matching extents.")
    complex_ = aval_of(a).dtype.kind == "c"
    if conjugate_a and not transpose_a and complex_:
        a = np.conj(a)
    trans = 2 if transpose_a and conjugate_a and complex_ else int(transpose_a)
    form = {"lower": bool(lower), "unit": bool(unit_diagonal)}
    if left_side:
        x = solving.triangular_solve(a, b, trans=trans, **form)
        return np.squeeze(x, -1) if vector else x
    if trans == 2:                      # (x a')^T = conj(a) x^T
        return mat.t(solving.triangular_solve(np.conj(a), mat.t(b), trans=0, **form))
    return mat.t(solving.triangular_solve(a, mat.t(b), trans=1 - trans, **form))


def symmetric_product(a_matrix, c_matrix, *, alpha: float = 1.0, beta: float = 0.0,
                      symmetrize_output: bool = False):
    """alpha a a^T + beta c; the result is whole whether or not it is asked to be symmetrized.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.symmetric_product(np.array([[1.0, 2.0]]), np.array([[3.0]]), beta=2.0)
    array([[11.]])
    """
    a, c = _matrices("symmetric_product", a_matrix), _matrices("symmetric_product", c_matrix, True)
    if _shape(c) != (*_shape(a)[:-1], _shape(a)[-2]):
        raise errors.ShapeError(f"lax.linalg.symmetric_product: {aval_of(a)} and {aval_of(c)} do not fit.")
    return alpha * np.matmul(a, mat.t(a)) + beta * c


# ----- spectra ------------------------------------------------------------------------------------


def _cut(values, subset):
    if subset is None:
        return values
    low, high = subset
    if not 0 <= low <= high <= _shape(values)[-1]:
        raise errors.IndexRangeError(f"lax.linalg: subset_by_index={subset} of {_shape(values)[-1]} values")
    return values[..., low:high]


def eigh(x, *, lower: bool = True, symmetrize_input: bool = True, sort_eigenvalues: bool = True,
         subset_by_index: tuple[int, int] | None = None, implementation: EighImplementation | None = None):
    """``(eigenvectors, eigenvalues)`` of symmetric or Hermitian matrices, ascending.

    ``subset_by_index`` takes those of a range. See ``numpy.linalg.eigh`` for the derivatives.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.eigh(np.diag([3.0, 1.0]))[1]
    array([1., 3.])
    """
    x = _matrices("eigh", x, True)
    w, v = dec.eigh.traced(x, "L" if lower else "U", symmetrize_input=symmetrize_input)
    return _cut(v, subset_by_index), _cut(w, subset_by_index)


def eig(x, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True,
        enable_eigvec_derivs: bool = False, implementation: EigImplementation | None = None,
        use_magma: bool | None = None):
    """``[eigenvalues, left eigenvectors, right eigenvectors]`` (those asked for) of square matrices: complex.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.eig(np.array([[0.0, 1.0], [-1.0, 0.0]]), compute_left_eigenvectors=False)[0]
    array([0.+1.j, 0.-1.j])
    """
    return list(spectral.eig(_matrices("eig", x, True), left=bool(compute_left_eigenvectors),
                             right=bool(compute_right_eigenvectors)))


def schur(x, *, compute_schur_vectors: bool = True, sort_eig_vals: bool = False, select_callable: Any = None):
    """``[t, z]`` with x = z t z', t upper triangular (for real x with blocks of 2), z unitary; or ``[t]``.

    ``sort_eig_vals`` puts eigenvalues first for which ``select_callable`` holds: a function of arrays, for
    complex x of the eigenvalues, for real x of their real and imaginary parts.

    Raises:
      NonDifferentiableError: when it is differentiated: z is only fixed up to signs or phases, the order of
        the eigenvalues is LAPACK's, and blocks of 2 come and go with x. (JAX has no derivative either.)

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.schur(np.array([[1.0, 2.0], [0.0, 3.0]]))[0]
    array([[1., 2.],
           [0., 3.]])
    """
    x = _matrices("schur", x, True)
    t, z = matrix_functions.schur(x)
    if sort_eig_vals:
        if not callable(select_callable):
            raise errors.ArgumentError(
                f"lax.linalg.schur: sort_eig_vals with select_callable={select_callable!r}.",
                "Give a function of arrays that says which eigenvalues come first.")
        t, z, _ = dec.ordered_schur(t, z, select_callable, aval_of(x).dtype.kind != "c")
    return [t, z] if compute_schur_vectors else [t]


def svd(x, *, full_matrices: bool = True, compute_uv: bool = True,
        subset_by_index: tuple[int, int] | None = None, algorithm: SvdAlgorithm | None = None):
    """``(u, s, vh)`` with x = u diag(s) vh, s descending; only s unless ``compute_uv``.

    ``subset_by_index`` takes those of a range, with ``full_matrices=False``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.svd(np.array([[3.0, 4.0]]), compute_uv=False)
    array([5.])
    """
    x = _matrices("svd", x)
    if subset_by_index is not None and compute_uv and full_matrices:
        raise errors.ArgumentError("lax.linalg.svd: subset_by_index with full_matrices=True.",
                                   "Give full_matrices=False.")
    if not compute_uv:
        return _cut(dec.svd.traced(x, compute_uv=False), subset_by_index)
    u, s, vh = dec.svd.traced(x, full_matrices)
    if subset_by_index is not None:
        u, s, vh = _cut(u, subset_by_index), _cut(s, subset_by_index), mat.t(_cut(mat.t(vh), subset_by_index))
    return u, s, vh


def qdwh(x, *, is_hermitian: bool = False, max_iterations: int | None = None, eps: float | None = None,
         dynamic_shape: tuple[int, int] | None = None):
    """``(u, h, iterations, converged)``: the polar decomposition x = u h, h positive semidefinite.

    It follows from singular values, so there are no iterations: the last two are always 0 and True.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.qdwh(np.array([[0.0, -2.0], [3.0, 0.0]]))[0]
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    x = _matrices("qdwh", x)
    m, n = _shape(x)[-2:]
    if dynamic_shape is not None:
        raise errors.NotSupportedError("lax.linalg.qdwh: dynamic_shape.", "Cut the matrix to its extents.")
    if m < n:
        raise errors.ShapeError(f"lax.linalg.qdwh of {aval_of(x)}: fewer rows than columns.",
                                "Take the transpose.")
    u, s, vh = dec.svd.traced(x, False)
    h = np.matmul(mat.h(vh) * np.expand_dims(s, -2).astype(aval_of(vh).dtype), vh)
    return np.matmul(u, vh), (h + mat.h(h)) / 2, np.int64(0), np.bool_(True)


# ----- reflectors: I - tau v v', v with zeros above its place, 1 there ------------------------------------


def _reflector(x, i):
    """``(beta, tau, v)`` of the reflector that takes the entries of x [..., n] from place i on to beta."""
    rows = np.arange(_shape(x)[-1])
    tail = _placed(rows > i, x)
    alpha = np.sum(_placed(rows == i, x), -1)
    size = np.sum(np.real(tail * np.conj(tail)), -1)
    flat = np.logical_and(size == 0, np.imag(alpha) == 0)
    whole = np.where(flat, 1.0, size + np.real(alpha * np.conj(alpha)))
    beta = np.where(np.real(alpha) < 0, 1.0, -1.0) * np.sqrt(whole)
    beta = beta.astype(aval_of(whole).dtype)
    tau = _placed(np.logical_not(flat), (beta - alpha) / beta)
    scale = np.where(flat, np.ones((), aval_of(x).dtype)[()], alpha - beta)
    v = tail / np.expand_dims(scale, -1) + (rows == i)
    return np.where(flat, np.real(alpha), beta), tau.astype(aval_of(x).dtype), v.astype(aval_of(x).dtype)


def _reflected(a, tau, v):
    """(I - tau v v') a."""
    row = np.matmul(np.expand_dims(np.conj(v), -2), a)
    return a - np.expand_dims(tau, (-1, -2)) * np.expand_dims(v, -1) * row


def _reflectors(a, taus):
    """Vectors and factors along a first axis."""
    k, m = _shape(taus)[-1], _shape(a)[-2]
    vectors = np.moveaxis(a[..., :k], -1, 0)
    rows, steps = np.arange(m), np.arange(k)
    lead = (slice(None), *[None] * (aval_of(a).ndim - 2))
    at = steps[lead][..., None]
    vectors = _placed(rows > at, vectors) + (rows == at).astype(aval_of(a).dtype)
    return np.moveaxis(taus, -1, 0), vectors


def _check_reflectors(name, a, taus):
    a, taus = _matrices(name, a), asvalue(taus)
    if aval_of(taus).dtype != aval_of(a).dtype or _shape(taus)[:-1] != _shape(a)[:-2] or (
            _shape(taus)[-1] > min(_shape(a)[-2:])):
        raise errors.ShapeError(f"lax.linalg.{name}: reflectors {aval_of(a)} with factors {aval_of(taus)}.",
                                "Factors are [..., k], k at most the number of columns and of rows.")
    return a, taus


def householder_product(a, taus):
    """The first columns of H_1 H_2 ... H_k, reflectors stored below the diagonal of a [..., m, n].

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.householder_product(np.array([[9.0], [1.0]]), np.array([1.0]))
    array([[ 0.],
           [-1.]])
    """
    a, taus = _check_reflectors("householder_product", a, taus)
    *lead, m, n = _shape(a)
    if n > m:
        raise errors.ShapeError(f"lax.linalg.householder_product of {aval_of(a)}: more columns than rows.")
    eye = np.broadcast_to(np.eye(m, n, dtype=aval_of(a).dtype), (*lead, m, n))
    return scan(lambda q, h: (_reflected(q, *h), None), eye, _reflectors(a, taus), reverse=True)[0]


def ormqr(a, taus, c, *, left: bool = True, transpose: bool = False):
    """q c (c q unless ``left``) for q = H_1 H_2 ... H_k, or its conjugate transpose, without forming q.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.ormqr(np.array([[9.0], [1.0]]), np.array([1.0]), np.array([[2.0], [3.0]]))
    array([[-3.],
           [-2.]])
    """
    a, taus = _check_reflectors("ormqr", a, taus)
    c = _matrices("ormqr", c)
    if _shape(c)[-2 if left else -1] != _shape(a)[-2] or _shape(c)[:-2] != _shape(a)[:-2]:
        raise errors.ShapeError(f"lax.linalg.ormqr: {aval_of(a)} and {aval_of(c)} do not fit.")
    if not left:                        # c q = (q' c')'
        return mat.h(ormqr(a, taus, mat.h(c), transpose=not transpose))
    factors, vectors = _reflectors(a, taus)
    factors = np.conj(factors) if transpose else factors
    return scan(lambda x, h: (_reflected(x, *h), None), c, (factors, vectors), reverse=not transpose)[0]


def hessenberg(a):
    """``(packed, taus)``: a = q h q', h zero below its first subdiagonal.

    h is the upper part of ``packed``; below it are the reflectors of q, as ``householder_product`` of
    ``packed[..., 1:, :-1]`` takes them.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.hessenberg(np.array([[1.0, 2.0], [3.0, 4.0]]))[0]
    array([[1., 2.],
           [3., 4.]])
    """
    return _packed(*_hessenberg(_matrices("hessenberg", a, True)))


def _hessenberg(a):
    n = _shape(a)[-1]
    cols = np.arange(n)

    def step(a, i):
        _, tau, v = _reflector(np.sum(_placed(cols == i, a), -1), i + 1)
        a = _reflected(a, np.conj(tau), v)
        a = mat.h(_reflected(mat.h(a), np.conj(tau), v))
        return a, (tau, v)

    h, (taus, vectors) = scan(step, a, np.arange(max(n - 1, 0)))
    return h, np.moveaxis(taus, 0, -1), np.moveaxis(vectors, 0, -1)


def _packed(h, taus, vectors):
    n = _shape(h)[-1]
    if n < 2:
        return h, taus
    zero = np.zeros((*_shape(h)[:-1], 1), aval_of(h).dtype)
    return np.triu(h, -1) + np.tril(np.concatenate([vectors, zero], -1), -2), taus


def tridiagonal(a, *, lower: bool = True):
    """``(packed, diagonal, off-diagonal, taus)``: a = q t q' for symmetric or Hermitian a, t tridiagonal.

    ``lower`` says which triangle of ``a`` is read, and where ``packed`` has the reflectors of q: for the
    lower one as ``hessenberg`` does.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.linalg.tridiagonal(np.array([[1.0, 2.0], [2.0, 5.0]]))[1]
    array([1., 5.])
    """
    a = _matrices("tridiagonal", a, True)
    if not lower:                       # the same from the other corner
        packed, d, e, taus = tridiagonal(np.flip(a, (-1, -2)), lower=True)
        return np.flip(packed, (-1, -2)), np.flip(d, -1), np.flip(e, -1), np.flip(taus, -1)
    a = np.tril(a) + mat.h(np.tril(a, -1))
    h, taus, vectors = _hessenberg(a)
    d = np.real(np.diagonal(h, axis1=-2, axis2=-1))
    e = np.real(np.diagonal(h, -1, axis1=-2, axis2=-1))
    return (*_packed(np.tril(h), taus, vectors)[:1], d, e, taus)


def tridiagonal_solve(dl, d, du, b, *, perturb_singular: bool = False):
    """x of t x = b for tridiagonal t, with the diagonals dl (below; dl[0] is not read), d, du (du[-1] not).

    Rows are exchanged where that makes pivots larger. A singular t gives NaN or infinity, unless
    ``perturb_singular`` replaces pivots that are 0 by tiny ones.

    Args:
        dl, d, du: ``[..., n]``.
        b: ``[..., n, k]``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> one = np.ones(3)
    >>> lax.linalg.tridiagonal_solve(one, 2 * one, one, np.array([[3.0], [4.0], [3.0]])).ravel()
    array([1., 1., 1.])
    """
    dl, d, du, b = (asvalue(v) for v in (dl, d, du, b))
    if not _shape(dl) == _shape(d) == _shape(du) == _shape(b)[:-1] or aval_of(b).ndim < 2:
        raise errors.ShapeError(f"lax.linalg.tridiagonal_solve: diagonals {aval_of(dl)}, {aval_of(d)}, "
                                f"{aval_of(du)} for {aval_of(b)}.", "They are [..., n], and b [..., n, k].")
    kind = aval_of(d).dtype
    zero, tiny = kind.type(0), kind.type(np.finfo(kind).tiny ** 0.5)
    dl, d, du = (np.expand_dims(np.moveaxis(v, -1, 0), -1) for v in (dl, d, du))
    du = np.concatenate([du[:-1], np.zeros_like(du[-1:])])
    b = np.moveaxis(b, -2, 0)

    def pivot_of(p):
        return np.where(p == 0, tiny, p) if perturb_singular else p

    def eliminate(row, below):
        r0, r1, rb = row                                  # entries at its own place and the next one
        q0, q1, q2, qb = below
        swap = np.abs(q0) > np.abs(r0)
        p0, p1, p2, pb = (np.where(swap, y, x) for x, y in ((r0, q0), (r1, q1), (zero, q2), (rb, qb)))
        o0, o1, o2, ob = (np.where(swap, x, y) for x, y in ((r0, q0), (r1, q1), (zero, q2), (rb, qb)))
        p0 = pivot_of(p0)
        m = o0 / p0
        return (o1 - m * p1, o2 - m * p2, ob - m * pb), (p0, p1, p2, pb)

    (d0, _, last), (p0, p1, p2, pb) = scan(eliminate, (d[0], du[0], b[0]), (dl[1:], d[1:], du[1:], b[1:]))

    def substitute(ahead, row):
        x1, x2 = ahead
        p0, p1, p2, pb = row
        x = (pb - p1 * x1 - p2 * x2) / p0
        return (x, x1), x

    end = last / pivot_of(d0)
    _, xs = scan(substitute, (end, np.zeros_like(end)), (p0, p1, p2, pb), reverse=True)
    return np.moveaxis(np.concatenate([xs, np.expand_dims(end, 0)]), 0, -2)


__all__: list[Any] = [
    "EigImplementation", "EighImplementation", "SvdAlgorithm", "cholesky", "cholesky_update", "eig", "eigh",
    "hessenberg", "householder_product", "lu", "lu_pivots_to_permutation", "ormqr", "qdwh", "qr", "schur",
    "svd",
    "symmetric_product", "triangular_solve", "tridiagonal", "tridiagonal_solve"]
