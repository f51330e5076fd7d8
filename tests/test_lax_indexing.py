"""lax.gather, the scatter family, dynamic slices and segment sums, against their definition in loops."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans import errors, lax

SETTINGS = settings(max_examples=120, deadline=None, derandomize=True,
                    suppress_health_check=list(HealthCheck))


# ----- the definition: one window after the other -----------------------------------------------------


def windows(shape, indices, index_map, batching, index_batching, sizes, mode):
    """For each place of the indices: the slices of its window, or None where it is left out."""
    for place in itertools.product(*[range(n) for n in indices.shape[:-1]]):
        start = [0] * len(shape)
        for d, i in zip(index_map, indices[place], strict=True):
            start[d] = int(i)
        inside = all(0 <= start[d] <= shape[d] - sizes[d] for d in index_map)
        if mode == "clip":
            for d in index_map:
                start[d] = min(max(start[d], 0), shape[d] - sizes[d])
        for d, b in zip(batching, index_batching, strict=True):
            start[d] = place[b]
        yield place, tuple([slice(a, a + n) for a, n in zip(start, sizes, strict=True)]) if (
            inside or mode == "clip") else None


def axes_of(window_dims, rank, place, window):
    """An index into the result: ``place`` in its own axes, all of the windows' axes."""
    place = iter(place)
    return tuple([slice(None) if d in window_dims else next(place) for d in range(rank)])


def gather_by_loops(x, indices, n, sizes, mode, fill):
    kept = [d for d in range(x.ndim) if d not in n.collapsed_slice_dims and d not in n.operand_batching_dims]
    rank = len(kept) + indices.ndim - 1
    lead, window = iter(indices.shape[:-1]), iter([sizes[d] for d in kept])
    out = np.full([next(window) if d in n.offset_dims else next(lead) for d in range(rank)], fill, x.dtype)
    for place, at in windows(x.shape, indices, n.start_index_map, n.operand_batching_dims,
                             n.start_indices_batching_dims, sizes, mode):
        if at is not None:
            out[axes_of(n.offset_dims, rank, place, kept)] = x[at].reshape([sizes[d] for d in kept])
    return out


def scatter_by_loops(combine, x, indices, updates, n, mode):
    out = x.copy()
    kept = [d for d in range(x.ndim) if d not in n.inserted_window_dims and d not in n.operand_batching_dims]
    sizes = [1] * x.ndim
    for d, k in zip(kept, n.update_window_dims, strict=True):
        sizes[d] = updates.shape[k]
    for place, at in windows(x.shape, indices, n.scatter_dims_to_operand_dims, n.operand_batching_dims,
                             n.scatter_indices_batching_dims, sizes, mode):
        if at is not None:
            u = updates[axes_of(n.update_window_dims, updates.ndim, place, kept)]
            out[at] = combine(out[at], u.reshape(out[at].shape))
    return out


