"""Linear algebra against NumPy's and SciPy's own calls of LAPACK: one large matrix, and many small ones.

    python benchmarks/linalg.py                            # prints both tables
    python benchmarks/linalg.py --only expm schur          # some of the functions
    python benchmarks/linalg.py --size 200 --batch 100 20  # other extents
    python benchmarks/linalg.py --json out.json
    python benchmarks/linalg.py --smoke                    # tiny sizes: only shows that it runs

Each function is compiled by ``jit``; the other side is NumPy's function on the whole stack, or SciPy's in a
Python loop where it takes one matrix only. They take turns, with pauses in which the threads of the BLAS fall
asleep; printed are least and median times of both, and their ratios (above 1: functrans is faster). On a busy
machine ``--cpu`` takes the processor's time of one thread; set OPENBLAS_NUM_THREADS=1, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg as theirs
from machine import describe, load

from functrans import jit, set_num_threads, vmap
from functrans.scipy import linalg as ours

ROUNDS, SECONDS, PAUSE = 7, 0.05, 0.02
IN_NUMPY = ("cholesky", "qr", "svd", "eigh", "eigvalsh", "eig", "inv", "det", "slogdet", "pinv", "norm")


def cases(shape, dtype):
    """name -> (our function, the other, arguments, whether the other takes stacks)."""
    rng = np.random.default_rng(5)
    a = rng.standard_normal(shape)
    n = shape[-1]
    s = a @ np.swapaxes(a, -1, -2) + n * np.eye(n)
    p = a / np.sqrt(n) + 2.5 * np.eye(n)            # eigenvalues away from the negative axis
    a, s, p = (x.astype(dtype) for x in (a, s, p))
    b, low = a[..., :max(n // 64, 1)].copy(), np.linalg.cholesky(s)
    of = {"cholesky": s, "eigh": s, "eigvalsh": s}
    found = {name: (getattr(np.linalg, name),) * 2 + ((of.get(name, a),), True) for name in IN_NUMPY}
    found["norm"] = (partial(np.linalg.norm, axis=(-2, -1)),) * 2 + ((a,), True)
    found["matrix_power"] = (partial(np.linalg.matrix_power, n=5),) * 2 + ((p / 3,), True)
    found["solve"] = (np.linalg.solve, np.linalg.solve, (a, b), True)
    found["lstsq"] = (lambda a, b: np.linalg.lstsq(a, b)[0],) * 2 + ((a, b), False)
    for name in ("expm", "logm", "sqrtm", "schur", "lu", "lu_factor", "polar"):
        x = a if name in ("lu", "lu_factor", "polar") else p
        found[name] = (getattr(ours, name), getattr(theirs, name), (x,), False)
    found["expm"] = (ours.expm, theirs.expm, (p,), True)
    found["solve_triangular"] = (partial(ours.solve_triangular, lower=True),
                                 partial(theirs.solve_triangular, lower=True), (low, b), False)
    found["cho_solve"] = (lambda c, b: ours.cho_solve((c, True), b),
                          lambda c, b: theirs.cho_solve((c, True), b), (low, b), False)
    found["solve_sylvester"] = (ours.solve_sylvester, theirs.solve_sylvester, (p, s / n, a), False)
    return found


def each(f):
    """``f`` of each matrix of stacks, in a Python loop."""
    def loop(*stacks):
        found = [f(*matrices) for matrices in zip(*stacks, strict=True)]
        if isinstance(found[0], tuple):
            return [np.stack(part) for part in zip(*found, strict=True)]
        return np.stack(found)
    return loop


def alternate(calls, smoke, clock):
    """Seconds a call, of each a list."""
    samples = [[] for _ in calls]
    for call in calls:
        call()
    began = clock()
    calls[1]()
    once = clock() - began
    turns = 1 if smoke else max(1, int(SECONDS / max(once, 1e-6)))
    for _ in range(2 if smoke else ROUNDS if once < 0.2 else 4):
        for call, times in zip(calls, samples, strict=True):
            time.sleep(0 if smoke else PAUSE)
            for _ in range(turns):
                began = clock()
                call()
                times.append(clock() - began)
    return samples


def table(shape, only, smoke, clock):
    """Rows of one table, printed as they come."""
    rows = []
    stack = len(shape) > 2
    print(f"\n{' x '.join(map(str, shape))}: milliseconds, least (median)\n"
          f"{'':24}{'functrans':>22}{'NumPy or SciPy':>22}{'ratio':>16}")
    for code, dtype in (("f64", np.float64), ("f32", np.float32)):
        for name, (f, g, arguments, stacks) in cases(shape, dtype).items():
            if only and name not in only:
                continue
            mine = jit(vmap(f)) if stack else jit(f)
            other = each(g) if stack and not stacks else g
            a, b = alternate([partial(mine, *arguments), partial(other, *arguments)], smoke, clock)
            least, middle = [1e3 * min(t) for t in (a, b)], [1e3 * statistics.median(t) for t in (a, b)]
            ratios = least[1] / least[0], middle[1] / middle[0]
            rows.append({"name": name, "dtype": code, "shape": shape, "least_ms": least, "median_ms": middle,
                         "ratio": ratios[0], "median_ratio": ratios[1]})
            times = "".join(f"{x:11.3f} ({y:8.3f})" for x, y in zip(least, middle, strict=True))
            print(f"{name + ' ' + code:24}{times}{ratios[0]:8.2f} ({ratios[1]:5.2f})", flush=True)
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, two samples")
    parser.add_argument("--only", nargs="+", help="names of functions")
    parser.add_argument("--size", type=int, default=512, help="of the large matrix; 0: none")
    parser.add_argument("--batch", type=int, nargs=2, default=(1000, 8), help="number and size of small ones")
    parser.add_argument("--cpu", action="store_true", help="the processor's time of one thread")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")                 # SciPy's, of accuracy in single precision
    clock = time.process_time if args.cpu else time.perf_counter
    if args.cpu:
        set_num_threads(1)
    before = load()
    print(before)
    size, batch = (8, (3, 4)) if args.smoke else (args.size, tuple(args.batch))
    shapes = [(size, size)] * bool(size) + [(*batch, batch[1])] * bool(batch[0])
    rows = [row for shape in shapes for row in table(shape, args.only, args.smoke, clock)]
    if args.json:
        args.json.write_text(json.dumps({**describe(), "load_before": before, "load_after": load(),
                                         "rows": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
