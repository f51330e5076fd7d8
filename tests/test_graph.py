"""Graphs: gradients between symbols against closed forms, differences and grad; runs of parts."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans
from functrans import (
    Graph,
    checkpoint,
    custom_jvp,
    custom_vjp,
    debug,
    debug_nans,
    errors,
    grad,
    gradients,
    hessian,
    jit,
    lax,
    make_jaxpr,
    name_scope,
    pure_callback,
    random,
    vmap,
)

X = np.array([0.5, -1.0, 2.0])


def four_leaves():
    """e = a*b + c*log(d), its symbols by name."""
    with Graph() as g:
        a, b, c, d = [g.placeholder(name=n) for n in "abcd"]
        g["e"] = a * b + c * np.log(d)
    return g


FEEDS = {"a": 2.0, "b": 3.0, "c": 4.0, "d": 5.0}


def close(got, want, **how):
    for x, y in zip(functrans.tree.leaves(got), functrans.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-12, "atol": 1e-12, **how})


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
    if name != "cond":
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


# ----- runs ----------------------------------------------------------------------------------------------


def test_only_what_is_needed_runs():
    seen = []

    def note(x):
        seen.append(float(x))
        return np.float64(x)

    def noted(x):
        return pure_callback(note, functrans.ShapeDtypeStruct((), "float64"), x)

    with Graph() as g:
        x = g.placeholder()
        a, b = noted(x + 1.0), noted(x + 2.0)
        c = a * 10.0
    assert g.run(c, {x: 0.0}) == 10.0 and seen == [1.0]
    assert g.run(c, {a: 5.0}) == 50.0 and seen == [1.0]
    assert g.run([b, c], {x: 0.0, a: 7.0}) == [2.0, 70.0] and seen == [1.0, 2.0]


def test_effects_follow_what_is_there(capfd):
    with Graph() as g:
        x = g.placeholder()
        h = np.exp(x)
        debug.print("h = {}", h)
        y = h * 2.0
    dx = g.gradients(y, x)

    def printed(*how):
        g.run(*how)
        return capfd.readouterr().out.count("h = ")
    assert printed(y, {x: 0.0}) == 1 and printed(y, {x: 0.0}) == 1
    assert printed(x, {x: 0.0}) == 0            # h is not computed
    assert printed(y, {h: 3.0}) == 1            # but given
    assert printed([y, dx], {x: 0.0}) == 1      # once, not again for the gradient
    with g:
        debug.print("again h = {}", h)
    assert printed(y, {x: 0.0}) == 2


def test_fetches_and_feeds():
    with Graph() as g:
        p = {"w": g.placeholder((3,), name="w"), "b": g.placeholder(name="b")}
        x = g.placeholder((3,), name="x")
        y = np.sum(p["w"] * x) + p["b"]
    values = {"w": X, "b": 1.0}
    want = np.sum(X * 2.0) + 1.0
    got = g.run({"y": y, "same": [y, None, (p["b"],)]}, [(p, values), (x, 2 * np.ones(3))])
    assert got == {"y": want, "same": [want, None, (1.0,)]}
    assert g.run((y, "b"), {"w": X, "b": 1, x: [2, 2, 2]}) == (want, 1.0)
    assert g.run([], {}) == []
    out = g.run(x, {x: X})
    out[0] = 100.0
    assert X[0] == 0.5 and type(g.run(p["b"], {"b": 1})) is np.float64


def test_feeds_are_converted_where_nothing_is_lost():
    with Graph() as g:
        x32, n, z, flag = (g.placeholder((2,), t) for t in ("float32", "int8", "complex64", "bool"))
    assert g.run(x32, {x32: [0.1, 2]}).tolist() == np.array([0.1, 2], "float32").tolist()
    assert g.run(x32, {x32: np.array([1, 2], "int16")}).dtype == np.float32
    assert g.run(n, {n: [100, -100]}).dtype == np.int8
    assert g.run(z, {z: [1.5, True]}).tolist() == [1.5, 1.0]
    for symbol, value in ((x32, np.ones(2)), (n, [1.5, 2.0]), (n, [1000, 0]), (n, np.ones(2, "int64")),
                          (flag, [1, 0]), (x32, ["a", "b"]), (x32, None)):
        with pytest.raises(errors.DtypeError):
            g.run(symbol, {symbol: value})


def test_training_loop_outside_of_the_block():
    """Symbols are kept; the graph is extended between runs."""
    rng = np.random.default_rng(0)
    data, true = rng.normal(size=(50, 3)), np.array([1.0, -2.0, 0.5])
    with Graph() as g:
        w, inputs, targets = g.placeholder((3,)), g.placeholder((50, 3)), g.placeholder((50,))
        loss = np.mean((inputs @ w - targets) ** 2)
    dw = g.gradients(loss, w)
    with g:
        new = w - 0.1 * dw
    value = np.zeros(3)
    for _ in range(200):
        value, last = g.run([new, loss], {w: value, inputs: data, targets: data @ true})
    with g:
        size = np.sum(new ** 2)
    close(value, true, atol=1e-6)
    assert last < 1e-10 and g.run(size, {new: value}) == np.sum(value ** 2)


def test_plans_are_kept():
    functrans.clear_caches()
    traced = []
    with Graph() as g:
        x = g.placeholder((3,))
        y = np.sin(x)
    before = functrans.cache_info()["plans"].misses
    for turn in range(5):
        close(g.run([y], {x: X * turn}), [np.sin(X * turn)])
        close(g.run(y, {x: list(X * turn)}), np.sin(X * turn))
        traced.append(functrans.cache_info()["plans"].misses)
    assert traced[0] > before and len(set(traced)) == 1
    with g:
        z = y * 2.0
    close(g.run([y, z], {x: X}), [np.sin(X), 2 * np.sin(X)])
    close(g.run(y, {x: X}), np.sin(X))


def test_threads_run_one_graph():
    with Graph() as g:
        x = g.placeholder((1000,))
        y = np.sin(x) * 2.0
    dx = g.gradients(y, x)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(50):
            v = rng.normal(size=1000)
            a, b = g.run([y, dx] if seed % 2 else (y, dx), {x: v})
            if not (np.allclose(a, 2 * np.sin(v)) and np.allclose(b, 2 * np.cos(v))):
                wrong.append(seed)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_runs_are_transformed():
    """A run on traced values is part of their program."""
    g = four_leaves()
    da = g.gradients("e", "a")

    def f(a, d):
        return g.run("e", {"a": a, "b": 3.0, "c": 4.0, "d": d})
    assert grad(f)(2.0, 5.0) == 3.0 and grad(f, 1)(2.0, 5.0) == pytest.approx(0.8)
    close(vmap(f, in_axes=(0, None))(X, 1.0), 3 * X)
    assert jit(lambda b: g.run(da, {"b": b}))(7.0) == 7.0


def test_function():
    g = four_leaves()
    f = g.function([g["a"], [g["b"], g["c"]], g["d"]], {"e": g["e"]})
    assert f(2.0, [3.0, 4.0], 5.0) == {"e": 6.0 + 4.0 * np.log(5.0)}
    assert f(2, [3, 4], np.float64(5.0))["e"] == 6.0 + 4.0 * np.log(5.0)
    assert grad(lambda *args: f(*args)["e"])(2.0, [3.0, 4.0], 5.0) == 3.0
    with pytest.raises(errors.ShapeError, match="the value of a"):
        f(np.ones(2), [3.0, 4.0], 5.0)


def test_debug_nans_looks_at_runs():
    g = four_leaves()
    g.run("e", FEEDS)
    with debug_nans(), pytest.raises(errors.NonFiniteError, match="log gave"):
        g.run("e", {**FEEDS, "d": -1.0})


# ----- names, scopes, printing ------------------------------------------------------------------------------


def test_names():
    with Graph() as g:
        a = g.placeholder(name="a")
        with name_scope("layer"):
            h = np.sin(a)
            g["h"] = h
            k = g.constant(2.0, name="k")
        y = h * k
    assert g["a"] is a and g["layer/h"] is h and "layer/k" in g and "h" not in g and y in g
    assert g.label(y) == "%3" and g["%3"] is not None
    assert g.run(["%3", "layer/h"], {"a": 0.5}) == [2 * np.sin(0.5), np.sin(0.5)]
    assert "a" in g and Graph().placeholder() not in g
    assert [g.label(x) for x in g.placeholders] == ["a"]


def test_scopes_of_gradients():
    """Backward equations keep the scopes of those that they belong to, whichever scope is open then."""
    def layer(x, name):
        with name_scope(name):
            return np.tanh(x)
    with Graph() as g:
        x = g.placeholder((3,))
        y = np.sum(layer(doubled_slope(layer(x, "one")), "two"))
        n = len(g.eqns)
        with name_scope("training"):
            g.gradients(y, x)
    added = g.eqns[n:]
    assert {e.scope for e in added} == {("one",), ("two",), None}
    for e in added:
        assert g.origin(e) in g.eqns[:n] and g.origin(e).scope == e.scope
        assert e.src == g.origin(e).src or g.origin(e).op.name == "custom_vjp_call"
    assert {g.origin(e).op.name for e in added} >= {"tanh", "custom_vjp_call"}
    assert all(g.origin(e) is None for e in g.eqns[:n])


def test_run_by_scope():
    with Graph() as g:
        x = g.placeholder((2,), name="x")
        for i in range(2):
            with name_scope(f"layer{i}"):
                x = np.tanh(x * 2.0)
    g.gradients(x, "x")
    got = g.run(g.symbols("layer1", backward=False), {"x": [0.1, 0.2]})
    assert len(got) == 2
    close(got[g.label(x)], np.tanh(2 * np.tanh([0.2, 0.4])))
    assert set(g.symbols("layer1")) > set(got) and not set(g.symbols("layer0")) & set(g.symbols("layer1"))
    assert g.symbols("layer") == {}


def test_printed():
    g = four_leaves()
    assert str(g) == """graph(a:f64[], b:f64[], c:f64[], d:f64[])
  %4:f64[] = mul(a, b)
  %5:f64[] = log(d)
  %6:f64[] = mul(c, %5)
  e:f64[] = add(%4, %6)"""
    text = g.show(sources=True)
    assert text.count("test_graph.py:") == 4 and repr(g) == "<Graph of 4 equations, 4 placeholders>"
    with g:
        g["shift"] = g["e"] + np.arange(3.0)
    assert "constant [0. 1. 2.]" in str(g)


def test_arrays_are_captured_as_they_are():
    w = np.ones(3)
    with Graph() as g:
        x = g.placeholder((3,))
        y = jit(lambda v: v * w)(x) + grad(lambda v: np.sum(v * w))(x) + x * w
        w[:] = 100.0
    w[:] = 200.0
    close(g.run(y, {x: X}), 2 * X + 1.0)
    assert w.flags.writeable


# ----- graphs of functions --------------------------------------------------------------------------------


def test_graph_of_a_function():
    def loss(params, x):
        with name_scope("net"):
            h = np.tanh(x @ params["w"])
        return np.sum(h ** 2), {"h": h, "one": 1.0}
    params = {"w": WEIGHTS}
    g = Graph.of(loss, params, X)
    value, parts = g.results
    assert [g.label(s) for s in g.placeholders] == ["params['w']", "x"]
    h = np.tanh(X @ WEIGHTS)
    feeds = [(g.arguments, (params, X))]
    got, aux = g.run(g.results, feeds)
    close([got, aux["h"], aux["one"]], [np.sum(h ** 2), h, 1.0])
    close(g.run(g.gradients(value, g.arguments[0]["w"]), feeds), grad(lambda p: loss(p, X)[0])(params)["w"])
    close(g.run(g.gradients(value, parts["h"]), {"params['w']": WEIGHTS, "x": X}), 2 * h)


def test_derivatives_run_in_part():
    """The program of a derivative is a graph as any: its intermediate values, and its own derivative."""
    f = lambda x: np.sum(np.sin(x) ** 2)
    g = Graph.of(grad(f), X)
    again = Graph.from_jaxpr(make_jaxpr(grad(f))(X))
    for h in (g, again):
        result = functrans.tree.leaves(h.results)[0]
        close(h.run(result, [(h.arguments, (X,))]), np.sin(2 * X))
        close(h.run(h.gradients(result, h.arguments[0]), [(h.arguments, (X,))]), 2 * np.cos(2 * X))
        cosine = next(e for e in h.eqns if e.op.name == "cos")
        close(h.run(h.outputs(cosine), {h.arguments[0]: X})[0], np.cos(X))
    assert any(e.backward for e in g.eqns)


# ----- random graphs -------------------------------------------------------------------------------


OPS = [lambda a, b: a * b, lambda a, b: a + 2.0 * b, lambda a, b: np.sin(a), lambda a, b: np.tanh(a) - b,
       lambda a, b: np.exp(-a * a), lambda a, b: a / (b * b + 1.0)]


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
