"""What was seen of a layer: statistics over the steps, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import tree
from ..ops.monitoring import COLUMNS, EXTREMES, bucket_limits

COUNT, ZEROS, NONFINITE, SUM, SQUARES, MAX, MINUS_MIN = range(len(COLUMNS))
N = len(COLUMNS)


class Series:
    """Statistics of one array over the recorded steps: arrays with an element for each.

    Attributes:
      steps: the numbers of the steps.
      count: elements; zeros: the fraction of them that is zero; nonfinite: how many are infinite or nan.
      mean, std, min, max: of the finite elements; nan where there is none.
      norm: the square root of the sum of their squares; rms: of the mean of their squares.
      histograms: by step, ``(limits, counts)``: an element is in the first bucket whose limit is greater.
    """

    def __init__(self, steps: np.ndarray, rows: np.ndarray,
                 histograms: dict[int, tuple[np.ndarray, np.ndarray]]):
        self.steps, self.rows, self.histograms = steps, rows, histograms
        self.count = rows[:, COUNT]
        self.nonfinite = rows[:, NONFINITE]
        finite = self.count - self.nonfinite
        with np.errstate(all="ignore"):
            self.zeros = rows[:, ZEROS] / self.count
            self.mean = rows[:, SUM] / finite
            squares = rows[:, SQUARES] / finite
            self.rms = np.sqrt(squares)
            self.std = np.sqrt(np.maximum(squares - self.mean ** 2, 0.0))
            self.norm = np.where(finite > 0, np.sqrt(rows[:, SQUARES]), np.nan)
            self.max = np.where(finite > 0, rows[:, MAX], np.nan)
            self.min = np.where(finite > 0, -rows[:, MINUS_MIN], np.nan)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        if not len(self):
            return "Series(nothing recorded)"
        return (f"Series({len(self)} steps; last: norm {self.norm[-1]:.3g}, rms {self.rms[-1]:.3g}, "
                f"{100 * self.zeros[-1]:.0f} % zero, {int(self.nonfinite[-1])} not finite)")


class Layer:
    """What was seen under one name.

    Attributes:
      name: of the tag, or of the parameter.
      activation: the Series of the tagged value; None for a parameter.
      gradient: that of the gradient by it; None if nothing was differentiated.
      tangent: that of the tangent, in forward mode; else None.
    """

    def __init__(self, name: str, activation: Series | None, gradient: Series | None, tangent: Series | None):
        self.name, self.activation, self.gradient, self.tangent = name, activation, gradient, tangent

    def __repr__(self) -> str:
        found = [f"{what}={s!r}" for what, s in (("activation", self.activation), ("gradient", self.gradient),
                                                 ("tangent", self.tangent)) if s is not None]
        return f"Layer({self.name!r}, {', '.join(found)})"


class Rows:
    """The statistics of a call: a matrix, its layout (see ``collect``), and the number of the step."""

    __slots__ = ("layout", "matrix", "step")

    def __init__(self, layout: Any, matrix: Any):
        self.layout, self.matrix, self.step = layout, matrix, -1


tree.register_node(Rows, lambda r: ((r.matrix,), r.layout), lambda layout, kids: Rows(layout, kids[0]))


def merged(rows: np.ndarray) -> np.ndarray:
    """Rows of parts of an array as the row of all of it."""
    if len(rows) == 1:
        return rows[0]
    row = np.sum(rows, axis=0)
    extremes = list(EXTREMES)
    row[extremes] = np.max(rows[:, extremes], axis=0)
    return row


def series(records: list[Rows], key: Any) -> Series | None:
    """The Series of a key; None where no record has it."""
    steps, rows, histograms = [], [], {}
    limits = bucket_limits()
    layout, at = None, []
    for r in records:
        if r.layout is not layout:
            layout, at = r.layout, [i for i, k in enumerate(r.layout.rows) if k == key]
        if not at:
            continue
        row = r.matrix[at[0]] if len(at) == 1 else merged(r.matrix[at])
        steps.append(r.step)
        rows.append(row[:N])
        if len(row) > N:
            histograms[r.step] = limits, row[N:]
    return Series(np.array(steps), np.array(rows), histograms) if steps else None
