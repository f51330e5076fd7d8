"""Convolutions by direct sums: numpy.convolve and correlate, and what functrans.scipy.signal shares of
them."""

from __future__ import annotations

import numpy as np

from .. import errors
from ..ir.op import OPS
from .core import convert, implements, promote
from .shape import as_array, dtype_of, ndim_of, shape_of


def direct(x, w, start, length):
    """Of the full convolution of x and w (one dtype, as many axes), ``length`` elements from ``start``.

    Up to three axes; one convolution of real numbers, or four of the parts of complex ones.
    """
    kind = dtype_of(x).kind
    if kind == "b":
        return np.not_equal(direct(convert(x, np.int64), convert(w, np.int64), start, length), 0)
    if kind == "c":
        (a, b), (c, d) = ((OPS["real"](v), OPS["imag"](v)) for v in (x, w))
        ac, bd, ad, bc = (direct(*pair, start, length) for pair in ((a, c), (b, d), (a, d), (b, c)))
        return OPS["complex"](ac - bd, ad + bc)
    n, m = shape_of(x), shape_of(w)
    if sum(m) > sum(n):                    # the shorter one is the filter
        x, w, n, m = w, x, m, n
    low = [k - 1 - s for k, s in zip(m, start, strict=True)]
    high = [size - k + s for size, k, s in zip(length, n, start, strict=True)]
    ones = (1,) * len(n)
    found = OPS["conv_general_dilated"](
        np.expand_dims(x, (0, 1)), np.expand_dims(np.flip(w), (0, 1)), window_strides=ones,
        padding=tuple(zip(low, high, strict=True)), lhs_dilation=ones, rhs_dilation=ones, feature_groups=1,
        batch_groups=1)
    return OPS["reshape"](found, shape=tuple(length))


def _vectors(name, a, v):
    out = []
    for what, x in (("a", a), ("v", v)):
        x = as_array(x)
        if ndim_of(x) == 0:
            x = np.reshape(x, (1,))
        if ndim_of(x) != 1:
            raise errors.ShapeError(f"{name}: {what} must be one-dimensional, got {shape_of(x)}.",
                                    "functrans.scipy.signal has it for more axes.")
        if not shape_of(x)[0]:
            raise errors.ShapeError(f"{name}: {what} cannot be empty.")
        out.append(x)
    return promote(*out)


def _part(mode, name, n, m, flipped=False):
    """Start and length within the full convolution of n and m elements."""
    most, least = max(n, m), min(n, m)
    parts = {"full": (0, n + m - 1), "valid": (least - 1, most - least + 1),
             "same": (least // 2 if flipped else (least - 1) // 2, most)}
    if mode not in parts:
        raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    start, length = parts[mode]
    return (start,), (length,)


@implements(np.convolve)
def convolve(a, v, mode="full"):
    """Sum over j of a[j] v[k - j], of two vectors; ``mode`` as in NumPy.

    >>> import numpy as np
    >>> from functrans import grad
    >>> grad(lambda v: np.convolve(np.array([1.0, 2.0]), v)[1])(np.array([3.0, 4.0]))
    array([2., 1.])
    """
    a, v = _vectors("convolve", a, v)
    return direct(a, v, *_part(mode, "convolve", shape_of(a)[0], shape_of(v)[0]))


@implements(np.correlate)
def correlate(a, v, mode="valid"):
    """Sum over j of a[j + k] conj(v[j]), of two vectors; ``mode`` as in NumPy."""
    a, v = _vectors("correlate", a, v)
    n, m = shape_of(a)[0], shape_of(v)[0]
    return direct(a, np.conjugate(np.flip(v)), *_part(mode, "correlate", n, m, flipped=m > n))


__all__ = ["convolve", "correlate"]
