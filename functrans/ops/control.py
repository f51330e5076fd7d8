"""Control flow: scan, while and cond hold programs and run them natively in a plan."""

from __future__ import annotations

import numpy as np

from ..errors import CarryTypeError, NonDifferentiableError
from ..ir.core import Jaxpr, Var
from ..ir.op import Hooks, Linear, Op, aval_of, batch_first, instantiate, move_axis, program_work
from .call import Passes, fill, is_zero, nonzero, pick, split
from .elementwise import OPS, select
from .reach import any_turns, branches, turns
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


def _grow(mask, more):
    return tuple([a or b for a, b in zip(mask, more, strict=True)])


def _check_carry(name, carry, got):
    for i, (a, b) in enumerate(zip(carry, got, strict=True)):
        if a.strong is not b.strong:
            raise CarryTypeError(f"{name}: carry {i} starts as {a} but the body returns {b}.",
                                 "Make the body return the type that it is given.")


# ----- scan --------------------------------------------------------------------------------------------
# body: (consts, carry, x) -> (carry, y); operands: consts, carry, xs; results: carry, ys.


def _scan_infer(*avals, jaxpr, n_consts, n_carry, length, reverse):
    _, carry, xs = split(avals, n_consts, n_carry)
    for x in xs:
        if x.ndim == 0 or x.shape[0] != length:
            raise ValueError(f"scan: every xs needs a leading axis of length {length}, got {x}")
    _check_carry("scan", carry, jaxpr.out_avals[:n_carry])
    ys = [((length, *a.shape), a.dtype) for a in jaxpr.out_avals[n_carry:]]
    return [a.strong for a in jaxpr.out_avals[:n_carry]] + ys


def _scan_masks(jaxpr, n_consts, n_carry, tangents, apply):
    """Which inputs of the body are perturbed: a fixpoint over the carry. ``apply`` is the pass in
    progress: reverse mode must not ask for the jvp of a body with custom_vjp rules."""
    consts, carry, xs = (tuple(m) for m in split(nonzero(tangents), n_consts, n_carry))
    while True:
        keep = apply(jaxpr, (*consts, *carry, *xs))[-1]
        grown = _grow(carry, keep[:n_carry])
        if grown == carry:
            return consts, carry, xs
        carry = grown


def _forced(n_carry, carry, n_out):
    return (*carry, *(False,) * (n_out - n_carry))


def _scan_jvp(primals, tangents, *, jaxpr, n_consts, n_carry, **params):
    consts, carry, xs = _scan_masks(jaxpr, n_consts, n_carry, tangents, Passes.jvp_jaxpr)
    n_out = len(jaxpr.outs)
    moved, keep = Passes.jvp_jaxpr(jaxpr, (*consts, *carry, *xs), _forced(n_carry, carry, n_out))
    n_in, tc, tk = len(jaxpr.invars), sum(consts), sum(carry)
    n_y = n_out - n_carry
    body = rearranged(
        moved, order((0, n_consts), (n_in, tc), (n_consts, n_carry), (n_in + tc, tk),
                     (n_consts + n_carry, len(xs)), (n_in + tc + tk, sum(xs))),
        order((0, n_carry), (n_out, tk), (n_carry, n_y), (n_out + tk, sum(keep) - tk)))
    pc, pk, px = split(primals, n_consts, n_carry)
    t_c, t_k, t_x = split(tangents, n_consts, n_carry)
    outs = scan(*pc, *pick(t_c, consts), *pk, *[instantiate(t) for t in pick(t_k, carry)], *px,
                *pick(t_x, xs), jaxpr=body, n_consts=n_consts + tc, n_carry=n_carry + tk, **params)
    out_k, out_tk, ys, t_ys = split(outs, n_carry, tk, n_y)
    return out_k + ys, fill(keep, out_tk + t_ys, [aval_of(o) for o in out_k + ys])


