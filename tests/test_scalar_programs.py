"""Scalar programs: tiny arrays element by element, against the same plan in steps and NumPy."""

import signal
import threading
import time

import numpy as np
import pytest
from functrans.plan.lower import lower
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from programs_by_hand import F, aval, interpret, jaxpr, lit, mixed_loops

import functrans as ft
import functrans.numpy as fnp
from functrans import grad, jit, lax
from functrans.ir.op import CODE, OPS
from functrans.kernels import lib
from functrans.plan import clusters, registers

DTYPES = [np.dtype(d) for d in ("f8", "f4", "i8", "i4", "i1", "u1", "u8", "?")]


@pytest.fixture
def steps(monkeypatch):
    """A function that plans without scalar programs."""
    def plan(jx):
        monkeypatch.setattr(clusters, "enabled", False)
        program = lower(jx)
        monkeypatch.setattr(clusters, "enabled", True)
        return program
    return plan


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Scalar programs whether they pay or not, so that all of them are tested."""
    monkeypatch.setattr(clusters, "enabled", True)
    monkeypatch.setattr(clusters, "START_NS", -1e9)
    monkeypatch.setattr(clusters, "MUCH_SLOWER", 1e9)
    monkeypatch.setattr(clusters, "STEP_TURN_NS", 1e9)


def kernels(program):
    return program.kernels


def same(got, want, exact=True):
    for a, b in zip(got, want, strict=True):
        assert np.shape(a) == np.shape(b) and a.dtype == b.dtype
        if exact:
            assert_array_equal(a, b)
        else:
            info = 1e-5 if a.dtype == np.float32 else 1e-12
            assert_allclose(a, b, rtol=info, atol=info)


def binary_names(dtype):
    code = CODE[dtype]
    names = ("add", "sub", "mul", "max", "min", "and", "or", "xor", "zmul", "div", "mod",
             "floordiv", "atan2", "copysign", "shl")
    return [n for n in names if code in OPS[n].dtypes]


def unary_names(dtype):
    code = CODE[dtype]
    names = ("neg", "abs", "sign", "sin", "exp", "sqrt", "tanh", "not", "log1p", "floor", "cos",
             "logistic")
    return [n for n in names if code in OPS[n].dtypes]


@st.composite
def programs(draw):
    """A random program on arrays of at most 16 elements, and values for it."""
    n_in = draw(st.integers(1, 3))
    avals = [aval(tuple(draw(st.lists(st.integers(1, 4), max_size=2))), draw(st.sampled_from(DTYPES)))
             for _ in range(n_in)]

    def body(op, *inputs):
        live = list(inputs)
        for _ in range(draw(st.integers(2, 12))):
            x = draw(st.sampled_from(live))
            a = x.aval
            peers = [y for y in live if y.aval is a] + [lit(draw(st.sampled_from([0, 1, 2])), a)]
            kinds = ["binary", "unary", "compare", "convert", "move", "reduce"]
            kind = draw(st.sampled_from(kinds))
            if kind == "binary":
                new = op(draw(st.sampled_from(binary_names(a.dtype))), x, draw(st.sampled_from(peers)))
            elif kind == "unary":
                names = unary_names(a.dtype)
                new = op(draw(st.sampled_from(names)), x) if names else op("stop_gradient", x)
            elif kind == "compare":
                c = op(draw(st.sampled_from(["lt", "eq", "ge"])), x, draw(st.sampled_from(peers)))
                live.append(c)
                new = op("select", c, x, draw(st.sampled_from(peers)))
            elif kind == "convert":
                new = op("convert", x, dtype=draw(st.sampled_from(DTYPES)))
            elif kind == "move":
                new = moved(draw, op, x, peers)
            else:
                new = reduced(draw, op, x)
            if new.aval.size <= 16:
                live.append(new)
        outs = draw(st.lists(st.sampled_from(live), min_size=1, max_size=4))
        return [live[-1], *outs]

    jx = jaxpr(avals, body)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = [_value(rng, a) for a in avals]
    return jx, values


def _value(rng, a):
    if a.dtype.kind == "f":
        v = rng.choice([0.0, -0.0, 1.5, -2.25, 3.0, 0.1, -7.0], a.shape)
    elif a.dtype.kind == "b":
        v = rng.integers(0, 2, a.shape)
    else:
        v = rng.integers(0 if a.dtype.kind == "u" else -100, 100, a.shape)
    return a.dtype.type(v) if a.ndim == 0 else v.astype(a.dtype)


def moved(draw, op, x, peers):
    a = x.aval
    kind = draw(st.sampled_from(["reshape", "transpose", "broadcast", "rev", "slice", "pad",
                                 "concatenate"]))
    if kind == "reshape":
        return op("reshape", x, shape=draw(st.sampled_from([(a.size,), (1, a.size), (a.size, 1)])))
    if kind == "transpose":
        return op("transpose", x, perm=tuple(draw(st.permutations(range(a.ndim)))))
    if kind == "broadcast":
        return op("broadcast_in_dim", x, shape=(draw(st.integers(1, 3)), *a.shape),
                  dims=tuple(range(1, a.ndim + 1)))
    if a.ndim == 0:
        return op("reshape", x, shape=(1,))
    if kind == "rev":
        return op("rev", x, axes=tuple(sorted(draw(st.sets(st.integers(0, a.ndim - 1))))))
    if kind == "slice":
        start = tuple(draw(st.integers(0, n - 1)) for n in a.shape)
        limit = tuple(draw(st.integers(s + 1, n)) for s, n in zip(start, a.shape, strict=True))
        stride = tuple(draw(st.integers(1, 2)) for _ in a.shape)
        return op("slice", x, start=start, limit=limit, stride=stride)
    if kind == "pad":
        low = tuple(draw(st.integers(-1 if n > 2 else 0, 1)) for n in a.shape)
        return op("pad", x, lit(1, aval((), a.dtype)), low=low, high=(1,) * a.ndim,
                  interior=tuple(draw(st.integers(0, 1)) for _ in a.shape))
    return op("concatenate", x, draw(st.sampled_from(peers)), axis=draw(st.integers(0, a.ndim - 1)))


def reduced(draw, op, x):
    a = x.aval
    axes = tuple(sorted(draw(st.sets(st.integers(0, a.ndim - 1))))) if a.ndim else ()
    names = [n for n in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_or")
             if CODE[a.dtype] in OPS[n].dtypes]
    kind = draw(st.sampled_from(["reduce", "reduce", "cumulative", "arg", "dot"]))
    if a.ndim and kind == "cumulative" and a.dtype != bool:
        return op(draw(st.sampled_from(["cumsum", "cumprod", "cummax", "cummin"])), x,
                  axis=draw(st.integers(0, a.ndim - 1)), reverse=draw(st.booleans()))
    if a.ndim and kind == "arg":
        return op(draw(st.sampled_from(["argmax", "argmin"])), x, axis=draw(st.integers(0, a.ndim - 1)))
    if a.ndim and kind == "dot":
        axis = draw(st.integers(0, a.ndim - 1))
        return op("dot_general", x, x, contract=((axis,), (axis,)), batch=((), ()))
    return op(draw(st.sampled_from(names)), x, axes=axes)


@settings(max_examples=400, deadline=None)
@given(programs())
def test_random_programs(case):
    jx, values = case
    enabled = clusters.enabled
    clusters.enabled = False
    try:
        want = lower(jx).run(list(values))
    finally:
        clusters.enabled = enabled
    same(lower(jx).run(list(values)), want, exact=False)
    with np.errstate(all="ignore"):
        finite = all(np.all(np.abs(np.asarray(w, float)) < 2**20) for w in want)
    if finite:                       # NumPy's casts out of range are its own
        for a, b in zip(want, interpret(jx, values), strict=True):
            assert a.shape == np.shape(b)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "zmul", "div", "max", "min", "pow", "mod",
                                  "atan2", "hypot"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_of_floats(name, dtype, steps):
    """Every simplification keeps the bits: signed zeros, infinities and nan among them."""
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5], dtype)
    x, y = (v.ravel() for v in np.meshgrid(special, special))
    a = aval((8,), dtype)

    def body(op, x, y):
        outs = []
        zero, one = lit(0, a), lit(1, a)
        for p, q in ((x, y), (x, zero), (zero, x), (x, lit(-0.0, a)), (x, one), (x, op("neg", y)),
                     (op("neg", x), op("neg", y)), (op("mul", x, y), x), (x, op("mul", y, y)),
                     (op("add", x, zero), zero), (op("mul", x, x), zero)):
            outs.append(op(name, p, q))
        return outs
    jx = jaxpr([a, a], body)
    for k in range(0, 64, 8):
        values = [np.ascontiguousarray(x[k:k + 8]), np.ascontiguousarray(y[k:k + 8])]
        program = lower(jx)
        assert kernels(program) == ["scalar"]
        for got, want in zip(program.run(values), steps(jx).run(values), strict=True):
            nan = np.isnan(want)
            assert_array_equal(np.isnan(got), nan)
            assert_array_equal(got[~nan].view(np.uint8), want[~nan].view(np.uint8))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos",
                                  "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
                                  "atanh", "cbrt", "logistic", "erf", "erfc", "pow", "atan2", "logaddexp"])
def test_functions_have_the_bits_of_loops(name, dtype):
    """What a single number takes a branch for, a loop computes for all: extremes, ends of intervals."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    edges = np.array([0.1, 0.25, 0.5, 0.55, 1, 2, 22, 87, 88.5, 103, 708, 709.5, 745, 1e6, info.tiny,
                      info.max, info.eps, info.smallest_subnormal, 3 * info.smallest_subnormal, 1e30, 0,
                      np.inf], dtype)
    edges = np.concatenate([edges, np.nextafter(edges, dtype(0)), np.nextafter(edges, dtype(9)), [np.nan]])
    x = np.concatenate([edges, -edges, rng.normal(0, 4, 1200), rng.uniform(0, 2, 1200)]).astype(dtype)
    x = np.resize(x, -(-len(x) // 8) * 8)
    values = [x, rng.permutation(x)][:OPS[name].arity]
    few, many = (jaxpr([aval((n,), dtype)] * len(values), lambda op, *xs: [op("neg", op(name, *xs))])
                 for n in (8, len(x)))
    one_by_one, loop = lower(few), lower(many)
    assert kernels(one_by_one) == ["scalar"] and kernels(loop) != ["scalar"]
    (want,) = loop.run(values)
    got = np.concatenate([one_by_one.run([v[k:k + 8] for v in values])[0] for k in range(0, len(x), 8)])
    assert_array_equal(np.isnan(got), np.isnan(want))
    assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(got)]))
    assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape, axes", [((16,), (0,)), ((4, 4), (0, 1)), ((4, 4), (0,)), ((4, 4), (1,)),
                                         ((2, 2, 4), (0, 2)), ((2, 2, 4), (0, 1)), ((1, 7, 1), (0, 1)),
                                         ((3, 5), (0, 1)), ((2, 2, 2, 2), (0, 1, 2, 3))])
