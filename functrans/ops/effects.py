"""Ops that are there for more than their values: calls into Python, barriers between simplifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors
from ..ir.core import Jaxpr, Var, eqn, signature
from ..ir.op import OPS, Hooks, Op, aval_of, move_axis, spread

# ----- calls into Python ---------------------------------------------------------------------------------

METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")


class Callback:
    """A Python function that programs call: equal to another where all of its parts are.

    Attributes:
      kind: ``"pure_callback"`` and so on, for messages; name: of the function; where: the user's line.
      function: takes and gives pytrees of arrays; in_tree: of ``(args, kwargs)``; fixed: pairs (place among
        the leaves, value) of what is no array.
      out_tree, out_avals: of its results; None where they are ignored.
      effect: whether it acts beside its results, so that every call counts.
      method: how it is mapped, one of METHODS.
    """

    def __init__(self, kind: str, function: Callable, in_tree: Any, fixed: tuple, out_tree: Any,
                 out_avals: tuple, effect: bool, method: str, name: str):
        self.kind, self.function, self.name = kind, function, name
        self.in_tree, self.fixed, self.out_tree, self.out_avals = in_tree, fixed, out_tree, out_avals
        self.effect, self.method = effect, method
        self.where = errors.user_location()
        self.parts = (kind, function, in_tree, fixed, out_tree, out_avals, effect, method, self.where)

    def __eq__(self, other):
        return isinstance(other, Callback) and self.parts == other.parts

    def __hash__(self):
        return hash((self.kind, self.where, self.out_avals))

    def __repr__(self):
        return f"<{self.kind} of {self.name}>"

    def call(self, arrays, lead: tuple[int, ...] = ()) -> list:
        """The results as arrays; ``lead`` are the extents of axes that mapping has added."""
        leaves = [x[()] if np.ndim(x) == 0 else x for x in arrays]
        for i, value in self.fixed:
            leaves.insert(i, value)
        args, kwargs = self.in_tree.unflatten(leaves)
        try:
            out = self.function(*args, **kwargs)
        except Exception as e:
            e.add_note(f"in the {self.kind} of {self.name}, called at {self.where or 'an unknown line'}")
            raise
        if self.out_tree is None:
            return []
        leaves = self.out_tree.flatten_up_to(out, f"the result of {self.name}", "result_shape_dtypes")
        return [self.checked(x, a, lead) for x, a in zip(leaves, self.out_avals, strict=True)]

    def checked(self, x, a, lead):
        """A result as an array of the type that was announced."""
        got = np.asarray(x)
        if got.shape != lead + a.shape or not (got.dtype == a.dtype or (
                isinstance(x, (bool, int, float, complex)) and np.can_cast(got.dtype, a.dtype, "same_kind"))):
            shape = list(lead + a.shape)
            raise errors.CallbackResultError(
                f"the {self.kind} of {self.name} returned {got.dtype}{list(got.shape)} where "
                f"{a.dtype}{shape} was announced.",
                "Make result_shape_dtypes (and vmap_method) fit what the function returns.",
                self.where)
        return got.astype(a.dtype, copy=False)


class Runner:
    """A callback in a plan: ``loops`` are (extent, which operands have that axis first), outermost first."""

    def __init__(self, callback: Callback, lead: tuple, loops: tuple):
        self.callback, self.lead, self.loops = callback, lead, loops

    def __call__(self, *arrays):
        outs = self.run(arrays, self.loops)
        return outs if self.callback.out_avals else [np.False_]

    def run(self, arrays, loops):
        if not loops:
            return self.callback.call(arrays, self.lead)
        (size, mask), *inner = loops
        rows = [self.run([x[i] if m else x for x, m in zip(arrays, mask, strict=True)], inner)
                for i in range(size)]
        if rows:
            return [np.stack(column) for column in zip(*rows, strict=True)]
        sizes = tuple([n for n, _ in loops])
        return [np.empty(sizes + self.lead + a.shape, a.dtype) for a in self.callback.out_avals]

    def __repr__(self):
        return repr(self.callback)


def _callback_infer(*avals, callback, lead, loops):
    sizes = tuple([n for n, _ in loops])
    # one that gives nothing has a result that nobody reads: each equation has one
    return [(sizes + lead + a.shape, a.dtype) for a in callback.out_avals] or [((), np.dtype(bool))]


def _callback_jvp(primals, tangents, *, callback, lead, loops):
    if any(a.dtype.kind in "fc" for a in callback.out_avals) and not all(
            isinstance(t, Hooks.zero) for t in tangents):
        raise errors.NonDifferentiableError(
            f"the {callback.kind} of {callback.name} has no derivative.",
            "Give it one with functrans.custom_jvp or custom_vjp, or put stop_gradient around its arguments.")
    outs = callback_op(*primals, callback=callback, lead=lead, loops=loops)
    return outs, [Hooks.zero(aval_of(x)) for x in outs]


def _callback_batch(size, operands, dims, *, callback, lead, loops):
    mapped = tuple([d is not None for d in dims])
    operands = [x if d is None else move_axis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
    if callback.method.startswith("sequential"):
        loops = ((size, mapped), *loops)
    else:
        lead = (size, *lead)
        if callback.method == "broadcast_all":
            operands = [x if m else spread(x, size, 0) for x, m in zip(operands, mapped, strict=True)]
        elif callback.method == "expand_dims":
            operands = [x if m else OPS["reshape"](x, shape=(1, *aval_of(x).shape))
                        for x, m in zip(operands, mapped, strict=True)]
    outs = callback_op(*operands, callback=callback, lead=lead, loops=loops)
    return outs, [0 if callback.out_avals else None] * len(outs)


callback_op = Op(
    "callback", "effect", multiple=True, always=True, infer=_callback_infer, jvp=_callback_jvp,
    transpose=None, batch=_callback_batch,
    lower=lambda ctx, eqn, views: ctx.python(Runner(**eqn.params), eqn, views),
    why={"transpose": "A callback has no derivative; use functrans.custom_vjp."})


def silenced(eqns, wanted) -> list:
    """The equations for another run, whose results ``wanted`` are: what only acts has acted, and is left out,
    in the programs that they hold as well. ``sig.effect`` stays where the result of an action is used."""
    need, kept = {x for x in wanted if type(x) is Var}, []
    for e in reversed(eqns):
        if e.sig.effect and need.isdisjoint(e.outs):
            continue
        need.update([x for x in e.inputs if type(x) is Var])
        if e.sig.effect and e.op is not callback_op:
            params = {name: _silent(p) for name, p in e.params.items()}
            e = eqn(signature(e.op, e.sig.in_avals, params), e.inputs, e.outs, e)
        kept.append(e)
    return kept[::-1]


def _silent(param):
    if isinstance(param, tuple):
        return tuple([_silent(p) for p in param])
    if isinstance(param, Jaxpr):
        return Jaxpr(param.invars, silenced(param.eqns, param.outs), param.outs, param.retraced)
    return param


# ----- the barrier ---------------------------------------------------------------------------------------


def _barrier_jvp(primals, tangents):
    moves = [not isinstance(t, Hooks.zero) for t in tangents]
    outs = optimization_barrier(*primals)
    given = [t for t, m in zip(tangents, moves, strict=True) if m]
    rest = iter(optimization_barrier(*given) if given else [])
    return outs, [next(rest) if m else t for t, m in zip(tangents, moves, strict=True)]


def _barrier_transpose(cts, operands):
    moves = [not isinstance(ct, Hooks.zero) for ct in cts]
    rest = iter(optimization_barrier(*[ct for ct, m in zip(cts, moves, strict=True) if m]))
    return [next(rest) if m else None for m in moves]


# Equations on the two sides are not simplified together; the values stay where they are.
optimization_barrier = Op(
    "optimization_barrier", "effect", multiple=True, infer=lambda *avals: [a.strong for a in avals],
    jvp=_barrier_jvp, transpose=_barrier_transpose, lower=lambda ctx, eqn, views: views,
    batch=lambda size, operands, dims: (optimization_barrier(*operands), dims))

__all__ = ["METHODS", "Callback", "callback_op", "optimization_barrier", "silenced"]
