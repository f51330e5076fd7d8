"""Structural, contracting, reducing and indexing ops on random shapes, dtypes and parameters."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import Case
from util import (
    TYPES,
    assert_adjoint,
    assert_close,
    assert_same,
    assert_tree_equal,
    difference,
    direction,
    loop_vmap,
    moved,
    rng_of,
    show,
)

from functrans import grad, jit, jvp, vjp, vmap
from functrans.ir.op import OPS

extents = st.integers(0, 4)
shapes = st.lists(extents, max_size=4).map(tuple)
solid = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)      # without empty axes
numbers = st.sampled_from(["f64", "f64", "f64", "f32", "i64", "i16", "u8"])
anything = st.sampled_from(["f64", "f64", "f64", "f32", "i64", "i8", "u32", "b1"])
CASES = {}


def case_of(f):
    """Registers a strategy for cases: the body gets ``draw`` and returns (op, operands, params)."""
    @st.composite
    def cases(draw):
        name, operands, params = f(draw)
        return Case(OPS[name], operands, params)
    CASES[f.__name__] = cases()
    return f


def text(draw, shape, dtypes=anything):
    return show(shape, TYPES[draw(dtypes)])


@case_of
def reshape(draw):
    shape = draw(shapes)
    pieces = [p for n in shape for p in ((2, 2) if n == 4 else (n,))]
    pieces = draw(st.permutations([*pieces, *[1] * draw(st.integers(0, 2))]))
    return "reshape", [text(draw, shape)], {"shape": tuple(pieces)}


@case_of
def transpose(draw):
    shape = draw(shapes)
    return "transpose", [text(draw, shape)], {"perm": tuple(draw(st.permutations(range(len(shape)))))}


@case_of
def broadcast_in_dim(draw):
    shape = draw(shapes)
    dims = tuple(sorted(draw(st.sets(st.sampled_from(range(len(shape))))))) if shape else ()
    given = tuple(draw(st.sampled_from([1, shape[d]])) for d in dims)
    return "broadcast_in_dim", [text(draw, given)], {"shape": shape, "dims": dims}


@case_of
def rev(draw):
    shape = draw(shapes)
    axes = tuple(sorted(draw(st.sets(st.sampled_from(range(len(shape))))))) if shape else ()
    return "rev", [text(draw, shape)], {"axes": axes}


@case_of
def slices(draw):
    shape = draw(shapes)
    start = tuple(draw(st.integers(0, n)) for n in shape)
    limit = tuple(draw(st.integers(a, n)) for a, n in zip(start, shape, strict=True))
    stride = tuple(draw(st.integers(1, 3)) for _ in shape)
    return "slice", [text(draw, shape)], {"start": start, "limit": limit, "stride": stride}


@case_of
def pad(draw):
    shape = draw(shapes)
    interior = tuple(draw(st.integers(0, 2)) for _ in shape)
    low, high = [], []
    for n, i in zip(shape, interior, strict=True):
        wide = n + (n - 1) * i if n else 0
        low.append(draw(st.integers(-wide - 2, 3)))
        least = -(wide + low[-1])                     # beyond, the result would have a negative extent
        high.append(draw(st.integers(least, max(least, 0) + 3)))
    x = text(draw, shape)
    return "pad", [x, show((), TYPES[x.split("[")[0]])], {"low": tuple(low), "high": tuple(high),
                                                        "interior": interior}


@case_of
def concatenate(draw):
    shape = draw(st.lists(extents, min_size=1, max_size=3))
    axis, code = draw(st.integers(0, len(shape) - 1)), draw(anything)
    pieces = [(*shape[:axis], draw(extents), *shape[axis + 1:]) for _ in range(draw(st.integers(1, 3)))]
    return "concatenate", [show(p, TYPES[code]) for p in pieces], {"axis": axis}


@case_of
def dynamic_slice(draw):
    shape = draw(shapes)
    sizes = tuple(draw(st.integers(0, n)) for n in shape)
    starts = [np.int64(draw(st.integers(-3, 6))) for _ in shape]
    return "dynamic_slice", [text(draw, shape), *starts], {"sizes": sizes}


@case_of
def dynamic_update_slice(draw):
    shape, code = draw(shapes), draw(anything)
    sizes = tuple(draw(st.integers(0, n)) for n in shape)
    starts = [np.int64(draw(st.integers(-3, 6))) for _ in shape]
    return "dynamic_update_slice", [show(shape, TYPES[code]), show(sizes, TYPES[code]), *starts], {}


@case_of
def reductions(draw):
    name = draw(st.sampled_from(["sum", "prod", "max", "min"]))
    shape = draw(shapes if name in ("sum", "prod") else solid)
    axes = tuple(sorted(draw(st.sets(st.sampled_from(range(len(shape))))))) if shape else ()
    return f"reduce_{name}", [text(draw, shape, numbers)], {"axes": axes}


@case_of
def positions(draw):
    shape = draw(solid)
    return draw(st.sampled_from(["argmax", "argmin"])), [text(draw, shape)], {
        "axis": draw(st.integers(0, len(shape) - 1))}


@case_of
def cumulative(draw):
    name = draw(st.sampled_from(["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"]))
    shape = draw(st.lists(extents, min_size=1, max_size=3).map(tuple))
    dtypes = st.sampled_from(["f64", "f32"]) if name == "cumlogsumexp" else numbers
    return name, [text(draw, shape, dtypes)], {"axis": draw(st.integers(0, len(shape) - 1)),
                                              "reverse": draw(st.booleans())}


@case_of
def dot_general(draw):
    kinds = [draw(st.integers(0, 2)) for _ in range(4)]       # batch, contracted, free axes
    code = draw(numbers)
    batch = draw(st.lists(st.integers(0, 3), max_size=min(kinds[0], 2)))
    contract = draw(st.lists(st.integers(0, 3), max_size=kinds[1]))
    sides = []
    for n_free in kinds[2:]:
        free = draw(st.lists(st.integers(0, 3), min_size=n_free, max_size=n_free))
        axes = [("b", i) for i in range(len(batch))] + [("c", i) for i in range(len(contract))]
        axes += [("f", i) for i in range(n_free)]
        axes = draw(st.permutations(axes))
        extent = {"b": batch, "c": contract, "f": free}
        sides.append((tuple(extent[k][i] for k, i in axes),
                      [tuple(axes.index((kind, i)) for i in range(len(extent[kind]))) for kind in "cb"]))
    (a, (ca, ba)), (b, (cb, bb)) = sides
    return "dot_general", [show(a, TYPES[code]), show(b, TYPES[code])], {"contract": (ca, cb),
                                                                       "batch": (ba, bb)}


def _indices(draw, k):
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    n = int(np.prod(shape))
    return tuple(shape), [np.array(draw(st.lists(st.integers(-3, 6), min_size=n, max_size=n)),
                                   np.int64).reshape(shape) for _ in range(k)]


@case_of
def gather(draw):
    shape = draw(solid)
    _, indices = _indices(draw, draw(st.integers(1, len(shape))))
    return "gather", [text(draw, shape), *indices], {"mode": draw(st.sampled_from(["clip", "fill", "wrap"]))}


@case_of
def scatter(draw):
    shape, code = draw(solid), draw(numbers)
    k = draw(st.integers(1, len(shape)))
    where, indices = _indices(draw, k)
    name = draw(st.sampled_from(["set", "add", "mul", "min", "max"]))
    return f"scatter_{name}", [show(shape, TYPES[code]), show((*where, *shape[k:]), TYPES[code]), *indices], {
        "mode": draw(st.sampled_from(["drop", "clip"]))}


every_op = st.sampled_from(sorted(CASES)).flatmap(CASES.__getitem__)
common = settings(max_examples=400, deadline=None, derandomize=True)


@common
@given(every_op)
def test_forward(case):
    xs = case.values()
    want = case.reference(*xs)
    got = case(*xs)
    assert_same(got, want)
    assert_tree_equal(jit(case)(*xs), got)


@common
@given(every_op)
def test_derivatives(case):
    xs, which = case.values(), case.diff()
    if not which or np.asarray(case.reference(*xs)).dtype.kind != "f":
        return
    rng = rng_of(repr(case), "random")
    at = tuple(np.asarray(xs[i]) for i in which)
    ts = tuple(direction(x, rng) for x in at)
    f, wide = case.at(which, xs), case.wide()
    want = difference(moved(wide.at(which, xs, wide.reference), at, ts))
    want = np.where(np.isnan(case.reference(*xs)), 0.0, want)         # filled
    narrow = at[0].dtype == np.float32
    assert_close(jvp(f, at, ts)[1], want, 1e-3 if narrow else 1e-7)
    ct = direction(want.astype(at[0].dtype), rng)
    assert_adjoint(lambda *ts: jvp(f, at, ts)[1], vjp(f, *at)[1], ts, ct, 1e-3 if narrow else 1e-11)


@common
@given(every_op, st.data())
def test_vmap(case, data):
    axes = tuple(data.draw(st.sampled_from([None, *range(len(s) + 1)])) for s, _ in case.types())
    if all(a is None for a in axes):
        axes = (0,) * len(axes)
    rows = case.examples(3)
    xs = [np.asarray(rows[0][i]) if a is None else np.stack([np.asarray(r[i]) for r in rows], a)
          for i, a in enumerate(axes)]
    rank = np.asarray(case.reference(*rows[0])).ndim
    out_axis = data.draw(st.integers(0, rank))
    assert_same(vmap(case, axes, out_axis)(*xs), loop_vmap(case.reference, axes, out_axis)(*xs))
    which = case.diff()
    if not which or np.asarray(case.reference(*rows[0])).dtype.kind != "f":
        return

    def gradient(*xs):
        every = tuple(range(len(which)))
        return grad(lambda *ys: np.sum(np.cos(case.at(which, xs)(*ys))), every)(*[xs[i] for i in which])

    got = vmap(gradient, axes)(*xs)
    tol = 1e-4 if rows[0][which[0]].dtype == np.float32 else 1e-11
    for j in range(len(which)):
        want = loop_vmap(lambda *xs, j=j: gradient(*xs)[j], axes)(*xs)
        assert_close(got[j], want, tol)
