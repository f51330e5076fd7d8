"""Work that leaves a scan: constants, products done for all steps at once, sums of products."""

import numpy as np
import pytest
from functrans.plan.lower import lower
from functrans.transform.cleanup import cleanup
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from functrans import grad, jit, lax, make_jaxpr, vmap


def scans(jaxpr):
    return [e for e in jaxpr.eqns if e.op.name == "scan"]


def names(jaxpr):
    return [e.op.name for e in jaxpr.eqns]


def rnn(reverse=False):
    def loss(w, u, bias, xs, start):
        def step(h, x):
            h = np.tanh(h @ w + x @ u + bias)
            return h, None
        return np.sum(lax.scan(step, start, xs, reverse=reverse)[0] ** 2)
    return loss


def rnn_inputs(steps=5, batch=3, width=4):
    rng = np.random.default_rng(0)
    return [0.3 * rng.normal(size=s) for s in ((width, width), (2, width), (width,), (steps, batch, 2),
                                               (batch, width))]


@pytest.mark.parametrize("reverse", [False, True])
def test_gradient_of_a_recurrent_network(reverse):
    args = rnn_inputs()
    g = jit(grad(rnn(reverse), (0, 1, 2, 3, 4)))
    for loop in scans(g.jaxpr(*args)):
        assert names(loop.params["jaxpr"]).count("dot_general") == 1    # of the state, and no other
        assert loop.params["n_carry"] <= 2
    value = rnn(reverse)
    for i, got in enumerate(g(*args)):
        for at in [(0,) * got.ndim, tuple(n - 1 for n in got.shape)]:
            moved = [[a.copy() for a in args] for _ in range(2)]
            for m, d in zip(moved, (1e-6, -1e-6), strict=True):
                m[i][at] += d
            assert_allclose(got[at], (value(*moved[0]) - value(*moved[1])) / 2e-6, rtol=1e-5, atol=1e-8)


def test_the_same_as_step_by_step():
    args = rnn_inputs(steps=7)
    got = jit(grad(rnn(), (0, 1, 2)))(*args)

    def unrolled(w, u, bias, xs, h):
        for x in xs:
            h = np.tanh(h @ w + x @ u + bias)
        return np.sum(h ** 2)
    for a, b in zip(got, grad(unrolled, (0, 1, 2))(*args), strict=True):
        assert_allclose(a, b, rtol=1e-12)


def test_second_derivatives_and_batches_see_the_whole_loop():
    args = rnn_inputs()
    f = rnn()
    for_each = vmap(lambda x: grad(f)(*args[:3], x, args[4]))
    xs = np.stack([args[3], 2 * args[3]])
    for got, x in zip(jit(for_each)(xs), xs, strict=True):
        assert_allclose(got, grad(f)(*args[:3], x, args[4]), rtol=1e-11)
    hvp = jit(grad(lambda w: np.sum(grad(f)(w, *args[1:]) ** 2)))(args[0])
    w = args[0].copy()
    w[1, 2] += 1e-6
    high = np.sum(grad(f)(w, *args[1:]) ** 2)
    w[1, 2] -= 2e-6
    assert_allclose(hvp[1, 2], (high - np.sum(grad(f)(w, *args[1:]) ** 2)) / 2e-6, rtol=1e-5)


def test_constants_leave_the_loop():
    def f(x, w):
        def step(c, _):
            return c * np.exp(np.sum(np.sin(w))), c
        return lax.scan(step, x, None, length=4)
    j = jit(f).jaxpr(1.0, np.ones(3))
    (loop,) = scans(j)
    assert names(loop.params["jaxpr"]) == ["mul"]
    end, all_ = jit(f)(1.0, np.ones(3))
    rate = np.exp(3 * np.sin(1.0))
    assert_allclose(end, rate ** 4, rtol=1e-13)
    assert_allclose(all_, rate ** np.arange(4), rtol=1e-13)


def test_a_carry_that_keeps_some_of_its_terms():
    """One term is a product, which leaves; the other is not; the start is not zero."""
    def f(c, start, xs):
        def step(carry, x):
            c, total = carry
            c = np.sin(c) * 0.5 + x
            return (c, np.outer(c, x) + total + np.sum(c)), None
        return lax.scan(step, (c, start), xs)[0][1]
    rng = np.random.default_rng(1)
    c, start, xs = rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=(6, 4))
    (loop,) = scans(jit(f).jaxpr(c, start, xs))
    assert "dot_general" not in names(loop.params["jaxpr"])
    want, state = start.copy(), c
    for x in xs:
        state = np.sin(state) * 0.5 + x
        want += np.outer(state, x) + np.sum(state)
    assert_allclose(jit(f)(c, start, xs), want, rtol=1e-12)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_loops(length):
    args = rnn_inputs()
    args[3] = args[3][:length]
    got = jit(grad(rnn(), (0, 1)))(*args)
    assert_allclose(got[1], np.zeros((2, 4)) if length == 0 else grad(rnn(), (0, 1))(*args)[1], rtol=1e-12)


def test_what_is_too_large_to_stack_stays():
    """Operands of 2 x 4 MiB a step over 20 steps for sums of 1 x 1."""
    def f(c, xs):
        def step(carry, x):
            c, total = carry
            c = c * 0.5 + x
            return (c, total + np.dot(c, c)), None
        return lax.scan(step, (c, 0.0), xs)[0][1]
    (loop,) = scans(jit(f).jaxpr(np.ones(1000), np.ones((20, 1000))))
    assert "dot_general" in names(loop.params["jaxpr"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_bodies(data):
    """Cleaned for running and only recorded, a program gives the same to rounding."""
    pick = lambda of: data.draw(st.sampled_from(of))
    length, reverse = data.draw(st.integers(1, 4)), data.draw(st.booleans())

    def f(w, a, b, xs):
        def step(carry, x):
            a, b = carry
            live = [a, b, x, w, np.sin(w), a @ w, x @ w]
            for _ in range(4):
                live.append(pick([np.add, np.multiply, np.matmul])(pick(live), pick(live)))
            grown = pick(live)
            total = b
            for _ in range(data.draw(st.integers(1, 3))):
                total = total + pick(live).T
            return (np.tanh(a + grown * 0.1), pick([total, np.tanh(total)])), pick(live)
        return lax.scan(step, (a, b), xs, reverse=reverse)

    rng = np.random.default_rng(2)
    args = [0.5 * rng.normal(size=s) for s in ((2, 2), (2, 2), (2, 2), (length, 2, 2))]
    raw = make_jaxpr(f)(*args)
    for x, y in zip(lower(cleanup(raw, True)).run([*args]), lower(raw).run([*args]), strict=True):
        assert_allclose(x, y, rtol=1e-9, atol=1e-11)
