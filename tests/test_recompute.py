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
    monkeypatch.setattr(lowering, "recompute", lambda j: j)
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
