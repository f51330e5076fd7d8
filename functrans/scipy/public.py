"""How the modules of this room reach SciPy: without a traced argument its own function is called."""

from __future__ import annotations

import functools
import importlib

from ..numpy.core import traced


def scipy_function(module: str, *ignored: str):
    """Makes the function below the traced version of the one of its name in a SciPy module.

    Keywords named in ``ignored`` are accepted and mean nothing where something is traced. SciPy itself is
    imported when the function is first called without a traced argument.
    """
    def wrap(function):
        name = function.__name__

        @functools.wraps(function)
        def public(*args, **kwargs):
            if any(traced(x) for x in args) or any(traced(x) for x in kwargs.values()):
                for k in ignored:
                    kwargs.pop(k, None)
                return function(*args, **kwargs)
            return getattr(importlib.import_module(module), name)(*args, **kwargs)

        public.traced = function
        return public
    return wrap
