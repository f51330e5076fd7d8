"""L-BFGS, its line search, and the training loop."""

import sys
import warnings

import numpy as np
import pytest
import scipy.optimize
from failing import Cases
from util import assert_tree_close

from functrans import errors, grad, jit, jvp, lax, tree, value_and_grad, vmap
from functrans import optimizers as opts
from functrans.optimizers import apply_updates, minimize


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def beale(x):
    a, b = x[0], x[1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b ** 2) ** 2 + (2.625 - a + a * b ** 3) ** 2


def barrier(x):
    """Infinite, then nan, beyond x = 2; the minimum is at 2 - sqrt(0.1) or so."""
    return np.sum(-0.1 * np.log(2.0 - x) - x)


def steep(x):
    return np.sum(np.exp(x) - 3.0 * x)


def scaled(x):
    return np.sum(np.array([1.0, 1e4, 1e-3]) * (x - 1.0) ** 2)


PROBLEMS = {
    "rosenbrock2": (rosenbrock, np.array([-1.2, 1.0])),
    "rosenbrock30": (rosenbrock, np.full(30, -1.0)),
    "beale": (beale, np.array([1.0, 1.0])),
    "barrier": (barrier, np.array([-50.0, 1.9])),
    "steep": (steep, np.array([15.0, -300.0])),
    "scaled": (scaled, np.array([5.0, -3.0, 100.0])),
}


# ----- the line search -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("length", [1e-6, 1e-2, 1.0, 30.0])
def test_strong_wolfe_conditions(name, length):
    """Nocedal and Wright, eq. 3.7, at what the search returns, for directions much too short and too long."""
    f, x = PROBLEMS[name]
    value, g = value_and_grad(f)(x)
    direction = -length * g / np.linalg.norm(g)
    opt = opts.zoom_linesearch(40)
    with np.errstate(all="ignore"):
        moves, state = opt.update(direction, opt.init(x), x, value=value, grad=g, value_fn=f)
        plain, _ = opt.update(direction, opt.init(x), x, value_fn=f)
    t = state.learning_rate
    np.testing.assert_allclose(moves, t * direction, rtol=1e-15)
    np.testing.assert_array_equal(moves, plain)
    end, slope = f(x + moves), grad(f)(x + moves)
    assert t > 0 and end <= value + 1e-4 * t * (g @ direction)
    assert abs(slope @ direction) <= 0.9 * abs(g @ direction)
    assert state.value == pytest.approx(end, rel=1e-12)
    np.testing.assert_allclose(state.grad, slope, rtol=1e-9, atol=1e-9)


