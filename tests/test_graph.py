"""Graphs: gradients between symbols against closed forms, differences and grad; runs of parts."""


import numpy as np
import pytest
from functrans.ir.core import Var
from functrans.trace.core import var_of
from graphs_by_hand import FEEDS, close, four_leaves
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans
from functrans import (
    Graph,
    checkpoint,
    custom_jvp,
    custom_vjp,
    errors,
    grad,
    gradients,
    hessian,
    jit,
    lax,
    random,
    vmap,
)
from functrans.plan import run_op

X = np.array([0.5, -1.0, 2.0])


# ----- the graph of the issue --------------------------------------------------------------------------


def test_four_partials():
    g = four_leaves()
    before = len(g.eqns)
    partials = g.gradients("e", list("abcd"))
    assert g.run("e", FEEDS) == 2.0 * 3.0 + 4.0 * np.log(5.0)
    close(g.run(partials, FEEDS), [3.0, 2.0, np.log(5.0), 0.8])
    assert all(e.backward for e in g.eqns[before:]) and not any(e.backward for e in g.eqns[:before])


def test_gradients_of_gradients():
    g = four_leaves()
    first = g.gradients("e", list("abcd"))
    second = [g.gradients(y, list("abcd"), unconnected="zero") for y in first]
    want = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1 / 5], [0, 0, 1 / 5, -4 / 25]])
    close(g.run(second, FEEDS), want.ravel().tolist())
    third = g.gradients(second[3][3], "d")
    close(g.run(third, FEEDS), 2 * 4.0 / 5.0 ** 3)


def test_forward_equations_are_not_repeated():
    """A gradient only adds what the graph lacks: of tanh its slope, from the value that is there."""
    with Graph() as g:
        x = g.placeholder((3,))
        h = np.tanh(x)
        for _ in range(3):
            h = np.tanh(h) * x
        y = np.sum(h)
    g.gradients(y, x)
    assert sum(e.op.name == "tanh" for e in g.eqns) == 4


def test_gradients_are_not_repeated():
    """What one gradient has added serves the next one."""
    with Graph() as g:
        x = g.placeholder((3,))
        h = np.tanh(np.tanh(x))
        y, z = np.sum(h ** 2), np.sum(np.exp(h))
    first = g.gradients(y, x)
    n = len(g.eqns)
    assert g.run(g.gradients(y, x), {x: X}).tolist() == g.run(first, {x: X}).tolist()
    assert len(g.eqns) == n
    dz, second = g.gradients(z, x), g.gradients(first, x)
    assert len({(e.sig, e.inputs) for e in g.eqns}) == len(g.eqns)
    f = lambda x: np.tanh(np.tanh(x))
    close(g.run([dz, second], {x: X}), [grad(lambda x: np.sum(np.exp(f(x))))(X),
                                        hessian(lambda x: np.sum(f(x) ** 2))(X).sum(0)])


# ----- semantics of tf.gradients -------------------------------------------------------------------------


def test_total_and_partial_derivatives():
    """The example of tf.gradients' documentation: y = a + b with b = 2 a."""
    with Graph() as g:
        a = g.placeholder()
        b = 2.0 * a
        y = a + b
    assert g.run(g.gradients(y, [a, b]), {a: 7.0}) == [3.0, 1.0]
    assert g.run(g.gradients(y, [a, b], stop_gradients=[a, b]), {a: 7.0}) == [1.0, 1.0]
    assert g.run(g.gradients(y, [a], stop_gradients=b), {a: 7.0}) == [1.0]


def test_chain_of_xs():
    with Graph() as g:
        x0 = g.placeholder((3,))
        x1 = np.sin(x0)
        x2 = x1 * x0
        y = np.sum(np.exp(x2) + x1)
    got = g.run(g.gradients(y, {"x0": x0, "x1": x1, "x2": x2, "y": y}), {x0: X})
    s, c = np.sin(X), np.cos(X)
    d2 = np.exp(s * X)
    d1 = d2 * X + 1.0
    close(got, {"x0": d1 * c + d2 * s, "x1": d1, "x2": d2, "y": 1.0})
    partial = g.gradients(y, [x0, x1, x2], stop_gradients=[x0, x1, x2], unconnected="zero")
    close(g.run(partial, {x0: X}), [np.zeros(3), np.ones(3), d2])


