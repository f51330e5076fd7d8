"""The project's own rules: who imports whom, sizes, flags, the two commands of README."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "functrans"
SOURCES = sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyx", ".pxd"))
# Room -> the rooms it may import. Rooms below all others (errors, pytrees) are free to all.
FREE = {"errors", "tree"}
BELOW = {
    "ir": set(),
    "kernels": {"ir", "ops"},                  # the generator reads the op table at build time
    "trace": {"ir"},
    "ops": {"ir", "trace"},
    "transform": {"ir", "trace", "ops"},
    "plan": {"ir", "kernels"},
    "numpy": {"ir", "trace", "ops", "load"},
    "calling": {"ir", "trace", "transform", "plan", "numpy"},
    "inspection": {"ir", "trace", "ops", "transform", "plan", "calling"},
    "rules": {"ir", "trace", "ops", "transform", "calling", "lax"},
    "api": {"ir", "trace", "ops", "transform", "plan", "numpy", "lax", "scipy", "calling", "inspection",
            "top"},
    "lax": {"ir", "trace", "ops", "transform", "numpy", "calling", "inspection", "api", "rules", "load"},
    "scipy": {"ir", "trace", "ops", "transform", "numpy", "random", "lax", "calling", "api", "rules",
              "inspection", "sparse", "load"},
    "random": {"ir", "trace", "ops", "numpy", "lax", "api", "load"},
    "sparse": {"ir", "trace", "transform", "calling", "api"},
    "monitoring": {"ir", "trace", "ops", "calling", "api", "load"},
    "tensorboard": {"ir", "trace", "ops", "plan", "calling", "inspection", "load"},
    "optimizers": {"trace", "numpy", "lax", "calling", "api"},
    "nn": {"ir", "trace", "ops", "numpy", "random", "lax", "scipy", "calling", "api", "rules", "top", "load"},
    "graph": {"ir", "trace", "ops", "transform", "plan", "numpy", "calling", "api"},
    "experimental": {"ir", "trace", "transform", "calling", "api", "load"},
    "viz": {"ir", "trace", "ops", "plan", "calling", "inspection", "api", "graph", "load"},
    "top": {"ir", "trace", "ops", "transform", "plan", "kernels", "numpy", "lax", "scipy", "random", "sparse",
            "api", "calling", "graph", "inspection", "monitoring", "nn", "optimizers", "rules", "tensorboard",
            "viz", "load"},
}
# Loads the traced versions of scipy.special's ufuncs when the first of them meets a tracer; vmap where
# NumPy loops in Python; jit for what is to be profiled.
LATE = {("numpy/ufuncs.py", "scipy"), ("numpy/functional.py", "api"), ("inspection/profiling.py", "api")}


def room(module):
    """The room of a dotted name below functrans: a folder, or top for the files of the package."""
    parts = module.split(".")
    if len(parts) < 2:
        return "top"
    if parts[1].startswith("tree") or parts[1] in FREE:
        return "free"
    if parts[1] == "_load":         # imports the rooms in their order, whichever is asked for first
        return "load"
    return parts[1] if parts[1] in BELOW else "top"


def python_imports(path, package):
    """(line, module) of each import of ours, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[:len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            if module == "functrans" or not node.module:      # from . import a, b: these are modules
                yield from ((node.lineno, f"{module}.{a.name}") for a in node.names)
            else:
                yield node.lineno, module


CIMPORT = re.compile(r"^\s*(?:from\s+(\.*)([\w.]*)\s+c?import\s+\(?([^#\n]*)|c?import\s+([\w.]+))")


def cython_imports(path, package):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = CIMPORT.match(line)
        if not found:
            continue
        dots, module, names, plain = found.groups()
        if plain:
            yield number, plain
            continue
        base = ".".join(package[:len(package) - len(dots) + 1]) if dots else ""
        full = ".".join(filter(None, [base, module]))
        if full == "functrans" or not module:
            yield from ((number, f"{full}.{n.strip().split(' ')[0]}") for n in names.split(",") if n.strip())
        else:
            yield number, full


def imports(path):
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    reader = python_imports if path.suffix == ".py" else cython_imports
    return [(n, m) for n, m in reader(path, list(package)) if m.split(".")[0] == "functrans"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_direction(path):
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own == "load":
        return
    name = path.relative_to(PACKAGE).as_posix()
    wrong = [f"line {n}: {m}" for n, m in imports(path) if (name, room(m)) not in LATE
             and room(m) not in ("free", own) and room(m) not in BELOW.get(own, ())]
    assert wrong == [], f"{own} may import {sorted(BELOW.get(own, ()))}"


def test_the_import_check_sees_imports():
    """The parser finds each spelling; else the test above could not fail."""
    found = {m for _, m in imports(PACKAGE / "api/derivatives.py")}
    assert {"functrans.errors", "functrans.trace.core"} <= found
    found = {m for _, m in imports(PACKAGE / "trace/core.pyx")}
    assert {"functrans.errors", "functrans.ir.core", "functrans.ir.op"} <= found
    assert room("functrans.ir.op") == "ir" and room("functrans.parallel") == "top"
    assert room("functrans.tree.keys") == "free" and room("functrans") == "top"


# ----- names ------------------------------------------------------------------------------------------


def test_modules_do_not_hide_public_names():
    """Importing a submodule sets an attribute of the package: none may take a public function's name."""
    import functrans
    files = {p.stem for p in PACKAGE.glob("*.py*")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert files & set(functrans.__all__) == set(functrans._MODULES)


@pytest.mark.parametrize("module", sorted(
    ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in PACKAGE.glob("*/core.py*")
    if p.suffix != ".pxd") + ["functrans.numpy", "functrans.lax", "functrans.tree", "functrans.errors",
                              "functrans.scipy", "functrans.numpy.linalg"])
def test_each_module_imports_first(module):
    done = subprocess.run([sys.executable, "-c", f"import {module}; import functrans; functrans.jit(abs)(1)"],
                          capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# ----- sizes and flags -----------------------------------------------------------------------------------


def sources(*folders):
    """Everything written by hand in these folders."""
    suffixes = {".py", ".pyx", ".pxd", ".pyi", ".h", ".c", ".pxi"}
    found = [p for f in folders for p in (ROOT / f).rglob("*")
             if p.suffix in suffixes and "generated" not in p.parts]
    return [p for p in found if not (p.suffix == ".c" and p.with_suffix(".pyx").exists())]


def test_no_file_is_over_600_lines():
    long = {str(p.relative_to(ROOT)): n for p in sources("functrans", "tests", "benchmarks", "examples")
            if (n := len(p.read_text(encoding="utf-8").splitlines())) > 600}
    assert long == {}


def test_the_core_is_small():
    """trace, ir and transform together: 3,500 lines that are neither blank nor comments."""
    lines = [line.strip() for p in sources("functrans/trace", "functrans/ir", "functrans/transform")
             for line in p.read_text(encoding="utf-8").splitlines()]
    count = sum(1 for line in lines if line and not line.startswith("#"))
    assert 1000 < count <= 3500


def test_no_fast_math():
    """Neither as a flag nor as a pragma; a comment that says so is fine."""
    pattern = re.compile("fast-math|unsafe-math|-Ofast|associative-math|reciprocal-math|finite-math"
                         "|pragma.* fp .*fast")
    found = [f"{p.name}: {line.strip()}" for p in [ROOT / "setup.py", *sources("functrans")]
             for line in p.read_text(encoding="utf-8").splitlines()
             if pattern.search(line) and not line.strip().startswith(("#", "/*", "*", "//"))]
    assert found == []


def test_run_time_dependencies_are_numpy_and_scipy():
    import tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(re.match(r"[\w-]+", d)[0] for d in project["dependencies"]) == ["numpy", "scipy"]
    assert {"examples", "test", "lint", "dev"} <= set(project["optional-dependencies"])


# ----- README's two commands -------------------------------------------------------------------------------


def test_readme_has_two_commands():
    """.ci/run takes them from there: the first block of shell commands, without comments."""
    done = subprocess.run(["bash", str(ROOT / ".ci/run"), "--show"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    example, tests = done.stdout.splitlines()
    assert example.endswith("examples/digits.py") and tests.endswith("-m pytest")
    for command in (example, tests):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e '.[")
