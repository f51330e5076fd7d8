"""functrans.random: known answers, JAX's values, distributions, gradients, transforms, refusals."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

import functrans as ft
from functrans import errors, grad, jit, jvp, lax, random, vmap
from functrans.ir.op import OPS

FIXTURES = Path(__file__).parent / "fixtures"
SPEC = importlib.util.spec_from_file_location("jax_random", FIXTURES / "jax_random.py")
MADE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MADE)
ROWS = json.loads((FIXTURES / "jax_random.json").read_text())
ARRAYS = ("permutation", "choice", "categorical", "multivariate_normal")


# ----- the generator ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "want"), [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0))])
def test_known_answers(counter, key, want):
    """The vectors of threefry2x32, 20 rounds, of the Random123 distribution."""
    words = [np.array(w, np.uint32) for w in (key, counter)]
    assert tuple(OPS["threefry"](*words).tolist()) == want
    assert tuple(OPS["threefry"].reference(*words).tolist()) == want


def arguments(name, args, kwargs):
    def made(x, j):
        if isinstance(x, list) and name in ARRAYS and (j == 0 or (j == 1 and name == "multivariate_normal")):
            return np.asarray(x)
        return tuple(x) if isinstance(x, list) else x
    more = {k: np.asarray(v) if k == "p" else tuple(v) if isinstance(v, list) else v
            for k, v in kwargs.items()}
    return [made(a, j) for j, a in enumerate(args)], more


@pytest.mark.parametrize("call", range(len(MADE.CALLS)), ids=lambda i: f"{MADE.CALLS[i][0]}-{i}")
def test_equal_to_jax(call):
    """Integers and bits exactly; floats to a few ulp, at once and compiled."""
    name, args, kwargs = MADE.CALLS[call]
    args, kwargs = arguments(name, args, kwargs)
    draw = getattr(random, name)
    for row in (r for r in ROWS if r[0] == call):
        _, seed, (dtype, shape, values) = row
        want = np.array(values, dtype).reshape(shape)
        key = random.key(seed)
        results = [draw(key, *args, **kwargs)]
        if name not in ("multivariate_normal", "orthogonal"):
            results.append(jit(lambda k: draw(k, *args, **kwargs))(key))
        for got in results:
            assert np.shape(got) == want.shape
            if name == "categorical":              # positions without replacement are int32 in JAX
                got = np.asarray(got).astype(want.dtype)
            assert np.asarray(got).dtype == want.dtype
            if want.dtype.kind != "f":
                np.testing.assert_array_equal(got, want)
            else:
                eps = np.finfo(want.dtype).eps
                rtol = 0 if name == "uniform" and not args[2:] else 24 * eps
                np.testing.assert_allclose(got, want, rtol=rtol, atol=0 if not rtol else 16 * eps)


def test_keys_equal_to_jax():
    for row in (r for r in ROWS if r[0] == "key"):
        assert random.key(row[1]).tolist() == row[2]
        assert jit(random.key)(np.int64(row[1])).tolist() == row[2]
    assert random.PRNGKey(3).tolist() == [0, 3] and random.key_impl(random.key(0)) == "threefry2x32"


def test_long_draws_do_not_depend_on_blocks():
    """Element i is what the block function gives for counter i, across the upper word too."""
    key = random.key(5)
    long = random.bits(key, (70_001,))
    np.testing.assert_array_equal(long[:100], random.bits(key, (100,)))
    np.testing.assert_array_equal(long, OPS["random_draw"].reference(key, shape=(70_001,), form="u64"))


def test_erf_inv_against_scipy():
    for dtype, ulps in ((np.float64, 4), (np.float32, 4)):
        r = np.random.default_rng(0)
        x = np.concatenate([r.uniform(-1, 1, 20_000), 1 - 2.0 ** -r.uniform(1, 53, 5000),
                            10.0 ** -r.uniform(1, 300, 99), [0.0, 0.999, 0.9966, 0.5]]).astype(dtype)
        x = x[np.abs(x) < 1]
        want = special.erfinv(x.astype(np.float64))
        got = OPS["erf_inv"](x).astype(np.float64)
        fine = np.abs(want) > np.finfo(dtype).tiny
        assert np.max(np.abs(got - want)[fine] / np.abs(want[fine])) < ulps * np.finfo(dtype).eps
        ends = OPS["erf_inv"](np.array([-1, 1, 1.5, np.nan], dtype))
        np.testing.assert_array_equal(ends, [-np.inf, np.inf, np.nan, np.nan])


# ----- distributions -----------------------------------------------------------------------------------

N = 20_000
KEY = random.key(2024)
CONTINUOUS = {
    "gamma": (lambda **k: random.gamma(KEY, 2.5, (N,), **k), stats.gamma(2.5)),
    "gamma small": (lambda **k: random.gamma(KEY, 0.3, (N,), **k), stats.gamma(0.3)),
    "gamma large": (lambda **k: random.gamma(KEY, 400.0, (N,), **k), stats.gamma(400)),
    "loggamma": (lambda **k: random.loggamma(KEY, 0.02, (N,), **k), stats.loggamma(0.02)),
    "beta": (lambda **k: random.beta(KEY, 0.7, 2.0, (N,), **k), stats.beta(0.7, 2)),
    "chisquare": (lambda **k: random.chisquare(KEY, 3.0, (N,), **k), stats.chi2(3)),
    "f": (lambda **k: random.f(KEY, 4.0, 7.0, (N,), **k), stats.f(4, 7)),
    "t": (lambda **k: random.t(KEY, 3.5, (N,), **k), stats.t(3.5)),
    "normal": (lambda **k: random.normal(KEY, (N,), **k), stats.norm()),
    "uniform": (lambda **k: random.uniform(KEY, (N,), minval=-1, maxval=3, **k), stats.uniform(-1, 4)),
    "laplace": (lambda **k: random.laplace(KEY, (N,), **k), stats.laplace()),
    "exponential": (lambda **k: random.exponential(KEY, (N,), **k), stats.expon()),
    "logistic": (lambda **k: random.logistic(KEY, (N,), **k), stats.logistic()),
    "gumbel": (lambda **k: random.gumbel(KEY, (N,), **k), stats.gumbel_r()),
    "cauchy": (lambda **k: random.cauchy(KEY, (N,), **k), stats.cauchy()),
    "truncated": (lambda **k: random.truncated_normal(KEY, -0.5, 2.0, (N,), **k), stats.truncnorm(-0.5, 2)),
    "rayleigh": (lambda **k: random.rayleigh(KEY, 2.0, (N,), **k), stats.rayleigh(scale=2)),
    "weibull": (lambda **k: random.weibull_min(KEY, 2.0, 1.5, (N,), **k), stats.weibull_min(1.5, scale=2)),
    "pareto": (lambda **k: random.pareto(KEY, 3.0, (N,), **k), stats.pareto(3)),
    "wald": (lambda **k: random.wald(KEY, 2.0, (N,), **k), stats.invgauss(2)),
    "triangular": (lambda **k: random.triangular(KEY, 0.0, 1.0, 4.0, (N,), **k), stats.triang(0.25, 0, 4)),
    "lognormal": (lambda **k: random.lognormal(KEY, 0.5, (N,), **k), stats.lognorm(0.5)),
    "maxwell": (lambda **k: random.maxwell(KEY, (N,), **k), stats.maxwell()),
    "generalized": (lambda **k: random.generalized_normal(KEY, 1.5, (N,), **k), stats.gennorm(1.5)),
    "dirichlet": (lambda **k: random.dirichlet(KEY, np.array([1.0, 0.5, 3.0]), (N,), **k)[:, 1],
                  stats.beta(0.5, 4))}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distribution(name):
    """Kolmogorov and Smirnov's test; the keys are fixed, so it passes or fails for good."""
    draw, law = CONTINUOUS[name]
    for dtype in ("float64", "float32"):
        x = draw(dtype=dtype)
        assert x.dtype == dtype and stats.kstest(x.astype(float), law.cdf).pvalue > 1e-3


