"""Making arrays: from lists that hold traced values, like another array, and ranges."""

from __future__ import annotations

import math
from functools import partial
from operator import index

import numpy as np

from .. import errors
from ..trace.core import aval_of, is_known, value_of
from ..trace.tracer import Tracer
from . import core
from .core import METHODS, asvalue, convert, implements, is_number
from .shape import (
    as_array,
    check_device,
    cut,
    dtype_of,
    expand_dims,
    joined,
    moveaxis,
    ndim_of,
    reshaped,
    shape_of,
    sizes,
    supported,
)

# ----- from values ---------------------------------------------------------------------------


def _gathered(x):
    """Nested lists as one array; numbers count with their default dtype, as in NumPy."""
    if isinstance(x, (list, tuple)) and core.traced(x):
        return np.stack([_gathered(y) for y in x])
    return as_array(x)


@implements(np.array)
def array(object, dtype=None, *, copy=True, order="K", subok=False, ndmin=0, ndmax=0):
    """An array of numbers, arrays and traced values, nested in lists.

    ``np.array`` itself cannot: it asks every element for its value.
    """
    x = _gathered(object)
    if ndmax and ndim_of(x) > ndmax:
        raise errors.NotSupportedError(f"array: {aval_of(x)} with ndmax={ndmax} would hold objects.",
                                       "Leave out ndmax.")
    x = x if dtype is None else convert(x, supported(dtype))
    return reshaped(x, (1,) * (ndmin - ndim_of(x)) + shape_of(x))


@implements(np.asarray)
def asarray(a, dtype=None, order=None, *, device=None, copy=None):
    """As array: traced values need no copy."""
    check_device(device)
    return array.traced(a, dtype)


@implements(np.asanyarray)
def asanyarray(a, dtype=None, order=None, *, device=None, copy=None):
    """As array."""
    check_device(device)
    return array.traced(a, dtype)


@implements(np.ascontiguousarray)
def ascontiguousarray(a, dtype=None):
    """As array, with at least one axis."""
    return array.traced(a, dtype, ndmin=1)


@implements(np.copy, method="copy")
def copy(a, order="K", subok=False):
    """a itself: traced values never change."""
    return as_array(a)


def astype(x, dtype, /, *, copy=True, device=None):
    """x converted to another dtype; floats beyond an integer type's range saturate."""
    check_device(device)
    return convert(as_array(x), supported(dtype))


astype = implements(getattr(np, "astype", astype))(astype)      # NumPy has it from 2.1 on


def _astype_method(x, dtype, order="K", casting="unsafe", subok=True, copy=True):
    dtype = supported(dtype)
    if not np.can_cast(dtype_of(x), dtype, casting):
        raise errors.DtypeError(f"astype: {aval_of(x)} does not cast to {dtype} by {casting!r}.",
                                "Give casting='unsafe'.")
    return convert(as_array(x), dtype)


METHODS["astype"] = partial(partial, _astype_method)

# ----- by shape ------------------------------------------------------------------------------


def _like(a, dtype, shape):
    x = as_array(a)
    return shape_of(x) if shape is None else sizes(shape), dtype_of(x) if dtype is None else dtype


def _constant_like(function, make):
    @implements(function)
    def like(a, dtype=None, order="K", subok=True, shape=None, *, device=None):
        check_device(device)
        shape, dtype = _like(a, dtype, shape)
        return make(shape, dtype)
    like.__name__ = like.__qualname__ = function.__name__
    like.__doc__ = f"np.{make.__name__} in shape and dtype of a, as an ordinary array."
    return like


zeros_like = _constant_like(np.zeros_like, np.zeros)
ones_like = _constant_like(np.ones_like, np.ones)


@implements(np.empty_like)
def empty_like(prototype, /, dtype=None, order="K", subok=True, shape=None, *, device=None):
    """np.empty in shape and dtype of prototype, as an ordinary array."""
    check_device(device)
    shape, dtype = _like(prototype, dtype, shape)
    return np.empty(shape, dtype)



