"""Update rules against the formulas of their papers in NumPy, one leaf at a time, in every mode."""

import warnings

import numpy as np
import pytest
from failing import Cases
from util import assert_tree_close, assert_tree_equal

from functrans import errors, grad, jit, jvp, lax, random, tree, value_and_grad, vmap
from functrans import optimizers as opts
from functrans.optimizers import apply_updates

RATE = 0.03

# ----- the papers' formulas, on lists of gradients of one array --------------------------------------


def sgd(p, gradients):
    for g in gradients:
        p = p - RATE * g
    return p


def sgd_decay(p, gradients):
    for g in gradients:
        p = p - RATE * (g + 0.1 * p)
    return p


def momentum(p, gradients):
    v = 0 * p
    for g in gradients:
        v = 0.8 * v + g
        p = p - RATE * v
    return p


def nesterov(p, gradients):
    """As published: gradients are taken at p + mu v (Sutskever et al. 2013, eq. 3 and 4)."""
    v, ahead = 0 * p, p
    for g in gradients:
        base = ahead - 0.8 * v
        v = 0.8 * v - RATE * g
        ahead = base + v + 0.8 * v
    return ahead


def adagrad(p, gradients):
    for i, g in enumerate(gradients):
        p = p - RATE * g / (np.sqrt(sum([h ** 2 for h in gradients[:i + 1]])) + 1e-10)
    return p


def rmsprop(p, gradients, centered=False, mu=0.0):
    square, mean, v = 0 * p, 0 * p, 0 * p
    for g in gradients:
        square = 0.9 * square + 0.1 * g ** 2
        mean = 0.9 * mean + 0.1 * g
        v = mu * v + g / (np.sqrt(square - (mean ** 2 if centered else 0)) + 1e-8)
        p = p - RATE * v
    return p


def adam(p, gradients, decay=0.0):
    m, v = 0 * p, 0 * p
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g ** 2
        p = p - RATE * (m / (1 - 0.9 ** t) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8) + decay * p)
    return p


def lion(p, gradients, decay=0.0):
    m = 0 * p
    for g in gradients:
        p = p - RATE * (np.sign(0.9 * m + 0.1 * g) + decay * p)
        m = 0.99 * m + 0.01 * g
    return p


RULES = {
    "sgd": (opts.sgd(RATE), sgd),
    "sgd_decay": (opts.sgd(RATE, weight_decay=0.1), sgd_decay),
    "momentum": (opts.momentum(RATE, 0.8), momentum),
    "nesterov": (opts.nesterov(RATE, 0.8), nesterov),
    "adagrad": (opts.adagrad(RATE), adagrad),
    "rmsprop": (opts.rmsprop(RATE), rmsprop),
    "rmsprop_centered": (opts.rmsprop(RATE, centered=True), lambda p, g: rmsprop(p, g, True)),
    "rmsprop_momentum": (opts.rmsprop(RATE, momentum=0.7), lambda p, g: rmsprop(p, g, mu=0.7)),
    "adam": (opts.adam(RATE), adam),
    "adamw": (opts.adamw(RATE, weight_decay=0.2), lambda p, g: adam(p, g, 0.2)),
    "lion": (opts.lion(RATE), lion),
    "lion_decay": (opts.lion(RATE, weight_decay=0.2), lambda p, g: lion(p, g, 0.2)),
}
each = pytest.mark.parametrize("name", RULES)


def problem(dtype=np.float64, turns=12, seed=3):
    """(parameters, list of gradients like them)."""
    rng = np.random.default_rng(seed)

    def draw():
        return {"layers": [(rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=4).astype(dtype))],
                "scale": dtype(rng.normal())}
    return draw(), [draw() for _ in range(turns)]


def follow(opt, params, gradients, update=None):
    state, update = opt.init(params), update or opt.update
    for g in gradients:
        updates, state = update(g, state, params)
        params = apply_updates(params, updates)
    return params


def expected(formula, params, gradients):
    """In float64, whatever the parameters are."""
    columns = zip(*[tree.leaves(g) for g in gradients], strict=True)
    out = [formula(np.float64(p), [np.float64(g) for g in column])
           for p, column in zip(tree.leaves(params), columns, strict=True)]
    return tree.unflatten(tree.structure(params), out)


@each
def test_formula(name):
    opt, formula = RULES[name]
    params, gradients = problem()
    assert_tree_close(follow(opt, params, gradients), expected(formula, params, gradients), 1e-12, 1e-12)


