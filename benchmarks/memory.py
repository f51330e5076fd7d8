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
from pathlib import Path

import numpy as np
from machine import describe, load
from scipy import special

HERE = Path(__file__).resolve().parent
BY_HAND = {}
CALLS = 3


def by_hand(function):
    """``f(*inputs of the workload) -> its result``, in NumPy and frugal."""
    BY_HAND[function.__name__] = function
    return function


@by_hand
def axpy_chain(x, y):
    g = np.multiply(x, 1.7)
    g += y
    g *= 2 * 1.7
    return g


def black_scholes(inputs, strike):
    """Gradient of the summed price: the textbook's Greeks."""
    spot, years, volatility = inputs
    dtype = spot.dtype.type
    root = np.sqrt(years)
    d1 = np.divide(spot, strike)
    np.log(d1, out=d1)
    t = np.multiply(volatility, volatility)
    t *= dtype(0.5)
    t += dtype(0.02)
    t *= years
    d1 += t
    np.multiply(volatility, root, out=t)
    d1 /= t
    d2 = np.subtract(d1, t, out=t)
    delta = np.multiply(d1, dtype(np.sqrt(0.5)))
    special.erf(delta, out=delta)
    delta += 1
    delta *= dtype(0.5)
    # density of d1 times spot: vega is that times root, theta that times volatility / (2 root) + ...
    np.multiply(d1, d1, out=d1)
    d1 *= dtype(-0.5)
    np.exp(d1, out=d1)
    d1 *= dtype(1 / np.sqrt(2 * np.pi))
    d1 *= spot
    d2 *= dtype(np.sqrt(0.5))
    special.erf(d2, out=d2)
    d2 += 1
    d2 *= dtype(0.5 * 0.02)
    theta = np.multiply(years, dtype(-0.02))
    np.exp(theta, out=theta)
    theta *= strike
    theta *= d2
    np.multiply(d1, volatility, out=d2)
    d2 /= root
    d2 *= dtype(0.5)
    theta += d2
    d1 *= root
    return delta, theta, d1


BY_HAND["black_scholes_f64"] = BY_HAND["black_scholes_f32"] = black_scholes


