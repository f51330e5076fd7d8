"""The page of a picture, in a real browser: what is on it after clicks, and that it asks for nothing else."""

import json
import os
import shutil

import numpy as np
import pytest

from functrans import grad, hessian, lax, name_scope, viz

FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
         "--disable-background-networking --disable-component-update --window-size=1400,1000")


def missing(reason):
    """Skips, but not where a browser was promised."""
    if os.environ.get("FUNCTRANS_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        missing("the package selenium is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        missing("there is no Chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    try:
        found.get("about:blank")
        yield found
    finally:
        found.quit()


class Page:
    """A page that is open."""

    def __init__(self, browser, drawing, path):
        drawing.save(path)
        self.browser, self.url = browser, path.as_uri()
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(self.url)

    def run(self, script, *args):
        return self.browser.execute_script(script, *args)

    def nodes(self):
        """Of each visible node: number, class, first line, rectangle of its frame."""
        return self.run("""return [...document.querySelectorAll('[data-node]')]
            .filter(g => g.style.display !== 'none').map(g => {
                const r = g.querySelector('rect').getBoundingClientRect();
                return {id: +g.dataset.node, kind: g.getAttribute('class'),
                        label: (g.querySelector('.label') || g.querySelector('.title')).textContent,
                        text: text.get(g), box: [r.x, r.y, r.width, r.height], row: row(+g.dataset.node)};
                function row(id) {              // where it begins, and how high it is
                    const [lane, rank] = nodes[id].path.at(-1), {tall} = rows(lanes[lane].table);
                    const first = lanes[lane].rows[rank + 1][0];
                    return [svg.getBoundingClientRect().y + view.y + point[first][1] * view.k,
                            tall[rank] * view.k];
                }
            })""")

    def leaves(self):
        return [n for n in self.nodes() if "frame" not in n["kind"]]

    def paths(self):
        return self.run(
            "return [...document.querySelectorAll('.edges > path')].map(p => p.getAttribute('d'))")

    def click(self, label, which=0):
        """On the box or closed node of this name."""
        found = [n for n in self.nodes() if n["label"].strip("\u25b8\u25be ").startswith(label)][which]
        x, y, w, _ = found["box"]
        from selenium.webdriver.common.action_chains import ActionChains
        moves = ActionChains(self.browser)
        moves.w3c_actions.pointer_action.move_to_location(int(x + min(w / 2, 30)), int(y + 10))
        moves.w3c_actions.pointer_action.click()
        moves.perform()

    def check(self):
        """No complaint of the browser, no request but for the page itself, no overlap, rows that match."""
        assert self.browser.get_log("browser") == []
        messages = [json.loads(m["message"])["message"] for m in self.browser.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages
                 if m["method"] == "Network.requestWillBeSent"]
        assert {url for url in asked if not url.startswith(("data:", "about:"))} <= {self.url}
        leaves = self.leaves()
        assert leaves
        for i, a in enumerate(leaves):
            x, y, w, h = a["box"]
            assert w > 5 and h > 5
            for b in leaves[i + 1:]:
                x2, y2, w2, h2 = b["box"]
                assert (x + w <= x2 + 0.5 or x2 + w2 <= x + 0.5 or y + h <= y2 + 0.5 or y2 + h2 <= y + 0.5
                        ), (a["label"], b["label"])
        # a derived node names the operation that it derives: one of that name stands in its row, to the left
        for n in leaves:
            for line in n["text"].splitlines():
                if line.startswith(("derivative of ", "backward pass of ")):
                    origin = line.rpartition(" ")[2]
                    top, tall = n["row"]
                    assert top - 1 <= n["box"][1] <= top + tall - n["box"][3] + 1
                    assert any(m["label"].strip("\u25b8\u25be ").split(" ")[0] == origin
                               and m["box"][0] < n["box"][0] and abs(m["box"][1] - top) < 1.0
                               for m in self.nodes()), (n, origin)


@pytest.fixture
def page(browser, tmp_path):
    return lambda drawing: Page(browser, drawing, tmp_path / "a.html")


def layers(params, x):
    for i, w in enumerate(params):
        with name_scope(f"layer{i + 1}"):
            x = np.tanh(x @ w)
    return np.sum(x)


def drawn_layers(**options):
    return viz.draw(grad(layers), **options)([np.ones((3, 4)), np.ones((4, 2))], np.ones((5, 3)))


def recurrent(h, xs):
    return np.sum(lax.scan(lambda h, x: (np.sin(h) * x, np.exp(h)), h, xs)[1])


def test_scope_closes_and_opens_by_clicks(page):
    p = page(drawn_layers())
    p.check()
    before, paths = p.nodes(), p.paths()
    assert sum(n["label"] == "tanh" for n in before) == 2
    p.click("layer1")
    p.check()
    closed = p.nodes()
    assert sum(n["label"] == "tanh" for n in closed) == 1
    assert sum(n["label"] == "\u25b8 layer1" for n in closed) == 2         # in both lanes
    assert len(p.paths()) < len(paths)
    p.click("layer1", 1)                                                   # the one of the derivative
    p.check()
    after = p.nodes()
    assert [n["label"] for n in after] == [n["label"] for n in before] and len(p.paths()) == len(paths)
    shift = [a - b for a, b in zip(after[0]["box"], before[0]["box"], strict=True)]
    for a, b in zip(after, before, strict=True):    # the script places as the library does
        assert np.allclose(np.subtract(a["box"], b["box"])[:2], shift[:2], atol=0.5)


def test_loops_and_all_groups(page):
    p = page(viz.draw(grad(recurrent))(0.5, np.ones(4)))
    p.check()
    assert {"sin", "cos", "exp", "carry", "x"} <= {n["label"] for n in p.leaves()}
    p.click("scan")
    p.check()
    assert "cos" not in {n["label"] for n in p.leaves()} and sum(
        n["label"] == "\u25b8 scan" for n in p.leaves()) == 2
    p.run("document.getElementById('open').click()")
    p.check()
    assert "cos" in {n["label"] for n in p.leaves()}


@pytest.mark.parametrize("make", [
    lambda: viz.draw(hessian(lambda x: np.sum(np.sin(x) * np.exp(x))))(np.ones(3)),
    lambda: viz.draw(lambda w: w - 0.1 * grad(lambda w: np.sum(np.tanh(w)))(w))(np.ones(3)),
    lambda: viz.draw(lambda x: x)(1.0),
    lambda: drawn_layers(closed=True)], ids=["hessian", "training", "identity", "closed"])
def test_other_pictures(page, make):
    p = page(make())
    p.check()


def test_many_nodes(page):
    def deep(x, w):
        for i in range(40):
            with name_scope(f"block{i}"):
                x = np.tanh(x @ w) + x
        return np.sum(x)
    p = page(viz.draw(grad(deep))(np.ones((2, 2)), np.ones((2, 2))))
    p.check()
    assert 80 <= len(p.leaves()) < 100
    p.click("block7")
    p.check()
    assert sum(n["label"] == "tanh" for n in p.leaves()) == 1


def test_search_opens_what_it_finds(page):
    p = page(drawn_layers(closed=True))
    assert "tanh" not in {n["label"] for n in p.leaves()}
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    field = p.browser.find_element(By.ID, "find")
    field.send_keys("tanh")
    count = p.browser.find_element(By.ID, "found").text
    assert count.endswith(" found") and int(count.split()[0]) >= 2
    field.send_keys(Keys.ENTER)
    p.check()
    assert "tanh" in {n["label"] for n in p.leaves()}
    assert p.browser.find_element(By.ID, "found").text.startswith("1 of ")
    x, y, w, h = next(n["box"] for n in p.leaves() if n["label"] == "tanh")
    assert 0 < x and x + w < 1400 and 0 < y and y + h < 1000
    hits = p.run("return document.querySelectorAll('.hit').length")
    assert hits >= 1


def test_hovering_shows_the_line(page):
    p = page(drawn_layers())
    p.run("""const g = [...document.querySelectorAll('.op .label')].find(t => t.textContent === 'tanh');
             const r = g.getBoundingClientRect();
             g.dispatchEvent(new PointerEvent('pointermove',
                                              {bubbles: true, clientX: r.x + 2, clientY: r.y + 2}));""")
    tip = p.run("const t = document.getElementById('tip'); return [t.style.display, t.textContent]")
    assert tip[0] == "block" and "x = np.tanh(x @ w)" in tip[1] and "in layer1" in tip[1]


def test_zoom_and_drag(page):
    p = page(drawn_layers())
    wide = p.leaves()[0]["box"]
    p.run("""svg.dispatchEvent(new WheelEvent('wheel', {
        deltaY: -500, clientX: 300, clientY: 300, bubbles: true, cancelable: true}))""")
    larger = p.leaves()[0]["box"]
    assert larger[2] > 1.5 * wide[2]
    from selenium.webdriver.common.action_chains import ActionChains
    moves = ActionChains(p.browser)
    moves.w3c_actions.pointer_action.move_to_location(20, 500).pointer_down().move_to_location(120, 540)
    moves.w3c_actions.pointer_action.pointer_up()
    moves.perform()
    moved = p.leaves()[0]["box"]
    assert np.allclose(np.subtract(moved, larger), [100, 40, 0, 0], atol=1.0)
    p.check()


def test_notebook_frame(browser, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(f"<body><p>cell</p>{drawn_layers()._repr_html_()}</body>", encoding="utf-8")
    browser.get(path.as_uri())
    browser.switch_to.frame(0)
    try:
        labels = browser.execute_script(
            "return [...document.querySelectorAll('.label')].map(t => t.textContent)")
        assert "tanh" in labels
    finally:
        browser.switch_to.default_content()
    assert [m for m in browser.get_log("browser") if m["level"] == "SEVERE"] == []