SHAPES = {
    "parabola": lambda t, a, b: a * (t - b) ** 2,
    "cosh": lambda t, a, b: np.cosh(a * (t - b)),
    "well": lambda t, a, b: 1e-3 * t * t - np.exp(-a * (t - b) ** 2),
    "waves": lambda t, a, b: np.sin(3 * a * t) + 0.1 * (t - b) ** 2,
    "kink": lambda t, a, b: a * np.abs(t - b) ** 1.5,
    "logarithm": lambda t, a, b: np.log1p((a * (t - b)) ** 2),
    "quartic": lambda t, a, b: a * (t - b) ** 4,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_strong_wolfe_conditions_of_many(shape):
    """500 random functions of a shape at once, first steps from 1e-6 to 1e4."""
    rng, f, opt = np.random.default_rng(0), SHAPES[shape], opts.zoom_linesearch(20)
    x, a, b = 3 * rng.normal(size=500), np.exp(rng.normal(size=500)), rng.normal(size=500)

    def search(x, a, b, length):
        value, g = value_and_grad(f)(x, a, b)
        move, _ = opt.update(-length * np.sign(g), opt.init(x), x, value=value, grad=g,
                             value_fn=lambda x: f(x, a, b))
        return value, g, move, *value_and_grad(f)(x + move, a, b)

    value, g, move, end, slope = jit(vmap(search))(x, a, b, 10 ** rng.uniform(-6, 4, 500))
    looked = np.isfinite(value) & np.isfinite(g) & (g != 0)
    assert looked.sum() > 400
    assert np.all((end <= value + 1e-4 * move * g + 1e-14 * np.abs(value))[looked])
    assert np.all((np.abs(slope) <= 0.9 * np.abs(g))[looked])


def test_tighter_conditions():
    f, x = PROBLEMS["beale"]
    g = grad(f)(x)
    for curvature in (0.5, 0.1, 1e-3):
        opt = opts.zoom_linesearch(60, curv_rtol=curvature)
        moves, _ = opt.update(-g, opt.init(x), x, value_fn=f)
        assert abs(grad(f)(x + moves) @ g) <= curvature * (g @ g)


def test_no_way_down():
    """Upwards, and from a minimum, nothing moves."""
    opt, x = opts.zoom_linesearch(), np.array([2.0, -1.0])
    moves, state = opt.update(x, opt.init(x), x, value_fn=lambda x: np.sum(x ** 2))
    assert moves.tolist() == [0.0, 0.0] and state.value == 5.0
    moves, _ = opt.update(np.zeros(2), opt.init(x), x, value_fn=steep)
    assert moves.tolist() == [0.0, 0.0]


def test_search_without_success_takes_the_lowest_point():
    """One evaluation of a function that falls for ever."""
    opt, x = opts.zoom_linesearch(3), np.zeros(1)
    moves, state = opt.update(np.ones(1), opt.init(x), x, value_fn=lambda x: -np.sum(x))
    assert moves[0] == 100.0 and state.value == -100.0         # 1, 10, 100


# ----- L-BFGS --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [3, 8])
def test_direction_is_that_of_bfgs(memory):
    """The inverse Hessian by BFGS' update of matrices (Nocedal, Wright, eq. 6.17) from the last pairs."""
    rng = np.random.default_rng(0)
    xs = np.cumsum(rng.normal(size=(7, 4)), axis=0)
    matrix = np.diag([1.0, 3.0, 0.2, 10.0]) + 0.1
    gs = xs @ matrix
    opt = opts.scale_by_lbfgs(memory)
    state = opt.init(xs[0])
    for x, g in zip(xs, gs, strict=True):
        direction, state = opt.update(g, state, x)
    steps, changes = np.diff(xs, axis=0)[-memory:], np.diff(gs, axis=0)[-memory:]
    inverse = np.eye(4) * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / (s @ y)
        left = np.eye(4) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    np.testing.assert_allclose(direction, inverse @ gs[-1], rtol=1e-11)


def test_pairs_without_curvature_are_left_out():
    opt, x = opts.scale_by_lbfgs(4), np.zeros(2)
    _, state = opt.update(np.array([1.0, 0.0]), opt.init(x), x)
    direction, state = opt.update(np.array([2.0, 0.5]), state, x - np.array([1.0, 0.0]))     # s.y < 0
    assert not state.weights.any()
    np.testing.assert_allclose(direction, [2.0, 0.5])


@pytest.mark.parametrize("name", PROBLEMS)
def test_minimum(name):
    """As low as SciPy's L-BFGS-B comes, in at most half as many iterations more."""
    f, x = PROBLEMS[name]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-8}
        want = scipy.optimize.minimize(f, x, jac=jit(grad(f)), method="L-BFGS-B", options=options)
    found = minimize(f, x, opts.lbfgs(), 1000, tol=1e-8)
    assert np.abs(grad(f)(found.params)).max() <= 1e-8
    if np.isfinite(want.fun):                                       # SciPy does not come back from nan
        assert f(found.params) <= want.fun + 1e-12 * abs(want.fun)
        assert len(found.losses) <= 1.5 * want.nit + 10


def test_vmap_of_minimize():
    """Each example searches by itself: 64 starts, the same ends as one by one."""
    starts = np.random.default_rng(0).uniform(-2, 2, (64, 2))
    both = jit(vmap(lambda x: minimize(rosenbrock, x, opts.lbfgs(), 60).params))(starts)
    np.testing.assert_allclose(both, np.ones((64, 2)), atol=1e-6)
    early = vmap(lambda x: minimize(rosenbrock, x, opts.lbfgs(), 5))(starts[:4])
    for i in range(4):
        alone = minimize(rosenbrock, starts[i], opts.lbfgs(), 5)
        np.testing.assert_allclose(early.params[i], alone.params, rtol=1e-10)
        np.testing.assert_allclose(early.losses[i], alone.losses, rtol=1e-10)


