"""Taylor mode: several derivatives along a curve in one pass.

Each value of a program becomes a power series in t, whose coefficients are computed when they are asked for.
No op has a rule of its own for that; a record says enough:

- what is linear in its operands maps coefficient by coefficient, what is bilinear multiplies series;
- of any other op y = f(x) the jvp rule is a program for y'(t) from x(t) and x'(t). It runs on series as
  well, and coefficient k of y is that of y' before it, divided by k. The programs of sin and of cos need
  each other: equal ops on equal series are one series, so that closes, and K coefficients take of the order
  of K^2 operations where nested jvps take 2^K.

Loops and branches carry the coefficients of all their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any

from .. import errors
from ..calling.arguments import all_of
from ..calling.staging import describe, find_pass, trace_call
from ..ir.core import Jaxpr, Lit, Var, signature
from ..ir.op import OPS, Op
from ..trace.core import aval_of
from ..transform.interpret import evaluate
from ..transform.programs import cached_pass, closed
from ..transform.zeros import Zero, add_tangents, has_tangent, instantiate

# Ops that hold a program which stands for them; what custom_vjp says of reverse mode does not matter here.
_INLINE = ("call", "remat", "custom_vjp_call")


class Series:
    """Coefficients of t^0, t^1, ...: values or symbolic zeros; ``make(k)`` gives those not yet known."""

    __slots__ = ("aval", "make", "terms")

    def __init__(self, aval, terms, make: Callable[[int], Any] | None = None):
        self.aval, self.terms, self.make = aval.strong, list(terms), make

    def __getitem__(self, k):
        while len(self.terms) <= k:
            if self.make is None:
                return Zero(self.aval)
            self.terms.append(self.make(len(self.terms)))
        return self.terms[k]

    @property
    def constant(self):
        return self.make is None and len(self.terms) < 2


class Taylor:
    """One pass: series up to ``order``, each op on the same series once."""

    def __init__(self, order: int):
        self.order = order
        self.known: dict = {}                # (signature, operands) -> results
        self.shifted: dict = {}
        self.literals: dict = {}

    def run(self, jaxpr: Jaxpr, inputs: Sequence[Series]) -> list[Series]:
        env = dict(zip(jaxpr.invars, inputs, strict=True))

        def series(x):
            if type(x) is Var:
                return env[x]
            found = self.literals.get(x)
            return found if found is not None else self.literals.setdefault(x, Series(x.aval, [x]))

        for e in jaxpr.eqns:
            env.update(zip(e.outs, self.apply(e.op, [series(x) for x in e.inputs], e.params), strict=True))
        return [series(x) for x in jaxpr.outs]

    def apply(self, op: Op, ins: list[Series], params: dict) -> list[Series]:
        sig = signature(op, tuple([s.aval for s in ins]), params)
        key = (sig, *ins)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._apply(op, ins, params, sig)
        return found

    def _apply(self, op, ins, params, sig):
        if op.name in _INLINE:
            return self.run(params["jaxpr"], ins)
        if all(s.constant for s in ins) or not any(has_tangent(a) for a in sig.outs):
            return [Series(a, [x]) for a, x in zip(sig.outs, self._first(op, ins, params), strict=True)]
        linear = range(len(ins)) if op.linear_in is ... else op.linear_in
        if linear is not None:                        # whole numbers among them are places, and stay
            linear = [i for i in linear if has_tangent(ins[i].aval)]
        if linear is not None and all(s.constant for i, s in enumerate(ins) if i not in linear):
            return [Series(a, [], self._linear(op, ins, params, linear, i, a))
                    for i, a in enumerate(sig.outs)]
        if op.bilinear:
            return [Series(sig.outs[0], [], self._product(op, *ins, params, sig.outs[0]))]
        if op.name in _HOLDERS and params.get("length", 0) is not None:
            return _HOLDERS[op.name](self, ins, params, sig)
        return self._derived(op, ins, params, sig)

    def _first(self, op, ins, params) -> list:
        outs = op(*[instantiate(s[0]) for s in ins], **params)
        return list(outs) if op.multiple else [outs]

    def _linear(self, op, ins, params, linear, i, aval):
        def make(k):
            terms = [s[k] if j in linear else s[0] for j, s in enumerate(ins)]
            if k and all(isinstance(terms[j], Zero) for j in linear):
                return Zero(aval)
            outs = op(*[instantiate(t) for t in terms], **params)
            return outs[i] if op.multiple else outs
        return make

    def _product(self, op, x, y, params, aval):
        def make(k):
            total = Zero(aval)
            for j in range(k + 1):
                a, b = x[j], y[k - j]
                if not (isinstance(a, Zero) or isinstance(b, Zero)):
                    total = add_tangents(total, op(a, b, **params))
            return total
        return make

    def _derived(self, op, ins, params, sig):
        """By the op's jvp rule, which is asked for when the first coefficient beyond the value is."""
        slopes: list = []

        def slope(i):
            if not slopes:
                slopes.extend(self._slopes(op, ins, params, sig))
            return slopes[i]

        def make(i, aval):
            def term(k):
                s = slope(i)
                t = Zero(aval) if s is None else s[k - 1]
                return t if isinstance(t, Zero) or k == 1 else OPS["div"](t, float(k))
            return term
        return [Series(a, [x], make(i, a))
                for i, (a, x) in enumerate(zip(sig.outs, self._first(op, ins, params), strict=True))]

    def _slopes(self, op, ins, params, sig):
        moving = [not s.constant and has_tangent(s.aval) for s in ins]

        def rule(*values):
            rest = iter(values[len(ins):])
            tangents = [next(rest) if m else Zero(s.aval) for m, s in zip(moving, ins, strict=True)]
            _, out_ts = op.jvp(tuple(values[:len(ins)]), tuple(tangents), **params)
            return [t for t in out_ts if not isinstance(t, Zero)], [not isinstance(t, Zero) for t in out_ts]

        avals = [s.aval for s in ins]
        program, keep = closed(rule, avals + [a for a, m in zip(avals, moving, strict=True) if m], "jet")
        tangents = [self._slope(s) for s, m in zip(ins, moving, strict=True) if m]
        found = iter(self.run(program, [*ins, *tangents]))
        return [next(found) if k else None for k in keep]

    def _slope(self, s: Series) -> Series:
        """The derivative of a series."""
        def make(k):
            t = s[k + 1]
            return t if isinstance(t, Zero) or k == 0 else OPS["mul"](t, float(k + 1))
        found = self.shifted.get(s)
        return found if found is not None else self.shifted.setdefault(s, Series(s.aval, [], make))

    # ----- programs inside ops: their values carry all coefficients --------------------------------------

    def _spread(self, ins, moving):
        """The coefficients of each operand that moves, the value of the others."""
        return [[instantiate(s[k]) for k in range(self.order + 1 if m else 1)]
                for s, m in zip(ins, moving, strict=True)]

    def _gathered(self, avals, values):
        rest, n = iter(values), self.order + 1
        return [Series(a, [next(rest) for _ in range(n if has_tangent(a) else 1)]) for a in avals]

    def scan(self, ins, params, sig):
        p = dict(params)
        a, b = p["n_consts"], p["n_consts"] + p["n_carry"]
        moving = [has_tangent(s.aval) and (a <= i < b or not s.constant) for i, s in enumerate(ins)]
        groups = self._spread(ins, moving)
        p["jaxpr"] = jet_jaxpr(p["jaxpr"], tuple(moving), self.order)
        p["n_consts"], p["n_carry"] = (sum(map(len, g)) for g in (groups[:a], groups[a:b]))
        return self._gathered(sig.outs, OPS["scan"](*[x for g in groups for x in g], **p))

    def while_loop(self, ins, params, sig):
        p = dict(params)
        a, b = p["n_cond"], p["n_cond"] + p["n_body"]
        moving = [i >= a and has_tangent(s.aval) and (i >= b or not s.constant) for i, s in enumerate(ins)]
        groups = self._spread(ins, moving)
        cond, at, places = p["cond"], a, []              # places: of the carries' values, for the condition
        for g in groups[b:]:
            places.append(at)
            at += len(g)

        def test(*values):
            return evaluate(cond, [*values[:a], *[values[i] for i in places]]), None

        flat = [x for g in groups for x in g]
        n_body = sum(map(len, groups[a:b]))
        avals = [aval_of(x).strong for x in [*flat[:a], *flat[a + n_body:]]]
        p["cond"] = closed(test, avals, "jet")[0]
        p["body"] = jet_jaxpr(p["body"], tuple(moving[a:]), self.order)
        p["n_body"] = n_body
        return self._gathered(sig.outs, OPS["while"](*flat, **p))

    def cond(self, ins, params, sig):
        index, *ins = ins
        moving = tuple([has_tangent(s.aval) and not s.constant for s in ins])
        branches = tuple([jet_jaxpr(b, moving, self.order) for b in params["branches"]])
        values = [x for g in self._spread(ins, moving) for x in g]
        return self._gathered(sig.outs, OPS["cond"](index[0], *values, branches=branches))


