"""Which outputs of a function depend on which inputs: index sets propagated through its derivative.

Linearized, a program is sums, products with values that do not depend on the direction, and moves of
elements, so the records' ``reach`` rules of linear ops suffice. The result holds the true pattern and may
be larger: a product counts even where its value is 0 by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import SparsityError
from ..ir.core import Jaxpr, Lit, Var
from ..ir.op import ALL, SAME
from ..trace.core import Captured, bind
from ..trace.source import source_of
from ..trace.tracer import Tracer

MOST = 100_000_000          # entries of a pattern: beyond, it is no sparse matrix any more

Pattern = Any               # csr_array of bool, [elements, inputs]; None where nothing depends


class Propagation:
    """One walk through a linear program.

    Attributes:
      inputs: how many columns a pattern has; most: how many entries it may have.
      notes: what was taken for dense because its op has no rule, or a loop is too long to go through:
        ``{(name, line of the user's code)}``.
    """

    def __init__(self, inputs: int, most: int = MOST):
        self.inputs, self.most = inputs, most
        self.notes: dict[tuple, None] = {}

    def run(self, jaxpr: Jaxpr, patterns: list[Pattern], known: list) -> tuple[list[Pattern], list]:
        """Patterns and known values of the outputs, given those of the inputs."""
        env: dict[Var, tuple[Pattern, Any]] = dict(zip(jaxpr.invars, zip(patterns, known, strict=True),
                                                       strict=True))

        def read(x):
            return (None, x) if type(x) is Lit else env[x]

        for e in jaxpr.eqns:
            source_of(e)
            ins = [read(x) for x in e.inputs]
            patterns, known = [p for p, _ in ins], [v for _, v in ins]
            moves = any(p is not None for p in patterns)
            if not moves and all(v is not None for v in known):
                got = bind(e.op, tuple(known), e.params)
                outs, values = [None] * len(e.outs), list(got) if e.op.multiple else [got]
            elif e.op.multiple and e.op.reach is not None:
                outs, values = e.op.reach(self, e, patterns, known)
            elif not moves:
                outs = values = [None] * len(e.outs)
            else:
                outs, values = self._equation(e, patterns, known), [None] * len(e.outs)
            env.update(zip(e.outs, zip(outs, values, strict=True), strict=True))
        results = [read(x) for x in jaxpr.outs]
        return [p for p, _ in results], [v for _, v in results]

    def _equation(self, e, patterns, known) -> list[Pattern]:
        stacked = any([x.aval.stacked for x in e.inputs])      # of a loop: the patterns are those of a row
        if e.op.reach is None or (stacked and e.op.family != "elementwise"):
            return self.everything(e, patterns)
        (out,) = e.outs
        reach = e.op.reach([x.aval for x in e.inputs], [_array(v) for v in known], **e.params)
        found = None
        for p, r in zip(patterns, reach, strict=True):
            if p is not None and r is not None:
                found = union(found, self.through(p, r, out.aval.size))
        return [found]

    def through(self, p: Pattern, reach, size: int) -> Pattern:
        """The pattern of what depends on p in this way."""
        if reach is SAME:
            return p
        if reach is ALL:
            return self.spread(p, size)
        for to, source, n in reach if isinstance(reach, list) else [(*reach, size)]:
            self.check(int(np.diff(p.indptr)[source].sum()))
            p = moved(p, to, source, n)
        return p

    def spread(self, p: Pattern, size: int) -> Pattern:
        """Every row with all that any row has."""
        columns = np.unique(p.indices)
        self.check(size * len(columns))
        return sp.csr_array((np.ones(size * len(columns), bool), np.tile(columns, size),
                             np.arange(size + 1) * len(columns)), (size, self.inputs))

    def everything(self, e, patterns) -> list[Pattern]:
        """Every result depends on all that any operand depends on; noted."""
        if all(p is None for p in patterns):
            return [None] * len(e.outs)
        self.notes.setdefault((e.op.name, e.src and e.src[:2]))
        joined = sp.vstack([p for p in patterns if p is not None], "csr")
        return [self.spread(joined, v.aval.size) for v in e.outs]

    def check(self, entries: int) -> None:
        if entries > self.most:
            raise SparsityError(f"the derivative has more than {self.most} entries that may not be zero.",
                                "It is not sparse; use products (jvp, vjp, hvp) instead of the matrix.")


    # What the rules of ops that hold programs (ops/reach.py) build with:

    @staticmethod
    def union(p: Pattern, q: Pattern) -> Pattern:
        return union(p, q)

    @staticmethod
    def row(p: Pattern, i: int, size: int) -> Pattern:
        """What row i of an array depends on, whose rows have ``size`` elements."""
        return None if p is None else p[i * size:(i + 1) * size]

    def stacked(self, rows: list[Pattern], size: int) -> Pattern:
        """The pattern of an array whose rows have these."""
        if all(r is None for r in rows):
            return None
        empty = sp.csr_array((size, self.inputs), dtype=bool)
        return sp.vstack([empty if r is None else r for r in rows], "csr")

    value = staticmethod(lambda v: _array(v))


def _array(v):
    """A known value as an array."""
    if type(v) is Lit:
        return np.broadcast_to(v.value, v.aval.shape)
    return None if v is None else np.asarray(v)


def known_value(x):
    """An input of a program as a known value; None if it is traced."""
    return None if type(x) is Tracer else x.value if type(x) is Captured else x


def identity(n: int, first: int, inputs: int) -> Pattern:
    """An input's own pattern: its elements are inputs ``first``, ``first + 1`` and so on."""
    return sp.csr_array((np.ones(n, bool), first + np.arange(n), np.arange(n + 1)), (n, inputs))


def union(p: Pattern, q: Pattern) -> Pattern:
    if p is None or q is None:
        return q if p is None else p
    return p if p is q else p + q


def moved(p: Pattern, to, source, size: int) -> Pattern:
    """Rows ``source`` of p joined into rows ``to`` of a pattern with ``size`` rows."""
    if len(to) == size and np.array_equal(to, np.arange(size)):
        return p if len(source) == p.shape[0] and np.array_equal(source, to) else p[source]
    join = sp.csr_array((np.ones(len(to), bool), (to, source)), (size, p.shape[0]))
    return join @ p
