"""Derivatives that users define, and the two wrappers that change how derivatives flow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.arguments import Typed
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
from ..ir.core import Lit, lit
from ..ir.op import OPS
from ..ops.custom import Rule, custom_jvp_call, custom_vjp_call, jvp_of_vjp
from ..trace.core import Captured, aval_of
from ..trace.source import scope_now, set_scope, source_of
from ..trace.tracer import Tracer
from ..transform.zeros import has_tangent


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


class SymbolicZero(Typed):
    """The zero derivative of a value: what rules with ``symbolic_zeros=True`` get where nothing flows.

    >>> import numpy as np
    >>> from functrans import SymbolicZero, custom_jvp, grad
    >>> @custom_jvp
    ... def f(x, y):
    ...     return x * y
    >>> def rule(primals, tangents):
    ...     assert isinstance(tangents[1], SymbolicZero) and tangents[1].shape == ()
    ...     return f(*primals), tangents[0] * primals[1]
    >>> _ = f.defjvp(rule, symbolic_zeros=True)
    >>> grad(f)(2.0, 3.0)
    np.float64(3.0)
    """

    __slots__ = ()

    def __init__(self, aval):
        self.aval = aval.strong

    def __repr__(self):
        return f"SymbolicZero({self.aval})"


class CustomVJPPrimal:
    """An argument of a fwd rule with ``symbolic_zeros=True``: its ``value``, and if it is ``perturbed``.

    >>> from functrans import CustomVJPPrimal
    >>> CustomVJPPrimal(2.0, perturbed=False)
    CustomVJPPrimal(2.0, perturbed=False)
    """

    __functrans_leaf__ = True

    def __init__(self, value, perturbed: bool):
        self.value, self.perturbed = value, perturbed

    def __repr__(self):
        return f"CustomVJPPrimal({self.value!r}, perturbed={self.perturbed})"


def _symbolic(leaves) -> list:
    """Literal zeros as users ask to see them."""
    return [SymbolicZero(t.aval) if type(t) is Lit and not t.value else t for t in leaves]


def argument_numbers(fun, nondiff_argnums, nondiff_argnames) -> tuple[int, ...]:
    """Positions of arguments, some given by name."""
    numbers = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
    names = (nondiff_argnames,) if isinstance(nondiff_argnames, str) else tuple(nondiff_argnames)
    if not names:
        return numbers
    import inspect
    parameters = list(inspect.signature(fun).parameters.values())
    places = {p.name: i for i, p in enumerate(parameters)
              if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)}
    missing = [n for n in names if n not in places]
    if missing:
        raise errors.ArgumentError(f"nondiff_argnames: {name_of(fun)} has no positional argument "
                                   f"{', '.join(missing)}.", f"It has {', '.join(places) or 'none'}.")
    return tuple(sorted({*numbers, *[places[n] for n in names]}))


class _Custom:
    """Shared by custom_jvp and custom_vjp: the call, nondiff arguments, names."""

    op: Callable            # custom_jvp_call or custom_vjp_call
    jvp: Callable | None = None
    symbolic = False        # whether zeros reach the rule as SymbolicZero

    def __init__(self, fun: Callable, nondiff_argnums: int | Sequence[int] = (),
                 nondiff_argnames: str | Sequence[str] = ()):
        check_callable(fun, type(self).__name__)
        self.fun = fun
        self.nondiff = argument_numbers(fun, nondiff_argnums, nondiff_argnames)
        functools.update_wrapper(self, fun)

    def defjvp(self, jvp: Callable, symbolic_zeros: bool = False) -> Callable:
        """Sets the forward rule; returns it, so that it works as a decorator.

        With ``symbolic_zeros`` tangents that are zero come as ``SymbolicZero``, and may be returned so.
        """
        self.jvp, self.symbolic = jvp, bool(symbolic_zeros)
        return jvp

    def _forward(self, fixed, treedef, traced, avals) -> Callable | None:
        """The forward rule as a function of flat values."""
        user_jvp, symbolic = self.jvp, self.symbolic
        n, out_tree, out_avals = len(avals), traced.out_tree, traced.jaxpr.out_avals
        if user_jvp is None:
            return None

        def jvp(primals, tangents):
            ts = _symbolic(tangents[:n]) if symbolic else tangents[:n]
            pair = self._apply(user_jvp, "jvp", fixed, (treedef.unflatten(primals[:n]),
                                                        treedef.unflatten(ts)))
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise errors.TreeError(f"the jvp rule of {name_of(self.fun)} returned {describe(pair)}.",
                                       "Return a pair (out, tangent).")
            outs = _like(pair[0], out_tree, out_avals, self, "primal output")
            return outs, _like(pair[1], out_tree, out_avals, self, "tangent")

        return jvp

    def _forward_only(self, fixed, treedef, traced, avals) -> Rule:
        """The rule of a function that has none for reverse mode."""
        jvp = self._forward(fixed, treedef, traced, avals)
        if jvp is None:
            kind = type(self).__name__
            raise errors.NonDifferentiableError(f"{name_of(self.fun)} is a {kind} without a rule.",
                                                "Give it one with defjvp (or defjvps, defvjp).")
        return Rule(name_of(self.fun), len(avals), jvp)

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
        around = set_scope(scope_now())
        source = source_of(None)
        try:
            return rule(*fixed, *args)
        except errors.LeakedTracerError as e:
            raise errors.NonDifferentiableError(
                f"the {what} rule of {name_of(self.fun)} uses a traced value of the function around it.",
                "Make it an argument of the function and of its rule.", e.location) from None
        finally:
            set_scope(around)
            source_of(source)


class custom_jvp(_Custom):
    """A function with its own forward derivative; reverse mode follows by transposition.

    Args:
      fun: the function.
      nondiff_argnums: positions of arguments that are passed to the rule first, as they are
        (functions, sizes); they are not differentiated.
      nondiff_argnames: the same by name.

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

    def defjvps(self, *jvps: Callable | None) -> None:
        """Sets a rule per argument: ``rule(tangent, out, *primals) -> tangent of out``, or None for 0."""
        def jvp(*args):
            *fixed, primals, tangents = args
            out = self(*self._merge(fixed, primals))
            total = None
            for rule, t in zip(jvps, tangents, strict=True):
                if rule is not None and not isinstance(t, SymbolicZero):
                    term = rule(t, out, *primals)
                    total = term if total is None else tree.map(np.add, total, term)
            return out, tree.map(np.zeros_like, out) if total is None else total
        self.jvp, self.symbolic = jvp, True

    def _rule(self, fixed, treedef, traced, avals):
        return self._forward_only(fixed, treedef, traced, avals)


