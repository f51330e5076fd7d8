"""Reductions and cumulative functions."""

from __future__ import annotations

import builtins
import math
import operator

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import OPS
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from . import core
from .complexes import extremum, position, squared
from .core import asvalue, axes_of, axis_of, convert, implements, is_number, refuse_out
from .shape import NO, as_array, dtype_of, ndim_of, ravel, reshaped, shape_of, splat, supported

# ----- what all reductions share --------------------------------------------------------------


def _axes(axis, ndim):
    """The axes to reduce; ufunc reductions let axis 0 and -1 of a scalar pass."""
    if ndim == 0 and type(axis) is int and axis in (0, -1):
        return ()
    return axes_of(axis, ndim)


def _one(axis):
    """None, or one axis: TypeError for several, as NumPy's."""
    return axis if axis is None else operator.index(axis)


def _reduced(name, x, axis, keepdims):
    """x reduced by the op ``name`` over ``axis``, which is as NumPy takes it."""
    shape = shape_of(x)
    axes = _axes(axis, len(shape))
    out = OPS[name](x, axes=axes) if axes else x
    return _kept(out, shape, axes) if keepdims is not NO and keepdims else out


def _kept(out, shape, axes):
    return reshaped(out, tuple([1 if i in axes else n for i, n in enumerate(shape)]))


def _result_shape(shape, axes, keepdims):
    keep = keepdims is not NO and keepdims
    return tuple([1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes])


def _everywhere(where) -> bool:
    return where is True or where is NO


def _mask(where, shape):
    """The condition of ``where=``, broadcast."""
    where = asvalue(where)
    if dtype_of(where) != np.bool_:
        raise errors.DtypeError(f"where= must be bool, got {aval_of(where)}.",
                                "Compare, e.g. where=x != 0.")
    if is_number(where):
        return np.full(shape, where)
    return core.broadcast_to(where, shape)


def _masked(x, where, other):
    """x with the number ``other`` where the condition does not hold."""
    if _everywhere(where):
        return x
    return OPS["select"](_mask(where, shape_of(x)), x, splat(other, x))


def _initial(value, dtype):
    """The start of a reduction, cast as NumPy does."""
    value = as_array(value) if type(value) is Tracer else value
    if ndim_of(value):
        raise errors.ShapeError(f"initial= must be a scalar, got {aval_of(value)}.")
    return convert(value, dtype)


def _wide(dtype):
    """The dtype that sums and products of small integers are taken in."""
    if dtype.kind in "bi":
        return np.dtype(np.int64) if dtype.itemsize < 8 else dtype
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def _inexact(dtype):
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def _accumulated(a, dtype):
    """The operand of a sum or product in the dtype of the result."""
    x = as_array(a)
    return convert(x, supported(_wide(dtype_of(x)) if dtype is None else dtype))


# ----- sums, products, extrema ----------------------------------------------------------------


@implements(np.sum, method="sum")
def sum(a, axis=None, dtype=None, out=None, keepdims=False, initial=NO, where=True):
    """Sum over axes."""
    refuse_out(out)
    x = _accumulated(a, dtype)
    dtype = dtype_of(x)
    name = "reduce_or" if dtype == np.bool_ else "reduce_sum"
    total = _reduced(name, _masked(x, where, 0), axis, keepdims)
    return total if initial is NO else np.add(total, _initial(initial, dtype))


_sum = sum.traced       # for use below: without the look whether anything is traced


@implements(np.prod, method="prod")
def prod(a, axis=None, dtype=None, out=None, keepdims=False, initial=NO, where=True):
    """Product over axes."""
    refuse_out(out)
    x = _accumulated(a, dtype)
    dtype = dtype_of(x)
    name = "reduce_and" if dtype == np.bool_ else "reduce_prod"
    total = _reduced(name, _masked(x, where, 1), axis, keepdims)
    return total if initial is NO else np.multiply(total, _initial(initial, dtype))


def _least(dtype):
    return -np.inf if dtype.kind in "fc" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _greatest(dtype):
    return np.inf if dtype.kind in "fc" else True if dtype.kind == "b" else np.iinfo(dtype).max


_EXTREMA = {"max": (np.maximum, "reduce_max", _least), "min": (np.minimum, "reduce_min", _greatest)}


