"""Functions of SciPy on traced arrays; without a traced argument they are SciPy's own."""

import importlib

from .. import _load as _load  # first: the rooms load in one order, whichever import comes first

__all__ = ["cluster", "fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal", "sparse",
           "special", "stats"]


def __getattr__(name):
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'functrans.scipy' has no attribute {name!r}")
