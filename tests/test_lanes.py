"""Batched scans over small states: what runs in lanes equals NumPy and the loop over single problems."""
import functrans.plan.clusters as clusters
import numpy as np
import pytest

from functrans import clear_caches, grad, jit, vmap
from functrans.lax import scan
from functrans.plan.lanes import alone, extents


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Lanes wherever they are possible, whatever the estimates say."""
    monkeypatch.setattr(clusters, "steps_ns", lambda body: 1e12)
    clear_caches()


def kinds(f, *args):
    return [s.kind for s in jit(f).lower(*args).plan.steps]


def in_lanes(f, *args):
    assert "loop of lanes" in kinds(f, *args), kinds(f, *args)
    return jit(f)(*args)


def in_steps(f, *args):
    """The same without scalar programs and lanes."""
    clear_caches()
    clusters.enabled = False
    try:
        return jit(f)(*args)
    finally:
        clusters.enabled = True
        clear_caches()


def pendulum(length, dtype=float):
    h = dtype(0.05)

    def step(s, p):
        return s + h * np.stack([s[1], -p * np.sin(s[0]) - dtype(0.1) * s[1]])

    return lambda s, p: scan(lambda s, _: (step(s, p), s[0] * p), s, None, length=length)


def by_hand(s, p, length):
    s, ys = s.copy(), []
    for _ in range(length):
        ys.append(s[:, 0] * p)
        s = s + 0.05 * np.stack([s[:, 1], -p * np.sin(s[:, 0]) - 0.1 * s[:, 1]], 1)
    return s, np.stack(ys, 1)


@pytest.mark.parametrize("n", [17, 64, 1000])
@pytest.mark.parametrize("length", [1, 23])
def test_states(n, length):
    rng = np.random.default_rng(n)
    s, p = rng.normal(size=(n, 2)), rng.uniform(1, 2, n)
    f = vmap(pendulum(length))
    last, ys = in_lanes(f, s, p)
    want, want_ys = by_hand(s, p, length)
    np.testing.assert_allclose(last, want, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ys, want_ys, rtol=1e-12, atol=1e-13)
    for a, b in zip(in_steps(f, s, p), (last, ys), strict=True):
        np.testing.assert_array_equal(a, b)
    one = jit(pendulum(length))
    for i in (0, n // 2, n - 1):
        np.testing.assert_array_equal(one(s[i], p[i])[0], last[i])


@pytest.mark.parametrize("axis", [0, 1])
def test_axis_float32_and_a_shared_parameter(axis):
    s = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    s = s if axis == 0 else np.ascontiguousarray(s.T)
    f = vmap(pendulum(9, np.float32), in_axes=(axis, None), out_axes=axis)
    got = in_lanes(f, s, np.float32(1.5))
    assert got[0].dtype == np.float32
    for a, b in zip(got, in_steps(f, s, np.float32(1.5)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients():
    rng = np.random.default_rng(1)
    s, p = rng.normal(size=(40, 2)), rng.uniform(1, 2, 40)

    def loss(s, p):
        return np.sum(pendulum(30)(s, p)[0] ** 2)

    ds, dp = in_lanes(vmap(grad(loss, (0, 1))), s, p)
    h = 1e-6
    for i in (0, 39):
        for k in range(2):
            e = h * np.eye(2)[k]
            want = (loss(s[i] + e, p[i]) - loss(s[i] - e, p[i])) / (2 * h)
            np.testing.assert_allclose(ds[i, k], want, rtol=1e-6)
        np.testing.assert_allclose(dp[i], (loss(s[i], p[i] + h) - loss(s[i], p[i] - h)) / (2 * h), rtol=1e-6)
    total = jit(grad(lambda s: np.sum(vmap(loss)(s, p))))(s)        # differentiated after batching
    np.testing.assert_allclose(total, ds, rtol=1e-12)


def test_other_dtypes_and_a_counter_that_lanes_share():
    def f(x, n):
        def step(carry, flag):
            count, x, hits = carry
            x = np.where(flag & (x > 3), x // 2, 3 * x + 1)
            return (count + 1, x, hits | (x == n)), (x.astype(np.int32), x > n)
        return scan(step, (0, x, False), np.arange(12) % 3 != 0)

    x, n = np.arange(2, 62), np.full(60, 7)
    mapped = vmap(f, out_axes=((None, 0, 0), 0))
    (count, last, hits), (ys, above) = in_lanes(mapped, x, n)
    want, want_hits, want_ys = x.copy(), np.zeros(60, bool), []
    for t in range(12):
        want = np.where((t % 3 != 0) & (want > 3), want // 2, 3 * want + 1)
        want_hits |= want == n
        want_ys.append(want)
    assert count == 12
    np.testing.assert_array_equal(last, want)
    np.testing.assert_array_equal(hits, want_hits)
    np.testing.assert_array_equal(ys, np.stack(want_ys, 1))
    np.testing.assert_array_equal(above, np.stack(want_ys, 1) > 7)
    assert ys.dtype == np.int32 and above.dtype == bool


def test_products_sums_and_swapped_carries():
    """A matrix that all lanes share, sums over the state, two carries that change places."""
    m = np.random.default_rng(2).normal(size=(3, 3)) / 3

    def f(a, b, xs):
        def step(carry, x):
            a, b = carry
            return (b, np.tanh(m @ a) + x), np.cumsum(a)[::-1] * np.max(b)
        return scan(step, (a, b), xs, reverse=True)

    rng = np.random.default_rng(3)
    a, b, xs = rng.normal(size=(70, 3)), rng.normal(size=(70, 3)), rng.normal(size=(5, 3))
    mapped = vmap(f, in_axes=(0, 0, None))
    (a1, b1), ys = in_lanes(mapped, a, b, xs)
    want_a, want_b, want_ys = a, b, []
    for x in xs[::-1]:
        want_ys.append(np.cumsum(want_a, 1)[:, ::-1] * want_b.max(1, keepdims=True))
        want_a, want_b = want_b, np.tanh(want_a @ m.T) + x
    np.testing.assert_allclose(a1, want_a, rtol=1e-12)
    np.testing.assert_allclose(b1, want_b, rtol=1e-12)
    np.testing.assert_allclose(ys, np.stack(want_ys[::-1], 1), rtol=1e-12)


def test_bits_do_not_depend_on_threads():
    from functrans import threads
    s, p = np.random.default_rng(4).normal(size=(3000, 2)), np.ones(3000)
    f = jit(vmap(pendulum(50)))
    with threads(1):
        one = f(s, p)
    with threads(2):
        two = f(s, p)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_mixes_lanes_runs_in_steps():
    def f(s):
        return scan(lambda s, _: (s - 0.1 * np.mean(s, 0), None), s, None, length=4)[0]

    s = np.random.default_rng(5).normal(size=(30, 2))
    assert "loop of lanes" not in kinds(f, s)
    want = s
    for _ in range(4):
        want = want - 0.1 * want.mean(0)
    np.testing.assert_allclose(jit(f)(s), want, rtol=1e-13)


def test_the_program_of_one_lane():
    jaxpr = jit(lambda a, b: np.concatenate([a, b[None].repeat(2, 0) * 2], 0).T).jaxpr(
        np.ones((3, 20)), np.ones(20))
    single = alone(jaxpr, 20)
    assert [v.aval.shape for v in single.invars] == [(3,), ()]
    assert single.out_avals[0].shape == (5,)
    assert extents([jaxpr.in_avals[0], jaxpr.in_avals[1]]) == [20]
    assert alone(jit(lambda a: np.roll(a, 1, 1)).jaxpr(np.ones((3, 20))), 20) is None
