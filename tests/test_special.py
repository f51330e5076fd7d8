"""scipy.special on traced arrays against SciPy; gradients against finite differences."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import functrans as ft
from functrans.scipy import special

X = np.array([-30.0, -3.0, -0.7, -1e-9, 0.0, 1e-12, 0.3, 1.0, 2.5, 25.0])
UNIT = np.array([1e-9, 0.01, 0.3, 0.499999, 0.5, 0.500001, 0.65, 0.99])
UNARY = {"erf": X, "erfc": X, "ndtr": X, "expit": X, "log_expit": X, "logit": UNIT, "entr": np.abs(X),
         "exp2": X, "expm1": X, "log1p": np.abs(X), "cbrt": X, "exp10": X / 10}


def numeric(f, x, eps=1e-6):
    return (f(x + eps) - f(x - eps)) / (2 * eps)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    x, theirs = UNARY[name], getattr(scipy.special, name)
    for f in (getattr(special, name), theirs):
        np.testing.assert_allclose(ft.jit(f)(x), theirs(x), rtol=1e-13)
    x32 = x.astype(np.float32)
    got = ft.jit(theirs)(x32)
    assert got.dtype == theirs(x32).dtype == np.float32
    np.testing.assert_allclose(got, theirs(x32), rtol=3e-5)
    inner = np.array([0.2, 0.5, 0.71]) if name in ("logit", "entr") else np.array([-0.8, 0.3, 1.7])
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(theirs(x)))(inner), numeric(theirs, inner), rtol=1e-7)
    assert ft.jit(theirs)(1).dtype == np.float64


@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "rel_entr", "kl_div"])
def test_binary(name):
    theirs = getattr(scipy.special, name)
    x = np.array([0.0, 0.0, 0.5, 2.0, 0.0, 1.0, np.nan])
    y = np.array([0.0, 2.0, 0.7, 1.0, np.nan, np.nan, 1.0])
    np.testing.assert_allclose(ft.jit(theirs)(x, y), theirs(x, y), rtol=1e-12)
    got = ft.jit(getattr(special, name))(x[:, None], y)
    np.testing.assert_allclose(got, theirs(x[:, None], y), rtol=1e-12)
    a, b = np.array([0.5, 2.0]), np.array([0.7, 1.5])
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(theirs(x, b)))(a), numeric(lambda x: theirs(x, b), a),
                               rtol=1e-7)
    np.testing.assert_allclose(ft.grad(lambda y: np.sum(theirs(a, y)))(b), numeric(lambda y: theirs(a, y), b),
                               rtol=1e-7)


def test_outside_of_the_domain():
    assert ft.jit(scipy.special.entr)(-1.0) == -np.inf
    assert ft.jit(scipy.special.rel_entr)(-1.0, 1.0) == np.inf
    assert ft.jit(scipy.special.rel_entr)(1.0, 0.0) == np.inf
    np.testing.assert_array_equal(ft.jit(scipy.special.logit)(np.array([0.0, 1.0])), [-np.inf, np.inf])


def test_gradients_where_a_factor_is_zero():
    assert ft.grad(special.xlogy)(0.0, 2.0) == np.log(2.0)
    assert ft.grad(special.xlogy, 1)(0.0, 0.0) == 0
    assert np.isfinite(ft.grad(lambda x: special.entr(x) * 0.0)(0.0))


ROWS = np.array([[0.1, 2.0, -3.0], [1000.0, 1000.5, 0.0], [-np.inf, 1.0, -np.inf],
                 [-1000.0, -1001.0, -999.0]])


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis, keepdims):
    got = ft.jit(lambda a: special.logsumexp(a, axis, keepdims=keepdims))(ROWS)
    want = scipy.special.logsumexp(ROWS, axis, keepdims=keepdims)
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_logsumexp_weights_and_sign():
    a, b = ROWS[:2], np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 2.0]])
    got = ft.jit(lambda a, b: special.logsumexp(a, 1, b, return_sign=True))(a, b)
    want = scipy.special.logsumexp(a, 1, b, return_sign=True)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(lambda a: special.logsumexp(a, 1, b=2.0))(a),
                               scipy.special.logsumexp(a, 1, b=2.0))
    x = np.array([0.3, -0.2, 1.0])
    w = np.array([0.5, 2.0, 1.0])
    g = ft.grad(lambda b: special.logsumexp(x, b=b))(w)
    np.testing.assert_allclose(g, np.exp(x) / np.sum(w * np.exp(x)))


def test_logsumexp_of_infinite_rows():
    x = np.array([[-np.inf, -np.inf], [0.0, np.log(3.0)]])

    def f(x):
        s = special.logsumexp(x, 1)
        return np.sum(np.where(np.isfinite(s), s, 0.0))
    value, g = ft.value_and_grad(f)(x)
    assert value == pytest.approx(np.log(4.0))
    np.testing.assert_allclose(g, [[0, 0], [0.25, 0.75]])
    np.testing.assert_array_equal(ft.grad(special.logsumexp)(x[0]), [0, 0])
    assert ft.jit(special.logsumexp)(np.array([np.inf, 1.0])) == np.inf


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_softmax(name, axis):
    ours, theirs = getattr(special, name), getattr(scipy.special, name)
    np.testing.assert_allclose(ft.jit(lambda x: ours(x, axis))(ROWS), theirs(ROWS, axis), rtol=1e-12)
    x, w = np.array([[0.1, -0.4, 0.8], [1.0, 0.2, -0.3]]), np.array([[1.0, 2.0, -1.0], [0.5, 0.1, 3.0]])
    g = ft.grad(lambda x: np.sum(ours(x, axis) * w))(x)
    want = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = 1e-6
        want[i] = np.sum((theirs(x + d, axis) - theirs(x - d, axis)) * w) / 2e-6
    np.testing.assert_allclose(g, want, rtol=1e-6, atol=1e-8)


def test_second_derivatives():
    assert ft.grad(ft.grad(special.erf))(0.4) == pytest.approx(-2 * 0.4 * 2 / np.sqrt(np.pi) * np.exp(-0.16))
    s = special.expit(0.4)
    assert ft.grad(ft.grad(special.expit))(0.4) == pytest.approx(s * (1 - s) * (1 - 2 * s))


def test_vmap_equals_loop():
    for f in (special.logsumexp, special.softmax, special.erf, lambda x: special.xlogy(x, 2.0)):
        np.testing.assert_allclose(ft.vmap(f)(ROWS), np.stack([f(r) for r in ROWS]), rtol=1e-13)


def test_without_tracers_scipy_runs_and_is_imported_late():
    assert special.erf(0.5) == scipy.special.erf(0.5)
    assert special.logaddexp(0.0, 0.0) == np.log(2.0)
    code = ("import sys; import functrans.scipy.special as s; assert 'scipy.special' not in sys.modules; "
            "s.erf(0.5); assert 'scipy.special' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
