"""Wrong use: the class of the exception, what was got, where, what to do, and no frame of ours."""

import traceback
from collections import namedtuple

import numpy as np
import pytest
from failing import Cases

from functrans import (
    custom_jvp,
    custom_vjp,
    errors,
    eval_shape,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    lax,
    linear_transpose,
    linearize,
    make_jaxpr,
    value_and_grad,
    vjp,
    vmap,
)

E = errors
X = np.ones(3)
case = Cases()


# ----- shapes and dtypes --------------------------------------------------------------------------


@case(E.ShapeError, "f64[3]", "f64[4]", "add", "broadcast")
def operands_that_do_not_broadcast():
    def loss(x):
        y = np.sin(x)
        return np.sum(y + np.ones(4))  # BAD
    grad(loss)(X)


@case(E.ShapeError, "f64[3]", "f64[2]")
def operands_of_a_ufunc():
    jit(lambda x, y: np.maximum(x, y))(X, np.ones(2))  # BAD


@case(E.ShapeError, "f64[3]", "f64[2,2]")
def contraction():
    jit(lambda x, y: x @ y)(X, np.ones((2, 2)))  # BAD


@case(E.ShapeError, "f64[3]", "(2, 2)")
def reshape():
    jit(lambda x: x.reshape(2, 2))(X)  # BAD


@case(E.AxisError, "axis 1", "1")
def axis_out_of_range():
    jit(lambda x: np.sum(x, axis=1))(X)  # BAD


@case(E.DtypeError, "f64[3]", "bitwise_and")
def dtype_of_an_operand():
    jit(lambda x: np.bitwise_and(x, x))(X)  # BAD


@case(E.IndexRangeError, "index 5", "axis 0 with size 3")
def index_out_of_range():
    jit(lambda x: x[5])(X)  # BAD


@case(E.NotSupportedError, "numpy.savetxt", "save it outside")
def function_without_a_traced_version():
    jit(lambda x: np.savetxt("x.txt", x))(X)  # BAD


# ----- grad ---------------------------------------------------------------------------------------


@case(E.NonScalarOutputError, "grad", "f64[3]", "np.sum", "jacrev")
def output_of_grad_is_an_array():
    grad(lambda x: x * 2)(X)  # BAD


@case(E.NonScalarOutputError, "value_and_grad", "pytree of 2 leaves", "has_aux=True")
def output_of_grad_is_a_pair():
    value_and_grad(lambda x: (x, x))(1.0)  # BAD


@case(E.NonScalarOutputError, "i64[]", "floating-point", "astype(float)")
def output_of_grad_is_an_integer():
    grad(lambda x: np.sum(x > 0))(X)  # BAD


@case(E.IntegerInputError, "i64[]", "argument n", "3.0", "allow_int=True", "argnums")
def integer_input():
    def f(n):
        return n * 2.0
    grad(f)(3)  # BAD


@case(E.IntegerInputError, "i64[3]", "w['bias']", "astype(float)")
def integer_leaf():
    def f(x, w):
        return x
    grad(f, argnums=1)(1.0, {"gain": 1.0, "bias": np.arange(3)})  # BAD


@case(E.IntegerInputError, "bool[]", "p.flags[1]")
def bool_in_a_namedtuple():
    p = namedtuple("p", "w flags")

    def f(p):
        return p.w
    grad(f)(p(1.0, (2.0, True)))  # BAD


@case(E.IntegerInputError, "jacfwd", "i64[3]")
def jacobian_of_integers():
    jacfwd(lambda x: x * 2.0)(np.arange(3))  # BAD


@case(E.IntegerInputError, "i64", "returns")
def jacrev_of_an_integer_result():
    jacrev(lambda x: (x > 0).astype(int))(X)  # BAD


@case(E.ArgumentError, "grad: argnums is f64[3]", "Write grad(f)(x), not grad(f, x)")
def arguments_beside_the_function():
    grad(np.sum, X)  # BAD


