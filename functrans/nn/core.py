"""What the modules of this room share: operands, axes, checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import errors
from ..calling.staging import api
from ..ir.op import OPS
from ..numpy.core import (
    asvalue,
    aval_of,
    axes_of,
    axis_of,
    broadcast_shape,
    broadcast_to,
    convert,
    result_type,
)
from ..random.draws import program
from ..rules.custom import stop_gradient
from ..trace.core import is_known, value_of

HALF = np.dtype(np.float16)


def floats(name: str, **operands: Any) -> list:
    """The operands in their common float dtype, which integers and bools take too (float64 where there are
    no floats); None stays None."""
    values = {k: asvalue(v) for k, v in operands.items() if v is not None}
    for k, v in values.items():
        if aval_of(v).dtype.kind == "c":
            raise errors.DtypeError(f"nn.{name}: {k} is {aval_of(v)}; real numbers are needed.",
                                    "Pass the real and the imaginary part.")
    numbers = [v for v in values.values() if aval_of(v).dtype.kind == "f"]
    dtype = result_type(*numbers) if numbers else np.dtype(np.float64)
    return [None if v is None else convert(values[k], dtype) for k, v in operands.items()]


def integers(name: str, what: str, x: Any):
    """An operand of integers."""
    x = asvalue(x)
    if aval_of(x).dtype.kind not in "iu":
        raise errors.DtypeError(f"nn.{name}: {what} must be integers, got {aval_of(x)}.",
                                "Convert them with astype(int).")
    return x


def wide(x):
    """x to compute with: float16 in float32."""
    return convert(x, np.float32) if x is not None and aval_of(x).dtype == HALF else x


def known(x):
    """The values of an operand, or None where they are not known yet."""
    if isinstance(x, (np.ndarray, np.generic, int)):
        return np.asarray(x)
    return np.asarray(value_of(x)) if is_known(x) else None


def check_range(name: str, what: str, x: Any, n: int, kind: str, ignored: int | None = None) -> None:
    """IndexRangeError where known integers are outside of ``range(n)``, but for ``ignored``."""
    values = known(x)
    if values is None or not values.size:
        return
    wrong = (values < 0) | (values >= n)
    if ignored is not None:
        wrong &= values != ignored
    if wrong.any():
        at = tuple([int(i) for i in np.argwhere(wrong)[0]]) if values.ndim else ()
        place = f"{what}[{', '.join(map(str, at))}]" if at else what
        raise errors.IndexRangeError(f"nn.{name}: {place} is {values[at]}, but there are {n} {kind}.",
                                     f"They are numbered from 0 to {n - 1}." if n else None)


def broadcasts(name: str, what: str, x: Any, shape: Sequence[int], of: str) -> None:
    """ShapeError unless x broadcasts to ``shape``."""
    a, shape = aval_of(x), tuple(shape)
    lead = len(shape) - a.ndim
    if lead < 0 or any([n not in (1, m) for n, m in zip(a.shape, shape[lead:], strict=True)]):
        raise errors.ShapeError(f"nn.{name}: {what} is {a}, which does not broadcast to {of} {shape}.",
                                "Each axis must be equal, or 1, counted from the last.")


def bools(name: str, what: str, x: Any, shape: Sequence[int], of: str):
    """A mask that broadcasts to ``shape``."""
    x = asvalue(x)
    if aval_of(x).dtype.kind != "b":
        raise errors.DtypeError(f"nn.{name}: {what} must be bools, got {aval_of(x)}.",
                                f"Write {what} != 0, or {what} > 0.5.")
    broadcasts(name, what, x, shape, of)
    return x


def top_of(x, axes):
    """The maximum along axes (kept), as a constant; 0 where it is infinite or nothing is there."""
    top = stop_gradient(np.max(x, axis=axes, keepdims=True))
    return np.where(np.isfinite(top), top, number(0, x))


def number(value, like):
    """A scalar in the dtype of another operand."""
    return aval_of(like).dtype.type(value)


def nonzero(total):
    """A sum to divide by or to take the logarithm of: 1 where it is 0."""
    return np.where(total == 0, number(1, total), total)


def reduced(name: str, losses, reduction: str, count=None):
    """'none', 'sum', or 'mean': the sum divided by ``count``, by default their number."""
    check_reduction(name, reduction)
    if reduction == "none":
        return losses
    total = np.sum(losses)
    return total if reduction == "sum" else total / number(max(aval_of(losses).size, 1), losses)


def check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise errors.OptionError(f"nn.{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


__all__ = [
    "OPS", "api", "asvalue", "aval_of", "axes_of", "axis_of", "bools", "broadcast_shape",
    "broadcast_to", "broadcasts", "check_range", "check_reduction", "convert", "errors", "floats",
    "integers", "known", "nonzero", "number", "program", "reduced", "stop_gradient", "top_of",
    "wide",
]
