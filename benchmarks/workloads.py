"""The functions that ``compare.py`` times, written once for all libraries.

Each workload is ``f(b, size) -> call``: it makes its inputs (the same for every library: seeded
NumPy), builds the transformed function with the library ``b`` (see backends.py), and returns a
function of no arguments that computes the gradient once. ``size`` is 1.0, or small in smoke mode.
"""

from __future__ import annotations

import itertools
import math

import numpy

FUNCTIONS = WORKLOADS = {}
SKIP = {}               # (workload, library) -> why it is left out


def workload(function=None, **skip):
    def register(f):
        WORKLOADS[f.__name__] = f
        SKIP.update({(f.__name__, library): why for library, why in skip.items()})
        return f
    return register if function is None else register(function)


def scaled(n: int, size: float, least: int = 2) -> int:
    return max(int(n * size), least)


def bound(b, f, *args):
    return lambda: f(*args)


def arrays(b, dtype, *shapes, seed=0, scale=1.0):
    """Normal random arrays in the library's type."""
    rng = numpy.random.default_rng(seed)
    return [b.array((scale * rng.normal(size=s)).astype(dtype)) for s in shapes]


# ----- scalars ------------------------------------------------------------------------------------


def _scalar(b):
    np = b.np
    return lambda x: np.sin(x) * x**2 + np.exp(-x)


@workload
def scalar_grad(b, size):
    return bound(b, b.jit(b.grad(_scalar(b))), b.number(1.3))


@workload
def scalar_grad_eager(b, size):
    return bound(b, b.grad(_scalar(b)), b.number(1.3))


@workload
def scalar_grad3(b, size):
    f = b.nested_grad(b.nested_grad(b.nested_grad(_scalar(b))))
    return bound(b, b.jit(f), b.number(1.3))


# ----- perceptrons ----------------------------------------------------------------------------------


def _mlp(b, widths, batch, dtype):
    """Cross-entropy of a tanh network, its parameters, and a batch; labels are one-hot."""
    np = b.np

    def loss(params, x, y):
        for w, bias in params[:-1]:
            x = np.tanh(x @ w + bias)
        w, bias = params[-1]
        z = x @ w + bias
        z = z - np.max(z, axis=-1, keepdims=True)
        return -np.mean(np.sum(y * (z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))), axis=-1))

    rng = numpy.random.default_rng(0)
    params = [(b.array((rng.normal(size=(m, n)) / math.sqrt(m)).astype(dtype)),
               b.array(numpy.zeros(n, dtype))) for m, n in itertools.pairwise(widths)]
    x = b.array(rng.normal(size=(batch, widths[0])).astype(dtype))
    y = b.array(numpy.eye(widths[-1], dtype=dtype)[rng.integers(widths[-1], size=batch)])
    return loss, params, x, y


@workload
def mlp_small(b, size):
    loss, *inputs = _mlp(b, (64, 128, 10), 32, "float64")
    return bound(b, b.jit(b.grad(loss)), *inputs)


@workload
def mlp_small_eager(b, size):
    loss, *inputs = _mlp(b, (64, 128, 10), 32, "float64")
    return bound(b, b.grad(loss), *inputs)


@workload
def mlp_large(b, size):
    hidden = scaled(1024, size)
    loss, *inputs = _mlp(b, (784, hidden, hidden, 10), scaled(256, size), "float32")
    return bound(b, b.jit(b.grad(loss)), *inputs)


@workload(autograd="it has no vmap")
def per_example_grads(b, size):
    loss, *inputs = _mlp(b, (64, 128, 10), 128, "float64")
    return bound(b, b.jit(b.vmap(b.nested_grad(loss), (None, 0, 0))), *inputs)


# ----- memory-bound elementwise work -------------------------------------------------------------------


def _black_scholes(b, size, dtype):
    np, erf = b.np, b.erf
    n = scaled(1_000_000, size)
    rng = numpy.random.default_rng(0)
    spot, strike, years, volatility = [
        b.array(rng.uniform(low, high, n).astype(dtype))
        for low, high in ((80, 120), (90, 110), (0.2, 2.0), (0.1, 0.5))]

    def price(inputs, strike):
        spot, years, volatility = inputs
        spread = volatility * np.sqrt(years)
        d1 = (np.log(spot / strike) + (0.02 + 0.5 * volatility * volatility) * years) / spread
        d2 = d1 - spread
        normal1, normal2 = (0.5 * (1 + erf(d * math.sqrt(0.5))) for d in (d1, d2))
        return np.sum(spot * normal1 - strike * np.exp(-0.02 * years) * normal2)

    return bound(b, b.jit(b.grad(price)), (spot, years, volatility), strike)


