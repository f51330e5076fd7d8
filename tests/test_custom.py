"""Rules that users define, checkpoint and stop_gradient."""

import numpy as np
import pytest
from nested import difference

import functrans as ft
from functrans import (
    checkpoint,
    custom_jvp,
    custom_vjp,
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    lax,
    linearize,
    make_jaxpr,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)


def marked_jvp():
    """sin whose derivative is ten times too large, so that one sees whose rule was used."""
    @custom_jvp
    def f(x):
        return np.sin(x)

    @f.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return f(x), 10.0 * np.cos(x) * t
    return f


def marked_vjp():
    @custom_vjp
    def f(x):
        return np.sin(x)
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (10.0 * np.cos(x) * ct,))
    return f


MARKED = {"custom_jvp": marked_jvp, "custom_vjp": marked_vjp}
both = pytest.mark.parametrize("make", MARKED.values(), ids=MARKED)
X = np.array([0.1, 0.5, -1.0])


# ----- the rule is used wherever the function is --------------------------------------------------


@both
def test_reverse(make):
    f = make()
    assert f(0.5) == np.sin(0.5)
    want = 10 * np.cos(0.5)
    for g in (grad(f), jit(grad(f)), grad(jit(f)), lambda x: vjp(f, x)[1](1.0)[0], jacrev(f),
              lambda x: value_and_grad(f)(x)[1], grad(checkpoint(f)),
              lambda x: vmap(grad(f))(x * np.ones(2))[1]):
        assert g(0.5) == pytest.approx(want, rel=1e-14)
    np.testing.assert_allclose(grad(lambda x: np.sum(vmap(f)(x)))(X), 10 * np.cos(X))
    np.testing.assert_allclose(grad(lambda x: np.sum(f(x)))(X), 10 * np.cos(X))


def test_forward():
    f = marked_jvp()
    for g in (lambda x: jvp(f, (x,), (1.0,))[1], lambda x: linearize(f, x)[1](1.0), jacfwd(f),
              jit(lambda x: jvp(f, (x,), (1.0,))[1]), lambda x: jvp(jit(f), (x,), (1.0,))[1]):
        assert g(0.5) == pytest.approx(10 * np.cos(0.5), rel=1e-14)
    np.testing.assert_allclose(vmap(jacfwd(f))(X), 10 * np.cos(X))
    np.testing.assert_allclose(jacfwd(vmap(f))(X), np.diag(10 * np.cos(X)))


def test_second_order_uses_the_rule_again():
    f = marked_jvp()                    # f' = 10 cos; the rule is differentiated by ordinary rules
    for d in (grad(grad(f)), jacfwd(grad(f)), jacfwd(jacfwd(f)), jacrev(jacfwd(f)), hessian(f)):
        assert d(0.5) == pytest.approx(-10 * np.sin(0.5), rel=1e-14)
    g = marked_vjp()
    assert grad(grad(g))(0.5) == pytest.approx(-10 * np.sin(0.5), rel=1e-14)
    assert jacfwd(grad(g))(0.5) == pytest.approx(-10 * np.sin(0.5), rel=1e-14)
    # where the rule calls the function itself, that is differentiated by the rule
    h = custom_jvp(np.exp)
    h.defjvp(lambda p, t: (h(*p), 3.0 * h(*p) * t[0]))
    assert grad(grad(grad(h)))(0.5) == pytest.approx(27 * np.exp(0.5), rel=1e-14)


@both
def test_inside_loops_and_branches(make):
    f = make()

    def plain(x, s):
        c = x
        for v in (0.1, 0.2, 0.3):
            c = s(c) * v + x
        return c
    def scanned(x):
        return lax.scan(lambda c, v: (f(c) * v + x, None), x, np.array([0.1, 0.2, 0.3]))[0]
    assert scanned(0.5) == pytest.approx(plain(0.5, np.sin))
    # d/dx by hand, with the marked slope
    c, d = 0.5, 1.0
    for v in (0.1, 0.2, 0.3):
        c, d = np.sin(c) * v + 0.5, 10 * np.cos(c) * v * d + 1.0
    assert grad(scanned)(0.5) == pytest.approx(d, rel=1e-13)
    assert jit(grad(scanned))(0.5) == pytest.approx(d, rel=1e-13)
    np.testing.assert_allclose(vmap(grad(scanned))(np.array([0.5, 0.5])), [d, d], rtol=1e-13)
    chosen = lambda x: lax.cond(x > 0, f, lambda x: 3.0 * x, x)
    assert grad(chosen)(0.5) == pytest.approx(10 * np.cos(0.5)) and grad(chosen)(-0.5) == 3.0
    np.testing.assert_allclose(vmap(grad(chosen))(np.array([0.5, -0.5])), [10 * np.cos(0.5), 3.0])


