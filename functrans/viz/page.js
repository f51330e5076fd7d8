// Opens and closes groups (places as in place.py), shows texts, searches, pans and zooms.
"use strict";
const scene = JSON.parse(document.getElementById("scene").textContent);
const { H, ROW, GAP, IN_CELL, LINE, MOST, PAD, HEADER, CAPTION, GUTTER, MARGIN, HEADING, UNDER, TRACK, FAR, BESIDE } =
  scene.sizes;
const { nodes, slots, lanes, tables, groups, edges } = scene;
const svg = document.getElementById("picture"), world = document.getElementById("world");
const NS = "http://www.w3.org/2000/svg";

// ----- sizes and places, from what is open -----

let heights, columns, rect, point, captions, sides;

function rows(t) {
  if (heights[t]) return heights[t];
  const tall = new Array(tables[t].ranks).fill(H);
  for (const [rank, g] of tables[t].groups)
    if (groups[g].open) tall[rank] = Math.max(tall[rank], boxHeight(g));
  for (const lane of tables[t].lanes) lanes[lane].rows.forEach((row, r) => row.forEach(s => {
    if (slots[s].cell.length) tall[r - 1] = Math.max(tall[r - 1], lines(slots[s].cell).length * (H + LINE) - LINE);
  }));
  const tops = [];
  let at = ROW / 2;
  for (const h of tall) { tops.push(at); at += h + ROW; }
  return heights[t] = { tops, tall, height: at - ROW / 2 };
}

function boxHeight(g) {
  return HEADER + groups[g].tables.reduce((sum, t) => sum + rows(t).height + (tables[t].title ? CAPTION : 0), 0);
}

const isOpen = n => nodes[n].group >= 0 && groups[nodes[n].group].open;
const nodeWidth = n => isOpen(n)
  ? Math.max(nodes[n].w + 24, ...nodes[n].inner.map(lane => column(lane).width + 2 * PAD)) : nodes[n].w;
const taken = n => Math.max(nodeWidth(n), nodes[n].types + 6);

function slotWidth(s) {
  const { cell, w } = slots[s];
  const wide = line => line.reduce((sum, n) => sum + taken(n), 0) + IN_CELL * (line.length - 1);
  return cell.length ? Math.max(...lines(cell).map(wide)) : w;
}

function lines(cell) {
  if (cell.length <= MOST || cell.some(n => nodes[n].group >= 0)) return [cell];
  const size = Math.ceil(cell.length / Math.ceil(cell.length / MOST)), found = [];
  for (let k = 0; k < cell.length; k += size) found.push(cell.slice(k, k + size));
  return found;
}

function linedUp(wanted, sizes) {
  const offsets = [];
  let at = 0;
  sizes.forEach((w, k) => { at += k ? sizes[k - 1] / 2 + GAP + w / 2 : 0; offsets.push(at); });
  const blocks = [];
  wanted.forEach((x, k) => {
    blocks.push([x - offsets[k], 1]);
    while (blocks.length > 1 && blocks[blocks.length - 2][0] > blocks[blocks.length - 1][0]) {
      const [mean, n] = blocks.pop(), before = blocks[blocks.length - 1];
      before[0] = (before[0] * before[1] + mean * n) / (before[1] + n);
      before[1] += n;
    }
  });
  const means = blocks.flatMap(([mean, n]) => new Array(n).fill(mean));
  return means.map((m, k) => m + offsets[k]);
}

function column(lane) {
  if (columns[lane]) return columns[lane];
  const centre = new Map();
  let left = Infinity, right = -Infinity;
  for (const row of lanes[lane].rows) {
    if (!row.length) continue;
    const sizes = row.map(slotWidth), found = linedUp(row.map(s => slots[s].x), sizes), last = row.length - 1;
    row.forEach((s, k) => centre.set(s, found[k]));
    left = Math.min(left, found[0] - sizes[0] / 2);
    right = Math.max(right, found[last] + sizes[last] / 2);
  }
  if (left > right) left = right = 0;
  for (const [s, x] of centre) centre.set(s, x - left);
  return columns[lane] = { centre, width: right - left };
}

