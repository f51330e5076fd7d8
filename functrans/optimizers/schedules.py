"""Learning rates that change: functions of the number of updates so far (0 at the first), to a number.

Names and arguments are those of Optax. Counts may be traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import errors
from ..calling.staging import api
from ..numpy.core import convert
from .base import number, whole

Schedule = Callable[[Any], Any]


def _rate(x, name):
    return number(x, name, 0.0, open_high=True)


def _since(count, begin, steps):
    """The part in [0, 1] of a transition that is over."""
    return np.clip(convert(count, np.float64) - begin, 0.0, float(steps)) / steps


@api
def constant_schedule(value: Any) -> Schedule:
    """Always ``value``.

    >>> from functrans.optimizers import constant_schedule
    >>> constant_schedule(0.1)(7)
    0.1
    """
    _rate(value, "constant_schedule: value")
    return lambda count: value


@api
def polynomial_schedule(init_value: Any, end_value: Any, power: Any, transition_steps: int,
                        transition_begin: int = 0) -> Schedule:
    """``(init_value - end_value) * (1 - part)**power + end_value``, with part going from 0 to 1 in
    transition_steps.

    >>> from functrans.optimizers import polynomial_schedule
    >>> rate = polynomial_schedule(1.0, 0.0, 2, transition_steps=10)
    >>> [float(rate(i)) for i in (0, 5, 10, 20)]
    [1.0, 0.25, 0.0, 0.0]
    """
    _rate(init_value, "polynomial_schedule: init_value")
    _rate(end_value, "polynomial_schedule: end_value")
    number(power, "polynomial_schedule: power", 0.0, open_low=True)
    steps = whole(transition_steps, "polynomial_schedule: transition_steps", 1)
    begin = whole(transition_begin, "polynomial_schedule: transition_begin", 0)
    return lambda count: (init_value - end_value) * (1.0 - _since(count, begin, steps)) ** power + end_value


@api
def linear_schedule(init_value: Any, end_value: Any, transition_steps: int,
                    transition_begin: int = 0) -> Schedule:
    """From ``init_value`` to ``end_value`` along a line: ``polynomial_schedule`` of power 1.

    >>> from functrans.optimizers import linear_schedule
    >>> rate = linear_schedule(0.0, 1.0, transition_steps=4)
    >>> [float(rate(i)) for i in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


@api
def exponential_decay(init_value: Any, transition_steps: int, decay_rate: Any, transition_begin: int = 0,
                      staircase: bool = False, end_value: Any = None) -> Schedule:
    """``init_value * decay_rate**(count / transition_steps)``; in whole steps of that if ``staircase``.

    Args:
      decay_rate: below 1 for rates that fall.
      end_value: where it stops: the least rate if ``decay_rate < 1``, else the largest.

    >>> from functrans.optimizers import exponential_decay
    >>> rate = exponential_decay(1.0, transition_steps=10, decay_rate=0.25, end_value=0.1)
    >>> [float(rate(i)) for i in (0, 5, 10, 100)]
    [1.0, 0.5, 0.25, 0.1]
    """
    _rate(init_value, "exponential_decay: init_value")
    number(decay_rate, "exponential_decay: decay_rate", 0.0, open_low=True, open_high=True)
    steps = whole(transition_steps, "exponential_decay: transition_steps", 1)
    begin = whole(transition_begin, "exponential_decay: transition_begin", 0)
    if end_value is not None:
        _rate(end_value, "exponential_decay: end_value")

    def schedule(count):
        turns = np.maximum(convert(count, np.float64) - begin, 0.0) / steps
        rate = init_value * decay_rate ** (np.floor(turns) if staircase else turns)
        if end_value is None:
            return rate
        low, high = np.maximum(rate, end_value), np.minimum(rate, end_value)
        return np.where(np.less(decay_rate, 1.0), low, high)[()]
    return schedule


@api
def cosine_decay_schedule(init_value: Any, decay_steps: int, alpha: Any = 0.0,
                          exponent: Any = 1.0) -> Schedule:
    """Half a cosine from ``init_value`` to ``alpha * init_value`` (Loshchilov, Hutter 2017), then constant.

    >>> from functrans.optimizers import cosine_decay_schedule
    >>> rate = cosine_decay_schedule(0.2, decay_steps=10, alpha=0.5)
    >>> [round(float(rate(i)), 6) for i in (0, 5, 10, 20)]
    [0.2, 0.15, 0.1, 0.1]
    """
    _rate(init_value, "cosine_decay_schedule: init_value")
    _rate(alpha, "cosine_decay_schedule: alpha")
    number(exponent, "cosine_decay_schedule: exponent", 0.0, open_low=True)
    steps = whole(decay_steps, "cosine_decay_schedule: decay_steps", 1)

    def schedule(count):
        part = 0.5 * (1.0 + np.cos(np.pi * _since(count, 0, steps)))
        return init_value * ((1.0 - alpha) * part ** exponent + alpha)
    return schedule


@api
def piecewise_constant_schedule(init_value: Any,
                                boundaries_and_scales: Mapping[int, Any] | None = None) -> Schedule:
    """``init_value``, multiplied by a factor from each boundary on.

    Args:
      boundaries_and_scales: ``{count: factor}``.

    >>> from functrans.optimizers import piecewise_constant_schedule
    >>> rate = piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.5})
    >>> [float(rate(i)) for i in (9, 10, 25)]
    [1.0, 0.5, 0.25]
    """
    _rate(init_value, "piecewise_constant_schedule: init_value")
    steps = []
    for boundary, factor in (boundaries_and_scales or {}).items():
        steps.append((whole(boundary, "piecewise_constant_schedule: a boundary", 0),
                      _rate(factor, f"piecewise_constant_schedule: the scale at {boundary}")))

    def schedule(count):
        rate = init_value
        for boundary, factor in steps:
            rate = rate * np.where(np.greater_equal(count, boundary), factor, 1.0)[()]
        return rate
    return schedule


@api
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another; each counts from its own beginning.

    Args:
      boundaries: the counts at which the second, third ... begins.

    >>> from functrans.optimizers import constant_schedule, join_schedules, linear_schedule
    >>> rate = join_schedules([linear_schedule(0.0, 1.0, 2), constant_schedule(0.5)], [3])
    >>> [float(rate(i)) for i in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.5]
    """
    parts = tuple(schedules)
    at = [whole(b, "join_schedules: a boundary", 0) for b in boundaries]
    if len(parts) != len(at) + 1 or not all([callable(s) for s in parts]) or at != sorted(at):
        raise errors.ArgumentError(f"join_schedules: {len(parts)} schedules, boundaries {list(boundaries)}.",
                                   "Give schedules (functions of the count) and one boundary less, rising.")

    def schedule(count):
        rate = parts[0](count)
        for boundary, part in zip(at, parts[1:], strict=True):
            rate = np.where(np.less(count, boundary), rate, part(count - boundary))[()]
        return rate
    return schedule


@api
def warmup_cosine_decay_schedule(init_value: Any, peak_value: Any, warmup_steps: int, decay_steps: int,
                                 end_value: Any = 0.0, exponent: Any = 1.0) -> Schedule:
    """A line from ``init_value`` up to ``peak_value``, then half a cosine down to ``end_value``.

    Args:
      decay_steps: of both parts together: so many updates from the first to the last.

    >>> from functrans.optimizers import warmup_cosine_decay_schedule
    >>> rate = warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=30)
    >>> [round(float(rate(i)), 6) for i in (0, 5, 10, 20, 30)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    name = "warmup_cosine_decay_schedule"
    _rate(end_value, f"{name}: end_value")
    number(peak_value, f"{name}: peak_value", 0.0, open_low=True, open_high=True)
    warm = whole(warmup_steps, f"{name}: warmup_steps", 1)
    total = whole(decay_steps, f"{name}: decay_steps", warm + 1)
    fall = cosine_decay_schedule(peak_value, total - warm, end_value / peak_value, exponent)
    return join_schedules([linear_schedule(init_value, peak_value, warm), fall], [warm])
