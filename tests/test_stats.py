"""functrans.scipy.stats against SciPy; derivatives against differences; what lies outside of a support."""

import warnings

import numpy as np
import pytest
import scipy.stats

import functrans as ft
from functrans import random
from functrans.errors import ArgumentError, NotSupportedError, ShapeError
from functrans.scipy import stats
from functrans.scipy.stats.core import Discrete

# Parameters of each distribution, and places inside of its support (by quantile if none are given).
SHAPES = {"gamma": (2.5,), "chi2": (3.5,), "chi": (2.5,), "invgamma": (2.5,), "beta": (2.5, 1.5), "t": (3.5,),
          "f": (3.5, 6.5), "pareto": (2.5,), "lomax": (2.5,), "powerlaw": (2.5,), "gennorm": (1.3,),
          "lognorm": (0.8,),
          "weibull_min": (1.7,), "skewnorm": (1.5,), "invgauss": (0.7,), "vonmises": (1.5,),
          "wrapcauchy": (0.4,),
          "truncnorm": (-1.0, 2.5), "bernoulli": (0.3,), "binom": (7, 0.3), "nbinom": (3.5, 0.4),
          "poisson": (2.5,),
          "geom": (0.3,), "betabinom": (7, 1.5, 2.5), "hypergeom": (20, 7, 12), "randint": (2, 9),
          "zipf": (2.5,)}
NAMES = [n for n in stats.__all__ if hasattr(getattr(stats, n), "shapes")]
CONTINUOUS = [n for n in NAMES if not isinstance(getattr(stats, n), Discrete)]
DISCRETE = [n for n in NAMES if n not in CONTINUOUS]
METHODS = ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf")


def place(name):
    shapes = SHAPES.get(name, ())
    return (shapes, 0.0, 1.0) if name in DISCRETE else (shapes, 0.3, 1.7)


def points(name):
    shapes, loc, scale = place(name)
    theirs = getattr(scipy.stats, name)
    q = np.array([0.003, 0.11, 0.48, 0.7, 0.97])
    if name in DISCRETE:
        return np.unique(theirs.ppf(q, *shapes))
    return theirs.ppf(q, *shapes, loc, scale) if name != "vonmises" else np.array([-2.0, 0.1, 1.4])