@st.composite
def cases(draw):
    """An operand, indices, dimension numbers of a gather, and the sizes of the windows."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    roles = [draw(st.sampled_from(["batch", "point", "window", "index", "kept", "kept"])) for _ in shape]
    batching = [d for d, r in enumerate(roles) if r == "batch"]
    index_map = draw(st.permutations([d for d, r in enumerate(roles) if r in ("point", "window", "index")]))
    sizes = [1 if r in ("batch", "point", "index") else draw(st.integers(1, n)) if draw(st.booleans()) else n
             for r, n in zip(roles, shape, strict=True)]
    collapsed = [d for d, r in enumerate(roles) if r == "point" or (r == "kept" and sizes[d] == 1 and draw(
        st.booleans()))]
    lead = draw(st.permutations([("batch", d) for d in batching] + [
        ("own", draw(st.integers(1, 3))) for _ in range(draw(st.integers(0, 2)))]))
    index_batching = [lead.index(("batch", d)) for d in batching]
    lead_shape = [shape[n] if kind == "batch" else n for kind, n in lead]
    window_axes = len(shape) - len(batching) - len(collapsed)
    rank = len(lead) + window_axes
    offset = sorted(draw(st.permutations(range(rank)))[:window_axes])
    dtype = draw(st.sampled_from([np.int64, np.int32, np.int8]))
    seed = draw(st.integers(0, 999))
    indices = np.random.default_rng(seed).integers(-1, 5, (*lead_shape, len(index_map))).astype(dtype)
    x = np.random.default_rng(seed + 1).normal(size=shape)
    numbers = tuple(map(tuple, (offset, collapsed, index_map, batching, index_batching)))
    return x, indices, numbers, tuple(sizes), draw(st.sampled_from(["clip", "fill"]))


@SETTINGS
@given(cases())
def test_gather_equals_its_definition(case):
    x, indices, numbers, sizes, mode = case
    n = lax.GatherDimensionNumbers(*numbers)

    def f(x, indices):
        return lax.gather(x, indices, n, sizes, mode=mode, fill_value=7.0)
    want = gather_by_loops(x, indices, n, sizes, mode, 7.0)
    np.testing.assert_array_equal(f(x, indices), want)
    np.testing.assert_array_equal(ft.jit(f)(x, indices), want)
    ct = np.cos(np.arange(want.size)).reshape(want.shape)
    (pulled,) = ft.vjp(lambda x: f(x, indices), x)[1](ct)
    at = gather_by_loops(np.arange(x.size).reshape(x.shape), indices, n, sizes, mode, -1)
    back = np.zeros(x.size + 1)
    np.add.at(back, at.ravel(), ct.ravel())
    np.testing.assert_allclose(pulled, back[:-1].reshape(x.shape), atol=1e-14)
    xs, many = np.stack([x, -x]), np.stack([indices, indices[::-1]])
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(0, None))(xs, indices),
                                  np.stack([f(x, indices), f(-x, indices)]))
    np.testing.assert_array_equal(ft.vmap(f)(xs, many),
                                  np.stack([f(a, i) for a, i in zip(xs, many, strict=True)]))
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(None, 0))(x, many), np.stack([f(x, i) for i in many]))


KINDS = {"scatter": lambda a, b: b, "scatter_add": np.add, "scatter_sub": np.subtract,
         "scatter_mul": np.multiply, "scatter_min": np.minimum, "scatter_max": np.maximum}


@SETTINGS
@given(cases(), st.sampled_from(sorted(KINDS)))
def test_scatter_equals_its_definition(case, kind):
    x, indices, numbers, sizes, mode = case
    n = lax.ScatterDimensionNumbers(*numbers)
    kept = [d for d in range(x.ndim) if d not in n.inserted_window_dims and d not in n.operand_batching_dims]
    window, lead = iter([sizes[d] for d in kept]), iter(indices.shape[:-1])
    u_shape = [next(window) if d in n.update_window_dims else next(lead)
               for d in range(len(kept) + indices.ndim - 1)]
    updates = np.random.default_rng(5).normal(size=u_shape)

    def f(x, indices, updates):
        return getattr(lax, kind)(x, indices, updates, n, mode=mode)
    want = scatter_by_loops(KINDS[kind], x, indices, updates, n, mode)
    np.testing.assert_allclose(f(x, indices, updates), want, rtol=1e-14)
    np.testing.assert_allclose(ft.jit(f)(x, indices, updates), want, rtol=1e-14)
    w = np.cos(np.arange(x.size)).reshape(x.shape)
    gx, gu = ft.grad(lambda x, u: np.sum(f(x, indices, u) * w), (0, 1))(x, updates)
    dx, du = [np.sin(np.arange(v.size) * 7.0).reshape(v.shape) for v in (x, updates)]
    eps = 1e-6
    up, down = [np.sum(w * scatter_by_loops(KINDS[kind], x + e * dx, indices, updates + e * du, n, mode))
                for e in (eps, -eps)]
    slope = (up - down) / (2 * eps)
    np.testing.assert_allclose(np.sum(gx * dx) + np.sum(gu * du), slope, rtol=1e-5, atol=1e-6)
    many = np.stack([indices, indices[::-1]])
    for axes in ((0, None, 0), (None, 0, None), (0, 0, 0)):
        args = [np.stack([v, v * 2]) if a == 0 and k != 1 else v if a is None else many
                for k, (v, a) in enumerate(zip((x, indices, updates), axes, strict=True))]
        each = [f(*[v[j] if a == 0 else v for v, a in zip(args, axes, strict=True)]) for j in range(2)]
        np.testing.assert_allclose(ft.vmap(f, in_axes=axes)(*args), np.stack(each), rtol=1e-14)


# ----- particular cases ---------------------------------------------------------------------------------

ROWS = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
AT = lax.ScatterDimensionNumbers((), (0,), (0,))


def test_fill_values():
    i = np.array([[0], [9]])
    for dtype, want in ((np.float32, np.nan), (np.int32, -2**31), (np.uint8, 255), (bool, False),
                        (np.complex64, np.nan)):
        got = lax.gather(np.ones((3, 2), dtype), i, ROWS, (1, 2))
        np.testing.assert_array_equal(got, np.array([[1, 1], [want, want]], dtype))
    got = lax.gather(np.ones((3, 2), int), i, ROWS, (1, 2), fill_value=-7)
    np.testing.assert_array_equal(got[1], [-7, -7])
    got = lax.gather(np.arange(6.0).reshape(3, 2), i, ROWS, (1, 2), mode=lax.GatherScatterMode.CLIP)
    np.testing.assert_array_equal(got, [[0, 1], [4, 5]])


def test_ties_share_the_gradient():
    """The gradient of an extremum that several reach is shared equally, the operand's element included."""
    i = np.array([[0], [0], [1]])

    def f(x, u):
        return np.sum(lax.scatter_max(x, i, u, AT) * np.array([6.0, 1.0]))
    gx, gu = ft.grad(f, (0, 1))(np.array([2.0, 0.0]), np.array([2.0, 2.0, -1.0]))
    np.testing.assert_allclose(gx, [2, 1])
    np.testing.assert_allclose(gu, [2, 2, 0])


