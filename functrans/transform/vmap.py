"""Batching: a program for one example becomes a program for many."""

from __future__ import annotations

from ..ir.core import Jaxpr, Lit, aval, lit
from ..ir.op import move_axis, spread
from ..ops.collective import AXIS
from ..trace.core import aval_of, trace
from .interpret import batch_values
from .programs import cached_pass, closed


def to_dim(x, dim, target, size):
    """x with its batch axis at ``target``: moved, or spread if it has none."""
    return spread(x, size, target) if dim is None else move_axis(x, dim, target)


def batch_jaxpr(jaxpr: Jaxpr, size: int, dims, force=None):
    """``a -> b`` to the same over a batch; axis at ``dims[i]`` of input i (None: not batched).

    Batched outputs have it first; ``force`` names outputs that must have it. The named axis in
    progress goes on inside. Returns ``(jaxpr, batched outputs as bools)``.
    """
    return _batch_jaxpr(jaxpr, size, tuple(dims), None if force is None else tuple(force), AXIS.name)


@cached_pass("vmap")
def _batch_jaxpr(jaxpr, size, dims, force, axis_name):
    def run(*values):
        outs, out_dims = batch_values(jaxpr, size, values, dims, axis_name)
        wanted = [d is not None or (force is not None and force[i]) for i, d in enumerate(out_dims)]
        outs = [to_dim(x, d, 0, size) if w else x
                for x, d, w in zip(outs, out_dims, wanted, strict=True)]
        return outs, tuple(wanted)

    avals = [a.strong if d is None else
             aval((*a.shape[:d], size, *a.shape[d:]), a.dtype)
             for a, d in zip(jaxpr.in_avals, dims, strict=True)]
    return closed(run, avals, "vmap")


def batch_fun(fun, size: int, values, dims) -> list:
    """``fun`` of values of one example, mapped over ``values``; results have the batch axis first.

    Literals stay literals: a rule can see that a tangent is zero.
    """
    avals, moved, moved_dims, known = [], [], [], []
    for x, d in zip(values, dims, strict=True):
        a = aval_of(x).strong
        a = a if d is None else aval((*a.shape[:d], *a.shape[d + 1:]), a.dtype)
        if type(x) is Lit:
            known.append(lit(x.value, a))
            continue
        known.append(None)
        avals.append(a)
        moved.append(x)
        moved_dims.append(d)

    def one(*tracers):
        rest = iter(tracers)
        return fun(*[next(rest) if x is None else x for x in known]), None

    jaxpr, consts, _ = trace(one, avals, None, "vmap")
    outs, out_dims = batch_values(jaxpr, size, [*moved, *consts],
                                  [*moved_dims, *[None] * len(consts)], AXIS.name)
    return [to_dim(x, d, 0, size) for x, d in zip(outs, out_dims, strict=True)]
