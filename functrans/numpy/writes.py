"""NumPy's functions that write into an array: put, place, putmask, put_along_axis, fill_diagonal, copyto;
and what a condition picks: extract, compress.

With ``inplace=False`` they return a new array, traced or not. Without, they are NumPy's, and traced arrays
raise InPlaceError, as their values do not change.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import errors
from ..ir.op import OPS
from .core import FUNCTIONS, METHODS, aval_of, axis_of, broadcast_to, convert, traced
from .indexing import GatherScatterMode, along, at, cast, integers, take_at, write_params
from .shape import as_array, known_array, ravel, reshaped, shape_of
from .values import flatnonzero


def refusal(name, instead):
    return errors.InPlaceError(f"np.{name} writes into its first argument; a traced value cannot be written "
                               "to, nor stored in an ndarray.", instead)


def _functional(instead):
    """Makes of the function below, which ``inplace=False`` calls, the whole of NumPy's of that name."""
    def wrap(function):
        name = function.__name__
        original = getattr(np, name)

        @functools.wraps(function)
        def write(*args, inplace=True, **kwargs):
            if not inplace:
                return function(*args, **kwargs)
            if any(traced(x) for x in (*args, *kwargs.values())):
                raise refusal(name, f"Write x = functrans.numpy.{name}(x, ..., inplace=False){instead}.")
            return original(*args, **{k: v for k, v in kwargs.items() if k != "mode" or v is not None})
        FUNCTIONS[original] = write
        return write
    return wrap


def _repeated(values, n):
    """``values``, flat, cut or repeated to n of them."""
    values = ravel(values)
    m = shape_of(values)[0]
    if m == n or m == 1:
        return broadcast_to(values, (n,))
    return np.take(values, np.arange(n) % max(m, 1)) if m else values


@_functional(", or functrans.at(x)[index].set(v)")
def put(a, ind, v, mode="raise", *, inplace=True):
    """``a`` with ``v``, repeated as needed, at flat positions ``ind``.

    ``mode``: "raise" (known positions out of range raise, unknown ones are not written), "wrap",
    "clip" (negative ones count as 0).

    >>> functrans.numpy.put(np.zeros(4), [1, -1], [5.0, 7.0], inplace=False)
    array([0., 5., 0., 7.])
    """
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"put: mode must be 'raise', 'wrap' or 'clip', got {mode!r}")
    a, ind, v = as_array(a), ravel(integers(ind, "put: positions")), as_array(v)
    if not aval_of(v).size:
        return a
    out = at(ravel(a))[ind].set(_repeated(v, shape_of(ind)[0]), mode=None if mode == "raise" else mode,
                                wrap_negative_indices=mode != "clip")
    return reshaped(out, shape_of(a))


def _mask(name, mask, a):
    mask = as_array(mask)
    if aval_of(mask).size != aval_of(a).size:
        raise errors.ShapeError(f"{name}: the mask {aval_of(mask)} must have as many elements as the array, "
                                f"{aval_of(a)}.", "Broadcast it first.")
    mask = mask if aval_of(mask).dtype == np.bool_ else np.not_equal(mask, 0)
    return np.reshape(mask, shape_of(a))


@_functional(", or np.where(mask, values, x)")
def place(arr, mask, vals, *, inplace=True):
    """``arr`` with the first of ``vals``, repeated as needed, where the mask is true.

    >>> functrans.numpy.place(np.arange(4), [True, False, True, True], [7, 8], inplace=False)
    array([7, 1, 8, 7])
    """
    arr, vals = as_array(arr), ravel(as_array(vals))
    mask, n = _mask("place", mask, arr), shape_of(vals)[0]
    if not n:
        raise errors.ShapeError("place: there are no values to insert.", "Give at least one.")
    vals = convert(cast(vals, aval_of(arr).dtype), aval_of(arr).dtype)
    number = np.reshape(np.cumsum(ravel(mask)) - 1, shape_of(arr))
    return np.where(mask, take_at(vals, np.remainder(number, n), 0, "clip"), arr)


@_functional(", or np.where(mask, values, x)")
def putmask(a, /, mask, values, *, inplace=True):
    """``a`` with ``values`` where the mask is true; values of another shape are repeated, flat.

    >>> functrans.numpy.putmask(np.arange(4), [True, False, True, True], [7, 8], inplace=False)
    array([7, 1, 7, 8])
    """
    a, values = as_array(a), as_array(values)
    mask = _mask("putmask", mask, a)
    if not aval_of(values).size:
        return a
    values = convert(cast(values, aval_of(a).dtype), aval_of(a).dtype)
    return np.where(mask, reshaped(_repeated(values, aval_of(a).size), shape_of(a)), a)


