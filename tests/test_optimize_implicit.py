"""Derivatives of solutions: against formulas, differences, each other in every mode and order."""

import numpy as np
import pytest
import scipy.optimize as so
from numpy.testing import assert_allclose

from functrans import grad, hessian, jacfwd, jacrev, jit, jvp, tree, vjp, vmap
from functrans.scipy import optimize
from functrans.scipy.optimize import implicit

R = np.random.default_rng(3)
A = (lambda m: m @ m.T + np.eye(4))(R.normal(size=(4, 4)))
T = np.linspace(0, 2, 30)
Y = 2 * np.exp(-1.5 * T) + 0.01 * np.sin(40 * T)


def differences(f, x, h=1e-4):
    """df/dx by central differences, extrapolated: columns are the elements of x."""
    x = np.asarray(x, float)

    def column(e, h):
        return (np.asarray(f(x + h * e)) - np.asarray(f(x - h * e))) / (2 * h)

    basis = np.eye(x.size).reshape(x.size, *x.shape)
    return np.stack([(4 * column(e, h / 2) - column(e, h)) / 3 for e in basis], -1)


def check_modes(f, x, *, atol=1e-6, want=None):
    """Forward, reverse, jit, vmap and second order of f: vector -> vector agree, and with differences."""
    x = np.asarray(x, float)
    exact = jit(f)
    first = jacfwd(f)(x)
    assert_allclose(first, differences(exact, x) if want is None else want, atol=atol, rtol=1e-6)
    assert_allclose(jacrev(f)(x), first, atol=1e-9)
    assert_allclose(jit(jacrev(f))(x), first, atol=1e-9)
    several = np.stack([x, x * 1.01])
    assert_allclose(vmap(f)(several), [exact(v) for v in several], atol=1e-9)
    assert_allclose(vmap(jacrev(f))(several), [jacrev(f)(v) for v in several], atol=1e-9)
    second = jacfwd(jacrev(f))(x)
    assert_allclose(second, differences(jit(jacrev(f)), x), atol=50 * atol, rtol=1e-5)
    assert_allclose(jacrev(jacfwd(f))(x), second, atol=1e-8)


# ----- minima


def test_minimum_of_a_quadratic_by_its_formula():
    """argmin x A x / 2 - b x = A^-1 b: first derivative A^-1, second 0."""
    def lowest(b):
        return optimize.minimize(lambda x: 0.5 * x @ A @ x - b @ x, np.zeros(4)).x

    b = np.arange(4.0)
    assert_allclose(jit(lowest)(b), np.linalg.solve(A, b), atol=1e-10)
    check_modes(lowest, b, want=np.linalg.inv(A))
    f = lambda b: optimize.minimize(lambda x: 0.5 * x @ A @ x - b @ x, np.zeros(4)).fun
    assert_allclose(grad(f)(b), -np.linalg.solve(A, b), atol=1e-9)              # -b A^-1 b / 2
    assert_allclose(hessian(f)(b), -np.linalg.inv(A), atol=1e-9)


@pytest.mark.parametrize("method", ["nelder-mead", "cg", "newton-cg", "trust-exact", "trust-constr"])
def test_how_it_was_found_does_not_count(method):
    def lowest(a):
        return optimize.minimize(lambda x: np.sum(np.cosh(x - a) + 0.1 * x[0] * x[1]), np.zeros(2),
                                 method=method, tol=1e-6).x

    a = np.array([0.3, -0.5])
    want = jacfwd(lambda a: optimize.root(lambda x: np.sinh(x - a) + 0.2 * x[::-1], np.zeros(2)).x)(a)
    assert_allclose(jacrev(lowest)(a), want, atol=1e-9)


