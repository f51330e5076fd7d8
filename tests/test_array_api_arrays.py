"""Creation, dtypes, inspection, indexing, attributes as the array API standard has them, plain and traced."""

import math
import operator
from functools import partial

import numpy as np
import pytest
from array_api_tools import COMPLEX, FLOATS, INTEGERS, SIGNED, UNSIGNED, both, few, filled, promoted, results
from hypothesis import given
from hypothesis import strategies as st

import functrans.numpy as fnp
from functrans import jit

ALL = ["bool", *INTEGERS, *FLOATS, *COMPLEX]
DEFAULTS = {"bool": bool, "int64": int, "float64": float, "complex128": complex}
sides = st.lists(st.integers(0, 3), max_size=3).map(tuple)
kinds = {
    "bool": ["bool"],
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": INTEGERS,
    "real floating": FLOATS,
    "complex floating": COMPLEX,
    "numeric": INTEGERS + FLOATS + COMPLEX,
}


def made(f):
    """An array that is made outside of a trace, and one that is made inside."""
    yield np.asarray(f())
    yield np.asarray(jit(lambda x: (x, f()))(0.0)[1])


# ----- creation -------------------------------------------------------------------------------------------


@few
@given(sides | st.integers(0, 5), st.sampled_from([None, *ALL]), st.data())
def test_filled_arrays(shape, dtype, data):
    kw = {} if dtype is None else {"dtype": getattr(fnp, dtype)}
    full = shape if isinstance(shape, tuple) else (shape,)
    value = (
        data.draw(st.sampled_from([True, 3, 2.5, 1 + 2j]))
        if dtype is None
        else np.dtype(dtype).type(1).item()
    )
    of_value = next(d for d, t in DEFAULTS.items() if type(value) is t)
    for f, want, out in [
        (lambda: fnp.zeros(shape, **kw), 0, dtype or "float64"),
        (lambda: fnp.ones(shape, **kw), 1, dtype or "float64"),
        (lambda: fnp.full(shape, value, **kw), value, dtype or of_value),
        (lambda: fnp.empty(shape, **kw), None, dtype or "float64"),
    ]:
        for got in made(f):
            assert got.shape == full and got.dtype == out
            assert want is None or (got == want).all()


@few
@given(sides, st.sampled_from(ALL), st.sampled_from([None, *ALL]))
def test_arrays_like_others(shape, dtype, other):
    x, kw = np.zeros(shape, dtype), {} if other is None else {"dtype": np.dtype(other)}
    for name, want in [("zeros_like", 0), ("ones_like", 1), ("empty_like", None), ("full_like", 1)]:
        args = [True if (other or dtype) == "bool" else 1] if name == "full_like" else []
        for got in results(lambda x, name=name, args=args: getattr(fnp, name)(x, *args, **kw), x):
            assert got.shape == shape and got.dtype == (other or dtype)
            assert want is None or (got == want).all()


numbers = st.integers(-9, 9) | st.floats(-9, 9, width=16)


@few
@given(numbers, st.none() | numbers, numbers.filter(lambda v: abs(v) > 0.3))
def test_arange(start, stop, step):
    args = [start] if stop is None else [start, stop, step]
    first, last, by = (0, start, 1) if stop is None else args
    want = [first + i * by for i in range(max(math.ceil((last - first) / by), 0))]
    for got in made(lambda: fnp.arange(*args)):
        assert got.dtype == ("int64" if all(type(a) is int for a in args) else "float64")
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    for dtype in ("float32", "int32", "uint8"):
        if all(type(a) is int for a in args) and all(v >= 0 for v in [first, last, by]):
            for got in made(lambda d=dtype: fnp.arange(*args, dtype=np.dtype(d), device="cpu")):
                assert got.dtype == dtype and got.tolist() == want


@few
@given(numbers, numbers, st.integers(0, 9), st.booleans(), st.sampled_from([None, *FLOATS, *COMPLEX]))
def test_linspace(start, stop, num, endpoint, dtype):
    steps = max(num - 1 if endpoint else num, 1)
    want = [start + (stop - start) * i / steps for i in range(num)]
    for got in made(
        lambda: fnp.linspace(
            start, stop, num, endpoint=endpoint, dtype=None if dtype is None else np.dtype(dtype)
        )
    ):
        assert got.dtype == (dtype or "float64") and got.shape == (num,)
        np.testing.assert_allclose(got, want, rtol=1e-6 if dtype else 1e-13, atol=1e-6 if dtype else 1e-13)
    for got in results(
        lambda a, b: fnp.linspace(a, b, num, endpoint=endpoint), np.float64(start), np.float64(stop)
    ):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


