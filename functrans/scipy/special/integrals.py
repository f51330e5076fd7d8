"""Integrals that have a name, hypergeometric functions, polynomials, Lambert's W."""

from __future__ import annotations

import math

import numpy as np

from ... import errors
from ...ir.op import OPS
from ...numpy.core import traced
from .core import complex_of, direct, float_of, floats, special

expi = direct("expi", "x", "The exponential integral of exp(t) / t from -inf to x (DLMF 6.2.5).",
              "1.5 -> 3.3012854491")
exp1 = direct("exp1", "x", "The exponential integral of exp(-t) / t from x to inf (DLMF 6.2.1).",
              "1.5 -> 0.1000195824")
expn = direct("expn", "n x",
              "The exponential integral of exp(-x t) / t**n from 1 to inf, n whole (DLMF 8.19.3).",
              "2, 1.5 -> 0.0731007865")
spence = direct("spence", "z", "Spence's function, the integral of log(t) / (1 - t) from 1 to z.",
                "2.5 -> -1.147380660")
ellipk = direct("ellipk", "m",
                "The complete elliptic integral of the first kind K, by m = k**2 (DLMF 19.2.8).",
                "0.5 -> 1.8540746773")
ellipkm1 = direct("ellipkm1", "p", "ellipk(1 - p), accurate where p is small.", "1e-30 -> 35.925070756")
ellipe = direct("ellipe", "m",
                "The complete elliptic integral of the second kind E, by m = k**2 (DLMF 19.2.8).",
                "0.5 -> 1.3506438810")
ellipkinc = direct("ellipkinc", "phi m", "The incomplete elliptic integral of the first kind (DLMF 19.2.4).",
                   "1.0, 0.5 -> 1.0832167728")
ellipeinc = direct("ellipeinc", "phi m", "The incomplete elliptic integral of the second kind (DLMF 19.2.5).",
                   "1.0, 0.5 -> 0.9273298836")
_BY_X = "\n\nThe derivative is by the last argument."
hyp1f1 = direct("hyp1f1", "a b x", f"Kummer's function 1F1(a; b; x) (DLMF 13.2.2).{_BY_X}",
                "1.5, 2.5, 0.5 -> 1.3612908263")
hyp2f1 = direct("hyp2f1", "a b c z", f"Gauss's function 2F1(a, b; c; z) (DLMF 15.2.1).{_BY_X}",
                "1.5, 2.5, 3.5, 0.5 -> 2.0337170231")
hyperu = direct("hyperu", "a b x", f"Tricomi's function U(a, b, x) (DLMF 13.2.6).{_BY_X}",
                "1.5, 2.5, 0.5 -> 2.8284271247")
_POLYNOMIAL = " of degree n at x.\n\nThe derivative is by x (DLMF 18.9)."
eval_legendre = direct("eval_legendre", "n x", f"Legendre's polynomial{_POLYNOMIAL}",
                       "3, 0.5 -> -0.437499999")
eval_chebyt = direct("eval_chebyt", "n x", f"Chebyshev's polynomial of the first kind{_POLYNOMIAL}",
                     "3, 0.5 -> -1.0")
eval_chebyu = direct("eval_chebyu", "n x", f"Chebyshev's polynomial of the second kind{_POLYNOMIAL}",
                     "3, 0.4 -> -1.088")
eval_hermite = direct("eval_hermite", "n x", f"Hermite's polynomial{_POLYNOMIAL}", "3, 0.4 -> -4.288000000")
eval_hermitenorm = direct("eval_hermitenorm", "n x",
                          f"Hermite's polynomial with weight exp(-x**2 / 2){_POLYNOMIAL}",
                          "3, 0.4 -> -1.136000000")
eval_laguerre = direct("eval_laguerre", "n x", f"Laguerre's polynomial{_POLYNOMIAL}",
                       "3, 0.4 -> 0.0293333333")
eval_genlaguerre = direct("eval_genlaguerre", "n alpha x",
                          f"The generalised Laguerre polynomial{_POLYNOMIAL}",
                          "3, 0.5, 0.4 -> 0.7068333333")
eval_gegenbauer = direct("eval_gegenbauer", "n alpha x", f"Gegenbauer's polynomial{_POLYNOMIAL}",
                         "3, 0.5, 0.4 -> -0.439999999")
eval_jacobi = direct("eval_jacobi", "n alpha beta x", f"Jacobi's polynomial{_POLYNOMIAL}",
                     "3, 0.5, 1.5, 0.4 -> -0.584500000")


