"""Values of short rows, column by column: the same results, without calls for each row."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

import functrans
from functrans import grad, jit, vmap
from functrans.plan.apart import apart
from functrans.plan.describe import plan_of

lowering = sys.modules["functrans.plan.lower"]


def energy(x, mass):
    away = x[:, None, :] - x[None, :, :]
    r = np.sqrt(np.sum(away * away, axis=-1) + 0.1)
    return -np.sum(mass[:, None] * mass / r)


def farthest(x, mass):
    away = np.abs(x[:, None, :] - x[None, :, :])
    return np.sum(mass * np.max(np.max(away, axis=-1), axis=0)) + np.sum(np.min(away, axis=(0, 2)))


def directions(x, mass):
    away = x[:, None, :] - x[None, :, :]
    unit = away / np.sqrt(np.sum(away * away, axis=-1, keepdims=True) + 1.0)
    signs = np.where(unit > 0, unit, 2 * unit)
    return np.sum(mass[:, None] * np.sum(signs * np.max(unit, axis=-1, keepdims=True), axis=0))


def both(f, *args, monkeypatch):
    jaxpr = jit(f).lower(*args).jaxpr
    values = functrans.tree.leaves(args)
    now = plan_of(jaxpr)
    monkeypatch.setattr(lowering, "apart", lambda j: j)
    before = plan_of(jaxpr)
    monkeypatch.undo()
    for a, b in zip(before.program.run(list(values)), now.program.run(list(values)), strict=True):
        assert_allclose(b, a, rtol=1e-4 if a.dtype == np.float32 else 1e-11,
                        atol=(1e-4 if a.dtype == np.float32 else 1e-11) * np.max(np.abs(a)))
    return before, now


@pytest.mark.parametrize("f", [energy, farthest, directions])
@pytest.mark.parametrize("width", [2, 3, 8])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pairs_of_points(f, width, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, width)).astype(dtype)
    mass = rng.uniform(0.5, 1.5, 150).astype(dtype)
    before, now = both(grad(f, (0, 1)), x, mass, monkeypatch=monkeypatch)
    assert now.cost.bytes < before.cost.bytes
    assert_allclose(jit(f)(x, mass), f(x, mass), rtol=1e-4 if dtype == np.float32 else 1e-11)


def test_rows_from_memory(monkeypatch):
    """An argument of short rows is read where it is."""
    x = np.random.default_rng(0).normal(size=(40_000, 4))
    before, now = both(lambda x: np.sqrt(np.sum(x * x, axis=1)), x, monkeypatch=monkeypatch)
    assert len(now.steps) == 1 and now.cost.bytes == before.cost.bytes
    both(lambda x: np.sum(x[::2] * 2, axis=1), x, monkeypatch=monkeypatch)
    both(lambda x: np.sum(np.exp(x), axis=(0, 1)), x, monkeypatch=monkeypatch)


def test_reductions_that_keep_the_rows(monkeypatch):
    """Their results are small, and put together where something needs them whole."""
    def f(x, y, w):
        t = x[:, None, :] * y
        total = np.sum(t, axis=0)
        return total / np.sum(total), np.mean(t, axis=1) @ w, np.max(t, axis=2)
    shapes = ((200, 3), (100, 3), (3, 2))
    both(f, *[np.random.default_rng(0).normal(size=s) for s in shapes], monkeypatch=monkeypatch)


def test_derivatives_and_batches(monkeypatch):
    rng = np.random.default_rng(0)
    x, mass = rng.normal(size=(4, 60, 3)), rng.uniform(0.5, 1.5, 60)
    f = vmap(grad(energy), (0, None))
    both(f, x, mass, monkeypatch=monkeypatch)
    h = 1e-6
    step = np.zeros((60, 3))
    step[7, 1] = h
    slope = (energy(x[0] + step, mass) - energy(x[0] - step, mass)) / (2 * h)
    assert_allclose(f(x, mass)[0, 7, 1], slope, rtol=1e-6)


def test_what_is_left_alone():
    """Small values, long rows, and large results that would have to be put together again."""
    def jaxpr(f, *shapes):
        return jit(f).lower(*[np.ones(s) for s in shapes]).jaxpr
    for j in (jaxpr(energy, (20, 3), (20,)), jaxpr(energy, (200, 9), (200,)),
              jaxpr(lambda x, b: np.exp(x + b), (50_000, 4), (4,)),
              jaxpr(lambda x: x / np.sum(x, axis=1, keepdims=True), (50_000, 4))):
        assert apart(j) is j


def test_complex_and_half(monkeypatch):
    x = np.random.default_rng(0).normal(size=(120, 3))
    both(lambda z: np.sum(np.abs(np.sum(z[:, None, :] * np.conj(z), axis=-1))), x + 1j * x[::-1],
         monkeypatch=monkeypatch)
    jaxpr = jit(lambda x: np.sum(x[:, None, :] * x, axis=-1)).lower(np.ones((200, 2), np.float16)).jaxpr
    assert_allclose(plan_of(jaxpr).program.run([np.ones((200, 2), np.float16)])[0], 2.0)
