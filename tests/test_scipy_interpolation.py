"""functrans.scipy.ndimage and functrans.scipy.interpolate, and numpy.interp in every mode, against SciPy and
differences."""

import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage
from numpy.testing import assert_allclose
from util import difference

from functrans import errors, grad, jacfwd, jacrev, jit, jvp, vmap
from functrans.scipy import ndimage
from functrans.scipy.interpolate import RegularGridInterpolator

RNG = np.random.default_rng(4)


def places(ndim, count=200):
    """Inside, outside, and some on elements and halfway between."""
    c = RNG.uniform(-9, 15, (ndim, count))
    c[:, :count // 4] = np.round(2 * c[:, :count // 4]) / 2
    return c


@pytest.mark.parametrize("mode", ndimage.MODES)
@pytest.mark.parametrize("order", range(6))
def test_map_coordinates(mode, order):
    for shape in [(7,), (1,), (2,), (5, 6)] + [(4, 3, 2)] * (order < 3):
        x, c = RNG.normal(size=shape), places(len(shape))
        for prefilter in (True, False)[:2 if order > 1 else 1]:
            k = {"order": order, "mode": mode, "cval": 0.5, "prefilter": prefilter}
            got = jit(lambda x, c, k=k: ndimage.map_coordinates(x, c, **k))(x, c)
            want = scipy.ndimage.map_coordinates(x, c, **k)
            assert_allclose(got, want, atol=1e-9)
            assert_allclose(jit(lambda c, x=x, k=k: ndimage.map_coordinates(x, c, **k))(c), want, atol=1e-9)


def test_map_coordinates_types_shapes_and_errors():
    x, c = RNG.normal(size=(5, 6)) * 9, RNG.uniform(0, 4, (2, 3, 4))
    for dtype in ("float32", "int64", "complex128"):
        v = (x + 1j * x.T[:5, :1] if dtype == "complex128" else x).astype(dtype)
        got = jit(lambda v, c: ndimage.map_coordinates(v, c, order=1))(v, c)
        want = scipy.ndimage.map_coordinates(v, c, order=1)
        assert got.dtype == want.dtype
        assert_allclose(got, want, rtol=1e-6)
    got = vmap(lambda x, c: ndimage.map_coordinates(x, c, order=1), in_axes=(0, None))(np.stack([x, 2 * x]),
                                                                                       c)
    assert_allclose(got[1], 2 * scipy.ndimage.map_coordinates(x, c, order=1))
    for bad, error, text in [
            (lambda x: ndimage.map_coordinates(x, c[:1], order=1), ValueError,
             "1 rows of coordinates for an array of 2"),
            (lambda x: ndimage.map_coordinates(x, c, order=6), ValueError, "order must be 0 to 5"),
            (lambda x: ndimage.map_coordinates(x, c, mode="edge"), ValueError, "mode must be one of"),
            (lambda x: ndimage.map_coordinates(x, c, np.zeros((3, 4))), errors.InPlaceError, "output=")]:
        with pytest.raises(error, match=text):
            jit(bad)(x)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_map_coordinates_derivatives(order):
    x, c = RNG.normal(size=(6, 5)), RNG.uniform(0.2, 3.8, (2, 7))
    tx, tc = RNG.normal(size=x.shape), RNG.normal(size=c.shape) * 0.1

    def f(x, c):
        return ndimage.map_coordinates(x, c, order=order, mode="mirror")
    want = difference(lambda s: f(x + s * tx, c + s * tc))
    assert_allclose(jvp(f, (x, c), (tx, tc))[1], want, rtol=1e-6, atol=1e-7)
    gx, gc = grad(lambda x, c: np.sum(np.sin(f(x, c))), (0, 1))(x, c)
    want = difference(lambda s: float(np.sum(np.sin(f(x + s * tx, c + s * tc)))))
    assert_allclose(np.sum(gx * tx) + np.sum(gc * tc), want, rtol=1e-6)


# ----- grids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_regular_grids(ndim, method):
    for extra in ((), (2,)):
        points = [np.sort(RNG.normal(size=k)) for k in (5, 4, 3)[:ndim]]
        values = RNG.normal(size=tuple(map(len, points)) + extra)
        x = RNG.normal(size=(3, 7, ndim))
        x[0, 0, 0] = np.nan
        for i in (1, 2, -1):
            x[0, i] = [p[min(i, 2)] for p in points]
        for fill in (np.nan, None, 2.0):
            want = scipy.interpolate.RegularGridInterpolator(points, values, method, False, fill)(x)
            assert_allclose(RegularGridInterpolator(points, values, method, False, fill)(x), want, rtol=1e-12)
            got = jit(lambda p, v, x, fill=fill: RegularGridInterpolator(p, v, method, False, fill)(x))(
                points, values, x)
            assert_allclose(got, want, rtol=1e-12)
        down = RegularGridInterpolator([points[0][::-1], *points[1:]], values[::-1], method, False, None)
        assert_allclose(down(x), RegularGridInterpolator(points, values, method, False, None)(x), rtol=1e-12)


def test_regular_grids_derivatives_and_forms():
    points, values = (np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0])), RNG.normal(size=(3, 2))
    x, t, tv, tp = np.array([[0.5, 1.0], [2.0, 0.3]]), RNG.normal(size=(2, 2)), RNG.normal(size=(3, 2)), 0.1

    def f(x, values, first):
        return RegularGridInterpolator((first, points[1]), values)(x)

    got = jvp(f, (x, values, points[0]), (t, tv, tp * points[0]))[1]
    want = difference(lambda s: f(x + s * t, values + s * tv, points[0] * (1 + s * tp)))
    assert_allclose(got, want, rtol=1e-8)
    g = RegularGridInterpolator(points, values)
    assert_allclose(g((x[:, 0], x[:, 1])), g(x))
    assert_allclose(jit(lambda g, x: g(x))(g, x), g(x))                 # a pytree
    assert_allclose(vmap(g)(x[:, None])[:, 0], g(x))
    assert g([0.5, 1.0]).shape == (1,)


