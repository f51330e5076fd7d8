"""NumPy's ufuncs on tracers: which op each one is, and in which dtype it runs."""

from __future__ import annotations

import importlib
import math

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import OPS
from ..trace.core import aval_of
from ..trace.tracer import Tracer, Upward, install_ufunc
from .core import asvalue, broadcast_arrays, convert, is_number, refuse_out
from .dispatch import Recipe, call, install

# ufunc -> op of the same meaning; NumPy's own loop table says in which dtype it runs
DIRECT = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.true_divide: "div",
    np.floor_divide: "floordiv", np.remainder: "mod", np.fmod: "fmod", np.negative: "neg",
    np.absolute: "abs", np.fabs: "abs", np.sign: "sign", np.floor: "floor", np.ceil: "ceil",
    np.trunc: "trunc", np.rint: "rint", np.sqrt: "sqrt", np.cbrt: "cbrt", np.exp: "exp",
    np.exp2: "exp2", np.expm1: "expm1", np.log: "log", np.log2: "log2", np.log10: "log10",
    np.log1p: "log1p", np.sin: "sin", np.cos: "cos", np.tan: "tan", np.arcsin: "asin",
    np.arccos: "acos", np.arctan: "atan", np.sinh: "sinh", np.cosh: "cosh", np.tanh: "tanh",
    np.arcsinh: "asinh", np.arccosh: "acosh", np.arctanh: "atanh", np.arctan2: "atan2",
    np.hypot: "hypot", np.logaddexp: "logaddexp", np.maximum: "max", np.minimum: "min",
    np.fmax: "fmax", np.fmin: "fmin", np.copysign: "copysign", np.nextafter: "nextafter",
    np.heaviside: "heaviside", np.equal: "eq", np.not_equal: "ne", np.less: "lt",
    np.less_equal: "le", np.greater: "gt", np.greater_equal: "ge", np.isnan: "isnan",
    np.isinf: "isinf", np.isfinite: "isfinite", np.signbit: "signbit", np.invert: "not",
    np.bitwise_and: "and", np.bitwise_or: "or", np.bitwise_xor: "xor", np.left_shift: "shl",
    np.right_shift: "shr", np.power: "pow", np.gcd: "gcd", np.lcm: "lcm",
}
_IDENTITY_ON_INTEGERS = {np.floor, np.ceil, np.trunc}
_COMPARISONS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
_FALSE_ON_INTEGERS = {np.isnan: False, np.isinf: False, np.isfinite: True, np.signbit: False}

# ufunc -> composition; filled by the modules that define them (matmul and the like)
COMPOSITE: dict = {}
BY_NAME: dict = {}          # SciPy's ufuncs, by name: importing scipy.special takes 100 ms


def composite(*ufuncs):
    """Registers the function below as what ``ufuncs`` do on tracers."""
    def wrap(function):
        for f in ufuncs:
            COMPOSITE[f] = function
        return function
    return wrap