def test_several_arguments_and_outputs():
    @custom_jvp
    def f(p, y):
        return {"a": p["u"] * y, "b": (p["v"] + y,)}

    @f.defjvp
    def rule(primals, tangents):
        (p, y), (tp, ty) = primals, tangents
        return f(p, y), {"a": 2.0 * tp["u"] + ty, "b": (3.0 * tp["v"],)}

    def loss(p, y):
        out = f(p, y)
        return out["a"] * 5.0 + out["b"][0] * 7.0
    got = grad(loss, (0, 1))({"u": 1.0, "v": 2.0}, 3.0)
    assert got == ({"u": 10.0, "v": 21.0}, 5.0)
    assert grad(lambda v: loss({"u": 1.0, "v": v}, 3.0))(2.0) == 21.0


def test_defjvps():
    @custom_jvp
    def f(x, y, z):
        return x * y * z
    f.defjvps(lambda t, out, x, y, z: 2.0 * t * out, None, lambda t, out, x, y, z: t)
    assert grad(f, (0, 1, 2))(1.0, 2.0, 3.0) == (12.0, 0.0, 1.0)
    assert jvp(f, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0))[1] == 13.0


def test_nondiff_argnums():
    f = custom_jvp(lambda x, g, n: g(x) * n, nondiff_argnums=(1, 2))
    f.defjvp(lambda g, n, primals, tangents: (f(primals[0], g, n), tangents[0] * n * 100.0))
    assert grad(f)(2.0, np.sin, 3) == 300.0
    np.testing.assert_array_equal(vmap(grad(f), (0, None, None))(np.ones(2), np.sin, 3), [300.0, 300.0])

    h = custom_vjp(lambda n, x: x ** n, nondiff_argnums=0)
    h.defvjp(lambda n, x: (x ** n, (x, "residual text", None)),
             lambda n, res, ct: (ct * res[0] * n * (res[1] == "residual text"),))
    assert grad(lambda x: h(3, x))(2.0) == 6.0
    assert jit(grad(lambda x: h(3, x)))(2.0) == 6.0
    assert h(3, 2.0) == 8.0


def test_keyword_arguments():
    f = custom_vjp(lambda x, y=3.0: x * y)
    f.defvjp(lambda x, y: (x * y, None), lambda res, ct: (ct, 50.0 * ct))
    assert grad(lambda x: f(x))(2.0) == 1.0
    assert grad(lambda y: f(2.0, y=y))(2.0) == 50.0
    g = custom_jvp(lambda x, *, k: x * k)
    g.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(errors.ArgumentError, match="keyword-only arguments k"):
        grad(lambda x: g(x, k=2.0))(1.0)


def test_bwd_may_return_none_and_zero_for_integers():
    f = custom_vjp(lambda p, n, x: p["a"] * x * n)
    f.defvjp(lambda p, n, x: (p["a"] * x * n, (p, x, n)),
             lambda res, ct: ({"a": ct * res[1] * res[2], "b": None}, None, None))
    g = grad(f, (0, 2))({"a": 2.0, "b": np.ones(2)}, 3, 5.0)
    assert g[0]["a"] == 15.0 and g[1] == 0.0
    np.testing.assert_array_equal(g[0]["b"], [0.0, 0.0])
    h = custom_vjp(lambda p, x: np.sum(p["a"]) * x)
    h.defvjp(lambda p, x: (np.sum(p["a"]) * x, p), lambda p, ct: (None, ct * np.sum(p["a"])))
    g = grad(h, (0, 1))({"a": np.ones(3)}, 2.0)
    np.testing.assert_array_equal(g[0]["a"], np.zeros(3))
    assert g[1] == 3.0


def test_integer_outputs_and_arguments():
    f = custom_jvp(lambda x, n: (x * n, n + 1))
    f.defjvp(lambda p, t: (f(*p), (t[0] * 7.0, np.zeros_like(p[1]))))
    assert grad(lambda x: f(x, 3)[0])(2.0) == 7.0
    assert grad(lambda x: f(x, np.floor(x).astype(int))[0])(2.5) == 7.0
    assert vmap(lambda n: f(2.0, n)[1])(np.arange(3)).tolist() == [1, 2, 3]


