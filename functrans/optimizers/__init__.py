"""Optimizers: pairs of functions on pytrees, with the names and arguments of Optax where it has them.

In: a pytree of parameters (``init``); gradients, state and parameters (``update``). Out: the state; updates,
which
``apply_updates`` adds. What must hold: everything may be traced, so that a training step is one program;
states are pytrees of arrays; parameters keep their dtypes.
"""

from .base import Optimizer, apply_updates, chain
from .clipping import add_decayed_weights, clip, clip_by_global_norm, global_norm, scale
from .driver import MinimizeResult, minimize
from .linesearch import value_and_grad_from_state, zoom_linesearch
from .quasi_newton import lbfgs, scale_by_lbfgs
from .rules import adagrad, adam, adamw, lion, momentum, nesterov, rmsprop, sgd
from .schedules import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    join_schedules,
    linear_schedule,
    piecewise_constant_schedule,
    polynomial_schedule,
    warmup_cosine_decay_schedule,
)

__all__ = [
    "MinimizeResult", "Optimizer", "adagrad", "adam", "adamw", "add_decayed_weights", "apply_updates",
    "chain", "clip", "clip_by_global_norm", "constant_schedule", "cosine_decay_schedule", "exponential_decay",
    "global_norm", "join_schedules", "lbfgs", "linear_schedule", "lion", "minimize", "momentum", "nesterov",
    "piecewise_constant_schedule", "polynomial_schedule", "rmsprop", "scale", "scale_by_lbfgs", "sgd",
    "value_and_grad_from_state", "warmup_cosine_decay_schedule", "zoom_linesearch",
]
