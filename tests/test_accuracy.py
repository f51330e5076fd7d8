"""Error of the float functions against mpmath, in units in the last place, special values included.

The bounds below are what functrans promises on every instruction-set level. Operations that are
exact or rounded once by definition are compared with NumPy, bit for bit, in test_kernels.
"""

import os
import subprocess
import sys
import warnings
from functools import cache

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

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
ELSEWHERE = set("neg abs sign floor ceil trunc rint copysign nextafter heaviside zmul floordiv mod "
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


def other_level():
    levels = [level for level in lib.levels() if level != lib.level()]
    return levels[0] if levels else None


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(level, op, dtype) -> results, the other level's by a process of its own."""
    found = {(lib.level(), *case): run(*case) for case in CASES}
    if other_level():
        path = tmp_path_factory.mktemp("accuracy") / "results.npz"
        program = ("import sys, numpy as np\n"
                   "from tests import test_accuracy as t\n"
                   "assert t.lib.level() == sys.argv[2]\n"
                   "np.savez(sys.argv[1], **{':'.join(case): t.run(*case) for case in t.CASES})\n")
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        env = {**os.environ, "FUNCTRANS_ISA": other_level()}
        subprocess.run([sys.executable, "-c", program, str(path), other_level()], env=env, cwd=here,
                       check=True)
        with np.load(path) as data:
            found |= {(other_level(), *case): data[":".join(case)] for case in CASES}
    return found


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


@pytest.mark.parametrize("level", [lib.level(), other_level()], ids=["default", "other"])
@pytest.mark.parametrize("name,code", CASES)
def test_error(name, code, level, results):
    if level is None:
        pytest.skip("this CPU has one level")
    args = operands(name, code)
    for i, (exact, limit) in enumerate(references(name, code)):
        got = results[level, name, code][i]
        told = f"{name}({', '.join(repr(float(a[i])) for a in args)}) = {float(got)!r} on {level}"
        if exact is None:
            if np.isnan(limit) or np.isinf(limit) or limit == 0:
                assert np.array_equal(got, limit, equal_nan=True), f"{told}, not {limit}"
            else:
                assert abs(got - limit) <= np.spacing(abs(limit)), f"{told}, not {limit}"
            continue
        assert not np.isnan(got), told
        scale = -2000
        if name == "logaddexp":
            scale = max(int(np.frexp(a[i])[1]) for a in args)
        e = error(got, exact, code, scale)
        assert e <= BOUND[name], f"{told}: {e:.3g} ulps from {mpmath.nstr(exact, 20)}"
        if got == 0 and name != "logaddexp":
            negative = exact < 0 if exact != 0 else np.signbit(limit)
            assert np.signbit(got) == negative, f"{told}: the sign of zero"


def test_every_float_function_has_a_bound():
    floats = {op.name for op in codegen.records() if op.name != "convert" and "f64" in op.dtypes
              and codegen.out_code(op, "f64") == "f64" and not op.calls_scipy}
    assert floats - set(BOUND) - ELSEWHERE == set()
    assert set(BOUND) <= set(OPS)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("code", ["f32", "f64"])
def test_far_arguments_leave_their_neighbours_alone(name, code):
    """Pieces of the loop with arguments of 1e30 go another way; the bits must stay the same."""
    rng = np.random.default_rng(5)
    x = rng.uniform(-9, 9, 2000).astype(DTYPE[code])
    far = x.copy()
    far[[3, 700, 701, 1999]] = 1e30
    kernel = f"ew:{name}:{code}"
    plain, mixed, one = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    lib.call(kernel, [plain], [x], x.shape)
    lib.call(kernel, [mixed], [far], x.shape)
    for i in range(len(x)):
        lib.call(kernel, [one[i:i + 1]], [far[i:i + 1]], (1,))
    same = far == x
    assert mixed[same].tobytes() == plain[same].tobytes()
    assert mixed.tobytes() == one.tobytes()
    lib.call(kernel, [far], [far], x.shape)              # in place
    assert far.tobytes() == one.tobytes()
