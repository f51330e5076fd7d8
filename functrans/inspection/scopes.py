"""Names for parts of a program: ``with name_scope("layer1"):``."""

from __future__ import annotations

import contextlib
from typing import Any

from .. import errors
from ..trace.source import set_scope


class name_scope(contextlib.ContextDecorator):
    """Operations traced inside are in the scope ``name``; scopes nest, and derivatives keep them.

    Printed programs with sources, drawings (``viz``), TensorBoard graphs and profiles show scopes. They cost
    nothing when the program runs and change no value. Also a decorator of functions.

    Args:
      name: of the scope: a string that is neither empty nor contains ``"/"`` (which separates nested ones).

    Raises:
      functrans.errors.ArgumentError: another name.

    >>> import numpy as np
    >>> from functrans import make_jaxpr, name_scope
    >>> def f(x):
    ...     with name_scope("layer1"):
    ...         h = np.tanh(x)
    ...     return h * 2.0
    >>> [e.scope for e in make_jaxpr(f)(1.0).eqns]
    [('layer1',), None]
    """

    def __init__(self, name: str):
        if not isinstance(name, str) or not name or "/" in name:
            raise errors.ArgumentError(f"name_scope: the name {name!r}.",
                                       "Give a string without '/' that is not empty; scopes nest by 'with'.")
        self.name = name
        self._around: list[Any] = []        # of each open 'with' on this object: a scope may be entered again

    def _recreate_cm(self) -> name_scope:       # of a decorated function: one for each call
        return name_scope(self.name)

    def __enter__(self) -> name_scope:
        around = set_scope(None)
        set_scope((*(around or ()), self.name))
        self._around.append(around)
        return self

    def __exit__(self, *exc: object) -> None:
        set_scope(self._around.pop())
