"""Medians and quantiles: NumPy's thirteen methods. The elements that they need are selected, not sorted.

Definitions: Hyndman and Fan, "Sample quantiles in statistical packages", 1996, and NumPy's own.
"""

from __future__ import annotations

import math

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from .core import asvalue, axes_of, convert, implements, refuse_out
from .shape import as_array, cut, dtype_of, ndim_of, reshaped, shape_of
from .sorting import sort

# (alpha, beta): the element at position n q + alpha + q (1 - alpha - beta) - 1 of the sorted row
_CONTINUOUS = {"interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0),
               "median_unbiased": (1 / 3.0, 1 / 3.0), "normal_unbiased": (3 / 8.0, 3 / 8.0)}
_METHODS = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation", *_CONTINUOUS, "linear", "lower",
            "higher", "midpoint", "nearest")


def _position(method, n, q):
    """Where the quantile lies among n sorted elements, as (position, weight of the element behind it).

    Weight None: it is the element at the position.
    """
    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        at = n * q + (alpha + q * (1 - alpha - beta)) - 1
    elif method in ("inverted_cdf", "averaged_inverted_cdf"):
        at = n * q - 1
    elif method == "closest_observation":
        at = n * q - 1 - 0.5
    else:
        at = (n - 1) * q
    low = np.floor(at)
    part = at - low
    if method == "inverted_cdf":
        return np.where(part == 0, low, low + 1), None
    if method == "closest_observation":          # a half goes to the even element, counted from 1
        return np.where((part == 0) & (np.remainder(low, 2) == 1), low, low + 1), None
    if method == "lower":
        return low, None
    if method == "higher":
        return np.ceil(at), None
    if method == "nearest":
        return np.rint(at), None
    if method == "averaged_inverted_cdf":
        part = np.where(part == 0, 0.5, 1.0)
    elif method == "midpoint":
        part = np.where(part == 0, 0.0, 0.5)
    return low, part


def _mixed(a, b, t):
    """a + t (b - a), from the nearer end."""
    step = b - a
    return np.where(t >= 0.5, b - step * (1 - t), a + step * t)


def _rows(x, axis, keepdims):
    """x with the reduced axes joined as the last one, and the shape of a result with keepdims."""
    axes = axes_of(axis, ndim_of(x))
    shape = shape_of(x)
    kept = [i for i in range(len(shape)) if i not in axes]
    n = int(np.prod([shape[i] for i in axes], dtype=np.int64))
    rows = np.reshape(np.transpose(x, (*kept, *axes)), (*[shape[i] for i in kept], n))
    wide = tuple([1 if i in axes else m for i, m in enumerate(shape)])
    return rows, n, (wide if keepdims else tuple([shape[i] for i in kept])), axes


def _elements(rows, at):
    """For each position of ``at`` (its axes, then one position a row or 1): the elements of the rows."""
    flat, shape = _flat(rows, at)
    flat = np.broadcast_to(flat, (*shape_of(rows)[:-1], shape_of(flat)[-1]))
    return np.reshape(np.moveaxis(np.take_along_axis(rows, flat, -1), -1, 0), shape)


def _flat(rows, at):
    """The positions as the last axis, and the shape of what is found there."""
    lead = ndim_of(rows) - 1
    extra = ndim_of(at) - lead
    shape = (*shape_of(at)[:extra], *shape_of(rows)[:-1])
    return np.moveaxis(np.reshape(at, (math.prod(shape[:extra]), *shape_of(at)[extra:])), 0, -1), shape


def _ordered(rows, *places):
    """The elements that would be at these places, were the rows sorted; places are as those of _elements."""
    if dtype_of(rows).kind == "c":
        rows = sort(rows, ndim_of(rows) - 1)
        return [_elements(rows, at) for at in places]
    flats, shapes = zip(*[_flat(rows, at) for at in places], strict=True)
    flat = np.concatenate(flats, -1)
    if all(n == 1 for n in shape_of(flat)[:-1]):              # all rows have the same
        flat = np.reshape(flat, (-1,))
    elif shape_of(flat)[:-1] != shape_of(rows)[:-1]:
        flat = np.broadcast_to(flat, (*shape_of(rows)[:-1], shape_of(flat)[-1]))
    found = np.take_along_axis(rows, OPS["argselect"](rows, flat), -1)
    found = np.moveaxis(found, -1, 0)
    ends = np.cumsum([shape_of(f)[-1] for f in flats]).tolist()
    return [np.reshape(cut(found, 0, start, end), shape)
            for start, end, shape in zip([0, *ends], ends, shapes, strict=False)]


