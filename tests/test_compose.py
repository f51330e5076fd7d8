"""Nested functions that close over values of every level, under all pairs of transforms."""

from functools import cache

import mpmath
import numpy as np
import pytest
from nested import ALL, DERIVATIVES, VALUES, difference, directional, exact, gradient

import functrans as ft
from functrans import grad, hessian, jacfwd, jacrev, jit, jvp, linearize, vjp, vmap

REVERSE = ("grad", "vjp", "jacrev")


# ----- every pair and triple ----------------------------------------------------------------------


def two_levels(sin, outer, inner):
    """A function of x; the inner one closes over values of both outer levels."""
    return lambda x: outer(
        lambda y: x * sin(y) + y * inner(lambda z: sin(x * z) * y + z * z * x)(x + 0.5 * y))(1.25 * x)


def three_levels(sin, a, b, c):
    return lambda x: a(
        lambda y: y * y * b(
            lambda z: x * z + c(lambda w: sin(w * x) * z + y * z * w * w)(y + z))(x * y))(0.5 + x)


@cache
def known(program, kinds, x):
    """Reference value; transforms count only as ``value`` or ``derivative``."""
    names = [("grad" if k else "identity") for k in kinds]
    return exact(program, mpmath.sin, names, x)


def is_derivative(*names):
    return tuple([n in DERIVATIVES for n in names])


@pytest.mark.parametrize("inner", ALL)
@pytest.mark.parametrize("outer", ALL)
def test_pair(outer, inner):
    f = two_levels(np.sin, ALL[outer], ALL[inner])
    assert f(0.7) == pytest.approx(known(two_levels, is_derivative(outer, inner), 0.7), rel=1e-9)


def differentiated(sin, top, outer, inner):
    return top(two_levels(sin, outer, inner))


@pytest.mark.parametrize("inner", ALL)
@pytest.mark.parametrize("outer", ALL)
@pytest.mark.parametrize("top", ["grad", "jvp", "vmap grad"])
def test_pair_differentiated(top, outer, inner):
    f = differentiated(np.sin, ALL[top], ALL[outer], ALL[inner])
    want = known(differentiated, is_derivative(top, outer, inner), 0.7)
    assert f(0.7) == pytest.approx(want, rel=1e-9)


TRIPLES = ["jit", "vmap", "checkpoint", "scan", "grad", "jvp", "linearize", "jacrev"]


@pytest.mark.parametrize("c", TRIPLES)
@pytest.mark.parametrize("b", TRIPLES)
@pytest.mark.parametrize("a", TRIPLES)
def test_triple(a, b, c):
    f = three_levels(np.sin, ALL[a], ALL[b], ALL[c])
    assert f(0.6) == pytest.approx(known(three_levels, is_derivative(a, b, c), 0.6), rel=1e-9)


@pytest.mark.parametrize("outer", ALL)
def test_mapped_argument_in_the_closure(outer):
    """The outermost level is batched: each example must see its own closure."""
    f = two_levels(np.sin, ALL[outer], ALL["grad"])
    xs = np.array([0.3, 0.7, 1.1])
    want = [known(two_levels, is_derivative(outer, "grad"), float(x)) for x in xs]
    np.testing.assert_allclose(vmap(f)(xs), want, rtol=1e-9)


# ----- wrappers with a rule of their own: they must not close over values, so they go around ------


def with_jvp_rule(f):
    g = ft.custom_jvp(f)
    g.defjvp(lambda primals, tangents: jvp(f, primals, tangents))
    return g


def with_vjp_rule(f):
    g = ft.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, ct: vjp(f, x)[1](ct))
    return g


RULES = {"custom_jvp": with_jvp_rule, "custom_vjp": with_vjp_rule}


@pytest.mark.parametrize("inner", ALL)
@pytest.mark.parametrize("top", DERIVATIVES)
@pytest.mark.parametrize("rule", RULES)
def test_custom_rule_between(rule, top, inner):
    f = DERIVATIVES[top](RULES[rule](two_levels(np.sin, ALL["grad"], ALL[inner])))
    forward = top in ("jvp", "linearize", "jacfwd", "vmap of jvp")
    if rule == "custom_vjp" and forward:
        with pytest.raises(ft.errors.NonDifferentiableError, match="custom_vjp rule only"):
            f(0.7)
        return
    want = known(differentiated, is_derivative("grad", "grad", inner), 0.7)
    assert f(0.7) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("second", REVERSE)
