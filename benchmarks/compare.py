"""The same functions in functrans and in other libraries, taking turns; printed as ratios.

    python benchmarks/compare.py                                  # with what is installed here
    python benchmarks/compare.py --peer jax=path/to/python        # with other interpreters
    python benchmarks/compare.py --only mlp_small gmm --rounds 9
    python benchmarks/compare.py --plot ratios.png                # and draws the ratios
    python benchmarks/compare.py --smoke                          # functrans alone, tiny inputs

Each library runs in a process of its own (worker.py) and is asked for one burst of calls after the
other, round by round, so that all of them meet the same state of the machine. Printed are the median
and the least time per call over the rounds, and beside them the ratio of medians to functrans: 2.0 x
is a library that takes twice as long. See benchmarks/README.md.
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

from machine import describe, load
from workloads import SKIP, WORKLOADS

HERE = Path(__file__).resolve().parent
LIBRARIES = ("functrans", "jax", "torch", "torch_compile", "autograd")
MODULES = {"torch_compile": "torch"}
TOLERANCE = {"float32": 1e-3, "float64": 1e-6}
FLOAT32 = {"mlp_large", "black_scholes_f32", "softmax_xent", "softmax_xent_nn", "attention_block",
           "attention_short", "attention_long", "attention_long_causal", "conv_3x3", "conv_3x3_strided",
           "stencil_2d_f32", "mixed_dtypes", "n_body_f32", "embedding", "lenet"}
# Settings that would make one library's BLAS differ from another's.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
PAUSE = 0.02            # lets the threads of the library before fall asleep,
SETTLED = 1.0           # or at most so long, where it can be seen that they still spin (OpenBLAS: 0.1 s)


class Worker:
    """A library in its own process."""

    def __init__(self, name: str, python: str, functions: str):
        env = {k: v for k, v in os.environ.items() if k not in UNSET}
        if name == "functrans":
            env["PYTHONPATH"] = os.pathsep.join(
                [str(HERE.parent), *filter(None, [env.get("PYTHONPATH")])])
        self.name = name
        try:
            self.process = subprocess.Popen(
                [python, str(HERE / "worker.py"), name, functions], text=True, env=env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as e:
            raise SystemExit(f"compare.py: --peer {name}={python}: {e.strerror}") from None
        self.version = self.read()["version"]

    def read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"compare.py: the process for {self.name} ended with code "
                             f"{self.process.wait()}; its messages are above")
        return json.loads(line)

    def ask(self, **request) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()

    def settle(self) -> None:
        """Returns when the library's threads sleep: one that spins takes a core from whoever comes next."""
        clock, ends = Path(f"/proc/{self.process.pid}/stat"), time.monotonic() + SETTLED
        before = None
        while clock.exists() and time.monotonic() < ends:
            spent = clock.read_text().rpartition(")")[2].split()[11:13]        # user and system time
            if spent == before:
                return
            before = spent
            time.sleep(PAUSE)
        time.sleep(PAUSE)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def installed(name: str) -> bool:
    """Whether this interpreter has the library; asked in a process of its own."""
    module = f"import importlib.util as u, sys; sys.exit(u.find_spec({name!r}) is None)"
    return subprocess.run([sys.executable, "-c", module]).returncode == 0


def interpreters(given: list[str], smoke: bool) -> dict[str, str]:
    """Library -> interpreter: functrans, those given, and those that are installed here."""
    found = {"functrans": sys.executable}
    for entry in given:
        name, _, python = entry.partition("=")
        if name not in LIBRARIES or not python:
            raise SystemExit(f"compare.py: --peer {entry}: write NAME=PYTHON, NAME one of "
                             f"{', '.join(LIBRARIES[1:])}")
        found[name] = python
    if not smoke:
        for name in LIBRARIES:
            if name not in found and name not in MODULES and installed(name):
                found[name] = sys.executable
    return {name: found[name] for name in LIBRARIES if name in found}


def measure(workload: str, workers: list[Worker], skip: dict, args) -> dict[str, dict]:
    """Per library: the samples of all rounds, the first call, or why there are none."""
    results: dict[str, dict] = {}
    for w in workers:
        why = skip.get((workload, w.name)) or skip.get((workload, MODULES.get(w.name)))
        if why and not args.slow:
            results[w.name] = {"skipped": why}
            continue
        got = w.ask(do="prepare", workload=workload, size=args.size, seconds=args.seconds)
        results[w.name] = got if "error" in got else {**got, "samples": []}
        w.settle()
    running = [w for w in workers if "samples" in results[w.name]]
    for turn in range(args.rounds):
        # the order turns round, so that no library always follows the same one
        for w in running[turn % len(running):] + running[:turn % len(running)] if running else ():
            got = w.ask(do="burst", calls=results[w.name]["calls"])
            w.settle()
            if "error" in got:
                results[w.name] = got
                running = [r for r in running if r is not w]
                break
            results[w.name]["samples"].append(got["seconds"])
    for w in workers:
        w.ask(do="forget")
    return results


def check_values(results: dict, dtype: str) -> list[str]:
    """Libraries whose result differs from that of functrans."""
    ours = results["functrans"].get("value")
    limit = TOLERANCE[dtype]
    return [name for name, r in results.items() if ours is not None and "value" in r
            and not abs(r["value"] - ours) <= limit * max(abs(ours), 1e-30)]


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def cell(result: dict, ours: float | None) -> str:
    if "samples" not in result:
        return "-" if "skipped" in result else "failed"
    median = statistics.median(result["samples"])
    ratio = "" if ours is None else f"  {median / ours:.2f} x"
    return f"{duration(median)} ({duration(min(result['samples']))}){ratio}"


