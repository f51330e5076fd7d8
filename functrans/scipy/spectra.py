"""scipy.signal's spectra: Welch's estimates, short-time transforms and their inverse, trends.

Heinzel, Ruediger, Schilling 2002, "Spectrum and spectral density estimation by the discrete Fourier
transform (DFT)" has the scalings. Windows are names (SciPy makes them), or arrays, which may be traced.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np

from .. import errors
from ..numpy.core import axis_of, convert, promote, shape_of, traced
from ..numpy.fft import fftfreq, fitted, rfftfreq
from ..numpy.shape import as_array, cut, dtype_of, ndim_of
from .public import scipy_function

_signal = scipy_function("scipy.signal")


def _inexact(x):
    x = as_array(x)
    return x if dtype_of(x).kind in "fc" and dtype_of(x) != np.float16 else convert(x, np.float64)


# ----- trends ------------------------------------------------------------------------------------------


def _without_trend(x, kind, breaks):
    """x less the best constant, or the best lines between ``breaks``, along the last axis."""
    if kind in ("constant", "c"):
        return x - np.mean(x, -1, keepdims=True)
    if kind not in ("linear", "l"):
        raise ValueError(f"detrend: type must be 'linear' or 'constant', got {kind!r}")
    n = shape_of(x)[-1]
    breaks = np.unique(np.concatenate([np.atleast_1d(breaks), [0, n]])).astype(int)
    if breaks.min() < 0 or breaks.max() > n:
        raise ValueError("detrend: breakpoints must lie within the data along the axis")
    parts = []
    for start, stop in pairwise(breaks.tolist()):
        t = np.arange(1, stop - start + 1) / (stop - start)
        basis = np.linalg.qr(np.stack([t, np.ones_like(t)], 1))[0].astype(np.zeros(0, dtype_of(x)).real.dtype)
        part = cut(x, ndim_of(x) - 1, start, stop)
        parts.append(part - (part @ basis) @ basis.T)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)


@_signal
def detrend(data, axis=-1, type="linear", bp=0, overwrite_data=False):
    """Data less its best line along an axis (or lines, between the breakpoints ``bp``), or less its mean.

    >>> import numpy as np
    >>> from functrans import jit
    >>> from functrans.scipy import signal
    >>> jit(signal.detrend)(np.array([1.0, 2.0, 3.0])).round(12) + 0.0
    array([0., 0., 0.])
    """
    x = _inexact(data)
    axis = axis_of(axis, ndim_of(x))
    return np.moveaxis(_without_trend(np.moveaxis(x, axis, -1), type, bp), -1, axis)


def _detrending(detrend, axis):
    if not detrend:
        return lambda x: x
    if callable(detrend):
        return lambda x: np.moveaxis(detrend(np.moveaxis(x, -1, axis)), axis,
                                     -1) if axis != -1 else detrend(x)
    return lambda x: _without_trend(x, detrend, 0)


# ----- segments ----------------------------------------------------------------------------------------


def _window(window, nperseg, length):
    """The window and the length of segments."""
    if isinstance(window, (str, tuple)):
        nperseg = 256 if nperseg is None else int(nperseg)
        if nperseg < 1:
            raise ValueError("nperseg must be a positive integer")
        if nperseg > length:
            warnings.warn(f"nperseg = {nperseg:d} is greater than input length  = {length:d}, using "
                          f"nperseg = {length:d}", stacklevel=4)
            nperseg = length
        import scipy.signal
        return scipy.signal.get_window(window, nperseg), nperseg
    window = as_array(window)
    if ndim_of(window) != 1:
        raise errors.ShapeError(f"window must be one-dimensional, got shape {shape_of(window)}.")
    size = shape_of(window)[0]
    if length < size:
        raise ValueError("window is longer than input signal")
    if nperseg is not None and int(nperseg) != size:
        raise ValueError("value specified for nperseg is different from length of window")
    return window, size


def _steps(nperseg, noverlap, nfft):
    nfft = nperseg if nfft is None else int(nfft)
    if nfft < nperseg:
        raise ValueError("nfft must be greater than or equal to nperseg.")
    noverlap = nperseg // 2 if noverlap is None else int(noverlap)
    if noverlap >= nperseg:
        raise ValueError("noverlap must be less than nperseg.")
    return noverlap, nfft


def _segments(x, size, step):
    """[..., segment, element] of the last axis."""
    n = shape_of(x)[-1]
    starts = step * np.arange((n - size) // step + 1)
    return np.take(x, starts[:, None] + np.arange(size), -1)


_EXTENSIONS = ("even", "odd", "constant", "zeros", None)


def _extended(x, n, how):
    """x with n elements more at both ends of the last axis."""
    around = [(0, 0)] * (ndim_of(x) - 1) + [(n, n)]
    if how == "zeros":
        return np.pad(x, around)
    if how == "constant":
        return np.pad(x, around, "edge")
    ends = np.pad(x, around, "reflect")
    if how == "even":
        return ends
    m = shape_of(x)[-1]
    left = 2 * x[..., :1] - ends[..., :n]
    right = 2 * x[..., -1:] - ends[..., n + m:]
    return np.concatenate([left, x, right], -1)


def _spectra(x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, mode,
             boundary=None, padded=False):
    """Frequencies, times, and [..., frequency (at axis), ..., segment]: products of x and y, or of x
    alone."""
    same = y is x
    if boundary not in _EXTENSIONS:
        raise ValueError(f"Unknown boundary option '{boundary}', must be one of: {list(_EXTENSIONS)}")
    x = _inexact(x)
    if not same:
        x, y = promote(x, _inexact(y))
    axis = axis_of(axis, ndim_of(x)) - ndim_of(x)
    x = np.moveaxis(x, axis, -1)
    if not same:
        y = np.moveaxis(y, axis, -1)
        longest = max(shape_of(x)[-1], shape_of(y)[-1])
        x, y = (fitted(v, ndim_of(v) - 1, longest) for v in (x, y))
    window, nperseg = _window(window, nperseg, shape_of(x)[-1])
    noverlap, nfft = _steps(nperseg, noverlap, nfft)
    step = nperseg - noverlap

    if scaling not in ("density", "spectrum"):
        raise ValueError(f"Unknown scaling: {scaling!r}")
    scale = 1.0 / (fs * np.sum(window * window)) if scaling == "density" else 1.0 / np.sum(window) ** 2
    scale = np.sqrt(scale) if mode == "stft" else scale

    def prepared(v):
        v = _extended(v, nperseg // 2, boundary) if boundary is not None else v
        if padded:
            more = (-(shape_of(v)[-1] - nperseg) % step) % nperseg
            v = fitted(v, ndim_of(v) - 1, shape_of(v)[-1] + more)
        return v

    x = prepared(x)
    real = dtype_of(x).kind == "f"
    onesided = return_onesided and real
    if return_onesided and not real:
        warnings.warn("Input data is complex, switching to return_onesided=False", stacklevel=3)
    part = np.zeros(0, dtype_of(x)).real.dtype
    weights = convert(window, part) if traced(window) else np.asarray(window).astype(part)
    remove = _detrending(detrend, axis)

    def transformed(v):
        v = remove(_segments(v, nperseg, step)) * weights
        return np.fft.rfft(v, nfft) if onesided else np.fft.fft(v, nfft)

    found = transformed(x)
    if mode == "stft":
        found = found * convert(as_array(scale), part)
    else:
        found = np.conj(found) * (found if same else transformed(prepared(y)))
        found = np.real(found) if same else found
        found = found * convert(as_array(scale), part)
        if onesided:
            double = np.full(shape_of(found)[-1], 2, part)
            double[0] = 1
            if nfft % 2 == 0:
                double[-1] = 1
            found = found * double
    freqs = (rfftfreq if onesided else fftfreq)(nfft, 1 / fs)
    times = np.arange(nperseg / 2, shape_of(x)[-1] - nperseg / 2 + 1, step) / fs
    if boundary is not None:
        times = times - nperseg / 2 / fs
    # [..., segment, frequency]: segments last, frequencies in the place of the axis
    return freqs, times, np.moveaxis(found, -1, axis - 1 if axis < -1 else -2)


# ----- estimates ---------------------------------------------------------------------------------------


def _averaged(found, average):
    """Over the segments, which are last; the median of n exponential values is less than their mean."""
    n = shape_of(found)[-1]
    if n == 1:
        return found[..., 0]
    if average == "mean":
        return np.mean(found, -1)
    if average != "median":
        raise ValueError(f'average must be "median" or "mean", got {average}')
    even = 2 * np.arange(1.0, (n - 1) // 2 + 1)
    bias = 1 + float(np.sum(1.0 / (even + 1) - 1.0 / even))
    if dtype_of(found).kind == "c":
        return (np.median(np.real(found), -1) + 1j * np.median(np.imag(found), -1)) / bias
    return np.median(found, -1) / bias


def _cross(x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, average):
    freqs, _, found = _spectra(x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling,
                               axis, "psd")
    return freqs, _averaged(found, average)


_HANN = "hann"


@_signal
def csd(x, y, fs=1.0, window=_HANN, nperseg=None, noverlap=None, nfft=None, detrend="constant",
        return_onesided=True, scaling="density", axis=-1, average="mean"):
    """Cross power spectral density of x and y by Welch's method: (frequencies, density)."""
    return _cross(x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, average)


