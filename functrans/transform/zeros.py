"""Symbolic zeros: tangents and cotangents that are known to vanish. They live inside passes only."""

from __future__ import annotations

from ..ir.core import Lit, lit
from ..ir.op import OPS, Hooks
from ..trace.core import aval_of


class Zero:
    """The zero tangent of a value of type ``aval``."""

    __slots__ = ("aval",)

    def __init__(self, aval):
        self.aval = aval.strong

    def __repr__(self):
        return f"Zero({self.aval})"


def has_tangent(aval) -> bool:
    """Whether values of this type can be perturbed: inexact ones."""
    return aval.dtype.kind in "fc"


def instantiate(t):
    """A symbolic zero as a literal, anything else as it is."""
    return lit(0, t.aval) if isinstance(t, Zero) else t


def add_tangents(a, b):
    """Sum of two tangents, either of which may be a symbolic zero."""
    if isinstance(a, Zero):
        return b
    if isinstance(b, Zero):
        return a
    return OPS["add"](a, b)


def zero_of(x):
    return Zero(aval_of(x))


Hooks.zero, Hooks.literal = Zero, Lit
Hooks.add_tangents = staticmethod(add_tangents)