@each
def test_single_precision_stays(name):
    opt, formula = RULES[name]
    params, gradients = problem(np.float32)
    want = tree.map(lambda x: np.float32(x), expected(formula, params, gradients))
    state = opt.init(params)
    assert {x.dtype for x in tree.leaves(state.slots)} <= {np.dtype("float32")}
    for update in (opt.update, jit(opt.update)):
        assert_tree_close(follow(opt, params, gradients, update), want, 2e-5, 2e-6)
    updates, _ = opt.update(tree.map(np.float64, gradients[0]), state, params)       # of other gradients, too
    assert {x.dtype for x in tree.leaves(updates)} == {np.dtype("float32")}


@each
def test_jit_and_scan(name):
    opt, _ = RULES[name]
    params, gradients = problem()
    want = follow(opt, params, gradients)
    assert_tree_close(follow(opt, params, gradients, jit(opt.update)), want, 1e-13, 1e-13)

    def body(carry, g):
        updates, state = opt.update(g, carry[1], carry[0])
        return (apply_updates(carry[0], updates), state), None
    stacked = tree.map(lambda *g: np.stack(g), *gradients)
    (got, state), _ = lax.scan(body, (params, opt.init(params)), stacked)
    assert_tree_close(got, want, 1e-13, 1e-13)
    assert state.count == len(gradients)


@each
def test_vmap(name):
    """Each example has its own state; the counts may differ."""
    opt, _ = RULES[name]
    problems = [problem(seed=s) for s in (0, 1, 2)]
    params = tree.map(lambda *p: np.stack(p), *[p for p, _ in problems])
    turns = zip(*[gs for _, gs in problems], strict=True)
    gradients = [tree.map(lambda *g: np.stack(g), *gs) for gs in turns]
    state = vmap(opt.init)(params)
    for g in gradients:
        updates, state = vmap(opt.update)(g, state, params)
        params = vmap(apply_updates)(params, updates)
    for i, (p, gs) in enumerate(problems):
        assert_tree_close(tree.map(lambda x, i=i: x[i], params), follow(opt, p, gs), 1e-13, 1e-13)


@each
def test_derivative_through_updates(name):
    """Of what three steps lead to, in the parameters that they begin from."""
    opt, _ = RULES[name]
    data = np.array([0.3, -0.7, 1.1])

    def loss(p):
        return np.sum((np.tanh(p["w"] * data) - 0.2) ** 2)

    def end(w):
        params = {"w": w}
        state = opt.init(params)
        for _ in range(3):
            updates, state = opt.update(grad(loss)(params), state, params)
            params = apply_updates(params, updates)
        return loss(params)

    w, t = np.array([0.5, 1.5, -1.0]), np.array([1.0, -0.4, 0.7])
    slope = jit(jvp, static_argnums=0)(end, (w,), (t,))[1]
    h = 1e-5
    near, far = ((end(w + s * t) - end(w - s * t)) / (2 * s) for s in (h, 2 * h))
    assert np.isclose(slope, (4 * near - far) / 3, rtol=1e-6)
    assert np.isclose(np.dot(grad(end)(w), t), slope, rtol=1e-12)


@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "rmsprop_centered", "adam", "adamw"])
def test_derivative_where_gradients_vanish(name):
    """sqrt has no slope at 0, where a parameter without gradient is."""
    opt, _ = RULES[name]

    def moved(g):
        params = np.ones(2)
        return np.sum(opt.update(np.stack([g, 0.0 * g]), opt.init(params), params)[0])
    assert np.isfinite(grad(moved)(0.5))


def test_rates_may_be_traced():
    """The derivative of a step in its rate is the direction."""
    p, g = np.array([1.0, 2.0]), np.array([0.3, -0.4])

    def after(rate, weight):
        opt = opts.chain(opts.clip(10.0), opts.sgd(rate, weight_decay=weight))
        return p + opt.update(g, opt.init(p), p)[0]
    np.testing.assert_allclose(jvp(after, (0.1, 0.2), (1.0, 0.0))[1], -(g + 0.2 * p))
    np.testing.assert_allclose(jvp(after, (0.1, 0.2), (0.0, 1.0))[1], -0.1 * p)
    rates = np.array([0.1, 0.2])
    np.testing.assert_allclose(jit(vmap(after, (0, None)))(rates, 0.0), p - rates[:, None] * g)


