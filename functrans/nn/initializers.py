"""Initial weights, with the names and signatures of ``jax.nn.initializers``.

Each function returns an initializer ``(key, shape, dtype=float64) -> array``; ``zeros`` and ``ones`` are
initializers themselves. Fans are products of extents: of a matrix ``[in, out]``; of filters whose input and
output channels are ``in_axis`` and ``out_axis`` (the last two by default, as of ``HWIO``; for ``OIHW`` these
are 1 and 0), times the filter's extent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from .core import axes_of, axis_of, errors

Initializer = Callable[..., Any]
Axes = int | Sequence[int]
# The standard deviation of a standard normal number cut off at -2 and 2.
_CUT = 0.87962566103423978


def _shape(name, shape):
    shape = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    return tuple([n.__index__() for n in shape])


def _dtype(name, dtype):
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise errors.DtypeError(f"nn.initializers.{name}: dtype must be float32 or float64, got {dtype}.")
    return dtype


def zeros(key, shape, dtype=np.float64):
    """Zeros; the key is not used.

    >>> from functrans import nn
    >>> nn.initializers.zeros(None, (2,))
    array([0., 0.])
    """
    return np.zeros(_shape("zeros", shape), dtype)


def ones(key, shape, dtype=np.float64):
    """Ones; the key is not used.

    >>> from functrans import nn
    >>> nn.initializers.ones(None, (2,))
    array([1., 1.])
    """
    return np.ones(_shape("ones", shape), dtype)


def constant(value, dtype=np.float64) -> Initializer:
    """An initializer that gives ``value`` everywhere.

    >>> from functrans import nn
    >>> nn.initializers.constant(3.0)(None, (2,))
    array([3., 3.])
    """
    return lambda key, shape, dtype=dtype: np.full(_shape("constant", shape), value, dtype)


def uniform(scale=0.01, dtype=np.float64) -> Initializer:
    """Uniform in [0, scale).

    >>> from functrans import nn, random
    >>> nn.initializers.uniform(1.0)(random.key(0), (2, 3)).shape
    (2, 3)
    """
    def init(key, shape, dtype=dtype):
        dtype = _dtype("uniform", dtype)
        return random.uniform(key, _shape("uniform", shape), dtype) * dtype.type(scale)
    return init


def normal(stddev=0.01, dtype=np.float64) -> Initializer:
    """Normal with mean 0.

    >>> from functrans import nn, random
    >>> nn.initializers.normal(1.0)(random.key(0), (2, 3)).shape
    (2, 3)
    """
    def init(key, shape, dtype=dtype):
        dtype = _dtype("normal", dtype)
        return random.normal(key, _shape("normal", shape), dtype) * dtype.type(stddev)
    return init


def truncated_normal(stddev=0.01, dtype=np.float64, lower=-2.0, upper=2.0) -> Initializer:
    """A standard normal number between lower and upper, times ``stddev``.

    >>> import numpy as np
    >>> from functrans import nn, random
    >>> x = nn.initializers.truncated_normal(1.0)(random.key(0), (1000,))
    >>> bool(np.all(np.abs(x) <= 2))
    True
    """
    def init(key, shape, dtype=dtype):
        dtype = _dtype("truncated_normal", dtype)
        x = random.truncated_normal(key, lower, upper, _shape("truncated_normal", shape), dtype)
        return x * dtype.type(stddev)
    return init


def _fans(shape, in_axis, out_axis, batch_axis):
    """The numbers of inputs and outputs that a weight of this shape connects."""
    if len(shape) <= 1:
        raise errors.ShapeError(f"nn.initializers: weights of shape {shape} have no inputs and outputs.",
                                "Two axes are needed; use normal or uniform for others.")
    ins, outs, batch = (axes_of(tuple(a) if isinstance(a, list) else a, len(shape))
                        for a in (in_axis, out_axis, batch_axis))
    if {*ins} & {*outs} or ({*ins} | {*outs}) & {*batch}:
        raise errors.AxisError(f"nn.initializers: in_axis {in_axis}, out_axis {out_axis} and batch_axis "
                               f"{batch_axis} of shape {shape} name an axis twice.", axis=0, ndim=len(shape))
    n_in, n_out = (math.prod([shape[i] for i in axes]) for axes in (ins, outs))
    rest = math.prod(shape) // max(n_in * n_out * math.prod([shape[i] for i in batch]), 1)
    return n_in * rest, n_out * rest


def variance_scaling(scale, mode: str, distribution: str, in_axis: Axes = -2, out_axis: Axes = -1,
                     batch_axis: Axes = (), dtype=np.float64) -> Initializer:
    """Weights of variance ``scale / n``.

    Args:
        mode: what n is: "fan_in", "fan_out", "fan_avg" (the mean of both), "fan_geo_avg".
        distribution: "truncated_normal" (at two deviations), "normal", "uniform".
        in_axis, out_axis: axes of inputs and outputs; batch_axis: axes that belong to neither.

    >>> import numpy as np
    >>> from functrans import nn, random
    >>> w = nn.initializers.variance_scaling(2.0, "fan_in", "normal")(random.key(0), (400, 500))
    >>> bool(abs(np.var(w) * 400 / 2 - 1) < 0.02)
    True
    """
    means = {"fan_in": lambda i, o: i, "fan_out": lambda i, o: o, "fan_avg": lambda i, o: (i + o) / 2,
             "fan_geo_avg": lambda i, o: math.sqrt(i * o)}
    if mode not in means:
        raise errors.OptionError(f"nn.initializers: mode must be one of {', '.join(means)}, got {mode!r}")
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise errors.OptionError(
            "nn.initializers: distribution must be 'truncated_normal', 'normal' or 'uniform', "
            f"got {distribution!r}")

    def init(key, shape, dtype=dtype):
        shape, dtype = _shape("variance_scaling", shape), _dtype("variance_scaling", dtype)
        n = means[mode](*_fans(shape, in_axis, out_axis, batch_axis))
        stddev = math.sqrt(scale / max(n, 1e-300))
        if distribution == "uniform":
            return random.uniform(key, shape, dtype, -1.0) * dtype.type(math.sqrt(3) * stddev)
        if distribution == "normal":
            return random.normal(key, shape, dtype) * dtype.type(stddev)
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * dtype.type(stddev / _CUT)
    return init


def _scaling(name, scale, mode, distribution, text):
    def make(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype=np.float64) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)
    make.__name__ = make.__qualname__ = name
    make.__doc__ = (f"{text}: ``variance_scaling({scale}, {mode!r}, {distribution!r})``.\n\n"
                    ">>> from functrans import nn, random\n"
                    f">>> nn.initializers.{name}()(random.key(0), (2, 3)).shape\n(2, 3)")
    return make


_CUT_NORMAL = "truncated_normal"
glorot_uniform = _scaling("glorot_uniform", 1.0, "fan_avg", "uniform", "Glorot, Bengio, 2010")
glorot_normal = _scaling("glorot_normal", 1.0, "fan_avg", _CUT_NORMAL, "Glorot, Bengio, 2010")
lecun_uniform = _scaling("lecun_uniform", 1.0, "fan_in", "uniform", "LeCun, Bottou, Orr, Müller, 1998")
lecun_normal = _scaling("lecun_normal", 1.0, "fan_in", _CUT_NORMAL, "LeCun, Bottou, Orr, Müller, 1998")
he_uniform = _scaling("he_uniform", 2.0, "fan_in", "uniform", "He, Zhang, Ren, Sun, 2015")
he_normal = _scaling("he_normal", 2.0, "fan_in", _CUT_NORMAL, "He, Zhang, Ren, Sun, 2015")
xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal


def orthogonal(scale=1.0, column_axis: int = -1, dtype=np.float64) -> Initializer:
    """Uniform orthogonal matrices: all axes but ``column_axis`` together are the rows.

    Saxe, McClelland, Ganguli, 2014. What there is less of, rows or columns, is orthonormal (times scale).

    >>> import numpy as np
    >>> from functrans import nn, random
    >>> w = nn.initializers.orthogonal()(random.key(0), (5, 3))
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """
    def init(key, shape, dtype=dtype):
        shape, dtype = _shape("orthogonal", shape), _dtype("orthogonal", dtype)
        if len(shape) < 2:
            raise errors.ShapeError(f"nn.initializers.orthogonal: shape {shape} has no rows and columns.")
        column = axis_of(column_axis, len(shape))
        rows = tuple([n for i, n in enumerate(shape) if i != column])
        q = random.orthogonal(key, math.prod(rows), (), dtype, shape[column])
        return np.moveaxis(np.reshape(q, (*rows, shape[column])), -1, column) * dtype.type(scale)
    return init


def delta_orthogonal(scale=1.0, column_axis: int = -1, dtype=np.float64) -> Initializer:
    """Filters ``[*space, in, out]`` that are an orthogonal matrix at their centre and 0 elsewhere.

    Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington, 2018. There must not be more inputs than outputs.

    >>> import numpy as np
    >>> from functrans import nn, random
    >>> w = nn.initializers.delta_orthogonal()(random.key(0), (3, 3, 2, 4))
    >>> bool(np.allclose(w[1, 1] @ w[1, 1].T, np.eye(2))), int(np.count_nonzero(w))
    (True, 8)
    """
    def init(key, shape, dtype=dtype):
        shape = _shape("delta_orthogonal", shape)
        if len(shape) not in (3, 4, 5) or shape[-2] > shape[-1]:
            raise errors.ShapeError("nn.initializers.delta_orthogonal: filters [*space, in, out] with 1 to "
                                    f"3 spatial axes and in <= out are needed, got {shape}.")
        q = orthogonal(scale, column_axis, dtype)(key, shape[-2:])
        at = tuple([(n - 1) // 2 for n in shape[:-2]])
        pads = [(i, n - 1 - i) for i, n in zip(at, shape[:-2], strict=True)]
        return np.pad(np.reshape(q, (*[1] * len(at), *shape[-2:])), [*pads, (0, 0), (0, 0)])
    return init


__all__ = ["constant", "delta_orthogonal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
           "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform", "normal", "ones",
           "orthogonal", "truncated_normal", "uniform", "variance_scaling", "xavier_normal",
           "xavier_uniform", "zeros"]
