"""Values that are cheaper to compute again than to keep: a pass before lowering.

What a later block group needs of an earlier one, behind a product, a sum over everything or another
step whose result no group hands on, goes through memory. Gradients are full of such values: ``1 - h * h``
beside ``h``, the factors of a polynomial beside its argument. Where what such a value is made of is in
memory anyway, the group that needs it computes it again, in registers: the same operations, so no bit
changes. Values that are read shifted, as in stencils, are made of shifted operands in the same way.
``lower`` takes the program so changed where its steps cost less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..ir.core import Eqn, Jaxpr, Lit, Var, eqn, lit, signature, var
from ..ir.op import CODE
from .fuse import LONG, LONG_ELEMENTS
from .group import LAST_CACHE
from .run import Step, kernel_cost
from .view import View

CHEAP_NS = 0.5            # an element of one operation
LONG_ROW = 64
NS_BYTE = 0.12            # of memory, on the scale of kernel_cost, whose operations overlap within a group
NS_CACHED_BYTE = 0.01
WORTH = 0.99              # of the bytes moved: what must be left at equal work
LARGE = 128 * 1024        # bytes: less stays in the cache
MOST_OPS = 12             # of one value
MOST_CHOICES = 300        # values among which sets are tried; beyond, only what costs nothing is taken
MOST_RAISED = 24          # operations of a value that is shifted


def recompute(jaxpr: Jaxpr) -> Jaxpr:
    """An equivalent program that computes some values more than once. Linear in its length."""
    if not any([e.outs and e.outs[0].aval.nbytes >= LARGE for e in jaxpr.eqns]):
        return jaxpr
    found = _Search(jaxpr).choose()
    return _rewritten(jaxpr, found) if found.again else jaxpr


def others(jaxpr: Jaxpr) -> Iterator[Jaxpr]:
    """Equivalent programs that may take less time."""
    shifted = raised(jaxpr)
    for start in (jaxpr, shifted) if shifted is not jaxpr else (jaxpr,):
        again = recompute(start)
        if again is not jaxpr:
            yield again


def cheaper(steps: Sequence[Step], than: Sequence[Step]) -> bool:
    """Whether steps take clearly less time than others of the same results: what they compute, on one
    thread, and the bytes of their operands."""
    moved, before = traffic(steps), traffic(than)
    ns = NS_BYTE if before > LAST_CACHE else NS_CACHED_BYTE
    return sum([s.cost for s in steps]) + ns * moved < sum([s.cost for s in than]) + WORTH * ns * before


def traffic(steps: Iterable[Step]) -> int:
    """Bytes of the operands of all steps."""
    return sum([touched(v) for s in steps for v in s.views])


def touched(view: View) -> int:
    """Bytes of the different elements that a view names."""
    n = view.dtype.itemsize
    for d, s in zip(view.shape, view.strides, strict=True):
        if s or not d:
            n *= d
    return max(0, min(n, view.buffer.nbytes))       # of a stack nobody knows how many


def _fuses(e: Eqn) -> bool:
    """Whether groups take the equation in."""
    op = e.sig.op
    if op.family == "reduction":
        return "axes" in e.params       # argmax and argmin are of this family, too, but steps by themselves
    return op.lower == "elementwise" or op.family == "structural"


def _cheap(e: Eqn) -> bool:
    """Whether a group computes it in about the time of reading it."""
    sig = e.sig
    if sig.op.name == "broadcast_in_dim":          # of short rows it costs more than reading
        return sig.out.shape[-1] >= LONG_ROW or not sig.in_avals[0].ndim
    if sig.op.lower != "elementwise":
        return False
    code = CODE[sig.in_avals[1 if sig.op.name == "select" else 0].dtype]
    if sig.op.name == "convert":
        code += ":" + CODE[sig.out.dtype]
    return 0 <= kernel_cost(f"ew:{sig.op.name}:{code}") <= CHEAP_NS


def _ends(e: Eqn) -> bool:
    """Whether the result is there only when the group that makes it, if one does, has ended."""
    if not _fuses(e):
        return True
    if e.sig.op.family != "reduction":
        return False
    x, axes = e.inputs[0].aval, e.params["axes"]
    shape = [n for n in x.shape if n != 1]
    reduced = [n for i, n in enumerate(x.shape) if i in axes and n != 1]
    tail = [i for i, n in enumerate(x.shape) if n != 1][len(shape) - len(reduced):]
    length = math.prod(reduced)
    return len(reduced) == len(shape) or any([i not in axes for i in tail]) or (
        length > LONG_ELEMENTS or length * x.dtype.itemsize > LONG)


class _Search:
    def __init__(self, jaxpr: Jaxpr):
        self.made: dict[Var, Eqn] = {}
        self.level: dict[Var, int] = {}         # how many ends of groups lie before
        self.last: dict[Var, int] = {}          # the equation that reads it last
        self.again: set[Var] = set()            # what is computed again
        kept = {x for x in jaxpr.outs if type(x) is Var}
        far: dict[Var, None] = {}               # read at a later level
        for at, e in enumerate(jaxpr.eqns):
            level = max([self.level.get(x, 0) for x in e.inputs if type(x) is Var], default=0)
            whole = not _fuses(e) or (e.sig.op.family == "structural" and e.sig.op.name != "broadcast_in_dim")
            for x in e.inputs:
                if type(x) is Var:
                    self.last[x] = at
                    if whole:
                        kept.add(x)
                    elif x in self.made and self.level[x] < level:
                        far[x] = None
            level += self.ends(e)
            for v in e.outs:
                self.made[v], self.level[v] = e, level
        self.kept = kept
        self.candidates = [v for v in far if v not in kept and v.aval.nbytes >= LARGE and self._cheap(v)]
        open_ = set(self.candidates)
        self.stored = kept | {v for v in far if v not in open_}
        self.leaves = {v: found for v in self.candidates if (found := self._leaves(v)) is not None}

    def ends(self, e: Eqn) -> bool:
        """Whether the result is there only when what makes it, or its operand, has ended: parts of computed
        values are read from memory."""
        return _ends(e) or (e.sig.op.picks and e.inputs[0] in self.made and _fuses(self.made[e.inputs[0]])
                            and e.inputs[0].aval.nbytes >= LARGE)

    def _cheap(self, v: Var) -> bool:
        """Whether a group makes it in about the time of reading it, as also a part of what is in memory."""
        e = self.made[v]
        return _cheap(e) or (e.sig.op.picks and (e.inputs[0] not in self.made or e.inputs[0] in self.kept))

    def _leaves(self, v: Var) -> set[Var] | None:
        """What v is computed from, through cheap operations; None where these are many."""
        leaves: set[Var] = set()
        todo, seen = [v], {v}
        while todo:
            for x in self.made[todo.pop()].inputs:
                if type(x) is not Var or x in seen:
                    continue
                if x not in self.made or x in self.stored or x.aval.nbytes < LARGE or not self._cheap(x):
                    leaves.add(x)
                    continue
                seen.add(x)
                todo.append(x)
                if len(seen) > MOST_OPS:
                    return None
        return leaves

    def _missing(self, v: Var) -> frozenset[Var]:
        """Leaves that would have to be kept for it, or kept longer."""
        return frozenset([x for x in self.leaves[v] if x in self.made and x.aval.nbytes >= LARGE and (
            x not in self.stored or self.last[x] < self.last[v])])

    def choose(self) -> _Search:
        rest = [v for v in self.candidates if v in self.leaves]
        while rest:
            missing = {v: self._missing(v) for v in rest}
            free = [v for v in rest if not missing[v]]
            if not free and len(rest) <= MOST_CHOICES:
                free = self._bought(missing)
            if not free:
                break
            self.again.update(free)
            rest = [v for v in rest if v not in self.again]
        return self

    def _bought(self, missing: dict[Var, frozenset[Var]]) -> list[Var]:
        """Values that together are larger than what is kept for all of them, or as large as what is kept
        longer."""
        served: dict[frozenset[Var], list[Var]] = {}
        for v, need in missing.items():
            served.setdefault(need, []).append(v)
        best: list[Var] = []
        most = 0
        for need in served:
            group = [v for other, values in served.items() if other <= need for v in values]
            gain = _nbytes(group) - _nbytes(need) + need.issubset(self.stored)
            if gain > most:
                most, best, chosen = gain, group, need
        for x in chosen if best else ():
            self.stored.add(x)
            self.last[x] = max([self.last[x], *[self.last[v] for v in best]])
        return best


def _nbytes(values: Iterable[Var]) -> int:
    return sum([v.aval.nbytes for v in values])


def _rewritten(jaxpr: Jaxpr, found: _Search) -> Jaxpr:
    made, level, again, stored = found.made, found.level, found.again, found.stored
    copies: dict[tuple[Var, int], Var] = {}
    eqns: list[Eqn] = []
    count = max([v.index for v in (*jaxpr.invars, *made)], default=0) + 1

    def copy(v: Var, at: int) -> Var:
        nonlocal count
        new = copies.get((v, at))
        if new is None:
            e = made[v]
            inputs = tuple([copy(x, at) if type(x) is Var and inner(x, at) else x for x in e.inputs])
            new = copies[v, at] = var(v.aval, count)
            count += 1
            eqns.append(eqn(e.sig, inputs, (new,), e))
        return new

    def inner(x: Var, at: int) -> bool:
        """Whether a copy at this level reads a copy of x."""
        return (x in made and level[x] < at and x.aval.nbytes >= LARGE
                and (x in again or (x not in stored and found._cheap(x))))

    for e in jaxpr.eqns:
        at = level[e.outs[0]] - found.ends(e) if e.outs else 0
        if _fuses(e) and any([type(x) is Var and x in again and level[x] < at for x in e.inputs]):
            inputs = tuple([copy(x, at) if type(x) is Var and x in again and level[x] < at else x
                            for x in e.inputs])
            e = eqn(e.sig, inputs, e.outs, e)
        eqns.append(e)
    return _with(jaxpr, eqns)


def _with(jaxpr: Jaxpr, eqns: list[Eqn]) -> Jaxpr:
    """The program with these equations, but for those that nobody reads and that do nothing else."""
    live = {x for x in jaxpr.outs if type(x) is Var}
    kept = []
    for e in reversed(eqns):
        if e.sig.effect or not live.isdisjoint(e.outs):
            kept.append(e)
            live.update([x for x in e.inputs if type(x) is Var])
    return Jaxpr(jaxpr.invars, kept[::-1], jaxpr.outs, jaxpr.retraced, jaxpr.names)


# ----- shifted values -----------------------------------------------------------------------------


def raised(jaxpr: Jaxpr) -> Jaxpr:
    """The program with shifts and slices of cheap values moved to what these are made of: a stencil then
    reads its arguments in several places, and nothing has to be in memory only to be read shifted."""
    if not any([e.sig.op.picks and e.outs[0].aval.nbytes >= LARGE for e in jaxpr.eqns]):
        return jaxpr
    raiser = _Raiser()
    for e in jaxpr.eqns:
        raiser.take(e)
    return _with(jaxpr, raiser.eqns) if raiser.changed else jaxpr


class _Raiser:
    """Writes the program anew; ``same`` has what replaces results of the old one."""

    final = True                            # as the records' simplify rules see it

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.made: dict[Var, Eqn] = {}
        self.same: dict[Var, Any] = {}
        self.known: dict[tuple, Any] = {}
        self.changed = False

    def made_by(self, x: Any, name: str) -> Eqn | None:
        e = self.made.get(x)
        return e if e is not None and e.sig.op.name == name else None

    def take(self, e: Eqn) -> None:
        inputs = tuple([self.same.get(x, x) if type(x) is Var else x for x in e.inputs])
        if not (e.sig.op.picks and e.outs[0].aval.nbytes >= LARGE):
            self.add(eqn(e.sig, inputs, e.outs, e) if inputs != e.inputs else e)
            return
        cone = self.cone(inputs[0])
        key = (e.sig.op, *e.params.values(), inputs[0])
        if cone or key in self.known:
            self.changed = True
            for x in cone:
                self.pick(e, x)
            self.same[e.outs[0]] = self.known[key]
        else:
            self.add(eqn(e.sig, inputs, e.outs, e) if inputs != e.inputs else e)
            self.known[key] = e.outs[0]

    def add(self, e: Eqn) -> Any:
        self.eqns.append(e)
        for v in e.outs:
            self.made[v] = e
        return e.outs[0] if e.outs else None

    def cone(self, x: Any) -> list[Var]:
        """The values made by cheap operations that x is made of, operands first; none if these are many."""
        order: list[Var] = []
        seen: set[Var] = set()
        todo: list[Any] = [x]
        while todo:
            v = todo[-1]
            e = self.made.get(v) if type(v) is Var else None
            if e is None or v in order or not _cheap(e) or e.sig.op.lower != "elementwise":
                todo.pop()
            elif v not in seen:
                seen.add(v)
                todo += e.inputs
                if len(seen) > MOST_RAISED:
                    return []
            else:
                todo.pop()
                order.append(v)
        return order

    def pick(self, like: Eqn, v: Var) -> None:
        """Makes shifted what v is, of operands that are shifted."""
        op, e = like.sig.op, self.made[v]
        key = (op, *like.params.values(), v)
        if key in self.known:
            return
        inputs = tuple([self.moved(like, x) for x in e.inputs])
        sig = signature(e.sig.op, tuple([x.aval for x in inputs]), e.params)
        self.known[key] = self.add(eqn(sig, inputs, (var(sig.out, 0),), e))

    def moved(self, like: Eqn, x: Any) -> Any:
        """An operand as the shift or slice ``like`` has it."""
        op, params = like.sig.op, like.params
        shape = like.outs[0].aval.shape
        if type(x) is Lit:
            return lit(x.value, x.aval.with_shape(shape))
        key = (op, *params.values(), x)
        found = self.known.get(key)
        if found is None:
            found = op.simplify((x,), params, self)
            if found is None or type(found) is tuple:
                to, inputs, given = found or (op, (x,), params)
                again = (to, *given.values(), *inputs)
                if found and again in self.known:
                    found = self.known[again]
                else:
                    sig = signature(to, tuple([y.aval for y in inputs]), given)
                    found = self.known[again] = self.add(eqn(sig, inputs, (var(sig.out, 0),), like))
            self.known[key] = found
        return found
