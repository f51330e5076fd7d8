"""Discrete Fourier transforms along one axis, and the plans by which the kernels compute them.

One record each for complex input, for real input (of whose transform one half determines the other) and
for such a half, made by one function. All are linear over the reals, and transpose to one another.
"""

from __future__ import annotations

import functools
import math
import struct

import numpy as np

from ..ir.op import CODE, COMPLEX, DTYPE, OPS, PART, WHOLE, ErrorSample, Op, Sample, aval_of, linear
from .elementwise import eq, mul, select
from .shape import iota

KINDS = ("fft", "rfft", "irfft")      # the number of each is the kernels' name for it
APART = 64                  # lines up to this length are lanes, anyhow they lie
ADJACENT = 4096             # and up to this one, where they are adjacent in memory
SINGLE = 48                 # shorter ones are too short to be split
LARGEST = 61                # prime factor of a direct transform
INT64 = np.dtype("int64")
FEW = 4                     # FT_FFT_FEW
NS = 0.12                   # a point and doubling of its number, one thread


# ----- plans -----------------------------------------------------------------------------------------


def radices(n: int) -> list[int]:
    """The factors of n that the passes take, the large powers of 2 first."""
    twos = (n & -n).bit_length() - 1
    eights = twos // 3 if twos % 3 != 1 else max(twos // 3 - 1, 0)
    rest = twos - 3 * eights
    found = [8] * eights + [4] * (rest // 2) + [2] * (rest % 2)
    n >>= twos
    p = 3
    while n > 1:
        if p * p > n:
            p = n
        while n % p == 0:
            found.append(p)
            n //= p
        p += 2
    return found


def _pass_cost(r: int) -> float:
    return 1.5 + {2: 1.0, 3: 2.0, 4: 2.0, 5: 3.0, 8: 3.3}.get(r, 0.8 * r)


def _split(n: int, wide: int) -> tuple[int, int]:
    """n1 n2 = n with the least work, vectors of ``wide`` lanes being filled in part only."""
    def cost(a, b):
        large = 1.0 + 0.15 * max(0.0, math.log2(max(a, b) / 256))
        return large * (-(-b // wide) * wide / b * sum(map(_pass_cost, radices(a)))
                        + -(-a // wide) * wide / a * sum(map(_pass_cost, radices(b))))

    divisors = [d for d in range(2, math.isqrt(n) + 1) if n % d == 0]
    pairs = [(d, n // d) for d in divisors] + [(n // d, d) for d in divisors]
    return min(pairs, key=lambda p: cost(*p))


def _smooth(n: int) -> int:
    """The least 2^a 3^b 5^c, a > 4, that is not less than n."""
    best = 32
    while best < n:
        best *= 2
    for odd in (3, 5, 9, 15, 25, 27, 45, 75, 81, 125):
        m = 32 * odd
        while m < n:
            m *= 2
        best = min(best, m)
    return best


def roots(k, n: int) -> np.ndarray:
    """exp(-2 pi i k / n) for integers k, exact to the last bits: angles of at most pi / 4."""
    k = np.asarray(k, np.int64) % n
    eighth = (8 * k + n) // (2 * n)                  # the nearest multiple of a quarter turn
    angle = (4 * k - eighth * n) * (np.pi / (2 * n))
    c, s = np.cos(angle), np.sin(angle)
    turns = eighth % 4
    re = np.choose(turns, [c, -s, -c, s])
    im = np.choose(turns, [-s, -c, s, c])
    return re + 1j * im


class _Tables:
    """The tables of a plan, one after the other, and what they are filled from."""

    def __init__(self, dtype):
        self.dtype, self.parts, self.length = dtype, [], 0

    def add(self, values) -> int:
        values = np.asarray(values)
        if values.dtype.kind == "c":
            values = np.stack([values.real, values.imag], -1)
        at = self.length
        self.parts.append(values.ravel().astype(self.dtype))
        self.length += values.size
        return at

    def passes(self, n: int) -> int:
        """The twiddles of all passes; those of any other radix follow its cosines and sines."""
        at = self.length
        for r in radices(n):
            if r not in (2, 3, 4, 5, 8):
                w = roots(np.arange(r), r)
                self.add(w.real)
                self.add(-w.imag)
            self.add(roots(np.outer(np.arange(n // r), np.arange(1, r)), n))
            n //= r
        return at

    def array(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, self.dtype), *self.parts, np.zeros(2, self.dtype)])


def _counted(n):
    found = radices(n)
    return [len(found), *found]


def _complex_plan(n: int, tables: _Tables, lanes: bool) -> tuple[list[int], int]:
    """What fft_body.h describes, and the bytes that one line needs."""
    size = tables.dtype.itemsize
    wide = 64 // size
    if max(radices(n), default=1) > LARGEST:
        m = _smooth(2 * n - 1)
        j = np.arange(n)
        chirp = roots(j * j % (2 * n), 2 * n)
        back = np.zeros(m, complex)
        back[:n] = chirp.conj()
        back[m - n + 1:] = chirp[:0:-1].conj()
        offsets = [tables.add(chirp), tables.add(np.fft.fft(back) / m)]
        inner, room = _complex_plan(m, tables, False)
        return [2, n, m, *offsets, *inner], (2 * m * size + 63 & -64) + room
    if lanes or n < SINGLE or len(radices(n)) == 1:
        return [0, n, tables.passes(n), *_counted(n)], 2 * n * 128
    n1, n2 = _split(n, wide)
    offsets = [tables.passes(n1), tables.passes(n2)]
    rows = np.arange(n1)
    offsets.append(tables.add(roots(np.outer(wide * np.arange(-(-n2 // wide)), rows), n)))
    within = roots(np.outer(rows, np.arange(wide)), n)
    offsets.append(tables.add(np.stack([within.real, within.imag], 1)))
    return [1, n, n1, n2, *offsets, *_counted(n1), *_counted(n2)], -(-n1 // wide) * n2 * 128


@functools.lru_cache(64)
def plan(n: int, real: bool, code: str, lanes: bool) -> tuple[list[int], int, np.ndarray]:
    """Room and plan, as the step's ints have them, and the tables: what depends on the length only."""
    dtype = DTYPE[code]
    tables = _Tables(dtype)
    packed = real and n % 2 == 0
    half = tables.add(roots(np.arange(n // 4 + 1), n)) if packed else 0
    ints, room = _complex_plan(n // 2 if packed else n, tables, lanes)
    room += 2 * (n + 2) * dtype.itemsize + 63 & -64
    table = tables.array()
    table.flags.writeable = False
    return [room, half, *ints], room, table


# ----- the ops ---------------------------------------------------------------------------------------


def _infer(name):
    def infer(x, *, axis, n, backward, scale):
        if not 0 <= axis < x.ndim:
            raise ValueError(f"{name}: axis {axis} is out of bounds for {x}")
        code = CODE.get(x.dtype)
        if code not in OPS[name].dtypes:
            raise TypeError(f"{name} is not defined for {x}")
        if n < 1:
            raise ValueError(f"{name}: the number of points must be positive, got {n}")
        if x.shape[axis] != (n // 2 + 1 if name == "irfft" else n):
            raise ValueError(f"{name} of {n} points does not fit axis {axis} of {x}")
        if name != "fft" and backward != (name == "irfft"):
            raise ValueError(f"{name} goes one way only")
        if name != "fft":
            code = WHOLE[code] if name == "rfft" else PART[code]
        length = n // 2 + 1 if name == "rfft" else n
        return (*x.shape[:axis], length, *x.shape[axis + 1:]), DTYPE[code]
    return infer


def _weighted(x, axis, n, inner):
    """x with each point but those that are their own conjugates times ``inner``."""
    at = iota(shape=aval_of(x).shape, dtype=INT64, axis=axis)
    single = eq(at, 0)
    if n % 2 == 0:
        single = OPS["or"](single, eq(at, n // 2))
    return select(single, x, mul(x, inner))


def _transpose(name):
    """The pairing is Re(ct x), without a conjugate. The matrix of the complex transform is symmetric; of
    the real ones, each point stands for two that are conjugates."""
    def transpose(cts, operands, *, axis, n, backward, scale):
        (ct,) = cts
        if name == "fft":
            return [fft(ct, axis=axis, n=n, backward=backward, scale=scale)]
        if name == "rfft":
            ct = _weighted(OPS["conj"](ct), axis, n, 0.5)
            return [irfft(ct, axis=axis, n=n, backward=True, scale=scale)]
        found = rfft(ct, axis=axis, n=n, backward=False, scale=scale)
        return [OPS["conj"](_weighted(found, axis, n, 2.0))]
    return transpose


def _batch(name):
    def batch(size, operands, dims, *, axis, **params):
        (x,), (dim,) = operands, dims
        return [OPS[name](x, axis=axis + (dim <= axis), **params)], [dim]
    return batch


def _lower(name):
    def lower(ctx, eqn, views):
        (x,) = views
        p = eqn.params
        axis, n = p["axis"], p["n"]
        out = ctx.new(eqn.sig.outs[0])
        code = PART.get(CODE[x.dtype], CODE[x.dtype])
        rest = [d for d in range(len(x.shape)) if d != axis and x.shape[d] != 1]
        rest.sort(key=lambda d: -abs(x.strides[d]))
        shape = tuple([x.shape[d] for d in rest]) or (1,)
        strides = [tuple([v.strides[d] for d in rest]) or (0,) for v in (out, x)]
        lines = math.prod(shape)
        points = n // 2 if name != "fft" and n % 2 == 0 else n
        direct = max(radices(points), default=1) <= LARGEST
        adjacent = shape[-1] >= FEW and abs(strides[1][-1]) <= x.dtype.itemsize
        lanes = direct and lines > 1 and points <= (ADJACENT if adjacent else APART)
        ints, room, table = plan(n, name != "fft", code, lanes)
        scale = struct.unpack("q", struct.pack("d", p["scale"]))[0]
        rooms = [ctx.new((room,), np.dtype(np.int8))] if lines < FEW and not lanes else []
        still = (0,) * len(shape)
        ctx.step(f"fft:{code}", [out, *rooms, x, ctx.reference(table)], shape,
                 strides=[strides[0], *[still] * len(rooms), strides[1], still], nouts=1 + len(rooms),
                 ints=(KINDS.index(name), int(p["backward"]), n, scale, x.strides[axis], out.strides[axis],
                       int(lanes), *ints),
                 cost=NS * lines * points * max(1.0, math.log2(points)))
        return [out]
    return lower


def _work(sig):
    """Of the usual count: 5 n log n for complex, half of it for real input."""
    n = sig.params["n"]
    lines = sig.out.size // max(1, sig.out.shape[sig.params["axis"]])
    return int((5.0 if sig.op.name == "fft" else 2.5) * lines * n * math.log2(max(n, 2))), 0


def _reference(name):
    def reference(x, *, axis, n, backward, scale):
        wide = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
        if name == "fft":
            found = np.fft.ifft(wide, axis=axis) * n if backward else np.fft.fft(wide, axis=axis)
        else:
            found = np.fft.rfft(wide, axis=axis) if name == "rfft" else np.fft.irfft(wide, n, axis=axis) * n
        whole = DTYPE[WHOLE.get(CODE[x.dtype], CODE[x.dtype])]
        return (found * scale).astype(DTYPE[PART[CODE[whole]]] if name == "irfft" else whole)
    return reference


def _transform(name, dtypes, texts, errors) -> Op:
    """``texts``: types of samples, and their axis, number of points and direction."""
    def params(axis, n, backward=name == "irfft", scale=0.5):
        return {"axis": axis, "n": n, "backward": backward, "scale": scale}

    return linear(
        name, infer=_infer(name), transpose=_transpose(name), batch=_batch(name), lower=_lower(name),
        reference=_reference(name), work=_work, dtypes=dtypes,
        samples=[Sample(text, **params(*rest)) for text, *rest in texts],
        errors=[ErrorSample(text, match=match, error=error, **params(*rest))
                for text, match, error, *rest in errors])


# A transform of n points along ``axis``, times ``scale``; the kernels' ints say more of the three.
fft = _transform(
    "fft", COMPLEX,
    [(f"c128[{n}]", 0, n, bool(n % 2)) for n in (1, 2, 3, 8, 15, 60, 67)]
    + [("c128[4,3,2]", 0, 4, True), ("c128[2,11]", 1, 11, False), ("c128[5,0]", 0, 5, False)],
    [("c128[4]", "axis 1 is out of bounds for c128", ValueError, 1, 4),
     ("f64[4]", "fft is not defined for f64", TypeError, 0, 4),
     ("c128[0]", "the number of points must be positive, got 0", ValueError, 0, 0),
     ("c128[5]", "fft of 4 points does not fit axis 0 of c128", ValueError, 0, 4)])
rfft = _transform(
    "rfft", ("f32", "f64"),
    [(f"f64[{n}]", 0, n) for n in (1, 2, 5, 6, 12, 126)] + [("f64[4,3]", 0, 4), ("f64[2,7]", 1, 7)],
    [("c128[4]", "rfft is not defined for c128", TypeError, 0, 4),
     ("f64[4]", "rfft goes one way only", ValueError, 0, 4, True)])
irfft = _transform(
    "irfft", COMPLEX,
    [(f"c128[{n // 2 + 1}]", 0, n) for n in (1, 2, 5, 6, 12, 126)]
    + [("c128[3,3]", 0, 4), ("c128[2,4]", 1, 7)],
    [("c128[4]", "irfft of 4 points does not fit axis 0", ValueError, 0, 4)])
