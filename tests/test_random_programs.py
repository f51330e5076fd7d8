"""Random NumPy programs: derivatives against differences, adjoints, vmap against a loop, jit, types."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from util import assert_adjoint, assert_tree_close, assert_tree_equal, difference, direction, moved

import functrans as ft
from functrans import grad, jit, jvp, linearize, make_jaxpr, vjp, vmap
from functrans.ir.check import check

LARGEST = 40            # elements of a value
TALLEST = 4.0           # magnitude of a value: beyond, the program goes on with its tanh

# ----- the pool: name, and a function of arrays (and of what was drawn for it) ----------------

SMOOTH = {
    "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "arctan": np.arctan, "exp": np.exp, "expm1": np.expm1,
    "square": np.square, "cube": lambda x: x ** 3, "root": lambda x: np.sqrt(1 + x * x),
    "log": lambda x: np.log(2 + x * x), "negative": lambda x: -x, "reciprocal": lambda x: 1 / (2 + x ** 2),
    "logistic": lambda x: 1 / (1 + np.exp(-x)), "sinh": np.sinh, "arcsinh": np.arcsinh, "cbrt": lambda x:
    np.cbrt(2 + x * x), "log1p": lambda x: np.log1p(x * x), "power": lambda x: (1.5 + x * x) ** 0.7}
KINKED = {"abs": np.abs, "relu": lambda x: np.maximum(x, 0.25), "clip": lambda x: np.clip(x, -1, 1.5),
          "sign": np.sign, "floor": np.floor, "gate": lambda x: np.where(x > 0.1, x * x, -x)}
BINARY = {
    "add": np.add, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / (2 + y * y), "arctan2": lambda x, y: np.arctan2(x, 2 + y * y),
    "logaddexp": np.logaddexp, "hypot": lambda x, y: np.hypot(x, 2 + y), "pow": lambda x, y: (2 + x * x) ** y}
KINKED_BINARY = {"maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax,
                 "where": lambda x, y: np.where(x < y, x * 2, y)}
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "var": np.var}
KINKED_REDUCTIONS = {"max": np.max, "min": np.min}


class Program:
    """Straight-line code over a growing list of values; every line is ``(name, inputs, function)``."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.values = list(inputs)
        self.lines = []
        self.smooth = True

    def line(self, name, function, *args, smooth=True):
        out = np.asarray(function(*[self.values[a] for a in args]))
        self.lines.append((name, args, function))
        self.values.append(out)
        self.smooth &= smooth
        if out.size and np.abs(out).max() > TALLEST:
            self.line("tanh", np.tanh, len(self.values) - 1)

    def run(self, *inputs):
        """The last value, and a number that depends on all of them."""
        values = list(inputs)
        for _, args, function in self.lines:
            values.append(function(*[values[a] for a in args]))
        total = 0.0
        for i, v in enumerate(values[len(inputs):]):
            total = total + np.mean(v) * (1.0 + 0.1 * i)
        return values[-1], total

    def number(self, *inputs):
        return self.run(*inputs)[1]

    def last(self, *inputs):
        return self.run(*inputs)[0]

    def __repr__(self):
        n = len(self.inputs)
        text = [f"x{i} = {x!r}" for i, x in enumerate(self.inputs)]
        text += [f"x{n + i} = {name}({', '.join(f'x{a}' for a in args)})"
                 for i, (name, args, _) in enumerate(self.lines)]
        return "\n" + "\n".join(text)


def _choose(draw, pools):
    smooth, kinked = pools
    name = draw(st.sampled_from([*smooth, *kinked]))
    return (name, smooth[name], True) if name in smooth else (name, kinked[name], False)


def _unary(draw, p, i):
    name, f, smooth = _choose(draw, (SMOOTH, KINKED))
    p.line(name, f, i, smooth=smooth)


def _binary(draw, p, i):
    shape = p.values[i].shape
    fits = [j for j, y in enumerate(p.values) if _broadcasts(shape, y.shape)]
    j = draw(st.sampled_from(fits))
    name, f, smooth = _choose(draw, (BINARY, KINKED_BINARY))
    if draw(st.booleans()):
        i, j = j, i
    p.line(name, f, i, j, smooth=smooth)


def _broadcasts(a, b):
    try:
        return np.prod(np.broadcast_shapes(a, b)) <= LARGEST
    except ValueError:
        return False


