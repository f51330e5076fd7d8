"""The transforms: each takes a function and returns a function (or runs one at a point)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import errors, tree
from ..calling.arguments import Chosen, Selection, all_of
from ..calling.boundary import Transformed
from ..calling.staging import (
    api,
    check_callable,
    describe,
    find_pass,
    leaf_name,
    restore_aux,
    trace_call,
)
from ..ir.core import lit
from ..trace.core import Captured, aval_of
from ..trace.tracer import Tracer
from ..transform.interpret import evaluate, jvp_values, transpose_values
from ..transform.linearize import joint_values, linearize_values
from ..transform.zeros import Zero, has_tangent, instantiate, zero_of

FLOAT0 = np.dtype([("float0", np.void, 0)])


def _check_differentiable(chosen: Chosen, avals, what, allow_int, holomorphic) -> None:
    for i, a in enumerate(avals):
        if holomorphic and a.dtype.kind != "c":
            raise errors.NotComplexError(f"{what} with holomorphic=True with respect to the {a} of argument "
                                         f"{leaf_name(chosen.treedef, chosen.name, i)}.",
                                         "Pass complex arguments, e.g. x.astype(complex).")
        if not has_tangent(a) and not allow_int:
            raise errors.IntegerInputError(
                f"{what} with respect to the {a} of argument "
                f"{leaf_name(chosen.treedef, chosen.name, i)}: integers have no derivative.",
                "Pass a float (e.g. 3.0 or x.astype(float)), choose other arguments with argnums, or "
                "pass allow_int=True to get float0 zeros for it.")


def _float0(a):
    """The zero of the tangent space of integers, as JAX's."""
    return np.zeros(a.shape, FLOAT0)


# ----- reverse mode --------------------------------------------------------------------------------------


@api
def value_and_grad(fun: Callable, argnums: int | Sequence[int] | None = None, *,
                   argnames: str | Sequence[str] | None = None, has_aux: bool = False,
                   holomorphic: bool = False, allow_int: bool = False) -> Callable:
    """A function that returns ``(fun(...), gradient)``.

    Args:
      fun: returns a real scalar (or ``(scalar, aux)`` with ``has_aux``).
      argnums: which positional arguments to differentiate: an integer, or several (then the gradient
        is a tuple). Default 0, unless ``argnames`` is given.
      argnames: which keyword arguments to differentiate, by name.
      has_aux: ``fun`` returns a pair, of which the second is passed on: ``((value, aux), gradient)``.
      holomorphic: promise that ``fun`` is holomorphic; its arguments and result must be complex then,
        and the gradient is its complex derivative.
      allow_int: integer inputs get zeros of dtype float0 instead of an error.

    The gradient has the structure, shapes and dtypes of the arguments. Other arguments reach ``fun``
    untouched. For a complex argument ``x + iy`` of a real function it is ``df/dx - i df/dy``, whose
    conjugate is the direction of steepest ascent.

    Raises:
      NonScalarOutputError, IntegerInputError, and what tracing ``fun`` raises.

    >>> import numpy as np
    >>> from functrans import value_and_grad
    >>> value, gradient = value_and_grad(lambda x: np.sum(x ** 2))(np.array([1.0, 2.0]))
    >>> float(value), gradient
    (5.0, array([2., 4.]))
    """
    check_callable(fun, "value_and_grad")
    options = (argnums, argnames, has_aux, holomorphic, allow_int)
    return Transformed(_gradient(fun, *options, "value_and_grad", True), fun, "value_and_grad",
                       (_remake, ("value_and_grad", fun, options)))


@api
def grad(fun: Callable, argnums: int | Sequence[int] | None = None, *,
         argnames: str | Sequence[str] | None = None, has_aux: bool = False,
         holomorphic: bool = False, allow_int: bool = False) -> Callable:
    """The gradient of a function with scalar result; the arguments are those of ``value_and_grad``.

    With ``has_aux`` the result is ``(gradient, aux)``.

    >>> import numpy as np
    >>> from functrans import grad
    >>> grad(np.sin)(0.0)
    np.float64(1.0)
    >>> grad(grad(lambda x: x ** 3))(2.0)
    np.float64(12.0)
    """
    check_callable(fun, "grad")
    options = (argnums, argnames, has_aux, holomorphic, allow_int)
    return Transformed(_gradient(fun, *options, "grad", False), fun, "grad",
                       (_remake, ("grad", fun, options)))


def _remake(name, fun, options):
    """A gradient function again, from its pickle."""
    argnums, argnames, has_aux, holomorphic, allow_int = options
    make = grad if name == "grad" else value_and_grad
    return make(fun, argnums, argnames=argnames, has_aux=has_aux, holomorphic=holomorphic,
                allow_int=allow_int)


