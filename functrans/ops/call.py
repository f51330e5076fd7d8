"""Ops that hold a program and keep it together: call, and the users' own rules."""

from __future__ import annotations

from typing import Any

from ..errors import NonDifferentiableError
from ..ir.op import Hooks, Linear, Op, aval_of, instantiate, program_work


class Passes:
    """The passes that rules of higher-order ops apply to their programs; set by ``transform``."""

    jvp_jaxpr: Any
    linearize_jaxpr: Any
    transpose_masked: Any
    batch_jaxpr: Any
    batch_fun: Any
    linearize_rule: Any
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
          transpose=_call_transpose, batch=_call_batch, lower=inline, work=_inner_work)


# ----- users' rules -----------------------------------------------------------------------------------------


class Rule:
    """A user's derivative, as flat functions of values. Equal only to itself; traced at every use.

    Attributes:
      name: of the user's function.
      jvp: ``(primals, tangents) -> (outs, tangents)``, or None.
      fwd: ``primals -> (outs, residuals)``; bwd: ``(residuals, cts) -> cts of all inputs``, or None.
      n_args: how many inputs are arguments of the function; what it closes over comes after them.
    """

    retraced = True

    def __init__(self, name, n_args, jvp=None, fwd=None, bwd=None):
        self.name, self.n_args, self.jvp, self.fwd, self.bwd = name, n_args, jvp, fwd, bwd

    def check(self, primals, tangents) -> None:
        """A closed-over value that is differentiated has no place in the rule."""
        for x, t in zip(primals[self.n_args:], tangents[self.n_args:], strict=True):
            if not is_zero(t):
                raise NonDifferentiableError(
                    f"{self.name} has a custom rule but closes over a traced {aval_of(x)} that is being "
                    "differentiated.", "Make it an argument of the function and of its rule.")


def _custom_infer(*avals, jaxpr, rule):
    return _call_infer(*avals, jaxpr=jaxpr, name=rule.name)


def _custom_jvp_jvp(primals, tangents, *, jaxpr, rule):
    rule.check(primals, tangents)
    outs, out_ts = rule.jvp(list(primals), [instantiate(t) for t in tangents])
    return outs, [t if aval_of(o).dtype.kind in "fc" else Hooks.zero(aval_of(o))
                  for o, t in zip(outs, out_ts, strict=True)]


def _custom_jvp_linearize(primals, tangents, *, jaxpr, rule):
    """The rule may mix primals and tangents in one equation (a loop, a derivative of its own), so it is
    traced as a whole, and linearized in its tangents."""
    rule.check(primals, tangents)
    moves = nonzero(tangents)
    n = len(primals)

    def flat(*values):
        rest = iter(values[n:])
        outs, out_ts = rule.jvp(list(values[:n]), [
            next(rest) if m else instantiate(t) for m, t in zip(moves, tangents, strict=True)])
        return [*outs, *out_ts]

    outs, out_ts = Passes.linearize_rule(flat, primals, pick(tangents, moves))
    half = len(outs) // 2
    return outs[:half], [t if o.dtype.kind in "fc" else Hooks.zero(o) for o, t in
                         zip(jaxpr.out_avals, out_ts[half:], strict=True)]


