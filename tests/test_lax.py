"""functrans.lax: control flow, collectives and the primitive names."""

import numpy as np
import pytest

import functrans as ft
from functrans import errors, grad, jit, jvp, lax, vmap

XS = np.linspace(0.1, 0.9, 5)


def looped(f, init, xs, reverse=False):
    """What scan means, in Python, for one array in and out."""
    carry, ys = init, []
    for x in (xs[::-1] if reverse else xs):
        carry, y = f(carry, x)
        ys.append(y)
    return carry, np.stack(ys[::-1] if reverse else ys)


def numeric(f, x, eps=1e-6):
    return (f(x + eps) - f(x - eps)) / (2 * eps)


# ----- scan ---------------------------------------------------------------------------------------


def step(c, x):
    return np.sin(c) * x + c, c * x


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_equals_a_loop(reverse):
    want = looped(step, 0.5, XS, reverse)
    for f in (lax.scan, jit(lax.scan, static_argnums=(0, 3, 4))):
        got = f(step, 0.5, XS, None, reverse)
        np.testing.assert_allclose(got[0], want[0])
        np.testing.assert_allclose(got[1], want[1])


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_derivatives(reverse):
    def f(c):
        carry, ys = lax.scan(step, c, XS * c, reverse=reverse)
        return carry + np.sum(ys ** 2)

    def g(c):
        carry, ys = looped(step, c, XS * c, reverse)
        return carry + np.sum(ys ** 2)
    want = numeric(g, 0.5)
    assert grad(f)(0.5) == pytest.approx(want, rel=1e-8)
    assert jvp(f, (0.5,), (1.0,))[1] == pytest.approx(want, rel=1e-8)
    assert jit(grad(f))(0.5) == pytest.approx(want, rel=1e-8)
    second = numeric(lambda c: grad(f)(c), 0.5)
    assert grad(grad(f))(0.5) == pytest.approx(second, rel=1e-6)
    assert jvp(grad(f), (0.5,), (1.0,))[1] == pytest.approx(second, rel=1e-6)
    points = np.array([0.2, 0.5, 0.7])
    np.testing.assert_allclose(vmap(grad(f))(points), [grad(f)(p) for p in points])


def test_scan_over_pytrees():
    def f(c, x):
        h = np.tanh(c["h"] * x["a"] + x["b"])
        return {"h": h, "n": c["n"] + 1}, (h, {"s": np.sum(h)})
    xs = {"a": np.ones((4, 3)) * 0.5, "b": np.arange(12.0).reshape(4, 3) / 10}
    carry, (hs, rest) = lax.scan(f, {"h": np.zeros(3), "n": 0}, xs)
    assert carry["n"] == 4 and hs.shape == (4, 3) and rest["s"].shape == (4,)
    np.testing.assert_allclose(carry["h"], hs[-1])
    np.testing.assert_allclose(rest["s"], hs.sum(1))


def test_scan_closures():
    w = np.array([0.5, -0.3])

    def f(a):
        return np.sum(lax.scan(lambda c, x: (c * a + w * x, None), np.zeros(2), XS)[0])

    def g(a):
        c = np.zeros(2)
        for x in XS:
            c = c * a + w * x
        return np.sum(c)
    assert f(0.7) == pytest.approx(g(0.7))
    assert grad(f)(0.7) == pytest.approx(numeric(g, 0.7), rel=1e-7)
    assert jit(f)(0.7) == pytest.approx(g(0.7))
    assert grad(lambda a: vmap(lambda b: f(a * b))(np.ones(2))[0])(0.7) == pytest.approx(grad(f)(0.7))


def test_scan_without_xs_and_empty():
    carry, ys = lax.scan(lambda c, _: (c * 2, c), 1, length=5)
    assert carry == 32 and ys.tolist() == [1, 2, 4, 8, 16]
    carry, ys = lax.scan(lambda c, x: (c + x, c), 1.5, np.zeros(0))
    assert carry == 1.5 and ys.shape == (0,)
    assert lax.scan(lambda c, x: (c, None), (), np.zeros(3)) == ((), None)
    np.testing.assert_array_equal(lax.map(lambda x: x[::-1] * 2, np.arange(6.0).reshape(3, 2)),
                                  np.arange(6.0).reshape(3, 2)[:, ::-1] * 2)


