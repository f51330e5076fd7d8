"""Donated arguments: the same values, in the memory of the arguments."""

import copy
import pickle
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans import errors, grad, jit, lax, vmap
from functrans.optimizers import adam, apply_updates, minimize

N = 3000


def arrays(*shapes, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def test_the_donated_array_comes_back():
    f = jit(lambda w, g: w - 0.5 * g, donate_argnums=0)
    w, g = arrays(N, N)
    want = w - 0.5 * g
    out = f(w, g)
    assert out is w and out.flags.owndata
    np.testing.assert_array_equal(out, want)


def test_what_is_not_donated_is_left_alone():
    f = jit(lambda w, g: (w - g, g * 2), donate_argnums=0)
    w, g = arrays(N, N)
    before = g.copy()
    f(w, g)
    np.testing.assert_array_equal(g, before)


@pytest.mark.parametrize("how", [
    {"donate_argnums": (0, 1)}, {"donate_argnums": [0, -2]}, {"donate_argnames": ("params", "state")},
    {"donate_argnums": 0, "donate_argnames": "state"}])
@pytest.mark.parametrize("keywords", [False, True])
def test_an_update_needs_no_memory(how, keywords):
    """Positions and names mean the same, however the argument is passed."""
    opt = adam(1e-2)

    def step(params, state, grads):
        updates, state = opt.update(grads, state, params)
        return apply_updates(params, updates), state
    params = dict(zip("ab", arrays((40, 50), (300, 10), dtype="float32"), strict=True))
    grads = dict(zip("ab", arrays((40, 50), (300, 10), seed=1, dtype="float32"), strict=True))
    state = opt.init(params)
    want = jit(step)(params, state, grads)
    if keywords and how.get("donate_argnums") == [0, -2]:
        how = {"donate_argnums": [0, 1]}
    f = jit(step, **how)
    call = {"params": params, "state": state, "grads": grads}
    new, after = f(**call) if keywords else f(*call.values())
    for x, y in zip(ft.tree.leaves(want), ft.tree.leaves((new, after)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert all(new[k] is params[k] for k in "ab")
    assert all(after.slots[s][k] is state.slots[s][k] for s in ("m", "v") for k in "ab")
    memory = f.lower(**call).memory_analysis() if keywords else f.lower(*call.values()).memory_analysis()
    assert memory.alias_size_in_bytes == 3 * 4 * (2000 + 3000)


SHAPES = st.sampled_from([(N,), (50, 60), (60, 50), (3,), (), (2, 0), (64, 64)])


@given(st.lists(st.tuples(SHAPES, st.sampled_from(["f8", "f4", "i4"])), min_size=1, max_size=5),
       st.data())
@settings(max_examples=40, deadline=None)
def test_values_are_those_without(kinds, data):
    """Random programs over random arguments, donated in any choice."""
    rng = np.random.default_rng(len(kinds))
    args = [np.array(rng.normal(size=s) * 3).astype(d) for s, d in kinds]
    which = data.draw(st.lists(st.integers(0, len(args) - 1), unique=True))
    picks = data.draw(st.lists(st.tuples(
        st.sampled_from(["swap", "double", "mix", "transposed", "product", "rolled", "sum", "same"]),
        st.integers(0, len(args) - 1), st.integers(0, len(args) - 1)), min_size=1, max_size=6))

    def f(*xs):
        outs = []
        for name, i, j in picks:
            x, y = xs[i], xs[j]
            outs.append({"swap": lambda x, y: (y, x), "double": lambda x, y: x * 2,
                         "mix": lambda x, y: x + np.sum(y), "transposed": lambda x, y: x.T,
                         "product": lambda x, y: np.sin(x) @ y if x.ndim == 2 == y.ndim
                         and x.shape[1] == y.shape[0] else x - 1, "rolled": lambda x, y: np.roll(x, 1),
                         "sum": lambda x, y: np.sum(x * x), "same": lambda x, y: x}[name](x, y))
        return outs
    want = jit(f)(*args)
    before = copy.deepcopy(args)
    got = jit(f, donate_argnums=which)(*args)
    for x, y in zip(ft.tree.leaves(want), ft.tree.leaves(got), strict=True):
        np.testing.assert_array_equal(x, y)
    taken = [x for x in ft.tree.leaves(got) if any(x is a for a in args)]
    for i, (a, b) in enumerate(zip(args, before, strict=True)):
        if i not in which or not any(a is x for x in taken):
            np.testing.assert_array_equal(a, b)
    leaves = [x for x in ft.tree.leaves(got) if isinstance(x, np.ndarray)]
    assert not any(np.shares_memory(x, y) for k, x in enumerate(leaves) for y in leaves[k + 1:])


@pytest.mark.parametrize("given_", ["view", "read only", "strided", "other byte order"])
def test_arrays_that_cannot_be_given_are_copied(given_):
    (w,) = arrays(2 * N)
    x = {"view": w[:N], "read only": w[:N].copy(), "strided": w[::2],
         "other byte order": w[:N].astype(">f8")}[given_]
    if given_ == "read only":
        x.setflags(write=False)
    before = w.copy(), x.copy()
    f = jit(lambda x: np.cos(x) * x, donate_argnums=0)
    for _ in range(2):
        out = f(x)
        np.testing.assert_allclose(out, np.cos(before[1]) * before[1], rtol=1e-14)
        assert not np.shares_memory(out, w) and out is not x
    np.testing.assert_array_equal(w, before[0])


def test_two_arguments_in_the_same_memory():
    def step(params, other):
        return {"w": params["w"] + other}
    f = jit(step, donate_argnums=0)
    (w,) = arrays((N,))
    for other in (w, w.reshape(N), w.reshape(50, 60).reshape(-1)):
        with pytest.raises(errors.DonationError, match=r"params\['w'\] is donated, and argument other"):
            f({"w": w}, other)
    with pytest.raises(ValueError, match="Pass a copy"):
        jit(lambda a, b: (a + 1, b + 2), donate_argnums=(0, 1))(w, w)
    with pytest.raises(errors.DonationError):
        jit(lambda a, b: (a + 1, np.sum(b)), donate_argnums=0)(w, w[7:9])
    assert f({"w": w}, w.copy())["w"] is w


def test_captured_arrays_keep_their_values():
    """The first call of a loop that starts from what the function captured."""
    (w,) = arrays((N,))
    before = w.copy()
    f = jit(lambda x: x + 0.5 * (w - x), donate_argnums=0)
    x = f(w)
    assert x is not w
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(x, before)
    y = f(x)
    assert y is x
    np.testing.assert_array_equal(y, before)
    part = w[10:20]
    g = jit(lambda x: x * np.sum(x[:10] * part), donate_argnums=0)
    want = before * np.sum(before[:10] * part)
    assert g(w) is not w
    np.testing.assert_allclose(g(w), want, rtol=1e-13)


def test_ignored_inside_of_transforms():
    f = jit(lambda w: np.sum(np.sin(w) * w), donate_argnums=0)
    g = jit(lambda w: np.sin(w) * 2, donate_argnums=0)
    (w,) = arrays((N,))
    before = w.copy()
    np.testing.assert_allclose(grad(f)(w), np.sin(w) + np.cos(w) * w, rtol=1e-13)
    want = 2 * np.sin(before)
    for got in (vmap(g)(w.reshape(50, 60)).ravel(), jit(lambda: g(w))(), jit(g)(w)):
        np.testing.assert_allclose(got, want, rtol=1e-14)
    np.testing.assert_allclose(grad(lambda t: t * np.sum(g(w)))(1.0), np.sum(want))
    np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize("length", [0, 1, 6, 7])
def test_carries_of_loops(length):
    def f(x, k):
        return lax.scan(lambda c, k: (c * 0.5 + k, None), x, None, length=length)[0] if k is None else \
            lax.scan(lambda c, k: (c * 0.5 + k, np.sum(c)), x, k)
    x, k = arrays((N,), (length,))
    want = jit(f)(x, k)
    got = jit(f, donate_argnums=0)(x, k)
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_carries_of_while_loops():
    def f(x):
        return lax.while_loop(lambda c: np.sum(c[0]) > 1.0, lambda c: (c[0] * 0.7, c[1] + 1), (x, 0))
    x = np.abs(arrays((N,))[0])
    want = jit(f)(x)
    got = jit(f, donate_argnums=0)(x)
    np.testing.assert_array_equal(want[0], got[0])
    assert want[1] == got[1]


class Stop(Exception):
    pass


def test_a_call_that_fails_says_what_it_has_written():
    def late(x):
        raise Stop

    def before(w, x):
        t = ft.pure_callback(late, ft.ShapeDtypeStruct((), float), np.sum(w))
        return w + t

    def after(w, x):
        new = w * 2.0
        return new, ft.pure_callback(late, ft.ShapeDtypeStruct((), float), np.sum(np.tanh(new @ x)))
    w, x = arrays((60, 60), (60, 60))
    kept = w.copy()
    with pytest.raises(Stop) as e:
        jit(before, donate_argnums=0)(w, x)
    assert not any("undefined" in n for n in e.value.__notes__)
    np.testing.assert_array_equal(w, kept)
    f = jit(after, donate_argnums=0)
    with pytest.raises(Stop) as e:
        f(w, x)
    assert any("undefined now: w." in n for n in e.value.__notes__)


def test_threads():
    """One compiled program, each thread with arrays of its own."""
    f = jit(lambda w, g: w * 0.9 + np.sin(g), donate_argnums=0)
    wrong = []

    def work(seed):
        w, g = arrays(20_000, 20_000, seed=seed)
        want = w.copy()
        mine = w
        for _ in range(50):
            w = f(w, g)
            want = want * 0.9 + np.sin(g)
        if w is not mine or not np.allclose(w, want, rtol=1e-12):
            wrong.append(seed)
    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_results_of_a_call_are_arguments_of_the_next():
    f = jit(lambda a, b: (b * 2, a + 1), donate_argnums=(0, 1))
    a, b = arrays((N,), (N,))
    x, y = a.copy(), b.copy()
    memory = {id(a), id(b)}
    for _ in range(5):
        a, b = f(a, b)
        x, y = y * 2, x + 1
    np.testing.assert_array_equal(a, x)
    np.testing.assert_array_equal(b, y)
    assert {id(a), id(b)} & memory


def test_pickles_and_static_arguments():
    f = pickle.loads(pickle.dumps(jit(scaled, static_argnums=1, donate_argnums=2)))
    x, w = arrays((N,), (N,))
    want = x + 3 * w
    assert f(x, 3, w) is w
    np.testing.assert_array_equal(w, want)
    compiled = f.lower(x, 3, w).compile()
    assert compiled(x, w) is w


def scaled(x, k, w):
    return x + k * w


@pytest.mark.parametrize(("options", "text"), [
    ({"donate_argnums": 3}, "has no argument 3 to donate"),
    ({"donate_argnums": (-4,)}, "has no argument -4 to donate"),
    ({"donate_argnames": "weights"}, "has no argument 'weights' to donate"),
    ({"donate_argnums": "x"}, "Give positions of arguments as ints"),
    ({"donate_argnums": 1.0}, "Give positions"),
    ({"donate_argnames": (1,)}, "names as strings"),
    ({"donate_argnums": 1, "static_argnums": 1}, "k cannot be static and donated"),
    ({"donate_argnames": "k", "static_argnums": 1}, "k cannot be static and donated"),
    ({"donate_argnums": -2, "static_argnames": "k"}, "k cannot be static and donated"),
])
def test_what_cannot_be_donated(options, text):
    with pytest.raises(errors.ArgumentError, match=text):
        jit(scaled, **options)


def test_plans_say_what_lies_where():
    f = jit(scaled, static_argnums=1, donate_argnums=2)
    lowered = f.lower(np.ones(N), 2, np.ones(N))
    assert "out0: f64[3000] in the memory of in1" in str(lowered.plan)
    memory = lowered.memory_analysis()
    assert memory.alias_size_in_bytes == 8 * N
    assert memory.peak_memory_in_bytes < 3.5 * 8 * N
    assert jit(scaled, static_argnums=1).lower(np.ones(N), 2, np.ones(N)).memory_analysis(
        ).alias_size_in_bytes == 0


def test_minimize_leaves_what_users_hold():
    """The start stays as it was, and so does what a callback keeps."""
    start = {"w": np.linspace(1.0, 2.0, N)}
    before = start["w"].copy()

    def loss(p):
        return np.sum((p["w"] - 3.0) ** 2)
    alone = minimize(loss, start, adam(0.1), 20, every=5)
    kept = []
    seen = minimize(loss, start, adam(0.1), 20, every=5, callback=lambda i, p, v: kept.append(p["w"]))
    np.testing.assert_array_equal(start["w"], before)
    np.testing.assert_array_equal(alone.params["w"], seen.params["w"])
    np.testing.assert_array_equal(alone.losses, seen.losses)
    assert len({id(w) for w in kept}) == 4
    assert [np.sum((w - 3.0) ** 2) < np.sum((before - 3.0) ** 2) for w in kept] == [True] * 4
    assert not np.array_equal(kept[0], kept[-1])


def test_an_interrupt_that_comes_later():
    """Ctrl-C in a loop behind the step that has written a donated array."""

    def f(w, x):
        new = w * 2.0
        return new, lax.while_loop(lambda c: np.sum(c * 0) < 1, lambda c: np.sin(c) + x, new[:10])
    w = np.ones(N)
    g = jit(f, donate_argnums=0)
    g.lower(w, 1.0).compile()

    def stop(*_):
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt) as e:
            g(w, 1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if w[0] == 2.0:
        assert any("undefined now: w." in n for n in e.value.__notes__)
