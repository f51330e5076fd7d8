"""Calls into Python from programs: pure_callback, io_callback, debug.*, under every transform."""

import inspect
import io
import threading

import numpy as np
import pytest
from test_lax_names import SIGNATURES, parameters

import functrans as ft
from functrans import ShapeDtypeStruct as Struct
from functrans import (
    checkpoint,
    custom_jvp,
    debug,
    errors,
    grad,
    io_callback,
    jit,
    jvp,
    lax,
    pure_callback,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)

F64 = Struct((), "float64")


def test_signatures_are_those_of_jax():
    for room, module in (("", ft), ("debug", debug)):
        for name, want in SIGNATURES[room].items():
            assert parameters(getattr(module, name)) == want, name
    assert inspect.signature(pure_callback).parameters["vmap_method"].kind is inspect.Parameter.KEYWORD_ONLY


# ----- values -----------------------------------------------------------------------------------------------


def test_pytrees_and_other_objects():
    def f(x, how, *, scale):
        assert type(x["a"]) is np.ndarray and isinstance(scale, np.float64) and how == "twice"
        return {"s": np.sum(x["a"]) * scale, "t": (x["a"] > 1,)}
    types = {"s": F64, "t": (np.zeros(3, bool),)}
    for run in (lambda f: f, jit):
        got = run(lambda x: pure_callback(f, types, {"a": x}, "twice", scale=2.0))(np.arange(3.0))
        assert got["s"] == 6.0
        np.testing.assert_array_equal(got["t"][0], [False, False, True])


@pytest.mark.parametrize("method, shapes", [
    (None, [((2,), ())] * 3), ("sequential", [((2,), ())] * 3), ("expand_dims", [((3, 2), (1,))]),
    ("broadcast_all", [((3, 2), (3,))])])
def test_vmap_methods(method, shapes):
    seen = []

    def f(x, y):
        seen.append((np.shape(x), np.shape(y)))
        return x * np.expand_dims(y, -1)
    g = lambda x, y: pure_callback(f, Struct((2,), "float64"), x, y, vmap_method=method)
    x, y = np.arange(6.0).reshape(3, 2), np.float64(2.0)
    for run in (vmap(g, (0, None)), jit(vmap(g, (0, None)))):
        seen.clear()
        np.testing.assert_array_equal(run(x, y), 2 * x)
        assert seen == shapes
    ys = np.array([1.0, 2.0, 3.0, 4.0])
    both = vmap(vmap(g, (0, None)), (None, 0))(x, ys)
    np.testing.assert_array_equal(both, x * ys[:, None, None])
    np.testing.assert_array_equal(vmap(lambda x: g(x, 1.0), 1, 1)(x.T), x.T)
    assert vmap(g, (0, None))(np.ones((0, 2)), y).shape == (0, 2) or method is not None


def test_derivatives_come_from_the_user():
    sine = lambda x: pure_callback(np.sin, F64, x)
    with pytest.raises(errors.NonDifferentiableError, match="custom_jvp") as caught:
        grad(sine)(1.0)
    assert "pure_callback of sin" in str(caught.value) and "test_callbacks.py" in str(caught.value)
    f = custom_jvp(sine)
    f.defjvp(lambda p, t: (f(*p), pure_callback(np.cos, F64, p[0]) * t[0]))
    for d in (grad(f), jit(grad(f)), lambda x: jvp(f, (x,), (1.0,))[1], lambda x: vmap(grad(f))(x[None])[0]):
        assert d(np.float64(0.5)) == np.cos(0.5)
    # integer results have no derivative to miss
    assert grad(lambda x: x * pure_callback(lambda x: np.int64(x), Struct((), "int64"), x))(3.5) == 3.0


def test_pure_calls_may_be_left_out_and_joined():
    count = []

    def f(x):
        count.append(1)
        return x

    def g(x):
        pure_callback(f, F64, x)
        one = [pure_callback(f, F64, x) for _ in range(2)]
        return one[0] + one[1]
    assert jit(g)(1.0) == 2.0 and len(count) <= 3


# ----- effects ----------------------------------------------------------------------------------------------


def recorded():
    seen = []
    return seen, lambda x: io_callback(seen.append, None, x)


def test_effects_happen_once_and_in_order():
    seen, tell = recorded()

    def f(x):
        tell(x)
        y = np.sin(x) * 2
        tell(y)
        tell(y)                     # the same again counts again
        return x * y
    a = 0.5
    want = [a, 2 * np.sin(a), 2 * np.sin(a)]
    for run in (f, jit(f), grad(f), jit(grad(f)), lambda x: jvp(f, (x,), (1.0,)), lambda x: vjp(f, x)[0],
                grad(grad(f)), ft.hessian(f)):
        seen.clear()
        run(a)
        np.testing.assert_allclose(seen, want)
    seen.clear()
    jit(vmap(f))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(seen, [1.0, 2.0, *np.tile(2 * np.sin([1.0, 2.0]), 2)])
    seen.clear()
    grad(checkpoint(f))(a)          # nothing that is recomputed needs their results
    assert len(seen) == 3


