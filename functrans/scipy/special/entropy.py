"""Logistic functions, products with logarithms, sums of exponentials: compositions."""

from __future__ import annotations

import numpy as np

from ...ir.op import OPS
from ...trace.tracer import Tracer
from .core import float_of as _float
from .core import floats as _floats
from .core import special as _special

# ----- logistic functions -----------------------------------------------------------------------


@_special
def expit(x):
    """The logistic function 1 / (1 + exp(-x))."""
    return OPS["logistic"](_float(x))


@_special
def log_expit(x):
    """The logarithm of the logistic function."""
    return -np.logaddexp(0.0, -_float(x))


@_special
def logit(x):
    """log(x / (1 - x))."""
    x = _float(x)
    s = 2.0 * x - 1.0           # exact near 1/2, where the two logarithms cancel
    middle = np.abs(s) < 0.4
    return np.where(middle, 2.0 * np.arctanh(np.where(middle, s, 0.0)), np.log(x) - np.log1p(-x))


# ----- products with logarithms, 0 where the factor is 0


def _x_times(x, log, y):
    """x * log, which is 0 where x is 0, but nan where x or y is."""
    return np.where(np.isnan(x) | np.isnan(y), np.nan, OPS["zmul"](x, log))


@_special
def xlogy(x, y):
    """x * log(y), and 0 where x is 0."""
    x, y = _floats(x, y)
    return _x_times(x, np.log(y), y)


@_special
def xlog1py(x, y):
    """x * log1p(y), and 0 where x is 0."""
    x, y = _floats(x, y)
    return _x_times(x, np.log1p(y), y)


@_special
def entr(x):
    """-x * log(x); 0 at 0 and -inf below."""
    x = _float(x)
    return np.where(x < 0, -np.inf, -OPS["zmul"](x, np.log(np.where(x < 0, 1.0, x))))


@_special
def rel_entr(x, y):
    """x * log(x / y); 0 where x is 0 and y is not negative, inf elsewhere outside x, y > 0."""
    x, y = _floats(x, y)
    inside = (x > 0) & (y > 0)
    safe_x, safe_y = np.where(inside, x, 1.0), np.where(inside, y, 1.0)
    outside = np.where((x == 0) & (y >= 0), np.zeros_like(x), np.inf)
    outside = np.where(np.isnan(x) | np.isnan(y), np.nan, outside)
    return np.where(inside, x * (np.log(safe_x) - np.log(safe_y)), outside)


@_special
def kl_div(x, y):
    """x * log(x / y) - x + y; inf outside of its domain."""
    x, y = _floats(x, y)
    return np.where((x < 0) | (y < 0), np.inf, rel_entr.traced(x, y) - x + y)


# ----- sums of exponentials -----------------------------------------------------------------------


def _shift(a, axis):
    """The maximum along an axis, as a constant; 0 where it is infinite, so that nothing becomes nan."""
    top = np.max(a, axis=axis, keepdims=True)
    top = OPS["stop_gradient"](top) if type(top) is Tracer else top
    return np.where(np.isfinite(top), top, 0.0)


@_special(ufunc=False)
def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    """log(sum(b * exp(a))) without overflow; -inf where all of ``a`` is -inf, with zero derivatives.

    >>> import numpy as np
    >>> from functrans.scipy import special
    >>> float(special.logsumexp(np.array([1000.0, 1000.0])) - 1000.0)       # log(2)
    0.69314718...
    """
    if b is None:
        a = _float(a)
    else:
        a, b = _floats(a, b)
        a = np.where(b == 0, -np.inf, a)        # SciPy: a weight of 0 leaves the element out
    top = _shift(a, axis)
    terms = np.exp(a - top)
    if b is not None:
        terms = OPS["zmul"](b, terms)
    total = np.sum(terms, axis=axis, keepdims=True)
    sign = np.sign(total)
    if return_sign:
        total = np.abs(total)
    out = np.log(total) + top
    if not keepdims:
        out, sign = np.squeeze(out, axis), np.squeeze(sign, axis)
    return (out, sign) if return_sign else out


@_special(ufunc=False)
def softmax(x, axis=None):
    """exp(x) / sum(exp(x)) along an axis."""
    x = _float(x)
    top = np.max(x, axis=axis, keepdims=True)
    shifted = np.exp(x - (OPS["stop_gradient"](top) if type(top) is Tracer else top))
    return shifted / np.sum(shifted, axis=axis, keepdims=True)


@_special(ufunc=False)
def log_softmax(x, axis=None):
    """The logarithm of the softmax, accurate where that is small."""
    x = _float(x)
    shifted = x - _shift(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


# ----- NumPy's under SciPy's names ----------------------------------------------------------------


def _same_as_numpy(name, f):
    def function(x):
        return f(_float(x))
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}(x), as numpy.{f.__name__}."
    return _special(function)


exp2 = _same_as_numpy("exp2", np.exp2)
expm1 = _same_as_numpy("expm1", np.expm1)
log1p = _same_as_numpy("log1p", np.log1p)
cbrt = _same_as_numpy("cbrt", np.cbrt)


@_special
def exp10(x):
    """10 ** x."""
    return np.power(10.0, _float(x))


def logaddexp(x, y):
    """log(exp(x) + exp(y)), as numpy.logaddexp."""
    return np.logaddexp(x, y)


__all__ = ["expit", "log_expit", "logit", "xlogy", "xlog1py", "entr", "rel_entr", "kl_div", "logsumexp",
           "softmax", "log_softmax", "exp2", "expm1", "log1p", "cbrt", "exp10", "logaddexp"]
