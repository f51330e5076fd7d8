"""functrans.scipy.special on traced arrays: SciPy's values and dtypes, derivatives against mpmath."""

import inspect

import mpmath
import numpy as np
import pytest
import scipy.special
from mpmath import mp

import functrans as ft
from functrans import lax
from functrans.errors import ArgumentError, NonDifferentiableError, NotSupportedError
from functrans.ir.op import OPS
from functrans.scipy import special

# Operands where SciPy's own test values are unremarkable: any name without a line here gets the default.
WIDE, UNIT, PLACE = np.array([0.3, 1.0, 2.5, 7.0]), np.array([0.05, 0.3, 0.6, 0.95]), np.array([-3.0, -0.2,
0.0, 1.5])
WHOLE = np.array([0.0, 1.0, 2.0, 5.0])
ARGS = {
    "erf": PLACE, "erfc": PLACE, "erfcx": PLACE, "erfi": PLACE, "dawsn": PLACE, "erfinv": UNIT,
    "erfcinv": UNIT,
    "log_ndtr": PLACE, "ndtr": PLACE, "ndtri": UNIT, "ndtri_exp": -WIDE, "owens_t": (PLACE, WIDE),
    "gammasgn": PLACE, "gammaincinv": (WIDE, UNIT), "gammainccinv": (WIDE, UNIT), "binom": (WIDE + 8, WIDE),
    "betainc": (WIDE, WIDE + 1, UNIT), "betaincc": (WIDE, WIDE + 1, UNIT), "betaincinv": (WIDE, WIDE + 1,
    UNIT),
    "betainccinv": (WIDE, WIDE + 1, UNIT), "polygamma": (WHOLE.astype(int), WIDE), "zeta": (WIDE + 1, WIDE),
    "multigammaln": (WIDE + 2, 3), "comb": (WHOLE + 3, WHOLE), "perm": (WHOLE + 3, WHOLE), "expn": (WHOLE,
    WIDE),
    "j0": PLACE, "j1": PLACE, "i0": PLACE, "i1": PLACE, "i0e": PLACE, "i1e": PLACE, "airy": PLACE,
    "spherical_jn": (WHOLE.astype(int), WIDE), "spherical_yn": (WHOLE.astype(int), WIDE),
    "spherical_in": (WHOLE.astype(int), WIDE), "spherical_kn": (WHOLE.astype(int), WIDE), "jn": (WHOLE, WIDE),
    "yn": (WHOLE.astype(int), WIDE), "kn": (WHOLE.astype(int), WIDE), "sici": PLACE, "shichi": PLACE,
    "ellipk": UNIT, "ellipkm1": UNIT, "ellipe": UNIT, "ellipkinc": (WIDE, UNIT), "ellipeinc": (WIDE, UNIT),
    "ellipj": (PLACE, UNIT), "hyp1f1": (WIDE, WIDE + 1, PLACE), "hyp2f1": (WIDE, WIDE + 1, WIDE + 2, UNIT),
    "hyperu": (WIDE, UNIT, WIDE), "eval_jacobi": (WHOLE, UNIT, WIDE, UNIT), "voigt_profile": (PLACE, WIDE,
    UNIT),
    "eval_hermite": (WHOLE.astype(int), PLACE), "eval_hermitenorm": (WHOLE.astype(int), PLACE),
    "eval_gegenbauer": (WHOLE, WIDE, UNIT), "eval_genlaguerre": (WHOLE, WIDE, UNIT), "logit": UNIT,
    "chdtri": (WIDE, UNIT), "gdtr": (WIDE, WIDE, UNIT), "gdtrc": (WIDE, WIDE, UNIT), "gdtrix": (WIDE, WIDE,
    UNIT),
    "pdtr": (WHOLE, WIDE), "pdtrc": (WHOLE, WIDE), "pdtri": (WHOLE.astype(int), UNIT),
    "bdtr": (WHOLE, WHOLE.astype(int) + np.array([0, 2, 1, 4]), UNIT),
    "bdtrc": (WHOLE, WHOLE.astype(int) + np.array([0, 2, 1, 4]), UNIT),
    "nbdtr": (WHOLE.astype(int), WHOLE.astype(int) + 2, UNIT), "fdtri": (WIDE, WIDE, UNIT),
    "nbdtrc": (WHOLE.astype(int), WHOLE.astype(int) + 2, UNIT), "fdtr": (WIDE, WIDE, WIDE),
    "fdtrc": (WIDE, WIDE, WIDE), "stdtr": (WIDE, PLACE), "stdtrit": (WIDE, UNIT), "cosm1": PLACE,
    "exprel": PLACE,
    "sindg": PLACE * 100, "cosdg": PLACE * 100, "tandg": PLACE * 10, "diric": (PLACE, 4), "sinc": PLACE,
    "log_expit": PLACE, "expit": PLACE, "huber": (WIDE, PLACE), "pseudo_huber": (WIDE, PLACE), "agm": (WIDE,
    UNIT),
    "factorial": WHOLE, "powm1": (WIDE, PLACE), "rel_entr": (WIDE, UNIT), "kl_div": (WIDE, UNIT),
    "inv_boxcox": (UNIT, PLACE / 4), "inv_boxcox1p": (UNIT, PLACE / 4),
}
OTHERS = {"logsumexp", "softmax", "log_softmax", "logaddexp", "bernoulli", "bessel_jn", "lambertw",
"sph_harm_y",
          "wofz"}                   # test_special, and below
