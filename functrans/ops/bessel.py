"""Bessel functions and their kin, Airy and Struve functions: see ``special.py``.

Derivatives are by recurrence, so that they hold at 0, too; where a quotient by x is cheaper (orders 0
and 1), a power series takes its place near 0.
"""

from __future__ import annotations

import math

from .elementwise import abs, add, div, eq, exp, log, lt, mul, neg, select, sign, sub, zmul
from .special import ROOT_PI, gammaln, near, no_rule, of_whole, power_series, special


def _half_series(sign, n=12):
    """Of J_1(x) / x (sign -1) or I_1(x) / x in x^2 (DLMF 10.2.2, 10.25.2)."""
    return [sign ** k * 0.5 / (4.0 ** k * math.factorial(k) * math.factorial(k + 1)) for k in range(n)]


_J_SERIES, _I_SERIES = _half_series(-1), _half_series(1)


def _over_x(value, x, series):
    """value / x for an odd function, by its series in x^2 for |x| < 1."""
    return near(x, 1.0, series, lambda far: div(value, far), even=True)


# ----- orders 0 and 1 (DLMF 10.6.3, 10.29.3) -------------------------------------------------------------

j0 = special("bessel_j0", "ft_sp1(j0, x)", domain=(-4.0, 4.0), ns=25.0, partials=[lambda out, x: neg(j1(x))])
j1 = special("bessel_j1", "ft_sp1(j1, x)", domain=(-4.0, 4.0), ns=25.0,
             partials=[lambda out, x: sub(j0(x), _over_x(out, x, _J_SERIES))])
y0 = special("bessel_y0", "ft_sp1(y0, x)", fitted=(1, 4), domain=(0.5, 6.0), ns=35.0,
             partials=[lambda out, x: neg(y1(x))])
y1 = special("bessel_y1", "ft_sp1(y1, x)", domain=(0.5, 6.0), ns=35.0,
             partials=[lambda out, x: sub(y0(x), div(out, x))])
i0 = special("bessel_i0", "ft_sp1(i0, x)", domain=(-3.0, 3.0), ns=20.0, partials=[lambda out, x: i1(x)])
i1 = special("bessel_i1", "ft_sp1(i1, x)", fitted=(-8, 8), domain=(-3.0, 3.0), ns=20.0,
             partials=[lambda out, x: sub(i0(x), _over_x(out, x, _I_SERIES))])
i0e = special("bessel_i0e", "ft_sp1(i0e, x)", domain=(0.3, 4.0), ns=15.0,
              partials=[lambda out, x: sub(i1e(x), zmul(sign(x), out))])
i1e = special("bessel_i1e", "ft_sp1(i1e, x)", fitted=(-8, 8), domain=(0.3, 4.0), ns=15.0,
              partials=[lambda out, x: sub(sub(i0e(x), zmul(sign(x), out)), _i1e_over_x(out, x))])
k0 = special("bessel_k0", "ft_sp1(k0, x)", fitted=(0.5, 2), domain=(0.4, 4.0), ns=30.0,
             partials=[lambda out, x: neg(k1(x))])
k1 = special("bessel_k1", "ft_sp1(k1, x)", domain=(0.4, 4.0), ns=30.0,
             partials=[lambda out, x: neg(add(k0(x), div(out, x)))])
k0e = special("bessel_k0e", "ft_sp1(k0e, x)", fitted=(0.5, 2), domain=(0.4, 4.0), ns=30.0,
              partials=[lambda out, x: sub(out, k1e(x))])
k1e = special("bessel_k1e", "ft_sp1(k1e, x)", domain=(0.4, 4.0), ns=30.0,
              partials=[lambda out, x: sub(sub(out, k0e(x)), div(out, x))])


def _i1e_over_x(out, x):
    """exp(-|x|) I_1(x) / x."""
    inside = lt(abs(x), 1.0)
    small = select(inside, x, 0.0)
    return select(inside, mul(exp(neg(abs(small))), power_series(mul(small, small), _I_SERIES)),
                  div(out, select(inside, 1.0, x)))


