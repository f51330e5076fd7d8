"""Error of the float functions against mpmath, in units in the last place, special values included.

The bounds below are what functrans promises on every instruction-set level. Operations that are
exact or rounded once by definition are compared with NumPy, bit for bit, in test_kernels.
"""

import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

from functrans.kernels import codegen, lib

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from accuracy import BOUND, CASES, DTYPE, ELSEWHERE, OPS, error, operands, references, run


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
