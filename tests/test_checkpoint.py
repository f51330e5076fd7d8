"""checkpoint with policies, and loops that keep the state at few turns."""

import pickle

import numpy as np
import pytest

import functrans as ft
from functrans import (
    checkpoint,
    checkpoint_name,
    grad,
    hessian,
    jacfwd,
    jit,
    jvp,
    lax,
    linearize,
    make_jaxpr,
    value_and_grad,
    vmap,
)
from functrans import checkpoint_policies as policies

W, X = np.linspace(-1, 1, 9).reshape(3, 3), np.array([0.3, -0.2, 0.7])


def layer(w, x):
    h = checkpoint_name(np.sin(w @ x), "h")
    k = checkpoint_name(np.cos(w.T @ h), "k")
    return np.sum(np.exp(w @ k))


POLICIES = {
    "none": None, "nothing": policies.nothing_saveable, "everything": policies.everything_saveable,
    "dots": policies.dots_saveable, "unbatched dots": policies.dots_with_no_batch_dims_saveable,
    "h": policies.save_only_these_names("h"), "h, k": policies.save_only_these_names("h", "k"),
    "not h": policies.save_any_names_but_these("h"),
    "all but h": policies.save_anything_except_these_names("h"),
    "h or dots": policies.save_from_both_policies(policies.save_only_these_names("h"),
                                                  policies.dots_saveable),
    "own": lambda op, *avals, **params: op.name == "sin" and avals[0].shape == (3,),
}


def residuals(f, *args):
    """What the linear half of f takes beside tangents: shapes, in order of size."""
    (call,) = [e for e in make_jaxpr(lambda *xs: linearize(f, *xs)[1](*xs))(*args).eqns
               if e.op.name == "call"]
    return sorted([v.aval.shape for v in call.inputs])


def count(jaxpr, name):
    total = 0
    for e in jaxpr.eqns:
        total += e.op.name == name
        for p in e.params.values():
            for q in p if isinstance(p, tuple) else (p,):
                total += count(q, name) if hasattr(q, "eqns") else 0
    return total


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_policies_change_no_derivative(policy):
    f = checkpoint(layer, policy=policy)
    want = grad(layer, (0, 1))(W, X)
    for g in (grad(f, (0, 1)), jit(grad(f, (0, 1))),
              lambda w, x: vmap(grad(f, (0, 1)), (None, 0))(w, x[None])):
        for a, b in zip(g(W, X), want, strict=True):
            np.testing.assert_allclose(np.reshape(a, (-1, *b.shape)).sum(0), b, rtol=1e-12)
    second = hessian(layer, 1)(W, X)
    for h in (hessian(f, 1), jacfwd(grad(f, 1), 1), jacfwd(jacfwd(f, 1), 1), jacfwd(jit(grad(f, 1)), 1)):
        np.testing.assert_allclose(h(W, X), second, rtol=1e-10, atol=1e-14)
    (dy,) = jvp(lambda x: f(W, x), (X,), (X,))[1:]
    np.testing.assert_allclose(dy, want[1] @ X, rtol=1e-12)


def test_what_each_policy_keeps():
    """The linear half takes two tangents, the inputs that it needs, and what is kept."""
    def kept(policy):
        return len(residuals(checkpoint(layer, policy=policy), W, X)) - len(
            residuals(checkpoint(layer), W, X))
    assert kept(policies.nothing_saveable) == 0
    assert kept(policies.dots_saveable) == 3 == kept(policies.dots_with_no_batch_dims_saveable)
    assert kept(policies.save_only_these_names("h")) == 1
    assert kept(policies.save_only_these_names("h", "k")) == 2
    assert kept(policies.save_any_names_but_these("h")) == 1
    assert kept(policies.save_only_these_names("elsewhere")) == 0
    batched = checkpoint(lambda a: np.sum(np.sin(np.einsum("bij,bjk->bik", a, a))),
                         policy=policies.dots_with_no_batch_dims_saveable)
    assert len(residuals(batched, np.ones((2, 3, 3)))) == 2


def test_what_is_saved_is_not_computed_again():
    def products(policy):
        return count(make_jaxpr(value_and_grad(checkpoint(layer, policy=policy), 1))(W, X), "dot_general")
    assert products(None) == products(policies.dots_saveable) + 3       # all of the forward pass, once more


def test_names_change_nothing_else():
    assert layer(W, X) == jit(layer)(W, X)
    text = str(jit(layer).jaxpr(W, X))
    assert "checkpoint_name" not in text            # gone where a program only runs
    assert checkpoint_name({"a": 1.0}, "x") == {"a": 1.0}
    with pytest.raises(TypeError, match="the name must be a string"):
        checkpoint_name(1.0, 2)