class Gradient(NamedTuple):
    """What a gradient function was made of."""

    kind: str               # "grad" or "value_and_grad"
    fun: Callable
    argnums: Any
    argnames: Any
    has_aux: bool


def gradient_of(fun: Any) -> Gradient | None:
    """What ``grad`` or ``value_and_grad`` was given, below ``jit``, ``vmap``, ``checkpoint``; else None."""
    while isinstance(fun, Transformed):
        make, given = fun.remake
        if make is _remake:
            kind, inner, (argnums, argnames, has_aux, *_) = given
            if argnums is None and argnames is None:
                argnums = 0
            return Gradient(kind, inner, argnums, argnames, has_aux)
        if fun.__name__.partition("(")[0] not in ("jit", "vmap", "checkpoint"):
            break
        fun = fun.__wrapped__
    return None


def _gradient(fun, argnums, argnames, has_aux, holomorphic, allow_int, what, with_value):
    if argnums is None and argnames is None:
        argnums = 0
    selection = Selection(fun, argnums, argnames, what)

    def call(*args, **kwargs):
        chosen = Chosen(selection, args, kwargs)
        avals = chosen.avals()
        for a in avals:
            if a.dtype.kind != "f" or holomorphic:
                _check_differentiable(chosen, avals, what, allow_int, holomorphic)
                break
        traced = trace_call(chosen.call, chosen.leaves, avals, what, has_aux=has_aux)
        jaxpr, n = traced.jaxpr, len(avals)
        check_scalar(traced, what, holomorphic)
        wrt = (True,) * n + (False,) * (len(jaxpr.invars) - n)
        drop = 0 if with_value else 1

        def body(*values):
            out = jaxpr.out_avals[0]
            outs = joint_values(jaxpr, values, wrt, (0,), [lit(1, out)])
            return outs[drop:], None

        found, values = find_pass(what, jaxpr, (wrt, drop), body, chosen.leaves + traced.consts)
        outs = found.run(values)
        n_head = len(jaxpr.outs) - drop
        grads = outs[n_head:]
        for i, a in enumerate(avals):
            if not has_tangent(a):
                grads[i] = _float0(a)
        gradient = chosen.restore(grads)
        if not has_aux:
            return (outs[0], gradient) if with_value else gradient
        aux = restore_aux(traced, outs[1 - drop:n_head])
        return ((outs[0], aux), gradient) if with_value else (gradient, aux)

    return call


def check_scalar(traced, what, holomorphic) -> None:
    if traced.n_out != 1 or traced.out_tree != tree.LEAF:
        got = f"a pytree of {traced.n_out} leaves" if traced.n_out != 1 else "a container"
        raise errors.NonScalarOutputError(
            f"{what} needs a function with one scalar result; it returned {got}.",
            "Return the scalar alone, pass has_aux=True to return (scalar, aux), or use jacrev.")
    out = traced.jaxpr.out_avals[0]
    if out.shape:
        raise errors.NonScalarOutputError(
            f"{what} needs a function with a scalar result; it returned {out}.",
            "Reduce it, e.g. with np.sum, or use jacrev / jacfwd for all its derivatives.")
    if holomorphic:
        check_complex_result(out, what)
    elif out.dtype.kind == "c":
        raise errors.NonScalarOutputError(
            f"{what} needs a function with a real result; it returned {out}.",
            "Return np.real(y) or np.abs(y), or pass holomorphic=True if the function is holomorphic.")
    elif out.dtype.kind != "f":
        raise errors.NonScalarOutputError(
            f"{what} needs a function with a real floating-point result; it returned {out}.",
            "Convert the result with astype(float) if a zero gradient is meant.")


def check_complex_result(aval, what) -> None:
    """Raises unless the result of a function that was said to be holomorphic is complex."""
    if aval.dtype.kind != "c":
        raise errors.NotComplexError(f"{what} with holomorphic=True: the function's result is {aval.dtype}.",
                                     "A holomorphic function has a complex result.")


def _linearized(fun, primals, what, has_aux=False):
    """``fun`` traced and its primal half run at ``primals``.

    Returns ``(arguments, traced, outs + residuals, perturbed inputs, perturbed outs, linear half)``.
    """
    chosen = all_of(fun, primals, what)
    avals = chosen.avals()
    traced = trace_call(chosen.call, chosen.leaves, avals, what, has_aux=has_aux)
    jaxpr = traced.jaxpr
    nonzeros = tuple([has_tangent(a) for a in avals]) + (False,) * (len(jaxpr.invars) - len(avals))

    def body(*values):
        outs, keep, lin, residuals = linearize_values(jaxpr, values, nonzeros)
        return outs + residuals, (keep, lin)

    found, values = find_pass("linearize", jaxpr, nonzeros, body, chosen.leaves + traced.consts)
    outs, (_, lin) = found.run(values), found.aux
    n_head, first = len(jaxpr.outs), sum(nonzeros)
    outs[n_head:] = [Captured.of(x, a) if a.stacked and type(x) is not Tracer else x
                     for x, a in zip(outs[n_head:], lin.in_avals[first:], strict=True)]
    return chosen, traced, outs, nonzeros, *found.aux


