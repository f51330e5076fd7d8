"""Plans as people read them: steps with their equations, buffers with their lives, what it costs.

Nothing here runs when a program runs. ``lower`` hands what it knows to a ``Watch``, which makes a
``Plan`` of each program; with clocks, each step of these programs is followed by one that reads the
time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..ir.core import Eqn, Jaxpr
from ..ir.op import CODE, OPS, work_of
from ..kernels.lib import scalar_labels
from .control import Clock
from .lower import lower
from .recompute import touched
from .run import Program, Step
from .view import ARENA, CONSTS, FIRST_INPUT, Buffer

BODIES = {"scan": ("body",), "while": ("body", "cond")}
KINDS = {"copy": "copy", "scalar": "scalar program", "scalar_loop": "scalar loop",
         "lane_loop": "loop of lanes"}


def plan_of(jaxpr: Jaxpr, clocks: bool = False, donated: Sequence[int] = ()) -> Plan:
    """The plan of ``jaxpr``, lowered anew so that its steps know their equations."""
    watch = Watch(clocks)
    return watch.plans[lower(jaxpr, donated=donated, watch=watch)]


class Watch:
    """Told by ``lower`` of every program that it makes. ``plans`` has them by program."""

    def __init__(self, clocks: bool = False):
        self.clocks = clocks
        self.plans: dict[Program, Plan] = {}
        self._clocks: list[Clock] = []          # of the program that is being made

    def steps(self, steps: list[Step]) -> list[Step]:
        """The steps to run."""
        if not self.clocks:
            return steps
        first = Clock()
        timed, self._clocks = [clock_step(first)], []
        for s in steps:
            if s.kernel is not None:
                self._clocks.append(Clock(first))
                timed += (s, clock_step(self._clocks[-1]))
        return timed

    def made(self, program: Program, jaxpr: Jaxpr, steps: list[Step], outputs: list[Buffer]) -> None:
        kept = [s for s in steps if s.kernel is not None]
        clocks = self._clocks if self.clocks else [None] * len(kept)
        self.plans[program] = Plan(program, jaxpr, kept, outputs, self.plans, clocks)


def clock_step(clock: Clock) -> Step:
    """A step that reads the time."""
    return Step("clock", [], [], (), (), (), 0.0, clock, False)


class Cost:
    """Work and traffic: floating-point operations, transcendental functions, bytes of operands."""

    __slots__ = ("bytes", "flops", "transcendentals")

    def __init__(self, flops: int = 0, transcendentals: int = 0, moved: int = 0):
        self.flops, self.transcendentals, self.bytes = flops, transcendentals, moved

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.transcendentals + other.transcendentals,
                    self.bytes + other.bytes)

    def __mul__(self, n: int) -> Cost:
        return Cost(n * self.flops, n * self.transcendentals, n * self.bytes)


class BufferInfo:
    """A piece of memory that steps name. ``first`` and ``last`` are the steps that use it; ``type`` is that
    of what is in it at first (empty: a work space), ``source`` the user's line that writes it first."""

    def __init__(self, name: str, place: str, offset: int, nbytes: int, first: int):
        self.name, self.place, self.offset, self.nbytes = name, place, offset, nbytes
        self.first = self.last = first
        self.type = ""
        self.source: Source | None = None

    def __str__(self) -> str:
        where = f"{self.place} + {self.offset}" if self.place == "arena" else self.place
        return f"{self.name}: {self.nbytes} bytes in {where}, steps {self.first} to {self.last}"


