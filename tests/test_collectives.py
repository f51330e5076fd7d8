"""Collectives over the named axes of vmap."""

import numpy as np
import pytest
from nested import gradient

from functrans import errors, grad, hessian, jacfwd, jacrev, jit, jvp, lax, linearize, make_jaxpr, vjp, vmap

XS = np.array([[1.0, -2.0, 0.5], [3.0, 0.5, -1.0], [-1.0, 4.0, 2.0], [0.7, 1.0, 1.5]])


def mapped(f, **options):
    return vmap(f, axis_name="i", **options)


PAIRS = [[0, 2], [3, 1]]              # groups along the axis, and who is with whom
MATES = [2, 3, 0, 1]
SCALE = np.arange(1.0, 5.0)


def rows(x):
    """A part for each example: [4, 3], the one for example j being (j + 1) * x."""
    return SCALE[:, None] * x


# All that need four examples.
EXCHANGES = {
    "ppermute": (lambda x: lax.ppermute(x, "i", [(0, 1), (1, 3), (3, 0)]),
                 lambda X: np.stack([X[3], X[0], 0 * X[2], X[1]])),
    "pshuffle": (lambda x: lax.pshuffle(x, "i", [2, 0, 3, 1]), lambda X: X[[2, 0, 3, 1]]),
    "pbroadcast": (lambda x: lax.pbroadcast(x, "i", 2), lambda X: np.stack([X[2]] * 4)),
    "all_to_all": (lambda x: lax.all_to_all(rows(x), "i", 0, 0), lambda X: SCALE[:, None, None] * X),
    "all_to_all to the end": (lambda x: lax.all_to_all(rows(x), "i", 0, -1),
                              lambda X: np.moveaxis(SCALE[:, None, None] * X, 1, 2)),
    "all_to_all tiled": (lambda x: lax.all_to_all(np.ravel(rows(x)), "i", 0, 0, tiled=True),
                         lambda X: np.stack([s * X.ravel() for s in SCALE])),
    "all_to_all in groups": (lambda x: lax.all_to_all(rows(x)[:2], "i", 0, 0, axis_index_groups=PAIRS),
                             lambda X: np.stack([X[[0, 2]], 2 * X[[3, 1]], 2 * X[[0, 2]], X[[3, 1]]])),
    "pswapaxes": (lambda x: lax.pswapaxes(rows(x), "i", 0), lambda X: SCALE[:, None, None] * X),
    "psum_scatter": (lambda x: lax.psum_scatter(rows(x), "i"), lambda X: np.outer(SCALE, X.sum(0))),
    "psum_scatter tiled": (lambda x: lax.psum_scatter(np.ravel(rows(x)), "i", tiled=True),
                           lambda X: np.outer(SCALE, X.sum(0))),
    "psum in groups": (lambda x: lax.psum(x, "i", axis_index_groups=PAIRS), lambda X: X + X[MATES]),
    "pmean in groups": (lambda x: lax.pmean(x, "i", axis_index_groups=PAIRS), lambda X: (X + X[MATES]) / 2),
    "pmax in groups": (lambda x: lax.pmax(x, "i", axis_index_groups=PAIRS),
                       lambda X: np.maximum(X, X[MATES])),
    "all_gather in groups": (lambda x: lax.all_gather(x, "i", axis_index_groups=PAIRS),
                             lambda X: np.stack([X[[0, 2]], X[[3, 1]], X[[0, 2]], X[[3, 1]]])),
}
CASES = {
    "psum": (lambda x: lax.psum(x, "i"), lambda X: np.broadcast_to(X.sum(0), X.shape)),
    "pmean": (lambda x: lax.pmean(x, "i"), lambda X: np.broadcast_to(X.mean(0), X.shape)),
    "pmax": (lambda x: lax.pmax(x, "i"), lambda X: np.broadcast_to(X.max(0), X.shape)),
    "pmin": (lambda x: lax.pmin(x, "i"), lambda X: np.broadcast_to(X.min(0), X.shape)),
    "all_gather": (lambda x: lax.all_gather(x, "i"), lambda X: np.stack([X] * len(X))),
    "all_gather axis 1": (lambda x: lax.all_gather(x, "i", axis=1), lambda X: np.stack([X.T] * len(X))),
    "all_gather tiled": (lambda x: lax.all_gather(x, "i", tiled=True),
                         lambda X: np.stack([X.ravel()] * len(X))),
    "normalised": (lambda x: x / lax.psum(np.abs(x), "i"), lambda X: X / np.abs(X).sum(0)),
    "centred": (lambda x: (x - lax.pmean(x, "i")) * np.sin(x), lambda X: (X - X.mean(0)) * np.sin(X)),
    "index": (lambda x: x * lax.axis_index("i"), lambda X: X * np.arange(len(X))[:, None]),
    "shared log-sum-exp": (lambda x: np.log(lax.psum(np.exp(x - lax.pmax(x, "i")), "i")),
                           lambda X: np.broadcast_to(np.log(np.exp(X - X.max(0)).sum(0)), X.shape)),
    "twice": (lambda x: lax.psum(x * lax.psum(x, "i"), "i"),
              lambda X: np.broadcast_to((X * X.sum(0)).sum(0), X.shape)),
}
CASES |= EXCHANGES
cases = pytest.mark.parametrize("case", CASES)


