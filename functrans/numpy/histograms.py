"""Counting elements into bins, and piecewise linear interpolation."""

from __future__ import annotations

from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of, is_known, value_of
from ..trace.tracer import Tracer
from . import core
from .core import FUNCTIONS, asvalue, convert, implements, traced
from .indexing import take
from .shape import as_array, cut, dtype_of, ndim_of, ravel, reshaped, shape_of


def _counted(places, weights, length, dtype):
    """For each of ``length`` places the sum of the weights; places outside are not counted."""
    zeros = np.zeros(length, dtype)
    ones = np.ones(shape_of(places), dtype) if weights is None else convert(weights, dtype)
    return OPS["scatter_add"](zeros, ones, convert(places, np.int64), mode="drop")


def bincount(x, /, weights=None, minlength=0, *, length=None):
    """How often each of 0, 1, 2 ... occurs in x, or the sum of the weights there.

    ``length`` (as in JAX) fixes the result's length where x is not known; elements beyond it, and
    negative ones, are not counted. The derivative goes to the weights.

    >>> import numpy as np, functrans.numpy as fnp
    >>> from functrans import jit
    >>> jit(lambda x: fnp.bincount(x, length=4))(np.array([0, 2, 2]))
    array([1, 0, 2, 0])
    """
    if not traced([x, weights]) and length is None:
        return np.bincount(x, weights, minlength)
    places = as_array(x)
    a = aval_of(places)
    if a.ndim != 1 or a.dtype.kind not in "biu":
        raise errors.DtypeError(f"bincount counts a vector of integers, got {a}.")
    minlength = index(minlength)
    if length is None:
        if type(places) is Tracer and not is_known(places):
            raise errors.ConcretizationError(
                f"bincount of a traced {a}: the result's length depends on values not known here.",
                "Use functrans.numpy.bincount(x, length=n).")
        known = value_of(places) if type(places) is Tracer else places
        if known.size and known.min() < 0:
            raise ValueError("bincount: the elements must not be negative")
        length = max(minlength, int(known.max()) + 1 if known.size else 0)
    dtype = np.int64 if weights is None else np.float64
    return _counted(places, None if weights is None else as_array(weights), index(length), dtype)


FUNCTIONS[np.bincount] = bincount


def _edges(name, x, bins, range, weights=None):
    """The edges of bins for the elements of x."""
    if isinstance(bins, str):
        if type(x) is Tracer and not is_known(x):
            raise errors.ConcretizationError(
                f"{name}: bins={bins!r} depends on the values of a traced {aval_of(x)}, which are not known "
                "here.", "Give the number of bins, or their edges.")
        return np.histogram_bin_edges(value_of(x) if type(x) is Tracer else x, bins, range, weights)
    if type(bins) is Tracer or np.ndim(bins) == 1:
        edges = as_array(bins)
        if type(edges) is not Tracer and np.any(edges[:-1] > edges[1:]):
            raise ValueError(f"{name}: the edges of bins must increase monotonically")
        return edges
    count = index(bins)
    if count < 1:
        raise ValueError(f"{name}: the number of bins must be positive, got {count}")
    if range is not None:
        low, high = range
        if type(low) is not Tracer and type(high) is not Tracer and low > high:
            raise ValueError(f"{name}: the range must go upwards, got {range}")
    elif shape_of(x)[0] == 0:
        low, high = 0.0, 1.0
    else:
        low, high = np.min(x), np.max(x)
    kind = dtype_of(x) if dtype_of(x).kind == "f" else np.dtype(np.float64)
    low, high = [convert(as_array(v), kind) for v in (low, high)]
    one = low == high
    return np.linspace(np.where(one, low - 0.5, low), np.where(one, high + 0.5, high), count + 1, dtype=kind)


def _bin_of(x, edges):
    """The bin of each element; one after the last for those outside, which then fall away."""
    n = shape_of(edges)[0]
    dtype = core.result_type(x, edges)
    x, edges = convert(x, dtype), convert(edges, dtype)
    place = OPS["searchsorted"](edges, x, right=True) - 1
    place = np.where(np.equal(x, edges[n - 1]), n - 2, place)
    return np.where((place < 0) | np.isnan(x) if dtype.kind == "f" else place < 0, n - 1, place)


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a, bins=10, range=None, weights=None):
    """The edges of the bins that ``histogram`` would use."""
    return _edges("histogram_bin_edges", ravel(as_array(a)), bins, range, weights)


@implements(np.histogram)
def histogram(a, bins=10, range=None, density=None, weights=None):
    """(counts, edges): how many elements, or what weight, each bin has.

    Bins are half open but for the last. ``density`` divides by the whole and by the bins' widths. The
    derivative of counts goes to the weights; that of edges to the extrema.
    """
    x = ravel(as_array(a))
    if weights is not None:
        weights = as_array(weights)
        if shape_of(weights) != shape_of(as_array(a)):
            raise errors.ShapeError(f"histogram: weights have shape {shape_of(weights)}, a has "
                                    f"{shape_of(as_array(a))}.", "They must be equal.")
        weights = ravel(weights)
    edges = _edges("histogram", x, bins, range, weights)
    n = shape_of(edges)[0] - 1
    dtype = np.dtype(np.int64) if weights is None else dtype_of(weights)
    if dtype.kind == "b":
        dtype = np.dtype(np.int64)
    counts = _counted(_bin_of(x, edges), weights, n, dtype)
    if density:
        widths = np.diff(edges)
        counts = counts / widths / np.sum(counts)
    return counts, edges


