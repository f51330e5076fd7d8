"""Dtypes: promotion as NumPy's for every binary ufunc and pair of dtypes, complex numbers, float16."""

import warnings

import numpy as np
import pytest
from util import assert_same, direction, rng_of

import functrans.numpy as fnp
from functrans import errors, grad, hessian, jacfwd, jacrev, jit, jvp, lax, vjp, vmap

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
          "float32", "float64", "complex64", "complex128"]
BINARY = """add subtract multiply true_divide floor_divide remainder fmod power arctan2 hypot logaddexp
    logaddexp2 maximum minimum fmax fmin copysign nextafter heaviside equal not_equal less less_equal
    greater greater_equal bitwise_and bitwise_or bitwise_xor left_shift right_shift logical_and logical_or
    logical_xor float_power gcd lcm divmod ldexp""".split()
UNARY = """negative positive absolute fabs sign conjugate rint floor ceil trunc sqrt cbrt square reciprocal
    exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh
    arctanh deg2rad rad2deg invert logical_not isnan isinf isfinite signbit bitwise_count modf
    frexp spacing""".split()
PYTHON = [True, 2, -1, 300, 10**20, 1.5, 2 + 1j]
TOLERANCE = {"e": 4e-3, "f": 1e-5, "F": 1e-5}


def values(dtype):
    dtype = np.dtype(dtype)
    numbers = {"b": [1, 0, 1, 1], "u": [3, 0, 7, 2], "i": [3, 0, -7, 2], "f": [1.5, 0.0, -2.25, np.nan],
               "c": [1.5 + 1j, 0, -2.25 + 0.5j, 2]}
    return np.array(numbers[dtype.kind], dtype)