NAMES = [name for name in special.__all__ if name not in OTHERS]
UFUNCS = [name for name in NAMES if isinstance(getattr(scipy.special, name, None), np.ufunc)]
STATIC = {"multigammaln": 1, "diric": 1}        # arguments that must be known, from this one on


def arguments(name):
    found = ARGS.get(name)
    if found is None:
        arity = len(inspect.signature(getattr(special, name)).parameters)
        found = (WIDE,) * arity
    return found if isinstance(found, tuple) else (found,)


def test_there_are_enough():
    assert len(special.__all__) >= 110 and len(set(special.__all__)) == len(special.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_scipys(name):
    args, theirs, ours = arguments(name), getattr(scipy.special, name), getattr(special, name)
    n = STATIC.get(name, len(args))
    want = theirs(*args)
    got = ft.jit(lambda *xs: ours(*xs, *args[n:]))(*args[:n])
    for g, w in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
        np.testing.assert_allclose(g, w, rtol=2e-13, atol=1e-15)
    narrow = [np.float32(a) if np.asarray(a).dtype.kind == "f" else a for a in args[:n]]
    got = ft.jit(lambda *xs: ours(*xs, *args[n:]))(*[np.float32(a) for a in args[:n]])
    for g, w in zip(got, theirs(*narrow, *args[n:]), strict=True) if isinstance(want, tuple) else [
            (got, theirs(*narrow, *args[n:]))]:
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", UFUNCS)
def test_scipys_ufuncs_reach_tracers(name):
    args = arguments(name)
    got = ft.jit(getattr(scipy.special, name))(*args)
    want = ft.jit(getattr(special, name))(*args)
    np.testing.assert_array_equal(got, want)


def test_broadcasting_integers_and_keywords():
    a, x = np.array([[1], [2]]), np.linspace(0.2, 3, 4)
    np.testing.assert_allclose(ft.jit(special.gammainc)(a, x), scipy.special.gammainc(a, x), rtol=1e-14)
    assert ft.jit(special.gamma)(4) == 6.0
    assert ft.jit(lambda x: special.gammainc(x=x, a=2.0))(1.5) == scipy.special.gammainc(2.0, 1.5)
    assert special.gammainc(x=1.5, a=2.0) == scipy.special.gammainc(2.0, 1.5)
    assert ft.jit(special.j0)(np.float16(0.5)).dtype == np.float16
    with pytest.raises(TypeError, match="is not defined for"):
        ft.jit(special.gammainc)(1j, 2.0)


# ----- derivatives ---------------------------------------------------------------------------------------

mp.dps = 40


def exact(f, at, n=1):
    """The n-th derivative of an mpmath function of one number."""
    return float(mp.diff(f, mp.mpf(at), n))


GAMMAS = [(0.3, 0.1), (0.3, 4.0), (2.5, 1.5), (30.0, 25.0), (30.0, 36.0), (500.0, 490.0)]
BETAS = [(0.4, 0.6, 0.2), (2.5, 1.5, 0.7), (20.0, 3.0, 0.9), (0.5, 40.0, 0.01), (150.0, 120.0, 0.55)]


@pytest.mark.parametrize("a,x", GAMMAS)
def test_gammainc_by_its_parameter(a, x):
    want = exact(lambda t: mp.gammainc(t, 0, mp.mpf(x), regularized=True), a)
    assert ft.grad(special.gammainc)(a, x) == pytest.approx(want, rel=2e-13)
    assert ft.grad(special.gammaincc)(a, x) == pytest.approx(-want, rel=2e-13)
    assert ft.jit(lax.igamma_grad_a)(a, x) == pytest.approx(want, rel=2e-13)
    density = float(mp.mpf(x) ** (a - 1) * mp.exp(-x) / mp.gamma(a))
    assert lax.random_gamma_grad(a, x) == pytest.approx(-want / density, rel=1e-12)
    p = float(mp.gammainc(a, 0, x, regularized=True))
    if 1e-6 < p < 1 - 1e-6:
        assert ft.grad(special.gammaincinv)(a, p) == pytest.approx(-want / density, rel=1e-9)


@pytest.mark.parametrize("a,b,x", BETAS)
def test_betainc_by_its_parameters(a, b, x):
    by_a = exact(lambda t: mp.betainc(t, mp.mpf(b), 0, mp.mpf(x), regularized=True), a)
    by_b = exact(lambda t: mp.betainc(mp.mpf(a), t, 0, mp.mpf(x), regularized=True), b)
    got = ft.grad(special.betainc, (0, 1))(a, b, x)
    np.testing.assert_allclose(got, (by_a, by_b), rtol=2e-12)
    np.testing.assert_allclose(ft.grad(special.betaincc, (0, 1))(a, b, x), (-by_a, -by_b), rtol=2e-12)


def test_zeta_by_both_arguments():
    for s, q in ((1.2, 0.3), (3.0, 2.5), (25.0, 1.5)):
        want = float(mp.zeta(mp.mpf(s), mp.mpf(q), 1)), -s * float(mp.zeta(mp.mpf(s + 1), mp.mpf(q)))
        np.testing.assert_allclose(ft.grad(special.zeta, (0, 1))(s, q), want, rtol=1e-14)
    for s in (-7.3, -2.0, -0.5, 0.0, 0.4, 1.7, 9.0):
        assert special.zeta.traced(s) == pytest.approx(float(mp.zeta(s)), rel=1e-13, abs=1e-17)
        assert ft.grad(special.zeta)(s) == pytest.approx(float(mp.zeta(s, 1, 1)), rel=1e-13)


# Functions whose derivatives are quotients near a place: (ours, mpmath's, place).
SMOOTH = {
    "j1": (special.j1, lambda x: mp.besselj(1, x), 0.0), "i1": (special.i1, lambda x: mp.besseli(1, x), 0.0),
    "sinc": (np.sinc, lambda x: mp.sincpi(x), 0.0), "exprel": (special.exprel, lambda x: mp.expm1(x) / x,
    1e-30),
    "Si": (lambda x: special.sici(x)[0], mp.si, 0.0), "Shi": (lambda x: special.shichi(x)[0], mp.shi, 0.0),
    "spence": (special.spence, lambda x: mp.polylog(2, 1 - x), 0.9999999), "ellipk": (special.ellipk,
    mp.ellipk, 0.0),
    "ellipe": (special.ellipe, mp.ellipe, 0.0), "dawsn": (special.dawsn,
    lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(
        -x * x) * mp.erfi(x), 30.0), "erfcx": (special.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), 30.0),
    "log_ndtr": (special.log_ndtr, lambda x: mp.log(mp.ncdf(x)), -40.0),
    "boxcox": (lambda p: special.boxcox(3.0, p), lambda p: mp.expm1(p * mp.log(3)) / p, 1e-30),
    "jv": (lambda x: special.jv(1.0, x), lambda x: mp.besselj(1, x), 0.0),
    "spherical_jn": (lambda x: special.spherical_jn(1.0, x), lambda x: (mp.sin(x) / x - mp.cos(x)) / x, 0.3),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_higher_derivatives_where_quotients_cancel(name):
    f, reference, at = SMOOTH[name]
    with mp.workdps(120):
        for n in (1, 2, 3):
            f = ft.grad(f)
            want = float(mp.diff(reference, mp.mpf(at), n, h=mp.mpf(10) ** -35))
            assert f(at) == pytest.approx(want, rel=3e-11, abs=1e-13), n


def test_what_has_no_rule_says_so():
    for f, i in ((special.jv, 0), (special.hyp2f1, 2), (special.expn, 0)):
        args = [1.0, 0.5, 1.5, 0.3][:len(inspect.signature(f).parameters)]
        with pytest.raises(NonDifferentiableError, match="has no rule"):
            ft.grad(f, i)(*args)
    with pytest.raises(NonDifferentiableError, match="first derivative of gammainc"):
        ft.grad(ft.grad(special.gammainc))(2.0, 1.0)
    assert np.isfinite(ft.grad(ft.grad(special.gammainc, 1), 1)(2.0, 1.0))
    for f in (lambda x: special.multigammaln(x, x), lambda x: special.lambertw(x, 0.5),
              lambda x: special.bessel_jn(x, v=1.5)):
        with pytest.raises(ArgumentError):
            ft.jit(f)(2.0)
    with pytest.raises(NotSupportedError):
        ft.jit(lambda n: special.factorial(n, exact=True))(3)


# ----- those that are not one ufunc ----------------------------------------------------------------------


def test_lambertw():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, 300)) * 10 ** rng.uniform(-6, 4, (2, 300))
    z = np.concatenate([parts[0] + 1j * parts[1], [-0.36, -0.2, 0.0, 1.0, 1e10, -1.0, -5.0]])
    for k in (-2, -1, 0, 1, 2):
        want = scipy.special.lambertw(z, k)
        got = ft.jit(lambda z, k=k: special.lambertw(z, k), static_argnames="k")(z)
        far = (np.abs(z + 1 / np.e) > 1e-2) & np.isfinite(want)              # else badly conditioned
        np.testing.assert_allclose(got[far], want[far], rtol=1e-13)
        np.testing.assert_allclose(got[~far], want[~far], rtol=1e-7)
    assert special.lambertw.traced(-1 / np.e) == pytest.approx(-1)               # SciPy has NaN
    w = special.lambertw(2.0).real
    assert ft.grad(lambda x: special.lambertw(x).real)(2.0) == pytest.approx(w / (2.0 * (1 + w)))


