"""Values that are computed again instead of kept: the same bits, less memory."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import functrans
from functrans import grad, jit
from functrans.plan.describe import plan_of
from functrans.plan.recompute import recompute

lowering = sys.modules["functrans.plan.lower"]


def gelu_net(params, x):
    up, down = params
    u = x @ up
    h = 0.5 * u * (1 + np.tanh(0.8 * (u + 0.044715 * u * u * u)))
    return np.mean((h @ down) ** 2)


def tanh_net(params, x):
    for w in params:
        x = np.tanh(x @ w)
    return np.sum(x * x)


def softmax_net(params, x):
    a, b = params
    s = x @ a
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    return np.sum((e / np.sum(e, axis=1, keepdims=True)) @ b)


def both(f, *args, monkeypatch):
    """Plans and results without and with."""
    jaxpr = jit(f).lower(*args).jaxpr
    values = functrans.tree.leaves(args)
    now = plan_of(jaxpr)
    monkeypatch.setattr(lowering, "others", lambda j: ())
    before = plan_of(jaxpr)
    monkeypatch.undo()
    for a, b in zip(before.program.run(list(values)), now.program.run(list(values)), strict=True):
        assert_array_equal(a, b)
    return before, now


@pytest.mark.parametrize("f, widths, factor", [
    (gelu_net, (64, 512, 64), 0.8), (softmax_net, (64, 512, 64), 1.0), (tanh_net, (64, 300, 300, 300), 1.0)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_of_networks(f, widths, factor, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    params = tuple(rng.normal(size=s).astype(dtype) * 0.1 for s in pairwise(widths))
    x = rng.normal(size=(500, widths[0])).astype(dtype)
    before, now = both(grad(f), params, x, monkeypatch=monkeypatch)
    assert now.frame_bytes <= factor * before.frame_bytes
    assert now.cost.bytes <= before.cost.bytes
    assert now.cost.transcendentals == before.cost.transcendentals


def test_nothing_costly_is_computed_twice():
    def f(x, w):
        y = np.exp(x)
        return np.sum((y @ w) * np.log(y + 2.0))
    lowered = jit(f).lower(np.ones((400, 300)), np.ones((300, 300)))
    assert lowered.plan.cost.transcendentals == 2 * 400 * 300


def test_small_programs_are_left_alone():
    jaxpr = jit(grad(lambda w, x: np.sum(np.tanh(x @ w)))).lower(np.ones((20, 20)), np.ones((20, 20))).jaxpr
    assert recompute(jaxpr) is jaxpr


def test_long_programs_take_linear_time():
    """Neither recursion nor a search of all pairs: a chain with thousands of far uses."""
    w = np.ones((200, 200))

    def f(x):
        total = x
        for _ in range(400):
            x = (x * 0.5) @ w + x * 0.25
            total = total + x * 2.0
        return total
    lowered = jit(f).lower(np.ones((200, 200)))
    assert len(lowered.jaxpr.eqns) > 1500 and len(lowered.plan.steps) > 400


def test_values_of_outputs_and_products_stay():
    """What must be in memory anyway is not computed again."""
    def f(x, w):
        h = x * 2.0 + 1.0
        return h, (h @ w) * h
    plan = jit(f).lower(np.ones((400, 300)), np.ones((300, 300))).plan
    assert sum(s.cost.flops for s in plan.steps if not s.kernel.startswith("matmul")) <= 3 * 120_000


# ----- shifts and slices -----------------------------------------------------------------------------


def periodic(u, load):
    slope = np.roll(u, -1) - u
    bend = np.roll(u, 1) + np.roll(u, -1) - 2 * u
    return np.sum(load * u) + np.sum((1 + u * u) * slope * slope) + np.sum(bend * bend)


def bounded(u, load):
    flow = load * u * u
    step = flow[1:] - flow[:-1]
    return np.sum(step * step)


@pytest.mark.parametrize("f", [periodic, bounded])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_stencil_reads_its_arguments_in_several_places(f, dtype, monkeypatch):
    u, load = np.random.default_rng(0).normal(size=(2, 1_000_000)).astype(dtype)
    before, now = both(grad(f), u, load, monkeypatch=monkeypatch)
    assert now.cost.bytes < 0.8 * before.cost.bytes and now.arena_bytes <= before.arena_bytes


def test_shifts_of_shifts(monkeypatch):
    def f(u):
        a = np.roll(u, 3) * 2.0
        return np.roll(a, -3) + np.roll(a + u, 5) - np.roll(np.roll(a, 1), -1)
    both(f, np.random.default_rng(0).normal(size=1_000_000), monkeypatch=monkeypatch)
    grid = np.random.default_rng(0).normal(size=(1000, 1000))
    both(lambda u: np.roll(np.roll(u * u, 1, 0) * 2.0, 1, 1) + np.roll(u, 2, (0, 1)), grid,
         monkeypatch=monkeypatch)


def test_many_sweeps_stay_as_long_as_they_are(monkeypatch):
    """What a shift is of is made again only while that is little."""
    def f(u):
        for _ in range(30):
            u = u + 0.1 * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
        return np.sum(np.exp(np.roll(np.exp(-u * u), 1)))
    _, now = both(grad(f), np.random.default_rng(0).normal(size=300_000), monkeypatch=monkeypatch)
    assert now.cost.transcendentals <= 3 * 300_000
    assert now.cost.flops < 30 * 60 * 300_000


def test_positions_of_extrema_of_large_arrays():
    """They are of the reductions' family, but have one axis."""
    x = np.random.default_rng(0).normal(size=(500, 400))
    f = jit(lambda x: np.argmax(np.exp(x) + 1.0, -1) + np.argmin(x, -1))
    assert (f(x) == np.argmax(x, -1) + np.argmin(x, -1)).all()
