"""The special cases of the array API standard (``special_cases.py``), on traced arrays and on NumPy's own."""

import math

import numpy as np
import pytest
import special_cases

import functrans.numpy as fnp
from functrans import jit


def _by_name(cases):
    found = {}
    for name, operands, results in cases:
        found.setdefault(name, []).append((operands, results))
    return found


TABLES = {
    "real": _by_name([*special_cases.cases(special_cases.REAL), *special_cases.cases(special_cases.PAIRS)]),
    "complex": _by_name(special_cases.complex_cases()),
    "complex pairs": _by_name(special_cases.cases(special_cases.COMPLEX_PAIRS)),
}
# NumPy's functions on plain arrays do otherwise in some of the cases (docs/numpy.md)
NUMPYS_OWN = {("complex", "expm1"), ("complex", "sign")}


def as_written(got, want, loose):
    """Whether a number is the table's: nan, infinities and zeros with their signs, others to some ulp."""
    value, free = want
    if value in ("+", "-"):
        return math.copysign(1, got) == (1 if value == "+" else -1)
    if math.isnan(value):
        return math.isnan(got)
    if free:
        got, value = abs(got), abs(value)
    if value == 0 or math.isinf(value):
        return got == value and (free or math.copysign(1, got) == math.copysign(1, value))
    return abs(got - value) <= loose * abs(value)


def operands_of(cases, dtype):
    """One array for each operand; those of complex numbers are pairs of parts."""
    columns = np.array([operands for operands, _ in cases], np.empty(0, dtype).real.dtype)
    if np.dtype(dtype).kind != "c":
        return list(columns.T.copy())
    return [columns[:, i : i + 2].copy().view(dtype)[:, 0] for i in range(0, columns.shape[1], 2)]


def broken(cases, values):
    loose = 1e-6 if values.dtype.char in "fF" else 1e-14
    parts = np.stack([values.real, values.imag], 1) if values.dtype.kind == "c" else values[:, None]
    return [
        (operands, results, got.tolist())
        for (operands, results), got in zip(cases, parts, strict=True)
        if not all(as_written(float(g), r, loose) for g, r in zip(got, results, strict=True))
    ]


@pytest.mark.parametrize(("table", "name"), [(t, n) for t, names in TABLES.items() for n in names])
@pytest.mark.parametrize("wide", [False, True])
def test_special_cases(table, name, wide):
    cases, f = TABLES[table][name], getattr(fnp, name)
    dtype = ("f8" if wide else "f4") if table == "real" else ("c16" if wide else "c8")
    arrays = operands_of(cases, dtype)
    whole, small = jit(lambda *xs: f(*xs)), jit(lambda *xs: f(*xs))
    assert not broken(cases, whole(*arrays))
    # few elements run as a program of numbers: other code, same values
    tail = len(cases) // 4 * 4
    pieces = [np.atleast_1d(small(*[x[i : i + 4] for x in arrays])) for i in range(0, tail, 4)]
    assert not broken(cases[:tail], np.concatenate([*pieces, whole(*arrays)[:0]]))
    if (table, name) not in NUMPYS_OWN:
        with np.errstate(all="ignore"):
            assert not broken(cases, f(*arrays))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_reciprocal_and_square_as_written_out(dtype):
    """The standard defines both by other functions, in all special cases."""
    values = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan]
    x = np.array(values, dtype)
    if dtype.startswith("complex"):
        x = np.array([complex(a, b) for a in values[:4] for b in values[:4]][1:], dtype)
    with np.errstate(all="ignore"):
        for f in (
            lambda x: (fnp.reciprocal(x), fnp.square(x)),
            jit(lambda x: (fnp.reciprocal(x), fnp.square(x))),
        ):
            one, two = f(x)
            np.testing.assert_allclose(two, x * x, rtol=1e-6)
            np.testing.assert_allclose(one, 1.0 / x, rtol=1e-6)
            if not dtype.startswith("complex"):
                np.testing.assert_array_equal(np.signbit(one), np.signbit(1.0 / x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hypot_neither_overflows_nor_underflows(dtype):
    big, tiny = np.finfo(dtype).max / 2, np.finfo(dtype).smallest_normal * 2
    a, b = np.array([big, tiny, 3 * tiny], dtype), np.array([big, tiny, 4 * tiny], dtype)
    for f in (
        fnp.hypot,
        jit(fnp.hypot),
        lambda x, y: fnp.abs(x + 1j * y),
        jit(lambda x, y: fnp.abs(x + 1j * y)),
    ):
        np.testing.assert_allclose(f(a, b), [big * math.sqrt(2), tiny * math.sqrt(2), 5 * tiny], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_expm1_and_log1p_of_small_numbers(dtype):
    """Their purpose: digits near 0, where exp(x) - 1 and log(1 + x) have none."""
    x = np.array([1e-10 + 2e-10j, -3e-12 + 1e-9j, 1e-8j, 1e-11], dtype)
    for f in (jit(fnp.expm1), jit(fnp.log1p)):  # both are x + O(x**2)
        got = f(x)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, x, rtol=3e-7 if dtype == "complex64" else 1e-8)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_expm1_where_exp_overflows(dtype):
    """exp(800) is too large; the parts keep their signs, and a real number stays one."""
    got = jit(fnp.expm1)(np.array([800, 800 + 2j, 800 - 2j, -800 + 2j], dtype))
    np.testing.assert_array_equal(got.real, [np.inf, -np.inf, -np.inf, -1])
    np.testing.assert_array_equal(got.imag, [0, np.inf, -np.inf, 0])