function placeTable(t, top, lefts) {
  const { tops, tall, height } = rows(t);
  for (const lane of tables[t].lanes) {
    if (!lefts.has(lane)) continue;
    const { centre } = column(lane), all = lanes[lane].rows;
    all.forEach((row, r) => row.forEach(s => {
      const x = lefts.get(lane) + centre.get(s), border = r === 0 || r === all.length - 1;
      let y = top + (r === 0 ? 0 : border ? height : tops[r - 1]);
      point[s] = [x, y, y + (border ? 0 : tall[r - 1])];
      const left = x - slotWidth(s) / 2;
      for (const line of lines(slots[s].cell)) {
        let at = left;
        for (const n of line) {
          const w = nodeWidth(n), room = taken(n);
          rect[n] = [at + (room - w) / 2, y, w, isOpen(n) ? boxHeight(nodes[n].group) : H];
          at += room + IN_CELL;
        }
        y += H + LINE;
      }
    }));
  }
  for (const [rank, g] of tables[t].groups) {
    if (!groups[g].open) continue;
    const boxes = groups[g].boxes.filter(n => rect[n]);
    let at = top + tops[rank] + HEADER;
    for (const inner of groups[g].tables) {
      const inside = new Map();
      for (const n of boxes) for (const lane of nodes[n].inner) if (lanes[lane].table === inner) {
        inside.set(lane, rect[n][0] + (rect[n][2] - column(lane).width) / 2);
        if (tables[inner].title) captions[n].push(at - rect[n][1]);
      }
      at += tables[inner].title ? CAPTION : 0;
      placeTable(inner, at, inside);
      at += rows(inner).height;
    }
  }
}

function placeAll() {
  heights = {}; columns = {}; rect = {}; point = {}; sides = [];
  captions = nodes.map(() => []);
  const lefts = new Map();
  let at = MARGIN;
  tables[0].lanes.forEach((lane, k) => {
    const own = column(lane).width, w = Math.max(own, scene.headings[k]);
    lefts.set(lane, at + (w - own) / 2);
    sides.push([at, at + w]);
    at += w + GUTTER;
  });
  placeTable(0, MARGIN + HEADING, lefts);
  return [at - GUTTER + MARGIN, MARGIN + HEADING + rows(0).height + MARGIN];
}

// ----- edges -----

const f = x => x.toFixed(1);

function shown(n) {
  for (const box of nodes[n].boxes) if (!isOpen(box)) return box;
  return n;
}

function path(e) {
  const a = shown(e.a), b = shown(e.b);
  if (a === b || nodes[b].boxes.includes(a) || nodes[a].boxes.includes(b)) return null;
  const [ax, ay, aw, ah] = rect[a], [bx, by, bw, bh] = rect[b];
  if (e.way === "down" || e.way === "up") {
    const down = e.way === "down", points = [[ax + aw / 2, down ? ay + ah : ay]];
    for (const s of e.stations) if (point[s]) {
      const [x, top, bottom] = point[s];
      points.push(...(down ? [[x, top], [x, bottom]] : [[x, bottom], [x, top]]));
    }
    points.push([bx + bw / 2, down ? by : by + bh]);
    return [a, b, curve(points)];
  }
  if (e.way === "cross") return [a, b, across(a, b)];
  if (e.way === "cell" && ay !== by) {
    const down = ay < by;
    return [a, b, curve([[ax + aw / 2, down ? ay + ah : ay], [bx + bw / 2, down ? by : by + bh]])];
  }
  const ya = ay + H / 2, yb = by + H / 2, [l, r] = ax < bx ? [ax, bx] : [bx, ax];
  const between = slots[e.cell].cell.some(n => n !== a && n !== b && rect[n] && rect[n][1] === ay &&
                                               rect[n][0] > l && rect[n][0] < r);
  if (e.way === "cell" && !between)
    return [a, b, ax < bx ? `M${f(ax + aw)} ${f(ya)}L${f(bx)} ${f(yb)}` : `M${f(ax)} ${f(ya)}L${f(bx + bw)} ${f(yb)}`];
  const lift = Math.min(ay, by) - ROW * 0.45;
  return [a, b, `M${f(ax + aw / 2)} ${f(ay)}C${f(ax + aw / 2)} ${f(lift)} ${f(bx + bw / 2)} ${f(lift)} ` +
                `${f(bx + bw / 2)} ${f(by)}`];
}

