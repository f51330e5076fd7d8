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
    turns, inputs = apart(e, inputs)
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
    return _remade(e, (*turns, *inputs), params, tuple(results)), merged


def apart(e: Eqn, inputs: tuple) -> tuple[tuple, tuple]:
    """The operand of a scan that says how often it turns, if there is one, and those of its body."""
    n = 1 if e.params["length"] is None else 0
    return inputs[:n], inputs[n:]


def narrow(e: Eqn, needed: set, clean: Clean) -> Eqn:
    """A loop without the stacked results that nobody reads, and without what only they needed."""
    if e.op.name == "while":
        return _narrow_while(e, needed, clean)
    p, body = e.params, e.params["jaxpr"]
    n_consts, n_carry = p["n_consts"], p["n_carry"]
    turns, inputs = apart(e, e.inputs)
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
    return _remade(e, (*turns, *[inputs[i] for i in ins]), params, tuple([e.outs[k] for k in keep]))


def _narrow_while(e: Eqn, needed: set, clean: Clean) -> Eqn:
    p, body = e.params, e.params["body"]
    first = p["n_cond"] + p["n_body"]
    n_carry = len(e.inputs) - first
    keep = [k for k, v in enumerate(e.outs) if k < n_carry or v in needed]
    if len(keep) < len(e.outs):
        body = clean(Jaxpr(body.invars, body.eqns, [body.outs[k] for k in keep], body.retraced))
    # a carry goes when neither its result, nor the condition, nor any carry that stays looks at it
    sources = {v: b for b in body.eqns for v in b.outs}
    alive = {k for k in range(n_carry) if e.outs[k] in needed}
    cond_uses = _read(p["cond"].eqns, p["cond"].outs)
    alive |= {k for k in range(n_carry) if p["cond"].invars[p["n_cond"] + k] in cond_uses}
    todo = [*[body.outs[k] for k in alive], *body.outs[n_carry:],
            *[x for b in body.eqns if b.sig.effect for x in b.inputs]]
    place = {v: k for k, v in enumerate(body.invars[p["n_body"]:])}
    used: set = set()
    while todo:
        x = todo.pop()
        if type(x) is not Var or x in used:
            continue
        used.add(x)
        if x in sources:
            todo += sources[x].inputs
        elif x in place and place[x] not in alive:
            alive.add(place[x])
            todo.append(body.outs[place[x]])
    consts = [i for i in range(p["n_body"]) if body.invars[i] in used]
    if len(keep) == len(e.outs) and len(alive) == n_carry and len(consts) == p["n_body"]:
        return e
    kept = sorted(alive)
    cond = p["cond"]
    cond = Jaxpr([*cond.invars[:p["n_cond"]], *[cond.invars[p["n_cond"] + k] for k in kept]], cond.eqns,
                 cond.outs, cond.retraced)
    body = clean(Jaxpr([*[body.invars[i] for i in consts], *[body.invars[p["n_body"] + k] for k in kept]],
                       body.eqns, [*[body.outs[k] for k in kept], *body.outs[n_carry:]], body.retraced))
    inputs = (*e.inputs[:p["n_cond"]], *[e.inputs[p["n_cond"] + i] for i in consts],
              *[e.inputs[first + k] for k in kept])
    outs = (*[e.outs[k] for k in kept], *[e.outs[k] for k in keep if k >= n_carry])
    return _remade(e, inputs, {**p, "cond": cond, "body": body, "n_body": len(consts)}, outs)


def _read(eqns: tuple, outs: tuple) -> set:
    return {x for x in [*outs, *[x for b in eqns for x in b.inputs]] if type(x) is Var}
