"""Sparse derivatives: patterns that hold the true one, matrices equal to the dense ones, colourings."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_random_programs import programs

from functrans import (
    custom_jvp,
    errors,
    grad,
    hessian,
    jacfwd,
    jit,
    lax,
    prepare,
    sparse,
    vmap,
)
from functrans.sparse import coloring, derivatives, structure

X = np.random.default_rng(0).normal(size=12)
A = np.diag(np.arange(1.0, 13)) + np.diag(np.ones(11), 1)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def tridiagonal(x):
    return np.concatenate([x[:1] ** 2, x[:-2] * x[1:-1] * x[2:], np.sin(x[-1:])])


def laplace(u):
    u = np.reshape(u, (3, 4))
    return np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1) - 4 * u + np.exp(u)


# Where the second entry is True, propagation finds just the true pattern.
FUNCTIONS = {
    "tridiagonal": (tridiagonal, True),
    "laplace": (laplace, True),
    "matrix": (lambda x: A @ np.sin(x), True),
    "matrix of x": (lambda x: x.reshape(3, 4) @ np.ones((4, 2)), True),
    "number times vector": (lambda x: lax.dot_general(np.array(2.0), x, (((), ()), ((), ()))), True),
    "zero times vector": (lambda x: lax.dot_general(np.array(0.0), x, (((), ()), ((), ()))) + x[0], True),
    "both": (lambda x: x.reshape(3, 4) @ x.reshape(4, 3), True),
    "cumsum": (np.cumsum, True),
    "cumsum backwards": (lambda x: np.cumsum(x.reshape(3, 4)[:, ::-1], axis=1), True),
    "moves": (lambda x: x[::-1].reshape(3, 4).T.ravel() * np.roll(x, 1), True),
    "stride": (lambda x: np.pad(x[1::3], 2) * 3, True),
    "gather": (lambda x: x[np.array([1, 1, 3])] * 2, True),
    "rows": (lambda x: x.reshape(4, 3)[np.array([2, 0])], True),
    "write": (lambda x: np.zeros(20).astype(float) + lax.fori_loop(
        0, 3, lambda i, c: c.at[i].set(c[i] * c[i + 1]), x)[0], False),
    "loop": (lambda x: lax.fori_loop(0, 4, lambda i, c: c.at[i].set(c[i] * c[i + 1]), x), True),
    "set": (lambda x: x.at[np.array([2, 5])].set(x[:2] * 3), True),
    "add": (lambda x: x.at[np.array([2, 5])].add(x[:2] * 3), True),
    "where": (lambda x: np.where(np.arange(12) > 5, x ** 2, 0.0), True),
    "mask": (lambda x: x * (np.arange(12) % 2), True),
    "scan": (lambda x: lax.scan(lambda c, v: (c * v, c + v), 1.0, x)[1], True),
    "scan backwards": (lambda x: lax.scan(lambda c, v: (c * v, c + v), 1.0, x, reverse=True)[1], True),
    "while": (lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.roll(c[1], 1) * 2),
                                       (0, x))[1], False),
    "cond": (lambda x: lax.cond(x[0] > 0, lambda v: v * 2, lambda v: v[::-1], x), False),
    "known cond": (lambda x: lax.cond(np.array(True), lambda v: v * 2, lambda v: v[::-1], x), True),
    "sort": (np.sort, False),
    "max": (lambda x: np.max(x.reshape(3, 4), axis=1), False),
    "prod": (lambda x: np.prod(x.reshape(3, 4), axis=0), False),
    "call": (lambda x: jit(lambda y: y * y)(x)[2:] * x[1], True),
    "custom": (lambda x: _custom(x)[1:], True),
    "slice at": (lambda x: lax.dynamic_slice(x, (np.argmax(x),), (3,)), False),
    "convolution": (lambda x: lax.conv(x.reshape(1, 2, 6), np.ones((3, 2, 3)), (2,), "SAME"), True),
    "no input": (lambda x: np.floor(x) + 1.0, True),
    "half": (lambda x: np.concatenate([x[:3], np.ones(3)]), True),
}


@custom_jvp
def _custom(x):
    return np.sin(x)


_custom.defjvp(lambda primals, tangents: (np.sin(primals[0]), np.cos(primals[0]) * tangents[0]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians(name):
    f, exact = FUNCTIONS[name]
    want = jacfwd(f)(X).reshape(-1, X.size)
    pattern = sparse.jacobian_sparsity(f)(X).toarray()
    assert pattern[want != 0].all()
    if exact:
        assert_array_equal(pattern, want != 0)
    for mode, order, layout in (("auto", "smallest_last", "csr"), ("forward", "natural", "csc"),
                                ("reverse", "largest_first", "csr")):
        got = sparse.jacobian(f, mode=mode, order=order, format=layout)(X)
        assert got.format == layout and got.has_canonical_format
        assert_allclose(got.toarray(), want, rtol=1e-12, atol=1e-12)


SCALARS = {
    "rosenbrock": rosenbrock,
    "laplace": lambda x: np.sum(laplace(x) ** 2),
    "far": lambda x: np.sum(np.sin(x[0] * x)) + x[3] ** 3 * x[7],
    "products": lambda x: np.sum((A @ x) ** 4),
    "separable": lambda x: np.sum(x ** 4) + x[0],
    "linear": lambda x: np.sum(3 * x),
    "scan": lambda x: lax.scan(lambda c, v: (np.tanh(c + v), None), 0.0, x)[0],
    "loop": lambda x: sum(x[i] * x[i + 2] ** 2 for i in range(10)),
    "while": lambda x: np.sum(lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.roll(c[1], 1) * x),
                                             (0, x))[1]),
}


@pytest.mark.parametrize("name", SCALARS)
def test_hessians(name):
    f = SCALARS[name]
    want = hessian(f)(X)
    assert sparse.hessian_sparsity(f)(X).toarray()[want != 0].all()
    for kind, order in itertools.product(derivatives.COLORINGS, coloring.ORDERS):
        got = sparse.hessian(f, coloring=kind, order=order)(X)
        assert_allclose(got.toarray(), want, rtol=1e-11, atol=1e-11 * abs(want).max())


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(p=programs(), data=st.data())
def test_random_programs(p, data):
    """The pattern holds the true one, and the matrix is the dense Jacobian's."""
    i = data.draw(st.integers(0, len(p.inputs) - 1))
    with np.errstate(all="ignore"):
        want = np.reshape(jacfwd(p.last, i)(*p.inputs), (-1, p.inputs[i].size))
        pattern = sparse.jacobian_sparsity(p.last, i)(*p.inputs).toarray()
        assert pattern[want != 0].all()
        if data.draw(st.integers(0, 9)) == 0:
            mode = data.draw(st.sampled_from(["forward", "reverse"]))
            got = sparse.jacobian(p.last, i, mode=mode)(*p.inputs)
            assert_allclose(got.toarray(), want, rtol=1e-9, atol=1e-9)


