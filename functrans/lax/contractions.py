"""Products of ``jax.lax``: dot, dot_general, and those of groups of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import convert
from ..trace.core import aval_of
from .ops import _ints, _operand
from .options import check_precision, no_dtype_loss, one_device


def _typed(name, lhs, rhs, preferred):
    """Operands in the dtype to compute in, and that of the result."""
    lhs, rhs = _operand(lhs), _operand(rhs)
    given = np.result_type(aval_of(lhs).dtype, aval_of(rhs).dtype)
    if preferred is None:
        return lhs, rhs, given
    wanted = np.dtype(preferred)
    no_dtype_loss(name, given, wanted)
    wide = np.result_type(given, wanted)
    return convert(lhs, wide), convert(rhs, wide), wanted


def dot_general(lhs, rhs, dimension_numbers, precision=None, preferred_element_type=None, *,
                out_sharding=None):
    """A general contraction; the result has batch axes, lhs's free axes, rhs's free axes.

    Args:
        lhs, rhs: arrays of one dtype (of two, where ``preferred_element_type`` is given).
        dimension_numbers: ``((lhs contracted, rhs contracted), (lhs batch, rhs batch))``.
        precision: accepted as in JAX; products are always exact to the dtype.
        preferred_element_type: dtype of the result; products are summed in it, or in the operands' if
            that is wider.
        out_sharding: None.

    Raises:
        ShapeError, ValueError: axes do not match; TypeError: dtypes do not.

    >>> import numpy as np
    >>> from functrans import lax
    >>> a = np.full((2, 200), 100, np.int8)
    >>> lax.dot_general(a, a, (((1,), (1,)), ((), ())), preferred_element_type=np.int32)
    array([[2000000, 2000000],
           [2000000, 2000000]], dtype=int32)
    """
    check_precision("dot_general", precision)
    one_device("dot_general", out_sharding=out_sharding)
    lhs, rhs, dtype = _typed("dot_general", lhs, rhs, preferred_element_type)
    contract, batch = dimension_numbers
    out = OPS["dot_general"](lhs, rhs, contract=tuple([_ints(c) for c in contract]),
                             batch=tuple([_ints(b) for b in batch]))
    return out if aval_of(out).dtype == dtype else convert(out, dtype)


def dot(lhs, rhs, *, dimension_numbers=None, precision=None, preferred_element_type=None,
        out_sharding=None):
    """Vectors and matrices multiplied; with ``dimension_numbers`` it is ``dot_general``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    if dimension_numbers is None:
        lhs, rhs = _operand(lhs), _operand(rhs)
        a, b = aval_of(lhs), aval_of(rhs)
        if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2):
            raise errors.ShapeError(f"lax.dot: operands must have one or two axes, got {a} and {b}.",
                                    "Give dimension_numbers, or use functrans.numpy.matmul.")
        dimension_numbers = (((a.ndim - 1,), (0,)), ((), ()))
    return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type,
                       out_sharding=out_sharding)