def _reduce(draw, p, i):
    x = p.values[i]
    name, f, smooth = _choose(draw, (REDUCTIONS, KINKED_REDUCTIONS))
    axes = draw(st.sets(st.integers(-x.ndim, x.ndim - 1), max_size=x.ndim)) if x.ndim else set()
    axes = tuple({a % x.ndim for a in axes})
    axis = draw(st.sampled_from([None, axes])) if axes else None
    keep = draw(st.booleans())
    p.line(f"{name}[axis={axis}, keepdims={keep}]", lambda x: f(x, axis=axis, keepdims=keep), i,
           smooth=smooth)


def _scan(draw, p, i):
    x = p.values[i]
    axis = draw(st.integers(0, x.ndim - 1))
    name, f = draw(st.sampled_from([("cumsum", np.cumsum), ("cumprod", np.cumprod), ("flip", np.flip),
                                    ("roll", lambda x, axis: np.roll(x, 1, axis=axis)), ("concatenate",
                                    lambda x, axis: np.concatenate([x, x[::-1] * 2], axis=axis)),
                                    ("stack", lambda x, axis: np.stack([x, np.sin(x)], axis=axis)),
                                    ("expand", lambda x, axis: np.expand_dims(x, axis))]))
    if x.size * 2 <= LARGEST and x.ndim < 4:
        p.line(f"{name}[axis={axis}]", lambda x: f(x, axis=axis), i)


