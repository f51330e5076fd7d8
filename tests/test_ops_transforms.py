"""Every op under every transform, generated from the table: derivatives, adjoints, vmap, compositions."""

import numpy as np
import pytest
from op_cases import CASES, DIFFERENTIABLE, ELSEWHERE, FLAT, MAIN, SMOOTH, Case, batched, combinations, twice
from util import (
    assert_adjoint,
    assert_close,
    assert_same,
    assert_tree_close,
    assert_tree_equal,
    difference,
    direction,
    dot,
    loop_vmap,
    moved,
    rng_of,
    second_difference,
)

import functrans as ft
from functrans import grad, jit, jvp, linear_transpose, linearize, make_jaxpr, vjp, vmap
from functrans.ir.check import check
from functrans.ir.op import OPS

FLOAT0 = np.dtype([("float0", np.void, 0)])


def point(case):
    """(operands, those that are differentiated, tangents of these)."""
    xs, which = case.values(), case.diff()
    rng = rng_of(repr(case), "tangents")
    return xs, which, tuple(direction(xs[i], rng) for i in which)


def tangent_dtype(x):
    return np.asarray(x).dtype if np.asarray(x).dtype.kind in "fc" else FLOAT0


def slope(case, xs, which, ts):
    """The derivative of the op's NumPy reference along ts, by differences in float64.

    0 where the op gives the constant nan: a fill value.
    """
    wide = case.wide()
    exact = [x.astype({"f": float, "c": complex}.get(x.dtype.kind, x.dtype)) for x in map(np.asarray, xs)]
    f = wide.at(which, exact, wide.reference)
    filled = np.isnan(case.reference(*xs)) if case.params.get("mode") == "fill" else False
    return np.where(filled, 0.0, difference(moved(f, [xs[i] for i in which], ts)))


# ----- first derivatives ----------------------------------------------------------------------


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=repr)
def test_jvp_and_vjp(case):
    xs, which, ts = point(case)
    at = tuple(xs[i] for i in which)
    f = case.at(which, xs)
    out, tangent = jvp(f, at, ts)
    want = case(*xs)
    assert_tree_equal(out, want)
    value, pull = vjp(f, *at)
    assert_tree_equal(value, want)
    dtype = np.asarray(want).dtype
    if dtype.kind not in "fc":
        assert np.asarray(tangent).dtype == FLOAT0 and np.shape(tangent) == np.shape(want)
        zero = pull(np.zeros(np.shape(want), FLOAT0))
        assert_tree_equal(zero, tuple(np.zeros(x.shape, x.dtype)[()] for x in at))
        return
    assert np.asarray(tangent).dtype == dtype and np.shape(tangent) == np.shape(want)
    narrow = bool({np.dtype(np.float32), np.dtype(np.complex64)} & {dtype, *[x.dtype for x in at]})
    half = np.float16 in (dtype, *[x.dtype for x in at])
    expected = np.zeros(np.shape(want)) if case.op.name in FLAT else slope(case, xs, which, ts)
    tol = 3e-2 if half else 2e-4 if narrow else 2e-8
    assert_close(tangent, expected, tol)
    ct = direction(want, rng_of(repr(case), "ct"))
    cts = pull(ct)
    assert [(c.shape, c.dtype) for c in cts] == [(x.shape, x.dtype) for x in at]
    assert_adjoint(lambda *ts: jvp(f, at, ts)[1], lambda ct: vjp(f, *at)[1](ct), ts, ct,
                   rtol=3e-2 if half else 1e-4 if narrow else 1e-12)
    same, f_jvp = linearize(f, *at)
    assert_tree_equal(same, want)
    assert_same(f_jvp(*ts), tangent, 3e-2 if half else 1e-5 if narrow else 1e-12)


SEVERAL = [c for c in SMOOTH if len(c.diff()) > 1]


@pytest.mark.parametrize("case", SEVERAL, ids=repr)
def test_one_operand_at_a_time(case):
    """The others are not perturbed: a tangent or cotangent that is known to be zero."""
    xs, which, ts = point(case)
    at = tuple(xs[i] for i in which)
    ct = direction(case(*xs), rng_of(repr(case), "ct"))
    whole = jvp(case.at(which, xs), at, ts)[1]
    together = vjp(case.at(which, xs), *at)[1](ct)
    alone = 0.0
    for j, i in enumerate(which):
        f = case.at([i], xs)
        t = jvp(f, (xs[i],), (ts[j],))[1]
        expected = slope(case, xs, [i], [ts[j]])
        assert_close(t, expected, 2e-8)
        assert_tree_close(vjp(f, xs[i])[1](ct), (together[j],), 1e-12, 1e-12)
        alone = alone + t
    np.testing.assert_allclose(alone, whole, rtol=1e-11, atol=1e-11)


