"""Special functions under their names in ``jax.lax``; ``functrans.scipy.special`` has more."""

from __future__ import annotations

import inspect

from .ops import _run, _together

# Name: op, parameters, what it is, an example, its value.
_TABLE = {
    "lgamma": ("gammaln", "x", "The logarithm of abs(gamma(x)).", "4.5", "2.4537365"),
    "digamma": ("digamma", "x", "The derivative of lgamma.", "4.5", "1.3888709"),
    "polygamma": ("polygamma", "m x", "The m-th derivative of digamma, m whole.", "1.0, 2.5", "0.4903577"),
    "igamma": ("gammainc", "a x", "The incomplete gamma function P, regularised.", "2.5, 1.5", "0.3000141"),
    "igammac": ("gammaincc", "a x", "Its complement, 1 - igamma.", "2.5, 1.5", "0.6999858"),
    "igamma_grad_a": ("gammainc_slope", "a x", "Of igamma by a: its slope.", "2.5, 1.5", "-0.2521754"),
    "betainc": ("betainc", "a b x", "The incomplete beta function.", "2.5, 1.5, 0.4", "0.1739276"),
    "zeta": ("zeta", "x q", "Hurwitz's zeta function.", "2.0, 1.0", "1.6449340"),
    "bessel_i0e": ("bessel_i0e", "x", "exp(-abs(x)) times the modified Bessel function of order 0.", "2.0",
                   "0.3085083"),
    "bessel_i1e": ("bessel_i1e", "x", "exp(-abs(x)) times the modified Bessel function of order 1.", "2.0",
                   "0.2152692"),
}


def _function(name, op, parameters, text, example, value):
    signature = inspect.Signature([inspect.Parameter(p, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                                   for p in parameters.split()])

    def function(*args, **kwargs):
        return _run(op, *_together(name, signature.bind(*args, **kwargs).args))

    function.__signature__ = signature
    function.__name__ = function.__qualname__ = name
    function.__doc__ = (f"{text}\n\nOperands have one float dtype, and one shape but for scalars.\n\n"
                        f">>> from functrans import lax\n>>> float(lax.{name}({example}))\n{value}...")
    return function


globals().update({_name: _function(_name, *_row) for _name, _row in _TABLE.items()})


def random_gamma_grad(a, sample):
    """How a draw from the gamma distribution moves with its shape ``a``, its quantile kept.

    >>> from functrans import lax
    >>> float(lax.random_gamma_grad(2.5, 1.5))
    0.8177936859...
    """
    a, sample = _together("random_gamma_grad", (a, sample))
    return _run("mul", sample, _run("gamma_slope", a, _run("log", sample)))


__all__ = [*_TABLE, "random_gamma_grad"]
