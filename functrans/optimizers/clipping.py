"""Steps of a chain before or after an optimizer: clipping, scaling, weight decay."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import tree
from ..calling.staging import api
from ..numpy.core import convert
from ..trace.core import aval_of
from .base import Optimizer, check_state, descent, float_leaves, number, scalar, working


def _stateless(name, change):
    """Of ``change(leaves) -> leaves``."""
    @api
    def init(params):
        float_leaves(params, f"{name}: params")
        return ()

    @api
    def update(grads, state, params=None, **_):
        check_state(state, type(state) is tuple and not state, name)
        leaves, treedef = float_leaves(grads, f"{name}: grads")
        return treedef.unflatten(change(leaves)), state
    return Optimizer(init, update)


@api
def clip(max_delta: Any) -> Optimizer:
    """Clips each element to [-max_delta, max_delta].

    >>> import numpy as np
    >>> from functrans.optimizers import clip
    >>> opt = clip(1.0)
    >>> opt.update(np.array([0.5, -3.0]), opt.init(np.zeros(2)))[0]
    array([ 0.5, -1. ])
    """
    number(max_delta, "clip: max_delta", 0.0, open_low=True)
    return _stateless("clip", lambda leaves: [np.clip(g, -scalar(max_delta, g), scalar(max_delta, g))
                                              for g in leaves])


@api
def clip_by_global_norm(max_norm: Any) -> Optimizer:
    """Scales gradients so that all of them together, as one vector, are no longer than ``max_norm``.

    Shorter ones pass as they are (Pascanu, Mikolov, Bengio 2013).

    >>> import numpy as np
    >>> from functrans.optimizers import clip_by_global_norm
    >>> opt = clip_by_global_norm(1.0)
    >>> opt.update({"a": np.array([30.0]), "b": np.array([40.0])}, opt.init({"a": 0.0, "b": 0.0}))[0]
    {'a': array([0.6]), 'b': array([0.8])}
    """
    number(max_norm, "clip_by_global_norm: max_norm", 0.0, open_low=True)

    def change(leaves):
        norm = global_norm(leaves)
        factor = np.where(norm > max_norm, max_norm / np.where(norm > 0, norm, 1.0), 1.0)[()]
        return [convert(g * scalar(factor, g), aval_of(g).dtype) for g in leaves]
    return _stateless("clip_by_global_norm", change)


@api
def global_norm(tree_of_arrays: Any) -> Any:
    """The Euclidean norm of all elements of a pytree of floats, as one vector. Its gradient at 0 is 0.

    >>> import numpy as np
    >>> from functrans.optimizers import global_norm
    >>> float(global_norm({"a": np.array([3.0]), "b": 4.0}))
    5.0
    """
    leaves, _ = float_leaves(tree_of_arrays, "global_norm: argument")
    wide = [convert(x, working(aval_of(x).dtype)) for x in leaves]
    return np.sqrt(tree.reduce(np.add, [np.sum(x * x) for x in wide], np.float32(0.0)))


@api
def scale(step_size: Any) -> Optimizer:
    """Multiplies by a number, or by a schedule's: ``chain(adam(1e-3), scale(schedule))``.

    >>> import numpy as np
    >>> from functrans.optimizers import scale
    >>> opt = scale(-0.5)
    >>> opt.update(np.array([2.0]), opt.init(np.zeros(1)))[0]
    array([-1.])
    """
    if callable(step_size):
        return descent("scale", lambda count: -step_size(count))
    number(step_size, "scale: step_size")
    return _stateless("scale", lambda leaves: [convert(scalar(step_size, g) * g, aval_of(g).dtype)
                                               for g in leaves])


@api
def add_decayed_weights(weight_decay: Any, mask: Any = None) -> Optimizer:
    """Adds ``weight_decay`` times the parameters; ``mask`` as in ``sgd``.

    >>> import numpy as np
    >>> from functrans.optimizers import add_decayed_weights, chain, momentum
    >>> opt, params = chain(add_decayed_weights(0.1), momentum(1.0)), np.array([2.0])
    >>> opt.update(np.array([1.0]), opt.init(params), params)[0]
    array([-1.2])
    """
    number(weight_decay, "add_decayed_weights: weight_decay", 0.0, open_high=True)
    return descent("add_decayed_weights", lambda count: -1.0, weight_decay=weight_decay, mask=mask)
