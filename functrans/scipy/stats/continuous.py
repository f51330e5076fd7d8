"""Continuous distributions of one number."""

from __future__ import annotations

import math

import numpy as np

from .. import special as sp
from .core import Continuous

_LOG_2PI = math.log(2 * math.pi)
_POSITIVE = (0.0, np.inf)


def _positive(*shapes):
    good = shapes[0] > 0
    for s in shapes[1:]:
        good = good & (s > 0)
    return good


def _normal(y):
    return -0.5 * (y * y + _LOG_2PI)


norm = Continuous("norm", "The normal distribution.",
                  logpdf=_normal, cdf=sp.ndtr, sf=lambda y: sp.ndtr(-y), logcdf=sp.log_ndtr,
                  logsf=lambda y: sp.log_ndtr(-y), ppf=sp.ndtri, isf=lambda q: -sp.ndtri(q))

uniform = Continuous("uniform", "Uniform on [loc, loc + scale].", support=(0.0, 1.0),
                     logpdf=lambda y: 0.0 * y, cdf=lambda y: y, ppf=lambda q: q)

expon = Continuous("expon", "The exponential distribution with mean scale.", support=_POSITIVE,
                   logpdf=lambda y: -y, cdf=lambda y: -np.expm1(-y), sf=lambda y: np.exp(-y),
                   logsf=lambda y: -y, ppf=lambda q: -np.log1p(-q), isf=lambda q: -np.log(q))

gamma = Continuous("gamma", "The gamma distribution of shape a.", "a", support=_POSITIVE, valid=_positive,
                   logpdf=lambda y, a: sp.xlogy(a - 1.0, y) - y - sp.gammaln(a),
                   cdf=lambda y, a: sp.gammainc(a, y), sf=lambda y, a: sp.gammaincc(a, y),
                   ppf=lambda q, a: sp.gammaincinv(a, q), isf=lambda q, a: sp.gammainccinv(a, q))

chi2 = Continuous("chi2", "The chi-squared distribution with df degrees of freedom.", "df",
                  support=_POSITIVE, valid=_positive,
                  logpdf=lambda y, df: sp.xlogy(0.5 * df - 1.0, y) - 0.5 * y - sp.gammaln(0.5 * df)
                  - 0.5 * df * math.log(2.0),
                  cdf=lambda y, df: sp.gammainc(0.5 * df, 0.5 * y),
                  sf=lambda y, df: sp.gammaincc(0.5 * df, 0.5 * y),
                  ppf=lambda q, df: 2.0 * sp.gammaincinv(0.5 * df, q),
                  isf=lambda q, df: 2.0 * sp.gammainccinv(0.5 * df, q))

chi = Continuous("chi", "The chi distribution with df degrees of freedom.", "df", support=_POSITIVE,
                 valid=_positive,
                 logpdf=lambda y, df: sp.xlogy(df - 1.0, y) - 0.5 * y * y - sp.gammaln(0.5 * df)
                 - (0.5 * df - 1.0) * math.log(2.0),
                 cdf=lambda y, df: sp.gammainc(0.5 * df, 0.5 * y * y),
                 sf=lambda y, df: sp.gammaincc(0.5 * df, 0.5 * y * y),
                 ppf=lambda q, df: np.sqrt(2.0 * sp.gammaincinv(0.5 * df, q)),
                 isf=lambda q, df: np.sqrt(2.0 * sp.gammainccinv(0.5 * df, q)))

invgamma = Continuous("invgamma", "1 / a gamma number of shape a.", "a", support=_POSITIVE, valid=_positive,
                      logpdf=lambda y, a: -(a + 1.0) * np.log(y) - sp.gammaln(a) - 1.0 / y,
                      cdf=lambda y, a: sp.gammaincc(a, 1.0 / y), sf=lambda y, a: sp.gammainc(a, 1.0 / y),
                      ppf=lambda q, a: 1.0 / sp.gammainccinv(a, q), isf=lambda q, a: 1.0 / sp.gammaincinv(a,
                      q))

