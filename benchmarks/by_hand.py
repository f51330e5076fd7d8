"""Gradients of the workloads by formulas that a person derived, in NumPy and frugal.

They use ``out=`` and in-place operators wherever a value is not needed again; ``memory.py`` reads them.
Keys of ``BY_HAND`` are names of workloads; each function takes the workload's inputs and returns its result;
one that has a parameter ``size`` gets the workload's size as well.
"""

from __future__ import annotations

import numpy as np
from scipy import special

BY_HAND = {}


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
def stencil_1d_f64(u, load):
    """Each term of the energy in place; the rolled fields by slices, as np.roll would copy."""
    g = load.copy()
    slope, t = np.empty_like(u), np.empty_like(u)
    for axis in range(u.ndim):
        _shifted(u, -1, axis, np.copyto, slope)
        slope -= u
        np.multiply(u, slope, out=t)
        t *= slope
        t *= 0.1
        g += t
        np.multiply(u, u, out=t)
        t *= 0.1
        t += 1
        t *= slope
        g -= t
        _shifted(t, 1, axis, np.add, g)
    bend = slope
    np.multiply(u, -2 * u.ndim, out=bend)
    for axis in range(u.ndim):
        _shifted(u, 1, axis, np.add, bend)
        _shifted(u, -1, axis, np.add, bend)
    bend *= 0.02
    np.multiply(bend, 2 * u.ndim, out=t)
    g -= t
    for axis in range(u.ndim):
        _shifted(bend, 1, axis, np.add, g)
        _shifted(bend, -1, axis, np.add, g)
    return g


def _shifted(x, by, axis, f, out):
    """``f`` of ``out`` and x rolled by 1 or -1, into ``out``, without a copy of x."""
    x, out = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    parts = ((slice(1, None), slice(None, -1)), (slice(0, 1), slice(-1, None)))
    for to, source in parts if by == 1 else [(b, a) for a, b in parts]:
        if f is np.copyto:
            out[to] = x[source]
        else:
            f(out[to], x[source], out=out[to])


BY_HAND["stencil_2d_f64"] = BY_HAND["stencil_2d_f32"] = stencil_1d_f64


@by_hand
def mixed_dtypes(inputs, counts, valid):
    signal, weights = inputs
    n = len(counts)
    level = np.log1p(counts, dtype=np.float64)
    part = np.clip(weights, -1.5, 1.5)
    part *= level
    part *= signal
    np.multiply(weights, 0.1, out=part, where=~valid)
    np.minimum(part, 1, out=part)                   # the slope is 2 above 1, 2 part below
    part *= 2 / n
    by_signal = np.clip(weights, -1.5, 1.5)
    by_signal *= level
    by_signal *= part
    by_signal *= valid
    level *= signal
    level *= part
    level *= np.abs(weights) <= 1.5
    np.multiply(part, 0.1, out=level, where=~valid)
    return by_signal.astype(np.float32), level


def n_body(x, mass):
    """One coordinate at a time: two matrices of n by n."""
    squares, d = np.full((len(x), len(x)), 0.01, x.dtype), np.empty((len(x), len(x)), x.dtype)
    for k in range(3):
        np.subtract(x[:, None, k], x[None, :, k], out=d)
        d *= d
        squares += d
    np.sqrt(squares, out=d)
    squares *= d
    np.reciprocal(squares, out=squares)
    squares *= mass[:, None]
    squares *= mass
    out = np.empty_like(x)
    for k in range(3):
        np.subtract(x[:, None, k], x[None, :, k], out=d)
        d *= squares
        np.sum(d, axis=1, out=out[:, k])
    return out


BY_HAND["n_body_f64"] = BY_HAND["n_body_f32"] = n_body


@by_hand
def embedding(table, weights, index):
    rows = table[index]
    rows *= weights
    t = np.tanh(np.sum(rows, axis=1))
    t *= t
    np.subtract(1, t, out=t)
    t /= len(index)
    np.multiply(weights, t[:, None], out=rows)
    out = np.zeros_like(table)
    np.add.at(out, index, rows)
    return out


@by_hand
def jac_dense(x):
    a = np.random.default_rng(0).normal(size=(100, 50))     # what the workload's function captures
    a *= 0.2
    y = np.tanh(a @ x)
    return a * (1 - y * y)[:, None]


@by_hand
def ode_scan(start, size):
    """Reverse mode through Runge-Kutta: the states are kept, the slopes computed again."""
    steps, dt = max(int(10_000 * size), 2), 1e-3

    def slope(s):
        x, y, z = s
        return np.array([10.0 * (y - x), x * (28.0 - z) - y, x * y - (8.0 / 3.0) * z])

    def pull(s, g):
        x, y, z = s
        a, b, c = g
        return np.array([-10.0 * a + (28.0 - z) * b + y * c, 10.0 * a - b + x * c, -x * b - (8.0 / 3.0) * c])

    states = np.empty((steps, 3))
    s = start
    for i in range(steps):
        states[i] = s
        k1 = slope(s)
        k2 = slope(s + 0.5 * dt * k1)
        k3 = slope(s + 0.5 * dt * k2)
        k4 = slope(s + dt * k3)
        s = s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    g = np.ones(3)
    for s in states[::-1]:
        s2 = s + 0.5 * dt * slope(s)
        s3 = s + 0.5 * dt * slope(s2)
        s4 = s + dt * slope(s3)
        g4 = pull(s4, dt / 6 * g)
        g3 = pull(s3, dt / 3 * g + dt * g4)
        g2 = pull(s2, dt / 3 * g + 0.5 * dt * g3)
        g1 = pull(s, dt / 6 * g + 0.5 * dt * g2)
        g = g + g1 + g2 + g3 + g4
    return g


@by_hand
def gmm(p, x):
    """The responsibilities and one (n, k, d) array at a time."""
    k, d = p["means"].shape
    n = len(x)
    rows, columns = np.tril_indices(d, -1)
    order = np.lexsort((rows, columns))
    rows, columns = rows[order], columns[order]
    triangle = np.zeros((k, d, d))
    triangle[:, rows, columns] = p["lower"]
    diagonal = np.exp(p["logs"])
    full = triangle.copy()
    full[:, np.arange(d), np.arange(d)] = diagonal
    centred = x[:, None, :] - p["means"]
    moved = np.empty_like(centred)
    for j in range(k):
        np.matmul(centred[:, j], full[j].T, out=moved[:, j])
    r = np.einsum("nki,nki->nk", moved, moved)
    r *= -0.5
    r += p["alphas"] + np.sum(p["logs"], axis=1)
    r -= np.max(r, axis=1, keepdims=True)
    np.exp(r, out=r)
    r /= np.sum(r, axis=1, keepdims=True)
    share = np.exp(p["alphas"] - np.max(p["alphas"]))
    share /= np.sum(share)
    total = np.sum(r, axis=0)
    moved *= r[:, :, None]                          # minus the cotangent of moved
    outer = np.empty((k, d, d))
    for j in range(k):
        np.matmul(moved[:, j].T, centred[:, j], out=outer[j])
    means = np.einsum("kij,ki->kj", full, np.sum(moved, axis=0))
    logs = total[:, None] - np.einsum("kii->ki", outer) * diagonal + diagonal * diagonal
    return {"alphas": total - n * share, "logs": logs,
            "lower": p["lower"] - outer[:, rows, columns], "means": means}


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