@_signal
def welch(x, fs=1.0, window=_HANN, nperseg=None, noverlap=None, nfft=None, detrend="constant",
          return_onesided=True, scaling="density", axis=-1, average="mean"):
    """Power spectral density by Welch's method: (frequencies, density)."""
    return _cross(x, x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, average)


@_signal
def periodogram(x, fs=1.0, window="boxcar", nfft=None, detrend="constant", return_onesided=True,
                scaling="density", axis=-1):
    """Power spectral density of the whole signal as one segment."""
    x = as_array(x)
    axis = axis_of(axis, ndim_of(x))
    n = shape_of(x)[axis]
    size = n if nfft is None else min(int(nfft), n)
    x = cut(x, axis, 0, size)
    if window is None:
        window = "boxcar"
    return _cross(x, x, fs, window, size if isinstance(window, (str, tuple)) else None, 0, nfft, detrend,
                  return_onesided, scaling, axis, "mean")


@_signal
def coherence(x, y, fs=1.0, window=_HANN, nperseg=None, noverlap=None, nfft=None, detrend="constant",
              axis=-1):
    """Magnitude squared coherence |P_xy|^2 / (P_xx P_yy): (frequencies, coherence)."""
    rest = (fs, window, nperseg, noverlap, nfft, detrend, True, "density", axis, "mean")
    freqs, own = _cross(x, x, *rest)
    other, both = _cross(y, y, *rest)[1], _cross(x, y, *rest)[1]
    return freqs, (np.real(both) ** 2 + np.imag(both) ** 2) / own / other


