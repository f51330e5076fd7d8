"""Reading and writing at indices: x[index], x.at[index].set(value), take and its kin.

Writes give new arrays. Boxes (ints and slices) are written by slice updates and pads, arrays and traced
integers by a scatter.
"""

from __future__ import annotations

import enum
import math

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import OPS
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
from .index import Plan, bad, checked, cut, gather, lookup, params_of, parse, read, reshaped

_slice, _reshape = OPS["slice"], OPS["reshape"]


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


def take_at(a, indices, axis, mode, signed=False):
    """a at integer positions along one axis; out of range by a gather's mode."""
    indices = broadcast_to(indices, shape_of(a)[:axis] + shape_of(indices))
    return gather(a, [indices], mode, axis, signed)


def integers(x, what):
    x = asvalue(x)
    if aval_of(x).dtype.kind not in "iu":
        if not (type(x) is np.ndarray and x.size == 0):
            raise errors.DtypeError(f"{what} must be integers, got {aval_of(x)}.",
                                    "Convert them with astype(int).")
        x = x.astype(np.int64)
    return x if type(x) is Tracer else np.asarray(x)


@implements(np.take, method="take", own=("fill_value", "unique_indices", "indices_are_sorted"))
def take(a, indices, axis=None, out=None, mode="raise", *, fill_value=None, unique_indices=False,
         indices_are_sorted=False):
    """Elements at positions along an axis. Unknown positions out of range clamp, as mode="clip".

    With ``fill_value`` or mode="fill", positions out of range give that value (default: ``x.at[i].get``'s).
    """
    refuse_out(out)
    if fill_value is not None and mode == "raise":
        mode = "fill"
    if mode not in ("raise", "clip", "wrap", "fill"):
        raise ValueError(f"take: mode must be 'raise', 'clip', 'wrap' or 'fill', got {mode!r}")
    a, indices = asvalue(a), integers(indices, "take: indices")
    if axis is None:
        a, axis = reshaped(a, (math.prod(shape_of(a)),)), 0
    elif not shape_of(a):
        a = reshaped(a, (1,))
    axis = axis_of(axis, len(shape_of(a)))
    if mode == "fill":
        return at(a)[(slice(None),) * axis + (indices,)].get(mode="fill", fill_value=fill_value)
    if mode == "raise":
        indices = checked(indices, axis, shape_of(a)[axis])
    return take_at(a, indices, axis, "wrap" if mode == "wrap" else "clip", mode == "raise")


def along(arr, indices, axis, name, mode=None):
    """How ``take_along_axis`` and ``put_along_axis`` see their arrays: as rows, each with its own positions.

    Returns the rows of arr, those of indices, the shape that both have but for the axis, and the axis.
    """
    shape = shape_of(arr)
    if len(shape_of(indices)) != len(shape):
        raise errors.ShapeError(f"{name}: indices {aval_of(indices)} and array {aval_of(arr)} "
                                "must have the same number of dimensions.", "Add axes with None.")
    axis = axis_of(axis, len(shape))
    indices = checked(indices, axis, shape[axis], mode)
    lead = broadcast_shape(_without(shape, axis), _without(shape_of(indices), axis))

    def as_rows(x):
        x = broadcast_to(x, (*lead[:axis], shape_of(x)[axis], *lead[axis:]))
        last = [i for i in range(len(shape)) if i != axis] + [axis]
        return x if axis == len(shape) - 1 else OPS["transpose"](x, perm=tuple(last))
    return as_rows(arr), as_rows(indices), lead, axis


@implements(np.take_along_axis, own=("mode", "fill_value"))
def take_along_axis(arr, indices, axis=-1, *, mode=None, fill_value=None):
    """For each position of the other axes, elements at its own positions along ``axis``.

    ``mode`` says what positions out of range give: "clip" the nearest, "fill" ``fill_value`` (default as in
    ``x.at[i].get``); None: an error if they are known, else as "clip".
    """
    if mode not in (None, "clip", "fill"):
        raise ValueError(f"take_along_axis: mode must be 'clip' or 'fill', got {mode!r}")
    arr, indices = asvalue(arr), integers(indices, "take_along_axis: indices")
    if axis is None:
        arr, axis = reshaped(arr, (math.prod(shape_of(arr)),)), 0
    mode = "fill" if fill_value is not None and mode is None else mode
    rows, places, lead, axis = along(arr, indices, axis, "take_along_axis", mode)
    found = gather(rows, [places], batch=len(lead))
    if mode == "fill":
        n = shape_of(rows)[-1]
        fill = at(np.zeros(1, aval_of(rows).dtype))[np.array(9)].get(mode="fill", fill_value=fill_value)
        found = np.where((places >= -n) & (places < n), found, fill)
    return np.moveaxis(found, -1, axis)


