"""debug_nans and debug_infs: which operation made it, where, and in which pass."""

import threading

import numpy as np
import pytest

import functrans as ft
from functrans import debug_infs, debug_nans, errors, grad, jit, jvp, lax, monitor, tag, vjp, vmap


def bad_log(x):
    y = x - 2.0
    return np.sum(np.log(y))  # LOG


def here(text):
    """The number of the line of this file that ends with a mark."""
    with open(__file__, encoding="utf-8") as f:
        return next(i for i, line in enumerate(f, 1) if line.rstrip().endswith("# " + text))


def raised(call, *args):
    with pytest.raises(FloatingPointError) as e:
        with debug_nans():
            call(*args)
    assert isinstance(e.value, errors.NonFiniteError)
    return str(e.value)


CALLS = {"grad": grad(bad_log), "jit": jit(bad_log), "jit grad": jit(grad(bad_log)),
         "grad jit": grad(jit(bad_log)),
         "vmap": vmap(bad_log, in_axes=0), "jvp": lambda x: jvp(bad_log, (x,), (x,)),
         "vjp": lambda x: vjp(bad_log, x), "grad grad": grad(lambda x: np.sum(grad(bad_log)(x))),
         "checkpoint": grad(ft.checkpoint(bad_log))}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_forward_line_and_operands(call):
    text = raised(call, np.array([3.0, 1.5, 4.0]))
    assert "nan in the forward pass" in text and f"test_finite.py:{here('LOG')} in bad_log" in text
    assert "log gave" in text and "-0.5" in text


def test_two_functions_of_one_structure_have_their_own_lines():
    def first(x):
        return np.sqrt(x)  # FIRST

    def second(x):
        return np.sqrt(x)  # SECOND
    jit(first)(1.0), jit(second)(1.0)
    assert f":{here('FIRST')} in first" in raised(jit(first), -1.0)
    assert f":{here('SECOND')} in second" in raised(jit(second), -1.0)
    assert f":{here('SECOND')} in second" in raised(grad(second), -1.0)


def test_backward_pass():
    @ft.custom_vjp
    def broken(x):
        return np.sin(x)
    broken.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.log(x - 2.0),))

    def use(x):
        return broken(x) * 3.0  # USE
    text = raised(grad(use), 1.0)
    assert "nan in the backward pass: log gave f64[] = nan" in text and "= -1.0" in text


def test_in_loops():
    def f(x):
        def step(c, k):
            return np.sqrt(c) - k, c  # STEP
        return lax.scan(step, x, np.array([0.1, 0.2, 5.0, 0.1]))[0]
    for call in (f, jit(f), grad(f), jit(grad(f))):
        text = raised(call, 3.0)
        assert "sqrt gave f64[] = nan" in text and "turn 3 of scan" in text
        assert f":{here('STEP')} in step" in text

    def w(x):
        return lax.while_loop(lambda s: s[1] < 4, lambda s: (np.log(s[0]), s[1] + 1), (x, 0))[0]  # WHILE
    for call in (w, jit(w), grad(w), lambda x: vmap(w)(np.full(2, x))):
        text = raised(call, 3.0)
        assert "log gave" in text and "turn 3 of while_loop" in text
    c = jit(lambda x: lax.cond(x > 0, lambda v: np.log(v), lambda v: np.sqrt(v), x))
    assert "sqrt gave" in raised(c, -1.0)


def test_what_is_masked_is_no_error():
    def f(x):
        return np.sum(np.where(x > 0, np.sqrt(x), 0.0))
    with debug_nans(), debug_infs():
        assert grad(f)(np.array([-1.0, 4.0])).tolist() == [0.0, 0.25]
        assert jit(f)(np.array([-1.0, 4.0])) == 2.0


def test_inputs_single_operations_and_infs():
    assert "nan was given: input 0" in raised(jit(np.sin), np.array([1.0, np.nan]))
    assert "log gave f64[] = nan" in raised(lax.log, -1.0)
    with pytest.raises(FloatingPointError, match=r"inf in the forward pass: exp gave f64\[\] = inf"):
        with debug_infs():
            jit(np.exp)(1000.0)
    with debug_nans():
        assert jit(np.exp)(1000.0) == np.inf


def test_only_inside_and_only_this_thread():
    f = jit(np.log)
    assert np.isnan(f(-1.0))
    with debug_nans():
        with debug_nans(False):
            assert np.isnan(f(-1.0))
        with pytest.raises(FloatingPointError):
            f(-1.0)
        seen = []
        t = threading.Thread(target=lambda: seen.append(f(-1.0)))
        t.start()
        t.join()
        assert np.isnan(seen[0])
    assert np.isnan(f(-1.0)) and np.isnan(grad(np.sqrt)(-1.0))
    hits = f.cache_info().hits
    f(-1.0)
    assert f.cache_info().hits == hits + 1          # the fast path is back


@pytest.mark.parametrize("debug", [debug_nans, debug_infs])
@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_what_a_monitor_computes_is_not_looked_at(debug, wrap):
    """Its rows of layers in loops, in branches not taken, and of empty arrays begin with infinities."""
    def f(w, x):
        h = tag("first", np.tanh(x @ w))
        h = lax.cond(h[0, 0] > 2, lambda h: tag("never", h * 2), lambda h: h, h)
        h, _ = lax.scan(lambda c, _: (tag("turns", np.sin(c)), None), h, None, length=3)
        return np.sum(h) + np.sum(tag("empty", h[:0]))

    w, x = np.eye(3), np.ones((4, 3))
    watched = monitor(wrap(grad(f)))
    with debug():
        assert np.array_equal(watched(w, x), grad(f)(w, x))
    assert watched["turns"].activation.count == [36] and watched["never"].activation.count == [0]
    broken = monitor(wrap(grad(lambda w: np.sum(tag("bad", np.log(w - 1))))))
    with debug(), pytest.raises(errors.NonFiniteError, match=r"test_finite\.py"):
        broken(np.array([0.5, 1.0]))