def _quantile(name, a, q, axis, out, method, keepdims, weights, scale, skip_nan):
    refuse_out(out)
    if method not in _METHODS:
        raise ValueError(f"{name}: method must be one of {', '.join(_METHODS)}, got {method!r}")
    x = as_array(a)
    dtype = dtype_of(x)
    if dtype.kind == "c":
        raise errors.DtypeError(f"{name} orders real numbers, got {aval_of(x)}.", "Take the real part.")
    weak = type(q) in (int, float)
    q = asvalue(q)
    q = as_array(q) if type(q) is Tracer else np.asarray(q)
    if scale != 1:
        q = np.true_divide(q, scale)
    if weak and dtype.kind == "f":
        q = np.asarray(q, np.float64)
    if ndim_of(q) > 2:
        raise errors.ShapeError(f"{name}: q must be a scalar or an array of at most two axes, got {q}.")
    if type(q) is not Tracer and not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f"{name}: q must be in the range [0, {scale}]")
    rows, n, kept, axes = _rows(x, axis, keepdims)
    if n == 0 and skip_nan:
        return np.full(shape_of(q) + kept, np.nan, dtype if dtype.kind == "f" else np.float64)[()]
    if n == 0:
        raise errors.ShapeError(f"{name} of {aval_of(x)}: there is nothing along axis {axis}.")
    if dtype.kind == "b" and method in ("linear", "midpoint", *_CONTINUOUS, "averaged_inverted_cdf"):
        raise errors.DtypeError(f"{name}: bools cannot be subtracted.", "Convert with astype first.")
    if weights is not None:
        found = _weighted(name, rows, x, q, method, weights, axes, skip_nan)
    else:
        found = _unweighted(rows, n, q, method, skip_nan, weak)
    return reshaped(found, shape_of(q) + kept)


def _unweighted(rows, n, q, method, skip_nan, weak):
    dtype = dtype_of(rows)
    floats = dtype.kind == "f"
    count = n
    if skip_nan and floats:
        count = np.sum(~np.isnan(rows), -1)
        q = np.reshape(q, (*shape_of(q), *[1] * ndim_of(count)))
    at, part = _position(method, count, q)
    top = np.maximum(count - 1, 0)
    low = np.clip(at, 0, top)
    index = convert(low, np.int64)
    if not (skip_nan and floats):
        index = np.reshape(index, (*shape_of(index), *[1] * (ndim_of(rows) - 1)))
    if part is None:
        (found,) = _ordered(rows, index)
    else:
        above = convert(np.where(at < 0, 0, np.minimum(low + 1, top)), np.int64)
        if not (skip_nan and floats):
            above = np.reshape(above, (*shape_of(above), *[1] * (ndim_of(rows) - 1)))
            part = np.reshape(part, (*shape_of(part), *[1] * (ndim_of(rows) - 1)))
        if weak and floats:
            part = convert(part, dtype)
        found = _mixed(*_ordered(rows, index, above), part)
    return found if skip_nan or not floats else _nan_where(found, rows)


def _nan_where(found, rows):
    """nan where a row has one."""
    return np.where(np.any(np.isnan(rows), -1), np.asarray(np.nan, dtype_of(found)), found)