# ----- colourings ----------------------------------------------------------------------------------------


def _graphs():
    rng = np.random.default_rng(1)
    for n, density in ((1, 0.5), (8, 0.3), (30, 0.05), (30, 0.2), (12, 1.0)):
        m = rng.random((n, n)) < density
        yield m | m.T | np.eye(n, dtype=bool)
    grid = np.abs(np.arange(25)[:, None] // 5 - np.arange(25) // 5) + np.abs(
        np.arange(25)[:, None] % 5 - np.arange(25) % 5)
    yield grid <= 1


@pytest.mark.parametrize("order", coloring.ORDERS)
def test_colourings(order):
    for m in _graphs():
        pattern = sp.csr_array(m)
        colors = structure.columns_colored(pattern, order)
        for i, j in itertools.combinations(range(len(m)), 2):
            assert colors[i] != colors[j] or not (m[:, i] & m[:, j]).any()
        edges = structure._edges(pattern)
        star = coloring.color_star(*edges[:2], order)
        acyclic, trees = coloring.color_acyclic(*edges, order)
        rows = np.repeat(np.arange(len(m)), np.diff(edges[0]))
        for c in (star, acyclic):
            assert (c[rows] != c[edges[1]]).all()
        for w, x in zip(rows, edges[1], strict=True):       # no path of four vertices in two colours
            for v in np.flatnonzero(m[w]):
                for y in np.flatnonzero(m[x]):
                    if len({v, w, x, y}) == 4:
                        assert not (star[v] == star[x] and star[w] == star[y])
        for tree in np.unique(trees):                       # one edge less than vertices: no cycle
            mine = trees == tree
            assert len(np.unique(rows[mine])) == mine.sum() // 2 + 1
            assert len(np.unique(acyclic[rows[mine]])) == 2
        assert acyclic.max() <= structure.columns_colored(pattern, order).max()


