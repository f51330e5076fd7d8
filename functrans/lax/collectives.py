"""Collectives: sums, extrema and gathers over a named axis of an enclosing vmap."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors, tree
from ..ops import collective as _ops
from ..staging import api
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


@api
def psum(x: Any, axis_name: Any):
    """The sum over a named axis, in every example; ``x`` may be a pytree.

    >>> import numpy as np
    >>> from functrans import lax, vmap
    >>> vmap(lambda x: x / lax.psum(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([0.25, 0.75])
    """
    return _sum(x, axis_name, "psum")


def _sum(x, axis_name, function):
    names, sizes = _checked(axis_name, function)

    def one(leaf):
        if type(leaf) is not Tracer:        # the same in every example
            return leaf * int(np.prod(sizes, dtype=np.int64))
        if leaf.dtype == np.bool_:
            leaf = leaf.astype(np.int64)
        for name in names:
            leaf = _ops.psum(leaf, axis_name=name)
        return leaf

    return tree.map(one, x)


@api
def pmean(x: Any, axis_name: Any):
    """The mean over a named axis; ``x`` may be a pytree."""
    _, sizes = _checked(axis_name, "pmean")
    n = int(np.prod(sizes, dtype=np.int64))
    return tree.map(lambda leaf: leaf / n, _sum(x, axis_name, "pmean"))


def _extremum(x, axis_name, function, op):
    names, _ = _checked(axis_name, function)

    def one(leaf):
        aval_of(leaf)
        if type(leaf) is Tracer:
            for name in names:
                leaf = op(leaf, axis_name=name)
        return leaf

    return tree.map(one, x)


@api
def pmax(x: Any, axis_name: Any):
    """The maximum over a named axis; ``x`` may be a pytree."""
    return _extremum(x, axis_name, "pmax", _ops.pmax)


@api
def pmin(x: Any, axis_name: Any):
    """The minimum over a named axis; ``x`` may be a pytree."""
    return _extremum(x, axis_name, "pmin", _ops.pmin)


@api
def all_gather(x: Any, axis_name: Any, *, axis: int = 0, tiled: bool = False):
    """The values of all examples, stacked along a new axis (or joined along ``axis`` if ``tiled``)."""
    names, sizes = _checked(axis_name, "all_gather")

    def one(leaf):
        leaf = leaf if type(leaf) is Tracer else np.asarray(leaf)
        n_out = leaf.ndim + (not tiled)
        if not -n_out <= axis < n_out:
            raise errors.AxisError(f"all_gather: axis {axis} is not a place for an axis in "
                                   f"{aval_of(leaf)}.", axis=axis, ndim=leaf.ndim)
        at = axis % n_out
        for k, (name, size) in enumerate(reversed(list(zip(names, sizes, strict=True)))):
            leaf = _ops.all_gather(leaf, axis_name=name, size=size, axis=at)
            if tiled or k:                  # several names count as one, the first varying slowest
                shape = leaf.shape
                leaf = np.reshape(leaf, (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2:]))
        return leaf

    return tree.map(one, x)


__all__ = ["psum", "pmean", "pmax", "pmin", "all_gather", "axis_index", "axis_size"]