def first_calls(results: dict, workers: list[Worker]) -> list[str]:
    """A table of the first calls: tracing, compiling and one run."""
    lines = ["", "first call: tracing, compiling and running once",
             f"{'':20}" + "".join(f"{w.name:>30}" for w in workers)]
    for workload, found in results.items():
        times = [found[w.name].get("first") for w in workers]
        ours = times[0]
        cells = ["-" if t is None else duration(t) + (f"  {t / ours:.2f} x" if i and ours else "")
                 for i, t in enumerate(times)]
        lines.append(f"{workload:20}" + "".join(f"{c:>30}" for c in cells))
    return lines


def plot(results: dict, names: list[str], path: Path, title: str) -> None:
    """A group of bars for each workload: times of the libraries over that of functrans."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("compare.py: --plot needs matplotlib (pip install matplotlib)") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot
    medians = {workload: {n: statistics.median(r["samples"]) for n, r in found.items() if r.get("samples")}
               for workload, found in results.items()}
    peers = [n for n in names if n != "functrans" and any(n in m for m in medians.values())]
    rows = [w for w, m in medians.items() if "functrans" in m]
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + len(rows) * (0.16 * len(peers) + 0.14)),
                                   layout="constrained")
    height = 0.8 / max(len(peers), 1)
    for k, name in enumerate(peers):
        at = [(i + (k - (len(peers) - 1) / 2) * height, medians[w][name] / medians[w]["functrans"])
              for i, w in enumerate(rows) if name in medians[w]]
        axes.barh([a for a, _ in at], [v - 1 for _, v in at], height * 0.9, left=1,
                  label=name.replace("_", "."))
        for a, v in at:
            axes.annotate(f"{float(f'{v:.2g}'):g}", (v, a), (3 if v >= 1 else -3, 0), fontsize=7,
                          textcoords="offset points", va="center", ha="left" if v >= 1 else "right")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.margins(x=0.12, y=0.01)
    axes.set_yticks(range(len(rows)), [w.replace("_", " ") for w in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("time over that of functrans (right of the line: functrans is faster)")
    axes.set_title(title, fontsize=9)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=130)


def run(functions: dict, skip: dict, float32: set, doc: str, module: str, argv=None) -> int:
    """Measures ``functions`` (of ``module``, which the workers import) as the command line says."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON",
                        help=f"a library ({', '.join(LIBRARIES[1:])}) and the interpreter that has it; "
                             "may be repeated")
    parser.add_argument("--only", nargs="+", choices=list(functions), default=list(functions),
                        metavar="NAME", help=f"some of: {', '.join(functions)}")
    parser.add_argument("--rounds", type=int, default=7, help="bursts per library (default 7)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one burst (default 0.2)")
    parser.add_argument("--size", type=float, default=1.0, help="scales the larger inputs")
    parser.add_argument("--slow", action="store_true", help="also what takes very long")
    parser.add_argument("--smoke", action="store_true", help="functrans and given peers, tiny")
    parser.add_argument("--json", type=Path, help="where the samples go as well")
    parser.add_argument("--add", action="store_true", help="keep what the JSON file has of other functions")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draws the ratios (needs matplotlib)")
    args = parser.parse_args(argv)
    if args.smoke:
        args.rounds, args.seconds, args.size = 2, 1e-3, 0.01

    before = load()
    workers = [Worker(name, python, module) for name, python in
               interpreters(args.peer, args.smoke).items()]
    print(", ".join(f"{w.name} {w.version}" for w in workers))
    print(f"{before}; median (least), ratio to functrans")
    print(f"{'':20}" + "".join(f"{w.name:>30}" for w in workers))
    results, notes, failed = {}, [], False
    for workload in args.only:
        found = results[workload] = measure(workload, workers, skip, args)
        samples = found["functrans"].get("samples")
        ours = statistics.median(samples) if samples else None
        line = [cell(found[w.name], None if w.name == "functrans" else ours) for w in workers]
        print(f"{workload:20}" + "".join(f"{text:>30}" for text in line), flush=True)
        notes += [f"{workload}, {name}: {r.get('error') or r['skipped']}"
                  for name, r in found.items() if "samples" not in r]
        notes += [f"{workload}, {name}: its result differs from that of functrans"
                  for name in check_values(found, "float32" if workload in float32 else "float64")]
        failed = failed or any("error" in r for r in found.values())
    for w in workers:
        w.close()
    print("\n".join(first_calls(results, workers)))
    print(f"\nafter: {load()}")
    print("\n".join(notes))
    record = {**describe(), "load_before": before, "load_after": load(),
              "versions": {w.name: w.version for w in workers}, "workloads": results}
    if args.json:
        if args.add and args.json.exists():
            record["workloads"] = {**json.loads(args.json.read_text())["workloads"], **results}
        args.json.write_text(json.dumps(record, indent=1))
    if args.plot:
        plot(record["workloads"], [w.name for w in workers], args.plot,
             f"{record['processor']}, {record['cores']} cores, {record['date']}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(run(WORKLOADS, SKIP, FLOAT32, __doc__, "workloads"))
