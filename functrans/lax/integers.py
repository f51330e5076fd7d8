"""Bits of ``jax.lax``: high halves of products, logical shifts, rounding to fewer bits, random bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import errors
from ..inspection.programs import ShapeDtypeStruct
from ..ir.op import OPS
from ..numpy.core import convert
from ..rules.callbacks import io_callback
from ..trace.core import aval_of
from .ops import _ints, _operand, _together
from .options import RandomAlgorithm, one_device


def _unsigned(dtype):
    return np.dtype(f"u{dtype.itemsize}")


def _integers(name, *xs):
    xs = _together(name, xs)
    if aval_of(xs[0]).dtype.kind not in "iu":
        raise errors.DtypeError(f"lax.{name} of {', '.join([str(aval_of(x)) for x in xs])}.",
                                "Integers are needed.")
    return xs


def shift_right_logical(x, y):
    """Elementwise x with its bits moved right by y, zeros coming in; 0 for counts beyond the width.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.shift_right_logical(np.int8(-1), np.int8(4))
    np.int8(15)
    """
    x, y = _integers("shift_right_logical", x, y)
    dtype = aval_of(x).dtype
    if dtype.kind == "u":
        return OPS["shr"](x, y)
    bits = [OPS["bitcast"](v, dtype=_unsigned(dtype)) for v in (x, y)]
    return OPS["bitcast"](OPS["shr"](*bits), dtype=dtype)


def mulhi(x, y, /):
    """Elementwise the upper half of the bits of the whole product x * y of integers.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.mulhi(np.int8(100), np.int8(100))       # 10000 is 39 * 256 + 16
    np.int8(39)
    """
    x, y = _integers("mulhi", x, y)
    dtype = aval_of(x).dtype
    bits = 8 * dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{dtype.kind}8")
        product = np.multiply(convert(x, wide), convert(y, wide))
        return convert(np.right_shift(product, wide.type(bits)), dtype)
    a, b = (v if dtype.kind == "u" else OPS["bitcast"](v, dtype=np.dtype(np.uint64)) for v in (x, y))
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = a >> half, a & low, b >> half, b & low
    middle = a1 * b0 + (a0 * b0 >> half)        # no sum of these is beyond 64 bits
    high = a1 * b1 + (middle >> half) + ((middle & low) + a0 * b1 >> half)
    if dtype.kind == "u":
        return high
    # a signed number is its bits less 2**64 where it is negative
    zero = np.int64(0)
    out = OPS["sub"](OPS["bitcast"](high, dtype=dtype), np.where(x < 0, y, zero)[()])
    return OPS["sub"](out, np.where(y < 0, x, zero)[()])


def reduce_precision(operand, exponent_bits: int, mantissa_bits: int):
    """Floats rounded to what so many bits of exponent and mantissa can hold, in their own dtype.

    To nearest, ties to even; too large numbers become infinite, those below the smallest normal one 0.
    Derivatives are rounded likewise.

    >>> from functrans import lax
    >>> lax.reduce_precision(1.2345, 5, 10)       # as a float16
    np.float64(1.234375)
    """
    operand = _operand(operand)
    e, m = exponent_bits.__index__(), mantissa_bits.__index__()
    if aval_of(operand).dtype == np.float16 and e >= 5:      # it is computed in float32
        e = 8
    return OPS["reduce_precision"](operand, exponent_bits=e, mantissa_bits=m)


def rng_bit_generator(key, shape: Sequence[int], dtype=np.uint32, algorithm=RandomAlgorithm.RNG_DEFAULT, *,
                      out_sharding=None):
    """``(key for the next call, random bits)``, the bits as unsigned integers; ``random.bits`` is easier.

    Args:
        key: ``uint32[2]`` or ``uint32[4]``.
        shape, dtype: of the bits.
        algorithm: Threefry is the only one, so the default.

    >>> import numpy as np
    >>> from functrans import lax
    >>> key, bits = lax.rng_bit_generator(np.array([1, 2], np.uint32), (3,))
    >>> bits.shape, bits.dtype
    ((3,), dtype('uint32'))
    """
    one_device("rng_bit_generator", out_sharding=out_sharding)
    key, dtype = _operand(key), np.dtype(dtype)
    a = aval_of(key)
    if a.dtype != np.uint32 or a.shape not in ((2,), (4,)):
        raise errors.RandomKeyError(f"lax.rng_bit_generator: the key must be u32[2] or u32[4], got {a}.",
                                    "Use functrans.random.key(seed).")
    if dtype.kind != "u":
        raise errors.DtypeError(f"lax.rng_bit_generator: dtype must be an unsigned integer, got {dtype}.")
    if RandomAlgorithm(algorithm) is RandomAlgorithm.RNG_PHILOX:
        raise errors.NotSupportedError("lax.rng_bit_generator: algorithm RNG_PHILOX.",
                                       "Use RNG_DEFAULT, which is RNG_THREE_FRY.")
    threefry = OPS["threefry"]
    words = [threefry(key[:2], key[2:])] if a.shape == (4,) else [key]
    children = [threefry(words[0], np.array([0, i], np.uint32)) for i in range(3)]
    new = np.concatenate(children[:2]) if a.shape == (4,) else children[0]
    bits = OPS["random_draw"](children[2], shape=_ints(shape), form=f"u{8 * dtype.itemsize}")
    return new, bits


def rng_uniform(a, b, shape: Sequence[int]):
    """Uniform numbers of [a, b), others at each call: NumPy's generator, called from the program.

    ``functrans.random.uniform`` gives the same for the same key, and needs no call into Python.

    >>> from functrans import lax
    >>> lax.rng_uniform(2.0, 3.0, (4,)).shape
    (4,)
    """
    a, b = _together("rng_uniform", (a, b))
    dtype, sizes = aval_of(a).dtype, _ints(shape)
    if aval_of(a).shape or dtype.kind not in "iuf":
        raise errors.ShapeError(f"lax.rng_uniform: bounds must be real scalars, got {aval_of(a)}.",
                                "Scale numbers of [0, 1) instead.")

    def draw(a, b):
        rng = np.random.default_rng()
        if dtype.kind != "f":
            return rng.integers(a, b, sizes, dtype)
        return rng.uniform(a, b, sizes).astype(dtype)

    return io_callback(draw, ShapeDtypeStruct(sizes, dtype), a, b)


__all__ = ["mulhi", "reduce_precision", "rng_bit_generator",
           "rng_uniform", "shift_right_logical"]