_HOLDERS: dict[str, Callable] = {"scan": Taylor.scan, "while": Taylor.while_loop, "cond": Taylor.cond}


@cached_pass("jet")
def jet_jaxpr(jaxpr: Jaxpr, moving: tuple[bool, ...], order: int) -> Jaxpr:
    """The program of coefficients: of each input that moves, and of each output that can, 0 ... order."""
    counts = [order + 1 if m else 1 for m in moving]

    def run(*values):
        rest = iter(values)
        ins = [Series(v.aval, [next(rest) for _ in range(n)])
               for v, n in zip(jaxpr.invars, counts, strict=True)]
        outs = Taylor(order).run(jaxpr, ins)
        return [instantiate(s[k]) for s in outs for k in range(order + 1 if has_tangent(s.aval) else 1)], None

    avals = [a.strong for a, n in zip(jaxpr.in_avals, counts, strict=True) for _ in range(n)]
    return closed(run, avals, "jet")[0]


def jet(fun: Callable, primals: Sequence[Any], series: Sequence[Any]):
    """The value of ``fun`` and its derivatives along a curve, of all orders up to K in one pass.

    With x(t) the curve whose value is ``primals`` and whose k-th derivative at t = 0 is the k-th term of
    ``series``, the result is ``fun(x(0))`` and the derivatives of ``fun(x(t))`` at t = 0, as
    ``jax.experimental.jet`` has it. So the series ``(1., 0., 0.)`` gives f', f'' and f''' at a number.

    Args:
      fun: a function of arrays, or of pytrees of them.
      primals: a tuple (or list) of its arguments.
      series: for each argument a tuple (or list) of K terms like it: shapes and dtypes are those of the
        argument; of integer leaves they are ignored.

    Returns:
      ``(out, terms)``: for each leaf of ``out`` the list of its K derivatives.

    Raises:
      ArgumentError: for series of different lengths, or as many as there are not arguments.

    >>> import numpy as np
    >>> from functrans.experimental.jet import jet
    >>> out, (first, second, third) = jet(np.sin, (0.0,), ((1.0, 0.0, 0.0),))
    >>> float(first), float(second), float(third)
    (1.0, ...0.0, -1.0)
    """
    for name, value in (("primals", primals), ("series", series)):
        if not isinstance(value, (tuple, list)):
            raise errors.ArgumentError(f"jet: {name} must be a tuple with one entry per argument, got "
                                       f"{describe(value)}.", "Write jet(f, (x,), ((t1, t2),)).")
    lengths = {len(terms) for terms in series}
    if len(series) != len(primals) or len(lengths) > 1:
        raise errors.ArgumentError(
            f"jet: {len(primals)} primals with series of {', '.join(str(len(t)) for t in series)} terms.",
            "Give one series per argument, all of one length.")
    order = lengths.pop() if lengths else 0
    chosen = all_of(fun, tuple(primals), "jet")
    avals = chosen.avals()
    terms = [_leaves(tuple([s[k] for s in series]), chosen.treedef, avals, k) for k in range(order)]
    traced = trace_call(chosen.call, chosen.leaves, avals, "jet")
    jaxpr, n_out = traced.jaxpr, traced.n_out
    moving = tuple([has_tangent(a) for a in avals])
    moved = [t[i] for t in terms for i, m in enumerate(moving) if m]

    def body(*values):
        n = len(jaxpr.invars)
        ins = [[x] for x in values[:n]]
        rest = iter(values[n:])
        for k in range(1, order + 1):
            for i, m in enumerate(moving):
                if m:
                    x = next(rest)
                    ins[i].append(x if k == 1 else OPS["div"](x, float(factorial(k))))
        found = Taylor(order).run(jaxpr, [Series(v.aval, s) for v, s in zip(jaxpr.invars, ins, strict=True)])
        outs = [instantiate(s[0]) for s in found]
        for s in found[:n_out]:
            for k in range(1, order + 1):
                t = instantiate(s[k])
                outs.append(t if k == 1 or isinstance(t, Lit) else OPS["mul"](t, float(factorial(k))))
        return outs, None

    program, values = find_pass("jet", jaxpr, (order, n_out), body, [*chosen.leaves, *traced.consts, *moved])
    outs = program.run(values)
    n = len(jaxpr.outs)
    lists = [list(outs[n + i * order:n + (i + 1) * order]) for i in range(n_out)]
    return traced.out_tree.unflatten(outs[:n_out]), traced.out_tree.unflatten(lists)


def _leaves(value, treedef, avals, k):
    """The terms of one order, whose shapes and dtypes must be those of the arguments."""
    from ..api.derivatives import _matching_leaves
    return _matching_leaves(value, treedef, avals, f"jet (term {k + 1} of the series)", "primals")


__all__ = ["jet"]
