"""Every kernel against NumPy: dtypes, strides, special values, threads, instruction-set levels."""

import hashlib
import json
import os
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest

from functrans.ir.op import DTYPE
from functrans.kernels import codegen, lib

CODES = codegen.CODES
ROWS = codegen.table()
BY_NAME = {op.name: op for op in codegen.records()}
ULPS = 4          # NumPy's own f32 functions are up to 4 ulps off
ROUNDED_ONCE = {"neg", "add", "sub", "mul", "zmul", "div", "floordiv", "mod", "fmod", "abs", "sign",
                "floor", "ceil", "trunc", "rint", "copysign", "nextafter", "heaviside", "sqrt", "max",
                "min", "fmax", "fmin", "select", "stop_gradient"}


def rng_of(text):
    return np.random.default_rng(zlib.crc32(text.encode()))


def numbers(code, shape, rng, low=-9.0, high=9.0):
    """Random values with special ones strewn in."""
    dt = DTYPE[code]
    n = int(np.prod(shape))
    if code == "b1":
        return rng.integers(0, 2, n).astype(bool).reshape(shape)
    if code in codegen.INTS:
        info = np.iinfo(dt)
        x = rng.integers(max(info.min, -100), min(info.max, 100), n, endpoint=True).astype(dt)
        special = np.array([0, 1, info.min, info.max, info.max - 1, 2, info.min + 1], dt)
    else:
        tiny = np.finfo(dt).smallest_subnormal
        x = rng.uniform(low, high, n).astype(dt)
        special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny * 3, np.finfo(dt).max,
                            1.0, -1.0, 0.5, -2.5, 1.5, 2.5], dt)
    where = rng.integers(0, 4, n) == 0
    x[where] = rng.choice(special, int(where.sum()))
    return x.reshape(shape)


def tame(code, shape, rng):
    """Values whose sums and products stay finite."""
    if code in codegen.FLOATS:
        return rng.uniform(0.5, 1.5, shape).astype(DTYPE[code])
    return numbers(code, shape, rng)


def same(got, want, ulps=0):
    """Equal values; within some ulps for floats; nan is nan. With 0 ulps the sign of zero counts."""
    assert got.shape == want.shape and got.dtype == want.dtype, (got.dtype, want.dtype)
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    got, want = got[~np.isnan(want)], want[~np.isnan(want)]
    if ulps == 0:
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
        return
    finite = np.isfinite(want) & np.isfinite(got)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    got, want = got[finite], want[finite]
    with np.errstate(over="ignore"):
        limit = ulps * np.spacing(np.maximum(np.abs(want), np.finfo(want.dtype).tiny))
    limit[~np.isfinite(limit)] = np.finfo(want.dtype).eps * np.finfo(want.dtype).max * ulps
    bad = ~(np.abs(got - want) <= np.abs(limit))
    assert not bad.any(), (got[bad][:4], want[bad][:4])


def unsigned_zero(x):
    """Of -0.0 and 0.0 either may be the extremum."""
    return x + 0 if x.dtype.kind == "f" else x


def bits(x):
    """The bytes of an array, all nans being one (which of two nans wins is nobody's business)."""
    x = np.ascontiguousarray(x).copy()
    if x.dtype.kind == "f":
        x[np.isnan(x)] = np.nan
    return x.tobytes()


# ----- elementwise -------------------------------------------------------------------------------


def operands(name, code, shape, rng):
    op = BY_NAME[name]
    args = [numbers(code, shape, rng) for _ in range(op.arity)]
    if name == "select":
        args[0] = numbers("b1", shape, rng)
    if name == "pow" and code in codegen.INTS:      # NumPy refuses negative ones
        args[1] = rng.integers(0, 12, shape).astype(DTYPE[code])
    if name in ("shl", "shr"):
        args[1] = rng.integers(0, 80, shape).astype(DTYPE[code])
    if name in ("floordiv", "mod", "fmod") and code in codegen.INTS:
        args[1] = np.where(rng.integers(0, 3, shape) == 0, 0, args[1])
        args[1] = np.where(rng.integers(0, 3, shape) == 0, np.array(-1).astype(DTYPE[code]), args[1])
        args[1] = args[1].astype(DTYPE[code])
    return args


