"""functrans.nn, elementwise and by rows: values by NumPy and SciPy formulas, derivatives, edges, refusals."""

import numpy as np
import pytest
import scipy.special as sp
from scipy.stats import norm as gauss
from util import assert_same

import functrans as ft
from functrans import errors, nn, random
from functrans.testing import check_grads, check_vmap

X = np.array([-30.0, -3.2, -1.7, -0.6, -1e-3, 0.4, 1.3, 2.9, 3.4, 6.5, 40.0])
E, INF = errors, np.inf

# ----- activations: name, parameters, formula of NumPy and SciPy in float64, limits at -inf and inf -------

ACTIVATIONS = [
    ("relu", (), lambda x: np.maximum(x, 0), 0.0, INF),
    ("relu6", (), lambda x: np.clip(x, 0, 6), 0.0, 6.0),
    ("leaky_relu", (0.2,), lambda x: np.maximum(x, 0.2 * x), -INF, INF),
    ("hard_tanh", (), lambda x: np.clip(x, -1, 1), -1.0, 1.0),
    ("hard_sigmoid", (), lambda x: np.clip(x / 6 + 0.5, 0, 1), 0.0, 1.0),
    ("hard_silu", (), lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 0.0, INF),
    ("elu", (0.7,), lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))), -0.7, INF),
    ("celu", (0.7,), lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0) / 0.7)), -0.7, INF),
    ("selu", (), lambda x: 1.0507009873554805 * np.where(
        x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))), -1.7580993408473766, INF),
    ("softplus", (), lambda x: np.logaddexp(x, 0), 0.0, INF),
    ("softplus", (2.0,), lambda x: np.logaddexp(2 * x, 0) / 2, 0.0, INF),
    ("sigmoid", (), sp.expit, 0.0, 1.0),
    ("log_sigmoid", (), sp.log_expit, -INF, 0.0),
    ("tanh", (), np.tanh, -1.0, 1.0),
    ("silu", (), lambda x: x * sp.expit(x), 0.0, INF),
    ("mish", (), lambda x: x * np.tanh(np.log1p(np.exp(x))), 0.0, INF),
    ("gelu", (False,), lambda x: x * gauss.cdf(x), 0.0, INF),
    ("gelu", ("tanh",), lambda x: x * sp.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)), 0.0, INF),
    ("soft_sign", (), lambda x: x / (1 + np.abs(x)), None, None),
    ("squareplus", (), lambda x: (x + np.sqrt(x * x + 4)) / 2, None, INF),
    ("identity", (), lambda x: x, -INF, INF)]
ids = [f"{name}{params or ''}" for name, params, *_ in ACTIVATIONS]


@pytest.mark.parametrize("name,params,formula,low,high", ACTIVATIONS, ids=ids)
def test_activations(name, params, formula, low, high):
    f = lambda x: getattr(nn, name)(x, *params)
    want = formula(X)
    assert_same(f(X), want, 3e-15 if name != "gelu" else 2e-13)
    assert_same(f(X.astype("f4")), formula(X.astype("f4").astype(float)).astype("f4"), 1e-6)
    assert_same(f(X.astype("f2")), formula(X.astype("f2").astype(float)).astype("f2"), 2e-3)
    assert f(3).dtype == np.float64
    at = X[(np.abs(X) < 10) & (np.abs(X) > 0.01)]                # away from the kinks
    check_grads(f, (at,), order=2)
    check_vmap(f, (at.reshape(2, -1),))
    assert_same(ft.jit(f)(X), f(X), 0)
    for end, value in ((-INF, low), (INF, high)):
        if value is not None:
            np.testing.assert_allclose(f(end), value, atol=1e-15)
    slopes = ft.vmap(ft.grad(f))(np.array([-INF, -1e4, 1e4, INF]))
    assert name == "squareplus" or np.isfinite(slopes[1:3]).all(), slopes
    if low == 0.0 and name not in ("mish",) and params != ("tanh",):
        assert slopes[0] == 0