def _without(shape, axis):
    return (*shape[:axis], *shape[axis + 1:])


# ----- x.at[index] --------------------------------------------------------------------------------

class GatherScatterMode(enum.Enum):
    """What becomes of positions out of range, by the names of ``jax.lax``; strings will do everywhere."""

    CLIP = "clip"
    FILL_OR_DROP = "fill"
    PROMISE_IN_BOUNDS = "promise_in_bounds"

    @staticmethod
    def from_any(s):
        """The mode that a string or None (FILL_OR_DROP) names."""
        if isinstance(s, GatherScatterMode):
            return s
        if s in (None, "fill", "drop"):
            return GatherScatterMode.FILL_OR_DROP
        if s in ("clip", "promise_in_bounds"):
            return GatherScatterMode(s)
        raise ValueError(f"mode must be one of {', '.join(map(repr, _MODES[1:]))}, got {s!r}")


_MODES = (None, "promise_in_bounds", "clip", "drop", "fill", "wrap")
_READS = {None: "clip", "promise_in_bounds": "clip", "clip": "clip", "drop": "fill", "fill": "fill",
          "wrap": "wrap"}
_WRITES = {None: "drop", "promise_in_bounds": "drop", "clip": "clip", "drop": "drop", "fill": "drop",
           "wrap": "wrap"}


