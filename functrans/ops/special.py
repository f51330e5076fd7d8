"""Special functions of the gamma, beta, zeta and error families.

The kernels call SciPy's C functions in double precision (``kernels/special.h``); results of narrower types
are rounded from that. Formulas are numbered as in the Digital Library of Mathematical Functions (DLMF).
"""

from __future__ import annotations

import math
import re

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.op import Hooks, aval_of, elementwise
from .elementwise import (
    abs,
    add,
    and_,
    cos,
    div,
    eq,
    erf,
    exp,
    floor,
    gamma_slope,
    gt,
    le,
    log,
    log1p,
    lt,
    mul,
    neg,
    select,
    sign,
    sin,
    sub,
    zmul,
)

ROOT_PI = math.sqrt(math.pi)


# ----- how a record is made ------------------------------------------------------------------------------


def special(name, c, *, partials, domain, ns=50.0, reference=..., limit=None, fitted=None, **rest):
    """An op whose kernel calls ``c``: SciPy's function, or one of special.h, without the conversion to T.

    The reference is SciPy's function, called as the kernel calls it, with doubles. ``limit``: operands of
    this size and above give NaN. ``fitted``: from where to where special_fits.h has it with fewer errors.
    """
    scipys = re.fullmatch(r"ft_sp\d\w*\((\w+),(?: (\d),)? .*\)", c)
    if reference is ...:
        reference = by_scipy(scipys[1], scipys[2] and int(scipys[2]))
    operands = sorted(set(re.findall(r"\b[xyzw]\b", c)))
    if fitted is not None:
        low, high = fitted
        near = f"ft_near_{scipys[1]}({scipys[2] + ', ' if scipys[2] else ''}x)"
        c = f"(FT_WITHIN(x, {low}, {high}) ? {near} : {c})"
    if "round" in c:                     # of negative x SciPy's wrappers make something of it
        c = f"(y < 0 ? (double)NAN : {c})"
    if limit is not None:                # beyond, SciPy's function may recurse too deep
        small = " && ".join(f"fabs((double){v}) < {limit}" for v in operands)
        c, reference = f"({small} ? {c} : (double)NAN)", _within(limit, reference)
    missing = [i for i, p in enumerate(partials or ()) if hasattr(p, "missing")]
    return elementwise(name, c=f"(T){c}", arity=len(operands), ns=ns, domain=domain,
                       reference=reference, partials=partials, no_rule=missing, **rest)


def _within(limit, reference):
    def limited(*xs):
        good = np.all([np.abs(x) < limit for x in xs], 0)
        return np.where(good, reference(*[np.where(good, x, 0) for x in xs]), np.nan).astype(xs[0].dtype)
    return limited


def by_scipy(name, which=None):
    """SciPy's function (of its results the one asked for), in double precision."""
    def reference(*xs):
        import scipy.special
        out = getattr(scipy.special, name)(*[np.asarray(x, np.float64) for x in xs])
        return rounded(out if which is None else out[which], xs[0])
    return reference


def rounded(out, like):
    """A double in the dtype of an operand; to float16 by way of float32, as kernels go."""
    dtype = np.asarray(like).dtype
    return np.asarray(out).astype(np.float32 if dtype == np.float16 else dtype).astype(dtype)


def of_whole(name):
    """SciPy's function of a whole number n, and x; NaN for other n (spherical functions: and for x < 0)."""
    def reference(n, x):
        import scipy.special
        n, x64 = np.asarray(n, np.float64), np.asarray(x, np.float64)
        whole = (n == np.rint(n)) & (np.abs(n) < 1e5)
        if name.startswith("spherical"):
            x64 = np.where(x64 < 0, np.nan, x64)
        out = getattr(scipy.special, name)(np.where(whole, n, 0).astype(np.int64), x64)
        return rounded(np.where(whole, out, np.nan), x)
    return reference


def no_rule(what):
    """Stands for a local derivative that has no formula."""
    def partial(out, *operands):
        raise NonDifferentiableError(f"the derivative of {what} has no rule.",
                                     "Put functrans.stop_gradient around that argument.")
    partial.missing = True
    return partial


