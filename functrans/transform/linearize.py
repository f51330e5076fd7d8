"""Reverse mode, first half: a primal program and a linear one, recorded in two builders at once."""

from __future__ import annotations

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.core import Jaxpr, Lit, Var, eqn, lit
from ..ops.effects import silenced
from ..trace.core import Tangents, aval_of, trace
from .interpret import jvp_values, transpose_values
from .programs import cached_pass, closed
from .zeros import Zero, has_tangent, instantiate, zero_of


def linearize_values(jaxpr: Jaxpr, primals, nonzeros, force=None):
    """Binds the primal half in the current builder.

    Returns ``(outs, nonzeros of outs, lin, residuals)`` with ``lin: (tangents, residuals) -> tangents``
    for the nonzero inputs and outputs; residuals are values of the current builder. ``force`` names
    outputs whose tangent is wanted even where it is zero.
    """
    moved = [aval_of(p).strong for p, nz in zip(primals, nonzeros, strict=True) if nz]
    with Tangents(moved) as half:
        ts = iter(half.tracers)
        tangents = [next(ts) if nz else zero_of(p) for p, nz in zip(primals, nonzeros, strict=True)]
        outs, out_ts = jvp_values(jaxpr, primals, tangents, True)
        keep = tuple([not isinstance(t, Zero) or (force is not None and force[i] and has_tangent(t.aval))
                      for i, t in enumerate(out_ts)])
        half.close([instantiate(t) for t, k in zip(out_ts, keep, strict=True) if k])
    lin, residuals = half.result
    return outs, keep, lin, residuals


def linearize_rule(fun, primals, tangents):
    """``fun(primals, tangents)``, linear in tangents, between the two builders of a linearization.

    Returns ``(outs, tangents of outs)``: what depends on tangents, at zero tangents and as the
    derivative in them.
    """
    values = [*primals, *[lit(0, aval_of(t).strong) for t in tangents]]
    known = [np.full(x.aval.shape, x.value) if type(x) is Lit else x for x in (*primals, *tangents)]
    jaxpr, consts, _ = trace(lambda *xs: (fun(*xs), None), [aval_of(v).strong for v in values], known,
                             "linearize")
    zeros = [zero_of(x) for x in (*primals, *consts)]
    ts = [*zeros[:len(primals)], *tangents, *zeros[len(primals):]]
    return jvp_values(jaxpr, [*values, *consts], ts, True)


@cached_pass("linearize")
def linearize_jaxpr(jaxpr: Jaxpr, nonzeros: tuple[bool, ...], force: tuple[bool, ...] | None = None):
    """``a -> b`` to ``fwd: a -> (b, residuals)`` and ``lin: (ta, residuals) -> tb``.

    Returns ``(fwd, lin, nonzeros of b)``. A body keeps no residual whose extent only a run knows: where
    its linear half needs what a while_loop stacks, it runs that loop again.
    """
    def run(*values):
        outs, keep, lin, residuals = linearize_values(jaxpr, values, nonzeros, force)
        return outs + residuals, (lin, keep)

    fwd, (lin, keep) = closed(run, [a.strong for a in jaxpr.in_avals], "linearize")
    if any(a.stacked for a in fwd.out_avals):
        fwd, lin = _without_stacks(fwd, lin, len(jaxpr.outs))
    return fwd, lin, keep


def _without_stacks(fwd: Jaxpr, lin: Jaxpr, n_out: int):
    """The same halves, the second making all that is stacked anew from what the loops were given."""
    residuals = list(fwd.outs[n_out:])
    need = {v for v in residuals if v.aval.stacked}
    again, given = [], [v for v in residuals if not v.aval.stacked]
    for e in reversed(fwd.eqns):
        if not need.isdisjoint(e.outs):
            again.append(e)
            need.update([x for x in e.inputs if x.aval.stacked])
            given += [x for x in e.inputs if type(x) is Var and not x.aval.stacked]
    made = {v for e in again for v in e.outs}
    given = [v for v in dict.fromkeys(given) if v not in made]
    lin = recomputing(fwd, lin, n_out, again[::-1], given)
    return Jaxpr(fwd.invars, fwd.eqns, [*fwd.outs[:n_out], *given], fwd.retraced), lin


