"""The array API standard, 2024.12: its functions and parameters, and its own test suite, if it is here.

    python tests/array_api.py DIRECTORY          # a clone of data-apis/array-api-tests, with its submodule
    python tests/array_api.py                    # the same, where array_api_tests can be imported
    python tests/array_api.py --traced ...       # every function under jit (array_api_traced.py)

Further arguments go to pytest (e.g. ``--max-examples 100``, ``-k sort``, ``--disable-extension fft``). What
is known to differ is given to the suite as expected failures (``DIFFERENT``); the summary at the end counts
tests by module and lists what failed. Arrays outside of traces are NumPy's own, so the suite shows what
NumPy 2 and functrans.numpy do together; the ``test_array_api_*.py`` assert the same of plain and of traced
arrays.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
VERSION = "2024.12"

# parameters: names
STANDARD = {"": """
(x, /): abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag
    isfinite
    isinf isnan log log10 log1p log2 logical_not matrix_transpose negative nonzero positive real
    reciprocal round
    sign signbit sin sinh sqrt square tan tanh trunc unique_all unique_counts unique_inverse
    unique_values
(x1, x2, /): add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign
    divide
    equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or
    logical_xor
    matmul maximum minimum multiply nextafter not_equal pow remainder subtract
(x, /, *, axis, keepdims): all any argmax argmin count_nonzero max mean min
(x, /, *, axis, dtype, keepdims): prod sum
(x, /, *, axis, correction, keepdims): std var
(x, /, *, axis, dtype, include_initial): cumulative_prod cumulative_sum
(x, /, *, axis, n, prepend, append): diff
(x, /, *, axis, descending, stable): argsort sort
(start, /, stop, step, *, dtype, device): arange
(obj, /, *, dtype, device, copy): asarray
(x, dtype, /, *, copy, device): astype
(*arrays): broadcast_arrays
(*shapes): broadcast_shapes
(x, /, shape): broadcast_to
(from_, to, /): can_cast
(x, /, min, max): clip
(arrays, /, *, axis): concat stack
(shape, *, dtype, device): empty ones zeros
(x, /, *, dtype, device): empty_like ones_like zeros_like
(shape, fill_value, *, dtype, device): full
(x, /, fill_value, *, dtype, device): full_like
(n_rows, n_cols, /, *, k, dtype, device): eye
(x, /, axis): expand_dims squeeze
(type, /): finfo iinfo
(x, /, *, axis): flip unstack
(x, /, *, device, copy): from_dlpack
(dtype, kind): isdtype
(x1, x2, /, *, invert): isin
(start, stop, /, num, *, dtype, device, endpoint): linspace
(*arrays, indexing): meshgrid
(x, source, destination, /): moveaxis
(x, /, axes): permute_dims
(x, repeats, /, *, axis): repeat
(x, /, shape, *, copy): reshape
(*arrays_and_dtypes): result_type
(x, /, shift, *, axis): roll
(x1, x2, /, *, side, sorter): searchsorted
(x, indices, /, *, axis): take take_along_axis
(x1, x2, /, *, axes): tensordot
(x, repetitions, /): tile
(x, /, *, k): tril triu
(x1, x2, /, *, axis): vecdot
(condition, x1, x2, /): where
""", "linalg": """
(x, /, *, upper): cholesky
(x1, x2, /, *, axis): cross vecdot
(x, /): det eigh eigvalsh inv matrix_transpose slogdet svdvals
(x, /, *, offset): diagonal
(x1, x2, /): matmul outer solve
(x, /, *, keepdims, ord): matrix_norm
(x, n, /): matrix_power
(x, /, *, rtol): matrix_rank pinv
(x, /, *, mode): qr
(x, /, *, full_matrices): svd
(x1, x2, /, *, axes): tensordot
(x, /, *, offset, dtype): trace
(x, /, *, axis, keepdims, ord): vector_norm
""", "fft": """
(n, /, *, d, dtype, device): fftfreq rfftfreq
(x, /, *, s, axes, norm): fftn ifftn irfftn rfftn
(x, /, *, axes): fftshift ifftshift
(x, /, *, n, axis, norm): hfft ifft ihfft irfft rfft fft
"""}
CONSTANTS = """e inf nan newaxis pi bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32
    float64 complex64
    complex128""".split()

# Where NumPy differs, whose functions functrans.numpy has for plain arrays (docs/numpy.md): parts of ids
DIFFERENT = {
    "fields of finfo are NumPy scalars; a float32 is no Python float":
        ["test_data_type_functions.py::test_finfo[float32]",
         "test_data_type_functions.py::test_finfo[complex64]"],
    "NumPy's older parameters stand before those of the standard":
        ["test_signatures.py::test_func_signature[clip]", "test_signatures.py::test_func_signature[reshape]",
         "test_signatures.py::test_func_signature[vecdot]"],
    "NumPy promotes the bounds of clip with x":
        ["test_operators_and_elementwise_functions.py::test_clip"],
    "NumPy refuses an empty float array as the number of repetitions":
        ["test_manipulation_functions.py::test_repeat"],
    "NumPy's floor_divide of infinities is nan, as Python's; of a finite number by an infinity -1 or 0":
        ["test_special_cases.py::test_binary[floor_divide(",
         "test_special_cases.py::test_binary[__floordiv__(",
         "test_special_cases.py::test_iop[__ifloordiv__("],
    "NumPy's sign keeps the sign of zero on some processors":
        ["test_special_cases.py::test_unary[sign("],
    "expm1 and tanh of complex infinities: NumPy's own, and C's":
        ["test_special_cases.py::test_unary[expm1(", "test_special_cases.py::test_unary[tanh("],
}


def standard():
    """(module, name, positional parameters, keyword parameters) of each function."""
    for module, text in STANDARD.items():
        head = ""
        for line in text.splitlines():
            if line and not line.startswith(" "):
                head, _, line = line.partition(": ")
            parts = [p.strip() for p in head.strip("()").split(",")]
            star = any(p.startswith("*") and len(p) > 1 for p in parts)
            for name in line.split():
                if star:
                    yield module, name, [], [p for p in parts if not p.startswith("*")]
                    continue
                bare = parts.index("/") if "/" in parts else 0
                positional = [p for p in parts[:bare] if p]
                yield module, name, positional, [p for p in parts[bare:] if p not in "/*"]


def found_suite(folder: str | None) -> str | None:
    """The folder that holds array_api_tests, or None."""
    if folder is None:
        spec = importlib.util.find_spec("array_api_tests")
        return None if spec is None or spec.origin is None else str(Path(spec.origin).parents[1])
    return folder if (Path(folder) / "array_api_tests").is_dir() else None


def suite(arguments: list[str]) -> int:
    """Runs the suite and prints a summary; pytest's exit code, or 2 where there is no suite."""
    arguments = list(arguments)
    traced = "--traced" in arguments
    if traced:
        arguments.remove("--traced")
    folder = found_suite(arguments.pop(0) if arguments and Path(arguments[0]).is_dir() else None)
    if folder is None:
        print("The suite is not here: give the folder of a clone of data-apis/array-api-tests, which has a "
              "folder array_api_tests.")
        return 2
    with tempfile.TemporaryDirectory() as place:
        fails, report = Path(place) / "xfails.txt", Path(place) / "report.xml"
        fails.write_text("".join(f"# {reason}\n" + "".join(f"array_api_tests/{t}\n" for t in tests)
                                 for reason, tests in DIFFERENT.items()))
        paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "ARRAY_API_TESTS_VERSION": VERSION,
                       "ARRAY_API_TESTS_MODULE": "array_api_traced" if traced else "functrans.numpy"}
        code = subprocess.run([sys.executable, "-m", "pytest", "array_api_tests", "-q", "--tb=short",
                               "--xfails-file", str(fails), f"--junitxml={report}", *arguments],
                              cwd=folder, env={**os.environ, **environment}).returncode
        if report.exists():
            print(summary(ElementTree.parse(report).getroot()))
    return code