def outcome(f, *args):
    """The results, or the kind of error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            out = f(*args)
        except (TypeError, OverflowError, ValueError) as e:
            return next(t for t in (OverflowError, TypeError, ValueError) if isinstance(e, t))
    return out if isinstance(out, tuple) else (out,)


def agree(f, traced, *args):
    want, got = outcome(f, *args), outcome(traced, *args)
    if isinstance(want, type) or isinstance(got, type):
        assert want is got, (want, got, args)
        return
    for w, g in zip(want, got, strict=True):
        w, g = np.asarray(w), np.asarray(g)
        assert (g.dtype, g.shape) == (w.dtype, w.shape), args
        tol = TOLERANCE.get(w.dtype.char, 1e-12)
        assert np.allclose(g, w, rtol=tol, atol=tol, equal_nan=True), (args, w, g)


def undefined(name, x, y):
    """Where values decide whether NumPy raises, or that no program has: a Python integer beyond 64 bits."""
    negative = np.asarray(y).dtype.kind == "i" and np.any(np.asarray(y) < 0)
    return (name == "power" and negative and np.asarray(x).dtype.kind in "iub") or (
        name.startswith("logical") and 10**20 in (x if type(x) is int else 0, y if type(y) is int else 0))


@pytest.mark.parametrize("name", [n for n in BINARY if hasattr(np, n)])
def test_binary_promotion(name):
    """Arrays, 0-d arrays and NumPy scalars of every pair; Python numbers on either side."""
    f = getattr(np, name)
    both = jit(lambda x, y: f(x, y))
    for a in DTYPES:
        x = values(a)
        for b in DTYPES:
            y = values(b)
            if undefined(name, x, y):
                y = np.abs(y)
            agree(f, both, x, y)
            agree(f, both, x[2:3], y[0])              # a NumPy scalar is as strong as an array
        agree(f, both, x[0], np.asarray(x[3]))
        for p in PYTHON:
            if not undefined(name, x, p):
                agree(lambda x, p=p: f(x, p), jit(lambda x, p=p: f(x, p)), x)
            if not undefined(name, p, x):
                agree(lambda x, p=p: f(p, x), jit(lambda x, p=p: f(p, x)), x)


@pytest.mark.parametrize("name", [n for n in UNARY if hasattr(np, n)])
def test_unary_dtypes(name):
    f = getattr(np, name)
    for a in DTYPES:
        x = values(a)
        x = x[x != 0] if name == "reciprocal" else x       # of the integer 0 it is undefined
        agree(f, jit(lambda x: f(x)), x)
        agree(f, jit(lambda x: f(x)), x[0])


def test_comparisons_see_the_whole_integer():
    x = np.array([0, 127, -128], np.int8)
    assert jit(lambda x: x < 300)(x).all() and not jit(lambda x: x == 300)(x).any()
    assert jit(lambda x: 10**30 > x)(x).all() and jit(lambda x: -10**30 < x)(x).all()
    assert jit(lambda x: x != -1)(np.uint8(255))


def test_namespace():
    for a in DTYPES:
        assert fnp.result_type(a, "int8") == np.result_type(a, "int8")
        assert fnp.promote_types(a, "float16") == np.promote_types(a, "float16")
        assert fnp.can_cast(a, "float32") == np.can_cast(a, "float32")
    assert fnp.finfo(np.complex64).eps == np.finfo(np.float32).eps and fnp.iinfo(np.int8).max == 127


@pytest.mark.parametrize("dtype", DTYPES)
def test_comparing_arrays(dtype):
    x = values(dtype)
    y = x.copy()
    for f in (lambda x, y: np.isclose(x, y), lambda x, y: np.isclose(x, y, equal_nan=True),
              np.array_equal, np.array_equiv, lambda x, y: np.allclose(x, y, equal_nan=True)):
        assert np.array_equal(jit(f)(x, y), f(x, y))


def test_weak_types_in_loops_and_caches():
    f = jit(lambda x, y: x * y)
    half = np.float16(2)
    assert f(half, 3.0).dtype == np.float16 and f(half, np.float64(3.0)).dtype == np.float64
    assert f(half, 3).dtype == np.float16 and f(np.int8(2), 3).dtype == np.int8
    assert f(np.float32(2), 1j).dtype == np.complex64 and f(2, 1j).dtype == np.complex128
    assert jit(lambda x, y: x * abs(y))(np.float32(2), 1j).dtype == np.float32


# ----- bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [("float32", "int32"), ("int64", "uint8"), ("uint16", "uint64"),
                                          ("float16", "int16"), ("complex128", "float64"),
                                          ("float32", "complex64"), ("complex64", "uint16")])
def test_view(old, new):
    x = np.arange(24, dtype=old).reshape(2, 12)
    assert_same(jit(lambda x: x.view(new))(x), x.view(new), 0.0)
    assert_same(vmap(lambda x: x.view(new))(x), x.view(new), 0.0)
    assert_same(jit(lambda x: (x * 1)[:, ::-1].view(new))(x), np.ascontiguousarray(x[:, ::-1]).view(new), 0.0)


def test_views_of_parts_have_derivatives():
    z = np.array([1 + 2j, 3 - 1j])
    np.testing.assert_array_equal(grad(lambda z: np.sum(z.view(float) ** 2))(z), 2 * z.conj())
    x = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.abs(x.view(complex)) ** 2))(x), 2 * x)


def test_bits_of_integers():
    for dtype in DTYPES[1:9]:
        x = np.array([0, 1, 6, 127, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
        width = 8 * x.itemsize
        bits = [f"{int(v) & (2**width - 1):0{width}b}" for v in x]
        assert lax.population_count(x).tolist() == [b.count("1") for b in bits]
        assert lax.clz(x).tolist() == [len(b) - len(b.lstrip("0")) for b in bits]
    assert int(lax.bitcast_convert_type(np.float32(1), np.int32)) == 0x3F800000


# ----- complex numbers ----------------------------------------------------------------------------


def sampled(shape, seed=0):
    r = np.random.default_rng(seed)
    return r.normal(size=shape) + 1j * r.normal(size=shape)


Z = sampled((4, 3))
REAL_FUNCTIONS = {
    "abs": lambda z: np.sum(np.abs(z)),
    "parts": lambda z: np.sum(z.real * np.sin(z.imag)) + np.vdot(z, z).real,
    "angle": lambda z: np.sum(np.angle(z * z) ** 2),
    "norm": lambda z: np.linalg.norm(z) * np.linalg.norm(z, 1) * np.linalg.norm(z, np.inf),
    "var": lambda z: np.var(z) + np.std(z, 0).sum() + np.mean(np.conj(z) * z).real,
    "product": lambda z: np.abs(np.prod(z, 1) @ np.cumprod(z, 0)[:, 0]) ** 2,
    "matmul": lambda z: np.sum(np.real(z.T @ np.exp(z) @ (z.T @ np.conj(z)))),
    "indexing": lambda z: np.sum(np.abs(z[[0, 2, 2]] * z[1]) ** 2) + np.max(np.abs(z)),
    "sign": lambda z: np.sum(np.real(np.sign(z) * np.array([1.0, 2j, 1 - 1j]))),
    "power": lambda z: np.sum(np.abs(z ** 3 + z ** -2 + z ** 1.5 + 2.0 ** z) ** 2),
    "where": lambda z: np.sum(np.where(z.real > 0, z * 1j, np.conj(z)).imag ** 3),
    "scan": lambda z: np.abs(lax.scan(lambda c, x: (c * x + 1j, c), 1 + 0j, z[:, 0])[0]),
}


def by_differences(f, z, h=1e-5):
    """df/dx - i df/dy of each element."""
    out = np.zeros_like(z)
    for i in np.ndindex(z.shape):
        e = np.zeros_like(z)
        e[i] = h
        out[i] = (f(z + e) - f(z - e) - 1j * (f(z + 1j * e) - f(z - 1j * e))) / (2 * h)
    return out


@pytest.mark.parametrize("name", REAL_FUNCTIONS)
def test_gradients_of_real_functions(name):
    f = REAL_FUNCTIONS[name]
    want = by_differences(f, Z) if name != "scan" else by_differences(jit(f), Z)
    got = grad(f)(Z)
    np.testing.assert_allclose(got, want, rtol=2e-7, atol=2e-7)
    np.testing.assert_allclose(jit(grad(f))(Z), got, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(vmap(grad(f))(np.stack([Z, Z.conj()]))[0], got, rtol=1e-11, atol=1e-11)
    t = sampled(Z.shape, 1)
    np.testing.assert_allclose(jvp(f, (Z,), (t,))[1], np.sum(got * t).real, rtol=1e-10)
    narrow = Z.astype(np.complex64)
    assert grad(f)(narrow).dtype == np.complex64
    # second order: the gradient's derivative along t, and its adjoint
    h = 1e-5
    along = jvp(grad(f), (Z,), (t,))[1]
    slope = (grad(f)(Z + h * t) - grad(f)(Z - h * t)) / (2 * h)
    np.testing.assert_allclose(along, slope, rtol=1e-6, atol=1e-5)
    u = sampled(Z.shape, 2)
    back = vjp(grad(f), Z)[1](u)[0]
    np.testing.assert_allclose(np.sum(back * t).real, np.sum(along * u).real, rtol=1e-9)


def test_holomorphic():
    def f(z):
        return np.sum(np.sin(z) * z ** 2 / (1 + z))
    want = np.cos(Z) * Z ** 2 / (1 + Z) + np.sin(Z) * (2 * Z / (1 + Z) - Z ** 2 / (1 + Z) ** 2)
    np.testing.assert_allclose(grad(f, holomorphic=True)(Z), want, rtol=1e-12)
    for jacobian in (jacfwd, jacrev):
        got = jacobian(np.exp, holomorphic=True)(Z[0])
        np.testing.assert_allclose(got, np.diag(np.exp(Z[0])), rtol=1e-14)
    np.testing.assert_allclose(hessian(lambda z: z[0] ** 2 * z[1], holomorphic=True)(Z[0, :2]),
                               [[2 * Z[0, 1], 2 * Z[0, 0]], [2 * Z[0, 0], 0]], rtol=1e-14)
    np.testing.assert_allclose(jacfwd(lambda x: np.exp(1j * x))(0.5), 1j * np.exp(0.5j))
    with pytest.raises(errors.NotComplexError, match="jacrev of a function that returns"):
        jacrev(lambda x: np.exp(1j * x))(0.5)


def test_derivatives_where_the_modulus_is_zero():
    zero = np.zeros(3, complex)
    for f in (lambda z: np.sum(np.abs(z)), np.linalg.norm, np.std,
              lambda z: np.sqrt(np.sum(np.abs(z) ** 2))):
        np.testing.assert_array_equal(grad(f)(zero), zero)
    assert grad(lambda z: np.abs(np.where(z == 0, 1.0, 1 / z)))(0j) == 0


def test_order_of_complex_numbers():
    z = np.array([1 + 1j, 1 - 1j, 2 - 5j, 2 + 1j, -3 + 9j])
    other = np.array([1, 1 - 1j, 3, 2 + 2j, np.nan + 1j])
    for f in (np.max, np.min, np.argmax, np.argmin, np.ptp,
              lambda z: np.max(z.reshape(1, 5, 1), (0, 1), keepdims=True),
              lambda z: np.argmin(np.stack([z, z[::-1]]), 1), lambda z: np.maximum(z, other),
              lambda z: np.fmin(z, other), lambda z: np.max(np.append(z, np.nan)),
              lambda z: np.clip(z, -1, 1 + 0j)):
        agree(f, jit(f), z)
    np.testing.assert_array_equal(grad(lambda z: np.max(z).real)(z), [0, 0, 0, 1, 0])
    for operator in (np.less, np.less_equal, np.greater, np.greater_equal):
        agree(operator, jit(operator), z, other)


@pytest.mark.parametrize("f", [
    np.real, np.imag, np.conj, np.angle, lambda z: np.angle(z, deg=True), np.iscomplex, np.isreal,
    lambda z: z.real + z.imag, lambda z: z.conj().T, np.round, lambda z: np.round(z, 1), np.nan_to_num,
    lambda z: np.nansum(z), lambda z: np.nanvar(z, 0), lambda z: np.sum(z, dtype=np.complex64),
    lambda z: np.astype(z, np.complex64), lambda z: z.mean(1), lambda z: np.vecdot(z, z[0]),
    lambda z: np.einsum("ij,kj->ik", z, z), lambda z: np.outer(z, z), lambda z: np.gradient(z, axis=0),
    lambda z: np.linspace(z[0], 1j, 4), lambda z: np.full_like(z, 2j), lambda z: np.any(z), np.count_nonzero,
    lambda z: np.tensordot(z, z), np.diff, lambda z: z == z.conj(), lambda z: bool(np.iscomplexobj(z))])
def test_numpy_functions_of_complex_numbers(f):
    for z in (Z, Z.astype(np.complex64), Z.real):
        agree(f, jit(f), z)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("shapes", [
    ((1, 7), (7, 5)), ((6, 7), (7, 1)), ((7,), (7, 5)), ((3, 40, 50), (50, 33)), ((2, 3, 4), (2, 4, 5)),
    ((70, 80), (80, 90)), ((3, 0), (0, 2))], ids=str)
def test_complex_products(shapes, dtype):
    a, b = (sampled(s, i).astype(dtype) for i, s in enumerate(shapes))
    tol = 2e-5 if dtype == "complex64" else 2e-13
    f = jit(np.matmul)
    np.testing.assert_allclose(f(a, b), a @ b, rtol=tol, atol=tol * 10)
    if a.ndim == b.ndim == 2:
        for x, y in ((a.T.copy().T, b), (a, b.T.copy().T), (a[::-1], b[:, ::-1])):
            np.testing.assert_allclose(jit(lambda x, y: x @ y)(x, y), x @ y, rtol=tol, atol=tol * 10)
        np.testing.assert_allclose(jit(lambda a, b: b.T @ a.T)(a, b), b.T @ a.T, rtol=tol, atol=tol * 10)


def test_large_complex_arrays_in_groups():
    """Block groups and threads: the same as op by op, and as NumPy."""
    z = sampled(30_001)

    def f(z):
        y = np.exp(z) * z.conj() / (1 + np.abs(z))
        return y.real + np.sin(y.imag), np.sum(y), np.abs(y).max()
    for got, want in zip(jit(f)(z), f(z), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    x = z.astype(np.complex64)
    for got, want in zip(jit(f)(x[1:]), f(x[1:]), strict=True):     # 8 bytes that start at no multiple of 8
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def test_sorted_complex_numbers():
    """Places, medians, and nan: numbers first, then nan in the imaginary, the real, both parts."""
    n = np.nan
    z = np.array([1 + 1j, complex(1, n), complex(n, 2), 2, 0, complex(n, n), complex(n, 1), 1 - 2j, 1 + 1j])
    for dtype in ("complex64", "complex128"):
        x = z.astype(dtype)
        for f in (np.sort, np.sort_complex, np.median, np.nanmedian, lambda z: np.median(z[3:5]),
                  lambda z: np.median(np.nan_to_num(z).reshape(3, 3), 1)):
            agree(f, jit(f), x)
        agree(lambda z: np.argsort(z, stable=True), jit(np.argsort), x)
        for side in ("left", "right"):
            def place(a, v, side=side):
                return np.searchsorted(np.sort(a), v, side)
            agree(place, jit(place), x[[0, 3, 4, 7, 8]], x)
    for dtype in DTYPES:
        agree(np.sort_complex, jit(np.sort_complex), values(dtype))


# ----- float16 ------------------------------------------------------------------------------------


def test_neighbours():
    h = np.arange(65536, dtype=np.uint16).view(np.float16)
    for to in (np.float16(np.inf), np.float16(-np.inf), np.float16(0.5), np.float16(np.nan)):
        agree(np.nextafter, jit(np.nextafter), h, to)
    tiny, most = 5e-324, np.finfo(float).max
    for dtype in ("float16", "float32", "float64"):
        with np.errstate(all="ignore"):
            x = np.array([1, -1, 0, -0.0, np.inf, -np.inf, np.nan, 8, 3e-8, -1e-45, tiny, most], dtype)
        for f in (np.spacing, np.frexp, np.modf):
            agree(f, jit(f), x)
    for f in (lambda x: np.nextafter(x, 9.0), lambda x: np.frexp(x)[0] * 4, lambda x: np.modf(x)[0],
              lambda x: x + np.spacing(x)):
        assert grad(f)(2.5) == jvp(f, (2.5,), (1.0,))[1] == 1


def test_float16_of_every_bit_pattern():
    h = np.arange(65536, dtype=np.uint16).view(np.float16)
    for target in ("float32", "float64"):
        np.testing.assert_array_equal(jit(lambda x, d=target: x.astype(d))(h), h.astype(target))
    r = rng_of("half")
    x = np.concatenate([h.astype(float), r.normal(size=5000) * 10.0 ** r.integers(-9, 6, 5000),
                        (h[:31743].astype(float) + h[1:31744].astype(float)) / 2])      # ties
    with np.errstate(all="ignore"):
        x = np.concatenate([x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)])
        np.testing.assert_array_equal(jit(lambda x: x.astype(np.float16))(x), x.astype(np.float16))
        y = x.astype(np.float32)
        np.testing.assert_array_equal(jit(lambda x: x.astype(np.float16))(y), y.astype(np.float16))


def test_float16_is_rounded_at_every_operation():
    r = rng_of("rounded")
    x, y, z = (r.normal(size=4000).astype(np.float16) for _ in range(3))
    np.testing.assert_array_equal(jit(lambda x, y, z: x * y + z - y / x)(x, y, z), x * y + z - y / x)
    f = jit(lambda x: (np.sum(x), np.mean(x), np.max(x), x @ x, np.cumsum(x)[-1], np.sort(x)[:3]))
    for got, want in zip(f(x), (np.sum(x.astype(float)), np.mean(x.astype(float)), np.max(x), np.sum(
            x.astype(float) ** 2), np.sum(x.astype(float)), np.sort(x)[:3]), strict=True):
        assert np.asarray(got).dtype == np.float16
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-3)
    g = grad(lambda x: np.sum(np.sin(x) * x))(x)
    assert g.dtype == np.float16
    np.testing.assert_allclose(g, np.cos(x.astype(float)) * x + np.sin(x.astype(float)), rtol=5e-3, atol=5e-3)
    t = direction(x, r)
    assert jvp(np.tanh, (x,), (t,))[1].dtype == np.float16


def test_sine_of_small_integers_is_float16_as_in_numpy():
    assert jit(np.sin)(np.int8(3)).dtype == np.float16
    g = grad(lambda x: x.astype(np.float16).sum().astype(np.float32))(np.ones(3, np.float32))
    assert g.dtype == np.float32 and g.tolist() == [1.0, 1.0, 1.0]
