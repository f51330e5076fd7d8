"""Shapes of ``jax.lax`` beyond one op each: broadcasting, splitting, stacking; functions of a platform."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.staging import check_callable, trace_call
from ..ir.op import OPS
from ..numpy.core import asvalue, axis_of
from ..ops.call import call
from ..ops.effects import optimization_barrier as _barrier
from ..trace.core import aval_of, current_builder
from ..trace.tracer import Tracer
from .ops import _ints, _operand, concatenate, expand_dims, full, slice_in_dim, squeeze
from .options import one_device


def broadcast_shapes(*shapes):
    """The shape that arrays of these shapes have together.

    >>> from functrans import lax
    >>> lax.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*[_ints(s) for s in shapes])
    except ValueError:
        raise errors.ShapeError(f"lax.broadcast_shapes: {', '.join(map(str, shapes))} do not fit.",
                                "Extents must be equal, or 1.") from None


def broadcast_like(arr, like_arr):
    """``arr`` repeated to the shape of ``like_arr``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.broadcast_like(np.array([1, 2]), np.zeros((2, 2)))
    array([[1, 2],
           [1, 2]])
    """
    arr, shape = _operand(arr), aval_of(asvalue(like_arr)).shape
    if broadcast_shapes(aval_of(arr).shape, shape) != shape:
        raise errors.ShapeError(f"lax.broadcast_like: {aval_of(arr)} does not fit the shape {shape}.")
    return np.broadcast_to(arr, shape) if type(arr) is Tracer else np.array(np.broadcast_to(arr, shape))


def broadcast_to_rank(x, rank: int):
    """x with leading axes of extent 1, so that it has ``rank`` axes."""
    x = _operand(x)
    ndim = aval_of(x).ndim
    if ndim > rank:
        raise errors.ShapeError(f"lax.broadcast_to_rank: {aval_of(x)} has more than {rank} axes.")
    return x if ndim == rank else expand_dims(x, tuple(range(rank - ndim)))


