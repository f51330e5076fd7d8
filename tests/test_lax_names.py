"""functrans.lax: JAX's names and signatures, and what they compute, in every mode."""

import inspect
import json
import operator
from pathlib import Path

import numpy as np
import pytest
from util import assert_close, difference, loop_vmap, rng_of

import functrans as ft
from functrans import errors, grad, jit, jvp, lax, vmap

# Names of the parameters of jax.lax's functions (JAX 0.10), without types and defaults.
SIGNATURES = json.loads((Path(__file__).parent / "fixtures/jax_signatures.json").read_text())
LEFT_OUT = {"_split_transpose", "operand"}          # of scan, and of cond and switch: JAX's own leftovers
OTHERS = {"random_gamma_grad"}                      # JAX has *args


def parameters(function):
    star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [star.get(p.kind, "") + p.name for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("room", [r for r in SIGNATURES if r.startswith("lax")])
def test_signatures_are_those_of_jax(room):
    """Every name is there and takes JAX's parameters, in their order; ours may take more behind them."""
    module = operator.attrgetter(room)(ft)
    wrong = {}
    for name, want in SIGNATURES[room].items():
        got = parameters(getattr(module, name, lambda missing: None))
        keep = [p for p in want if p not in LEFT_OUT or p in got]
        if got[:len(keep)] != keep and name not in OTHERS:
            wrong[name] = got, want
    assert wrong == {}


def values(*shapes, seed="lax"):
    rng = rng_of(seed, shapes)
    return [rng.uniform(0.3, 1.5, s) for s in shapes]


def check_modes(f, *xs, tol=1e-7):
    """jit, jvp, grad and vmap of f agree with f itself, with differences and with a loop."""
    want = np.asarray(f(*xs))
    assert_close(np.asarray(jit(f)(*xs)), want, 1e-12)
    rng = rng_of("modes", want.shape)
    ts = [rng.normal(size=np.shape(x)) for x in xs]
    moved = difference(lambda s: np.asarray(f(*[x + s * t for x, t in zip(xs, ts, strict=True)])))
    assert_close(np.asarray(jvp(f, tuple(xs), tuple(ts))[1]), moved, tol)
    ct = rng.normal(size=want.shape)
    grads = grad(lambda *xs: np.sum(f(*xs) * ct), tuple(range(len(xs))))(*xs)
    assert_close(sum(np.sum(g * t) for g, t in zip(grads, ts, strict=True)), np.sum(moved * ct), tol)
    many = [np.stack([x, 2 * x, x + 1]) for x in xs]
    axes = (0,) * len(xs)
    assert_close(vmap(f)(*many), loop_vmap(f, axes)(*many), 1e-12)


def hypot_reduce(x):
    return lax.reduce(x, 0.0, lambda a, b: np.sqrt(a * a + b * b), (0, 2))


X, Y = values((2, 3, 4), (2, 4, 5))
MODES = {
    "reduce": (hypot_reduce, X),
    "reduce_pytree": (lambda x: lax.reduce((x, x * x), (0.0, 1.0), lambda a, b: (a[0] + b[0], a[1] * b[1]),
                                           (1,))[1], X),
    "reduce_window": (lambda x: lax.reduce_window(x, 0.0, lambda a, b: np.sqrt(a * a + b * b), (2, 3), (1, 2),
                                                  [(1, 0), (0, 1)]), X[0]),
    "reduce_window_prod": (lambda x: lax.reduce_window(x, 1.0, lax.mul, (2, 2), None, "SAME"), X[0]),
    "batch_matmul": (lambda a, b: lax.batch_matmul(a, b, "highest"), X, Y),
    "dot": (lambda a, b: lax.dot(a, b, dimension_numbers=(((1,), (0,)), ((), ()))), X[0], Y[0]),
    "scaled_dot": (lambda a, b: lax.scaled_dot(a, b, lhs_scale=a[:, :2]), X[0], Y[0]),
    "ragged_dot": (lambda a, b: lax.ragged_dot(a, b, np.array([2, 1])), X[0], Y),
    "patches": (lambda x: lax.conv_general_dilated_patches(x, (2,), (1,), "SAME", (2,), (2,)), X),
    "local": (lambda x, w: lax.conv_general_dilated_local(x, w, (1,), "VALID", (2,)), X,
              values((5, 6, 3))[0]),
    "split_stack": (lambda x: lax.stack(lax.split(x, (1, 1), 0), 1) * lax.unstack(x, 0)[0], X),
    "tile": (lambda x: lax.tile(x, (2, 1, 3)), X),
    "collapse": (lambda x: lax.collapse(x, 1) + lax.broadcast_to_rank(lax.collapse(x, 0, 2)[:2, :1], 2), X),
    "broadcast_like": (lambda x: lax.broadcast_like(x, np.zeros((5, 2, 3))), X[:, :, 0]),
    "barrier": (lambda x: lax.optimization_barrier({"a": x * 2, "b": 1.0})["a"] * x, X),
    "composite": (lambda x: lax.composite(lambda x, k: x ** k, "power")(x, k=3), X),
    "platform": (lambda x: lax.platform_dependent(x, cpu=np.sin, default=np.cos), X),
    "erf_inv": (lambda x: lax.erf_inv(x / 2), X),
    "rsqrt": (lambda x: lax.rsqrt(x, accuracy=lax.AccuracyMode.HIGHEST), X),
    "approx_max_k": (lambda x: lax.approx_max_k(x, 2, 1)[0], X),
    "approx_min_k": (lambda x: lax.approx_min_k(x, 2)[0], X),
}


@pytest.mark.parametrize("name", MODES)
def test_modes(name):
    check_modes(*MODES[name])


# ----- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u4", "i8", "u8"])
def test_integers(dtype):
    info, rng = np.iinfo(dtype), rng_of("integers", dtype)
    a, b = (rng.integers(info.min, info.max, 200, dtype, endpoint=True) for _ in range(2))
    a[:4], b[:4] = [info.min, info.max] * 2, [info.min, info.max, info.max, info.min]
    high = np.array([int(x) * int(y) >> info.bits for x, y in zip(a, b, strict=True)], dtype)
    counts = (b & 7).astype(dtype)
    shifted = (a.view(f"u{dtype[1]}") >> counts.view(f"u{dtype[1]}")).view(dtype)
    for run in (lambda f: f, jit):
        np.testing.assert_array_equal(run(lax.mulhi)(a, b), high)
        np.testing.assert_array_equal(run(lax.shift_right_logical)(a, counts), shifted)
        got = run(lambda x: lax.reduce_xor(x, (1,)))(a.reshape(4, 50))
        np.testing.assert_array_equal(got, np.bitwise_xor.reduce(a.reshape(4, 50), 1))
    assert lax.shift_right_logical(np.dtype(dtype).type(-1 if dtype[0] == "i" else 1), 99) == 0
    np.testing.assert_array_equal(lax.reduce_xor(np.array([True, True, True]), (0,)), True)
    np.testing.assert_array_equal(jit(np.bitwise_xor.reduce)(a), np.bitwise_xor.reduce(a))


def test_reduce_precision_is_a_round_trip_through_float16():
    special = [65519.0, 65520.0, np.inf, -np.inf, -0.0, 1e-3]
    x = np.concatenate([rng_of("precision").normal(size=500), special])
    with np.errstate(over="ignore"):
        want = x.astype(np.float16)
    normal = (want == 0) | (np.abs(want) >= np.finfo(np.float16).tiny)
    np.testing.assert_array_equal(lax.reduce_precision(x, 5, 10)[normal], want[normal])
    np.testing.assert_array_equal(lax.reduce_precision(want, 5, 10), want)
    assert np.isnan(lax.reduce_precision(np.nan, 4, 3))
    assert lax.reduce_precision(6e-8, 5, 10) == 0            # subnormal: 0
    assert grad(lambda x: lax.reduce_precision(x, 5, 2))(1.1) == 1.0


def test_reduce_finds_places_and_empty_axes():
    def larger(a, b):
        take = a[0] >= b[0]
        return np.where(take, a[0], b[0]), np.where(take, a[1], b[1])
    x = rng_of("places").normal(size=(3, 7, 2))
    places = np.broadcast_to(np.arange(7)[:, None], x.shape)
    got = lax.reduce({"v": x, "i": places}, {"v": -np.inf, "i": -1}, lambda a, b: dict(zip(
        "vi", larger((a["v"], a["i"]), (b["v"], b["i"])), strict=True)), (1,))
    np.testing.assert_array_equal(got["v"], x.max(1))
    np.testing.assert_array_equal(got["i"], x.argmax(1))
    np.testing.assert_array_equal(lax.reduce(np.ones((0, 2)), 3.0, lambda a, b: a + b, (0,)), [3.0, 3.0])
    # associative but not commutative: the order of the elements is kept
    digits = lax.reduce((np.arange(1, 8), np.full(7, 10)), (0, 1), lambda a, b: (a[0] * b[1] + b[0],
                                                                               a[1] * b[1]), (0,))
    assert digits[0] == 1234567


def test_dot_general_result_types():
    a = np.full((2, 3), 100, np.int8)
    numbers = (((1,), (1,)), ((), ()))
    assert lax.dot_general(a, a, numbers).dtype == np.int8
    got = lax.dot_general(a, a, numbers, None, np.int32)
    assert got.dtype == np.int32 and got[0, 0] == 30000
    low = lax.dot(np.ones((2, 3)), np.ones((3, 2)), preferred_element_type=np.float32)
    assert low.dtype == np.float32
    mixed = lax.dot(np.ones(3, np.float32), np.ones(3), preferred_element_type=np.float64)
    assert mixed.dtype == np.float64
    with pytest.raises(errors.DtypeError, match="same kind"):
        lax.dot_general(np.ones((2, 2)), np.ones((2, 2)), numbers, preferred_element_type=np.int32)
    with pytest.raises(errors.ArgumentError, match="highest"):
        lax.dot(a, a, precision="exact")


def test_ragged_dot_kinds():
    sizes = np.array([2, 0, 1])
    rows, mats = values((4, 2), (3, 2, 5))
    want = np.stack([rows[0] @ mats[0], rows[1] @ mats[0], rows[2] @ mats[2], np.zeros(5)])
    np.testing.assert_allclose(jit(lax.ragged_dot)(rows, mats, sizes), want)
    other = values((4, 3))[0]
    per_group = lax.ragged_dot_general(rows, other, sizes, lax.RaggedDotDimensionNumbers(
        (((0,), (0,)), ((), ())), (0,), ()))
    want = [rows[:2].T @ other[:2], np.zeros((2, 3)), rows[2:3].T @ other[2:3]]
    np.testing.assert_allclose(per_group, want)
    many, several = values((6, 4, 2), (6, 3, 2, 5))                 # a batch axis with groups of its own
    cuts = np.stack([sizes, [1, 3, 0], [0, 0, 4], [4, 0, 0], [0, 0, 0], [1, 1, 1]])
    batched = lax.ragged_dot_general(many, several, cuts, lax.RaggedDotDimensionNumbers(
        (((2,), (2,)), ((0,), (0,))), (1,), (1,)))
    np.testing.assert_allclose(batched, vmap(lax.ragged_dot)(many, several, cuts))


def test_patches_are_windows():
    x = values((2, 3, 6, 5))[0]
    got = lax.conv_general_dilated_patches(x, (2, 3), (2, 1), "VALID")
    view = np.lib.stride_tricks.sliding_window_view(x, (2, 3), (2, 3))[:, :, ::2]     # n c h w i j
    np.testing.assert_array_equal(got, np.moveaxis(view, (4, 5), (2, 3)).reshape(2, 18, 3, 3))
    last = lax.conv_general_dilated_patches(np.moveaxis(x, 1, 3), (2, 3), (2, 1), "VALID", dimension_numbers=(
        "NHWC", "HWIO", "NHWC"))
    np.testing.assert_array_equal(last, np.moveaxis(got, 1, 3))
    same = np.broadcast_to(values((4, 18, 1, 1))[0], (4, 18, 3, 3))
    local = lax.conv_general_dilated_local(x, same, (2, 1), "VALID", (2, 3))
    filters = same[:, :, 0, 0].reshape(4, 3, 2, 3)
    np.testing.assert_allclose(local, lax.conv_general_dilated(x, filters, (2, 1), "VALID"))


def test_shapes():
    x, w = np.ones((2, 8, 9, 3)), np.ones((3, 2, 3, 4))
    names = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(x, w, (2, 3), "SAME", dimension_numbers=names)
    assert lax.conv_general_shape_tuple(x.shape, w.shape, (2, 3), "SAME", names) == out.shape
    for padding in ("SAME", "VALID"):
        out = lax.conv_transpose(x, w, (2, 3), padding)
        assert lax.conv_transpose_shape_tuple(x.shape, w.shape, (2, 3), padding, names) == out.shape
    out = lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 2, 1), [(0, 0), (1, 0), (0, 2), (0, 0)],
                            (1, 2, 1, 1), (1, 1, 3, 1))
    assert out.shape == lax.reduce_window_shape_tuple(x.shape, (1, 3, 2, 1), (1, 2, 2, 1), [
        (0, 0), (1, 0), (0, 2), (0, 0)], (1, 2, 1, 1), (1, 1, 3, 1))
    assert lax.broadcast_shapes((2, 1), (3,), ()) == (2, 3)
    assert lax.empty((2, 3), np.float32).dtype == np.float32 and lax.dtype(np.float32(1)) == np.float32
    np.testing.assert_array_equal(lax.shape_as_value((2, 3)), [2, 3])


