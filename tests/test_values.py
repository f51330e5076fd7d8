"""Values on demand: Python's if, while, int() and masks on traced values; and values that leak."""

import itertools
import threading

import numpy as np
import pytest
from nested import DERIVATIVES, difference

import functrans as ft
from functrans import errors, grad, hessian, jacfwd, jacrev, jit, jvp, lax, linearize, vjp, vmap

EAGER = {
    "grad": lambda f, x: grad(f)(x),
    "jvp": lambda f, x: jvp(f, (x,), (1.0,))[1],
    "vjp": lambda f, x: vjp(f, x)[1](1.0)[0],
    "linearize": lambda f, x: linearize(f, x)[1](1.0),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "jacrev": lambda f, x: jacrev(f)(x),
    "grad of checkpoint": lambda f, x: grad(ft.checkpoint(f))(x),
}
eager = pytest.mark.parametrize("name", EAGER)


# ----- control flow -------------------------------------------------------------------------------


def branch(x):
    return np.sin(x) if x > 0 else x * x


def newton(x):
    """Square root by iteration, as many turns as it takes."""
    y = x
    while abs(y * y - x) > 1e-12:
        y = 0.5 * (y + x / y)
    return y


def by_integer(x):
    total = x
    for _ in range(int(np.floor(x))):
        total = total * x
    return total


def boolean_logic(x):
    if not (x > 1 and x < 2) or x == 3:
        return x * 5.0
    assert x > 0
    return max(x, x * x) * sorted([x, 3.0 * x, 2.0 * x])[1]


def by_membership(x):
    return x * x if 2.5 in np.stack([x, 2.5 + 0.0 * x]) else x


@eager
@pytest.mark.parametrize("f", [branch, newton, by_integer, boolean_logic, by_membership])
@pytest.mark.parametrize("x", [1.3, 2.7])
def test_control_flow(f, x, name):
    assert EAGER[name](f, x) == pytest.approx(difference(f, x), rel=1e-8)


def test_both_branches():
    assert grad(branch)(-1.5) == -3.0 and grad(branch)(0.5) == np.cos(0.5)
    assert hessian(branch)(-1.5) == 2.0
    assert hessian(branch)(0.5) == pytest.approx(-np.sin(0.5), rel=1e-14)


@pytest.mark.parametrize("inner", DERIVATIVES)
@pytest.mark.parametrize("outer", ["grad", "jvp", "linearize", "jacrev", "grad checkpoint"])
def test_values_of_the_outer_level_inside(outer, inner):
    """A tracer is known when what it depends on is, through all levels; under vmap and jit it is not."""
    def f(x):
        return DERIVATIVES[inner](lambda y: y * y * x if x > 1.0 else y)(x)
    assert DERIVATIVES[outer](f)(3.0) == pytest.approx(12.0) or inner == "jit grad"


def test_closed_over_value_under_vmap():
    def f(a):
        return vmap(lambda x: x * a if a > 0 else x)(np.arange(3.0)).sum()
    assert grad(f)(2.0) == 3.0
    assert grad(f)(-2.0) == 0.0


@pytest.mark.parametrize("wrap", [lambda f: jit(f), lambda f: jit(grad(f)), lambda f: grad(jit(f)),
                                  lambda f: lambda x: vmap(f)(np.array([x])),
                                  lambda f: lambda x: vmap(grad(f))(np.array([x])),
                                  lambda f: lambda x: grad(lambda x: vmap(f)(x[None])[0])(np.float64(x)),
                                  lambda f: lambda x: jacfwd(jit(f))(x),
                                  lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)])
@pytest.mark.parametrize("f", [branch, newton])
def test_unknown_values_raise(wrap, f):
    with pytest.raises(errors.TracerBoolError, match=r"test_values.py:\d+ in (branch|newton)") as e:
        wrap(f)(1.3)
    assert "lax.cond" in str(e.value)


