"""How far to go along a direction: a search for the strong Wolfe conditions, as one loop of the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import errors, lax, tree
from ..api.derivatives import value_and_grad
from ..calling.staging import api
from ..numpy.core import convert
from ..trace.core import aval_of
from .base import Optimizer, check_state, float_leaves, like, need_params, number, whole, working, zeros

NOISE = 10.0        # ulps of the value within which two values count as equal


class LineSearchState(NamedTuple):
    """Where the search ended: the factor of the direction, and the function's value and gradient there."""

    learning_rate: Any
    value: Any
    grad: Any


class Point(NamedTuple):
    """Of the search: position along the direction, value and slope there."""

    at: Any
    value: Any
    slope: Any


class _Search(NamedTuple):
    turns: Any
    done: Any
    next: Any
    low: Point          # the lowest point so far; the search goes on from here towards high
    low_grad: Any
    high: Point         # the other end of what holds a minimum; at infinity while that is not known


def _dot(a, b, dtype):
    parts = [np.sum(convert(x, dtype) * convert(y, dtype)) for x, y in
             zip(tree.leaves(a), tree.leaves(b), strict=True)]
    return tree.reduce(np.add, parts, dtype.type(0))


def _choose(which, a, b):
    return tree.map(lambda x, y: np.where(which, x, y)[()], a, b)


def _inside(low, high):
    """The minimum of the cubic through two points (Nocedal, Wright, eq. 3.59), kept off their ends."""
    width = high.at - low.at
    d1 = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.at - high.at)
    d2 = np.sign(width) * np.sqrt(np.maximum(d1 * d1 - low.slope * high.slope, 0.0))
    part = 1.0 - (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2)
    part = np.where(np.isfinite(part), np.clip(part, 0.1, 0.9), 0.5)
    return low.at + width * np.where(np.isfinite(high.value), part, 0.1)


def _beyond(before, last):
    """Where the slope would vanish if it went on as between two points, 2 to 10 times as far as the last."""
    fall = last.slope - before.slope
    secant = last.at - last.slope * (last.at - before.at) / np.where(fall > 0, fall, 1.0)
    return np.where(fall > 0, np.clip(secant, 2.0 * last.at, 10.0 * last.at), 10.0 * last.at)


@api
def zoom_linesearch(max_linesearch_steps: int = 20, *, slope_rtol: float = 1e-4, curv_rtol: float = 0.9
                    ) -> Optimizer:
    """Scales updates so that they fulfil the strong Wolfe conditions; the last member of a ``chain``.

    With phi(t) the value at ``params + t * updates``, it looks for a t with ``phi(t) <= phi(0) + slope_rtol *
    t * phi'(0)`` and ``abs(phi'(t)) <= curv_rtol * abs(phi'(0))``, beginning at 1: algorithms 3.5 and 3.6 of
    Nocedal and Wright, Numerical Optimization (2006). Values that are equal up to rounding are judged by
    their slopes. If none is found, the lowest point that was met is taken; if there is none below phi(0), or
    the updates do not point downwards, the updates become 0.

    ``update`` needs ``params`` and ``value_fn`` (a function of the parameters alone); with ``value``, and in
    a chain, where the gradient is known, it does not evaluate them again at ``params``.

    Args:
      max_linesearch_steps: at most so many evaluations of value and gradient.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.optimizers import apply_updates, chain, sgd, zoom_linesearch
    >>> f = lambda x: np.sum(np.array([1.0, 100.0]) * x ** 2)
    >>> opt, x = chain(sgd(1.0), zoom_linesearch()), np.array([0.0, 1.0])
    >>> updates, state = opt.update(grad(f)(x), opt.init(x), x, value_fn=f)
    >>> float(f(apply_updates(x, updates)).round(12))
    0.0
    """
    limit = whole(max_linesearch_steps, "zoom_linesearch: max_linesearch_steps", 1)
    number(curv_rtol, "zoom_linesearch: curv_rtol", 0.0, 1.0, open_low=True, open_high=True)
    number(slope_rtol, "zoom_linesearch: slope_rtol", 0.0, curv_rtol, open_low=True, open_high=True)

    @api
    def init(params):
        leaves, treedef = float_leaves(params, "zoom_linesearch: params")
        dtype = _scalar_dtype(leaves)
        return LineSearchState(dtype.type(1.0), dtype.type(np.inf), treedef.unflatten(
            [convert(zeros(x), aval_of(x).dtype) for x in leaves]))

    @api
    def update(updates, state, params=None, *, value=None, grad=None, value_fn=None, **_):
        check_state(state, isinstance(state, LineSearchState), "zoom_linesearch")
        need_params(params, "zoom_linesearch", "the search starts from them")
        if not callable(value_fn):
            raise errors.ArgumentError(
                "zoom_linesearch: update got no value_fn, the function to search along.",
                "Call opt.update(grads, state, params, value=value, value_fn=f) with f: params -> value.")
        leaves, treedef = float_leaves(params, "zoom_linesearch: params")
        like(updates, "zoom_linesearch: updates", leaves, treedef, "params")
        evaluate = value_and_grad(value_fn)
        if grad is None or value is None:
            value, grad = evaluate(params)
        dtype = _scalar_dtype(leaves)
        found = _search(evaluate, params, updates, convert(value, dtype), grad, dtype, limit,
                        slope_rtol, curv_rtol)
        step = found.low.at
        # where a direction is infinite, nothing moves: 0 times it would be nan
        moves = tree.map(lambda u: np.where(step > 0, convert(step, aval_of(u).dtype) * u,
                                            convert(0.0, aval_of(u).dtype))[()], updates)
        kept = convert(found.low.value, aval_of(state.value).dtype)
        return moves, LineSearchState(step, kept, found.low_grad)

    return Optimizer(init, update)