def test_few_products():
    x = np.linspace(-1, 1, 500)
    assert prepare(sparse.jacobian(tridiagonal), x).n_colors == 3
    assert prepare(sparse.hessian(rosenbrock), x).n_colors == 3
    assert prepare(sparse.hessian(rosenbrock, coloring="acyclic"), x).n_colors == 2
    wide = prepare(sparse.jacobian(lambda x: np.stack([np.sum(x), np.sum(x ** 2)])), x)
    assert (wide.mode, wide.n_colors) == ("reverse", 2)


@pytest.mark.parametrize("n", [200])
def test_equal_to_dense(n):
    x = np.random.default_rng(2).normal(size=n)
    assert_allclose(sparse.jacobian(tridiagonal)(x).toarray(), jacfwd(tridiagonal)(x), rtol=1e-12, atol=1e-12)
    want = hessian(rosenbrock)(x)
    assert_allclose(sparse.hessian(rosenbrock)(x).toarray(), want, rtol=1e-12, atol=1e-12)


# ----- use -----------------------------------------------------------------------------------------------


def test_pytrees_and_several_arguments():
    def f(p, y, scale):
        return {"a": p["w"][1:] * y[:-1] * scale, "b": np.sum(y ** 2) * p["s"]}

    p, y = {"w": np.arange(1.0, 6.0), "s": np.float64(3.0)}, np.arange(5.0)
    got = sparse.jacobian(f, argnums=(0, 1))(p, y, 2.0).toarray()
    dense = jacfwd(f, argnums=(0, 1))(p, y, 2.0)
    want = np.block([[np.reshape(part, (-1, np.size(x))) for part, x in (
        (dense[k][0]["s"], p["s"]), (dense[k][0]["w"], p["w"]), (dense[k][1], y))] for k in "ab"])
    assert_allclose(got, want)


def test_float32_and_empty():
    x = X.astype(np.float32)
    got = sparse.jacobian(lambda x: x[1:] * x[:-1])(x)
    assert got.dtype == np.float32
    assert_allclose(got.toarray(), jacfwd(lambda x: x[1:] * x[:-1])(x))
    assert sparse.hessian(lambda x: np.sum(x ** 3), coloring="acyclic")(x).dtype == np.float32
    for f, x, shape in ((lambda x: x, np.zeros(0), (0, 0)), (lambda x: x[:0], np.ones(3), (0, 3)),
                        (lambda x: np.ones(2), np.ones(3), (2, 3))):
        for mode in ("forward", "reverse"):
            got = sparse.jacobian(f, mode=mode)(x)
            assert got.shape == shape and got.nnz == 0


