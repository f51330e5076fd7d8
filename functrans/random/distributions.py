"""Distributions with parameters: gamma and what is made of it, counts, and transforms of simple draws.

gamma, loggamma, poisson and binomial reject inside the kernel, from a stream of counters for each element:
their values are not JAX's, nor are those of beta, dirichlet, chisquare, t, f, generalized_normal and ball,
which are made of gamma. All others are JAX's to a few ulp. Draws are differentiable in the parameters where
the distribution is continuous; gamma by implicit reparameterisation (Figurnov, Mohamed, Mnih, 2018), to
first order.
"""

from __future__ import annotations

from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..lax import scan
from ..numpy.core import asvalue, broadcast_shape, convert, shape_of
from ..numpy.shape import as_array
from ..trace.core import aval_of
from .draws import (
    exponential,
    float_of,
    integer_of,
    normal,
    parameter,
    program,
    rademacher,
    shape_with,
    unit,
)
from .keys import checked, shape_of_draw, split


def gamma(key, a, shape=None, dtype=None):
    """Gamma with shape ``a`` and scale 1: density x**(a-1) exp(-x) / Gamma(a).

    >>> import numpy as np
    >>> from functrans import grad, random
    >>> slope = grad(lambda a: np.mean(random.gamma(random.key(0), a, (10_000,))))(3.0)
    >>> bool(abs(slope - 1) < 0.02)      # the mean is a
    True
    """
    dtype = float_of("gamma", dtype)
    return OPS["random_gamma"](checked("gamma", key), parameter(a, dtype, shape_with("gamma", shape, a)))


def loggamma(key, a, shape=None, dtype=None):
    """The logarithm of ``gamma``: right where gamma itself is too small for the dtype.

    >>> from functrans import random
    >>> random.loggamma(random.key(0), 1e-3, (2,)).shape     # gamma itself would underflow
    (2,)
    """
    dtype = float_of("loggamma", dtype)
    shape = shape_with("loggamma", shape, a)
    return OPS["random_loggamma"](checked("loggamma", key), parameter(a, dtype, shape))


@program
def _beta(key, a, b):
    keys = split(key)
    x, y = OPS["random_loggamma"](keys[0], a), OPS["random_loggamma"](keys[1], b)
    return OPS["logistic"](OPS["sub"](x, y))


def beta(key, a, b, shape=None, dtype=None):
    """Beta: density proportional to x**(a-1) (1-x)**(b-1).

    >>> from functrans import random
    >>> random.beta(random.key(0), 2.0, 3.0, (2, 3)).shape
    (2, 3)
    """
    key, dtype, shape = checked("beta", key), float_of("beta", dtype), shape_with("beta", shape, a, b)
    return _beta(key, parameter(a, dtype, shape), parameter(b, dtype, shape))


@program
def _dirichlet(key, alpha):
    x = OPS["random_loggamma"](key, alpha)
    e = np.exp(x - np.max(x, -1, keepdims=True))
    return e / np.sum(e, -1, keepdims=True)


def dirichlet(key, alpha, shape=None, dtype=None):
    """Dirichlet over the last axis of ``alpha``; ``shape`` is the result's without that axis.

    >>> from functrans import random
    >>> import numpy as np
    >>> random.dirichlet(random.key(0), np.ones(3), (2,)).sum(axis=1).round(12)
    array([1., 1.])
    """
    key, dtype = checked("dirichlet", key), float_of("dirichlet", dtype)
    alpha = as_array(alpha)
    a = aval_of(alpha)
    if not a.ndim:
        raise errors.ShapeError("random.dirichlet: alpha must have an axis, got a scalar.")
    lead = a.shape[:-1] if shape is None else shape_of_draw("dirichlet", shape)
    if broadcast_shape(lead, a.shape[:-1]) != lead:
        raise errors.ShapeError(f"random.dirichlet: alpha of shape {a.shape} does not broadcast to shape "
                                f"{(*lead, a.shape[-1])}.", "shape is the result's without its last axis.")
    return _dirichlet(key, parameter(alpha, dtype, (*lead, a.shape[-1])))