def near(x, limit, coefficients, away, *, even=False):
    """The power series of these coefficients for |x| < limit, ``away(x)`` elsewhere.

    For quotients like (f(x) - f(0)) / x: higher derivatives are right at 0, too. ``even``: a series in x^2.
    """
    inside = lt(abs(x), limit)
    small = select(inside, x, 0.0)
    return select(inside, power_series(mul(small, small) if even else small, coefficients),
                  away(select(inside, limit, x)))


def power_series(x, coefficients):
    """The sum of c_k x^k, by Horner's rule."""
    value = mul(x, coefficients[-1])
    for c in coefficients[-2:0:-1]:
        value = mul(x, add(value, c))
    return add(value, coefficients[0])


# ----- gamma ---------------------------------------------------------------------------------------------

gammaln = special("gammaln", "ft_sp1(gammaln, x)", domain=(0.2, 6.0), ns=20.0,
                  partials=[lambda out, x: digamma(x)])                                    # 5.2.2
gamma = special("gamma", "ft_sp1(gamma, x)", domain=(0.2, 5.0), ns=25.0,
                partials=[lambda out, x: mul(out, digamma(x))])
rgamma = special("rgamma", "ft_sp1(rgamma, x)", domain=(0.2, 5.0), ns=30.0,
                 partials=[lambda out, x: _rgamma_slope(out, x)])
gammasgn = special("gammasgn", "ft_sp1(gammasgn, x)", domain=(-4.0, 4.0), ns=5.0, partials=None)
digamma = special("digamma", "ft_sp1(psi, x)", domain=(0.3, 5.0), ns=30.0,
                  partials=[lambda out, x: polygamma(1.0, x)])                             # 5.15.1
polygamma = special("polygamma", "ft_sp_polygamma(x, y)", domain=((1.0, 1.0), (0.3, 5.0)), ns=250.0,
                    reference=lambda n, x: _polygamma_reference(n, x),
                    partials=[no_rule("polygamma by its order"),
                              lambda out, n, x: polygamma(add(n, 1.0), x)])
poch = special("poch", "ft_sp2(poch, x, y)", domain=((0.5, 4.0), (0.5, 3.0)), ns=100.0,   # 5.2.5
               partials=[lambda out, x, m: mul(out, sub(digamma(add(x, m)), digamma(x))),
                         lambda out, x, m: mul(out, digamma(add(x, m)))])


def _rgamma_slope(out, x):
    """At the poles of gamma, -n, the slope is (-1)^n n!."""
    pole = and_(le(x, 0.0), eq(x, floor(x)))
    at = select(pole, x, 0.0)
    return select(pole, mul(cos(mul(at, math.pi)), gamma(sub(1.0, at))),
                  neg(mul(out, digamma(select(pole, 1.0, x)))))


def _polygamma_reference(n, x):
    from scipy.special import gamma, psi
    n64, x64 = np.asarray(n, np.float64), np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        whole = (n64 == np.floor(n64)) & (n64 > 0) & np.isfinite(n64)
        size = gamma(n64 + 1) * _zeta_reference(n64 + 1, x64)
        found = np.where(np.fmod(n64, 2) == 1, size, -size)
    return np.where(n64 == 0, psi(x64), np.where(whole, found, np.nan)).astype(np.asarray(x).dtype)


def gamma_density(a, x):
    """The derivative of P(a, x) by x: x^(a-1) exp(-x) / gamma(a) (DLMF 8.8.13)."""
    return exp(sub(sub(zmul(sub(a, 1.0), log(x)), x), gammaln(a)))


gammainc = special("gammainc", "ft_sp2(gammainc, x, y)", domain=((0.4, 4.0), (0.2, 6.0)), ns=150.0,
                   partials=[lambda out, a, x: gammainc_slope(a, x),
                             lambda out, a, x: gamma_density(a, x)])
gammaincc = special("gammaincc", "ft_sp2(gammaincc, x, y)", domain=((0.4, 4.0), (0.2, 6.0)), ns=150.0,
                    partials=[lambda out, a, x: neg(gammainc_slope(a, x)),
                              lambda out, a, x: neg(gamma_density(a, x))])
