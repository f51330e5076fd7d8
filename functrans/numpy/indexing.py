"""Reading and writing at indices: x[index], x.at[index].set(value), take and its kin.

Writes give new arrays. Boxes (ints and slices) are written by slice updates and pads, arrays and traced
integers by a scatter.
"""

from __future__ import annotations

import math

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import OPS
from ..trace.core import current_builder
from ..trace.tracer import Tracer, Upward
from .core import (
    METHODS,
    asvalue,
    aval_of,
    axis_of,
    bind,
    broadcast_shape,
    broadcast_to,
    convert,
    implements,
    refuse_out,
    shape_of,
    traced,
)
from .index import INT64, Plan, bad, cut, entry, front, normal, parse, read, reshaped, spread_indices

_slice, _reshape, _gather = OPS["slice"], OPS["reshape"], OPS["gather"]


def getitem(x, index):
    """``x[index]`` of a traced x."""
    shape = x.shape
    if type(index) is int and shape:            # the hot path: loops over x[i]
        n = shape[0]
        if not -n <= index < n:
            raise bad(f"index {index} is out of bounds for axis 0 with size {n}")
        index %= n
        rest = shape[1:]
        zeros = (0,) * len(rest)
        row = _slice(x, start=(index, *zeros), limit=(index + 1, *rest), stride=(1,) * len(shape))
        return _reshape(row, shape=rest)
    return read(x, parse(shape, index))


Upward.getitem = getitem


# ----- functions ----------------------------------------------------------------------------------


def take_at(a, indices, axis, mode):
    """a at integer positions along one axis; out of range by a gather's mode."""
    shape = shape_of(a)
    rank = len(shape_of(indices))
    x = a if axis == 0 else OPS["transpose"](a, perm=(axis, *range(axis), *range(axis + 1, len(shape))))
    out = _gather(x, indices, mode=mode)
    if axis and rank:
        out = OPS["transpose"](out, perm=(*range(rank, rank + axis), *range(rank),
                                          *range(rank + axis, rank + len(shape) - 1)))
    return out


def _integers(x, what):
    x = asvalue(x)
    if aval_of(x).dtype.kind not in "iu":
        if not (type(x) is np.ndarray and x.size == 0):
            raise errors.DtypeError(f"{what} must be integers, got {aval_of(x)}.",
                                    "Convert them with astype(int).")
        x = x.astype(INT64)
    return x if type(x) is Tracer else np.asarray(x)


@implements(np.take, method="take")
def take(a, indices, axis=None, out=None, mode="raise"):
    """Elements at positions along an axis. Unknown positions out of range clamp, as mode="clip"."""
    refuse_out(out)
    if mode not in ("raise", "clip", "wrap"):
        raise ValueError(f"take: mode must be 'raise', 'clip' or 'wrap', got {mode!r}")
    a, indices = asvalue(a), _integers(indices, "take: indices")
    if axis is None:
        a, axis = reshaped(a, (math.prod(shape_of(a)),)), 0
    axis = axis_of(axis, len(shape_of(a)))
    if mode == "raise":
        indices = normal(indices, axis, shape_of(a)[axis])
    else:
        indices = convert(indices, INT64) if type(indices) is Tracer else indices.astype(INT64)
    return take_at(a, indices, axis, "wrap" if mode == "wrap" else "clip")


@implements(np.compress)
def compress(condition, a, axis=None, out=None):
    """The parts of ``a`` along an axis where a known condition is true."""
    condition = np.asarray(condition) if type(condition) is not Tracer else condition
    if type(condition) is Tracer:
        condition = entry(condition if condition.dtype == np.bool_ else np.not_equal(condition, 0))
    if condition.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take.traced(a, np.nonzero(condition)[0], axis, out)


METHODS["compress"] = lambda a: (
    lambda condition, axis=None, out=None: compress.traced(condition, a, axis, out))