def test_single_precision():
    x = np.full(10, -1.0, np.float32)
    found = minimize(rosenbrock, x, opts.lbfgs(), 200)
    assert found.params.dtype == found.losses.dtype == np.float32
    assert {v.dtype for v in tree.leaves(found.state) if np.ndim(v)} == {np.dtype("float32")}
    np.testing.assert_allclose(found.params, 1.0, atol=1e-4)


def test_mixed_pytree():
    params = {"a": np.zeros(2, np.float32), "b": [np.float64(0.0)], "c": 1.0}
    found = minimize(lambda p: np.sum((p["a"] - 2.0) ** 2) + (p["b"][0] + 1.0) ** 4 + p["c"] ** 2, params,
                     opts.lbfgs(), 60)
    assert found.params["a"].dtype == np.float32 and found.params["b"][0].dtype == np.float64
    np.testing.assert_allclose(found.params["a"], 2.0, atol=1e-5)
    np.testing.assert_allclose([found.params["b"][0], found.params["c"]], [-1.0, 0.0], atol=1e-2)


def test_fixed_rate():
    """Without a search: Newton's method on a parabola, once its curvature is known."""
    found = minimize(lambda x: np.sum(3.0 * x ** 2), np.array([0.5]), opts.lbfgs(0.25), 30)
    slow = minimize(lambda x: np.sum(3.0 * x ** 2), np.array([0.5]), opts.lbfgs(0.25), 29)
    np.testing.assert_allclose(found.params / slow.params, 0.75, rtol=1e-6)


def test_restarts_at_the_minimum():
    """Nothing moves, and nothing is nan, from where the gradient is 0."""
    found = minimize(lambda x: np.sum(x ** 2), np.zeros(3), opts.lbfgs(), 5)
    assert found.params.tolist() == [0.0] * 3 and found.losses.tolist() == [0.0] * 5


def test_derivative_through_the_search():
    """Of three iterations in the problem's parameter: forward, reverse and differences agree."""
    def end(a):
        opt, x = opts.lbfgs(), np.array([0.5, -0.3])

        def f(x):
            return np.sum(np.cosh(x - a) * np.array([1.0, 3.0]))
        state = opt.init(x)
        for _ in range(3):
            value, g = value_and_grad(f)(x)
            updates, state = opt.update(g, state, x, value=value, value_fn=f)
            x = apply_updates(x, updates)
        return x[0] - x[1]

    slope = grad(end)(0.2)
    assert np.isclose(jvp(end, (0.2,), (1.0,))[1], slope, rtol=1e-10)
    assert np.isclose((end(0.2 + 1e-6) - end(0.2 - 1e-6)) / 2e-6, slope, rtol=1e-6)


def test_state_saves_evaluations():
    """The value and gradient that the search ended with are those at the new parameters."""
    f, x = PROBLEMS["beale"]
    opt = opts.lbfgs()
    state = opt.init(x)
    evaluate = opts.value_and_grad_from_state(f)
    for _ in range(4):
        value, g = evaluate(x, state=state)
        assert np.isclose(value, f(x), rtol=1e-12)
        np.testing.assert_allclose(g, grad(f)(x), rtol=1e-9)
        updates, state = opt.update(g, state, x, value=value, value_fn=f)
        x = apply_updates(x, updates)
    assert evaluate(x + 1.0, state=state)[0] == evaluate(x, state=state)[0]         # not evaluated again


# ----- minimize --------------------------------------------------------------------------------------


def quadratic(p):
    return np.sum((p["x"] - 3.0) ** 2) + p["y"] ** 2


START = {"x": np.zeros(2), "y": 1.0}


def by_hand(opt, steps):
    params, state, losses = START, opt.init(START), []
    for _ in range(steps):
        value, g = value_and_grad(quadratic)(params)
        updates, state = opt.update(g, state, params, value=value, value_fn=quadratic)
        params = apply_updates(params, updates)
        losses.append(value)
    return params, np.array(losses)