def _custom_jvp_batch(size, operands, dims, *, jaxpr, rule):
    batched, _out = Passes.batch_jaxpr(jaxpr, size, dims, (True,) * len(jaxpr.outs))

    def jvp(primals, tangents):
        n = len(primals)

        def flat(*values):
            outs, out_ts = rule.jvp(list(values[:n]), list(values[n:]))
            return [*outs, *out_ts]
        outs = Passes.batch_fun(flat, size, [*primals, *tangents], [*dims, *dims])
        return outs[:len(outs) // 2], outs[len(outs) // 2:]

    outs = custom_jvp_call(*operands, jaxpr=batched, rule=Rule(rule.name, rule.n_args, jvp=jvp))
    return outs, [0] * len(outs)


custom_jvp_call = Op("custom_jvp_call", "call", multiple=True, infer=_custom_infer,
                     jvp=_custom_jvp_jvp, linearize=_custom_jvp_linearize, transpose=None,
                     batch=_custom_jvp_batch, lower=inline, work=_inner_work)


def _custom_vjp_jvp(primals, tangents, *, jaxpr, rule):
    raise NonDifferentiableError(
        f"forward-mode differentiation of {rule.name}, which has a custom_vjp rule only.",
        "Use reverse mode (grad, vjp, jacrev), or give it a jvp rule with custom_jvp.")


def _custom_vjp_linearize(primals, tangents, *, jaxpr, rule):
    rule.check(primals, tangents)
    outs, residuals = rule.fwd(list(primals))
    nonzeros = nonzero(tangents)
    ts = [t for t in tangents if not is_zero(t)]
    avals = tuple([aval_of(o).strong for o in outs])
    moves = tuple([a.dtype.kind in "fc" for a in avals])
    out_ts = custom_linear(*ts, *residuals, rule=rule, nonzeros=nonzeros,
                           out_avals=tuple(pick(avals, moves)), moves=moves, n_out=len(outs))
    return outs, fill(moves, out_ts, avals)


def _custom_vjp_batch(size, operands, dims, *, jaxpr, rule):
    batched, _out = Passes.batch_jaxpr(jaxpr, size, dims, (True,) * len(jaxpr.outs))
    n_out = len(jaxpr.outs)

    def fwd(primals):
        def flat(*values):
            outs, residuals = rule.fwd(list(values))
            return [*outs, *residuals]
        values = Passes.batch_fun(flat, size, primals, dims)
        return values[:n_out], values[n_out:]

    def bwd(residuals, cts):
        def flat(*values):
            return rule.bwd(list(values[:len(residuals)]), list(values[len(residuals):]))
        got = Passes.batch_fun(flat, size, [*residuals, *cts], [0] * (len(residuals) + len(cts)))
        return [_sum_first(ct) if d is None else _to(ct, d)    # an unmapped input served every example
                for ct, d in zip(got, dims, strict=True)]

    outs = custom_vjp_call(*operands, jaxpr=batched, rule=Rule(rule.name, rule.n_args, fwd=fwd, bwd=bwd))
    return outs, [0] * n_out


def _sum_first(ct):
    from .reduce import reduce_sum
    return reduce_sum(ct, axes=(0,)) if aval_of(ct).dtype.kind in "fc" else ct


def _to(ct, dim):
    from ..ir.op import move_axis
    return move_axis(ct, 0, dim)


custom_vjp_call = Op("custom_vjp_call", "call", multiple=True, infer=_custom_infer,
                     jvp=_custom_vjp_jvp, linearize=_custom_vjp_linearize, transpose=None,
                     batch=_custom_vjp_batch, lower=inline, work=_inner_work)


def _custom_linear_transpose(cts, operands, *, rule, nonzeros, out_avals, moves, n_out):
    n = sum(nonzeros)
    given = iter(cts)
    full = [instantiate(next(given)) if m else None for m in moves]
    got = rule.bwd(list(operands[n:]), full)
    return [*pick(got, nonzeros), *[None] * (len(operands) - n)]


def _refuse_forward(*args, rule, **params):
    _custom_vjp_jvp((), (), jaxpr=None, rule=rule)


# The linear half of a custom_vjp: it exists to be transposed.
custom_linear = Op(
    "custom_linear", "call", multiple=True, transpose=_custom_linear_transpose, jvp=None, batch=None,
    infer=lambda *avals, rule, nonzeros, out_avals, moves, n_out: list(out_avals),
    lower=lambda ctx, eqn, views: _refuse_forward(rule=eqn.params["rule"]),
    why={"jvp": "a custom_vjp rule has no forward mode", "batch": "batching comes before linearizing"})
