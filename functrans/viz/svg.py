"""A picture as SVG: the whole of it, and the parts that the page moves about."""

from __future__ import annotations

from html import escape

from .model import Node, Picture
from .place import BESIDE, CAPTION, MARGIN, Places
from .text import FONT, width

# the rims of nodes, by what their op does
RIMS = {"elementwise": "#4c78a8", "reduction": "#2a9d8f", "contraction": "#7b5ea7", "move": "#8a8f98",
        "loop": "#c0703a", "other": "#6b7280"}
FAMILIES = {"elementwise": "elementwise", "reduce": "reduction", "bilinear": "contraction", "linear": "move",
            "structural": "move", "call": "loop", "control": "loop"}
FILLS = ("#ffffff", "#fff4e8", "#f3edfb", "#e9f7f1")        # of nodes, by lane
LANES = ("#f6f8fb", "#fdf8f2", "#f9f6fd", "#f3faf7")
EDGES = {"data": "#7b8794", "residual": "#2a9d8f", "back": "#c0703a"}

STYLE = f"""
text {{ font-family: {FONT}; fill: #1f2933; }}
.node rect {{ stroke-width: 1.3; }}
.label {{ font-size: 12px; font-weight: 600; text-anchor: middle; }}
.small {{ font-size: 9px; fill: #52606d; text-anchor: middle; }}
.types {{ font-size: 9px; fill: #52606d; text-anchor: middle; }}
.ghost > rect {{ stroke-dasharray: 3 3; fill-opacity: 0.5; }}
.ghost .label {{ fill: #8a94a0; font-weight: 400; }}
.frame > rect {{ fill-opacity: 0.65; }}
.title {{ font-size: 12px; font-weight: 600; fill: #3e4c59; }}
.caption {{ font-size: 10px; font-weight: 400; fill: #6b7280; }}
.heading {{ font-size: 13px; font-weight: 700; text-anchor: middle; fill: #3e4c59; }}
.note {{ font-size: 10px; fill: #6b7280; }}
.edge {{ fill: none; stroke: {EDGES["data"]}; stroke-width: 1.2; }}
.residual {{ stroke: {EDGES["residual"]}; stroke-dasharray: 5 3; }}
.back {{ stroke: {EDGES["back"]}; }}
"""


def heat_colour(x: float) -> str:
    """From pale yellow (0) to red (1)."""
    stops = [(255, 252, 235), (254, 217, 118), (253, 141, 60), (214, 40, 40)]
    at = min(max(x, 0.0), 1.0) * (len(stops) - 1)
    k = min(int(at), len(stops) - 2)
    return "#" + "".join([f"{round(a + (b - a) * (at - k)):02x}"
                          for a, b in zip(stops[k], stops[k + 1], strict=True)])


def _fill(n: Node) -> str:
    if n.heat is not None:
        return heat_colour(n.heat)
    return FILLS[min(n.column, len(FILLS) - 1)] if n.kind != "input" else "#eef2f6"


def rim(n: Node) -> str:
    plain = n.kind in ("input", "output", "scope")
    return "#9aa5b1" if plain else RIMS[FAMILIES.get(n.family, "other")]


def _types(n: Node, w: float, h: float) -> str:
    """The types of what leaves the node, beside its edge."""
    if not n.types:
        return ""
    wide = width(n.types, 9)
    at = -7.5 if n.up else h + 12.5
    return (f'<g class="type" transform="translate({w / 2:.1f} {at:.1f})"><rect x="{-wide / 2:.1f}" y="-8" '
            f'width="{wide:.1f}" height="11" fill="#ffffff" fill-opacity="0.85" stroke="none"/>'
            f'<text class="types">{escape(n.types)}</text></g>')


def leaf(n: Node, w: float, h: float) -> str:
    """A node, or a closed box."""
    corner = 17 if n.kind in ("input", "output") else 8 if n.kind == "scope" else 5
    sign = "\u25b8 " if n.group is not None else ""
    text = (f'<rect width="{w:.1f}" height="{h:.1f}" rx="{corner}" fill="{_fill(n)}" stroke="{rim(n)}"/>'
            f'<text class="label" x="{w / 2:.1f}" y="{15 if n.small else 21}">{sign}{escape(n.label)}</text>')
    if n.small:
        text += f'<text class="small" x="{w / 2:.1f}" y="27">{escape(n.small)}</text>'
    return text + _types(n, w, h)


def frame(n: Node, w: float, h: float, captions: list[tuple[str, float]]) -> str:
    """An open box. ``captions`` are of the programs in it, and their places."""
    small = f' <tspan class="caption">{escape(n.small)}</tspan>' if n.small and n.kind != "scope" else ""
    text = (f'<rect width="{w:.1f}" height="{h:.1f}" rx="8" '
            f'fill="{FILLS[min(n.column, len(FILLS) - 1)]}" stroke="{rim(n)}"/>'
            f'<text class="title" x="10" y="17">\u25be {escape(n.label)}{small}</text>')
    for title, y in captions:
        text += f'<text class="caption" x="10" y="{y + CAPTION - 6:.1f}">{escape(title)}</text>'
    return text + (_types(n, w, h) if n.kind != "scope" else "")