def test_derivatives_of_the_same_operand_twice():
    for name in ("add", "sub", "mul", "div", "pow", "atan2", "hypot", "max", "dot_general"):
        case = next(c for c in SMOOTH if c.op.name == name and len(c.diff()) == 2
                    and len(set(c.operands)) == 1 and c.code() == "f64")
        x = abs(case.values()[0]) + 0.5
        t = direction(x, rng_of(name))
        want = difference(moved(lambda x, case=case: case.reference(x, x), [x], [t]))
        if name == "max":
            want = t                         # equal operands share the derivative
        np.testing.assert_allclose(jvp(lambda x, case=case: case(x, x), (x,), (t,))[1], want, rtol=1e-8,
                                   atol=1e-8)


@pytest.mark.parametrize("case", [c for c in MAIN if not c.diff() and c.operands], ids=repr)
def test_integers_have_no_tangent(case):
    xs = case.values()
    f = case.at(range(len(xs)), xs)
    ts = [np.zeros(np.shape(x), tangent_dtype(x)) for x in xs]
    out, tangent = jvp(f, tuple(xs), tuple(ts))
    assert_same(out, case.reference(*xs))
    assert np.asarray(tangent).dtype == tangent_dtype(out)
    _, pull = vjp(f, *xs)
    cts = pull(np.zeros(np.shape(out), tangent_dtype(out)))
    for ct, x in zip(cts, xs, strict=True):
        assert np.shape(ct) == np.shape(x)
        assert np.asarray(ct).dtype == tangent_dtype(x)


# ----- linear_transpose -----------------------------------------------------------------------


def _linear_in(case, which):
    """Whether the reference is linear in the operands ``which`` together, up to a constant."""
    xs, rng = case.values(), rng_of(repr(case), "linear")
    wide = case.wide()
    f = wide.at(which, xs, wide.reference)
    at = [np.asarray(xs[i], np.complex128 if np.iscomplexobj(xs[i]) else np.float64) for i in which]
    for _ in range(2):
        a = [direction(x, rng) * 3 for x in at]
        b = [direction(x, rng) * 3 for x in at]
        sums = [f(*[x + sign_a * u + sign_b * v for x, u, v in zip(at, a, b, strict=True)])
                for sign_a, sign_b in ((1, 1), (1, 0), (0, 1), (0, 0))]
        ok = np.allclose(sums[0] - sums[1] - sums[2] + sums[3], 0.0, atol=1e-10)
        if not ok or np.asarray(sums[0]).dtype.kind not in "fc":
            return False
    return True


TRANSPOSED = [(c, which) for c in SMOOTH if c.op.transpose is not None
              for which in sorted({tuple(c.diff()), *[(i,) for i in c.diff()]})
              if _linear_in(c, which) and (c.op.family != "bilinear" or len(which) == 1)]


@pytest.mark.parametrize(("case", "which"), TRANSPOSED, ids=lambda x: repr(x))
def test_linear_transpose(case, which):
    xs, rng = case.values(), rng_of(repr(case), which)
    ts = tuple(direction(xs[i], rng) for i in which)
    f = case.at(which, xs)
    wide = case.wide()
    reference = wide.at(which, xs, wide.reference)
    at = [xs[i] for i in which]
    ct = direction(case(*xs), rng)

    def forward(*ts):                     # exact for a linear map: no small steps
        return reference(*[x + t for x, t in zip(at, ts, strict=True)]) - reference(*at)

    transposed = linear_transpose(f, *at)
    assert_adjoint(forward, transposed, ts, ct, rtol=1e-5 if ct.dtype == np.float32 else 1e-11)
    assert_tree_close(jit(transposed)(ct), transposed(ct), 1e-12, 1e-12)
    structs = [ft.ShapeDtypeStruct(x.shape, x.dtype) for x in at]
    assert_tree_equal(linear_transpose(f, *structs)(ct), transposed(ct))


