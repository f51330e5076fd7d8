"""Reverse mode through while_loop and fori_loop with traced bounds, in all compositions.

Expectations come from Python loops, from finite differences of the loop's own values, and from forward mode.
"""

import resource
import threading
from pathlib import Path

import numpy as np
import pytest
from functrans.plan.stacks import check_stacks

import functrans as ft
from functrans import (
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    lax,
    linearize,
    make_jaxpr,
    value_and_grad,
    vjp,
    vmap,
)


def grow(x, limit=20.0):
    """Turns until a value is reached, so that their number depends on x."""
    def turn(state):
        y, k = state
        return y * (1.1 + 0.1 * np.sin(x)) + 0.1 * x, k + 1
    return lax.while_loop(lambda s: s[0] < limit, turn, (x, 0))[0]


def power(x, n):
    return lax.fori_loop(0, n, lambda i, y: np.sin(y) * x + 0.1 * i, x)


def inner_loop(x):
    """A while in a scan in a while, with a branch, an integer and a bool among the carries."""
    def inner(c, t):
        y = lax.while_loop(lambda s: s[0] < 3.0 + t, lambda s: (s[0] * 1.3 + 0.1 * x, s[1] * np.cos(x)),
                           (c, t))
        z = lax.cond(y[0] > 4.0, lambda v: np.sin(v) + 1.2, lambda v: 0.9 * v * x, y[0])
        return z, y[1]

    def outer(s):
        c, k, flag, total = s
        c, ys = lax.scan(inner, c, np.array([0.5, 1.5]))
        return c, k + 1, ~flag, total + np.sum(ys) * np.where(flag, 1.0, 0.5)
    return lax.while_loop(lambda s: s[1] < 3, outer, (x, 0, True, 0.0))[3]


def differs(f, x, h=1e-6):
    return (f(x + h) - f(x - h)) / (2 * h)


XS = np.array([1.3, 15.0, 60.0, 2.5])


@pytest.mark.parametrize("f", [grow, lambda x: power(x, np.int64(4)), inner_loop, jit(grow),
                               lambda x: jit(power)(x, 5)], ids=["while", "fori", "nest", "jit", "jit fori"])
def test_derivatives_agree(f):
    x = 1.3
    want = differs(f, x)
    y, pull = vjp(f, x)
    for got in (grad(f)(x), jit(grad(f))(x), jacrev(f)(x), jacfwd(f)(x), pull(1.0)[0], pull(2.0)[0] / 2,
                linearize(f, x)[1](1.0), grad(ft.checkpoint(f))(x), value_and_grad(jit(f))(x)[1]):
        np.testing.assert_allclose(got, want, rtol=1e-7)
    assert y == f(x)
    want = differs(grad(f), x)
    for got in (grad(grad(f))(x), jacfwd(grad(f))(x), grad(jacfwd(f))(x), hessian(f)(x),
                jit(grad(grad(f)))(x), vjp(lambda v: vjp(f, v)[1](1.0)[0], x)[1](1.0)[0]):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_third_order():
    np.testing.assert_allclose(grad(grad(grad(grow)))(1.3), differs(grad(grad(grow)), 1.3), rtol=1e-6)


@pytest.mark.parametrize("f", [grow, inner_loop], ids=["while", "nest"])
def test_each_example_has_its_own_number_of_turns(f):
    one = [grad(f)(x) for x in XS]
    for got in (vmap(grad(f))(XS), grad(lambda v: np.sum(vmap(f)(v)))(XS), jit(vmap(grad(f)))(XS),
                np.diag(jacrev(vmap(f))(XS)), vmap(lambda x: vjp(f, x)[1](1.0)[0])(XS)):
        np.testing.assert_allclose(got, one, rtol=1e-10)
    two = [grad(grad(f))(x) for x in XS]
    for got in (vmap(grad(grad(f)))(XS), grad(lambda v: np.sum(vmap(grad(f))(v)))(XS),
                jvp(vmap(grad(f)), (XS,), (np.ones(4),))[1], vmap(jacfwd(grad(f)))(XS)):
        np.testing.assert_allclose(got, two, rtol=1e-9)


def test_turns_of_zero_and_batches_of_zero():
    ns = np.array([0, 3, 5, 1])
    np.testing.assert_allclose(vmap(grad(power))(XS / 50, ns),
                               [grad(power)(x, n) for x, n in zip(XS / 50, ns, strict=True)], rtol=1e-10)
    assert grad(power)(0.3, 0) == 1.0 and grad(power)(0.3, -2) == 1.0
    assert vmap(grad(grow))(np.zeros(0)).shape == (0,)
    np.testing.assert_allclose(vmap(vmap(grad(power), (None, 0)), (0, None))(XS[:2] / 50, ns),
                               [[grad(power)(x, n) for n in ns] for x in XS[:2] / 50], rtol=1e-10)


