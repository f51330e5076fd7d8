"""functrans.scipy.optimize against SciPy's finite differences, and against gradients written by hand.

    python benchmarks/optimize.py                  # about a minute
    python benchmarks/optimize.py --only Wood Beale
    python benchmarks/optimize.py --smoke          # few rounds

The first table counts evaluations of twelve classic problems: calls of the function that SciPy makes with
its finite differences, and evaluations with exact derivatives (nfev: of the value, mostly with its gradient;
njev, nhev: of Jacobians and Hessians), and by how much the least value found is above SciPy's. The second
times L-BFGS-B on Rosenbrock's chain: one ``minimize`` with all that belongs to it, tracing and compiling
included, against the same with a gradient written in NumPy. Both take turns; least times are printed, their
ratio, and that of medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import scipy.optimize as so
from machine import describe, load
from problems import CASES

from functrans.scipy import optimize

SIZES = (2, 10, 100, 1000, 10_000, 100_000)
TIGHT = 1e-9


def counted(fun):
    """``fun`` that counts its calls."""
    def run(x):
        run.calls += 1
        return fun(x)

    run.calls = 0
    return run


def solve(case, module, fun, method):
    """The result and the least value."""
    if case.residuals:
        found = module.least_squares(fun, case.x0, method=method, ftol=TIGHT, xtol=TIGHT, gtol=TIGHT)
        return found, found.cost
    found = module.minimize(fun, case.x0, method=method, bounds=case.bounds, constraints=case.constraints,
                            tol=TIGHT)
    return found, found.fun


def evaluations(case) -> dict:
    """One row of the first table."""
    plain = counted(case.fun)
    _, least = solve(case, so, plain, case.plain or case.method)
    ours, value = solve(case, optimize, case.fun, case.method)
    return {"problem": case.name, "source": case.source, "method": case.method,
            "differences": case.plain or case.method, "calls": plain.calls, "nfev": int(ours.nfev),
            "njev": int(ours.get("njev") or 0), "nhev": int(ours.get("nhev") or 0),
            "ratio": ours.nfev / plain.calls, "above": (value - least) / max(1.0, abs(least))}


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def by_hand(x):
    d, e = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    slope = np.zeros_like(x)
    slope[1:] = 200 * d
    slope[:-1] -= 400 * x[:-1] * d + 2 * e
    return np.sum(100 * d ** 2 + e ** 2), slope


def times(n: int, rounds: int) -> dict:
    """One row of the second table; seconds."""
    x0, options = np.tile([-1.2, 1.0], n // 2), {"maxiter": min(200, 1_000_000 // n)}
    hand, ours = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        plain = so.minimize(by_hand, x0, jac=True, method="L-BFGS-B", options=options)
        between = time.perf_counter()
        exact = optimize.minimize(rosenbrock, x0, method="L-BFGS-B", options=options)
        hand.append(between - began)
        ours.append(time.perf_counter() - between)
    return {"n": n, "evaluations": int(plain.nfev), "ours": int(exact.nfev), "hand_s": min(hand),
            "ours_s": min(ours), "ratio": min(ours) / min(hand),
            "median": statistics.median(ours) / statistics.median(hand)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few rounds, to see that it runs")
    parser.add_argument("--only", nargs="*", default=[], help="names of problems, or parts of them")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    cases = [c for c in CASES if not args.only or any(name in c.name for name in args.only)]
    print(load())
    print("problem                    method       differences   nfev  njev  nhev  ratio  above")
    rows = []
    for case in cases:
        row = evaluations(case)
        rows.append(row)
        print(f"{row['problem']:26} {row['method']:12} {row['calls']:11} {row['nfev']:6} {row['njev']:5} "
              f"{row['nhev']:5} {row['ratio']:6.3f} {row['above']:6.0e}")
    timed = []
    if not args.only:
        print(f"\n{'L-BFGS-B, n':>11} {'by hand':>11} {'functrans':>11} {'ratio':>6} {'of medians':>10}")
        for n in SIZES[:3] if args.smoke else SIZES:
            row = times(n, 2 if args.smoke else max(3, args.rounds if n < 10_000 else args.rounds // 5))
            timed.append(row)
            print(f"{n:11} {row['hand_s'] * 1e3:8.2f} ms {row['ours_s'] * 1e3:8.2f} ms {row['ratio']:6.2f} "
                  f"{row['median']:10.2f}")
    if args.json:
        Path(args.json).write_text(json.dumps({**describe(), "evaluations": rows, "times": timed}, indent=1))


if __name__ == "__main__":
    main()
