"""Convolutions and sliding windows of ``jax.lax``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import errors, tree
from ..ir.op import OPS
from ..numpy.core import asvalue, convert
from ..ops.conv import dilated
from ..trace.core import aval_of
from . import ops
from .options import check_precision, one_device
from .reductions import fold, known_monoid, starts

__all__ = ["ConvDimensionNumbers", "conv", "conv_dimension_numbers", "conv_general_dilated",
           "conv_transpose", "conv_with_general_padding", "padtype_to_pads", "reduce_window"]


class ConvDimensionNumbers(NamedTuple):
    """Where the axes of a convolution are: ``lhs_spec`` has the positions of batch, channels and space in
    the image, ``rhs_spec`` those of output channels, input channels and space in the filter, ``out_spec``
    those of batch, channels and space in the result."""

    lhs_spec: Sequence[int]
    rhs_spec: Sequence[int]
    out_spec: Sequence[int]


def conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers) -> ConvDimensionNumbers:
    """The axes that ``dimension_numbers`` stands for.

    It is None (``NCHW``, ``OIHW``, ``NCHW`` for any number of spatial axes), three strings, or already a
    ``ConvDimensionNumbers``. In the strings ``N`` is the batch, ``C`` the channels, ``O`` and ``I`` the
    filter's output and input channels, and all other letters are spatial axes, ordered as in the filter.

    Examples:
        >>> from functrans import lax
        >>> lax.conv_dimension_numbers((1, 8, 8, 3), (5, 5, 3, 6), ("NHWC", "HWIO", "NHWC")).lhs_spec
        (0, 3, 1, 2)
    """
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    ndim = len(lhs_shape)
    if len(rhs_shape) != ndim or ndim < 2:
        raise errors.ShapeError(f"a convolution of shapes {tuple(lhs_shape)} and {tuple(rhs_shape)}.",
                                "Image and filter have one number of axes, at least 2.")
    if dimension_numbers is None:
        axes = tuple(range(ndim))
        return ConvDimensionNumbers(axes, axes, axes)
    specs = tuple(dimension_numbers)
    kinds = ("NC", "OI", "NC")
    if len(specs) != 3 or not all(isinstance(s, str) and len(set(s)) == len(s) == ndim and set(k) <= set(s)
                                  for s, k in zip(specs, kinds, strict=True)):
        raise errors.ShapeError(
            f"dimension_numbers={dimension_numbers!r} for arrays of {ndim} axes.",
            "Give three strings of distinct letters, one per axis, such as ('NHWC', 'HWIO', 'NHWC').")
    space = [c for c in specs[1] if c not in "OI"]
    if any(set(s) - set("NC") != set(space) for s in (specs[0], specs[2])):
        raise errors.ShapeError(f"dimension_numbers={dimension_numbers!r} name different spatial axes.",
                                "Use the same letters in all three strings.")
    return ConvDimensionNumbers(*[tuple([s.index(c) for c in (*k, *space)])
                                  for s, k in zip(specs, kinds, strict=True)])


def padtype_to_pads(in_shape, window_shape, window_strides, padding: str) -> list[tuple[int, int]]:
    """The padding of each axis that ``"SAME"``, ``"SAME_LOWER"`` or ``"VALID"`` stands for.

    ``SAME`` gives as many positions as the extent divided by the stride, rounded up; an odd element of
    padding goes behind (``SAME_LOWER``: before).

    Examples:
        >>> from functrans import lax
        >>> lax.padtype_to_pads((5,), (4,), (1,), "SAME")
        [(1, 2)]
    """
    kind = padding.upper() if isinstance(padding, str) else padding
    if kind == "VALID":
        return [(0, 0)] * len(in_shape)
    if kind not in ("SAME", "SAME_LOWER"):
        raise errors.ShapeError(f"padding={padding!r}.",
                                "Use 'SAME', 'SAME_LOWER', 'VALID', or a (low, high) pair per axis.")
    totals = [max(0, (-(-n // s) - 1) * s + k - n)
              for n, k, s in zip(in_shape, window_shape, window_strides, strict=True)]
    return [(t // 2, t - t // 2) if kind == "SAME" else (t - t // 2, t // 2) for t in totals]


def _inverse(perm):
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def _pairs(padding, axes: int, what: str) -> tuple[tuple[int, int], ...]:
    try:
        pairs = tuple([(int(a), int(b)) for a, b in padding])
    except (TypeError, ValueError):
        pairs = None
    if pairs is None or len(pairs) != axes:
        raise errors.ShapeError(f"{what}: padding={padding!r} for {axes} axes.",
                                "Give a (low, high) pair per axis, or 'SAME' or 'VALID'.")
    return pairs


def _per_axis(values, axes: int) -> tuple[int, ...]:
    return (1,) * axes if values is None else tuple([int(v) for v in values])


def conv_general_dilated(lhs, rhs, window_strides: Sequence[int], padding,
                         lhs_dilation: Sequence[int] | None = None,
                         rhs_dilation: Sequence[int] | None = None, dimension_numbers: Any = None,
                         feature_group_count: int = 1, batch_group_count: int = 1, precision=None,
                         preferred_element_type=None, out_sharding=None):
    """A convolution (in the sense of neural networks: the filter is not reversed).

    Args:
        lhs: the image, with axes for batch and channels, and 0 to 3 spatial ones.
        rhs: the filter, with axes for output channels and input channels, and the same spatial ones.
        window_strides: how far the filter moves, per spatial axis.
        padding: ``"SAME"``, ``"SAME_LOWER"``, ``"VALID"``, or a (low, high) pair per spatial axis;
            negative padding cuts off.
        lhs_dilation: how far apart the image's elements are put, with zeros between.
        rhs_dilation: how far apart the filter's elements are put.
        dimension_numbers: which axis is which; see ``conv_dimension_numbers``.
        feature_group_count: the channels are cut into so many groups, each with its own filters.
        batch_group_count: the batch is cut into so many groups, each with its own filters.
        precision: accepted as in JAX; products are always exact to the dtype.
        preferred_element_type: dtype to compute in and to return.
        out_sharding: None.

    Returns:
        An array in the layout that ``dimension_numbers`` says, of the operands' dtype.

    Raises:
        ShapeError, ValueError: extents, groups or padding do not fit.
        TypeError: the operands differ in dtype.

    Examples:
        >>> import numpy as np
        >>> from functrans import lax
        >>> image, edge = np.arange(6.0).reshape(1, 1, 6) ** 2, np.array([[[-1.0, 1.0]]])
        >>> lax.conv_general_dilated(image, edge, (1,), "VALID")
        array([[[1., 3., 5., 7., 9.]]])
    """
    check_precision("conv_general_dilated", precision)
    one_device("conv_general_dilated", out_sharding=out_sharding)
    lhs, rhs = asvalue(lhs), asvalue(rhs)
    if preferred_element_type is not None:
        lhs, rhs = convert(lhs, preferred_element_type), convert(rhs, preferred_element_type)
    numbers = conv_dimension_numbers(aval_of(lhs).shape, aval_of(rhs).shape, dimension_numbers)
    x, w = (OPS["transpose"](v, perm=tuple(spec)) for v, spec in
            ((lhs, numbers.lhs_spec), (rhs, numbers.rhs_spec)))
    space = aval_of(x).ndim - 2
    strides, base = _per_axis(window_strides, space), _per_axis(lhs_dilation, space)
    dilation = _per_axis(rhs_dilation, space)
    if isinstance(padding, str):
        padding = padtype_to_pads(
            [dilated(n, d) for n, d in zip(aval_of(x).shape[2:], base, strict=False)],
            [dilated(n, d) for n, d in zip(aval_of(w).shape[2:], dilation, strict=False)], strides, padding)
    out = OPS["conv_general_dilated"](
        x, w, window_strides=strides, padding=_pairs(padding, space, "conv_general_dilated"),
        lhs_dilation=base, rhs_dilation=dilation, feature_groups=int(feature_group_count),
        batch_groups=int(batch_group_count))
    return OPS["transpose"](out, perm=_inverse(numbers.out_spec))


def conv(lhs, rhs, window_strides: Sequence[int], padding, precision=None, preferred_element_type=None):
    """``conv_general_dilated`` without dilation, in the layout NCHW, OIHW.

    Examples:
        >>> import numpy as np
        >>> from functrans import lax
        >>> lax.conv(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), (1, 1), "SAME")[0, 0]
        array([[4., 4., 2.],
               [4., 4., 2.],
               [2., 2., 1.]])
    """
    return conv_general_dilated(lhs, rhs, window_strides, padding, precision=precision,
                                preferred_element_type=preferred_element_type)


def conv_with_general_padding(lhs, rhs, window_strides: Sequence[int], padding, lhs_dilation=None,
                              rhs_dilation=None, precision=None, preferred_element_type=None):
    """``conv_general_dilated`` in the layout NCHW, OIHW.

    Examples:
        >>> import numpy as np
        >>> from functrans import lax
        >>> lax.conv_with_general_padding(np.ones((1, 1, 2)), np.ones((1, 1, 2)), (1,), [(1, 0)])
        array([[[1., 2.]]])
    """
    return conv_general_dilated(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation,
                                precision=precision, preferred_element_type=preferred_element_type)


def transposed_pads(k: int, s: int, padding: str) -> tuple[int, int]:
    """The padding of the spread image, for a filter of reach k and stride s."""
    kind = padding.upper()
    if kind not in ("SAME", "VALID"):
        raise errors.ShapeError(f"conv_transpose: padding={padding!r}.", "Use 'SAME', 'VALID' or pairs.")
    total = k + s - 2 + (0 if kind == "SAME" else max(k - s, 0))
    low = k - 1 if kind == "VALID" or s > k - 1 else -(-total // 2)
    return low, total - low


def conv_transpose(lhs, rhs, strides: Sequence[int], padding, rhs_dilation: Sequence[int] | None = None,
                   dimension_numbers: Any = None, transpose_kernel: bool = False, precision=None,
                   preferred_element_type=None, use_consistent_padding: bool = False):
    """A transposed convolution: ``strides`` put the image's elements apart.

    Args:
        lhs, rhs, strides, rhs_dilation: as in ``conv_general_dilated``.
        padding: ``"SAME"`` gives extents times strides, ``"VALID"`` all positions where image and filter
            meet; else (low, high) pairs, of the image's padding, or with ``use_consistent_padding`` of the
            convolution that this is the transpose of.
        dimension_numbers: by default NHWC, HWIO, NHWC (for three axes NWC and so on).
        transpose_kernel: reverses the filter and exchanges its channels, which makes it the transpose of
            ``conv_general_dilated`` with the same filter.

    Examples:
        >>> import numpy as np
        >>> from functrans import lax
        >>> lax.conv_transpose(np.array([[[1.0], [2.0]]]), np.ones((2, 1, 1)), (2,), "VALID")[0, :, 0]
        array([1., 1., 2., 2.])
    """
    lhs, rhs = asvalue(lhs), asvalue(rhs)
    ndim = aval_of(lhs).ndim
    if dimension_numbers is None:
        if not 3 <= ndim <= 5:
            raise errors.ShapeError(f"conv_transpose without dimension_numbers of {aval_of(lhs)}.",
                                    "Give dimension_numbers for other than 1 to 3 spatial axes.")
        space = "DHW"[5 - ndim:]
        dimension_numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    numbers = conv_dimension_numbers(aval_of(lhs).shape, aval_of(rhs).shape, dimension_numbers)
    taps = [aval_of(rhs).shape[i] for i in numbers.rhs_spec[2:]]
    dilation, strides = _per_axis(rhs_dilation, ndim - 2), _per_axis(strides, ndim - 2)
    reach = [dilated(k, d) for k, d in zip(taps, dilation, strict=True)]
    if isinstance(padding, str):
        pads = [transposed_pads(k, s, padding) for k, s in zip(reach, strides, strict=True)]
    else:
        pads = list(_pairs(padding, ndim - 2, "conv_transpose"))
        if use_consistent_padding:
            pads = [(k - 1 - a, k - 1 - b) for k, (a, b) in zip(reach, pads, strict=True)]
    if transpose_kernel:
        rhs = OPS["rev"](rhs, axes=tuple(numbers.rhs_spec[2:]))
        out, into = numbers.rhs_spec[:2]
        rhs = OPS["transpose"](rhs, perm=tuple([{out: into, into: out}.get(i, i) for i in range(ndim)]))
    return conv_general_dilated(lhs, rhs, (1,) * (ndim - 2), pads, strides, dilation, numbers,
                                precision=precision, preferred_element_type=preferred_element_type)


# ----- windows ------------------------------------------------------------------------------------


_lax: Any = ops
_KINDS = {"add": "sum", "max": "max", "min": "min"}


def reduce_window(operand: Any, init_value: Any, computation, window_dimensions: Sequence[int],
                  window_strides: Sequence[int] | None = None, padding: Any = "VALID",
                  base_dilation: Sequence[int] | None = None,
                  window_dilation: Sequence[int] | None = None):
    """Combines the elements of each position of a sliding window.

    The derivative of an extremum goes to the first element of the window that has it.

    Args:
        operand: an array, or a pytree of arrays of one shape, which are joined together.
        init_value: a scalar (for each operand) that every window starts with; it also stands for the
            padding.
        computation: ``lax.add``, ``lax.max``, ``lax.min`` (or NumPy's ufuncs), or any associative function
            ``(values, values) -> values``, as in ``lax.reduce``; these take memory for each element of each
            window.
        window_dimensions: the extent of the window, per axis of the operand.
        window_strides: how far it moves; 1 by default.
        padding: ``"SAME"``, ``"VALID"``, or a (low, high) pair per axis.
        base_dilation: how far apart the operand's elements are put.
        window_dilation: how far apart the window's elements are.

    Returns:
        Arrays of the operands' dtypes, one element per position.

    Raises:
        ShapeError, ValueError: an argument does not have an entry per axis, or is not positive.
        DtypeError: the computation returns something else than it gets.

    Examples:
        >>> import numpy as np
        >>> from functrans import grad, lax
        >>> x = np.array([1.0, 3.0, 2.0, 5.0])
        >>> lax.reduce_window(x, -np.inf, lax.max, (2,), (2,))
        array([3., 5.])
        >>> grad(lambda x: np.sum(lax.reduce_window(x, -np.inf, lax.max, (2,), (2,))))(x)
        array([0., 1., 0., 1.])
        >>> lax.reduce_window(x, 0.0, lambda a, b: np.hypot(a, b), (2,))
        array([3.16227766, 3.60555128, 5.38516481])
    """
    leaves, treedef = tree.flatten(operand)
    leaves = [asvalue(x) for x in leaves]
    if not leaves or any(aval_of(x).shape != aval_of(leaves[0]).shape for x in leaves):
        raise errors.ShapeError("lax.reduce_window: operands must be arrays of one shape, got "
                                f"{', '.join([str(aval_of(x)) for x in leaves]) or 'nothing'}.")
    inits = starts("reduce_window", leaves, treedef, init_value)
    a = aval_of(leaves[0])
    window = tuple([int(n) for n in window_dimensions])
    strides, base = _per_axis(window_strides, a.ndim), _per_axis(base_dilation, a.ndim)
    dilation = _per_axis(window_dilation, a.ndim)
    if isinstance(padding, str):
        padding = padtype_to_pads([dilated(n, d) for n, d in zip(a.shape, base, strict=False)],
                                  [dilated(n, d) for n, d in zip(window, dilation, strict=False)], strides,
                                  padding)
    pads = _pairs(padding, a.ndim, "reduce_window")
    name = known_monoid(computation)
    if name in _KINDS and len(leaves) == 1:
        out = OPS[f"reduce_window_{_KINDS[name]}"](leaves[0], window=window, strides=strides, padding=pads,
                                                   base_dilation=base, window_dilation=dilation)
        return treedef.unflatten([getattr(_lax, name)(out, inits[0])])
    rows = [window_parts("reduce_window", x, start, window, strides, pads, base, dilation)
            for x, start in zip(leaves, inits, strict=True)]
    return treedef.unflatten(fold(rows, inits, treedef, computation, "reduce_window"))


def window_parts(name, x, fill, window, strides, pads, base, dilation):
    """The elements of every window side by side: ``[elements of the window, *positions]``."""
    shape = aval_of(x).shape
    if not len(shape) == len(window) == len(strides) == len(pads) == len(base) == len(dilation):
        raise errors.ShapeError(f"lax.{name}: window {window}, strides {strides}, padding {pads}, dilations "
                                f"{base} and {dilation} for {aval_of(x)}.", "Give an entry per axis.")
    if min((*window, *strides, *base, *dilation), default=1) < 1:
        raise ValueError(f"lax.{name}: window {window}, strides {strides} and dilations {base}, {dilation} "
                         "must be positive")
    low, high = zip(*pads, strict=True) if pads else ((), ())
    if any(pads[i] != (0, 0) or base[i] != 1 for i in range(len(shape))):
        x = OPS["pad"](x, fill, low=low, high=high, interior=tuple([b - 1 for b in base]))
    counts = tuple([max(0, (n - dilated(k, d)) // s + 1) for n, k, d, s in
                    zip(aval_of(x).shape, window, dilation, strides, strict=True)])
    if math.prod(counts) == 0:
        return np.zeros((math.prod(window), *counts), aval_of(x).dtype)
    parts = [OPS["slice"](x, start=tuple([k * d for k, d in zip(at, dilation, strict=True)]),
                          limit=tuple([k * d + (m - 1) * s + 1 for k, d, m, s in
                                       zip(at, dilation, counts, strides, strict=True)]), stride=strides)
             for at in itertools.product(*map(range, window))]
    return OPS["concatenate"](*[OPS["reshape"](p, shape=(1, *counts)) for p in parts], axis=0)
