"""Kernels on whole arrays against NumPy: reductions, moves, indexing, products."""

import itertools

import numpy as np
import pytest
from kernel_cases import CODES, bits, ew, numbers, rng_of, same, tame, unsigned_zero

from functrans.ir.op import CODE, DTYPE
from functrans.kernels import codegen, lib

# ----- reductions --------------------------------------------------------------------------------

NUMPY_REDUCE = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
                "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
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
    x = numbers(code, shape, rng) if op in ("max", "min", "and", "or", "xor") else tame(code, shape, rng)
    if op == "prod" and code in (*codegen.FLOATS, *codegen.COMPLEX):
        x = x ** 0.01
    ufunc = NUMPY_REDUCE[op]
    wide = np.clongdouble if code in codegen.COMPLEX else np.longdouble
    inexact = code in (*codegen.FLOATS, *codegen.COMPLEX)
    exact = ufunc.reduce(x.astype(wide), axis=axes) if inexact else ufunc.reduce(x, axis=axes, dtype=x.dtype)
    got = reduce(op, code, x, axes)
    if op in ("sum", "prod") and inexact:
        eps = np.finfo(x.dtype).eps
        n = int(np.prod([shape[d] for d in axes], dtype=int))
        # lanes and pairs: far better than n * eps; a product has a rounding a factor all the same
        bound = eps * (n if op == "prod" else 80)
        np.testing.assert_allclose(got.astype(wide), exact, rtol=float(bound))
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


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min", "and", "or", "xor"])
def test_reduce_nothing_is_the_identity(op):
    for code in CODES:
        if op in ("and", "or", "xor") and code in codegen.FLOATS:
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
    for shape in ((1, 1), (4, 7), (3, 3000), (1, 1025), (70, 9)):
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
                    ufunc = {"sum": np.logical_or, "prod": np.logical_and,
                             "max": np.maximum, "min": np.minimum}[op]
                    want = ufunc.accumulate(x[:, ::-1] if reverse else x, axis=1)
                else:
                    want = NUMPY_CUMULATIVE[op].accumulate(x[:, ::-1] if reverse else x, axis=1,
                                                           dtype=x.dtype)
            want = want[:, ::-1] if reverse else want
            if op == "logsumexp":
                tol = 50 * np.finfo(x.dtype).eps
                np.testing.assert_allclose(out, want, rtol=tol, atol=tol)
            else:
                same(unsigned_zero(out), unsigned_zero(want))


# ----- moves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_copy(size):
    rng = rng_of(f"copy{size}")
    base = rng.integers(0, 255, (6, 50, 40)).astype(f"u{size}")
    for x in (base, base.transpose(2, 1, 0), base[::-1, ::2], base.transpose(0, 2, 1),
              base[:, :, ::-1], np.broadcast_to(base[:, :1, :1], base.shape), base[:0], base[0, 0],
              base[0, 0, :1].reshape(()),
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


INDEX_TYPES = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
CLIP, LEAVE, WRAP = 0, 1, 2


def positions(rng, type_, n, low, high):
    """Random positions of a type; every other element of a longer array where ``low`` is odd."""
    step = 1 + low % 2
    i = rng.integers(0 if type_[0] == "u" else low, high, n * step)
    return i.astype(DTYPE[type_])[::step]


def numbers_of(index, x, mode, from_end):
    """Positions inside x, and which were inside to begin with, as NumPy computes them."""
    at, inside = [], np.ones(len(index[0]), bool)
    for i, n in zip(index, x.shape, strict=False):
        i = i.astype(np.int64)
        i = np.where(i < 0, i + n, i) if from_end else i
        inside &= (i >= 0) & (i < n)
        at.append(i % n if mode == WRAP else np.clip(i, 0, n - 1))
    return tuple(at), inside


def index_ints(index, x, mode, from_end, row):
    k = len(index)
    types = [INDEX_TYPES.index(CODE[i.dtype]) for i in index]
    return (k, mode, from_end, len(index[0]), *types, *x.shape[:k], row)


@pytest.mark.parametrize("mode", [CLIP, LEAVE, WRAP])
@pytest.mark.parametrize("code", ["u8", "i16", "f32", "f64"])
def test_gather(code, mode):
    rng = rng_of(f"gather{code}{mode}")
    x = numbers(code, (4, 5, 3), rng)
    fill = np.array(42, DTYPE[code])
    fill_bits = int(np.frombuffer(fill.tobytes().ljust(8, b"\0"), np.int64)[0])
    for type_, from_end in itertools.product(INDEX_TYPES, (0, 1)):
        for k in (1, 2, 3):
            index = [positions(rng, type_, 700, -9 + d, 9) for d in range(k)]
            row = x.shape[k:]
            out = np.empty((700, *row), DTYPE[code])
            nbytes = int(np.prod(row, dtype=int)) * x.itemsize
            lib.call(f"gather:{x.itemsize}", [out], [x, *index], (700,),
                     (*index_ints(index, x, mode, from_end, nbytes), fill_bits),
                     [(), (), *[i.strides for i in index]])
            at, inside = numbers_of(index, x, mode, from_end)
            want = x[at]
            if mode == LEAVE:
                want[~inside] = fill
            same(out, want)


@pytest.mark.parametrize("nbytes", [1, 2, 3, 4, 7, 8, 12, 16, 20, 24, 31, 32, 40, 64, 100, 513])
def test_gather_rows_of_any_length(nbytes):
    rng = rng_of(f"rows{nbytes}")
    x, index = rng.integers(0, 255, (50, nbytes)).astype(np.uint8), rng.integers(0, 50, 300)
    out = np.empty((300, nbytes), np.uint8)
    lib.call("gather:1", [out], [x, index], (300,), (*index_ints([index], x, CLIP, 0, nbytes), 0),
             [(), (), (8,)])
    same(out, x[index])


def test_gather_from_nothing_reads_nothing():
    out = np.ones((4, 2))
    lib.call("gather:8", [out], [np.empty((0, 2)), np.arange(4)], (4,), (1, 0, 0, 4, 3, 0, 16, 0),
             [(), (), (8,)])
    same(out, np.zeros((4, 2)))


@pytest.mark.parametrize("mode", [CLIP, LEAVE, WRAP])
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
                 index_ints(index, x, mode, 0, int(np.prod(x.shape[k:], dtype=int))),
                 [(), (), *[(8,)] * k])
        at, inside = numbers_of(index, x, mode, 0)
        for j in range(50):
            if inside[j] or mode != LEAVE:
                place = tuple([a[j] for a in at])
                with np.errstate(all="ignore"):
                    want[place] = combine(want[place], updates[j])
        same(got, want)


# ----- threads ---------------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = lib.get_num_threads()
    yield lib.set_num_threads
    lib.set_num_threads(before)


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
