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
    from . import graph as graph
    from . import lax as lax
    from . import nn as nn
    from . import numpy as numpy
    from . import optimizers as optimizers
    from . import random as random
    from . import scipy as scipy
    from . import sparse as sparse
    from . import tensorboard as tensorboard
    from . import testing as testing
    from . import tree as tree
    from . import viz as viz
    from .api.batching import vmap as vmap
    from .api.compilation import jit as jit
    from .api.derivatives import grad as grad
    from .api.derivatives import jvp as jvp
    from .api.derivatives import linear_transpose as linear_transpose
    from .api.derivatives import linearize as linearize
    from .api.derivatives import value_and_grad as value_and_grad
    from .api.derivatives import vjp as vjp
    from .api.flattening import ravel_pytree as ravel_pytree
    from .api.implicit import fixed_point as fixed_point
    from .api.jacobians import hessian as hessian
    from .api.jacobians import jacfwd as jacfwd
    from .api.jacobians import jacobian as jacobian
    from .api.jacobians import jacrev as jacrev
    from .api.preparing import prepare as prepare
    from .api.products import hessian_diag as hessian_diag
    from .api.products import hvp as hvp
    from .api.recomputation import checkpoint as checkpoint
    from .api.recomputation import checkpoint_name as checkpoint_name
    from .api.recomputation import remat as remat
    from .calling.staging import cache_info as cache_info
    from .calling.staging import clear_caches as clear_caches
    from .graph import Graph as Graph
    from .graph import gradients as gradients
    from .inspection.finite import debug_infs as debug_infs
    from .inspection.finite import debug_nans as debug_nans
    from .inspection.profiling import profile as profile
    from .inspection.programs import ShapeDtypeStruct as ShapeDtypeStruct
    from .inspection.programs import eval_shape as eval_shape
    from .inspection.programs import make_jaxpr as make_jaxpr
    from .inspection.scopes import name_scope as name_scope
    from .lax.segments import segment_max as segment_max
    from .lax.segments import segment_min as segment_min
    from .lax.segments import segment_prod as segment_prod
    from .lax.segments import segment_sum as segment_sum
    from .monitoring import monitor as monitor
    from .monitoring import tag as tag
    from .numpy.indexing import at as at
    from .parallel import get_num_threads as get_num_threads
    from .parallel import set_num_threads as set_num_threads
    from .parallel import threads as threads
    from .rules.callbacks import io_callback as io_callback
    from .rules.callbacks import pure_callback as pure_callback
    from .rules.custom import CustomVJPPrimal as CustomVJPPrimal
    from .rules.custom import SymbolicZero as SymbolicZero
    from .rules.custom import custom_jvp as custom_jvp
    from .rules.custom import custom_rule as custom_rule
    from .rules.custom import custom_vjp as custom_vjp
    from .rules.custom import stop_gradient as stop_gradient
    from .rules.custom_maps import custom_transpose as custom_transpose
    from .rules.custom_maps import custom_vmap as custom_vmap
    from .rules.custom_maps import linear_call as linear_call
    from .rules.custom_maps import sequential_vmap as sequential_vmap

# Loaded on first use, so that importing functrans costs nothing (and the build can read the op table).
_HOME = {
    "api.batching": ("vmap",),
    "api.compilation": ("jit",),
    "api.derivatives": ("grad", "jvp", "linear_transpose", "linearize", "value_and_grad", "vjp"),
    "api.flattening": ("ravel_pytree",),
    "api.implicit": ("fixed_point",),
    "api.jacobians": ("hessian", "jacfwd", "jacobian", "jacrev"),
    "api.preparing": ("prepare",),
    "api.products": ("hessian_diag", "hvp"),
    "api.recomputation": ("checkpoint", "checkpoint_name", "remat"),
    "calling.staging": ("cache_info", "clear_caches"),
    "inspection.finite": ("debug_infs", "debug_nans"),
    "inspection.profiling": ("profile",),
    "inspection.programs": ("ShapeDtypeStruct", "eval_shape", "make_jaxpr"),
    "inspection.scopes": ("name_scope",),
    "graph": ("Graph", "gradients"),
    "lax.segments": ("segment_max", "segment_min", "segment_prod", "segment_sum"),
    "monitoring": ("monitor", "tag"),
    "numpy.indexing": ("at",),
    "parallel": ("get_num_threads", "set_num_threads", "threads"),
    "rules.callbacks": ("io_callback", "pure_callback"),
    "rules.custom": ("CustomVJPPrimal", "SymbolicZero", "custom_jvp", "custom_rule", "custom_vjp",
                     "stop_gradient"),
    "rules.custom_maps": ("custom_transpose", "custom_vmap", "linear_call", "sequential_vmap"),
}
_NAMES = {name: home for home, names in _HOME.items() for name in names}
_MODULES = ("checkpoint_policies", "debug", "errors", "experimental", "extend", "graph", "lax", "nn",
            "numpy", "optimizers", "random", "scipy", "sparse", "tensorboard", "testing", "tree", "viz")
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
