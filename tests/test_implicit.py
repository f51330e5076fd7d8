"""custom_root, custom_linear_solve, fixed_point, the Krylov solvers and odeint: values against SciPy and
direct
solutions; derivatives of first and second order in both modes against those, closed forms and differences."""

import numpy as np
import pytest
import scipy.integrate
from numpy.testing import assert_allclose
from util import difference, second_difference

from functrans import errors, fixed_point, grad, hessian, jacfwd, jacrev, jit, jvp, lax, vjp, vmap
from functrans.scipy.integrate import odeint
from functrans.scipy.sparse.linalg import bicgstab, cg, gmres

RNG = np.random.default_rng(6)
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
B = RNG.normal(size=4)
BATCH = np.stack([A, 2 * A, A.T])


def same_in_every_mode(f, g, args):
    """Two scalar functions agree in value, gradients and second derivatives, and under jit."""
    assert_allclose(jit(f)(*args), g(*args), rtol=1e-9)
    for i in range(len(args)):
        assert_allclose(grad(f, i)(*args), grad(g, i)(*args), rtol=1e-7, atol=1e-9)
        assert_allclose(jacfwd(f, i)(*args), grad(g, i)(*args), rtol=1e-7, atol=1e-9)
        for k in range(len(args)):
            want = jacfwd(grad(g, i), k)(*args)
            assert_allclose(jacrev(grad(f, i), k)(*args), want, rtol=1e-6, atol=1e-8)
            assert_allclose(jacfwd(grad(f, i), k)(*args), want, rtol=1e-6, atol=1e-8)


# ----- roots ------------------------------------------------------------------------------------------------


def newton(f, x):
    return lax.while_loop(lambda x: np.abs(f(x)) > 1e-14, lambda x: x - f(x) / grad(f)(x), x)


def root(a):
    return lax.custom_root(lambda x: x ** 3 - a, 1.0, newton, lambda g, y: y / g(1.0))


def test_custom_root():
    for f, want in [(root, 2.0), (grad(root), 1 / 12), (grad(grad(root)), -2 / 9 / 32),
                    (grad(grad(grad(root))), 10 / 27 / 256)]:
        assert_allclose(f(8.0), want, rtol=1e-9)
        assert_allclose(jit(f)(8.0), want, rtol=1e-9)
        assert_allclose(vmap(f)(np.array([8.0, 8.0])), [want, want], rtol=1e-9)
    assert_allclose(jvp(jit(grad(root)), (8.0,), (2.0,))[1], -4 / 9 / 32)
    found = lax.scan(lambda c, a: (c, grad(root)(a)), 0.0, np.array([1.0, 8.0]))[1]
    assert_allclose(found, [1 / 3, 1 / 12])


def test_custom_root_of_a_pytree_with_aux():
    def f(theta):
        def residual(x):
            return {"a": x["a"] ** 2 - theta, "b": x["b"] - x["a"] * np.ones(2)}

        def solve(f, x):
            return lax.fori_loop(0, 30, lambda i, x: {"a": x["a"] - f(x)["a"] / (2 * x["a"]),
                                                      "b": x["a"] * np.ones(2)}, x), {"turns": 30}

        def tangent(g, y):          # g is (2 a da, db - da)
            da = y["a"] / (2 * np.sqrt(theta))
            return {"a": da, "b": y["b"] + da}
        return lax.custom_root(residual, {"a": 1.0, "b": np.zeros(2)}, solve, tangent, has_aux=True)

    x, aux = jit(f)(9.0)
    assert_allclose(x["b"], [3.0, 3.0])
    assert aux == {"turns": 30}
    assert_allclose(grad(lambda t: np.sum(f(t)[0]["b"]))(9.0), 1 / 3)


def test_custom_root_errors():
    def call(f, guess=1.0, solve=lambda f, x: x, tangent=lambda g, y: y, **k):
        return jit(lambda a: lax.custom_root(lambda x: f(x) * a, guess, solve, tangent, **k))(1.0)
    for bad, error, text in [
            (lambda: call(lambda x: np.ones(3) * x), ValueError, r"f must return f64\[\], got f64\[3\]"),
            (lambda: call(lambda x: x, solve=lambda f, x: np.ones(2)), ValueError, "solve must return"),
            (lambda: call(lambda x: x, solve=lambda f, x: (x, x)), TypeError,
             "solve must return the structure"),
            (lambda: call(lambda x: x, tangent=lambda g, y: np.ones(2)), ValueError,
             "tangent_solve must return"),
            (lambda: call(lambda x: x, has_aux=True), TypeError, "must return a pair")]:
        with pytest.raises(error, match=text):
            bad()


