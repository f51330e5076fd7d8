"""What all optimizers share: the pair (init, update), its checks, rules applied leaf by leaf, and chains."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import errors, tree
from ..calling.staging import api, describe
from ..numpy.core import convert
from ..trace.core import aval_of
from ..trace.tracer import Tracer


class Optimizer(NamedTuple):
    """Two functions: ``init(params) -> state`` and ``update(grads, state, params) -> (updates, state)``.

    Everything is a pytree, nothing is changed in place, so both may be traced: under ``jit``, ``vmap``,
    ``grad``
    and in the bodies of loops. ``apply_updates(params, updates)`` adds. An optimizer of one's own is such a
    pair; ``update`` should take further keywords (``value``, ``value_fn``), as a line search in the same
    chain needs them.

    >>> import numpy as np
    >>> from functrans.optimizers import Optimizer, apply_updates, chain, clip
    >>> def signs(rate):
    ...     def update(grads, state, params=None, **_):
    ...         return -rate * np.sign(grads), state
    ...     return Optimizer(lambda params: (), update)
    >>> opt = chain(clip(1.0), signs(0.5))
    >>> params = np.array([1.0, -2.0])
    >>> updates, state = opt.update(2 * params, opt.init(params), params)
    >>> apply_updates(params, updates)
    array([ 0.5, -1.5])
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


class State(NamedTuple):
    """Of most optimizers: the number of updates so far, and pytrees like the parameters, by name."""

    count: Any
    slots: dict[str, Any]


# ----- checks -------------------------------------------------------------------------------------


def number(x: Any, name: str, low: float = -math.inf, high: float = math.inf, *, open_low=False,
           open_high=False) -> Any:
    """A hyperparameter in its range. Traced ones pass unseen, as long as they are scalars."""
    if isinstance(x, Tracer):
        if aval_of(x).shape:
            raise errors.OptionError(f"{name} is {aval_of(x)}.", "Give one number.")
        return x
    if isinstance(x, np.ndarray) and x.ndim == 0:
        x = x[()]
    if not isinstance(x, (int, float, np.integer, np.floating)):
        raise errors.OptionError(f"{name} is {x!r}.", "Give one number.")
    if not (low <= x <= high) or (open_low and x == low) or (open_high and x == high):
        left, right = ("]" if open_low else "[", "[" if open_high else "]")
        raise errors.OptionError(f"{name} is {x!r}.",
                                         f"It must be a number in {left}{low:g}, {high:g}{right}.")
    return x


def whole(x: Any, name: str, low: int) -> int:
    """A hyperparameter that counts."""
    if isinstance(x, bool) or not hasattr(x, "__index__") or x.__index__() < low:
        raise errors.OptionError(f"{name} is {describe(x) if isinstance(x, Tracer) else repr(x)}.",
                                         f"Give an integer of at least {low}.")
    return x.__index__()


def rate_of(learning_rate: Any, name: str) -> Callable[[Any], Any]:
    """``count -> rate`` of a number or a schedule."""
    if callable(learning_rate):
        return partial(_scheduled, learning_rate, name)
    number(learning_rate, f"{name}: learning_rate", 0.0, open_high=True)
    return lambda count: learning_rate


def _scheduled(schedule, name, count):
    rate = schedule(count)
    if not _is_array(rate) or aval_of(rate).shape:
        raise errors.OptionError(f"{name}: the schedule returned {describe(rate)}.",
                                         "It must return one number for a count.")
    return rate


def float_leaves(x: Any, what: str) -> tuple[list, Any]:
    """(leaves, structure) of a pytree of real floats; numbers become arrays' scalars."""
    leaves, treedef = tree.flatten(x)
    for i, leaf in enumerate(leaves):
        kind = aval_of(leaf).dtype.kind if not isinstance(leaf, str) and _is_array(leaf) else "-"
        if kind != "f":
            raise errors.DtypeError(
                f"{what}{treedef.paths()[i]} is {describe(leaf)}.",
                {"c": "Optimizers take real numbers: keep the real and the imaginary part as two parameters.",
                 "-": "Give arrays of floats, in pytrees."}.get(
                     kind, "Convert it with astype(float), or keep it out of the parameters."))
    return leaves, treedef


