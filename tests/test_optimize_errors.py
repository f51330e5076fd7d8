"""Wrong use of functrans.scipy.optimize and functrans.sparse: what was got, where, what to do."""

import numpy as np
import pytest
from failing import Cases

from functrans import errors, grad, hessian, hvp, jit, sparse
from functrans.scipy import optimize

E = errors
X = np.ones(3)
case = Cases()


def square(x):
    return np.sum(x ** 2)


# ----- the function


@case(E.NonScalarOutputError, "f64[3]")
def objective_of_several_values():
    optimize.minimize(lambda x: x ** 2, X)  # BAD


@case(E.NonScalarOutputError, "fun must return a real scalar", "f64[1]", "least_squares")
def objective_of_several_values_without_gradient():
    optimize.minimize(lambda x: x[:1], X, method="nelder-mead")  # BAD


@case(E.NonScalarOutputError, "minimize: fun", "a dict")
def objective_of_a_dict():
    optimize.minimize(lambda x: {"loss": square(x)}, X)  # BAD


@case(E.NonScalarOutputError, "minimize_scalar: fun", "list")
def objective_of_a_list():
    optimize.minimize_scalar(lambda x: [x, x])  # BAD


@case(E.ObjectiveError, "minimize: the function is nan at the start", "debug_nans")
def objective_is_nan():
    optimize.minimize(lambda x: np.sum(np.log(x - 2)), X)  # BAD


@case(E.ObjectiveError, "minimize: the function is nan at the start")
def objective_is_nan_without_gradient():
    optimize.minimize(lambda x: np.sum(x) * np.nan, X, method="cobyla")  # BAD


@case(E.ObjectiveError, "1.5708 at the start", "element 1 of its gradient is inf", "debug_nans")
def gradient_is_nan():
    optimize.minimize(lambda x: np.arcsin(x[1]), np.array([0.0, 1.0]))  # BAD


@case(E.ObjectiveError, "evaluations the function is nan", "bounds")
def objective_becomes_nan():
    optimize.minimize(lambda x: np.where(x[0] > 0.9, 1.0, np.nan) * x[0], X, method="cg")  # BAD


@case(E.ObjectiveError, "element 2 of least_squares: the result of fun is nan")
def residual_is_nan():
    optimize.least_squares(lambda x: np.log(x), np.array([1.0, 2.0, -1.0]))  # BAD


@case(E.ObjectiveError, "element 0 of root: the result of fun is inf")
def equations_are_infinite():
    optimize.root(lambda x: 1 / x, np.array([0.0, 1.0]))  # BAD


@case(E.ObjectiveError, "constraint 0 is nan")
def constraint_is_nan():
    optimize.minimize(square, X, constraints={"type": "ineq", "fun": lambda x: np.log(-x[0])})  # BAD


@case(E.ObjectiveError, "element 1 of curve_fit: f(xdata) - ydata")
def data_are_nan():
    optimize.curve_fit(lambda t, a: a * t, X, np.array([1.0, np.nan, 2.0]))  # BAD


@case(E.ObjectiveError, "root_scalar: f is nan at -1")
def scalar_is_nan():
    optimize.root_scalar(lambda x: np.log(x), x0=-1.0)  # BAD


@case(E.DerivativeLostError, "np.array")
def objective_that_leaves_numpy():
    def f(x):
        return np.sum(np.array([x[0], x[1]]))  # BAD
    optimize.minimize(f, X)


@case(E.NotSupportedError, "a function that looks at values", "lax.cond")
def control_flow_on_values_in_a_trace():
    grad(lambda a: optimize.minimize(lambda x: (x - a) ** 2 if x > 0 else x ** 2, 1.0).x)(2.0)  # BAD


@case(E.NotSupportedError, "a function that looks at values", "lax.cond")
def control_flow_on_values_with_traced_arguments():
    f = lambda x, a: (x - a) ** 2 if x > 0 else x ** 2
    jit(lambda a: optimize.minimize(f, 1.0, (a,)).x)(2.0)  # BAD


@case(E.NotSupportedError, "loss of one's own", "soft_l1")
def loss_of_ones_own_in_a_trace():
    jit(lambda a: optimize.least_squares(lambda x: x - a, 1.0, loss=np.stack).x)(2.0)  # BAD


@case(E.DtypeError, "the result of fun is complex", "real and imaginary")
def complex_residuals():
    optimize.least_squares(lambda x: x * 1j, X)  # BAD


# ----- the start


@case(E.DtypeError, "minimize: x0['w'] is c128[2]", "real and imaginary")
def complex_start():
    optimize.minimize(lambda p: np.sum(abs(p["w"])), {"w": np.ones(2) * 1j})  # BAD


