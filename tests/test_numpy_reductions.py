"""NumPy's reductions, cumulative functions and differences on traced arrays, against NumPy itself."""

import warnings

import numpy as np
import pytest
from against_numpy import DTYPES, gradients, same, sample
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans
import functrans.numpy as fnp
from functrans import errors

fnp._load_all()                 # numpy.f(traced) is looked up by them, too
REDUCTIONS = ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "argmax", "argmin",
              "count_nonzero", "nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd",
              "cumsum", "cumprod", "nancumsum", "nancumprod"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_dtypes(name, dtype):
    f = getattr(np, name)
    x = sample((3, 4), dtype)
    same(lambda x: f(x), x)
    same(lambda x: f(x, axis=1), x)
    same(lambda x: f(x, axis=0), sample((3, 0), dtype))
    if hasattr(np.ndarray, name):
        same(lambda x: getattr(x, name)(0), x)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "cumsum", "cumprod"])
@pytest.mark.parametrize("source", ["bool", "int8", "uint8", "int64", "float32", "float64"])
def test_dtype_argument(name, dtype, source):
    f = getattr(np, name)
    x = np.abs(sample((3, 4), source))
    if name != "std" or dtype[0] == "f":      # NumPy refuses to write the root into integers
        same(lambda x: f(x, axis=0, dtype=dtype), x)


def test_dtype_bool():
    x = sample((3, 4), "int8")
    same(lambda x: np.sum(x, 0, dtype=bool), x)
    same(lambda x: np.prod(x, 0, dtype=bool), x)


AXIS_SAFE = [n for n in REDUCTIONS if not n.startswith(("arg", "cum", "nancum"))]


@st.composite
def shape_and_axis(draw):
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    n = len(shape)
    axis = draw(st.none() | (st.integers(-n, n - 1) if n else st.none()) | st.lists(
        st.integers(0, max(n - 1, 0)), unique=True, max_size=n).map(tuple))
    return shape, axis


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(AXIS_SAFE), shape_and_axis(), st.booleans(),
       st.sampled_from(["float64", "float32", "int16", "bool"]), st.integers(0, 99))
def test_axes(name, case, keepdims, dtype, seed):
    shape, axis = case
    f = getattr(np, name)
    x = sample(shape, dtype, seed)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            f(x, axis=axis, keepdims=keepdims)
    except ValueError:
        with pytest.raises(ValueError):
            functrans.jit(lambda x: f(x, axis=axis, keepdims=keepdims))(x)
        return
    same(lambda x: f(x, axis=axis, keepdims=keepdims), x)


@pytest.mark.parametrize("name", [n for n in AXIS_SAFE if n != "count_nonzero"])
def test_where(name):
    x = sample((3, 4))
    mask = sample((3, 4), "bool", 3)
    initial = {"initial": 0.5} if name.endswith(("max", "min")) else {}
    f = getattr(np, name)
    for m in (mask, mask[0], True, np.True_, [[True], [False], [True]]):
        same(lambda x, m=m: f(x, axis=1, where=m, **initial), x)
        same(lambda x, m=m: f(x, where=m, keepdims=True, **initial), x)
    same(lambda x, m: f(x, axis=0, where=m > 0.5, **initial), x, mask * 1.0)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "nansum", "nanprod", "nanmax", "nanmin"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "int64"])
def test_initial(name, dtype):
    f = getattr(np, name)
    x = sample((3, 4), dtype)
    for initial in (2, -1, 0):
        same(lambda x, i=initial: f(x, axis=0, initial=i), x)
        same(lambda x, i=initial: f(x, axis=1, initial=i), x[:, :0])
        same(lambda x, i=initial: f(x, keepdims=True, initial=i), x[:0])
    if dtype == "float64":
        same(lambda x, i: fnp.sum(x, 0, initial=i) + fnp.max(x, 0, initial=i), x, np.float64(0.3))


