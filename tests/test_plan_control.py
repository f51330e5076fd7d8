"""Loops, branches and Python steps of plans."""

import signal
import threading
import time

import numpy as np
import pytest
from functrans.plan.lower import lower
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from programs_by_hand import F, aval, chain, check_run, interpret, jaxpr, lit

from functrans.ir.op import OPS, Op


def scan(op, body, *operands, n_consts, n_carry, length, reverse=False):
    return op("scan", *operands, jaxpr=body, n_consts=n_consts, n_carry=n_carry, length=length,
              reverse=reverse)


@pytest.mark.parametrize("length", [0, 1, 2, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan(length, reverse):
    body = jaxpr([(2,), (), (2,), (2,)], lambda op, w, n, c, x: [
        op("add", n, 1.0), op("add", op("mul", c, w), x), op("sub", c, x), x])
    jx = jaxpr([(2,), (), (2,), (2, length)], lambda op, w, n, c, xs: scan(
        op, body, w, n, c, op("transpose", xs, perm=(1, 0)), n_consts=1, n_carry=2, length=length,
        reverse=reverse))
    rng = np.random.default_rng(0)
    w, c, xs = rng.normal(size=2), rng.normal(size=2), rng.normal(size=(2, length))
    got = lower(jx).run([w, 3.0, c, xs])
    carry, ys = c, np.zeros((length, 2))
    for t in reversed(range(length)) if reverse else range(length):
        ys[t] = carry - xs[:, t]
        carry = carry * w + xs[:, t]
    assert_allclose(got[0], 3.0 + length)
    assert_allclose(got[1], carry)
    assert_allclose(got[2], ys)
    assert_allclose(got[3], xs.T)


def test_scan_carries_that_swap_pass_and_stay():
    def body(op, a, b, c, d):
        return [b, a, op("add", a, b), d]
    body = jaxpr([(3,)] * 4, body)
    for length in range(5):
        jx = jaxpr([(3,)] * 4, lambda op, *c, n=length: scan(
            op, body, *c, n_consts=0, n_carry=4, length=n))
        a, b, c, d = start = [np.full(3, float(k)) for k in (1, 2, 3, 4)]
        for _ in range(length):
            a, b, c = b, a, a + b
        for got, want in zip(check_run(jx, *start), (a, b, c, d), strict=True):
            assert_array_equal(got, want)


@st.composite
def bodies(draw):
    """A random body of two carries and a slice, all ``f64[3]``."""
    def f(op, *ins):
        live = list(ins)
        for _ in range(draw(st.integers(0, 8))):
            x, y = draw(st.sampled_from(live)), draw(st.sampled_from(live))
            kind = draw(st.integers(0, 3))
            if kind == 0:
                live.append(op("rev", x, axes=(0,)))
            elif kind == 1:
                live.append(op("dynamic_update_slice", x, op(
                    "slice", y, start=(1,), limit=(2,), stride=(1,)), lit(0, aval((), "int64"))))
            else:
                live.append(op("sub" if kind == 2 else "max", x, y))
        return [draw(st.sampled_from(live)) for _ in range(3)]
    return jaxpr([(3,)] * 3, f)


@given(bodies(), st.integers(0, 4), st.booleans())
@settings(max_examples=200, deadline=None)
def test_random_scans(body, length, reverse):
    jx = jaxpr([(3,), (3,), (length, 3)], lambda op, a, b, xs: scan(
        op, body, a, b, xs, n_consts=0, n_carry=2, length=length, reverse=reverse))
    rng = np.random.default_rng(length)
    a, b, xs = rng.normal(size=3), rng.normal(size=3), rng.normal(size=(length, 3))
    got = check_run(jx, a, b, xs)
    ys = np.zeros((length, 3))
    for t in reversed(range(length)) if reverse else range(length):
        a, b, ys[t] = interpret(body, [a, b, xs[t]])
    for x, y in zip(got, (a, b, ys), strict=True):
        assert_array_equal(x, y)


def test_a_carry_that_can_is_updated_in_place():
    assert lower(jaxpr([(9,)], lambda op, c: [op("sin", c)]), [(0, 0)]).shared == (0,)
    assert lower(jaxpr([(9,)], lambda op, c: [op("rev", c, axes=(0,))]), [(0, 0)]).shared == ()
    crossing = jaxpr([(3,), (3,)], lambda op, a, b: [op("add", a, b), op("sub", a, b)])
    assert lower(crossing, [(0, 0), (1, 1)]).shared == (1,)
    step = jaxpr([(5,), aval((), "int64")], lambda op, c, i: [
        op("dynamic_update_slice", c, op("broadcast_in_dim", 1.0, shape=(1,), dims=()), i)])
    program = lower(step, [(0, 0)])
    assert program.shared == (0,) and not any("copy" in k for k in program.kernels)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_a_turn_writes_lies_over_what_it_has_read(reverse):
    """If nobody reads it later, and the turn has read it before it writes."""
    length, width = 50, 300
    nbytes = 8 * length * width
    late = jaxpr([(width,), (width,)], lambda op, c, x: [
        d := op("tanh", op("add", c, op("rev", x, axes=(0,)))), op("mul", op("exp", d), c)])
    early = jaxpr([(width,), (width,)], lambda op, c, x: [
        op("add", op("rev", op("cos", c), axes=(0,)), x), op("cos", c)])

    def program(body, kept):
        def f(op, c, xs):
            us = op("sin", xs)
            c, ys = scan(op, body, c, us, n_consts=0, n_carry=1, length=length, reverse=reverse)
            return [c, op("reduce_sum", op("mul", ys, ys), axes=(0,)), *([us] if kept else [])]
        return jaxpr([(width,), (length, width)], f)

    rng = np.random.default_rng(3)
    start, xs = rng.normal(size=width), rng.normal(size=(length, width))
    for body, kept, most in ((late, False, 1.5), (late, True, 1.5), (early, False, 2.5)):
        jx = program(body, kept)
        assert lower(jx).arena_bytes < most * nbytes
        c, ys, us = start, np.zeros((length, width)), np.sin(xs)
        for t in reversed(range(length)) if reverse else range(length):
            c, ys[t] = interpret(body, [c, us[t]])
        for a, b in zip(check_run(jx, start, xs), [c, (ys * ys).sum(axis=0), us], strict=False):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_nested_scans():
    inner = jaxpr([(), ()], lambda op, c, x: [op("add", c, x), op("mul", c, x)])
    outer = jaxpr([(), (4,)], lambda op, c, row: scan(op, inner, c, row, n_consts=0, n_carry=1,
                                                     length=4))
    jx = jaxpr([(), (3, 4)], lambda op, c, xs: scan(op, outer, c, xs, n_consts=0, n_carry=1,
                                                   length=3))
    xs = np.arange(12.0).reshape(3, 4)
    c, ys = check_run(jx, 1.0, xs)
    total = 1.0 + np.concatenate([[0.0], np.cumsum(xs.ravel())])
    assert c == total[-1]
    assert_array_equal(ys, (total[:-1] * xs.ravel()).reshape(3, 4))


I64 = aval((), "int64")


def count_to(op, limit, x):
    cond = jaxpr([I64, I64, ()], lambda op, n, i, y: [op("lt", i, n)])
    body = jaxpr([(), I64, ()], lambda op, k, i, y: [op("add", i, lit(1, I64)), op("mul", y, k)])
    return op("while", limit, lit(2.0, aval((), F)), lit(0, I64), x, cond=cond, body=body, n_cond=1,
              n_body=1)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_while(n):
    got = lower(jaxpr([I64, ()], count_to)).run([n, 1.5])
    assert got == [max(n, 0), 1.5 * 2**n]


def test_cond_clamps_its_index():
    branches = tuple(jaxpr([(2,)], f) for f in (
        lambda op, x: [op("neg", x)], lambda op, x: [x],
        lambda op, x: [op("add", op("rev", op("sin", x), axes=(0,)), x)]))
    program = lower(jaxpr([I64, (2,)], lambda op, i, x: op("cond", i, x, branches=branches)))
    x = np.array([0.5, 2.0])
    want = [-x, x, np.sin(x)[::-1] + x]
    for i, k in ((0, 0), (1, 1), (2, 2), (-5, 0), (9, 2)):
        assert_allclose(program.run([i, x])[0], want[k])


ENDLESS = jaxpr([I64], lambda op, n: count_to(op, n, 1.0)[:1])


def test_ctrl_c_stops_a_loop():
    program = lower(ENDLESS)

    def stop(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            program.run([2**62])
        assert time.perf_counter() - start < 10        # endless without the look at the clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert program.run([1000]) == [1000]


def test_other_threads_run_beside_a_loop():
    program = lower(ENDLESS)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (program.run([30_000_000]), done.set()))
    start, ticks = time.perf_counter(), 0
    thread.start()
    while not done.is_set() and time.perf_counter() - start < 20:
        time.sleep(0.005)
        ticks += 1
    thread.join()
    assert done.is_set() and ticks > 3


# ----- Python steps --------------------------------------------------------------------------


def python_op(function, outs):
    record = Op.__new__(Op)
    record.__dict__.update(
        OPS["add"].__dict__, name="python", sigs={}, multiple=True, param_names=(), why={},
        infer=lambda *avals: list(outs),
        lower=lambda ctx, eqn, views: ctx.python(function, eqn, views))
    return record


def test_python_step():
    seen = []

    def function(x, n):
        seen.append((x, n))
        return [x.T * n, n + 1]

    call = python_op(function, [aval((3, 2), F), aval((), F)])
    jx = jaxpr([(2, 3), ()], lambda op, x, n: op(call, op("neg", x), n))
    x = np.arange(6.0).reshape(2, 3)
    a, n = lower(jx).run([x, 2.0])
    assert_array_equal(a, -2 * x.T)
    assert n == 3.0
    lower(jx).run([x + 1, 2.0])
    assert_array_equal(seen[0][0], -x)           # the callee may keep what it got


def test_errors_in_python_steps_pass_unchanged():
    class Mine(Exception):
        pass

    error = Mine("here")

    def fail(x):
        raise error

    call = python_op(fail, [aval((), F)])
    body = jaxpr([(), ()], lambda op, c, x: op(call, c))
    jx = jaxpr([(5,)], lambda op, xs: scan(op, body, 0.0, xs, n_consts=0, n_carry=1, length=5))
    program = lower(jx)
    for _ in range(3):
        with pytest.raises(Mine) as caught:
            program.run([np.ones(5)])
        assert caught.value is error


@pytest.mark.parametrize("result", [np.ones(2), np.ones((), np.float32), "text", None])
def test_python_results_are_checked(result):
    call = python_op(lambda x: [result], [aval((), F)])
    with pytest.raises(ValueError, match="where f64"):
        lower(jaxpr([()], lambda op, x: op(call, x))).run([1.0])


def test_python_steps_may_reenter():
    inner = lower(jaxpr([()], chain(3)))
    call = python_op(lambda x: inner.run([x]), [aval((), F)])
    outer = lower(jaxpr([()], lambda op, x: op(call, op("neg", x))))
    assert outer.run([2.0])[0] == inner.run([-2.0])[0]
