"""Ranks, modes and standard errors of samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ... import errors
from ...numpy.core import asvalue, aval_of, axis_of, convert


def _check(nan_policy):
    if nan_policy not in ("propagate", "omit", "raise"):
        raise errors.ArgumentError(f"nan_policy must be 'propagate', got {nan_policy!r}.")
    if nan_policy != "propagate":
        raise errors.NotSupportedError(f"nan_policy={nan_policy!r}.",
                                       "Only 'propagate' is there: shapes are fixed.")


def _along(x, axis):
    """x as an array, and the axis (None: of all elements)."""
    x = asvalue(x)
    if axis is None:
        return np.reshape(x, (-1,)), 0
    return x, axis_of(axis, aval_of(x).ndim)


def rankdata(a, method="average", *, axis=None, nan_policy="propagate"):
    """Ranks from 1 on, along an axis (None: of all elements).

    ``method`` says what equal elements get: "average", "min", "max", "dense" or "ordinal". Results are
    float64 for "average", else int64; of "average" a NaN makes all ranks along that axis NaN.

    >>> from functrans.scipy.stats import rankdata
    >>> rankdata(np.array([0.5, 2.0, 0.5]))
    array([1.5, 3. , 1.5])
    """
    _check(nan_policy)
    if method not in ("average", "min", "max", "dense", "ordinal"):
        raise errors.ArgumentError(f"rankdata: unknown method {method!r}.",
                                   "Use 'average', 'min', 'max', 'dense' or 'ordinal'.")
    x, axis = _along(a, axis)
    x = np.moveaxis(x, axis, -1)
    n = aval_of(x).shape[-1]
    order = np.argsort(x, -1, kind="stable")
    place = np.argsort(order, -1, kind="stable")            # of each element among the sorted ones
    if method == "ordinal":
        return np.moveaxis(place + 1, -1, axis)
    ordered = np.take_along_axis(x, order, -1)
    changes = ordered[..., 1:] != ordered[..., :-1]
    new = np.concatenate([np.ones((*aval_of(x).shape[:-1], min(n, 1)), bool), changes], -1)
    group = np.cumsum(new, -1)                              # which of the different values, from 1 on
    if method == "dense":
        return np.moveaxis(np.take_along_axis(group, place, -1), -1, axis)
    at = np.arange(n)
    first = np.maximum.accumulate(np.where(new, at, 0), -1)
    ends = np.concatenate([changes, np.ones((*aval_of(x).shape[:-1], min(n, 1)), bool)], -1)
    last = np.flip(np.minimum.accumulate(np.flip(np.where(ends, at, n), -1), -1), -1)
    ranks = {"min": first + 1, "max": last + 1, "average": None}[method]
    if ranks is None:
        ranks = 0.5 * convert(first + last, np.float64) + 1.0
    ranks = np.take_along_axis(ranks, place, -1)
    if method == "average" and aval_of(x).dtype.kind == "f":
        ranks = np.where(np.any(np.isnan(x), -1, keepdims=True), np.nan, ranks)
    return np.moveaxis(ranks, -1, axis)


class ModeResult(NamedTuple):
    """The most frequent value, and how often it is there."""

    mode: object
    count: object  # type: ignore[assignment]     # SciPy's name, which tuples have as a method


def mode(a, axis=0, nan_policy="propagate", keepdims=False):
    """The most frequent value along an axis (the least of several), and its count.

    >>> from functrans.scipy.stats import mode
    >>> int(mode(np.array([3, 1, 3, 2, 1])).mode)
    1
    """
    _check(nan_policy)
    ndim = aval_of(asvalue(a)).ndim
    x, where = _along(a, axis)
    x = np.sort(np.moveaxis(x, where, -1), -1)
    n = aval_of(x).shape[-1]
    if n == 0:
        raise errors.ShapeError(f"mode: axis {axis} of {aval_of(asvalue(a))} has no elements.")
    at = np.arange(n)
    same = np.concatenate([np.zeros((*aval_of(x).shape[:-1], 1), bool), x[..., 1:] == x[..., :-1]], -1)
    run = at - np.maximum.accumulate(np.where(same, 0, at), -1)      # how many equal ones before
    best = np.argmax(run, -1, keepdims=True)
    value = np.take_along_axis(x, best, -1)[..., 0]
    count = np.take_along_axis(run, best, -1)[..., 0] + 1
    if keepdims:
        axes = tuple(range(ndim)) if axis is None else where
        value, count = np.expand_dims(value, axes), np.expand_dims(count, axes)
    return ModeResult(value, count)


def sem(a, axis=0, ddof=1, nan_policy="propagate", *, keepdims=False):
    """The standard error of the mean: the standard deviation over the root of the number.

    >>> from functrans.scipy.stats import sem
    >>> float(sem(np.array([1.0, 2.0, 4.0])))
    0.8819171036...
    """
    _check(nan_policy)
    x = asvalue(a)
    n = aval_of(x).size if axis is None else aval_of(x).shape[axis_of(axis, aval_of(x).ndim)]
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims) / np.sqrt(n)


__all__ = ["rankdata", "mode", "sem"]
