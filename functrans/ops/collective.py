"""Collectives over a named axis of vmap."""

from __future__ import annotations

import threading

import numpy as np

from ..ir.op import OPS, Hooks, Op, aval_of, batch_first, flat, linear, move_axis, spread
from .elementwise import convert, div, eq, mul, zmul
from .shape import iota


class _Axis(threading.local):
    """The named axis of the vmap pass in progress on this thread."""

    name = None


AXIS = _Axis()


def _no_lower(ctx, eqn, views):
    raise AssertionError(f"{eqn.op.name} over {eqn.params['axis_name']!r} was not batched away")


def _same(x, *, axis_name):
    return x.shape, x.dtype


def _psum_batch(size, operands, dims, *, axis_name):
    (x,), (d,) = operands, dims
    if axis_name != AXIS.name:
        return [psum(x, axis_name=axis_name)], [d]
    if d is None:
        return [mul(x, Hooks.lit_like(size, x))], [None]
    return [OPS["reduce_sum"](x, axes=(d,))], [None]


psum = linear("psum", family="collective", infer=_same, batch=_psum_batch, lower=_no_lower,
              transpose=lambda cts, operands, *, axis_name: [psum(cts[0], axis_name=axis_name)],
              always=True)


def _extremum(kind):
    name = f"p{kind}"

    def batch(size, operands, dims, *, axis_name):
        (x,), (d,) = operands, dims
        if axis_name != AXIS.name or d is None:
            out = OPS[name](x, axis_name=axis_name) if axis_name != AXIS.name else x
            return [out], [d]
        return [OPS[f"reduce_{kind}"](x, axes=(d,))], [None]

    def jvp(primals, tangents, *, axis_name):
        (x,), (t,) = primals, tangents
        out = OPS[name](x, axis_name=axis_name)
        if isinstance(t, Hooks.zero):
            return [out], [Hooks.zero(aval_of(out))]
        hit = convert(eq(x, out), dtype=aval_of(x).dtype)
        return [out], [psum(zmul(t, div(hit, psum(hit, axis_name=axis_name))), axis_name=axis_name)]

    return Op(name, "collective", infer=_same, jvp=jvp, transpose=None, batch=batch, lower=_no_lower,
              always=True)


pmax, pmin = _extremum("max"), _extremum("min")


def _gather_infer(x, *, axis_name, size, axis):
    if not 0 <= axis <= x.ndim:
        raise ValueError(f"all_gather: axis {axis} is not a place for an axis in {x}")
    return (*x.shape[:axis], size, *x.shape[axis:]), x.dtype


def _gather_batch(size, operands, dims, /, *, axis_name, **params):
    (x,), (d,) = operands, dims
    axis = params["axis"]
    if axis_name == AXIS.name:
        return [spread(x, size, axis) if d is None else move_axis(x, d, axis)], [None]
    out = all_gather(move_axis(x, d, 0), axis_name=axis_name, size=params["size"], axis=axis + 1)
    return [out], [0]


def _gather_transpose(cts, operands, *, axis_name, size, axis):
    """Each example gets the sum of what all of them have for it."""
    return [OPS["reduce_sum"](all_to_all(cts[0], axis_name=axis_name, split=axis, concat=0), axes=(0,))]


all_gather = linear("all_gather", family="collective", infer=_gather_infer, batch=_gather_batch,
                    lower=_no_lower, transpose=_gather_transpose, always=True)


def _index_batch(size, operands, dims, *, axis_name):
    return [iota(shape=(size,), dtype=np.dtype("int64"), axis=0)], [0]


axis_index = flat("axis_index", family="collective", batch=_index_batch, lower=_no_lower, always=True,
                  infer=lambda *, axis_name: ((), np.dtype("int64")))


# ----- ppermute: example `target` gets what `source` has; who is no target gets zeros --------------------


def _permute_infer(x, *, axis_name, perm):
    return x.shape, x.dtype


def _permute_batch(size, operands, dims, *, axis_name, perm):
    (x,), (d,) = operands, dims
    if axis_name != AXIS.name:
        return [ppermute(x, axis_name=axis_name, perm=perm)], [d]
    x = batch_first(size, x, d)
    source = np.full(size, size, np.int64)
    for i, j in perm:
        source[j] = i
    if len(perm) < size:                                # a row of zeros for those who get nothing
        none = (0,) * aval_of(x).ndim
        x = OPS["pad"](x, Hooks.lit_like(0, aval_of(x).with_shape(())), low=none, high=(1, *none[1:]),
                       interior=none)
    return [OPS["gather"](x, source, mode="clip")], [0]


ppermute = linear(
    "ppermute", family="collective", infer=_permute_infer, batch=_permute_batch, lower=_no_lower, always=True,
    transpose=lambda cts, operands, *, axis_name, perm: [
        ppermute(cts[0], axis_name=axis_name, perm=tuple([(j, i) for i, j in perm]))])


# ----- all_to_all: part j of example i's split axis goes to place i of example j's concat axis ------------


def _exchange_infer(x, *, axis_name, split, concat):
    rest = x.shape[:split] + x.shape[split + 1:]
    return (*rest[:concat], x.shape[split], *rest[concat:]), x.dtype


def _exchange_batch(size, operands, dims, *, axis_name, split, concat):
    (x,), (d,) = operands, dims
    if axis_name == AXIS.name:
        x = batch_first(size, x, d)
        # axes [example, ..., part, ...]: the part becomes the example, the example the new axis
        x = move_axis(x, split + 1, 0)
        return [move_axis(x, 1, concat + 1)], [0]
    out = all_to_all(batch_first(size, x, d), axis_name=axis_name, split=split + 1, concat=concat + 1)
    return [out], [0]


all_to_all = linear(
    "all_to_all", family="collective", infer=_exchange_infer, batch=_exchange_batch, lower=_no_lower,
    always=True, transpose=lambda cts, operands, *, axis_name, split, concat: [
        all_to_all(cts[0], axis_name=axis_name, split=concat, concat=split)])
