"""Polynomials given by their coefficients, the highest power first; cov and corrcoef.

Where NumPy drops leading zeros, the length of a traced result follows from the lengths of the operands:
shapes cannot depend on values.
"""

from __future__ import annotations

from operator import index

import numpy as np

from .. import errors
from ..trace.core import aval_of, is_known, value_of
from ..trace.tracer import Tracer
from .core import asvalue, convert, implements
from .shape import as_array, atleast_1d, concatenate, cut, dtype_of, joined, ndim_of, shape_of, supported

# ----- coefficients ---------------------------------------------------------------------------


def _coefficients(p, name):
    x = atleast_1d.traced(as_array(p))
    if ndim_of(x) != 1:
        raise errors.ShapeError(f"{name}: coefficients must have one axis, got {aval_of(x)}.",
                                "Use functrans.vmap for several polynomials.")
    return x


def _front(x, count):
    """x with ``count`` zeros before it."""
    return concatenate([np.zeros(count, dtype_of(x)), x]) if count else x


def _aligned(a1, a2, name):
    a, b = _coefficients(a1, name), _coefficients(a2, name)
    n = max(shape_of(a)[0], shape_of(b)[0])
    return _front(a, n - shape_of(a)[0]), _front(b, n - shape_of(b)[0])


@implements(np.poly)
def poly(seq_of_zeros):
    """Coefficients of the polynomial with the given roots, or of a matrix's characteristic polynomial.

    Of traced complex roots the result is complex even where they come in conjugate pairs.

    >>> import functrans.numpy as fnp
    >>> fnp.poly([1.0, 2.0])
    array([ 1., -3.,  2.])
    """
    x = atleast_1d.traced(as_array(seq_of_zeros))
    dtype = dtype_of(x)
    if ndim_of(x) == 2 and shape_of(x)[0] == shape_of(x)[1] > 0:
        found = poly.traced(np.linalg.eigvals(x))
        return found if dtype.kind == "c" else np.real(found)
    if ndim_of(x) != 1:
        raise errors.ShapeError(f"poly takes roots along one axis, or a square matrix, got {aval_of(x)}.")
    if not shape_of(x)[0]:
        return 1.0
    dtype = dtype if dtype.kind in "fc" and dtype.itemsize > 2 else np.dtype(np.float64)
    x = convert(x, dtype)
    out = np.ones(1, dtype)
    for i in range(shape_of(x)[0]):
        root = cut(x, 0, i, i + 1)
        out = joined([out, np.zeros(1, dtype)], 0, dtype) - _front(out * root, 1)
    return out


@implements(np.roots)
def roots(p):
    """The roots of a polynomial: eigenvalues of its companion matrix, complex.

    Leading zeros are dropped where the values are known; otherwise the first coefficient must not be 0.
    """
    x = _coefficients(p, "roots")
    at = (0, shape_of(x)[0])
    trailing = 0
    if type(x) is not Tracer or is_known(x):
        nonzero = np.flatnonzero(value_of(x) if type(x) is Tracer else x)
        if not len(nonzero):
            return np.array([])
        trailing = at[1] - nonzero[-1] - 1
        at = (nonzero[0], nonzero[-1] + 1)
    x = cut(x, 0, *at)
    x = x if dtype_of(x).kind in "fc" else convert(x, np.float64)
    n = shape_of(x)[0] - 1
    if n < 1:
        return np.zeros(trailing)
    first = -cut(x, 0, 1, n + 1) / cut(x, 0, 0, 1)
    found = np.linalg.eigvals(concatenate([first[None], np.eye(n, dtype=dtype_of(x))[:-1]]))
    return concatenate([found, np.zeros(trailing, dtype_of(found))]) if trailing else found


@implements(np.polyval)
def polyval(p, x):
    """The polynomial's values at x, by Horner's rule."""
    p, x = _coefficients(p, "polyval"), asvalue(x)
    y = np.zeros_like(x) if type(x) is not Tracer else np.zeros(x.shape, x.dtype)
    for i in range(shape_of(p)[0]):
        y = y * x + p[i]
    return y


