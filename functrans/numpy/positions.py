"""Positions as values: insert and delete, choose, flat and per-axis positions, ix_, r_, c_, mgrid, ogrid."""

from __future__ import annotations

import math
from operator import index as as_int

import numpy as np

from .. import errors
from ..trace.core import is_known, value_of
from ..trace.tracer import Tracer
from . import core
from .core import aval_of, axis_of, convert, implements, refuse_out, traced
from .index import gather
from .indexing import at, integers
from .shape import as_array, cut, known_array, ravel, shape_of, taken

# ----- insert, delete -------------------------------------------------------------------------------


def _places(obj, name):
    """``obj`` as a slice, a known array, or a traced array of integers."""
    if isinstance(obj, slice):
        return obj
    if type(obj) is Tracer and is_known(obj):
        obj = value_of(obj)
    obj = core.asvalue(obj)
    if aval_of(obj).dtype == np.bool_:
        return known_array(obj, f"{name} with a mask", "Give positions, or keep the shape: np.where.")
    return integers(obj, f"{name}: positions")


def _joined(pieces, axis):
    pieces = [p for p in pieces if shape_of(p)[axis]]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis)


def delete(arr, obj, axis=None, *, assume_unique_indices=False):
    """arr without the parts at ``obj`` (an integer, a slice, integers, a known mask) along an axis.

    Several positions that are not known may be one position twice, which the result's shape would depend on:
    ``assume_unique_indices`` says that they are not.

    >>> functrans.jit(lambda x, i: functrans.numpy.delete(x, i))(np.arange(4.0), 2)
    array([0., 1., 3.])
    """
    if not traced((arr, obj)):
        return np.delete(arr, obj, axis)
    arr = as_array(arr)
    arr, axis = (ravel(arr), 0) if axis is None else (arr, axis_of(axis, len(shape_of(arr))))
    n, obj = shape_of(arr)[axis], _places(obj, "delete")
    if type(obj) is Tracer:
        count = obj.size
        if obj.ndim and count > 1 and not assume_unique_indices:
            raise errors.ConcretizationError(
                f"delete: the positions {obj.aval} are not known here, nor is how many of them differ.",
                "Say assume_unique_indices=True, or np.where to keep the shape.")
        gone = at(np.zeros(n, bool))[ravel(obj)].set(True)
        return taken(arr, np.argsort(gone, stable=True)[:n - count], axis)
    kept = np.delete(np.arange(n), obj)
    ends = np.flatnonzero(np.diff(kept) != 1)
    if len(ends) < 16 and len(kept):                    # a few runs: slices
        first, last = kept[np.r_[0, ends + 1]], kept[np.r_[ends, len(kept) - 1]]
        return _joined([cut(arr, axis, int(a), int(b) + 1) for a, b in zip(first, last, strict=True)], axis)
    return taken(arr, kept, axis)


core.FUNCTIONS[np.delete] = delete


@implements(np.insert)
def insert(arr, obj, values, axis=None):
    """arr with ``values`` put in before the positions ``obj`` along an axis."""
    arr, values = as_array(arr), as_array(values)
    arr, axis = (ravel(arr), 0) if axis is None else (arr, axis_of(axis, len(shape_of(arr))))
    shape, dtype = shape_of(arr), aval_of(arr).dtype
    n, obj = shape[axis], _places(obj, "insert")
    if isinstance(obj, slice):
        obj = np.arange(*obj.indices(n))
    if obj.dtype == np.bool_:
        obj = np.flatnonzero(obj)
    if obj.ndim > 1:
        raise errors.ShapeError(f"insert: positions must be an integer or have one axis, got {aval_of(obj)}.")
    values = convert(values, dtype)
    count = obj.size
    if count == 1:
        lack = len(shape) - len(shape_of(values))
        if lack > 0:
            values = np.reshape(values, (1,) * lack + shape_of(values))
        if obj.ndim == 0:
            values = np.moveaxis(values, 0, axis)
        count = shape_of(values)[axis]
        obj = np.reshape(obj, (1,))
    values = core.broadcast_to(values, (*shape[:axis], count, *shape[axis + 1:]))
    if type(obj) is not Tracer:
        wrong = obj[(obj < -n) | (obj > n)]
        if wrong.size:
            raise errors.IndexRangeError(f"index {wrong[0]} is out of bounds for axis {axis} with size {n}",
                                         "Insert at 0 to the size of the axis.")
        obj = np.where(obj < 0, obj + n, obj)
        if obj.size == 1:
            i = int(obj[0])
            return _joined([cut(arr, axis, 0, i), values, cut(arr, axis, i, n)], axis)
        order = np.argsort(np.concatenate([obj, np.arange(n)]), kind="stable")      # values stand first
        return taken(np.concatenate([values, arr], axis), order, axis)
    obj = np.where(obj < 0, obj + n, obj)
    obj = np.clip(core.broadcast_to(obj, (count,)), 0, n)
    order = np.argsort(np.concatenate([obj, np.arange(n)]), stable=True)
    return taken(np.concatenate([values, arr], axis), order, axis)


