"""Decompositions and solvers: values against NumPy and SciPy, derivatives against differences in both
modes and twice, stacks against single matrices."""

import numpy as np
import pytest
import scipy.linalg

import functrans as ft
from functrans import errors
from functrans.scipy import linalg as fsl

L = np.linalg
rng = np.random.default_rng(5)
A = rng.standard_normal((4, 4)) + 2 * np.eye(4)
S = A @ A.T + np.eye(4)
TALL, WIDE = rng.standard_normal((5, 3)), rng.standard_normal((3, 5))
B, b = rng.standard_normal((4, 2)), rng.standard_normal(4)

CASES = {
    "solve": (L.solve, A, B), "solve vector": (L.solve, A, b), "inv": (L.inv, A), "det": (L.det, A),
    "slogdet": (lambda a: tuple(L.slogdet(a)), A), "cholesky": (L.cholesky, S),
    "cholesky upper": (lambda a: L.cholesky(a, upper=True), S), "eigh": (lambda a: tuple(L.eigh(a)), S),
    "eigvalsh": (L.eigvalsh, S), "svd square": (lambda a: tuple(L.svd(a)), A),
    "svd tall": (lambda a: tuple(L.svd(a, full_matrices=False)), TALL),
    "svd wide": (lambda a: tuple(L.svd(a, full_matrices=False)), WIDE), "svdvals": (L.svdvals, WIDE),
    "qr tall": (lambda a: tuple(L.qr(a)), TALL), "qr wide": (lambda a: tuple(L.qr(a)), WIDE),
    "qr r": (lambda a: L.qr(a, mode="r"), TALL), "pinv tall": (L.pinv, TALL), "pinv wide": (L.pinv, WIDE),
    "cond": (L.cond, A), "cond fro": (lambda a: L.cond(a, "fro"), A),
    "norm 2": (lambda a: L.norm(a, 2), TALL), "norm nuc": (lambda a: L.norm(a, "nuc"), TALL),
    "norm -2": (lambda a: L.norm(a, -2, axis=(0, 1), keepdims=True), WIDE),
    "lstsq": (lambda a, b: L.lstsq(a, b, rcond=None)[:2], TALL, rng.standard_normal((5, 2))),
    "lstsq wide": (lambda a, b: L.lstsq(a, b)[::3], WIDE, B[:3]),
    "lstsq rank": (lambda a, b: L.lstsq(np.stack([a[:, 0], a[:, 1], a[:, 0] - a[:, 1]], 1), b)[0],
                   TALL, TALL),
    "tensorinv": (lambda a: L.tensorinv(a.reshape(2, 2, 4)), A),
    "tensorsolve": (lambda a, b: L.tensorsolve(a.reshape(4, 2, 2), b), A, b),
    "scipy cholesky": (fsl.cholesky, S),
    "cho_solve": (lambda a, b: fsl.cho_solve(fsl.cho_factor(a), b), S, B),
    "scipy lu": (lambda a: tuple(fsl.lu(a)), A), "lu wide": (lambda a: tuple(fsl.lu(a)), WIDE),
    "lu tall": (lambda a: tuple(fsl.lu(a, permute_l=True)), TALL),
    "lu_solve": (lambda a, b: fsl.lu_solve(fsl.lu_factor(a), b), A, B),
    "lu_solve T": (lambda a, b: fsl.lu_solve(fsl.lu_factor(a), b, trans=1), A, b),
    "solve pos": (lambda a, b: fsl.solve(a, b, assume_a="pos"), S, b),
    "solve T": (lambda a, b: fsl.solve(a, b, transposed=True), A, b),
    "triangular": (lambda a, b: fsl.solve_triangular(a, b, lower=True), A, B),
    "triangular T": (lambda a, b: fsl.solve_triangular(a, b, trans="T"), A, b),
    "triangular unit": (lambda a, b: fsl.solve_triangular(a, b, unit_diagonal=True), A, b),
    "sylvester": (fsl.solve_sylvester, A, S[:2, :2], B), "expm": (fsl.expm, A / 4), "logm": (fsl.logm, S),
    "sqrtm": (fsl.sqrtm, S), "cosm": (fsl.cosm, A / 4), "sinhm": (fsl.sinhm, A / 4),
    "expm_frechet": (lambda a, e: fsl.expm_frechet(a, e, compute_expm=False), A / 4, S / 4),
    "eigh pair": (lambda a, b: tuple([x ** 2 for x in fsl.eigh(a, b)]), S + np.diag(np.arange(4.0)), S),
    "polar": (lambda a: tuple(fsl.polar(a)), TALL), "block_diag": (fsl.block_diag, A, TALL),
    "toeplitz": (fsl.toeplitz, b, b[:3]), "circulant": (fsl.circulant, b), "hankel": (fsl.hankel, b),
    "khatri_rao": (fsl.khatri_rao, TALL, rng.standard_normal((2, 3))),
}
SYMMETRIC = ("chol", "cho_", "eig", "scipy cholesky", "solve pos")
# not of stacks: as in NumPy and SciPy
SINGLE = ("tensor", "block_diag", "toeplitz", "hankel", "khatri_rao")


