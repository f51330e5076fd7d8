"""The special cases of the array API standard, 2024.12, as a table: function, operands, result.

A line is ``function...: operands -> result; operands -> result ...``. An operand stands for a set of numbers
(``SETS``); a result is an expression of the operands (real: x, y; complex: a + bj, and c + dj), or ``+`` or
``-`` if only the sign is said; ``~`` before a number leaves its sign open. Complex results have two parts.
"""

from __future__ import annotations

import math
from itertools import product

inf, nan, pi = math.inf, math.nan, math.pi

POSITIVE = [1.0, 0.5, 2.0, 3.0, 1e-30, 2.0 ** 100]
NEGATIVE = [-v for v in POSITIVE]
SETS = {
    "0": [0.0], "-0": [-0.0], "00": [0.0, -0.0], "1": [1.0], "-1": [-1.0], "11": [1.0, -1.0],
    "inf": [inf], "-inf": [-inf], "oo": [inf, -inf], "nan": [nan], "-nan": [-nan],
    "pos": POSITIVE, "neg": NEGATIVE, "nz": POSITIVE + NEGATIVE, "fin": [0.0, -0.0, *POSITIVE, *NEGATIVE],
    ">0": [*POSITIVE, inf], "<0": [*NEGATIVE, -inf], ">1": [1.5, 3.0, 2.0 ** 100, inf],
    "<-1": [-1.5, -3.0, -2.0 ** 100, -inf], "<1": [0.5, 0.0, -0.0, -1.0, *NEGATIVE, -inf],
    "big": [1.5, -1.5, 3.0, -2.0, 2.0 ** 100, inf, -inf], "small": [0.5, -0.5, 0.0, -0.0, 1e-30, -1e-30],
    "odd": [1.0, 3.0, 7.0], "-odd": [-1.0, -3.0, -7.0], "even": [2.0, 4.0, 0.5, 2.5, 2.0 ** 60, inf],
    "-even": [-2.0, -4.0, -0.5, -2.5, -2.0 ** 60, -inf], "part": [0.5, -0.5, 1.5, -2.25],
    "whole": [0.0, -0.0, 1.0, -1.0, 3.0, -4.0, 2.0 ** 100, -2.0 ** 100],
}
SETS["num"] = [*SETS["fin"], inf, -inf]
SETS["any"] = [*SETS["num"], nan]
SETS["fn"] = [*SETS["fin"], nan]
SETS["not1"] = [v for v in SETS["any"] if v != 1]
SETS["not0"] = [v for v in SETS["any"] if v != 0]

REAL = """
abs: nan -> nan; -0 -> 0; -inf -> inf
acos: nan >1 <-1 -> nan; 1 -> 0
acosh: nan <1 -> nan; 1 -> 0; inf -> inf
asin: nan >1 <-1 -> nan; 00 -> x
asinh: nan 00 oo -> x
atan: nan 00 -> x; inf -> pi/2; -inf -> -pi/2
atanh: nan <-1 >1 -> nan; -1 -> -inf; 1 -> inf; 00 -> x
ceil floor trunc round: oo 00 nan whole -> x
cos: nan oo -> nan; 00 -> 1
cosh: nan -> nan; 00 -> 1; oo -> inf
exp: nan -> nan; 00 -> 1; inf -> inf; -inf -> 0
expm1: nan 00 inf -> x; -inf -> -1
isfinite: oo nan -> False; fin -> True
isinf: oo -> True; fn -> False
isnan: nan -> True; num -> False
log log2 log10: nan <0 -> nan; 00 -> -inf; 1 -> 0; inf -> inf
log1p: nan <-1 -> nan; -1 -> -inf; 00 inf -> x
reciprocal: nan -> nan; 0 -> inf; -0 -> -inf; inf -> 0; -inf -> -0.0
sign: <0 -> -1; 00 -> 0; >0 -> 1; nan -> nan
signbit: 0 inf pos nan -> False; -0 -inf neg -nan -> True
sin tan: nan 00 -> x; oo -> nan
sinh: nan 00 oo -> x
square: nan -> nan; 00 -> 0; oo -> inf
sqrt: nan <0 -> nan; 00 inf -> x
tanh: nan 00 -> x; inf -> 1; -inf -> -1
negative: any -> -x
positive: any -> x
"""

