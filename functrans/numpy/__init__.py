"""NumPy's namespace, for arrays and traced arrays alike.

In: arrays, numbers, tracers. Out: the same as ``numpy``. What must hold: NumPy's signatures, dtypes
and broadcasting; functions without a traced argument are NumPy's own; ``numpy.f(tracer)`` and
``functrans.numpy.f(tracer)`` run the same code.
"""

import numpy as _np

from . import core as _core
from . import creation as _creation
from . import einsum as _einsum
from . import indexing as _indexing
from . import linalg as linalg
from . import products as _products
from . import reductions as _reductions
from . import shape as _shape
from . import ufuncs as _ufuncs
from .core import METHODS as _METHODS

_MODULES = (_reductions, _shape, _creation, _products, _einsum, _indexing)
_UFUNCS = [name for name, f in vars(_np).items() if isinstance(f, _np.ufunc)]
_CONSTANTS = ("pi", "e", "euler_gamma", "inf", "nan", "newaxis", "bool_", "int8", "int16", "int32", "int64",
              "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "complex64",
              "complex128", "dtype", "finfo", "iinfo", "ndarray", "integer", "floating", "inexact",
              "number", "issubdtype", "isdtype", "promote_types", "result_type", "can_cast", "arange",
              "eye", "zeros", "ones", "empty", "ndim", "size", "shape", "s_")

for _name in (*_UFUNCS, *_CONSTANTS):
    globals()[_name] = getattr(_np, _name)
for _module in _MODULES:
    for _name in _module.__all__:
        globals()[_name] = getattr(_module, _name)
__all__ = sorted({*_UFUNCS, *_CONSTANTS, *[n for m in _MODULES for n in m.__all__], "linalg"})
for _name, _property in _shape.PROPERTIES.items():
    _METHODS[_name] = _property

_core.Upward.namespace = lambda: __import__("functrans.numpy", fromlist=["numpy"])