def test_tails_keep_their_digits():
    """Where 1 + erf(x) and 1 - sigmoid(x) have none left."""
    assert_same(nn.gelu(-9.0, approximate=False), np.float64(-9.0 * gauss.cdf(-9.0)), 1e-13)
    assert_same(nn.log_sigmoid(40.0), np.float64(-np.exp(-40.0)), 1e-13)
    assert ft.grad(nn.softplus)(-40.0) == pytest.approx(np.exp(-40.0), rel=1e-13)


@pytest.mark.parametrize("f,at,slope", [(nn.relu, 0.0, 0.0), (nn.relu6, 6.0, 0.0), (nn.hard_tanh, 1.0, 0.0),
                                        (nn.leaky_relu, 0.0, 1.0), (nn.hard_sigmoid, 3.0, 0.0)])
def test_kinks(f, at, slope):
    assert ft.grad(f)(at) == slope
    assert np.isnan(f(np.nan))


def test_glu():
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    assert_same(nn.glu(x, 1), x[:, :2] * sp.expit(x[:, 2:]), 1e-15)
    check_grads(lambda x: nn.glu(x, 1), (x,))


# ----- softmax and its like -------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), None])
def test_softmax(axis):
    x = np.random.default_rng(1).normal(size=(3, 4, 5)) * 20
    assert_same(nn.softmax(x, axis), sp.softmax(x, axis), 1e-14)
    assert_same(nn.log_softmax(x, axis), sp.log_softmax(x, axis), 1e-13)
    assert_same(nn.softmax(x.astype("f2"), axis), sp.softmax(x.astype("f2").astype(float), axis).astype("f2"),
                2e-3)
    for f in (nn.softmax, nn.log_softmax):
        check_grads(lambda x, f=f: f(x, axis), (x / 20,), order=2)
    check_vmap(nn.softmax, (x,), 1)


def test_softmax_of_masked_rows():
    x = np.array([[1.0, -INF, 2.0], [-INF, -INF, -INF], [1e4, -1e4, 0.0]])
    want = np.array([[sp.expit(-1.0), 0, sp.expit(1.0)], [0, 0, 0], [1, 0, 0]])
    assert_same(nn.softmax(x), want, 1e-15)
    mask = np.isfinite(x)
    assert_same(nn.softmax(np.where(mask, x, 7.0), where=mask), want, 1e-15)
    assert np.isneginf(nn.log_softmax(x)[1]).all()
    assert nn.logsumexp(x, axis=1)[1] == -INF
    # the Jacobian is diag(p) - p p^T, in both modes, also where p is 0
    for jac in (ft.jacfwd, ft.jacrev):
        got = jac(nn.softmax)(x)
        for i, p in enumerate(want):
            np.testing.assert_allclose(got[i, :, i], np.diag(p) - np.outer(p, p), atol=1e-15)
    second = ft.jacfwd(ft.jacrev(nn.softmax))(x)
    assert np.isfinite(second).all()


def test_one_hot():
    labels = np.array([[2, -1], [0, 300]], np.int16)
    want = np.zeros((2, 3, 2), "f4")
    want[0, 2, 0] = want[1, 0, 0] = 1
    assert_same(nn.one_hot(labels, 3, dtype=np.float32, axis=1), want)
    assert_same(nn.one_hot(np.array([2**32, 1]), 2), np.array([[0.0, 0.0], [0.0, 1.0]]))
    assert_same(ft.vmap(lambda k: nn.one_hot(k, 3))(labels), nn.one_hot(labels, 3))


# ----- cross-entropies ------------------------------------------------------------------------------


