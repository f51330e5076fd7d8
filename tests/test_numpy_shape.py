"""Layout, joining, creation and element-choosing functions on traced arrays, against NumPy itself."""

import numpy as np
import pytest
from against_numpy import DTYPES, gradients, same, sample
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans
import functrans.numpy as fnp
from functrans import errors

fnp._load_all()                 # numpy.f(traced) is looked up by them, too
X = sample((3, 4))
CUBE = sample((2, 3, 4))

# every function is checked for values, dtypes, gradients and vmap on a (3, 4) or (2, 3, 4) array
LINEAR = {
    "reshape": lambda x: np.reshape(x, (2, -1)),
    "reshape F": lambda x: np.reshape(x, (2, 6), order="F"),
    "reshape method": lambda x: x.reshape(4, 3) + x.reshape((4, -1)),
    "reshape method F": lambda x: x.reshape(2, -1, order="F"),
    "ravel": lambda x: np.ravel(x),
    "ravel F": lambda x: x.ravel("F"),
    "flatten": lambda x: x.flatten() + x.flatten(order="F"),
    "transpose": lambda x: np.transpose(x),
    "transpose axes": lambda x: np.transpose(x, (1, 0)) + x.transpose(-1, 0) + x.transpose((1, 0)),
    "transpose method": lambda x: x.transpose() + x.transpose(None),
    "T": lambda x: x.T + x.mT,
    "permute_dims": lambda x: np.permute_dims(x, (1, 0)),
    "matrix_transpose": lambda x: np.matrix_transpose(x),
    "swapaxes": lambda x: np.swapaxes(x, 0, -1) + x.swapaxes(1, 0),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "moveaxis many": lambda x: np.moveaxis(x[None], (0, 1), (-1, 0)),
    "rollaxis": lambda x: np.rollaxis(x, 1),
    "rollaxis end": lambda x: np.rollaxis(x, 0, 2),
    "squeeze": lambda x: np.squeeze(x[:, None]) + x[None].squeeze(0),
    "expand_dims": lambda x: np.expand_dims(x, (0, -1)),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "broadcast_arrays": lambda x: np.broadcast_arrays(x, x[:1])[1],
    "concatenate": lambda x: np.concatenate([x, x[:, :2]], axis=1),
    "concatenate None": lambda x: np.concatenate((x, x[0]), axis=None),
    "concatenate tracer": lambda x: np.concatenate(x),
    "concat": lambda x: np.concat([x, x, np.ones_like(x)], -2),
    "stack": lambda x: np.stack([x, 2 * x], axis=-1),
    "stack tracer": lambda x: np.stack(x, 1),
    "hstack": lambda x: np.hstack([x, x]),
    "hstack 1d": lambda x: np.hstack([x[0], x[1, :2]]),
    "vstack": lambda x: np.vstack([x, x[0]]),
    "dstack": lambda x: np.dstack([x, x]),
    "column_stack": lambda x: np.column_stack([x, x[:, 0]]),
    "append": lambda x: np.append(x, x[0]),
    "append axis": lambda x: np.append(x, x[:1], axis=0),
    "block": lambda x: np.block([[x, np.zeros((3, 3))], [x[:1], x[0, :3]]]),
    "block flat": lambda x: np.block([x[0], x[0, 0], x[1]]),
    "split": lambda x: np.split(x, 2, axis=1)[1],
    "split at": lambda x: np.concatenate(np.split(x, [1, 3], axis=1)[::-1], 1),
    "array_split": lambda x: np.array_split(x, 3, axis=1)[0],
    "hsplit": lambda x: np.hsplit(x, 2)[0] + np.hsplit(x, [2])[1],
    "vsplit": lambda x: np.vsplit(x, 3)[1],
    "dsplit": lambda x: np.dsplit(x[None], 2)[1],
    "tile": lambda x: np.tile(x, (2, 1, 3)),
    "tile one": lambda x: np.tile(x, 2),
    "repeat": lambda x: np.repeat(x, 2),
    "repeat axis": lambda x: x.repeat(3, axis=0),
    "repeat each": lambda x: np.repeat(x, [1, 0, 2, 3], axis=1),
    "flip": lambda x: np.flip(x) + np.flip(x, 1) + np.flip(x, (0, -1)),
    "fliplr": lambda x: np.fliplr(x) + np.flipud(x),
    "roll": lambda x: np.roll(x, 2),
    "roll axis": lambda x: np.roll(x, -1, axis=1),
    "roll axes": lambda x: np.roll(x, (1, -2), axis=(0, 1)) + np.roll(x, 1, axis=(0, 1)),
    "rot90": lambda x: np.rot90(x) + 2 * np.rot90(x, -1),
    "rot90 2": lambda x: np.rot90(x, 2) + np.rot90(x, 4),
    "rot90 axes": lambda x: np.rot90(x, 3, axes=(1, 0)),
    "pad": lambda x: np.pad(x, 1),
    "pad value": lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=((1, 2), (3, 4))),
    "pad edge": lambda x: np.pad(x, ((2, 1), (0, 3)), mode="edge"),
    "pad reflect": lambda x: np.pad(x, (2, 7), mode="reflect"),
    "pad symmetric": lambda x: np.pad(x, (3, 5), mode="symmetric"),
    "pad wrap": lambda x: np.pad(x, (4, 2), mode="wrap"),
    "pad odd": lambda x: np.pad(x, 2, mode="reflect", reflect_type="odd"),
    "pad symmetric odd": lambda x: np.pad(x, (3, 1), mode="symmetric", reflect_type="odd"),
    "pad long": lambda x: np.pad(x, (30, 40), mode="reflect"),
    "tril": lambda x: np.tril(x) + np.tril(x, 1) + np.tril(x, -2),
    "triu": lambda x: np.triu(x) + np.triu(x, 2) + np.triu(x, -1),
    "triu 1d": lambda x: np.triu(x[0]),
    "diag": lambda x: np.diag(x) + np.diag(x, 1),
    "diag build": lambda x: np.diag(x[0], 1) + np.diag(x[1], -1),
    "diagonal": lambda x: np.diagonal(x, -1),
    "diagonal method": lambda x: x.diagonal(axis1=1, axis2=0),
    "diagflat": lambda x: np.diagflat(x[:2], -1),
    "trace": lambda x: np.trace(x, 1) + x.trace(),
    "meshgrid": lambda x: np.meshgrid(x[0], x[:, 0])[0] + np.meshgrid(x[0], x[:, 0])[1],
    "meshgrid ij": lambda x: np.meshgrid(x[0], x[:, 0], indexing="ij")[1],
    "kron": lambda x: np.kron(x, np.arange(6.0).reshape(2, 3)),
    "kron 1d": lambda x: np.kron(np.arange(3.0), x),
    "copy": lambda x: np.copy(x) + x.copy(),
    "real": lambda x: np.real(x) + x.real + x.conj() + x.conjugate() + np.imag(x) + x.imag,
    "atleast": lambda x: np.atleast_3d(x) + np.atleast_3d(x[0]) + np.atleast_2d(x[:, 0])[0, 0],
    "where": lambda x: np.where(np.eye(3, 4) > 0, x, 2.0),
    "select": lambda x: np.select([np.eye(3, 4) > 0, np.ones(4, bool)], [x, 2 * x], 1.0),
    "ascontiguous": lambda x: fnp.ascontiguousarray(x) + fnp.asanyarray(x) + fnp.copy(x),
    "full_like": lambda x: np.full_like(x, x[0, 0]),
    "nan_to_num": lambda x: np.nan_to_num(x),
    "where scalar": lambda x: np.where([True, False, True, False], x, x[0, 0]),
}
NONLINEAR = {
    "vander": lambda x: np.vander(x[0]),
    "vander increasing": lambda x: np.vander(x[0], 3, increasing=True),
    "kron twice": lambda x: np.kron(x, x[0]),
    "clip": lambda x: np.clip(x, -0.5, 0.5),
    "clip method": lambda x: x.clip(-0.5, 0.5) + x.clip(max=0) + x.clip(min=x[0]),
    "clip bounds": lambda x: np.clip(x, x[0], None) + np.clip(x, min=x[0, 0]),
    "linspace": lambda x: np.linspace(x, 1.0, 3),
    "linspace axis": lambda x: np.linspace(x[0], x[1], 4, endpoint=False, axis=-1),
    "linspace step": lambda x: np.linspace(x[0, 0], 3, 4, retstep=True)[1],
    "logspace": lambda x: np.logspace(x[0], x[1], 3, base=2.0),
    "geomspace": lambda x: np.geomspace(np.exp(x[0]), 3.0, 4),
    "where traced": lambda x: np.where(x > 0, x, x * x),
    "select traced": lambda x: np.select([x > 1, x > 0], [x, x ** 2], x ** 3),
}
ALL = {**LINEAR, **NONLINEAR}


