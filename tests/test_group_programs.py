"""Random programs of elementwise ops, reductions, shifts and pieces: groups against one step an equation.

Several groups follow each other here and need each other's values, which hand-written cases seldom do.
"""

import numpy as np
import pytest
from functrans.plan.lower import lower

import functrans as ft

SHAPES = [(300, 40), (64, 513), (9000,), (20, 30, 25)]


def program(seed):
    """A function of two arrays, and their shape."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    choices = [tuple(int(i) for i in rng.integers(1 << 30, size=3)) for _ in range(rng.integers(6, 22))]
    makers = [
        lambda a, b: np.tanh(a), lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a / (1 + b * b),
        lambda a, b: np.sum(a, axis=-1, keepdims=True) + b,
        lambda a, b: np.max(a, axis=-1, keepdims=True) - b,
        lambda a, b: np.roll(a, 3, axis=0), lambda a, b: np.roll(a, -2, axis=-1),
        lambda a, b: np.where(a > b, a, b * 0.3), lambda a, b: np.exp(-a * a),
        lambda a, b: np.sum(a) * b * 1e-3,
        lambda a, b: np.sum(a, axis=0, keepdims=True) * 0.01 + b,
        lambda a, b: np.concatenate([a[..., :7], b[..., 7:]], axis=-1)]

    def f(x, y):
        values = [x, y, x * 0.5 + y]
        for which, i, j in choices:
            made = makers[which % len(makers)](values[i % len(values)], values[j % len(values)])
            values.append(np.clip(made, -5, 5))
        return values[-1], values[-2], np.sum(values[-3])
    return f, shape


def scalar(f):
    def total(x, y):
        a, b, c = f(x, y)
        return np.sum(a * b) + c
    return total


@pytest.mark.parametrize("seed", range(40))
def test_groups_give_what_steps_give(seed):
    f, shape = program(seed)
    rng = np.random.default_rng(seed + 1)
    args = [rng.standard_normal(shape), rng.standard_normal(shape)]
    for g in (f, ft.grad(scalar(f), (0, 1))):
        jaxpr = ft.jit(g).lower(*args).jaxpr
        captured = [np.zeros(a.shape, a.dtype) for a in jaxpr.in_avals[2:]]
        fused, plain = (lower(jaxpr, fused=on).run([*args, *captured]) for on in (True, False))
        for got, want in zip(fused, plain, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-8)
