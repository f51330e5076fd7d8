"""scan: a loop over leading axes, with a carry; how often it turns is known, or an operand.

body: (consts, carry, x) -> (carry, y). Operands: the number of turns where ``length`` is None, consts,
carry, xs; results: carry, ys. Without a length, xs and ys are what ``while`` stacks. ``segments`` are for
reverse mode: see segments.py.
"""

from __future__ import annotations

import numpy as np

from ..ir.core import TURNS, Jaxpr, Var
from ..ir.op import OPS, Hooks, Linear, Op, aval_of, batch_first, instantiate, move_axis, program_work
from .call import Passes, fill, nonzero, pick, split
from .control import check_carry, choose, grow, guarded, hoist, invariant, needed, order, rearranged
from .reach import turns
from .reduce import reduce_max
from .segments import scan_in_segments


def _turns(values, length):
    """The operand that says how often the loop turns, as a list, and the others."""
    n = 1 if length is None else 0
    return list(values[:n]), list(values[n:])


def _scan_infer(*avals, jaxpr, n_consts, n_carry, length, reverse, segments=()):
    head, avals = _turns(avals, length)
    if any(a.shape or a.dtype != np.int64 for a in head):
        raise TypeError(f"scan: the number of turns must be an int64 scalar, got {head[0]}")
    _, carry, xs = split(avals, n_consts, n_carry)
    lead = TURNS if length is None else length
    for x in xs:
        if x.ndim == 0 or x.shape[0] != lead:
            raise ValueError(f"scan: every xs needs a leading axis of length {length}, got {x}")
    check_carry("scan", carry, jaxpr.out_avals[:n_carry])
    ys = [((lead, *a.shape), a.dtype) for a in jaxpr.out_avals[n_carry:]]
    return [a.strong for a in jaxpr.out_avals[:n_carry]] + ys


def _scan_masks(jaxpr, n_consts, n_carry, tangents, apply):
    """Which inputs of the body are perturbed: a fixpoint over the carry. ``apply`` is the pass in
    progress: reverse mode must not ask for the jvp of a body with custom_vjp rules."""
    consts, carry, xs = (tuple(m) for m in split(nonzero(tangents), n_consts, n_carry))
    while True:
        keep = apply(jaxpr, (*consts, *carry, *xs))[-1]
        grown = grow(carry, keep[:n_carry])
        if grown == carry:
            return consts, carry, xs
        carry = grown


def _forced(n_carry, carry, n_out):
    return (*carry, *(False,) * (n_out - n_carry))


def _scan_jvp(primals, tangents, *, jaxpr, n_consts, n_carry, length, reverse, segments=()):
    head, primals = _turns(primals, length)
    tangents = tangents[len(head):]
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
    outs = scan(*head, *pc, *pick(t_c, consts), *pk, *[instantiate(t) for t in pick(t_k, carry)], *px,
                *pick(t_x, xs), jaxpr=body, n_consts=n_consts + tc, n_carry=n_carry + tk, length=length,
                reverse=reverse, segments=segments)
    out_k, out_tk, ys, t_ys = split(outs, n_carry, tk, n_y)
    return out_k + ys, fill(keep, out_tk + t_ys, [aval_of(o) for o in out_k + ys])


