"""Fourier transforms: the kernels' plans against NumPy, NumPy's functions on tracers, SciPy's cosine
transforms. The ops themselves (derivatives, batching) are in the generated tests."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import functrans as ft
from functrans import errors, grad, jit, jvp, lax, vjp, vmap
from functrans import numpy as fnp
from functrans.ir.op import OPS
from functrans.ops import fft as plans

RNG = np.random.default_rng(5)
# One, two, primes, small factors, a large prime factor (by convolution), powers, just past the limits.
SIZES = [1, 2, 3, 4, 7, 8, 13, 16, 30, 47, 48, 49, 61, 64, 67, 100, 128, 134, 210, 243, 499, 512, 1000, 1009,
         2 * 1009, 4096, 4097, 5000]


def of(shape, dtype="complex128"):
    x = RNG.normal(size=shape)
    return (x + 1j * RNG.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def near(got, want, eps=None):
    want = np.asarray(want)
    assert (np.shape(got), np.asarray(got).dtype) == (want.shape, want.dtype)
    eps = eps or (3e-6 if want.dtype.itemsize == (8 if want.dtype.kind == "c" else 4) else 2e-14)
    assert_allclose(got, want, rtol=0, atol=eps * max(1.0, np.abs(want).max(initial=0)))


# ----- plans ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("part", ["float64", "float32"])
def test_sizes_and_layouts(n, part):
    """One line, a few, many; side by side, one after the other, and in between."""
    whole = np.result_type(part, np.complex64)
    layouts = [((n,), 0), ((2, n), 1), ((n, 3), 0), ((19, n), 1), ((n, 19), 0), ((2, n, 9), 1)]
    for shape, axis in layouts if n < 1000 else layouts[:3]:
        z, x = of(shape, whole), of(shape, part)
        half = np.take(z, range(n // 2 + 1), axis)
        exact = z.astype(complex)
        near(OPS["fft"](z, axis=axis, n=n, backward=False, scale=0.5),
             (np.fft.fft(exact, axis=axis) * 0.5).astype(whole))
        near(OPS["fft"](z, axis=axis, n=n, backward=True, scale=1.0 / n),
             np.fft.ifft(exact, axis=axis).astype(whole))
        near(OPS["rfft"](x, axis=axis, n=n, backward=False, scale=1.0),
             np.fft.rfft(x.astype(float), axis=axis).astype(whole))
        near(OPS["irfft"](half, axis=axis, n=n, backward=True, scale=1.0 / n),
             np.fft.irfft(half.astype(complex), n, axis=axis).astype(part))


def test_strided_inputs():
    wide = of((12, 40, 6))
    for x in (wide[::2, ::-1, 1:4], wide.transpose(2, 0, 1), wide.real, wide.imag[::-3]):
        for axis in range(3):
            near(jit(lambda x, axis=axis: np.fft.fft(x, axis=axis))(x), np.fft.fft(x, axis=axis))
            near(jit(lambda x, axis=axis: np.fft.rfft(x.real, axis=axis))(x), np.fft.rfft(x.real, axis=axis))


def test_a_large_transform_is_accurate():
    """Against the sum itself, in double precision, at some points."""
    n = 300_000
    z = of(n)
    found = OPS["fft"](z, axis=0, n=n, backward=False, scale=1.0)
    for k in (0, 1, 12_345, n // 2, n - 1):
        want = z @ np.exp(-2j * np.pi * (np.arange(n) * k % n) / n)
        assert abs(found[k] - want) < 1e-9 * np.sqrt(n)
    near(found, np.fft.fft(z), 1e-14)


def test_nan_stays_in_its_line():
    z = of((20, 24))
    z[3, 5] = np.nan
    found = jit(lambda z: np.fft.fft(z))(z)
    assert np.isnan(found[3]).all() and np.isfinite(np.delete(found, 3, 0)).all()
    found = jit(lambda z: np.fft.fft(z, axis=0))(z)
    assert np.isnan(found[:, 5]).all() and np.isfinite(np.delete(found, 5, 1)).all()


@pytest.mark.parametrize("shape,axis", [((60_000,), 0), ((3, 20_000), 1), ((300, 200), 0), ((300, 200), 1),
                                        ((40, 1009), 1)])
def test_threads_do_not_change_bits(shape, axis):
    z = of(shape)

    def all_three(z):
        return np.fft.fft(z, axis=axis), np.fft.rfft(z.real, axis=axis), np.fft.irfft(z, axis=axis)

    f = jit(all_three)
    with ft.threads(1):
        one = f(z)
    for n in (2, 3):
        with ft.threads(n):
            for a, b in zip(f(z), one, strict=True):
                assert a.tobytes() == b.tobytes()


def test_tables_are_made_once_and_read_in_place():
    assert plans.plan(96, False, "f64", False)[2] is plans.plan(96, False, "f64", False)[2]
    assert plans.radices(2 ** 10 * 9 * 7) == [8, 8, 4, 4, 3, 3, 7] and plans.radices(1) == []
    k = np.arange(-9, 50)
    assert_allclose(plans.roots(k, 12), np.exp(-2j * np.pi * k / 12), atol=4e-16)


# ----- numpy.fft --------------------------------------------------------------------------------------

ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"]
TAKES_REAL = ("rfft", "ihfft", "rfftn", "rfft2")


def check(f, x, eps=None):
    near(jit(f)(x), f(x), eps)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_axis(name, norm):
    for dtype in ("float64", "complex128", "float32", "complex64", "int64", "bool"):
        if name in TAKES_REAL and dtype[0] == "c":
            continue
        x = (of((4, 6, 5), "float64") * 9).astype(dtype)
        for n, axis in ((None, -1), (3, 0), (8, 1), (1, -1)):
            check(lambda x, n=n, axis=axis: getattr(np.fft, name)(x, n, axis, norm), x)
    assert jit(getattr(np.fft, name))(np.ones(4, np.float16)).dtype == getattr(np.fft, name)(
        np.ones(4, np.float16)).dtype


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", SEVERAL)
def test_functions_of_several_axes(name, norm):
    f = getattr(np.fft, name)
    for dtype in ("float64", "complex64")[:1 if name in TAKES_REAL else 2]:
        x = of((4, 6, 5), dtype)
        check(lambda x: f(x, norm=norm), x)
        check(lambda x: f(x, s=(3, 7), axes=(2, 0), norm=norm), x)
        check(lambda x: f(x, s=(-1, 4), axes=(0, 1), norm=norm), x)


def test_names_are_numpys_and_both_spellings_agree():
    assert sorted(fnp.fft.__all__) == sorted(n for n in np.fft.__all__)
    x = of((3, 8), "float64")
    for name in ("fft", "rfft2", "fftshift"):
        ours, numpys = ([e.op.name for e in ft.make_jaxpr(lambda x, f=f: f(x))(x).eqns]
                        for f in (getattr(fnp.fft, name), getattr(np.fft, name)))
        assert ours == numpys != []
        near(getattr(fnp.fft, name)(x), getattr(np.fft, name)(x))


def test_shifts_and_frequencies():
    x = of((4, 5, 6), "float64")
    for axes in (None, 1, (0, -1)):
        for f in (np.fft.fftshift, np.fft.ifftshift):
            check(lambda x, axes=axes, f=f: f(x, axes=axes), x)
    for n in (1, 4, 5):
        for name in ("fftfreq", "rfftfreq"):
            want = getattr(np.fft, name)(n, 0.3)
            assert_allclose(getattr(fnp.fft, name)(n, 0.3), want)
            found = jit(lambda d, name=name, n=n: getattr(fnp.fft, name)(n, d))(0.3)
            assert_allclose(found, want, rtol=1e-14)
    assert_allclose(grad(lambda d: fnp.fft.fftfreq(4, d)[1])(0.5), -1.0)


def test_errors():
    x = np.ones((3, 4))
    for f, error, text in [
            (lambda x: np.fft.fft(x, n=0), ValueError, r"Invalid number of FFT data points \(0\)"),
            (lambda x: np.fft.fft(x, axis=2), np.exceptions.AxisError, "axis 2 is out of bounds"),
            (lambda x: np.fft.fft(x[0, 0]), np.exceptions.AxisError, "a transform needs an axis"),
            (lambda x: np.fft.fft(x, norm="both"), ValueError, "Invalid norm value both"),
            (lambda x: np.fft.hfft(x, norm="both"), ValueError, "Invalid norm value both"),
            (lambda x: np.fft.rfft(x * 1j), TypeError, "rfft takes real input, got complex128"),
            (lambda x: np.fft.fftn(x, s=(2,), axes=(0, 1)), ValueError, "have different lengths"),
            (lambda x: np.fft.irfft(x[:, :1]), ValueError, r"FFT data points \(0\)"),
            (lambda x: np.fft.rfftn(x, axes=()), IndexError, "needs at least one axis"),
            (lambda x: np.fft.fft(x, out=np.empty((3, 4), complex)), errors.InPlaceError, "out=")]:
        with pytest.raises(error, match=text):
            jit(f)(x)


# ----- derivatives of whole functions -----------------------------------------------------------------


def test_gradient_of_a_spectrum_follows_parseval():
    """sum |X|^2 = n sum x^2, of real input over both halves."""
    x = of(37, "float64")
    assert_allclose(grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x), 2 * 37 * x, rtol=1e-12)
    z = of(12)
    assert_allclose(grad(lambda z: np.sum(np.abs(np.fft.ifft(z)) ** 2))(z), 2 * z.conj() / 12, rtol=1e-12)


def test_linear_functions_equal_their_jvp_and_adjoint():
    for name in ONE + SEVERAL:
        def f(x, name=name):
            return getattr(np.fft, name)(x, norm="ortho")
        dtype = "float64" if name in TAKES_REAL else "complex128"
        x, t = of((3, 8), dtype), of((3, 8), dtype)
        out, tangent = jvp(f, (x,), (t,))
        near(tangent, f(t))
        ct = of(out.shape, out.dtype)
        (back,) = vjp(f, x)[1](ct)
        assert_allclose(np.sum(ct * tangent).real, np.sum(back * t).real, rtol=1e-11)


def test_vmap_moves_no_axes():
    z = of((5, 8, 3))
    for axis in range(3):
        found = vmap(lambda z: np.fft.fft(z, axis=0), in_axes=axis, out_axes=axis)(z)
        near(found, np.fft.fft(z, axis=0 if axis else 1))
        jaxpr = str(ft.make_jaxpr(vmap(lambda z: np.fft.fft(z, axis=0), in_axes=axis, out_axes=axis))(z))
        assert "transpose" not in jaxpr and "scan" not in jaxpr


def test_second_derivative_through_a_convolution():
    """h(a) = sum (a * a)^2 by transforms, against direct sums."""
    def direct(a):
        return np.sum(np.convolve(a, a) ** 2)

    def by_transforms(a):
        return np.sum(np.fft.irfft(np.fft.rfft(a, 15) ** 2, 15) ** 2)

    a, t, h = of(8, "float64"), of(8, "float64"), 1e-3
    want = (direct(a + h * t) - 2 * direct(a) + direct(a - h * t)) / h ** 2
    assert_allclose(by_transforms(a), direct(a), rtol=1e-12)
    assert_allclose(t @ ft.hessian(by_transforms)(a) @ t, want, rtol=1e-4)


# ----- lax.fft ----------------------------------------------------------------------------------------


def test_lax_fft():
    x, z = of((3, 4, 6), "float64"), of((3, 4, 6))
    for kind, want in [("FFT", np.fft.fft2(z)), ("ifft", np.fft.ifft2(z)), (lax.FftType.FFT, np.fft.fft2(z))]:
        near(lax.fft(z, kind, (4, 6)), want)
        near(jit(lambda z, kind=kind: lax.fft(z, kind, (4, 6)))(z), want)
    near(lax.fft(x, lax.FftType.RFFT, (6,)), np.fft.rfft(x))
    near(lax.fft(x, "RFFT", 6), np.fft.rfft(x))
    near(lax.fft(z, "IRFFT", (4, 10)), np.fft.irfftn(z, (4, 10), (1, 2)))
    for bad, text in [((z, "DFT", (6,)), "FftType"), ((z, "FFT", (5,)), r"fft_lengths \(5,\)"),
                      ((z, "IRFFT", (6,)), "fft_lengths"), ((z, "FFT", (1, 3, 4, 6)), "has only 3 axes")]:
        with pytest.raises(ValueError, match=text):
            lax.fft(*bad)
    for bad in ((x, "FFT", (6,)), (z, "RFFT", (6,))):
        with pytest.raises(TypeError, match=r"takes .* input"):
            lax.fft(*bad)
