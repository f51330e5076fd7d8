"""Densities estimated from samples, by normal kernels."""

from __future__ import annotations

import math

import numpy as np

from ... import errors, tree
from ...numpy.core import asvalue, aval_of, convert
from .. import special as sp


def _rows(x):
    x = asvalue(x)
    return np.atleast_2d(x if aval_of(x).dtype.kind == "f" else convert(x, np.float64))


class gaussian_kde:                      # SciPy's name
    """A density estimated from a sample, a sum of normal densities round its points.

    ``dataset`` has shape (points,) or (dimensions, points); ``bw_method`` is "scott", "silverman", a number,
    or a function of this object; ``weights`` are of the points. It is a pytree of arrays: functions may take
    and return it, and it has derivatives by all of them.

    >>> from functrans.scipy.stats import gaussian_kde
    >>> kde = gaussian_kde(np.array([0.0, 1.0, 3.0]))
    >>> kde.evaluate(np.array([1.0])).shape
    (1,)
    """

    def __init__(self, dataset, bw_method=None, weights=None):
        dataset = _rows(dataset)
        n = aval_of(dataset).shape[1]
        if n < 2:
            raise errors.ShapeError(f"gaussian_kde: a sample of at least 2 points is needed, got {n}.")
        if weights is None:
            weights = np.full(n, 1.0 / n, aval_of(dataset).dtype)
        else:
            weights = asvalue(weights)
            if aval_of(weights).shape != (n,):
                raise errors.ShapeError(f"gaussian_kde: {n} points need {n} weights, got {aval_of(weights)}.")
            weights = weights / np.sum(weights)
        self.dataset, self.weights = dataset, weights
        self.neff = 1.0 / np.sum(weights * weights)
        self.factor = self._factor(bw_method)
        mean = np.sum(weights * dataset, 1, keepdims=True)
        away = dataset - mean
        bias = 1.0 - np.sum(weights * weights)
        self._data_covariance = np.matmul(away * weights, np.transpose(away)) / bias
        self.covariance = self._data_covariance * self.factor ** 2
        self.inv_cov = np.linalg.inv(self.covariance)

    def _factor(self, method):
        d = self.d
        if method is None or method == "scott":
            return np.power(self.neff, -1.0 / (d + 4))
        if isinstance(method, str):
            if method != "silverman":
                raise errors.ArgumentError(f"gaussian_kde: unknown bw_method {method!r}.",
                                           "Use 'scott', 'silverman', a number or a function.")
            return np.power(self.neff * (d + 2) / 4.0, -1.0 / (d + 4))
        return method(self) if callable(method) else method

    d = property(lambda self: aval_of(self.dataset).shape[0], doc="The number of dimensions.")
    n = property(lambda self: aval_of(self.dataset).shape[1], doc="The number of points.")

    def _places(self, points):
        points = _rows(points)
        m = aval_of(points).shape
        if m[0] != self.d:
            if m[0] == 1 and m[1] == self.d:
                return np.reshape(points, (self.d, 1))
            raise errors.ShapeError(f"gaussian_kde: points have {m[0]} dimensions, the sample has {self.d}.")
        return points

    def _log_terms(self, points, covariance):
        """Of each point and each element of the sample: the logarithm of the kernel."""
        from ..linalg import solve_triangular
        root = np.linalg.cholesky(covariance)
        x = solve_triangular(root, self._places(points), lower=True)
        y = solve_triangular(root, self.dataset, lower=True)
        gap = x[:, :, None] - y[:, None, :]
        scale = np.sum(np.log(np.diagonal(root))) + 0.5 * self.d * math.log(2 * math.pi)
        return -0.5 * np.sum(gap * gap, 0) - scale

    def evaluate(self, points):
        """The estimated density at points of shape (m,) or (dimensions, m)."""
        return np.matmul(np.exp(self._log_terms(points, self.covariance)), self.weights)

    __call__ = pdf = evaluate

    def logpdf(self, x):
        """The logarithm of the estimated density, also where that is tiny."""
        return sp.logsumexp(self._log_terms(x, self.covariance) + np.log(self.weights), 1)

    def integrate_gaussian(self, mean, cov):
        """The integral of the estimate times the normal density of ``mean`` and ``cov``."""
        total = self.covariance + np.reshape(cov, (self.d, self.d))
        return np.matmul(np.exp(self._log_terms(np.reshape(mean, (self.d, 1)), total)), self.weights)[0]

    def integrate_box_1d(self, low, high):
        """The estimated probability of [low, high], in one dimension."""
        if self.d != 1:
            raise errors.ShapeError(f"integrate_box_1d is of one dimension; the sample has {self.d}.")
        width = np.sqrt(self.covariance[0, 0])
        x = self.dataset[0]
        return np.sum(self.weights * (sp.ndtr((high - x) / width) - sp.ndtr((low - x) / width)))

    def integrate_kde(self, other):
        """The integral of the product with another estimate."""
        if other.d != self.d:
            raise errors.ShapeError(f"integrate_kde: the samples have {self.d} and {other.d} dimensions.")
        terms = np.exp(self._log_terms(other.dataset, self.covariance + other.covariance))
        return np.sum(other.weights * np.matmul(terms, self.weights))

    def resample(self, key, shape=()):
        """Draws from the estimate: an array of shape (dimensions, *shape)."""
        from ... import random
        first, second = random.split(key)
        at = random.choice(first, self.n, shape, p=self.weights)
        noise = random.multivariate_normal(second, np.zeros(self.d, aval_of(self.dataset).dtype),
                                           self.covariance, shape)
        return np.take(self.dataset, at, axis=1) + np.moveaxis(noise, -1, 0)


_FIELDS = ("dataset", "weights", "neff", "factor", "_data_covariance", "covariance", "inv_cov")


def _again(_, values):
    kde = object.__new__(gaussian_kde)
    kde.__dict__.update(zip(_FIELDS, values, strict=True))
    return kde


tree.register_node(gaussian_kde, lambda kde: ([getattr(kde, name) for name in _FIELDS], None), _again)

__all__ = ["gaussian_kde"]
