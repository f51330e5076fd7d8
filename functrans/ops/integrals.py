"""Integrals that have a name, hypergeometric functions, orthogonal polynomials: see ``special.py``."""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import CODE, COMPLEX, Hooks
from .elementwise import (
    abs,
    add,
    cos,
    cosh,
    div,
    eq,
    exp,
    log1p,
    lt,
    mul,
    neg,
    select,
    sin,
    sinh,
    sqrt,
    sub,
)
from .special import ROOT_PI, by_scipy, near, no_rule, of_whole, special

# ----- exponential and trigonometric integrals (DLMF 6.2, 8.19.13) ---------------------------------------

expi = special("expi", "ft_sp1(expi, x)", fitted=(1, 700), domain=(0.3, 3.0), ns=25.0,
               partials=[lambda out, x: div(exp(x), x)])
exp1 = special("exp1", "ft_sp1(exp1, x)", domain=(0.3, 3.0), ns=40.0,
               partials=[lambda out, x: neg(div(exp(neg(x)), x))])
expn = special("expn", "ft_sp1whole(expn, x, y)", domain=((2.0, 2.0), (0.3, 3.0)), ns=80.0,
               reference=of_whole("expn"),
               partials=[no_rule("expn by its order"), lambda out, n, x: _expn_slope(out, n, x)])


def _expn_slope(out, n, x):
    """-E_{n-1}(x); of E_0 = exp(-x) / x by itself."""
    zero = eq(n, 0.0)
    by_itself = mul(out, add(div(1.0, x), 1.0))
    return neg(select(zero, by_itself, expn(select(zero, 1.0, sub(n, 1.0)), x)))


def _sinc_series(sign, n=13):
    return [float(sign ** k / math.factorial(2 * k + 1)) for k in range(n)]


def _by_x(f, sign):
    """sin(x) / x or sinh(x) / x."""
    return lambda out, x: near(x, 1.0, _sinc_series(sign), lambda far: div(f(far), far), even=True)


sine_integral = special("sine_integral", "ft_sp1of2(sici, 0, x)", domain=(-4.0, 4.0), ns=45.0,
                        partials=[_by_x(sin, -1)])
cosine_integral = special("cosine_integral", "ft_sp1of2(sici, 1, x)", domain=(0.3, 4.0), ns=45.0,
                          partials=[lambda out, x: div(cos(x), x)])
sinh_integral = special("sinh_integral", "ft_sp1of2(shichi, 0, x)", domain=(-4.0, 4.0), ns=50.0,
                        partials=[_by_x(sinh, 1)])
cosh_integral = special("cosh_integral", "ft_sp1of2(shichi, 1, x)", domain=(0.3, 4.0), ns=50.0,
                        partials=[lambda out, x: div(cosh(x), x)])
_LOG_SERIES = [(-1.0) ** (k + 1) / (k + 1) for k in range(17)]         # of log(1 + u) / -u
# The dilogarithm of 1 - x.
spence = special("spence", "ft_sp1(spence, x)", fitted=(1.5, 1e30), domain=(0.2, 3.0), ns=35.0,
                 partials=[lambda out, x: near(sub(x, 1.0), 0.1, _LOG_SERIES,
                                               lambda u: div(log1p(u), neg(u)))])

# ----- elliptic integrals (DLMF 19.4.1, 19.4.2, by m = k^2) ----------------------------------------------

# The coefficients of K in m are pi/2 b_n^2, those of E are -pi/2 b_n^2 / (2n - 1) (19.5.1, 19.5.2).
_B = [math.prod((2 * k - 1) / (2 * k) for k in range(1, n + 1)) for n in range(30)]
_K_SLOPE = [math.pi / 2 * n * _B[n] ** 2 for n in range(1, 30)]
_E_SLOPE = [-math.pi / 2 * n * _B[n] ** 2 / (2 * n - 1) for n in range(1, 30)]


def _k_slope(m, k, e, rest):
    """The derivative of K from K, E and rest = 1 - m."""
    return div(sub(div(e, rest), k), mul(m, 2.0))


ellipk = special("ellipk", "ft_sp1(ellipk, x)", domain=(-2.0, 0.9), ns=25.0,
                 partials=[lambda out, m: near(m, 0.2, _K_SLOPE,
                                               lambda far: _k_slope(far, out, ellipe(m), sub(1.0, far)))])
ellipe = special("ellipe", "ft_sp1(ellipe, x)", domain=(-2.0, 0.9), ns=25.0,
                 partials=[lambda out, m: near(m, 0.2, _E_SLOPE,
                                               lambda far: div(sub(out, ellipk(m)), mul(far, 2.0)))])
ellipkm1 = special("ellipkm1", "ft_sp1(ellipkm1, x)", domain=(0.1, 3.0), ns=25.0,
                   partials=[lambda out, p: neg(near(
                       sub(1.0, p), 0.2, _K_SLOPE,
                       lambda far: _k_slope(far, out, ellipe(sub(1.0, p)), p)))])
