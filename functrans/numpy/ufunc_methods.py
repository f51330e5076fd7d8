"""``reduce``, ``accumulate`` and ``reduceat`` of ufuncs that have no reduction of their own."""

from __future__ import annotations

import numpy as np

from .. import errors
from ..trace.tracer import Tracer
from .core import asvalue, axis_of, convert, refuse_out
from .indexing import at
from .reductions import UFUNC_ACCUMULATE, UFUNC_REDUCE, _accumulated, _axes, _everywhere, _kept
from .shape import NO, as_array, cut, dtype_of, ndim_of, shape_of, supported

# f(f(x, y), z) = f(x, f(y, z)), in any order: pieces may be combined first
ASSOCIATIVE = frozenset([
    np.logical_and, np.logical_or, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.gcd,
    np.lcm, np.hypot, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp2])
# f(f(x, y), z) = f(x, g(y, z))
FROM_FIRST = {np.subtract: np.add, np.true_divide: np.multiply}
SCATTERED = {np.add: "add", np.multiply: "multiply", np.maximum: "max", np.minimum: "min"}


def _missing(ufunc, method):
    return errors.NotSupportedError(f"np.{ufunc.__name__}.{method} has no traced version.",
                                    "Use a reduction such as np.sum, or functrans.lax.scan.")


def _operand(ufunc, x, dtype):
    """x in the dtype of the ufunc's loop for two operands of its dtype, or of ``dtype``; logical: as bool."""
    x = as_array(x)
    if ufunc.__name__.startswith("logical"):
        return np.not_equal(x, 0) if dtype_of(x) != np.bool_ else x
    d = dtype_of(x) if dtype is None else np.dtype(dtype)
    try:
        loop = ufunc.resolve_dtypes((d, d, None))
    except TypeError as e:
        raise errors.DtypeError(f"numpy.{ufunc.__name__} is not defined for {d}: {e}",
                                "Convert the operand with astype.") from None
    return convert(x, supported(loop[0]))


def reduce(ufunc, x, axis=0, dtype=None, out=None, keepdims=False, initial=NO, where=True):
    """The ufunc between all elements along axes; several axes only where the order does not matter."""
    if ufunc in UFUNC_REDUCE:
        if ufunc not in (np.add, np.multiply):
            _operand(ufunc, x, dtype)           # NumPy's error where it is not defined
        given = {"dtype": dtype, "keepdims": keepdims, "initial": initial, "where": where}
        default = {"dtype": None, "keepdims": False, "initial": NO, "where": True}
        given = {k: v for k, v in given.items() if v is not default[k]}
        return UFUNC_REDUCE[ufunc](x, axis=axis, out=out, **given)
    refuse_out(out)
    if ufunc not in ASSOCIATIVE and ufunc not in FROM_FIRST:
        raise _missing(ufunc, "reduce")
    x = _operand(ufunc, x, dtype)
    shape, axes = shape_of(x), _axes(axis, ndim_of(x))
    if ufunc in FROM_FIRST and len(axes) > 1:
        raise ValueError(f"numpy.{ufunc.__name__}.reduce: the order matters, so at most one axis; got {axis}")
    if not _everywhere(where):
        if ufunc.identity is None:
            raise errors.NotSupportedError(
                f"np.{ufunc.__name__}.reduce(where=...): it has no neutral element.",
                "Put np.where(condition, x, what changes nothing) in the operand's place.")
        x = np.where(where, x, np.asarray(ufunc.identity, dtype_of(x)))
    kept = [i for i in range(len(shape)) if i not in axes]
    rows = np.reshape(np.transpose(x, (*axes, *kept)), (int(np.prod([shape[i] for i in axes], dtype=int)),
                                                        *[shape[i] for i in kept]))
    found = _reduced(ufunc, rows, initial)
    return _kept(found, shape, axes) if keepdims is not NO and keepdims else found


