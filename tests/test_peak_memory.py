"""What runs need in memory: loops' stacks, sums in chunks, parts of dying arrays, the list at the peak."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from functrans.plan.lower import FUSE

import functrans as ft
from functrans import checkpoint, grad, jit, jvp, lax, plan, value_and_grad, vmap
from functrans.plan import residuals
from functrans.transform import outside


def temporaries(f, *args):
    return jit(f).lower(*args).memory_analysis().temp_size_in_bytes


# ----- carries that lie in their stacks -------------------------------------------------------------


def turn(c, x):
    a, b = c
    a = np.tanh(a @ WEIGHTS) + x
    return a, b * 0.5 + np.sum(a, axis=0)


WEIGHTS = np.random.default_rng(0).normal(size=(6, 6)) * 0.4
STACKED = {
    "begin": lambda old, new, x: old[0], "end": lambda old, new, x: new[0],
    "both": lambda old, new, x: (old[0], new[0]), "both carries": lambda old, new, x: (old, new),
    "twice": lambda old, new, x: (new[0], new[0], old[1]),
    "more": lambda old, new, x: (old[0], new[0] * x, new[1] + 1.0)}


def by_hand(start, xs, reverse, what):
    """The loop in NumPy."""
    order = range(len(xs) - 1, -1, -1) if reverse else range(len(xs))
    old, rows = start, [None] * len(xs)
    for i in order:
        new = turn(old, xs[i])
        rows[i] = STACKED[what](old, new, xs[i])
        old = new
    stacks = ft.tree.map(lambda *r: np.stack(r), rows[0], *rows[1:]) if len(xs) > 1 else ft.tree.map(
        lambda r: r[None], rows[0])
    return old, stacks


@pytest.mark.parametrize("what", list(STACKED))
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_stacked_carries(what, reverse, n):
    """Stacks as results, and stacks that only the program reads, where more of them share memory."""
    rng = np.random.default_rng(n)
    start, xs = (rng.normal(size=(16, 6)), rng.normal(size=6)), rng.normal(size=(n, 16, 6))

    def run(start, xs):
        xs = np.cos(xs)                         # made here: the stack may lie over it
        def step(c, x):
            new = turn(c, x)
            return new, STACKED[what](c, new, x)
        return lax.scan(step, start, xs, reverse=reverse)

    def inside(start, xs):
        end, stacks = run(start, xs)
        return end, [np.sum(np.sin(s), axis=0) for s in ft.tree.leaves(stacks)]
    want_end, want = by_hand(start, np.cos(xs), reverse, what)
    end, stacks = jit(run)(start, xs)
    for a, b in zip(ft.tree.leaves((want_end, want)), ft.tree.leaves((end, stacks)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)
    end, sums = jit(inside)(start, xs)
    for a, b in zip(ft.tree.leaves(want_end), ft.tree.leaves(end), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)
    for a, b in zip(ft.tree.leaves(want), sums, strict=True):
        np.testing.assert_allclose(b, np.sum(np.sin(a), axis=0), rtol=1e-11, atol=1e-12)


def test_a_carry_that_stays():
    def f(x, ks):
        return lax.scan(lambda c, k: ((c[0], c[0] + k), (c[0], c[1])), (x, x), ks)
    x, ks = np.arange(20.0), np.arange(4.0)
    (a, b), (s, t) = jit(f)(x, ks)
    np.testing.assert_array_equal(a, x)
    np.testing.assert_array_equal(b, x + 3)
    np.testing.assert_array_equal(s, np.tile(x, (4, 1)))
    np.testing.assert_array_equal(t, [x, x, x + 1, x + 2])


# ----- recurrent networks -----------------------------------------------------------------------------


def network(weights, xs):
    w, u, b = weights

    def step(h, x):
        return np.tanh(h @ w + x @ u + b), None
    return np.sum(lax.scan(step, np.zeros((xs.shape[1], len(w))), xs)[0] ** 2)


def network_gradient(weights, xs):
    """Backpropagation through time."""
    w, u, b = weights
    hs = [np.zeros((xs.shape[1], len(w)))]
    for x in xs:
        hs.append(np.tanh(hs[-1] @ w + x @ u + b))
    gw, gu, gb, g = np.zeros_like(w), np.zeros_like(u), np.zeros_like(b), 2 * hs[-1]
    for i in range(len(xs) - 1, -1, -1):
        t = g * (1 - hs[i + 1] ** 2)
        gw += hs[i].T @ t
        gu += xs[i].T @ t
        gb += np.sum(t, axis=0)
        g = t @ w.T
    return gw, gu, gb


@pytest.mark.parametrize(("steps", "batch", "width", "inputs"),
                         [(300, 16, 64, 64), (240, 20, 60, 30), (96, 64, 72, 16), (331, 16, 64, 8),
                          (60, 5, 8, 4)])
def test_recurrent_network(steps, batch, width, inputs):
    """Each state is kept once. Other temporaries are small if the length has a divisor that suits."""
    rng = np.random.default_rng(0)
    weights = tuple([rng.normal(size=s) * 0.1 for s in ((width, width), (inputs, width), (width,))])
    xs = rng.normal(size=(steps, batch, inputs))
    for a, b in zip(jit(grad(network))(weights, xs), network_gradient(weights, xs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    states = 8 * (steps + 1) * batch * width
    if states > 2 << 20:
        used = temporaries(grad(network), weights, xs)
        assert used <= (2.1 if steps == 331 else 1.0) * states + (1 << 20)


def test_second_derivatives_of_loops():
    """jvp of grad, and a batch of gradients, of a loop whose sums are taken in chunks."""
    rng = np.random.default_rng(1)
    weights = tuple([rng.normal(size=s) * 0.1 for s in ((40, 40), (16, 40), (40,))])
    xs = rng.normal(size=(160, 48, 16))
    along = tuple([rng.normal(size=w.shape) for w in weights])
    got = jit(lambda p: jvp(lambda p: grad(network)(p, xs), (p,), (along,))[1])(weights)
    h = 1e-6
    ahead, back = (network_gradient([w + s * h * d for w, d in zip(weights, along, strict=True)], xs)
                   for s in (1, -1))
    for a, b, c in zip(got, ahead, back, strict=True):
        np.testing.assert_allclose(a, (b - c) / (2 * h), rtol=2e-5, atol=2e-5)
    many = jit(vmap(grad(network), (None, 0)))(weights, np.stack([xs, xs * 0.5]))
    for k, scale in enumerate((1.0, 0.5)):
        for a, b in zip(many, network_gradient(weights, xs * scale), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-9, atol=1e-11)


def test_remat_inside_and_values_of_unscanned_loops_agree():
    rng = np.random.default_rng(2)
    weights = tuple([rng.normal(size=s) * 0.1 for s in ((64, 64), (64, 64), (64,))])
    xs = rng.normal(size=(120, 40, 64))

    def again(weights, xs):
        w, u, b = weights
        step = checkpoint(lambda h, x: np.tanh(h @ w + x @ u + b))
        return np.sum(lax.scan(lambda h, x: (step(h, x), None), np.zeros((40, 64)), xs)[0] ** 2)
    for a, b in zip(jit(grad(again))(weights, xs), network_gradient(weights, xs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# ----- what is computed again instead of being stacked -----------------------------------------------


@pytest.mark.parametrize("steps", [3, 20_000])
def test_solvers_keep_their_states(steps):
    """Runge-Kutta on an oscillator; the short loop keeps what it likes."""
    def slope(s, k):
        return np.stack([s[1], k * (1 - s[0] * s[0]) * s[1] - s[0]])

    def final(s, k):
        def step(s, _):
            a = slope(s, k)
            b = slope(s + 5e-4 * a, k)
            return s + 1e-3 * slope(s + 5e-4 * b, k), None
        return np.sum(lax.scan(step, s, None, length=steps)[0])
    s, k = np.array([1.0, 0.5]), 1.5
    value, (gs, gk) = jit(value_and_grad(final, (0, 1)))(s, k)
    h = 1e-6
    f = jit(final)
    assert value == pytest.approx(f(s, k), rel=1e-12)
    for i in range(2):
        d = np.eye(2)[i] * h
        assert gs[i] == pytest.approx((f(s + d, k) - f(s - d, k)) / (2 * h), rel=1e-5, abs=1e-7)
    assert gk == pytest.approx((f(s, k + h) - f(s, k - h)) / (2 * h), rel=1e-5, abs=1e-7)
    if steps > 1000:
        assert temporaries(grad(final, (0, 1)), s, k) <= 1.1 * 16 * steps


@pytest.mark.parametrize("k", [1.5, -0.5])
def test_solvers_of_unknown_length_keep_their_states(k):
    """The same with an end that depends on the data: a stack of states, none of what follows from them."""
    def final(s, k):
        def step(c):
            s, t = c
            a = np.stack([s[1], k * (1 - s[0] * s[0]) * s[1] - s[0]])
            m = s + 5e-3 * a
            return s + 1e-2 * np.stack([m[1], k * (1 - m[0] * m[0]) * m[1] - m[0]]), t + 1e-2
        return np.sum(lax.while_loop(lambda c: c[1] < 2.0, step, (s, 0.0))[0])
    s = np.array([1.0, 0.5])
    f = jit(final)
    lowered = jit(grad(final, (0, 1))).lower(s, k)
    kept = [v.aval.shape[1:] for e in lowered.jaxpr.eqns if e.op.name == "while" for v in e.outs
            if v.aval.stacked]
    assert kept == [(2,)]
    gs, gk = lowered.compile()(s, k)
    h = 1e-6
    for i in range(2):
        d = np.eye(2)[i] * h
        assert gs[i] == pytest.approx((f(s + d, k) - f(s - d, k)) / (2 * h), rel=1e-6)
    assert gk == pytest.approx((f(s, k + h) - f(s, k - h)) / (2 * h), rel=1e-6)
    hess = jit(ft.hessian(final, 1))(s, k)
    g = jit(grad(final, 1))
    assert hess == pytest.approx((g(s, k + 1e-5) - g(s, k - 1e-5)) / 2e-5, rel=1e-6)


def test_products_over_the_operand_that_ends():
    """Two products of one matrix, of which the result takes the place of one."""
    def loss(w, x, y):
        return np.mean(np.log(1 + np.exp(-y * (x @ w))))
    n = 20_000
    rng = np.random.default_rng(0)
    x, w, v = rng.normal(size=(n, 30)), rng.normal(size=30), rng.normal(size=30)
    y = np.sign(rng.normal(size=n))

    def run(w, v, x, y):
        return jvp(lambda w: grad(loss)(w, x, y), (w,), (v,))[1]
    s = 1 / (1 + np.exp(y * (x @ w)))
    np.testing.assert_allclose(jit(run)(w, v, x, y), (s * (1 - s) * (x @ v) / n) @ x, rtol=1e-10)
    if FUSE:
        assert temporaries(run, w, v, x, y) <= 2 * 8 * n + 4096


OPS = [lambda a, b, x, w: a + b, lambda a, b, x, w: np.sin(a) * b * 0.5, lambda a, b, x, w: a * 0.5 - b,
       lambda a, b, x, w: np.tanh(a @ w), lambda a, b, x, w: np.tanh(a) * np.cos(b),
       lambda a, b, x, w: (x @ w) * 0.3 + a * 0.1, lambda a, b, x, w: 1 - a * a * 0.1,
       lambda a, b, x, w: np.cos(b) + a[::-1]]


@pytest.mark.parametrize("seed", range(12))
def test_random_loops_agree_with_unrolled_ones(seed, monkeypatch):
    """Gradients of a scan that keeps as little as it can are those of the same steps written out."""
    monkeypatch.setattr(residuals, "LEAST", 1)
    monkeypatch.setattr(residuals, "NS_PER_BYTE", (0.75, 50.0)[seed % 2])
    for name, value in (("MUCH", 1000), ("CHUNK", 4000), ("FEWEST", 2)):
        monkeypatch.setattr(outside, name, value)
    rng = np.random.default_rng(seed)
    m, width, n = (int(rng.choice(k)) for k in ([3, 8, 24], [2, 8, 20], [1, 2, 6, 7, 12, 20]))
    reverse = bool(rng.integers(2))
    program = rng.integers(0, [8, 100, 100], size=(int(rng.integers(3, 9)), 3)).tolist()
    picks = rng.integers(0, 100, size=5).tolist()

    def turn(w, c, x):
        values = [*c, x]
        for op, i, j in program:
            values.append(OPS[op](values[i % len(values)], values[j % len(values)], x, w))
        a, b, y = (values[k % len(values)] for k in picks[:3])
        new = np.tanh(a) + 0.01 * values[-1], np.sin(b)
        ys = [*c, *new, y]
        return new, [ys[k % 5] for k in picks[3:]]

    def scanned(w, s, xs):
        c, ys = lax.scan(lambda c, x: turn(w, c, x), (s, s * 0.5), xs * 1.01, reverse=reverse)
        return sum([np.sum(np.sin(v)) for v in (*c, *ys)])

    def unrolled(w, s, xs):
        c, total, xs = (s, s * 0.5), 0.0, xs * 1.01
        for i in range(n)[::-1 if reverse else 1]:
            c, ys = turn(w, c, xs[i])
            total = total + sum([np.sum(np.sin(y)) for y in ys])
        return total + sum([np.sum(np.sin(v)) for v in c])
    args = rng.normal(size=(width, width)) * 0.3, rng.normal(size=(m, width)), rng.normal(size=(n, m, width))
    for a, b in zip(jit(grad(scanned, (0, 1, 2)))(*args), jit(grad(unrolled, (0, 1, 2)))(*args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


# ----- the list ---------------------------------------------------------------------------------------


def test_the_list_at_the_peak():
    def f(x, w):
        a = np.sort(x, axis=1)
        return np.sum(a @ w, axis=0) + np.max(a)
    x, w = np.ones((500, 40)), np.ones((40, 60))
    memory = jit(f).lower(x, w).memory_analysis()
    line = f.__code__.co_firstlineno
    by = {(b.kind, b.type): b for b in memory.live_at_peak}
    assert by["argument", "f64[500,40]"].name == "x"
    assert by["temporary", "f64[500,40]"].source[1] == line + 1
    assert by["temporary", "f64[500,60]"].source[1] == line + 2
    assert by["output", "f64[60]"].nbytes == 480
    found = [b.nbytes for b in memory.live_at_peak]
    assert found == sorted(found, reverse=True)
    inside = sum([b.nbytes for b in memory.live_at_peak if b.kind == "temporary"])
    assert inside <= memory.temp_size_in_bytes <= 1.1 * inside + 4096
    text = str(memory).splitlines()
    assert f"{memory.peak_memory_in_bytes:,}  bytes at the peak, step" in text[0]
    assert any("test_peak_memory.py" in t and "240,000" in t for t in text)


def test_the_list_of_a_loop_and_of_a_scalar():
    memory = jit(grad(network)).lower(
        tuple([np.ones(s) for s in ((64, 64), (64, 64), (64,))]), np.ones((300, 16, 64))).memory_analysis()
    stack = memory.live_at_peak[0]
    assert (stack.type, stack.kind) == ("f64[301,16,64]", "temporary") and stack.source[2] == "network"
    assert any(".body." in b.name for b in memory.live_at_peak)
    memory = jit(lambda x: x * 2).lower(1.0).memory_analysis()
    assert [b.kind for b in memory.live_at_peak] == ["argument", "output"]


# ----- the pools --------------------------------------------------------------------------------------


def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024 * int(line.split()[1])


def test_a_sweep_of_shapes_stays_in_bounds():
    ft.clear_caches()
    f = jit(lambda x: (np.sin(x), x * 2))
    for n in range(150_000, 350_000, 1_000):
        f(np.ones(n))
        gc.collect(0)
    blocks, nbytes, limit = plan.outputs_info()
    assert blocks <= 64 and nbytes <= limit
    assert plan.arena_info()[1] <= plan.arena_info()[2]
    ft.clear_caches()
    assert plan.outputs_info()[:2] == (0, 0) and plan.arena_info()[:2] == (0, 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_long_runs_do_not_grow():
    """Twenty functions, of all sorts of results, again and again."""
    def one(k):
        if k % 4 == 0:
            return (jit(lambda x: lax.scan(lambda c, _: (np.sin(c) * k, c), x, None, length=5)),
                    np.ones(50 + k))
        if k % 4 == 1:
            return jit(grad(lambda x: np.sum(np.tanh(x @ x.T)))), np.ones((10 + k, 8))
        if k % 4 == 2:
            return (jit(lambda x: {"a": x * k, "b": [np.sum(x), x.T]}, donate_argnums=0),
                    np.ones((300 + k, 500)))
        return jit(grad(lambda x: lax.while_loop(lambda c: c < 1e3, lambda c: c * 1.5 + 0.1 * k, x))), 1.0
    calls = [one(k) for k in range(20)]

    def rounds(n):
        for _ in range(n):
            for f, x in calls:
                f(x)
        gc.collect()
        return resident()
    before = rounds(30)
    assert rounds(150) - before < 4 << 20