def _scalar_dtype(leaves):
    """Of positions, values and slopes."""
    return np.result_type(*[working(aval_of(x).dtype) for x in leaves]) if leaves else np.dtype(float)


def _search(evaluate, params, direction, value, grad, dtype, limit, decrease, curvature):
    start = Point(dtype.type(0), value, _dot(direction, grad, dtype))
    noise = NOISE * np.finfo(dtype).eps * np.abs(value)
    infinity = dtype.type(np.inf)

    def go_on(s):
        return ~s.done & (s.turns < limit)

    def turn(s):
        moved = tree.map(lambda p, u: p + convert(s.next, aval_of(p).dtype) * convert(u, aval_of(p).dtype),
                         params, direction)
        f, g = evaluate(moved)
        here = Point(s.next, convert(f, dtype), _dot(direction, g, dtype))
        below = (here.value <= start.value + decrease * here.at * start.slope + noise) \
            & (here.value <= s.low.value + noise) & np.isfinite(here.slope)
        flat = np.abs(here.slope) <= curvature * np.abs(start.slope)
        known = np.isfinite(s.high.at)
        # a lower point from which it goes up, seen from the old one, has the minimum behind it
        past = here.slope * np.where(known, s.high.at - s.low.at, 1.0) >= 0
        high = _choose(below, _choose(past, s.low, s.high), here)
        low = _choose(below, here, s.low)
        known = np.isfinite(high.at)
        ahead = np.where(known, _inside(low, _choose(known, high, Point(low.at + 1.0, *low[1:]))),
                         _beyond(s.low, here))[()]
        return _Search(s.turns + 1, below & flat, ahead, low, _choose(below, g, s.low_grad), high)

    grad = tree.map(lambda g, p: convert(g, aval_of(p).dtype), grad, params)
    first = _Search(np.int64(0), ~(start.slope < 0), dtype.type(1), start, grad,
                    Point(infinity, infinity, dtype.type(0)))
    return lax.while_loop(go_on, turn, first)


@api
def value_and_grad_from_state(value_fn: Callable) -> Callable:
    """``value_and_grad`` that takes what the line search has computed at these parameters already.

    Returns ``(params, *args, state=state) -> (value, grads)``. ``state`` holds one of a line search (that of
    ``lbfgs`` does). Before the first update it evaluates ``value_fn(params, *args)``, later it does not, so
    ``params`` must be those that the last update led to, and ``value_fn`` the function that was searched.

    >>> import numpy as np
    >>> from functrans.optimizers import apply_updates, lbfgs, value_and_grad_from_state
    >>> f, x, opt = lambda x: np.sum(np.cosh(x - 1.0)), np.zeros(2), lbfgs()
    >>> state = opt.init(x)
    >>> for _ in range(10):
    ...     value, g = value_and_grad_from_state(f)(x, state=state)
    ...     updates, state = opt.update(g, state, x, value=value, value_fn=f)
    ...     x = apply_updates(x, updates)
    >>> x.round(6)
    array([1., 1.])
    """
    evaluate = value_and_grad(value_fn)

    @api
    def from_state(params, *args, state):
        kept = search_state(state)
        if kept is None:
            raise errors.ArgumentError("value_and_grad_from_state: the state holds none of a line search.",
                                       "Use value_and_grad, or an optimizer that searches, e.g. lbfgs().")

        def again():
            value, grad = evaluate(params, *args)
            return (convert(value, aval_of(kept.value).dtype),
                    tree.map(lambda g, k: convert(g, aval_of(k).dtype), grad, kept.grad))
        return lax.cond(np.isfinite(kept.value), lambda: (kept.value, kept.grad), again)
    return from_state


def search_state(state: Any) -> LineSearchState | None:
    """The state of a line search in that of an optimizer."""
    found = [x for x in tree.leaves(state, is_leaf=lambda x: isinstance(x, LineSearchState))
             if isinstance(x, LineSearchState)]
    return found[0] if found else None