@_functional(", or functrans.at(x)[index].set(v)")
def put_along_axis(arr, indices, values, axis, *, mode=None, inplace=True):
    """``arr`` with ``values`` at positions of their own along ``axis``, for each position of the other axes.

    ``mode`` as in ``x.at[...]``: known positions out of range raise, unknown ones are not written.

    >>> functrans.numpy.put_along_axis(np.zeros((2, 3)), np.array([[1], [2]]), 5.0, 1, inplace=False)
    array([[0., 5., 0.],
           [0., 0., 5.]])
    """
    arr, indices, values = as_array(arr), integers(indices, "put_along_axis: indices"), as_array(values)
    shape = shape_of(arr)
    if axis is None:
        out = put_along_axis.__wrapped__(ravel(arr), indices, values, 0, mode=mode)
        return reshaped(out, shape)
    mode = mode.value if isinstance(mode, GatherScatterMode) else mode
    rows, places, lead, axis = along(arr, indices, axis, "put_along_axis", mode)
    if aval_of(rows).size != aval_of(arr).size:
        raise errors.ShapeError(f"put_along_axis: indices {aval_of(indices)} do not broadcast to the array "
                                f"{aval_of(arr)}.", "Only indices and values are repeated.")
    values = convert(cast(values, aval_of(arr).dtype), aval_of(arr).dtype)
    m = shape_of(places)[-1]
    values = np.moveaxis(broadcast_to(values, (*lead[:axis], m, *lead[axis:])), axis, -1)
    out = OPS["scatter_set"](rows, values, places, **write_params([places], mode, len(lead)))
    return np.moveaxis(out, -1, axis)


@_functional("")
def fill_diagonal(a, val, wrap=False, *, inplace=True):
    """``a`` with ``val``, repeated as needed, on the main diagonal.

    More than two axes must be equal. ``wrap``: a tall matrix's diagonal begins again behind an empty row.

    >>> functrans.numpy.fill_diagonal(np.zeros((2, 3)), 5.0, inplace=False)
    array([[5., 0., 0.],
           [0., 5., 0.]])
    """
    a, val = as_array(a), as_array(val)
    shape = shape_of(a)
    if len(shape) < 2:
        raise errors.ShapeError(f"fill_diagonal: the array must have two axes or more, got {aval_of(a)}.")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise errors.ShapeError(f"fill_diagonal: all axes must be of one size, got {aval_of(a)}.",
                                "Only matrices may have sides of their own.")
    step = 1 + sum([math.prod(shape[d:]) for d in range(1, len(shape))])
    end = None if wrap or len(shape) > 2 else shape[1] * shape[1]
    count = len(range(*slice(None, end, step).indices(math.prod(shape))))
    if not count or not aval_of(val).size:
        return a
    return reshaped(at(ravel(a))[:end:step].set(_repeated(val, count)), shape)


def copyto(dst, src, casting="same_kind", where=True):
    """As numpy.copyto; traced arrays raise InPlaceError."""
    if any(traced(x) for x in (dst, src, where)):
        raise refusal("copyto", "Write x = np.where(mask, src, x); for np.full(shape, v) write "
                                "functrans.numpy.full(shape, v).")
    return np.copyto(dst, src, casting, where)


FUNCTIONS[np.copyto] = copyto


# ----- elements where a condition holds -----------------------------------------------------------------


def extract(condition, arr, *, size=None, fill_value=0):
    """The elements where the condition holds.

    Where values are not known (jit, vmap), ``size`` fixes their number: surplus ones are cut off, missing
    ones are ``fill_value``.

    >>> functrans.numpy.extract(np.array([True, False, True]), np.arange(3.0), size=3, fill_value=-1)
    array([ 0.,  2., -1.])
    """
    return compress(np.ravel(as_array(condition)), np.ravel(as_array(arr)), size=size, fill_value=fill_value)


def compress(condition, a, axis=None, out=None, *, size=None, fill_value=0):
    """The parts of ``a`` along an axis where a condition of one axis holds; ``size`` as in extract.

    >>> functrans.numpy.compress([True, False], np.arange(4.0).reshape(2, 2), axis=1)
    array([[0.],
           [2.]])
    """
    if size is None and not traced(condition) and not traced(a):
        return np.compress(condition, a, axis, out)
    if out is not None:
        raise refusal("compress", "Use the returned value.")
    condition, a = as_array(condition), as_array(a)
    if aval_of(condition).ndim != 1:
        raise errors.ShapeError(f"compress: the condition must have one axis, got {aval_of(condition)}.",
                                "Use x[mask] for masks of more.")
    a, axis = (ravel(a), 0) if axis is None or (not shape_of(a) and axis in (0, -1)) else (a, axis)
    n = shape_of(a)[axis]
    condition = condition if aval_of(condition).dtype == np.bool_ else np.not_equal(condition, 0)
    if size is None:
        found = np.flatnonzero(known_array(condition, "compress", "Give size=n, or keep the shape: "
                                                                  "np.where(mask, x, 0)."))
        return np.take(a, found, axis)
    found = flatnonzero(condition, size=size, fill_value=n)
    index = (slice(None),) * axis_of(axis, aval_of(a).ndim) + (found,)
    return at(a)[index].get(mode="fill", fill_value=fill_value)


FUNCTIONS[np.extract], FUNCTIONS[np.compress] = extract, compress
METHODS["compress"] = lambda a: lambda condition, axis=None, out=None: compress(condition, a, axis, out)


__all__ = ["compress", "copyto", "extract", "fill_diagonal", "place", "put", "put_along_axis", "putmask"]
