"""Manipulation, searching, sorting, sets, statistics and utilities as the array API standard has them.

Moves are checked element by element against the index that each comes from; sums and orders against Python's.
Every call is made on plain and on traced arrays.
"""

import cmath
import itertools
import math

import numpy as np
import pytest
from array_api_tools import (
    COMPLEX,
    FLOATS,
    GROUPS,
    INTEGERS,
    SIGNED,
    UNSIGNED,
    both,
    drawn,
    few,
    filled,
    promoted,
    results,
)
from hypothesis import given
from hypothesis import strategies as st

import functrans.numpy as fnp
from functrans import jit

ALL = ["bool", *INTEGERS, *FLOATS, *COMPLEX]
dtypes = st.sampled_from(ALL)
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
nonempty = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)


def axes(ndim):
    """None, one axis, or several."""
    one = st.integers(-ndim, ndim - 1)
    return st.none() | (
        one | st.lists(one, unique_by=lambda a: a % ndim, max_size=ndim).map(tuple) if ndim else st.none()
    )


def as_tuple(axis, ndim):
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def moves(f, x, shape, source):
    """f(x) has this shape, x's dtype, and at each index what x has at ``source`` of it."""
    for got in results(f, x):
        assert got.dtype == x.dtype and got.shape == tuple(shape)
        for i in np.ndindex(*got.shape):
            assert got[i] == x[source(i)]


def replaced(index, at):
    return tuple(at.get(n, v) for n, v in enumerate(index))


# ----- manipulation ---------------------------------------------------------------------------------------


@few
@given(dtypes, shapes, st.data())
def test_moves(dtype, shape, data):
    x, ndim = filled(data, dtype, shape), len(shape)
    where = data.draw(axes(ndim))
    chosen = as_tuple(where, ndim)
    moves(
        lambda x: fnp.flip(x, axis=where),
        x,
        shape,
        lambda i: replaced(i, {a: shape[a] - 1 - i[a] for a in chosen}),
    )
    order = tuple(data.draw(st.permutations(range(ndim))))
    moves(
        lambda x: fnp.permute_dims(x, order),
        x,
        [shape[a] for a in order],
        lambda i: tuple(i[order.index(n)] for n in range(ndim)),
    )
    new = data.draw(st.integers(-ndim - 1, ndim))
    at = new % (ndim + 1)
    moves(
        lambda x: fnp.expand_dims(x, axis=new),
        x,
        (*shape[:at], 1, *shape[at:]),
        lambda i: (*i[:at], *i[at + 1 :]),
    )
    ones = data.draw(
        st.lists(st.sampled_from([n for n, s in enumerate(shape) if s == 1] or [ndim]), unique=True)
    )
    if ndim not in ones:
        left = [n for n in range(ndim) if n not in ones]
        moves(
            lambda x: fnp.squeeze(x, axis=tuple(ones)),
            x,
            [shape[n] for n in left],
            lambda i: replaced((0,) * ndim, dict(zip(left, i, strict=True))),
        )
    wide = data.draw(shapes)[:1] + tuple(data.draw(st.integers(0, 3)) if s == 1 else s for s in shape)
    moves(
        lambda x: fnp.broadcast_to(x, wide),
        x,
        wide,
        lambda i: tuple(0 if s == 1 else n for n, s in zip(i[len(wide) - ndim :], shape, strict=True)),
    )
    many = tuple(data.draw(st.lists(st.integers(0, 2), max_size=3)))
    n = max(len(many), ndim)
    full, times = (1,) * (n - ndim) + shape, (1,) * (n - len(many)) + many
    moves(
        lambda x: fnp.tile(x, many),
        x,
        [a * b for a, b in zip(full, times, strict=True)],
        lambda i: tuple(k % s for k, s in zip(i, full, strict=True))[n - ndim :],
    )


