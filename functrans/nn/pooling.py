"""Pooling: extrema and means of windows, in either layout; names of ``torch.nn.functional``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lax.windows import reduce_window
from ..ops.conv import dilated, positions
from .convolutions import Extents, _documented, axes_moved, batched, channels_last, extents, moved_back, pads
from .core import OPS, aval_of, convert, errors, floats, number


def _windows(name, space, x, window, stride, padding, dilation, layout):
    """x as ``[n, c, *space]`` and the parameters of its windows."""
    last = channels_last(name, layout, space)
    (x,) = floats(name, x=x)
    x, had = batched(name, x, space)
    x = axes_moved(x, last)
    window, dilation = extents(name, "window", window, space), extents(name, "dilation", dilation, space)
    stride = window if stride is None else extents(name, "stride", stride, space)
    sizes = aval_of(x).shape[2:]
    reach = tuple([dilated(k, d) for k, d in zip(window, dilation, strict=True)])
    padding = pads(name, padding, sizes, reach, stride)
    if any([max(p) >= k or min(p) < 0 for p, k in zip(padding, reach, strict=True)]):
        raise errors.ShapeError(f"nn.{name}: padding {padding} for windows that reach over {reach}.",
                                "It must not be negative, and less than the window: padding alone has no "
                                "value.")
    if any([k > n + sum(p) for k, n, p in zip(reach, sizes, padding, strict=True)]):
        raise errors.ShapeError(f"nn.{name}: windows reach over {reach} of an image of {sizes} with padding "
                                f"{padding}.", "Use more padding, or smaller windows.")
    params = {"window": (1, 1, *window), "strides": (1, 1, *stride), "padding": ((0, 0), (0, 0), *padding),
              "base_dilation": (1,) * (space + 2), "window_dilation": (1, 1, *dilation)}
    return x, params, last, had


def _finished(out, last, had):
    out = moved_back(out, last)
    return out if had else OPS["reshape"](out, shape=aval_of(out).shape[1:])


def _max_pool(name, space, x, window, stride, padding, dilation, layout):
    x, params, last, had = _windows(name, space, x, window, stride, padding, dilation, layout)
    return _finished(OPS["reduce_window_max"](x, **params), last, had)


def _avg_pool(name, space, x, window, stride, padding, count_include_pad, layout):
    x, params, last, had = _windows(name, space, x, window, stride, padding, 1, layout)
    dtype = aval_of(x).dtype
    x = convert(x, np.float32) if dtype.itemsize == 2 else x
    total = OPS["reduce_window_sum"](x, **params)
    if count_include_pad or not any([any(p) for p in params["padding"]]):
        out = total * number(1 / np.prod(params["window"]), x)
    else:
        out = total / _counts(aval_of(x), params)
    return _finished(convert(out, dtype), last, had)


def _counts(a, params):
    """How many elements of the image each window holds."""
    counts = np.ones((), a.dtype)
    for n, k, s, (low, high) in zip(a.shape[2:], params["window"][2:], params["strides"][2:],
                                    params["padding"][2:], strict=True):
        start = np.arange(positions(n, k, s, low, high, 1, 1)) * s - low
        held = np.minimum(start + k, n) - np.maximum(start, 0)
        counts = counts[..., None] * held.astype(a.dtype)
    return counts


_DOC = """{head}

    Args:
        x: floats ``[n, c, {{axes}}]``; without n for one example.
        window: extents of the windows: a number, or one for each spatial axis.
        stride: how far they move; their extents if not given.
        padding: {filled} at the ends: a number, one or a (low, high) pair for each axis, 'SAME', 'VALID'.
        {own}
        layout: {{first!r}} or {{last!r}}.

    Returns:
        ``[n, c, {{axes}}]``, an element for each window.

    Raises:
        ShapeError: a window does not fit, or would be padding only; OptionError: padding or layout is none.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.{{name}}(np.ones((1, 3, {{ones}})), 2).shape
    {{shape}}
    """
_MAX = _DOC.format(
    head="The maximum of each window over {space}; a window's derivative goes to the first one that has it.",
    filled="-inf", own="dilation: how far apart the elements of a window are.")
_AVG = _DOC.format(
    head="The mean of each window over {space}.", filled="zeros",
    own="count_include_pad: whether padding counts in the means (as in PyTorch, it does by default).")


def _max(space):
    name = f"max_pool{space}d"

    def function(x, window: Extents, stride: Extents | None = None, padding: Any = 0,
                 dilation: Extents = 1, *, layout: str | None = None):
        return _max_pool(name, space, x, window, stride, padding, dilation, layout)
    return _documented(function, name, space, _MAX, (1, 3, *[2] * space))


def _avg(space):
    name = f"avg_pool{space}d"

    def function(x, window: Extents, stride: Extents | None = None, padding: Any = 0,
                 count_include_pad: bool = True, *, layout: str | None = None):
        return _avg_pool(name, space, x, window, stride, padding, count_include_pad, layout)
    return _documented(function, name, space, _AVG, (1, 3, *[2] * space))


max_pool1d, max_pool2d, max_pool3d = (_max(n) for n in (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = (_avg(n) for n in (1, 2, 3))

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
           "reduce_window"]