def test_structure_is_shared_and_safe():
    jac = sparse.jacobian(tridiagonal)
    a, b = jac(X), jac(X + 1)
    assert np.shares_memory(a.indices, b.indices) and not np.shares_memory(a.data, b.data)
    with pytest.raises(ValueError, match="read-only"):
        a.indices[0] = 1
    assert_allclose(a @ X, jacfwd(tridiagonal)(X) @ X)


def test_captured_zeros_count_anew():
    m = np.eye(12)
    jac = sparse.jacobian(lambda x: m @ x)
    assert jac(X).nnz == 12
    m[0, 5] = 7.0
    assert_allclose(jac(X).toarray(), m)


def test_branches_on_values():
    def f(x):
        return x[1:] if x[0] > 0 else np.cumsum(x)

    jac = sparse.jacobian(f)
    for x in (np.ones(4), -np.ones(4), np.ones(4)):
        assert_allclose(jac(x).toarray(), jacfwd(f)(x))


def test_rules_of_users_are_used():
    scale = np.array(2.0)

    @custom_jvp
    def f(x):
        return x * 1.0

    f.defjvp(lambda primals, tangents: (primals[0] * 1.0, scale * tangents[0]))
    jac = sparse.jacobian(f)
    assert_array_equal(jac(X).toarray(), 2 * np.eye(12))
    scale[...] = 3.0
    assert_array_equal(jac(X).toarray(), 3 * np.eye(12))


def test_prepared():
    at = prepare(sparse.jacobian(tridiagonal), X)
    first = at(X)
    assert at(X * 2, out=first) is first
    assert_allclose(first.toarray(), jacfwd(tridiagonal)(X * 2))
    assert_array_equal(at.sparsity.toarray(), first.toarray() != 0)
    with pytest.raises(errors.ShapeError, match=r"prepared for f64\[12\] and called with f64\[3\]"):
        at(np.ones(3))
    with pytest.raises(errors.ArgumentError, match="out must be a csr matrix of float64 with 32 entries"):
        at(X, out=np.zeros((12, 12)))
    for bad in (first.tocsc(), sp.csr_array((12, 12)), first.astype(np.float32)):
        with pytest.raises(errors.ArgumentError, match="out must be"):
            at(X, out=bad)


def test_prepared_reads_the_other_arguments_at_every_call():
    def f(x, a, power, scale=1.0):
        return scale * np.concatenate([a * x ** power, a[:3] * x[1:4]])

    at = prepare(sparse.jacobian(f), X, np.ones(12), 2, scale=3.0)
    dense = jacfwd(f)
    b = np.arange(12.0)                         # one of them is zero: the pattern is another one
    for args, kwargs in [((X, 2 * np.ones(12), 2), {"scale": 0.5}), ((X, b, 2), {"scale": 1.0}),
                         ((X, b + 1, 3), {"scale": 1.0}), ((X, np.ones(12), 2), {"scale": 3.0})]:
        assert_allclose(at(*args, **kwargs).toarray(), dense(*args, **kwargs))
        assert_allclose(sparse.jacobian(f)(*args, **kwargs).toarray(), dense(*args, **kwargs))
    curve = prepare(sparse.hessian(lambda t, x: t * np.sum(x ** 3), argnums=1), 1.0, X)
    for t in (2.0, 5.0, 0.0, 1.0):
        assert_allclose(curve(t, X).toarray(), np.diag(6 * t * X))


def test_solvers_take_them():
    n = 40
    x0 = np.full(n, 0.5)
    found = scipy.optimize.minimize(rosenbrock, x0, jac=grad(rosenbrock), hess=sparse.hessian(rosenbrock),
                                    method="trust-constr", options={"maxiter": 500})
    assert_allclose(found.x, 1.0, atol=1e-5)

    def residuals(x):
        return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])

    found = scipy.optimize.least_squares(residuals, x0, jac=sparse.jacobian(residuals), method="trf")
    assert_allclose(found.x, 1.0, atol=1e-7)


# ----- operators -----------------------------------------------------------------------------------------


