"""The plan room.

In: a jaxpr. Out: a ``Program``, flat C steps over an arena; ``run`` turns values into fresh arrays.
What must hold: a program is immutable and reentrant and owns no arena; inputs are never written but
where they are donated; no output shares memory with anything; lowering is linear in the number of equations.
``recompute`` chooses what is computed twice, ``residuals`` what loops need not stack, ``view``, ``dtypes``
and ``lower`` make steps, ``fuse`` and ``group`` join them to block groups, ``buffers`` places them, ``run``
and ``control`` execute them, ``outputs`` recycles the memory of large results, ``donation`` makes results
of arguments, ``clusters``, ``scalar`` and ``registers`` make one step of many equations on tiny arrays,
``lanes`` one of a loop over many equal tiny problems, ``entry`` is where other rooms come in, ``describe``
says what a plan does and what it costs, ``peak`` what it needs in memory.
"""

from .arena import arena_info, clear_arenas
from .entry import cache_info, clear_cache, compile, evaluate, run_op
from .lower import Context, lower
from .outputs import clear_outputs, outputs_info
from .residuals import thinner
from .run import Program
from .view import View

__all__ = ["Context", "Program", "View", "arena_info", "cache_info", "clear_arenas", "clear_cache",
           "clear_outputs", "compile", "evaluate", "lower", "outputs_info", "run_op", "thinner"]
