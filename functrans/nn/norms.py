"""Normalisations: layer, RMS, group, instance and batch norm, standardize.

Deviations are taken from an element first, and then from the mean: so rows that are constant give exactly
0, and large offsets cost no digits. float16 is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .core import (
    api,
    asvalue,
    aval_of,
    axes_of,
    axis_of,
    bools,
    broadcasts,
    convert,
    errors,
    floats,
    nonzero,
    number,
    program,
    stop_gradient,
    wide,
)


def _deviations(x, axes):
    """x minus its mean along axes, that mean, and the variance; axes are kept."""
    at = tuple([slice(0, 1) if i in axes else slice(None) for i in range(aval_of(x).ndim)])
    first = stop_gradient(x[at])
    d = x - first
    mean = np.mean(d, axis=axes, keepdims=True)
    d = d - mean
    return d, mean + first, np.mean(d * d, axis=axes, keepdims=True)


def _scaled(x, weight, bias):
    """x * weight + bias, of which both may be missing."""
    if weight is not None:
        x = x * convert(weight, aval_of(x).dtype)
    return x if bias is None else x + convert(bias, aval_of(x).dtype)


def _check(name, x, eps, axes):
    if not eps >= 0:
        raise errors.OptionError(f"nn.{name}: eps must not be negative, got {eps}")
    if 0 in [aval_of(x).shape[i] for i in axes]:
        raise errors.ShapeError(f"nn.{name}: {aval_of(x)} has nothing to normalise along axes {axes}.")


def _parameters(name, shape, of, **given):
    """weight and bias as floats of exactly this shape."""
    values = []
    for what, v in given.items():
        if v is not None:
            (v,) = floats(name, **{what: v})
            if aval_of(v).shape != shape:
                raise errors.ShapeError(f"nn.{name}: {what} is {aval_of(v)}; {of} {shape} is needed.")
        values.append(v)
    return values


# ----- rows ---------------------------------------------------------------------------------------


@program
def _layer_norm(x, weight, bias, *, axes, eps):
    d, _, variance = _deviations(wide(x), axes)
    return convert(_scaled(d / np.sqrt(variance + number(eps, d)), weight, bias), aval_of(x).dtype)


def _last_axes(name, x, normalized_shape):
    a = aval_of(x)
    shape = (normalized_shape,) if hasattr(normalized_shape, "__index__") else tuple(normalized_shape)
    shape = tuple([n.__index__() for n in shape])
    if not shape or a.shape[a.ndim - len(shape):] != shape or len(shape) > a.ndim:
        raise errors.ShapeError(f"nn.{name}: normalized_shape is {shape} for x {a}.",
                                "It must be the last extents of x.")
    return shape, tuple(range(a.ndim - len(shape), a.ndim))


@api
def layer_norm(x, normalized_shape: int | Sequence[int], weight=None, bias=None, eps: float = 1e-5):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axes. Ba, Kiros, Hinton, 2016.

    Args:
        x: floats ``[..., *normalized_shape]``.
        normalized_shape: the extents of the axes that mean and variance are taken over.
        weight, bias: floats of shape ``normalized_shape``.

    Raises:
        ShapeError: shapes do not fit; OptionError: eps is negative.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.layer_norm(np.array([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]]), 3, eps=0.0, bias=np.ones(3))[0].round(3)
    array([-0.225,  1.   ,  2.225])
    """
    (x,) = floats("layer_norm", x=x)
    shape, axes = _last_axes("layer_norm", x, normalized_shape)
    _check("layer_norm", x, eps, axes)
    weight, bias = _parameters("layer_norm", shape, "normalized_shape", weight=weight, bias=bias)
    return _layer_norm(x, weight, bias, axes=axes, eps=float(eps))


@program
def _rms_norm(x, weight, *, axes, eps):
    v = wide(x)
    square = np.mean(v * v, axis=axes, keepdims=True)
    return convert(_scaled(v / np.sqrt(square + number(eps, v)), weight, None), aval_of(x).dtype)