def test_there_are_enough():
    assert len(CONTINUOUS) >= 28 and len(DISCRETE) >= 9


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    shapes, loc, scale = place(name)
    x = points(name)
    for method in METHODS:
        if name == "vonmises" and "pdf" not in method:
            assert not hasattr(ours, method)
            continue
        want = getattr(theirs, method)(x, *shapes, loc, scale)
        f = getattr(ours, method)
        for got in (f(x, *shapes, loc, scale), ft.jit(f)(x, *shapes, loc=loc, scale=scale)):
            np.testing.assert_allclose(got, want, rtol=2e-11, atol=1e-14)
        narrow = ft.jit(f)(np.float32(x), *map(np.float32, shapes), np.float32(loc), np.float32(scale))
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, want, rtol=2e-3, atol=1e-5)
    q = np.array([0.0, 1e-5, 0.2, 0.5, 0.8, 1.0])
    for method in ("ppf", "isf"):
        if hasattr(ours, method):
            got = ft.jit(getattr(ours, method))(q, *shapes, loc, scale)
            np.testing.assert_allclose(got, getattr(theirs, method)(q, *shapes, loc, scale), rtol=1e-9,
            atol=1e-12)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    shapes, k = SHAPES.get(name, ()), points(name)
    for method in ("pmf", "logpmf", "cdf", "logcdf", "sf", "logsf", "ppf"):
        if not hasattr(ours, method):
            continue
        at = np.array([0.05, 0.4, 0.9]) if method == "ppf" else np.concatenate([k, k + 0.5, [-3.0, 60.0]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = getattr(theirs, method)(at, *shapes, 1)
        np.testing.assert_allclose(getattr(ours, method)(at, *shapes, 1), want, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(ft.jit(getattr(ours, method))(at, *shapes, loc=1), want, rtol=1e-10,
        atol=1e-13)


def differences(f, args, i, h=1e-5):
    up, down = list(args), list(args)
    up[i], down[i] = args[i] + h, args[i] - h
    return (f(*up) - f(*down)) / (2 * h)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_gradients(name):
    """Of every method by every argument, at once for all places."""
    ours = getattr(stats, name)
    shapes, loc, scale = place(name)
    x = points(name)[1:4]
    for method in ("logpdf", "pdf", "cdf", "logsf", "ppf"):
        if not hasattr(ours, method):
            continue
        f = getattr(ours, method)
        args = (np.array([0.2, 0.55, 0.8]) if method == "ppf" else x, *map(float, shapes), loc, scale)
        every = tuple(range(len(args)))
        got = ft.jit(ft.vmap(ft.grad(f, every), (0, *[None] * (len(args) - 1))))(*args)
        for i in every:
            want = differences(f, args, i)
            np.testing.assert_allclose(got[i], want, rtol=2e-6, atol=1e-7, err_msg=f"{method} by {i}")


@pytest.mark.parametrize("name", NAMES)
def test_outside_of_the_support(name):
    ours, discrete = getattr(stats, name), name in DISCRETE
    shapes = tuple(map(float, SHAPES.get(name, ())))
    theirs = getattr(scipy.stats, name)
    low, high = theirs.support(*SHAPES.get(name, ())) if name != "vonmises" else (-np.inf, np.inf)
    log, plain = ("logpmf", "pmf") if discrete else ("logpdf", "pdf")
    for x, cdf in ((low - 2.0, 0.0), (high + 2.0, 1.0)):
        if not np.isfinite(x):
            continue
        assert getattr(ours, log)(x, *shapes) == -np.inf and getattr(ours, plain)(x, *shapes) == 0
        every = tuple(range(1 + len(shapes)))
        assert all(g == 0 for g in ft.grad(getattr(ours, plain), every)(x, *shapes))
        assert all(g == 0 for g in ft.grad(getattr(ours, log), every)(x, *shapes))
        if hasattr(ours, "cdf"):
            assert ours.cdf(x, *shapes) == cdf and ours.sf(x, *shapes) == 1 - cdf
            assert ours.logcdf(x, *shapes) == np.log(cdf) if cdf else ours.logcdf(x, *shapes) == -np.inf
            assert all(g == 0 for g in ft.grad(ours.cdf, every)(x, *shapes))
    assert np.isnan(getattr(ours, log)(np.nan, *shapes))
    if not discrete:
        assert np.isnan(ours.logpdf(0.5, *shapes, 0.0, -1.0))
    if hasattr(ours, "ppf"):
        assert np.isnan(ours.ppf(1.5, *shapes)) and np.isnan(ours.ppf(np.nan, *shapes))


def test_impossible_parameters():
    assert np.isnan(stats.gamma.logpdf(1.0, -1.0)) and np.isnan(stats.beta.cdf(0.5, 0.0, 1.0))
    assert np.isnan(stats.binom.pmf(1, 5, 1.5)) and np.isnan(stats.truncnorm.pdf(0.0, 1.0, -1.0))
    np.testing.assert_array_equal(stats.gamma.pdf(1.0, np.array([-1.0, 1.0])), [np.nan, np.exp(-1.0)])
    with pytest.raises(TypeError):
        stats.gamma.logpdf(1.0)
    assert repr(stats.gamma) == "<continuous distribution gamma>"


def test_tails_are_accurate():
    assert stats.norm.logsf(40.0) == pytest.approx(scipy.stats.norm.logsf(40.0), rel=1e-13)
    assert ft.grad(stats.norm.logcdf)(-40.0) == pytest.approx(40.0249688, rel=1e-8)
    a, b, x = 30.0, 35.0, np.array([30.01, 30.5])
    for f in ("logpdf", "logcdf", "logsf"):
        want = getattr(scipy.stats.truncnorm, f)(x, a, b)
        np.testing.assert_allclose(getattr(stats.truncnorm, f)(x, a, b), want, rtol=1e-9)
        got = getattr(stats.truncnorm, f)(-x, -b, -a)
        mirrored = {"logcdf": "logsf", "logsf": "logcdf"}.get(f, f)
        np.testing.assert_allclose(got, getattr(stats.truncnorm, mirrored)(x, a, b), rtol=1e-11)
    q = np.array([1e-3, 0.6])
    np.testing.assert_allclose(stats.truncnorm.ppf(q, a, b), scipy.stats.truncnorm.ppf(q, a, b), rtol=1e-11)
    assert stats.expon.logsf(1e4) == -1e4 and stats.poisson.sf(200, 3.0) > 0


# ----- vectors -------------------------------------------------------------------------------------------


def test_multivariate_normal():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    cov, mean, x = a @ a.T + np.eye(3), rng.normal(size=3), rng.normal(size=(4, 2, 3))
    theirs = scipy.stats.multivariate_normal
    for c in (cov, np.diag(cov).copy(), 2.0):
        want = theirs.logpdf(x, mean, c)
        np.testing.assert_allclose(ft.jit(stats.multivariate_normal.logpdf)(x, mean, c), want, rtol=1e-12)
        np.testing.assert_allclose(stats.multivariate_normal.pdf(x, mean, c), np.exp(want), rtol=1e-11)
    many = np.stack([cov, 2 * cov])
    got = stats.multivariate_normal.logpdf(x, mean, many)
    np.testing.assert_allclose(got[:, 1], theirs.logpdf(x[:, 1], mean, 2 * cov), rtol=1e-12)
    g = ft.grad(lambda c: stats.multivariate_normal.logpdf(x[0, 0], mean, c))(cov)
    h = np.zeros((3, 3))
    h[0, 1] = h[1, 0] = 1e-6
    want = (theirs.logpdf(x[0, 0], mean, cov + h) - theirs.logpdf(x[0, 0], mean, cov - h)) / 2e-6
    assert g[0, 1] + g[1, 0] == pytest.approx(want, rel=1e-6)
    assert stats.multivariate_normal.logpdf(0.5, 0.0, 4.0) == pytest.approx(scipy.stats.norm.logpdf(0.5, 0,
    2))
    with pytest.raises(ShapeError):
        stats.multivariate_normal.logpdf(np.zeros(3), np.zeros(3), np.eye(2))
    with pytest.raises(NotSupportedError):
        stats.multivariate_normal.logpdf(np.zeros(3), np.zeros(3), np.eye(3), allow_singular=True)


def test_dirichlet_and_multinomial():
    alpha, x = np.array([1.0, 2.0, 3.5]), np.array([0.2, 0.3, 0.5])
    want = scipy.stats.dirichlet.logpdf(x, alpha)
    for y in (x, x[:-1]):
        assert ft.jit(stats.dirichlet.logpdf)(y, alpha) == pytest.approx(want, rel=1e-12)
    g = ft.grad(stats.dirichlet.logpdf, 1)(x, alpha)
    from scipy.special import psi
    np.testing.assert_allclose(g, np.log(x) - psi(alpha) + psi(alpha.sum()), rtol=1e-12)
    assert stats.dirichlet.pdf(np.array([0.5, 0.7, -0.2]), alpha) == 0
    with pytest.raises(ShapeError):
        stats.dirichlet.logpdf(np.ones(5), alpha)
    counts, p = np.array([[2, 1, 0], [1, 1, 1], [1, 1, 2]]), np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(ft.jit(stats.multinomial.logpmf)(counts, 3, p),
                               scipy.stats.multinomial.logpmf(counts, 3, p), rtol=1e-12)
    assert stats.multinomial.pmf(np.array([1, 2]), 3, np.array([0.4, 0.6])) == pytest.approx(3 * 0.4 * 0.36)


# ----- samples -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["average", "min", "max", "dense", "ordinal"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_rankdata(method, axis):
    x = np.random.default_rng(0).integers(0, 5, (4, 7)).astype(float)
    for f in (stats.rankdata, ft.jit(lambda x, **k: stats.rankdata(x, **k), static_argnames=("method",
    "axis"))):
        got = f(x, method=method, axis=axis)
        np.testing.assert_array_equal(got, scipy.stats.rankdata(x, method, axis=axis))
    x[0, 0] = np.nan
    if method == "average":
        np.testing.assert_array_equal(stats.rankdata(x, axis=axis), scipy.stats.rankdata(x, axis=axis))


def test_mode_sem_and_errors():
    x = np.random.default_rng(1).integers(0, 4, (5, 6))
    for axis in (None, 0, 1):
        for keepdims in (False, True):
            want = scipy.stats.mode(x, axis, keepdims=keepdims)
            got = ft.jit(stats.mode, static_argnums=(1, 2, 3))(x, axis, "propagate", keepdims)
            np.testing.assert_array_equal(got.mode, want.mode)
            np.testing.assert_array_equal(got.count, want.count)
        np.testing.assert_allclose(ft.jit(stats.sem, static_argnums=1)(x, axis), scipy.stats.sem(x, axis))
    with pytest.raises(ArgumentError):
        stats.rankdata(x, "first")
    with pytest.raises(NotSupportedError):
        stats.mode(x, nan_policy="omit")
    with pytest.raises(ShapeError):
        stats.mode(np.zeros((0, 2)))


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("bw_method", [None, "silverman", 0.4])
def test_gaussian_kde(d, bw_method):
    rng = np.random.default_rng(2)
    sample, weights, x = rng.normal(size=(d, 40)), rng.uniform(0.5, 1.5, 40), rng.normal(size=(d, 5))
    ours, theirs = (m.gaussian_kde(sample, bw_method, weights) for m in (stats, scipy.stats))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-11)
    np.testing.assert_allclose(ft.jit(lambda k, x: k.logpdf(x))(ours, x), theirs.logpdf(x), rtol=1e-11)
    other = stats.gaussian_kde(sample + 1.0)
    want = theirs.integrate_kde(scipy.stats.gaussian_kde(sample + 1.0))
    assert ours.integrate_kde(other) == pytest.approx(want, rel=1e-11)
    assert ours.integrate_gaussian(x[:, 0], np.eye(d)) == pytest.approx(
        theirs.integrate_gaussian(x[:, 0], np.eye(d)), rel=1e-11)
    if d == 1:
        assert ours.integrate_box_1d(-0.5, 1.0) == pytest.approx(theirs.integrate_box_1d(-0.5, 1.0),
        rel=1e-11)
    assert ours.resample(random.key(0), (7,)).shape == (d, 7)

    def at(sample):
        return stats.gaussian_kde(sample, bw_method, weights).logpdf(x)[0]
    h = np.zeros_like(sample)
    h[0, 3] = 1e-5
    assert ft.grad(at)(sample)[0, 3] == pytest.approx((at(sample + h) - at(sample - h)) / 2e-5, rel=1e-5,
    abs=1e-9)