beta = Continuous("beta", "The beta distribution on [0, 1].", "a b", support=(0.0, 1.0), valid=_positive,
                  logpdf=lambda y, a, b: sp.xlogy(a - 1.0, y) + sp.xlog1py(b - 1.0, -y) - sp.betaln(a, b),
                  cdf=lambda y, a, b: sp.betainc(a, b, y), sf=lambda y, a, b: sp.betaincc(a, b, y),
                  ppf=lambda q, a, b: sp.betaincinv(a, b, q), isf=lambda q, a, b: sp.betainccinv(a, b, q))

t = Continuous("t", "Student's distribution with df degrees of freedom.", "df", valid=_positive,
               logpdf=lambda y, df: sp.gammaln(0.5 * (df + 1.0)) - sp.gammaln(0.5 * df)
               - 0.5 * np.log(df * math.pi) - 0.5 * (df + 1.0) * np.log1p(y * y / df),
               cdf=lambda y, df: sp.stdtr(df, y), sf=lambda y, df: sp.stdtr(df, -y),
               ppf=lambda q, df: sp.stdtrit(df, q), isf=lambda q, df: -sp.stdtrit(df, q))

f = Continuous("f", "The F distribution.", "dfn dfd", support=_POSITIVE, valid=_positive,
               logpdf=lambda y, n, m: 0.5 * (n * np.log(n) + m * np.log(m)) + sp.xlogy(0.5 * n - 1.0, y)
               - 0.5 * (n + m) * np.log(m + n * y) - sp.betaln(0.5 * n, 0.5 * m),
               cdf=lambda y, n, m: sp.fdtr(n, m, y), sf=lambda y, n, m: sp.fdtrc(n, m, y),
               ppf=lambda q, n, m: sp.fdtri(n, m, q))

cauchy = Continuous("cauchy", "The Cauchy distribution.",
                    logpdf=lambda y: -math.log(math.pi) - np.log1p(y * y),
                    cdf=lambda y: np.arctan2(1.0, -y) / math.pi, sf=lambda y: np.arctan2(1.0, y) / math.pi,
                    ppf=lambda q: np.tan(math.pi * (q - 0.5)), isf=lambda q: -np.tan(math.pi * (q - 0.5)))

halfcauchy = Continuous("halfcauchy", "The absolute value of a Cauchy number.", support=_POSITIVE,
                        logpdf=lambda y: math.log(2.0 / math.pi) - np.log1p(y * y),
                        cdf=lambda y: 2.0 / math.pi * np.arctan(y),
                        sf=lambda y: 2.0 / math.pi * np.arctan2(1.0, y),
                        ppf=lambda q: np.tan(0.5 * math.pi * q),
                        isf=lambda q: 1.0 / np.tan(0.5 * math.pi * q))


def _laplace_tail(y):
    """The probability of less than y."""
    return np.where(y > 0, 1.0 - 0.5 * np.exp(-np.abs(y)), 0.5 * np.exp(-np.abs(y)))


def _laplace_log_tail(y):
    low = np.minimum(y, 0.0)
    return np.where(y > 0, np.log1p(-0.5 * np.exp(-np.abs(y))), low - math.log(2.0))


def _laplace_quantile(q):
    return np.where(q > 0.5, -np.log(2.0 * (1.0 - q)), np.log(2.0 * q))


laplace = Continuous("laplace", "The Laplace distribution, exponential on both sides.",
                     logpdf=lambda y: -math.log(2.0) - np.abs(y), cdf=_laplace_tail,
                     sf=lambda y: _laplace_tail(-y), logcdf=_laplace_log_tail,
                     logsf=lambda y: _laplace_log_tail(-y), ppf=_laplace_quantile,
                     isf=lambda q: -_laplace_quantile(q))