def leaves(x):
    return [np.asarray(y) for y in (x if isinstance(x, tuple) else (x,))]


def direction(name, x):
    t = np.random.default_rng(len(name)).standard_normal(x.shape)
    square = x.ndim == 2 and x.shape[0] == x.shape[1]
    return t + t.T if square and name.startswith(SYMMETRIC) else t


def differences(f, args, ts, eps=1e-6):
    up, down = (leaves(f(*[a + s * eps * t for a, t in zip(args, ts, strict=True)])) for s in (1, -1))
    return [(p - m) / (2 * eps) for p, m in zip(up, down, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives(name):
    f, *args = CASES[name]
    want = leaves(f(*args))
    for got, w in zip(leaves(ft.jit(f)(*args)), want, strict=True):
        assert got.shape == w.shape and got.dtype == w.dtype
        np.testing.assert_allclose(got, w, rtol=1e-9, atol=1e-10)
    ts = [direction(name, x) for x in args]
    _, tangent = ft.jvp(f, tuple(args), tuple(ts))
    for got, w in zip(leaves(tangent), differences(f, args, ts), strict=True):
        np.testing.assert_allclose(got, w, rtol=2e-6, atol=2e-6 * max(1, np.abs(w).max(initial=0)))
    out, pull = ft.vjp(f, *args)
    cts = [np.random.default_rng(3).standard_normal(np.shape(o)) for o in leaves(out)]
    grads = pull(tuple(cts) if isinstance(out, tuple) else cts[0])
    forward = sum([np.sum(c * t) for c, t in zip(cts, leaves(tangent), strict=True)])
    backward = sum([np.sum(g * t) for g, t in zip(grads, ts, strict=True)])
    np.testing.assert_allclose(backward, forward, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith(SINGLE)])
def test_stacks(name):
    f, *args = CASES[name]
    many = [np.stack([x, 1.1 * x, x + 0.01]) for x in args]
    got = leaves(ft.jit(ft.vmap(f))(*many))
    for i in range(3):
        for g, w in zip(got, leaves(ft.jit(f)(*[x[i] for x in many])), strict=True):
            np.testing.assert_allclose(g[i], w, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["solve", "inv", "det", "cholesky", "eigh", "svd tall", "qr tall",
                                  "pinv tall", "expm", "sqrtm", "sylvester", "scipy lu"])
def test_second_derivatives(name):
    f, *args = CASES[name]

    def g(*xs):
        return ft.grad(lambda *ys: sum([np.sum(np.sin(y)) for y in (
            lambda o: o if isinstance(o, tuple) else (o,))(f(*ys))]), tuple(range(len(xs))))(*xs)
    ts = [direction(name, x) for x in args]
    _, tangent = ft.jvp(g, tuple(args), tuple(ts))
    for got, w in zip(leaves(tangent), differences(g, args, ts), strict=True):
        np.testing.assert_allclose(got, w, rtol=1e-5, atol=1e-5 * max(1, np.abs(w).max()))


def test_single_precision_and_integers():
    for f, x in ((L.inv, A), (L.cholesky, S), (lambda a: L.eigh(a)[0], S), (L.svdvals, TALL), (L.det, A)):
        got = ft.jit(f)(x.astype(np.float32))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, f(x), rtol=2e-4, atol=1e-4)
    ints = np.array([[2, 1], [1, 3]])
    np.testing.assert_allclose(ft.jit(L.inv)(ints), L.inv(ints))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
def test_sizes_around_the_change_to_lapacks_threads(n):
    x = np.random.default_rng(n).standard_normal((3, n, n)) + n * np.eye(n)
    s = x @ np.swapaxes(x, 1, 2)
    np.testing.assert_allclose(ft.jit(L.inv)(x), L.inv(x), atol=1e-9)
    np.testing.assert_allclose(ft.jit(L.cholesky)(s), L.cholesky(s), rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(ft.jit(L.eigvalsh)(s), L.eigvalsh(s), rtol=1e-9)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3), (0, 3), (3, 0)])
def test_empty(shape):
    x = np.zeros(shape)
    square = shape[-1] == shape[-2]
    for f in (L.inv, L.det, L.cholesky, L.eigvalsh) if square else (
            L.svdvals, lambda a: L.svd(a)[0], lambda a: L.svd(a)[2], lambda a: L.qr(a, mode="complete")[0]):
        got, want = ft.jit(f)(x), f(x)
        np.testing.assert_array_equal(got, want)
        assert got.shape == want.shape


