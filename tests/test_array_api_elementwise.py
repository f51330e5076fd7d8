"""Elementwise functions and operators as the array API standard has them: dtypes, shapes, values, numbers.

What is right is said by Python's own functions of one number and by the standard's promotion table. Each call
is made on plain arrays and on traced ones.
"""

import cmath
import math
import operator

import numpy as np
import pytest
from array_api_tools import FLOATS, GROUPS, INTEGERS, SIGNED, UNSIGNED, drawn, few, promoted, results
from hypothesis import given
from hypothesis import strategies as st

import functrans.numpy as fnp
from functrans import jit


def _rounded(x):
    return complex(_rounded(x.real), _rounded(x.imag)) if isinstance(x, complex) else float(round(x))


def _remainder(x, y):
    return x % y


def _sign(x):
    return x / abs(x) if x else x * 0


# name: (kinds of dtypes, kind of the result, one number's function); the kind of the result is that of the
# operands, "b" for bool, "p" for the real type of complex numbers
ONE = {
    "abs": ("ifc", "p", abs),
    "acos": ("fc", "", (math.acos, cmath.acos)),
    "acosh": ("fc", "", (math.acosh, cmath.acosh)),
    "asin": ("fc", "", (math.asin, cmath.asin)),
    "asinh": ("fc", "", (math.asinh, cmath.asinh)),
    "atan": ("fc", "", (math.atan, cmath.atan)),
    "atanh": ("fc", "", (math.atanh, cmath.atanh)),
    "bitwise_invert": ("bi", "", lambda x: not x if isinstance(x, bool) else ~x),
    "ceil": ("if", "", math.ceil),
    "conj": ("ifc", "", lambda x: x.conjugate()),
    "cos": ("fc", "", (math.cos, cmath.cos)),
    "cosh": ("fc", "", (math.cosh, cmath.cosh)),
    "exp": ("fc", "", (math.exp, cmath.exp)),
    "expm1": ("fc", "", (math.expm1, lambda z: cmath.exp(z) - 1)),
    "floor": ("if", "", math.floor),
    "imag": ("c", "p", lambda x: x.imag),
    "isfinite": ("ifc", "b", cmath.isfinite),
    "isinf": ("ifc", "b", cmath.isinf),
    "isnan": ("ifc", "b", cmath.isnan),
    "log": ("fc", "", (math.log, cmath.log)),
    "log10": ("fc", "", (math.log10, cmath.log10)),
    "log1p": ("fc", "", (math.log1p, lambda z: cmath.log(1 + z))),
    "log2": ("fc", "", (math.log2, lambda z: cmath.log(z) / math.log(2))),
    "logical_not": ("b", "b", operator.not_),
    "negative": ("ifc", "", operator.neg),
    "positive": ("ifc", "", operator.pos),
    "real": ("ifc", "p", lambda x: x.real),
    "reciprocal": ("fc", "", lambda x: 1 / x),
    "round": ("ifc", "", _rounded),
    "sign": ("ifc", "", _sign),
    "signbit": ("f", "b", lambda x: math.copysign(1, x) < 0),
    "sin": ("fc", "", (math.sin, cmath.sin)),
    "sinh": ("fc", "", (math.sinh, cmath.sinh)),
    "sqrt": ("fc", "", (math.sqrt, cmath.sqrt)),
    "square": ("ifc", "", lambda x: x * x),
    "tan": ("fc", "", (math.tan, cmath.tan)),
    "tanh": ("fc", "", (math.tanh, cmath.tanh)),
    "trunc": ("if", "", math.trunc),
}
TWO = {
    "add": ("ifc", "", operator.add),
    "atan2": ("f", "", math.atan2),
    "bitwise_and": ("bi", "", operator.and_),
    "bitwise_left_shift": ("i", "", lambda x, y: x << y),
    "bitwise_or": ("bi", "", operator.or_),
    "bitwise_right_shift": ("i", "", lambda x, y: x >> y),
    "bitwise_xor": ("bi", "", operator.xor),
    "copysign": ("f", "", math.copysign),
    "divide": ("fc", "", operator.truediv),
    "equal": ("bifc", "b", operator.eq),
    "floor_divide": ("if", "", operator.floordiv),
    "greater": ("if", "b", operator.gt),
    "greater_equal": ("if", "b", operator.ge),
    "hypot": ("f", "", math.hypot),
    "less": ("if", "b", operator.lt),
    "less_equal": ("if", "b", operator.le),
    "logaddexp": ("f", "", lambda x, y: math.log(math.exp(x) + math.exp(y))),
    "logical_and": ("b", "b", operator.and_),
    "logical_or": ("b", "b", operator.or_),
    "logical_xor": ("b", "b", operator.xor),
    "maximum": ("if", "", max),
    "minimum": ("if", "", min),
    "multiply": ("ifc", "", operator.mul),
    "nextafter": ("f", "", None),
    "not_equal": ("bifc", "b", operator.ne),
    "pow": ("ifc", "", operator.pow),
    "remainder": ("if", "", _remainder),
    "subtract": ("ifc", "", operator.sub),
}
OPERATORS = {
    "add": operator.add,
    "bitwise_and": operator.and_,
    "bitwise_left_shift": operator.lshift,
    "bitwise_or": operator.or_,
    "bitwise_right_shift": operator.rshift,
    "bitwise_xor": operator.xor,
    "divide": operator.truediv,
    "equal": operator.eq,
    "floor_divide": operator.floordiv,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
    "multiply": operator.mul,
    "not_equal": operator.ne,
    "pow": operator.pow,
    "remainder": operator.mod,
    "subtract": operator.sub,
    "abs": operator.abs,
    "bitwise_invert": operator.invert,
    "negative": operator.neg,
    "positive": operator.pos,
}
IN_PLACE = {
    name: getattr(operator, "i" + f.__name__.strip("_"))
    for name, f in OPERATORS.items()
    if hasattr(operator, "i" + f.__name__.strip("_"))
}


