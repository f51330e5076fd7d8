"""Indices taken apart: what x[index] selects, as NumPy defines it, and how a traced x is read there.

Basic parts become slices, arrays and traced integers a gather. ``parse`` makes a ``Plan`` of an index,
which reading (here) and writing (``indexing.py``) share.
"""

from __future__ import annotations

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..ops.index import reach
from ..trace.core import is_known, value_of
from ..trace.tracer import Tracer
from .core import asvalue, broadcast_to, convert, shape_of, traced

INT64 = np.dtype("int64")
_slice, _reshape = OPS["slice"], OPS["reshape"]


class Plan:
    """An index taken apart.

    Attributes:
      x_shape: what is indexed, with an axis of extent 1 for each scalar bool of the index.
      box: per axis of x its (start, limit, step); step may be negative; length-1 boxes for ints.
      arrays: indexed axis -> its index array (integers; traced or not) before broadcasting.
      index_shape: what the arrays broadcast to; () if they are all scalars.
      kept: axes of x that stay, in order.
      place: how many of the kept axes come before the axes of index_shape in the result.
      at: the same, with the axes that None adds.
      shape: of the result, with the axes that None adds.
    """

    __slots__ = ("arrays", "at", "box", "index_shape", "kept", "place", "shape", "x_shape")

    arrays: dict
    at: int
    box: list
    index_shape: tuple[int, ...]
    kept: list
    place: int
    shape: tuple[int, ...]
    x_shape: tuple[int, ...]


def bad(text, fix="Use an index within the array."):
    return errors.IndexRangeError(text, fix)


_KINDS = ("only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean "
          "arrays are valid indices")


# ----- parsing ------------------------------------------------------------------------------------


def entry(part):
    """One part of an index as None, Ellipsis, a slice, an int, a bool or an array (traced or not)."""
    if part is None or part is Ellipsis or type(part) is slice or type(part) is int:
        return part
    if type(part) is Tracer:
        kind = part.dtype.kind
        if kind == "b":
            if not is_known(part):
                raise errors.ConcretizationError(
                    f"indexing with a traced {part.aval} mask, whose number of true elements is not "
                    "known.", "Write np.where(mask, x, 0) to keep the shape, e.g. "
                              "np.sum(np.where(mask, x, 0)) for np.sum(x[mask]).")
            return np.asarray(value_of(part))
        if kind not in "iu":
            raise bad(f"{_KINDS}, got {part.aval}", "Convert the index with astype(int).")
        return part
    if isinstance(part, (bool, np.bool_)):
        return np.asarray(part)
    if isinstance(part, np.integer):
        return int(part)
    if isinstance(part, (list, tuple)):
        part = asvalue(part) if traced(part) else np.asarray(part)
        if type(part) is Tracer:
            return entry(part)
        if part.size == 0:
            part = part.astype(INT64)
    if isinstance(part, np.ndarray):
        if part.dtype.kind not in "iub":
            raise bad(f"{_KINDS}, got an array of dtype {part.dtype}", "Convert the index with "
                                                                        "astype(int).")
        return int(part) if part.ndim == 0 and part.dtype.kind != "b" else part
    try:
        return part.__index__()
    except AttributeError:
        raise bad(f"{_KINDS}, got {part!r:.60}", "Convert the index to an integer.") from None


def _consumes(part):
    """How many axes of x a part takes."""
    if part is None:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def _bound(value, name):
    if value is None:
        return None
    try:
        return value.__index__()
    except AttributeError:
        raise TypeError(f"slice indices must be integers or None, got {name} {value!r:.60}") from None


def _span(part, n):
    """A slice of an axis of n elements as (start, limit, step): limit - start is a multiple of step."""
    part = slice(_bound(part.start, "start"), _bound(part.stop, "stop"), _bound(part.step, "step"))
    start, stop, step = part.indices(n)
    count = len(range(start, stop, step))
    return (start, start + count * step, step) if count else (0, 0, 1)


def _check_int(i, axis, n):
    if not -n <= i < n:
        raise bad(f"index {i} is out of bounds for axis {axis} with size {n}")
    return i + n if i < 0 else i


def checked(i, axis, n, mode=None):
    """An index array as gather and scatter take it. Known ones are checked, unless a mode says else."""
    if type(i) is int:
        i = np.asarray(i, INT64)
    if mode is None:
        if type(i) is not Tracer:
            _check_array(i, axis, n)
        elif is_known(i):
            _check_array(np.asarray(value_of(i)), axis, n)
    return i