def test_parameters_of_every_kind():
    """Closed over and in args, in pytrees, integers among them; x0 has no derivative."""
    data = np.array([1.0, 4.0, 2.0])

    def loss(p, args):
        squares = np.sum((p["m"] - args["y"]) ** 2)
        return squares * args["n"] + args["l"] * (p["m"] ** 2 + p["s"] ** 2) - 2 * p["s"]

    def fit(args, start, scale):
        return optimize.minimize(lambda p, a: scale * loss(p, a), {"m": start, "s": 0.0}, (args,)).x

    args = {"y": data, "n": 2, "l": 0.5}
    slope = grad(lambda args, start, scale: fit(args, start, scale)["m"], argnums=(0, 1, 2), allow_int=True)(
        args, 0.3, 1.7)
    # 2 n (3 m - sum y) + 2 l m = 0
    m = 4 * 7 / (12 + 1)
    assert_allclose(slope[0]["y"], 4 / 13, rtol=1e-8)
    assert_allclose(slope[0]["l"], -2 * m / 13, rtol=1e-8)
    assert slope[1] == 0 and abs(slope[2]) < 1e-9
    many = vmap(lambda start: fit(args, start, 1.0)["m"])(np.array([-1.0, 5.0]))
    assert_allclose(many, m, rtol=1e-9)


def test_bounds_hold_and_can_be_parameters():
    """argmin sum (x - a)^2 within [l, h] is the clip, whose derivative is 1 in what it returns."""
    def clip(p):
        a, low, high = p[:3], p[3:6], p[6:]
        return optimize.minimize(lambda x: np.sum((x - a) ** 2 * np.array([1.0, 2, 3])), np.zeros(3),
                                 bounds=optimize.Bounds(low, high)).x

    p = np.array([-2.0, 0.5, 3.0, -1, -1, -1, 1, 1, 1])
    want = np.zeros((3, 9))
    want[[0, 1, 2], [3, 1, 8]] = 1
    check_modes(clip, p, want=want)


@pytest.mark.parametrize("method", ["slsqp", "trust-constr"])
def test_constraints_by_formula(method):
    """The point of an ellipse farthest along a; and where a plane cuts it."""
    def along(p):
        a, r = p[:2], p[2]
        sphere = optimize.NonlinearConstraint(lambda x: np.sum(x ** 2), -np.inf, r ** 2)
        return optimize.minimize(lambda x: -a @ x, np.array([0.1, 0.2]), method=method, constraints=sphere).x

    a = np.array([3.0, 4.0])
    unit = a / 5
    want = np.concatenate([2 * (np.eye(2) - np.outer(unit, unit)) / 5, unit[:, None]], axis=1)
    check_modes(along, [*a, 2.0], want=want, atol=1e-7)


def test_equalities_inequalities_bounds_and_multipliers():
    def solve(p):
        rows = [{"type": "eq", "fun": lambda x: np.sum(x) - p[0]},
                {"type": "ineq", "fun": lambda x, c: np.stack([c - x[0] * x[1], 10 - x[2]]), "args": (p[1],)}]
        bounds = [(None, None)] * 3 + [(None, p[2])]
        return optimize.minimize(lambda x: np.sum((x - np.arange(1.0, 5)) ** 2) + 0.1 * x[3] ** 4,
                                 np.ones(4), bounds=bounds, constraints=rows, tol=1e-10)

    p = np.array([5.0, 0.2, 1.2])
    found = jit(lambda p: (solve(p).x, solve(p).v))(p)
    x, v = found
    assert_allclose([np.sum(x), x[0] * x[1], x[3]], [5, 0.2, 1.2], atol=1e-9)   # all hold
    assert v[1][1] == 0                                                        # this one does not
    # the multiplier is the change of the optimum: d fun / d p = - v where the side grows with p
    slope = grad(lambda p: solve(p).fun)(p)
    assert_allclose(slope[:2], [v[0], v[1][0]] * np.array([-1, 1]), rtol=1e-6)
    check_modes(lambda p: solve(p).x, p, atol=1e-5)
    v = lambda p: solve(p).v[0]
    assert_allclose(jacfwd(v)(p), differences(jit(v), p), atol=1e-4)


