"""Printing of jaxprs, in the form of a small Python-like program."""

from __future__ import annotations

import re
from collections.abc import Callable

from .core import Eqn, Jaxpr, Var, name_of

ADDRESS = re.compile(r"( object)? at 0x[0-9a-fA-F]+")  # in what Python says of a user's function or object


def show(jaxpr: Jaxpr, sources: bool = False, indent: str = "", name: str = "jaxpr") -> str:
    """The program as text: a line per equation, with the user's line behind it if ``sources``."""
    names: dict = {}
    taken = set()
    for v, given in zip(jaxpr.invars, jaxpr.names or (), strict=False):
        names[v] = given
        taken.add(given)
    counter = 0

    def name_it(v):
        nonlocal counter
        if v not in names:
            while (text := name_of(counter)) in taken:
                counter += 1
            names[v] = text
            counter += 1
        return names[v]

    args = ", ".join(f"{name_it(v)}:{v.aval}" for v in jaxpr.invars)
    inner = indent + "  "
    lines = [f"{indent}{name}({args})", *[equation(e, name_it, sources, inner) for e in jaxpr.eqns]]
    result = ", ".join(_atom(x, name_it) for x in jaxpr.outs)
    lines.append(f"{inner}return {result or '()'}")
    return "\n".join(lines)


def equation(e: Eqn, name_it: Callable[[Var], str], sources: bool, indent: str) -> str:
    """An equation as text, with the programs among its parameters below it."""
    params = dict(e.params)
    programs = {}
    for key, value in list(params.items()):
        if isinstance(value, Jaxpr):
            programs[key] = value
            params[key] = f"<{key}>"
        elif isinstance(value, tuple) and value and all(isinstance(v, Jaxpr) for v in value):
            programs.update({f"{key}[{i}]": v for i, v in enumerate(value)})
            params[key] = f"<{key}>"
    text = ", ".join(f"{k}={_param(v)}" for k, v in params.items())
    operands = ", ".join(_atom(x, name_it) for x in e.inputs)
    outs = ", ".join(f"{name_it(v)}:{v.aval}" for v in e.outs)
    line = f"{indent}{outs} = {e.op.name}{f'[{text}]' if text else ''}({operands})"
    if sources and e.src is not None:
        line += f"  # {e.src[0]}:{e.src[1]}" + (f" in {'/'.join(e.scope)}" if e.scope else "")
    inner = [show(program, sources, indent + "  ", key) for key, program in programs.items()]
    return "\n".join([line, *inner])


def _atom(x: object, name_it: Callable[[Var], str]) -> str:
    return name_it(x) if isinstance(x, Var) else repr(x)


def _param(value) -> str:
    if hasattr(value, "name") and hasattr(value, "itemsize"):
        return value.name
    return ADDRESS.sub("", str(value))