@pytest.mark.parametrize("name", ALL)
def test_values(name):
    same(ALL[name], X)


@pytest.mark.parametrize("name", ALL)
def test_gradients(name):
    gradients(ALL[name], X)


@pytest.mark.parametrize("name", [n for n in ALL if n != "broadcast_to"])
def test_vmap(name):
    xs = sample((5, 3, 4), seed=1)
    want = np.stack([ALL[name](x) for x in xs])
    np.testing.assert_allclose(functrans.vmap(ALL[name])(xs), want, rtol=1e-12, atol=1e-12)


NOT_FOR_BOOL = {"pad odd", "pad symmetric odd"}


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "float64"])
@pytest.mark.parametrize("name", LINEAR)
def test_dtypes(name, dtype):
    if dtype == "bool" and name in NOT_FOR_BOOL:
        return
    same(LINEAR[name], sample((3, 4), dtype))


EMPTY = ["ravel", "ravel F", "transpose", "T", "moveaxis", "expand_dims", "concat",
         "stack", "hstack", "flip", "roll", "roll axis", "rot90", "tile", "repeat", "tril", "triu", "copy",
         "pad", "nan_to_num", "flatten", "diag", "kron"]


@pytest.mark.parametrize("name", EMPTY)
def test_empty(name):
    same(LINEAR[name], np.zeros((0, 0)))
    if name != "diag":
        same(LINEAR[name], np.zeros((3, 0)))


SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.data())
def test_axes_of_any_shape(shape, data):
    x = sample(shape)
    n = len(shape)
    perm = data.draw(st.permutations(range(n)))
    same(lambda x: np.transpose(x, perm), x)
    sources = data.draw(st.lists(st.integers(-n, n - 1), unique_by=lambda i: i % n, max_size=n)
                        if n else st.just([]))
    goals = data.draw(st.permutations(range(n)))[:len(sources)]
    same(lambda x: np.moveaxis(x, sources, goals), x)
    axis = data.draw(st.integers(-n - 1, n))
    same(lambda x: np.expand_dims(x, axis), x)
    if n:
        k = data.draw(st.integers(-n, n - 1))
        shift = data.draw(st.integers(-5, 5))
        parts = data.draw(st.integers(1, 4) | st.lists(st.integers(-5, 6), max_size=3))
        same(lambda x: np.flip(x, k), x)
        same(lambda x: np.roll(x, shift, k), x)
        same(lambda x: np.array_split(x, parts, k), x)
        start = data.draw(st.integers(-n, n))
        same(lambda x: np.rollaxis(x, k, start), x)
        same(lambda x: np.stack([x, x], k), x)
        same(lambda x: np.concatenate([x, x], k), x)
        counts = np.arange(shape[k]) % 3
        same(lambda x: np.repeat(x, counts, k), x)
    reps = data.draw(st.lists(st.integers(0, 3), max_size=4).map(tuple))
    same(lambda x: np.tile(x, reps), x)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.data())
def test_padding(shape, data):
    x = sample(shape)
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]))
    widths = [data.draw(st.tuples(st.integers(0, 6), st.integers(0, 6))) for _ in shape]
    if not shape or (mode != "constant" and 0 in shape):
        return
    same(lambda x: np.pad(x, widths, mode), x)
    w = data.draw(st.integers(0, 2))
    if mode in ("reflect", "symmetric"):
        small = [(min(w, n - 1), min(1, n - 1)) for n in shape]
        same(lambda x: np.pad(x, small, mode, reflect_type="odd"), x)