@implements(np.polyadd)
def polyadd(a1, a2):
    """The sum of two polynomials."""
    return np.add(*_aligned(a1, a2, "polyadd"))


@implements(np.polysub)
def polysub(a1, a2):
    """The difference of two polynomials."""
    return np.subtract(*_aligned(a1, a2, "polysub"))


@implements(np.polymul)
def polymul(a1, a2):
    """The product of two polynomials; leading zeros stay."""
    return np.convolve(_coefficients(a1, "polymul"), _coefficients(a2, "polymul"))


@implements(np.polydiv)
def polydiv(u, v):
    """Quotient and remainder of two polynomials; the first coefficient of v must not be 0.

    The remainder has one coefficient less than v, or one: it keeps leading zeros that NumPy drops.
    """
    u, v = _coefficients(u, "polydiv") + 0.0, _coefficients(v, "polydiv") + 0.0
    dtype = np.result_type(dtype_of(u), dtype_of(v))
    rest, v = convert(u, dtype), convert(v, dtype)
    m, n = shape_of(rest)[0], shape_of(v)[0]
    if m < n:
        return np.zeros(1, dtype), rest
    quotient = []
    tail = cut(v, 0, 1, n)
    for _ in range(m - n + 1):
        digit = cut(rest, 0, 0, 1) / cut(v, 0, 0, 1)
        quotient.append(digit)
        length = shape_of(rest)[0]
        head = cut(rest, 0, 1, n) - digit * tail
        rest = joined([head, cut(rest, 0, n, length)], 0, dtype)
    return joined(quotient, 0, dtype), rest if shape_of(rest)[0] else np.zeros(1, dtype)


@implements(np.polyder)
def polyder(p, m=1):
    """The m-th derivative."""
    p, m = _coefficients(p, "polyder"), index(m)
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    for _ in range(m):
        n = max(shape_of(p)[0] - 1, 0)
        p = cut(p, 0, 0, n) * np.arange(n, 0, -1)
    return p


@implements(np.polyint)
def polyint(p, m=1, k=None):
    """The m-th antiderivative with constants k, the first integration's first."""
    p, m = _coefficients(p, "polyint"), index(m)
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    k = np.zeros(m) if k is None else atleast_1d.traced(as_array(k))
    if shape_of(k)[0] == 1 and m > 1:
        k = np.broadcast_to(k, (m,))
    if shape_of(k)[0] < m:
        raise errors.ShapeError(f"polyint: {shape_of(k)[0]} constants for {m} integrations.",
                                "k must be a scalar or have as many elements as integrations.")
    for i in range(m):
        n = shape_of(p)[0]
        p = concatenate([p / np.arange(n, 0, -1), cut(k, 0, i, i + 1)])
    return p


@implements(np.polyfit)
def polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    """Coefficients of the polynomial of degree ``deg`` that fits (x, y) best, in least squares.

    As NumPy's: the columns of the Vandermonde matrix are scaled to norm 1. x, y and the weights may be
    traced.

    >>> import numpy as np
    >>> from functrans import grad
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> grad(lambda y: np.polyfit(x, y, 1)[0])(2 * x).round(6) + 0.0
    array([-0.5,  0. ,  0.5])
    """
    order = index(deg) + 1
    if order < 1:
        raise ValueError("expected deg >= 0")
    x, y = as_array(x) + 0.0, as_array(y) + 0.0
    if ndim_of(x) != 1 or not shape_of(x)[0]:
        raise errors.ShapeError(f"polyfit: x must be a vector of one element or more, got {aval_of(x)}.")
    if ndim_of(y) not in (1, 2) or shape_of(y)[0] != shape_of(x)[0]:
        raise errors.ShapeError(f"polyfit: y must have one or two axes and as many rows as x, "
                                f"{shape_of(x)[0]}, got {aval_of(y)}.")
    count = shape_of(x)[0]
    if rcond is None:
        rcond = count * np.finfo(dtype_of(x)).eps
    left, right = np.vander(x, order), y
    if w is not None:
        w = as_array(w) + 0.0
        if shape_of(w) != (count,):
            raise errors.ShapeError(f"polyfit: {aval_of(w)} as weights of {count} points.",
                                    "Give one weight per point.")
        left = left * w[:, None]
        right = right * (w if ndim_of(y) == 1 else w[:, None])
    scale = np.sqrt(np.sum(left * left, 0))
    c, residuals, rank, s = np.linalg.lstsq(left / scale, right, rcond)
    c = (c.T / scale).T
    if full:
        return c, residuals, rank, s, rcond
    if not cov:
        return c
    left = left / scale
    spread = np.linalg.inv(left.T @ left) / np.outer(scale, scale)
    if cov == "unscaled":
        factor = 1.0
    elif count <= order:
        raise ValueError("the number of data points must exceed order to scale the covariance matrix")
    else:
        factor = np.sum((right - left @ (c.T * scale).T) ** 2, 0) / (count - order)
    return c, spread * factor if ndim_of(y) == 1 else spread[:, :, None] * factor