def _scan_linearize(primals, tangents, *, jaxpr, n_consts, n_carry, **params):
    consts, carry, xs = _scan_masks(jaxpr, n_consts, n_carry, tangents, Passes.linearize_jaxpr)
    n_out = len(jaxpr.outs)
    fwd, lin, keep = Passes.linearize_jaxpr(jaxpr, (*consts, *carry, *xs), _forced(n_carry, carry, n_out))
    pc, pk, px = split(primals, n_consts, n_carry)
    t_c, t_k, t_x = split(tangents, n_consts, n_carry)
    # A residual that is the same at every step is computed once, outside; one that is an x is there.
    residual_vars = fwd.outs[n_out:]
    fixed = _invariant(fwd, n_consts)
    x_at = dict(zip(fwd.invars[n_consts + n_carry:], px, strict=True))
    kinds = ["const" if type(v) is not Var or v in fixed else "x" if v in x_at else "step"
             for v in residual_vars]
    hoisted = iter(_hoist(fwd, pick(residual_vars, [k == "const" for k in kinds]), pc, n_consts))
    steps = [n_out + i for i, k in enumerate(kinds) if k == "step"]
    body = Jaxpr(fwd.invars, fwd.eqns, [*fwd.outs[:n_out], *[fwd.outs[i] for i in steps]], fwd.retraced)
    outs = scan(*pc, *pk, *px, jaxpr=body, n_consts=n_consts, n_carry=n_carry, **params)
    outs, stacked = split(outs, n_out)
    stacked = iter(stacked)
    residuals = [next(hoisted) if k == "const" else x_at[v] if k == "x" else next(stacked)
                 for k, v in zip(kinds, residual_vars, strict=True)]
    n_lin = sum(consts) + sum(carry) + sum(xs)
    res_const = [i for i, k in enumerate(kinds) if k == "const"]
    res_x = [i for i, k in enumerate(kinds) if k != "const"]
    tc, tk = sum(consts), sum(carry)
    lin_body = rearranged(lin, [*range(tc), *[n_lin + i for i in res_const], *range(tc, n_lin),
                                *[n_lin + i for i in res_x]], range(len(lin.outs)))
    out_ts = scan(*pick(t_c, consts), *[residuals[i] for i in res_const],
                  *[instantiate(t) for t in pick(t_k, carry)], *pick(t_x, xs),
                  *[residuals[i] for i in res_x], jaxpr=lin_body, n_consts=tc + len(res_const),
                  n_carry=tk, **params)
    return outs, fill(keep, out_ts, [aval_of(o) for o in outs])


def _invariant(jaxpr, n_consts) -> set:
    """Variables of a body that depend on its consts alone."""
    fixed = set(jaxpr.invars[:n_consts])
    for eqn in jaxpr.eqns:
        if all(type(x) is not Var or x in fixed for x in eqn.inputs):
            fixed.update(eqn.outs)
    return fixed


def _hoist(jaxpr, wanted, consts, n_consts) -> list:
    """The values of ``wanted`` variables, which depend on consts alone, outside of the loop."""
    if not wanted:
        return []
    return Passes.evaluate(Jaxpr(jaxpr.invars[:n_consts], _needed(jaxpr, wanted), wanted), consts)


def _needed(jaxpr, wanted) -> list:
    """The equations that the variables ``wanted`` depend on."""
    need, eqns = {v for v in wanted if type(v) is Var}, []
    for eqn in reversed(jaxpr.eqns):
        if not need.isdisjoint(eqn.outs):
            eqns.append(eqn)
            need.update(x for x in eqn.inputs if type(x) is Var)
    return eqns[::-1]


def _dependent(jaxpr, mask) -> tuple[bool, ...]:
    """Which outputs depend on the inputs in ``mask`` by a chain of floats."""
    moved = {v for v, m in zip(jaxpr.invars, mask, strict=True) if m}
    for eqn in jaxpr.eqns:
        if any(type(x) is Var and x in moved for x in eqn.inputs):
            moved.update(v for v in eqn.outs if v.aval.dtype.kind in "fc")
    return tuple([type(x) is Var and x in moved for x in jaxpr.outs])