def poisson(key, lam, shape=None, dtype=None):
    """Poisson with rate ``lam``, int64 by default; -1 where the rate is negative or nan.

    >>> from functrans import random
    >>> random.poisson(random.key(0), 4.0, (2, 3)).dtype
    dtype('int64')
    """
    key, dtype = checked("poisson", key), integer_of("poisson", dtype)
    shape = shape_with("poisson", shape, lam)
    x = OPS["random_poisson"](key, parameter(lam, np.dtype(np.float64), shape))
    return convert(np.where(np.isnan(x), -1.0, x), dtype)


def binomial(key, n, p, shape=None, dtype=None):
    """The number of successes of ``n`` trials of probability ``p``, as float64; nan for wrong parameters.

    >>> from functrans import random
    >>> random.binomial(random.key(0), 10, 0.3, (2, 3)).dtype
    dtype('float64')
    """
    key, dtype = checked("binomial", key), float_of("binomial", dtype)
    shape = shape_with("binomial", shape, n, p)
    return OPS["random_binomial"](key, parameter(n, dtype, shape), parameter(p, dtype, shape))


def multinomial(key, n, p, *, shape=None, dtype=None):
    """How many of ``n`` trials fall into each category of the last axis of ``p``, as float64.

    Args:
      n: trials, of a shape that broadcasts with that of p without its last axis.
      p: probabilities [..., k]; they are divided by their sum.
      shape: of the result; its last extent is k.

    Each category gets a binomial draw of what is left, with its share of the probability that is left.

    >>> import numpy as np
    >>> from functrans import random
    >>> random.multinomial(random.key(0), 10, np.array([0.2, 0.5, 0.3])).sum()
    np.float64(10.0)
    """
    key, dtype = checked("multinomial", key), float_of("multinomial", dtype)
    p = as_array(p)
    if not shape_of(p) or not shape_of(p)[-1]:
        raise errors.ShapeError(f"random.multinomial: p has no categories, its shape is {shape_of(p)}.",
                                "The last axis of p is that of categories.")
    k, lead = shape_of(p)[-1], np.broadcast_shapes(shape_of(as_array(n)), shape_of(p)[:-1])
    shape = (*lead, k) if shape is None else shape_of_draw("multinomial", shape)
    if shape[-1:] != (k,) or np.broadcast_shapes(shape[:-1], lead) != shape[:-1]:
        raise errors.ShapeError(f"random.multinomial: n and p make {(*lead, k)}, which does not fit {shape}.",
                                "shape is that of the whole result.")
    p = np.moveaxis(np.broadcast_to(convert(p, dtype), shape), -1, 0)
    left = np.flip(np.cumsum(np.flip(p, 0), 0), 0)              # the probability of this and all later ones
    share = np.where(left > 0, np.minimum(p / np.where(left > 0, left, 1), 1), 0)

    def category(rest, xs):
        drawn = binomial(xs[0], rest, xs[1], dtype=dtype)
        return rest - drawn, drawn
    trials = np.broadcast_to(convert(asvalue(n), dtype), shape[:-1])
    counts = scan(category, trials, (split(key, k), share))[1]
    return np.moveaxis(counts, 0, -1)


def chisquare(key, df, shape=None, dtype=None):
    """Chi-square with ``df`` degrees of freedom.

    >>> from functrans import random
    >>> random.chisquare(random.key(0), 3.0, (2, 3)).shape
    (2, 3)
    """
    dtype = float_of("chisquare", dtype)
    df = parameter(df, dtype, shape_with("chisquare", shape, df))
    return 2 * OPS["random_gamma"](checked("chisquare", key), df / 2)


def f(key, dfnum, dfden, shape=None, dtype=None):
    """F with ``dfnum`` and ``dfden`` degrees of freedom.

    >>> from functrans import random
    >>> random.f(random.key(0), 3.0, 10.0, (2, 3)).shape
    (2, 3)
    """
    key, dtype, shape = checked("f", key), float_of("f", dtype), shape_with("f", shape, dfnum, dfden)
    keys = split(key)
    a, b = parameter(dfnum, dtype, shape), parameter(dfden, dtype, shape)
    return (chisquare(keys[1], a, shape, dtype) / a) / (chisquare(keys[0], b, shape, dtype) / b)


