"""Power transforms, differences from 1, loss functions: compositions."""

from __future__ import annotations

import math

import numpy as np

from ...ir.op import OPS
from .core import describe, floats, special


def _composition(name, parameters, text, example, formula, ufunc=True):
    def function(*args):
        return formula(*floats(*args))
    function.__name__ = function.__qualname__ = name
    describe(function, parameters.split(), text, *example.split(" -> "))
    return special(ufunc=ufunc)(function)


def _near(x, limit, coefficients, away):
    """The power series of these coefficients for |x| < limit; so higher derivatives are right at 0, too."""
    inside = np.abs(x) < limit
    small, value = np.where(inside, x, 0.0), 0.0
    for c in reversed(coefficients):
        value = value * small + c
    return np.where(inside, value, away(np.where(inside, limit, x)))


_EXPREL = [1.0 / math.factorial(k + 1) for k in range(18)]
_LOGREL = [(-1.0) ** k / (k + 1) for k in range(17)]


def _exprel(x):
    return _near(x, 1.0, _EXPREL, lambda far: np.where(far == np.inf, np.inf, np.expm1(far) / far))


def _logrel(x):
    """log1p(x) / x."""
    return _near(x, 0.1, _LOGREL, lambda far: np.log1p(far) / far)


def _logarithmic(log, power):
    """log * exprel(power * log), with the limits where log is infinite."""
    flat = ~np.isfinite(log)
    safe = np.where(flat, 1.0, log)
    limit = np.where(log * power < 0, -1.0 / np.where(power == 0, 1.0, power), log)
    edge = np.where(np.isnan(log), np.nan, limit)
    return np.where(flat, edge, safe * _exprel(power * safe))


exprel = _composition("exprel", "x", "(exp(x) - 1) / x, 1 at 0.", "1e-3 -> 1.0005001667", _exprel)
cosm1 = _composition("cosm1", "x", "cos(x) - 1, accurate where x is small.", "1e-3 -> -4.9999995",
                     lambda x: -2.0 * np.sin(0.5 * x) ** 2)
powm1 = _composition("powm1", "x y", "x**y - 1, accurate where that is small.", "1.001, 2.0 -> 0.0020009999",
                     lambda x, y: np.where(x > 0, np.expm1(y * np.log(np.where(x > 0, x, 1.0))),
                                           np.power(x, y) - 1.0))
boxcox = _composition("boxcox", "x lmbda", "(x**lmbda - 1) / lmbda; log(x) for lmbda = 0. Smooth in both.",
                      "2.0, 0.5 -> 0.8284271247", lambda x, power: _logarithmic(np.log(x), power))
boxcox1p = _composition("boxcox1p", "x lmbda", "boxcox(1 + x, lmbda).", "1.0, 0.5 -> 0.8284271247",
                        lambda x, power: _logarithmic(np.log1p(x), power))
inv_boxcox = _composition("inv_boxcox", "y lmbda", "The x for which boxcox(x, lmbda) is y.",
                          "1.0, 0.5 -> 2.25",
                          lambda y, power: np.exp(y * _logrel(power * y)))
inv_boxcox1p = _composition("inv_boxcox1p", "y lmbda", "The x for which boxcox1p(x, lmbda) is y.",
                            "1.0, 0.5 -> 1.25",
                            lambda y, power: np.expm1(y * _logrel(power * y)))
huber = _composition(
    "huber", "delta r", "r**2 / 2 for |r| <= delta, delta (|r| - delta / 2) beyond; inf for delta < 0.",
    "1.0, 2.0 -> 1.5", lambda delta, r: np.where(delta < 0, np.inf, np.where(
        np.abs(r) <= delta, 0.5 * r * r, delta * (np.abs(r) - 0.5 * delta))))


def _pseudo_huber(delta, r):
    ratio = r / np.where(delta > 0, delta, 1.0)
    square = ratio * ratio
    value = delta * delta * (square / (1.0 + np.sqrt(1.0 + square)))
    return np.where(delta < 0, np.inf, np.where(delta == 0, 0.0, value))


pseudo_huber = _composition("pseudo_huber", "delta r",
                            "delta**2 (sqrt(1 + (r / delta)**2) - 1), a smooth huber.",
                            "1.0, 2.0 -> 1.2360679774", _pseudo_huber)


def _degrees(f):
    return lambda x: f(np.fmod(x, 360.0) * (math.pi / 180.0))


sindg = _composition("sindg", "x", "The sine of an angle in degrees.", "30.0 -> 0.4999999999",
                     _degrees(np.sin))
cosdg = _composition("cosdg", "x", "The cosine of an angle in degrees.", "60.0 -> 0.4999999999",
                     _degrees(np.cos))
tandg = _composition("tandg", "x", "The tangent of an angle in degrees.", "30.0 -> 0.5773502691",
                     _degrees(np.tan))


@special(ufunc=False)
def sinc(x):
    """sin(pi x) / (pi x), 1 at 0, as numpy.sinc.

    >>> from functrans.scipy import special
    >>> float(special.sinc(0.5))
    0.6366197723...
    """
    return np.sinc(x)


@special(ufunc=False)
def diric(x, n):
    """Dirichlet's kernel sin(n x / 2) / (n sin(x / 2)) of a known positive integer n.

    >>> from functrans.scipy import special
    >>> float(special.diric(0.5, 3))
    0.9183883745...
    """
    (x,) = floats(x)
    turn = np.rint(x / (2.0 * math.pi))
    even = np.fmod(turn * (n - 1), 2.0) == 0
    value = OPS["eval_chebyu"](*floats(n - 1.0, np.cos((x - 2.0 * math.pi * turn) / 2.0))) / n
    return np.where(even, value, -value)


__all__ = ["exprel", "cosm1", "powm1", "boxcox", "boxcox1p", "inv_boxcox", "inv_boxcox1p", "huber",
"pseudo_huber",
           "sindg", "cosdg", "tandg", "sinc", "diric"]
