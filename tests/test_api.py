"""Arguments, pytrees, outputs, mutation and dtypes of the transforms."""

import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from nested import gradient

import functrans as ft
from functrans import (
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    linearize,
    tree,
    value_and_grad,
    vjp,
    vmap,
)

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Layer:
    w: np.ndarray
    b: np.ndarray


class Box:
    def __init__(self, inside, label):
        self.inside, self.label = inside, label


tree.register_dataclass(Layer)
tree.register_node(Box, lambda b: ((b.inside,), b.label), lambda label, kids: Box(kids[0], label))


def total(p):
    """A loss of all leaves with different weights, whatever the container."""
    return sum([np.sum(np.sin(x) * (i + 1)) for i, x in enumerate(tree.leaves(p))])


A, B = np.array([0.1, 0.2]), np.array([[0.3, 0.4]])
PYTREES = [{"a": A, "b": B}, [A, B], (A, B), Point(A, B), Layer(A, B), Box([A, {"k": B}], "label"),
           (None, A, {"n": None, "z": [B, ()]}), OrderedDict([("z", A), ("a", B)]), {2: A, 1: B},
           [Layer(A, Point(B, [A])), {"q": (B,)}]]


def same(got, want):
    assert tree.structure(got) == tree.structure(want)
    for a, b in zip(tree.leaves(got), tree.leaves(want), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("p", PYTREES, ids=lambda p: type(p).__name__)
def test_pytree_argument(p):
    leaves, treedef = tree.flatten(p)
    want = treedef.unflatten([np.cos(x) * (i + 1) for i, x in enumerate(leaves)])
    ones = tree.map(np.ones_like, p)
    same(grad(total)(p), want)
    same(jit(grad(total))(p), want)
    same(vjp(total, p)[1](1.0)[0], want)
    same(jacrev(total)(p), want)
    same(jacfwd(total)(p), want)
    directional = sum([x.sum() for x in tree.leaves(want)])
    assert jvp(total, (p,), (ones,))[1] == pytest.approx(directional)
    assert linearize(total, p)[1](ones) == pytest.approx(directional)
    stacked = tree.map(lambda x: np.stack([x, 2 * x]), p)
    same(vmap(grad(total))(stacked), tree.map(lambda x, y: np.stack([x, y]), want,
                                              grad(total)(tree.map(lambda x: 2 * x, p))))
    same(jit(lambda p: p)(p), p)


@pytest.mark.parametrize("p", PYTREES, ids=lambda p: type(p).__name__)
def test_pytree_output(p):
    leaves, treedef = tree.flatten(p)

    def f(s):
        return treedef.unflatten([x * s * s for x in leaves])
    out, pull = vjp(f, 3.0)
    same(out, treedef.unflatten([x * 9 for x in leaves]))
    assert pull(tree.map(np.ones_like, p))[0] == pytest.approx(6 * sum([x.sum() for x in leaves]))
    same(jvp(f, (3.0,), (1.0,))[1], treedef.unflatten([x * 6 for x in leaves]))
    same(linearize(f, 3.0)[1](1.0), treedef.unflatten([x * 6 for x in leaves]))
    same(jacfwd(f)(3.0), treedef.unflatten([x * 6 for x in leaves]))
    same(jacrev(f)(3.0), treedef.unflatten([x * 6 for x in leaves]))
    same(jit(f)(3.0), out)
    same(vmap(f)(np.array([1.0, 3.0])), treedef.unflatten([np.stack([x, x * 9]) for x in leaves]))
    g, aux = grad(lambda s: (s * 2.0, f(s)), has_aux=True)(3.0)
    assert g == 2.0
    same(aux, out)


def test_empty_pytrees():
    assert grad(lambda p, x: x * 2.0, argnums=1)((), 1.0) == 2.0
    assert grad(lambda p: 2.0)({}) == {}
    assert vjp(lambda x: (), 1.0)[1](())[0] == 0.0
    assert jvp(lambda: 3.0, (), ()) == (3.0, 0.0)
    assert jit(lambda: None)() is None


def test_dict_order_does_not_matter():
    got = grad(lambda p: p["b"] * 2 + p["a"])({"b": 1.0, "a": 1.0})
    assert got == {"a": 1.0, "b": 2.0}
    f = jit(lambda p: p["b"] * 2 + p["a"])
    assert f({"b": 1.0, "a": 5.0}) == f({"a": 5.0, "b": 1.0}) == 7.0
    assert f.cache_info().currsize == 1


# ----- which arguments ----------------------------------------------------------------------------


def three(x, y, z):
    return x * y ** 2 + z * np.sin(x)


def test_argnums():
    x, y, z = 0.3, 1.5, 2.0
    dx, dy, dz = y ** 2 + z * np.cos(x), 2 * x * y, np.sin(x)
    assert grad(three)(x, y, z) == pytest.approx(dx)
    assert grad(three, 1)(x, y, z) == pytest.approx(dy)
    assert grad(three, -1)(x, y, z) == pytest.approx(dz)
    for nums, want in (((0, 2), (dx, dz)), ((2, 0), (dz, dx)), ((1,), (dy,)), ([0, 1], (dx, dy))):
        got = grad(three, nums)(x, y, z)
        assert type(got) is tuple and got == pytest.approx(want)
        value, got = value_and_grad(three, nums)(x, y, z)
        assert value == three(x, y, z) and got == pytest.approx(want)
    assert jacfwd(three, (0, 1))(x, y, z) == pytest.approx((dx, dy))
    assert jacrev(three, (1, 0))(x, y, z) == pytest.approx((dy, dx))
    assert grad(three, np.int64(1))(x, y, z) == pytest.approx(dy)
    with pytest.raises(errors.ArgumentError, match="argnums=3"):
        jacrev(three, 3)(x, y, z)
    assert jacfwd(three, -1)(x, y, z) == jacrev(three, -1)(x, y, z) == pytest.approx(dz)


def test_hessian_blocks():
    h = hessian(three, (0, 1))(0.3, 1.5, 2.0)
    assert h[0][0] == pytest.approx(-2.0 * np.sin(0.3))
    assert h[0][1] == h[1][0] == pytest.approx(3.0)
    assert h[1][1] == pytest.approx(0.6)
    p = {"a": np.array([1.0, 2.0]), "b": 3.0}
    h = hessian(lambda p: np.sum(p["a"] ** 2) * p["b"])(p)
    np.testing.assert_allclose(h["a"]["a"], 6 * np.eye(2))
    np.testing.assert_allclose(h["a"]["b"], [2.0, 4.0])
    np.testing.assert_allclose(h["b"]["a"], [2.0, 4.0])
    assert h["b"]["b"] == 0.0


def test_argnames():
    want = 2 * 0.3 * 1.5
    assert grad(three, argnames="y")(0.3, y=1.5, z=2.0) == pytest.approx(want)
    got = grad(three, argnames=("y", "z"))(0.3, z=2.0, y=1.5)
    assert got == pytest.approx((want, np.sin(0.3)))
    both = grad(three, 0, argnames="z")(0.3, 1.5, z=2.0)
    assert both == pytest.approx((1.5 ** 2 + 2 * np.cos(0.3), np.sin(0.3)))


def test_other_arguments_reach_the_function_untouched():
    seen = []

    def f(x, *rest, **named):
        seen.append((rest, named))
        return x * rest[1](2.0)
    array, function, thing = np.ones(2), (lambda v: v + 1), object()
    assert grad(f)(1.0, array, function, "text", thing, key=None, name=array) == 3.0
    rest, named = seen[0]
    assert rest[0] is array and rest[1] is function and rest[2] == "text" and rest[3] is thing
    assert named == {"key": None, "name": array}


def test_has_aux():
    thing = object()

    def f(x):
        return x ** 2, {"text": "t", "thing": thing, "twice": 2 * x, "plain": np.arange(3), "none": None}
    g, aux = grad(f, has_aux=True)(3.0)
    assert g == 6.0 and aux["text"] == "t" and aux["thing"] is thing and aux["twice"] == 6.0
    np.testing.assert_array_equal(aux["plain"], np.arange(3))
    (value, aux), g = value_and_grad(f, has_aux=True)(3.0)
    assert (value, g, aux["twice"]) == (9.0, 6.0, 6.0)
    out, t, aux = jvp(f, (3.0,), (1.0,), has_aux=True)
    assert (out, t, aux["twice"]) == (9.0, 6.0, 6.0)
    out, pull, aux = vjp(f, 3.0, has_aux=True)
    assert (out, pull(1.0), aux["twice"]) == (9.0, (6.0,), 6.0)
    d, aux = jacfwd(lambda x: (x * x, 2 * x), has_aux=True)(3.0)
    assert (d, aux) == (6.0, 6.0)
    d, aux = jacrev(f, has_aux=True)(3.0)
    assert (d, aux["twice"]) == (6.0, 6.0)
    for make, want in ((jacfwd, 27.0), (jacrev, 27.0), (hessian, 18.0)):
        d, aux = make(lambda x: (x ** 3, {"twice": 2 * x, "text": "t", "n": 3}), has_aux=True)(3.0)
        assert d == want and aux == {"twice": 6.0, "text": "t", "n": 3}
    # a derivative of what went out as aux
    assert grad(lambda x: grad(lambda y: (y * y, y ** 3 * x), has_aux=True)(x)[1])(2.0) == 32.0


def test_allow_int():
    g = grad(lambda n, x: n * x, (0, 1), allow_int=True)(3, 2.0)
    assert g[0].dtype == np.dtype([("float0", "V0")]) and g[0].shape == () and g[1] == 3.0
    g = grad(lambda p: np.sum(p["n"] * p["x"]), allow_int=True)({"n": np.arange(3), "x": np.ones(3)})
    assert g["n"].shape == (3,) and g["n"].dtype.itemsize == 0
    np.testing.assert_array_equal(g["x"], [0.0, 1.0, 2.0])
    _, pull = vjp(lambda n, x, flag: np.where(flag, n * x, 0.0), 2, 3.0, True)
    cts = pull(1.0)
    assert cts[1] == 2.0 and cts[0].dtype == cts[2].dtype == g["n"].dtype
    out, t = jvp(lambda n, x: (n * x, n + 1), (3, 2.0), (None, 1.0))
    assert out == (6.0, 4) and t[0] == 3.0 and t[1].dtype.itemsize == 0
    with pytest.raises(errors.IntegerInputError):
        grad(lambda n: n * 1.0)(3)
    with pytest.raises(errors.IntegerInputError):
        jacfwd(lambda n: n * 1.0)(np.arange(3))


def test_functions_that_do_not_depend_on_their_input():
    assert grad(lambda x: 3.0)(1.0) == 0.0
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.ones(2)))(np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(jacfwd(lambda x: np.ones(2))(np.ones(3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(jacrev(lambda x: np.ones(2))(np.ones(3)), np.zeros((2, 3)))
    _out, push = linearize(lambda x: (np.ones(2), x), 1.0)
    np.testing.assert_array_equal(push(5.0)[0], np.zeros(2))
    np.testing.assert_array_equal(vmap(lambda x: np.ones(2))(np.zeros(3)), np.ones((3, 2)))
    assert vmap(lambda x: (x, 7.0), out_axes=(0, None))(np.zeros(2))[1] == 7.0
    np.testing.assert_array_equal(vmap(lambda x: 7)(np.zeros(2)), [7, 7])


# ----- outputs are fresh --------------------------------------------------------------------------

FRESH = {
    "identity": lambda x: jit(lambda v: v)(x),
    "twice": lambda x: jit(lambda v: (v, v, v.T))(x),
    "views": lambda x: jit(lambda v: (np.reshape(v, -1), v[::-1], v[1:], np.transpose(v)))(x),
    "equal": lambda x: jit(lambda v: (v + 1, v + 1))(x),
    "vmap": lambda x: vmap(lambda v: (v, v))(x),
    "vmap moved": lambda x: vmap(lambda v: v, 0, 1)(x),
    "vmap constant": lambda x: vmap(lambda v: x, out_axes=None)(x),
    "broadcast gradient": lambda x: grad(lambda v: np.sum(v))(x),
    "two gradients": lambda x: grad(lambda v, w: np.sum(v + w), (0, 1))(x, x),
    "gradient of a product": lambda x: grad(lambda v: np.sum(v * x))(x),
    "jvp": lambda x: jvp(lambda v: v, (x,), (x,)),
    "vjp": lambda x: (vjp(lambda v: (v, v.T), x)[0], vjp(lambda v: v, x)[1](x)),
    "linearize": lambda x: (linearize(lambda v: v, x)[0], linearize(lambda v: v, x)[1](x)),
    "constant": lambda x: jit(lambda: (x, x))(),
    "aux": lambda x: grad(lambda v: (np.sum(v), v), has_aux=True)(x),
    "jacrev": lambda x: jacrev(lambda v: v)(x),
    "jacobian blocks": lambda x: [jac(lambda v, w: (v + w[0], w), (0, 1))(x[0, :3].copy(), x[:3, 0].copy())
                                  for jac in (jacfwd, jacrev)],
    "checkpoint": lambda x: jit(ft.checkpoint(lambda v: v))(x),
}


@pytest.mark.parametrize("n", [2, 300])
@pytest.mark.parametrize("case", FRESH)
def test_outputs_are_fresh(case, n):
    if case.startswith("jac"):
        n = 5
    x = np.arange(n * (n + 1.0)).reshape(n, n + 1)
    outs = tree.leaves(FRESH[case](x))
    for i, out in enumerate(outs):
        assert type(out) is np.ndarray
        assert out.flags.writeable and out.flags.c_contiguous and out.flags.aligned
        assert not np.shares_memory(out, x)
        for other in outs[:i]:
            assert not np.shares_memory(out, other)
    outs[0][...] = -1.0
    assert x[0, 1] == 1.0 and x.flags.writeable


def test_constant_inside_an_outer_trace_is_fresh_and_plain():
    w = np.ones(3)
    seen = []

    def f(x):
        seen.append(vmap(lambda i: 1.0)(np.zeros(2)))
        out, _ = jvp(lambda y: (w, 2.0), (x,), (1.0,))
        seen.extend(out)
        return np.sum(out[0] * x) + seen[0][0] * x
    assert grad(f)(2.0) == 4.0
    assert all(not isinstance(x, np.ndarray) or not np.shares_memory(x, w) for x in seen)
    assert type(seen[0]) is np.ndarray and isinstance(seen[2], (float, np.float64))


@pytest.mark.parametrize("call", [lambda f: f, jit, lambda f: jit(jit(f))])
def test_scalars_are_numpy_scalars(call):
    assert type(call(grad(np.sin))(1.0)) is np.float64
    assert type(call(grad(np.sin))(np.float32(1.0))) is np.float32
    assert type(call(grad(lambda x: np.sum(x * x)))(np.ones(()))) is np.float64
    out, t = call(lambda x: jvp(lambda v: {"k": (v * 2,)}, (x,), (x,)))(1.5)
    assert type(out["k"][0]) is type(t["k"][0]) is np.float64
    assert type(jit(call(lambda x: x > 1))(2.0)) is np.bool_
    assert type(jit(call(lambda x: x + 1))(2)) is np.int64
    assert type(vjp(lambda v: v * 2.0, 1.0)[1](1.0)[0]) is np.float64
    for make in (jacfwd, jacrev, hessian):
        assert type(call(make(np.sin))(1.0)) is np.float64
    assert type(call(vmap(np.sum))(np.ones((1, 3)))) is np.ndarray


# ----- mutation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 40_000])
def test_pull_twice_and_after_mutation(n):
    x, w = np.linspace(0.1, 1.0, n), np.linspace(1.0, 2.0, n)
    want = np.cos(x) * w
    y, pull = vjp(lambda x: np.sin(x) * w, x)
    _, push = linearize(lambda x: np.sin(x) * w, x)
    first = pull(np.ones(n))[0]
    np.testing.assert_allclose(first, want)
    x -= 10.0
    w[:] = 0.0
    y[:] = 0.0
    first[:] = 0.0
    np.testing.assert_allclose(pull(np.ones(n))[0], want)
    np.testing.assert_allclose(push(np.ones(n)), want)
    np.testing.assert_allclose(vmap(pull)(np.ones((2, n)))[0][1], want)


def test_pull_of_linear_functions_keeps_copies_too():
    x, a = np.ones(3), np.arange(3.0)
    _, pull = vjp(lambda x: x * a, x)
    a[:] = 7.0
    np.testing.assert_array_equal(pull(np.ones(3))[0], [0.0, 1.0, 2.0])
    t = ft.linear_transpose(lambda x: x * a, x)
    np.testing.assert_array_equal(t(np.ones(3))[0], [7.0, 7.0, 7.0])


@pytest.mark.parametrize("transform", [
    lambda f, x: grad(f)(x), lambda f, x: jacfwd(f)(x), lambda f, x: jacrev(f)(x),
    lambda f, x: vjp(f, x)[1](1.0)[0], lambda f, x: grad(lambda x: vmap(f)(x[None])[0])(x),
    lambda f, x: grad(lambda x: jvp(f, (x,), (x,))[0])(x)])
def test_captured_array_changed_in_a_loop(transform):
    """Each use sees the array as it was at that moment."""
    x = np.array([0.1, 0.2, 0.3])

    def f(x):
        w, t = np.zeros(3), 0.0
        for i in range(3):
            w[i] = i + 1.0
            t = t + np.sum(np.exp(x) * w)
            w[i] = 0.0
        return t
    np.testing.assert_allclose(transform(f, x), np.exp(x) * [1.0, 2.0, 3.0], rtol=1e-12)


def test_large_captured_array_cannot_change_unseen():
    n = 1 << 17
    x, w = np.ones(n), np.zeros(n)

    def f(x):
        w[0] = 1.0
        t = np.sum(x * w)
        w[0] = 5.0
        return t + np.sum(x * w)
    try:
        got = grad(f)(x)
    except ValueError as e:
        assert "read-only" in str(e)            # refused is as good as right
    else:
        assert got[0] == 6.0
    assert w.flags.writeable
    w[0] = 2.0
    assert grad(lambda x: np.sum(x * w))(x)[0] == 2.0


def test_read_only_and_strided_inputs():
    base = np.arange(24.0).reshape(4, 6)
    frozen = base.copy()
    frozen.flags.writeable = False
    for x in (frozen, base[::2], base[:, ::-1], base.T, np.asfortranarray(base),
              np.frombuffer(b"\0" + base.tobytes(), np.float64, 24, 1).reshape(4, 6),
              base.astype(">f8"), np.broadcast_to(base[0], (3, 6))):
        np.testing.assert_allclose(grad(lambda x: np.sum(np.sin(x)))(x), np.cos(np.asarray(x, float)))
        np.testing.assert_allclose(jit(np.sin)(x), np.sin(np.asarray(x, float)))
        got = grad(lambda x: np.sum(np.sin(x)))(x)
        assert got.dtype == np.float64 and got.dtype.isnative


# ----- dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_in_is_dtype_out(dtype):
    x = np.array([0.5, 1.5], dtype)
    for got in (grad(lambda x: np.sum(np.sin(x) * 2.0 + 1))(x), jacfwd(np.sin)(x), jacrev(np.sin)(x),
                vjp(np.sin, x)[1](np.ones(2, dtype))[0], jvp(np.sin, (x,), (np.ones(2, dtype),))[1],
                vmap(np.sin)(x), jit(lambda x: 3 * x)(x), linearize(np.sin, x)[1](x),
                hessian(lambda x: np.sum(x ** 3))(x)):
        assert got.dtype == dtype
    mixed = grad(lambda x, y: np.sum(x * y), (0, 1))(x, np.ones(2))
    assert mixed[0].dtype == dtype and mixed[1].dtype == np.float64


def test_python_numbers_are_weak():
    x32 = np.ones(2, np.float32)

    def f(s, x):
        return np.sum(x * s * 2.0 * 3)
    for g in (lambda s: grad(f, 1)(s, x32), lambda s: jit(grad(f, 1))(s, x32)):
        assert g(2.0).dtype == np.float32
        assert g(np.float64(2.0)).dtype == np.float32
    assert jit(lambda s, x: x * s)(2.0, x32).dtype == np.float32
    assert jit(lambda s, x: x * s)(2, x32).dtype == np.float32
    assert jit(lambda s, x: x * s)(np.float64(2.0), x32).dtype == np.float64
    assert jit(lambda s, x: x * (s * 3.0))(2.0, x32).dtype == np.float32
    assert jit(lambda s, x: x * np.sin(s))(2.0, x32).dtype == np.float64
    assert jit(lambda s, x: x * s)(True, np.ones(2, np.int8)).dtype == np.int8
    assert jit(lambda x: x)(2).dtype == np.int64 and type(jit(lambda x: x)(True)) is np.bool_
    assert grad(lambda x: x * 1)(2.0).dtype == np.float64
    assert jit(lambda n, x: n * x)(3, 2.5) == 7.5


@pytest.mark.parametrize("f", [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a / b,
                               lambda a, b: a // b, lambda a, b: np.maximum(a, b), lambda a, b: a ** 2 + b])
@pytest.mark.parametrize("b", [np.ones(3, np.int8), np.ones(3, np.uint8), np.ones(3, np.int64),
                               np.ones(3, np.float32), np.ones(3), np.ones(3, bool), 2, 2.5,
                               np.float32(2), np.int16(2)])
@pytest.mark.parametrize("a", [np.ones(3, np.int32), np.ones(3, np.float32), np.ones(3), 3, 3.5])
def test_promotion_is_numpys(f, a, b):
    try:
        want = np.asarray(f(a, b))
    except TypeError:
        return
    for got in (jit(f)(a, b), jvp(f, (a, b), (a if np.asarray(a).dtype.kind == "f" else None,
                                              b if np.asarray(b).dtype.kind == "f" else None))[0]):
        assert (np.asarray(got).dtype, np.shape(got)) == (want.dtype, want.shape)
        np.testing.assert_array_equal(got, want)


def test_cotangents_and_tangents_are_checked_and_converted():
    _, pull = vjp(lambda x: x * 2, np.ones(2, np.float32))
    assert pull(np.ones(2, np.float32))[0].dtype == np.float32
    with pytest.raises(errors.DtypeError, match=r"f64\[2\].*f32\[2\]"):
        pull(np.ones(2))
    with pytest.raises(errors.ShapeError, match=r"f32\[3\].*f32\[2\]"):
        pull(np.ones(3, np.float32))
    assert vjp(np.sin, 0.0)[1](2)[0] == 2.0            # a Python number fits any float
    assert jvp(np.sin, (0.0,), (2,))[1] == 2.0


# ----- vmap axes ----------------------------------------------------------------------------------


def test_vmap_axes_as_pytrees():
    p = {"w": np.ones((3, 2)), "b": np.arange(3.0)}

    def f(p, x, s=1.0):
        return {"y": (p["w"] @ x + p["b"]) * s, "s": np.sum(x)}
    xs = np.arange(8.0).reshape(4, 2)
    out = vmap(f, (None, 0))(p, xs)
    np.testing.assert_allclose(out["y"], xs @ p["w"].T + p["b"])
    out = vmap(f, ({"w": 0, "b": None}, None), {"y": 1, "s": None})(
        {"w": np.ones((4, 3, 2)), "b": p["b"]}, xs[0])
    assert out["y"].shape == (3, 4) and out["s"] == 1.0
    out = vmap(f, ({"w": None, "b": -1}, -1), -1)(
        {"w": p["w"], "b": np.stack([p["b"]] * 4, 1)}, xs.T)
    np.testing.assert_allclose(out["y"], (xs @ p["w"].T + p["b"]).T)
    keyed = vmap(f, (None, 0))(p, xs, s=np.arange(4.0))
    np.testing.assert_allclose(keyed["y"], (xs @ p["w"].T + p["b"]) * np.arange(4.0)[:, None])
    assert vmap(lambda: 2.0, axis_size=3)().shape == (3,)
    assert vmap(lambda s, x: x if s == "double" else 0.0, (None, 0))("double", xs).shape == (4, 2)


def test_gradient_of_a_real_model():
    rng = np.random.default_rng(0)
    p = {"w": rng.normal(size=(3, 4)), "b": np.zeros(4), "v": rng.normal(size=4)}
    x, y = rng.normal(size=(5, 3)), rng.normal(size=5)

    def loss(p):
        return np.mean((np.tanh(x @ p["w"] + p["b"]) @ p["v"] - y) ** 2)
    got = grad(loss)(p)
    for k in p:
        want = gradient(lambda v, k=k: loss({**p, k: v}), p[k])
        np.testing.assert_allclose(got[k], want, rtol=1e-7, atol=1e-10)