def test_rules_see_values_on_demand():
    f = custom_jvp(lambda x: x if x > 0 else -x)

    @f.defjvp
    def rule(p, t):
        return (f(*p), t[0] * 5.0) if p[0] > 0 else (f(*p), t[0] * 6.0)
    assert grad(f)(1.0) == 5.0 and grad(f)(-1.0) == 6.0
    assert jvp(f, (1.0,), (1.0,))[1] == 5.0 and linearize(f, -1.0)[1](1.0) == 6.0
    g = custom_vjp(lambda x: x if x > 0 else -x)
    g.defvjp(lambda x: (abs(x), 5.0 if x > 0 else 6.0), lambda k, ct: (k * ct,))
    assert grad(g)(1.0) == 5.0 and grad(g)(-1.0) == 6.0
    with pytest.raises(errors.TracerBoolError):
        jit(grad(f))(1.0)
    with pytest.raises(errors.TracerBoolError):
        vmap(grad(g))(np.ones(2))


def test_rules_that_close_over_arrays_under_jit():
    """Such arrays are read at every call, as in any jitted function."""
    w = np.ones(3)
    f = custom_vjp(lambda x: np.sum(x * w))
    f.defvjp(lambda x: (np.sum(x * w), None), lambda res, ct: (ct * w,))
    g = custom_jvp(lambda x: np.sum(x * w))
    g.defjvp(lambda p, t: (np.sum(p[0] * w), np.sum(t[0] * w)))
    calls = [jit(grad(f)), jit(grad(g)), jit(lambda x: vmap(grad(f))(x[None])[0]),
             jit(lambda x: vmap(grad(g))(x[None])[0]), jit(grad(checkpoint(g))),
             jit(grad(lambda x: lax.scan(lambda c, _: (c + f(x), None), 0.0, None, 1)[0]))]
    for value in (1.0, 5.0, -2.0):
        w[:] = value
        for call in calls:
            np.testing.assert_array_equal(call(np.ones(3)), w)


# ----- vmap ---------------------------------------------------------------------------------------


def weighted():
    f = custom_vjp(lambda w, x: np.sum(w * x))
    f.defvjp(lambda w, x: (np.sum(w * x), (w, x)), lambda res, ct: (2.0 * ct * res[1], 3.0 * ct * res[0]))
    return f


def weighted_forward():
    f = custom_jvp(lambda w, x: np.sum(w * x))
    f.defjvp(lambda p, t: (f(*p), np.sum(2.0 * t[0] * p[1]) + np.sum(3.0 * p[0] * t[1])))
    return f


@pytest.mark.parametrize("make", [weighted, weighted_forward])
def test_vmap_with_unmapped_inputs(make):
    f = make()
    w, xs = np.array([1.0, 2.0]), np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(vmap(f, (None, 0))(w, xs), xs @ w)
    per = vmap(grad(f, (0, 1)), (None, 0))(w, xs)
    np.testing.assert_allclose(per[0], 2 * xs)
    np.testing.assert_allclose(per[1], np.stack([3 * w] * 3))
    v = np.array([1.0, 10.0, 100.0])
    total = grad(lambda w, xs: np.sum(vmap(f, (None, 0))(w, xs) * v), (0, 1))(w, xs)
    np.testing.assert_allclose(total[0], 2 * v @ xs)
    np.testing.assert_allclose(total[1], 3 * np.outer(v, w))
    at_one = vmap(grad(f, (0, 1)), (None, 1))(w, xs.T.copy())
    np.testing.assert_allclose(at_one[0], 2 * xs)
    twice = vmap(vmap(grad(f), (None, 0)), (0, None))(np.stack([w, 2 * w]), xs)
    np.testing.assert_allclose(twice, np.stack([2 * xs, 2 * xs]))
    nothing = vmap(f, (None, 0))(w, np.zeros((0, 2)))
    assert nothing.shape == (0,)


def test_jacobians_of_a_mapped_rule():
    f = weighted_forward()
    w, xs = np.array([1.0, 2.0]), np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(jacfwd(lambda w: vmap(f, (None, 0))(w, xs))(w), 2 * xs)
    np.testing.assert_allclose(jacrev(lambda w: vmap(f, (None, 0))(w, xs))(w), 2 * xs)
    np.testing.assert_allclose(jvp(lambda w: vmap(f, (None, 0))(w, xs), (w,), (np.ones(2),))[1],
                               2 * xs.sum(1))
    np.testing.assert_allclose(jacrev(lambda w: vmap(weighted(), (None, 0))(w, xs))(w), 2 * xs)


# ----- errors -------------------------------------------------------------------------------------


