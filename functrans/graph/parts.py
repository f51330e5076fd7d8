"""Parts of an open program: which equations some of its values need, as a program of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ..ir.core import Eqn, Var, eqn, var


class Part(NamedTuple):
    """The equations that some values need, in order, and what they read that none of them makes."""

    eqns: list[Eqn]
    outs: list
    ends: dict[Var, None]   # inputs of the graph, constants, and what was given, in order of their use


class Parts:
    """The equations of a builder, found by what they make.

    Attributes:
      twins: variable -> others of the same value, each with what is made beside it. The gradient of a loop,
        e.g., runs it again so that it keeps what the backward pass needs. Where a part makes that anyway,
        the first loop does not run.
      consts: constant -> what was captured.
      effects: positions of the equations that act beside their results.
      origins: equation of a gradient -> the one that it was made of.
    """

    def __init__(self, builder: Any):
        self.builder = builder
        self.twins: dict[Var, list[tuple[Var, list[Var]]]] = {}
        self.consts: dict[Var, Any] = {}
        self.effects: list[int] = []
        self.origins: dict[Eqn, Eqn] = {}
        self.numbered: dict[int, Var] = {}      # every variable by its index
        self.works: dict[tuple, tuple[Var, ...]] = {}   # signature and operands -> results of the first such
        self._made: dict[Var, int] = {}
        self._read = 0                  # so many equations are in the tables

    def made(self) -> dict[Var, int]:
        """Variable -> position of the equation that makes it, up to now."""
        eqns = self.builder.eqns
        for position in range(self._read, len(eqns)):
            e = eqns[position]
            for v in e.outs:
                self._made[v] = position
                self.numbered[v.index] = v
            if not e.sig.effect:
                self.works.setdefault((e.sig, e.inputs), e.outs)
            elif position not in self.effects:
                self.effects.append(position)
        self._read = len(eqns)
        for i in range(len(self.consts), len(self.builder.const_vars)):
            v = self.builder.const_vars[i]
            self.consts[v] = self.builder.consts[i]
            self.numbered[v.index] = v
        return self._made

    def reach(self, outs: Iterable, given: Collection[Var]) -> tuple[set[int], dict[Var, None]]:
        """Positions of the equations that ``outs`` need, and what those read that none of them makes."""
        made, eqns = self.made(), self.builder.eqns
        seen: set[Var] = set()
        positions: set[int] = set()
        ends: dict[Var, None] = {}
        todo = list(outs)
        while todo:
            v = todo.pop()
            if type(v) is not Var or v in seen:
                continue
            seen.add(v)
            position = None if v in given else made.get(v)
            if position is None:
                ends[v] = None
            elif position not in positions:
                positions.add(position)
                todo.extend(eqns[position].inputs)
        return positions, ends

    def part(self, outs: list, given: Collection[Var]) -> Part:
        """What computes ``outs`` from ``given`` (and inputs and constants).

        What acts beside its results does so where everything that it is given is there anyway; what a
        gradient added, where the part has other equations that were made of the same one.
        """
        eqns = self.builder.eqns
        positions, ends = self.reach(outs, given)
        there = {*given, *ends, *self.consts}
        for position in positions:
            there.update(eqns[position].outs)
        origins = {self.origins.get(eqns[position]) for position in positions}
        for position in self.effects:
            e = eqns[position]
            if self.origins.get(e) in origins | {None} and all(
                    [type(x) is not Var or x in there for x in e.inputs]):
                positions.add(position)
                there.update(e.outs)
                ends.update([(x, None) for x in e.inputs if x in given or x in self.consts])
        same = self._chosen(positions, given, ends)
        kept = [eqns[position] for position in sorted(positions)]
        if same:
            outs = [same.get(v, v) for v in outs]
            kept = live(self._in_order(sorted(positions), same), outs)
        return Part([renamed(e, e.inputs, given) for e in kept], outs, ends)

    def _chosen(self, positions: set[int], given: Collection[Var],
                ends: dict[Var, None]) -> dict[Var, Var]:
        """Variable -> the last of its twins that the part makes, or has the residuals of.

        What these need is added to ``positions`` and ``ends``.
        """
        same: dict[Var, Var] = {}
        if not self.twins:
            return same
        there = {v for position in positions for v in self.builder.eqns[position].outs}
        for v in [v for v in there if v in self.twins and v not in given]:
            last = v
            while found := [t for t, beside in self.twins.get(last, ())
                            if t in there or any([x in there for x in beside])]:
                last = found[-1]
            if last is not v:
                same[v] = last
                more, new_ends = self.reach([last], given)
                positions |= more
                ends.update(new_ends)
        return same

    def _in_order(self, order: list[int], same: dict[Var, Var]) -> list[Eqn]:
        """The equations on the values that stand for others, each behind what it needs."""
        made, eqns = self.made(), self.builder.eqns
        inside, done, waiting = set(order), set(), set()
        kept = []
        for first in order:
            todo = [first]
            while todo:
                position = todo.pop()
                e = eqns[position]
                if position in done or (e.sig.effect and e.outs and all([v in same for v in e.outs])):
                    continue            # its twin acts
                inputs = tuple([same.get(x, x) if type(x) is Var else x for x in e.inputs])
                needs = [at for x in inputs if type(x) is Var and (at := made.get(x)) in inside
                         and at not in done]
                if needs:
                    assert position not in waiting, "equations that need each other"
                    waiting.add(position)
                    todo += [position, *needs]
                    continue
                done.add(position)
                kept.append(e if inputs == e.inputs else renamed(e, inputs, ()))
        return kept


def renamed(e: Eqn, inputs: tuple, cut: Collection[Var]) -> Eqn:
    """The equation on other inputs; those of its results that are in ``cut`` get other names."""
    outs = e.outs
    if not all([v not in cut for v in outs]):
        outs = tuple([var(v.aval, 0) if v in cut else v for v in outs])
    return e if inputs is e.inputs and outs is e.outs else eqn(e.sig, inputs, outs, e)


def live(eqns: Sequence[Eqn], outs: Iterable, cut: Collection[Var] = ()) -> list[Eqn]:
    """The equations that ``outs`` need while ``cut`` is given, and those that act."""
    needed = {x for x in outs if type(x) is Var and x not in cut}
    kept = []
    for e in reversed(eqns):
        if not needed.isdisjoint(e.outs) or (e.sig.effect and not any([v in cut for v in e.outs])):
            kept.append(e)
            needed.update([x for x in e.inputs if type(x) is Var and x not in cut])
    return kept[::-1]