def test_effects_in_loops_and_branches():
    seen, tell = recorded()
    three = np.array([1.0, 2.0, 3.0])

    def body(c, x):
        tell(c)
        return c + x, c
    for run in (lambda: lax.scan(body, 0.0, three), lambda: jit(lambda: lax.scan(body, 0.0, three)[0])(),
                lambda: grad(lambda a: lax.scan(body, a, three)[0])(0.0)):
        seen.clear()
        run()
        assert seen == [0.0, 1.0, 3.0]
    seen.clear()
    lax.scan(lambda c, x: (tell(x), None), None, three)              # a loop that only acts
    jit(lambda: lax.fori_loop(0, 2, lambda i, c: (tell(i), c)[1], ()))()
    assert seen == [1.0, 2.0, 3.0, 0, 1]
    seen.clear()
    lax.while_loop(lambda c: (tell(c), c < 2)[1], lambda c: c + 1, 0)
    assert seen == [0, 1, 2]
    seen.clear()
    pick = lambda x: lax.cond(x > 0, lambda x: (tell(x), x)[1], lambda x: (tell(-x), x * x)[1], x)
    assert grad(pick)(-3.0) == -6.0 and jit(pick)(2.0) == 2.0
    assert seen == [3.0, 2.0]
    seen.clear()
    const = jit(lambda w: lax.scan(lambda c, x: ((tell(w), c + x * w)[1], None), 0.0, three)[0])
    assert const(2.0) == 12.0 and seen == [2.0] * 3                  # not moved out of the loop
    state = iter(range(10))
    got = jit(lambda: [io_callback(lambda: np.int64(next(state)), Struct((), "int64")) for _ in range(3)])()
    assert got == [0, 1, 2]


def _turns(kind, body, n, **options):
    """``body`` applied n times, as one of the loops."""
    if kind == "scan":
        return lambda x: lax.scan(lambda c, _: (body(c), None), x, None, length=n, **options)[0]
    return lambda x: lax.while_loop(lambda s: s[1] < n, lambda s: (body(s[0]), s[1] + 1), (x, 0),
                                    **options)[0]


def _nested(kind, body, n):
    return lambda x: lax.scan(lambda c, _: (_turns(kind, body, n)(c), None), x, None, length=2)[0]


def test_a_callback_is_not_the_same_at_every_turn():
    # its operand is, and so looked the residual that its result is
    for kind in ("scan", "while"):
        numbers = iter(range(1, 100))
        body = lambda c, numbers=numbers: c * io_callback(lambda: float(next(numbers)), F64)
        assert grad(_turns(kind, body, 4))(1.0) == 24.0
        assert next(numbers) == 5


@pytest.mark.parametrize("make", [
    lambda body: checkpoint(_turns("scan", body, 4)),
    lambda body: checkpoint(_turns("while", body, 4)),
    lambda body: _turns("scan", body, 4, checkpoint=2),
    lambda body: _turns("scan", body, 4, checkpoint="binomial"),
    lambda body: _turns("while", body, 4, checkpoint=3),
    lambda body: _turns("while", body, 4, checkpoint="sqrt"),
    lambda body: _nested("scan", body, 2),
    lambda body: _nested("while", body, 2)])
def test_what_runs_again_does_not_act_again(make):
    seen = []

    def body(c):
        debug.callback(lambda v: seen.append(float(v)), c)
        return lax.cond(c > 0, np.sin, np.cos, c)

    chain = [1.0]
    while len(chain) < 5:
        chain.append(float(np.sin(chain[-1])))
    slope = np.prod(np.cos(chain[:4]))
    f = make(body)
    assert np.isclose(grad(f)(1.0), slope)
    assert np.allclose(seen, chain[:4])
    seen.clear()
    d2 = grad(grad(f))(1.0)
    assert np.allclose(seen, chain[:4])
    assert np.isclose(d2, jvp(grad(make(np.sin)), (1.0,), (1.0,))[1])


def test_results_of_actions_are_kept_not_made_again():
    draws = iter(range(1, 1000))
    body = lambda c: c * io_callback(lambda _: float(next(draws)), F64, stop_gradient(c))
    once = _turns("scan", body, 3)
    for f in (checkpoint(once), _turns("scan", body, 3, checkpoint=2), _nested("scan", body, 2)):
        value, slope = value_and_grad(f)(1.0)
        assert value == slope                       # linear in x, with the factors that were drawn
    for f in (_nested("while", body, 2), _turns("while", body, 3, checkpoint=2)):
        with pytest.raises(errors.NonDifferentiableError, match="uses results of an io_callback"):
            grad(f)(1.0)
        assert jvp(f, (1.0,), (1.0,))[1] > 0