def test_pytrees_closures_keys_and_arrays():
    w = np.array([[0.5, 0.2], [-0.3, 0.8]])

    def loss(p, n):
        def turn(state):
            key = ft.random.fold_in(state["key"], state["k"])
            noise = ft.random.normal(key, (2,))
            y = np.tanh(p["w"] @ state["y"]) + 0.1 * noise * p["s"]
            return {"y": y, "k": state["k"] + np.int32(1), "key": key, "done": state["k"] > 2}
        start = {"y": np.ones(2), "k": np.int32(0), "key": ft.random.PRNGKey(0), "done": np.bool_(False)}
        return np.sum(lax.while_loop(lambda s: s["k"] < n, turn, start)["y"] ** 2)

    p = {"w": w, "s": 0.7}
    got = grad(loss)(p, 5)
    np.testing.assert_allclose(got["s"], differs(lambda s: loss({"w": w, "s": s}, 5), 0.7), rtol=1e-7)
    for i in range(2):
        e = np.zeros((2, 2))
        e[i, 1 - i] = 1.0
        np.testing.assert_allclose(got["w"][i, 1 - i],
                                   differs(lambda h, e=e: loss({"w": w + h * e, "s": 0.7}, 5), 0.0),
                                   rtol=1e-6)


def test_a_loop_in_a_function_of_another_derivative():
    def f(x):                                   # the inner loop closes over the outer tracer, both ways
        return x * grad(lambda y: lax.while_loop(lambda v: v < 9.0, lambda v: v * x * y, 1.0))(2.0)
    np.testing.assert_allclose(grad(f)(1.2), differs(f, 1.2), rtol=1e-7)
    # a value that Python asks for follows from a gradient
    assert grad(lambda x: x * 2 if grad(grow)(x) > 0 else x)(1.3) == 2.0


def test_two_readers_of_one_stack():
    def f(x):
        _, pull = vjp(lambda v: lax.while_loop(
            lambda s: s[0] < 9.0, lambda s: (s[0] * v, s[1] + v * s[0] ** 2), (1.1, 0.0)), x)
        return np.sin(pull((1.0, 0.0))[0]) * pull((0.5, 2.0))[0]
    np.testing.assert_allclose(grad(f)(1.4), differs(f, 1.4), rtol=1e-6)
    np.testing.assert_allclose(vmap(grad(f))(XS[:1] + 0.1), [grad(f)(1.4)], rtol=1e-9)
    xs = np.array([1.4, 1.7])
    np.testing.assert_allclose(grad(lambda v: np.sum(vmap(f)(v)))(xs), [grad(f)(x) for x in xs], rtol=1e-9)


def test_pull_from_threads_and_more_than_once():
    _, pull = vjp(lambda x: lax.fori_loop(0, np.int64(500), lambda i, y: np.sin(y) + x, x),
                  np.linspace(0, 1, 20))
    want, results = pull(np.ones(20))[0], [None] * 4

    def work(i):
        results[i] = [pull(np.ones(20))[0] for _ in range(20)]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        for got in r:
            np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(vmap(pull)(np.eye(20))[0], np.diag(want))


def test_what_the_condition_leaves_out_cannot_poison():
    m = np.array([[2.0, 0.0], [0.0, 2.0]])

    def f(x):       # an example that has ended would go on to inf, and 0 * inf is nan in a product
        y = lax.while_loop(lambda s: s[1] < x * 6, lambda s: ((m * 1e80 * s[0][0]) @ s[0], s[1] + 1.0),
                           (np.stack([x, x]), 0.0))[0]
        return np.sum(y) * 1e-300
    xs = np.array([0.1, 0.3])
    np.testing.assert_array_equal(grad(lambda v: np.sum(vmap(f)(v)))(xs), [grad(f)(x) for x in xs])


def test_residuals_that_need_no_stack_take_none():
    """What is the same at every turn is computed once."""
    def f(x):
        return lax.while_loop(lambda y: y < 50.0, lambda y: y * np.exp(-x) * 5, 1.0)
    text = str(make_jaxpr(grad(f))(1.0))
    assert text.count("[?]") == 1           # the loop makes one, its reverse reads it


def test_large_states():
    """Steps of large arrays are fused, also around loops; stacks are freed behind their last reader."""
    def f(p, x):
        y = lax.while_loop(lambda s: s[1] < 7, lambda s: (s[0] + 0.1 * p * np.sin(s[0]), s[1] + 1), (x, 0))[0]
        return np.sum(y * np.exp(-y))
    x, ps = np.linspace(0, 1, 4000), np.array([0.3, 0.9])
    want = [differs(lambda p: f(p, x), p) for p in ps]
    np.testing.assert_allclose(vmap(grad(f), (0, None))(ps, x), want, rtol=1e-7)

    def g(p, x):
        return f(p, x) + lax.fori_loop(0, np.int64(3), lambda i, c: grad(f)(p, x) * 0.1 + c, 0.0)
    np.testing.assert_allclose(jit(vmap(grad(g), (0, None)))(ps, x),
                               [differs(lambda p: g(p, x), p) for p in ps], rtol=1e-6)


def test_stacks():
    sizes, refused, kept, again = check_stacks()
    assert sizes == sorted(sizes) and sizes[-1] >= 1001 * 800 and refused and kept and again


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads how much memory it has from /proc")
def test_too_much_to_keep():
    """Memory that does not exist is refused, and the run leaves nothing behind."""
    f = jit(grad(lambda x: np.sum(lax.while_loop(lambda s: s[1] >= 0, lambda s: (np.sin(s[0]), s[1] + 1),
                                                 (np.ones(1 << 20) * x, 0))[0])))
    limit = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 28), limit[1]))
    try:
        with pytest.raises(MemoryError, match="checkpoint"):
            f(1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    assert grad(grow)(1.3) == pytest.approx(differs(grow, 1.3))
