"""The kernels of plans, one by one, against NumPy and against what the machine can do.

    python benchmarks/kernels.py                      # prints a table
    python benchmarks/kernels.py --only reduce matmul # some of the families
    python benchmarks/kernels.py --threads 1          # on one thread
    python benchmarks/kernels.py --json out.json
    python benchmarks/kernels.py --smoke              # tiny sizes: only shows that it runs

Each row is one function, compiled by ``jit``, on arrays that do not fit the cache (``large``) or that
do (``small``); NumPy computes the same into an array that exists. Printed are nanoseconds an element,
NumPy's time over ours, GB/s of operands beside those of a triad (a = b + s * c), and for products
GFLOP/s beside the peak of fused multiply-adds. Triad and peak are measured by a few lines of C, if
there is a compiler, on the same threads.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from machine import describe, load
from scipy import special

import functrans
from functrans import jit

FAMILIES = {}
ROUNDS, SECONDS = 7, 0.03
PAUSE = 0.02            # lets the threads of the BLAS fall asleep, which wait for work by spinning
LIMITS = r"""
#include <stdint.h>
#include <omp.h>
#include <time.h>
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
double triad(double *a, const double *b, const double *c, int64_t n, int threads)
{
    double t = now();
    #pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        a[i] = b[i] + 3.0 * c[i];
    return now() - t;
}
#define PEAK(T, NAME) \
    typedef T v##NAME __attribute__((vector_size(64))); \
    double NAME(int64_t n, int threads) \
    { \
        double t = now(), total = 0; \
        _Pragma("omp parallel num_threads(threads) reduction(+:total)") \
        { \
            v##NAME s[12], x, y; \
            for (int k = 0; k < 12; k++) s[k] = (v##NAME){0} + (T)k; \
            x = (v##NAME){0} + (T)0.999; y = (v##NAME){0} + (T)1e-3; \
            for (int64_t i = 0; i < n; i++) \
                for (int k = 0; k < 12; k++) s[k] = s[k] * x + y; \
            for (int k = 1; k < 12; k++) s[0] += s[k]; \
            total += s[0][0]; \
        } \
        return total == -1.0 ? 0 : now() - t; \
    }
PEAK(double, peak_f64)
PEAK(float, peak_f32)
"""


def family(function):
    FAMILIES[function.__name__] = function
    return function


class Limits:
    """What the machine can do on so many threads: ``triad`` in GB/s, ``peak`` in GFLOP/s by dtype."""

    def __init__(self, threads: int, smoke: bool):
        self.triad, self.peak = None, {}
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "limits.c"), Path(folder, "limits.so")
            source.write_text(LIMITS)
            command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-mprefer-vector-width=512",
                       "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC", source, "-o", library]
            try:
                subprocess.run(command, check=True, capture_output=True)
                c = ctypes.CDLL(str(library))
            except (OSError, subprocess.CalledProcessError):
                print("no C compiler with OpenMP: neither triad nor peak is known")
                return
        n = 1 << 12 if smoke else 1 << 23
        a, b, d = (np.ones(n) for _ in range(3))
        c.triad.restype = c.peak_f64.restype = c.peak_f32.restype = ctypes.c_double
        address = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, d)]
        self.triad = 24e-9 * n / min(c.triad(*address, ctypes.c_int64(n), threads) for _ in range(12))
        turns = 1000 if smoke else 5_000_000
        for code, lanes in (("f64", 8), ("f32", 16)):
            seconds = min(getattr(c, f"peak_{code}")(ctypes.c_int64(turns), threads) for _ in range(3))
            self.peak[code] = 2e-9 * 12 * lanes * turns * threads / max(seconds, 1e-12)


class Report:
    def __init__(self, limits: Limits, smoke: bool):
        self.limits, self.smoke, self.rows = limits, smoke, []
        print(f"{'':44}{'ns/element':>12}{'numpy':>10}{'ratio':>8}{'GB/s':>8}{'of triad':>9}{'GFLOP/s':>9}"
              f"{'of peak':>8}")

    def size(self, n: int) -> int:
        return max(n // 1000, 2) if self.smoke else n

    def add(self, name, f, reference, *args, elements=None, product=None):
        """Times ``f(*args)``, compiled, and ``reference(*args)``; a product has the peak of this dtype."""
        ours = jit(f)
        lowered = ours.lower(*args)
        cost = lowered.cost_analysis()
        n = elements or max(sum(np.size(x) for x in functrans.tree.leaves(lowered.out_info)), 1)
        mine, theirs = alternate([partial(ours, *args), partial(reference, *args)], self.smoke)
        gbytes = 1e-9 * cost["bytes accessed"] / mine
        row = {"name": name, "ns": 1e9 * mine / n, "numpy_ns": 1e9 * theirs / n, "ratio": theirs / mine,
               "gbytes": gbytes, "of_triad": self.limits.triad and gbytes / self.limits.triad}
        line = (f"{name:44}{row['ns']:12.3f}{row['numpy_ns']:10.3f}{row['ratio']:7.2f}x{gbytes:8.1f}"
                f"{share(row['of_triad']):>9}")
        if product:
            row["gflops"] = 1e-9 * cost["flops"] / mine
            peak = self.limits.peak.get(product)
            row["of_peak"] = peak and row["gflops"] / peak
            line += f"{row['gflops']:9.1f}{share(row['of_peak']):>8}"
        self.rows.append(row)
        print(line, flush=True)


def into(f, out):
    """``f`` writing into an array that exists."""
    return lambda *args: f(*args, out=out)


def twice(f):
    """For functions that NumPy has no other way to compute."""
    return f, f


def share(x):
    return "-" if x is None else f"{x:.0%}"


def alternate(calls, smoke):
    """Median seconds a call of each, taking turns."""
    counts, samples = [], [[] for _ in calls]
    for call in calls:
        call()
        began = time.perf_counter()
        call()
        counts.append(1 if smoke else max(1, int(SECONDS / max(time.perf_counter() - began, 1e-8))))
    for _ in range(2 if smoke else ROUNDS):
        for k, call in enumerate(calls):
            time.sleep(0 if smoke else PAUSE)
            turns = range(counts[k])
            began = time.perf_counter()
            for _ in turns:
                call()
            samples[k].append((time.perf_counter() - began) / counts[k])
    return [statistics.median(s) for s in samples]


def sizes(report, dtypes=("f64", "f32")):
    """(label, dtype, elements): in the second cache, and far beyond the last one."""
    for code in dtypes:
        for label, n in (("small", 20_000), ("large", 8_000_000)):
            yield f"{code} {label}", np.dtype(code.replace("f", "float").replace("i", "int")), report.size(n)


def numbers(shape, dtype, low=0.1, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


# ----- the families ---------------------------------------------------------------------------------


@family
def arithmetic(report):
    for label, dtype, n in sizes(report):
        x, y, out = numbers(n, dtype), numbers(n, dtype, seed=1), np.empty(n, dtype)
        for name, f in (("add", np.add), ("div", np.divide), ("maximum", np.maximum)):
            report.add(f"{name} {label}", f, into(f, out), x, y)
        report.add(f"sqrt {label}", np.sqrt, into(np.sqrt, out), x)


@family
def functions(report):
    for label, dtype, n in sizes(report):
        x, y, out = numbers(n, dtype), numbers(n, dtype, seed=1), np.empty(n, dtype)
        for f in (np.exp, np.log, np.log1p, np.sin, np.tan, np.tanh, np.arctan):
            report.add(f"{f.__name__} {label}", f, into(f, out), x)
        report.add(f"power {label}", np.power, into(np.power, out), x, y)
        report.add(f"erf {label}", special.erf, into(special.erf, out), x)


@family
def mixed(report):
    """Conversions, comparisons and selections."""
    for label, dtype, n in sizes(report):
        x, y, out = numbers(n, dtype), numbers(n, dtype, seed=1), np.empty(n, dtype)
        other = np.dtype("float32" if dtype == np.float64 else "float64")
        report.add(f"convert {label} to {other}", *twice(lambda x, o=other: x.astype(o)), x)
        report.add(f"where(x > y) {label}", *twice(lambda x, y: np.where(x > y, x, y)), x, y)
        report.add(f"clip {label}", lambda x: np.clip(x, 0.5, 1.5),
                   into(partial(np.clip, a_min=0.5, a_max=1.5), out), x)
    for label, dtype, n in sizes(report, ("i64", "i32")):
        i, j, out = (np.arange(n).astype(dtype) for _ in range(3))
        report.add(f"add {label}", np.add, into(np.add, out), i, j)


@family
def groups(report):
    """Chains that run as one pass."""
    for label, dtype, n in sizes(report):
        x, y = numbers(n, dtype), numbers(n, dtype, seed=1)

        def chain(x, y):
            return np.sqrt(x * y + 1.0) * (x - y) / (x + 2.0)
        report.add(f"sqrt(xy + 1)(x - y)/(x + 2) {label}", chain, chain, x, y)
        rows = x.reshape(-1, 100) if n % 100 == 0 else x.reshape(1, -1)

        def softmax(x):
            e = np.exp(x - np.max(x, axis=1, keepdims=True))
            return e / np.sum(e, axis=1, keepdims=True)
        report.add(f"softmax, rows of 100 {label}", softmax, softmax, rows)


@family
def reduce(report):
    for label, dtype, n in sizes(report):
        side = max(int(n ** 0.5), 2)
        x = numbers((side, side), dtype)
        for name, f in (("sum", np.sum), ("max", np.max), ("argmax", np.argmax)):
            for axis in (1, 0):
                report.add(f"{name} axis {axis} {label}", *twice(partial(f, axis=axis)), x, elements=x.size)
        report.add(f"sum of all {label}", np.sum, np.sum, x, elements=x.size)
        report.add(f"cumsum axis 1 {label}", *twice(partial(np.cumsum, axis=1)), x)


@family
def move(report):
    """Copies in all orders, indexing."""
    for label, dtype, n in sizes(report):
        side = max(int(n ** 0.5), 2)
        x, out = numbers((side, side), dtype), np.empty((side, side), dtype)
        report.add(f"copy {label}", lambda x: x.copy(), partial(np.copyto, out), x)
        report.add(f"transpose {label}", lambda x: x.T, lambda x, out=out: np.copyto(out, x.T), x)
        report.add(f"flip {label}", lambda x: x[:, ::-1],
                   lambda x, out=out: np.copyto(out, x[:, ::-1]), x)
        report.add(f"roll {label}", *twice(lambda x: np.roll(x, 1, 0)), x)
        report.add(f"concatenate {label}", *twice(lambda x: np.concatenate([x, x])), x)
        i = np.random.default_rng(0).permutation(side)
        report.add(f"take rows {label}", lambda x, i: x[i], into(partial(np.take, axis=0), out), x, i)
        flat = x.reshape(-1)
        j = np.random.default_rng(1).integers(flat.size, size=flat.size)
        report.add(f"take elements {label}", *twice(lambda x, j: x[j]), flat, j)
        zeros = np.zeros_like(flat)
        report.add(f"scatter-add {label}", lambda x, j, z: functrans.at(z)[j].add(x),
                   lambda x, j, z: np.add.at(z, j, x), flat, j, zeros)


@family
def matmul(report):
    shapes = [(4, 4, 4), (16, 16, 16), (64, 64, 64), (32, 128, 64), (256, 256, 256), (1024, 1024, 1024),
              (1, 1000, 1000), (1000, 1, 1000), (100_000, 100, 1)]
    for code in ("f64", "f32"):
        dtype = np.dtype(code.replace("f", "float"))
        for m, n, k in shapes:
            m, n, k = (max(min(v, 8), 1) if report.smoke else v for v in (m, n, k))
            a, b, out = numbers((m, k), dtype), numbers((k, n), dtype), np.empty((m, n), dtype)
            report.add(f"{m} x {k} @ {k} x {n} {code}", np.matmul, into(np.matmul, out), a, b,
                       product=code)
        batch, side = (2, 4) if report.smoke else (64, 32)
        a, b = numbers((batch, side, side), dtype), numbers((batch, side, side), dtype)
        out = np.empty_like(a)
        report.add(f"{batch} products of {side} x {side} {code}", np.matmul, into(np.matmul, out), a, b,
                   product=code)


@family
def order(report):
    """Sorting and searching, against NumPy's ways."""
    n = report.size(1_000_000)
    middle = n // 2
    for code in ("f64", "f32", "i64"):
        dtype = np.dtype(code.replace("f", "float").replace("i", "int"))
        x = numbers(n, dtype, high=1e9)
        for name, f in (("sort", np.sort), ("argsort", np.argsort), ("median", np.median),
                        ("partition", lambda x: np.partition(x, middle)),
                        ("argpartition", lambda x: np.argpartition(x, middle)),
                        ("quantiles", lambda x: np.quantile(x, [0.05, 0.5, 0.95]))):
            report.add(f"{name} {code}", f, f, x, elements=n)
        report.add(f"sort columns {code}", *twice(lambda x: np.sort(x, 0)), x[:n - n % 4].reshape(-1, 4))
        report.add(f"searchsorted {code}", *twice(np.searchsorted), np.sort(x[::10]), x)
        report.add(f"unique {code}", lambda x: functrans.numpy.unique(x, size=n), np.unique, x // 1000)


@family
def scalars(report):
    """Scalar programs: an element here is one operation."""
    n = 20 if report.smoke else 400

    def chain(x):
        y = x
        for _ in range(n // 2):
            y = y * x + 0.5
        return y
    for shape in ((), (3,), (8,)):
        x = 0.3 if shape == () else numbers(shape, float)
        count = n * max(int(np.prod(shape)), 1)
        report.add(f"{n} operations on {list(shape)}", chain, chain, x, elements=count)

    def loop(x):
        return functrans.lax.scan(lambda s, _: (s * 0.5 + 0.25, None), x, None, length=10 * n)[0]

    def python(x):
        for _ in range(10 * n):
            x = x * 0.5 + 0.25
        return x
    report.add(f"loop of {10 * n} turns on a number", loop, python, 0.3, elements=20 * n)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, two samples")
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--threads", type=int, help="threads for functrans and for the limits")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    args = parser.parse_args(argv)
    if args.threads:
        functrans.set_num_threads(args.threads)
    before = load()
    limits = Limits(functrans.get_num_threads(), args.smoke)
    known = [f"triad {limits.triad:.1f} GB/s"] if limits.triad else []
    known += [f"peak {code} {value:.0f} GFLOP/s" for code, value in limits.peak.items()]
    print(f"{before}; {functrans.get_num_threads()} threads" + "".join(f"; {k}" for k in known))
    report = Report(limits, args.smoke)
    for name in args.only:
        FAMILIES[name](report)
    if args.json:
        args.json.write_text(json.dumps({
            **describe(), "threads": functrans.get_num_threads(), "load_before": before,
            "load_after": load(), "triad_gbytes": limits.triad, "peak_gflops": limits.peak,
            "rows": report.rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
