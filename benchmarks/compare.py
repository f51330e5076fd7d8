"""The same functions in functrans and in other libraries, taking turns; printed as ratios.

    python benchmarks/compare.py                                  # with what is installed here
    python benchmarks/compare.py --peer jax=path/to/python        # with other interpreters
    python benchmarks/compare.py --only mlp_small gmm --rounds 9
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

from workloads import SKIP, WORKLOADS

HERE = Path(__file__).resolve().parent
LIBRARIES = ("functrans", "jax", "torch", "autograd")
TOLERANCE = {"float32": 1e-3, "float64": 1e-6}
FLOAT32 = {"mlp_large", "black_scholes_f32", "softmax_xent", "attention_block", "stencil_2d_f32",
           "mixed_dtypes", "n_body_f32", "embedding"}
# Settings that would make one library's BLAS differ from another's.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
PAUSE = 0.02            # lets the threads of the library before fall asleep


class Worker:
    """A library in its own process."""

    def __init__(self, name: str, python: str):
        env = {k: v for k, v in os.environ.items() if k not in UNSET}
        if name == "functrans":
            env["PYTHONPATH"] = os.pathsep.join(
                [str(HERE.parent), *filter(None, [env.get("PYTHONPATH")])])
        self.name = name
        try:
            self.process = subprocess.Popen(
                [python, str(HERE / "worker.py"), name], text=True, env=env,
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
            if name not in found and installed(name):
                found[name] = sys.executable
    return {name: found[name] for name in LIBRARIES if name in found}


def measure(workload: str, workers: list[Worker], args) -> dict[str, dict]:
    """Per library: the samples of all rounds, the first call, or why there are none."""
    results: dict[str, dict] = {}
    for w in workers:
        if (workload, w.name) in SKIP and not args.slow:
            results[w.name] = {"skipped": SKIP[workload, w.name]}
            continue
        got = w.ask(do="prepare", workload=workload, size=args.size, seconds=args.seconds)
        results[w.name] = got if "error" in got else {**got, "samples": []}
    running = [w for w in workers if "samples" in results[w.name]]
    for turn in range(args.rounds):
        # the order turns round, so that no library always follows the same one
        for w in running[turn % len(running):] + running[:turn % len(running)] if running else ():
            time.sleep(PAUSE)
            got = w.ask(do="burst", calls=results[w.name]["calls"])
            if "error" in got:
                results[w.name] = got
                running = [r for r in running if r is not w]
                break
            results[w.name]["samples"].append(got["seconds"])
    for w in workers:
        w.ask(do="forget")
    return results


def check_values(workload: str, results: dict) -> list[str]:
    """Libraries whose result differs from that of functrans."""
    ours = results["functrans"].get("value")
    limit = TOLERANCE["float32" if workload in FLOAT32 else "float64"]
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


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON",
                        help="a library and the interpreter that has it; may be repeated")
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS),
                        metavar="WORKLOAD", help=f"some of: {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=7, help="bursts per library (default 7)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one burst (default 0.2)")
    parser.add_argument("--size", type=float, default=1.0, help="scales the larger inputs")
    parser.add_argument("--slow", action="store_true", help="also what takes very long")
    parser.add_argument("--smoke", action="store_true", help="functrans and given peers, tiny")
    parser.add_argument("--json", type=Path, help="where the samples go as well")
    args = parser.parse_args(argv)
    if args.smoke:
        args.rounds, args.seconds, args.size = 2, 1e-3, 0.01

    load = os.getloadavg()[0]
    workers = [Worker(name, python) for name, python in
               interpreters(args.peer, args.smoke).items()]
    print(", ".join(f"{w.name} {w.version}" for w in workers))
    print(f"load before: {load:.2f} on {os.cpu_count()} cores; median (least), ratio to functrans")
    print(f"{'':20}" + "".join(f"{w.name:>30}" for w in workers))
    results, notes, failed = {}, [], False
    for workload in args.only:
        found = results[workload] = measure(workload, workers, args)
        samples = found["functrans"].get("samples")
        ours = statistics.median(samples) if samples else None
        line = [cell(found[w.name], None if w.name == "functrans" else ours) for w in workers]
        print(f"{workload:20}" + "".join(f"{text:>30}" for text in line), flush=True)
        notes += [f"{workload}, {name}: {r.get('error') or r['skipped']}"
                  for name, r in found.items() if "samples" not in r]
        notes += [f"{workload}, {name}: its result differs from that of functrans"
                  for name in check_values(workload, found)]
        failed = failed or any("error" in r for r in found.values())
    for w in workers:
        w.close()
    print(f"load after: {os.getloadavg()[0]:.2f}")
    print("\n".join(notes))
    if args.json:
        args.json.write_text(json.dumps({
            "load_before": load, "load_after": os.getloadavg()[0],
            "versions": {w.name: w.version for w in workers}, "workloads": results}, indent=1))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
