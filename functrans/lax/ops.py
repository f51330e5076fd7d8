"""The operations of ``jax.lax``: one op each, on operands of one dtype and one shape.

Only scalars are broadcast, and only Python numbers take the dtype of the other operands.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import errors, tree
from ..ir.core import aval, lit
from ..ir.op import OPS
from ..numpy.core import asvalue, axis_of, convert, is_number
from ..trace.core import aval_of, bind, current_builder
from ..trace.tracer import Tracer
from .options import check_accuracy, one_device

_INT64 = np.dtype("int64")

# ----- operands -----------------------------------------------------------------------------------


def _operand(x):
    """x as an op takes it: a Python or NumPy number as a scalar array."""
    x = asvalue(x)
    return np.asarray(x)[()] if is_number(x) and not isinstance(x, np.generic) else x


def _is_weak(x):
    return type(x) in (int, float) or aval_of(x).weak


def _spread(x, shape):
    """A scalar repeated to ``shape``."""
    if aval_of(x).shape == shape:
        return x
    if is_number(x):
        return np.full(shape, x) if current_builder() is None else lit(x, aval(shape, x.dtype))
    return OPS["broadcast_in_dim"](x, shape=shape, dims=())


def _together(name, xs):
    """Operands in one dtype and shape: numbers take the dtype of the rest, scalars their shape."""
    xs = [asvalue(x) for x in xs]
    strong = [aval_of(x).dtype for x in xs if not _is_weak(x)]
    if any(d != strong[0] for d in strong):
        raise errors.DtypeError(f"lax.{name}: operands must have one dtype, got {_avals(xs)}.",
                                "lax does not promote; use functrans.numpy, or convert one.")
    dtype = strong[0] if strong else np.result_type(*[aval_of(x).dtype for x in xs])
    for x in xs:
        if _is_weak(x) and "biufc".index(aval_of(x).dtype.kind) > "biufc".index(dtype.kind):
            raise errors.DtypeError(f"lax.{name}: the number {x} does not fit the dtype {dtype} of the "
                                    "other operands.", "Convert the array, or use functrans.numpy.")
    return _one_shape(name, [convert(x, dtype) if _is_weak(x) else x for x in xs])


def _one_shape(name, xs):
    shapes = [aval_of(x).shape for x in xs]
    shape = next((s for s in shapes if s), ())
    if any(s and s != shape for s in shapes):
        raise errors.ShapeError(f"lax.{name}: operands must have equal shapes, got {_avals(xs)}.",
                                "lax broadcasts scalars only; use functrans.numpy.")
    return [_spread(x, shape) for x in xs]


def _run(name, *xs, **params):
    return bind(OPS[name], xs, params)


def _avals(xs):
    return ", ".join([str(aval_of(x)) for x in xs])


def _elementwise(name, op, arity, doc):
    def unary(x):
        return bind(op, (_operand(x),), {})

    def exact(x, *, accuracy=None):
        check_accuracy(name, accuracy)
        return bind(op, (_operand(x),), {})

    def binary(x, y):
        return bind(op, tuple(_together(name, (x, y))), {})

    function = (exact if name in _EXACT else unary) if arity == 1 else binary
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


_UNARY = {"neg": "neg", "sign": "sign", "floor": "floor", "ceil": "ceil", "exp": "exp",
          "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p", "sin": "sin", "cos": "cos",
          "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh", "cosh": "cosh",
          "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "sqrt": "sqrt",
          "cbrt": "cbrt", "erf": "erf", "erfc": "erfc", "logistic": "logistic",
          "is_finite": "isfinite", "bitwise_not": "not", "abs": "abs", "real": "real", "imag": "imag",
          "conj": "conj", "population_count": "population_count", "clz": "clz", "erf_inv": "erf_inv"}
# Those that JAX gives an accuracy to.
_EXACT = ("cbrt", "cos", "exp", "exp2", "expm1", "log", "log1p", "logistic", "sin", "sqrt", "tan", "tanh")
_BINARY = {"add": "add", "sub": "sub", "rem": "fmod", "max": "max", "min": "min",
           "atan2": "atan2", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le",
           "gt": "gt", "ge": "ge", "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor",
           "shift_left": "shl", "shift_right_arithmetic": "shr", "complex": "complex"}
for _name, _op in _UNARY.items():
    globals()[_name] = _elementwise(_name, OPS[_op], 1, f"Elementwise {_name} of x.")
for _name, _op in _BINARY.items():
    globals()[_name] = _elementwise(_name, OPS[_op], 2, f"Elementwise {_name} of x and y.")


def bitcast_convert_type(operand, new_dtype):
    """The bits of operand read as ``new_dtype``.

    A narrower dtype adds a last axis, a wider one takes it away. There is no derivative.

    >>> import numpy as np
    >>> from functrans import lax
    >>> int(lax.bitcast_convert_type(np.float32(1.0), np.int32)) == 0x3f800000
    True
    """
    return _run("bitcast", _operand(operand), dtype=np.dtype(new_dtype))


# ----- arithmetic that is more than one op --------------------------------------------------------


def mul(x, y, *, out_dtype=None):
    """Elementwise x * y, in ``out_dtype`` if that is given."""
    if out_dtype is not None:
        x, y = (convert(asvalue(v), out_dtype) for v in (x, y))
    return _run("mul", *_together("mul", (x, y)))


def nextafter(x1, x2):
    """Elementwise the next number after x1 in the direction of x2."""
    return _run("nextafter", *_together("nextafter", (x1, x2)))


def div(x, y):
    """Elementwise x / y; integers are divided towards zero."""
    x, y = _together("div", (x, y))
    if aval_of(x).dtype.kind in "fc":
        return _run("div", x, y)
    return _run("floordiv", _run("sub", x, _run("fmod", x, y)), y)


def pow(x, y):
    """Elementwise x ** y; y may be an integer."""
    if type(y) is int or (isinstance(y, np.integer) and aval_of(x).dtype.kind in "fc"):
        return integer_pow(x, int(y))
    x, y = _operand(x), asvalue(y)
    if aval_of(x).dtype.kind in "fc" and aval_of(y).dtype.kind in "iu":
        y = convert(y, aval_of(x).dtype)
    return _run("pow", *_together("pow", (x, y)))


def integer_pow(x, y: int):
    """Elementwise x ** y for a Python integer y."""
    return _run("integer_pow", _operand(x), y=y.__index__())


def square(x):
    """Elementwise x * x."""
    return integer_pow(x, 2)


def reciprocal(x):
    """Elementwise 1 / x."""
    return div(1.0, x)


def rsqrt(x, *, accuracy=None):
    """Elementwise 1 / sqrt(x)."""
    check_accuracy("rsqrt", accuracy)
    return div(1.0, _run("sqrt", _operand(x)))


class RoundingMethod(enum.IntEnum):
    """How ``round`` treats numbers halfway between two integers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def round(x, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO):
    """Elementwise nearest integer; halves go away from zero by default."""
    x = _operand(x)
    if RoundingMethod(rounding_method) is RoundingMethod.TO_NEAREST_EVEN:
        return _run("rint", x)
    whole = _run("trunc", x)
    rest = np.abs(x - whole)
    return np.where(rest >= 0.5, whole + np.sign(x), whole)


