"""Cleanup before a plan is made: dead code, common subexpressions, folding and simple algebra.

The simplifications themselves belong to the op records (``simplify``); this pass only applies them.
"""

from __future__ import annotations

import numpy as np

from ..ir.core import Jaxpr, Lit, Var, eqn, lit
from . import loops


def cleanup(jaxpr: Jaxpr) -> Jaxpr:
    """An equivalent program without equations that need not run. Linear in its length."""
    new: dict = {}
    seen: dict = {}
    kept = []
    for e in jaxpr.eqns:
        inputs = tuple([new.get(x, x) if type(x) is Var else x for x in e.inputs])
        op = e.op
        if op.simplify is not None and (atom := op.simplify(inputs, e.params)) is not None:
            new[e.outs[0]] = atom
            continue
        if op.c is not None and inputs and all(type(x) is Lit for x in inputs):
            new[e.outs[0]] = _fold(e, inputs)
            continue
        if op.name in loops.NAMES:
            e, merged = loops.tidy(e, inputs, cleanup)
            inputs = e.inputs
            new.update(merged)
        key = (e.sig, inputs)
        before = seen.get(key)
        if before is not None:
            new.update(zip(e.outs, before, strict=True))
            continue
        seen[key] = e.outs
        kept.append(e if inputs == e.inputs else eqn(e.sig, inputs, e.outs, e))
    outs = [new.get(x, x) if type(x) is Var else x for x in jaxpr.outs]
    return Jaxpr(jaxpr.invars, _live(kept, outs), outs, jaxpr.retraced, jaxpr.names)


def _live(eqns, outs) -> list:
    needed = {x for x in outs if type(x) is Var}
    live = []
    for e in reversed(eqns):
        if not needed.isdisjoint(e.outs):
            if e.op.name == "scan":
                e = loops.narrow(e, needed, cleanup)
            live.append(e)
            needed.update([x for x in e.inputs if type(x) is Var])
    return live[::-1]


def _fold(e, inputs) -> Lit:
    """An elementwise equation on literals only, by the op's NumPy reference."""
    out = e.outs[0].aval
    with np.errstate(all="ignore"):
        value = e.op.reference(*[np.asarray(x.value) for x in inputs], **e.params)
    return lit(out.dtype.type(value), out)
