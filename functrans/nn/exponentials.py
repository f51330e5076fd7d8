"""Normalised exponentials: softmax, log_softmax, logsumexp; one_hot.

Rows may hold -inf (masked entries). A row of nothing else has softmax 0 and log_softmax -inf; its
derivatives are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..scipy.special import logsumexp
from .core import (
    OPS,
    api,
    aval_of,
    axes_of,
    axis_of,
    bools,
    convert,
    errors,
    floats,
    integers,
    nonzero,
    number,
    program,
    top_of,
    wide,
)

Axis = int | Sequence[int] | None


def _prepared(name, x, axis, where):
    (x,) = floats(name, x=x)
    a = aval_of(x)
    axes = axes_of(tuple(axis) if isinstance(axis, list) else axis, a.ndim)
    if where is not None:
        where = bools(name, "where", where, a.shape, "x of shape")
    if 0 in [a.shape[i] for i in axes]:
        raise errors.ShapeError(f"nn.{name}: {a} has nothing along axis {axis}.")
    return x, where, axes


def _masked(x, where):
    return wide(x) if where is None else np.where(where, wide(x), number(-np.inf, wide(x)))


@program
def _softmax(x, where, *, axes):
    z = _masked(x, where)
    e = np.exp(z - top_of(z, axes))
    return convert(e / nonzero(np.sum(e, axis=axes, keepdims=True)), aval_of(x).dtype)


@api
def softmax(x, axis: Axis = -1, where=None):
    """exp(x) / sum(exp(x)) along an axis, or several.

    Args:
        x: floats (integers become float64).
        axis: an axis, a tuple of axes, or None for all.
        where: bools that broadcast to x; elements where they are False count as -inf.

    Returns:
        An array like x. Entries at -inf are 0; so is a row that has nothing else.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    x, where, axes = _prepared("softmax", x, axis, where)
    return _softmax(x, where, axes=axes)


@program
def _log_softmax(x, where, *, axes):
    z = _masked(x, where)
    z = z - top_of(z, axes)
    return convert(z - np.log(nonzero(np.sum(np.exp(z), axis=axes, keepdims=True))), aval_of(x).dtype)


@api
def log_softmax(x, axis: Axis = -1, where=None):
    """The logarithm of the softmax, exact where that is small.

    Args:
        x, axis, where: as of ``softmax``.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    x, where, axes = _prepared("log_softmax", x, axis, where)
    return _log_softmax(x, where, axes=axes)


@program
def _one_hot(labels, *, n, axis, dtype):
    shape = aval_of(labels).shape
    shape = (*shape[:axis], n, *shape[axis:])
    return convert(entries(labels, shape, axis), dtype)


def entries(labels, shape, axis):
    """Which entry along an axis each label names: bools of a shape that is the labels' without the axis."""
    kind = np.dtype(np.int32 if shape[axis] < 2**31 - 1 else np.int64)
    numbers = OPS["iota"](shape=(shape[axis],), dtype=kind, axis=0)
    rest = tuple([i for i in range(len(shape)) if i != axis])
    a = aval_of(labels)
    if a.dtype.itemsize > kind.itemsize:    # what does not fit must not wrap onto another number
        inside = (labels >= 0) & (labels < shape[axis])
        labels = np.where(inside, labels, a.dtype.type(shape[axis]))
    return OPS["eq"](OPS["broadcast_in_dim"](numbers, shape=shape, dims=(axis,)),
                     OPS["broadcast_in_dim"](convert(labels, kind), shape=shape, dims=rest))


@api
def one_hot(x, num_classes: int, *, dtype: Any = np.float64, axis: int = -1):
    """1 at the class that each integer names, 0 elsewhere.

    Args:
        x: integers ``[...]``; one outside of the classes gives zeros, as in JAX.
        num_classes: the extent of the new axis.
        dtype: of the result.
        axis: where the new axis is.

    Raises:
        DtypeError: x is not of integers; AxisError: there is no such place for an axis.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    x = integers("one_hot", "x", x)
    n = num_classes.__index__()
    if n < 1:
        raise errors.OptionError(f"nn.one_hot: num_classes must be positive, got {n}")
    return _one_hot(x, n=n, axis=axis_of(axis, aval_of(x).ndim + 1), dtype=np.dtype(dtype))


__all__ = ["log_softmax", "logsumexp", "one_hot", "softmax"]