def _is_array(x):
    try:
        aval_of(x)
    except (TypeError, AttributeError):
        return False
    return True


def like(x: Any, what: str, leaves: list, treedef: Any, reference: str) -> list:
    """The leaves of a pytree of floats, which must have this structure and these shapes."""
    own, structure = float_leaves(x, what)
    if structure != treedef:
        treedef.flatten_up_to(x, what, reference)
        raise errors.TreeError(f"{what} has the structure {structure}, {reference} {treedef}.",
                               "Pass trees of one structure.")
    for i, (a, b) in enumerate(zip(own, leaves, strict=True)):
        if aval_of(a).shape != aval_of(b).shape:
            where = treedef.paths()[i]
            raise errors.ShapeError(f"{what}{where} is {describe(a)}, {reference}{where} is {describe(b)}.",
                                    "Each array of gradients has the shape of its parameter.")
    return own


def check_state(state: Any, fits: bool, name: str) -> None:
    if not fits:
        raise errors.ArgumentError(
            f"{name}: update got {describe(state)} where its state belongs.",
            "Call opt.update(grads, state, params) with what opt.init(params) or the last update returned.")


def need_params(params: Any, name: str, why: str) -> None:
    if params is None:
        raise errors.ArgumentError(f"{name}: update got no params, but {why}.",
                                   "Call opt.update(grads, state, params).")


# ----- rules ----------------------------------------------------------------------------------------


def working(dtype: Any) -> np.dtype:
    """The dtype that a parameter's moments have: half precision would lose small squares."""
    return np.promote_types(dtype, np.float32)


def zeros(x: Any, fill: float = 0.0) -> Any:
    a = aval_of(x)
    return np.full(a.shape, fill, working(a.dtype)) if a.shape else working(a.dtype).type(fill)


def rule(name: str, slots: tuple[str, ...], make: Callable, learning_rate: Any, *, weight_decay: Any = 0.0,
         mask: Any = None, start: float = 0.0) -> Optimizer:
    """An optimizer that treats each leaf by itself.

    Args:
      slots: names of what is kept of each leaf, arrays like it that begin as ``start``.
      make: ``t -> (factor, step)`` for update number t = 1, 2, ... (float64), with
        ``step(g, *kept) -> (direction, *kept)``; parameters move by ``-rate * factor * direction``.
      weight_decay: times the parameter is added to ``factor * direction``, where ``mask`` is true.
    """
    at = rate_of(learning_rate, name)
    number(weight_decay, f"{name}: weight_decay", 0.0, open_high=True)
    decays = isinstance(weight_decay, Tracer) or weight_decay != 0

    @api
    def init(params):
        leaves, treedef = float_leaves(params, f"{name}: params")
        return State(np.int64(0), {s: treedef.unflatten([zeros(x, start) for x in leaves]) for s in slots})

    @api
    def update(grads, state, params=None, **_):
        check_state(state, isinstance(state, State) and set(state.slots) == set(slots), name)
        leaves, treedef = float_leaves(grads, f"{name}: grads")
        if slots:
            kept, structure = tree.flatten(state.slots[slots[0]])
            like(grads, f"{name}: grads", kept, structure, "the state")
        if decays:
            need_params(params, name, "weights decay")
        if params is None:
            owners = leaves
        else:
            owners = like(params, f"{name}: params", leaves, treedef, "grads")
        columns = [treedef.flatten_up_to(state.slots[s], f"the state's {s}", "grads") for s in slots]
        decaying = masked(mask, params, treedef, name) if decays else [False] * len(leaves)
        (factor, step), rate = make(convert(state.count + 1, np.float64)), at(state.count)
        updates, kept = [], []
        for g, p, decayed, *old in zip(leaves, owners, decaying, *columns, strict=True):
            dtype = working(aval_of(p).dtype)
            direction, *new = step(convert(g, dtype), *old)
            if decayed:
                decay = convert(weight_decay, dtype) * convert(p, dtype)
                move = -convert(rate, dtype) * (convert(factor, dtype) * direction + decay)
            else:
                move = convert(-rate * factor, dtype) * direction
            updates.append(convert(move, aval_of(p).dtype))
            kept.append(new)
        rows = list(zip(*kept, strict=True)) if kept else [()] * len(slots)
        new_slots = {s: treedef.unflatten(row) for s, row in zip(slots, rows, strict=True)}
        return treedef.unflatten(updates), State(state.count + 1, new_slots)

    return Optimizer(init, update)