@by_hand
def softmax_xent(z, labels):
    p = z - np.max(z, axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= np.sum(p, axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    p /= z.shape[0]
    return p


@by_hand
def logreg_hvp(w, v, x, y):
    s = x @ w
    s *= y
    np.exp(s, out=s)
    t = s + 1
    s /= t
    s /= t
    np.matmul(x, v, out=t)
    s *= t
    s /= len(y)
    return s @ x


def mlp(params, x, y):
    """Backpropagation through tanh layers and softmax cross-entropy."""
    layers = [x]
    for w, bias in params[:-1]:
        h = layers[-1] @ w
        h += bias
        layers.append(np.tanh(h, out=h))
    w, bias = params[-1]
    z = layers[-1] @ w
    z += bias
    z -= np.max(z, axis=-1, keepdims=True)
    np.exp(z, out=z)
    z /= np.sum(z, axis=-1, keepdims=True)
    z -= y
    z /= len(x)
    grads = []
    for (w, _), h in zip(reversed(params), reversed(layers), strict=True):
        grads.append((h.T @ z, np.sum(z, axis=0)))
        if h is not x:
            g = z @ w.T
            h *= h                                  # in place: h is not needed again
            np.subtract(1, h, out=h)
            g *= h
            z = g
    return grads[::-1]


BY_HAND["mlp_large"] = BY_HAND["mlp_small"] = mlp


@by_hand
def rnn_scan(weights, xs):
    w, u = weights
    hs = np.zeros((len(xs) + 1, xs.shape[1], len(w)))
    t = np.empty(hs.shape[1:])
    for i, x in enumerate(xs):
        h = np.matmul(hs[i], w, out=hs[i + 1])
        h += np.matmul(x, u, out=t)
        np.tanh(h, out=h)
    gw, gu = np.zeros_like(w), np.zeros_like(u)
    g, part = 2 * hs[-1], np.empty_like(w)
    for i in range(len(xs) - 1, -1, -1):
        np.multiply(hs[i + 1], hs[i + 1], out=t)
        np.subtract(1, t, out=t)
        t *= g
        gw += np.matmul(hs[i].T, t, out=part)
        gu += np.matmul(xs[i].T, t, out=part)
        np.matmul(t, w.T, out=g)
    return gw, gu


@by_hand
def per_example_grads(params, x, y):
    (w1, b1), (w2, b2) = params
    h = x @ w1
    h += b1
    np.tanh(h, out=h)
    z = h @ w2
    z += b2
    z -= np.max(z, axis=-1, keepdims=True)
    np.exp(z, out=z)
    z /= np.sum(z, axis=-1, keepdims=True)
    z -= y
    g = z @ w2.T
    second = h[:, :, None] * z[:, None, :]
    h *= h
    np.subtract(1, h, out=h)
    g *= h
    return (x[:, :, None] * g[:, None, :], g), (second, z)


@by_hand
def rosenbrock_hessian(x):
    """Every direction pushed through the gradient at once, as forward over reverse does."""
    v = np.eye(len(x))
    r = v[:, 1:] - (2 * x[:-1]) * v[:, :-1]           # of x[1:] - x[:-1]**2
    h = np.zeros_like(v)
    h[:, 1:] += 200 * r
    r *= -400 * x[:-1]
    h[:, :-1] += r
    np.multiply(v[:, :-1], 2 - 400 * (x[1:] - x[:-1]**2), out=r)
    h[:, :-1] += r
    return h


@by_hand
def attention_block(params, x):
    """Backpropagation by hand: what the backward pass needs is kept, all else is overwritten."""
    heads = 4
    batch, length, width = x.shape
    each = width // heads
    f = x.dtype.type

    def norm(x):
        y = x - np.mean(x, axis=-1, keepdims=True)
        s = 1 / np.sqrt(np.mean(y * y, axis=-1, keepdims=True) + f(1e-5))
        y *= s
        return y, s

    def norm_back(g, y, s):
        along = np.mean(g * y, axis=-1, keepdims=True)
        g -= np.mean(g, axis=-1, keepdims=True)
        g -= y * along
        g *= s
        return g

    def cut(x):
        return np.transpose(np.reshape(x, (batch, length, heads, each)), (0, 2, 1, 3))

    def join(x):
        return np.reshape(np.transpose(x, (0, 2, 1, 3)), (batch * length, width))

    def product(a, b):
        return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])

    n1, _ = norm(x)
    q, k, v = (cut(n1 @ params[name]) for name in "qkv")
    p = q @ np.swapaxes(k, -1, -2)
    p *= f(1 / np.sqrt(each))
    p -= np.max(p, axis=-1, keepdims=True)
    np.exp(p, out=p)
    p /= np.sum(p, axis=-1, keepdims=True)
    mixed = join(p @ v)
    mid = (mixed @ params["o"]).reshape(x.shape)
    mid += x
    n2, s2 = norm(mid)
    u = n2 @ params["up"]
    t = u * u
    t *= f(0.044715)
    t += 1
    t *= u
    t *= f(np.sqrt(2 / np.pi))
    np.tanh(t, out=t)
    act = t + 1
    act *= u
    act *= f(0.5)
    out = act @ params["down"]
    out += mid
    del mid
    out *= f(2 / out.size)                          # its cotangent from here on
    grads = {"down": product(act, out)}
    g = np.matmul(out, params["down"].T, out=act)
    slope = 1 - t * t                               # of gelu: (1 + t) / 2 + u (1 - t^2) t' / 2
    slope *= u
    u *= u
    u *= f(3 * 0.044715)
    u += 1
    u *= f(np.sqrt(2 / np.pi))
    slope *= u
    slope += t
    slope += 1
    slope *= f(0.5)
    g *= slope
    del t, u, slope, act
    grads["up"] = product(n2, g)
    out += norm_back(g @ params["up"].T, n2, s2)
    del g, n2
    flat = out.reshape(-1, width)
    grads["o"] = mixed.T @ flat
    g = cut((flat @ params["o"].T).reshape(x.shape))
    del mixed
    gv = np.swapaxes(p, -1, -2) @ g
    gp = g @ np.swapaxes(v, -1, -2)
    gp -= np.sum(gp * p, axis=-1, keepdims=True)
    gp *= p
    gp *= f(1 / np.sqrt(each))
    flat1 = n1.reshape(-1, width)
    grads["q"] = flat1.T @ join(gp @ k)
    grads["k"] = flat1.T @ join(np.swapaxes(gp, -1, -2) @ q)
    grads["v"] = flat1.T @ join(gv)
    return grads


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
        return f, args

    # tiny inputs first: code, caches and the BLAS are there before anything is measured
    f, args = arguments(min(size, 0.01))
    run = f if side == "functrans" else BY_HAND[name]
    run(*args)
    f, args = arguments(size)
    run = f if side == "functrans" else BY_HAND[name]
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