def test_nan_values():
    x = sample((4, 5))
    x[0, 1] = x[2] = np.nan
    for dtype in ("float64", "float32"):
        y = x.astype(dtype)
        for name in REDUCTIONS:
            f = getattr(np, name)
            for axis in (None, 0, 1):
                same(lambda x, f=f, axis=axis: f(x, axis=axis), y)
        same(lambda x: np.nanvar(x, 1, ddof=4), y)
        same(lambda x: np.nanstd(x, 0, ddof=2), y)
        same(lambda x: np.nanmean(x, 1, where=x > 0), y)
    same(lambda x: np.nanmean(x, dtype=np.float64), x.astype(np.float32))
    with pytest.raises(errors.DtypeError):
        functrans.jit(lambda x: np.nanmean(x, dtype=np.int64))(x)


def test_variance_options():
    x = sample((3, 4))
    same(lambda x: np.var(x, 0, ddof=1), x)
    same(lambda x: np.std(x, 0, ddof=3), x)
    same(lambda x: np.var(x, 0, ddof=5), x)
    same(lambda x: np.var(x, 1, ddof=0.5, keepdims=True), x)
    same(lambda x: np.var(x, 1, correction=1), x)
    same(lambda x: np.std(x, 1, mean=np.mean(x, 1, keepdims=True)), x)
    same(lambda x: np.var(x, 1, ddof=1, where=x > 0), x)
    with pytest.raises(ValueError):
        functrans.jit(lambda x: np.var(x, ddof=1, correction=1))(x)


def test_average():
    x = sample((3, 4))
    w = np.arange(1.0, 5.0)
    same(lambda x: np.average(x), x)
    same(lambda x: np.average(x, 0, keepdims=True), x)
    same(lambda x, w: np.average(x, 1, w), x, w)
    same(lambda x: np.average(x, 1, [1, 2, 3, 4]), x)
    same(lambda x, w: np.average(x, (1, 0), w), x, sample((4, 3), seed=3) ** 2)
    same(lambda x, w: np.average(x, 1, w, returned=True), x, w)
    same(lambda x: np.average(x, 0, returned=True), x)
    same(lambda x: np.average(x, 0), x.astype("float32"))
    same(lambda x, w: np.average(x, 0, w), sample((3,), "float32"), np.ones(3, "float32"))
    same(lambda x, w: np.average(x, 0, w), sample((3,), "int32"), np.ones(3, "float32"))
    gradients(lambda x, w: np.average(x, 1, w), x, w)
    with pytest.raises(ZeroDivisionError):
        functrans.jit(lambda x: np.average(x, weights=np.zeros(4), axis=1))(x)
    with pytest.raises(TypeError):
        functrans.jit(lambda x: np.average(x, weights=w))(x)
    with pytest.raises(errors.ShapeError):
        functrans.jit(lambda x: np.average(x, 0, weights=w))(x)


def test_ptp_and_counts():
    x = sample((3, 4))
    same(lambda x: np.ptp(x, 1), x)
    same(lambda x: np.ptp(x, None, keepdims=True), sample((3, 4), "int8"))
    same(lambda x: np.count_nonzero(x > 0, axis=(0,), keepdims=True), x)
    same(lambda x: np.count_nonzero(x, ()), x)
    same(lambda x: np.argmax(x, keepdims=True), x)
    same(lambda x: np.argmin(x, -1, keepdims=True), x)
    same(lambda x: np.argmax(x), np.float64(2.0))
    same(lambda x: x.argmax(axis=0), np.zeros((0, 3)).T)


def test_cumulative():
    x = sample((3, 4))
    for f in (np.cumsum, np.cumprod):
        for axis in (None, 0, 1, -1):
            same(lambda x, f=f, axis=axis: f(x, axis), x)
        same(lambda x, f=f: f(x, 0), np.float64(3.0))
        same(lambda x, f=f: f(x), np.zeros((0, 2)))
    if hasattr(np, "cumulative_sum"):
        for f in (np.cumulative_sum, np.cumulative_prod):
            same(lambda x, f=f: f(x, axis=1, include_initial=True), x)
            same(lambda x, f=f: f(x, axis=0), sample((3, 4), "int8"))
            same(lambda x, f=f: f(x, include_initial=True), x[0])
            with pytest.raises(ValueError):
                functrans.jit(lambda x, f=f: f(x))(x)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin,
                                   np.logaddexp, np.logical_and, np.logical_or])