def from_front(i, n):
    """Positions counted from the front, as int64."""
    unsigned = i.dtype.kind == "u"
    if type(i) is Tracer:
        i = convert(i, INT64)
        return i if unsigned else OPS["select"](OPS["lt"](i, 0), OPS["add"](i, n), i)
    i = i.astype(INT64)
    return i if unsigned else np.where(i < 0, i + n, i)


def _check_array(i, axis, n):
    if i.size and not (-n <= i.min() and i.max() < n):
        wrong = i[(i < -n) | (i >= n)].flat[0] if i.ndim else i
        raise bad(f"index {wrong} is out of bounds for axis {axis} with size {n}")


def parse(x_shape, index, mode=None) -> Plan:
    """What ``index`` selects of an array of shape ``x_shape``.

    With a ``mode`` (of ``at[...]``) integers out of range are no error: they are left to the gather.
    """
    parts = [entry(p) for p in (index if isinstance(index, tuple) else (index,))]
    dots = sum([p is Ellipsis for p in parts])
    if dots > 1:
        raise bad("an index can only have a single ellipsis ('...')", "Leave one out.")
    used = sum([_consumes(p) for p in parts if p is not Ellipsis])
    missing = len(x_shape) - used
    if missing < 0:
        raise bad(f"too many indices for array: array is {len(x_shape)}-dimensional, but {used} were "
                   "indexed", "Index at most its axes; None adds one.")
    if not dots:
        parts.append(Ellipsis)
    at = next(i for i, p in enumerate(parts) if p is Ellipsis)
    parts[at + 1:at + 1] = [slice(None)] * missing
    return _assemble(x_shape, parts, mode)