def cross_entropy(z, y, weight=None, ignore=None, smoothing=0.0, reduction="mean"):
    """By loops over examples, from the definition."""
    z = np.asarray(z, float)
    losses, count = [], 0.0
    for row, label in zip(z, y, strict=True):
        log_p = row - np.logaddexp.reduce(row)
        if np.ndim(label):
            target = (1 - smoothing) * label + smoothing / len(row)
            losses.append(-np.sum(target * log_p * (1 if weight is None else weight)))
            count += 1
        elif label == ignore:
            losses.append(0.0)
        else:
            target = (1 - smoothing) * np.eye(len(row))[label] + smoothing / len(row)
            losses.append(-np.sum(target * log_p * (1 if weight is None else weight)))
            count += 1 if weight is None else weight[label]
    return {"none": np.array(losses), "sum": np.sum(losses), "mean": np.sum(losses) / count}[reduction]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction, smoothing, weighted):
    rng = np.random.default_rng(2)
    z, y, p = rng.normal(size=(7, 5)) * 9, rng.integers(5, size=7), rng.dirichlet(np.ones(5), 7)
    y[3] = 1
    weight = rng.uniform(0.5, 2.0, 5) if weighted else None
    for labels, ignore in ((y, None), (y, 1), (p, None)):
        def f(z, labels=labels, ignore=ignore):
            return nn.cross_entropy(z, labels, weight, ignore_index=ignore, label_smoothing=smoothing,
                                    reduction=reduction)
        assert_same(f(z), cross_entropy(z, labels, weight, ignore, smoothing, reduction), 1e-12)
        check_grads(f, (z / 5,), order=2)
        moved = nn.cross_entropy(z.T, labels if labels is y else labels.T, weight, axis=0,
                                 ignore_index=ignore, label_smoothing=smoothing, reduction=reduction)
        assert_same(moved, f(z), 1e-13)
        assert_same(ft.jit(f)(z.astype("f4")), np.asarray(f(z)).astype("f4"), 1e-5)
        half = f(z.astype("f2"))
        assert half.dtype == np.float16 and np.isfinite(half).all()
    check_vmap(lambda z, y: nn.cross_entropy(z, y, weight, label_smoothing=smoothing), (z, y))


def test_cross_entropy_of_extreme_logits():
    z = np.array([[1e4, -1e4, 0.0], [-INF, 3.0, 3.0], [-INF, -INF, -INF], [0.0, -INF, 1.0]])
    y = np.array([1, 2, 0, 1])
    losses = nn.cross_entropy(z, y, reduction="none")
    assert_same(losses, np.array([2e4, np.log(2.0), INF, INF]), 1e-15)
    # softmax minus one-hot, row by row; for a row of nothing the softmax is 0
    p = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0], [sp.expit(-1.0), 0, sp.expit(1.0)]])
    for mode in (ft.jacrev, ft.jacfwd):
        got = mode(lambda z: nn.cross_entropy(z, y, reduction="none"))(z)
        np.testing.assert_allclose(got[range(4), range(4)], p - np.eye(3)[y], atol=1e-15)
    ok = np.array([1, 2])                            # smoothing leaves out what is not there
    smooth = nn.cross_entropy(z[:2], ok, label_smoothing=0.3, reduction="none")
    np.testing.assert_allclose(smooth, [0.7 * 2e4 + 0.1 * (2e4 + 1e4), np.log(2.0)], rtol=1e-14)
    g = ft.grad(lambda z: nn.cross_entropy(z, ok, label_smoothing=0.3, reduction="sum"))(z[:2])
    np.testing.assert_allclose(g[1], [0, 0.5 - 0.15, 0.5 - 0.85], atol=1e-15)
    where = np.isfinite(z[:2])
    masked = nn.cross_entropy(np.where(where, z[:2], 9.0), ok, where=where, label_smoothing=0.3)
    assert_same(masked, np.mean(smooth), 1e-14)
    assert nn.cross_entropy(z[:1], np.array([-100])) == 0