def t(key, df, shape=None, dtype=None):
    """Student's t with ``df`` degrees of freedom.

    >>> from functrans import random
    >>> random.t(random.key(0), 4.0, (2, 3)).shape
    (2, 3)
    """
    key, dtype, shape = checked("t", key), float_of("t", dtype), shape_with("t", shape, df)
    keys = split(key)
    half = parameter(df, dtype, shape) / 2
    return normal(keys[0], shape, dtype) * np.sqrt(half / OPS["random_gamma"](keys[1], half))


# ----- transforms of simple draws ------------------------------------------------------------------------


def _transformed(name, doc, formula, *names):
    """A draw that is a formula of (key, shape, dtype, parameters), all of these in the result's shape."""
    @program
    def run(key, *params, shape, dtype):
        return formula(key, shape, dtype, *params)

    def draw(key, *params, shape=None, dtype=None):
        dtype = float_of(name, dtype)
        shape = shape_with(name, shape, *params)
        params = [parameter(p, dtype, shape) for p in params]
        return run(checked(name, key), *params, shape=shape, dtype=dtype)
    return draw


_pareto = _transformed("pareto", "", lambda key, shape, dtype, b: np.exp(exponential(key, shape, dtype) / b))
_rayleigh = _transformed("rayleigh", "", lambda key, shape, dtype, scale: scale * np.sqrt(
    np.log(unit(key, shape, dtype)) * dtype.type(-2)))
_lognormal = _transformed("lognormal", "", lambda key, shape, dtype, sigma: np.exp(
    normal(key, shape, dtype) * sigma))
_weibull = _transformed("weibull_min", "", lambda key, shape, dtype, scale, concentration: np.power(
    -np.log1p(-unit(key, shape, dtype)), 1.0 / concentration) * scale)


def _wald_formula(key, shape, dtype, mean):
    """Michael, Schucany, Haas, "Generating random variates using transformations with multiple roots",
    1976."""
    keys = split(key)
    y = np.square(normal(keys[0], shape, dtype))
    z = unit(keys[1], shape, dtype)
    root = np.sqrt(4 * mean * y + np.square(mean) * np.square(y))
    x = mean + np.square(mean) * y / 2 - mean / 2 * root
    return np.where(z <= mean / (mean + x), x, np.square(mean) / x)


def _triangular_formula(key, shape, dtype, left, mode, right):
    u = unit(key, shape, dtype)
    width = right - left
    rising = left + np.sqrt(u * width * (mode - left))
    falling = right - np.sqrt((1 - u) * width * (right - mode))
    return np.where(u < (mode - left) / width, rising, falling)


_wald = _transformed("wald", "", _wald_formula)
_triangular = _transformed("triangular", "", _triangular_formula)


def pareto(key, b, shape=None, dtype=None):
    """Pareto: density b / x**(b+1) for x >= 1.

    >>> from functrans import random
    >>> random.pareto(random.key(0), 3.0, (2, 3)).shape
    (2, 3)
    """
    return _pareto(key, b, shape=shape, dtype=dtype)


def rayleigh(key, scale, shape=None, dtype=None):
    """Rayleigh: density x exp(-x**2 / (2 scale**2)) / scale**2.

    >>> from functrans import random
    >>> random.rayleigh(random.key(0), 1.0, (2, 3)).shape
    (2, 3)
    """
    return _rayleigh(key, scale, shape=shape, dtype=dtype)


def lognormal(key, sigma=1.0, shape=None, dtype=None):
    """The exponential of a normal number with standard deviation ``sigma``.

    >>> from functrans import random
    >>> random.lognormal(random.key(0), 0.5, (2, 3)).shape
    (2, 3)
    """
    return _lognormal(key, sigma, shape=shape, dtype=dtype)