# ----- covariances ----------------------------------------------------------------------------


def _weights(given, name, count):
    if given is None:
        return None
    w = as_array(given)
    if shape_of(w) != (count,):
        raise errors.ShapeError(f"cov: {name} has shape {shape_of(w)} for {count} observations.",
                                "Give one weight per observation.")
    if name == "fweights" and dtype_of(w).kind not in "iu":
        if type(w) is Tracer or np.any(w != np.around(w)):
            raise errors.DtypeError("cov: fweights must be integers.", "Give other weights as aweights.")
    if type(w) is not Tracer and np.any(w < 0):
        raise ValueError(f"cov: {name} cannot be negative")
    return convert(w, np.float64)


@implements(np.cov)
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    """Covariance matrix of variables, which are the rows of m (columns with ``rowvar=False``).

    fweights: how often each observation counts (integers); aweights: its relative weight. The divisor is
    the sum of weights less ``ddof`` of them, as in NumPy.

    >>> import numpy as np
    >>> from functrans import grad
    >>> grad(np.cov)(np.array([1.0, 2.0, 6.0]))
    array([-2., -1.,  3.])
    """
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    ddof = (0 if bias else 1) if ddof is None else ddof
    parts = [as_array(part) for part in (m, y) if part is not None]
    for part in parts:
        if ndim_of(part) > 2:
            raise errors.ShapeError(f"cov: variables have at most two axes, got {aval_of(part)}.")
    dtype = supported(np.result_type(*map(dtype_of, parts), np.float64) if dtype is None else dtype)
    flat = ndim_of(parts[0]) == 1
    parts = [np.atleast_2d(convert(part, dtype)) for part in parts]
    if not rowvar:
        across = [not flat, *[shape_of(part)[0] != 1 for part in parts[1:]]]
        parts = [part.T if turn else part for part, turn in zip(parts, across, strict=True)]
    x = parts[0] if len(parts) == 1 else concatenate(parts, 0)
    count = shape_of(x)[1]
    f, a = _weights(fweights, "fweights", count), _weights(aweights, "aweights", count)
    w = f if a is None else a if f is None else f * a
    if w is None:
        off, divisor = x - np.mean(x, 1, keepdims=True), float(max(count - ddof, 0))
    else:
        total = np.sum(w)
        off = x - np.sum(x * w, 1, keepdims=True) / total
        lost = ddof if a is None else ddof * np.sum(w * a) / total
        divisor = np.maximum(total - lost, 0)
    other = np.conj(off if w is None else off * w)
    return np.squeeze(off @ np.transpose(other) * np.true_divide(1, convert(divisor, off.real.dtype)))


@implements(np.corrcoef)
def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    """Correlation coefficients of the rows (columns with ``rowvar=False``), within [-1, 1]."""
    c = cov.traced(x, y, rowvar, dtype=dtype)
    if not ndim_of(c):
        return c / c
    spread = np.sqrt(np.real(np.diag(c)))
    c = c / spread[:, None] / spread[None, :]
    if dtype_of(c).kind == "c":
        return np.clip(c.real, -1, 1) + 1j * np.clip(c.imag, -1, 1)
    return np.clip(c, -1, 1)


__all__ = ["corrcoef", "cov", "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul",
           "polysub", "polyval", "roots"]
