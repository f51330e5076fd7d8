"""functrans.lax.linalg against LAPACK through SciPy, and derivatives against differences."""

import numpy as np
import pytest
import scipy.linalg as sl
from test_lax_names import check_modes
from util import rng_of

from functrans import errors, grad, jit, jvp, vmap
from functrans.lax import linalg as la


def h(x):
    return np.conj(np.swapaxes(x, -1, -2))


def matrix(kind, *shape):
    rng = rng_of("lax.linalg", kind, shape)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if kind == "complex" else x


both = pytest.mark.parametrize("kind", ["real", "complex"])
close = np.testing.assert_allclose


def near(got, want):
    close(got, want, rtol=1e-10, atol=1e-10)


@both
def test_reductions_to_few_diagonals(kind):
    a = matrix(kind, 2, 5, 5)
    gehrd, = sl.get_lapack_funcs(("gehrd",), (a,))
    sytrd, = sl.get_lapack_funcs(("sytrd" if kind == "real" else "hetrd",), (a,))
    packed, taus = jit(la.hessenberg)(a)
    s = a + h(a)
    for i in range(2):
        want, factors, _ = gehrd(a[i])
        near(packed[i], want)
        near(taus[i], factors)
        for lower in (True, False):
            got = la.tridiagonal(s, lower=lower)
            c, d, e, factors, _ = sytrd(s[i], lower=int(lower))
            outer = np.tril(np.ones((5, 5))) if lower else np.triu(np.ones((5, 5)))
            for x, y in zip(got, (c * outer, d, e, factors), strict=True):
                near(x[i] * (outer if x is got[0] else 1), y)


@both
def test_reflectors(kind):
    (raw, taus), _ = sl.qr(matrix(kind, 7, 4), mode="raw")
    raw, c = np.ascontiguousarray(raw), matrix(kind, 7, 3)
    q = sl.qr(matrix(kind, 7, 4))[0]
    near(la.householder_product(raw, taus), q[:, :4])
    few = la.ormqr(raw[:, :2], taus[:2], np.eye(7, 3, dtype=q.dtype))
    near(la.householder_product(raw[:, :3], taus[:2]), few)
    near(la.ormqr(raw, taus, c), q @ c)
    near(la.ormqr(raw, taus, c, transpose=True), h(q) @ c)
    near(jit(lambda c: la.ormqr(raw, taus, c, left=False))(h(c)), h(c) @ q)
    near(la.ormqr(raw, taus, h(c), left=False, transpose=True), h(c) @ h(q))


@both
def test_factors(kind):
    a, t = matrix(kind, 5, 5), matrix(kind, 2, 7, 4)
    q, r, p = jit(lambda x: la.qr(x, pivoting=True, full_matrices=False))(t)
    factors, pivots, perm = la.lu(t)
    near(la.lu_pivots_to_permutation(pivots, 7), perm)
    u, pos, _, _ = la.qdwh(t)
    near(u @ pos, t)
    near(h(u) @ u, np.broadcast_to(np.eye(4), (2, 4, 4)))
    for i in range(2):
        for x, y in zip((q, r, p), sl.qr(t[i], mode="economic", pivoting=True), strict=True):
            near(x[i], y)
        near(factors[i], sl.lu_factor(t[i])[0])
    s = a @ h(a) + np.eye(5)
    w = matrix(kind, 5)
    new = la.cholesky_update(sl.cholesky(s), w)
    near(h(new) @ new, s + np.outer(w, np.conj(w)))
    near(new, np.triu(new))
    near(la.cholesky(s), sl.cholesky(s, lower=True))
    v, e = la.eigh(s, subset_by_index=(1, 4))
    near(s @ v, v * e)
    e, left, right = la.eig(a)
    near(a @ right, right * e)
    near(h(left) @ a, e[:, None] * h(left))
    u, sv, vh = la.svd(t, full_matrices=False, subset_by_index=(0, 2))
    near(sv, np.linalg.svd(t, compute_uv=False)[:, :2])
    near(h(u) @ t, sv[..., None] * vh)
    near(la.symmetric_product(a, s, alpha=2.0, beta=3.0), 2 * a @ a.T + 3 * s)