@api
def rms_norm(x, normalized_shape: int | Sequence[int], weight=None, eps: float | None = None):
    """x / sqrt(mean(x**2) + eps) * weight, over the last axes. Zhang, Sennrich, 2019.

    Args:
        x, normalized_shape, weight: as of ``layer_norm``.
        eps: the dtype's precision if not given.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.rms_norm(np.array([3.0, -3.0]), 2).round(6)
    array([ 1., -1.])
    """
    (x,) = floats("rms_norm", x=x)
    shape, axes = _last_axes("rms_norm", x, normalized_shape)
    eps = float(np.finfo(aval_of(x).dtype).eps) if eps is None else float(eps)
    _check("rms_norm", x, eps, axes)
    (weight,) = _parameters("rms_norm", shape, "normalized_shape", weight=weight)
    return _rms_norm(x, weight, axes=axes, eps=eps)


@program
def _standardize(x, mean, variance, where, *, axes, eps):
    v = wide(x)
    if where is None:
        d, _, own = _deviations(v, axes) if mean is None else (v - wide(mean), None, None)
        own = np.mean(d * d, axis=axes, keepdims=True) if own is None else own
    else:
        w = convert(np.broadcast_to(where, aval_of(v).shape), aval_of(v).dtype)
        v, n = np.where(where, v, number(0, v)), nonzero(np.sum(w, axis=axes, keepdims=True))
        d = v - (np.sum(v, axis=axes, keepdims=True) / n if mean is None else wide(mean))
        own = np.sum(np.where(where, d * d, number(0, v)), axis=axes, keepdims=True) / n
        d = wide(x) - (v - d)
    variance = own if variance is None else wide(variance)
    return convert(d / np.sqrt(variance + number(eps, d)), aval_of(x).dtype)


@api
def standardize(x, axis: int | Sequence[int] | None = -1, mean=None, variance=None, epsilon: float = 1e-5,
                where=None):
    """(x - mean) / sqrt(variance + epsilon) along axes.

    Args:
        x: floats; axis: an axis, several, or None for all.
        mean, variance: used instead of those of x; they broadcast to it.
        where: bools that broadcast to x; mean and variance are taken of elements where it is True.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.standardize(np.array([1.0, 3.0]), epsilon=0.0)
    array([-1.,  1.])
    """
    (x,) = floats("standardize", x=x)
    axes, shape = axes_of(tuple(axis) if isinstance(axis, list) else axis, aval_of(x).ndim), aval_of(x).shape
    _check("standardize", x, epsilon, axes)
    for what, v in (("mean", mean), ("variance", variance)):
        if v is not None:
            broadcasts("standardize", what, asvalue(v), shape, "x of shape")
    mean, variance = [v if v is None else convert(asvalue(v), aval_of(x).dtype) for v in (mean, variance)]
    where = None if where is None else bools("standardize", "where", where, shape, "x of shape")
    return _standardize(x, mean, variance, where, axes=axes, eps=float(epsilon))


# ----- channels -----------------------------------------------------------------------------------


def _along(v, ndim, axis):
    """A value per channel, with axes to broadcast."""
    return None if v is None else np.reshape(v, tuple([-1 if i == axis else 1 for i in range(ndim)]))


@program
def _group_norm(x, weight, bias, *, groups, axis, eps):
    v, shape = wide(x), aval_of(x).shape
    each = shape[axis] // groups
    v = np.reshape(v, (*shape[:axis], groups, each, *shape[axis + 1:]))
    axes = tuple([i for i in range(1, len(shape) + 1) if i != axis])
    d, _, variance = _deviations(v, axes)
    v = np.reshape(d / np.sqrt(variance + number(eps, d)), shape)
    weight, bias = _along(weight, len(shape), axis), _along(bias, len(shape), axis)
    return convert(_scaled(v, weight, bias), aval_of(x).dtype)