def _arrange(draw, p, i):
    x = p.values[i]
    perm = tuple(draw(st.permutations(range(x.ndim))))
    n = x.size
    shapes = [(n,), (1, n), (n, 1), *[(d, n // d) for d in range(2, n) if n % d == 0],
              *[(2, d, n // 2 // d) for d in range(1, n) if n % (2 * d) == 0]]
    shape = draw(st.sampled_from(shapes))
    p.line(*draw(st.sampled_from([
        (f"reshape[{shape}]", lambda x: x.reshape(shape)),
        (f"transpose[{perm}]", lambda x: np.transpose(x, perm)),
        ("T", lambda x: x.T), ("ravel", np.ravel), ("squeeze", np.squeeze),
        (f"reshape of T[{shape}]", lambda x: np.reshape(x.T, shape))])), i)


def _index(draw, p, i):
    x = p.values[i]
    n = x.shape[0]
    k = draw(st.integers(-n, n - 1))
    rows = np.array(draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4)))
    mask = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    step = draw(st.sampled_from([1, 2, -1, -2]))
    pool = [(f"[{k}]", lambda x: x[k]), (f"[::{step}]", lambda x: x[::step]), ("[None]", lambda x: x[None]),
            ("[..., None]", lambda x: x[..., None]), (f"[{rows.tolist()}]", lambda x: x[rows])]
    if n > 1:
        pool += [("[1:]", lambda x: x[1:]), ("[:-1]", lambda x: x[:-1])]
    if mask.any():
        pool.append((f"[{mask.tolist()}]", lambda x: x[mask]))
    if x.ndim > 1:
        m = x.shape[1]
        columns = rows % m
        pool += [(f"[:, {columns.tolist()}]", lambda x: x[:, columns]), ("[..., 0]", lambda x: x[..., 0]),
                 (f"[{rows.tolist()}, {columns.tolist()}]", lambda x: x[rows, columns])]
    name, f = draw(st.sampled_from(pool))
    if f(x).size <= LARGEST and f(x).ndim <= 4:
        p.line(name, f, i)


def _product(draw, p, i):
    x = p.values[i]
    pool = []
    if x.ndim == 1:
        pool += [("dot", lambda x: np.dot(x, x)), ("outer", lambda x: np.outer(x, np.cos(x)))]
    if x.ndim == 2:
        pool += [("x @ x.T", lambda x: x @ x.T), ("x.T @ x", lambda x: x.T @ x), ("einsum", lambda x:
                 np.einsum("ij,kj->ik", np.sin(x), x)), ("trace", lambda x: np.einsum("ij,ij->", x, x))]
    if x.ndim == 3:
        pool += [("batched", lambda x: np.matmul(x, np.swapaxes(x, 1, 2))),
                 ("tensordot", lambda x: np.tensordot(x, np.sin(x), axes=((0, 2), (0, 2))))]
    fits = [j for j, y in enumerate(p.values) if x.ndim in (1, 2) and y.ndim in (1, 2)
            and x.shape[-1] == y.shape[0 if y.ndim == 1 else -2]]
    if fits and draw(st.booleans()):
        j = draw(st.sampled_from(fits))
        if np.matmul(x, p.values[j]).size <= LARGEST:
            p.line("matmul", lambda x, y: x @ y, i, j)
        return
    name, f = draw(st.sampled_from(pool)) if pool else ("sum", np.sum)
    if np.size(f(x)) <= LARGEST:
        p.line(name, f, i)


@st.composite
def programs(draw, kinks=True):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
    inputs = [np.asarray(rng.uniform(-1.5, 1.5, s)) for s in draw(st.lists(shapes, min_size=1, max_size=3))]
    p = Program(inputs)
    for _ in range(draw(st.integers(2, 9))):
        i = len(p.values) - 1 if draw(st.integers(0, 2)) else draw(st.integers(0, len(p.values) - 1))
        kinds = [_unary, _binary, _reduce]
        if p.values[i].ndim:
            kinds += [_scan, _arrange, _index, _product]
        draw(st.sampled_from(kinds))(draw, p, i)
    assume(p.lines and (kinks or p.smooth))
    return p


common = settings(max_examples=120, deadline=None, derandomize=True,
                  suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much,
                                         HealthCheck.data_too_large])


def _directions(p, seed):
    rng = np.random.default_rng(seed)
    return tuple(direction(x, rng) for x in p.inputs)


def _all(p):
    return tuple(range(len(p.inputs)))


# ----- properties -----------------------------------------------------------------------------


@common
@given(programs())
def test_value(p):
    """Traced, the program computes what NumPy does, and is well typed."""
    want = tuple(np.asarray(v)[()] for v in p.run(*p.inputs))
    assert_tree_close(jit(p.run)(*p.inputs), want, 1e-12, 1e-12)
    check(make_jaxpr(p.run)(*p.inputs))
    structs = ft.eval_shape(p.run, *p.inputs)
    assert [(s.shape, s.dtype) for s in structs] == [(w.shape, w.dtype) for w in want]


@common
@given(programs(kinks=False))
def test_grad_against_differences(p):
    ts = _directions(p, 1)
    value, found = ft.value_and_grad(p.number, _all(p))(*p.inputs)
    np.testing.assert_allclose(value, p.number(*p.inputs), rtol=1e-12)
    want = difference(moved(p.number, p.inputs, ts), h=2e-4)
    got = sum(np.sum(g * t) for g, t in zip(found, ts, strict=True))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    second = difference(lambda s: sum(np.sum(g * t) for g, t in zip(grad(p.number, _all(p))(
        *[x + s * t for x, t in zip(p.inputs, ts, strict=True)]), ts, strict=True)), h=2e-4)
    over = jvp(grad(p.number, _all(p)), tuple(p.inputs), ts)[1]
    np.testing.assert_allclose(sum(np.sum(g * t) for g, t in zip(over, ts, strict=True)), second,
                               rtol=1e-5, atol=1e-5)


@common
@given(programs())
def test_forward_and_reverse_are_adjoint(p):
    ts = _directions(p, 2)
    ct = direction(p.last(*p.inputs), np.random.default_rng(3))
    _, pull = vjp(p.last, *p.inputs)
    assert_adjoint(lambda *ts: jvp(p.last, tuple(p.inputs), ts)[1], pull, ts, ct)
    _, f_jvp = linearize(p.last, *p.inputs)
    assert_adjoint(f_jvp, pull, ts, ct)
    one, two = (np.asarray(f) for f in (f_jvp(*ts), jvp(p.last, tuple(p.inputs), ts)[1]))
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
    gradient = grad(p.number, _all(p))
    _, pull_again = vjp(gradient, *p.inputs)
    assert_adjoint(lambda *ts: jvp(gradient, tuple(p.inputs), ts)[1], pull_again, ts, gradient(*p.inputs))


@common
@given(programs(), st.data())
def test_vmap_against_a_loop(p, data):
    axes = tuple(data.draw(st.sampled_from([None, *range(x.ndim + 1)])) for x in p.inputs)
    assume(any(a is not None for a in axes))
    rng = np.random.default_rng(4)
    rows = [[x if a is None else x + rng.uniform(-0.2, 0.2, x.shape) for x, a in
             zip(p.inputs, axes, strict=True)] for _ in range(3)]
    xs = [x if a is None else np.stack([r[i] for r in rows], a)
          for i, (x, a) in enumerate(zip(p.inputs, axes, strict=True))]
    gradient = grad(p.number, _all(p))
    for f in (p.run, gradient):
        got = vmap(f, axes)(*xs)
        ones = [f(*r) for r in rows]
        want = tuple(np.stack([np.asarray(o[k]) for o in ones]) for k in range(len(ones[0])))
        assert_tree_close(tuple(got), want, 1e-9, 1e-9)
        assert_tree_close(tuple(jit(vmap(f, axes))(*xs)), want, 1e-9, 1e-9)
    empty = [x if a is None else np.take(x, [], a) for x, a in zip(xs, axes, strict=True)]
    for got, whole in zip(vmap(gradient, axes)(*empty), vmap(gradient, axes)(*xs), strict=True):
        assert got.shape == (0, *whole.shape[1:]) and got.dtype == whole.dtype


@common
@given(programs())
def test_jit_changes_no_bit(p):
    ts, inputs = _directions(p, 5), tuple(p.inputs)
    every = _all(p)              # untraced inputs would be NumPy's work, whose sums have other last bits
    for f in (lambda *xs: vjp(p.last, *xs)[0], lambda *xs: jvp(p.last, xs, ts)[0], grad(p.number, every),
              ft.value_and_grad(p.number, every), lambda *xs: jvp(grad(p.number, every), xs, ts)):
        want = f(*inputs)
        compiled = jit(f)
        assert_tree_equal(compiled(*inputs), want)
        assert_tree_equal(compiled(*inputs), want)
        assert_tree_equal(f(*inputs), want)


@common
@given(programs())
def test_transformed_programs_are_well_typed(p):
    inputs, every = tuple(p.inputs), _all(p)
    rows = tuple(np.stack([x, x]) for x in inputs)
    for f, args in ((grad(p.number, every), inputs), (vmap(grad(p.number, every)), rows),
                    (lambda *xs: jvp(grad(p.number, every), xs, inputs), inputs),
                    (jit(lambda *xs: vjp(vmap(grad(p.number, every)), *xs)[1](rows)), rows)):
        jaxpr = make_jaxpr(f)(*args)
        check(jaxpr)
        assert [a.shape for a in jaxpr.out_avals][-len(args):] == [x.shape for x in args]


@common
@given(programs(kinks=False), st.data())
def test_other_dtypes(p, data):
    """Promotion as NumPy's: integer and float32 inputs, at once, compiled, mapped, and their gradients."""
    dtypes = [data.draw(st.sampled_from(["float32", "float32", "float64", "int64", "int32"]))
              for _ in p.inputs]
    xs = [np.asarray(np.round(2 * x) if d[0] == "i" else x).astype(d)
          for x, d in zip(p.inputs, dtypes, strict=True)]
    with np.errstate(all="ignore"):
        try:
            want = tuple(np.asarray(v)[()] for v in p.run(*xs))
        except ValueError:               # an integer to a negative power
            assume(False)
    assume(all(np.isfinite(np.asarray(w, float)).all() and np.abs(w).max(initial=0) < 1e3 for w in want))
    tol = 1e-3 if "float32" in dtypes else 1e-9
    assert_tree_close(jit(p.run)(*xs), want, tol, tol)
    rows = [np.stack([x, x]) for x in xs]
    assert_tree_close(vmap(p.run)(*rows), tuple(np.stack([w, w]) for w in want), tol, tol)
    floats = tuple(i for i, d in enumerate(dtypes) if d[0] == "f")
    if floats and want[1].dtype.kind == "f":
        found = grad(p.number, floats)(*xs)
        assert [(g.dtype, g.shape) for g in found] == [(xs[i].dtype, xs[i].shape) for i in floats]
        wide = grad(p.number, floats)(*[x.astype(np.float64) if x.dtype.kind == "f" else x for x in xs])
        for g, w in zip(found, wide, strict=True):
            np.testing.assert_allclose(g, w, rtol=2e-2, atol=2e-2 * max(1.0, np.abs(w).max()))
