"""Error of the elementwise functions against mpmath, in units in the last place.

``python benchmarks/accuracy.py`` writes docs/accuracy.md; tests/test_accuracy.py takes its grids and exact
functions from here, and holds the kernels of every instruction-set level to the bounds.
"""

from __future__ import annotations

import argparse
import math
import warnings
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
from mpmath import mp, mpf

from functrans.ir.op import OPS as RECORDS
from functrans.kernels import codegen, lib

ULPS = {
    0.5: "add sub mul div sqrt",
    2.0: "exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos sinh cosh tanh cbrt erf pow "
         "hypot",
    4.0: "atan atan2 asinh acosh atanh erfc logistic integer_pow",
    # in units of the largest of operands and result: the terms of a sum may cancel
    5.0: "logaddexp",
}
BOUND = {name: bound for bound, names in ULPS.items() for name in names.split()}
ELSEWHERE = set("neg abs sign floor ceil trunc rint copysign nextafter heaviside share zmul floordiv mod "
                "fmod max min fmax fmin select stop_gradient erf_inv gamma_slope".split())   # see test_random
POWER = 5                              # of integer_pow
DIGITS = {"f32": 24, "f64": 53}
LOWEST, HIGHEST = {"f32": -149, "f64": -1074}, {"f32": 128, "f64": 1024}
DTYPE = {"f32": np.float32, "f64": np.float64}
OPS = {op.name: op for op in codegen.records()}
CASES = [(name, code) for name in BOUND for code in ("f64", "f32")]


def saturated(function, limit):
    """For arguments that would take mpmath long, with results that are constant or infinite."""
    return lambda x: function(max(min(x, mpf(limit)), mpf(-limit)))


EXACT = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y, "sqrt": mp.sqrt, "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "exp": saturated(mp.exp, 2000), "exp2": saturated(lambda x: mpf(2) ** x, 2000),
    "expm1": saturated(mp.expm1, 2000), "log": mp.log, "log2": lambda x: mp.log(x, 2),
    "log10": mp.log10, "log1p": mp.log1p, "sin": mp.sin, "cos": mp.cos, "tan": mp.tan,
    "asin": mp.asin, "acos": mp.acos, "atan": mp.atan, "atan2": mp.atan2,
    "sinh": saturated(mp.sinh, 2000), "cosh": saturated(mp.cosh, 2000),
    "tanh": saturated(mp.tanh, 100), "asinh": mp.asinh, "acosh": mp.acosh, "atanh": mp.atanh,
    "erf": saturated(mp.erf, 100), "erfc": saturated(mp.erfc, 100),
    "logistic": saturated(lambda x: 1 / (1 + mp.exp(-x)), 2000),
    "pow": mp.power, "hypot": mp.hypot, "integer_pow": lambda x: x ** POWER,
    "logaddexp": lambda x, y: max(x, y) + mp.log1p(mp.exp(max(-abs(x - y), mpf(-10000)))),
}

# Where most of a function happens; random bit patterns and special values are added.
RANGES = {"exp": (-80, 80), "exp2": (-120, 120), "expm1": (-3, 3), "log1p": (-1, 3),
          "sin": (-50, 50), "cos": (-50, 50), "tan": (-50, 50), "asin": (-1, 1), "acos": (-1, 1),
          "atanh": (-1, 1), "acosh": (1, 4), "erf": (-4, 4), "erfc": (-3, 9), "sinh": (-80, 80),
          "cosh": (-80, 80), "tanh": (-2, 2), "logistic": (-80, 80), "log": (0, 3), "log2": (0, 3),
          "log10": (0, 3), "pow": (0, 4)}
SPECIAL = [0.0, 1.0, 2.0, 3.0, 0.5, 0.25, 1.5, 2.5, 5.0, 10.0, 100.0, 1e5, 1e10, 1e22, np.pi,
           np.pi / 2, np.log(2) / 2, np.sqrt(0.5), np.sqrt(2), np.tan(np.pi / 8), 0.55, 22.0, 26.5,
           1 / np.tan(np.pi / 8), 27.25, 88.72283, 88.72284, 103.97, 104.0, 127.999, 149.5, 150.5,
           709.782712893384, 709.782712893385, 710.4758600739439, 745.1332191019411, 745.14, 1e-5,
           1e-10, 1e-20, 1e-38, 1e-40, 1e38, 1e300, 1e-300, 1e-310, 355.0, 573204.0, 1e8, 3e9,
           2.0 ** 22 * 3, 2.0 ** 31, np.inf, np.nan]


