"""Block groups: the same plan run fused and op by op gives the same values."""

import threading
from functools import partial, reduce

import numpy as np
import pytest
from functrans.plan.lower import lower
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from programs_by_hand import F, aval, chain, interpret, jaxpr, lit

from functrans.kernels import lib

I4, F4, B1 = np.dtype("int32"), np.dtype("float32"), np.dtype("bool")


def steps(program):
    """The kernels of the steps."""
    return list(program.names)


def both(jx, *values):
    """Fused and unfused results; inputs must survive, outputs share nothing."""
    copies = [np.array(v) for v in values]
    plain = lower(jx, fused=False).run(list(values))
    fused = lower(jx, fused=True).run(list(values))
    for v, c in zip(values, copies, strict=True):
        assert_array_equal(v, c)
    for i, a in enumerate(fused):
        for b in [*fused[i + 1:], *values]:
            assert not np.shares_memory(a, b)
    return plain, fused


def same_bits(jx, *values):
    plain, fused = both(jx, *values)
    for a, b in zip(plain, fused, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert_array_equal(np.asarray(a), np.asarray(b))
    return fused


def close(jx, *values, rtol=1e-12):
    plain, fused = both(jx, *values)
    for a, b in zip(plain, fused, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype.kind == "f":
            scale = np.max(np.abs(a[np.isfinite(a)]), initial=1.0) if a.ndim else 1.0
            rtol_ = 1e-4 if a.dtype == F4 else rtol
            assert_allclose(b, a, rtol=rtol_, atol=rtol_ * scale)
        else:
            assert_array_equal(a, b)
    return fused


def values_of(jx, seed=0):
    rng = np.random.default_rng(seed)
    out = []
    for a in jx.in_avals:
        if a.dtype == B1:
            v = rng.random(a.shape) < 0.5
        elif a.dtype.kind in "iu":
            v = rng.integers(0 if a.dtype.kind == "u" else -9, 9, a.shape)
        else:
            v = rng.normal(size=a.shape)
        out.append(np.asarray(v, a.dtype)[()])
    return out


# ----- random programs -----------------------------------------------------------------------

SHAPES = [(2048,), (3, 700), (700, 3), (64, 1, 64), (5, 3, 200), (2, 2, 2, 300), (50, 130), (1, 9000),
          (1030, 2)]
DTYPES = ["float64", "float32", "int32", "bool", "int8", "uint16", "int64"]
UNARY = {"f": ["neg", "abs", "sin", "exp", "sqrt", "floor", "tanh"], "i": ["neg", "abs", "not", "sign"],
         "u": ["not", "sign"], "b": ["not"]}
BINARY = {"f": ["add", "sub", "mul", "zmul", "max", "min", "atan2"],
          "i": ["add", "sub", "mul", "max", "floordiv", "and"],
          "u": ["add", "mul", "max", "xor"], "b": ["and", "or", "xor", "max"]}
REDUCE = {"f": ["sum", "max", "min"], "i": ["sum", "max", "min"], "u": ["sum", "max"],
          "b": ["and", "or", "max"]}


@st.composite
def programs(draw, reductions):
    shape = draw(st.sampled_from(SHAPES))
    n = len(shape)

    def f(op, *inputs):
        values = list(inputs)

        def pick(dtype=None, like=None):
            found = [v for v in values if (dtype is None or v.aval.dtype == dtype)
                     and (like is None or v.aval.shape == like)]
            return draw(st.sampled_from(found)) if found else None

        def spread(v):
            """The value at the full shape, if it can be made so."""
            if v.aval.shape == shape:
                return v
            dims = draw(st.sampled_from(dims_of(v.aval.shape, shape)))
            return op("broadcast_in_dim", v, shape=shape, dims=dims)

        def binary(a, b):
            kind = a.aval.dtype.kind
            values.append(op(draw(st.sampled_from(BINARY[kind])), a, b))

        for _ in range(draw(st.integers(2, 25))):
            what = draw(st.integers(0, 9))
            a = pick()
            kind = a.aval.dtype.kind
            if what <= 1:
                values.append(op(draw(st.sampled_from(UNARY[kind])), a))
            elif what <= 4:
                b = pick(a.aval.dtype)
                if a.aval.shape != b.aval.shape:
                    a, b = spread(a), spread(b)
                binary(a, b)
            elif what == 5:
                binary(a, lit(a.aval.dtype.type(draw(st.integers(0, 3))), aval(a.aval.shape, a.aval.dtype)))
            elif what == 6:
                values.append(op("convert", a, dtype=np.dtype(draw(st.sampled_from(DTYPES)))))
            elif what == 7:
                c, b = pick(B1, a.aval.shape), pick(a.aval.dtype, a.aval.shape)
                if c is None:
                    c = op("eq", a, b)
                values.append(op("select", c, a, b))
            elif what == 8 and a.aval.shape == shape:
                perm = tuple(draw(st.permutations(range(n))))
                moved = op("rev", a, axes=(n - 1,)) if perm == tuple(range(n)) else op(
                    "transpose", a, perm=perm)
                if moved.aval.shape == shape:
                    values.append(moved)
            elif what == 9 and reductions and a.aval.ndim:
                m = a.aval.ndim
                axes = draw(st.sampled_from([tuple(range(k, m)) for k in range(m)]
                                            + [tuple(range(k)) for k in range(1, m + 1)]
                                            + [(k,) for k in range(m)]))
                red = draw(st.sampled_from(REDUCE[kind]))
                values.append(op(f"reduce_{red}", a, axes=axes))
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4))
        return [*chosen, values[-1]]

    def dims_of(small, big):
        found = [()] if not small else []
        for k in range(n):
            if small and big[k:k + len(small)] == small:
                found.append(tuple(range(k, k + len(small))))
        if small and not found:      # axes that were reduced in the middle
            dims, at = [], 0
            for d in small:
                while big[at] != d:
                    at += 1
                dims.append(at)
                at += 1
            found.append(tuple(dims))
        return found

    first = [aval(shape, d) for d in draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4))]
    more = [aval(s, d) for s in (shape[-1:], shape[:-1], ()) for d in ("float64", "bool")
            if draw(st.booleans())]
    return jaxpr([*first, *more], f)


