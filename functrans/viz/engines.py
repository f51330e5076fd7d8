"""The layout libraries: Graphviz where it is installed, grandalf else. Ranks are given to them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from .. import errors
from .model import Slot

GAP = 18.0              # between neighbours
SECONDS = 10.0          # that Graphviz may take
MOST = {"dot": 1500, "grandalf": 500}       # links of one graph that a library orders in about a second
ALL = {"dot": 8000, "grandalf": 1500}       # of all graphs of a picture


class Graph(NamedTuple):
    """Slots of one lane, and links from each to one of the next rank."""

    slots: list[Slot]
    links: list[tuple[Slot, Slot]]

    def shape(self) -> tuple:
        """Equal for graphs that look the same, up to the widths of slots."""
        number = {s: k for k, s in enumerate(self.slots)}
        return (tuple([(s.rank, not s.nodes) for s in self.slots]),
                tuple([(number[a], number[b]) for a, b in self.links]))


class Choice:
    """Which graphs go to a library: as many as take a few seconds, outermost first; others are swept."""

    def __init__(self, engine: str | None, graphs: Sequence[Graph]):
        self.library = engine or which()
        self.shapes: set[tuple] = set()
        total = 0
        for g in graphs:
            n = len(g.links)
            if n <= MOST[self.library] and (total + n <= ALL[self.library] or g.shape() in self.shapes):
                total += n if g.shape() not in self.shapes else 0
                self.shapes.add(g.shape())


def run(graphs: Sequence[Graph], choice: Choice) -> None:
    """Gives every slot its ``x``."""
    same: dict[tuple, list[Graph]] = {}     # the turns of an unrolled loop look the same
    for g in graphs:
        if len({s.rank for s in g.slots}) == len(g.slots):
            for s in g.slots:
                s.x = 0.0
        else:
            same.setdefault((g.shape(), tuple([s.w for s in g.slots])), []).append(g)
    hard = []
    for (shape, _), found in same.items():
        if shape in choice.shapes:
            hard.append(found[0])
        else:
            sweep(found[0])
    if hard and not (choice.library == "dot" and dot(hard)):
        for g in hard:
            grandalf(g)
    for first, *others in same.values():
        for g in others:
            for s, t in zip(g.slots, first.slots, strict=True):
                s.x = t.x


def sweep(g: Graph) -> None:
    """For what is too much for a library: each rank in order of the means of its neighbours, a few times."""
    rows: dict[int, list[Slot]] = {}
    near: dict[Slot, list[Slot]] = {s: [] for s in g.slots}
    for s in g.slots:
        rows.setdefault(s.rank, []).append(s)
    for a, b in g.links:
        near[a].append(b)
        near[b].append(a)
    ranks = sorted(rows)

    def spread(row: list[Slot]) -> None:
        at = -sum([s.w + GAP for s in row]) / 2
        for s in row:
            s.x = at + s.w / 2
            at += s.w + GAP

    for row in rows.values():
        spread(row)
    for order in (ranks, ranks[::-1], ranks, ranks[::-1]):
        for rank in order:
            rows[rank].sort(key=lambda s: sum([t.x for t in near[s]]) / len(near[s]) if near[s] else s.x)
            spread(rows[rank])


def which() -> str:
    """The name of the library that is there."""
    return "dot" if shutil.which("dot") else "grandalf"


def anchored(g: Graph) -> list[tuple[Slot, Slot, bool]]:
    """The links, and invisible ones so that no slot could stand in an earlier rank than its own."""
    has = {b for _, b in g.links}
    first: dict[int, list[Slot]] = {}
    for s in g.slots:
        first.setdefault(s.rank, []).append(s)
    links = [(a, b, True) for a, b in g.links]
    ranks = sorted(first)
    for before, rank in pairwise(ranks):
        for s in first[rank]:
            if s not in has:
                links.append((first[before][0], s, False))
    return links


def dot(graphs: Sequence[Graph]) -> bool:
    """By one run of Graphviz; False if that takes too long."""
    text = []
    for g in graphs:
        name = {s: f"n{k}" for k, s in enumerate(g.slots)}
        text.append(f"digraph {{ nodesep={GAP / 72:.3f}; ranksep=0.3; nslimit=3; nslimit1=3; mclimit=0.6; "
                    "node [shape=box fixedsize=true height=0.4]; edge [arrowhead=none];")
        text += [f"{n} [width={s.w / 72:.3f} label=\"\"];" for s, n in name.items()]
        for a, b, shown in anchored(g):
            weight = 4 if not a.nodes and not b.nodes else 2
            kind = f"weight={weight}" if shown else "style=invis weight=0"
            text.append(f"{name[a]} -> {name[b]} [{kind}];")
        text.append("}")
    try:
        out = subprocess.run(["dot", "-Tplain", "-y"], input="\n".join(text), capture_output=True, text=True,
                             timeout=SECONDS, check=True).stdout
    except subprocess.TimeoutExpired:
        return False
    except (OSError, subprocess.CalledProcessError) as e:
        raise errors.DrawingError(f"viz: Graphviz failed: {getattr(e, 'stderr', '') or e}.",
                                  "Pass engine='grandalf' to draw without it.") from None
    which = iter(graphs)
    slots: list[Slot] = []
    for line in out.splitlines():
        word, _, rest = line.partition(" ")
        if word == "graph":
            slots = next(which).slots
        elif word == "node":
            name_, x, _ = rest.split(" ", 2)
            slots[int(name_[1:])].x = float(x) * 72
    return True


def grandalf(g: Graph) -> None:
    """By grandalf, each connected part beside the other."""
    try:
        from grandalf.graphs import Edge, Vertex
        from grandalf.graphs import Graph as Graph_
        from grandalf.layouts import SugiyamaLayout, VertexViewer
    except ImportError:
        raise errors.DrawingError(
            "viz needs a library that lays out graphs; neither Graphviz nor grandalf is here.",
            "Run: pip install 'functrans[viz]'   (or install Graphviz, so that there is a command dot)"
        ) from None
    vertices: dict[Slot, Any] = {}
    for s in g.slots:
        v = vertices[s] = Vertex(s)
        v.view = VertexViewer(s.w, 34.0)
    whole = Graph_(list(vertices.values()), [Edge(vertices[a], vertices[b]) for a, b, _ in anchored(g)])
    right = 0.0
    for part in whole.C:
        layout = SugiyamaLayout(part)
        layout.xspace = GAP
        roots = [v for v in part.sV if not v.e_in()]
        layout.init_all(roots=roots, inverted_edges=[])
        layout.draw(3)
        left = min([v.view.xy[0] - v.view.w / 2 for v in part.sV])
        for v in part.sV:
            v.data.x = v.view.xy[0] - left + right
        right = max([v.data.x + v.view.w / 2 for v in part.sV]) + GAP