# ----- linear systems
# -----------------------------------------------------------------------------------------


def direct(a, b):
    return np.sum(np.sin(np.linalg.solve(a, b)))


def custom(a, b):
    return np.sum(np.sin(lax.custom_linear_solve(
        lambda x: a @ x, b, lambda f, b: np.linalg.solve(a, b), lambda f, b: np.linalg.solve(a.T, b))))


def test_custom_linear_solve():
    same_in_every_mode(custom, direct, (A, B))
    many = np.stack([B, 2 * B, -B])
    for axes in ((0, 0), (0, None), (None, 0)):
        args = (BATCH if axes[0] == 0 else A, many if axes[1] == 0 else B)
        for i in (0, 1):
            assert_allclose(vmap(grad(custom, i), axes)(*args), vmap(grad(direct, i), axes)(*args), rtol=1e-9)
            got, want = (grad(lambda *xs, f=f, axes=axes: np.sum(vmap(f, axes)(*xs)),
                              i)(*args) for f in (custom,
                                                                                               direct))
            assert_allclose(got, want, rtol=1e-9)


def test_custom_linear_solve_by_a_loop_that_has_no_derivative():
    """Jacobi's iteration, of a symmetric matrix, inside of a scan."""
    def solve(f, b):
        d = f(np.ones(3)) * 0 + 4.0
        return lax.while_loop(lambda x: np.sum((f(x) - b) ** 2) > 1e-26, lambda x: x + (b - f(x)) / d, b * 0)

    def total(theta):
        def body(c, b):
            m = np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]) * theta + 4 * np.eye(3)
            x = lax.custom_linear_solve(lambda x: m @ x, b, solve, symmetric=True)
            return c + np.sum(x ** 2), x
        return lax.scan(body, 0.0, np.eye(3) + 1.0)[0]

    def want(theta):
        m = np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]) * theta + 4 * np.eye(3)
        return np.sum(np.linalg.solve(m, np.eye(3) + 1.0) ** 2)
    same_in_every_mode(total, want, (0.5,))


def test_custom_linear_solve_aux_and_errors():
    def pairs(a, product=lambda a, x: (a * x[0], a * x[1]), how=lambda f, b: ((b[0] / 2, b[1] / 2), 7)):
        return lax.custom_linear_solve(lambda x: product(a, x), (B, 1.0), how, how, has_aux=True)

    (x, y), aux = jit(pairs)(2.0)
    assert_allclose(x, B / 2)
    assert (y, aux) == (0.5, 7)
    assert_allclose(jvp(lambda a: pairs(a)[0][1], (2.0,), (1.0,))[1], -0.25)
    with pytest.raises(errors.NonDifferentiableError, match="no transpose_solve"):
        grad(lambda b: lax.custom_linear_solve(lambda x: 2 * x, b, lambda f, b: b / 2))(1.0)
    for bad, error, text in [(lambda a: pairs(a, lambda a, x: x[0]), TypeError,
                              "matvec must return the structure"),
                             (lambda a: lax.custom_linear_solve(lambda x: x[:2], B * a, lambda f, b: b),
                              ValueError,
                              "matvec must return f64"),
                             (lambda a: lax.custom_linear_solve(lambda x: x, B * a, lambda f, b: b[:2]),
                              ValueError,
                              "solve must return f64")]:
        with pytest.raises(error, match=text):
            jit(bad)(2.0)


@pytest.mark.parametrize("solver", [cg, gmres, bicgstab])
def test_krylov_solvers(solver):
    a = A @ A.T if solver is cg else A
    x, info = solver(a, B, tol=1e-12)
    assert_allclose(a @ x, B, rtol=1e-9)
    assert info == 0
    def symmetric(a):
        return (a + a.T) / 2 if solver is cg else a

    same_in_every_mode(lambda a, b: np.sum(np.sin(solver(symmetric(a), b, tol=1e-14)[0])),
                       lambda a, b: direct(symmetric(a), b), (a, B))
    assert_allclose(vmap(lambda b: solver(a, b, tol=1e-12)[0])(np.stack([B, 0 * B])),
                    np.stack([np.linalg.solve(a, B), 0 * B]), rtol=1e-8, atol=1e-12)
    tree_a = {"u": a[:3, :3], "v": a[:3, 3], "w": a[3]}

    def f(x):
        return {"p": tree_a["u"] @ x["p"] + tree_a["v"] * x["q"],
                "q": tree_a["w"][:3] @ x["p"] + a[3, 3] * x["q"]}
    found, _ = solver(f, {"p": B[:3], "q": B[3]}, tol=1e-12)
    assert_allclose(np.append(found["p"], found["q"]), np.linalg.solve(a, B), rtol=1e-8)
    z = a + 1j * (a - a.T) / 3
    assert_allclose(z @ solver(z, B + 1j, tol=1e-12)[0], B + 1j, rtol=1e-8)
    big = np.diag(np.arange(1.0, 61)) + 0.1
    x, info = solver(big, np.ones(60), rtol=1e-10, M=lambda x: x / np.arange(1.0, 61))
    assert_allclose(big @ x, np.ones(60), rtol=1e-8)
    assert solver(big, np.ones(60), tol=1e-14, maxiter=1)[1] == 1
    with pytest.raises(ValueError, match="A must be a square matrix or a function"):
        solver(a[:2], B)
    with pytest.raises(ValueError, match="x0 must have the structure"):
        solver(a, B, x0=B[:2])