def make_recipe(ufunc, operands, operator, key) -> Recipe:
    """The recipe of a ufunc for operands of these types (``key``: an aval or a Python type each)."""
    if ufunc not in COMPOSITE and ufunc not in DIRECT:
        for module in (".products", ".complexes"):          # matmul, conjugate and the like register there
            importlib.import_module(module, __package__)
    if ufunc in COMPOSITE:
        return Recipe(composite=COMPOSITE[ufunc])
    if ufunc not in DIRECT:
        return _special(ufunc)
    if ufunc in _COMPARISONS and int in key and any(
            type(k) is not type and k.dtype.kind in "iub" for k in key):
        return Recipe(composite=_comparison(ufunc))
    avals = [k if not isinstance(k, type) else None for k in key[:len(operands)]]
    shape = _shape(ufunc, avals)
    weak = operator and all(a is None or a.weak for a in avals)
    if ufunc is np.power and len(key) == 3:
        found = _constant_power(avals[0], key[2], shape, operator)
        if found is not None:
            return found
    types = [_resolvable(k) for k in key[:len(operands)]]
    loop = _loop(ufunc, types, operands)
    name = DIRECT[ufunc]
    kind = loop[0].kind
    if kind in "iub" and ufunc in _IDENTITY_ON_INTEGERS:
        return Recipe(composite=lambda x: x)
    if kind in "iub" and ufunc in _FALSE_ON_INTEGERS and not (ufunc is np.signbit and kind == "i"):
        value = _FALSE_ON_INTEGERS[ufunc]
        return Recipe(composite=lambda x: np.full(aval_of(x).shape, value))
    if len(set(loop[:len(operands)])) > 1:          # int64 with uint64 comparisons
        loop = [np.result_type(*loop[:len(operands)])] * len(operands) + loop[len(operands):]
    if name in ("fmax", "fmin") and kind in "biu":       # no nan to pass over
        name = name[1:]
    if name in ("abs", "sign") and kind == "b":
        return Recipe(composite=lambda x: x)
    if name == "nextafter" and loop[0].itemsize == 2:
        return Recipe(composite=lambda x, y: _half_nextafter(
            *broadcast_arrays(*[convert(v, np.float16) for v in map(asvalue, (x, y))])))
    op = OPS[name]
    if kind == "c" and name in ("max", "min", "fmax", "fmin"):
        from .complexes import EXTREMA
        return Recipe(composite=EXTREMA[ufunc])
    weak = weak and loop[-1].kind != "b"
    literal = None
    dtypes = tuple(loop[:len(operands)])
    if ufunc is np.power and len(key) == 3:
        literal = lit(key[2], aval(shape, dtypes[1]))
        dtypes = dtypes[:1]
    return Recipe(op, dtypes, shape, weak=weak, literal=literal)


def _shape(ufunc, avals):
    shapes = [a.shape for a in avals if a is not None]
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise errors.ShapeError(
            f"numpy.{ufunc.__name__}: operands {', '.join(str(a) for a in avals if a is not None)} do not "
            "broadcast.", "Each axis must be equal, or 1, counted from the last.") from None


def _resolvable(k):
    """What NumPy's loop resolution takes: Python types for weak operands."""
    if isinstance(k, type):
        return np.dtype(bool) if k is bool else k
    return {"f": float, "i": int, "c": complex}[k.dtype.kind] if k.weak else k.dtype


def _loop(ufunc, types, operands) -> list[np.dtype]:
    if all(isinstance(t, type) for t in types):             # only Python numbers: their default types
        types = [np.dtype({int: np.int64, float: np.float64, complex: np.complex128}[t]) for t in types]
    try:
        return list(ufunc.resolve_dtypes((*types, *[None] * ufunc.nout)))
    except TypeError as e:
        names = ", ".join(str(aval_of(x)) for x in operands)
        raise errors.DtypeError(f"numpy.{ufunc.__name__} is not defined for {names}: {e}",
                                "Convert an operand with astype.") from None


def _constant_power(base, y, shape, operator):
    """``x ** y`` for a known number y, where a cheaper or better behaved op is the same."""
    kind = base.dtype.kind
    if isinstance(y, float) and kind == "f":
        if y == 0.5 and operator:
            return Recipe(OPS["sqrt"], (base.dtype,), shape, weak=base.weak and operator)
        if y.is_integer() and abs(y) <= 32:
            y = int(y)
    if isinstance(y, int) and not isinstance(y, bool) and abs(y) <= 32 and kind in "fiub":
        if y < 0 and kind in "iub":
            raise ValueError("integers to negative integer powers are not allowed; write x ** float(n) "
                             "or 1.0 / x")
        return None if kind == "b" else Recipe(OPS["integer_pow"], (base.dtype,), shape, params={"y": y},
                      weak=base.weak and operator)
    return None


def _special(ufunc) -> Recipe:
    if not BY_NAME:
        from ..scipy import special
        BY_NAME.update(special.BY_NAME)
    found = BY_NAME.get(ufunc.__name__)
    if found is None:
        raise errors.NotSupportedError(f"the ufunc {ufunc.__name__!r} has no traced version.",
                                       "Write it with supported functions, or give it a rule with "
                                       "functrans.custom_jvp.")
    return Recipe(composite=found)


# ----- compositions -------------------------------------------------------------------------------------


def _truth(x):
    """x as bool: whether it is not zero."""
    x = asvalue(x)
    if is_number(x):
        return np.bool_(x)
    return x if aval_of(x).dtype == np.bool_ else np.not_equal(x, 0)


