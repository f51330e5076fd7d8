"""Derivatives that users define, and the two wrappers that change how derivatives flow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import errors, tree
from .boundary import global_name
from .ir.core import Lit, lit
from .ops.call import Rule, custom_jvp_call, custom_vjp_call
from .ops.elementwise import OPS
from .staging import (
    api,
    argument_names,
    as_value,
    check_callable,
    describe,
    leaf_avals,
    name_of,
    trace_call,
)
from .trace.core import Captured, aval_of
from .trace.source import source_of
from .trace.tracer import Tracer
from .transform.zeros import has_tangent


@api
def stop_gradient(x: Any) -> Any:
    """x, treated as a constant by every derivative; works on pytrees.

    >>> import numpy as np
    >>> from functrans import grad, stop_gradient
    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    return tree.map(lambda v: OPS["stop_gradient"](v) if type(v) is Tracer else v, x)


def _is_array(x) -> bool:
    try:
        aval_of(x)
    except (TypeError, AttributeError):
        return False
    return True


class _Custom:
    """Shared by custom_jvp and custom_vjp: the call, nondiff arguments, names."""

    op: Callable            # custom_jvp_call or custom_vjp_call

    def __init__(self, fun: Callable, nondiff_argnums: int | Sequence[int] = ()):
        check_callable(fun, type(self).__name__)
        self.fun = fun
        self.nondiff = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        functools.update_wrapper(self, fun)

    def __reduce__(self):
        return global_name(self, self.fun) or super().__reduce_ex__(2)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args, **kwargs):
        try:
            return self._bind(args, kwargs)
        except Exception as e:
            errors.hide_internal_frames(e)
            raise

    def _bind(self, args, kwargs):
        args = self._positional(args, kwargs)
        fixed = tuple([args[i] for i in self.nondiff])
        rest = tuple([x for i, x in enumerate(args) if i not in self.nondiff])
        leaves, treedef = tree.flatten(rest)
        if not any(type(x) is Tracer for x in leaves):
            return self.fun(*args)
        names = argument_names(self.fun)
        kept = [i for i in range(len(args)) if i not in self.nondiff]
        avals = leaf_avals(leaves, treedef, lambda i: names(kept[i]), name_of(self.fun))

        def call(tracers):
            return self.fun(*self._merge(fixed, treedef.unflatten(tracers)))

        traced = trace_call(call, leaves, [a.strong for a in avals], name_of(self.fun))
        rule = self._rule(fixed, treedef, traced, avals)
        outs = self.op(*leaves, *traced.consts, jaxpr=traced.jaxpr, rule=rule)
        return traced.out_tree.unflatten(outs)

    def _rule(self, fixed, treedef, traced, avals) -> Rule:
        """The user's rule as a function of flat values."""
        raise NotImplementedError(type(self).__name__)

    def _positional(self, args, kwargs):
        """Keywords put in their places, as rules know arguments by position."""
        code = getattr(self.fun, "__code__", None)
        if not kwargs and (code is None or len(args) >= code.co_argcount):
            return args
        import inspect
        bound = inspect.signature(self.fun).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise errors.ArgumentError(
                f"{name_of(self.fun)}: keyword-only arguments {', '.join(bound.kwargs)} cannot go to a "
                "function with a custom rule.", "Make them positional.")
        return bound.args

    def _merge(self, fixed, rest):
        at = dict(zip(self.nondiff, fixed, strict=True))
        more = iter(rest)
        return [at[i] if i in at else next(more) for i in range(len(at) + len(rest))]

    def _apply(self, rule, what, fixed, args):
        """The user's rule on values as users may see them; equations take their lines from it."""
        args = tree.map(lambda x: as_value(x) if type(x) in (Lit, Captured) else x, args)
        source_of(None)
        try:
            return rule(*fixed, *args)
        except errors.LeakedTracerError as e:
            raise errors.NonDifferentiableError(
                f"the {what} rule of {name_of(self.fun)} uses a traced value of the function around it.",
                "Make it an argument of the function and of its rule.", e.location) from None