def reference(name, args, out):
    params = {"y": 3} if name == "integer_pow" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = BY_NAME[name].reference(*args, **params)
    return np.asarray(want, DTYPE[out])


def ew(kernel, out, args, cost=0.0, k=3):
    lib.call(kernel, [out], args, out.shape, (k,), cost=cost)
    return out


@pytest.mark.parametrize("name,code,out", [row[:3] for row in ROWS])
def test_elementwise(name, code, out):
    kernel = f"ew:{name}:{code}"
    rng = rng_of(kernel)
    args = operands(name, code, (1009,), rng)
    got = ew(kernel, np.empty(1009, DTYPE[out]), args)
    ulps = 0 if name in ROUNDED_ONCE else ULPS
    want = reference(name, args, out)
    if name in ("erf", "erfc", "logistic") and code == "f32":      # references in lower precision
        ulps = 8
    if name in ("max", "min", "fmax", "fmin"):
        got, want = unsigned_zero(got), unsigned_zero(want)
    same(got, want, ulps)


@pytest.mark.parametrize("name,code,out", [row[:3] for row in ROWS])
def test_elementwise_strides_and_places(name, code, out):
    """The value of an element depends on nothing but its operands: not on layout, length or place."""
    kernel = f"ew:{name}:{code}"
    rng = rng_of(kernel + "strides")
    n = 67
    args = operands(name, code, (n,), rng)
    want = ew(kernel, np.empty(n, DTYPE[out]), args)

    spread = [np.repeat(a, 3)[::3] for a in args]
    same(ew(kernel, np.empty(2 * n, DTYPE[out])[::2], spread), want)
    back = [a[::-1].copy()[::-1] for a in args]
    same(ew(kernel, np.empty(n, DTYPE[out])[::-1], back), want)
    for i in range(len(args)):                    # one operand that does not move
        mixed = list(args)
        mixed[i] = np.broadcast_to(args[i][5], (n,))
        full = [np.ascontiguousarray(a) for a in mixed]
        same(ew(kernel, np.empty(n, DTYPE[out]), mixed),
             ew(kernel, np.empty(n, DTYPE[out]), full))
    for lo, hi in ((0, 0), (0, 1), (3, 6), (1, 66)):
        same(ew(kernel, np.empty(hi - lo, DTYPE[out]), [a[lo:hi] for a in args]), want[lo:hi])
    scalar = ew(kernel, np.empty((), DTYPE[out]), [a[7:8].reshape(()) for a in args])
    same(scalar.reshape(1), want[7:8])
    if out == code:
        for i in range(1 if name == "select" else 0, len(args)):
            place = [a.copy() for a in args]
            same(ew(kernel, place[i], place), want)


def test_elementwise_many_axes():
    x = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    y = np.arange(4 * 5, dtype=float).reshape(5, 1, 4).transpose(1, 2, 0)
    y = np.broadcast_to(y, x.shape)
    out = np.empty((5, 4, 3, 2)).transpose(3, 2, 1, 0)
    same(ew("ew:sub:f64", out, [x, y]), x - y)
    same(ew("ew:sub:f64", np.empty((2, 0, 3)), [np.empty((2, 0, 3)), np.empty((2, 0, 3))]),
         np.empty((2, 0, 3)))


def test_integers_do_not_trap():
    for code in codegen.INTS:
        info = np.iinfo(DTYPE[code])
        x = np.array([5, info.min, info.min, info.max, 0], DTYPE[code])
        y = np.array([0, -1, 0, -1, 0]).astype(DTYPE[code])
        with np.errstate(all="ignore"):
            for name, want in (("floordiv", np.floor_divide(x, y)), ("mod", np.remainder(x, y)),
                               ("fmod", np.fmod(x, y))):
                same(ew(f"ew:{name}:{code}", np.empty_like(x), [x, y]), want)
    x = np.array([0, 1, -1, -1, 2], np.int64)
    y = np.array([-1, -5, -2, -3, -1], np.int64)
    same(ew("ew:pow:i64", np.empty_like(x), [x, y]), np.array([0, 1, 1, -1, 0]))


