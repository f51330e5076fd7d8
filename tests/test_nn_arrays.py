"""functrans.nn on images and sequences: convolutions, pooling, attention, against loops in NumPy."""

import itertools
import traceback

import numpy as np
import pytest
from util import assert_same

import functrans as ft
from functrans import errors, nn
from functrans.testing import check_grads, check_vmap

E = errors


# ----- convolutions ---------------------------------------------------------------------------------


def convolved(x, w, bias, stride, pads, dilation, groups):
    """Position by position: sums of products of a window and a filter."""
    space, per = x.ndim - 2, w.shape[0] // groups
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    sizes = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    out = np.zeros((x.shape[0], w.shape[0], *sizes))
    for at in np.ndindex(*sizes):
        window = x[(slice(None), slice(None), *[slice(a * s, a * s + r, d) for a, s, r, d in
                                                zip(at, stride, reach, dilation, strict=True)])]
        for o in range(w.shape[0]):
            part = window[:, (o // per) * w.shape[1]:(o // per + 1) * w.shape[1]]
            out[(slice(None), o, *at)] = np.sum(part * w[o], axis=tuple(range(1, space + 2)))
    return out + bias.reshape(-1, *[1] * space)


CONVS = [(1, 1, 0, 1, 1), (1, 2, 1, 2, 2), (1, 1, "SAME", 1, 1), (2, 1, 1, 1, 1),
         (2, (2, 1), (1, 2), (1, 2), 3), (2, 2, "SAME", 1, 1), (2, 1, ((0, 2), (1, 0)), 1, 2),
         (3, 1, 0, 1, 1), (3, 2, 1, 1, 2)]


def spelled(value, space):
    return (value,) * space if isinstance(value, int) else value


def pairs_of(padding, sizes, reach, stride):
    if padding == "SAME":
        totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(sizes, reach, stride, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [p if isinstance(p, tuple) else (p, p) for p in spelled(padding, len(sizes))]


@pytest.mark.parametrize("space,stride,padding,dilation,groups", CONVS)
def test_conv(space, stride, padding, dilation, groups):
    rng = np.random.default_rng(space)
    x = rng.normal(size=(2, 6, *(7, 6, 5)[:space]))
    w, bias = rng.normal(size=(6, 6 // groups, *(3, 2, 2)[:space])), rng.normal(size=6)
    f = lambda x, w, bias: getattr(nn, f"conv{space}d")(x, w, bias, stride, padding, dilation, groups)
    strides, dilations = spelled(stride, space), spelled(dilation, space)
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    want = convolved(x, w, bias, strides, pairs_of(padding, x.shape[2:], reach, strides), dilations, groups)
    assert_same(f(x, w, bias), want, 1e-13)
    assert_same(f(*[v.astype("f4") for v in (x, w, bias)]), want.astype("f4"), 1e-5)
    assert_same(f(*[v.astype("f2") for v in (x, w, bias)]), want.astype("f2"), 2e-2)
    assert_same(f(x[0], w, bias), want[0], 1e-13)
    last = getattr(nn, f"conv{space}d")(
        np.moveaxis(x, 1, -1), np.moveaxis(w, (0, 1), (-1, -2)), bias, stride, padding, dilation, groups,
        layout=("NWC", "NHWC", "NDHWC")[space - 1])
    assert_same(np.moveaxis(last, -1, 1), want, 1e-13)
    check_grads(f, (x, w, bias), order=2 if space == 1 else 1)
    check_vmap(f, (x, w, bias), (0, None, None))
    check_vmap(f, (x, np.stack([w, w[::-1]]), bias), (None, 0, None))


@pytest.mark.parametrize("space,stride,padding,dilation,groups", [c for c in CONVS if c[2] != "SAME"])
def test_transposed_is_the_transpose(space, stride, padding, dilation, groups):
    """<conv_transpose(y), x> = <y, conv(x)>, with the same filters; output_padding fills up."""
    rng = np.random.default_rng(space)
    x = rng.normal(size=(2, 6, *(7, 6, 5)[:space]))
    w = rng.normal(size=(4 if groups == 2 else 6, 6 // groups, *(3, 2, 2)[:space]))
    f = lambda x: getattr(nn, f"conv{space}d")(x, w, None, stride, padding, dilation, groups)
    y = rng.normal(size=f(x).shape)
    (want,) = ft.linear_transpose(f, x)(y)
    name = f"conv_transpose{space}d"
    short = getattr(nn, name)(y, w, None, stride, padding, 0, groups, dilation)
    more = tuple(a - b for a, b in zip(x.shape[2:], short.shape[2:], strict=True))
    g = lambda y, w: getattr(nn, name)(y, w, None, stride, padding, more, groups, dilation)
    assert_same(g(y, w), want, 1e-12)
    check_grads(g, (y, w))
    last = getattr(nn, name)(np.moveaxis(y, 1, -1), np.moveaxis(w, (0, 1), (-2, -1)), None, stride, padding,
                             more, groups, dilation, layout=("NWC", "NHWC", "NDHWC")[space - 1])
    assert_same(np.moveaxis(last, -1, 1), want, 1e-12)


@pytest.mark.parametrize("k,s", [(2, 2), (3, 2), (3, 3), (2, 3), (5, 2)])
def test_transposed_same_padding(k, s):
    """Extent times stride; where the filter is no shorter than the stride, the transpose of SAME."""
    y, w = np.random.default_rng(k).normal(size=(1, 1, 4)), np.random.default_rng(s).normal(size=(1, 1, k))
    got = nn.conv_transpose1d(y, w, stride=s, padding="SAME")
    assert got.shape == (1, 1, 4 * s)
    if k >= s:
        x = np.zeros((1, 1, 4 * s))
        (want,) = ft.linear_transpose(lambda x: nn.conv1d(x, w, stride=s, padding="SAME"), x)(y)
        assert_same(got, want, 1e-13)


# ----- pooling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("window,stride,padding", [(2, None, 0), (3, 2, 1), (3, 1, "SAME"), (2, 3, 0)])
def test_pooling(space, window, stride, padding):
    rng = np.random.default_rng(10 * space + window)
    x = rng.permutation(2 * 3 * 7 * 6 * 5)[:2 * 3 * int(np.prod((7, 6, 5)[:space]))].astype(float)
    x = x.reshape(2, 3, *(7, 6, 5)[:space]) / 100
    strides = spelled(stride or window, space)
    pads = pairs_of(padding, x.shape[2:], (window,) * space, strides)
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, (window,) * space, tuple(range(2, 2 + space)))
    views = views[(slice(None), slice(None), *[slice(None, None, s) for s in strides])]
    axes = tuple(range(2 + space, 2 + 2 * space))
    highest = lambda x: getattr(nn, f"max_pool{space}d")(x, window, stride, padding)
    assert_same(highest(x), np.nanmax(views, axes))
    mean = lambda x, **k: getattr(nn, f"avg_pool{space}d")(x, window, stride, padding, **k)
    assert_same(mean(x), np.nansum(views, axes) / window**space, 1e-14)
    assert_same(mean(x, count_include_pad=False), np.nanmean(views, axes), 1e-14)
    for f in (highest, mean, lambda x: mean(x, count_include_pad=False)):
        check_grads(f, (x,))
        check_vmap(f, (x,))
        assert f(x.astype("f2")).dtype == np.float16
    last = getattr(nn, f"max_pool{space}d")(np.moveaxis(x, 1, -1), window, stride, padding,
                                            layout=("NWC", "NHWC", "NDHWC")[space - 1])
    assert_same(np.moveaxis(last, -1, 1), highest(x))
    assert_same(highest(x[0]), highest(x)[0])


def test_dilated_and_tied_windows():
    x = np.array([[[1.0, 5.0, 2.0, 5.0, 0.0]]])
    assert_same(nn.max_pool1d(x, 2, 1, dilation=2), np.array([[[2.0, 5.0, 2.0]]]))
    g = ft.grad(lambda x: np.sum(nn.max_pool1d(x, 4, 1)))(x)            # the first of two maxima
    assert_same(g, np.array([[[0.0, 2.0, 0.0, 0.0, 0.0]]]))


# ----- attention ------------------------------------------------------------------------------------


def attended(q, k, v, bias=0.0, mask=True, scale=None, causal=False, lengths=None, window=None):
    """Row by row; ``[b, heads, length, width]``. Rows that see nothing are 0."""
    (b, n, t, d), (heads, s) = q.shape, k.shape[1:3]
    bias, mask = np.broadcast_to(bias, (b, n, t, s)), np.broadcast_to(mask, (b, n, t, s))
    out = np.zeros((b, n, t, v.shape[-1]))
    for i, h, r in itertools.product(range(b), range(n), range(t)):
        g, at = h * heads // n, np.arange(s)
        seen = mask[i, h, r].copy()
        if causal:
            seen &= at <= r
        if lengths is not None:
            seen &= at < lengths[i]
        if window is not None:
            seen &= (at >= r - window[0]) & (at <= r + window[1])
        if seen.any():
            z = k[i, g, seen] @ q[i, h, r] * (d**-0.5 if scale is None else scale) + bias[i, h, r, seen]
            p = np.exp(z - np.logaddexp.reduce(z))
            out[i, h, r] = p @ v[i, g, seen]
    return out


RNG = np.random.default_rng(0)
Q, K, V = (RNG.normal(size=s) for s in ((2, 4, 9, 5), (2, 2, 11, 5), (2, 2, 11, 3)))
MASK = RNG.random((2, 1, 9, 11)) < 0.6
MASK[0, 0, 3] = False
OPTIONS = [{}, {"causal": True}, {"scale": 0.3}, {"bias": RNG.normal(size=(4, 9, 11))}, {"mask": MASK},
           {"mask": MASK[:, :, :1]}, {"lengths": np.array([4, 0])}, {"window": (2, 1)},
           {"causal": True, "window": (3, 0)},
           {"bias": RNG.normal(size=(2, 4, 1, 11)), "mask": MASK, "causal": True,
            "lengths": np.array([7, 11])}]


def attend(q, k, v, bias=None, mask=None, scale=None, causal=False, lengths=None, window=None):
    """By ``nn``, in the layout of ``attended``."""
    out = nn.dot_product_attention(*[np.swapaxes(x, 1, 2) for x in (q, k, v)], bias, mask, scale=scale,
                                   is_causal=causal, key_value_seq_lengths=lengths, local_window_size=window)
    return np.swapaxes(out, 1, 2)


@pytest.fixture(params=["whole", "blocks"])
def blocks(request, monkeypatch):
    """The same results with few scores at a time, in segments of few rows."""
    if request.param == "blocks":
        from functrans.nn import attention
        monkeypatch.setattr(attention, "BLOCK", 37)
        monkeypatch.setattr(attention, "LEAST_SEGMENT", 4)
    ft.clear_caches()
    yield
    ft.clear_caches()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o))
def test_attention(options, blocks):
    f = ft.jit(lambda q, k, v: attend(q, k, v, **options))
    want = attended(Q, K, V, **options)
    assert_same(f(Q, K, V), want, 1e-13)
    assert_same(f(*[x.astype("f4") for x in (Q, K, V)]), want.astype("f4"), 1e-5)
    assert f(*[x.astype("f2") for x in (Q, K, V)]).dtype == np.float16
    check_grads(f, (Q, K, V))
    ft.testing.check_jvp(f, lambda ps, ts: ft.jvp(f, ps, ts), (Q, K, V))
    if "bias" in options:
        check_grads(lambda b: attend(Q, K, V, **{**options, "bias": b}), (options["bias"],))


def test_attention_under_transforms(blocks):
    f = lambda q, k, v: attend(q[None], k[None], v[None], causal=True)[0]
    check_vmap(f, (Q, K, V))
    check_vmap(f, (Q[0], K, V), (None, 0, 0))
    check_grads(lambda q: f(q, K[0, :, :4], V[0, :, :4]), (Q[0, :, :3],), order=2)
    loss = lambda q: np.sum(f(q, K[0], V[0])**2)
    product = ft.jvp(ft.grad(loss), (Q[0],), (Q[1],))[1]
    step = 1e-5
    slope = (ft.grad(loss)(Q[0] + step * Q[1]) - ft.grad(loss)(Q[0] - step * Q[1])) / (2 * step)
    np.testing.assert_allclose(product, slope, atol=1e-8)


def test_attention_of_masked_and_extreme_scores(blocks):
    """Rows without keys: 0, and no gradient; what is masked has none either; large scores pick one key."""
    def loss(q, k, v):
        return np.sum(attend(q, k, v, mask=MASK)**2)
    gq, gk, gv = ft.grad(loss, (0, 1, 2))(Q, K, V)
    assert (gq[0, :, 3] == 0).all() and all(np.isfinite(g).all() for g in (gq, gk, gv))
    biased = ft.grad(lambda b: np.sum(attend(Q, K, V, bias=b)))(np.where(MASK, 0.0, -np.inf))
    assert (biased[~np.broadcast_to(MASK, biased.shape)] == 0).all() and np.isfinite(biased).all()
    big = attend(1e6 * Q, K, V)
    picked = np.argmax(np.einsum("bktd,bksd->bkts", Q, np.repeat(K, 2, 1)), -1)
    assert_same(big, np.take_along_axis(np.repeat(V, 2, 1), picked[..., None], 2), 1e-12)


def test_torch_layout_and_padding():
    f = nn.scaled_dot_product_attention
    assert_same(f(Q, K, V, enable_gqa=True), attended(Q, K, V), 1e-13)
    single = attended(Q[:1, :1], K[:1, :1], V[:1, :1], mask=MASK[:1])[0, 0]
    assert_same(f(Q[0, 0], K[0, 0], V[0, 0], MASK[0, 0]), single, 1e-13)
    wide = [np.stack([x, 2 * x]) for x in (Q, K, V)]
    m = RNG.normal(size=(2, 1, 9, 11))
    want = np.stack([attended(*[w[i] for w in wide], bias=m) for i in (0, 1)])
    assert_same(f(*wide, m, enable_gqa=True), want, 1e-13)
    out = nn.dot_product_attention(*[np.swapaxes(x, 1, 2) for x in (Q, K, V)],
                                   query_seq_lengths=np.array([4, 9]))
    assert (out[0, 4:] == 0).all()
    assert_same(np.swapaxes(out, 1, 2)[0, :, :4], attended(Q, K, V)[0, :, :4], 1e-13)
    keys = np.ones((4, 2, 3))
    assert nn.dot_product_attention(np.ones((0, 2, 3)), keys, keys).shape == (0, 2, 3)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_memory_is_linear(causal):
    """Temporary memory of plans, forward and backward; a matrix of scores would have 2.1 GB at 16384."""
    def temporary(f, length):
        x = ft.ShapeDtypeStruct((1, 2, length, 16), np.float32)
        cost = ft.jit(f).lower((x, x, x)).cost_analysis()
        return cost["temp bytes"] + cost["scratch bytes"]

    def total(args):
        return np.sum(nn.scaled_dot_product_attention(*args, is_causal=causal))
    for f, most in ((total, 20e6), (ft.grad(total), 100e6),
                    (lambda args: ft.jvp(ft.grad(total), (args,), (args,)), 150e6)):
        short, long, longer = [temporary(f, n) for n in (4096, 8192, 16384)]
        assert longer < most
        assert longer - long < 2.5 * (long - short) + 8e6


# ----- refusals -------------------------------------------------------------------------------------

X, W = np.ones((2, 3, 8, 8)), np.ones((4, 3, 3, 3))
A = np.ones((2, 5, 4, 8))
REFUSALS = [
    (lambda: nn.conv2d(X, np.ones((4, 2, 3, 3))), E.ShapeError,
     r"x has 3 channels, weight is f64\[4,2,3,3\]"),
    (lambda: nn.conv2d(X, W, groups=2), E.ShapeError, "groups must divide"),
    (lambda: nn.conv2d(X, np.ones((4, 3, 3))), E.ShapeError, r"\[out, in, \*space\] is needed"),
    (lambda: nn.conv2d(np.ones((2, 8)), W), E.ShapeError, "it needs 4 axes"),
    (lambda: nn.conv2d(X, W, np.ones(3)), E.ShapeError, r"bias is f64\[3\] for 4 output channels"),
    (lambda: nn.conv2d(X, W, padding="FULL"), ValueError, "padding is 'FULL'"),
    (lambda: nn.conv2d(X, W, padding=(1, 2, 3)), ValueError, "2 spatial axes"),
    (lambda: nn.conv2d(X, W, stride=0), ValueError, "stride must be an integer or 2 of them"),
    (lambda: nn.conv2d(X, W, layout="CHWN"), ValueError, "'NCHW' or 'NHWC'"),
    (lambda: nn.conv2d(X, np.ones((4, 3, 9, 9))), E.ShapeError, "the filter reaches over"),
    (lambda: nn.conv2d(X * 1j, W), E.DtypeError, "x is c128"),
    (lambda: nn.conv_transpose2d(X, W), E.ShapeError, r"\[in, out, \*space\]"),
    (lambda: nn.conv_transpose2d(X, np.ones((3, 4, 2, 2)), output_padding=1), ValueError, "less than stride"),
    (lambda: nn.max_pool2d(X, 2, padding=2), E.ShapeError, "padding alone"),
    (lambda: nn.max_pool2d(X, 9), E.ShapeError, "windows reach over"),
    (lambda: nn.avg_pool2d(X, (2, 2, 2)), ValueError, "window must be"),
    (lambda: nn.dot_product_attention(A, A[:1], A), E.ShapeError, "do not fit"),
    (lambda: nn.dot_product_attention(A, A[:, :, :3], A[:, :, :3]), E.ShapeError,
     "divide that of the queries"),
    (lambda: nn.dot_product_attention(A, A[..., 0], A), E.ShapeError, r"\[batch, length, heads, width\]"),
    (lambda: nn.dot_product_attention(A, A, A, mask=np.ones((5, 5))), E.DtypeError, "mask must be bools"),
    (lambda: nn.dot_product_attention(A, A, A, mask=np.ones((5, 6), bool)), E.ShapeError,
     r"mask is bool\[5,6\].*\(2, 4, 5, 5\)"),
    (lambda: nn.dot_product_attention(A, A, A, np.ones((3, 5, 5))), E.ShapeError, "bias is"),
    (lambda: nn.dot_product_attention(A, A, A, key_value_seq_lengths=np.ones(3, int)), E.ShapeError,
     "one for each"),
    (lambda: nn.dot_product_attention(A, A, A, local_window_size=-1), ValueError, "local_window_size"),
    (lambda: nn.scaled_dot_product_attention(A, A[:, :1], A[:, :1]), E.ShapeError, "enable_gqa"),
]


@pytest.mark.parametrize("call,kind,text", REFUSALS)
def test_refusals(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_refusals_name_the_line():
    with pytest.raises(E.ShapeError) as caught:
        ft.grad(lambda w: np.sum(nn.conv2d(X, w)))(np.ones((4, 2, 3, 3)))
    assert "test_nn_arrays.py" in str(caught.value)
    assert "weight must be [out, in, *space]" in str(caught.value)
    for call in (lambda: nn.softmax(np.ones((2, 0))), lambda: nn.max_pool2d(X, 9),
                 lambda: nn.glu(np.ones(3))):
        with pytest.raises(E.ShapeError) as caught:
            call()
        files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert all(["test_nn_arrays" in f for f in files])          # no frame of ours