def test_weak_carries_take_the_bodys_dtype():
    x32 = XS.astype(np.float32)
    carry, ys = lax.scan(lambda c, x: (c + x, c), 0.0, x32)
    assert carry.dtype == ys.dtype == np.float32
    assert lax.scan(lambda c, x: (c + x, None), 0, x32)[0].dtype == np.float32
    assert lax.scan(lambda c, x: (c * 0.5, None), 1, x32)[0].dtype == np.float64
    assert lax.scan(lambda c, x: (1.0, None), np.float32(0), x32)[0].dtype == np.float32
    assert lax.scan(lambda c, x: ((c[1], c[0] + x), None), (0.0, 0), x32)[0][0].dtype == np.float32
    assert jit(lambda c: lax.scan(lambda c, x: (c + x, None), c, x32)[0])(0.0).dtype == np.float32


def test_carry_errors_name_the_leaf():
    with pytest.raises(errors.CarryTypeError, match=r"carry\['h'\] starts as f64\[3\] but the body returns "
                                                    r"f32\[3\](.|\n)*astype\(np\.float32\)"):
        lax.scan(lambda c, x: ({"h": c["h"].astype(np.float32)}, None), {"h": np.zeros(3)}, XS)
    with pytest.raises(errors.CarryTypeError, match=r"carry starts as f64\[\] but the body returns f64\[2\]"):
        lax.scan(lambda c, x: (np.stack([c, x]), None), 0.0, XS)
    with pytest.raises(errors.CarryTypeError, match=r"carry\[1\] starts as i64\[\] but the body returns f64"):
        lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 0.5), (0, np.int64(1)))
    with pytest.raises(errors.TreeError, match=r"(?s)the initial carry differ at the root.*missing 'b'"):
        lax.scan(lambda c, x: ({"a": c["a"]}, None), {"a": 0.0, "b": 0.0}, XS)
    with pytest.raises(errors.TreeError, match=r"carry\['a'\] is one value at first"):
        lax.scan(lambda c, x: ({"a": (x, x)}, None), {"a": 0.0}, XS)


def test_scan_errors():
    with pytest.raises(errors.TreeError, match=r"must return a pair \(carry, y\), got f64\[\]"):
        lax.scan(lambda c, x: c + x, 0.0, XS)
    with pytest.raises(errors.ShapeError, match=r"xs\['a'\] has 5 turns but xs\['b'\] is f64\[3\]"):
        lax.scan(lambda c, x: (c, None), 0.0, {"a": XS, "b": np.zeros(3)})
    with pytest.raises(errors.ShapeError, match=r"xs\[1\] is the scalar"):
        lax.scan(lambda c, x: (c, None), 0.0, (XS, 1.0))
    with pytest.raises(errors.ShapeError, match="Pass length=n"):
        lax.scan(lambda c, x: (c, None), 0.0)
    with pytest.raises(errors.ShapeError, match="length has 3 turns"):
        lax.scan(lambda c, x: (c, None), 0.0, XS, length=3)
    with pytest.raises(errors.DtypeError, match=r"init\['s'\] is a str"):
        lax.scan(lambda c, x: (c, None), {"s": "no"}, XS)
    with pytest.raises(errors.ResultTypeError, match=r"the body returned a str at \[1\]"):
        lax.scan(lambda c, x: (c, "no"), 0.0, XS)
    with pytest.raises(errors.TracerBoolError, match="scan traces"):
        lax.scan(lambda c, x: (c if x > 0 else -c, None), 0.0, XS)


# ----- while_loop, fori_loop ----------------------------------------------------------------------


def test_while_loop():
    assert lax.while_loop(lambda x: x < 100, lambda x: x * 2, 1) == 128
    assert jit(lambda n: lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 1.5), (0, 1.0))[1])(
        4) == 1.5 ** 4
    out, t = jvp(lambda x: lax.while_loop(lambda s: s < 10.0, lambda s: s * x, 1.5), (2.0,), (1.0,))
    assert out == 12.0 and t == pytest.approx(1.5 * 3 * 4)
    np.testing.assert_array_equal(
        vmap(lambda x: lax.while_loop(lambda s: s < 100, lambda s: s * 2, x))(np.array([1, 3, 200])),
        [128, 192, 200])
    assert grad(lambda x: lax.while_loop(lambda s: s < 10.0, lambda s: s * x, 1.5))(2.0) == t
    with pytest.raises(errors.DtypeError, match=r"the condition must return one bool, got f64\[\]"):
        lax.while_loop(lambda x: x, lambda x: x, 1.0)
    with pytest.raises(errors.DtypeError, match=r"one bool, got bool\[2\]"):
        lax.while_loop(lambda x: x > 0, lambda x: x, np.ones(2))


