"""scipy.fft on traced arrays: the functions of numpy.fft, and the cosine and sine transforms.

``overwrite_x`` and ``workers`` are accepted and mean nothing: nothing is overwritten, and threads are
``functrans.set_num_threads``'s. Where nothing is traced, SciPy's own functions are called.
"""

from __future__ import annotations

import math
from operator import index

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy import fft as base
from ..numpy.complexes import on_parts
from ..numpy.core import axis_of, convert
from ..numpy.fft import fftshift, ifftshift, inexact
from ..numpy.shape import concatenate, cut, dtype_of, ndim_of, shape_of
from .public import scipy_function

_fourier = scipy_function("scipy.fft", "overwrite_x", "workers", "plan")


def _alone(name):
    """SciPy's signature, the value of numpy.fft's function of this name."""
    function = getattr(base, name).traced

    def traced(x, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, *, plan=None):
        return function(x, n, axis, norm)

    return _named(name, traced, function.__doc__)


def _together(name, axes):
    function = getattr(base, name).traced

    def traced(x, s=None, axes=axes, norm=None, overwrite_x=False, workers=None, *, plan=None):
        return function(x, s, axes, norm)

    return _named(name, traced, function.__doc__)


def _named(name, function, doc):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc.split(">>>")[0].rstrip() + "\n"
    return _fourier(function)


