"""Control flow that holds programs and runs them natively in a plan: cond, and what loops share."""

from __future__ import annotations

import numpy as np

from ..errors import CarryTypeError
from ..ir.core import Jaxpr, Var
from ..ir.op import OPS, Linear, Op, aval_of, move_axis, program_work
from .call import Passes, fill, is_zero, nonzero, split
from .elementwise import select
from .reach import branches
from .shape import broadcast_in_dim


def rearranged(jaxpr: Jaxpr, ins, outs) -> Jaxpr:
    """The same program with inputs and outputs in another order: position i takes old ``ins[i]``."""
    return Jaxpr([jaxpr.invars[i] for i in ins], jaxpr.eqns, [jaxpr.outs[i] for i in outs],
                 jaxpr.retraced)


def order(*groups) -> list[int]:
    """Positions that bring interleaved groups together: groups are (start, mask) or (start, count)."""
    out: list[int] = []
    for start, count in groups:
        out += range(start, start + count)
    return out


def grow(mask, more):
    return tuple([a or b for a, b in zip(mask, more, strict=True)])


def check_carry(name, carry, got):
    for i, (a, b) in enumerate(zip(carry, got, strict=True)):
        if a.strong is not b.strong:
            raise CarryTypeError(f"{name}: carry {i} starts as {a} but the body returns {b}.",
                                 "Make the body return the type that it is given.")


def invariant(jaxpr, n_consts) -> set:
    """Variables of a body that are the same at every turn: they depend on its consts alone, and on no
    equation that acts (a callback may give something else each time)."""
    fixed = set(jaxpr.invars[:n_consts])
    for eqn in jaxpr.eqns:
        if not eqn.sig.effect and all(type(x) is not Var or x in fixed for x in eqn.inputs):
            fixed.update(eqn.outs)
    return fixed


def hoist(jaxpr, wanted, consts, n_consts) -> list:
    """The values of ``wanted`` variables, which depend on consts alone, outside of the loop."""
    if not wanted:
        return []
    return Passes.evaluate(Jaxpr(jaxpr.invars[:n_consts], needed(jaxpr, wanted), wanted), consts)


def needed(jaxpr, wanted) -> list:
    """The equations that the variables ``wanted`` depend on."""
    need, eqns = {v for v in wanted if type(v) is Var}, []
    for eqn in reversed(jaxpr.eqns):
        if not need.isdisjoint(eqn.outs):
            eqns.append(eqn)
            need.update(x for x in eqn.inputs if type(x) is Var)
    return eqns[::-1]


def guarded(jaxpr: Jaxpr) -> Jaxpr:
    """The program with a flag in front: where it is false, contractions get zeros.

    They are IEEE, so an inf or nan of what a batched flag leaves out would reach gradients as 0 * inf;
    elementwise derivatives have strong zeros and need no mask.
    """
    def run(taken, *args):
        env = dict(zip(jaxpr.invars, args, strict=True))
        for eqn in jaxpr.eqns:
            values = [env[x] if type(x) is Var else x for x in eqn.inputs]
            if eqn.op.family == "bilinear":
                values = [select(spread_to(taken, aval_of(v).shape), v, 0) for v in values]
            outs = eqn.op(*values, **eqn.params)
            env.update(zip(eqn.outs, outs if eqn.op.multiple else [outs], strict=True))
        return [env[x] if type(x) is Var else x for x in jaxpr.outs]

    return Passes.stage(run, [Passes.aval((), np.bool_), *[a.strong for a in jaxpr.in_avals]])


def spread_to(x, shape):
    """A scalar repeated to ``shape``."""
    return broadcast_in_dim(x, shape=shape, dims=())


def choose(flags, new, old) -> list:
    """Per example the new values where its flag is set, else the old ones; batch axes come first."""
    return [select(broadcast_in_dim(flags, shape=aval_of(a).shape, dims=(0,)), a, b)
            for a, b in zip(new, old, strict=True)]


# ----- cond ----------------------------------------------------------------------------------------------


def _cond_infer(index, *avals, branches):
    if index.shape or index.dtype != np.int64:
        raise TypeError(f"cond: the index must be an int64 scalar, got {index}")
    first = branches[0].out_avals
    for i, branch in enumerate(branches[1:], 1):
        if [a.strong for a in branch.out_avals] != [a.strong for a in first]:
            raise TypeError(f"cond: branches must return the same types; branch 0 returns "
                            f"{', '.join(map(str, first))}, branch {i} "
                            f"{', '.join(map(str, branch.out_avals))}")
    return [a.strong for a in first]


