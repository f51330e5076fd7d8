"""jit, the caches, pickling, threads and fork."""

import functools
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from nested import DERIVATIVES

import functrans as ft
from functrans import errors, grad, hessian, jacfwd, jacrev, jit, jvp, linearize, value_and_grad, vjp, vmap


class Counted:
    """A function that counts how often Python runs it."""

    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.f(*args, **kwargs)


# ----- when jit traces ----------------------------------------------------------------------------


def test_traces_once_per_types():
    f = Counted(lambda x: x * 2)
    g = jit(f)
    x = np.ones(3)
    for _ in range(3):
        np.testing.assert_array_equal(g(x), x * 2)
    np.testing.assert_array_equal(g(x[::-1]), x * 2)         # other strides, the same type
    assert f.calls == 1 and g.cache_info()[1:3] == (1, 1)
    for y in (np.ones(4), np.ones((3, 1)), np.ones(3, np.float32), np.ones(3, int), 1.0, 1, True,
              np.float64(1.0)):
        out = g(y)
        np.testing.assert_array_equal(out, np.asarray(y) * 2)
        assert out.dtype == np.asarray(y * 2).dtype
    assert f.calls == 9 and g.cache_info().currsize == 9
    g(2.0), g(3), g(np.float64(4.0)), g(False)
    assert f.calls == 9


def test_structure_is_part_of_the_key():
    f = Counted(lambda p: p[0] * p[1] if isinstance(p, (list, tuple)) else p["a"])
    g = jit(f)
    assert (g([2.0, 3.0]), g((2.0, 3.0)), g({"a": 1.0}), g([2.0, 4.0])) == (6.0, 6.0, 1.0, 8.0)
    assert f.calls == 3


def test_keywords():
    f = Counted(lambda x, y=2.0: x * y)
    g = jit(f)
    assert g(3.0) == 6.0 and g(3.0, y=4.0) == 12.0 and g(y=4.0, x=1.0) == 4.0 and g(3.0, 5.0) == 15.0
    with pytest.raises(TypeError):
        g(3.0, z=1.0)


def test_static_arguments():
    f = Counted(lambda x, n, mode="a": x * n if mode == "a" else x[:n])

    def named(x, n, mode="a"):
        return f(x, n, mode)
    g = jit(named, static_argnums=1, static_argnames="mode")
    x = np.arange(4.0)
    np.testing.assert_array_equal(g(x, 3), x * 3)
    np.testing.assert_array_equal(g(x, 3), x * 3)
    assert f.calls == 1
    np.testing.assert_array_equal(g(x, 2, mode="b"), x[:2])
    np.testing.assert_array_equal(g(x, 2, mode="b"), x[:2])
    assert f.calls == 2
    g(x, 3.0), g(x, True)
    g(x, 1)                        # equal to True, another type
    assert f.calls == 5
    table = np.array([1.0, 2.0, 3.0, 4.0])
    h = jit(named, static_argnums=(-1,))
    np.testing.assert_array_equal(h(x, table), x * table)
    table[0] = 9.0                 # static arrays count by content
    np.testing.assert_array_equal(h(x, table), x * table)
    with pytest.raises(TypeError, match=r"static argument n is \[1\].*not hashable"):
        g(x, [1])
    with pytest.raises(TypeError, match="static_argnums"):
        jit(named, static_argnums=5)(x, 1)


def test_static_name_given_by_position_or_keyword():
    f = Counted(lambda x, n: x ** n)
    g = jit(f, static_argnames=("n",))
    assert g(2.0, 3) == 8.0 and g(2.0, n=3) == 8.0 and g(3.0, 3) == 27.0
    assert f.calls <= 2


def test_closed_over_arrays_are_read_at_every_call():
    w = np.ones(3)
    f = Counted(lambda x: np.sum(x * w))
    g, d = jit(f), jit(grad(lambda x: np.sum(x * w)))
    x = np.arange(3.0)
    assert g(x) == 3.0
    w[:] = 2.0
    assert g(x) == 6.0 and f.calls == 1
    np.testing.assert_array_equal(d(x), w)
    w[1] = -1.0
    np.testing.assert_array_equal(d(x), w)
    assert w.flags.writeable
    n = 1 << 17                     # also when it is large
    big = np.ones(n)
    h = jit(lambda x: np.sum(x * big))
    assert h(np.ones(n)) == n
    big[:] = 0.5
    assert h(np.ones(n)) == n / 2


def test_closed_over_arrays_that_are_broadcast_are_read_at_every_call():
    c, x = np.zeros(3, np.float32), np.linspace(-1.0, 1.0, 6).reshape(2, 3)
    calls = [jit(lambda x: x + c), jit(lambda x: np.where(x > 0, x, c)), jit(lambda x: np.maximum(x, c))]
    for value in (0.0, 5.0):
        c[:] = value
        np.testing.assert_array_equal(calls[0](x), x + c)
        np.testing.assert_array_equal(calls[1](x), np.where(x > 0, x, c))
        np.testing.assert_array_equal(calls[2](x), np.maximum(x, c))


