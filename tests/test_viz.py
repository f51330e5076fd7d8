"""Pictures: what each equation was made from, where nodes stand, and the files that come out."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from functrans import (
    Graph,
    custom_vjp,
    errors,
    grad,
    hessian,
    jacfwd,
    jit,
    jvp,
    lax,
    make_jaxpr,
    name_scope,
    profile,
    value_and_grad,
    viz,
    vmap,
)
from functrans.calling.staging import Watch
from functrans.viz.dot import rows
from functrans.viz.origins import Origins, all_eqns, bodies, mark_of, scope_of
from functrans.viz.place import Places

DOT = shutil.which("dot")


def origins(f, *args):
    """``{(op, the user's op that it was made from, derivatives it took)}`` of a function's program."""
    found = Origins.of(f, args, {}, "test")
    return {(e.op.name, mark_of(e).row.eqn.op.name, mark_of(e).column) for e in all_eqns(found.jaxpr)}


# ----- origins: what follows from the rules of calculus ---------------------------------------------------


def test_derivative_of_each_operation():
    found = origins(grad(lambda x: np.sum(np.sin(x) * x)), np.ones(3))
    assert {("sin", "sin", 0), ("cos", "sin", 1)} <= found
    found = origins(value_and_grad(lambda x: np.exp(np.sqrt(x)) / x), 2.0)
    assert {op for op, _, column in found if column == 0} == {"exp", "sqrt", "div"}
    assert {of for _, of, column in found if column == 1} == {"exp", "sqrt", "div"}


def test_equal_operations_of_one_line_are_told_apart():
    found = Origins.of(value_and_grad(lambda x: np.sin(np.sin(np.sin(x)))), (0.5,), {}, "test")
    sines = [e for e in found.jaxpr.eqns if e.op.name == "sin"]
    cosines = [e for e in found.jaxpr.eqns if e.op.name == "cos"]
    assert len(sines) == len(cosines) == 3
    for c in cosines:       # the cosine of what a sine is taken of is the derivative of that sine
        s = next(s for s in sines if s.inputs[0] is c.inputs[0])
        assert mark_of(c).row is mark_of(s).row and (mark_of(c).column, mark_of(s).column) == (1, 0)


def test_what_both_compute_belongs_to_the_user():
    found = origins(value_and_grad(lambda x: np.sin(x) * np.cos(x)), 2.0)
    assert ("cos", "cos", 0) in found and ("cos", "sin", 1) not in found
    assert ("sin", "sin", 0) in found and not any(op == "sin" and column for op, _, column in found)


def test_second_derivative_has_a_column_of_its_own():
    found = origins(grad(grad(lambda x: np.sin(x) * np.exp(x))), 2.0)
    assert {("sin", "sin", 0), ("exp", "exp", 0), ("cos", "sin", 1), ("neg", "sin", 2)} <= found
    found = origins(hessian(lambda x: np.sum(np.tanh(x))), np.ones(3))
    assert {column for _, _, column in found} == {0, 1, 2}


@pytest.mark.parametrize("wrap", [jit, vmap, lambda g: vmap(jit(g)), lambda g: jit(vmap(g))])
def test_other_transforms_add_no_column(wrap):
    found = origins(wrap(grad(lambda x: np.sum(np.tanh(x) * x))), np.ones((4, 3)))
    assert {column for _, _, column in found} == {0, 1}
    assert {(op, of) for op, of, column in found if not column} == {("tanh", "tanh")}


def test_forward_mode_and_steps_of_training():
    found = origins(lambda x, t: jvp(lambda x: np.sin(x) * 2.0, (x,), (t,)), 1.0, 2.0)
    assert {("sin", "sin", 0), ("mul", "mul", 0), ("cos", "sin", 1), ("mul", "mul", 1)} <= found
    assert ("cos", "sin", 1) in origins(jacfwd(lambda x: np.sin(x) * x), np.ones(3))

    def step(w, x):
        return w - 0.125 * grad(lambda w: np.sum(np.tanh(x @ w)))(w)
    found = origins(step, np.ones(3), np.ones((5, 3)))
    assert {("sub", "sub", 0), ("dot_general", "dot_general", 0), ("dot_general", "dot_general", 1)} <= found


def test_bodies_of_loops():
    def f(x):
        return lax.scan(lambda c, _: (np.sin(c), None), x, None, length=3)[0]
    found = Origins.of(grad(f), (0.5,), {}, "test")
    scans = [e for e in found.jaxpr.eqns if e.op.name == "scan"]
    assert [mark_of(e).column for e in scans] == [0, 1] and len({mark_of(e).row for e in scans}) == 1
    forward, backward = [bodies(e)[0][1].eqns for e in scans]
    row = next(mark_of(e).row for e in forward if e.op.name == "sin")
    assert {mark_of(e).row for e in backward} == {row}
    assert all(mark_of(e).column == (e.op.name != "sin") for e in forward)


def test_every_equation_has_a_mark_and_nothing_stays_behind():
    @custom_vjp
    def clipped(x):
        return np.sin(x)
    clipped.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (np.clip(ct * np.cos(x), -1, 1),))

    def f(x):
        with name_scope("head"):
            y = lax.while_loop(lambda c: c < 3.0, lambda c: clipped(c) + c, x)
        return np.sum(lax.cond(y > 1.0, np.tanh, np.exp, y)) + x[0:2].sum() if np.ndim(x) else y * y
    found = Origins.of(value_and_grad(f), (1.0,), {}, "test")
    assert all(mark_of(e) for e in all_eqns(found.jaxpr))
    assert "head" in {name for e in found.jaxpr.eqns for name in scope_of(e)}
    with pytest.raises(ZeroDivisionError):
        viz.draw(lambda x: 1 / 0)(1.0)
    assert Watch.marks is None
    assert not [e for e in all_eqns(make_jaxpr(grad(f))(1.0)) if any("\0" in name for name in e.scope or ())]
    assert grad(lambda x: np.sin(x) * x)(2.0) == np.sin(2.0) + 2.0 * np.cos(2.0)


# ----- pictures -------------------------------------------------------------------------------------------


def two_layers(params, x):
    for i, (w, b) in enumerate(params):
        with name_scope(f"layer{i + 1}"):
            x = np.tanh(x @ w + b)
    with name_scope("loss"):
        return np.mean(x ** 2)


PARAMS = [(np.ones((3, 4)), np.zeros(4)), (np.ones((4, 2)), np.zeros(2))]
X = np.ones((5, 3))


def unrolled(n):
    def f(x):
        y = x
        for _ in range(n):
            y = np.sin(y) * x
        return y
    return f


def recurrent(w, h, xs):
    def step(h, x):
        h = np.tanh(w @ h + x)
        return h, np.sum(h)
    return np.sum(lax.scan(step, h, xs)[1])


def branching(x, n):
    y = lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, np.sin(c[1]) * x), (0, x))[1]
    return lax.cond(y > 0, lambda y: y * x, lambda y: -y, y)


CASES = {
    "scalar": lambda **k: viz.draw(lambda x: np.sin(x) * x + 1.0, **k)(2.0),
    "gradient": lambda **k: viz.draw(value_and_grad(lambda x: np.sin(x) * x), **k)(2.0),
    "four partials": lambda **k: viz.draw(
        grad(lambda a, b, c, d: a * b + c * np.log(d), argnums=(0, 1, 2, 3)), **k)(1.0, 2.0, 3.0, 4.0),
    "layers": lambda **k: viz.draw(grad(two_layers), **k)(PARAMS, X),
    "recurrent": lambda **k: viz.draw(grad(recurrent), **k)(np.ones((4, 4)), np.ones(4), np.ones((6, 4))),
    "branching": lambda **k: viz.draw(value_and_grad(branching), **k)(0.5, 3),
    "second": lambda **k: viz.draw(grad(grad(lambda x: np.sin(x) * x)), **k)(2.0),
    "hessian": lambda **k: viz.draw(hessian(lambda x: np.sum(np.sin(x) * x)), **k)(np.ones(3)),
    "batched": lambda **k: viz.draw(vmap(grad(lambda x: np.sum(np.exp(x) * x))), **k)(np.ones((5, 3))),
    "training": lambda **k: viz.draw(
        lambda w: w - 0.1 * grad(lambda w: np.sum(np.tanh(X @ w)))(w), **k)(np.ones(3)),
    "program": lambda **k: viz.draw(make_jaxpr(grad(recurrent))(
        np.ones((4, 4)), np.ones(4), np.ones((6, 4))), **k),
    "graph": lambda **k: viz.draw(built_graph()[0], **k),
    "identity": lambda **k: viz.draw(lambda x: x, **k)(1.0),
    "long": lambda **k: viz.draw(grad(unrolled(100)), **k)(0.5),
}


def overlapping(boxes):
    """Pairs of rectangles ``(x, y, w, h)`` that share more than a rim."""
    boxes = sorted(boxes)
    found = []
    for i, (x, y, w, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[i + 1:]:
            if x2 >= x + w - 0.5:
                break
            if y2 < y + h - 0.5 and y < y2 + h2 - 0.5:
                found.append(((x, y, w, h), (x2, y2, w2, h2)))
    return found


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("engine", ["dot", "grandalf"])
@pytest.mark.parametrize("case", CASES)
def test_nodes_stand_in_rows_and_apart(case, engine, closed):
    if engine == "dot" and DOT is None:
        pytest.skip("Graphviz is not installed")
    if engine == "grandalf":
        pytest.importorskip("grandalf")
    drawing = CASES[case](engine=engine, closed=closed)
    picture = drawing._picture
    places = Places(picture)
    leaves = {n: r for n, r in places.nodes.items() if n.group is None or not n.group.open}
    assert leaves and not overlapping(list(leaves.values()))
    for n, (x, y, w, h) in leaves.items():
        for box in n.boxes():
            bx, by, bw, bh = places.nodes[box]
            assert bx <= x and by <= y and x + w <= bx + bw + 0.1 and y + h <= by + bh + 0.1
    tops = {}           # of each row, on its level
    for n, (_, y, _, _) in leaves.items():
        first = next(ns for ns in n.item.cells.values() if n in ns)[:3]
        if n in first:
            tops.setdefault((n.item.table.id, n.item.rank), set()).add(round(y, 3))
    assert all(len(found) == 1 for found in tops.values())
    if case != "program":           # of which is known by lines alone
        for n in leaves:
            if n.eqn is not None and n.kind == "op":
                own = [m for ns in n.item.cells.values() for m in ns if m.eqn is not None]
                assert {mark_of(m.eqn).row for m in own} == {mark_of(n.eqn).row}
    ET.fromstring(drawing.svg())


@pytest.mark.parametrize("case", CASES)
def test_edges_connect_producers_and_readers(case):
    picture = CASES[case](closed=False)._picture
    for e in picture.edges:
        if e.start.eqn is not None and e.start.kind == "op":
            assert e.value in e.start.eqn.outs
        if e.end.eqn is not None and e.end.kind == "op":
            assert e.value in e.end.eqn.inputs
    into = {(id(e.end), id(e.value)) for e in picture.edges}
    for n in picture.nodes:
        if n.kind == "op":
            for x in n.eqn.inputs:
                assert not hasattr(x, "index") or (id(n), id(x)) in into


def built_graph():
    with Graph() as g:
        a, b, c, d = [g.placeholder(name=n) for n in "abcd"]
        with name_scope("logarithm"):
            e = c * np.log(d)
        g["e"] = a * b + e
    return g, g.gradients("e", [d])[0]


def test_graphs_know_their_origins():
    g, partial = built_graph()
    picture = viz.draw(g)._picture
    names = {n.label: n for n in picture.nodes}
    assert {"a", "b", "c", "d", "e", "de/dd"} <= set(names) and g.label(partial) not in names
    assert names["div"].item is names["log"].item and (names["div"].column, names["log"].column) == (1, 0)
    assert names["log"].boxes()[0].group is names["div"].boxes()[0].group
    g.gradients(partial, ["d"])
    assert "d(de/dd)/dd" in {n.label for n in viz.draw(g)._picture.nodes}


def test_derivatives_in_graphs_stand_beside_their_inputs():
    """Each in its own lane, also those that are symbols of the forward part: de/da is b."""
    g, partial = built_graph()
    g.gradients("e", list("abc"))
    g.gradients(partial, ["c", "d"])
    picture = viz.draw(g)._picture
    found = {n.label: n for n in picture.nodes if n.kind in ("input", "output")}
    for name in "abcd":
        assert found[f"de/d{name}"].item is found[name].item
        assert found[f"de/d{name}"].column == 1
    assert found["d(de/dd)/dc"].item is found["c"].item and found["d(de/dd)/dc"].column == 2
    kept = {(e.start.label, e.end.label) for e in picture.edges if e.kind == "residual"}
    assert {("b", "de/da"), ("a", "de/db"), ("log", "de/dc")} <= kept


def test_gradients_stand_beside_their_inputs():
    picture = CASES["four partials"]()._picture
    found = {n.label: n for n in picture.nodes if n.kind in ("input", "output")}
    assert {"a", "b", "c", "d", "grad a", "grad b", "grad c", "grad d"} <= set(found)
    for name in "abcd":
        assert found[name].item is found[f"grad {name}"].item
        assert picture.table.lanes.index(found[f"grad {name}"].lane) == 1
    # by b: a; by a: b; by c: log d; each is kept from the left
    kept = {(e.start.label, e.end.label) for e in picture.edges if e.kind == "residual"}
    assert {("b", "grad a"), ("a", "grad b"), ("log", "grad c")} <= kept


def test_scopes_are_boxes_in_each_lane():
    picture = CASES["layers"]()._picture
    assert [g.title for g in picture.groups] == ["layer1", "layer2", "loss"]
    for g in picture.groups:
        boxes = [n for n in picture.nodes if n.group is g]
        assert len({n.lane for n in boxes}) == 2 and len({n.item for n in boxes}) == 1
    inside = {n.label for n in picture.nodes if n.boxes() and n.boxes()[0].label == "layer2"}
    assert {"tanh", "dot_general", "params[1][0]", "grad params[1][0]", "grad params[1][1]"} <= inside


def test_scope_that_is_left_and_entered_again():
    def f(x):
        with name_scope("a"):
            x = np.sin(x)
        x = np.exp(x)
        with name_scope("a"):
            return np.cos(x)
    picture = viz.draw(f)(1.0)._picture
    assert [g.title for g in picture.groups] == ["a", "a"]
    ranks = {n.label: n.path()[0][1].rank for n in picture.nodes}
    assert ranks["sin"] < ranks["exp"] < ranks["cos"]


def test_update_stands_below_what_it_is_made_of():
    picture = CASES["training"]()._picture
    ranks = {(n.label, n.column): n.item.rank for n in picture.nodes}
    assert ranks["sub", 0] > max(ranks["tanh", 0], ranks["reduce_sum", 0])
    assert {e.kind for e in picture.edges if e.end.label == "mul" and e.end.small == "0.1"} == {"back"}


def test_long_programs_are_cut_and_closed():
    drawing = viz.draw(grad(unrolled(1000)))(0.5)
    assert len(drawing.notes) == 2 and "closed" in drawing.notes[0] and "name_scope" in drawing.notes[1]
    assert len(Places(drawing._picture).nodes) < 100 < 3000 < len(drawing._picture.nodes)
    assert max(len(t.items) for t in drawing._picture.tables) <= 60
    assert drawing.notes[0] in drawing.svg()


def test_texts_are_escaped_and_hovering_tells_the_line():
    def f(x):
        with name_scope('<b>&"c"<script>'):
            return np.sin(x)
    drawing = viz.draw(f)(1.0)
    titles = [t.text for t in ET.fromstring(drawing.svg()).iter("{http://www.w3.org/2000/svg}title")]
    assert any("test_viz.py" in t and "return np.sin(x)" in t and "sin(f64[]) -> f64[]" in t for t in titles)
    assert drawing.html().count("<script") == 2 and "&lt;script&gt;" in drawing.svg()


def test_literals_and_shapes_are_shown():
    svg = viz.draw(lambda x: np.sum(x * 2.5, axis=0))(np.ones((7, 3))).svg()
    texts = [t.text for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"2.5", "axes=(0,)", "f64[7,3]", "f64[3]"} <= set(texts)


# ----- profiles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["time", "bytes"])
@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_colours_add_up(color, wrap):
    f = wrap(grad(two_layers))
    p = profile(f, PARAMS, X, repeats=3)
    picture = viz.draw(f, profile=p, color=color)(PARAMS, X)._picture
    shares = [n.heat ** 2 for n in picture.nodes if n.kind == "op"]
    assert sum(shares) == pytest.approx(1.0) and max(shares) > 0.05
    scopes = [n.heat ** 2 for n in picture.nodes if n.kind == "scope"]
    assert sum(scopes) == pytest.approx(1.0)        # all of it is in some scope
    assert any("% of all" in n.title for n in picture.nodes)


def test_profile_of_a_loop():
    args = np.ones((40, 40)), np.ones(40), np.ones((50, 40))
    f = grad(recurrent)
    picture = viz.draw(f, profile=profile(f, *args, repeats=3))(*args)._picture
    scans = [n.heat ** 2 for n in picture.nodes if n.label == "scan" and n.kind == "op"]
    assert 0.3 < sum(scans) <= 1.0 + 1e-9


# ----- files ----------------------------------------------------------------------------------------------


def test_save(tmp_path):
    drawing = CASES["layers"]()
    for kind in ("svg", "html", "dot", "SVG"):
        drawing.save(tmp_path / f"a.{kind}")
    assert (tmp_path / "a.svg").read_text() == drawing.svg() == drawing._repr_svg_()
    assert (tmp_path / "a.html").read_text() == drawing.html()
    assert "srcdoc=" in drawing._repr_html_() and "http-equiv" not in drawing.html()
    assert "drawing of grad(two_layers)" in repr(drawing)


def test_png(tmp_path):
    pytest.importorskip("resvg_py")
    drawing = CASES["gradient"]()
    drawing.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    svg = ET.fromstring(drawing.svg())
    assert int.from_bytes(data[16:20], "big") == 2 * int(svg.get("width"))
    assert int.from_bytes(drawing.png(scale=1.0)[20:24], "big") == int(svg.get("height"))


@pytest.mark.skipif(DOT is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("case", CASES)
def test_dot_is_read_by_graphviz(case):
    drawing = CASES[case](closed=False if case != "long" else None)
    text = drawing.dot()
    out = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, text=True, timeout=60,
                         check=True)
    names = set(re.findall(r"^\s*(n\d+) \[", text, re.M))
    lines = [line.split() for line in out.stdout.splitlines()]
    places = {line[1]: line[3] for line in lines if line[0] == "node"}
    assert names and {n for n in places if n[0] == "n"} == names
    tops = [{float(places[f"n{n.id}"]) for n in row} for row in rows(drawing._picture.table)]
    assert all(len(found) == 1 for found in tops)
    assert sorted(tops, key=min, reverse=True) == tops and len({min(t) for t in tops}) == len(tops)


# ----- mistakes -------------------------------------------------------------------------------------------


def square(x):
    return x * x


MISTAKES = [
    (lambda tmp: viz.draw(3.0), errors.ArgumentError, "takes a function, a jaxpr or a Graph, got f64"),
    (lambda tmp: viz.draw(grad(square)(2.0)), errors.ArgumentError, "not viz.draw(f(x))"),
    (lambda tmp: viz.draw(square).save(tmp / "a.svg"), errors.ArgumentError, r"viz.draw(f)(*args).save"),
    (lambda tmp: viz.draw(square)(), TypeError, "missing 1 required positional argument: 'x'"),
    (lambda tmp: viz.draw(square)("2"), errors.DtypeError, "argument x of viz.draw"),
    (lambda tmp: viz.draw(lambda: None)(), errors.DrawingError, "no equations, inputs or outputs"),
    (lambda tmp: viz.draw(square)(2.0).save(tmp / "a.pdf"), errors.DrawingError, "ends in '.pdf'"),
    (lambda tmp: viz.draw(square)(2.0).save(tmp / "a"), errors.DrawingError, "ends in 'nothing'"),
    (lambda tmp: viz.draw(square)(2.0).save(tmp / "no folder" / "a.svg"), FileNotFoundError, "no folder"),
    (lambda tmp: viz.draw(square, engine="neato"), errors.ArgumentError, "engine='neato'"),
    (lambda tmp: viz.draw(square, closed=1), errors.ArgumentError, "closed=1"),
    (lambda tmp: viz.draw(square, color="time"), errors.ArgumentError, "without a profile"),
    (lambda tmp: viz.draw(square, color="kind"), errors.ArgumentError, "color='kind'"),
    (lambda tmp: viz.draw(square, profile=1.0), errors.ArgumentError, "profile is f64"),
    (lambda tmp: viz.draw(square, profile=profile(np.sin, 2.0, repeats=3))(2.0), errors.DrawingError,
     "the profile is of another program"),
]


@pytest.mark.parametrize("make, error, text", MISTAKES, ids=[m[2] for m in MISTAKES])
def test_mistakes(make, error, text, tmp_path):
    with pytest.raises(error, match=re.escape(text)):
        make(tmp_path)


def test_missing_packages(monkeypatch, tmp_path):
    drawing = CASES["gradient"]()
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(errors.DrawingError, match=r"(?s)PNG needs the package resvg-py.*functrans\[viz\]"):
        drawing.save(tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
    monkeypatch.setitem(sys.modules, "grandalf.graphs", None)
    monkeypatch.setattr("functrans.viz.engines.shutil.which", lambda name: None)
    with pytest.raises(errors.DrawingError, match=r"(?s)neither Graphviz nor grandalf.*functrans\[viz\]"):
        CASES["gradient"]()