@case(E.ArgumentError, "hessian: argnums is f64[]", "Write hessian(f)(x)")
def arguments_beside_the_function_of_a_hessian():
    hessian(np.sum, 2.0)  # BAD


@case(E.ArgumentError, "make_jaxpr: static_argnums is f64[3]", "Write make_jaxpr(f)(x)")
def arguments_beside_the_function_of_a_jaxpr():
    make_jaxpr(np.sum, X)  # BAD


@case(E.ArgumentError, "argnums=2", "loss was called with 1 positional", "argnames")
def argnums_out_of_range():
    def loss(x):
        return x
    grad(loss, argnums=2)(1.0)  # BAD


@case(E.ArgumentError, "'z'", "argnames", "y")
def argnames_missing():
    grad(lambda x, y: x, argnames="z")(1.0, y=2.0)  # BAD


@case(E.ArgumentError, "grad takes a function", "f64[]", "grad(f)(x), not grad(f(x))")
def grad_of_a_value():
    grad(np.sin(1.0))  # BAD


@case(E.ArgumentError, "jit takes a function", "not jit(f(x))")
def jit_of_a_value():
    jit(3.0)  # BAD


@case(E.ResultTypeError, "has_aux=True", "f64[]", "(output, aux)")
def aux_missing():
    grad(lambda x: x, has_aux=True)(1.0)  # BAD


@case(E.NonScalarOutputError, "real result", "c128[]", "holomorphic=True")
def complex_result():
    def f(z):
        return z
    grad(f)(1j)  # BAD


@case(E.NotComplexError, "holomorphic=True", "f64[]", "argument z", "astype(complex)")
def holomorphic_in_a_real_argument():
    def f(z):
        return z
    grad(f, holomorphic=True)(1.0)  # BAD


@case(E.NotComplexError, "holomorphic=True", "float64")
def holomorphic_with_a_real_result():
    grad(lambda z: z.real, holomorphic=True)(1j)  # BAD


@case(E.NotComplexError, "jacfwd", "c128[]", "holomorphic=True", "jvp")
def forward_jacobian_of_complex_numbers():
    jacfwd(abs)(1j)  # BAD


@case(E.DtypeError, "remainder", "c128[]")
def remainder_of_complex_numbers():
    jit(lambda x: x % 2)(1j)  # BAD


@case(E.DtypeError, "argument name", "'str'", "ndarray")
def string_argument():
    def f(name):
        return 1.0
    grad(f)("text")  # BAD


@case(E.DtypeError, "argument w['m']", "<U1", "strings")
def string_array():
    def f(w):
        return 1.0
    jit(f)({"m": np.array(["a"])})  # BAD


@case(E.DtypeError, "MaskedArray", "np.asarray")
def masked_array():
    grad(lambda x: np.sum(x))(np.ma.masked_array(X, X > 0))  # BAD


# ----- jvp, vjp, linearize ------------------------------------------------------------------------


@case(E.ArgumentError, "primals must be a tuple", "f64[]", "jvp(f, (x,), (t,))")
def primals_not_a_tuple():
    jvp(np.sin, 1.0, 1.0)  # BAD


@case(E.ShapeError, "f64[2]", "f64[3]", "tangents")
def tangent_of_another_shape():
    jvp(np.sin, (X,), (np.ones(2),))  # BAD


@case(E.DtypeError, "f64[3]", "f32[3]", "astype")
def tangent_of_another_dtype():
    jvp(np.sin, (X.astype(np.float32),), (X,))  # BAD


@case(E.TreeError, "tangents", "primals")
def tangents_of_another_structure():
    jvp(lambda p: p["a"], ({"a": 1.0, "b": 2.0},), ({"a": 1.0},))  # BAD


@case(E.TreeError, "tangents", "primals")
def tangents_too_few():
    jvp(lambda a, b: a, (1.0, 2.0), (1.0,))  # BAD


