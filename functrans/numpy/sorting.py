"""Order: sorted values, the positions that sort, parts, and places in sorted arrays."""

from __future__ import annotations

from functools import partial
from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..ops.sort import PIVOTS
from ..trace.tracer import Tracer
from . import core
from .core import FUNCTIONS, METHODS, asvalue, axis_of, convert, implements, traced
from .indexing import take
from .shape import as_array, cut, dtype_of, known_array, ndim_of, ravel, shape_of, supported

_KINDS = (None, "quicksort", "mergesort", "heapsort", "stable")


def _operand(name, a, axis, kind=None, order=None, stable=None):
    """The array and the axis to sort along; what NumPy would refuse is refused."""
    if order is not None:
        raise errors.NotSupportedError(f"{name}: order= names fields, which traced arrays do not have.",
                                       "Leave it out.")
    if kind not in _KINDS:
        raise ValueError(f"{name}: kind must be one of {_KINDS[1:]}, got {kind!r}")
    if stable is not None and kind is not None:
        raise ValueError(f"{name}: give either kind or stable")
    x = as_array(a)
    supported(dtype_of(x))
    if axis is None:
        return ravel(x), 0
    if not ndim_of(x) and name.startswith("arg") and axis in (0, -1):
        return ravel(x), 0                      # as NumPy
    if not ndim_of(x):
        raise errors.AxisError(f"{name} of a scalar: it has no axis to sort along.",
                               "Use np.atleast_1d, or axis=None.", axis=axis, ndim=0)
    return x, axis_of(axis, ndim_of(x))


def _order(x, axis, descending=False):
    """Positions that sort x, stable; complex numbers by real part, then imaginary part."""
    if dtype_of(x).kind == "c":
        real, imag = np.real(x), np.imag(x)
        broken = 2 * convert(np.isnan(real), np.int8) + convert(np.isnan(imag), np.int8)
        return _lexical((imag, real, broken), axis)
    return OPS["argsort"](x, axis=axis, descending=descending)


def _lexical(keys, axis):
    """Positions that sort by the last key, then the one before, and so on."""
    found = None
    for key in keys:
        if found is None:
            found = _order(key, axis)
        else:
            again = _order(np.take_along_axis(key, found, axis), axis)
            found = np.take_along_axis(found, again, axis)
    return found


