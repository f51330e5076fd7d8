"""Products, einsum and numpy.linalg against NumPy; gradients against finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import functrans as ft
from functrans import errors
from functrans import numpy as fnp

rng = np.random.default_rng(0)


def array(*shape, dtype=float):
    return rng.normal(size=shape) if dtype is float else rng.integers(-5, 5, shape).astype(dtype)


def numeric(f, x, eps=1e-6):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = eps
        out[i] = (f(x + d) - f(x - d)) / (2 * eps)
    return out


def check(f, *args, derivatives=True):
    """Value, shape and dtype as NumPy's; gradients with respect to each argument."""
    want = f(*args)
    got = ft.jit(f)(*args)
    assert np.shape(got) == np.shape(want) and np.asarray(got).dtype == np.asarray(want).dtype
    tolerance = 1e-12 if np.asarray(want).dtype == np.float64 else 1e-6
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    if not derivatives or np.asarray(want).dtype.kind != "f":
        return
    w = np.cos(np.arange(want.size)).reshape(want.shape)
    for i, x in enumerate(args):
        def g(v, i=i):
            return np.sum(f(*args[:i], v, *args[i + 1:]) * w)
        np.testing.assert_allclose(ft.grad(g)(x), numeric(g, x), rtol=2e-5, atol=1e-6)


# ----- products -----------------------------------------------------------------------------------

MATMUL = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
          ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)), ((1, 2, 3), (5, 3, 4)),
          ((4, 1, 2, 3), (5, 3, 2)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((4, 5, 2, 3), (5, 3, 2)),
          ((2, 0), (0, 3)), ((0, 2, 3), (3, 2)), ((1, 1, 1), (1, 1, 1))]


@pytest.mark.parametrize(("a", "b"), MATMUL)
def test_matmul(a, b):
    check(np.matmul, array(*a), array(*b))
    check(lambda x, y: x @ y, array(*a), array(*b), derivatives=False)
    check(np.matmul, array(*a, dtype=np.int32), array(*b, dtype=np.int64))
    check(np.matmul, array(*a) > 0, array(*b) > 0)


def test_matmul_does_not_repeat_operands():
    def names(f, *args):
        return [e.op.name for e in ft.make_jaxpr(f)(*args).eqns]
    assert names(np.matmul, array(5, 2, 3), array(3, 4)) == ["dot_general"]
    assert names(np.matmul, array(5, 2, 3), array(5, 3, 4)) == ["dot_general"]
    assert names(np.matmul, array(2, 3), array(5, 3, 4)) == ["dot_general", "transpose"]
    assert names(np.matmul, array(6, 1, 2, 3), array(1, 5, 3, 4)) == [
        "reshape", "reshape", "dot_general", "transpose"]


@pytest.mark.parametrize(("a", "b"), [
    ((), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (4, 3, 2)),
    ((3,), (4, 3, 2))])
def test_dot(a, b):
    check(np.dot, array(*a), array(*b))
    if a:
        np.testing.assert_allclose(ft.jit(lambda x, y: x.dot(y))(np.ones(a), np.ones(b)),
                                   np.ones(a).dot(np.ones(b)))


def test_vdot_inner_outer_tensordot():
    check(np.vdot, array(2, 3), array(2, 3))
    check(np.inner, array(2, 3), array(4, 3))
    check(np.inner, array(), array(4, 3))
    check(np.outer, array(2, 3), array(4))
    for axes in (0, 1, 2, ([1], [0]), (1, 0), ([0, 1], [1, 0]), ([-1, 0], [0, 1])):
        check(lambda a, b, axes=axes: np.tensordot(a, b, axes), array(3, 3), array(3, 3))
    check(lambda a, b: np.tensordot(a, b, ([1, 2], [0, 2])), array(2, 3, 4), array(3, 5, 4))


def test_vector_ufuncs():
    check(np.vecdot, array(4, 1, 3), array(5, 3))
    check(lambda a, b: fnp.vecdot(a, b, axis=0), array(3, 4), array(3, 4))
    if hasattr(np, "matvec"):
        check(np.matvec, array(4, 2, 3), array(5, 1, 3))
        check(np.vecmat, array(5, 1, 3), array(4, 3, 2))


