"""``least_squares`` and ``curve_fit``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize as so

from ... import errors
from ...api.derivatives import grad
from ...api.jacobians import jacobian
from ...calling.staging import api, check_callable
from .functions import Objective, Rows, check_start
from .implicit import Minimum, frozen, outcome, shared, solution, stage
from .problems import Problem
from .vectors import Vector, is_traced

# Robust losses, as functions of squared residuals (SciPy's least_squares has their definitions).
LOSSES: dict[str, Callable] = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (np.sqrt(1 + z) - 1),
    "huber": lambda z: np.where(z <= 1, z, 2 * np.sqrt(np.maximum(z, 1)) - 1),
    "cauchy": np.log1p,
    "arctan": np.arctan,
}
METHODS = ("trf", "dogbox", "lm")


class Residuals:
    """A least-squares problem in vectors."""

    def __init__(self, rows: Rows, vector: Vector, settings: dict):
        self.rows, self.vector, self.settings = rows, vector, settings

    def solve(self, x0, params, callback=None):
        """SciPy's result, in vectors; ``params`` as those of ``Problem.solve``."""
        rows, consts, given = self.rows, params["consts"], dict(self.settings)
        what, method = self.vector.what, given["method"]
        start = rows.value(x0, consts)
        check_start(start, rows.what)
        if method == "lm" and len(start) < len(x0):
            raise errors.ShapeError(f"{what}: {len(start)} residuals for {len(x0)} elements of x0.",
                                    "Method 'lm' needs at least as many residuals; use 'trf'.")
        if params["bounds"] is not None:
            low, high = self.vector.checked(*params["bounds"][:2], True)
            outside = np.flatnonzero((x0 < low) | (x0 > high))
            if len(outside):
                i = outside[0]
                raise errors.BoundsError(f"{what}: {self.vector.name(i)} is {x0[i]:g}, outside of its bounds "
                                         f"{low[i]:g} to {high[i]:g}.", "Start within the bounds.")
            given["bounds"] = (low, high)
        pattern, check = given.pop("jac_sparsity"), given.pop("check")
        if method == "lm" or given.get("tr_solver") == "exact":
            jac = lambda v: rows.jacobian(v, consts)
        else:
            jac = rows.best_jacobian(x0, consts, len(start), pattern=pattern, check=check, operators=True)
        if callback is not None:
            given["callback"] = callback
        result = so.least_squares(lambda v: rows.value(v, consts), x0, jac, **given)
        if not np.isfinite(result.cost):
            raise errors.ObjectiveError(f"{what}: the cost is {result.cost} after {result.nfev} evaluations.",
                                        "Keep x where the residuals are defined (bounds).")
        return result

    def cost(self):
        """What is minimized, as a scalar function."""
        rho, scale = LOSSES[self.settings.get("loss", "linear")], self.settings.get("f_scale", 1.0)
        return lambda v, consts: 0.5 * scale ** 2 * np.sum(rho((self.rows.flat(v, consts) / scale) ** 2))

    def traced(self, params):
        """``(x, the callback's counts, the cost)`` as values of the trace."""
        loss = self.settings.get("loss", "linear")
        if not isinstance(loss, str):
            raise errors.NotSupportedError(f"{self.vector.what}, traced, with a loss of one's own.",
                                           f"Use one of {', '.join(LOSSES)}, or minimize.")
        cost = self.cost()

        def make():
            minimum = Minimum(Problem(Objective(cost, self.vector.what), self.vector, []))
            return minimum.newton, minimum.host(self.solve)

        newton, host = shared([self.rows.fun], self.vector, frozen(self.settings), make)
        return *solution(newton, host, self.vector.x0, params), cost


