"""Functions that write or pick at positions, and make positions: against NumPy, in every mode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans as ft
import functrans.numpy as fnp
from functrans import errors

X = np.arange(12.0).reshape(3, 4)
M = X % 5 > 2

# function, its arguments, which are traced; what NumPy computes of copies
WRITES = [
    ("put", (X, [1, -1, 5], [7.0, 8.0])), ("put", (X, [30, -1], 7.0, "wrap")),
    ("put", (X, [30, -1], 7.0, "clip")),
    ("put", (X, np.zeros(0, int), 7.0)), ("put", (X, [1, 1], [7.0, 8.0, 9.0])),
    ("place", (X, M, [7.0, 8.0])), ("place", (X, M, np.arange(20.0))), ("place", (X, ~M & M, [1.0])),
    ("putmask", (X, M, 7.0)), ("putmask", (X, M, -X)),
    ("putmask", (X, M, np.array([7.0, 8.0, 9.0, 10.0, 11.0]))),
    ("put_along_axis", (X, np.array([[1], [-1], [2]]), 7.0, 1)),
    ("put_along_axis", (X, np.array([[1, 0, 2, 2]]), np.array([[5.0], [6.0]])[:1], 0)),
    ("put_along_axis", (X, np.array([5, -2]), np.array([5.0, 6.0]), None)),
    ("fill_diagonal", (X, 7.0)), ("fill_diagonal", (X.T, [7.0, 8.0])),
    ("fill_diagonal", (np.ones((7, 2)), 5.0)),
    ("fill_diagonal", (np.ones((7, 2)), 5.0, True)), ("fill_diagonal", (np.ones((3, 3, 3)), 5.0)),
]


@pytest.mark.parametrize(("name", "args"), WRITES, ids=[f"{n}{k}" for k, (n, _) in enumerate(WRITES)])
def test_writes(name, args):
    want = args[0].copy()
    f = getattr(np, name)
    f(want, *args[1:])
    ours = getattr(fnp, name)
    np.testing.assert_array_equal(ours(*args, inplace=False), want)
    np.testing.assert_array_equal(ft.jit(lambda x: ours(x, *args[1:], inplace=False))(args[0]), want)
    k = 2 if name != "fill_diagonal" else 1                     # the values, traced too
    values = np.asarray(args[k])

    def both(x, v):
        return ours(x, *args[1:k], v, *args[k + 1:], inplace=False)
    np.testing.assert_array_equal(ft.jit(both)(args[0], values), want)
    many = np.stack([values, values + 1])
    np.testing.assert_array_equal(ft.vmap(both, in_axes=(None, 0))(args[0], many)[0], want)
    w = np.cos(np.arange(want.size)).reshape(want.shape)
    g = ft.grad(lambda x, v: np.sum(both(x, v) * w), (0, 1))(args[0], values)
    for which, step in enumerate(g):
        d = np.sin(np.arange(step.size)).reshape(step.shape)
        ends = [np.sum(w * both(*[v + e * d if j == which else v for j, v in enumerate((args[0], values))]))
                for e in (1e-6, -1e-6)]
        np.testing.assert_allclose(np.sum(step * d), (ends[0] - ends[1]) / 2e-6, atol=1e-7)
    copy = args[0].copy()
    assert ours(copy, *args[1:]) is None                        # NumPy's own
    np.testing.assert_array_equal(copy, want)
    with pytest.raises(errors.InPlaceError, match="inplace=False"):
        ft.jit(lambda x: f(x, *args[1:]))(args[0])


def test_positions_that_are_not_known():
    f = ft.jit(lambda x, i: fnp.put(x, i, 7.0, inplace=False))
    np.testing.assert_array_equal(f(np.zeros(4), np.array([1, 9, -1])), [0, 7, 0, 7])
    f = ft.jit(lambda x, i: fnp.put_along_axis(x, i, 7.0, 1, inplace=False))
    np.testing.assert_array_equal(f(np.zeros((2, 3)), np.array([[1], [9]])), [[0, 7, 0], [0, 0, 0]])
    f = ft.jit(lambda x, i: fnp.put_along_axis(x, i, 7.0, 1, mode="clip", inplace=False))
    np.testing.assert_array_equal(f(np.zeros((2, 3)), np.array([[1], [9]])), [[0, 7, 0], [0, 0, 7]])
    f = ft.jit(lambda x, m: fnp.place(x, m, [7.0, 8.0], inplace=False))
    np.testing.assert_array_equal(f(np.zeros(4), np.array([True, True, False, True])), [7, 8, 0, 7])


CALLS = [
    ("insert", (X, 1, 7.0)), ("insert", (X, 1, 7.0, 0)), ("insert", (X, 1, [7.0, 8, 9, 10], 0)),
    ("insert", (X, [1], [[7.0, 8, 9, 10]], 0)), ("insert", (X, 1, [1.0, 2, 3], 1)),
    ("insert", (X, [1], [1.0], 1)),
    ("insert", (X, [1, 1, -1], [[7.0, 8, 9]], 1)), ("insert", (X, slice(1, 3), 5.0, 1)),
    ("insert", (X, [0, 4, 2, 2], np.arange(12.0).reshape(3, 4), 1)), ("insert", (X[0], [1], [5.0, 6.0, 7.0])),
    ("insert", (X[0], np.array([True, False, True, False]), 5.0)), ("insert", (X[0], 4, 5.0)),
    ("delete", (X, 1)), ("delete", (X, 1, 0)), ("delete", (X, -1, 1)), ("delete", (X, [0, 2], 1)),
    ("delete", (X, slice(None, None, 2), 1)), ("delete", (X, M[:, 0], 0)), ("delete", (X, [0, 0], 1)),
    ("delete", (np.arange(90.0), np.arange(0, 90, 2))), ("delete", (X, [], 0)),
    ("delete", (X, slice(None), 0)),
    ("extract", (M, X)), ("compress", ([True, False, True], X, 0)), ("compress", ([False, True], X)),
]


@pytest.mark.parametrize(("name", "args"), CALLS, ids=[f"{n}{k}" for k, (n, _) in enumerate(CALLS)])
def test_parts(name, args):
    k = 1 if name in ("extract", "compress") else 0

    def f(x, name=name):
        return getattr(np, name)(*args[:k], x, *args[k + 1:])
    want = f(args[k])
    got = ft.jit(f)(args[k])
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ft.vmap(f)(np.stack([args[k], -args[k]]))[0], want)
    w = np.cos(np.arange(want.size)).reshape(want.shape)
    d = np.sin(np.arange(args[k].size)).reshape(args[k].shape)
    slope = np.sum(w * (f(args[k] + d) - want))             # linear
    np.testing.assert_allclose(np.sum(ft.grad(lambda x: np.sum(f(x) * w))(args[k]) * d), slope, atol=1e-12)


def test_traced_positions():
    insert = ft.jit(lambda x, i, v: np.insert(x, i, v, 1))
    for i in (0, 2, -1, 4):
        np.testing.assert_array_equal(insert(X, i, np.arange(3.0)), np.insert(X, i, np.arange(3.0), 1))
    i = np.array([3, 0, 0])
    np.testing.assert_array_equal(insert(X, i, [7.0, 8, 9]), np.insert(X, i, [7.0, 8, 9], 1))
    delete = ft.jit(lambda x, i: np.delete(x, i, 1))
    for j in (0, 3, -2):
        np.testing.assert_array_equal(delete(X, j), np.delete(X, j, 1))
    with pytest.raises(errors.ConcretizationError, match="assume_unique_indices"):
        delete(X, i)
    f = ft.jit(lambda x, i: fnp.delete(x, i, 1, assume_unique_indices=True))
    np.testing.assert_array_equal(f(X, np.array([3, 0])), X[:, 1:3])


def test_a_given_number_of_parts():
    x, m = np.arange(5.0), np.array([True, False, True, True, False])
    for size, want in ((2, [0, 2]), (3, [0, 2, 3]), (4, [0, 2, 3, -1])):
        f = ft.jit(lambda m, x, n=size: fnp.extract(m, x, size=n, fill_value=-1))
        np.testing.assert_array_equal(f(m, x), want)
        np.testing.assert_array_equal(fnp.extract(m, x, size=size, fill_value=-1), want)
    got = ft.jit(lambda m, x: fnp.compress(m, x, 1, size=4))(m[:4], X)
    np.testing.assert_array_equal(got, np.stack([X[:, 0], X[:, 2], X[:, 3], np.zeros(3)], 1))


@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_choose(mode):
    choices = [X[0], 10.0, np.float32(3)]
    a = np.array([[2, 0, 1, 0], [1, 1, 2, 2]]) if mode == "raise" else np.array([[9, -1, 1, 0]])
    want = np.choose(a, choices, mode=mode)
    got = ft.jit(lambda a: np.choose(a, choices, mode=mode))(a)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ft.jit(lambda x: np.choose(a, [x, 10.0, x], mode=mode))(X[0]),
                                  np.choose(a, [X[0], 10.0, X[0]], mode=mode))
    np.testing.assert_array_equal(ft.jit(lambda a: a.choose(choices, mode=mode))(a), want)
    np.testing.assert_array_equal(ft.vmap(lambda a: np.choose(a, choices, mode=mode))(a), want)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from("CF"), st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_flat_positions_and_positions_per_axis(shape, order, seed):
    flat = np.random.default_rng(seed).integers(0, np.prod(shape), (2, 3))
    want = np.unravel_index(flat, shape, order)
    got = ft.jit(lambda i: np.unravel_index(i, tuple(shape), order))(flat)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ft.jit(lambda i: np.ravel_multi_index(i, shape, order=order))(want), flat)
    far = tuple([i * 7 - 9 for i in want])
    for mode in ("wrap", "clip"):
        np.testing.assert_array_equal(ft.jit(lambda i, m=mode: np.ravel_multi_index(i, shape, m, order))(far),
                                      np.ravel_multi_index(far, shape, mode, order))


def test_ix_and_mask_indices():
    f = ft.jit(lambda x, i, j: x[np.ix_(i, j)])
    np.testing.assert_array_equal(f(X, np.array([0, 2]), np.array([1, 1, 3])), X[np.ix_([0, 2], [1, 1, 3])])
    for a, b in zip(fnp.ix_([True, False, True], [1, 2]), np.ix_([True, False, True], [1, 2]), strict=True):
        np.testing.assert_array_equal(a, b)

    def above(m, k):
        return m * (np.arange(3) - np.arange(3)[:, None] >= k)
    got = ft.jit(lambda k: fnp.mask_indices(3, above, k, size=3))(1)
    np.testing.assert_array_equal(got, np.mask_indices(3, np.triu, 1))


V = np.array([1.0, 2.0])
BRACKETS = [
    ("r_", lambda r, v: r[v, 5, 0:3]), ("r_", lambda r, v: r[0, v, v]), ("r_", lambda r, v: r["-1", X, X]),
    ("r_", lambda r, v: r["0,2", v, v]), ("r_", lambda r, v: r["0,2,0", v, v]),
    ("r_", lambda r, v: r["1,2,0", v, v]),
    ("c_", lambda r, v: r[v, v]), ("c_", lambda r, v: r[np.stack([v, v]), np.stack([v, v])]),
    ("r_", lambda r, v: r[v, -1:1:5j]), ("r_", lambda r, v: r["1,3", v, v]), ("r_", lambda r, v: r[v]),
]


@pytest.mark.parametrize("k", range(len(BRACKETS)))
def test_brackets(k):
    name, f = BRACKETS[k]
    want = f(getattr(np, name), V)
    got = ft.jit(lambda v: f(getattr(fnp, name), v))(V)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(f(getattr(fnp, name), V), want)


def test_grids():
    np.testing.assert_array_equal(fnp.mgrid[0:2, 0:3], np.mgrid[0:2, 0:3])
    for a, b in zip(fnp.ogrid[0:2, 0:1:3j], np.ogrid[0:2, 0:1:3j], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(errors.ConcretizationError, match="linspace"):
        ft.jit(lambda n: fnp.mgrid[0:n])(3)
    assert fnp.s_[1:2, ...] == np.s_[1:2, ...] and fnp.index_exp[0] == (0,)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda x: np.insert(x, 9, 1.0, 1), IndexError, "index 9 is out of bounds for axis 1 with size 4"),
    (lambda x: np.delete(x, 9, 1), IndexError, "index 9 is out of bounds"),
    (lambda x: np.insert(x, [[0]], 1.0), ValueError, "one axis"),
    (lambda x: np.insert(x, 0.5, 1.0), TypeError, "must be integers"),
    (lambda x: np.choose([5], [x, x]), ValueError, "invalid entry in choice array"),
    (lambda x: np.choose([0], [x], mode="no"), ValueError, "mode must be"),
    (lambda x: fnp.put(x, [99], 1.0, inplace=False), IndexError, "index 99 is out of bounds"),
    (lambda x: fnp.put(x, [0.5], 1.0, inplace=False), TypeError, "must be integers"),
    (lambda x: fnp.place(x, [True], 1.0, inplace=False), ValueError, "as many elements"),
    (lambda x: fnp.place(x, M, [], inplace=False), ValueError, "no values"),
    (lambda x: fnp.fill_diagonal(x[0], 1.0, inplace=False), ValueError, "two axes or more"),
    (lambda x: fnp.fill_diagonal(np.stack([x, x]), 1.0, inplace=False), ValueError, "of one size"),
    (lambda x: fnp.put_along_axis(x, np.zeros((1, 1, 1), int), 1.0, 0, inplace=False), ValueError,
     "same number of dimensions"),
    (lambda x: fnp.putmask(x.astype(int), M, 1.5, inplace=False), TypeError, "does not fit"),
    (lambda x: np.compress(M, x, 0), ValueError, "one axis"),
    (lambda x: np.unravel_index(np.array([99]) + 0 * x.astype(int)[0, :1], (3, 4)), None, ""),
])
def test_errors(call, error, text):
    if error is None:
        assert ft.jit(call)(X)[0].tolist() == [2]       # unknown ones clip
        return
    with pytest.raises(error, match=text):
        ft.jit(call)(X)
