"""Error functions and the normal distribution."""

from __future__ import annotations

import math

import numpy as np

from ...ir.op import OPS
from .core import complex_of, direct, float_of, floats, special

erf = direct("erf", "x", "The error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x.",
             "0.5 -> 0.5204998778")
erfc = direct("erfc", "x", "1 - erf(x), accurate where that is small.", "2.0 -> 0.0046777349")
erfcx = direct("erfcx", "x", "exp(x**2) erfc(x), which does not underflow (DLMF 7.12.1).",
               "30.0 -> 0.0187958888")
erfi = direct("erfi", "x", "-i erf(i x), 2 / sqrt(pi) times the integral of exp(t**2) from 0 to x.",
              "0.5 -> 0.6149520946")
erfinv = direct("erfinv", "y", "The x for which erf(x) is y.", "0.5 -> 0.4769362762", op="erf_inv")
erfcinv = direct("erfcinv", "y", "The x for which erfc(x) is y.", "0.1 -> 1.1630871536", op="erfc_inv")
dawsn = direct("dawsn", "x", "Dawson's exp(-x**2) times the integral of exp(t**2) from 0 to x (DLMF 7.2.5).",
               "0.5 -> 0.4244363835")
log_ndtr = direct("log_ndtr", "x", "The logarithm of ndtr(x), accurate in both tails.",
                  "-40.0 -> -804.6084420")
ndtri = direct("ndtri", "p", "The normal quantile function: the x for which ndtr(x) is p.",
               "0.975 -> 1.9599639845")
ndtri_exp = direct("ndtri_exp", "y", "The x for which log_ndtr(x) is y.", "-800.0 -> -39.88469483")
owens_t = direct("owens_t", "h a",
                 "Owen's T: the probability of X > h and 0 < Y < a X for two normal numbers.",
                 "0.5, 2.0 -> 0.1415806036")


@special
def ndtr(x):
    """The normal distribution function, erfc(-x / sqrt(2)) / 2.

    >>> from functrans.scipy import special
    >>> float(special.ndtr(1.96))
    0.9750021048...
    """
    return 0.5 * OPS["erfc"](float_of(x) * -math.sqrt(0.5))


@special
def fresnel(x):
    """Fresnel's integrals of sin(pi t**2 / 2) and of cos(pi t**2 / 2) from 0 to x: a pair.

    >>> from functrans.scipy import special
    >>> s, c = special.fresnel(0.5)
    >>> float(s), float(c)
    (0.0647324328..., 0.4923442258...)
    """
    x = float_of(x)
    return OPS["fresnel_s"](x), OPS["fresnel_c"](x)


@special
def wofz(z):
    """Faddeeva's function exp(-z**2) erfc(-i z), complex (DLMF 7.2.3).

    >>> from functrans.scipy import special
    >>> float(special.wofz(0.5j).real)
    0.6156903441...
    """
    return OPS["wofz"](complex_of(z))


@special
def voigt_profile(x, sigma, gamma):
    """The density of the sum of a normal (``sigma``) and a Cauchy number (``gamma``).

    It is the real part of wofz((x + i gamma) / (sigma sqrt(2))) / (sigma sqrt(2 pi)) (DLMF 7.19.1).

    >>> from functrans.scipy import special
    >>> float(special.voigt_profile(2.0, 1.0, 1.0))
    0.0907151994...
    """
    x, sigma, gamma = floats(x, sigma, gamma)
    normal = sigma != 0
    width = np.where(normal, sigma, 1.0) * math.sqrt(2.0)
    w = OPS["wofz"](OPS["complex"](x / width, gamma / width)).real / (width * math.sqrt(math.pi))
    both = np.where(normal, 1.0, x * x + gamma * gamma)
    return np.where(normal, w, gamma / (math.pi * both))


__all__ = ["erf", "erfc", "erfcx", "erfi", "erfinv", "erfcinv", "dawsn", "log_ndtr", "ndtri", "ndtri_exp",
           "owens_t", "ndtr", "fresnel", "wofz", "voigt_profile"]