class PlanStep:
    """One step of a plan.

    Attributes:
      number, kind, kernel: which step, what sort of step, and the C function that it calls.
      shape: the iteration space; operands: their names with byte offset and byte strides, the first
        ``n_outs`` are written.
      eqns: the equations that it runs; sources: ``(file, line, function)`` of each, without repeats.
      cost: what one run of it takes; of a loop all turns (``while``: one turn), of ``cond`` the
        branch that takes most.
      bodies: ``(name, plan)`` of the programs inside; turns: how often a loop runs them, None where
        that is not known before.
    """

    def __init__(self, number: int, step: Step, names: list[str], inner: Sequence[Plan],
                 eqns: tuple[Eqn, ...], counted: Sequence[Eqn], clock: Clock | None):
        self.number, self.kernel, self.clock = number, step.kernel, clock
        head = step.kernel.partition(":")[0]
        self.kind = KINDS.get(head, head if step.data is not None or inner else "kernel")
        self.shape, self.n_outs, self.eqns = step.shape, step.nouts, eqns
        self.operands = [_operand(n, o, w) for n, o, w in
                         zip(names, step.offsets, step.strides, strict=True)]
        self.sources = sources(eqns)
        self.turns: int | None = 1
        self.bodies: list[tuple[str, Plan]] = []
        if inner:
            titles = BODIES.get(head) or [f"branch {i}" for i in range(len(inner))]
            self.bodies = list(zip(titles, inner, strict=True))
            turns = -1 if head == "while" else step.ints[4] if head == "scan" else 1
            self.turns = turns if turns >= 0 else None
        elif head in ("scalar_loop", "lane_loop"):
            self.turns = step.ints[0] if step.ints[0] >= 0 else None
        self.register_bytes = step.ints[3] if head == "group" else 0
        self.cost: Cost = self._cost(step, counted)
        self._step, self._names = step, names

    def _cost(self, step: Step, counted: Sequence[Eqn]) -> Cost:
        plans = [p for _, p in self.bodies]
        if self.kind == "cond":
            return max([p.cost for p in plans], key=lambda c: (c.flops + c.transcendentals, c.bytes))
        if plans:
            total = sum([p.cost for p in plans], Cost())
            return total if self.turns is None else total * self.turns
        flops = transcendentals = 0
        for e in counted:
            f, t = work_of(e.sig)
            flops, transcendentals = flops + f, transcendentals + t
        moved = [touched(v) for v in step.views]
        if step.partly >= 0:
            moved[step.partly] = min(moved[step.partly], moved[1 - step.partly])
        return Cost(flops, transcendentals, sum(moved))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, most: int | None = 20, indent: str = "") -> Iterator[str]:
        """Its text: one line, then instructions (at most ``most`` of them) and bodies, indented."""
        outs, ins = self.operands[:self.n_outs], self.operands[self.n_outs:]
        kernel = "" if self.kind == self.kernel or (self.kind in KINDS.values() and self.kind != "copy") \
            else f" {self.kernel}"
        shape = f" {_dims(self.shape)}" if self.shape else ""
        turns = {1: "", None: ", turns unknown"}.get(self.turns, f", {self.turns} turns")
        line = f"{indent}{self.number:3} {self.kind}{kernel}{shape}{turns}: {', '.join(outs)}"
        if ins:
            line += f" <- {', '.join(ins)}"
        line += f"  # {self.cost.flops} flops"
        if self.cost.transcendentals:
            line += f", {self.cost.transcendentals} transcendentals"
        yield line + f", {self.cost.bytes} bytes" + (f"; {place(self.sources[0])}" if self.sources else "")
        code = self.code()
        shown = code if most is None else code[:most]
        for text in shown:
            yield f"{indent}      {text}"
        if len(shown) < len(code):
            yield f"{indent}      ... {len(code) - len(shown)} more"
        for name, plan in self.bodies:
            yield f"{indent}      {name}:"
            yield from plan.lines(most, indent + "      ")

    def code(self) -> list[str]:
        """The instructions of a block group or of a scalar program, as text."""
        if self.kernel == "group":
            return list(_group_code(self._step, self._names))
        if self.kernel == "scalar":
            return list(_scalar_code(*_words(self._step), self._names))
        if self.kernel == "scalar_loop":
            return _loop_code(self._step, self._names)
        return []


