"""The encoding of protocol buffers, as far as event files need it.

A message is bytes: its fields one after the other, each a key (its number and how its value is laid out) and
a value. Numbers of fields are those of TensorFlow's ``event.proto``, ``summary.proto`` and ``graph.proto``.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def varint(n: int) -> bytes:
    """Seven bits a byte, low ones first; negative numbers as 64 bits."""
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def integer(field: int, n: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(n)


def double(field: int, x: float) -> bytes:
    return varint(field << 3 | _FIXED64) + struct.pack("<d", x)


def single(field: int, x: float) -> bytes:
    try:
        number = struct.pack("<f", x)
    except OverflowError:               # beyond single precision
        number = struct.pack("<f", math.copysign(math.inf, x))
    return varint(field << 3 | _FIXED32) + number


def data(field: int, content: bytes) -> bytes:
    """Bytes, or a message."""
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


@lru_cache(4096)
def text(field: int, content: str) -> bytes:
    return data(field, content.encode("utf-8", "replace"))


def doubles(field: int, values: np.ndarray) -> bytes:
    return data(field, np.ascontiguousarray(values, "<f8").tobytes())


def entry(field: int, key: str, value: bytes) -> bytes:
    """One of a map from strings to messages."""
    return data(field, text(1, key) + data(2, value))