def weibull_min(key, scale, concentration, shape=(), dtype=None):
    """Weibull: distribution function 1 - exp(-(x / scale)**concentration).

    >>> from functrans import random
    >>> random.weibull_min(random.key(0), 1.0, 2.0, (2, 3)).shape
    (2, 3)
    """
    shape = shape_of_draw("weibull_min", shape) or None
    return _weibull(key, scale, concentration, shape=shape, dtype=dtype)


def wald(key, mean, shape=None, dtype=None):
    """Wald (inverse Gaussian) with this mean and scale 1.

    >>> from functrans import random
    >>> random.wald(random.key(0), 1.0, (2, 3)).shape
    (2, 3)
    """
    return _wald(key, mean, shape=shape, dtype=dtype)


def triangular(key, left, mode, right, shape=None, dtype=None):
    """Triangular between ``left`` and ``right`` with its peak at ``mode``.

    >>> from functrans import random
    >>> random.triangular(random.key(0), 0.0, 0.2, 1.0, (2, 3)).shape
    (2, 3)
    """
    return _triangular(key, left, mode, right, shape=shape, dtype=dtype)


def geometric(key, p, shape=None, dtype=None):
    """The number of trials of probability p up to the first success, int64 by default.

    >>> from functrans import random
    >>> random.geometric(random.key(0), 0.25, (2, 3)).dtype
    dtype('int64')
    """
    key, dtype = checked("geometric", key), integer_of("geometric", dtype)
    shape = shape_with("geometric", shape, p)
    p = as_array(p)
    kind = aval_of(p).dtype if aval_of(p).dtype.kind == "f" else np.dtype(np.float64)
    return _geometric(key, parameter(p, kind, shape), dtype=dtype)


@program
def _geometric(key, p, *, dtype):
    a = aval_of(p)
    u = unit(key, a.shape, a.dtype)
    u = np.where(u == 0, np.ones((), a.dtype), u)
    return convert(np.floor(np.log(u) / np.log1p(-p)) + 1, dtype)


@program
def _maxwell(key, *, shape, dtype):
    return np.sqrt(np.sum(np.square(normal(key, (*shape, 3), dtype)), -1))


def maxwell(key, shape=(), dtype=None):
    """Maxwell: the length of a vector of three standard normal numbers.

    >>> from functrans import random
    >>> bool(random.maxwell(random.key(0), (100,)).min() > 0)
    True
    """
    return _maxwell(checked("maxwell", key), shape=shape_of_draw("maxwell", shape),
                    dtype=float_of("maxwell", dtype))


def double_sided_maxwell(key, loc, scale, shape=(), dtype=None):
    """Maxwell with a random sign, times ``scale`` plus ``loc``; ``shape`` goes before theirs (as in JAX).

    >>> from functrans import random
    >>> random.double_sided_maxwell(random.key(0), 0.0, 1.0, (2, 3)).shape
    (2, 3)
    """
    key, dtype = checked("double_sided_maxwell", key), float_of("double_sided_maxwell", dtype)
    own = shape_with("double_sided_maxwell", None, loc, scale)
    shape = (shape_of_draw("double_sided_maxwell", shape) or own) + own
    keys = split(key)
    x = rademacher(keys[1], shape, dtype) * maxwell(keys[0], shape, dtype)
    return x * parameter(scale, dtype, shape) + parameter(loc, dtype, shape)


def generalized_normal(key, p, shape=(), dtype=None):
    """Density proportional to exp(-abs(x)**p).

    >>> from functrans import random
    >>> random.generalized_normal(random.key(0), 1.5, (2, 3)).shape
    (2, 3)
    """
    key, dtype = checked("generalized_normal", key), float_of("generalized_normal", dtype)
    shape = shape_of_draw("generalized_normal", shape)
    p = convert(asvalue(p), dtype)
    keys = split(key)
    x = gamma(keys[0], 1 / p, shape, dtype)
    return rademacher(keys[1], shape, dtype) * np.power(x, 1 / p)


