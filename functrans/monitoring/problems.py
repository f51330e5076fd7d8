"""What is wrong with gradients: they vanish, explode, or are not finite."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import errors
from .collect import Key, Layout
from .layers import COUNT, NONFINITE, SQUARES, N, Rows, merged


class MonitorWarning(UserWarning):
    """A gradient vanishes, explodes, or is not finite."""


def names_of(layout: Layout, parameters: bool) -> list[str]:
    """Layers or parameters, in the order of the forward pass; without it, the backward pass has them in
    reverse."""
    keys = [k for k in layout.order if k.parameter is parameters]
    forward = [k.name for k in keys if k.kind == "value" or parameters]
    return list(dict.fromkeys(forward or [k.name for k in reversed(keys)]))


class _Gradients:
    """Of a layout: the layers whose gradients are compared, or parameters, and their rows."""

    def __init__(self, layout: Layout, parameters: bool):
        self.parameters = parameters
        places: dict[str, list[int]] = {}
        for i, k in enumerate(layout.rows):
            if k.kind == "gradient" and k.parameter is parameters:
                places.setdefault(k.name, []).append(i)
        self.names = [n for n in names_of(layout, parameters) if n in places]
        self.rows = [places[n] for n in self.names]
        self.several = any([len(r) > 1 for r in self.rows])
        self.first = [r[0] for r in self.rows]

    def rms(self, matrix: np.ndarray) -> np.ndarray:
        """Of each gradient; nan where no element is finite."""
        rows = np.array([merged(matrix[r]) for r in self.rows]) if self.several else matrix[self.first]
        with np.errstate(all="ignore"):
            return np.sqrt(rows[:, SQUARES] / (rows[:, COUNT] - rows[:, NONFINITE]))


class Judge:
    """Looks at records and warns, once for each layer and problem."""

    def __init__(self, vanishing: float, exploding: float, warn: bool):
        self.vanishing, self.exploding, self.warn = vanishing, exploding, warn
        self.layouts: dict[Layout, tuple[_Gradients, _Gradients]] = {}
        self.reset()

    def reset(self) -> None:
        self.first: dict[tuple[str, bool], float] = {}
        self.met: set[tuple[str, str]] = set()

    def look(self, records: Sequence[Rows]) -> None:
        """At each of these for what is not finite; at the last one for the rest."""
        if not records:
            return
        finite = not np.concatenate([r.matrix[:, :N] for r in records])[:, NONFINITE].any()
        for r in () if finite else records:
            for i in np.flatnonzero(r.matrix[:, NONFINITE]):
                self._not_finite(r.layout.rows[i], r.matrix[i], r.step)
        r = records[-1]
        pair = self.layouts.get(r.layout)
        if pair is None:
            pair = self.layouts[r.layout] = _Gradients(r.layout, False), _Gradients(r.layout, True)
        for g in pair:
            if g.names:
                # of parameters, whose order says nothing, only the growth where layers tell more
                self._compare(g, g.rms(r.matrix), r.step, alone=g is pair[0] or not pair[0].names)

    def _compare(self, g: _Gradients, rms: np.ndarray, step: int, alone: bool) -> None:
        finite = np.where(np.isfinite(rms), rms, 0.0)
        at = int(np.argmax(finite)) if g.parameters else len(rms) - 1
        last = finite[at]
        first = np.array([self.first.setdefault((n, g.parameters), float(x))
                          for n, x in zip(g.names, rms, strict=True)])
        if alone and last > 0:
            for i in np.flatnonzero(rms < self.vanishing * last):
                self._say(g.names[i], "vanishing", f"vanishing gradient: that of {g.names[i]!r} has rms "
                          f"{rms[i]:.2g} at step {step}, {rms[i] / last:.1g} times that of {g.names[at]!r}.",
                          "Common remedies: relu or the like with He initialisation, normalisation, residual "
                          "connections.")
            if not g.parameters:
                for i in np.flatnonzero(rms > self.exploding * last):
                    self._say(g.names[i], "exploding", f"exploding gradient: that of {g.names[i]!r} has rms "
                              f"{rms[i]:.2g} at step {step}, {rms[i] / last:.1g} times that of "
                              f"{g.names[at]!r}.",
                              "Common remedies: smaller initial weights, normalisation, clipping by norm.")
        for i in np.flatnonzero((first > 0) & (rms > self.exploding * first)):
            self._say(g.names[i], "exploding", f"exploding gradient: that of {g.names[i]!r} has rms "
                      f"{rms[i]:.2g} at step {step}, {rms[i] / first[i]:.1g} times that of the first step.",
                      "Common remedies: a smaller learning rate, clipping by norm.")

    def _not_finite(self, key: Key, row: np.ndarray, step: int) -> None:
        what = "activation" if key.kind == "value" else key.kind
        self._say(key.name, "nonfinite", f"the {what} of {key.name!r} has {int(row[NONFINITE])} elements of "
                  f"{int(row[COUNT])} that are infinite or nan, at step {step}.",
                  "functrans.debug_nans() finds the line.")

    def _say(self, name: str, problem: str, text: str, fix: str) -> None:
        if (name, problem) in self.met:
            return
        self.met.add((name, problem))
        if self.warn:
            user, depth = errors.user_frame(), 1
            frame: Any = sys._getframe()
            while frame is not None and frame is not user:
                frame, depth = frame.f_back, depth + 1
            warnings.warn(f"{text}\n  {fix}", MonitorWarning, stacklevel=depth)