def test_linear_constraints_in_their_matrix_and_sides():
    """The point of a line a . x = b next to p: p - a (a . p - b) / a . a."""
    def solve(q):
        line = optimize.LinearConstraint(q[:2], q[2], q[2])
        return optimize.minimize(lambda x: np.sum((x - q[3:]) ** 2), np.zeros(2), constraints=line).x

    def formula(q):
        a, b, p = q[:2], q[2], q[3:]
        return p - a * (a @ p - b) / (a @ a)

    q = np.array([1.0, 2.0, 3.0, -1.0, 0.5])
    assert_allclose(jit(solve)(q), formula(q), atol=1e-9)
    check_modes(solve, q, want=jacfwd(formula)(q))


def test_repeated_constraints_are_counted_once():
    def solve(a):
        rows = lambda x: np.stack([a - x[0], 2 * (a - x[0]), a - x[0] + 0 * x[1]])
        return optimize.minimize(lambda x: np.sum((x - 5) ** 2), np.zeros(2), method="slsqp",
                                 constraints={"type": "ineq", "fun": rows}).x

    assert_allclose(jacrev(solve)(2.0), [1, 0], atol=1e-8)
    assert_allclose(jacfwd(solve)(9.0), 0, atol=1e-8)


@pytest.mark.parametrize("method, options", [
    ("trust-constr", {"factorization_method": "SVDFactorization"}), ("cobyla", {})])
def test_equalities_that_follow_from_others(method, options):
    """The nearest point to p with a . x = b and x0 + x1 = a1, both said twice, and their sum."""
    def solve(q, spare):
        a, b, p = q[:6], q[6], q[7:]

        def rows(x):
            one, two = a @ x - b, x[0] + x[1] - q[1]
            return np.stack([one, 2 * one, two, one + two] if spare else [one, two])

        return optimize.minimize(lambda x: np.sum((x - p) ** 2), np.zeros(6), method=method, tol=1e-8,
                                 constraints=optimize.NonlinearConstraint(rows, 0.0, 0.0), options=options)

    def formula(q):
        a, b, p = q[:6], q[6], q[7:]
        m = np.stack([a, np.array([1.0, 1.0, 0, 0, 0, 0])])
        return p - m.T @ np.linalg.solve(m @ m.T, m @ p - np.stack([b, q[1]]))

    q = np.array([1.0, 2, -1, 0.5, 0, 1, 3, 1, 0.5, -0.5, 0.2, -0.3, 0.1])
    assert_allclose(jit(lambda q: solve(q, True).x)(q), formula(q), atol=1e-8)
    check_modes(lambda q: solve(q, True).x, q, want=jacfwd(formula)(q))
    # the later ones are left out: their multipliers are 0, the others' are those without them
    every, few = [jit(lambda q, spare=spare: solve(q, spare).v[0])(q) for spare in (True, False)]
    assert_allclose(every, [few[0], 0, few[1], 0], atol=1e-8)


def test_an_equality_of_what_bounds_fix():
    """x0 is fixed by its bounds and by a constraint, and moves with both."""
    def solve(a):
        return optimize.minimize(lambda x: np.sum((x - 3) ** 2) + x[0] * x[1], np.zeros(2),
                                 method="trust-constr", bounds=[(a, a), (None, None)],
                                 constraints={"type": "eq", "fun": lambda x: x[0] - a}).x

    assert_allclose(jit(solve)(1.0), [1, 2.5], atol=1e-8)                    # x1 = 3 - x0 / 2
    assert_allclose(jacfwd(solve)(1.0), [1, -0.5], atol=1e-8)
    assert_allclose(jacrev(solve)(1.0), [1, -0.5], atol=1e-8)