def ball(key, d, p=2, shape=(), dtype=None):
    """Uniform in the d-dimensional ball of the p-norm (Barthe, Guedon, Mendelson, Naor, 2005).

    >>> import numpy as np
    >>> from functrans import random
    >>> x = random.ball(random.key(0), 3, shape=(100,))
    >>> x.shape, bool((np.linalg.norm(x, axis=1) <= 1).all())
    ((100, 3), True)
    """
    key, dtype, shape = checked("ball", key), float_of("ball", dtype), shape_of_draw("ball", shape)
    keys = split(key)
    g = generalized_normal(keys[0], p, (*shape, index(d)), dtype)
    e = exponential(keys[1], shape, dtype)
    p = convert(asvalue(p), dtype)
    return g / np.power(np.sum(np.power(np.abs(g), p), -1) + e, 1 / p)[..., None]


def multivariate_normal(key, mean, cov, shape=None, dtype=None, method="cholesky"):
    """Normal with a mean vector (last axis) and covariance matrices (last two axes).

    ``shape`` is the result's without the last axis; ``method`` how the root of the covariance is found:
    'cholesky', 'eigh' or 'svd'.

    >>> from functrans import random
    >>> import numpy as np
    >>> random.multivariate_normal(random.key(0), np.zeros(2), np.eye(2), (5,)).shape
    (5, 2)
    """
    key = checked("multivariate_normal", key)
    if method not in ("cholesky", "eigh", "svd"):
        raise errors.OptionError(
            "random.multivariate_normal: method must be 'cholesky', 'eigh' or 'svd', got "
            f"{method!r}")
    mean, cov = as_array(mean), as_array(cov)
    kind = np.result_type(aval_of(mean).dtype, aval_of(cov).dtype)
    dtype = float_of("multivariate_normal", dtype or (kind if kind.kind == "f" else None))
    mean, cov = convert(mean, dtype), convert(cov, dtype)
    m, c = aval_of(mean), aval_of(cov)
    if not m.ndim or c.ndim < 2 or c.shape[-2:] != (m.shape[-1],) * 2:
        raise errors.ShapeError(f"random.multivariate_normal: mean must be [..., n] and cov [..., n, n], got "
                                f"{m} and {c}.")
    lead = broadcast_shape(m.shape[:-1], c.shape[:-2])
    shape = lead if shape is None else shape_of_draw("multivariate_normal", shape)
    if broadcast_shape(shape, lead) != shape:
        raise errors.ShapeError(f"random.multivariate_normal: mean and cov of shape {lead} do not broadcast "
                                f"to shape {shape}.", "shape is the result's without its last axis.")
    if method == "cholesky":
        root = np.linalg.cholesky(cov)
    elif method == "eigh":
        w, v = np.linalg.eigh(cov)
        root = v * np.sqrt(w[..., None, :])
    else:
        u, s, _ = np.linalg.svd(cov)
        root = u * np.sqrt(s[..., None, :])
    x = normal(key, (*shape, m.shape[-1]), dtype)
    return mean + np.squeeze(np.matmul(root, x[..., None]), -1)


def orthogonal(key, n, shape=(), dtype=None, m=None):
    """Uniform (Haar) orthogonal matrices n x n, or n x m with orthonormal rows or columns.

    The signs of a QR decomposition's diagonal are moved into Q (Mezzadri, "How to generate random matrices
    from the classical compact groups", 2007).

    >>> import numpy as np
    >>> from functrans import random
    >>> q = random.orthogonal(random.key(0), 3)
    >>> np.allclose(q @ q.T, np.eye(3))
    True
    """
    key, dtype = checked("orthogonal", key), float_of("orthogonal", dtype)
    shape, n = shape_of_draw("orthogonal", shape), index(n)
    m = n if m is None else index(m)
    z = normal(key, (*shape, max(n, m), min(n, m)), dtype)
    q, r = np.linalg.qr(z)
    x = q * np.sign(np.diagonal(r, 0, -2, -1))[..., None, :]
    return np.swapaxes(x, -1, -2) if n < m else x



__all__ = ["ball", "beta", "binomial", "chisquare", "dirichlet", "double_sided_maxwell", "f", "gamma",
           "generalized_normal", "geometric", "loggamma", "lognormal", "maxwell", "multinomial",
           "multivariate_normal", "orthogonal", "pareto", "poisson", "rayleigh", "t", "triangular", "wald",
           "weibull_min"]
