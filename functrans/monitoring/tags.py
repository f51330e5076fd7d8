"""Names for values: tags that users write, and those that stand for scopes."""

from __future__ import annotations

from typing import Any

from .. import errors, tree
from ..calling.staging import Rewriting, api
from ..ir.core import Eqn, Jaxpr, Var, eqn, signature, var
from ..ops import monitoring as ops
from ..trace.source import set_scope
from ..trace.tracer import Tracer
from ..tree.keys import path_words


@api
def tag(name: str, value: Any) -> Any:
    """``value`` itself, marked with a name under which ``monitor`` looks at it and at its gradient.

    Args:
      name: of the layer, e.g. ``"hidden"``. Inside of a ``name_scope`` the scopes' names come first:
        ``"block1/hidden"``. What one line tags several times, as in a Python loop or in a function that is
        called often, is one layer.
      value: an array, or a pytree of arrays; then each leaf is a layer, under its path.

    Without a monitor, a tag changes no value and costs next to nothing (an array of 64 elements and more is
    kept in memory where it is, instead of staying in a register). All transforms keep tags.

    Raises:
      functrans.errors.ArgumentError: the name is not a string, or empty.

    >>> import numpy as np
    >>> from functrans import grad, monitor, tag
    >>> def loss(w, x):
    ...     h = tag("hidden", np.tanh(x @ w["first"]))
    ...     return np.sum((h @ w["second"]) ** 2)
    >>> watched = monitor(grad(loss))
    >>> gradient = watched({"first": np.ones((3, 2)), "second": np.ones(2)}, np.ones((4, 3)))
    >>> watched["hidden"].activation.count
    array([8.])
    """
    if not isinstance(name, str) or not name:
        raise errors.ArgumentError(f"tag: the name {name!r}.",
                                   "Give a string that is not empty, first: tag('hidden', h).")
    if type(value) is Tracer:
        return ops.tag(value, name=wanted(full_name(name)), kind="value")
    pairs, treedef = tree.flatten_with_path(value)
    if not any(type(x) is Tracer for _, x in pairs):
        return value
    full = full_name(name)
    return treedef.unflatten([
        ops.tag(x, name=wanted("/".join([full, *path_words(path)])), kind="value") if type(x) is Tracer else x
        for path, x in pairs])


def wanted(name: str) -> Any:
    """The name as a tag has it, now: a monitor wants all values."""
    return name if Rewriting.rule is None else ops.Wanted(name)


def full_name(name: str) -> str:
    """The name behind those of the open scopes."""
    scopes = set_scope(None)
    set_scope(scopes)
    return "/".join([*(scopes or ()), name])


# ----- scopes as tags ------------------------------------------------------------------------------------


def holds(jaxpr: Jaxpr) -> bool:
    """Whether there is a tag in a program, or in one inside of it."""
    return any(e.op is ops.tag or any(holds(p) for p in programs(e)) for e in jaxpr.eqns)


def programs(e: Eqn) -> list[Jaxpr]:
    """The programs inside of an equation."""
    found = []
    for p in e.params.values():
        found += [q for q in (p if type(p) is tuple else (p,)) if type(q) is Jaxpr]
    return found


def tag_scopes(jaxpr: Jaxpr, *_: object) -> Jaxpr:
    """The program with a tag for each value that leaves a ``name_scope``; as it is where it has tags.

    Tags come where the scope ends, so that gradients are added up in the order in which they were.
    """
    if holds(jaxpr) or not any(e.scope for e in _all(jaxpr)):
        return jaxpr
    return _tagged(jaxpr)


def _all(jaxpr: Jaxpr) -> list[Eqn]:
    return [e for own in jaxpr.eqns for e in (own, *[x for p in programs(own) for x in _all(p)])]


def _tagged(jaxpr: Jaxpr) -> Jaxpr:
    readers: dict[Var, list[tuple]] = {}            # the scopes of those who read it
    for e in jaxpr.eqns:
        for x in e.inputs:
            if type(x) is Var:
                readers.setdefault(x, []).append(() if e.backward else e.scope or ())
    for x in jaxpr.outs:
        if type(x) is Var:
            readers.setdefault(x, []).append(())
    eqns: list[Eqn] = []
    now: dict[Var, Var] = {}                        # under which name it is read from here on
    scope: tuple = ()
    made: list[tuple[int, Var]] = []                # in the open scopes: how deep, and what
    for e in (*jaxpr.eqns, None):
        own = () if e is None or e.backward else e.scope or ()
        for depth in range(len(scope), 0, -1):      # scopes that end here, inner ones first
            if own[:depth] == scope[:depth]:
                break
            leaving = [v for d, v in made if d >= depth]
            names = 0
            for v in leaving:
                outside = [r for r in readers.get(v, ()) if r[:depth] != scope[:depth]]
                if outside and v.aval.dtype.kind in "fc":
                    name = "/".join(scope[:depth]) + (f":{names}" if names else "")
                    names += 1
                    x = now.get(v, v)
                    sig = signature(ops.tag, (x.aval,), {"name": ops.Wanted(name), "kind": "value"})
                    out = var(sig.out, 0)
                    eqns.append(eqn(sig, (x,), (out,)))
                    now[v] = out
            made = [(min(d, depth - 1), v) for d, v in made if d < depth or depth > 1]
        scope = own
        if e is not None:
            eqns.append(eqn(_inside(e), tuple([now.get(x, x) for x in e.inputs]), e.outs, e))
            made += [(len(own), v) for v in e.outs if own]
    return Jaxpr(jaxpr.invars, eqns, [now.get(x, x) for x in jaxpr.outs], jaxpr.retraced, jaxpr.names)


def _inside(e: Eqn) -> Any:
    """The signature of an equation, with tags in loops and branches."""
    if e.op.family != "control":
        return e.sig
    params = {k: _tagged(p) if type(p) is Jaxpr else tuple([_tagged(q) for q in p])
              if type(p) is tuple and p and type(p[0]) is Jaxpr else p for k, p in e.params.items()}
    return signature(e.op, e.sig.in_avals, params)
