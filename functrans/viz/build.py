"""From a program with origins to the tables of a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ..ir.core import Jaxpr, Lit, Var
from .model import Edge, Group, Item, Lane, Node, Picture, Table
from .names import node_of, ports
from .origins import Origins, Row, bodies, mark_of, scope_of
from .ranks import Part, arrange_parts, give_ranks, sorted_items, sorted_parts

LARGE = 60              # a table of more items is cut into parts
ROOM = 160              # a picture of more nodes shows its groups closed
TITLES = {"jaxpr": "body", "body": "body", "cond": "condition"}
Preds = dict[Item, set[Item]]


def build(origins: Origins, title: str, results: Any, headings: Callable[[int], Sequence[str]],
          closed: bool | None) -> Picture:
    """The picture of a program.

    Args:
      results: names and kinds of its outputs; headings: of so many lanes.
      closed: whether groups begin closed; None: if there are many nodes.
    """
    jaxpr = origins.jaxpr
    n = max([mark_of(e).column for e in jaxpr.eqns], default=0) + 1
    n = max([n, *[results.lanes.get(i, 1) + 1 for i in results.gradients]])
    table = Table()
    names = [*(jaxpr.names or ())]
    names += [f"captured {i}" for i in range(len(jaxpr.invars) - len(names))]
    maker = _Rows(origins, table, [(Lane(table), jaxpr, names, results.names) for _ in range(n)], True)
    maker.gradients = {i: (at, results.lanes.get(i, n - 1)) for i, at in results.gradients.items()}
    maker.fill()
    drawn = Picture(title, table, headings(n), maker.edges)
    many = len(drawn.nodes) > ROOM
    for g in drawn.groups:
        g.open = not (many if closed is None else closed)
    if many and closed is None and drawn.groups:
        drawn.notes.append(f"{len(drawn.nodes)} nodes: scopes and loops are closed.")
    if any(g.kind == "part" for g in drawn.groups):
        drawn.notes.append(f"More than {LARGE} rows are cut into parts; name_scope gives parts names.")
        for g in drawn.groups:
            g.open &= g.kind != "part" or closed is False
    return drawn


Strip = tuple[Lane, Jaxpr, Sequence[str], Sequence[str]]


class _Rows:
    """The rows of programs that share them, on their way into a table.

    ``whole``: all lanes show parts of one program, by column. Else each lane shows a program of its own.
    """

    def __init__(self, origins: Origins, table: Table, strips: list[Strip], whole: bool, ghost: bool = False):
        self.origins, self.table, self.strips, self.whole, self.ghost = origins, table, strips, whole, ghost
        self.gradients: dict[int, tuple[int, int]] = {}         # output: the input, the lane
        self.around: set[Row] = set()       # rows of the loops that this is inside of
        self.edges: list[Edge] = []
        self.items: dict[Row, Item] = {}
        self.scopes: dict[Item, tuple[str, ...]] = {}
        self.preds: Preds = defaultdict(set)
        self.made: dict[tuple[int, Any], Node] = {}             # by strip and variable
        self.readers: dict[tuple[int, Any], list[Node]] = defaultdict(list)
        self.phases: dict[Node, int] = {}

    def fill(self) -> None:
        """All that goes into the table."""
        for k, (_, jaxpr, _, _) in enumerate(self.strips[:1] if self.whole else self.strips):
            self.equations(k, jaxpr)
        self.ghosts()
        for k, strip in enumerate(self.strips[:1] if self.whole else self.strips):
            inputs = self.inputs(k, *strip)
            self.outputs(k, inputs, *strip)
        for row, item in self.items.items():
            self.loop(row, item)
        self.assemble(self.table, list(self.scopes), self.scopes, 0)

    def item(self, row: Row) -> Item:
        if row not in self.items:
            item = self.items[row] = Item(row.order)
            self.scopes[item] = scope_of(row.eqn)
        return self.items[row]

    def lane(self, strip: int, column: int) -> Lane:
        return self.strips[column if self.whole else strip][0]

    def equations(self, strip: int, jaxpr: Jaxpr) -> None:
        """Nodes of all equations, and edges between them."""
        for e in jaxpr.eqns:
            mark = mark_of(e)
            item = self.item(mark.row)
            node = item.put(node_of(e, mark, "ghost" if self.ghost else "op"), self.lane(strip, mark.column))
            own = mark.column == mark.row.column
            if own:
                self.scopes[item] = scope_of(e)
            phase = 0
            for x in e.inputs:
                if type(x) is not Var:
                    continue
                source = self.made.get((strip, x))
                if source is None:
                    self.readers[strip, x].append(node)
                    continue
                self.edges.append(Edge(source, node, x))
                # the user's code goes on with a derivative
                later = own and source.column > mark.column
                phase = max(phase, self.phases[source] + later)
                if own and not later and source.item is not item:
                    self.preds[item].add(source.item)
            self.phases[node] = phase
            if own:
                item.phase = max(item.phase, phase)
            for v in e.outs:
                self.made[strip, v] = node

    def ghosts(self) -> None:
        """The user's own equations that the program lacks."""
        lane = self.strips[0][0]
        rows = [r for r, i in self.items.items() if r not in self.around
                and r.column == 0
                and not any(n.column == 0 for ns in i.cells.values() for n in ns)]
        rows += [r for r in self.origins.ghosts() if r not in self.items] if self.whole else []
        rows.sort(key=lambda r: r.order)
        for row in rows:
            item = self.item(row)
            behind = item.cells.pop(lane, [])
            item.put(node_of(row.eqn, mark_of(row.eqn), "ghost"), lane)
            item.cells[lane] += behind
        for row in rows:
            item = self.items[row]
            node = item.cells[lane][0]
            for x in row.eqn.inputs:
                found = self.origins.row_of(x) if type(x) is Var else None
                if isinstance(found, Row) and found in self.items and found is not row:
                    source = self.items[found]
                    self.preds[item].add(source)
                    at = next((k for k, v in enumerate(found.eqn.outs) if v is x), -1)
                    for start in source.cells.get(lane, ())[:1] if at >= 0 else ():
                        if start.eqn is not None:
                            self.edges.append(Edge(start, node, start.eqn.outs[at]))
                elif type(found) is Var:
                    self.readers[0, found].append(node)

    def inputs(self, strip: int, lane: Lane, jaxpr: Jaxpr, names: Sequence[str], _: Any) -> list[Item | None]:
        """Nodes of the inputs: just above their readers; in loops all at the top, or at the bottom where the
        program goes up."""
        up = not self.whole and any(e.backward for e in jaxpr.eqns)
        found: list[Item | None] = []
        for i, v in enumerate(jaxpr.invars):
            readers = self.readers.get((strip, v), [])
            if not readers and not self.whole:
                found.append(None)
                continue
            column = min([n.column for n in readers], default=0)
            kind = str(v.aval.strong)
            node = Node("input", names[i], "", f"input {names[i]}: {kind}", column)
            item = Item(i - len(jaxpr.invars))
            item.put(node, self.lane(strip, column))
            if not self.whole:
                item.side = "bottom" if up else "top"
            inside = [self.scopes[n.item] for n in readers]
            self.scopes[item] = common(inside) if self.whole else ()
            for n in readers:
                self.edges.append(Edge(node, n, v))
                if self.whole or n.eqn is None or n.column == mark_of(n.eqn).row.column:
                    self.preds[n.item].add(item)
            found.append(item)
        return found

    def outputs(self, strip: int, inputs: list[Item | None], lane: Lane, jaxpr: Jaxpr, _: Any,
                names: Sequence[str]) -> None:
        """Nodes of the outputs: a gradient beside its input; other results of a backward pass at the top."""
        for i, v in enumerate(jaxpr.outs):
            source = self.made.get((strip, v)) if type(v) is Var else None
            at = next((k for k, x in enumerate(jaxpr.invars) if x is v), -1)
            start = inputs[at] if at >= 0 else None
            if source is None and start is not None:
                source = next(iter(start.cells.values()))[0]
            if source is None and not self.whole:
                continue
            column = source.column if source is not None else 0
            if i in self.gradients:
                column = self.gradients[i][1]
            kind = str(v.aval.strong)
            text = f"output {names[i]}: {kind}" + (f"; it is {v}" if type(v) is Lit else "")
            node = Node("output", names[i], str(v.value) if type(v) is Lit else "", text, column)
            item = inputs[self.gradients[i][0]] if column and i in self.gradients else None
            if item is None:
                item = Item(len(self.scopes))
                up = source is not None and source.eqn is not None and source.eqn.backward
                item.side = "top" if up else "bottom"
                self.scopes[item] = ()
                if source is not None and not up:
                    self.preds[item].add(source.item)
                    item.phase = self.phases.get(source, 0)
            item.put(node, self.lane(strip, column))
            if source is not None:
                self.edges.append(Edge(source, node, v))

    # ----- loops -------------------------------------------------------------------------------------------

    def loop(self, row: Row, item: Item) -> None:
        """Makes a group of the programs inside an item's nodes."""
        boxes = [n for ns in item.cells.values() for n in ns if n.eqn is not None and bodies(n.eqn)]
        if not boxes:
            return
        boxes.sort(key=lambda n: n.column)
        group = item.group = Group("loop", row.eqn.op.name)
        programs = {n: bodies(n.eqn) for n in boxes}
        first = programs[boxes[0]]
        origins = [_origins(body) for _, body in first]
        strips: list[list[Strip]] = [[] for _ in first]
        tables = [Table(TITLES.get(name, name) if len(first) > 1 else "") for name, _ in first]
        for n in boxes:
            free = set(range(len(tables)))
            for at, (name, body) in enumerate(programs[n][:len(tables)]):
                k = max(free, key=lambda k: (len(_origins(body) & origins[k]), k == at))
                free.remove(k)
                strips[k].append((Lane(tables[k], n), body, *ports(n.eqn, name, body)))
        ghost = all(n.kind == "ghost" for n in boxes)
        group.tables = [t for t in tables if t.lanes]
        for table, mine in zip(group.tables, filter(None, strips), strict=True):
            rows = _Rows(self.origins, table, mine, False, ghost)
            rows.around = self.around | {row}
            rows.fill()
            self.edges += rows.edges
        for n in boxes:
            n.group = group
            n.inner = [lane for t in group.tables for lane in t.lanes if lane.box is n]

    # ----- groups ------------------------------------------------------------------------------------------

    def assemble(self, table: Table, items: list[Item], paths: dict[Item, tuple[str, ...]],
                 depth: int) -> None:
        """Puts items into the table, those of a scope as a group, and gives each its rank."""
        order = sorted_items(items, self.preds)
        keys = {i: (paths[i][depth], i.phase) if len(paths[i]) > depth else None for i in order}
        parts = [(name, inside, False) for name, inside in arrange_parts(order, keys, self.preds)]
        if len(parts) > LARGE:
            ranked = sorted_parts([(name, inside) for name, inside, _ in parts], self.preds)
            size = -(-len(ranked) // min(-(-len(ranked) // LARGE), LARGE))
            parts = [(_title(k // size + 1, ranked[k:k + size]), [i for _, inside in ranked[k:k + size]
                                                                  for i in inside], True)
                     for k in range(0, len(ranked), size)]
        lift: dict[Item, Item] = {}
        made: list[tuple[Item, str | None, list[Item], bool]] = []
        for name, inside, cut in parts:
            item = inside[0] if name is None else Item(inside[0].order, inside[0].phase)
            lift.update(dict.fromkeys(inside, item))
            made.append((item, name, inside, cut))
        for item, name, inside, cut in made:
            table.put(item)
            if name is not None:
                self.enclose(table, item, name, inside, paths, depth, cut)
        give_ranks(table.items, {
            item: {lift[p] for i in inside for p in self.preds.get(i, ()) if p in lift} - {item}
            for item, _, inside, _ in made})

    def enclose(self, table: Table, item: Item, name: str, inside: list[Item], paths, depth: int,
                cut: bool) -> None:
        """Makes a group of items, with a box in each lane that has nodes of them."""
        group = item.group = Group("part" if cut else "scope", name)
        inner = Table()
        group.tables.append(inner)
        where = name if cut else "scope " + "/".join(paths[inside[0]][:depth + 1])
        for lane in list(table.lanes):
            mine = [n for i in inside for n in i.cells.get(lane, ())]
            if not mine:
                continue
            count = f"{len(mine)} node{'s' * (len(mine) > 1)}"
            box = item.put(Node("scope", name, count, f"{where}: {count}", mine[0].column), lane)
            box.group = group
            box.inner = [Lane(inner, box)]
            for i in inside:
                for n in i.cells.pop(lane, ()):
                    i.put(n, box.inner[0])
        self.assemble(inner, inside, paths, depth + (not cut))


def _origins(body: Jaxpr) -> set[Row]:
    return {mark_of(e).row for e in body.eqns}


def common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The scopes that all are in."""
    found = paths[0] if paths else ()
    for p in paths:
        k = 0
        while k < min(len(found), len(p)) and found[k] == p[k]:
            k += 1
        found = found[:k]
    return found


def _title(number: int, parts: list[Part]) -> str:
    """Of a part of a long program: its scopes, or the user's lines."""
    names = [name for name, _ in parts if name is not None]
    if names:
        return names[0] if names[0] == names[-1] else f"{names[0]} to {names[-1]}"
    nodes = [n for _, inside in parts for i in inside for ns in i.cells.values() for n in ns if not n.column]
    at = sorted({n.eqn.src[1] for n in nodes if n.eqn is not None and n.eqn.src is not None})
    lines = f": lines {at[0]} to {at[-1]}" if len(at) > 1 else f": line {at[0]}" if at else ""
    return f"part {number}{lines}"
