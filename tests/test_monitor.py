"""Tags and monitors: statistics against NumPy's, values that nothing changes, warnings, and what is kept."""

import pickle
import sys
import warnings

import numpy as np
import pytest
from failing import Cases

from functrans import (
    checkpoint,
    errors,
    grad,
    hvp,
    jit,
    jvp,
    lax,
    linear_transpose,
    make_jaxpr,
    monitor,
    name_scope,
    tag,
    tree,
    value_and_grad,
    vjp,
    vmap,
)
from functrans import errors as E
from functrans.monitoring import MonitorWarning
from functrans.tensorboard import SummaryWriter

rng = np.random.default_rng(3)
W = {"first": rng.normal(size=(20, 30)) / 5, "bias": np.zeros(30), "second": rng.normal(size=(30, 7)) / 5}
X, Y = rng.normal(size=(40, 20)), rng.normal(size=(40, 7))


def net(w, x, y):
    h = tag("hidden", np.maximum(x @ w["first"] + w["bias"], 0))
    z = tag("out", h @ w["second"])
    return np.mean((z - y) ** 2)


def by_hand(w, x, y):
    """Activations and gradients of ``net``, written out."""
    a = x @ w["first"] + w["bias"]
    h = np.maximum(a, 0)
    z = h @ w["second"]
    dz = 2 * (z - y) / z.size
    dh = dz @ w["second"].T
    da = dh * (a > 0)
    return {"hidden": (h, dh), "out": (z, dz)}, {"first": x.T @ da, "bias": da.sum(0), "second": h.T @ dz}


def same(series, x, at=-1):
    """Whether a Series tells NumPy's statistics of x."""
    x = np.abs(np.asarray(x)).astype(float) if np.iscomplexobj(x) else np.asarray(x, float)
    finite = x[np.isfinite(x)]
    assert series.count[at] == x.size and series.nonfinite[at] == x.size - finite.size
    for name, want in (("zeros", np.mean(x == 0)), ("mean", finite.mean()), ("std", finite.std()),
                       ("rms", np.sqrt(np.mean(finite ** 2))), ("norm", np.linalg.norm(finite)),
                       ("min", finite.min()), ("max", finite.max())):
        np.testing.assert_allclose(getattr(series, name)[at], want, rtol=1e-5, atol=1e-12, err_msg=name)


def assert_bits(got, want):
    pairs = zip(tree.leaves(got), tree.leaves(want), strict=True)
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


# ----- what is seen -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["plain", "jit"])
def test_layers_and_parameters(wrap):
    m = monitor(wrap(value_and_grad(net)))
    assert_bits(m(W, X, Y), jit(value_and_grad(net))(W, X, Y))
    layers, parameters = by_hand(W, X, Y)
    assert m.layers == ["hidden", "out"] and m.parameters == ["bias", "first", "second"]
    for name, (value, gradient) in layers.items():
        same(m[name].activation, value)
        same(m[name].gradient, gradient)
    for name, gradient in parameters.items():
        same(m[name].gradient, gradient)
        assert m[name].activation is None
    assert "hidden" in str(m) and len(m) == 5 and list(m) == ["hidden", "out", "bias", "first", "second"]


def test_history():
    m = monitor(grad(net), histograms=3)
    w = dict(W)
    for k in range(7):
        w["second"] = W["second"] * (k + 1)
        m(w, X, Y)
    s = m["out"].activation
    assert s.steps.tolist() == list(range(7)) and sorted(s.histograms) == [0, 3, 6]
    for k in range(7):
        w["second"] = W["second"] * (k + 1)
        same(s, by_hand(w, X, Y)[0]["out"][0], k)
    limits, counts = s.histograms[6]
    z = by_hand(w, X, Y)[0]["out"][0].ravel()
    want = np.bincount(np.searchsorted(limits, z, "right"), minlength=len(limits))
    np.testing.assert_array_equal(counts, want)
    m.reset()
    assert m.step == 0 and m.layers == []


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.complex128])
def test_dtypes(dtype):
    def f(x):
        return np.sum(np.abs(tag("t", x * 2)) ** 2)
    x = (rng.normal(size=50) + (1j * rng.normal(size=50) if dtype == np.complex128 else 0)).astype(dtype)
    m = monitor(grad(f))
    assert_bits(m(x), jit(grad(f))(x))
    series, want = m["t"].activation, (np.abs(x * 2) if dtype == np.complex128 else x * 2).astype(float)
    np.testing.assert_allclose([series.norm[0], series.max[0]], [np.linalg.norm(want), want.max()], rtol=1e-3)