def test_effects_see_large_values_when_they_are_made():
    seen, tell = recorded()
    x = np.linspace(0.0, 1.0, 50_000)

    def f(x):
        y = np.exp(x)
        tell(np.sum(y))
        z = np.sqrt(y) + 1
        tell(z[-1])
        return np.sum(z * y)
    jit(grad(f))(x)
    np.testing.assert_allclose(seen, [np.exp(x).sum(), np.exp(0.5) + 1], rtol=1e-12)


# ----- errors -----------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


def test_exceptions_reach_the_caller_with_both_places():
    def fails(x):
        raise Broken("boom")

    def f(x):
        return pure_callback(fails, F64, x) * 2.0
    loop = lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 3)[0]
    for run in (f, jit(f), vmap(f), jit(vmap(loop)), loop):
        x = np.ones(2) if "vmap" in repr(run) else 1.0
        with pytest.raises(Broken, match="boom") as caught:
            run(x)
        note, = caught.value.__notes__
        line = f"test_callbacks.py:{f.__code__.co_firstlineno + 1} in f"
        assert "pure_callback of fails" in note and line in note
        assert caught.traceback[-1].frame.code.name == "fails"
        assert jit(np.sin)(0.5) == np.sin(0.5)           # the library goes on


@pytest.mark.parametrize("call, text", [
    (lambda x: pure_callback(lambda x: np.ones(3), F64, x), r"float64\[3\] where float64\[\] was"),
    (lambda x: pure_callback(lambda x: np.float32(1), F64, x), r"float32\[\] where"),
    (lambda x: pure_callback(lambda x: (x, x), F64, x), "result_shape_dtypes"),
    (lambda x: io_callback(lambda x: x, None, x), "result_shape_dtypes")])
def test_wrong_results(call, text):
    for run in (call, jit(call), vmap(call)):
        with pytest.raises(TypeError, match=text):
            run(np.ones(1) if run is not call else np.float64(1.0)) if "vmap" in repr(run) else run(1.0)
    assert pure_callback(lambda: 1, F64) == 1.0           # a number takes the announced dtype


def test_wrong_arguments():
    with pytest.raises(errors.ArgumentError, match="expand_dims"):
        pure_callback(np.sin, F64, 1.0, vmap_method="all")
    with pytest.raises(errors.ArgumentError, match="ShapeDtypeStruct"):
        pure_callback(np.sin, 3.0, 1.0)
    with pytest.raises(NotImplementedError, match="one CPU"):
        io_callback(np.sin, F64, 1.0, sharding=1)


def test_callbacks_may_use_the_library_and_threads():
    inner = lambda x: np.asarray(jit(grad(np.sin))(x))
    f = jit(lambda x: pure_callback(inner, F64, x) + 1)
    results = []
    threads = [threading.Thread(target=lambda: results.append(f(0.5))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [np.cos(0.5) + 1] * 4


# ----- debug ------------------------------------------------------------------------------------------------


def test_print(capsys):
    def f(x):
        debug.print("x={} and {name:.2f} {{}}", x, name=x * 2)
        return x * x
    for run in (f, jit(f), grad(f), jit(grad(f))):
        run(1.5)
        assert capsys.readouterr().out == "x=1.5 and 3.00 {}\n"
    vmap(grad(f))(np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "x=1.0 and 2.00 {}\nx=2.0 and 4.00 {}\n"
    jit(lambda x: debug.print("{} {}", {"a": x}, "text"))(np.ones(2))
    assert capsys.readouterr().out == "{'a': array([1., 1.])} text\n"
    for call, text in ((lambda x: debug.print("{} {}", x), "more values"),
                       (lambda x: debug.print("x", x), "f-string"),
                       (lambda x: debug.print("{y}", x=x), "needs y")):
        with pytest.raises(errors.ArgumentError, match=text):
            jit(call)(1.0)


def test_equal_prints_share_programs(capsys):
    f = grad(lambda x: (debug.print("{}", x), x * x)[1])
    f(1.0)
    before = ft.cache_info()["plans"].misses
    f(2.0)
    assert ft.cache_info()["plans"].misses == before
    assert capsys.readouterr().out == "1.0\n2.0\n"


def test_callback_passes_derivatives():
    seen = []
    assert grad(lambda x: (debug.callback(lambda v, k: seen.append((v, k)), x, k="k"), x * x)[1])(3.0) == 6.0
    assert seen == [(3.0, "k")]


def test_breakpoint():
    out = io.StringIO()

    def f(x, text="word"):
        y = {"twice": x * 2}
        debug.breakpoint(stdin=io.StringIO("p y['twice'] + 1\np text\np nothing\nl\nu\nbt\nc\n"), stdout=out)
        return y["twice"]
    assert jit(grad(f))(2.0) == 2.0
    text = out.getvalue()
    assert "5.0" in text and "'word'" in text and "NameError" in text and "test_breakpoint" in text
    quits = lambda x: (debug.breakpoint(stdin=io.StringIO("q\n"), stdout=out), x)[1]
    with pytest.raises(KeyboardInterrupt):
        jit(quits)(1.0)
    with pytest.raises(NotImplementedError, match="cli"):
        debug.breakpoint(backend="web")