def _scan_transpose(cts, operands, *, jaxpr, n_consts, n_carry, length, reverse):
    consts, carry, xs = split(operands, n_consts, n_carry)
    lin_c, lin_k, lin_x = (tuple([isinstance(o, Linear) for o in g]) for g in (consts, carry, xs))
    while (grown := _grow(lin_k, _dependent(jaxpr, (*lin_c, *lin_k, *lin_x))[:n_carry])) != lin_k:
        lin_k = grown
    if not all(lin_k):
        return _scan_transpose_mixed(cts, consts, carry, xs, lin_k, jaxpr, length, reverse)
    ct_carry, ct_ys = split([instantiate(c) for c in cts], n_carry)
    acc = [o.aval for o in pick(consts, lin_c)]
    res_c = [o for o in consts if not isinstance(o, Linear)]
    res_x = [o for o in xs if not isinstance(o, Linear)]
    n_acc, n_res_c, n_res_x = len(acc), len(res_c), len(res_x)
    linear = (*lin_c, *(True,) * n_carry, *lin_x)
    back, _ = Passes.transpose_masked(jaxpr, linear, (True,) * len(jaxpr.outs), (True,) * len(linear))

    # back: (res consts, res xs, ct carry, ct y) -> (ct consts, ct carry, ct x)
    def body(*values):
        rc, sums, ck, rx, cy = split(values, n_res_c, n_acc, n_carry, n_res_x)
        got = Passes.evaluate(back, [*rc, *rx, *ck, *cy])
        got_c, got_k, got_x = split(got, n_acc, n_carry)
        return [*[OPS["add"](s, g) for s, g in zip(sums, got_c, strict=True)], *got_k, *got_x]

    avals = [*[aval_of(r) for r in res_c], *acc, *jaxpr.in_avals[n_consts:n_consts + n_carry],
             *[a for a, m in zip(jaxpr.in_avals[n_consts + n_carry:], lin_x, strict=True) if not m],
             *jaxpr.out_avals[n_carry:]]
    reversed_body = Passes.stage(body, [a.strong for a in avals])
    outs = scan(*res_c, *[Hooks.lit_like(0, Hooks.zero(a)) for a in acc], *ct_carry, *res_x, *ct_ys,
                jaxpr=reversed_body, n_consts=n_res_c, n_carry=n_acc + n_carry, length=length,
                reverse=not reverse)
    ct_consts, ct_init, ct_xs = split(outs, n_acc, n_carry)
    ct_consts, ct_xs = iter(ct_consts), iter(ct_xs)
    return [*[next(ct_consts) if m else None for m in lin_c],
            *[ct if isinstance(o, Linear) else None for ct, o in zip(ct_init, carry, strict=True)],
            *[next(ct_xs) if m else None for m in lin_x]]


def _scan_transpose_mixed(cts, consts, carry, xs, lin_k, jaxpr, length, reverse):
    """Where part of the carry is not linear (a counter): that part runs first, and its values at every
    step are xs of the rest."""
    n_consts, n_carry = len(consts), len(carry)
    own = [i for i, m in enumerate(lin_k) if not m]
    rest = [i for i, m in enumerate(lin_k) if m]
    invars, at = jaxpr.invars, n_consts + n_carry
    given_c = [i for i, o in enumerate(consts) if not isinstance(o, Linear)]
    given_x = [i for i, o in enumerate(xs) if not isinstance(o, Linear)]
    before = [invars[n_consts + i] for i in own]
    wanted = [jaxpr.outs[i] for i in own]
    ahead = Jaxpr([*[invars[i] for i in given_c], *before, *[invars[at + i] for i in given_x]],
                  _needed(jaxpr, wanted), [*wanted, *before], jaxpr.retraced)
    values = scan(*[consts[i] for i in given_c], *[carry[i] for i in own], *[xs[i] for i in given_x],
                  jaxpr=ahead, n_consts=len(given_c), n_carry=len(own), length=length,
                  reverse=reverse)[len(own):]
    body = rearranged(jaxpr, [*range(n_consts), *[n_consts + i for i in rest],
                              *range(at, len(invars)), *[n_consts + i for i in own]],
                      [*rest, *range(n_carry, len(jaxpr.outs))])
    got = _scan_transpose([*[cts[i] for i in rest], *cts[n_carry:]],
                          [*consts, *[carry[i] for i in rest], *xs, *values], jaxpr=body,
                          n_consts=n_consts, n_carry=len(rest), length=length, reverse=reverse)
    ct_c, ct_k, ct_x = split(got, n_consts, len(rest))
    ct_k = iter(ct_k)
    return [*ct_c, *[next(ct_k) if m else None for m in lin_k], *ct_x[:len(xs)]]


