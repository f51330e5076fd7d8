"""What a picture consists of: nodes in the rows of tables, side by side in lanes.

A table has a row for each equation of the user's code (several that do not depend on each other share a rank,
and so a height). Lane 0 holds the equations themselves, lane 1 what the first derivative made of each, and so
on. Name scopes and the programs inside loops are groups: an item of a row, with tables of its own; a group's
box in each lane shows that lane's part of them, so that rows match on all levels.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Eqn, Lit, Var


class Node:
    """A small box with a name: an equation, an input, or an output.

    Attributes:
      kind: ``"op"``, ``"ghost"`` (the user's equation, which the program does not compute), ``"input"``,
        ``"output"``, or ``"scope"`` (a closed scope).
      label, small: first and second line; title: the text shown on hovering; types: of the values that leave
        it, written below it, or above if most go ``up``.
      column: how many derivatives it took; family: of the op.
      group: whose box it stands for, while that is closed.
    """

    def __init__(self, kind: str, label: str, small: str = "", title: str = "", column: int = 0,
                 family: str = "", eqn: Eqn | None = None):
        self.kind, self.label, self.small, self.title = kind, label, small, title
        self.column, self.family, self.eqn = column, family, eqn
        self.id = -1
        self.lane: Lane
        self.item: Item
        self.group: Group | None = None
        self.inner: list[Lane] = []             # of its box: one for each table of the group
        self.types = ""
        self.up = False
        self.heat: float | None = None          # 0 to 1: its colour
        self.w = 0.0

    def path(self) -> list[tuple[Lane, Item]]:
        """Its place in each table, from the outermost."""
        found = [(self.lane, self.item)]
        while (box := found[0][0].box) is not None:
            found.insert(0, (box.lane, box.item))
        return found

    def boxes(self) -> list[Node]:
        """The boxes that it is in, from the outermost."""
        return [lane.box for lane, _ in self.path() if lane.box is not None]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label}>"


class Lane:
    """A vertical strip of a table. ``box`` is the node whose box it is inside of, None outside of all.

    ``rows`` are filled by the layout: for each rank what lies beside each other.
    """

    def __init__(self, table: Table, box: Node | None = None):
        self.table, self.box = table, box
        self.rows: list[list[Slot]] = []
        table.lanes.append(self)


class Slot:
    """A place in a lane's row: the cell of an item, or a bend of an edge (``nodes`` is empty).

    ``x`` is where its centre should be, relative to the lane.
    """

    def __init__(self, nodes: list[Node], w: float = 0.0):
        self.nodes, self.w, self.x = nodes, w, 0.0
        self.lane: Lane
        self.rank = 0


class Item:
    """An entry of a table's row: its nodes by lane, and the group that they belong to, if any.

    ``phase`` counts how often the user's code went on with a derivative before; all of a later phase is below
    all of an earlier one. ``side`` is ``"top"`` or ``"bottom"`` of what stands at the end of a table.
    """

    def __init__(self, order: float, phase: int = 0):
        self.order, self.phase, self.rank = order, phase, 0
        self.side = ""
        self.cells: dict[Lane, list[Node]] = {}
        self.group: Group | None = None
        self.table: Table

    def put(self, node: Node, lane: Lane) -> Node:
        self.cells.setdefault(lane, []).append(node)
        node.item, node.lane = self, lane
        return node


class Table:
    """Rows of items, by rank. ``title`` says what it is of a loop or branch."""

    def __init__(self, title: str = ""):
        self.title = title
        self.id = -1
        self.items: list[Item] = []
        self.lanes: list[Lane] = []

    @property
    def ranks(self) -> int:
        return 1 + max([i.rank for i in self.items], default=-1)

    def put(self, item: Item) -> Item:
        self.items.append(item)
        item.table = self
        return item


class Group:
    """What can be closed: a scope, the programs of a loop, or a part of a long program."""

    def __init__(self, kind: str, title: str):
        self.kind, self.title = kind, title
        self.id = -1
        self.tables: list[Table] = []
        self.open = True


class Edge:
    """A value on its way from one node to another.

    ``kind`` is ``"data"`` within a lane, ``"residual"`` from what came first to what a later derivative
    made, or ``"back"`` from a derivative to the user's own computation.
    """

    def __init__(self, start: Node, end: Node, value: Var | Lit):
        self.start, self.end, self.value, self.types = start, end, value, str(value.aval.strong)
        a, b = start.column, end.column
        self.kind = "data" if a == b else "residual" if a < b else "back"
        self.stations: list[Slot] = []
        self.title = f"{self.types}: {start.label} to {end.label}"
        self.way = "down"               # or "up", "flat", "cell", "cross": how it is drawn


class Picture:
    """All of it: the outermost table, its lanes' headings, and the edges."""

    def __init__(self, title: str, table: Table, headings: Sequence[str], edges: list[Edge]):
        self.title, self.table, self.headings, self.edges = title, table, list(headings), edges
        self.notes: list[str] = []
        self.legend: list[tuple[str, str]] = []
        self.tables: list[Table] = []
        self.nodes: list[Node] = []
        self.groups: list[Group] = []
        self._number(table)

    def _number(self, table: Table) -> None:
        table.id = len(self.tables)
        self.tables.append(table)
        for item in table.items:
            for nodes in item.cells.values():
                for n in nodes:
                    n.id = len(self.nodes)
                    self.nodes.append(n)
            if item.group is not None:
                item.group.id = len(self.groups)
                self.groups.append(item.group)
                for t in item.group.tables:
                    self._number(t)

    @property
    def lanes(self) -> list[Lane]:
        return [lane for t in self.tables for lane in t.lanes]