def test_derivatives_are_nan_where_nothing_was_solved():
    """No minimum exists; a kink is none that the conditions know; the value is SciPy's all the same."""
    down = lambda a: optimize.minimize(lambda x: -a * x, 0.0, method="nelder-mead", options={"maxiter": 20}).x
    assert np.isnan(grad(down)(1.0)) and np.isfinite(jit(down)(1.0))
    kink = lambda a: optimize.minimize(lambda x: np.abs(x - a), 0.3, method="nelder-mead").x
    assert np.isnan(grad(kink)(1.0)) and abs(jit(kink)(1.0) - 1) < 1e-3
    stuck = lambda a: optimize.root(lambda x: x ** 2 + a, 1.0, method="lm").x
    assert np.isnan(grad(stuck)(1.0))


def test_values_in_a_trace_are_those_without():
    f = lambda x, a: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (a - x[:-1]) ** 2)
    plain = optimize.minimize(f, np.zeros(5), (1.0,))
    traced = jit(lambda a: dict(optimize.minimize(f, np.zeros(5), (a,))))(1.0)
    assert_allclose(traced["x"], plain.x, atol=1e-5)
    assert traced["nfev"] == plain.nfev and traced["nit"] == plain.nit and traced["success"]
    assert_allclose(traced["x"], 1, atol=1e-12)           # Newton steps end the search
    assert_allclose(traced["jac"], 0, atol=1e-9)


def test_nothing_traced_is_solved_at_once():
    """Inside of a transform, but independent of it: SciPy's own result, with its message."""
    def f(x):
        found = optimize.minimize(lambda y: np.sum((y - 3) ** 2) if y[0] < 1e9 else y[0], np.zeros(2))
        assert isinstance(found.message, str) and isinstance(found.x, np.ndarray)
        return x * found.x[0]

    assert_allclose(grad(f)(1.0), 3, atol=1e-6)
    opaque = lambda y: float(y[0]) ** 2 + float(y[1] - 1) ** 2
    found = jit(lambda x: x * optimize.minimize(opaque, np.ones(2), method="powell").x[1])(2.0)
    assert_allclose(found, 2, atol=1e-6)


@pytest.mark.parametrize("coupling", [0.0, 0.01])
def test_more_unknowns_than_a_dense_matrix_is_made_for(coupling):
    """Sparse: by LU; not sparse: by GMRES."""
    n = 1500

    def lowest(a):
        def f(x):
            chain = 0.5 * np.sum((x[1:] - x[:-1]) ** 2)
            return np.sum(np.cosh(x - a)) + chain + coupling * np.sum(x) ** 2 / 2
        return optimize.minimize(f, np.zeros(n), method="trust-ncg", options={"gtol": 1e-10}).x

    a = np.sin(np.arange(n) / 50)
    x, pull = vjp(lowest, a)
    curve = np.diag(np.cosh(x - a) + 2) - np.eye(n, k=1) - np.eye(n, k=-1) + coupling
    curve[0, 0] -= 1
    curve[-1, -1] -= 1
    ct = np.cos(np.arange(n))
    assert_allclose(pull(ct)[0], np.cosh(x - a) * np.linalg.solve(curve, ct), atol=1e-8)
    assert_allclose(jvp(lowest, (a,), (ct,))[1], np.linalg.solve(curve, np.cosh(x - a) * ct), atol=1e-8)