def summary(report: ElementTree.Element) -> str:
    """Tests by module and outcome, and the names of those that are not as expected."""
    counts: dict[str, Counter[str]] = {}
    unexpected = []
    for test in report.iter("testcase"):
        module = test.get("classname", "").rpartition(".")[2].removeprefix("test_")
        tags = {child.tag: child for child in test}
        outcome = ("failed" if tags.keys() & {"failure", "error"} else "passed" if "skipped" not in tags
                   else "expected" if tags["skipped"].get("type") == "pytest.xfail" else "skipped")
        counts.setdefault(module, Counter())[outcome] += 1
        if outcome == "failed":
            unexpected.append(f"{module}: {test.get('name')}")
    outcomes = ("passed", "failed", "expected", "skipped")
    wide = max(map(len, [*counts, "module"]))
    lines = [f"{'module':{wide}}" + "".join(f"{o:>10}" for o in outcomes)]
    lines += [f"{m:{wide}}" + "".join(f"{c[o]:>10}" for o in outcomes) for m, c in sorted(counts.items())]
    total = sum(counts.values(), Counter())
    lines += [f"{'all':{wide}}" + "".join(f"{total[o]:>10}" for o in outcomes)]
    return "\n".join([*lines, *(["", "failed:", *unexpected] if unexpected else [])])


if __name__ == "__main__":
    sys.exit(suite(sys.argv[1:]))
