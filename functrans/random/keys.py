"""Keys: made from seeds, split and folded; a key is two uint32 words, the last axis of a plain array."""

from __future__ import annotations

from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import asvalue, convert, is_number
from ..numpy.shape import known_array
from ..trace.core import aval_of
from ..trace.tracer import Tracer

_U32 = np.dtype(np.uint32)
_MAKE = "Make one with functrans.random.key(seed), and a new one for each use with functrans.random.split."


def checked(name, key):
    """``key`` as one key; RandomKeyError for what is none."""
    try:
        a = aval_of(key if type(key) is Tracer else asvalue(key))
    except TypeError:
        raise errors.RandomKeyError(f"random.{name} takes a key first, got {type(key).__name__}.",
                                    _MAKE) from None
    if a.dtype != _U32 or a.ndim < 1 or a.shape[-1] != 2:
        what = f"the number {key!r}" if is_number(key) else str(a)
        raise errors.RandomKeyError(f"random.{name} takes a key first, which is u32[2], got {what}.", _MAKE)
    if a.ndim > 1:
        raise errors.RandomKeyError(f"random.{name} takes one key, got {a}: an array of keys.",
                                    f"Map over them: vmap(lambda k: random.{name}(k, ...))(keys).")
    return key if type(key) is Tracer else np.asarray(key)


def shape_of_draw(name, shape) -> tuple[int, ...]:
    """``shape`` as a tuple; an integer is one axis."""
    if type(shape) is Tracer or isinstance(shape, np.ndarray):
        shape = known_array(shape, f"random.{name}: shape", "Make the shape a static argument.").tolist()
    if isinstance(shape, (tuple, list)) and any(type(n) is Tracer for n in shape):
        raise errors.ConcretizationError(f"random.{name}: the shape has the traced value {shape}.",
                                         "Make sizes static arguments of jit (static_argnums).")
    try:
        sizes = tuple([index(n) for n in shape]) if isinstance(shape, (tuple, list)) else (index(shape),)
    except TypeError:
        raise errors.ShapeError(f"random.{name}: shape must be a tuple of integers, got {shape!r}.") from None
    if any(n < 0 for n in sizes):
        raise errors.ShapeError(f"random.{name}: extents must not be negative, got {sizes}.")
    return sizes


def key(seed, *, impl=None, dtype=None):
    """A key from an integer seed: ``uint32[2]``, the words of the seed as 64 bits.

    The same key as ``jax.random.key(seed)`` has with 64-bit types (threefry2x32).

    >>> from functrans import random
    >>> random.key(42)
    array([ 0, 42], dtype=uint32)
    """
    for given in (impl, dtype):
        if given not in (None, "threefry2x32"):
            raise errors.NotSupportedError(f"random.key: the implementation {given!r} is not there.",
                                           "Leave it out: keys are of threefry2x32.")
    if type(seed) is int or (isinstance(seed, np.integer) and seed.itemsize == 8):
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise errors.RandomKeyError(f"random.key: the seed {seed} has more than 64 bits.",
                                        "Take it modulo 2**64.")
        return np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], _U32)
    value = asvalue(seed)
    a = aval_of(value)
    if a.dtype.kind not in "iu" or a.shape:
        raise errors.RandomKeyError(f"random.key: a seed is an integer, got {a}.",
                                    "Convert it with int() or astype(int); vmap makes several keys.")
    low = convert(value, np.uint32)
    if a.dtype.itemsize < 8:
        return np.stack([np.zeros((), _U32), low])
    return np.stack([convert(np.right_shift(convert(value, np.uint64), np.uint64(32)), np.uint32), low])


def PRNGKey(seed, *, impl=None):
    """The same as ``key``.

    >>> from functrans import random
    >>> random.PRNGKey(7)
    array([0, 7], dtype=uint32)
    """
    return key(seed, impl=impl)


def split(key, num=2):
    """``num`` (an integer or a shape) new keys from one: ``uint32[num, 2]``. Do not use ``key`` again.

    >>> from functrans import random
    >>> random.split(random.key(0), 3).shape
    (3, 2)
    """
    return OPS["random_draw"](checked("split", key), shape=shape_of_draw("split", num), form="pair")


def fold_in(key, data):
    """A new key from a key and an integer, such as a step's number; ``data`` counts modulo 2**32.

    >>> from functrans import random
    >>> key = random.key(0)
    >>> bool((random.fold_in(key, 1) != random.fold_in(key, 2)).any())
    True
    """
    key = checked("fold_in", key)
    if type(data) is int:
        word = np.uint32(data & 0xFFFFFFFF)
    else:
        a = aval_of(asvalue(data))
        if a.dtype.kind not in "iu" or a.shape:
            raise errors.RandomKeyError(f"random.fold_in: data is one integer, got {a}.",
                                        "Convert it with astype(int); vmap folds in several.")
        word = convert(asvalue(data), np.uint32)
    return OPS["threefry"](key, np.stack([np.uint32(0), word]))


def clone(key):
    """The key itself, for uses that are meant to be the same.

    >>> from functrans import random
    >>> bool((random.clone(random.key(7)) == random.key(7)).all())
    True
    """
    return key


def key_data(keys):
    """The words of keys, ``uint32[..., 2]``: the keys themselves.

    >>> from functrans import random
    >>> random.key_data(random.key(7))
    array([0, 7], dtype=uint32)
    """
    return keys


def wrap_key_data(key_bits_array, *, impl=None, dtype=None):
    """Words as keys: ``uint32[..., 2]``.

    >>> from functrans import random
    >>> import numpy as np
    >>> random.wrap_key_data(np.array([0, 7], dtype=np.uint32))
    array([0, 7], dtype=uint32)
    """
    a = aval_of(asvalue(key_bits_array))
    if a.dtype != _U32 or a.ndim < 1 or a.shape[-1] != 2:
        raise errors.RandomKeyError(f"random.wrap_key_data: words of keys are uint32[..., 2], got {a}.")
    return key_bits_array


def key_impl(keys):
    """The name of the generator that keys are for.

    >>> from functrans import random
    >>> random.key_impl(random.key(7))
    'threefry2x32'
    """
    return "threefry2x32"


def bits(key, shape=(), dtype=None):
    """Random bits as unsigned integers of ``dtype`` (uint64).

    >>> from functrans import random
    >>> random.bits(random.key(0), (2,), "uint32").dtype
    dtype('uint32')
    """
    dtype = np.dtype(np.uint64 if dtype is None else dtype)
    if dtype.kind != "u":
        raise errors.DtypeError(f"random.bits: dtype must be an unsigned integer, got {dtype}.")
    return OPS["random_draw"](checked("bits", key), shape=shape_of_draw("bits", shape),
                              form=f"u{8 * dtype.itemsize}")


__all__ = ["PRNGKey", "bits", "clone", "fold_in", "key", "key_data", "key_impl", "split", "wrap_key_data"]