@composite(np.square)
def _square(x):
    (x,) = in_loop(np.square, x)
    return x * x


composite(np.positive)(lambda x: in_loop(np.positive, x)[0])
composite(np.logical_and)(lambda x, y: np.bitwise_and(_truth(x), _truth(y)))
composite(np.logical_or)(lambda x, y: np.bitwise_or(_truth(x), _truth(y)))
composite(np.logical_xor)(lambda x, y: np.bitwise_xor(_truth(x), _truth(y)))
composite(np.logical_not)(lambda x: np.invert(_truth(x)))
composite(np.deg2rad, np.radians)(lambda x: in_loop(np.deg2rad, x)[0] * (np.pi / 180))
composite(np.rad2deg, np.degrees)(lambda x: in_loop(np.rad2deg, x)[0] * (180 / np.pi))
composite(np.divmod)(lambda x, y: (np.floor_divide(x, y), np.remainder(x, y)))
composite(np.float_power)(lambda x, y: np.power(*in_loop(np.float_power, x, y)))


@composite(np.logaddexp2)
def _logaddexp2(x, y):
    x, y = in_loop(np.logaddexp2, x, y)
    return np.logaddexp(x * math.log(2.0), y * math.log(2.0)) / math.log(2.0)


@composite(np.bitwise_count)
def _bitwise_count(x):
    (x,) = in_loop(np.bitwise_count, x)
    if aval_of(x).dtype.kind == "b":
        return convert(x, np.uint8)
    return convert(OPS["population_count"](OPS["abs"](x)), np.uint8)


@composite(np.modf)
def _modf(x):
    """Fractional and integral part, both with the sign of x; of infinities 0 and themselves."""
    (x,) = in_loop(np.modf, x)
    return np.where(np.isinf(x), np.copysign(0, x), np.fmod(x, 1.0)), np.trunc(x)


_LAYOUT = {4: (np.int32, 23, 0xff, 126), 8: (np.int64, 52, 0x7ff, 1022)}    # bits of mantissa, mask, bias


@composite(np.frexp)
def _frexp(x):
    """Mantissa, at least 1/2 and less than 1, and exponent, which counts as constant in derivatives."""
    (x,) = in_loop(np.frexp, x)
    wide = convert(x, np.float32) if aval_of(x).dtype.itemsize == 2 else x
    integer, digits, mask, bias = _LAYOUT[aval_of(wide).dtype.itemsize]
    small = np.abs(wide) < np.finfo(aval_of(wide).dtype).tiny
    bits = OPS["bitcast"](np.where(small, wide * 2.0 ** digits, wide), dtype=np.dtype(integer))
    exponent = ((bits >> digits) & mask) - bias - np.where(small, digits, 0)
    exponent = convert(np.where((x == 0) | ~np.isfinite(x), 0, exponent), np.int32)
    return np.ldexp(x, -exponent), exponent


def _half_nextafter(x, y):
    """float16: the neighbour by its bits, which count up from 0 on either side."""
    bits = OPS["bitcast"](x, dtype=np.dtype(np.int16))
    to = np.where((x < y) == (x > 0), bits + np.int16(1), bits - np.int16(1))
    found = OPS["bitcast"](to, dtype=np.dtype(np.float16))
    found = np.where(x == 0, np.copysign(np.float16(2.0 ** -24), y), found)
    found = np.where(x == y, y, np.where(np.isnan(y), y, np.where(np.isnan(x), x, found)))
    finite = np.isfinite(x) & np.isfinite(found)
    return np.where(finite, x + OPS["stop_gradient"](found - x), found)


@composite(np.spacing)
def _spacing(x):
    """The distance to the next number away from zero; of float16 to the next greater one, as NumPy's."""
    (x,) = in_loop(np.spacing, x)
    dtype = aval_of(x).dtype
    to = np.inf if dtype.itemsize == 2 else convert(np.where(x < 0, -np.inf, np.inf), dtype)
    found = np.nextafter(x, to) - x
    return np.where(np.isinf(x), np.nan, found)


