"""Ops that users add: a record for each, whose rules ask the user's primitive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import errors
from ..ir.op import OPS, Hooks, Linear, Op, aval_of, instantiate, move_axis, spread
from .custom import batched_cts, batched_jvp


class Runner:
    """A primitive's Python function in a plan: for each of ``size`` examples, or once."""

    def __init__(self, primitive, static, size, mask):
        self.primitive, self.static, self.size, self.mask = primitive, static, size, mask

    def __call__(self, *arrays):
        if self.mask is None:
            return self.primitive.computed(arrays, self.static)
        if not self.size:
            avals = [aval_of(np.empty(x.shape[1:] if m else x.shape, x.dtype))
                     for x, m in zip(arrays, self.mask, strict=True)]
            return [np.empty((0, *shape), dtype) for shape, dtype in self.primitive.typed(avals, self.static)]
        rows = [self.primitive.computed([x[i] if m else x for x, m in zip(arrays, self.mask, strict=True)],
                                        self.static) for i in range(self.size)]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def __repr__(self):
        return f"<{self.primitive.name}>"


def own_op(primitive: Any) -> Op:
    """The record of a primitive; it takes the place of an earlier one of the user's of this name.

    Parameters: ``static``, the user's own as sorted pairs; ``size`` and ``mask``, of a batch that the
    kernel goes through example by example: how many, and which operands have that axis, as their first
    (None: there is no batch).
    """
    name = primitive.name
    if name in OPS and OPS[name].family != "own":
        raise errors.ArgumentError(f"primitive: {name!r} is the name of an op of functrans.",
                                   "Choose another.")
    OPS.pop(name, None)

    def call(*operands, **params):
        return Hooks.bind(op, tuple(operands), params)

    def one(avals, mask):
        """The types of an example."""
        return [a.with_shape(a.shape[1:]) if mask is not None and mask[i] else a.strong
                for i, a in enumerate(avals)]

    def infer(*avals, static, size, mask):
        outs = primitive.typed(one(avals, mask), static)
        return outs if mask is None else [((size, *shape), dtype) for shape, dtype in outs]

    def jvp(primals, tangents, *, static, size, mask):
        moved = [i for i, t in enumerate(tangents) if not isinstance(t, Hooks.zero)]
        if primitive.jvp is None and set(moved) <= set(primitive.linear):
            mixed = list(primals)
            for i in primitive.linear:
                mixed[i] = instantiate(tangents[i])
            return (call(*primals, static=static, size=size, mask=mask),
                    call(*mixed, static=static, size=size, mask=mask))
        rule = primitive.forward(static)
        if mask is not None:
            rule = batched_jvp(rule, size, [0 if m else None for m in mask])
        outs, out_ts = rule(list(primals), [instantiate(t) for t in tangents])
        return outs, [t if aval_of(o).dtype.kind in "fc" else Hooks.zero(aval_of(o))
                      for o, t in zip(outs, out_ts, strict=True)]

    def transpose(cts, operands, *, static, size, mask):
        linear = [isinstance(x, Linear) for x in operands]
        avals = one([x.aval if m else aval_of(x) for x, m in zip(operands, linear, strict=True)], mask)
        residuals = [x for x, m in zip(operands, linear, strict=True) if not m]

        def back(values, cts):
            return primitive.backward(values, cts, avals, linear, static)

        cts = [instantiate(ct) for ct in cts]
        if mask is None:
            got = back(residuals, cts)
        else:
            dims = [0 if m else None for m in mask]
            got = batched_cts(back, size, residuals, cts, [d for d, m in zip(dims, linear, strict=True) if m],
                              [d for d, m in zip(dims, linear, strict=True) if not m])
        rest = iter(got)
        return [next(rest) if m else None for m in linear]

    def batch(size, operands, dims, *, static, size_before, mask):
        mapped = [d is not None for d in dims]
        values = [x if d is None else move_axis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
        if primitive.vmap is not None and mask is None:
            outs, out_mapped = primitive.batched(size, mapped, values, static)
            return outs, [0 if m else None for m in out_mapped]
        if mask is None and primitive.method != "sequential":
            if primitive.method == "expand_dims":
                values = [x if m else OPS["reshape"](x, shape=(1, *aval_of(x).shape))
                          for x, m in zip(values, mapped, strict=True)]
            else:
                values = [x if m else spread(x, size, 0) for x, m in zip(values, mapped, strict=True)]
            outs = call(*values, static=static, size=0, mask=None)
            return outs, [0] * len(outs)
        if mask is None:
            outs = call(*values, static=static, size=size, mask=tuple(mapped))
            return outs, [0] * len(outs)
        flat = []                       # a batch of batches is one batch
        for x, new, old in zip(values, mapped, mask, strict=True):
            if new or old:
                x = x if new else spread(x, size, 0)
                x = x if old else spread(x, size_before, 1)
                x = OPS["reshape"](x, shape=(size * size_before, *aval_of(x).shape[2:]))
            flat.append(x)
        outs = call(*flat, static=static, size=size * size_before,
                    mask=tuple([a or b for a, b in zip(mapped, mask, strict=True)]))
        outs = [OPS["reshape"](x, shape=(size, size_before, *aval_of(x).shape[1:])) for x in outs]
        return outs, [0] * len(outs)

    def lower(ctx, eqn, views):
        p = eqn.params
        if primitive.kernel is None:
            return ctx.python(Runner(primitive, **p), eqn, views)
        return _native(ctx, eqn, views, primitive, one(eqn.sig.in_avals, p["mask"]), **p)

    op = Op(name, "own", multiple=True, infer=infer, jvp=jvp, transpose=transpose, lower=lower,
            batch=lambda n, operands, dims, *, static, size, mask: batch(
                n, operands, dims, static=static, size_before=size, mask=mask))
    return op


def _native(ctx, eqn, views, primitive, avals, *, static, size, mask):
    """The step of a kernel in C. ints: its address; then, for a function of numbers, how it is called and
    how often; for one of arrays, how many parameters and turns, the parameters, the bytes that each operand
    moves on by in a turn, and the extents of all operands."""
    kernel, outs = primitive.kernel, eqn.sig.outs
    named = (primitive.name, errors.format_location(*eqn.src) if eqn.src else None)
    if all(a.size == 0 for a in outs):
        return [ctx.new(a) for a in outs]
    if kernel.scalars:
        return ctx.native("own_scalars", eqn, views, (kernel.address, kernel.code, outs[0].size),
                          primitive.cost(outs), named)
    values = [float(dict(static)[name]) for name in primitive.parameters]
    turns = size if mask is not None else 1
    types = [*(a if mask is None else a.with_shape(a.shape[1:]) for a in outs), *avals]
    moves = [mask is None or m for m in [*[True] * len(outs), *(mask or [True] * len(avals))]]
    shapes = [n for a in types for n in (a.ndim, *a.shape)]
    bits = np.array(values, np.float64).view(np.int64).tolist()
    return ctx.native("own_arrays", eqn, views, (
        kernel.address, len(bits), turns, *bits,
        *[math.prod(a.shape) * a.dtype.itemsize if m else 0 for a, m in zip(types, moves, strict=True)],
        *shapes), primitive.cost(outs), named)


__all__ = ["own_op"]