def _extremum(kind, a, axis, out, keepdims, initial, where):
    refuse_out(out)
    ufunc, op, bound = _EXTREMA[kind]
    x = as_array(a)
    shape, dtype = shape_of(x), dtype_of(x)
    if initial is NO and not _everywhere(where):
        raise ValueError(f"numpy.{kind} has no identity: give initial= to use where=")
    axes = _axes(axis, len(shape))
    if 0 in [shape[i] for i in axes]:
        if initial is NO:
            raise errors.ShapeError(f"numpy.{kind} of {aval_of(x)} over empty axes has no value.",
                                    "Give initial=.")
        return core.broadcast_to(_initial(initial, dtype), _result_shape(shape, axes, keepdims))
    x = _masked(x, where, bound(dtype))
    if dtype.kind == "c":
        out = extremum(kind, x, axes) if axes else x
        out = _kept(out, shape, axes) if keepdims is not NO and keepdims else out
    else:
        out = _reduced(op, x, axis, keepdims)
    return out if initial is NO else ufunc(out, _initial(initial, dtype))


@implements(np.max, np.amax, method="max")
def max(a, axis=None, out=None, keepdims=False, initial=NO, where=True):
    """Maximum over axes; equal elements share the derivative."""
    return _extremum("max", a, axis, out, keepdims, initial, where)


@implements(np.min, np.amin, method="min")
def min(a, axis=None, out=None, keepdims=False, initial=NO, where=True):
    """Minimum over axes; equal elements share the derivative."""
    return _extremum("min", a, axis, out, keepdims, initial, where)


amax, amin = max, min


@implements(np.ptp)
def ptp(a, axis=None, out=None, keepdims=False):
    """Maximum minus minimum."""
    refuse_out(out)
    x = as_array(a)
    return np.subtract(max(x, axis, None, keepdims), min(x, axis, None, keepdims))


# ----- truth, positions, counts ---------------------------------------------------------------


def truth(x):
    """x as bool: whether it is not zero."""
    x = as_array(x)
    return x if dtype_of(x) == np.bool_ else OPS["ne"](x, splat(0, x))


@implements(np.any, method="any")
def any(a, axis=None, out=None, keepdims=False, *, where=True):
    """Whether any element along the axes is not zero."""
    refuse_out(out)
    return _reduced("reduce_or", _masked(truth(a), where, False), axis, keepdims)


@implements(np.all, method="all")
def all(a, axis=None, out=None, keepdims=False, *, where=True):
    """Whether all elements along the axes are not zero."""
    refuse_out(out)
    return _reduced("reduce_and", _masked(truth(a), where, True), axis, keepdims)


def _position(kind, a, axis, out, keepdims):
    refuse_out(out)
    x = as_array(a)
    shape = shape_of(x)
    axis = _one(axis)
    if axis is None or not shape:
        _axes(axis, len(shape))
        axes, flat, axis = tuple(range(len(shape))), ravel(x), 0
    else:
        axis = axis_of(axis, len(shape))
        axes, flat = (axis,), x
    if shape_of(flat)[axis] == 0:
        raise errors.ShapeError(f"numpy.{kind} of {aval_of(x)} along an empty axis has no value.")
    found = position(kind, flat, axis) if dtype_of(x).kind == "c" else OPS[kind](flat, axis=axis)
    return _kept(found, shape, axes) if keepdims is not NO and keepdims else found


@implements(np.argmax, method="argmax")
def argmax(a, axis=None, out=None, *, keepdims=False):
    """Position of the maximum, the first of several; nan counts as the maximum."""
    return _position("argmax", a, axis, out, keepdims)


@implements(np.argmin, method="argmin")
def argmin(a, axis=None, out=None, *, keepdims=False):
    """Position of the minimum, the first of several; nan counts as the minimum."""
    return _position("argmin", a, axis, out, keepdims)


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False):
    """Number of elements along the axes that are not zero."""
    return _sum(truth(a), axis, np.int64, None, keepdims)


# ----- means and variances --------------------------------------------------------------------


def _count(shape, axes, where, keepdims):
    """How many elements each result is taken over: a number, or an array under ``where=``."""
    if _everywhere(where):
        return math.prod([shape[i] for i in axes])
    return _sum(_mask(where, shape), axes, np.int64, None, keepdims)


def _over(total, count, dtype):
    """total / count in ``dtype``."""
    wide = _inexact(dtype)
    total = convert(total, wide)
    if isinstance(count, (int, float)):
        ratio = OPS["div"](total, splat(count, total))
    else:
        ratio = np.true_divide(total, convert(count, wide))
    return convert(ratio, dtype)


@implements(np.mean, method="mean")
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    """Mean over axes; nan over none."""
    refuse_out(out)
    x = as_array(a)
    axes = axes_of(axis, ndim_of(x))
    dtype = supported(_inexact(dtype_of(x)) if dtype is None else dtype)
    total = _sum(x, axes, dtype, None, keepdims, NO, where)
    return _over(total, _count(shape_of(x), axes, where, keepdims), dtype)


def _freedom(ddof, correction):
    if correction is NO:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction cannot be given both")
    return correction