def test_unstack_and_many_results():
    if hasattr(np, "unstack"):
        same(lambda x: np.unstack(x), X)
        same(lambda x: np.unstack(x, axis=1), X)
    same(lambda x: np.atleast_1d(x[0, 0], x[0]), X)
    same(lambda x: np.broadcast_arrays(x, 1.0, np.ones((2, 1, 1))), X)
    same(lambda x: np.split(x, [1]), X)
    same(lambda x: np.meshgrid(x[0], [1, 2], x[:, 0], sparse=True), X)
    same(lambda x: np.meshgrid(x[0], x[0, 0], indexing="ij"), X)
    same(lambda x: np.linspace(x, 2, 5, retstep=True), X)


def test_joined_dtypes():
    f32, i8 = X.astype("float32"), sample((3, 4), "int8")
    same(lambda a, b: np.concatenate([a, b]), f32, i8)
    same(lambda a, b: np.stack([a, b]), f32, X)
    same(lambda a: np.concatenate([a, [[1.0, 2.0, 3.0, 4.0]]]), f32)
    same(lambda a: np.stack([a[0, 0], 2.0]), f32)
    same(lambda a: np.concatenate([a, a], dtype="float64"), f32)
    same(lambda a: np.concatenate([a, a], dtype="int32", casting="unsafe"), f32)
    same(lambda a: np.hstack([a, a], dtype="float64"), f32)
    same(lambda a: np.vstack([a, a], dtype="float64"), f32)
    with pytest.raises(errors.DtypeError):
        functrans.jit(lambda a: np.concatenate([a, a], dtype="int32"))(f32)


def test_weak_numbers():
    x = np.float32(3.0)
    for f in (lambda a, x: np.where(x > 1, a, x), lambda a, x: np.clip(x, a, None),
              lambda a, x: np.clip(x, a, 5), lambda a, x: np.select([x > 1], [x], a)):
        same(f, 2.0, x)
        same(f, 2, x)
        same(lambda x, f=f: f(0.3, x), x)
    same(lambda a, x: np.stack([a, x]), 2.0, x)
    same(lambda a, x: np.reshape(a, (1,)) * x, 2.0, x)
    with pytest.raises(OverflowError, match="1000"):
        functrans.jit(lambda x: np.where(x > 1, x, 1000))(np.int8(3))
    same(lambda x: np.where(x > 1, x, 0.5), np.int8(3))
    same(lambda x: np.clip(x, -1000, 1000), np.int8(3))
    same(lambda x: np.clip(x, 0, 1.5), np.int8(3))
    same(lambda x: np.clip(x, None, None), X)


def test_values_of_choices():
    x = np.array([np.nan, np.inf, -np.inf, 1.0, -0.0])
    for dtype in ("float64", "float32"):
        y = x.astype(dtype)
        same(lambda x: np.nan_to_num(x), y)
        same(lambda x: np.nan_to_num(x, nan=-1, posinf=3, neginf=-4.5), y)
        same(lambda x: np.clip(x, -1, 1), y)
        same(lambda x: np.clip(x, 0, np.nan), y)
        same(lambda x: np.isclose(x, 1.0), y)
        same(lambda x: np.isclose(x, x, equal_nan=True), y)
        same(lambda x: np.isclose(x, x + 1e-6), y)
        same(lambda x: np.allclose(x[3:], x[3:] + 1e-9), y)
        same(lambda x: np.array_equal(x, x), y)
        same(lambda x: np.array_equal(x, x, equal_nan=True), y)
        same(lambda x: np.fix(x * 1.5), y)
        same(lambda x: np.round(x * 1.5), y)
    same(lambda x: np.array_equal(x, x[1:]), x)
    same(lambda x: np.array_equiv(x, x[3]), x)
    same(lambda x: np.array_equiv(x[:2], x[:3]), x)
    same(lambda x: np.isclose(x, [1, 2, 3]), np.arange(3))
    same(lambda x: np.where(x, x, 5), np.arange(3))
    same(lambda x: np.iscomplexobj(x) + 2 * np.isrealobj(x), x)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_round(dtype):
    x = (sample((20,)) * 100).astype(dtype) if dtype[0] != "u" else np.arange(5, 250, 10).astype(dtype)
    for decimals in (0, 1, 3, -1, -2):
        same(lambda x, d=decimals: np.round(x, d), x)
    same(lambda x: x.round() + np.around(x), x)
    same(lambda x: round(x[0], 1), x)
    same(np.round, x > 0)