def test_no_decomposition_gives_nan_and_leaves_the_others_alone():
    bad = np.stack([S, -S, S])
    got = ft.jit(L.cholesky)(bad)
    assert np.isnan(got[1]).any() and np.isfinite(got[[0, 2]]).all()
    nan = np.stack([S, np.full_like(S, np.nan)])
    for f in (L.eigvalsh, L.svdvals, L.inv):
        got = ft.jit(f)(nan)
        assert np.isfinite(got[0]).all() and np.isnan(got[1]).any()
    assert not np.isfinite(ft.jit(L.inv)(np.zeros((2, 2)))).all()


def test_the_gradient_is_symmetric():
    for f in (lambda a: np.sum(L.cholesky(a)), lambda a: np.sum(L.eigh(a)[0] ** 2),
              lambda a: L.eigh(a)[1][0, 0]):
        g = ft.grad(f)(S)
        np.testing.assert_array_equal(g, g.T)
    lower = np.tril(S)
    np.testing.assert_allclose(ft.jit(lambda a: L.cholesky(a))(S), L.cholesky(S))
    np.testing.assert_allclose(ft.jit(lambda a: ft.numpy.linalg.cholesky(a, symmetrize_input=False))(lower),
                               L.cholesky(lower), atol=1e-12)


def test_equal_eigenvalues():
    """Of the values the gradient is right; vectors of one eigenspace do not turn into each other."""
    eye = np.eye(3)
    np.testing.assert_allclose(ft.grad(lambda a: np.sum(L.eigvalsh(a) ** 3))(2 * eye), 12 * eye)
    np.testing.assert_allclose(ft.grad(lambda a: np.sum(L.svd(a)[1]))(2 * eye), eye, atol=1e-12)
    g = ft.grad(lambda a: np.sum(L.eigh(a)[1] * np.arange(9.0).reshape(3, 3)))(eye)
    np.testing.assert_array_equal(g, np.zeros((3, 3)))
    # a vector whose own eigenvalue is single, among others that are equal
    d = np.diag([1.0, 1.0, 3.0])

    def f(a):
        v = L.eigh(a)[1][:, 2]
        return np.sum(v * np.array([1.0, 2.0, 3.0])) * v[2]
    t = rng.standard_normal((3, 3))
    t = t + t.T
    want = differences(f, [d], [t])[0]
    np.testing.assert_allclose(np.sum(ft.grad(f)(d) * t), want, rtol=1e-6)


def test_determinant_of_singular_matrices():
    m = A.copy()
    m[1] = m[0]
    t = rng.standard_normal(m.shape)
    np.testing.assert_allclose(ft.jvp(L.det, (m,), (t,))[1], differences(L.det, [m], [t])[0], rtol=1e-6)
    np.testing.assert_array_equal(ft.grad(L.det)(np.zeros((3, 3))), np.zeros((3, 3)))
    np.testing.assert_allclose(ft.hessian(L.det)(np.eye(2)).reshape(4, 4), [
        [0, 0, 0, 1], [0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]], atol=1e-12)


def test_errors():
    jit = ft.jit
    with pytest.raises(errors.ShapeError, match=r"inv: the last two axes must be equal, got f64\[5,3\]"):
        jit(L.inv)(TALL)
    with pytest.raises(errors.ShapeError, match="a matrix needs two axes"):
        jit(L.svd)(b)
    with pytest.raises(errors.ShapeError, match="b needs as many rows as a"):
        jit(L.solve)(A, TALL)
    with pytest.raises(errors.NonDifferentiableError, match="full_matrices=False"):
        ft.grad(lambda a: np.sum(L.svd(a)[0]))(TALL)
    with pytest.raises(errors.NonDifferentiableError, match="mode='reduced'"):
        ft.grad(lambda a: np.sum(L.qr(a, mode="complete")[0]))(TALL)
    with pytest.raises(ValueError, match="UPLO must be"):
        jit(lambda a: L.eigh(a, UPLO="x"))(S)
    with pytest.raises(ValueError, match="qr: mode must be"):
        jit(lambda a: L.qr(a, mode="raw"))(S)
    with pytest.raises(ValueError, match="trans must be"):
        jit(lambda a, b: fsl.solve_triangular(a, b, trans=5))(A, b)


def test_scipy_functions_without_tracers_are_scipys():
    np.testing.assert_array_equal(fsl.expm(A), scipy.linalg.expm(A))
    np.testing.assert_array_equal(fsl.cholesky(S), scipy.linalg.cholesky(S))