def write_params(indices, mode, batch, signed=True):
    """The parameters of a scatter, by a mode of ``at[...]``."""
    return params_of(indices, _WRITES[mode], batch, signed)


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

    Positions that are known and out of range are an IndexError; unknown ones are not written (and clamp in
    ``get``). ``mode`` says otherwise, for known ones too: "clip" (the nearest), "drop" or "fill" (not
    written; ``get`` gives ``fill_value``), "wrap" (counted round the axis), "promise_in_bounds" (as unknown
    ones). Negative positions count from the end, unless ``wrap_negative_indices`` is false.
    Several values for one position: ``set`` keeps the last, the others combine all of them, in order.
    ``unique_indices`` and ``indices_are_sorted`` promise something; results do not depend on them.
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x, index):
        self._x, self._index = x, index

    def __repr__(self):
        return f"<at of {aval_of(self._x)}, index {self._index!r:.60}>"

    def set(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """x with ``values`` at the index."""
        return self._write("set", values, mode, wrap_negative_indices)

    def add(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """x with ``values`` added at the index."""
        return self._write("add", values, mode, wrap_negative_indices)

    def subtract(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """x with ``values`` subtracted at the index."""
        return self._write("subtract", values, mode, wrap_negative_indices)

    def multiply(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """x multiplied by ``values`` at the index."""
        return self._write("multiply", values, mode, wrap_negative_indices)

    mul = multiply

    def divide(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """x divided by ``values`` at the index."""
        return self._write("divide", values, mode, wrap_negative_indices)

    def power(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """x to the power of ``values`` at the index."""
        return self._write("power", values, mode, wrap_negative_indices)

    def min(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """The minimum of x and ``values`` at the index."""
        return self._write("min", values, mode, wrap_negative_indices)

    def max(self, values, *, mode=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """The maximum of x and ``values`` at the index."""
        return self._write("max", values, mode, wrap_negative_indices)

    def apply(self, func, *, mode=None, indices_are_sorted=False, unique_indices=False,
              wrap_negative_indices=True):
        """x with ``func`` applied to the selected elements (once, where an index repeats)."""
        got = self.get(mode=mode, wrap_negative_indices=wrap_negative_indices)
        return self.set(func(got), mode=mode, wrap_negative_indices=wrap_negative_indices)

    def get(self, *, mode=None, fill_value=None, indices_are_sorted=False, unique_indices=False,
            wrap_negative_indices=True):
        """``x[index]``. With mode="fill", positions out of range give ``fill_value``.

        The default is nan for floats, the smallest integer, the largest unsigned one, or False.
        """
        mode, x = _mode(mode, wrap_negative_indices), self._x
        if mode is None and not self._traced():
            return np.array(np.asarray(x)[self._index])[()]
        plan, dtype = parse(shape_of(x), self._index, mode), aval_of(x).dtype
        how, signed = _READS[mode], wrap_negative_indices
        if fill_value is None or how != "fill":
            return read(x, plan, how, signed)
        fill_value = cast(fill_value, dtype)
        if type(fill_value) is not Tracer and np.ndim(fill_value) == 0:
            fill = np.asarray(fill_value).item()
            return read(x, plan, how, signed, None if fill != fill else fill)     # nan is the default
        return np.where(_inside(plan, signed), read(x, plan, "clip", signed), convert(fill_value, dtype))

    def _traced(self):
        return traced(self._x) or traced(self._index)

    def _write(self, kind, values, mode, signed):
        mode, dtype = _mode(mode, signed), aval_of(self._x).dtype
        values = cast(values, dtype, kind)
        if mode is None and not self._traced() and type(values) is not Tracer:
            return _write_ndarray(self._x, self._index, values, kind)
        values = convert(values, dtype)
        if kind == "subtract":
            kind, values = "add", bind(OPS["neg"], (values,), {})
        plan = parse(shape_of(self._x), self._index, mode)
        return _write(self._x, plan, values, kind, mode, signed)


def _mode(mode, signed):
    if isinstance(mode, GatherScatterMode):
        mode = mode.value
    if mode not in _MODES:
        raise ValueError(f"at[...]: mode must be one of {', '.join(map(repr, _MODES))}, got {mode!r}")
    return mode if mode is not None or signed else "drop"


def cast(values, dtype, kind="set"):
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


def _write(x, plan: Plan, values, kind, mode, signed):
    values = _selected(values, plan.shape)
    shape = shape_of(x)
    x = reshaped(x, plan.x_shape)
    box_shape = tuple([(b - a) // s for a, b, s in plan.box])
    if plan.arrays:
        part = _scatter(cut(x, plan.box), plan, values, kind, mode, signed)
        kind = "set"
    else:
        part = reshaped(values, box_shape)
    return reshaped(_write_box(x, plan.box, part, kind), shape)


def _scatter(x, plan, values, kind, mode, signed):
    """x (already cut to the box) with values at the plan's index arrays."""
    shape = shape_of(x)
    flat, order, batch, indices = lookup(x, plan)
    stay = shape_of(flat)
    rank, place = len(plan.index_shape), plan.place
    kept = tuple([shape[a] for a in plan.kept])
    values = reshaped(values, (*kept[:place], *plan.index_shape, *kept[place:]))
    moved = order != tuple(range(len(order)))
    if moved:
        flat = OPS["transpose"](flat, perm=order)
        if place and rank:
            values = OPS["transpose"](values, perm=(*range(place, place + rank), *range(place),
                                                    *range(place + rank, rank + len(kept))))
    out = _scattered(kind, flat, values, indices, write_params(indices, mode, batch, signed))
    if moved:
        out = OPS["transpose"](out, perm=tuple(sorted(range(len(stay)), key=order.__getitem__)))
    return reshaped(out, shape)


_SCATTER = {"set": "scatter_set", "add": "scatter_add", "multiply": "scatter_mul", "min": "scatter_min",
            "max": "scatter_max"}


def _scattered(kind, x, values, indices, params):
    a = aval_of(x)
    if a.dtype == np.bool_:
        kind = {"add": "max", "multiply": "min"}.get(kind, kind)
    if kind in ("divide", "power"):     # all values of a position together, then once
        together = OPS["scatter_mul"](lit(1, a), values, *indices, **params)
        return _NUMPY[kind](x, together)
    return OPS[_SCATTER[kind]](x, values, *indices, **params)


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


def _inside(plan, signed):
    """Which elements of the result were within range."""
    inside = np.bool_(True)
    for a, i in plan.arrays.items():
        n = plan.x_shape[a]
        inside = inside & (i >= (-n if signed else 0)) & (i < n)
    after = len(plan.shape) - plan.at - len(plan.index_shape)
    return np.reshape(inside, (*[1] * plan.at, *shape_of(inside), *[1] * after))


__all__ = ["At", "AtIndex", "GatherScatterMode", "at", "take", "take_along_axis"]