def collapse(operand, start_dimension: int, stop_dimension: int | None = None):
    """The operand with the axes from ``start_dimension`` up to ``stop_dimension`` as one.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.collapse(np.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    operand = _operand(operand)
    shape = aval_of(operand).shape
    low, high, _ = slice(start_dimension, stop_dimension).indices(len(shape))
    if high <= low:
        raise errors.AxisError(f"lax.collapse: axes {start_dimension} to {stop_dimension} of "
                               f"{aval_of(operand)}.", "Name at least one axis.")
    return OPS["reshape"](operand, shape=(*shape[:low], math.prod(shape[low:high]), *shape[high:]))


def split(operand, sizes: Sequence[int], axis: int = 0):
    """The operand cut into pieces of these sizes along an axis: a list.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.split(np.arange(5), (2, 3))
    [array([0, 1]), array([2, 3, 4])]
    """
    operand, sizes = _operand(operand), _ints(sizes)
    a = aval_of(operand)
    axis = axis_of(axis, a.ndim)
    if sum(sizes) != a.shape[axis] or any(n < 0 for n in sizes):
        raise errors.ShapeError(f"lax.split: sizes {sizes} for axis {axis} of {a}.",
                                f"They must add up to {a.shape[axis]}.")
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice_in_dim(operand, low, high, 1, axis) for low, high in itertools.pairwise(ends)]


def stack(operands: Sequence[Any], axis: int = 0):
    """Operands of one type side by side along a new axis."""
    operands = [_operand(x) for x in operands]
    if not operands or any(aval_of(x).shape != aval_of(operands[0]).shape for x in operands):
        raise errors.ShapeError(f"lax.stack: {', '.join([str(aval_of(x)) for x in operands]) or 'nothing'}.",
                                "Give at least one operand, all of one shape.")
    axis = axis_of(axis, aval_of(operands[0]).ndim + 1)
    return concatenate([expand_dims(x, (axis,)) for x in operands], axis)


def unstack(x, axis: int = 0):
    """The parts of x along an axis, without it: a tuple.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.unstack(np.array([[1, 2], [3, 4]]), 1)
    (array([1, 3]), array([2, 4]))
    """
    x = _operand(x)
    axis = axis_of(axis, aval_of(x).ndim)
    n = aval_of(x).shape[axis]
    return tuple([squeeze(slice_in_dim(x, i, i + 1, 1, axis), (axis,)) for i in range(n)])


def tile(operand, reps: Sequence[int]):
    """The operand repeated along its axes, one number per axis.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.tile(np.array([1, 2]), (2,))
    array([1, 2, 1, 2])
    """
    operand, reps = _operand(operand), _ints(reps)
    shape = aval_of(operand).shape
    if len(reps) != len(shape) or any(n < 0 for n in reps):
        raise errors.ShapeError(f"lax.tile: reps={reps} for {aval_of(operand)}.",
                                "Give a number of repetitions for each axis.")
    wide = tuple([n for pair in zip(reps, shape, strict=True) for n in pair])
    out = OPS["broadcast_in_dim"](operand, shape=wide, dims=tuple(range(1, 2 * len(shape), 2)))
    return OPS["reshape"](out, shape=tuple([r * n for r, n in zip(reps, shape, strict=True)]))


def empty(shape: Sequence[int], dtype, *, out_sharding=None):
    """An array whose elements do not matter (zeros)."""
    one_device("empty", out_sharding=out_sharding)
    return full(shape, 0, dtype)


def dtype(x: Any):
    """The dtype of an array or a number.

    >>> from functrans import lax
    >>> lax.dtype(1.5)
    dtype('float64')
    """
    return aval_of(asvalue(x)).dtype


def shape_as_value(shape: Sequence[int]):
    """A shape as an array of integers."""
    return np.asarray(_ints(shape), np.int64)


def stage(x, /):
    """x as a value of arrays: numbers become NumPy scalars, all else stays."""
    return _operand(x)


def optimization_barrier(operand, /):
    """The operand, a pytree; nothing that follows is simplified together with what made it.

    >>> import numpy as np
    >>> from functrans import grad, lax
    >>> grad(lambda x: lax.optimization_barrier(x * x))(3.0)
    np.float64(6.0)
    """
    leaves, treedef = tree.flatten(operand)
    leaves = [_operand(x) for x in leaves]
    if any(type(x) is Tracer for x in leaves):
        leaves = _barrier(*leaves)
    return treedef.unflatten(leaves)


# ----- functions of a platform --------------------------------------------------------------------


def platform_dependent(*args: Any, default: Callable | None = None, **per_platform: Callable):
    """The function for this platform applied to ``args``: the one named ``cpu``, else the default.

    >>> from functrans import lax
    >>> lax.platform_dependent(2.0, cpu=lambda x: x + 1.0, cuda=lambda x: x)
    3.0
    """
    for name, function in (*per_platform.items(), ("default", default)):
        if function is not None and not callable(function):
            raise errors.ArgumentError(f"lax.platform_dependent: {name} is no function.")
    function = per_platform.get("cpu", default)
    if function is None:
        raise errors.NotSupportedError(
            f"lax.platform_dependent: no function for the CPU among {', '.join(per_platform) or 'none'}.",
            "Give cpu=..., or default=....")
    return function(*args)


def composite(decomposition: Callable, name: str, version: int = 0):
    """A function that appears in programs as one call of this name; it does what ``decomposition`` does.

    Keyword arguments are constants.

    >>> import numpy as np
    >>> from functrans import lax, make_jaxpr
    >>> tangent = lax.composite(lambda x: np.sin(x) / np.cos(x), "my.tangent")
    >>> [e.params["name"] for e in make_jaxpr(tangent)(0.5).eqns]
    ['my.tangent']
    """
    check_callable(decomposition, "composite")

    def function(*args, **attributes):
        if current_builder() is None:
            return decomposition(*args, **attributes)
        leaves, treedef = tree.flatten(args)
        traced = trace_call(lambda tracers: decomposition(*treedef.unflatten(tracers), **attributes), leaves,
                            [aval_of(x).strong for x in leaves], name)
        return traced.out_tree.unflatten(call(*leaves, *traced.consts, jaxpr=traced.jaxpr, name=name))

    function.__name__ = function.__qualname__ = name
    return function


__all__ = ["broadcast_like", "broadcast_shapes", "broadcast_to_rank", "collapse", "composite", "dtype",
           "empty", "optimization_barrier", "platform_dependent", "shape_as_value", "split", "stack", "stage",
           "tile", "unstack"]
