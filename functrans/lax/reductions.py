"""Reductions of ``jax.lax``: by name, by any associative function, cumulative, and extrema's places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors, tree
from ..api.batching import vmap
from ..ir.op import OPS
from ..numpy.core import asvalue, axes_of, axis_of, convert
from ..trace.core import aval_of
from . import ops
from .ops import _avals, _operand, convert_element_type
from .options import one_device
from .order import top_k

_lax: Any = ops
# Functions that are reductions of their own: what they are called here and in NumPy.
_KNOWN = {"add": "sum", "mul": "prod", "max": "max", "min": "min", "bitwise_and": "and", "bitwise_or": "or",
          "bitwise_xor": "xor"}
_UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
           "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}


def known_monoid(computation) -> str | None:
    """The name of the function of two values that ``computation`` is, or None."""
    for name, ufunc in _UFUNCS.items():
        if computation is getattr(_lax, name) or computation is ufunc:
            return name
    return None


def reduce(operands: Any, init_values: Any, computation: Callable[[Any, Any], Any],
           dimensions: Sequence[int], out_sharding: Any = None) -> Any:
    """Joins the elements along axes by any associative function.

    Args:
        operands: an array, or a pytree of arrays of one shape, which are joined together.
        init_values: a scalar for each operand, of its dtype; each result starts with it. It should be
            the function's identity.
        computation: ``(values, values) -> values`` on scalars in the structure of ``operands``; it must
            be associative. ``lax.add``, ``mul``, ``max``, ``min``, ``bitwise_and``, ``bitwise_or``,
            ``bitwise_xor`` and NumPy's ufuncs are recognised; others run on whole arrays, neighbours
            pairwise, log2(n) times.
        dimensions: the axes to reduce.
        out_sharding: None.

    Returns:
        The results in the structure of ``operands``, without these axes.

    Raises:
        ShapeError, DtypeError: operands or initial values do not fit; TreeError: structures differ.

    >>> import numpy as np
    >>> from functrans import lax
    >>> def larger(a, b):
    ...     take = a[0] >= b[0]
    ...     return np.where(take, a[0], b[0]), np.where(take, a[1], b[1])
    >>> x = np.array([[3.0, 7.0, 5.0], [9.0, 2.0, 9.0]])
    >>> places = np.broadcast_to(np.arange(3), x.shape)
    >>> lax.reduce((x, places), (-np.inf, -1), larger, (1,))
    (array([7., 9.]), array([1, 0]))
    """
    one_device("reduce", out_sharding=out_sharding)
    leaves, treedef = tree.flatten(operands)
    leaves = [_operand(x) for x in leaves]
    inits = starts("reduce", leaves, treedef, init_values)
    shape = aval_of(leaves[0]).shape if leaves else ()
    if not leaves or any(aval_of(x).shape != shape for x in leaves):
        raise errors.ShapeError(f"lax.reduce: operands must be arrays of one shape, got {_avals(leaves)}.")
    axes = axes_of(tuple(_ints_of(dimensions)), len(shape))
    name = known_monoid(computation)
    if name is not None and len(leaves) == 1 and 0 not in [shape[a] for a in axes]:
        out = OPS[f"reduce_{_KNOWN[name]}"](leaves[0], axes=axes)
        return treedef.unflatten([getattr(_lax, name)(out, inits[0])])
    kept = [i for i in range(len(shape)) if i not in axes]
    n, rest = math.prod([shape[a] for a in axes]), tuple([shape[i] for i in kept])
    rows = [OPS["reshape"](OPS["transpose"](x, perm=(*axes, *kept)), shape=(n, *rest)) for x in leaves]
    return treedef.unflatten(fold(rows, inits, treedef, computation, "reduce"))


def _ints_of(axes):
    return [a.__index__() for a in axes]


def starts(name, leaves, treedef, init_values) -> list:
    """Initial values as scalars of the operands' dtypes."""
    inits = treedef.flatten_up_to(init_values, "the initial values", "the operands")
    out = []
    for x, init in zip(leaves, inits, strict=True):
        a, value = aval_of(x), asvalue(init)
        b = aval_of(value)
        if b.shape or (b.dtype != a.dtype and not (type(value) in (int, float, bool) or b.weak)):
            raise errors.DtypeError(f"lax.{name}: the initial value {b} for {a}.",
                                    "Give a scalar of the operand's dtype.")
        out.append(value if b.dtype == a.dtype and not b.weak else convert(value, a.dtype))
    return out