PAIRS = """
add: nan,any any,nan -> nan; inf,-inf -inf,inf -> nan; inf,inf inf,fin fin,inf -> inf
add: -inf,-inf -inf,fin fin,-inf -> -inf; -0,-0 -> -0.0; -0,0 0,-0 0,0 -> 0; 00,nz -> y; nz,00 -> x
subtract: nan,any any,nan inf,inf -inf,-inf -> nan; inf,-inf inf,fin fin,-inf -> inf
subtract: -inf,inf -inf,fin fin,inf -> -inf; -0,0 -> -0.0; 0,0 0,-0 -0,-0 -> 0; 00,nz -> -y; nz,00 -> x
atan2: nan,any any,nan -> nan; >0,00 -> pi/2; 0,>0 0,0 -> 0; 0,-0 0,<0 -> pi; -0,>0 -0,0 -> -0.0
atan2: -0,-0 -0,<0 -> -pi; <0,00 -> -pi/2; pos,inf -> 0; pos,-inf -> pi; neg,inf -> -0.0; neg,-inf -> -pi
atan2: inf,fin -> pi/2; -inf,fin -> -pi/2; inf,inf -> pi/4; inf,-inf -> 3*pi/4; -inf,inf -> -pi/4
atan2: -inf,-inf -> -3*pi/4
copysign: any,<0 any,-0 -> -; any,>0 any,0 -> +; num,<0 num,-0 -> -abs(x); num,>0 num,0 -> abs(x)
copysign: any,-nan -> -; any,nan -> +; num,-nan -> -abs(x); num,nan -> abs(x)
divide: nan,any any,nan oo,oo 00,00 -> nan; 0,>0 -0,<0 -> 0; -0,>0 0,<0 -> -0.0
divide: >0,0 <0,-0 inf,pos -inf,neg -> inf; >0,-0 <0,0 inf,neg -inf,pos -> -inf
divide: pos,inf neg,-inf -> 0; pos,-inf neg,inf -> -0.0; pos,pos neg,neg -> +; pos,neg neg,pos -> -
equal: nan,any any,nan -> False; inf,inf -inf,-inf 00,00 -> True; fin,fin -> x == y
equal: inf,-inf -inf,inf oo,fin fin,oo -> False
not_equal: nan,any any,nan inf,-inf -inf,inf oo,fin fin,oo -> True; inf,inf -inf,-inf 00,00 -> False
not_equal: fin,fin -> x != y
floor_divide: nan,any any,nan oo,oo 00,00 -> nan; 0,>0 -0,<0 -> 0; -0,>0 0,<0 -> -0.0
floor_divide: >0,0 <0,-0 -> inf; >0,-0 <0,0 -> -inf; pos,inf neg,-inf -> 0
floor_divide: pos,pos neg,neg -> +; pos,neg neg,pos -> -
hypot: oo,any any,oo -> inf; 00,any -> abs(y); any,00 -> abs(x); fn,nan nan,fn -> nan
logaddexp: nan,any any,nan -> nan; inf,num num,inf -> inf
maximum minimum: nan,any any,nan -> nan
multiply: nan,any any,nan oo,00 00,oo -> nan; >0,>0 <0,<0 -> +; >0,<0 <0,>0 -> -; 0,pos -0,neg -> 0
multiply: inf,>0 >0,inf -inf,<0 <0,-inf -> inf; inf,<0 <0,inf -inf,>0 >0,-inf -> -inf; -0,pos 0,neg -> -0.0
nextafter: nan,any any,nan -> nan; -0,0 -> 0; 0,-0 -> -0.0
pow: not1,nan -> nan; any,00 -> 1; nan,not0 -> nan; big,inf -> inf; big,-inf -> 0; 11,oo -> 1; 1,num -> 1
pow: small,inf -> 0; small,-inf -> inf; inf,>0 -> inf; inf,<0 -> 0; -inf,odd -> -inf; -inf,even -> inf
pow: -inf,-odd -> -0.0; -inf,-even -> 0; 0,>0 -> 0; 0,<0 -> inf; -0,odd -> -0.0; -0,even -> 0; -0,-odd -> -inf
pow: -0,-even -> inf; neg,part -> nan
remainder: nan,any any,nan oo,oo 00,00 >0,00 <0,00 oo,nz -> nan; 00,>0 -> 0; 00,<0 -> -0.0
remainder: pos,inf neg,-inf -> x; pos,-inf neg,inf -> y
"""

