"""Reading and writing at index arrays: gather and the scatter family.

The index arrays have one common shape I and address the first axes of x; out-of-range reads clamp,
wrap or give the fill value, out-of-range writes are dropped or clamped; foreign memory is never touched.
"""

from __future__ import annotations

import numpy as np

from ..ir.op import (
    ANY,
    CODE,
    ORDERED,
    ErrorSample,
    Hooks,
    Linear,
    Op,
    Sample,
    aval_of,
    batch_first,
    linear,
    move_axis,
)
from .elementwise import OPS, convert, div, eq, mul, select, zmul
from .reach import reading, writing
from .shape import broadcast_in_dim, iota, reshape

_READ = ("clip", "fill", "wrap")
_WRITE = ("drop", "clip")
_INT64 = np.dtype("int64")


def _check_indices(name, x, indices, mode, modes):
    if mode not in modes:
        raise ValueError(f"{name}: mode must be one of {', '.join(modes)}, got {mode!r}")
    if not indices or len(indices) > x.ndim:
        raise ValueError(f"{name}: {len(indices)} index arrays for {x}")
    if any(i.shape != indices[0].shape for i in indices) or any(i.dtype != _INT64 for i in indices):
        raise TypeError(f"{name}: index arrays must be int64 of one shape, got "
                        f"{', '.join(map(str, indices))}")


def _gather_infer(x, *indices, mode):
    _check_indices("gather", x, indices, mode, _READ)
    if mode != "fill" and any(n == 0 for n in x.shape[:len(indices)]) and indices[0].size:
        raise IndexError(f"gather: {indices[0].size} positions of the empty {x}")
    return indices[0].shape + x.shape[len(indices):], x.dtype