@pytest.mark.parametrize("rule", RULES)
def test_second_derivative_of_a_custom_rule(rule, second):
    f = RULES[rule](lambda x: np.sin(x) * x)
    got = DERIVATIVES[second](grad(f))(0.7)
    assert got == pytest.approx(2 * np.cos(0.7) - 0.7 * np.sin(0.7), rel=1e-12)


# ----- perturbation confusion ---------------------------------------------------------------------


@pytest.mark.parametrize("d", DERIVATIVES)
@pytest.mark.parametrize("e", DERIVATIVES)
def test_inner_derivative_of_a_sum_is_one(d, e):
    """Confused perturbations give 2 (ForwardDiff.jl#83), and 0 in the second case (pytorch#32576)."""
    outer, inner = DERIVATIVES[d], DERIVATIVES[e]
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1.0
    assert outer(lambda x: x * inner(lambda y: x - y)(1.0))(1.0) == -1.0


@pytest.mark.parametrize("e", DERIVATIVES)
@pytest.mark.parametrize("d", DERIVATIVES)
def test_inner_derivative_does_not_depend_on_its_own_point(d, e):
    outer, inner = DERIVATIVES[d], DERIVATIVES[e]
    assert outer(lambda x: inner(lambda y: x)(x))(3.0) == 0.0
    assert outer(lambda x: inner(lambda y: x * y)(x))(3.0) == 1.0
    assert outer(lambda x: inner(lambda y: x * y * y)(2.0 * x))(3.0) == 24.0
    assert outer(lambda x: inner(lambda x: x * x)(x) * x)(3.0) == 12.0


def test_returned_closure():
    """A function that comes out of an inner derivative's argument, applied at another level."""
    def shifted(x):
        return lambda f: lambda z: f(z + x)
    d = DERIVATIVES["jvp"]
    hat = [shifted(0.0)]
    assert d(lambda x: shifted(x)(np.exp)(1.0))(0.0) == pytest.approx(np.e)
    got = d(lambda x: d(lambda u: hat[0](np.sin)(u) * x)(1.0))(2.0)
    assert got == pytest.approx(np.cos(1.0))
    got = d(lambda x: shifted(x)(shifted(x)(np.exp))(1.0))(0.0)
    assert got == pytest.approx(2 * np.e)


def test_constant_of_another_level_in_every_argument():
    """Tangents of the outer level enter the inner jvp as primal, tangent, or both."""
    def f(x):
        return jvp(lambda y: y * y * x, (x,), (x * x,))[1]          # 2 x y t = 2 x^4
    assert grad(f)(1.5) == pytest.approx(8 * 1.5 ** 3)
    assert jvp(f, (1.5,), (1.0,))[1] == pytest.approx(8 * 1.5 ** 3)

    def g(x):
        out, pull = vjp(lambda y: y ** 3 * x, x)
        return pull(out * x)[0]                                       # 3 x^3 * x^5
    assert grad(g)(0.9) == pytest.approx(24 * 0.9 ** 7)
    _, t = jvp(grad(g), (0.9,), (1.0,))
    assert t == pytest.approx(24 * 7 * 0.9 ** 6)


def test_pull_and_push_of_an_outer_level_used_inside():
    def f(x):
        _, pull = vjp(lambda y: np.sin(y) * x, x)
        return grad(lambda c: pull(c * c)[0])(x)                  # 2 c x cos(x), at c = x
    want = difference(lambda x: 2 * x * x * np.cos(x), 0.4)
    assert grad(f)(0.4) == pytest.approx(want, rel=1e-9)
    assert jit(jvp, static_argnums=0)(f, (0.4,), (1.0,))[1] == pytest.approx(want, rel=1e-9)

    def g(x):
        _, push = linearize(lambda y: np.sin(y) * x, x)
        return vmap(push)(x * np.arange(3.0)).sum()               # 3 x^2 cos(x)
    assert grad(g)(0.4) == pytest.approx(difference(lambda x: 3 * x * x * np.cos(x), 0.4), rel=1e-9)