def test_wofz_and_voigt():
    z = np.array([0.3 + 0.2j, -2.0 + 1j, 4.0 - 0.5j])
    np.testing.assert_allclose(ft.jit(special.wofz)(z), scipy.special.wofz(z), rtol=1e-13)
    g = ft.grad(special.voigt_profile, (0, 1, 2))(0.7, 1.2, 0.5)
    for i, h in enumerate(np.eye(3) * 1e-6):
        at = np.array([0.7, 1.2, 0.5])
        want = (scipy.special.voigt_profile(*(at + h)) - scipy.special.voigt_profile(*(at - h))) / 2e-6
        assert g[i] == pytest.approx(want, rel=1e-7)


def test_spherical_harmonics():
    n, m = np.array([0, 1, 2, 3, 4, 2]), np.array([0, -1, 2, -2, 3, 5])
    theta, phi = np.linspace(0.0, np.pi, 6), np.linspace(-2.0, 2.0, 6)
    want = scipy.special.sph_harm_y(n, m, theta, phi)
    np.testing.assert_allclose(ft.jit(special.sph_harm_y)(n, m, theta, phi), want, rtol=1e-12, atol=1e-15)
    def part(t):
        return special.sph_harm_y(2, 1, t, 0.0).real
    slope = scipy.special.sph_harm_y(2, 1, 1e-6, 0.0).real / 1e-6
    assert ft.grad(part)(0.0) == pytest.approx(slope, rel=1e-5)


