"""Policies for ``functrans.checkpoint``: which intermediate values are kept for the backward pass.

A policy is a function ``(op, *avals, **params) -> bool``: whether what an operation of the program gives may
be kept. The names and their meaning are those of ``jax.checkpoint_policies``. Values that a policy keeps
are kept only if the backward pass needs them, or needs something that follows from them.

>>> import numpy as np
>>> from functrans import checkpoint, checkpoint_policies, grad
>>> def layer(w, x):
...     return np.sum(np.tanh(w @ x))
>>> keep_products = checkpoint(layer, policy=checkpoint_policies.dots_saveable)
>>> w, x = np.eye(2), np.array([0.5, -1.0])
>>> np.allclose(grad(keep_products)(w, x), grad(layer)(w, x))
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Policy = Callable[..., bool]


def nothing_saveable(op: Any, *avals: Any, **params: Any) -> bool:
    """Everything is computed again (the default).

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.nothing_saveable
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return False


def everything_saveable(op: Any, *avals: Any, **params: Any) -> bool:
    """Nothing is computed again, as without ``checkpoint``.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.everything_saveable
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return True


def dots_saveable(op: Any, *avals: Any, **params: Any) -> bool:
    """Products of matrices and convolutions are kept, the rest is computed again.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.dots_saveable
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return op.family == "bilinear"


def dots_with_no_batch_dims_saveable(op: Any, *avals: Any, **params: Any) -> bool:
    """Products without batch axes are kept: those with weights, but not those between examples.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.dots_with_no_batch_dims_saveable
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return op.name == "dot_general" and params["batch"] == ((), ())


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


def save_only_these_names(*names: str) -> Policy:
    """Keeps what ``checkpoint_name`` gave one of these names, and nothing else.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.save_only_these_names("e")
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return _Named(frozenset(names), True, False)


def save_any_names_but_these(*names: str) -> Policy:
    """Keeps what has a name, but for these names.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.save_any_names_but_these("other")
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return _Named(frozenset(names), False, False)


def save_anything_except_these_names(*names: str) -> Policy:
    """Keeps everything but what has one of these names.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.save_anything_except_these_names("e")
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return _Named(frozenset(names), False, True)


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """Keeps what either of two policies keeps.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, grad
    >>> from functrans import checkpoint_policies as keep
    >>> policy = keep.save_from_both_policies(keep.dots_saveable, keep.save_only_these_names("e"))
    >>> f = checkpoint(lambda x: np.sin(checkpoint_name(np.exp(x), "e")), policy=policy)
    >>> bool(grad(f)(0.0) == np.cos(1.0))
    True
    """
    return _Either(policy_1, policy_2)


# Values, not closures: programs are looked up by policies, too, and these may be pickled.


@dataclass(frozen=True)
class _Named:
    names: frozenset[str]
    wanted: bool
    others: bool

    def __call__(self, op: Any, *avals: Any, **params: Any) -> bool:
        if op.name != "checkpoint_name":
            return self.others
        return (params["name"] in self.names) is self.wanted


@dataclass(frozen=True)
class _Either:
    first: Policy
    second: Policy

    def __call__(self, op: Any, *avals: Any, **params: Any) -> bool:
        return self.first(op, *avals, **params) or self.second(op, *avals, **params)


__all__ = [
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]