@api
def vjp(fun: Callable, *primals, has_aux: bool = False):
    """The value of ``fun`` at ``primals`` and a function that pulls cotangents back.

    Returns:
      ``(out, pull)`` or, with ``has_aux``, ``(out, pull, aux)``. ``pull(ct)`` takes a pytree like
      ``out`` and returns a tuple of pytrees like ``primals`` (float0 zeros for integer ones). It may be
      called any number of times and keeps copies of what it needs, so changing ``primals`` in place
      afterwards does no harm.

    >>> import numpy as np
    >>> from functrans import vjp
    >>> out, pull = vjp(lambda x, y: x * np.sin(y), 2.0, 0.0)
    >>> [float(ct) for ct in pull(1.0)]
    [0.0, 2.0]
    """
    check_callable(fun, "vjp")
    chosen, traced, outs, nonzeros, keep, lin = _linearized(fun, primals, "vjp", has_aux)
    jaxpr, avals = traced.jaxpr, chosen.avals()
    n, n_head = len(avals), len(jaxpr.outs)
    residuals, n_lin = outs[n_head:], sum(nonzeros)
    out_tree, n_out = traced.out_tree, traced.n_out

    @api
    def pull(cts):
        leaves = _matching_leaves(cts, out_tree, jaxpr.out_avals[:n_out], "pull", "the output of fun")
        moved = [ct for ct, k in zip(leaves, keep[:n_out], strict=True) if k]
        mask = keep[:n_out] + (False,) * (len(keep) - n_out)
        given = [k for k, kept in zip(mask, keep, strict=True) if kept]

        def back(*values):
            rest = iter(values[len(residuals):])
            full = [next(rest) if g else Zero(a)
                    for g, a in zip(given, lin.out_avals, strict=True)]
            got = transpose_values(lin, n_lin, values[:len(residuals)], full)
            return [instantiate(ct) for ct in got], None

        program, inputs = find_pass("pull", lin, (n_lin, tuple(given)), back, [*residuals, *moved])
        got = iter(program.run(inputs))
        return chosen.treedef.unflatten([next(got) if nz else _float0(a)
                                         for nz, a in zip(nonzeros[:n], avals, strict=True)])

    out = out_tree.unflatten(outs[:n_out])
    return (out, pull, restore_aux(traced, outs[n_out:n_head])) if has_aux else (out, pull)


def _matching_leaves(value, treedef, avals, what, reference) -> list:
    """Leaves of ``value``, whose structure, shapes and dtypes must be those of ``reference``."""
    leaves = treedef.flatten_up_to(value, f"the argument of {what}", reference)
    out: list = []
    for i, (x, a) in enumerate(zip(leaves, avals, strict=True)):
        if not has_tangent(a):
            out.append(None)
            continue
        try:
            got = aval_of(x)
        except (TypeError, AttributeError):
            raise errors.TreeError(f"{what} got {describe(x)}{treedef.paths()[i] and ' at '}"
                                   f"{treedef.paths()[i]} where {reference} has {a.strong}.",
                                   "Give a pytree of the same structure.") from None
        path = treedef.paths()[i] if got.shape != a.shape or got.dtype != a.dtype else ""
        if got.shape != a.shape:
            raise errors.ShapeError(f"{what} got {got}{f' at {path}' if path else ''} where {reference} "
                                    f"has {a.strong}.", "Shapes must be equal.")
        if got.dtype != a.dtype:
            if not (got.weak or got.dtype.kind in "biu") and got.dtype != a.dtype:
                raise errors.DtypeError(f"{what} got {got}{f' at {path}' if path else ''} where {reference} "
                                        f"has {a.strong}.", "Convert it with astype.")
            from ..numpy.core import convert
            x = convert(x if isinstance(x, Tracer) else np.asarray(x)[()], a.dtype) if isinstance(
                x, Tracer) else np.asarray(x).astype(a.dtype)
        out.append(x)
    return out


# ----- forward mode --------------------------------------------------------------------------------------