def test_bessel_jn_and_odd_functions():
    np.testing.assert_allclose(ft.jit(lambda z: special.bessel_jn(z, v=3))(WIDE),
                               [scipy.special.jv(v, WIDE) for v in range(4)], rtol=1e-13)
    n = np.arange(4)[:, None]
    for name in ("spherical_jn", "spherical_yn", "spherical_in"):
        for derivative in (False, True):
            got = ft.jit(getattr(special, name), static_argnums=2)(n, -WIDE, derivative)
            want = getattr(scipy.special, name)(n, -WIDE, derivative)
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_edges():
    assert ft.grad(special.rgamma)(-2.0) == pytest.approx(2.0)                    # (-1)^n n!
    assert ft.grad(special.stdtr, 1)(3.0, 0.0) == pytest.approx(float(mpmath.gamma(2) / (
        mpmath.sqrt(3 * mpmath.pi) * mpmath.gamma(1.5))))
    assert ft.jit(special.comb)(2.0, 5.0) == 0 and ft.grad(special.comb)(2.0, 5.0) == 0
    assert ft.grad(special.gammainc, 1)(1.0, 0.0) == 1.0
    assert ft.grad(special.gammainc)(2.0, 0.0) == 0.0
    assert ft.grad(special.betainc)(2.0, 3.0, 1.0) == 0.0
    assert ft.jit(special.boxcox)(0.0, 2.0) == scipy.special.boxcox(0.0, 2.0)
    assert ft.jit(special.boxcox)(np.inf, -2.0) == scipy.special.boxcox(np.inf, -2.0)