# ----- choose ---------------------------------------------------------------------------------------


@implements(np.choose, method="choose")
def choose(a, choices, out=None, mode="raise"):
    """For each element of ``a``, the element of the choice that it numbers; all broadcast together.

    With mode "raise", numbers that are not known clip.
    """
    refuse_out(out)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"choose: mode must be 'raise', 'wrap' or 'clip', got {mode!r}")
    a = integers(a, "choose: numbers")
    items = [choices[i] for i in range(len(choices))] if not isinstance(choices, (list, tuple)) else choices
    if not len(items):
        raise errors.ShapeError("choose: there are no choices.", "Give at least one.")
    if mode == "raise" and (type(a) is not Tracer or is_known(a)):
        known = known_array(a, "choose", "")
        if known.size and not (0 <= known.min() and known.max() < len(items)):
            raise ValueError("invalid entry in choice array")
    a, *items = core.broadcast_arrays(a, *core.promote(*items))
    shape = shape_of(a)
    table = np.reshape(np.stack(items, -1), (math.prod(shape), len(items)))
    rows = np.reshape(a, (math.prod(shape), 1))
    got = gather(table, [rows], "wrap" if mode == "wrap" else "clip", 1, signed=False)
    return np.reshape(got, shape)


# ----- flat positions and positions per axis ----------------------------------------------------------


def _numbers(x, what):
    """Positions; bools count as 0 and 1."""
    x = as_array(x)
    return convert(x, np.int64) if aval_of(x).dtype == np.bool_ else integers(x, what)


def _order(order, name):
    if order not in ("C", "F"):
        raise ValueError(f"{name}: order must be 'C' or 'F', got {order!r}")
    return order == "F"


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index, dims, mode="raise", order="C"):
    """The flat positions of an index array for each axis of an array of shape ``dims``.

    ``mode``, one or one per axis: "raise" (unknown ones clip), "wrap", "clip".
    """
    dims = tuple([as_int(n) for n in dims])
    columns = [_numbers(i, "ravel_multi_index: positions") for i in multi_index]
    modes = (mode,) * len(dims) if isinstance(mode, str) else tuple(mode)
    if len(columns) != len(dims) or len(modes) != len(dims):
        raise errors.ShapeError(f"ravel_multi_index: {len(columns)} index arrays and {len(modes)} modes for "
                                f"the shape {dims}.", "Give one for each axis.")
    flat: object = np.int64(0)
    steps = list(zip(columns, dims, modes, strict=True))
    for i, n, how in steps[::-1] if _order(order, "ravel_multi_index") else steps:
        if how not in ("raise", "wrap", "clip"):
            raise ValueError(f"ravel_multi_index: mode must be 'raise', 'wrap' or 'clip', got {how!r}")
        if how == "raise" and (type(i) is not Tracer or is_known(i)):
            known = known_array(i, "ravel_multi_index", "")
            if known.size and not (0 <= known.min() and known.max() < n):
                raise ValueError("invalid entry in coordinates array")
        i = convert(i, np.int64)
        i = np.remainder(i, n) if how == "wrap" else np.clip(i, 0, n - 1)
        flat = flat * n + i
    return flat


@implements(np.unravel_index)
def unravel_index(indices, shape, order="C"):
    """For each axis of an array of ``shape``, the positions along it that flat positions mean.

    Unknown ones out of range clip.
    """
    shape = tuple([as_int(n) for n in (shape if isinstance(shape, (tuple, list, np.ndarray)) else (shape,))])
    size, rest = math.prod(shape), _numbers(indices, "unravel_index: indices")
    if type(rest) is not Tracer or is_known(rest):
        known = known_array(rest, "unravel_index", "")
        wrong = known[(known < 0) | (known >= size)]
        if wrong.size:
            raise ValueError(f"index {wrong.flat[0]} is out of bounds for array with size {size}")
    rest = np.clip(convert(rest, np.int64), 0, max(size - 1, 0))
    forward, found = _order(order, "unravel_index"), []
    for n in shape if forward else shape[::-1]:
        found.append(np.remainder(rest, n))
        rest = np.floor_divide(rest, n)
    return tuple(found if forward else found[::-1])


def mask_indices(n, mask_func, k=0, *, size=None):
    """The indices of the elements of an n by n matrix that ``mask_func(matrix, k)`` keeps.

    ``size`` fixes their number where k is not known.

    >>> functrans.numpy.mask_indices(3, np.triu, 1)
    (array([0, 0, 1]), array([1, 2, 2]))
    """
    if size is None and not traced(k):
        return np.mask_indices(n, mask_func, k)
    from .values import nonzero
    return nonzero(mask_func(np.ones((n, n), int), k) != 0, size=size)


core.FUNCTIONS[np.mask_indices] = mask_indices

# ----- open meshes, and what brackets build -----------------------------------------------------------


