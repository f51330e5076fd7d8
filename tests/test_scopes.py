"""Name scopes: on the equations of every program that is made of a function, and on no value."""

import threading

import numpy as np
import pytest

from functrans import custom_vjp, errors, grad, jacfwd, jit, lax, make_jaxpr, name_scope, vmap
from functrans.extend import primitive
from functrans.numpy import maximum


def scopes(jaxpr):
    return {(e.op.name, e.backward): e.scope for e in jaxpr.eqns}


def two_layers(x):
    with name_scope("first"):
        h = np.tanh(x)
        with name_scope("inner"):
            h = np.sin(h)
    with name_scope("second"):
        h = np.exp(h)
    return np.sum(h)


def test_scopes_nest_and_end():
    found = scopes(make_jaxpr(two_layers)(np.ones(3)))
    assert found == {("tanh", False): ("first",), ("sin", False): ("first", "inner"),
                     ("exp", False): ("second",), ("reduce_sum", False): None}


def test_derivatives_keep_scopes():
    eqns = make_jaxpr(grad(two_layers))(np.ones(3)).eqns
    assert {e.scope for e in eqns if e.backward} == {("first",), ("first", "inner")}
    assert next(e.scope for e in eqns if e.op.name == "cos") == ("first", "inner")
    batched = make_jaxpr(vmap(grad(two_layers)))(np.ones((2, 3))).eqns
    assert next(e.scope for e in batched if e.op.name == "cos") == ("first", "inner")


def test_users_rules_are_in_the_scopes_of_the_call():
    @custom_vjp
    def f(x):
        return np.sin(x)

    def back(x, ct):
        with name_scope("rule"):
            return (ct * np.cos(x),)
    f.defvjp(lambda x: (np.sin(x), x), back)

    def outer(x):
        with name_scope("call"):
            y = f(x)
        return np.sum(np.exp(y))
    found = scopes(make_jaxpr(grad(outer))(np.ones(3)))
    assert found["sin", False] == ("call",) and found["cos", True] == ("call", "rule")


def test_same_structure_in_other_scopes():
    def in_scope(name):
        def f(x):
            with name_scope(name):
                return np.sum(np.sin(x) * x)
        return f
    for name in ("a", "b"):
        eqns = make_jaxpr(grad(in_scope(name)))(np.ones(3)).eqns
        assert {e.scope for e in eqns if e.op.name == "cos"} == {(name,)}
        assert grad(in_scope(name))(np.ones(3)).tolist() == (np.sin(1.0) + np.cos(1.0) + np.zeros(3)).tolist()


def test_jit_is_in_the_scopes_of_its_caller():
    @jit
    def inner(x):
        with name_scope("inside"):
            x = np.sin(x)
        return np.cos(x)

    def outer(name):
        def f(x):
            with name_scope(name):
                return inner(x)
        return f
    for name in ("a", "b"):
        found = scopes(make_jaxpr(outer(name))(1.0))
        assert found == {("sin", False): (name, "inside"), ("cos", False): (name,)}
    with name_scope("first_call"):
        @jit
        def g(x):
            return np.exp(x)
        g(1.0)
    assert scopes(make_jaxpr(g)(1.0)) == {("exp", False): None}


def test_bodies_of_loops():
    def f(x):
        def body(c, _):
            with name_scope("step"):
                return np.sin(c), None
        return lax.scan(body, x, None, length=3)[0]
    body = next(e for e in make_jaxpr(f)(1.0).eqns if e.op.name == "scan").params["jaxpr"]
    assert scopes(body) == {("sin", False): ("step",)}


def test_rules_of_the_user_are_in_the_scopes_of_their_function():
    @custom_vjp
    def f(x):
        return np.sin(x)

    def backward(cosine, ct):
        with name_scope("back"):
            return (ct * cosine,)
    f.defvjp(lambda x: (np.sin(x), np.cos(x)), backward)

    def loss(x):
        with name_scope("layer"):
            return f(x) * x
    found = {e.op.name: e.scope for e in make_jaxpr(grad(loss))(1.0).eqns if e.op.name in ("cos", "mul")}
    assert found["cos"] == ("layer",) and found["mul"] == ("layer", "back")


def test_decorator_and_errors():
    @name_scope("relu")
    def relu(x):
        return maximum(x, 0.0)
    assert scopes(make_jaxpr(lambda x: relu(relu(x)))(1.0)) == {("max", False): ("relu",)}
    with pytest.raises(ZeroDivisionError), name_scope("left_by_an_error"):
        raise ZeroDivisionError
    assert scopes(make_jaxpr(np.sin)(1.0)) == {("sin", False): None}


@pytest.mark.parametrize("name", ["", "a/b", 3, None])
def test_bad_names(name):
    with pytest.raises(errors.ArgumentError, match="name_scope: the name"):
        name_scope(name)


def test_scopes_belong_to_their_thread():
    found = []
    with name_scope("main"):
        thread = threading.Thread(target=lambda: found.append(scopes(make_jaxpr(np.sin)(1.0))))
        thread.start()
        thread.join()
    assert found == [{("sin", False): None}]


def test_printed_programs_have_no_addresses():
    """Also where parameters are a user's rules and functions, or arrays that a pass captured."""
    @custom_vjp
    def f(x):
        return np.sin(x)

    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.cos(x),))
    text = str(make_jaxpr(f)(1.0))
    assert "rule=<rule of f>" in text and "0x" not in text
    own = primitive(shape=lambda x, *, how: x)(lambda x, *, how: how(x))
    text = str(make_jaxpr(lambda x: own(x, how=np.linalg.norm))(1.0))
    assert "<function norm>" in text and "0x" not in text
    x, matrix = np.linspace(-1, 1, 100), np.random.default_rng(0).normal(size=(100, 100))
    text = str(make_jaxpr(jacfwd(lambda x: np.tanh(matrix @ np.sin(x[::-1] * x[:1]))))(x))
    assert "box=i64[" in text and "0x" not in text


def test_printed_with_sources():
    text = make_jaxpr(two_layers)(np.ones(3)).show(sources=True)
    assert text.count(" in first/inner") == 1 and text.count(" in second") == 1
