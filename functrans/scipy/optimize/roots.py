"""``root`` and ``root_scalar``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize as so

from ... import errors
from ...api.derivatives import grad
from ...calling.staging import api, check_callable
from .functions import Compiled, Objective, Rows, check_start
from .implicit import Newton, frozen, outcome, report, scale_of, shared, solution, stage
from .vectors import Vector

SLOPES = ("hybr", "lm")
METHODS = (*SLOPES, "broyden1", "broyden2", "anderson", "linearmixing", "diagbroyden", "excitingmixing",
           "krylov", "df-sane")
BRACKETS = ("bisect", "brentq", "brenth", "ridder", "toms748")


@api
def root(fun: Callable, x0: Any, args: tuple = (), method: str = "hybr", *, tol: float | None = None,
         callback: Callable | None = None, options: dict | None = None) -> Any:
    """``scipy.optimize.root`` with exact Jacobians; its result can be differentiated.

    Args:
      fun: ``fun(x, *args) -> equations``: a pytree like x0 in, a pytree with as many elements out.
      x0, args: as in ``minimize``, and so is what is said there about traced values.
      method: any of SciPy's; "hybr" and "lm" use the Jacobian, the others the compiled function.
      tol, callback, options: SciPy's; ``callback`` gets pytrees.

    Returns:
      SciPy's ``OptimizeResult``, in which ``x`` is a pytree like x0 and ``fun`` one like fun's result. In a
      trace it has ``x``, ``fun``, ``success``, ``status``, ``nit``, ``nfev``.

    Raises:
      ShapeError: not as many equations as unknowns ("lm" takes more, outside of traces); ObjectiveError: they
      are not finite at x0; ArgumentError: an unknown method.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy.optimize import root
    >>> float(root(lambda x: np.cos(x) - x, 1.0).x.round(6))
    0.739085
    >>> float(grad(lambda a: root(lambda x: x ** 3 - a, 1.0).x)(8.0).round(6))
    0.083333
    """
    what = "root"
    check_callable(fun, what)
    args = args if isinstance(args, tuple) else (args,)
    if method not in METHODS:
        raise errors.ArgumentError(f"{what}: method is {method!r}.", f"Use one of {', '.join(METHODS)}.")
    vector = Vector(x0, what)
    rows = Rows(lambda v, consts: fun(vector.restore(v), *args), f"{what}: the result of fun")

    def solve(rows, x0, consts):
        start = rows.value(x0, consts)
        if len(start) < len(x0) or (len(start) > len(x0) and method != "lm"):
            raise errors.ShapeError(f"{what}: fun returns {len(start)} values for {len(x0)} unknowns.",
                                    "Return as many, or use least_squares.")
        check_start(start, rows.what)
        jac = (lambda v: rows.jacobian(v, consts)) if method in SLOPES else None
        return so.root(lambda v: rows.value(v, consts), x0, (), method, jac, tol, vector.callback(callback),
                       options)

    found = stage([lambda v: rows.flat(v, ())], vector, args, what)
    if found is None:
        result = vector.finish(solve(rows, vector.x0, ()))
        result.fun = rows.layout.cut(result.fun)
        return result
    layout, ([run], consts) = rows.layout, found
    if layout.size != vector.size:
        raise errors.ShapeError(f"{what}: fun returns {layout.size} values for {vector.size} unknowns.",
                                "Return as many, or use least_squares.")
    settings = {"method": method, "tol": tol, "callback": callback, "options": options or {}}
    z, counts = _zero(run, lambda x0, consts: solve(Rows(run, rows.what), x0, consts), vector.x0, consts,
                      lambda make: shared([run], vector, frozen(settings), make))
    return outcome(counts, x=vector.restore(z), fun=layout.cut(run(z, consts)))


def _zero(run, solve, x0, consts, keep):
    """The root of a program, differentiable in ``consts``; ``solve(x0, consts)`` is SciPy's result.

    ``keep(make)`` is what ``make`` returns, or has returned before.
    """
    newton = Newton(lambda z, consts, at: run(z, consts), len(x0))

    def host(x0, consts):
        nowhere = np.zeros(len(x0), np.int64)
        result, scale = solve(np.array(x0), consts), scale_of(newton.value(x0, consts, nowhere))
        x = np.array(result.x, float)
        z, left, small, regular = newton(x, consts, nowhere, x)
        return report(result, z, nowhere, regular and left <= scale * small)

    return solution(*keep(lambda: (newton, host)), x0, consts)


@api
def root_scalar(f: Callable, args: tuple = (), method: str | None = None, bracket: Any = None, *,
                x0: Any = None, x1: Any = None, xtol: float | None = None, rtol: float | None = None,
                maxiter: int | None = None, options: dict | None = None) -> Any:
    """``scipy.optimize.root_scalar`` with exact derivatives; its result can be differentiated.

    Args:
      f: ``f(x, *args) -> scalar`` of a scalar.
      method: SciPy's; by default "brentq" with a bracket, "secant" with x0 and x1, else "newton". "newton"
        and "halley" get their derivatives.
      bracket, x0, x1, xtol, rtol, maxiter, options: SciPy's.

    Returns:
      SciPy's ``RootResults``. In a trace an ``OptimizeResult`` with ``root``, ``converged``, ``iterations``
      and ``function_calls``.

    >>> from functrans import grad
    >>> from functrans.scipy.optimize import root_scalar
    >>> round(float(root_scalar(lambda x: x ** 3 - 8, x0=1.0).root), 6)
    2.0
    >>> float(grad(lambda a: root_scalar(lambda x: x ** 3 - a, bracket=(0, 5)).root)(8.0).round(6))
    0.083333
    """
    what = "root_scalar"
    check_callable(f, what)
    args = args if isinstance(args, tuple) else (args,)
    if method is None:
        method = "brentq" if bracket is not None else "secant" if x1 is not None else "newton"
    if method not in (*BRACKETS, "newton", "secant", "halley"):
        raise errors.ArgumentError(f"{what}: method is {method!r}.",
                                   f"Use one of {', '.join(BRACKETS)}, newton, secant, halley.")
    if (bracket if method in BRACKETS else x0) is None:
        needs = "a bracket" if method in BRACKETS else "x0"
        raise errors.ArgumentError(f"{what}: method {method!r} needs {needs}.",
                                   "Give a bracket (a, b) with a change of sign, or a start x0.")
    points = {"bracket": None if bracket is None else tuple(bracket), "x0": x0, "x1": x1}
    vector = Vector(0.0, what)
    function = Objective(lambda v, consts: f(vector.restore(v), *args), what)

    def solve(fun, points, consts):
        value = lambda x: fun(np.reshape(x, 1), consts)
        orders = {"newton": 1, "halley": 2}.get(method, 0)
        first = grad(value)

        def all_of(x):
            return (value(x), first(x), grad(first)(x))[:orders + 1]

        compiled = Compiled(all_of)

        def run(x):
            got = [float(v) for v in compiled(float(x))]
            if not np.isfinite(got[0]):
                raise errors.ObjectiveError(f"{what}: f is {got[0]} at {float(x):g}.",
                                            "Start nearer to the root, or give a bracket where f is finite.")
            return got if orders else got[0]

        given: dict[str, Any] = {k: v for k, v in points.items() if v is not None}
        given |= {1: {"fprime": True}, 2: {"fprime": True, "fprime2": True}}.get(orders, {})
        return so.root_scalar(run, method=method, xtol=xtol, rtol=rtol, maxiter=maxiter, options=options,
                              **given)

    found = stage([lambda v: function._scalar(v, ())], vector, (args, points), what)
    if found is None:
        return solve(function._scalar, points, ())
    [run], consts = found

    def one(z, values):
        return np.reshape(run(z, values["consts"]), 1)

    def result(_, values):
        got = solve(run, values["points"], values["consts"])
        return so.OptimizeResult(x=np.array([got.root]), success=got.converged, nit=got.iterations,
                                 nfev=got.function_calls)

    settings = {"method": method, "xtol": xtol, "rtol": rtol, "maxiter": maxiter, "options": options or {}}
    z, counts = _zero(one, result, np.zeros(1), {"consts": consts, "points": points},
                      lambda make: shared([run], vector, frozen(settings), make))
    return so.OptimizeResult(root=z[0], converged=counts["success"], iterations=counts["nit"],
                             function_calls=counts["nfev"])


__all__ = ["root", "root_scalar"]