def test_sums_have_the_bits_of_the_kernel(shape, axes, dtype, steps):
    def body(op, x):
        y = op("add", x, x)
        return [op(f"reduce_{k}", y, axes=axes) for k in ("sum", "prod", "max")]
    jx = jaxpr([aval(shape, dtype)], body)
    rng = np.random.default_rng(3)
    for _ in range(20):
        x = rng.normal(size=shape).astype(dtype) * 10 ** rng.integers(-3, 4, shape).astype(dtype)
        assert kernels(lower(jx)) == ["scalar"]
        same(lower(jx).run([x]), steps(jx).run([x]))


def test_products_have_the_bits_of_the_kernel(steps):
    jx = jaxpr([(4, 4), (4, 4), (2, 2, 3), (2, 3)], lambda op, a, b, c, d: [
        op("dot_general", a, b, contract=((1,), (0,)), batch=((), ())),
        op("dot_general", a, b, contract=((0, 1), (0, 1)), batch=((), ())),
        op("dot_general", c, d, contract=((2,), (1,)), batch=((0,), (0,))),
        op("dot_general", d, d, contract=((1,), (1,)), batch=((), ()))])
    rng = np.random.default_rng(0)
    for _ in range(10):
        values = [rng.normal(size=v.aval.shape) for v in jx.invars]
        same(lower(jx).run(values), steps(jx).run(values))