def test_fori_loop():
    def f(x):
        return lax.fori_loop(0, 5, lambda i, c: c * x + i, 1.0)

    def g(x):
        c = 1.0
        for i in range(5):
            c = c * x + i
        return c
    assert f(1.3) == pytest.approx(g(1.3))
    assert grad(f)(1.3) == pytest.approx(numeric(g, 1.3))
    assert lax.fori_loop(3, 3, lambda i, c: c + 1, 7) == 7
    assert lax.fori_loop(5, 3, lambda i, c: c + 1, 7) == 7
    assert lax.fori_loop(-2, 3, lambda i, c: c + i, 0) == 0
    assert lax.fori_loop(0, 3, lambda i, c: c * i, np.float32(1)).dtype == np.float32
    h = jit(lambda n, m: lax.fori_loop(n, m, lambda i, c: c + i * 1.0, 0.0))
    assert h(2, 5) == 9 and h(5, 2) == 0
    assert jit(lambda n: lax.fori_loop(0, n, lambda i, c: c + i, np.float32(0)))(4) == 6
    with pytest.raises(errors.DtypeError, match=r"bounds must be integers, got 1\.5"):
        lax.fori_loop(0, 1.5, lambda i, c: c, 0)


# ----- cond, switch -------------------------------------------------------------------------------


def test_cond():
    def f(x):
        return lax.cond(x > 0, lambda x: x * x, lambda x: -3.0 * x, x)
    assert f(2.0) == 4 and f(-2.0) == 6
    assert jit(f)(2.0) == 4 and jit(f)(-2.0) == 6
    assert grad(f)(2.0) == 4 and grad(f)(-2.0) == -3 and jit(grad(f))(-2.0) == -3
    np.testing.assert_array_equal(vmap(f)(np.array([2.0, -2.0])), [4, 6])
    np.testing.assert_array_equal(vmap(grad(f))(np.array([2.0, -2.0])), [4, -3])
    assert lax.cond(True, lambda x: x + 1, lambda x: x, operand=1.0) == 2
    assert lax.cond(np.True_, lambda: 1.0, lambda: 2.0) == 1
    assert lax.cond(True, lambda d: d["a"], lambda d: d["b"], {"a": 1.0, "b": 2.0}) == 1


def test_cond_is_in_the_program():
    jaxpr = ft.make_jaxpr(lambda x: lax.cond(True, np.sin, np.cos, x))(1.0)
    assert [e.op.name for e in jaxpr.eqns] == ["cond"]


def test_cond_closures_and_numbers():
    a, b = np.arange(3.0), np.ones(3)

    def f(p, y):
        return lax.cond(p, lambda x: a * x + y, lambda x: b - y, 2.0)
    np.testing.assert_array_equal(f(True, 1.0), a * 2 + 1)
    np.testing.assert_array_equal(jit(f)(False, 1.0), b - 1)
    assert grad(lambda y: np.sum(f(True, y)))(1.0) == 3 and grad(lambda y: np.sum(f(False, y)))(1.0) == -3
    x32 = np.float32(2)
    assert lax.cond(True, lambda x: 0.0, lambda x: x, x32).dtype == np.float32
    assert lax.cond(False, lambda x: 0, lambda x: 1.5, x32).dtype == np.float64


