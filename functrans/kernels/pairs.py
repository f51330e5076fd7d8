"""Pairs of elementwise ops that one loop computes, for block groups.

In a group a cheap op costs what its loads and its store cost. Where a value has one reader only, both
ops run as one: the C expressions of the two records are put into each other, each rounding as
before, so the bits are those of the two loops. A comparison that becomes a number leaves no bytes behind.

Pure Python: the generator of the kernels reads this as well as the planner.
"""

from __future__ import annotations

# (inner op, outer op): "inner.outer" has the inner value as the outer op's first operand,
# "inner.outer'" as its second one.
PAIRS = [("mul", "add"), ("mul", "sub"), ("mul", "mul"), ("mul", "zmul"), ("mul", "div"), ("mul", "neg"),
         ("zmul", "add"), ("zmul", "sub"), ("zmul", "mul"), ("zmul", "zmul"), ("zmul", "neg"),
         ("add", "add"), ("add", "sub"), ("add", "mul"), ("add", "zmul"), ("add", "neg"), ("add", "sqrt"),
         ("sub", "add"), ("sub", "sub"), ("sub", "mul"), ("sub", "zmul"), ("sub", "div"),
         ("div", "add"), ("div", "mul"), ("div", "zmul"), ("div", "neg"),
         ("neg", "add"), ("neg", "mul"), ("neg", "zmul"),
         ("max", "min"), ("min", "max"), *[(op, "convert") for op in ("eq", "ne", "lt", "le", "gt", "ge")]]
COMMUTE = frozenset(["add", "mul", "zmul"])          # the order of their operands makes no difference
UNARY = frozenset(["neg", "sqrt", "convert"])         # convert: a bool, to the dtype that was compared
DTYPES = ("f32", "f64")


def _names() -> dict[tuple[str, str, int], str]:
    """(inner, outer, which operand of the outer op) -> name."""
    names = {}
    for inner, outer in PAIRS:
        names[inner, outer, 0] = f"{inner}.{outer}"
        if outer in COMMUTE:
            names[inner, outer, 1] = f"{inner}.{outer}"
        elif outer == "sub":
            names[inner, outer, 1] = f"{inner}.{outer}'"
    return names


NAMES = _names()


def arity(name: str) -> int:
    inner, outer = name.rstrip("'").split(".")
    return (1 if inner in UNARY else 2) + (0 if outer in UNARY else 1)


def still(name: str) -> list[tuple[int, ...]]:
    """The sets of operands that the loops know as scalars; commuting operands are swapped for it."""
    inner, _ = name.rstrip("'").split(".")
    n = arity(name)
    if n == 1:
        return []
    if n == 2:
        return [(0,), (1,)]
    sets: list[tuple[int, ...]] = [(1,), (2,), (1, 2)]
    return sets if inner in COMMUTE else [*sets, (0,), (0, 2)]