def test_forward_mode_of_a_vjp_rule():
    f = marked_vjp()
    for call in (lambda: jvp(f, (0.5,), (1.0,)), lambda: jacfwd(f)(0.5), lambda: linearize(f, 0.5)[1](1.0),
                 lambda: jit(jacfwd(f))(0.5), lambda: vmap(jacfwd(f))(np.ones(2)),
                 lambda: jvp(lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)[0], (0.5,), (1.0,))):
        with pytest.raises(errors.NonDifferentiableError, match="custom_vjp rule only") as e:
            call()
        assert "custom_rule" in str(e.value) and "reverse mode" in str(e.value)


@both
def test_closing_over_a_differentiated_value(make):
    def outer(x, use):
        f = custom_jvp(lambda y: y * x) if make is marked_jvp else custom_vjp(lambda y: y * x)
        if make is marked_jvp:
            f.defjvp(lambda p, t: (f(*p), t[0] * 2.0))
        else:
            f.defvjp(lambda y: (y * x, None), lambda res, ct: (2.0 * ct,))
        return f(use(x))
    with pytest.raises(errors.NonDifferentiableError, match=r"closes over a traced f64\[\]"):
        grad(outer)(3.0, lambda x: x * 1.5)
    # a value of an outer level that is not differentiated is fine
    assert jit(lambda x: grad(lambda y: outer(x, lambda _: y))(2.0))(3.0) == 2.0
    np.testing.assert_array_equal(vmap(lambda x: grad(lambda y: outer(x, lambda _: y))(2.0))(np.ones(2)),
                                  [2.0, 2.0])


def test_missing_rule():
    for f, method in ((custom_jvp(np.sin), "defjvp"), (custom_vjp(np.sin), "defvjp")):
        assert f(0.0) == 0.0
        with pytest.raises(errors.NonDifferentiableError, match=method):
            grad(f)(0.0)


BAD_RULES = {
    "one value": (lambda p, t: t[0], errors.TreeError, r"returned f64\[2\]|pair"),
    "wrong shape": (lambda p, t: (np.sin(p[0]), np.sum(t[0])), errors.ShapeError, r"f64\[\].*f64\[2\]"),
    "wrong primal": (lambda p, t: (np.sum(p[0]), t[0]), errors.ShapeError, r"f64\[\].*f64\[2\]"),
    "wrong tree": (lambda p, t: (p[0], {"k": t[0]}), errors.TreeError, "tangent"),
}


@pytest.mark.parametrize("case", BAD_RULES)
def test_bad_jvp_rule(case):
    rule, kind, text = BAD_RULES[case]
    f = custom_jvp(np.sin)
    f.defjvp(rule)
    for call in (lambda: jvp(f, (np.ones(2),), (np.ones(2),)),
                 lambda: grad(lambda x: np.sum(f(x)))(np.ones(2))):
        with pytest.raises(kind, match=text) as e:
            call()
        assert "sin" in str(e.value)


@pytest.mark.parametrize("bwd, kind, text", [
    (lambda res, ct: ct, errors.TreeError, "2 arguments"),
    (lambda res, ct: (ct,), errors.TreeError, "of length 1 for 2 arguments"),
    (lambda res, ct: (ct, np.sum(ct)), errors.ShapeError, r"f64\[\] for an argument f64\[2\]"),
    (lambda res, ct: (ct, {"k": ct}), errors.TreeError, "bwd rule"),
])
def test_bad_bwd_rule(bwd, kind, text):
    f = custom_vjp(lambda x, y: x + y)
    f.defvjp(lambda x, y: (x + y, None), bwd)
    with pytest.raises(kind, match=text):
        grad(lambda x, y: np.sum(f(x, y)), (0, 1))(np.ones(2), np.ones(2))


def test_bad_fwd_rule():
    f = custom_vjp(np.sin)
    f.defvjp(lambda x: np.sin(x), lambda res, ct: (ct,))
    with pytest.raises(errors.TreeError, match=r"fwd rule of sin .*pair|pair \(out, residuals\)"):
        grad(f)(1.0)


def test_an_exception_in_a_rule_is_the_users_own():
    f = custom_jvp(np.sin)

    @f.defjvp
    def rule(p, t):
        raise KeyError("in my rule")
    with pytest.raises(KeyError, match="in my rule"):
        grad(f)(1.0)
    assert grad(np.sin)(0.0) == 1.0


# ----- checkpoint ---------------------------------------------------------------------------------


def deep(x):
    for _ in range(4):
        x = np.sin(x) * 1.5
    return x


def count(jaxpr, name):
    """Equations of an op, those of inner programs included."""
    total = 0
    for e in jaxpr.eqns:
        total += e.op.name == name
        for p in e.params.values():
            for q in p if isinstance(p, tuple) else (p,):
                if hasattr(q, "eqns"):
                    total += count(q, name)
    return total