def test_cond_errors():
    with pytest.raises(errors.ShapeError, match=r"pred must be a scalar, got bool\[2\]"):
        lax.cond(np.ones(2, bool), np.sin, np.cos, 1.0)
    with pytest.raises(errors.DtypeError, match=r"pred must be a scalar bool, got f64\[\]"):
        lax.cond(np.float64(1), np.sin, np.cos, 1.0)
    with pytest.raises(TypeError, match="true_fun must be a function"):
        lax.cond(True, 1.0, 2.0)
    with pytest.raises(errors.TreeError, match=r"(?s)true_fun returns .* but false_fun returns"):
        lax.cond(True, lambda x: (x, x), lambda x: x, 1.0)
    with pytest.raises(errors.DtypeError, match=r"at \['h'\], false_fun returns f64\[\], true_fun .* f32"):
        lax.cond(True, lambda x: {"h": x.astype(np.float32)}, lambda x: {"h": np.sin(x)}, np.float64(1))


def test_switch():
    branches = [lambda x: x, lambda x: x * 10, lambda x: x ** 2]
    assert [lax.switch(i, branches, 3.0) for i in (-5, 0, 1, 2, 9)] == [3, 3, 30, 9, 9]
    assert jit(lambda i: lax.switch(i, branches, 3.0))(1) == 30
    assert grad(lambda x: lax.switch(2, branches, x))(3.0) == 6
    got = vmap(lambda i: lax.switch(i, branches, 3.0))(np.array([0, 2, 7]))
    np.testing.assert_array_equal(got, [3, 9, 9])
    assert lax.switch(4, [lambda x: x], 2.0) == 2
    with pytest.raises(errors.DtypeError, match="index must be an integer"):
        lax.switch(0.5, branches, 1.0)
    with pytest.raises(ValueError, match="no branches"):
        lax.switch(0, [], 1.0)


# ----- associative_scan ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(n, reverse):
    x = np.cos(np.arange(2.0 * n)).reshape(2, n)
    want = np.flip(np.cumsum(np.flip(x, 1), 1), 1) if reverse else np.cumsum(x, 1)
    np.testing.assert_allclose(lax.associative_scan(np.add, x, reverse, 1), want, atol=1e-12)
    got = jit(lambda x: lax.associative_scan(np.add, x, reverse, -1))(x)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_associative_scan_of_affine_maps():
    a, b = np.linspace(0.5, 0.9, 6), np.arange(6.0)

    def compose(f, g):
        return f[0] * g[0], g[0] * f[1] + g[1]
    _, got = lax.associative_scan(compose, (a, b))
    want = looped(lambda c, x: (x[0] * c + x[1],) * 2, 0.0, list(zip(a, b, strict=True)))[1]
    np.testing.assert_allclose(got, want)

    def f(a):
        return np.sum(lax.associative_scan(compose, (a, b))[1])
    d = np.eye(6)[2] * 1e-6
    assert grad(f)(a)[2] == pytest.approx((f(a + d) - f(a - d)) / 2e-6)


# ----- collectives --------------------------------------------------------------------------------


def test_collectives():
    x = np.array([1.0, 3.0, 2.0])

    def over_i(f):
        return vmap(f, axis_name="i")(x)
    np.testing.assert_array_equal(over_i(lambda x: lax.psum(x, "i")), [6, 6, 6])
    np.testing.assert_array_equal(over_i(lambda x: lax.pmean(x, "i")), [2, 2, 2])
    np.testing.assert_array_equal(over_i(lambda x: lax.pmax(x, "i") - lax.pmin(x, "i")), [2, 2, 2])
    np.testing.assert_array_equal(over_i(lambda x: lax.axis_index("i") * x), [0, 3, 4])
    np.testing.assert_array_equal(over_i(lambda x: lax.all_gather(x, "i")), np.tile(x, (3, 1)))
    np.testing.assert_array_equal(over_i(lambda x: x * lax.axis_size("i")), x * 3)
    np.testing.assert_array_equal(over_i(lambda x: x * lax.psum(1, "i")), x * 3)
    got = over_i(lambda x: lax.psum({"a": x, "b": x > 1.5}, "i"))
    assert got["a"].tolist() == [6, 6, 6] and got["b"].tolist() == [2, 2, 2]


def test_collectives_over_two_axes():
    x = np.arange(6.0).reshape(2, 3)

    def both(f):
        return vmap(vmap(f, axis_name="j"), axis_name="i")(x)
    np.testing.assert_array_equal(both(lambda x: lax.psum(x, ("i", "j"))), np.full((2, 3), 15))
    np.testing.assert_array_equal(both(lambda x: lax.psum(x, "i")), np.tile(x.sum(0), (2, 1)))
    np.testing.assert_array_equal(both(lambda x: lax.axis_index(("i", "j"))), x)
    np.testing.assert_array_equal(both(lambda x: lax.all_gather(x, ("i", "j")))[1, 2], np.arange(6.0))
    y = vmap(lambda r: lax.all_gather(r, "i", axis=0, tiled=True), axis_name="i")(x)
    np.testing.assert_array_equal(y[0], np.arange(6.0))