def select(pred, on_true, on_false):
    """Elementwise choice; ``pred`` is a bool array of the same shape, or a scalar."""
    return select_n(pred, on_false, on_true)


def select_n(which, *cases):
    """``cases[which]`` elementwise; ``which`` is bool (two cases) or an integer array or scalar."""
    which, cases = _operand(which), _together("select_n", cases)
    a, shape = aval_of(which), aval_of(cases[0]).shape
    if a.dtype.kind not in "biu":
        raise errors.DtypeError(f"lax.select_n: which must be bool or integer, got {a}.",
                                "Compare it first, e.g. x > 0.")
    if a.shape not in ((), shape):
        raise errors.ShapeError(f"lax.select_n: which is {a} but the cases have shape {shape}.",
                                "Use functrans.numpy.where to broadcast.")
    which = _spread(which, shape)
    if a.dtype == np.bool_:
        if len(cases) > 2:
            raise errors.DtypeError(f"lax.select_n: a bool chooses between two cases, got {len(cases)}.",
                                    "Use an integer array.")
        return cases[0] if len(cases) == 1 else _run("select", which, cases[1], cases[0])
    out = cases[0]
    for i, case in enumerate(cases[1:], 1):
        out = _run("select", *_one_shape("select_n", [np.greater_equal(which, i)]), case, out)
    return out


