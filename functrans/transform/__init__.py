"""The transform room: passes from jaxpr to jaxpr.

In: a jaxpr and which inputs are perturbed, linear or batched. Out: a new jaxpr (or values of the
current builder) and the same masks for its outputs. What must hold: passes interpret equations in
order and bind into the current builder; symbolic zeros and masks live inside passes only; every
rule comes from the op's record.
"""

from ..ir import core as _ir
from ..ops import while_loop as _while_loop  # noqa: F401  (loops are records that no other room loads)
from ..ops.call import Passes
from . import cleanup, interpret, jvp, linearize, programs, vmap, zeros

Passes.jvp_jaxpr = staticmethod(jvp.jvp_jaxpr)
Passes.linearize_jaxpr = staticmethod(linearize.linearize_jaxpr)
Passes.recomputing = staticmethod(linearize.recomputing)
Passes.transpose_masked = staticmethod(linearize.transpose_masked)
Passes.batch_jaxpr = staticmethod(vmap.batch_jaxpr)
Passes.batch_fun = staticmethod(vmap.batch_fun)
Passes.linearize_rule = staticmethod(linearize.linearize_rule)
Passes.transpose_fun = staticmethod(linearize.transpose_fun)
Passes.jvp_fun = staticmethod(jvp.jvp_fun)
Passes.linearize_inside = staticmethod(linearize.linearize_inside)
Passes.evaluate = staticmethod(interpret.evaluate)
Passes.stage = staticmethod(lambda fun, avals: programs.closed(lambda *xs: (fun(*xs), None), avals)[0])
Passes.lit, Passes.aval = staticmethod(_ir.lit), staticmethod(_ir.aval)
Passes.var = staticmethod(lambda a: _ir.var(a, 0))

__all__ = ["cleanup", "interpret", "jvp", "linearize", "programs", "vmap", "zeros"]