def _degrees(count, ddof):
    """The divisor of a variance; never negative."""
    if isinstance(count, int) and type(ddof) is not Tracer:
        return builtins.max(count - ddof, 0)
    return np.maximum(np.subtract(count, ddof), 0)


@implements(np.var, method="var")
def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NO,
        correction=NO):
    """Variance over axes, with divisor ``n - ddof``."""
    refuse_out(out)
    x = as_array(a)
    axes = axes_of(axis, ndim_of(x))
    asked = dtype
    dtype = supported(_inexact(dtype_of(x)) if dtype is None else dtype)
    ddof = _freedom(ddof, correction)
    if mean is NO:
        center = _mean(x, axes, dtype, None, False, where=where)
        center = _along(center, shape_of(x), axes)
    else:
        center = as_array(mean)
    off = np.subtract(x, center)
    dtype = np.empty(0, dtype).real.dtype
    total = _sum(squared(off), axes, dtype, None, keepdims, NO, where)
    found = _over(total, _degrees(_count(shape_of(x), axes, where, keepdims), ddof), dtype)
    return found if asked is None else convert(found, asked)


_mean = mean.traced     # var has an argument of this name


def _along(x, shape, axes):
    """A result of reducing ``shape`` over ``axes``, repeated along them."""
    return OPS["broadcast_in_dim"](
        x, shape=shape, dims=tuple([i for i in range(len(shape)) if i not in axes]))


@implements(np.std, method="std")
def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NO,
        correction=NO):
    """Standard deviation over axes; its derivative at equal elements is 0."""
    return _root(var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean,
                     correction=correction))


def _root(x):
    return convert(OPS["sqrt"](convert(x, _inexact(dtype_of(x)))), dtype_of(x))


