"""What the tests of the array API share: the standard's promotion, drawn arrays, plain and traced calls."""

import math
import warnings

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from functrans import jit

few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

SIGNED, UNSIGNED = ["int8", "int16", "int32", "int64"], ["uint8", "uint16", "uint32", "uint64"]
FLOATS, COMPLEX = ["float32", "float64"], ["complex64", "complex128"]
INTEGERS = SIGNED + UNSIGNED
GROUPS = {"b": ["bool"], "i": INTEGERS, "f": FLOATS, "c": COMPLEX}


def promoted(a, b):
    """The standard's table; None where it says nothing."""
    if a == b:
        return a
    for kind in (SIGNED, UNSIGNED, FLOATS, COMPLEX):
        if a in kind and b in kind:
            return kind[max(kind.index(a), kind.index(b))]
    if a in INTEGERS and b in INTEGERS:
        signed, unsigned = (a, b) if a in SIGNED else (b, a)
        at = max(SIGNED.index(signed), UNSIGNED.index(unsigned) + 1)
        return SIGNED[at] if at < 4 else None
    if a in FLOATS + COMPLEX and b in FLOATS + COMPLEX:
        return COMPLEX[max((FLOATS if d in FLOATS else COMPLEX).index(d) for d in (a, b))]
    return None


def numbers(dtype, low=-20):
    """Numbers of a dtype, such that no result of two overflows by far."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    if kind in "iu":
        return st.integers(max(low, 0) if kind == "u" else low, 20)
    real = st.floats(low, 20, width=32, allow_subnormal=False)
    return real if kind == "f" else st.builds(complex, real, real)


@st.composite
def shapes(draw, n):
    """n shapes that broadcast; sides of 0 and 1 among them."""
    whole = draw(st.lists(st.integers(0, 3), max_size=3))
    starts = [draw(st.integers(0, len(whole))) for _ in range(n)]
    return [tuple(draw(st.sampled_from([1, side])) for side in whole[start:]) for start in starts]


def filled(data, dtype, shape, low=-20):
    """An array of drawn numbers."""
    size = math.prod(shape)
    return np.array(data.draw(st.lists(numbers(dtype, low), min_size=size, max_size=size)), dtype).reshape(
        shape
    )


def drawn(data, dtypes, low=-20):
    """An array of each dtype; their shapes broadcast."""
    return [filled(data, d, s, low) for d, s in zip(dtypes, data.draw(shapes(len(dtypes))), strict=True)]


def both(f, *arrays):
    """What f gives for plain arrays, and for traced ones."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield f(*arrays)
        yield jit(f)(*arrays)


def results(f, *arrays):
    """The same as arrays: a number is one of no dimensions."""
    for found in both(f, *arrays):
        assert isinstance(found, np.ndarray | np.generic)
        yield np.asarray(found)
