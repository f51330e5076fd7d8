"""What cleanup rewrites: the values stay, for every special value, and the equations are those expected."""

import numpy as np
import pytest
from functrans.plan.lower import lower
from functrans.transform.cleanup import cleanup
from numpy.testing import assert_array_equal
from programs_by_hand import F, aval, jaxpr, lit

from functrans import grad, jit

SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-310, 3.7])
A = np.repeat(SPECIAL, len(SPECIAL))
B = np.tile(SPECIAL, len(SPECIAL))
N = len(A)


def full(value, dtype=F, shape=(N,)):
    return lit(value, aval(shape, dtype))


def rewritten(body, expected, avals, values, final=True, zero_signs=True):
    """``body`` gives the same before and after cleanup, which leaves the ``expected`` ops."""
    before = jaxpr(avals, lambda op, *xs: [body(op, *xs)])
    after = cleanup(before, final)
    assert [e.op.name for e in after.eqns] == expected
    (x,), (y,) = (lower(j).run(list(values)) for j in (before, after))
    assert_array_equal(x, y)
    if zero_signs and x.dtype.kind == "f":
        assert_array_equal(np.signbit(x)[~np.isnan(x)], np.signbit(y)[~np.isnan(y)])


@pytest.mark.parametrize("body, expected", [
    (lambda op, x, y: op("neg", op("neg", x)), []),
    (lambda op, x, y: op("add", x, op("neg", y)), ["sub"]),
    (lambda op, x, y: op("add", op("neg", x), y), ["sub"]),
    (lambda op, x, y: op("sub", x, op("neg", y)), ["add"]),
    (lambda op, x, y: op("add", x, full(-0.0)), []),
    (lambda op, x, y: op("add", x, full(0.0)), ["add"]),       # -0 + 0 is 0
    (lambda op, x, y: op("sub", x, full(0.0)), []),
    (lambda op, x, y: op("sub", x, full(-0.0)), ["sub"]),
    (lambda op, x, y: op("add", x, x), ["mul"]),
    (lambda op, x, y: op("mul", full(-1.0), x), ["neg"]),
    (lambda op, x, y: op("neg", op("mul", x, full(3.0))), ["mul"]),
    (lambda op, x, y: op("mul", op("neg", x), full(3.0)), ["mul"]),
    (lambda op, x, y: op("mul", op("neg", x), op("neg", y)), ["mul"]),
    (lambda op, x, y: op("sub", op("mul", x, y), op("mul", y, x)), ["mul", "sub"]),
    (lambda op, x, y: op("div", x, full(8.0)), ["mul"]),
    (lambda op, x, y: op("div", x, full(-0.25)), ["mul"]),
    (lambda op, x, y: op("div", x, full(3.0)), ["div"]),
    (lambda op, x, y: op("div", x, full(5e-324)), ["div"]),    # its inverse is infinite
    (lambda op, x, y: op("div", x, full(2.0 ** 1023)), ["div"]),
    (lambda op, x, y: op("integer_pow", x, y=0), []),
    (lambda op, x, y: op("integer_pow", x, y=2), ["mul"]),
    (lambda op, x, y: op("integer_pow", x, y=3), ["mul", "mul"]),
    (lambda op, x, y: op("integer_pow", x, y=4), ["mul", "mul"]),
    (lambda op, x, y: op("select", op("lt", x, y), x, x), []),
    (lambda op, x, y: op("select", op("not", op("lt", x, y)), x, y), ["lt", "select"]),
    (lambda op, x, y: op("max", x, x), []),
    (lambda op, x, y: op("abs", op("neg", x)), ["abs"]),
    (lambda op, x, y: op("convert", op("convert", x, dtype=np.dtype("f4")), dtype=np.dtype("f8")),
     ["convert", "convert"]),
])
def test_arithmetic(body, expected):
    with np.errstate(all="ignore"):
        rewritten(body, expected, [(N,), (N,)], [A, B])