function curve(points) {
  let text = `M${f(points[0][0])} ${f(points[0][1])}`;
  for (let k = 1; k < points.length; k++) {
    const [x0, y0] = points[k - 1], [x1, y1] = points[k], mid = (y0 + y1) / 2;
    text += Math.abs(x0 - x1) < 0.05 ? `L${f(x1)} ${f(y1)}`
      : `C${f(x0)} ${f(mid)} ${f(x1)} ${f(mid)} ${f(x1)} ${f(y1)}`;
  }
  return text;
}

function across(a, b) {
  const [ax, ay, aw] = rect[a], [bx, by, bw] = rect[b], la = nodes[a].column, lb = nodes[b].column;
  let ya = ay + H / 2, yb = by + H / 2;
  if (la === lb) {
    const [x0, x1] = ax < bx ? [ax + aw, bx] : [ax, bx + bw];
    return `M${f(x0)} ${f(ya)}L${f(x1)} ${f(yb)}`;
  }
  const side = la < lb ? 1 : -1, [x0, x1] = side > 0 ? [ax + aw, bx] : [ax, bx + bw];
  const g0 = side > 0 ? sides[la][1] : sides[la][0], g1 = side > 0 ? sides[la + 1][0] : sides[la - 1][1];
  let start = `M${f(x0)} ${f(ya)}`, end = `L${f(x1)} ${f(yb)}`, n = crowd(a, side);
  if (n) {
    ya = ay + H + UNDER + TRACK * (n % 4);
    const x = x0 - 8 * side;
    start = `M${f(x)} ${f(ay + H)}Q${f(x)} ${f(ya)} ${f(x0)} ${f(ya)}`;
  }
  n = crowd(b, -side);
  if (n || Math.abs(la - lb) > 1) {
    yb = by + H + UNDER + TRACK * (n % 4);
    const x = x1 + 8 * side;
    end = `L${f(x1)} ${f(yb)}Q${f(x)} ${f(yb)} ${f(x)} ${f(by + H)}`;
  }
  if (Math.abs(yb - ya) > FAR) {
    const bend = g0 + side * (BESIDE + 6 + 7 * (a % 7)), turn = yb > ya ? 10 : -10;
    return `${start}L${f(bend - 10 * side)} ${f(ya)}Q${f(bend)} ${f(ya)} ${f(bend)} ${f(ya + turn)}` +
           `L${f(bend)} ${f(yb - turn)}Q${f(bend)} ${f(yb)} ${f(bend + 10 * side)} ${f(yb)}${end}`;
  }
  const bend = (g0 + g1) / 2;
  return `${start}L${f(g0)} ${f(ya)}C${f(bend)} ${f(ya)} ${f(bend)} ${f(yb)} ${f(g1)} ${f(yb)}${end}`;
}

function crowd(n, side) {
  const [x, y] = rect[n];
  let found = 0;
  for (const [lane, rank] of nodes[n].path)
    for (const s of lanes[lane].rows[rank + 1]) for (const m of slots[s].cell)
      if (m !== n && !nodes[n].boxes.includes(m) && (rect[m][0] - x) * side > 0) found += rect[m][1] <= y + H;
  return found;
}

// ----- the document -----

const leaf = {}, frame = {}, text = new Map();
for (const g of world.querySelectorAll("[data-node]"))
  (g.classList.contains("frame") ? frame : leaf)[g.dataset.node] = g;
for (const g of world.querySelectorAll(".node, .edges > path")) take(g);

function take(g) {                  // the browser's own hint would come late, and twice
  const title = g.querySelector(":scope > title");
  if (title) { text.set(g, title.textContent); title.remove(); }
}

