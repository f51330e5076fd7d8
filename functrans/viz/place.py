"""Places in pixels, from which groups are open and the order of slots. ``page.js`` does the same."""

from __future__ import annotations

from itertools import pairwise

from .model import Edge, Group, Lane, Node, Picture, Slot, Table
from .text import width

H = 34.0                # height of a node
ROW = 44.0              # between rows
GAP = 18.0              # between neighbours in a row
IN_CELL = 22.0          # between nodes of one cell
LINE = 34.0             # between lines of one cell
MOST = 6                # nodes in a line
PAD = 14.0              # inside a box
HEADER = 26.0           # of a box
CAPTION = 18.0          # of one of several programs in a box
GUTTER = 90.0           # between the outermost lanes
BESIDE = 14.0           # what a lane's background is wider than the lane
MARGIN = 24.0
HEADING = 30.0
UNDER = 18.0            # below a node, where edges pass its neighbours
TRACK = 4.0             # between such edges
FAR = 140.0             # edges that go further between lanes go straight up or down there


def lined_up(wanted: list[float], sizes: list[float], gap: float) -> list[float]:
    """Centres in the given order without overlap, as near to the wanted ones as can be (least squares)."""
    offsets, at = [], 0.0
    for k, w in enumerate(sizes):
        at += (sizes[k - 1] / 2 + gap + w / 2) if k else 0.0
        offsets.append(at)
    blocks: list[list[float]] = []          # mean, number
    for x, o in zip(wanted, offsets, strict=True):
        blocks.append([x - o, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, n = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + mean * n) / (before[1] + n)
            before[1] += n
    means = [m for m, n in blocks for _ in range(int(n))]
    return [m + o for m, o in zip(means, offsets, strict=True)]


def lines(nodes: list[Node]) -> list[list[Node]]:
    """The lines of a cell: many nodes do not stand in one."""
    if len(nodes) <= MOST or any(n.group is not None for n in nodes):
        return [nodes] if nodes else []
    n = -(-len(nodes) // MOST)
    size = -(-len(nodes) // n)
    return [nodes[k:k + size] for k in range(0, len(nodes), size)]


class Sizes:
    """Heights of tables and widths of lanes."""

    def __init__(self, picture: Picture):
        self.heights: dict[Table, tuple[list[float], list[float], float]] = {}
        self.lanes: dict[Lane, tuple[dict[Slot, float], float]] = {}
        self.picture = picture

    def rows(self, table: Table) -> tuple[list[float], list[float], float]:
        """Tops of the rows, their heights, and the height of the table."""
        if table not in self.heights:
            heights = [H] * table.ranks
            for item in table.items:
                if item.group is not None and item.group.open:
                    heights[item.rank] = max(heights[item.rank], self.box_height(item.group))
                most = max([len(lines(nodes)) for nodes in item.cells.values()])
                heights[item.rank] = max(heights[item.rank], most * (H + LINE) - LINE)
            tops, at = [], ROW / 2
            for h in heights:
                tops.append(at)
                at += h + ROW
            self.heights[table] = tops, heights, at - ROW / 2
        return self.heights[table]

    def box_height(self, group: Group) -> float:
        return HEADER + sum([self.rows(t)[2] + (CAPTION if t.title else 0.0) for t in group.tables])

    def node_width(self, n: Node) -> float:
        if n.group is None or not n.group.open:
            return n.w
        return max([n.w + 24, *[self.lane_width(lane) + 2 * PAD for lane in n.inner]])

    def taken(self, n: Node) -> float:
        """What a node takes of its row, with the types that are written beside it."""
        return max(self.node_width(n), width(n.types, 9) + 6)

    def slot_width(self, slot: Slot) -> float:
        if not slot.nodes:
            return slot.w
        return max([sum([self.taken(n) for n in line]) + IN_CELL * (len(line) - 1)
                    for line in lines(slot.nodes)])

    def lane_width(self, lane: Lane) -> float:
        return self.columns(lane)[1]

    def columns(self, lane: Lane) -> tuple[dict[Slot, float], float]:
        """Centres of the slots in the lane, and its width."""
        if lane not in self.lanes:
            centres: dict[Slot, float] = {}
            left, right = 0.0, 0.0
            first = True
            for row in lane.rows:
                if not row:
                    continue
                sizes = [self.slot_width(s) for s in row]
                found = lined_up([s.x for s in row], sizes, GAP)
                centres.update(zip(row, found, strict=True))
                a, b = found[0] - sizes[0] / 2, found[-1] + sizes[-1] / 2
                left, right = (a, b) if first else (min(left, a), max(right, b))
                first = False
            self.lanes[lane] = {s: x - left for s, x in centres.items()}, right - left
        return self.lanes[lane]


class Places:
    """Rectangles of the visible nodes and open boxes, and points of the slots, in pixels.

    Attributes:
      nodes: ``(x, y, w, h)`` of each visible node; slots: ``(x, top, bottom)``; bands: the rows of the
        outermost table; lanes: left and right of the outermost lanes; size: of the picture.
    """

    def __init__(self, picture: Picture):
        self.sizes = Sizes(picture)
        self.nodes: dict[Node, tuple[float, float, float, float]] = {}
        self.slots: dict[Slot, tuple[float, float, float]] = {}
        self.captions: list[tuple[Node, Table, float]] = []
        self.lanes: list[tuple[float, float]] = []
        at, lefts = MARGIN, {}
        for lane, heading in zip(picture.table.lanes, picture.headings, strict=True):
            lefts[lane] = at
            w = max(self.sizes.lane_width(lane), width(heading, 13, True))
            lefts[lane] += (w - self.sizes.lane_width(lane)) / 2
            self.lanes.append((at, at + w))
            at += w + GUTTER
        top = MARGIN + HEADING
        self.table(picture.table, top, lefts)
        tops, heights, height = self.sizes.rows(picture.table)
        self.bands = [(top + t, h) for t, h in zip(tops, heights, strict=True)]
        self.size = at - GUTTER + MARGIN, top + height + MARGIN

    def table(self, table: Table, top: float, lefts: dict[Lane, float]) -> None:
        tops, heights, height = self.sizes.rows(table)
        for lane in table.lanes:
            if lane not in lefts:
                continue
            centres, _ = self.sizes.columns(lane)
            for r, row in enumerate(lane.rows):
                for slot in row:
                    x = lefts[lane] + centres[slot]
                    edge = r == 0 or r == len(lane.rows) - 1
                    y = top + (0.0 if r == 0 else height if edge else tops[r - 1])
                    self.slots[slot] = x, y, y + (0.0 if edge else heights[r - 1])
                    left = x - self.sizes.slot_width(slot) / 2
                    for line in lines(slot.nodes):
                        at = left
                        for n in line:
                            w, room = self.sizes.node_width(n), self.sizes.taken(n)
                            opened = n.group is not None and n.group.open
                            h = self.sizes.box_height(n.group) if n.group is not None and opened else H
                            self.nodes[n] = at + (room - w) / 2, y, w, h
                            at += room + IN_CELL
                        y += H + LINE
        for item in table.items:
            group = item.group
            if group is None or not group.open:
                continue
            boxes = [n for ns in item.cells.values() for n in ns if n.group is group and n in self.nodes]
            at = top + tops[item.rank] + HEADER
            for t in group.tables:
                inside = {}
                for n in boxes:
                    x, _, w, _ = self.nodes[n]
                    for lane in n.inner:
                        if lane.table is t:
                            inside[lane] = x + (w - self.sizes.lane_width(lane)) / 2
                            if t.title:
                                self.captions.append((n, t, at))
                at += CAPTION if t.title else 0.0
                self.table(t, at, inside)
                at += self.sizes.rows(t)[2]

    # ----- edges -----------------------------------------------------------------------------------------

    def shown(self, n: Node) -> Node:
        """The node itself, or the outermost closed box that hides it."""
        for box in n.boxes():
            if box.group is not None and not box.group.open:
                return box
        return n

    def path(self, e: Edge) -> tuple[Node, Node, str] | None:
        """The edge as an SVG path between visible nodes, or None if it is inside of one."""
        a, b = self.shown(e.start), self.shown(e.end)
        if a is b or a in b.boxes() or b in a.boxes():
            return None
        (ax, ay, aw, ah), (bx, by, bw, bh) = self.nodes[a], self.nodes[b]
        if e.way in ("down", "up"):
            down = e.way == "down"
            points = [(ax + aw / 2, ay + ah if down else ay)]
            for slot in e.stations:
                if slot not in self.slots:
                    continue
                x, top, bottom = self.slots[slot]
                points += [(x, top), (x, bottom)] if down else [(x, bottom), (x, top)]
            points.append((bx + bw / 2, by if down else by + bh))
            return a, b, curve(points)
        if e.way == "cross":
            return a, b, self.across(a, b)
        ya, yb = ay + H / 2, by + H / 2
        if e.way == "cell" and ay != by:        # another line of the cell
            down = ay < by
            return a, b, curve([(ax + aw / 2, ay + ah if down else ay),
                                (bx + bw / 2, by if down else by + bh)])
        left, right = (a, b) if ax < bx else (b, a)
        between = any(self.nodes[left][0] < x < self.nodes[right][0] and y == ay
                      for n in (*e.start.item.cells.get(e.start.lane, ()),)
                      if n in self.nodes and n not in (a, b) for x, y, _, _ in [self.nodes[n]])
        if e.way == "cell" and not between:
            return a, b, (f"M{ax + aw:.1f} {ya:.1f}L{bx:.1f} {yb:.1f}" if ax < bx else
                          f"M{ax:.1f} {ya:.1f}L{bx + bw:.1f} {yb:.1f}")
        lift = min(ay, by) - ROW * 0.45
        xa, xb = ax + aw / 2, bx + bw / 2
        return a, b, f"M{xa:.1f} {ay:.1f}C{xa:.1f} {lift:.1f} {xb:.1f} {lift:.1f} {xb:.1f} {by:.1f}"

    def across(self, a: Node, b: Node) -> str:
        """From one of the outermost lanes to another, bending between them."""
        (ax, ay, aw, _), (bx, by, bw, _) = self.nodes[a], self.nodes[b]
        la, lb = self.lane_of(a), self.lane_of(b)
        ya, yb = ay + H / 2, by + H / 2
        if la == lb:                        # bodies of two loops in one lane
            x0, x1 = (ax + aw, bx) if ax < bx else (ax, bx + bw)
            return f"M{x0:.1f} {ya:.1f}L{x1:.1f} {yb:.1f}"
        side = 1 if la < lb else -1
        x0, x1 = (ax + aw, bx) if side > 0 else (ax, bx + bw)
        g0 = self.lanes[la][1] if side > 0 else self.lanes[la][0]
        g1 = self.lanes[la + 1][0] if side > 0 else self.lanes[la - 1][1]
        start, end = f"M{x0:.1f} {ya:.1f}", f"L{x1:.1f} {yb:.1f}"
        if crowd := self.crowd(a, side):
            ya = ay + H + UNDER + TRACK * (crowd % 4)
            x = x0 - 8 * side
            start = f"M{x:.1f} {ay + H:.1f}Q{x:.1f} {ya:.1f} {x0:.1f} {ya:.1f}"
        crowd = self.crowd(b, -side)
        if crowd or abs(la - lb) > 1:
            yb = by + H + UNDER + TRACK * (crowd % 4)
            x = x1 + 8 * side
            end = f"L{x1:.1f} {yb:.1f}Q{x:.1f} {yb:.1f} {x:.1f} {by + H:.1f}"
        if abs(yb - ya) > FAR:
            bend = g0 + side * (BESIDE + 6 + 7 * (a.id % 7))
            turn = 10 if yb > ya else -10
            return (f"{start}L{bend - 10 * side:.1f} {ya:.1f}Q{bend:.1f} {ya:.1f} {bend:.1f} {ya + turn:.1f}"
                    f"L{bend:.1f} {yb - turn:.1f}Q{bend:.1f} {yb:.1f} {bend + 10 * side:.1f} {yb:.1f}{end}")
        bend = (g0 + g1) / 2
        return f"{start}L{g0:.1f} {ya:.1f}C{bend:.1f} {ya:.1f} {bend:.1f} {yb:.1f} {g1:.1f} {yb:.1f}{end}"

    def lane_of(self, n: Node) -> int:
        lane = n.path()[0][0]
        return lane.table.lanes.index(lane)

    def crowd(self, n: Node, side: int) -> int:
        """How many nodes stand between a node and the right (1) or left (-1) side of its outermost lane."""
        x, y = self.nodes[n][:2]
        inside, found = n.boxes(), 0
        for lane, item in n.path():
            for slot in lane.rows[item.rank + 1]:
                for m in slot.nodes:
                    if m is not n and m not in inside and (self.nodes[m][0] - x) * side > 0:
                        found += self.nodes[m][1] <= y + H
        return found


def curve(points: list[tuple[float, float]]) -> str:
    """A line through points that leaves and enters each vertically."""
    text = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 0.05:
            text.append(f"L{x1:.1f} {y1:.1f}")
        else:
            mid = (y0 + y1) / 2
            text.append(f"C{x0:.1f} {mid:.1f} {x1:.1f} {mid:.1f} {x1:.1f} {y1:.1f}")
    return "".join(text)
