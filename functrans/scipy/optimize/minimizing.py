"""``minimize`` and ``minimize_scalar``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize as so

from ... import errors
from ...api.derivatives import grad
from ...calling.staging import api, check_callable
from .functions import Objective
from .implicit import Minimum, frozen, outcome, shared, solution, staged
from .problems import Problem, constraints_of, method_of
from .vectors import Vector


@api
def minimize(fun: Callable, x0: Any, args: tuple = (), method: Any = None, *, bounds: Any = None,
             constraints: Any = (), tol: float | None = None, callback: Callable | None = None,
             options: dict | None = None) -> Any:
    """``scipy.optimize.minimize`` with exact gradients and, where the method uses them, Hessians or products.

    The derivatives are made from ``fun`` and compiled; if its Python code looks at values, they are made at
    every call instead. Where ``x0``, ``args``, bounds, or what the functions close over is traced (inside
    ``grad``, ``jit``, ``vmap`` ...), so is the result, whose derivatives are those of the solution.

    Args:
      fun: ``fun(x, *args) -> scalar``; ``x`` is a pytree like x0.
      x0: where to start: a pytree of floats (integers become floats; a list of numbers is an array). Float64
        vectors are what SciPy sees; leaves of other dtypes get their own back.
      args: further arguments of fun, passed through.
      method: any of SciPy's, or a function with the signature that SciPy asks for.
      bounds: ``scipy.optimize.Bounds``, whose sides are numbers, vectors or pytrees; or a pair (lower, upper)
        for each element; or a pytree like x0 with a pair for each leaf. None in a pair is no bound.
      constraints: dicts ("type", "fun", "args"), ``NonlinearConstraint`` (sides: numbers or pytrees like the
        result of its fun) or ``LinearConstraint`` (of x as a vector), or a list of them. Their functions take
        pytrees like x0 and return pytrees; their Jacobians and Hessians are made, given ones are not used.
      tol, options: SciPy's.
      callback: SciPy's, in either signature; gets pytrees.

    Returns:
      SciPy's ``OptimizeResult``, in which ``x``, ``jac`` and ``grad`` are pytrees like x0, and ``v`` of
      trust-constr holds pytrees like the constraints' results. Matrices keep the elements' order in the
      vector. In a trace it has ``x``, ``fun``, ``jac``, ``v``, ``success``, ``status``, ``nit``, ``nfev``;
      ``x`` is improved by Newton steps there, and derivatives are nan where it solves nothing. Of
      constraints that hold and follow from others, the later ones are left out, with multipliers 0.

    Raises:
      ObjectiveError: fun, its gradient or a constraint is not finite at x0, or fun is nan at the end;
      BoundsError: no value fits; ArgumentError: an unknown method, bounds or constraints for one that takes
      none; NonScalarOutputError, ShapeError, TreeError, DtypeError.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy.optimize import minimize
    >>> def f(p):
    ...     return (p["a"] - 1) ** 2 + np.sum((p["b"] - 2) ** 2)
    >>> found = minimize(f, {"a": 0.0, "b": np.zeros(2)})
    >>> found.x["b"].round(6)
    array([2., 2.])
    >>> def lowest(a):
    ...     return minimize(lambda x: x ** 4 / 4 - a * x, 1.0).x
    >>> float(grad(lowest)(8.0).round(6))           # x = a ** (1/3)
    0.083333
    """
    check_callable(fun, "minimize")
    args = args if isinstance(args, tuple) else (args,)
    vector = Vector(x0, "minimize")
    problem = Problem(Objective(lambda v, consts: fun(vector.restore(v), *args), "minimize"), vector,
                      constraints_of(constraints, vector))
    name = method_of(method, bounds, problem.constraints)
    sides = vector.bounds(bounds)
    kept = {"tol": tol, "options": options, "callback": vector.callback(callback)}
    found = staged(problem, sides, args, "minimize")
    if found is not None:
        problem, params, programs = found
        return _traced(problem, params, programs, method, {**kept, "callback": callback})
    params = {"consts": (), "bounds": sides, "sides": [None] * len(problem.constraints)}
    result = vector.finish(problem.solve(vector.x0, params, method, **kept))
    if name == "trust-constr":
        layouts = [c.rows.layout for c in problem.constraints]
        result.v = [layout.cut(v) for layout, v in zip(layouts, result.v, strict=False)] + [
            vector.cut(v) for v in result.v[len(layouts):]]
    return result


def _traced(problem: Problem, params, programs, method, kept):
    """The result as values of the trace."""
    vector = problem.vector
    given = {**kept, "callback": vector.callback(kept["callback"])}

    def make():
        minimum = Minimum(problem)
        return minimum.newton, minimum.host(lambda x0, params: problem.solve(x0, params, method, **given))

    # matrices are no part of the programs
    own = [(c.what, c.keep if isinstance(c.keep, bool) and c.matrix is None else object())
           for c in problem.constraints]
    newton, host = shared(programs, vector, (method, frozen({**kept, "options": kept["options"] or {}}),
                                             tuple(own)), make)
    z, found = solution(newton, host, vector.x0, params)
    x, fun, consts = z[:vector.size], problem.objective.fun, params["consts"]
    values = {"x": vector.restore(x), "fun": fun(x, consts), "jac": vector.restore(grad(fun)(x, consts))}
    if problem.constraints:
        ends = np.cumsum([vector.size, *[c.layout.size for c in problem.constraints]]).tolist()
        values["v"] = [c.layout.cut(z[begin:end])
                       for c, begin, end in zip(problem.constraints, ends, ends[1:], strict=False)]
    return outcome(found, **values)


@api
def minimize_scalar(fun: Callable, bracket: Any = None, bounds: Any = None, args: tuple = (),
                    method: str | None = None, tol: float | None = None, options: dict | None = None) -> Any:
    """``scipy.optimize.minimize_scalar`` of a compiled function; its result can be differentiated.

    Arguments and result are SciPy's; ``bounds`` may be traced. In a trace the result has ``x``, ``fun``,
    ``success``, ``status``, ``nit``, ``nfev``, and derivatives as that of ``minimize`` has.

    >>> from functrans import grad
    >>> from functrans.scipy.optimize import minimize_scalar
    >>> float(grad(lambda a: minimize_scalar(lambda x: (x - a ** 2) ** 2).x)(3.0).round(6))
    6.0
    """
    what = "minimize_scalar"
    check_callable(fun, what)
    args = args if isinstance(args, tuple) else (args,)
    vector = Vector(0.0, what)
    problem = Problem(Objective(lambda v, consts: fun(vector.restore(v), *args), what), vector, [])
    sides = vector.bounds(None if bounds is None else [tuple(bounds)])

    def solve(problem, params):
        value = problem.objective.value
        given = None if params["bounds"] is None else [float(side[0]) for side in params["bounds"][:2]]
        one = lambda x: float(value(np.array([x]), params["consts"]))
        result = so.minimize_scalar(one, bracket, given, (), method, tol, options)
        if np.isnan(result.fun):
            raise errors.ObjectiveError(f"{what}: the function is nan at x = {result.x:.6g}.",
                                        "Keep x where it is defined: method='bounded' with bounds.")
        return result

    found = staged(problem, sides, args, what)
    if found is None:
        return solve(problem, {"consts": (), "bounds": sides})
    problem, params, programs = found

    def run(x0, params):
        result = solve(problem, params)
        result.x = np.array([result.x])
        return result

    def make():
        minimum = Minimum(problem)
        return minimum.newton, minimum.host(run)

    settings = {"bracket": bracket, "method": method, "tol": tol, "options": options or {}}
    newton, host = shared(programs, vector, frozen(settings), make)
    z, counts = solution(newton, host, vector.x0, params)
    return outcome(counts, x=z[0], fun=problem.objective.fun(z, params["consts"]))


__all__ = ["minimize", "minimize_scalar"]
