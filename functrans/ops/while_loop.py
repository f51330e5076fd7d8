"""while: a loop that goes on as long as a condition holds; it may stack something at every turn.

cond: (cond consts, carry) -> bool; body: (body consts, carry) -> (carry, y). Results: carry, ys, whose
leading extent is the number of turns: ``f64[?,3]``. Reverse mode keeps its residuals so, and goes
through them with a ``scan`` that gets the number of turns as an operand. ``segments`` are for reverse
mode: see segments.py.
"""

from __future__ import annotations

import numpy as np

from ..errors import CarryTypeError
from ..ir.core import TURNS, Jaxpr, aval, eqn, signature
from ..ir.op import OPS, Op, aval_of, batch_first, instantiate, program_work
from .call import Passes, fill, nonzero, pick, split
from .control import check_carry, choose, grow, guarded, order, rearranged
from .reach import any_turns
from .scan import linear_scan, merged_residuals, sorted_residuals
from .segments import while_in_segments

_INDEX = aval((), np.int64)


def _while_infer(*avals, cond, body, n_cond, n_body, segments=()):
    _, _, carry = split(avals, n_cond, n_body)
    if len(cond.out_avals) != 1 or cond.out_avals[0].shape or cond.out_avals[0].dtype != np.bool_:
        raise CarryTypeError(f"while_loop: the condition must return one bool, got "
                             f"{', '.join(map(str, cond.out_avals))}.", "Reduce it with np.any or np.all.")
    n = len(carry)
    check_carry("while_loop", carry, body.out_avals[:n])
    return [a.strong for a in body.out_avals[:n]] + [((TURNS, *a.shape), a.dtype) for a in body.out_avals[n:]]


def _masks(body, n_body, n_carry, tangents, apply):
    """Which consts and carries of the body are perturbed, by the pass in progress."""
    consts, carry = (tuple(m) for m in split(nonzero(tangents), n_body))
    while True:
        keep = apply(body, (*consts, *carry))[-1]
        grown = grow(carry, keep[:n_carry])
        if grown == carry:
            return consts, carry, (*carry, *(False,) * (len(body.outs) - n_carry))
        carry = grown


def _with_inputs(cond, at, avals):
    """The condition with inputs that it does not look at."""
    extra = [Passes.var(a) for a in avals]
    return Jaxpr([*cond.invars[:at], *extra, *cond.invars[at:]], cond.eqns, cond.outs, cond.retraced)


def _while_jvp(primals, tangents, *, cond, body, n_cond, n_body, segments=()):
    pc, pb, pk = split(primals, n_cond, n_body)
    _, t_b, t_k = split(tangents, n_cond, n_body)
    n_in, n_carry, n_out = len(body.invars), len(pk), len(body.outs)
    consts, carry, force = _masks(body, n_body, n_carry, [*t_b, *t_k], Passes.jvp_jaxpr)
    moved, keep = Passes.jvp_jaxpr(body, (*consts, *carry), force)
    tc, tk, n_y = sum(consts), sum(carry), n_out - n_carry
    moved = rearranged(moved, order((0, n_body), (n_in, tc), (n_body, n_carry), (n_in + tc, tk)),
                       order((0, n_carry), (n_out, tk), (n_carry, n_y), (n_out + tk, sum(keep) - tk)))
    wide = _with_inputs(cond, len(cond.invars), [v.aval for v in moved.invars[n_body + tc + n_carry:]])
    outs = while_(*pc, *pb, *pick(t_b, consts), *pk, *[instantiate(t) for t in pick(t_k, carry)],
                  cond=wide, body=moved, n_cond=n_cond, n_body=n_body + tc, segments=segments)
    out_k, out_tk, ys, t_ys = split(outs, n_carry, tk, n_y)
    return out_k + ys, fill(keep, out_tk + t_ys, [aval_of(o) for o in out_k + ys])


