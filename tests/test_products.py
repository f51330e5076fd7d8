"""Jacobians by chunks and by the cheaper mode, Hessian products, flat pytrees, prepared functions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import functrans as ft
from functrans import (
    errors,
    grad,
    hessian,
    hessian_diag,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    prepare,
    ravel_pytree,
    vmap,
)
from functrans.api import chunks

X = np.random.default_rng(0).normal(size=(3, 4))
A = np.random.default_rng(1).normal(size=(5, 12))


def f(p, y):
    return {"a": np.tanh(A @ np.ravel(p["w"])) * p["s"], "b": np.sum(y ** 2) * p["w"][0]}


P, Y = {"s": np.float64(0.5), "w": X}, np.arange(3.0)


def same(a, b):
    ft.tree.map(lambda x, y: assert_allclose(x, y, rtol=1e-12, atol=1e-12), a, b)
    for x, y in zip(ft.tree.leaves(a), ft.tree.leaves(b), strict=True):
        assert np.shape(x) == np.shape(y) and x.dtype == y.dtype


@pytest.mark.parametrize("transform", [jacfwd, jacrev, jacobian])
@pytest.mark.parametrize("chunk_size", [1, 5, 100, "auto"])
def test_chunks(transform, chunk_size):
    want = transform(f, (0, 1))(P, Y)
    same(transform(f, (0, 1), chunk_size=chunk_size)(P, Y), want)
    same(jit(transform(f, (0, 1), chunk_size=chunk_size))(P, Y), want)
    jac, aux = transform(lambda x: (x ** 2, x[0]), has_aux=True, chunk_size=chunk_size)(X)
    same(jac, transform(lambda x: x ** 2)(X))
    assert_array_equal(aux, X[0])


def test_chunked_hessian_and_derivatives_of_it():
    def g(x):
        return np.sum(np.tanh(x) ** 3) * x[0, 1]

    same(hessian(g, chunk_size=5)(X), hessian(g)(X))
    third = jvp(hessian(g, chunk_size=5), (X,), (np.ones((3, 4)),))[1]
    same(third, jvp(hessian(g), (X,), (np.ones((3, 4)),))[1])
    same(vmap(jacfwd(np.sin, chunk_size=2))(X), vmap(jacfwd(np.sin))(X))


def test_auto_bounds_the_memory(monkeypatch):
    seen = []

    def push(x):
        seen.append(x)
        return np.sin(x) * 2

    monkeypatch.setattr(chunks, "BUDGET", 1000)
    a = ft.ir.core.aval((10,), np.float64)
    assert chunks._affordable(push, [a]) == 1000 // (3 * 80)


@pytest.mark.parametrize(("n_in", "n_out", "mode"), [
    (3, 3, "jacfwd"), (2, 5, "jacfwd"), (5, 1, "jacrev"), (4, 2, "jacfwd")])
def test_the_cheaper_mode(n_in, n_out, mode, monkeypatch):
    m = np.ones((n_out, n_in))
    used = []
    for name, product in (("jacfwd", "jvp"), ("jacrev", "vjp")):
        original = getattr(ft.api.jacobians, product)
        monkeypatch.setattr(ft.api.jacobians, product, lambda *a, name=name, original=original, **k:
                            used.append(name) or original(*a, **k))
    assert_allclose(jacobian(lambda x: m @ x)(np.ones(n_in)), m)
    assert set(used) == {mode}


def test_hvp():
    def g(p, y):
        return np.sum(np.sin(p["w"]) ** 2 * p["s"]) + np.sum(y ** 3) * p["s"]

    v = {"s": np.float64(2.0), "w": X + 1}
    want = jvp(grad(g), (P, Y), (v, np.zeros(3)))[1]
    same(hvp(g)(P, Y, v), want)
    both = hvp(g, (0, 1))(P, Y, (v, Y + 1))
    same(both, jvp(grad(g, (0, 1)), (P, Y), (v, Y + 1))[1])
    same(jit(hvp(g))(P, Y, v), want)
    same(vmap(hvp(lambda x: np.sum(x ** 3)))(X, X), 6 * X * X)
    with pytest.raises(errors.ArgumentError, match=r"Write hvp\(f\)\(x, v\)"):
        hvp(g)(P)
    with pytest.raises(errors.ShapeError, match=r"f64\[2\]"):
        hvp(lambda x: np.sum(x))(np.ones(3), np.ones(2))
    with pytest.raises(errors.NonScalarOutputError):
        hvp(np.sin)(np.ones(3), np.ones(3))


@pytest.mark.parametrize("chunk_size", [None, 1, 5, "auto"])
def test_hessian_diag(chunk_size):
    def g(p):
        return np.sum(np.tanh(A @ np.ravel(p["w"])) * p["s"] ** 3) + p["w"][0, 0]

    full = hessian(g)(P)
    got = hessian_diag(g, chunk_size=chunk_size)(P)
    assert_allclose(got["s"], full["s"]["s"])
    assert_allclose(np.ravel(got["w"]), np.diag(full["w"]["w"].reshape(12, 12)), atol=1e-13)
    same(jit(hessian_diag(g, chunk_size=chunk_size))(P), got)
    assert hessian_diag(lambda x: np.sum(x), chunk_size=chunk_size)(np.zeros(0)).shape == (0,)


def test_products_pass_on_what_the_function_returns_beside():
    f = lambda x, a: (np.sum(x ** 3) * a, {"twice": 2 * x, "name": "f"})
    for run in (lambda g: g, lambda g: jit(lambda *xs: (lambda got: (got[0], got[1]["twice"]))(g(*xs)))):
        moved, aux = run(hvp(f, has_aux=True))(X, 2.0, X + 1)
        assert_allclose(moved, 12 * X * (X + 1))
        assert_allclose(aux["twice"] if isinstance(aux, dict) else aux, 2 * X)
        diagonal, aux = run(hessian_diag(f, has_aux=True))(X, 2.0)
        assert_allclose(diagonal, 12 * X)
        assert_allclose(aux["twice"] if isinstance(aux, dict) else aux, 2 * X)
    assert hvp(f, has_aux=True)(X, 2.0, X)[1]["name"] == "f"
    with pytest.raises(errors.ResultTypeError, match="has_aux=True"):
        hvp(lambda x: np.sum(x), has_aux=True)(X, X)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "all", True])
def test_bad_chunks(bad):
    for transform in (jacfwd, jacrev, jacobian, hessian, hessian_diag):
        with pytest.raises(errors.ArgumentError, match=f"chunk_size is {bad!r}"):
            transform(np.sum, chunk_size=bad)


# ----- flat pytrees --------------------------------------------------------------------------------------


def test_ravel_pytree():
    p = {"a": np.float32(1.5), "b": [np.arange(6.0).reshape(2, 3), 7], "c": ()}
    flat, unravel = ravel_pytree(p)
    assert_array_equal(flat, [1.5, 0, 1, 2, 3, 4, 5, 7])
    assert flat.dtype == np.float64
    back = unravel(flat)
    assert back["a"].dtype == np.float32 and back["b"][1].dtype == np.int64 and back["c"] == ()
    same([back["a"], back["b"][0]], [p["a"], p["b"][0]])
    assert ravel_pytree({})[0].shape == (0,)

    def g(v):
        q = ravel_pytree({"x": v[:3], "y": v[3:].reshape(2, 2)})[1](v * 2)
        return np.sum(q["x"] ** 2) + np.sum(q["y"])

    assert_allclose(grad(g)(np.arange(7.0)), [0, 8, 16, 2, 2, 2, 2])
    with pytest.raises(errors.ShapeError, match=r"f64\[3\] where a vector of 8 elements"):
        unravel(np.ones(3))
    with pytest.raises(errors.DtypeError, match="str"):
        ravel_pytree({"a": "text"})


# ----- prepared ------------------------------------------------------------------------------------------


def test_prepare():
    g = prepare(ft.value_and_grad(lambda p, y: np.sum(f(p, y)["a"])), P, Y)
    want = ft.value_and_grad(lambda p, y: np.sum(f(p, y)["a"]))(P, Y)
    same(g(P, Y), want)
    out = np.zeros(()), {"s": np.zeros(()), "w": np.zeros((3, 4))}
    assert g(P, Y, out=out) is out
    same(out[1]["w"], want[1]["w"])
    assert float(out[0]) == want[0]
    with pytest.raises(errors.FunctransError, match=r"f64\[3\]"):
        g({"s": 1.0, "w": np.ones(3)}, Y)
    with pytest.raises(errors.ArgumentError, match=r"out has f64\[2\] for a result f64\[3,4\]"):
        g(P, Y, out=(np.zeros(()), {"s": np.zeros(()), "w": np.zeros(2)}))
    with pytest.raises(errors.ArgumentError, match="takes a function"):
        prepare(3.0)