COUNTS = {
    "poisson": (lambda: random.poisson(KEY, 3.2, (N,)), stats.poisson(3.2)),
    "poisson large": (lambda: random.poisson(KEY, 77.0, (N,)), stats.poisson(77)),
    "binomial": (lambda: random.binomial(KEY, 12.0, 0.3, (N,)), stats.binom(12, 0.3)),
    "binomial large": (lambda: random.binomial(KEY, 300.0, 0.7, (N,)), stats.binom(300, 0.7)),
    "geometric": (lambda: random.geometric(KEY, 0.2, (N,)), stats.geom(0.2)),
    "randint": (lambda: random.randint(KEY, (N,), -3, 9), stats.randint(-3, 9)),
    "bernoulli": (lambda: random.bernoulli(KEY, 0.7, (N,)).astype(int), stats.bernoulli(0.7)),
    "categorical": (lambda: random.categorical(KEY, np.log([0.2, 0.5, 0.3]), shape=(N,)),
                    stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3])))}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    draw, law = COUNTS[name]
    x = draw()
    values, seen = np.unique(x, return_counts=True)
    expected = N * law.pmf(values)
    often = expected > 8
    rest = N - expected[often].sum()
    seen = [*seen[often], N - seen[often].sum()]
    assert stats.chisquare(seen, [*expected[often], rest]).pvalue > 1e-3 if rest > 1 else (
        stats.chisquare(seen[:-1], expected[often] * sum(seen[:-1]) / expected[often].sum()).pvalue > 1e-3)


