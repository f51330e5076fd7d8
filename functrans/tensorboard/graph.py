"""Programs as TensorFlow's GraphDef, which TensorBoard draws.

``/`` in a node's name makes a box. A node's inputs are names of others, ``name:k`` for result k. Shapes of
results are in the attribute ``_output_shapes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from .. import tree
from ..errors import format_location
from ..inspection.programs import make_jaxpr
from ..ir.core import Eqn, Jaxpr, Var
from ..ir.op import CODE
from ..tree.keys import path_words
from . import wire

# Numbers of DataType in types.proto.
_TYPES = {"f32": 1, "f64": 2, "i32": 3, "u8": 4, "i16": 5, "i8": 6, "c64": 8, "i64": 9, "b1": 10, "u16": 17,
          "c128": 18, "f16": 19, "u32": 22, "u64": 23}
_STRANGE = re.compile(r"[^A-Za-z0-9_.\\/>-]+")
_LONGEST = 400                      # characters of a parameter


def graph_def(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> bytes:
    """The program of a call as a GraphDef message."""
    jaxpr, shapes = make_jaxpr(fun, return_shape=True)(*args, **kwargs)
    results = ["/".join(["results", *path_words(path)]) for path, _ in tree.flatten_with_path(shapes)[0]]
    return program_graph(jaxpr, results)


def program_graph(jaxpr: Jaxpr, results: Sequence[str]) -> bytes:
    """A program's message; ``results`` are names for nodes of its results."""
    nodes = _Nodes()
    given = jaxpr.names or ()
    inputs = []
    for i, v in enumerate(jaxpr.invars):
        # what the function captured has no name
        name = _plain(given[i]) if i < len(given) and given[i] else f"captured/array_{i - len(given)}"
        inputs.append(nodes.add(name, "Placeholder", [], [v.aval]))
    outs = nodes.program(jaxpr, inputs, "", ())
    for name, x, out in zip(results, jaxpr.outs, outs, strict=True):
        nodes.add(name, "Identity", [nodes.operand(x, out, name)], [x.aval])
    return b"".join(nodes.made) + wire.data(4, wire.integer(1, 22))


