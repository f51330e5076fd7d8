"""What the tests of the kernels share: operands with special values, comparisons, and a step of any
kernel."""

import hashlib
import os
import subprocess
import sys
import zlib

import numpy as np

from functrans.ir.op import DTYPE
from functrans.kernels import codegen, lib, pairs
from functrans.ops import fft

CODES = codegen.REALS          # complex numbers: where they are named
ROWS = [row for row in codegen.table() if "ft_sp" not in row[3]]      # SciPy's own functions: test_ops
BY_NAME = {op.name: op for op in codegen.records()}
ULPS = 4          # NumPy's own f32 functions are up to 4 ulps off
ROUNDED_ONCE = set("""
    neg add sub mul zmul div floordiv mod fmod abs sign floor ceil trunc rint copysign nextafter
    heaviside share sqrt max min fmax fmin select stop_gradient""".split())


def rng_of(text):
    return np.random.default_rng(zlib.crc32(text.encode()))


def numbers(code, shape, rng, low=-9.0, high=9.0):
    """Random values with special ones strewn in."""
    dt = DTYPE[code]
    n = int(np.prod(shape))
    if code == "b1":
        return rng.integers(0, 2, n).astype(bool).reshape(shape)
    if code in codegen.COMPLEX:          # special ones: test_ops
        return (rng.uniform(low, high, shape) + 1j * rng.uniform(-3, 3, shape)).astype(dt)
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
    if code in codegen.COMPLEX:
        return np.exp(rng.uniform(-0.1, 0.1, shape) + 1j * rng.uniform(-1, 1, shape)).astype(DTYPE[code])
    if code in codegen.FLOATS:
        return rng.uniform(0.5, 1.5, shape).astype(DTYPE[code])
    return numbers(code, shape, rng)


def same(got, want, ulps=0):
    """Equal values, within some ulps for floats; nan is nan. With 0 ulps zeros have a sign."""
    assert got.shape == want.shape and got.dtype == want.dtype, (got.dtype, want.dtype)
    if got.dtype.kind == "c":
        np.testing.assert_allclose(got, want, rtol=8 * np.finfo(got.dtype).eps, atol=1e-30)
        return
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
    x = x.view(x.real.dtype) if x.dtype.kind == "c" and x.ndim else x
    if x.dtype.kind == "f":
        x[np.isnan(x)] = np.nan
    return x.tobytes()


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
        minus = np.array(-1).astype(DTYPE[code])
        args[1] = np.where(rng.integers(0, 3, shape) == 0, minus, args[1]).astype(DTYPE[code])
    return args


def ew(kernel, out, args, cost=0.0, k=3):
    lib.call(kernel, [out], args, out.shape, (k,), cost=cost)
    return out