@pytest.mark.parametrize("y", [0, 1, 2, 5, 31, 33, -1, -2, -7])
@pytest.mark.parametrize("code", codegen.FLOATS)
def test_integer_pow(code, y):
    x = numbers(code, 500, rng_of(f"powi{y}"))
    with np.errstate(all="ignore"):
        want = np.power(x, DTYPE[code].type(y))
    same(ew(f"ew:integer_pow:{code}", np.empty_like(x), [x], k=y), want, 16 if code == "f64" else ULPS)


# ----- conversion --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", CODES)
@pytest.mark.parametrize("target", CODES)
def test_convert(source, target):
    rng = rng_of(source + target)
    x = numbers(source, 1009, rng)
    if source in codegen.FLOATS and target in codegen.INTS:
        info = np.iinfo(DTYPE[target])
        wide = x.astype(np.longdouble)
        outside = ~((np.trunc(wide) >= info.min) & (np.trunc(wide) <= info.max))
        clamped = np.where(wide > 0, info.max, info.min).astype(DTYPE[target])
        clamped[np.isnan(x)] = 0
        want = np.where(outside, clamped, np.where(outside, 0, x).astype(DTYPE[target]))
    else:
        with np.errstate(all="ignore"):
            want = x.astype(DTYPE[target])
    same(ew(f"ew:convert:{source}:{target}", np.empty(1009, DTYPE[target]), [x]), want)


def test_convert_large_integers_round_once():
    rng = rng_of("large")
    for source in ("i64", "u64"):
        x = rng.integers(0, 2**63 - 1, 4096).astype(DTYPE[source])
        x[::3] *= -1 if source == "i64" else 2
        for target in codegen.FLOATS:
            same(ew(f"ew:convert:{source}:{target}", np.empty(4096, DTYPE[target]), [x]),
                 x.astype(DTYPE[target]))


def test_convert_at_the_edges():
    x = np.array([2.0**63, -2.0**63, np.nextafter(2.0**63, 0), 2.0**64, -0.5, np.inf, -np.inf])
    top = np.iinfo(np.int64)
    same(ew("ew:convert:f64:i64", np.empty(7, np.int64), [x]),
         np.array([top.max, top.min, 2**63 - 1024, top.max, 0, top.max, top.min]))
    whole = 2**64 - 1
    same(ew("ew:convert:f64:u64", np.empty(7, np.uint64), [x]),
         np.array([2**63, 0, 2**63 - 1024, whole, 0, whole, 0], np.uint64))
    same(ew("ew:convert:f64:i8", np.empty(4, np.int8), [np.array([127.9, -128.9, 128.0, -129.0])]),
         np.array([127, -128, 127, -128], np.int8))


# ----- reductions --------------------------------------------------------------------------------

NUMPY_REDUCE = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
                "and": np.bitwise_and, "or": np.bitwise_or}
REDUCTIONS = [n.split(":")[1:] for n in lib.names() if n.startswith("reduce:")]


def reduce(op, code, x, axes, out=None, cost=0.0):
    kept = [d for d in range(x.ndim) if d not in axes]
    shape = [x.shape[d] for d in (*kept, *axes)]
    if out is None:
        out = np.empty([x.shape[d] for d in kept], x.dtype)
    strides = [(*out.strides, *[0] * len(axes)), tuple(x.strides[d] for d in (*kept, *axes))]
    lib.call(f"reduce:{op}:{code}", [out], [x], shape, (len(kept),), strides, cost)
    return out


@pytest.mark.parametrize("op,code", REDUCTIONS)
@pytest.mark.parametrize("shape,axes", [
    ((1,), (0,)), ((3,), (0,)), ((1500,), (0,)), ((70000,), (0,)), ((5, 7), ()), ((5, 33), (1,)),
    ((300, 9), (0,)), ((9, 150, 3), (1,)), ((4, 5, 6), (0, 2)), ((4, 5, 6), (0, 1, 2)),
    ((0, 4), (1,)), ((5000, 3), (0,)), ((2, 600), (0,)), ((3, 1, 4), (1,))])
