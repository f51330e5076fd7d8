"""Functions of SciPy on traced arrays; without a traced argument they are SciPy's own."""

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first
from . import special as special

__all__ = ["special"]