def test_ys_are_added_up():
    with Graph() as g:
        x = g.placeholder((3,))
        ys = [np.sin(x), x ** 2, np.sum(x)]
    close(g.run(g.gradients(ys, x), {x: X}), np.cos(X) + 2 * X + 1.0)
    close(g.run(g.gradients([ys[0], ys[0]], x), {x: X}), 2 * np.cos(X))
    close(g.run(g.gradients(x, x), {x: X}), np.ones(3))


def test_grad_ys():
    with Graph() as g:
        x, w = g.placeholder((3,)), g.placeholder((3,))
        y, z = np.sin(x), x ** 2
    close(g.run(g.gradients([y, z], x, grad_ys=[w, None]), {x: X, w: 2 * X}), 2 * X * np.cos(X) + 2 * X)
    close(g.run(g.gradients([y, z], x, grad_ys=[[1, 2, 3], np.ones(3)]), {x: X}),
          np.array([1, 2, 3]) * np.cos(X) + 2 * X)
    # of another symbol's gradient: a vector times the Hessian
    dz = g.gradients(z, x)
    close(g.run(g.gradients(dz, x, grad_ys=w), {x: X, w: X}), 2 * X)


def test_unconnected():
    with Graph() as g:
        a, b = g.placeholder(name="a"), g.placeholder((2,), "float32", name="b")
        y = a * 2.0
        flat = np.floor(b)
    assert g.gradients(y, [a, b])[1] is None
    assert g.gradients(flat, b) is None                     # every path has the derivative zero
    zero = g.gradients(y, b, unconnected="zero")
    assert zero.dtype == np.float32 and g.run(zero).tolist() == [0, 0]
    with pytest.raises(errors.GraphError, match=r"no y depends on xs\[1\] \(b:f32\[2\]\)"):
        g.gradients(y, [a, b], unconnected="raise")
    assert g.gradients(y, a, stop_gradients=y) is None


def test_integers_are_constants():
    with Graph() as g:
        n, x = g.placeholder((3,), "int64"), g.placeholder((3,))
        y = n * x
        ints = n * 2
    assert g.gradients(y, n) is None and g.gradients(ints, n) is None
    zeros = g.gradients(y, n, unconnected="zero")
    assert zeros.dtype == np.int64 and g.run(zeros).tolist() == [0, 0, 0]
    close(g.run(g.gradients([ints, y], x), {n: [1, 2, 3], x: X}), np.array([1.0, 2.0, 3.0]))


def test_complex():
    """Conventions are those of grad; complex ys need grad_ys."""
    z0 = np.array([1.0 + 2.0j, 0.5 - 1.0j])
    with Graph() as g:
        z = g.placeholder((2,), "complex128")
        w = z ** 2 * (1.0 + 0.5j)
        y = np.sum(np.abs(w))
    close(g.run(g.gradients(y, z), {z: z0}),
          grad(lambda z: np.sum(np.abs(z ** 2 * (1.0 + 0.5j))))(z0))
    close(g.run(g.gradients(w, z, grad_ys=np.ones(2, complex)), {z: z0}), 2 * z0 * (1.0 + 0.5j))
    with pytest.raises(errors.DtypeError, match="complex"):
        g.gradients(w, z)


def test_one_of_several_results_is_stopped():
    """A stopped result of an equation whose other results go on."""
    with Graph() as g:
        x = g.placeholder((3,))
        last, all_of_them = lax.scan(lambda c, _: (np.sin(c) * x, c), x, None, length=2)
        y = np.sum(last) + np.sum(all_of_them ** 2)
    assert len(g.eqns[0].outs) == 2

    def f(x, stop):
        last, them = lax.scan(lambda c, _: (np.sin(c) * x, c), x, None, length=2)
        return np.sum(last) + np.sum((functrans.stop_gradient(them) if stop else them) ** 2)

    close(g.run(g.gradients(y, x), {x: X}), grad(f)(X, False))
    close(g.run(g.gradients(y, x, stop_gradients=all_of_them), {x: X}), grad(f)(X, True))
    got = g.run(g.gradients(y, [x, all_of_them], stop_gradients=all_of_them), {x: X})
    close(got, [grad(f)(X, True), 2 * g.run(all_of_them, {x: X})])


