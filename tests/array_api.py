"""The array API standard, 2024.12: its functions and parameters, and its own test suite, if it is here.

    python tests/array_api.py DIRECTORY      # a clone of data-apis/array-api-tests, with its submodule
    python tests/array_api.py                # the same, where array_api_tests can be imported

Further arguments go to pytest (e.g. ``--max-examples 100``). Arrays outside of traces are NumPy's own, so
the suite shows what NumPy 2 and functrans.numpy's functions do together; ``test_array_api.py`` shows the
same functions, called as the standard says, on traced arrays.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

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

# what functrans.numpy leaves as NumPy has it, in the suite's names
SKIPS = {
    "NumPy's finfo and iinfo take dtypes, and their fields are NumPy scalars":
        ["test_data_type_functions.py::test_finfo", "test_data_type_functions.py::test_iinfo"],
    "NumPy's older parameters stand before those of the standard":
        ["test_signatures.py::test_func_signature[clip]", "test_signatures.py::test_func_signature[reshape]"],
    "NumPy promotes the bounds of clip with x":
        ["test_operators_and_elementwise_functions.py::test_clip"],
    "NumPy refuses an empty float array as the number of repetitions":
        ["test_manipulation_functions.py::test_repeat"],
    "NumPy's floor_divide of infinities is nan, as Python's; of a finite number by an infinity -1 or 0":
        ["test_special_cases.py::test_binary[floor_divide(",
         "test_special_cases.py::test_binary[__floordiv__(",
         "test_special_cases.py::test_iop[__ifloordiv__("],
    "NumPy's sign keeps the sign of zero":
        ["test_special_cases.py::test_unary[sign("],
    "NumPy's complex functions at infinities follow the C library":
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


def suite(arguments: list[str]) -> int:
    folder = arguments.pop(0) if arguments and Path(arguments[0]).is_dir() else None
    if folder is None:
        spec = importlib.util.find_spec("array_api_tests")
        if spec is None or spec.origin is None:
            print("The suite is not here: give the folder of a clone of data-apis/array-api-tests.")
            return 2
        folder = str(Path(spec.origin).parents[1])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as skips:
        for reason, tests in SKIPS.items():
            skips.write(f"# {reason}\n" + "".join(f"array_api_tests/{t}\n" for t in tests))
        skips.flush()
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, "-m", "pytest", "array_api_tests", "--skips-file", skips.name, *arguments],
            cwd=folder, env={**os.environ, "PYTHONPATH": path, "ARRAY_API_TESTS_MODULE": "functrans.numpy",
                 "ARRAY_API_TESTS_VERSION": VERSION}).returncode


if __name__ == "__main__":
    sys.exit(suite(sys.argv[1:]))