@api
def least_squares(fun: Callable, x0: Any, args: tuple = (), kwargs: dict | None = None, *,
                  bounds: Any = (-np.inf, np.inf), method: str = "trf", loss: Any = "linear",
                  x_scale: Any = None, jac_sparsity: Any = None, check: bool = False,
                  callback: Callable | None = None, **options: Any) -> Any:
    """``scipy.optimize.least_squares`` with exact Jacobians: dense, sparse where most entries are zero, or an
    operator where a dense one would take more than 256 MiB.

    Args:
      fun: ``fun(x, *args, **kwargs) -> residuals``: a pytree like x0 in, an array or a pytree out.
      x0, args: as in ``minimize``, and so is what is said there about traced values.
      bounds: a pair (lower, upper) of numbers, vectors or pytrees like x0; or ``Bounds``.
      method: "trf", "dogbox" or "lm" (without bounds, and always dense).
      x_scale: SciPy's; may be a pytree like x0.
      jac_sparsity: the pattern, rows by columns, if you know it better than ``functrans.sparse`` finds it.
      check: compare the first sparse Jacobian with the derivative along a random direction.
      loss, callback, options: SciPy's (``f_scale``, ``ftol``, ``xtol``, ``gtol``, ``max_nfev``,
        ``tr_solver``, ``tr_options``, ``verbose``).

    Returns:
      SciPy's ``OptimizeResult``, in which ``x``, ``grad`` and ``active_mask`` are pytrees like x0 and ``fun``
      is one like fun's result. In a trace it has ``x``, ``cost``, ``fun``, ``grad``, ``success``, ``status``,
      ``nfev``.

    Raises:
      ObjectiveError: residuals that are not finite; BoundsError: no value fits, or x0 lies outside;
      SparsityError: a pattern of another shape, or (with ``check``) with entries missing; ArgumentError,
      ShapeError, TreeError.

    >>> import numpy as np
    >>> from functrans.scipy.optimize import least_squares
    >>> t = np.linspace(0, 1, 20)
    >>> fit = least_squares(lambda p: p["a"] * np.exp(-p["k"] * t) - 2 * np.exp(-3 * t), {"a": 1.0, "k": 1.0})
    >>> {name: float(v.round(6)) for name, v in fit.x.items()}
    {'a': 2.0, 'k': 3.0}
    """
    what = "least_squares"
    check_callable(fun, what)
    if method not in METHODS:
        raise errors.ArgumentError(f"{what}: method is {method!r}.", f"Use one of {', '.join(METHODS)}.")
    if isinstance(loss, str) and loss not in LOSSES:
        raise errors.ArgumentError(f"{what}: loss is {loss!r}.", f"Use one of {', '.join(LOSSES)}.")
    args, kwargs = args if isinstance(args, tuple) else (args,), kwargs or {}
    vector = Vector(x0, what)
    sides = vector.bounds(bounds, True)
    if not is_traced(sides) and np.isinf(sides[0]).all() and np.isinf(sides[1]).all():
        sides = None
    if sides is not None and method == "lm":
        raise errors.ArgumentError(f"{what}: method 'lm' takes no bounds.", "Use 'trf' or 'dogbox'.")
    settings = {"method": method, "loss": loss, "jac_sparsity": jac_sparsity, "check": check, **options}
    if x_scale is not None:
        settings["x_scale"] = x_scale if isinstance(x_scale, str) else vector.side(x_scale, "x_scale", "x0")
    rows = Rows(lambda v, consts: fun(vector.restore(v), *args, **kwargs), f"{what}: the result of fun")
    found = stage([lambda v: rows.flat(v, ())], vector, (args, kwargs, sides), what)
    if found is None:
        result = Residuals(rows, vector, settings).solve(vector.x0, {"consts": (), "bounds": sides},
                                                         vector.callback(callback))
        result.fun = rows.layout.cut(result.fun)
        return vector.finish(result)
    layout, ([run], consts) = rows.layout, found
    problem, params = Residuals(Rows(run, rows.what), vector, settings), {"consts": consts, "bounds": sides,
                                                                          "sides": []}
    x, counts, cost = problem.traced(params)
    return outcome(counts, x=vector.restore(x), cost=cost(x, consts), fun=layout.cut(run(x, consts)),
                   grad=vector.restore(grad(cost)(x, consts)))