def test_products_with_zeros_have_a_gradient():
    """d/du of x u0 u1 is the product of the others, also where some are 0."""
    i = np.array([[0], [0]])
    g = ft.grad(lambda u: lax.scatter_mul(np.array([3.0]), i, u, AT)[0])
    np.testing.assert_allclose(g(np.array([0.0, 5.0])), [15, 0])
    np.testing.assert_allclose(g(np.array([0.0, 0.0])), [0, 0])


def test_scatter_apply_counts():
    x, i = np.array([1.0, 2.0, 3.0]), np.array([[1], [2], [1], [9]])

    def f(x, **how):
        return lax.scatter_apply(x, i, lambda v: v * v, AT, update_shape=(4,), **how)
    np.testing.assert_array_equal(f(x), [1, 16, 9])
    np.testing.assert_array_equal(ft.jit(f)(x), [1, 16, 9])
    np.testing.assert_array_equal(f(x, unique_indices=True), [1, 4, 9])
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(f(x)))(x), [1, 32, 6])


def test_index_take():
    x = np.arange(24.0).reshape(2, 3, 4)
    i, j = np.array([0, -1, 4]), np.array([1, 1, -2])
    want = x[:, i % 3, j % 4].T
    np.testing.assert_array_equal(lax.index_take(x, [i, j], (1, 2)), want)
    np.testing.assert_array_equal(ft.jit(lambda x, i: lax.index_take(x, [i, j], (1, 2)))(x, i), want)


