"""Ops that hold a program and a user's rule for it: derivatives, transposes, batching."""

from __future__ import annotations

from ..errors import NonDifferentiableError
from ..ir.op import Hooks, Linear, Op, aval_of, instantiate, move_axis, spread
from .call import Passes, _call_infer, _inner_work, call, fill, inline, is_zero, nonzero, pick, split
from .reduce import reduce_sum


class _Named:
    """A user's rule: traced at every use."""

    retraced = True
    name: str

    def __repr__(self):
        return f"<rule of {self.name}>"


class Rule(_Named):
    """A user's derivative, as flat functions of values. Equal only to itself.

    Attributes:
      name: of the user's function.
      jvp: ``(primals, tangents) -> (outs, tangents)``, or None.
      fwd: ``(primals, which are perturbed) -> (outs, residuals)``; bwd: ``(residuals, cts) -> cts of all
        inputs``, or None. Tangents and cts that are zero come as literals.
      n_args: how many inputs are arguments of the function; what it closes over comes after them.
    """

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


# ----- forward rules -------------------------------------------------------------------------------------


def _forward(primals, tangents, *, jaxpr, rule):
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


def batched_jvp(rule, size, dims):
    """``rule(primals, tangents)`` of one example for all; results have the batch axis first."""
    def jvp(primals, tangents):
        n = len(primals)

        def flat(*values):
            outs, out_ts = rule(list(values[:n]), list(values[n:]))
            return [*outs, *out_ts]
        outs = Passes.batch_fun(flat, size, [*primals, *tangents], [*dims, *dims])
        return outs[:len(outs) // 2], outs[len(outs) // 2:]
    return jvp


def _custom_jvp_batch(size, operands, dims, *, jaxpr, rule):
    batched, _out = Passes.batch_jaxpr(jaxpr, size, dims, (True,) * len(jaxpr.outs))
    new = Rule(rule.name, rule.n_args, jvp=batched_jvp(rule.jvp, size, dims))
    outs = custom_jvp_call(*operands, jaxpr=batched, rule=new)
    return outs, [0] * len(outs)


custom_jvp_call = Op("custom_jvp_call", "call", multiple=True, infer=_custom_infer, jvp=_forward,
                     linearize=_custom_jvp_linearize, transpose=None, batch=_custom_jvp_batch, lower=inline,
                     work=_inner_work)


# ----- reverse rules, which may have a forward one too ---------------------------------------------------


def _refuse_forward(rule):
    raise NonDifferentiableError(
        f"forward-mode differentiation of {rule.name}, which has a custom_vjp rule only.",
        "Use reverse mode (grad, vjp, jacrev), give it a jvp rule too (defjvp), or make it a custom_rule, "
        "which transposes bwd.")


def _custom_vjp_jvp(primals, tangents, *, jaxpr, rule):
    if rule.jvp is None:
        _refuse_forward(rule)
    return _forward(primals, tangents, jaxpr=jaxpr, rule=rule)


def _custom_vjp_linearize(primals, tangents, *, jaxpr, rule):
    rule.check(primals, tangents)
    nonzeros = nonzero(tangents)
    outs, residuals = rule.fwd(list(primals), nonzeros)
    ts = [t for t in tangents if not is_zero(t)]
    avals = tuple([aval_of(o).strong for o in outs])
    moves = tuple([a.dtype.kind in "fc" for a in avals])
    given = primals if rule.jvp is not None else ()
    out_ts = custom_linear(*ts, *given, *residuals, rule=rule, nonzeros=nonzeros,
                           out_avals=tuple(pick(avals, moves)), moves=moves, n_primals=len(given))
    return outs, fill(moves, out_ts, avals)


def _custom_vjp_batch(size, operands, dims, *, jaxpr, rule):
    batched, _out = Passes.batch_jaxpr(jaxpr, size, dims, (True,) * len(jaxpr.outs))
    n_out = len(jaxpr.outs)

    def fwd(primals, moves):
        def flat(*values):
            outs, residuals = rule.fwd(list(values), moves)
            return [*outs, *residuals]
        values = Passes.batch_fun(flat, size, primals, dims)
        return values[:n_out], values[n_out:]

    def bwd(residuals, cts):
        return batched_cts(lambda values, cts: rule.bwd(values, cts), size, residuals, cts, dims)

    jvp = None if rule.jvp is None else batched_jvp(rule.jvp, size, dims)
    outs = custom_vjp_call(*operands, jaxpr=batched, rule=Rule(rule.name, rule.n_args, jvp, fwd, bwd))
    return outs, [0] * n_out


def batched_cts(bwd, size, residuals, cts, dims, residual_dims=None):
    """``bwd(residuals, cts)`` of one example for all: cotangents with the batch axes of ``dims``."""
    n = len(residuals)
    got = Passes.batch_fun(lambda *values: bwd(list(values[:n]), list(values[n:])), size, [*residuals, *cts],
                           [*(residual_dims or [0] * n), *[0] * len(cts)])
    return [_sum_first(ct) if d is None else move_axis(ct, 0, d)    # an unmapped input served every example
            for ct, d in zip(got, dims, strict=True)]


def _sum_first(ct):
    return reduce_sum(ct, axes=(0,)) if aval_of(ct).dtype.kind in "fc" else ct


custom_vjp_call = Op("custom_vjp_call", "call", multiple=True, infer=_custom_infer,
                     jvp=_custom_vjp_jvp, linearize=_custom_vjp_linearize, transpose=None,
                     batch=_custom_vjp_batch, lower=inline, work=_inner_work)


def _custom_linear_infer(*avals, rule, nonzeros, out_avals, moves, n_primals):
    return list(out_avals)


def _custom_linear_transpose(cts, operands, *, rule, nonzeros, out_avals, moves, n_primals):
    n = sum(nonzeros)
    given = iter(cts)
    full = [instantiate(next(given)) if m else None for m in moves]
    got = rule.bwd(list(operands[n + n_primals:]), full)
    return [*pick(got, nonzeros), *[None] * (len(operands) - n)]


def _tangents_forward(values, *, rule, nonzeros, out_avals, moves, n_primals):
    """The linear half by the forward rule."""
    if rule.jvp is None:
        _refuse_forward(rule)
    ts, primals = iter(values), list(values[sum(nonzeros):][:n_primals])
    tangents = [next(ts) if m else Hooks.lit_like(0, x) for m, x in zip(nonzeros, primals, strict=True)]
    return pick([instantiate(t) for t in rule.jvp(primals, tangents)[1]], moves)


def _custom_linear_lower(ctx, eqn, views):
    return ctx.inline(Passes.stage(lambda *xs: _tangents_forward(xs, **eqn.params), eqn.sig.in_avals), views)


def _custom_linear_batch(size, operands, dims, **params):
    outs = Passes.batch_fun(lambda *xs: _tangents_forward(xs, **params), size, operands, dims)
    return outs, [0] * len(outs)


# The linear half of a custom_vjp: it is transposed by bwd, and runs where there is a forward rule too.
custom_linear = Op("custom_linear", "call", multiple=True, infer=_custom_linear_infer, jvp=None,
                   transpose=_custom_linear_transpose, lower=_custom_linear_lower, batch=_custom_linear_batch,
                   why={"jvp": "linearize gives it linear inputs only"})


def jvp_of_vjp(fwd, bwd, n_args):
    """The forward rule that a reverse rule implies: bwd is linear in its cotangents, so its transpose maps
    tangents of the inputs to tangents of the results."""
    def jvp(primals, tangents):
        moves = [not (isinstance(t, Hooks.literal) and not t.value) for t in tangents]
        outs, residuals = fwd(primals, tuple(moves))
        avals = [aval_of(o).strong for o in outs]
        inexact = [a.dtype.kind in "fc" for a in avals]

        def back(cts, values):
            given = iter(cts)
            full = [next(given) if m else None for m in inexact]
            return pick(bwd(list(values), full)[:n_args], moves[:n_args])

        got = iter(Passes.transpose_fun(back, pick(avals, inexact), residuals, pick(tangents, moves)))
        return outs, [instantiate(next(got)) if m else Hooks.lit_like(0, a) for m, a in
                      zip(inexact, avals, strict=True)]
    return jvp


# ----- linear functions with their own transpose ---------------------------------------------------------


class LinearRule(_Named):
    """A user's transpose: ``transpose(residuals, cts) -> cts of the linear inputs``, flat."""

    def __init__(self, name, transpose):
        self.name, self.transpose = name, transpose


def _linear_infer(*avals, jaxpr, rule, n_res):
    return _call_infer(*avals, jaxpr=jaxpr, name=rule.name)


def _linear_jvp(primals, tangents, *, jaxpr, rule, n_res):
    """Itself on tangents of the linear inputs; what residuals do follows from the program."""
    outs = linear_call(*primals, jaxpr=jaxpr, rule=rule, n_res=n_res)
    totals = [Hooks.zero(a) for a in jaxpr.out_avals]
    if not all(is_zero(t) for t in tangents[n_res:]):
        totals = linear_call(*primals[:n_res], *[instantiate(t) for t in tangents[n_res:]], jaxpr=jaxpr,
                             rule=rule, n_res=n_res)
    if not all(is_zero(t) for t in tangents[:n_res]):
        moves = (*nonzero(tangents[:n_res]), *[False] * (len(primals) - n_res))
        moved, keep = Passes.jvp_jaxpr(jaxpr, moves)
        got = split(Passes.evaluate(moved, [*primals, *pick(tangents, moves)]), len(outs))[1]
        totals = [Hooks.add_tangents(a, b) for a, b in zip(totals, fill(keep, got, jaxpr.out_avals),
                                                           strict=True)]
    return outs, totals


def _linear_linearize(primals, tangents, *, jaxpr, rule, n_res):
    """By the residuals the program is linearized: it may hold functions with reverse rules only."""
    still = [Hooks.zero(aval_of(x)) for x in primals]
    outs, totals = _linear_jvp(primals, [*still[:n_res], *tangents[n_res:]], jaxpr=jaxpr, rule=rule,
                               n_res=n_res)
    if not all(is_zero(t) for t in tangents[:n_res]):
        _, more = Passes.linearize_inside(jaxpr, primals, [*tangents[:n_res], *still[n_res:]])
        totals = [Hooks.add_tangents(a, b) for a, b in zip(totals, more, strict=True)]
    return outs, totals


def _linear_transpose(cts, operands, *, jaxpr, rule, n_res):
    if any(isinstance(x, Linear) for x in operands[:n_res]):
        raise NonDifferentiableError(f"the residual arguments of {rule.name} are transposed.",
                                     "Pass what it is linear in as linear arguments.")
    got = rule.transpose(list(operands[:n_res]), [instantiate(ct) for ct in cts])
    return [*[None] * n_res, *[g if isinstance(x, Linear) else None for g, x in
                               zip(got, operands[n_res:], strict=True)]]


def _linear_batch(size, operands, dims, *, jaxpr, rule, n_res):
    batched, _out = Passes.batch_jaxpr(jaxpr, size, dims, (True,) * len(jaxpr.outs))

    def transpose(residuals, cts):
        return batched_cts(rule.transpose, size, residuals, cts, dims[n_res:], dims[:n_res])

    outs = linear_call(*operands, jaxpr=batched, rule=LinearRule(rule.name, transpose), n_res=n_res)
    return outs, [0] * len(outs)


linear_call = Op("linear_call", "call", multiple=True, infer=_linear_infer, jvp=_linear_jvp,
                 linearize=_linear_linearize, transpose=_linear_transpose, batch=_linear_batch, lower=inline,
                 work=_inner_work)


# ----- functions with their own batching -----------------------------------------------------------------


class MapRule(_Named):
    """A user's batching: ``batch(size, which are mapped, values) -> (outs, which are mapped)``, flat; mapped
    values have the axis first."""

    def __init__(self, name, batch):
        self.name, self.batch = name, batch


def _mapped_jvp(primals, tangents, *, jaxpr, rule):
    """The derivative is mapped by the derivative of the rule."""
    moves, n = nonzero(tangents), len(primals)
    moved, keep = Passes.jvp_jaxpr(jaxpr, moves, (True,) * len(jaxpr.outs))

    def batch(size, mapped, values):
        ts = iter(zip(mapped[n:], values[n:], strict=True))
        pairs = [next(ts) if m else (False, Hooks.zero(aval_of(x)))
                 for m, x in zip(moves, values[:n], strict=True)]
        both = [a or b for a, (b, _) in zip(mapped[:n], pairs, strict=True)]
        wide = [x if a or not b else spread(x, size, 0) for x, a, b in
                zip(values[:n], mapped[:n], both, strict=True)]
        wide_ts = [t if is_zero(t) or a or not b else spread(t, size, 0) for (a, t), b in
                   zip(pairs, both, strict=True)]
        wide_ts = [Hooks.zero(aval_of(x)) if is_zero(t) else t for x, t in zip(wide, wide_ts, strict=True)]
        out_mapped: list = []

        def flat(*xs):
            outs, got = rule.batch(size, both, list(xs))
            out_mapped[:] = got
            return outs
        outs, out_ts = Passes.jvp_fun(flat, wide, wide_ts)
        out_ts = pick([instantiate(t) for t in out_ts], keep)
        return [*outs, *out_ts], [*out_mapped, *pick(out_mapped, keep)]

    ts = [t for t in tangents if not is_zero(t)]
    outs, out_ts = split(custom_vmap_call(*primals, *ts, jaxpr=moved, rule=MapRule(rule.name, batch)),
                         len(jaxpr.outs))
    return outs, fill(keep, out_ts, jaxpr.out_avals)


def _mapped_linearize(primals, tangents, *, jaxpr, rule):
    """Reverse mode takes the program apart, and with it the rule: its halves are mapped as usual."""
    return call.linearize(primals, tangents, jaxpr=jaxpr, name=rule.name)


def _mapped_batch(size, operands, dims, *, jaxpr, rule):
    mapped = [d is not None for d in dims]
    values = [x if d is None else move_axis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
    outs, out_mapped = rule.batch(size, mapped, values)
    return outs, [0 if m else None for m in out_mapped]


custom_vmap_call = Op("custom_vmap_call", "call", multiple=True, infer=_custom_infer, jvp=_mapped_jvp,
                      linearize=_mapped_linearize, transpose=None, batch=_mapped_batch, lower=inline,
                      work=_inner_work)

__all__ = ["LinearRule", "MapRule", "Rule", "custom_jvp_call", "custom_linear", "custom_vjp_call",
           "custom_vmap_call", "jvp_of_vjp", "linear_call"]
