"""The plan room: programs built by hand, run against NumPy."""

import gc
import threading

import numpy as np
import pytest
from functrans.plan.lower import lower
from functrans.plan.view import Buffer, View, dense
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from programs_by_hand import F, Jaxpr, aval, chain, check, jaxpr, lit, signature

from functrans import plan
from functrans.errors import NotSupportedError
from functrans.ir import core
from functrans.ir.op import OPS, Op
from functrans.plan import clusters
from functrans.plan.cache import ProgramCache

# ----- views ---------------------------------------------------------------------------------


def array_of(view, memory):
    assert view.offset % 8 == 0
    return np.lib.stride_tricks.as_strided(memory[view.offset // 8:], view.shape, view.strides)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_views_agree_with_numpy(data):
    memory = np.arange(24.0)
    a = memory.reshape(data.draw(st.sampled_from([(24,), (4, 6), (2, 3, 4), (2, 1, 12)])))
    v = View(Buffer(a.nbytes), 0, a.shape, dense(a.shape, 8), a.dtype, True)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["transpose", "slice", "reverse", "broadcast", "reshape"]))
        if kind == "transpose":
            perm = tuple(data.draw(st.permutations(range(a.ndim))))
            a, v = a.transpose(perm), v.transpose(perm)
        elif kind == "slice":
            start = [data.draw(st.integers(0, n)) for n in a.shape]
            limit = [data.draw(st.integers(s, n)) for s, n in zip(start, a.shape, strict=True)]
            by = [data.draw(st.integers(1, 3)) for _ in start]
            a = a[tuple(slice(*x) for x in zip(start, limit, by, strict=True))]
            v = v.slice(start, limit, by)
        elif kind == "reverse":
            axes = tuple(data.draw(st.sets(st.integers(0, a.ndim - 1)))) if a.ndim else ()
            a, v = np.flip(a, axes), v.reverse(axes)
        elif kind == "broadcast":
            at = data.draw(st.integers(0, a.ndim))
            target = (*a.shape[:at], 3, *a.shape[at:])
            v = v.broadcast(target, tuple(i + (i >= at) for i in range(a.ndim)))
            a = np.broadcast_to(np.expand_dims(a, at), target)
        else:
            target = data.draw(st.sampled_from([a.shape[::-1], (a.size,), (1, *a.shape, 1)]))
            moved, fitting = v.reshape(target), a.reshape(target)
            assert (moved is not None) == (a.size == 0 or np.shares_memory(fitting, a))
            if moved is None:
                continue
            a, v = fitting, moved
        assert v.shape == a.shape and v.contiguous == a.flags.c_contiguous
        if a.size:
            assert_array_equal(array_of(v, memory), a)


# ----- elementwise and views through programs ------------------------------------------------


def test_scalar_program():
    jx = jaxpr([()], lambda op, x: [op("sin", op("mul", x, x)), op("add", x, 1.0)])
    for x in (0.5, np.float64(0.5), np.array(0.5), 2, True):
        got = lower(jx).run([x])
        assert_allclose(got, [np.sin(float(x) ** 2), float(x) + 1])
        assert type(got[0]) is np.float64


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "int64", "float32"])
def test_scalar_dtypes(dtype):
    a = aval((), dtype)
    program = lower(jaxpr([a], lambda op, x: [x]))
    (got,) = program.run([a.dtype.type(1)])
    assert type(got) is a.dtype.type and got == 1
    assert program.run([1 if a.dtype != bool else True])[0] == 1
    assert program.run([np.array(1, dtype)])[0] == 1
    with pytest.raises(TypeError, match="input 0"):
        program.run(["1"])


def test_wrong_inputs_are_refused():
    program = lower(jaxpr([(3,)], lambda op, x: [x]))
    for bad in (np.ones(4), np.ones(3, np.float32), [1.0, 2.0, 3.0], 1.0, np.ones((3, 1))):
        with pytest.raises(TypeError, match="input 0"):
            program.run([bad])
    with pytest.raises(TypeError, match="takes 1 inputs"):
        program.run([])
    for bad in (0.5, np.float32(1), 1j):
        with pytest.raises(TypeError, match="input 0"):
            lower(jaxpr([aval((), "int64")], lambda op, x: [x])).run([bad])


def test_inputs_in_unusual_forms():
    jx = jaxpr([(3, 4)], lambda op, x: [op("neg", x)])
    a = np.arange(12.0).reshape(3, 4)
    raw = np.zeros(12 * 8 + 1, np.uint8)
    misaligned = raw[1:].view(F).reshape(3, 4)
    misaligned[:] = a
    frozen = a.copy()
    frozen.flags.writeable = False

    class Sub(np.ndarray):
        pass

    for x in (a, a.astype(">f8"), misaligned, frozen, np.asfortranarray(a), a[:, ::-1][:, ::-1],
              np.repeat(a, 2, axis=1)[:, ::2], a.view(Sub)):
        (got,) = lower(jx).run([x])
        assert type(got) is np.ndarray
        assert_array_equal(got, -a)
        assert_array_equal(x, a)


