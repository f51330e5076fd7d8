"""Where the time of a call goes: each step of the plan with the user's line, its time and its rates."""

from __future__ import annotations

import linecache
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from .. import errors, tree
from ..api.compilation import Jitted, jit
from ..calling.staging import api, check_callable, name_of
from ..plan import Program
from ..plan.control import Clock
from ..plan.describe import Cost, Plan, PlanStep, clock_step, place, plan_of
from ..plan.run import Step

SECONDS = 0.3               # of runs, unless ``repeats`` says how many
LEAST, MOST = 3, 200
LINES = 6                   # source lines shown of a step


class StepTime:
    """One step of a profile.

    Attributes:
      path: its place: ``"2"``, or ``"2.body.0"`` for a step inside the loop that is step 2.
      kind, kernel, shape: as in the plan.
      seconds: wall time in one call, all its runs together; a loop's includes its body.
      runs: how often it ran in one call; share: its part of the time of all steps.
      flops, transcendentals, bytes: what it took in one call, from the cost analysis.
      sources: ``(file, line, code)`` of the user's lines that it computes.
      body: the steps inside a loop or branch; code: instructions of a group or scalar program.
    """

    def __init__(self, step: PlanStep, path: str, seconds: float, runs: int, body: list[StepTime]):
        self.path, self.kind, self.kernel, self.shape = path, step.kind, step.kernel, step.shape
        self.seconds, self.runs, self.body, self.code = seconds, runs, body, step.code()
        self.share = 0.0
        self.cost: Cost = sum([b.cost for b in body], Cost()) if step.bodies else step.cost * runs
        cost = self.cost
        self.flops, self.transcendentals, self.bytes = cost.flops, cost.transcendentals, cost.bytes
        self.sources = [(file, line, linecache.getline(file, line).strip())
                        for file, line, _ in step.sources]

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations a second."""
        return self.flops / self.seconds / 1e9 if self.seconds > 0 else 0.0

    @property
    def gbytes(self) -> float:
        """Billions of bytes of operands a second."""
        return self.bytes / self.seconds / 1e9 if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain objects."""
        names = ("path", "kind", "kernel", "seconds", "runs", "share", "flops", "transcendentals", "bytes",
                 "gflops", "gbytes", "sources", "code")
        return {**{n: getattr(self, n) for n in names}, "shape": list(self.shape),
                "body": [b.to_dict() for b in self.body]}

    def __repr__(self) -> str:
        return f"<step {self.path} {self.kernel}: {duration(self.seconds)}, {self.share:.1%}>"


class Profile:
    """What ``functrans.profile`` returns; prints.

    Attributes:
      steps: a ``StepTime`` for each step of the plan, in program order; loops hold their bodies.
      total: seconds of one call of the plan without clocks, the median of ``repeats`` runs.
      outside: seconds of it that are in no step: taking arguments, allocating results.
      plan: the plan that was timed.
    """

    def __init__(self, name: str, plan: Plan, steps: list[StepTime], total: float, repeats: int):
        self.name, self.plan, self.steps, self.total, self.repeats = name, plan, steps, total, repeats
        inside = sum([s.seconds for s in steps])
        self.outside = max(total - inside, 0.0)
        for s in self._all(steps):
            s.share = s.seconds / inside if inside else 0.0

    def _all(self, steps: list[StepTime]) -> Iterator[StepTime]:
        for s in steps:
            yield s
            yield from self._all(s.body)

    def show(self, sort: str = "program", most: int | None = None) -> str:
        """The profile as text.

        Args:
          sort: ``"program"`` order, or by ``"time"``: all steps, also those inside loops, the
            slowest first.
          most: how many steps are shown.
        """
        if sort not in ("program", "time"):
            raise errors.ArgumentError(f"profile.show: sort={sort!r}.", "Write 'program' or 'time'.")
        rows = list(self._all(self.steps))
        if sort == "time":
            rows.sort(key=lambda s: -s.seconds)
        lines = [f"{self.name}: {duration(self.total)} a call (median of {self.repeats}), "
                 f"{duration(self.outside)} of it outside of steps",
                 f"{'time':>10} {'share':>6} {'runs':>7} {'GFLOP/s':>8} {'GB/s':>7}  step"]
        for s in rows[:most]:
            pad = "" if sort == "time" else "    " * s.path.count(".")
            shape = f" [{','.join(map(str, s.shape))}]" if s.shape else ""
            what = s.kind if s.kind == s.kernel or s.kind.startswith("scalar") else s.kernel
            lines.append(f"{duration(s.seconds):>10} {s.share:6.1%} {s.runs:7} {s.gflops:8.2f} "
                         f"{s.gbytes:7.2f}  {pad}{s.path} {what}{shape}")
            shown = s.sources[:LINES] if not s.body else s.sources[:1]
            for file, line, code in shown:
                lines.append(f"{'':44}{pad}{place((file, line, ''))}  {code}")
            if not s.body and len(s.sources) > LINES:
                lines.append(f"{'':44}{pad}... {len(s.sources) - LINES} more lines")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.show()

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain objects, for JSON."""
        return {"name": self.name, "total": self.total, "outside": self.outside, "repeats": self.repeats,
                "steps": [s.to_dict() for s in self.steps]}


def duration(seconds: float) -> str:
    """``1.23 ms``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