# Incomplete ones: 19.4.4 to 19.4.6; near m = 0 the first term of their series.
ellipkinc = special(
    "ellipkinc", "ft_sp2(ellipkinc, x, y)", domain=((-1.4, 1.4), (-1.0, 0.9)), ns=200.0,
    partials=[lambda out, phi, m: div(1.0, _delta(phi, m)),
              lambda out, phi, m: _small(m, _incomplete_rate(phi), lambda n: sub(
                  div(sub(div(ellipeinc(phi, n), sub(1.0, n)), out), mul(n, 2.0)),
                  div(sin(mul(phi, 2.0)), mul(mul(sub(1.0, n), 4.0), _delta(phi, n)))))])
ellipeinc = special(
    "ellipeinc", "ft_sp2(ellipeinc, x, y)", domain=((-1.4, 1.4), (-1.0, 0.9)), ns=200.0,
    partials=[lambda out, phi, m: _delta(phi, m),
              lambda out, phi, m: _small(m, neg(_incomplete_rate(phi)), lambda n: div(
                  sub(out, ellipkinc(phi, n)), mul(n, 2.0)))])


def _delta(phi, m):
    s = sin(phi)
    return sqrt(sub(1.0, mul(m, mul(s, s))))


def _incomplete_rate(phi):
    """The derivative of F(phi, m) by m at 0."""
    return mul(sub(phi, mul(sin(mul(phi, 2.0)), 0.5)), 0.25)


def _small(m, at_zero, away):
    close = lt(abs(m), 1e-7)
    return select(close, at_zero, away(select(close, 0.5, m)))


# ----- hypergeometric functions (DLMF 13.3.15, 15.5.1, 13.3.22) ----------------------------------

hyp1f1 = special("hyp1f1", "ft_sp3(hyp1f1, x, y, z)", ns=150.0, limit=1e4,
                 domain=((0.5, 2.0), (0.7, 3.0), (-2.0, 2.0)),
                 partials=[*[no_rule(f"hyp1f1 by its {nth} parameter") for nth in ("first", "second")],
                           lambda out, a, b, x: mul(div(a, b), hyp1f1(add(a, 1.0), add(b, 1.0), x))])
hyp2f1 = special("hyp2f1", "ft_sp4(hyp2f1, x, y, z, w)", ns=250.0, limit=1e4,
                 domain=((0.5, 2.0), (0.7, 2.0), (1.3, 3.1), (-0.8, 0.8)),
                 partials=[*[no_rule(f"hyp2f1 by its {n} parameter") for n in ("first", "second", "third")],
                           lambda out, a, b, c, x: mul(div(mul(a, b), c), hyp2f1(
                               add(a, 1.0), add(b, 1.0), add(c, 1.0), x))])
hyperu = special("hyperu", "ft_sp3(hyperu, x, y, z)", ns=1000.0, limit=1e4,
                 domain=((0.5, 2.0), (0.7, 1.8), (0.5, 3.0)),
                 partials=[*[no_rule(f"hyperu by its {nth} parameter") for nth in ("first", "second")],
                           lambda out, a, b, x: neg(mul(a, hyperu(add(a, 1.0), add(b, 1.0), x)))])

# ----- orthogonal polynomials (DLMF 18.9.15, 18.9.19, 18.9.23, 18.9.25) -----------------------------------

def _polynomial(name, slope, *, whole=False, others=(), x=(-0.9, 0.9)):
    """A polynomial of degree n with ``others`` parameters; ``slope``: (n, *others, x) -> derivative."""
    letters = ", ".join("xyzw"[:2 + len(others)])
    text = f"ft_sp1whole({name}, {letters})" if whole else f"ft_sp{2 + len(others)}({name}, {letters})"

    def by_x(out, n, *rest):
        constant = eq(n, 0.0)
        return select(constant, 0.0, slope(select(constant, 1.0, n), *rest))

    return special(name, text, domain=((3.0, 3.0), *others, x), ns=150.0, limit=1e4,
                   reference=of_whole(name) if whole else by_scipy(name),
                   partials=[no_rule(f"{name} by its degree"),
                             *[no_rule(f"{name} by a parameter") for _ in others], by_x])


_ALPHA = (0.3, 1.7)
eval_jacobi = _polynomial("eval_jacobi", lambda n, a, b, x: mul(
    mul(add(add(n, a), add(b, 1.0)), 0.5), eval_jacobi(sub(n, 1.0), add(a, 1.0), add(b, 1.0), x)),
    others=(_ALPHA, _ALPHA))
eval_gegenbauer = _polynomial("eval_gegenbauer", lambda n, a, x: mul(
    mul(a, 2.0), eval_gegenbauer(sub(n, 1.0), add(a, 1.0), x)), others=(_ALPHA,))