def test_random_bits():
    key = np.array([1, 2, 3, 4], np.uint32)
    for k in (key, key[:2]):
        new, bits = jit(lambda k: lax.rng_bit_generator(k, (1000,), np.uint64))(k)
        again, more = lax.rng_bit_generator(new, (1000,), np.uint64)
        assert new.shape == again.shape == k.shape and len({*bits.tolist(), *more.tolist()}) == 2000
        assert abs(np.mean(bits / 2.0 ** 64) - 0.5) < 0.05
    from scipy.special import gammaincinv
    a, p, h = 2.5, 0.3, 1e-5
    slope = (gammaincinv(a + h, p) - gammaincinv(a - h, p)) / (2 * h)
    assert lax.random_gamma_grad(a, gammaincinv(a, p)) == pytest.approx(slope, rel=1e-6)


# ----- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call, kind, text", [
    (lambda: lax.split(np.ones(3), (1, 1)), errors.ShapeError, "add up to 3"),
    (lambda: lax.tile(np.ones((2, 2)), (2,)), errors.ShapeError, "each axis"),
    (lambda: lax.stack([np.ones(2), np.ones(3)]), errors.ShapeError, "one shape"),
    (lambda: lax.broadcast_shapes((2,), (3,)), errors.ShapeError, "do not fit"),
    (lambda: lax.mulhi(1.0, 2.0), errors.DtypeError, "Integers"),
    (lambda: lax.exp(1.0, accuracy=3), errors.ArgumentError, "Tolerance"),
    (lambda: lax.reduce(np.ones(3), np.ones(2), lambda a, b: a, (0,)), errors.DtypeError, "scalar"),
    (lambda: lax.reduce(np.ones(3), 0.0, lambda a, b: a > b, (0,)), errors.DtypeError, "returned bool"),
    (lambda: lax.platform_dependent(1.0, cuda=np.sin), NotImplementedError, "cpu="),
    (lambda: lax.with_sharding_constraint(1.0, "x"), NotImplementedError, "one memory"),
    (lambda: lax.psend(1.0, "i", []), NotImplementedError, "ppermute"),
    (lambda: lax.after_all(), NotImplementedError, "ordered=True"),
    (lambda: lax.full((2,), 1.0, sharding="x"), NotImplementedError, "one CPU"),
    (lambda: lax.reduce_precision(1.0, 0, 3), ValueError, "positive"),
    (lambda: lax.rng_bit_generator(np.ones(3), (2,)), errors.RandomKeyError, "u32")],
    ids=lambda v: v if isinstance(v, str) else "")
def test_refusals(call, kind, text):
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "test_lax_names" in str(caught.value) or kind is ValueError