@pytest.mark.parametrize(("a", "b", "kwargs"), [
    ((3,), (3,), {}), ((4, 3), (3,), {}), ((3, 4), (3, 4), {"axis": 0}),
    ((3, 4), (4, 3), {"axisa": 0, "axisc": 0}), ((5, 1, 3), (4, 3), {})])
def test_cross(a, b, kwargs):
    check(lambda x, y: np.cross(x, y, **kwargs), array(*a), array(*b))


def test_cross_of_two_components():
    x, y = array(4, 2), array(4, 3)
    np.testing.assert_allclose(ft.jit(lambda x: np.cross(x, x[::-1]))(x),
                               x[:, 0] * x[::-1, 1] - x[:, 1] * x[::-1, 0])
    wide = np.concatenate([x, np.zeros((4, 1))], 1)
    np.testing.assert_allclose(ft.jit(np.cross)(x, y), np.cross(wide, y))
    np.testing.assert_allclose(ft.jit(np.cross)(y, x), np.cross(y, wide))


def test_product_errors():
    f = ft.jit(np.matmul)
    with pytest.raises(errors.ShapeError, match=r"f64\[2,3\] and f64\[4,2\] do not fit: 3 and 4"):
        f(array(2, 3), array(4, 2))
    with pytest.raises(errors.ShapeError, match=r"batch axes \(5,\) and \(4,\) do not broadcast"):
        f(array(5, 2, 3), array(4, 3, 2))
    with pytest.raises(errors.ShapeError, match="scalar"):
        f(array(2, 3), 2.0)
    with pytest.raises(errors.ShapeError, match="dot: "):
        ft.jit(np.dot)(array(2, 3), array(2))
    with pytest.raises(errors.ShapeError, match="inner: "):
        ft.jit(np.inner)(array(2, 3), array(2))
    with pytest.raises(errors.ShapeError, match="tensordot: "):
        ft.jit(np.tensordot)(array(2, 3), array(2, 4))
    with pytest.raises(errors.ShapeError, match="2 or 3 components"):
        ft.jit(np.cross)(array(4), array(4))
    with pytest.raises(errors.InPlaceError):
        ft.jit(lambda x: np.dot(x, x, out=np.zeros(())))(array(3))


# ----- einsum -------------------------------------------------------------------------------------