def test_labels_that_are_not_known():
    """Outside of the classes they are left out; they do not wrap onto another class."""
    z = np.random.default_rng(3).normal(size=(3, 4))
    f = ft.jit(lambda z, y: nn.cross_entropy(z, y, reduction="none"))
    got = f(z, np.array([1, 4, 2**32 + 1]))
    assert got[1] == got[2] == 0 and got[0] == nn.cross_entropy(z[:1], np.array([1]))
    with pytest.raises(E.IndexRangeError, match=r"labels\[1\] is 4, but there are 4 classes"):
        ft.grad(nn.cross_entropy)(z, np.array([1, 4, 0]))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(reduction):
    rng = np.random.default_rng(4)
    a, b, w = rng.normal(size=(5, 3)) * 2, rng.normal(size=(5, 3)), rng.uniform(0.5, 2, 3)
    y = rng.random((5, 3))
    d = a - b
    join = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}[reduction]
    cases = [
        (nn.mse_loss, (a, b), d**2), (nn.l1_loss, (a, b), np.abs(d)),
        (lambda a, b, **k: nn.huber_loss(a, b, 0.7, **k), (a, b), sp.huber(0.7, d)),
        (lambda a, b, **k: nn.smooth_l1_loss(a, b, 0.7, **k), (a, b), sp.huber(0.7, d) / 0.7),
        (nn.hinge_loss, (a, np.sign(b)), np.maximum(0, 1 - a * np.sign(b))),
        (nn.sigmoid_cross_entropy, (a, y), -y * np.log(sp.expit(a)) - (1 - y) * np.log(sp.expit(-a))),
        (lambda a, y, **k: nn.sigmoid_cross_entropy(a, y, w, pos_weight=3.0, **k), (a, y),
         w * (-3 * y * np.log(sp.expit(a)) - (1 - y) * np.log(sp.expit(-a)))),
        (nn.kl_div, (np.log(y + 1), y), sp.rel_entr(y, y + 1)),
        (lambda q, p, **k: nn.kl_div(q, p, log_target=True, **k), (np.log(y + 1), np.log(y)),
         sp.rel_entr(y, y + 1))]
    for f, args, want in cases:
        assert_same(f(*args, reduction=reduction), join(want), 1e-13)
        check_grads(lambda *xs, f=f: f(*xs, reduction=reduction), args, order=2)
        single = [x.astype("f4") for x in args]
        assert_same(f(*single, reduction=reduction), join(want).astype("f4"), 1e-5)
    check_vmap(lambda a, b: nn.huber_loss(a, b), (a, b))


def test_losses_at_their_edges():
    z = np.array([1e4, -1e4, 1e4, INF, -INF])
    y = np.array([0.0, 1.0, 1.0, 1.0, 0.0])
    assert_same(nn.sigmoid_cross_entropy(z, y, reduction="none"), np.array([1e4, 1e4, 0, 0, 0]))
    g = ft.grad(lambda z: nn.sigmoid_cross_entropy(z, y, reduction="sum"))(z)
    assert_same(g, np.array([1.0, -1.0, 0.0, 0.0, 0.0]))                   # sigmoid - label
    assert nn.sigmoid_cross_entropy(np.float32(0.5), np.array([1, 0])).dtype == np.float32
    assert nn.sigmoid_cross_entropy(0.5, np.array([True])) == nn.sigmoid_cross_entropy(0.5, 1.0)
    q, p = np.log(np.array([[0.25, 0.75]])), np.array([[0.0, 1.0]])
    assert nn.kl_div(q, p, reduction="batchmean") == -np.log(0.75)
    assert ft.grad(nn.hinge_loss)(1.0, 1.0) == 0
    v = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert_same(nn.cosine_similarity(v, np.array([4.0, 3.0])), np.array([24 / 25, 0.0]), 1e-15)
    assert np.isfinite(ft.grad(lambda v: np.sum(nn.cosine_similarity(v, np.array([4.0, 3.0]))))(v)).all()
    check_grads(nn.cosine_similarity, (v[:1], np.array([[1.0, -2.0]])), order=2)


def test_nll_loss():
    rng = np.random.default_rng(5)
    log_p, y, w = sp.log_softmax(rng.normal(size=(6, 4)), 1), rng.integers(4, size=6), rng.uniform(1, 2, 4)
    y[2] = 3
    used = y != 3
    each = np.where(used, -w[y] * log_p[range(6), y], 0)
    for reduction, want in (("none", each), ("sum", each.sum()), ("mean", each.sum() / w[y][used].sum())):
        assert_same(nn.nll_loss(log_p, y, w, ignore_index=3, reduction=reduction), want, 1e-14)
    check_grads(lambda x: nn.nll_loss(x, y, w, ignore_index=3), (log_p,))


# ----- normalisations -------------------------------------------------------------------------------


def normal(x, axes, eps):
    x = np.asarray(x, float)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