def _while_linearize(primals, tangents, *, cond, body, n_cond, n_body, segments=()):
    """The loop stacks what its linear half needs, which is a scan over that."""
    if segments and any(nonzero(tangents)):
        program = while_in_segments(while_, cond=cond, body=body, n_cond=n_cond, n_body=n_body,
                                    segments=segments)
        return Passes.linearize_inside(program, primals, tangents)
    pc, pb, pk = split(primals, n_cond, n_body)
    tangents, n_carry, n_out = tangents[n_cond:], len(pk), len(body.outs)
    consts, carry, force = _masks(body, n_body, n_carry, tangents, Passes.linearize_jaxpr)
    fwd, lin, keep = Passes.linearize_jaxpr(body, (*consts, *carry), force)
    stacking, kinds, hoisted = sorted_residuals(fwd, n_body, n_out, pb)
    count, more = Passes.var(_INDEX), Passes.var(_INDEX)
    step = eqn(signature(OPS["add"], (_INDEX, _INDEX), {}), (count, Passes.lit(1, _INDEX)), (more,))
    invars = [*stacking.invars[:n_body], count, *stacking.invars[n_body:]]
    counting = Jaxpr(invars, [*stacking.eqns, step], [more, *stacking.outs], stacking.retraced)
    turns, *outs = while_(*pc, *pb, Passes.lit(0, _INDEX), *pk, cond=_with_inputs(cond, n_cond, [_INDEX]),
                          body=counting, n_cond=n_cond, n_body=n_body)
    outs, stacked = split(outs, n_out)
    residuals = merged_residuals(fwd, n_out, kinds, hoisted, stacked)
    out_ts = linear_scan(lin, tangents, (consts, carry, ()), kinds, residuals, [turns], None, False)
    return outs, fill(keep, out_ts, [aval_of(o) for o in outs])


def _while_batch(size, operands, dims, *, cond, body, n_cond, n_body, segments=()):
    pc, pb, carry = split(operands, n_cond, n_body)
    d_c, d_b, d_k = split(dims, n_cond, n_body)
    n_carry, n_y = len(carry), len(body.outs) - len(carry)
    batched = tuple([d is not None for d in d_k])
    while True:
        in_k = [0 if b else None for b in batched]
        test, (uneven,) = Passes.batch_jaxpr(cond, size, [*d_c, *in_k])
        moved, out = Passes.batch_jaxpr(body, size, [*d_b, *in_k], (*batched, *(False,) * n_y))
        grown = (True,) * n_carry if uneven else grow(batched, out[:n_carry])
        if grown == batched:
            break
        batched = grown
    carry = [batch_first(size, x, d) if b else x for x, d, b in zip(carry, d_k, batched, strict=True)]
    if not uneven:
        outs = while_(*pc, *pb, *carry, cond=test, body=moved, n_cond=n_cond, n_body=n_body,
                      segments=segments)
        return outs, [0 if b else None for b in batched] + [1 if b else None for b in out[n_carry:]]
    # Examples end at different times: go on while any does, and keep those that have ended. Which are
    # left is a carry, so that the condition is computed once a turn.
    moved, _ = Passes.batch_jaxpr(guarded(body), size, [0, *d_b, *in_k], (True,) * len(body.outs))

    def any_left(left, *state):
        return [OPS["reduce_or"](left, axes=(0,))]

    def turn(*values):
        cc, cb, (left, *state) = split(values, n_cond, n_body)
        new, ys = split(Passes.evaluate(moved, [left, *cb, *state]), n_carry)
        new = choose(left, new, state)
        return [OPS["and"](left, *Passes.evaluate(test, [*cc, *new])), *new, *ys]

    c_avals, b_avals, k_avals = ([aval_of(v).strong for v in g] for g in (pc, pb, carry))
    k_avals.insert(0, Passes.aval((size,), np.bool_))
    outs = while_(*pc, *pb, *Passes.evaluate(test, [*pc, *carry]), *carry,
                  cond=Passes.stage(any_left, k_avals), body=Passes.stage(turn, c_avals + b_avals + k_avals),
                  n_cond=0, n_body=n_cond + n_body, segments=segments)
    return outs[1:], [0] * n_carry + [1] * n_y


while_ = Op("while", "control", multiple=True, infer=_while_infer, jvp=_while_jvp,
            linearize=_while_linearize, transpose=None, batch=_while_batch, reach=any_turns,
            lower=lambda ctx, eqn, views: ctx.while_loop(eqn, views),
            # one turn: how many there will be is not known
            work=lambda sig: tuple(map(sum, zip(program_work(sig.params["cond"]),
                                                program_work(sig.params["body"]), strict=True))))