@case(E.ShapeError, "pull", "f64[2]", "['k']", "f64[3]")
def cotangent_of_another_shape():
    _, pull = vjp(lambda x: {"k": x}, X)
    pull({"k": np.ones(2)})  # BAD


@case(E.TreeError, "pull", "a dict", "f64[3]")
def cotangent_of_another_structure():
    _, pull = vjp(lambda x: x, X)
    pull({"k": X})  # BAD


@case(E.TreeError, "pull")
def cotangent_with_another_key():
    _, pull = vjp(lambda x: {"k": x}, X)
    pull({"q": X})  # BAD


@case(E.ShapeError, "f_jvp", "f64[2]", "f64[3]")
def tangent_of_a_linearization():
    _, push = linearize(np.sin, X)
    push(np.ones(2))  # BAD


@case(E.NonDifferentiableError, "cannot be transposed", "sin")
def transpose_of_what_is_not_linear():
    linear_transpose(lambda x: np.sin(x), 1.0)(1.0)  # BAD


@case(E.NonDifferentiableError, "custom_vjp rule only", "reverse mode", "defjvp", "custom_rule")
def forward_mode_of_a_custom_vjp():
    f = custom_vjp(np.sin)
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct,))

    def g(x):
        return f(x) * 2  # BAD
    jvp(g, (1.0,), (1.0,))


@case(E.NonDifferentiableError, "closes over a traced f64[]", "argument")
def rule_that_closes_over_a_perturbed_value():
    def outer(x):
        f = custom_jvp(lambda y: x * y)
        f.defjvp(lambda p, t: (f(*p), t[0]))
        return f(x)  # BAD
    grad(outer)(1.0)


@case(E.TreeError, "jvp rule of sin", "pair (out, tangent)")
def rule_without_a_pair():
    f = custom_jvp(np.sin)
    f.defjvp(lambda p, t: t[0])
    grad(lambda x: f(x))(1.0)  # BAD


# ----- vmap ---------------------------------------------------------------------------------------


@case(E.BatchSizeError, "axis 0 of x (f64[3]) has extent 3",
      "axis 1 of w['b'] (f64[2,4]) has extent 4", "equal")
def axes_that_disagree():
    def f(x, w):
        return x
    vmap(f, (0, {"b": 1}))(X, {"b": np.ones((2, 4))})  # BAD


@case(E.BatchSizeError, "extent 3", "axis_size=5")
def axis_size_that_disagrees():
    vmap(np.sin, axis_size=5)(X)  # BAD


@case(E.BatchSizeError, "nothing to map over", "axis_size=")
def nothing_mapped():
    vmap(lambda x: x, in_axes=None)(X)  # BAD


@case(E.AxisError, "in_axes is 2", "argument x", "f64[3]", "None")
def axis_that_an_argument_does_not_have():
    def f(x):
        return x
    vmap(f, in_axes=2)(X)  # BAD


@case(E.AxisError, "in_axes is 0", "argument s", "f64[]", "None")
def scalar_argument_mapped():
    def f(x, s):
        return x * s
    vmap(f)(X, 2.0)  # BAD


@case(E.TreeError, "in_axes has 2 entries for 1 positional", "single integer")
def too_many_axes():
    vmap(np.sin, (0, 0))(X)  # BAD


@case(E.TreeError, "in_axes")
def axes_of_another_structure():
    vmap(lambda p: p["a"], ({"b": 0},))({"a": X})  # BAD


@case(E.AxisError, "out_axes is 3", "f64[]", "-1 to 0")
def out_axis_that_the_result_does_not_have():
    vmap(np.sin, out_axes=3)(X)  # BAD


@case(E.TreeError, "out_axes is None", "depends on the mapped")
def mapped_result_without_axis():
    vmap(np.sin, out_axes=None)(X)  # BAD


@case(E.UnboundAxisError, "psum", "'batch'", "axis_name='batch'")
def unbound_axis():
    def f(x):
        return lax.psum(x, "batch")  # BAD
    vmap(f)(X)


