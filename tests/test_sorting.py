"""Order: sorting kernels on hard data, quantiles, sets, histograms, associative scans, against NumPy."""

import numpy as np
import pytest
from against_numpy import gradients, same, sample

import functrans as ft
import functrans.numpy as fnp
from functrans import errors, grad, jit, lax, vmap
from functrans.ir.op import OPS

SIZES = (1, 2, 15, 16, 17, 64, 65, 255, 1000, 20_000, 70_000)


def hard_floats(n, dtype):
    """Arrays that take different ways through the kernels: ties, nan, both zeros, close neighbours."""
    r = np.random.default_rng(n)
    eps = np.finfo(dtype).eps
    yield r.normal(size=n)
    yield r.choice([-np.nan, np.nan, 0.0, -0.0, 1.0, np.inf, -np.inf], n)
    yield 1 + r.integers(0, 1000, n) * eps
    yield np.where(r.random(n) < 0.5, 1 + r.integers(0, 50, n) * eps, r.normal(size=n))
    yield np.exp(r.normal(size=n) * 10)
    yield np.sort(r.normal(size=n))[::-1]


def hard_integers(n, dtype):
    r, info = np.random.default_rng(n), np.iinfo(dtype)
    yield r.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    yield r.choice(np.array([info.min, info.max, 0, 1], dtype), n)
    yield r.integers(0, 2, n) * (info.max // 2) + r.integers(0, 60, n)


def order(x, descending):
    """What a stable sort gives, by NumPy."""
    if not descending:
        return np.argsort(x, kind="stable")
    return len(x) - 1 - np.argsort(x[::-1], kind="stable")[::-1]


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u8", "i4", "u4", "i2", "u1"])
@pytest.mark.parametrize("size", SIZES)
def test_kernels(size, dtype):
    for x in (hard_floats if dtype[0] == "f" else hard_integers)(size, dtype):
        x = np.asarray(x).astype(dtype)
        want = np.sort(x, kind="stable")
        got = OPS["sort"](x, axis=0)
        np.testing.assert_array_equal(got, want)
        if dtype[0] == "f":
            np.testing.assert_array_equal(np.signbit(got)[want == 0], np.signbit(want)[want == 0])
        for descending in (False, True):
            np.testing.assert_array_equal(OPS["argsort"](x, axis=0, descending=descending),
                                          order(x, descending))
        for k in {0, 1, size // 20, size // 3}:
            np.testing.assert_array_equal(OPS["top_k"](x, k=k, axis=0), order(x, True)[:k])
        for side in ("left", "right"):
            np.testing.assert_array_equal(OPS["searchsorted"](want, x, right=side == "right"),
                                          np.searchsorted(want, x, side))


@pytest.mark.parametrize("shape", [(300, 20), (20, 300), (3, 70_000)])
def test_threads(shape):
    x = np.random.default_rng(0).normal(size=shape).round(2)
    before = ft.get_num_threads()
    try:
        for threads in (1, 2):
            ft.set_num_threads(threads)
            for axis in (0, 1):
                np.testing.assert_array_equal(OPS["sort"](x, axis=axis), np.sort(x, axis))
                np.testing.assert_array_equal(OPS["argsort"](x, axis=axis, descending=False),
                                              np.argsort(x, axis, kind="stable"))
    finally:
        ft.set_num_threads(before)


def spread_out(shape, dtype, kind, seed=0):
    """Numbers for selection: like normal ones, few different ones with nan and -0, many magnitudes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if kind == "ties":
        x = np.round(x)
        x[..., 3:5] = np.nan if np.dtype(dtype).kind == "f" else 0.0, -0.0
    elif kind == "far":
        x = x * np.exp(20.0 * rng.normal(size=shape)) if dtype == "float64" else 9.0 * x
    return x.astype(dtype)


@pytest.mark.parametrize("kind", ["plain", "ties", "far"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "uint64", "int8", "bool"])
def test_partition(dtype, kind):
    """A part's elements, sorted, are those of the sorted row; kth elements are in place; two threads, one."""
    for shape in ((7,), (70,), (3, 1500), (70_000,)):
        with np.errstate(invalid="ignore"):
            x = spread_out(shape, dtype, kind)
        want, n = np.sort(x), shape[-1]
        for kth in (0, n // 2, -1, (1, n // 3, n // 2)):
            found = jit(lambda x, k=kth: np.partition(x, k))(x)
            places = jit(lambda x, k=kth: np.argpartition(x, k))(x)
            np.testing.assert_array_equal(np.take_along_axis(x, places, -1), found)
            np.testing.assert_array_equal(np.sort(places), np.broadcast_to(np.arange(n), shape))
            for k in np.atleast_1d(kth) % n:
                np.testing.assert_array_equal(found[..., k], want[..., k])
                np.testing.assert_array_equal(np.sort(found[..., :k]), want[..., :k])
            with ft.threads(1):
                np.testing.assert_array_equal(jit(lambda x, k=kth: np.argpartition(x, k))(x), places)
        same(lambda x, k=[n // 2, 0, n - 1, n // 2, 5]: OPS["argselect"](x, np.array(k)) if ft_traced(x)
             else np.argsort(x, kind="stable")[..., k], x)


def ft_traced(x):
    return not isinstance(x, np.ndarray)


def test_partition_elsewhere():
    x = sample((4, 9))
    for axis in (0, 1, None):
        np.testing.assert_array_equal(jit(lambda x, a=axis: np.partition(x, 3, a))(x).take(3, axis),
                                      np.sort(x, axis).take(3, axis))
    gradients(lambda x: fnp.partition(x, (2, 5), 1), x)
    gradients(lambda x: np.partition(x, range(9), 1), x)
    np.testing.assert_array_equal(fnp.partition(x, 3), jit(lambda x: np.partition(x, 3))(x))
    rows = sample((3, 50))
    found = vmap(lambda r, k: OPS["argselect"](r, k))(rows, np.array([[0, 1], [2, 3], [49, 4]]))
    np.testing.assert_array_equal(found[2], np.argsort(rows[2])[[49, 4]])
    with pytest.raises(ValueError, match="kth 9 is out of bounds"):
        jit(lambda x: np.partition(x, 9))(x)
    # at ties the derivative follows the stable order
    np.testing.assert_array_equal(ft.grad(np.median)(np.array([1.0, 2.0, 0.0, 2.0, 2.0])), [0, 1, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool", "uint8"])
def test_sorting_functions(dtype):
    x = sample((3, 5), dtype)
    for axis in (0, 1, None):
        same(lambda x, axis=axis: np.sort(x, axis), x)
        same(lambda x, axis=axis: np.argsort(x, axis, kind="stable"), x)
        same(lambda x, axis=axis: np.partition(np.sort(x, axis), 2, axis), x)
    same(lambda x: np.lexsort(x), x)
    same(lambda x: np.lexsort((x, x[::-1]), axis=0), x)
    flat = np.sort(x.ravel())
    for side in ("left", "right"):
        same(lambda a, v, side=side: np.searchsorted(a, v, side), flat, x)
    same(lambda a, v: np.searchsorted(a, v, sorter=np.argsort(a)), x.ravel(), x)
    same(lambda a: a.searchsorted([0.5, 1.5]), flat)
    same(lambda x: x.argsort(kind="stable"), x)


def test_descending_and_bins():
    x = sample((4, 3))
    np.testing.assert_array_equal(fnp.sort(x, descending=True), -np.sort(-x))
    np.testing.assert_array_equal(fnp.argsort(x, 0, descending=True), np.argsort(-x, 0))
    bins = np.array([0.0, 0.5, 1.0, 2.0])
    for right in (False, True):
        same(lambda x, r=right: np.digitize(x, bins, r), x)
        same(lambda x, b, r=right: np.digitize(x, b, r), x, bins[::-1])


def test_derivatives_of_sorting():
    gradients(lambda x: np.sort(x, 0), sample((5, 2)))
    gradients(lambda x: lax.top_k(x, 3)[0], sample((2, 9)))
    gradients(lambda x, y: lax.sort((x, y))[1], sample((2, 6)), sample((2, 6), seed=1))
    x = sample((4, 7))
    np.testing.assert_array_equal(vmap(lambda r: np.sort(r), 1, 1)(x), np.sort(x, 0))
    np.testing.assert_array_equal(jit(lambda x: np.median(x, 1))(x), np.median(x, 1))


METHODS = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf",
           "hazen", "weibull", "median_unbiased", "normal_unbiased", "linear", "lower", "higher", "midpoint",
           "nearest")


@pytest.mark.parametrize("method", METHODS)
def test_quantiles(method):
    for dtype in ("float64", "float32", "int64"):
        for n in (1, 5, 8):
            x = sample((3, n), dtype, seed=n)
            for q in (0.25, 0.0, 1.0, 0.37, [0.1, 0.6], np.array([[0.2], [0.9]])):
                for axis in (None, 0, 1, (0, 1)):
                    same(lambda x, q=q, a=axis: np.quantile(x, q, axis=a, method=method), x)
            same(lambda x: np.percentile(x, [5, 60], axis=1, method=method, keepdims=True), x)
    x = sample((4, 6))
    x[1, 2], x[2], x[3, 1] = np.nan, np.nan, np.inf
    for axis in (0, 1, None):
        same(lambda x, a=axis: np.quantile(x, [0.1, 0.8], axis=a, method=method), x)
        same(lambda x, a=axis: np.nanquantile(x, 0.3, axis=a, method=method), x)
    gradients(lambda x: np.quantile(x, 0.3, axis=1, method=method), sample((2, 7)))


def test_quantiles_more():
    y, w = sample((4, 6), seed=4), np.abs(sample((4, 6), seed=3))
    for q in (0.0, 0.3, [0.2, 0.9], 1.0):
        same(lambda y, w, q=q: np.quantile(y, q, axis=1, weights=w, method="inverted_cdf"), y, w)
        same(lambda y, w, q=q: np.quantile(y, q, axis=1, weights=w[0], method="inverted_cdf"), y, w)
    gradients(lambda x, q: np.quantile(x, q), sample((7,)), np.array([0.31, 0.77]))
    for shape in ((5,), (6,), (3, 4), (2, 0)):
        for dtype in ("float64", "float32", "int64", "bool"):
            for axis in [None, *range(len(shape))]:
                same(lambda x, a=axis: np.median(x, axis=a), sample(shape, dtype))
    gradients(lambda x: np.median(x, 0), sample((6, 2)))
    gradients(lambda x: np.nanmedian(x, 0), sample((6, 2)))
    with pytest.raises(ValueError, match="method must be one of"):
        jit(lambda x: np.quantile(x, 0.5, method="best"))(y)
    with pytest.raises(ValueError, match=r"range \[0, 1\]"):
        jit(lambda x: np.quantile(x, 1.5))(y)


# ----- sets ------------------------------------------------------------------------------------------

X, Y = np.array([3.0, 1, 3, 2, 7, 1]), np.array([2.0, 3, 9, 9])
SETS = {"union": (lambda x, y, **k: fnp.union1d(x, y, **k), 5),
        "intersection": (lambda x, y, **k: fnp.intersect1d(x, y, **k), 2),
        "difference": (lambda x, y, **k: fnp.setdiff1d(x, y, **k), 2),
        "exclusive": (lambda x, y, **k: fnp.setxor1d(x, y, **k), 3)}


@pytest.mark.parametrize("name", SETS)
def test_sets(name):
    """The same where values are known, and where they are not, with fill values behind."""
    f, count = SETS[name]
    want = f(X, Y)
    assert len(want) == count
    value, slope = ft.value_and_grad(lambda x: np.sum(f(x, Y) ** 2))(X)
    assert value == np.sum(want ** 2)
    assert np.count_nonzero(slope) == np.isin(want, X).sum()
    np.testing.assert_array_equal(jit(lambda x, y: f(x, y, size=6, fill_value=-1))(X, Y),
                                  [*want, *[-1] * (6 - count)])
    np.testing.assert_array_equal(jit(lambda x, y: f(x, y, size=1))(X, Y), want[:1])
    with pytest.raises(errors.ConcretizationError, match="size=n"):
        jit(f)(X, Y)


def test_unique():
    values, first, inverse, counts = np.unique(X, True, True, True)
    found = jit(lambda x: fnp.unique(x, True, True, True, size=5, fill_value=0))(X)
    np.testing.assert_array_equal(found[0], [*values, 0])
    np.testing.assert_array_equal(found[1][:4], first)
    np.testing.assert_array_equal(found[2], inverse)
    np.testing.assert_array_equal(found[3], [*counts, 0])
    rows = np.array([[1.0, 2], [0, 5], [1, 2]])
    for axis in (0, 1):
        want = np.unique(rows, True, True, True, axis)
        got = jit(lambda x, a=axis, n=want[0].shape[axis]: fnp.unique(x, True, True, True, a, size=n))(rows)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    holes = np.array([np.nan, 1.0, np.nan])
    assert jit(lambda x: fnp.unique(x, size=3, return_counts=True))(holes)[1].tolist() == [1, 2, 0]
    assert len(fnp.unique_values(holes)) == 3
    same(lambda x, y: np.isin(x, y), X.astype(int), Y)
    same(lambda x, y: np.isin(x, y, invert=True), X, Y[:0])


# ----- histograms and interpolation -------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"bins": 5}, {"bins": 5, "range": (-1, 1)}, {"density": True},
                                     {"bins": np.array([-1, 0, 0.5, 2])}], ids=str)
def test_histograms(options):
    x = sample((50,))
    for y in (x, x.astype("f4"), np.arange(20) % 7):
        same(lambda x: np.histogram(x, **options), y)
    same(lambda x, w: np.histogram(x, weights=w, **options), x, np.abs(x))
    gradients(lambda w: np.histogram(x, weights=w, **options)[0], np.abs(x))


def test_histograms_of_points():
    x = sample((50,))
    same(lambda x, y: np.histogram2d(x, y, 5), x, x ** 2)
    same(lambda x, y: np.histogram2d(x, y, [3, np.array([-1, 0, 1, 9.0])], density=True), x, x ** 2)

    def flat(x, *w, **options):
        counts, edges = np.histogramdd(x, weights=w[0] if w else None, **options)
        return (counts, *edges)

    same(lambda x: flat(x, bins=3), sample((40, 3)))
    same(lambda x, w: flat(x, w, bins=(3, 2, 4)), sample((40, 3)), np.abs(sample((40,))))
    at = np.array([3, 1, 3, 0])
    same(lambda w: np.bincount(at, w, minlength=9), sample((4,)))
    counts = vmap(lambda i: fnp.bincount(i, length=3))(np.array([[0, 1, 1], [2, 7, -1]]))
    assert counts.tolist() == [[1, 2, 0], [0, 0, 1]]


@pytest.mark.parametrize("options", [{}, {"left": -7.0, "right": 9.0}, {"period": 3.3}], ids=str)
def test_interp(options):
    xp, fp = np.array([0.0, 1.0, 2.5, 4.0]), sample((4,))
    at = np.array([-1.0, 0, 0.5, 1, 2.4, 2.5, 3.9, 4, 5, np.nan])
    same(lambda x, xp, fp: np.interp(x, xp, fp, **options), at, xp, fp)
    same(lambda x: np.interp(x, xp, fp, **options), 1.3)
    gradients(lambda x, xp, fp: np.interp(x, xp, fp, **options), np.array([0.3, 1.2, 3.0]), xp, fp)


# ----- lax ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 16, 33])
def test_associative_scan(n):
    x = sample((2, n))
    for reverse in (False, True):
        want = np.flip(np.cumsum(np.flip(x, 1), 1), 1) if reverse else np.cumsum(x, 1)
        got = lax.associative_scan(np.add, x, reverse, axis=1)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
    a, b = np.random.default_rng(n).uniform(0.5, 1.0, (2, n))

    def joined(p, q):                      # x -> a x + b, one after the other
        return {"a": p["a"] * q["a"], "b": q["a"] * p["b"] + q["b"]}

    def recurrence(a, b):
        return lax.associative_scan(joined, {"a": a, "b": b})["b"]

    state, want = 0.0, []
    for i in range(n):
        state = a[i] * state + b[i]
        want.append(state)
    np.testing.assert_allclose(jit(recurrence)(a, b), want, rtol=1e-12)
    if n:
        gradients(recurrence, a, b)


def test_lax_sort_by_two_keys():
    k1, k2, v = np.array([1, 0, 1, 0]), np.array([0.5, 2.0, 0.1, 1.0]), np.arange(4)
    got = jit(lambda *xs: lax.sort(xs, num_keys=2))(k1, k2, v)
    at = np.lexsort((k2, k1))
    for g, x in zip(got, (k1, k2, v), strict=True):
        np.testing.assert_array_equal(g, x[at])


def test_refusals():
    x = np.array([2.0, 1.0])
    with pytest.raises(errors.InPlaceError, match="would change a traced"):
        grad(lambda x: x.sort())(x)
    with pytest.raises(errors.ConcretizationError, match="length=n"):
        jit(np.bincount)(np.array([1, 2]))
    with pytest.raises(errors.AxisError, match="scalar"):
        jit(np.sort)(1.0)
    with pytest.raises(errors.ShapeError, match="one axis"):
        jit(np.searchsorted)(x[None], x)
    with pytest.raises(ValueError, match="between 0 and the 2"):
        lax.top_k(x, 3)