def test_operators():
    J, D = sparse.jacobian_operator(laplace)(X.reshape(3, 4)), jacfwd(laplace)(X).reshape(12, 12)
    v, m = np.arange(12.0), np.random.default_rng(3).normal(size=(12, 5))
    assert_allclose(J @ v, D @ v)
    assert_allclose(J.T @ v, D.T @ v)
    assert_allclose(J @ m, D @ m, atol=1e-12)
    assert_allclose(J.T @ m, D.T @ m, atol=1e-12)
    H, E = sparse.hessian_operator(rosenbrock)(X), hessian(rosenbrock)(X)
    assert_allclose(H @ v, E @ v)
    assert_allclose(H.H @ m, E @ m, atol=1e-9)
    shifted = sp.linalg.LinearOperator((12, 12), lambda v: H @ v + 1e4 * v, dtype=float)
    solved, info = sp.linalg.cg(shifted, v, rtol=1e-10)
    assert info == 0
    assert_allclose(solved, np.linalg.solve(E + 1e4 * np.eye(12), v))


# ----- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: sparse.hessian(lambda x: x * 2)(X), errors.NonScalarOutputError,
     r"sparse.hessian needs a function with a scalar result; it returned f64\[12\]"),
    (lambda: sparse.jacobian(lambda x: x)(np.arange(3)), errors.IntegerInputError,
     r"sparse.jacobian with respect to i64\[3\]"),
    (lambda: sparse.jacobian(lambda x: np.argsort(x))(X), errors.DtypeError, r"returns i64\[12\]"),
    (lambda: sparse.jacobian(np.sin, sparsity=np.eye(3))(X), errors.SparsityError,
     r"pattern has shape \(3, 3\), the derivative \(12, 12\)"),
    (lambda: sparse.jacobian(tridiagonal, sparsity=np.eye(12), check=True)(X), errors.SparsityError,
     "misses entries of row 1 and of 9 more: along a random direction"),
    (lambda: sparse.hessian(rosenbrock, sparsity=np.eye(12), check=True)(X), errors.SparsityError,
     "misses entries of row 0"),
    (lambda: sparse.jacobian(np.sin, mode="both"), errors.ArgumentError, "mode is 'both'"),
    (lambda: sparse.jacobian(np.sin, format="coo"), errors.ArgumentError, "format is 'coo'"),
    (lambda: sparse.jacobian(np.sin, order="random")(X), errors.ArgumentError, "order is 'random'"),
    (lambda: sparse.hessian(rosenbrock, coloring="tree"), errors.ArgumentError, "coloring is 'tree'"),
    (lambda: sparse.jacobian(3.0), errors.ArgumentError, "takes a function"),
    (lambda: jit(lambda x: sparse.jacobian(np.sin)(x).data)(X), errors.NotSupportedError, "SciPy matrix"),
    (lambda: vmap(lambda a: sparse.jacobian(lambda x: a * x)(X).data)(X), errors.NotSupportedError,
     "uses a traced value"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_pattern_given_by_the_user():
    band = sp.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(12, 12))
    given = sparse.jacobian(tridiagonal, sparsity=band, check=True)
    assert_allclose(given(X).toarray(), jacfwd(tridiagonal)(X))


def test_what_has_no_rule_is_said():
    with pytest.warns(sparse.SparsityWarning, match=r"taken for dense: triangular_solve at .*test_sparse"):
        pattern = sparse.jacobian_sparsity(lambda x: np.linalg.cholesky(np.diag(x)))(np.ones(3))
    assert pattern.toarray()[[0, 4, 8], [0, 1, 2]].all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparse.jacobian_sparsity(tridiagonal)(X)


def test_too_dense_is_said():
    n = 30_000
    with pytest.raises(errors.SparsityError, match="more than"):
        sparse.jacobian_sparsity(lambda x: np.sum(x) * x)(np.ones(n))