def test_parts_of_a_program(steps):
    """Large arrays are steps; what lies between them is scalar, loaded through any strides."""
    def body(op, w, x):
        big = op("mul", w, w)
        row = op("slice", op("transpose", big, perm=(1, 0)), start=(1, 2), limit=(2, 20), stride=(1, 6))
        y = op("add", op("sin", op("reshape", row, shape=(3,))), x)
        z = op("mul", y, op("rev", y, axes=(0,)))
        wide = op("broadcast_in_dim", z, shape=(20, 3), dims=(1,))
        total = op("reduce_sum", op("mul", wide, wide), axes=(0, 1))
        return [big, op("add", op("mul", total, total), 1.0), op("sub", y, z), x]
    jx = jaxpr([(20, 4), (3,)], body)
    program = lower(jx)
    assert kernels(program).count("scalar") == 2
    rng = np.random.default_rng(1)
    values = [rng.normal(size=(20, 4)), rng.normal(size=3)]
    same(program.run(values), steps(jx).run(values))


def test_moves_of_scalars():
    def body(op, x):
        y = op("add", op("pad", x, lit(0, aval((), F)), low=(), high=(), interior=()), x)
        y = op("mul", op("slice", y, start=(), limit=(), stride=()), op("rev", y, axes=()))
        return [op("transpose", y, perm=())]
    assert lower(jaxpr([()], body)).run([1.5]) == [9.0]


