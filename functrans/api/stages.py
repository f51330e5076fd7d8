"""What comes between a jitted function and its values: lowered, then compiled. Names are as in JAX."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from .. import errors, tree
from ..calling.boundary import FastJit
from ..calling.staging import api, leaf_avals, name_of
from ..inspection.programs import ShapeDtypeStruct
from ..ir.core import Jaxpr
from ..parallel import get_num_threads
from ..plan.describe import Plan, plan_of
from ..plan.peak import LiveBuffer, live_at_peak
from ..trace.core import Captured

SHOWN = 16              # lines of a printed analysis of memory


class MemoryAnalysis(NamedTuple):
    """Memory of one call, in bytes.

    Attributes:
      argument_size_in_bytes, output_size_in_bytes: the arrays that go in and come out.
      temp_size_in_bytes: all temporaries of a run (the arena), inner programs included.
      scratch_size_in_bytes: registers of block groups, one set for each thread.
      alias_size_in_bytes: outputs in the memory of donated arguments.
      generated_code_size_in_bytes: the plan itself.
      peak_memory_in_bytes: arguments, outputs, temporaries and scratch.
      peak_step: at which step of the plan most of the temporaries are alive.
      live_at_peak: what is alive then, the largest first: ``LiveBuffer``s with ``name``, ``kind``,
        ``nbytes``, ``type`` and ``source``, your line. ``print`` shows them.
    """

    argument_size_in_bytes: int
    output_size_in_bytes: int
    temp_size_in_bytes: int
    scratch_size_in_bytes: int
    alias_size_in_bytes: int
    generated_code_size_in_bytes: int
    peak_memory_in_bytes: int
    peak_step: str
    live_at_peak: tuple[LiveBuffer, ...]

    def __str__(self) -> str:
        lines = [f"{self.peak_memory_in_bytes:>14,}  bytes at the peak"
                 + (f", {self.peak_step}" if self.peak_step else ""),
                 *map(str, self.live_at_peak[:SHOWN])]
        rest = self.live_at_peak[SHOWN:]
        if rest:
            lines.append(f"{sum([b.nbytes for b in rest]):>14,}  in {len(rest)} more")
        return "\n".join(lines)


class Stage:
    """What ``Lowered`` and ``Compiled`` share.

    Attributes:
      jaxpr: the program that is run, after the clean-up passes.
      plan: its steps and buffers; prints. A ``functrans.plan.describe.Plan``.
      in_tree, out_tree: structures of ``(args, kwargs)`` without static arguments, and of the result.
      in_avals, out_avals: types in these structures. out_info, args_info: the same as
        ``ShapeDtypeStruct``.
    """

    def __init__(self, lowered: Lowered):
        self._lowered = lowered

    @property
    def jaxpr(self) -> Jaxpr:
        return self._lowered.version.run_pass.final

    @property
    def plan(self) -> Plan:
        return self._lowered.described

    @property
    def in_tree(self):
        return self._lowered.treedef

    @property
    def out_tree(self):
        return self._lowered.version.out_tree

    @property
    def in_avals(self):
        return self.in_tree.unflatten(list(self._lowered.avals))

    @property
    def out_avals(self):
        return self.out_tree.unflatten(list(self.jaxpr.out_avals))

    @property
    def args_info(self):
        return self.in_tree.unflatten([struct(a) for a in self._lowered.avals])

    @property
    def out_info(self):
        return self.out_tree.unflatten([struct(a) for a in self.jaxpr.out_avals])

    def cost_analysis(self) -> dict[str, int]:
        """What one call takes, known before it runs.

        Keys:
          flops: sums, products, comparisons and other arithmetic, one an element; a product of
            matrices of m x k and k x n takes 2 m n k. transcendentals: exp, sin, pow and their like.
          bytes accessed: of all operands of all steps; what passes between the members of a fused
            group counts nothing.
          temp bytes, scratch bytes, output bytes, argument bytes: memory, see ``memory_analysis``.
          loops of unknown length: how many ``while`` loops there are. Of these one turn is counted, of
            ``cond`` the branch that takes most, of ``scan`` every turn.
        """
        plan, memory = self.plan, self.memory_analysis()
        return {"flops": plan.cost.flops, "transcendentals": plan.cost.transcendentals,
                "bytes accessed": plan.cost.bytes, "temp bytes": memory.temp_size_in_bytes,
                "scratch bytes": memory.scratch_size_in_bytes,
                "output bytes": memory.output_size_in_bytes,
                "argument bytes": memory.argument_size_in_bytes,
                "loops of unknown length": plan.unknown_loops}

    def memory_analysis(self) -> MemoryAnalysis:
        """Memory of one call, known before it runs."""
        plan = self.plan
        given = sum([a.nbytes for a in self.jaxpr.in_avals])
        out = sum([a.nbytes for a in self.jaxpr.out_avals])
        scratch = plan.scratch_bytes * get_num_threads()
        alias = sum([self.jaxpr.out_avals[o].nbytes for _, o, _ in plan.program.given])
        total = given + out - alias + plan.frame_bytes + scratch
        return MemoryAnalysis(given, out, plan.frame_bytes, scratch, alias, plan.program.nbytes, total,
                              *live_at_peak(plan))

    def as_text(self) -> str:
        """The program and its plan, with the user's lines."""
        return f"{self.jaxpr.show(sources=True)}\n\n{self.plan}"