@few
@given(st.integers(0, 4), st.none() | st.integers(0, 4), st.integers(-6, 6), st.sampled_from(ALL), st.data())
def test_eye_tril_triu_meshgrid(n, m, k, dtype, data):
    cols = n if m is None else m
    for got in made(lambda: fnp.eye(n, m, k=k, dtype=np.dtype(dtype))):
        assert got.dtype == dtype and got.tolist() == [[j - i == k for j in range(cols)] for i in range(n)]
    x = filled(data, dtype, (2, n, cols))
    for name, kept in (("tril", operator.le), ("triu", operator.ge)):
        for got in results(lambda x, name=name: getattr(fnp, name)(x, k=k), x):
            assert got.dtype == dtype and got.shape == x.shape
            assert all(
                got[b, i, j] == (x[b, i, j] if kept(j - i, k) else 0) for b, i, j in np.ndindex(*x.shape)
            )
    a, b = filled(data, dtype, (n,)), filled(data, dtype, (cols,))
    for indexing in ("xy", "ij"):
        for rows, columns in both(lambda a, b, i=indexing: tuple(fnp.meshgrid(a, b, indexing=i)), a, b):
            assert rows.dtype == columns.dtype == dtype
            shape = (n, cols) if indexing == "ij" else (cols, n)
            assert np.shape(rows) == np.shape(columns) == shape
            for i, j in np.ndindex(*shape):
                p, q = (i, j) if indexing == "ij" else (j, i)
                assert rows[i, j] == a[p] and columns[i, j] == b[q]


@pytest.mark.parametrize(
    ("obj", "dtype"),
    [
        (True, "bool"),
        (3, "int64"),
        (2.5, "float64"),
        (1j, "complex128"),
        ([True, False], "bool"),
        ([True, 2], "int64"),
        ([[1, 2.5], [3, 4]], "float64"),
        ([1, 2j], "complex128"),
        ([], "float64"),
        ([[], []], "float64"),
    ],
)
def test_asarray_of_numbers(obj, dtype):
    for got in made(lambda: fnp.asarray(obj)):
        assert got.dtype == dtype and got.tolist() == (np.array(obj, object).tolist())
    for other in ("float32", "complex64"):
        if dtype != "complex128":
            for got in made(partial(fnp.asarray, obj, dtype=np.dtype(other))):
                assert got.dtype == other


@few
@given(st.sampled_from(ALL), sides, st.sampled_from([None, True, False]), st.data())
def test_asarray_of_arrays(dtype, shape, copy, data):
    x = filled(data, dtype, shape)
    for got in results(lambda x: fnp.asarray(x, copy=copy), x):
        assert got.dtype == dtype and (got == x).all() and got.shape == shape
    kept = fnp.asarray(x, copy=copy)
    assert np.shares_memory(kept, x) == (copy is not True and x.size > 0)
    if copy is False and dtype != "float64":
        with pytest.raises(ValueError):
            fnp.asarray(x, dtype=fnp.float64, copy=False)


# ----- dtypes ---------------------------------------------------------------------------------------------


@few
@given(st.sampled_from(ALL), st.sampled_from(ALL), sides, st.booleans(), st.data())
def test_astype(dtype, to, shape, copy, data):
    if dtype in COMPLEX and to not in (*COMPLEX, "bool"):
        return  # the standard forbids it
    x = filled(data, dtype, shape, low=0)
    for got in results(lambda x: fnp.astype(x, np.dtype(to), copy=copy), x):
        assert got.dtype == to and got.shape == shape
        for g, v in zip(got.flat, x.flat, strict=True):
            assert g == (bool(v) if to == "bool" else int(v) if to in INTEGERS else np.dtype(to).type(v))
    assert (fnp.astype(x, x.dtype, copy=copy) is x) == (not copy)


@pytest.mark.parametrize("a", ALL)
def test_promotion(a):
    for b in ALL:
        want = promoted(a, b)
        if want is None:
            continue
        x, y = np.zeros(2, a), np.zeros((1, 2), b)
        assert fnp.result_type(np.dtype(a), np.dtype(b)) == want
        for of in (lambda x, y: fnp.result_type(x, y), lambda x, y: fnp.result_type(x, y.dtype)):
            assert of(x, y) == want
            kept = []
            jit(lambda x, y, of=of, kept=kept: (x, kept.append(of(x, y)))[0])(x, y)
            assert kept == [np.dtype(want)]
        assert fnp.can_cast(np.dtype(a), np.dtype(b)) is (want == b)
        for f in (
            lambda x, y: fnp.where(fnp.asarray([True, False]), x, y),
            lambda x, y: fnp.concat([x, y[0]]),
            lambda x, y: fnp.stack([x, y[0]]),
        ):
            for got in results(f, x, y):
                assert got.dtype == want