def batch_matmul(lhs, rhs, precision=None):
    """Matrix products over equal leading axes: ``[..., n, m]`` and ``[..., m, k]``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.batch_matmul(np.ones((5, 2, 3)), np.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    lhs, rhs = _operand(lhs), _operand(rhs)
    a, b = aval_of(lhs), aval_of(rhs)
    if a.ndim < 2 or b.ndim != a.ndim:
        raise errors.ShapeError(f"lax.batch_matmul: operands must have equally many axes, at least two; got "
                                f"{a} and {b}.", "Use functrans.numpy.matmul to broadcast.")
    lead = tuple(range(a.ndim - 2))
    return dot_general(lhs, rhs, (((a.ndim - 1,), (a.ndim - 2,)), (lead, lead)), precision)


# ----- groups of rows -----------------------------------------------------------------------------


def ragged_dot(lhs, rhs, group_sizes, precision=None, preferred_element_type=None, group_offset=None,
               out_sharding=None):
    """Rows of lhs in consecutive groups, each multiplied with its own matrix.

    Args:
        lhs: ``[m, k]``, its rows ordered by group.
        rhs: ``[groups, k, n]``.
        group_sizes: integers ``[groups]``, how many rows each group has; rows behind the last group
            give zeros.
        precision, preferred_element_type: as of ``dot_general``.
        group_offset, out_sharding: None.

    Returns:
        ``[m, n]``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> rows, matrices = np.ones((3, 1)), np.array([[[10.0]], [[20.0]]])
    >>> lax.ragged_dot(rows, matrices, np.array([2, 1])).ravel()
    array([10., 10., 20.])
    """
    if aval_of(lhs).ndim != 2 or aval_of(rhs).ndim != 3:
        raise errors.ShapeError(f"lax.ragged_dot: lhs must be [m, k] and rhs [groups, k, n], got "
                                f"{aval_of(lhs)} and {aval_of(rhs)}.", "Use lax.ragged_dot_general, or vmap.")
    numbers = ((((1,), (1,)), ((), ())), (0,), (0,))
    return _ragged("ragged_dot", lhs, rhs, group_sizes, numbers, precision, preferred_element_type,
                   group_offset, out_sharding)


def ragged_dot_general(lhs, rhs, group_sizes, ragged_dot_dimension_numbers, precision=None,
                       preferred_element_type=None, group_offset=None, out_sharding=None):
    """``dot_general`` where one axis of lhs is cut into groups; see ``RaggedDotDimensionNumbers``.

    What the ragged axis is decides: a free one picks the group's own part of rhs for each row (as
    ``ragged_dot``); a contracted one gives a result per group, on a new first axis; a batch axis
    changes nothing.

    Args:
        group_sizes: ``[groups]``, or the same for each entry of the batch axes before.
        others: as of ``ragged_dot``.
    """
    r = ragged_dot_dimension_numbers
    return _ragged("ragged_dot_general", lhs, rhs, group_sizes, (
        r.dot_dimension_numbers, r.lhs_ragged_dimensions, r.rhs_group_dimensions), precision,
        preferred_element_type, group_offset, out_sharding)


def _ragged(name, lhs, rhs, sizes, numbers, precision, preferred, offset, sharding):
    check_precision(name, precision)
    one_device(name, out_sharding=sharding, group_offset=offset)
    ((contract, batch), ragged, group) = numbers
    (lc, rc), (lb, rb) = (tuple(map(_ints, pair)) for pair in (contract, batch))
    sizes = _operand(sizes)
    if len(ragged) != 1 or aval_of(sizes).dtype.kind not in "iu" or not aval_of(sizes).ndim:
        raise errors.ShapeError(f"lax.{name}: one ragged axis of lhs and integer group_sizes [groups] are "
                                f"needed, got axes {tuple(ragged)} and {aval_of(sizes)}.")
    (axis,), shape = ragged, aval_of(lhs).shape
    if axis in lb:
        if group:
            raise errors.ShapeError(f"lax.{name}: rhs has a group axis, but the ragged axis is a batch axis.",
                                    "Give no rhs_group_dimensions.")
        return dot_general(lhs, rhs, (contract, batch), precision, preferred)
    if aval_of(sizes).ndim != 1 and aval_of(sizes).ndim != 1 + len(lb):
        raise errors.ShapeError(f"lax.{name}: group_sizes must be [groups] or [*batch, groups], got "
                                f"{aval_of(sizes)}.")
    member = _members(sizes, shape[axis])                       # [*batch, groups, m]
    places = [*(lb if aval_of(sizes).ndim > 1 else ()), axis]
    at = np.argsort(places, kind="stable")                      # their order along lhs
    member = np.moveaxis(member, -2, 0)
    member = np.transpose(member, (0, *[1 + int(i) for i in at]))
    spread = [1 if i not in places else n for i, n in enumerate(shape)]
    mask = np.reshape(member, (aval_of(member).shape[0], *spread))
    zero = np.zeros((), aval_of(lhs).dtype)[()]
    masked = np.where(mask, np.expand_dims(lhs, 0), zero)       # [groups, *lhs]
    up = tuple([tuple([a + 1 for a in axes]) for axes in (lc, lb)])
    if axis in lc:                                              # a result for each group
        if group:
            raise errors.ShapeError(f"lax.{name}: rhs has a group axis, but the ragged axis is contracted.",
                                    "Give no rhs_group_dimensions.")
        out = dot_general(masked, rhs, ((up[0], rc), (up[1], rb)), precision, preferred)
        return np.moveaxis(out, len(lb), 0)
    if len(group) != 1 or aval_of(rhs).shape[group[0]] != aval_of(sizes).shape[-1]:
        raise errors.ShapeError(f"lax.{name}: rhs must have one axis with an entry per group, got axes "
                                f"{tuple(group)} of {aval_of(rhs)} for group_sizes {aval_of(sizes)}.")
    return dot_general(masked, rhs, (((0, *up[0]), (group[0], *rc)), (up[1], rb)), precision, preferred)


def _members(sizes, n):
    """Which of n rows belong to each group: bool [..., groups, n]."""
    ends = np.expand_dims(np.cumsum(sizes, axis=-1), -1)
    rows = np.arange(n)
    return np.logical_and(rows >= ends - np.expand_dims(sizes, -1), rows < ends)


def scaled_dot(lhs, rhs, *, lhs_scale=None, rhs_scale=None, dimension_numbers=None,
               preferred_element_type=None):
    """A product of operands that have scales for blocks of their elements.

    A scale has the operand's axes; the extent of a contracted one divides the operand's, and each scale
    then holds for a block of consecutive elements.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.scaled_dot(np.ones((1, 4)), np.ones((4, 1)), lhs_scale=np.array([[1.0, 10.0]]))
    array([[22.]])
    """
    if dimension_numbers is None:
        ndim = aval_of(lhs).ndim
        if ndim not in (2, 3):
            raise errors.ShapeError(f"lax.scaled_dot of {aval_of(lhs)} without dimension_numbers.",
                                    "Give dimension_numbers for other than two or three axes.")
        lead = tuple(range(ndim - 2))
        dimension_numbers = (((ndim - 1,), (ndim - 2,)), (lead, lead))
    operands = []
    for x, scale in ((lhs, lhs_scale), (rhs, rhs_scale)):
        x = _operand(x)
        dtype = aval_of(x).dtype if preferred_element_type is None else np.dtype(preferred_element_type)
        operands.append(convert(x, dtype) if scale is None else _scaled(x, _operand(scale), dtype))
    return dot_general(*operands, dimension_numbers, None, preferred_element_type)


def _scaled(x, scale, dtype):
    shape, blocks = aval_of(x).shape, aval_of(scale).shape
    if len(shape) != len(blocks) or any(not b or n % b for n, b in zip(shape, blocks, strict=True)):
        raise errors.ShapeError(f"lax.scaled_dot: the scale {aval_of(scale)} does not divide {aval_of(x)}.")
    for axis, (n, b) in enumerate(zip(shape, blocks, strict=True)):
        scale = np.repeat(scale, n // b, axis) if n != b else scale
    return convert(x, dtype) * convert(scale, dtype)


__all__: list[Any] = ["batch_matmul", "dot", "dot_general", "ragged_dot", "ragged_dot_general", "scaled_dot"]
