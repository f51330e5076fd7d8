"""Nodes coloured by what a profile says that they take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .. import errors
from ..calling.staging import Pass
from ..inspection.profiling import Profile, StepTime, duration
from ..ir.core import Eqn
from ..ir.op import work_of
from ..plan.describe import Plan, PlanStep, plan_of
from .model import Node, Picture
from .origins import Mark, Origins, last_mark
from .svg import heat_colour


def colour(picture: Picture, origins: Origins, profile: Profile, by: str) -> None:
    """Sets ``heat`` and says in the titles what each node takes.

    The program is planned once more, with the marks of its equations: step by step it is the plan of the
    profile. What a step takes is shared by its equations, in proportion to their work.
    """
    plan = plan_of(Pass(origins.jaxpr, None).final)
    nodes: dict[Mark, list[Node]] = defaultdict(list)
    for n in picture.nodes:
        mark = last_mark(n.eqn) if n.eqn is not None and n.kind == "op" else None
        if mark is not None:
            nodes[mark].append(n)
    taken: dict[Node, float] = defaultdict(float)
    words: dict[Node, list[str]] = defaultdict(list)
    total = 0.0
    for path, step, timed, outermost in _steps(plan, profile.plan, profile.steps):
        amount = timed.seconds if by == "time" else float(timed.bytes)
        total += amount if outermost else 0.0
        here: dict[Node, float] = defaultdict(float)
        for e in step.eqns:
            mark = last_mark(e)
            drawn = nodes.get(mark, []) if mark is not None else []
            for n in drawn:
                here[n] += _work(e) / len(drawn)
        whole = sum(here.values())
        for n, part in here.items():
            taken[n] += amount * part / whole
            others = f" with {len(here) - 1} other{'s' * (len(here) > 2)}" if len(here) > 1 else ""
            words[n].append(f"step {path} ({step.kind}){others}: {_said(amount, by)}")
    if total <= 0.0:
        raise errors.DrawingError(f"viz.draw: the profile has no {by} to show.", "Profile more repeats.")
    for n in picture.nodes:
        for box in n.boxes():
            if box.kind == "scope":
                taken[box] += taken[n] if n in taken else 0.0
    for n in picture.nodes:
        if n.kind in ("op", "scope"):
            share = taken[n] / total
            n.heat = min(share, 1.0) ** 0.5
            n.title += "\n".join(["", f"{_said(taken[n], by)}, {share:.1%} of all", *words[n]])
    name = "time" if by == "time" else "bytes moved"
    picture.legend += [(heat_colour(s ** 0.5), f"{s:.0%}") for s in (0.0, 0.03, 0.1, 0.3, 1.0)]
    picture.legend[-1] = picture.legend[-1][0], f"100% of {name} ({_said(total, by)})"


def _said(amount: float, by: str) -> str:
    return duration(amount) if by == "time" else f"{amount:,.0f} bytes"


def _work(e: Eqn) -> float:
    flops, transcendentals = work_of(e.sig)
    moved = sum([a.size for a in (*e.sig.in_avals, *e.sig.outs)])
    return 1.0 + flops + 10.0 * transcendentals + moved


def _steps(plan: Plan, other: Plan, timed: list[StepTime], prefix: str = "", outermost: bool = True,
           ) -> Iterator[tuple[str, PlanStep, StepTime, bool]]:
    """The steps of a plan with those of the profile's plan."""
    if [_same(s) for s in plan.steps] != [_same(s) for s in other.steps]:
        raise errors.DrawingError("viz.draw: the profile is of another program.",
                                  "Profile the function that is drawn, with arguments of the same types.")
    for s, o, t in zip(plan.steps, other.steps, timed, strict=True):
        yield f"{prefix}{s.number}", s, t, outermost
        body = iter(t.body)
        for (name, inner), (_, there) in zip(s.bodies, o.bodies, strict=True):
            own = [next(body) for _ in there.steps]
            yield from _steps(inner, there, own, f"{prefix}{s.number}.{name.replace(' ', '')}.", False)


def _same(s: PlanStep) -> Any:
    return s.kernel, s.shape, len(s.eqns), len(s.bodies)