def test_regular_grids_errors():
    points, values = (np.array([0.0, 1.0, 3.0]),), np.array([0.0, 2.0, 4.0])
    f = RegularGridInterpolator(points, values)
    for call in (lambda: f([5.0]), lambda: grad(lambda x: f(x)[0])(np.array([5.0]))):
        with pytest.raises(ValueError, match="One of the requested xi is out of bounds in dimension 0"):
            call()
    assert np.isnan(jit(f)(np.array([5.0]))).all()                     # its value is not known
    for bad, text in [(lambda: RegularGridInterpolator(points, values, "cubic"),
                       "Method 'cubic' is not defined"),
                      (lambda: RegularGridInterpolator(points * 2, values), "There are 2 point arrays"),
                      (lambda: RegularGridInterpolator((points[0][:2],), values),
                       "There are 2 points and 3 values"),
                      (lambda: RegularGridInterpolator((points[0] * 0,), values),
                       "strictly ascending or descending"),
                      (lambda: f(np.zeros((4, 2))), "have dimension 2, but this")]:
        with pytest.raises(ValueError, match=text):
            bad()


# ----- numpy.interp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", [None, 2.5])
def test_interp(period):
    xp, fp = np.array([0.0, 1.0, 1.5, 2.0]), RNG.normal(size=4)
    x = np.concatenate([RNG.uniform(-3, 5, 20), xp])
    ends = [{}] if period else [{}, {"left": -7.0}, {"left": 1.0, "right": 2.0}]
    for k in ends:
        def f(x, xp, fp, k=k):
            return np.interp(x, xp, fp, period=period, **k)
        assert_allclose(jit(f)(x, xp, fp), f(x, xp, fp), rtol=1e-12)
        assert_allclose(vmap(f, in_axes=(0, None, None))(x, xp, fp), f(x, xp, fp), rtol=1e-12)
        smooth = x[:20]
        ts = [RNG.normal(size=n) for n in (20, 4, 4)]

        def moved(s, f=f, xs=(smooth, xp, fp), ts=ts):
            return f(*[v + s * t for v, t in zip(xs, ts, strict=True)])
        want = difference(moved, 1e-6)
        assert_allclose(jvp(f, (smooth, xp, fp), tuple(ts))[1], want, rtol=1e-4, atol=1e-5)
        for i in range(3):
            assert_allclose(jacrev(f, i)(smooth, xp, fp), jacfwd(f, i)(smooth, xp, fp), atol=1e-12)
    z = fp + 1j * fp[::-1]
    assert_allclose(jit(lambda x: np.interp(x, xp, z))(x), np.interp(x, xp, z))