def test_a_gaussian_process_is_differentiable():
    """The use of all this: a marginal likelihood, its gradient in the kernel's length."""
    x, y = np.linspace(0, 1, 30), np.sin(np.linspace(0, 6, 30))

    def loss(length):
        k = np.exp(-(x[:, None] - x[None, :]) ** 2 / (2 * length ** 2)) + 0.1 * np.eye(30)
        low = L.cholesky(k)
        z = fsl.solve_triangular(low, y, lower=True)
        return 0.5 * np.sum(z * z) + np.sum(np.log(np.diagonal(low)))
    want = (loss(0.3 + 1e-6) - loss(0.3 - 1e-6)) / 2e-6
    np.testing.assert_allclose(ft.jit(ft.grad(loss))(0.3), want, rtol=1e-6)


# ----- complex matrices -----------------------------------------------------------------------------

Z, W = A + 1j * rng.standard_normal((4, 4)), B + 1j * rng.standard_normal((4, 2))
TALL_Z = TALL + 1j * rng.standard_normal((5, 3))


def hermitian(z):
    return z @ z.conj().T + np.eye(len(z), dtype=z.dtype)


# of vectors that have a free phase, what does not depend on it
COMPLEX = {
    "solve": (L.solve, Z, W), "inv": (L.inv, Z), "det": (L.det, Z),
    "slogdet": (lambda z: tuple(L.slogdet(z)), Z),
    "cholesky": (lambda z: L.cholesky(hermitian(z)), Z), "eigvalsh": (lambda z: L.eigvalsh(hermitian(z)), Z),
    "eigh": (lambda z: (lambda w, v: (w, v[:, :2] @ v[:, :2].conj().T))(*L.eigh(hermitian(z))), Z),
    "eigvals": (L.eigvals, Z), "eig": (lambda z: (lambda w, v: (w, v * w ** 2 @ L.inv(v)))(*L.eig(z)), Z),
    "svd": (lambda z: (lambda u, s, vh: (s, u @ vh))(*L.svd(z)), Z), "svdvals": (L.svdvals, TALL_Z),
    "svd tall": (lambda z: (lambda u, s, vh: u[:, :1] @ vh[:1])(*L.svd(z, full_matrices=False)), TALL_Z),
    "qr": (lambda z: tuple(L.qr(z)), TALL_Z), "qr wide": (lambda z: tuple(L.qr(z.T)), TALL_Z),
    "pinv": (L.pinv, TALL_Z), "lstsq": (lambda z, b: L.lstsq(z, b)[:2], TALL_Z, TALL_Z[:, :2] ** 2),
    "lstsq wide": (lambda z, b: L.lstsq(z.T, b)[0], TALL_Z, W[:3]),
    "norm 2": (lambda z: L.norm(z, 2), TALL_Z),
    "power": (lambda z: L.matrix_power(z, -2), Z), "expm": (lambda z: fsl.expm(z / 4), Z),
    "triangular": (lambda z, b: fsl.solve_triangular(z, b, trans="C"), Z, W),
    "lu": (lambda z: tuple(fsl.lu(z)[1:]), Z), "multi_dot": (lambda z, b: L.multi_dot([z, z, b]), Z, W),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_matrices(name):
    f, *args = COMPLEX[name]
    want = leaves(f(*args))
    for dtype, tol in ((np.complex128, 1e-9), (np.complex64, 2e-3)):
        for got, w in zip(leaves(ft.jit(f)(*[x.astype(dtype) for x in args])), want, strict=True):
            assert got.shape == w.shape and got.dtype.itemsize * 16 == w.dtype.itemsize * dtype(0).nbytes
            np.testing.assert_allclose(got, w, rtol=tol, atol=tol * max(1, np.abs(w).max()))
    r = np.random.default_rng(len(name))
    ts = [r.standard_normal(x.shape) + 1j * r.standard_normal(x.shape) for x in args]
    _, tangent = ft.jvp(f, tuple(args), tuple(ts))
    for got, w in zip(leaves(tangent), differences(f, args, ts), strict=True):
        np.testing.assert_allclose(got, w, rtol=1e-5, atol=1e-5 * max(1, np.abs(w).max()))
    out, pull = ft.vjp(f, *args)
    cts = [(r.standard_normal(o.shape) + 1j * r.standard_normal(o.shape)).astype(o.dtype)
           if o.dtype.kind == "c" else r.standard_normal(o.shape) for o in leaves(out)]
    grads = pull(tuple(cts) if isinstance(out, tuple) else cts[0])
    forward = sum([np.sum(c * t).real for c, t in zip(cts, leaves(tangent), strict=True)])
    backward = sum([np.sum(g * t).real for g, t in zip(grads, ts, strict=True)])
    np.testing.assert_allclose(backward, forward, rtol=1e-8, atol=1e-8)
    got = leaves(ft.vmap(f)(*[np.stack([x, x * 1.1]) for x in args]))
    for g, w in zip(got, leaves(ft.jit(f)(*[x * 1.1 for x in args])), strict=True):
        np.testing.assert_allclose(g[1], w, rtol=1e-9, atol=1e-10)
