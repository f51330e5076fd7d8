"""functrans.numpy has NumPy's names and JAX's: polynomials, covariances, vectorize, bits, types."""

import numpy as np
import pytest
from against_numpy import gradients, same, sample

import functrans.numpy as fnp
from functrans import errors, grad, jit, vmap

X = np.array([1.0, -2, 3, 4, -5, 2])
A = np.arange(1.0, 13).reshape(3, 4) ** 1.5
B = np.arange(24.0).reshape(2, 3, 4)
Z = (X + 1j * X[::-1]).reshape(2, 3)
HOLES = np.array([[np.nan, 1, 2], [3, np.nan, 1]])


# ----- names --------------------------------------------------------------------------------------


def test_every_name_is_there_or_says_what_to_use():
    for name in fnp.__all__:
        assert hasattr(fnp, name), name
    for name in (n for n in dir(np) if n[0] != "_"):
        try:
            getattr(fnp, name)
        except errors.MissingNameError as e:
            assert e.fix, name


def test_refused_names():
    assert not hasattr(fnp, "matrix") and not hasattr(fnp, "bfloat16") and not hasattr(fnp, "no_such_name")
    with pytest.raises(NotImplementedError, match=r"has no 'ma'.*\n.*\n  Keep a bool array beside"):
        _ = fnp.ma
    with pytest.raises(NotImplementedError, match=r"functrans\.random"):
        _ = fnp.random
    with pytest.raises(NotImplementedError, match="writes into its first argument"):
        jit(lambda x: fnp.copyto(x, 1))(X)


@pytest.mark.parametrize(("f", "text"), [
    (lambda x: np.save("x.npy", x), "save it outside"),
    (lambda x: fnp.savetxt("x.txt", x), "save it outside"),
    (lambda x: x.tobytes(), "save it outside"), (lambda x: np.busday_count(x, x), "astype"),
    (lambda x: x.strides, "no memory"), (lambda x: np.array(x, object), "functrans.numpy.vectorize"),
    (lambda x: fnp.broadcast(x, x), "broadcast_shapes")])
def test_what_needs_values_is_refused(f, text):
    with pytest.raises(NotImplementedError, match=text) as caught:
        jit(f)(X)
    assert isinstance(caught.value, errors.FunctransError)


# ----- polynomials and covariances ----------------------------------------------------------------


@pytest.mark.parametrize("f", [
    np.poly, lambda x: np.poly(B[0, :, :3] + x[:3]), lambda x: np.polyval(x, A),
    lambda x: np.polyval(A[0], x),
    lambda x: np.polyadd(x, A[0]), lambda x: np.polysub(A[0], x), lambda x: np.polymul(x, A[0]),
    lambda x: np.polydiv(x, A[0])[0], lambda x: np.polydiv(A[0], x)[1], lambda x: np.polydiv(x, A[0])[1],
    lambda x: np.polydiv(x, x[:1])[0], np.polyder, lambda x: np.polyder(x, 3), lambda x: np.polyder(x, 7),
    np.polyint, lambda x: np.polyint(x, 2, [1, 2.5]), lambda x: np.polyint(x, 3, 2),
    lambda x: np.polyint(x, 0),
    lambda x: np.polyfit(x, x ** 2 + np.sin(x), 2), lambda x: np.polyfit(A[0], x[:4], 1, w=np.abs(x[2:])),
    lambda x: np.polyfit(A[0], A.T * x[0], 1), lambda x: np.polyfit(x, np.cos(x), 1, cov=True)[1],
    lambda x: np.polyfit(x, np.cos(x), 2, cov="unscaled")[1],
    lambda x: np.polyfit(A[0], A.T * x[:3], 1, cov=True)[1], lambda x: np.polyfit(x, x, 1, full=True)[3],
    lambda x: np.sum(np.abs(np.roots(x)) ** 2),
    np.cov, lambda x: np.cov(A * x[:4], x[1:5]), lambda x: np.cov(A + x[0] * A[::-1] ** 2, rowvar=False),
    lambda x: np.cov(x, x ** 2, rowvar=False), lambda x: np.cov(x[:3, None], A.T[:1], rowvar=False),
    lambda x: np.cov(A + np.sin(x[:4]), bias=True), lambda x: np.cov(A * x[:4], ddof=2),
    lambda x: np.cov(A * x[:4], fweights=np.arange(4)), lambda x: np.cov(A * x[:4], aweights=x[:4] ** 2),
    lambda x: np.cov(A * x[:4], aweights=x[:4] ** 2, fweights=[1, 2, 0, 3], ddof=0),
    lambda x: np.corrcoef(A + np.sin(x[:4])), lambda x: np.corrcoef(x, x ** 2)], ids=range(38))
def test_polynomials_and_covariances(f):
    same(f, X, rtol=1e-10)
    gradients(f, X, tol=1e-5)
    np.testing.assert_allclose(vmap(f)(np.stack([X, X * 2 + 1]))[1], f(X * 2 + 1), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "complex64", "complex128"])
