"""What follows from types alone, as dtypes, memory, texts; and conversions that must see values."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np

from .. import errors
from ..trace.core import is_known, value_of
from ..trace.tracer import Tracer
from . import core
from .core import METHODS, implements, traced
from .creation import array
from .refused import ATTRIBUTES, CALLS
from .shape import as_array, check_device, cut, dtype_of, known_array, ndim_of, shape_of

# ----- dtypes ---------------------------------------------------------------------------------


@implements(np.result_type)
def result_type(*arrays_and_dtypes):
    """NumPy's promoted dtype of arrays and dtypes."""
    return core.result_type(*[x if core.is_number(x) or (hasattr(x, "shape") and not isinstance(x, type))
                              else np.dtype(x) for x in arrays_and_dtypes])


@implements(np.can_cast)
def can_cast(from_, to, casting="safe"):
    """Whether a cast is allowed by the rule ``casting``; of an array, that of its dtype."""
    return np.can_cast(dtype_of(from_) if traced(from_) else from_, to, casting)


@implements(np.common_type)
def common_type(*arrays):
    """The scalar type that holds all arrays: float64 for integers, never an integer type."""
    return np.common_type(*[np.empty(0, dtype_of(as_array(x))) for x in arrays])


@implements(np.min_scalar_type)
def min_scalar_type(a, /):
    """The dtype of a traced array: the least one that holds a scalar depends on its value."""
    return np.min_scalar_type(value_of(a)) if is_known(a) and not a.ndim else dtype_of(as_array(a))


def finfo(dtype):
    """The limits of a float dtype; of an array, those of its dtype, as the array API standard has it.

    Of complex dtypes those of their parts. The object is numpy.finfo's: ``eps``, ``max``, ``min``,
    ``smallest_normal`` are NumPy scalars of the dtype, ``bits`` and ``dtype`` say which one.

    >>> import functrans.numpy as fnp
    >>> fnp.finfo(fnp.float32).bits, float(fnp.finfo(fnp.zeros(3)).eps)
    (32, 2.220446049250313e-16)
    """
    return np.finfo(dtype_of(dtype) if _is_array(dtype) else dtype)


def iinfo(dtype):
    """The limits of an integer dtype; of an array, those of its dtype. The object is numpy.iinfo's.

    >>> import functrans.numpy as fnp
    >>> fnp.iinfo(fnp.zeros(2, fnp.int8)).max
    127
    """
    return np.iinfo(dtype_of(dtype) if _is_array(dtype) else dtype)


def _is_array(x):
    return type(x) is Tracer or isinstance(x, np.ndarray)


def isscalar(element):
    """Whether an element is a number: also a traced scalar, which ``numpy.isscalar`` takes for an array."""
    return not ndim_of(element) if type(element) is Tracer else np.isscalar(element)


@implements(np.real_if_close)
def real_if_close(a, tol=100):
    """The real part, if all imaginary parts are less than ``tol`` times the dtype's precision.

    The dtype depends on values, so those of a traced complex array must be known.
    """
    x = as_array(a)
    if dtype_of(x).kind != "c":
        return x
    close = np.real_if_close(known_array(x, "real_if_close", "Use np.real(x)."), tol)
    return x if close.dtype.kind == "c" else np.real(x)


# ----- conversions ----------------------------------------------------------------------------


@implements(np.asfortranarray)
def asfortranarray(a, dtype=None):
    """As array: the memory order of traced arrays is not seen."""
    return array.traced(a, dtype)


@implements(np.asarray_chkfinite)
def asarray_chkfinite(a, dtype=None, order=None):
    """As array, ValueError if an element is not finite; the values must be known."""
    x = array.traced(a, dtype)
    np.asarray_chkfinite(known_array(x, "asarray_chkfinite", "Use np.asarray, and np.isfinite for a mask."))
    return x