def test_closed_over_numbers_are_fixed():
    s = 2.0
    f = jit(lambda x: x * s)
    assert f(3.0) == 6.0
    s = 5.0
    assert f(3.0) == 6.0


def test_a_trace_that_sees_an_outer_tracer_is_not_kept():
    def f(x):
        return jit(lambda y: y * x)(2.0)
    assert grad(f)(1.0) == 2.0 and grad(f)(5.0) == 2.0
    inner = []

    def g(x):
        if not inner:
            inner.append(jit(lambda y: y * x))
        return inner[0](3.0)
    assert grad(g)(1.0) == 3.0 and inner[0].cache_info().currsize == 0


def test_decorator_forms_and_methods():
    @jit
    def f(x):
        """The text."""
        return x + 1

    @jit(static_argnums=1)
    def g(x, n):
        return x * n
    assert f(1.0) == 2.0 and g(2.0, 3) == 6.0
    assert f.__doc__ == "The text." and f.__wrapped__(1.0) == 2.0 and "f" in repr(f)

    class Model:
        def __init__(self, w):
            self.w = w

        @functools.partial(jit, static_argnums=0)
        def scaled(self, x):
            return x * self.w

        @jit
        @staticmethod
        def plain(x):
            return x * 2.0

        @grad
        def slope(self_or_x, *rest):
            return self_or_x ** 2
    m = Model(3.0)
    assert m.scaled(2.0) == 6.0 and m.scaled(4.0) == 12.0 and Model(5.0).scaled(2.0) == 10.0
    assert Model.scaled(m, 1.0) == 3.0
    assert Model.slope(3.0) == 6.0


def test_transformed_functions_keep_name_and_text():
    def loss(w):
        """Text of loss."""
        return w
    for make in (grad, value_and_grad, vmap, jacfwd, jacrev, hessian, jit):
        g = make(loss)
        assert "loss" in g.__name__ and g.__doc__ == "Text of loss." and g.__wrapped__ is loss


def test_explain():
    g = jit(lambda x, w, n: x * w["b"] * n, static_argnums=2)
    g(np.ones(3), {"b": 1.0}, 2)
    g(np.ones(3), {"b": 2.0}, 2)
    assert "first call" in g.explain() and "f64[3]" in g.explain() and g.explain().count("\n") == 1
    g(np.ones(3), {"b": np.ones(3, np.float32)}, 2)
    g(np.ones(4), {"b": 1.0}, 2)
    g(np.ones(4), {"b": 1.0}, 7)
    g(np.ones(4), {"b": 1.0, "c": 2.0}, 7)
    lines = g.explain().splitlines()
    assert len(lines) == 6
    assert "w['b'] is f32[3], not f64[]" in lines[2] and "x is" not in lines[2]
    assert "x is f64[4], not f64[3]" in lines[3] and "w" not in lines[3].split(".", 1)[1]
    assert "7" in lines[4] and "static" in lines[4]
    assert "structure" in lines[5]


def test_jit_inside_jit_and_vmap_and_grad():
    f = Counted(lambda x: np.sin(x) * x)
    g = jit(f)
    outer = jit(lambda x: g(x) + g(x) + grad(g)(x))
    want = 2 * np.sin(0.5) * 0.5 + np.sin(0.5) + 0.5 * np.cos(0.5)
    assert outer(0.5) == pytest.approx(want, rel=1e-14) and outer(0.5) == pytest.approx(want, rel=1e-14)
    assert f.calls == 1
    np.testing.assert_allclose(vmap(g)(np.array([0.5, 1.0])), np.sin([0.5, 1.0]) * [0.5, 1.0])


def test_an_exception_is_not_cached():
    state = [True]

    def f(x):
        if state[0]:
            raise KeyError("not yet")
        return x * 2
    g = jit(f)
    for _ in range(2):
        with pytest.raises(KeyError):
            g(1.0)
    state[0] = False
    assert g(1.0) == 2.0


# ----- caches -------------------------------------------------------------------------------------


@pytest.fixture
def clean():
    ft.clear_caches()
    yield
    ft.clear_caches()


EAGER = {
    "grad": lambda f, x: grad(f)(x),
    "jvp": lambda f, x: jvp(f, (x,), (x,)),
    "vjp": lambda f, x: vjp(f, x)[1](1.0),
    "linearize": lambda f, x: linearize(f, x)[1](x),
    "vmap": lambda f, x: vmap(f)(np.stack([x, x])),
    "jacrev": lambda f, x: jacrev(f)(x),
    "hessian": lambda f, x: hessian(f)(x),
}


