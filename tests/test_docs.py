"""The documentation is true: its code runs, docstring examples hold, the example works."""

import doctest
import importlib.util
import inspect
import math
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import functrans
from functrans import errors, grad

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Blocks show the class of an error and the beginning of its text; error tests have the whole texts.
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
NEEDED = {"recipes.md": ("iminuit", "nlopt", "emcee"), "custom_optimizers.md": ("sklearn",)}   # extras
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """(line number, text) of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return [(text[:m.start(2)].count("\n") + 1, m[2]) for m in BLOCK.finditer(text)
            if m[1] == language]


def run_doctest(text, names, page, line):
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line - 1)
    output = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    failed = runner.run(test, out=output.append, clear_globs=False).failed
    assert not failed, "".join(output)
    names.update(test.globs)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run(page):
    """One namespace per page, blocks in order: ``>>>`` blocks are compared, others executed."""
    for package in NEEDED.get(page.name, ()):
        pytest.importorskip(package)
    names = {"__name__": "page"}
    for line, text in blocks(page, "python"):
        if text.startswith(">>>"):
            run_doctest(text, names, page, line)
        else:
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), names)


def test_pages_hold_code_blocks():
    assert [p.name for p in PAGES if not blocks(p, "python")] == ["README.md", "benchmarks.md"]


def test_the_index_has_every_page():
    text = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert [p.name for p in PAGES if f"({p.name})" not in text and p.name != "README.md"] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = re.sub("`+[^`]*`+", "", BLOCK.sub("", page.read_text(encoding="utf-8")))
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [t for t in targets if not (page.parent / t).exists()] == []


# ----- the table of NumPy code that must change ------------------------------------------------------


def rewrites():
    """(NumPy code, replacements, exception) of each row of README's table."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## NumPy code that must change")[1]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(re.findall("`([^`]+)`", a)[0], re.findall("`([^`]+)`", b), c.strip(" `|"))
            for a, b, c in rows]


def run_line(code):
    """The gradient of a function that executes the line, with x and y traced."""
    def f(x, y):
        names = {"x": x, "y": y, "a": x * np.ones(3), "out": np.ones(3), "i": 1, "n": 3, "np": np,
                 "math": math, "functrans": functrans}
        exec(compile(code, "the user's line", "exec"), names)
        return x * y
    return grad(f, argnums=(0, 1))(2.0, 3.0)


def test_table_is_read():
    assert len(rewrites()) >= 8


@pytest.mark.parametrize("before, after, error", rewrites(), ids=lambda v: v if isinstance(v, str) else "")
def test_code_that_must_change(before, after, error):
    with pytest.raises(getattr(errors, error)) as caught:
        run_line(before)
    assert "the user's line" in str(caught.value)
    for code in after:
        assert run_line(code) == (3.0, 2.0)


# ----- docstrings --------------------------------------------------------------------------------------


def modules():
    for name in functrans.__all__:
        getattr(functrans, name)
    found = [m.name for m in pkgutil.walk_packages(functrans.__path__, "functrans.")]
    return [importlib.import_module(name) for name in ["functrans", *found]
            if not name.endswith("codegen")]


def documented():
    """(name, object) of everything public that has an example, once each."""
    found = {}
    for module in modules():
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]:
            thing = getattr(module, name, None)
            home = getattr(thing, "__module__", None) or ""
            if home.startswith("functrans") and ">>>" in (inspect.getdoc(thing) or ""):
                found.setdefault(id(thing), (f"{home}.{name}", thing))
    return sorted(found.values(), key=lambda pair: pair[0])


@pytest.mark.parametrize("thing", [pytest.param(t, id=n) for n, t in documented()])
def test_docstring_examples(thing):
    text = inspect.getdoc(thing)
    names = {"np": np, "functrans": functrans}
    run_doctest(text, names, Path(thing.__module__), 1)


def test_every_public_function_has_an_example():
    plain = {"cache_info", "clear_caches"}
    public = [n for n in functrans.__all__ if n not in plain
              and not inspect.ismodule(getattr(functrans, n))]
    assert [n for n in public if ">>>" not in (inspect.getdoc(getattr(functrans, n)) or "")] == []