def test_every_linear_op_is_transposed():
    covered = {c.op.name for c, _ in TRANSPOSED}
    linear = {op.name for op in OPS.values() if op.transpose is not None
              and op.family not in ELSEWHERE and any(c.diff() for c in CASES if c.op is op)}
    assert covered == linear


# ----- vmap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in MAIN if c.operands], ids=repr)
def test_vmap_every_axis(case):
    """Every combination of mapped axes and unmapped operands, and every axis of the output."""
    rank = np.asarray(case.reference(*case.values())).ndim
    for n, axes in enumerate(combinations(case)):
        xs = batched(case, axes)
        out_axis = n % (rank + 1)
        got = vmap(case, axes, out_axis)(*xs)
        want = loop_vmap(case.reference, axes, out_axis)(*xs)
        assert_same(got, want)


@pytest.mark.parametrize("case", [c for c in CASES if c.operands], ids=repr)
def test_vmap_every_dtype(case):
    axes = tuple(len(shape) for shape, _ in case.types())
    xs = batched(case, axes, 2)
    want = loop_vmap(case.reference, axes)(*xs)
    assert_same(vmap(case, axes)(*xs), want)
    negative = tuple(-1 for _ in axes)
    assert_same(jit(vmap(case, negative, -1))(*xs), np.moveaxis(want, 0, -1))


@pytest.mark.parametrize("case", [c for c in SMOOTH if c.op.family != "elementwise"], ids=repr)
def test_vmap_of_derivatives_every_axis(case):
    """Batching of what jvp and transpose rules write."""
    which = case.diff()
    for axes in combinations(case, 8):
        if not any(axes[i] is not None for i in which):
            continue
        xs = batched(case, axes)

        def gradient(*xs):
            return grad(lambda *ys: np.sum(np.real(np.sin(case.at(which, xs)(*ys)))),
                        tuple(range(len(which))))(*[xs[i] for i in which])

        got = vmap(gradient, axes)(*xs)
        for j in range(len(which)):
            want = loop_vmap(lambda *xs, j=j: gradient(*xs)[j], axes)(*xs)
            np.testing.assert_allclose(got[j], want, rtol=1e-11, atol=1e-11)


# ----- compositions ---------------------------------------------------------------------------


def objective(case, xs):
    """A scalar, curved function of the differentiated operands, and the same by the reference."""
    which = case.diff()
    w = rng_of(repr(case), "weights").uniform(0.5, 1.5, np.shape(case.reference(*xs)))
    wide = case.wide()
    return (lambda *ys: np.sum(w * np.real(case.at(which, xs)(*ys) ** 2)),
            lambda *ys: np.sum(w * np.real(wide.at(which, xs, wide.reference)(*ys) ** 2)))


# Second differences need all of float64, and a finite value (a read out of range can fill with nan).
CURVED = [twice(c) for c in SMOOTH
          if "float32" not in repr(c) and np.isfinite(c.reference(*c.values())).all()]
CURVED = [c for c in CURVED if c.diff()]


@pytest.mark.parametrize("case", CURVED, ids=repr)
def test_second_derivatives(case):
    """Forward over reverse, reverse over reverse and reverse over forward agree, and with differences."""
    xs, which, ts = point(case)
    at = tuple(xs[i] for i in which)
    g, reference = objective(case, xs)
    every = tuple(range(len(which)))
    gradient = grad(g, every)
    first = gradient(*at)
    want = difference(moved(reference, at, ts))
    assert abs(dot(first, ts) - want) <= 1e-7 * max(1.0, abs(want))

    def forward(*at):
        return jvp(g, at, ts)[1]

    same, over = jvp(gradient, at, ts)
    assert_tree_close(same, first, 1e-12, 1e-12)
    _, pull = vjp(gradient, *at)
    size = max([1.0, *[np.abs(h).max(initial=0) for h in over]])
    assert_tree_close(pull(ts), over, 1e-10, 1e-11 * size)
    assert_tree_close(grad(forward, every)(*at), over, 1e-10, 1e-11 * size)
    _, twice = jvp(forward, at, ts)
    expected = second_difference(moved(reference, at, ts))
    assert abs(dot(over, ts) - twice) <= 1e-10 * size * len(ts) * max(1, ts[0].size)
    assert abs(twice - expected) <= 2e-5 * max(1.0, abs(expected), size)
    compiled = jit(lambda *at: (gradient(*at), jvp(gradient, at, ts)[1], vjp(gradient, *at)[1](ts)))
    assert_tree_close(compiled(*at), (first, over, pull(ts)), 1e-12, 1e-12 * size)


