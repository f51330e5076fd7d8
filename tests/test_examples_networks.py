"""The examples made of functrans.nn: runs that are long enough to show that they learn."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
EXTRAS = ("sklearn", "matplotlib", "tqdm")
needs_extras = pytest.mark.skipif(any(importlib.util.find_spec(m) is None for m in EXTRAS),
                                  reason="needs the packages of the extra 'examples'")


def run(name, *arguments):
    path = os.pathsep.join([str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, str(EXAMPLES / name), *map(str, arguments)], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": path, "FUNCTRANS_CHECK": "0"},
                          timeout=600)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@needs_extras
def test_lenet(tmp_path):
    """On Fashion-MNIST where Debian's package is there, else on digits."""
    out = run("lenet.py", "--output", tmp_path / "lenet.png")
    assert float(re.search(r"test accuracy (0\.\d+)", out)[1]) >= 0.88
    assert (tmp_path / "lenet.png").read_bytes().startswith(b"\x89PNG")


@needs_extras
def test_lenet_on_digits(tmp_path):
    out = run("lenet.py", "--data", tmp_path, "--output", tmp_path / "lenet.png")
    assert "scikit-learn's digits instead" in out
    assert float(re.search(r"test accuracy (0\.\d+)", out)[1]) >= 0.95


@needs_extras
def test_char_transformer(tmp_path):
    """Single characters by their frequency take 4.8 bits, and 3.7 behind a known one: attention sees more."""
    out = run("char_transformer.py", "--steps", 300, "--output", tmp_path / "text.png")
    assert float(re.search(r"([\d.]+) bits a character", out)[1]) < 3.3
    assert (tmp_path / "text.png").read_bytes().startswith(b"\x89PNG")
