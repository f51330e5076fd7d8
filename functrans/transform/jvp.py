"""Forward mode: primals and tangents side by side."""

from __future__ import annotations

from ..ir.core import Jaxpr, Var
from ..trace.core import bind, source_of
from .evaluate import cached_pass, closed, sources
from .zeros import Zero, has_tangent, instantiate, read, zero_of


def jvp_values(jaxpr: Jaxpr, primals, tangents, rule="jvp"):
    """Pushes ``tangents`` (values or Zeros) through ``jaxpr``: ``(outs, tangents of outs)``.

    ``rule="linearize"`` runs between the two builders of a linearization, where ops that hold
    programs of their own have a rule that keeps the halves apart.
    """
    env = dict(zip(jaxpr.invars, primals, strict=True))
    moved = {v: t for v, t in zip(jaxpr.invars, tangents, strict=True) if not isinstance(t, Zero)}
    with sources():
        for eqn in jaxpr.eqns:
            source_of(eqn)
            op, params = eqn.op, eqn.params
            operands = tuple([env[x] if type(x) is Var else x for x in eqn.inputs])
            if not any(type(x) is Var and x in moved for x in eqn.inputs):
                outs = bind(op, operands, params)
                env.update(zip(eqn.outs, outs if op.multiple else (outs,), strict=True))
                continue
            ts = [moved[x] if type(x) is Var and x in moved else zero_of(y)
                  for x, y in zip(eqn.inputs, operands, strict=True)]
            apply = (op.linearize if rule == "linearize" else None) or op.jvp
            outs, out_ts = apply(operands, ts, **params)
            for v, out, t in zip(eqn.outs, outs, out_ts, strict=True):
                env[v] = out
                if not isinstance(t, Zero):
                    moved[v] = t
    outs = [read(env, x) for x in jaxpr.outs]
    return outs, [moved[x] if type(x) is Var and x in moved else zero_of(y)
                  for x, y in zip(jaxpr.outs, outs, strict=True)]


@cached_pass("jvp")
def jvp_jaxpr(jaxpr: Jaxpr, nonzeros: tuple[bool, ...], force: tuple[bool, ...] | None = None):
    """``(a) -> (b)`` to ``(a, ta) -> (b, tb)``, tangents only of the perturbed inputs and outputs.

    ``force`` names outputs whose tangent is wanted even where it is zero.
    Returns ``(jaxpr, nonzeros of the outputs)``.
    """
    def run(*values):
        n = len(jaxpr.invars)
        rest = iter(values[n:])
        ts = [next(rest) if nz else zero_of(v) for v, nz in zip(values[:n], nonzeros, strict=True)]
        outs, out_ts = jvp_values(jaxpr, values[:n], ts)
        keep = [not isinstance(t, Zero) for t in out_ts]
        if force is not None:
            keep = [(k or f) and has_tangent(a)
                    for k, f, a in zip(keep, force, jaxpr.out_avals, strict=True)]
        moved = [instantiate(t) for t, k in zip(out_ts, keep, strict=True) if k]
        return outs + moved, tuple(keep)

    avals = [a.strong for a in jaxpr.in_avals]
    avals += [a for a, nz in zip(avals, nonzeros, strict=True) if nz]
    return closed(run, avals, "jvp")