def test_only_where_it_pays(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(clusters, "enabled", True)
    jx = jaxpr([(16,)], lambda op, x: [op("mul", op("exp", x), op("sin", x))])
    assert "scalar" not in kernels(lower(jx))
    jx = jaxpr([(3,)], lambda op, x: [op("mul", op("add", x, x), op("sub", x, x))])
    assert kernels(lower(jx)) == ["scalar"]


# ----- loops -------------------------------------------------------------------------------------------


@st.composite
def loops(draw):
    """A random scan over carries of shapes (2,), () and int64, with a const, xs and ys."""
    k = aval((), np.int64)
    picks = [draw(st.integers(0, 9)) for _ in range(8)]

    def body(op, w, a, b, n, x):
        s = op("reshape", op("slice", a, start=(1,), limit=(2,), stride=(1,)), shape=())
        vectors = [a, w, x, op("mul", a, w), op("add", a, x), op("rev", a, axes=(0,)),
                   op("broadcast_in_dim", b, shape=(2,), dims=()), op("sin", a),
                   op("sub", op("mul", w, x), a), op("neg", op("add", w, w))]
        scalars = [b, s, op("add", b, s), op("mul", b, 0.5), op("reduce_sum", x, axes=(0,)),
                   op("cos", s), op("convert", n, dtype=np.dtype(F)), op("sub", s, b),
                   op("add", b, 0.0), op("max", s, b)]
        return [vectors[picks[0]], scalars[picks[1]], op("add", n, lit(3, k)) if picks[2] % 2 else n,
                vectors[picks[3]], scalars[picks[4]], n]
    reverse, length = draw(st.booleans()), draw(st.sampled_from([0, 1, 2, 3, 7]))
    inner = jaxpr([(2,), (2,), (), k, (2,)], body)
    return inner, length, reverse


@settings(max_examples=150, deadline=None)
@given(loops())
def test_random_scans(case):
    inner, length, reverse = case
    k = aval((), np.int64)
    jx = jaxpr([(2,), (2,), (), k, (2, max(length, 1))], lambda op, w, a, b, n, xs: op(
        "scan", w, a, b, n, op("slice", op("transpose", xs, perm=(1, 0)), start=(0, 0), limit=(length, 2),
                               stride=(1, 1)),
        jaxpr=inner, n_consts=1, n_carry=3, length=length, reverse=reverse))
    rng = np.random.default_rng(length)
    values = [rng.normal(size=2), rng.normal(size=2), F(0.7), np.int64(5),
              rng.normal(size=(2, max(length, 1)))]
    program = lower(jx)
    assert ("scalar_loop" in kernels(program)) == (length > 0)
    got = program.run(list(values))
    w, a, b, n, xs = values
    ys = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        a, b, n, *ys[t] = interpret(inner, [w, a, b, n, xs[:, t]])
    same(got[:3], [np.asarray(a), np.asarray(b), np.asarray(n)], exact=False)
    for k in range(3):
        if length:
            assert_allclose(got[3 + k], np.stack([y[k] for y in ys]), rtol=1e-12, atol=1e-12)


def test_scan_shares_strided_slices(steps):
    body = jaxpr([(), (2,), (2,)], lambda op, c, x, y: [
        op("add", c, op("reduce_sum", op("mul", x, y), axes=(0,))), x])
    jx = jaxpr([(), (6, 4)], lambda op, c, x: op(
        "scan", c, op("slice", x, start=(0, 0), limit=(6, 2), stride=(2, 1)),
        op("slice", x, start=(1, 2), limit=(6, 4), stride=(2, 1)),
        jaxpr=body, n_consts=0, n_carry=1, length=3, reverse=True))
    assert "scalar_loop" in kernels(lower(jx))
    values = [1.0, np.arange(24.0).reshape(6, 4)]
    same(lower(jx).run(values), steps(jx).run(values))


def test_gradient_of_scan_is_that_of_the_unrolled_loop():
    def step(y, x):
        k = fnp.stack([y[1] * x, fnp.sin(y[0]) - y[2], y[0] * y[1]])
        return y + 0.1 * k, fnp.sum(k * k)

    def rolled(p, y, xs):
        y, ys = lax.scan(lambda c, x: step(c, x * p), y, xs)
        return fnp.sum(y) + fnp.sum(ys * ys)

    def unrolled(p, y, xs):
        total = 0.0
        for i in range(6):
            y, out = step(y, xs[i] * p)
            total = total + out * out
        return fnp.sum(y) + total

    args = 1.3, np.array([0.3, -0.4, 1.1]), np.linspace(-1, 1, 6)
    for argnums in (0, 1, 2):
        assert_allclose(jit(grad(rolled, argnums))(*args), grad(unrolled, argnums)(*args), rtol=1e-12)
    hess = jit(ft.hessian(rolled, 1))(*args)
    assert_allclose(hess, ft.hessian(unrolled, 1)(*args), rtol=1e-10)


def test_while(steps):
    k = aval((), np.int64)
    test = jaxpr([k, k, (2,)], lambda op, n, i, c: [op("lt", i, n)])
    body = jaxpr([(2,), k, (2,)], lambda op, w, i, c: [
        op("add", i, lit(1, k)), op("add", op("mul", op("rev", c, axes=(0,)), w), c)])
    jx = jaxpr([k, (2,), (2,)], lambda op, n, w, c: op(
        "while", n, w, lit(0, k), c, cond=test, body=body, n_cond=1, n_body=1))
    assert kernels(lower(jx)) == ["scalar_loop"]
    for n in (-1, 0, 1, 5, 3000):
        values = [np.int64(n), np.array([0.01, -0.02]), np.array([1.0, 2.0])]
        same(lower(jx).run(values), steps(jx).run(values))


def test_while_whose_test_computes_the_next_value():
    f = jit(lambda x: lax.while_loop(lambda x: x + 1.0 < 10, lambda x: x + 1.0, x))
    assert f(0.0) == 9.0 and f(20.0) == 20.0


@pytest.mark.parametrize("reverse", [False, True])
def test_while_that_stacks_and_scan_over_the_stacks(steps, reverse):
    """Stacked are a carry, a constant, what the test computes, and what a turn does."""
    k = aval((), np.int64)
    test = jaxpr([k, k, (2,)], lambda op, n, i, c: [op("lt", op("add", i, lit(1, k)), n)])
    body = jaxpr([(2,), k, (2,)], lambda op, w, i, c: [
        op("add", i, lit(1, k)), op("add", op("mul", op("rev", c, axes=(0,)), w), c), c, w, op("sin", c),
        op("add", i, lit(1, k))])
    back = jaxpr([(2,), (2,), (2,), k], lambda op, c, x, y, i: [
        op("add", op("mul", c, y), x), i, op("cos", c)])

    def program(op, n, w, c):
        i, c, *ys = op("while", n, w, lit(0, k), c, cond=test, body=body, n_cond=1, n_body=1)
        again = op("scan", i, c, ys[0], ys[2], ys[3], jaxpr=back, n_consts=0, n_carry=1, length=None,
                   reverse=reverse)
        return [i, c, *ys, *again]
    jx = jaxpr([k, (2,), (2,)], program)
    assert kernels(lower(jx)) == ["scalar_loop", "scalar_loop"]
    for n in (-1, 0, 1, 2, 17, 18, 500, 30_000):
        values = [np.int64(n), np.array([0.01, -0.02]), np.array([1.0, 2.0])]
        got = lower(jx).run(values)
        same(got, steps(jx).run(values))
        assert len(got[2]) == max(n - 1, 0)


def test_while_with_a_constant_test():
    test = jaxpr([()], lambda op, c: [lit(False, aval((), bool))])
    body = jaxpr([()], lambda op, c: [op("add", c, op("sin", c))])
    jx = jaxpr([()], lambda op, c: op("while", c, cond=test, body=body, n_cond=0, n_body=0))
    assert kernels(lower(jx)) == ["scalar_loop"]
    assert lower(jx).run([2.5]) == [2.5]


def test_carries_that_swap():
    def body(op, a, b, c, d):
        return [b, c, a, op("add", d, a)]
    inner = jaxpr([()] * 4, body)
    for length in range(1, 6):
        jx = jaxpr([()] * 4, lambda op, *c, n=length: op(
            "scan", *c, jaxpr=inner, n_consts=0, n_carry=4, length=n, reverse=False))
        a, b, c, d = 1.0, 2.0, 3.0, 4.0
        for _ in range(length):
            a, b, c, d = b, c, a, d + a
        assert lower(jx).run([1.0, 2.0, 3.0, 4.0]) == [a, b, c, d]


def test_keyboard_interrupt_stops_a_loop():
    body = jaxpr([()], lambda op, c: [op("add", c, 1.0)])
    test = jaxpr([()], lambda op, c: [op("ge", c, 0.0)])
    program = lower(jaxpr([()], lambda op, c: op(
        "while", c, cond=test, body=body, n_cond=0, n_body=0)))
    assert kernels(program) == ["scalar_loop"]
    timer = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    old = signal.signal(signal.SIGINT, signal.default_int_handler)      # a background job ignores it
    start = time.perf_counter()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            program.run([0.0])
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, old)
    assert time.perf_counter() - start < 10


