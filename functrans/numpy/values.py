"""Choosing and adjusting elements: where, select, clip, round, comparisons."""

from __future__ import annotations

from functools import partial
from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of, is_known
from ..trace.tracer import Tracer
from . import core
from .complexes import on_parts, viewed
from .core import FUNCTIONS, METHODS, asvalue, axis_of, convert, implements, is_number, refuse_out
from .reductions import truth
from .shape import (
    NO,
    PROPERTIES,
    as_array,
    dtype_of,
    fit,
    known_array,
    ndim_of,
    ravel,
    shape_of,
    splat,
    supported,
)

# ----- choosing ------------------------------------------------------------------------------


def _chosen(condition, x, y):
    """select(condition, x, y) of operands that are yet to be promoted and broadcast."""
    dtype = supported(core.result_type(x, y))
    shape = core.broadcast_shape(shape_of(condition), shape_of(x), shape_of(y))
    return OPS["select"](fit(condition, np.bool_, shape), fit(x, dtype, shape),
                         fit(y, dtype, shape))


@implements(np.where, own=("size", "fill_value"))
def where(condition, x=None, y=None, /, *, size=None, fill_value=0):
    """x where the condition holds, else y; with one argument as nonzero, whose is ``size``."""
    if x is None and y is None:
        return nonzero(condition, size=size, fill_value=fill_value)
    if size is not None:
        raise ValueError("where: size goes with the condition alone")
    if x is None or y is None:
        raise ValueError("where takes one or three arguments, got two")
    x, y = asvalue(x), asvalue(y)
    dtype = core.result_type(x, y)
    for v in (x, y):
        if type(v) is int and dtype.kind in "iu":
            dtype.type(v)               # OverflowError where it does not fit, as in NumPy 2.5
    return _chosen(truth(condition), x, y)


@implements(np.select)
def select(condlist, choicelist, default=0):
    """For each element the choice of the first condition that holds, else ``default``."""
    if len(condlist) != len(choicelist):
        raise errors.ShapeError(f"select: {len(condlist)} conditions, {len(choicelist)} choices.",
                                "Give one choice per condition.")
    if not len(condlist):
        raise errors.ShapeError("select: the list of conditions is empty.")
    conditions = [as_array(c) for c in condlist]
    for i, c in enumerate(conditions):
        if dtype_of(c) != np.bool_:
            raise errors.DtypeError(f"select: condition {i} must be bool, got {aval_of(c)}.",
                                    "Compare, e.g. x != 0.")
    choices = [asvalue(x) for x in (*choicelist, default)]
    dtype = supported(core.result_type(*choices))
    shape = core.broadcast_shape(*[shape_of(x) for x in (*conditions, *choices)])
    out = fit(choices[-1], dtype, shape)
    for c, x in zip(conditions[::-1], choices[-2::-1], strict=True):
        out = OPS["select"](fit(c, np.bool_, shape), fit(x, dtype, shape), out)
    return out


# ----- where elements are not zero -----------------------------------------------------------


def _flat_positions(a, name, size):
    """Flat indices of the nonzero elements of a (-1 fills up to ``size``), and its shape."""
    x = as_array(a)
    if type(x) is not Tracer or (size is None and is_known(x)):
        found = np.flatnonzero(known_array(x, name, ""))
        if size is not None:
            found = np.concatenate([found, np.full(max(size - len(found), 0), -1)])[:size]
        return found, shape_of(x)
    if size is None:
        raise errors.ConcretizationError(
            f"{name} of a traced {x.aval}: the result's shape depends on values not known here.",
            "Use np.where with three arguments, or functrans.numpy."
            f"{name}(x, size=n), which gives n indices.")
    hit = truth(ravel(x))
    n = shape_of(hit)[0]
    place = np.where(hit, np.cumsum(hit) - 1, size)         # positions beyond size are dropped
    return OPS["scatter_set"](np.full(size, -1), np.arange(n), place, mode="drop"), shape_of(x)


