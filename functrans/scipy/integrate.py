"""scipy.integrate on traced functions: ordinary differential equations; the trapezoidal rule.

``odeint`` has the signature of ``jax.experimental.ode.odeint``. Tangents solve the equation of the
sensitivities together with the system, cotangents the adjoint equation backwards, both by the same adaptive
method; each of these solutions is differentiated in the same way, so any order and mode follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, lax, tree
from ..ir.core import aval
from ..lax.body import bind_loop, leaf_avals, trace_body
from ..lax.implicit import moving, zeros_like
from ..numpy.core import asvalue, convert, shape_of
from ..ops.call import Passes, pick
from ..ops.custom import LinearRule, Rule, custom_jvp_call, linear_call
from ..trace.core import aval_of
from .public import scipy_function

# ----- one step
# ----------------------------------------------------------------------------------------------
#
# Dormand and Prince 1980, "A family of embedded Runge-Kutta formulae"; the value in the middle of a step, for
# the quartic between, is Shampine's 1986, "Some practical Runge-Kutta formulas".

_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84))
_ERROR = (35 / 384 - 1951 / 21600, 0.0, 500 / 1113 - 22642 / 50085, 125 / 192 - 451 / 720,
          -2187 / 6784 + 12231 / 42400, 11 / 84 - 649 / 6300, -1 / 60)
_MIDDLE = (6025192743 / 60171106304, 0.0, 51252292925 / 130801643196, -2691868925 / 90256659456,
           187940372067 / 3189068634112, -1776094331 / 39487288512, 11237099 / 470086768)


def _combined(weights, ks):
    return sum(w * k for w, k in zip(weights, ks, strict=False) if w)


def _step(f, y, dy, t, h):
    """The next value, its derivative, the error and the stages."""
    ks = [dy]
    for node, weights in zip(_NODES, _STAGES, strict=True):
        new = y + h * _combined(weights, ks)
        ks.append(f(new, t + node * h))
    return new, ks[-1], h * _combined(_ERROR, ks), ks


def _size(x):
    """Root of the mean of the squares."""
    n = max(shape_of(x)[0], 1)
    return np.sqrt(np.sum(np.real(x) ** 2 + np.imag(x) ** 2) / n)


def _first_step(f, y, dy, t, rtol, atol):
    """Hairer, Norsett, Wanner 1993, "Solving Ordinary Differential Equations I", section II.4."""
    scale = atol + rtol * np.abs(y)
    d0, d1 = _size(y / scale), _size(dy / scale)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = np.where(small, 1e-6, 0.01 * d0 / np.where(small, 1.0, d1))
    d2 = _size((f(y + h0 * dy, t + h0) - dy) / scale) / h0
    most = np.maximum(d1, d2)
    flat = most <= 1e-15
    h1 = np.where(flat, np.maximum(1e-6, h0 * 1e-3), (0.01 / np.where(flat, 1.0, most)) ** 0.2)
    return np.minimum(100.0 * h0, h1)


def _interpolated(x, h, first, last, middle, d0, d1):
    """The quartic through three values and two slopes, at the part x of the step."""
    a = h * (d1 - d0) * 2.0 - 8.0 * (last + first) + 16.0 * middle
    b = h * (5.0 * d0 - 3.0 * d1) + 18.0 * first + 14.0 * last - 32.0 * middle
    c = h * (d1 - 4.0 * d0) - 11.0 * first - 5.0 * last + 16.0 * middle
    return first + x * (h * d0 + x * (c + x * (b + x * a)))


def _solution(function, y0, ts, consts, rtol, atol, mxstep, hmax):
    """ys at ts, by steps that go on over the times that are asked for."""
    real = aval_of(ts).dtype
    way = np.where(ts[-1] < ts[0], -1.0, 1.0).astype(real)

    def f(y, t):                       # in a time that grows
        return way * function(y, way * t, consts)

    times = way * ts
    dy0 = f(y0, times[0])
    h0 = convert(np.minimum(_first_step(f, y0, dy0, times[0], rtol, atol), hmax), real)

    def to(state, target):
        def go_on(inner):
            turns, _, t, h, *_ = inner
            return (t < target) & (turns < mxstep) & (h > 0)

        def turn(inner):
            turns, (y, dy), t, h, kept = inner
            new, slope, error, ks = _step(f, y, dy, t, h)
            ratio = _size(error / (atol + rtol * np.maximum(np.abs(y), np.abs(new))))
            good = ratio <= 1.0
            middle = y + h * _combined(_MIDDLE, ks)
            factor = 0.9 * np.maximum(ratio, 1e-10) ** -0.2
            factor = np.where(np.isnan(ratio), 0.2, np.clip(factor, np.where(good, 1.0, 0.2), 10.0))
            done = (y, new, middle, dy, slope, t, h)
            kept = tuple(np.where(good, convert(a, aval_of(b).dtype), b) for a,
                         b in zip(done, kept, strict=True))
            values = np.where(good, new, y), np.where(good, slope, dy)
            later = np.where(good, t + h, t)
            return turns + 1, values, later, convert(np.minimum(factor * h, hmax), real), kept

        _, values, t, h, kept = lax.while_loop(go_on, turn, (0, *state))
        first, last, middle, d0, d1, begun, width = kept
        safe = np.where(width > 0, width, np.ones_like(width))
        y = _interpolated((target - begun) / safe, width, first, last, middle, d0, d1)
        y = np.where(target <= times[0], y0, np.where(t >= target, y, np.nan))
        return (values, t, h, kept), y

    kept = (y0, y0, y0, dy0, dy0, times[0], 0 * h0)
    _, ys = lax.scan(to, ((y0, dy0), times[0], h0, kept), times[1:])
    return np.concatenate([y0[None], ys])


# ----- derivatives -----------------------------------------------------------------------------------------


class _Problem:
    """dy/dt = f(y, t, *consts) of a vector y, as a program, and how it is solved."""

    def __init__(self, function, settings):
        self.function, self.settings = function, settings

    def f(self, y, t, consts):
        return Passes.evaluate(self.function, [y, t, *consts])[0]

    def params(self, values):
        avals = [aval_of(x).strong for x in values]
        program = Passes.stage(lambda y, ts, *cs: [_solution(self.f, y, ts, cs, *self.settings)], avals)
        return {"jaxpr": program, "rule": Rule("odeint", len(values), jvp=self.jvp)}

    def solve(self, y0, ts, consts):
        values = [y0, ts, *consts]
        return custom_jvp_call(*values, **self.params(values))[0]

    def slopes(self, ys, ts, consts):
        """f at all times."""
        n = len(consts)
        return Passes.batch_fun(lambda *xs: [self.f(xs[n], xs[n + 1], xs[:n])], shape_of(ts)[0],
                                [*consts, ys, ts],
                                [None] * n + [0, 0])[0]

    def jvp(self, primals, tangents):
        y0, ts, *consts = primals
        ty, tt, *tcs = tangents
        ys = self.solve(y0, ts, consts)
        total = None
        if moving([tt])[0]:                  # a time that moves, and a beginning that comes later
            rate = self.slopes(ys, ts, consts)
            total = rate * convert(tt, aval_of(rate).dtype)[:, None]
            change = rate[0] * convert(tt[0], aval_of(rate).dtype)
            ty = -change if not moving([ty])[0] else ty - change
        moves = moving(tcs)
        if moving([ty])[0] or any(moves):
            ty = convert(np.zeros_like(y0), aval_of(y0).dtype) if not moving([ty])[0] else ty
            more = self.sensitivities(primals, ys, ty, moves, pick(tcs, moves))
            total = more if total is None else total + more
        return [ys], zeros_like([aval_of(ys)]) if total is None else [total]

    def sensitivities(self, primals, ys, ty, moves, tcs):
        """Tangents of ys, linear in those of y0 and of constants."""
        residuals, n = [*primals, ys], len(primals) - 2

        def forward(*values):
            (y0, ts, *consts), linear = values[:n + 2], values[n + 3:]
            return [self.tangent(y0, ts, consts, moves, linear[0], linear[1:])]

        def back(residuals, cts):
            return self.adjoint(residuals[0], residuals[1], residuals[2:-1], residuals[-1], moves, cts[0])

        linear = [ty, *tcs]
        program = Passes.stage(forward, [aval_of(x).strong for x in (*residuals, *linear)])
        return linear_call(*residuals, *linear, jaxpr=program, rule=LinearRule("odeint", back),
                           n_res=len(residuals))[0]

    def tangent(self, y0, ts, consts, moves, ty, tcs):
        """The system with its sensitivities beside it: (y, s)' = (f, f_y s + f_c dc)."""
        d, n = shape_of(y0)[0], len(consts)
        moved, keep = Passes.jvp_jaxpr(self.function, (True, False, *moves), (True,))
        del keep

        def joint(both, t, *values):
            y, s, cs, ds = both[:d], both[d:], values[:n], values[n:]
            return [np.concatenate(Passes.evaluate(moved, [y, t, *cs, s, *ds]))]

        inputs = [aval((2 * d,), aval_of(y0).dtype), aval((), aval_of(ts).dtype), *[
            aval_of(c).strong for c in (*consts, *tcs)]]
        problem = _Problem(Passes.stage(joint, inputs), self.settings)
        return problem.solve(np.concatenate([y0, ty]), ts, [*consts, *tcs])[:, d:]

    def adjoint(self, y0, ts, consts, ys, moves, ct):
        """(y, a, g)' = (f, -a f_y, -a f_c) from each time to the one before, where y is known, and a grows by
        the cotangent there. The cotangents of y0 and of the moving constants."""
        d, dtype = shape_of(y0)[0], aval_of(y0).dtype
        avals = pick([aval_of(c).strong for c in consts], moves)
        fwd, lin, _ = Passes.linearize_jaxpr(self.function, (True, False, *moves), (True,))
        back, keep = Passes.transpose_masked(lin, (*[True] * (1 + sum(moves)), *[False] * (
            len(lin.invars) - 1 - sum(moves))), (True,), (*[True] * (1 + sum(moves)), *[False] * (
                len(lin.invars) - 1 - sum(moves))))
        del keep

        def joint(all_of_it, t, *cs):
            y, a = all_of_it[:d], all_of_it[d:2 * d]
            rate, *residuals = Passes.evaluate(fwd, [y, t, *cs])
            got = Passes.evaluate(back, [*residuals, a])
            return [np.concatenate([rate, *[convert(-np.reshape(g, (-1,)), dtype) for g in got]])]

        size = 2 * d + sum(a.size for a in avals)
        inputs = [aval((size,), dtype), aval((), aval_of(ts).dtype), *[aval_of(c).strong for c in consts]]
        problem = _Problem(Passes.stage(joint, inputs), self.settings)

        def interval(state, xs):
            a, g = state
            y, ct, t1, t0 = xs
            begin = np.concatenate([y, a + ct, g])
            end = problem.solve(begin, np.stack([t1, t0]), consts)[-1]
            return (end[d:2 * d], end[2 * d:]), None

        start = np.zeros((d,), dtype), np.zeros((size - 2 * d,), dtype)
        (a, g), _ = lax.scan(interval, start, (ys[1:], ct[1:], ts[1:], ts[:-1]), reverse=True)
        out, at = [a + ct[0]], 0
        for v in avals:
            out.append(convert(np.reshape(g[at:at + v.size], v.shape), v.dtype))
            at += v.size
        return out


