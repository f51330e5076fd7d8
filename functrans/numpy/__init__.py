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
from .refused import KNOWN_ONLY as _KNOWN_ONLY
from .refused import NAMES as _REFUSED
from .refused import missing as _missing
from .refused import refuse as _refuse

_HOME = {
    "reductions":
        "all amax amin any argmax argmin average count_nonzero cumprod cumsum cumulative_prod "
        "cumulative_sum max mean min prod ptp std sum var",
    "nan_reductions":
        "nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmin nanprod nanstd nansum nanvar",
    "shape":
        "append array_split atleast_1d atleast_2d atleast_3d block broadcast_arrays broadcast_shapes "
        "broadcast_to column_stack concat concatenate dsplit dstack expand_dims hsplit hstack "
        "matrix_transpose moveaxis permute_dims ravel reshape rollaxis row_stack split squeeze stack "
        "swapaxes transpose unstack vsplit vstack",
    "rearrange":
        "diag diagflat diagonal flip fliplr flipud kron meshgrid pad repeat resize roll rot90 tile trace "
        "tril triu vander",
    "values":
        "allclose argwhere around array_equal array_equiv clip fix flatnonzero "
        "isclose isneginf isposinf nan_to_num nonzero packbits round select "
        "unpackbits where",
    "complexes":
        "angle imag iscomplex iscomplexobj isreal isrealobj real",
    "differences":
        "diff ediff1d gradient kaiser trapezoid unwrap",
    "creation":
        "arange array asanyarray asarray ascontiguousarray astype copy diag_indices diag_indices_from "
        "empty empty_like eye full full_like geomspace identity indices linspace logspace ndim ones "
        "ones_like shape size tri tril_indices tril_indices_from triu_indices triu_indices_from zeros "
        "zeros_like",
    "products":
        "cross dot inner matmul matvec outer tensordot vdot vecdot vecmat",
    "sorting":
        "argpartition argsort digitize lexsort partition searchsorted sort sort_complex",
    "quantiles":
        "median nanmedian nanpercentile nanquantile percentile quantile",
    "sets":
        "intersect1d isin setdiff1d setxor1d union1d unique unique_all unique_counts unique_inverse "
        "unique_values",
    "histograms":
        "bincount histogram histogram2d histogram_bin_edges histogramdd interp",
    "convolutions":
        "convolve correlate",
    "summation":
        "einsum",
    "smooth":
        "i0 sinc",
    "polynomials":
        "corrcoef cov poly polyadd polyder polydiv polyfit polyint polymul polysub polyval roots",
    "functional":
        "apply_along_axis apply_over_axes piecewise vectorize",
    "known":
        "array2string array_repr array_str asarray_chkfinite asfortranarray can_cast common_type einsum_path "
        "finfo iinfo isfortran isscalar may_share_memory min_scalar_type ndenumerate real_if_close require "
        "result_type shares_memory trim_zeros",
    "indexing":
        "At AtIndex at take take_along_axis",
    "positions":
        "c_ choose delete insert ix_ mask_indices mgrid ogrid r_ ravel_multi_index unravel_index",
    "writes":
        "compress copyto extract fill_diagonal place put put_along_axis putmask",
}
_NAMES = {name: home for home, names in _HOME.items() for name in names.split()}
_UFUNCS = [name for name, f in vars(_np).items() if isinstance(f, _np.ufunc)]
# NumPy's own, which take no traced array: constants, types, settings, and what makes or reads known arrays
_NUMPYS = """
    pi e euler_gamma inf nan newaxis True_ False_ little_endian
    bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128
    byte short intc int_ long longlong intp ubyte ushort uintc uint ulong ulonglong uintp half single double
    csingle cdouble generic number integer signedinteger unsignedinteger inexact floating complexfloating
    flexible character object_ ScalarType sctypeDict typecodes dtype ndarray ufunc
    issubdtype isdtype promote_types mintypecode typename iterable
    s_ index_exp ndindex bartlett blackman hamming hanning fromfunction
    load loadtxt genfromtxt fromfile fromregex
    printoptions get_printoptions set_printoptions errstate seterr geterr seterrcall geterrcall
    getbufsize setbufsize info get_include show_config show_runtime
    exceptions dtypes testing typing polynomial""".split()
_ALIASES = {"float_": "float64", "complex_": "complex128"}         # names of jax.numpy
_MODULES = ("fft", "linalg")
_THERE = frozenset(dir(_np))            # hasattr would import NumPy's own lazy modules
__all__ = sorted({*_NAMES, *_UFUNCS, *_KNOWN_ONLY, *_THERE.intersection(_NUMPYS), *_ALIASES,
                  "ComplexWarning", *_MODULES})


class _Namespace(types.ModuleType):
    """Importing the module ``shape`` must not hide the function ``shape``."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, types.ModuleType) and name in _NAMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Namespace


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    elif name in _REFUSED:
        raise _missing(name)
    elif name in _KNOWN_ONLY:
        value = _known_only(name)
    elif name == "ComplexWarning":
        value = _np.exceptions.ComplexWarning
    elif name == "__array_namespace_info__":        # NumPy 2.0 has none
        value = _np.__array_namespace_info__
    elif name in __all__:
        value = getattr(_np, _ALIASES.get(name, name))
    else:
        raise AttributeError(f"module 'functrans.numpy' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _known_only(name: str) -> Any:
    """NumPy's function, which raises for traced arguments."""
    core = importlib.import_module(".core", __name__)
    function = getattr(_np, name)

    @core.implements(function)
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise _refuse(name)
    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"As numpy.{name}; traced arguments raise NotSupportedError."
    refuse.__signature__ = core.signature_of(function)
    return refuse


def _load_for(function) -> None:
    """Loads what has the traced version of one of NumPy's functions, if anything has."""
    if function.__module__ in ("numpy.linalg", "numpy.fft"):
        importlib.import_module(function.__module__.replace("numpy", "", 1), __name__)
    elif function.__name__ in _NAMES:
        __getattr__(function.__name__)
    elif function.__name__ in _KNOWN_ONLY:
        _known_only(function.__name__)


def _load_all() -> None:
    """Loads every module: for methods of traced arrays, which any of them may define."""
    for name in _NAMES:
        __getattr__(name)


__array_api_version__ = "2024.12"
_Upward.namespace = staticmethod(lambda: importlib.import_module(__name__))
