"""functrans.numpy.convolve and correlate, functrans.scipy.fft and functrans.scipy.signal, against NumPy and
SciPy; derivatives against differences and adjoints."""

import inspect
import warnings

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from numpy.testing import assert_allclose
from util import assert_adjoint, difference

from functrans import grad, jit, jvp, vjp, vmap
from functrans.scipy import fft, signal

RNG = np.random.default_rng(3)


def of(shape, dtype="float64"):
    x = RNG.normal(size=shape) * 4
    return (x + 1j * RNG.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def same(got, want, rtol=1e-9):
    """Equal structure, shapes, dtypes and values."""
    got, want = (x if isinstance(x, tuple) else (x,) for x in (got, want))
    assert len(got) == len(want)
    for a, b in zip(map(np.asarray, got), map(np.asarray, want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        single = b.dtype in (np.float32, np.complex64)
        assert_allclose(a, b, rtol=1e-4 if single else rtol, atol=1e-4 if single else 1e-10)


def check(ours, scipys, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(jit(lambda *xs: ours(*xs, **kwargs))(*args), scipys(*args, **kwargs))


def both(name, *args, **kwargs):
    check(getattr(signal, name), getattr(scipy.signal, name), *args, **kwargs)


# ----- numpy.convolve, numpy.correlate ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_vectors(name, mode):
    f = getattr(np, name)
    for n, m in [(1, 1), (2, 1), (7, 3), (6, 4), (3, 7), (4, 6), (5, 5)]:
        for dtype in ("float64", "complex128", "int64", "bool", "float32"):
            a, v = of(n, dtype), of(m, dtype)
            check(lambda a, v: f(a, v, mode), lambda a, v: f(a, v, mode), a, v)
    check(lambda a: f(a, [1, 2], mode), lambda a: f(a, [1, 2], mode), of(5))


def test_vectors_derivatives_batches_and_errors():
    a, v, t = of(8), of(3), of(8)
    for f in (np.convolve, np.correlate):
        _, tangent = jvp(lambda a, f=f: f(a, v, "same"), (a,), (t,))
        same(tangent, f(t, v, "same"))
        assert_adjoint(lambda t, f=f: f(a, t, "full"), vjp(lambda v, f=f: f(a, v, "full"), v)[1], (of(3),),
                       of(10))
        same(vmap(lambda a, f=f: f(a, v, "valid"))(np.stack([a, t])), np.stack([f(a, v, "valid"),
                                                                             f(t, v, "valid")]))
    for bad, text in [(lambda a: np.convolve(a, a[:0]), "v cannot be empty"),
                      (lambda a: np.convolve(a, a, "some"), "mode must be"),
                      (lambda a: np.correlate(a[None], a), "a must be one-dimensional")]:
        with pytest.raises(ValueError, match=text):
            jit(bad)(a)


# ----- scipy.fft --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dct", "idct", "dst", "idst"])
@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_cosine_and_sine_transforms(name, kind):
    ours, scipys = getattr(fft, name), getattr(scipy.fft, name)
    for n in (1, 2, 3, 8, 15):
        if kind == 1 and n == 1 and name in ("dct", "idct"):
            continue
        for norm, orthogonalize in ((None, None), ("ortho", None), ("forward", None), ("ortho", False),
                                    (None, True)):
            check(ours, scipys, of((3, n)), type=kind, norm=norm, orthogonalize=orthogonalize)
    check(ours, scipys, of((5, 4), "float32"), type=kind, axis=0)
    check(ours, scipys, of((5, 4), "complex128"), type=kind, n=7)
    x = of(6)
    f = {"dct": fft.idct, "idct": fft.dct, "dst": fft.idst, "idst": fft.dst}[name]
    same(jit(lambda x: f(ours(x, kind), kind))(x), x)
    assert_adjoint(lambda t: ours(t, kind), vjp(lambda x: ours(x, kind), x)[1], (of(6),), of(6))


def test_the_family_has_scipys_signatures_and_values():
    for name in fft.__all__:
        theirs, ours = (inspect.signature(getattr(m, name)) for m in (scipy.fft, fft))
        assert list(ours.parameters) == list(theirs.parameters), name
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "rfftn", "irfft2", "hfftn",
                 "ihfft2",
                 "dctn", "idctn", "dstn", "idstn", "fftshift"):
        check(getattr(fft, name), getattr(scipy.fft, name), of((4, 6)))
    check(fft.dctn, scipy.fft.dctn, of((4, 6)), s=(3, 8), axes=(1, 0))
    assert fft.next_fast_len(13) == scipy.fft.next_fast_len(13)
    for bad, text in [(lambda x: fft.dct(x, 5), "type must be 1, 2, 3 or 4"),
                      (lambda x: fft.dct(x[:, :1], 1), "type 1 needs at least 2 points"),
                      (lambda x: fft.dct(x, norm="all"), "Invalid norm")]:
        with pytest.raises(ValueError, match=text):
            jit(bad)(of((3, 4)))


# ----- convolutions
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n,m", [((7,), (4,)), ((3,), (7,)), ((5, 6), (2, 3)), ((5, 6), (7, 8)),
                                 ((3, 4, 5), (2, 2, 2)),
                                 ((2, 3, 4, 5), (1, 2, 2, 2)), ((300,), (90,))])
def test_convolutions(mode, n, m):
    for dtype in ("float64", "complex128", "int64", "float32"):
        a, b = of(n, dtype), of(m, dtype)
        for name in ("convolve", "correlate"):
            for method in ("auto", "direct", "fft"):
                both(name, a, b, mode=mode, method=method)
        both("fftconvolve", a, b, mode=mode)
        both("oaconvolve", a, b, mode=mode)
        if len(n) == 2:
            for boundary in ("fill", "wrap", "symm"):
                both("convolve2d", a, b, mode=mode, boundary=boundary)
                both("correlate2d", a, b, mode=mode, boundary=boundary)
            both("convolve2d", a, b, mode=mode, fillvalue=2)


def test_convolutions_along_axes():
    for mode in ("full", "same", "valid"):
        for name in ("fftconvolve", "oaconvolve"):
            both(name, of((3, 50)), of((1, 7)), mode=mode)
            both(name, of((3, 50)), of((1, 7)), mode=mode, axes=1)
            both(name, of((2, 400)), of((2, 5)), mode=mode, axes=-1)
            both(name, of((5, 2)), of((400, 2)), mode=mode, axes=[0])


def test_convolutions_derivatives():
    a, w, t, u = of(40), of(5), of(40), of(5)
    for f in (signal.convolve, signal.correlate, signal.fftconvolve, signal.oaconvolve):
        def move(s, f=f):
            return f(a + s * t, w + s * u)
        tangent = jvp(f, (a, w), (t, u))[1]
        assert_allclose(tangent, difference(move), rtol=1e-7, atol=1e-7)
        assert_adjoint(lambda t, f=f: jvp(lambda a: f(a, w), (a,), (t,))[1],
                       vjp(lambda a, f=f: f(a, w), a)[1], (t,),
                       of(44))
        assert_allclose(vmap(f, in_axes=(0, None))(np.stack([a, t]), w), np.stack([f(a, w), f(t, w)]),
                        atol=1e-10)


def test_bad_input():
    x = of((4, 5))
    for bad, text in [(lambda x: signal.convolve(x, x[0]), "as many axes"),
                      (lambda x: signal.convolve(x, x, "some"), "mode must be"),
                      (lambda x: signal.convolve(x, x, method="quick"), "method must be"),
                      (lambda x: signal.convolve(x, x[:2, :].T[:, :], "valid"), "at least as large"),
                      (lambda x: signal.convolve2d(x, x, boundary="odd"), "boundary must be"),
                      (lambda x: signal.convolve2d(x[0], x[0]), "must have two axes"),
                      (lambda x: signal.fftconvolve(x, x[:2], axes=1), "extents must be equal or 1"),
                      (lambda x: signal.welch(x, nperseg=4, noverlap=4), "noverlap must be less"),
                      (lambda x: signal.welch(x, nperseg=4, nfft=3), "nfft must be greater"),
                      (lambda x: signal.detrend(x, type="cubic"), "type must be"),
                      (lambda x: signal.lfilter(x, [1.0], x), "must be vectors")]:
        with pytest.raises(ValueError, match=text):
            jit(bad)(x)


# ----- spectra
# --------------------------------------------------------------------------------------------------

CASES = [{}, {"nperseg": 64}, {"nperseg": 65, "noverlap": 10, "nfft": 100, "window": "hamming",
                               "scaling": "spectrum"},
         {"average": "median", "nperseg": 50, "detrend": "linear"},
         {"detrend": False, "nperseg": 32, "fs": 10.0},
         {"nperseg": 30, "return_onesided": False}, {"axis": 0, "nperseg": 2},
         {"window": np.hanning(40), "nperseg": 40}]


@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
def test_spectra(dtype):
    x = of((2, 300), dtype)
    y = of((2, 300), dtype)
    for k in CASES:
        both("welch", x, **k)
        both("csd", x, y, **k)
        both("csd", x, y[:, :200], **{**k, "axis": -1})
        short = {a: b for a, b in k.items() if a not in ("average", "scaling", "axis")}
        both("spectrogram", x, **short)
        if "return_onesided" not in k:
            both("coherence", x, y, **short)
        for boundary in ("zeros", None, "even", "odd", "constant"):
            both("stft", x, boundary=boundary, **short)
        both("stft", x, scaling="psd", padded=False, **short)
    both("stft", x.T, axis=0, nperseg=32)
    for k in ({}, {"nfft": 400}, {"nfft": 100}, {"window": "hann", "axis": 0}):
        both("periodogram", x, **k)
    for mode in ("complex", "magnitude", "angle", "phase"):
        both("spectrogram", x, mode=mode, nperseg=32)
    for k in ({}, {"axis": 0}, {"type": "constant"}, {"bp": [10, 50]}):
        both("detrend", x, **k)


@pytest.mark.parametrize("k", [{"nperseg": 64}, {"nperseg": 65, "noverlap": 10},
                               {"nperseg": 32, "noverlap": 24},
                               {"nperseg": 64, "scaling": "psd", "window": "hamming"}], ids=str)
def test_inverse_short_time_transform(k):
    def signals(f):             # SciPy's times are wrong for several signals
        return lambda *args, **kwargs: f(*args, **kwargs)[1]

    x, z = of((2, 300)), of((2, 300), "complex128")
    ours, scipys = signals(signal.istft), signals(scipy.signal.istft)
    found = scipy.signal.stft(x, **k)[2]
    check(ours, scipys, found, **k)
    check(ours, scipys, np.moveaxis(found, -1, 0), time_axis=0, freq_axis=-1, **k)
    check(ours, scipys, np.moveaxis(found, 0, -1), time_axis=1, freq_axis=0, **k)
    check(ours, scipys, scipy.signal.stft(z, return_onesided=False, **k)[2], input_onesided=False, **k)
    both("istft", scipy.signal.stft(x[0], **k)[2], **k)
    back = jit(lambda x: signal.istft(signal.stft(x, **k)[2], **k)[1])(x)
    assert_allclose(back[:, :300], x, atol=1e-12)


def test_spectra_are_differentiable_also_in_the_window():
    x, w, u = of(120), np.hanning(32) + 0.1, RNG.normal(size=32)

    def power(x, w):
        return np.sum(np.log(signal.welch(x, window=w)[1]))
    t = of(120)
    want = difference(lambda s: float(jit(power)(x + s * t, w + s * u)))
    gx, gw = grad(power, (0, 1))(x, w)
    assert_allclose(gx @ t + gw @ u, want, rtol=1e-7)


# ----- filters
# ----------------------------------------------------------------------------------------------------


def test_lfilter():
    for dtype in ("float64", "complex128", "float32"):
        x = of((2, 30), dtype)
        for b, a, k in [([1.0, 0.5, 0.2], [2.0, -0.3], {}), ([1.0, 0.5], [1.0, -0.3, 0.1], {"axis": 0}),
                        ([1.0, 0.5], [2.0], {}), ([2.0], [1.0], {})]:
            b, a = np.array(b, x.real.dtype), np.array(a, x.real.dtype)
            check(lambda x, b=b, a=a, **k: signal.lfilter(b, a, x, **k),
                  lambda x, b=b, a=a, **k: scipy.signal.lfilter(b, a, x, **k), x, **k)
    zi = of((2, 2))
    check(lambda x: signal.lfilter([1.0, 0.5], [1.0, -0.3, 0.1], x, zi=zi),
          lambda x: scipy.signal.lfilter([1.0, 0.5], [1.0, -0.3, 0.1], x, zi=zi), of((2, 30)))

    def f(a):
        return np.sum(signal.lfilter([1.0, 0.5], a, y) ** 2)
    y, a, t = of(20), np.array([2.0, -0.3, 0.4]), np.array([0.2, 0.5, -0.4])
    assert_allclose(grad(f)(a) @ t, difference(lambda s: float(f(a + s * t))), rtol=1e-8)


def test_savgol_filter():
    for x in (of((3, 40)), of((3, 40), "float32")):
        for mode in ("interp", "mirror", "constant", "nearest", "wrap"):
            for length in (5, 6, 7):
                both("savgol_filter", x, window_length=length, polyorder=2, mode=mode)
        both("savgol_filter", x, window_length=7, polyorder=3, deriv=1, delta=0.5)
        both("savgol_filter", x.T, window_length=7, polyorder=3, axis=0)
    with pytest.raises(ValueError, match="must not exceed the extent"):
        jit(lambda x: signal.savgol_filter(x, 9, 2))(of(5))