class _Nodes:
    """The nodes so far."""

    def __init__(self) -> None:
        self.made: list[bytes] = []
        self.taken: dict[str, int] = {}

    def unique(self, name: str) -> str:
        name = _legal(name)
        n = self.taken.get(name, 0)
        self.taken[name] = n + 1
        if not n:
            return name
        return self.unique(f"{name}_{n}")

    def add(self, name: str, op: str, inputs: list[str], avals: Any, attributes: dict[str, bytes] |
            None = None ) -> str:
        """A node, under this name or, where that is taken, one like it."""
        name = self.unique(name)
        self.put(name, op, inputs, avals, attributes or {})
        return name

    def put(self, name: str, op: str, inputs: list[str], avals: Any, attributes: dict[str, bytes]) -> None:
        fields = [wire.text(1, name), wire.text(2, op), *[wire.text(3, x) for x in inputs]]
        shapes = wire.data(1, b"".join([wire.data(7, _shape(a)) for a in avals]))
        found = {"_output_shapes": shapes, **attributes}
        if avals and CODE.get(avals[0].dtype) in _TYPES:
            found["dtype"] = wire.integer(6, _TYPES[CODE[avals[0].dtype]])
        fields += [wire.entry(5, key, value) for key, value in found.items()]
        self.made.append(wire.data(1, b"".join(fields)))

    def operand(self, x: Any, known: str | None, reader: str, k: int = 0) -> str:
        """The node of an operand; a literal becomes a node of its own beside what reads it."""
        if known is not None:
            return known
        return self.add(f"{reader}/{'xyzw'[k] if k < 4 else f'operand_{k}'}", "Const", [], [x.aval],
                        {"value": _string(repr(x))})

    def program(self, jaxpr: Jaxpr, inputs: list[str], box: str, scope: tuple) -> list[str | None]:
        """The nodes of equations, below ``box``, which is in ``scope``: names of the program's results, None
        of literals."""
        names: dict[Var, str] = dict(zip(jaxpr.invars, inputs, strict=True))
        for e in jaxpr.eqns:
            self.equation(e, names, box, scope)
        return [names[x] if type(x) is Var else None for x in jaxpr.outs]

    def equation(self, e: Eqn, names: dict[Var, str], box: str, scope: tuple) -> None:
        own = e.scope or ()
        own = own[len(scope):] if own[:len(scope)] == scope else own
        path = "/".join([*(["gradients"] if e.backward and not box else []), *own])
        params = dict(e.params)
        programs = _taken_out(params)
        label = params.get("name") if isinstance(params.get("name"), str) and programs else None
        name = self.unique(f"{box}{path}{'/' if path else ''}{label or e.op.name}")
        operands = [self.operand(x, names[x] if type(x) is Var else None, name, k) for k, x in
        enumerate(e.inputs)]
        attributes = {key: _string(str(value)[:_LONGEST]) for key, value in params.items()}
        if e.src is not None:
            attributes["source"] = _string(format_location(*e.src))
        node = name
        if programs:
            node, operands = self.nested(e, name, programs, operands)
        self.put(node, e.op.name, operands, e.sig.outs, attributes)
        for k, v in enumerate(e.outs):
            names[v] = f"{node}:{k}" if k else node

    def nested(self, e: Eqn, name: str, programs: dict[str, Jaxpr], operands: list[str]
               ) -> tuple[str, list[str]]:
        """The programs inside of an equation, as boxes below its name; its node is inside, behind theirs."""
        results: list[str] = []
        for key, jaxpr in programs.items():
            box = f"{name}/{key}/"
            given = _given(e, key, jaxpr, operands)
            inputs = [self.add(f"{box}input_{i}", "Input", [given[i]] if given[i] else [], [v.aval])
                      for i, v in enumerate(jaxpr.invars)]
            outs = self.program(jaxpr, inputs, box, e.scope or ())
            results += [self.operand(x, out, f"{box}result_{i}")
                        for i, (x, out) in enumerate(zip(jaxpr.outs, outs, strict=True))]
        node = self.unique(f"{name}/{e.op.name}")
        first = operands[:1] if e.op.name == "cond" else []
        return node, list(dict.fromkeys([*first, *results])) or operands


def _taken_out(params: dict[str, Any]) -> dict[str, Jaxpr]:
    """The programs among parameters, which are taken out."""
    found: dict[str, Jaxpr] = {}
    for key, value in list(params.items()):
        if isinstance(value, Jaxpr):
            found["body" if key == "jaxpr" else key] = value
        elif isinstance(value, tuple) and value and all(isinstance(v, Jaxpr) for v in value):
            found.update({f"{'branch' if key == 'branches' else key}_{i}": v for i, v in enumerate(value)})
        else:
            continue
        del params[key]
    return found


def _given(e: Eqn, key: str, jaxpr: Jaxpr, operands: list[str]) -> list[str]:
    """The operand that each input of a program inside begins with."""
    p, name = e.params, e.op.name
    if name == "while":
        n = p["n_cond"]
        consts = operands[:n] if key == "cond" else operands[n:n + p["n_body"]]
        found = [*consts, *operands[n + p["n_body"]:]]
    else:
        found = operands[len(operands) - len(jaxpr.invars):]
    return [*found, *[""] * (len(jaxpr.invars) - len(found))]


def _shape(a: Any) -> bytes:
    """A TensorShapeProto; -1 for an extent that only a run knows."""
    return b"".join([wire.data(2, wire.integer(1, n if type(n) is int else -1)) for n in a.shape])


def _string(content: str) -> bytes:
    """An AttrValue."""
    return wire.data(2, content.encode("utf-8", "replace"))


def _plain(name: str) -> str:
    """``params['hidden'].w`` as ``params/hidden/w``."""
    return re.sub(r"\[['\"]?([^\]'\"]*)['\"]?\]|\.", lambda m: f"/{m[1]}" if m[1] is not None else "/", name)


def _legal(name: str) -> str:
    """TensorFlow's names begin with a letter, a digit or a dot, in each part."""
    parts = [_STRANGE.sub("_", p) or "_" for p in name.split("/") if p]
    return "/".join([p if p[0].isalnum() or p[0] == "." else f"x{p}" for p in parts]) or "x"


__all__ = ["graph_def", "program_graph"]