def test_half_precision():
    """A small gradient's square is not lost, and nothing is divided by it."""
    params, g = np.ones(2, np.float16), np.array([1e-4, 0.0], np.float16)
    for opt in (opts.adam(0.01), opts.rmsprop(0.01, decay=0.0)):
        updates, _ = opt.update(g, opt.init(params), params)
        assert updates.dtype == np.float16
        np.testing.assert_allclose(updates, [-0.01, 0.0], rtol=2e-3)


def test_one_plan_under_jit():
    """A jitted training step is traced once, whatever comes."""
    traced = []
    opt = opts.chain(opts.clip_by_global_norm(1.0), opts.adamw(opts.cosine_decay_schedule(0.1, 10)))

    @jit
    def step(params, state, x):
        traced.append(1)
        g = grad(lambda p: np.sum((p["w"] * x) ** 2) + p["b"])(params)
        updates, state = opt.update(g, state, params)
        return apply_updates(params, updates), state
    params = {"w": np.ones(3), "b": np.float64(0)}
    state = opt.init(params)
    for i in range(5):
        params, state = step(params, state, np.full(3, float(i)))
    assert len(traced) == 1


def test_masked_decay():
    params = {"w": np.full(2, 2.0), "norm": {"gain": 2.0, "bias": 2.0}}
    zero = tree.map(lambda x: 0.0 * x, params)
    mask = {"w": True, "norm": False}
    for chosen in (mask, lambda p: mask):
        for opt in (opts.adamw(0.5, weight_decay=0.1, mask=chosen),
                    opts.lion(0.5, weight_decay=0.1, mask=chosen),
                    opts.chain(opts.add_decayed_weights(0.1, chosen), opts.scale(-0.5))):
            updates, _ = opt.update(zero, opt.init(params), params)
            np.testing.assert_allclose(updates["w"], [-0.1, -0.1], rtol=1e-15)
            assert updates["norm"] == {"gain": 0.0, "bias": 0.0}


# ----- clipping and chains -----------------------------------------------------------------------------


def test_clipping():
    g = {"a": np.array([3.0, 0.0]), "b": -4.0}
    clipped, _ = opts.clip(1.5).update(g, ())
    assert clipped["a"].tolist() == [1.5, 0.0] and clipped["b"] == -1.5
    opt = opts.clip_by_global_norm(2.5)
    half, _ = opt.update(g, opt.init(g))
    np.testing.assert_allclose([*half["a"], half["b"]], [1.5, 0.0, -2.0], rtol=1e-15)
    same, _ = opts.clip_by_global_norm(5.0).update(g, ())
    assert_tree_equal(same, g)
    assert opts.global_norm(g) == 5.0 and opts.global_norm({}) == 0.0
    none, _ = opt.update(tree.map(lambda x: 0.0 * x, g), ())
    assert opts.global_norm(none) == 0.0
    slope = grad(lambda s: np.sum(opt.update(s * np.ones(2), ())[0]))
    assert slope(0.0) == 2.0 and abs(slope(9.0)) < 1e-15
    single, _ = opt.update(np.full(4, 8.0, np.float32), ())
    assert single.dtype == np.float32 and np.isclose(opts.global_norm(single), 2.5)


def test_chains_nest():
    p, gradients = problem()
    flat = opts.chain(opts.clip(0.5), opts.momentum(0.1), opts.scale(0.5))
    half = opts.scale(opts.constant_schedule(0.5))
    nested = opts.chain(opts.chain(opts.clip(0.5)), opts.chain(opts.momentum(0.1), half))
    assert_tree_close(follow(flat, p, gradients), follow(nested, p, gradients), 1e-14, 1e-14)
    assert_tree_equal(follow(opts.chain(), p, gradients[:1]), tree.map(np.add, p, gradients[0]))


def test_state_is_a_pytree():
    """It goes through flatten and back, so it can be saved; updates leave the old one as it was."""
    opt, (params, gradients) = opts.adam(0.1), problem()
    state = opt.init(params)
    before = tree.map(np.copy, state)
    _, later = opt.update(gradients[0], state, params)
    assert_tree_equal(tree.map(np.asarray, state), before)
    leaves, treedef = tree.flatten(later)
    again = tree.unflatten(treedef, leaves)
    assert_tree_equal(opt.update(gradients[1], again, params)[0], opt.update(gradients[1], later, params)[0])


# ----- schedules -----------------------------------------------------------------------------------------