def test_kinks_of_clip():
    g = functrans.grad(lambda x: np.sum(np.clip(x, -1.0, 1.0)))(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(g, [0.0, 0.5, 1.0, 0.5, 0.0])
    assert functrans.grad(lambda x: np.round(x, 1))(0.77) == 0.0
    x = np.array([0.0, 4.0])
    g = functrans.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(x)
    np.testing.assert_array_equal(g, [0.0, 0.25])
    g = functrans.grad(lambda x: np.sum(np.nan_to_num(x)))(np.array([np.nan, np.inf, 2.0]))
    np.testing.assert_array_equal(g, [0.0, 0.0, 1.0])


# ----- values that decide shapes -------------------------------------------------------------


def test_nonzero():
    x = np.array([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]])
    for f in (np.nonzero, np.flatnonzero, np.argwhere, np.where):
        def squares(x, f=f):
            found = f(x)
            at = found if isinstance(found, tuple) else (found,)
            assert all(isinstance(i, np.ndarray) for i in at)
            return np.sum(x ** 2) + sum(float(np.sum(i)) for i in at)
        value, g = functrans.value_and_grad(squares)(x)
        np.testing.assert_array_equal(g, 2 * x)
        assert value == squares(x)
        with pytest.raises(errors.ConcretizationError, match="three arguments"):
            functrans.jit(f)(x)
    assert functrans.grad(lambda x: np.sum(x[x.nonzero()] ** 2))(x).tolist() == (2 * x).tolist()
    jit = functrans.jit
    rows, columns = jit(lambda x: fnp.nonzero(x, size=4, fill_value=-1))(x)
    np.testing.assert_array_equal([rows, columns], [[0, 1, 1, -1], [1, 0, 2, -1]])
    np.testing.assert_array_equal(jit(lambda x: fnp.flatnonzero(x, size=2))(x), [1, 3])
    np.testing.assert_array_equal(jit(lambda x: fnp.argwhere(x, size=3))(x), [[0, 1], [1, 0], [1, 2]])
    np.testing.assert_array_equal(fnp.nonzero(x, size=4, fill_value=7)[0], [0, 1, 1, 7])
    np.testing.assert_array_equal(fnp.nonzero(x)[1], [1, 0, 2])
    np.testing.assert_array_equal(functrans.vmap(lambda y: fnp.flatnonzero(y, size=2))(x), [[1, 0], [0, 2]])


def test_traced_counts():
    with pytest.raises(errors.ConcretizationError):
        functrans.jit(lambda x, n: np.repeat(x, n))(X, np.arange(12))
    with pytest.raises(errors.ConcretizationError):
        functrans.jit(lambda x, n: np.reshape(x, (n, -1)))(X, 3)
    with pytest.raises(errors.ConcretizationError):
        functrans.jit(lambda n: fnp.arange(n))(3)
    same(lambda x, k: fnp.roll(x, k, 1), X, 6)
    same(lambda x, k: fnp.roll(x, k), X, -5)
    with pytest.raises(errors.DtypeError):
        functrans.jit(lambda x, k: np.roll(x, k, 0))(X, 1.0)


# ----- creation ------------------------------------------------------------------------------