def test_integers_and_trees():
    def f(x):
        both = tag("both", {"n": np.arange(3) * 0 + np.argmax(x), "y": [x * 2]})
        return np.sum(both["y"][0])
    m = monitor(grad(f))
    m(np.array([1.0, 5.0, 2.0]))
    assert m.layers == ["both/n", "both/y/0"]
    assert m["both/n"].activation.max[0] == 1 and m["both/n"].gradient is None
    assert m["both/y/0"].gradient.mean[0] == 1


def test_changing_shapes():
    m = monitor(grad(net))
    m(W, X, Y)
    m(W, X[:9], Y[:9])
    assert m["hidden"].activation.count.tolist() == [40 * 30, 9 * 30]


@pytest.mark.parametrize("argnums, names", [(0, ["w"]), (1, ["x"]), ((0, 1), ["w", "x"])])
def test_names_of_parameters(argnums, names):
    m = monitor(grad(lambda w, x: np.sum(w * x), argnums=argnums))
    m(np.ones(3), np.ones(3))
    assert m.parameters == names and m.layers == []
    m = monitor(value_and_grad(lambda w, x: (np.sum(w * x), x), has_aux=True))
    m(np.ones(3), np.ones(3))
    assert m.parameters == ["w"]


# ----- transforms ---------------------------------------------------------------------------------------


def steps(w, x):
    """A recurrent net, turn by turn: its states and the gradients that arrive at them."""
    hs, h = [], np.zeros(len(w))
    for row in x:
        h = np.tanh(w @ h + row)
        hs.append(h)
    ds, d = [], 2 * h
    for h in reversed(hs):
        ds.append(d)
        d = w.T @ (d * (1 - h * h))
    return np.array(hs), np.array(ds)


R, XS = rng.normal(size=(4, 4)), rng.normal(size=(6, 4))


def by_scan(w, xs):
    return np.sum(lax.scan(lambda h, x: (tag("h", np.tanh(w @ h + x)), None), np.zeros(4), xs)[0] ** 2)


def by_while(w, xs):
    def body(c):
        i, h = c
        return i + 1, tag("h", np.tanh(w @ h + xs[i]))
    return np.sum(lax.while_loop(lambda c: c[0] < 6, body, (0, np.zeros(4)))[1] ** 2)


def by_python(w, xs):
    h = np.zeros(4)
    for x in xs:
        h = tag("h", np.tanh(w @ h + x))
    return np.sum(h ** 2)


def by_checkpoint(w, xs):
    cell = checkpoint(lambda w, h, x: tag("h", np.tanh(w @ h + x)))
    return np.sum(lax.scan(lambda h, x: (cell(w, h, x), None), np.zeros(4), xs, checkpoint=2)[0] ** 2)


@pytest.mark.parametrize("f", [by_scan, by_while, by_python, by_checkpoint])
def test_loops_are_looked_at_whole(f):
    m = monitor(grad(f))
    assert_bits(m(R, XS), jit(grad(f))(R, XS))
    hs, ds = steps(R, XS)
    a, g = m["h"].activation, m["h"].gradient
    np.testing.assert_allclose([a.rms[0], a.max[0], a.min[0]],
                               [np.sqrt(np.mean(hs ** 2)), hs.max(), hs.min()])
    np.testing.assert_allclose([g.norm[0], g.max[0], g.min[0]], [np.linalg.norm(ds), ds.max(), ds.min()])
    assert g.count[0] == 24 and (f is by_checkpoint or a.count[0] == 24)      # which runs turns again


def test_nested_loops():
    def f(x):
        def outer(h, _):
            h, _ = lax.scan(lambda h, _: (tag("in", h * 1.5), None), h, None, length=3)
            return tag("out", h), None
        return np.sum(lax.scan(outer, x, None, length=2)[0])
    m = monitor(grad(f), histograms=1)
    m(np.ones(2))
    powers = 1.5 ** np.arange(1, 7)
    same(m["in"].activation, np.repeat(powers, 2))
    same(m["out"].activation, np.repeat(powers[[2, 5]], 2))
    same(m["in"].gradient, np.repeat(powers[:6] / 1.5, 2))
    assert sum(m["in"].activation.histograms[0][1]) == 12