@implements(np.require)
def require(a, dtype=None, requirements=None):
    """As array; traced arrays are contiguous and aligned, and never writeable."""
    wanted = {str(flag).upper() for flag in requirements or ()}
    unmet = wanted & {"W", "WRITEABLE"}
    if unmet:
        raise errors.InPlaceError("require: a traced array cannot be made writeable.",
                                  "Write x = x.at[index].set(value).")
    return array.traced(a, dtype)


@implements(np.trim_zeros)
def trim_zeros(filt, trim="fb", axis=None):
    """The part between the first and the last element that is not zero; values must be known.

    The derivative goes to the elements that stay.
    """
    x = as_array(filt)
    if set(trim.lower()) - set("fb") or not trim:
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    axes = core.axes_of(axis, ndim_of(x))
    found = np.argwhere(known_array(x, "trim_zeros", "The result's shape depends on values: use a slice."))
    for i in axes:
        start, stop = (found[:, i].min(), found[:, i].max() + 1) if len(found) else (0, 0)
        if len(found):
            start = start if "f" in trim.lower() else 0
            stop = stop if "b" in trim.lower() else shape_of(x)[i]
        x = cut(x, i, int(start), int(stop))
    return x


@implements(np.einsum_path)
def einsum_path(*operands, optimize="greedy", einsum_call=False):
    """The order in which einsum would multiply its operands, from their shapes."""
    plain = [np.broadcast_to(np.zeros((), x.dtype), x.shape) if type(x) is Tracer else x for x in operands]
    return np.einsum_path(*plain, optimize=optimize, einsum_call=einsum_call)


def ndenumerate(arr):
    """Pairs of index and element; of a traced array, as a generator of traced scalars."""
    if not traced(arr):
        return np.ndenumerate(arr)
    x = as_array(arr)
    return ((at, x[at]) for at in product(*[range(n) for n in shape_of(x)]))


# ----- memory and texts -----------------------------------------------------------------------


@implements(np.may_share_memory)
def may_share_memory(a, b, /, max_work=0):
    """False: traced values share memory with nothing."""
    return False


@implements(np.shares_memory)
def shares_memory(a, b, /, max_work=-1):
    """False: traced values share memory with nothing."""
    return False


def isfortran(a):
    """Whether an array is in Fortran's order only: never of a traced one."""
    return False if traced(a) else np.isfortran(a)


def _text(function):
    @implements(function)
    def text(a, *args, **kwargs):
        return function(value_of(a), *args, **kwargs) if is_known(a) else repr(a)
    text.__name__ = text.__qualname__ = function.__name__
    text.__doc__ = f"As numpy.{function.__name__}; of a traced array whose values are not known, its type."
    text.__signature__ = core.signature_of(function)
    return text


array_repr, array_str, array2string = map(_text, (np.array_repr, np.array_str, np.array2string))


def _flags(x):
    """The flags of a read-only array in C's order."""
    found = np.zeros((2,) * min(ndim_of(x), 2))
    found.flags.writeable = False
    return found.flags


def _to_device(x, device, /, *, stream=None):
    check_device(device)
    if stream is not None:
        raise ValueError(f"to_device: there are no streams on the CPU, got {stream!r}")
    return x


def _attribute(name):
    def get(x):
        raise errors.MissingNameError(f"a traced {x.aval} has no attribute {name!r}.", ATTRIBUTES[name])
    return get


def _call(name):
    def method(x):
        def call(*args, **kwargs):
            raise errors.NotSupportedError(f"{name} of a traced {x.aval}.", CALLS[name])
        return call
    return method


METHODS.update({"flags": _flags, "device": lambda x: "cpu", "to_device": partial(partial, _to_device)})
METHODS.update({name: _attribute(name) for name in ATTRIBUTES})
METHODS.update({name: _call(name) for name in CALLS})

__all__ = ["array2string", "array_repr", "array_str", "asarray_chkfinite", "asfortranarray", "can_cast",
           "common_type", "einsum_path", "isfortran", "isscalar", "may_share_memory",
           "min_scalar_type", "ndenumerate", "real_if_close", "require", "result_type",
           "shares_memory", "trim_zeros"]