@cache
def operands(name, code):
    """About 300 points: special ones, random bits, the range where most happens."""
    dt = DTYPE[code]
    rng = np.random.default_rng(len(name) * 7 + ord(name[0]))
    info = np.finfo(dt)
    with np.errstate(over="ignore", under="ignore"):
        special = np.array(SPECIAL, dt)
        edges = np.array([info.max, info.tiny, info.smallest_subnormal, info.eps, info.eps / 2], dt)
        special = np.concatenate([special, edges, np.nextafter(special, dt(0)), -special, -edges])
    whole = rng.integers(0, 2 ** (8 * dt().itemsize), 90, np.uint64)
    patterns = whole.astype(f"u{dt().itemsize}").view(dt)
    args = []
    for i in range(OPS[name].arity):
        low, high = RANGES.get(name, (-4, 4))
        uniform = rng.uniform(low, high, 70).astype(dt)
        turns = (rng.integers(1, 4000, 10) * (np.pi / 2)).astype(dt)
        x = np.concatenate([special, patterns, uniform, turns])
        args.append(x if i == 0 else rng.permutation(x))
    if name == "pow":                       # results in range, and whole powers of negative numbers
        x, y = args
        x[-40:] = np.exp(rng.uniform(-60, 60, 40)).astype(dt)
        y[-40:] = rng.uniform(-1.4, 1.4, 40).astype(dt)
        x[-60:-40] = -rng.uniform(0.5, 9, 20).astype(dt)
        y[-60:-40] = rng.integers(-15, 16, 20).astype(dt)
    return args


def run(name, code):
    args = operands(name, code)
    out = np.empty_like(args[0])
    lib.call(f"ew:{name}:{code}", [out], args, out.shape, (POWER,))
    return out


@cache
def references(name, code):
    """Per point (exact value or None, NumPy's value); None where the limit is what counts."""
    args = operands(name, code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        params = {"y": POWER} if name == "integer_pow" else {}
        limits = np.asarray(OPS[name].reference(*args, **params), DTYPE[code])
    pairs = []
    for point, limit in zip(zip(*args, strict=True), limits, strict=True):
        exact = None
        no_sign = name == "atan2" and 0 in point             # mpmath has no -0.0
        if np.isfinite(point).all() and not np.isnan(limit) and not no_sign:
            # twice the digits that a tiny or huge argument may cost
            exponents = [abs(int(np.frexp(v)[1])) for v in point]
            with mp.workprec(150 + 2 * max(exponents) if name != "pow" else 1300):
                try:
                    exact = EXACT[name](*(mpf(float(v)) for v in point))
                except (ValueError, ZeroDivisionError):        # a pole
                    exact = None
            if exact is not None and not mpmath.isfinite(exact):
                exact = None
        pairs.append((exact, limit))
    return pairs


def error(got, exact, code, scale):
    """|got - exact| in units in the last place of the larger of `exact` and `scale`."""
    def size(v):
        return int(mp.frexp(v)[1]) if v else -2000
    top = mpf(2) ** HIGHEST[code]
    exponent = min(max(size(exact), scale), HIGHEST[code])
    unit = mpf(2) ** max(exponent - DIGITS[code], LOWEST[code])
    exact = max(min(exact, top), -top)                   # infinity stands for 2**HIGHEST and more
    value = mpf(float(got)) if np.isfinite(got) else (top if got > 0 else -top)
    return float(abs(value - exact) / unit)



# ----- the page ------------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[1] / "docs" / "accuracy.md"


# Special functions of one number: mpmath's function, and the range.
SPECIAL_EXACT = {
    "gammaln": (lambda x: mp.log(abs(mp.gamma(x))), (2.5, 100.0)), "gamma": (mp.gamma, (0.1, 100.0)),
    "digamma": (mp.digamma, (2.0, 100.0)), "erf_inv": (mp.erfinv, (-0.99, 0.99)),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), (-3.0, 30.0)), "erfi": (mp.erfi, (-3.0, 3.0)),
    "dawsn": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), (-8.0, 8.0)),
    "log_ndtr": (lambda x: mp.log(mp.ncdf(x)), (-30.0, 3.0)),
    "ndtri": (lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), (0.01, 0.45)),
    "expi": (mp.ei, (1.0, 50.0)), "exp1": (mp.e1, (0.1, 50.0)), "sine_integral": (mp.si, (0.1, 30.0)),
    "sinh_integral": (mp.shi, (0.1, 30.0)), "spence": (lambda x: mp.polylog(2, 1 - x), (1.5, 20.0)),
    "fresnel_s": (mp.fresnels, (0.1, 5.0)), "fresnel_c": (mp.fresnelc, (0.1, 5.0)),
    "ellipk": (mp.ellipk, (0.0, 0.999)), "ellipe": (mp.ellipe, (0.0, 0.999)),
    "bessel_j0": (lambda x: mp.besselj(0, x), (0.0, 2.0)),
    "bessel_j1": (lambda x: mp.besselj(1, x), (0.0, 3.0)),
    "bessel_y0": (lambda x: mp.bessely(0, x), (1.2, 3.5)),
    "bessel_y1": (lambda x: mp.bessely(1, x), (0.1, 2.0)),
    "bessel_i0": (lambda x: mp.besseli(0, x), (0.0, 30.0)),
    "bessel_i1": (lambda x: mp.besseli(1, x), (0.0, 30.0)),
    "bessel_k0": (lambda x: mp.besselk(0, x), (0.1, 30.0)),
    "bessel_k1": (lambda x: mp.besselk(1, x), (0.1, 30.0)),
    "airy_ai": (mp.airyai, (0.0, 10.0)), "airy_bi": (mp.airybi, (0.0, 10.0)),
    "riemann_zeta": (mp.zeta, (1.1, 20.0)),
}