@workload
def black_scholes_f64(b, size):
    return _black_scholes(b, size, "float64")


@workload
def black_scholes_f32(b, size):
    return _black_scholes(b, size, "float32")


@workload
def axpy_chain(b, size):
    x, y = arrays(b, "float64", *[(scaled(10_000_000, size),)] * 2)
    return bound(b, b.jit(b.grad(lambda x, y: b.np.sum((1.7 * x + y)**2))), x, y)


@workload
def softmax_xent(b, size):
    rows, classes = scaled(4096, size), scaled(1000, size)
    (z,) = arrays(b, "float32", (rows, classes))
    labels = b.index(numpy.random.default_rng(1).integers(classes, size=rows))
    return bound(b, b.jit(b.grad(b.cross_entropy)), z, labels)


@workload(autograd="it has no such function")
def softmax_xent_nn(b, size):
    """The same by the library's own function."""
    rows, classes = scaled(4096, size), scaled(1000, size)
    (z,) = arrays(b, "float32", (rows, classes))
    labels = b.index(numpy.random.default_rng(1).integers(classes, size=rows))
    return bound(b, b.jit(b.grad(b.own_cross_entropy)), z, labels)


# ----- shifts, mixed types, broadcasting, indices -------------------------------------------------------


def _diffusion(b, size, dtype, ndim):
    """Energy of a field with a conductivity that depends on it, on a periodic grid."""
    np = b.np
    n = scaled(1_000_000, size, 16) if ndim == 1 else scaled(1000, math.sqrt(size), 4)
    u, load = arrays(b, dtype, *[(n,) * ndim] * 2)

    def energy(u, load):
        total = np.sum(load * u)
        for axis in range(ndim):
            slope = np.roll(u, -1, axis) - u
            total = total + 0.5 * np.sum((1 + 0.1 * u * u) * slope * slope)
        bend = sum(np.roll(u, 1, axis) + np.roll(u, -1, axis) - 2 * u for axis in range(ndim))
        return total + 0.01 * np.sum(bend * bend)

    return bound(b, b.jit(b.grad(energy)), u, load)


@workload
def stencil_1d_f64(b, size):
    return _diffusion(b, size, "float64", 1)


@workload
def stencil_2d_f64(b, size):
    return _diffusion(b, size, "float64", 2)


@workload
def stencil_2d_f32(b, size):
    return _diffusion(b, size, "float32", 2)


@workload
def mixed_dtypes(b, size):
    """Features of float32, int32 and bool beside float64 weights: log1p, clip, where."""
    np, n = b.np, scaled(1_000_000, size)
    rng = numpy.random.default_rng(0)
    counts = b.array(rng.integers(0, 100, n).astype("int32"))
    valid = b.array(rng.random(n) < 0.8)
    signal, weights = arrays(b, "float32", (n,)) + arrays(b, "float64", (n,), seed=1)

    def loss(inputs, counts, valid):
        signal, weights = inputs
        level = np.log1p(b.cast(counts, "float64")) * np.clip(weights, -1.5, 1.5)
        part = np.where(valid, level * signal, 0.1 * weights)
        return np.sum(np.where(part > 1.0, 2 * part - 1, part * part)) / n

    return bound(b, b.jit(b.grad(loss)), (signal, weights), counts, valid)


def _n_body(b, size, dtype):
    """Gravitational energy of softened bodies, by pairwise differences."""
    np, n = b.np, scaled(1000, math.sqrt(size))
    (x,) = arrays(b, dtype, (n, 3))
    mass = b.array(numpy.random.default_rng(1).uniform(0.5, 1.5, n).astype(dtype))

    def energy(x, mass):
        apart = x[:, None, :] - x[None, :, :]
        squares = np.sum(apart * apart, axis=-1) + 0.01
        return -0.5 * np.sum(mass[:, None] * mass[None, :] / np.sqrt(squares))

    return bound(b, b.jit(b.grad(energy)), x, mass)


@workload
def n_body_f64(b, size):
    return _n_body(b, size, "float64")


@workload
def n_body_f32(b, size):
    return _n_body(b, size, "float32")


@workload
def embedding(b, size):
    """Rows of a table by index, their score, and the table's gradient, by scatter-add."""
    np, rows, n, width = b.np, scaled(50_000, size), scaled(20_000, size), 64
    table, weights = arrays(b, "float32", (rows, width), (n, width), scale=0.3)
    index = b.index(numpy.random.default_rng(2).integers(rows, size=n))

    def loss(table, weights, index):
        return np.mean(np.tanh(np.sum(table[index] * weights, axis=1)))

    return bound(b, b.jit(b.grad(loss)), table, weights, index)


