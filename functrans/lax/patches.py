"""Convolutions by their patches, and the shapes that convolutions and windows give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import asvalue, convert
from ..ops.conv import dilated
from ..trace.core import aval_of
from .options import check_precision
from .windows import (
    ConvDimensionNumbers,
    _inverse,
    _pairs,
    _per_axis,
    conv_dimension_numbers,
    padtype_to_pads,
    transposed_pads,
    window_parts,
)

ConvGeneralDilatedDimensionNumbers = ConvDimensionNumbers | tuple[str, str, str] | None


def _patches(name, lhs, filter_shape, strides, padding, lhs_dilation, rhs_dilation, numbers):
    """``[N, C * window, *positions]``."""
    x = OPS["transpose"](lhs, perm=tuple(numbers.lhs_spec))
    n, c, *space = aval_of(x).shape
    window = tuple([int(k) for k in filter_shape])
    strides, base = _per_axis(strides, len(space)), _per_axis(lhs_dilation, len(space))
    dilation = _per_axis(rhs_dilation, len(space))
    if len(window) != len(space):
        raise errors.ShapeError(f"lax.{name}: filter_shape={window} for {len(space)} spatial axes.",
                                "Give an extent per spatial axis.")
    if isinstance(padding, str):
        padding = padtype_to_pads([dilated(k, d) for k, d in zip(space, base, strict=False)],
                                  [dilated(k, d) for k, d in zip(window, dilation, strict=False)], strides,
                                  padding)
    pads = _pairs(padding, len(space), name)
    parts = window_parts(name, x, np.zeros((), aval_of(x).dtype)[()], (1, 1, *window), (1, 1, *strides),
                         ((0, 0), (0, 0), *pads), (1, 1, *base), (1, 1, *dilation))
    taps, positions = math.prod(window), aval_of(parts).shape[3:]
    parts = OPS["transpose"](parts, perm=(1, 2, 0, *range(3, 3 + len(space))))
    return OPS["reshape"](parts, shape=(n, c * taps, *positions))


def _numbers(lhs, dimension_numbers):
    shape = aval_of(lhs).shape
    return conv_dimension_numbers(shape, shape, dimension_numbers)


def conv_general_dilated_patches(lhs, filter_shape: Sequence[int], window_strides: Sequence[int], padding,
                                 lhs_dilation: Sequence[int] | None = None,
                                 rhs_dilation: Sequence[int] | None = None, dimension_numbers: Any = None,
                                 precision=None, preferred_element_type=None):
    """What a filter sees at each of its positions, as channels.

    Args:
        lhs: the image, with axes for batch and channels, and spatial ones.
        filter_shape: the extent of the filter, per spatial axis.
        others: as of ``conv_general_dilated``.

    Returns:
        An array in the layout that ``dimension_numbers`` says; its channels are the image's, and for each
        the elements of the window, its last axis varying fastest.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.conv_general_dilated_patches(np.arange(4.0).reshape(1, 1, 4), (2,), (1,), "VALID")
    array([[[0., 1., 2.],
            [1., 2., 3.]]])
    """
    check_precision("conv_general_dilated_patches", precision)
    lhs = asvalue(lhs)
    numbers = _numbers(lhs, dimension_numbers)
    out = _patches("conv_general_dilated_patches", lhs, filter_shape, window_strides, padding, lhs_dilation,
                   rhs_dilation, numbers)
    out = OPS["transpose"](out, perm=_inverse(numbers.out_spec))
    return out if preferred_element_type is None else convert(out, preferred_element_type)


def conv_general_dilated_local(lhs, rhs, window_strides: Sequence[int], padding, filter_shape: Sequence[int],
                               lhs_dilation: Sequence[int] | None = None,
                               rhs_dilation: Sequence[int] | None = None, dimension_numbers: Any = None,
                               precision=None):
    """A convolution whose filter is another one at each position.

    Args:
        lhs: the image, with axes for batch and channels, and spatial ones.
        rhs: the filters, with axes for output channels, for what the filter sees (the image's channels,
            and for each the window's elements), and spatial ones: the positions.
        filter_shape: the extent of the filter, per spatial axis.
        others: as of ``conv_general_dilated``.

    >>> import numpy as np
    >>> from functrans import lax
    >>> image, filters = np.arange(4.0).reshape(1, 1, 4), np.ones((1, 2, 3))
    >>> lax.conv_general_dilated_local(image, filters, (1,), "VALID", (2,))
    array([[[1., 3., 5.]]])
    """
    check_precision("conv_general_dilated_local", precision)
    lhs, rhs = asvalue(lhs), asvalue(rhs)
    numbers = _numbers(lhs, dimension_numbers)
    x = _patches("conv_general_dilated_local", lhs, filter_shape, window_strides, padding, lhs_dilation,
                 rhs_dilation, numbers)
    w = OPS["transpose"](rhs, perm=tuple(numbers.rhs_spec))
    if aval_of(x).shape[1:] != aval_of(w).shape[1:]:
        raise errors.ShapeError(
            f"lax.conv_general_dilated_local: filters {aval_of(rhs)} for patches of {aval_of(x).shape[1]} "
            f"elements at {aval_of(x).shape[2:]} positions.",
            "The filters need those extents, beside the output channels.")
    space = tuple(range(2, aval_of(x).ndim))
    out = OPS["dot_general"](x, w, contract=((1,), (1,)), batch=(space, space))      # [*positions, n, o]
    out = OPS["transpose"](out, perm=(len(space), len(space) + 1, *range(len(space))))
    return OPS["transpose"](out, perm=_inverse(numbers.out_spec))


# ----- shapes -------------------------------------------------------------------------------------


def conv_general_permutations(dimension_numbers) -> tuple:
    """The axes of image, filter and result, in the order that convolutions have inside.

    >>> from functrans import lax
    >>> lax.conv_general_permutations(("NHWC", "HWIO", "NHWC"))
    ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    """
    shape = (1,) * len(dimension_numbers[0])
    return tuple(conv_dimension_numbers(shape, shape, tuple(dimension_numbers)))


def _positions(extents, windows, strides):
    return tuple([max(0, (n - k) // s + 1) for n, k, s in zip(extents, windows, strides, strict=True)])


def conv_shape_tuple(lhs_shape, rhs_shape, strides, pads, batch_group_count: int = 1) -> tuple:
    """The shape of a convolution in the layout NCHW, OIHW.

    >>> from functrans import lax
    >>> lax.conv_shape_tuple((2, 3, 8, 8), (4, 3, 3, 3), (2, 2), "SAME")
    (2, 4, 4, 4)
    """
    space, window = lhs_shape[2:], rhs_shape[2:]
    if isinstance(pads, str):
        pads = padtype_to_pads(space, window, strides, pads)
    pads = _pairs(pads, len(space), "conv_shape_tuple")
    if lhs_shape[0] % batch_group_count:
        raise errors.ShapeError(f"conv_shape_tuple: a batch of {lhs_shape[0]} in {batch_group_count} groups.")
    wide = [n + a + b for n, (a, b) in zip(space, pads, strict=True)]
    return (lhs_shape[0] // batch_group_count, rhs_shape[0], *_positions(wide, window, strides))


def conv_general_shape_tuple(lhs_shape, rhs_shape, window_strides, padding, dimension_numbers) -> tuple:
    """The shape of a convolution in any layout."""
    lhs, rhs, out = conv_general_permutations(dimension_numbers)
    image, window = [lhs_shape[i] for i in lhs], [rhs_shape[i] for i in rhs]
    shape = conv_shape_tuple(image, window, window_strides, padding)
    return tuple([shape[i] for i in _inverse(out)])


def conv_transpose_shape_tuple(lhs_shape, rhs_shape, window_strides, padding, dimension_numbers) -> tuple:
    """The shape of a transposed convolution in any layout.

    >>> from functrans import lax
    >>> lax.conv_transpose_shape_tuple((1, 4, 1), (2, 1, 1), (2,), "SAME", ("NHC", "HIO", "NHC"))
    (1, 8, 1)
    """
    lhs, rhs, out = conv_general_permutations(dimension_numbers)
    image, window = [lhs_shape[i] for i in lhs], [rhs_shape[i] for i in rhs]
    if isinstance(padding, str):
        padding = [transposed_pads(k, s, padding) for k, s in zip(window[2:], window_strides, strict=True)]
    space = [(n - 1) * s + 1 - k + 1 + sum(pair) for n, k, s, pair in
             zip(image[2:], window[2:], window_strides, padding, strict=True)]
    shape = (image[0], window[0], *space)
    return tuple([shape[i] for i in _inverse(out)])


def reduce_window_shape_tuple(operand_shape, window_dimensions, window_strides, padding, base_dilation=None,
                              window_dilation=None) -> tuple:
    """The shape of a ``reduce_window``.

    >>> from functrans import lax
    >>> lax.reduce_window_shape_tuple((8, 8), (2, 2), (2, 2), ((0, 0), (1, 1)))
    (4, 5)
    """
    ndim = len(operand_shape)
    wide = [dilated(n, b) + low + high for n, b, (low, high) in
            zip(operand_shape, _per_axis(base_dilation, ndim), padding, strict=True)]
    window = [dilated(k, d) for k, d in zip(window_dimensions, _per_axis(window_dilation, ndim), strict=True)]
    return _positions(wide, window, window_strides)


__all__ = ["ConvGeneralDilatedDimensionNumbers", "conv_general_dilated_local", "conv_general_dilated_patches",
           "conv_general_permutations", "conv_general_shape_tuple", "conv_shape_tuple",
           "conv_transpose_shape_tuple", "reduce_window_shape_tuple"]
