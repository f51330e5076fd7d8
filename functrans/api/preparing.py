"""Everything but the numbers done once: a derivative prepared for arguments of certain types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.staging import api, check_callable, describe
from ..trace.core import aval_of
from .compilation import Jitted, jit


@api
def prepare(transformed: Callable, *args, **kwargs) -> Callable:
    """``transformed`` for arguments like these: traced, planned, coloured. Calls are then only numeric.

    Args:
      transformed: any function, e.g. ``grad(f)``, ``hessian(f)``, ``sparse.jacobian(f)``. As under ``jit``,
        Python code in it cannot branch on values (in a sparse derivative it may: the branch is kept).
      args, kwargs: examples; only their structure, shapes and dtypes count.

    Returns:
      a function of arguments of the same types. ``out=`` is a pytree of arrays (or a sparse matrix of an
      earlier call) that the result is written into and that is returned.

    Raises:
      ArgumentError, when it is called: arguments of other types, or an ``out`` that does not fit.

    >>> import numpy as np
    >>> from functrans import grad, prepare
    >>> slope = prepare(grad(lambda x: np.sum(x ** 2)), np.zeros(2))
    >>> out = np.empty(2)
    >>> slope(np.array([1.0, 2.0]), out=out) is out
    True
    >>> out
    array([2., 4.])
    """
    check_callable(transformed, "prepare")
    own = getattr(transformed, "prepare", None)
    if own is not None and not isinstance(transformed, type):
        return own(args, kwargs)
    jitted = transformed if isinstance(transformed, Jitted) else jit(transformed)
    return Prepared(jitted.lower(*args, **kwargs).compile())


class Prepared:
    """A compiled function that can write into given arrays.

    Attributes:
      compiled: what ``jit(f).lower(*args).compile()`` returns: its ``jaxpr``, ``plan`` and costs.
    """

    def __init__(self, compiled):
        self.compiled = compiled

    @api
    def __call__(self, *args, out: Any = None, **kwargs):
        result = self.compiled(*args, **kwargs)
        if out is None:
            return result
        leaves, treedef = tree.flatten(result)
        targets = treedef.flatten_up_to(out, "out", "the result")
        for x, target in zip(leaves, targets, strict=True):
            if not isinstance(target, np.ndarray) or target.shape != np.shape(x) or target.dtype != x.dtype:
                raise errors.ArgumentError(f"prepare: out has {describe(target)} for a result {aval_of(x)}.",
                                           "Give an ndarray of the same shape and dtype.")
        for x, target in zip(leaves, targets, strict=True):
            target[...] = x
        return out
