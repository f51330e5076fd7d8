"""NumPy's namespace, for arrays and traced arrays alike.

In: arrays, numbers, tracers. Out: the same as ``numpy``. What must hold: NumPy's signatures, dtypes
and broadcasting; functions without a traced argument are NumPy's own; ``numpy.f(tracer)`` and
``functrans.numpy.f(tracer)`` run the same code. Modules load when a name of theirs is first used.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import numpy as _np

from .. import _load as _load
from ..trace.tracer import Upward as _Upward

_HOME = {
    "reductions":
        "all amax amin any argmax argmin average count_nonzero cumprod cumsum cumulative_prod "
        "cumulative_sum max mean min prod ptp std sum var",
    "nan_reductions":
        "nancumprod nancumsum nanmax nanmean nanmin nanprod nanstd nansum nanvar",
    "shape":
        "append array_split atleast_1d atleast_2d atleast_3d block broadcast_arrays broadcast_shapes "
        "broadcast_to column_stack concat concatenate dsplit dstack expand_dims hsplit hstack "
        "matrix_transpose moveaxis permute_dims ravel reshape rollaxis split squeeze stack swapaxes "
        "transpose unstack vsplit vstack",
    "rearrange":
        "diag diagflat diagonal flip fliplr flipud kron meshgrid pad repeat roll rot90 tile trace "
        "tril triu vander",
    "values":
        "allclose argwhere around array_equal array_equiv clip copyto fill_diagonal fix flatnonzero "
        "isclose nan_to_num nonzero place put put_along_axis putmask round select where",
    "complexes":
        "angle imag iscomplex iscomplexobj isreal isrealobj real",
    "differences":
        "diff ediff1d gradient trapezoid",
    "creation":
        "arange array asanyarray asarray ascontiguousarray astype copy diag_indices diag_indices_from "
        "empty empty_like eye full full_like geomspace identity indices linspace logspace ndim ones "
        "ones_like shape size tri tril_indices tril_indices_from triu_indices triu_indices_from zeros "
        "zeros_like",
    "products":
        "cross dot inner matmul matvec outer tensordot vdot vecdot vecmat",
    "sorting":
        "argpartition argsort digitize extract lexsort partition searchsorted sort sort_complex",
    "quantiles":
        "median nanmedian nanpercentile nanquantile percentile quantile",
    "sets":
        "intersect1d isin setdiff1d setxor1d union1d unique unique_all unique_counts unique_inverse "
        "unique_values",
    "histograms":
        "bincount histogram histogram2d histogram_bin_edges histogramdd interp",
    "summation":
        "einsum",
    "smooth":
        "i0 sinc",
    "indexing":
        "At AtIndex at compress put_along_axis take take_along_axis",
}
_NAMES = {name: home for home, names in _HOME.items() for name in names.split()}
_UFUNCS = [name for name, f in vars(_np).items() if isinstance(f, _np.ufunc)]
_CONSTANTS = ["pi", "e", "euler_gamma", "inf", "nan", "newaxis", "bool_", "int8", "int16", "int32", "int64",
              "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "complex64",
              "complex128", "dtype", "finfo", "iinfo", "ndarray", "integer", "floating", "inexact",
              "number", "issubdtype", "isdtype", "promote_types", "result_type", "can_cast", "s_"]
__all__ = sorted({*_NAMES, *_UFUNCS, *_CONSTANTS, "linalg"})


class _Namespace(types.ModuleType):
    """Importing the module ``shape`` must not hide the function ``shape``."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, types.ModuleType) and name in _NAMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Namespace


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    elif name == "linalg":
        value = importlib.import_module(".linalg", __name__)
    elif name in __all__:
        value = getattr(_np, name)
    else:
        raise AttributeError(f"module 'functrans.numpy' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _load_for(function) -> None:
    """Loads what has the traced version of one of NumPy's functions, if anything has."""
    if function.__module__ == "numpy.linalg":
        importlib.import_module(".linalg", __name__)
    elif function.__name__ in _NAMES:
        __getattr__(function.__name__)


def _load_all() -> None:
    """Loads every module: for methods of traced arrays, which any of them may define."""
    for name in _NAMES:
        __getattr__(name)


_Upward.namespace = staticmethod(lambda: importlib.import_module(__name__))
