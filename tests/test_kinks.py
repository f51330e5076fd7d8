"""Derivatives where a function has none, or an infinite one: the table in docs/semantics.md, row by row.

The values are what the table says: decided, not computed. Each holds in forward and in reverse mode, under
jit, and second derivatives in either order are finite and agree.
"""

import numpy as np
import pytest

import functrans.scipy.special as sp
from functrans import grad, jacfwd, jacrev, jit, lax, vmap

INF = np.inf
LOG2 = np.log(2.0)
EYE = np.eye(2)

ROWS = {
    "where + sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), np.array([0.0, -1.0, 4.0]), [0, 0, 0.25]),
    "where + log": (lambda x: np.where(x > 0, np.log(x), 0.0), np.array([0.0, -1.0, 4.0]), [0, 0, 0.25]),
    "where + x log x": (lambda x: np.where(x > 0, x * np.log(x), 0.0), np.array([0.0, -1.0, 1.0]), [0, 0, 1]),
    "where + sqrt log": (lambda x: np.where(x > 0, np.sqrt(x) * np.log(x), 0.0),
                         np.array([0.0, -1.0, 1.0]), [0, 0, 1]),
    "where + overflow": (lambda x: np.where(x < 1, x * np.exp(x), 0.0), np.array([0.0, 1e3]), [1, 0]),
    "where= of a sum": (lambda x: np.sum(x * np.log(x), where=x > 0), np.array([0.0, -1.0, 1.0]), [0, 0, 1]),
    "where + x / norm": (lambda x: np.where(x @ x > 0, x / np.sqrt(x @ x), 0.0), np.zeros(2), [0, 0]),
    "where + sin(x) / x": (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), np.array([0.0, np.pi]),
                           [0, -1 / np.pi]),
    "sinc at 0": (np.sinc, np.array([0.0, 1.0]), [0, -1]),
    "a loop of where + x log x": (
        lambda x: lax.fori_loop(0, 2, lambda i, c: np.where(c > 0, c * np.log(c), 0.0), x),
        np.array([0.0, -1.0, np.e]), [0, 0, 4]),
    "a branch of x log x": (
        lambda x: vmap(lambda v: lax.cond(v > 0, lambda v: v * np.log(v), np.zeros_like, v))(x),
        np.array([0.0, -1.0, 1.0]), [0, 0, 1]),
    "where + division": (lambda x: np.where(x != 0, 1 / x, 0.0), np.array([0.0, 2.0]), [0, -0.25]),
    "where + power": (lambda x: np.where(x > 0, x ** -0.5, 0.0), np.array([0.0, 4.0]), [0, -0.0625]),
    "norm at 0": (np.linalg.norm, np.zeros(2), [0, 0]),
    "norm of rows at 0": (lambda x: np.linalg.norm(x, axis=1), np.array([[0.0, 0.0], [3.0, 4.0]]),
                          [[0, 0], [0.6, 0.8]]),
    "Frobenius norm at 0": (np.linalg.norm, np.zeros((2, 2)), np.zeros((2, 2))),
    "1-norm at 0": (lambda x: np.linalg.norm(x, 1), np.zeros(2), [0, 0]),
    "max norm at a tie": (lambda x: np.linalg.norm(x, INF), np.ones(2), [0.5, 0.5]),
    "sqrt of a sum of squares at 0": (lambda x: np.sqrt(np.sum(x * x)), np.zeros(2), [0, 0]),
    "sqrt at 0": (np.sqrt, np.array([0.0, 4.0]), [0, 0.25]),
    "cbrt at 0": (np.cbrt, np.array([0.0, 8.0]), [0, 1 / 12]),
    "sqrt(x)**2 at 0": (lambda x: np.sqrt(x) ** 2, np.zeros(1), [0]),
    "x**0 at 0": (lambda x: x ** 0, np.zeros(1), [0]),
    "x**0.0 at 0": (lambda x: x ** 0.0, np.zeros(1), [0]),
    "x**0.5 at 0": (lambda x: x ** 0.5, np.array([0.0, 4.0]), [0, 0.25]),
    "x**1.0 at 0": (lambda x: x ** 1.0, np.zeros(1), [1]),
    "x**y at (0, y), in x": (lambda x: np.power(x, np.array([0.0, 0.5, 1.0, 2.0])), np.zeros(4),
                             [0, 0, 1, 0]),
    "x**y at (0, y), in y": (lambda y: np.power(np.zeros(4), y), np.array([0.0, 0.5, 1.0, 2.0]),
                             [0, 0, 0, 0]),
    "arctan2 at (0, 0)": (lambda v: np.arctan2(v[0], v[1]), np.zeros(2), [0, 0]),
    "hypot at (0, 0)": (lambda v: np.hypot(v[0], v[1]), np.zeros(2), [0, 0]),
    "logsumexp, some -inf": (sp.logsumexp, np.array([-INF, 0.0]), [0, 1]),
    "logsumexp, all -inf": (sp.logsumexp, np.array([-INF, -INF]), [0, 0]),
    "logaddexp at (-inf, -inf)": (lambda v: np.logaddexp(v[0], v[1]), np.array([-INF, -INF]), [0.5, 0.5]),
    "logaddexp at (-inf, 0)": (lambda v: np.logaddexp(v[0], v[1]), np.array([-INF, 0.0]), [0, 1]),
    "softmax, masked entries": (
        lambda x: sp.softmax(np.where(np.array([True, False, True]), x, -INF))[0], np.zeros(3),
        [0.25, 0, -0.25]),
    "softmax, a masked row": (
        lambda x: np.sum(np.where(np.array([False, False]), sp.softmax(np.where(
            np.array([False, False]), x, -INF)), 0.0)), np.zeros(2), [0, 0]),
    "std of a constant": (np.std, np.ones(3), [0, 0, 0]),
    "std with ddof of a constant": (lambda x: np.std(x, ddof=1), np.ones(3), [0, 0, 0]),
    "var of a constant": (np.var, np.ones(3), [0, 0, 0]),
    "abs at 0": (np.abs, np.zeros(1), [0]),
    "sign at 0": (np.sign, np.zeros(1), [0]),
    "max at ties": (np.max, np.array([1.0, 3.0, 3.0]), [0, 0.5, 0.5]),
    "min at ties": (np.min, np.array([1.0, 1.0, 3.0]), [0.5, 0.5, 0]),
    "maximum at a tie": (lambda x: np.maximum(x, 1.0), np.ones(1), [0.5]),
    "minimum at a tie": (lambda x: np.minimum(x, 1.0), np.ones(1), [0.5]),
    "clip at its edges": (lambda x: np.clip(x, 0.0, 1.0), np.array([0.0, 0.5, 1.0]), [0.5, 1, 0.5]),
    "prod with a zero": (np.prod, np.array([2.0, 0.0, 3.0]), [0, 6, 0]),
    "prod with two zeros": (np.prod, np.array([0.0, 0.0, 3.0]), [0, 0, 0]),
    "cumprod with zeros": (lambda x: np.cumprod(x)[2], np.array([2.0, 0.0, 3.0]), [0, 6, 0]),
    "masked denominator": (lambda d: np.where(d == 0, 0.0, 1 / np.where(d == 0, 1.0, d)),
                           np.array([0.0, 2.0]), [0, -0.25]),
    "singular values, equal": (lambda a: np.linalg.svd(a, compute_uv=False)[0], EYE, [[1, 0], [0, 0]]),
    "singular values at 0": (lambda a: np.sum(np.linalg.svd(a, compute_uv=False)), np.zeros((2, 2)), EYE),
    "svd, equal values": (lambda a: np.sum(np.linalg.svd(a)[0]), EYE, np.zeros((2, 2))),
    "eigh, equal values": (lambda a: np.linalg.eigh(a)[0][0], EYE, [[1, 0], [0, 0]]),
    "eigenvectors, equal values": (lambda a: np.sum(np.linalg.eigh(a)[1]), EYE, np.zeros((2, 2))),
    "abs of a complex 0": (lambda v: np.abs(v[0] + 1j * v[1]), np.zeros(2), [0, 0]),
    "floor, ceil, round": (lambda x: np.floor(x) + np.ceil(x) + np.round(x), np.ones(1), [0]),
}