def recomputing(fwd: Jaxpr, lin: Jaxpr, n_out: int, again, given) -> Jaxpr:
    """The linear half from ``given`` variables of the other one, by the equations ``again`` of that. What
    they do beside their results they do not do again."""
    residuals = fwd.outs[n_out:]
    again = silenced(again, residuals)
    if any(e.sig.effect for e in again):
        raise NonDifferentiableError(
            "reverse mode would run a loop again that uses results of an io_callback, which may give others.",
            "Use scan in place of an inner while_loop or of one with checkpoint=, or use pure_callback.")
    n_lin = len(lin.invars) - len(residuals)
    names = dict(zip(lin.invars[n_lin:], residuals, strict=True))
    eqns = [eqn(e.sig, tuple([names.get(x, x) for x in e.inputs]), e.outs, e) for e in lin.eqns]
    return Jaxpr([*lin.invars[:n_lin], *given], [*again, *eqns], [names.get(x, x) for x in lin.outs],
                 lin.retraced or fwd.retraced)


def linearize_inside(jaxpr: Jaxpr, primals, tangents):
    """A program between the two builders of a linearization: ``(outs, tangents of outs)``."""
    return jvp_values(jaxpr, primals, tangents, True)


@cached_pass("transpose")
def transpose_masked(jaxpr: Jaxpr, linear: tuple[bool, ...], cts: tuple[bool, ...],
                     force: tuple[bool, ...] | None = None):
    """A program that is linear in some inputs to ``(the other inputs, cts) -> cts of the linear ones``.

    ``cts`` says which outputs have a cotangent; ``force`` names inputs whose cotangent is wanted even
    where it is zero. Returns ``(jaxpr, which inputs have one)``.
    """
    order = [i for i, m in enumerate(linear) if m] + [i for i, m in enumerate(linear) if not m]
    sorted_jaxpr = Jaxpr([jaxpr.invars[i] for i in order], jaxpr.eqns, jaxpr.outs, jaxpr.retraced)
    n_rest = len(linear) - sum(linear)

    def run(*values):
        given = iter(values[n_rest:])
        full = [next(given) if m else Zero(a) for m, a in zip(cts, jaxpr.out_avals, strict=True)]
        got = iter(transpose_values(sorted_jaxpr, sum(linear), values[:n_rest], full))
        all_cts = [next(got) if m else None for m in linear]
        keep = tuple([ct is not None and (not isinstance(ct, Zero) or bool(force and force[i]))
                      for i, ct in enumerate(all_cts)])
        return [instantiate(ct) for ct, k in zip(all_cts, keep, strict=True) if k], keep

    avals = [a.strong for a, m in zip(jaxpr.in_avals, linear, strict=True) if not m]
    avals += [a.strong for a, m in zip(jaxpr.out_avals, cts, strict=True) if m]
    return closed(run, avals, "transpose")


def transpose_fun(fun, linear_avals, values, cts) -> list:
    """Cotangents of ``linear``, given those of ``fun(linear, values)``, a list that is linear in it."""
    n = len(linear_avals)
    jaxpr, consts, _ = trace(lambda *xs: (fun(list(xs[:n]), list(xs[n:])), None),
                             [*linear_avals, *[aval_of(v).strong for v in values]], None, "transpose")
    return transpose_values(jaxpr, n, [*values, *consts], cts)


def joint_values(jaxpr, primals, wrt, seeds, cts):
    """``outs + cotangents of the inputs in wrt``, given the cotangents of the outputs in seeds."""
    nonzeros = tuple([w and has_tangent(a) for w, a in zip(wrt, jaxpr.in_avals, strict=True)])
    outs, keep, lin, residuals = linearize_values(jaxpr, primals, nonzeros)
    given = dict(zip(seeds, cts, strict=True))
    out_cts = [given.get(i, Zero(jaxpr.out_avals[i])) for i, k in enumerate(keep) if k]
    moved = iter(transpose_values(lin, sum(nonzeros), residuals, out_cts))
    grads = []
    for w, nz, a in zip(wrt, nonzeros, jaxpr.in_avals, strict=True):
        if w:
            grads.append(instantiate(next(moved)) if nz else instantiate(Zero(a)))
    return outs + grads
