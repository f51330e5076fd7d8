"""Rearranging elements: repeating, flipping, rolling, padding, triangles, diagonals and grids."""

from __future__ import annotations

import builtins
import math
import operator
from operator import index

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import OPS
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from . import core
from .core import asvalue, axes_of, axis_of, convert, implements, is_number
from .shape import (
    as_array,
    cut,
    dtype_of,
    joined,
    known_array,
    ndim_of,
    permuted,
    ravel,
    reshaped,
    shape_of,
    sizes,
    splat,
    swapaxes,
    taken,
)

_STATIC = "It decides a shape: make it a static argument."

# ----- repeating and rearranging --------------------------------------------------------------


@implements(np.tile)
def tile(A, reps):
    """A repeated ``reps[i]`` times along axis i."""
    x = as_array(A)
    reps = sizes(reps)
    ndim = builtins.max(len(reps), ndim_of(x))
    shape = (1,) * (ndim - ndim_of(x)) + shape_of(x)
    reps = (1,) * (ndim - len(reps)) + reps
    if any(r < 0 for r in reps):
        raise errors.ShapeError(f"tile: repetitions {reps} must not be negative.")
    wide = tuple([n for pair in zip(reps, shape, strict=True) for n in pair])
    x = OPS["broadcast_in_dim"](reshaped(x, shape), shape=wide, dims=tuple(range(1, 2 * ndim, 2)))
    return reshaped(x, tuple([r * n for r, n in zip(reps, shape, strict=True)]))


@implements(np.repeat, method="repeat", own=("total_repeat_length",))
def repeat(a, repeats, axis=None, *, total_repeat_length=None):
    """Each element of a ``repeats`` times along ``axis``.

    The numbers must be known, or else ``total_repeat_length``, the extent of the result: surplus elements are
    cut off, the last one fills up.

    >>> import numpy as np
    >>> import functrans.numpy as fnp
    >>> from functrans import jit
    >>> jit(lambda n: fnp.repeat(np.array([5, 7]), n, total_repeat_length=4))(np.array([1, 2]))
    array([5, 7, 7, 7])
    """
    x = as_array(a)
    x = reshaped(x, shape_of(x) or (1,))
    x, axis = (ravel(x), 0) if axis is None else (x, axis_of(axis, ndim_of(x)))
    if total_repeat_length is not None:
        n, length = shape_of(x)[axis], operator.index(total_repeat_length)
        ends = np.cumsum(np.broadcast_to(asvalue(repeats), (n,)))
        if not n and length:
            raise errors.ShapeError(f"repeat: {length} elements of an axis that has none.", "")
        at = np.searchsorted(ends, np.arange(length), side="right")
        return taken(x, np.minimum(at, builtins.max(n - 1, 0)), axis)
    counts = known_array(repeats, "repeat(repeats=...)", _STATIC)
    if counts.dtype.kind not in "biu":
        raise errors.DtypeError(f"repeat: repeats must be integers, got {counts.dtype}.")
    shape = shape_of(x)
    if counts.size and counts.min() < 0:
        raise errors.ShapeError(f"repeat: repeats must not be negative, got {counts.min()}.")
    if counts.size == 1:
        times = int(counts.reshape(()))
        wide = (*shape[:axis + 1], times, *shape[axis + 1:])
        x = OPS["broadcast_in_dim"](x, shape=wide,
                                    dims=tuple([i for i in range(len(wide)) if i != axis + 1]))
        return reshaped(x, (*shape[:axis], shape[axis] * times, *shape[axis + 1:]))
    if counts.shape != (shape[axis],):
        raise errors.ShapeError(f"repeat: {counts.shape} repeats for {shape[axis]} elements.",
                                "Give one number, or one per element.")
    return taken(x, np.repeat(np.arange(shape[axis]), counts), axis)


