"""Two or three elementwise ops that one loop computes, for block groups.

In a group a cheap op costs what its loads and its store cost. Where a value has one reader only, both
ops run as one: the C expressions of the records are put into each other, each rounding as before, so the
bits are those of single loops. A comparison that only chooses or becomes a number leaves no bytes behind.

Of arithmetic there is every chain of three, ``((x a y) b z) c w``, and every ``(x a y) c (z b w)``:
derivatives of anything are full of sums of products. Other ops have pairs only.

A name is "inner.outer", with the inner value as the outer op's first operand, or "inner.outer'", as its
second one; "mul.add.mul" goes on with that, and "mul,sub.add" is the sum of a product and a difference.

Pure Python: the generator of the kernels reads this as well as the planner.
"""

from __future__ import annotations

from functools import cache
from itertools import product

ARITHMETIC = ("add", "sub", "mul", "zmul")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
# (inner op, outer op), beside those of arithmetic
PAIRS = [*[(op, "neg") for op in ("mul", "zmul", "add", "div")], ("mul", "div"), ("add", "sqrt"),
         ("sub", "div"), ("div", "add"), ("div", "mul"), ("div", "zmul"), ("neg", "add"), ("neg", "mul"),
         ("neg", "zmul"), ("max", "min"), ("min", "max"), *[(op, "max") for op in ARITHMETIC[:3]],
         ("share", "mul"), ("share", "zmul"),
         *[(op, outer) for op in COMPARISONS for outer in ("convert", "select")]]
COMMUTE = frozenset(["add", "mul", "zmul"])          # the order of their operands makes no difference
UNARY = frozenset(["neg", "sqrt", "convert"])         # convert: a bool, to the dtype that was compared
DTYPES = ("f32", "f64")


def _names() -> dict[tuple[str, str, int], str]:
    """(inner op or pair, outer op, which operand of the outer op) -> name."""
    pairs = [*product(ARITHMETIC, ARITHMETIC), *PAIRS]
    names = {}
    for inner, outer in pairs:
        names[inner, outer, 0] = f"{inner}.{outer}"
        if outer in COMMUTE:
            names[inner, outer, 1] = f"{inner}.{outer}"
        elif outer == "sub":
            names[inner, outer, 1] = f"{inner}.{outer}'"
    for (inner, outer, _), name in list(names.items()):
        if inner in ARITHMETIC and outer in ARITHMETIC:
            for last in ARITHMETIC:
                names[name, last, 0] = f"{name}.{last}"
                names[name, last, 1] = f"{name}.{last}" + "'" * (last not in COMMUTE)
    return names


NAMES = _names()
# (ops of the first and of the second operand, outer op) -> name
TREES = {(a, b, outer): f"{a},{b}.{outer}" for a, b, outer in product(ARITHMETIC, ARITHMETIC, ARITHMETIC)}


def names() -> list[str]:
    return list(dict.fromkeys([*NAMES.values(), *TREES.values()]))


@cache
def stages(name: str) -> list[tuple[str, str]]:
    """The ops in order, each with its operands: "xyzw" are those of the loop, digits the values of stages
    before."""
    heads, *rest = name.split(".")
    free = iter("xyzw")
    found = [(op, "".join([next(free) for _ in range(1 if op in UNARY else 2)])) for op in heads.split(",")]
    for op in rest:
        made = "01" if len(found) == 2 and "," in heads else str(len(found) - 1)
        count = {"select": 3}.get(op, 1 if op in UNARY else 2) - len(made)
        others = "".join([next(free) for _ in range(count)])
        found.append((op.rstrip("'"), others + made if op[-1] == "'" else made + others))
    return found


def arity(name: str) -> int:
    return len({v for _, operands in stages(name) for v in operands if v in "xyzw"})


@cache
def still(name: str) -> list[tuple[int, ...]]:
    """The sets of operands that the loops know as scalars; commuting operands are swapped for it."""
    choices: list[list[tuple[int, ...]]] = []
    for op, operands in stages(name):
        own = ["xyzw".index(v) for v in operands if v in "xyzw"]
        if len(own) == 2 and op != "select":
            first: list[tuple[int, ...]] = [] if op in COMMUTE else [(own[0],)]
            choices.append([(), (own[1],), *first])
        else:
            choices += [[(), (k,)] for k in own]
    sets = [tuple(sorted(sum(s, ()))) for s in product(*choices)]
    return [s for s in sets if s and len(s) < arity(name)]