class Plan:
    """A program as steps and buffers: print it, or look at ``steps``, ``buffers`` and ``cost``.

    Attributes:
      steps: the steps, in the order in which they run.
      buffers: temporaries of the arena (also those that lie in the memory of an output).
      arena_bytes: memory of all temporaries of one run, inner programs included.
      frame_bytes: the same with addresses and 0-d inputs and outputs: what one run takes.
      scratch_bytes: registers that each thread keeps for block groups.
    """

    def __init__(self, program: Program, jaxpr: Jaxpr, steps: list[Step], outputs: list[Buffer],
                 plans: dict[Program, Plan], clocks: Sequence[Clock | None]):
        self.program, self.jaxpr = program, jaxpr
        self.arena_bytes, self.frame_bytes = program.arena_bytes, program.frame_bytes
        names = _Names(len(jaxpr.invars), outputs)
        last = _counted(steps)
        self.steps = []
        for number, (step, clock) in enumerate(zip(steps, clocks, strict=True)):
            inner = [plans[p] for p in step.data] if type(step.data) is list else []
            eqns = _equations(step.origin)
            counted = [e for e in eqns if last.get(id(e)) == number]
            self.steps.append(PlanStep(number, step, [names.use(b, number) for b in step.buffers],
                                       inner, eqns, counted, clock))
            names.known(step, number, eqns, self.steps[-1].sources)
        self.buffers = names.infos()
        inside = [p for s in self.steps for _, p in s.bodies]
        self.cost = sum([s.cost for s in self.steps], Cost())
        self.scratch_bytes: int = max([s.register_bytes for s in self.steps]
                                 + [p.scratch_bytes for p in inside], default=0)
        # loops of unknown length: their cost is that of one turn
        self.unknown_loops: int = sum([s.turns is None for s in self.steps]) + sum(
            [p.unknown_loops for p in inside])

    def __str__(self) -> str:
        return self.show()

    __repr__ = __str__

    def show(self, most: int | None = 20) -> str:
        """The plan as text; at most ``most`` instructions of each group or scalar program."""
        return "\n".join(self.lines(most))

    def lines(self, most: int | None = 20, indent: str = "") -> Iterator[str]:
        arena = sum(b.place == "arena" for b in self.buffers)
        yield (f"{indent}{_counted_text(len(self.steps), 'step')}, {_counted_text(arena, 'temporary')} in "
               f"{self.arena_bytes} bytes of arena")
        names = self.jaxpr.names or ()
        for i, a in enumerate(self.jaxpr.in_avals):
            yield f"{indent}  in{i}: {a}" + (f"  {names[i]}" if i < len(names) else "")
        given = {o: i for i, o, _ in self.program.given}
        for o, a in enumerate(self.jaxpr.out_avals):
            yield f"{indent}  out{o}: {a}" + (f" in the memory of in{given[o]}" if o in given else "")
        for b in self.buffers:
            yield f"{indent}  {b}"
        for s in self.steps:
            yield from s.lines(most, indent)


def _counted_text(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what.removesuffix('y')}{'ies' if what[-1] == 'y' else 's'}"