def _coordinates(flat, shape, size, fill_value):
    """Flat indices as one index array per axis; -1 (nothing found) becomes ``fill_value``."""
    if type(flat) is not Tracer and size is None:
        return np.unravel_index(flat, shape)
    out, rest = [], flat
    for n in shape[::-1]:
        out.append(np.where(np.less(flat, 0), fill_value, np.remainder(rest, max(n, 1))))
        rest = np.floor_divide(rest, max(n, 1))
    return tuple(out[::-1])


def nonzero(a, *, size=None, fill_value=0):
    """Indices of the nonzero elements, one array per axis.

    Where values are not known (jit, vmap), ``size`` fixes their number: surplus ones are cut off,
    missing ones are ``fill_value``.
    """
    if not ndim_of(as_array(a)):
        raise errors.ShapeError("nonzero of a scalar is not defined.", "Use np.atleast_1d first.")
    flat, shape = _flat_positions(a, "nonzero", size)
    return _coordinates(flat, shape, size, fill_value)


def flatnonzero(a, *, size=None, fill_value=0):
    """Indices of the nonzero elements of the flattened array; ``size`` as in nonzero."""
    flat, _ = _flat_positions(a, "flatnonzero", size)
    return flat if size is None else np.where(np.less(flat, 0), fill_value, flat)


def argwhere(a, *, size=None, fill_value=0):
    """Indices of the nonzero elements, one row each; ``size`` as in nonzero."""
    flat, shape = _flat_positions(a, "argwhere", size)
    if not shape:
        return np.zeros((shape_of(flat)[0], 0), np.int64)
    return np.stack(_coordinates(flat, shape, size, fill_value), 1)


for _function in (nonzero, flatnonzero, argwhere):
    FUNCTIONS[getattr(np, _function.__name__)] = _function
METHODS["nonzero"] = partial(partial, nonzero)

# ----- adjusting -----------------------------------------------------------------------------


@implements(np.clip)
def clip(a, a_min=NO, a_max=NO, out=None, *, min=NO, max=NO, **kwargs):
    """a limited to the range from ``a_min`` to ``a_max``; its derivative at an edge is 0.5.

    Keywords as of the ufunc minimum: ``dtype``.
    """
    refuse_out(out)
    if (a_min is not NO or a_max is not NO) and (min is not NO or max is not NO):
        raise ValueError("clip takes either a_min and a_max or min and max, not both")
    if (a_min is NO) != (a_max is NO):
        raise TypeError("clip takes both a_min and a_max; None leaves a side open")
    low, high = (a_min, a_max) if a_min is not NO else (min, max)
    x = as_array(a)
    if kwargs:
        x = np.maximum(x, x, **kwargs)              # converted; what it cannot take is refused
    low, high = (None if b is NO or _beyond(x, b, sign) else b
                 for b, sign in ((low, -1), (high, 1)))
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _beyond(x, bound, sign):
    """Whether a Python integer lies outside of x's integer type, so that it limits nothing."""
    if type(bound) is not int or dtype_of(x).kind not in "iu":
        return False
    info = np.iinfo(dtype_of(x))
    return bound <= info.min if sign < 0 else bound >= info.max


def _clip_method(x, min=None, max=None, out=None, **kwargs):
    return clip(x, min, max, out, **kwargs)


@implements(np.round, np.around, method="round")
def round(a, decimals=0, out=None):
    """a rounded to ``decimals`` digits, halves to even; its derivative is 0."""
    refuse_out(out)
    x = as_array(a)
    decimals, dtype = index(decimals), dtype_of(x)
    if dtype.kind == "b":
        return np.rint(x)
    if dtype.kind in "iu":
        if decimals >= 0:
            return x
        scale = 10.0 ** -decimals
        wide = np.uint64 if dtype.kind == "u" else np.int64      # so that results wrap
        x = np.rint(np.true_divide(convert(x, np.float64), scale)) * scale
        return convert(convert(x, wide), dtype)
    if decimals == 0:
        return OPS["rint"](x)
    if dtype.kind == "c":
        return on_parts(lambda part: round(part, decimals), x)
    scale = splat(10.0 ** abs(decimals), x)
    if decimals > 0:
        return OPS["div"](OPS["rint"](OPS["mul"](x, scale)), scale)
    return OPS["mul"](OPS["rint"](OPS["div"](x, scale)), scale)