@few
@given(dtypes, shapes, st.data())
def test_reshape_roll_repeat(dtype, shape, data):
    x, ndim, size = filled(data, dtype, shape), len(shape), math.prod(shape)
    flat = list(np.ndindex(*shape))
    parts = [d for d in range(1, size + 1) if size % d == 0] or [0]
    first = data.draw(st.sampled_from(parts))
    to = (first, -1) if first else (0, 2)
    out = (first, size // first) if first else to
    for copy in (None, True):
        moves(lambda x, c=copy: fnp.reshape(x, to, copy=c), x, out, lambda i: flat[i[0] * out[1] + i[1]])
    shift = data.draw(st.integers(-5, 5))
    moves(lambda x: fnp.roll(x, shift), x, shape, lambda i: flat[(flat.index(i) - shift) % size])
    if ndim:
        several = data.draw(axes(ndim)) or (0,)
        chosen = as_tuple(several, ndim)
        shifts = tuple(data.draw(st.integers(-5, 5)) for _ in chosen)
        moves(
            lambda x: fnp.roll(x, shifts, axis=chosen),
            x,
            shape,
            lambda i: replaced(i, {a: (i[a] - s) % shape[a] for a, s in zip(chosen, shifts, strict=True)}),
        )
        moves(
            lambda x: fnp.roll(x, shift, axis=chosen),
            x,
            shape,
            lambda i: replaced(i, {a: (i[a] - shift) % shape[a] for a in chosen}),
        )
        a = data.draw(st.integers(-ndim, ndim - 1))
        counts = data.draw(st.lists(st.integers(0, 3), min_size=shape[a], max_size=shape[a]))
        origin = [n for n, c in enumerate(counts) for _ in range(c)]
        moves(
            lambda x: fnp.repeat(x, np.array(counts, int), axis=a),
            x,
            replaced(shape, {a % ndim: len(origin)}),
            lambda i: replaced(i, {a % ndim: origin[i[a % ndim]]}),
        )
        moves(
            lambda x: fnp.repeat(x, 2, axis=a),
            x,
            replaced(shape, {a % ndim: 2 * shape[a]}),
            lambda i: replaced(i, {a % ndim: i[a % ndim] // 2}),
        )
        source, to = data.draw(st.permutations(range(ndim))), data.draw(st.permutations(range(ndim)))
        k = data.draw(st.integers(0, ndim))
        source, to = tuple(source[:k]), tuple(s - ndim for s in to[:k])
        rest = iter([n for n in range(ndim) if n not in source])
        order = [source[to.index(n - ndim)] if n - ndim in to else next(rest) for n in range(ndim)]
        moves(
            lambda x: fnp.moveaxis(x, source, to),
            x,
            [shape[n] for n in order],
            lambda i: tuple(i[order.index(n)] for n in range(ndim)),
        )
    moves(lambda x: fnp.repeat(x, 3), x, (3 * size,), lambda i: flat[i[0] // 3])


@few
@given(st.sampled_from("bifc"), st.data())
def test_joins(kind, data):
    types = [data.draw(st.sampled_from(GROUPS[kind])) for _ in range(3)]
    out = promoted(types[0], types[1]) and promoted(promoted(types[0], types[1]), types[2])
    if out is None:
        return
    shape = data.draw(nonempty)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    a = axis % len(shape)
    arrays = [filled(data, t, replaced(shape, {a: data.draw(st.integers(0, 3))})) for t in types]
    places = [(n, k) for n, x in enumerate(arrays) for k in range(x.shape[a])]
    for got in results(lambda *xs: fnp.concat(xs, axis=axis), *arrays):
        assert got.dtype == out and got.shape == replaced(shape, {a: len(places)})
        for i in np.ndindex(*got.shape):
            n, k = places[i[a]]
            assert got[i] == arrays[n][replaced(i, {a: k})]
    for got in results(lambda *xs: fnp.concat(xs, axis=None), *arrays):
        assert got.dtype == out and got.tolist() == [v for x in arrays for v in x.ravel().tolist()]
    same = [filled(data, t, shape) for t in types]
    new = data.draw(st.integers(-len(shape) - 1, len(shape)))
    at = new % (len(shape) + 1)
    for got in results(lambda *xs: fnp.stack(xs, axis=new), *same):
        assert got.dtype == out and got.shape == (*shape[:at], 3, *shape[at:])
        assert all(got[i] == same[i[at]][(*i[:at], *i[at + 1 :])] for i in np.ndindex(*got.shape))
    for got in both(lambda x: fnp.unstack(x, axis=axis), same[0]):
        assert isinstance(got, tuple) and len(got) == shape[a]
        assert all((piece == np.moveaxis(same[0], a, 0)[n]).all() for n, piece in enumerate(got))


@few
@given(st.data())
def test_broadcast_arrays(data):
    arrays = drawn(data, [data.draw(dtypes) for _ in range(3)])
    shape = np.broadcast_shapes(*[x.shape for x in arrays])
    for got in both(lambda *xs: list(fnp.broadcast_arrays(*xs)), *arrays):
        for g, x in zip(got, arrays, strict=True):
            assert g.dtype == x.dtype and g.shape == shape
            assert all(g[i] == np.broadcast_to(x, shape)[i] for i in np.ndindex(*shape))


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: fnp.expand_dims(x, axis=4), IndexError),
        (lambda x: fnp.expand_dims(x, axis=-5), IndexError),
        (lambda x: fnp.squeeze(x, axis=0), ValueError),
        (lambda x: fnp.broadcast_to(x, (3, 3)), ValueError),
        (lambda x: fnp.sum(x, axis=2), Exception),
        (lambda x: fnp.all(x, axis=5), Exception),
        (lambda x: fnp.stack([x, x], axis=7), Exception),
        (lambda x: fnp.unstack(x, axis=2), Exception),
        (lambda x: fnp.nonzero(x[0, 0]), Exception),
    ],
)
def test_refused(f, error):
    for run in (lambda f: f, jit):
        with pytest.raises(error):
            run(f)(np.zeros((2, 2)))


def test_reshape_that_may_not_copy():
    with pytest.raises(ValueError):
        fnp.reshape(np.zeros((2, 2)).T, (4,), copy=False)
    assert jit(lambda x: fnp.reshape(x.T, (4,), copy=False))(np.zeros((2, 2))).shape == (
        4,
    )  # no memory, no copy


# ----- statistics and utility -----------------------------------------------------------------------------


def slices(x, axis, keepdims, shape):
    """(index of the result, what is reduced there) of each element."""
    chosen = as_tuple(axis, x.ndim)
    kept = [n for n in range(x.ndim) if n not in chosen]
    want = (
        [1 if n in chosen else s for n, s in enumerate(x.shape)] if keepdims else [x.shape[n] for n in kept]
    )
    assert list(shape) == want
    for i in np.ndindex(*[x.shape[n] for n in kept]):
        place = replaced((0,) * x.ndim, dict(zip(kept, i, strict=True))) if keepdims else i
        inner = itertools.product(
            *[range(x.shape[n]) if n in chosen else [i[kept.index(n)]] for n in range(x.ndim)]
        )
        yield place, [x[j].item() for j in inner]


def near(got, want, dtype):
    if np.dtype(dtype).kind in "iu":
        return int(got) == int(np.array(want % 2**64, np.uint64).astype(dtype))
    if not cmath.isfinite(complex(got)) or not cmath.isfinite(complex(want)):
        return True  # sums beyond the largest number
    return abs(complex(got) - want) <= (1e-4 if np.dtype(dtype).char in "fF" else 1e-11) * max(1, abs(want))


def summed(dtype):
    """The dtype of a sum: integers grow to the default size."""
    return "int64" if dtype in SIGNED else "uint64" if dtype in UNSIGNED else dtype


@few
@given(st.sampled_from(INTEGERS + FLOATS + COMPLEX), shapes, st.booleans(), st.data())
def test_sums(dtype, shape, keepdims, data):
    x, axis = filled(data, dtype, shape), data.draw(axes(len(shape)))
    kw = {"axis": axis, "keepdims": keepdims}
    for name, reference in (("sum", sum), ("prod", math.prod)):
        for given_dtype in (None, promoted(dtype, GROUPS["i" if dtype in INTEGERS else "f"][-2])):
            if given_dtype is None or dtype not in COMPLEX:
                out = given_dtype or summed(dtype)
                extra = {} if given_dtype is None else {"dtype": np.dtype(given_dtype)}
                for got in results(lambda x, name=name, e=extra: getattr(fnp, name)(x, **kw, **e), x):
                    assert got.dtype == out
                    assert all(
                        near(got[i], reference(vs), out) for i, vs in slices(x, axis, keepdims, got.shape)
                    )
    for name, reference in (
        ("all", all),
        ("any", any),
        ("count_nonzero", lambda vs: sum(v != 0 for v in vs)),
    ):
        if name == "count_nonzero" and axis == ():
            continue  # NumPy counts over everything; the standard says nothing
        for got in results(lambda x, name=name: getattr(fnp, name)(x, **kw), x):
            assert got.dtype == ("int64" if name == "count_nonzero" else "bool")
            assert all(got[i] == reference(vs) for i, vs in slices(x, axis, keepdims, got.shape))


@few
@given(st.sampled_from(INTEGERS + FLOATS), nonempty, st.booleans(), st.data())
def test_extrema(dtype, shape, keepdims, data):
    x, axis = filled(data, dtype, shape), data.draw(axes(len(shape)))
    for name, reference in (("max", max), ("min", min)):
        for got in results(lambda x, name=name: getattr(fnp, name)(x, axis=axis, keepdims=keepdims), x):
            assert got.dtype == dtype
            assert all(got[i] == reference(vs) for i, vs in slices(x, axis, keepdims, got.shape))
    one = (
        axis if axis is None or isinstance(axis, int) else data.draw(st.sampled_from(range(-x.ndim, x.ndim)))
    )
    for name, reference in (("argmax", max), ("argmin", min)):
        for got in results(lambda x, name=name: getattr(fnp, name)(x, axis=one, keepdims=keepdims), x):
            assert got.dtype == "int64"
            assert all(got[i] == vs.index(reference(vs)) for i, vs in slices(x, one, keepdims, got.shape))


@few
@given(st.sampled_from(FLOATS), nonempty, st.booleans(), st.sampled_from([0, 0.5, 1, 1.0]), st.data())
def test_means(dtype, shape, keepdims, correction, data):
    x, axis = filled(data, dtype, shape), data.draw(axes(len(shape)))
    kw = {"axis": axis, "keepdims": keepdims}

    def variance(vs):
        mean = sum(vs) / len(vs)
        return sum((v - mean) ** 2 for v in vs) / (len(vs) - correction)

    for got in results(lambda x: fnp.mean(x, **kw), x):
        assert got.dtype == dtype
        assert all(near(got[i], sum(vs) / len(vs), dtype) for i, vs in slices(x, axis, keepdims, got.shape))
    for name, reference in (("var", variance), ("std", lambda vs: math.sqrt(variance(vs)))):
        for got in results(lambda x, name=name: getattr(fnp, name)(x, correction=correction, **kw), x):
            assert got.dtype == dtype
            for i, vs in slices(x, axis, keepdims, got.shape):
                assert len(vs) <= correction or abs(got[i] - reference(vs)) <= (
                    2e-3 if dtype == "float32" else 1e-6 * (1 + abs(reference(vs)))
                )


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
def test_of_nothing_and_of_nan(dtype):
    """The standard's special cases of reductions."""
    empty, x = np.zeros((0, 2), dtype), np.array([[1, np.nan, 3], [2, 5, 4]], dtype)
    for got in results(lambda x: fnp.sum(x, axis=0) + 2 * fnp.prod(x, axis=0), empty):
        assert got.tolist() == [2, 2]
    for got in results(lambda x: fnp.all(x, axis=0) & ~fnp.any(x, axis=0), empty):
        assert got.all()
    for got in results(lambda x: fnp.mean(x, axis=0), empty):
        assert np.isnan(got).all() and got.dtype == dtype
    reductions = ("sum", "prod", "mean") + (() if dtype in COMPLEX else ("max", "min", "std", "var"))
    for name in reductions:
        for got in results(lambda x, name=name: getattr(fnp, name)(x, axis=1), x):
            assert np.isnan(got).tolist() == [True, False]
    for got in results(lambda x: fnp.std(x[:1, :1], correction=1), x):
        assert np.isnan(got.real)  # N - correction <= 0
    for got in results(lambda x: fnp.any(x * np.nan) & fnp.all(x * np.nan), x):
        assert got


@few
@given(st.sampled_from(INTEGERS + FLOATS + COMPLEX), nonempty, st.booleans(), st.data())
def test_cumulative_and_differences(dtype, shape, initial, data):
    x, axis = filled(data, dtype, shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    a = axis % len(shape)
    for name, reference in (("cumulative_sum", sum), ("cumulative_prod", math.prod)):
        for got in results(lambda x, name=name: getattr(fnp, name)(x, axis=axis, include_initial=initial), x):
            out = summed(dtype)
            assert got.dtype == out and got.shape == replaced(shape, {a: shape[a] + initial})
            for i in np.ndindex(*got.shape):
                n = i[a] + (not initial)
                assert near(got[i], reference([x[replaced(i, {a: k})].item() for k in range(n)]), out)
    n = data.draw(st.integers(0, 2))
    before, after = (
        filled(data, dtype, replaced(shape, {a: data.draw(st.integers(0, 2))})) for _ in range(2)
    )
    for got in results(lambda x, p, q: fnp.diff(x, axis=axis, n=n, prepend=p, append=q), x, before, after):
        whole = [np.moveaxis(v, a, 0) for v in (before, x, after)]
        rows = [r for v in whole for r in v]
        if n == 0:
            assert got.dtype == dtype and (got == x).all()  # NumPy joins nothing for n = 0
            continue
        for _ in range(n):
            rows = [q - p for p, q in itertools.pairwise(rows)]
        assert got.dtype == dtype and got.shape == replaced(shape, {a: len(rows)})
        assert all(np.array_equal(g, r) for g, r in zip(np.moveaxis(got, a, 0), rows, strict=True))


# ----- searching, sorting, sets ---------------------------------------------------------------------------


@few
@given(st.sampled_from(INTEGERS + FLOATS), nonempty, st.booleans(), st.booleans(), st.data())
def test_sorts(dtype, shape, descending, stable, data):
    x, axis = filled(data, dtype, shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    kw = {"axis": axis, "descending": descending, "stable": stable}
    lines = np.moveaxis(x, axis, -1).reshape(-1, shape[axis])
    for got in results(lambda x: fnp.sort(x, **kw), x):
        assert got.dtype == dtype and got.shape == shape
        for line, g in zip(lines, np.moveaxis(got, axis, -1).reshape(lines.shape), strict=True):
            assert g.tolist() == sorted(line.tolist(), reverse=descending)
    for got in results(lambda x: fnp.argsort(x, **kw), x):
        assert got.dtype == "int64" and got.shape == shape
        for line, g in zip(lines, np.moveaxis(got, axis, -1).reshape(lines.shape), strict=True):
            if stable:
                assert g.tolist() == sorted(
                    range(len(line)), key=line.tolist().__getitem__, reverse=descending
                )
            assert line[g].tolist() == sorted(line.tolist(), reverse=descending) and len(
                set(g.tolist())
            ) == len(line)


@few
@given(
    st.sampled_from(INTEGERS + FLOATS),
    st.integers(0, 6),
    shapes,
    st.sampled_from(["left", "right"]),
    st.data(),
)
def test_searchsorted(dtype, n, shape, side, data):
    x, v = filled(data, dtype, (n,)), filled(data, dtype, shape)
    order = np.argsort(x)
    for f, args in (
        (lambda x, v: fnp.searchsorted(x, v, side=side), (x[order], v)),
        (lambda x, v, o: fnp.searchsorted(x, v, side=side, sorter=o), (x, v, order)),
    ):
        for got in results(f, *args):
            assert got.dtype == "int64" and got.shape == shape
            for i in np.ndindex(*shape):
                assert got[i] == sum(u < v[i] or (side == "right" and u == v[i]) for u in x)


@few
@given(dtypes, shapes, st.data())
def test_where_and_nonzero(dtype, shape, data):
    same = st.sampled_from([d for d in ALL if promoted(dtype, d)])
    c, x, y = drawn(data, ["bool", dtype, data.draw(same)])
    shape = np.broadcast_shapes(c.shape, x.shape, y.shape)
    for got in results(lambda c, x, y: fnp.where(c, x, y), c, x, y):
        assert got.dtype == promoted(dtype, y.dtype.name) and got.shape == shape
        cs, xs, ys = (np.broadcast_to(v, shape) for v in (c, x, y))
        assert all(got[i] == (xs if cs[i] else ys)[i] for i in np.ndindex(*shape))
    number = {"b": True, "i": 1, "u": 1, "f": 1.5, "c": 1 + 1j}[np.dtype(dtype).kind]
    for got in results(lambda c, x: fnp.where(c, x, number), c, x):
        assert got.dtype == dtype
    for got in results(lambda c, x: fnp.where(c, number, x), c, x):
        assert got.dtype == dtype
    if x.ndim:
        where = fnp.nonzero(x)
        want = [i for i in np.ndindex(*x.shape) if x[i] != 0]
        assert len(where) == x.ndim and list(zip(*[w.tolist() for w in where], strict=True)) == want
        assert all(w.dtype == "int64" for w in where)
        traced = jit(lambda x: fnp.nonzero(x, size=len(want)))(x)
        assert [w.tolist() for w in traced] == [w.tolist() for w in where]


@few
@given(dtypes, nonempty, st.data())
def test_unique(dtype, shape, data):
    x = filled(data, dtype, shape)
    flat = x.ravel().tolist()
    n = len(set(flat))
    for run in (lambda f, x: f(x), lambda f, x: jit(lambda x: tuple(f(x, size=n)))(x)):
        values, indices, inverse, counts = run(fnp.unique_all, x)
        assert values.dtype == dtype and indices.dtype == inverse.dtype == counts.dtype == "int64"
        assert len(values) == len(indices) == len(counts) == n and inverse.shape == shape
        assert sorted(set(flat), key=str) == sorted(values.tolist(), key=str)
        assert indices.tolist() == [flat.index(v) for v in values.tolist()]
        assert (values[inverse] == x).all() and counts.tolist() == [flat.count(v) for v in values.tolist()]
        v, c = run(fnp.unique_counts, x)
        assert dict(zip(v.tolist(), c.tolist(), strict=True)) == {u: flat.count(u) for u in flat}
        v, i = run(fnp.unique_inverse, x)
        assert (v[i] == x).all() and i.shape == shape and len(v) == n
    assert set(fnp.unique_values(x).tolist()) == set(flat) and len(fnp.unique_values(x)) == n
    assert fnp.unique_all(x)._fields == ("values", "indices", "inverse_indices", "counts")
    assert fnp.unique_counts(x)._fields == ("values", "counts")
    assert fnp.unique_inverse(x)._fields == ("values", "inverse_indices")


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
def test_unique_keeps_nans_apart_and_zeros_together(dtype):
    x = np.array([np.nan, 0.0, -0.0, np.nan, 1.0], dtype)
    for run in (lambda f: f(x), lambda f: jit(lambda x: tuple(f(x, size=4)))(x)):
        values, counts = run(fnp.unique_counts)
        assert np.isnan(values).sum() == 2 and sorted(counts.tolist()) == [1, 1, 1, 2]
