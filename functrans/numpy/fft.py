"""numpy.fft: transforms of traced arrays along any axes.

Axes are transformed one after the other, each by one op; padding, cropping and the weights of ``norm`` are
NumPy's. Half, integer and bool input becomes what NumPy makes of it: complex64 and complex128.
"""

from __future__ import annotations

import math
from operator import index

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import OPS
from .core import axis_of, convert, implements, public, refuse_out, traced
from .shape import as_array, cut, dtype_of, ndim_of, shape_of

_INVERSE = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def scale_of(n: int, norm, backward: bool) -> float:
    """The factor of a transform: 1, 1 / n or their mean, by ``norm`` and direction."""
    if norm not in _INVERSE:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    norm = _INVERSE[norm] if backward else norm or "backward"
    return {"backward": 1.0, "ortho": 1.0 / math.sqrt(n), "forward": 1.0 / n}[norm]


def inexact(x):
    """x as floats or complex numbers that a transform takes."""
    x = as_array(x)
    dtype = dtype_of(x)
    if dtype == np.float16:
        return convert(x, np.float32)
    return x if dtype.kind in "fc" else convert(x, np.float64)


def _padded(x, axis: int, count: int):
    zeros = (0,) * ndim_of(x)
    high = tuple([count if i == axis else 0 for i in range(len(zeros))])
    zero = lit(dtype_of(x).type(0), aval((), dtype_of(x)))
    return OPS["pad"](x, zero, low=zeros, high=high, interior=zeros)


def fitted(x, axis: int, n: int):
    """x cropped or padded with zeros behind to n elements along ``axis``."""
    have = shape_of(x)[axis]
    if n == have:
        return x
    return cut(x, axis, 0, n) if n < have else _padded(x, axis, n - have)


