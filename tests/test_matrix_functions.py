"""Functions of matrices and Schur forms: values by mpmath, every mode, failures, and no Python in plans."""

import mpmath as mp
import numpy as np
import pytest
import scipy.linalg as sl

import functrans as ft
from functrans import errors
from functrans.lax import linalg as la
from functrans.scipy import linalg as fsl

L = np.linalg
rng = np.random.default_rng(11)
A = rng.standard_normal((5, 5))
Z = A + 1j * rng.standard_normal((5, 5))
P = A / 2 + 2.5 * np.eye(5)                        # complex pairs, none on the negative axis
PZ = Z / 2 + 2.5 * np.eye(5)
PAIRS = sl.block_diag([[0.1, 2.0], [-3.0, 0.1]], [[2.0]], [[-0.5, 1.0], [-1.0, -0.5]], [[0.3]]) + np.triu(
    rng.standard_normal((6, 6)), 2)

# matrices on which methods for the exponential have gone wrong: Moler and Van Loan 2003, Ward 1977, Kenney
# and Laub 1998, Al-Mohy and Higham 2009
HARD = {
    "moler": np.array([[-49.0, 24.0], [-64.0, 31.0]]),
    "ward": np.array([[-131.0, 19.0, 18.0], [-390.0, 56.0, 54.0], [-387.0, 57.0, 52.0]]),
    "kenney": np.array([[0, 1e-6, 0, 0], [-1e-8, 0, 0, 0], [0, 0, 1, 1e6], [0, 0, 0, -1]]),
    "overscaled": np.array([[1.0, 1e8], [0.0, -2.0]]),
    "overscaled lower": np.array([[1.0, 0.0], [1e8, -2.0]]),
    "nilpotent": np.array([[0, 1e10, 3], [0, 0, 1e5], [0, 0, 0]]), "stiff": np.diag([-1e5, -1.0, 0.0, 3.0]),
    "bidiagonal": np.diag(np.linspace(-20, 0, 8)) + np.diag(np.full(7, 1e3), 1),
    "triangular": np.triu(rng.standard_normal((7, 7)) * 10), "rotation": np.array([[0, 50.0], [-50, 0]]),
    "random": A * 10, "complex": Z * 4, "shifted": A * 8 - 30 * np.eye(5), "tiny": np.full((2, 2), 1e-200),
    "zero": np.zeros((3, 3)), "one": np.array([[-3.0]]), "small": A / 100, "smaller": A / 1e4,
}


def exact(f, a):
    out = f(mp.matrix(a.tolist()))
    pick = complex if np.iscomplexobj(a) else (lambda v: float(mp.re(v)))
    return np.array([[pick(out[i, j]) for j in range(len(a))] for i in range(len(a))])


def exponential(a):
    """Taylor's series of a / 2^s, squared s times, in enough digits."""
    s = max(0, int(mp.ceil(mp.log(mp.mnorm(a, 1) + mp.mpf(10) ** -300, 2)))) + 2
    with mp.workdps(60 + 2 * s):
        x, out, term = a / mp.mpf(2) ** s, mp.eye(a.rows), mp.eye(a.rows)
        for k in range(1, 45):
            term = term * x / k
            out += term
        for _ in range(s):
            out = out * out
        return out


@pytest.mark.parametrize("name", HARD)
def test_exponentials_of_hard_matrices(name):
    """As close as the problem's condition lets any method come, in both precisions."""
    a = HARD[name]
    want = exact(exponential, a)
    sensitive = min(max(1.0, sl.expm_cond(a)) if a.any() and len(a) > 1 else 1.0, 2e3)
    for dtype, eps in ((a.dtype, 2e-16), (np.complex64 if a.dtype.kind == "c" else np.float32, 1e-7)):
        low = a.astype(dtype)
        if eps > 1e-10:
            want = exact(exponential, low.astype(a.dtype))
        got = ft.jit(fsl.expm)(low)
        assert got.dtype == dtype
        assert np.abs(got - want).max() <= 8 * eps * sensitive * max(np.abs(want).max(), 1e-300)


def test_triangles_stay_triangles():
    for a in (np.triu(A), np.tril(A)):
        got = ft.jit(fsl.expm)(a)
        np.testing.assert_array_equal(got == 0, a == 0)
        np.testing.assert_allclose(np.diag(got), np.exp(np.diag(a)), rtol=1e-15)