# ----- second derivatives and Jacobians ------------------------------------------------------------------


@workload
def logreg_hvp(b, size):
    np, rows = b.np, scaled(100_000, size)
    x, w, v = arrays(b, "float64", (rows, 100), (100,), (100,), scale=0.1)
    y = b.array(numpy.sign(numpy.random.default_rng(2).normal(size=rows)))

    def run(w, v, x, y):
        return b.hvp(lambda w: np.mean(np.log(1 + np.exp(-y * (x @ w)))))(w, v)

    return bound(b, b.jit(run), w, v, x, y)


@workload
def rosenbrock_hessian(b, size):
    (x,) = arrays(b, "float64", (scaled(200, size),))

    def rosenbrock(x):
        return b.np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)

    return bound(b, b.jit(b.hessian(rosenbrock)), x)


@workload
def jac_dense(b, size):
    a, x = arrays(b, "float64", (100, 50), (50,), scale=0.2)
    return bound(b, b.jit(b.jacfwd(lambda x: b.np.tanh(a @ x))), x)


# ----- loops -----------------------------------------------------------------------------------------


@workload
def rnn_scan(b, size):
    np, steps, batch, width = b.np, scaled(500, size), 16, 64
    w, u, xs = arrays(b, "float64", (width, width), (width, width), (steps, batch, width), scale=0.1)
    start = b.array(numpy.zeros((batch, width)))

    def loss(weights, xs):
        w, u = weights

        def step(h, x):
            h = np.tanh(h @ w + x @ u)
            return h, None
        h, _ = b.scan(step, start, xs)
        return np.sum(h * h)

    return bound(b, b.jit(b.grad(loss)), (w, u), xs)


@workload(autograd="a Python loop: about 40 s a call", torch="a Python loop: several seconds a call")
def ode_scan(b, size):
    """Lorenz's equations by Runge-Kutta: gradient of the final state's sum."""
    np, steps, dt = b.np, scaled(10_000, size), 1e-3

    def slope(s):
        x, y, z = s[0], s[1], s[2]
        return np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - (8.0 / 3.0) * z])

    def step(s, _):
        k1 = slope(s)
        k2 = slope(s + 0.5 * dt * k1)
        k3 = slope(s + 0.5 * dt * k2)
        k4 = slope(s + dt * k3)
        return s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    def final(s):
        return np.sum(b.scan(step, s, None, length=steps)[0])

    return bound(b, b.jit(b.grad(final)), b.array(numpy.array([1.0, 2.0, 3.0])))


# ----- models ----------------------------------------------------------------------------------------


@workload
def attention_block(b, size):
    """Layer norm, four heads of attention, layer norm, a GELU network, both with residuals; f32."""
    np = b.np
    batch, length, width, heads = scaled(8, size, 1), scaled(128, size, 8), 128, 4
    each = width // heads

    def norm(x):
        x = x - np.mean(x, axis=-1, keepdims=True)
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5)

    def split(x):
        return np.transpose(np.reshape(x, (batch, length, heads, each)), (0, 2, 1, 3))

    def loss(params, x):
        h = norm(x)
        q, k, v = (split(h @ params[name]) for name in ("q", "k", "v"))
        scores = (q @ np.swapaxes(k, -1, -2)) * (1 / math.sqrt(each))
        scores = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        h = (scores / np.sum(scores, axis=-1, keepdims=True)) @ v
        x = x + np.reshape(np.transpose(h, (0, 2, 1, 3)), (batch, length, width)) @ params["o"]
        h = norm(x) @ params["up"]
        h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h * h * h)))
        return np.mean((x + h @ params["down"])**2)

    shapes = {"q": (width, width), "k": (width, width), "v": (width, width), "o": (width, width),
              "up": (width, 4 * width), "down": (4 * width, width)}
    params = dict(zip(shapes, arrays(b, "float32", *shapes.values(), scale=0.05), strict=True))
    (x,) = arrays(b, "float32", (batch, length, width), seed=1)
    return bound(b, b.jit(b.grad(loss)), params, x)


def _attention(b, shape, causal):
    """Gradients of the library's own attention: ``[batch, heads, length, width]``, f32."""
    q, k, v, weight = arrays(b, "float32", *[shape] * 4)
    return bound(b, b.jit(b.grad(lambda qkv: b.np.sum(b.attention(*qkv, causal) * weight))), (q, k, v))


