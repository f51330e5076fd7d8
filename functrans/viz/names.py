"""What things in a picture are called."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any

from .. import tree
from ..api.compilation import Jitted
from ..api.derivatives import gradient_of
from ..calling.staging import name_of
from ..errors import format_location
from ..ir.core import Eqn, Jaxpr, Lit
from ..trace.core import var_of
from .model import Node
from .origins import Mark, bodies, mark_of, scope_of

MOST = 24               # characters of the second line of a node
# parameters that say how operands are counted, or what a second look (hovering) is for
QUIET = {"n_consts", "n_carry", "n_cond", "n_body", "segments", "policy", "dims", "batch"}


def node_of(e: Eqn, mark: Mark, kind: str) -> Node:
    """The node of an equation."""
    inside = bodies(e)
    literals = [] if inside else [str(x.value) for x in e.inputs if type(x) is Lit]
    types = ", ".join([str(v.aval.strong) for v in e.outs])
    operands = ", ".join([x.aval.code if type(x) is Lit else str(x.aval.strong) for x in e.inputs])
    lines = [f"{e.op.name}({operands}) -> {types}"]
    params = [f"{name}={text}" for name, text in _params(e)]
    lines += [", ".join([*literals, *params])] if literals or params else []
    if mark.column:
        lines.append(f"{'backward pass' if e.backward else 'derivative'} of {mark.row.eqn.op.name}")
    if kind == "ghost":
        lines.append("not computed: its value is not needed, or there already")
    if e.src is not None:
        code = linecache.getline(e.src[0], e.src[1]).strip()
        lines += [format_location(*e.src), *(["    " + code] if code else [])]
    if scope_of(e):
        lines.append("in " + "/".join(scope_of(e)))
    small: list[str] = []
    for text in [*literals, *[p for p in params if p.partition("=")[0] not in QUIET]]:
        if len(", ".join([*small, text])) <= MOST:
            small.append(text)
    return Node(kind, e.op.name, ", ".join(small), "\n".join(lines), mark.column, e.op.family, e)


def _params(e: Eqn) -> list[tuple[str, str]]:
    """The parameters of an equation that can be said in short."""
    found = []
    for name, p in e.params.items():
        programs = isinstance(p, Jaxpr) or (isinstance(p, tuple) and any(isinstance(q, Jaxpr) for q in p))
        if programs or callable(p) or p is None or p is False or p == ():
            continue
        text = p.name if hasattr(p, "itemsize") and hasattr(p, "name") else str(p)
        if not text.startswith("<"):
            found.append((name, text.replace(" ", "") if isinstance(p, tuple) else text))
    return found


# ----- inputs and outputs ----------------------------------------------------------------------------------


def ports(e: Eqn, which: str, body: Jaxpr) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs of a program inside an equation."""
    p = e.params
    consts = p.get("n_consts", p.get("n_cond" if which == "cond" else "n_body"))
    n_in, n_out = len(body.invars), len(body.outs)
    if consts is None:
        return _numbered("operand", n_in), _numbered("result", n_out)
    carry = p.get("n_carry", n_in - consts)
    ins = [*_numbered("const", consts), *_numbered("carry", carry), *_numbered("x", n_in - consts - carry)]
    if which == "cond":
        return ins, ["go on"]
    return ins, [*_numbered("carry", carry), *_numbered("y", n_out - carry)]


def _numbered(name: str, n: int) -> list[str]:
    return [name] if n == 1 else [f"{name} {i}" for i in range(n)]


def headings(fun: Callable | None) -> Callable[[int], list[str]]:
    """Headings of so many lanes: the function's name (None: of a program), and its derivatives."""
    inner: Any = fun
    while True:
        below = inner.fun if isinstance(inner, Jitted) else getattr(inner, "__wrapped__", None)
        if below is None:
            break
        inner = below

    def of(n: int) -> list[str]:
        if n == 1:
            return [name_of(fun) if fun is not None else "program"]
        order = [""] if n == 2 else [_ORDINALS.get(k, f"{k}th") + " " for k in range(1, n)]
        first = name_of(inner) if inner is not None else "program"
        return [first, *[f"{which}derivative" for which in order]]
    return of


_ORDINALS = {1: "first", 2: "second", 3: "third"}


class Results:
    """The outputs of a function's program.

    Attributes:
      names: of each; gradients: which of them is the derivative by which input, by numbers; lanes: where such
        a derivative is shown, if not in the last one.
    """

    lanes: dict[int, int]

    @classmethod
    def of_graph(cls, graph: Any, jaxpr: Jaxpr) -> tuple[Results, list[str]]:
        """Of a graph's ends and derivatives, and the names of its inputs."""
        self = cls.__new__(cls)
        labels = {var_of(s): graph.label(s) for s in graph.placeholders}
        ins = [labels.get(v, "constant") for v in jaxpr.invars]
        labels.update({var_of(s): graph.label(s) for e in graph.eqns for s in graph.outputs(e)})
        first = len(jaxpr.outs) - len(graph.derivatives)
        self.names = [labels[v] for v in jaxpr.outs[:first]]
        self.gradients, self.lanes = {}, {}
        places = {v: i for i, v in enumerate(jaxpr.invars)}
        columns = {v: mark_of(e).column for e in jaxpr.eqns for v in e.outs}
        for i, d in enumerate(graph.derivatives, first):
            y, x, found = var_of(d.ys[0]), var_of(d.x), var_of(d.symbol)
            name = f"d{labels[y]}/d{labels[x]}" if len(d.ys) == 1 else f"grad {labels[x]}"
            self.names.append(name)
            if columns.get(found) and labels[found].startswith("%"):
                labels[found] = f"({name})"
            if x in places:
                self.gradients[i] = places[x]
                self.lanes[i] = 1 + max([columns.get(var_of(y), 0) for y in d.ys])
        return self, ins

    @classmethod
    def of_jaxpr(cls, jaxpr: Jaxpr) -> Results:
        self = cls.__new__(cls)
        self.names, self.gradients, self.lanes = _numbered("result", len(jaxpr.outs)), {}, {}
        return self

    def __init__(self, fun: Callable, args: tuple, kwargs: dict, inputs: Sequence[str], out_tree: Any):
        paths = out_tree.paths()
        self.names = [f"result{p}" for p in paths]
        self.gradients: dict[int, int] = {}
        self.lanes = {}
        made = gradient_of(fun)
        if made is None:
            return
        kind, argnums, argnames = made.kind, made.argnums, made.argnames
        starts = [0]
        for x in [*args, *kwargs.values()]:
            starts.append(starts[-1] + len(tree.leaves(x)))
        chosen = [] if argnums is None else [argnums] if isinstance(argnums, int) else list(argnums)
        places = [i % len(args) for i in chosen]
        names = [] if argnames is None else [argnames] if isinstance(argnames, str) else list(argnames)
        places += [len(args) + list(kwargs).index(name) for name in names if name in kwargs]
        leaves = [k for i in places for k in range(starts[i], starts[i + 1])]
        first = len(paths) - len(leaves) if kind == "value_and_grad" else 0
        if first < 0 or len(leaves) > len(paths):
            return
        if kind == "value_and_grad":
            self.names[0] = "value"
        for k, leaf in enumerate(leaves):
            if leaf < len(inputs):
                self.gradients[first + k] = leaf
                self.names[first + k] = f"grad {inputs[leaf]}"