def test_ufunc_reduce(ufunc):
    for x in (sample((3, 4)), sample((3, 4), "float32"), sample((3, 4), "int64"), sample((4,))):
        same(lambda x: ufunc.reduce(x), x)
        same(lambda x: ufunc.reduce(x, axis=None), x)
        same(lambda x: ufunc.reduce(x, axis=-1, keepdims=True), x)
        if ufunc not in (np.fmax, np.fmin):
            same(lambda x: ufunc.reduce(x, initial=1, where=x > 0), x)
    if ufunc in (np.add, np.multiply, np.logaddexp, np.logical_and, np.logical_or):
        same(lambda x: ufunc.reduce(x), np.zeros((0, 3)))
    same(lambda x: ufunc.reduce(x), np.array([np.nan, 1.0, 2.0]))


def test_ufunc_reduce_special():
    same(lambda x: np.logaddexp.reduce(x), np.array([-np.inf, -np.inf]))
    same(lambda x: np.logaddexp.reduce(x), np.array([np.inf, 1.0]))
    same(lambda x: np.logaddexp.reduce(x), np.array([1000.0, 1001.0]))
    for dtype in ("int8", "uint16", "bool"):
        same(lambda x: np.bitwise_or.reduce(x), sample((3, 4), dtype))
        same(lambda x: np.bitwise_and.reduce(x, axis=1, where=x > 0), sample((3, 4), dtype))
    same(lambda x: np.add.reduce(x, dtype="float32"), sample((3,), "int8"))
    same(lambda x: np.maximum.reduce(x, dtype="float32"), sample((3,), "int8"))
    gradients(lambda x: np.logaddexp.reduce(x, axis=1), sample((3, 4)))
    g = functrans.grad(lambda x: np.logaddexp.reduce(x))(np.array([-np.inf, 1.0]))
    np.testing.assert_array_equal(g, [0.0, 1.0])


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logaddexp])
def test_ufunc_accumulate(ufunc):
    for dtype in ("float64", "float32", "int64", "int32"):
        x = sample((3, 4), dtype)
        same(lambda x: ufunc.accumulate(x), x)
        same(lambda x: ufunc.accumulate(x, axis=1), x)
    gradients(lambda x: ufunc.accumulate(x, axis=1), sample((3, 4)))


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "nansum", "nanmean",
                                  "nanmax", "nanmin", "nanprod", "nanvar", "nanstd", "cumsum", "cumprod",
                                  "ptp"])
def test_gradients(name):
    f = getattr(np, name)
    x = sample((3, 4))
    for axis in (None, 0, 1):
        gradients(lambda x, axis=axis: f(x, axis=axis), x)
    if name.startswith("nan"):
        x = x.copy()
        x[1, 2] = x[0] = np.nan
        g = functrans.grad(lambda x: np.nansum(f(x, axis=1)))(x)
        assert np.isfinite(g).all() and (g[0] == 0).all() and g[1, 2] == 0
        k = functrans.grad(lambda y: f(y))(x[2])
        if name != "nanprod":
            np.testing.assert_allclose(g[2], k, rtol=1e-12)


