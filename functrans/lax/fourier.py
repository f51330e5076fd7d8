"""``lax.fft``: transforms of the last axes, without conversion, padding or cropping."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..numpy.core import asvalue
from ..trace.core import aval_of


class FftType(enum.IntEnum):
    """What ``lax.fft`` computes."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


def _kind(fft_type) -> FftType:
    try:
        return FftType[fft_type.upper()] if isinstance(fft_type, str) else FftType(fft_type)
    except (KeyError, ValueError):
        raise ValueError("lax.fft: fft_type must be an FftType or the name of one, "
                         f"got {fft_type!r}") from None


def fft(x, fft_type: FftType | str, fft_lengths: int | Sequence[int]):
    """Discrete Fourier transform of the last axes of x, one for each of ``fft_lengths``.

    Args:
      x: complex, but for RFFT, which takes floats.
      fft_type: FFT, IFFT (divided by the number of points), RFFT (the half that determines the rest, along
        the last axis) or its inverse IRFFT.
      fft_lengths: the extents of those axes, of the real side.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.fft(np.array([1.0, 2.0, 3.0]), lax.FftType.RFFT, (3,)).shape
    (2,)
    """
    kind, x = _kind(fft_type), asvalue(x)
    lengths = (fft_lengths,) if isinstance(fft_lengths, int) else tuple(fft_lengths)
    a = aval_of(x)
    first = a.ndim - len(lengths)
    if first < 0:
        raise errors.ShapeError(f"lax.fft: {a} has only {a.ndim} axes for fft_lengths {lengths}.")
    if a.dtype.kind != ("f" if kind is FftType.RFFT else "c") or a.dtype == np.float16:
        wanted = "float32 or float64" if kind is FftType.RFFT else "complex"
        raise errors.DtypeError(f"lax.fft: {kind.name} takes {wanted} input, got {a}.",
                                "Convert it with astype.")
    half = kind is FftType.IRFFT and bool(lengths)
    want = (*lengths[:-1], lengths[-1] // 2 + 1) if half else lengths
    if a.shape[first:] != want:
        raise errors.ShapeError(f"lax.fft: {kind.name} with fft_lengths {lengths} needs last axes {want}, "
                                f"got {a}.", "Pad or cut x, or use functrans.numpy.fft.")
    backward = kind in (FftType.IFFT, FftType.IRFFT)
    real = kind in (FftType.RFFT, FftType.IRFFT) and bool(lengths)
    axes = list(range(first, a.ndim - real))
    last = [(("irfft" if backward else "rfft"), a.ndim - 1)] if real else []
    todo = [("fft", axis) for axis in axes]
    scale = 1.0 / math.prod(lengths) if backward else 1.0
    for name, axis in (todo + last if backward else last + todo):
        x = OPS[name](x, axis=axis, n=lengths[axis - first], backward=backward, scale=scale)
        scale = 1.0
    return x


__all__ = ["FftType", "fft"]