@composite(np.ldexp)
def _ldexp(x, n):
    """x 2**n, the power in three factors that are all finite."""
    x, n = in_loop(np.ldexp, x, n)
    dtype = aval_of(x).dtype
    x, n = convert(x, np.float64), np.clip(convert(n, np.float64), -2200.0, 2200.0)
    first = np.rint(n / 3.0)
    second = np.rint((n - first) / 2.0)
    return convert(x * np.exp2(first) * np.exp2(second) * np.exp2(n - first - second), dtype)


def in_loop(ufunc, *xs):
    """The operands in the dtypes of NumPy's loop for them."""
    xs = [asvalue(x) for x in xs]
    types = [_resolvable(type(x) if type(x) in (bool, int, float, complex) else aval_of(x)) for x in xs]
    return [convert(x, d) for x, d in zip(xs, _loop(ufunc, types, xs), strict=False)]


def _comparison(ufunc):
    """With a Python integer, which may lie outside of the other operand's dtype: it is compared as it is."""
    def compare(*operands):
        from .shape import fill
        i = 0 if type(operands[0]) is int else 1
        x, n = asvalue(operands[1 - i]), operands[i]
        a = aval_of(x)
        dtype = a.dtype
        if dtype.kind == "b" or a.weak:
            dtype = np.dtype(np.int64)
        info = np.iinfo(dtype) if dtype.kind in "iu" else None
        if a.dtype.kind == "b":
            np.int64(n)                     # NumPy's error
        if info is not None and not info.min <= n <= info.max:
            zero = np.int8(0)               # on the same side of n as any number of the dtype
            return np.full(a.shape, ufunc(n, zero) if i == 0 else ufunc(zero, n))[()]
        if info is None:
            dtype = np.result_type(dtype, n)
        pair = [convert(x, dtype), fill(n, dtype, a.shape)]
        return OPS[DIRECT[ufunc]](*(pair[::-1] if i == 0 else pair))
    return compare


@composite(np.reciprocal)
def _reciprocal(x):
    (x,) = in_loop(np.reciprocal, x)
    return np.where(np.abs(x) == 1, x, 0) if aval_of(x).dtype.kind in "iu" else 1 / x


# ----- the full protocol: methods and keywords ------------------------------------------------------------


def array_ufunc(ufunc, method, inputs, kwargs):
    """What ``__array_ufunc__`` gets beyond a plain call."""
    kwargs = dict(kwargs)
    out = kwargs.pop("out", None)
    if out is not None:
        target = out[0] if isinstance(out, tuple) else out
        if inputs and target is inputs[0]:
            raise errors.InPlaceError(
                f"an in-place {ufunc.__name__} of an ndarray and a traced value.",
                "Write b = b + x instead of b += x (and likewise for the other operators).")
        refuse_out(out)
    if method == "at":
        raise errors.InPlaceError(f"np.{ufunc.__name__}.at changes its argument in place.",
                                  "Write x = functrans.at(x)[index].add(value) (or set, multiply, min, max).")
    if method in ("reduce", "accumulate", "reduceat"):
        from . import ufunc_methods
        return getattr(ufunc_methods, method)(ufunc, *inputs, **kwargs)
    if method == "outer":
        a, b = (asvalue(x) for x in inputs)
        shape = aval_of(a).shape + (1,) * aval_of(b).ndim
        return ufunc(np.reshape(a, shape), b)
    if method != "__call__":
        raise errors.NotSupportedError(f"np.{ufunc.__name__}.{method} has no traced version.",
                                       "Write it with supported functions.")
    dtype = kwargs.pop("dtype", None)
    where = kwargs.pop("where", True)
    for name in ("casting", "order", "subok"):
        kwargs.pop(name, None)
    if where is not True:
        raise errors.NotSupportedError(f"np.{ufunc.__name__}(where=...) leaves elements undefined.",
                                       "Use np.where(condition, f(x), other).")
    if kwargs:
        raise errors.NotSupportedError(f"numpy.{ufunc.__name__}: {', '.join(f'{k}=' for k in kwargs)} of a "
                                       "traced array.", "Leave them out: move axes with np.moveaxis.")
    if dtype is not None:
        inputs = tuple([convert(asvalue(x), dtype) for x in inputs])
        if not any(type(x) is Tracer for x in inputs):
            return ufunc(*inputs)
    return call(ufunc, inputs, False)


install(make_recipe, asvalue)
install_ufunc(call)
Upward.array_ufunc = array_ufunc