def _scan_linearize(primals, tangents, *, jaxpr, n_consts, n_carry, length, reverse, segments=()):
    if segments and length > segments[0] and any(nonzero(tangents)):
        program = scan_in_segments(scan, [aval_of(x).strong for x in primals], jaxpr=jaxpr, n_consts=n_consts,
                                   n_carry=n_carry, length=length, reverse=reverse, segments=segments)
        return Passes.linearize_inside(program, primals, tangents)
    head, primals = _turns(primals, length)
    tangents = tangents[len(head):]
    consts, carry, xs = _scan_masks(jaxpr, n_consts, n_carry, tangents, Passes.linearize_jaxpr)
    n_out = len(jaxpr.outs)
    fwd, lin, keep = Passes.linearize_jaxpr(jaxpr, (*consts, *carry, *xs), _forced(n_carry, carry, n_out))
    pc, pk, px = split(primals, n_consts, n_carry)
    # A residual that is the same at every step is computed once, outside; one that is an x is there.
    x_at = dict(zip(fwd.invars[n_consts + n_carry:], px, strict=True))
    body, kinds, hoisted = sorted_residuals(fwd, n_consts, n_out, pc, x_at)
    outs = scan(*head, *pc, *pk, *px, jaxpr=body, n_consts=n_consts, n_carry=n_carry, length=length,
                reverse=reverse)
    outs, stacked = split(outs, n_out)
    residuals = merged_residuals(fwd, n_out, kinds, hoisted, stacked, x_at)
    out_ts = linear_scan(lin, tangents, (consts, carry, xs), kinds, residuals, head, length, reverse)
    return outs, fill(keep, out_ts, [aval_of(o) for o in outs])


def sorted_residuals(fwd, n_consts, n_out, consts, x_at=()):
    """What a loop does with the residuals of its body, the results of ``fwd`` from ``n_out`` on.

    Returns the body that gives those that differ from step to step, per residual ``const``, ``x`` or
    ``step``, and the values of the first kind.
    """
    fixed, wanted = invariant(fwd, n_consts), fwd.outs[n_out:]
    kinds = ["const" if type(v) is not Var or v in fixed else "x" if v in x_at else "step" for v in wanted]
    steps = [n_out + i for i, k in enumerate(kinds) if k == "step"]
    body = Jaxpr(fwd.invars, fwd.eqns, [*fwd.outs[:n_out], *[fwd.outs[i] for i in steps]], fwd.retraced)
    return body, kinds, hoist(fwd, pick(wanted, [k == "const" for k in kinds]), consts, n_consts)


def merged_residuals(fwd, n_out, kinds, hoisted, stacked, x_at=()) -> list:
    hoisted, stacked = iter(hoisted), iter(stacked)
    return [next(hoisted) if k == "const" else x_at[v] if k == "x" else next(stacked)
            for k, v in zip(kinds, fwd.outs[n_out:], strict=True)]


def linear_scan(lin, tangents, masks, kinds, residuals, head, length, reverse) -> list:
    """The linear half of a loop: ``lin`` at each step, on the residuals of that step."""
    consts, carry, xs = masks
    t_c, t_k, t_x = split(tangents, len(consts), len(carry))
    tc, tk = sum(consts), sum(carry)
    n_lin = tc + tk + sum(xs)
    const = [i for i, k in enumerate(kinds) if k == "const"]
    step = [i for i, k in enumerate(kinds) if k != "const"]
    body = rearranged(lin, [*range(tc), *[n_lin + i for i in const], *range(tc, n_lin),
                            *[n_lin + i for i in step]], range(len(lin.outs)))
    return scan(*head, *pick(t_c, consts), *[residuals[i] for i in const],
                *[instantiate(t) for t in pick(t_k, carry)], *pick(t_x, xs), *[residuals[i] for i in step],
                jaxpr=body, n_consts=tc + len(const), n_carry=tk, length=length, reverse=reverse)


def _dependent(jaxpr, mask) -> tuple[bool, ...]:
    """Which outputs depend on the inputs in ``mask`` by a chain of floats."""
    moved = {v for v, m in zip(jaxpr.invars, mask, strict=True) if m}
    for eqn in jaxpr.eqns:
        if any(type(x) is Var and x in moved for x in eqn.inputs):
            moved.update(v for v in eqn.outs if v.aval.dtype.kind in "fc")
    return tuple([type(x) is Var and x in moved for x in jaxpr.outs])


def _scan_transpose(cts, operands, *, jaxpr, n_consts, n_carry, length, reverse, segments=()):
    head, operands = _turns(operands, length)
    got = _transposed(cts, head, *split(operands, n_consts, n_carry), jaxpr, length, reverse)
    return [*[None] * len(head), *got]