@pytest.mark.parametrize("case", CURVED, ids=repr)
def test_vmap_with_derivatives(case):
    """vmap(grad), grad(vmap), vmap(vmap(grad)), vmap(vjp(vjp)), jvp(vmap(grad)) and their jits."""
    rows, which = case.examples(3), case.diff()
    every = tuple(range(len(which)))
    g, _ = objective(case, rows[0])
    at = tuple(np.stack([r[i] for r in rows]) for i in which)
    gradient = grad(g, every)
    singles = [gradient(*[r[i] for i in which]) for r in rows]
    want = tuple(np.stack([s[j] for s in singles]) for j in every)
    size = max([1.0, *[np.abs(w).max(initial=0) for w in want]])

    def close(got, want, scale=size):
        assert_tree_close(got, want, 1e-11, 1e-12 * scale)

    close(vmap(gradient)(*at), want)
    close(jit(vmap(gradient))(*at), want)
    close(grad(lambda *at: np.sum(vmap(g)(*at)), every)(*at), want)
    wide = tuple(np.stack([x, x[::-1]]) for x in at)
    close(vmap(vmap(gradient))(*wide), tuple(np.stack([w, w[::-1]]) for w in want))
    rng = rng_of(repr(case), "batch of tangents")
    ts = tuple(direction(x, rng) for x in at)

    def hvp(x, t):
        return vjp(gradient, *x)[1](t)

    one_by_one = [hvp(tuple(x[k] for x in at), tuple(t[k] for t in ts)) for k in range(3)]
    curved = tuple(np.stack([h[j] for h in one_by_one]) for j in every)
    scale = max([size, *[np.abs(h).max(initial=0) for h in curved]])
    close(vmap(hvp)(at, ts), curved, scale)
    close(jit(vmap(hvp))(at, ts), curved, scale)
    close(jvp(vmap(gradient), at, ts)[1], curved, scale)
    close(vjp(vmap(gradient), *at)[1](ts), curved, scale)


@pytest.mark.parametrize("case", [c for c in CURVED if c.op.family == "elementwise"], ids=repr)
def test_third_derivatives(case):
    xs, which, ts = point(case)
    at = tuple(xs[i] for i in which)
    g, _ = objective(case, xs)

    def second(*at):
        return jvp(lambda *at: jvp(g, at, ts)[1], at, ts)[1]

    want = difference(moved(second, at, ts))
    third = jvp(second, at, ts)[1]
    assert abs(third - want) <= 1e-6 * max(1.0, abs(want))
    mixed = grad(lambda *at: vjp(grad(g, tuple(range(len(at)))), *at)[1](ts)[0].sum().real,
                 tuple(range(len(at))))(*at)
    direct = grad(lambda *at: jvp(grad(g, tuple(range(len(at)))), at, ts)[1][0].sum().real,
                  tuple(range(len(at))))(*at)
    assert_tree_close(mixed, direct, 1e-9, 1e-9 * max(1.0, abs(want)))


@pytest.mark.parametrize("case", CURVED[::3], ids=repr)
def test_transformed_programs_are_well_typed(case):
    rows, which = case.examples(2), case.diff()
    every = tuple(range(len(which)))
    g, _ = objective(case, rows[0])
    at = tuple(np.stack([r[i] for r in rows]) for i in which)
    for f in (vmap(grad(g, every)), jit(vmap(grad(g, every))),
              lambda *at: vjp(vmap(grad(g, every)), *at)[1](at)):
        jaxpr = make_jaxpr(f)(*at)
        check(jaxpr)
        assert [a.shape for a in jaxpr.out_avals] == [x.shape for x in at]


# ----- values that the samples do not reach ---------------------------------------------------


def by_differences(name, xs, which, **params):
    case = Case(OPS[name], [np.asarray(x) for x in xs], params)
    at, rng = [xs[i] for i in which], rng_of(name, "by differences")
    ts = tuple(direction(x, rng) for x in at)
    got = jvp(case.at(which, xs), tuple(at), ts)[1]
    want = difference(moved(case.at(which, xs, case.reference), at, ts))
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-7)
    ct = direction(want, rng)
    f = case.at(which, xs)
    assert_adjoint(lambda *ts: jvp(f, tuple(at), ts)[1], lambda ct: vjp(f, *at)[1](ct), ts, ct)


