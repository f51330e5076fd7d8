"""Functions with their own batching, and linear functions with their own transpose."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.boundary import global_name
from ..calling.staging import (
    api,
    argument_names,
    as_value,
    check_callable,
    describe,
    leaf_avals,
    name_of,
    trace_call,
)
from ..ir.core import Lit
from ..lax import control
from ..ops.custom import LinearRule, MapRule, custom_vmap_call
from ..ops.custom import linear_call as _linear_call
from ..trace.core import Captured, aval_of
from ..trace.tracer import Tracer


def _as_users_see(leaves):
    return [as_value(x) if type(x) in (Lit, Captured) else x for x in leaves]


class custom_vmap:
    """A function with its own batching.

    ``def_vmap(rule)``: ``rule(axis_size, in_batched, *args) -> (out, out_batched)``. Each leaf of
    ``in_batched``, in the structure of ``args``, says whether that value has the mapped axis, as its first;
    ``out_batched`` says the same of ``out``.

    ``jvp`` is mapped by the derivative of the rule. Reverse mode takes the function apart, and what is left
    of it is mapped as usual: put ``custom_vjp`` around it where that matters.

    >>> import numpy as np
    >>> from functrans import custom_vmap, vmap
    >>> @custom_vmap
    ... def solve(a, b):
    ...     return b / a
    >>> @solve.def_vmap
    ... def _(axis_size, in_batched, a, b):
    ...     print(f"{axis_size} at once, mapped: {in_batched}")
    ...     return b / a, True
    >>> vmap(solve, (None, 0))(2.0, np.array([2.0, 4.0]))
    2 at once, mapped: (False, True)
    array([1., 2.])
    """

    vmap_rule: Callable | None = None

    def __init__(self, fun: Callable):
        check_callable(fun, "custom_vmap")
        self.fun = fun
        functools.update_wrapper(self, fun)

    def __reduce__(self):
        return global_name(self, self.fun) or super().__reduce_ex__(2)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def def_vmap(self, vmap_rule: Callable) -> Callable:
        """Sets the rule; returns it, so that it works as a decorator."""
        self.vmap_rule = vmap_rule
        return vmap_rule

    def __call__(self, *args, **kwargs):
        try:
            return self._bind(args, kwargs)
        except Exception as e:
            errors.hide_internal_frames(e)
            raise

    def _bind(self, args, kwargs):
        if kwargs:
            import inspect
            bound = inspect.signature(self.fun).bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        leaves, treedef = tree.flatten(args)
        name = name_of(self.fun)
        if not any(type(x) is Tracer for x in leaves):
            return self.fun(*args)
        avals = leaf_avals(leaves, treedef, argument_names(self.fun), name)
        traced = trace_call(lambda tracers: self.fun(*treedef.unflatten(tracers)), leaves,
                            [a.strong for a in avals], name)
        rule = MapRule(name, self._batch(name, treedef, len(leaves), traced))
        outs = custom_vmap_call(*leaves, *traced.consts, jaxpr=traced.jaxpr, rule=rule)
        return traced.out_tree.unflatten(outs)

    def _batch(self, name, treedef, n, traced):
        out_avals = traced.jaxpr.out_avals
        user_rule = self.vmap_rule

        def batch(size, mapped, values):
            if user_rule is None:
                raise errors.NotSupportedError(f"{name} is a custom_vmap without a rule.",
                                               "Give it one with def_vmap.")
            if any(mapped[n:]):
                raise errors.NotSupportedError(
                    f"{name} has its own vmap rule but closes over a traced value that is mapped.",
                    "Make it an argument of the function and of its rule.")
            args = treedef.unflatten(_as_users_see(values[:n]))
            pair = user_rule(size, treedef.unflatten([bool(m) for m in mapped[:n]]), *args)
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise errors.TreeError(f"the vmap rule of {name} returned {describe(pair)}.",
                                       "Return a pair (out, out_batched).")
            what = f"of the vmap rule of {name}"
            outs = traced.out_tree.flatten_up_to(pair[0], f"the output {what}", "the function's output")
            flags = pair[1]
            if isinstance(flags, (bool, np.bool_)):
                flags = [flags] * len(outs)
            else:
                flags = traced.out_tree.flatten_up_to(flags, f"out_batched {what}", "the function's output")
            for x, m, a in zip(outs, flags, out_avals, strict=True):
                got, want = aval_of(x), ((size, *a.shape) if m else a.shape)
                if got.shape != want or got.dtype != a.dtype:
                    raise errors.ShapeError(f"the output {what} is {got} where {a.dtype}{list(want)} is "
                                            "needed.", "Mapped outputs have the axis first; see out_batched.")
            return outs, [bool(m) for m in flags]

        return batch


@api
def sequential_vmap(f: Callable) -> custom_vmap:
    """``f``, which ``vmap`` runs for one example after the other, as a loop.

    >>> import numpy as np
    >>> from functrans import sequential_vmap, vmap
    >>> vmap(sequential_vmap(lambda x, y: x * y), (0, None))(np.arange(3.0), 2.0)
    array([0., 2., 4.])
    """
    mapped = custom_vmap(f)

    def rule(axis_size, in_batched, *args):
        leaves, treedef = tree.flatten(args)
        flags = tree.leaves(in_batched)

        def one(moving):
            rest = iter(moving)
            return mapped(*treedef.unflatten([next(rest) if m else x
                                              for x, m in zip(leaves, flags, strict=True)]))
        return control.map(one, [x for x, m in zip(leaves, flags, strict=True) if m]), True

    mapped.def_vmap(rule)
    return mapped


# ----- linear functions -----------------------------------------------------------------------------------


@api
def linear_call(fun: Callable, fun_transpose: Callable, residual_args: Any, linear_args: Any) -> Any:
    """``fun(residual_args, linear_args)``, linear in the latter, whose transpose is ``fun_transpose``.

    Args:
      fun: of two pytrees; it must be linear in the second one.
      fun_transpose: ``(residual_args, cotangents of the output) -> cotangents``, in the structure of
        ``linear_args``; it must be the transpose.
      residual_args, linear_args: pytrees of arrays.

    Derivatives by residuals follow from ``fun`` in forward mode, and in reverse mode where ``fun`` can be
    transposed without the rule.

    >>> import numpy as np
    >>> from functrans import grad, linear_call
    >>> scale = lambda r, x: x / r
    >>> grad(lambda x: linear_call(scale, lambda r, ct: 10.0 * ct / r, 2.0, x))(1.0)
    np.float64(5.0)
    """
    check_callable(fun, "linear_call")
    check_callable(fun_transpose, "linear_call")
    residuals, res_tree = tree.flatten(residual_args)
    linear, lin_tree = tree.flatten(linear_args)
    leaves, n = [*residuals, *linear], len(residuals)
    if not any(type(x) is Tracer for x in leaves):
        return fun(residual_args, linear_args)
    name = name_of(fun)
    avals = [a.strong for a in leaf_avals(leaves, tree.structure((residual_args, linear_args)),
                                          lambda i: ("residual_args", "linear_args")[i], name)]
    whole = lambda ts: fun(res_tree.unflatten(ts[:n]), lin_tree.unflatten(ts[n:]))
    traced = trace_call(whole, leaves, avals, name)
    out_tree, k = traced.out_tree, len(traced.consts)

    def transpose(values, cts):
        # closed-over values come first among the residuals
        given = res_tree.unflatten(_as_users_see(values[k:]))
        got = linear_call(lambda r, ct: fun_transpose(r, ct), lambda r, x: fun(r, x), given,
                          out_tree.unflatten(_as_users_see(cts)))
        flat = lin_tree.flatten_up_to(got, f"the result of the transpose of {name}", "linear_args")
        for x, a in zip(flat, avals[n:], strict=True):
            if aval_of(x).shape != a.shape or aval_of(x).dtype != a.dtype:
                raise errors.ShapeError(f"the transpose of {name} returned {aval_of(x)} for a linear {a}.",
                                        "It must return cotangents of the types of linear_args.")
        return flat

    order = [*range(len(leaves), len(leaves) + k), *range(len(leaves))]
    jaxpr = traced.jaxpr
    jaxpr = type(jaxpr)([jaxpr.invars[i] for i in order], jaxpr.eqns, jaxpr.outs, jaxpr.retraced)
    outs = _linear_call(*traced.consts, *leaves, jaxpr=jaxpr, rule=LinearRule(name, transpose), n_res=k + n)
    return out_tree.unflatten(outs)


class custom_transpose:
    """A function of ``(residuals, linear)`` with its own transpose by the latter; see ``linear_call``.

    ``def_transpose(rule)``: ``rule(residuals, ct) -> ct of linear``. Call it as ``f(residuals, linear)``, or
    as in JAX with the types of the output in front, which are not needed.

    >>> from functrans import custom_transpose, grad
    >>> @custom_transpose
    ... def f(r, x):
    ...     return x / r
    >>> f.def_transpose(lambda r, ct: 10.0 * ct / r)
    >>> grad(lambda x: f(2.0, x))(1.0)
    np.float64(5.0)
    """

    transpose: Callable | None = None

    def __init__(self, fun: Callable):
        check_callable(fun, "custom_transpose")
        self.fun = fun
        functools.update_wrapper(self, fun)

    def def_transpose(self, transpose: Callable) -> None:
        """Sets the rule."""
        self.transpose = transpose

    def __call__(self, *args):
        if len(args) not in (2, 3):
            raise errors.ArgumentError(f"{name_of(self.fun)} takes (residuals, linear), got {len(args)} "
                                       "arguments.", "Put several values into tuples.")
        if self.transpose is None:
            raise errors.NonDifferentiableError(f"{name_of(self.fun)} is a custom_transpose without a rule.",
                                                "Give it one with def_transpose.")
        return linear_call(self.fun, self.transpose, *args[-2:])


__all__ = ["custom_transpose", "custom_vmap", "linear_call", "sequential_vmap"]
