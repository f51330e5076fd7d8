"""Slices at run-time positions, gather, the scatter family: the names and meanings of ``jax.lax``.

Gather and scatter address windows of an array by start positions; what dimension numbers say is turned into
index arrays for the ops of ``functrans.ops.index``, which every transform knows.
"""

from __future__ import annotations

import operator as _operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import axis_of, convert
from ..numpy.index import from_front, reshaped
from ..numpy.indexing import GatherScatterMode
from ..ops.index import reach
from ..trace.core import aval_of, bind
from ..trace.tracer import Tracer
from .control import fori_loop, while_loop
from .ops import _avals, _operand, expand_dims, squeeze

_INT64 = np.dtype("int64")


def _ints(values: Any) -> tuple[int, ...]:
    return tuple([_operator.index(v) for v in values])


# ----- windows at run-time positions ----------------------------------------------------------------


def _starts(name, operand, indices, negative):
    """Start indices as int64 scalars; negative ones count from the end, where that is allowed."""
    a = aval_of(operand)
    if type(indices) is Tracer or isinstance(indices, np.ndarray):
        indices = [indices[i] for i in range(aval_of(indices).shape[0])]
    indices = [_operand(i) for i in indices]
    if len(indices) != a.ndim:
        raise errors.ShapeError(f"lax.{name}: {len(indices)} start indices for {a}.",
                                "Give one for each axis.")
    for i in indices:
        if aval_of(i).shape or aval_of(i).dtype.kind not in "iu":
            raise errors.DtypeError(f"lax.{name}: start indices must be integer scalars, got "
                                    f"{_avals(indices)}.", "Convert them with astype(int).")
    if isinstance(negative, bool):
        negative = [negative] * a.ndim
    if len(negative) != a.ndim:
        raise errors.ShapeError(f"lax.{name}: allow_negative_indices has {len(negative)} values for {a}.",
                                "Give one bool, or one for each axis.")
    return [from_front(i, n) if back else convert(i, _INT64)
            for i, n, back in zip(indices, a.shape, negative, strict=True)]


def dynamic_slice(operand, start_indices, slice_sizes: Sequence[int], *,
                  allow_negative_indices: bool | Sequence[bool] = True):
    """A window of static size at run-time positions, which are clamped to fit.

    >>> functrans.lax.dynamic_slice(np.arange(5.0), (3,), (2,))
    array([3., 4.])
    """
    operand = _operand(operand)
    starts = _starts("dynamic_slice", operand, start_indices, allow_negative_indices)
    return OPS["dynamic_slice"](operand, *starts, sizes=_ints(slice_sizes))