def summed(jacobian, x):
    """The derivative of the sum of the results."""
    j = np.asarray(jacobian)
    return j.reshape(-1, *x.shape).sum(0)


def one_of_a_batch(f):
    return lambda x: vmap(f)(np.stack([x, x + 1.0]))[0]


def test_infinite_slopes_agree():
    """x log x has none at 0, and sqrt(x) * x has; where they are infinite, both modes say so."""
    def f(x):
        return x * np.log(x)
    x = np.array([0.0, 1.0])
    for d in (jacrev(f), jacfwd(f)):
        np.testing.assert_array_equal(d(x), [[-INF, 0], [0, 1]])


@pytest.mark.parametrize("f, x, want", ROWS.values(), ids=ROWS)
def test_kink(f, x, want):
    for d in (jacrev(f), jacfwd(f), jit(jacrev(f)), jit(jacfwd(f)), one_of_a_batch(jacrev(f)),
              one_of_a_batch(jacfwd(f))):
        np.testing.assert_allclose(summed(d(x), x), np.asarray(want, float), rtol=1e-14, atol=0)

    def total(v):
        return np.sum(f(v))
    second = [jacfwd(grad(total))(x), jacrev(grad(total))(x), jacfwd(jacfwd(total))(x)]
    assert np.isfinite(second[0]).all()
    np.testing.assert_allclose(second[1], second[0], rtol=1e-12)
    np.testing.assert_allclose(second[2], second[0], rtol=1e-12)


@pytest.mark.parametrize("f", [np.logaddexp, lambda a, b: np.logaddexp(b, a),
                               lambda a, b: np.logaddexp2(a, b / LOG2) * LOG2,
                               lambda a, b: np.logaddexp.reduce(np.stack([a, b])),
                               lambda a, b: np.logaddexp.accumulate(np.stack([a, b]))[1]],
                         ids=["first", "second", "logaddexp2", "reduce", "accumulate"])
def test_logaddexp_is_smooth_at_ties(f):
    """Of log(1 + exp(x)) at 0: 1/2, 1/4, 0, -1/8."""
    g, got = (lambda x: f(0.0 * x, x)), []
    for _ in range(4):
        g = grad(g)
        got.append(g(0.0))
    np.testing.assert_allclose(got, [1 / 2, 1 / 4, 0, -1 / 8], atol=1e-15)
