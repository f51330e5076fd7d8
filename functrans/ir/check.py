"""Type check of jaxprs: run after every pass in the tests (``FUNCTRANS_CHECK=1``)."""

from __future__ import annotations

from .core import Jaxpr, Lit, Var, signature


class MalformedJaxpr(AssertionError):
    """A pass made a program that breaks the rules of the IR: a bug of functrans."""


def check(jaxpr: Jaxpr, name: str = "jaxpr") -> Jaxpr:
    """Raises MalformedJaxpr unless every variable is defined once, before use, with its op's type."""
    def fail(text):
        raise MalformedJaxpr(f"{name}: {text}\n{jaxpr}")

    defined = set()
    for v in jaxpr.invars:
        if type(v) is not Var or v in defined:
            fail(f"input {v!r} is no variable, or given twice")
        defined.add(v)
    for e in jaxpr.eqns:
        for x in e.inputs:
            if type(x) is not Lit and x not in defined:
                fail(f"{x!r} is used by {e.op.name} before it is defined")
        got = [x.aval.strong for x in e.inputs]
        if [a.strong for a in e.sig.in_avals] != got:
            fail(f"{e.op.name} is typed for {e.sig.in_avals} but gets {got}")
        again = signature(e.op, e.sig.in_avals, e.params)
        if [a.strong for a in again.outs] != [a.strong for a in e.sig.outs]:
            fail(f"{e.op.name} gives {again.outs}, recorded as {e.sig.outs}")
        if len(e.outs) != len(e.sig.outs):
            fail(f"{e.op.name} has {len(e.outs)} results for {len(e.sig.outs)} types")
        for v, a in zip(e.outs, e.sig.outs, strict=True):
            if v in defined:
                fail(f"{v!r} is defined twice")
            if v.aval is not a:
                fail(f"{v!r} is declared {v.aval} where {e.op.name} gives {a}")
            defined.add(v)
        for value in e.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Jaxpr):
                    check(inner, f"{name}/{e.op.name}")
    for x in jaxpr.outs:
        if type(x) is not Lit and x not in defined:
            fail(f"result {x!r} is not defined")
    return jaxpr