def test_outputs_are_fresh():
    def f(op, x, y):
        t = op("transpose", x, perm=(1, 0))
        z = op("add", x, y)
        return [x, x, t, z, z, op("reshape", z, shape=(6,)), lit(2.0, aval((2, 2), F)),
                op("broadcast_in_dim", y, shape=(2, 2, 3), dims=(1, 2)), op("stop_gradient", y)]
    check(jaxpr([(2, 3), (2, 3)], f), np.arange(6.0).reshape(2, 3), np.ones((2, 3)))


def test_empty_arrays_and_no_equations():
    check(jaxpr([(0, 3)], lambda op, x: [op("neg", x), x, op("reshape", x, shape=(3, 0))]),
          np.ones((0, 3)))
    assert lower(jaxpr([], lambda op: [])).run([]) == []
    assert lower(jaxpr([], lambda op: [lit(3, aval((), "int64"))])).run([]) == [3]


def test_missing_kernel_is_named():
    a = aval((), F)
    sig = core.signature(OPS["add"], (a, a), {})
    fake = Op.__new__(Op)
    fake.__dict__.update(OPS["add"].__dict__, name="frobnicate", sigs={})
    sig = signature(fake, (a, a), {})
    x, y = core.var(a, 0), core.var(a, 1)
    with pytest.raises(NotSupportedError, match=r"frobnicate.*float64"):
        lower(Jaxpr([x], [core.eqn(sig, (x, x), (y,))], [y]))


SHAPES = [(), (1,), (3,), (2, 3), (3, 2), (2, 1, 3)]


@st.composite
def programs(draw):
    """A random program of elementwise and structural ops on few shapes, so buffers are reused."""
    n_in = draw(st.integers(1, 3))
    shapes = [draw(st.sampled_from(SHAPES)) for _ in range(n_in)]

    def f(op, *ins):
        live = list(ins)
        for _ in range(draw(st.integers(1, 25))):
            x = draw(st.sampled_from(live))
            same = [v for v in live if v.aval.shape == x.aval.shape]
            y = draw(st.sampled_from([*same, lit(0.75, x.aval)]))
            dims = x.aval.shape
            kind = draw(st.integers(0, 13))
            if kind == 0:
                out = op("sin", x)
            elif kind in (1, 2):
                out = op("add", x, y)
            elif kind == 3:
                out = op("sub", y, x)
            elif kind == 4:
                out = op("select", op("lt", x, y), op("neg", y), x)
            elif kind == 5:
                out = op("transpose", x, perm=tuple(reversed(range(len(dims)))))
            elif kind == 6:
                out = op("reshape", x, shape=(x.aval.size,))
            elif kind == 7 and dims:
                out = op("rev", x, axes=(len(dims) - 1,))
            elif kind == 8 and dims and dims[0] > 1:
                none, each = (0,) * len(dims), (1,) * len(dims)
                tail = op("slice", x, start=(1, *none[1:]), limit=dims, stride=each)
                head = op("slice", y, start=none, limit=(1, *dims[1:]), stride=each)
                out = op("concatenate", tail, head, axis=0)
            elif kind == 9 and dims:
                zero = lit(0, aval((), "int64"))
                out = op("dynamic_update_slice", x, op("neg", y), *[zero] * len(dims))
            elif kind == 10 and dims:
                out = op("reduce_sum", x, axes=(0,))
            elif kind == 11 and dims:
                n = (1,) * len(dims)
                out = op("pad", x, draw(st.sampled_from([0.5, 2.0])), low=n, high=(-1,) * len(dims),
                         interior=(0,) * len(dims))
            elif kind == 12:
                out = op("dot_general", x, x, contract=((), ()),
                         batch=(tuple(range(len(dims))),) * 2)
            else:
                out = op("mul", x, op("broadcast_in_dim", 0.5, shape=dims, dims=()))
            live.append(out)
        return draw(st.lists(st.sampled_from(live), min_size=1, max_size=4))

    return jaxpr(shapes, f)