# ----- functrans on symbols ----------------------------------------------------------------------------


@custom_vjp
def doubled_slope(x):
    return np.sin(x)


doubled_slope.defvjp(lambda x: (np.sin(x) + 0.0, np.cos(x)), lambda r, ct: (2.0 * ct * r,))


@custom_vjp
def sine(x):
    return np.sin(x)


sine.defvjp(lambda x: (np.sin(x), np.cos(x)), lambda r, ct: (ct * r,))


@custom_jvp
def cube(x):
    return x ** 3


cube.defjvp(lambda primals, tangents: (cube(primals[0]), 3.0 * primals[0] ** 2 * tangents[0]))
WEIGHTS = np.linspace(0.1, 1.0, 9).reshape(3, 3)

FUNCTIONS = {
    "scan": lambda x: np.sum(lax.scan(lambda c, w: (np.tanh(c * w), c), x, WEIGHTS)[0]),
    "while": lambda x: np.sum(lax.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, np.sin(s[1])),
                                             (0, x))[1]),
    "cond": lambda x: np.sum(lax.cond(x[0] > 0, np.sin, np.exp, x)),
    "fori": lambda x: np.sum(lax.fori_loop(0, 3, lambda i, c: c * x + i, x)),
    "linalg": lambda x: np.sum(np.linalg.solve(WEIGHTS + np.diag(x), x)) + np.linalg.slogdet(
        WEIGHTS @ WEIGHTS.T + np.diag(x ** 2 + 1))[1],
    "random": lambda x: np.sum(random.normal(random.key(3), (3,)) * x ** 2),
    "jit": lambda x: jit(lambda y: np.sum(np.tanh(WEIGHTS @ y)))(x),
    "vmap": lambda x: np.sum(vmap(lambda w: np.sum(w * x) ** 2)(WEIGHTS)),
    "grad": lambda x: np.sum(grad(lambda y: np.sum(np.sin(y) * x))(x ** 2)),
    "custom_vjp": lambda x: np.sum(sine(x) * x),
    "custom_jvp": lambda x: np.sum(cube(x) * x),
    "checkpoint": lambda x: np.sum(checkpoint(lambda y: np.sin(np.exp(y)))(x)),
    "index": lambda x: x[1] * np.sum(x[np.array([0, 2, 2])]) + np.sum(np.sort(x) * WEIGHTS[0]),
    "fft": lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2 * WEIGHTS[0]),
    "at": lambda x: np.sum(x.at[1].set(x[0] ** 2) ** 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_of_functrans_on_symbols(name):
    f = FUNCTIONS[name]
    with Graph() as g:
        x = g.placeholder((3,), name="x")
        y = f(x)
    dx = g.gradients(y, x)
    assert g.run(y, {x: X}) == jit(f)(X)
    close(g.run(dx, {x: X}), grad(f)(X))
    close(g.run([y, dx], {x: X}), [jit(f)(X), grad(f)(X)])
    ddx = g.gradients(dx, x, grad_ys=np.array([1.0, -2.0, 0.5]), unconnected="zero")
    close(g.run(ddx, {x: X}), hessian(f)(X) @ np.array([1.0, -2.0, 0.5]), rtol=1e-9, atol=1e-9)
    step = 1e-6 * np.eye(3)
    differences = [(g.run(y, {x: X + s}) - g.run(y, {x: X - s})) / 2e-6 for s in step]
    np.testing.assert_allclose(g.run(dx, {x: X}), differences, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, op, loops", [("scan", "scan", 2), ("while", "while", 1),
                                             ("custom_vjp", "custom_vjp_call", 0)])
def test_value_and_gradient_share_the_forward_part(name, op, loops):
    """What keeps residuals replaces what only computes the value; a scan goes back, too."""
    with Graph() as g:
        x = g.placeholder((3,))
        y = FUNCTIONS[name](x)
    dx = g.gradients(y, x)
    assert [e.op.name for e in g.jaxpr(y).eqns].count(op) == 1
    assert [e.op.name for e in g.jaxpr([y, dx]).eqns].count(op) == loops
    close(g.run([y, dx], {x: X}), [g.run(y, {x: X}), g.run(dx, {x: X})])


