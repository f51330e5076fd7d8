"""What is given to symbols: values of the symbol's shape and dtype, or an error that names both; grad_ys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import errors
from ..ir.core import Aval
from ..numpy.core import convert
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from ..transform.zeros import has_tangent

# Kinds of numbers, each of which holds the ones before it.
_KINDS = "biufc"


def fed_value(x: Any, kind: Aval, where: str, reference: str) -> Any:
    """x as a value of type ``kind``.

    Numbers and lists are converted; arrays where no value can change (NumPy's safe casts).

    Raises:
      ShapeError, DtypeError, TreeError: ``"{where} is f64[3], but {reference}"``.
    """
    try:
        loose = not hasattr(x, "dtype")         # a number or a list, which has no type of its own
        value = x if not loose else np.asarray(x)
        if isinstance(value, np.ndarray) and loose and value.size == 0:
            value = value.astype(kind.dtype)    # np.asarray([]) is a float64
        got = aval_of(value)
    except (TypeError, ValueError) as e:
        raise errors.DtypeError(f"{where} is {described(x)}, but {reference}.",
                                "Give an array, a number, or a list of numbers.") from (
                                    None if isinstance(e, errors.FunctransError) else e)
    if got.shape != kind.shape:
        raise errors.ShapeError(f"{where} is {got.strong}, but {reference}.", "Shapes must be equal.")
    if got.dtype is kind.dtype:
        return value if type(value) is Tracer or got.shape else np.asarray(value)[()]
    if not (_holds(value, got, kind) if loose or got.weak else np.can_cast(got.dtype, kind.dtype, "safe")):
        raise errors.DtypeError(f"{where} is {got.strong}, but {reference}.", "Convert it with astype.")
    if type(value) is Tracer:
        return convert(value, kind.dtype)
    return np.asarray(value).astype(kind.dtype)[()]


def _holds(value: Any, got: Aval, kind: Aval) -> bool:
    """Whether numbers of no type of their own fit: by kind, integers by their values."""
    if _KINDS.index(got.dtype.kind) > _KINDS.index(kind.dtype.kind) and not (
            got.dtype.kind in "iu" and kind.dtype.kind in "iu"):
        return False
    if kind.dtype.kind in "iu" and got.dtype.kind in "iu" and type(value) is not Tracer and got.size:
        info = np.iinfo(kind.dtype)
        return bool(np.min(value) >= info.min and np.max(value) <= info.max)
    return True


def described(x: Any) -> str:
    """A value that is of no use, in an error text."""
    if isinstance(x, np.ndarray):
        return f"an array of dtype {x.dtype}"
    kind = type(x).__name__
    return f"the {kind} {x!r:.60}" if isinstance(x, (str, bytes, int, float)) else f"a {kind}"


# ----- gradients ---------------------------------------------------------------------------------------


UNCONNECTED = ("none", "zero", "raise")


def check_unconnected(unconnected: Any) -> None:
    if not isinstance(unconnected, str) or unconnected not in UNCONNECTED:
        raise errors.GraphError(f"gradients: unconnected={unconnected!r}.",
                                f"Give one of {', '.join(map(repr, UNCONNECTED))}.")


class Target(NamedTuple):
    """One of the ys of a gradient: its type, its path among them, and how messages call it."""

    aval: Aval
    path: str
    text: str


def seeds_of(ys: Sequence[Target], ys_tree: Any, grad_ys: Any, known: Callable | None = None) -> list:
    """Per y what its derivative is multiplied with, None standing for ones.

    Args:
      ys_tree: the structure of ys, which grad_ys has.
      known: ``(x, where) -> variable`` for those grad_ys that are symbols or names of symbols.
    """
    given = [None] * len(ys)
    if grad_ys is not None:
        if ys_tree.node_type in (list, tuple) and isinstance(grad_ys, (list, tuple)):
            n = len(ys_tree.children())
            if len(grad_ys) != n:
                raise errors.GraphError(f"gradients: {len(grad_ys)} grad_ys for {n} ys.",
                                        "Give one for each y, or None for ones.")
            grad_ys = ys_tree.node_type(grad_ys)
        given = ys_tree.flatten_up_to(grad_ys, "grad_ys", "ys")
    seeds: list = []
    for y, ct in zip(ys, given, strict=True):
        where = f"gradients: grad_ys{y.path}"
        if ct is None:
            if y.aval.dtype.kind == "c":
                raise errors.DtypeError(f"gradients: ys{y.path} is the complex {y.text}.",
                                        "Give grad_ys, or take np.real(y) or np.abs(y).")
            seeds.append(None)
        elif known is not None and (type(ct) is Tracer or isinstance(ct, str)):
            v = known(ct, where)
            if v.aval.shape != y.aval.shape:
                raise errors.ShapeError(f"{where} is {v.aval}, but y is {y.text}.", "Shapes must be equal.")
            if v.aval.dtype != y.aval.dtype and has_tangent(y.aval):
                raise errors.DtypeError(f"{where} is {v.aval}, but y is {y.text}.", "Convert it with astype.")
            seeds.append(v)
        else:
            seeds.append(fed_value(ct, y.aval, where, f"y is {y.text}"))
    return seeds