def result_dtype(dtype, kind):
    dtype = np.dtype(dtype)
    return np.dtype(bool) if kind == "b" else np.empty(0, dtype).real.dtype if kind == "p" else dtype


def close(got, want, dtype):
    """As many digits as any implementation should have; integers wrap."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return got == np.array(int(want) % 2 ** (8 * dtype.itemsize), np.uint64).astype(dtype)
    if dtype.kind == "b":
        return got == want
    single = dtype.char in "fF"
    if not cmath.isfinite(want) or abs(want) > (1e38 if single else 1e300):
        return True
    return abs(complex(got) - want) <= (2e-5 if single else 1e-12) * max(abs(want), 1e-3)


def expected(f, operands, out):
    """Python's number, or None where it refuses: those are the special cases' test."""
    if isinstance(f, tuple):
        f = f[out.dtype.kind == "c"]
    try:
        return f(*[x.item() for x in operands])
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def check(f, reference, arrays, dtype):
    shape = np.broadcast_shapes(*[x.shape for x in arrays])
    for got in results(f, *arrays):
        assert got.dtype == dtype and got.shape == shape
        if reference is None:
            continue
        operands = [np.broadcast_to(x, shape).ravel() for x in arrays]
        for i, value in enumerate(got.ravel()):
            want = expected(reference, [x[i] for x in operands], got)
            assert want is None or close(value, want, dtype), (value, want, [x[i] for x in operands])


@pytest.mark.parametrize("name", ONE)
@few
@given(st.data())
def test_of_one_array(name, data):
    kinds, result, reference = ONE[name]
    dtype = data.draw(st.sampled_from([d for k in kinds for d in GROUPS[k]]))
    low = 0.125 if name in ("log", "log2", "log10", "sqrt") else 1.0 if name == "acosh" else -20
    (x,) = drawn(data, [dtype], int(low) if dtype in INTEGERS else low)
    check(getattr(fnp, name), reference, [x], result_dtype(dtype, result))
    if name in OPERATORS:
        check(OPERATORS[name], reference, [x], result_dtype(dtype, result))


@pytest.mark.parametrize("name", TWO)
@few
@given(st.data())
def test_of_two_arrays(name, data):
    kinds, result, reference = TWO[name]
    dtypes = [d for k in kinds for d in GROUPS[k]]
    a = data.draw(st.sampled_from(dtypes))
    b = data.draw(st.sampled_from([d for d in dtypes if promoted(a, d)]))
    low = 0 if "shift" in name or (name == "pow" and a in INTEGERS) else 0.5 if name == "pow" else -20
    arrays = drawn(data, [a, b], low)
    if "shift" in name or name == "pow":
        arrays[1] = arrays[1] % 5 if arrays[1].dtype.kind in "iu" else arrays[1] / 16
    dtype = result_dtype(promoted(a, b), result)
    check(getattr(fnp, name), reference, arrays, dtype)
    if name in OPERATORS:
        check(OPERATORS[name], reference, arrays, dtype)
    if (
        name in IN_PLACE
        and promoted(a, b) == a
        and arrays[0].shape == np.broadcast_shapes(*[x.shape for x in arrays])
    ):
        check(lambda x, y: IN_PLACE[name](x.copy(), y), reference, arrays, dtype)


def numbers_beside(dtype):
    """Python numbers that the standard lets stand beside an array: their dtype is the array's."""
    kind = np.dtype(dtype).kind
    return {"b": [True], "i": [3, True], "u": [3, True], "f": [3, 2.5, True], "c": [3, 2.5, 1.5 + 2j, True]}[
        kind
    ]


