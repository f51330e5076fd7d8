"""scipy.signal on traced arrays: convolutions and filters. Spectra are in ``spectra``.

Real and complex floats and integers; results have SciPy's shapes and dtypes. Where nothing is traced,
SciPy's own functions are called.
"""

from __future__ import annotations

import math

import numpy as np

from .. import errors, lax
from ..numpy.convolutions import direct
from ..numpy.core import axis_of, convert, promote
from ..numpy.fft import fftn, fitted, ifftn, irfftn, rfftn
from ..numpy.shape import as_array, cut, dtype_of, ndim_of, shape_of
from .public import scipy_function
from .spectra import coherence, csd, detrend, istft, periodogram, spectrogram, stft, welch

_signal = scipy_function("scipy.signal")
DIRECT_NS, FFT_NS = 0.15, 0.6        # a product of a direct sum; a point and doubling of three transforms


# ----- which part of the full convolution -----------------------------------------------------------


def _pair(name, in1, in2):
    x, w = as_array(in1), as_array(in2)
    if ndim_of(x) != ndim_of(w):
        raise errors.ShapeError(f"{name}: the inputs must have as many axes, got shapes {shape_of(x)} and "
                                f"{shape_of(w)}.")
    return promote(x, w)


def _part(name, mode, n, m):
    """Start and length per axis. "same" is as large as the first input; "valid" needs one inside the
    other."""
    if mode == "full":
        return [0] * len(n), [a + b - 1 for a, b in zip(n, m, strict=True)]
    if mode == "same":
        return [(b - 1) // 2 for b in m], list(n)
    if mode != "valid":
        raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if not (all(a >= b for a, b in zip(n, m, strict=True)) or all(a <= b for a, b in zip(n, m, strict=True))):
        raise errors.ShapeError(f"{name}: for mode 'valid' one input must be at least as large as the other "
                                f"in every axis, got {n} and {m}.")
    return ([min(a, b) - 1 for a, b in zip(n, m, strict=True)],
            [abs(a - b) + 1 for a, b in zip(n, m, strict=True)])


def _none(x, w, mode, n, m):
    """The result where an input has no elements."""
    return np.zeros((0,) if mode == "full" or not n else n, np.result_type(dtype_of(x), dtype_of(w)))


def _reversed(w):
    return np.conjugate(np.flip(w))


def fast_length(n: int) -> int:
    """The least product of 2, 3 and 5 from n on."""
    best = 1 << max(n - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three << max(-(-n // three) - 1, 0).bit_length())
            three *= 3
        five *= 5
    return best


# ----- convolutions ------------------------------------------------------------------------------------


def _by_transforms(x, w, axes):
    """The full convolution along some axes; along the others shapes broadcast."""
    n, m = shape_of(x), shape_of(w)
    lengths = [n[a] + m[a] - 1 for a in axes]
    fast = [fast_length(k) for k in lengths]
    forward, back = (fftn, ifftn) if dtype_of(x).kind == "c" else (rfftn, irfftn)
    product = forward.traced(x, fast, axes) * forward.traced(w, fast, axes)
    out = back.traced(product, fast, axes)
    for a, k in zip(axes, lengths, strict=True):
        out = cut(out, a, 0, k)
    return out


def _cut(x, axes, start, length):
    for a, s, k in zip(axes, start, length, strict=True):
        x = cut(x, a, s, s + k)
    return x


def _floats(x, w):
    return [x if dtype_of(x).kind in "fc" else convert(x, np.float64) for x in (x, w)]


def _convolve(name, x, w, mode, method):
    n, m = shape_of(x), shape_of(w)
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f"{name}: method must be 'auto', 'direct' or 'fft', got {method!r}")
    if 0 in n or 0 in m:
        return _none(x, w, mode, n, m)
    start, length = _part(name, mode, n, m)
    if not n:
        return x * w
    kind = dtype_of(x).kind
    if method == "auto":
        points = math.prod(a + b - 1 for a, b in zip(n, m, strict=True))
        sums = math.prod(length) * min(math.prod(n), math.prod(m)) * DIRECT_NS
        method = "direct" if kind not in "fc" or sums < points * math.log2(points + 1) * FFT_NS else "fft"
    if method == "direct" and len(n) <= 3:
        return direct(x, w, start, length)
    axes = list(range(len(n)))
    out = _cut(_by_transforms(*_floats(x, w), axes), axes, start, length)
    return out if kind in "fc" else convert(np.rint(out), dtype_of(x))


@_signal
def convolve(in1, in2, mode="full", method="auto"):
    """Convolution of two arrays of as many axes, by direct sums or by transforms.

    ``mode`` "full", "same" (as large as ``in1``) or "valid" (no zeros from outside).

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy import signal
    >>> grad(lambda w: signal.convolve(np.array([1.0, 2.0]), w)[1])(np.array([3.0, 4.0]))
    array([2., 1.])
    """
    return _convolve("convolve", *_pair("convolve", in1, in2), mode, method)


@_signal
def correlate(in1, in2, mode="full", method="auto"):
    """Sum of ``in1``, moved, times the conjugate of ``in2``: a convolution with ``in2`` turned around."""
    x, w = _pair("correlate", in1, in2)
    return _convolve("correlate", x, _reversed(w), mode, method)


_BOUNDARIES = {"fill": "constant", "pad": "constant", "wrap": "wrap", "circular": "wrap", "symm": "symmetric",
               "symmetric": "symmetric"}


def _two_axes(name, in1, in2, mode, boundary, fillvalue, turn):
    x, w = _pair(name, in1, in2)
    if ndim_of(x) != 2:
        raise errors.ShapeError(f"{name}: the inputs must have two axes, got shape {shape_of(x)}.")
    if boundary not in _BOUNDARIES:
        raise ValueError(f"{name}: boundary must be 'fill', 'wrap' or 'symm', got {boundary!r}")
    n, m = shape_of(x), shape_of(w)
    how = _BOUNDARIES[boundary]
    start, length = _part(name, mode, n, m)
    if turn:
        w = _reversed(w)
        start = [k // 2 for k in m] if mode == "same" else start
    if mode == "valid":
        found = direct(x, w, start, length)
        return np.conjugate(found) if turn and n < m else found         # SciPy exchanges the inputs
    if how == "constant" and isinstance(fillvalue, (int, float)) and fillvalue == 0:
        return direct(x, w, start, length)
    around = [(k - 1, k - 1) for k in m]
    filled = {"constant_values": fillvalue} if how == "constant" else {}
    x = np.pad(x, around, how, **filled)
    return direct(x, w, [k - 1 + s for k, s in zip(m, start, strict=True)], length)


@_signal
def convolve2d(in1, in2, mode="full", boundary="fill", fillvalue=0):
    """Convolution of two matrices; outside of ``in1`` are ``fillvalue``, its other end, or its mirror
    image."""
    return _two_axes("convolve2d", in1, in2, mode, boundary, fillvalue, False)


@_signal
def correlate2d(in1, in2, mode="full", boundary="fill", fillvalue=0):
    """Cross-correlation of two matrices; see ``convolve2d`` for what is outside."""
    return _two_axes("correlate2d", in1, in2, mode, boundary, fillvalue, True)


def _axes_of(name, x, w, axes):
    ndim = ndim_of(x)
    axes = range(ndim) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    axes = sorted([axis_of(a, ndim) for a in axes])
    for a, (n, m) in enumerate(zip(shape_of(x), shape_of(w), strict=True)):
        if a not in axes and n != m and 1 not in (n, m):
            raise errors.ShapeError(f"{name}: axis {a} is not convolved along, so its extents must be "
                                    f"equal or 1, got {n} and {m}.")
    return axes


def _along(name, in1, in2, mode, axes, full):
    x, w = _pair(name, in1, in2)
    n, m = shape_of(x), shape_of(w)
    if 0 in n or 0 in m:
        return np.zeros((0,))
    axes = _axes_of(name, x, w, axes)
    start, length = _part(name, mode, [n[a] for a in axes], [m[a] for a in axes])
    x, w = _floats(x, w)
    if not axes:
        return x * w
    moved = [a for a in axes if n[a] != 1 and m[a] != 1]            # along the others it is a product
    if not moved:
        return _cut(x * w, axes, start, length)
    return _cut(full(x, w, moved), axes, start, length)


@_signal
def fftconvolve(in1, in2, mode="full", axes=None):
    """Convolution along ``axes`` (all by default) by transforms; the other axes broadcast."""
    return _along("fftconvolve", in1, in2, mode, axes, _by_transforms)


def overlapped(blocks, step, axis):
    """Sums blocks [..., block, element, ...] that begin ``step`` apart; ``axis`` is that of the blocks."""
    count, size = shape_of(blocks)[axis:axis + 2]
    pieces = -(-size // step)
    blocks = fitted(blocks, axis + 1, pieces * step)
    shape = shape_of(blocks)
    total = None
    for k in range(pieces):
        part = cut(blocks, axis + 1, k * step, (k + 1) * step)
        around = [(0, 0)] * len(shape)
        around[axis] = (k, pieces - 1 - k)
        part = np.pad(part, around)
        total = part if total is None else total + part
    total = np.reshape(total, (*shape[:axis], (count + pieces - 1) * step, *shape[axis + 2:]))
    return cut(total, axis, 0, (count - 1) * step + size)


def _by_blocks(x, w, axes):
    """The longer input in blocks along the axis where it is most longer, each convolved by transforms."""
    n, m = shape_of(x), shape_of(w)
    axis = max(axes, key=lambda a: max(n[a], m[a]) / min(n[a], m[a]))
    if n[axis] < m[axis]:
        x, w, n, m = w, x, m, n
    size = fast_length(8 * m[axis])
    step = size - m[axis] + 1
    if n[axis] <= 2 * step:
        return _by_transforms(x, w, axes)
    count = -(-n[axis] // step)
    blocks = np.reshape(fitted(x, axis, count * step), (*n[:axis], count, step, *n[axis + 1:]))
    w = np.expand_dims(w, axis)
    inside = [a + (a >= axis) for a in axes]
    return cut(overlapped(_by_transforms(blocks, w, inside), step, axis), axis, 0, n[axis] + m[axis] - 1)


@_signal
def oaconvolve(in1, in2, mode="full", axes=None):
    """``fftconvolve`` by blocks of the longer input, which costs less where the other one is short."""
    return _along("oaconvolve", in1, in2, mode, axes, _by_blocks)


# ----- filters ------------------------------------------------------------------------------------------


def _first(x, axis):
    return np.moveaxis(x, axis, 0)


@_signal
def lfilter(b, a, x, axis=-1, zi=None):
    """The filter a[0] y[t] = sum b[k] x[t - k] - sum a[k] y[t - k] along an axis, as one native loop.

    ``zi`` is the state before (one less than the longer of a and b along ``axis``); with it the result is
    (y, state after).
    """
    b, a, x = promote(*[np.atleast_1d(as_array(v)) for v in (b, a, x)])
    b, a, x = (v if dtype_of(v).kind in "fc" else convert(v, np.float64) for v in (b, a, x))
    if ndim_of(b) != 1 or ndim_of(a) != 1:
        raise errors.ShapeError(f"lfilter: b and a must be vectors, got {shape_of(b)} and {shape_of(a)}.")
    axis = axis_of(axis, ndim_of(x))
    b, a = b / a[0], a / a[0]
    order = max(shape_of(a)[0], shape_of(b)[0])
    b, a = fitted(b, 0, order), fitted(a, 0, order)
    xs = _first(x, axis)
    rest = shape_of(xs)[1:]
    if zi is None:
        state = np.zeros((order - 1, *rest), dtype_of(x))
    else:
        state = np.broadcast_to(convert(_first(as_array(zi), axis), dtype_of(x)), (order - 1, *rest))
    column = (order - 1,) + (1,) * len(rest)
    later, back = np.reshape(b[1:], column), np.reshape(a[1:], column)

    def step(state, x):                   # transposed direct form II
        if order == 1:
            return state, b[0] * x
        y = b[0] * x + state[0]
        shifted = np.concatenate([state[1:], np.zeros((1, *rest), dtype_of(x))])
        return shifted + later * x - back * y, y

    state, ys = lax.scan(step, state, xs)
    ys = np.moveaxis(ys, 0, axis)
    return ys if zi is None else (ys, np.moveaxis(state, 0, axis))


@_signal
def savgol_filter(x, window_length, polyorder, deriv=0, delta=1.0, axis=-1, mode="interp", cval=0.0):
    """Least-squares polynomials over moving windows: their values, or derivatives, in the middle."""
    import scipy.signal
    x = as_array(x)
    x = x if dtype_of(x).kind in "fc" else convert(x, np.float64)
    axis = axis_of(axis, ndim_of(x))
    n = shape_of(x)[axis]
    if mode not in ("mirror", "constant", "nearest", "interp", "wrap"):
        raise ValueError(f"savgol_filter: mode must be 'mirror', 'constant', 'nearest', 'wrap' or 'interp', "
                         f"got {mode!r}")
    weights = {"polyorder": polyorder, "deriv": deriv, "delta": delta}
    if mode == "interp":
        if window_length > n:
            raise errors.ShapeError(f"savgol_filter: with mode 'interp', window_length {window_length} must "
                                    f"not exceed the extent {n} of axis {axis}.")
    dtype = dtype_of(x)
    c = scipy.signal.savgol_coeffs(window_length, **weights).astype(dtype)
    xs = np.moveaxis(x, axis, -1)
    lead, left, half = shape_of(xs)[:-1], (window_length - 1) // 2, window_length // 2

    def moving(xs, length):
        """The windows that lie inside of xs."""
        flat = np.reshape(xs, (-1, shape_of(xs)[-1]))
        out = direct(flat, np.reshape(c, (1, -1)), [0, window_length - 1], [shape_of(flat)[0], length])
        return np.reshape(out, (*lead, length))

    if mode == "interp":               # near the ends, the polynomial of the first and of the last window
        some = scipy.signal.savgol_filter(np.eye(window_length), window_length, axis=0, mode="interp",
                                          **weights)
        some = some.astype(dtype).T
        parts = [xs[..., :window_length] @ some[:, :half], moving(xs, n - window_length + 1)[...,
                                                                                             half - left:],
                 xs[..., n - window_length:] @ some[:, window_length - half:]]
        return np.moveaxis(np.concatenate(parts, -1), -1, axis)
    how = {"mirror": "reflect", "constant": "constant", "nearest": "edge", "wrap": "wrap"}[mode]
    filled = {"constant_values": cval} if how == "constant" else {}
    xs = np.pad(xs, [(0, 0)] * len(lead) + [(left, window_length - 1 - left)], how, **filled)
    return np.moveaxis(moving(xs, n), -1, axis)


__all__ = ["coherence", "convolve", "convolve2d", "correlate", "correlate2d", "csd", "detrend", "fftconvolve",
           "istft", "lfilter", "oaconvolve", "periodogram", "savgol_filter", "spectrogram", "stft", "welch"]
