"""functrans.numpy, every function run under jit, for the array API's own suite: ``array_api.py --traced``.

Arrays among the arguments are traced, everything else is as it is; what a result has besides arrays (dtypes,
bools) is handed on. Functions without an array, and those whose result has a shape that values decide, run
as they are.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np
from array_api import standard

import functrans
import functrans.numpy
from functrans import errors, tree


def traced(f):
    """f, its array arguments traced."""

    @functools.wraps(f, updated=())
    def call(*args, **kwargs):
        leaves, structure = tree.flatten((args, kwargs))
        at = [i for i, x in enumerate(leaves) if isinstance(x, np.ndarray | np.generic)]
        if not at:
            return f(*args, **kwargs)
        rest: list[Any] = []

        def program(*arrays):
            inner = list(leaves)
            for i, x in zip(at, arrays, strict=True):
                inner[i] = x
            a, k = tree.unflatten(structure, inner)
            out, shape = tree.flatten(f(*a, **k))
            rest[:] = [
                shape,
                *[None if hasattr(x, "aval") or isinstance(x, np.ndarray | np.generic) else x for x in out],
            ]
            return [x for x, kept in zip(out, rest[1:], strict=True) if kept is None]

        try:
            arrays = iter(functrans.jit(program)(*[leaves[i] for i in at]))
        except errors.ConcretizationError:
            return f(*args, **kwargs)
        return tree.unflatten(rest[0], [next(arrays) if x is None else x for x in rest[1:]])

    return call


def _namespace(home, module: str):
    """The names of ``home``, functions of the standard traced."""
    names = {name for m, name, _, _ in standard() if m == module}

    class Namespace(types.ModuleType):
        def __getattr__(self, name):
            value = traced(getattr(home, name)) if name in names else getattr(home, name)
            if not module and name in ("linalg", "fft"):
                value = _namespace(value, name)
            setattr(self, name, value)
            return value

        def __dir__(self):
            return dir(home)

    return Namespace(home.__name__)


_whole = _namespace(functrans.numpy, "")


def __getattr__(name: str):
    return getattr(_whole, name)


def __dir__():
    return dir(functrans.numpy)