def _transposed(cts, head, consts, carry, xs, jaxpr, length, reverse):
    n_consts, n_carry = len(consts), len(carry)
    lin_c, lin_k, lin_x = (tuple([isinstance(o, Linear) for o in g]) for g in (consts, carry, xs))
    while (grown := grow(lin_k, _dependent(jaxpr, (*lin_c, *lin_k, *lin_x))[:n_carry])) != lin_k:
        lin_k = grown
    if not all(lin_k):
        return _transposed_mixed(cts, head, consts, carry, xs, lin_k, jaxpr, length, reverse)
    ct_carry, ct_ys = [instantiate(c) for c in cts[:n_carry]], cts[n_carry:]
    given = nonzero(ct_ys)
    acc = [o.aval for o in pick(consts, lin_c)]
    res_c = [o for o in consts if not isinstance(o, Linear)]
    res_x = [o for o in xs if not isinstance(o, Linear)]
    n_acc, n_res_c, n_res_x = len(acc), len(res_c), len(res_x)
    linear = (*lin_c, *(True,) * n_carry, *lin_x)
    back, _ = Passes.transpose_masked(jaxpr, linear, (*(True,) * n_carry, *given), (True,) * len(linear))

    # back: (res consts, res xs, ct carry, ct y) -> (ct consts, ct carry, ct x)
    def body(*values):
        rc, sums, ck, rx, cy = split(values, n_res_c, n_acc, n_carry, n_res_x)
        got = Passes.evaluate(back, [*rc, *rx, *ck, *cy])
        got_c, got_k, got_x = split(got, n_acc, n_carry)
        return [*[OPS["add"](s, g) for s, g in zip(sums, got_c, strict=True)], *got_k, *got_x]

    avals = [*[aval_of(r) for r in res_c], *acc, *jaxpr.in_avals[n_consts:n_consts + n_carry],
             *[a for a, m in zip(jaxpr.in_avals[n_consts + n_carry:], lin_x, strict=True) if not m],
             *pick(jaxpr.out_avals[n_carry:], given)]
    reversed_body = Passes.stage(body, [a.strong for a in avals])
    outs = scan(*head, *res_c, *[Hooks.lit_like(0, Hooks.zero(a)) for a in acc], *ct_carry, *res_x,
                *pick(ct_ys, given), jaxpr=reversed_body, n_consts=n_res_c, n_carry=n_acc + n_carry,
                length=length, reverse=not reverse)
    ct_consts, ct_init, ct_xs = split(outs, n_acc, n_carry)
    ct_consts, ct_xs = iter(ct_consts), iter(ct_xs)
    return [*[next(ct_consts) if m else None for m in lin_c],
            *[ct if isinstance(o, Linear) else None for ct, o in zip(ct_init, carry, strict=True)],
            *[next(ct_xs) if m else None for m in lin_x]]


def _transposed_mixed(cts, head, consts, carry, xs, lin_k, jaxpr, length, reverse):
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
                  needed(jaxpr, wanted), [*wanted, *before], jaxpr.retraced)
    values = scan(*head, *[consts[i] for i in given_c], *[carry[i] for i in own],
                  *[xs[i] for i in given_x], jaxpr=ahead, n_consts=len(given_c), n_carry=len(own),
                  length=length, reverse=reverse)[len(own):]
    body = rearranged(jaxpr, [*range(n_consts), *[n_consts + i for i in rest],
                              *range(at, len(invars)), *[n_consts + i for i in own]],
                      [*rest, *range(n_carry, len(jaxpr.outs))])
    got = _transposed([*[cts[i] for i in rest], *cts[n_carry:]], head, consts, [carry[i] for i in rest],
                      [*xs, *values], body, length, reverse)
    ct_c, ct_k, ct_x = split(got, n_consts, len(rest))
    ct_k = iter(ct_k)
    return [*ct_c, *[next(ct_k) if m else None for m in lin_k], *ct_x[:len(xs)]]