def test_large_roots_with_sparse_jacobians(monkeypatch):
    """The boundary-value problem u'' = p exp(u), Bratu's equation: a system that GMRES finds hard."""
    monkeypatch.setattr(implicit, "DENSE", 100)
    n = 200
    lap = np.diag(np.full(n, -2.0)) + np.eye(n, k=1) + np.eye(n, k=-1)
    lap *= (n + 1) ** 2

    def solve(p):
        def f(u):
            wide = np.pad(u, 1)
            return (wide[2:] - 2 * u + wide[:-2]) * (n + 1) ** 2 - p * np.exp(u)
        return optimize.root(f, np.zeros(n), method="hybr").x

    u, moved = jvp(solve, (1.5,), (1.0,))
    assert_allclose(lap @ u, 1.5 * np.exp(u), atol=1e-4)
    want = np.linalg.solve(lap - 1.5 * np.diag(np.exp(u)), np.exp(u))
    assert_allclose(moved, want, rtol=1e-6)
    total = jit(grad(lambda p: np.sum(solve(p))))
    assert_allclose(total(1.5), np.sum(want), rtol=1e-6)
    assert_allclose(total(0.5), (np.sum(jit(solve)(0.501)) - np.sum(jit(solve)(0.499))) / 0.002, rtol=1e-5)
    assert_allclose(vmap(total)(np.array([0.5, 1.5])), [total(0.5), total(1.5)], rtol=1e-9)


@pytest.mark.parametrize("dense", [1000, 10])
def test_many_constraints_and_bounds(monkeypatch, dense):
    """A chain between walls, whose steps are given; the conditions of those that hold, by hand."""
    monkeypatch.setattr(implicit, "DENSE", dense)
    n = 60
    target = 2 * np.sin(np.arange(n) / 7)

    def solve(p):
        steps = optimize.NonlinearConstraint(lambda x: x[1:] - x[:-1] + 0 * x[1:] ** 2, -np.inf, p[0])
        return optimize.minimize(lambda x: 0.5 * np.sum((x - target) ** 2), np.zeros(n),
                                 method="slsqp", bounds=optimize.Bounds(-1.5, p[1]),
                                 constraints=steps, tol=1e-9)

    p = np.array([0.2, 1.5])
    found = jit(solve)(p)
    x = found.x
    held, steps = (x > 1.5 - 1e-9) | (x < -1.5 + 1e-9), np.flatnonzero(x[1:] - x[:-1] > 0.2 - 1e-9)
    assert held.any() and len(steps) > 2 and np.all(x <= 1.5 + 1e-12) and np.all(np.diff(x) <= 0.2 + 1e-9)
    system = np.eye(n + len(steps))
    for k, i in enumerate(steps):
        system[n + k, [i, i + 1, n + k]] = -1, 1, 0
        system[[i, i + 1], n + k] = -1, 1
    system[:n][held] = np.eye(n + len(steps))[:n][held]
    right = np.zeros((n + len(steps), 2))
    right[n:, 0], right[:n, 1] = 1, x > 1.5 - 1e-9
    want = np.linalg.solve(system, right)[:n]
    assert_allclose(jacfwd(lambda p: solve(p).x)(p), want, atol=1e-8)
    ct = np.cos(np.arange(n))
    assert_allclose(grad(lambda p: ct @ solve(p).x)(p), ct @ want, atol=1e-7)


# ----- fits


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "cauchy", "arctan", "huber"])
def test_least_squares_in_its_data(loss):
    def fit(p):
        data = p[1] * Y + p[0] * np.cos(3 * T)
        x = optimize.least_squares(lambda q: q["a"] * np.exp(-q["k"] * T) - data, {"a": 1.0, "k": 1.0},
                                   loss=loss, f_scale=0.05).x
        return np.stack([x["a"], x["k"]])

    check_modes(fit, [0.02, 1.0], atol=1e-6)


def test_least_squares_with_bounds_that_hold():
    def fit(p):
        x = optimize.least_squares(lambda q: q[0] * np.exp(-q[1] * T) - p[0] * Y, [1.0, 1.0],
                                   bounds=([0.0, 0.0], np.stack([10.0, p[1]]))).x
        return x

    p = np.array([1.0, 1.2])
    basis = np.exp(-1.2 * T)
    slope = jacrev(fit)(p)
    assert_allclose(slope[:, 0], [basis @ Y / (basis @ basis), 0], atol=1e-9)
    assert_allclose(slope[1, 1], 1, atol=1e-12)
    check_modes(fit, p)