@implements(np.histogramdd)
def histogramdd(sample, bins=10, range=None, density=None, weights=None):
    """(counts, list of edges): counts of points in boxes; ``sample`` has a row a point."""
    if isinstance(sample, (list, tuple)):
        columns = [ravel(as_array(c)) for c in sample]
    else:
        points = as_array(sample)
        if ndim_of(points) == 1:
            points = np.reshape(points, (-1, 1))
        columns = [reshaped(cut(points, 1, j, j + 1), shape_of(points)[:1])
                   for j in np.arange(shape_of(points)[1])]
    count = len(columns)
    if isinstance(bins, (int, np.integer, str)):
        bins = [bins] * count
    if len(bins) != count:
        raise ValueError(f"histogramdd: {len(bins)} bins for {count} columns")
    ranges = [None] * count if range is None else list(range)
    edges = [_edges("histogramdd", c, b, r) for c, b, r in zip(columns, bins, ranges, strict=True)]
    sizes = [shape_of(e)[0] - 1 for e in edges]
    place, outside = 0, False
    for column, edge, n in zip(columns, edges, sizes, strict=True):
        at = _bin_of(column, edge)
        outside = np.logical_or(outside, at >= n)
        place = place * n + at
    total = int(np.prod(sizes))
    weights = None if weights is None else ravel(as_array(weights))
    counts = reshaped(_counted(np.where(outside, total, place), weights, total, np.float64), tuple(sizes))
    if density:
        whole = np.sum(counts)
        for axis, edge in enumerate(edges):
            counts = counts / np.reshape(np.diff(edge), [-1 if i == axis else 1 for i, _ in enumerate(edges)])
        counts = counts / whole
    return counts, edges


@implements(np.histogram2d)
def histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    """(counts, x edges, y edges) of points in the plane."""
    single = not isinstance(bins, (int, np.integer, str)) and len(bins) not in (1, 2)
    counts, edges = histogramdd.traced([x, y], [bins, bins] if single else bins, range, density, weights)
    return counts, edges[0], edges[1]


# ----- interpolation --------------------------------------------------------------------------------


@implements(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None):
    """The piecewise linear function through (xp, fp) at x; ``xp`` must increase.

    Outside it is fp[0] and fp[-1], or ``left`` and ``right``; with ``period``, xp and x are taken modulo
    it. All operands have derivatives.

    >>> import numpy as np
    >>> from functrans import grad
    >>> float(grad(lambda x: np.interp(x, [0.0, 1.0, 3.0], [0.0, 5.0, 1.0]))(2.0))
    -2.0
    """
    x, xp, fp = [as_array(asvalue(v)) for v in (x, xp, fp)]
    if ndim_of(xp) != 1 or shape_of(xp) != shape_of(fp) or not shape_of(xp)[0]:
        raise errors.ShapeError(f"interp: xp and fp must be vectors of one length, got {aval_of(xp)} and "
                                f"{aval_of(fp)}.")
    dtype = np.dtype(np.float64)
    x, xp, fp = [convert(v, np.result_type(dtype_of(v), dtype)) for v in (x, xp, fp)]
    if period is not None:
        if type(period) is not Tracer and period == 0:
            raise ValueError("interp: period must not be 0")
        period = np.abs(period)
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(xp)
        xp, fp = take(xp, order), take(fp, order)
        n = shape_of(xp)[0]
        xp = np.concatenate([cut(xp, 0, n - 1, n) - period, xp, cut(xp, 0, 0, 1) + period])
        fp = np.concatenate([cut(fp, 0, n - 1, n), fp, cut(fp, 0, 0, 1)])
    n = shape_of(xp)[0]
    last = fp[n - 1]
    low = fp[0] if left is None or period is not None else left
    high = last if right is None or period is not None else right
    if n == 1:
        inside = last
    else:
        at = np.clip(OPS["searchsorted"](xp, x, right=True), 1, n - 1)
        x0, x1, f0, f1 = [take(v, i, mode="clip") for v, i in ((xp, at - 1), (xp, at), (fp, at - 1),
                                                                  (fp, at))]
        step = x1 - x0
        flat = step == 0
        slope = (f1 - f0) / np.where(flat, 1.0, step)
        inside = np.where(flat, f1, f0 + slope * (x - x0))
        inside = np.where(x == xp[n - 1], last, inside)
    found = np.where(x < xp[0], low, np.where(x > xp[n - 1], high, inside))
    return np.where(np.isnan(x), x, found)


__all__ = ["bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd", "interp"]