@pytest.mark.parametrize("steps, every", [(0, None), (1, None), (7, None), (7, 3), (230, None), (12, 4)])
def test_minimize_is_the_loop(steps, every):
    for opt in (opts.adam(0.1), opts.lbfgs()):
        found = minimize(quadratic, START, opt, steps, every=every)
        params, losses = by_hand(opt, steps)
        assert_tree_close(found.params, tree.map(np.float64, params), 1e-12, 1e-12)
        np.testing.assert_allclose(found.losses, losses, rtol=1e-10, atol=1e-12)
        assert found.losses.shape == (steps,)


def test_callback():
    seen = []
    found = minimize(quadratic, START, opts.sgd(0.1), 10, lambda *a: seen.append(a))
    assert [step for step, _, _ in seen] == list(range(1, 11))
    np.testing.assert_array_equal([value for _, _, value in seen], found.losses)
    np.testing.assert_array_equal(seen[-1][1]["x"], found.params["x"])
    seen.clear()
    minimize(quadratic, START, opts.sgd(0.1), 10, lambda *a: seen.append(a), every=4)
    assert [step for step, _, _ in seen] == [4, 8]
    stopped = minimize(quadratic, START, opts.sgd(0.1), 10, lambda step, params, value: step == 3)
    assert len(stopped.losses) == 3


def test_batches():
    """One update for each batch, until there are none left."""
    data = np.arange(12.0).reshape(6, 2)
    seen = []
    found = minimize(lambda w, x, y: (w - np.sum(x) * y) ** 2, 0.0, opts.sgd(0.25), 100,
                     lambda step, w, value: seen.append(w), batches=((row, 2.0) for row in data))
    w = 0.0
    for row, got in zip(data, seen, strict=True):
        w = w - 0.5 * (w - row.sum() * 2.0)
        assert np.isclose(got, w)
    assert found.losses.shape == (6,)
    single = minimize(lambda w, x: np.sum((w - x) ** 2), np.zeros(2), opts.lbfgs(), 6, batches=data)
    assert single.losses.shape == (6,)


def test_tolerance():
    """The gradient where it ends is small, that of the last update was not."""
    for every in (None, 1, 50):
        found = minimize(quadratic, START, opts.sgd(0.1), 1000, tol=1e-3, every=every)
        params, losses = by_hand(opts.sgd(0.1), len(found.losses))
        assert_tree_close(found.params, params, 1e-12, 1e-12)
        np.testing.assert_allclose(found.losses, losses, rtol=1e-12)
        slopes = grad(quadratic)(found.params)
        assert max(np.abs(slopes["x"]).max(), abs(slopes["y"])) <= 1e-3
        before = grad(quadratic)(by_hand(opts.sgd(0.1), len(losses) - 1)[0])
        assert max(np.abs(before["x"]).max(), abs(before["y"])) > 1e-3
    assert minimize(quadratic, {"x": np.full(2, 3.0), "y": 0.0}, opts.sgd(0.1), 9, tol=0.0).losses.size == 0


def test_under_transforms():
    """The derivative of gradient descent's end in the rate and in the data; jit; scan."""
    def end(rate, target):
        return minimize(lambda x: 0.5 * np.sum((x - target) ** 2), np.zeros(2), opts.sgd(rate), 3).params

    t = np.array([1.0, 2.0])
    np.testing.assert_allclose(end(0.5, t), t * (1 - 0.5 ** 3))
    np.testing.assert_allclose(grad(lambda r: np.sum(end(r, t)))(0.5), 9 * 0.25)
    np.testing.assert_allclose(jit(vmap(end, (0, None)))(np.array([0.1, 0.5]), t)[1], t * 0.875)
    _, ends = lax.scan(lambda c, r: (c, end(r, t)), 0.0, np.array([0.5, 1.0]))
    np.testing.assert_allclose(ends[1], t)
    inside = jit(lambda: minimize(quadratic, START, opts.sgd(0.5), 6, tol=1e-9).losses)()
    assert inside.shape == (6,) and inside[-1] == 0.0


