"""Options that ``jax.lax`` functions take for accelerators and several devices: accepted and checked.

On one CPU they change nothing: products are exact to the dtype, and every array is on the one device.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import errors

DotDimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


class Precision(enum.Enum):
    """How exact a product must be; here it is always exact to the dtype."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


class DotAlgorithm(NamedTuple):
    """An accelerator's way to multiply; here operands are multiplied and added in their own dtype."""

    lhs_precision_type: Any
    rhs_precision_type: Any
    accumulation_type: Any
    lhs_component_count: int = 1
    rhs_component_count: int = 1
    num_primitive_operations: int = 1
    allow_imprecise_accumulation: bool = False


class DotAlgorithmPreset(enum.Enum):
    """Names of such algorithms."""

    DEFAULT = enum.auto()
    ANY_F8_ANY_F8_F32 = enum.auto()
    ANY_F8_ANY_F8_F32_FAST_ACCUM = enum.auto()
    ANY_F8_ANY_F8_ANY = enum.auto()
    ANY_F8_ANY_F8_ANY_FAST_ACCUM = enum.auto()
    F16_F16_F16 = enum.auto()
    F16_F16_F32 = enum.auto()
    BF16_BF16_BF16 = enum.auto()
    BF16_BF16_F32 = enum.auto()
    BF16_BF16_F32_X3 = enum.auto()
    BF16_BF16_F32_X6 = enum.auto()
    BF16_BF16_F32_X9 = enum.auto()
    TF32_TF32_F32 = enum.auto()
    TF32_TF32_F32_X3 = enum.auto()
    F32_F32_F32 = enum.auto()
    F64_F64_F64 = enum.auto()


PrecisionLike = Precision | DotAlgorithm | DotAlgorithmPreset | str | tuple | None
_NAMES = frozenset(["default", "fastest", "high", "highest", "bfloat16", "bfloat16_3x", "tensorfloat32",
                    "float32", *[p.name for p in DotAlgorithmPreset]])


def check_precision(name: str, precision: Any) -> None:
    """Refuses what is no precision."""
    several = isinstance(precision, (tuple, list)) and not isinstance(precision, DotAlgorithm)
    for p in precision if several else (precision,):
        if p is None or isinstance(p, (Precision, DotAlgorithm, DotAlgorithmPreset)) or (
                isinstance(p, str) and p in _NAMES):
            continue
        raise errors.ArgumentError(f"lax.{name}: precision={precision!r}.",
                                   "Use a lax.Precision, its name ('highest'), a pair of them, or None.")


class AccuracyMode(enum.Enum):
    """How exact a function must be; here errors are those of the table in the documentation."""

    HIGHEST = 1
    DEFAULT = 2


class Tolerance:
    """A bound on the error of a function: absolute, relative, or in units of the last place."""

    def __init__(self, atol: float = 0.0, rtol: float = 0.0, ulps: int = 0):
        if min(atol, rtol, ulps) < 0 or not atol + rtol + ulps:
            raise ValueError(f"Tolerance: one of atol={atol}, rtol={rtol}, ulps={ulps} must be positive, "
                             "and none negative")
        self.atol, self.rtol, self.ulps = atol, rtol, ulps

    def __repr__(self):
        return f"Tolerance(atol={self.atol}, rtol={self.rtol}, ulps={self.ulps})"


def check_accuracy(name: str, accuracy: Any) -> None:
    """Refuses what is no accuracy."""
    if accuracy is not None and not isinstance(accuracy, (AccuracyMode, Tolerance)):
        raise errors.ArgumentError(f"lax.{name}: accuracy={accuracy!r}.",
                                   "Use a lax.AccuracyMode, a lax.Tolerance, or None.")


class RandomAlgorithm(enum.IntEnum):
    """Generators of ``rng_bit_generator``."""

    RNG_DEFAULT = 0
    RNG_THREE_FRY = 1
    RNG_PHILOX = 2