def test_unknown_values_of_other_kinds():
    for f in (lambda x: x * int(x), lambda x: [1.0, 2.0][x.astype(int)],
              lambda x: np.reshape(x, (x.astype(int),)), lambda x: x if x in (1.0, 2.0) else 2 * x):
        with pytest.raises(errors.ConcretizationError):
            jit(f)(1.0)
        with pytest.raises(errors.ConcretizationError):
            vmap(f)(np.ones(2))


@eager
def test_integers_in_python(name):
    def f(x):
        k = np.floor(x).astype(int)
        return x * [10.0, 20.0, 30.0][k] + np.arange(5.0)[k] * x + np.ones(k).sum() * x + k * x
    assert EAGER[name](f, 2.5) == 30.0 + 2.0 + 2.0 + 2.0
    assert EAGER[name](f, 1.5) == 20.0 + 1.0 + 1.0 + 1.0


def test_boolean_mask():
    x = np.array([1.0, -2.0, 3.0, -4.0])

    def f(x):
        return np.sum(x[x > 0] ** 2)
    np.testing.assert_array_equal(grad(f)(x), [2.0, 0.0, 6.0, 0.0])
    np.testing.assert_array_equal(jvp(lambda x: x[x > 0], (x,), (np.arange(4.0),))[1], [0.0, 2.0])
    np.testing.assert_array_equal(jacrev(lambda x: x[x < 0])(x), np.eye(4)[[1, 3]])
    np.testing.assert_array_equal(jacfwd(lambda x: x[x < 0])(x), np.eye(4)[[1, 3]])
    with pytest.raises(errors.ConcretizationError):
        jit(f)(x)
    with pytest.raises(errors.ConcretizationError):
        vmap(f)(np.stack([x, x]))


def test_truth_of_an_array_is_ambiguous_as_in_numpy():
    with pytest.raises(ValueError, match="ambiguous"):
        grad(lambda x: np.sum(x) if x > 0 else 0.0)(np.ones(3))
    assert grad(lambda x: np.sum(x) if np.ones(1) * x[0] > 0 else 0.0)(np.ones(3)).sum() == 3.0