def positions(n):
    """0 .. n-1 as int64: a known array, unless a jit traces, where it is an op of the program."""
    builder = current_builder()
    if builder is not None and builder.staged and n:
        return OPS["iota"](shape=(n,), dtype=INT64, axis=0)
    return np.arange(n, dtype=INT64)


@implements(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1):
    """For each position of the other axes, elements at its own positions along ``axis``."""
    arr, indices = asvalue(arr), _integers(indices, "take_along_axis: indices")
    if axis is None:
        arr, axis = reshaped(arr, (math.prod(shape_of(arr)),)), 0
    shape = shape_of(arr)
    if len(shape_of(indices)) != len(shape):
        raise errors.ShapeError(f"take_along_axis: indices {aval_of(indices)} and array {aval_of(arr)} "
                                "must have the same number of dimensions.", "Add axes with None.")
    axis = axis_of(axis, len(shape))
    n = shape[axis]
    indices = normal(indices, axis, n)
    m = shape_of(indices)[axis]
    lead = broadcast_shape(_without(shape, axis), _without(shape_of(indices), axis))
    rows = math.prod(lead)

    def as_rows(x, extent):
        x = broadcast_to(x, (*lead[:axis], extent, *lead[axis:]))
        last = [i for i in range(len(shape)) if i != axis] + [axis]
        return reshaped(np.transpose(x, last), (rows, extent))

    row = broadcast_to(np.reshape(positions(rows), (rows, 1)), (rows, m))
    out = _gather(as_rows(arr, n), row, as_rows(indices, m), mode="clip")
    return np.moveaxis(np.reshape(out, (*lead, m)), -1, axis)


def _without(shape, axis):
    return (*shape[:axis], *shape[axis + 1:])


@implements(np.put_along_axis)
def put_along_axis(arr, indices, values, axis):
    """Refused: it writes into its argument."""
    raise errors.InPlaceError("put_along_axis writes into an existing array.",
                              "Use functrans.at(x)[index].set(values).")


# ----- x.at[index] --------------------------------------------------------------------------------

_MODES = (None, "promise_in_bounds", "clip", "drop", "fill")
_KINDS = "biufc"


class At:
    """``x.at``: index it, then say what to write."""

    __slots__ = ("_x",)

    def __init__(self, x):
        self._x = x

    def __getitem__(self, index):
        return AtIndex(self._x, index)

    def __repr__(self):
        return f"<at of {aval_of(self._x)}>"


def at(x):
    """``functrans.at(x)[index].set(value)``: a new array, for traced values and plain arrays alike.

    >>> functrans.at(np.zeros(3))[1].set(5.0)
    array([0., 5., 0.])
    """
    return At(asvalue(x))


METHODS["at"] = At