def test_reduce(op, code, shape, axes):
    rng = rng_of(f"{op}{code}{shape}")
    x = numbers(code, shape, rng) if op in ("max", "min", "and", "or") else tame(code, shape, rng)
    if op == "prod" and code in codegen.FLOATS:
        x = x ** 0.01
    ufunc = NUMPY_REDUCE[op]
    exact = ufunc.reduce(x.astype(np.longdouble), axis=axes) if code in codegen.FLOATS \
        else ufunc.reduce(x, axis=axes, dtype=x.dtype)
    got = reduce(op, code, x, axes)
    if op in ("sum", "prod") and code in codegen.FLOATS:
        eps = np.finfo(x.dtype).eps
        n = int(np.prod([shape[d] for d in axes], dtype=int))
        # lanes and pairs: far better than n * eps; a product has a rounding a factor all the same
        bound = eps * (n if op == "prod" else 80)
        np.testing.assert_allclose(got.astype(np.longdouble), exact, rtol=float(bound))
    else:
        exact = np.asarray(exact, x.dtype)
        same(unsigned_zero(got), unsigned_zero(exact))


@pytest.mark.parametrize("op,code", [("sum", "f64"), ("sum", "f32"), ("max", "f64"), ("min", "f32"),
                                     ("sum", "i8"), ("prod", "u16"), ("or", "b1")])
def test_reduce_strides(op, code):
    rng = rng_of(op + code)
    base = tame(code, (6, 40, 50), rng)
    views = [base.transpose(2, 0, 1), base[::-1, ::2, ::-3], base.transpose(1, 2, 0),
             np.broadcast_to(base[:, :1], base.shape), base[:, :, :1]]
    for x in views:
        for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
            got = reduce(op, code, x, axes)
            want = NUMPY_REDUCE[op].reduce(x, axis=axes, dtype=x.dtype)
            if code in codegen.FLOATS:
                np.testing.assert_allclose(got, want, rtol=60 * np.finfo(x.dtype).eps)
            else:
                same(got, np.asarray(want))
    x = tame(code, (40, 6), rng)
    out = np.empty(12, x.dtype)[::-2]
    want = reduce(op, code, x, (0,))
    same(reduce(op, code, x, (0,), out=out), want)


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min", "and", "or"])
def test_reduce_nothing_is_the_identity(op):
    for code in CODES:
        if op in ("and", "or") and code in codegen.FLOATS:
            continue
        got = reduce(op, code, np.empty((3, 0), DTYPE[code]), (1,))
        x = numbers(code, 3, rng_of(op + code))
        again = ew(f"ew:{'add' if op == 'sum' else 'mul' if op == 'prod' else op}:{code}",
                   np.empty_like(x), [got, x])
        same(unsigned_zero(again), unsigned_zero(x))


def test_sum_is_accurate():
    x = np.full(10**6 + 3, 0.1, np.float32)
    want = np.longdouble(x[0]) * len(x)
    assert abs(float(reduce("sum", "f32", x, (0,))) - want) < 6e-7 * want
    column = np.ascontiguousarray(np.broadcast_to(x[:, None], (len(x), 2)))
    assert np.all(np.abs(reduce("sum", "f32", column, (0,)) - want) < 1e-6 * want)


@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("code", CODES)
def test_argreduce(op, code):
    rng = rng_of(op + code)
    numpy_arg = np.argmax if op == "max" else np.argmin
    for shape in ((1, 1), (4, 7), (3, 3000), (1, 1025)):
        for x in (numbers(code, shape, rng), tame(code, shape, rng), np.zeros(shape, DTYPE[code]),
                  numbers(code, shape[::-1], rng).T):
            out = np.empty(shape[0], np.int64)
            lib.call(f"argreduce:{op}:{code}", [out], [x], x.shape, (1,), [(8, 0), x.strides])
            same(out, numpy_arg(x, axis=1))


# ----- cumulative --------------------------------------------------------------------------------

NUMPY_CUMULATIVE = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
                    "logsumexp": np.logaddexp}


@pytest.mark.parametrize("op,code", [n.split(":")[1:] for n in lib.names()
                                     if n.startswith("cumulative:")])