# ----- many elements, loops ------------------------------------------------------------------------------


def test_many_threads_and_loops_give_the_same_bits():
    x = np.random.default_rng(1).uniform(0.1, 9.0, 40_000)
    f = ft.jit(lambda x: special.gammainc(2.5, x) + OPS["digamma"](x))
    before = ft.get_num_threads()
    try:
        ft.set_num_threads(1)
        one = f(x)
        ft.set_num_threads(3)
        np.testing.assert_array_equal(f(x), one)
    finally:
        ft.set_num_threads(before)
    np.testing.assert_array_equal(f(x[:5]), one[:5])                             # a scalar program
    ys = ft.jit(lambda x: lax.scan(lambda c, x: (c, special.gammainc(2.5, x) + special.digamma(x)), 0.0,
    x)[1])(x[:50])
    np.testing.assert_array_equal(ys, one[:50])
    np.testing.assert_array_equal(ft.vmap(lambda v: special.hyp2f1(0.5, 1.0, 1.5, v))(x[:9] / 10),
                                  scipy.special.hyp2f1(0.5, 1.0, 1.5, x[:9] / 10))


def test_lax_names():
    args = {"lgamma": (2.5,), "digamma": (2.5,), "polygamma": (1.0, 2.5), "igamma": (2.5, 1.5),
            "igammac": (2.5, 1.5), "betainc": (2.5, 1.5, 0.4), "zeta": (2.0, 1.5), "bessel_i0e": (2.0,),
            "bessel_i1e": (2.0,)}
    theirs = {"lgamma": "gammaln", "igamma": "gammainc", "igammac": "gammaincc", "bessel_i0e": "i0e",
              "bessel_i1e": "i1e"}
    for name, xs in args.items():
        want = getattr(scipy.special, theirs.get(name, name))(*xs)
        assert ft.jit(getattr(lax, name))(*xs) == pytest.approx(want, rel=1e-14)
    with pytest.raises(TypeError, match="missing a required argument"):
        lax.igamma(1.0)


