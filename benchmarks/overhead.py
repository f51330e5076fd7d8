"""What functrans itself costs, apart from arithmetic: tracing, calls, equations, start-up.

    python benchmarks/overhead.py                    # prints a table
    python benchmarks/overhead.py --json out.json    # and writes the figures
    python benchmarks/overhead.py --smoke            # tiny sizes: only shows that it runs
    python benchmarks/overhead.py --only call plan   # some of the groups

Each figure is the median of several samples; the least is printed beside it. A sample repeats its
work for about 20 ms. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import functrans
from functrans import grad, jit, make_jaxpr

ROOT = Path(__file__).resolve().parents[1]
SAMPLES, SAMPLE_SECONDS = 15, 0.02
GROUPS = {}


def group(function):
    GROUPS[function.__name__] = function
    return function


class Report:
    """Collects figures and prints each when it is there."""

    def __init__(self, smoke: bool):
        self.smoke, self.rows = smoke, []
        print(f"{'':52}{'median':>12}{'least':>12}")

    def add(self, name, samples, unit="us", scale=1e6, per=1):
        values = [s * scale / per for s in samples]
        median, least = statistics.median(values), min(values)
        self.rows.append({"name": name, "median": median, "least": least, "unit": unit})
        print(f"{name:52}{median:12.3f}{least:12.3f}  {unit}", flush=True)

    def repeated(self, name, call, **how):
        """Times ``call()``, as often per sample as fills the sample's time."""
        call()
        began = time.perf_counter()
        call()
        once = max(time.perf_counter() - began, 1e-8)
        n = 1 if self.smoke else max(int(SAMPLE_SECONDS / once), 1)
        samples = []
        for _ in range(2 if self.smoke else SAMPLES):
            turns = range(n)
            began = time.perf_counter()
            for _ in turns:
                call()
            samples.append((time.perf_counter() - began) / n)
        self.add(name, samples, **how)

    def once(self, name, measure, times, **how):
        """Collects ``measure()``, which returns seconds."""
        self.add(name, [measure() for _ in range(2 if self.smoke else times)], **how)


# ----- the functions -------------------------------------------------------------------------------


def scalar(x):
    return np.sin(x) * x**2 + np.exp(-x)


