"""Solutions in traces: SciPy finds them in a callback, and their derivatives follow from the equations that
they solve.

At a minimum these are the Karush-Kuhn-Tucker conditions: with L(x, y) = f(x) + y . c(x),

    dL/dx_i = 0 (free),  x_i = its bound (at one);   c_j(x) = its side (at one),  y_j = 0 (between).

Which bounds and sides hold is found at the solution; where none holds by chance (with y_j = 0), a small
change of the parameters changes nothing about that, so the derivatives of x and y are those of this system
(Fiacco, Introduction to Sensitivity and Stability Analysis in Nonlinear Programming, 1983, section 3.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize as so
from scipy.linalg import lapack
from scipy.sparse.linalg import LinearOperator, gmres, splu

from ... import errors, lax, sparse, tree
from ...api.compilation import jit
from ...api.derivatives import grad, jvp, vjp
from ...api.implicit import solve_linear
from ...api.jacobians import jacfwd, jacobian
from ...calling.staging import PROGRAMS, as_value, current_builder
from ...inspection.programs import ShapeDtypeStruct
from ...ir.core import aval
from ...lax.body import shared_consts, trace_body, with_consts
from ...rules.callbacks import pure_callback
from ...rules.custom import stop_gradient
from ...trace.tracer import Tracer
from ...transform.interpret import evaluate
from .functions import Objective, Rows, sparse_pattern, values_needed
from .problems import Problem
from .vectors import Layout, Vector, is_traced, known

DENSE = 1024                # unknowns up to which the conditions' Jacobian is a dense matrix
COLORS = 256                # products that a sparse one may take; else its equations are solved by GMRES
NEAR = 1e-3                 # how close to a side, relative to 1 + |side|, x may be held by it
NEAR_START = 1e-2           # how far, relative to 1 + |x|, Newton steps may lead
EXACT, LOOSE = 1e-7, 1e-4   # of the conditions' residual, with and without Newton steps
SINGULAR = 1e-15            # reciprocal condition number
DEPENDENT = 1e-8            # a normal's part, relative to it, that is not of other normals


def stage(functions: list[Callable], vector: Vector, given: Any, what: str):
    """Functions of the vector as programs ``(v, consts) -> result``, and the list of what they capture.

    None if nothing traced is used, neither in ``given`` nor by a function: then SciPy can run at once.
    """
    if current_builder() is None:
        return None
    try:
        bodies = [trace_body(lambda xs, f=f: f(xs[0]), [aval((vector.size,), np.dtype(float))], what)
                  for f in functions]
    except Exception as e:
        if not is_traced(given, vector.x0):
            return None                         # SciPy may do without a program
        if isinstance(e, errors.ConcretizationError):
            raise values_needed() from e
        raise
    consts, places = shared_consts(bodies)
    if not is_traced(given, vector.x0, consts):
        return None
    programs = [Program(with_consts(b, consts, at, 1), b.out_tree)
                for b, at in zip(bodies, places, strict=True)]
    return programs, [known(c) for c in consts]


class Program:
    """A traced function of the vector: ``(v, consts) -> result``."""

    def __init__(self, jaxpr, out_tree):
        self.jaxpr, self.out_tree = jaxpr, out_tree

    def __call__(self, v, consts):
        outs = evaluate(self.jaxpr, [v, *consts])
        return self.out_tree.unflatten([x if type(x) is Tracer else as_value(x) for x in outs])


def shared(programs: list[Program], vector: Vector, settings, make: Callable):
    """What ``make`` returns, kept for programs of equal structure and equal settings: their callback is the
    same one then, and its functions are compiled once."""
    if any([p.jaxpr.retraced for p in programs]):
        return make()
    key = ("optimize", tuple([(p.jaxpr, p.out_tree) for p in programs]), vector.what, vector.treedef,
           tuple(vector.avals), settings)
    try:
        found = PROGRAMS.get(key)
    except TypeError:                           # settings that are not hashable
        return make()
    return PROGRAMS.put(key, make()) if found is None else found


def frozen(settings: dict) -> tuple:
    """Settings as part of a key."""
    return tuple([(k, frozen(v) if isinstance(v, dict) else v) for k, v in sorted(settings.items())])


def solution(newton: Newton, host: Callable, x0, params) -> tuple[Any, dict]:
    """What solves ``conditions(z, params, at) = 0``, differentiable in ``params``, and what ``host`` says.

    That is, for ``(x0, params)``, a dict of arrays: "z"; "at", which goes to the conditions; "ok", if they
    hold, without which derivatives are nan; and counts.
    """
    whole, vector = ShapeDtypeStruct((), "int64"), ShapeDtypeStruct((newton.size,), "float64")
    truth = ShapeDtypeStruct((), "bool")
    shapes = {"z": vector, "at": ShapeDtypeStruct((newton.size,), "int64"), "ok": truth, "success": truth,
              "status": whole, "nit": whole, "nfev": whole}
    x0, still = tree.map(stop_gradient, (x0, params))
    found = pure_callback(host, shapes, x0, still)
    weight, at = np.where(found["ok"], 1.0, np.nan), found["at"]

    def equations(z):
        # the sum has no value here, but its derivative is nan in each parameter where nothing was solved
        every = sum([np.real(np.sum(x)) for x in tree.leaves(params)
                     if type(x) is Tracer and x.dtype.kind in "fc"], 0.0)
        return weight * newton.conditions(z, params, at) + (weight - 1) * every

    def tangent(g, y):
        if newton.size <= DENSE:
            return solve_linear(g, y, DENSE)
        place = found["z"], still, at
        by = [lambda _, y, t=t: pure_callback(partial(newton.solve, transposed=t), vector, y, *place)
              for t in (False, True)]
        return lax.custom_linear_solve(g, y, *by)

    return lax.custom_root(equations, found["z"], lambda f, z: z, tangent), found


def report(result, z, at, ok) -> dict:
    """What the callback returns."""
    count = lambda name: np.int64(result.get(name, 0) or 0)
    return {"z": np.asarray(z, float), "at": np.asarray(at, np.int64), "ok": np.bool_(ok),
            "success": np.bool_(result.get("success", False)), "status": count("status"), "nit": count("nit"),
            "nfev": count("nfev")}


def outcome(found: dict, **values):
    """SciPy's result as it can be in a trace."""
    return so.OptimizeResult(**values, success=found["success"], status=found["status"], nit=found["nit"],
                             nfev=found["nfev"])