@case(E.DtypeError, "minimize: x0['w']", "str")
def start_is_no_array():
    optimize.minimize(lambda p: p["b"], {"b": 1.0, "w": "zero"})  # BAD


@case(E.ShapeError, "x0 has no elements")
def empty_start():
    optimize.minimize(square, np.zeros(0))  # BAD


@case(E.ArgumentError, "x0['w'][0, 1] is nan")
def start_is_nan():
    optimize.minimize(lambda p: square(p["w"]), {"w": np.array([[1.0, np.nan]])})  # BAD


@case(E.ArgumentError, "takes a function", "f64[]")
def no_function():
    optimize.minimize(square(X), X)  # BAD


# ----- bounds


@case(E.BoundsError, "minimize: no value fits the bounds of x0[1]: from 2 to 1")
def lower_above_upper():
    optimize.minimize(square, X, bounds=[(0, 1), (2, 1), (None, None)])  # BAD


@case(E.BoundsError, "x0['b'][1, 0]", "from 5 to 1")
def lower_above_upper_in_a_tree():
    bounds = optimize.Bounds({"a": 0, "b": np.array([[0.0, 0.0], [5.0, 0.0]])}, 1)
    optimize.minimize(lambda p: square(p["b"]), {"a": 0.0, "b": np.ones((2, 2))}, bounds=bounds)  # BAD


@case(E.BoundsError, "from nan to 1")
def bounds_are_nan():
    optimize.minimize(square, X, bounds=optimize.Bounds(np.nan, 1))  # BAD


@case(E.ShapeError, "2 bounds for 3 elements")
def too_few_bounds():
    optimize.minimize(square, X, bounds=[(0, 1), (0, 1)])  # BAD


@case(E.ShapeError, "the lower bounds have shape (2,) for f64[3] of x0")
def bounds_of_another_shape():
    optimize.minimize(square, X, bounds=optimize.Bounds(np.zeros(2), 1))  # BAD


@case(E.TreeError, "bounds", "x0")
def bounds_of_another_structure():
    optimize.minimize(lambda p: p["a"] ** 2, {"a": 1.0}, bounds={"b": (0, 1)})  # BAD


@case(E.ArgumentError, "bounds['a'] is no pair", "None")
def bound_is_no_pair():
    bounds = {"a": 3.0, "b": (0, 1)}
    optimize.minimize(lambda p: p["a"] ** 2 + p["b"], {"a": 1.0, "b": 1.0}, bounds=bounds)  # BAD


@case(E.BoundsError, "least_squares: x0[0] is 1, outside of its bounds 2 to 3")
def start_outside():
    optimize.least_squares(lambda x: x, X, bounds=(2, 3))  # BAD


@case(E.BoundsError, "x0[0]: from 1 to 1", "less than")
def nothing_between():
    optimize.least_squares(lambda x: x, X, bounds=(1, 1))  # BAD


@case(E.ArgumentError, "bounds are a list of length 3", "(lower, upper)")
def pairs_where_sides_are_wanted():
    optimize.least_squares(lambda x: x, X, bounds=[(0, 1)] * 3)  # BAD


# ----- methods and constraints


@case(E.ArgumentError, "minimize: method is 'newton'", "trust-exact")
def unknown_method():
    optimize.minimize(square, X, method="newton")  # BAD


@case(E.ArgumentError, "method 'BFGS' takes no bounds", "l-bfgs-b")
def method_without_bounds():
    optimize.minimize(square, X, method="BFGS", bounds=[(0, 1)] * 3)  # BAD


@case(E.ArgumentError, "method 'L-BFGS-B' takes no constraints", "slsqp", "trust-constr")
def method_without_constraints():
    rows = {"type": "eq", "fun": lambda x: x[0]}
    optimize.minimize(square, X, method="L-BFGS-B", constraints=rows)  # BAD


@case(E.ArgumentError, "least_squares: method is 'newton'", "dogbox")
def unknown_method_of_least_squares():
    optimize.least_squares(square, X, method="newton")  # BAD


@case(E.ArgumentError, "method 'lm' takes no bounds", "trf")
def lm_with_bounds():
    optimize.least_squares(square, X, method="lm", bounds=(0, 2))  # BAD


@case(E.ArgumentError, "loss is 'l1'", "soft_l1")
def unknown_loss():
    optimize.least_squares(square, X, loss="l1")  # BAD


@case(E.ArgumentError, "root: method is 'newton'", "hybr")
def unknown_method_of_root():
    optimize.root(square, X, method="newton")  # BAD


