"""Where a plan uses scalar programs: runs of equations on tiny arrays, and whole tiny loops.

A cluster collects equations for as long as nothing else needs their results, and becomes one step:
it loads from buffers what it did not compute, and stores what others read. A loop whose body is
scalar as a whole keeps its carries in registers.

``FUNCTRANS_SCALAR=0`` in the environment (or ``enabled = False``) plans without scalar programs.
"""

cimport cython

import os

from ..ir.core cimport Eqn, Jaxpr, Var
from ..ir.op import CODE
from .lanes import MOST_POINTERS, Cut, Unfit, alone, assembled, axis_of, extents, steps_ns
from .registers import Loop, TooLarge, straight
from .scalar cimport Elements
from .scalar import costs, jaxpr_costs, loaded, offsets, reachable
from .view cimport View

enabled = os.environ.get("FUNCTRANS_SCALAR", "1") != "0"

START_NS = 6.0          # of a scalar program, and of each load or store
BORDER_NS = 1.0
TURN_NS = 2.0           # of a scalar loop
STEP_TURN_NS = 25.0     # of a loop whose body is steps
MOST_VALUES = 20_000    # results of one cluster: registers are numbered with 16 bits
MUCH_SLOWER = 30.0      # ns by which an equation may lose in its cluster: what leaving it costs
LOOK_NS = 20e3          # of work of a loop between two looks at the clock
UNKNOWN_TURNS = 1e7     # of a loop that a run decides about: enough to be watched
TESTED, COUNTED = -1, -2        # for the number of turns: until the test fails; the first operand


@cython.final
cdef class Cluster:
    """Equations that become one step, if that pays."""
    cdef list eqns
    cdef set made
    cdef list results               # what others read
    cdef double steps_ns, scalars_ns
    cdef Py_ssize_t size

    def __init__(self):
        self.eqns, self.made, self.results = [], set(), []

    cdef int add(self, Eqn e, double steps, double scalars) except -1:
        cdef Var v
        self.eqns.append(e)
        self.steps_ns += steps
        self.scalars_ns += scalars
        for v in e.outs:
            self.made.add(v)
            self.size += v.aval.size
        return 0


def groups(Jaxpr jaxpr):
    """The equations in an order in which they can be lowered, some of them in clusters."""
    cdef dict last = {}
    cdef list out = []
    cdef Cluster cluster = Cluster()
    cdef Eqn e
    cdef Py_ssize_t k
    cdef double steps, scalars, slower = MUCH_SLOWER
    if not enabled or len(jaxpr.eqns) < 2:
        return jaxpr.eqns
    k = 0
    for e in jaxpr.eqns:
        for x in e.inputs:
            last[x] = k
        k += 1
    for x in jaxpr.outs:
        last[x] = k
    k = 0
    for e in jaxpr.eqns:
        ns = costs(e.sig)
        if ns is not None:
            steps, scalars = ns
            if scalars <= steps + slower:
                if cluster.size > MOST_VALUES:
                    _close(cluster, last, k, out)
                    cluster = Cluster()
                cluster.add(e, steps, scalars)
                k += 1
                continue
        if cluster.eqns and not cluster.made.isdisjoint(e.inputs):
            _close(cluster, last, k, out)
            cluster = Cluster()
        out.append(e)
        k += 1
    _close(cluster, last, k, out)
    return out


cdef int _close(Cluster cluster, dict last, Py_ssize_t now, list out) except -1:
    """Emits the cluster, or its equations where steps are faster. All uses before ``now`` are its own."""
    cdef Eqn e
    cdef Var v
    cdef Py_ssize_t border = 0
    cdef set inputs = set()
    for e in cluster.eqns:
        for v in e.outs:
            if <Py_ssize_t>last.get(v, -1) >= now:
                cluster.results.append(v)
                border += v.aval.size
        for x in e.inputs:
            if type(x) is Var and x not in cluster.made and x not in inputs:
                inputs.add(x)
                border += (<Var>x).aval.size
    if len(cluster.eqns) > 1 and cluster.results \
            and cluster.steps_ns > START_NS + BORDER_NS * border + cluster.scalars_ns:
        out.append(cluster)
    else:
        out.extend(cluster.eqns)
    return 0


