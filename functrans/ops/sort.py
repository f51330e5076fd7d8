"""Order: sorted values, the positions that sort, parted rows, the k greatest, and places in sorted arrays.

NumPy's order: nan comes last, -0 and 0 are equal, and equal elements keep their order.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..ir.op import CODE, OPS, ORDERED, ErrorSample, Hooks, Op, Sample, aval_of, batch_first, flat, move_axis
from .index import gather, reach

_INT64 = np.dtype("int64")
_KEYED = ("i32", "i64", "u32", "u64", "f32", "f64")      # what has kernels; the rest is widened
_LONGEST = 1 << 32                                       # of positions while they are sorted


def _checked(name, x, axis):
    if not 0 <= axis < x.ndim:
        raise ValueError(f"{name}: axis {axis} is not an axis of {x}")
    if CODE.get(x.dtype) not in ORDERED:
        raise TypeError(f"{name} is not defined for {x}")
    if x.shape[axis] >= _LONGEST:
        raise ValueError(f"{name}: axis {axis} of {x} is longer than 2**32 elements")


def _widened(ctx, x):
    """The view in a dtype that has keys, with which the order is the same."""
    if CODE[x.dtype] in _KEYED:
        return x
    wide = ctx.new(x.shape, np.dtype("int32"))
    x = ctx.contiguous(x)
    n = int(np.prod(x.shape, dtype=np.int64))
    ctx.step(f"ew:convert:{CODE[x.dtype]}:i32", [wide, x], (n,), strides=[(4,), (x.dtype.itemsize,)])
    return wide


def _narrowed(ctx, x, dtype):
    """The view as it was before it was widened."""
    if dtype == x.dtype:
        return x
    narrow = ctx.new(x.shape, dtype)
    ctx.step(f"ew:convert:i32:{CODE[dtype]}", [narrow, x], (int(np.prod(x.shape, dtype=np.int64)),),
             strides=[(dtype.itemsize,), (4,)])
    return narrow


def _rows(ctx, x, axis):
    """x dense with ``axis`` last, and the shape [rows, n] of it."""
    perm = (*[i for i in range(len(x.shape)) if i != axis], axis)
    x = ctx.contiguous(_widened(ctx, x.transpose(perm)))
    n = x.shape[-1]
    return x, (int(np.prod(x.shape[:-1], dtype=np.int64)), n)


def _back(view, axis):
    """A view whose last axis stands at ``axis``."""
    rank = len(view.shape)
    return view.transpose((*range(axis), rank - 1, *range(axis, rank - 1)))


def _cost(shape):
    return 12.0 * shape[0] * shape[1]


def _dense(shape):
    return [(shape[1] * 8, 8)] * 3          # kernels of this room take dense rows: strides are not read


def _sort_lower(ctx, eqn, views):
    axis, dtype = eqn.params["axis"], views[0].dtype
    x, shape = _rows(ctx, views[0], axis)
    out, spare = ctx.new(x.shape, x.dtype), ctx.new(x.shape, x.dtype)
    ctx.step(f"sort:{CODE[x.dtype]}", [out, spare, x], shape, strides=_dense(shape), ints=(0,),
             cost=_cost(shape))
    return [_back(_narrowed(ctx, out, dtype), axis)]


def _argsort_lower(ctx, eqn, views):
    axis = eqn.params["axis"]
    x, shape = _rows(ctx, views[0], axis)
    return [_back(_positions(ctx, x, shape, eqn.params["descending"]), axis)]


def _positions(ctx, x, shape, descending):
    out, spare = ctx.new(x.shape, _INT64), ctx.new(x.shape, _INT64)
    ctx.step(f"argsort:{CODE[x.dtype]}", [out, spare, x], shape, strides=_dense(shape),
             ints=(int(descending),), cost=_cost(shape))
    return out


def _moved(name):
    def batch(size, operands, dims, *, axis, **params):
        (d,) = dims
        return [Hooks.bind(OPS[name], tuple(operands), {"axis": axis + (axis >= d), **params})], [d]
    return batch


def take_along(x, positions, axis):
    """The elements of x at ``positions`` along an axis; all else agrees in shape."""
    last = aval_of(positions).ndim - 1
    found = gather(move_axis(x, axis, last), move_axis(positions, axis, last), **reach("clip", last))
    return move_axis(found, last, axis)


def _sort_jvp(primals, tangents, *, axis):
    (x,), (t,) = primals, tangents
    if isinstance(t, Hooks.zero):
        return [sort(x, axis=axis)], [Hooks.zero(aval_of(x))]
    order = argsort(x, axis=axis, descending=False)
    return [sort(x, axis=axis)], [take_along(t, order, axis)]


def _sort_infer(x, *, axis):
    _checked("sort", x, axis)
    return x.shape, x.dtype


def _argsort_infer(x, *, axis, descending):
    _checked("argsort", x, axis)
    return x.shape, _INT64


def _argsort_reference(x, *, axis, descending):
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    n = x.shape[axis]                   # backwards twice: equal elements keep their order
    return np.flip(n - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)


def _compared(sig):
    """What comparing takes: the logarithm of the length, an element."""
    (x,) = sig.in_avals
    return x.size * max(x.shape[sig.params["axis"]] - 1, 0).bit_length(), 0


_SAMPLES = [({"axis": 0}, "f64[5]"), ({"axis": 1}, "f32[2,5]"),
            ({"axis": 0}, "f64[4,3]"), ({"axis": 1}, "f64[2,0]")]
_TIED = np.array([2, 0, 1, 0, 2, 1, 1])

sort = Op("sort", "sort", dtypes=ORDERED, infer=_sort_infer, jvp=_sort_jvp, transpose=None,
          batch=_moved("sort"), work=_compared,
          lower=_sort_lower, reference=lambda x, *, axis: np.sort(x, axis=axis, kind="stable"),
          samples=[*[Sample(o, **p) for p, o in _SAMPLES], Sample(_TIED, axis=0)],
          errors=[ErrorSample("f64[3]", axis=1, match="not an axis")])
argsort = flat("argsort", family="sort", dtypes=ORDERED, infer=_argsort_infer, batch=_moved("argsort"),
               lower=_argsort_lower, work=_compared, reference=_argsort_reference,
               samples=[*[Sample(o, descending=False, **p) for p, o in _SAMPLES],
                        Sample(_TIED, axis=0, descending=False), Sample(_TIED, axis=0, descending=True),
                        Sample("f64[80]", axis=0, descending=True, diff=())],
               errors=[ErrorSample("f64[3]", axis=1, descending=False, match="not an axis")])


# ----- selection: what a sorted row would have at a few places -------------------------------------------


def _argselect_infer(x, places):
    if not x.ndim or CODE.get(x.dtype) not in ORDERED:
        raise TypeError(f"argselect is not defined for {x}")
    if places.ndim < 1 or (places.ndim > 1 and places.shape[:-1] != x.shape[:-1]):
        raise ValueError(f"argselect: the leading axes of {x} and of the places {places} must agree")
    if places.dtype != _INT64:
        raise TypeError(f"argselect: places must be int64, got {places}")
    if not x.shape[-1] < _LONGEST or (not x.shape[-1] and places.size):
        raise ValueError(f"argselect: the rows of {x} must have 1 to 2**32 elements")
    return (*x.shape[:-1], places.shape[-1]), _INT64


def _argselect_lower(ctx, eqn, views):
    x, shape = _rows(ctx, views[0], len(views[0].shape) - 1)
    places = ctx.contiguous(views[1])
    out = ctx.new((*x.shape[:-1], places.shape[-1]), _INT64)
    ctx.step(f"argselect:{CODE[x.dtype]}", [out, x, places], shape, strides=_dense(shape),
             ints=(places.shape[-1], int(len(places.shape) > 1)), cost=3.0 * shape[0] * shape[1])
    return [out]


def _argselect_batch(size, operands, dims):
    (x, places), (dx, dp) = operands, dims
    if dp is not None:
        if aval_of(places).ndim == 2 and aval_of(x).ndim - (dx is not None) > 1:    # shared by the rows of x
            lead = [n for i, n in enumerate(aval_of(x).shape) if i != dx]
            places = move_axis(places, dp, 0)
            shape = (size, *lead[:-1], aval_of(places).shape[-1])
            places = OPS["broadcast_in_dim"](places, shape=shape, dims=(0, len(shape) - 1))
        else:
            places = batch_first(size, places, dp)
    elif aval_of(places).ndim > 1:
        places = batch_first(size, places, None)
    return [argselect(batch_first(size, x, dx), places)], [0]


def _argselect_reference(x, places):
    order = np.argsort(x, axis=-1, kind="stable")
    places = np.clip(np.broadcast_to(places, (*x.shape[:-1], places.shape[-1])), 0, max(x.shape[-1] - 1, 0))
    return np.take_along_axis(order, places, -1)


def _passes(sig):
    """What selecting takes: a few operations an element."""
    return 3 * sig.in_avals[0].size, 0


# Positions of the elements that a stable sort along the last axis would put at these places.
argselect = flat("argselect", family="sort", dtypes=ORDERED, infer=_argselect_infer, lower=_argselect_lower,
                 batch=_argselect_batch, reference=_argselect_reference, work=_passes,
                 samples=[Sample("f64[5]", np.array([2, 0])), Sample("f32[2,90]", np.array([89, 4, 5, 4])),
                          Sample("f64[3,4]", np.array([[1], [3], [0]])), Sample("f64[2,0]", np.zeros(0, int)),
                          Sample(_TIED, np.array([-1, 3, 99])), Sample("f64[1500]", np.array([700, 7]))],
                 errors=[ErrorSample("f64[2,3]", np.zeros((3, 1), int), match="leading axes"),
                         ErrorSample("f64[3]", "f64[1]", error=TypeError, match="must be int64"),
                         ErrorSample("f64[0]", np.array([0]), match="1 to 2")])

PIVOTS = 4                                # places that rows are parted around at most: FT_PIVOTS


def _partition_infer(name):
    def infer(x, *, kth, axis):
        _checked(name, x, axis)
        n = x.shape[axis]
        if not 0 < len(kth) <= PIVOTS or any(a >= b for a, b in itertools.pairwise(kth)) or (
                not 0 <= kth[0] <= kth[-1] < n):
            raise ValueError(f"{name}: kth must be up to {PIVOTS} ascending places in the {n} elements of "
                             f"axis {axis} of {x}, got {kth}")
        return x.shape, _INT64 if name == "argpartition" else x.dtype
    return infer


def _partition_lower(name):
    positions = name == "argpartition"

    def lower(ctx, eqn, views):
        axis, dtype = eqn.params["axis"], views[0].dtype
        x, shape = _rows(ctx, views[0], axis)
        out = ctx.new(x.shape, _INT64 if positions else x.dtype)
        ctx.step(f"partition:{CODE[x.dtype]}", [out, x], shape, strides=_dense(shape)[:2],
                 ints=(int(positions), *eqn.params["kth"]), cost=5.0 * shape[0] * shape[1])
        return [_back(out if positions else _narrowed(ctx, out, dtype), axis)]
    return lower


def _partition_jvp(primals, tangents, *, kth, axis):
    (x,), (t,) = primals, tangents
    out = partition(x, kth=kth, axis=axis)
    if isinstance(t, Hooks.zero):
        return [out], [Hooks.zero(aval_of(x))]
    return [out], [take_along(t, argpartition(x, kth=kth, axis=axis), axis)]


def _argpartition_reference(x, *, kth, axis):
    """A stable sort by how many of the elements at kth each is greater than, and whether it equals one."""
    order = np.argsort(x, axis=axis, kind="stable")
    ordered = np.take_along_axis(x, order, axis)
    rank = np.apply_along_axis(lambda row: np.searchsorted(row, row), axis, ordered).astype(np.int64)
    least = np.take_along_axis(rank, np.argsort(order, axis=axis), axis)      # equal elements: one number
    at = np.take(rank, np.array(kth), axis)
    part = np.sum([(least > p) * 1 + (least >= p) for p in np.split(at, len(kth), axis)], axis=0)
    return np.argsort(part, axis=axis, kind="stable")


_PARTED = [Sample("f64[5]", kth=(2,), axis=0), Sample("f32[2,90]", kth=(0, 4, 89), axis=1),
           Sample("f64[4,3]", kth=(1,), axis=0), Sample(_TIED, kth=(1, 3), axis=0),
           Sample("f64[1500]", kth=(750,), axis=0, diff=())]      # neighbours change places too easily
_WRONG = [ErrorSample("f64[3]", kth=(3,), axis=0, match="ascending places"),
          ErrorSample("f64[3]", kth=(1,), axis=1, match="not an axis")]

# Each part of the rows keeps the order that its elements had; elements that equal one at kth lie around it.
partition = Op("partition", "sort", dtypes=ORDERED, infer=_partition_infer("partition"), jvp=_partition_jvp,
               transpose=None, batch=_moved("partition"), lower=_partition_lower("partition"), work=_passes,
               reference=lambda x, *, kth, axis: np.take_along_axis(
                   x, _argpartition_reference(x, kth=kth, axis=axis), axis),
               samples=_PARTED, errors=_WRONG)
argpartition = flat("argpartition", family="sort", dtypes=ORDERED, infer=_partition_infer("argpartition"),
                    batch=_moved("argpartition"), lower=_partition_lower("argpartition"), work=_passes,
                    reference=_argpartition_reference, samples=_PARTED, errors=_WRONG)


# ----- the k greatest ------------------------------------------------------------------------------------


def _top_k_infer(x, *, k, axis):
    _checked("top_k", x, axis)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"top_k: k must be between 0 and the {x.shape[axis]} elements of axis {axis} of "
                         f"{x}, got {k}")
    return (*x.shape[:axis], k, *x.shape[axis + 1:]), _INT64


def _top_k_lower(ctx, eqn, views):
    axis, k = eqn.params["axis"], eqn.params["k"]
    x, shape = _rows(ctx, views[0], axis)
    if 8 * k > shape[1]:                # so much of it that sorting all is no more work
        order = _positions(ctx, x, shape, True)
        rank = len(x.shape)
        return [_back(order.slice((0,) * rank, (*x.shape[:-1], k), (1,) * rank), axis)]
    out = ctx.new((*x.shape[:-1], k), _INT64)
    ctx.step(f"top_k:{CODE[x.dtype]}", [out, x], shape, strides=_dense(shape)[:2], ints=(k,),
             cost=1.0 * shape[0] * shape[1])
    return [_back(out, axis)]


top_k = flat("top_k", family="sort", dtypes=ORDERED, infer=_top_k_infer, lower=_top_k_lower,
             work=_compared,
             batch=lambda size, operands, dims, *, k, axis: (
                 [top_k(operands[0], k=k, axis=axis + (axis >= dims[0]))], [dims[0]]),
             reference=lambda x, *, k, axis: np.take(
                 _argsort_reference(x, axis=axis, descending=True), np.arange(k), axis),
             samples=[Sample("f64[5]", k=2, axis=0), Sample("f64[3,4]", k=4, axis=1),
                      Sample("f32[200,2]", k=3, axis=0), Sample("f64[2,0]", k=0, axis=1),
                      Sample(_TIED, k=3, axis=0), Sample("f64[900]", k=20, axis=0)],
             errors=[ErrorSample("f64[3]", k=4, axis=0, match="between 0 and the 3"),
                     ErrorSample("f64[3]", k=1, axis=1, match="not an axis")])


# ----- places in sorted arrays ---------------------------------------------------------------------------


def _search_infer(a, v, *, right):
    if a.ndim < 1 or v.ndim < a.ndim - 1 or a.shape[:-1] != v.shape[:a.ndim - 1]:
        raise ValueError(f"searchsorted: the leading axes of {a} and {v} must agree")
    if a.dtype != v.dtype or CODE.get(a.dtype) not in ORDERED:
        raise TypeError(f"searchsorted: operands must have one real dtype, got {a} and {v}")
    return v.shape, _INT64


def _search_lower(ctx, eqn, views):
    a, v = [ctx.contiguous(_widened(ctx, x)) for x in views]
    out = ctx.new(v.shape, _INT64)
    n = a.shape[-1]
    count = int(np.prod(a.shape[:-1], dtype=np.int64))
    each = int(np.prod(v.shape[len(a.shape) - 1:], dtype=np.int64))
    ctx.step(f"searchsorted:{CODE[a.dtype]}", [out, a, v], (count, each), strides=[(8, 8)] * 3,
             ints=(int(eqn.params["right"]), n), cost=float(count * each) * (2 + 2 * n.bit_length()))
    return [out]


def _search_batch(size, operands, dims, *, right):
    a, v = operands
    da, dv = dims
    if da is None and aval_of(a).ndim == 1:            # one sorted array: any shape of values
        return [searchsorted(a, v, right=right)], [dv]
    return [searchsorted(batch_first(size, a, da), batch_first(size, v, dv), right=right)], [0]


def _search_reference(a, v, *, right):
    side = "right" if right else "left"
    if a.ndim == 1:
        return np.asarray(np.searchsorted(a, v, side))
    rows = [_search_reference(x, y, right=right) for x, y in zip(a, v, strict=True)]
    return np.stack(rows) if rows else np.zeros(v.shape, np.int64)


# Generated tests roll the arrays of samples, so only equal elements stay in order.
_STEPS, _ROWS = np.full(6, 0.5), np.full((2, 3), 0.5)

searchsorted = flat("searchsorted", family="sort", infer=_search_infer, batch=_search_batch,
                    lower=_search_lower, reference=_search_reference,
                    work=lambda sig: (sig.in_avals[1].size * sig.in_avals[0].shape[-1].bit_length(), 0),
                    dtypes=("f64",),       # of the samples: their sorted arrays are f64
                    samples=[Sample(_STEPS, "f64[4]", right=False), Sample(_STEPS, "f64[2,3]", right=True),
                             Sample(_STEPS, np.array([-1.0, np.nan, 0.5, -0.0, -9.0]), right=False),
                             Sample(_ROWS, "f64[2,4]", right=False), Sample(_STEPS, "f64[]", right=True),
                             Sample(np.zeros(0), "f64[3]", right=False)],
                    errors=[ErrorSample("f64[2,3]", "f64[3]", right=False, match="leading axes"),
                            ErrorSample("f64[3]", "f32[3]", right=False, error=TypeError,
                                        match="one real dtype")])

__all__ = ["PIVOTS", "argpartition", "argselect", "argsort", "partition", "searchsorted",
           "sort", "take_along", "top_k"]
