"""Taylor mode: every op against nested jvp, a few functions against mpmath, loops and programs."""

import numpy as np
import pytest
from mpmath import mp
from op_cases import SMOOTH, twice
from util import rng_of

import functrans as ft
from functrans import lax
from functrans.errors import ArgumentError, NonDifferentiableError
from functrans.experimental.jet import jet
from functrans.scipy import special


def along(f, primals, series):
    """Derivatives of f along the curve, by nested jvp."""
    def curve(t):
        at = []
        for x, terms in zip(primals, series, strict=True):
            power, total = t, x
            for k, term in enumerate(terms, 1):
                total = total + term * power
                power = power * t / (k + 1)
            at.append(total)
        return f(*at)
    found = []
    for _ in range(len(series[0])):
        curve = slope(curve)
        found.append(curve(0.0))
    return found


def slope(g):
    return lambda t: ft.jvp(g, (t,), (1.0,))[1]


CASES = [c for c in SMOOTH if "float32" not in repr(c) and c.code() != "c128"]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_every_op(case):
    """To order 3, or as far as it has derivatives."""
    order = 3 if twice(case).diff() == case.diff() else 1
    rng, xs, which = rng_of(repr(case), "jet"), case.values(), case.diff()
    f = case.at(which, xs)
    at = tuple(xs[i] for i in which)
    series = tuple([0.3 * rng.normal(size=np.shape(x)) for _ in range(order)] for x in at)
    out, terms = ft.jit(lambda at, series: jet(f, at, series))(at, series)
    np.testing.assert_allclose(out, f(*at), rtol=1e-14, equal_nan=True)
    for got, want in zip(terms, along(f, at, series), strict=True):
        size = max(1.0, np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10 * size)


EXACT = {
    "sin": (np.sin, mp.sin, 0.7), "tanh": (np.tanh, mp.tanh, 0.4), "log": (np.log, mp.log, 1.3),
    "sqrt": (np.sqrt, mp.sqrt, 0.8), "power": (lambda x: x ** 2.5, lambda x: x ** 2.5, 1.2),
    "quotient": (lambda x: np.exp(x) / (1 + x * x), lambda x: mp.exp(x) / (1 + x * x), 0.3),
    "tan": (np.tan, mp.tan, 0.5), "erf": (special.erf, mp.erf, 0.6), "gammaln": (special.gammaln,
    mp.loggamma, 2.3),
    "arctan": (np.arctan, mp.atan, 0.2), "expit": (special.expit, lambda x: 1 / (1 + mp.exp(-x)), -0.4),
    "j0": (special.j0, lambda x: mp.besselj(0, x), 1.1),
    "nested": (lambda x: np.sin(np.exp(np.cos(x))), lambda x: mp.sin(mp.exp(mp.cos(x))), 0.9),
}


@pytest.mark.parametrize("name", EXACT)
def test_ten_derivatives(name):
    f, exact, x = EXACT[name]
    _, terms = ft.jit(lambda x: jet(f, (x,), ((1.0, *[0.0] * 9),)))(x)
    with mp.workdps(60):
        want = [float(mp.diff(exact, mp.mpf(x), n)) for n in range(1, 11)]
    np.testing.assert_allclose(terms, want, rtol=1e-11, atol=1e-10)


def test_programs_stay_small():
    """The number of equations grows like K^2, where nested jvps double."""
    def equations(order):
        return len(ft.make_jaxpr(lambda x: jet(lambda x: np.sin(np.exp(x)), (x,), ((1.0,
        *[0.0] * (order - 1)),)))(
            0.5).eqns)
    assert equations(12) < 5 * equations(6)


def test_contractions_reductions_and_trees():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 3))
    series = [[rng.normal(size=(3, 3)) for _ in range(3)] for _ in range(2)]

    def f(a, b):
        return {"p": np.sum(np.tanh(a @ b), 0), "m": np.max(a) * np.linalg.det(b), "s": np.linalg.solve(b,
        a[:, 0])}
    out, terms = jet(f, (a, b), series)
    for key in out:
        want = along(lambda a, b, key=key: f(a, b)[key], (a, b), series)
        np.testing.assert_allclose(terms[key], want, rtol=1e-9, atol=1e-9)
    tree, twos = {"x": a, "n": np.arange(3)}, {"x": series[0][0], "n": np.zeros(3)}
    out, (first,) = jet(lambda t: np.sum(t["x"] ** 2) + np.sum(t["n"]), (tree,), ((twos,),))
    assert first == pytest.approx(2 * np.sum(a * series[0][0]))


def looped(x):
    def turn(c, y):
        c = (np.sin(c[0]) * y + x, c[1] + 1)
        return c, c[0] * c[0]
    (c, n), ys = lax.scan(turn, (x, 0), np.linspace(0.5, 1.0, 5))
    return np.sum(ys) * c + n


def turned(x):
    return lax.while_loop(lambda c: c[1] < 4, lambda c: (np.exp(-c[0]) * x, c[1] + 1), (x, 0))[0]


def chosen(x):
    return lax.cond(x > 0.0, lambda x: np.sin(x) * x, lambda x: x, x) + lax.fori_loop(0, 3, lambda i,
    y: y * x, 1.0)


@pytest.mark.parametrize("f", [looped, turned, chosen])
def test_loops_and_branches(f):
    series = ((1.0, 0.5, -0.3, 0.2),)
    want = along(f, (0.6,), series)
    for g in (f, ft.jit(f), ft.checkpoint(f)):
        out, terms = jet(g, (0.6,), series)
        assert out == pytest.approx(f(0.6))
        np.testing.assert_allclose(terms, want, rtol=1e-10)


def test_under_other_transforms():
    x = np.array([0.3, 0.9])

    def third(x):
        return jet(np.sin, (x,), ((1.0, 0.0, 0.0),))[1][2]
    np.testing.assert_allclose(ft.vmap(third)(x), -np.cos(x), rtol=1e-14)
    assert ft.grad(third)(0.3) == pytest.approx(np.sin(0.3))
    assert ft.grad(lambda a: jet(lambda x: a * x ** 3, (2.0,), ((1.0,
    0.0),))[1][1])(5.0) == pytest.approx(12.0)
    assert third(0.3) == pytest.approx(-np.cos(0.3))


def test_custom_rules():
    @ft.custom_jvp
    def f(x):
        return x ** 2
    f.defjvp(lambda p, t: (f(*p), 3.0 * p[0] * t[0]))           # not the truth, so that it shows
    assert jet(f, (2.0,), ((1.0, 0.0),))[1] == [pytest.approx(6.0), pytest.approx(3.0)]

    @ft.custom_vjp
    def g(x):
        return np.sin(x)
    g.defvjp(lambda x: (g(x), x), lambda x, c: (c,))
    np.testing.assert_allclose(jet(g, (0.4,), ((1.0, 0.0),))[1], [np.cos(0.4), -np.sin(0.4)])


def test_errors():
    with pytest.raises(ArgumentError, match="one series per argument"):
        jet(np.add, (1.0, 2.0), ((1.0,), (1.0, 0.0)))
    with pytest.raises(ArgumentError, match="must be a tuple"):
        jet(np.sin, 1.0, ((1.0,),))
    with pytest.raises(NonDifferentiableError):
        jet(lambda v: special.jv(v, 1.0), (0.5,), ((1.0,),))
    assert jet(np.sin, (0.5,), ((),)) == (np.sin(0.5), [])
