"""Cleanup reaches into loops, branches and calls, and drops what a scan stacks in vain."""

import numpy as np
from functrans.plan.lower import lower
from functrans.transform.cleanup import cleanup
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from programs_by_hand import F, aval, jaxpr, lit

import functrans.numpy as fnp
from functrans import grad, jit, lax


def scans(jx):
    return [e for e in jx.eqns if e.op.name == "scan"]


def test_scan_keeps_one_of_everything():
    def body(op, w, v, half, c, x, y, unused):
        d = op("mul", c, w)
        e = op("mul", c, w)
        return [op("add", op("add", d, x), op("mul", half, v)), op("add", d, y), op("add", e, x), c,
                op("sin", unused)]
    inner = jaxpr([()] * 7, body)

    def f(op, w, c, x, u):
        return op("scan", w, w, lit(0.5, aval((), F)), c, x, x, u, jaxpr=inner, n_consts=3,
                  n_carry=1, length=4, reverse=False)[:4]
    jx = jaxpr([(), (), (4,), (4,)], f)
    clean = cleanup(jx)
    (e,) = scans(clean)
    assert len(e.inputs) == 3 and len(e.outs) == 3 and e.params["n_consts"] == 1
    assert clean.outs[1] is clean.outs[2]
    assert len(e.params["jaxpr"].eqns) == 4
    values = [1.1, 0.3, np.arange(4.0), np.ones(4)]
    for a, b in zip(lower(jx).run(list(values)), lower(clean).run(list(values)), strict=True):
        assert_array_equal(a, b)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_random_scans_stay_the_same(data):
    pick = lambda *of: data.draw(st.sampled_from(of))

    def body(op, w, v, a, b, x, y):
        live = [w, v, a, b, x, y, op("mul", w, x), op("mul", v, y), op("add", a, b), op("mul", w, x)]
        return [pick(*live), pick(*live), *[pick(*live) for _ in range(4)]]
    inner = jaxpr([()] * 6, body)
    reverse = data.draw(st.booleans())

    def f(op, w, a, x, y):
        two, zero = lit(2, aval((), F)), lit(0, aval((), F))
        outs = op("scan", pick(w, two), pick(w, zero), a, pick(a, w), pick(x, y), pick(x, y),
                  jaxpr=inner, n_consts=2, n_carry=2, length=3, reverse=reverse)
        return [pick(*outs) for _ in range(4)]
    jx = jaxpr([(), (), (3,), (3,)], f)
    values = [1.25, 0.5, np.array([1.0, -2.0, 3.0]), np.array([0.25, 4.0, -1.0])]
    for a, b in zip(lower(jx).run(list(values)), lower(cleanup(jx)).run(list(values)), strict=True):
        assert_array_equal(a, b)


def test_while_cond_and_remat():
    test = jaxpr([()], lambda op, c: [op("lt", op("mul", c, 1.0), 9.0)])
    step = jaxpr([()], lambda op, c: [op("add", op("mul", c, 1.0), 1.0)])
    branch = jaxpr([()], lambda op, c: [op("mul", op("add", c, c), 1.0)])
    inner = jaxpr([()], lambda op, c: [op("mul", c, 1.0)])

    def f(op, i, x):
        (y,) = op("while", x, cond=test, body=step, n_cond=0, n_body=0)
        (z,) = op("cond", i, y, branches=(branch, inner))
        return op("remat", z, jaxpr=inner)
    clean = cleanup(jaxpr([aval((), np.int64), ()], f))
    loop, choice, call = clean.eqns
    assert len(loop.params["cond"].eqns) == len(loop.params["body"].eqns) == 1
    assert [len(b.eqns) for b in choice.params["branches"]] == [1, 0]
    assert not call.params["jaxpr"].eqns
    assert lower(clean).run([np.int64(0), 2.5]) == [19.0]


def test_residuals_of_a_gradient_are_kept_once():
    def f(x):
        def body(c, _):
            return c[0] * c[1] + fnp.stack([c[0] * c[1], c[1]]), None
        return fnp.sum(lax.scan(body, x, None, length=5)[0])
    g = jit(grad(f))
    x = np.array([0.3, 0.4])
    forward, backward = scans(g.jaxpr(x))
    assert len(forward.outs) <= 3 and len(backward.inputs) <= 3
    assert_array_equal(g(x), grad(f)(x))