# ----- programs ------------------------------------------------------------------------------------------


def run_program(*arguments):
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path, "FUNCTRANS_CHECK": "0"}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


EXTRAS = ("sklearn", "matplotlib", "tqdm")


@pytest.mark.skipif(any(importlib.util.find_spec(m) is None for m in EXTRAS),
                    reason="needs the packages of the extra 'examples'")
def test_digits_example(tmp_path):
    """All of it: a short run would not show that it learns."""
    picture = tmp_path / "digits.png"
    out = run_program(ROOT / "examples/digits.py", "--output", picture)
    assert float(re.search(r"test accuracy (0\.\d+)", out)[1]) >= 0.97
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(any(importlib.util.find_spec(m) is None for m in EXTRAS),
                    reason="needs the packages of the extra 'examples'")
def test_small_examples(tmp_path):
    out = run_program(ROOT / "examples/linear_regression.py", "--output", tmp_path / "line.png")
    cost, least = re.search(r"cost ([\d.]+) after \d+ steps \(least possible: ([\d.]+)\)", out).groups()
    assert float(least) <= float(cost) < 0.01
    out = run_program(ROOT / "examples/xor.py", "--output", tmp_path / "xor.png")
    assert int(re.search(r"(\d+) of 256 networks have learned", out)[1]) > 150
    answers = [float(x) for x in re.findall(r" xor \d = ([\d.]+)", out)]
    assert [round(x) for x in answers] == [0, 1, 1, 0]
    for name in ("line", "xor"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")
def test_digits_example_is_deterministic(tmp_path):
    runs = [run_program(ROOT / "examples/digits.py", "--steps", 30, "--output", tmp_path / "a.png")
            for _ in range(2)]
    assert runs[0].split("accuracy")[1] == runs[1].split("accuracy")[1]


def test_digits_example_says_which_package_is_missing(tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ImportError('hidden', name='sklearn')")
    done = subprocess.run([sys.executable, str(ROOT / "examples/digits.py")], text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(
                              [str(tmp_path), str(ROOT)])})
    assert done.returncode == 1
    assert "pip install -e '.[examples]'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(any(importlib.util.find_spec(m) is None for m in EXTRAS),
                    reason="needs the packages of the extra 'examples'")
def test_vanishing_example(tmp_path):
    """The deep net's gradients vanish and it does not learn; both remedies do."""
    picture = tmp_path / "vanishing.png"
    out = run_program(ROOT / "examples/vanishing.py", "--output", picture, "--logdir", tmp_path / "runs")
    found = re.findall(r"^(.+): loss [\d.]+, test accuracy ([\d.]+); .* is ([\d.e+-]+) times", out,
                       re.MULTILINE)
    assert [name for name, *_ in found] == ["sigmoid", "relu, He initialisation",
                                            "sigmoid behind normalisation"]
    (bad, tiny), *good = [(float(accuracy), float(ratio)) for _, accuracy, ratio in found]
    assert bad < 0.2 and tiny < 1e-4 and "vanishing gradient: that of 'layer1/out'" in out
    assert all(accuracy > 0.9 and 0.1 < ratio < 10 for accuracy, ratio in good)
    assert picture.read_bytes().startswith(b"\x89PNG") and len(list((tmp_path / "runs").iterdir())) == 3


def test_graph_example():
    out = run_program(ROOT / "examples/graph.py")
    for name, value in (("a", 3.0), ("b", 2.0), ("c", math.log(5.0)), ("d", 0.8)):
        assert f"de/d{name} = {value:.6f}" in out


@pytest.mark.skipif(importlib.util.find_spec("grandalf") is None, reason="needs the extra 'viz'")
def test_graph_example_draws(tmp_path):
    run_program(ROOT / "examples/graph.py", "--output", tmp_path / "graph.svg")
    assert "logarithm</text>" in (tmp_path / "graph.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", ["overhead.py", "compare.py", "models.py", "indexing.py", "contended.py",
                                     "kernels.py", "optimize.py"])
def test_benchmarks_run(program, tmp_path):
    run_program(ROOT / "benchmarks" / program, "--smoke", "--json", tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text().startswith("{")