@cases
def test_values(case):
    f, plain = CASES[case]
    for run in (mapped(f), jit(mapped(f)), mapped(jit(f)), lambda x: mapped(f, in_axes=1)(x.T.copy()),
                lambda x: np.moveaxis(mapped(f, out_axes=-1)(x), -1, 0),
                lambda x: vjp(mapped(f), x)[0], lambda x: linearize(mapped(f), x)[0]):
        np.testing.assert_allclose(run(XS), plain(XS), rtol=1e-14)
    if case in EXCHANGES:
        return
    one = plain(XS[:1])
    np.testing.assert_allclose(mapped(f)(XS[:1]), one, rtol=1e-14)


@cases
def test_derivatives_outside(case):
    """grad of vmap: the batch is one function of all examples."""
    f, plain = CASES[case]
    weights = np.cos(np.arange(plain(XS).size)).reshape(plain(XS).shape)
    want = gradient(lambda X: np.sum(np.sin(plain(X)) * weights), XS)

    def loss(X):
        return np.sum(np.sin(mapped(f)(X)) * weights)
    for got in (grad(loss)(XS), jit(grad(loss))(XS), jacfwd(loss)(XS), jacrev(loss)(XS)):
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)
    t = np.sin(XS)
    assert jvp(loss, (XS,), (t,))[1] == pytest.approx(np.sum(want * t), rel=1e-7)


@pytest.mark.parametrize("case", [c for c in CASES if c not in EXCHANGES] + ["ppermute", "psum_scatter"])
def test_second_derivatives_outside(case):
    f, _ = CASES[case]

    def loss(X):
        return np.sum(np.sin(mapped(f)(X)))
    h = hessian(loss)(XS).reshape(12, 12)
    want = np.stack([gradient(lambda X, i=i: grad(loss)(X).ravel()[i], XS).ravel() for i in range(12)])
    np.testing.assert_allclose(h, want, rtol=1e-5, atol=1e-7)


def test_derivatives_inside():
    """vmap of grad: transpose(psum) is psum, so each example gets what its value does to all of them."""
    def loss(x):
        return np.sum(lax.psum(np.sin(x), "i") ** 2)
    s = np.sin(XS).sum(0)
    np.testing.assert_allclose(mapped(grad(loss))(XS), 2 * len(XS) * s * np.cos(XS))
    mean = mapped(grad(lambda x: np.sum(lax.pmean(x, "i"))))(XS)
    np.testing.assert_allclose(mean, np.ones_like(XS))
    np.testing.assert_allclose(mapped(lambda x: jvp(lambda v: lax.psum(v * v, "i"), (x,), (x,))[1])(XS),
                               np.broadcast_to(2 * (XS * XS).sum(0), XS.shape))
    gathered = mapped(grad(lambda x: np.sum(lax.all_gather(x, "i") * np.arange(4.0)[:, None])))(XS)
    np.testing.assert_allclose(gathered, np.outer(4 * np.arange(4.0), np.ones(3)))
    top = mapped(grad(lambda x: lax.pmax(x, "i")))(np.array([1.0, 3.0, 2.0]))
    np.testing.assert_allclose(top, [0.0, 3.0, 0.0])
    tie = grad(lambda x: mapped(lambda v: lax.pmax(v, "i"))(x)[0])(np.array([3.0, 1.0, 3.0]))
    np.testing.assert_allclose(tie, [0.5, 0.0, 0.5])


