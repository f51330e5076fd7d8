"""Simplifications of elementwise equations, exact for every operand: the ``simplify`` of their records.

A rule gets (inputs, params, program) and returns what the result equals: see ``ir/op.py``. Only the sign of
a zero in a strong-zero product may change.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import OPS, Hooks, sees


def _is_zero(x, negative):
    """Whether x is the literal zero of this sign; integers have one zero."""
    value = getattr(x, "value", None)
    return value is not None and value == 0 and (
        x.aval.dtype.kind in "biu" or (x.aval.dtype.kind == "f" and np.signbit(value) == negative))


def _inner(x, program, name="neg"):
    """The operand of the op ``name`` that makes x, or None."""
    e = program.made_by(x, name)
    return e.inputs[0] if e is not None else None


@sees("neg", "mul")
def negated(inputs, params, program):
    (x,) = inputs
    e = program.made_by(x, "mul")
    if e is not None and x.aval.dtype.kind == "f":
        for i, c in enumerate(e.inputs):
            if hasattr(c, "value"):             # -(c x) = (-c) x
                return OPS["mul"], (Hooks.lit_like(-c.value, c), e.inputs[1 - i]), {}
    return _inner(x, program)


@sees("neg")
def plus(inputs, params, program):
    x, y = inputs
    if _is_zero(y, True):
        return x
    if _is_zero(x, True):
        return y
    if x is y and x.aval.dtype.kind == "f":
        return OPS["mul"], (x, Hooks.lit_like(2, x)), {}
    if x.aval.dtype.kind != "b":
        if (a := _inner(y, program)) is not None:
            return OPS["sub"], (x, a), {}
        if (a := _inner(x, program)) is not None:
            return OPS["sub"], (y, a), {}
    return None


@sees("neg")
def minus(inputs, params, program):
    x, y = inputs
    if _is_zero(y, False):
        return x
    return (OPS["add"], (x, a), {}) if (a := _inner(y, program)) is not None else None


@sees("neg")
def times(inputs, params, program):
    x, y = inputs
    for a, b in ((x, y), (y, x)):
        if hasattr(a, "value"):
            if a.value == 1:
                return b
            if a.aval.dtype.kind == "f":
                if a.value == -1:
                    return OPS["neg"], (b,), {}
                if (c := _inner(b, program)) is not None:
                    return OPS["mul"], (Hooks.lit_like(-a.value, a), c), {}
    return _both_negative(OPS["mul"], x, y, program)


def _both_negative(op, x, y, program):
    a = _inner(x, program)
    b = None if a is None else _inner(y, program)
    return None if b is None else (op, (a, b), {})


def _base(x, program, deep=3):
    """What x is a power of, by products: itself if nothing else is seen."""
    e = program.made_by(x, "mul") if deep else None
    if e is None:
        return x
    a, b = [_base(v, program, deep - 1) for v in e.inputs]
    return a if a is b else x


@sees("mul", "neg", "select")
def strong_times(inputs, params, program):
    x, y = inputs
    for a, b in ((x, y), (y, x)):
        if hasattr(a, "value"):
            if a.value == 0:
                return Hooks.lit_like(0, a)
            if np.isfinite(a.value):            # 0 times it is 0 anyway
                return b if a.value == 1 else (OPS["mul"], (a, b), {})
        e = program.made_by(a, "select")
        if e is not None and [getattr(v, "value", None) for v in e.inputs[1:]] in ([1, 0], [0, 1]):
            c, one, _ = e.inputs
            nothing = Hooks.lit_like(0, a)
            return OPS["select"], (c, b, nothing) if one.value == 1 else (c, nothing, b), {}
    if _base(x, program) is _base(y, program):  # of powers of one value: where one is 0 none is infinite
        return OPS["mul"], (x, y), {}
    return _both_negative(OPS["zmul"], x, y, program)


@sees()
def divided(inputs, params, program):
    x, y = inputs
    if not hasattr(y, "value") or y.aval.dtype.kind == "c" or y.value == 0 or not np.isfinite(y.value):
        return None
    if y.value == 1:
        return x
    with np.errstate(all="ignore"):
        inverse = 1 / y.value
    if math.frexp(y.value)[0] in (0.5, -0.5) and np.abs(inverse) >= np.finfo(inverse.dtype).tiny and (
            np.isfinite(inverse)):              # by a power of two: exact
        return OPS["mul"], (x, Hooks.lit_like(inverse, y)), {}
    return None


def power(inputs, params, program):
    (x,), y = inputs, params["y"]
    if y == 0:
        return Hooks.lit_like(1, x)
    if y == 1:
        return x
    # products have other strong zeros than a power, so only where nobody differentiates any more;
    # higher powers of f32 are rounded once
    if not program.final or y not in (2, 3, 4) or (y > 2 and x.aval.dtype.itemsize < 8):
        return None
    square = (OPS["mul"], (x, x), {})
    return square if y == 2 else (OPS["mul"], (x if y == 3 else square, square), {})


@sees("not")
def chosen(inputs, params, program):
    c, a, b = inputs
    if a is b or (hasattr(a, "value") and a == b):
        return a
    if hasattr(c, "value"):
        return a if c.value else b
    return (OPS["select"], (d, b, a), {}) if (d := _inner(c, program, "not")) is not None else None


@sees()
def same(inputs, params, program):
    return inputs[0] if inputs[0] is inputs[1] else None


def undone(name):
    """An op that is its own inverse."""
    return sees(name)(lambda inputs, params, program: _inner(inputs[0], program, name))


@sees("abs", "neg")
def absolute(inputs, params, program):
    if program.made_by(inputs[0], "abs") is not None:
        return inputs[0]
    return (OPS["abs"], (x,), {}) if (x := _inner(inputs[0], program)) is not None else None


def _holds(wide, narrow):
    """Whether every value of dtype ``narrow`` has its own in ``wide``."""
    if wide.kind in "fc" and narrow.kind in "iu":
        return np.finfo(wide).nmant >= 8 * narrow.itemsize
    return wide == narrow or (wide.kind != "b" and np.can_cast(narrow, wide, "safe"))


def converted(inputs, params, program):
    (x,), dtype = inputs, params["dtype"]
    if x.aval.dtype == dtype:
        return x
    first = _inner(x, program, "convert")
    if first is not None and _holds(x.aval.dtype, first.aval.dtype):
        return OPS["convert"], (first,), {"dtype": dtype}
    return None