# f(conj(z)) = conj(f(z)) adds the lower half plane; ODD and EVEN the left one
COMPLEX = """
abs: oo,any any,oo -> inf; 00,any -> abs(b); any,00 -> abs(a); nan,fin fin,nan nan,nan -> nan
acos: 00,0 -> pi/2, -0.0; 00,nan -> pi/2, nan; fin,inf -> pi/2, -inf; nz,nan nan,fin nan,nan -> nan, nan
acos: -inf,pos -> pi, -inf; inf,pos -> 0, -inf; -inf,inf -> 3*pi/4, -inf; inf,inf -> pi/4, -inf
acos: oo,nan -> nan, ~inf; nan,inf -> nan, -inf
acosh: 00,0 -> 0, pi/2; fin,inf -> inf, pi/2; nz,nan nan,fin nan,nan -> nan, nan; 0,nan -> nan, ~pi/2
acosh: -inf,pos -> inf, pi; inf,pos -> inf, 0; -inf,inf -> inf, 3*pi/4; inf,inf -> inf, pi/4
acosh: oo,nan nan,inf -> inf, nan
asinh: 0,0 -> 0, 0; pos,inf -> inf, pi/2; fin,nan -> nan, nan; inf,pos -> inf, 0; inf,inf -> inf, pi/4
asinh: nan,0 -> nan, 0; nan,nz nan,nan -> nan, nan; nan,inf -> ~inf, nan
atanh: 0,0 -> 0, 0; 0,nan -> 0, nan; 1,0 -> inf, 0; pos,inf inf,pos inf,inf -> 0, pi/2; inf,nan -> 0, nan
atanh: nz,nan nan,fin nan,nan -> nan, nan; nan,inf -> ~0, pi/2
cosh: 0,0 -> 1, 0; 0,inf 0,nan -> nan, ~0; nz,inf nz,nan nan,nz nan,nan -> nan, nan; inf,0 -> inf, 0
cosh: inf,nz -> inf*cos(b), inf*sin(b); inf,inf -> ~inf, nan; inf,nan -> inf, nan; nan,00 -> nan, ~0
exp: 00,0 -> 1, 0; fin,inf fin,nan -> nan, nan; inf,0 -> inf, 0; -inf,fin -> 0*cos(b), 0*sin(b)
exp: inf,nz -> inf*cos(b), inf*sin(b); -inf,inf -inf,nan -> ~0, ~0; inf,inf inf,nan -> ~inf, nan
exp: nan,0 -> nan, 0; nan,not0 -> nan, nan
expm1: 00,0 -> 0, 0; fin,inf fin,nan -> nan, nan; inf,0 -> inf, 0; -inf,fin -> -1, 0*sin(b)
expm1: inf,nz -> inf*cos(b), inf*sin(b); -inf,inf -inf,nan -> -1, ~0; inf,inf inf,nan -> ~inf, nan
expm1: nan,0 -> nan, 0; nan,not0 -> nan, nan
isfinite: oo,any any,oo nan,any any,nan -> False; fin,fin -> True
isinf: oo,any fn,oo -> True; fn,fn -> False
isnan: nan,any any,nan -> True; num,num -> False
log: -0,0 -> -inf, pi; 0,0 -> -inf, 0; fin,inf -> inf, pi/2; fin,nan nan,fin nan,nan -> nan, nan
log: -inf,pos -> inf, pi; inf,pos -> inf, 0; -inf,inf -> inf, 3*pi/4; inf,inf -> inf, pi/4
log: oo,nan nan,inf -> inf, nan
log1p: -1,0 -> -inf, 0; fin,inf -> inf, pi/2; fin,nan nan,fin nan,nan -> nan, nan; -inf,pos -> inf, pi
log1p: inf,pos -> inf, 0; -inf,inf -> inf, 3*pi/4; inf,inf -> inf, pi/4; oo,nan nan,inf -> inf, nan
round: whole,nan whole,whole whole,inf inf,-inf -> a, b
sign: 00,00 -> 0, 0; nan,any any,nan -> nan, nan; pos,00 inf,0 -> 1, 0*b; neg,00 -> -1, ~0
sinh: 0,0 -> 0, 0; 0,inf 0,nan -> ~0, nan; pos,inf pos,nan nan,nz nan,nan -> nan, nan; inf,0 -> inf, 0
sinh: inf,pos -> inf*cos(b), inf*sin(b); inf,inf inf,nan -> ~inf, nan; nan,0 -> nan, 0
sqrt: 00,0 -> 0, 0; any,inf -> inf, inf; fin,nan nan,fin nan,nan -> nan, nan; inf,nan -> inf, nan
sqrt: -inf,nan -> nan, ~inf
tanh: 0,0 -> 0, 0; nz,inf nz,nan nan,nz nan,inf nan,nan -> nan, nan; 0,inf 0,nan -> 0, nan
tanh: inf,pos -> 1, 0*sin(2*b); inf,inf inf,nan -> 1, ~0; nan,0 -> nan, 0
negative: any,any -> -a, -b
positive: any,any -> a, b
conj: any,any -> a, -b
"""
ODD, EVEN = {"sinh", "tanh", "asinh", "atanh"}, {"cosh"}
# Two lines are C99's (annex G) instead. The standard's root of -inf + bj is nan + nan j, and that of inf + bj
# is inf j: what C99 says of -inf and of inf has slipped by a line. And the sign of the zero in tanh(inf + bj)
# is that of sin(2 b) in C99, of b in the standard.
COMPLEX += "sqrt: -inf,pos -> 0, inf; inf,pos -> inf, 0\n"

