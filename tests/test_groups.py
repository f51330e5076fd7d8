"""What block groups are made of: loops of two ops, stores past the caches, joined and rolled operands."""

import numpy as np
import pytest
from functrans.plan.lower import lower
from numpy.testing import assert_array_equal
from programs_by_hand import aval, jaxpr, lit
from test_fuse import same_bits, values_of

from functrans.kernels import pairs
from functrans.plan import group

# ----- loops of two ops ----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(pairs.NAMES.values())))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pairs_have_the_bits_of_both_ops(name, dtype):
    """With arrays, numbers, columns and rows as operands; signed zeros, infinities, nan."""
    inner, outer = name.rstrip("'").split(".")
    arity = {n: 1 if n in pairs.UNARY else 2 for n in (inner, outer)}
    shape = (40, 77)

    def f(op, x, column, row):
        three = lit(x.aval.dtype.type(3), x.aval)
        y = op("exp", x)
        wide = {"x": x, "y": y, "3": three, "c": op("broadcast_in_dim", column, shape=shape, dims=(0,)),
                "r": op("broadcast_in_dim", row, shape=shape, dims=(1,))}
        outs = []
        for names in ("xyx", "xyy", "3xy", "x3y", "xy3", "x33", "3x3", "cxr", "xcr", "rcx", "ccx", "x3c"):
            a, b, c = (wide[n] for n in names)
            v = op(inner, a) if arity[inner] == 1 else op(inner, a, b)
            rest = [c] if arity[outer] == 2 else []
            outs.append(op(outer, *([*rest, v] if name[-1] == "'" else [v, *rest])))
        return outs

    jx = jaxpr([aval(shape, dtype), aval(shape[:1], dtype), aval(shape[1:], dtype)], f)
    program = lower(jx)
    assert any(k.startswith(f"ew:{name}:") for k in program.kernels)
    values = values_of(jx)
    values[0].flat[::7] = np.resize([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310], values[0].flat[::7].shape)
    same_bits(jx, *values)


def test_a_value_that_is_read_twice_is_in_no_pair():
    def f(op, x):
        y = op("mul", x, x)
        return [op("add", y, y)]

    jx = jaxpr([(3000,)], f)
    assert not any("mul.add" in k for k in lower(jx).kernels)
    same_bits(jx, *values_of(jx))


def test_large_results_go_past_the_caches():
    """Of any alignment: rows of odd length, results of several dtypes."""
    def f(op, x):
        y = op("mul", op("exp", x), x)
        return [y, op("convert", op("sin", y), dtype=np.dtype("float32")), op("lt", x, y),
                op("reduce_sum", y, axes=(1,))]

    jx = jaxpr([(2011, 1001)], f)
    values = values_of(jx)
    want = lower(jx, fused=False).run(list(values))
    before = group.LAST_CACHE
    group.LAST_CACHE = 1 << 20
    try:
        program = lower(jx)
    finally:
        group.LAST_CACHE = before
    assert "stream:8" in program.kernels
    for got, w in zip(program.run(list(values)), want, strict=True):
        assert_array_equal(got, w)


# ----- joined and rolled operands, values computed again -----------------------------------------


def test_rolls_and_pads_are_read_in_place():
    """Along each axis, by all kinds of shifts, of inputs and of values of the group itself."""
    def f(op, x):
        shape = x.aval.shape
        y = op("mul", x, x)
        total = op("add", x, y)
        for axis, n in enumerate(shape):
            for shift in (1, n // 2, n - 1):
                moved = op("roll", op("sin", x) if shift == 1 else x, shift=shift, axis=axis)
                total = op("add", op("mul", moved, y), total)
            low = tuple(2 if d == axis else 0 for d in range(len(shape)))
            high = tuple(-2 if d == axis else 0 for d in range(len(shape)))
            zeros = (0,) * len(shape)
            zero = lit(x.aval.dtype.type(0), aval((), x.aval.dtype))
            total = op("sub", total, op("pad", x, zero, low=low, high=high, interior=zeros))
            total = op("sub", total, op("pad", x, zero, low=high, high=low, interior=zeros))
        return [total, op("reduce_sum", total, axes=(len(shape) - 1,))]

    for shape in [(5003,), (70, 90), (3, 4000), (900, 5), (7, 20, 30), (2, 40_000)]:
        for dtype in ("float64", "float32", "int32"):
            def whole(op, x):
                return [op("add", op("roll", x, shift=2, axis=x.aval.ndim - 1), op("neg", x))]

            jx = jaxpr([aval(shape, dtype)], f if dtype != "int32" else whole)
            program = lower(jx)
            assert "group" in program.names
            plain, fused = lower(jx, fused=False).run(values_of(jx)), program.run(values_of(jx))
            assert_array_equal(fused[0], plain[0])


def test_concatenated_pieces_of_several_arrays():
    def f(op, x, y, s):
        wide = op("broadcast_in_dim", s, shape=(60, 3), dims=())
        a = op("concatenate", op("slice", x, start=(0, 5), limit=(60, 40), stride=(1, 1)), wide, y, axis=1)
        b = op("concatenate", op("transpose", y, perm=(0, 1)), op("rev", x, axes=(0,)), axis=1)
        c = op("exp", a)
        return [op("add", c, a), op("mul", b, b), op("reduce_max", op("mul", c, a), axes=(1,))]

    jx = jaxpr([(60, 40), (60, 50), ()], f)
    same_bits(jx, *values_of(jx))


def test_cheap_values_are_computed_again_instead_of_stored():
    """Two groups, as the second reads neighbours of what the first computes."""
    n = 200_000

    def f(op, x):
        two = lit(2.0, x.aval)
        cheap = op("mul", x, two)
        y = op("exp", op("mul", cheap, x))
        return [op("add", op("roll", y, shift=1, axis=0), op("mul", cheap, y))]

    jx = jaxpr([(n,)], f)
    program = lower(jx)
    assert program.names.count("group") == 2
    assert program.arena_bytes < 2 * 8 * n              # y only
    x = np.random.default_rng(0).normal(size=n) * 0.1
    y = np.exp(2 * x * x)
    np.testing.assert_allclose(same_bits(jx, x)[0], np.roll(y, 1) + 2 * x * y, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["exp", "log"])
def test_extreme_arguments_change_no_bits_of_others(name, dtype):
    """Loops take pieces without any by a shorter way."""
    x = np.random.default_rng(0).uniform(0.01, 60, 5000).astype(dtype)
    extreme = x.copy()
    extreme[300::900] = np.array([np.inf, -np.inf, np.nan, 0.0, -1e4, np.finfo(dtype).tiny / 4], dtype)
    jx = jaxpr([aval(x.shape, dtype)], lambda op, x: [op(name, x)])
    plain, mixed = (lower(jx).run([v])[0] for v in (x, extreme))
    kept = np.ones(5000, bool)
    kept[300::900] = False
    assert_array_equal(plain[kept], mixed[kept])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(mixed, getattr(np, name)(extreme), rtol=4 * np.finfo(dtype).eps)