def test_synchronous_training_step():
    """Gradients per example, averaged by name, equal the gradient of the mean loss."""
    w, y = np.array([0.5, -0.25, 1.0]), np.arange(4.0)

    def loss(w, x, y):
        return (np.sum(w * x) - y) ** 2

    def step(w, x, y):
        return w - 0.1 * lax.pmean(grad(loss)(w, x, y), "i")
    got = mapped(step, in_axes=(None, 0, 0), out_axes=None)(w, XS, y)
    want = w - 0.1 * gradient(lambda w: np.mean([loss(w, x, v) for x, v in zip(XS, y, strict=True)]), w)
    np.testing.assert_allclose(got, want, rtol=1e-8)
    rows = mapped(step, in_axes=(None, 0, 0))(w, XS, y)
    np.testing.assert_allclose(rows, np.stack([want] * 4), rtol=1e-8)


def test_unmapped_and_constant_operands():
    w = np.array([1.0, 2.0])
    got = vmap(lambda w, x: (lax.psum(w, "i"), lax.psum(1, "i"), lax.psum(2.5, "i"), lax.pmean(w, "i"),
                             lax.pmax(w, "i"), lax.all_gather(w, "i"), x), (None, 0), axis_name="i")(w, XS)
    np.testing.assert_allclose(got[0], np.stack([4 * w] * 4))
    np.testing.assert_array_equal(got[1], [4] * 4)
    assert got[1].dtype == np.int64
    np.testing.assert_array_equal(got[2], [10.0] * 4)
    np.testing.assert_allclose(got[3], np.stack([w] * 4))
    np.testing.assert_allclose(got[4], np.stack([w] * 4))
    np.testing.assert_allclose(got[5], np.broadcast_to(w, (4, 4, 2)))
    assert vmap(lambda: lax.axis_index("i"), axis_size=3, axis_name="i")().tolist() == [0, 1, 2]
    assert vmap(lambda: lax.psum(1, "i"), axis_size=3, axis_name="i", out_axes=None)() == 3


def test_pytrees_integers_and_bools():
    p = {"a": np.arange(3), "b": (np.array([True, False, True]), None)}
    got = mapped(lambda p: lax.psum(p, "i"))(p)
    assert got["a"].tolist() == [3, 3, 3] and got["b"][0].tolist() == [2, 2, 2] and got["b"][1] is None
    assert mapped(lambda p: lax.pmax(p, "i"))(p)["a"].tolist() == [2, 2, 2]
    x32 = mapped(lambda x: lax.pmean(x, "i"))(XS.astype(np.float32))
    assert x32.dtype == np.float32


def test_nested_axes():
    xy = np.arange(6.0).reshape(2, 3)

    def f(x):
        return {"rows": lax.psum(x, "row"), "cols": lax.psum(x, "col"), "both": lax.psum(x, ("row", "col")),
                "at": lax.axis_index("row") * 10 + lax.axis_index("col"),
                "flat": lax.axis_index(("row", "col")), "mean": lax.pmean(x, ("col", "row"))}
    got = vmap(vmap(f, axis_name="col"), axis_name="row")(xy)
    np.testing.assert_allclose(got["rows"], np.broadcast_to(xy.sum(0), (2, 3)))
    np.testing.assert_allclose(got["cols"], np.broadcast_to(xy.sum(1)[:, None], (2, 3)))
    np.testing.assert_allclose(got["both"], np.full((2, 3), 15.0))
    np.testing.assert_array_equal(got["at"], [[0, 1, 2], [10, 11, 12]])
    np.testing.assert_array_equal(got["flat"], np.arange(6).reshape(2, 3))
    np.testing.assert_allclose(got["mean"], np.full((2, 3), 2.5))
    swapped = vmap(vmap(f, axis_name="row"), in_axes=1, out_axes=1, axis_name="col")(xy)
    for k in got:
        np.testing.assert_allclose(swapped[k], got[k])
    g = grad(lambda xy: np.sum(vmap(vmap(lambda x: f(x)["cols"] ** 2 * x, axis_name="col"),
                                    axis_name="row")(xy)))(xy)
    want = gradient(lambda xy: np.sum(xy.sum(1)[:, None] ** 2 * xy), xy)
    np.testing.assert_allclose(g, want, rtol=1e-8)


def test_inner_names_shadow_outer_ones():
    xy = np.arange(6.0).reshape(2, 3)
    got = vmap(vmap(lambda x: lax.psum(x, "i"), axis_name="i"), axis_name="i")(xy)
    np.testing.assert_allclose(got, np.broadcast_to(xy.sum(1)[:, None], (2, 3)))

    def f(x):
        inside = vmap(lambda y: y * lax.psum(x, "i"), axis_name="i")(np.ones(5))
        return np.sum(inside) + lax.psum(x, "i") + lax.axis_index("i")
    x = np.array([1.0, 2.0])                # x is the same in all five: its sum over the inner axis is 5 x
    np.testing.assert_allclose(vmap(f, axis_name="i")(x), 25 * x + 3.0 + np.arange(2))