SETTINGS = settings(max_examples=150, deadline=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                           HealthCheck.filter_too_much])


@given(programs(reductions=False), st.integers(0, 99))
@SETTINGS
def test_elementwise_programs_have_the_same_bits(jx, seed):
    same_bits(jx, *values_of(jx, seed))


@given(programs(reductions=True), st.integers(0, 99))
@SETTINGS
def test_programs_with_reductions(jx, seed):
    close(jx, *values_of(jx, seed), rtol=1e-6)


# ----- what becomes a group ------------------------------------------------------------------


def softmax_gradient(op, z, y):
    shape, rows = z.aval.shape, z.aval.shape[:-1]
    axes, dims = (len(rows),), tuple(range(len(rows)))

    def wide(v):
        return op("broadcast_in_dim", v, shape=shape, dims=dims)

    e = op("exp", op("sub", z, wide(op("reduce_max", z, axes=axes))))
    p = op("div", e, wide(op("reduce_sum", e, axes=axes)))
    return [op("sub", p, y)]


@pytest.mark.parametrize("shape", [(40, 1000), (700, 10), (5, 40, 33), (3, 16384), (2, 1, 5000)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_is_one_step(shape, dtype):
    jx = jaxpr([aval(shape, dtype)] * 2, softmax_gradient)
    assert steps(lower(jx)) == ["group"]
    assert lower(jx).arena_bytes == 0
    (got,) = close(jx, *values_of(jx))
    z, y = values_of(jx)
    e = np.exp(z - z.max(-1, keepdims=True))
    assert_allclose(got, e / e.sum(-1, keepdims=True) - y, rtol=1e-4 if dtype == "float32" else 1e-12,
                    atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 200_000), (1, 70_001), (3, 2, 40_000)])
def test_very_long_rows_are_split(shape):
    jx = jaxpr([aval(shape, F)] * 2, softmax_gradient)
    assert steps(lower(jx)).count("group") >= 2
    close(jx, *values_of(jx))


