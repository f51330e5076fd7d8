"""Convolutions and sliding windows: the kernels at sizes that reach all their paths, and lax's functions."""

import os
import subprocess
import sys

import numpy as np
import pytest
from util import assert_same, rng_of

import functrans as ft
from functrans import lax
from functrans.ir.op import OPS
from functrans.kernels import lib

ADD, MAX, MIN, MUL = lax.add, lax.max, lax.min, lax.mul
# image, filter, strides, padding, dilation of the filter, groups: few filters and many, long lines and
# short ones, more taps and more pixels than a block, filters larger than the output
CASES = [
    ((3, 2, 9, 70), (5, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 3, 15, 13), (20, 3, 5, 3), (2, 3), (2, 1), (1, 2), 1),
    ((1, 40, 9, 8), (70, 40, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 24, 6, 6), (36, 8, 2, 3), (1, 2), (0, 1), (1, 1), 3),
    ((1, 1, 3000), (1, 1, 301), (1,), (150,), (1,), 1),
    ((2, 2, 600), (9, 2, 7), (3,), (5,), (4,), 1),
    ((4, 9, 14, 15), (11, 9, 12, 13), (1, 1), (0, 0), (1, 1), 1),
    ((3, 5, 40, 9), (60, 5, 19, 4), (1, 1), (0, 0), (2, 2), 1),
    ((7, 3, 4, 5, 6), (10, 3, 2, 3, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2), 1),
    ((2, 16, 5, 5), (16, 1, 3, 3), (1, 1), (1, 1), (1, 1), 16),
    ((3, 17, 6, 8), (33, 17, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 3, 600), (2, 3, 400), (1,), (0,), (1,), 1),
]


def conv(x, w, case):
    _, _, strides, pads, dilation, groups = case
    return lax.conv_general_dilated(x, w, strides, [(p, p) for p in pads], rhs_dilation=dilation,
                                    feature_group_count=groups)


def reference(x, w, case):
    _, _, strides, pads, dilation, groups = case
    return OPS["conv_general_dilated"].reference(
        x, w, window_strides=strides, padding=tuple([(p, p) for p in pads]), lhs_dilation=(1,) * len(strides),
        rhs_dilation=dilation, feature_groups=groups, batch_groups=1)


def rounding(dtype, n, chain):
    """Six standard deviations of the error of a sum of n products of standard normals, over sqrt(n).

    Errors are taken as independent and uniform within half a unit in the last place (Higham and Mary, SIAM J.
    Sci. Comput. 41, 2019): one for each product, since not all levels fuse it with the sum, one for each
    partial sum of a chain, whose squares are half of the chain's length on average, and one for each sum of
    chains, which are added in order."""
    chains = -(-n // chain)
    return 6 * np.finfo(dtype).eps / 2 * np.sqrt((1 + min(n, chain) / 2 + chains / 2) / 3)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_kernels(case, dtype):
    rng = rng_of(str(case), dtype)
    x, w = [rng.normal(size=s).astype(dtype) if dtype[0] == "f" else rng.integers(-9, 9, s).astype(dtype)
            for s in case[:2]]
    n = np.prod(case[1][1:])
    scale = np.sqrt(n)
    got, want = conv(x, w, case), reference(x, w, case)
    if dtype == "int32":
        return np.testing.assert_array_equal(got, want)
    # chains of at most 256 (FT_MM_KC), those of the reference in float64; and both results are rounded
    bound = rounding(dtype, n, 256) + rounding("float64", n, n)
    np.testing.assert_allclose(got / scale, want / scale, rtol=np.finfo(dtype).eps, atol=bound)
    ct = rng.normal(size=got.shape).astype(dtype)
    # <ct, conv(x, w)> is linear in x and in w: its gradients give it back
    whole = np.sum(ct.astype(float) * want.astype(float))
    gradients = ft.grad(lambda x, w: np.sum(ct * conv(x, w, case)), (0, 1))(x, w)
    for v, g in zip((x, w), gradients, strict=True):
        size = np.sqrt(np.sum(v.astype(float)**2) * np.sum(g.astype(float)**2))
        assert abs(np.sum(v.astype(float) * g) - whole) < (1e-5 if dtype == "float32" else 1e-12) * size


@pytest.mark.parametrize("case", [CASES[1], CASES[6], CASES[7]], ids=str)
def test_strides_of_operands(case):
    """Any layout is read in place: transposed, reversed, spread."""
    rng = rng_of(str(case))
    x, w = (rng.normal(size=s) for s in case[:2])
    want = conv(x, w, case)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]))
    wide[..., ::2] = x
    turn = (slice(None), slice(None), *[slice(None, None, -1)] * (x.ndim - 2))
    assert_same(ft.jit(lambda x, w: conv(x[..., ::2], w[turn], case))(wide, w[turn]), want)
    assert_same(conv(np.asfortranarray(x), np.asfortranarray(w), case), want)


