"""What may still change: Taylor mode (``jet``)."""

import importlib

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first

__all__ = ["jet"]


def __getattr__(name):
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'functrans.experimental' has no attribute {name!r}")