def test_dtypes_of_polynomials(dtype):
    x = np.array([1, 2, 3, 5], dtype)
    for f in (np.poly if x.dtype.kind != "c" else np.polyder, np.polyder, np.polyint,
              lambda x: np.polyval(x, x), lambda x: np.polyadd(x, x[:2]),
              lambda x: np.polydiv(x, x[:2]), np.cov, lambda x: np.polyfit(np.arange(4), x, 1),
              lambda x: np.cov(x, dtype="f4") if x.dtype.kind != "c" else x):
        same(f, x)
    same(np.cov, Z)
    same(np.corrcoef, Z)


def test_roots():
    np.testing.assert_allclose(np.sort_complex(jit(np.roots)(np.array([2.0, -6, 4]))), [1, 2])
    # zeros at both ends are dropped where values are known: r' = -v(r) / p'(r) for the factors v of p
    p = np.array([0, 1.0, -3, 2, 0])
    np.testing.assert_allclose(grad(lambda p: np.roots(p)[0].real)(p), [0, -4, -2, -1, 0])
    same(np.roots, np.array([3.0]))
    with pytest.raises(errors.ShapeError, match="one axis"):
        jit(np.roots)(A)


# ----- functions of functions ---------------------------------------------------------------------


PIECES = [lambda x: -x, lambda x: x ** 2]


@pytest.mark.parametrize("f", [
    lambda x: np.piecewise(x, [x < 0, x > 2.5], PIECES),
    lambda x: np.piecewise(x, [x < 0, x > -3], [*PIECES, 7]),
    lambda x: np.piecewise(x, x < 0, [PIECES[1], 3.0]), lambda x: np.piecewise(x[1], x[1] < 0, PIECES),
    lambda x: np.piecewise(x, [x < 0], [lambda x, a, b=1: a * x + b], 2.0, b=5),
    lambda x: np.apply_along_axis(lambda r: np.outer(r, r[:2]), 0, B * x[:4]),
    lambda x: np.apply_along_axis(lambda r: np.outer(r, r[:2]), 1, B * x[:4]),
    lambda x: np.apply_along_axis(np.cumsum, -1, B * x[:4]), lambda x: np.apply_along_axis(np.sum, 0, x),
    lambda x: np.apply_over_axes(np.sum, B * x[:4], [0, -1]),
    lambda x: np.apply_over_axes(np.cumsum, B * x[:4], 1),
    lambda x: np.resize(x, (5, 4)), lambda x: np.resize(x, 3), np.unwrap,
    lambda x: np.unwrap(A * x[:4], axis=0, discont=5, period=4)], ids=range(15))
def test_functions_of_functions(f):
    same(f, X)
    gradients(f, X)
    np.testing.assert_allclose(vmap(f)(np.stack([X, X + 0.5]))[1], f(X + 0.5))


def test_piecewise_does_not_poison_and_keeps_the_dtype():
    x = np.array([-1.0, 4.0])
    got = grad(lambda x: np.sum(np.piecewise(x, [x > 0], [np.sqrt, 0.0])))(x)
    np.testing.assert_array_equal(got, [0, 0.25])
    same(lambda x: np.piecewise(x, [x < 0], [lambda x: x * 1.5, 3.7]), X.astype(int))
    with pytest.raises(errors.ArgumentError, match="3 functions for 1 conditions"):
        jit(lambda x: np.piecewise(x, [x < 0], [1, 2, 3]))(x)


def test_vectorize():
    def plain(a, b):
        return a - b if a > b else a + b

    def batched(a, b):
        return np.where(a > b, a - b, a + b)
    f = fnp.vectorize(batched)
    for args in ((X, A[:, 1:2]), (X[0], X[1]), (X[0], X), (X[:, None, None], B[0])):
        np.testing.assert_array_equal(jit(f)(*args), np.vectorize(plain)(*args))
    np.testing.assert_array_equal(fnp.vectorize(plain)(X, 1.0), np.vectorize(plain)(X, 1.0))
    np.testing.assert_allclose(grad(lambda x: f(x, A[:, :1]).sum())(X[:2]), [3, 3])
    power = fnp.vectorize(lambda a, k=2: a ** k, excluded={"k", 1})
    np.testing.assert_array_equal(jit(lambda x: power(x, 3) + power(x, k=1))(X), X ** 3 + X)
    assert jit(lambda x: fnp.vectorize(lambda a: 1.0)(x))(A).shape == A.shape