@pytest.mark.parametrize("names", [(a, b, c) for a in REVERSE + ("jvp", "jacfwd")
                                   for b in ("grad", "jvp", "linearize") for c in ("vjp", "jvp")])
def test_third_derivative(names):
    f = np.tanh
    for n in reversed(names):
        f = DERIVATIVES[n](f)
    with mpmath.workdps(40):
        want = float(mpmath.diff(mpmath.tanh, 0.4, 3))
    assert f(0.4) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("outer", DERIVATIVES)
@pytest.mark.parametrize("inner", DERIVATIVES)
def test_mixed_partials_are_equal(outer, inner):
    def f(x, y):
        return np.exp(x * y) * np.sin(y)
    d, e = DERIVATIVES[outer], DERIVATIVES[inner]
    xy = d(lambda x: e(lambda y: f(x, y))(1.3))(0.6)
    yx = d(lambda y: e(lambda x: f(x, y))(0.6))(1.3)
    with mpmath.workdps(40):
        want = float(mpmath.diff(lambda x, y: mpmath.exp(x * y) * mpmath.sin(y), (0.6, 1.3), (1, 1)))
    assert (xy, yx) == (pytest.approx(want, rel=1e-12), pytest.approx(want, rel=1e-12))


# ----- programs with nested calls -----------------------------------------------------------------


def two_calls(call):
    return lambda x: call(np.sin)(x) + call(np.cos)(x * 2.0)


def call_with_closure(call):
    def f(x):
        def g(y, z):
            return np.sum(x * x) * np.sin(y) * z
        return call(g)(x, np.cos(x)) + x
    return f


def calls_in_calls(call):
    def f(x):
        def g(y):
            u = np.sin(y) + 2.0 * x

            def h(z):
                return u * z * x + x * y
            return call(h)(y)
        return call(g)(x)
    return f


def same_function_twice(call):
    def f(x):
        def g(y):
            return y * x
        h = call(g)
        return h(h(x)) + h(np.sin(x))
    return f


def call_of_a_result(call):
    def f(x):
        def g(y):
            return call(np.sin)(y), {"k": y * x}
        a, rest = call(g)(np.exp(-x))
        return call(lambda p, q: p * q["k"] + x)(a, rest)
    return f


def constant_call(call):
    """A call whose result does not depend on its argument but on the closure, and one on neither."""
    return lambda x: call(lambda y: x * x)(3.0) + call(lambda y: y * 2.0)(1.0) + call(lambda: x)()


PROGRAMS = [two_calls, call_with_closure, calls_in_calls, same_function_twice, call_of_a_result,
            constant_call]
CALLS = {"plain": lambda f: f, "jit": jit, "checkpoint": ft.checkpoint,
         "jit checkpoint": lambda f: jit(ft.checkpoint(f)),
         "vjp": lambda f: lambda *xs: vjp(f, *xs)[0],
         "jvp": lambda f: lambda *xs: jvp(f, xs, ft.tree.map(np.ones_like, xs))[0]}