def test_collectives_and_derivatives():
    x = np.array([1.0, 3.0, 2.0])

    def loss(x):
        y = vmap(lambda x: x ** 2 / lax.psum(x, "i"), axis_name="i")(x)
        return np.sum(y * np.arange(3.0))
    want = [numeric(lambda v, i=i: np.sum((y := np.where(np.arange(3) == i, v, x)) ** 2 / y.sum()
                                          * np.arange(3.0)), x[i]) for i in range(3)]
    np.testing.assert_allclose(grad(loss)(x), want, rtol=1e-6)
    inside = vmap(grad(lambda x: lax.psum(x, "i") ** 2), axis_name="i")(x)
    np.testing.assert_array_equal(inside, np.full(3, 36.0))    # the transpose of psum is psum


def test_collectives_inside_scan():
    x = np.array([1.0, 2.0])
    got = vmap(lambda x: lax.scan(lambda c, _: (c + lax.psum(x, "i"), None), 0.0, length=2)[0],
               axis_name="i")(x)
    np.testing.assert_array_equal(got, [6, 6])
    got = vmap(lambda x: lax.scan(lambda c, _: (c + lax.axis_index("i"), None), 0, length=2)[0],
               axis_name="i")(x)
    np.testing.assert_array_equal(got, [0, 2])


def test_unbound_axes_are_named():
    with pytest.raises(errors.UnboundAxisError, match="no enclosing vmap names the axis 'j'; bound are 'i'"):
        vmap(lambda x: lax.psum(x, "j"), axis_name="i")(np.ones(2))
    for f in (lambda: lax.psum(1.0, "i"), lambda: lax.axis_index("i"), lambda: lax.axis_size("i"),
              lambda: lax.pmax(1.0, "i"), lambda: lax.all_gather(1.0, "i"), lambda: lax.pmean(1.0, "i")):
        with pytest.raises(errors.UnboundAxisError, match="no axis is bound here"):
            f()


# ----- primitive names ----------------------------------------------------------------------------

A, B, N, J = np.array([0.3, 0.7, 0.9]), np.array([0.5, 0.2, 0.8]), np.array([7, -7, 4]), np.array([2, 2, 3])
M = np.arange(6.0).reshape(2, 3)
CASES = {
    "neg": ((A,), np.negative), "abs": ((-A,), np.abs), "sign": ((-A,), np.sign),
    "floor": ((A * 5,), np.floor), "ceil": ((A * 5,), np.ceil), "exp": ((A,), np.exp),
    "log": ((A,), np.log), "log1p": ((A,), np.log1p), "expm1": ((A,), np.expm1), "sin": ((A,), np.sin),
    "cos": ((A,), np.cos), "tan": ((A,), np.tan), "tanh": ((A,), np.tanh), "asin": ((A,), np.arcsin),
    "acos": ((A,), np.arccos), "atan": ((A,), np.arctan), "sinh": ((A,), np.sinh), "cosh": ((A,), np.cosh),
    "asinh": ((A,), np.arcsinh), "acosh": ((A + 1,), np.arccosh), "atanh": ((A,), np.arctanh),
    "sqrt": ((A,), np.sqrt), "cbrt": ((A,), np.cbrt), "rsqrt": ((A,), lambda x: 1 / np.sqrt(x)),
    "logistic": ((A,), lambda x: 1 / (1 + np.exp(-x))), "square": ((A,), np.square),
    "reciprocal": ((A,), np.reciprocal), "is_finite": ((np.array([1.0, np.inf, np.nan]),), np.isfinite),
    "add": ((A, B), np.add), "sub": ((A, B), np.subtract), "mul": ((A, B), np.multiply),
    "max": ((A, B), np.maximum), "min": ((A, B), np.minimum), "atan2": ((A, B), np.arctan2),
    "nextafter": ((A, B), np.nextafter), "eq": ((A, A), np.equal), "ne": ((A, B), np.not_equal),
    "lt": ((A, B), np.less), "le": ((A, B), np.less_equal), "gt": ((A, B), np.greater),
    "ge": ((A, B), np.greater_equal), "pow": ((A, B), np.power), "rem": ((N, J), np.fmod),
    "bitwise_and": ((N, J), np.bitwise_and), "bitwise_or": ((N, J), np.bitwise_or),
    "bitwise_xor": ((N, J), np.bitwise_xor), "bitwise_not": ((N,), np.invert),
    "shift_left": ((J, J), np.left_shift), "shift_right_arithmetic": ((N, J), np.right_shift),
}


