"""functrans beside a busy process: every workload of compare.py on one thread and on several.

    python benchmarks/contended.py                      # about two minutes
    python benchmarks/contended.py --only mlp_large gmm --rounds 30
    python benchmarks/contended.py --quiet              # the same without the busy process
    python benchmarks/contended.py --smoke              # tiny inputs

A process that only computes is bound to one core. One thread and a team then take turns, burst by
burst, under that same load, and each call is timed. A team that waits for a thread whose core went to
the other process is slower than one thread would be: printed are medians and 99th percentiles, the
ratio of medians, and by how much the 99th percentiles differ. See benchmarks/README.md.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backends import Functrans
from compare import duration
from machine import describe
from workloads import WORKLOADS

import functrans

SAMPLE = 20e-6          # shorter calls are timed together: the clock takes time too
RATIO, MORE = 1.3, 10e-3        # what a team may cost: of the medians, of the 99th percentiles (s)
BUSY = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
while os.getppid() == int(sys.argv[2]):
    for _ in range(1_000_000):
        pass
"""


def busy_process(core: int) -> subprocess.Popen:
    """A process that uses one core until it is ended, or its parent is."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(core), str(os.getpid())],
                               stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def burst(call, calls: int, seconds: float) -> list[float]:
    """Seconds per call of each group of ``calls`` calls, one group after the other."""
    samples, turns = [], range(calls)
    end = time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        for _ in turns:
            call()
        now = time.perf_counter()
        samples.append((now - began) / calls)
        if now >= end:
            return samples


def p99(samples: list[float]) -> float:
    return sorted(samples)[min(len(samples) - 1, int(0.99 * len(samples)))]


def measure(call, args) -> dict[str, list[float]]:
    """The samples of one thread and of the team."""
    for _ in range(3):
        call()
    once = min(burst(call, 1, args.seconds / 4))
    calls = max(1, round(SAMPLE / max(once, 1e-8)))
    sides = {"serial": 1, "team": args.threads}
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(args.rounds):
        for name in sorted(sides, reverse=turn % 2 == 1):
            functrans.set_num_threads(sides[name])
            samples[name] += burst(call, calls, args.seconds)
    return samples


def summary(samples: dict[str, list[float]]) -> dict[str, float]:
    result = {}
    for name, taken in samples.items():
        result |= {f"{name}_median": statistics.median(taken), f"{name}_p99": p99(taken),
                   f"{name}_samples": len(taken)}
    result["ratio"] = result["team_median"] / result["serial_median"]
    result["more"] = result["team_p99"] - result["serial_p99"]
    return result


def line(workload: str, r: dict[str, float]) -> str:
    marks = "  <- median" * (r["ratio"] > RATIO) + "  <- p99" * (r["more"] > MORE)
    cells = [duration(r[f"{side}_{what}"]) for what in ("median", "p99") for side in ("serial", "team")]
    return (f"{workload:20}" + "".join(f"{c:>11}" for c in cells)
            + f"{r['ratio']:>8.2f} x{1e3 * r['more']:>+9.2f} ms{marks}")


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS),
                        metavar="WORKLOAD", help=f"some of: {', '.join(WORKLOADS)}")
    parser.add_argument("--threads", type=int, default=max(2, len(cores())), help="of the team")
    parser.add_argument("--rounds", type=int, default=16, help="bursts of either side (default 16)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one burst (default 0.2)")
    parser.add_argument("--size", type=float, default=1.0, help="scales the larger inputs")
    parser.add_argument("--quiet", action="store_true", help="without the busy process")
    parser.add_argument("--smoke", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    args = parser.parse_args(argv)
    if args.smoke:
        args.rounds, args.seconds, args.size = 2, 1e-3, 0.01

    load, backend, results = os.getloadavg()[0], Functrans(), {}
    calls = {name: WORKLOADS[name](backend, args.size) for name in args.only}
    core = cores()[-1]
    print(f"{'quiet' if args.quiet else f'a busy process on core {core}'}; one thread and "
          f"{args.threads} take turns; load before: {load:.2f} on {len(cores())} cores")
    print(f"{'':20}{'median: 1':>11}{args.threads:>11}{'p99: 1':>11}{args.threads:>11}{'ratio':>10}"
          f"{'p99 more':>12}")
    busy = None if args.quiet else busy_process(core)
    try:
        for name, call in calls.items():
            results[name] = summary(measure(call, args))
            print(line(name, results[name]), flush=True)
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()
    if args.json:
        args.json.write_text(json.dumps({**describe(), "busy": busy is not None, "threads": args.threads,
                                         "load_before": load, "workloads": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