try:
    # so that jit and vmap can return results
    tree.register_node(so.OptimizeResult, lambda r: ([r[k] for k in sorted(r)], tuple(sorted(r))),
                       lambda names, values: so.OptimizeResult(zip(names, values, strict=True)))
except ValueError:
    pass                                        # a user has done so


class Newton:
    """Newton's steps on conditions, so that derivatives are those of an exact solution."""

    def __init__(self, conditions: Callable, size: int):
        self.conditions, self.size, self.value = conditions, size, jit(conditions)
        self.slope = jit(jacfwd(conditions))
        self.sparse = sparse.jacobian(conditions)
        self.push = jit(lambda v, *at: jvp(lambda z: conditions(z, *at[1:]), at[:1], (v,))[1])
        self.pull = jit(lambda v, *at: vjp(lambda z: conditions(z, *at[1:]), at[0])[1](v)[0])
        self.kept: Any = None

    def __call__(self, z, params, at, start):
        """``(z, size of the residual, how small it should be, whether the system is regular)``.

        ``start`` is what SciPy found, to which z, or its first part, stays near.
        """
        value = self.value(z, params, at)
        left, factors = _most(value), self.factors(z, params, at)
        small = EXACT if factors is not None else LOOSE
        for _ in range(10):
            if not factors:
                break
            new = z - factors(value, False)
            new_value = self.value(new, params, at)
            far = _most(new[:len(start)] - start) > NEAR_START * (1 + _most(start))
            if far or not _most(new_value) < left:
                break
            z, value, left = new, new_value, _most(new_value)
            factors = self.factors(z, params, at)
        return z, left, small, factors is not False

    def factors(self, z, params, at):
        """``(right-hand side, transposed) -> x`` for the Jacobian at z; False if it is singular, None if it
        is neither small nor sparse."""
        if self.size <= DENSE:
            return _dense(self.slope(z, params, at))
        with _quiet():
            if sparse_pattern(self.sparse, (z, params, at), COLORS * self.size) is None:
                return None
            prepared = self.sparse.prepare((z, params, at), {})
        if prepared.n_colors > COLORS:
            return None
        try:
            factors = splu(prepared(z, params, at).tocsc())
        except RuntimeError:                    # exactly singular
            return False
        return lambda b, transposed: factors.solve(b, "T" if transposed else "N")

    def solve(self, y, z, params, at, transposed):
        """The solution of a tangent's equation; nan where there is none."""
        key, kept = tree.leaves((z, params, at)), self.kept
        if kept is None or not all(map(np.array_equal, key, kept[0])):
            kept = self.kept = key, self.factors(z, params, at)
        factors = kept[1]
        if factors is None:
            product, back = (self.pull, self.push) if transposed else (self.push, self.pull)
            n, eps = self.size, np.finfo(float).eps
            operator = LinearOperator((n, n), lambda v: product(np.ravel(v), z, params, at),
                                      lambda v: back(np.ravel(v), z, params, at))
            x, missed = gmres(operator, y, rtol=100 * eps, atol=0.0, restart=min(n, 100), maxiter=50)
            if missed and not np.linalg.norm(operator @ x - y) <= 1e-8 * np.linalg.norm(y):
                return np.full(n, np.nan)
            return x
        return factors(np.asarray(y), transposed) if factors else np.full(self.size, np.nan)