# The derivative of P(a, x) by a, from its series or continued fraction (ft_gamma_slope).
gammainc_slope = special("gammainc_slope", "ft_sp_gammainc_slope(x, y)", domain=((0.4, 4.0), (0.2, 6.0)),
                         ns=400.0, reference=None,
                         partials=[no_rule("the first derivative of gammainc by its parameter, by the same"),
                                   lambda out, a, x: mul(gamma_density(a, x), sub(log(x), digamma(a)))])
# The inverses: implicit differentiation of P(a, x(a, p)) = p.
_QUANTILE = {"domain": ((0.5, 4.0), (0.1, 0.9)), "ns": 900.0}
gammaincinv = special("gammaincinv", "ft_sp2(gammaincinv, x, y)", **_QUANTILE,
                      partials=[lambda out, a, p: zmul(out, gamma_slope(a, log(out))),
                                lambda out, a, p: div(1.0, gamma_density(a, out))])
gammainccinv = special("gammainccinv", "ft_sp2(gammainccinv, x, y)", **_QUANTILE,
                       partials=[lambda out, a, p: zmul(out, gamma_slope(a, log(out))),
                                 lambda out, a, p: div(-1.0, gamma_density(a, out))])

# ----- beta, binomial ------------------------------------------------------------------------------------

beta = special("beta", "ft_sp2(beta, x, y)", domain=(0.4, 4.0), ns=60.0,
               partials=[lambda out, a, b: mul(out, sub(digamma(a), digamma(add(a, b)))),
                         lambda out, a, b: mul(out, sub(digamma(b), digamma(add(a, b))))])
betaln = special("betaln", "ft_sp2(betaln, x, y)", domain=(0.4, 4.0), ns=80.0,             # 5.12.1
                 partials=[lambda out, a, b: sub(digamma(a), digamma(add(a, b))),
                           lambda out, a, b: sub(digamma(b), digamma(add(a, b)))])
binom = special("binom", "ft_sp2(binom, x, y)", domain=((3.2, 6.0), (0.3, 2.9)), ns=100.0,
                partials=[lambda out, n, k: zmul(out, sub(digamma(add(n, 1.0)),
                                                          digamma(add(sub(n, k), 1.0)))),
                          lambda out, n, k: zmul(out, sub(digamma(add(sub(n, k), 1.0)),
                                                          digamma(add(k, 1.0))))])


def beta_density(a, b, x):
    """The derivative of I_x(a, b) by x: x^(a-1) (1-x)^(b-1) / B(a, b) (DLMF 8.17.1)."""
    return exp(sub(add(zmul(sub(a, 1.0), log(x)), zmul(sub(b, 1.0), log1p(neg(x)))), betaln(a, b)))


_BETA = {"domain": ((0.4, 4.0), (0.4, 4.0), (0.1, 0.9))}
betainc = special("betainc", "ft_sp3(betainc, x, y, z)", ns=250.0, **_BETA,
                  partials=[lambda out, a, b, x: betainc_slope(a, b, x),
                            lambda out, a, b, x: neg(betainc_slope(b, a, sub(1.0, x))),    # 8.17.4
                            lambda out, a, b, x: beta_density(a, b, x)])
betaincc = special("betaincc", "ft_sp3(betaincc, x, y, z)", ns=250.0, **_BETA,
                   partials=[lambda out, a, b, x: neg(betainc_slope(a, b, x)),
                             lambda out, a, b, x: betainc_slope(b, a, sub(1.0, x)),
                             lambda out, a, b, x: neg(beta_density(a, b, x))])
# The derivative of I_x(a, b) by a, from its continued fraction.
betainc_slope = special(
    "betainc_slope", "ft_sp_betainc_slope(x, y, z)", ns=700.0, reference=None, **_BETA,
    partials=[no_rule("the first derivative of betainc by a parameter, by a parameter"),
              no_rule("the first derivative of betainc by a parameter, by a parameter"),
              lambda out, a, b, x: mul(beta_density(a, b, x),
                                       sub(log(x), sub(digamma(a), digamma(add(a, b)))))])
