"""Special functions that NumPy has: sinc, i0."""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import OPS
from .core import asvalue, aval_of, convert, implements

# Of sin(u) / u in u^2.
_SERIES = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(13)]


def _float(x):
    x = asvalue(x)
    return x if aval_of(x).dtype.kind in "fc" else convert(x, np.float64)


@implements(np.sinc)
def sinc(x):
    """sin(pi x) / (pi x), and 1 at 0; near 0 by its power series, so that all derivatives are right there."""
    u = np.pi * _float(x)
    close = np.abs(u) < 1.0
    small, value = np.where(close, u * u, 0.0), 0.0
    for c in reversed(_SERIES):
        value = value * small + c
    far = np.where(close, 1.0, u)
    return np.where(close, value, np.sin(far) / far)


@implements(np.i0)
def i0(x):
    """The modified Bessel function of the first kind of order 0."""
    return OPS["bessel_i0"](_float(x))


__all__ = ["i0", "sinc"]