def test_large_norms_do_not_overflow_on_the_way():
    expm = ft.jit(fsl.expm)
    np.testing.assert_array_equal(expm(np.array([[0, 1e200], [0, 0]])), [[1, 1e200], [0, 1]])
    np.testing.assert_array_equal(expm(np.array([[-1e70, 1e60], [0, -1e70]])), np.zeros((2, 2)))
    np.testing.assert_array_equal(expm(np.diag(np.array([-1e7, -1e8], np.float32))), np.zeros((2, 2)))
    assert not np.isfinite(expm(np.array([[1e4, 1.0], [2.0, 1e4]]))).any()


@pytest.mark.parametrize("name, f, reference, a", [
    ("sqrtm", fsl.sqrtm, mp.sqrtm, P), ("sqrtm", fsl.sqrtm, mp.sqrtm, PZ),
    ("sqrtm", fsl.sqrtm, mp.sqrtm, PAIRS), ("logm", fsl.logm, mp.logm, P), ("logm", fsl.logm, mp.logm, PZ),
    ("logm", fsl.logm, mp.logm, PAIRS), ("logm", fsl.logm, mp.logm, np.eye(3) + np.triu(A[:3, :3], 1) * 50),
    ("logm", fsl.logm, mp.logm, np.eye(3) + A[:3, :3] * 1e-3), ("cosm", fsl.cosm, mp.cosm, A),
    ("sinm", fsl.sinm, mp.sinm, Z),
    ("logm", fsl.logm, mp.logm, np.array([[1 + 0.5j, 2, 3], [0, -1 - 0.5j, 1], [0, 0, -2 - 0.1j]])),
    ("logm", fsl.logm, mp.logm, np.array([[2, 1, 0], [0, 2j, 1], [0, 0, 2j + 1e-9]])),
    ("sqrtm", fsl.sqrtm, mp.sqrtm, np.diag([1e-8, 1.0, 1e8]) + np.triu(np.ones((3, 3)), 1)),
], ids=lambda v: v if isinstance(v, str) else "")
def test_values_against_mpmath(name, f, reference, a):
    with mp.workdps(40):
        want = exact(reference, a)
    scale = max(np.abs(want).max(), np.abs(a).max() if name == "logm" else 0)     # of 1 + small: absolute
    for dtype, tol in ((a.dtype, 3e-14), (np.complex64 if a.dtype.kind == "c" else np.float32, 3e-5)):
        got = ft.jit(f)(a.astype(dtype))
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, atol=tol * scale)


@pytest.mark.parametrize("name", ["tanm", "coshm", "sinhm", "tanhm", "cosm", "sinm"])
def test_compositions_are_scipys(name):
    for a in (A / 3, Z / 3):
        got = ft.jit(getattr(fsl, name))(a)
        np.testing.assert_allclose(got, getattr(sl, name)(a), rtol=1e-11, atol=1e-12)
        low = a.astype(np.complex64 if a.dtype.kind == "c" else np.float32)
        assert ft.jit(getattr(fsl, name))(low).dtype == low.dtype