@_signal
def spectrogram(x, fs=1.0, window=("tukey", 0.25), nperseg=None, noverlap=None, nfft=None,
                detrend="constant", return_onesided=True, scaling="density", axis=-1, mode="psd"):
    """Power of consecutive segments: (frequencies, times, power)."""
    if mode not in ("psd", "complex", "magnitude", "angle", "phase"):
        raise ValueError(f"unknown value for mode {mode}, must be one of psd, complex, "
                         "magnitude, angle, phase")
    x = as_array(x)
    window, nperseg = _window(window, nperseg, shape_of(x)[axis_of(axis, ndim_of(x))])
    noverlap = nperseg // 8 if noverlap is None else noverlap
    freqs, times, found = _spectra(x, x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided,
                                   scaling,
                                   axis, "psd" if mode == "psd" else "stft")
    if mode == "magnitude":
        found = np.abs(found)
    elif mode in ("angle", "phase"):
        found = np.angle(found)
        found = np.unwrap(found, axis=axis - 1 if axis < 0 else axis) if mode == "phase" else found
    return freqs, times, found


# ----- short-time transforms -----------------------------------------------------------------------------


def _scaling(scaling):
    if scaling not in ("psd", "spectrum"):
        raise ValueError(f"Parameter scaling={scaling!r} not in ['spectrum', 'psd']!")
    return "density" if scaling == "psd" else scaling


