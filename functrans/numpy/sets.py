"""Sets of values: unique elements, membership, and sets of two arrays.

How many elements a result has depends on values. Where they are not known (jit, vmap) ``size`` fixes the
number: surplus elements are cut off, missing ones are ``fill_value``, by default the least element.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of, is_known, value_of
from ..trace.tracer import Tracer
from .core import FUNCTIONS, axis_of, convert, implements, promote, traced
from .indexing import take
from .shape import as_array, cut, dtype_of, ndim_of, ravel, shape_of
from .values import flatnonzero

UniqueAll = type(np.unique_all([0]))
UniqueCounts = type(np.unique_counts([0]))
UniqueInverse = type(np.unique_inverse([0]))


class _Runs(NamedTuple):
    """A sorted array whose first elements of runs are marked."""

    rows: object          # one row (or element) each
    order: object         # positions of the rows before they were sorted
    first: object         # bool: whether a run of equal rows begins here


def _known(x, name, size):
    """Whether the result may have the size that its values give it."""
    if type(x) is not Tracer or is_known(x):
        return size is None
    if size is None:
        raise errors.ConcretizationError(
            f"{name} of a traced {aval_of(x)}: the result's shape depends on values not known here.",
            f"Use functrans.numpy.{name}(..., size=n), which gives n elements.")
    return False


def _equal(a, b, equal_nan):
    same = np.equal(a, b)
    if equal_nan and dtype_of(a).kind in "fc":
        same = same | (np.isnan(a) & np.isnan(b))
    return same


def _runs(x, equal_nan):
    """x sorted along its first axis: rows by their first element, then the next."""
    n = shape_of(x)[0]
    rows = np.reshape(x, (n, -1)) if ndim_of(x) > 1 else x
    if ndim_of(x) > 1:
        order = np.lexsort(tuple([rows[:, j] for j in range(shape_of(rows)[1] - 1, -1, -1)]))
    else:
        order = np.argsort(x, stable=True)
    rows = take(x, order, 0)
    if n < 2:
        return _Runs(rows, order, np.ones(n, bool))
    same = _equal(cut(rows, 0, 1, n), cut(rows, 0, 0, n - 1), equal_nan)
    if ndim_of(x) > 1:
        same = np.all(np.reshape(same, (n - 1, -1)), 1)
    return _Runs(rows, order, np.concatenate([np.ones(1, bool), ~same]))


def _picked(rows, keep, size, fill_value):
    """The rows that are kept, their places (-1: missing); ``size`` None: as many as there are."""
    if size is None:
        keep = value_of(keep) if type(keep) is Tracer else keep
        places = np.flatnonzero(keep)
        return take(rows, places, 0), places
    n = shape_of(rows)[0]
    places = flatnonzero(keep, size=size, fill_value=-1)
    if n == 0:
        value = 0 if fill_value is None else fill_value
        return np.full((size, *shape_of(rows)[1:]), value, dtype_of(rows)), places
    got = take(rows, np.maximum(places, 0), 0, mode="clip")
    if fill_value is None:
        fill = got[:1] if size else got
    else:
        fill = convert(as_array(fill_value), dtype_of(rows))
    missing = np.reshape(places < 0, (size, *[1] * (ndim_of(rows) - 1)))
    return np.where(missing, fill, got), places


def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True,
           sorted=True, size=None, fill_value=None):
    """Sorted unique elements (or slices along ``axis``), and what NumPy gives besides them.

    Args:
      return_index: first positions; return_inverse: where each element went; return_counts.
      size, fill_value: as said above, for values that are not known. Counts of missing ones are 0.

    The derivative goes to the first of equal elements.

    >>> import numpy as np, functrans.numpy as fnp
    >>> from functrans import jit
    >>> jit(lambda x: fnp.unique(x, size=4, fill_value=-1))(np.array([3, 1, 3]))
    array([ 1,  3, -1, -1])
    """
    extra = {} if sorted else {"sorted": False}
    if not traced(ar) and size is None:
        return np.unique(ar, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan, **extra)
    x = as_array(ar)
    whole = axis is None
    shape = shape_of(x)
    if whole:
        x = ravel(x)
    else:
        axis = axis_of(axis, ndim_of(x))
        x = np.moveaxis(x, axis, 0)
    _known(x, "unique", size)
    n = shape_of(x)[0]
    runs = _runs(x, equal_nan)
    values, places = _picked(runs.rows, runs.first, size, fill_value)
    results = [values if whole else np.moveaxis(values, 0, axis)]
    if return_index:
        found = take(runs.order, np.maximum(places, 0), mode="clip") if n else np.maximum(places, 0)
        results.append(found)
    if return_inverse:
        number = np.cumsum(runs.first) - 1
        inverse = OPS["scatter_set"](np.zeros(n, np.int64), convert(number, np.int64), runs.order,
                                     mode="drop")
        results.append(np.reshape(inverse, shape) if whole else inverse)
    if return_counts:
        ends = np.where(places < 0, n, places)
        counts = np.diff(ends, append=n) if size != 0 else ends
        results.append(np.where(places < 0, 0, counts))
    return results[0] if len(results) == 1 else tuple(results)


FUNCTIONS[np.unique] = unique


def unique_values(x, *, size=None, fill_value=None):
    """The unique elements of the flattened array; nan are kept apart, as the array API says."""
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)


def unique_counts(x, *, size=None, fill_value=None):
    """Unique elements and how often each is there."""
    return UniqueCounts(*unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_inverse(x, *, size=None, fill_value=None):
    """Unique elements, and for each element of x its place among them."""
    return UniqueInverse(*unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_all(x, *, size=None, fill_value=None):
    """Unique elements, their first positions, the places of all elements, and counts."""
    return UniqueAll(*unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value))




# ----- membership, and two arrays --------------------------------------------------------------------


@implements(np.isin)
def isin(element, test_elements, assume_unique=False, invert=False, *, kind=None):
    """Whether each element is among ``test_elements``: a bool array in the shape of ``element``."""
    x, tests = promote(as_array(element), ravel(as_array(test_elements)))
    n = shape_of(tests)[0]
    if n == 0:
        return np.full(shape_of(x), bool(invert))
    if dtype_of(x).kind == "c":
        hit = np.any(np.equal(np.expand_dims(x, -1), tests), -1)
    else:
        tests = OPS["sort"](tests, axis=0)
        at = np.minimum(OPS["searchsorted"](tests, x, right=False), n - 1)
        hit = np.equal(take(tests, at, mode="clip"), x)
    return ~hit if invert else hit


def _two(name, a, b, joined, keep, size, fill_value):
    x, y = promote(ravel(as_array(a)), ravel(as_array(b)))
    both = np.concatenate([x, y])
    _known(both, name, size)
    runs = _runs(both if joined else x, True)
    return _picked(runs.rows, runs.first & keep(runs.rows, x, y), size, fill_value)[0]


def union1d(ar1, ar2, *, size=None, fill_value=None):
    """Sorted unique elements of either array."""
    if not traced([ar1, ar2]) and size is None:
        return np.union1d(ar1, ar2)
    return _two("union1d", ar1, ar2, True, lambda s, x, y: np.ones(shape_of(s), bool), size, fill_value)


def intersect1d(ar1, ar2, assume_unique=False, return_indices=False, *, size=None, fill_value=None):
    """Sorted unique elements that both arrays have, and their first positions in each if asked for."""
    if not traced([ar1, ar2]) and size is None:
        return np.intersect1d(ar1, ar2, assume_unique, return_indices)
    found = _two("intersect1d", ar1, ar2, False, lambda s, x, y: isin.traced(s, y), size, fill_value)
    if not return_indices:
        return found
    positions = []
    for a in (ar1, ar2):
        x, key = promote(ravel(as_array(a)), found)
        order = OPS["argsort"](x, axis=0, descending=False)
        at = OPS["searchsorted"](take(x, order), key, right=False)
        positions.append(take(order, np.minimum(at, shape_of(x)[0] - 1), mode="clip")
                         if shape_of(x)[0] else at)
    return (found, *positions)


def setdiff1d(ar1, ar2, assume_unique=False, *, size=None, fill_value=None):
    """Sorted unique elements of the first array that the second does not have."""
    if not traced([ar1, ar2]) and size is None:
        return np.setdiff1d(ar1, ar2, assume_unique)
    return _two("setdiff1d", ar1, ar2, False, lambda s, x, y: ~isin.traced(s, y), size, fill_value)


def setxor1d(ar1, ar2, assume_unique=False, *, size=None, fill_value=None):
    """Sorted unique elements that exactly one of the arrays has."""
    if not traced([ar1, ar2]) and size is None:
        return np.setxor1d(ar1, ar2, assume_unique)
    return _two("setxor1d", ar1, ar2, True,
                lambda s, x, y: np.not_equal(isin.traced(s, x), isin.traced(s, y)), size, fill_value)


for _function in (unique_values, unique_counts, unique_inverse, unique_all, union1d, intersect1d, setdiff1d,
                  setxor1d):
    FUNCTIONS[getattr(np, _function.__name__)] = _function

__all__ = ["intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all",
           "unique_counts", "unique_inverse", "unique_values"]
