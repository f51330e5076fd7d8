"""functrans.profile: which steps it has and what they count. No time is asserted."""

import inspect
import json

import numpy as np
import pytest

import functrans
from functrans import errors, grad, jit, lax, profile, value_and_grad, vmap


def loss(params, x):
    h = np.tanh(x @ params["w"])
    z = np.exp(h)
    return np.sum(z / np.sum(z, axis=1, keepdims=True) * h)


def inputs():
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(20, 60))}, rng.normal(size=(50, 20))


def all_steps(steps):
    for s in steps:
        yield s
        yield from all_steps(s.body)


@pytest.mark.parametrize("f", [loss, jit(loss), grad(loss), jit(grad(loss)), value_and_grad(loss),
                               vmap(loss, (None, 0))], ids=lambda f: getattr(f, "__name__", "f"))
def test_functions_of_all_kinds(f):
    params, x = inputs()
    if f.__name__.startswith("vmap"):
        x = np.stack([x, x])
    p = profile(f, params, x, repeats=2)
    assert p.repeats == 2 and p.total > 0 and p.steps
    first = inspect.getsourcelines(loss)[1]
    lines = {(line, code) for s in p.steps for _, line, code in s.sources}
    assert (first + 1, 'h = np.tanh(x @ params["w"])') in lines
    assert {line for line, _ in lines} <= {first + 1, first + 2, first + 3}
    jitted = f if isinstance(f, functrans.api.compilation.Jitted) else jit(f)
    c = jitted.lower(params, x).cost_analysis()
    assert sum(s.flops for s in p.steps) == c["flops"]
    assert sum(s.transcendentals for s in p.steps) == c["transcendentals"]
    assert sum(s.bytes for s in p.steps) == c["bytes accessed"]


def test_loops_show_their_bodies():
    def f(s, w):
        return np.sum(lax.scan(lambda s, _: (np.tanh(s @ w), s), s, None, length=30)[0])
    p = profile(f, np.ones((20, 30)), np.ones((30, 30)), repeats=2)
    (scan,) = [s for s in p.steps if s.kind == "scan"]
    assert scan.runs == 1 and {b.runs for b in scan.body} == {30}
    (product,) = [b for b in scan.body if b.kernel == "matmul:f64"]
    assert product.flops == 30 * 2 * 20 * 30 * 30 and product.path == f"{scan.path}.body.{product.path[-1]}"
    assert scan.flops == sum(b.flops for b in scan.body)
    assert product.path in p.show()


def test_a_while_loop_counts_the_turns_it_took():
    def f(x):
        return lax.while_loop(lambda c: c[0] < 17, lambda c: (c[0] + 1, np.sin(c[1])), (0, x))[1]
    p = profile(f, np.ones(100), repeats=1)
    (loop,) = [s for s in p.steps if s.kind == "while"]
    assert loop.transcendentals == 17 * 100
    assert {b.path.split(".")[1]: b.runs for b in loop.body} == {"body": 17, "cond": 18}


def test_branches_show_which_one_ran():
    def f(i, x):
        return lax.cond(i > 0, lambda x: np.cumsum(x), lambda x: np.exp(np.cumsum(x)), x)
    p = profile(f, 1, np.ones(100), repeats=1)
    (branch,) = [s for s in p.steps if s.kind == "cond"]
    assert branch.transcendentals == 0 and {b.runs for b in branch.body} == {0, 1}


def test_a_scalar_program():
    p = profile(grad(lambda x: np.sin(x) * x**2), 1.5, repeats=3)
    (s,) = p.steps
    assert s.kind == "scalar program" and s.code and s.sources and s.share == 1.0


def test_fields_and_text():
    params, x = inputs()
    p = profile(grad(loss), params, x, repeats=2)
    d = json.loads(json.dumps(p.to_dict()))
    assert set(d) == {"name", "total", "outside", "repeats", "steps"} and len(d["steps"]) == len(p.steps)
    assert {"seconds", "runs", "share", "gflops", "gbytes", "sources", "body"} <= set(d["steps"][0])
    assert abs(sum(s.share for s in p.steps) - 1.0) < 1e-9
    text = str(p)
    assert "GFLOP/s" in text and 'np.tanh(x @ params["w"])' in text and "grad(loss)" in text
    by_time = p.show("time").splitlines()
    assert len(p.show("time", 1).splitlines()) < len(by_time)
    assert "us" in repr(p.steps[0]) or "ns" in repr(p.steps[0]) or "ms" in repr(p.steps[0])


def test_results_and_programs_are_untouched():
    f = jit(loss)
    params, x = inputs()
    want = f(params, x)
    profile(f, params, x, repeats=1)
    assert f(params, x) == want and f.cache_info().currsize == 1
    assert "clock" not in str(f.lower(params, x).plan)


def test_bad_arguments():
    with pytest.raises(errors.ArgumentError, match="function as its first argument"):
        profile(3.0, 1.0)
    with pytest.raises(errors.ArgumentError, match="repeats=0"):
        profile(np.sin, 1.0, repeats=0)
    with pytest.raises(errors.ArgumentError, match="sort"):
        profile(np.sin, 1.0, repeats=1).show("size")


def test_an_exception_comes_through():
    with pytest.raises(TypeError):
        profile(lambda x: "text", 1.0)