@given(programs(), st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_programs(jx, seed):
    rng = np.random.default_rng(seed)
    values = [rng.uniform(-1, 1, a.shape) if a.ndim else F(rng.uniform()) for a in jx.in_avals]
    before = [np.array(v) for v in values]
    check(jx, *values)
    for v, b in zip(values, before, strict=True):
        assert_array_equal(v, b)


def test_a_referenced_array_is_read_at_every_run():
    array = np.arange(6.0).reshape(2, 3)
    record = Op.__new__(Op)
    record.__dict__.update(
        OPS["add"].__dict__, name="outside", sigs={}, infer=lambda: ((3, 2), np.dtype(F)),
        lower=lambda ctx, eqn, views: [ctx.reference(array.T)])
    program = lower(jaxpr([(3, 2)], lambda op, x: [op("add", x, op(record)), op(record)]))
    for k in (0.0, 5.0):
        array[0] = k
        a, b = program.run([np.ones((3, 2))])
        assert_array_equal(a, array.T + 1)
        assert_array_equal(b, array.T)


# ----- memory --------------------------------------------------------------------------------


def test_a_chain_runs_in_its_output():
    program = lower(jaxpr([(100,)], chain(50)))
    assert program.arena_bytes == 0


def test_dying_temporaries_are_reused():
    def f(op, x):
        y = op("sin", x)
        for _ in range(40):            # two live values at any time
            y = op("add", op("transpose", y, perm=(1, 0)), op("neg", y))
        return [op("transpose", y, perm=(1, 0))]
    program = lower(jaxpr([(10, 10)], f))
    assert program.arena_bytes <= 4 * 832


def test_lowering_visits_each_step_once(monkeypatch):
    """An equation makes one step, however long the program is."""
    monkeypatch.setattr(clusters, "enabled", False)

    def f(op, x):
        kept = [op("sin", op("add", x, float(i))) for i in range(300)]
        y = kept.pop()
        while kept:
            y = op("mul", y, kept.pop())
        return [y]
    small, large = (len(lower(jaxpr([()], g)).names)
                    for g in (lambda op, x: f(op, x), chain(2000)))
    assert small == 300 * 2 + 299 and large == 2000


def test_arena_pool_is_bounded():
    def f(op, x):
        y = op("sin", x)
        return [op("add", op("rev", y, axes=(0,)), y)]
    plan.clear_arenas()
    assert plan.arena_info()[:2] == (0, 0)
    for n in range(1000, 41000, 1000):
        lower(jaxpr([(n,)], f)).run([np.ones(n)])
    count, nbytes, limit = plan.arena_info()
    assert 0 < count <= 16 and nbytes <= limit
    plan.clear_arenas()


def test_no_memory_is_an_error_and_nothing_breaks():
    def f(op, x):
        y = op("sin", op("broadcast_in_dim", x, shape=(2**30, 2**29), dims=()))
        return [op("slice", op("rev", y, axes=(0,)), start=(0, 0), limit=(1, 1), stride=(1, 1))]
    with pytest.raises(MemoryError):
        lower(jaxpr([()], f)).run([1.0])
    check(jaxpr([(3,)], chain(3)), np.ones(3))


def test_runs_leave_no_references():
    program = lower(jaxpr([(3,), ()], lambda op, x, y: [op("neg", x), op("neg", y)]))
    x, y = np.ones(3), np.float64(2)
    import sys
    before = sys.getrefcount(x), sys.getrefcount(y)
    for _ in range(100):
        program.run([x, y])
        program.run([x[::-1], y])
        with pytest.raises(TypeError):
            program.run([x, None])
    gc.collect()
    assert (sys.getrefcount(x), sys.getrefcount(y)) == before


# ----- threads -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 50_000])
def test_threads_share_a_program(n):
    def f(op, x):
        y = op("sin", x)
        return [op("add", op("rev", y, axes=(0,)), op("mul", y, y))]
    program = lower(jaxpr([(n,)], f))
    bad = []

    def work(seed):
        x = np.random.default_rng(seed).uniform(size=n)
        want = np.sin(x)[::-1] + np.sin(x) ** 2
        for _ in range(30):
            if not np.allclose(program.run([x])[0], want, rtol=1e-12):
                bad.append(seed)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not bad


# ----- cache ---------------------------------------------------------------------------------


def test_cache():
    plan.clear_cache()
    one, same, other = (jaxpr([(3,)], chain(n)) for n in (3, 3, 4))
    assert plan.compile(one) is plan.compile(same)
    assert plan.compile(one) is not plan.compile(other)
    info = plan.cache_info()
    assert (info.hits, info.misses, info.size) == (2, 2, 2)
    assert_array_equal(plan.evaluate(one, [np.ones(3)])[0], np.full(3, 2.0))
    plan.clear_cache()
    assert plan.cache_info().size == 0


def test_cache_is_bounded():
    cache = ProgramCache(4, 10**9)
    for n in range(10):
        cache.get(n, lambda n=n: lower(jaxpr([(3,)], chain(n))))
    assert cache.info().size == 4
    cache = ProgramCache(100, 5000)
    for n in range(10):
        cache.get(n, lambda n=n: lower(jaxpr([(3,)], chain(n))))
    assert cache.info().nbytes <= 5000 or cache.info().size == 1


def test_run_op():
    x = np.arange(3.0)
    assert_array_equal(plan.run_op(OPS["add"], [x, x], {}), x + x)
    assert plan.run_op(OPS["integer_pow"], [np.float64(3)], {"y": 2}) == 9
    assert plan.run_op(OPS["neg"], [2.0], {}) == -2.0
    for k in (1.0, 2.0):
        assert_array_equal(plan.run_op(OPS["mul"], [lit(k, aval((3,), F)), x], {}), k * x)
    assert_array_equal(plan.run_op(OPS["neg"], [x.astype(">f8")], {}), -x)
    with pytest.raises(TypeError):
        plan.run_op(OPS["neg"], ["x"], {})
