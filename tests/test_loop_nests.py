"""Random nests of loops and branches: lax against the same nest in Python, in every mode."""

import numpy as np
import pytest

from functrans import checkpoint, errors, grad, jacfwd, jit, jvp, lax, vjp, vmap


class Native:
    """Control flow of lax."""

    @staticmethod
    def scan(f, c, xs, reverse):
        return lax.scan(f, c, xs, reverse=reverse)

    @staticmethod
    def until(cond, body, state):
        return lax.while_loop(cond, body, state)

    @staticmethod
    def times(n, body, state):
        return jit(lambda n, s: lax.fori_loop(0, n, body, s))(n, state)

    @staticmethod
    def choose(i, branches, x):
        return lax.switch(i, branches, x)

    @staticmethod
    def either(p, yes, no, x):
        return lax.cond(p, yes, no, x)

    @staticmethod
    def each(f, xs):
        return lax.map(f, xs)


class Python:
    """The same by Python's loops, which are unrolled while they are traced."""

    @staticmethod
    def scan(f, c, xs, reverse):
        ys = [None] * len(xs)
        for i in reversed(range(len(xs))) if reverse else range(len(xs)):
            c, ys[i] = f(c, xs[i])
        return c, np.stack(ys)

    @staticmethod
    def until(cond, body, state):
        while cond(state):
            state = body(state)
        return state

    @staticmethod
    def times(n, body, state):
        for i in range(n):
            state = body(i, state)
        return state

    @staticmethod
    def choose(i, branches, x):
        return branches[min(max(int(i), 0), len(branches) - 1)](x)

    @staticmethod
    def either(p, yes, no, x):
        return yes(x) if p else no(x)

    @staticmethod
    def each(f, xs):
        return np.stack([f(x) for x in xs])


XS = np.array([0.3, -0.4, 0.9])


def nest(rng, depth):
    """``(flow, y, p) -> y`` of shape (2,): a random nest; p is closed over at every level."""
    if depth == 0:
        k = rng.integers(4)
        return [lambda flow, y, p: np.sin(y) * p + 0.2, lambda flow, y, p: y * 0.7 - np.cos(p) * y[::-1],
                lambda flow, y, p: np.tanh(y + p), lambda flow, y, p: y / (1.0 + p * p) + 0.1][k]
    f, g = nest(rng, depth - 1), nest(rng, depth - 1)
    kind, n, limit = rng.integers(6), int(rng.integers(1, 4)), rng.uniform(0.3, 2.0)
    if kind == 0:
        def run(flow, y, p):
            c, ys = flow.scan(lambda c, x: (f(flow, c + x, p), g(flow, c * x, p)), y, XS, n == 1)
            return c + ys[0] * ys[2]
    elif kind == 1:
        def run(flow, y, p):
            return flow.until(lambda s: (s[1] < 4) & (np.sum(s[0] * s[0]) < limit),
                              lambda s: (f(flow, s[0], p) + 0.1, s[1] + 1), (y, 0))[0] + p
    elif kind == 2:
        def run(flow, y, p):
            return flow.times(n, lambda i, c: f(flow, c, p) + 0.1 * i, y)
    elif kind == 3:
        def run(flow, y, p):
            return flow.either(np.sum(y) > 0.4, lambda v: f(flow, v, p), lambda v: g(flow, v * p, p), y)
    elif kind == 4:
        def run(flow, y, p):
            k = np.sign(y[0] - 0.2).astype(int) + 1
            return flow.choose(k, [lambda v: f(flow, v, p), lambda v: v, lambda v: g(flow, v, p)], y)
    else:
        def run(flow, y, p):
            return np.sum(flow.each(lambda x: f(flow, y * x, p), XS), axis=0)
    return run


@pytest.mark.parametrize("seed", range(14))
def test_random_nest(seed):
    rng = np.random.default_rng(seed)
    run = nest(rng, 2 + seed % 2)
    y, ps = rng.uniform(-1, 1, 2), rng.uniform(0.2, 1.2, 3)

    def native(p):
        return np.sum(run(Native, y * p, p))

    def python(p):
        return np.sum(run(Python, y * p, p))
    want = [python(p) for p in ps]
    slope = [grad(python)(p) for p in ps]
    bend = [grad(grad(python))(p) for p in ps]
    for p, v, d in zip(ps, want, slope, strict=True):
        for got in (native(p), jit(native)(p), vjp(native, p)[0]):
            np.testing.assert_allclose(got, v, rtol=1e-12)
        for got in (grad(native)(p), jvp(native, (p,), (1.0,))[1], vjp(native, p)[1](1.0)[0]):
            np.testing.assert_allclose(got, d, rtol=1e-10, atol=1e-13)
    p = ps[0]
    for got in (jit(grad(native))(p), grad(jit(native))(p), grad(checkpoint(native))(p), jacfwd(native)(p)):
        np.testing.assert_allclose(got, slope[0], rtol=1e-10, atol=1e-13)
    for got in (vmap(grad(native))(ps), grad(lambda v: np.sum(vmap(native)(v)))(ps)):
        np.testing.assert_allclose(got, slope, rtol=1e-10, atol=1e-13)
    for got in (grad(grad(native))(p), jacfwd(grad(native))(p), grad(jacfwd(native))(p)):
        np.testing.assert_allclose(got, bend[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(vmap(grad(grad(native)))(ps), bend, rtol=1e-9, atol=1e-12)


# ----- map in batches, lines in errors ------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 4, 5, 7, 8])
def test_map_in_batches(n):
    xs = {"a": np.linspace(0, 1, n), "b": np.ones((n, 2))}

    def f(x):
        return np.sin(x["a"]) * x["b"], x["a"] > 0.5
    want = lax.map(f, xs)
    for size in (1, 4, 7, 100):
        def batches(v, size=size):
            return lax.map(f, v, batch_size=size)
        for call in (batches, jit(batches)):
            for a, b in zip(call(xs), want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-14)
                assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            grad(lambda a, s=size: np.sum(lax.map(lambda x: np.sin(x) ** 2, a, batch_size=s)))(xs["a"]),
            np.sin(2 * xs["a"]), rtol=1e-12)
    for size in (0, -1, 1.5):
        with pytest.raises(ValueError, match="map: batch_size must be a positive integer"):
            lax.map(f, xs, batch_size=size)


def here(text):
    with open(__file__, encoding="utf-8") as f:
        return next(i for i, line in enumerate(f, 1) if line.rstrip().endswith("# " + text))


def test_errors_name_the_line_of_the_body():
    def grows(c, x):
        d = {"a": c["a"] * 2}
        d["b"] = np.stack([c["b"], x])  # GROWS
        return d, None
    start = {"a": 1.0, "b": 0.0}
    with pytest.raises(errors.CarryTypeError, match=r"carry\['b'\] starts as f64\[\] .* f64\[2\]") as e:
        lax.scan(grows, start, XS)
    assert f":{here('GROWS')} in grows" in str(e.value)

    def wider(s):
        return s[0] + 1, s[1] * np.float64(2)  # WIDER
    with pytest.raises(errors.CarryTypeError, match=r"carry\[1\] starts as f32\[\] .* f64\[\]") as e:
        lax.while_loop(lambda s: s[0] < 3, wider, (0, np.float32(1)))
    assert f":{here('WIDER')} in wider" in str(e.value)

    def other(i, s):  # OTHER
        return s, s
    with pytest.raises(errors.TreeError) as e:
        lax.fori_loop(0, 3, other, 1.0)
    assert f":{here('OTHER')} in other" in str(e.value)
