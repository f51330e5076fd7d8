"""Peak memory of the workloads, beside NumPy code written by hand to use little.

    python benchmarks/memory.py                    # prints a table
    python benchmarks/memory.py --only gmm axpy_chain
    python benchmarks/memory.py --json out.json
    python benchmarks/memory.py --smoke

Each side runs in a process of its own: it makes its inputs, calls the function three times (once the
result of the call before is dropped), and reports how much the peak of its resident memory grew over
what it was before the first call. The warm-up on tiny inputs before that loads the code. Beside it is
what ``lower(...).memory_analysis()`` says in advance: outputs, temporaries and scratch.

    python benchmarks/memory.py --loop             # reverse mode through a long while_loop instead

That is a loop of 100,000 turns over a state of 8 kB whose end depends on the data, with each way of
``checkpoint=``: how much memory the gradient takes beside its arguments, its time over that of the
loop alone and over that of the loop under the same transform, and how far it is from a finite difference; the
same under ``vmap`` and ``jvp``.

The NumPy sides compute the same gradient by formulas that a person derived, with ``out=`` and in-place
operators wherever a value is not needed again.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
from functools import partial
from inspect import signature
from pathlib import Path

import numpy as np
from by_hand import BY_HAND
from machine import describe, load

HERE = Path(__file__).resolve().parent
CALLS = 3


def peak() -> int:
    """The greatest resident memory of this process so far, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise SystemExit("memory.py needs /proc/self/status (Linux)")


