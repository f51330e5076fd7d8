"""Loads the compiled rooms; an unbuilt checkout gets the command that builds it."""

import importlib

from .errors import BuildError

_ROOMS = ("ir.core", "trace.core", "ops.elementwise", "ops.special", "ops.bessel", "ops.integrals",
          "ops.shape", "ops.dynamic", "ops.reduce",
          "ops.contract", "ops.conv", "ops.window", "ops.index", "ops.sort", "ops.random",
          "ops.fft", "ops.bits", "ops.effects", "ops.monitoring", "ops.call", "ops.custom",
          "ops.collective", "ops.control",
          "transform", "plan", "numpy.ufuncs", "calling.boundary", "calling.staging")

try:
    for _room in _ROOMS:
        importlib.import_module(f".{_room}", __package__)
except ModuleNotFoundError as e:
    if (e.name or "").startswith("functrans"):
        raise BuildError(f"the compiled module {e.name} is missing.",
                         "Build it with: pip install -e .   (this needs a C compiler)",
                         location=False) from e
    raise

importlib.import_module(".kernels.codegen", __package__).check_table()