@pytest.mark.parametrize("name", EAGER)
def test_second_call_finds_its_program(clean, name):
    def f(x, s):
        return np.sum(np.sin(x) * s)
    x = np.ones(3)
    EAGER[name](lambda x: f(x, 0.37), x)
    before = ft.cache_info()
    EAGER[name](lambda x: f(x, 0.73), x + 1)            # another function, another number
    after = ft.cache_info()
    assert after["programs"].misses == before["programs"].misses
    assert after["programs"].hits > before["programs"].hits
    assert after["plans"].misses == before["plans"].misses
    EAGER[name](lambda x: np.sum(np.cos(x) * 0.37), x)
    assert ft.cache_info()["programs"].misses > after["programs"].misses


@pytest.mark.parametrize("kind", [float, np.float64, np.array, lambda v: np.full(3, v)])
def test_a_changing_learning_rate_makes_no_new_program(clean, kind):
    def step(w, rate):
        return w - kind(rate) * grad(lambda w: np.sum((w - rate) ** 2))(w)
    w = np.ones(3)
    outer = []
    for i in range(20):
        rate = 0.011 + 0.01 * i
        w = grad(lambda w, r=rate: np.sum(step(w, r) * kind(r)))(w)
        outer.append(ft.cache_info())
    assert outer[-1]["programs"].currsize == outer[1]["programs"].currsize
    assert outer[-1]["plans"].currsize == outer[1]["plans"].currsize


def test_values_that_rules_need_are_part_of_the_key(clean):
    got = [grad(lambda x, n=n: x ** n)(1.5) for n in (2, 3, 2.5, 0, 1, -1, 2.0)]
    assert got == pytest.approx([3.0, 6.75, 2.5 * 1.5 ** 1.5, 0.0, 1.0, -1.5 ** -2, 3.0])
    got = [grad(lambda x, k=k: x * k)(1.5) for k in (0, 1, -1, 2, 0.0, 7, 0.5)]
    assert got == [0.0, 1.0, -1.0, 2.0, 0.0, 7.0, 0.5]


def test_caches_are_bounded(clean):
    info = ft.cache_info()
    assert all(0 < c.maxsize < 100_000 for c in info.values())
    g = jit(lambda x: x * 2, cache_size=4)
    for n in range(1, 9):
        g(np.ones(n))
    assert g.cache_info().currsize == 4 and g.cache_info().maxsize == 4
    np.testing.assert_array_equal(g(np.ones(1)), [2.0])


def test_bounded_by_number_in_the_large(clean, monkeypatch):
    from functrans.calling.staging import PROGRAMS
    monkeypatch.setattr(PROGRAMS, "maxsize", 10)
    for n in range(1, 31):
        assert grad(lambda x: np.sum(x * x))(np.ones(n)).shape == (n,)
    assert ft.cache_info()["programs"].currsize == 10


def test_clear_caches(clean):
    g = jit(np.sin)
    g(1.0)
    grad(np.sin)(1.0)
    ft.clear_caches()
    assert all(c.currsize == 0 for c in ft.cache_info().values())
    assert grad(np.sin)(0.0) == 1.0 and g(0.0) == 0.0
    g.clear_cache()
    assert g.cache_info().currsize == 0 and g(0.0) == 0.0


def test_nothing_keeps_arguments_or_functions_alive():
    def use():
        x, w = np.ones(1000), np.ones(1000)

        def f(x):
            return np.sum(x * w)
        grad(f)(x)
        jvp(f, (x,), (x,))
        vjp(f, x)[1](1.0)
        jit(f)(x)
        return [weakref.ref(v) for v in (x, w, f)]
    refs = use()
    gc.collect()
    assert [r() for r in refs] == [None, None, None]


# ----- pickling -----------------------------------------------------------------------------------


def module_level(x, y=2.0):
    return np.sin(x) * y


@jit
def decorated(x):
    return x * 3.0


@grad
def slope(x):
    return x ** 3


@ft.custom_jvp
def with_rule(x):
    return x * 2.0


with_rule.defjvp(lambda primals, tangents: (with_rule(*primals), tangents[0] * 7.0))


@ft.checkpoint
def recomputed(x):
    return np.sin(x)


@pytest.mark.parametrize("make", [
    grad, jit, lambda f: jit(grad(f)), lambda f: grad(jit(f)), value_and_grad,
    lambda f: grad(f, argnums=(0,), has_aux=False), lambda f: jit(f, static_argnums=1, cache_size=3),
    jacfwd, jacrev, hessian, lambda f: jit(vmap(f, axis_size=2, in_axes=None)), ft.checkpoint,
    lambda f: grad(ft.checkpoint(f))])