@case(E.ArgumentError, "method 'brentq' needs a bracket")
def bracket_is_missing():
    optimize.root_scalar(lambda x: x, method="brentq", x0=1.0)  # BAD


@case(E.ArgumentError, "constraint 1 has type 'equal'", "'eq' or 'ineq'")
def constraint_of_unknown_type():
    rows = [{"type": "eq", "fun": lambda x: x[0]}, {"type": "equal", "fun": lambda x: x[1]}]
    optimize.minimize(square, X, constraints=rows)  # BAD


@case(E.ArgumentError, "constraint 0 is a function", "LinearConstraint")
def constraint_is_no_constraint():
    optimize.minimize(square, X, constraints=[lambda x: x[0]])  # BAD


@case(E.ShapeError, "constraint 0: its matrix is (1, 2) for 3 elements")
def matrix_of_another_width():
    optimize.minimize(square, X, constraints=optimize.LinearConstraint(np.ones((1, 2)), 0, 1))  # BAD


@case(E.BoundsError, "constraint 0: no value fits the sides of row 0: from 2 to 1")
def sides_that_nothing_fits():
    optimize.minimize(square, X, constraints=optimize.NonlinearConstraint(square, 2, 1))  # BAD


@case(E.TreeError, "constraint 0: the sides", "its result")
def sides_of_another_structure():
    rows = optimize.NonlinearConstraint(lambda x: {"a": x[0]}, {"b": 0}, {"a": 1})
    optimize.minimize(square, X, constraints=rows)  # BAD


@case(E.ShapeError, "root: fun returns 2 values for 3 unknowns", "least_squares")
def equations_that_are_too_few():
    optimize.root(lambda x: x[:2], X)  # BAD


@case(E.ShapeError, "root: fun returns 2 values for 3 unknowns")
def equations_that_are_too_few_in_a_trace():
    jit(lambda a: optimize.root(lambda x: x[:2] * a, X).x)(1.0)  # BAD


@case(E.ShapeError, "2 residuals for 3 elements", "'trf'")
def residuals_that_are_too_few():
    optimize.least_squares(lambda x: x[:2], X, method="lm")  # BAD


@case(E.ShapeError, "f returns shape (2,) for ydata of shape (3,)")
def model_of_another_shape():
    optimize.curve_fit(lambda t, a: a * t[:2], X, X)  # BAD


@case(E.ShapeError, "sigma has shape (2,) for 3 values")
def errors_of_another_shape():
    optimize.curve_fit(lambda t, a: a * t, X, X, sigma=np.ones(2))  # BAD


@case(E.ArgumentError, "how many parameters", "p0")
def parameters_that_cannot_be_counted():
    optimize.curve_fit(lambda t, *p: p[0] * t, X, X)  # BAD


# ----- sparsity, and Hessians that are not square


@case(E.SparsityError, "shape (3, 2), the derivative (3, 3)")
def pattern_of_another_shape():
    optimize.least_squares(np.sin, X, jac_sparsity=np.eye(3)[:, :2])  # BAD


@case(E.SparsityError, "misses entries of row 1", "leave sparsity out")
def pattern_that_misses_entries():
    pattern = np.diag([1, 0, 1])
    optimize.least_squares(np.sin, X, jac_sparsity=pattern, check=True)  # BAD


@case(E.SparsityError, "shape (2, 3), the derivative (3, 3)")
def hessian_that_is_not_square():
    sparse.hessian(square, sparsity=np.ones((2, 3)))(X)  # BAD


@case(E.NonScalarOutputError, "f64[3]")
def hessian_of_several_values():
    sparse.hessian(np.sin)(X)  # BAD


@case(E.NonScalarOutputError, "f64[3]")
def product_with_the_hessian_of_several_values():
    hvp(np.sin)(X, X)  # BAD


@case(E.ShapeError, "f64[3]", "f64[2]")
def product_with_a_vector_of_another_length():
    hvp(square)(X, np.ones(2))  # BAD


@pytest.mark.parametrize("name", case)
def test_messages(name):
    case.check(name)


def test_dense_hessians_of_arrays_are_what_jacobians_of_jacobians_are():
    """functrans.hessian takes functions of several values: one square block for each."""
    assert hessian(np.sin)(X).shape == (3, 3, 3)


def test_errors_in_traces_reach_the_caller():
    """Bounds that are found to be wrong when the program runs."""
    f = jit(lambda low: optimize.minimize(square, X, bounds=optimize.Bounds(low, 0.5)).x)
    assert f(0.0).tolist() == [0, 0, 0]
    with pytest.raises(errors.BoundsError, match=r"bounds of x0\[0\]: from 1 to 0.5"):
        f(1.0)
