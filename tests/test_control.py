"""Derivatives, batching and nesting of the control flow that stays in the program."""

import numpy as np
import pytest
from nested import difference, directional, gradient

from functrans import (
    checkpoint,
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    lax,
    linear_transpose,
    linearize,
    make_jaxpr,
    tree,
    value_and_grad,
    vjp,
    vmap,
)

W = np.array([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6], [-0.7, 0.2, 0.1]])
H = np.array([0.5, -1.0, 0.25])
XS = np.linspace(-1.0, 1.0, 15).reshape(5, 3)


def loop(f, init, xs, length=None, reverse=False):
    """scan in Python."""
    n = length if xs is None else len(tree.leaves(xs)[0])
    ys, order = [None] * n, range(n)
    for i in reversed(order) if reverse else order:
        init, ys[i] = f(init, None if xs is None else tree.map(lambda x, i=i: x[i], xs))
    return init, (tree.map(lambda *y: np.stack(y), *ys) if n else None)


# ----- loops to test: (scan, w, h, xs) -> pytree --------------------------------------------------


def recurrent(scan, w, h, xs):
    return scan(lambda c, x: (np.tanh(w @ c + x),) * 2, h, xs)


def consts_every_step(scan, w, h, xs):
    """w and h are used at every turn, in the carry and in what is stacked."""
    return scan(lambda c, x: (c * h + w[0] * x, np.sum(w * c)), np.zeros(3) + h[0], xs)


def counter(scan, w, h, xs):
    """An integer in the carry, a part that has no tangent, a part that gets one late."""
    def step(c, x):
        i, a, b, fixed = c
        return (i + 1, a + np.sum(b * x) * i, np.sin(b) * h, fixed * 2.0), {"k": i, "s": a}
    return scan(step, (2, np.float64(0.0), h, np.ones(2)), xs)


def late(scan, w, h, xs):
    """The tangent needs three turns to reach the last part of the carry."""
    def step(c, x):
        a, b, d = c
        return (a * 0.5 + np.sum(x * h), np.sin(a), b * d + a), d
    return scan(step, (np.float64(1.0), np.float64(0.5), np.float64(0.1)), xs)


def pytrees(scan, w, h, xs):
    def step(c, x):
        return {"m": c["m"] @ w + np.outer(x["x"], h), "n": (c["n"][0] * x["t"],)}, [c["m"][0], None]
    return scan(step, {"m": w, "n": (h,)}, {"x": xs, "t": xs[:, 0]})


def nested(scan, w, h, xs):
    def outer(c, x):
        def inner(d, y):
            return d * 0.5 + np.sin(y * c) * x[0], d
        d, ys = scan(inner, c, np.stack([x, x * h]))
        return d, np.sum(ys)
    return scan(outer, h, xs)


def only_outputs(scan, w, h, xs):
    return scan(lambda c, x: (c, np.sin(x * h)), np.zeros(()), xs)


def closure_of_many(scan, w, h, xs):
    a, b = np.sum(w), np.exp(h)
    return scan(lambda c, x: (c * a + np.sin(b) * x, a), b, xs)


LOOPS = [recurrent, consts_every_step, counter, late, pytrees, nested, only_outputs, closure_of_many]
loops = pytest.mark.parametrize("program", LOOPS, ids=lambda f: f.__name__)


def floats(t):
    """The float leaves of a result as one vector."""
    return np.concatenate([np.ravel(x) for x in tree.leaves(t) if np.asarray(x).dtype.kind == "f"])


def weighted(t):
    """A scalar of all float leaves that no symmetry makes zero; works on traced values."""
    total = 0.0
    for i, x in enumerate(tree.leaves(t)):
        if not isinstance(x, int) and x.dtype.kind == "f":
            total = total + np.sum(np.sin(x + i)) * (i + 1.0)
    return total