@api
def curve_fit(f: Callable, xdata: Any, ydata: Any, p0: Any = None, sigma: Any = None,
              absolute_sigma: bool = False, check_finite: bool | None = None, bounds: Any = (-np.inf, np.inf),
              method: str | None = None, *, full_output: bool = False, **kwargs: Any) -> Any:
    """``scipy.optimize.curve_fit`` with exact Jacobians; differentiable in the data and their errors.

    Args:
      f: ``f(xdata, *parameters) -> values`` like ydata. If ``p0`` is a dict, its entries are passed by name:
        ``f(xdata, **p0)``.
      xdata: anything that f takes, e.g. a pytree of arrays; ydata: an array, here with any number of axes.
      p0: a list or tuple of parameters, each a number, an array or a pytree, or a dict of them; 1 for each of
        f's arguments by default (or SciPy's choice within the bounds).
      sigma: errors of ydata, like it or a covariance matrix; absolute_sigma: in its units.
      bounds: a pair (lower, upper) of numbers, vectors or pytrees like p0; or ``Bounds``.
      method: "lm" (the default without bounds), "trf" or "dogbox".
      check_finite, full_output, kwargs: SciPy's.

    Returns:
      ``(popt, pcov)``: the parameters as p0 has them (an array for a list of numbers), and their covariance
      as a matrix over all elements in order; with ``full_output`` also SciPy's infodict, mesg, ier. In a
      trace, ``pcov`` supposes a Jacobian of full rank.

    >>> import numpy as np
    >>> from functrans.scipy.optimize import curve_fit
    >>> x = np.linspace(0, 4, 50)
    >>> popt, pcov = curve_fit(lambda x, a, b: a * np.exp(-b * x), x, 2.5 * np.exp(-1.3 * x))
    >>> popt.round(6)
    array([2.5, 1.3])
    """
    what = "curve_fit"
    check_callable(f, what)
    named = isinstance(p0, dict)
    if p0 is None:
        p0 = _start(f, bounds)
    vector = Vector(p0, what)
    sides = vector.bounds(bounds, True)
    low, high, _ = sides
    free = not is_traced(sides) and np.isinf(low).all() and np.isinf(high).all()
    method = method or ("lm" if free else "trf")
    if method not in METHODS:
        raise errors.ArgumentError(f"{what}: method is {method!r}.", f"Use one of {', '.join(METHODS)}.")

    def model(v, x=xdata):
        p = vector.restore(v)
        return f(x, **p) if named else f(x, *p)

    def residuals(v, consts=()):
        got = model(v)
        if np.shape(got) != np.shape(ydata):
            raise errors.ShapeError(f"{what}: f returns shape {np.shape(got)} for ydata of shape "
                                    f"{np.shape(ydata)}.", "Return a value for each of ydata.")
        return _weighted(np.reshape(got - ydata, -1), sigma, what)

    found = stage([lambda v: residuals(v)], vector, (xdata, ydata, sigma, sides), what)
    if found is None:
        rows = Rows(residuals, f"{what}: the result of f")
        curve = Rows(lambda v, consts: np.reshape(model(v), -1), rows.what)
        start = rows.value(vector.x0, ())
        if check_finite is not False:
            check_start(start, f"{what}: f(xdata) - ydata")
        y = np.ravel(np.asarray(ydata, float))
        more = {} if check_finite is None else {"check_finite": check_finite}
        result = so.curve_fit(
            lambda _, *p: curve.value(np.array(p), ()), np.zeros(len(y)), y, vector.x0,
            sigma if sigma is None or (np.ndim(sigma) == 2 and len(sigma) == len(y)) else np.ravel(sigma),
            absolute_sigma, method=method,
            bounds=(-np.inf, np.inf) if free else vector.checked(low, high, True),
            jac=lambda _, *p: curve.jacobian(np.array(p), ()), full_output=full_output, **more,
            **kwargs)
        return (vector.restore(result[0]), *result[1:])
    [run], consts = found
    settings = {"method": method, "jac_sparsity": None, "check": False, **kwargs}
    problem = Residuals(Rows(run, what), vector, settings)
    x, counts, cost = problem.traced({"consts": consts, "bounds": None if free else sides, "sides": []})
    slope = jacobian(lambda v: run(v, consts))(x)
    back = np.linalg.inv(np.linalg.qr(slope)[1])
    m, n = slope.shape
    pcov = back @ back.T * (1.0 if absolute_sigma else 2 * cost(x, consts) / (m - n) if m > n else np.inf)
    popt = vector.restore(x)
    return (popt, pcov, counts) if full_output else (popt, pcov)


def _start(f, bounds):
    """As many parameters as f has after the first, where SciPy would start."""
    try:
        names = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        names = []
    n = len([p for p in names if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]) - 1
    if n < 1 or any([p.kind == p.VAR_POSITIONAL for p in names]):
        raise errors.ArgumentError("curve_fit: f does not say how many parameters it has.", "Give p0.")
    sides = Vector(np.ones(n), "curve_fit").bounds(bounds, True)
    if is_traced(sides):
        raise errors.ArgumentError("curve_fit: traced bounds without p0.", "Give p0.")
    low, high = sides[:2]
    p0 = np.ones(n)
    both, below, above = np.isfinite(low) & np.isfinite(high), np.isfinite(low), np.isfinite(high)
    p0[both] = 0.5 * (low[both] + high[both])
    p0[below & ~both] = low[below & ~both] + 1
    p0[above & ~both] = high[above & ~both] - 1
    return p0


def _weighted(r, sigma, what):
    """Residuals in units of their errors."""
    if sigma is None:
        return r
    shape = np.shape(sigma)
    if len(shape) == 2 and shape == (r.size, r.size) and r.size > 1:
        return np.linalg.solve(np.linalg.cholesky(sigma), r[:, None])[:, 0]
    if int(np.prod(shape)) not in (1, r.size):
        raise errors.ShapeError(f"{what}: sigma has shape {shape} for {r.size} values.",
                                "Give one for each value, or their covariance matrix.")
    return r / np.reshape(sigma, -1)


__all__ = ["curve_fit", "least_squares"]
