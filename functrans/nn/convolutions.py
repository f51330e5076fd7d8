"""Convolutions of neural networks, with the arguments of ``torch.nn.functional``, in either layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..lax.windows import padtype_to_pads
from ..ops.conv import dilated
from .core import OPS, api, aval_of, convert, errors, floats

Extents = int | Sequence[int]
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
# PyTorch calls the axis of a one-dimensional image L.
_ALSO = {"NCL": "NCW", "NLC": "NWC"}


def channels_last(name: str, layout: str | None, space: int) -> bool:
    """Which of the two layouts it is."""
    first, last = LAYOUTS[space]
    layout = _ALSO.get(layout, layout) if isinstance(layout, str) else layout
    if layout not in (None, first, last):
        raise errors.OptionError(f"nn.{name}: layout must be {first!r} or {last!r}, got {layout!r}")
    return layout == last


def extents(name: str, what: str, value: Any, space: int, least: int = 1) -> tuple[int, ...]:
    """A number for each spatial axis."""
    values = (value,) * space if hasattr(value, "__index__") else value
    try:
        values = tuple([v.__index__() for v in values])
    except (TypeError, AttributeError):
        values = ()
    if len(values) != space or min(values) < least:
        raise errors.OptionError(
            f"nn.{name}: {what} must be an integer or {space} of them, at least {least}; got "
            f"{value!r}")
    return values


def pads(name: str, padding: Any, sizes, reach, strides) -> tuple[tuple[int, int], ...]:
    """(low, high) for each spatial axis: of a name, a number, or a number or pair for each."""
    space = len(sizes)
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "SAME_LOWER", "VALID"):
            raise _padding_error(name, padding, space)
        return tuple(padtype_to_pads(sizes, reach, strides, padding))
    try:
        values = [padding] * space if hasattr(padding, "__index__") else list(padding)
        pairs = tuple([(p.__index__(),) * 2 if hasattr(p, "__index__") else tuple([v.__index__() for v in p])
                       for p in values])
    except (TypeError, AttributeError):
        pairs = ()
    if len(pairs) != space or any([len(p) != 2 for p in pairs]):
        raise _padding_error(name, padding, space)
    return pairs


def _padding_error(name, padding, space):
    return errors.OptionError(
        f"nn.{name}: padding is {padding!r}.",
        f"Give 'SAME', 'SAME_LOWER', 'VALID', a number, or a number or (low, high) pair for each of the "
        f"{space} spatial axes.")


def batched(name: str, x, space: int):
    """x with an axis of examples, and whether it had one."""
    a = aval_of(x)
    if a.ndim not in (space + 1, space + 2):
        raise errors.ShapeError(f"nn.{name}: x is {a}; it needs {space + 2} axes (examples, channels, "
                                f"{space} of space), or {space + 1} for one example.")
    return (x, True) if a.ndim == space + 2 else (OPS["reshape"](x, shape=(1, *a.shape)), False)


def axes_moved(x, last: bool):
    """``[n, c, *space]`` of an image in either layout."""
    ndim = aval_of(x).ndim
    return OPS["transpose"](x, perm=(0, ndim - 1, *range(1, ndim - 1))) if last else x


def moved_back(x, last: bool):
    ndim = aval_of(x).ndim
    return OPS["transpose"](x, perm=(0, *range(2, ndim), 1)) if last else x


def _operands(name, x, weight, bias, space, groups, last, transposed):
    """x as ``[n, in, *space]``, weight as ``[out, in / groups, *space]`` (transposed: ``[in, out / groups,
    *space]``), bias; all checked."""
    x, weight, bias = floats(name, x=x, weight=weight, bias=bias)
    x, had = batched(name, x, space)
    x = axes_moved(x, last)
    w = aval_of(weight)
    want = (["*space", "in", "out"] if last else ["in", "out", "*space"]) if transposed else (
        ["*space", "in", "out"] if last else ["out", "in", "*space"])
    spec = ", ".join(["in" if k == "in" and (transposed or groups == 1) else f"{k} / groups"
                      if k == ("out" if transposed else "in") and groups != 1 else k for k in want])
    given = w
    if w.ndim != space + 2:
        raise errors.ShapeError(f"nn.{name}: weight is {w}; [{spec}] is needed, which are {space + 2} axes.")
    if last:
        weight = OPS["transpose"](weight, perm=(
            *((space, space + 1) if transposed else (space + 1, space)), *range(space)))
    w, channels = aval_of(weight), aval_of(x).shape[1]
    into = w.shape[0] if transposed else w.shape[1] * groups
    if groups < 1 or channels % groups or into != channels or (not transposed and w.shape[0] % groups):
        raise errors.ShapeError(
            f"nn.{name}: x has {channels} channels, weight is {given} and groups={groups}.",
            f"weight must be [{spec}], and groups must divide both numbers of channels.")
    out = w.shape[1] * groups if transposed else w.shape[0]
    if bias is not None and aval_of(bias).shape != (out,):
        raise errors.ShapeError(f"nn.{name}: bias is {aval_of(bias)} for {out} output channels.")
    return x, weight, bias, had


def _finished(out, bias, last, had):
    if bias is not None:
        a = aval_of(out)
        out = out + np.reshape(bias, (1, -1, *[1] * (a.ndim - 2)))
    out = moved_back(out, last)
    return out if had else OPS["reshape"](out, shape=aval_of(out).shape[1:])


def _conv(name, space, x, weight, bias, stride, padding, dilation, groups, layout):
    last = channels_last(name, layout, space)
    stride, dilation = (extents(name, what, v, space) for what, v in
                        (("stride", stride), ("dilation", dilation)))
    groups = groups.__index__()
    x, weight, bias, had = _operands(name, x, weight, bias, space, groups, last, False)
    half = aval_of(x).dtype
    x, weight, bias = [v if v is None or half.itemsize > 2 else convert(v, np.float32)
                       for v in (x, weight, bias)]
    sizes = aval_of(x).shape[2:]
    reach = [dilated(k, d) for k, d in zip(aval_of(weight).shape[2:], dilation, strict=True)]
    padding = pads(name, padding, sizes, reach, stride)
    for n, k, (low, high) in zip(sizes, reach, padding, strict=True):
        if k > n + low + high:
            raise errors.ShapeError(f"nn.{name}: the filter reaches over {tuple(reach)} of an image of "
                                    f"{tuple(sizes)} with padding {padding}.", "Use more padding.")
    out = OPS["conv_general_dilated"](
        x, weight, window_strides=stride, padding=padding, lhs_dilation=(1,) * space, rhs_dilation=dilation,
        feature_groups=groups, batch_groups=1)
    return convert(_finished(out, bias, last, had), half)


_TEXT = """A convolution over {space} (the filter is not reversed), as of ``torch.nn.functional``.

    Args:
        x: floats ``[n, in, {axes}]``; without n for one example.
        weight: filters ``[out, in / groups, {kernel}]``; with layout {last!r}
            ``[{kernel}, in / groups, out]``.
        bias: ``[out]``, or None.
        stride, dilation: a number, or one for each spatial axis.
        padding: a number, one or a (low, high) pair for each spatial axis, or 'SAME' (as many positions as
            the extent divided by the stride, rounded up), 'SAME_LOWER', 'VALID'.
        groups: channels are cut into so many groups, each with filters of its own.
        layout: {first!r} or {last!r}, of x and of the result.

    Returns:
        ``[n, out, {axes}]`` of the operands' dtype.

    Raises:
        ShapeError: shapes do not fit; OptionError: padding, layout, stride or dilation is none.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.{name}(np.ones((1, 1, {ones})), np.ones((2, 1, {twos}))).shape
    {shape}
    """


def _documented(function, name, space, text=_TEXT, shape=None):
    first, last = LAYOUTS[space]
    axes = ", ".join([a.lower() for a in first[2:]])
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text.format(
        name=name, space=["a line", "a plane", "space"][space - 1], axes=axes, first=first, last=last,
        kernel=", ".join([f"k{a.lower()}" for a in first[2:]]), ones=", ".join(["4"] * space),
        twos=", ".join(["2"] * space), shape=shape or (1, 2, *[3] * space))
    return api(function)


def _convolution(space):
    name = f"conv{space}d"

    def function(x, weight, bias=None, stride: Extents = 1, padding: Any = 0, dilation: Extents = 1,
                 groups: int = 1, *, layout: str | None = None):
        return _conv(name, space, x, weight, bias, stride, padding, dilation, groups, layout)
    return _documented(function, name, space)


conv1d, conv2d, conv3d = (_convolution(n) for n in (1, 2, 3))


# ----- transposed ---------------------------------------------------------------------------------


def _transposed_pads(name, padding, reach, stride):
    """What is cut off the full result on both sides."""
    if not isinstance(padding, str):
        return pads(name, padding, reach, reach, stride)
    if padding.upper() == "VALID":
        return tuple([(0, 0)] * len(reach))
    totals = [k - s for k, s in zip(reach, stride, strict=True)]      # n * stride positions are left
    pairs = tuple([(max(t, 0) // 2, t - max(t, 0) // 2) for t in totals])
    if padding.upper() == "SAME":
        return pairs
    if padding.upper() == "SAME_LOWER":
        return tuple([(t - max(t, 0) // 2, max(t, 0) // 2) if t > 0 else p
                      for t, p in zip(totals, pairs, strict=True)])
    return pads(name, padding, reach, reach, stride)


def _conv_transpose(name, space, x, weight, bias, stride, padding, output_padding, groups, dilation, layout):
    last = channels_last(name, layout, space)
    stride, dilation = (extents(name, what, v, space) for what, v in
                        (("stride", stride), ("dilation", dilation)))
    more, groups = extents(name, "output_padding", output_padding, space, 0), groups.__index__()
    x, weight, bias, had = _operands(name, x, weight, bias, space, groups, last, True)
    half = aval_of(x).dtype
    x, weight, bias = [v if v is None or half.itemsize > 2 else convert(v, np.float32)
                       for v in (x, weight, bias)]
    (into, each), kernel = aval_of(weight).shape[:2], aval_of(weight).shape[2:]
    reach = [dilated(k, d) for k, d in zip(kernel, dilation, strict=True)]
    if any([m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)]):
        raise errors.OptionError(
            f"nn.{name}: output_padding {more} must be less than stride {stride} or dilation "
            f"{dilation}")
    cut = _transposed_pads(name, padding, reach, stride)
    weight = OPS["rev"](weight, axes=tuple(range(2, 2 + space)))
    weight = np.reshape(weight, (groups, into // groups, each, *kernel))
    weight = np.reshape(np.swapaxes(weight, 1, 2), (groups * each, into // groups, *kernel))
    out = OPS["conv_general_dilated"](
        x, weight, window_strides=(1,) * space, lhs_dilation=stride, rhs_dilation=dilation,
        padding=tuple([(k - 1 - a, k - 1 - b + m) for k, (a, b), m in zip(reach, cut, more, strict=True)]),
        feature_groups=groups, batch_groups=1)
    return convert(_finished(out, bias, last, had), half)


_TRANSPOSED = """A transposed convolution over {space}: the transpose of the convolution with these arguments.

    Args:
        x: floats ``[n, in, {axes}]``; without n for one example.
        weight: filters ``[in, out / groups, {kernel}]``; with layout {last!r}
            ``[{kernel}, in, out / groups]``.
        bias: ``[out]``, or None.
        stride: how far apart the elements of x are put; dilation: those of the filter.
        padding: what is cut off at each end: a number, one or a (low, high) pair for each spatial axis;
            'VALID' cuts nothing, 'SAME' leaves extent times stride.
        output_padding: so much more at the high end.
        groups: channels are cut into so many groups, each with filters of its own.
        layout: {first!r} or {last!r}, of x and of the result.

    Returns:
        ``[n, out, {axes}]``; extents are ``(extent - 1) * stride + dilation * (k - 1) + 1``, minus padding,
        plus output_padding.

    Raises:
        ShapeError: shapes do not fit; OptionError: padding, layout, stride or dilation is none.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.{name}(np.ones((1, 1, {ones})), np.ones((1, 2, {twos})), stride=2).shape
    {shape}
    """


def _transposed(space):
    name = f"conv_transpose{space}d"

    def function(x, weight, bias=None, stride: Extents = 1, padding: Any = 0, output_padding: Extents = 0,
                 groups: int = 1, dilation: Extents = 1, *, layout: str | None = None):
        return _conv_transpose(name, space, x, weight, bias, stride, padding, output_padding, groups,
                               dilation, layout)
    return _documented(function, name, space, _TRANSPOSED, (1, 2, *[8] * space))


conv_transpose1d, conv_transpose2d, conv_transpose3d = (_transposed(n) for n in (1, 2, 3))

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
