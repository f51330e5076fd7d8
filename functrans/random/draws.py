"""Draws that are one pass over random bits: equal to JAX's for the same key and dtype.

Each is one program of its own when called outside of a transform. Bits, and what is exact in them, are
JAX's to the last one; logarithms and the like are within a few ulp of its.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import errors
from ..api.compilation import jit
from ..ir.op import OPS
from ..lax.order import sort_key_val, top_k
from ..numpy.core import asvalue, axis_of, broadcast_shape, broadcast_to, convert, is_number, traced
from ..numpy.indexing import take
from ..numpy.shape import as_array, splat
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from .keys import checked, shape_of_draw, split


def program(function):
    """Runs as one compiled program where nothing is traced; its keyword arguments are static."""
    names = tuple(function.__kwdefaults__ or ()) or tuple(
        function.__code__.co_varnames[function.__code__.co_argcount:][:function.__code__.co_kwonlyargcount])
    compiled = jit(function, static_argnames=names)

    @functools.wraps(function)
    def run(*args, **static):
        return (function if traced(args) else compiled)(*args, **static)
    return run


def float_of(name, dtype) -> np.dtype:
    """The float dtype that is asked for: float64 by default."""
    dtype = np.dtype(np.float64 if dtype is None else dtype)
    if dtype not in (np.float32, np.float64):
        raise errors.DtypeError(f"random.{name}: dtype must be float32 or float64, got {dtype}.")
    return dtype


def integer_of(name, dtype) -> np.dtype:
    """The integer dtype that is asked for: int64 by default."""
    dtype = np.dtype(np.int64 if dtype is None else dtype)
    if dtype.kind not in "iu":
        raise errors.DtypeError(f"random.{name}: dtype must be an integer type, got {dtype}.")
    return dtype


def shape_with(name, shape, *params) -> tuple[int, ...]:
    """The shape of a draw with parameters: theirs together, or ``shape``, to which they must broadcast."""
    own = broadcast_shape(*[aval_of(asvalue(p)).shape for p in params])
    if shape is None:
        return own
    shape = shape_of_draw(name, shape)
    if broadcast_shape(shape, own) != shape:
        raise errors.ShapeError(f"random.{name}: parameters of shape {own} do not broadcast to {shape}.",
                                "shape is that of the whole result.")
    return shape


def parameter(x, dtype, shape):
    """A parameter in the dtype and shape of the draw."""
    return broadcast_to(convert(as_array(x), dtype), shape)


def unit(key, shape, dtype):
    """Uniform in [0, 1)."""
    return OPS["random_draw"](key, shape=shape, form=f"unit_f{8 * dtype.itemsize}")


def between(key, shape, dtype, low, high):
    """Uniform in [low, high), never below low; the bounds are numbers or have a shape to broadcast."""
    x = unit(key, shape, dtype)
    if is_number(low) and is_number(high):
        low, high = dtype.type(low), dtype.type(high)
        scale, low = splat(high - low, x), splat(low, x)
    else:
        low, high = parameter(low, dtype, shape), parameter(high, dtype, shape)
        scale = OPS["sub"](high, low)
    return OPS["max"](low, OPS["add"](OPS["mul"](x, scale), low))


_between = program(lambda key, low, high, *, shape, dtype: between(key, shape, dtype, low, high))


def uniform(key, shape=(), dtype=None, minval=0.0, maxval=1.0):
    """Uniform in [minval, maxval), float64 by default.

    Multiples of 2**-52 (2**-23 in float32) of the range, as in JAX.

    >>> from functrans import random
    >>> float(random.uniform(random.key(0), (), "float32"))
    0.9476670026779175
    """
    key, shape, dtype = checked("uniform", key), shape_of_draw("uniform", shape), float_of("uniform", dtype)
    if type(minval) in (int, float) and type(maxval) in (int, float) and (minval, maxval) == (0, 1):
        return unit(key, shape, dtype)
    shape = shape_with("uniform", shape, minval, maxval)
    low, high = [convert(asvalue(b), dtype) for b in (minval, maxval)]
    return _between(key, low, high, shape=shape, dtype=dtype)


def normal(key, shape=(), dtype=None):
    """Standard normal, float64 by default: sqrt(2) erf_inv of a uniform number in (-1, 1).

    >>> from functrans import random
    >>> random.normal(random.key(1), (3,)).shape
    (3,)
    """
    dtype = float_of("normal", dtype)
    return OPS["random_draw"](checked("normal", key), shape=shape_of_draw("normal", shape),
                              form=f"normal_f{8 * dtype.itemsize}")


@program
def _truncated_normal(key, lower, upper, *, shape, dtype):
    root = np.sqrt(2).astype(dtype)
    low, high = [OPS["erf"](OPS["div"](b, splat(root, b))) for b in (lower, upper)]
    x = OPS["erf_inv"](between(key, shape, dtype, low, high))
    x = OPS["mul"](x, splat(root, x))
    low, high = [OPS["nextafter"](OPS["stop_gradient"](b), splat(dtype.type(end), b))
                 for b, end in ((lower, np.inf), (upper, -np.inf))]
    return OPS["min"](OPS["max"](x, parameter(low, dtype, shape)), parameter(high, dtype, shape))


def truncated_normal(key, lower, upper, shape=None, dtype=None):
    """Standard normal within (lower, upper); differentiable in the bounds.

    >>> from functrans import random
    >>> x = random.truncated_normal(random.key(0), -1.0, 2.0, (100,))
    >>> bool(x.min() > -1 and x.max() < 2)
    True
    """
    key, dtype = checked("truncated_normal", key), float_of("truncated_normal", dtype)
    shape = shape_with("truncated_normal", shape, lower, upper)
    return _truncated_normal(key, parameter(lower, dtype, shape), parameter(upper, dtype, shape), shape=shape,
                             dtype=dtype)


def bernoulli(key, p=0.5, shape=None, mode="low"):
    """True with probability p. ``mode="high"`` resolves probabilities below 2**-52 (2**-23).

    >>> from functrans import random
    >>> random.bernoulli(random.key(0), 0.3, (2, 3)).dtype
    dtype('bool')
    """
    key = checked("bernoulli", key)
    if mode not in ("low", "high"):
        raise errors.OptionError(f"random.bernoulli: mode must be 'low' or 'high', got {mode!r}")
    p = as_array(p)
    dtype = float_of("bernoulli", aval_of(p).dtype)
    shape = shape_with("bernoulli", shape, p)
    p = parameter(p, dtype, shape)
    if mode == "low":
        return np.less(unit(key, shape, dtype), p)
    u = unit(key, (2, *shape), dtype)
    return np.less(u[1] * dtype.type(2.0 ** -np.finfo(dtype).nmant), p - u[0])


def rademacher(key, shape=(), dtype=None):
    """-1 or 1, int64 by default.

    >>> import numpy as np
    >>> from functrans import random
    >>> np.unique(random.rademacher(random.key(0), (100,)))
    array([-1,  1])
    """
    dtype = np.dtype(np.int64 if dtype is None else dtype)
    hit = bernoulli(key, 0.5, shape_of_draw("rademacher", shape))
    return convert(2 * convert(hit, np.int64) - 1, dtype)


def _plain(name, doc, formula):
    @program
    def run(key, *, shape, dtype):
        return formula(key, shape, dtype)

    def draw(key, shape=(), dtype=None):
        return run(checked(name, key), shape=shape_of_draw(name, shape), dtype=float_of(name, dtype))
    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = f"""{doc}

    >>> from functrans import random
    >>> random.{name}(random.key(0), (2, 3)).shape
    (2, 3)
    """
    return draw


def _exponential(key, shape, dtype):
    return OPS["neg"](OPS["log1p"](OPS["neg"](unit(key, shape, dtype))))


def _laplace(key, shape, dtype):
    u = between(key, shape, dtype, -1.0 + np.finfo(dtype).epsneg, 1.0)
    return OPS["mul"](OPS["sign"](u), OPS["log1p"](OPS["neg"](OPS["abs"](u))))


def _logistic(key, shape, dtype):
    x = between(key, shape, dtype, np.finfo(dtype).tiny, 1.0)
    return OPS["sub"](OPS["log"](x), OPS["log1p"](OPS["neg"](x)))


def _cauchy(key, shape, dtype):
    u = between(key, shape, dtype, np.finfo(dtype).eps, 1.0)
    return OPS["tan"](OPS["mul"](OPS["sub"](u, splat(dtype.type(0.5), u)), splat(dtype.type(np.pi), u)))


exponential = _plain("exponential", "Exponential with mean 1: density exp(-x).", _exponential)
laplace = _plain("laplace", "Laplace: density exp(-abs(x)) / 2.", _laplace)
logistic = _plain("logistic", "Logistic: distribution function 1 / (1 + exp(-x)).", _logistic)
cauchy = _plain("cauchy", "Cauchy: density 1 / (pi (1 + x**2)).", _cauchy)


@program
def _gumbel(key, *, shape, dtype, high):
    if high:
        u = unit(key, (2, *shape), dtype)
        top, low = u[0], u[1]
        info = np.finfo(dtype)
        x = np.where(top >= 0.5, top, top + dtype.type(2.0 ** -info.nmant) * low + info.tiny)
        return -np.log(-np.log1p(-x))
    u = between(key, shape, dtype, np.finfo(dtype).tiny, 1.0)
    return OPS["neg"](OPS["log"](OPS["neg"](OPS["log"](u))))


def gumbel(key, shape=(), dtype=None, mode=None):
    """Gumbel: distribution function exp(-exp(-x)); ``mode`` "low" (default) or "high" (a longer tail).

    >>> from functrans import random
    >>> random.gumbel(random.key(0), (2, 3)).shape
    (2, 3)
    """
    dtype = float_of("gumbel", dtype)
    if mode not in (None, "low", "high", "highest"):
        raise errors.OptionError(f"random.gumbel: mode must be 'low', 'high' or 'highest', got {mode!r}")
    if mode == "highest" and dtype == np.float32:
        raise errors.NotSupportedError("random.gumbel: mode 'highest' of float32 is not there.",
                                       "Use float64, or mode 'high'.")
    return _gumbel(checked("gumbel", key), shape=shape_of_draw("gumbel", shape), dtype=dtype,
                   high=mode in ("high", "highest"))


# ----- integers ------------------------------------------------------------------------------------------


@program
def _randint(key, low, high, *, shape, dtype):
    """Two draws of the full width, reduced modulo the span, so that the bias is below 2**-width."""
    bits = 8 * dtype.itemsize
    form, unsigned = f"u{bits}", np.dtype(f"u{dtype.itemsize}")
    top = np.iinfo(dtype).max
    beyond = np.greater(high, top)
    lo, hi = [_limited(b, dtype) for b in (low, high)]
    keys = split(key)
    upper, lower = [OPS["random_draw"](keys[i], shape=shape, form=form) for i in (0, 1)]
    span = OPS["sub"](convert(hi, unsigned), convert(lo, unsigned))
    span = np.where(hi <= lo, unsigned.type(1), span)
    span = np.where(beyond & (hi > lo), OPS["add"](span, splat(unsigned.type(1), span)), span)
    span = broadcast_to(span, shape)
    half = splat(unsigned.type(2 ** (bits // 2)), upper)
    factor = OPS["mod"](half, span)
    factor = OPS["mod"](OPS["mul"](factor, factor), span)
    offset = OPS["add"](OPS["mul"](OPS["mod"](upper, span), factor), OPS["mod"](lower, span))
    return OPS["add"](broadcast_to(lo, shape), convert(OPS["mod"](offset, span), dtype))


def _limited(x, dtype):
    """Integers clipped to the range of ``dtype``."""
    own, info = np.iinfo(aval_of(x).dtype), np.iinfo(dtype)
    return convert(np.clip(x, max(own.min, info.min), min(own.max, info.max)), dtype)


def randint(key, shape, minval, maxval, dtype=None):
    """Uniform integers in [minval, maxval), int64 by default; minval where maxval is not greater.

    >>> import numpy as np
    >>> from functrans import random
    >>> np.unique(random.randint(random.key(0), (100,), 0, 4))
    array([0, 1, 2, 3])
    """
    key, dtype = checked("randint", key), integer_of("randint", dtype)
    shape = shape_with("randint", shape, minval, maxval)
    bounds = []
    for b in (minval, maxval):
        b = as_array(b)
        bounds.append(b if aval_of(b).dtype.kind in "iu" else convert(b, np.int64))
    if dtype.itemsize >= 4:
        return _randint(key, *bounds, shape=shape, dtype=dtype)
    info = np.iinfo(dtype)          # as JAX does: narrow integers from 32 bits
    bounds = [np.clip(convert(b, np.int32), int(info.min), int(info.max) + k) for k, b in enumerate(bounds)]
    return convert(_randint(key, *bounds, shape=shape, dtype=np.dtype(np.int32)), dtype)


# ----- orders and choices ----------------------------------------------------------------------------------


@program
def _shuffled(key, x, *, axis):
    """Sorted by random keys, often enough that ties of 32 bits do not matter."""
    shape = aval_of(x).shape
    size = max(1, math.prod(shape))
    for _ in range(math.ceil(3 * math.log(size) / math.log(2 ** 32 - 1))):
        keys = split(key)
        key = keys[0]
        order = OPS["random_draw"](keys[1], shape=shape, form="u32")
        x = sort_key_val(order, x, axis)[1]
    return x


def permutation(key, x, axis=0, independent=False):
    """x in random order along an axis; an integer stands for ``arange(x)``.

    ``independent`` shuffles each row on its own.

    >>> from functrans import random
    >>> sorted(random.permutation(random.key(0), 4).tolist())
    [0, 1, 2, 3]
    """
    key = checked("permutation", key)
    if np.ndim(x) == 0:
        if type(x) is Tracer:
            x = int(x)
        if not isinstance(x, (int, np.integer)):
            raise errors.ArgumentError("random.permutation: x must be an integer or have an axis, got "
                                       f"{x!r}.")
        return _shuffled(key, np.arange(x), axis=0)
    x = asvalue(x)
    axis = axis_of(axis, aval_of(x).ndim)
    if independent or aval_of(x).ndim == 1:
        return _shuffled(key, x, axis=axis)
    return take(x, _shuffled(key, np.arange(aval_of(x).shape[axis]), axis=0), axis)


def shuffle(key, x, axis=0):
    """x with each row along ``axis`` in an order of its own.

    >>> import numpy as np
    >>> from functrans import random
    >>> np.sort(random.shuffle(random.key(0), np.arange(4)))
    array([0, 1, 2, 3])
    """
    return permutation(key, x, axis, True)


def choice(key, a, shape=(), replace=True, p=None, axis=0, mode=None):
    """Elements (slices along ``axis``) of ``a``, or of ``arange(a)``, at random.

    Args:
      replace: whether an element may come more than once.
      p: their probabilities; uniform by default.

    >>> import numpy as np
    >>> from functrans import random
    >>> random.choice(random.key(0), np.array([2.0, 5.0]), (3,), p=np.array([0.0, 1.0]))
    array([5., 5., 5.])
    """
    key, shape = checked("choice", key), shape_of_draw("choice", shape)
    whole = np.ndim(a) == 0
    a = a if whole else asvalue(a)
    extents = () if whole else aval_of(a).shape
    axis = 0 if whole else axis_of(axis, len(extents))
    n, count = int(a) if whole else extents[axis], math.prod(shape)
    final = shape if whole else (*extents[:axis], *shape, *extents[axis + 1:])
    if count == 0:
        return np.zeros(final, np.int64 if whole else aval_of(a).dtype)
    if n <= 0:
        raise errors.OptionError("random.choice: there is nothing to choose from")
    if not replace and count > n:
        raise errors.OptionError(f"random.choice: {count} of {n} elements without replacement")
    if p is None and not replace:
        some = permutation(key, n if whole else a, axis)
        return np.reshape(some[(*[slice(None)] * axis, slice(count))], final)
    if p is None:
        at = randint(key, shape, 0, n)
    else:
        p = as_array(p)
        p = p if aval_of(p).dtype.kind == "f" else convert(p, np.float64)
        if aval_of(p).shape != (n,):
            raise errors.ShapeError(f"random.choice: p must have one probability for each of {n} elements, "
                                    f"got {aval_of(p)}.")
        at = _chosen(key, p, shape=shape, replace=bool(replace), mode=mode)
    return np.reshape(at if whole else take(a, at, axis), final)


@program
def _chosen(key, p, *, shape, replace, mode):
    dtype = aval_of(p).dtype
    if replace:
        total = np.cumsum(p)
        r = total[-1] * (1 - unit(key, shape, dtype))
        return OPS["searchsorted"](total, r, right=False)
    g = gumbel(key, aval_of(p).shape, dtype, mode) + np.log(p)
    return np.reshape(top_k(g, math.prod(shape))[1], shape)


def categorical(key, logits, axis=-1, shape=None, replace=True, mode=None):
    """Positions along ``axis``, each with probability proportional to ``exp(logits)``.

    ``shape`` is that of the result, to which the shape of logits without the axis broadcasts.

    >>> import numpy as np
    >>> from functrans import random
    >>> random.categorical(random.key(0), np.array([-np.inf, 0.0]), shape=(3,))
    array([1, 1, 1])
    """
    key = checked("categorical", key)
    x = as_array(logits)
    x = x if aval_of(x).dtype.kind == "f" else convert(x, np.float64)
    extents = aval_of(x).shape
    axis = axis_of(axis, len(extents)) - len(extents)
    batch = tuple([n for i, n in enumerate(extents) if i != axis + len(extents)])
    shape = batch if shape is None else shape_of_draw("categorical", shape)
    if broadcast_shape(shape, batch) != shape:
        raise errors.ShapeError(f"random.categorical: logits of shape {extents} do not fit shape {shape}.",
                                "shape is that of the whole result.")
    lead = shape[:len(shape) - len(batch)]
    if replace:
        inner = list(shape[len(lead):])
        inner.insert(axis + len(extents), extents[axis])
        return np.argmax(gumbel(key, (*lead, *inner), aval_of(x).dtype, mode) + x, axis=axis)
    count = math.prod(lead)
    if count > extents[axis]:
        raise errors.OptionError(
            f"random.categorical: {count} of {extents[axis]} categories without replacement")
    scores = np.moveaxis(x + gumbel(key, extents, aval_of(x).dtype, mode), axis, -1)
    return np.reshape(np.moveaxis(top_k(scores, count)[1], -1, 0), shape)


__all__ = ["bernoulli", "categorical", "cauchy", "choice", "exponential", "gumbel", "laplace", "logistic",
           "normal", "permutation", "rademacher", "randint", "shuffle", "truncated_normal", "uniform"]