function make(parent, name, attributes) {
  const e = document.createElementNS(NS, name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  parent.appendChild(e);
  return e;
}

let size = scene.size;

function draw() {
  size = placeAll();
  nodes.forEach((n, id) => {
    const r = rect[id], hidden = !r, opened = isOpen(id);
    if (leaf[id]) leaf[id].style.display = hidden || opened ? "none" : "";
    if (frame[id]) frame[id].style.display = hidden || !opened ? "none" : "";
    if (hidden) return;
    const g = opened ? frame[id] : leaf[id];
    g.setAttribute("transform", `translate(${f(r[0])} ${f(r[1])})`);
    if (!opened) return;
    g.querySelector("rect").setAttribute("width", f(r[2]));
    g.querySelector("rect").setAttribute("height", f(r[3]));
    g.querySelectorAll(":scope > .caption").forEach((c, k) => c.setAttribute("y", f(captions[id][k] + CAPTION - 6)));
    const type = g.querySelector(":scope > .type");
    if (type) type.setAttribute("transform", `translate(${f(r[2] / 2)} ${f(n.up ? -7.5 : r[3] + 12.5)})`);
  });
  drawEdges();
  const bottom = size[1] - MARGIN / 2, top = MARGIN, { tops, tall } = rows(0);
  world.querySelectorAll(".lanes > g").forEach((g, k) => {
    const [l, r] = sides[k], back = g.querySelector("rect");
    back.setAttribute("x", f(l - BESIDE));
    back.setAttribute("width", f(r - l + 2 * BESIDE));
    back.setAttribute("height", f(bottom - top + 8));
    g.querySelector("text").setAttribute("x", f((l + r) / 2));
  });
  world.querySelectorAll(".bands > rect").forEach((band, k) => {
    band.setAttribute("x", f(sides[0][0] - BESIDE));
    band.setAttribute("width", f(sides[sides.length - 1][1] - sides[0][0] + 2 * BESIDE));
    band.setAttribute("y", f(MARGIN + HEADING + tops[k] - 5));
    band.setAttribute("height", f(tall[k] + 10));
  });
  const legend = document.getElementById("legend");
  legend.setAttribute("transform", `translate(0 ${f(size[1] - scene.size[1])})`);
}

function drawEdges() {
  const layer = world.querySelector(".edges"), done = new Set();
  for (const old of layer.children) text.delete(old);
  layer.replaceChildren();
  edges.forEach((e, k) => {
    const found = path(e);
    if (!found || done.has(found.join())) return;
    done.add(found.join());
    const p = make(layer, "path", { "class": `edge ${e.kind}`, d: found[2], "marker-end": `url(#${e.kind})` });
    p.dataset.edge = k;
    text.set(p, e.title);
  });
}

function toggle(g) {
  const box = groups[g].boxes.find(n => rect[n]), before = rect[box];
  groups[g].open = !groups[g].open;
  draw();
  const after = rect[box];                          // what was clicked stays under the pointer
  view.x += (before[0] - after[0]) * view.k;
  view.y += (before[1] - after[1]) * view.k;
  look();
  if (document.getElementById("find").value) search();
}

// ----- view -----

const view = { x: 0, y: 0, k: 1 };
const look = () => world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);

function fit() {
  const w = svg.clientWidth, h = svg.clientHeight, tall = size[1] + scene.below;
  view.k = Math.min(w / size[0], h / tall, 1.25);
  if (view.k < 0.35) view.k = Math.min(1, Math.max(0.35, w / size[0]));   // long: begin at the top
  view.x = Math.max((w - size[0] * view.k) / 2, 0);
  view.y = Math.max((h - tall * view.k) / 2, 0);
  look();
}

function zoom(x, y, factor) {
  const k = Math.min(Math.max(view.k * factor, 0.02), 6);
  view.x = x - (x - view.x) * k / view.k;
  view.y = y - (y - view.y) * k / view.k;
  view.k = k;
  look();
}

svg.addEventListener("wheel", e => {
  e.preventDefault();
  zoom(e.clientX, e.clientY - svg.getBoundingClientRect().top, Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016)));
}, { passive: false });