class custom_jvp(_Custom):
    """A function with its own forward derivative; reverse mode follows by transposition.

    Args:
      fun: the function.
      nondiff_argnums: positions of arguments that are passed to the rule first, as they are
        (functions, sizes); they are not differentiated.

    ``defjvp(rule)``: ``rule(*nondiff, primals, tangents) -> (out, tangent)``, both pytrees like the
    output. ``defjvps(*rules)``: a rule per argument, ``rule(tangent, out, *primals)``, or None.

    >>> import numpy as np
    >>> from functrans import custom_jvp, grad
    >>> @custom_jvp
    ... def f(x):
    ...     return np.sin(x)
    >>> @f.defjvp
    ... def _(primals, tangents):
    ...     return f(*primals), 10.0 * tangents[0]
    >>> grad(f)(0.0)
    np.float64(10.0)
    """

    op = staticmethod(custom_jvp_call)
    jvp: Callable | None = None

    def defjvp(self, rule: Callable) -> Callable:
        """Sets the rule; returns it, so that it works as a decorator."""
        self.jvp = rule
        return rule

    def defjvps(self, *rules: Callable | None) -> None:
        """Sets a rule per argument: ``rule(tangent, out, *primals) -> tangent of out``, or None for 0."""
        def jvp(*args):
            *fixed, primals, tangents = args
            out = self(*self._merge(fixed, primals))
            total = None
            for rule, t in zip(rules, tangents, strict=True):
                if rule is not None:
                    term = rule(t, out, *primals)
                    total = term if total is None else tree.map(np.add, total, term)
            return out, tree.map(np.zeros_like, out) if total is None else total
        self.jvp = jvp

    def _rule(self, fixed, treedef, traced, avals):
        if self.jvp is None:
            raise errors.NonDifferentiableError(f"{name_of(self.fun)} is a custom_jvp without a rule.",
                                                "Give it one with defjvp or defjvps.")
        user_jvp = self.jvp
        n, out_tree, out_avals = len(avals), traced.out_tree, traced.jaxpr.out_avals

        def jvp(primals, tangents):
            pair = self._apply(user_jvp, "jvp", fixed, (treedef.unflatten(primals[:n]),
                                                        treedef.unflatten(tangents[:n])))
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise errors.TreeError(f"the jvp rule of {name_of(self.fun)} returned {describe(pair)}.",
                                       "Return a pair (out, tangent).")
            outs = _like(pair[0], out_tree, out_avals, self, "primal output")
            return outs, _like(pair[1], out_tree, out_avals, self, "tangent")

        return Rule(name_of(self.fun), n, jvp=jvp)


def _like(value, out_tree, avals, custom, what) -> list:
    """Leaves of what a rule returned, which must be like the function's output."""
    leaves = out_tree.flatten_up_to(value, f"the {what} of the rule of {name_of(custom.fun)}",
                                    "the function's output")
    out = []
    for x, a in zip(leaves, avals, strict=True):
        got = _array_aval(x, a, f"the {what} of the rule of {name_of(custom.fun)}")
        if got.shape != a.shape:
            raise errors.ShapeError(f"the rule of {name_of(custom.fun)} returned a {what} {got} where the "
                                    f"function returns {a.strong}.", "Shapes must be equal.")
        if got.dtype != a.dtype:
            x = OPS["convert"](x, dtype=a.dtype)
        out.append(x)
    return out


def _array_aval(x, want, what):
    """The aval of x; a container or an object in its place is an error."""
    try:
        return aval_of(x)
    except (TypeError, AttributeError):
        raise errors.TreeError(f"{what} is {describe(x)} where {want.strong} is needed.",
                               "Return pytrees of the same structure.") from None


