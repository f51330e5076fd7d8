"""The gamma, beta and zeta families."""

from __future__ import annotations

import math

import numpy as np

from ... import errors
from ...ir.op import OPS
from ...numpy.core import traced
from .core import direct, float_of, floats, special

gammaln = direct("gammaln", "x", "The logarithm of |gamma(x)|. Derivative: digamma (DLMF 5.2.2).",
                 "4.5 -> 2.4537365708")
gamma = direct("gamma", "x", "The gamma function; gamma(n + 1) is n!.", "4.5 -> 11.631728396")
rgamma = direct("rgamma", "x", "1 / gamma(x), which has no poles.", "4.5 -> 0.0859717460")
gammasgn = direct("gammasgn", "x", "The sign of gamma(x). Its derivative is 0.", "-0.5 -> -1.0")
psi = direct("psi", "x", "The derivative of gammaln, the digamma function.", "4.5 -> 1.3888709263",
             op="digamma")
digamma = direct("digamma", "x", "The derivative of gammaln, as psi.", "4.5 -> 1.3888709263")
poch = direct("poch", "z m", "Pochhammer's symbol, gamma(z + m) / gamma(z) (DLMF 5.2.5).",
              "2.5, 1.5 -> 4.5135166683")
gammainc = direct(
    "gammainc", "a x",
    "The regularised lower incomplete gamma function P(a, x) (DLMF 8.2.4).\n\n"
    "It has derivatives by both arguments; that by ``a`` is from its power series or continued fraction,\n"
    "and has itself a derivative by ``x`` only.", "2.5, 1.5 -> 0.3000141641")
gammaincc = direct("gammaincc", "a x", "The regularised upper incomplete gamma function, 1 - gammainc(a, x).",
                   "2.5, 1.5 -> 0.6999858358")
gammaincinv = direct("gammaincinv", "a y", "The x for which gammainc(a, x) is y.", "2.5, 0.3 -> 1.4999540663")
gammainccinv = direct("gammainccinv", "a y", "The x for which gammaincc(a, x) is y.",
                      "2.5, 0.3 -> 3.0322149920")
beta = direct("beta", "a b", "The beta function, gamma(a) gamma(b) / gamma(a + b) (DLMF 5.12.1).",
              "2.5, 1.5 -> 0.1963495408")
betaln = direct("betaln", "a b", "The logarithm of |beta(a, b)|.", "2.5, 1.5 -> -1.627858836")
binom = direct("binom", "x y",
               "The binomial coefficient of real numbers, 1 / ((x + 1) beta(x - y + 1, y + 1)).",
               "5.5, 2.0 -> 12.375")
betainc = direct(
    "betainc", "a b x",
    "The regularised incomplete beta function I_x(a, b) (DLMF 8.17.2).\n\n"
    "It has derivatives by all arguments; those by ``a`` and ``b`` are from its continued fraction, and\n"
    "have themselves a derivative by ``x`` only.", "2.5, 1.5, 0.4 -> 0.1739276579")
betaincc = direct("betaincc", "a b x", "The complement, 1 - betainc(a, b, x).",
                  "2.5, 1.5, 0.4 -> 0.8260723420")
betaincinv = direct("betaincinv", "a b y", "The x for which betainc(a, b, x) is y.",
                    "2.5, 1.5, 0.4 -> 0.5818409071")
betainccinv = direct("betainccinv", "a b y", "The x for which betaincc(a, b, x) is y.",
                     "2.5, 1.5, 0.4 -> 0.7095819147")


@special
def loggamma(z):
    """The logarithm of gamma(z) for real z; NaN below 0, where gamma may be negative.

    >>> from functrans.scipy import special
    >>> float(special.loggamma(4.5))
    2.453736570...
    """
    z = float_of(z)
    return np.where(z < 0, np.nan, OPS["gammaln"](z))


@special(ufunc=False)
def polygamma(n, x):
    """The n-th derivative of digamma, for whole n >= 0 (DLMF 5.15.2).

    ``n`` and ``x`` broadcast; the derivative is by ``x``.

    >>> from functrans.scipy import special
    >>> float(special.polygamma(1, 2.5))
    0.490357756...
    """
    return OPS["polygamma"](*floats(n, x))