def test_branches_are_selected(steps):
    k = aval((), np.int64)
    branches = tuple(jaxpr([(2,)], f) for f in (
        lambda op, x: [op("sin", x)], lambda op, x: [op("mul", x, x)], lambda op, x: [lit(7, aval((2,), F))]))
    jx = jaxpr([k, (2,)], lambda op, i, x: [op("add", *op("cond", i, x, branches=branches), x)])
    assert kernels(lower(jx)) == ["scalar"]
    for i in (-5, 0, 1, 2, 9):
        values = [np.int64(i), np.array([0.3, 2.0])]
        same(lower(jx).run(values), steps(jx).run(values))


@pytest.mark.parametrize("name", ["dynamic_slice", "dynamic_update_slice", "gather"])
def test_run_time_indices(name, steps):
    i64, b1 = aval((), np.int64), np.dtype(bool)
    for shape, window, dtype in (((5,), (2,), F), ((3, 4), (2, 2), F), ((4,), (1,), np.float32),
                                 ((2, 3), (1, 3), np.int8), ((3,), (2,), b1)):
        for mode in ("clip", "fill", "wrap") if name == "gather" else (None,):
            def body(op, x, u, *starts, window=window, mode=mode):
                starts = [op("add", s, s) for s in starts]
                if name == "dynamic_slice":
                    y = op(name, x, *starts, sizes=window)
                elif name == "gather":
                    y = op(name, x, starts[0], mode=mode)
                else:
                    y = op(name, x, u, *starts)
                return [op("select", op("eq", y, y), y, y), y]
            jx = jaxpr([aval(shape, dtype), aval(window, dtype), *[i64] * len(shape)], body)
            program = lower(jx)
            assert kernels(program) == ["scalar"]
            rng = np.random.default_rng(0)
            x = rng.integers(0, 100, shape).astype(dtype)
            u = rng.integers(0, 100, window).astype(dtype)
            for at in ((0, 0), (1, 1), (-3, 2), (2, -1), (40, 1)):
                values = [x, u, *[np.int64(a) for a in at[:len(shape)]]]
                same(program.run(values), steps(jx).run(values))


