"""The op that holds a program and keeps it together, and what all such ops share."""

from __future__ import annotations

from typing import Any

from ..ir.op import Hooks, Linear, Op, program_work
from .reach import inside


class Passes:
    """The passes that rules of higher-order ops apply to their programs; set by ``transform``."""

    jvp_jaxpr: Any
    linearize_jaxpr: Any
    transpose_masked: Any
    batch_jaxpr: Any
    batch_fun: Any
    linearize_rule: Any
    transpose_fun: Any
    jvp_fun: Any
    linearize_inside: Any
    recomputing: Any
    evaluate: Any
    stage: Any
    lit: Any
    var: Any
    aval: Any


def split(values, *sizes):
    """``values`` cut into lists of the given sizes and what remains."""
    out, at = [], 0
    for n in sizes:
        out.append(list(values[at:at + n]))
        at += n
    return [*out, list(values[at:])]


def is_zero(t) -> bool:
    return isinstance(t, Hooks.zero)


def nonzero(tangents) -> tuple[bool, ...]:
    return tuple([not is_zero(t) for t in tangents])


def pick(values, mask) -> list:
    """The values whose mask is true."""
    return [v for v, m in zip(values, mask, strict=True) if m]


def fill(mask, values, avals) -> list:
    """``values`` at the true places of ``mask``, symbolic zeros of ``avals`` elsewhere."""
    rest = iter(values)
    return [next(rest) if m else Hooks.zero(a) for m, a in zip(mask, avals, strict=True)]


# ----- call ------------------------------------------------------------------------------------------


def _call_infer(*avals, jaxpr, name):
    check_args(name, jaxpr, avals)
    return [a.strong for a in jaxpr.out_avals]


def check_args(name, jaxpr, avals):
    if len(avals) != len(jaxpr.in_avals) or any(
            a.strong is not b.strong for a, b in zip(avals, jaxpr.in_avals, strict=True)):
        raise TypeError(f"{name}: got {', '.join(map(str, avals))} for a program that takes "
                        f"{', '.join(map(str, jaxpr.in_avals))}")


def _call_jvp(primals, tangents, *, jaxpr, name):
    moved, keep = Passes.jvp_jaxpr(jaxpr, nonzero(tangents))
    ts = [t for t in tangents if not is_zero(t)]
    outs, out_ts = split(call(*primals, *ts, jaxpr=moved, name=name), len(jaxpr.outs))
    return outs, fill(keep, out_ts, jaxpr.out_avals)


def _call_linearize(primals, tangents, *, jaxpr, name):
    if _holds_while(jaxpr):         # what it stacks must not cross the border of a program
        return Passes.linearize_inside(jaxpr, primals, tangents)
    fwd, lin, keep = Passes.linearize_jaxpr(jaxpr, nonzero(tangents))
    outs, residuals = split(call(*primals, jaxpr=fwd, name=name), len(jaxpr.outs))
    ts = [t for t in tangents if not is_zero(t)]
    out_ts = call(*ts, *residuals, jaxpr=lin, name=name) if lin.outs else []
    return outs, fill(keep, out_ts, jaxpr.out_avals)


def _holds_while(jaxpr):
    return any(e.op.name == "while" or (e.op is call and _holds_while(e.params["jaxpr"])) for e in jaxpr.eqns)


def _call_transpose(cts, operands, *, jaxpr, name):
    linear = tuple([isinstance(x, Linear) for x in operands])
    back, keep = Passes.transpose_masked(jaxpr, linear, nonzero(cts))
    values = [x for x in operands if not isinstance(x, Linear)] + [c for c in cts if not is_zero(c)]
    got = iter(call(*values, jaxpr=back, name=name) if back.outs else [])
    return [next(got) if k else None for k in keep]


def _call_batch(size, operands, dims, *, jaxpr, name):
    batched, out = Passes.batch_jaxpr(jaxpr, size, dims)
    return call(*operands, jaxpr=batched, name=name), [0 if b else None for b in out]


def _inner_work(sig):
    return program_work(sig.params["jaxpr"])


def inline(ctx, eqn, views):
    return ctx.inline(eqn.params["jaxpr"], views)


call = Op("call", "call", multiple=True, infer=_call_infer, jvp=_call_jvp, linearize=_call_linearize,
          transpose=_call_transpose, batch=_call_batch, lower=inline, work=_inner_work, reach=inside)