logistic = Continuous("logistic", "The logistic distribution.",
                      logpdf=lambda y: sp.log_expit(y) + sp.log_expit(-y), cdf=sp.expit,
                      sf=lambda y: sp.expit(-y), logcdf=sp.log_expit, logsf=lambda y: sp.log_expit(-y),
                      ppf=sp.logit, isf=lambda q: -sp.logit(q))

pareto = Continuous("pareto", "The Pareto distribution with exponent b, from 1 on.", "b", support=(1.0,
                    np.inf),
                    valid=_positive, logpdf=lambda y, b: np.log(b) - (b + 1.0) * np.log(y),
                    cdf=lambda y, b: -np.expm1(-b * np.log(y)), sf=lambda y, b: np.exp(-b * np.log(y)),
                    logsf=lambda y, b: -b * np.log(y), ppf=lambda q, b: np.exp(-np.log1p(-q) / b),
                    isf=lambda q, b: np.exp(-np.log(q) / b))

lomax = Continuous("lomax", "The Pareto distribution from 0 on.", "c", support=_POSITIVE, valid=_positive,
                   logpdf=lambda y, c: np.log(c) - (c + 1.0) * np.log1p(y),
                   cdf=lambda y, c: -np.expm1(-c * np.log1p(y)), sf=lambda y, c: np.exp(-c * np.log1p(y)),
                   logsf=lambda y, c: -c * np.log1p(y), ppf=lambda q, c: np.expm1(-np.log1p(-q) / c),
                   isf=lambda q, c: np.expm1(-np.log(q) / c))

powerlaw = Continuous("powerlaw", "The density a x**(a - 1) on [0, 1].", "a", support=(0.0, 1.0),
                      valid=_positive,
                      logpdf=lambda y, a: np.log(a) + sp.xlogy(a - 1.0, y), cdf=lambda y, a: np.power(y, a),
                      logcdf=lambda y, a: a * np.log(y), sf=lambda y, a: -sp.powm1(y, a),
                      ppf=lambda q, a: np.power(q, 1.0 / a))


def _gennorm_cdf(y, b):
    half = 0.5 * sp.gammaincc(1.0 / b, np.power(np.abs(y), b))
    return np.where(y > 0, 1.0 - half, half)


def _gennorm_quantile(q, b):
    tail = 2.0 * np.minimum(q, 1.0 - q)
    return np.sign(q - 0.5) * np.power(sp.gammainccinv(1.0 / b, tail), 1.0 / b)


gennorm = Continuous("gennorm", "The density proportional to exp(-|x|**beta).", "beta", valid=_positive,
                     logpdf=lambda y, b: np.log(0.5 * b) - sp.gammaln(1.0 / b) - np.power(np.abs(y), b),
                     cdf=_gennorm_cdf, sf=lambda y, b: _gennorm_cdf(-y, b), ppf=_gennorm_quantile,
                     isf=lambda q, b: -_gennorm_quantile(q, b))

halfnorm = Continuous("halfnorm", "The absolute value of a normal number.", support=_POSITIVE,
                      logpdf=lambda y: 0.5 * math.log(2.0 / math.pi) - 0.5 * y * y,
                      cdf=lambda y: sp.erf(y * math.sqrt(0.5)), sf=lambda y: sp.erfc(y * math.sqrt(0.5)),
                      logsf=lambda y: math.log(2.0) + sp.log_ndtr(-y),
                      ppf=lambda q: math.sqrt(2.0) * sp.erfinv(q),
                      isf=lambda q: math.sqrt(2.0) * sp.erfcinv(q))

lognorm = Continuous("lognorm", "exp of a normal number of standard deviation s.", "s", support=_POSITIVE,
                     valid=_positive,
                     logpdf=lambda y, s: np.where(y == 0, -np.inf, _lognormal(np.where(y == 0, 1.0, y), s)),
                     cdf=lambda y, s: sp.ndtr(np.log(y) / s), sf=lambda y, s: sp.ndtr(-np.log(y) / s),
                     logcdf=lambda y, s: sp.log_ndtr(np.log(y) / s),
                     logsf=lambda y, s: sp.log_ndtr(-np.log(y) / s),
                     ppf=lambda q, s: np.exp(s * sp.ndtri(q)), isf=lambda q, s: np.exp(-s * sp.ndtri(q)))