@pytest.mark.parametrize("name", CASES)
def test_elementwise_names(name):
    args, theirs = CASES[name]
    f, want = getattr(lax, name), theirs(*args)
    for got in (f(*args), jit(f)(*args), f(*[a[0] for a in args])):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want if np.ndim(got) else want[0], rtol=1e-13)


def test_arithmetic_names():
    np.testing.assert_array_equal(lax.div(N, J), [3, -3, 1])
    np.testing.assert_allclose(lax.div(A, B), A / B)
    np.testing.assert_allclose(jit(lambda x: lax.div(1.0, x))(A), 1 / A)
    assert lax.add(1.0, 2.0) == 3 and lax.add(np.float32(1), 2.0).dtype == np.float32
    np.testing.assert_array_equal(lax.integer_pow(N, 2), N ** 2)
    np.testing.assert_allclose(lax.pow(A, 3), A ** 3)
    np.testing.assert_allclose(lax.pow(A, J), A ** J)
    np.testing.assert_array_equal(lax.round(np.array([0.5, -1.5, 2.4, 0.49999999999999994])), [1, -2, 2, 0])
    np.testing.assert_array_equal(lax.round(np.array([0.5, 1.5]), lax.RoundingMethod.TO_NEAREST_EVEN), [0, 2])
    np.testing.assert_array_equal(lax.clamp(0.4, A, 0.8), np.clip(A, 0.4, 0.8))
    np.testing.assert_array_equal(lax.select(A > B, A, B), np.maximum(A, B))
    np.testing.assert_array_equal(lax.select_n(np.array([0, 2, 1]), A, B, A + B), [A[0], A[1] + B[1], B[2]])
    np.testing.assert_array_equal(jit(lambda p: lax.select(p, A, B))(True), A)
    assert lax.convert_element_type(1.7, np.int32) == 1
    assert grad(lambda x: lax.stop_gradient({"a": x})["a"] * x)(3.0) == 3


def test_lax_does_not_promote_or_broadcast():
    with pytest.raises(errors.DtypeError, match=r"lax\.add: .* one dtype, got f64\[3\], i64\[3\]"):
        lax.add(A, N)
    with pytest.raises(errors.ShapeError, match=r"lax\.mul: .* equal shapes, got f64\[3\], f64\[2,3\]"):
        jit(lax.mul)(A, M)
    with pytest.raises(errors.DtypeError, match=r"the number 1\.5 does not fit the dtype int64"):
        lax.add(N, 1.5)
    np.testing.assert_array_equal(jit(lax.add)(A, np.float64(1)), A + 1)