def _scan_batch(size, operands, dims, *, jaxpr, n_consts, n_carry, length, reverse, segments=()):
    head, operands = _turns(operands, length)
    if head and dims[0] is not None:
        return _batch_uneven(size, move_axis(head[0], dims[0], 0), operands, dims[1:], jaxpr, n_consts,
                             n_carry, reverse)
    consts, carry, xs = split(operands, n_consts, n_carry)
    d_c, d_k, d_x = split(dims[len(head):], n_consts, n_carry)
    n_y = len(jaxpr.outs) - n_carry
    batched = tuple([d is not None for d in d_k])
    in_x = [None if d is None else 0 for d in d_x]
    while True:
        in_k = [0 if b else None for b in batched]
        body, out = Passes.batch_jaxpr(jaxpr, size, [*d_c, *in_k, *in_x], (*batched, *(False,) * n_y))
        grown = grow(batched, out[:n_carry])
        if grown == batched:
            break
        batched = grown
    carry = [batch_first(size, x, d) if b else x for x, d, b in zip(carry, d_k, batched, strict=True)]
    xs = [x if d is None else move_axis(x, d, 1) for x, d in zip(xs, d_x, strict=True)]
    outs = scan(*head, *consts, *carry, *xs, jaxpr=body, n_consts=n_consts, n_carry=n_carry, length=length,
                reverse=reverse, segments=segments)
    return outs, [(0 if b else None) for b in batched] + [(1 if b else None) for b in out[n_carry:]]


def _batch_uneven(size, turns, operands, dims, jaxpr, n_consts, n_carry, reverse):
    """Examples have numbers of turns of their own: each takes part while the index is below its number,
    in the turns of the one that has most. What the others stack is never read."""
    consts, carry, xs = split(operands, n_consts, n_carry)
    d_c, d_k, d_x = split(dims, n_consts, n_carry)
    carry = [batch_first(size, x, d) for x, d in zip(carry, d_k, strict=True)]
    # batch axes of xs lie behind the turns: first in the body
    in_dims = [0, *d_c, *[0] * n_carry, *[None if d is None else 0 for d in d_x]]
    moved, _ = Passes.batch_jaxpr(guarded(jaxpr), size, in_dims, (True,) * len(jaxpr.outs))

    def body(own, *values):
        c, (t, *k), x = split(values, n_consts, 1 + n_carry)
        left = OPS["lt"](spread_index(t, size), own)
        new, ys = split(Passes.evaluate(moved, [left, *c, *k, *x]), n_carry)
        return [OPS["add"](t, -1 if reverse else 1), *choose(left, new, k), *ys]

    most = reduce_max(turns, axes=(0,)) if size else Passes.lit(0, Passes.aval((), np.int64))
    start = OPS["sub"](most, 1) if reverse else Passes.lit(0, aval_of(most))
    entries = [a if not a.stacked else Passes.aval(a.shape[1:], a.dtype) for a in map(aval_of, xs)]
    staged = Passes.stage(body, [a.strong for a in (aval_of(turns), *map(aval_of, consts), aval_of(start),
                                                    *map(aval_of, carry), *entries)])
    outs = scan(most, turns, *consts, start, *carry, *xs, jaxpr=staged, n_consts=1 + n_consts,
                n_carry=1 + n_carry, length=None, reverse=reverse)
    return outs[1:], [0] * n_carry + [1] * (len(outs) - 1 - n_carry)


def spread_index(t, size):
    return OPS["broadcast_in_dim"](t, shape=(size,), dims=())


def _work(sig):
    """Of one turn, where their number is not known."""
    turns = sig.params["length"]
    return tuple([(1 if turns is None else turns) * n for n in program_work(sig.params["jaxpr"])])


scan = Op("scan", "control", multiple=True, infer=_scan_infer, jvp=_scan_jvp,
          linearize=_scan_linearize, transpose=_scan_transpose, batch=_scan_batch, reach=turns,
          lower=lambda ctx, eqn, views: ctx.scan(eqn, views), work=_work)