def _like(value, out_tree, avals, custom, what) -> list:
    """Leaves of what a rule returned, which must be like the function's output."""
    leaves = out_tree.flatten_up_to(value, f"the {what} of the rule of {name_of(custom.fun)}",
                                    "the function's output")
    out = []
    for x, a in zip(leaves, avals, strict=True):
        x = lit_zero(a) if isinstance(x, SymbolicZero) and x.aval.shape == a.shape else x
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
    """A function with its own reverse derivative. Forward mode through it needs ``defjvp``, too.

    Args:
      fun, nondiff_argnums, nondiff_argnames: as for ``custom_jvp``.

    ``defvjp(fwd, bwd)``: ``fwd(*args) -> (out, residuals)`` takes the function's arguments;
    ``bwd(*nondiff, residuals, ct) -> cts`` returns a tuple with a cotangent (or None for zero) per
    argument that is not in ``nondiff_argnums``. ``defjvp(rule)``, as of ``custom_jvp``, is what
    ``jvp`` and ``linearize`` use; reverse mode stays with ``bwd``.

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
    symbolic_vjp = False
    transposes = False      # whether forward mode without a rule transposes bwd

    def defvjp(self, fwd: Callable, bwd: Callable, symbolic_zeros: bool = False,
               optimize_remat: bool = False) -> None:
        """Sets the rule's two halves.

        With ``symbolic_zeros`` fwd gets each leaf of its arguments as a ``CustomVJPPrimal``, which says
        whether it is differentiated, and cotangents that are zero reach bwd as ``SymbolicZero``.
        ``optimize_remat`` is accepted as in JAX: what fwd computes for nobody is never run here.
        """
        self.fwd, self.bwd, self.symbolic_vjp = fwd, bwd, bool(symbolic_zeros)

    def _rule(self, fixed, treedef, traced, avals):
        if self.fwd is None or self.bwd is None:
            raise errors.NonDifferentiableError(f"{name_of(self.fun)} is a custom_vjp without a rule.",
                                                "Give it one with defvjp(fwd, bwd).")
        user_fwd, user_bwd = self.fwd, self.bwd
        n, out_tree, out_avals = len(avals), traced.out_tree, traced.jaxpr.out_avals
        n_const = len(traced.consts)
        residual_tree: list = [None]
        symbolic = self.symbolic_vjp

        def fwd(primals, moves):
            def rule(*args):
                if symbolic:
                    marks = iter(moves)
                    args = tree.map(lambda x: CustomVJPPrimal(x, next(marks)), args)
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
            cts = _symbolic(cts) if symbolic else cts
            got = self._apply(user_bwd, "bwd", fixed, (structure.unflatten(full),
                                                       out_tree.unflatten(cts)))
            return self._cotangents(got, treedef, avals) + [
                lit_zero(c) for c in traced.jaxpr.in_avals[n:n + n_const]]

        jvp = self._forward(fixed, treedef, traced, avals)
        if jvp is None and self.transposes:
            jvp = jvp_of_vjp(fwd, bwd, n)
        return Rule(name_of(self.fun), n, jvp, fwd, bwd)

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
                if x is None or isinstance(x, SymbolicZero) or not has_tangent(a):
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


class custom_rule(custom_vjp):
    """A function with one derivative of its own, forward or reverse; the other follows by transposition.

    Args:
      fun, nondiff_argnums, nondiff_argnames: as for ``custom_jvp``.
      jvp: ``(*nondiff, primals, tangents) -> (out, tangent)``; reverse mode transposes it.
      vjp: ``(fwd, bwd)`` as for ``custom_vjp``; forward mode transposes bwd, which must be linear in its
        cotangent.

    ``defjvp`` and ``defvjp`` set them as well. With both, each mode has its own.

    >>> import numpy as np
    >>> from functrans import custom_rule, grad, jvp
    >>> f = custom_rule(np.sin, vjp=(lambda x: (np.sin(x), x), lambda x, ct: (10.0 * np.cos(x) * ct,)))
    >>> grad(f)(0.0), jvp(f, (0.0,), (1.0,))[1]
    (np.float64(10.0), np.float64(10.0))
    """

    transposes = True

    def __init__(self, fun: Callable, nondiff_argnums: int | Sequence[int] = (),
                 nondiff_argnames: str | Sequence[str] = (), *, jvp: Callable | None = None,
                 vjp: tuple[Callable, Callable] | None = None):
        super().__init__(fun, nondiff_argnums, nondiff_argnames)
        if jvp is not None:
            self.defjvp(jvp)
        if vjp is not None:
            self.defvjp(*vjp)

    def op(self, *args, **params):
        return (custom_vjp_call if self.bwd is not None else custom_jvp_call)(*args, **params)

    def _rule(self, fixed, treedef, traced, avals):
        if self.bwd is not None:
            return super()._rule(fixed, treedef, traced, avals)
        return self._forward_only(fixed, treedef, traced, avals)