def descent(name: str, learning_rate: Any, **decay: Any) -> Optimizer:
    """The gradient as it is, times minus the rate."""
    return rule(name, (), lambda t: (1.0, lambda g: (g,)), learning_rate, **decay)


def masked(mask: Any, params: Any, treedef: Any, name: str) -> list[bool]:
    """One bool a leaf, of a prefix tree of bools, a function that gives it from the parameters, or None."""
    if mask is None:
        return [True] * treedef.num_leaves
    chosen = treedef.prefix_flatten(mask(params) if callable(mask) else mask, f"{name}: mask")
    for x in chosen:
        if not isinstance(x, (bool, np.bool_)):
            raise errors.ArgumentError(f"{name}: the mask has the entry {x!r}.",
                                       "Give True or False for each parameter or group of them.")
    return [bool(x) for x in chosen]


def scalar(x: Any, like: Any) -> Any:
    """A number in the dtype of an array, so that it does not widen it."""
    return convert(x, aval_of(like).dtype)


# ----- public -----------------------------------------------------------------------------------------


@api
def apply_updates(params: Any, updates: Any) -> Any:
    """``params + updates``, leaf by leaf, in the dtypes of the parameters.

    >>> import numpy as np
    >>> from functrans.optimizers import apply_updates
    >>> apply_updates({"w": np.ones(2, "float32")}, {"w": np.array([0.5, -0.5])})
    {'w': array([1.5, 0.5], dtype=float32)}
    """
    leaves, treedef = float_leaves(params, "apply_updates: params")
    moves = like(updates, "apply_updates: updates", leaves, treedef, "params")
    return treedef.unflatten([convert(p + convert(u, aval_of(p).dtype), aval_of(p).dtype)
                              for p, u in zip(leaves, moves, strict=True)])


@api
def chain(*optimizers: Optimizer) -> Optimizer:
    """Several optimizers in a row: each takes what the one before it made of the gradients.

    The state is the tuple of their states. Keywords of ``update`` go to all of them, and ``grad=``, the
    gradients that the first one takes.

    >>> import numpy as np
    >>> from functrans.optimizers import chain, clip_by_global_norm, sgd
    >>> opt = chain(clip_by_global_norm(1.0), sgd(0.1))
    >>> opt.update(np.array([30.0, 40.0]), opt.init(np.zeros(2)))[0]
    array([-0.06, -0.08])
    """
    for i, opt in enumerate(optimizers):
        if not (callable(getattr(opt, "init", None)) and callable(getattr(opt, "update", None))):
            raise errors.ArgumentError(f"chain: argument {i} is {opt!r}.",
                                       "Give optimizers, e.g. chain(clip(1.0), sgd(0.1)).")

    def init(params):
        return tuple([opt.init(params) for opt in optimizers])

    @api
    def update(grads, state, params=None, **extra):
        check_state(state, type(state) is tuple and len(state) == len(optimizers), "chain")
        new = []
        extra.setdefault("grad", grads)
        for opt, s in zip(optimizers, state, strict=True):
            grads, s = opt.update(grads, s, params, **extra)
            new.append(s)
        return grads, tuple(new)

    return Optimizer(init, update)
