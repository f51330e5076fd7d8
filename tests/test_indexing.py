"""x[index], x.at[index], take and its kin against NumPy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans import errors
from functrans.kernels import lib

X = np.arange(60.0).reshape(3, 4, 5)
FAST = settings(max_examples=150, deadline=None, derandomize=True,
                suppress_health_check=list(HealthCheck))


def numeric(f, x, eps=1e-6):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = eps
        out[i] = (f(x + d) - f(x - d)) / (2 * eps)
    return out


def check_gradient(f, x):
    np.testing.assert_allclose(ft.grad(f)(x), numeric(f, x), rtol=1e-5, atol=1e-6)


# ----- reading ------------------------------------------------------------------------------------

INDICES = [
    0, -1, np.int32(2), (1, 2), (1, -2, 3), Ellipsis, (Ellipsis, 0), (0, Ellipsis), (0, Ellipsis, 1),
    None, (None, 0), (0, None, slice(1, 3)), (slice(None), None, Ellipsis, None), (),
    slice(1, None), slice(None, None, -1), slice(-1, None, -2), slice(5, 1), slice(10),
    (slice(None, None, 2), slice(3, 0, -2), slice(None, None, -1)),
    [0, 2], [-1, 0], [[0, 1], [2, 0]], np.array([1, 1, 1]), np.zeros((0,), int), [],
    (slice(None), [0, 3]), (slice(None), slice(1, 3), [0, 0, 4]), ([0, 1], [1, 2]),
    ([0, 1], slice(None), [1, 2]), (0, slice(None), [1, 2]), ([0, 1], 2), (1, [0, 1], 2),
    ([[0], [1]], [[1, 2]]), ([0, 1], None, [1, 2]), (slice(None), [0, 1], None), (None, [0, 1]),
    (Ellipsis, [0, 1]), (Ellipsis, [0, 1], slice(1, 4, 2)), ([0, 1], Ellipsis, [0, 1]),
    (slice(None, None, -1), [2, 0], slice(3)), ([0, 2], [1, 1], Ellipsis, [0, 4]),
    np.array(1), (np.array(1), [0, 1]), np.array([1, 2], np.uint8),
    X > 20, X[:, 0, 0] > 10, (slice(None), X[0, :, 0] > 3), (0, X[0] > 3),
    (X[:, 0, 0] > 10, [0, 1]), (X[:, :, 0] > 7, [1]), True, False, (True, 0), (True, [0, 1]),
    (0, True), (slice(None), True, [0, 1]), np.zeros(3, bool),
]


@pytest.mark.parametrize("index", INDICES, ids=[str(i)[:40].replace("\n", "") for i in INDICES])
def test_read_equals_numpy(index):
    want = X[index]
    got = ft.jit(lambda x: x[index])(X)
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    w = np.cos(np.arange(want.size)).reshape(want.shape)
    back = np.zeros_like(X)
    np.add.at(back, index, w)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(x[index] * w))(X), back)


@st.composite
def cases(draw, low=0):
    """An array of a random shape and an index that NumPy takes, of parts of every kind."""
    shape = draw(st.lists(st.integers(low, 4), min_size=0 if low == 0 else 1, max_size=4))
    common = draw(st.sampled_from([(), (2,), (3, 2), (0,), (1,)]))
    lo = draw(st.integers(0, len(shape)))
    hi = draw(st.integers(lo, len(shape)))
    dots = hi < len(shape) or draw(st.booleans())
    masks = low == 0 and draw(st.integers(0, 3)) == 0          # a mask has a length of its own
    parts, axis = [], 0
    while axis <= len(shape):
        if axis == lo and dots:
            parts.append(Ellipsis)
            axis, dots = max(axis, hi), False
        if axis >= len(shape):
            break
        n = shape[axis]
        axis += 1
        if draw(st.sampled_from([False, False, True])):
            parts.append(None)
        kind = draw(st.sampled_from(["int", "slice", "array", "slice", "array", "list", "mask"]))
        if kind == "mask" and masks:
            parts.append(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool))
            masks = False
            common = (int(parts[-1].sum()),) if len(common) else ()
        elif kind == "int" and n:
            parts.append(draw(st.sampled_from([int, np.int8, np.array]))(draw(st.integers(-n, n - 1))))
        elif kind in ("array", "list") and (n or 0 in common):
            some = draw(st.sampled_from([common, common, ()] if kind == "array" and n else [common]))
            size = int(np.prod(some))
            signed = draw(st.sampled_from([np.int64, np.int64, np.int32, np.int8, np.uint8, np.uint64]))
            least = 0 if np.dtype(signed).kind == "u" else -n
            values = draw(st.lists(st.integers(least, n - 1), min_size=size, max_size=size)) if size else []
            values = np.array(values, signed).reshape(some)
            parts.append(values.tolist() if kind == "list" and values.size else values)
        else:
            bound = st.none() | st.integers(-n - 1, n + 1)
            step = st.none() | st.sampled_from([1, 2, 3, -1, -2])
            parts.append(slice(draw(bound), draw(bound), draw(step)))
    if draw(st.integers(0, 9)) == 0:
        parts.insert(draw(st.integers(0, len(parts))), draw(st.booleans()))
    index = tuple(parts)
    x = np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)
    try:
        x[index]
    except IndexError:                      # parts that do not broadcast
        index = index[:0]
    return x, index


def traced_parts(index):
    """The index without its arrays, and a function that puts (traced) arrays back."""
    def moves(p):
        return isinstance(p, (np.ndarray, np.int8)) and p.dtype != bool
    arrays = [p for p in index if moves(p)]

    def rebuild(values):
        values = iter(values)
        return tuple([next(values) if moves(p) else p for p in index])
    return arrays, rebuild


@FAST
@given(cases())
def test_random_reads(case):
    x, index = case
    want = x[index]
    got = ft.jit(lambda x: x[index])(x)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    arrays, rebuild = traced_parts(index)
    got = ft.jit(lambda x, *a: x[rebuild(a)])(x, *arrays)
    np.testing.assert_array_equal(got, want)
    assert got.shape == want.shape
    w = np.cos(np.arange(want.size)).reshape(want.shape)
    back = np.zeros_like(x)
    np.add.at(back, index, w)
    np.testing.assert_allclose(ft.grad(lambda x, *a: np.sum(x[rebuild(a)] * w))(x, *arrays), back, atol=1e-14)
    axes = (0, *[None] * len(arrays))
    each = ft.vmap(lambda x, *a: x[rebuild(a)], in_axes=axes)(np.stack([x, -x]), *arrays)
    np.testing.assert_array_equal(each, np.stack([want, -want]))


@FAST
@given(cases(1), st.sampled_from(["set", "add", "multiply", "min", "max", "subtract", "divide"]),
       st.booleans())
def test_random_writes(case, kind, scalar):
    x, index = case
    shape = x[index].shape
    v = np.float64(2.5) if scalar else np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape)
    want = x.copy()
    if kind == "set":
        want[index] = v
    else:
        name = {"min": "minimum", "max": "maximum"}.get(kind, kind)
        getattr(np, name).at(want, index, v)
    np.testing.assert_allclose(getattr(ft.at(x)[index], kind)(v), want, rtol=1e-12)
    got = ft.jit(lambda x, v: getattr(x.at[index], kind)(v))(x, v)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    arrays, rebuild = traced_parts(index)
    got = ft.jit(lambda x, v, *a: getattr(x.at[rebuild(a)], kind)(v))(x, v, *arrays)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    axes = (None, None, *[0] * len(arrays))
    if arrays:
        many = [np.stack([a, a]) for a in arrays]
        each = ft.vmap(lambda x, v, *a: getattr(ft.at(x)[rebuild(a)], kind)(v), in_axes=axes)(x, v, *many)
        np.testing.assert_allclose(each, np.stack([want, want]), rtol=1e-12)


def test_traced_integers():
    f = ft.jit(lambda x, i, j: (x[i], x[i, j], x[:, i], x[i, 1:3, j], x[-1, i], x[..., i]))
    for got, want in zip(f(X, 2, 1), (X[2], X[2, 1], X[:, 2], X[2, 1:3, 1], X[-1, 2], X[..., 2]),
                         strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ft.jit(lambda x, i: x[i])(X, -1), X[-1])


def test_unknown_positions_clamp_on_read_and_drop_on_write():
    x = np.arange(4.0)
    read = ft.jit(lambda x, i: x[i])
    assert read(x, 9) == 3 and read(x, -9) == 0
    np.testing.assert_array_equal(read(x, np.array([1, 9])), [1, 3])
    y = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(ft.jit(lambda y, i: y[:, i])(y, 7), [2, 5])
    for i in (9, -9):
        np.testing.assert_array_equal(ft.jit(lambda x, i: x.at[i].set(7.0))(x, i), x)
        np.testing.assert_array_equal(ft.jit(lambda y, i: y.at[:, i].add(7.0))(y, i), y)
    np.testing.assert_array_equal(ft.jit(lambda x, i: x.at[i].set(7.0, mode="clip"))(x, 9), [0, 1, 2, 7])


def test_modes():
    x = np.arange(4.0)
    np.testing.assert_array_equal(ft.at(x)[9].set(1.0, mode="drop"), x)
    np.testing.assert_array_equal(ft.at(x)[np.array([0, 9])].set(5.0, mode="clip"), [5, 1, 2, 5])
    np.testing.assert_array_equal(ft.at(x)[np.array([1, 9])].get(mode="fill"), [1, np.nan])
    np.testing.assert_array_equal(ft.at(x)[np.array([1, 9])].get(mode="fill", fill_value=-1), [1, -1])
    np.testing.assert_array_equal(ft.at(x)[np.array([-1, -9])].get(mode="clip"), [3, 0])
    got = ft.jit(lambda x, i: x.at[:, i].get(mode="fill", fill_value=8.0))(X[0], np.array([4, 5]))
    np.testing.assert_array_equal(got, np.stack([X[0][:, 4], np.full(4, 8.0)], 1))
    with pytest.raises(ValueError, match="mode must be one of"):
        ft.at(x)[0].set(1.0, mode="wrong")


def test_masks_known_and_unknown():
    x = np.arange(5.0)
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(x[x > 2] ** 2))(x), [0, 0, 0, 6, 8])
    with pytest.raises(errors.ConcretizationError, match=r"np\.where\(mask, x, 0\)"):
        ft.jit(lambda x: x[x > 2])(x)
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(x.at[x > 2].set(0.0) ** 2))(x), [0, 2, 4, 0, 0])
    np.testing.assert_array_equal(ft.jit(lambda x: np.compress([True, False, True], x))(x), [0, 2])
    np.testing.assert_array_equal(ft.jit(lambda x: x.compress([True, False], axis=1))(X), X[:, :1])


def test_known_traced_index_is_checked():
    def f(x):
        i = np.argmax(x)
        return x[i] * x[np.argsort(np.array([3, 1, 2]))[0]]
    np.testing.assert_array_equal(ft.grad(f)(np.array([1.0, 5.0, 2.0])), [0, 10, 0])
    with pytest.raises(errors.IndexRangeError, match="index 4 is out of bounds for axis 0 with size 3"):
        ft.grad(lambda x: x[np.argmax(x) + 3])(np.array([1.0, 5.0, 2.0]))


ERRORS = [
    (7, "index 7 is out of bounds for axis 0 with size 3"),
    ((0, -5), "index -5 is out of bounds for axis 1 with size 4"),
    ((slice(None), [0, 9]), "index 9 is out of bounds for axis 1 with size 4"),
    ((0, 0, 0, 0), "too many indices for array: array is 3-dimensional, but 4 were indexed"),
    (0.5, "only integers, slices"),
    ("a", "only integers, slices"),
    ([0.5], "only integers, slices"),
    ((Ellipsis, Ellipsis), "single ellipsis"),
    ([True, False], "boolean index did not match indexed array along axis 0; size of axis is 3 but size of "
                    "corresponding boolean axis is 2"),
    (([0, 1], [0, 1, 2]), r"could not be broadcast together with shapes \(2,\) \(3,\)"),
]


@pytest.mark.parametrize(("index", "text"), ERRORS, ids=[str(e[0]) for e in ERRORS])
def test_errors_name_axis_and_size(index, text):
    with pytest.raises(IndexError, match=text):
        X[index]
    with pytest.raises(errors.IndexRangeError, match=text):
        ft.jit(lambda x: x[index])(X)


def test_slice_errors():
    with pytest.raises(ValueError, match="slice step cannot be zero"):
        ft.jit(lambda x: x[::0])(X)
    with pytest.raises(TypeError, match="slice indices must be integers"):
        ft.jit(lambda x: x[1.5:])(X)
    with pytest.raises(errors.ConcretizationError, match="an index or a size"):
        ft.jit(lambda x, n: x[:n])(X, 2)


# ----- writing ------------------------------------------------------------------------------------


def test_at_on_plain_arrays_copies():
    x = np.zeros(3)
    y = ft.at(x)[1].set(5.0)
    assert type(y) is np.ndarray and x[1] == 0 and y[1] == 5
    np.testing.assert_array_equal(ft.at([1.0, 2.0])[0].add(1), [2, 2])
    np.testing.assert_array_equal(ft.at(x)[1:].apply(lambda v: v + 2), [0, 2, 2])
    np.testing.assert_array_equal(ft.at(x)[:2].power(0), [1, 1, 0])


def test_values_take_the_dtype_of_the_array():
    x32 = np.zeros(3, np.float32)
    assert ft.jit(lambda x: x.at[0].set(1.5))(x32).dtype == np.float32
    assert ft.jit(lambda x, v: x.at[0].set(v))(x32, np.float64(1.5)).dtype == np.float32
    assert ft.jit(lambda x: x.at[0].add(2))(np.zeros(3, np.uint8)).tolist() == [2, 0, 0]
    assert ft.jit(lambda x: x.at[0].subtract(2))(np.full(3, 5, np.uint8)).tolist() == [3, 5, 5]
    assert ft.jit(lambda x: x.at[1:].set(True))(np.zeros(3, bool)).tolist() == [False, True, True]
    for value in (1.5, np.ones(3), np.float32(1)):
        with pytest.raises(TypeError, match="does not fit into an array of dtype int64"):
            ft.at(np.zeros(3, int))[:].set(value)
        with pytest.raises(errors.DtypeError, match="does not fit into an array of dtype int64"):
            ft.jit(lambda x, v: x.at[:].set(v))(np.zeros(3, int), value)
    with pytest.raises(errors.DtypeError, match="does not fit"):
        ft.jit(lambda x: x.at[0].divide(2))(np.zeros(3, int))


def test_values_broadcast():
    got = ft.jit(lambda x, v: x.at[0].set(v))(X, np.arange(5.0))
    np.testing.assert_array_equal(got[0], np.broadcast_to(np.arange(5.0), (4, 5)))
    got = ft.jit(lambda x, v: x.at[0, 0].set(v))(X, np.ones((1, 1, 5)))
    np.testing.assert_array_equal(got[0, 0], np.ones(5))
    with pytest.raises(errors.ShapeError, match=r"do not fit the selected shape \(4, 5\)"):
        ft.jit(lambda x, v: x.at[0].set(v))(X, np.ones(3))


@pytest.mark.parametrize("index", [
    1, (slice(None), 2), slice(None, None, 2), (slice(2, 0, -1), 1), [0, 2], [1, 1, 0],
    (slice(None), [0, 3, 3]), (0, slice(1, 3), [4, 0]), slice(3, 3), slice(None)], ids=str)
@pytest.mark.parametrize("kind", ["set", "add", "multiply", "min", "max", "divide"])
def test_gradients_of_writes(index, kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 5)) + 3
    v = rng.normal(size=x[index].shape) + 3
    w = rng.normal(size=x.shape)
    check_gradient(lambda x: np.sum(getattr(ft.at(x)[index], kind)(v) * w), x)
    if v.size:
        check_gradient(lambda v: np.sum(getattr(ft.at(x)[index], kind)(v) * w), v)


def test_write_of_a_traced_value_into_an_array():
    x = np.zeros(3)
    np.testing.assert_array_equal(ft.grad(lambda v: np.sum(ft.at(x)[1].set(v) * np.arange(3.0)))(2.0), 1.0)


def test_vmap_equals_loop():
    rng = np.random.default_rng(1)
    xs, i = rng.normal(size=(4, 3, 5)), np.array([0, 2, 1, -1])
    cases = [
        lambda x, i: x[i], lambda x, i: x[:, i], lambda x, i: x[i, i], lambda x, i: x[1:][:, [0, 2]],
        lambda x, i: x.at[i].set(1.0), lambda x, i: x.at[:, i].add(x[:, 0]),
        lambda x, i: x.at[0, ::2].multiply(3.0), lambda x, i: x.at[1].set(i * 1.0),
        lambda x, i: np.take(x, i, axis=1), lambda x, i: x[i, 1:3], lambda x, i: x.at[[0, 0], i].add(2.0),
    ]
    for f in cases:
        want = np.stack([f_eager(f, x, k) for x, k in zip(xs, i, strict=True)])
        np.testing.assert_allclose(ft.vmap(f)(xs, i), want)
        np.testing.assert_allclose(ft.vmap(ft.jit(f), in_axes=(None, 0))(xs[0], i),
                                   np.stack([f_eager(f, xs[0], k) for k in i]))
        np.testing.assert_allclose(ft.vmap(f, in_axes=(0, None))(xs, i[1]),
                                   np.stack([f_eager(f, x, i[1]) for x in xs]))


def f_eager(f, x, i):
    return ft.jit(f)(x, i)


# ----- take and its kin ---------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("indices", [2, [0, 2, 2], [[0], [-1]], np.zeros((2, 0), int)], ids=str)
def test_take(axis, indices):
    want = np.take(X, indices, axis)
    np.testing.assert_array_equal(ft.jit(lambda x: np.take(x, indices, axis))(X), want)
    np.testing.assert_array_equal(ft.jit(lambda x: x.take(indices, axis))(X), want)
    np.testing.assert_array_equal(ft.jit(lambda x, i: np.take(x, i, axis))(X, np.asarray(indices)), want)


def test_take_modes():
    for mode in ("clip", "wrap"):
        want = np.take(X, [-7, 9, 1], 1, mode=mode)
        np.testing.assert_array_equal(ft.jit(lambda x, m=mode: np.take(x, [-7, 9, 1], 1, mode=m))(X), want)
    with pytest.raises(errors.IndexRangeError, match="index 9 is out of bounds for axis 1 with size 4"):
        ft.jit(lambda x: np.take(x, [9], 1))(X)
    with pytest.raises(errors.DtypeError, match="indices must be integers"):
        ft.jit(lambda x: np.take(x, [0.5]))(X)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along_axis(axis):
    i = np.argsort(-np.cos(X), axis=axis)
    want = np.take_along_axis(X, i, axis)
    np.testing.assert_array_equal(ft.jit(lambda x: np.take_along_axis(x, i, axis))(X), want)
    np.testing.assert_array_equal(ft.jit(lambda x, i: np.take_along_axis(x, i, axis))(X, i), want)
    few = np.take(i, [0], axis)
    check_gradient(lambda x: np.sum(np.sin(np.take_along_axis(x, few, axis))), X / 10)
    np.testing.assert_array_equal(
        ft.vmap(lambda x, i: np.take_along_axis(x, i, 0))(X, np.argsort(-X, 1)),
        X[:, ::-1])


def test_take_along_axis_of_a_flat_array_and_errors():
    np.testing.assert_array_equal(
        ft.jit(lambda x: np.take_along_axis(x, np.array([5, 1]), None))(X), [5, 1])
    with pytest.raises(errors.ShapeError, match="same number of dimensions"):
        ft.jit(lambda x: np.take_along_axis(x, np.array([5, 1]), 0))(X)
    with pytest.raises(errors.InPlaceError, match=r"functrans\.at"):
        ft.jit(lambda x: np.put_along_axis(x, np.array([[[0]]]), 1.0, 0))(X)


def test_setitem_says_what_to_write():
    def f(x):
        x[0] = 1.0
        return x
    with pytest.raises(errors.InPlaceError, match=r"x\.at\[index\]\.set"):
        ft.jit(f)(X)


@pytest.mark.parametrize("sizes", [(50, 16, 100_000), (300, 1, 50_000), (5_000, 130, 3_000), (10, 5_000, 100),
                                   (60_000, 1, 90_000), (1_000, 8, 9_000)], ids=str)
def test_rows_read_and_added(sizes):
    """Lookups and their gradients, however the kernel deals them to threads: with equal bits."""
    rows, width, count = sizes
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(rows, width)), rng.normal(size=(count, width))
    i = rng.integers(-rows, rows, count)
    want = np.zeros_like(x)
    np.add.at(want, i, g)
    run = ft.jit(lambda x, i, g: ft.vjp(lambda x: x[i], x)[1](g)[0])
    before, found = lib.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            lib.set_num_threads(n)
            found.append(run(x, i, g))
            np.testing.assert_array_equal(ft.jit(lambda x, i: x[i])(x, i), x[i])
    finally:
        lib.set_num_threads(before)
    np.testing.assert_allclose(found[0], want, rtol=0, atol=1e-12 * np.sqrt(count))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_index_arrays_of_any_strides():
    """Spread, transposed and stepped ones are read where they are; out of range in some lines."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 30))
    i, j = rng.integers(0, 40, (33, 1)), rng.integers(0, 30, (50, 66)).T[::2, :20]
    assert i.shape == (33, 1) and j.shape == (33, 20)
    np.testing.assert_array_equal(ft.jit(lambda x, i, j: x[i, j[:, ::-1]])(x, i, j), x[i, j[:, ::-1]])
    wide = rng.integers(0, 30, (40, 64))
    np.testing.assert_array_equal(ft.jit(lambda x: np.take_along_axis(x, wide, 1))(x),
                                  np.take_along_axis(x, wide, 1))
    want = np.zeros_like(x)
    np.add.at(want, (np.arange(40)[:, None], wide), np.cos(wide))
    got = ft.vjp(lambda x: np.take_along_axis(x, wide, 1), x)[1](np.cos(wide))[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)
    far = np.where(wide == 7, 99, wide)
    got = ft.jit(lambda x, i: x.at[np.arange(40)[:, None], i].get(mode="fill", fill_value=np.nan))(x, far)
    np.testing.assert_array_equal(np.isnan(got), far == 99)