@pytest.mark.parametrize("given", [{"sigma": np.linspace(0.1, 0.3, 30)}, {"absolute_sigma": True},
                                   {"sigma": np.diag(np.linspace(0.1, 0.3, 30)) + 0.01}],
                         ids=["sigma", "absolute", "covariance"])
def test_curve_fit_in_its_data(given):
    model = lambda x, a, k: a * np.exp(-k * x)
    tight = {"xtol": 1e-14, "ftol": 1e-14}

    def ours(y):
        return optimize.curve_fit(model, T, y, **given, **tight)

    popt, pcov = jit(ours)(Y)
    want, cov = so.curve_fit(model, T, Y, **given, **tight)
    assert_allclose(popt, want, rtol=1e-7)
    assert_allclose(pcov, cov, rtol=1e-5)
    direction = np.cos(np.arange(30))
    moved = [so.curve_fit(model, T, Y + h * direction, **given, **tight)[0] for h in (-1e-4, 1e-4)]
    slope = jacrev(lambda y: ours(y)[0])(Y)
    assert_allclose(slope @ direction, (moved[1] - moved[0]) / 2e-4, rtol=1e-6, atol=1e-6)
    assert_allclose(jvp(lambda y: ours(y)[0], (Y,), (direction,))[1], slope @ direction, atol=1e-9)


def test_curve_fit_in_the_places_of_the_data():
    """Of a line through two points, by hand."""
    def line(x):
        return optimize.curve_fit(lambda x, a, b: a * x + b, x, np.array([1.0, 4.0]), [1.0, 0.0])[0]

    assert_allclose(jacfwd(line)(np.array([0.0, 2.0])), [[0.75, -0.75], [-1.5, 0]], atol=1e-8)


# ----- roots


@pytest.mark.parametrize("method", ["hybr", "lm", "df-sane"])
def test_root_in_its_parameters(method):
    def crossing(p):
        found = optimize.root(lambda v: {"e": np.exp(p[0] * v["x"]) + v["y"] - 5,
                                         "p": v["x"] * v["y"] - p[1]}, {"x": 1.0, "y": 1.0},
                              method=method)
        return np.stack([found.x["x"], found.x["y"]])

    check_modes(crossing, [1.0, 1.0])


@pytest.mark.parametrize("given", [{"x0": 1.0}, {"x0": 1.0, "x1": 2.0}, {"bracket": (0.0, 5.0)},
                                   {"x0": 1.0, "method": "halley"}], ids=str)
def test_root_scalar_in_its_parameters(given):
    cube = lambda a: optimize.root_scalar(lambda x: x ** 3 - a, **given).root
    for f in (cube, jit(cube)):
        assert_allclose([f(8.0), grad(f)(8.0), grad(grad(f))(8.0)], [2, 1 / 12, -1 / 144], rtol=1e-9)
    assert_allclose(vmap(grad(cube))(np.array([1.0, 8.0])), [1 / 3, 1 / 12], rtol=1e-9)


def test_minimize_scalar_in_its_parameters():
    inside = lambda a: optimize.minimize_scalar(lambda x: np.cosh(x - a ** 2)).x
    assert_allclose([grad(inside)(0.7), grad(grad(inside))(0.7)], [1.4, 2], rtol=1e-7)
    held = lambda b: optimize.minimize_scalar(lambda x: (x - 3) ** 2, bounds=(0, b)).x
    assert_allclose([jit(held)(1.0), grad(held)(1.0)], 1, rtol=1e-9)


