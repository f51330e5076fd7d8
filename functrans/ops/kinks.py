"""Local derivatives that are decided where a formula would give inf or nan (see docs/semantics.md)."""

import numpy as np

from ..ir.op import OPS, aval_of


def flat_at_zero(x):
    """x, and inf where it is 0: a root has derivative 0 there, as norms have."""
    return OPS["select"](OPS["eq"](x, 0.0), np.inf, x)


def flat_power(out, y):
    """Where x**y counts as constant: for y = 0, and like a root at x = 0 for y < 1."""
    flat = OPS["eq"](y, 0.0)
    if aval_of(y).dtype.kind == "c":
        return flat
    return OPS["or"](flat, OPS["and"](OPS["eq"](out, 0.0), OPS["lt"](y, 1.0)))
