"""Polynomials for special functions whose usual formulas lose digits: writes functrans/kernels/fits.h.

    python benchmarks/fits.py

A function, or one that is it but for a factor that is cheap and exact enough, is interpolated by mpmath at
the Chebyshev points of intervals of equal width, a power of two. Each row of a table is one interval's
polynomial in t = -1 ... 1, lowest power first, of the least degree that is within 2**-57 of the value.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mpmath import mp

TARGET = Path(__file__).resolve().parent.parent / "functrans" / "kernels" / "fits.h"
mp.dps = 50


def zeta(x):
    return 2 * x * mp.sqrt(x) / 3


# name: (what it is, first point, last point, intervals per unit, function)
FITS: dict[str, tuple[str, float, float, int, Callable]] = {
    "expi": ("x exp(-x) Ei(x)", 1, 8, 4, lambda x: x * mp.exp(-x) * mp.ei(x)),
    "expi_far": ("x exp(-x) Ei(x) at x = 8 / z", 0, 1, 16,
                 lambda z: 8 / z * mp.exp(-8 / z) * mp.ei(8 / z) if z else mp.one),
    "dawsn": ("F(x) / x", 0, 8, 4, lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x) / x),
    "spence": ("Li2(1 - exp(v)) / v", 0.375, 3.5, 8, lambda v: mp.re(mp.polylog(2, 1 - mp.exp(v))) / v),
    "k0": ("K0(x)", 0.5, 2, 8, lambda x: mp.besselk(0, x)),
    "y0": ("Y0(x)", 1, 3.875, 4, lambda x: mp.bessely(0, x)),
    "i1": ("exp(-x) I1(x) / x", 0, 8, 2, lambda x: mp.exp(-x) * mp.besseli(1, x) / x),
    "log_ndtr": ("log of the normal distribution", -2, 4, 4,
                 lambda x: mp.log(mp.ncdf(x)) if x < 0 else mp.log1p(-mp.ncdf(-x))),
    "ai": ("Ai(x)", 0, 2, 4, mp.airyai),
    "ai_scaled": ("Ai(x) exp(2/3 x^1.5)", 2, 10, 2, lambda x: mp.airyai(x) * mp.exp(zeta(x))),
    "aip": ("Ai'(x)", 0, 2, 4, lambda x: mp.airyai(x, derivative=1)),
    "aip_scaled": ("Ai'(x) exp(2/3 x^1.5)", 2, 10, 2,
                   lambda x: mp.airyai(x, derivative=1) * mp.exp(zeta(x))),
    "bi": ("Bi(x)", 0, 2, 4, mp.airybi),
    "bi_scaled": ("Bi(x) exp(-2/3 x^1.5)", 2, 10, 2, lambda x: mp.airybi(x) * mp.exp(-zeta(x))),
    "bip": ("Bi'(x)", 0, 2, 4, lambda x: mp.airybi(x, derivative=1)),
    "bip_scaled": ("Bi'(x) exp(-2/3 x^1.5)", 2, 10, 2,
                   lambda x: mp.airybi(x, derivative=1) * mp.exp(-zeta(x))),
}


def interpolated(f, low, high, n):
    """Coefficients, lowest power first, in t of the polynomial through n Chebyshev points."""
    nodes = [mp.cos((2 * k + 1) * mp.pi / (2 * n)) for k in range(n)]
    values = [f((low + high) / 2 + t * (high - low) / 2) for t in nodes]
    chebyshev = [2 * sum(v * mp.cos(j * (2 * k + 1) * mp.pi / (2 * n)) for k, v in enumerate(values)) / n
                 for j in range(n)]
    chebyshev[0] /= 2
    total, before, now = [mp.zero] * n, [mp.one], [mp.zero, mp.one]
    for c in chebyshev:
        for i, p in enumerate(before):
            total[i] += c * p
        after = [mp.zero, *[2 * p for p in now]]
        for i, p in enumerate(before):
            after[i] -= p
        before, now = now, after
    return total, min(abs(v) for v in values), chebyshev


def rows(f, first, last, per):
    """One polynomial an interval, all of the degree that the hardest one needs."""
    count = round((last - first) * per)
    for n in range(8, 40):
        found = []
        for i in range(count):
            row, least, chebyshev = interpolated(f, mp.mpf(first) + mp.mpf(i) / per,
                                                 mp.mpf(first) + mp.mpf(i + 1) / per, n)
            if sum(abs(c) for c in chebyshev[-2:]) > least * mp.mpf(2) ** -57:
                break
            found.append(row)
        if len(found) == count:
            return found
    raise SystemExit("a fit does not converge: more intervals per unit are needed")


def airy_series(n=22):
    """u_k and v_k of DLMF 9.7.2."""
    u = [mp.one]
    for k in range(1, n):
        u.append(u[-1] * (6 * k - 5) * (6 * k - 3) * (6 * k - 1) / (216 * k * (2 * k - 1)))
    return u, [mp.mpf(6 * k + 1) / (1 - 6 * k) * c for k, c in enumerate(u)]


def listed(values, indent="    "):
    return (",\n" + indent).join(", ".join(mp.nstr(v, 18) for v in values[i:i + 4])
                                 for i in range(0, len(values), 4))


def main():
    text = ["/* Written by benchmarks/fits.py: polynomials in t = -1 ... 1, one a row, for intervals of",
            " * equal width. */", "#ifndef FUNCTRANS_FITS_H", "#define FUNCTRANS_FITS_H", ""]
    for name, (what, first, last, per, f) in FITS.items():
        found = rows(f, first, last, per)
        text.append(f"/* {what}, {first} ... {last} */")
        text.append(f"enum {{ FT_FIT_{name}_TERMS = {len(found[0])}, FT_FIT_{name}_PER = {per} }};")
        text.append(f"static const double ft_fit_{name}[{len(found)}][{len(found[0])}] = {{")
        text += [f"    {{{listed(row, '     ')}}}," for row in found]
        text.append("};\n")
        print(name, len(found), "intervals,", len(found[0]), "terms", flush=True)
    for name, series in zip(("ai", "aip"), airy_series(), strict=True):
        text.append(f"/* Of the asymptotic series of {name}: DLMF 9.7.2. */")
        text.append(f"static const double ft_series_{name}[{len(series)}] = {{\n    {listed(series)}}};\n")
    TARGET.write_text("\n".join([*text, "#endif", ""]))


if __name__ == "__main__":
    main()
