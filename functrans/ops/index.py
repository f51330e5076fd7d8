"""Reading and writing at index arrays: gather and the scatter family.

The index arrays, of any integer types, have one common shape and address axes of x behind its first
``batch`` axes, which x and the arrays share: x[b, i, r] with i = indices[b, j] is at [b, j, r] of what is
read. ``signed`` positions below zero count from the end. Those outside are clipped, wrapped, left out (a
write) or give ``fill`` (a read); foreign memory is never touched.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import (
    ANY,
    CODE,
    INT,
    OPS,
    ORDERED,
    ErrorSample,
    Hooks,
    Linear,
    Op,
    Sample,
    aval_of,
    batch_first,
    fill_value,
    linear,
    move_axis,
    spread,
)
from .elementwise import convert, div, eq, mul, select, zmul
from .reach import reading, writing
from .shape import broadcast_in_dim, iota, reshape

# What becomes of positions outside: the modes of reads and writes, as the kernels number them.
_READ = ("clip", "fill", "wrap")
_WRITE = ("clip", "drop", "wrap")
_AS_READ = {"clip": "clip", "drop": "fill", "wrap": "wrap"}
_AS_WRITE = {r: w for w, r in _AS_READ.items()}
_INT64 = np.dtype("int64")


def reach(mode, batch=0, signed=False, fill=None):
    """Parameters, without those that have their usual values."""
    params = {"mode": mode}
    if batch:
        params["batch"] = batch
    if signed:
        params["signed"] = True
    if fill is not None:
        params["fill"] = fill
    return params


def _reading(mode, batch, signed):
    """How to read what the writes of a mode met: 0 where they were left out."""
    return reach(_AS_READ[mode], batch, signed, 0 if mode == "drop" else None)


def _check_indices(name, x, indices, mode, modes, batch):
    if mode not in modes:
        raise ValueError(f"{name}: mode must be one of {', '.join(modes)}, got {mode!r}")
    if not indices or not 0 <= batch or batch + len(indices) > x.ndim:
        raise ValueError(f"{name}: {len(indices)} index arrays for {x} behind {batch} axes of a batch")
    shape = indices[0].shape
    if any(i.shape != shape or CODE[i.dtype] not in INT for i in indices):
        raise TypeError(f"{name}: index arrays must be integers (int64, int32 ...) of one shape, got "
                        f"{', '.join(map(str, indices))}")
    if shape[:batch] != x.shape[:batch] or len(shape) < batch:
        raise ValueError(f"{name}: the first {batch} axes of {x} and of the index arrays {indices[0]} "
                         "must be equal")


def _gather_infer(x, *indices, mode, batch=0, signed=False, fill=None):
    _check_indices("gather", x, indices, mode, _READ, batch)
    end = batch + len(indices)
    if mode != "fill" and 0 in x.shape[batch:end] and indices[0].size:
        raise IndexError(f"gather: {indices[0].size} positions of the empty {x}")
    return indices[0].shape + x.shape[end:], x.dtype


def _words(value):
    """The bytes of a number as int64."""
    raw = np.zeros(-(-value.dtype.itemsize // 8) * 8, np.uint8)
    raw[:value.dtype.itemsize] = np.frombuffer(value.tobytes(), np.uint8)
    return raw.view(np.int64).tolist()


def _walk(indices):
    """The shape of the index arrays with neighbouring axes merged where all walk them in one go, and the
    strides of each."""
    shape, walks = [], [[] for _ in indices]
    for d, n in enumerate(indices[0].shape):
        if n == 1:
            continue
        strides = [v.strides[d] for v in indices]
        if shape and all(w[-1] == s * n for w, s in zip(walks, strides, strict=True)):
            shape[-1] *= n
            for w, s in zip(walks, strides, strict=True):
                w[-1] = s
        else:
            shape.append(n)
            for w, s in zip(walks, strides, strict=True):
                w.append(s)
    return tuple(shape) or (1,), [tuple(w) or (v.dtype.itemsize,)
                                  for w, v in zip(walks, indices, strict=True)]


def _by_member(views, batch, each):
    """The views with one axis of adjacent elements behind the batch; None where that needs a copy."""
    found = [v.reshape((*v.shape[:batch], n)) for v, n in zip(views, each, strict=True)]
    if any(v is None or (v.shape[-1] > 1 and v.strides[-1] != v.dtype.itemsize) for v in found):
        return None
    return tuple(found)


def _step(ctx, kernel, operands, indices, x, mode, batch, signed, rest, cost, partly):
    """A step that goes through the index arrays; in place unless their lines are very short. What
    scatters may also be done member by member, in a block group."""
    shape, walks = _walk(indices)
    if len(shape) > 1 and shape[-1] < 4:
        indices = [ctx.contiguous(v) for v in indices]
        shape, walks = _walk(indices)
    k, count = len(indices), indices[0].shape
    types = [INT.index(CODE[v.dtype]) for v in indices]
    each = math.prod(count[batch:])
    ints = (k, mode, int(signed), each, *types, *x.shape[batch:batch + k], *rest)
    member = None
    if partly == 0 and batch and ctx.fused and each:
        member = _by_member([operands[1], *indices], batch, [each * rest[0], *[each] * k])
    ctx.step(kernel, [*operands, *indices], shape, strides=[(), (), *walks], ints=ints,
             cost=math.prod(count) * cost, partly=partly,
             fusable=member and (kernel, each * cost, ints, operands[0], member, None))


def _gather_lower(ctx, eqn, views):
    def run(mode, batch=0, signed=False, fill=None):
        x, out = ctx.contiguous(views[0]), ctx.new(eqn.outs[0].aval)
        size = x.dtype.itemsize
        row = math.prod(x.shape[batch + len(views) - 1:]) * size
        _step(ctx, f"gather:{size}", [out, x], views[1:], x, _READ.index(mode), batch, signed,
              (row, *_words(fill_value(x.dtype, fill))), 1 + row / 16, 1)
        return [out]
    return run(**eqn.params)


def _places(x, indices, mode, batch, signed):
    """Positions inside the array, and which were inside to begin with."""
    inside = np.ones(indices[0].shape, bool)
    rank = indices[0].ndim
    at = [np.arange(n).reshape((n,) + (1,) * (rank - 1 - d)) for d, n in enumerate(x.shape[:batch])]
    for i, n in zip(indices, x.shape[batch:], strict=False):
        i = np.array([int(v) for v in i.ravel()], object).reshape(i.shape)
        if signed:
            i = np.where(i < 0, i + n, i)
        inside &= np.asarray((i >= 0) & (i < n), bool)
        i = i % max(n, 1) if mode == "wrap" else np.clip(i, 0, max(n - 1, 0))
        at.append(np.asarray(i).astype(np.int64))
    return tuple(np.broadcast_to(a, indices[0].shape) for a in at), inside


def _gather_reference(x, *indices, mode, batch=0, signed=False, fill=None):
    at, inside = _places(x, indices, mode, batch, signed)
    out = np.array(x[at])
    if mode == "fill":
        out[~inside] = fill_value(x.dtype, fill)
    return out


def _gather_transpose(cts, operands, *, mode, batch=0, signed=False, fill=None):
    x, *indices = operands
    return [scatter_add(Hooks.lit_like(0, x.aval), cts[0], *indices, **reach(_AS_WRITE[mode], batch, signed)),
            *[None] * len(indices)]


def _gather_jvp(primals, tangents, *, mode, batch=0, signed=False, fill=None):
    """The fill value is a constant: its tangent is 0."""
    (x, *indices), t = primals, tangents[0]
    out = gather(x, *indices, **reach(mode, batch, signed, fill))
    if isinstance(t, Hooks.zero) or 0 in aval_of(x).shape[batch:batch + len(indices)]:
        return [out], [Hooks.zero(aval_of(out))]
    return [out], [gather(t, *indices, **reach(mode, batch, signed, 0 if mode == "fill" else None))]


def _gather_batch(size, operands, dims, *, mode, batch=0, signed=False, fill=None):
    x, *indices = operands
    dx, *di = dims
    end, rank = batch + len(indices), aval_of(indices[0]).ndim - (di[0] is not None)
    how = reach(mode, batch, signed, fill)
    if all(d is None for d in di) and dx >= end:        # it rides along behind the indexed axes
        return [gather(x, *indices, **how)], [rank + dx - end]
    if dx is None:
        indices = [spread(i, size, batch) if d is None else move_axis(i, d, batch)
                   for i, d in zip(indices, di, strict=True)]
        return [gather(x, *indices, **how)], [batch]
    indices = [batch_first(size, i, d) for i, d in zip(indices, di, strict=True)]
    return [gather(move_axis(x, dx, 0), *indices, **reach(mode, batch + 1, signed, fill))], [0]


_AT = (np.array([2, 0, 2]), np.array([1, 1, 0]))
_OUT = (np.array([2, -9, 5]), np.array([1, 1, 7]))
_SMALL = (np.array([2, -1, 0, -4], np.int8), np.array([1, 1, -2, 0], np.int32))
_EACH = np.array([[2, 0, -1, 9], [1, 1, -3, 0]], np.int32)

gather = linear(
    "gather", family="index", infer=_gather_infer, jvp=_gather_jvp, transpose=_gather_transpose,
    batch=_gather_batch, lower=_gather_lower, reference=_gather_reference,
    reach=reading(_gather_reference),
    samples=[Sample("f64[3,2]", *_AT, mode="clip"), Sample("f64[3,2]", _AT[0], mode="clip"),
             Sample("f64[3,2]", *_OUT, mode="clip"), Sample("f64[3,2]", *_OUT, mode="wrap"),
             Sample("f32[4]", np.array([[1], [3]]), mode="fill"),
             Sample("f64[3,2]", *_OUT, mode="fill"), Sample("f64[3,2]", np.array([3, 0, -1]), mode="fill"),
             Sample("f64[4]", np.int64(2), mode="clip"),
             Sample("f64[3,2]", *_SMALL, mode="clip", signed=True),
             Sample("f64[3,2]", *_SMALL, mode="fill", signed=True, fill=7.0),
             Sample("f64[3,2]", np.array([2**63 + 1, 0], np.uint64), mode="clip"),
             Sample("f64[2,3,2]", _EACH, mode="clip", batch=1),
             Sample("f64[2,3]", _EACH, mode="fill", batch=1, signed=True, fill=0),
             Sample("f32[2,3]", _EACH.astype(np.int16), mode="wrap", batch=1),
             Sample("f64[3,2]", np.zeros((0,), np.int64), mode="clip")],
    errors=[ErrorSample("f64[3]", np.array([1.0]), mode="clip", error=TypeError, match="int64"),
            ErrorSample("f64[3,2]", np.array([1, 0]), mode="clip", batch=1, match="must be equal")])


# ----- scatter -----------------------------------------------------------------------------------------


def _scatter_infer(name, dtypes):
    def infer(x, updates, *indices, mode, batch=0, signed=False):
        if CODE[x.dtype] not in dtypes:
            raise TypeError(f"{name} is not defined for {x}")
        _check_indices(name, x, indices, mode, _WRITE, batch)
        end = batch + len(indices)
        if mode != "drop" and 0 in x.shape[batch:end] and indices[0].size:
            raise IndexError(f"{name}: {indices[0].size} positions of the empty {x}")
        want = indices[0].shape + x.shape[end:]
        if updates.shape != want or updates.dtype != x.dtype:
            raise ValueError(f"{name}: updates must be {x.dtype} of shape {want}, got {updates}")
        return x.shape, x.dtype
    return infer


def _scatter_lower(kind):
    def lower(ctx, eqn, views):
        def run(mode, batch=0, signed=False):
            x, updates, *indices = views
            updates, out = ctx.contiguous(updates), ctx.new(eqn.outs[0].aval)
            ctx.copy(out, x)
            row = math.prod(x.shape[batch + len(indices):])
            code = "u16" if x.dtype.char == "e" else CODE[x.dtype]  # only set: float16 is not computed with
            _step(ctx, f"scatter:{kind}:{code}", [out, updates], indices, x, _WRITE.index(mode), batch,
                  signed, (row,), 1.5 + row / 4, 0)
            return [out]
        return run(**eqn.params)
    return lower


def _scatter_batch(name):
    def batch_rule(size, operands, dims, *, mode, batch=0, signed=False):
        x, updates, *indices = operands
        dx, du, *di = dims
        end = batch + len(indices)
        if all(d is None for d in di) and dx is not None and dx >= end:     # it rides along behind
            at = aval_of(indices[0]).ndim + dx - end
            u = spread(updates, size, at) if du is None else move_axis(updates, du, at)
            return [OPS[name](x, u, *indices, **reach(mode, batch, signed))], [dx]
        return [OPS[name](*[batch_first(size, v, d) for v, d in zip(operands, dims, strict=True)],
                          **reach(mode, batch + 1, signed))], [0]
    return batch_rule


def _scatter_reference(apply):
    def reference(x, updates, *indices, mode, batch=0, signed=False):
        out = x.copy()
        at, inside = _places(x, indices, mode, batch, signed)
        for where in np.ndindex(indices[0].shape):
            if inside[where] or mode != "drop":
                place = tuple(int(a[where]) for a in at)
                out[place] = apply(out[place], updates[where])
        return out
    return reference


_SCATTER_SAMPLES = [
    Sample("f64[3,2]", "f64[3]", *_AT, mode="drop"), Sample("f64[3,2]", "f64[3,2]", _AT[0], mode="drop"),
    Sample("f64[3,2]", "f64[3]", *_OUT, mode="drop"), Sample("f64[3,2]", "f64[3]", *_OUT, mode="clip"),
    Sample("f64[4]", "f64[]", np.int64(2), mode="drop"), Sample("f64[3,2]", "f64[3]", *_OUT, mode="wrap"),
    Sample("f64[3,2]", "f64[4]", *_SMALL, mode="drop", signed=True),
    Sample("f64[2,3,2]", "f64[2,4,2]", _EACH, mode="clip", batch=1),
    Sample("f64[2,3]", "f64[2,4]", _EACH, mode="drop", batch=1, signed=True)]


def _targets(numbers, *indices, mode, **params):
    """The number of the element that each update meets; negative where it is dropped."""
    return _gather_reference(numbers, *indices, mode="fill" if mode == "drop" else mode, fill=-1, **params)


def _scatter(kind, apply, *, jvp=None, transpose=None, dtypes=ANY):
    name = f"scatter_{kind}"
    common = {"infer": _scatter_infer(name, dtypes), "dtypes": dtypes, "batch": _scatter_batch(name),
              "lower": _scatter_lower(kind),
              "reference": _scatter_reference(apply), "samples": _SCATTER_SAMPLES,
              "work": None if kind == "set" else lambda sig: (sig.in_avals[1].size, 0),
              "errors": [ErrorSample("f64[3]", "f64[2]", np.array([1]), mode="drop", match="updates must")]}
    if transpose is not None:
        return linear(name, family="index", operands=(0, 1), transpose=transpose,
                      reach=writing(kind == "set", _targets), **common)
    return Op(name, "index", jvp=jvp, transpose=None, **common)


def _along(x, shape):
    """x, of the index shape, repeated over the rows of ``shape``."""
    return broadcast_in_dim(x, shape=shape, dims=tuple(range(aval_of(x).ndim)))


def _scatter_add_transpose(cts, operands, *, mode, batch=0, signed=False):
    x, updates, *indices = operands
    ct = cts[0]
    return [ct if isinstance(x, Linear) else None,
            gather(ct, *indices, **_reading(mode, batch, signed)) if isinstance(updates, Linear) else None,
            *[None] * len(indices)]


scatter_add = _scatter("add", lambda a, b: a + b, transpose=_scatter_add_transpose)


def _winners(indices, shape, mode, batch, signed):
    """Which update each position keeps, when several write to it: True for the last one. None: all that
    are not left out, as there is one at most."""
    where = aval_of(indices[0]).shape
    if math.prod(where[batch:]) <= 1:
        return None
    order = reshape(iota(shape=(math.prod(where),), dtype=_INT64, axis=0), shape=where)
    board_shape = tuple(shape[:batch + len(indices)])
    nobody = broadcast_in_dim(Hooks.lit_like(-1, np.int64(0)), shape=board_shape, dims=())
    board = scatter_set(nobody, order, *indices, **reach(mode, batch, signed))
    fill = -1 if mode == "drop" else None
    return eq(gather(board, *indices, **reach(_AS_READ[mode], batch, signed, fill)), order)


def _scatter_set_transpose(cts, operands, *, mode, batch=0, signed=False):
    x, updates, *indices = operands
    ct = cts[0]
    ct_x = ct_u = None
    update_aval = updates.aval if isinstance(updates, Linear) else aval_of(updates)
    if isinstance(x, Linear):
        ct_x = scatter_set(ct, Hooks.lit_like(0, update_aval), *indices, **reach(mode, batch, signed))
    if isinstance(updates, Linear):
        ct_u = gather(ct, *indices, **_reading(mode, batch, signed))
        kept = _winners(indices, aval_of(ct).shape, mode, batch, signed)
        if kept is not None:
            ct_u = select(_along(kept, update_aval.shape), ct_u, 0)
    return [ct_x, ct_u, *[None] * len(indices)]


scatter_set = _scatter("set", lambda a, b: b, transpose=_scatter_set_transpose)


def _product_of_others(x, updates, indices, mode, batch, signed):
    """For each update, the product of all else at its position: exact where some updates are 0."""
    dtype = aval_of(x).dtype
    how, back = reach(mode, batch, signed), _reading(mode, batch, signed)
    zero = eq(updates, 0.0)
    factor = select(zero, 1.0, updates)
    product = gather(scatter_mul(x, factor, *indices, **how), *indices, **back)
    zeros = scatter_add(Hooks.lit_like(0, x), convert(zero, dtype=dtype), *indices, **how)
    others = OPS["sub"](gather(zeros, *indices, **back), convert(zero, dtype=dtype))
    return select(eq(others, 0.0), div(product, factor), 0.0)


def _scatter_mul_jvp(primals, tangents, *, mode, batch=0, signed=False):
    x, updates, *indices = primals
    tx, tu = tangents[:2]
    how = reach(mode, batch, signed)
    out = scatter_mul(x, updates, *indices, **how)
    total = Hooks.zero(aval_of(out))
    if not isinstance(tx, Hooks.zero):
        factor = scatter_mul(Hooks.lit_like(1, x), updates, *indices, **how)
        total = Hooks.add_tangents(total, mul(tx, factor))
    if not isinstance(tu, Hooks.zero):
        share = zmul(tu, _product_of_others(x, updates, indices, mode, batch, signed))
        total = Hooks.add_tangents(total, scatter_add(Hooks.lit_like(0, x), share, *indices, **how))
    return [out], [total]


scatter_mul = _scatter("mul", lambda a, b: a * b, jvp=_scatter_mul_jvp)


def _scatter_extremum_jvp(name):
    """All that reach the extremum share its tangent equally, x's own element among them."""
    def jvp(primals, tangents, *, mode, batch=0, signed=False):
        x, updates, *indices = primals
        tx, tu = tangents[:2]
        how, back = reach(mode, batch, signed), _reading(mode, batch, signed)
        out = OPS[name](x, updates, *indices, **how)
        dtype = aval_of(x).dtype
        hit_x = convert(eq(x, out), dtype=dtype)
        hit_u = convert(eq(updates, gather(out, *indices, **back)), dtype=dtype)
        ties = scatter_add(hit_x, hit_u, *indices, **how)
        total = Hooks.zero(aval_of(out))
        if not isinstance(tx, Hooks.zero):
            total = Hooks.add_tangents(total, zmul(tx, div(hit_x, ties)))
        if not isinstance(tu, Hooks.zero):
            share = zmul(tu, div(hit_u, OPS["max"](gather(ties, *indices, **back), 1.0)))
            total = Hooks.add_tangents(total, scatter_add(Hooks.lit_like(0, x), share, *indices, **how))
        return [out], [total]
    return jvp


scatter_min = _scatter("min", np.minimum, jvp=_scatter_extremum_jvp("scatter_min"), dtypes=ORDERED)
scatter_max = _scatter("max", np.maximum, jvp=_scatter_extremum_jvp("scatter_max"), dtypes=ORDERED)