def _lognormal(y, s):
    return _normal(np.log(y) / s) - np.log(s * y)


weibull_min = Continuous("weibull_min", "The Weibull distribution with exponent c.", "c", support=_POSITIVE,
                         valid=_positive,
                         logpdf=lambda y, c: np.log(c) + sp.xlogy(c - 1.0, y) - np.power(y, c),
                         cdf=lambda y, c: -np.expm1(-np.power(y, c)), sf=lambda y, c: np.exp(-np.power(y, c)),
                         logsf=lambda y, c: -np.power(y, c),
                         ppf=lambda q, c: np.power(-np.log1p(-q), 1.0 / c),
                         isf=lambda q, c: np.power(-np.log(q), 1.0 / c))

rayleigh = Continuous("rayleigh", "The length of a vector of two normal numbers.", support=_POSITIVE,
                      logpdf=lambda y: np.log(y) - 0.5 * y * y, cdf=lambda y: -np.expm1(-0.5 * y * y),
                      sf=lambda y: np.exp(-0.5 * y * y), logsf=lambda y: -0.5 * y * y,
                      ppf=lambda q: np.sqrt(-2.0 * np.log1p(-q)), isf=lambda q: np.sqrt(-2.0 * np.log(q)))

maxwell = Continuous("maxwell", "The length of a vector of three normal numbers.", support=_POSITIVE,
                     logpdf=lambda y: 0.5 * math.log(2.0 / math.pi) + 2.0 * np.log(y) - 0.5 * y * y,
                     cdf=lambda y: sp.gammainc(1.5, 0.5 * y * y), sf=lambda y: sp.gammaincc(1.5, 0.5 * y * y),
                     ppf=lambda q: np.sqrt(2.0 * sp.gammaincinv(1.5, q)),
                     isf=lambda q: np.sqrt(2.0 * sp.gammainccinv(1.5, q)))

gumbel_r = Continuous("gumbel_r", "The Gumbel distribution of maxima.",
                      logpdf=lambda y: -y - np.exp(-y), cdf=lambda y: np.exp(-np.exp(-y)),
                      logcdf=lambda y: -np.exp(-y), sf=lambda y: -np.expm1(-np.exp(-y)),
                      ppf=lambda q: -np.log(-np.log(q)), isf=lambda q: -np.log(-np.log1p(-q)))

gumbel_l = Continuous("gumbel_l", "The Gumbel distribution of minima.",
                      logpdf=lambda y: y - np.exp(y), cdf=lambda y: -np.expm1(-np.exp(y)),
                      sf=lambda y: np.exp(-np.exp(y)), logsf=lambda y: -np.exp(y),
                      ppf=lambda q: np.log(-np.log1p(-q)), isf=lambda q: np.log(-np.log(q)))

skewnorm = Continuous("skewnorm", "The skewed normal distribution.", "a",
                      logpdf=lambda y, a: math.log(2.0) + _normal(y) + sp.log_ndtr(a * y),
                      cdf=lambda y, a: np.clip(sp.ndtr(y) - 2.0 * sp.owens_t(y, a), 0.0, 1.0))

invgauss = Continuous("invgauss", "The inverse Gaussian distribution with mean mu.", "mu", support=_POSITIVE,
                      valid=_positive,
                      logpdf=lambda y,
                      mu: -0.5 * _LOG_2PI - 1.5 * np.log(y) - ((y - mu) / mu) ** 2 / (2.0 * y),
                      cdf=lambda y, mu: np.exp(_inverse_gauss_tails(y, mu, 1.0)),
                      sf=lambda y, mu: -np.expm1(_inverse_gauss_tails(y, mu, 1.0)))