@pytest.mark.parametrize("dtype", ALL)
def test_kinds(dtype):
    d = getattr(fnp, dtype)
    for kind, members in kinds.items():
        assert fnp.isdtype(np.dtype(d), kind) is (dtype in members)
    assert fnp.isdtype(np.dtype(d), (np.dtype("int8"), "real floating")) is (dtype in ("int8", *FLOATS))
    assert fnp.isdtype(np.dtype(d), np.dtype(d)) is True
    # dtypes of traced arrays are compared with ==, as those of plain ones
    jit(lambda x: (x, fnp.isdtype(x.dtype, "numeric") or x.dtype == fnp.bool or 1 / 0)[0])(np.zeros(2, dtype))


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *INTEGERS])
def test_limits(dtype):
    """From the formats: of floats digits and largest exponent, of integers the number of bits."""
    bits = 8 * np.dtype(dtype).itemsize
    if dtype in INTEGERS:
        info = fnp.iinfo(np.dtype(dtype))
        low = 0 if dtype in UNSIGNED else -(2 ** (bits - 1))
        assert (info.bits, info.min, info.max, info.dtype) == (bits, low, low + 2**bits - 1, dtype)
        return
    real = "float" + str(bits // (2 if dtype in COMPLEX else 1))
    digits, top = (24, 128) if real == "float32" else (53, 1024)
    info = fnp.finfo(np.dtype(dtype))
    assert (info.bits, info.dtype) == (int(real[5:]), real)
    assert float(info.eps) == 2.0 ** (1 - digits) and float(info.smallest_normal) == 2.0 ** (2 - top)
    assert float(info.max) == -float(info.min) == math.ldexp(2.0 - 2.0 ** (1 - digits), top - 1)


@pytest.mark.parametrize(
    "f", [lambda x: fnp.finfo(x).bits, lambda x: fnp.iinfo(fnp.astype(x, fnp.int16)).bits]
)
def test_limits_of_arrays(f):
    for got in both(lambda x: (x, f(x))[1] * fnp.ones(()), np.zeros(3, "float32")):
        assert got in (32, 16)


def test_information():
    info = fnp.__array_namespace_info__()
    capabilities = info.capabilities()
    assert capabilities["boolean indexing"] is True and capabilities["data-dependent shapes"] is True
    assert isinstance(capabilities["max dimensions"], int)
    assert info.default_device() in info.devices()
    assert set(info.default_dtypes()) == {"real floating", "complex floating", "integral", "indexing"}
    for kind, names in kinds.items():
        assert sorted(info.dtypes(kind=kind)) == sorted(names)
    assert sorted(info.dtypes()) == sorted(ALL)
    for name, d in info.dtypes(kind=("bool", "signed integer")).items():
        assert name in ["bool", *SIGNED] and fnp.empty(1, dtype=d, device=info.default_device()).dtype == d


def test_constants():
    assert fnp.e == math.e and fnp.pi == math.pi and fnp.inf == math.inf and math.isnan(fnp.nan)
    assert fnp.newaxis is None


# ----- the array object -----------------------------------------------------------------------------------


def test_attributes():
    kept = {}

    def look(x):
        kept.update(
            dtype=x.dtype, device=x.device, ndim=x.ndim, shape=x.shape, size=x.size, t=x.T.shape, m=x.mT.shape
        )
        return x

    for f in (look, jit(look)):
        f(np.zeros((2, 3), "float32"))
        assert kept == {
            "dtype": np.float32,
            "device": "cpu",
            "ndim": 2,
            "shape": (2, 3),
            "size": 6,
            "t": (3, 2),
            "m": (3, 2),
        }
    for got in results(lambda x: x.mT, np.arange(12).reshape(2, 2, 3)):
        assert got.tolist() == [[[0, 3], [1, 4], [2, 5]], [[6, 9], [7, 10], [8, 11]]]
    for got in results(lambda x: x.to_device("cpu"), np.arange(3)):
        assert got.tolist() == [0, 1, 2]
    for run in (lambda f: f, jit):
        with pytest.raises(ValueError):
            run(lambda x: x.mT)(np.zeros(3))


@pytest.mark.parametrize(
    ("convert", "dtypes"),
    [(bool, ["bool"]), (int, INTEGERS), (operator.index, INTEGERS), (float, FLOATS), (complex, COMPLEX)],
)
def test_python_numbers(convert, dtypes):
    for dtype in dtypes:
        got = convert(fnp.asarray(1, dtype=np.dtype(dtype)))
        assert got == 1 and type(got) is (int if convert is operator.index else convert)


@st.composite
def keys(draw, shape):
    """Integers, slices, at most one ellipsis and new axes."""
    key = []
    for side in shape[: draw(st.integers(0, len(shape)))]:
        if side and draw(st.booleans()):
            key.append(draw(st.integers(-side, side - 1)))
        else:
            ends = st.none() | st.integers(-side, side)
            key.append(slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, -1, -3]))))
    if draw(st.booleans()):
        key.append(...)
    for _ in range(draw(st.integers(0, 2))):
        key.insert(draw(st.integers(0, len(key))), None)
    return tuple(key)