def reset_peak() -> int:
    """Forgets the peak so far; the memory that is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def child(name: str, side: str, size: float) -> dict:
    """Runs in a process of its own."""
    from backends import Functrans
    from workloads import WORKLOADS

    def arguments(size):
        call = WORKLOADS[name](Functrans(), size)
        f, args = [c.cell_contents for c in call.__closure__]
        if not callable(f):
            f, args = args, f
        theirs = BY_HAND[name]
        if "size" in signature(theirs).parameters:
            theirs = partial(theirs, size=size)
        return f, theirs, args

    # tiny inputs first: code, caches and the BLAS are there before anything is measured
    f, theirs, args = arguments(min(size, 0.01))
    run = f if side == "functrans" else theirs
    run(*args)
    f, theirs, args = arguments(size)
    run = f if side == "functrans" else theirs
    answer = {}
    if side == "functrans":
        memory = f.lower(*args).memory_analysis()
        answer["expected"] = (memory.output_size_in_bytes + memory.temp_size_in_bytes
                              + memory.scratch_size_in_bytes)
    if side == "functrans":
        import functrans
        functrans.clear_caches()                    # what the warm-up left in the pools
    ctypes.CDLL(None).malloc_trim(0)                # free memory of the heap would hide what is used
    before = reset_peak()
    out = None
    for _ in range(CALLS):
        del out
        out = run(*args)
    answer["grown"] = max(peak() - before, 0)
    from worker import fingerprint
    answer["value"] = fingerprint(out)
    return answer


LOOP_MODES = ("grad", "vmap(grad)", "jvp(grad)")


def loop_child(how: str, mode: str, turns: int) -> dict:
    """One way to keep the states of a loop, in a process of its own."""
    from time import perf_counter

    import functrans as ft

    def run(p, x, turns):
        def turn(state):
            y, t = state
            return y + (1e-1 / turns) * p * np.sin(y), t + 1.0
        checkpoint = None if how == "None" else how
        return np.sum(ft.lax.while_loop(lambda s: s[1] < turns, turn, (x, 0.0), checkpoint=checkpoint)[0])

    x = np.linspace(0, 1, 1024)
    gradient = ft.grad(run)
    call = ft.jit({"grad": gradient,
                   "vmap(grad)": lambda p, x, n: ft.vmap(gradient, (0, None, None))(p * np.ones(2), x, n),
                   "jvp(grad)": lambda p, x, n: ft.jvp(lambda p: gradient(p, x, n), (p,), (1.0,))[1]}[mode])
    forward = ft.jit(run)
    alike = ft.jit({"grad": run,
                    "vmap(grad)": lambda p, x, n: ft.vmap(run, (0, None, None))(p * np.ones(2), x, n),
                    "jvp(grad)": lambda p, x, n: ft.jvp(lambda p: run(p, x, n), (p,), (1.0,))[1]}[mode])
    for f in (call, forward, alike):
        f(1.0, x, 10.0)
    before = reset_peak()
    start = perf_counter()
    got = call(1.0, x, float(turns))
    taken = perf_counter() - start
    grown = max(peak() - before, 0)
    start = perf_counter()
    forward(1.0, x, float(turns))
    alone = perf_counter() - start
    start = perf_counter()
    alike(1.0, x, float(turns))
    own = perf_counter() - start
    h = 1e-3
    f = (lambda p: gradient(p, x, float(turns))) if mode == "jvp(grad)" else (
        lambda p: forward(p, x, float(turns)))
    want = (8 * (f(1 + h) - f(1 - h)) - f(1 + 2 * h) + f(1 - 2 * h)) / (12 * h)
    return {"grown": grown, "seconds": taken, "times": taken / alone, "times_own": taken / own,
            "error": float(np.max(np.abs(got / want - 1)))}


def loops(turns: int, run) -> dict:
    print(f"{load()}\n{'checkpoint':14}{'':12}{'memory':>12}{'seconds':>10}{'/ loop':>8}{'/ own':>8}"
          f"{'error':>10}")
    rows = {}
    for how in ("binomial", "sqrt", "None"):
        for mode in LOOP_MODES if how != "None" else LOOP_MODES[:1]:
            few = turns if how != "None" else min(turns, 20_000)      # which keeps 16 kB a turn
            row = rows[f"{how} {mode}"] = {**run("--loop-child", how, mode, str(few)), "turns": few}
            print(f"{how:14}{mode:12}{megabytes(row['grown']):>12}{row['seconds']:10.2f}{row['times']:7.1f}x"
                  f"{row['times_own']:7.1f}x{row['error']:10.1e}"
                  + (f"  ({few} turns)" if few < turns else ""), flush=True)
    return rows


def megabytes(n: float) -> str:
    return f"{n / 1e6:.2f} MB"


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(BY_HAND), default=list(BY_HAND), metavar="WORKLOAD",
                        help=f"some of: {', '.join(BY_HAND)}")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only shows that it runs")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    parser.add_argument("--loop", action="store_true", help="the gradient of a long while_loop instead")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--loop-child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        name, side, size = args.child
        print(json.dumps(child(name, side, float(size))))
        return 0
    if args.loop_child:
        how, mode, turns = args.loop_child
        print(json.dumps(loop_child(how, mode, int(turns))))
        return 0
    size = 0.01 if args.smoke else 1.0
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])}

    def run(*options):
        done = subprocess.run([sys.executable, __file__, *options], env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"memory.py {' '.join(options)}:\n{done.stderr}")
        return json.loads(done.stdout)

    if args.loop:
        rows = loops(1000 if args.smoke else 100_000, run)
        if args.json:
            args.json.write_text(json.dumps({**describe(), "loops": rows}, indent=1))
        return 0
    print(f"{load()}\n{'':20}{'functrans':>14}{'expected':>14}{'numpy':>14}{'ratio':>8}")
    rows = {}
    for name in args.only:
        sides = {}
        for side in ("functrans", "numpy"):
            sides[side] = run("--child", name, side, str(size))
        ours, theirs = sides["functrans"], sides["numpy"]
        if not abs(ours["value"] - theirs["value"]) <= 1e-3 * abs(ours["value"]):
            raise SystemExit(f"memory.py: {name}: the sides give {ours['value']} and {theirs['value']}")
        ratio = ours["grown"] / theirs["grown"] if theirs["grown"] else None
        rows[name] = {"functrans": ours["grown"], "expected": ours["expected"], "numpy": theirs["grown"],
                      "ratio": ratio}
        print(f"{name:20}{megabytes(ours['grown']):>14}{megabytes(ours['expected']):>14}"
              f"{megabytes(theirs['grown']):>14}{'' if ratio is None else f'{ratio:7.2f}x'}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({**describe(), "workloads": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