# ----- size, threads ------------------------------------------------------------------------------------


def tall(n):
    def body(op, x, y):
        for i in range(n):
            x, y = op(("add", "mul", "sub")[i % 3], x, y), x
        return [x, y]
    return jaxpr([(3,), (3,)], body)


def test_long_programs_are_right(monkeypatch):
    jx = tall(10_000)
    program = lower(jx)
    x = np.array([0.5, 0.25, -0.125]), np.array([1e-3, 1.0, 0.5])
    monkeypatch.setattr(clusters, "enabled", False)
    same(program.run(list(x)), lower(jx).run(list(x)))


def test_too_many_registers(monkeypatch, steps):
    monkeypatch.setattr(registers, "MOST", 3)
    jx = tall(10)
    assert "scalar" not in kernels(lower(jx))
    body = jaxpr([(3,)], lambda op, c: [op("mul", c, op("sin", c))])
    loop = jaxpr([(3,)], lambda op, c: op(
        "scan", c, jaxpr=body, n_consts=0, n_carry=1, length=3, reverse=False))
    values = [np.array([0.1, 0.2, 0.3])]
    assert "scalar_loop" not in kernels(lower(loop))
    same(lower(loop).run(values), steps(loop).run(values))


def test_threads():
    body = jaxpr([(3,)], lambda op, c: [op("add", op("mul", c, op("sin", c)), c), c])
    jx = jaxpr([(3,)], lambda op, c: op(
        "scan", c, jaxpr=body, n_consts=0, n_carry=1, length=200, reverse=False))
    program = lower(jx)
    starts = [np.array([0.1, 0.2, 0.3]) * 0.01 * k for k in range(8)]
    want = [program.run([s]) for s in starts]
    wrong = []

    def work(k):
        for _ in range(200):
            for a, b in zip(program.run([starts[k]]), want[k], strict=True):
                if not np.array_equal(a, b, equal_nan=True):
                    wrong.append(k)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_operations_are_those_of_the_table():
    from functrans.kernels import codegen
    assert list(lib.scalar_labels()) == codegen.scalar_names()
    assert len(set(lib.scalar_labels().values())) == len(codegen.scalar_names())


# ----- generated loops of mixed dtypes --------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(mixed_loops())
def test_loops_of_mixed_dtypes(case):
    types, body, kind, length = case
    if kind == "scan":
        jx = jaxpr(types, lambda op, *c: op("scan", *c, jaxpr=jaxpr(types, body), n_consts=0, n_carry=4,
                                            length=length, reverse=False))
    else:
        k = aval((), np.int64)
        test = jaxpr([k, *types], lambda op, i, *c: [op("lt", i, lit(length, k))])
        more = jaxpr([k, *types], lambda op, i, *c: [op("add", i, lit(1, k)), *body(op, *c)])
        jx = jaxpr(types, lambda op, *c: op("while", lit(0, k), *c, cond=test, body=more, n_cond=0, n_body=0))
    values = [np.array([0.3, -1.7]), np.array([1.5, 2.25], np.float32), np.int64(4), np.array([True, False])]
    program = lower(jx)
    assert kernels(program) == ["scalar_loop"]
    enabled = clusters.enabled
    clusters.enabled = False
    try:
        want = lower(jx).run(list(values))
    finally:
        clusters.enabled = enabled
    same(program.run(list(values)), want)