def struct(aval) -> ShapeDtypeStruct:
    """The type without data; still weak if it is."""
    made = ShapeDtypeStruct.__new__(ShapeDtypeStruct)
    made.aval = aval
    return made


class Lowered(Stage):
    """A function for one set of argument types: what ``jit(f).lower(*args)`` returns."""

    def __init__(self, jitted, statics, version, treedef, avals):
        super().__init__(self)
        self.jitted, self.statics, self.version = jitted, statics, version
        self.treedef, self.avals = treedef, avals

    @cached_property
    def described(self) -> Plan:
        return plan_of(self.jaxpr, donated=self.version.run_pass.donated)

    @property
    def values(self) -> list:
        """The captured arrays, which follow the arguments."""
        return [c.value if type(c) is Captured else c for c in self.version.consts]

    def compile(self) -> Compiled:
        """The function for these types only, ready to be called. Static arguments are left out."""
        return Compiled(self)

    def __repr__(self):
        return f"<Lowered {name_of(self.jitted.fun)}: {', '.join(map(str, self.avals))}>"


class Compiled(Stage, FastJit):
    """A function for one set of argument types, compiled: call it like the function.

    Arguments of other types raise ``ArgumentError``; static arguments are left out.
    """

    def __init__(self, lowered: Lowered):
        fun = lowered.jitted.fun
        FastJit.__init__(self, self._call, fun, (
            _again, (lowered.jitted, lowered.statics, *lowered.args_info)), True)
        Stage.__init__(self, lowered)
        self.__name__ = self.__qualname__ = f"compiled({name_of(fun)})"
        version = lowered.version
        version.run_pass.compiled()
        if all(type(c) is Captured for c in version.consts):
            args, kwargs = lowered.treedef.children()
            self.remember(version.entry_of(args, kwargs if kwargs.children() else None, lowered.avals))

    @api
    def _call(self, *args, **kwargs):
        """What the fast path leaves: numbers of another kind of weakness, traced values, mistakes."""
        lowered = self._lowered
        leaves, treedef = tree.flatten((args, kwargs))
        if treedef != lowered.treedef:
            raise errors.ArgumentError(
                f"{self.__name__} was lowered for arguments of the structure {lowered.treedef!r}, got "
                f"{treedef!r}.", "Pass them as they were given to lower, without static arguments.")
        names = self.jaxpr.names
        got = leaf_avals(leaves, treedef, names, self.__name__, lambda treedef, names, i: names[i])
        wrong = [f"{n} is {b}, not {a}" for n, a, b in zip(names, lowered.avals, got, strict=False)
                 if a.shape != b.shape or a.dtype != b.dtype]
        if wrong:
            raise errors.ArgumentError(
                f"{self.__name__} was lowered for other types: {'; '.join(wrong)}.",
                "Pass the types that were given to lower, or call the jitted function itself, which "
                "compiles for each set of types.")
        return lowered.version(leaves)


def _again(jitted, statics, args, kwargs) -> Compiled:
    return jitted.lowered(statics, args, kwargs).compile()