def lower_cluster(ctx, Cluster cluster, dict env):
    """Emits the step and puts the results into ``env``."""
    cdef Elements b = Elements()
    cdef dict values = {}, views = {}
    cdef Eqn e
    cdef View view, out
    cdef list stores = []
    outs = [ctx.new((<Var>v).aval) for v in cluster.results]
    for out in outs:
        b.pointer(out.buffer)
    for e in cluster.eqns:
        for x in e.inputs:
            if type(x) is Var and x not in values:
                view = env[x]
                if not reachable(view):
                    view = ctx.contiguous(view)
                values[x] = loaded(b, view)
                views[view.buffer] = view
        b.equation(e, values)
    for v, out in zip(cluster.results, outs, strict=True):
        stores += _stores(b, values[v], out)
    try:
        code, constants, registers, ns = straight(b, stores)
    except TooLarge:
        for e in cluster.eqns:
            ctx.lower_eqn(e, env)
        return
    ins = [_start(views[buffer]) for buffer in list(b.pointers)[len(outs):]]
    ctx._control("scalar", outs, ins, (constants, 8 * registers), START_NS + ns, code,
                 8 * (registers + len(b.pointers)))
    ctx.steps[len(ctx.steps) - 1].origin = tuple(cluster.eqns)
    env.update(zip(cluster.results, outs, strict=True))


cdef View _start(View view):
    """The beginning of a view's buffer, as the operand that pointers are made of."""
    return View(view.buffer, 0, view.shape, view.strides, view.dtype, False)


cdef list _stores(Elements b, list values, View view):
    pointer = b.pointer(view.buffer)
    return [(v, pointer, at) for v, at in zip(values, offsets(view), strict=True)]


# ----- loops ------------------------------------------------------------------------------------

# ints of a scalar loop: see ``control.run_scalar_loop``. ``data`` holds the constants and the instructions.


def _views(ctx, views):
    return [v if reachable(v) else ctx.contiguous(v) for v in views]


def _emit(ctx, Elements b, loop, turns, list outs, ins, dict keys, n_moving, cost_turns):
    """The step of a loop; ``keys`` gives each pointer its view, start and stride."""
    order = list(b.pointers)
    numbers = {id(v): i for i, v in enumerate([*outs, *ins])}
    which = [numbers[id(keys[k][0])] for k in order]
    tail = order[len(order) - n_moving:]
    look = max(1, int(LOOK_NS / (loop.turn_ns + TURN_NS)))
    ints = [turns, loop.n_constants, 8 * loop.registers, len(order) - n_moving, n_moving, loop.body_at,
            loop.end_at, look, len(outs), *which, *[keys[k][1] for k in tail], *[keys[k][2] for k in tail]]
    ctx._control("scalar_loop", [_start(v) for v in outs], [_start(v) for v in ins], ints,
                 cost_turns * (loop.turn_ns + TURN_NS), loop.packed, 8 * (loop.registers + len(order)))


# ints of a loop of lanes: see ``control.run_lane_loop``.


def _emit_lanes(ctx, Elements b, loop, turns, body, lanes, list outs, ins, dict keys):
    """The step of a loop in lanes; False where steps are faster."""
    order = list(b.pointers)
    registers = loop.registers - loop.n_constants
    cut = Cut(lanes, registers, loop.end_at - loop.body_at, loop.turn_ns)
    if len(order) > MOST_POINTERS or cut.turn_ns > steps_ns(body):
        return False
    try:
        data = assembled(loop.packed, loop.n_constants)
    except Unfit:
        return False
    numbers = {id(v): i for i, v in enumerate([*outs, *ins])}
    ints = [turns, loop.n_constants, registers, len(order), loop.body_at, loop.end_at, lanes, cut.block,
            cut.wave, cut.look, *[numbers[id(keys[k][0])] for k in order], *[keys[k][1] for k in order],
            *[keys[k][2] for k in order], *[k[2] for k in order]]
    ctx._control("lane_loop", [_start(v) for v in outs], [_start(v) for v in ins], ints,
                 turns * cut.turn_ns, data, cut.scratch)
    return True


def _in_lanes(body, n_consts, n_carry):
    """How many lanes a scan's body has, and the program of one; 0 where it has none."""
    for lanes in extents(body.in_avals[n_consts:n_consts + n_carry]):
        single = alone(body, lanes)
        if single is not None and jaxpr_costs(single) is not None:
            return lanes, single
    return 0, None