def _dims(numbers: Sequence[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def _equations(origin: Any) -> tuple[Eqn, ...]:
    if origin is None:
        return ()
    if type(origin) is Eqn:
        return (origin,)
    return tuple([e for part in origin for e in _equations(part)])


def _counted(steps: list[Step]) -> dict[int, int]:
    """By equation, the step that does its work: the last one that does not only copy."""
    found: dict[int, int] = {}
    for plain in (False, True):
        for number, s in enumerate(steps):
            if s.kernel.startswith("copy:") is not plain:
                for e in _equations(s.origin):
                    found[id(e)] = number
    return found


class _Names:
    """What buffers are called."""

    def __init__(self, n_in: int, outputs: list[Buffer]):
        self.n_in, self.counts = n_in, {"t": 0, "c": 0, "ext": 0}
        self.names: dict[Buffer, str] = {b: f"out{i}" for i, b in enumerate(outputs)}
        self.temporaries: dict[Buffer, BufferInfo] = {}

    def use(self, b: Buffer, number: int) -> str:
        """The name of a buffer that step ``number`` uses."""
        if b in self.temporaries:
            self.temporaries[b].last = number
        found = self.names.get(b)
        if found is None:
            found = self.names[b] = self._new(b, number)
        return found

    def _new(self, b: Buffer, number: int) -> str:
        port = b.slot - FIRST_INPUT
        if 0 <= port < self.n_in:
            return f"in{port}"
        head = "c" if b.slot == CONSTS else "t" if b.slot >= ARENA else "ext"
        name = f"{head}{self.counts[head]}"
        self.counts[head] += 1
        if head == "t":
            place_ = "arena" if b.slot == ARENA else f"out{port - self.n_in}"
            self.temporaries[b] = BufferInfo(name, place_, b.offset, b.nbytes, number)
        return name

    def known(self, step: Step, number: int, eqns: Sequence[Eqn], sources: Sequence[Source]) -> None:
        """What temporaries that begin at this step hold."""
        results = {v.aval.nbytes: v.aval.strong for e in eqns for v in e.outs}
        for i, b in enumerate(step.buffers):
            info = self.temporaries.get(b)
            if info is None or info.first != number or info.type:
                continue
            info.source = sources[0] if sources else None
            if i < step.nouts and step.views:
                view = step.views[i]                    # the last entry of a stack may stand for all of it
                n = b.nbytes // (view.nbytes or 1)
                shape = view.shape if n == 1 else (n, *view.shape)
                whole = results.get(b.nbytes)
                info.type = str(whole) if whole is not None else f"{CODE[view.dtype]}{_dims(shape)}"

    def infos(self) -> list[BufferInfo]:
        return list(self.temporaries.values())


def _operand(name: str, offset: int, walk: Sequence[int]) -> str:
    return f"{name}{f'+{offset}' if offset else ''}{_dims(walk) if walk else ''}"


# ----- where in the user's code --------------------------------------------------------------


Source = tuple[str, int, str]


def sources(eqns: Sequence[Eqn]) -> list[Source]:
    return list(dict.fromkeys([src for e in eqns if (src := e.src) is not None]))


def place(source: Source) -> str:
    """``name.py:12``."""
    return f"{source[0].replace(chr(92), '/').rpartition('/')[2]}:{source[1]}"


# ----- instructions ---------------------------------------------------------------------------


def _group_code(step: Step, names: list[str]) -> Iterator[str]:
    """See ``kernels/group.c``: ``r`` are registers by byte offset, ``j`` what joins made."""
    ints = step.ints
    k, w, chunk, nbytes, before = ints[:5]
    yield f"blocks of [{k},{w}], {chunk} a chunk, {nbytes} bytes of registers a thread"
    at = 9
    kinds = ("", "by row ", "of rows ", "", "", "", "", "", "", "put into rows ")
    for i, (kernel, eqns) in enumerate(zip(step.data, step.members, strict=True)):
        op, n, words = ints[at:at + 3]
        values = [_value(ints[j], ints[j + 1], names) for j in range(at + 5, at + 5 + 4 * n, 4)]
        at += words
        text = f"{kernel} {', '.join(values[1:])}" if n > 1 else f"{kernel} {values[0]}"
        left = f"{values[0]} = " if n > 1 else ""
        src = sources(_equations(eqns))
        yield (f"{'once a chunk: ' if i < before else ''}{left}{kinds[op]}{text}"
               + (f"  # {place(src[0])}" if src else ""))


def _value(base: int, offset: int, names: list[str]) -> str:
    """An operand of a group's instruction: a register, memory, or what a join found in one place."""
    if not base:
        return f"r{offset}"
    return names[base - 1] if base <= len(names) else f"j{base - len(names)}"


_LABELS = {address: name.partition("*")[0] for name, address in scalar_labels().items()}
_PLAIN = {"move": 1}                    # operands of what the interpreter has beyond the op table


def _scalar_code(constants: Sequence[int], numbers: Sequence[int], names: Sequence[str],
                 ) -> Iterator[str]:
    """Instructions of the interpreter (kernels/scalar.c): ``r`` are registers of 8 bytes."""
    read: dict[int, str] = {}
    lines = []
    for label, word in zip(numbers[::2], numbers[1::2], strict=True):
        name = _LABELS[label]
        base, _, code = name.partition(":")
        d, a, b, c = [word >> s & 0xffff for s in (0, 16, 32, 48)]
        imm = word >> 32
        if base in ("ret", "unless", "turn"):
            lines.append({"ret": "end", "unless": f"end unless r{d}", "turn": "next turn"}[base])
        elif base == "load":
            lines.append(f"r{d} = {names[a]}+{imm} ({code})")
        elif base == "store":
            lines.append(f"{names[a]}+{imm} = r{d} ({code})")
            read.setdefault(d, code)
        elif base == "integer_pow":
            lines.append(f"r{d} = {name} r{a} {imm}")
            read.setdefault(a, code)
        else:
            arity = OPS[base].arity if base in OPS else _PLAIN.get(base, 3)
            operands = (a, b, c)[:arity]
            lines.append(f"r{d} = {name} {' '.join([f'r{x}' for x in operands])}")
            for x in operands[base == "select":]:
                read.setdefault(x, code.partition(":")[0])
    for i, bits in enumerate(constants):
        yield f"r{i} = {_constant(bits, read.get(i, 'i64'))}"
    yield from lines


def _constant(bits: int, code: str) -> str:
    if code in ("f64", "f32"):
        raw = struct.pack("<q", bits)
        return str(struct.unpack("<d", raw)[0] if code == "f64" else np.frombuffer(raw[:4], np.float32)[0])
    return str(bits)


def _words(step: Step, at: int = 0) -> tuple[Sequence[int], Sequence[int]]:
    """Constants and instructions of a scalar program; ``ints[at]`` is the number of constants."""
    numbers = struct.unpack(f"<{len(step.data) // 8}q", step.data)
    return numbers[:step.ints[at]], numbers[step.ints[at]:]


def _loop_code(step: Step, names: Sequence[str]) -> list[str]:
    ints: tuple[int, ...] = step.ints
    n_const, (n_fixed, n_moving, body_at, end_at) = ints[1], ints[3:7]
    which = [names[i] for i in ints[8:8 + n_fixed + n_moving]]
    code = list(_scalar_code(*_words(step, 1), which))
    body, end = n_const + body_at, n_const + end_at
    return ["before:", *["  " + t for t in code[:body]], "each turn:", *["  " + t for t in code[body:end]],
            "after:", *["  " + t for t in code[end:]]]