def test_signs_and_powers():
    sign = ft.jit(fsl.signm)(A)
    np.testing.assert_allclose(sign, sl.signm(A), atol=1e-10)
    np.testing.assert_allclose(sign @ sign, np.eye(5), atol=1e-10)
    w, v = L.eig(P)
    for t in (0, 1, 3, -2, 0.5, 0.3, 2.7, -1.25):
        want = (v * w ** t @ L.inv(v)).real
        got = ft.jit(lambda a, t=t: fsl.fractional_matrix_power(a, t))(P)
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 4), (40, 40), (70, 70), (3, 6, 6), (2, 3, 1, 1), (0, 0), (0, 3, 3),
                                   (2, 0, 0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_shapes_and_dtypes(shape, dtype):
    """What defines each of them, on sizes around the blocks and the change to LAPACK's threads."""
    n = shape[-1]
    x = np.random.default_rng(n).standard_normal((2, *shape))
    a = ((x[0] + (1j * x[1] if np.issubdtype(dtype, np.complexfloating) else 0)) / max(n, 1) ** 0.5
         + 2.5 * np.eye(n)).astype(dtype)
    tol = 1e-12 if a.real.dtype == np.float64 else 2e-4

    def close(got, want):
        assert got.shape == want.shape and got.dtype == dtype
        np.testing.assert_allclose(got, want, atol=tol * max(1, np.abs(want).max(initial=0)))
    root = ft.jit(fsl.sqrtm)(a)
    close(root @ root, a)
    close(ft.jit(lambda a: fsl.expm(fsl.logm(a)))(a), a)
    b, c = a[..., :n // 2, :n // 2], x[0][..., :n // 2].astype(dtype)
    solution = ft.jit(fsl.solve_sylvester)(a, b, c)
    close(a @ solution + solution @ b, c)
    t, z = ft.jit(fsl.schur)(a)
    close(z @ t @ np.swapaxes(z.conj(), -1, -2), a)
    close(np.swapaxes(z.conj(), -1, -2) @ z, np.broadcast_to(np.eye(n, dtype=dtype), a.shape))
    assert not np.tril(t, -2 if t.dtype.kind == "f" else -1).any()


def differences(f, a, t, eps=1e-6):
    return (np.asarray(f(a + eps * t)) - np.asarray(f(a - eps * t))) / (2 * eps)


MODES = {"expm": (fsl.expm, A / 2), "logm": (fsl.logm, P), "sqrtm": (fsl.sqrtm, P),
         "pairs": (fsl.logm, PAIRS),
         "complex expm": (fsl.expm, Z / 2), "complex logm": (fsl.logm, PZ), "complex sqrtm": (fsl.sqrtm, PZ),
         "tanm": (fsl.tanm, A / 4), "signm": (fsl.signm, A),
         "power": (lambda a: fsl.fractional_matrix_power(a, 1.3), P),
         "lyapunov": (lambda a: fsl.solve_continuous_lyapunov(a, a @ a), P),
         "frechet": (lambda a: fsl.expm_frechet(a, a @ a, compute_expm=False), A / 3),
         "not normal": (fsl.expm, np.triu(A) + np.diag(np.full(4, 30.0), 1))}


@pytest.mark.parametrize("name", MODES)
def test_derivatives(name):
    """First and second, forward and reverse, of stacks: against differences and each other."""
    f, a = MODES[name]
    f = ft.jit(f)
    r = np.random.default_rng(len(name))

    def random():
        x = r.standard_normal((2, *a.shape))
        return x[0] + 1j * x[1] if a.dtype.kind == "c" else x[0]
    t, u, ct = random(), random(), random()
    push = ft.jit(lambda a, t: ft.jvp(f, (a,), (t,))[1])
    first = push(a, t)
    scale = np.abs(first).max()
    np.testing.assert_allclose(first, differences(f, a, t), rtol=1e-6, atol=1e-6 * scale)
    pulled = ft.jit(lambda a, ct: ft.vjp(f, a)[1](ct)[0])
    np.testing.assert_allclose(np.sum(pulled(a, ct) * t), np.sum(ct * first), rtol=1e-8, atol=1e-9 * scale)
    second = ft.jvp(lambda a: push(a, t), (a,), (u,))[1]
    np.testing.assert_allclose(second, differences(lambda a: push(a, t), a, u), rtol=1e-5,
                               atol=1e-5 * np.abs(second).max())
    over = ft.jvp(lambda a: pulled(a, ct), (a,), (u,))[1]
    np.testing.assert_allclose(np.sum(over * t), np.sum(ct * second), rtol=1e-7,
                               atol=1e-8 * np.abs(second).max())
    many = np.stack([a, a * 1.01, a + 0.01])
    directions = np.stack([t, u, ct])
    for g, args in ((f, (many,)), (push, (many, directions)), (pulled, (many, directions))):
        for k, got in enumerate(ft.jit(ft.vmap(g))(*args)):
            np.testing.assert_allclose(got, g(*[x[k] for x in args]), rtol=1e-10, atol=1e-11 * scale)


def test_third_derivative():
    f = ft.grad(ft.grad(ft.grad(lambda s: np.sum(fsl.expm(s * A)))))
    np.testing.assert_allclose(f(0.3), np.sum(A @ A @ A @ sl.expm(0.3 * A)), rtol=1e-9)


def test_what_has_no_result_is_nan():
    """Others of the stack are left alone."""
    good = np.array([[2.0, 1.0], [0.5, 3.0]])
    singular, negative = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[-1.0, 0.0], [0.0, 4.0]])
    for f, bad in ((fsl.sqrtm, singular), (fsl.sqrtm, negative), (fsl.logm, singular), (fsl.logm, negative),
                   (fsl.sqrtm, good * np.nan), (fsl.logm, good * np.inf), (fsl.expm, good * np.nan),
                   (lambda a: fsl.schur(a)[0], good * np.inf), (fsl.logm, np.zeros((2, 2)))):
        got = ft.jit(f)(np.stack([good, bad, good]))
        assert np.isnan(got[1]).all()
        np.testing.assert_array_equal(got[[0, 2]], np.stack([ft.jit(f)(good)] * 2))
    for f, reference in ((fsl.sqrtm, sl.sqrtm), (fsl.logm, sl.logm)):
        for a in (negative, np.array([[1.0, 3.0], [0.0, -1.0]])):
            got = ft.jit(f)(a.astype(complex))
            np.testing.assert_allclose(got, reference(a.astype(complex)), atol=1e-14)
    np.testing.assert_allclose(ft.jit(fsl.sqrtm)(np.diag([0.0, 4.0])), np.diag([0.0, 2.0]))
    np.testing.assert_allclose(ft.jit(fsl.sqrtm)(np.array([[4.0, 2.0], [0.0, 0.0]])), [[2, 1], [0, 0]])


