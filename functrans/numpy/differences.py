"""Differences, numerical derivatives and integrals of sampled functions."""

from __future__ import annotations

from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from . import core
from .core import asvalue, axes_of, axis_of, convert, implements
from .shape import (
    NO,
    as_array,
    concatenate,
    cut,
    dtype_of,
    joined,
    ndim_of,
    ravel,
    reshaped,
    shape_of,
)


def _steps(x, axis):
    """x[1:] - x[:-1]; of bool: whether they differ."""
    n = shape_of(x)[axis]
    if n == 0:
        return x
    op = np.not_equal if dtype_of(x) == np.bool_ else np.subtract
    return op(cut(x, axis, 1, n), cut(x, axis, 0, n - 1))


@implements(np.diff)
def diff(a, n=1, axis=-1, prepend=NO, append=NO):
    """The n-th difference of neighbours along ``axis``."""
    n = index(n)
    if n < 0:
        raise ValueError(f"diff: the order must not be negative, got {n}")
    x = as_array(a)
    if n == 0:
        return x
    if not ndim_of(x):
        raise errors.ShapeError("diff needs at least one axis, got a scalar.")
    axis = axis_of(axis, ndim_of(x))
    parts = []
    for part in (prepend, x, append):
        if part is NO:
            continue
        part = as_array(part)
        if not ndim_of(part):
            shape = shape_of(x)
            part = core.broadcast_to(part, (*shape[:axis], 1, *shape[axis + 1:]))
        parts.append(part)
    x = concatenate(parts, axis) if len(parts) > 1 else x
    for _ in range(n):
        x = _steps(x, axis)
    return x


@implements(np.ediff1d)
def ediff1d(ary, to_end=None, to_begin=None):
    """Differences of neighbours of the flattened array, with given values before and after."""
    x = ravel(ary)
    dtype = dtype_of(x)
    parts = [_steps(x, 0)]
    for name, extra in (("to_begin", to_begin), ("to_end", to_end)):
        if extra is None:
            continue
        extra = as_array(extra)
        if not np.can_cast(dtype_of(extra), dtype, "same_kind"):
            raise errors.DtypeError(f"ediff1d: {name} {aval_of(extra)} does not fit {aval_of(x)}.",
                                    "Convert one of them with astype.")
        extra = convert(ravel(extra), dtype)
        parts = [*parts, extra] if name == "to_end" else [extra, *parts]
    return joined(parts, 0, dtype)