def sort(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    """Elements in ascending order along an axis; nan last, equal elements in their order.

    Args:
      a: array of a real dtype (complex numbers are ordered by real part, then imaginary part).
      axis: an integer, or None for the flattened array.
      kind, stable: accepted as by NumPy; traced arrays are always sorted by a stable method.
      descending: greatest first (nan first); NumPy has no such argument.

    The derivative moves as the elements do; at ties it follows the stable order.

    >>> import numpy as np
    >>> from functrans import grad
    >>> grad(lambda x: np.sort(x) @ np.array([1.0, 10.0, 100.0]))(np.array([3.0, 1.0, 2.0]))
    array([100.,   1.,  10.])
    """
    if not traced(a) and not descending:
        return np.sort(a, axis, kind, order, stable=stable)
    x, axis = _operand("sort", a, axis, kind, order, stable)
    if dtype_of(x).kind == "c":
        found = np.take_along_axis(x, _order(x, axis), axis)
    else:
        found = OPS["sort"](x, axis=axis)
    return np.flip(found, axis) if descending else found


def argsort(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    """int64 positions that sort ``a`` along an axis, as by ``sort``; of equal elements the first first.

    >>> import functrans.numpy as fnp
    >>> fnp.argsort([3.0, 1.0, 2.0, 3.0], descending=True)
    array([0, 3, 2, 1])
    """
    if not traced(a) and not descending:
        return np.argsort(a, axis, kind, order, stable=True if kind is stable is None else stable)
    x, axis = _operand("argsort", a, axis, kind, order, stable)
    if descending and dtype_of(x).kind == "c":
        raise errors.DtypeError(f"argsort: descending order is for real numbers, got {core.aval_of(x)}.",
                                "Sort -x.")
    return _order(x, axis, bool(descending))


FUNCTIONS[np.sort], FUNCTIONS[np.argsort] = sort, argsort


@implements(np.lexsort)
def lexsort(keys, axis=-1):
    """Positions that sort by the last key, ties by the one before it, and so on."""
    if isinstance(keys, (list, tuple)):
        keys = [as_array(k) for k in keys]
    else:
        keys = [keys[i] for i in range(shape_of(keys)[0])]
    if not keys:
        raise TypeError("lexsort needs at least one key")
    if len({shape_of(k) for k in keys}) > 1:
        raise errors.ShapeError(f"lexsort: keys have shapes {[shape_of(k) for k in keys]}.",
                                "They must be equal.")
    if not ndim_of(keys[0]):
        return np.int64(0)
    return _lexical(keys, axis_of(axis, ndim_of(keys[0])))


@implements(np.sort_complex)
def sort_complex(a):
    """The elements as complex numbers, sorted along the last axis by real, then imaginary part."""
    x = as_array(a)
    if dtype_of(x).kind != "c":
        narrow = dtype_of(x).itemsize < 4 and dtype_of(x).kind in "iu"
        x = convert(x, np.complex64 if narrow else np.complex128)
    return sort(x)


def _places(name, kth, n):
    """The places to part at, ascending and from 0; None where sorting is as good: there are many."""
    found = set()
    kth = asvalue(list(kth) if isinstance(kth, range) else kth)
    for k in np.atleast_1d(known_array(kth, name, "Mark kth as static, or use np.sort.")):
        if not -n <= index(k) < max(n, 1):          # NumPy lets 0 pass where there is nothing
            raise ValueError(f"{name}: kth {k} is out of bounds for {n} elements")
        found.add(int(k) % max(n, 1))
    return tuple(sorted(found)) if n and 0 < len(found) <= PIVOTS else None


def partition(a, kth, axis=-1, kind="introselect", order=None):
    """A rearrangement with element ``kth`` (one or several) in its sorted place, no greater one before it and
    no smaller one behind it.

    What NumPy leaves open: here the elements less than it keep their order, so do those that equal it, and
    those that are greater. Takes time in proportion to the length.

    >>> import functrans.numpy as fnp
    >>> fnp.partition([5.0, 1.0, 4.0, 2.0, 3.0], 2)
    array([1., 2., 3., 5., 4.])
    """
    x, axis = _operand("partition", a, axis, None, order)
    kth = _places("partition", kth, shape_of(x)[axis])
    if kth is None or dtype_of(x).kind == "c":
        return sort(x, axis)
    return OPS["partition"](x, kth=kth, axis=axis)


def argpartition(a, kth, axis=-1, kind="introselect", order=None):
    """The positions of the elements of ``partition``."""
    x, axis = _operand("argpartition", a, axis, None, order)
    kth = _places("argpartition", kth, shape_of(x)[axis])
    if kth is None or dtype_of(x).kind == "c":
        return _order(x, axis)
    return OPS["argpartition"](x, kth=kth, axis=axis)


FUNCTIONS[np.partition], FUNCTIONS[np.argpartition] = partition, argpartition


# ----- places in sorted arrays -----------------------------------------------------------------


def _merged(a, v, right):
    """As _searched, of complex numbers: how many of a stand before each of v when both are sorted."""
    n, values = shape_of(a)[0], ravel(v)
    both = np.concatenate([a, values] if right else [values, a])
    order = _order(both, 0)
    from_a = order < n if right else order >= shape_of(values)[0]
    places = np.argsort(order)[n:] if right else np.argsort(order)[:shape_of(values)[0]]
    return np.reshape(take(np.cumsum(from_a), places, mode="clip"), shape_of(v))


def _searched(a, v, right):
    """Positions in the sorted vector a before which the elements of v belong."""
    dtype = core.result_type(a, v)
    if dtype.kind == "c":
        return _merged(convert(a, dtype), convert(v, dtype), right)
    return OPS["searchsorted"](convert(a, dtype), convert(v, dtype), right=right)


@implements(np.searchsorted)
def searchsorted(a, v, side="left", sorter=None):
    """Positions in the sorted vector ``a`` before which ``v`` would keep it sorted.

    ``side="left"``: before equal elements; "right": behind them. int64, in the shape of ``v``.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    x, v = as_array(a), as_array(v)
    if ndim_of(x) != 1:
        raise errors.ShapeError(f"searchsorted: the sorted array must have one axis, got "
                                f"{core.aval_of(x)}.", "Use vmap for several.")
    if sorter is not None:
        x = take(x, as_array(sorter), mode="clip")
    return _searched(x, v, side == "right")


@implements(np.digitize)
def digitize(x, bins, right=False):
    """The bin of each element: ``bins[i-1] <= x < bins[i]`` (with ``right``: ``<`` and ``<=``).

    Bins that descend count down, as in NumPy. Traced bins whose values are not known are looked at when
    the function runs; they must be monotonic then.
    """
    x, bins = as_array(x), as_array(bins)
    if ndim_of(bins) != 1:
        raise errors.ShapeError(f"digitize: bins must have one axis, got {core.aval_of(bins)}.")
    n = shape_of(bins)[0]
    side = not right
    up = _searched(bins, x, side)
    if type(bins) is not Tracer:
        steps = np.diff(bins)
        if np.all(steps >= 0):
            return up
        if not np.all(steps <= 0):
            raise ValueError("bins must be monotonically increasing or decreasing")
        return n - _searched(bins[::-1], x, side)
    if n < 2:
        return up
    falls = np.greater(cut(bins, 0, 0, 1), cut(bins, 0, n - 1, n))
    return np.where(np.reshape(falls, ()), n - _searched(np.flip(bins), x, side), up)


# ----- methods -------------------------------------------------------------------------------------


def _in_place(name, instead):
    def method(x):
        def call(*args, **kwargs):
            raise errors.InPlaceError(f"x.{name} would change a traced {x.aval} in place.", instead)
        return call
    return method


METHODS["argsort"] = partial(partial, argsort)
METHODS["argpartition"] = partial(partial, argpartition)
METHODS["searchsorted"] = partial(partial, searchsorted.traced)
METHODS["sort"] = _in_place("sort", "Write x = np.sort(x).")
METHODS["partition"] = _in_place("partition", "Write x = np.partition(x, kth).")

__all__ = ["argpartition", "argsort", "digitize", "lexsort", "partition", "searchsorted", "sort",
           "sort_complex"]