def _weighted(name, rows, x, q, method, weights, axes, skip_nan):
    """The first element whose share of the total weight, with all before it, is q or more."""
    if method != "inverted_cdf":
        raise ValueError(f"{name}: only the method 'inverted_cdf' takes weights, got {method!r}")
    w = as_array(weights)
    if shape_of(w) != shape_of(x):
        if shape_of(w) != tuple([shape_of(x)[i] for i in axes]):
            raise errors.ShapeError(f"{name}: weights have shape {shape_of(w)}; they must have that of a, "
                                    f"{shape_of(x)}, or of the axes that are reduced.")
        w = np.reshape(w, tuple([m if i in axes else 1 for i, m in enumerate(shape_of(x))]))
    if type(w) is not Tracer and np.any(w < 0):
        raise ValueError(f"{name}: weights must not be negative")
    w = np.broadcast_to(w, shape_of(x))
    kept = [i for i in range(ndim_of(x)) if i not in axes]
    w = convert(np.reshape(np.transpose(w, (*kept, *axes)), shape_of(rows)), np.float64)
    n, last = shape_of(rows)[-1], ndim_of(rows) - 1
    if skip_nan and dtype_of(rows).kind == "f":
        w = np.where(np.isnan(rows), 0.0, w)
    order = OPS["argsort"](rows, axis=last, descending=False)
    ordered = np.take_along_axis(rows, order, -1)
    share = np.cumsum(np.take_along_axis(w, order, -1), -1)
    share = share / cut(share, last, n - 1, n)
    share = np.where(share == 0, -1.0, share)            # elements of no weight are never chosen
    q = np.reshape(q, (*shape_of(q), *[1] * (last + 1)))
    if dtype_of(q).kind == "f":
        share = convert(share, dtype_of(q))
    at = np.minimum(np.sum(np.less(share, q), -1), n - 1)
    found = _elements(ordered, at)
    return found if skip_nan or dtype_of(rows).kind != "f" else _nan_where(found, rows)


@implements(np.quantile)
def quantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *,
             weights=None):
    """The q-quantiles (0 <= q <= 1) along axes; the axes of q come first in the result.

    All of NumPy's methods; ``weights`` with 'inverted_cdf'. nan where a row holds nan. The derivative
    goes to the elements between which the quantile lies, and to a traced q.

    >>> import numpy as np
    >>> from functrans import grad
    >>> grad(lambda x: np.quantile(x, 0.25))(np.array([4.0, 1.0, 2.0]))
    array([0. , 0.5, 0.5])
    """
    return _quantile("quantile", a, q, axis, out, method, keepdims, weights, 1, False)


@implements(np.percentile)
def percentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *,
               weights=None):
    """The q-th percentiles: ``quantile(a, q / 100)``."""
    return _quantile("percentile", a, q, axis, out, method, keepdims, weights, 100, False)


@implements(np.nanquantile)
def nanquantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=np._NoValue, *,
                weights=None):
    """Quantiles of what is not nan; nan where nothing is left."""
    return _quantile("nanquantile", a, q, axis, out, method, keepdims is True, weights, 1, True)


@implements(np.nanpercentile)
def nanpercentile(a, q, axis=None, out=None, overwrite_input=False, method="linear",
                  keepdims=np._NoValue, *, weights=None):
    """Percentiles of what is not nan; nan where nothing is left."""
    return _quantile("nanpercentile", a, q, axis, out, method, keepdims is True, weights, 100, True)


def _median(name, a, axis, out, keepdims, skip_nan):
    refuse_out(out)
    x = as_array(a)
    dtype = dtype_of(x)
    rows, n, kept, _ = _rows(x, axis, keepdims)
    wide = dtype if dtype.kind in "fc" else np.dtype(np.float64)
    if n == 0:
        return np.full(kept, np.nan, wide)[()]
    if skip_nan and dtype.kind in "fc":
        count = np.sum(~np.isnan(rows), -1)
        low, high = _ordered(rows, np.maximum((count - 1) // 2, 0), count // 2)
        high = np.where(count == 0, low, high)
        found = np.where((count - 1) // 2 == count // 2, low, (low + high) / 2)
    else:
        one = (1,) * (ndim_of(rows) - 1)
        low, high = _ordered(rows, np.full(one, (n - 1) // 2), np.full(one, n // 2))
        low, high = convert(low, wide), convert(high, wide)
        found = low if n % 2 else (low + high) / 2
        if dtype.kind in "fc":
            found = _nan_where(found, rows)
    return reshaped(found, kept)


@implements(np.median)
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    """The middle element of sorted rows, or the mean of the two; nan where a row holds nan."""
    return _median("median", a, axis, out, keepdims, False)


@implements(np.nanmedian)
def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=np._NoValue):
    """The median of what is not nan; nan where nothing is left."""
    return _median("nanmedian", a, axis, out, keepdims is True, True)


__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]
