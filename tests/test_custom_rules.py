"""Rules beyond the plain ones: both modes, symbolic zeros, own batching, own transposes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from functrans import (
    CustomVJPPrimal,
    SymbolicZero,
    cache_info,
    custom_jvp,
    custom_rule,
    custom_transpose,
    custom_vjp,
    custom_vmap,
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    lax,
    linear_call,
    linear_transpose,
    linearize,
    sequential_vmap,
    vjp,
    vmap,
)

X = np.array([0.3, -0.7, 1.2])


# ----- both modes -----------------------------------------------------------------------------------------


def marked(kind):
    """A matrix function whose derivative is ten times too large, by a rule of one mode."""
    def value(x, y):
        return np.sin(x) * y, np.sum(x)
    if kind == "jvp":
        return custom_rule(value, jvp=lambda p, t: (value(*p), (
            10.0 * (np.cos(p[0]) * p[1] * t[0] + np.sin(p[0]) * t[1]), 10.0 * np.sum(t[0]))))
    return custom_rule(value, vjp=(lambda x, y: (value(x, y), (x, y)), lambda r, ct: (
        10.0 * (np.cos(r[0]) * r[1] * ct[0] + ct[1]), 10.0 * np.sum(np.sin(r[0]) * ct[0]))))


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_one_rule_gives_both_modes(kind):
    f = marked(kind)
    plain = lambda x, y: (np.sin(x) * y, np.sum(x))
    ts, cts = (np.array([1.0, 2.0, -1.0]), 0.5), (np.array([0.2, 1.0, 3.0]), 2.0)
    want = jvp(plain, (X, 2.0), ts)[1]
    for run in (jvp, jit(jvp, static_argnums=0), lambda f, p, t: (0, linearize(f, *p)[1](*t))):
        got = run(f, (X, 2.0), ts)[1]
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, 10 * b)
    for a, b in zip(vjp(f, X, 2.0)[1](cts), vjp(plain, X, 2.0)[1](cts), strict=True):
        np.testing.assert_allclose(a, 10 * b)
    first = lambda x: f(x, 2.0)[0]
    np.testing.assert_allclose(jacfwd(first)(X), np.diag(20 * np.cos(X)))
    np.testing.assert_allclose(jacrev(first)(X), np.diag(20 * np.cos(X)))
    np.testing.assert_allclose(vmap(lambda x: jvp(f, (x, 2.0), (1.0, 0.0))[1][0])(X), 20 * np.cos(X))
    np.testing.assert_allclose(jvp(lambda y: vmap(f, (0, None))(X, y)[0], (2.0,), (1.0,))[1], 10 * np.sin(X))
    total = lambda x: np.sum(f(x, 2.0)[0])
    np.testing.assert_allclose(hessian(total)(X), jacrev(grad(total))(X), atol=1e-12)
    loop = lambda x: lax.scan(lambda c, _: (f(c, 1.0)[0], None), x, None, 2)[0]
    a, b = jvp(loop, (X,), (np.ones(3),))[1], vjp(loop, X)[1](np.ones(3))[0]
    np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(a, 100 * np.cos(X) * np.cos(np.sin(X)))


def test_custom_vjp_with_a_jvp_too():
    f = custom_vjp(np.sin)
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (10.0 * np.cos(x) * ct,))
    f.defjvp(lambda p, t: (np.sin(p[0]), 3.0 * np.cos(p[0]) * t[0]))
    assert grad(f)(0.0) == 10.0 and jvp(f, (0.0,), (1.0,))[1] == 3.0
    assert linearize(f, 0.0)[1](1.0) == 3.0 and vjp(f, 0.0)[1](1.0) == (10.0,)
    np.testing.assert_array_equal(vmap(linearize(f, 0.0)[1])(np.arange(3.0)), [0.0, 3.0, 6.0])
    np.testing.assert_allclose(vmap(jacfwd(f))(X), 3 * np.cos(X))


def test_a_bwd_that_is_not_linear_has_no_forward_mode():
    f = custom_rule(lambda x: x, vjp=(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1.0, 1.0),)))
    assert grad(lambda x: 5.0 * f(x))(1.0) == 1.0
    with pytest.raises(errors.NonDifferentiableError, match="not linear"):
        jvp(f, (1.0,), (1.0,))


def test_nondiff_argnames():
    f = custom_jvp(lambda x, power, g: g(x) ** power, nondiff_argnames=("power", "g"))
    f.defjvp(lambda power, g, p, t: (f(p[0], power, g), 100.0 * power * t[0]))
    assert grad(f)(2.0, 3, np.sin) == 300.0 and grad(lambda x: f(x, g=np.sin, power=2))(2.0) == 200.0
    h = custom_vjp(lambda n, x: x ** n, nondiff_argnames="n")
    h.defvjp(lambda n, x: (x ** n, x), lambda n, x, ct: (7.0 * n * ct,), optimize_remat=True)
    assert grad(lambda x: h(2, x))(3.0) == 14.0
    with pytest.raises(errors.ArgumentError, match="no positional argument q"):
        custom_jvp(lambda x: x, nondiff_argnames="q")


# ----- symbolic zeros -------------------------------------------------------------------------------------


def test_symbolic_zeros_of_tangents():
    kinds = []

    @custom_jvp
    def f(x, y):
        return x * y, x + 1.0

    def rule(primals, tangents):
        kinds.append([isinstance(t, SymbolicZero) for t in tangents])
        (x, y), (tx, ty) = primals, tangents
        if isinstance(tx, SymbolicZero):
            assert (tx.shape, tx.dtype) == (np.shape(x), np.float64)
            return f(x, y), (x * ty, tx)
        return f(x, y), (y * tx, tx)
    f.defjvp(rule, symbolic_zeros=True)
    for run in (grad, lambda f, i=0: lambda *a: vmap(grad(f, i))(*[np.array([v]) for v in a])[0],
                lambda f, i=0: jit(grad(f, i))):
        kinds.clear()
        assert run(lambda x, y: f(x, 3.0 * y)[0] * y)(2.0, 1.0) == 3.0
        assert run(lambda x, y: f(x, y)[0], 1)(2.0, 5.0) == 2.0
        assert kinds == [[False, True], [True, False]]
    assert jvp(lambda y: f(2.0, y)[1], (1.0,), (1.0,))[1] == 0.0


def test_symbolic_zeros_of_a_vjp():
    seen = []

    @custom_vjp
    def f(x, y):
        return x * y, x + y

    def fwd(x, y):
        assert isinstance(x, CustomVJPPrimal)
        seen.append((x.perturbed, y.perturbed))
        return (x.value * y.value, x.value + y.value), (x.value, y.value)

    def bwd(res, cts):
        seen.append(tuple(isinstance(c, SymbolicZero) for c in cts))
        return 10.0 * res[1] * cts[0], None
    f.defvjp(fwd, bwd, symbolic_zeros=True)
    for run in (grad, lambda f: lambda x: jit(vmap(grad(f)))(np.array([x]))[0]):
        seen.clear()
        assert run(lambda x: f(x, 3.0)[0])(2.0) == 30.0
        assert seen == [(True, False), (False, True)]


# ----- own batching ---------------------------------------------------------------------------------------


def own_batching():
    calls = []

    @custom_vmap
    def f(x, y):
        return {"p": x * y, "s": np.sin(x)}

    @f.def_vmap
    def rule(size, in_batched, x, y):
        calls.append((size, in_batched))
        return {"p": x * y + 100.0, "s": np.sin(x)}, {"p": True, "s": in_batched[0]}
    return f, calls


def test_custom_vmap():
    f, calls = own_batching()
    assert f(2.0, 3.0)["p"] == 6.0 and jit(f)(2.0, 3.0)["p"] == 6.0
    for run in (vmap(f, (0, None)), jit(vmap(f, (0, None)))):
        calls.clear()
        out = run(X, 2.0)
        np.testing.assert_allclose(out["p"], 2 * X + 100)
        np.testing.assert_allclose(out["s"], np.sin(X))
        assert calls == [(3, (True, False))]
    out = vmap(f, (None, 1), {"p": 0, "s": None})(2.0, X[None])
    np.testing.assert_allclose(out["p"], (2 * X + 100)[:, None])
    # the derivative of the rule maps the derivative
    y, t = vmap(lambda x: jvp(lambda x: f(x, 2.0)["p"], (x,), (1.0,)))(X)
    np.testing.assert_allclose(y, 2 * X + 100)
    np.testing.assert_allclose(t, [2.0] * 3)
    np.testing.assert_allclose(jvp(lambda y: vmap(f, (0, None))(X, y)["p"], (2.0,), (1.0,))[1], X)
    np.testing.assert_allclose(vmap(grad(lambda x: f(x, 2.0)["s"]))(X), np.cos(X))
    np.testing.assert_allclose(grad(lambda y: np.sum(vmap(f, (0, None))(X, y)["p"]))(2.0), X.sum())


def test_sequential_vmap():
    f = sequential_vmap(lambda x, y: np.sin(x) * y)
    np.testing.assert_allclose(vmap(f, (0, None))(X, 2.0), 2 * np.sin(X))
    np.testing.assert_allclose(vmap(vmap(f, (0, None)), (None, 0))(X, X), np.outer(X, np.sin(X)))
    np.testing.assert_allclose(jit(vmap(grad(f), (0, None)))(X, 2.0), 2 * np.cos(X))


def test_wrong_batching_rules():
    f = custom_vmap(lambda x: x)
    with pytest.raises(errors.NotSupportedError, match="def_vmap"):
        vmap(f)(X)
    f.def_vmap(lambda size, flags, x: x)
    with pytest.raises(errors.TreeError, match="out_batched"):
        vmap(f)(X)
    f.def_vmap(lambda size, flags, x: (x[0], True))
    with pytest.raises(errors.ShapeError, match=r"float64\[3\] is needed"):
        vmap(f)(X)


# ----- own transposes -------------------------------------------------------------------------------------


def test_linear_call():
    def scaled(r, x):
        return {"y": linear_call(lambda r, x: x / r, lambda r, ct: 10.0 * ct / r, r, x)}["y"]
    assert scaled(2.0, 3.0) == 1.5 and jit(scaled)(2.0, 3.0) == 1.5
    for run in (lambda f: f, jit):
        assert run(grad(scaled, 1))(2.0, 3.0) == 5.0
        assert run(lambda t: jvp(lambda x: scaled(2.0, x), (3.0,), (t,))[1])(1.0) == 0.5
        np.testing.assert_allclose(run(vmap(grad(scaled, 1), (None, 0)))(2.0, X), [5.0] * 3)
        np.testing.assert_allclose(run(vmap(grad(scaled, 1)))(X, X), 10 / X)
    np.testing.assert_allclose(grad(lambda x: np.sum(vmap(scaled, (0, None))(X, x)))(3.0), np.sum(10 / X))
    assert jvp(lambda r: scaled(r, 3.0), (2.0,), (1.0,))[1] == pytest.approx(-0.75)     # by residuals
    back = linear_transpose(lambda x: scaled(2.0, x), 3.0)
    assert back(1.0) == (5.0,)
    assert linear_transpose(lambda ct: back(ct)[0], 1.0)(1.0) == (0.5,)     # transposed twice: the function
    r = np.float64(4.0)
    closing = jit(lambda x: grad(lambda x: linear_call(lambda _, x: x * r, lambda _, ct: 7.0 * ct, (), x))(x))
    assert closing(1.0) == 7.0


def test_rules_inside_of_a_linear_call():
    # reverse mode by the residual must not ask for the jvp of a custom_vjp
    doubled = custom_vjp(lambda r: 1.0 * r)
    doubled.defvjp(lambda r: (1.0 * r, None), lambda _, ct: (2.0 * ct,))
    f = lambda r, x: linear_call(lambda r, x: doubled(r) * x, lambda r, ct: r * ct, r, x)
    assert grad(f, (0, 1))(3.0, 5.0) == (10.0, 3.0)
    assert grad(lambda r: lax.scan(lambda c, _: (f(r, c), None), 1.0, None, length=2)[0])(3.0) == 12.0
    assert vmap(grad(f))(np.ones(3), X).tolist() == (2 * X).tolist()


def test_linear_call_on_pytrees():
    def f(r, lin):
        return lin["a"] * r[0] + lin["b"], lin["b"] * r[1]

    def t(r, ct):
        return {"a": 2.0 * r[0] * ct[0], "b": 2.0 * (ct[0] + r[1] * ct[1])}
    g = lambda lin: sum(linear_call(f, t, (3.0, 5.0), lin))
    assert grad(g)({"a": 1.0, "b": 1.0}) == {"a": 6.0, "b": 12.0}
    with pytest.raises(errors.TreeError, match="linear_args"):
        grad(lambda lin: sum(linear_call(f, lambda r, ct: ct, (3.0, 5.0), lin)))({"a": 1.0, "b": 1.0})


def test_custom_transpose():
    @custom_transpose
    def f(r, x):
        return x / r
    with pytest.raises(errors.NonDifferentiableError, match="def_transpose"):
        f(2.0, 1.0)
    f.def_transpose(lambda r, ct: 10.0 * ct / r)
    assert grad(lambda x: f(2.0, x))(1.0) == 5.0
    assert grad(lambda x: f(np.float64, 2.0, x))(1.0) == 5.0            # with the output's type in front


def test_composed_functions_with_rules_share_a_plan():
    """Rules are traced at every call, yet what is made of them is one program."""
    @custom_vjp
    def f(x):
        return np.sin(x) * x
    f.defvjp(lambda x: (f(x), x), lambda x, ct: (3.0 * ct * x,))

    @custom_jvp
    def g(x):
        return np.exp(x)
    g.defjvp(lambda primals, tangents: (g(*primals), 2.0 * tangents[0]))

    def h(x):
        return f(g(f(x)))
    slope = 3 * np.exp(np.sin(0.5) * 0.5) * 2 * 3 * 0.5
    assert_allclose(grad(h)(0.5), slope)
    made = cache_info()["plans"].misses
    assert_allclose(grad(lambda x: f(g(f(x))))(0.5), slope)
    assert cache_info()["plans"].misses == made