def _along(x, axis, ndim):
    """A vector, placed along one axis of ``ndim``."""
    return np.reshape(x, (1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


@implements(np.trapezoid)
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """The integral of samples y at places x by the trapezoidal rule."""
    y = as_array(y)
    axis = axis_of(axis, ndim_of(y))
    if x is None:
        widths = dx
    else:
        x = as_array(x)
        widths = diff(x) if ndim_of(x) == 1 else diff(x, axis=axis)
        widths = _along(widths, axis, ndim_of(y)) if ndim_of(x) == 1 else widths
    n = shape_of(y)[axis]
    pairs = np.add(cut(y, axis, min(1, n), n), cut(y, axis, 0, max(n - 1, 0)))
    return np.sum(np.true_divide(np.multiply(widths, pairs), 2.0), axis)


def _spacing(distance, n):
    """A scalar step, or the n - 1 steps between given places."""
    distance = as_array(distance)
    if not ndim_of(distance):
        return distance
    if ndim_of(distance) != 1 or shape_of(distance)[0] != n:
        raise errors.ShapeError(f"gradient: places {aval_of(distance)} for {n} elements.",
                                "Give one place per element, or one step for all.")
    if dtype_of(distance).kind in "iu":
        distance = convert(distance, np.float64)
    steps = diff(distance)
    if isinstance(steps, np.ndarray) and np.all(steps == steps[:1]):
        return steps[0]
    return steps


@implements(np.gradient)
def gradient(f, *varargs, axis=None, edge_order=1):
    """Numerical derivative along each axis, of second order inside; steps may be traced."""
    x = as_array(f)
    ndim = ndim_of(x)
    if axis is None:
        axes = tuple(range(ndim))
    else:
        axes_of(axis, ndim)
        axes = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple([axis_of(i, ndim) for i in axes])
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    if not varargs:
        steps = [1.0] * len(axes)
    elif len(varargs) == 1 and not ndim_of(as_array(varargs[0])):
        steps = [varargs[0]] * len(axes)
    elif len(varargs) == len(axes):
        steps = [_spacing(d, shape_of(x)[i]) for d, i in zip(varargs, axes, strict=True)]
    else:
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes")
    dtype = dtype_of(x) if dtype_of(x).kind in "fc" else np.dtype(np.float64)
    x = convert(x, dtype) if dtype_of(x).kind in "iu" else x
    out = [convert(_gradient_along(x, i, h, edge_order), dtype)
           for i, h in zip(axes, steps, strict=True)]
    return out[0] if len(out) == 1 else tuple(out)


def _gradient_along(x, axis, h, edge_order):
    n = shape_of(x)[axis]
    if n < edge_order + 1:
        raise errors.ShapeError(f"gradient: axis {axis} of {aval_of(x)} has fewer than "
                                f"{edge_order + 1} elements.")

    def at(first, last=None):
        return cut(x, axis, first, first + 1 if last is None else last)

    even = not ndim_of(as_array(h))
    if even:
        h_first = h_last = h
        inside = np.true_divide(np.subtract(at(2, n), at(0, n - 2)), np.multiply(2.0, h)) \
            if n > 2 else None
    else:
        left, right = (_along(cut(h, 0, i, i + n - 2), axis, ndim_of(x)) for i in (0, 1))
        h_first, h_last = (reshaped(cut(h, 0, i, i + 1), ()) for i in (0, n - 2))
        inside = (-right / (left * (left + right)) * at(0, n - 2)
                  + (right - left) / (left * right) * at(1, n - 1)
                  + left / (right * (left + right)) * at(2, n)) if n > 2 else None
    if edge_order == 1:
        first = np.true_divide(np.subtract(at(1), at(0)), h_first)
        last = np.true_divide(np.subtract(at(n - 1), at(n - 2)), h_last)
    else:
        second, before = (h, h) if even else (reshaped(cut(h, 0, i, i + 1), ()) for i in (1, n - 3))
        a, b, c = _one_sided(h_first, second, even)
        first = np.multiply(a, at(0)) + np.multiply(b, at(1)) + np.multiply(c, at(2))
        a, b, c = _one_sided(h_last, before, even)
        last = -(np.multiply(c, at(n - 3)) + np.multiply(b, at(n - 2)) + np.multiply(a, at(n - 1)))
    parts = [convert(p, dtype_of(first)) for p in (first, inside, last) if p is not None]
    return parts[0] if len(parts) == 1 else OPS["concatenate"](*parts, axis=axis)


def _one_sided(h, k, even):
    """Weights of the second-order derivative at the edge of steps h, then k."""
    if even:
        return np.true_divide(-1.5, h), np.true_divide(2.0, h), np.true_divide(-0.5, h)
    return -(2.0 * h + k) / (h * (h + k)), (h + k) / (h * k), -h / (k * (h + k))


@implements(np.unwrap)
def unwrap(p, discont=None, axis=-1, *, period=2 * np.pi):
    """p with multiples of ``period`` added, so that steps along ``axis`` are at most half of it.

    Steps of less than ``discont`` stay. The derivative is that of p: what is added is constant.
    """
    x = as_array(p)
    axis = axis_of(axis, ndim_of(x))
    steps = diff(x, axis=axis)
    dtype = core.result_type(steps, asvalue(period))
    if not shape_of(x)[axis]:
        return convert(x, dtype)
    if dtype.kind in "iu":
        high, odd = np.divmod(period, 2)
        ambiguous = np.equal(odd, 0)
    else:
        high, ambiguous = np.true_divide(period, 2), True
    low = -high
    wrapped = np.mod(steps - low, period) + low
    wrapped = np.where(ambiguous & (wrapped == low) & (steps > 0), high, wrapped)
    added = np.where(np.abs(steps) < (np.true_divide(period, 2) if discont is None else discont), 0,
                     wrapped - steps)
    rest = cut(x, axis, 1, shape_of(x)[axis]) + np.cumsum(convert(added, dtype), axis)
    return joined([cut(x, axis, 0, 1), rest], axis, dtype)


def kaiser(M, beta):
    """The Kaiser window of M points, ``i0(beta sqrt(1 - t**2)) / i0(beta)`` for t in [-1, 1].

    beta may be traced; M decides the shape.
    """
    if type(beta) is not Tracer:
        return np.kaiser(M, beta)
    n = int(M)
    if n <= 1:
        return np.ones(max(n, 0), dtype_of(beta))
    t = (np.arange(n) - (n - 1) / 2) / ((n - 1) / 2)
    return np.i0(beta * np.sqrt(1 - t * t)) / np.i0(beta)


__all__ = ["diff", "ediff1d", "gradient", "kaiser", "trapezoid", "unwrap"]