def test_shape_names():
    np.testing.assert_array_equal(lax.reshape(M, (3, 2)), M.reshape(3, 2))
    np.testing.assert_array_equal(lax.reshape(M, (6,), (1, 0)), M.T.ravel())
    np.testing.assert_array_equal(lax.broadcast(A, (2,)), np.tile(A, (2, 1)))
    np.testing.assert_array_equal(lax.broadcast_in_dim(A, (3, 2), (0,)), np.tile(A[:, None], (1, 2)))
    np.testing.assert_array_equal(lax.transpose(M, (1, 0)), M.T)
    np.testing.assert_array_equal(lax.rev(M, (0,)), M[::-1])
    np.testing.assert_array_equal(lax.squeeze(M[None], (0,)), M)
    assert lax.expand_dims(M, (0, 3)).shape == (1, 2, 3, 1)
    np.testing.assert_array_equal(lax.concatenate([M, M], 1), np.concatenate([M, M], 1))
    np.testing.assert_array_equal(lax.pad(A, 9.0, [(1, -1, 1)]), [9, A[0], 9, A[1], 9])
    np.testing.assert_array_equal(lax.iota(np.float32, 3), np.arange(3, dtype=np.float32))
    np.testing.assert_array_equal(jit(lambda: lax.broadcasted_iota(int, (2, 3), 1))(), [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(lax.broadcasted_iota(int, (2, 3), 0), [[0] * 3, [1] * 3])
    np.testing.assert_array_equal(lax.full((2,), 3, float), [3.0, 3.0])
    np.testing.assert_array_equal(jit(lambda v: lax.full_like(A, v))(2.0), [2.0] * 3)
    with pytest.raises(errors.ShapeError, match="do not all have"):
        lax.squeeze(M, (0,))


def test_slice_names():
    np.testing.assert_array_equal(lax.slice(M, (0, 1), (2, 3)), M[:, 1:])
    np.testing.assert_array_equal(lax.slice(M, (0, 0), (2, 3), (1, 2)), M[:, ::2])
    np.testing.assert_array_equal(lax.slice_in_dim(M, 1, -1, axis=1), M[:, 1:-1])
    np.testing.assert_array_equal(lax.index_in_dim(M, -1, 1, keepdims=False), M[:, -1])
    np.testing.assert_array_equal(lax.dynamic_slice(M, (5, -2), (1, 2)), M[1:, 1:])
    np.testing.assert_array_equal(jit(lambda i: lax.dynamic_slice(M, i, (1, 2)))(np.array([0, 1])), M[:1, 1:])
    np.testing.assert_array_equal(lax.dynamic_slice_in_dim(M, 1, 2, 1), M[:, 1:])
    np.testing.assert_array_equal(jit(lambda i: lax.dynamic_index_in_dim(M, i, 0, False))(-1), M[1])
    np.testing.assert_array_equal(lax.dynamic_update_slice(M, np.ones((1, 1)), (1, 2)),
                                  np.array([[0, 1, 2], [3, 4, 1]]))
    np.testing.assert_array_equal(lax.dynamic_update_slice_in_dim(A, np.zeros(2), 1, 0), [A[0], 0, 0])
    np.testing.assert_array_equal(lax.dynamic_update_index_in_dim(M, np.zeros(2), 1, 1),
                                  np.array([[0, 0, 2], [3, 0, 5]]))
    with pytest.raises(errors.IndexRangeError):
        lax.index_in_dim(M, 5)


def test_contraction_and_reduction_names():
    np.testing.assert_allclose(lax.dot(M, A), M @ A)
    np.testing.assert_allclose(lax.dot_general(M, M, (((1,), (1,)), ((0,), (0,)))), np.sum(M * M, 1))
    for kind, f in (("sum", np.sum), ("prod", np.prod), ("max", np.max), ("min", np.min)):
        np.testing.assert_allclose(getattr(lax, f"reduce_{kind}")(M, (-1,)), f(M, 1))
        np.testing.assert_allclose(jit(getattr(lax, f"reduce_{kind}"), static_argnums=1)(M, (0, 1)), f(M))
    np.testing.assert_array_equal(lax.reduce_and(M > 0, (0,)), np.all(M > 0, 0))
    np.testing.assert_array_equal(lax.reduce_or(M > 4, (0,)), np.any(M > 4, 0))
    np.testing.assert_array_equal(lax.argmax(M, 1), [2, 2])
    assert lax.argmin(M, 0, np.int32).dtype == np.int32
    np.testing.assert_allclose(lax.cumsum(M, 1), np.cumsum(M, 1))
    np.testing.assert_allclose(lax.cumsum(M, 1, reverse=True), np.cumsum(M[:, ::-1], 1)[:, ::-1])
    np.testing.assert_allclose(lax.cumprod(M, 1), np.cumprod(M, 1))
    np.testing.assert_allclose(lax.cummax(B), np.maximum.accumulate(B))
    np.testing.assert_allclose(lax.cummin(B), np.minimum.accumulate(B))
    np.testing.assert_allclose(lax.cumlogsumexp(B), np.logaddexp.accumulate(B))
    with pytest.raises(errors.ShapeError, match="one or two axes"):
        lax.dot(M[None], A)
