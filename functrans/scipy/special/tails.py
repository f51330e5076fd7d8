"""Distribution functions and their quantiles under SciPy's old names: incomplete gamma and beta functions."""

from __future__ import annotations

import numpy as np

from ...ir.op import OPS
from .core import describe, direct, floats, special


def _tail(name, parameters, text, example, formula):
    def function(*args):
        return formula(*floats(*args))
    function.__name__ = function.__qualname__ = name
    describe(function, parameters.split(), text, *example.split(" -> "))
    return special(function)


def _op(name):
    return lambda *args: OPS[name](*floats(*args))


_p, _q, _p_inverse, _q_inverse = (_op(f"gammainc{s}") for s in ("", "c", "inv", "cinv"))
_i, _ic, _i_inverse, _ic_inverse = (_op(f"betainc{s}") for s in ("", "c", "inv", "cinv"))

# ----- chi-squared, gamma, Poisson ------------------------------------------------------------------------

chdtr = _tail("chdtr", "v x", "The chi-squared distribution function with v degrees of freedom.",
              "3.0, 2.0 -> 0.4275932955",
              lambda v, x: np.where(x < 0, 0.0, _p(v / 2.0, np.where(x < 0, 0.0, x) / 2.0)))
chdtrc = _tail("chdtrc", "v x", "The complement of chdtr.", "3.0, 2.0 -> 0.5724067044",
               lambda v, x: np.where(x < 0, 1.0, _q(v / 2.0, np.where(x < 0, 0.0, x) / 2.0)))
chdtri = _tail("chdtri", "v p", "The x for which chdtrc(v, x) is p.", "3.0, 0.4 -> 2.9461660731",
               lambda v, p: 2.0 * _q_inverse(v / 2.0, p))
gdtr = _tail("gdtr", "a b x", "The gamma distribution function with rate a and shape b.",
             "2.0, 3.0, 1.5 -> 0.5768099188",
             lambda a, b, x: np.where(x < 0, np.nan, _p(b, a * x)))
gdtrc = _tail("gdtrc", "a b x", "The complement of gdtr.", "2.0, 3.0, 1.5 -> 0.4231900811",
              lambda a, b, x: np.where(x < 0, np.nan, _q(b, a * x)))
gdtrix = _tail("gdtrix", "a b p", "The x for which gdtr(a, b, x) is p.", "2.0, 3.0, 0.5 -> 1.3370301568",
               lambda a, b, p: _p_inverse(b, p) / a)
pdtr = _tail("pdtr", "k m", "The Poisson distribution function with mean m.", "2.0, 3.5 -> 0.3208471988",
             lambda k, m: np.where((k < 0) | (m < 0), np.nan, _q(np.floor(k) + 1.0, m)))
pdtrc = _tail("pdtrc", "k m", "The complement of pdtr.", "2.0, 3.5 -> 0.6791528011",
              lambda k, m: np.where((k < 0) | (m < 0), np.nan, _p(np.floor(k) + 1.0, m)))
pdtri = _tail("pdtri", "k y", "The m for which pdtr(k, m) is y.", "2.0, 0.5 -> 2.6740603137",
              lambda k, y: _q_inverse(np.floor(k) + 1.0, y))

# ----- binomial, negative binomial, F, Student ------------------------------------------------------------


def _binomial(f, at_n):
    """f(n - k, k + 1, 1 - p); where k is n itself, ``at_n``."""
    def formula(k, n, p):
        k = np.floor(k)
        outside = (p < 0) | (p > 1) | (k < 0) | (n < k)
        whole = k == n
        value = f(np.where(whole, 1.0, n - k), k + 1.0, 1.0 - p)
        return np.where(outside, np.nan, np.where(whole, at_n, value))
    return formula


bdtr = _tail("bdtr", "k n p", "The binomial distribution function of n trials with probability p.",
             "2, 5, 0.3 -> 0.8369199999", _binomial(_i, 1.0))
bdtrc = _tail("bdtrc", "k n p", "The complement of bdtr.", "2, 5, 0.3 -> 0.1630799999", _binomial(_ic,
              0.0))
nbdtr = _tail("nbdtr", "k n p", "The negative binomial distribution function.",
              "2, 5, 0.3 -> 0.0287954999",
              lambda k, n, p: _i(n, np.floor(k) + 1.0, p))
nbdtrc = _tail("nbdtrc", "k n p", "The complement of nbdtr.", "2, 5, 0.3 -> 0.9712045",
               lambda k, n, p: _ic(n, np.floor(k) + 1.0, p))
fdtr = _tail("fdtr", "dfn dfd x", "The F distribution function.", "3.0, 5.0, 1.5 -> 0.6778346286",
             lambda n, d, x: _i(n / 2.0, d / 2.0, n * x / (n * x + d)))
fdtrc = _tail("fdtrc", "dfn dfd x", "The complement of fdtr.", "3.0, 5.0, 1.5 -> 0.3221653713",
              lambda n, d, x: _i(d / 2.0, n / 2.0, d / (n * x + d)))


fdtri = _tail("fdtri", "dfn dfd p", "The x for which fdtr(dfn, dfd, x) is p.",
              "3.0, 5.0, 0.5 -> 0.9071462198",
              lambda n, d, p: d * _i_inverse(n / 2.0, d / 2.0, p) / (n * _ic_inverse(d / 2.0, n / 2.0, p)))
stdtr = direct("stdtr", "df t", "Student's distribution function with df degrees of freedom.",
               "3.0, 1.5 -> 0.8847080673")
stdtrit = direct("stdtrit", "df p", "The t for which stdtr(df, t) is p.", "3.0, 0.9 -> 1.6377443536")

__all__ = ["chdtr", "chdtrc", "chdtri", "gdtr", "gdtrc", "gdtrix", "pdtr", "pdtrc", "pdtri", "bdtr", "bdtrc",
           "nbdtr", "nbdtrc", "fdtr", "fdtrc", "fdtri", "stdtr", "stdtrit"]
