"""What a scan need not do at each step: work moved in front of the loop or behind it.

In front go equations that depend on the loop's constants alone, and products of an x with a constant,
done for all steps at once. Behind it go products with a constant that are only stacked, and sums of
products that a carry only accumulates: one product whose contraction takes in the steps. Sums are then
in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ..ir.core import Eqn, Jaxpr, Lit, Var, eqn, signature, var
from ..ir.op import OPS
from .vmap import batch_jaxpr

STACK_BYTES = 1 << 26       # what one operand may take that is stacked for this
MUCH = 1 << 21              # what is stacked for sums takes no more: else the loop sums now and then,
CHUNK = 3 << 18             # after as many steps as make stacks of about this size, which a cache keeps,
FEWEST = 4                  # and no fewer than this
CHUNKED = ("sums",)         # says so of a scan, in ``segments``, as it only runs
SIDE = 256                  # products whose results have this extent both ways gain little from being joined


def few_gain(v: Var) -> bool:
    return v.aval.ndim > 1 and min(v.aval.shape) >= SIDE


def outside(e: Eqn, clean: Callable[[Jaxpr], Jaxpr]) -> tuple[list[Eqn], Eqn, list[Eqn]]:
    """Equations in front of the scan, the scan, equations behind it."""
    loop = _Loop(e)
    if loop.length is None:
        loop.hoist()
    elif loop.length > 1 and loop.eqns and e.params.get("segments") != CHUNKED:
        loop.hoist()
        loop.join_products()
        before, changed, e = loop.before, loop.changed, loop.scan(clean)
        loop = _Loop(e)
        loop.before, loop.changed = before, changed
        loop.sink_sums()
        if steps := loop.steps_at_once():
            more, e, after = in_chunks(e, steps, clean)
            return [*before, *more], e, after
    return (loop.before, loop.scan(clean), loop.after) if loop.changed else ([], e, [])


def in_chunks(e: Eqn, steps: int, clean: Callable[[Jaxpr], Jaxpr]) -> tuple[list[Eqn], Eqn, list[Eqn]]:
    """The scan as one over chunks of so many steps, each of which adds its sums; equations around it."""
    p, loop, inputs = e.params, _Loop(e), list(e.inputs)
    first_x, n_carry = p["n_consts"] + p["n_carry"], p["n_carry"]

    def chunk(avals, first):
        return tuple([var(a.with_shape((steps, *a.shape[1:])) if i >= first else a, 0)
                      for i, a in enumerate(avals)])
    before: list[Eqn] = []
    invars, results = chunk(e.sig.in_avals, first_x), chunk(e.sig.outs, n_carry)
    inner = _Loop(eqn(signature(e.op, tuple([v.aval for v in invars]), {**p, "length": steps}), invars,
                      results, e))
    inner.sink_sums()
    body = Jaxpr(invars, [inner.scan(clean), *inner.after], results, inner.retraced)
    for i in range(first_x, len(inputs)):
        shape = (p["length"] // steps, steps, *inputs[i].aval.shape[1:])
        inputs[i] = loop.bind(before, OPS["reshape"], (inputs[i],), shape=shape)
    params = {**p, "jaxpr": body, "length": p["length"] // steps, "segments": CHUNKED}
    sig = signature(e.op, tuple([x.aval for x in inputs]), params)
    outs = (*e.outs[:n_carry], *[var(a, 0) for a in sig.outs[n_carry:]])
    for whole, out in zip(outs[n_carry:], e.outs[n_carry:], strict=True):
        loop.bind(loop.after, OPS["reshape"], (whole,), out, shape=out.aval.shape)
    return before, eqn(sig, tuple(inputs), outs, e), loop.after


class _Loop:
    """A scan taken apart.

    Attributes:
      turns: the operand that says how often it turns, if its length is not known.
      consts, carry, xs: pairs (variable of the body, value outside); ys: pairs (atom of the body,
        result outside); carried: the body's next carry; results: of the carry outside.
    """

    def __init__(self, e: Eqn):
        self.e, p = e, e.params
        body, n, m = p["jaxpr"], p["n_consts"], p["n_consts"] + p["n_carry"]
        self.turns = e.inputs[:1] if p["length"] is None else ()
        given = list(zip(body.invars, e.inputs[len(self.turns):], strict=True))
        self.consts, self.carry, self.xs = given[:n], given[n:m], given[m:]
        self.carried, self.results = list(body.outs[:m - n]), list(e.outs[:m - n])
        self.ys = list(zip(body.outs[m - n:], e.outs[m - n:], strict=True))
        self.eqns, self.length, self.retraced = list(body.eqns), p["length"], body.retraced
        self.before: list[Eqn] = []
        self.after: list[Eqn] = []
        self.changed = False
        self.extra = 0                      # bytes that are stacked for sums

    def scan(self, clean: Callable[[Jaxpr], Jaxpr]) -> Eqn:
        pairs = [*self.consts, *self.carry, *self.xs]
        body = clean(Jaxpr([v for v, _ in pairs], self.eqns, [*self.carried, *[x for x, _ in self.ys]],
                           self.retraced))
        params = {**self.e.params, "jaxpr": body, "n_consts": len(self.consts), "n_carry": len(self.carry)}
        inputs = (*self.turns, *[x for _, x in pairs])
        outs = (*self.results, *[v for _, v in self.ys])
        return eqn(signature(self.e.op, tuple([x.aval for x in inputs]), params), inputs, outs, self.e)

    def bind(self, where: list[Eqn], op: Any, inputs: tuple, out: Any = None, **params: Any) -> Var:
        """Appends an equation in front or behind; its result."""
        sig = signature(op, tuple([x.aval for x in inputs]), params)
        v = var(sig.out, 0) if out is None else out
        where.append(eqn(sig, inputs, (v,), self.e))
        return v

    def inline(self, where: list[Eqn], jaxpr: Jaxpr, args: list) -> list:
        """Appends a program's equations, with variables of their own."""
        env: dict[Var, Any] = dict(zip(jaxpr.invars, args, strict=True))
        for b in jaxpr.eqns:
            outs = tuple([var(v.aval, 0) for v in b.outs])
            where.append(eqn(b.sig, tuple([env[x] if type(x) is Var else x for x in b.inputs]), outs, b))
            env.update(zip(b.outs, outs, strict=True))
        return [env[x] if type(x) is Var else x for x in jaxpr.outs]

    def needed(self, wanted: list) -> list[Eqn]:
        """The body's equations that ``wanted`` depend on."""
        need, found = set(wanted), []
        for b in reversed(self.eqns):
            if not need.isdisjoint(b.outs):
                found.append(b)
                need.update([x for x in b.inputs if type(x) is Var])
        return found[::-1]

    def following(self, start: set) -> set:
        """Variables of the body that depend on nothing but ``start``."""
        known = set(start)
        for b in self.eqns:
            if not b.sig.effect and all(type(x) is not Var or x in known for x in b.inputs):
                known.update(b.outs)
        return known

    # ----- in front ------------------------------------------------------------------------------

    def hoist(self) -> None:
        """Work on constants alone is done once. Views of them stay: they cost nothing inside."""
        fixed = self.following({v for v, _ in self.consts})
        source = {v: b for b in self.eqns for v in b.outs}
        wanted: dict[Var, None] = {}
        todo = [x for b in self.eqns if fixed.isdisjoint(b.outs) for x in b.inputs]
        todo += [*self.carried, *[x for x, _ in self.ys]]
        while todo:
            x = todo.pop()
            if type(x) is Var and x in fixed and x in source and x not in wanted:
                if source[x].op.family == "structural":
                    todo += source[x].inputs
                else:
                    wanted[x] = None
        if not wanted:
            return
        values = self.inline(self.before, Jaxpr([v for v, _ in self.consts], self.needed(list(wanted)),
                                                list(wanted)), [x for _, x in self.consts])
        self.eqns = [b for b in self.eqns if not any(v in wanted for v in b.outs)]
        self.consts += zip(wanted, values, strict=True)
        self.changed = True

    def join_products(self) -> None:
        """A product of an x (or of what follows from it) and a constant: for all steps before the loop."""
        fixed = self.following({v for v, _ in self.consts})
        ahead = self.following({v for v, _ in (*self.consts, *self.xs)})
        moved: list[Var] = []
        for b in self.eqns:
            if b.op.name != "dot_general":
                continue
            (v,), operands = b.outs, b.inputs
            if v not in ahead or any(type(x) is not Var for x in operands):
                continue
            steps = [x for x in operands if x not in fixed]
            size = self.length * v.aval.nbytes
            if len(steps) != 1 or size > STACK_BYTES or few_gain(v):
                continue
            moved.append(v)
        if not moved:
            return
        program = Jaxpr([v for v, _ in (*self.consts, *self.xs)], self.needed(moved), moved)
        dims = [None] * len(self.consts) + [0] * len(self.xs)
        batched, _ = batch_jaxpr(program, self.length, dims, (True,) * len(moved))
        values = self.inline(self.before, batched, [x for _, x in (*self.consts, *self.xs)])
        gone = set(moved)
        self.eqns = [b for b in self.eqns if gone.isdisjoint(b.outs)]
        self.xs += zip(moved, values, strict=True)
        self.changed = True

    # ----- behind --------------------------------------------------------------------------------

    def sink_sums(self) -> None:
        """A carry that is only added to: products leave the loop, their operands are stacked."""
        self.source = {v: b for b in self.eqns for v in b.outs}
        self.uses = Counter([x for b in self.eqns for x in b.inputs if type(x) is Var])
        self.uses.update([x for x in (*self.carried, *[x for x, _ in self.ys]) if type(x) is Var])
        for k in range(len(self.carry) - 1, -1, -1):
            self.sink(k)
        for i in range(len(self.ys) - 1, -1, -1):
            self.sink_product(i)

    def sink_product(self, i: int) -> None:
        """A product with a constant that is only stacked: its operand is stacked, the product done once."""
        v, out = self.ys[i]
        b = self.source.get(v) if type(v) is Var else None
        if b is None or b.op.name != "dot_general" or self.uses[v] != 1 or few_gain(v):
            return
        if any(out in e.inputs for e in self.after):          # what is behind the loop reads it already
            return
        fixed = self.following({v for v, _ in self.consts})
        steps = [x for x in b.inputs if type(x) is Var and x not in fixed]
        if len(steps) != 1:
            return
        first, _ = self.origin(steps[0])
        whole = self.stacked(first) if type(first) is Var else None
        if type(first) is not Var or (whole is None and first.aval.size > 2 * v.aval.size):
            return
        del self.ys[i]
        whole = whole if whole is not None else self.stack(first)
        consts = [v for v, _ in self.consts]
        needed = [e for e in self.needed([v]) if fixed.issuperset(e.outs)]
        program = Jaxpr([first, *consts], [*needed, *self.origin(steps[0])[1], b], [v])
        batched, _ = batch_jaxpr(program, self.length, [0] + [None] * len(consts), (True,))
        self.inline(self.after, batched, [whole, *[x for _, x in self.consts]])
        self.name_last(out)
        self.changed = True

    def name_last(self, out: Var) -> None:
        """The last equation behind the loop gives this result."""
        last = self.after.pop()
        self.after.append(eqn(last.sig, last.inputs, (out,), last))

    def steps_at_once(self) -> int:
        """After how many steps the loop had better sum what is stacked for that; 0: when it has ended."""
        if self.extra <= MUCH:
            return 0
        most = min(CHUNK * self.length // self.extra, self.length - 1)
        return next((c for c in range(most, FEWEST - 1, -1) if self.length % c == 0), 0)

    def stack(self, x: Var) -> Var:
        """The values of x at all steps, from now on a result of the loop."""
        whole = var(x.aval.strong.with_shape((self.length, *x.aval.shape)), 0)
        self.extra += whole.aval.nbytes
        self.ys.append((x, whole))
        return whole

    def sink(self, k: int) -> None:
        (v, start), total = self.carry[k], self.results[k]
        terms = self.terms(self.carried[k])
        if self.uses[v] != 1 or sum([t is v for t in terms]) != 1 or len(terms) == 1:
            return
        sunk = [t for t in terms if t is not v and self.sinks(t)]
        if not sunk:
            return
        rest = [t for t in terms if t not in sunk]
        sums = [self.summed(t) for t in sunk]
        if len(rest) == 1:                  # nothing is left to carry
            del self.carry[k], self.carried[k], self.results[k]
            if not (type(start) is Lit and start.value == 0):
                sums.append(start)
        else:
            self.carried[k] = rest[0]
            for t in rest[1:]:
                self.carried[k] = self.bind(self.eqns, OPS["add"], (self.carried[k], t))
            self.results[k] = var(total.aval, 0)
            sums.append(self.results[k])
        for i, s in enumerate(sums[1:], 2):
            sums[0] = self.bind(self.after, OPS["add"], (sums[0], s), total if i == len(sums) else None)
        if len(sums) == 1:                  # the sum itself is the result: its equation takes that name
            self.name_last(total)
        self.changed = True

    def terms(self, x: Any) -> list:
        """What x is the sum of, as far as nobody else reads the partial sums."""
        found, todo = [], [x]
        while todo:
            x = todo.pop()
            b = self.source.get(x) if type(x) is Var else None
            if b is None or b.op.name != "add" or self.uses[x] != 1:
                found.append(x)
            else:
                todo += reversed(b.inputs)
        return found

    def origin(self, x: Any) -> tuple[Any, list[Eqn]]:
        """The variable of which x is a view, and the equations that make x of it."""
        views: list[Eqn] = []
        while type(x) is Var and x in self.source and self.source[x].op.name in ("transpose", "reshape"):
            views.append(self.source[x])
            x = self.source[x].inputs[0]
        return x, views[::-1]

    def stacked(self, x: Var) -> Any:
        """The values of x at all steps, if the loop takes or gives them; or None."""
        return next((s for v, s in (*self.xs, *self.ys) if v is x), None)

    def sinks(self, t: Any) -> bool:
        """Whether t is a product that had better be summed outside, all steps at once."""
        made, _ = self.origin(t)
        b = self.source.get(made) if type(made) is Var else None
        if b is None or self.uses[t] != 1 or b.op.name != "dot_general" or self.uses[made] != 1:
            return False
        fixed = self.following({v for v, _ in self.consts})
        parts = [self.origin(x)[0] for x in b.inputs]
        if any(type(x) is not Var or x in fixed for x in parts):
            return False
        new = [x for x in parts if self.stacked(x) is None]
        return all(x.aval.nbytes * self.length <= STACK_BYTES for x in new) and (
            sum([x.aval.size for x in new]) <= 2 * made.aval.size)

    def summed(self, t: Var) -> Any:
        """The sum of the product t over all steps, behind the loop."""
        made, views = self.origin(t)
        b = self.source[made]
        wide = []
        for x in b.inputs:
            first, how = self.origin(x)
            whole = self.stacked(first)
            if whole is None:
                whole = self.stack(first)
            batched, _ = batch_jaxpr(Jaxpr([first], how, [x]), self.length, [0], (True,))
            wide += self.inline(self.after, batched, [whole])
        (ca, cb), (ba, bb) = b.params["contract"], b.params["batch"]
        out = self.bind(self.after, b.op, tuple(wide),
                        contract=((0, *[i + 1 for i in ca]), (0, *[i + 1 for i in cb])),
                        batch=(tuple([i + 1 for i in ba]), tuple([i + 1 for i in bb])))
        return self.inline(self.after, Jaxpr([made], views, [t]), [out])[0]

