"""Jacobians of sparse structure, against the same as a dense batch of directions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import functrans as ft
from functrans import hessian, jacfwd, jacrev, jit, lax
from functrans.api import jacobians

X = np.linspace(-1, 1, 40)
A = np.random.default_rng(0).normal(size=(30, 40))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


FUNCTIONS = {
    "rosenbrock": rosenbrock,
    "product": lambda x: np.tanh(A @ x),
    "norm": lambda x: np.sum(np.tanh(A @ x) ** 2),
    "roll": lambda x: np.sum(np.roll(x, 1) * np.sin(x) - np.where(x > 0, x ** 3, np.roll(x, 2))),
    "moves": lambda x: np.concatenate([x[::-1] * x, x[:3] / x[3:6], np.cumsum(x)]),
    "stack": lambda x: np.stack([x.reshape(8, 5).T.ravel(), np.exp(x)]),
    "grid": lambda x: np.sum(x.reshape(8, 5)[1:] * x.reshape(8, 5)[:-1], axis=0),
    "matrices": lambda x: x.reshape(8, 5) @ np.cos(x.reshape(8, 5)).T,
    "many": lambda x: np.sum(np.diff(x.reshape(8, 5), axis=1) ** 4) + np.max(x) + np.prod(x[:3]),
    "scan": lambda x: lax.scan(lambda c, t: (c * np.sin(t) + t, c), x[0], x)[1],
    "indices": lambda x: x[np.array([3, 3, 1])] * 2 + np.sort(x)[:3],
    "constant": lambda x: 0 * x + 1.0,
    "part": lambda x: x[:2] * 3 - x[5:7],
    "call": lambda x: jit(lambda y: y * y)(x)[2:] * x[1],
    "float32": lambda x: np.float32(2) * x.astype(np.float32)[::2] ** 2,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, monkeypatch):
    f = FUNCTIONS[name]
    tolerance = 1e-6 if name == "float32" else 1e-12
    for transform in (jacfwd, jacrev, *([hessian] if np.ndim(f(X)) == 0 else [])):
        for mode in (lambda g: g, jit):
            monkeypatch.setattr(jacobians, "FEW", 10**9)
            want = mode(transform(f))(X)
            monkeypatch.setattr(jacobians, "FEW", 1)
            got = mode(transform(f))(X)
            assert_allclose(got, want, rtol=tolerance, atol=tolerance)
            assert got.dtype == want.dtype and got.flags.c_contiguous


def test_several_arguments_and_aux(monkeypatch):
    monkeypatch.setattr(jacobians, "FEW", 1)

    def f(p, y):
        return {"a": p["w"][1:] * y[:-1], "b": np.sum(y ** 2) * p["s"]}, p["w"] * 2

    p = {"w": np.arange(1.0, 6.0), "s": np.float64(3.0)}
    y = np.arange(5.0)
    for transform in (jacfwd, jacrev):
        jac, aux = transform(f, argnums=(0, 1), has_aux=True)(p, y)
        assert_allclose(aux, p["w"] * 2)
        assert_allclose(jac["a"][0]["w"], np.eye(4, 5, 1) * y[:-1, None])
        assert_allclose(jac["a"][1], np.eye(4, 5) * p["w"][1:, None])
        assert_allclose(jac["b"][0]["s"], 30.0)
        assert_allclose(jac["b"][1], 6 * y)
        assert jac["a"][0]["s"].shape == (4,)


def test_under_other_transforms(monkeypatch):
    monkeypatch.setattr(jacobians, "FEW", 1)

    def trace(x):
        return np.sum(hessian(rosenbrock)(x) ** 2)

    x = X[:6]
    g = ft.grad(trace)(x)
    e = 1e-6
    want = [(trace(x + e * d) - trace(x - e * d)) / (2 * e) for d in np.eye(6)]
    assert_allclose(g, want, rtol=1e-5)
    xs = np.stack([x, x + 0.5])
    assert_allclose(ft.vmap(hessian(rosenbrock))(xs), [hessian(rosenbrock)(v) for v in xs])