def test_cumulative(op, code):
    rng = rng_of(op + code)
    for x in (numbers(code, (3, 40), rng), tame(code, (40, 3), rng).T, tame(code, (2, 1), rng)):
        for reverse in (0, 1):
            out = np.empty_like(x)
            lib.call(f"cumulative:{op}:{code}", [out], [x], x.shape, (reverse,))
            with np.errstate(all="ignore"):
                if code == "b1":
                    ufunc = {"sum": np.logical_or, "prod": np.logical_and}.get(op, NUMPY_CUMULATIVE[op])
                    want = ufunc.accumulate(x[:, ::-1] if reverse else x, axis=1)
                else:
                    want = NUMPY_CUMULATIVE[op].accumulate(x[:, ::-1] if reverse else x, axis=1,
                                                           dtype=x.dtype)
            want = want[:, ::-1] if reverse else want
            if op == "logsumexp":
                np.testing.assert_allclose(out, want, rtol=1e-4 if code == "f32" else 1e-13, atol=1e-6)
            else:
                same(unsigned_zero(out), unsigned_zero(want))


# ----- moves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_copy(size):
    rng = rng_of(f"copy{size}")
    base = rng.integers(0, 255, (6, 50, 40)).astype(f"u{size}")
    for x in (base, base.transpose(2, 1, 0), base[::-1, ::2], base.transpose(0, 2, 1), base[:, :, ::-1],
              np.broadcast_to(base[:, :1, :1], base.shape), base[:0], base[0, 0], base[0, 0, :1].reshape(()),
              np.broadcast_to(base[0, 0, 0], (70000,)), np.tile(base.ravel(), 10)):
        for out in (np.empty(x.shape, x.dtype), np.empty(x.shape[::-1], x.dtype).T,
                    np.empty((*x.shape, 2), x.dtype)[..., 1]):
            lib.call(f"copy:{size}", [out], [x], x.shape)
            same(out, x)


@pytest.mark.parametrize("code", codegen.INTS + codegen.FLOATS)
def test_iota(code):
    for shape in ((7,), (3, 4), (2, 3, 5)):
        for axis in range(len(shape)):
            want = np.broadcast_to(np.arange(shape[axis]).reshape(
                [-1 if d == axis else 1 for d in range(len(shape))]), shape)
            for out in (np.empty(shape, DTYPE[code]), np.empty(shape[::-1], DTYPE[code]).T):
                lib.call(f"iota:{code}", [out], [], shape, (axis,))
                same(out, want.astype(DTYPE[code]))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_dynamic_slice_and_update(size):
    x = np.arange(5 * 8).reshape(5, 8).astype(f"u{size}")
    for view in (x, x.T, x[::-1, ::2]):
        sizes = (2, 3)
        for starts in ((0, 0), (1, 2), (9, -4), (-1, 99), (2**62, -2**62)):
            at = [min(max(s, 0), n - m) for s, n, m in zip(starts, view.shape, sizes, strict=True)]
            window = (slice(at[0], at[0] + 2), slice(at[1], at[1] + 3))
            scalars = [np.array(s, np.int64) for s in starts]
            out = np.empty(sizes, x.dtype)
            lib.call(f"dynslice:{size}", [out], [view, *scalars], sizes, view.shape,
                     [out.strides, view.strides, (), ()])
            same(out, np.ascontiguousarray(view[window]))
            update = np.full((3, 2), 77, x.dtype).T
            got, want = view.copy(), view.copy()
            want[window] = 77
            lib.call(f"dynupdate:{size}", [got], [update, *scalars], sizes, view.shape,
                     [got.strides, update.strides, (), ()])
            same(got, want)


# ----- index -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("code", ["u8", "i16", "f32", "f64"])
def test_gather(code, mode):
    rng = rng_of(f"gather{code}{mode}")
    x = numbers(code, (4, 5, 3), rng)
    for k in (1, 2, 3):
        index = [rng.integers(-9, 9, 200) for _ in range(k)]
        row = x.shape[k:]
        fill = np.array(42, DTYPE[code])
        fill_bits = int(np.frombuffer(fill.tobytes().ljust(8, b"\0"), np.int64)[0])
        out = np.empty((200, *row), DTYPE[code])
        nbytes = int(np.prod(row, dtype=int)) * x.itemsize
        lib.call(f"gather:{x.itemsize}", [out], [x, *index], (200,),
                 (k, mode, *x.shape[:k], nbytes, fill_bits), [()] * (2 + k))
        inside = np.all([(i >= 0) & (i < n) for i, n in zip(index, x.shape, strict=False)], axis=0)
        safe = [i % n if mode == 2 else np.clip(i, 0, n - 1)
                for i, n in zip(index, x.shape, strict=False)]
        want = x[tuple(safe)]
        if mode == 1:
            want[~inside] = fill
        same(out, want)