def test_vectorize_as_decorator_with_signature():
    @fnp.vectorize(otypes=[np.float32, int], doc="twice")
    def both(a):
        return a * 2, a
    two, one = jit(lambda x: both(x))(X)
    assert both.__doc__ == "twice" and two.dtype == np.float32 and one.dtype == int
    product = fnp.vectorize(lambda m, v: m @ v, signature="(m,n),(n)->(m)")
    np.testing.assert_allclose(jit(product)(B, A[:1]), B @ A[0])
    np.testing.assert_allclose(product(B, A[0]), B @ A[0])
    with pytest.raises(errors.ShapeError, match=r"dimension n is 4 and, in argument 1, 6 long"):
        jit(product)(B, X)
    with pytest.raises(errors.ShapeError, match=r"not scalars.*\n.*\n.*signature"):
        jit(fnp.vectorize(lambda a: np.stack([a, a])))(X)
    with pytest.raises(ValueError, match="not a valid gufunc signature"):
        fnp.vectorize(abs, signature="n->m")


# ----- the rest -----------------------------------------------------------------------------------


def test_positions_past_nan():
    for f in (np.nanargmax, np.nanargmin, lambda x: np.nanargmax(x, 1, keepdims=True),
              lambda x: np.nanargmin(x, 0)):
        same(f, HOLES)
        same(f, np.array([[3, 1], [2, 9]]))
    assert jit(np.nanargmax)(np.full(3, np.nan)) == -1
    with pytest.raises(ValueError, match="All-NaN"):
        grad(lambda x: x[np.nanargmin(x)])(np.full(3, np.nan))


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_bits(axis, order):
    for dtype in ("bool", "int32", "uint8"):
        same(lambda x: np.packbits(x, axis=axis, bitorder=order), sample((9, 11), dtype))
    x = np.random.default_rng(0).integers(0, 256, (3, 5)).astype(np.uint8)
    for count in (None, 3, -2, 60):
        same(lambda x, n=count: np.unpackbits(x, axis=axis, count=n, bitorder=order), x)
    with pytest.raises(errors.DtypeError, match="uint8"):
        jit(np.unpackbits)(X)


def test_unwrap_of_dtypes():
    y = np.array([0, 1, 2, 8, 9, 15, 3, 100, 50, 0])
    for dtype in ("int64", "int8", "float64"):
        same(np.unwrap, y.astype(dtype))
        same(lambda y: np.unwrap(y, period=4), y.astype(dtype))


def test_signs_of_infinity():
    for x in (X, np.array([np.inf, -np.inf, np.nan], np.float32), np.arange(3)):
        same(np.isposinf, x)
        same(np.isneginf, x)
    with pytest.raises(errors.DtypeError):
        jit(np.isposinf)(Z)


def test_shapes_that_depend_on_values():
    got = grad(lambda x: np.sum(np.trim_zeros(x, "b")[1:] ** 2))(np.array([0, 1.0, 0, 2, 0]))
    np.testing.assert_array_equal(got, [0, 2, 0, 4, 0])
    assert vmap(lambda x: x + np.trim_zeros(np.array([[0, 0], [0, 3]])).sum())(X)[0] == 4
    assert jit(np.real_if_close)(X).dtype == float
    got = grad(lambda z: np.sum(np.real_if_close(z.real + 0j)).real)(Z)
    np.testing.assert_array_equal(got, np.ones(Z.shape))
    for f in (np.trim_zeros, np.real_if_close, fnp.asarray_chkfinite):
        with pytest.raises(errors.ConcretizationError):
            jit(f)(X + 0j)


def test_types_and_texts():
    def f(x):
        assert np.result_type(x, np.float64) == np.float64 and np.result_type(x, 1.0) == np.float32
        assert np.common_type(x, np.arange(3)) is np.float64 and np.min_scalar_type(x) == np.float32
        assert np.can_cast(x, "f8") and not np.can_cast(x, "i4")
        assert fnp.isscalar(x[0]) and not fnp.isscalar(x)
        assert not np.shares_memory(x, x) and not np.isfortran(x) and x.flags.c_contiguous
        assert "f32[6]" in np.array_str(x) and np.einsum_path("i,i", x, x)[0][0] == "einsum_path"
        assert np.iterable(x) and x.device == "cpu" and not x.flags.writeable
        assert [at for at, _ in fnp.ndenumerate(x)] == [(i,) for i in range(6)]
        with pytest.raises(ValueError, match="gpu"):
            x.to_device("gpu")
        return fnp.require(x.to_device("cpu"), None, "C") + fnp.asfortranarray(x)
    np.testing.assert_array_equal(jit(f)(X.astype(np.float32)), 2 * X)
    with pytest.raises(errors.InPlaceError, match="writeable"):
        jit(lambda x: fnp.require(x, None, ["W"]))(X)


def test_kaiser():
    if not hasattr(fnp, "i0"):
        return
    np.testing.assert_allclose(jit(lambda b: fnp.kaiser(7, b))(3.0), np.kaiser(7, 3.0), rtol=1e-13)
    slope = (np.kaiser(7, 3.00001) - np.kaiser(7, 2.99999)) / 2e-5
    np.testing.assert_allclose(grad(lambda b: fnp.kaiser(7, b).sum())(3.0), slope.sum(), rtol=1e-7)