def clamp(min, x, max):
    """x limited to [min, max]; the bounds are scalars or have x's shape."""
    low, x, high = _together("clamp", (min, x, max))
    return _run("min", _run("max", x, low), high)


def convert_element_type(operand, new_dtype):
    """The operand in another dtype."""
    return _run("convert", _operand(operand), dtype=np.dtype(new_dtype))


def stop_gradient(x):
    """x, a pytree, as a constant: its derivative is zero."""
    return tree.map(lambda leaf: _run("stop_gradient", leaf) if type(leaf) is Tracer else leaf, x)


# ----- shape --------------------------------------------------------------------------------------


def _ints(values) -> tuple[int, ...]:
    return tuple([v.__index__() for v in values])


def reshape(operand, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None, *,
            out_sharding=None):
    """The elements in another shape; ``dimensions`` permutes the axes first."""
    one_device("reshape", out_sharding=out_sharding)
    if dimensions is not None:
        operand = transpose(operand, dimensions)
    return OPS["reshape"](_operand(operand), shape=_ints(new_sizes))


def broadcast(operand, sizes: Sequence[int], *, out_sharding=None):
    """The operand repeated along new leading axes."""
    one_device("broadcast", out_sharding=out_sharding)
    operand = _operand(operand)
    shape, lead = aval_of(operand).shape, _ints(sizes)
    return OPS["broadcast_in_dim"](operand, shape=lead + shape,
                                   dims=tuple(range(len(lead), len(lead) + len(shape))))


def broadcast_in_dim(operand, shape: Sequence[int], broadcast_dimensions: Sequence[int], *,
                     out_sharding=None):
    """The operand repeated to ``shape``; its axes are those named."""
    one_device("broadcast_in_dim", out_sharding=out_sharding)
    return OPS["broadcast_in_dim"](_operand(operand), shape=_ints(shape), dims=_ints(broadcast_dimensions))


def transpose(operand, permutation: Sequence[int]):
    """The operand with its axes permuted."""
    return OPS["transpose"](_operand(operand), perm=_ints(permutation))


def rev(operand, dimensions: Sequence[int]):
    """The operand reversed along axes."""
    return OPS["rev"](_operand(operand), axes=tuple(sorted(_ints(dimensions))))


def squeeze(array, dimensions: Sequence[int]):
    """The array without the named axes of extent 1."""
    array = _operand(array)
    shape = aval_of(array).shape
    drop = {axis_of(d, len(shape)) for d in dimensions}
    if any(shape[d] != 1 for d in drop):
        raise errors.ShapeError(f"lax.squeeze: axes {tuple(dimensions)} of {aval_of(array)} do not all "
                                "have extent 1.", "Only axes of extent 1 can be dropped.")
    return OPS["reshape"](array, shape=tuple([n for i, n in enumerate(shape) if i not in drop]))


def expand_dims(array, dimensions: Sequence[int]):
    """The array with new axes of extent 1, at these places of the result."""
    array = _operand(array)
    shape = aval_of(array).shape
    ndim = len(shape) + len(dimensions)
    new = {axis_of(d, ndim) for d in dimensions}
    old = iter(shape)
    return OPS["reshape"](array, shape=tuple([1 if i in new else next(old) for i in range(ndim)]))


def concatenate(operands: Sequence[Any], dimension: int):
    """Operands of one dtype joined along an axis."""
    operands = [_operand(x) for x in operands]
    return OPS["concatenate"](*operands, axis=dimension)