def group(n: Node, places: Places, opened: bool, page: bool) -> str:
    """A node at its place. For a page, hidden ones too."""
    kind = n.kind + (" frame" if opened else "")
    shown = n in places.nodes and opened == (n.group is not None and n.group.open)
    if shown:
        x, y, w, h = places.nodes[n]
    else:
        x, y, w, h = 0.0, 0.0, n.w, 34.0
    body = frame(n, w, h, [(t.title, at - y) for m, t, at in places.captions if m is n] if shown else
                 [(t.title, 0.0) for t in n.group.tables if t.title] if n.group is not None else []
                 ) if opened else leaf(n, w, h)
    marks = f' data-node="{n.id}"' if page else ""
    if page and n.group is not None:
        marks += ' tabindex="0" role="button"'
    if not shown:
        marks += ' style="display:none"'
    return (f'<g class="node {kind}"{marks} transform="translate({x:.1f} {y:.1f})">'
            f'<title>{escape(n.title)}</title>{body}</g>')


def contents(picture: Picture, places: Places, page: bool = False) -> str:
    """All that is in the picture, in layers."""
    top, bottom = MARGIN, places.size[1] - MARGIN / 2
    out = ['<g class="lanes">']
    for k, ((left, right), heading) in enumerate(zip(places.lanes, picture.headings, strict=True)):
        out.append(f'<g><rect x="{left - BESIDE:.1f}" y="{top - 8:.1f}" '
                   f'width="{right - left + 2 * BESIDE:.1f}" height="{bottom - top + 8:.1f}" rx="12" '
                   f'fill="{LANES[min(k, len(LANES) - 1)]}"/>'
                   f'<text class="heading" x="{(left + right) / 2:.1f}" y="{top + 12:.1f}">'
                   f'{escape(heading)}</text></g>')
    out.append('</g><g class="bands">')
    for y, height in places.bands:
        out.append(f'<rect x="{places.lanes[0][0] - BESIDE:.1f}" y="{y - 5:.1f}" '
                   f'width="{places.lanes[-1][1] - places.lanes[0][0] + 2 * BESIDE:.1f}" '
                   f'height="{height + 10:.1f}" rx="6" fill="#1f2933" fill-opacity="0.025"/>')
    out.append('</g><g class="frames">')
    out += [group(n, places, True, page) for n in picture.nodes
            if n.group is not None and (page or (n.group.open and n in places.nodes))]
    out.append('</g><g class="edges">')
    drawn: set[tuple] = set()
    for k, e in enumerate(picture.edges):
        found = places.path(e)
        if found is None or (found[0].id, found[1].id, found[2]) in drawn:
            continue
        a, b, d = found
        drawn.add((a.id, b.id, d))
        data = f' data-edge="{k}"' if page else ""
        out.append(f'<path class="edge {e.kind}"{data} d="{d}" marker-end="url(#{e.kind})">'
                   f'<title>{escape(e.title)}</title></path>')
    out.append('</g><g class="leaves">')
    out += [group(n, places, False, page) for n in picture.nodes
            if page or (n in places.nodes and (n.group is None or not n.group.open))]
    out.append("</g>")
    return "\n".join(out)


def defs() -> str:
    """The arrow heads."""
    return "<defs>" + "".join([
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path d="M0 0.8L7.5 4L0 7.2z" fill="{colour}"/></marker>'
        for name, colour in EDGES.items()]) + "</defs>"


def legend(picture: Picture, y: float) -> tuple[str, float, float]:
    """What lines and colours mean, and notes, below the picture: text, width and height."""
    out, x = [], MARGIN
    kinds = {e.kind for e in picture.edges}
    signs = [(f'<path class="edge {kind}" d="M{{x}} {y - 4:.1f}h22"/>', 22.0, text) for kind, text in (
        ("residual", "kept for a derivative"), ("back", "a derivative in use")) if kind in kinds]
    if any(n.kind == "ghost" for n in picture.nodes):
        signs.append((f'<g class="ghost"><rect x="{{x}}" y="{y - 11:.1f}" width="22" height="13" rx="3" '
                      'fill="#ffffff" stroke="#6b7280"/></g>', 22.0, "not computed"))
    for colour, text in picture.legend:
        signs.append((f'<rect x="{{x}}" y="{y - 10:.1f}" width="14" height="12" rx="2" fill="{colour}" '
                      'stroke="#9aa5b1" stroke-width="0.6"/>', 14.0, text))
    for sign, wide, text in signs:
        out.append(sign.replace("{x}", f"{x:.1f}")
                   + f'<text class="note" x="{x + wide + 5:.1f}" y="{y:.1f}">{escape(text)}</text>')
        x += wide + 19 + width(text, 10)
    wide = max([x, *[width(t, 10) + 2 * MARGIN for t in picture.notes]])
    height = 20.0 if signs else 0.0
    for text in picture.notes:
        out.append(f'<text class="note" x="{MARGIN}" y="{y + height:.1f}">{escape(text)}</text>')
        height += 15
    return f'<g class="legend">{"".join(out)}</g>' if out else "", wide, height


def render(picture: Picture) -> str:
    """The picture as it stands."""
    places = Places(picture)
    below, wide, more = legend(picture, places.size[1] + 4)
    w, h = max(places.size[0], wide), places.size[1] + more
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" '
            f'height="{h:.0f}" role="img"><title>{escape(picture.title)}</title><style>{STYLE}</style>'
            f'{defs()}<rect width="{w:.0f}" height="{h:.0f}" fill="#ffffff"/>\n'
            f'{contents(picture, places)}\n{below}</svg>\n')