@pytest.mark.parametrize("reverse", [False, True])
@loops
def test_values(program, reverse):
    def ours(f, init, xs):
        return lax.scan(f, init, xs, reverse=reverse)
    want = program(lambda f, init, xs: loop(f, init, xs, reverse=reverse), W, H, XS)
    for got in (program(ours, W, H, XS), jit(lambda w, h, xs: program(ours, w, h, xs))(W, H, XS),
                vjp(lambda w, h, xs: program(ours, w, h, xs), W, H, XS)[0]):
        assert tree.structure(got) == tree.structure(want)
        for a, b in zip(tree.leaves(got), tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
            assert np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize("reverse", [False, True])
@loops
def test_derivatives(program, reverse):
    def ours(w, h, xs):
        return program(lambda f, i, x: lax.scan(f, i, x, reverse=reverse), w, h, xs)

    def plain(w, h, xs):
        return weighted(program(lambda f, i, x: loop(f, i, x, reverse=reverse), w, h, xs))
    want = [gradient(lambda w: plain(w, H, XS), W), gradient(lambda h: plain(W, h, XS), H),
            gradient(lambda xs: plain(W, H, xs), XS)]

    def loss(*args):
        return weighted(ours(*args))
    for got in (grad(loss, (0, 1, 2))(W, H, XS), jit(grad(loss, (0, 1, 2)))(W, H, XS),
                grad(checkpoint(loss), (0, 1, 2))(W, H, XS), vjp(loss, W, H, XS)[1](1.0),
                jacfwd(loss, (0, 1, 2))(W, H, XS)):
        for g, v in zip(got, want, strict=True):
            np.testing.assert_allclose(g, v, rtol=1e-7, atol=1e-9)
    for i, name in enumerate("whx"):
        args = [W, H, XS]
        single = grad(loss, i)(*args)            # other masks of what is perturbed
        np.testing.assert_allclose(single, want[i], rtol=1e-7, atol=1e-9, err_msg=name)
    t = (np.cos(W), np.cos(H), np.cos(XS))
    pushed = sum([np.sum(g * v) for g, v in zip(want, t, strict=True)])
    assert jvp(loss, (W, H, XS), t)[1] == pytest.approx(pushed, rel=1e-7)
    assert linearize(loss, W, H, XS)[1](*t) == pytest.approx(pushed, rel=1e-7)


@loops
def test_second_derivatives(program):
    def loss(h, s):
        return weighted(program(lax.scan, W * s, h, XS * s))
    first = grad(loss)
    want = np.stack([directional(lambda h: first(h, 1.0), H, e) for e in np.eye(3)], 1)
    for got in (hessian(loss)(H, 1.0), jacrev(first)(H, 1.0), jacfwd(jacfwd(loss))(H, 1.0),
                jit(hessian(loss))(H, 1.0)):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)
    mixed = grad(lambda s: np.sum(first(H, s)))(1.0)
    assert mixed == pytest.approx(difference(lambda s: np.sum(first(H, s)), 1.0), rel=1e-6)


