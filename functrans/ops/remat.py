"""remat: a program whose values are computed again in the backward pass instead of kept, but for those
that a policy saves; and the names by which policies know values."""

from __future__ import annotations

from ..ir.core import Jaxpr, Var
from ..ir.op import ErrorSample, Op, Sample, linear, program_work
from .call import Passes, call, check_args, fill, inline, is_zero, nonzero, split
from .effects import silenced
from .reach import inside


def _remat_infer(*avals, jaxpr, policy=None):
    check_args("remat", jaxpr, avals)
    return [a.strong for a in jaxpr.out_avals]


def _remat_jvp(primals, tangents, *, jaxpr, policy=None):
    moved, keep = Passes.jvp_jaxpr(jaxpr, nonzero(tangents))
    ts = [t for t in tangents if not is_zero(t)]
    outs, out_ts = split(remat(*primals, *ts, jaxpr=moved, policy=policy), len(jaxpr.outs))
    return outs, fill(keep, out_ts, jaxpr.out_avals)


def _remat_linearize(primals, tangents, *, jaxpr, policy=None):
    """The linear half holds what is computed again: its transpose does so when the cotangent is there.

    That half is an opaque call, so no pass merges the recomputation with the forward program.
    """
    fwd, lin, keep = Passes.linearize_jaxpr(jaxpr, nonzero(tangents))
    n_out, ts = len(jaxpr.outs), [t for t in tangents if not is_zero(t)]
    again, used, saved = _parts(fwd, n_out, policy)
    if saved:
        jaxpr = Jaxpr(fwd.invars, fwd.eqns, [*fwd.outs[:n_out], *saved], fwd.retraced)
    outs, kept = split(remat(*primals, jaxpr=jaxpr, policy=policy), n_out)
    if not lin.outs:
        return outs, fill(keep, [], jaxpr.out_avals[:n_out])
    lin = Passes.recomputing(fwd, lin, n_out, again, [*[fwd.invars[i] for i in used], *saved])
    out_ts = call(*ts, *[primals[i] for i in used], *kept, jaxpr=lin, name="remat")
    return outs, fill(keep, out_ts, jaxpr.out_avals[:n_out])


def _parts(fwd, n_out, policy):
    """How to come by the residuals of ``fwd``: equations that run again, inputs and values that they
    start from."""
    makers = {v: e for e in fwd.eqns for v in e.outs}
    place = {v: i for i, v in enumerate(fwd.invars)}

    def save(e):
        """What a policy says; and an action's result, which another run may not give."""
        return not any(a.stacked for a in e.sig.outs) and (
            (policy is not None and bool(policy(e.op, *e.sig.in_avals, **e.params)))
            or any(again.sig.effect for again in silenced([e], e.outs)))

    saves = {e: save(e) for e in fwd.eqns}
    again, used, saved = set(), set(), {}
    todo = list(fwd.outs[n_out:])
    while todo:
        x = todo.pop()
        if type(x) is not Var:
            continue
        if x in place:
            used.add(place[x])
        elif saves[makers[x]]:
            saved[x] = None
        elif makers[x] not in again:
            again.add(makers[x])
            todo += makers[x].inputs
    # what a saved equation gives may also come out of one that runs again: then the latter does
    made = {v for e in again for v in e.outs}
    return [e for e in fwd.eqns if e in again], sorted(used), [v for v in saved if v not in made]


def _remat_batch(size, operands, dims, *, jaxpr, policy=None):
    batched, out = Passes.batch_jaxpr(jaxpr, size, dims)
    return remat(*operands, jaxpr=batched, policy=policy), [0 if b else None for b in out]


remat = Op("remat", "call", multiple=True, infer=_remat_infer, jvp=_remat_jvp,
           linearize=_remat_linearize, transpose=None, batch=_remat_batch, lower=inline, reach=inside,
           work=lambda sig: program_work(sig.params["jaxpr"]))


def _name_infer(x, *, name):
    if not isinstance(name, str):
        raise TypeError(f"checkpoint_name: the name must be a string, got {name!r}")
    return x.shape, x.dtype


# A name for policies; the tangent has none.
checkpoint_name = linear(
    "checkpoint_name", infer=_name_infer,
    jvp=lambda primals, tangents, *, name: ([checkpoint_name(*primals, name=name)], list(tangents)),
    transpose=lambda cts, operands, *, name: cts,
    batch=lambda size, operands, dims, *, name: ([checkpoint_name(*operands, name=name)], dims),
    simplify=lambda inputs, params, program: inputs[0] if program.final else None,
    lower=lambda ctx, eqn, views: views, reference=lambda x, *, name: x,
    samples=[Sample("f64[3]", name="x"), Sample("i32[2,2]", name="y")],
    errors=[ErrorSample("f64[3]", name=3, error=TypeError, match="must be a string")])