def test_gradient_of_a_layer():
    """Sums over rows, over columns and over all in one pass, with a row and a column operand."""
    def f(op, x, g, m):
        shape = x.aval.shape
        y = op("mul", op("sub", x, op("broadcast_in_dim", m, shape=shape, dims=(0,))),
               op("broadcast_in_dim", g, shape=shape, dims=(1,)))
        t = op("tanh", y)
        return [op("reduce_sum", t, axes=(0,)), op("reduce_sum", t, axes=(0, 1)),
                op("reduce_max", y, axes=(1,)), t]

    for shape in [(300, 70), (3000, 8), (20, 3000)]:
        jx = jaxpr([shape, shape[1:], shape[:1]], f)
        assert steps(lower(jx)) == ["group"]
        got = close(jx, *values_of(jx))
        for a, b in zip(got, interpret(jx, values_of(jx)), strict=True):
            assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_sums_of_dense_arrays_have_the_bits_of_the_single_step():
    jx = jaxpr([(300_001,)], lambda op, x: [op("reduce_sum", op("mul", x, x), axes=(0,))])
    same_bits(jx, *values_of(jx))


def test_loss_in_the_middle_does_not_end_a_group():
    """A step that only reads results of a group waits behind it."""
    def f(op, x):
        y = op("exp", x)
        s = op("reduce_sum", op("mul", y, lit(2.0, x.aval)), axes=(0,))
        loss = op("log", s)
        return [loss, op("sin", y)]

    jx = jaxpr([(5000,)], f)
    assert steps(lower(jx)) == ["group", "ew:log:f64"]
    close(jx, *values_of(jx))


def test_a_result_that_is_needed_whole_ends_the_group():
    def f(op, x):
        y = op("exp", x)
        s = op("broadcast_in_dim", op("reduce_sum", y, axes=(0,)), shape=(5000,), dims=())
        return [op("div", op("mul", y, y), s)]

    jx = jaxpr([(5000,)], f)
    assert steps(lower(jx)) == ["group", "ew:div:f64"]
    close(jx, *values_of(jx))


def test_interleaved_shapes_make_one_group_each():
    def f(op, a, b):
        for _ in range(5):
            a, b = op("sin", a), op("cos", b)
        return [a, b]

    jx = jaxpr([(4000,), (60, 70)], f)
    assert steps(lower(jx)) == ["group", "group"]
    same_bits(jx, *values_of(jx))


def test_groups_that_need_each_other_come_in_order():
    def f(op, a, b):
        x = op("exp", a)
        y = op("mul", op("reshape", x, shape=(50, 100)), b)
        z = op("sin", y)
        w = op("mul", op("reshape", z, shape=(5000,)), x)
        return [op("mul", op("reshape", w, shape=(50, 100)), z), w]

    same_bits(*(lambda j: (j, *values_of(j)))(jaxpr([(5000,), (50, 100)], f)))


def test_small_programs_have_no_groups():
    jx = jaxpr([(3,)], lambda op, x: chain(50)(op, x))
    assert "group" not in steps(lower(jx))


def test_matmul_between():
    def f(op, x, w):
        h = op("tanh", op("mul", x, x))
        y = op("dot_general", h, w, contract=((1,), (0,)), batch=((), ()))
        return [op("reduce_sum", op("mul", op("sin", y), op("add", y, y)), axes=(0,)), h]

    jx = jaxpr([(80, 50), (50, 60)], f)
    assert steps(lower(jx)).count("group") == 2
    close(jx, *values_of(jx))


def test_square_transposed_operand():
    """x.T of a value of the group itself cannot come from a register."""
    def f(op, x):
        y = op("exp", x)
        return [op("mul", y, op("transpose", op("sin", y), perm=(1, 0))),
                op("add", op("transpose", x, perm=(1, 0)), x)]

    for n in (50, 129):
        jx = jaxpr([(n, n)], f)
        same_bits(jx, *values_of(jx))


