"""Arrays one after the other: a concatenation as one step."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from .fuse import FUSE_FROM
from .run import kernel_cost
from .view import View, line_walk

MOST_PIECES = 8           # more are copied one by one


def join(ctx: Any, pieces: Sequence[View], axis: int) -> View:
    """The pieces one after the other along an axis."""
    first = pieces[0]
    shape = (*first.shape[:axis], sum([v.shape[axis] for v in pieces]), *first.shape[axis + 1:])
    out = ctx.new(shape, first.dtype)
    if 0 in shape:
        return out
    pieces = [v for v in pieces if v.size]
    size = first.dtype.itemsize
    walks = [line_walk(v, axis) for v in pieces]
    known = [w for w in walks if w is not None]
    if len(pieces) > MOST_PIECES or len(known) < len(walks):
        at = 0
        for v in pieces:
            start = tuple([at if d == axis else 0 for d in range(len(shape))])
            at += v.shape[axis]
            limit = tuple([at if d == axis else n for d, n in enumerate(shape)])
            ctx.copy(out.slice(start, limit, (1,) * len(shape)), v)
        return out
    lines, line = prod(shape[:axis]), prod(shape[axis:])
    ends, at = [], 0
    for v in pieces:
        at += prod(v.shape[axis:])
        ends.append(at)
    kernel = f"join:{size}"
    ns = kernel_cost(kernel)
    if lines * line >= FUSE_FROM and ctx.fused:
        ctx.large = True
    ints = (*[n for w in known for n in w], *ends)
    ctx.step(kernel, [out, *pieces], (lines, line), ((line * size, size), *known), ends, ns * lines * line,
             fusable=(kernel, ns, ints, out, tuple(pieces), None))
    return out