EINSUM = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ij,kj->ki", (2, 3), (4, 3)),
    ("i,i", (3,), (3,)), ("i,i->i", (3,), (3,)), ("i,j", (3,), (2,)), ("ba", (2, 3)), ("ij->", (2, 3)),
    ("ij->j", (2, 3)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("iij->ji", (3, 3, 2)), ("iijj->ij", (2, 2, 3, 3)),
    ("iii->i", (2, 2, 2)), ("ij,ij->", (2, 3), (2, 3)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("bij,jk->bik", (5, 2, 3), (3, 4)), ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 2)), ("i...,i...", (3, 2), (3, 4, 2)),
    ("...->...", (2, 3)), ("...i->i...", (2, 4, 3)), ("ij,jk->ik", (2, 3), (1, 4)),
    ("ij,ij->ij", (1, 3), (2, 1)), ("ij,i->", (2, 3), (2,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("i,ij,j", (2,), (2, 3), (3,)), ("ab,bc,ca->", (2, 3), (3, 4), (4, 2)),
    ("ij,kl->ijkl", (2, 3), (2, 2)), ("a,b,c->cab", (2,), (3,), (4,)), ("ii,jj->ij", (2, 2), (3, 3)),
    ("ij,jk->", (2, 3), (3, 4)), ("ij,k->i", (2, 3), (4,)), (",ij->ij", (), (2, 3)), ("i->i", (0,)),
    (" ij , jk -> ik ", (2, 3), (3, 4)), ("Ab,bA", (2, 3), (3, 2)),
    ("cij,dij,d->c", (2, 3, 4), (5, 3, 4), (5,)),
    ("ij,ij,ij->ij", (2, 3), (2, 3), (2, 3)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("ab,ab,c->", (1, 3), (2, 1), (4,)),
]


@pytest.mark.parametrize("case", EINSUM, ids=[c[0] for c in EINSUM])
def test_einsum(case):
    text, *shapes = case
    check(lambda *xs: np.einsum(text, *xs), *[array(*s) for s in shapes])
    check(lambda *xs: np.einsum(text, *xs, optimize=True), *[array(*s) for s in shapes], derivatives=False)
    check(lambda *xs: np.einsum(text, *xs), *[array(*s, dtype=np.int32) for s in shapes])


def test_einsum_forms():
    a, b = array(2, 3), array(3, 4)
    check(lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [0, 2]), a, b)
    check(lambda a, b: np.einsum(a, [0, 1], b, [1, 2]), a, b)
    check(lambda a, b: np.einsum(a, [5, 1], b, [1, 2]), a, b)
    check(lambda a: np.einsum(a, [Ellipsis, 1], [1, Ellipsis]), a)
    check(lambda a: np.einsum("ij->", a > 0), a)
    check(lambda a, b: np.einsum("ij,jk", a > 0, b > 0), a, b)
    check(lambda a: np.einsum("ij,j", a, np.arange(3, dtype=np.float32)), a)
    check(lambda a, b: np.einsum("ij,jk->ik", a, b, dtype=np.float64), a.astype(np.float32), b,
          derivatives=False)
    check(lambda a: np.einsum("i,i", a, [1.0, 2.0, 3.0]), array(3))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_random_einsum(data):
    sizes = {c: data.draw(st.integers(1, 3)) for c in "abcd"}
    terms = data.draw(st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=3))
    used = sorted({c for t in terms for c in t})
    out = "".join(data.draw(st.permutations(used))[:data.draw(st.integers(0, len(used)))])
    own = np.random.default_rng(1)      # its draws differ from run to run; other tests' should not
    xs = [own.normal(size=[sizes[c] for c in t]) for t in terms]
    text = ",".join(terms) + "->" + out
    np.testing.assert_allclose(ft.jit(lambda *xs: np.einsum(text, *xs))(*xs), np.einsum(text, *xs),
                               rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("args", "text"), [
    (("ij->k", (2, 3)), "never appeared in an input"), (("ij->ii", (2, 3)), "more than once"),
    (("ijk", (2, 3)), "too many subscripts for operand 0"), (("i", (2, 3)), "and no '...'"),
    (("i+", (2, 3)), "invalid subscript"), (("..i", (2, 3)), "not part of an ellipsis"),
    (("ij", (2, 3), (2, 3)), "more operands provided"), (("ij,i", (2, 3)), "fewer operands provided"),
    (("ii", (2, 3)), "names axes 0 and 1 alike"), (("ij,jk", (2, 3), (2, 3)), "'j' is 3 in one and 2"),
    (("...i->i", (2, 3)), "output needs an '...'"), (("i->j->k", (2,)), "only one '->'"),
])
def test_einsum_errors(args, text):
    subscripts, *shapes = args
    xs = [array(*s) for s in shapes]
    with pytest.raises(ValueError):
        np.einsum(subscripts, *xs)
    with pytest.raises(ValueError, match=text):
        ft.jit(lambda *xs: np.einsum(subscripts, *xs))(*xs)


# ----- linalg -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ord", [None, 2, 1, 0, np.inf, -np.inf, 3, 2.5, -1, -2])
@pytest.mark.parametrize(("shape", "axis"), [((4,), None), ((3, 4), 0), ((3, 4), -1), ((2, 3, 2), (1,))])
@pytest.mark.parametrize("keepdims", [False, True])
def test_vector_norms(ord, shape, axis, keepdims):
    x = array(*shape) + np.where(array(*shape) > 0, 2, -2)
    check(lambda x: np.linalg.norm(x, ord, axis, keepdims), x)
    if ord is not None and axis != (1,):
        check(lambda x: np.linalg.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims), x)


@pytest.mark.parametrize("ord", [None, "fro", 1, -1, np.inf, -np.inf])
@pytest.mark.parametrize("keepdims", [False, True])
def test_matrix_norms(ord, keepdims):
    check(lambda x: np.linalg.norm(x, ord, keepdims=keepdims), array(3, 4))
    for axis in ((0, 1), (2, 0), (-1, -2)):
        check(lambda x, axis=axis: np.linalg.norm(x, ord, axis, keepdims), array(3, 4, 2))
    if ord is not None:
        check(lambda x: np.linalg.matrix_norm(x, ord=ord, keepdims=keepdims), array(2, 3, 4))


def test_norms_of_other_inputs():
    check(np.linalg.norm, array(2, 3, 4))
    check(np.linalg.norm, np.arange(4), derivatives=False)
    check(np.linalg.norm, array(3).astype(np.float32), derivatives=False)
    check(np.linalg.vector_norm, array(2, 3))