def test_rules_hold_for_every_derivative():
    """A user's derivative is also that of the symbol in the gradient's equations: d(f x) = f + 2 x cos, then
    4 cos - 2 x sin."""
    with Graph() as g:
        x = g.placeholder((3,))
        y = doubled_slope(x) * x
    dx = g.gradients(y, x)
    close(g.run(dx, {x: X}), np.sin(X) + 2 * X * np.cos(X))
    close(g.run(g.gradients(dx, x), {x: X}), 4 * np.cos(X) - 2 * X * np.sin(X))


def test_known_values_steer_python():
    """Constants have values; placeholders have none."""
    with Graph() as g:
        x, c = g.placeholder(), g.constant(3.0)
        y = x * 2 if c * 2 > 5 else x
        n = int(np.sum(g.constant([1, 2])))
        with pytest.raises(errors.TracerBoolError, match="a Graph"):
            bool(x > 0)
        with pytest.raises(errors.DerivativeLostError):
            float(x)
    assert g.run(y, {x: 4.0}) == 8.0 and n == 3


# ----- random graphs -------------------------------------------------------------------------------


OPS = [lambda a, b: a * b, lambda a, b: a + 2.0 * b, lambda a, b: np.sin(a), lambda a, b: np.tanh(a) - b,
       lambda a, b: np.exp(-a * a), lambda a, b: a / (b * b + 1.0), lambda a, b: sine(a) * 0.5,
       lambda a, b: lax.scan(lambda c, _: (np.sin(c) + b, c * a), a, None, length=2)[1][1],
       lambda a, b: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.cos(s[1] * b)), (0, a))[1]]


def rebuilt(plan, leaves, replaced):
    """All values of a random graph; those in ``replaced`` are given instead of computed."""
    values = list(leaves)
    for i, (op, a, b) in enumerate(plan, len(leaves)):
        values.append(replaced[i] if i in replaced else OPS[op](values[a % i], values[b % i]))
    return values


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(OPS) - 1), st.integers(0, 30), st.integers(0, 30)), min_size=1,
                max_size=14), st.data())
def test_random_graphs(plan, data):
    """Totals: derivative by what is added to an intermediate value; partials: with all xs given."""
    n = 2 + len(plan)
    chosen = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=4)))
    ys = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3))
    inputs = [np.array([0.3, -0.7]), np.array([1.1, 0.4])]
    with Graph() as g:
        leaves = [g.placeholder((2,)), g.placeholder((2,))]
        symbols = rebuilt(plan, leaves, {})
    xs, feeds = [symbols[i] for i in chosen], dict(zip(leaves, inputs, strict=True))
    total = g.gradients([symbols[i] for i in ys], xs, unconnected="zero")
    partial = g.gradients([symbols[i] for i in ys], xs, stop_gradients=xs, unconnected="zero")

    def shifted(shifts):
        """ys when something is added to each x where it is made."""
        values = []
        for i in range(n):
            op, a, b = plan[i - 2] if i > 1 else (0, 0, 0)
            v = inputs[i] if i < 2 else OPS[op](values[a % i], values[b % i])
            values.append(v + shifts[chosen.index(i)] if i in chosen else v)
        return sum(np.sum(values[i]) for i in ys)

    close(g.run(total, feeds), grad(shifted)([np.zeros(2)] * len(chosen)), rtol=1e-9, atol=1e-9)
    at = g.run(symbols, feeds)

    def given_xs(xs):
        fixed = dict(zip(chosen, xs, strict=True))
        values = rebuilt(plan, [fixed.get(i, x) for i, x in enumerate(inputs)], fixed)
        return sum(np.sum(values[i]) for i in ys)

    close(g.run(partial, feeds), grad(given_xs)([at[i] for i in chosen]), rtol=1e-9, atol=1e-9)
    both = g.run([total, [symbols[i] for i in ys]], feeds)
    close(both, [g.run(total, feeds), [at[i] for i in ys]])
    # by the leaves: what depends on an intermediate value in the first derivative is a matter of its form
    second = g.gradients(g.gradients([symbols[i] for i in ys], leaves, unconnected="zero"), leaves,
                         unconnected="zero")
    value = lambda leaves: sum(np.sum(rebuilt(plan, leaves, {})[i]) for i in ys)
    slope = lambda leaves: sum(np.sum(ct) for ct in grad(value)(leaves))
    close(g.run(second, feeds), grad(slope)(inputs), rtol=1e-8, atol=1e-8)
    # feeding the xs cuts the graph where given_xs does
    values = g.run([symbols[i] for i in ys], {**feeds, **{symbols[i]: at[i] * 1.5 for i in chosen}})
    fixed = {i: at[i] * 1.5 for i in chosen}
    want = rebuilt(plan, [fixed.get(i, x) for i, x in enumerate(inputs)], fixed)
    close(values, [want[i] for i in ys])