def fold(rows, inits, treedef, computation, name) -> list:
    """``rows[i]`` of ``[n, *rest]`` joined along the first axis, in order, starting with ``inits[i]``."""
    avals = [aval_of(x) for x in rows]
    rest = avals[0].shape[1:]
    size, n = math.prod(rest), avals[0].shape[0]
    rows = [OPS["reshape"](x, shape=(n, size)) for x in rows]

    def joined(a, b, count):
        flat = [[OPS["reshape"](x, shape=(count * size,)) for x in side] for side in (a, b)]
        out = vmap(computation)(*[treedef.unflatten(side) for side in flat])
        leaves = treedef.flatten_up_to(out, "the result of the computation", "the operands")
        got = []
        for x, a in zip(leaves, avals, strict=True):
            if aval_of(x).shape != (count * size,) or aval_of(x).dtype != a.dtype:
                raise errors.DtypeError(
                    f"lax.{name}: the computation returned {aval_of(x).dtype}{list(aval_of(x).shape[1:])} "
                    f"for operands of {a.dtype}.", "It must return scalars of the dtypes that it gets.")
            got.append(OPS["reshape"](x, shape=(count, size)))
        return got

    while n > 1 and size:
        half = n // 2
        pairs = joined([_every_second(x, 0, half) for x in rows], [_every_second(x, 1, half) for x in rows],
                       half)
        if n % 2:
            last = [OPS["slice"](x, start=(n - 1, 0), limit=(n, size), stride=(1, 1)) for x in rows]
            pairs = [OPS["concatenate"](p, x, axis=0) for p, x in zip(pairs, last, strict=True)]
        rows, n = pairs, n - half
    first = [OPS["broadcast_in_dim"](x, shape=(1, size), dims=()) for x in inits]
    if n and size:
        first = joined(first, rows, 1)
    return [OPS["reshape"](x, shape=rest) for x in first]


def _every_second(x, k, half):
    return OPS["slice"](x, start=(k, 0), limit=(2 * half - 1 + k, aval_of(x).shape[1]), stride=(2, 1))


def _reduction(kind):
    name = f"reduce_{kind}"

    def reduced(operand, axes: Sequence[int]):
        operand = _operand(operand)
        ndim = aval_of(operand).ndim
        return OPS[name](operand, axes=tuple(sorted([axis_of(a, ndim) for a in axes])))

    def placed(operand, axes: Sequence[int], *, out_sharding=None):
        one_device(name, out_sharding=out_sharding)
        return reduced(operand, axes)

    function = placed if kind == "sum" else reduced
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {kind} over axes."
    return function


def _extremum_position(name):
    def function(operand, axis: int, index_dtype=np.int64):
        operand = _operand(operand)
        out = OPS[name](operand, axis=axis_of(axis, aval_of(operand).ndim))
        return out if np.dtype(index_dtype) == np.int64 else convert_element_type(out, index_dtype)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The first position of the {name[3:]}imum along an axis."
    return function


def _cumulative(name):
    def function(operand, axis: int = 0, reverse: bool = False):
        operand = _operand(operand)
        return OPS[name](operand, axis=axis_of(axis, aval_of(operand).ndim), reverse=bool(reverse))
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Cumulative {name[3:]} along an axis."
    return function


_REDUCTIONS = [f"reduce_{k}" for k in ("sum", "prod", "max", "min", "and", "or", "xor")]
_CUMULATIVE = ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"]
for _name in _REDUCTIONS:
    globals()[_name] = _reduction(_name[7:])
_POSITIONS = ["argmax", "argmin"]
for _name in _POSITIONS:
    globals()[_name] = _extremum_position(_name)
for _name in _CUMULATIVE:
    globals()[_name] = _cumulative(_name)


def approx_max_k(operand, k: int, reduction_dimension: int = -1, recall_target: float = 0.95,
                 reduction_input_size_override: int = -1, aggregate_to_topk: bool = True):
    """The k largest elements along an axis and their places: exact here, so every recall is reached.

    The options after ``reduction_dimension`` are those of accelerators and change nothing.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.approx_max_k(np.array([1.0, 5.0, 3.0]), 2)
    (array([5., 3.]), array([1, 2]))
    """
    return _approximate("approx_max_k", operand, k, reduction_dimension, recall_target)


def approx_min_k(operand, k: int, reduction_dimension: int = -1, recall_target: float = 0.95,
                 reduction_input_size_override: int = -1, aggregate_to_topk: bool = True):
    """The k smallest elements along an axis and their places; see ``approx_max_k``."""
    values, places = _approximate("approx_min_k", ops._run("neg", _operand(operand)), k, reduction_dimension,
                                  recall_target)
    return ops._run("neg", values), places


def _approximate(name, operand, k, dimension, recall):
    a = aval_of(_operand(operand))
    if a.dtype.kind != "f":
        raise errors.DtypeError(f"lax.{name} of {a}: floats are needed.", "Use lax.top_k, or lax.sort.")
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"lax.{name}: recall_target={recall} is not in (0, 1]")
    return tuple(top_k(operand, k, axis=dimension))


__all__ = ["approx_max_k", "approx_min_k", "reduce", *_REDUCTIONS, *_POSITIONS, *_CUMULATIVE]
