"""Printing of jaxprs, in the form of a small Python-like program."""

from __future__ import annotations

from .core import Jaxpr, Var, name_of


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

    def atom(x):
        return name_it(x) if type(x) is Var else repr(x)

    args = ", ".join(f"{name_it(v)}:{v.aval}" for v in jaxpr.invars)
    lines = [f"{indent}{name}({args})"]
    inner = indent + "  "
    for e in jaxpr.eqns:
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
        operands = ", ".join(atom(x) for x in e.inputs)
        outs = ", ".join(f"{name_it(v)}:{v.aval}" for v in e.outs)
        line = f"{inner}{outs} = {e.op.name}{f'[{text}]' if text else ''}({operands})"
        if sources and e.src is not None:
            line += f"  # {e.src[0]}:{e.src[1]}" + (f" in {'/'.join(e.scope)}" if e.scope else "")
        lines.append(line)
        for key, program in programs.items():
            lines.append(show(program, sources, inner + "  ", key))
    result = ", ".join(atom(x) for x in jaxpr.outs)
    lines.append(f"{inner}return {result or '()'}")
    return "\n".join(lines)


def _param(value) -> str:
    return value.name if hasattr(value, "name") and hasattr(value, "itemsize") else str(value)