let drag = null, moved = false;
svg.addEventListener("pointerdown", e => { drag = [e.clientX, e.clientY]; moved = false; });
window.addEventListener("pointermove", e => {
  if (!drag) return;
  const dx = e.clientX - drag[0], dy = e.clientY - drag[1];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  moved = true;
  svg.classList.add("dragged");
  view.x += dx; view.y += dy; drag = [e.clientX, e.clientY];
  look();
});
window.addEventListener("pointerup", () => { drag = null; svg.classList.remove("dragged"); });

svg.addEventListener("click", e => {
  const g = e.target.closest("[role=button]");
  if (g && !moved) toggle(nodes[g.dataset.node].group);
});
svg.addEventListener("keydown", e => {
  const g = e.target.closest("[role=button]");
  if (g && (e.key === "Enter" || e.key === " ")) {
    e.preventDefault();
    const id = g.dataset.node;
    toggle(nodes[id].group);
    (isOpen(id) ? frame : leaf)[id].focus();
  }
});

// ----- hovering -----

const tip = document.getElementById("tip");
svg.addEventListener("pointermove", e => {
  const g = e.target.closest(".node, .edges > path");
  tip.style.display = g && text.get(g) ? "block" : "none";
  if (!g || drag) return;
  tip.textContent = text.get(g);
  tip.style.left = Math.max(4, Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, Math.min(e.clientY + 16, innerHeight - tip.offsetHeight - 8)) + "px";
});
svg.addEventListener("pointerleave", () => { tip.style.display = "none"; });
svg.addEventListener("pointerover", e => {
  const g = e.target.closest(".node:not(.frame), .edges > path");
  for (const p of world.querySelectorAll(".edges > path")) {
    const edge = edges[p.dataset.edge];
    const near = g && (g === p || g.dataset.node !== undefined &&
                       [shown(edge.a), shown(edge.b)].includes(+g.dataset.node));
    p.classList.toggle("near", !!near);
  }
});

// ----- searching -----

let hits = [], hit = -1;
function search() {
  const wanted = document.getElementById("find").value.trim().toLowerCase();
  hits = [];
  nodes.forEach((n, id) => {
    const found = wanted && text.get(leaf[id]).toLowerCase().includes(wanted) && n.kind !== "scope";
    if (found) hits.push(id);
    for (const g of [leaf[id], frame[id]]) if (g) g.classList.remove("hit", "dim");
    if (wanted && !found && n.group < 0) leaf[id].classList.add("dim");
  });
  for (const id of hits) { const at = shown(id); (isOpen(at) ? frame : leaf)[at].classList.add("hit"); }
  hit = -1;
  document.getElementById("found").textContent = wanted ? `${hits.length} found` : "";
}

function next(step) {
  if (!hits.length) return;
  hit = (hit + step + hits.length) % hits.length;
  const id = hits[hit], closed = nodes[id].boxes.filter(box => !isOpen(box));
  for (const box of closed) groups[nodes[box].group].open = true;
  if (closed.length) { draw(); const at = hit; search(); hit = at; }
  view.k = Math.max(view.k, 0.9);
  view.x = svg.clientWidth / 2 - (rect[id][0] + rect[id][2] / 2) * view.k;
  view.y = svg.clientHeight / 2 - (rect[id][1] + H / 2) * view.k;
  look();
  document.getElementById("found").textContent = `${hit + 1} of ${hits.length}`;
}

document.getElementById("find").addEventListener("input", search);
document.getElementById("find").addEventListener("keydown", e => {
  if (e.key === "Enter") next(e.shiftKey ? -1 : 1);
});
for (const [id, open] of [["open", true], ["close", false]]) {
  const button = document.getElementById(id);
  button.hidden = !groups.length;
  button.addEventListener("click", () => {
    for (const g of groups) g.open = open;
    draw();
    fit();
    search();
  });
}
document.getElementById("fit").addEventListener("click", fit);
window.addEventListener("resize", fit);
size = placeAll();
fit();
