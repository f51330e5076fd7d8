"""A minimization problem in vectors: what SciPy's methods are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.optimize as so
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from ... import errors
from .functions import FEW, Objective, Rows, check_start
from .vectors import Layout, Vector, is_traced

# What each method uses: bounds, constraints, the gradient, the Hessian as a matrix, products with it.
METHODS = {
    "nelder-mead": "b", "powell": "b", "cobyla": "bc", "cobyqa": "bc",
    "cg": "g", "bfgs": "g", "l-bfgs-b": "bg", "tnc": "bg", "slsqp": "bcg",
    "newton-cg": "gp", "trust-ncg": "gp", "trust-krylov": "gp", "dogleg": "gh", "trust-exact": "gh",
    "trust-constr": "bcgp",
}


def method_of(method: Any, bounds, constraints) -> str:
    """The method's name in small letters, by SciPy's rule if none is given; "" for a function."""
    if callable(method):
        return ""
    if method is None:
        return "slsqp" if constraints else "bfgs" if bounds is None else "l-bfgs-b"
    name = method.lower() if isinstance(method, str) else None
    if name not in METHODS:
        raise errors.ArgumentError(f"minimize: method is {method!r}.", f"Use one of {', '.join(METHODS)}.")
    for letter, given, thing in (("b", bounds is not None, "bounds"), ("c", constraints, "constraints")):
        if given and letter not in METHODS[name]:
            able = [k for k, flags in METHODS.items() if letter in flags]
            raise errors.ArgumentError(f"minimize: method {method!r} takes no {thing}.",
                                       f"Use one of {', '.join(able)}.")
    return name


class Constraint:
    """Rows of functions between sides, or of a matrix.

    Attributes:
      rows: the function; its ``fun`` is the user's, with a pytree in and out.
      matrix: of a LinearConstraint, or None.
      layout: of the user's result, where the rows are those of a program.
    """

    def __init__(self, given: Any, vector: Vector, i: int):
        self.what = f"{vector.what}: constraint {i}"
        self.matrix: Any = None
        self.layout: Any = None
        self.keep: Any = False
        if isinstance(given, so.LinearConstraint):
            self._linear(given, vector)
        elif isinstance(given, so.NonlinearConstraint):
            self.low, self.high, self.keep = given.lb, given.ub, given.keep_feasible
            self._function(given.fun, ())
        elif isinstance(given, dict):
            kind = str(given.get("type", "")).lower()
            if kind not in ("eq", "ineq") or not callable(given.get("fun")):
                raise errors.ArgumentError(
                    f"{self.what} has type {given.get('type')!r} and fun {given.get('fun')!r}.",
                    "Write {'type': 'eq' or 'ineq', 'fun': function}; 'ineq' means fun(x) >= 0.")
            self.low, self.high = 0.0, 0.0 if kind == "eq" else np.inf
            args = given.get("args", ())
            self._function(given["fun"], args if isinstance(args, tuple) else (args,))
        else:
            raise errors.ArgumentError(f"{self.what} is a {type(given).__name__}.",
                                       "Use a dict, NonlinearConstraint or LinearConstraint.")
        self.vector = vector

    def _function(self, fun, args):
        if not callable(fun):
            raise errors.ArgumentError(f"{self.what}: its fun is no function.")
        self.fun = lambda x: fun(x, *args)
        self.rows = Rows(lambda v, consts: self.fun(self.vector.restore(v)), self.what)

    def _linear(self, given, vector):
        a = given.A
        if not sp.issparse(a):
            a = np.atleast_2d(a if is_traced(a) else np.asarray(a, float))
        if a.ndim != 2 or a.shape[1] != vector.size:
            raise errors.ShapeError(f"{self.what}: its matrix is {a.shape} for {vector.size} elements of x0.",
                                    "Columns are the elements of x0 in order.")
        self.low, self.high, self.keep = given.lb, given.ub, given.keep_feasible
        if is_traced(a):                                        # a function like others
            self.rows = Rows(lambda v, consts: a @ v, self.what)
        else:
            self.matrix, self.rows = a, Rows(lambda v, consts: self.dense @ v, self.what)
        self.rows.layout = Layout(np.zeros(a.shape[0]), self.what)

    @cached_property
    def dense(self):
        return self.matrix.toarray() if sp.issparse(self.matrix) else self.matrix

    def sides(self):
        """Both sides as vectors; the layout of the rows must be known."""
        low, high = [self.rows.layout.side(x, f"{self.what}: the sides", "its result")
                     for x in (self.low, self.high)]
        return (low, high) if is_traced(low, high) else self.checked(low, high)

    def checked(self, low, high):
        """The sides, of which no lower one may exceed its upper one."""
        bad = np.flatnonzero(~(low <= high))
        if len(bad):
            raise errors.BoundsError(f"{self.what}: no value fits the sides of row {bad[0]}: from "
                                     f"{low[bad[0]]:g} to {high[bad[0]]:g}.",
                                     "A lower side must be at most its upper side.")
        return low, high


def constraints_of(given: Any, vector: Vector) -> list[Constraint]:
    """The user's constraints, one or several."""
    if given is None:
        return []
    if isinstance(given, (dict, so.NonlinearConstraint, so.LinearConstraint)):
        given = [given]
    return [Constraint(c, vector, i) for i, c in enumerate(given)]