def _scan_batch(size, operands, dims, *, jaxpr, n_consts, n_carry, **params):
    consts, carry, xs = split(operands, n_consts, n_carry)
    d_c, d_k, d_x = split(dims, n_consts, n_carry)
    n_y = len(jaxpr.outs) - n_carry
    batched = tuple([d is not None for d in d_k])
    in_x = [None if d is None else 0 for d in d_x]
    while True:
        in_k = [0 if b else None for b in batched]
        body, out = Passes.batch_jaxpr(jaxpr, size, [*d_c, *in_k, *in_x], (*batched, *(False,) * n_y))
        grown = _grow(batched, out[:n_carry])
        if grown == batched:
            break
        batched = grown
    carry = [batch_first(size, x, d) if b else x for x, d, b in zip(carry, d_k, batched, strict=True)]
    xs = [x if d is None else move_axis(x, d, 1) for x, d in zip(xs, d_x, strict=True)]
    outs = scan(*consts, *carry, *xs, jaxpr=body, n_consts=n_consts, n_carry=n_carry, **params)
    return outs, [(0 if b else None) for b in batched] + [(1 if b else None) for b in out[n_carry:]]


scan = Op("scan", "control", multiple=True, infer=_scan_infer, jvp=_scan_jvp,
          linearize=_scan_linearize, transpose=_scan_transpose, batch=_scan_batch, reach=turns,
          lower=lambda ctx, eqn, views: ctx.scan(eqn, views),
          work=lambda sig: tuple([sig.params["length"] * n for n in program_work(sig.params["jaxpr"])]))


# ----- while ---------------------------------------------------------------------------------------------
# cond: (cond consts, carry) -> bool; body: (body consts, carry) -> carry.


def _while_infer(*avals, cond, body, n_cond, n_body):
    _, _, carry = split(avals, n_cond, n_body)
    if len(cond.out_avals) != 1 or cond.out_avals[0].shape or cond.out_avals[0].dtype != np.bool_:
        raise CarryTypeError(f"while_loop: the condition must return one bool, got "
                             f"{', '.join(map(str, cond.out_avals))}.", "Reduce it with np.any or np.all.")
    _check_carry("while_loop", carry, body.out_avals)
    return [a.strong for a in body.out_avals]


def _while_jvp(primals, tangents, *, cond, body, n_cond, n_body):
    _, t_b, t_k = split(tangents, n_cond, n_body)
    consts, carry = nonzero(t_b), nonzero(t_k)
    while True:
        _, keep = Passes.jvp_jaxpr(body, (*consts, *carry))
        grown = _grow(carry, keep)
        if grown == carry:
            break
        carry = grown
    moved, _ = Passes.jvp_jaxpr(body, (*consts, *carry), carry)
    n_in, n_carry, tc, tk = len(body.invars), len(t_k), sum(consts), sum(carry)
    moved = rearranged(moved, order((0, n_body), (n_in, tc), (n_body, n_carry), (n_in + tc, tk)),
                       range(n_carry + tk))
    # the condition does not look at tangents: it takes them as inputs that it does not use
    extra = moved.invars[n_body + tc + n_carry:]
    wide = Jaxpr([*cond.invars, *[Passes.var(v.aval) for v in extra]], cond.eqns, cond.outs,
                 cond.retraced)
    pc, pb, pk = split(primals, n_cond, n_body)
    outs = while_(*pc, *pb, *pick(t_b, consts), *pk, *[instantiate(t) for t in pick(t_k, carry)],
                  cond=wide, body=moved, n_cond=n_cond, n_body=n_body + tc)
    out_k, out_t = split(outs, n_carry)
    return out_k, fill(carry, out_t, body.out_avals)


def _while_linearize(primals, tangents, **params):
    raise NonDifferentiableError(
        "reverse-mode differentiation of a while_loop (or a fori_loop with traced bounds).",
        "Use scan, or fori_loop with bounds that are Python integers, or forward mode (jvp, jacfwd).")