def test_checkpoint_has_the_same_derivatives():
    want = difference(deep, 0.3)
    f = checkpoint(deep)
    assert f(0.3) == deep(0.3)
    for g in (grad(f), jit(grad(f)), grad(jit(f)), jacfwd(f), jacrev(f), grad(checkpoint(f)),
              lambda x: linearize(f, x)[1](1.0), lambda x: vmap(grad(f))(x * np.ones(2))[0]):
        assert g(0.3) == pytest.approx(want, rel=1e-9)
    second = difference(grad(deep), 0.3)
    for g in (grad(grad(f)), jacfwd(grad(f)), grad(jacfwd(f)), hessian(f), grad(checkpoint(grad(f)))):
        assert g(0.3) == pytest.approx(second, rel=1e-9)


def test_recomputation_is_in_the_program():
    """Forward once, and once more behind the cotangent, in a program of its own that nothing merges."""
    plain = make_jaxpr(value_and_grad(deep))(0.3)
    kept = make_jaxpr(value_and_grad(checkpoint(deep)))(0.3)
    assert count(plain, "sin") == 4
    assert count(kept, "sin") in (7, 8)         # the last one is not needed for the derivative
    assert [e.op.name for e in kept.eqns].count("sin") <= 4
    assert "remat" in str(kept)
    assert kept.out_avals == plain.out_avals
    hidden = make_jaxpr(lambda x: vjp(checkpoint(deep), x)[1](1.0))(0.3)
    assert count(hidden, "sin") in (7, 8)


def test_residuals_of_a_checkpoint_are_its_inputs():
    def program(f):
        return make_jaxpr(lambda x: linearize(f, x)[1](np.ones(5)))(np.ones(5))
    assert count(program(checkpoint(deep)), "cos") == count(program(deep), "cos") == 4


def test_checkpoint_with_pytrees_statics_and_closures():
    w = np.arange(3.0)
    named = {}

    def f(p, text, s, *, power=2):
        named["seen"] = (text, power)
        return {"y": np.sin(p["x"]) ** power * s * w, "n": 3}
    g = grad(lambda p, s: np.sum(checkpoint(f)(p, "text", s, power=3)["y"]), (0, 1))
    got = g({"x": np.ones(3)}, 2.0)
    np.testing.assert_allclose(got[0]["x"], 3 * np.sin(1) ** 2 * np.cos(1) * 2 * w)
    assert got[1] == pytest.approx(np.sin(1) ** 3 * 3) and named["seen"] == ("text", 3)

    def closure(x):
        return checkpoint(lambda: np.sin(x) * x)() + checkpoint(lambda y: x * y)(2.0)
    assert grad(closure)(0.7) == pytest.approx(difference(closure, 0.7), rel=1e-9)
    assert grad(grad(closure))(0.7) == pytest.approx(difference(grad(closure), 0.7), rel=1e-9)
    assert "remat" in str(make_jaxpr(lambda x: checkpoint(lambda: np.sin(x))())(1.0))


def test_checkpoint_in_scan():
    def f(x, wrap):
        return lax.scan(lambda c, v: (wrap(lambda c: np.sin(c) * v + x)(c), c), x, np.arange(3.0))[0]
    want = difference(lambda x: f(x, lambda g: g), 0.4)
    assert grad(f)(0.4, checkpoint) == pytest.approx(want, rel=1e-9)
    assert grad(grad(f))(0.4, checkpoint) == pytest.approx(
        difference(lambda x: grad(f)(x, lambda g: g), 0.4), rel=1e-8)


# ----- stop_gradient ------------------------------------------------------------------------------


def test_stop_gradient():
    def f(x):
        return stop_gradient(np.sin(x)) * x + stop_gradient({"k": [x]})["k"][0]
    assert f(0.5) == np.sin(0.5) * 0.5 + 0.5
    for g in (grad(f), jit(grad(f)), jacfwd(f), jacrev(f), lambda x: linearize(f, x)[1](1.0)):
        assert g(0.5) == np.sin(0.5)
    np.testing.assert_array_equal(vmap(grad(f))(X), np.sin(X))
    assert grad(grad(lambda x: stop_gradient(x) * x))(3.0) == 0.0
    assert ft.lax.stop_gradient(3.0) == 3.0 and stop_gradient((1, None)) == (1, None)
    x = np.ones(2)
    assert grad(lambda x: np.sum(stop_gradient(x)))(x).tolist() == [0.0, 0.0]


def test_straight_through():
    def rounded(x):
        return x + stop_gradient(np.rint(x) - x)
    assert rounded(2.7) == 3.0 and grad(rounded)(2.7) == 1.0