def test_gather_from_nothing_reads_nothing():
    out = np.ones((4, 2))
    lib.call("gather:8", [out], [np.empty((0, 2)), np.arange(4)], (4,), (1, 0, 0, 16, 0), [()] * 3)
    same(out, np.zeros((4, 2)))


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("op", ["set", "add", "mul", "max", "min"])
@pytest.mark.parametrize("code", CODES)
def test_scatter(op, code, mode):
    rng = rng_of(f"scatter{op}{code}")
    combine = {"set": lambda a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum,
               "min": np.minimum}[op]
    x = tame(code, (4, 5, 3), rng)
    for k in (1, 2, 3):
        index = [rng.integers(-2, 7, 50) for _ in range(k)]
        updates = tame(code, (50, *x.shape[k:]), rng)
        got, want = x.copy(), x.copy()
        lib.call(f"scatter:{op}:{code}", [got], [updates, *index], (50,),
                 (k, mode, *x.shape[:k], int(np.prod(x.shape[k:], dtype=int))), [()] * (2 + k))
        for j in range(50):
            at = [int(i[j]) for i in index]
            inside = all(0 <= a < n for a, n in zip(at, x.shape, strict=False))
            if mode == 1:
                at = [min(max(a, 0), n - 1) for a, n in zip(at, x.shape, strict=False)]
            if inside or mode == 1:
                with np.errstate(all="ignore"):
                    want[tuple(at)] = combine(want[tuple(at)], updates[j])
        same(got, want)


# ----- products ----------------------------------------------------------------------------------


def matmul(code, a, b, out, cost=0.0):
    batch, m, k = a.shape
    n = b.shape[2]
    strides = [(*out.strides, 0), (a.strides[0], a.strides[1], 0, a.strides[2]),
               (b.strides[0], 0, b.strides[2], b.strides[1])]
    lib.call(f"matmul:{code}", [out], [a, b], (batch, m, n, k), (), strides, cost)
    return out


def layouts(x):
    """The same matrices, laid out in ways that BLAS can and cannot read."""
    yield x
    yield np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1)
    yield np.repeat(np.repeat(x, 2, axis=1), 3, axis=2)[:, ::2, ::3]
    yield x[:, ::-1, ::-1].copy()[:, ::-1, ::-1]


SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (3, 1, 7, 30), (3, 7, 1, 30), (2, 1, 1, 2100), (1, 17, 33, 9),
          (1, 5, 40, 0), (0, 2, 2, 2), (2, 0, 3, 4), (1, 65, 70, 33), (2, 9, 8, 64), (1, 130, 20, 70)]