def test_edges_of_the_parameters():
    assert random.gamma(KEY, 0.0) == 0 and np.isnan(random.gamma(KEY, -1.0))
    assert random.poisson(KEY, 0.0) == 0 and random.poisson(KEY, -1.0) == -1
    assert random.binomial(KEY, 7.0, 0.0) == 0 and random.binomial(KEY, 7.0, 1.0) == 7
    assert np.isnan(random.binomial(KEY, 7.0, 1.5))
    x = random.ball(KEY, 3, shape=(2000,))
    assert np.sum(x ** 2, -1).max() <= 1
    assert stats.kstest(np.linalg.norm(x, axis=-1), lambda r: r ** 3).pvalue > 1e-3
    q = random.orthogonal(KEY, 4, (5,))
    np.testing.assert_allclose(q @ q.swapaxes(1, 2), np.broadcast_to(np.eye(4), (5, 4, 4)), atol=1e-14)
    mean, cov = np.array([1.0, -2.0]), np.array([[2.0, 0.6], [0.6, 1.0]])
    for method in ("cholesky", "eigh", "svd"):
        z = random.multivariate_normal(KEY, mean, cov, (N,), method=method)
        np.testing.assert_allclose(np.cov(z.T), cov, atol=0.06)
        np.testing.assert_allclose(z.mean(0), mean, atol=0.04)


# ----- gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [1e-3, 0.1, 0.9, 1.0, 3.3, 20.0, 1e3, 2e4, 3e5])
def test_gamma_slope(a):
    """d log x / d a at a fixed place of the distribution, against differences of SciPy's quantiles."""
    p = np.array([0.001, 0.1, 0.4, 0.6, 0.95, 0.9999])
    x = special.gammaincinv(a, p)
    x, p = x[x > 1e-200], p[x > 1e-200]
    got = OPS["gamma_slope"](np.full(x.shape, a), np.log(x))
    h = 1e-3 * a
    steps = [np.log(special.gammaincinv(a + k * h, p)) for k in (1, -1, 2, -2)]
    want = (8 * (steps[0] - steps[1]) - (steps[2] - steps[3])) / (12 * h)
    np.testing.assert_allclose(got, want, rtol=2e-6)