def _reduced(ufunc, rows, initial):
    """Along the first axis: halves of the array with each other, or the first with all others."""
    n, start = shape_of(rows)[0], initial is not NO and initial is not None
    if n == 0:
        value = initial if start else ufunc.identity
        if value is None:
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__}: it has no identity")
        return np.broadcast_to(convert(asvalue(value), dtype_of(rows)), shape_of(rows)[1:])
    if ufunc in FROM_FIRST:
        first = initial if start else rows[0]
        rest = rows if start else rows[1:]
        return ufunc(first, FROM_FIRST[ufunc].reduce(rest, dtype=dtype_of(rows))) if start or n > 1 else first
    while n > 1:
        odd = cut(rows, 0, n - n % 2, n)
        rows = ufunc(rows[0:n - 1:2], rows[1::2])
        rows = np.concatenate([rows, odd]) if n % 2 else rows
        n = n // 2 + n % 2
    first = initial if start else ufunc.identity        # hypot.reduce([-1]) is 1
    return rows[0] if first is None else ufunc(convert(asvalue(first), dtype_of(rows)), rows[0])


def accumulate(ufunc, x, axis=0, dtype=None, out=None):
    """What the ufunc makes of the first elements along an axis."""
    ordered = ufunc not in (np.maximum, np.minimum) or dtype_of(as_array(x)).kind not in "bc"
    if ufunc in UFUNC_ACCUMULATE and ordered:
        if ufunc not in (np.add, np.multiply):
            _operand(ufunc, x, dtype)
        return UFUNC_ACCUMULATE[ufunc](x, axis=axis, dtype=dtype, out=out)
    refuse_out(out)
    if ufunc not in ASSOCIATIVE and ufunc not in FROM_FIRST:
        raise _missing(ufunc, "accumulate")
    x = _operand(ufunc, x, dtype)
    if not ndim_of(x):
        raise TypeError("cannot accumulate on a scalar")
    x = np.moveaxis(x, axis_of(axis, ndim_of(x)), 0)
    n, step = shape_of(x)[0], 1
    if ufunc in FROM_FIRST:
        if n > 1:
            x = np.concatenate([x[:1], ufunc(x[:1], FROM_FIRST[ufunc].accumulate(x[1:], dtype=dtype_of(x)))])
        return np.moveaxis(x, 0, axis)
    while step < n:             # after k rounds each holds the last 2**k
        x = np.concatenate([x[:step], convert(ufunc(x[:n - step], x[step:]), dtype_of(x))])
        step *= 2
    return np.moveaxis(x, 0, axis)


def reduceat(ufunc, x, indices, axis=0, dtype=None, out=None):
    """Reductions of the slices from each of ``indices`` to the next; one element if that is not larger."""
    refuse_out(out)
    if ufunc not in SCATTERED:
        raise _missing(ufunc, "reduceat")
    if type(indices) is Tracer:
        raise errors.NotSupportedError(
            f"np.{ufunc.__name__}.reduceat at traced indices.",
            "Use functrans.at(zeros)[segment].add(x), where segment has a number for each element.")
    starts = np.asarray(indices)
    x = _accumulated(x, dtype) if ufunc in (np.add, np.multiply) else _operand(ufunc, x, dtype)
    if not ndim_of(x):
        raise TypeError("cannot reduceat on a scalar")
    axis = axis_of(axis, ndim_of(x))
    x = np.moveaxis(x, axis, 0)
    n = shape_of(x)[0]
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or np.any((starts < 0) | (starts >= n)):
        raise IndexError(f"np.{ufunc.__name__}.reduceat: indices must be integers in [0, {n}), got {starts}")
    ends = np.maximum([*starts[1:], n], starts + 1) if len(starts) else starts
    counts = ends - starts
    segment = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + starts[segment]
    first = x[starts]
    rest = place != starts[segment]
    found = getattr(at(first)[segment[rest]], SCATTERED[ufunc])(x[place[rest]])
    return np.moveaxis(found, 0, axis)