@api
def jvp(fun: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False):
    """The value of ``fun`` and its derivative along ``tangents``.

    Args:
      primals, tangents: tuples (or lists) of the arguments and of pytrees like them; tangents of
        integer arguments are ignored.

    Returns:
      ``(out, tangent)``, or ``(out, tangent, aux)`` with ``has_aux``.

    >>> import numpy as np
    >>> from functrans import jvp
    >>> out, tangent = jvp(np.sin, (0.0,), (2.0,))
    >>> float(out), float(tangent)
    (0.0, 2.0)
    """
    check_callable(fun, "jvp")
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, (tuple, list)):
            raise errors.ArgumentError(
                f"jvp: {name} must be a tuple with one entry per argument, got {describe(value)}.",
                "Write jvp(f, (x,), (t,)).")
    primals = tuple(primals)
    chosen = all_of(fun, primals, "jvp")
    avals = chosen.avals()
    ts = _matching_leaves(tuple(tangents), chosen.treedef, avals, "jvp (tangents)", "primals")
    traced = trace_call(chosen.call, chosen.leaves, avals, "jvp", has_aux=has_aux)
    jaxpr, n_out = traced.jaxpr, traced.n_out
    moved = [t for t in ts if t is not None]
    nonzeros = tuple([t is not None for t in ts])
    consts = traced.consts

    def body(*values):
        head = values[:len(jaxpr.invars)]
        rest = iter(values[len(jaxpr.invars):])
        tangents = [next(rest) if i < len(nonzeros) and nonzeros[i] else zero_of(v)
                    for i, v in enumerate(head)]
        outs, out_ts = jvp_values(jaxpr, head, tangents)
        return outs + [instantiate(t) for t in out_ts[:n_out]], None

    found, values = find_pass("jvp", jaxpr, (nonzeros, n_out), body, [*chosen.leaves, *consts, *moved])
    outs = found.run(values)
    n_head = len(jaxpr.outs)
    out_ts = [t if has_tangent(a) else _float0(a)
              for t, a in zip(outs[n_head:], jaxpr.out_avals[:n_out], strict=True)]
    out, tangent = traced.out_tree.unflatten(outs[:n_out]), traced.out_tree.unflatten(out_ts)
    return (out, tangent, restore_aux(traced, outs[n_out:n_head])) if has_aux else (out, tangent)


@api
def linearize(fun: Callable, *primals):
    """The value of ``fun`` at ``primals`` and its derivative there as a function of tangents.

    ``fun`` is evaluated once; the returned ``f_jvp(*tangents)`` runs the linear part only.

    >>> import numpy as np
    >>> from functrans import linearize
    >>> out, f_jvp = linearize(np.sin, 0.0)
    >>> float(f_jvp(3.0))
    3.0
    """
    check_callable(fun, "linearize")
    chosen, traced, outs, _, keep, lin = _linearized(fun, primals, "linearize")
    jaxpr, avals = traced.jaxpr, chosen.avals()
    residuals = outs[len(jaxpr.outs):]

    @api
    def f_jvp(*tangents):
        ts = _matching_leaves(tangents, chosen.treedef, avals, "f_jvp", "primals")
        moved = [t for t in ts if t is not None]
        program, inputs = find_pass("linear", lin, (), lambda *v: (evaluate(lin, v), None),
                                    [*moved, *residuals])
        got = iter(program.run(inputs))
        return traced.out_tree.unflatten(
            [next(got) if k else np.zeros(a.shape, a.dtype)[()] if has_tangent(a) else _float0(a)
             for k, a in zip(keep, jaxpr.out_avals, strict=True)])

    return traced.out_tree.unflatten(outs[:len(jaxpr.outs)]), f_jvp


@api
def linear_transpose(fun: Callable, *examples) -> Callable:
    """The transpose of a linear function.

    Args:
      fun: linear in all its arguments together.
      examples: arrays, or ``ShapeDtypeStruct``s, that say its arguments' shapes and dtypes.

    Returns:
      a function from a cotangent like ``fun``'s output to a tuple like ``examples``.

    >>> import numpy as np
    >>> from functrans import linear_transpose
    >>> linear_transpose(lambda x: 3.0 * x, 0.0)(2.0)
    (np.float64(6.0),)
    """
    check_callable(fun, "linear_transpose")

    @api
    def transposed(cts):
        chosen = all_of(fun, examples, "linear_transpose")
        avals = [a.strong for a in chosen.avals()]
        traced = trace_call(chosen.call, chosen.leaves, avals, "linear_transpose", known=False)
        jaxpr, n = traced.jaxpr, len(avals)
        leaves = _matching_leaves(cts, traced.out_tree, jaxpr.out_avals, "linear_transpose",
                                  "the output of fun")

        def body(*values):
            n_rest = len(jaxpr.invars) - n
            got = transpose_values(jaxpr, n, values[:n_rest], values[n_rest:])
            return [instantiate(ct) for ct in got], None

        found, values = find_pass("linear_transpose", jaxpr, (n,), body, [*traced.consts, *leaves])
        return chosen.treedef.unflatten(found.run(values))

    return transposed