def dynamic_slice_in_dim(operand, start_index, slice_size: int, axis: int = 0, *,
                         allow_negative_indices: bool = True):
    """A window along one axis."""
    operand = _operand(operand)
    shape = list(aval_of(operand).shape)
    axis = axis_of(axis, len(shape))
    shape[axis] = slice_size
    return dynamic_slice(operand, [start_index if i == axis else 0 for i in range(len(shape))], shape,
                         allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(operand, index, axis: int = 0, keepdims: bool = True, *,
                         allow_negative_indices: bool = True):
    """One run-time position along an axis."""
    out = dynamic_slice_in_dim(operand, index, 1, axis, allow_negative_indices=allow_negative_indices)
    return out if keepdims else squeeze(out, (axis,))


def dynamic_update_slice(operand, update, start_indices, *,
                         allow_negative_indices: bool | Sequence[bool] = True):
    """The operand with a window at run-time positions, which are clamped to fit, replaced."""
    operand, update = _operand(operand), _operand(update)
    starts = _starts("dynamic_update_slice", operand, start_indices, allow_negative_indices)
    return OPS["dynamic_update_slice"](operand, update, *starts)


def dynamic_update_slice_in_dim(operand, update, start_index, axis: int, *,
                                allow_negative_indices: bool = True):
    """The operand with a window along one axis replaced."""
    operand = _operand(operand)
    ndim = aval_of(operand).ndim
    axis = axis_of(axis, ndim)
    return dynamic_update_slice(operand, update, [start_index if i == axis else 0 for i in range(ndim)],
                                allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(operand, update, index, axis: int, *, allow_negative_indices: bool = True):
    """The operand with one position along an axis replaced."""
    operand, update = _operand(operand), _operand(update)
    if aval_of(update).ndim < aval_of(operand).ndim:
        update = expand_dims(update, (axis,))
    return dynamic_update_slice_in_dim(operand, update, index, axis,
                                       allow_negative_indices=allow_negative_indices)


# ----- gather and scatter -----------------------------------------------------------------------------


class GatherDimensionNumbers(NamedTuple):
    """What the axes of a gather's operands mean.

    Attributes:
      offset_dims: axes of the result that are axes of the windows; the others are those of the indices.
      collapsed_slice_dims: axes of the operand, with windows of 1, that the result does not have.
      start_index_map: for each number in the last axis of the indices, the axis of the operand it is for.
      operand_batching_dims, start_indices_batching_dims: axes that the operand and the indices share.
    """

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


class ScatterDimensionNumbers(NamedTuple):
    """What the axes of a scatter's operands mean: as GatherDimensionNumbers, for the updates.

    Attributes:
      update_window_dims: axes of the updates that are axes of the windows.
      inserted_window_dims: axes of the operand, with windows of 1, that the updates do not have.
      scatter_dims_to_operand_dims: for each number in the last axis of the indices, the axis of the operand.
      operand_batching_dims, scatter_indices_batching_dims: axes that the operand and the indices share.
    """

    update_window_dims: Sequence[int]
    inserted_window_dims: Sequence[int]
    scatter_dims_to_operand_dims: Sequence[int]
    operand_batching_dims: Sequence[int] = ()
    scatter_indices_batching_dims: Sequence[int] = ()


def _axes(name, what, axes, ndim, increasing=True):
    """Axes as a tuple, each named once."""
    axes = _ints(axes)
    if len(set(axes)) != len(axes) or (increasing and list(axes) != sorted(axes)):
        raise errors.ShapeError(f"lax.{name}: {what} must name axes once"
                                f"{', in increasing order' if increasing else ''}, got {axes}.")
    if any(not 0 <= a < ndim for a in axes):
        raise errors.AxisError(f"lax.{name}: {what} {axes} must be in 0 .. {ndim - 1}.", axis=axes[0],
                               ndim=ndim)
    return axes


class _Windows:
    """Windows of an array by start positions, as operands of the index ops.

    Attributes:
      order: the operand's axes as the ops take them: batch, indexed ones, the rest.
      batch: how many are the batch.
      indices: the index arrays, behind the axes of ``lead`` one for each axis of ``spread``.
      lead: the order of the indices' own axes in theirs.
      spread: indexed axes with windows of more than one position.
      points: indexed axes with one position each; with neither, the ops index an axis of one element that
        is put in (``added``).
      kept: the axes of the windows, of which those in the rest are whole.
    """

    def __init__(self, name, operand, indices, index_map, taken, batching, index_batching, sizes_of,
                 leave):
        a, i = aval_of(operand), aval_of(indices)
        if i.dtype.kind not in "iu" or not i.ndim:
            raise errors.DtypeError(f"lax.{name}: indices must be integers with at least one axis, got {i}.",
                                    "The last axis holds the numbers of one position.")
        rank = i.ndim - 1
        index_map = _axes(name, "the axes that indices are for", index_map, a.ndim, increasing=False)
        taken = _axes(name, "the axes left out of the windows", taken, a.ndim)
        batching = _axes(name, "operand_batching_dims", batching, a.ndim)
        index_batching = _axes(name, "the batching dims of the indices", index_batching, rank,
                               increasing=False)
        if len(index_map) != i.shape[-1]:
            raise errors.ShapeError(f"lax.{name}: the last axis of the indices {i} must have one number for "
                                    f"each of the axes {index_map}.")
        if {*taken, *index_map} & {*batching} or [a.shape[d] for d in batching] != [
                i.shape[d] for d in index_batching]:
            raise errors.ShapeError(f"lax.{name}: batching dims {batching} of {a} and {index_batching} of "
                                    f"{i} must be of equal sizes, and not indexed.")
        self.kept = tuple([d for d in range(a.ndim) if d not in taken and d not in batching])
        sizes = sizes_of(self.kept)
        for d, (size, n) in enumerate(zip(sizes, a.shape, strict=True)):
            if not 0 <= size <= n or (d in taken and size > 1):
                raise errors.ShapeError(f"lax.{name}: a window of {size} in axis {d} of {a} must be "
                                        f"{'1' if d in taken else f'0 to {n}'}.")
        self.sizes, self.name = sizes, name
        self.lead = (*index_batching, *[d for d in range(rank) if d not in index_batching])
        self.batch = len(batching)
        whole = [d for d in range(a.ndim) if d not in batching and sizes[d] == a.shape[d] and not (
            d in index_map and sizes[d] == 1)]
        indexed = [d for d in range(a.ndim) if d not in whole and d not in batching]
        self.points = [d for d in indexed if sizes[d] == 1]
        self.spread = [d for d in indexed if sizes[d] != 1]
        self.added = not self.points and not self.spread
        self.order = (*batching, *self.points, *self.spread, *whole)
        self.rest = tuple([d for d in whole if d in self.kept])
        self._address(a.shape, indices, index_map, leave)

    def _address(self, shape, indices, index_map, leave):
        starts = {d: indices[..., k] for k, d in enumerate(index_map)}
        lead = tuple([aval_of(indices).shape[d] for d in self.lead])
        width = tuple([self.sizes[d] for d in self.spread])
        inside = None
        if leave and any(self.sizes[d] != 1 for d in index_map):        # all of a window, or nothing
            inside = np.bool_(True)
            for d, s in starts.items():
                inside = inside & (s >= 0) & (convert(s, _INT64) <= shape[d] - self.sizes[d])
            inside = self._ordered(inside, len(width))
        found = []
        for d in (*self.points, *self.spread):
            size = self.sizes[d]
            s = self._ordered(starts[d], len(width)) if d in starts else np.zeros(
                (1,) * (len(lead) + len(width)), np.int64)
            if d in self.spread:
                ahead = [1] * len(width)
                ahead[self.spread.index(d)] = size
                s = np.clip(convert(s, _INT64), 0, shape[d] - size) + np.arange(size).reshape(ahead)
            found.append(s)
        if self.added:
            found.append(np.zeros((1,) * len(lead), np.int64))
        if inside is not None:
            found[0] = np.where(inside, convert(found[0], _INT64), -1)
        self.indices = [np.broadcast_to(s, lead + width) for s in found]

    def _ordered(self, s, more):
        """A number of each position, with axes for the windows."""
        s = np.transpose(s, self.lead)
        return np.reshape(s, aval_of(s).shape + (1,) * more)

    def arranged(self, x):
        """The operand, as the ops take it."""
        x = np.transpose(x, self.order) if self.order != tuple(range(len(self.order))) else x
        shape, inner = aval_of(x).shape, self.batch + len(self.points) + len(self.spread)
        rest = [n for d, n in zip(self.order[inner:], shape[inner:], strict=True) if d in self.rest]
        return reshaped(x, (*shape[:self.batch], *[1] * self.added, *shape[self.batch:inner], *rest))

    def restored(self, x, shape):
        """The inverse."""
        x = reshaped(x, [shape[d] for d in self.order])
        return np.transpose(x, tuple(np.argsort(self.order)))

    def labels(self, window_dims, ndim):
        """Axes of the windows (of the result or of the updates) and those of the indices, in their order:
        ("w", operand axis) or ("i", axis)."""
        if len(window_dims) != len(self.kept) or ndim != len(self.lead) + len(self.kept):
            raise errors.ShapeError(
                f"lax.{self.name}: window axes {window_dims} in an array of {ndim} axes: there must be "
                f"{len(self.kept)}, beside the {len(self.lead)} of the indices.")
        window, lead = iter(self.kept), iter(range(len(self.lead)))
        return [("w", next(window)) if d in window_dims else ("i", next(lead)) for d in range(ndim)]

    def inner(self):
        """The same axes in the ops' order, without the windows of one position."""
        return [*[("i", d) for d in self.lead], *[("w", d) for d in (*self.spread, *self.rest)]]


def gather(operand, start_indices, dimension_numbers: GatherDimensionNumbers, slice_sizes: Sequence[int], *,
           unique_indices: bool = False, indices_are_sorted: bool = False,
           mode: str | GatherScatterMode | None = None, fill_value=None):
    """Windows of ``slice_sizes`` at the positions in the last axis of ``start_indices``.

    Args:
      dimension_numbers: see GatherDimensionNumbers.
      mode: "fill" (None): a window that is not inside gives ``fill_value`` (nan, the smallest signed or the
        largest unsigned integer, False); "clip": positions are moved so that the window is inside;
        "promise_in_bounds": they are, and are clipped all the same.
      unique_indices, indices_are_sorted: promises, on which nothing depends.

    >>> numbers = functrans.lax.GatherDimensionNumbers(
    ...     offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,))
    >>> functrans.lax.gather(np.arange(5.0), np.array([[1], [3]]), numbers, (2,))
    array([[1., 2.],
           [3., 4.]])
    """
    operand, start_indices, n = _operand(operand), _operand(start_indices), dimension_numbers
    shape, sizes = aval_of(operand).shape, _ints(slice_sizes)
    if len(sizes) != len(shape):
        raise errors.ShapeError(f"lax.gather: slice_sizes {sizes} must have a size for each axis of "
                                f"{aval_of(operand)}.")
    if any(sizes[d] > 1 for d in n.operand_batching_dims):
        raise errors.ShapeError(f"lax.gather: slice_sizes {sizes} must be 1 in the batching dims "
                                f"{tuple(n.operand_batching_dims)}.")
    leave = GatherScatterMode.from_any(mode) is GatherScatterMode.FILL_OR_DROP
    if any(s > m for s, m in zip(sizes, shape, strict=True)):
        raise errors.ShapeError(f"lax.gather: slice_sizes {sizes} must not exceed {aval_of(operand)}.")
    fixed = {*range(len(shape))} - {*n.start_index_map} - {*n.operand_batching_dims}
    cut = tuple([slice(0, s) if d in fixed else slice(None) for d, s in enumerate(sizes)])
    if any(c.stop is not None and c.stop < m for c, m in zip(cut, shape, strict=True)):
        operand = operand[cut]
    w = _Windows("gather", operand, start_indices, n.start_index_map, n.collapsed_slice_dims,
                 n.operand_batching_dims, n.start_indices_batching_dims,
                 lambda kept: tuple([m if d in n.operand_batching_dims else s
                                     for d, (s, m) in enumerate(zip(sizes, shape, strict=True))]), leave)
    rank = len(w.lead) + len(w.kept)
    wanted = w.labels(_axes("gather", "offset_dims", n.offset_dims, rank), rank)
    final = tuple([sizes[d] if kind == "w" else aval_of(start_indices).shape[d] for kind, d in wanted])
    dtype = aval_of(operand).dtype
    if 0 in final:
        return np.zeros(final, dtype)
    fill = None
    if leave and fill_value is not None:
        fill = np.asarray(fill_value).astype(dtype).item()
        fill = None if fill != fill else fill           # nan is the default
    out = OPS["gather"](w.arranged(operand), *w.indices,
                        **reach("fill" if leave else "clip", w.batch, False, fill))
    have = w.inner()
    out = np.transpose(out, [have.index(label) for label in wanted if label in have])
    return reshaped(out, final)


def _scatter(name, operand, indices, updates, numbers, mode, kind):
    operand, indices, updates, n = _operand(operand), _operand(indices), _operand(updates), numbers
    a, u = aval_of(operand), aval_of(updates)
    updates = convert(updates, a.dtype) if u.weak else updates
    if aval_of(updates).dtype != a.dtype:
        raise errors.DtypeError(f"lax.{name}: operand and updates must have one dtype, got {a} and {u}.",
                                "Convert one with astype.")
    leave = GatherScatterMode.from_any(mode) is GatherScatterMode.FILL_OR_DROP
    window_dims = _axes(name, "update_window_dims", n.update_window_dims, u.ndim)

    def sizes(kept):
        if len(kept) != len(window_dims):
            raise errors.ShapeError(f"lax.{name}: update_window_dims {window_dims} must name one axis of the "
                                    f"updates for each of the axes {kept} of {a}.")
        found = dict(zip(kept, [u.shape[d] for d in window_dims], strict=True))
        return tuple([found.get(d, m if d in n.operand_batching_dims else 1) for d, m in enumerate(a.shape)])

    w = _Windows(name, operand, indices, n.scatter_dims_to_operand_dims, n.inserted_window_dims,
                 n.operand_batching_dims, n.scatter_indices_batching_dims, sizes, leave)
    have = w.labels(window_dims, u.ndim)
    lead = [aval_of(indices).shape[d] for label, d in have if label == "i"]
    if lead != [u.shape[k] for k, (label, _) in enumerate(have) if label == "i"]:
        raise errors.ShapeError(f"lax.{name}: updates {u} must have the axes of the indices "
                                f"{aval_of(indices)} beside those of the windows, {window_dims}.")
    if 0 in u.shape:
        return operand
    updates = np.transpose(updates, [have.index(label) for label in w.inner()] + [
        k for k, label in enumerate(have) if label not in w.inner()])
    x = w.arranged(operand)
    end = w.batch + len(w.indices)
    updates = reshaped(updates, aval_of(w.indices[0]).shape + aval_of(x).shape[end:])
    if a.dtype == np.bool_:
        kind = {"add": "max", "mul": "min"}.get(kind, kind)
    out = OPS[f"scatter_{kind}"](x, updates, *w.indices, **reach("drop" if leave else "clip", w.batch))
    return w.restored(out, a.shape)


def _combining(name, kind, what):
    def scatter(operand, scatter_indices, updates, dimension_numbers: ScatterDimensionNumbers, *,
                indices_are_sorted: bool = False, unique_indices: bool = False,
                mode: str | GatherScatterMode | None = None):
        return _scatter(name, operand, scatter_indices, updates, dimension_numbers, mode, kind)
    scatter.__name__ = scatter.__qualname__ = name
    scatter.__doc__ = f"""The operand with {what} at the windows that ``scatter_indices`` address.

    ``dimension_numbers``: see ScatterDimensionNumbers. ``mode``: "fill", "drop" or None leave windows out
    that are not inside; "clip" moves them inside. Updates are applied in the order of the indices.
    ``unique_indices`` and ``indices_are_sorted`` are promises on which nothing depends.

    >>> numbers = functrans.lax.ScatterDimensionNumbers((), (0,), (0,))
    >>> functrans.lax.{name}(np.ones(3), np.array([[0], [2]]), np.array([5.0, 7.0]), numbers)
    {{}}
    """
    return scatter


def _shown(function, result):
    function.__doc__ = function.__doc__.format(result)
    return function


scatter = _shown(_combining("scatter", "set", "updates"), "array([5., 1., 7.])")
scatter_add = _shown(_combining("scatter_add", "add", "updates added"), "array([6., 1., 8.])")
scatter_mul = _shown(_combining("scatter_mul", "mul", "updates multiplied"), "array([5., 1., 7.])")
scatter_min = _shown(_combining("scatter_min", "min", "the minimum of it and updates"), "array([1., 1., 1.])")
scatter_max = _shown(_combining("scatter_max", "max", "the maximum of it and updates"), "array([5., 1., 7.])")


def scatter_sub(operand, scatter_indices, updates, dimension_numbers: ScatterDimensionNumbers, *,
                indices_are_sorted: bool = False, unique_indices: bool = False,
                mode: str | GatherScatterMode | None = None):
    """The operand with updates subtracted: ``scatter_add`` of their negatives."""
    return _scatter("scatter_sub", operand, scatter_indices, bind(OPS["neg"], (_operand(updates),), {}),
                    dimension_numbers, mode, "add")


def scatter_apply(operand, scatter_indices, func: Callable[[Any], Any],
                  dimension_numbers: ScatterDimensionNumbers, *, update_shape: Sequence[int] = (),
                  indices_are_sorted: bool = False, unique_indices: bool = False,
                  mode: str | GatherScatterMode | None = None):
    """The operand with ``func``, an elementwise function, applied at the windows, of ``update_shape``.

    It is applied as often as an element is addressed; with ``unique_indices``, once.

    >>> numbers = functrans.lax.ScatterDimensionNumbers((), (0,), (0,))
    >>> functrans.lax.scatter_apply(np.array([3.0, 4.0]), np.array([[1], [1]]), lambda x: x * 2,
    ...                             numbers, update_shape=(2,))
    array([ 3., 16.])
    """
    operand, update_shape = _operand(operand), _ints(update_shape)
    if not update_shape:
        update_shape = aval_of(scatter_indices).shape[:-1]
    shape = aval_of(operand).shape
    times = _scatter("scatter_apply", np.zeros(shape, np.int64), scatter_indices,
                     np.ones(update_shape, np.int64), dimension_numbers, mode, "add")
    return applied(operand, times, func, unique_indices)


def applied(x, times, func, unique):
    """x with ``func`` applied to each element as often as ``times`` says; at most once if ``unique``."""
    def once(k, x):
        return np.where(times > k, convert(func(x), aval_of(x).dtype), x)
    if unique:
        return once(0, x)
    if type(times) is np.ndarray:
        return fori_loop(0, int(np.max(times, initial=0)), once, x)
    return while_loop(lambda s: s[0] < np.max(times, initial=0), lambda s: (s[0] + 1, once(*s)), (0, x))[1]


def index_take(src, idxs: Sequence[Any], axes: Sequence[int]):
    """``src`` at one-dimensional index arrays for some axes, which come first; positions wrap around.

    >>> functrans.lax.index_take(np.arange(6.0).reshape(2, 3), [np.array([0, -1])], (1,))
    array([[0., 3.],
           [2., 5.]])
    """
    src, idxs = _operand(src), [_operand(i) for i in idxs]
    ndim = aval_of(src).ndim
    axes = tuple([axis_of(a, ndim) for a in axes])
    moved = np.transpose(src, (*axes, *[a for a in range(ndim) if a not in axes]))
    return OPS["gather"](moved, *idxs, mode="wrap")


__all__ = ["GatherDimensionNumbers", "GatherScatterMode", "ScatterDimensionNumbers", "dynamic_index_in_dim",
           "dynamic_slice", "dynamic_slice_in_dim", "dynamic_update_index_in_dim", "dynamic_update_slice",
           "dynamic_update_slice_in_dim", "gather", "index_take", "scatter", "scatter_add", "scatter_apply",
           "scatter_max", "scatter_min", "scatter_mul", "scatter_sub"]