@pytest.mark.parametrize("body, expected", [
    (lambda op, x, y: op("zmul", x, full(0.0)), []),
    (lambda op, x, y: op("zmul", full(0.5), x), ["mul"]),
    (lambda op, x, y: op("zmul", x, full(np.inf)), ["zmul"]),
    (lambda op, x, y: op("zmul", op("neg", x), op("neg", y)), ["zmul"]),
    (lambda op, x, y: op("zmul", x, x), ["mul"]),
    (lambda op, x, y: op("zmul", x, op("mul", op("mul", x, x), x)), ["mul", "mul", "mul"]),
    (lambda op, x, y: op("zmul", op("mul", x, y), x), ["mul", "zmul"]),
    (lambda op, x, y: op("zmul", op("select", op("lt", x, y), full(1.0), full(0.0)), y), ["lt", "select"]),
    (lambda op, x, y: op("zmul", y, op("select", op("lt", x, y), full(0.0), full(1.0))), ["lt", "select"]),
    (lambda op, x, y: op("zmul", y, op("select", op("lt", x, y), full(0.0), full(2.0))),
     ["lt", "select", "zmul"]),
])
def test_strong_zeros(body, expected):
    rewritten(body, expected, [(N,), (N,)], [A, B], zero_signs=False)


def test_conversions_there_and_back():
    types = [np.dtype(t) for t in ("?", "i1", "i8", "u8", "f4", "f8")]
    exact = {("?", "i1"), ("?", "i8"), ("?", "u8"), ("?", "f4"), ("?", "f8"), ("i1", "i8"), ("i1", "f4"),
             ("i1", "f8"), ("f4", "f8")}
    for a in types:
        values = np.array([0, 1, 2, 127, 200, 2 ** 24 + 1, 2 ** 62 + 1, 2 ** 63 - 1]).astype(a)
        for b in types:
            if a == b:
                continue
            body = lambda op, x, a=a, b=b: op("convert", op("convert", x, dtype=b), dtype=a)
            back = [] if (a.char, b.char) in {(np.dtype(p).char, np.dtype(q).char) for p, q in exact} else (
                ["convert", "convert"])
            with np.errstate(all="ignore"):
                rewritten(body, back, [aval(values.shape, a)], [values])


X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("body, expected", [
    (lambda op, x: op("reshape", op("reshape", x, shape=(4, 6)), shape=(24,)), ["reshape"]),
    (lambda op, x: op("transpose", op("transpose", x, perm=(2, 0, 1)), perm=(1, 2, 0)), []),
    (lambda op, x: op("transpose", op("transpose", x, perm=(2, 0, 1)), perm=(2, 0, 1)), ["transpose"]),
    (lambda op, x: op("broadcast_in_dim", op("broadcast_in_dim", x, shape=(5, 2, 3, 4), dims=(1, 2, 3)),
                      shape=(5, 2, 7, 3, 4), dims=(0, 1, 3, 4)), ["broadcast_in_dim"]),
    (lambda op, x: op("broadcast_in_dim", op("reshape", x, shape=(2, 1, 3, 4)), shape=(2, 5, 3, 4),
                      dims=(0, 1, 2, 3)), ["broadcast_in_dim"]),
    (lambda op, x: op("slice", op("slice", x, start=(0, 1, 0), limit=(2, 3, 4), stride=(1, 1, 2)),
                      start=(1, 0, 1), limit=(2, 2, 2), stride=(1, 1, 1)), ["slice"]),
    (lambda op, x: op("slice", op("concatenate", x, x, axis=1), start=(0, 3, 1), limit=(2, 6, 3),
                      stride=(1, 2, 1)), ["slice"]),
    (lambda op, x: op("concatenate", op("concatenate", x, x, axis=1), x, axis=1), ["concatenate"]),
    (lambda op, x: op("reduce_sum", op("broadcast_in_dim", x, shape=(2, 8, 3, 4), dims=(0, 2, 3)),
                      axes=(1, 3)), ["mul", "reduce_sum"]),
    (lambda op, x: op("reduce_max", op("broadcast_in_dim", x, shape=(2, 8, 3, 4), dims=(0, 2, 3)),
                      axes=(1,)), []),
    (lambda op, x: op("reduce_sum", op("reshape", x, shape=(2, 1, 12)), axes=(1,)), ["reshape"]),
    (lambda op, x: op("sin", op("broadcast_in_dim", x, shape=(2, 8, 3, 4), dims=(0, 2, 3))),
     ["sin", "broadcast_in_dim"]),
])
def test_views(body, expected):
    rewritten(body, expected, [(2, 3, 4)], [X])


def test_powers_stay_for_other_transforms():
    rewritten(lambda op, x: op("integer_pow", x, y=2), ["integer_pow"], [(3,)], [np.ones(3)], final=False)
    assert jit(grad(grad(lambda x: x ** 2 * 0.0)))(np.inf) == grad(grad(lambda x: x ** 2 * 0.0))(np.inf)


