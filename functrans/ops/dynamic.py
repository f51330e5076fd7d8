"""Slices at run-time positions."""

from __future__ import annotations

import numpy as np

from ..ir.op import OPS, ErrorSample, Hooks, Linear, Sample, aval_of, batch_first, move_axis, structural
from .elementwise import add
from .reach import cutting, pasting
from .shape import broadcast_in_dim, insert, iota


def _starts_ok(x, starts, sizes, name):
    if len(starts) != x.ndim or len(sizes) != x.ndim or any(
            n > m for n, m in zip(sizes, x.shape, strict=True)):
        raise ValueError(f"{name}: sizes {sizes} with {len(starts)} starts do not fit {x}")
    if any(s.ndim or s.dtype != np.int64 for s in starts):
        raise TypeError(f"{name}: starts must be int64 scalars, got {', '.join(map(str, starts))}")


def _dynamic_slice_infer(x, *starts, sizes):
    _starts_ok(x, starts, sizes, "dynamic_slice")
    return sizes, x.dtype


def _dynamic_slice_lower(ctx, eqn, views):
    x, *starts = views
    out = ctx.new(eqn.outs[0].aval)
    ctx.step(f"dynslice:{x.dtype.itemsize}", [out, x, *map(ctx.contiguous, starts)], out.shape,
             strides=[out.strides, x.strides, *[(0,) * len(out.shape)] * len(starts)], ints=x.shape,
             partly=1)
    return [out]


def _window(x, starts, sizes):
    at = [int(np.clip(s, 0, n - m)) for s, n, m in zip(starts, x.shape, sizes, strict=True)]
    return tuple(np.s_[a:a + m] for a, m in zip(at, sizes, strict=True))


def _zeros(aval):
    return Hooks.lit_like(0, aval)


def _clamped_indices(starts, shape, sizes, extra=()):
    """Index arrays of a window, for the batched forms: one per axis, broadcast to the window."""
    out = []
    lead = len(extra)
    full = (*extra, *sizes)
    for axis, (s, n, m) in enumerate(zip(starts, shape, sizes, strict=True)):
        s = OPS["min"](OPS["max"](s, 0), n - m)
        s = broadcast_in_dim(s, shape=full, dims=tuple(range(lead)))
        out.append(add(s, iota(shape=full, dtype=np.dtype("int64"), axis=lead + axis)))
    return out


def _dynamic_slice_batch(size, operands, dims, *, sizes):
    x, *starts = operands
    dx, *ds = dims
    if not starts:
        return [x], [dx]
    if all(d is None for d in ds):
        zero = Hooks.lit_like(0, starts[0])
        return [dynamic_slice(x, *insert(tuple(starts), dx, zero), sizes=insert(sizes, dx, size))], [dx]
    starts = [batch_first(size, s, d) for s, d in zip(starts, ds, strict=True)]
    shape = aval_of(x).shape if dx is None else aval_of(x).shape[:dx] + aval_of(x).shape[dx + 1:]
    index = _clamped_indices(starts, shape, sizes, (size,))
    if dx is not None:
        x = move_axis(x, dx, 0)
        index = [iota(shape=(size, *sizes), dtype=np.dtype("int64"), axis=0), *index]
    return [OPS["gather"](x, *index, mode="clip")], [0]


dynamic_slice = structural(
    "dynamic_slice", operands=(0,), infer=_dynamic_slice_infer,
    transpose=lambda cts, operands, *, sizes: [
        dynamic_update_slice(_zeros(operands[0].aval), cts[0], *operands[1:])]
    + [None] * (len(operands) - 1),
    batch=_dynamic_slice_batch, reach=cutting, lower=_dynamic_slice_lower,
    reference=lambda x, *starts, sizes: x[_window(x, starts, sizes)],
    samples=[Sample("f64[5,4]", np.int64(1), np.int64(3), sizes=(2, 3)),
             Sample("f64[5]", np.int64(-7), sizes=(2,))],
    errors=[ErrorSample("f64[3]", np.int64(0), sizes=(4,), match="do not fit")])
dynamic_slice.splat = False


def _dynamic_update_infer(x, update, *starts):
    _starts_ok(x, starts, update.shape, "dynamic_update_slice")
    if x.dtype != update.dtype:
        raise TypeError(f"dynamic_update_slice: dtypes differ: {x}, {update}")
    return x.shape, x.dtype


def _dynamic_update_transpose(cts, operands):
    ct = cts[0]
    x, update, *starts = operands
    shape = (update.aval if isinstance(update, Linear) else aval_of(update))
    ct_x = dynamic_update_slice(ct, _zeros(shape), *starts) if isinstance(x, Linear) else None
    ct_u = dynamic_slice(ct, *starts, sizes=shape.shape) if isinstance(update, Linear) else None
    return [ct_x, ct_u] + [None] * len(starts)


def _dynamic_update_batch(size, operands, dims):
    x, update, *starts = operands
    dx, du, *ds = dims
    x, update = batch_first(size, x, dx), batch_first(size, update, du)
    shape, sizes = aval_of(x).shape[1:], aval_of(update).shape[1:]
    if all(d is None for d in ds):
        zero = Hooks.lit_like(0, starts[0]) if starts else None
        return [dynamic_update_slice(x, update, *insert(tuple(starts), 0, zero))] if starts else [
            update], [0]
    starts = [batch_first(size, s, d) for s, d in zip(starts, ds, strict=True)]
    index = _clamped_indices(starts, shape, sizes, (size,))
    rows = iota(shape=(size, *sizes), dtype=np.dtype("int64"), axis=0)
    return [OPS["scatter_set"](x, update, rows, *index, mode="clip")], [0]


def _dynamic_update_lower(ctx, eqn, views):
    x, update, *starts = views
    out = ctx.new(eqn.outs[0].aval)
    ctx.copy(out, x)
    ctx.step(f"dynupdate:{x.dtype.itemsize}", [out, update, *map(ctx.contiguous, starts)], update.shape,
             strides=[out.strides, update.strides, *[(0,) * len(out.shape)] * len(starts)],
             ints=out.shape, partly=0)
    return [out]


def _dynamic_update_reference(x, update, *starts):
    out = x.copy()
    out[_window(x, starts, update.shape)] = update
    return out


dynamic_update_slice = structural(
    "dynamic_update_slice", operands=(0, 1), infer=_dynamic_update_infer,
    transpose=_dynamic_update_transpose, batch=_dynamic_update_batch, lower=_dynamic_update_lower,
    reach=pasting, reference=_dynamic_update_reference,
    samples=[Sample("f64[5,4]", "f64[2,3]", np.int64(1), np.int64(3)),
             Sample("f64[5]", "f64[2]", np.int64(9))],
    errors=[ErrorSample("f64[3]", "f64[4]", np.int64(0), match="do not fit")])
dynamic_update_slice.splat = False