def test_vmap_is_looked_at_whole():
    def f(w, x):
        return np.sum(tag("h", np.tanh(w @ x)) ** 2)
    m = monitor(vmap(grad(f), (None, 0)))
    got = m(R, XS)
    assert_bits(got, jit(vmap(grad(f), (None, 0)))(R, XS))
    h = np.tanh(XS @ R.T)
    same(m["h"].activation, h)
    same(m["h"].gradient, 2 * h)
    same(m["w"].gradient, got)


def test_branches():
    def f(x):
        return np.sum(lax.cond(x[0] > 0, lambda x: tag("pos", x * 2), lambda x: tag("neg", x * 3), x))
    m = monitor(grad(f))
    for sign in (1, 1, -1):
        m(sign * np.ones(5))
    assert m["pos"].activation.count.tolist() == [5, 5, 0] and m["neg"].activation.count.tolist() == [0, 0, 5]
    assert m["pos"].activation.max[:2].tolist() == [2, 2] and np.isnan(m["pos"].activation.max[2])


def test_other_modes():
    def f(x):
        return np.sum(tag("h", np.sin(x)) ** 3)
    x = np.array([0.5, 1.0])
    m = monitor(lambda x, t: jvp(f, (x,), (t,)))
    m(x, np.ones(2))
    same(m["h"].tangent, np.cos(x))
    m = monitor(lambda x: vjp(f, x)[1](2.0))
    m(x)
    same(m["h"].gradient, 6 * np.sin(x) ** 2)
    m = monitor(lambda t: linear_transpose(lambda x: np.sum(tag("h", 3 * x)), np.ones(2))(t))
    m(2.0)
    same(m["h"].gradient, [2.0, 2.0])
    m = monitor(hvp(f))
    assert_bits(m(x, np.ones(2)), jit(hvp(f))(x, np.ones(2)))


def test_the_outer_gradient_has_the_name():
    """Of a loss that holds a gradient, what is seen is the gradient of the loss."""
    def g(x):
        return tag("h", x ** 2) ** 2

    def loss(x):
        return grad(g)(x) ** 2          # with h = x^2: (2 h 2 x)^2, of which d/dh = 2 (2 h 2 x) 4 x
    m = monitor(grad(loss))
    assert m(1.5) == pytest.approx(96 * 1.5 ** 5)
    x = 1.5
    assert m["h"].gradient.max[0] == pytest.approx(2 * (4 * x ** 3) * 4 * x)


def test_tags_survive_and_cost_no_bits():
    """With a monitor and without, also where values are only seen on their way."""
    def f(w, x):
        h = tag("a", np.sin(x) * w)
        return np.mean(tag("b", h * h + 1.0) ** 0.5) + np.sum(tag("c", np.mean(h, axis=0)))
    for shape in ((5, 3), (300, 70), (4000, 33)):
        w, x = rng.normal(size=shape), rng.normal(size=shape)
        for histograms in (0, 1):
            m = monitor(value_and_grad(f), histograms=histograms, warn=False)
            assert_bits(m(w, x), jit(value_and_grad(f))(w, x))
    a = np.sin(3.0) * 2.0
    assert f(np.array([2.0]), np.array([3.0])) == pytest.approx(np.sqrt(a * a + 1) + a)
    names = [e.op.name for e in make_jaxpr(vmap(grad(f)))(np.ones((3, 4)), np.ones((3, 4))).eqns]
    assert names.count("tag") >= 4


def test_a_small_tag_leaves_no_trace():
    assert [e.op.name for e in jit(lambda x: tag("t", x * 2.0)).jaxpr(np.ones(3)).eqns] == ["mul"]


# ----- scopes -------------------------------------------------------------------------------------------


def scoped(w, x, y):
    with name_scope("lower"):
        h = np.maximum(x @ w["first"] + w["bias"], 0)
    with name_scope("upper"):
        with name_scope("linear"):
            z = h @ w["second"]
        z = z * 1.0
    return np.mean((z - y) ** 2)


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["plain", "jit"])
def test_scopes_are_layers(wrap):
    m = monitor(grad(wrap(scoped)))
    assert_bits(m(W, X, Y), jit(grad(scoped))(W, X, Y))
    layers, _ = by_hand(W, X, Y)
    assert m.layers == ["lower", "upper/linear", "upper"]
    for name, want in (("lower", "hidden"), ("upper", "out"), ("upper/linear", "out")):
        same(m[name].activation, layers[want][0])
        same(m[name].gradient, layers[want][1])