@pytest.mark.parametrize("ord", [None, 1, 2, 3, 1.5, np.inf])
def test_gradient_of_a_norm_at_zero_is_zero(ord):
    x = np.zeros(3)

    def f(x):
        return np.linalg.norm(x, ord)
    np.testing.assert_array_equal(ft.grad(f)(x), x)
    assert ft.jvp(f, (x,), (np.ones(3),))[1] == 0
    np.testing.assert_array_equal(ft.grad(lambda x: np.linalg.norm(x))(np.zeros((2, 2))), np.zeros((2, 2)))


def test_norm_errors():
    with pytest.raises(ValueError, match="Invalid norm order for matrices"):
        ft.jit(lambda x: np.linalg.norm(x, 3))(array(2, 2))
    with pytest.raises(ValueError, match="Improper number of dimensions"):
        ft.jit(lambda x: np.linalg.norm(x, 1))(array(2, 2, 2))
    with pytest.raises(ValueError, match="Invalid norm order 'fro' for vectors"):
        ft.jit(lambda x: np.linalg.norm(x, "fro"))(array(2))
    with pytest.raises(errors.AxisError):
        ft.jit(lambda x: np.linalg.norm(x, axis=3))(array(2, 2))


def test_multi_dot():
    check(lambda *xs: np.linalg.multi_dot(xs), array(2, 3), array(3, 4))
    check(lambda *xs: np.linalg.multi_dot(xs), array(2, 3), array(3, 4), array(4, 1))
    check(lambda *xs: np.linalg.multi_dot(xs), array(3), array(3, 4), array(4, 5), array(5))
    check(lambda *xs: np.linalg.multi_dot(xs), array(2, 30), array(30, 2), array(2, 30), array(30, 4),
          derivatives=False)
    sizes = [e.inputs[0].aval.shape for e in ft.make_jaxpr(lambda *xs: np.linalg.multi_dot(xs))(
        array(10, 2), array(2, 10), array(10, 2)).eqns]
    assert sizes[0] == (2, 10)      # the cheap order multiplies the last two first


@pytest.mark.parametrize("n", [-2, -1, 0, 1, 2, 3, 5, 6])
def test_matrix_power(n):
    check(lambda x: np.linalg.matrix_power(x, n), array(3, 3), derivatives=n != 0)
    check(lambda x: np.linalg.matrix_power(x, n), array(2, 3, 3), derivatives=False)


def test_matrix_power_errors():
    with pytest.raises(errors.ShapeError, match="must be equal"):
        ft.jit(lambda x: np.linalg.matrix_power(x, 2))(array(2, 3))


def test_the_same_names_in_linalg():
    check(np.linalg.matmul, array(2, 3), array(3, 4))
    check(np.linalg.vecdot, array(2, 3), array(2, 3))
    check(lambda a, b: np.linalg.tensordot(a, b, axes=1), array(2, 3), array(3, 4))
    check(np.linalg.outer, array(2), array(3))
    check(np.linalg.cross, array(4, 3), array(4, 3))
    check(np.linalg.matrix_transpose, array(2, 3, 4))
    check(lambda x: np.linalg.trace(x, offset=1), array(2, 3, 4))
    check(lambda x: np.linalg.diagonal(x, offset=-1), array(2, 3, 4))
    with pytest.raises(errors.ShapeError, match="vectors are needed"):
        ft.jit(np.linalg.outer)(array(2, 2), array(3))


def test_without_tracers_it_is_numpys_own():
    x = array(3, 3)
    np.testing.assert_array_equal(fnp.linalg.inv(x), np.linalg.inv(x))
    assert fnp.linalg.norm(x) == np.linalg.norm(x)
    np.testing.assert_array_equal(fnp.einsum("ij->ji", x), x.T)
    np.testing.assert_array_equal(fnp.linalg.multi_dot([x, x]), x @ x)


def test_vmap_equals_loop():
    xs, y = array(4, 2, 3), array(3, 5)
    for f in (lambda x: x @ y, lambda x: y.T @ x.T, lambda x: np.einsum("ij,kj->ik", x, x),
              lambda x: np.linalg.norm(x, axis=0), lambda x: np.tensordot(x, y, 1), lambda x: np.outer(x, y)):
        np.testing.assert_allclose(ft.vmap(f)(xs), np.stack([f(x) for x in xs]))