# ----- Schur forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["lhp", "rhp", "iuc", "ouc", "own"])
@pytest.mark.parametrize("a, output", [(A, "real"), (A, "complex"), (Z, "complex")],
                         ids=["real", "cast", "complex"])
def test_sorted_schur_forms(sort, a, output):
    real = output == "real"
    if sort == "own":
        sort = (lambda x, y: np.abs(y) > 0.1) if real else (lambda w: np.abs(np.imag(w)) > 0.1)
    t, z, count = ft.jit(lambda a: fsl.schur(a, output, sort))(a)
    assert count == sl.schur(a, output, sort=sort)[2]
    np.testing.assert_allclose(z @ t @ z.conj().T, a, atol=1e-12)
    order = {"lhp": lambda w: w.real < 0, "rhp": lambda w: w.real >= 0, "iuc": lambda w: abs(w) <= 1,
             "ouc": lambda w: abs(w) > 1}.get(sort if isinstance(sort, str) else "",
                                              lambda w: abs(w.imag) > 0.1)
    w = sl.eigvals(t[:count, :count]), sl.eigvals(t[count:, count:])
    assert all(order(v) for v in w[0]) and not any(order(v) for v in w[1])
    many = np.stack([a, a.T, a * 2])
    for k, (t, z) in enumerate(zip(*ft.vmap(lambda a: fsl.schur(a, output, sort)[:2])(many), strict=True)):
        np.testing.assert_allclose(z @ t @ z.conj().T, many[k], atol=1e-11)


def test_schur_of_lax_sorts_by_a_function():
    t, z = ft.jit(lambda a: la.schur(a, sort_eig_vals=True, select_callable=lambda x, y: x > 0))(A)
    np.testing.assert_allclose(z @ t @ z.T, A, atol=1e-12)
    k = int(np.sum(sl.eigvals(A).real > 0))
    assert (sl.eigvals(t[:k, :k]).real > 0).all() and (sl.eigvals(t[k:, k:]).real <= 0).all()
    with pytest.raises(errors.ArgumentError, match="sort_eig_vals with select_callable=None"):
        la.schur(A, sort_eig_vals=True)
    with pytest.raises(errors.ShapeError, match=r"which eigenvalues come first is bool\[\], not a truth"):
        ft.jit(lambda a: fsl.schur(a, sort=lambda x, y: np.sum(x) > 0))(A)
    with pytest.raises(ValueError, match="schur: sort must be one of"):
        ft.jit(lambda a: fsl.schur(a, sort="up"))(A)
    with pytest.raises(ValueError, match="schur: output must be"):
        ft.jit(lambda a: fsl.schur(a, output="f"))(A)
    with pytest.raises(errors.NonDifferentiableError, match="schur has no derivative"):
        ft.jvp(lambda a: fsl.schur(a, sort="lhp")[0], (A,), (A,))
    g = ft.grad(lambda a: np.sum(a * la.schur(ft.lax.stop_gradient(a))[1]))(A)
    np.testing.assert_array_equal(g, la.schur(A)[1])


def test_plans_are_kernels():
    """One step for a whole stack, without the interpreter."""
    many = np.stack([P] * 3)
    for f in (fsl.expm, fsl.sqrtm, fsl.logm, la.schur, lambda a: fsl.solve_sylvester(a, a, a), fsl.cosm,
              fsl.signm, lambda a: fsl.schur(a, sort="lhp"), lambda a: ft.jvp(fsl.logm, (a,), (a,))):
        text = ft.jit(ft.vmap(f)).lower(many).as_text()
        assert "python" not in text and "kernel" in text