betaincinv = special("betaincinv", "ft_sp3(betaincinv, x, y, z)", ns=1000.0, **_BETA,
                     partials=[lambda out, a, b, p: neg(_quantile_slope(a, b, out)),
                               lambda out, a, b, p: _quantile_slope(b, a, sub(1.0, out)),
                               lambda out, a, b, p: div(1.0, beta_density(a, b, out))])
betainccinv = special("betainccinv", "ft_sp3(betainccinv, x, y, z)", ns=1000.0, **_BETA,
                      partials=[lambda out, a, b, p: neg(_quantile_slope(a, b, out)),
                                lambda out, a, b, p: _quantile_slope(b, a, sub(1.0, out)),
                                lambda out, a, b, p: div(-1.0, beta_density(a, b, out))])


def _quantile_slope(a, b, x):
    return div(betainc_slope(a, b, x), beta_density(a, b, x))


def student_density(df, t):
    """gamma((df + 1) / 2) / (sqrt(df pi) gamma(df / 2)) (1 + t^2 / df)^(-(df + 1) / 2)."""
    half = mul(add(df, 1.0), 0.5)
    scale = sub(sub(gammaln(half), gammaln(mul(df, 0.5))), mul(log(mul(df, math.pi)), 0.5))
    return exp(sub(scale, mul(half, log1p(div(mul(t, t), df)))))


def _student_by_df(df, t):
    """Of P(T > |t|) = I_x(df/2, 1/2) / 2, x = df / (df + t^2), with the sign of t."""
    square = mul(t, t)
    total = add(df, square)
    x = div(df, total)
    half = mul(df, 0.5)
    tail = add(mul(betainc_slope(half, Hooks.lit_like(0.5, df), x), 0.25),
               mul(zmul(div(square, mul(total, total)), beta_density(half, Hooks.lit_like(0.5, df), x)), 0.5))
    return neg(mul(sign(t), tail))


stdtr = special("stdtr", "ft_sp2(stdtr, x, y)", domain=((1.0, 5.0), (-2.0, 2.0)), ns=250.0,
                partials=[lambda out, df, t: _student_by_df(df, t),
                          lambda out, df, t: student_density(df, t)])
stdtrit = special("stdtrit", "ft_sp2(stdtrit, x, y)", domain=((1.0, 5.0), (0.1, 0.9)), ns=3000.0,
                  partials=[lambda out, df, p: neg(div(_student_by_df(df, out), student_density(df, out))),
                            lambda out, df, p: div(1.0, student_density(df, out))])

# ----- zeta ----------------------------------------------------------------------------------------------

_NO_SECOND = "the first derivative of zeta by s, by the same"
# Hurwitz's function of s > 1 and q, and its derivative by s; by q: 25.11.17.
zeta = special("zeta", "ft_sp_zeta(x, y)", domain=((1.5, 5.0), (0.4, 4.0)), ns=200.0,
               reference=lambda s, q: _zeta_reference(s, q),
               partials=[lambda out, s, q: zeta_slope(s, q),
                         lambda out, s, q: neg(mul(s, zeta(add(s, 1.0), q)))])
zeta_slope = special("zeta_slope", "ft_sp_zeta_slope(x, y)", domain=((1.5, 5.0), (0.4, 4.0)), ns=300.0,
                     reference=None,
                     partials=[no_rule(_NO_SECOND),
                               lambda out, s, q: neg(add(zeta(add(s, 1.0), q),
                                                         mul(s, zeta_slope(add(s, 1.0), q))))])


def _zeta_reference(s, q):
    """For large s, where SciPy has NaN, that of a less large one."""
    return rounded(by_scipy("zeta")(np.minimum(np.asarray(s, np.float64), 1e6), q), s)


riemann_zeta = special("riemann_zeta", "ft_sp_riemann_zeta(x)", domain=(-1.6, 0.5), ns=300.0,
                       reference=by_scipy("zeta"), partials=[lambda out, s: riemann_zeta_slope(s)])
riemann_zeta_slope = special("riemann_zeta_slope", "ft_sp_riemann_zeta_slope(x)", domain=(-1.6, 0.5),
                             ns=300.0, reference=None, partials=[no_rule(_NO_SECOND)])