# ----- control flow and leaks ---------------------------------------------------------------------


@case(E.TracerBoolError, "truth value of a traced bool[]", "vmap traces", "np.where", "lax.cond",
      "static_argnums")
def bool_of_a_batched_value():
    def f(x):
        if x > 0:  # BAD
            return x
        return -x
    vmap(f)(X)


@case(E.TracerBoolError, "jit traces", "lax.while_loop")
def while_of_a_jitted_value():
    def f(x):
        while x < 10:  # BAD
            x = x * 2
        return x
    jit(f)(1.0)


@case(E.TracerBoolError, "vmap traces")
def bool_inside_inner_functions():
    def inner(x):
        return x if x > 0 and x < 1 else -x  # BAD
    vmap(grad(lambda x: inner(x) * 2))(X)


@case(E.ShapeError, "bool[3]", "ambiguous", "np.any", "np.all")
def bool_of_an_array():
    grad(lambda x: np.sum(x) if x > 0 else 0.0)(X)  # BAD


@case(E.ConcretizationError, "int()", "f64[]", "static_argnums")
def int_of_a_jitted_value():
    jit(lambda x: int(x))(1.0)  # BAD


@case(E.ConcretizationError, "bool[3] mask", "np.where(mask, x, 0)")
def boolean_mask_of_a_jitted_value():
    jit(lambda x: np.sum(x[x > 0]))(X)  # BAD


@case(E.ArgumentError, "only integer scalars", "f64[]", "astype(int)")
def float_as_an_index():
    grad(lambda x: [1.0, 2.0][x] * x)(1.0)  # BAD


@case(E.LeakedTracerError, "f64[]", "grad that has returned", "Return values from the function")
def leaked_value():
    kept = []
    grad(lambda x: kept.append(x) or x * x)(1.0)
    jit(lambda: np.sin(kept[0]))()  # BAD


@case(E.CarryTypeError, "carry['s']", "f64[]", "f64[3]")
def carry_that_grows():
    def body(c, x):
        return {"s": c["s"] + X}, None  # BAD
    lax.scan(body, {"s": 0.0}, X)


@case(E.DtypeError, "cond", "f64[]", "x != 0")
def predicate_that_is_no_bool():
    jit(lambda p: lax.cond(p, np.sin, np.cos, 1.0))(1.0)  # BAD


# ----- the rest -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", case)
def test_error(name):
    case.check(name)


def test_user_frames_stay_in_the_traceback():
    def inner(x):
        raise ValueError("mine")

    def outer(x):
        return inner(x) * 2
    for run in (lambda: grad(outer)(1.0), lambda: jit(vmap(grad(outer)))(X), lambda: hessian(outer)(1.0),
                lambda: eval_shape(outer, 1.0), lambda: jvp(outer, (1.0,), (1.0,)),
                lambda: lax.scan(lambda c, x: (outer(c), None), 1.0, X)):
        with pytest.raises(ValueError, match="mine") as e:
            run()
        names = [f.name for f in traceback.extract_tb(e.value.__traceback__)]
        assert names[-2:] == ["outer", "inner"]
        assert all(f.filename == __file__ for f in traceback.extract_tb(e.value.__traceback__))


def test_numpys_errors_under_grad_are_numpys():
    for f in (lambda x: np.ones((2, 3)) @ np.ones((2, 3)), lambda x: np.ones(3)[7]):
        with pytest.raises((ValueError, IndexError)) as e:
            grad(f)(1.0)
        assert not isinstance(e.value, errors.FunctransError)


@pytest.mark.parametrize("use", [float, int, bool, np.asarray, lambda x: x + 1, np.sin])
def test_values_that_outlive_their_trace(use):
    """Whatever is done with them: not that a derivative would be lost, or a value is not known."""
    kept = []
    grad(lambda x: kept.append(x) or x)(1.0)
    with pytest.raises(E.LeakedTracerError, match="of a grad that has returned was used"):
        use(kept[0])
