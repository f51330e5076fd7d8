"""The pool of large outputs."""

import gc
import os

import numpy as np
import pytest
from functrans.plan.lower import lower
from programs_by_hand import jaxpr

import functrans as ft
from functrans import plan

N = 300_000


@pytest.fixture
def program():
    plan.clear_outputs()
    yield lower(jaxpr([(N,)], lambda op, x: [op("sin", x)]))
    plan.clear_outputs()


def test_memory_of_dead_outputs_is_used_again(program):
    x = np.arange(float(N))
    first = program.run([x])[0]
    base = first.__array_interface__["data"][0]
    assert first.flags.owndata and first.flags.aligned
    assert plan.outputs_info()[0] == 0
    del first
    gc.collect()
    blocks, nbytes, limit = plan.outputs_info()
    assert blocks == 1 and 8 * N <= nbytes <= limit
    second = program.run([x])[0]
    assert plan.outputs_info()[:2] == (0, 0)
    assert abs(second.__array_interface__["data"][0] - base) < 4096
    np.testing.assert_allclose(second, np.sin(x))


def test_kept_outputs_are_distinct(program):
    x = np.arange(float(N))
    many = [program.run([x + k])[0] for k in range(5)]
    for k, a in enumerate(many):
        np.testing.assert_allclose(a, np.sin(x + k))
        assert not any(np.shares_memory(a, b) for b in many[k + 1:])


def test_arrays_can_be_resized(program):
    x = np.arange(float(N))
    for size in (10, N - 5, N + 7, 4 * N):
        y = program.run([x])[0]
        y.resize(size, refcheck=False)
        m = min(size, N)
        np.testing.assert_allclose(y[:m], np.sin(x[:m]))
        assert not np.any(y[m:])
        y[:] = 1.0


def test_numpy_keeps_its_own_memory(program):
    """The handler is set for our own allocation only."""
    program.run([np.zeros(N)])
    name = np._core.multiarray.get_handler_name
    assert name(np.empty(N)) != "functrans_outputs"
    assert name(program.run([np.zeros(N)])[0]) == "functrans_outputs"


def test_small_outputs_do_not_come_from_the_pool():
    p = lower(jaxpr([(100,)], lambda op, x: [op("sin", x)]))
    assert np._core.multiarray.get_handler_name(p.run([np.zeros(100)])[0]) != "functrans_outputs"


def test_the_pool_is_bounded_and_cleared(program):
    x = np.zeros(N)
    many = [program.run([x])[0] for _ in range(80)]
    del many
    blocks, nbytes, limit = plan.outputs_info()
    assert 0 < blocks <= 64 and nbytes <= limit
    ft.clear_caches()
    assert plan.outputs_info()[:2] == (0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork(program):
    kept = program.run([np.zeros(N)])[0]
    program.run([np.zeros(N)])
    pid = os.fork()
    if pid == 0:
        del kept
        ok = not np.any(program.run([np.zeros(N)])[0])
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("n", [140_000, 400_000, 530_000])
def test_little_is_taken_beyond_the_array(program, n):
    p = lower(jaxpr([(n,)], lambda op, x: [op("sin", x)]))
    p.run([np.zeros(n)])
    gc.collect()
    assert 8 * n <= plan.outputs_info()[1] <= 1.1 * 8 * n