def scan(ctx, Eqn eqn, views):
    """The scan as a scalar loop, or as one in lanes; None where its body is not tiny or would be slower."""
    p = eqn.params
    body, n_consts, n_carry, length = p["jaxpr"], p["n_consts"], p["n_carry"], p["length"]
    if not enabled or length == 0 or not eqn.outs:
        return None
    single, lanes = body, 0
    if not _pays(body):
        lanes, single = _in_lanes(body, n_consts, n_carry) if length is not None else (0, None)
        if not lanes:
            return None
    outs = [ctx.new(a) for a in eqn.sig.outs]
    given = _views(ctx, views)
    views = given if length is not None else given[1:]
    consts, carry, xs = views[:n_consts], views[n_consts:n_consts + n_carry], views[n_consts + n_carry:]
    cdef Elements b = Elements()
    keys = {}

    def part(view, aval, first=0):
        """What one lane sees of a view from axis ``first`` on, and how far away the next lane is."""
        cdef tuple shape = view.shape[first:], strides = view.strides[first:]
        across, d = 0, axis_of(aval, lanes) if lanes else None
        if d is not None:
            across = strides[d]
            shape, strides = shape[:d] + shape[d + 1:], strides[:d] + strides[d + 1:]
        return View(view.buffer, view.offset, shape, strides, view.dtype, False), across

    def fixed(view, aval):
        one, across = part(view, aval)
        key = (view.buffer, 0, across)
        if key not in keys:
            keys[key] = (view, 0, 0)
            b.pointer(key)
        return key, one

    avals = body.in_avals
    ends = [fixed(v, a) for v, a in zip(outs, body.out_avals[:n_carry], strict=False)]
    args = [b.load(key, offsets(one), CODE[one.dtype])
            for key, one in [fixed(v, a) for v, a in zip(consts, avals, strict=False)]]
    first = [fixed(v, a) for v, a in zip(carry, avals[n_consts:], strict=False)]
    starts = [i for key, one in first for i in b.load(key, offsets(one), CODE[one.dtype])]
    states = [[b.fresh(CODE[one.dtype]) for _ in range(one.size)] for _, one in first]
    backwards = bool(p["reverse"])
    slices = []
    moving = set()
    for view, aval in zip((*outs[n_carry:], *xs), (*body.out_avals[n_carry:], *avals[n_consts + n_carry:]),
                          strict=True):
        step = view.strides[0]
        one, across = part(view, aval, 1)
        key = (view.buffer, step if step else None, across)
        if key not in keys:
            start = step * (length - 1) if backwards and length is not None else 0
            keys[key] = (view, start, -step if backwards else step)
            moving.add(b.pointer(key))
        slices.append((key, one))
    n_ys = len(outs) - n_carry
    inputs = [b.load(key, offsets(one), CODE[one.dtype]) for key, one in slices[n_ys:]]
    results = b.run(single, [*args, *states, *inputs])
    stores = [(v, b.pointer(key), at) for values, (key, one) in zip(results[n_carry:], slices, strict=False)
              for v, at in zip(values, offsets(one), strict=True)]
    ends = [(b.pointer(key), at) for key, one in ends for at in offsets(one)]
    try:
        loop = Loop(b, [i for s in states for i in s], starts, [i for r in results[:n_carry] for i in r],
                    ends, stores, moving, wide=lanes > 0)
    except TooLarge:
        return None
    if not lanes:
        turns, cost_turns = (COUNTED, UNKNOWN_TURNS) if length is None else (length, length)
        _emit(ctx, b, loop, turns, outs, given, keys, len(moving), cost_turns)
    elif not _emit_lanes(ctx, b, loop, length, body, lanes, outs, views, keys):
        return None
    return outs


def while_loop(ctx, Eqn eqn, views):
    """The loop as a scalar loop; None where its body is not tiny or would be slower."""
    p = eqn.params
    n_cond, n_body = p["n_cond"], p["n_body"]
    if not enabled or not _pays(p["body"]) or jaxpr_costs(p["cond"]) is None:
        return None
    outs = [ctx.new(a) for a in eqn.sig.outs]
    if not outs:
        return outs
    views = _views(ctx, views)
    cdef Elements b = Elements()
    keys = {}
    n_carry = len(views) - n_cond - n_body
    stacks = outs[n_carry:]
    for view in (*outs[:n_carry], *views):
        if view.buffer not in keys:
            keys[view.buffer] = (view, 0, 0)
            b.pointer(view.buffer)
    moving = set()
    for view in stacks:
        keys[view.buffer] = (view, 0, view.strides[0])
        moving.add(b.pointer(view.buffer))
    given = [loaded(b, v) for v in views]
    carry = given[n_cond + n_body:]
    states = [[b.fresh(b.code(i)) for i in c] for c in carry]
    ((test,),) = b.run(p["cond"], [*given[:n_cond], *states])
    n_test = len(b)
    results = b.run(p["body"], [*given[n_cond:n_cond + n_body], *states])
    ends = [(b.pointer(v.buffer), at) for v in outs[:n_carry] for at in offsets(v)]
    stores = [(v, b.pointer(view.buffer), at) for values, view in zip(results[n_carry:], stacks, strict=True)
              for v, at in zip(values, offsets(_entry(view)), strict=True)]
    try:
        loop = Loop(b, [i for s in states for i in s], [i for c in carry for i in c],
                    [i for r in results[:n_carry] for i in r], ends, stores, moving, test, n_test)
    except TooLarge:
        return None
    _emit(ctx, b, loop, TESTED, outs, views, keys, len(moving), UNKNOWN_TURNS)
    return outs


def _entry(view):
    """One entry of a stack."""
    return View(view.buffer, view.offset, view.shape[1:], view.strides[1:], view.dtype, True)


def _pays(body):
    ns = jaxpr_costs(body)
    return ns is not None and STEP_TURN_NS + ns[0] > TURN_NS + ns[1]