@loops
def test_batching(program):
    """Every choice of mapped arguments, against a loop over the examples."""
    def f(w, h, xs):
        return program(lax.scan, w, h, xs)
    size = 3
    args = [np.stack([a, a * 0.5, -a]) for a in (W, H, XS)]
    for mapped in ((0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0), (None, 0, 0)):
        given = [a if m == 0 else a[0] for a, m in zip(args, mapped, strict=True)]
        got = vmap(f, mapped)(*given)
        each = [f(*[a[i] if m == 0 else a[0] for a, m in zip(args, mapped, strict=True)])
                for i in range(size)]
        want = tree.map(lambda *x: np.stack(x), *each)
        for a, b in zip(tree.leaves(got), tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        g = vmap(grad(lambda *a: weighted(f(*a)), (0, 1, 2)), mapped)(*given)
        for k in range(3):
            for i in range(size):
                one = [a[i] if m == 0 else a[0] for a, m in zip(args, mapped, strict=True)]
                np.testing.assert_allclose(g[k][i], grad(lambda *a: weighted(f(*a)), k)(*one), rtol=1e-9,
                                           atol=1e-12)
    total = grad(lambda h: np.sum(vmap(lambda x: weighted(f(W, h, x)))(args[2])))(H)
    want = sum([grad(lambda h, x=x: weighted(f(W, h, x)))(H) for x in args[2]])
    np.testing.assert_allclose(total, want, rtol=1e-9)


def test_vmap_moves_axes_and_empty_batches():
    def f(h, xs):
        return lax.scan(lambda c, x: (c + x, c * x), h, xs)
    xs = np.arange(24.0).reshape(4, 3, 2)
    c, ys = vmap(f, (None, 1), (1, 2))(np.ones(2), xs)
    each = [f(np.ones(2), xs[:, i]) for i in range(3)]
    np.testing.assert_allclose(c, np.stack([e[0] for e in each], 1))
    np.testing.assert_allclose(ys, np.stack([e[1] for e in each], 2))
    c, ys = vmap(f, (None, 0))(np.ones(2), np.zeros((0, 4, 2)))
    assert c.shape == (0, 2) and ys.shape == (0, 4, 2)


@pytest.mark.parametrize("n", [0, 1])
def test_short_loops(n):
    def f(h, xs):
        c, ys = lax.scan(lambda c, x: (c * x + h, c), h * 2.0, xs)
        return np.sum(c) + np.sum(ys)
    xs = np.full((n, 3), 0.5)
    want = gradient(lambda h: np.sum(h * 2) if n == 0 else np.sum(h * 2 * 0.5 + h + h * 2), H)
    np.testing.assert_allclose(grad(f)(H, xs), want, rtol=1e-9)
    np.testing.assert_allclose(jvp(lambda h: f(h, xs), (H,), (H,))[1], want @ H, rtol=1e-9)
    assert grad(f, 1)(H, xs).shape == (n, 3)
    np.testing.assert_allclose(vmap(grad(f), (0, None))(np.stack([H, H]), xs)[1], want, rtol=1e-9)
    assert hessian(lambda h: f(h, xs) ** 2)(H).shape == (3, 3)


def test_closures_over_every_level():
    def f(a):
        def g(b):
            def step(c, x):
                return c * a + b * x, grad(lambda z: z * z * a * b)(x)
            c, ys = lax.scan(step, b, np.arange(3.0))
            return c + np.sum(ys)
        return grad(g)(a) * a

    def plain(a):
        # c = b a^3 + b (0 a^2 + 1 a + 2), sum ys = 2 a b (0 + 1 + 2)
        return (a ** 3 + a + 2 + 6 * a) * a
    assert f(1.3) == pytest.approx(plain(1.3), rel=1e-12)
    for d in (grad(f), jacfwd(f), jit(grad(f)), lambda x: vmap(grad(f))(np.array([x]))[0]):
        assert d(1.3) == pytest.approx(difference(plain, 1.3), rel=1e-9)
    np.testing.assert_allclose(vmap(f)(np.array([0.5, 1.3])), [plain(0.5), plain(1.3)])


def test_captured_arrays_in_bodies():
    table = np.arange(4.0)
    f = jit(grad(lambda s: lax.scan(lambda c, x: (c + table * s * x, None), np.zeros(4),
                                    np.arange(3.0))[0].sum()))
    assert f(1.0) == 18.0
    table[:] = 1.0
    assert f(1.0) == 12.0


# ----- what the reverse program looks like --------------------------------------------------------


def scans(jaxpr):
    return [e for e in jaxpr.eqns if e.op.name == "scan"]


def test_residuals_that_do_not_change_are_not_stacked():
    """exp(w) depends on no carry and no x: it is computed once, outside, not once per step and kept."""
    big = np.ones((20, 20))

    def f(w, c):
        return np.sum(lax.scan(lambda c, x: (np.sin(np.exp(w) @ c) * x, None), c, np.arange(7.0))[0])
    jaxpr = make_jaxpr(lambda w, c: vjp(f, w, c)[1](1.0))(big, np.ones(20))
    forward, backward = scans(jaxpr)
    assert not any(v.aval.shape[:1] == (7,) and v.aval.ndim == 3 for v in forward.outs)
    assert not any(x.aval.shape == (7, 20, 20) for x in backward.inputs)
    assert any(x.aval.shape == (20, 20) for x in backward.inputs)
    assert backward.params["reverse"] is not forward.params["reverse"]


def test_inputs_are_their_own_residuals():
    def f(xs):
        return lax.scan(lambda c, x: (c + x * x * x, None), 0.0, xs)[0]
    forward, _ = scans(make_jaxpr(lambda xs: vjp(f, xs)[1](1.0))(np.ones(7)))
    assert len([v for v in forward.outs if v.aval.shape == (7,)]) <= 1


def test_only_perturbed_parts_are_pushed():
    """The jvp of a scan carries tangents for the parts that have one, and no others."""
    def f(a):
        return lax.scan(lambda c, x: ((c[0] * a, c[1] + x, c[2] + 1), None), (a, 0.0, 0), np.ones(4))[0][0]
    (e,) = scans(make_jaxpr(lambda a: jvp(f, (a,), (1.0,))[1])(2.0))
    assert e.params["n_carry"] <= 4


def test_transpose_of_a_linear_loop_with_a_counter():
    def f(x):
        return lax.fori_loop(0, 4, lambda i, c: c * (i + 1.0) + x, np.zeros(2))
    ct = np.array([1.0, -2.0])
    (got,) = linear_transpose(f, np.ones(2))(ct)
    np.testing.assert_allclose(got, f(np.ones(2))[0] * ct)

    def with_state(x):
        return lax.scan(lambda c, v: ((c[0] + 1.0, c[1] * c[0] + x * v), c[1]), (1.0, x), np.arange(3.0))
    jac = jacfwd(lambda x: with_state(x)[0][1])(np.ones(2))
    _, pull = vjp(with_state, np.ones(2))
    np.testing.assert_allclose(pull(((0.0, ct), np.zeros((3, 2))))[0], jac.T @ ct)
    t = linear_transpose(lambda x: with_state(x)[0][1], np.ones(2))
    np.testing.assert_allclose(t(ct)[0], jac.T @ ct)


# ----- cond and switch ----------------------------------------------------------------------------


def choose(i, x, w):
    return lax.switch(i, [lambda x: {"a": np.sum(np.sin(x)), "b": x},
                          lambda x: {"a": np.sum(w @ x), "b": w[0] * 2.0},
                          lambda x: {"a": np.float64(3.0), "b": np.zeros(3)}], x)


def chosen(i, x, w):
    return [lambda: {"a": np.sum(np.sin(x)), "b": x}, lambda: {"a": np.sum(w @ x), "b": w[0] * 2.0},
            lambda: {"a": np.float64(3.0), "b": np.zeros(3)}][min(max(i, 0), 2)]()


@pytest.mark.parametrize("i", [-1, 0, 1, 2, 5])
def test_branches(i):
    def loss(x, w, i=i):
        return weighted(choose(i, x, w))
    want = [gradient(lambda x: weighted(chosen(i, x, W)), H),
            gradient(lambda w: weighted(chosen(i, H, w)), W)]
    for got in (grad(loss, (0, 1))(H, W), jit(grad(loss, (0, 1)))(H, W), jacfwd(loss, (0, 1))(H, W),
                jit(lambda i: grad(lambda x, w: loss(x, w, i), (0, 1))(H, W))(i)):
        for g, v in zip(got, want, strict=True):
            np.testing.assert_allclose(g, v, rtol=1e-8, atol=1e-10)
    assert grad(loss, 1)(H, W).shape == W.shape
    np.testing.assert_allclose(hessian(loss)(H, W), jacfwd(jacfwd(loss))(H, W), atol=1e-12)
    got = vmap(lambda x: choose(i, x, W))(np.stack([H, 2 * H]))
    for k in "ab":
        np.testing.assert_allclose(got[k][1], chosen(i, 2 * H, W)[k])


def test_batched_predicate():
    index, xs = np.array([0, 1, 2, 7, -3]), np.outer(np.arange(1.0, 6.0), H)
    got = vmap(choose, (0, 0, None))(index, xs, W)
    want = [chosen(i, x, W) for i, x in zip(index, xs, strict=True)]
    for k in "ab":
        np.testing.assert_allclose(got[k], np.stack([v[k] for v in want]))
    g = vmap(grad(lambda i, x, w: weighted(choose(i, x, w)), (1, 2)), (0, 0, None))(index, xs, W)
    for n, (i, x) in enumerate(zip(index, xs, strict=True)):
        one = grad(lambda x, w, i=i: weighted(choose(i, x, w)), (0, 1))(x, W)
        np.testing.assert_allclose(g[0][n], one[0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(g[1][n], one[1], rtol=1e-12, atol=1e-14)
    total = grad(lambda w: np.sum(vmap(lambda i, x: weighted(choose(i, x, w)))(index, xs)))(W)
    np.testing.assert_allclose(total, g[1].sum(0), rtol=1e-12)


def test_branch_not_taken_cannot_poison():
    def f(x, w):
        return lax.cond(np.sum(x) > 0, lambda x: np.sum(np.log(x) @ w), lambda x: np.sum(x), x)
    xs = np.array([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
    w = np.ones((2, 2))
    with np.errstate(all="raise"):
        values = vmap(f, (0, None))(xs, w)
        g = vmap(grad(f), (0, None))(xs, w)
        gw = grad(lambda w: np.sum(vmap(f, (0, None))(xs, w)))(w)
    np.testing.assert_allclose(values, [2 * np.log(2), -3.0, 0.0])
    np.testing.assert_allclose(g, [[2.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(gw, np.outer(np.log(xs[0]), [1.0, 1.0]))


def test_only_one_branch_runs():
    n = 300
    f = jit(lambda p, x: lax.cond(p, lambda x: np.sum(x), lambda x: lax.fori_loop(
        0, 10 ** 9, lambda i, c: c + 1.0, np.sum(x)), x))
    assert f(True, np.ones(n)) == n


def test_branches_with_other_residuals():
    """Branches keep values of other types and numbers; slots are shared and the rest is zero."""
    def f(p, x, n):
        return lax.cond(p, lambda x: np.sum(np.sin(np.cos(x)) * np.exp(x)),
                        lambda x: np.sum(np.outer(x, x) ** 3) + x[0] * n, x)
    for p in (True, False):
        want = gradient(lambda x, p=p: np.sum(np.sin(np.cos(x)) * np.exp(x)) if p else
                        np.sum(np.outer(x, x) ** 3) + x[0] * 2, H)
        np.testing.assert_allclose(grad(f, 1)(p, H, 2), want, rtol=1e-7)
        np.testing.assert_allclose(jit(grad(f, 1))(p, H, 2), want, rtol=1e-7)


# ----- while and fori -----------------------------------------------------------------------------


def power(x, n):
    """x ** n with n turns."""
    return lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x), (0, x * 0 + 1.0))[1]


def test_while_forward():
    assert power(1.5, 3) == 1.5 ** 3
    for n in (0, 1, 4):
        assert jvp(lambda x, n=n: power(x, n), (1.5,), (1.0,))[1] == pytest.approx(n * 1.5 ** (n - 1))
        assert jacfwd(lambda x, n=n: power(x, n))(1.5) == pytest.approx(n * 1.5 ** (n - 1))
    assert jacfwd(jacfwd(power))(1.5, 4) == pytest.approx(12 * 1.5 ** 2)
    assert jit(jacfwd(power))(1.5, 4) == pytest.approx(4 * 1.5 ** 3)


def test_while_batched():
    xs, ns = np.array([1.5, 2.0, 3.0, 1.0]), np.array([3, 0, 5, 1])
    np.testing.assert_allclose(vmap(power)(xs, ns), xs ** ns)
    np.testing.assert_allclose(vmap(power, (0, None))(xs, 3), xs ** 3)
    np.testing.assert_allclose(vmap(power, (None, 0))(1.5, ns), 1.5 ** ns)
    np.testing.assert_allclose(vmap(jacfwd(power))(xs, ns), ns * xs ** (ns - 1.0))
    np.testing.assert_allclose(jacfwd(vmap(power))(xs, ns), np.diag(ns * xs ** (ns - 1.0)))
    np.testing.assert_allclose(vmap(vmap(power, (None, 0)), (0, None))(xs, ns), xs[:, None] ** ns)
    assert vmap(power)(np.zeros(0), np.zeros(0, int)).shape == (0,)


def test_while_that_ends_by_value():
    def root(x):
        return lax.while_loop(lambda y: abs(y * y - x) > 1e-13 * x, lambda y: 0.5 * (y + x / y), x)
    xs = np.array([0.3, 2.0, 100.0])
    np.testing.assert_allclose([root(x) for x in xs], np.sqrt(xs))
    np.testing.assert_allclose(vmap(root)(xs), np.sqrt(xs))
    np.testing.assert_allclose(vmap(jacfwd(root))(xs), 0.5 / np.sqrt(xs), rtol=1e-6)


def test_while_that_does_not_depend_on_the_input():
    assert grad(lambda x: x * power(2.0, 3))(1.0) == 8.0
    assert grad(lambda x: x * lax.while_loop(lambda i: i < 3, lambda i: i + 1, 0))(2.0) == 3.0


def test_fori_loop_in_reverse():
    def f(x):
        return lax.fori_loop(1, 5, lambda i, c: c * x + i * x, x)

    def plain(x):
        c = x
        for i in range(1, 5):
            c = c * x + i * x
        return c
    assert f(0.7) == pytest.approx(plain(0.7))
    for d in (grad(f), jacfwd(f), jit(grad(f))):
        assert d(0.7) == pytest.approx(difference(plain, 0.7), rel=1e-9)
    assert grad(grad(f))(0.7) == pytest.approx(difference(grad(f), 0.7), rel=1e-8)
    np.testing.assert_allclose(vmap(grad(f))(np.array([0.7, 0.9]))[1], difference(plain, 0.9), rtol=1e-9)


def test_map_is_vmap():
    def f(x):
        return {"s": np.sin(x).sum(), "x": x * 2}
    got, want = lax.map(f, XS), vmap(f)(XS)
    for k in want:
        np.testing.assert_allclose(got[k], want[k])
    np.testing.assert_allclose(grad(lambda xs: lax.map(f, xs)["s"].sum())(XS), np.cos(XS))


def test_loops_in_branches_in_loops():
    def f(x, n):
        def step(c, i):
            return lax.cond(i % 2 == 0,
                            lambda c: lax.scan(lambda d, v: (d * v + x, None), c, np.array([0.5, 0.25]))[0],
                            lambda c: np.sin(c) * x, c), c
        c, ys = lax.scan(step, x, np.arange(n))
        return c + np.sum(ys)

    def plain(x, n):
        c, total = x, 0.0
        for i in range(n):
            total = total + c
            c = (c * 0.5 + x) * 0.25 + x if i % 2 == 0 else np.sin(c) * x
        return c + total
    assert f(0.8, 5) == pytest.approx(plain(0.8, 5))
    for d in (grad(f), jacfwd(f), jit(grad(f), static_argnums=1)):
        assert d(0.8, 5) == pytest.approx(difference(lambda x: plain(x, 5), 0.8), rel=1e-9)
    assert hessian(f)(0.8, 5) == pytest.approx(difference(lambda x: grad(f)(x, 5), 0.8), rel=1e-8)
    np.testing.assert_allclose(vmap(lambda x: value_and_grad(f)(x, 5))(np.array([0.8, 0.3]))[0],
                               [plain(0.8, 5), plain(0.3, 5)])


def test_long_loop_is_linear_in_memory_and_right():
    n = 20_000
    def f(a):
        return lax.scan(lambda c, _: (c + a * (1.0 - c) * 1e-3, None), 0.0, None, length=n)[0]
    assert f(1.0) == pytest.approx(1 - (1 - 1e-3) ** n, rel=1e-9)
    assert grad(f)(1.0) == pytest.approx(n * 1e-3 * (1 - 1e-3) ** (n - 1), rel=1e-6)


# ----- errors -------------------------------------------------------------------------------------


def test_carry_types_are_named_by_path():
    with pytest.raises(errors.CarryTypeError, match=r"carry\['a'\]\[1\] starts as f64\[3\] .* f64\[\]"):
        lax.scan(lambda c, _: ({"a": (c["a"][0], np.sum(c["a"][1]))}, None), {"a": (1.0, H)}, None, 3)
    with pytest.raises(errors.CarryTypeError, match=r"carry.* f32\[3\].*f64\[3\]"):
        lax.while_loop(lambda c: np.sum(c) < 3, lambda c: c * np.float64(2), H.astype(np.float32))
    with pytest.raises(errors.TreeError, match=r"carry|structure"):
        lax.scan(lambda c, _: ((c, c), None), 1.0, None, 3)
    with pytest.raises(errors.TreeError, match="pair"):
        lax.scan(lambda c, x: c, 1.0, np.ones(3))


def test_branch_types():
    with pytest.raises(errors.DtypeError, match=r"f64\[3\].*f64\[\]|f64\[\].*f64\[3\]"):
        jit(lambda p, x: lax.cond(p, np.sin, np.sum, x))(True, H)
    with pytest.raises(errors.TreeError):
        jit(lambda p, x: lax.cond(p, lambda x: x, lambda x: {"k": x}, x))(True, H)


def test_values_in_bodies_are_unknown():
    with pytest.raises(errors.TracerBoolError, match=r"test_control.py:\d+ in <lambda>"):
        grad(lambda x: lax.scan(lambda c, v: (c if c > 0 else -c, None), x, np.ones(3))[0])(1.0)


def test_an_exception_in_a_body_is_the_users_own():
    def body(c, x):
        raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        jit(grad(lambda x: lax.scan(body, x, np.ones(3))[0]))(1.0)
    assert grad(np.sin)(0.0) == 1.0


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [2, 3, 9, True])
def test_unrolled_scans_are_the_same_loops(unroll, reverse):
    xs = np.random.default_rng(3).normal(size=(7, 2))
    w = np.array([[0.3, -0.2], [0.5, 0.1]])

    def run(c, xs, **options):
        return lax.scan(lambda c, x: (np.tanh(w @ c) + x, {"c": c, "s": np.sum(c * x)}), c, xs,
                        reverse=reverse, **options)

    plain, rolled = run, lambda c, xs: run(c, xs, unroll=unroll)
    c = np.array([0.4, -1.0])
    loss = lambda f: lambda c, xs: np.sum(f(c, xs)[0] ** 2) + np.sum(f(c, xs)[1]["s"] ** 3)
    for f in (lambda f: f, jit, lambda f: grad(loss(f), (0, 1)), lambda f: jit(hessian(loss(f))),
              lambda f: lambda c, xs: jvp(f, (c, xs), (c, xs)), lambda f: lambda c, xs: vmap(f, (0, None))(
                  np.stack([c, 2 * c]), xs)):
        for a, b in zip(tree.leaves(f(rolled)(c, xs)), tree.leaves(f(plain)(c, xs)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert rolled(c, xs[:0])[1]["c"].shape == (0, 2)
    assert lax.fori_loop(0, 7, lambda i, t: t + i, 0, unroll=unroll) == 21
    loops = str(make_jaxpr(rolled)(c, xs)).count("= scan[")
    assert loops == {2: 2, 3: 2, 9: 1, True: 1}[unroll]


@pytest.mark.parametrize("call, text", [
    (lambda: lax.scan(lambda c, _: (c, None), 1.0, length=3, unroll=0), "bool or a positive integer, got 0"),
    (lambda: lax.scan(lambda c, _: (c, None), 1.0, length=3, unroll=2, checkpoint=2), "exclude each other"),
    (lambda: jit(lambda n: lax.fori_loop(0, n, lambda i, c: c, 0, unroll=2))(3), "needs integers as bounds")])
def test_wrong_unroll(call, text):
    with pytest.raises(ValueError, match=text):
        call()
