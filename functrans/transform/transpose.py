"""Reverse mode, second half: a linear program run backwards."""

from __future__ import annotations

from ..errors import NonDifferentiableError
from ..ir.core import Jaxpr, Var
from ..ir.op import Linear
from ..trace.core import bind, source_of
from .evaluate import sources
from .zeros import Zero, add_tangents, instantiate, read


def transpose_values(lin: Jaxpr, n_linear: int, residuals, cts) -> list:
    """Cotangents of the first ``n_linear`` inputs of ``lin``, given those of its outputs.

    ``lin: (linear inputs, residuals) -> outs``. Cotangents may be Zeros, given and returned.
    """
    linear = set(lin.invars[:n_linear])
    env = dict(zip(lin.invars[n_linear:], residuals, strict=True))
    backward = []
    with sources():
        for eqn in lin.eqns:
            if any(type(x) is Var and x in linear for x in eqn.inputs):
                linear.update(eqn.outs)
                backward.append(eqn)
                continue
            source_of(eqn)
            outs = bind(eqn.op, tuple([read(env, x) for x in eqn.inputs]), eqn.params)
            env.update(zip(eqn.outs, outs if eqn.op.multiple else (outs,), strict=True))
        sums: dict = {}

        def accumulate(v, ct):
            if ct is None or isinstance(ct, Zero) or type(v) is not Var or v not in linear:
                return
            sums[v] = add_tangents(sums[v], ct) if v in sums else ct

        for v, ct in zip(lin.outs, cts, strict=True):
            accumulate(v, ct)
        for eqn in reversed(backward):
            if not any(v in sums for v in eqn.outs):
                continue
            source_of(eqn)
            if eqn.op.transpose is None:
                raise NonDifferentiableError(
                    f"{eqn.op.name} cannot be transposed: it is not linear, or has no reverse rule.",
                    eqn.op.why.get("transpose", "Use forward mode (jvp, jacfwd) here."))
            out_cts = [sums.pop(v) if v in sums else Zero(v.aval) for v in eqn.outs]
            if not eqn.op.multiple:
                out_cts = [instantiate(ct) for ct in out_cts]
            operands = [Linear(x.aval) if type(x) is Var and x in linear else read(env, x)
                        for x in eqn.inputs]
            for x, ct in zip(eqn.inputs, eqn.op.transpose(out_cts, operands, **eqn.params),
                             strict=True):
                accumulate(x, ct)
    return [sums[v] if v in sums else Zero(v.aval) for v in lin.invars[:n_linear]]