def _cond_jvp(primals, tangents, *, branches):
    index, *args = primals
    ts = tangents[1:]
    masks = [Passes.jvp_jaxpr(b, nonzero(ts))[1] for b in branches]
    keep = tuple([any(m) for m in zip(*masks, strict=True)])
    moved = tuple([Passes.jvp_jaxpr(b, nonzero(ts), keep)[0] for b in branches])
    outs = cond(index, *args, *[t for t in ts if not is_zero(t)], branches=moved)
    outs, out_ts = split(outs, len(keep))
    return outs, fill(keep, out_ts, branches[0].out_avals)


def _cond_linearize(primals, tangents, *, branches):
    index, *args = primals
    ts = tangents[1:]
    n_out = len(branches[0].outs)
    masks = [Passes.linearize_jaxpr(b, nonzero(ts))[-1] for b in branches]
    keep = tuple([any(m) for m in zip(*masks, strict=True)])
    halves = [Passes.linearize_jaxpr(b, nonzero(ts), keep)[:2] for b in branches]
    # Residuals of all branches share slots by type; a branch fills the others with zeros.
    slots: list = []
    places = []
    for fwd, _ in halves:
        used: list = []
        for a in fwd.out_avals[n_out:]:
            at = next((i for i, s in enumerate(slots) if s is a.strong and i not in used), len(slots))
            if at == len(slots):
                slots.append(a.strong)
            used.append(at)
        places.append(used)
    fwds, lins = [], []
    n_lin = sum(nonzero(ts))
    for (fwd, lin), used in zip(halves, places, strict=True):
        given = dict(zip(used, fwd.outs[n_out:], strict=True))
        zeros = [given.get(i) or Passes.lit(0, s) for i, s in enumerate(slots)]
        fwds.append(Jaxpr(fwd.invars, fwd.eqns, [*fwd.outs[:n_out], *zeros], fwd.retraced))
        names = dict(zip(used, lin.invars[n_lin:], strict=True))
        lins.append(Jaxpr([*lin.invars[:n_lin], *[names.get(i) or Passes.var(s)
                                                  for i, s in enumerate(slots)]],
                          lin.eqns, lin.outs, lin.retraced))
    outs, residuals = split(cond(index, *args, branches=tuple(fwds)), n_out)
    out_ts = cond(index, *[t for t in ts if not is_zero(t)], *residuals,
                  branches=tuple(lins)) if any(keep) else []
    return outs, fill(keep, out_ts, branches[0].out_avals)


def _cond_transpose(cts, operands, *, branches):
    index, *args = operands
    linear = tuple([isinstance(x, Linear) for x in args])
    back = tuple([Passes.transpose_masked(b, linear, nonzero(cts), linear)[0] for b in branches])
    got = iter(cond(index, *[x for x in args if not isinstance(x, Linear)],
                    *[c for c in cts if not is_zero(c)], branches=back))
    return [None, *[next(got) if m else None for m in linear]]


def _cond_batch(size, operands, dims, *, branches):
    index, *args = operands
    d_i, *d_args = dims
    if d_i is None:
        masks = [Passes.batch_jaxpr(b, size, d_args)[1] for b in branches]
        batched = tuple([any(m) for m in zip(*masks, strict=True)])
        moved = tuple([Passes.batch_jaxpr(b, size, d_args, batched)[0] for b in branches])
        return cond(index, *args, branches=moved), [0 if b else None for b in batched]
    # Examples take different branches: run all of them and select.
    index = OPS["min"](OPS["max"](move_axis(index, d_i, 0), 0), len(branches) - 1)
    chosen: list = []
    for i, branch in enumerate(branches):
        taken = OPS["eq"](index, i)
        moved, _ = Passes.batch_jaxpr(guarded(branch), size, [0, *d_args], (True,) * len(branch.outs))
        outs = Passes.evaluate(moved, [taken, *args])
        chosen = choose(taken, outs, chosen) if chosen else outs
    return chosen, [0] * len(chosen)


cond = Op("cond", "control", multiple=True, infer=_cond_infer, jvp=_cond_jvp,
          linearize=_cond_linearize, transpose=_cond_transpose, batch=_cond_batch, reach=branches,
          lower=lambda ctx, eqn, views: ctx.cond(eqn, views),
          # the branch that takes most
          work=lambda sig: max([program_work(b) for b in sig.params["branches"]], key=sum))