@implements(np.resize)
def resize(a, new_shape):
    """The elements of a over and over, until they fill ``new_shape``."""
    x, shape = ravel(a), sizes(new_shape)
    if any(n < 0 for n in shape):
        raise errors.ShapeError(f"resize: extents must not be negative, got {shape}.")
    have, need = shape_of(x)[0], math.prod(shape)
    if not have or not need:
        return np.zeros(shape, dtype_of(x))
    times = -(-need // have)
    return reshaped(cut(tile(x, times) if times > 1 else x, 0, 0, need), shape)


@implements(np.flip)
def flip(m, axis=None):
    """m with the order of elements reversed along the axes."""
    x = as_array(m)
    axes = axes_of(axis, ndim_of(x))
    return OPS["rev"](x, axes=axes) if axes else x


@implements(np.fliplr)
def fliplr(m):
    """m reversed along its second axis."""
    return flip(_with_axes(m, 2, "fliplr"), 1)


@implements(np.flipud)
def flipud(m):
    """m reversed along its first axis."""
    return flip(_with_axes(m, 1, "flipud"), 0)


def _with_axes(x, least, name):
    x = as_array(x)
    if ndim_of(x) < least:
        raise errors.ShapeError(f"{name} needs {least} or more axes, got {aval_of(x)}.",
                                "Add one, e.g. x[None].")
    return x


@implements(np.rot90)
def rot90(m, k=1, axes=(0, 1)):
    """m turned by ``k`` quarter turns, from the first of the axes towards the second."""
    x = as_array(m)
    if len(axes) != 2:
        raise errors.ShapeError(f"rot90 turns a plane of two axes, got {tuple(axes)}.")
    i, j = (axis_of(axis, ndim_of(x)) for axis in axes)
    if i == j:
        raise errors.ShapeError(f"rot90: axes {tuple(axes)} must differ.")
    turns = index(k) % 4
    if turns == 2:
        return flip(x, (i, j))
    if turns == 1:
        return swapaxes(flip(x, j), i, j)
    return flip(swapaxes(x, i, j), j) if turns == 3 else x


@implements(np.roll)
def roll(a, shift, axis=None):
    """a shifted around its ends; ``shift`` may be a traced integer."""
    x = as_array(a)
    if axis is None:
        return reshaped(roll(ravel(x), shift, 0), shape_of(x))
    axes = list(axis) if isinstance(axis, (tuple, list)) else [axis]
    shifts = list(shift) if isinstance(shift, (tuple, list)) or np.ndim(shift) else [shift]
    if len(axes) != len(shifts) and 1 not in (len(axes), len(shifts)):
        raise errors.ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes.")
    n = builtins.max(len(axes), len(shifts))
    for by, one in zip(shifts * (n // len(shifts)), axes * (n // len(axes)), strict=True):
        x = _roll(x, by, axis_of(one, ndim_of(x)))
    return x


def _roll(x, shift, axis):
    n = shape_of(x)[axis]
    if type(shift) is Tracer and n:
        if dtype_of(shift).kind not in "iu" or ndim_of(shift):
            raise errors.DtypeError(f"roll: a traced shift must be one integer, got {shift.aval}.")
        return taken(x, np.mod(np.arange(n) - convert(shift, np.int64), n), axis)
    by = index(shift) % n if n and type(shift) is not Tracer else 0
    return OPS["roll"](x, shift=by, axis=axis) if by else x


# ----- padding --------------------------------------------------------------------------------

_PAD_OPTIONS = {"constant": {"constant_values"}, "edge": set(), "wrap": set(),
                "reflect": {"reflect_type"}, "symmetric": {"reflect_type"}, "linear_ramp": {"end_values"},
                **{mode: {"stat_length"} for mode in ("maximum", "mean", "median", "minimum")}}
_MAX_RUNS = 16      # beyond, one gather is cheaper than many slices


@implements(np.pad)
def pad(array, pad_width, mode="constant", **kwargs):
    """array with a border, of NumPy's modes all but 'empty'; values may be traced, lengths must be known."""
    x = as_array(array)
    if not isinstance(mode, str) or mode not in _PAD_OPTIONS:
        raise errors.NotSupportedError(f"pad: mode {mode!r} has no traced version.",
                                       f"Use one of {', '.join(_PAD_OPTIONS)}.")
    unknown = set(kwargs) - _PAD_OPTIONS[mode]
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {unknown}")
    widths = _pad_widths(pad_width, ndim_of(x))
    if mode == "constant":
        return _pad_constant(x, widths, kwargs.get("constant_values", 0))
    odd = kwargs.get("reflect_type", "even") == "odd"
    ends = core.broadcast_to(as_array(kwargs.get("end_values", 0)), (ndim_of(x), 2))
    lengths = kwargs.get("stat_length")
    if lengths is not None:
        lengths = known_array(lengths, "pad(stat_length=...)", _STATIC)
        lengths = np.broadcast_to(lengths, (ndim_of(x), 2)).tolist()
    for axis, (before, after) in enumerate(widths):
        n = shape_of(x)[axis]
        if before == after == 0:
            continue
        if n == 0:
            raise errors.ShapeError(f"pad: mode {mode!r} cannot extend the empty axis {axis} of "
                                    f"{aval_of(x)}.", "Use mode 'constant'.")
        if mode == "linear_ramp":
            x = _pad_ramp(x, axis, before, after, ends[axis])
        elif "stat_length" in _PAD_OPTIONS[mode]:
            x = _pad_statistic(x, axis, before, after, mode, (n, n) if lengths is None else lengths[axis])
        elif odd and n > 1:
            x = _pad_odd(x, axis, before, after, mode)
        else:
            x = _by_runs(x, np.pad(np.arange(n), (before, after), mode), axis)
    return x


def _pad_widths(pad_width, ndim) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            before, after = (width, width) if np.ndim(width) == 0 else width
            widths[axis_of(axis, ndim)] = (before, after)
        pad_width = widths
    found = known_array(pad_width, "pad(pad_width=...)", _STATIC)
    if ndim == 0 or found.size == 0:
        return [(0, 0)] * ndim
    if found.dtype.kind not in "iu":
        raise errors.DtypeError(f"pad: pad_width must be of integers, got {found.dtype}.")
    if found.min() < 0:
        raise errors.ShapeError(f"pad: widths must not be negative, got {found.tolist()}.",
                                "Slice to make an array smaller.")
    return [tuple(pair) for pair in core.broadcast_to(found, (ndim, 2)).tolist()]


def _pad_constant(x, widths, values):
    dtype, ndim = dtype_of(x), ndim_of(x)
    if not ndim:
        return x
    none = (0,) * ndim
    values = as_array(values)
    if ndim_of(values) == 0:
        value = values.astype(dtype) if is_number(values) else convert(values, dtype)
        before, after = zip(*widths, strict=True)
        return OPS["pad"](x, value, low=before, high=after, interior=none)
    values = core.broadcast_to(convert(values, dtype), (ndim, 2))
    for axis, ends in enumerate(widths):
        for side, width in enumerate(ends):
            if width:
                at = tuple([width if i == axis else 0 for i in range(ndim)])
                x = OPS["pad"](x, values[axis, side], low=none if side else at,
                               high=at if side else none, interior=none)
    return x


def _pad_ramp(x, axis, before, after, ends):
    """Straight lines from the ends, which are values at the outer border, to the edges."""
    n, dtype = shape_of(x)[axis], dtype_of(x)
    low, high = (
        np.linspace(convert(end, dtype), np.take(x, at, axis), width, endpoint=False, dtype=dtype, axis=axis)
        for end, at, width in ((ends[0], 0, before), (ends[1], n - 1, after)))
    return joined([low, x, np.flip(high, axis)], axis, dtype)


def _pad_statistic(x, axis, before, after, mode, lengths):
    """On either side a statistic of so many elements next to it, rounded for integers."""
    n, dtype = shape_of(x)[axis], dtype_of(x)
    function = {"maximum": np.max, "mean": np.mean, "median": np.median, "minimum": np.min}[mode]
    sides = []
    for length, width, low in ((lengths[0], before, True), (lengths[1], after, False)):
        length = builtins.min(length, n)
        if length < 1:
            raise ValueError(f"pad: stat_length must be positive, got {length}")
        near = cut(x, axis, 0, length) if low else cut(x, axis, n - length, n)
        found = function(near, axis=axis, keepdims=True)
        found = convert(np.rint(found) if dtype.kind in "iu" else found, dtype)
        shape = (*shape_of(x)[:axis], width, *shape_of(x)[axis + 1:])
        sides.append(core.broadcast_to(found, shape))
    return joined([sides[0], x, sides[1]], axis, dtype)


def _by_runs(x, indices, axis):
    """x at known indices along an axis, put together from slices where the indices run evenly."""
    runs, at = [], 0
    while at < len(indices):
        step, stop = 1, at + 1
        if stop < len(indices) and abs(indices[stop] - indices[at]) <= 1:
            step = int(indices[stop] - indices[at])
            while stop < len(indices) and indices[stop] - indices[stop - 1] == step:
                stop += 1
        runs.append((int(indices[at]), int(indices[stop - 1]), step, stop - at))
        at = stop
    if len(runs) > _MAX_RUNS:
        return taken(x, indices, axis)
    pieces = []
    for first, last, step, count in runs:
        piece = cut(x, axis, builtins.min(first, last), builtins.max(first, last) + 1)
        if step == -1:
            piece = OPS["rev"](piece, axes=(axis,))
        elif step == 0:
            shape = shape_of(x)
            piece = core.broadcast_to(piece, (*shape[:axis], count, *shape[axis + 1:]))
        pieces.append(piece)
    return joined(pieces, axis, dtype_of(x))


def _pad_odd(x, axis, before, after, mode):
    """Reflection through the value at the edge."""
    n = shape_of(x)[axis]
    skip = 1 if mode == "reflect" else 0
    if builtins.max(before, after) > n - skip:
        raise errors.NotSupportedError(
            f"pad: mode {mode!r} with reflect_type 'odd' reflects once, {n - skip} elements at "
            f"most; got {before} and {after}.", "Pad in several steps.")
    pieces = [x]
    if before:
        image = OPS["rev"](cut(x, axis, skip, before + skip), axes=(axis,))
        pieces.insert(0, 2 * cut(x, axis, 0, 1) - image)
    if after:
        image = OPS["rev"](cut(x, axis, n - skip - after, n - skip), axes=(axis,))
        pieces.append(2 * cut(x, axis, n - 1, n) - image)
    return joined(pieces, axis, dtype_of(x))


# ----- triangles and diagonals ----------------------------------------------------------------


def _below(x, k):
    """Whether an element lies on or below the k-th diagonal of the last two axes."""
    shape = shape_of(x)
    rows, columns = (OPS["iota"](shape=shape, dtype=np.dtype(np.int64), axis=len(shape) - i)
                     for i in (2, 1))
    k = index(k)
    return OPS["ge"](OPS["add"](rows, k) if k else rows, columns)


def _matrix(m):
    x = as_array(m)
    return core.broadcast_to(x, shape_of(x) * 2) if ndim_of(x) == 1 else x


@implements(np.tril)
def tril(m, k=0):
    """m with zeros above the k-th diagonal."""
    x = _with_axes(_matrix(m), 2, "tril")
    return OPS["select"](_below(x, k), x, splat(0, x))


@implements(np.triu)
def triu(m, k=0):
    """m with zeros below the k-th diagonal."""
    x = _with_axes(_matrix(m), 2, "triu")
    return OPS["select"](_below(x, index(k) - 1), splat(0, x), x)


@implements(np.diagonal, method="diagonal")
def diagonal(a, offset=0, axis1=0, axis2=1):
    """The diagonal of two axes, as the last axis; a value, not a view."""
    x = _with_axes(a, 2, "diagonal")
    ndim = ndim_of(x)
    i, j = axis_of(axis1, ndim), axis_of(axis2, ndim)
    if i == j:
        raise errors.ShapeError(f"diagonal: axis1 and axis2 must differ, got {axis1} and {axis2}.")
    x = permuted(x, (*[k for k in range(ndim) if k not in (i, j)], i, j))
    *lead, rows, columns = shape_of(x)
    offset = index(offset)
    top, left = builtins.max(-offset, 0), builtins.max(offset, 0)
    count = builtins.max(0, builtins.min(rows - top, columns - left))
    flat = reshaped(x, (*lead, rows * columns))
    start = top * columns + left if count else 0
    return cut(flat, len(lead), start, start + (count - 1) * (columns + 1) + 1 if count else start,
               columns + 1)


@implements(np.diag)
def diag(v, k=0):
    """The k-th diagonal of a matrix, or the matrix with this diagonal."""
    x = as_array(v)
    if ndim_of(x) == 2:
        return diagonal(x, k)
    if ndim_of(x) != 1:
        raise errors.ShapeError(f"diag takes one or two axes, got {aval_of(x)}.",
                                "Use np.diagonal or np.diagflat.")
    k, (n,) = index(k), shape_of(x)
    size = n + builtins.abs(k)
    if not n:
        return np.zeros((size, size), dtype_of(x))
    # in the flattened matrix, the diagonal's elements are size + 1 apart
    before = k if k >= 0 else -k * size
    span = (n - 1) * (size + 1) + 1
    flat = OPS["pad"](x, lit(0, aval((), dtype_of(x))), low=(before,),
                      high=(size * size - before - span,), interior=(size,))
    return reshaped(flat, (size, size))


@implements(np.diagflat)
def diagflat(v, k=0):
    """The matrix with the elements of v on its k-th diagonal."""
    return diag(ravel(v), k)


@implements(np.trace, method="trace")
def trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    """The sum of a diagonal."""
    return np.sum(diagonal(a, offset, axis1, axis2), -1, dtype, out)


# ----- grids and products ---------------------------------------------------------------------


@implements(np.meshgrid)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    """Coordinate arrays of the grid that the given axes span, as a tuple."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    xs = [ravel(x) for x in xi]
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    out = [reshaped(x, (1,) * at + shape_of(x) + (1,) * (len(xs) - at - 1))
           for x, at in zip(xs, order, strict=True)]
    return tuple(out if sparse else core.broadcast_arrays(*out))


@implements(np.vander)
def vander(x, N=None, increasing=False):
    """The matrix of powers of x, decreasing from left to right."""
    x = as_array(x)
    if ndim_of(x) != 1:
        raise errors.ShapeError(f"vander takes one axis, got {aval_of(x)}.", "Use np.ravel first.")
    count = shape_of(x)[0] if N is None else index(N)
    dtype = np.promote_types(dtype_of(x), np.int64)
    if count <= 0:
        return np.zeros((shape_of(x)[0], 0), dtype)
    columns = [np.ones(shape_of(x), dtype)]
    x = convert(x, dtype)
    for i in range(1, count):
        columns.append(x if i == 1 else columns[-1] * x)
    return np.stack(columns if increasing else columns[::-1], 1)


@implements(np.kron)
def kron(a, b):
    """The Kronecker product: each element of a times all of b."""
    x, y = as_array(a), as_array(b)
    ndim = builtins.max(ndim_of(x), ndim_of(y))
    sx, sy = ((1,) * (ndim - len(s)) + s for s in (shape_of(x), shape_of(y)))
    x = reshaped(x, tuple([n for size in sx for n in (size, 1)]))
    y = reshaped(y, tuple([n for size in sy for n in (1, size)]))
    return reshaped(np.multiply(x, y), tuple([n * m for n, m in zip(sx, sy, strict=True)]))


__all__ = ["diag", "diagflat", "diagonal", "flip", "fliplr", "flipud", "kron", "meshgrid", "pad",
           "repeat", "resize", "roll", "rot90", "tile", "trace", "tril", "triu", "vander"]