@workload(autograd="it has no such function")
def attention_short(b, size):
    return _attention(b, (8, 8, scaled(128, size), 128), False)


@workload(autograd="it has no such function")
def attention_long(b, size):
    return _attention(b, (4, scaled(8, size, 1), scaled(1024, size), 64), False)


@workload(autograd="it has no such function")
def attention_long_causal(b, size):
    return _attention(b, (4, scaled(8, size, 1), scaled(1024, size), 64), True)


def _conv(b, size, shape, filters, stride, padding):
    """Both gradients of a convolution; 64 images, f32."""
    x, w = arrays(b, "float32", (scaled(64, size), *shape), filters)
    return bound(b, b.jit(b.grad(lambda xw: b.np.sum(b.conv(*xw, stride, padding)**2))), (x, w))


@workload(autograd="it has no convolution")
def conv_3x3(b, size):
    return _conv(b, size, (64, 56, 56), (64, 64, 3, 3), 1, 1)


@workload(autograd="it has no convolution")
def conv_3x3_strided(b, size):
    return _conv(b, size, (64, 56, 56), (128, 64, 3, 3), 2, 1)


@workload(autograd="it has no convolution")
def lenet(b, size):
    """Two convolutions 5 x 5 with tanh and pooling, three dense layers; 64 images 28 x 28, f32."""
    np, batch = b.np, scaled(64, size)

    def loss(params, x, labels):
        for w, bias in params[:2]:
            x = b.max_pool(np.tanh(b.conv(x, w) + bias))
        x = np.reshape(x, (batch, -1))
        for w, bias in params[2:4]:
            x = np.tanh(x @ w + bias)
        w, bias = params[4]
        return b.cross_entropy(x @ w + bias, labels)

    shapes = [(6, 1, 5, 5), (16, 6, 5, 5), (256, 120), (120, 84), (84, 10)]
    biases = [(6, 1, 1), (16, 1, 1), (120,), (84,), (10,)]
    params = list(zip(arrays(b, "float32", *shapes, scale=0.1), arrays(b, "float32", *biases, scale=0.1),
                      strict=True))
    rng = numpy.random.default_rng(1)
    x = b.array(rng.normal(size=(batch, 1, 28, 28)).astype("float32"))
    return bound(b, b.jit(b.grad(loss)), params, x, b.index(rng.integers(10, size=batch)))


@workload
def gmm(b, size):
    """Log-posterior of a Gaussian mixture with full covariances (ADBench's: d=10, K=25, n=1000)."""
    np, d, k, n = b.np, 10, 25, scaled(1000, size)
    rng = numpy.random.default_rng(0)
    params = {"alphas": rng.normal(size=k), "means": rng.uniform(size=(k, d)),
              "logs": rng.normal(size=(k, d)), "lower": rng.normal(size=(k, d * (d - 1) // 2))}
    params = {name: b.array(x) for name, x in params.items()}
    x = b.array(rng.normal(size=(n, d)))
    # the strictly lower triangles, filled column by column from a vector
    place = numpy.zeros((d, d), int)
    rows, columns = numpy.tril_indices(d, -1)
    order = numpy.lexsort((rows, columns))
    place[rows[order], columns[order]] = numpy.arange(len(rows))
    place, mask = b.index(place), b.array(numpy.tril(numpy.ones((d, d)), -1))
    gamma, m = 1.0, 0
    freedom = d + m + 1
    wishart = k * (freedom * d * (math.log(gamma) - 0.5 * math.log(2))
                   - (0.25 * d * (d - 1) * math.log(math.pi)
                      + sum(math.lgamma(0.5 * (freedom - j)) for j in range(d))))

    def logsumexp(x):
        top = np.max(x, axis=-1, keepdims=True)
        return np.sum(top, axis=-1) + np.log(np.sum(np.exp(x - top), axis=-1))

    def objective(p, x):
        diagonal = np.exp(p["logs"])
        triangle = p["lower"][:, place] * mask
        centred = x[:, None, :] - p["means"]
        moved = diagonal * centred + np.einsum("kij,nkj->nki", triangle, centred)
        log_det = np.sum(p["logs"], axis=1)
        inner = p["alphas"] + log_det - 0.5 * np.sum(moved**2, axis=2)
        size = np.sum(diagonal**2) + np.sum(triangle**2)
        return (-n * d * 0.5 * math.log(2 * math.pi) + np.sum(logsumexp(inner))
                - n * logsumexp(p["alphas"]) + 0.5 * gamma**2 * size - m * np.sum(log_det) - wishart)

    return bound(b, b.jit(b.grad(objective)), params, x)