def test_progress_bar(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    minimize(quadratic, START, opts.sgd(0.1), 40, progress=True)
    assert "40/40" in capsys.readouterr().err
    minimize(quadratic, START, opts.sgd(0.1), 40)          # stderr is no terminal here
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    minimize(quadratic, START, opts.sgd(0.1), 40)
    assert "40/40" in capsys.readouterr().err


def test_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    minimize(quadratic, START, opts.sgd(0.1), 40)
    assert capsys.readouterr().err == ""
    with pytest.raises(errors.MissingPackageError, match=r"pip install 'functrans\[progress\]'") as caught:
        minimize(quadratic, START, opts.sgd(0.1), 40, progress=True)
    assert isinstance(caught.value, ImportError)


# ----- wrong use ---------------------------------------------------------------------------------------


case = Cases()
E = errors
X = np.ones(2)


@case(E.ArgumentError, "zoom_linesearch: update got no value_fn", "value_fn=f")
def search_without_function():
    opt = opts.lbfgs()
    opt.update(X, opt.init(X), X)  # BAD


@case(E.ArgumentError, "lbfgs: update got no params")
def lbfgs_without_parameters():
    opt = opts.lbfgs()
    opt.update(X, opt.init(X))  # BAD


@case(E.ShapeError, "lbfgs: params have 3 elements, the state is of 2")
def lbfgs_state_of_other_parameters():
    opt = opts.lbfgs()
    opt.update(np.ones(3), opt.init(X), np.ones(3), value_fn=np.sum)  # BAD


@case(E.NonScalarOutputError, "f64[2]")
def search_of_a_vector():
    opt = opts.lbfgs()
    opt.update(X, opt.init(X), X, value_fn=lambda x: x)  # BAD


@case(E.OptionError, "lbfgs: memory_size is 0", "at least 1")
def no_memory():
    opts.lbfgs(memory_size=0)  # BAD


@case(E.OptionError, "zoom_linesearch: slope_rtol is 0.95")
def slope_above_curvature():
    opts.zoom_linesearch(slope_rtol=0.95)  # BAD


@case(E.ArgumentError, "lbfgs: got a learning_rate and a linesearch")
def two_kinds_of_steps():
    opts.lbfgs(0.1, linesearch=opts.zoom_linesearch())  # BAD


@case(E.ArgumentError, "the state holds none of a line search")
def state_without_search():
    opts.value_and_grad_from_state(rosenbrock)(X, state=opts.adam(0.1).init(X))  # BAD


@case(E.NonFiniteError, "minimize: the loss is nan at step 2", "clip_by_global_norm")
def loss_becomes_nan():
    minimize(lambda x: np.sum(np.log(x)), X, opts.sgd(0.6), 10)  # BAD


@case(E.NonFiniteError, "minimize: the loss is nan where it begins", "debug_nans")
def loss_is_nan():
    minimize(lambda x: np.sum(np.log(x)), -X, opts.lbfgs(), 10)  # BAD


@case(E.ArgumentError, "minimize: batches is i64[]", "iterable of tuples")
def batches_that_are_none():
    minimize(lambda x, y: np.sum(x * y), X, opts.sgd(0.1), 10, batches=5)  # BAD


@case(E.NonScalarOutputError, "f64[2]")
def loss_of_a_vector():
    minimize(lambda x: x, X, opts.sgd(0.6), 10)  # BAD


@case(E.ArgumentError, "minimize: the optimizer is 0.1", "adam(1e-3)")
def rate_as_optimizer():
    minimize(rosenbrock, X, 0.1, 10)  # BAD


@case(E.OptionError, "minimize: steps is -1")
def negative_steps():
    minimize(rosenbrock, X, opts.sgd(0.1), -1)  # BAD


@case(E.DtypeError, "minimize: params is i64[2]", "astype(float)")
def integer_parameters():
    minimize(rosenbrock, np.ones(2, int), opts.sgd(0.1), 10)  # BAD


@case(E.ArgumentError, "minimize: a callback, under a transform")
def callback_under_jit():
    jit(lambda x: minimize(rosenbrock, x, opts.sgd(0.1), 10, print).params)(X)  # BAD


@pytest.mark.parametrize("name", case)
def test_wrong_use(name):
    with np.errstate(all="ignore"):
        case.check(name)
