"""A picture for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .model import Node, Picture, Table
from .svg import EDGES, FILLS, heat_colour, rim


def render(picture: Picture) -> str:
    """The program in the DOT language; closed groups are single nodes."""
    out = ["digraph {", f"  label={_quoted(picture.title)}; labelloc=t; newrank=true; compound=true;",
           '  fontname="Helvetica";',
           '  node [shape=box style="rounded,filled" fontname="Helvetica" fontsize=11];',
           '  edge [fontname="Helvetica" fontsize=8 arrowsize=0.6 constraint=false];']
    clusters: dict[Node | int, list[str]] = {}
    children: dict[Node | int, list[Node]] = {}
    for n in picture.nodes:
        boxes = n.boxes()
        if any(b.group is not None and not b.group.open for b in boxes):
            continue
        column = n.path()[0][0].table.lanes.index(n.path()[0][0])
        at: Node | int = boxes[-1] if boxes else column
        if n.group is not None and n.group.open:
            children.setdefault(at, []).append(n)
            if n.kind == "scope":
                continue
            at = n
        clusters.setdefault(at, []).append(_node(n))

    def cluster(key: Node | int, title: str, pad: str) -> None:
        name = f"lane{key}" if isinstance(key, int) else f"box{key.id}"
        fill = FILLS[min(key if isinstance(key, int) else key.column, len(FILLS) - 1)]
        out.append(f'{pad}subgraph cluster_{name} {{ label={_quoted(title)}; style="rounded,filled"; '
                   f'color="#9aa5b1"; fillcolor="{fill}";')
        out.extend([pad + "  " + text for text in clusters.get(key, [])])
        for n in children.get(key, []):
            cluster(n, n.label, pad + "  ")
        out.append(pad + "}")

    for k, heading in enumerate(picture.headings):
        cluster(k, heading, "  ")
    # Labels of edges within a rank, and sets of one node, are too much for some versions of Graphviz.
    rows_ = list(rows(picture.table))
    out += ["  { rank=same; " + "; ".join([f"n{n.id}" for n in nodes]) + " }"
            for nodes in rows_ if len(nodes) > 1]
    out += [f"  n{a[0].id} -> n{b[0].id} [style=invis constraint=true];"
            for a, b in pairwise(rows_)]
    row_of = {n: k for k, nodes in enumerate(rows_) for n in nodes}
    drawn = set()
    for e in picture.edges:
        a, b = _outermost(e.start), _outermost(e.end)
        key = a, b, e.value, e.kind
        if a is b or key in drawn:
            continue
        drawn.add(key)
        style = f'color="{EDGES[e.kind]}"' + (" style=dashed" if e.kind == "residual" else "")
        text = "label" if row_of[a] != row_of[b] else "edgetooltip"
        out.append(f"  n{a.id} -> n{b.id} [{text}={_quoted(e.types)} {style}];")
    out.append("}")
    return "\n".join(out) + "\n"


def rows(table: Table) -> Iterator[list[Node]]:
    """The nodes of each row that is shown, from the top; those of open loops and scopes follow their own."""
    for rank in range(table.ranks):
        row = [i for i in table.items if i.rank == rank]
        nodes = [n for i in row for ns in i.cells.values() for n in ns]
        shown = [n for n in nodes if n.kind != "scope" or n.group is None or not n.group.open]
        if shown:
            yield shown
        for i in row:
            if i.group is not None and i.group.open:
                for t in i.group.tables:
                    yield from rows(t)


def _outermost(n: Node) -> Node:
    for box in n.boxes():
        if box.group is not None and not box.group.open:
            return box
    return n


def _node(n: Node) -> str:
    label = n.label if not n.small else f"{n.label}\n{n.small}"
    fill = heat_colour(n.heat) if n.heat is not None else "#eef2f6" if n.kind == "input" else "#ffffff"
    style = '"rounded,dashed"' if n.kind == "ghost" else '"rounded,filled"'
    shape = " shape=oval" if n.kind in ("input", "output") else ""
    return (f'n{n.id} [label={_quoted(label)} tooltip={_quoted(n.title)} fillcolor="{fill}" '
            f'color="{rim(n)}" style={style}{shape}];')


def _quoted(text: str) -> str:
    # a backslash in DOT begins an escape; a line break is one
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