@pytest.mark.parametrize("case", CASES[:8], ids=str)
def test_bits_do_not_depend_on_threads(case):
    rng = rng_of(str(case))
    x, w = (rng.normal(size=s).astype("float32") for s in case[:2])
    run = ft.jit(ft.value_and_grad(lambda x, w: np.sum(conv(x, w, case)**2), (0, 1)))
    threads, results = lib.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            lib.set_num_threads(n)
            results.append(run(x, w))
    finally:
        lib.set_num_threads(threads)
    for other in results[1:]:
        assert_same(other[0], results[0][0], 0)
        for a, b in zip(other[1], results[0][1], strict=True):
            assert_same(a, b, 0)


def test_infinities_stay_where_they_are():
    """What a window does not hold does not reach it: no product with zeros beside the line."""
    x = np.ones((1, 8, 5, 6))
    x[0, :, :, -1] = np.inf
    out = lax.conv(x, np.ones((9, 8, 3, 3)), (1, 1), "VALID")
    assert np.isfinite(out[..., :-1]).all() and np.isinf(out[..., -1]).all()
    ct = np.ones(out.shape)
    (dw,) = ft.linear_transpose(lambda w: lax.conv(x, w, (1, 1), "VALID"), np.ones((9, 8, 3, 3)))(ct)
    assert np.isfinite(dw[..., :-1]).all() and np.isinf(dw[..., -1]).all()


NARROW = """
import numpy as np, functrans as ft
from functrans import lax
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for wide in range(1, 10):
        for filters in (3, 4, 5, 6, 8, 9, 10, 17, 18):
            x, ct = rng.normal(size=(2, 3, 9, wide + 1)), rng.normal(size=(2, filters, 8, wide))
            x, ct = x.astype(dtype), ct.astype(dtype)
            f = lambda w: lax.conv(x, w, (1, 1), "VALID")
            (got,) = ft.linear_transpose(f, np.ones((filters, 3, 2, 2), dtype))(ct)
            view = np.lib.stride_tricks.sliding_window_view(x, (8, wide), (2, 3))
            want = np.einsum("ncyxhw,nohw->ocyx", view, ct)
            assert np.allclose(got, want, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)
"""


