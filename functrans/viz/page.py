"""A picture as one HTML page that needs nothing else: groups open and close, search, pan and zoom."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from typing import Any

from . import place, svg
from .model import Picture
from .text import width

SIZES = ("H", "ROW", "GAP", "IN_CELL", "LINE", "MOST", "PAD", "HEADER", "CAPTION", "GUTTER", "MARGIN",
         "HEADING", "UNDER", "TRACK", "FAR", "BESIDE")


def scene(picture: Picture, places: place.Places, below: float) -> dict[str, Any]:
    """What the page's script needs to place everything anew."""
    lanes, number = picture.lanes, {lane: k for k, lane in enumerate(picture.lanes)}
    slots = [s for lane in lanes for row in lane.rows for s in row]
    at = {s: k for k, s in enumerate(slots)}
    cells = {n: at[s] for s in slots for n in s.nodes}
    boxes: dict[int, list[int]] = {g.id: [] for g in picture.groups}
    for n in picture.nodes:
        if n.group is not None:
            boxes[n.group.id].append(n.id)
    return {
        "sizes": {k: getattr(place, k) for k in SIZES},
        "size": places.size, "below": below,
        "headings": [width(h, 13, True) for h in picture.headings],
        "nodes": [{"w": round(n.w, 2), "types": round(width(n.types, 9), 2), "kind": n.kind, "up": n.up,
                   "group": n.group.id if n.group is not None else -1, "inner": [number[x] for x in n.inner],
                   "boxes": [b.id for b in n.boxes()], "column": places.lane_of(n),
                   "path": [[number[lane], item.rank] for lane, item in n.path()]} for n in picture.nodes],
        "slots": [{"cell": [n.id for n in s.nodes], "w": s.w, "x": round(s.x, 3)} for s in slots],
        "lanes": [{"table": lane.table.id, "rows": [[at[s] for s in row] for row in lane.rows]}
                  for lane in lanes],
        "tables": [{"ranks": t.ranks, "title": t.title, "lanes": [number[x] for x in t.lanes],
                    "groups": [[i.rank, i.group.id] for i in t.items if i.group is not None]}
                   for t in picture.tables],
        "groups": [{"open": g.open, "tables": [t.id for t in g.tables], "boxes": boxes[g.id]}
                   for g in picture.groups],
        "edges": [{"a": e.start.id, "b": e.end.id, "way": e.way, "kind": e.kind, "cell": cells[e.start],
                   "stations": [at[s] for s in e.stations], "title": e.title} for e in picture.edges],
    }


def height(picture: Picture) -> float:
    """Of the picture as it opens, in pixels."""
    return place.Places(picture).size[1]


def render(picture: Picture) -> str:
    """The page."""
    places = place.Places(picture)
    legend, _, below = svg.legend(picture, places.size[1] + 4)
    files = resources.files(__package__)
    style = (files / "page.css").read_text("utf-8")
    script = (files / "page.js").read_text("utf-8")
    # no text of a program may end the script that holds it
    data = json.dumps(scene(picture, places, below), separators=(",", ":")).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(picture.title)}</title>
<link rel="icon" href="data:,">
<style>{style}{svg.STYLE}</style></head><body>
<div id="bar"><b>{escape(picture.title)}</b><span id="found"></span>
<input id="find" type="search" placeholder="search" aria-label="search">
<button id="open">open all</button><button id="close">close all</button><button id="fit">fit</button></div>
<svg id="picture" xmlns="http://www.w3.org/2000/svg">{svg.defs()}<g id="world">
{svg.contents(picture, places, True)}
<g id="legend">{legend}</g></g></svg>
<div id="tip"></div>
<script id="scene" type="application/json">{data}</script>
<script>{script}</script>
</body></html>
"""
