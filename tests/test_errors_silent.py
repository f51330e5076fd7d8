"""Calls that would drop a derivative, write into arrays, or return what is no array."""

import math

import numpy as np
import pytest
from failing import Cases

import functrans as ft
import functrans.numpy as fnp
from functrans import at, errors, grad, jit, make_jaxpr, vmap

E = errors
X = np.ones(3)
case = Cases()


# ----- derivatives that would be lost -------------------------------------------------------------


@case(E.DerivativeLostError, "float(x)", "f64[]", "np.sin(x) for math.sin(x)", "stop_gradient")
def float_of_a_traced_value():
    grad(lambda x: float(x) * 2)(1.0)  # BAD


@case(E.DerivativeLostError, "math.sin(x)", "np.sin(x) for math.sin(x)")
def math_sin():
    grad(lambda x: math.sin(x))(1.0)  # BAD


@case(E.DerivativeLostError, "np.stack([x, y])")
def array_of_traced_values():
    grad(lambda x: np.array([x, 2 * x]).sum())(1.0)  # BAD


@case(E.DerivativeLostError, "np.stack([x, y])")
def array_of_traced_and_plain_values():
    jit(lambda x: np.array([1.0, x]).sum())(1.0)  # BAD


@case(E.DerivativeLostError, "np.asarray")
def asarray_of_an_array():
    grad(lambda x: np.sum(np.array(x)))(X)  # BAD


@case(E.DerivativeLostError, "x.item()")
def item():
    grad(lambda x: x.item())(1.0)  # BAD


@case(E.DerivativeLostError, "x.tolist()")
def tolist():
    grad(lambda x: x.tolist()[0])(X)  # BAD


@case(E.DerivativeLostError, "complex(x)")
def complex_of_a_traced_value():
    grad(lambda x: complex(x).real)(1.0)  # BAD



@case(E.DerivativeLostError, "b[i] = x", "functrans.at(b)[i].set(x)")
def writing_into_an_array():
    def f(x):
        b = np.zeros(3)
        b[0] = x  # BAD
        return b.sum()
    grad(f)(1.0)


@case(E.DerivativeLostError, "b[i] = x", "functrans.at(b)[i].set(x)")
def writing_a_row_into_an_array():
    def f(x):
        b = np.zeros((2, 3))
        b[0] = x  # BAD
        return b.sum()
    grad(f)(X)


@case(E.DerivativeLostError, "np.full(n, x)", "x * np.ones(n)")
def full():
    grad(lambda x: np.sum(np.full(3, x)))(1.0)  # BAD


@case(E.InPlaceError, "out=", "y = np")
def out_array():
    def f(x):
        out = np.zeros(3)
        np.sin(x, out=out)  # BAD
        return out.sum()
    grad(f)(X)


@case(E.InPlaceError, "b = b + x")
def adding_in_place_to_an_array():
    def f(x):
        b = np.zeros(3)
        b += x  # BAD
        return b.sum()
    grad(f)(X)


@case(E.InPlaceError, "in place", "f64[3]", "x = x.at[index].set(value)", "x[index] += value")
def assignment_to_a_traced_value():
    def f(x):
        x[0] = 1.0  # BAD
        return x.sum()
    grad(f)(X)


@case(E.InPlaceError, "copyto")
def copyto():
    def f(x):
        b = np.zeros(3)
        np.copyto(b, x)  # BAD
        return b.sum()
    grad(f)(X)


@case(E.InPlaceError, "np.add.at")
def ufunc_at():
    def f(x):
        b = np.zeros(3)
        np.add.at(b, [0], x)  # BAD
        return b.sum()
    grad(f)(1.0)


# ----- results ------------------------------------------------------------------------------------


@case(E.ResultTypeError, "jit", "str", "result['name']", "has_aux")
def string_result():
    jit(lambda x: {"name": "text", "x": x})(1.0)  # BAD


@case(E.ResultTypeError, "grad", "object")
def object_result():
    grad(lambda x: object())(1.0)  # BAD


@case(E.ResultTypeError, "vmap", "set")
def set_result():
    vmap(lambda x: {1, 2})(X)  # BAD


@case(E.ResultTypeError, "make_jaxpr", "str")
def result_of_make_jaxpr():
    make_jaxpr(lambda x: "text")(1.0)  # BAD


@case(E.ArgumentError, "static argument n is [1]", "not hashable", "tuple")
def unhashable_static_argument():
    def f(x, n):
        return x
    jit(f, static_argnums=1)(1.0, [1])  # BAD


@case(E.ArgumentError, "cannot be pickled", "Return it")
def pickled():
    import pickle
    grad(lambda x: pickle.dumps(x))(1.0)  # BAD


@pytest.mark.parametrize("name", case)
def test_error(name):
    case.check(name)


def test_in_place_operators_on_tracers_rebind():
    def f(x):
        t = x
        t += X
        t *= 2.0
        return t.sum() + x.sum()
    np.testing.assert_array_equal(grad(f)(X), [3.0] * 3)
    assert (X == 1.0).all()


def test_the_suggested_rewrites_work():
    np.testing.assert_array_equal(grad(lambda x: fnp.array([x, 2 * x]).sum())(1.0), 3.0)
    assert grad(lambda x: np.stack([x, 2 * x]).sum())(1.0) == 3.0
    assert grad(lambda x: at(np.zeros(3))[0].set(x).sum())(1.0) == 1.0
    assert grad(lambda x: np.sum(x * np.ones(3)))(1.0) == 3.0
    np.testing.assert_array_equal(grad(lambda x: x.at[0].set(1.0).sum())(X), [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(grad(lambda x: x.at[0].add(x[1]).sum())(X), [1.0, 2.0, 1.0])
    assert grad(lambda x: np.sum(np.full_like(x * X, 2.0)) * x)(1.0) == 6.0
    assert grad(lambda x: float(ft.stop_gradient(2.0)) * x)(1.0) == 2.0
