"""What block groups are made of: loops of several ops, stores past the caches, joined and rolled operands."""

import numpy as np
import pytest
from functrans.plan.lower import lower
from numpy.testing import assert_array_equal
from programs_by_hand import aval, interpret, jaxpr, lit
from test_fuse import same_bits, values_of

from functrans.kernels import pairs
from functrans.plan import group

# ----- loops of several ops --------------------------------------------------------------------


@pytest.mark.parametrize("name", pairs.names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_joined_ops_have_the_bits_of_single_ones(name, dtype):
    """With arrays, numbers, columns and rows as operands; signed zeros, infinities, nan."""
    shape = (40, 77)

    def f(op, x, column, row):
        three = lit(x.aval.dtype.type(3), x.aval)
        y = op("exp", x)
        wide = {"x": x, "y": y, "3": three, "c": op("broadcast_in_dim", column, shape=shape, dims=(0,)),
                "r": op("broadcast_in_dim", row, shape=shape, dims=(1,))}
        outs = []
        for names in ("xyxy", "xyyx", "3xyx", "x3y3", "xy3x", "x33y", "3x3r", "cxrx", "xcry", "rcxx", "ccxr",
                      "x3cy", "y33x"):
            values = {v: wide[n] for v, n in zip("xyzw", names, strict=True)}
            for k, (stage, operands) in enumerate(pairs.stages(name)):
                params = {"dtype": x.aval.dtype} if stage == "convert" else {}
                values[str(k)] = op(stage, *[values[v] for v in operands], **params)
            outs.append(values[str(k)])
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
@pytest.mark.parametrize("name", ["exp", "log", "log1p"])
def test_extreme_arguments_change_no_bits_of_others(name, dtype):
    """Loops take pieces without any by a shorter way."""
    x = np.random.default_rng(0).uniform(0.01, 60, 5000).astype(dtype)
    extreme = x.copy()
    extreme[300::900] = np.array([np.inf, -np.inf, np.nan, -0.0, -1e4, np.finfo(dtype).tiny / 4], dtype)
    jx = jaxpr([aval(x.shape, dtype)], lambda op, x: [op(name, x)])
    plain, mixed = (lower(jx).run([v])[0] for v in (x, extreme))
    kept = np.ones(5000, bool)
    kept[300::900] = False
    assert_array_equal(plain[kept], mixed[kept])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(mixed, getattr(np, name)(extreme), rtol=4 * np.finfo(dtype).eps)


# ----- updates within rows ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["add", "set", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("mode", ["drop", "clip", "wrap"])
def test_updates_within_rows_are_part_of_a_group(kind, dtype, mode):
    """Several positions a row, some of them equal, negative or outside; what they meet is made there."""
    rows, cols, each = 60, 70, 5
    code = np.dtype("int16")

    def f(op, x, u, at):
        y = op("add", x, x)
        z = op(f"scatter_{kind}", y, u, at, mode=mode, batch=1, signed=True)
        return [op("mul", z, x), op("reduce_sum", z, axes=(1,)), y]

    jx = jaxpr([aval((rows, cols), dtype), aval((rows, each), dtype), aval((rows, each), code)], f)
    rng = np.random.default_rng(0)
    x, u = (rng.integers(-9, 9, s).astype(dtype) for s in ((rows, cols), (rows, each)))
    at = rng.integers(-cols - 9, cols + 9, (rows, each)).astype(code)
    at[:, 1] = at[:, 0]
    assert lower(jx).names == ("group",)
    got = same_bits(jx, x, u, at)
    for a, b in zip(got, interpret(jx, [x, u, at]), strict=True):
        assert_array_equal(a, b)


def test_updates_within_rows_of_several_axes():
    """Blocks of [3, 2] at positions of two axes, in a batch of two; large results go past the caches."""
    shape, count = (8, 5, 30, 20, 2), 4

    def f(op, u, i, j):
        z = op("scatter_add", lit(0.0, aval(shape, "float64")), u, i, j, mode="drop", batch=2)
        return [op("exp", z), z]

    jx = jaxpr([aval((8, 5, count, 2), "float64"), *[aval((8, 5, count), np.dtype("int64"))] * 2], f)
    rng = np.random.default_rng(1)
    u = rng.normal(size=(8, 5, count, 2))
    i, j = (rng.integers(0, n, (8, 5, count)) for n in (30, 20))
    assert lower(jx).names == ("group",)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "LAST_CACHE", 1000)
        streamed = lower(jx).run([u, i, j])
    for got in (same_bits(jx, u, i, j), streamed):
        want = np.zeros(shape)
        np.add.at(want, (np.arange(8)[:, None, None], np.arange(5)[:, None], i, j), u)
        np.testing.assert_allclose(got[1], want, rtol=1e-15, atol=1e-15)
        np.testing.assert_allclose(got[0], np.exp(want), rtol=1e-14)


def test_updates_that_the_group_makes():
    """An update a row that depends on the row; and one on each element, which has to be in memory."""
    def f(op, x, at):
        top = op("reduce_max", x, axes=(1,))
        one = op("scatter_add", op("neg", x), top, at, mode="drop", batch=1)
        all_ = op("scatter_set", x, op("exp", one), op("broadcast_in_dim", at, shape=x.aval.shape, dims=(0,)),
                  mode="drop", batch=1)
        return [op("add", one, all_)]

    jx = jaxpr([aval((40, 90), "float64"), aval((40,), np.dtype("int64"))], f)
    rng = np.random.default_rng(2)
    x, at = rng.normal(size=(40, 90)), rng.integers(0, 90, 40)
    one = -x
    one[np.arange(40), at] += x.max(axis=1)
    want = x.copy()
    want[np.arange(40), at] = np.exp(one[:, -1])
    np.testing.assert_allclose(same_bits(jx, x, at)[0], one + want, rtol=1e-14)