X = np.array([0.3, -0.8, 1.2])
T = np.array([1.0, 0.5, -2.0])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program, call):
    plain, f = program(lambda f: f), program(CALLS[call])
    want, moved = plain(X), directional(plain, X, T)
    np.testing.assert_allclose(f(X), want, rtol=1e-12)
    for wrap in (lambda f: f, jit):
        out, t = wrap(lambda x, t: jvp(f, (x,), (t,)))(X, T)
        np.testing.assert_allclose(out, want, rtol=1e-12)
        np.testing.assert_allclose(t, moved, rtol=1e-8)
        (back,) = wrap(lambda x, ct: vjp(f, x)[1](ct))(X, T)
        assert back @ T == pytest.approx(T @ moved, rel=1e-8)
        np.testing.assert_allclose(back, gradient(lambda x: plain(x) @ T, X), rtol=1e-8)
    _, push = linearize(f, X)
    np.testing.assert_allclose(push(T), moved, rtol=1e-8)
    np.testing.assert_allclose(vmap(push)(np.stack([T, 2 * T])), np.stack([moved, 2 * moved]), rtol=1e-8)
    xs = np.stack([X, X * 0.5, -X])
    np.testing.assert_allclose(vmap(f)(xs), np.stack([plain(x) for x in xs]), rtol=1e-12)
    np.testing.assert_allclose(vmap(f, 1, 1)(xs.T), np.stack([plain(x) for x in xs], 1), rtol=1e-12)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_second_order(program, call):
    plain, f = program(lambda f: f), program(CALLS[call])
    want = directional(lambda x: gradient(lambda y: plain(y) @ T, x), X, T)
    loss = grad(lambda x: np.sum(f(x) * T))
    np.testing.assert_allclose(jvp(loss, (X,), (T,))[1], want, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(grad(lambda x: np.sum(loss(x) * T))(X), want, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(hessian(lambda x: np.sum(f(x) * T))(X) @ T, want, rtol=2e-5, atol=1e-6)


def test_jvp_of_vmap_of_grad():
    def f(x, y):
        return np.sin(x * y) * x
    xs, ys, ts = np.array([0.2, 0.5, 0.9]), np.array([1.0, -1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    want = [difference(lambda s, x=x, y=y, t=t: grad(f)(x + s * t, y), 0.0)
            for x, y, t in zip(xs, ys, ts, strict=True)]
    got = jvp(lambda v: vmap(grad(f))(v, ys), (xs,), (ts,))[1]
    np.testing.assert_allclose(got, want, rtol=1e-8)
    unmapped = jvp(lambda y: vmap(grad(f), (0, None))(xs, y), (2.0,), (1.0,))[1]
    want = [difference(lambda y, x=x: grad(f)(x, y), 2.0) for x in xs]
    np.testing.assert_allclose(unmapped, want, rtol=1e-8)


def test_vmap_over_several_axes_in_and_out():
    a = np.arange(24.0).reshape(2, 3, 4) / 10
    w = np.array([0.5, -1.0, 2.0, 0.25])

    def f(x, w):
        return np.sin(x) * w
    rows = vmap(vmap(f, (0, None)), (0, None))
    np.testing.assert_allclose(rows(a, w), np.sin(a) * w)
    np.testing.assert_allclose(vmap(vmap(f, (0, None), 1), (1, None), 2)(a, w),
                               (np.sin(a) * w).transpose(2, 0, 1))
    np.testing.assert_allclose(vmap(vmap(lambda x: vmap(np.sin)(x)))(a), np.sin(a))
    full = grad(lambda w: np.sum(rows(a, w)))(w)
    np.testing.assert_allclose(full, np.sin(a).sum((0, 1)))
    assert vmap(f, (0, None))(np.zeros((0, 4)), w).shape == (0, 4)
    np.testing.assert_array_equal(grad(lambda w: np.sum(vmap(f, (0, None))(np.zeros((0, 4)), w)))(w),
                                  np.zeros(4))


def test_jacobians_of_a_map():
    def f(x):
        return np.stack([x[0] * x[1], np.sin(x[2]), x[0] * x[2] ** 2, x[1]])
    x = np.array([0.5, -1.5, 2.0])
    want = np.stack([directional(f, x, e) for e in np.eye(3)], 1)
    for make in (jacfwd, jacrev, lambda f: jit(jacfwd(f)), lambda f: jacrev(jit(f)),
                 lambda f: jacfwd(ft.checkpoint(f))):
        np.testing.assert_allclose(make(f)(x), want, rtol=1e-8, atol=1e-10)
    for outer in (jacfwd, jacrev):
        for inner in (jacfwd, jacrev):
            h = outer(inner(lambda x: np.sum(f(x) ** 2)))(x)
            want_h = np.stack([directional(grad(lambda x: np.sum(f(x) ** 2)), x, e)
                               for e in np.eye(3)], 1)
            np.testing.assert_allclose(h, want_h, rtol=1e-7, atol=1e-8)
    batch = vmap(jacrev(f))(np.stack([x, 2 * x]))
    np.testing.assert_allclose(batch[0], want, rtol=1e-8, atol=1e-10)


def test_values_and_derivatives_have_different_names():
    assert not set(VALUES) & set(DERIVATIVES)