@api
def profile(fun: Callable, *args, repeats: int | None = None, **kwargs) -> Profile:
    """Runs ``fun`` and says which step of its plan, and so which line of yours, took how long.

    Args:
      fun: any function that ``jit`` takes; jitted ones and those made by ``grad`` and others too. It
        is compiled as ``jit(fun)`` would be.
      args, kwargs: what it is called with.
      repeats: how often it runs; by default for about 0.3 s. Times are medians over the runs.

    Each step is timed on its own (wall time, all threads), by a copy of the plan that has clocks between
    its steps; plans that are not profiled have none. What several lines share after fusion is listed
    with all of them. Steps inside loops count all their turns.

    >>> import numpy as np
    >>> import functrans
    >>> def f(x):
    ...     return np.sum(np.sin(x) ** 2)
    >>> p = functrans.profile(f, np.ones(100_000), repeats=3)
    >>> [(s.kind, s.runs, s.transcendentals) for s in p.steps]
    [('group', 1, 100000)]
    """
    check_callable(fun, "profile")
    if repeats is not None and (type(repeats) is not int or repeats < 1):
        raise errors.ArgumentError(f"profile: repeats={repeats!r}.", "Pass a positive integer.")
    jitted = fun if isinstance(fun, Jitted) else jit(fun)
    lowered = jitted.lower(*args, **kwargs)
    _, dynamic, keywords = jitted.split(args, kwargs)
    values = [*tree.leaves((dynamic, keywords)), *lowered.values]
    plain = lowered.version.run_pass.compiled()
    plan = plan_of(lowered.jaxpr, clocks=True)
    clocks = list(_clocks(plan))
    plain.run(values)
    plan.program.run(values)                        # fills caches and pools
    totals: list[float] = []
    samples: list[list[tuple[float, int]]] = []
    ends = time.perf_counter() + SECONDS
    while len(totals) < (repeats or LEAST) or (
            repeats is None and len(totals) < MOST and time.perf_counter() < ends):
        began = time.perf_counter()
        plain.run(values)
        totals.append(time.perf_counter() - began)
        for c in clocks:
            c.reset()
        plan.program.run(values)
        samples.append([(c.seconds, c.runs) for c in clocks])
    times = {c: (statistics.median([s[i][0] for s in samples]), samples[-1][i][1])
             for i, c in enumerate(clocks)}
    steps, _ = _times(plan, times, "")
    return Profile(name_of(jitted.fun), plan, steps, statistics.median(totals), len(totals))


def _clocks(plan: Plan) -> Iterator[Clock]:
    for s in plan.steps:
        yield s.clock
        for _, inner in s.bodies:
            yield from _clocks(inner)


def _times(plan: Plan, times: dict[Clock, tuple[float, int]], prefix: str) -> tuple[list[StepTime], int]:
    """Times of the steps without that of the clocks, and how often a clock was read."""
    found, reads = [], 0
    for s in plan.steps:
        seconds, runs = times[s.clock]
        body, inner = [], 0
        for name, p in s.bodies:
            inside, n = _times(p, times, f"{prefix}{s.number}.{name.replace(' ', '')}.")
            body += inside
            inner += n
        found.append(StepTime(s, f"{prefix}{s.number}", max(seconds - (runs + inner) * _clock_cost(), 0.0),
                              runs, body))
        reads += runs + inner
    if plan.steps:
        reads += times[plan.steps[0].clock][1]      # the clock before the first step
    return found, reads


@cache
def _clock_cost() -> float:
    """Seconds that one clock step takes."""
    first = Clock()
    clocks = [Clock(first) for _ in range(1000)]
    steps: list[Step] = [clock_step(c) for c in (first, *clocks)]
    program = Program(steps, (), (), b"", (), 0)
    program.run([])
    for c in clocks:
        c.reset()
    program.run([])
    return statistics.median([c.seconds for c in clocks])