@pytest.mark.parametrize("name", TWO)
def test_of_an_array_and_a_number(name):
    kinds, result, reference = TWO[name]
    for a in [d for k in kinds for d in GROUPS[k]]:
        x = np.array([True, False] if a == "bool" else [2, 1, 4, 0], a)
        for n in numbers_beside(a):
            if isinstance(n, bool) and a != "bool":
                continue
            out = result_dtype(a, result)
            for f in [getattr(fnp, name), *filter(None, [OPERATORS.get(name)])]:
                for got, order in [
                    *((g, 1) for g in results(lambda v, f=f, n=n: f(v, n), x)),
                    *((g, -1) for g in results(lambda v, f=f, n=n: f(n, v), x)),
                ]:
                    assert got.dtype == out and got.shape == x.shape, (a, n)
                    for g, v in zip(got, x.tolist(), strict=True):
                        try:
                            want = reference and reference(*[v, n][::order])
                        except ZeroDivisionError:
                            continue
                        assert want is None or close(g, want, out), (a, n, order)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nextafter_is_next(dtype):
    """The neighbour lies on the way, and nothing lies between: counted by the bits of positive numbers."""
    x = np.array([1.0, 0.5, 3.0, 1e-30, 7e22], dtype)
    bits = x.view("i" + dtype[-2:].replace("32", "4").replace("64", "8"))
    for up in results(lambda v: fnp.nextafter(v, fnp.asarray(np.inf, dtype=dtype)), x):
        assert (up.view(bits.dtype) == bits + 1).all()
    for down in results(lambda v: fnp.nextafter(v, 0.0), x):
        assert (down.view(bits.dtype) == bits - 1).all()


@few
@given(st.data())
def test_clip(data):
    dtype = data.draw(st.sampled_from(INTEGERS + FLOATS))
    x, low, high = drawn(data, [dtype] * 3)
    bounds = data.draw(st.sampled_from([(True, True), (True, False), (False, True), (False, False)]))
    low, high = (
        np.minimum(low, high.min(initial=20)),
        np.maximum(high, low.max(initial=-20 if dtype in SIGNED + FLOATS else 0)),
    )
    used = [v for v, b in zip((low, high), bounds, strict=True) if b]
    shape = np.broadcast_shapes(x.shape, *[v.shape for v in used])

    def f(x, *used):
        left = list(used)
        return fnp.clip(x, left.pop(0) if bounds[0] else None, left.pop(0) if bounds[1] else None)

    for got in results(f, x, *used):
        assert got.dtype == dtype and got.shape == shape
        for g, v, a, b in zip(
            got.flat,
            np.broadcast_to(x, shape).flat,
            np.broadcast_to(low if bounds[0] else -100, shape).flat
            if dtype not in UNSIGNED or bounds[0]
            else np.zeros(shape).flat,
            np.broadcast_to(high if bounds[1] else 100, shape).flat,
            strict=True,
        ):
            assert g == min(max(v, a), b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip_and_nan(dtype):
    x, nan = np.array([1.0, np.nan, 3.0], dtype), float("nan")
    for got in results(lambda x: fnp.clip(x, 0.0, 2.0), x):
        np.testing.assert_array_equal(got, [1.0, nan, 2.0])
    for bounds in ((nan, 2.0), (0.0, nan), (nan, None)):
        for got in results(
            lambda x, b=bounds: fnp.clip(x, *[v if v is None else fnp.asarray(v, dtype=dtype) for v in b]), x
        ):
            assert np.isnan(got).all() and got.dtype == dtype


ODD, EVEN = "asin asinh atan atanh sin sinh tan tanh".split(), ["cos", "cosh"]


@pytest.mark.parametrize("name", [*ODD, *EVEN, *"acos acosh exp expm1 log log1p log2 log10 sqrt".split()])
def test_symmetries(name):
    """f(conj(z)) = conj(f(z)); odd and even functions. NumPy's own keep them but for rounding."""
    z = np.array(
        [1.5 + 0.5j, -0.3 + 2j, 0.0 + 0.0j, complex(-0.0, 3), complex(2, -0.0), 1e-9 + 1j, complex(-2.0, 0.0)]
    )
    f = getattr(fnp, name)
    for of, same in ((f, np.testing.assert_allclose), (jit(lambda v: f(v)), np.testing.assert_array_equal)):
        with np.errstate(all="ignore"):
            there, back = np.asarray(of(z)), np.asarray(of(np.conj(z)))
            same(back, np.conj(there))
            assert (np.signbit(back.imag) != np.signbit(there.imag)).all()
            if name in ODD:
                same(of(-z), -there)
            if name in EVEN:
                same(of(-z), there)
