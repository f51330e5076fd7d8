"""Twelve classic optimization problems, with the least values that their collections give.

Sources: J. J. More, B. S. Garbow, K. E. Hillstrom, Testing Unconstrained Optimization Software, ACM TOMS 7
(1981): MGH; W. Hock, K. Schittkowski, Test Examples for Nonlinear Programming Codes (1981): HS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A problem.

    Attributes:
      fun: of a vector; residuals for ``method`` of least_squares.
      least: the least value (of half the sum of squares, for residuals).
      method: the one that is used; ``plain``: SciPy's with finite differences, where that is another one.
      bounds: a pair per element; constraints: dicts.
    """

    name: str
    source: str
    fun: Callable
    x0: Any
    least: float
    method: str
    plain: str = ""
    bounds: Any = None
    constraints: Any = ()

    @property
    def residuals(self) -> bool:
        return self.method in ("trf", "dogbox", "lm")


def rosenbrock(x):
    a, b = x[0::2], x[1::2]
    return np.sum(100 * (b - a ** 2) ** 2 + (1 - a) ** 2)


def powell(x):
    a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
    return np.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def wood(x):
    a, b, c, d = x[0], x[1], x[2], x[3]
    return (100 * (b - a ** 2) ** 2 + (1 - a) ** 2 + 90 * (d - c ** 2) ** 2 + (1 - c) ** 2
            + 10 * (b + d - 2) ** 2 + 0.1 * (b - d) ** 2)


def beale(x):
    i = np.arange(1, 4)
    return np.sum((np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** i)) ** 2)


def broyden(x):
    wide = np.pad(x, 1)
    return np.sum(((3 - 2 * x) * x - wide[:-2] - 2 * wide[2:] + 1) ** 2)


def hs110(x):
    return np.sum(np.log(x - 2) ** 2 + np.log(10 - x) ** 2) - np.prod(x) ** 0.2


def hs71(x):
    return x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]


def hs100(x):
    return ((x[0] - 10) ** 2 + 5 * (x[1] - 12) ** 2 + x[2] ** 4 + 3 * (x[3] - 11) ** 2 + 10 * x[4] ** 6
            + 7 * x[5] ** 2 + x[6] ** 4 - 4 * x[5] * x[6] - 10 * x[5] - 8 * x[6])


def hs100_rows(x):
    return np.stack([
        127 - 2 * x[0] ** 2 - 3 * x[1] ** 4 - x[2] - 4 * x[3] ** 2 - 5 * x[4],
        282 - 7 * x[0] - 3 * x[1] - 10 * x[2] ** 2 - x[3] + x[4],
        196 - 23 * x[0] - x[1] ** 2 - 6 * x[5] ** 2 + 8 * x[6],
        -4 * x[0] ** 2 - x[1] ** 2 + 3 * x[0] * x[1] - 2 * x[2] ** 2 - 5 * x[5] + 11 * x[6]])


def hs113(x):
    return (x[0] ** 2 + x[1] ** 2 + x[0] * x[1] - 14 * x[0] - 16 * x[1] + (x[2] - 10) ** 2
            + 4 * (x[3] - 5) ** 2 + (x[4] - 3) ** 2 + 2 * (x[5] - 1) ** 2 + 5 * x[6] ** 2
            + 7 * (x[7] - 11) ** 2 + 2 * (x[8] - 10) ** 2 + (x[9] - 7) ** 2 + 45)


def hs113_rows(x):
    return np.stack([
        105 - 4 * x[0] - 5 * x[1] + 3 * x[6] - 9 * x[7],
        -10 * x[0] + 8 * x[1] + 17 * x[6] - 2 * x[7],
        8 * x[0] - 2 * x[1] - 5 * x[8] + 2 * x[9] + 12,
        -3 * (x[0] - 2) ** 2 - 4 * (x[1] - 3) ** 2 - 2 * x[2] ** 2 + 7 * x[3] + 120,
        -5 * x[0] ** 2 - 8 * x[1] - (x[2] - 6) ** 2 + 2 * x[3] + 40,
        -0.5 * (x[0] - 8) ** 2 - 2 * (x[1] - 4) ** 2 - 3 * x[4] ** 2 + x[5] + 30,
        -x[0] ** 2 - 2 * (x[1] - 2) ** 2 + 2 * x[0] * x[1] - 14 * x[4] + 6 * x[5],
        3 * x[0] - 6 * x[1] - 12 * (x[8] - 8) ** 2 + 7 * x[9]])


OSBORNE = np.array([
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628,
    0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420,
    0.414, 0.411, 0.406])


def osborne(x):
    t = 10.0 * np.arange(33)
    return OSBORNE - (x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4]))


def watson(x):
    n = 6
    t = np.arange(1, 30)[:, None] / 29
    slope = np.sum(np.arange(1, n) * x[1:] * t ** np.arange(n - 1), 1)
    value = np.sum(x * t ** np.arange(n), 1)
    return np.concatenate([slope - value ** 2 - 1, x[:1], x[1:2] - x[:1] ** 2 - 1])


ROWS_71 = ({"type": "ineq", "fun": lambda x: np.prod(x) - 25},
           {"type": "eq", "fun": lambda x: np.sum(x ** 2) - 40})
PAIRS = np.tile([-1.2, 1.0], 5)
CASES = [
    Case("Rosenbrock, 10", "MGH 21", rosenbrock, PAIRS, 0.0, "BFGS"),
    Case("Powell, 8", "MGH 22", powell, np.tile([3.0, -1.0, 0.0, 1.0], 2), 0.0, "BFGS"),
    Case("Wood, 4", "MGH 14", wood, np.array([-3.0, -1.0, -3.0, -1.0]), 0.0, "trust-exact", "BFGS"),
    Case("Beale, 2", "MGH 5", beale, np.array([1.0, 1.0]), 0.0, "trust-exact", "BFGS"),
    Case("Broyden, 20", "MGH 30", broyden, -np.ones(20), 0.0, "L-BFGS-B"),
    Case("Rosenbrock, 10, x <= 0.5", "", rosenbrock, PAIRS, 1.25, "L-BFGS-B", bounds=[(None, 0.5)] * 10),
    Case("HS 110, 10", "HS 110", hs110, np.full(10, 9.0), -45.77846971, "L-BFGS-B",
         bounds=[(2.001, 9.999)] * 10),
    Case("HS 71, 4", "HS 71", hs71, np.array([1.0, 5.0, 5.0, 1.0]), 17.0140173, "SLSQP", bounds=[(1, 5)] * 4,
         constraints=ROWS_71),
    Case("HS 100, 7", "HS 100", hs100, np.array([1.0, 2.0, 0.0, 4.0, 0.0, 1.0, 1.0]), 680.6300573, "SLSQP",
         constraints=({"type": "ineq", "fun": hs100_rows},)),
    Case("HS 113, 10", "HS 113", hs113, np.array([2.0, 3.0, 5.0, 5.0, 1.0, 2.0, 7.0, 3.0, 6.0, 10.0]),
         24.3062091, "SLSQP", constraints=({"type": "ineq", "fun": hs113_rows},)),
    Case("Osborne 1, 5", "MGH 17", osborne, np.array([0.5, 1.5, -1.0, 0.01, 0.02]), 5.46489e-5 / 2, "trf"),
    Case("Watson, 6", "MGH 20", watson, np.zeros(6), 2.28767e-3 / 2, "trf"),
]