@implements(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    """fill_value, which may be traced, in shape and dtype of a."""
    check_device(device)
    shape, dtype = _like(a, dtype, shape)
    return _filled(shape, fill_value, dtype)


def _filled(shape, value, dtype):
    value = asvalue(value)
    if type(value) is not Tracer:
        return np.full(shape, value, dtype)
    return core.broadcast_to(convert(value, supported(dtype)), shape)


@implements(np.full)
def full(shape, fill_value, dtype=None, order="C", *, device=None):
    """fill_value, which may be traced, repeated to ``shape``."""
    check_device(device)
    value = as_array(fill_value)
    return _filled(sizes(shape), value, dtype_of(value) if dtype is None else dtype)


zeros, ones, empty, eye = np.zeros, np.ones, np.empty, np.eye
identity, tri, indices = np.identity, np.tri, np.indices
tril_indices, triu_indices, diag_indices = np.tril_indices, np.triu_indices, np.diag_indices


def _triangle_indices(function, make):
    @implements(function)
    def indices_from(arr, k=0):
        shape = np.shape(arr)
        if len(shape) != 2:
            raise errors.ShapeError(f"{function.__name__} takes a matrix, got {aval_of(arr)}.")
        return make(shape[0], k, shape[1])
    indices_from.__name__ = indices_from.__qualname__ = function.__name__
    indices_from.__doc__ = f"np.{make.__name__} for the shape of arr."
    return indices_from


tril_indices_from = _triangle_indices(np.tril_indices_from, np.tril_indices)
triu_indices_from = _triangle_indices(np.triu_indices_from, np.triu_indices)


@implements(np.diag_indices_from)
def diag_indices_from(arr):
    """The indices of the main diagonal of arr."""
    shape = np.shape(arr)
    if len(shape) < 2 or len(set(shape)) != 1:
        raise errors.ShapeError(f"diag_indices_from takes equal axes, two or more, got {shape}.")
    return np.diag_indices(shape[0], len(shape))


@implements(np.shape)
def shape(a):
    """The shape, a tuple of integers."""
    return shape_of(_gathered(a))


@implements(np.ndim)
def ndim(a):
    """The number of axes."""
    return len(shape_of(_gathered(a)))


@implements(np.size)
def size(a, axis=None):
    """The number of elements, in all or along axes."""
    dims = shape_of(_gathered(a))
    return math.prod([dims[i] for i in core.axes_of(axis, len(dims))])


# ----- ranges --------------------------------------------------------------------------------


@implements(np.arange)
def arange(*args, dtype=None, device=None, **kwargs):
    """NumPy's arange; the bounds decide its shape, so they must be known integers if traced."""
    def known(x):
        if type(x) is not Tracer:
            return x
        if dtype_of(x).kind not in "iu" or ndim_of(x) or not is_known(x):
            raise errors.ConcretizationError(
                f"arange: the bound {x.aval} decides the shape, so it must be a known integer.",
                "Make it a static argument, or use np.linspace, which takes traced ends.")
        return int(value_of(x))

    return np.arange(*[known(x) for x in args], dtype=dtype,
                     **{name: known(x) for name, x in kwargs.items()})


@implements(np.linspace)
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *,
             device=None):
    """``num`` evenly spaced numbers; both ends may be traced, and arrays."""
    check_device(device)
    num = index(num)
    if num < 0:
        raise errors.ShapeError(f"linspace: the number of samples must not be negative, got {num}.")
    kind = core.result_type(asvalue(start), asvalue(stop), 0.0)
    first, last = (convert(x, kind) for x in core.broadcast_arrays(start, stop))
    delta = np.subtract(last, first)
    intervals = num - 1 if endpoint else num
    count = np.arange(num, dtype=kind).reshape((num,) + (1,) * ndim_of(delta))
    step = np.true_divide(delta, intervals) if intervals > 0 else np.float64(np.nan)
    y = np.add(np.multiply(count, step if intervals > 0 else delta), first)
    if endpoint and num > 1:
        y = joined([cut(y, 0, 0, num - 1), expand_dims(last, 0)], 0, kind)
    y = moveaxis(y, 0, axis) if axis != 0 else y
    if dtype is not None:
        dtype = supported(dtype)
        y = convert(np.floor(y) if dtype.kind in "iu" else y, dtype)
    return (y, step) if retstep else y


@implements(np.logspace)
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    """Powers of ``base`` with evenly spaced exponents; ends and base may be traced."""
    if not is_number(base) and ndim_of(as_array(base)):
        start, stop, base = (as_array(x) for x in (start, stop, base))
        most = max(ndim_of(start), ndim_of(stop), ndim_of(base))
        start, stop, base = (reshaped(x, (1,) * (most - ndim_of(x)) + shape_of(x))
                             for x in (start, stop, base))
        base = expand_dims(base, axis)
    y = np.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else convert(y, supported(dtype))


@implements(np.geomspace)
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """``num`` numbers of constant ratio; the ends may be traced, and must not be zero."""
    first, last = core.broadcast_arrays(as_array(start), as_array(stop))
    for end in (first, last):
        if type(end) is not Tracer and np.any(np.equal(end, 0)):
            raise ValueError("geomspace: the ends must not be zero")
    kind = np.dtype(np.float64 if dtype is None else dtype)
    kind = supported(np.result_type(dtype_of(first), dtype_of(last), kind, 0.0))
    first, last = convert(first, kind), convert(last, kind)
    sign = np.sign(first)
    exponents = linspace(np.log10(first * sign), np.log10(last * sign), num, endpoint)
    y = np.multiply(np.power(10.0, exponents), sign)
    num = shape_of(y)[0]
    if num:
        stop_at = num - 1 if num > 1 and endpoint else num
        parts = [expand_dims(first, 0), cut(y, 0, 1, stop_at)]
        y = joined(parts if stop_at == num else [*parts, expand_dims(last, 0)], 0, kind)
    y = moveaxis(y, 0, axis) if axis != 0 else y
    return y if dtype is None else convert(y, supported(dtype))


__all__ = ["arange", "array", "asanyarray", "asarray", "ascontiguousarray", "astype", "copy",
           "diag_indices", "diag_indices_from", "empty", "empty_like", "eye", "full", "full_like",
           "geomspace", "identity", "indices", "linspace", "logspace", "ndim", "ones", "ones_like",
           "shape", "size", "tri", "tril_indices", "tril_indices_from", "triu_indices",
           "triu_indices_from", "zeros", "zeros_like"]