def grid(name, code, points, low, high):
    """Uniform over a range; of each operand anew."""
    rng = np.random.default_rng(sum(map(ord, name)))
    arity = RECORDS[name].arity
    return [rng.uniform(low, high, points).astype(DTYPE[code]) for _ in range(arity)]


def measured(name, code, exact, args):
    """(max, mean) error over the points whose exact value is a normal number."""
    out = np.empty_like(args[0])
    lib.call(f"ew:{name}:{code}", [out], args, out.shape, (POWER,))
    errors = []
    with mp.workprec(160):
        for got, *point in zip(out, *args, strict=True):
            value = exact(*(mpf(float(v)) for v in point))
            scale = max(int(np.frexp(v)[1]) for v in point) if name == "logaddexp" else -2000
            if mp.isfinite(value) and abs(value) > float(np.finfo(DTYPE[code]).tiny):
                errors.append(error(got, value, code, scale))
    return max(errors), math.fsum(errors) / len(errors)


def rows(points, table):
    """One line of the table an op: the range, and the errors of both dtypes."""
    for name, (exact, (low, high)) in table.items():
        cells = []
        for code in ("f64", "f32"):
            worst, mean = measured(name, code, exact, grid(name, code, points, low, high))
            cells += [f"{worst:.2f}", f"{mean:.2f}"]
        yield f"| `{name}` | {low:g} ... {high:g} | {' | '.join(cells)} |"


HEAD = ("| op | range | float64: max | mean | float32: max | mean |", "|---|---|---|---|---|---|")


def page(points):
    own = {name: (EXACT[name], RANGES.get(name, (-4, 4))) for name in BOUND}
    own["pow"] = (EXACT["pow"], (0.1, 4))
    own["integer_pow"] = (EXACT["integer_pow"], (0.1, 4))
    for name in ("log", "log2", "log10", "sqrt"):
        own[name] = (EXACT[name], (0.001, 100))
    bounds = [f"{bound:g}: {', '.join(f'`{n}`' for n in names.split())}" for bound, names in ULPS.items()]
    return "\n".join([
        "# Accuracy",
        "",
        "Errors of the elementwise functions in units in the last place (ulp) of the exact result, against",
        f"mpmath, at {points} uniform points of the range given. `benchmarks/accuracy.py` writes this page.",
        "Levels v3 and v4 have the same bits. `integer_pow` is x to the power of 5. For `logaddexp`, whose",
        "terms may cancel, the unit is that of the largest of operands and result.",
        "",
        "## Functions of NumPy",
        "",
        "Own vector code. What `tests/test_accuracy.py` promises holds for all finite operands, special",
        "values and random bit patterns among them: at most",
        "",
        *[f"- {b};" for b in bounds],
        "",
        "others (`add`, `neg`, `floor`, comparisons ...) are exact, or rounded once.",
        "",
        *HEAD, *rows(points, own),
        "",
        "## Special functions",
        "",
        "SciPy's code, or polynomials of our own where that loses digits (`kernels/special_fits.h`), in",
        "double precision: at most 4 ulp. float32 results are rounded from that. The ranges leave out",
        "zeros of the functions, near which the error is small beside the function's size only.",
        "",
        *HEAD, *rows(max(points // 4, 20), SPECIAL_EXACT),
        "",
        "A value in the middle of all that:",
        "",
        "```python",
        ">>> import numpy as np",
        ">>> from functrans import jit",
        ">>> bool(abs(jit(np.exp)(1.0) - np.e) <= np.spacing(np.e))",
        "True",
        "```", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--show", action="store_true", help="print the page instead of writing it")
    args = parser.parse_args()
    text = page(args.points)
    if args.show:
        print(text)
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