def _fill_bits(dtype):
    """What a read out of range gives in mode fill: nan, or the smallest integer; False for bool.
    As the words that hold its bytes."""
    value = np.nan if dtype.kind in "fc" else 0 if dtype.kind == "b" else (
        np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max)
    raw = np.zeros(-(-dtype.itemsize // 8) * 8, np.uint8)
    raw[:dtype.itemsize] = np.frombuffer(np.array(value, dtype).tobytes(), np.uint8)
    return raw.view(np.int64).tolist()


def _index_views(ctx, indices):
    """The index arrays, the space that a step goes through, and their strides: in place where their lines
    are long enough."""
    shape = indices[0].shape
    if len(shape) > 1 and shape[-1] >= 16 and not all(v.contiguous for v in indices):
        return indices, shape, [v.strides for v in indices]
    return [ctx.contiguous(v) for v in indices], (int(np.prod(shape, dtype=np.int64)),), [(8,)] * len(indices)


def _gather_lower(ctx, eqn, views):
    x, (indices, space, walks) = ctx.contiguous(views[0]), _index_views(ctx, views[1:])
    k = len(indices)
    out = ctx.new(eqn.outs[0].aval)
    n = int(np.prod(indices[0].shape, dtype=np.int64))
    row = int(np.prod(x.shape[k:], dtype=np.int64)) * x.dtype.itemsize
    ctx.step(f"gather:{x.dtype.itemsize}", [out, x, *indices], space, strides=[(), (), *walks],
             ints=(k, _READ.index(eqn.params["mode"]), *x.shape[:k], row, *_fill_bits(x.dtype)),
             cost=n * (2 + row / 8), partly=1)
    return [out]


def _wrapped(indices, shape, mode):
    """Positions inside the array, and which were inside to begin with."""
    inside = np.ones(indices[0].shape, bool)
    at = []
    for i, n in zip(indices, shape, strict=False):
        inside &= (i >= 0) & (i < n)
        at.append(np.mod(i, n) if mode == "wrap" else np.clip(i, 0, max(n - 1, 0)))
    return tuple(at), inside


def _gather_reference(x, *indices, mode):
    at, inside = _wrapped(indices, x.shape, mode)
    out = np.array(x[at])
    if mode == "fill":
        bits = np.array(_fill_bits(x.dtype)).view(np.uint8)[:x.dtype.itemsize]
        out[~inside] = bits.view(x.dtype)[0]
    return out


def _gather_transpose(cts, operands, *, mode):
    x, *indices = operands
    zeros = Hooks.lit_like(0, x.aval)
    if mode == "wrap":
        indices = [OPS["mod"](i, n) for i, n in zip(indices, x.aval.shape, strict=False)]
    return [scatter_add(zeros, cts[0], *indices, mode="drop" if mode == "fill" else "clip"),
            *[None] * len(indices)]


def _gather_jvp(primals, tangents, *, mode):
    """The fill value is a constant: it has no tangent."""
    (x, *indices), t = primals, tangents[0]
    out = gather(x, *indices, mode=mode)
    if isinstance(t, Hooks.zero) or (mode == "fill" and 0 in aval_of(x).shape[:len(indices)]):
        return [out], [Hooks.zero(aval_of(out))]
    return [out], [_read(t, indices, "drop") if mode == "fill" else gather(t, *indices, mode=mode)]


def _gather_batch(size, operands, dims, *, mode):
    x, *indices = operands
    dx, *di = dims
    k = len(indices)
    if all(d is None for d in di):                 # the batch axis rides along behind the indexed ones
        return [gather(move_axis(x, dx, k), *indices, mode=mode)], [aval_of(indices[0]).ndim]
    indices = [batch_first(size, i, d) for i, d in zip(indices, di, strict=True)]
    if dx is not None:
        rows = iota(shape=aval_of(indices[0]).shape, dtype=_INT64, axis=0)
        x, indices = move_axis(x, dx, 0), [rows, *indices]
    return [gather(x, *indices, mode=mode)], [0]


_AT = (np.array([2, 0, 2]), np.array([1, 1, 0]))
_OUT = (np.array([2, -9, 5]), np.array([1, 1, 7]))

gather = linear(
    "gather", family="index", infer=_gather_infer, jvp=_gather_jvp, transpose=_gather_transpose,
    batch=_gather_batch, lower=_gather_lower, reference=_gather_reference,
    reach=reading(_gather_reference),
    samples=[Sample("f64[3,2]", *_AT, mode="clip"), Sample("f64[3,2]", _AT[0], mode="clip"),
             Sample("f64[3,2]", *_OUT, mode="clip"), Sample("f64[3,2]", *_OUT, mode="wrap"),
             Sample("f32[4]", np.array([[1], [3]]), mode="fill"),
             Sample("f64[3,2]", *_OUT, mode="fill"), Sample("f64[3,2]", np.array([3, 0, -1]), mode="fill"),
             Sample("f64[4]", np.int64(2), mode="clip"),
             Sample("f64[3,2]", np.zeros((0,), np.int64), mode="clip")],
    errors=[ErrorSample("f64[3]", np.array([1.0]), mode="clip", error=TypeError, match="int64")])


# ----- scatter -----------------------------------------------------------------------------------------


def _scatter_infer(name, dtypes):
    def infer(x, updates, *indices, mode):
        if CODE[x.dtype] not in dtypes:
            raise TypeError(f"{name} is not defined for {x}")
        _check_indices(name, x, indices, mode, _WRITE)
        want = indices[0].shape + x.shape[len(indices):]
        if updates.shape != want or updates.dtype != x.dtype:
            raise ValueError(f"{name}: updates must be {x.dtype} of shape {want}, got {updates}")
        return x.shape, x.dtype
    return infer


def _scatter_lower(kind):
    def lower(ctx, eqn, views):
        x, updates, *indices = views
        updates, (indices, space, walks) = ctx.contiguous(updates), _index_views(ctx, indices)
        k = len(indices)
        out = ctx.new(eqn.outs[0].aval)
        ctx.copy(out, x)
        n = int(np.prod(indices[0].shape, dtype=np.int64))
        row = int(np.prod(x.shape[k:], dtype=np.int64))
        code = "u16" if x.dtype.char == "e" else CODE[x.dtype]      # only set: float16 is not computed with
        ctx.step(f"scatter:{kind}:{code}", [out, updates, *indices], space, strides=[(), (), *walks],
                 ints=(k, _WRITE.index(eqn.params["mode"]), *x.shape[:k], row), cost=n * (2 + row),
                 partly=0)
        return [out]
    return lower


def _scatter_batch(name):
    def batch(size, operands, dims, *, mode):
        x, updates, *indices = operands
        dx, du, *di = dims
        k, rank = len(indices), aval_of(indices[0]).ndim
        if all(d is None for d in di):
            x = move_axis(x, dx, k) if dx is not None else _spread_at(x, size, k)
            u = move_axis(updates, du, rank) if du is not None else _spread_at(updates, size, rank)
            return [OPS[name](x, u, *indices, mode=mode)], [k]
        indices = [batch_first(size, i, d) for i, d in zip(indices, di, strict=True)]
        rows = iota(shape=aval_of(indices[0]).shape, dtype=_INT64, axis=0)
        return [OPS[name](batch_first(size, x, dx), batch_first(size, updates, du), rows, *indices,
                          mode=mode)], [0]
    return batch


def _spread_at(x, size, at):
    shape = aval_of(x).shape
    return broadcast_in_dim(x, shape=(*shape[:at], size, *shape[at:]),
                            dims=tuple([i + (i >= at) for i in range(len(shape))]))


def _scatter_reference(apply):
    def reference(x, updates, *indices, mode):
        out = x.copy()
        at, inside = _wrapped(indices, x.shape, "clip")
        if mode == "clip":
            inside = np.ones_like(inside)
        for where in np.ndindex(indices[0].shape):
            if inside[where]:
                place = tuple(int(a[where]) for a in at)
                out[place] = apply(out[place], updates[where])
        return out
    return reference


_SCATTER_SAMPLES = [
    Sample("f64[3,2]", "f64[3]", *_AT, mode="drop"), Sample("f64[3,2]", "f64[3,2]", _AT[0], mode="drop"),
    Sample("f64[3,2]", "f64[3]", *_OUT, mode="drop"), Sample("f64[3,2]", "f64[3]", *_OUT, mode="clip"),
    Sample("f64[4]", "f64[]", np.int64(2), mode="drop")]


def _targets(numbers, *indices, mode):
    """The number of the element that each update meets; negative where it is dropped."""
    return _gather_reference(numbers, *indices, mode="clip" if mode == "clip" else "fill")


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


def _read(x, indices, mode):
    """What the writes of ``mode`` would have met at their positions: 0 where they were dropped."""
    if mode == "clip":
        return gather(x, *indices, mode="clip")
    shape = aval_of(x).shape
    inside = _inside(indices, shape)
    got = gather(x, *indices, mode="clip")
    return select(_along(inside, aval_of(got).shape), got, 0)


def _inside(indices, shape):
    inside = None
    for i, n in zip(indices, shape, strict=False):
        here = OPS["and"](OPS["ge"](i, 0), OPS["lt"](i, n))
        inside = here if inside is None else OPS["and"](inside, here)
    return inside


def _along(x, shape):
    """x, of the index shape, repeated over the rows of ``shape``."""
    return broadcast_in_dim(x, shape=shape, dims=tuple(range(aval_of(x).ndim)))


def _scatter_add_transpose(cts, operands, *, mode):
    x, updates, *indices = operands
    ct = cts[0]
    return [ct if isinstance(x, Linear) else None,
            _read(ct, indices, mode) if isinstance(updates, Linear) else None, *[None] * len(indices)]


scatter_add = _scatter("add", lambda a, b: a + b, transpose=_scatter_add_transpose)


def _winners(indices, shape, mode):
    """Which update each position keeps, when several write to it: True for the last one."""
    k = len(indices)
    order_shape = aval_of(indices[0]).shape
    n = int(np.prod(order_shape, dtype=np.int64))
    order = reshape(iota(shape=(n,), dtype=_INT64, axis=0), shape=order_shape)
    nobody = broadcast_in_dim(Hooks.lit_like(-1, np.int64(0)), shape=tuple(shape[:k]), dims=())
    board = scatter_set(nobody, order, *indices, mode=mode)
    return eq(gather(board, *indices, mode="clip"), order)


def _scatter_set_transpose(cts, operands, *, mode):
    x, updates, *indices = operands
    ct = cts[0]
    ct_x = ct_u = None
    update_aval = updates.aval if isinstance(updates, Linear) else aval_of(updates)
    if isinstance(x, Linear):
        ct_x = scatter_set(ct, Hooks.lit_like(0, update_aval), *indices, mode=mode)
    if isinstance(updates, Linear):
        kept = _along(_winners(indices, aval_of(ct).shape, mode), update_aval.shape)
        ct_u = select(kept, _read(ct, indices, mode), 0)
    return [ct_x, ct_u, *[None] * len(indices)]


scatter_set = _scatter("set", lambda a, b: b, transpose=_scatter_set_transpose)


def _product_of_others(x, updates, indices, mode):
    """For each update, the product of all else at its position: exact where some updates are 0."""
    dtype = aval_of(x).dtype
    zero = eq(updates, 0.0)
    factor = select(zero, 1.0, updates)
    product = _read(scatter_mul(x, factor, *indices, mode=mode), indices, mode)
    zeros = scatter_add(Hooks.lit_like(0, x), convert(zero, dtype=dtype), *indices, mode=mode)
    others = OPS["sub"](_read(zeros, indices, mode), convert(zero, dtype=dtype))
    return select(eq(others, 0.0), div(product, factor), 0.0)


def _scatter_mul_jvp(primals, tangents, *, mode):
    x, updates, *indices = primals
    tx, tu = tangents[:2]
    out = scatter_mul(x, updates, *indices, mode=mode)
    total = Hooks.zero(aval_of(out))
    if not isinstance(tx, Hooks.zero):
        factor = scatter_mul(Hooks.lit_like(1, x), updates, *indices, mode=mode)
        total = Hooks.add_tangents(total, mul(tx, factor))
    if not isinstance(tu, Hooks.zero):
        share = zmul(tu, _product_of_others(x, updates, indices, mode))
        total = Hooks.add_tangents(total, scatter_add(Hooks.lit_like(0, x), share, *indices, mode=mode))
    return [out], [total]


scatter_mul = _scatter("mul", lambda a, b: a * b, jvp=_scatter_mul_jvp)


def _scatter_extremum_jvp(name):
    def jvp(primals, tangents, *, mode):
        x, updates, *indices = primals
        tx, tu = tangents[:2]
        out = OPS[name](x, updates, *indices, mode=mode)
        dtype = aval_of(x).dtype
        hit_x = convert(eq(x, out), dtype=dtype)
        hit_u = convert(eq(updates, _read(out, indices, mode)), dtype=dtype)
        ties = scatter_add(hit_x, hit_u, *indices, mode=mode)
        total = Hooks.zero(aval_of(out))
        if not isinstance(tx, Hooks.zero):
            total = Hooks.add_tangents(total, zmul(tx, div(hit_x, ties)))
        if not isinstance(tu, Hooks.zero):
            share = zmul(tu, div(hit_u, OPS["max"](_read(ties, indices, mode), 1.0)))
            total = Hooks.add_tangents(total, scatter_add(Hooks.lit_like(0, x), share, *indices, mode=mode))
        return [out], [total]
    return jvp


scatter_min = _scatter("min", np.minimum, jvp=_scatter_extremum_jvp("scatter_min"), dtypes=ORDERED)
scatter_max = _scatter("max", np.maximum, jvp=_scatter_extremum_jvp("scatter_max"), dtypes=ORDERED)
