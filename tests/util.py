"""What generated tests share: sampled operands, finite differences, inner products, vmap by a loop."""

import re
import zlib

import numpy as np

from functrans import tree
from functrans.ir.op import CODE, DTYPE

TYPES = {**DTYPE, "bool": np.dtype(bool)}
INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")


def rng_of(*key):
    """A generator that depends on the texts of ``key`` only."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


# ----- operands from text ---------------------------------------------------------------------


def parse(text):
    """``"f64[3,4]"`` to ``((3, 4), dtype("float64"))``."""
    code, extents = re.fullmatch(r"(\w+)\[([\d,]*)\]", text).groups()
    return tuple(int(n) for n in extents.split(",") if n), TYPES[code]


def show(shape, dtype):
    return f"{CODE[np.dtype(dtype)]}[{','.join(map(str, shape))}]"


def recode(text, code):
    """The same shape with another dtype."""
    return show(parse(text)[0], TYPES[code])


def sample(text, domain=(-3.0, 3.0), rng=None):
    """Values of the type ``text`` inside ``domain``; integers keep to the whole numbers in it.

    A few floats are kept apart from each other, so that differences meet no kink of an extremum.
    """
    shape, dtype = parse(text)
    rng = rng or rng_of(text, domain)
    low, high = domain
    if dtype.kind == "c":
        part = show(shape, dtype.type(0).real.dtype)
        return (sample(part, domain, rng) + 1j * sample(part, (-1.0, 1.0), rng)).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        low = max(low, 0) if dtype.kind == "u" else low
        return rng.integers(int(np.ceil(low)), int(np.floor(high)) + 1, shape).astype(dtype)
    n = int(np.prod(shape))
    if n > 64:
        return rng.uniform(low, high, shape).astype(dtype)
    at = (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / max(n, 1)
    return (low + (high - low) * at).reshape(shape).astype(dtype)


def direction(x, rng):
    """A tangent (or cotangent) for x."""
    x = np.asarray(x)
    t = rng.normal(size=x.shape)
    return np.asarray(t + 1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else t).astype(x.dtype)


# ----- derivatives ----------------------------------------------------------------------------


def difference(f, h=1e-4):
    """f'(0) of a function of one number: central differences at h and 2h, extrapolated."""
    with np.errstate(all="ignore"):
        near = (np.asarray(f(h)) - np.asarray(f(-h))) / (2 * h)
        far = (np.asarray(f(2 * h)) - np.asarray(f(-2 * h))) / (4 * h)
        return (4 * near - far) / 3


def second_difference(f, h=4e-4):
    """f''(0), by the same extrapolation."""
    with np.errstate(all="ignore"):
        mid = 2 * np.asarray(f(0.0))
        near = (np.asarray(f(h)) - mid + np.asarray(f(-h))) / h ** 2
        far = (np.asarray(f(2 * h)) - mid + np.asarray(f(-2 * h))) / (4 * h ** 2)
        return (4 * near - far) / 3


def moved(f, xs, ts):
    """``s -> f(xs + s * ts)``: f along a line, in float64."""
    xs, ts = ([np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64) for x in vs]
              for vs in (xs, ts))
    return lambda s: f(*[x + s * t for x, t in zip(xs, ts, strict=True)])


def dot(a, b):
    """Pairing of two pytrees of floats and complex numbers, in double precision: Re(sum(a * b)), as
    cotangents pair with tangents; float0 leaves count nothing."""
    total = 0.0
    for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape, (x.shape, y.shape)
        if x.dtype.kind in "fc" and y.dtype.kind in "fc":
            total += float(np.sum(x.astype(np.complex128) * y.astype(np.complex128)).real)
    return total


def assert_adjoint(forward, backward, ts, cts, rtol=1e-10):
    """``<cts, forward(ts)> == <backward(cts), ts>``, relative to the size of the terms."""
    out, back = forward(*ts), backward(cts)
    size = max(1.0, np.sqrt(dot(out, tree.map(np.conj, out)) * dot(cts, tree.map(np.conj, cts))))
    a, b = dot(out, cts), dot(tuple(back), tuple(ts))
    assert abs(a - b) <= rtol * size, (a, b)


# ----- vmap by a loop -------------------------------------------------------------------------


def loop_vmap(f, in_axes, out_axes=0):
    """``vmap(f, in_axes, out_axes)`` for functions of arrays with one array as result."""
    def mapped(*xs):
        size = next(x.shape[a] for x, a in zip(xs, in_axes, strict=True) if a is not None)
        rows = [f(*[x if a is None else np.take(x, i, a) for x, a in zip(xs, in_axes, strict=True)])
                for i in range(size)]
        return np.stack([np.asarray(r) for r in rows], out_axes)
    return mapped


# ----- comparison -----------------------------------------------------------------------------

TOLERANCE = {np.dtype(np.float16): 5e-3, np.dtype(np.float32): 3e-6, np.dtype(np.float64): 1e-13,
             np.dtype(np.complex64): 3e-6, np.dtype(np.complex128): 1e-13}


def assert_same(got, want, tol=None, signs=False):
    """Equal dtype, shape and value; floats to ``tol`` (relative, and absolute to the largest finite)."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype, f"dtype {got.dtype}, expected {want.dtype}"
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want)
        return
    tol = TOLERANCE[want.dtype] if tol is None else tol
    if want.dtype.kind == "c":               # parts where one is not finite, else by magnitude
        finite = np.isfinite(want)
        for part in ("real", "imag"):
            np.testing.assert_array_equal(getattr(got[~finite], part), getattr(want[~finite], part))
        got, want = got[finite], want[finite]
        assert not (np.abs(got - want) > tol * (np.abs(want) + (not signs))).any(), (got, want)
        if signs and tol == 0:
            assert_same(got.real, want.real, tol, signs)
            assert_same(got.imag, want.imag, tol, signs)
        return
    np.testing.assert_allclose(got, want, rtol=tol, atol=0.0 if signs else tol)
    if signs:
        zeros = want == 0
        np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))


def assert_close(got, want, tol):
    """Close relative to each element or to the largest one."""
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol * max(1.0, np.abs(want).max(initial=0)))


def assert_tree_close(got, want, rtol=1e-9, atol=1e-9):
    """Two pytrees of equal structure, shapes and dtypes, with close leaves."""
    assert tree.structure(got) == tree.structure(want)
    for g, w in zip(tree.leaves(got), tree.leaves(want), strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert (g.shape, g.dtype) == (w.shape, w.dtype), (g.shape, g.dtype, w.shape, w.dtype)
        if w.dtype.kind in "fbiuc":
            np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)


def assert_tree_equal(got, want):
    """Two pytrees whose leaves are equal bit by bit."""
    assert tree.structure(got) == tree.structure(want)
    for g, w in zip(tree.leaves(got), tree.leaves(want), strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        assert g.tobytes() == w.tobytes()