class AtIndex:
    """``x.at[index]``: every method returns a new array and leaves x as it is.

    Negative positions count from the end. Positions that are known and out of range are an
    IndexError; unknown ones are not written (and clamp in ``get``). ``mode`` says otherwise:
    "drop" (or "fill"), "clip"; with a mode known positions are treated as unknown ones.
    Several values for one position: ``set`` keeps the last, the others combine all of them.
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x, index):
        self._x, self._index = x, index

    def __repr__(self):
        return f"<at of {aval_of(self._x)}, index {self._index!r:.60}>"

    def set(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x with ``values`` at the index."""
        return self._write("set", values, mode)

    def add(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x with ``values`` added at the index."""
        return self._write("add", values, mode)

    def subtract(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x with ``values`` subtracted at the index."""
        return self._write("subtract", values, mode)

    def multiply(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x multiplied by ``values`` at the index."""
        return self._write("multiply", values, mode)

    mul = multiply

    def divide(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x divided by ``values`` at the index."""
        return self._write("divide", values, mode)

    def power(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x to the power of ``values`` at the index."""
        return self._write("power", values, mode)

    def min(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """The minimum of x and ``values`` at the index."""
        return self._write("min", values, mode)

    def max(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """The maximum of x and ``values`` at the index."""
        return self._write("max", values, mode)

    def apply(self, func, *, mode=None, indices_are_sorted=False, unique_indices=False):
        """x with ``func`` applied to the selected elements (once, where an index repeats)."""
        return self.set(func(self.get(mode=mode)), mode=mode)

    def get(self, *, mode=None, fill_value=None, indices_are_sorted=False, unique_indices=False):
        """``x[index]``. With mode="fill", positions out of range give ``fill_value``.

        The default is nan for floats, the smallest integer, the largest unsigned one, or False.
        """
        _check_mode(mode)
        x = self._x
        if mode is None and not self._traced():
            return np.array(np.asarray(x)[self._index])[()]
        if mode not in ("fill", "drop"):
            return read(x, parse(shape_of(x), self._index, mode))
        plan = parse(shape_of(x), self._index, mode)
        if fill_value is None or not plan.arrays:
            return read(x, plan, "fill")
        fill = convert(_cast(fill_value, aval_of(x).dtype), aval_of(x).dtype)
        return np.where(_inside(plan), read(x, plan), fill)

    def _traced(self):
        return traced(self._x) or traced(self._index)

    def _write(self, kind, values, mode):
        _check_mode(mode)
        values = _cast(values, aval_of(self._x).dtype, kind)
        if mode is None and not self._traced() and type(values) is not Tracer:
            return _write_ndarray(self._x, self._index, values, kind)
        dtype = aval_of(self._x).dtype
        values = convert(values, dtype)
        if kind == "subtract":
            kind, values = "add", bind(OPS["neg"], (values,), {})
        plan = parse(shape_of(self._x), self._index, mode)
        return _write(self._x, plan, values, kind, "clip" if mode == "clip" else "drop")


def _check_mode(mode):
    if mode not in _MODES:
        raise ValueError(f"at[...]: mode must be one of {', '.join(map(repr, _MODES))}, got {mode!r}")


def _cast(values, dtype, kind="set"):
    """``values`` if they may be written into an array of ``dtype``, else DtypeError."""
    values = asvalue(values)
    a = aval_of(values)
    weak = a.weak or type(values) is bool
    fits = _KINDS.index(a.dtype.kind) <= _KINDS.index(dtype.kind) or (a.dtype.kind, dtype.kind) == (
        "i", "u") if weak else np.can_cast(a.dtype, dtype, "same_kind")
    if not fits or (kind == "divide" and dtype.kind not in "fc"):
        raise errors.DtypeError(
            f"at[...].{kind}: a result of dtype {np.result_type(a.dtype, dtype)} does not fit into an "
            f"array of dtype {dtype}.",
            f"Convert the array, x.astype({'float' if dtype.kind in 'biu' else a.dtype}), or round the "
            "values.")
    return values


_NUMPY = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.true_divide,
          "power": np.power, "min": np.minimum, "max": np.maximum}


def _write_ndarray(x, index, values, kind):
    out = np.array(x)
    values = np.asarray(values).astype(out.dtype)
    if kind == "set":
        out[index] = values
    else:
        _NUMPY[kind].at(out, index, values)
    return out


# ----- traced writes ------------------------------------------------------------------------------


def _combine(kind, old, new):
    return new if kind == "set" else _NUMPY[kind](old, new)


def _selected(values, shape):
    """``values`` broadcast to the shape that the index selects; leading axes of 1 may be too many."""
    got = shape_of(values)
    while len(got) > len(shape) and got[0] == 1:
        got = got[1:]
    try:
        return broadcast_to(reshaped(values, got), shape)
    except errors.ShapeError:
        raise errors.ShapeError(f"at[...]: values {aval_of(values)} do not fit the selected shape {shape}.",
                                "They must broadcast to the shape of x[index].") from None


def _write(x, plan: Plan, values, kind, mode):
    values = _selected(values, plan.shape)
    shape = shape_of(x)
    x = reshaped(x, plan.x_shape)
    box_shape = tuple([(b - a) // s for a, b, s in plan.box])
    if plan.arrays:
        part = _scatter(cut(x, plan.box), plan, values, kind, mode)
        kind = "set"
    else:
        part = reshaped(values, box_shape)
    return reshaped(_write_box(x, plan.box, part, kind), shape)


def _scatter(x, plan, values, kind, mode):
    """x (already cut to the box) with values at the plan's index arrays."""
    shape = shape_of(x)
    rank, place = len(plan.index_shape), plan.place
    kept = tuple([shape[a] for a in plan.kept])
    values = reshaped(values, (*kept[:place], *plan.index_shape, *kept[place:]))
    if place and rank:
        values = OPS["transpose"](values, perm=(*range(place, place + rank), *range(place),
                                                *range(place + rank, rank + len(kept))))
    perm = front(plan)
    moved = OPS["transpose"](x, perm=perm) if perm != tuple(range(len(perm))) else x
    inner = shape_of(moved)
    flat = reshaped(moved, (*[shape[a] for a in plan.arrays], *kept))
    out = _scattered(kind, flat, values, spread_indices(plan), mode)
    out = reshaped(out, inner)
    if moved is not x:
        out = OPS["transpose"](out, perm=tuple(sorted(range(len(perm)), key=perm.__getitem__)))
    return out


_SCATTER = {"set": "scatter_set", "add": "scatter_add", "multiply": "scatter_mul", "min": "scatter_min",
            "max": "scatter_max"}


def _scattered(kind, x, values, indices, mode):
    a = aval_of(x)
    if a.dtype == np.bool_:
        kind = {"add": "max", "multiply": "min"}.get(kind, kind)
    if kind in ("divide", "power"):     # all values of a position together, then once
        together = OPS["scatter_mul"](lit(1, a), values, *indices, mode=mode)
        return _NUMPY[kind](x, together)
    return OPS[_SCATTER[kind]](x, values, *indices, mode=mode)


def _write_box(x, box, part, kind):
    """x with ``part`` set at, or combined with, a box of (start, limit, step) per axis."""
    shape = shape_of(x)
    start, stride, backward = [], [], []
    counts = shape_of(part)
    if 0 in counts:
        return x
    for axis, ((a, _, s), n) in enumerate(zip(box, counts, strict=True)):
        if s < 0:
            a, s = a + (n - 1) * s, -s
            backward.append(axis)
        start.append(a)
        stride.append(s if n > 1 else 1)
    if backward:
        part = OPS["rev"](part, axes=tuple(backward))
    if counts == shape:
        return _combine(kind, x, part)
    high = tuple([n - a - (m - 1) * s - 1
                  for n, a, m, s in zip(shape, start, counts, stride, strict=True)])
    spread = {"low": tuple(start), "high": high, "interior": tuple([s - 1 for s in stride])}
    dtype = aval_of(x).dtype
    if kind == "add" and dtype != np.bool_:
        return OPS["add"](x, OPS["pad"](part, lit(0, aval((), dtype)), **spread))
    if kind != "set":
        old = OPS["slice"](x, start=tuple(start), stride=tuple(stride), limit=tuple(
            [a + (m - 1) * s + 1 for a, m, s in zip(start, counts, stride, strict=True)]))
        part = _combine(kind, old, part)
    if math.prod(stride) == 1:
        return OPS["dynamic_update_slice"](x, part, *[np.int64(a) for a in start])
    inside = OPS["pad"](lit(True, aval(counts, np.bool_)), lit(False, aval((), np.bool_)), **spread)
    return OPS["select"](inside, OPS["pad"](part, lit(0, aval((), dtype)), **spread), x)


def _inside(plan):
    """Which elements of the result were within range."""
    inside = np.bool_(True)
    for a, i in plan.arrays.items():
        inside = inside & (i >= 0) & (i < plan.x_shape[a])
    after = len(plan.shape) - plan.at - len(plan.index_shape)
    return np.reshape(inside, (*[1] * plan.at, *shape_of(inside), *[1] * after))


__all__ = ["At", "AtIndex", "at", "take", "take_along_axis", "put_along_axis", "compress"]