@implements(np.ix_)
def ix_(*args):
    """Index arrays of one axis each, for the product of their positions; bool ones are masks."""
    found = []
    for k, x in enumerate(args):
        x = as_array(x)
        if len(shape_of(x)) != 1:
            raise errors.ShapeError(f"ix_: sequence {k} must have one axis, got {aval_of(x)}.")
        if aval_of(x).dtype == np.bool_:
            x = np.flatnonzero(known_array(x, "ix_ of a mask", "Give positions instead of a mask."))
        elif not aval_of(x).size:
            x = convert(x, np.int64)
        found.append(np.reshape(x, (1,) * k + (-1,) + (1,) * (len(args) - k - 1)))
    return tuple(found)


def _static(part, name):
    """A slice whose ends are numbers; those of traced values are known, or nothing can have a shape."""
    if not isinstance(part, slice):
        raise TypeError(f"{name}: a slice start:stop:step is needed, got {part!r:.60}")

    def number(x):
        return known_array(x, f"{name} with a traced end", "Use np.linspace(start, stop, n).").item() if type(
            x) is Tracer else x
    return slice(number(part.start), number(part.stop), number(part.step))


class _Grid:
    """``mgrid`` and ``ogrid``: NumPy's, of known ends."""

    def __init__(self, name, doc):
        self._name, self._grid = name, getattr(np, name)
        self.__doc__ = doc

    def __repr__(self):
        return f"functrans.numpy.{self._name}"

    def __getitem__(self, key):
        parts = tuple([_static(p, self._name) for p in (key if isinstance(key, tuple) else (key,))])
        return self._grid[parts if isinstance(key, tuple) else parts[0]]


class _Brackets:
    """``r_`` and ``c_``: arrays, numbers and slices joined along an axis, some of them traced.

    A string first says, as NumPy's: the axis, the least number of axes, where the axes of smaller arrays go.
    """

    def __init__(self, name, how, doc):
        self._name, self._how, self._plain = name, how, getattr(np, name)
        self.__doc__ = doc

    def __repr__(self):
        return f"functrans.numpy.{self._name}"

    def __len__(self):
        return 0

    def __getitem__(self, key):
        parts = key if isinstance(key, tuple) else (key,)
        if not traced(parts):
            return self._plain[key]
        axis, ndmin, trans1d = self._how
        if isinstance(parts[0], str):
            axis, ndmin, trans1d = self._directive(parts[0])
            parts = parts[1:]
        items = [self._item(p, ndmin, trans1d) for p in parts]
        dtype = core.result_type(*[x if isinstance(p, slice) else p
                                   for x, p in zip(items, parts, strict=True)])
        return np.concatenate([convert(x, dtype) for x in items], axis)

    def _directive(self, text):
        axis, ndmin, trans1d = self._how
        if text in ("r", "c"):
            raise errors.NotSupportedError(f"{self._name}[{text!r}, ...] makes a matrix.", "Use arrays.")
        try:
            return tuple([int(n) for n in text.split(",")]) + (axis, ndmin, trans1d)[len(text.split(",")):]
        except ValueError:
            raise ValueError(f"{self._name}: unknown directive {text!r}") from None

    def _item(self, part, ndmin, trans1d):
        if isinstance(part, slice):
            x, placed = self._plain[_static(part, self._name)].ravel(), True
        else:
            x = as_array(part)
            placed = len(shape_of(x)) > 0
        have = len(shape_of(x))
        if not placed:
            return np.reshape(x, (1,) * max(ndmin, 1))
        if have >= ndmin:
            return x
        x = np.reshape(x, (1,) * (ndmin - have) + shape_of(x))
        start = trans1d + ndmin - have + 1 if trans1d < 0 else trans1d
        order = list(range(ndmin - have))
        order[start:start] = range(ndmin - have, ndmin)
        return np.transpose(x, order) if order != list(range(ndmin)) else x


mgrid = _Grid("mgrid", """Coordinates of a grid, whole: ``mgrid[0:2, 0:3]``; a step of ``5j`` is five points.

    >>> functrans.numpy.mgrid[0:2, 0:2]
    array([[[0, 0],
            [1, 1]],
    <BLANKLINE>
           [[0, 1],
            [0, 1]]])
    """)
ogrid = _Grid("ogrid", """Coordinates of a grid, one axis each, which broadcast to those of ``mgrid``.

    >>> functrans.numpy.ogrid[0:2, 0:3]
    (array([[0],
           [1]]), array([[0, 1, 2]]))
    """)
r_ = _Brackets("r_", (0, 1, -1), """Arrays, numbers and slices joined along the first axis.

    A string first may say the axis, the least number of axes and where the axes of smaller arrays go.

    >>> functrans.numpy.r_[np.array([1, 2]), 7, 0:3]
    array([1, 2, 7, 0, 1, 2])
    """)
c_ = _Brackets("c_", (-1, 2, 0), """Arrays joined along the last axis, those of one axis as columns.

    >>> functrans.numpy.c_[np.array([1, 2]), np.array([5, 6])]
    array([[1, 5],
           [2, 6]])
    """)

__all__ = ["c_", "choose", "delete", "insert", "ix_", "mask_indices", "mgrid", "ogrid", "r_",
           "ravel_multi_index", "unravel_index"]
