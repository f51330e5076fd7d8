"""Ops that are there for more than their values: the barrier between simplifications."""

from __future__ import annotations

from ..ir.op import Hooks, Op


def _barrier_jvp(primals, tangents):
    moves = [not isinstance(t, Hooks.zero) for t in tangents]
    outs = optimization_barrier(*primals)
    given = [t for t, m in zip(tangents, moves, strict=True) if m]
    rest = iter(optimization_barrier(*given) if given else [])
    return outs, [next(rest) if m else t for t, m in zip(tangents, moves, strict=True)]


def _barrier_transpose(cts, operands):
    moves = [not isinstance(ct, Hooks.zero) for ct in cts]
    rest = iter(optimization_barrier(*[ct for ct, m in zip(cts, moves, strict=True) if m]))
    return [next(rest) if m else None for m in moves]


# Equations on the two sides are not simplified together; the values stay where they are.
optimization_barrier = Op(
    "optimization_barrier", "effect", multiple=True, infer=lambda *avals: [a.strong for a in avals],
    jvp=_barrier_jvp, transpose=_barrier_transpose, lower=lambda ctx, eqn, views: views,
    batch=lambda size, operands, dims: (optimization_barrier(*operands), dims))

__all__ = ["optimization_barrier"]