@pytest.mark.parametrize("blas", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_matmul(code, blas):
    if blas and (code not in codegen.FLOATS or not lib.load_blas()):
        pytest.skip("only floats have BLAS")
    rng = rng_of("matmul" + code)
    extra = [(1, 150, 140, 130), (1, 1, 200, 180), (1, 200, 1, 180)] if code in codegen.FLOATS else []
    for batch, m, n, k in SHAPES + extra:
        a, b = (tame(code, s, rng) for s in ((batch, m, k), (batch, k, n)))
        want = np.matmul(a, b) if code != "b1" else np.matmul(a.astype(int), b.astype(int)) > 0
        for la in layouts(a):
            for lb in layouts(b):
                for out in (np.full((batch, m, n), 1, a.dtype),
                            np.full((batch, n, m), 1, a.dtype).transpose(0, 2, 1),
                            np.full((batch, m, n, 2), 1, a.dtype)[..., 0]):
                    got = matmul(code, la, lb, out)
                    if code in codegen.FLOATS:
                        np.testing.assert_allclose(got, want, rtol=(k + 8) * np.finfo(a.dtype).eps)
                    else:
                        same(np.ascontiguousarray(got), want)


def test_matmul_overwrites_nan():
    lib.load_blas()
    for m, n, k in ((2, 2, 2), (300, 1, 300), (1, 300, 300), (150, 150, 150)):
        got = matmul("f64", np.ones((1, m, k)), np.ones((1, k, n)), np.full((1, m, n), np.nan))
        same(got, np.full((1, m, n), float(k)))


# ----- threads -----------------------------------------------------------------------------------


def generic(name, size, rng):
    """Some operands for any kernel: (outs, ins, shape, ints, strides)."""
    kind, *rest = name.split(":")
    code = rest[-1]
    if kind == "ew":
        op = rest[0]
        if op == "convert":
            args, out = [numbers(rest[1], size, rng)], rest[2]
        else:
            args = operands(op, code, (size,), rng)
            out = next(r[2] for r in ROWS if r[0] == op and r[1] == code)
        return [np.empty(size, DTYPE[out])], args, (size,), (3,), None
    if kind == "reduce":
        x = tame(code, (size // 8, 8), rng)
        return [np.empty(8, x.dtype)], [x], (8, size // 8), (1,), [(x.itemsize, 0), x.strides[::-1]]
    if kind in ("argreduce", "cumulative"):
        x = tame(code, (16, size // 16), rng)
        if kind == "cumulative":
            return [np.empty_like(x)], [x], x.shape, (1,), None
        return [np.empty(16, np.int64)], [x], x.shape, (1,), [(8, 0), x.strides]
    if kind == "matmul":
        m = int(size ** 0.5) // 2 + 3
        a, b = tame(code, (m, m + 1), rng), tame(code, (m + 1, m + 2), rng)
        out = np.empty((m, m + 2), a.dtype)
        strides = [(0, *out.strides, 0), (0, a.strides[0], 0, a.strides[1]), (0, 0, *b.strides[::-1])]
        return [out], [a, b], (1, m, m + 2, m + 1), (), strides
    if kind == "iota":
        return [np.empty((size // 8, 8), DTYPE[code])], [], (size // 8, 8), (0,), None
    if kind == "scatter":
        x = tame(code, (3, size // 4), rng)
        return [x], [tame(code, (4, size // 4), rng), np.array([0, 2, 0, 9])], (4,), \
            (1, 0, 3, size // 4), [()] * 3
    x = rng.integers(0, 200, (size // 16, 16)).astype(f"u{code}")
    if kind == "copy":
        return [np.empty_like(x.T)], [x.T], x.T.shape, (), None
    if kind == "gather":
        index = rng.integers(-3, 20, size)
        return [np.empty((size, 16), x.dtype)], [x, index], (size,), (1, 1, size // 16, x.nbytes // len(x), 7), \
            [()] * 3
    scalars = [np.array(1, np.int64), np.array(2, np.int64)]
    part = np.zeros((size // 32, 8), x.dtype)
    outs, ins = ([part], [x]) if kind == "dynslice" else ([x], [part])
    return outs, [*ins, *scalars], part.shape, x.shape, [outs[0].strides, ins[0].strides, (), ()]


def result(name, size, cost):
    outs, ins, shape, ints, strides = generic(name, size, rng_of(name))
    lib.call(name, outs, ins, shape, ints, strides, cost)
    return b"".join(bits(o) for o in outs)


@pytest.fixture
def threads():
    before = lib.get_num_threads()
    yield lib.set_num_threads
    lib.set_num_threads(before)


@pytest.mark.skipif(not lib.has_openmp(), reason="built without OpenMP")
@pytest.mark.parametrize("kind", sorted({n.split(":")[0] for n in lib.names()}))
def test_threads_do_not_change_bits(kind, threads):
    for name in [n for n in lib.names() if n.split(":")[0] == kind]:
        if kind == "ew" and name.split(":")[2] not in ("f32", "f64", "i64"):
            continue
        threads(1)
        one = result(name, 40000, 1e9)
        threads(3)
        assert result(name, 40000, 1e9) == one, name


@pytest.mark.skipif(not lib.has_openmp(), reason="built without OpenMP")
@pytest.mark.parametrize("shape,axes", [
    ((3_000_001,), (0,)), ((2, 1_500_001), (1,)), ((300_001, 7), (0,)), ((40, 30, 500), (0, 2)),
    ((100, 3, 5000), (0, 2)), ((70000, 3), (1,)), ((100, 200, 9), (0, 1))])
def test_threads_do_not_change_sums(shape, axes, threads):
    x = rng_of("sums").uniform(-1, 1, shape)
    found = set()
    for n in (1, 2, 5):
        threads(n)
        found.add(bits(reduce("sum", "f64", x, axes, cost=1e9)))
    assert len(found) == 1
    np.testing.assert_allclose(reduce("sum", "f64", x, axes), x.sum(axes), rtol=1e-9, atol=1e-9)


def test_number_of_threads(threads):
    threads(2)
    assert lib.get_num_threads() == (2 if lib.has_openmp() else 1)
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="positive integer"):
            threads(wrong)


def python(code, **env):
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([os.path.dirname(here), here, *sys.path])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path, **env})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_a_parallel_run():
    done = python("""if True:
        import os, numpy as np
        from functrans.kernels import lib
        lib.set_num_threads(2)
        x, y = np.arange(1e6), np.empty(10**6)
        lib.call("ew:add:f64", [y], [x, x], x.shape, cost=1e9)
        pid = os.fork()
        if not pid:
            y[:] = 0
            lib.call("ew:add:f64", [y], [x, x], x.shape, cost=1e9)
            os._exit(0 if (y == 2 * x).all() else 3)
        import time
        for _ in range(200):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                break
            time.sleep(0.05)
        else:
            os.kill(pid, 9)
            raise SystemExit("the child hangs")
        assert status == 0, status
        lib.call("ew:mul:f64", [y], [x, x], x.shape, cost=1e9)
        assert (y == x * x).all()
    """)
    assert done.returncode == 0, done.stderr


def test_threads_from_the_environment():
    done = python("from functrans.kernels import lib; print(lib.get_num_threads())", OMP_NUM_THREADS="3")
    assert done.stdout.strip() == ("3" if lib.has_openmp() else "1"), done.stderr


# ----- levels and the table ----------------------------------------------------------------------


def digests():
    """A hash of the result of every kernel: run in a process of each level."""
    return {n: hashlib.sha1(result(n, 800, 0.0)).hexdigest() for n in lib.names()}


def digests_at(level):
    done = python("import json, test_kernels; print(json.dumps(test_kernels.digests()))",
                  FUNCTRANS_ISA=level)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(len(lib.levels()) < 2, reason="one level only")
def test_levels_give_equal_bits():
    best = digests_at(lib.levels()[-1])
    for level in lib.levels()[:-1]:
        other = digests_at(level)
        assert set(other) == set(best)
        differ = {n for n in best if other[n] != best[n]}
        if level == "v2":         # without FMA: products and polynomials round differently
            allowed = {f"matmul:{c}" for c in codegen.FLOATS}
            allowed |= {f"ew:{name}:{c}" for name, c, _, text in ROWS if "ft_" in text
                        and c in codegen.FLOATS and name not in ROUNDED_ONCE}
            allowed |= {f"cumulative:logsumexp:{c}" for c in codegen.FLOATS}
            differ -= allowed
        assert not differ, (level, differ)


def test_unknown_level_is_refused():
    done = python("import functrans.kernels.lib", FUNCTRANS_ISA="v9")
    assert done.returncode and "FUNCTRANS_ISA='v9' is not one of" in done.stderr


def test_lookup():
    assert lib.has("ew:add:f64") and not lib.has("ew:add:f16")
    assert lib.level() in lib.levels() and lib.ns("ew:exp:f64") > lib.ns("ew:add:f64") > 0
    with pytest.raises(KeyError):
        lib.call("ew:nothing:f64", [np.empty(1)], [np.empty(1)], (1,))


def test_every_record_has_its_kernels():
    missing = [f"ew:{n}:{c}" for n, c, _, _ in ROWS if not lib.has(f"ew:{n}:{c}")]
    assert not missing


def test_stale_kernels_are_refused(monkeypatch):
    codegen.check_table()
    monkeypatch.setattr(codegen, "table_hash", lambda: "another")
    with pytest.raises(ImportError, match="another op table; run: pip install -e ."):
        codegen.check_table()