COMPLEX_PAIRS = """
add: any,any,any,any -> a + c, b + d
subtract: any,any,any,any -> a - c, b - d
multiply divide: nan,nan,nan,nan -> nan, nan
equal: any,any,any,any -> a == c and b == d
not_equal: any,any,any,any -> a != c or b != d
"""

# "handled as if implemented as": function of the row above, on z j, result times so many j
TURNED = {"asin": ("asinh", -1), "atan": ("atanh", -1), "cos": ("cosh", 0), "sin": ("sinh", -1),
          "tan": ("tanh", -1)}
# or divided by a number
SCALED = {"log2": ("log", math.log(2)), "log10": ("log", math.log(10))}


def times_j(parts, turns=1):
    """(a + bj) j**turns, by moving the parts, so that no inf meets a zero."""
    a, b = parts
    return {0: (a, b), 1: (-b, a), -1: (b, -a)}[turns]


def cases(text):
    """(function, operands, results): an operand is a number, a result (number or sign, is its sign open)."""
    for line in text.strip().splitlines():
        names, _, rules = line.partition(": ")
        for rule in rules.split("; "):
            left, _, right = rule.partition(" -> ")
            for sets in left.split():
                for operands in product(*(_sampled(s, sets.count(",")) for s in sets.split(","))):
                    scope = dict(zip("xy" if text in (REAL, PAIRS) else "abcd", operands, strict=False))
                    results = [_value(r.strip(), scope) for r in right.split(", ")]
                    for name in names.split():
                        yield name, operands, results


def _sampled(name, commas):
    """Four operands with all numbers each would be too many."""
    return SETS[name] if commas < 3 or name != "any" else [0.0, -0.0, -2.0, 1.0, inf, -inf, nan]


def _value(text, scope):
    if text in "+-":
        return text, False
    return float(eval(text.lstrip("~"), {"__builtins__": {}}, {
        **vars(math), "abs": abs, "True": True, "False": False, **scope})), text.startswith("~")


def complex_cases():
    """Those of COMPLEX with their reflections, and those of what is defined by them."""
    for name, (a, b), results in cases(COMPLEX):
        lines = [((a, b), results)]
        if len(results) == 2 and name != "sign":
            lines.append(((a, -b), [results[0], _negative(results[1])]))
        if name in ODD:
            lines += [((-a, -b), [_negative(r) for r in rs]) for (a, b), rs in lines]
        if name in EVEN:
            lines += [((-a, -b), rs) for (a, b), rs in lines]
        for operands, found in lines:
            yield name, operands, found
            for derived, (of, turns) in TURNED.items():
                if of == name:      # operands = z j
                    yield derived, times_j(operands, -1), list(_turned(found, turns))
            for derived, (of, by) in SCALED.items():
                if of == name:
                    yield derived, operands, [(v / by, free) for v, free in found]


def _negative(result):
    return -result[0], result[1]


def _turned(results, turns):
    re, im = results
    return (re, im) if turns == 0 else (im, _negative(re))