def _quiet():
    """A context in which patterns that are larger than need be are nobody's concern."""
    return warnings.catch_warnings(action="ignore", category=sparse.SparsityWarning)


def _dense(matrix):
    """``Newton.factors`` of a matrix."""
    if not np.isfinite(matrix).all():
        return False
    lu, pivots, info = lapack.dgetrf(matrix)
    if info or lapack.dgecon(lu, np.linalg.norm(matrix, 1))[0] < SINGULAR:
        return False
    return lambda b, transposed: lapack.dgetrs(lu, pivots, b, int(transposed))[0]


def _most(x) -> float:
    most = float(np.max(np.abs(x), initial=0.0))
    return most if most == most else np.inf


def scale_of(x) -> float:
    """What a residual is small in comparison with."""
    most = _most(x)
    return most if 1 < most < np.inf else 1.0


class Minimum:
    """The conditions of a staged problem's minimum, and their solution."""

    def __init__(self, problem: Problem):
        self.problem, self.n = problem, problem.vector.size
        self.layouts = [c.rows.layout for c in problem.constraints]
        self.size = self.n + sum(layout.size for layout in self.layouts)
        self.newton = Newton(self.conditions, self.size)
        self.slope = jit(grad(problem.objective.fun))
        self.balance = jit(grad(self.lagrangian))
        self.slopes, self.sparse = jit(jacobian(self.rows)), sparse.jacobian(self.rows)
        self.heights = jit(self.rows)

    def rows(self, x, consts):
        """All constraints' rows."""
        return np.concatenate([c.rows.flat(x, consts) for c in self.problem.constraints])

    def lagrangian(self, x, y, consts):
        """The function and the constraints' rows, weighted by their multipliers."""
        value = self.problem.objective.fun(x, consts)
        return value + y @ self.rows(x, consts) if self.layouts else value

    def sides(self, params):
        """Bounds and the constraints' sides, (lower, upper), in the order of z."""
        bounds = params["bounds"]
        own = bounds[:2] if bounds is not None else (np.full(self.n, -np.inf), np.full(self.n, np.inf))
        return [np.concatenate([side, *more]) if more else side for side, more in zip(
            own, zip(*params["sides"], strict=True) if params["sides"] else ((), ()), strict=True)]

    def conditions(self, z, params, at):
        """Zero at the solution; ``at`` is -1 at a lower side, 1 at an upper one, 0 between."""
        n, consts = self.n, params["consts"]
        x, y = z[:n], z[n:]
        low, high = self.sides(params)

        held, free = x, grad(self.lagrangian)(x, y, consts)
        if len(self.layouts):
            held, free = np.concatenate([x, self.rows(x, consts)]), np.concatenate([free, y])
        return np.where(at < 0, held - low, np.where(at > 0, held - high, free))

    def host(self, solve: Callable) -> Callable:
        """``(x0, params) -> report``, where ``solve(x0, params)`` is SciPy's result."""
        def run(x0, params):
            x0 = np.array(x0, float)
            result = solve(x0, params)
            return report(result, *self.exact(np.array(result.x, float), x0, params))
        return run

    def exact(self, x, x0, params):
        """The solution, its multipliers, and which sides hold."""
        low, high = self.sides(params)
        at, y = self._held(x, low, high, params)
        spare = self._spare(x, at, low == high, params)
        at, y = np.where(spare, 0, at), np.where(spare[self.n:], 0.0, y)
        z, scale = np.concatenate([x, y]), scale_of(self.slope(x0, params["consts"]))
        for _ in range(8):
            z, left, small, regular = self.newton(z, params, at, x)
            changed = self._corrected(z, at, low, high, params) if small == EXACT else at
            if np.array_equal(changed, at):
                break
            at = changed
        else:
            left = np.inf
        return z, at, regular and left <= scale * small

    def _values(self, x, params):
        """What the sides are sides of."""
        return np.concatenate([x, self.heights(x, params["consts"])]) if self.layouts else x

    def _held(self, x, low, high, params):
        """Which sides hold x, and the constraints' multipliers that balance the gradient best."""
        values, equal = self._values(x, params), low == high
        with np.errstate(invalid="ignore"):
            down, up = (values - low) / (1 + np.abs(low)), (high - values) / (1 + np.abs(high))
        y = self._multipliers(x, equal | (down < NEAR), equal | (up < NEAR), params)
        # of a side that holds, the multiplier is large beside the distance
        at = np.where(equal | (-y > np.maximum(down, 0)), -1, np.where(y > np.maximum(up, 0), 1, 0))
        return at, np.where(at == 0, 0.0, y)[self.n:]

    def _spare(self, x, at, equal, params):
        """Which of the sides that hold follow from others that do, equalities before the rest: without them
        multipliers are unique, and x moves as it would with them."""
        spare = np.zeros(self.size, bool)
        if not self.layouts or self.size > DENSE:
            return spare
        normals = np.concatenate([np.eye(self.n), self.slopes(x, params["consts"])])
        basis = np.zeros((self.n, 0))
        held = np.flatnonzero(at)
        for i in held[np.argsort(~equal[held], kind="stable")]:
            rest = normals[i]
            for _ in range(2):                  # twice, so that rounding errors do not look like a direction
                rest = rest - basis @ (basis.T @ rest)
            length = np.linalg.norm(rest)
            spare[i] = not length > DEPENDENT * np.linalg.norm(normals[i])
            if not spare[i]:
                basis = np.column_stack([basis, rest / length])
        return spare

    def _multipliers(self, x, below, above, params):
        """y with slope + normals.T @ y as small as can be: negative only where x is ``below`` (near a lower
        side), positive only where it is ``above``."""
        n, consts = self.n, params["consts"]
        slope = self.slope(x, consts)

        def signed(push):
            return np.where(above[:n], np.maximum(push, 0), 0) + np.where(below[:n], np.minimum(push, 0), 0)

        if not self.layouts:
            return signed(-slope)
        rows = np.flatnonzero((below | above)[n:])
        y = np.zeros(self.size)
        if self.size <= DENSE:
            lower, upper = np.flatnonzero(below), np.flatnonzero(above)
            normals = np.concatenate([np.eye(n), self.slopes(x, consts)])
            columns = np.concatenate([-normals[lower], normals[upper]]).T
            try:
                weights = so.nnls(columns, -slope)[0] if columns.size else np.zeros(columns.shape[1])
            except RuntimeError:                # too many turns: the first guess is a rough one
                weights = np.maximum(np.linalg.lstsq(columns, -slope, rcond=None)[0], 0)
            y[lower] -= weights[:len(lower)]
            y[upper] += weights[len(lower):]
            return y
        # many: first those of the constraints, from the unknowns that no bound holds
        free = ~(below | above)[:n]
        with _quiet():
            normals = self.sparse(x, consts)[rows]
        sign = (np.where(below[n:], -np.inf, 0)[rows], np.where(above[n:], np.inf, 0)[rows])
        if len(rows) and free.any():
            y[n + rows] = so.lsq_linear(normals[:, free].T.tocsc(), -slope[free], sign).x
        y[:n] = signed(-slope - normals.T @ y[n + rows])
        return y

    def _corrected(self, z, at, low, high, params):
        """Sides that pull instead of hold are left, those that are crossed hold."""
        x, y = z[:self.n], z[self.n:]
        push = np.concatenate([-self.balance(x, y, params["consts"]), y])
        values, small = self._values(x, params), 1e-9 * max(1.0, _most(push))
        new = at.copy()
        new[(at < 0) & (push > small) & (low != high)] = 0
        new[(at > 0) & (push < -small)] = 0
        new[(at == 0) & (values < low - 1e-9 * (1 + np.abs(low)))] = -1
        new[(at == 0) & (values > high + 1e-9 * (1 + np.abs(high)))] = 1
        return new


def staged(problem: Problem, bounds, given, what: str):
    """``(the problem of programs, its params, the programs)``, or None where nothing is traced."""
    functions: list[Callable] = [partial(f, consts=()) for f in (problem.objective._scalar,
                                                 *[c.rows.flat for c in problem.constraints])]
    limits = [(c.low, c.high) for c in problem.constraints]
    made = stage(functions, problem.vector, (given, bounds, limits), what)
    if made is None:
        return None
    (fun, *rows), consts = made
    constraints = []
    for c, run in zip(problem.constraints, rows, strict=True):
        new = copy(c)
        new.layout, new.rows = c.rows.layout, Rows(run, c.what)
        new.rows.layout = Layout(np.zeros(c.rows.layout.size), c.what)
        constraints.append(new)
    params = {"consts": consts, "bounds": bounds, "sides": [c.sides() for c in problem.constraints]}
    return Problem(Objective(fun, what), problem.vector, constraints), params, [fun, *rows]