def test_dynamic_slices():
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(lax.dynamic_slice(x, (-1, 0), (1, 2)), [[8, 9]])
    np.testing.assert_array_equal(
        lax.dynamic_slice(x, (-1, 0), (1, 2), allow_negative_indices=False), [[0, 1]])
    np.testing.assert_array_equal(
        lax.dynamic_slice(x, (-1, -1), (1, 2), allow_negative_indices=(True, False)), [[8, 9]])
    f = ft.jit(lambda x, i: lax.dynamic_update_slice_in_dim(x, np.zeros((1, 4)), i, 0))
    np.testing.assert_array_equal(f(x, np.uint8(1))[1], np.zeros(4))
    f = ft.jit(lambda x, i: lax.dynamic_index_in_dim(x, i, 1, keepdims=False))
    np.testing.assert_array_equal(f(x, 2), x[:, 2])
    got = ft.jit(lambda x, i: lax.dynamic_update_index_in_dim(x, np.zeros(3), i, 1))(x, -1)
    np.testing.assert_array_equal(got[:, 3], np.zeros(3))


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda x, i: lax.gather(x, i * 1.0, ROWS, (1, 2)), TypeError, "indices must be integers"),
    (lambda x, i: lax.gather(x, i, ROWS, (1, 3)), ValueError, "must not exceed"),
    (lambda x, i: lax.gather(x, i, ROWS, (1,)), ValueError, "a size for each axis"),
    (lambda x, i: lax.gather(x, i, ROWS, (2, 2)), ValueError, "must be 1"),
    (lambda x, i: lax.gather(x, i, ROWS._replace(start_index_map=(0, 1)), (1, 2)), ValueError,
     "one number for"),
    (lambda x, i: lax.gather(x, i, ROWS._replace(offset_dims=(1, 0)), (1, 2)), ValueError,
     "increasing order"),
    (lambda x, i: lax.gather(x, i, ROWS._replace(offset_dims=()), (1, 2)), ValueError, "window axes"),
    (lambda x, i: lax.gather(x, i, ROWS._replace(collapsed_slice_dims=(7,)), (1, 2)), ValueError,
     "must be in 0"),
    (lambda x, i: lax.gather(x, i, ROWS, (1, 2), mode="no"), ValueError, "mode must be one of"),
    (lambda x, i: lax.scatter(x[:, 0], i, np.ones(3), AT), ValueError, "axes of the indices"),
    (lambda x, i: lax.scatter(x[:, 0], i, np.ones(2, np.float32), AT), TypeError, "one dtype"),
    (lambda x, i: lax.scatter_add(x, i, np.ones(2), AT), ValueError, "for each of the axes"),
    (lambda x, i: lax.dynamic_slice(x, (0,), (1, 1)), ValueError, "1 start indices"),
    (lambda x, i: lax.dynamic_slice(x, (0.5, 0), (1, 1)), TypeError, "integer scalars"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        ft.jit(call)(np.ones((3, 2)), np.array([[0], [1]]))


# ----- segments -----------------------------------------------------------------------------------------

SEGMENTS = {"sum": (np.add, 0.0), "prod": (np.multiply, 1.0), "max": (np.maximum, -np.inf),
            "min": (np.minimum, np.inf)}


@pytest.mark.parametrize("kind", sorted(SEGMENTS))
def test_segments(kind):
    rng = np.random.default_rng(0)
    data, ids = rng.normal(size=(40, 3)), rng.integers(-1, 8, 40)
    ufunc, start = SEGMENTS[kind]
    want = np.full((6, 3), start)
    inside = (ids >= 0) & (ids < 6)
    ufunc.at(want, ids[inside], data[inside])
    f = getattr(ft, f"segment_{kind}")
    np.testing.assert_allclose(f(data, ids, 6), want, rtol=1e-13)
    np.testing.assert_allclose(f(data, ids, 6, bucket_size=7), want, rtol=1e-13)
    for dtype in (np.int32, np.uint8):
        own = np.clip(ids, 0, None).astype(dtype)
        np.testing.assert_allclose(ft.jit(lambda d, i: f(d, i, 8))(data, own),
                                   f(data, np.clip(ids, 0, None), 8))
    many = rng.integers(0, 6, (2, 40))
    np.testing.assert_allclose(ft.vmap(lambda d, i: f(d, i, 6), in_axes=(None, 0))(data, many),
                               np.stack([f(data, i, 6) for i in many]))
    w = rng.normal(size=(6, 3))

    def loss(d):
        out = f(d, ids, 6)
        return np.sum(np.where(np.isfinite(out), out, 0) * w)
    g, t = ft.grad(loss)(data), rng.normal(size=data.shape)
    slope = (loss(data + 1e-6 * t) - loss(data - 1e-6 * t)) / 2e-6
    np.testing.assert_allclose(np.sum(g * t), slope, rtol=1e-6)


def test_segments_of_other_dtypes():
    ids = np.array([0, 2, 0])
    assert lax.segment_max(np.array([1, 2, 3], np.int8), ids, 3).tolist() == [3, -128, 2]
    assert lax.segment_min(np.array([1, 2, 3], np.uint8), ids, 3).tolist() == [1, 255, 2]
    assert lax.segment_sum(np.array([True, False, True]), ids, 3).tolist() == [True, False, False]
    np.testing.assert_allclose(lax.segment_sum(np.array([1j, 2, 3]), ids), [3 + 1j, 0, 2])
    np.testing.assert_array_equal(lax.segment_sum(np.ones((2, 2, 3)), np.array([[0, 1], [1, 1]])),
                                  [[1] * 3, [3] * 3])
    np.testing.assert_array_equal(lax.segment_sum(np.ones(3), np.array([0, 9, -1]), 2, mode="clip"), [2, 1])


def test_segment_errors():
    x = np.ones(3)
    with pytest.raises(errors.ConcretizationError, match="num_segments="):
        ft.jit(lambda x, i: ft.segment_sum(x, i))(x, np.array([0, 1, 0]))
    with pytest.raises(errors.ShapeError, match="leading axes"):
        ft.segment_sum(x, np.array([0, 1]))
    with pytest.raises(errors.DtypeError, match="must be integers"):
        ft.segment_sum(x, x)
    with pytest.raises(errors.DtypeError, match="no order"):
        ft.segment_max(x * 1j, np.array([0, 1, 0]))