@special
def sici(x):
    """The sine and cosine integrals (Si(x), Ci(x)) (DLMF 6.2.9, 6.2.11).

    >>> from functrans.scipy import special
    >>> si, ci = special.sici(1.5)
    >>> float(si), float(ci)
    (1.3246835311..., 0.4703563171...)
    """
    x = float_of(x)
    return OPS["sine_integral"](x), OPS["cosine_integral"](x)


@special
def shichi(x):
    """The hyperbolic sine and cosine integrals (Shi(x), Chi(x)) (DLMF 6.2.15, 6.2.16).

    >>> from functrans.scipy import special
    >>> shi, chi = special.shichi(1.5)
    >>> float(shi), float(chi)
    (1.7006525157..., 1.6006329333...)
    """
    x = float_of(x)
    return OPS["sinh_integral"](x), OPS["cosh_integral"](x)


@special
def ellipj(u, m):
    """Jacobi's elliptic functions (sn, cn, dn) and the amplitude of u and m (DLMF 22.2).

    >>> from functrans.scipy import special
    >>> float(special.ellipj(1.0, 0.5)[0])
    0.8030018...
    """
    u, m = floats(u, m)
    return tuple([OPS[name](u, m) for name in ("jacobi_sn", "jacobi_cn", "jacobi_dn", "jacobi_am")])


@special
def agm(a, b):
    """The arithmetic-geometric mean of positive numbers (DLMF 19.8.5).

    >>> from functrans.scipy import special
    >>> float(special.agm(1.0, 2.0))
    1.4567910310...
    """
    a, b = floats(a, b)
    total = a + b
    return math.pi / 4 * total / OPS["ellipkm1"](4.0 * (a / total) * (b / total))


@special(ufunc=False, names=("_lambertw",))
def lambertw(z, k=0, tol=1e-8):
    """The k-th branch of the complex w for which w exp(w) = z; ``k`` is a known integer.

    ``tol`` is accepted and not needed: the result is accurate to rounding.

    >>> from functrans.scipy import special
    >>> float(special.lambertw(1.0).real)
    0.5671432904...
    """
    if traced(k) or np.ndim(k) or int(k) != k:
        raise errors.ArgumentError(f"lambertw: k must be a known integer, got {k!r}.")
    return OPS["lambertw"](complex_of(z), k=int(k))


def sph_harm_y(n, m, theta, phi, *, diff_n=0, n_max=None):
    """The spherical harmonic of degree n and order m at polar angle ``theta`` and azimuth ``phi``, complex.

    ``n`` and ``m`` are whole numbers and broadcast with the angles, by which it has derivatives: it is
    c sin(theta)**m P(cos(theta)) exp(i m phi) with Jacobi's polynomial P of degree n - m and parameters m, m
    (DLMF 14.30.1, 14.3.21). ``n_max`` is accepted as in ``jax.scipy.special`` and not needed.

    >>> from functrans.scipy import special
    >>> complex(special.sph_harm_y(2, 1, 0.5, 0.0))
    (-0.325...)
    """
    if diff_n:
        raise errors.NotSupportedError("sph_harm_y(diff_n=...) has no traced version.",
                                       "Differentiate with functrans.jvp or functrans.jacfwd.")
    n, m, theta, phi = floats(n, m, theta, phi)
    order = np.abs(m)
    inside = order <= n
    n, k = np.where(inside, n, 0.0), np.where(inside, order, 0.0)
    lg = OPS["gammaln"]
    scale = np.exp(0.5 * (lg(n - k + 1.0) + lg(n + k + 1.0) + np.log(2.0 * n + 1.0) - math.log(4 * math.pi))
                   - lg(n + 1.0) - k * math.log(2.0))
    power = np.where(k == 0, 1.0, np.power(np.sin(theta), k))
    value = scale * power * OPS["eval_jacobi"](n - k, k, k, np.cos(theta))
    value = np.where(inside, np.where((m > 0) & (np.fmod(k, 2.0) == 1), -value, value), 0.0)
    return OPS["complex"](value * np.cos(m * phi), value * np.sin(m * phi))


__all__ = ["expi", "exp1", "expn", "spence", "ellipk", "ellipkm1", "ellipe", "ellipkinc", "ellipeinc",
           "hyp1f1", "hyp2f1", "hyperu", "eval_legendre", "eval_chebyt", "eval_chebyu", "eval_hermite",
           "eval_hermitenorm", "eval_laguerre", "eval_genlaguerre", "eval_gegenbauer", "eval_jacobi", "sici",
           "shichi", "ellipj", "agm", "lambertw", "sph_harm_y"]
