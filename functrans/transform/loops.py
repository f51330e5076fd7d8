"""Cleanup of the programs within a program: bodies of loops, branches, calls.

A scan gets the same operand once, literals as literals of its body, and stacks no slice twice or
for nobody: what linearization keeps of a body are often the same few values under many names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.core import Eqn, Jaxpr, Lit, Var, eqn, signature
from .outside import outside

Clean = Callable[..., Jaxpr]


def tidy(e: Eqn, inputs: tuple, clean: Clean, final: bool) -> tuple[list, Eqn, list, dict[Var, Var]]:
    """The equation with clean programs inside: equations before it, itself, equations after it, and
    which of its results are others of them."""
    name = e.op.name

    def inside(jaxpr):
        return clean(jaxpr, final)

    if name == "scan":
        e, merged = _scan(e, inputs, inside)
        return (*(outside(e, inside) if final else ([], e, [])), merged)
    return [], _holding(e, inputs, inside), [], {}


def _holding(e: Eqn, inputs: tuple, clean: Callable[[Jaxpr], Jaxpr]) -> Eqn:
    name, p = e.op.name, e.params
    if name == "while":
        params = {**p, "cond": clean(p["cond"]), "body": clean(p["body"])}
    elif name == "cond":
        params = {**p, "branches": tuple([clean(b) for b in p["branches"]])}
    else:
        params = {**p, "jaxpr": clean(p["jaxpr"])}
    return _remade(e, inputs, params, e.outs)


NAMES = frozenset(["scan", "while", "cond", "call", "remat"])


def _remade(e: Eqn, inputs: tuple, params: dict[str, Any], outs: tuple) -> Eqn:
    return eqn(signature(e.op, tuple([x.aval for x in inputs]), params), tuple(inputs), tuple(outs), e)


def _scan(e: Eqn, inputs: tuple, clean: Clean) -> tuple[Eqn, dict[Var, Var]]:
    p, body = e.params, e.params["jaxpr"]
    n_consts, n_carry = p["n_consts"], p["n_carry"]
    first_x = n_consts + n_carry
    kept: list[int] = []
    same: dict[Var, Any] = {}
    seen: dict[Any, Var] = {}
    for i, (x, v) in enumerate(zip(inputs, body.invars, strict=True)):
        part = "carry" if n_consts <= i < first_x else "const" if i < n_consts else "x"
        if part == "carry":
            kept.append(i)
        elif type(x) is Lit and part == "const":
            same[v] = x
        elif (x, part) in seen:
            same[v] = seen[x, part]
        else:
            seen[x, part] = v
            kept.append(i)
    if same:
        eqns = [eqn(b.sig, tuple([same.get(x, x) for x in b.inputs]), b.outs, b) for b in body.eqns]
        body = Jaxpr([body.invars[i] for i in kept], eqns, [same.get(x, x) for x in body.outs], body.retraced)
        inputs = tuple([inputs[i] for i in kept])
    body = clean(body)
    outs: list[Any] = []
    results: list[Var] = []
    merged: dict[Var, Var] = {}
    first: dict[Any, Var] = {}
    for k, (x, v) in enumerate(zip(body.outs, e.outs, strict=True)):
        if k >= n_carry and x in first:
            merged[v] = first[x]
            continue
        if k >= n_carry:
            first[x] = v
        outs.append(x)
        results.append(v)
    if merged:
        body = Jaxpr(body.invars, body.eqns, outs, body.retraced)
    params = {**p, "jaxpr": body, "n_consts": sum([i < n_consts for i in kept])}
    return _remade(e, inputs, params, tuple(results)), merged


def narrow(e: Eqn, needed: set, clean: Clean) -> Eqn:
    """A scan without the stacked results that nobody reads, and without what only they needed."""
    p, body = e.params, e.params["jaxpr"]
    n_consts, n_carry = p["n_consts"], p["n_carry"]
    keep = [k for k, v in enumerate(e.outs) if k < n_carry or v in needed]
    if len(keep) < len(e.outs):
        body = clean(Jaxpr(body.invars, body.eqns, [body.outs[k] for k in keep], body.retraced))
    used = {x for b in body.eqns for x in b.inputs if type(x) is Var}
    used.update([x for x in body.outs if type(x) is Var])
    ins = [i for i, v in enumerate(body.invars) if v in used or n_consts <= i < n_consts + n_carry]
    if len(keep) == len(e.outs) and len(ins) == len(body.invars):
        return e
    body = Jaxpr([body.invars[i] for i in ins], body.eqns, body.outs, body.retraced)
    params = {**p, "jaxpr": body, "n_consts": sum([i < n_consts for i in ins])}
    return _remade(e, tuple([e.inputs[i] for i in ins]), params, tuple([e.outs[k] for k in keep]))
