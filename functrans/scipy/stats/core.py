"""A distribution is a record of a few formulas; everything else follows from them.

Formulas are those of the standard distribution (loc 0, scale 1), written in NumPy; they see only values
inside of the support, so neither they nor their derivatives need to care for what lies outside: there a
density is 0, its logarithm -inf, and derivatives are 0. Parameters that no distribution has give NaN.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ..special.core import floats

Formula = Callable[..., Any]
DENSITIES = {"pdf": "The density at x.", "logpdf": "The logarithm of the density at x.",
             "pmf": "The probability of k.", "logpmf": "The logarithm of the probability of k."}
TEXTS = {**DENSITIES,
         "cdf": "The probability of at most {0}.", "logcdf": "The logarithm of cdf.",
         "sf": "The probability of more than {0}, 1 - cdf, accurate where that is small.",
         "logsf": "The logarithm of sf.",
         "ppf": "The quantile function: the least {0} for which cdf is at least q.",
         "isf": "The {0} for which sf is q."}


class Distribution:
    """A distribution with the methods that its formulas give; see ``scipy.stats`` for what they mean.

    ``valid``: of the parameters; ``support``: (low, high), or a function of the parameters.
    """

    density: str                # the name of the given density: logpdf or logpmf
    places: Sequence[str]       # parameters after the shapes

    def __init__(self, name: str, text: str, shapes: str = "", *, support: Any = (-np.inf, np.inf),
                 valid: Formula | None = None, **formulas: Formula):
        self.name, self.shapes = name, shapes.split()
        self._support, self._valid = support, valid
        if "cdf" in formulas and "sf" not in formulas:
            cdf = formulas["cdf"]
            formulas["sf"] = lambda *args: 1.0 - cdf(*args)
        if "ppf" in formulas and "isf" not in formulas:
            ppf = formulas["ppf"]
            formulas["isf"] = lambda q, *shapes: ppf(1.0 - q, *shapes)
        self._formulas = formulas
        self.__doc__ = text
        plain = self.density.removeprefix("log")
        for method in (self.density, plain, "cdf", "logcdf", "sf", "logsf", "ppf", "isf"):
            if method in formulas or method.removeprefix("log") in formulas or method == plain:
                setattr(self, method, self._method(method))

    def __repr__(self):
        return f"<{type(self).__name__.lower()} distribution {self.name}>"

    def _method(self, kind):
        """The public function, with SciPy's parameters."""
        first = "q" if kind in ("ppf", "isf") else "x" if self.density == "logpdf" else "k"
        parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                      for n in (first, *self.shapes)]
        parameters += [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=d)
                       for n, d in zip(self.places, (0, 1), strict=False)]
        signature = inspect.Signature(parameters)
        at = 1 + len(self.shapes)

        def method(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = floats(*bound.args)
            with np.errstate(all="ignore"):
                return self._run(kind, values[0], values[1:at], *values[at:])

        method.__name__, method.__qualname__ = kind, f"{self.name}.{kind}"
        method.__signature__ = signature
        method.__doc__ = TEXTS[kind].format(first if first != "q" else "x") + (
            "\n\nArguments broadcast; integers become float64.")
        return method

    def _bounds(self, shapes):
        return self._support(*shapes) if callable(self._support) else self._support

    def _run(self, kind, x, shapes, loc, scale=None):
        if kind in ("ppf", "isf"):
            return self._quantile(kind, x, shapes, loc, scale)
        y = self._standard(x, loc, scale)
        low, high = self._bounds(shapes)
        below, above = y < low, y > high
        outside = below | above
        good = self._good(shapes, scale)
        inside = np.where(outside | np.logical_not(good), _interior(low, high), y)
        if kind in DENSITIES:
            value = self._density(kind, y, inside, shapes, scale)
            value = np.where(outside, -np.inf if kind.startswith("log") else 0.0, value)
        else:
            edges = (0.0, 1.0) if kind.endswith("cdf") else (1.0, 0.0)
            if kind.startswith("log"):
                edges = tuple(-np.inf if e == 0 else 0.0 for e in edges)
            value = np.where(below, edges[0], np.where(above | (y == high), edges[1],
                                                       self._tail(kind, inside, shapes)))
        return np.where(good & ~np.isnan(y), value, np.nan)

    def _tail(self, kind, y, shapes):
        """cdf, sf or a logarithm of theirs."""
        formula = self._formulas.get(kind)
        if formula is not None:
            return formula(y, *shapes)
        plain = kind.removeprefix("log")
        return np.log(self._formulas[plain](y, *shapes))

    def _good(self, shapes, scale):
        good = True if self._valid is None else self._valid(*shapes)
        return good if scale is None else good & (scale > 0)

    def _quantile(self, kind, q, shapes, loc, scale):
        low, high = self._bounds(shapes)
        if kind == "isf":
            low, high = high, low
        good = self._good(shapes, scale) & (q >= 0) & (q <= 1)
        edge = (q == 0) | (q == 1)
        y = self._formulas[kind](np.where(edge | np.logical_not(good), 0.5, q), *shapes)
        y = np.where(q == 0, self._lowest(low), np.where(q == 1, high, y)) if kind == "ppf" else np.where(
            q == 0, low, np.where(q == 1, self._lowest(high), y))
        return np.where(good, loc + y if scale is None else loc + scale * y, np.nan)

    def _lowest(self, low):
        return low


def _interior(low, high):
    """A value inside of a support; a number, which has no dtype, if that is the same for all parameters."""
    if isinstance(low, float):
        return 0.5 * (low + high) if isfinite(low + high) else low + 1.0 if isfinite(low) else 0.0
    below, above = np.isfinite(low), np.isfinite(high)
    bottom, top = np.where(below, low, 0.0), np.where(above, high, 0.0)
    half_open = np.where(below, bottom + 1.0, np.where(above, top - 1.0, 0.0))
    return np.where(below & above, 0.5 * (bottom + top), half_open)


class Continuous(Distribution):
    density, places = "logpdf", ("loc", "scale")

    def _standard(self, x, loc, scale):
        return (x - loc) / scale

    def _density(self, kind, y, inside, shapes, scale):
        value = self._formulas["logpdf"](inside, *shapes) - np.log(scale)
        return np.exp(value) if kind == "pdf" else value


class Discrete(Distribution):
    """On whole numbers. Of other numbers the probability is 0, and cdf is that of the next lower one."""

    density, places = "logpmf", ("loc",)

    def _standard(self, k, loc, scale):
        return k - loc

    def _density(self, kind, y, inside, shapes, scale):
        whole = y == np.floor(y)
        value = self._formulas["logpmf"](np.where(whole, inside, np.floor(inside)), *shapes)
        if kind == "pmf":
            return np.where(whole, np.exp(value), 0.0)
        return np.where(whole, value, -np.inf)

    def _tail(self, kind, y, shapes):
        return super()._tail(kind, np.floor(y), shapes)

    def _lowest(self, low):
        return low - 1.0
