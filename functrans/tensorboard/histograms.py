"""Histograms as TensorBoard reads them."""

from __future__ import annotations

from functools import cache

import numpy as np

from .. import plan
from ..ops.monitoring import COLUMNS, bucket_limits, statistics
from . import wire

limits = cache(bucket_limits)


def row_of(x: np.ndarray) -> np.ndarray:
    """The statistics of an array of real numbers, with a histogram."""
    x = np.ascontiguousarray(x, np.float32 if x.dtype in (np.float16, np.float32) else np.float64)
    return plan.run_op(statistics, [x], {"bins": True})[0]


def histogram(row: np.ndarray) -> tuple[bytes | None, int]:
    """A HistogramProto of an array's statistics, and how many of its elements are not finite.

    None where no element is finite. Runs of empty buckets become one, which tells where the next begins.
    """
    count, _, nonfinite, total, squares, most, minus_least = row[:len(COLUMNS)]
    finite = count - nonfinite
    if not finite:
        return None, int(nonfinite)
    buckets = row[len(COLUMNS):]
    used = np.flatnonzero(buckets)
    first, last = max(used[0] - 1, 0), used[-1] + 1
    part = buckets[first:last]
    keep = (part > 0) | np.append(part[1:] > 0, False)
    return b"".join([
        wire.double(1, -minus_least), wire.double(2, most), wire.double(3, finite), wire.double(4, total),
        wire.double(5, squares), wire.doubles(6, limits()[first:last][keep]), wire.doubles(7, part[keep]),
    ]), int(nonfinite)
