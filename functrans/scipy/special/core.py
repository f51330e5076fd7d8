"""How the names of this room are made: dispatch, dtypes, docstrings."""

from __future__ import annotations

import functools
import inspect

import numpy as np

from ...ir.op import OPS
from ...numpy.core import asvalue, aval_of, broadcast_arrays, convert, promote, refuse_out, traced

BY_NAME: dict = {}          # ufuncs of SciPy that reach tracers through __array_ufunc__


def special(function=None, *, ufunc=True, names=()):
    """Registers a function; without traced arguments it calls SciPy's of this name, if there is one.

    ``ufunc``: SciPy's is one, of this name; ``names`` are further ufuncs that do the same.
    """
    if function is None:
        return functools.partial(special, ufunc=ufunc, names=names)
    name = function.__name__
    for known in (name, *names) if ufunc else names:
        BY_NAME[known] = function

    @functools.wraps(function)
    def public(*args, **kwargs):
        if any(traced(x) for x in args) or any(traced(x) for x in kwargs.values()):
            refuse_out(kwargs.pop("out", None))
            return function(*args, **kwargs)
        import scipy.special
        return getattr(scipy.special, name, function)(*args, **kwargs)

    public.traced = function
    return public


def float_of(x):
    """x in its float dtype; integers become float64."""
    x = asvalue(x)
    return x if aval_of(x).dtype.kind in "fc" else convert(x, np.float64)


def complex_of(x):
    """x in its complex dtype."""
    x = float_of(x)
    dtype = aval_of(x).dtype
    return x if dtype.kind == "c" else convert(x, np.result_type(dtype, np.complex64))


def floats(*xs):
    """Operands in one float dtype and shape, ready for an op."""
    xs = broadcast_arrays(*promote(*xs))
    return xs if aval_of(xs[0]).dtype.kind in "fc" else [convert(x, np.float64) for x in xs]


DTYPES = """Arguments broadcast. float32 and float16 stay what they are, integers become float64."""


def describe(function, signature, text, example, value):
    """The docstring of a function without a body of its own."""
    called = f"special.{function.__name__}({example})"
    shown = f">>> {called}" if value.startswith("(") else f">>> float({called})"
    function.__signature__ = inspect.Signature([
        inspect.Parameter(p, inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in signature])
    function.__doc__ = f"{text}\n\n{DTYPES}\n\n>>> from functrans.scipy import special\n{shown}\n{value}..."


def direct(name, parameters, text, example, *, op=None, names=()):
    """The public function of one op: it promotes and broadcasts its arguments.

    ``example`` is "arguments -> value".
    """
    record = OPS[op or name]
    parameters = parameters.split()

    def function(*args, **kwargs):
        return record(*floats(*args, **kwargs))

    function.__name__ = function.__qualname__ = name
    function.__module__ = inspect.currentframe().f_back.f_globals["__name__"]
    describe(function, parameters, text, *example.split(" -> "))
    public = special(function, names=names)
    signature = function.__signature__

    @functools.wraps(function)
    def bound(*args, **kwargs):
        args = signature.bind(*args, **kwargs).args if kwargs and "out" not in kwargs else args
        return public(*args, **({} if "out" not in kwargs else kwargs))

    bound.traced = function
    return bound
