"""Collectives over a named axis of vmap."""

from __future__ import annotations

import threading

import numpy as np

from ..ir.op import Hooks, Linear, Op, aval_of, flat, linear, move_axis, spread
from .elementwise import OPS, convert, div, eq, mul, zmul
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
    """Each example gets what all of them sent to its own slice."""
    total = psum(cts[0], axis_name=axis_name)
    at = axis_index(axis_name=axis_name)
    aval: Linear = operands[0].aval
    starts = [at if i == axis else np.int64(0) for i in range(aval.ndim + 1)]
    sizes = (*aval.shape[:axis], 1, *aval.shape[axis:])
    return [OPS["reshape"](OPS["dynamic_slice"](total, *starts, sizes=sizes), shape=aval.shape)]


all_gather = linear("all_gather", family="collective", infer=_gather_infer, batch=_gather_batch,
                    lower=_no_lower, transpose=_gather_transpose, always=True)


def _index_batch(size, operands, dims, *, axis_name):
    return [iota(shape=(size,), dtype=np.dtype("int64"), axis=0)], [0]


axis_index = flat("axis_index", family="collective", batch=_index_batch, lower=_no_lower, always=True,
                  infer=lambda *, axis_name: ((), np.dtype("int64")))
