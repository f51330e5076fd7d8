"""Whole models: one training step (or one sampling step) of each, beside other libraries.

    python benchmarks/models.py                                   # with what is installed here
    python benchmarks/models.py --peer jax=path/to/python         # with other interpreters
    python benchmarks/models.py --only mlp_step lstm_step
    python benchmarks/models.py --smoke

Measured like ``compare.py``, whose options it has: the libraries take turns, ratios are to functrans.
A step is everything that training does to its parameters: loss, gradient and update, compiled
together where the library compiles.
"""

from __future__ import annotations

import itertools
import math
import sys

import numpy
from compare import run
from workloads import arrays, bound, scaled

FUNCTIONS = MODELS = {}
LOOP = "a Python loop in this library: about a second a call"
SKIP = {(model, library): LOOP for model in ("lstm_step", "gru_step", "hmc_leapfrog")
        for library in ("torch", "torch_compile", "autograd")}


def model(function):
    MODELS[function.__name__] = function
    return function


def descent(b, loss, rate):
    """``(params, *batch) -> new params``, params a tuple of arrays."""
    gradient = b.grad(loss)

    def step(params, *batch):
        return tuple([p - rate * g for p, g in zip(params, gradient(params, *batch), strict=True)])
    return b.jit(step)


def cross_entropy(np, z, y):
    """Of rows of scores with one-hot labels."""
    z = z - np.max(z, axis=-1, keepdims=True)
    return -np.mean(np.sum(y * (z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))), axis=-1))


def one_hot(b, rows, classes, dtype):
    labels = numpy.random.default_rng(7).integers(classes, size=rows)
    return b.array(numpy.eye(classes, dtype=dtype)[labels])


@model
def mlp_step(b, size):
    """784-512-256-10, batch 128, float32, plain gradient descent."""
    widths, batch = (scaled(784, size), scaled(512, size), scaled(256, size), 10), scaled(128, size)
    shapes = [s for m, n in itertools.pairwise(widths) for s in ((m, n), (n,))]
    params = tuple(arrays(b, "float32", *shapes, scale=0.05))
    (x,) = arrays(b, "float32", (batch, widths[0]), seed=1)
    np = b.np

    def loss(params, x, y):
        for w, bias in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = np.tanh(x @ w + bias)
        return cross_entropy(np, x @ params[-2] + params[-1], y)

    return bound(b, descent(b, loss, 0.1), params, x, one_hot(b, batch, 10, "float32"))


@model
def logistic_step(b, size):
    """Logistic regression on 20,000 rows of 50 features, float64."""
    rows, np = scaled(20_000, size), b.np
    x, w = arrays(b, "float64", (rows, 50), (50,))
    y = b.array(numpy.sign(numpy.random.default_rng(2).normal(size=rows)))

    def loss(params, x, y):
        (w,) = params
        return np.mean(np.log(1 + np.exp(-y * (x @ w)))) + 1e-3 * np.sum(w * w)

    return bound(b, descent(b, loss, 0.5), (w,), x, y)


@model
def transformer_step(b, size):
    """Two blocks of width 128, four heads, on 8 sequences of 64, float32."""
    np = b.np
    batch, length, width, heads = scaled(8, size, 1), scaled(64, size, 8), 128, 4
    each = width // heads

    def norm(x):
        x = x - np.mean(x, axis=-1, keepdims=True)
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5)

    def cut(x):
        return np.transpose(np.reshape(x, (batch, length, heads, each)), (0, 2, 1, 3))

    def block(x, wq, wk, wv, wo, up, down):
        h = norm(x)
        q, k, v = cut(h @ wq), cut(h @ wk), cut(h @ wv)
        scores = (q @ np.swapaxes(k, -1, -2)) * (1 / math.sqrt(each))
        scores = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        h = (scores / np.sum(scores, axis=-1, keepdims=True)) @ v
        x = x + np.reshape(np.transpose(h, (0, 2, 1, 3)), (batch, length, width)) @ wo
        h = norm(x) @ up
        return x + (h * (1 / (1 + np.exp(-1.702 * h)))) @ down

    def loss(params, x, target):
        for k in range(0, len(params), 6):
            x = block(x, *params[k:k + 6])
        return np.mean((norm(x) - target) ** 2)

    shapes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    params = tuple(arrays(b, "float32", *shapes * 2, scale=0.05))
    x, target = arrays(b, "float32", *[(batch, length, width)] * 2, seed=1)
    return bound(b, descent(b, loss, 0.01), params, x, target)


def sigmoid(np, x):
    return 1 / (1 + np.exp(-x))


def recurrent(b, size, cell, gates, states):
    """Training step of a recurrent network: 100 steps, batch 16, width 64, float64."""
    np, steps, batch, width = b.np, scaled(100, size), 16, 64
    w, u, bias = arrays(b, "float64", (width, gates * width), (width, gates * width), (gates * width,),
                        scale=0.1)
    (xs,) = arrays(b, "float64", (steps, batch, width), seed=1)
    start = tuple([b.array(numpy.zeros((batch, width))) for _ in range(states)])

    def loss(params, xs):
        def step(state, x):
            state = cell(np, params, state, x, width)
            return state, state[0]
        _, hs = b.scan(step, start, xs)
        return np.mean(hs * hs)

    return bound(b, descent(b, loss, 0.1), (w, u, bias), xs)


@model
def lstm_step(b, size):
    """An LSTM over 100 steps, batch 16, width 64, float64."""
    def cell(np, params, state, x, n):
        w, u, bias = params
        h, c = state
        z = x @ w + h @ u + bias
        i, f, o = sigmoid(np, z[:, :n]), sigmoid(np, z[:, n:2 * n]), sigmoid(np, z[:, 2 * n:3 * n])
        c = f * c + i * np.tanh(z[:, 3 * n:])
        return o * np.tanh(c), c
    return recurrent(b, size, cell, 4, 2)


@model
def gru_step(b, size):
    """A GRU over 100 steps, batch 16, width 64, float64."""
    def cell(np, params, state, x, n):
        w, u, bias = params
        (h,) = state
        a, c = x @ w + bias, h @ u
        r, z = sigmoid(np, a[:, :n] + c[:, :n]), sigmoid(np, a[:, n:2 * n] + c[:, n:2 * n])
        return ((1 - z) * np.tanh(a[:, 2 * n:] + r * c[:, 2 * n:]) + z * h,)
    return recurrent(b, size, cell, 3, 1)


@model
def hmc_leapfrog(b, size):
    """Hamiltonian Monte Carlo: 20 leapfrog steps on a logistic posterior, 2,000 rows of 20, float64."""
    np, rows, dims, steps, eps = b.np, scaled(2_000, size), 20, scaled(20, size), 0.01
    x, q, p = arrays(b, "float64", (rows, dims), (dims,), (dims,))
    y = b.array(numpy.sign(numpy.random.default_rng(3).normal(size=rows)))

    def energy(q, x, y):
        return np.sum(np.log(1 + np.exp(-y * (x @ q)))) + 0.5 * np.sum(q * q)

    gradient = b.grad(energy)

    def trajectory(q, p, x, y):
        def step(state, _):
            q, p = state
            p = p - 0.5 * eps * gradient(q, x, y)
            q = q + eps * p
            return (q, p - 0.5 * eps * gradient(q, x, y)), None
        (q, p), _ = b.scan(step, (q, p), None, length=steps)
        return q, p

    return bound(b, b.jit(trajectory), q, p, x, y)


if __name__ == "__main__":
    sys.exit(run(MODELS, SKIP, {"mlp_step", "transformer_step"}, __doc__, "models"))