def _inverse_gauss_tails(y, mu, sign):
    """The logarithm of ndtr(r (y/mu - 1)) + exp(2/mu) ndtr(-r (y/mu + 1)), r = 1 / sqrt(y)."""
    r = 1.0 / np.sqrt(y)
    return np.logaddexp(sp.log_ndtr(sign * r * (y / mu - 1.0)), 2.0 / mu + sp.log_ndtr(-r * (y / mu + 1.0)))


vonmises = Continuous("vonmises", "The von Mises distribution of an angle, with concentration kappa.",
                      "kappa",
                      valid=lambda kappa: kappa >= 0,
                      logpdf=lambda y, kappa: kappa * sp.cosm1(y) - _LOG_2PI - np.log(sp.i0e(kappa)))


def _wrapped(y, c):
    rate = (1.0 + c) / (1.0 - c)
    first = y < math.pi
    low = np.arctan(rate * np.tan(0.5 * np.where(first, y, 0.0))) / math.pi
    high = np.arctan(rate * np.tan(0.5 * (2 * math.pi - np.where(first, 2 * math.pi, y)))) / math.pi
    return np.where(first, low, 1.0 - high)


wrapcauchy = Continuous("wrapcauchy", "The Cauchy distribution wrapped round a circle, 0 < c < 1.", "c",
                        support=(0.0, 2 * math.pi), valid=lambda c: (c > 0) & (c < 1),
                        logpdf=lambda y, c: np.log1p(-c * c) - _LOG_2PI
                        - np.log(1.0 + c * c - 2.0 * c * np.cos(y)), cdf=_wrapped)


# ----- the normal distribution on an interval: everything by logarithms, as either tail may be tiny --------


def _log_difference(p, q):
    """log(exp(p) - exp(q)) for p >= q."""
    return p + np.log(-np.expm1(np.minimum(q - p, -1e-300)))


def _log_mass(a, b):
    """The logarithm of the normal probability between a and b."""
    flip = a > 0                            # in the right tail: mirrored
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    middle = b > 0
    tail = _log_difference(sp.log_ndtr(np.where(middle, -1.0, b)), sp.log_ndtr(np.where(middle, -2.0, a)))
    return np.where(middle, np.log1p(-sp.ndtr(a) - sp.ndtr(-b)), tail)


def _log_part(part, other, whole):
    """The logarithm of part / whole; near 0 by the other part."""
    most = part - whole > -0.1
    return np.where(most, np.log1p(-np.exp(np.where(most, other - whole, -1.0))), part - whole)


def _truncated_quantile(q, a, b):
    """From the tail that is nearer to both ends, by the logarithm of its probability."""
    left = np.logaddexp(sp.log_ndtr(a), np.log(q) + _log_mass(a, b))
    right = np.logaddexp(sp.log_ndtr(-b), np.log1p(-q) + _log_mass(a, b))
    return np.where(a < 0, sp.ndtri_exp(np.where(a < 0, left, -1.0)),
                    -sp.ndtri_exp(np.where(a < 0, -1.0, right)))


truncnorm = Continuous("truncnorm", "The normal distribution within [a, b].", "a b", support=lambda a, b: (a,
                       b),
                       valid=lambda a, b: a < b,
                       logpdf=lambda y, a, b: _normal(y) - _log_mass(a, b),
                       cdf=lambda y, a, b: np.exp(_log_mass(a, y) - _log_mass(a, b)),
                       logcdf=lambda y, a, b: _log_part(_log_mass(a, y), _log_mass(y, b), _log_mass(a, b)),
                       sf=lambda y, a, b: np.exp(_log_mass(y, b) - _log_mass(a, b)),
                       logsf=lambda y, a, b: _log_part(_log_mass(y, b), _log_mass(a, y), _log_mass(a, b)),
                       ppf=_truncated_quantile)

__all__ = [name for name, value in list(globals().items()) if isinstance(value, Continuous)]
