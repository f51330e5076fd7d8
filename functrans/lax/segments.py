"""Sums, products and extrema of the parts of an array that segment numbers name, as in ``jax.ops``."""

from __future__ import annotations

import math

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import convert
from ..numpy.index import reshaped
from ..ops.index import reach
from ..trace.core import aval_of, is_known, value_of
from ..trace.tracer import Tracer
from .indexing import GatherScatterMode
from .ops import _operand, _spread


def _identity(kind, dtype):
    """What an operation leaves as it is."""
    if kind in ("add", "mul"):
        return dtype.type(kind == "mul")
    low = kind == "max"
    if dtype.kind == "b":
        return dtype.type(not low)
    if dtype.kind == "f":
        return dtype.type(-np.inf if low else np.inf)
    return dtype.type(np.iinfo(dtype).min if low else np.iinfo(dtype).max)


def _count(name, ids):
    """The number of segments that known numbers speak of."""
    if type(ids) is Tracer and not is_known(ids):
        raise errors.ConcretizationError(
            f"{name}: the number of segments follows from the values of segment_ids, {aval_of(ids)}, which "
            "are not known here.", "Give num_segments=.")
    ids = np.asarray(value_of(ids) if type(ids) is Tracer else ids)
    return int(ids.max()) + 1 if ids.size else 0


def _segments(name, kind, data, segment_ids, num_segments, mode, bucket_size):
    data, ids = _operand(data), _operand(segment_ids)
    a, i = aval_of(data), aval_of(ids)
    if i.dtype.kind not in "iu":
        raise errors.DtypeError(f"{name}: segment_ids must be integers, got {i}.",
                                "Convert them with astype(int).")
    if not i.ndim or a.shape[:i.ndim] != i.shape:
        raise errors.ShapeError(f"{name}: segment_ids {i} must have the leading axes of data, {a}.",
                                "Give the number of a segment for each row of data.")
    if a.dtype.kind == "c" and kind in ("max", "min"):
        raise errors.DtypeError(f"{name} is not defined for {a}.", "Complex numbers have no order.")
    count = _count(name, ids) if num_segments is None else num_segments.__index__()
    if count < 0:
        raise ValueError(f"{name}: num_segments must not be negative, got {count}")
    rows, rest = math.prod(i.shape), a.shape[i.ndim:]
    data, ids = reshaped(data, (rows, *rest)), reshaped(ids, (rows,))
    if a.dtype == np.bool_:
        kind = {"add": "max", "mul": "min"}.get(kind, kind)
    start, how = _identity(kind, a.dtype), GatherScatterMode.from_any(mode)
    write = "drop" if how is GatherScatterMode.FILL_OR_DROP else "clip"
    buckets = 1 if bucket_size is None else max(-(-rows // bucket_size), 1)
    if buckets == 1:
        return OPS[f"scatter_{kind}"](_spread(start, (count, *rest)), data, ids, **reach(write))
    out = OPS[f"scatter_{kind}"](_spread(start, (buckets, count, *rest)), data,
                                 np.arange(rows) // bucket_size, convert(ids, np.int64), **reach(write))
    return OPS[f"reduce_{'sum' if kind == 'add' else 'prod' if kind == 'mul' else kind}"](out, axes=(0,))


def segment_sum(data, segment_ids, num_segments: int | None = None, indices_are_sorted: bool = False,
                unique_indices: bool = False, bucket_size: int | None = None, mode=None):
    """Sums of the rows of ``data`` that have the same segment number.

    Args:
      data: any number; shape ``segment_ids.shape + rest``.
      segment_ids: integers. Those that are not in 0 .. num_segments - 1 are left out (``mode="clip"``: they
        go to the nearest).
      num_segments: of the result; None: the largest number and one more, which must be known (under jit and
        vmap, give it).
      indices_are_sorted, unique_indices: promises on which nothing depends.
      bucket_size: sums of so many rows each are made first, then added up, which loses less to rounding.

    Returns:
      ``[num_segments, *rest]``, 0 for segments without rows.

    >>> functrans.lax.segment_sum(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 0]), 3)
    array([4., 0., 2.])
    """
    return _segments("segment_sum", "add", data, segment_ids, num_segments, mode, bucket_size)


def segment_prod(data, segment_ids, num_segments: int | None = None, indices_are_sorted: bool = False,
                 unique_indices: bool = False, bucket_size: int | None = None, mode=None):
    """Products of the rows that have the same segment number, as ``segment_sum``; 1 where there are none.

    >>> functrans.lax.segment_prod(np.array([4.0, 2.0, 3.0]), np.array([0, 2, 0]), 3)
    array([12.,  1.,  2.])
    """
    return _segments("segment_prod", "mul", data, segment_ids, num_segments, mode, bucket_size)


def segment_max(data, segment_ids, num_segments: int | None = None, indices_are_sorted: bool = False,
                unique_indices: bool = False, bucket_size: int | None = None, mode=None):
    """Maxima of the rows that have the same segment number, as ``segment_sum``; -inf (the smallest integer,
    False) where there are none. Equal maxima share their gradient.

    >>> functrans.lax.segment_max(np.array([4.0, 2.0, 3.0]), np.array([0, 2, 0]), 3)
    array([  4., -inf,   2.])
    """
    return _segments("segment_max", "max", data, segment_ids, num_segments, mode, bucket_size)


def segment_min(data, segment_ids, num_segments: int | None = None, indices_are_sorted: bool = False,
                unique_indices: bool = False, bucket_size: int | None = None, mode=None):
    """Minima of the rows that have the same segment number, as ``segment_max``; inf where there are none.

    >>> functrans.lax.segment_min(np.array([4.0, 2.0, 3.0]), np.array([0, 2, 0]), 3)
    array([ 3., inf,  2.])
    """
    return _segments("segment_min", "min", data, segment_ids, num_segments, mode, bucket_size)


__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]