class RaggedDotDimensionNumbers:
    """The axes of a ``ragged_dot_general``.

    Args:
        dot_dimension_numbers: as of ``dot_general``.
        lhs_ragged_dimensions: the one axis of lhs that is cut into groups.
        rhs_group_dimensions: the axis of rhs that has an entry per group, or none.
    """

    def __init__(self, dot_dimension_numbers: Any, lhs_ragged_dimensions: Sequence[int],
                 rhs_group_dimensions: Sequence[int]):
        contract, batch = dot_dimension_numbers
        self.dot_dimension_numbers = (tuple(map(tuple, contract)), tuple(map(tuple, batch)))
        self.lhs_ragged_dimensions = tuple(lhs_ragged_dimensions)
        self.rhs_group_dimensions = tuple(rhs_group_dimensions)

    def __repr__(self):
        return (f"RaggedDotDimensionNumbers({self.dot_dimension_numbers}, {self.lhs_ragged_dimensions}, "
                f"{self.rhs_group_dimensions})")


def one_device(name: str, **options: Any) -> None:
    """Refuses a placement on devices: there is one."""
    for option, value in options.items():
        if value is not None:
            raise errors.NotSupportedError(f"lax.{name}: {option}={value!r} places arrays on devices.",
                                           f"functrans runs on one CPU: leave {option} out.")


def _refused(name: str, parameters: str, what: str, advice: str):
    """A function of several devices or of tokens: it says what to write instead."""
    names: dict[str, Any] = {}
    text = f"def {name}({parameters}):\n    raise _error()"
    exec(compile(text, __file__, "exec"), {"_error": lambda: errors.NotSupportedError(
        f"lax.{name}: {what}.", advice)}, names)
    function = names[name]
    function.__module__ = __name__
    function.__doc__ = f"Raises NotImplementedError: {what}.\n\n{advice}"
    return function


_TOKENS = "there are no tokens"
_ORDER = "Effects run in the order of their inputs; use functrans.io_callback(..., ordered=True)."
_DEVICES = "there are no several devices"
_AXES = "Named axes are those of vmap: use lax.ppermute, lax.all_to_all or lax.all_gather inside vmap."
_REFUSED = [
    ("after_all", "*operands", _TOKENS, _ORDER),
    ("create_token", "_=None", _TOKENS, _ORDER),
    ("dce_sink", "val, *, prevent_mlir_dce=False", "what no result depends on is not computed",
     "Return the value, or pass it to functrans.io_callback."),
    ("psend", "x, axis_name, perm", _DEVICES, _AXES),
    ("precv", "token, out_shape, axis_name, perm", _DEVICES, _AXES),
    ("pcast", "x, axis_name, *, to", "types do not say over which devices a value varies",
     "Values under vmap vary as they need to: leave it out."),
    ("ragged_all_to_all", "operand, output, input_offsets, send_sizes, output_offsets, recv_sizes, *, "
     "axis_name, axis_index_groups=None", _DEVICES, _AXES),
    ("with_sharding_constraint", "x, shardings", _DEVICES, "Leave it out: arrays lie in one memory."),
]
for _row in _REFUSED:
    globals()[_row[0]] = _refused(*_row)


def no_dtype_loss(name: str, given: np.dtype, wanted: np.dtype) -> None:
    """Refuses a result type that cannot hold what the operands are."""
    if "biufc".index(wanted.kind) < "biufc".index(given.kind):
        raise errors.DtypeError(f"lax.{name}: preferred_element_type={wanted} for operands of {given}.",
                                "Choose a dtype of the same kind, or convert the operands.")


__all__ = ["AccuracyMode", "DotAlgorithm", "DotAlgorithmPreset", "DotDimensionNumbers", "Precision",
           "PrecisionLike", "RaggedDotDimensionNumbers", "RandomAlgorithm", "Tolerance",
           *[row[0] for row in _REFUSED]]
