"""Gradients as equations of the graph: from symbols to symbols.

The part of the graph between xs and ys is linearized and transposed by the passes that ``vjp`` uses. An x in
the middle gets a tap: what follows it reads ``x + tap``, a zero, and the cotangent of the tap is that of x.
Of the program that comes out, what only repeats the forward part is left out again: the graph has it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from ..ir.core import Eqn, Jaxpr, Var, eqn, eqn_in, lit, signature, var
from ..ir.op import OPS
from ..trace.core import trace, var_of
from ..trace.tracer import Tracer
from ..transform.cleanup import cleanup
from ..transform.interpret import transpose_values
from ..transform.linearize import linearize_values
from ..transform.programs import checked
from ..transform.zeros import Zero, has_tangent
from .parts import Parts, live, renamed


class Mark:
    """Stands for the scopes of a forward equation while passes run: what is made of it carries it on.

    A tap's addition has that of the equation before it.
    """

    __slots__ = ("eqn", "tap")

    def __init__(self, eqn: Eqn, tap: bool = False):
        self.eqn, self.tap = eqn, tap

    def __repr__(self):
        return f"<{self.eqn.op.name}>"


class Forward(NamedTuple):
    """The part of the graph that is differentiated.

    Attributes:
      jaxpr: ``(leaves, taps, others) -> (ys, made)``.
      leaves: xs that the part does not make; tapped: those that it makes; others: what else it reads.
      made: the graph's name of each value that it makes.
    """

    jaxpr: Jaxpr
    leaves: list[Var]
    tapped: list[Var]
    others: list[Var]
    made: list[Var]


def forward(parts: Parts, ys: Sequence[Var], xs: Sequence[Var], stops: Collection[Var]) -> Forward:
    """What depends on xs and is needed for ys; nothing passes through ``stops``."""
    eqns = parts.builder.eqns
    positions, ends = parts.reach(ys, stops)
    wanted = {x for x in xs if has_tangent(x.aval)}
    moved = {x for x in ends if x in wanted}
    leaves, tapped, between = list(dict.fromkeys([x for x in ends if x in wanted])), [], []
    for position in sorted(positions):
        e = eqns[position]
        if any([type(x) is Var and x in moved for x in e.inputs]):
            between.append(e)
            moved.update([v for v in e.outs if has_tangent(v.aval) and v not in stops])
            tapped += [v for v in e.outs if v in wanted and v not in stops]
        else:
            inner = [v for v in e.outs if v in wanted and v not in moved]
            leaves += inner
            moved.update(inner)
    taps = {x: (var(x.aval, 0), var(x.aval, 0)) for x in tapped}
    now: dict[Var, Var] = {}            # tapped value -> the sum of it and its tap
    new: list[Eqn] = []
    made: list[Var] = []                # the graph's names of what is inside
    inside: list[Var] = []
    others: dict[Var, None] = {}
    known = {*leaves}
    for e in between:
        mark = (Mark(e),)
        inputs = tuple([now.get(x, x) if type(x) is Var else x for x in e.inputs])
        others.update([(x, None) for x in inputs if type(x) is Var and x not in known])
        known.update(inputs)
        new.append(eqn_in(renamed(e, inputs, stops), mark))
        made += e.outs
        inside += new[-1].outs
        known.update(new[-1].outs)
        for v in e.outs:
            if v in taps:
                tap, total = taps[v]
                now[v] = total
                known.add(total)
                add = signature(OPS["add"], (v.aval, v.aval), {})
                new.append(eqn_in(eqn(add, (v, tap), (total,), e), (Mark(e, True),)))
                made.append(v)
                inside.append(total)
    outs = [now.get(y, y) for y in ys]
    others.update([(y, None) for y in outs if y not in known])
    invars = [*leaves, *[taps[x][0] for x in tapped], *others]
    return Forward(Jaxpr(invars, new, [*outs, *inside], any([e.sig.retraced for e in new])),
                   leaves, tapped, list(others), made)


class Twin(NamedTuple):
    """A value of the graph that the gradient's equations compute once more.

    Attributes:
      of: the graph's variable; at: the output of the new program that equals it.
      beside: outputs of the new program that its equations give besides.
    """

    of: Var
    at: int
    beside: list[int]


class Backward(NamedTuple):
    """Equations to be added: ``jaxpr`` on ``values``.

    Attributes:
      jaxpr: its first outputs are the gradients of the xs in ``reached``.
      values: per input a tracer of the graph, or what a rule captured.
      reached: the xs that have a gradient; the others do not reach any y.
      twins: what its other outputs are.
    """

    jaxpr: Jaxpr
    values: list
    reached: list[Var]
    twins: list[Twin]


def backward(part: Forward, seeds: Sequence[Any], symbol: Any) -> Backward:
    """The gradients of the sum of ``part``'s ys times seeds.

    Args:
      seeds: per y a variable of the graph, an array, or None for ones.
      symbol: variable of the graph -> its tracer.
    """
    jaxpr, n_ys = part.jaxpr, len(seeds)
    xs = [*part.leaves, *part.tapped]
    given = [symbol(ct) if type(ct) is Var else ct for ct in seeds if ct is not None]
    values = [symbol(v) for v in (*part.leaves, *part.others)] + given
    avals = [x.aval.strong for x in (*part.leaves, *part.others)]
    avals += [a.strong for a, ct in zip(jaxpr.out_avals[:n_ys], seeds, strict=True) if ct is not None]

    def body(*tracers):
        n, m = len(part.leaves), len(part.leaves) + len(part.others)
        primals = [*tracers[:n], *[lit(0, x.aval.strong) for x in part.tapped], *tracers[n:m]]
        nonzeros = tuple([i < len(xs) for i in range(len(primals))])
        outs, keep, lin, residuals = linearize_values(jaxpr, primals, nonzeros)
        rest = iter(tracers[m:])
        cts = [lit(1, a.strong) if ct is None else next(rest)
               for ct, a in zip(seeds, jaxpr.out_avals, strict=False)]
        cts += [Zero(a) for a in jaxpr.out_avals[n_ys:]]
        got = transpose_values(lin, len(xs), residuals, [ct for ct, k in zip(cts, keep, strict=True) if k])
        found = tuple([not isinstance(ct, Zero) for ct in got])
        return [*[ct for ct, f in zip(got, found, strict=True) if f], *outs[n_ys:]], found

    program, consts, found = trace(body, avals, values, "gradients", True)
    checked(program, "gradients")
    reached = [x for x, f in zip(xs, found, strict=True) if f]
    return without_repeats(program, [*values, *consts], reached, part.made, symbol)


def without_repeats(program: Jaxpr, values: list, reached: list[Var], made: list[Var],
                    symbol: Any) -> Backward:
    """The program without the equations whose results the graph has: ``made`` says which.

    Some of these stay, as twins: what gives residuals beside them (a loop that stacks, the forward rule of a
    custom_vjp). A part that runs both then need not compute them twice.
    """
    n, inputs = len(reached), set(program.invars)
    has: dict[Var, Var] = {}            # variable of the program -> that of the graph
    for r, v in zip(program.outs[n:], made, strict=True):
        if type(r) is Var and r not in inputs:
            has.setdefault(r, v)
    direct = set(live(program.eqns, program.outs[:n], has))
    residuals: dict[Eqn, list[Var]] = {}        # forward equation -> what its halves pass on
    for e in direct:
        if not e.backward and (origin := origin_of(e)) is not None:
            residuals.setdefault(origin, []).extend([v for v in e.outs if v not in has])
    maker = {v: e for e in program.eqns for v in e.outs if v in has}
    again = {v for v, e in maker.items() if e in direct
             or ((origin := origin_of(e)) in residuals and origin is not None and e.op is not origin.op
                 and not e.scope[0].tap)}
    kept = direct.union(live(program.eqns, again, has.keys() - again))
    new = {v: var(v.aval, 0) for v in again}
    eqns = [eqn(e.sig, e.inputs, tuple([new.get(v, v) for v in e.outs]), e) if any([v in new for v in e.outs])
            else e for e in program.eqns if e in kept]
    outs, twins = list(program.outs[:n]), []
    place: dict[Var, int] = {}          # residual -> its output
    for v in [v for e in program.eqns for v in e.outs if v in again]:
        origin = origin_of(maker[v])
        beside = [] if maker[v] in direct else residuals[origin]
        for x in beside:
            if x not in place:
                place[x] = len(outs)
                outs.append(x)
        twins.append(Twin(has[v], len(outs), [place[x] for x in beside]))
        outs.append(new[v])
    used = {x for e in eqns for x in e.inputs} | set(program.outs[:n])
    taken = [r for r in has if r in used]
    new_program = cleanup(Jaxpr([*program.invars, *taken], eqns, outs, program.retraced))
    return Backward(new_program, [*values, *[symbol(has[r]) for r in taken]], reached, twins)


def without_known(new: Backward, parts: Parts, symbol: Any) -> Backward:
    """Without equations that the graph has, with the same operands: those of former gradients."""
    parts.made()
    jaxpr = new.jaxpr
    there = {v: var_of(x) for v, x in zip(jaxpr.invars, new.values, strict=True) if type(x) is Tracer}
    eqns, known = [], []
    for e in jaxpr.eqns:
        found = parts.works.get((e.sig, tuple([there.get(x, x) if type(x) is Var else x for x in e.inputs])))
        if found is None or e.sig.effect:
            eqns.append(e)
        else:
            there.update(zip(e.outs, found, strict=True))
            known += e.outs
    if not known:
        return new
    return new._replace(jaxpr=Jaxpr([*jaxpr.invars, *known], eqns, jaxpr.outs, jaxpr.retraced),
                        values=[*new.values, *[symbol(there[v]) for v in known]])


def origin_of(e: Eqn) -> Eqn | None:
    """The forward equation that e was made of, from its mark."""
    return e.scope[0].eqn if e.scope and type(e.scope[0]) is Mark else None


def with_source(e: Eqn) -> tuple[Eqn, Eqn | None]:
    """An equation that was made of a marked one: in the scopes of that, as one of the backward pass; and
    that one, or None."""
    origin = origin_of(e)
    if origin is None:
        return e.turned(), None
    return eqn_in(e, (*(origin.scope or ()), *e.scope[1:]) or None).turned(), origin