@implements(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    """Weighted mean over axes.

    Traced weights that sum to zero give nan or inf; NumPy raises ZeroDivisionError.
    """
    x = as_array(a)
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    if weights is None:
        out = mean(x, axes, keepdims=keepdims)
        if not returned:
            return out
        count = math.prod([shape[i] for i in axes])
        return out, np.full(shape_of(out), count, dtype_of(out))[()]
    w = given = as_array(weights)
    if shape_of(w) != shape:
        w = _weights_along(w, shape, axis)
    dtype = supported(np.promote_types(_inexact(dtype_of(x)), dtype_of(w)))
    if type(given) is not Tracer and not np.all(np.sum(given, axes if given is w else None)):
        raise ZeroDivisionError("the weights sum to zero")
    scale = _sum(w, axes, dtype, None, keepdims)
    out = np.true_divide(_sum(np.multiply(convert(x, dtype), convert(w, dtype)), axes, dtype, None,
                             keepdims), scale)
    return (out, core.broadcast_to(scale, shape_of(out))) if returned else out


def _weights_along(w, shape, axis):
    """Weights given for the averaged axes only, placed along them."""
    if axis is None:
        raise TypeError(f"give axis=: weights {shape_of(w)} and array {shape} differ in shape")
    order = [axis_of(i, len(shape)) for i in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if shape_of(w) != tuple([shape[i] for i in order]):
        raise errors.ShapeError(f"weights of shape {shape_of(w)} do not fit axes {tuple(order)} of "
                                f"shape {shape}.", "Give one weight per element along these axes.")
    w = np.transpose(w, sorted(range(len(order)), key=order.__getitem__))
    return core.broadcast_to(
        reshaped(w, tuple([n if i in order else 1 for i, n in enumerate(shape)])), shape)


# ----- cumulative functions -------------------------------------------------------------------


def _cumulative(name, x, axis):
    """x, along ``axis`` or flattened, accumulated by the op ``name``."""
    axis = _one(axis)
    if axis is None or not ndim_of(x):
        _axes(axis, ndim_of(x))
        return OPS[name](ravel(x), axis=0, reverse=False)
    return OPS[name](x, axis=axis_of(axis, ndim_of(x)), reverse=False)


@implements(np.cumsum, method="cumsum")
def cumsum(a, axis=None, dtype=None, out=None):
    """Sums of the first elements along ``axis``; None flattens."""
    refuse_out(out)
    return _cumulative("cumsum", _accumulated(a, dtype), axis)


@implements(np.cumprod, method="cumprod")
def cumprod(a, axis=None, dtype=None, out=None):
    """Products of the first elements along ``axis``; None flattens."""
    refuse_out(out)
    return _cumulative("cumprod", _accumulated(a, dtype), axis)


def _cumulative_with_start(function, start, x, axis, dtype, out, include_initial):
    x = as_array(x)
    if axis is None:
        if ndim_of(x) > 1:
            raise ValueError("axis must be given for arrays of more than one axis")
        axis = 0
    x = reshaped(x, shape_of(x) or (1,))
    total = function(x, axis, dtype, out)
    if not include_initial:
        return total
    axis = axis_of(axis, ndim_of(x))
    shape = shape_of(total)
    first = lit(start, aval((*shape[:axis], 1, *shape[axis + 1:]), dtype_of(total)))
    return OPS["concatenate"](first, total, axis=axis)


def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    """Sums of the first elements along ``axis``; with ``include_initial`` from the empty sum on."""
    return _cumulative_with_start(cumsum, 0, x, axis, dtype, out, include_initial)


def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    """Products of the first elements along ``axis``, as cumulative_sum."""
    return _cumulative_with_start(cumprod, 1, x, axis, dtype, out, include_initial)


# NumPy has these two from 2.1 on
cumulative_sum = implements(getattr(np, "cumulative_sum", cumulative_sum))(cumulative_sum)
cumulative_prod = implements(getattr(np, "cumulative_prod", cumulative_prod))(cumulative_prod)

# ----- methods of ufuncs: np.add.reduce and the like ------------------------------------------


def _log_sum_exp(a, axis=0, dtype=None, out=None, keepdims=False, initial=NO, where=True):
    refuse_out(out)
    x = as_array(a)
    x = convert(x, supported(np.promote_types(dtype_of(x), np.float16) if dtype is None else dtype))
    x = _masked(x, where, -np.inf)
    axes = _axes(axis, ndim_of(x))
    if 0 in [shape_of(x)[i] for i in axes]:
        total = np.full(_result_shape(shape_of(x), axes, keepdims), -np.inf, dtype_of(x))[()]
    else:
        top = OPS["stop_gradient"](_reduced("reduce_max", x, axes, True))
        top = OPS["select"](OPS["isfinite"](top), top, splat(0, top))
        total = np.log(_sum(np.exp(np.subtract(x, top)), axes, keepdims=True)) + top
        total = total if keepdims is not NO and keepdims else np.squeeze(total, axes)
    return total if initial is NO else np.logaddexp(total, _initial(initial, dtype_of(x)))


def _plain(function):
    """A reduction without dtype as the reduce method of its ufunc."""
    def reduce(x, axis=0, dtype=None, out=None, keepdims=False, initial=NO, where=True):
        x = x if dtype is None else convert(as_array(x), supported(dtype))
        return function(x, axis, out, keepdims, initial, where)
    return reduce


def _logical(function, other):
    def reduce(x, axis=0, dtype=None, out=None, keepdims=False, initial=NO, where=True):
        found = function(x, axis, out, keepdims, where=where)
        return found if initial is NO else other(found, truth(initial))
    return reduce


def _bits(op, other, neutral):
    def reduce(x, axis=0, dtype=None, out=None, keepdims=False, initial=NO, where=True):
        refuse_out(out)
        x = as_array(x)
        x = x if dtype is None else convert(x, supported(dtype))
        kind = dtype_of(x)
        found = _reduced(op, _masked(x, where, neutral(kind)), axis, keepdims)
        return found if initial is NO else other(found, _initial(initial, kind))
    return reduce


UFUNC_REDUCE = {
    np.add: sum, np.multiply: prod, np.maximum: _plain(max), np.minimum: _plain(min),
    np.logaddexp: _log_sum_exp,
    np.logical_and: _logical(all, np.logical_and), np.logical_or: _logical(any, np.logical_or),
    np.bitwise_or: _bits("reduce_or", np.bitwise_or, lambda dtype: 0),
    np.bitwise_xor: _bits("reduce_xor", np.bitwise_xor, lambda dtype: 0),
    np.bitwise_and: _bits("reduce_and", np.bitwise_and, lambda dtype: np.array(-1).astype(dtype)),
}


def _accumulate(name):
    def accumulate(x, axis=0, dtype=None, out=None):
        refuse_out(out)
        x = as_array(x)
        if not ndim_of(x):
            raise TypeError("cannot accumulate on a scalar")
        if name in ("cumsum", "cumprod"):
            x = _accumulated(x, dtype)
        else:
            least = np.float16 if name == "cumlogsumexp" else np.bool_
            dtype = np.promote_types(dtype_of(x), least) if dtype is None else dtype
            x = convert(x, supported(dtype))
        return _cumulative(name, x, axis_of(axis, ndim_of(x)))
    return accumulate


UFUNC_ACCUMULATE = {
    np.add: _accumulate("cumsum"), np.multiply: _accumulate("cumprod"),
    np.maximum: _accumulate("cummax"), np.minimum: _accumulate("cummin"),
    np.logaddexp: _accumulate("cumlogsumexp"),
}

__all__ = ["all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cumprod",
           "cumsum", "cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "ptp",
           "std", "sum", "var"]