def test_like():
    for f in (np.zeros_like, np.ones_like):
        same(lambda x, f=f: f(x), X)
        same(lambda x, f=f: f(x, dtype="int8"), X)
        same(lambda x, f=f: f(x, shape=(2, 2)), X)
        assert isinstance(functrans.jit(lambda x, f=f: (f(x), 0)[1] + 0 * np.sum(x))(X), float)
    same(lambda x: np.empty_like(x).shape[0] + 0 * x[0, 0], X)
    same(lambda x: np.full_like(x, 3), X)
    same(lambda x: np.full_like(x, 2.7), sample((3,), "int32"))
    same(lambda x, v: np.full_like(x, v), sample((3,), "float32"), 2.5)
    same(lambda x, v: np.full_like(x, v, dtype="float64", shape=(2, 3)), X, X[0, :3])

    def filled(x):
        out = np.zeros_like(x)
        out[0] = 1.0                    # the result is an ordinary array
        return np.sum(out * x)
    np.testing.assert_array_equal(functrans.grad(filled)(X)[:, 0], [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(functrans.jit(lambda v: fnp.full((2, 3), v))(1.5), np.full((2, 3), 1.5))
    assert functrans.jit(lambda v: fnp.full(2, v, "float32"))(1.5).dtype == np.float32


def test_array():
    def build(x, y):
        return fnp.array([[x, 2.0, y], [np.float32(1), y * x, 3]])
    np.testing.assert_array_equal(functrans.jit(build)(1.5, 2.0), [[1.5, 2, 2], [1, 3, 3]])
    assert functrans.jit(build)(np.float32(1), 2).dtype == np.float64
    assert functrans.jit(lambda x: fnp.array([x, 2]))(np.int8(1)).dtype == np.int64
    assert functrans.jit(lambda x: fnp.asarray([x, x], dtype="float32"))(1.0).dtype == np.float32
    assert functrans.jit(lambda x: fnp.array(x, ndmin=3))(X).shape == (1, 3, 4)
    assert type(fnp.array([1, 2])) is np.ndarray
    gradients(build, np.float64(0.7), np.float64(-1.2))
    with pytest.raises(errors.ShapeError):
        functrans.jit(lambda x: fnp.array([x, [1.0, 2.0]]))(1.0)


def test_types_and_sizes():
    def facts(x):
        assert np.shape(x) == (3, 4) and np.ndim(x) == 2 and np.size(x) == 12 and np.size(x, 1) == 4
        assert fnp.shape([x, x]) == (2, 3, 4) and fnp.ndim([x[0], x[0]]) == 2
        assert [len(i) for i in np.tril_indices_from(x)] == [6, 6]
        assert [len(i) for i in np.triu_indices_from(x, 1)] == [6, 6]
        assert [len(i) for i in np.diag_indices_from(x[:, :3])] == [3, 3]
        return x
    functrans.jit(facts)(X)
    same(lambda x: x.astype("float32"), X)
    same(lambda x: x.astype(int) + np.astype(x, np.int8), X)
    same(lambda x: x.astype(bool), sample((3,), "int8"))
    same(lambda x: x.astype(np.float64), np.int64(3))
    with pytest.raises(errors.DtypeError):
        functrans.jit(lambda x: x.astype("int32", casting="safe"))(X)
    same(lambda x: x.astype("complex128"), X)


def test_ranges():
    for f in (lambda x: np.linspace(x, 1, 4, dtype="int32"), lambda x: np.linspace(0, x, 1),
              lambda x: np.linspace(0, x, 0), lambda x: np.linspace(x, 5, 3, endpoint=False),
              lambda x: np.logspace(0, x, 4), lambda x: np.logspace(x, 2, 3, base=x + 2),
              lambda x: np.geomspace(x + 5, 30, 4), lambda x: np.geomspace(x + 5, 30, 4, endpoint=False),
              lambda x: np.geomspace(-x - 5, -30, 4, dtype="float32"), lambda x: np.geomspace(x + 5, 3, 1)):
        for value in (np.float64(0.7), np.float32(0.7), 2.0):
            same(f, value)
    same(lambda x: np.logspace(0, 1, 3, base=x + 1), np.abs(X[0]))
    same(lambda x: np.geomspace(np.abs(x) + 1, 5, 3, axis=1), X)
    same(lambda x: np.linspace(x, 3, 4), sample((2,), "int8"))


# ----- errors --------------------------------------------------------------------------------

BAD_SHAPES = {
    "reshape": lambda x: np.reshape(x, (5, -1)),
    "reshape two": lambda x: np.reshape(x, (-1, -1)),
    "reshape size": lambda x: x.reshape(3, 3),
    "transpose": lambda x: np.transpose(x, (0, 0)),
    "transpose few": lambda x: np.transpose(x, (0,)),
    "squeeze": lambda x: np.squeeze(x, 0),
    "broadcast": lambda x: np.broadcast_to(x, (3, 5)),
    "concatenate": lambda x: np.concatenate([x, x[:, :2]]),
    "concatenate ndim": lambda x: np.concatenate([x, x[0]]),
    "concatenate scalars": lambda x: np.concatenate([x[0, 0], 1.0]),
    "stack": lambda x: np.stack([x, x[0]]),
    "split": lambda x: np.split(x, 2),
    "vsplit": lambda x: np.vsplit(x[0], 2),
    "repeat": lambda x: np.repeat(x, [1, 2], 0),
    "repeat negative": lambda x: np.repeat(x, -1),
    "rot90": lambda x: np.rot90(x, axes=(0, 0)),
    "pad": lambda x: np.pad(x, -1),
    "pad empty": lambda x: np.pad(x[:0], 1, "edge"),
    "diag": lambda x: np.diag(x[None]),
    "diagonal": lambda x: np.diagonal(x, axis1=0, axis2=0),
    "matrix_transpose": lambda x: x[0].mT,
    "moveaxis": lambda x: np.moveaxis(x, (0, 1), 0),
    "block": lambda x: np.block([[x], x]),
    "select": lambda x: np.select([x > 0], [x, x]),
    "meshgrid": lambda x: np.meshgrid(x, indexing="no"),
    "where": lambda x: np.where(x > 0, x),
}


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_shape_errors(name):
    with pytest.raises((ValueError, TypeError)):
        BAD_SHAPES[name](X)
    with pytest.raises(ValueError):
        functrans.jit(BAD_SHAPES[name])(X)


@pytest.mark.parametrize("f", [
    lambda x: np.flip(x, 2), lambda x: np.concatenate([x, x], 2), lambda x: np.stack([x, x], -4),
    lambda x: np.moveaxis(x, 0, 3), lambda x: np.expand_dims(x, 4), lambda x: x.swapaxes(0, 2),
    lambda x: np.rollaxis(x, 0, 4)])
def test_axis_errors(f):
    with pytest.raises(errors.AxisError):
        functrans.jit(f)(X)


@pytest.mark.parametrize("f", [
    lambda x: np.copyto(np.zeros((3, 4)), x), lambda x: np.put(x, 0, 1.0), lambda x: x.fill(0.0),
    lambda x: np.place(x, x > 0, 1.0), lambda x: np.putmask(np.zeros((3, 4)), X > 0, x),
    lambda x: np.fill_diagonal(x, 0.0), lambda x: x.put(0, 1.0), lambda x: np.full((2,), x[0, 0]),
    lambda x: np.concatenate([x, x], out=np.zeros((6, 4))), lambda x: x.resize((4, 3)),
    lambda x: np.clip(x, 0, 1, out=np.zeros((3, 4)))])
def test_writes_are_refused(f):
    with pytest.raises((errors.InPlaceError, errors.DerivativeLostError)):
        functrans.jit(f)(X)


def test_not_supported():
    for f in (lambda x: x.tobytes(), lambda x: np.pad(x, 1, "empty"),
              lambda x: np.pad(x, 9, "reflect", reflect_type="odd")):
        with pytest.raises(errors.NotSupportedError):
            functrans.jit(f)(X)
    same(lambda x: x.view() + x.view(np.float64), X)
    for f in (lambda x: np.clip(x, 1), lambda x: np.block([(x, x)])):
        with pytest.raises(TypeError):
            functrans.jit(f)(X)
    with pytest.raises(ValueError):
        functrans.jit(lambda x: np.clip(x, 1, 2, min=0))(X)
    with pytest.raises(ValueError):
        functrans.jit(lambda x: np.pad(x, 1, "edge", constant_values=1))(X)
    with pytest.raises(errors.DtypeError):
        functrans.jit(lambda x: np.select([x], [x]))(X)


def test_pad_with_traced_values():
    gradients(lambda x, v: fnp.pad(x, 1, constant_values=v), X, np.float64(0.3))
    gradients(lambda x, v: fnp.pad(x, 1, constant_values=v), X, np.array([0.3, 0.4]))
    same(lambda x: np.pad(x, {1: (1, 2)}, constant_values=2.7), sample((3, 4), "int8"))