SCHEDULES = {
    "constant": (opts.constant_schedule(0.3), lambda i: 0.3),
    "linear": (opts.linear_schedule(1.0, 0.2, 4, 2), lambda i: np.interp(i, [2, 6], [1.0, 0.2])),
    "polynomial": (opts.polynomial_schedule(1.0, 0.1, 3, 8), lambda i: 0.1 + 0.9 * (1 - min(i, 8) / 8) ** 3),
    "exponential": (opts.exponential_decay(0.5, 5, 0.7, 3), lambda i: 0.5 * 0.7 ** (max(i - 3, 0) / 5)),
    "staircase": (opts.exponential_decay(0.5, 4, 0.5, staircase=True), lambda i: 0.5 ** (1 + i // 4)),
    "stopping": (opts.exponential_decay(0.5, 1, 0.5, end_value=0.1), lambda i: max(0.5 ** (i + 1), 0.1)),
    "growing": (opts.exponential_decay(0.5, 1, 2.0, end_value=3.0), lambda i: min(0.5 * 2 ** i, 3.0)),
    "cosine": (opts.cosine_decay_schedule(2.0, 8, 0.1),
               lambda i: 0.2 + 1.8 * (1 + np.cos(np.pi * min(i, 8) / 8)) / 2),
    "warmup": (opts.warmup_cosine_decay_schedule(0.1, 1.0, 4, 12, 0.05),
               lambda i: 0.1 + 0.9 * i / 4 if i < 4
               else 0.05 + 0.95 * (1 + np.cos(np.pi * min(i - 4, 8) / 8)) / 2),
    "piecewise": (opts.piecewise_constant_schedule(1.0, {3: 0.1, 7: 0.5}),
                  lambda i: 1.0 if i < 3 else 0.1 if i < 7 else 0.05),
    "joined": (opts.join_schedules([opts.linear_schedule(0.0, 1.0, 4), opts.constant_schedule(0.25)], [6]),
               lambda i: min(i / 4, 1) if i < 6 else 0.25),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    """Plain, traced, batched; and as the rates that an optimizer takes, from count 0."""
    schedule, formula = SCHEDULES[name]
    want = np.array([formula(i) for i in range(16)])
    np.testing.assert_allclose([schedule(i) for i in range(16)], want, rtol=1e-14, atol=1e-16)
    batched = vmap(lambda i: schedule(i) + 0.0 * i)(np.arange(16))
    np.testing.assert_allclose(batched, want, rtol=1e-14, atol=1e-16)
    opt = opts.sgd(schedule)
    state, update = opt.init(np.float32(1)), jit(opt.update)
    for rate in want:
        moved, state = update(np.float32(1), state)
        assert moved.dtype == np.float32 and np.isclose(moved, -rate, rtol=1e-6)


def test_schedule_of_traced_values():
    slope = grad(lambda v: opts.cosine_decay_schedule(v, 10)(5))(2.0)
    assert np.isclose(slope, 0.5)
    assert np.isclose(grad(lambda r: opts.exponential_decay(1.0, 1, r, end_value=0.01)(2))(0.5), 1.0)


# ----- training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion"])
def test_it_trains(name):
    """Logistic regression comes near the optimum that Newton's method finds."""
    x = random.normal(random.key(0), (80, 3))
    y = (x @ np.array([1.0, -2.0, 0.5]) + random.normal(random.key(1), (80,)) > 0) * 1.0

    def loss(w):
        z = x @ w
        return np.mean(np.logaddexp(0.0, z) - y * z) + 0.01 * np.sum(w ** 2)

    rate = {"lion": opts.cosine_decay_schedule(0.05, 500), "adagrad": 0.5, "adamw": 0.02}.get(name, 0.02)
    opt = getattr(opts, name)(rate, **({"weight_decay": 0.0} if name == "adamw" else {}))

    def step(carry, _):
        value, g = value_and_grad(loss)(carry[0])
        updates, state = opt.update(g, carry[1], carry[0])
        return (apply_updates(carry[0], updates), state), value
    (w, _), losses = lax.scan(step, (np.zeros(3), opt.init(np.zeros(3))), None, length=500)
    best = np.zeros(3)
    for _ in range(20):
        p = 1 / (1 + np.exp(-x @ best))
        hessian = (x.T * (p * (1 - p))) @ x / len(x) + 0.02 * np.eye(3)
        best = best - np.linalg.solve(hessian, x.T @ (p - y) / len(x) + 0.02 * best)
    assert loss(w) - loss(best) < 1e-3 < losses[0] - loss(best)


# ----- wrong use -------------------------------------------------------------------------------------

case = Cases()
P = {"w": np.ones(3), "b": np.float64(0)}
ADAM = opts.adam(0.1)
STATE = ADAM.init(P)
E = errors


@case(E.OptionError, "adam: learning_rate is -0.1", "[0, inf[")
def negative_rate():
    opts.adam(-0.1)  # BAD


@case(E.OptionError, "sgd: learning_rate is nan")
def rate_is_nan():
    opts.sgd(float("nan"))  # BAD


@case(E.OptionError, "momentum: learning_rate is 'fast'")
def rate_is_no_number():
    opts.momentum("fast")  # BAD


@case(E.OptionError, "adam: b2 is 1.0", "[0, 1[")
def decay_of_one():
    opts.adam(0.1, b2=1.0)  # BAD


@case(E.OptionError, "adamw: weight_decay is -1")
def negative_decay():
    opts.adamw(0.1, weight_decay=-1)  # BAD


@case(E.OptionError, "clip: max_delta is 0.0", "]0, inf]")
def clip_to_nothing():
    opts.clip(0.0)  # BAD


@case(E.OptionError, "sgd: learning_rate is f64[3]", "one number")
def traced_rate_of_an_array():
    grad(lambda r: np.sum(opts.sgd(r).update(P, STATE)[0]["w"]))(np.ones(3))  # BAD


@case(E.OptionError, "cosine_decay_schedule: decay_steps is 0", "at least 1")
def schedule_without_steps():
    opts.cosine_decay_schedule(0.1, 0)  # BAD


@case(E.OptionError, "warmup_cosine_decay_schedule: decay_steps is 5", "at least 6")
def warmup_longer_than_all():
    opts.warmup_cosine_decay_schedule(0.0, 1.0, 5, 5)  # BAD


@case(E.ArgumentError, "join_schedules: 1 schedules, boundaries [3]")
def boundaries_without_schedules():
    opts.join_schedules([opts.constant_schedule(0.1)], [3])  # BAD


@case(E.OptionError, "sgd: the schedule returned f64[3]", "one number")
def schedule_of_arrays():
    opts.sgd(lambda count: np.ones(3)).update(P, opts.sgd(0.1).init(P))  # BAD


@case(E.TreeError, "adam: grads", "the state", "'b'")
def gradients_of_another_structure():
    ADAM.update({"w": np.ones(3)}, STATE, P)  # BAD


@case(E.ShapeError, "adam: grads['w'] is f64[4], the state['w'] is f64[3]")
def gradients_of_another_shape():
    ADAM.update({"w": np.ones(4), "b": 0.0}, STATE, P)  # BAD


@case(E.DtypeError, "adam: grads['w'] is i64[3]", "astype(float)")
def gradients_of_integers():
    ADAM.update({"w": np.ones(3, int), "b": 0.0}, STATE, P)  # BAD


@case(E.DtypeError, "adam: params is c128[2]", "real and the imaginary part")
def complex_parameters():
    ADAM.init(np.ones(2, complex))  # BAD


@case(E.DtypeError, "adam: params['name'] is a str")
def parameters_that_are_no_arrays():
    ADAM.init({"name": "w"})  # BAD


@case(E.ArgumentError, "adam: update got", "opt.update(grads, state, params)")
def parameters_in_place_of_the_state():
    ADAM.update(P, P, STATE)  # BAD


@case(E.ArgumentError, "adam: update got", "where its state belongs")
def state_of_another_optimizer():
    ADAM.update(P, opts.momentum(0.1).init(P), P)  # BAD


@case(E.ArgumentError, "chain: update got", "opt.init(params)")
def state_of_a_member():
    opts.chain(opts.clip(1.0), ADAM).update(P, STATE, P)  # BAD


@case(E.ArgumentError, "adamw: update got no params, but weights decay")
def decay_without_parameters():
    opt = opts.adamw(0.1)
    opt.update(P, opt.init(P))  # BAD


@case(E.ArgumentError, "chain: argument 1 is 0.1")
def chain_of_a_number():
    opts.chain(opts.clip(1.0), 0.1)  # BAD


@case(E.ArgumentError, "adamw: the mask has the entry 'yes'")
def mask_of_strings():
    opt = opts.adamw(0.1, mask="yes")
    opt.update(P, opt.init(P), P)  # BAD


@case(E.ShapeError, "apply_updates: updates['w'] is f64[], params['w'] is f64[3]")
def updates_of_another_shape():
    apply_updates(P, {"w": 0.0, "b": 0.0})  # BAD


@pytest.mark.parametrize("name", case)
def test_wrong_use(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case.check(name)
