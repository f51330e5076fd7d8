"""The training loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .. import errors, lax, tree
from ..api.compilation import jit
from ..api.derivatives import value_and_grad
from ..calling.staging import api, check_callable, describe
from ..numpy.core import convert
from ..trace.core import aval_of, current_builder
from .base import Optimizer, apply_updates, float_leaves, number, whole
from .linesearch import search_state, value_and_grad_from_state


class MinimizeResult(NamedTuple):
    """What ``minimize`` returns.

    >>> from functrans import optimizers
    >>> found = optimizers.minimize(lambda x: (x - 2) ** 2, 0.0, optimizers.sgd(0.4), steps=50)
    >>> round(float(found.params), 6), found.losses.shape, float(found.losses[0])
    (2.0, (50,), 4.0)
    """

    params: Any
    losses: Any         # [steps done]: losses[i] is the loss that update i started from
    state: Any          # of the optimizer


@api
def minimize(loss: Callable, params: Any, optimizer: Optimizer, steps: int,
             callback: Callable | None = None, *, batches: Iterable | None = None, every: int | None = None,
             tol: float | None = None, progress: bool | None = None) -> MinimizeResult:
    """Calls an optimizer ``steps`` times, as compiled loops.

    Args:
      loss: ``loss(params) -> scalar``; with ``batches``, ``loss(params, *batch)``.
      params: pytree of arrays of floats.
      steps: number of updates.
      callback: ``callback(step, params, value)`` after every ``every`` updates: how many have been made, the
        parameters now, and the loss before the last. Returning True ends the loop.
      batches: an iterable of tuples of arrays, one for each step; where it ends, the loop does.
      every: 1 with a callback or batches; else the loop looks about 100 times whether something is wrong.
      tol: ends as soon as no element of the gradient is larger than this.
      progress: a bar by ``tqdm``. None shows it if tqdm is installed and stderr is a terminal.

    Returns:
      MinimizeResult ``(params, losses, state)``. Under a transform ``losses`` always has ``steps`` entries;
      those after an end by ``tol`` repeat the last loss.

    Raises:
      NonFiniteError: the loss is nan. MissingPackageError: ``progress=True`` without tqdm.

    >>> import numpy as np
    >>> from functrans.optimizers import adam, minimize
    >>> def loss(p):
    ...     return (p["a"] - 2.0) ** 2 + p["b"] ** 2
    >>> found = minimize(loss, {"a": 0.0, "b": 1.0}, adam(0.1), steps=300)
    >>> float(found.params["a"].round(3)), found.losses.shape
    (2.0, (300,))
    """
    check_callable(loss, "minimize")
    if not callable(getattr(optimizer, "update", None)):
        raise errors.ArgumentError(f"minimize: the optimizer is {optimizer!r}.",
                                   "Give an optimizer, e.g. functrans.optimizers.adam(1e-3).")
    if callback is not None:
        check_callable(callback, "minimize: callback")
    steps = whole(steps, "minimize: steps", 0)
    inside = current_builder() is not None
    if inside and callback is not None:
        raise errors.ArgumentError("minimize: a callback, under a transform.",
                                   "Call it outside of jit, grad and vmap, or use debug.callback.")
    if batches is not None and not isinstance(batches, Iterable):
        raise errors.ArgumentError(f"minimize: batches is {describe(batches)}.",
                                   "Give an iterable of tuples, the arguments of the loss after params.")
    if every is None:
        every = steps if inside else 1 if callback is not None else -(-steps // 100)
    every = max(whole(every, "minimize: every", 0 if steps == 0 else 1), 1)
    if tol is not None:
        number(tol, "minimize: tol", 0.0)
    leaves, treedef = float_leaves(params, "minimize: params")
    params = treedef.unflatten([convert(x, aval_of(x).dtype) for x in leaves])
    carry = (params, optimizer.init(params), np.False_)
    # What a callback has seen stays as it was; else each call writes into the arrays of the one before.
    own = not inside and callback is None
    if own:
        carry = tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, carry)
    bar = None if inside else _bar(steps, progress)
    try:
        return _loop(_compiled(loss, optimizer, tol, batches is not None, own), carry, steps, every,
                     callback, None if batches is None else iter(batches), bar, inside)
    finally:
        if bar is not None:
            bar.close()


def _compiled(loss, optimizer, tol, batched, own):
    """``n -> program`` of n steps: ``(carry, batch) -> (carry, losses, which updates were made)``; ``own``:
    the carry is donated."""
    def step(carry, batch):
        params, state, done = carry

        def value_fn(params):
            return loss(params, *batch)

        if search_state(state) is not None and not batched:     # its search has been where we are
            value, grads = value_and_grad_from_state(value_fn)(params, state=state)
        else:
            value, grads = value_and_grad(value_fn)(params)

        def go(params, state):
            updates, state = optimizer.update(grads, state, params, value=value, value_fn=value_fn)
            return apply_updates(params, updates), state
        if tol is None:
            return (*go(params, state), done), (value, ~done)
        largest = tree.reduce(np.maximum, [np.max(np.abs(g), initial=0.0) for g in tree.leaves(grads)], 0.0)
        done = done | (largest <= tol)
        return (*lax.cond(done, lambda *kept: kept, go, params, state), done), (value, ~done)

    def single(carry, batch):
        carry, (value, made) = step(carry, batch)
        return carry, value[None], made[None]

    def several(n, carry, batch):
        carry, (values, made) = lax.scan(lambda c, _: step(c, batch), carry, None, length=n)
        return carry, values, made
    return cache(lambda n: jit(single if n == 1 else partial(several, n), donate_argnums=(0,) if own else ()))


def _loop(programs, carry, steps, every, callback, batches, bar, inside):
    losses: list = []
    made = 0
    while made < steps:
        if batches is None:
            n, batch = min(every, steps - made), ()
        else:
            n, batch = 1, next(batches, None)
            if batch is None:
                break
            batch = batch if isinstance(batch, tuple) else (batch,)
        carry, values, taken = programs(n)(carry, batch)
        made += n
        losses.append(values)
        if inside:
            continue
        last = values[-1]
        _check(values, made - n)
        if carry[2]:
            losses[-1] = values[taken]
            break
        if bar is not None:
            bar.set_postfix_str(f"loss={last:.4g}", refresh=False)      # update prints it, now and then
            bar.update(n)
        if callback is not None and made % every == 0 and callback(made, carry[0], last):
            break
    return MinimizeResult(carry[0], np.concatenate(losses) if losses else np.zeros(0), carry[1])


def _check(values, before):
    """Once the loss is nan, parameters are too, and stay so."""
    wrong = np.isnan(values)
    if wrong.any():
        step = before + int(np.argmax(wrong))
        where = f"at step {step}"
        advice = "Lower the learning rate, or clip gradients: chain(clip_by_global_norm(1.0), optimizer).\n"
        if step == 0:
            where, advice = "where it begins", ""
        raise errors.NonFiniteError(
            f"minimize: the loss is nan {where}.",
            advice + "Under functrans.debug_nans() the operation that makes it is named.")


def _bar(steps, progress):
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty() and find_spec("tqdm") is not None
    if not progress:
        return None
    if find_spec("tqdm") is None:
        raise errors.MissingPackageError("minimize: progress=True needs tqdm, which is not installed.",
                                         "Run: pip install 'functrans[progress]', or leave progress out.")
    from tqdm import tqdm
    return tqdm(total=steps, unit="step")
