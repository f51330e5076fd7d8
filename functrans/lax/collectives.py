"""Collectives: sums, extrema and gathers over a named axis of an enclosing vmap."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.staging import api
from ..ir.op import OPS
from ..ops import collective as _ops
from ..trace.core import aval_of, current_builder
from ..trace.tracer import Tracer


def _bound_axes() -> tuple:
    builder = current_builder()
    return () if builder is None else builder.axes


def _size(axis_name, function: str) -> int:
    """The extent of a named axis; UnboundAxisError if no vmap names it."""
    axes = _bound_axes()
    for name, size in axes:                 # innermost first, so inner names shadow outer ones
        if name == axis_name:
            return size
    bound = ", ".join([repr(name) for name, _ in axes])
    raise errors.UnboundAxisError(
        f"{function}: no enclosing vmap names the axis {axis_name!r}; "
        + (f"bound are {bound}." if bound else "no axis is bound here."),
        f"Call it inside vmap(f, axis_name={axis_name!r}).")


def _names(axis_name) -> list:
    return list(axis_name) if isinstance(axis_name, (tuple, list)) else [axis_name]


@api
def axis_size(axis_name: Any) -> int:
    """The extent of a named axis (of several: their product), a Python int."""
    total = 1
    for name in _names(axis_name):
        total *= _size(name, "axis_size")
    return total


@api
def axis_index(axis_name: Any):
    """The position of this example along a named axis (of several: in row-major order)."""
    total = None
    for name in _names(axis_name):
        size = _size(name, "axis_index")
        here = _ops.axis_index(axis_name=name)
        total = here if total is None else total * size + here
    return np.int64(0) if total is None else total


def _checked(axis_name, function):
    names = _names(axis_name)
    return names, [_size(name, function) for name in names]


def _members(x, axis_name, groups, function):
    """The values of the examples of one's own group, side by side on a new first axis; and the place of
    each example in its group."""
    names, (size, *more) = _checked(axis_name, function)
    if more:
        raise errors.NotSupportedError(f"{function}: axis_index_groups over several axes {tuple(names)}.",
                                       "Name one axis.")
    groups = [[i.__index__() for i in g] for g in groups]
    if sorted([i for g in groups for i in g]) != list(range(size)) or len({len(g) for g in groups}) != 1:
        raise errors.ShapeError(
            f"{function}: axis_index_groups={groups} for the axis {axis_name!r} of extent {size}.",
            "Give groups of one size that together have each index once.")
    here = axis_index(axis_name)
    group_of, place = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for g, members in enumerate(groups):
        group_of[members], place[members] = g, np.arange(len(members))
    own = _at(np.array(groups), _at(group_of, here))
    x = x if type(x) is Tracer else np.asarray(x)
    gathered = _ops.all_gather(x, axis_name=names[0], size=size, axis=0)
    return _at(gathered, own), _at(place, here)


def _at(x, i):
    return OPS["gather"](x, i, mode="clip")


@api
def psum(x: Any, axis_name: Any, *, axis_index_groups: Any = None):
    """The sum over a named axis, in every example; ``x`` may be a pytree.

    With ``axis_index_groups``, lists of places along the axis, each group has a sum of its own.

    >>> import numpy as np
    >>> from functrans import lax, vmap
    >>> vmap(lambda x: x / lax.psum(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([0.25, 0.75])
    """
    return _sum(x, axis_name, "psum", axis_index_groups)


def _sum(x, axis_name, function, groups):
    names, sizes = _checked(axis_name, function)

    def one(leaf):
        if groups is not None:
            return np.sum(_members(leaf, axis_name, groups, function)[0], axis=0)
        if type(leaf) is not Tracer:        # the same in every example
            return leaf * int(np.prod(sizes, dtype=np.int64))
        if leaf.dtype == np.bool_:
            leaf = leaf.astype(np.int64)
        for name in names:
            leaf = _ops.psum(leaf, axis_name=name)
        return leaf

    return tree.map(one, x)


@api
def pmean(x: Any, axis_name: Any, *, axis_index_groups: Any = None):
    """The mean over a named axis; ``x`` may be a pytree."""
    _, sizes = _checked(axis_name, "pmean")
    n = int(np.prod(sizes, dtype=np.int64))
    if axis_index_groups is not None:
        n = len(axis_index_groups[0])
    return tree.map(lambda leaf: leaf / n, _sum(x, axis_name, "pmean", axis_index_groups))


def _extremum(x, axis_name, function, op, whole, groups):
    names, _ = _checked(axis_name, function)

    def one(leaf):
        aval_of(leaf)
        if groups is not None:
            return whole(_members(leaf, axis_name, groups, function)[0], axis=0)
        if type(leaf) is Tracer:
            for name in names:
                leaf = op(leaf, axis_name=name)
        return leaf

    return tree.map(one, x)


@api
def pmax(x: Any, axis_name: Any, *, axis_index_groups: Any = None):
    """The maximum over a named axis; ``x`` may be a pytree."""
    return _extremum(x, axis_name, "pmax", _ops.pmax, np.max, axis_index_groups)


@api
def pmin(x: Any, axis_name: Any, *, axis_index_groups: Any = None):
    """The minimum over a named axis; ``x`` may be a pytree."""
    return _extremum(x, axis_name, "pmin", _ops.pmin, np.min, axis_index_groups)


@api
def all_gather(x: Any, axis_name: Any, *, axis_index_groups: Any = None, axis: int = 0, tiled: bool = False,
               to: str = "varying"):
    """The values of all examples, stacked along a new axis (or joined along ``axis`` if ``tiled``).

    ``to`` is a mark of JAX's types and changes nothing.
    """
    names, sizes = _checked(axis_name, "all_gather")

    def one(leaf):
        leaf = leaf if type(leaf) is Tracer else np.asarray(leaf)
        n_out = leaf.ndim + (not tiled)
        if not -n_out <= axis < n_out:
            raise errors.AxisError(f"all_gather: axis {axis} is not a place for an axis in "
                                   f"{aval_of(leaf)}.", axis=axis, ndim=leaf.ndim)
        at = axis % n_out
        if axis_index_groups is not None:
            leaf = np.moveaxis(_members(leaf, axis_name, axis_index_groups, "all_gather")[0], 0, at)
            return _joined(leaf, at) if tiled else leaf
        for k, (name, size) in enumerate(reversed(list(zip(names, sizes, strict=True)))):
            leaf = _ops.all_gather(leaf, axis_name=name, size=size, axis=at)
            if tiled or k:                  # several names count as one, the first varying slowest
                leaf = _joined(leaf, at)
        return leaf

    return tree.map(one, x)


def _joined(x, axis):
    """x with the axis and the one behind it as one."""
    shape = x.shape
    return np.reshape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2:]))


# ----- exchanges ----------------------------------------------------------------------------------


def _axis(axis, x, function) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise errors.AxisError(f"{function}: axis {axis} of {aval_of(x)}.", axis=axis, ndim=x.ndim)
    return axis % x.ndim


def _one_axis(axis_name, function):
    names, sizes = _checked(axis_name, function)
    if len(names) != 1:
        raise errors.NotSupportedError(f"{function} over several axes {tuple(names)}.", "Name one axis.")
    return names[0], sizes[0]


@api
def all_to_all(x: Any, axis_name: Any, split_axis: int, concat_axis: int, *, axis_index_groups: Any = None,
               tiled: bool = False):
    """Example j gets part j along ``split_axis`` of every example, side by side along ``concat_axis``.

    Args:
        x: an array, or a pytree of arrays.
        axis_name: of an enclosing vmap.
        split_axis: the axis that is cut; its extent is that of the named axis (``tiled``: a multiple).
        concat_axis: where the parts go in the result, as a new axis; ``tiled``: the axis along which
            they are joined.
        axis_index_groups: lists of places along the named axis; each group exchanges by itself.
        tiled: whether axes keep their number.

    Raises:
        ShapeError: the extent does not fit.

    >>> import numpy as np
    >>> from functrans import lax, vmap
    >>> x = np.array([[1, 2], [3, 4]])
    >>> vmap(lambda row: lax.all_to_all(row, "i", 0, 0), axis_name="i")(x)
    array([[1, 3],
           [2, 4]])
    """
    return tree.map(lambda leaf: _exchange(leaf, axis_name, split_axis, concat_axis, axis_index_groups, tiled,
                                           "all_to_all"), x)


def _exchange(x, axis_name, split, concat, groups, tiled, function):
    name, size = _one_axis(axis_name, function)
    size = size if groups is None else len(groups[0])
    x = x if type(x) is Tracer else np.asarray(x)
    split, concat = _axis(split, x, function), _axis(concat, x, function)
    n = x.shape[split]
    if n % size if tiled else n != size:
        raise errors.ShapeError(f"{function}: axis {split} of {aval_of(x)} is to be cut into {size} parts.",
                                "Its extent must be " + ("a multiple of that." if tiled else
                                                         "that of the named axis, or use tiled=True."))
    if tiled:
        x = np.reshape(x, (*x.shape[:split], size, n // size, *x.shape[split + 1:]))
    if groups is None:
        out = _ops.all_to_all(x, axis_name=name, split=split, concat=concat)
    else:
        members, place = _members(x, name, groups, function)
        out = np.moveaxis(np.take(members, place, axis=split + 1), 0, concat)
    return _joined(out, concat) if tiled else out


@api
def pswapaxes(x: Any, axis_name: Any, axis: int, *, axis_index_groups: Any = None):
    """``x`` with an axis and the named one, of equal extents, exchanged; a pytree likewise."""
    return tree.map(lambda leaf: _exchange(leaf, axis_name, axis, axis, axis_index_groups, False,
                                           "pswapaxes"), x)


@api
def psum_scatter(x: Any, axis_name: Any, *, scatter_dimension: int = 0, axis_index_groups: Any = None,
                 tiled: bool = False):
    """The sum over a named axis, of which each example gets its own part along ``scatter_dimension``.

    Not ``tiled``, that axis has the extent of the named one and is gone from the result.

    >>> import numpy as np
    >>> from functrans import lax, vmap
    >>> x = np.array([[1, 2], [3, 4]])
    >>> vmap(lambda row: lax.psum_scatter(row, "i"), axis_name="i")(x)
    array([4, 6])
    """
    def one(leaf):
        leaf = leaf if type(leaf) is Tracer else np.asarray(leaf)
        at = _axis(scatter_dimension, leaf, "psum_scatter")
        if not tiled:
            return np.sum(_exchange(leaf, axis_name, at, 0, axis_index_groups, False, "psum_scatter"), axis=0)
        size = _one_axis(axis_name, "psum_scatter")[1]
        size = size if axis_index_groups is None else len(axis_index_groups[0])
        if leaf.shape[at] % size:
            raise errors.ShapeError(f"psum_scatter: axis {at} of {aval_of(leaf)} is to be cut into {size} "
                                    "parts.")
        parts = np.reshape(leaf, (*leaf.shape[:at], size, leaf.shape[at] // size, *leaf.shape[at + 1:]))
        return np.sum(_exchange(parts, axis_name, at, 0, axis_index_groups, False, "psum_scatter"), axis=0)

    return tree.map(one, x)


@api
def ppermute(x: Any, axis_name: Any, perm: Any):
    """Values sent from place to place along a named axis; who gets none has zeros.

    Args:
        x: an array, or a pytree of arrays.
        perm: pairs (source, target); each place is source at most once, and target at most once.

    >>> import numpy as np
    >>> from functrans import lax, vmap
    >>> vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")(np.array([1.0, 2.0, 3.0]))
    array([0., 1., 2.])
    """
    return _permute(x, axis_name, [(i.__index__(), j.__index__()) for i, j in perm], "ppermute")


def _permute(x, axis_name, pairs, function):
    name, size = _one_axis(axis_name, function)
    for side in zip(*pairs, strict=True):
        if len(set(side)) < len(side) or not all(0 <= i < size for i in side):
            raise errors.ShapeError(f"{function}: perm={pairs} for the axis {name!r} of extent {size}.",
                                    "Each place may be a source once, and a target once.")
    return tree.map(lambda leaf: _ops.ppermute(leaf if type(leaf) is Tracer else np.asarray(leaf),
                                               axis_name=name, perm=tuple(pairs)), x)


@api
def pshuffle(x: Any, axis_name: Any, perm: Any):
    """``ppermute`` by a whole permutation: place i gets what ``perm[i]`` has."""
    perm = [i.__index__() for i in perm]
    size = _one_axis(axis_name, "pshuffle")[1]
    if sorted(perm) != list(range(size)):
        raise errors.ShapeError(f"pshuffle: perm={perm} is no permutation of {size} places.")
    return _permute(x, axis_name, [(source, i) for i, source in enumerate(perm)], "pshuffle")


@api
def pbroadcast(x: Any, axis_name: Any, source: int):
    """The value of the example at place ``source`` of a named axis, in all of them."""
    name, size = _one_axis(axis_name, "pbroadcast")
    if not 0 <= source < size:
        raise errors.IndexRangeError(f"pbroadcast: source {source} of the axis {name!r} of extent {size}")
    return tree.map(lambda leaf: leaf if type(leaf) is not Tracer else
                    _ops.all_gather(leaf, axis_name=name, size=size, axis=0)[source], x)


__all__ = ["psum", "pmean", "pmax", "pmin", "all_gather", "all_to_all", "axis_index", "axis_size",
           "pbroadcast", "ppermute", "pshuffle", "psum_scatter", "pswapaxes"]