def test_numpys_i0_and_sinc():
    x = np.array([-3.0, 0.0, 0.4, 2.0])
    for f in (np.i0, np.sinc):
        np.testing.assert_allclose(ft.jit(f)(x), f(x), rtol=1e-14, atol=1e-16)
    assert ft.grad(np.i0)(0.5) == pytest.approx(scipy.special.i1(0.5))


# Where kernels of our own replace SciPy's: function, mpmath's, points (joints of the intervals among them).
OWN = {
    "expi": (special.expi, mp.ei, [1.0, 1.6, 7.99, 8.0, 18.0, 38.0, 50.0, 699.0, 700.5, 0.9]),
    "exp1": (special.exp1, mp.e1, [0.3, 0.375, 0.62, 0.99, 1.0, 1.49, 1.5]),
    "dawsn": (special.dawsn, lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x),
              [1e-300, -1e-9, 0.3, 5.7, -7.99, 8.0, 8.7, 30.0, 1e20, 1e40]),
    "erfi": (special.erfi, mp.erfi, [1e-300, -1e-9, 0.03, 1.7, -2.9, 7.0, 12.6, 25.9, 27.0]),
    "spence": (special.spence, lambda x: mp.re(mp.polylog(2, 1 - x)),
               [1.5, 1.51, 5.0, 19.9, 29.9, 30.0, 1e9]),
    "log_ndtr": (special.log_ndtr, lambda x: mp.log(mp.ncdf(x)) if x < 0 else mp.log1p(-mp.ncdf(-x)),
                 [-2.1, -2.0, -0.7, 0.0, 1e-9, 2.97, 3.99, np.nextafter(4.0, 0)]),
    "shi": (lambda x: special.shichi(x)[0], mp.shi, [2.9, 3.0, 6.5, 7.99, 8.0]),
    "k0": (special.k0, lambda x: mp.besselk(0, x), [1e-200, 1e-3, 0.27, 0.4999, 0.5, 0.63, 1.99, 2.0]),
    "k0e": (special.k0e, lambda x: mp.exp(x) * mp.besselk(0, x), [1e-3, 0.39, 0.5, 1.37, 2.0]),
    "y0": (special.y0, lambda x: mp.bessely(0, x), [1.0, 2.49, 3.2, 3.7]),
    "y1": (special.y1, lambda x: mp.bessely(1, x), [1.5, 1.99, 2.15, 2.25, 2.99, 3.0]),
    "i1": (special.i1, lambda x: mp.besseli(1, x), [-7.99, -1e-9, 0.0, 0.3, 2.8, 8.0]),
    "i1e": (special.i1e, lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [-5.0, 0.0156, 7.5]),
    **{f"airy {i}": (lambda x, i=i: special.airy(x)[i],
                     lambda x, i=i: (mp.airyai, mp.airybi)[i // 2](x, derivative=i % 2),
                     [0.0, 1e-12, 1.84, 2.0, 5.3, 8.999, 9.99, 10.0, 17.1, 77.8, 99.9]) for i in range(4)},
}


@pytest.mark.parametrize("name", OWN)
def test_digits(name):
    """At most 4 units in the last place, in f64 and in f32."""
    f, exact, points = OWN[name]
    for dtype in (np.float64, np.float32):
        x = np.array([v for v in points if v == 0 or 1e-37 < abs(v) < 1e38 or dtype is np.float64], dtype)
        with mp.workdps(50):
            want = [exact(mp.mpf(float(v))) for v in x]
            for v, g, w in zip(x, ft.jit(f)(x), want, strict=True):
                unit = np.spacing(np.abs(dtype(float(w)))) if abs(w) < np.finfo(dtype).max else np.inf
                assert abs(float(g)) == np.inf or abs(mp.mpf(float(g)) - w) <= 4 * mp.mpf(float(unit)), (v, g)
                assert (abs(float(g)) == np.inf) == (abs(w) > np.finfo(dtype).max), v