# ----- error functions -----------------------------------------------------------------------------------


# (2k - 1)!! for k = 1, 2, ...: the asymptotic series of erfcx and dawsn (7.12.1).
_ODD = [float(math.prod(range(1, 2 * k, 2))) for k in range(1, 11)]


def _far(x, far, coefficients, value):
    """``value``, or where ``far`` holds, since it cancels there, u times the series in u = 1 / (2 x^2)."""
    u = select(far, div(0.5, mul(x, x)), 0.0)
    most = float(np.finfo(aval_of(x).dtype).max)    # float16 needs, and has, fewer terms
    coefficients = [c for c in coefficients if math.fabs(c) <= most]
    return select(far, mul(u, power_series(u, coefficients)), value)


erfcx = special("erfcx", "ft_sp1(erfcx, x)", domain=(-2.0, 4.0), ns=15.0,                  # 7.10.3
                partials=[lambda out, x: mul(2.0 / ROOT_PI, _far(
                    x, gt(x, 20.0), [-c if k % 2 == 0 else c for k, c in enumerate(_ODD)],
                    sub(mul(mul(x, out), ROOT_PI), 1.0)))])
dawsn = special("dawsn", "ft_sp1(dawsn, x)", fitted=(-1e30, 1e30), domain=(-3.0, 3.0), ns=15.0,   # 7.2.5
                partials=[lambda out, x: _far(x, gt(abs(x), 20.0), [-c for c in _ODD],
                                              sub(1.0, mul(mul(x, out), 2.0)))])
erfi = special("erfi", "ft_sp1(erfi, x)", fitted=(-26, 26), domain=(-2.0, 2.0), ns=20.0,
               partials=[lambda out, x: mul(exp(mul(x, x)), 2.0 / ROOT_PI)])
erfc_inv = special("erfc_inv", "ft_sp1(erfcinv, x)", domain=(0.1, 1.9), ns=40.0,
                   partials=[lambda out, x: mul(exp(mul(out, out)), -ROOT_PI / 2.0)])
log_ndtr = special("log_ndtr", "ft_sp1(log_ndtr, x)", fitted=(-2, 4), domain=(-4.0, 3.0), ns=40.0,
                   partials=[lambda out, x: div(math.sqrt(2.0 / math.pi), erfcx(mul(x, -math.sqrt(0.5))))])
ndtri = special("ndtri", "ft_sp1(ndtri, x)", domain=(0.05, 0.95), ns=35.0,
                partials=[lambda out, p: mul(exp(mul(mul(out, out), 0.5)), math.sqrt(2.0 * math.pi))])
ndtri_exp = special("ndtri_exp", "ft_sp1(ndtri_exp, x)", domain=(-5.0, -0.1), ns=90.0,
                    partials=[lambda out, y: mul(erfcx(mul(out, -math.sqrt(0.5))), math.sqrt(math.pi / 2.0))])
# Owen 1956, "Tables for computing bivariate normal probabilities".
owens_t = special("owens_t", "ft_sp2(owens_t, x, y)", domain=((-2.0, 2.0), (-2.0, 2.0)), ns=150.0,
                  partials=[lambda out, h, a: mul(mul(exp(mul(mul(h, h), -0.5)),
                                                      erf(mul(mul(a, h), math.sqrt(0.5)))),
                                                  -0.5 / math.sqrt(2.0 * math.pi)),
                            lambda out, h, a: _owen_by_a(h, a)])


def _owen_by_a(h, a):
    square = add(mul(a, a), 1.0)
    return div(exp(mul(mul(mul(h, h), square), -0.5)), mul(square, 2.0 * math.pi))


fresnel_s = special("fresnel_s", "ft_sp1of2(fresnel, 0, x)", domain=(-2.0, 2.0), ns=25.0,     # 7.2.8
                    partials=[lambda out, x: sin(mul(mul(x, x), math.pi / 2.0))])
fresnel_c = special("fresnel_c", "ft_sp1of2(fresnel, 1, x)", domain=(-2.0, 2.0), ns=25.0,     # 7.2.7
                    partials=[lambda out, x: cos(mul(mul(x, x), math.pi / 2.0))])