def test_name_of_an_outer_axis_in_an_unnamed_vmap():
    xy = np.arange(6.0).reshape(2, 3)
    got = vmap(lambda row: vmap(lambda x: x + lax.psum(x, "i"))(row), axis_name="i")(xy)
    np.testing.assert_allclose(got, xy + xy.sum(0))
    got = vmap(lambda row: np.sum(row) + vmap(lambda x: lax.axis_index("i") * x)(row), axis_name="i")(xy)
    np.testing.assert_allclose(got, xy.sum(1)[:, None] + xy * [[0], [1]])
    g = vmap(lambda row: jacrev(lambda r: lax.psum(r, "i"))(row), axis_name="i")(xy)
    np.testing.assert_allclose(g, np.stack([2 * np.eye(3)] * 2))


def test_inside_jit_scan_cond_and_rules():
    f = jit(lambda x: lax.psum(x, "i") * x)
    np.testing.assert_allclose(mapped(f)(XS), XS.sum(0) * XS)
    np.testing.assert_allclose(mapped(f)(XS[:2]), XS[:2].sum(0) * XS[:2])      # not the first trace's size
    scanned = mapped(lambda x: lax.scan(lambda c, v: (c + lax.psum(v * c, "i"), None), 1.0, x)[0])(XS)
    c = np.ones(4)
    for v in XS.T:
        c = c + np.sum(v * c)
    np.testing.assert_allclose(scanned, c)
    both = mapped(lambda x: lax.cond(np.True_, lambda x: lax.psum(x, "i"), lambda x: x, x))(XS)
    np.testing.assert_allclose(both, np.broadcast_to(XS.sum(0), XS.shape))
    index = mapped(lambda x: lax.scan(lambda c, _: (c + lax.axis_index("i"), None), 0, None, 3)[0])(XS)
    assert index.tolist() == [0, 3, 6, 9]
    g = grad(lambda X: np.sum(mapped(jit(lambda x: lax.psum(np.sin(x), "i") * x))(X)))(XS)
    np.testing.assert_allclose(g, gradient(lambda X: np.sum(np.sin(X).sum(0) * X), XS), rtol=1e-8)


@pytest.mark.parametrize("f, kind, text", [
    (lambda x: lax.ppermute(x, "i", [(0, 1), (2, 1)]), errors.ShapeError, "a target once"),
    (lambda x: lax.pshuffle(x, "i", [0, 1, 2]), errors.ShapeError, "permutation of 4"),
    (lambda x: lax.pbroadcast(x, "i", 4), errors.IndexRangeError, "extent 4"),
    (lambda x: lax.all_to_all(x, "i", 0, 0), errors.ShapeError, "cut into 4 parts"),
    (lambda x: lax.all_to_all(x, "i", 1, 0), errors.AxisError, "axis 1"),
    (lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1], [2]]), errors.ShapeError, "groups of one size")])
def test_refusals(f, kind, text):
    with pytest.raises(kind, match=text):
        mapped(f)(XS)


def test_unbound_names():
    for f in (lambda x: lax.psum(x, "j"), lambda x: lax.pmean(x, "j"), lambda x: lax.pmax(x, "j"),
              lambda x: lax.pmin(x, "j"), lambda x: lax.all_gather(x, "j"), lambda x: x * lax.axis_index("j"),
              lambda x: lax.psum(x, ("i", "j")), lambda x: x * lax.axis_size("j")):
        for g, x in ((f, 1.0), (jit(f), 1.0), (grad(f), 1.0), (mapped(f), XS), (vmap(f), XS)):
            with pytest.raises(errors.UnboundAxisError, match=r"'[ij]'") as e:
                g(x)
            assert isinstance(e.value, NameError) and "axis_name=" in str(e.value)
            assert "test_collectives.py" in str(e.value)
    with pytest.raises(errors.UnboundAxisError, match="bound are 'i'"):
        mapped(lambda x: lax.psum(x, "j"))(XS)


def test_program_has_no_collective_left():
    jaxpr = make_jaxpr(mapped(grad(lambda x: np.sum(lax.psum(x * x, "i")))))(XS)
    assert not {e.op.name for e in jaxpr.eqns} & {"psum", "pmax", "all_gather", "axis_index"}