def test_pickle(make):
    f = make(module_level)
    back = pickle.loads(pickle.dumps(f))
    for x in (0.3, 1.1):
        got, want = ft.tree.leaves(back(x, 2.0)), ft.tree.leaves(f(x, 2.0))
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_pickle_by_name():
    """Decorated functions are found in their module, as functions are."""
    for f in (decorated, slope, with_rule, recomputed):
        back = pickle.loads(pickle.dumps(f))
        assert back(0.5) == f(0.5)
    assert pickle.loads(pickle.dumps(grad(with_rule)))(1.0) == 7.0
    assert pickle.loads(pickle.dumps(jit(recomputed)))(0.0) == 0.0


def test_pickle_of_what_cannot_be_pickled_says_so():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(jit(lambda x: x))
    with pytest.raises(TypeError, match=r"a traced .* cannot be pickled"):
        grad(lambda x: pickle.dumps(x))(1.0)


# ----- threads and processes ----------------------------------------------------------------------


def run_in_threads(work, n=6):
    errors_, barrier = [], threading.Barrier(n)

    def run(i):
        try:
            barrier.wait()
            work(i)
        except BaseException as e:
            errors_.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors_:
        raise errors_[0]


def test_threads_trace_and_run_at_once():
    f = jit(lambda x: np.sum(np.sin(x) * x))
    d = jit(grad(lambda x: np.sum(np.sin(x) * x)))

    def work(i):
        for k in range(20):
            x = np.linspace(0, 1, 5 + (i + k) % 7) * (i + 1)
            assert f(x) == pytest.approx(np.sum(np.sin(x) * x), rel=1e-12)
            np.testing.assert_allclose(d(x), np.sin(x) + x * np.cos(x), rtol=1e-12)
            a = 0.1 * i + k
            assert grad(lambda x, a=a: x * grad(lambda y: x * y * a)(x) if x > 0 else x)(2.0) == (
                pytest.approx(4 * a))
            np.testing.assert_allclose(vmap(jacfwd(np.sin))(x), np.cos(x))
    run_in_threads(work)


def test_threads_run_one_large_program():
    x = np.linspace(0.0, 1.0, 200_000)
    f = jit(lambda x, s: np.sum(np.tanh(x * s)) + np.cos(x) * s)
    want = {i: np.sum(np.tanh(x * i)) + np.cos(x) * i for i in range(4)}

    def work(i):
        for _ in range(5):
            np.testing.assert_allclose(f(x, float(i)), want[i], rtol=1e-12)
    run_in_threads(work, 4)


def test_pull_from_several_threads():
    x = np.linspace(0.0, 1.0, 100)
    _, pull = vjp(lambda x: np.sin(x) * x, x)
    want = np.sin(x) + x * np.cos(x)
    run_in_threads(lambda i: [np.testing.assert_allclose(pull(np.full(100, i + 1.0))[0], want * (i + 1))
                              for _ in range(20)])


def test_a_thread_inside_a_trace_is_not_traced():
    out = []

    def f(x):
        t = threading.Thread(target=lambda: out.append((np.sin(0.0), grad(np.sin)(0.0))))
        t.start()
        t.join()
        return x * x
    assert grad(f)(3.0) == 6.0 and out == [(0.0, 1.0)]


FORK = """
import os, sys
import numpy as np
from functrans import grad, jit, set_num_threads
set_num_threads(2)
f = jit(grad(lambda x: np.sum(np.tanh(x) ** 2)))
x = np.linspace(0, 1, 1_000_000)
want = f(x)
pid = os.fork()
if pid == 0:
    ok = np.array_equal(f(x), want) and grad(np.sin)(0.0) == 1.0
    os._exit(0 if ok else 3)
assert np.array_equal(f(x), want)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_a_parallel_run():
    # Python 3.12 warns of every fork with threads
    done = subprocess.run([sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORK],
                          timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", DERIVATIVES)
def test_results_do_not_depend_on_threads(name):
    x = np.linspace(0.0, 1.0, 300_000)
    n = ft.get_num_threads()
    try:
        got = []
        for k in (1, 2):
            ft.set_num_threads(k)
            got.append(DERIVATIVES[name](lambda s: np.sum(np.sin(x * s) * x))(0.7))
    finally:
        ft.set_num_threads(n)
    assert got[0] == got[1] and np.isfinite(got[0])


def test_set_num_threads_refuses_nonsense():
    for bad in (0, -1, "2", 1.5):
        with pytest.raises((ValueError, TypeError)):
            ft.set_num_threads(bad)


def test_error_classes_pickle_through_processes():
    try:
        jit(lambda x: x if x > 0 else -x)(1.0)
    except errors.TracerBoolError as e:
        back = pickle.loads(pickle.dumps(e))
        assert str(back) == str(e) and type(back) is type(e)