def test_decorator_and_arguments():
    @checkpoint(policy=policies.dots_saveable)
    def f(x, power):
        return np.sin(x) ** power
    assert grad(f)(0.4, 2) == pytest.approx(2 * np.sin(0.4) * np.cos(0.4))
    g = checkpoint(lambda x, n: x ** n, static_argnums=1)
    assert grad(g)(3.0, 2) == 6.0
    with pytest.raises(TypeError, match="argument 1 is in static_argnums but is traced"):
        grad(g, 1)(3.0, 2.0)
    with pytest.raises(TypeError, match="policy must be a function"):
        checkpoint(np.sin, policy="dots")
    assert ft.remat is checkpoint
    again = pickle.loads(pickle.dumps(checkpoint(np.sin, policy=policies.save_only_these_names("x"))))
    assert grad(again)(0.5) == np.cos(0.5)
    assert policies.save_only_these_names("a") == policies.save_only_these_names("a")


# ----- loops in segments --------------------------------------------------------------------------


def rolled(p, xs, **how):
    def step(c, x):
        c = np.sin(c * p + x)
        return c, c * x
    c, ys = lax.scan(step, np.array([0.1, 0.5]), xs, **how)
    return np.sum(c) + np.sum(ys * ys)


def until(p, limit=1.0, **how):
    def step(s):
        y, k = s
        return y + 0.01 * p * np.cos(y), k + 1
    return np.sum(lax.while_loop(lambda s: s[0][0] < limit, step, (np.array([0.0, 0.3]), 0), **how)[0] ** 2)


def counted(p, n, **how):
    return lax.fori_loop(0, n, lambda i, y: np.sin(y) * p + 0.1 * i, 0.3, **how)


XS = np.linspace(-1, 1, 46).reshape(23, 2)
HOW = ["sqrt", "binomial", 1, 5, 23, 100]
F = {"scan": lambda p, **how: rolled(p, XS, **how),
     "reverse": lambda p, **how: rolled(p, XS, reverse=True, **how),
     "while": until, "fori": lambda p, **how: counted(p, 23, **how),
     "traced fori": lambda p, **how: jit(lambda n: counted(p, n, **how))(23)}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("f", F.values(), ids=F)
def test_segments_change_no_derivative(f, how):
    p, h = 0.7, 1e-6
    assert f(p, checkpoint=how) == f(p)
    want = grad(f)(p)
    assert want == pytest.approx((f(p + h) - f(p - h)) / (2 * h), rel=1e-6)

    def g(p):
        return f(p, checkpoint=how)
    assert grad(g)(p) == pytest.approx(want, rel=1e-12)
    assert jit(grad(g))(p) == pytest.approx(want, rel=1e-12)
    assert jacfwd(g)(p) == pytest.approx(want, rel=1e-12)
    if how in (5, "binomial"):
        assert grad(grad(g))(p) == pytest.approx(grad(grad(f))(p), rel=1e-9)
        assert jvp(grad(g), (p,), (1.0,))[1] == pytest.approx(grad(grad(f))(p), rel=1e-9)
        ps = np.array([0.7, 1.9, 0.4])
        np.testing.assert_allclose(vmap(grad(g))(ps), [grad(f)(v) for v in ps], rtol=1e-10)
        np.testing.assert_allclose(grad(lambda v: np.sum(vmap(g)(v)))(ps), [grad(f)(v) for v in ps],
                                   rtol=1e-10)


def test_segments_of_lengths_near_their_size():
    for n in (0, 1, 2, 4, 9, 10):
        for how in (1, 2, 3, "sqrt", "binomial"):
            xs = XS[:n]
            np.testing.assert_allclose(grad(lambda x, how=how: rolled(0.7, x, checkpoint=how))(xs),
                                       grad(lambda x: rolled(0.7, x))(xs), rtol=1e-10)
            assert grad(lambda p, n=n, how=how: jit(lambda k: counted(p, k, checkpoint=how))(n))(0.7) == (
                pytest.approx(grad(counted)(0.7, n), rel=1e-12))


def test_segments_keep_less():
    plan = jit(grad(lambda p: rolled(p, np.zeros((1000, 2)))))
    few = jit(grad(lambda p: rolled(p, np.zeros((1000, 2)), checkpoint="binomial")))
    assert few.lower(0.5).memory_analysis().temp_size_in_bytes < (
        plan.lower(0.5).memory_analysis().temp_size_in_bytes)


def test_bad_checkpoint():
    for how in (0, -1, "some", 1.5, []):
        with pytest.raises(ValueError, match="must be None, 'sqrt', 'binomial' or a positive integer"):
            until(1.0, checkpoint=how)
        with pytest.raises(ValueError, match="scan: checkpoint must be"):
            rolled(1.0, XS, checkpoint=how)