def generic(name, size, rng):
    """Some operands for any kernel: (outs, ins, shape, ints, strides)."""
    kind, *rest = name.split(":")
    code = rest[-1] if rest else ""
    if kind == "ew":
        op = rest[0]
        if op == "convert":
            args, out = [numbers(rest[1], size, rng)], rest[2]
        elif "." in op:
            args, out = [numbers(code, size, rng) for _ in range(pairs.arity(op))], code
        else:
            args = operands(op, code, (size,), rng)
            out = next(r[2] for r in ROWS if r[0] == op and r[1] == code)
        return [np.empty(size, DTYPE[out])], args, (size,), (3,), None
    if kind == "statistics":        # a row of columns and of buckets for each of two arrays
        x = numbers(code, size, rng)
        ints = (1, x.itemsize, size, size // 3)
        return [np.empty((2, 7 + 1550))], [x, x[:size // 3].copy()], (), ints, [()] * 3
    if kind == "reduce":
        x = tame(code, (size // 8, 8), rng)
        return [np.empty(8, x.dtype)], [x], (8, size // 8), (1,), [(x.itemsize, 0), x.strides[::-1]]
    if kind in ("argreduce", "cumulative"):
        x = tame(code, (16, size // 16), rng)
        if kind == "cumulative":
            return [np.empty_like(x)], [x], x.shape, (1,), None
        return [np.empty(16, np.int64)], [x], x.shape, (1,), [(8, 0), x.strides]
    if kind == "fft":               # all lines, then each: as lanes, and split in rows and columns
        n, lines = 100, size // 100
        x = numbers({"f32": "c64", "f64": "c128"}[code], (lines, n), rng)
        lanes = size > 1000
        ints, _, table = fft.plan(n, False, code, lanes)
        return [np.empty_like(x)], [x, table], (lines,), \
            (0, 1, n, int(np.float64(0.5).view(np.int64)), x.itemsize, x.itemsize, int(lanes), *ints), \
            [(x.strides[0],), (x.strides[0],), (0,)]
    if kind == "matmul":
        m = int(size ** 0.5) // 2 + 3
        a, b = tame(code, (m, m + 1), rng), tame(code, (m + 1, m + 2), rng)
        out = np.empty((m, m + 2), a.dtype)
        strides = [(0, *out.strides, 0), (0, a.strides[0], 0, a.strides[1]),
                   (0, 0, *b.strides[::-1])]
        return [out], [a, b], (1, m, m + 2, m + 1), (), strides
    if kind == "conv":              # two images, three channels, eleven filters
        edge = int((size / 6) ** 0.5) + 5
        x, w = tame(code, (2, 3, edge, edge), rng), tame(code, (11, 3, 3, 2), rng)
        out = np.empty((2, 11, 1, edge, edge - 1), x.dtype)
        ints = (1, 0, 0, 0, 3, 1, edge, edge, 1, 3, 2, 1, 1, 1, 1, 1, 1, 0, 1, 0)
        return [out], [x, w], out.shape, ints, [out.strides, *[(*v.strides[:2], 0, *v.strides[2:])
                                                              for v in (x, w)]]
    if kind.startswith("window"):
        x = tame(code, (4, size // 8, 2), rng)
        small = tame(code, (4, size // 16, 1), rng)
        ints = (*x.shape, 1, 2, 2, 1, 2, 2, 1, 1, 1, 0, 0, 0)
        if kind == "window":
            return [small], [x], small.shape, ints, None
        pick = kind == "window_pick"
        outs, ins = ([small], [x, x.copy()]) if pick else ([x.copy()], [x, small])
        return outs, ins, small.shape, ints, None
    if kind == "iota":
        return [np.empty((size // 8, 8), DTYPE[code])], [], (size // 8, 8), (0,), None
    if kind == "scatter":
        x = tame(code, (3, size // 4), rng)
        return [x], [tame(code, (4, size // 4), rng), np.array([0, 2, 0, 9])], (4,), \
            (1, 1, 0, 4, 3, 3, size // 4), [(), (), (8,)]
    if kind in ("random", "threefry", "sampler"):
        key = np.array([[7, 0xFFFFFFFE], [1, 2]], np.uint32)
        if kind == "threefry":
            words = rng.integers(0, 2 ** 32, (2, size, 2), dtype=np.uint32)
            return [np.empty_like(words[0])], list(words), (size,), (), [(8,)] * 3
        if kind == "random":
            dt = np.dtype("u8") if code == "pair" else DTYPE[code.rpartition("_")[2]]
            return [np.empty((2, size), dt)], [key], (2, size), (dt.itemsize,), [(0, 0)] * 2
        params = [rng.uniform(0.1, 20.0, (2, size // 20)).astype(DTYPE[code])]
        if rest[0] == "binomial":
            params.append(rng.uniform(0, 1, params[0].shape).astype(DTYPE[code]))
        out = np.empty_like(params[0])
        return [out], [key, *params], out.shape, (), [(0, 0)] * (2 + len(params))
    if kind in ("sort", "argsort", "argselect", "partition", "top_k", "searchsorted"):
        x = numbers(code, (2, size // 2), rng)
        out, dense = np.empty(x.shape, np.int64), [(0, 0)] * 3
        if kind == "top_k":
            return [out[:, :9].copy()], [x], x.shape, (9,), dense[:2]
        if kind == "argselect":
            return [out[:, :3].copy()], [x, np.array([size // 4, 0, size // 3])], x.shape, (3, 0), dense
        if kind == "partition":
            return [np.empty_like(x)], [x], x.shape, (0, 5, size // 4), dense[:2]
        if kind == "searchsorted":
            return [out], [np.sort(x), x], x.shape, (1, size // 2), dense
        out = np.empty_like(x) if kind == "sort" else out
        return [out], [np.empty_like(out), x], x.shape, (0,), dense
    x = rng.integers(0, 200, (size // 16, 16)).astype(f"u{code}" if code != "16" else "c16")
    if kind in ("copy", "stream"):
        return [np.empty_like(x.T)], [x.T], x.T.shape, (), None
    if kind == "gather":
        index = rng.integers(-3, 20, size)
        ints = (1, 1, 0, size, 3, size // 16, x.nbytes // len(x), 7, 0)
        return [np.empty((size, 16), x.dtype)], [x, index], (size,), ints, [(), (), (8,)]
    scalars = [np.array(1, np.int64), np.array(2, np.int64)]
    part = np.zeros((size // 32, 8), x.dtype)
    outs, ins = ([part], [x]) if kind == "dynslice" else ([x], [part])
    return outs, [*ins, *scalars], part.shape, x.shape, [outs[0].strides, ins[0].strides, (), ()]


# What calls LAPACK: its bits are its own affair; see test_numpy_linalg.
LIBRARY = ("cholesky", "lu", "lu_solve", "triangular_solve", "qr", "eigh", "svd", "eig")
NAMES = [n for n in lib.names() if n.split(":")[0] not in (*LIBRARY, "join")]     # join: see test_groups


def result(name, size, cost):
    outs, ins, shape, ints, strides = generic(name, size, rng_of(name))
    lib.call(name, outs, ins, shape, ints, strides, cost)
    return b"".join(bits(o) for o in outs)


def digests():
    """A hash of the result of every kernel: run in a process of each level."""
    return {n: hashlib.sha1(result(n, 800, 0.0)).hexdigest() for n in NAMES}


def python(code, **env):
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([os.path.dirname(here), here, *sys.path])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path, **env})