fft, ifft, rfft, irfft, hfft, ihfft = map(_alone, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = [_together(name, None) for name in ("fftn", "ifftn", "rfftn", "irfftn")]
fft2, ifft2, rfft2, irfft2 = [_together(name, (-2, -1)) for name in ("fft2", "ifft2", "rfft2", "irfft2")]


@_fourier
def hfftn(x, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, plan=None):
    """The real transform along several axes of a signal with Hermitian symmetry."""
    return base.irfftn.traced(np.conjugate(inexact(x)), s, axes, base.swapped(norm))


@_fourier
def ihfftn(x, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, plan=None):
    """The inverse of ``hfftn``."""
    return np.conjugate(base.rfftn.traced(x, s, axes, base.swapped(norm)))


@_fourier
def hfft2(x, s=None, axes=(-2, -1), norm=None, overwrite_x=False, workers=None, *, plan=None):
    """``hfftn`` along two axes."""
    return hfftn.traced(x, s, axes, norm)


@_fourier
def ihfft2(x, s=None, axes=(-2, -1), norm=None, overwrite_x=False, workers=None, *, plan=None):
    """The inverse of ``hfft2``."""
    return ihfftn.traced(x, s, axes, norm)


def fftfreq(n, d=1.0, *, xp=None, device=None):
    """The frequencies of the points of ``fft``; the spacing may be traced."""
    return base.fftfreq(n, d, device)


def rfftfreq(n, d=1.0, *, xp=None, device=None):
    """The frequencies of the points of ``rfft``; the spacing may be traced."""
    return base.rfftfreq(n, d, device)


def next_fast_len(target, real=False):
    """The least length from ``target`` on that a transform likes: SciPy's, a product of small primes."""
    import scipy.fft
    return scipy.fft.next_fast_len(target, real)


# ----- cosine and sine transforms -----------------------------------------------------------------
#
# Makhoul 1980, "A fast cosine transform in one and two dimensions": type 2 of n points is a transform of
# the even points followed by the odd ones backwards. All work along the last axis; sums are unscaled.


def _flip(x):
    return np.flip(x, -1)


def _last(x, start, stop, step=1):
    return cut(x, ndim_of(x) - 1, start, stop, step)


def _join(*xs):
    return concatenate(xs, -1)


def _rfft(x):
    n = shape_of(x)[-1]
    return OPS["rfft"](x, axis=ndim_of(x) - 1, n=n, backward=False, scale=1.0)


def _phases(numerators, denominator, x):
    """exp(-i pi k / denominator) in the precision of x."""
    return np.exp(-1j * np.pi * (numerators / denominator)).astype(np.result_type(dtype_of(x), np.complex64))


def _signs(n, x):
    return np.where(np.arange(n) % 2, -1, 1).astype(dtype_of(x))


def _cos2(x):
    """2 sum_j x_j cos(pi k (2j + 1) / 2n)"""
    n = shape_of(x)[-1]
    if n == 1:
        return 2 * x
    v = _join(_last(x, 0, n, 2), _flip(_last(x, 1, n, 2)))
    half = _rfft(v) * _phases(np.arange(n // 2 + 1), 2 * n, x)
    back = _last(OPS["imag"](half), 1, (n + 1) // 2)
    return 2 * _join(OPS["real"](half), -_flip(back))


def _cos3(x):
    """x_0 + 2 sum_j x_j cos(pi j (2k + 1) / 2n)"""
    n = shape_of(x)[-1]
    if n == 1:
        return x
    m = n // 2 + 1
    ends = _join(0 * _last(x, 0, 1), _flip(_last(x, n - m + 1, n)))
    half = OPS["complex"](_last(x, 0, m), -ends) * np.conj(_phases(np.arange(m), 2 * n, x))
    v = OPS["irfft"](half, axis=ndim_of(x) - 1, n=n, backward=True, scale=1.0)
    k = np.arange(n)
    return np.take(v, np.where(k % 2, n - 1 - k // 2, k // 2), -1)


def _cos1(x):
    """x_0 + (-1)^k x_(n-1) + 2 sum_j x_j cos(pi j k / (n - 1))"""
    n = shape_of(x)[-1]
    if n < 2:
        raise errors.ShapeError(f"dct: type 1 needs at least 2 points, got {n}.")
    return OPS["real"](_rfft(_join(x, _flip(_last(x, 1, n - 1)))))


def _cos4(x):
    """2 sum_j x_j cos(pi (2j + 1) (2k + 1) / 4n)"""
    n = shape_of(x)[-1]
    k = np.arange(n)
    z = convert(x, np.result_type(dtype_of(x), np.complex64)) * _phases(k, 2 * n, x)
    axis = ndim_of(x) - 1
    z = OPS["fft"](base.fitted(z, axis, 2 * n), axis=axis, n=2 * n, backward=False, scale=1.0)
    return 2 * OPS["real"](_last(z, 0, n) * _phases(2 * k + 1, 4 * n, x))


def _sin1(x):
    """2 sum_j x_j sin(pi (j + 1) (k + 1) / (n + 1))"""
    n = shape_of(x)[-1]
    zero = 0 * _last(x, 0, 1)
    return -_last(OPS["imag"](_rfft(_join(zero, x, zero, -_flip(x)))), 1, n + 1)


_COSINES = {1: _cos1, 2: _cos2, 3: _cos3, 4: _cos4}
_SINES = {1: _sin1,
          2: lambda x: _flip(_cos2(x * _signs(shape_of(x)[-1], x))),
          3: lambda x: _cos3(_flip(x)) * _signs(shape_of(x)[-1], x),
          4: lambda x: _cos4(_flip(x)) * _signs(shape_of(x)[-1], x)}
_INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}
# Which ends are divided by sqrt(2) in an orthogonal transform: of the input (then multiplied), of the output.
_ENDS = {("dct", 1): ((0, -1), (0, -1)), ("dct", 2): ((), (0,)), ("dct", 3): ((0,), ()),
         ("dst", 2): ((), (-1,)), ("dst", 3): ((-1,), ())}


def _scaled_ends(x, ends, factor):
    if not ends:
        return x
    w = np.ones(shape_of(x)[-1], dtype_of(x))
    for i in ends:
        w[i] = factor
    return x * w


def _trigonometric(name, x, kind, n, axis, norm, orthogonalize, backward):
    if kind not in _INVERSE:
        raise ValueError(f"{name}: type must be 1, 2, 3 or 4, got {kind!r}")
    x = inexact(x)
    if dtype_of(x).kind == "c":
        return on_parts(lambda part: _trigonometric(name, part, kind, n, axis, norm, orthogonalize, backward),
                        x)
    if not ndim_of(x):
        raise errors.AxisError(f"{name} needs an axis, got a scalar.", axis=0, ndim=0)
    axis = axis_of(axis, ndim_of(x))
    if n is not None:
        x = base.fitted(x, axis, index(n))
    x = np.moveaxis(x, axis, -1)
    n = shape_of(x)[-1]
    if n < 1:
        raise errors.ShapeError(f"{name}: invalid number of data points ({n}) specified.")
    kind = _INVERSE[kind] if backward else kind
    period = 2 * (n - 1) if (name, kind) == ("dct", 1) else 2 * (n + 1) if (name, kind) == ("dst",
                                                                                            1) else 2 * n
    before, after = _ENDS.get((name, kind), ((), ()))
    if norm == "ortho" if orthogonalize is None else orthogonalize:
        x = _scaled_ends(x, before, math.sqrt(2))
    else:
        before = after = ()
    x = (_COSINES if name == "dct" else _SINES)[kind](x)
    scale = base.scale_of(period, norm, backward)
    x = _scaled_ends(x if scale == 1.0 else x * scale, after, math.sqrt(0.5))
    return np.moveaxis(x, -1, axis)


def _several(name, x, kind, s, axes, norm, orthogonalize, backward):
    x = inexact(x)
    sizes, axes = base.sizes_and_axes(x, s, axes)
    for n, axis in zip(sizes, axes, strict=True):
        x = _trigonometric(name, x, kind, n, axis, norm, orthogonalize, backward)
    return x


@_fourier
def dct(x, type=2, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, orthogonalize=None):
    """Cosine transform of type 1 to 4 along ``axis``, with SciPy's ``norm`` and ``orthogonalize``.

    Complex input is transformed by its parts.

    >>> import numpy as np
    >>> from functrans import jit
    >>> from functrans.scipy import fft
    >>> jit(fft.dct)(np.array([1.0, 1.0])).round(12)
    array([4., 0.])
    """
    return _trigonometric("dct", x, type, n, axis, norm, orthogonalize, False)


@_fourier
def idct(x, type=2, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, orthogonalize=None):
    """The inverse of ``dct``."""
    return _trigonometric("dct", x, type, n, axis, norm, orthogonalize, True)


@_fourier
def dst(x, type=2, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, orthogonalize=None):
    """Sine transform of type 1 to 4 along ``axis``."""
    return _trigonometric("dst", x, type, n, axis, norm, orthogonalize, False)


@_fourier
def idst(x, type=2, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, orthogonalize=None):
    """The inverse of ``dst``."""
    return _trigonometric("dst", x, type, n, axis, norm, orthogonalize, True)


@_fourier
def dctn(x, type=2, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, orthogonalize=None):
    """``dct`` along several axes."""
    return _several("dct", x, type, s, axes, norm, orthogonalize, False)


@_fourier
def idctn(x, type=2, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, orthogonalize=None):
    """The inverse of ``dctn``."""
    return _several("dct", x, type, s, axes, norm, orthogonalize, True)


@_fourier
def dstn(x, type=2, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, orthogonalize=None):
    """``dst`` along several axes."""
    return _several("dst", x, type, s, axes, norm, orthogonalize, False)


@_fourier
def idstn(x, type=2, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, orthogonalize=None):
    """The inverse of ``dstn``."""
    return _several("dst", x, type, s, axes, norm, orthogonalize, True)


__all__ = ["dct", "dctn", "dst", "dstn", "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2",
           "hfftn",
           "idct", "idctn", "idst", "idstn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "ihfft2",
           "ihfftn",
           "irfft", "irfft2", "irfftn", "next_fast_len", "rfft", "rfft2", "rfftfreq", "rfftn"]