def test_reversed_strided_and_repeated_inputs():
    def f(op, x, v):
        a = op("rev", x, axes=(1,))
        b = op("slice", x, start=(0, 1), limit=(60, 101), stride=(1, 1))
        c = op("broadcast_in_dim", v, shape=(60, 100), dims=(1,))
        d = op("slice", a, start=(0, 0), limit=(60, 100), stride=(1, 1))
        e = op("exp", op("mul", b, c))
        return [op("add", e, d), op("reduce_max", op("mul", e, d), axes=(1,))]

    jx = jaxpr([(60, 101), (100,)], f)
    same_bits(jx, *values_of(jx))


def test_inputs_that_numpy_strides():
    jx = jaxpr([(70, 90), (70, 90)], lambda op, x, y: [op("mul", op("exp", x), op("add", x, y))])
    base = np.random.default_rng(0).normal(size=(90, 140))
    same_bits(jx, base.T[::2], base[:70, 50:])


def test_empty():
    for shape in [(0,), (0, 3), (3, 0, 5)]:
        jx = jaxpr([shape], lambda op, x: [op("exp", op("mul", x, x)),
                                           op("reduce_sum", op("sin", x), axes=(0,))])
        close(jx, np.zeros(shape))


def test_select_with_two_constants():
    def f(op, x):
        small = op("lt", x, lit(0.0, x.aval))
        return [op("mul", op("select", small, lit(2.0, x.aval), lit(3.0, x.aval)), x)]

    jx = jaxpr([(5000,)], f)
    same_bits(jx, *values_of(jx))


def test_outputs_that_are_equal_or_inputs():
    jx = jaxpr([(4096,)], lambda op, x: (lambda y: [y, y, x, op("exp", y), op("neg", y)])(op("sin", x)))
    same_bits(jx, *values_of(jx))


# ----- memory --------------------------------------------------------------------------------


def test_temporaries_of_a_group_take_no_memory():
    jx = jaxpr([(100_000,)], lambda op, x: chain(300)(op, x))
    program = lower(jx)
    assert steps(program) == ["group"] and program.arena_bytes == 0
    x = np.full(100_000, 1e-3)
    same_bits(jx, x)


def test_outputs_overwrite_dying_inputs():
    """Between two groups a temporary is updated in place, but never one that is read later."""
    def f(op, x):
        y = op("reshape", op("exp", x), shape=(100, 60))        # another shape: another group
        z = op("sin", op("mul", y, y))
        w = op("reshape", op("cos", op("add", z, y)), shape=(6000,))
        return [op("mul", op("sub", w, x), w)]

    jx = jaxpr([(6000,)], f)
    assert lower(jx).arena_bytes <= 2 * 6000 * 8 + 1024
    same_bits(jx, *values_of(jx))


def test_two_results_of_a_group_overwrite_two_operands():
    """Whichever comes first in the program: the one that reads what the other may overwrite goes first."""
    def f(op, order, x):
        running = partial(op, "cumsum", axis=0, reverse=False)
        a, b = running(x), op("cumprod", x, axis=0, reverse=False)
        ends = [lambda: op("mul", a, lit(3.0, a.aval)), lambda: op("mul", a, b)]
        made = [end() for end in (ends if order else ends[::-1])]
        return [running(v) for v in made]

    for order in (False, True):
        jx = jaxpr([(6000,)], partial(lambda order, op, x: f(op, order, x), order))
        assert lower(jx).arena_bytes <= 2 * 6000 * 8 + 1024
        same_bits(jx, *values_of(jx))


def test_carry_is_updated_in_place_by_a_group():
    body = jaxpr([(3000,), (3000,)], lambda op, c, x: [op("add", op("mul", c, x), op("sin", c)), c])
    program = lower(body, [(0, 0)])
    assert program.shared == ()                   # the old carry is also an output: copied after
    body = jaxpr([(3000,), (3000,)], lambda op, c, x: [op("add", op("mul", c, x), op("sin", c))])
    assert lower(body, [(0, 0)]).shared == (0,)

    def early(op, c, x):
        new = op("mul", c, x)
        return [new, op("add", new, c)]           # c is read again after new was written
    assert lower(jaxpr([(3000,), (3000,)], early), [(0, 0)]).shared == ()


