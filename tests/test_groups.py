"""What block groups are made of: loops of two ops, stores past the caches, joined and rolled operands."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from programs_by_hand import aval, jaxpr, lit
from test_fuse import same_bits, values_of

from functrans.kernels import pairs
from functrans.plan import group
from functrans.plan.lower import lower

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
    assert f"ew:{name}:" in program.describe()
    values = values_of(jx)
    values[0].flat[::7] = np.resize([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310], values[0].flat[::7].shape)
    same_bits(jx, *values)


def test_a_value_that_is_read_twice_is_in_no_pair():
    def f(op, x):
        y = op("mul", x, x)
        return [op("add", y, y)]

    jx = jaxpr([(3000,)], f)
    assert "mul.add" not in lower(jx).describe()
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
    assert "stream" in program.describe()
    for got, w in zip(program.run(list(values)), want, strict=True):
        assert_array_equal(got, w)