# ----- functions ------------------------------------------------------------------------------------------


def test_gradients_of_functions():
    f = lambda p, x: {"a": p["w"] * x, "n": 3, "b": np.sum(p["w"]) ** 2}
    p = {"w": X, "unused": 2.0, "n": np.arange(2)}
    got = gradients(f)(p, 2.0)
    close(got["w"], 2.0 + 2 * np.sum(X) + np.zeros(3))
    assert got["unused"] is None and got["n"] is None
    zero = gradients(f, (0, 1), unconnected="zero")(p, 2.0)
    assert zero[0]["unused"] == 0.0 and zero[0]["n"].tolist() == [0, 0] and zero[0]["n"].dtype == np.int64
    close(zero[1], np.sum(X))
    weighted = gradients(f, 1, {"a": [1, 2, 3], "n": None, "b": None})
    close(weighted(p, 2.0), np.sum(X * [1, 2, 3]))
    close(jit(weighted)(p, 2.0), np.sum(X * [1, 2, 3]))
    close(gradients(gradients(np.sin))(X), -np.sin(X))
    with pytest.raises(errors.GraphError, match=r"p\['unused'\]:f64\[\]"):
        gradients(f, unconnected="raise")(p, 2.0)


def test_gradients_of_functions_sees_values():
    f = lambda x: [x * 2.0 if x > 0 else x * 3.0, np.floor(x)]
    assert gradients(f)(1.0) == 2.0 and gradients(f)(-1.0) == 3.0
    assert gradients(np.floor)(1.0) is None


def one_by_one(g, fetches, feeds):
    """What a run means: each equation on the values of its operands, but for what is fed."""
    values = {var_of(s): np.asarray(x) for s, x in feeds.items()}
    for e in g.eqns:
        args = tuple([values.get(x) if type(x) is Var else x for x in e.inputs])
        if all([x is not None for x in args]):
            outs = run_op(e.op, args, e.params)
            for v, x in zip(e.outs, outs if e.sig.multiple else [outs], strict=True):
                values.setdefault(v, x)
    return [values[var_of(s)] for s in fetches]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(OPS) - 2), st.integers(0, 30), st.integers(0, 30)), min_size=1,
                max_size=10), st.data())
def test_runs_of_random_graphs(plan, data):
    """Any symbols fetched, any fed: also gradients, and what they are made of."""
    with Graph() as g:
        leaves = [g.placeholder((2,)), g.placeholder((2,))]
        symbols = rebuilt(plan, leaves, {})
    first = g.gradients(symbols[-1], symbols[:4], unconnected="zero")
    second = g.gradients(first, leaves, unconnected="zero")
    everything = {g.label(s): s for s in (*symbols, *first, *second)}
    feeds = dict(zip(leaves, ([0.3, -0.7], [1.1, 0.4]), strict=True))
    fed = data.draw(st.sets(st.sampled_from(sorted(everything)), max_size=3))
    feeds = {g.label(s): x for s, x in feeds.items()}
    feeds.update({name: np.array([0.5, 1.5]) * (i + 1) for i, name in enumerate(sorted(fed))})
    fetches = data.draw(st.lists(st.sampled_from(sorted(everything)), min_size=1, max_size=6))
    want = one_by_one(g, [everything[name] for name in fetches], {g[name]: x for name, x in feeds.items()})
    close(g.run(fetches, feeds), want, rtol=1e-9, atol=1e-9)
