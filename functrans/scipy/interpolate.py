"""scipy.interpolate on traced arrays: interpolation on rectangular grids."""

from __future__ import annotations

import itertools

import numpy as np

from .. import errors, tree
from ..ir.op import OPS
from ..numpy.core import convert, promote, result_type, shape_of
from ..numpy.shape import as_array, dtype_of, ndim_of
from ..trace.core import is_known, value_of
from ..trace.tracer import Tracer

METHODS = ("linear", "nearest")


def _known(x):
    """The value of x if it has one while a function is traced, else None."""
    if type(x) is not Tracer:
        return np.asarray(x)
    return np.asarray(value_of(x)) if is_known(x) else None


def _at(x, *index):
    """x[index], any of them traced; the indices are inside."""
    return OPS["gather"](x, *index, mode="clip")


class RegularGridInterpolator:
    """Interpolation of values on a grid that is the product of one ascending or descending axis each.

    Points, values and the places where it is evaluated may all be traced and differentiated.

    Args:
      points: one vector of coordinates for each axis of the grid.
      values: array whose first axes are those of the grid; those behind are interpolated together.
      method: "linear" or "nearest".
      bounds_error: whether a place outside of the grid raises ValueError. A place whose value is not
        known (under ``jit`` or ``vmap``) gets ``fill_value`` instead.
      fill_value: the value outside; None extrapolates.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy.interpolate import RegularGridInterpolator
    >>> f = RegularGridInterpolator((np.array([0.0, 1.0, 3.0]),), np.array([0.0, 2.0, 4.0]))
    >>> float(f(np.array([2.0]))[0]), float(grad(lambda x: f(x[None])[0])(np.array([2.0]))[0])
    (3.0, 1.0)
    """

    def __init__(self, points, values, method="linear", bounds_error=True, fill_value=np.nan):
        self._check(method)
        values = as_array(values)
        self.values = values if dtype_of(values).kind in "fc" else convert(values, np.float64)
        self.method, self.bounds_error = method, bounds_error
        points = [as_array(p) for p in points]
        if len(points) > ndim_of(values):
            raise errors.ShapeError(f"There are {len(points)} point arrays, but values has {ndim_of(values)} "
                                    "dimensions.")
        grid, flipped = [], []
        for i, p in enumerate(points):
            if ndim_of(p) != 1:
                raise errors.ShapeError(f"The points in dimension {i} must be 1-dimensional, "
                                        f"got {shape_of(p)}.")
            if shape_of(p)[0] != shape_of(values)[i]:
                raise errors.ShapeError(f"There are {shape_of(p)[0]} points and {shape_of(values)[i]} "
                                        f"values in dimension {i}.")
            p = p if dtype_of(p).kind == "f" else convert(p, np.float64)
            known = _known(p)
            if known is not None and not np.all(np.diff(known) > 0):
                if not np.all(np.diff(known) < 0):
                    raise ValueError(f"The points in dimension {i} must be strictly ascending or descending")
                p, flipped = np.flip(p), [*flipped, i]
            grid.append(p)
        if flipped:
            self.values = np.flip(self.values, tuple(flipped))
        self.grid = tuple(grid)
        self.fill_value = fill_value
        if fill_value is not None:
            fill = as_array(fill_value)
            if not np.can_cast(dtype_of(fill), dtype_of(self.values), casting="same_kind"):
                raise ValueError("fill_value must be either 'None' or of a type compatible with values")

    @staticmethod
    def _check(method):
        if method not in METHODS:
            raise ValueError(f"Method {method!r} is not defined; it must be one of {METHODS}")

    def __call__(self, xi, method=None):
        """Values at the places ``xi``: an array [..., axis], or a tuple of arrays that broadcast."""
        method = self.method if method is None else method
        self._check(method)
        if isinstance(xi, (tuple, list)) and xi and len(xi) == len(self.grid) and not all(
                isinstance(x, (int, float)) for x in xi):
            xi = np.stack(np.broadcast_arrays(*promote(*xi)), -1)
        else:
            xi = as_array(xi)
            if ndim_of(xi) <= 1 and len(self.grid) == 1:
                xi = np.reshape(xi, (-1, 1)) if ndim_of(xi) else np.reshape(xi, (1, 1))
        if not ndim_of(xi) or shape_of(xi)[-1] != len(self.grid):
            raise errors.ShapeError("The requested sample points xi have dimension "
                                    f"{(shape_of(xi) or (0,))[-1]}, but this "
                                    f"RegularGridInterpolator has dimension {len(self.grid)}")
        lead = shape_of(xi)[:-1] or (1,)
        xi = xi if dtype_of(xi).kind == "f" else convert(xi, np.float64)
        xi = np.reshape(xi, (-1, len(self.grid)))
        places, ratios, outside = [], [], False
        for i, grid in enumerate(self.grid):
            x = xi[:, i]
            beyond = (x < grid[0]) | (x > grid[-1])
            if self.bounds_error:
                known = _known(beyond)
                if known is not None and known.any():
                    raise ValueError(f"One of the requested xi is out of bounds in dimension {i}")
            outside = outside | beyond
            if shape_of(grid)[0] == 1:
                places.append(np.zeros(shape_of(x), np.int64))
                ratios.append(x * 0)
                continue
            at = np.clip(np.searchsorted(grid, x) - 1, 0, shape_of(grid)[0] - 2)
            places.append(at)
            ratios.append((x - _at(grid, at)) / (_at(grid, at + 1) - _at(grid, at)))
        found = getattr(self, f"_{method}")(places, ratios)
        rest = shape_of(self.values)[len(self.grid):]
        if self.fill_value is not None:
            outside = np.reshape(outside, (-1,) + (1,) * len(rest))
            found = np.where(outside, convert(as_array(self.fill_value), dtype_of(self.values)), found)
        invalid = np.reshape(np.any(np.isnan(xi), -1), (-1,) + (1,) * len(rest))
        found = np.where(invalid, convert(as_array(np.nan), dtype_of(found)), found)
        return np.reshape(found, (*lead, *rest))

    def _linear(self, places, ratios):
        more = (1,) * (ndim_of(self.values) - len(self.grid))
        total = 0.0
        for corner in itertools.product((0, 1), repeat=len(places)):
            weight, index = 1.0, []
            for at, t, side, grid in zip(places, ratios, corner, self.grid, strict=True):
                one = shape_of(grid)[0] == 1
                index.append(at if one else at + side)
                weight = weight * ((t if side else 1 - t) if not one else 1.0 - side)
            weight = np.reshape(weight, (-1, *more)) if type(weight) is not float else weight
            total = total + _at(self.values, *index) * weight
        return convert(total, result_type(dtype_of(self.values), dtype_of(total)))

    def _nearest(self, places, ratios):
        index = [at if shape_of(grid)[0] == 1 else np.where(t <= 0.5, at, at + 1)
                 for at, t, grid in zip(places, ratios, self.grid, strict=True)]
        return _at(self.values, *index)


def _rebuilt(aux, children):
    grid, values, fill_value = children
    f = object.__new__(RegularGridInterpolator)
    f.grid, f.values, f.fill_value = grid, values, fill_value
    f.method, f.bounds_error = aux
    return f


tree.register_node(RegularGridInterpolator, lambda f: ((f.grid, f.values, f.fill_value),
                                                       (f.method, f.bounds_error)),
                   _rebuilt)

__all__ = ["RegularGridInterpolator"]
