"""L-BFGS: directions from the last few steps and changes of the gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import errors, lax
from ..api.flattening import ravel_pytree
from ..calling.staging import api
from ..numpy.core import convert
from ..trace.core import aval_of
from .base import Optimizer, chain, check_state, descent, float_leaves, like, need_params, whole
from .linesearch import _scalar_dtype, zoom_linesearch


class LbfgsState(NamedTuple):
    """Parameters and gradient of the last update as vectors, and of the steps before: the newest last."""

    count: Any
    params: Any         # [n]
    grad: Any           # [n]
    steps: Any          # [memory, n]
    changes: Any        # [memory, n], of the gradient
    weights: Any        # [memory]: 1 / (step . change); 0 where there is none yet
    scale: Any          # of the identity that the recursion begins with


def _wide(x, dtype):
    return convert(ravel_pytree(x)[0], dtype)


@api
def scale_by_lbfgs(memory_size: int = 10) -> Optimizer:
    """Multiplies gradients by L-BFGS' approximation of the inverse Hessian; ``lbfgs`` adds the line search.

    The two-loop recursion, algorithm 7.4 of Nocedal and Wright, Numerical Optimization (2006); the identity
    is scaled as in their eq. 7.20, and by min(1, 1 / norm(g)) at the first step. Steps without positive
    curvature are not remembered; after a step of length 0 the memory is cleared. Needs ``params``.

    >>> import numpy as np
    >>> from functrans.optimizers import chain, scale, scale_by_lbfgs
    >>> opt = chain(scale_by_lbfgs(), scale(-1.0))
    >>> x = np.array([3.0])
    >>> updates, state = opt.update(4.0 * x, opt.init(x), x)      # of 2 x**2: a step of length 1
    >>> x = x + updates
    >>> x + opt.update(4.0 * x, state, x)[0]                      # its curvature is known now
    array([0.])
    """
    memory = whole(memory_size, "lbfgs: memory_size", 1)

    @api
    def init(params):
        leaves, _ = float_leaves(params, "lbfgs: params")
        dtype = _scalar_dtype(leaves)
        flat = _wide(params, dtype)
        n = aval_of(flat).size
        return LbfgsState(np.int64(0), 0.0 * flat, np.zeros(n, dtype), np.zeros((memory, n), dtype),
                          np.zeros((memory, n), dtype), np.zeros(memory, dtype), dtype.type(1))

    @api
    def update(grads, state, params=None, **_):
        check_state(state, isinstance(state, LbfgsState), "lbfgs")
        need_params(params, "lbfgs", "the curvature comes from their steps")
        leaves, treedef = float_leaves(params, "lbfgs: params")
        like(grads, "lbfgs: grads", leaves, treedef, "params")
        dtype = aval_of(state.grad).dtype
        x, g = _wide(params, dtype), _wide(grads, dtype)
        if aval_of(x) != aval_of(state.params):
            raise errors.ShapeError(f"lbfgs: params have {aval_of(x).size} elements, the state is of "
                                    f"{aval_of(state.params).size}.", "Make the state with opt.init(params).")
        state = _remember(state, x, g)

        def back(q, row):
            step, change, weight = row
            share = weight * np.dot(step, q)
            return q - share * change, share

        def forth(r, row):
            step, change, weight, share = row
            return r + (share - weight * np.dot(change, r)) * step, None

        rows = (state.steps, state.changes, state.weights)
        q, shares = lax.scan(back, g, rows, reverse=True)
        direction, _ = lax.scan(forth, state.scale * q, (*rows, shares))
        return ravel_pytree(params)[1](direction), state

    return Optimizer(init, update)


def _remember(state, x, g):
    """The state with the step from the last parameters to x, if it shows curvature."""
    s, y = x - state.params, g - state.grad
    sy, ss, yy = np.dot(s, y), np.dot(s, s), np.dot(y, y)
    eps = np.finfo(aval_of(g).dtype).eps
    curved = (state.count > 0) & (sy > eps * np.sqrt(ss * yy))
    lost = (state.count == 0) | (ss == 0)
    norm = np.sqrt(np.dot(g, g))
    capped = 1.0 / np.maximum(norm, 1.0)

    def push(rows, row):
        return np.where(curved, np.concatenate([rows[1:], row[None]]), rows)

    weights = push(state.weights, 1.0 / np.where(curved, sy, 1.0))
    scale = np.where(curved, sy / np.where(curved, yy, 1.0), np.where(lost, capped, state.scale))[()]
    return LbfgsState(state.count + 1, x, g, push(state.steps, s), push(state.changes, y),
                      np.where(lost, 0.0, weights), scale)


@api
def lbfgs(learning_rate: Any = None, memory_size: int = 10, linesearch: Optimizer | None = None) -> Optimizer:
    """L-BFGS (Liu, Nocedal 1989) with a line search for the strong Wolfe conditions: for smooth functions
    without noise.

    ``update(grads, state, params, value=value, value_fn=f)``: the search evaluates ``f``, a function of the
    parameters alone. ``minimize`` gives all that by itself; ``value_and_grad_from_state`` saves the
    evaluation that the search has made already. Works inside ``jit``, ``scan`` and ``vmap``, each example
    with its own number of evaluations.

    Args:
      learning_rate: a number or a schedule instead of the line search; then ``value_fn`` is not needed.
      memory_size: how many steps are remembered; the state has 2 * memory_size times the size of the
        parameters.
      linesearch: another one than ``zoom_linesearch()``.

    >>> import numpy as np
    >>> from functrans.optimizers import lbfgs, minimize
    >>> def rosenbrock(x):
    ...     return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    >>> minimize(rosenbrock, np.zeros(5), lbfgs(), steps=60).params.round(6)
    array([1., 1., 1., 1., 1.])
    """
    direction = scale_by_lbfgs(memory_size)
    if learning_rate is not None:
        if linesearch is not None:
            raise errors.ArgumentError("lbfgs: got a learning_rate and a linesearch.", "Give one of them.")
        return chain(direction, descent("lbfgs", learning_rate))
    return chain(direction, descent("lbfgs", 1.0), zoom_linesearch() if linesearch is None else linesearch)
