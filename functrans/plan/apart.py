"""Short rows become values of their own: a pass before lowering.

Loops over rows of two to eight elements, such as the coordinates of points, cost a call each. Where
values of such rows stay inside of block groups, each column of them becomes a value: ``[n, n, 3]`` is
three times ``[n, n]``. A sum over the row is then two additions, what is repeated along it is one value,
and what is made of the columns of an operand reads these where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ir.core import Eqn, Jaxpr, Lit, Var, eqn, lit, signature, var
from ..ir.op import OPS

MOST = 8                  # elements of a row
LARGE = 128 * 1024        # bytes of the largest value: less stays in the cache
SMALL = 8                 # what leaves is so many times smaller: it is put together again


def apart(jaxpr: Jaxpr) -> Jaxpr:
    """An equivalent program without values of short rows, where that pays. Linear in its length."""
    if not any([_short(v) and v.aval.nbytes >= LARGE for e in jaxpr.eqns for v in e.outs]):
        return jaxpr
    chosen = _Sets(jaxpr).chosen()
    return _Writer(chosen).written(jaxpr) if chosen else jaxpr


def _short(x: Any) -> bool:
    shape = x.aval.shape
    return len(shape) > 1 and 1 < shape[-1] <= MOST


def _is_member(e: Eqn) -> bool:
    """Whether the equation can be done column by column."""
    op = e.sig.op
    if op.by is not None:
        return _short(e.inputs[0])
    return len(e.outs) == 1 and _short(e.outs[0]) and (
        op.lower == "elementwise" or op.name == "broadcast_in_dim")


def _kept_row(e: Eqn) -> bool:
    """Whether rows of the first operand are rows of the result."""
    last = e.inputs[0].aval.ndim - 1
    if e.sig.op.by is not None:
        return last not in e.params["axes"]
    dims, n = e.params["dims"], e.outs[0].aval.shape[-1]
    return last >= 0 and dims[last] == e.outs[0].aval.ndim - 1 and e.inputs[0].aval.shape[last] == n


class _Sets:
    """Values of short rows that are connected by equations: all of a set come apart, or none."""

    def __init__(self, jaxpr: Jaxpr):
        self.parent: dict[Var, Var] = {}
        made: dict[Var, Eqn] = {}
        gains: list[Var] = []                    # of sets with something that rows make slow
        left: set[Var] = {x for x in jaxpr.outs if type(x) is Var}
        for e in jaxpr.eqns:
            if not _is_member(e):
                left.update([x for x in e.inputs if type(x) is Var])
                continue
            out, inputs = e.outs[0], [x for x in e.inputs if type(x) is Var]
            if e.sig.op.lower == "elementwise":
                together = inputs
            else:
                together = inputs if _kept_row(e) else []
                for x in inputs:
                    if e.sig.op.by is not None and not together:
                        if x in made:
                            gains.append(x)
                        else:
                            continue
                    elif e.sig.op.by is None and 1 < x.aval.size < out.aval.size:
                        gains.append(out)
            if _short(out) and (e.sig.op.by is None or together):
                made[out] = e
                for x in together:
                    if x in made:
                        self.parent[self.root(x)] = self.root(out)
        self.made, self.gains = made, gains
        self.left = [v for v in made if v in left]

    def root(self, v: Var) -> Var:
        parent = self.parent
        while (up := parent.get(v, v)) is not v:
            parent[v] = parent.get(up, up)
            v = up
        return v

    def chosen(self) -> set[Var]:
        """The values that come apart."""
        largest: dict[Var, int] = {}
        leaving: dict[Var, int] = {}
        for v in self.made:
            r = self.root(v)
            largest[r] = max(largest.get(r, 0), v.aval.nbytes)
        for v in self.left:
            r = self.root(v)
            leaving[r] = leaving.get(r, 0) + v.aval.nbytes
        gains = {self.root(v) for v in self.gains}
        taken = {r for r, n in largest.items()
                 if n >= LARGE and r in gains and leaving.get(r, 0) * SMALL <= n}
        return {v for v in self.made if self.root(v) in taken}


class _Writer:
    """Writes the program anew. ``columns`` has the columns of values, made or read."""

    def __init__(self, chosen: set[Var]):
        self.chosen = chosen
        self.columns: dict[Var, list] = {}
        self.eqns: list[Eqn] = []

    def written(self, jaxpr: Jaxpr) -> Jaxpr:
        whole: set[Var] = {v for v in jaxpr.outs if type(v) is Var}
        for e in jaxpr.eqns:
            if not self.takes(e):
                whole.update([x for x in e.inputs if type(x) is Var])
        for e in jaxpr.eqns:
            if not self.takes(e):
                self.eqns.append(e)
                continue
            out = e.outs[0]
            if out not in self.chosen:
                self.row(e)
                continue
            self.columns[out] = self.made(e)
            if out in whole:
                self.put_together(e, out)
        return Jaxpr(jaxpr.invars, self.eqns, jaxpr.outs, jaxpr.retraced, jaxpr.names)

    def takes(self, e: Eqn) -> bool:
        if not _is_member(e):
            return False
        x = e.inputs[0]
        return e.outs[0] in self.chosen or (e.sig.op.by is not None and not _kept_row(e)
                                            and x in self.chosen)

    def bind(self, like: Eqn, op: Any, inputs: Iterable, outs: tuple | None = None, **params: Any) -> Var:
        inputs = tuple(inputs)
        sig = signature(op, tuple([x.aval for x in inputs]), params)
        self.eqns.append(eqn(sig, inputs, outs or (var(sig.out, 0),), like))
        return self.eqns[-1].outs[0]

    def split(self, e: Eqn, x: Any) -> list:
        """The columns of an operand."""
        shape = x.aval.shape
        if type(x) is Lit:
            return [lit(x.value, x.aval.with_shape(shape[:-1]))] * shape[-1]
        found = self.columns.get(x)
        if found is None:
            found = self.columns[x] = []
            for k in range(shape[-1]):
                column = self.bind(e, OPS["slice"], (x,), start=(*(0 for _ in shape[1:]), k),
                                   limit=(*shape[:-1], k + 1), stride=(1,) * len(shape))
                found.append(self.bind(e, OPS["reshape"], (column,), shape=shape[:-1]))
        return found

    def made(self, e: Eqn) -> list:
        """The columns of what e makes."""
        n = e.outs[0].aval.shape[-1]
        if e.sig.op.lower == "elementwise":
            parts = [self.split(e, x) for x in e.inputs]
            return [self.bind(e, e.sig.op, column, **e.params) for column in zip(*parts, strict=True)]
        x, params = e.inputs[0], e.params
        if e.sig.op.by is not None:
            return [self.bind(e, e.sig.op, (column,), **params) for column in self.split(e, x)]
        shape = params["shape"][:-1]
        if _kept_row(e):
            return [self.bind(e, e.sig.op, (column,), shape=shape, dims=params["dims"][:-1])
                    for column in self.split(e, x)]
        if len(shape) in params["dims"]:                # from rows of one element
            x = self.bind(e, OPS["reshape"], (x,), shape=x.aval.shape[:-1])
        dims = tuple([d for d in params["dims"] if d < len(shape)])
        if dims != tuple(range(len(shape))) or x.aval.shape != shape:
            x = self.bind(e, e.sig.op, (x,), shape=shape, dims=dims)
        return [x] * n

    def row(self, e: Eqn) -> None:
        """A reduction over rows, and maybe over more."""
        column, *rest = self.split(e, e.inputs[0])
        axes = e.params["axes"][:-1]
        for k, other in enumerate(rest):
            last = not axes and k == len(rest) - 1
            column = self.bind(e, e.sig.op.by, (column, other), e.outs if last else None)
        if axes:
            self.bind(e, e.sig.op, (column,), e.outs, axes=axes)

    def put_together(self, e: Eqn, out: Var) -> None:
        """The value as it was, for what needs its rows."""
        shape = (*out.aval.shape[:-1], 1)
        columns = [self.bind(e, OPS["reshape"], (x,), shape=shape) for x in self.columns[out]]
        self.bind(e, OPS["concatenate"], columns, (out,), axis=len(shape) - 1)
