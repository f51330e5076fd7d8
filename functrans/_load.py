"""Loads the compiled rooms in their order; an unbuilt checkout gets the command that builds it."""

from .errors import BuildError

try:
    from .ir import core as _core
    from .ops import call as _call, collective, contract, control, elementwise, index, reduce, shape
    from .trace import core as _trace
    from . import transform as _transform
    from . import plan as _plan
    from .numpy import ufuncs as _ufuncs
except ModuleNotFoundError as e:
    if (e.name or "").startswith("functrans"):
        raise BuildError(f"the compiled module {e.name} is missing.",
                         "Build it with: pip install -e .   (this needs a C compiler)",
                         location=False) from e
    raise