def test_scan_of_a_group():
    body = jaxpr([(50, 60), (50, 60)], lambda op, c, x: [
        op("tanh", op("add", op("mul", c, x), op("sin", c))), op("reduce_sum", c, axes=(1,))])
    jx = jaxpr([(50, 60), (7, 50, 60)], lambda op, c, xs: op(
        "scan", c, xs, jaxpr=body, n_consts=0, n_carry=1, length=7, reverse=False))
    close(jx, *values_of(jx))


# ----- threads and size ----------------------------------------------------------------------


@pytest.fixture
def threads():
    before = lib.get_num_threads()
    yield lib.set_num_threads
    lib.set_num_threads(before)


@pytest.mark.parametrize("shape", [(300_007,), (4000, 100), (37, 9001), (50_000, 7), (2, 150_000)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_do_not_change_bits(shape, dtype, threads):
    def f(op, x):
        y = op("sin", op("mul", x, x))
        n = len(shape)
        return [y, op("reduce_sum", y, axes=tuple(range(n))), op("reduce_sum", y, axes=(0,)),
                op("reduce_sum", op("mul", y, x), axes=(n - 1,)), op("reduce_max", y, axes=(n - 1,))]

    program = lower(jaxpr([aval(shape, dtype)], f))
    assert "group" in steps(program)
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    threads(1)
    one = program.run([x])
    for n in (2, 3):
        threads(n)
        for _ in range(3):
            for a, b in zip(one, program.run([x]), strict=True):
                assert_array_equal(a, b)


def test_several_python_threads():
    jx = jaxpr([(200, 300), (200, 300)], softmax_gradient)
    program, values = lower(jx), values_of(jx)
    want = program.run(list(values))[0]
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(program.run(list(values))[0], want):
                wrong.append(1)

    team = [threading.Thread(target=work) for _ in range(4)]
    for t in team:
        t.start()
    for t in team:
        t.join()
    assert not wrong


def test_many_operands():
    n = 300
    jx = jaxpr([(2100,)] * n, lambda op, *xs: [
        reduce(lambda a, b: op("add", a, b), xs),
        *[op("mul", xs[k], xs[k + 1]) for k in range(n - 1)]])
    same_bits(jx, *values_of(jx))


def test_many_live_values():
    def f(op, x):
        ys = [op("mul", x, lit(float(k), x.aval)) for k in range(400)]
        total = ys[0]
        for y in ys[1:]:
            total = op("add", total, op("sin", y))
        return [total]

    jx = jaxpr([(3000,)], f)
    same_bits(jx, *values_of(jx))


def test_long_rows_with_too_many_live_values_run_one_by_one():
    def f(op, x):
        s = op("broadcast_in_dim", op("reduce_sum", x, axes=(1,)), shape=x.aval.shape, dims=(0,))
        ys = [op("mul", op("add", x, s), lit(float(k), x.aval)) for k in range(300)]
        return [reduce(lambda a, b: op("add", a, op("sin", b)), ys[::-1])]

    jx = jaxpr([(2, 16000)], f)
    assert "group" not in steps(lower(jx))
    close(jx, *values_of(jx))


def test_what_a_loop_reads_is_made_by_a_group():
    body = jaxpr([(3000,), (3000,)], lambda op, c, x: [op("add", c, x)])

    def f(op, x, xs):
        c = op("sin", op("mul", x, x))
        return op("scan", c, xs, jaxpr=body, n_consts=0, n_carry=1, length=4, reverse=False)

    jx = jaxpr([(3000,), (4, 3000)], f)
    assert steps(lower(jx))[0] == "group"
    close(jx, *values_of(jx))


def test_long_chain():
    n = 5000
    jx = jaxpr([(2500,)], lambda op, x: chain(n)(op, x))
    program = lower(jx)
    assert steps(program) == ["group"]
    x = np.full(2500, 1e-3)
    assert_array_equal(program.run([x])[0], lower(jx, fused=False).run([x])[0])
