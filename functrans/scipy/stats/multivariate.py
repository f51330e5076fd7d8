"""Distributions of vectors."""

from __future__ import annotations

import math

import numpy as np

from ... import errors
from ...numpy.core import aval_of
from .. import special as sp
from ..special.core import floats


class _Vectors:
    """A distribution of vectors, with a density and its logarithm."""

    def __repr__(self):
        return f"<distribution {type(self).__name__.strip('_')}>"


class _MultivariateNormal(_Vectors):
    """The normal distribution of vectors."""

    def logpdf(self, x, mean=None, cov=1, allow_singular=None):
        """The logarithm of the density at x, whose last axis is that of the vectors.

        ``mean`` is a vector (None: 0) or has leading axes; ``cov`` a matrix, a vector of variances or one
        number. Singular matrices have no density here: ``allow_singular`` must not be true.

        >>> from functrans.scipy.stats import multivariate_normal
        >>> float(multivariate_normal.logpdf(np.zeros(2), np.zeros(2), np.eye(2)))
        -1.8378770664...
        """
        if allow_singular:
            raise errors.NotSupportedError("multivariate_normal with allow_singular=True.",
                                           "Project to the space that the matrix spans.")
        if mean is None:
            mean = np.zeros(np.shape(cov)[-1:] if np.ndim(cov) else np.shape(x)[-1:])
        x, mean, cov = _one_dtype(x, mean, cov)
        n = aval_of(mean).shape[-1] if aval_of(mean).ndim else 1
        if not aval_of(mean).ndim:
            return -0.5 * ((x - mean) ** 2 / cov + np.log(2 * math.pi * cov))
        if aval_of(cov).ndim < 2:
            cov = np.broadcast_to(cov, (n,))
            y = (x - mean) / np.sqrt(cov)
            half = 0.5 * np.sum(np.log(cov), -1)
        else:
            if aval_of(cov).shape[-2:] != (n, n):
                raise errors.ShapeError(f"multivariate_normal: mean has {n} elements, cov is {aval_of(cov)}.")
            root = np.linalg.cholesky(cov)
            from ..linalg import solve_triangular
            difference = x - mean
            lead = np.broadcast_shapes(aval_of(difference).shape[:-1], aval_of(root).shape[:-2])
            difference = np.broadcast_to(difference, (*lead, n))
            if aval_of(root).ndim == 2:                  # one matrix: all vectors are columns
                flat = np.reshape(difference, (-1, n))
                columns = solve_triangular(root, np.transpose(flat), lower=True)
                y = np.reshape(np.transpose(columns), (*lead, n))
            else:
                root = np.broadcast_to(root, (*lead, n, n))
                y = solve_triangular(root, difference[..., None], lower=True)[..., 0]
            half = np.sum(np.log(np.diagonal(root, axis1=-2, axis2=-1)), -1)
        return -0.5 * np.sum(y * y, -1) - half - 0.5 * n * math.log(2 * math.pi)

    def pdf(self, x, mean=None, cov=1):
        """The density: see logpdf."""
        return np.exp(self.logpdf(x, mean, cov))


def _one_dtype(*xs):
    """As floats of one dtype, each with its own shape."""
    from ...numpy.core import convert, promote
    xs = promote(*xs)
    return xs if aval_of(xs[0]).dtype.kind == "f" else [convert(x, np.float64) for x in xs]


class _Dirichlet(_Vectors):
    """The Dirichlet distribution of probabilities that sum to 1."""

    def logpdf(self, x, alpha):
        """The logarithm of the density at x, whose first axis is that of the probabilities; the last one may
        be left out. -inf outside of the simplex.

        >>> from functrans.scipy.stats import dirichlet
        >>> float(dirichlet.logpdf(np.array([0.2, 0.3, 0.5]), np.array([1.0, 2.0, 3.0])))
        1.5040773967...
        """
        x, alpha = _one_dtype(x, alpha)
        k = aval_of(alpha).shape
        n = aval_of(x).shape[:1]
        if len(k) != 1 or n not in (k, (k[0] - 1,)):
            raise errors.ShapeError("dirichlet: alpha must be a vector, and x have as many rows, or one "
                                    f"less; got {aval_of(alpha)} and {aval_of(x)}.")
        if n != k:
            x = np.concatenate([x, 1.0 - np.sum(x, 0, keepdims=True)])
        a = np.reshape(alpha, (k[0],) + (1,) * (aval_of(x).ndim - 1))
        inside = np.all(x > 0, 0) & (np.abs(np.sum(x, 0) - 1.0) < 1e-4 if aval_of(x).dtype.itemsize < 8
                                     else np.abs(np.sum(x, 0) - 1.0) < 1e-9)
        safe = np.where(inside, x, 1.0 / k[0])
        scale = sp.gammaln(np.sum(alpha)) - np.sum(sp.gammaln(alpha))
        return np.where(inside, scale + np.sum(sp.xlogy(a - 1.0, safe), 0), -np.inf)

    def pdf(self, x, alpha):
        """The density: see logpdf."""
        return np.exp(self.logpdf(x, alpha))


class _Multinomial(_Vectors):
    """The multinomial distribution of counts."""

    def logpmf(self, x, n, p):
        """The logarithm of the probability of counts x (last axis) of n trials with probabilities p.

        >>> from functrans.scipy.stats import multinomial
        >>> float(multinomial.logpmf(np.array([1.0, 2.0]), 3.0, np.array([0.4, 0.6])))
        -0.83933069...
        """
        x, p = floats(x, p)
        (n,) = floats(n)
        good = np.all((x >= 0) & (x == np.floor(x)), -1) & (np.sum(x, -1) == n)
        x = np.where(good[..., None], x, 0.0)
        terms = sp.xlogy(x, p) - sp.gammaln(x + 1.0)
        return np.where(good, sp.gammaln(n + 1.0) + np.sum(terms, -1), -np.inf)

    def pmf(self, x, n, p):
        """The probability: see logpmf."""
        return np.exp(self.logpmf(x, n, p))


multivariate_normal = _MultivariateNormal()
dirichlet = _Dirichlet()
multinomial = _Multinomial()

__all__ = ["multivariate_normal", "dirichlet", "multinomial"]
