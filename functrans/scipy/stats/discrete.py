"""Distributions of whole numbers."""

from __future__ import annotations

import numpy as np

from .. import special as sp
from .core import Discrete

_COUNTS = (0.0, np.inf)


def _probability(p):
    return (p >= 0) & (p <= 1)


bernoulli = Discrete("bernoulli", "1 with probability p, else 0.", "p", support=(0.0, 1.0),
                     valid=_probability,
                     logpmf=lambda k, p: sp.xlogy(k, p) + sp.xlog1py(1.0 - k, -p),
                     cdf=lambda k, p: np.where(k < 1, 1.0 - p, 1.0), sf=lambda k, p: np.where(k < 1, p, 0.0),
                     ppf=lambda q, p: np.where(q <= 1.0 - p, 0.0, 1.0))


def _upto(k, n):
    """n - k, and 1 where that is 0, for incomplete beta functions; and where."""
    return np.where(k < n, n - k, 1.0), k < n


def _binomial_cdf(k, n, p):
    rest, proper = _upto(k, n)
    return np.where(proper, sp.betaincc(k + 1.0, rest, p), 1.0)


def _binomial_sf(k, n, p):
    rest, proper = _upto(k, n)
    return np.where(proper, sp.betainc(k + 1.0, rest, p), 0.0)


binom = Discrete("binom", "The number of successes in n trials of probability p.", "n p",
                 support=lambda n, p: (0.0 * n, n), valid=lambda n,
                 p: (n >= 0) & (n == np.floor(n)) & _probability(p),
                 logpmf=lambda k, n, p: sp.gammaln(n + 1.0) - sp.gammaln(k + 1.0) - sp.gammaln(n - k + 1.0)
                 + sp.xlogy(k, p) + sp.xlog1py(n - k, -p),
                 cdf=_binomial_cdf, sf=_binomial_sf)

nbinom = Discrete("nbinom", "The number of failures before the n-th success of probability p.", "n p",
                  support=_COUNTS, valid=lambda n, p: (n > 0) & (p > 0) & (p <= 1),
                  logpmf=lambda k, n, p: sp.gammaln(k + n) - sp.gammaln(k + 1.0) - sp.gammaln(n)
                  + n * np.log(p) + sp.xlog1py(k, -p),
                  cdf=lambda k, n, p: sp.betainc(n, k + 1.0, p), sf=lambda k, n, p: sp.betaincc(n, k + 1.0,
                  p))

poisson = Discrete("poisson", "The Poisson distribution with mean mu.", "mu", support=_COUNTS,
                   valid=lambda mu: mu >= 0,
                   logpmf=lambda k, mu: sp.xlogy(k, mu) - sp.gammaln(k + 1.0) - mu,
                   cdf=lambda k, mu: sp.gammaincc(k + 1.0, mu), sf=lambda k, mu: sp.gammainc(k + 1.0, mu))

geom = Discrete("geom", "The number of trials up to the first success of probability p.", "p",
                support=(1.0, np.inf), valid=lambda p: (p > 0) & (p <= 1),
                logpmf=lambda k, p: np.log(p) + sp.xlog1py(k - 1.0, -p),
                cdf=lambda k, p: -np.expm1(sp.xlog1py(k, -p)), sf=lambda k, p: np.exp(sp.xlog1py(k, -p)),
                logsf=lambda k, p: sp.xlog1py(k, -p), ppf=lambda q, p: _geometric_quantile(q, p))


def _geometric_quantile(q, p):
    """The least k for which cdf is at least q; the quotient may have been rounded up past it."""
    k = np.ceil(np.log1p(-q) / np.log1p(-p))
    less = -np.expm1(sp.xlog1py(k - 1.0, -p))
    return np.where((less >= q) & (k > 1), k - 1.0, k)


betabinom = Discrete("betabinom", "The binomial distribution with a probability of beta distribution.",
                     "n a b",
                     support=lambda n, a, b: (0.0 * n, n), valid=lambda n, a, b: (n >= 0) & (a > 0) & (b > 0),
                     logpmf=lambda k, n, a, b: sp.betaln(k + a, n - k + b) - sp.betaln(n - k + 1.0, k + 1.0)
                     - np.log(n + 1.0) - sp.betaln(a, b))

hypergeom = Discrete(
    "hypergeom", "The number of marked things among N drawn of M, n of which are marked.", "M n N",
    support=lambda M, n, N: (np.maximum(0.0, N - (M - n)), np.minimum(n, N)),
    valid=lambda M, n, N: (M > 0) & (n >= 0) & (N >= 0) & (n <= M) & (N <= M),
    logpmf=lambda k, M, n, N: _log_choices(n, k) + _log_choices(M - n, N - k) - _log_choices(M, N))


def _log_choices(n, k):
    return -sp.betaln(n - k + 1.0, k + 1.0) - np.log(n + 1.0)


randint = Discrete("randint", "Whole numbers from low up to, but not, high.", "low high",
                   support=lambda low, high: (low, high - 1.0), valid=lambda low, high: low < high,
                   logpmf=lambda k, low, high: -np.log(high - low) + 0.0 * k,
                   cdf=lambda k, low, high: (k - low + 1.0) / (high - low))

zipf = Discrete("zipf", "Zipf's distribution, k**-a / zeta(a) for k from 1 on.", "a", support=(1.0, np.inf),
                valid=lambda a: a > 1, logpmf=lambda k, a: -a * np.log(k) - np.log(sp.zeta(a, 1.0)),
                cdf=lambda k, a: 1.0 - sp.zeta(a, k + 1.0) / sp.zeta(a, 1.0),
                sf=lambda k, a: sp.zeta(a, k + 1.0) / sp.zeta(a, 1.0))

__all__ = [name for name, value in list(globals().items()) if isinstance(value, Discrete)]