def pad(operand, padding_value, padding_config: Sequence[tuple[int, int, int]]):
    """The operand with (low, high, interior) padding per axis; negative low and high cut."""
    operand = _operand(operand)
    value = asvalue(padding_value)
    if _is_weak(value):
        value = convert(value, aval_of(operand).dtype)
    low, high, interior = zip(*padding_config, strict=True) if len(padding_config) else ((), (), ())
    return OPS["pad"](operand, value, low=_ints(low), high=_ints(high), interior=_ints(interior))


def broadcasted_iota(dtype, shape: Sequence[int], dimension: int, *, out_sharding=None):
    """0, 1, 2, ... along one axis of ``shape``."""
    one_device("broadcasted_iota", out_sharding=out_sharding)
    shape, dtype = _ints(shape), np.dtype(dtype)
    if current_builder() is None:
        along = np.arange(shape[dimension]).astype(dtype)
        return np.broadcast_to(along.reshape([-1 if i == dimension else 1 for i in range(len(shape))]),
                               shape).copy()
    return OPS["iota"](shape=shape, dtype=dtype, axis=dimension)


def iota(dtype, size: int):
    """0, 1, ..., size - 1."""
    return broadcasted_iota(dtype, (size,), 0)


def full(shape: Sequence[int], fill_value, dtype=None, *, sharding=None):
    """An array with every element ``fill_value``."""
    one_device("full", sharding=sharding)
    value = asvalue(fill_value)
    value = convert(value, aval_of(value).dtype if dtype is None else dtype)
    return broadcast(value, shape) if type(value) is Tracer else np.full(_ints(shape), value)


def full_like(x, fill_value, dtype=None, shape=None, sharding=None):
    """An array with x's shape and dtype and every element ``fill_value``."""
    one_device("full_like", sharding=sharding)
    a = aval_of(x)
    return full(a.shape if shape is None else shape, fill_value, a.dtype if dtype is None else dtype)


# ----- slices -------------------------------------------------------------------------------------


def slice(operand, start_indices: Sequence[int], limit_indices: Sequence[int],
          strides: Sequence[int] | None = None):
    """The operand between static bounds."""
    strides = (1,) * len(start_indices) if strides is None else _ints(strides)
    return OPS["slice"](_operand(operand), start=_ints(start_indices), limit=_ints(limit_indices),
                        stride=strides)


def slice_in_dim(operand, start_index: int | None, limit_index: int | None, stride: int = 1,
                 axis: int = 0):
    """The operand between static bounds of one axis; negative bounds count from the end."""
    operand = _operand(operand)
    shape = aval_of(operand).shape
    axis = axis_of(axis, len(shape))
    n = shape[axis]
    start = 0 if start_index is None else start_index.__index__()
    limit = n if limit_index is None else limit_index.__index__()
    starts, limits, strides = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis] = start + n if start < 0 else start
    limits[axis] = limit + n if limit < 0 else limit
    strides[axis] = stride
    return slice(operand, starts, limits, strides)


def index_in_dim(operand, index: int, axis: int = 0, keepdims: bool = True):
    """One static position along an axis."""
    operand = _operand(operand)
    n = aval_of(operand).shape[axis_of(axis, aval_of(operand).ndim)]
    if not -n <= index < n:
        raise errors.IndexRangeError(f"index {index} is out of bounds for axis {axis} with size {n}")
    index %= n
    out = slice_in_dim(operand, index, index + 1, 1, axis)
    return out if keepdims else squeeze(out, (axis,))


__all__ = [
    *_UNARY, *_BINARY, "mul", "nextafter", "bitcast_convert_type", "div", "pow", "integer_pow", "square",
    "reciprocal", "rsqrt",
    "RoundingMethod", "round", "select", "select_n", "clamp", "convert_element_type", "stop_gradient",
    "reshape", "broadcast", "broadcast_in_dim", "transpose", "rev", "squeeze", "expand_dims", "concatenate",
    "pad", "broadcasted_iota", "iota", "full", "full_like", "slice", "slice_in_dim", "index_in_dim"]