def chain(n):
    """A function of n equations that no clean-up pass can shorten."""
    def f(x):
        for _ in range(n // 2):
            x = np.sin(x) + 0.5
        return x
    return f


def mlp_loss(params, x, y):
    h = np.tanh(x @ params["w1"] + params["b1"])
    return np.mean((h @ params["w2"] + params["b2"] - y) ** 2)


def mlp_inputs():
    rng = np.random.default_rng(0)
    params = {"w1": rng.normal(size=(64, 128)) / 8, "b1": np.zeros(128),
              "w2": rng.normal(size=(128, 10)) / 11, "b2": np.zeros(10)}
    return params, rng.normal(size=(32, 64)), rng.normal(size=(32, 10))


# ----- the groups ----------------------------------------------------------------------------------


@group
def trace(report):
    """Per op: from Python to equations, without transforms or plans."""
    for n in (100, 200) if report.smoke else (1_000, 10_000, 20_000):
        make = make_jaxpr(chain(n))
        report.repeated(f"trace: chain of {n} ops, all", lambda make=make: make(1.3), unit="ms",
                        scale=1e3)
        report.repeated(f"trace: chain of {n} ops, per op", lambda make=make: make(1.3), per=n)


@group
def call(report):
    """Per call of a compiled function, arguments and result included."""
    f = jit(grad(scalar))
    report.repeated("call: jit(grad(f))(1.3), f = sin(x) x**2 + exp(-x)", lambda: f(1.3))
    x64 = np.float64(1.3)
    report.repeated("call: the same on a float64", lambda: f(x64))
    identity = jit(lambda x: x + 1.0)
    report.repeated("call: jit(x + 1)(1.3)", lambda: identity(1.3))
    vector = np.ones(3)
    report.repeated("call: jit(x + 1) on 3 elements", lambda: identity(vector))
    tree6 = {"a": np.ones(3), "b": {"c": np.ones(3), "d": np.ones(3)},
             "e": [np.ones(3), np.ones(3), np.ones(3)]}
    step = jit(lambda t: functrans.tree.map(lambda x: x + 1.0, t))
    report.repeated("call: jit(x + 1) on a 6-leaf pytree", lambda: step(tree6))
    total = jit(lambda t: sum(np.sum(x) for x in functrans.tree.leaves(t)))
    report.repeated("call: jit(sum of a 6-leaf pytree)", lambda: total(tree6))


@group
def graph(report):
    """Runs of a graph's parts beside jitted calls of the same programs, and what building costs."""
    with functrans.Graph() as g:
        x = g.placeholder()
        y = scalar(x)
    dx = g.gradients(y, x)
    f = jit(grad(scalar))
    report.repeated("graph: run(dy/dx), y = sin(x) x**2 + exp(-x)", lambda: g.run(dx, {x: 1.3}))
    report.repeated("graph: jit(grad(f))(1.3), the same", lambda: f(1.3))

    def four(a, b, c, d):
        return a * b + c * np.log(d)
    with functrans.Graph() as h:
        abcd = [h.placeholder() for _ in range(4)]
        e = four(*abcd)
    partials = h.gradients(e, abcd)
    both = jit(functrans.value_and_grad(four, (0, 1, 2, 3)))
    a, b, c, d = abcd
    report.repeated("graph: run([e, 4 partials]), 4 feeds",
                    lambda: h.run([e, partials], {a: 2.0, b: 3.0, c: 4.0, d: 5.0}))
    report.repeated("graph: jit(value_and_grad(f)), the same", lambda: both(2.0, 3.0, 4.0, 5.0))
    for n in (100, 200) if report.smoke else (1_000, 10_000, 20_000):
        def build(n=n):
            with functrans.Graph() as long:
                x = long.placeholder()
                y = chain(n)(x)
            return long, x, y

        def extend(n=n, build=build):
            long, x, y = build(n)
            began = time.perf_counter()
            long.gradients(y, x)
            return time.perf_counter() - began
        report.repeated(f"graph: adding {n} equations, each", build, per=n)
        report.once(f"graph: gradients of {n} equations, each", extend, 7, per=n)


@group
def eager(report):
    """Transforms without jit: the function is traced at every call, the program is found again."""
    g = grad(scalar)
    h = grad(g)
    report.repeated("eager: grad(f)(1.3)", lambda: g(1.3))
    report.repeated("eager: grad(grad(f))(1.3)", lambda: h(1.3))
    inputs = mlp_inputs()
    g_mlp = grad(mlp_loss)
    report.repeated("eager: grad of an MLP 64-128-10, batch 32", lambda: g_mlp(*inputs))


@group
def plan(report):
    """Per equation of a compiled program on tiny arrays."""
    n = 100 if report.smoke else 1_000
    short, long = jit(chain(n)), jit(chain(2 * n))
    for x, name in ((np.linspace(0.1, 1, 3), "3 elements"), (np.float64(1.3), "a scalar")):
        report.repeated(f"plan: {n} equations on {name}, per equation",
                        lambda x=x: short(x), unit="ns", scale=1e9, per=n)
        report.repeated(f"plan: {2 * n} equations on {name}, per equation",
                        lambda x=x: long(x), unit="ns", scale=1e9, per=2 * n)
    # sin costs arithmetic: products and sums show what a step costs by itself
    def sums(x):
        y = x
        for _ in range(n // 2):
            y = y * x + x
        return y
    arithmetic = jit(sums)
    x = np.linspace(0.1, 0.5, 3)
    report.repeated(f"plan: {n} products and sums on 3 elements, per equation",
                    lambda: arithmetic(x), unit="ns", scale=1e9, per=n)


@group
def first(report):
    """First call of a compiled gradient: trace, transform, plan and run."""
    inputs = mlp_inputs()
    jit(grad(mlp_loss))(*inputs)        # loads SciPy's parts and the modules

    def measure():
        functrans.clear_caches()
        f = jit(grad(mlp_loss))
        began = time.perf_counter()
        f(*inputs)
        return time.perf_counter() - began

    report.once("first: jit(grad(MLP 64-128-10)), first call", measure, 15, unit="ms", scale=1e3)


@group
def start(report):
    """Fresh processes, taking turns: Python alone, NumPy alone, the first printed gradient."""
    programs = {
        "python": "pass",
        "numpy": "import numpy",
        "gradient": "import numpy as np; from functrans import grad; "
                    "print(grad(lambda x: np.sum(np.tanh(x)**2))(np.ones(3)))",
    }
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    samples = {name: [] for name in programs}
    for turn in range(2 if report.smoke else 16):
        for name, text in programs.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", text], check=True, stdout=subprocess.DEVNULL,
                           env={**os.environ, "PYTHONPATH": path})
            if turn:                    # the first turn fills the file cache
                samples[name].append(time.perf_counter() - began)
    report.add("start: python -c pass", samples["python"], unit="ms", scale=1e3)
    report.add("start: import numpy", samples["numpy"], unit="ms", scale=1e3)
    report.add("start: first printed gradient", samples["gradient"], unit="ms", scale=1e3)
    beyond = [g - n for g, n in zip(samples["gradient"], samples["numpy"], strict=True)]
    report.add("start: first printed gradient beyond import numpy", beyond, unit="ms", scale=1e3)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, two samples")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    args = parser.parse_args(argv)
    load = os.getloadavg()[0]
    print(f"load before: {load:.2f} on {os.cpu_count()} cores")
    report = Report(args.smoke)
    for name in args.only:
        GROUPS[name](report)
    if args.json:
        args.json.write_text(json.dumps({"load_before": load, "load_after": os.getloadavg()[0],
                                         "python": sys.version.split()[0],
                                         "numpy": np.__version__, "rows": report.rows}, indent=1))


if __name__ == "__main__":
    main()