@both
def test_triangular_solve(kind):
    a, b = np.tril(matrix(kind, 4, 4)) + 3 * np.eye(4), matrix(kind, 4, 2)
    for transposed in (False, True):
        for conjugated in (False, True):
            op = np.swapaxes(a, -1, -2) if transposed else a
            op = np.conj(op) if conjugated else op
            how = {"lower": True, "transpose_a": transposed, "conjugate_a": conjugated}
            near(op @ la.triangular_solve(a, b, left_side=True, **how), b)
            near(la.triangular_solve(a, b.T, **how) @ op, b.T)
    near(a @ la.triangular_solve(a, b[:, 0], left_side=True, lower=True), b[:, 0])


@both
def test_tridiagonal_solve(kind):
    dl, d, du, b = matrix(kind, 2, 6), matrix(kind, 2, 6, 1)[..., 0] * 2, matrix(kind, 2, 6) + 1, matrix(
        kind, 2, 6, 3)
    d[:, 2] = 0                                             # without exchanging rows this would be no pivot
    t = np.zeros((2, 6, 6), d.dtype)
    for i in range(6):
        t[:, i, i] = d[:, i]
        if i:
            t[:, i, i - 1], t[:, i - 1, i] = dl[:, i], du[:, i - 1]
    near(t @ jit(la.tridiagonal_solve)(dl, d, du, b), b)
    assert not np.isfinite(la.tridiagonal_solve(*[np.zeros(2)] * 3, np.ones((2, 1)))).any()
    assert np.isfinite(la.tridiagonal_solve(*[np.zeros(2)] * 3, np.ones((2, 1)), perturb_singular=True)).all()


A, W = matrix("real", 4, 4), matrix("real", 4)
MODES = {
    "householder_product": (lambda a: la.householder_product(a[:, :3], a[0, :2]), A),
    "ormqr": (lambda a, c: la.ormqr(a[:, :2], a[0, :2], c[:, None], transpose=True), A, W),
    "hessenberg": (lambda a: la.hessenberg(a)[0], A),
    "tridiagonal": (lambda a: la.tridiagonal(a)[1], A),
    "tridiagonal_solve": (lambda a, b: la.tridiagonal_solve(a[0], a[1] + 3, a[2], b[:, None]), A, W),
    "cholesky_update": (lambda a, w: la.cholesky_update(np.triu(a) + 3 * np.eye(4), w), A, W),
    "qr": (lambda a: np.abs(la.qr(a[:, :3], pivoting=True, full_matrices=False)[1]), A),
    "triangular_solve": (lambda a, b: la.triangular_solve(a + 3 * np.eye(4), b[None], lower=True), A, W),
    "qdwh": (lambda a: la.qdwh(a)[1], A),
}


@pytest.mark.parametrize("name", MODES)
def test_modes(name):
    check_modes(*MODES[name], tol=1e-6)


def test_schur_has_no_derivative():
    a = rng_of("schur").normal(size=(2, 3, 3))
    t, z = jit(vmap(la.schur))(a)
    np.testing.assert_allclose(z @ t @ z.transpose(0, 2, 1), a, atol=1e-12)
    for d in (lambda: grad(lambda a: np.sum(la.schur(a)[0]))(a[0]), lambda: jvp(la.schur, (a[0],), (a[0],))):
        with pytest.raises(errors.NonDifferentiableError, match="schur has no derivative") as caught:
            d()
        assert "Eigenvalues have one" in str(caught.value)


def test_refusals():
    for call in (lambda: la.householder_product(np.ones((3, 2)), np.ones(3)),
                 lambda: la.tridiagonal_solve(np.ones(3), np.ones(3), np.ones(2), np.ones((3, 1))),
                 lambda: la.triangular_solve(np.eye(3), np.ones((2, 2)), left_side=True),
                 lambda: la.cholesky_update(np.eye(3), np.ones(2)),
                 lambda: la.qdwh(np.ones((2, 3)))):
        with pytest.raises(errors.ShapeError, match=r"lax\.linalg"):
            call()
