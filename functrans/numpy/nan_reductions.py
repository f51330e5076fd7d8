"""Reductions that pass over nan."""

from __future__ import annotations

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of, is_known, value_of
from ..trace.tracer import Tracer
from .complexes import squared
from .core import convert, implements, refuse_out
from .reductions import (
    _EXTREMA,
    UFUNC_REDUCE,
    _axes,
    _everywhere,
    _extremum,
    _freedom,
    _mask,
    _over,
    _plain,
    _position,
    _reduced,
    _root,
    cumprod,
    cumsum,
    mean,
    prod,
    sum,
    var,
)
from .shape import NO, as_array, dtype_of, ndim_of, shape_of, splat, supported

_mean, _sum = mean.traced, sum.traced


def _without_nan(a, other):
    """The operand with nan replaced by the number ``other``, and where; None for integers."""
    x = as_array(a)
    if dtype_of(x).kind not in "fc":
        return x, None
    hole = OPS["isnan"](x)
    return OPS["select"](hole, splat(other(dtype_of(x)) if callable(other) else other, x), x), hole


@implements(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=NO, where=True):
    """Sum over axes of what is not nan."""
    return _sum(_without_nan(a, 0)[0], axis, dtype, out, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=NO, where=True):
    """Product over axes of what is not nan."""
    return prod(_without_nan(a, 1)[0], axis, dtype, out, keepdims, initial, where)


def _nan_extremum(kind, a, axis, out, keepdims, initial, where):
    bound = _EXTREMA[kind][2]
    x, hole = _without_nan(a, bound)
    found = _extremum(kind, x, axis, out, keepdims, initial, where)
    if hole is None or initial is not NO:
        return found
    nothing = _reduced("reduce_and", hole, axis, keepdims)
    return OPS["select"](nothing, splat(np.nan, found), found)


@implements(np.nanmax)
def nanmax(a, axis=None, out=None, keepdims=False, initial=NO, where=True):
    """Maximum over axes of what is not nan; nan where nothing is left."""
    return _nan_extremum("max", a, axis, out, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(a, axis=None, out=None, keepdims=False, initial=NO, where=True):
    """Minimum over axes of what is not nan; nan where nothing is left."""
    return _nan_extremum("min", a, axis, out, keepdims, initial, where)


def _valid(hole, where):
    """Where there is a number that counts."""
    valid = OPS["not"](hole)
    return valid if _everywhere(where) else OPS["and"](valid, _mask(where, shape_of(hole)))


def _nan_dtype(x, dtype):
    if dtype is not None and dtype_of(x).kind in "fc" and np.dtype(dtype).kind not in "fc":
        raise errors.DtypeError(f"dtype {dtype} has no nan, which {aval_of(x)} may hold.",
                                "Give a float dtype, or replace nan first.")
    return supported(dtype_of(x) if dtype is None else dtype)


@implements(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    """Mean over axes of what is not nan; nan where nothing is left."""
    refuse_out(out)
    x, hole = _without_nan(a, 0)
    if hole is None:
        return _mean(x, axis, dtype, None, keepdims, where=where)
    dtype = _nan_dtype(x, dtype)
    axes = _axes(axis, ndim_of(x))
    total = _sum(x, axes, dtype, None, keepdims, NO, where)
    return _over(total, _sum(_valid(hole, where), axes, np.int64, None, keepdims), dtype)


@implements(np.nanvar)
def nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NO,
           correction=NO):
    """Variance over axes of what is not nan; nan where no more than ``ddof`` elements are left."""
    refuse_out(out)
    x, hole = _without_nan(a, 0)
    if hole is None:
        return var(x, axis, dtype, None, ddof, keepdims, where=where, mean=mean,
                   correction=correction)
    asked, dtype = dtype, _nan_dtype(x, dtype)
    axes = _axes(axis, ndim_of(x))
    ddof = _freedom(ddof, correction)
    valid = _valid(hole, where)
    if mean is NO:
        center = _over(_sum(x, axes, dtype, None, True, NO, where),
                       _sum(valid, axes, np.int64, None, True), dtype)
    else:
        center = as_array(mean)
    off = np.subtract(x, center)
    off = OPS["select"](valid, off, splat(0, off))
    dtype = np.empty(0, dtype).real.dtype
    total = _sum(squared(off), axes, dtype, None, keepdims)
    degrees = np.subtract(_sum(valid, axes, np.int64, None, keepdims), ddof)
    found = _over(total, degrees, dtype)
    found = OPS["select"](np.less_equal(degrees, 0), splat(np.nan, found), found)
    return found if asked is None else convert(found, asked)


@implements(np.nanstd)
def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NO,
           correction=NO):
    """Standard deviation over axes of what is not nan."""
    return _root(nanvar(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean,
                        correction=correction))


@implements(np.nancumsum)
def nancumsum(a, axis=None, dtype=None, out=None):
    """As cumsum, with 0 for nan."""
    return cumsum(_without_nan(a, 0)[0], axis, dtype, out)


@implements(np.nancumprod)
def nancumprod(a, axis=None, dtype=None, out=None):
    """As cumprod, with 1 for nan."""
    return cumprod(_without_nan(a, 1)[0], axis, dtype, out)


def _nan_position(kind, a, axis, out, keepdims):
    """Where nothing is left: an error if the values are known, else -1."""
    x, hole = _without_nan(a, -np.inf if kind == "argmax" else np.inf)
    found = _position(kind, x, axis, out, keepdims)
    if hole is None:
        return found
    nothing = _reduced("reduce_and", hole, axis, keepdims)
    if type(hole) is not Tracer or is_known(hole):
        if np.any(value_of(nothing) if type(nothing) is Tracer else nothing):
            raise ValueError("All-NaN slice encountered")
        return found
    return OPS["select"](nothing, splat(-1, found), found)


@implements(np.nanargmax)
def nanargmax(a, axis=None, out=None, *, keepdims=NO):
    """Position of the maximum of what is not nan; -1 where nothing is left (NumPy raises ValueError)."""
    return _nan_position("argmax", a, axis, out, keepdims)


@implements(np.nanargmin)
def nanargmin(a, axis=None, out=None, *, keepdims=NO):
    """Position of the minimum of what is not nan; -1 where nothing is left (NumPy raises ValueError)."""
    return _nan_position("argmin", a, axis, out, keepdims)


UFUNC_REDUCE[np.fmax] = _plain(nanmax)
UFUNC_REDUCE[np.fmin] = _plain(nanmin)

__all__ = ["nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod",
           "nanstd", "nansum", "nanvar"]
