"""Where a plan uses scalar programs: runs of equations on tiny arrays, and whole tiny loops.

A cluster collects equations for as long as nothing else needs their results, and becomes one step:
it loads from buffers what it did not compute, and stores what others read. A loop whose body is
scalar as a whole keeps its carries in registers.

``FUNCTRANS_SCALAR=0`` in the environment (or ``enabled = False``) plans without scalar programs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..ir.core import Eqn, Jaxpr, Var
from ..ir.op import CODE
from .registers import Loop, Store, TooLarge, straight
from .scalar import Elements, Values, costs, jaxpr_costs, loaded, offsets, reachable
from .view import View

if TYPE_CHECKING:
    from .lower import Context

enabled = os.environ.get("FUNCTRANS_SCALAR", "1") != "0"

START_NS = 6.0          # of a scalar program, and of each load or store
BORDER_NS = 1.0
TURN_NS = 2.0           # of a scalar loop
STEP_TURN_NS = 25.0     # of a loop whose body is steps
MOST_VALUES = 20_000    # results of one cluster: registers are numbered with 16 bits
MUCH_SLOWER = 12.0      # ns by which an equation may lose without leaving its cluster
LOOK_NS = 20e3          # of work of a loop between two looks at the clock


class Cluster:
    """Equations that become one step, if that pays."""

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.made: set[Var] = set()
        self.results: list[Var] = []            # what others read
        self.steps_ns = self.scalars_ns = 0.0
        self.size = 0

    def add(self, e: Eqn, ns: tuple[float, float]) -> None:
        self.eqns.append(e)
        self.made.update(e.outs)
        self.steps_ns += ns[0]
        self.scalars_ns += ns[1]
        self.size += sum([a.size for a in e.sig.outs])


def groups(jaxpr: Jaxpr) -> Iterator[Eqn | Cluster]:
    """The equations in an order in which they can be lowered, some of them in clusters."""
    if not enabled or len(jaxpr.eqns) < 2:
        yield from jaxpr.eqns
        return
    last: dict[Any, int] = {}
    for k, e in enumerate(jaxpr.eqns):
        for x in e.inputs:
            last[x] = k
    for x in jaxpr.outs:
        last[x] = len(jaxpr.eqns)
    cluster = Cluster()
    for k, e in enumerate(jaxpr.eqns):
        ns = costs(e.sig)
        if ns is not None and ns[1] <= ns[0] + MUCH_SLOWER:
            if cluster.size > MOST_VALUES:
                yield from _closed(cluster, last, k)
                cluster = Cluster()
            cluster.add(e, ns)
            continue
        if cluster.eqns and not cluster.made.isdisjoint(e.inputs):
            yield from _closed(cluster, last, k)
            cluster = Cluster()
        yield e
    yield from _closed(cluster, last, len(jaxpr.eqns))


def _closed(cluster: Cluster, last: dict[Any, int], now: int) -> Iterator[Eqn | Cluster]:
    """The cluster, or its equations where steps are faster. All uses before ``now`` are its own."""
    cluster.results = [v for e in cluster.eqns for v in e.outs if last.get(v, -1) >= now]
    inputs = {x for e in cluster.eqns for x in e.inputs if type(x) is Var and x not in cluster.made}
    border = sum([v.aval.size for v in (*inputs, *cluster.results)])
    if len(cluster.eqns) > 1 and cluster.results \
            and cluster.steps_ns > START_NS + BORDER_NS * border + cluster.scalars_ns:
        yield cluster
    else:
        yield from cluster.eqns


def lower_cluster(ctx: Context, cluster: Cluster, env: dict[Var, View]) -> None:
    """Emits the step and puts the results into ``env``."""
    b = Elements()
    values: dict[Var, Values] = {}
    outs = [ctx.new(v.aval) for v in cluster.results]
    for out in outs:
        b.pointer(out.buffer)
    views = {}
    for e in cluster.eqns:
        for x in e.inputs:
            if type(x) is Var and x not in values:
                view = env[x] if reachable(env[x]) else ctx.contiguous(env[x])
                values[x] = loaded(b, view)
                views[view.buffer] = view
        b.equation(e, values)
    stores: list[Store] = []
    for v, out in zip(cluster.results, outs, strict=True):
        stores += _stores(b, values[v], out)
    try:
        ints, registers, ns = straight(b, stores)
    except TooLarge:
        for e in cluster.eqns:
            ctx.lower_eqn(e, env)
        return
    ins = [_start(views[buffer]) for buffer in list(b.pointers)[len(outs):]]
    ctx._control("scalar", outs, ins, ints, START_NS + ns, None, 8 * (registers + len(b.pointers)))
    ctx.steps[-1].origin = tuple(cluster.eqns)
    env.update(zip(cluster.results, outs, strict=True))


def _start(view: View) -> View:
    """The beginning of a view's buffer, as the operand that pointers are made of."""
    return View(view.buffer, 0, view.shape, view.strides, view.dtype, False)


def _stores(b: Elements, values: Values, view: View) -> list[Store]:
    pointer = b.pointer(view.buffer)
    return [(v, pointer, at) for v, at in zip(values, offsets(view), strict=True)]


# ----- loops ------------------------------------------------------------------------------------

# ints of a scalar loop: turns (-1: until the test fails), constants, bytes of the registers, fixed
# and moving pointers, where in the instructions the body and the end are, turns between two looks
# at the clock; then the operand of each pointer, where the moving ones start and by how much they
# move, the constants, the instructions.