def one_axis(kind, a, n, axis, norm, backward):
    """The transform along one axis; ``kind`` is the op: fft, rfft or irfft."""
    x, half = inexact(a), dtype_of(as_array(a)) == np.float16
    if not ndim_of(x):
        raise errors.AxisError("a transform needs an axis, got a scalar.", axis=0, ndim=0)
    axis = axis_of(axis, ndim_of(x))
    size = shape_of(x)[axis]
    n = (2 * (size - 1) if kind == "irfft" else size) if n is None else index(n)
    if n < 1:
        raise errors.ShapeError(f"Invalid number of FFT data points ({n}) specified.",
                                "A transform needs at least one.")
    if kind == "rfft" and dtype_of(x).kind == "c":
        raise errors.DtypeError(f"rfft takes real input, got {dtype_of(x)}.", "Use fft, or x.real.")
    scale = scale_of(n, norm, backward)
    if kind != "rfft" and dtype_of(x).kind == "f":
        x = convert(x, np.result_type(dtype_of(x), np.complex64))
    x = fitted(x, axis, n // 2 + 1 if kind == "irfft" else n)
    found = OPS[kind](x, axis=axis, n=n, backward=backward, scale=scale)
    return convert(found, np.float16) if half and kind == "irfft" else found


def sizes_and_axes(x, s, axes, half=False):
    """The numbers of points and the axes; ``half``: the last axis holds half of a spectrum."""
    ndim = ndim_of(x)
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    axes = [axis_of(a, ndim) for a in axes]
    shape = shape_of(x)
    if s is None:
        sizes = [shape[a] for a in axes]
        if half and axes:
            sizes[-1] = 2 * (sizes[-1] - 1)
    else:
        if len(s) != len(axes):
            raise ValueError("Shape and axes have different lengths.")
        sizes = [shape[a] if k is None or index(k) == -1 else index(k) for k, a in zip(s, axes, strict=True)]
    return sizes, axes


def _complex_axes(a, s, axes, norm, backward):
    x = inexact(a)
    for n, axis in reversed(list(zip(*sizes_and_axes(x, s, axes), strict=True))):
        x = one_axis("fft", x, n, axis, norm, backward)
    return x if dtype_of(x).kind == "c" else convert(x, np.result_type(dtype_of(x), np.complex64))


def _last(sizes, axes, name):
    if not axes:
        raise errors.AxisError(f"{name} needs at least one axis, got axes={axes}.", axis=0, ndim=0)
    return sizes[-1], axes[-1]


# ----- one axis -----------------------------------------------------------------------------------


@implements(np.fft.fft)
def fft(a, n=None, axis=-1, norm=None, out=None):
    """Discrete Fourier transform along ``axis``: sum over j of a[j] exp(-2 pi i j k / n).

    ``n`` crops, or pads with zeros. ``norm`` divides by n in the backward transform (None, "backward"), in
    this one ("forward"), or by its root in both ("ortho"). Complex, of the precision of ``a``.

    >>> import numpy as np
    >>> from functrans import jit, numpy as fnp
    >>> jit(fnp.fft.fft)(np.array([1.0, 0.0, 0.0, 0.0])).real
    array([1., 1., 1., 1.])
    """
    refuse_out(out)
    return one_axis("fft", a, n, axis, norm, False)


@implements(np.fft.ifft)
def ifft(a, n=None, axis=-1, norm=None, out=None):
    """The inverse of ``fft``: sum over k of a[k] exp(2 pi i j k / n) / n."""
    refuse_out(out)
    return one_axis("fft", a, n, axis, norm, True)


@implements(np.fft.rfft)
def rfft(a, n=None, axis=-1, norm=None, out=None):
    """The first n // 2 + 1 points of the transform of real input, which determine the others.

    >>> import numpy as np
    >>> from functrans import grad, numpy as fnp
    >>> float(grad(lambda x: np.sum(np.abs(fnp.fft.rfft(x)) ** 2))(np.array([1.0, 2.0]))[0])
    4.0
    """
    refuse_out(out)
    return one_axis("rfft", a, n, axis, norm, False)


@implements(np.fft.irfft)
def irfft(a, n=None, axis=-1, norm=None, out=None):
    """The inverse of ``rfft``: real, of n points (by default the even number 2 (m - 1) of m points).

    Imaginary parts that no real input has (of point 0, and of the last of an even number) do not count.
    """
    refuse_out(out)
    return one_axis("irfft", a, n, axis, norm, True)


@implements(np.fft.hfft)
def hfft(a, n=None, axis=-1, norm=None, out=None):
    """The real transform of a signal with Hermitian symmetry, given by its first half."""
    refuse_out(out)
    return irfft.traced(np.conjugate(as_array(a)), n, axis, swapped(norm))


@implements(np.fft.ihfft)
def ihfft(a, n=None, axis=-1, norm=None, out=None):
    """The inverse of ``hfft``: half of a signal with Hermitian symmetry."""
    refuse_out(out)
    return np.conjugate(rfft.traced(a, n, axis, swapped(norm)))


def swapped(norm):
    scale_of(1, norm, False)
    return _INVERSE[norm]


# ----- several axes -------------------------------------------------------------------------------


@implements(np.fft.fftn)
def fftn(a, s=None, axes=None, norm=None, out=None):
    """``fft`` along several axes (all by default), to the sizes ``s`` (-1: as it is)."""
    refuse_out(out)
    return _complex_axes(a, s, axes, norm, False)


@implements(np.fft.ifftn)
def ifftn(a, s=None, axes=None, norm=None, out=None):
    """The inverse of ``fftn``."""
    refuse_out(out)
    return _complex_axes(a, s, axes, norm, True)


@implements(np.fft.rfftn)
def rfftn(a, s=None, axes=None, norm=None, out=None):
    """``rfft`` along the last of several axes, then ``fft`` along the others."""
    refuse_out(out)
    x = inexact(a)
    sizes, axes = sizes_and_axes(x, s, axes)
    n, axis = _last(sizes, axes, "rfftn")
    x = one_axis("rfft", x, n, axis, norm, False)
    for n, axis in zip(sizes[-2::-1], axes[-2::-1], strict=True):
        x = one_axis("fft", x, n, axis, norm, False)
    return x


@implements(np.fft.irfftn)
def irfftn(a, s=None, axes=None, norm=None, out=None):
    """The inverse of ``rfftn``."""
    refuse_out(out)
    x = inexact(a)
    sizes, axes = sizes_and_axes(x, s, axes, half=True)
    last, end = _last(sizes, axes, "irfftn")
    for n, axis in zip(sizes[:-1], axes[:-1], strict=True):
        x = one_axis("fft", x, n, axis, norm, True)
    return one_axis("irfft", x, last, end, norm, True)


@implements(np.fft.fft2)
def fft2(a, s=None, axes=(-2, -1), norm=None, out=None):
    """``fftn`` along two axes."""
    return fftn.traced(a, s, axes, norm, out)


@implements(np.fft.ifft2)
def ifft2(a, s=None, axes=(-2, -1), norm=None, out=None):
    """The inverse of ``fft2``."""
    return ifftn.traced(a, s, axes, norm, out)


@implements(np.fft.rfft2)
def rfft2(a, s=None, axes=(-2, -1), norm=None, out=None):
    """``rfftn`` along two axes."""
    return rfftn.traced(a, s, axes, norm, out)


@implements(np.fft.irfft2)
def irfft2(a, s=None, axes=(-2, -1), norm=None, out=None):
    """The inverse of ``rfft2``."""
    return irfftn.traced(a, s, axes, norm, out)


# ----- frequencies --------------------------------------------------------------------------------


@public
def fftfreq(n, d=1.0, device=None, *, dtype=None):
    """The frequencies of the points of ``fft``: 0, 1, ... -2, -1 over n d. The spacing may be traced."""
    return _spaced(np.fft.fftfreq, n, d, device, dtype)


@public
def rfftfreq(n, d=1.0, device=None, *, dtype=None):
    """The frequencies of the points of ``rfft``: 0, 1, ... n // 2 over n d. The spacing may be traced."""
    return _spaced(np.fft.rfftfreq, n, d, device, dtype)


def _spaced(frequencies, n, d, device, dtype):
    if traced(d):
        found = frequencies(n, 1.0 / n, device=device) / (n * d)
    else:
        found = frequencies(n, d, device=device)
    return found if dtype is None else found.astype(dtype)


def _shifted(x, axes, sign):
    x = as_array(x)
    shape = shape_of(x)
    axes = range(len(shape)) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    axes = tuple([axis_of(a, len(shape)) for a in axes])
    return np.roll(x, tuple([sign * (shape[a] // 2) for a in axes]), axes)


@implements(np.fft.fftshift)
def fftshift(x, axes=None):
    """Frequency 0 moved to the middle of the axes (all by default)."""
    return _shifted(x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x, axes=None):
    """The inverse of ``fftshift``."""
    return _shifted(x, axes, -1)


__all__ = ["fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift",
           "ihfft", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn"]