def test_gradients_of_means():
    """Of means, which are known: E gamma = a; E log gamma = psi(a); E beta = a / (a + b)."""
    size = (40_000,)
    for a in (0.4, 2.0, 30.0):
        assert abs(grad(lambda a: np.mean(random.gamma(KEY, a, size)))(a) - 1) < 0.03
        slope = grad(lambda a: np.mean(random.loggamma(KEY, a, size)))(a)
        assert abs(slope / special.polygamma(1, a) - 1) < 0.03
    d_a, d_b = grad(lambda a, b: np.mean(random.beta(KEY, a, b, size)), (0, 1))(2.0, 3.0)
    assert abs(d_a - 3 / 25) < 3e-3 and abs(d_b + 2 / 25) < 3e-3
    alpha = np.array([0.5, 1.0, 2.5])
    got = ft.jacrev(lambda a: np.mean(random.dirichlet(KEY, a, size), 0))(alpha)
    np.testing.assert_allclose(got, (np.eye(3) * 4 - alpha[:, None]) / 16, atol=4e-3)
    assert abs(grad(lambda df: np.mean(random.chisquare(KEY, df, size)))(3.0) - 1) < 0.03
    forward = jvp(lambda a: random.gamma(KEY, a, size), (2.0,), (1.0,))[1]
    back = grad(lambda a: np.sum(random.gamma(KEY, a, size)))(2.0)
    np.testing.assert_allclose(np.sum(forward), back, rtol=1e-11)
    with pytest.raises(errors.NonDifferentiableError, match="second derivative of a gamma draw"):
        grad(grad(lambda a: random.gamma(KEY, a)))(2.0)


def test_gradients_by_differences():
    """Draws move with location and scale as their formulas say."""
    h = 1e-6
    for draw in (lambda x: random.truncated_normal(KEY, x, 2.0), lambda x: random.pareto(KEY, x + 2),
                 lambda x: random.uniform(KEY, (), minval=x, maxval=3.0), lambda x: random.lognormal(KEY, x),
                 lambda x: random.triangular(KEY, x, 1.0, 3.0), lambda x: random.wald(KEY, x + 1)):
        got = grad(lambda x, d=draw: d(x) * 1.0)(0.4)
        np.testing.assert_allclose(got, (draw(0.4 + h) - draw(0.4 - h)) / (2 * h), rtol=1e-5, atol=1e-7)


# ----- transforms ------------------------------------------------------------------------------------------

DRAWS = {"bits": lambda k: random.bits(k, (3,)), "uniform": lambda k: random.uniform(k, (3,)),
         "normal": lambda k: random.normal(k, (2, 2)), "split": lambda k: random.split(k, 3),
         "fold_in": lambda k: random.fold_in(k, 9), "randint": lambda k: random.randint(k, (4,), 0, 9),
         "permutation": lambda k: random.permutation(k, 6), "gamma": lambda k: random.gamma(k, 1.7, (3,)),
         "poisson": lambda k: random.poisson(k, np.array([2.0, 30.0])),
         "gumbel": lambda k: random.gumbel(k, (2,)), "choice": lambda k: random.choice(k, 5, (2,), False),
         "binomial": lambda k: random.binomial(k, 9.0, 0.4),
         "categorical": lambda k: random.categorical(k, np.zeros((2, 3))),
         "dirichlet": lambda k: random.dirichlet(k, np.ones(3)),
         "multinomial": lambda k: random.multinomial(k, 9, np.array([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0]]))}


def test_multinomial():
    """Counts that add up; their means and covariances n p and n (diag(p) - p p')."""
    p, n = np.array([0.1, 0.0, 0.6, 0.3]), 50
    x = random.multinomial(KEY, n, 2 * p, shape=(20_000, 4))
    assert x.dtype == np.float64 and (x.sum(-1) == n).all() and (x[:, 1] == 0).all()
    np.testing.assert_allclose(x.mean(0), n * p, atol=0.15)
    np.testing.assert_allclose(np.cov(x.T), n * (np.diag(p) - np.outer(p, p)), atol=0.35)
    assert random.multinomial(KEY, np.array([3, 0]), p).tolist()[1] == [0, 0, 0, 0]
    for bad in (np.float64(1.0), np.zeros((2, 0))):
        with pytest.raises(errors.ShapeError, match="categories"):
            random.multinomial(KEY, 3, bad)
    with pytest.raises(errors.ShapeError, match="does not fit"):
        random.multinomial(KEY, 3, p, shape=(2, 3))