class custom_vjp(_Custom):
    """A function with its own reverse derivative. Forward mode through it is an error.

    Args:
      fun, nondiff_argnums: as for ``custom_jvp``.

    ``defvjp(fwd, bwd)``: ``fwd(*args) -> (out, residuals)`` takes the function's arguments;
    ``bwd(*nondiff, residuals, ct) -> cts`` returns a tuple with a cotangent (or None for zero) per
    argument that is not in ``nondiff_argnums``.

    >>> import numpy as np
    >>> from functrans import custom_vjp, grad
    >>> @custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda res, ct: (np.clip(ct, -1.0, 1.0),))
    >>> grad(lambda x: 5.0 * clip_gradient(x))(2.0)
    np.float64(1.0)
    """

    op = staticmethod(custom_vjp_call)
    fwd: Callable | None = None
    bwd: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Sets the rule's two halves."""
        self.fwd, self.bwd = fwd, bwd

    def _rule(self, fixed, treedef, traced, avals):
        if self.fwd is None or self.bwd is None:
            raise errors.NonDifferentiableError(f"{name_of(self.fun)} is a custom_vjp without a rule.",
                                                "Give it one with defvjp(fwd, bwd).")
        user_fwd, user_bwd = self.fwd, self.bwd
        n, out_tree, out_avals = len(avals), traced.out_tree, traced.jaxpr.out_avals
        n_const = len(traced.consts)
        residual_tree: list = [None]

        def fwd(primals):
            def rule(*args):
                return user_fwd(*self._merge(fixed, args))
            pair = self._apply(rule, "fwd", (), treedef.unflatten(primals[:n]))
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise errors.TreeError(f"the fwd rule of {name_of(self.fun)} returned {describe(pair)}.",
                                       "Return a pair (out, residuals).")
            outs = _like(pair[0], out_tree, out_avals, self, "primal output")
            leaves, structure = tree.flatten(pair[1])
            places = [i for i, x in enumerate(leaves) if _is_array(x)]
            residual_tree[0] = (structure, leaves, places)
            return outs, [leaves[i] for i in places]

        def bwd(residuals, cts):
            structure, leaves, places = residual_tree[0]
            full = list(leaves)
            for i, r in zip(places, residuals, strict=True):
                full[i] = r
            cts = [lit_zero(a) if ct is None else ct for ct, a in zip(cts, out_avals, strict=True)]
            got = self._apply(user_bwd, "bwd", fixed, (structure.unflatten(full),
                                                       out_tree.unflatten(cts)))
            return self._cotangents(got, treedef, avals) + [
                lit_zero(c) for c in traced.jaxpr.in_avals[n:n + n_const]]

        return Rule(name_of(self.fun), n, fwd=fwd, bwd=bwd)

    def _cotangents(self, got, treedef, avals) -> list:
        """What bwd returned as flat cotangents: None anywhere is zero."""
        children = treedef.children()
        if not isinstance(got, (tuple, list)) or len(got) != len(children):
            raise errors.TreeError(
                f"the bwd rule of {name_of(self.fun)} returned {describe(got)}"
                f"{f' of length {len(got)}' if isinstance(got, (tuple, list)) else ''} for {len(children)} "
                "arguments.", "Return a tuple with one cotangent (or None) per argument.")
        out: list = []
        for child, ct in zip(children, got, strict=True):
            part = avals[len(out):len(out) + child.num_leaves]
            leaves = [None] * child.num_leaves if ct is None else child.flatten_up_to(
                ct, f"a cotangent from the bwd rule of {name_of(self.fun)}", "the argument")
            for x, a in zip(leaves, part, strict=True):
                if x is None or not has_tangent(a):
                    out.append(lit_zero(a))
                    continue
                rule = f"a cotangent from the bwd rule of {name_of(self.fun)}"
                if _array_aval(x, a, rule).shape != a.shape:
                    raise errors.ShapeError(f"the bwd rule of {name_of(self.fun)} returned {aval_of(x)} for "
                                            f"an argument {a.strong}.", "Shapes must be equal.")
                out.append(x if aval_of(x).dtype == a.dtype else OPS["convert"](x, dtype=a.dtype))
        return out


def lit_zero(a):
    """A zero cotangent of a value of this type."""
    return lit(0, a)
