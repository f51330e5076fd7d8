"""What a loop need not stack for a later one, since that can compute it from other stacks.

Reverse mode of a loop is two of them: the first stacks what the second reads at the same steps. Where that
follows by cheap operations from the carry, of which a stack is smaller (or there already), from slices or
from constants, the second loop computes it. What the first then computes for nobody is dropped later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ..ir.core import TURNS, Eqn, Jaxpr, Var, eqn, signature, var
from ..ir.op import work_of

LEAST = 256 << 10           # bytes that must be saved
UNKNOWN = 100_000           # turns of a loop that a run decides about
TINY = 16                   # elements: up to here an operation costs about 1 ns an element
NS, HARD_NS = 0.3, 3.0      # of larger arrays: an element of arithmetic, of a transcendental function
MOST = 64                   # stacks that are looked at
NS_PER_BYTE = 0.75          # what a byte of a stack is worth: written, read, and kept in between


def thinner(jaxpr: Jaxpr, clean: Callable[[Jaxpr], Jaxpr]) -> Jaxpr:
    """The program with such stacks left out; ``clean`` shows what is equal."""
    if sum([e.op.name in ("scan", "while") for e in jaxpr.eqns]) < 2:
        return jaxpr
    jaxpr = clean(jaxpr)
    eqns = list(jaxpr.eqns)
    uses = Counter([x for e in eqns for x in e.inputs if type(x) is Var])
    uses.update([x for x in jaxpr.outs if type(x) is Var])
    makers = {v: n for n, e in enumerate(eqns) if e.op.name in ("scan", "while") for v in e.outs}
    for n, e in enumerate(eqns):
        if e.op.name != "scan":
            continue
        for m in sorted({makers[x] for x in e.inputs[_Loop(e).first_x:] if x in makers}):
            if eqns[m].params.get("length") == e.params["length"] != 0:
                pair = _Pair(eqns[m], eqns[n], uses)
                if pair.choose():
                    eqns[m], eqns[n] = pair.made()
                    makers.update(dict.fromkeys(eqns[m].outs, m))
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.retraced, jaxpr.names)


class _Loop:
    """Where things are in a scan or while: its program, and among its operands, of which the program gets
    those from ``head`` on, the first x."""

    def __init__(self, e: Eqn):
        p = e.params
        self.key = "jaxpr" if e.op.name == "scan" else "body"
        self.body: Jaxpr = p[self.key]
        self.length: int | None = p.get("length")
        if e.op.name == "scan":
            self.head, self.n_consts, self.n_carry = int(self.length is None), p["n_consts"], p["n_carry"]
        else:
            self.head, self.n_consts = p["n_cond"], p["n_body"]
            self.n_carry = len(e.inputs) - self.head - self.n_consts
        self.first_x = self.head + self.n_consts + self.n_carry
        self.turns = UNKNOWN if self.length is None else self.length


class _Pair:
    """A loop, and a scan that reads stacks of it.

    Attributes:
      places: what is stacked for the second loop only: the result's place, and that of what its body reads.
      chosen: those of it that are computed instead; eqns: by what, in order; sources: of which values of the
        first loop's body.
    """

    def __init__(self, first: Eqn, second: Eqn, uses: Counter):
        self.first, self.second = first, second
        self.one, self.two = _Loop(first), _Loop(second)
        self.body, self.n_consts, self.n_carry = self.one.body, self.one.n_consts, self.one.n_carry
        self.first_x = self.n_consts + self.n_carry
        at = {x: i - self.two.head for i, x in enumerate(second.inputs) if i >= self.two.first_x}
        self.places = {j: at[v] for j, v in enumerate(first.outs)
                       if j >= self.n_carry and v in at and uses[v] == 1}
        self.source = {v: b for b in self.body.eqns for v in b.outs}
        invars, outs = self.body.invars, self.body.outs
        self.given = set(invars[:self.n_consts] + invars[self.first_x:])
        self.ends = {v: k for k, v in enumerate(outs[:self.n_carry]) if v in self.source}
        self.begins = {v: k for k, v in enumerate(invars[self.n_consts:self.first_x])}
        self.chosen: list[int] = []
        self.eqns: list[Eqn] = []
        self.sources: list[Var] = []

    def choose(self) -> bool:
        """Which stacks go; False if that is not worth it."""
        ys = self.body.outs
        ways = {j: way for j in self.places if (way := self.way(ys[j])) is not None}
        needed = set(ys[:self.n_carry]) | {y for j, y in enumerate(ys) if j >= self.n_carry and j not in ways}
        self.alive = set()                      # what the first loop computes anyway
        for b in reversed(self.body.eqns):
            if b.sig.effect or not needed.isdisjoint(b.outs):
                self.alive.add(b)
                needed.update(b.inputs)
        done: set[Eqn] = set()
        worth = {j: NS_PER_BYTE * ys[j].aval.nbytes for j in ways}
        left = sorted(ways, key=lambda j: self.cost(ways[j]) / max(worth[j], 1e-9))[:MOST]
        while left:
            first, new = left[0], set(ways[left[0]])
            along = [first]                     # others that take little more then
            for j in left[1:]:
                if self.cost(ways[j] - done - new) <= worth[j] / 2:
                    along.append(j)
                    new |= ways[j]
            if self.cost(new - done) <= sum([worth[j] for j in along]):
                done |= new
                self.chosen += along
                left = [j for j in left if j not in along]
            else:
                left.remove(first)
        self.eqns = [b for b in self.body.eqns if b in done]
        made = {v for b in self.eqns for v in b.outs}
        read = [x for b in self.eqns for x in b.inputs] + [ys[j] for j in self.chosen]
        self.sources = list(dict.fromkeys([x for x in read if type(x) is Var and x not in made]))
        kept = {y for j, y in enumerate(ys) if j >= self.n_carry and j not in self.chosen}
        have = {self.carry(y) for y in kept}
        new = {k for x in self.sources if (k := self.carry(x)) is not None and k not in have}
        invars = self.body.invars[self.n_consts:self.first_x]
        saved = sum([ys[j].aval.nbytes for j in self.chosen]) - sum([invars[k].aval.nbytes for k in new])
        return saved * self.one.turns >= LEAST

    def carry(self, x: Any) -> int | None:
        """Of which carry x is the value before a turn or after it."""
        if type(x) is not Var:
            return None
        return self.begins.get(x, self.ends.get(x))

    def way(self, y: Any) -> set[Eqn] | None:
        """Equations that compute y from constants, slices and carries; None if that is not cheap."""
        if type(y) is not Var or self.carry(y) is not None or y not in self.source:
            return None
        found: set[Eqn] = set()
        todo = [y]
        while todo:
            x = todo.pop()
            if type(x) is not Var or x in self.given or self.carry(x) is not None:
                continue
            b = self.source[x]
            if b in found:
                continue
            if b.sig.effect or not (b.op.lower == "elementwise" or b.op.family == "structural"):
                return None
            found.add(b)
            todo += b.inputs
        return found

    def cost(self, eqns: set[Eqn]) -> float:
        """Estimated ns of a turn; what moves from the first loop to the second costs nothing."""
        total = 0.0
        for b in eqns:
            if b in self.alive:
                flops, hard = work_of(b.sig)
                total += flops + 5 * hard if b.sig.out.size <= TINY else NS * flops + HARD_NS * hard
        return total

    def made(self) -> tuple[Eqn, Eqn]:
        """Both loops anew."""
        first, second, body = self.first, self.second, self.body
        length = TURNS if self.one.length is None else self.one.length
        given = first.inputs[self.one.head:]
        known = {y: first.outs[j] for j, y in enumerate(body.outs)
                 if j >= self.n_carry and j not in self.chosen and type(y) is Var}
        more = [x for x in self.sources if x not in self.given and x not in known]
        known.update({x: var(x.aval.strong.with_shape((length, *x.aval.shape)), 0) for x in more})
        known.update([(v, a) for v, a in zip(body.invars, given, strict=True) if v in self.given])
        kept = [j for j in range(len(first.outs)) if j not in self.chosen]
        new_first = _remade(first, first.inputs, [*[first.outs[j] for j in kept], *[known[x] for x in more]],
                            **{self.one.key: Jaxpr(body.invars, body.eqns,
                                                   [*[body.outs[j] for j in kept], *more], body.retraced)})

        inner, head = self.two.body, second.inputs[:self.two.head]
        operands = second.inputs[self.two.head:]
        fixed = set(body.invars[:self.n_consts])
        gone = {self.places[j] for j in self.chosen}
        env: dict[Any, Any] = {x: var(x.aval, 0) for x in self.sources}
        eqns = []
        for b in self.eqns:
            outs = tuple([var(v.aval, 0) for v in b.outs])
            eqns.append(eqn(b.sig, tuple([env[x] if type(x) is Var else x for x in b.inputs]), outs, b))
            env.update(zip(b.outs, outs, strict=True))
        now = {inner.invars[self.places[j]]: env[body.outs[j]] for j in self.chosen}

        def renamed(atoms):
            return tuple([now.get(x, x) if type(x) is Var else x for x in atoms])
        eqns += [eqn(b.sig, renamed(b.inputs), b.outs, b) for b in inner.eqns]
        n = self.two.n_consts
        consts = [x for x in self.sources if x in fixed]
        xs = [x for x in self.sources if x not in fixed]
        rest = [i for i in range(n, len(inner.invars)) if i not in gone]
        invars = [*inner.invars[:n], *[env[x] for x in consts], *[inner.invars[i] for i in rest],
                  *[env[x] for x in xs]]
        inputs = [*head, *operands[:n], *[known[x] for x in consts], *[operands[i] for i in rest],
                  *[known[x] for x in xs]]
        new_second = _remade(second, inputs, second.outs, n_consts=n + len(consts),
                             jaxpr=Jaxpr(invars, eqns, renamed(inner.outs), inner.retraced))
        return new_first, new_second


def _remade(e: Eqn, inputs: Any, outs: Any, **params: Any) -> Eqn:
    params = {**e.params, **params}
    return eqn(signature(e.op, tuple([x.aval for x in inputs]), params), tuple(inputs), tuple(outs), e)