def _assemble(x_shape, parts, mode):
    plan = Plan()
    plan.x_shape = shape = list(x_shape)
    plan.box, plan.arrays, plan.kept = [], [], []
    advanced = any(isinstance(p, np.ndarray) or type(p) is Tracer for p in parts)
    arrays, where = {}, []          # axis -> index array; positions of the advanced parts
    result: list = []               # per kept or new axis its extent
    axis = 0
    placed_at = None                # where in ``result`` the first advanced part stands
    for position, part in enumerate(parts):
        if part is Ellipsis:        # its axes follow; it separates advanced parts even without any
            continue
        if part is None:
            result.append((None, 1))
            continue
        if type(part) is slice:
            start, limit, step = _span(part, shape[axis])
            plan.box.append((start, limit, step))
            plan.kept.append(axis)
            result.append((axis, (limit - start) // step))
            axis += 1
            continue
        if advanced or mode is not None:
            where.append(position)
            placed_at = len(result) if placed_at is None else placed_at
        if type(part) is int and mode is None:
            i = _check_int(part, axis, shape[axis])
            plan.box.append((i, i + 1, 1))
            axis += 1
        elif isinstance(part, np.ndarray) and part.dtype.kind == "b":
            axis = _mask(plan, arrays, part, axis)
        else:
            plan.box.append((0, shape[axis], 1))
            arrays[axis] = part
            axis += 1
    # an unbroken run of advanced parts keeps its place, an interrupted one goes to the front
    together = not where or where[-1] - where[0] == len(where) - 1
    plan.arrays = {a: checked(i, a, shape[a], mode) for a, i in arrays.items()}
    try:
        plan.index_shape = np.broadcast_shapes(*[shape_of(i) for i in arrays.values()])
    except ValueError:
        raise bad("shape mismatch: indexing arrays could not be broadcast together with shapes "
                   + " ".join([str(shape_of(i)) for i in arrays.values()]), "Their shapes must "
                                                                            "broadcast.") from None
    plan.at = at = (placed_at or 0) if together else 0
    plan.place = len([a for a, _ in result[:at] if a is not None])
    extents = [n for _, n in result]
    plan.shape = (*extents[:at], *plan.index_shape, *extents[at:])
    return plan


def _mask(plan, arrays, mask, axis):
    """A known bool array as the index arrays of its true elements; returns the axis behind it."""
    if mask.ndim == 0:              # a new axis, of which the only element is taken once or never
        plan.x_shape.insert(axis, 1)
        plan.box.append((0, 1, 1))
        arrays[axis] = np.zeros(int(mask), INT64)
        return axis + 1
    for k, m in enumerate(mask.shape):
        n = plan.x_shape[axis + k]
        if m != n:
            raise bad(f"boolean index did not match indexed array along axis {axis + k}; size of axis "
                       f"is {n} but size of corresponding boolean axis is {m}", "A mask has the shape of "
                                                                                "the axes it indexes.")
        plan.box.append((0, n, 1))
    arrays.update(zip(range(axis, axis + mask.ndim), np.nonzero(mask), strict=True))
    return axis + mask.ndim


# ----- reading ------------------------------------------------------------------------------------


def reshaped(x, shape):
    shape = tuple(shape)
    return x if shape_of(x) == shape else _reshape(x, shape=shape)


def cut(x, box):
    """x restricted to a box of (start, limit, step) per axis; backwards where step is negative."""
    shape = shape_of(x)
    start, limit, stride, backward = [], [], [], []
    for axis, (a, b, s) in enumerate(box):
        if s < 0:
            count = (b - a) // s
            a, b, s = a + (count - 1) * s, a + 1, -s
            backward.append(axis)
        start.append(a)
        limit.append(min(b, shape[axis]))
        stride.append(s)
    if start != [0] * len(box) or limit != list(shape) or stride != [1] * len(box):
        x = _slice(x, start=tuple(start), limit=tuple(limit), stride=tuple(stride))
    return OPS["rev"](x, axes=tuple(backward)) if backward else x


def _counts(i, shape, n):
    """Whether a known index array says 0, 1 .. n-1 along the first axis of the index shape."""
    return type(i) is np.ndarray and n > 0 and len(shape) > 0 and shape[0] == n and i.shape == (n,) + (1,) * (
        len(shape) - 1) and i[0].item(0) == 0 and np.array_equal(i.ravel(), np.arange(n))


def lookup(x, plan):
    """How gather and scatter take x, cut to the plan's box.

    Returns x without the axes that integers took, the order that its axes are to be in, how many of them
    are a batch, and the index arrays. Without a batch the axes of index_shape come first in the result, else
    they are in their place.
    """
    shape, indices = shape_of(x), list(plan.arrays.values())
    stay = [a for a in range(len(shape)) if a in plan.arrays or a in plan.kept]
    x = reshaped(x, [shape[a] for a in stay])
    at, place = [stay.index(a) for a in plan.arrays], plan.place
    if at == list(range(place, place + len(at))):
        order, batch = tuple(range(len(stay))), place
    else:
        order, batch = (*at, *[a for a in range(len(stay)) if a not in at]), 0
    lead = tuple([shape_of(x)[a] for a in order[:batch]])
    if not batch and len(indices) > 1 and _counts(indices[0], plan.index_shape, shape_of(x)[order[0]]):
        batch, indices = 1, indices[1:]             # each row has positions of its own
    return x, order, batch, [broadcast_to(i, lead + plan.index_shape) for i in indices]


def read(x, plan, mode="clip", signed=True, fill=None):
    """x at a parsed index. Unknown positions out of range are treated as gather's ``mode`` says."""
    x = reshaped(x, plan.x_shape)
    x = cut(x, plan.box)
    if not plan.arrays:
        return reshaped(x, plan.shape)
    axes = list(plan.arrays)
    if plan.index_shape == () and mode == "clip" and signed and axes != list(range(len(axes))):
        # scalars on inner axes: a window reads in place, where a gather would have to move the axes
        starts = [from_front(plan.arrays[a], n) if a in plan.arrays else np.int64(0)
                  for a, n in enumerate(plan.x_shape)]
        sizes = tuple([1 if a in plan.arrays else n for a, n in enumerate(shape_of(x))])
        return reshaped(OPS["dynamic_slice"](x, *starts, sizes=sizes), plan.shape)
    x, order, batch, indices = lookup(x, plan)
    if order != tuple(range(len(order))):
        x = OPS["transpose"](x, perm=order)
    out = gather(x, indices, mode, batch, signed, fill)
    rank, place = len(plan.index_shape), plan.place
    if place and rank and order != tuple(range(len(order))):
        out = OPS["transpose"](out, perm=(*range(rank, rank + place), *range(rank),
                                          *range(rank + place, len(shape_of(out)))))
    return reshaped(out, plan.shape)


def gather(x, indices, mode="clip", batch=0, signed=True, fill=None):
    """The op, with the parameters that matter."""
    return OPS["gather"](x, *indices, **params_of(indices, mode, batch, signed, fill))


def params_of(indices, mode, batch, signed, fill=None):
    signed = bool(signed) and mode != "wrap" and any(i.dtype.kind == "i" for i in indices)
    return reach(mode, batch, signed, fill)