# ----- fixed points
# -------------------------------------------------------------------------------------------


def test_fixed_point():
    def heron(a):
        return fixed_point(lambda x, a: 0.5 * (x + a / x), 1.0, a)
    assert_allclose(fixed_point(np.cos, 1), 0.7390851332151607)
    for f, want in [(heron, 2.0), (grad(heron), 0.25), (grad(grad(heron)), -1 / 32)]:
        assert_allclose(jit(f)(4.0), want, rtol=1e-12)
        assert_allclose(vmap(f)(np.array([4.0, 4.0])), [want] * 2, rtol=1e-12)
    assert np.isnan(fixed_point(lambda x: 2 * x + 1, 1.0, maxiter=20))


@pytest.mark.parametrize("n", [3, 80])
def test_fixed_point_of_vectors(n):
    """By the matrix of the tangent's equation, and by GMRES."""
    w, t = RNG.normal(size=(n, n)) * 0.5 / np.sqrt(n), RNG.normal(size=(n, n)) / n

    def f(w):
        x = fixed_point(lambda x: {"x": np.tanh(w @ x["x"] + 0.3)}, {"x": np.zeros(n)})
        return np.sum(x["x"] ** 2)
    assert_allclose(np.sum(grad(f)(w) * t), difference(lambda s: float(f(w + s * t))), rtol=1e-7)
    assert_allclose(jvp(f, (w,), (t,))[1], difference(lambda s: float(f(w + s * t))), rtol=1e-7)
    second = jvp(lambda w: np.sum(grad(f)(w) * t), (w,), (t,))[1]
    assert_allclose(second, second_difference(lambda s: float(f(w + s * t)), 1e-3), rtol=1e-4)


# ----- differential equations
# ---------------------------------------------------------------------------------

TIMES = np.linspace(0.0, 3.0, 7)
START = np.array([1.0, 0.5])


def pendulum(y, t, g):
    return np.stack([y[1], -g * np.sin(y[0]) - 0.1 * np.cos(t) * y[1]])


def end(y0, ts, g):
    return np.sum(np.sin(odeint(pendulum, y0, ts, g)) * np.arange(7.0)[:, None])


def test_odeint_values():
    want = scipy.integrate.solve_ivp(lambda t, y: pendulum(y, t, 2.0), (0, 3), START, t_eval=TIMES,
                                     rtol=1e-12,
                                     atol=1e-12).y.T
    assert_allclose(odeint(pendulum, START, TIMES, 2.0), want, atol=1e-6)
    assert_allclose(jit(odeint, static_argnums=0)(pendulum, START, TIMES, 2.0), want, atol=1e-6)
    tight = odeint(pendulum, START, TIMES, 2.0, rtol=1e-12, atol=1e-12)
    assert_allclose(tight, want, atol=1e-9)
    back = odeint(pendulum, want[-1], TIMES[::-1], 2.0)
    assert_allclose(back[-1], START, atol=1e-6)
    assert_allclose(odeint(pendulum, START, TIMES[:1], 2.0), START[None])
    assert_allclose(odeint(pendulum, START, TIMES[[0, 0, 6]], 2.0), want[[0, 0, 6]], atol=1e-6)
    assert np.isnan(odeint(lambda y, t: -1000 * y, 1.0, np.array([0.0, 1.0]), mxstep=5)[1])
    ys = odeint(lambda y, t: {"a": -y["a"], "b": y["a"][0]}, {"a": np.ones(2, np.float32), "b": 0.0}, TIMES)
    assert ys["a"].shape == (7, 2) and ys["a"].dtype == np.float32 and ys["b"].dtype == np.float64
    assert_allclose(ys["b"], 1 - np.exp(-TIMES), atol=1e-6)
    assert_allclose(odeint(lambda y, t: 1j * y, 1 + 0j, TIMES), np.exp(1j * TIMES), atol=1e-6)
    assert odeint(lambda y, t: -y, np.float32(1), TIMES.astype("f4"), rtol=1e-5,
                  atol=1e-5).dtype == np.float32