# ----- any order (DLMF 10.6.1, 10.29.1) ------------------------------------------------------------------


def _of_order(name, call, step, *, domain=(0.5, 4.0), ns=900.0):
    """A function of order v, with its derivative by x from ``step``: (function of the order, v, out, x)."""
    def by_x(out, v, x):
        return step(lambda shift: op(add(v, shift), x), v, out, x)

    op = special(name, f"ft_sp2({call}, x, y)", domain=((0.3, 2.5), domain), ns=ns,
                 partials=[no_rule(f"{call} by its order"), by_x])
    return op


def _minus(f, v, out, x):
    return mul(sub(f(-1.0), f(1.0)), 0.5)


def _plus(f, v, out, x):
    return mul(add(f(-1.0), f(1.0)), 0.5)


jv = _of_order("bessel_jv", "jv", _minus)
yv = _of_order("bessel_yv", "yv", _minus)
iv = _of_order("bessel_iv", "iv", _plus)
kv = _of_order("bessel_kv", "kv", lambda *args: neg(_plus(*args)))
ive = _of_order("bessel_ive", "ive", lambda f, v, out, x: sub(_plus(f, v, out, x), zmul(sign(x), out)))
kve = _of_order("bessel_kve", "kve", lambda f, v, out, x: sub(out, _plus(f, v, out, x)))


# Struve functions (DLMF 11.4.25, 11.4.27 and 11.4.26, 11.4.28).
def _struve_rest(v, x):
    """(x / 2)^v / (sqrt(pi) gamma(v + 3/2))."""
    power = exp(sub(zmul(v, log(mul(x, 0.5))), gammaln(add(v, 1.5))))
    return mul(power, 1.0 / ROOT_PI)


struve = _of_order("struve", "struve", lambda f, v, out, x: mul(
    add(sub(f(-1.0), f(1.0)), _struve_rest(v, x)), 0.5))
modstruve = _of_order("modstruve", "modstruve", lambda f, v, out, x: mul(
    add(add(f(-1.0), f(1.0)), _struve_rest(v, x)), 0.5))


# ----- spherical (DLMF 10.51.1, 10.51.4) -----------------------------------------------------------------


def _spherical(name, step):
    """A spherical function of a whole order n."""
    def by_x(out, n, x):
        below = select(eq(n, 0.0), 0.0, mul(n, op(select(eq(n, 0.0), 0.0, sub(n, 1.0)), x)))
        above = mul(add(n, 1.0), op(add(n, 1.0), x))
        return div(step(below, above), add(mul(n, 2.0), 1.0))

    op = special(name, f"ft_sp1round({name}, x, y)", domain=((2.0, 2.0), (0.5, 5.0)), ns=150.0,
                 reference=of_whole(name), partials=[no_rule(f"{name} by its order"), by_x])
    return op


spherical_jn = _spherical("spherical_jn", sub)
spherical_yn = _spherical("spherical_yn", sub)
spherical_in = _spherical("spherical_in", add)
spherical_kn = _spherical("spherical_kn", lambda below, above: neg(add(below, above)))

# ----- Airy (DLMF 9.2.1) ---------------------------------------------------------------------------------

_AIRY = {"domain": (-4.0, 2.0), "ns": 200.0, "fitted": (0, 100)}
airy_ai = special("airy_ai", "ft_sp1of4(airy, 0, x)", **_AIRY, partials=[lambda out, x: airy_aip(x)])
airy_aip = special("airy_aip", "ft_sp1of4(airy, 1, x)", **_AIRY, partials=[lambda out, x: mul(x, airy_ai(x))])
airy_bi = special("airy_bi", "ft_sp1of4(airy, 2, x)", **_AIRY, partials=[lambda out, x: airy_bip(x)])
airy_bip = special("airy_bip", "ft_sp1of4(airy, 3, x)", **_AIRY, partials=[lambda out, x: mul(x, airy_bi(x))])