@pytest.mark.parametrize("name", DRAWS)
def test_vmap_over_keys(name):
    """Mapped keys give what each gives alone, and compiling changes nothing."""
    draw, keys = DRAWS[name], random.split(KEY, 5)
    want = np.stack([jit(draw)(k) for k in keys])
    np.testing.assert_allclose(vmap(draw)(keys), want, rtol=1e-14)
    np.testing.assert_allclose(jit(vmap(draw, 1, -1))(keys.T), np.moveaxis(want, 0, -1), rtol=1e-14)
    np.testing.assert_allclose([draw(k) for k in keys], want, rtol=1e-14)


def test_parameters_are_mapped():
    a = np.array([0.5, 2.0, 9.0])
    np.testing.assert_array_equal(vmap(lambda a: random.gamma(KEY, a, (4,)))(a),
                                  [random.gamma(KEY, x, (4,)) for x in a])
    keys = random.split(KEY, 3)
    np.testing.assert_array_equal(vmap(lambda k, a: random.poisson(k, a * 7))(keys, a),
                                  [random.poisson(k, x * 7) for k, x in zip(keys, a, strict=True)])


def test_keys_in_loops_and_trees():
    def step(state, _):
        key, sub = random.split(state["key"])
        return {"key": key}, random.normal(sub)

    last, got = lax.scan(step, {"key": KEY}, None, length=4)
    key, want = KEY, []
    for _ in range(4):
        key, sub = random.split(key)
        want.append(random.normal(sub))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(last["key"], key)


def test_threads_do_not_change_draws():
    before = ft.get_num_threads()
    try:
        drawn = []
        for threads in (1, 2):
            ft.set_num_threads(threads)
            drawn.append([random.normal(KEY, (100_000,)), random.gamma(KEY, np.full(50_000, 0.8)),
                          random.permutation(KEY, 80_000)])
        for one, two in zip(*drawn, strict=True):
            np.testing.assert_array_equal(one, two)
    finally:
        ft.set_num_threads(before)


# ----- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: random.normal(0.5), errors.RandomKeyError, "the number 0.5(?s:.*)random.key"),
    (lambda: random.normal(3), errors.RandomKeyError, "the number 3"),
    (lambda: random.normal("key"), errors.RandomKeyError, "got str"),
    (lambda: random.uniform(np.zeros(2)), errors.RandomKeyError, r"u32\[2\], got f64\[2\]"),
    (lambda: random.bits(random.split(KEY, 4)), errors.RandomKeyError, "an array of keys.*(?s:.*)vmap"),
    (lambda: random.key(1.5), errors.RandomKeyError, "a seed is an integer"),
    (lambda: random.key(1 << 70), errors.RandomKeyError, "more than 64 bits"),
    (lambda: random.key(0, impl="rbg"), errors.NotSupportedError, "'rbg'"),
    (lambda: random.fold_in(KEY, 0.5), errors.RandomKeyError, "one integer"),
    (lambda: random.normal(KEY, (2, -1)), errors.ShapeError, "must not be negative"),
    (lambda: random.normal(KEY, 1.5), errors.ShapeError, "tuple of integers"),
    (lambda: random.normal(KEY, (), "int32"), errors.DtypeError, "float32 or float64"),
    (lambda: random.gamma(KEY, np.ones(3), (2,)), errors.ShapeError, "broadcast"),
    (lambda: random.choice(KEY, 3, (4,), False), ValueError, "4 of 3 elements"),
    (lambda: jit(lambda n: random.normal(KEY, (n,)))(3), errors.ConcretizationError, "static")])
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()
