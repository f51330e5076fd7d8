"""functrans.scipy.optimize against SciPy: optima, evaluations, pytrees, bounds, constraints, sparsity."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from functrans import hessian, jacobian, tree
from functrans.scipy import optimize
from functrans.scipy.optimize import functions, problems

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from problems import CASES as CLASSICS

T = np.linspace(0, 2, 30)
Y = 2 * np.exp(-1.5 * T) + 0.01 * np.sin(40 * T)
X0 = {"a": np.array([[0.5, -1.0], [1.5, 0.3]]), "b": 2}


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def joined(p):
    return np.concatenate([np.reshape(p["a"], -1), np.reshape(p["b"], 1)])


def decay(p):
    return p["a"] * np.exp(-p["k"] * T) - Y


# ----- the classics


@pytest.mark.parametrize("case", CLASSICS, ids=lambda c: c.name)
def test_classics_take_a_fifth_of_the_evaluations(case):
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return case.fun(x)

    if case.residuals:
        tight = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-9)
        plain = so.least_squares(counted, case.x0, method=case.method, **tight)
        ours = optimize.least_squares(case.fun, case.x0, method=case.method, **tight)
        value, found = plain.cost, ours.cost
    else:
        given = {"bounds": case.bounds, "constraints": case.constraints, "tol": 1e-9}
        plain = so.minimize(counted, case.x0, method=case.plain or case.method, **given)
        ours = optimize.minimize(case.fun, case.x0, method=case.method, **given)
        value, found = plain.fun, ours.fun
    assert ours.nfev <= calls / 5
    assert found <= value + 1e-8 * max(1, abs(value))
    assert_allclose(found, case.least, rtol=2e-6, atol=1e-8)      # to the digits that the collections give


# ----- minimize


@pytest.mark.parametrize("method", problems.METHODS)
def test_every_method_on_pytrees(method):
    """A strictly convex function, whose minimum a linear system gives."""
    r = np.random.default_rng(0)
    a = r.normal(size=(5, 5))
    a, b = a @ a.T + np.eye(5), r.normal(size=5)

    def f(p):
        x = joined(p)
        return 0.5 * x @ a @ x - b @ x

    seen = []
    found = optimize.minimize(f, X0, method=method, callback=lambda x, *rest: seen.append(x) and None,
                              tol=1e-9, options={"maxfev": 4000} if method == "nelder-mead" else None)
    assert_allclose(joined(found.x), np.linalg.solve(a, b), atol=3e-4)
    assert tree.structure(found.x) == tree.structure(X0) and np.shape(found.x["a"]) == (2, 2)
    assert isinstance(found, so.OptimizeResult) and isinstance(found.fun, float)
    assert seen and np.shape(seen[-1]["a"]) == (2, 2)
    if "g" in problems.METHODS[method]:
        assert np.shape(found["jac" if method != "trust-constr" else "grad"]["a"]) == (2, 2)


@pytest.mark.parametrize("method", ["BFGS", "trust-exact", "trust-krylov", "trust-constr"])
def test_derivatives_that_scipy_gets(monkeypatch, method):
    given = {}
    monkeypatch.setattr(so, "minimize", lambda fun, x0, **kept: (
        given.update(kept, fun=fun) or so.OptimizeResult(x=x0, fun=0.0, v=[])))
    x = np.array([0.3, -0.7, 1.2])
    optimize.minimize(rosenbrock, x, method=method)
    value, slope = given["fun"](x)
    assert_allclose((value, *slope), (so.rosen(x), *so.rosen_der(x)), rtol=1e-13)
    if method in ("trust-exact", "trust-constr"):
        assert_allclose(given["hess"](x), so.rosen_hess(x), rtol=1e-12)
    elif method == "trust-krylov":
        assert_allclose(given["hessp"](x, x), so.rosen_hess(x) @ x, rtol=1e-12)
    else:
        assert not {"hess", "hessp"} & given.keys()


@pytest.mark.parametrize("method", [m for m, uses in problems.METHODS.items() if "c" in uses])
@pytest.mark.parametrize("form", ["dicts", "nonlinear", "mixed"])
def test_constraints(method, form):
    """min x + 2 y + z on the unit sphere with y = z and x >= -0.3, solved by hand."""
    dicts = [{"type": "eq", "fun": lambda p: 1 - p["x"] ** 2 - np.sum(p["yz"] ** 2)},
             {"type": "eq", "fun": lambda p, c: c * (p["yz"][0] - p["yz"][1]), "args": (2.0,)},
             {"type": "ineq", "fun": lambda p: p["x"] + 0.3}]
    together = optimize.NonlinearConstraint(
        lambda p: {"low": p["x"], "same": np.stack([p["x"] ** 2 + np.sum(p["yz"] ** 2),
                                                    p["yz"][0] - p["yz"][1]])},
        {"low": -0.3, "same": np.array([1.0, 0.0])}, {"low": np.inf, "same": np.array([1.0, 0.0])})
    linear = optimize.LinearConstraint(np.array([[1.0, 0, 0], [0, 1, -1]]), [-0.3, 0], [np.inf, 0])
    constraints = {"dicts": dicts, "nonlinear": together, "mixed": [dicts[0], linear]}[form]
    found = optimize.minimize(lambda p: p["x"] + 2 * p["yz"][0] + p["yz"][1],
                              {"x": 0.3, "yz": np.array([-0.5, -0.6])}, method=method,
                              constraints=constraints, tol=1e-8)
    side = -np.sqrt((1 - 0.09) / 2)
    assert_allclose([found.x["x"], *found.x["yz"]], [-0.3, side, side], atol=1e-4)
    if method == "trust-constr" and form == "nonlinear":
        # 1 + low + 2 lam x = 0 and 3 + 4 lam y = 0
        lam = -0.75 / side
        assert_allclose(found.v[0]["same"][0], lam, rtol=1e-3)
        assert_allclose(found.v[0]["low"], -1 + 0.6 * lam, rtol=1e-3)


@pytest.mark.parametrize("method", [m for m, uses in problems.METHODS.items() if "b" in uses])
def test_bounds_in_every_form(method):
    def f(p):
        return np.sum((p["a"] - 2) ** 2) + (p["b"] + 3) ** 2

    x0, want = {"a": np.array([0.5, 0.6]), "b": np.array(0.0)}, ([1.0, 2.0], -1.5)
    forms = [{"a": (None, np.array([1.0, 5.0])), "b": (-1.5, None)},
             [(None, 1), (None, 5), (-1.5, None)],
             optimize.Bounds([-np.inf, -np.inf, -1.5], [1, 5, np.inf]),
             optimize.Bounds({"a": -np.inf, "b": -1.5}, {"a": np.array([1.0, 5.0]), "b": np.inf})]
    for bounds in forms if method == "l-bfgs-b" else forms[:1]:
        found = optimize.minimize(f, x0, method=method, bounds=bounds, tol=1e-9)
        assert_allclose(found.x["a"], want[0], atol=1e-4)
        assert_allclose(found.x["b"], want[1], atol=1e-4)


def test_large_constrained_problem_takes_products_and_sparse_jacobians(monkeypatch):
    n = 300
    made = []
    monkeypatch.setattr(so, "NonlinearConstraint", type("Spy", (so.NonlinearConstraint,), {
        "__init__": lambda self, *a, **k: made.append(a) or super(type(self), self).__init__(*a, **k)}))
    found = optimize.minimize(lambda x: np.sum((x - 1) ** 2), np.zeros(n), method="trust-constr",
                              constraints={"type": "eq", "fun": lambda x: x[1:] ** 2 + x[:-1] - 1})
    assert_allclose(found.x[1:] ** 2 + found.x[:-1], 1, atol=1e-6)
    _, _, _, jac, curve = made[0]
    x, w = np.linspace(0, 1, n), np.linspace(1, 2, n - 1)
    assert sp.issparse(jac(x)) and jac(x).nnz == 2 * (n - 1)
    assert_allclose(curve(x, w) @ x, [0, *(2 * w * x[1:])], rtol=1e-12)
    # stationary: the gradient is a combination of the constraints' rows
    rows, slope = jac(found.x).toarray(), 2 * (found.x - 1)
    assert_allclose(slope + rows.T @ found.v[0], 0, atol=1e-4)


def test_python_control_flow_on_values():
    """Not traceable by jit: derivatives are then made at each call."""
    def f(x):
        return np.sum((x - 1) ** 2) if x[0] > 0.5 else np.sum((x - 1) ** 2) - x[0] + 0.5

    for method in ("BFGS", "trust-exact", "nelder-mead", "cobyla"):
        found = optimize.minimize(f, np.array([-1.0, 2.0]), method=method, tol=1e-8)
        assert_allclose(found.x, 1, atol=1e-4)
    found = optimize.least_squares(lambda x: x - 1 if x[0] > 0 else 2 * x - 2, np.array([-3.0]))
    assert_allclose(found.x, 1, atol=1e-8)


def test_opaque_functions_where_no_derivative_is_needed():
    found = optimize.minimize(lambda x: float(np.asarray(x)[0]) ** 2 + 1, [1.0], method="nelder-mead")
    assert_allclose(found.fun, 1, atol=1e-8)


def test_float32_leaves_stay_float32():
    seen = []

    def f(p):
        seen.append(p["w"].dtype)
        return np.sum((p["w"] - np.float32(0.25)) ** 2) + (p["b"] - 1) ** 2

    found = optimize.minimize(f, {"w": np.zeros(3, np.float32), "b": 0.0})
    assert found.x["w"].dtype == np.float32 == seen[0] and found.x["b"].dtype == np.float64
    assert_allclose(found.x["w"], 0.25, atol=1e-5)


def test_arguments_callbacks_and_custom_methods():
    results = []

    def stop(intermediate_result):
        results.append(intermediate_result)
        if len(results) == 2:
            raise StopIteration

    found = optimize.minimize(lambda x, a, name: np.sum((x[name] - a) ** 4), {"u": np.zeros(2)}, (3.0, "u"),
                              method="BFGS", callback=stop)
    assert len(results) == 2 and found.status == 99 and np.shape(results[0].x["u"]) == (2,)

    def newton(fun, x0, args, jac, hess, hessp, **unused):
        x = x0 - np.linalg.solve(hess(x0), jac(x0))
        assert_allclose(hessp(x0, x0), hess(x0) @ x0)
        return so.OptimizeResult(x=x, fun=fun(x), success=True)

    assert_allclose(optimize.minimize(lambda x: np.sum((x - 2) ** 2), [0.0, 1.0], method=newton).x, 2)


# ----- least squares


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares_equals_scipy(method):
    ours = optimize.least_squares(decay, {"a": 1.0, "k": 1.0}, method=method)
    plain = so.least_squares(lambda v: v[0] * np.exp(-v[1] * T) - Y, [1.0, 1.0], jac="3-point", method=method)
    assert_allclose([ours.x["a"], ours.x["k"]], plain.x, rtol=1e-7)
    assert_allclose(ours.cost, plain.cost, rtol=1e-12)
    assert_allclose(ours.jac, jacobian(lambda v: v[0] * np.exp(-v[1] * T))(np.array(list(ours.x.values()))))
    assert ours.fun.shape == T.shape and set(ours.active_mask) == set(ours.grad) == {"a", "k"}


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_robust_losses_with_bounds(loss):
    ours = optimize.least_squares(decay, {"a": 1.0, "k": 1.0}, loss=loss, f_scale=0.02,
                                  bounds=({"a": 0.0, "k": -np.inf}, {"a": 10.0, "k": 1.4}))
    plain = so.least_squares(lambda v: v[0] * np.exp(-v[1] * T) - Y, [1.0, 1.0], loss=loss, f_scale=0.02,
                             bounds=([0, -np.inf], [10, 1.4]))
    assert_allclose([ours.x["a"], ours.x["k"]], plain.x, rtol=1e-5)
    assert ours.active_mask == {"a": 0, "k": 1}


def test_residuals_may_be_pytrees_and_jacobians_sparse():
    n = 400

    def f(x):
        return {"slope": 10 * (x[1:] - x[:-1] ** 2), "value": 1 - x}

    found = optimize.least_squares(f, np.full(n, 0.9))
    assert sp.issparse(found.jac) and found.jac.nnz == 2 * (n - 1) + n
    assert_allclose(found.x, 1, atol=1e-8)
    assert found.fun["slope"].shape == (n - 1,)


def test_operators_where_a_jacobian_would_not_fit(monkeypatch):
    monkeypatch.setattr(functions, "MOST", 1000)
    monkeypatch.setattr(functions, "SMALL", 100)
    a = np.random.default_rng(1).normal(size=(60, 20))
    found = optimize.least_squares(lambda x: a @ np.sinh(x) - 1, np.zeros(20))
    want = np.arcsinh(np.linalg.lstsq(a, np.ones(60), rcond=None)[0])
    assert isinstance(found.jac, functions.LinearOperator)
    assert_allclose(found.x, want, atol=1e-5)


def test_no_pattern_is_kept_that_is_too_large_to_look_at(monkeypatch):
    monkeypatch.setattr(functions, "PATTERN", 100)
    a = np.random.default_rng(1).normal(size=(160, 120))
    found = optimize.least_squares(lambda x: a @ x - 1, np.zeros(120))
    assert isinstance(found.jac, np.ndarray)
    assert_allclose(found.x, np.linalg.lstsq(a, np.ones(160), rcond=None)[0], atol=1e-8)


def test_given_sparsity_is_used_and_checked_on_request():
    f = lambda x: np.concatenate([x ** 2, x[1:] * x[:-1]]) - 1
    true = np.concatenate([np.eye(4), np.eye(4)[1:] + np.eye(4)[:-1]])
    found = optimize.least_squares(f, np.full(4, 0.5), jac_sparsity=true, check=True)
    assert sp.issparse(found.jac)
    assert_allclose(abs(found.x), 1, atol=1e-6)
    with pytest.raises(ValueError, match="misses entries of row 4"):
        optimize.least_squares(f, np.full(4, 0.5), check=True,
                               jac_sparsity=true * (np.arange(7)[:, None] != 4))


# ----- curve_fit, root, root_scalar, minimize_scalar


SIGMA = np.linspace(0.1, 0.3, 30)
CORRELATED = np.diag(SIGMA ** 2) + 0.002


@pytest.mark.parametrize("given", [{}, {"sigma": SIGMA}, {"sigma": SIGMA, "absolute_sigma": True},
                                   {"sigma": CORRELATED}, {"bounds": (0, [1.9, np.inf])},
                                   {"p0": [1.0, 1.0]}], ids=lambda given: "-".join(given))
def test_curve_fit_equals_scipy(given):
    model = lambda x, a, k: a * np.exp(-k * x)
    popt, pcov = optimize.curve_fit(model, T, Y, **given)
    want, cov = so.curve_fit(model, T, Y, **given)
    assert_allclose(popt, want, rtol=1e-6)
    assert_allclose(pcov, cov, rtol=1e-5)


def test_curve_fit_of_named_parameters():
    def model(x, scale, rates):
        return scale * np.sum(np.exp(-x["t"][:, None] * rates), axis=1)

    data = model({"t": T}, 2.0, np.array([0.5, 3.0]))
    popt, pcov, info, _, _ = optimize.curve_fit(model, {"t": T}, data, full_output=True, bounds=(0, 10),
                                                p0={"scale": 1.0, "rates": np.array([0.1, 1.0])})
    assert_allclose(popt["rates"], [0.5, 3.0], rtol=1e-5)
    assert pcov.shape == (3, 3) and info["nfev"] > 0


EQUATIONS = {"hybr": 1e-10, "lm": 1e-10, "broyden1": 1e-5, "broyden2": 1e-5, "anderson": 1e-5,
             "diagbroyden": 1e-5, "krylov": 1e-5, "df-sane": 1e-5}


@pytest.mark.parametrize("method", EQUATIONS)
def test_root_of_pytrees(method):
    def f(p):
        return [p["u"] + 0.1 * np.sum(p["v"]) - 1.1, p["v"] + 0.2 * np.sin(p["v"][::-1]) - p["u"]]

    found = optimize.root(f, {"u": 0.5, "v": np.array([0.4, 0.6])}, method=method)
    assert_allclose(found.fun[1], 0, atol=EQUATIONS[method])
    assert_allclose(f(found.x)[0], 0, atol=EQUATIONS[method])
    assert found.x["v"].shape == (2,) and found.success


def test_scalar_functions():
    f, want = lambda x: x ** 3 - x - 2, np.real(np.roots([1, 0, -1, -2])[0])
    for given in ({"x0": 1.5}, {"x0": 1.5, "method": "halley"}, {"bracket": (1, 2)}, {"x0": 1.0, "x1": 2.0}):
        got = optimize.root_scalar(f, **given)
        assert got.converged and abs(got.root - want) < 1e-10
    assert optimize.root_scalar(f, x0=1.5, method="halley").iterations <= optimize.root_scalar(
        f, x0=1.5).iterations
    for given in ({}, {"bracket": (0, 3), "method": "golden"}, {"bounds": (0, 3)}):
        assert abs(optimize.minimize_scalar(lambda x: np.cosh(x - 1.25), **given).x - 1.25) < 1e-5


def test_a_list_of_numbers_is_an_array():
    assert_array_equal(optimize.minimize(lambda x: np.sum(x ** 2), [1, 2]).x.shape, (2,))
    pair = optimize.minimize(lambda x: x[0] ** 2 + np.sum(x[1] ** 2), [1.0, np.ones(2)]).x
    assert isinstance(pair, list) and pair[1].shape == (2,)


def test_hessians_are_those_of_functrans():
    """The dense Hessian of the Lagrangian's constraint part."""
    rows = functions.Rows(lambda v, consts: {"a": v ** 3, "b": np.prod(v)}, "rows")
    v, w = np.array([1.0, 2.0, 0.5]), np.array([1.0, 2.0, 3.0, 4.0])
    want = np.diag(6 * w[:3] * v) + w[3] * hessian(np.prod)(v)
    assert_allclose(rows.weighted_hessian(v, w, ()), want, rtol=1e-13)
    assert_allclose(rows.weighted_hessp(v, w, v, ()), want @ v, rtol=1e-13)