@special(ufunc=False, names=("_zeta",))
def zeta(x, q=None):
    """Hurwitz's zeta function, the sum of (n + q)**-x over n >= 0; without ``q`` Riemann's.

    Derivatives by both arguments; with ``q``, x has to be at least 1.

    >>> from functrans.scipy import special
    >>> float(special.zeta(2.0))
    1.6449340668...
    """
    return OPS["riemann_zeta"](float_of(x)) if q is None else OPS["zeta"](*floats(x, q))


@special(ufunc=False, names=("_riemann_zeta",))
def _riemann_zeta(x):
    return OPS["riemann_zeta"](float_of(x))


@special
def zetac(x):
    """Riemann's zeta function minus 1.

    >>> from functrans.scipy import special
    >>> float(special.zetac(2.0))
    0.6449340668...
    """
    x = float_of(x)
    large = x > 20.0            # where 1 would swallow the rest
    tail = OPS["zeta"](*floats(np.where(large, x, 30.0), 2.0))
    return np.where(large, tail, OPS["riemann_zeta"](x) - 1.0)


@special(ufunc=False)
def multigammaln(a, d):
    """The logarithm of the gamma function of ``d`` dimensions; ``d`` is a positive integer.

    It is d (d - 1) / 4 log(pi) + the sum of gammaln(a - j / 2) over j < d (DLMF 35.3.4).

    >>> from functrans.scipy import special
    >>> float(special.multigammaln(3.5, 2))
    2.46...
    """
    if traced(d) or np.ndim(d) or int(d) != d or d < 1:
        raise errors.ArgumentError(f"multigammaln: d must be a positive integer, got {d!r}.")
    a = float_of(a)
    return d * (d - 1) / 4 * math.log(math.pi) + sum(OPS["gammaln"](a - j / 2) for j in range(int(d)))


@special(ufunc=False)
def factorial(n, exact=False):
    """gamma(n + 1), and 0 for negative n. ``exact`` (integers of any length) needs known numbers.

    >>> from functrans.scipy import special
    >>> float(special.factorial(5))
    120.0...
    """
    if exact:
        raise errors.NotSupportedError("factorial(exact=True) of a traced value.", "Use exact=False.")
    n = float_of(n)
    return np.where(n < 0, 0.0, OPS["gamma"](np.where(n < 0, 1.0, n) + 1.0))


@special(ufunc=False)
def comb(N, k, exact=False, repetition=False):
    """The number of ways to choose k of N things; 0 where there are none.

    >>> from functrans.scipy import special
    >>> float(special.comb(5, 2))
    10.0...
    """
    if exact:
        raise errors.NotSupportedError("comb(exact=True) of a traced value.", "Use exact=False.")
    N, k = floats(N, k)
    if repetition:
        N = N + k - 1.0
    outside = (k > N) | (N < 0) | (k < 0)
    return np.where(outside, 0.0, OPS["binom"](np.where(outside, 1.0, N), np.where(outside, 1.0, k)))


@special(ufunc=False)
def perm(N, k, exact=False):
    """The number of ordered choices of k of N things, poch(N - k + 1, k); 0 where there are none.

    >>> from functrans.scipy import special
    >>> float(special.perm(5, 2))
    20.0...
    """
    if exact:
        raise errors.NotSupportedError("perm(exact=True) of a traced value.", "Use exact=False.")
    N, k = floats(N, k)
    outside = (k > N) | (N < 0) | (k < 0)
    N, k = np.where(outside, 1.0, N), np.where(outside, 1.0, k)
    return np.where(outside, 0.0, OPS["poch"](N - k + 1.0, k))


def bernoulli(n):
    """Bernoulli's numbers B_0 ... B_n; ``n`` is a known integer.

    >>> from functrans.scipy import special
    >>> special.bernoulli(2)
    array([ 1. , -0.5 , 0.16666667])
    """
    import scipy.special
    return scipy.special.bernoulli(n)


__all__ = ["gammaln", "gamma", "rgamma", "gammasgn", "psi", "digamma", "poch", "gammainc", "gammaincc",
           "gammaincinv", "gammainccinv", "beta", "betaln", "binom", "betainc", "betaincc", "betaincinv",
           "betainccinv", "loggamma", "polygamma", "zeta", "zetac", "multigammaln", "factorial", "comb",
           "perm",
           "bernoulli"]