def picked(shape, key):
    """The shape of x[key], and which index of x each of its indices comes from, by Python's ranges."""
    key = [*key] if ... in key else [*key, ...]
    rest = [slice(None)] * (len(shape) - sum(k not in (None, ...) for k in key))
    key[key.index(...) : key.index(...) + 1] = rest
    out, axes, at = [], [], 0
    for k in key:
        if k is None:
            out.append(1)
            continue
        positions = [range(shape[at])[k]] if isinstance(k, int) else list(range(shape[at])[k])
        axes.append((positions, len(out) if not isinstance(k, int) else None))
        if not isinstance(k, int):
            out.append(len(positions))
        at += 1
    return tuple(out), lambda i: tuple(p[0] if o is None else p[i[o]] for p, o in axes)


@few
@given(st.sampled_from(ALL), sides, st.data())
def test_indexing(dtype, shape, data):
    x, key = filled(data, dtype, shape), data.draw(keys(shape))
    out, source = picked(shape, key)
    for got in results(lambda x: x[key], x):
        assert got.dtype == dtype and got.shape == out
        assert all(got[i] == x[source(i)] for i in np.ndindex(*out))


@few
@given(st.sampled_from(ALL), st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.data())
def test_indexing_with_integer_arrays(dtype, shape, data):
    """2024.12: integers and integer arrays together, as many as there are axes."""
    x, length = filled(data, dtype, shape), data.draw(st.integers(1, 3))
    lists = [
        data.draw(st.integers(-s, s - 1) | st.lists(st.integers(-s, s - 1), min_size=length, max_size=length))
        for s in shape
    ]
    if all(isinstance(v, int) for v in lists):
        return
    for got in results(lambda x, *at: x[tuple(at)], x, *[np.array(v) for v in lists]):
        assert got.dtype == dtype
        want = [x[tuple(v if isinstance(v, int) else v[n] for v in lists)] for n in range(length)]
        assert got.tolist() == np.array(want).tolist()


@few
@given(st.sampled_from(ALL), st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), st.data())
def test_indexing_with_masks(dtype, shape, data):
    """The mask is known; values are traced or not."""
    x, mask = filled(data, dtype, shape), filled(data, "bool", shape[: data.draw(st.integers(0, len(shape)))])
    want = [x[i].tolist() for i in np.ndindex(*mask.shape) if mask[i]]
    for got in results(lambda x: x[mask], x):
        assert got.dtype == dtype and got.tolist() == want and got.shape[1:] == x.shape[mask.ndim :]


@few
@given(st.sampled_from(ALL), st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.data())
def test_take(dtype, shape, data):
    x, axis = filled(data, dtype, shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    at = np.array(data.draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=4)))
    a = axis % len(shape)
    for got in results(lambda x, i: fnp.take(x, i, axis=axis), x, at):
        assert got.dtype == dtype and got.shape == (*shape[:a], len(at), *shape[a + 1 :])
        assert all(got[i] == x[(*i[:a], at[i[a]], *i[a + 1 :])] for i in np.ndindex(*got.shape))
    many = np.array([[data.draw(st.integers(-shape[axis], shape[axis] - 1))] for _ in range(2)])
    along = np.broadcast_to(many[0, 0], [2 if n == a else s for n, s in enumerate(shape)]).copy()
    for got in results(lambda x, i: fnp.take_along_axis(x, i, axis=axis), x, along):
        assert got.dtype == dtype and got.shape == along.shape
        assert all(got[i] == x[(*i[:a], along[i], *i[a + 1 :])] for i in np.ndindex(*got.shape))