def test_builtin_functions():
    x = np.array([3.0, 1.0, 2.0])
    assert grad(lambda x: round(x * 1.0, 2) + round(x) * x)(2.6) == 3.0
    np.testing.assert_array_equal(grad(lambda x: max(x) * min(x))(x), [1.0, 3.0, 0.0])
    np.testing.assert_array_equal(grad(lambda x: sorted(x)[1] * 2)(x), [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(grad(lambda x: sum(a * b for a, b in itertools.pairwise(x)))(x),
                                  [1.0, 5.0, 1.0])
    np.testing.assert_array_equal(grad(lambda x: (lambda a, b, c: a * b)(*x) + len(x))(x), [1.0, 3.0, 0.0])


def test_formatting_shows_values_where_known():
    seen = []
    grad(lambda x: (seen.append(f"{x * 2:.2f}"), x * x)[1])(1.5)
    assert seen == ["3.00"]


@pytest.fixture
def runs(monkeypatch):
    """How many single ops ran, by whatever way."""
    from functrans.trace.core import Upward
    count = []
    run = Upward.run_op

    def counting(op, args, params):
        count.append(op.name)
        return run(op, args, params)
    monkeypatch.setattr(Upward, "run_op", staticmethod(counting))
    return count


def chain(n):
    def f(x):
        for _ in range(n):
            x = np.sin(x) + 0.1
            if x > 10:
                return x * x
        return x
    return f


@pytest.mark.parametrize("name", ["grad", "jvp", "linearize"])
def test_n_tests_run_each_op_once(runs, name):
    EAGER[name](chain(200), 0.5)
    assert len(runs) == 3 * 200


def test_values_are_kept_through_levels(runs):
    grad(lambda x: grad(chain(50))(x))(0.5)
    assert len(runs) <= 2 * 3 * 50


def test_a_test_runs_only_what_it_needs(runs):
    def f(x):
        a = np.exp(x) * 3.0
        if x > 0:
            return a
        return -a
    grad(f)(1.0)
    assert runs == ["gt"]


# ----- leaks --------------------------------------------------------------------------------------

LEAKS = {
    "grad": lambda f: grad(f)(1.0),
    "value_and_grad": lambda f: ft.value_and_grad(f)(1.0),
    "jvp": lambda f: jvp(f, (1.0,), (1.0,)),
    "vjp": lambda f: vjp(f, 1.0),
    "linearize": lambda f: linearize(f, 1.0),
    "vmap": lambda f: vmap(f)(np.ones(2)),
    "jit": lambda f: jit(f)(1.0),
    "jacfwd": lambda f: jacfwd(f)(1.0),
    "jacrev": lambda f: jacrev(f)(1.0),
    "make_jaxpr": lambda f: ft.make_jaxpr(f)(1.0),
    "checkpoint": lambda f: grad(ft.checkpoint(f))(1.0),
    "scan": lambda f: lax.scan(lambda c, _: (f(c), None), 1.0, None, 2),
}
USES = {"operator": lambda t: t + 1.0, "ufunc": lambda t: np.exp(t), "bool": lambda t: bool(t > 0),
        "method": lambda t: t.astype(np.float32), "index": lambda t: t[None],
        "grad": lambda t: grad(np.sin)(t),
        "closure": lambda t: grad(lambda x: x * t)(1.0), "output": lambda t: jit(lambda x: t)(1.0),
        "vmap": lambda t: vmap(lambda x: x * t)(np.ones(2)),
        "jit": lambda t: jit(lambda x: x * 3.0)(t)}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("where", LEAKS)
def test_leak(where, use):
    kept = []

    def f(x):
        kept.append(x * 2.0)
        return x * x
    LEAKS[where](f)
    with pytest.raises(errors.LeakedTracerError, match=r"test_values.py:\d+ in <lambda>") as e:
        USES[use](kept[0])
    assert "that has returned" in str(e.value) and "Return values" in str(e.value)


def test_leak_into_a_later_call():
    kept = []

    def f(x):
        kept.append(x)
        return x * kept[0]
    assert grad(f)(2.0) == 4.0
    with pytest.raises(errors.LeakedTracerError):
        grad(f)(2.0)


def test_leak_out_of_a_failed_trace_leaves_no_open_level():
    kept = []

    def f(x):
        kept.append(x)
        raise KeyError("mine")
    for _ in range(3):
        with pytest.raises(KeyError, match="mine"):
            jit(grad(f))(1.0)
    with pytest.raises(errors.LeakedTracerError):
        kept[0] + 1
    assert grad(np.sin)(0.0) == 1.0
    assert np.sin(1.0) + ft.numpy.sin(1.0) == 2 * np.sin(1.0)


def test_generator_that_leaves_a_trace_open_is_harmless():
    def steps(x):
        yield grad(lambda y: y * x)(2.0)
        yield x
    assert grad(lambda x: next(steps(x)))(3.0) == 1.0
    assert grad(np.sin)(0.0) == 1.0


def test_leak_to_another_thread():
    caught = []

    def f(x):
        def use():
            try:
                caught.append(np.sin(x) * 2)
            except Exception as e:
                caught.append(e)
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        return x * x
    assert grad(f)(3.0) == 6.0
    assert isinstance(caught[0], errors.LeakedTracerError) and "another thread" in str(caught[0])


def test_inner_tracer_that_outlives_its_level_inside_an_outer_one():
    def f(x):
        kept = []
        grad(lambda y: kept.append(y) or y * x)(1.0)
        return x * kept[0]
    with pytest.raises(errors.LeakedTracerError, match=r"test_values.py:\d+ in f"):
        grad(f)(1.0)