def test_slices_of_one_value_get_one_gradient():
    """Pieces side by side instead of a sum of padded arrays; overlapping ones are summed."""
    def unrolled(x):
        total = x[0]
        for i in range(1, 6):
            total = total * 0.5 + x[i] * x[i]
        return total
    x = np.arange(1.0, 7.0)
    g = jit(grad(unrolled))
    ops = [e.op.name for e in g.jaxpr(x).eqns]
    assert "pad" not in ops and ops.count("concatenate") == 1
    weights = 0.5 ** np.arange(5, -1, -1.0)
    assert_array_equal(g(x), weights * np.where(np.arange(6) == 0, 1.0, 2 * x))
    f = lambda x: np.sum(x[2:] * x[:-2]) + np.sum(x[1:3] ** 2) + np.sum(x[::2]) + np.sum(x) + x[-1]
    want = np.array([0, 0, *x[:-2]]) + np.array([*x[2:], 0, 0]) + np.array([0, 4, 6, 0, 0, 0]) + [
        2, 1, 2, 1, 2, 2]
    assert_array_equal(grad(f)(x), want)
    rows = lambda x: np.sum(np.stack([x[:, 1] * 2, x[:, 0], x[:, 1]]))
    assert_array_equal(grad(rows)(np.ones((3, 4))), np.tile([1.0, 3.0, 0.0, 0.0], (3, 1)))


def test_long_programs():
    def f(x):
        for i in range(20_000):
            x = x + float(i % 7) * 1e-5 * x
        return x
    rate = np.prod(1 + (np.arange(20_000) % 7) * 1e-5)
    assert np.isclose(jit(grad(f))(1.0), rate, rtol=1e-9)


def test_unknown_sizes():
    from functrans.errors import ConcretizationError
    for f in (np.zeros, lambda n: np.ones((2, n)), np.arange, np.eye, lambda n: [1, 2, 3][n]):
        with pytest.raises(ConcretizationError, match="static"):
            jit(lambda n, f=f: f(n))(2)


def test_sums_of_what_was_negated():
    x = np.random.default_rng(0).integers(-9, 9, (30, 40)).astype(F)
    x[0] = np.tile([4, -4], 20)             # cancels: the sum is 0.0 with either sign
    for final, names in ((True, ["reduce_sum", "sub"]), (False, ["neg", "reduce_sum"])):
        rewritten(lambda op, x: op("reduce_sum", op("neg", x), axes=(1,)), names, [(30, 40)], [x], final)


@pytest.mark.parametrize("x", [[1.0, -1.0], [0.0, 0.0], [-0.0, 0.0], [], [2.0, 3.0], [np.inf]])
@pytest.mark.parametrize("f", [lambda x: np.sum(-x), lambda x: np.sum(-x, axis=0, keepdims=True),
                               lambda x: np.sum(x * -1.0), lambda x: -np.sum(x), lambda x: np.sum(x - x - x)])
def test_signs_of_sums_that_are_zero(f, x):
    """Those of NumPy, which begins sums with 0.0."""
    x = np.array(x)
    with np.errstate(invalid="ignore"):
        want = f(x)
    got = jit(f)(x)
    assert_array_equal(got, want)
    assert np.array_equal(np.signbit(got), np.signbit(want)) or np.isnan(want).any()


@pytest.mark.parametrize("mode", ["clip", "wrap", "drop"])
@pytest.mark.parametrize("axes", [(1, 2), (0, 1, 2), (1, 2, 3), (1,), (2, 3)])
def test_sums_of_what_was_scattered(mode, axes):
    """Into zeros: those of the updates, where the sum goes over all axes that positions count."""
    shape, where = (3, 20, 10, 4), (3, 5, 2)
    rng = np.random.default_rng(1)
    updates = rng.integers(-9, 9, (*where, 4)).astype(F)
    at = [rng.integers(-30, 30, where) for _ in range(2)]
    sums = mode != "drop" and {1, 2} <= set(axes)
    for base in (full(0.0, shape=shape), full(1.0, shape=shape)):
        rewritten(lambda op, u, i, j, base=base: op(
            "reduce_sum", op("scatter_add", base, u, i, j, mode=mode, batch=1), axes=axes),
            ["reduce_sum"] if sums and base.value == 0 else ["scatter_add", "reduce_sum"],
            [updates.shape, *[aval(where, "int64")] * 2], [updates, *at], zero_signs=False)
