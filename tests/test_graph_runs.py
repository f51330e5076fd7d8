"""Runs of parts of graphs, names and scopes, printing, graphs of functions."""

import threading
from collections import namedtuple

import numpy as np
import pytest
from graphs_by_hand import FEEDS, close, four_leaves

import functrans
from functrans import (
    Graph,
    custom_vjp,
    debug,
    debug_nans,
    errors,
    grad,
    jit,
    lax,
    make_jaxpr,
    name_scope,
    pure_callback,
    vmap,
)

X = np.array([0.5, -1.0, 2.0])
WEIGHTS = np.linspace(0.1, 1.0, 9).reshape(3, 3)


@custom_vjp
def doubled_slope(x):
    return np.sin(x)


doubled_slope.defvjp(lambda x: (np.sin(x) + 0.0, np.cos(x)), lambda r, ct: (2.0 * ct * r,))


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


def test_one_of_several_results_is_fed():
    """The equation runs for the other one."""
    with Graph() as g:
        x = g.placeholder()
        last, states = lax.scan(lambda c, _: (c * 2.0, c), x, None, length=3)
        y = last + np.sum(states)
    assert g.run(y, {x: 1.0}) == 15.0 and g.run(y, {x: 1.0, last: 100.0}) == 107.0
    assert g.run([y, last], {x: 1.0, states: np.zeros(3)}) == [8.0, 8.0]


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


def test_effects_of_loops_and_of_rules(capfd):
    """A loop acts once a turn, though its gradient has a loop of its own; a backward rule where needed."""
    @custom_vjp
    def f(x):
        return np.sin(x)

    def backward(cosine, ct):
        debug.print("backward")
        return (ct * cosine,)
    f.defvjp(lambda x: (np.sin(x), np.cos(x)), backward)

    def turn(c, _):
        debug.print("turn")
        return np.sin(c) * c, None
    with Graph() as g:
        x = g.placeholder()
        y = lax.scan(turn, x, None, length=3)[0] + f(x)
    dx = g.gradients(y, x)
    for fetches, turns, rules in ((y, 3, 0), (dx, 3, 1), ([y, dx], 3, 1), ([dx, x, y], 3, 1)):
        for _ in range(2):
            g.run(fetches, {x: 0.5})
            out = capfd.readouterr().out
            assert (out.count("turn"), out.count("backward")) == (turns, rules)


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


def test_plans_are_told_apart():
    """By the symbols and the containers of each call, also where a list was changed meanwhile."""
    Pair = namedtuple("Pair", "first second")
    with Graph() as g:
        x = g.placeholder()
        y, z = x + 1.0, x * 10.0
    wanted = [y, z]
    a, b = 3.0, 20.0
    for make, want in ((lambda: wanted, [a, b]), (lambda: (y, z), (a, b)), (lambda: [z, y], [b, a]),
                       (lambda: [y, [z]], [a, [b]]), (lambda: [[y], z], [[a], b]),
                       (lambda: {"y": y, "z": z}, {"y": a, "z": b}),
                       (lambda: {"y": y, "w": z}, {"y": a, "w": b}),
                       (lambda: Pair(y, z), Pair(a, b)), (lambda: Pair(z, None), Pair(b, None)),
                       (lambda: [y, None], [a, None]), (lambda: [y], [a]), (lambda: y, a)) * 2:
        for feeds in ({x: 2.0}, {x: 2}, {x: np.float64(2.0)}, [(x, 2.0)], {x: 2.0, z: b}, {z: b, x: 2.0}):
            got = g.run(make(), feeds)
            assert got == want and type(got) in (type(want), np.float64)
    wanted.reverse()
    assert g.run(wanted, {x: 2.0}) == [20.0, 3.0]
    assert g.run([y, z], {x: 2.0, z: 5.0}) == [3.0, 5.0]
    with pytest.raises(errors.ShapeError):
        g.run(y, {x: np.ones(1)})


def test_pairs_are_told_apart():
    with Graph() as g:
        p = {"w": g.placeholder((2,)), "b": g.placeholder()}
        x = g.placeholder((2,))
        y = np.sum(p["w"] * x) + p["b"]
    w, b, v = np.array([1.0, 2.0]), 3.0, np.array([10.0, 1.0])
    for _ in range(2):
        for feeds in ([(p, {"w": w, "b": b}), (x, v)], [(x, v), (p, {"w": w, "b": b})],
                      [(p["w"], w), (p["b"], b), (x, v)], [([p["w"], x], [w, v]), (p["b"], b)],
                      [([p["w"], x], [w, [10, 1]]), (p["b"], 3)], [([x, p["w"]], [v, w]), [p["b"], b]],
                      [((p, x), ({"w": w, "b": b}, v))],
                      {(p["w"], x): (w, v), (p["b"],): (b,)}, ((p, {"w": w, "b": b}), (x, v)),
                      {p["w"]: w, p["b"]: b, x: v}):
            assert g.run(y, feeds) == 15.0
        assert g.run(y, [((p, x), ({"w": 2 * w, "b": b}, v))]) == 27.0
        for wrong in ([(p, {"w": w}), (x, v)], [((p, x), ({"w": w, "b": b},))]):
            with pytest.raises(errors.TreeError):
                g.run(y, wrong)
        with pytest.raises(errors.ShapeError):
            g.run(y, [(p, {"w": b, "b": b}), (x, v)])


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
    assert text.count("graphs_by_hand.py:") == 4 and repr(g) == "<Graph of 4 equations, 4 placeholders>"
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


def test_derivatives_are_listed():
    g = four_leaves()
    da, again, dd = g.gradients("e", ["a", "a", "d"])
    second = g.gradients([dd, "e"], "c")
    assert g.gradients("a", "b") is None
    found = [([g.label(y) for y in d.ys], g.label(d.x), d.symbol) for d in g.derivatives]
    assert da is again and found == [(["e"], "a", da), (["e"], "d", dd), ([g.label(dd), "e"], "c", second)]


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


def test_graph_of_a_program_with_constant_results():
    g = Graph.from_jaxpr(make_jaxpr(lambda x: (x, 2.0, X))(1.0))
    captured = g.arguments[1]                   # as the program has it: an input behind the arguments
    close(g.run(g.results, {"x": 5.0, captured: X}), [5.0, 2.0, X])
    assert not any(e.backward for e in g.eqns)
    one = g.gradients(g.results[0], "x")        # a literal, too, but of a gradient
    assert g.run(one, {}) == 1.0 and g.eqns[-1].backward


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
