"""scipy.ndimage on traced arrays: interpolation at given coordinates, by splines of order 0 to 5.

The conventions outside of the array are SciPy's, which differ from jax.scipy's for "constant" (there it is
what is called "grid-constant" here). The derivative of order 0 is 0 everywhere.
"""

from __future__ import annotations

import itertools

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import broadcast_arrays, convert, shape_of
from ..numpy.shape import as_array, dtype_of, ndim_of
from .public import scipy_function

_ndimage = scipy_function("scipy.ndimage")
MODES = ("reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "grid-wrap", "wrap")
PADDED = 12               # elements that SciPy adds at each end before it filters, where edges are repeated
LONGEST = 4096            # axis whose spline filter, a matrix, is made


# ----- coordinates --------------------------------------------------------------------------------------


def _inside(at, n, mode):
    """Coordinates brought into [0, n - 1], or into the period of the mode; of floats or of integers."""
    if mode in ("nearest", "constant", "grid-constant"):
        return np.clip(at, 0, n - 1)
    if n <= 1:
        return at * 0
    if mode == "mirror":                   # d c b | a b c d | c b a
        back, ahead = np.mod(-at, 2 * n - 2), np.mod(at, 2 * n - 2)
        return np.where(at < 0, np.where(back >= n - 1, 2 * n - 2 - back, back),
                        np.where(ahead >= n, 2 * n - 2 - ahead, ahead))
    if mode in ("reflect", "grid-mirror"):        # c b a | a b c d | d c b
        folded = np.mod(at, 2 * n)
        return np.where(folded >= n, (2 * n - 1) - folded, folded)
    if mode == "grid-wrap":
        return np.mod(at, n)
    ahead, back = np.mod(at, n - 1), np.mod(-at, n - 1)              # wrap: the ends coincide
    return np.where(at < 0, (n - 1) - back, np.where(at > n - 1, ahead, at))


def _neighbour(index, n, mode):
    """The place of an integer neighbour of a coordinate that is inside: beyond the ends, as the spline has
    it."""
    if mode in ("reflect", "grid-mirror", "grid-wrap", "nearest"):
        return _inside(index, n, mode)
    return _inside(index, n, "mirror")


# ----- splines -------------------------------------------------------------------------------------------


def _weights(t, order):
    """Of the order + 1 neighbours of a coordinate, t from the first; by the recursion of B-splines.

    de Boor 1978, "A Practical Guide to Splines", chapter X, for knots one apart.
    """
    if order == 0:
        return [np.ones_like(t)]
    x = t - (order - 1) / 2                # place between two knots, in [0, 1)
    weights = [np.ones_like(x)]
    for k in range(1, order + 1):
        grown = []
        for j in range(k + 1):
            left = weights[j - 1] * (x + (k - j)) if j else 0.0
            right = weights[j] * ((j + 1) - x) if j < k else 0.0
            grown.append((left + right) / k)
        weights = grown
    return weights


def _filtered(x, order, mode, cval):
    """Coefficients of the spline through x, and how many elements were added at each end."""
    import scipy.ndimage
    added = PADDED if mode in ("nearest", "grid-constant") else 0
    if added:
        filled = {} if mode == "nearest" else {"constant_values": cval}
        x = np.pad(x, added, "edge" if mode == "nearest" else "constant", **filled)
    for axis, n in enumerate(shape_of(x)):
        if n > LONGEST:
            raise errors.NotSupportedError(
                f"map_coordinates: the spline filter of order {order} along an axis of {n} elements.",
                f"Use order 0 or 1, prefilter=False, or axes of at most {LONGEST} elements.")
        if n > 1:
            matrix = scipy.ndimage.spline_filter1d(np.eye(n), order, axis=0, mode=mode)
            x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x, added


@_ndimage
def map_coordinates(input, coordinates, output=None, order=3, mode="constant", cval=0.0, prefilter=True):
    """Values of an array between its elements, by spline interpolation.

    Args:
      input: real or complex array.
      coordinates: one row (or array) of coordinates for each axis of ``input``, all of one shape.
      output: a dtype, or None for that of ``input``.
      order: of the splines, 0 to 5; 0 takes the nearest element, 1 interpolates linearly.
      mode: what is outside: "constant" (``cval``), "grid-constant", "nearest", "mirror", "reflect" (the
        same as "grid-mirror"), "wrap" or "grid-wrap", as in SciPy.
      prefilter: whether ``input`` is to be turned into coefficients first; for order 2 and more.

    Returns:
      An array of the shape of one row of coordinates.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy import ndimage
    >>> x = np.array([1.0, 3.0, 9.0])
    >>> float(grad(lambda at: ndimage.map_coordinates(x, [at], order=1))(1.5))
    6.0
    """
    x = as_array(input)
    if order not in range(6):
        raise ValueError(f"map_coordinates: order must be 0 to 5, got {order!r}")
    if mode not in MODES:
        raise ValueError(f"map_coordinates: mode must be one of {MODES}, got {mode!r}")
    coordinates = [as_array(c) for c in coordinates]
    if len(coordinates) != ndim_of(x) or not coordinates:
        raise errors.ShapeError(f"map_coordinates: {len(coordinates)} rows of coordinates for an array of "
                                f"{ndim_of(x)} axes.", "One row for each axis is needed.")
    try:
        found = np.dtype(dtype_of(x) if output is None else output)
    except TypeError:
        raise errors.InPlaceError("map_coordinates: output= would write a traced value into an ndarray.",
                                  "Use the returned value; output may be a dtype.") from None
    wide = np.result_type(dtype_of(x), np.float64)
    x = convert(x, wide)
    coordinates = broadcast_arrays(*[convert(c, np.float64) for c in coordinates])
    n = shape_of(x)
    outside = None
    if mode == "constant":
        for c, k in zip(coordinates, n, strict=True):
            here = (c < 0) | (c > k - 1)
            outside = here if outside is None else outside | here
    added = 0
    if order > 1 and prefilter:
        x, added = _filtered(x, order, mode, cval)
    rows = []
    for c, k in zip(coordinates, shape_of(x), strict=True):
        c = c + added
        if mode in ("nearest", "grid-constant"):           # any place far out is like any other
            c = np.clip(c, -order - 2.0, k + order + 1.0)
        else:
            c = _inside(c, k, mode)
        first = np.floor(c) - order // 2 if order % 2 else np.floor(c + 0.5) - order // 2
        rows.append((convert(first, np.int64), _weights(c - first, order)))
    total = 0.0
    for offsets in itertools.product(range(order + 1), repeat=len(n)):
        places, weight, missing = [], 1.0, False
        for (first, weights), j, k in zip(rows, offsets, shape_of(x), strict=True):
            at = first + j
            if mode == "grid-constant":
                missing = missing | (at < 0) | (at >= k)
                at = np.clip(at, 0, k - 1)
            else:
                at = _neighbour(at, k, mode)
            places.append(at)
            weight = weight * weights[j]
        value = OPS["gather"](x, *places, mode="clip")
        if mode == "grid-constant":
            value = np.where(missing, cval, value)
        total = total + weight * value
    if outside is not None:
        total = np.where(outside, cval, total)
    if found.kind in "iu":
        total = np.floor(total + 0.5)
    return convert(total, found)


__all__ = ["map_coordinates"]