def test_a_solution_inside_a_solution():
    """The best penalty of a ridge fit: the outer objective's derivative goes through the inner solution."""
    r = np.random.default_rng(0)
    design = r.normal(size=(40, 8))
    y, train, test = design[:, 0] + 2 * r.normal(size=40), slice(0, 20), slice(20, 40)

    def weights(penalty):
        return optimize.minimize(
            lambda w: np.sum((design[train] @ w - y[train]) ** 2) + penalty * np.sum(w ** 2), np.zeros(8)).x

    def loss(log_penalty):
        return np.mean((design[test] @ weights(np.exp(log_penalty)) - y[test]) ** 2)

    def formula(log_penalty):
        d = design[train]
        w = np.linalg.solve(d.T @ d + np.exp(log_penalty) * np.eye(8), d.T @ y[train])
        return np.mean((design[test] @ w - y[test]) ** 2)

    assert_allclose(grad(loss)(0.5), differences(formula, 0.5), rtol=1e-7)
    found = optimize.minimize(loss, 2.0, method="BFGS", options={"gtol": 1e-7})
    want = so.minimize_scalar(formula, bounds=(0, 6))
    assert 0.1 < want.x < 5.9
    assert_allclose(found.x, want.x, atol=1e-3)


def test_results_can_be_returned():
    f = lambda a: optimize.minimize(lambda x: np.sum((x - a) ** 2), np.zeros(2), method="BFGS")
    several = jit(vmap(f))(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert isinstance(several, so.OptimizeResult) and several.success.tolist() == [True] * 3
    assert_allclose(several.x, [[1, 2], [3, 4], [5, 6]], atol=1e-9)
    slope, found = jacrev(lambda a: (lambda r: (r.x, r))(f(a)), has_aux=True)(np.ones(2))
    assert_allclose(slope, np.eye(2), atol=1e-9)
    assert found.nfev == f(np.ones(2)).nfev


def test_settings_and_values_are_those_of_each_call():
    """Programs of equal structure share what was compiled, but not numbers, options or callbacks."""
    seen = []

    def f(a, b, options=None, callback=None):
        return optimize.minimize(lambda x: np.sum((x - a * b) ** 2), np.zeros(2), options=options,
                                 callback=callback)

    for a, b in ((1.0, np.array([1.0, 2.0])), (3.0, np.array([1.0, 2.0])), (3.0, np.array([0.0, -1.0]))):
        assert_allclose(jit(lambda a, b=b: f(a, b).x)(a), a * b, atol=1e-9)
        assert_allclose(jacrev(lambda a, b=b: f(a, b).x)(a), b, atol=1e-9)
    assert jit(lambda a: f(a, np.ones(2), {"maxiter": 0}).nit)(1.0) == 0
    assert jit(lambda a: f(a, np.ones(2), {"maxiter": 5}).nit)(1.0) > 0
    jit(lambda a: f(a, np.ones(2), callback=lambda x: seen.append(x)).x)(1.0)
    assert_allclose(seen[-1], 1, atol=1e-6)
    for matrix in (np.eye(2), np.ones((2, 2))):
        rows = optimize.LinearConstraint(matrix, -np.inf, 0.5)
        found = jit(lambda a, rows=rows: optimize.minimize(lambda x: np.sum((x - a) ** 2), np.zeros(2),
                                                           constraints=rows).x)(1.0)
        assert_allclose(matrix[0] @ found, 0.5, atol=1e-9)


def test_many_starts():
    f = lambda x: x ** 4 - x ** 2 + 0.1 * x
    best = vmap(lambda x0: optimize.minimize(f, x0, method="trust-exact").x)(np.array([-0.8, 0.7]))
    roots = np.sort(np.real(np.roots([4, 0, -2, 0.1])))
    assert_allclose(best, roots[[0, 2]], atol=1e-9)


def test_structures_come_back():
    x0 = {"u": (np.zeros(2), 0.0)}
    f = lambda p, a: np.sum((p["u"][0] - a) ** 2) + p["u"][1] ** 2
    found = jit(lambda a: optimize.minimize(f, x0, (a,)).x)(2.0)
    assert tree.structure(found) == tree.structure(x0)
    assert_allclose(found["u"][0], 2, atol=1e-9)