@api
def group_norm(x, num_groups: int, weight=None, bias=None, eps: float = 1e-5, *, axis: int = 1):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over groups of channels of each example.

    Wu, He, 2018.

    Args:
        x: floats ``[n, channels, ...]``, or the channels along ``axis``.
        num_groups: how many groups of neighbouring channels; it divides their number.
        weight, bias: floats ``[channels]``.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.group_norm(np.array([[1.0, 3.0, 5.0, 5.0]]), 2, eps=1e-12).round(6)
    array([[-1.,  1.,  0.,  0.]])
    """
    name = "group_norm"
    (x,) = floats(name, x=x)
    a, groups = aval_of(x), num_groups.__index__()
    if a.ndim < 2:
        raise errors.ShapeError(f"nn.{name}: x is {a}; axes of examples and channels are needed.")
    axis = axis_of(axis, a.ndim)
    if axis == 0:
        raise errors.ShapeError(f"nn.{name}: axis 0 of {a} is that of the examples.")
    if groups < 1 or a.shape[axis] % groups:
        raise errors.ShapeError(f"nn.{name}: {groups} groups of {a.shape[axis]} channels of x {a}.",
                                "num_groups must divide the number of channels.")
    _check(name, x, eps, tuple(range(1, a.ndim)))
    weight, bias = _parameters(name, (a.shape[axis],), "one value per channel,", weight=weight, bias=bias)
    return _group_norm(x, weight, bias, groups=groups, axis=axis, eps=float(eps))


@api
def instance_norm(x, weight=None, bias=None, eps: float = 1e-5, *, axis: int = 1):
    """``group_norm`` with every channel a group of its own. Ulyanov, Vedaldi, Lempitsky, 2016.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.instance_norm(np.array([[[1.0, 3.0], [2.0, 2.0]]]), eps=1e-12).round(6)
    array([[[-1.,  1.],
            [ 0.,  0.]]])
    """
    a = aval_of(asvalue(x))
    if a.ndim < 3:
        raise errors.ShapeError(f"nn.instance_norm: x is {a}; axes behind examples and channels are needed.")
    return group_norm(x, a.shape[axis_of(axis, a.ndim)], weight, bias, eps, axis=axis)


@program
def _batch_norm(x, mean, variance, weight, bias, *, axis, eps, momentum, training):
    v, ndim, dtype = wide(x), aval_of(x).ndim, aval_of(x).dtype
    axes = tuple([i for i in range(ndim) if i != axis])
    if training:
        n = math.prod([aval_of(x).shape[i] for i in axes])
        d, own_mean, own = _deviations(v, axes)
        rate = np.float64(momentum)

        def moved(old, new):
            if old is None:
                return None
            kind = aval_of(old).dtype
            new = convert(np.reshape(stop_gradient(new), (-1,)), kind)
            return old + kind.type(rate) * (new - old)
        mean, variance = moved(mean, own_mean), moved(variance, own * number(n / max(n - 1, 1), v))
    else:
        d = v - convert(_along(mean, ndim, axis), aval_of(v).dtype)
        own = convert(_along(variance, ndim, axis), aval_of(v).dtype)
    out = _scaled(d / np.sqrt(own + number(eps, v)), _along(weight, ndim, axis), _along(bias, ndim, axis))
    return convert(out, dtype), mean, variance


@api
def batch_norm(x, running_mean=None, running_var=None, weight=None, bias=None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5, *, axis: int = 1):
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel. Ioffe, Szegedy, 2015.

    Args:
        x: floats ``[n, channels, ...]``, or the channels along ``axis``.
        running_mean, running_var: floats ``[channels]``; in training they may be None.
        weight, bias: floats ``[channels]``.
        training: mean and variance are those of x, over all other axes; else the running ones.
        momentum: how far the running ones move towards those of x, whose variance counts n / (n - 1) there.

    Returns:
        ``(y, running_mean, running_var)``: in training the new ones, which carry no gradient.

    Raises:
        ShapeError, ArgumentError: something does not fit or is missing.

    >>> import numpy as np
    >>> from functrans import nn
    >>> x = np.array([[1.0], [3.0]])
    >>> y, mean, var = nn.batch_norm(x, np.zeros(1), np.ones(1), training=True, eps=1e-12)
    >>> y.ravel().round(6), mean, var
    (array([-1.,  1.]), array([0.2]), array([1.1]))
    """
    name = "batch_norm"
    (x,) = floats(name, x=x)
    a = aval_of(x)
    if a.ndim < 2:
        raise errors.ShapeError(f"nn.{name}: x is {a}; axes of examples and channels are needed.")
    axis = axis_of(axis, a.ndim)
    _check(name, x, eps, [i for i in range(a.ndim) if i != axis] if training else ())
    if not training and (running_mean is None or running_var is None):
        raise errors.ArgumentError(f"nn.{name}: without training, running_mean and running_var are needed.",
                                   "Pass both, or training=True.")
    values = _parameters(name, (a.shape[axis],), "one value per channel,", running_mean=running_mean,
                         running_var=running_var, weight=weight, bias=bias)
    return _batch_norm(x, *values, axis=axis, eps=float(eps), momentum=float(momentum),
                       training=bool(training))


__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "standardize"]