around = round


@implements(np.fix)
def fix(x, out=None):
    """x rounded towards zero."""
    refuse_out(out)
    return np.trunc(as_array(x))


@implements(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """x with numbers for nan and infinities; their derivative is 0."""
    x = as_array(x)
    a = aval_of(x)
    if a.dtype.kind == "c":
        return on_parts(lambda part: nan_to_num(part, copy, nan, posinf, neginf), x)
    if a.dtype.kind != "f":
        return x
    most = np.finfo(a.dtype).max
    high, low = OPS["eq"](x, splat(np.inf, x)), OPS["eq"](x, splat(-np.inf, x))
    for hit, value in ((OPS["isnan"](x), nan), (high, most if posinf is None else posinf),
                       (low, -most if neginf is None else neginf)):
        value = np.float64(value).astype(a.dtype) if is_number(value) else value
        x = OPS["select"](hit, fit(value, a.dtype, a.shape), x)
    return x


def _is_infinite(function, sign):
    @implements(function)
    def is_infinite(x, out=None):
        refuse_out(out)
        x = as_array(x)
        if dtype_of(x).kind == "c":
            raise errors.DtypeError(f"{function.__name__} orders real numbers, got {aval_of(x)}.",
                                    "Take the real part, or use np.isinf.")
        if dtype_of(x).kind in "biu":
            return np.zeros(shape_of(x), np.bool_)[()]
        return OPS["eq"](x, splat(sign * np.inf, x))
    is_infinite.__name__ = is_infinite.__qualname__ = function.__name__
    is_infinite.__doc__ = f"Whether elements are {sign * np.inf}."
    return is_infinite


isposinf, isneginf = _is_infinite(np.isposinf, 1), _is_infinite(np.isneginf, -1)


# ----- bits ----------------------------------------------------------------------------------


def _bit_order(name, a, axis, bitorder):
    """The array, the axis, and the weights of the bits of a byte, the first first."""
    if bitorder not in ("big", "little"):
        raise ValueError("'bitorder' must be either 'little' or 'big'")
    x = as_array(a)
    x, axis = (ravel(x), 0) if axis is None else (x, axis_of(axis, ndim_of(x)))
    weights = np.arange(8, dtype=np.uint8)
    return x, axis, weights[::-1] if bitorder == "big" else weights


@implements(np.packbits)
def packbits(a, /, axis=None, bitorder="big"):
    """The truth values of a (bool or integers), eight to a uint8; the last byte is filled with zeros."""
    x, axis, places = _bit_order("packbits", a, axis, bitorder)
    if dtype_of(x).kind not in "biu":
        raise errors.DtypeError(f"packbits takes bool or integers, got {aval_of(x)}.",
                                "Compare, e.g. packbits(x != 0).")
    bits = np.moveaxis(convert(truth(x), np.uint8), axis, -1)
    *lead, n = shape_of(bits)
    bits = np.pad(bits, [(0, 0)] * len(lead) + [(0, -n % 8)])
    bits = np.reshape(bits, (*lead, (n + 7) // 8, 8))
    return np.moveaxis(np.sum(np.left_shift(bits, places), -1, dtype=np.uint8), -1, axis)


@implements(np.unpackbits)
def unpackbits(a, /, axis=None, count=None, bitorder="big"):
    """The bits of a uint8 array as uint8 0 and 1; ``count`` of them, or all but ``-count``."""
    x, axis, places = _bit_order("unpackbits", a, axis, bitorder)
    if dtype_of(x) != np.uint8:
        raise errors.DtypeError(f"unpackbits takes uint8, got {aval_of(x)}.", "Convert with astype.")
    x = np.moveaxis(x, axis, -1)
    bits = np.bitwise_and(np.right_shift(np.expand_dims(x, -1), places), np.uint8(1))
    *lead, n = shape_of(x)
    bits = np.reshape(bits, (*lead, 8 * n))
    if count is not None:
        count = index(count)
        if count < -8 * n:
            raise ValueError(f"unpackbits: count {count} removes more than the {8 * n} bits")
        wanted = count if count >= 0 else 8 * n + count
        bits = bits[..., :wanted]
        if wanted > 8 * n:
            bits = np.pad(bits, [(0, 0)] * len(lead) + [(0, wanted - 8 * n)])
    return np.moveaxis(bits, -1, axis)


# ----- comparing -----------------------------------------------------------------------------


@implements(np.isclose)
def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether elements are equal within ``atol + rtol * abs(b)``."""
    x, y = asvalue(a), asvalue(b)
    y = float(y) if type(y) in (bool, int) else y
    if not isinstance(y, (float, complex)) or isinstance(y, np.generic):
        y = convert(y, np.result_type(dtype_of(y), 1.0))
    near = np.less_equal(np.abs(np.subtract(x, y)), atol + rtol * np.abs(y))
    near = np.logical_or(np.logical_and(near, np.isfinite(y)), np.equal(x, y))
    if equal_nan:
        near = np.logical_or(near, np.logical_and(np.isnan(x), np.isnan(y)))
    return near


@implements(np.allclose)
def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements are close, as a traced bool."""
    return np.all(isclose(a, b, rtol, atol, equal_nan))


@implements(np.array_equal)
def array_equal(a1, a2, equal_nan=False):
    """Whether shapes and elements are equal; a traced bool where it depends on values."""
    x, y = as_array(a1), as_array(a2)
    if shape_of(x) != shape_of(y):
        return False
    same = np.equal(x, y)
    if equal_nan:
        same = np.logical_or(same, np.logical_and(np.isnan(x), np.isnan(y)))
    return np.all(same)


@implements(np.array_equiv)
def array_equiv(a1, a2):
    """Whether the arrays broadcast to equal ones."""
    x, y = as_array(a1), as_array(a2)
    try:
        core.broadcast_shape(shape_of(x), shape_of(y))
    except errors.ShapeError:
        return False
    return np.all(np.equal(x, y))


# ----- what traced arrays do not have ----------------------------------------------


def _raises(error, got, instead):
    """A method that raises when called."""
    def method(x):
        def call(*args, **kwargs):
            raise error(got.format(x.aval), instead)
        return call
    return method


def _view(x, dtype=None, type=None):
    if type is not None:
        raise errors.NotSupportedError(f"view of a traced {x.aval} as {type}.", "Give dtype=.")
    if dtype is None or np.dtype(dtype) == dtype_of(x):
        return x
    return viewed(x, supported(dtype))


for _name, _instead in (
        ("fill", "Write x = np.full_like(x, value)."),
        ("put", "Write x = functrans.numpy.put(x, ind, v, inplace=False)."),
        ("resize", "Write x = np.reshape(x, shape), or np.pad."),
        ("setflags", "Traced values never change."),
        ("setfield", "Write x = functrans.at(x)[index].set(v).")):
    METHODS[_name] = _raises(errors.InPlaceError, f"x.{_name} would change a traced {{}} in place.",
                             _instead)
METHODS["clip"] = partial(partial, _clip_method)
METHODS["view"] = partial(partial, _view)
PROPERTIES.update({"flat": ravel})         # to read; x.flat[i] = v would be functrans.at(x.ravel())[i].set(v)
METHODS.update(PROPERTIES)

__all__ = ["allclose", "argwhere", "around", "array_equal", "array_equiv", "clip", "fix", "flatnonzero",
           "isclose", "isneginf", "isposinf", "nan_to_num", "nonzero", "packbits", "round",
           "select", "unpackbits", "where"]
