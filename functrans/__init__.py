"""functrans: composable transforms of NumPy functions, for the CPU.

``grad``, ``jvp``, ``vjp``, ``vmap`` and ``jit`` take an ordinary NumPy function and return one; they
nest in any order. Arrays in and out are plain ``numpy.ndarray``s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import checkpoint_policies as checkpoint_policies
    from . import debug as debug
    from . import errors as errors
    from . import extend as extend
    from . import lax as lax
    from . import nn as nn
    from . import numpy as numpy
    from . import random as random
    from . import scipy as scipy
    from . import sparse as sparse
    from . import testing as testing
    from . import tree as tree
    from .api import grad as grad
    from .api import jvp as jvp
    from .api import linear_transpose as linear_transpose
    from .api import linearize as linearize
    from .api import value_and_grad as value_and_grad
    from .api import vjp as vjp
    from .batching import vmap as vmap
    from .callbacks import io_callback as io_callback
    from .callbacks import pure_callback as pure_callback
    from .compilation import jit as jit
    from .custom import CustomVJPPrimal as CustomVJPPrimal
    from .custom import SymbolicZero as SymbolicZero
    from .custom import custom_jvp as custom_jvp
    from .custom import custom_rule as custom_rule
    from .custom import custom_vjp as custom_vjp
    from .custom import stop_gradient as stop_gradient
    from .custom_maps import custom_transpose as custom_transpose
    from .custom_maps import custom_vmap as custom_vmap
    from .custom_maps import linear_call as linear_call
    from .custom_maps import sequential_vmap as sequential_vmap
    from .finite import debug_infs as debug_infs
    from .finite import debug_nans as debug_nans
    from .flattening import ravel_pytree as ravel_pytree
    from .implicit import fixed_point as fixed_point
    from .inspection import ShapeDtypeStruct as ShapeDtypeStruct
    from .inspection import eval_shape as eval_shape
    from .inspection import make_jaxpr as make_jaxpr
    from .jacobians import hessian as hessian
    from .jacobians import jacfwd as jacfwd
    from .jacobians import jacobian as jacobian
    from .jacobians import jacrev as jacrev
    from .lax.segments import segment_max as segment_max
    from .lax.segments import segment_min as segment_min
    from .lax.segments import segment_prod as segment_prod
    from .lax.segments import segment_sum as segment_sum
    from .numpy.indexing import at as at
    from .parallel import get_num_threads as get_num_threads
    from .parallel import set_num_threads as set_num_threads
    from .parallel import threads as threads
    from .preparing import prepare as prepare
    from .products import hessian_diag as hessian_diag
    from .products import hvp as hvp
    from .profiling import profile as profile
    from .recomputation import checkpoint as checkpoint
    from .recomputation import checkpoint_name as checkpoint_name
    from .recomputation import remat as remat
    from .scopes import name_scope as name_scope
    from .staging import cache_info as cache_info
    from .staging import clear_caches as clear_caches

# Loaded on first use, so that importing functrans costs nothing (and the build can read the op table).
_HOME = {
    "api": ("grad", "jvp", "linear_transpose", "linearize", "value_and_grad", "vjp"),
    "batching": ("vmap",),
    "callbacks": ("io_callback", "pure_callback"),
    "implicit": ("fixed_point",),
    "inspection": ("ShapeDtypeStruct", "eval_shape", "make_jaxpr"),
    "custom": ("CustomVJPPrimal", "SymbolicZero", "custom_jvp", "custom_rule", "custom_vjp",
               "stop_gradient"),
    "custom_maps": ("custom_transpose", "custom_vmap", "linear_call", "sequential_vmap"),
    "finite": ("debug_infs", "debug_nans"),
    "flattening": ("ravel_pytree",),
    "jacobians": ("hessian", "jacfwd", "jacobian", "jacrev"),
    "preparing": ("prepare",),
    "products": ("hessian_diag", "hvp"),
    "compilation": ("jit",),
    "lax.segments": ("segment_max", "segment_min", "segment_prod", "segment_sum"),
    "numpy.indexing": ("at",),
    "profiling": ("profile",),
    "recomputation": ("checkpoint", "checkpoint_name", "remat"),
    "scopes": ("name_scope",),
    "staging": ("cache_info", "clear_caches"),
    "parallel": ("get_num_threads", "set_num_threads", "threads"),
}
_NAMES = {name: home for home, names in _HOME.items() for name in names}
_MODULES = ("checkpoint_policies", "debug", "errors", "experimental", "extend", "lax", "nn", "numpy",
            "random", "scipy", "sparse", "testing", "tree")
__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        importlib.import_module("._load", __name__)
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    elif name in _MODULES:
        if name not in ("errors", "tree"):
            importlib.import_module("._load", __name__)
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'functrans' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