class Problem:
    """What is minimized, under which constraints."""

    def __init__(self, objective: Objective, vector: Vector, constraints: list[Constraint]):
        self.objective, self.vector, self.constraints = objective, vector, constraints

    def solve(self, x0, params, method, *, callback=None, tol=None, options=None):
        """SciPy's result, in vectors.

        ``params`` holds arrays: "consts" that the functions use, "bounds" (lower, upper, keep_feasible) or
        None, and "sides", (lower, upper) of each constraint; None where they are to be found.
        """
        what, consts = self.vector.what, params["consts"]
        name = method_of(method, params["bounds"], self.constraints)
        flags = METHODS.get(name, "gph")
        kept: dict[str, Any] = {"tol": tol, "options": options, "callback": callback, "method": method}
        if params["bounds"] is not None:
            low, high, keep = params["bounds"]
            kept["bounds"] = so.Bounds(*self.vector.checked(low, high), keep_feasible=keep)
        if self.constraints:
            kept["constraints"] = [made for c, sides in zip(self.constraints, params["sides"], strict=True)
                                   for made in self._constraint(c, name, x0, consts, sides)]
        n = len(x0)
        if "h" in flags or (name == "trust-constr" and n <= FEW):
            kept["hess"] = lambda v: self.objective.hessian(v, consts)
        elif "p" in flags:
            kept["hessp"] = lambda v, p: self.objective.hessp(v, p, consts)
        if not name:
            kept["hessp"] = lambda v, p: self.objective.hessp(v, p, consts)
        first = _First(what)
        if "g" in flags:
            run = self.objective.value_and_grad

            def both(v):
                value, slope = run(v, consts)
                if first:
                    first.check(v, value, slope)
                return float(value), slope

            result = so.minimize(both, x0, jac=True, **kept)
        else:
            value = self.objective.value

            def only(v):
                got = value(v, consts)
                if first:
                    first.check(v, got)
                return float(got)

            result = so.minimize(only, x0, **kept)
        if np.isnan(result.get("fun", 0.0)) or np.isnan(result.x).any():
            raise errors.ObjectiveError(
                f"{what}: after {result.get('nfev')} evaluations the function is {result.get('fun')} at "
                f"x = {np.array2string(result.x, threshold=5, precision=4)}.",
                "Keep x where it is defined (bounds), or find what makes it nan with functrans.debug_nans.")
        return result

    def _constraint(self, c: Constraint, name, x0, consts, sides) -> list:
        """A constraint as the method takes it."""
        rows, older = c.rows, name in ("slsqp", "cobyla")
        if c.matrix is not None and not older:
            low, high = sides or c.sides()
            return [so.LinearConstraint(c.matrix, low, high, keep_feasible=c.keep)]
        if name in ("cobyla", "cobyqa"):
            fun: Callable = lambda v: rows.opaque(v, consts)
        else:
            fun = lambda v: rows.value(v, consts)
        start = fun(x0)
        check_start(start, c.what)
        low, high = c.checked(*sides) if sides else c.sides()
        if older:
            return _dicts(fun, (lambda v: rows.jacobian(v, consts)) if name == "slsqp" else None, low, high)
        if name == "cobyqa":
            return [so.NonlinearConstraint(fun, low, high, keep_feasible=c.keep)]
        n = len(x0)
        if n <= FEW:
            curve: Callable = lambda v, w: rows.weighted_hessian(v, w, consts)
        else:
            def curve(v, w):
                v, w = np.array(v), np.array(w)
                return LinearOperator((n, n), lambda p: rows.weighted_hessp(v, w, np.ravel(p), consts))
        return [so.NonlinearConstraint(fun, low, high, rows.best_jacobian(x0, consts, len(low)), curve,
                                       keep_feasible=c.keep)]


def _dicts(fun, jac, low, high) -> list[dict]:
    """Rows between sides as SciPy's older form: ``eq`` is 0 and ``ineq`` is not negative."""
    same = low == high
    below, above = np.flatnonzero(~same & np.isfinite(low)), np.flatnonzero(~same & np.isfinite(high))
    made: list[dict] = []
    if same.any():
        at = np.flatnonzero(same)
        made.append({"type": "eq", "fun": lambda v: fun(v)[at] - low[at], "jac": lambda v: jac(v)[at]})
    if len(below) or len(above):
        def between(v):
            c = fun(v)
            return np.concatenate([c[below] - low[below], high[above] - c[above]])

        def slope(v):
            j = jac(v)
            return np.concatenate([j[below], -j[above]])

        made.append({"type": "ineq", "fun": between, "jac": slope})
    for one in made:
        if jac is None:
            del one["jac"]
    return made


class _First:
    """Looks at the first evaluation: nothing can be minimized from where a function is not finite."""

    def __init__(self, what):
        self.what, self.left = what, True

    def __bool__(self):
        return self.left

    def check(self, v, value, slope=None):
        self.left = False
        if slope is None and value == np.inf:               # a wall: simplex methods get away from it
            return
        check_start(np.ravel(value), f"{self.what}: the function")
        if slope is not None and not np.isfinite(slope).all():
            at = int(np.flatnonzero(~np.isfinite(slope))[0])
            raise errors.ObjectiveError(
                f"{self.what}: the function is {value:.6g} at the start, but element {at} of its gradient is "
                f"{slope[at]}.", "functrans.debug_nans names the operation that makes it.")