@pytest.mark.parametrize("zeros", [0, 1, 2])
@pytest.mark.parametrize("name", ["reduce_prod", "cumprod"])
def test_products_with_zeros(name, zeros):
    x = np.array([1.5, -2.0, 0.7, 3.0, -1.2])
    x[[1, 3][:zeros]] = 0.0
    params = {"axes": (0,)} if name == "reduce_prod" else {"axis": 0, "reverse": False}
    by_differences(name, [x], [0], **params)


@pytest.mark.parametrize("at_zero", [(), (0,), (1,), (0, 1), (0, 1, 3)], ids=str)
def test_scatter_mul_with_zeros(at_zero):
    u = np.array([2.0, -1.5, 3.0, 0.5])
    u[list(at_zero)] = 0.0
    by_differences("scatter_mul", [np.array([1.5, 2.5]), u, np.array([0, 0, 1, 1])], [0, 1], mode="drop")


def test_ties_share():
    x = np.array([2.0, 5.0, 5.0, 1.0])
    np.testing.assert_array_equal(grad(lambda x: OPS["reduce_max"](x, axes=(0,)))(x), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(grad(lambda x: -OPS["reduce_min"](-x, axes=(0,)))(x), [0, 0.5, 0.5, 0])
    for name in ("max", "min", "fmax", "fmin"):
        _, pull = vjp(OPS[name], x, x)
        np.testing.assert_array_equal(pull(np.ones(4)), [[0.5] * 4] * 2)
    at = np.array([0, 0])
    for name, u in (("scatter_max", [5.0, 5.0]), ("scatter_min", [5.0, 5.0])):
        x, u = np.array([5.0]), np.array(u)
        a, b = grad(lambda x, u, name=name: OPS[name](x, u, at, mode="drop")[0], (0, 1))(x, u)
        np.testing.assert_allclose([*a, *b], [1 / 3] * 3)


def test_kinks():
    """Zero where a derivative is one-sided: documented values."""
    one = np.float64
    assert grad(OPS["abs"])(one(0.0)) == 0.0
    assert grad(lambda x: OPS["hypot"](x, x))(one(0.0)) == 0.0
    assert grad(lambda x: OPS["pow"](x, one(0.0)))(one(0.0)) == 0.0
    assert grad(lambda x: OPS["integer_pow"](x, y=0))(one(0.0)) == 0.0
    assert grad(lambda x: OPS["pow"](x, one(2.0)))(one(0.0)) == 0.0
    assert grad(lambda y: OPS["pow"](one(0.0), y))(one(2.0)) == 0.0
    assert grad(lambda x: OPS["pow"](x, one(3.0)))(one(-2.0)) == 12.0
    for name in ("floor", "ceil", "trunc", "rint", "sign"):
        assert grad(OPS[name])(one(1.0)) == 0.0
    for x, slope in ((0.0, 1.0), (2.0, 0.0), (-2.0, 0.0)):
        assert grad(OPS["heaviside"], (0, 1))(one(x), one(0.5)) == (0.0, slope)


def test_strong_zeros():
    """A tangent or cotangent of exactly 0 stays 0 where the local derivative is infinite or nan."""
    zero = np.zeros(2)
    for name in ("sqrt", "log", "log2", "log10", "cbrt", "acosh", "atanh", "asin"):
        x = zero if name in ("sqrt", "log", "log2", "log10", "cbrt") else np.ones(2)
        np.testing.assert_array_equal(jvp(OPS[name], (x,), (zero,))[1], zero)
        np.testing.assert_array_equal(vjp(OPS[name], x)[1](zero)[0], zero)
        twice = jvp(lambda x, name=name: jvp(OPS[name], (x,), (zero,))[1], (x,), (np.ones(2),))[1]
        np.testing.assert_array_equal(twice, zero)
    for name in ("div", "atan2", "hypot", "mod", "fmod"):
        for pair in ((zero, zero), (np.ones(2), zero)):
            np.testing.assert_array_equal(jvp(OPS[name], pair, (zero, zero))[1], zero)
            np.testing.assert_array_equal(vjp(OPS[name], *pair)[1](zero), [zero, zero])