@_signal
def stft(x, fs=1.0, window=_HANN, nperseg=256, noverlap=None, nfft=None, detrend=False, return_onesided=True,
         boundary="zeros", padded=True, axis=-1, scaling="spectrum"):
    """Short-time Fourier transform: (frequencies, times, values with times as the last axis)."""
    return _spectra(x, x, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, _scaling(scaling),
                    axis,
                    "stft", boundary, padded)


@_signal
def istft(Zxx, fs=1.0, window=_HANN, nperseg=None, noverlap=None, nfft=None, input_onesided=True,
          boundary=True,
          time_axis=-1, freq_axis=-2, scaling="spectrum"):
    """The inverse of ``stft`` by weighted overlap-add: (times, signal)."""
    z = as_array(Zxx)
    ndim = ndim_of(z)
    time_axis, freq_axis = axis_of(time_axis, ndim), axis_of(freq_axis, ndim)
    if time_axis == freq_axis:
        raise ValueError("Must specify differing time and frequency axes!")
    z = convert(z, np.result_type(dtype_of(z), np.complex64))
    outer = [i for i in range(ndim) if i not in (time_axis, freq_axis)]
    z = np.transpose(z, (*outer, time_axis, freq_axis))
    count, points = shape_of(z)[-2:]
    default = 2 * (points - 1) if input_onesided else points
    nperseg = default if nperseg is None else int(nperseg)
    if nperseg < 1:
        raise ValueError("nperseg must be a positive integer")
    if nfft is None:
        nfft = nperseg if input_onesided and nperseg == default + 1 else default
    elif nfft < nperseg:
        raise ValueError("nfft must be greater than or equal to nperseg.")
    noverlap, nfft = _steps(nperseg, noverlap, nfft)
    step = nperseg - noverlap
    window, _ = _window(window, nperseg, nperseg)
    frames = np.fft.irfft(z, nfft) if input_onesided else np.fft.ifft(z, nfft)
    part = np.zeros(0, dtype_of(frames)).real.dtype
    window = convert(window, part) if traced(window) else np.asarray(window).astype(part)
    scale = np.sum(window) if _scaling(scaling) == "spectrum" else np.sqrt(fs * np.sum(window * window))
    frames = cut(frames, ndim - 1, 0, nperseg) * (window * scale)
    from .signal import overlapped
    x = overlapped(frames, step, ndim - 2)
    norm = overlapped(np.broadcast_to(window * window, (count, nperseg)), step, 0)
    if boundary:
        half = nperseg // 2
        x = cut(x, ndim - 2, half, shape_of(x)[-1] - half)
        norm = cut(norm, 0, half, shape_of(norm)[0] - half)
    x = x / np.where(norm > 1e-10, norm, np.ones_like(norm))
    times = np.arange(shape_of(x)[-1]) / fs
    if ndim > 2:                               # the signal takes the place of the earlier of the two axes
        x = np.moveaxis(x, -1, min(time_axis, freq_axis) if time_axis < freq_axis else time_axis - 1)
    return times, x


__all__ = ["coherence", "csd", "detrend", "istft", "periodogram", "spectrogram", "stft", "welch"]