def test_scopes_in_loops_and_with_several_results():
    def f(x):
        def body(h, _):
            with name_scope("cell"):
                a, b = np.sin(h), np.cos(h)
            return a * b, None
        return np.sum(lax.scan(body, x, None, length=3)[0])
    m = monitor(grad(f))
    assert_bits(m(np.ones(2)), jit(grad(f))(np.ones(2)))
    assert m.layers == ["cell", "cell:1"] and m["cell"].activation.count[0] == 6


def test_tags_take_the_names_of_scopes():
    def f(x):
        for i in range(2):
            with name_scope(f"block{i}"):
                x = tag("h", np.tanh(x))
        return np.sum(x)
    m = monitor(grad(f))
    m(np.ones(3))
    assert m.layers == ["block0/h", "block1/h"]


# ----- warnings -----------------------------------------------------------------------------------------


def deep(scale):
    def f(ws, x):
        for i, w in enumerate(ws):
            x = tag(f"layer{i}", w * scale * x)
        return np.sum(x)
    return f


def warned(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    assert all(w.category is MonitorWarning and w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


def test_vanishing_and_exploding():
    ws = [np.ones(5)] * 6
    m = monitor(grad(deep(0.1)), histograms=0)
    texts = warned(lambda: [m(ws, np.ones(5)) for _ in range(3)])
    assert len(texts) == 2 and "vanishing gradient: that of 'layer0' has rms 1e-05" in texts[0]
    assert m.problems == [("layer0", "vanishing"), ("layer1", "vanishing")]
    m = monitor(grad(deep(10.0)), exploding=5e3)
    texts = warned(lambda: m(ws, np.ones(5)))
    assert len(texts) == 2 and "exploding gradient: that of 'layer0' has rms 1e+05" in texts[0]
    m = monitor(grad(deep(0.9)))
    assert warned(lambda: m(ws, np.ones(5))) == [] and m.problems == []
    m = monitor(grad(deep(0.1)), vanishing=1e-9)
    assert warned(lambda: m(ws, np.ones(5))) == []
    m = monitor(grad(deep(0.1)), warn=False)
    assert warned(lambda: m(ws, np.ones(5))) == [] and len(m.problems) == 2


def test_growth_and_what_is_not_finite():
    m = monitor(grad(lambda w: np.sum(w ** 2)))
    texts = warned(lambda: [m(np.full(3, x)) for x in (1.0, 100.0, 1e4, np.nan, np.inf)])
    assert len(texts) == 2
    assert "that of 'w' has rms 2e+04 at step 2, 1e+04 times that of the first" in texts[0]
    assert "the gradient of 'w' has 3 elements of 3 that are infinite or nan, at step 3" in texts[1]
    m = monitor(grad(lambda w: np.sum(w["a"] + 1e-6 * w["b"])))
    (text,) = warned(lambda: m({"a": np.ones(2), "b": np.ones(2)}))
    assert "vanishing gradient: that of 'b'" in text and "times that of 'a'" in text


# ----- how often, and where it goes ---------------------------------------------------------------------


def test_every():
    m = monitor(grad(net), every=10)
    for _ in range(45):
        assert_bits(m(W, X, Y), jit(grad(net))(W, X, Y))
    assert m.step == 45 and m["out"].activation.steps.tolist() == [*range(16), 20, 30, 40]
    quick = monitor(grad(lambda x: np.sum(tag("t", x * x))))
    for _ in range(40):
        quick(np.ones(3))
    assert quick.every > 1 and len(quick["t"].activation) < 40
    slow = monitor(grad(lambda x: np.sum(tag("t", x @ x) ** 2)), warn=False)
    for _ in range(18):
        slow(np.ones((300, 300)))
    assert slow.every == 1


def test_long_histories_are_thinned(monkeypatch):
    monkeypatch.setattr(sys.modules["functrans.monitoring.watching"], "MOST", 100)
    m = monitor(grad(lambda x: np.sum(tag("t", x * x))), every=1)
    for _ in range(500):
        m(np.ones(3))
    kept = m["t"].activation.steps
    assert len(kept) < 250 and kept[0] == 0 and kept[-1] == 499 and np.all(np.diff(kept) > 0)


def test_write(tmp_path):
    pytest.importorskip("tensorboard")
    from test_tensorboard import accumulator
    m = monitor(grad(net), histograms=2)
    with SummaryWriter(tmp_path) as w:
        for _ in range(3):
            m(W, X, Y)
        m.write(w)
        m(W, X, Y)
        m.write(w)
    found = accumulator(tmp_path)
    got = found.Scalars("monitor/hidden/gradient/norm")
    assert [e.step for e in got] == [0, 1, 2, 3]
    np.testing.assert_allclose([e.value for e in got], m["hidden"].gradient.norm, rtol=1e-6)
    h = found.Histograms("monitor/out/activation/histogram")
    assert [e.step for e in h] == [0, 2] and h[0].histogram_value.num == 280
    np.testing.assert_allclose(h[0].histogram_value.sum, by_hand(W, X, Y)[0]["out"][0].sum())


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    m = monitor(grad(net))
    for _ in range(3):
        m(W, X, Y)
    figure = m.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    over = figure.axes[0]
    assert [line.get_label() for line in over.get_lines()] == ["hidden", "out"]
    np.testing.assert_array_equal(over.get_lines()[1].get_ydata(), m["out"].gradient.rms)
    plain = monitor(grad(lambda x: np.sum(x * 0.0)), histograms=0)
    plain(np.ones(3))
    assert len(plain.plot().axes) == 4


def test_plot_without_matplotlib(monkeypatch):
    m = monitor(grad(net))
    m(W, X, Y)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(E.MissingPackageError, match="pip install matplotlib"):
        m.plot()


def test_static_arguments_of_jit():
    f = jit(lambda x, n: np.sum(tag("t", x * n) if n > 1 else x), static_argnames="n")
    m = monitor(f)
    assert m(np.ones(3), n=2) == 6.0 and m["t"].activation.max[0] == 2


def test_a_monitor_can_be_pickled():
    m = monitor(grad(net))
    m(W, X, Y)
    again = pickle.loads(pickle.dumps(m))
    assert_bits(again(W, X, Y), m(W, X, Y))
    assert again.step == 2 and again["out"].gradient.norm.tolist() == m["out"].gradient.norm.tolist()


# ----- wrong use ----------------------------------------------------------------------------------------

case = Cases()


@case(E.ArgumentError, "the name 3")
def tag_without_a_name():
    tag(3, 1.0)  # BAD


@case(E.TagError, "nothing to look at", "functrans.tag")
def nothing_to_look_at():
    monitor(np.sin)(1.0)  # BAD


@case(E.ConcretizationError, "inside of another transform", "monitor(jit(step))")
def monitored_inside():
    m = monitor(grad(net))
    jit(lambda w: m(w, X, Y))(W)  # BAD


@case(E.TagError, "'wrong'", "'hidden', 'out'".replace("'", ""))
def unknown_layer():
    m = monitor(grad(net))
    m(W, X, Y)
    m["wrong"]  # BAD


@case(E.TagError, "'hidden'", "Call it first")
def layer_before_a_call():
    monitor(grad(net))["hidden"]  # BAD


@case(E.TagError, "nothing yet")
def picture_before_a_call():
    monitor(grad(net)).plot()  # BAD


@case(E.ArgumentError, "histograms=-1")
def negative_histograms():
    monitor(grad(net), histograms=-1)  # BAD


@case(E.ArgumentError, "every=0")
def every_zero():
    monitor(grad(net), every=0)  # BAD


@case(E.ArgumentError, "vanishing='x'")
def text_as_a_factor():
    monitor(grad(net), vanishing="x")  # BAD


@case(E.ArgumentError, "monitored already")
def monitored_twice():
    monitor(monitor(grad(net)))  # BAD


@case(E.ArgumentError, "monitor takes a function")
def no_function():
    monitor(3.0)  # BAD


@pytest.mark.parametrize("name", case)
def test_wrong_use(name):
    case.check(name)


def test_one_name_on_two_lines():
    def f(x):
        h = tag("h", x * 2)
        return np.sum(tag("h", h * 3))
    with pytest.raises(errors.TagError) as caught:
        monitor(grad(f))(np.ones(3))
    first = f.__code__.co_firstlineno + 1
    assert f"test_monitor.py:{first} in f" in str(caught.value)
    assert f"test_monitor.py:{first + 1} in f" in str(caught.value)