RNG = np.random.default_rng(6)
IMAGE, W6, B6 = RNG.normal(size=(3, 6, 4, 2)) * 3 + 1, RNG.normal(size=6), RNG.normal(size=6)
W42, B42 = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2))
along = (slice(None), None, None)
NORMS = {
    "layer": (lambda x, w, b: nn.layer_norm(x, (4, 2), w, b), (W42, B42),
              normal(IMAGE, (2, 3), 1e-5) * W42 + B42),
    "rms": (lambda x, w: nn.rms_norm(x, (4, 2), w, 1e-3), (W42,),
            IMAGE / np.sqrt(np.mean(IMAGE**2, (2, 3), keepdims=True) + 1e-3) * W42),
    "group": (lambda x, w, b: nn.group_norm(x, 3, w, b), (W6, B6), normal(
        IMAGE.reshape(3, 3, 2, 4, 2), (2, 3, 4), 1e-5).reshape(IMAGE.shape) * W6[along] + B6[along]),
    "instance": (nn.instance_norm, (W6, B6), normal(IMAGE, (2, 3), 1e-5) * W6[along] + B6[along]),
    "batch": (lambda x, w, b: nn.batch_norm(x, None, None, w, b, training=True)[0], (W6, B6),
              normal(IMAGE, (0, 2, 3), 1e-5) * W6[along] + B6[along]),
    "standard": (lambda x: nn.standardize(x, (1, 2)), (), normal(IMAGE, (1, 2), 1e-5))}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name):
    f, params, want = NORMS[name]
    assert_same(f(IMAGE, *params), want, 1e-13)
    assert_same(f(IMAGE.astype("f4"), *params), want.astype("f4"), 1e-5)
    assert f(IMAGE.astype("f2"), *params).dtype == np.float16
    check_grads(f, (IMAGE[:2, :, :2] if not params or params[0].ndim == 1 else IMAGE, *params), order=2)
    check_vmap(f, (np.stack([IMAGE, IMAGE[::-1] ** 2]), *params), (0, *[None] * len(params)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_rows_and_large_offsets(dtype):
    """Exactly 0; and digits are those of the deviations, not of the offset."""
    row = np.array([[0.1], [1e4], [-3e7]], dtype) * np.ones(1000, dtype)
    assert (nn.layer_norm(row, 1000) == 0).all()
    assert np.isfinite(ft.grad(lambda x: np.sum(nn.layer_norm(x, 1000)**2))(row)).all()
    steps = np.tile(np.array([0, 1, 2, 3], dtype), 250)
    assert_same(nn.layer_norm(steps + dtype_offset(dtype), 1000), nn.layer_norm(steps, 1000), 1e-6)


def dtype_offset(dtype):
    return np.array(2.0**22 if dtype == "float32" else 2.0**50, dtype)


def test_running_statistics():
    x = np.random.default_rng(7).normal(size=(4, 5, 3)) + 2
    mean, var = np.arange(5.0), np.arange(1.0, 6.0)
    y, new_mean, new_var = nn.batch_norm(x, mean, var, training=True, momentum=0.3)
    assert_same(new_mean, 0.7 * mean + 0.3 * x.mean((0, 2)), 1e-14)
    assert_same(new_var, 0.7 * var + 0.3 * x.var((0, 2), ddof=1), 1e-14)
    y, same_mean, same_var = nn.batch_norm(x, mean, var)
    assert_same(y, (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5), 1e-14)
    assert (same_mean == mean).all() and (same_var == var).all()
    last = nn.batch_norm(np.swapaxes(x, 1, 2), mean, var, training=True, axis=-1)
    assert_same(last[0], np.swapaxes(nn.batch_norm(x, mean, var, training=True)[0], 1, 2), 1e-14)
    single = nn.batch_norm(x.astype("f4"), mean.astype("f4"), var.astype("f4"), training=True)
    assert all(v.dtype == np.float32 for v in single)


def test_standardize_with_a_mask():
    x = np.random.default_rng(8).normal(size=(3, 6))
    mask = np.arange(6) < np.array([[6], [4], [1]])
    got = nn.standardize(x, where=mask, epsilon=1e-3)
    for row, m, g in zip(x, mask, got, strict=True):
        np.testing.assert_allclose(g, (row - row[m].mean()) / np.sqrt(row[m].var() + 1e-3), rtol=1e-12)
    assert_same(nn.standardize(x, mean=1.0, variance=4.0, epsilon=0.0), (x - 1) / 2, 1e-15)
    check_grads(lambda x: nn.standardize(x, where=mask), (x,))


# ----- embedding, dropout, initializers -------------------------------------------------------------


def test_embedding():
    table, at = np.random.default_rng(9).normal(size=(5, 2)), np.array([[1, 4], [1, 0]])
    assert_same(nn.embedding(at, table), table[at])
    ct = np.arange(8.0).reshape(2, 2, 2)
    g = ft.grad(lambda t: np.sum(nn.embedding(at, t, padding_idx=4) * ct))(table)
    want = np.zeros((5, 2))
    want[1], want[0] = ct[0, 0] + ct[1, 0], ct[1, 1]
    assert_same(g, want)
    check_vmap(nn.embedding, (at, table), (0, None))


def test_dropout():
    x, key = np.full((200, 300), 2.0, "f4"), random.key(3)
    y = nn.dropout(x, 0.3, key=key)
    assert y.dtype == np.float32 and set(np.unique(y)) == {0.0, np.float32(2 / 0.7)}
    assert abs(np.mean(y == 0) - 0.3) < 0.01
    assert (ft.jit(lambda x, k: nn.dropout(x, 0.3, key=k))(x, key) == y).all()
    assert (ft.grad(lambda x: np.sum(nn.dropout(x, 0.3, key=key)))(x) == y / 2).all()
    rows = nn.dropout(x, 0.3, key=key, broadcast_dims=1)
    assert (rows == rows[:, :1]).all() and 0.2 < np.mean(rows == 0) < 0.4
    assert nn.dropout(x, training=False) is x and (nn.dropout(x, 1.0, key=key) == 0).all()
    keys = random.split(key, 3)
    assert_same(ft.vmap(lambda x, k: nn.dropout(x, 0.5, key=k))(x[:3], keys),
                np.stack([nn.dropout(r, 0.5, key=k) for r, k in zip(x[:3], keys, strict=True)]))


FANS = [("glorot_uniform", 2 / (300 + 400)), ("glorot_normal", 2 / (300 + 400)), ("he_uniform", 2 / 300),
        ("he_normal", 2 / 300), ("lecun_uniform", 1 / 300), ("lecun_normal", 1 / 300)]


@pytest.mark.parametrize("name,variance", FANS)
def test_scaled_initializers(name, variance):
    init = nn.initializers.__dict__[name]
    w = init()(random.key(1), (300, 400), np.float32)
    assert w.dtype == np.float32 and w.shape == (300, 400)
    assert abs(np.var(w.astype(float)) / variance - 1) < 0.02
    assert abs(np.mean(w)) < 4 * np.sqrt(variance / w.size)
    bound = np.sqrt(3 * variance) if "uniform" in name else 2 * np.sqrt(variance) / 0.8796
    assert 0.98 * bound < np.abs(w).max() <= bound * (1 + 1e-6)
    filters = init(in_axis=1, out_axis=0)(random.key(1), (400, 12, 5, 5))      # OIHW: the same fan in
    if "glorot" not in name:
        assert abs(np.var(filters) / variance - 1) < 0.02


def test_other_initializers():
    key, init = random.key(2), nn.initializers
    w = init.orthogonal(2.0)(key, (3, 4, 5))
    assert_same(w.reshape(12, 5).T @ w.reshape(12, 5), 4 * np.eye(5), 1e-13)
    assert_same(init.orthogonal(column_axis=0)(key, (2, 7)) @ init.orthogonal(column_axis=0)(key, (2, 7)).T,
                np.eye(2), 1e-13)
    x = init.truncated_normal(0.5, lower=-1.0, upper=3.0)(key, (10_000,))
    assert -0.5 <= x.min() < -0.49 and 1.2 < x.max() <= 1.5
    assert abs(init.normal(0.1)(key, (10_000,)).std() - 0.1) < 0.003
    u = init.uniform(0.5)(key, (10_000,))
    assert u.min() >= 0 and 0.49 < u.max() < 0.5
    assert (init.zeros(key, 2) == 0).all() and (init.ones(key, (2,), "f4") == 1).all()
    assert ft.vmap(lambda k: init.he_normal()(k, (4, 3)))(random.split(key, 2)).shape == (2, 4, 3)
    grouped = init.variance_scaling(1.0, "fan_in", "normal", batch_axis=0)(key, (50, 40, 30))
    assert abs(np.var(grouped) * 40 - 1) < 0.02


# ----- refusals -------------------------------------------------------------------------------------

Z = np.zeros((2, 3))
REFUSALS = [
    (lambda: nn.relu(1j), E.DtypeError, "nn.relu: x is c128"),
    (lambda: nn.gelu(1.0, "erf"), ValueError, "approximate must be"),
    (lambda: nn.glu(np.ones(3)), E.ShapeError, "no halves"),
    (lambda: nn.softmax(Z, 2), E.AxisError, "axis 2"),
    (lambda: nn.softmax(Z, where=np.ones(3)), E.DtypeError, "where must be bools"),
    (lambda: nn.softmax(Z, where=np.ones(4, bool)), E.ShapeError, "does not broadcast"),
    (lambda: nn.softmax(np.ones((2, 0))), E.ShapeError, "nothing along"),
    (lambda: nn.one_hot(np.ones(2), 3), E.DtypeError, "must be integers"),
    (lambda: nn.one_hot(np.ones(2, int), 0), ValueError, "positive"),
    (lambda: nn.cross_entropy(Z, np.array([0, 3])), E.IndexRangeError, r"labels\[1\] is 3, but there are 3"),
    (lambda: nn.cross_entropy(Z, np.array([0, -1])), E.IndexRangeError, "numbered from 0 to 2"),
    (lambda: nn.cross_entropy(Z, np.array([0, 1, 2])), E.ShapeError, r"i64\[3\] for logits f64\[2,3\]"),
    (lambda: nn.cross_entropy(Z, np.ones((2, 2))), E.ShapeError, "probabilities are"),
    (lambda: nn.cross_entropy(Z, np.ones(2, bool)), E.DtypeError, "labels are bool"),
    (lambda: nn.cross_entropy(Z, np.zeros(2, int), np.ones(2)), E.ShapeError, "for 3 classes"),
    (lambda: nn.cross_entropy(Z, np.zeros(2, int), reduction="avg"), ValueError, "'avg'"),
    (lambda: nn.cross_entropy(Z, np.zeros(2, int), label_smoothing=1.5), ValueError, "1.5"),
    (lambda: nn.sigmoid_cross_entropy(Z, np.ones(2)), E.ShapeError, "logits f64.*labels f64"),
    (lambda: nn.mse_loss(Z, np.ones(2)), E.ShapeError, "do not broadcast"),
    (lambda: nn.huber_loss(Z, Z, 0.0), ValueError, "delta"),
    (lambda: nn.layer_norm(Z, 2), E.ShapeError, "normalized_shape"),
    (lambda: nn.layer_norm(Z, 3, np.ones(2)), E.ShapeError, r"weight is f64\[2\]"),
    (lambda: nn.layer_norm(Z, 3, eps=-1.0), ValueError, "eps"),
    (lambda: nn.group_norm(Z, 2), E.ShapeError, "2 groups of 3 channels"),
    (lambda: nn.batch_norm(Z), E.ArgumentError, "running_mean and running_var"),
    (lambda: nn.batch_norm(Z, np.zeros(2), np.ones(3)), E.ShapeError, r"running_mean is f64\[2\]"),
    (lambda: nn.embedding(np.array([5]), Z), E.IndexRangeError, "there are 2 rows"),
    (lambda: nn.embedding(np.array([0.5]), Z), E.DtypeError, "indices must be integers"),
    (lambda: nn.dropout(Z), E.ArgumentError, "no key"),
    (lambda: nn.dropout(Z, 1.5, key=random.key(0)), ValueError, "1.5"),
    (lambda: nn.initializers.he_normal()(random.key(0), (3,)), E.ShapeError, "no inputs and outputs"),
    (lambda: nn.initializers.he_normal()(random.key(0), (3, 2), np.int32), E.DtypeError, "int32"),
    (lambda: nn.initializers.variance_scaling(1.0, "fan", "normal"), ValueError, "fan_avg"),
    (lambda: nn.initializers.orthogonal()(random.key(0), (3,)), E.ShapeError, "rows and columns"),
]


@pytest.mark.parametrize("call,kind,text", REFUSALS)
def test_refusals(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
