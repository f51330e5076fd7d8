"""Forward mode: primals and tangents side by side."""

from __future__ import annotations

from ..ir.core import Jaxpr
from ..trace.core import aval_of, trace
from .interpret import jvp_values
from .programs import cached_pass, closed
from .zeros import Zero, has_tangent, instantiate, zero_of


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


def jvp_fun(fun, primals, tangents):
    """``fun`` of values, a list, and its derivative: ``(outs, tangents of outs)``."""
    jaxpr, consts, _ = trace(lambda *xs: (fun(*xs), None), [aval_of(x).strong for x in primals], None, "jvp")
    return jvp_values(jaxpr, [*primals, *consts], [*tangents, *[zero_of(c) for c in consts]])
