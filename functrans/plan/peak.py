"""Which buffers are alive when a plan needs most memory, and the lines that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .describe import BufferInfo, Plan, Source, place


class LiveBuffer(NamedTuple):
    """A piece of memory that is needed when a plan needs most.

    Attributes:
      name: as in the plan; of loops and branches inside behind the step's number and the body's name.
      kind: ``"argument"``, ``"output"`` or ``"temporary"``.
      nbytes, type: its size, and e.g. ``f64[500,16]``; a work space has no type.
      source: ``(file, line, function)`` of what writes it first; None for arguments.
    """

    name: str
    kind: str
    nbytes: int
    type: str
    source: Source | None

    def __str__(self) -> str:
        where = f"  # {place(self.source)}" if self.source else ""
        return f"{self.nbytes:>14,}  {self.kind:10} {self.name:12} {self.type}{where}"


def live_at_peak(plan: Plan) -> tuple[str, tuple[LiveBuffer, ...]]:
    """The step at which most of the temporaries are alive (empty without any), and all that is alive then,
    the largest first."""
    names, jaxpr = plan.jaxpr.names or (), plan.jaxpr
    found = [LiveBuffer(names[i] if i < len(names) else f"in{i}", "argument", a.nbytes, str(a), None)
             for i, a in enumerate(jaxpr.in_avals)]
    given = {o for _, o, _ in plan.program.given}
    writers: dict[str, Source | None] = {}
    for s in plan.steps:
        for text in s.operands[:s.n_outs]:
            writers.setdefault(text.partition("[")[0].partition("+")[0], s.sources[0] if s.sources else None)
    found += [LiveBuffer(f"out{o}", "output", a.nbytes, str(a), writers.get(f"out{o}"))
              for o, a in enumerate(jaxpr.out_avals) if o not in given]
    number, temporaries = _most(plan)
    found += temporaries
    at = ""
    if number is not None:
        s = plan.steps[number]
        at = f"step {number}: {s.kind}" + (f"  # {place(s.sources[0])}" if s.sources else "")
    return at, tuple(sorted(found, key=lambda b: -b.nbytes))


def _most(plan: Plan, prefix: str = "") -> tuple[int | None, list[LiveBuffer]]:
    """The step with most bytes of the arena alive, and its temporaries."""
    arena = [b for b in plan.buffers if b.place == "arena" and b.nbytes]
    if not arena:
        return None, []
    ends = sorted({b.first for b in arena} | {b.last for b in arena})
    number = max(ends, key=lambda n: _covered([b for b in arena if b.first <= n <= b.last]))
    step, found = plan.steps[number], []
    work = None
    for b in _topmost([b for b in arena if b.first <= number <= b.last]):
        if not b.type and b.first == b.last == number and step.bodies:
            work = b
        else:
            found.append(LiveBuffer(prefix + b.name, "temporary", b.nbytes, b.type or "work space", b.source))
    if work is not None:
        inside: list[LiveBuffer] = max([_most(p, f"{prefix}{number}.{name}.")[1] for name, p in step.bodies],
                                       key=lambda bs: sum([b.nbytes for b in bs]))
        rest = work.nbytes - sum([b.nbytes for b in inside])
        found += inside
        if rest > 0:
            found.append(LiveBuffer(prefix + work.name, "temporary", rest, "work space", work.source))
    return number, found


def _spans(buffers: list[BufferInfo]) -> Iterator[tuple[int, int]]:
    end = 0
    for b in sorted(buffers, key=lambda b: b.offset):
        if b.offset + b.nbytes > end:
            yield max(b.offset, end), b.offset + b.nbytes
            end = b.offset + b.nbytes


def _covered(buffers: list[BufferInfo]) -> int:
    return sum([end - start for start, end in _spans(buffers)])


def _topmost(buffers: list[BufferInfo]) -> list[BufferInfo]:
    """Without those that another one is being written over."""
    def within(a: BufferInfo, b: BufferInfo) -> bool:
        return b.offset <= a.offset and a.offset + a.nbytes <= b.offset + b.nbytes
    return [a for i, a in enumerate(buffers)
            if not any(b is not a and within(a, b) and (not within(b, a) or j > i)
                       for j, b in enumerate(buffers))]
