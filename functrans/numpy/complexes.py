"""Complex numbers: their parts, and what NumPy makes of their order."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .. import errors
from ..ir.op import CODE, OPS, PART
from . import core
from .core import METHODS, aval_of, implements, is_number
from .shape import PROPERTIES, as_array, dtype_of, fill, shape_of, splat
from .ufuncs import composite, in_loop


def is_complex(x) -> bool:
    return dtype_of(x).kind == "c"


def on_parts(function, x):
    """``function`` of real and of imaginary part, as one complex array."""
    return OPS["complex"](function(OPS["real"](x)), function(OPS["imag"](x)))


def squared(x):
    """The squared magnitude: real, and with strong zeros under a root."""
    if not is_complex(x):
        return OPS["integer_pow"](x, y=2)
    return OPS["add"](OPS["integer_pow"](OPS["real"](x), y=2), OPS["integer_pow"](OPS["imag"](x), y=2))


def viewed(x, dtype):
    """The bytes of x as another dtype; its last axis is cut or joined as in NumPy's ``view``.

    Only between complex numbers and their parts has it a derivative.
    """
    old, new = dtype_of(x), np.dtype(dtype)
    shape = shape_of(x)
    if old.itemsize != new.itemsize and not shape:
        raise errors.ShapeError(f"view of the scalar {aval_of(x)} as {new}, which has another size.",
                                "Add an axis with x[None].")
    if PART.get(CODE[old]) == CODE[new]:
        return np.reshape(np.stack([OPS["real"](x), OPS["imag"](x)], -1), (*shape[:-1], 2 * shape[-1]))
    if old.itemsize < new.itemsize:
        each = new.itemsize // old.itemsize
        if shape[-1] % each:
            raise errors.ShapeError(f"view of {aval_of(x)} as {new}: the last axis is no multiple of {each}.")
        x = np.reshape(x, (*shape[:-1], shape[-1] // each, each))
        if PART.get(CODE[new]) == CODE[old]:
            return OPS["complex"](x[..., 0], x[..., 1])
        return OPS["bitcast"](x, dtype=new)
    found = OPS["bitcast"](x, dtype=new)
    return found if old.itemsize == new.itemsize else np.reshape(
        found, (*shape[:-1], shape[-1] * old.itemsize // new.itemsize))


# ----- parts --------------------------------------------------------------------------------------


@implements(np.real)
def real(val):
    """The real part."""
    x = as_array(val)
    return OPS["real"](x) if is_complex(x) else x


@implements(np.imag)
def imag(val):
    """The imaginary part: zeros of a real array."""
    x = as_array(val)
    return OPS["imag"](x) if is_complex(x) else np.zeros(shape_of(x), dtype_of(x))[()]


@composite(np.conjugate)
def _conjugate(x):
    (x,) = in_loop(np.conjugate, x)
    return OPS["conj"](x) if is_complex(x) else x


def conjugate(x):
    """The complex conjugate, as the method: also of bool."""
    return OPS["conj"](x) if is_complex(x) else x


@implements(np.angle)
def angle(z, deg=False):
    """The angle of complex numbers from the positive real axis, in radians or degrees."""
    x = as_array(z)
    if is_complex(x):
        found = np.arctan2(OPS["imag"](x), OPS["real"](x))
    else:
        found = np.arctan2(0, x)
    return np.multiply(found, 180 / np.pi) if deg else found


@implements(np.iscomplex)
def iscomplex(x):
    """Whether elements have an imaginary part that is not 0."""
    x = as_array(x)
    return np.not_equal(OPS["imag"](x), 0) if is_complex(x) else np.zeros(shape_of(x), np.bool_)[()]


@implements(np.isreal)
def isreal(x):
    """Whether elements have an imaginary part of 0."""
    x = as_array(x)
    return np.equal(OPS["imag"](x), 0) if is_complex(x) else np.ones(shape_of(x), np.bool_)[()]


@implements(np.iscomplexobj)
def iscomplexobj(x):
    """Whether the dtype is complex."""
    return is_complex(as_array(x))


@implements(np.isrealobj)
def isrealobj(x):
    """Whether the dtype is not complex."""
    return not is_complex(as_array(x))


# ----- order: by real part, then by imaginary part; nan comes first of all -------------------------------


def _chosen(compare, hidden):
    """The extremum of two: where operand ``hidden`` (0 or 1) is nan, the first is taken."""
    def extremum(x, y):
        x, y = core.broadcast_arrays(*core.promote(x, y))
        x, y = (fill(v, v.dtype, ()) if is_number(v) else v for v in (x, y))
        first = OPS["or"](OPS[compare](x, y), OPS["isnan"]((x, y)[hidden]))
        return OPS["select"](first, x, y)
    return extremum


EXTREMA = {np.maximum: _chosen("ge", 0), np.minimum: _chosen("le", 0), np.fmax: _chosen("ge", 1),
           np.fmin: _chosen("le", 1)}


def position(kind, x, axis):
    """argmax or argmin of complex numbers: the first extremum along one axis; nan counts as one."""
    extremum, worst = ("reduce_max", -np.inf) if kind == "argmax" else ("reduce_min", np.inf)
    shape = shape_of(x)

    def spread(v):
        dims = tuple([i for i in range(len(shape)) if i != axis])
        return OPS["broadcast_in_dim"](v, shape=shape, dims=dims)

    a, b, bad = OPS["real"](x), OPS["imag"](x), OPS["isnan"](x)
    hit = OPS["eq"](a, spread(OPS[extremum](OPS["select"](bad, splat(worst, a), a), axes=(axis,))))
    hit = OPS["and"](hit, OPS["not"](bad))
    b = OPS["select"](hit, b, splat(worst, b))
    hit = OPS["and"](hit, OPS["eq"](b, spread(OPS[extremum](b, axes=(axis,)))))
    found = OPS["argmax"](OPS["convert"](hit, dtype=np.dtype(np.int8)), axis=axis)
    first_bad = OPS["argmax"](OPS["convert"](bad, dtype=np.dtype(np.int8)), axis=axis)
    return OPS["select"](OPS["reduce_or"](bad, axes=(axis,)), first_bad, found)


def extremum(kind, x, axes):
    """max or min of complex numbers over axes."""
    shape = shape_of(x)
    kept = tuple([i for i in range(len(shape)) if i not in axes])
    flat = np.reshape(np.transpose(x, (*kept, *axes)),
                      (*[shape[i] for i in kept], math.prod([shape[i] for i in axes])))
    at = position("arg" + kind, flat, len(kept))
    if not kept:
        return OPS["gather"](flat, at, mode="clip")
    return np.take_along_axis(flat, np.expand_dims(at, -1), -1)[..., 0]


METHODS["conj"] = METHODS["conjugate"] = partial(partial, conjugate)
PROPERTIES.update({"real": real, "imag": imag})
METHODS.update(PROPERTIES)

__all__ = ["angle", "imag", "iscomplex", "iscomplexobj", "isreal", "isrealobj", "real"]