def _while_batch(size, operands, dims, *, cond, body, n_cond, n_body):
    pc, pb, carry = split(operands, n_cond, n_body)
    d_c, d_b, d_k = split(dims, n_cond, n_body)
    batched = tuple([d is not None for d in d_k])
    while True:
        in_k = [0 if b else None for b in batched]
        _, (pred,) = Passes.batch_jaxpr(cond, size, [*d_c, *in_k])
        moved, out = Passes.batch_jaxpr(body, size, [*d_b, *in_k], batched)
        grown = (True,) * len(batched) if pred else _grow(batched, out)
        if grown == batched:
            break
        batched = grown
    in_k = [0 if b else None for b in batched]
    test, _ = Passes.batch_jaxpr(cond, size, [*d_c, *in_k])
    moved, _ = Passes.batch_jaxpr(body, size, [*d_b, *in_k], batched)
    carry = [batch_first(size, x, d) if b else x for x, d, b in zip(carry, d_k, batched, strict=True)]
    if not pred:
        outs = while_(*pc, *pb, *carry, cond=test, body=moved, n_cond=n_cond, n_body=n_body)
        return outs, [0 if b else None for b in batched]
    # Examples end at different times: go on while any does, and keep those that have ended.
    n_carry = len(carry)

    def any_left(*values):
        (left,) = Passes.evaluate(test, values)
        return [OPS["reduce_or"](left, axes=(0,))]

    def guarded(*values):
        cc, cb, state = split(values, n_cond, n_body)
        (left,) = Passes.evaluate(test, [*cc, *state])
        new = Passes.evaluate(moved, [*cb, *state])
        return [select(broadcast_in_dim(left, shape=aval_of(a).shape, dims=(0,)), a, b)
                for a, b in zip(new, state, strict=True)]

    c_avals, b_avals, k_avals = ([aval_of(v).strong for v in g] for g in (pc, pb, carry))
    outs = while_(*pc, *pc, *pb, *carry, cond=Passes.stage(any_left, c_avals + k_avals),
                  body=Passes.stage(guarded, c_avals + b_avals + k_avals),
                  n_cond=n_cond, n_body=n_cond + n_body)
    return outs, [0] * n_carry


while_ = Op("while", "control", multiple=True, infer=_while_infer, jvp=_while_jvp,
            linearize=_while_linearize, transpose=None, batch=_while_batch, reach=any_turns,
            lower=lambda ctx, eqn, views: ctx.while_loop(eqn, views),
            # one turn: how many there will be is not known
            work=lambda sig: tuple(map(sum, zip(program_work(sig.params["cond"]),
                                                program_work(sig.params["body"]), strict=True))))


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
        guarded = _mask_contractions(branch)
        moved, _ = Passes.batch_jaxpr(guarded, size, [0, *d_args], (True,) * len(branch.outs))
        outs = Passes.evaluate(moved, [taken, *args])
        chosen = outs if not chosen else [
            select(broadcast_in_dim(taken, shape=aval_of(a).shape, dims=(0,)), a, b)
            for a, b in zip(outs, chosen, strict=True)]
    return chosen, [0] * len(chosen)


def _mask_contractions(branch):
    """The branch with a flag in front: where it is false, contractions get zeros.

    They are IEEE, so an inf or nan of a branch that is not taken would reach gradients as 0 * inf;
    elementwise derivatives have strong zeros and need no mask.
    """
    def run(taken, *args):
        env = dict(zip(branch.invars, args, strict=True))
        for eqn in branch.eqns:
            values = [env[x] if type(x) is Var else x for x in eqn.inputs]
            if eqn.op.family == "bilinear":
                values = [select(spread_to(taken, aval_of(v).shape), v, 0) for v in values]
            outs = eqn.op(*values, **eqn.params)
            env.update(zip(eqn.outs, outs if eqn.op.multiple else [outs], strict=True))
        return [env[x] if type(x) is Var else x for x in branch.outs]

    return Passes.stage(run, [Passes.aval((), np.bool_), *[a.strong for a in branch.in_avals]])


def spread_to(x, shape):
    """A scalar repeated to ``shape``."""
    return broadcast_in_dim(x, shape=shape, dims=())


cond = Op("cond", "control", multiple=True, infer=_cond_infer, jvp=_cond_jvp,
          linearize=_cond_linearize, transpose=_cond_transpose, batch=_cond_batch, reach=branches,
          lower=lambda ctx, eqn, views: ctx.cond(eqn, views),
          # the branch that takes most
          work=lambda sig: max([program_work(b) for b in sig.params["branches"]], key=sum))
