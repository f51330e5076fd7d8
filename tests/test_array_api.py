"""functrans.numpy and traced arrays as the array API standard 2024.12 has them; the suite: array_api.py."""

import importlib.util
import inspect
import textwrap

import array_api_traced
import numpy as np
import pytest
from array_api import CONSTANTS, VERSION, standard, suite

import functrans.numpy as fnp
from functrans import errors, grad, jit, vmap

X = np.array([3.0, -1.0, 2.0, 2.0])
M = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])


def namespaces(x):
    """The standard's way to get at functions."""
    xp = x.__array_namespace__(api_version=VERSION)
    assert xp is fnp
    return xp


@pytest.mark.parametrize(("module", "name", "positional", "keywords"), list(standard()))
def test_parameters(module, name, positional, keywords):
    f = getattr(getattr(fnp, module) if module else fnp, name)
    try:
        found = inspect.signature(f).parameters
    except ValueError:
        assert isinstance(f, np.ufunc | type) or not positional + keywords or name in ("empty", "zeros")
        return
    free = any(p.kind == p.VAR_KEYWORD for p in found.values())
    assert free or set(keywords) <= set(found), f"{found} lacks some of {keywords}"
    by_position = [p for p in found.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert len(by_position) >= len(positional) or any(p.kind == p.VAR_POSITIONAL for p in found.values())


def test_constants_and_information():
    assert fnp.__array_api_version__ == VERSION
    assert all(hasattr(fnp, name) for name in CONSTANTS)
    info = fnp.__array_namespace_info__()
    assert info.default_device() == "cpu" and info.devices() == ["cpu"]
    assert info.default_dtypes()["real floating"] == np.float64
    assert info.dtypes(kind="integral").keys() == {"int8", "int16", "int32", "int64", "uint8", "uint16",
                                                   "uint32", "uint64"}
    assert info.capabilities()["boolean indexing"] is True
    assert fnp.isdtype(fnp.float32, "real floating")
    assert not fnp.isdtype(fnp.bool, ("integral", "complex floating"))


# Calls that only the standard's spelling has, on vectors x and matrices m
CALLS = {
    "sort": lambda xp, x, m: xp.sort(x, axis=-1, descending=True, stable=True),
    "argsort": lambda xp, x, m: xp.argsort(x, axis=0, descending=True, stable=False),
    "stable": lambda xp, x, m: xp.argsort(x),
    "var": lambda xp, x, m: xp.var(m, axis=(0, 1), correction=1.0, keepdims=True),
    "std": lambda xp, x, m: xp.std(m, correction=1),
    "sum": lambda xp, x, m: xp.sum(xp.astype(x, xp.float32), dtype=xp.float64),
    "cumulative": lambda xp, x, m: xp.cumulative_sum(x, include_initial=True),
    "product": lambda xp, x, m: xp.cumulative_prod(m, axis=1, dtype=xp.float64, include_initial=True),
    "concat": lambda xp, x, m: xp.concat((m, m), axis=None),
    "unstack": lambda xp, x, m: xp.unstack(m, axis=1)[0],
    "permute": lambda xp, x, m: xp.permute_dims(m, (1, 0)),
    "reshape": lambda xp, x, m: xp.reshape(m, (-1,), copy=True),
    "asarray": lambda xp, x, m: xp.asarray(x, dtype=xp.complex64, device=x.device, copy=True),
    "take_along": lambda xp, x, m: xp.take_along_axis(m, xp.argsort(m, axis=1), axis=1),
    "tail": lambda xp, x, m: xp.diff(x, n=2, prepend=xp.zeros(1), append=x[:1]),
    "search": lambda xp, x, m: xp.searchsorted(xp.sort(x), x, side="right", sorter=xp.arange(4)),
    "meshgrid": lambda xp, x, m: xp.meshgrid(x, x[:2], indexing="ij")[0],
    "clip": lambda xp, x, m: xp.clip(x, min=0.0) + xp.clip(x, max=xp.asarray(2.5)) + xp.clip(x),
    "linspace": lambda xp, x, m: xp.linspace(x[0], x[1], 5, endpoint=False, dtype=xp.float32,
                                             device="cpu"),
    "full": lambda xp, x, m: xp.full_like(m, 3, dtype=xp.int32, device="cpu") + xp.zeros_like(m),
    "isin": lambda xp, x, m: xp.isin(x, x[:1], invert=True),
    "round": lambda xp, x, m: xp.round(x * 1.5) + xp.trunc(x) + xp.signbit(x),
    "shift": lambda xp, x, m: xp.bitwise_left_shift(xp.astype(x, xp.int64) + 4, 2),
    "pow": lambda xp, x, m: xp.pow(x, 2) * xp.atan2(x, 3.0) * xp.copysign(x, -1.0),
    "count": lambda xp, x, m: xp.count_nonzero(m > 1, axis=0, keepdims=True),
    "vecdot": lambda xp, x, m: xp.vecdot(m, m, axis=0) + xp.linalg.vecdot(m, m, axis=1),
    "norms": lambda xp, x, m: (xp.linalg.matrix_norm(m, ord="nuc")
                               + xp.linalg.vector_norm(m, axis=(0, 1), ord=3)),
    "cholesky": lambda xp, x, m: xp.linalg.cholesky(m, upper=True),
    "trace": lambda xp, x, m: xp.linalg.trace(m, offset=1) + xp.linalg.diagonal(m, offset=-1),
    "rank": lambda xp, x, m: xp.linalg.matrix_rank(m, rtol=1e-10) + xp.linalg.pinv(m, rtol=1e-10),
    "svd": lambda xp, x, m: xp.linalg.svd(m, full_matrices=False).S,
    "solve": lambda xp, x, m: xp.linalg.solve(m, x[:3]) @ xp.linalg.inv(m).mT + xp.linalg.eigh(m)[0],
    "slogdet": lambda xp, x, m: xp.linalg.slogdet(m).logabsdet * xp.linalg.det(m),
    "transpose": lambda xp, x, m: m.T @ m.mT @ xp.matrix_transpose(m) + xp.tril(m, k=-1),
    "expand": lambda xp, x, m: xp.squeeze(xp.expand_dims(m, axis=(0,)), axis=0) + xp.flip(m, axis=None),
    "moved": lambda xp, x, m: m.to_device("cpu").to_device(m.device) + xp.roll(m, (1, 2), axis=(0, 1)),
    "operators": lambda xp, x, m: (x // 2 % 3 + divmod(x, 2)[0]) * +x / abs(-x) + (x == 2) * 2 ** x,
}


@pytest.mark.parametrize("name", CALLS)
def test_traced_as_untraced(name):
    def f(x, m):
        return CALLS[name](namespaces(x) if hasattr(x, "aval") else fnp, x, m)
    want, got = f(X, M), jit(f)(X, M)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    rows = vmap(f)(np.stack([X, X * 2]), np.stack([M, M + 1]))
    np.testing.assert_allclose(rows[1], f(X * 2, M + 1), rtol=1e-11)


def test_results_outside_of_traces_conform():
    assert isinstance(grad(lambda x: (x ** 2).sum())(X), np.ndarray)
    assert jit(lambda x: x.sum())(X).__array_namespace__() is np


def test_unique_keeps_its_order_of_fields():
    found = fnp.unique_all(X)
    assert found._fields == ("values", "indices", "inverse_indices", "counts")
    values, counts = jit(lambda x: tuple(fnp.unique_counts(x, size=3)))(X)
    np.testing.assert_array_equal(values, [-1, 2, 3])
    np.testing.assert_array_equal(counts, [1, 2, 1])


def test_what_traced_arrays_refuse():
    with pytest.raises(ValueError, match="2099"):
        jit(lambda x: x.__array_namespace__(api_version="2099.12").sin(x))(X)
    for f in (np.from_dlpack, fnp.from_dlpack, lambda x: x.__dlpack__(), lambda x: x.__dlpack_device__()):
        with pytest.raises(errors.NotSupportedError):
            jit(f)(X)
    with pytest.raises(ValueError, match="device"):
        jit(lambda x: fnp.asarray(x, device="gpu"))(X)


# A stand-in for the suite: the same options and environment, four tests
STAND_IN = {
    "conftest.py": """
        def pytest_addoption(parser):
            parser.addoption("--xfails-file")
            parser.addoption("--max-examples", type=int, default=20)
        def pytest_collection_modifyitems(config, items):
            import pytest
            with open(config.getoption("--xfails-file")) as f:
                ids = [line.strip() for line in f if line.strip() and line[0] != "#"]
            for item in items:
                if any(i in item.nodeid for i in ids):
                    item.add_marker(pytest.mark.xfail(reason="known"))
        """,
    "array_api_tests/__init__.py": """
        import importlib, os
        assert os.environ["ARRAY_API_TESTS_VERSION"] == "2024.12"
        xp = importlib.import_module(os.environ["ARRAY_API_TESTS_MODULE"])
        """,
    "array_api_tests/test_sorting_functions.py": """
        from array_api_tests import xp
        def test_sort(request):
            assert request.config.getoption("--max-examples") == 3
            x = xp.asarray([2.0, 3.0, 1.0])
            assert xp.sort(x, descending=True).tolist() == [3.0, 2.0, 1.0]
            assert xp.linalg.vector_norm(x).dtype == xp.float64 and xp.unique_counts(x).counts.shape == (3,)
            assert xp.result_type(x, xp.float32) == xp.float64 and xp.isdtype(x.dtype, "numeric")
            assert len(xp.broadcast_arrays(x, xp.zeros((2, 1)))) == 2 and xp.nonzero(x)[0].dtype == xp.int64
        """,
    "array_api_tests/test_data_type_functions.py": """
        import pytest
        from array_api_tests import xp
        @pytest.mark.parametrize("name", ["float32", "float64"])
        def test_finfo(name):
            assert type(xp.finfo(getattr(xp, name)).eps) is float or name == "float64"
        def test_wrong():
            assert xp.__name__ == "what it is not"
        """,
}


@pytest.mark.parametrize("traced", [False, True])
def test_the_suite_is_run(tmp_path, capfd, traced):
    for name, text in STAND_IN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    assert suite([*["--traced"] * traced, str(tmp_path), "--max-examples", "3"]) == 1
    lines = capfd.readouterr().out.splitlines()
    table = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    assert table["module"] == ["passed", "failed", "expected", "skipped"]
    assert table["sorting_functions"] == ["1", "0", "0", "0"]
    assert table["data_type_functions"] == ["1", "1", "1", "0"] and table["all"] == ["2", "1", "1", "0"]
    assert "data_type_functions: test_wrong" in lines


def test_the_suite_is_missing(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    assert suite([str(tmp_path)]) == 2
    assert "array-api-tests" in capsys.readouterr().out
    if importlib.util.find_spec("array_api_tests") is None:
        assert suite([]) == 2


def test_functions_of_the_suite_are_traced():
    """``--traced``: a function sees traced arrays, and results that are no arrays come through."""
    seen = []

    def f(x, y, *, flag):
        seen.append((hasattr(x, "aval"), hasattr(y[0], "aval"), flag))
        return x.dtype, x + y[0], {"n": 3}
    dtype, total, rest = array_api_traced.traced(f)(X, [X], flag=True)
    assert seen == [(True, True, True)] and dtype == np.float64 and rest == {"n": 3}
    np.testing.assert_array_equal(total, 2 * X)