def test_gradients_at_kinks():
    ones = np.ones(4)
    for f in (np.var, np.std, np.nanvar, np.nanstd):
        np.testing.assert_array_equal(functrans.grad(f)(ones), 0.0)
        np.testing.assert_array_equal(functrans.jacfwd(f)(ones), 0.0)
    np.testing.assert_array_equal(functrans.grad(np.max)(ones), 0.25)
    np.testing.assert_array_equal(functrans.grad(np.min)(np.array([1.0, 1.0, 2.0])), [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(functrans.grad(np.prod)(np.array([0.0, 2.0, 3.0])), [6.0, 0.0, 0.0])
    np.testing.assert_array_equal(functrans.grad(np.prod)(np.array([0.0, 0.0, 3.0])), 0.0)
    np.testing.assert_array_equal(functrans.grad(np.prod)(np.array([[2.0, 0.0], [5.0, 3.0]])),
                                  [[0.0, 30.0], [0.0, 0.0]])
    mask = np.array([True, False, True, True])
    np.testing.assert_array_equal(functrans.grad(lambda x: np.max(x, initial=-1.0, where=mask))(ones),
                                  mask / 3)
    x = np.array([np.inf, 1.0, 2.0])
    np.testing.assert_array_equal(functrans.grad(lambda x: np.sum(x, where=np.isfinite(x)))(x),
                                  [0.0, 1.0, 1.0])


def test_second_derivatives():
    x = sample((4,))
    np.testing.assert_allclose(functrans.hessian(np.var)(x), 0.5 * (np.eye(4) - 0.25), atol=1e-12)
    h = functrans.hessian(np.prod)(np.array([2.0, 3.0, 5.0]))
    np.testing.assert_allclose(h, [[0, 5, 3], [5, 0, 2], [3, 2, 0]], atol=1e-12)


def test_vmap():
    x = sample((5, 3, 4))
    for f in (np.sum, np.max, np.std, np.argmax, np.nanmean, np.cumsum, np.ptp, np.any):
        for axis in (0, 1):
            want = np.stack([f(y, axis=axis) for y in x])
            got = functrans.vmap(lambda y, f=f, axis=axis: f(y, axis=axis))(x)
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_weak_results_are_strong():
    x = np.ones(2, np.float32)
    for f in (np.sum, np.mean, np.max, np.cumsum, np.prod):
        assert functrans.jit(lambda a, x, f=f: f(a) * x)(2.0, x).dtype == (f(2.0) * x).dtype


def test_scalars():
    x = np.float64(3.0)
    same(lambda x: np.sum(x, axis=0), x)
    same(lambda x: np.max(x, axis=-1), x)
    same(lambda x: x.sum(keepdims=True), x)
    for f in (np.mean, np.var):
        with pytest.raises(errors.AxisError):
            functrans.jit(lambda x, f=f: f(x, axis=0))(x)


def test_errors():
    x = sample((3, 4))
    jit = functrans.jit
    for axis in (2, -3):
        with pytest.raises(errors.AxisError):
            jit(lambda x, axis=axis: np.sum(x, axis=axis))(x)
    with pytest.raises(ValueError):
        jit(lambda x: np.sum(x, axis=(0, 0)))(x)
    with pytest.raises((TypeError, errors.AxisError)):
        jit(lambda x: np.sum(x, axis=(0, 1.0)))(x)
    with pytest.raises(errors.InPlaceError):
        jit(lambda x: np.sum(x, axis=0, out=np.zeros(4)))(x)
    with pytest.raises(errors.DtypeError):
        jit(lambda x: np.sum(x, where=np.ones(4)))(x)
    with pytest.raises(errors.ShapeError):
        jit(lambda x: np.sum(x, where=np.ones((2, 3, 4), bool)))(x)
    with pytest.raises(errors.ShapeError):
        jit(lambda x: np.sum(x, initial=np.ones(2)))(x)
    with pytest.raises(ValueError):
        jit(lambda x: np.max(x, where=x > 0))(x)
    for f in (np.max, np.min, np.argmax, np.nanmax, np.ptp):
        with pytest.raises(errors.ShapeError):
            jit(lambda x, f=f: f(x, axis=0))(x[:0])
    with pytest.raises(AttributeError):
        jit(lambda x: x.ptp())(x)
    with pytest.raises(TypeError):
        jit(lambda x: np.ptp(x))(x > 0)
    with pytest.raises(OverflowError):
        jit(lambda x: np.max(x, initial=1000))(np.ones(3, np.int8))
    with pytest.raises(errors.NotSupportedError):
        jit(lambda x: np.power.reduce(x))(x)


def test_untraced_calls_are_numpys():
    x = sample((3, 4))
    assert type(fnp.sum(x, 0)) is np.ndarray
    np.testing.assert_array_equal(fnp.mean(x, axis=1), np.mean(x, axis=1))
    assert fnp.sum([1, 2, 3]) == 6


# ----- differences ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_diff_dtypes(dtype):
    x = sample((3, 4), dtype)
    same(lambda x: np.diff(x), x)
    same(lambda x: np.diff(x, 2, 0), x)
    same(lambda x: np.diff(x, 5), x)
    same(lambda x: np.diff(x, axis=0), x[:0])
    if dtype != "bool":
        same(lambda x: np.ediff1d(x), x)
        same(lambda x: np.ediff1d(x, to_begin=x[0], to_end=x[:1]), x)
        if dtype[0] != "u":
            same(lambda x: np.gradient(x), x)
            same(lambda x: np.trapezoid(x, axis=0), x)


def test_diff_options():
    x = sample((3, 4))
    same(lambda x: np.diff(x, prepend=0), x)
    same(lambda x: np.diff(x, append=x[:, :2], prepend=x[:, :1]), x)
    same(lambda x: np.diff(x, axis=0, append=1.5), x)
    gradients(lambda x, y: np.diff(x, 2, prepend=y), x, np.float64(0.7))
    for bad in (lambda x: np.diff(x, -1), lambda x: np.diff(x[0, 0])):
        with pytest.raises(ValueError):
            functrans.jit(bad)(x)
    with pytest.raises(errors.DtypeError):
        functrans.jit(lambda x: np.ediff1d(x, to_end=2.5))(np.arange(3))


def test_gradient():
    x = sample((5, 6))
    places = np.cumsum(np.random.default_rng(1).random(6) + 0.1)
    for order in (1, 2):
        same(lambda x, o=order: np.gradient(x, edge_order=o), x)
        same(lambda x, o=order: np.gradient(x, 2, edge_order=o), x)
        same(lambda x, o=order: np.gradient(x, 0.5, places, edge_order=o), x)
        same(lambda x, p, o=order: np.gradient(x, p, axis=1, edge_order=o), x, places)
        same(lambda x, h, o=order: np.gradient(x, h, axis=(1,), edge_order=o), x, np.float64(0.3))
        same(lambda x, o=order: np.gradient(x, np.arange(6), axis=-1, edge_order=o), x)
        same(lambda x, o=order: np.gradient(x, axis=0, edge_order=o), x[:3])
        gradients(lambda x, p, o=order: np.gradient(x, p, axis=1, edge_order=o), x, places, tol=1e-5)
    same(lambda x: np.gradient(x), x[0].astype("float32"))
    same(lambda x: np.gradient(x, np.float64(2)), x[0].astype("float32"))
    same(lambda x: np.gradient(x), x[0, :2])
    for bad in (lambda x: np.gradient(x[:1, 0]), lambda x: np.gradient(x[:2, 0], edge_order=2),
                lambda x: np.gradient(x, places, axis=0), lambda x: np.gradient(x, edge_order=3)):
        with pytest.raises(ValueError):
            functrans.jit(bad)(x)
    with pytest.raises(TypeError):
        functrans.jit(lambda x: np.gradient(x, 1, 2, 3))(x)


def test_trapezoid():
    y, x = sample((3, 4)), np.cumsum(np.abs(sample((3, 4), seed=1)), 1)
    same(lambda y: np.trapezoid(y), y)
    same(lambda y: np.trapezoid(y, dx=0.5, axis=0), y)
    same(lambda y, x: np.trapezoid(y, x), y, x)
    same(lambda y, x: np.trapezoid(y, x, axis=0), y, x[0, :3])
    same(lambda y: np.trapezoid(y), y[:, :1])
    gradients(lambda y, x: np.trapezoid(y, x), y, x)