def _views(ctx: Context, views: Sequence[View]) -> list[View]:
    return [v if reachable(v) else ctx.contiguous(v) for v in views]


def _emit(ctx: Context, b: Elements, loop: Loop, turns: int, outs: list[View], ins: list[View],
          keys: dict[Any, tuple[View, int, int]], n_moving: int, cost_turns: float) -> None:
    """The step of a loop; ``keys`` gives each pointer its view, start and stride."""
    w = loop.w
    order = list(b.pointers)
    operands = [*outs, *ins]
    numbers = {id(v): i for i, v in enumerate(operands)}
    which = [numbers[id(keys[k][0])] for k in order]
    tail = order[len(order) - n_moving:]
    look = max(1, int(LOOK_NS / (loop.turn_ns + TURN_NS)))
    ints = [turns, len(w.constants), 8 * w.count, len(order) - n_moving, n_moving, loop.body_at,
            loop.end_at, look, *which, *[keys[k][1] for k in tail], *[keys[k][2] for k in tail],
            *w.constants, *w.code.numbers]
    outs, ins = [_start(v) for v in outs], [_start(v) for v in ins]
    ctx._control("scalar_loop", outs, ins, ints, cost_turns * (loop.turn_ns + TURN_NS), None,
                8 * (w.count + len(order)))


def scan(ctx: Context, eqn: Eqn, views: Sequence[View]) -> list[View] | None:
    """The scan as a scalar loop, or None where its body is not tiny or would be slower."""
    p = eqn.params
    body, n_consts, n_carry, length = p["jaxpr"], p["n_consts"], p["n_carry"], p["length"]
    if not enabled or length == 0 or not _pays(body):
        return None
    outs = [ctx.new(a) for a in eqn.sig.outs]
    if not outs:
        return outs
    views = _views(ctx, views)
    consts, carry, xs = views[:n_consts], views[n_consts:n_consts + n_carry], views[n_consts + n_carry:]
    b = Elements()
    keys: dict[Any, tuple[View, int, int]] = {}

    def fixed(view: View) -> None:
        key = view.buffer
        if key not in keys:
            keys[key] = (view, 0, 0)
            b.pointer(key)

    for view in (*outs[:n_carry], *consts, *carry):
        fixed(view)
    args = [loaded(b, v) for v in consts]
    starts = [i for v in carry for i in loaded(b, v)]
    states = [[b.fresh("carry", CODE[v.dtype]) for _ in range(v.size)] for v in carry]
    backwards = bool(p["reverse"])
    slices = []
    moving: set[int] = set()
    for view in (*outs[n_carry:], *xs):
        step = view.strides[0]
        one = View(view.buffer, view.offset, view.shape[1:], view.strides[1:], view.dtype, False)
        key = (view.buffer, step)
        if key not in keys:
            keys[key] = (view, step * (length - 1) if backwards else 0, -step if backwards else step)
            moving.add(b.pointer(key))
        slices.append((key, one))
    n_ys = len(outs) - n_carry
    inputs = [b.load(key, offsets(one), CODE[one.dtype]) for key, one in slices[n_ys:]]
    results = b.run(body, [*args, *states, *inputs])
    stores = [(v, b.pointer(key), at) for values, (key, one) in zip(results[n_carry:], slices, strict=False)
              for v, at in zip(values, offsets(one), strict=True)]
    ends = [(b.pointer(v.buffer), at) for v in outs[:n_carry] for at in offsets(v)]
    try:
        loop = Loop(b, [i for s in states for i in s], starts, [i for r in results[:n_carry] for i in r],
                    ends, stores, moving)
    except TooLarge:
        return None
    _emit(ctx, b, loop, length, outs, views, keys, len(moving), length)
    return outs


def while_loop(ctx: Context, eqn: Eqn, views: Sequence[View], unknown_ns: float) -> list[View] | None:
    p = eqn.params
    n_cond, n_body = p["n_cond"], p["n_body"]
    if not enabled or not _pays(p["body"]) or jaxpr_costs(p["cond"]) is None:
        return None
    outs = [ctx.new(a) for a in eqn.sig.outs]
    if not outs:
        return outs
    views = _views(ctx, views)
    b = Elements()
    keys: dict[Any, tuple[View, int, int]] = {}
    for view in (*outs, *views):
        if view.buffer not in keys:
            keys[view.buffer] = (view, 0, 0)
            b.pointer(view.buffer)
    given = [loaded(b, v) for v in views]
    carry = given[n_cond + n_body:]
    states = [[b.fresh("carry", b.code[i]) for i in c] for c in carry]
    ((test,),) = b.run(p["cond"], [*given[:n_cond], *states])
    n_test = len(b.op)
    results = b.run(p["body"], [*given[n_cond:n_cond + n_body], *states])
    ends = [(b.pointer(v.buffer), at) for v in outs for at in offsets(v)]
    try:
        loop = Loop(b, [i for s in states for i in s], [i for c in carry for i in c],
                    [i for r in results for i in r], ends, [], set(), test, n_test)
    except TooLarge:
        return None
    _emit(ctx, b, loop, -1, outs, views, keys, 0, unknown_ns)
    return outs


def _pays(body: Jaxpr) -> bool:
    ns = jaxpr_costs(body)
    return ns is not None and STEP_TURN_NS + ns[0] > TURN_NS + ns[1]