eval_legendre = _polynomial("eval_legendre", lambda n, x: eval_gegenbauer(sub(n, 1.0), 1.5, x))
eval_chebyt = _polynomial("eval_chebyt", lambda n, x: mul(n, eval_chebyu(sub(n, 1.0), x)))
eval_chebyu = _polynomial("eval_chebyu", lambda n, x: mul(eval_gegenbauer(sub(n, 1.0), 2.0, x), 2.0))
eval_genlaguerre = _polynomial("eval_genlaguerre", lambda n, a, x: neg(
    eval_genlaguerre(sub(n, 1.0), add(a, 1.0), x)), others=(_ALPHA,), x=(0.2, 3.0))
eval_laguerre = _polynomial("eval_laguerre", lambda n, x: neg(eval_genlaguerre(sub(n, 1.0), 1.0, x)),
                            x=(0.2, 3.0))
eval_hermite = _polynomial("eval_hermite", lambda n, x: mul(
    mul(n, 2.0), eval_hermite(sub(n, 1.0), x)), whole=True)
eval_hermitenorm = _polynomial("eval_hermitenorm", lambda n, x: mul(
    n, eval_hermitenorm(sub(n, 1.0), x)), whole=True)

# ----- Jacobi's elliptic functions of u and m (DLMF 22.13.1; by m: 22.16.20 differentiated) ---------------

_JACOBI = {"domain": ((-1.5, 1.5), (0.1, 0.9)), "ns": 120.0}
jacobi_sn = special("jacobi_sn", "ft_sp2of4(ellipj, 0, x, y)", **_JACOBI, partials=[
    lambda out, u, m: mul(jacobi_cn(u, m), jacobi_dn(u, m)),
    lambda out, u, m: mul(jacobi_cn(u, m), _amplitude_by_m(u, m))])
jacobi_cn = special("jacobi_cn", "ft_sp2of4(ellipj, 1, x, y)", **_JACOBI, partials=[
    lambda out, u, m: neg(mul(jacobi_sn(u, m), jacobi_dn(u, m))),
    lambda out, u, m: neg(mul(jacobi_sn(u, m), _amplitude_by_m(u, m)))])
jacobi_dn = special("jacobi_dn", "ft_sp2of4(ellipj, 2, x, y)", **_JACOBI, partials=[
    lambda out, u, m: neg(mul(m, mul(jacobi_sn(u, m), jacobi_cn(u, m)))),
    lambda out, u, m: _dn_by_m(out, u, m)])
jacobi_am = special("jacobi_am", "ft_sp2of4(ellipj, 3, x, y)", **_JACOBI, partials=[
    lambda out, u, m: jacobi_dn(u, m), lambda out, u, m: _amplitude_by_m(u, m)])


def _amplitude_by_m(u, m):
    sn, cn, dn = jacobi_sn(u, m), jacobi_cn(u, m), jacobi_dn(u, m)
    turned = mul(sn, cn)

    def away(n):
        rest = sub(1.0, n)
        inner = add(mul(dn, sub(mul(rest, u), ellipeinc(jacobi_am(u, m), n))), mul(n, turned))
        return div(inner, mul(mul(n, rest), 2.0))
    return _small(m, mul(sub(turned, u), 0.25), away)


def _dn_by_m(out, u, m):
    sn = jacobi_sn(u, m)
    moved = mul(mul(mul(m, sn), jacobi_cn(u, m)), _amplitude_by_m(u, m))
    return neg(div(add(mul(mul(sn, sn), 0.5), moved), out))


# ----- complex functions ---------------------------------------------------------------------------------

wofz = special("wofz", "ft_sp1complex(wofz, x)", domain=(-2.0, 2.0), ns=100.0, dtypes=COMPLEX,    # 7.10.2
               reference=lambda x: _faddeeva(x),
               partials=[lambda out, z: sub(Hooks.lit_like(2j / ROOT_PI, z), mul(mul(z, out), 2.0))])
# Lambert's W: w exp(w) = z, so w' = exp(-w) / (1 + w). What is not finite stays.
lambertw = special("lambertw", "(isfinite(creal(x)) && isfinite(cimag(x)) ? ft_sp_lambertw(x, k) : x)",
                   domain=(0.3, 2.0), ns=250.0, dtypes=COMPLEX,
                   infer=lambda z, *, k: _lambertw_infer(z),
                   reference=lambda z, *, k: _lambertw_reference(z, k),
                   partials=[lambda out, z, *, k: div(exp(neg(out)), add(out, 1.0))])


def _faddeeva(x):
    import scipy.special
    return scipy.special.wofz(np.asarray(x, np.complex128)).astype(x.dtype)


def _lambertw_infer(z):
    if CODE.get(z.dtype) not in COMPLEX:
        raise TypeError(f"lambertw is not defined for {z.dtype}")
    return z.shape, z.dtype


def _lambertw_reference(z, k):
    import scipy.special
    z = np.asarray(z)
    finite = np.isfinite(z)
    return np.where(finite, scipy.special.lambertw(np.where(finite, z, 0), k), z).astype(z.dtype)