# ----- the function ----------------------------------------------------------------------------------------


def odeint(func: Callable, y0: Any, t: Any, *args: Any, rtol: float = 1.4e-8, atol: float = 1.4e-8,
           mxstep: float = np.inf, hmax: float = np.inf) -> Any:
    """Solves dy/dt = func(y, t, *args) from y(t[0]) = y0, by adaptive Dormand-Prince steps of order 5(4).

    Args:
      func: ``(y, t, *args) -> dy/dt``, like ``y0``; it may close over traced values.
      y0: pytree of floats or complex numbers.
      t: times, ascending or descending, at which y is wanted; y0 is y at the first.
      args: further arguments of func, pytrees of arrays.
      rtol, atol: error per step, in the root mean square of error / (atol + rtol |y|).
      mxstep: at most so many steps between two times; where they do not suffice the result is NaN.
      hmax: the longest step.

    Returns:
      A pytree like ``y0``, with a leading axis for the times.

    Derivatives in y0, t, args and closures solve equations of their own, with the same tolerances: in forward
    mode the sensitivities, in reverse mode the adjoint equation, which begins anew from y at each of the
    times.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy.integrate import odeint
    >>> def end(rate):
    ...     return odeint(lambda y, t: -rate * y, 1.0, np.array([0.0, 1.0]))[-1]
    >>> bool(abs(end(2.0) - np.exp(-2.0)) < 1e-7), bool(abs(grad(end)(2.0) + np.exp(-2.0)) < 1e-6)
    (True, True)
    """
    for name, value in (("rtol", rtol), ("atol", atol), ("mxstep", mxstep), ("hmax", hmax)):
        if not isinstance(value, (int, float, np.integer, np.floating)):
            raise errors.ArgumentError(f"odeint: {name} must be a number, got {type(value).__name__}.",
                                       "Tolerances and limits are not traced.")
    ts = asvalue(t)
    if len(shape_of(ts)) != 1 or not shape_of(ts)[0]:
        raise errors.ShapeError(f"odeint: t must be a vector of at least one time, got shape {shape_of(ts)}.")
    leaves, treedef = tree.flatten(y0)
    avals = [a.strong for a in leaf_avals(leaves, treedef, "odeint: y0")]
    if not leaves:
        raise errors.TreeError("odeint: y0 has no arrays.")
    dtype = np.result_type(*[a.dtype for a in leaf_avals(leaves, treedef, "odeint: y0")], np.float32)
    if any(a.dtype.kind not in "fc" for a in avals) and dtype.kind == "f":
        dtype = np.result_type(dtype, np.float64)
    avals = [aval(a.shape, a.dtype if a.dtype.kind in "fc" else dtype) for a in avals]
    real = np.zeros(0, dtype).real.dtype
    ts = convert(ts, np.result_type(real, aval_of(ts).dtype) if aval_of(ts).dtype.kind == "f" else real)

    def vector(values):
        return np.concatenate([convert(np.reshape(v, (-1,)), dtype) for v in values])

    def unravelled(y, lead=()):
        out, at = [], 0
        for a in avals:
            part = y[..., at:at + a.size]
            out.append(convert(np.reshape(part if dtype.kind == a.dtype.kind else part.real,
                                          (*lead, *a.shape)),
                               a.dtype))
            at += a.size
        return treedef.unflatten(out)

    def rate(values):
        y, at = values
        found, found_tree = tree.flatten(func(unravelled(y), at, *args))
        if found_tree != treedef:
            raise errors.TreeError(f"odeint: func must return the structure {treedef} of y0, got "
                                   f"{found_tree}.")
        for v, a, path in zip(found, avals, treedef.paths(), strict=True):
            if shape_of(v) != a.shape:
                raise errors.ShapeError(f"odeint: func must return shape {a.shape}"
                                        f"{' at ' + path if path else ''}, as y0 has it, got {shape_of(v)}.")
            if aval_of(v).dtype.kind == "c" and dtype.kind != "c":
                raise errors.DtypeError(f"odeint: func returns {aval_of(v)}, but y0 is real.",
                                        "Start with a complex y0.")
        return vector(found)

    size = sum(a.size for a in avals)
    body = trace_body(rate, [aval((size,), dtype), aval((), aval_of(ts).dtype)], "odeint")
    problem = _Problem(body.jaxpr, (rtol, atol, mxstep, hmax))
    values = [vector(leaves), ts, *body.consts]
    (ys,) = bind_loop(custom_jvp_call, [], values, problem.params(values))
    return unravelled(ys, shape_of(ts))


@scipy_function("scipy.integrate")
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """The integral of samples ``y`` at places ``x``, or ``dx`` apart, by the trapezoidal rule."""
    return np.trapezoid(y, x, dx, axis)


__all__ = ["odeint", "trapezoid"]
