"""Where things go: ranks are given, a layout library finds the order in each and the places in it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from . import engines
from .model import Edge, Item, Lane, Node, Picture, Slot
from .place import Sizes
from .text import width

THIN = 10.0             # room for an edge on its way


def arrange(picture: Picture, engine: str | None) -> None:
    """Finds the slots of all lanes, and ``x`` of each.

    ``engine`` is ``"dot"`` or ``"grandalf"``, None for the first that is there.
    """
    route = _Router(picture)
    for edge in picture.edges:
        route.edge(edge)
    label(picture)
    depth: dict[int, list[Lane]] = {}
    for lane in picture.lanes:
        d, box = 0, lane.box
        while box is not None:
            d, box = d + 1, box.lane.box
        depth.setdefault(d, []).append(lane)
    state = Sizes(picture)
    graphs = {lane: engines.Graph([s for row in lane.rows for s in row], list(route.links[lane]))
              for d in sorted(depth) for lane in depth[d]}
    choice = engines.Choice(engine, list(graphs.values()))
    for d in sorted(depth, reverse=True):
        for lane in depth[d]:
            for row in lane.rows:
                for slot in row:
                    slot.w = state.slot_width(slot)
        engines.run([graphs[lane] for lane in depth[d]], choice)
        for lane in depth[d]:
            if _turned(lane):
                for row in lane.rows:
                    for slot in row:
                        slot.x = -slot.x
            for row in lane.rows:
                row.sort(key=lambda s: s.x)
            state.lane_width(lane)


def _turned(lane: Lane) -> bool:
    """Whether more neighbours stand against the program's order than with it."""
    against = 0
    for row in lane.rows:
        cells = sorted([(s.nodes[0].item.order, s.x) for s in row if s.nodes])
        against += sum([1 if b[1] < a[1] else -1 for a, b in pairwise(cells)])
    return against > 0


def label(picture: Picture) -> None:
    """The types of what leaves each node, and how wide nodes are."""
    leaving: dict[Node, dict[Any, str]] = {}
    ways: dict[Node, int] = {}
    for e in picture.edges:
        inside = e.end.boxes()
        for n in [e.start, *[b for b in e.start.boxes() if b.kind == "scope" and b not in inside]]:
            leaving.setdefault(n, {})[e.value] = e.types
            ways[n] = ways.get(n, 0) + {"up": 1, "down": -1}.get(e.way, 0)
    for n in picture.nodes:
        found = list(leaving.get(n, {}).values())
        n.types = ", ".join(found) if len(found) < 3 else f"{len(found)} values"
        n.up = ways.get(n, 0) > 0
        mark = 14.0 if n.group is not None else 0.0
        n.w = max(44.0, width(n.label, 12, True) + mark + 20, width(n.small, 9) + 16)


class _Router:
    """Gives edges their stations: a slot in every rank that they pass."""

    def __init__(self, picture: Picture):
        self.links: dict[Lane, dict[tuple[Slot, Slot], None]] = {}
        self.cells: dict[tuple[Item, Lane], Slot] = {}
        self.chains: dict[tuple, Slot] = {}
        for lane in picture.lanes:
            lane.rows = [[] for _ in range(lane.table.ranks + 2)]
            self.links[lane] = {}
        for table in picture.tables:
            for item in sorted(table.items, key=lambda i: i.order):
                for lane, nodes in item.cells.items():
                    self.cells[item, lane] = self._slot(lane, item.rank + 1, nodes)

    def _slot(self, lane: Lane, rank: int, nodes: list[Node]) -> Slot:
        slot = Slot(nodes, THIN)
        slot.lane, slot.rank = lane, rank
        lane.rows[rank].append(slot)
        return slot

    def edge(self, e: Edge) -> None:
        a, b = e.start.path(), e.end.path()
        k = 0
        while a[k] == b[k] and k + 1 < min(len(a), len(b)) and a[k + 1][0] is b[k + 1][0]:
            k += 1
        (lane, item), (other, target) = a[k], b[k]
        if lane is not other or item is target:
            e.way = "cross" if lane is not other else "cell"
            return
        if item.rank == target.rank:
            e.way = "flat"
            return
        down = item.rank < target.rank
        e.way = "down" if down else "up"
        for inner, place in a[:k:-1]:           # out of boxes, along, into boxes
            self._chain(e, inner, self.cells[place, inner], len(inner.rows) - 1 if down else 0, None, e.value)
        start = self.cells[item, lane]
        # all that leaves a box goes one way
        line = start if item.group is not None and item.group.kind != "loop" else e.value
        self._chain(e, lane, start, target.rank + 1, self.cells[target, lane], line)
        for inner, place in b[k + 1:]:
            port = self._through(inner, 0 if down else len(inner.rows) - 1, (line, "in"))
            e.stations.append(port)
            self._chain(e, inner, port, place.rank + 1, self.cells[place, inner], line)

    def _through(self, lane: Lane, rank: int, line: Any) -> Slot:
        """The slot of a line in a row that it passes."""
        key = lane, rank, line
        if key not in self.chains:
            self.chains[key] = self._slot(lane, rank, [])
        return self.chains[key]

    def _chain(self, e: Edge, lane: Lane, start: Slot, rank: int, goal: Slot | None, line: Any) -> None:
        """Slots from ``start`` to ``rank``: those between, and there ``goal`` or a slot in the border."""
        step = 1 if rank > start.rank else -1
        last = start
        for r in range(start.rank + step, rank, step):
            here = self._through(lane, r, (line, start, step))
            self._link(last, here)
            e.stations.append(here)
            last = here
        if goal is None:
            goal = self._through(lane, rank, (line, "out"))
            e.stations.append(goal)
        self._link(last, goal)

    def _link(self, a: Slot, b: Slot) -> None:
        self.links[a.lane][(a, b) if a.rank < b.rank else (b, a)] = None