@pytest.mark.skipif(len(lib.levels()) < 2, reason="one level only")
@pytest.mark.parametrize("level", lib.levels()[:-1])
def test_narrow_lines_of_few_filters(level):
    """Short vectors: lines of few filters, ended by zeros, are longer than their taps side by side."""
    done = subprocess.run([sys.executable, "-c", NARROW], env={**os.environ, "FUNCTRANS_ISA": level},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_second_derivative():
    x, w = np.linspace(-1, 1, 20).reshape(1, 1, 20), np.array([[[0.5, -0.3, 0.2]]])

    def f(w):
        return np.sum(np.tanh(lax.conv(x, w, (1,), "SAME"))**2)
    h, step = ft.hessian(f)(w).reshape(3, 3), 1e-5
    for i, e in enumerate(np.eye(3).reshape(3, 1, 1, 3)):
        slope = (ft.grad(f)(w + step * e) - ft.grad(f)(w - step * e)) / (2 * step)
        np.testing.assert_allclose(h[i], slope.ravel(), rtol=1e-8)


# ----- lax ------------------------------------------------------------------------------------------


def test_layouts():
    """The strings move axes, nothing else."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3, 2, 3))
    want = lax.conv_general_dilated(x, w, (2, 1), "SAME")
    got = lax.conv_general_dilated(np.transpose(x, (0, 2, 3, 1)), np.transpose(w, (2, 3, 1, 0)), (2, 1),
                                   "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert_same(got, np.transpose(want, (0, 2, 3, 1)), 1e-14)
    swapped = lax.conv_general_dilated(np.swapaxes(x, 2, 3), w, (2, 1), "SAME",
                                       dimension_numbers=("NCWH", "OIHW", "CWNH"))
    assert_same(swapped, np.transpose(want, (1, 3, 0, 2)), 1e-14)


def test_transposed_convolution_is_the_transpose():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 7, 8, 3)), rng.normal(size=(3, 2, 3, 5))
    numbers = ("NHWC", "HWIO", "NHWC")

    def forward(x):
        return lax.conv_general_dilated(x, w, (2, 3), "VALID", dimension_numbers=numbers)
    ct = rng.normal(size=forward(x).shape)
    (want,) = ft.linear_transpose(forward, x)(ct)
    got = lax.conv_transpose(ct, w, (2, 3), "VALID", transpose_kernel=True)
    assert_same(got[:, :7, :8], want, 1e-13)
    assert lax.conv_transpose(ct, np.ones((3, 2, 5, 4)), (2, 3), "SAME").shape == (2, 6, 9, 4)


def test_windows_known_by_hand():
    x = np.array([[1.0, 5.0, 2.0], [4.0, 5.0, 0.0]])
    assert_same(lax.reduce_window(x, 0.0, ADD, (2, 2), None, "VALID"), np.array([[15.0, 12.0]]))
    assert_same(lax.reduce_window(x, 1.0, MUL, (1, 2), (1, 1)), np.array([[5.0, 10.0], [20.0, 0.0]]))
    assert_same(lax.reduce_window(x, 2.5, MIN, (2, 1)), np.array([[1.0, 2.5, 0.0]]))
    assert_same(lax.reduce_window(x, -np.inf, MAX, (1, 3), (1, 2), "SAME"), np.full((2, 2), 5.0))
    # of equal maxima the first one counts; a nan is the maximum
    g = ft.grad(lambda x: np.sum(lax.reduce_window(x, -np.inf, MAX, (2, 3))))(x)
    assert_same(g, np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    x[1, 2] = np.nan
    assert np.isnan(lax.reduce_window(x, -np.inf, MAX, (2, 2))[0, 1])


@pytest.mark.parametrize("window,strides", [((1, 1, 2, 2), (1, 1, 2, 2)), ((1, 2, 3, 5), (1, 1, 2, 1)),
                                            ((2, 1, 1, 7), (1, 1, 1, 3))])
def test_windows_large(window, strides):
    """Against NumPy's own sliding windows; threads give equal bits."""
    x = np.random.default_rng(2).normal(size=(6, 16, 30, 1100)).astype("float32")
    view = np.lib.stride_tricks.sliding_window_view(x, window)[tuple(slice(None, None, s) for s in strides)]
    axes = (4, 5, 6, 7)
    assert_same(lax.reduce_window(x, -np.inf, MAX, window, strides), view.max(axes))
    total = view.sum(axes, dtype="float64").astype("float32")
    assert_same(lax.reduce_window(x, 0.0, ADD, window, strides), total, 1e-5)
    run = ft.jit(ft.grad(lambda x: np.sum(lax.reduce_window(x, -np.inf, MAX, window, strides) * 3)))
    threads = lib.get_num_threads()
    try:
        lib.set_num_threads(1)
        one = run(x)
    finally:
        lib.set_num_threads(threads)
    assert one.sum(dtype=float) == 3 * view[..., 0, 0, 0, 0].size
    assert_same(run(x), one, 0)


@pytest.mark.parametrize("call,kind,text", [
    (lambda: lax.conv(np.ones((1, 1, 3)), np.ones((1, 1, 2)), (1,), "FULL"), ft.errors.ShapeError, "SAME"),
    (lambda: lax.conv(np.ones((1, 1, 3)), np.ones((1, 1, 2)), (1,), [(1, 1), (0, 0)]), ft.errors.ShapeError,
     "pair per axis"),
    (lambda: lax.conv_dimension_numbers((1, 1, 3), (1, 1, 2), ("NCH", "OIW", "NCH")), ft.errors.ShapeError,
     "same letters"),
    (lambda: lax.conv_dimension_numbers((1, 1, 3), (1, 1, 2), ("NCHW", "OIW", "NCH")), ft.errors.ShapeError,
     "distinct letters"),
    (lambda: lax.reduce_window(np.ones(3), 0.0, lax.eq, (2,)), ft.errors.DtypeError, "returned bool"),
    (lambda: lax.reduce_window(np.ones(3), 0.0, ADD, (2, 2)), ValueError, "one entry per axis"),
    (lambda: lax.conv(np.ones((1, 2, 3)), np.ones((1, 1, 2)), (1,), "SAME"), ValueError, "channels")])
def test_refusals(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