def test_odeint_derivatives():
    """In y0, in the times, in an argument: both modes, against differences."""
    args, moves = (START, TIMES, 2.0), (np.array([0.3, -0.2]), RNG.normal(size=7) * 0.1, 1.0)
    for i, t in enumerate(moves):
        def f(x, i=i):
            return end(*args[:i], x, *args[i + 1:])
        want = difference(lambda s, f=f, i=i, t=t: float(f(args[i] + s * t)), 1e-3)
        assert_allclose(np.sum(grad(f)(args[i]) * t), want, rtol=2e-6)
        assert_allclose(jvp(f, (args[i],), (t,))[1], want, rtol=2e-6)
        assert_allclose(jit(grad(f))(args[i]), grad(f)(args[i]), rtol=1e-12)


def test_odeint_second_derivatives():
    def f(g):
        return end(START, TIMES, g)

    def tangent(g):
        return jvp(f, (g,), (1.0,))[1]
    want = second_difference(lambda s: float(f(2.0 + s)), 1e-2)
    for second in (jvp(tangent, (2.0,), (1.0,))[1], jvp(grad(f), (2.0,), (1.0,))[1], grad(tangent)(2.0),
                   grad(grad(f))(2.0)):
        assert_allclose(second, want, rtol=1e-5)
    got = hessian(lambda y: end(y, TIMES, 2.0))(START)
    assert_allclose(got, got.T, rtol=1e-5)
    want = jacfwd(jacfwd(lambda y: end(y, TIMES, 2.0)))(START)
    assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_odeint_in_other_transforms():
    g = np.array([1.0, 2.0, 3.0])

    def f(g):
        return end(START, TIMES, g)
    assert_allclose(vmap(f)(g), [f(v) for v in g], rtol=1e-6)
    assert_allclose(vmap(grad(f))(g), [grad(f)(v) for v in g], rtol=1e-5)
    assert_allclose(grad(lambda g: np.sum(vmap(f)(g)))(g), [grad(f)(v) for v in g], rtol=1e-5)
    assert_allclose(vmap(lambda v: jvp(f, (v,), (v,))[1])(g), [grad(f)(v) * v for v in g], rtol=1e-5)
    assert_allclose(lax.map(grad(f), g), [grad(f)(v) for v in g], rtol=1e-6)

    def closed(a):          # over a traced value, in a loop, with a tree for a state
        def body(c, _):
            ys = odeint(lambda y, t: {"x": -a * y["x"], "z": y["x"].sum()}, {"x": np.ones(2), "z": c},
                        np.array([0.0, 1.0]))
            return ys["z"][-1], ys["x"][-1, 0]
        return lax.scan(body, 0.0, None, length=3)[0]
    assert_allclose(closed(1.0), 6 * (1 - np.exp(-1)), rtol=1e-7)
    assert_allclose(grad(closed)(1.0), 6 * (2 * np.exp(-1) - 1), rtol=1e-6)
    _, pull = vjp(lambda w: odeint(lambda y, t: 1j * w * y, 1 + 0j, np.array([0.0, 1.0]))[-1], 1.0)
    assert_allclose(pull(np.complex128(1.0))[0], (1j * np.exp(1j)).real, atol=1e-6)


def test_odeint_errors():
    ts = np.array([0.0, 1.0])
    for bad, error, text in [
            (lambda: odeint(lambda y, t: y, 1.0, 0.5), ValueError, "t must be a vector"),
            (lambda: odeint(lambda y, t: np.ones(2), 1.0, ts), ValueError, r"must return shape \(\)"),
            (lambda: odeint(lambda y, t: (y, y), 1.0, ts), TypeError, "must return the structure"),
            (lambda: odeint(lambda y, t: 1j * y, 1.0, ts), TypeError, "y0 is real"),
            (lambda: odeint(lambda y, t: y, (), ts), TypeError, "y0 has no arrays"),
            (lambda: grad(lambda r: odeint(lambda y, t: y, 1.0, ts, rtol=r)[1])(1e-3), TypeError,
             "rtol must be a")]:
        with pytest.raises(error, match=text):
            bad()
