"""A program that also gives the statistics of what is tagged in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import errors
from ..ir.core import Eqn, Jaxpr, aval, eqn, lit, signature, var
from ..ir.op import OPS
from ..ops.monitoring import BUCKETS, COLUMNS, EXTREMES, plain, statistics, tag
from .tags import holds

# bytes: looked at at once, while it is in a cache; what is smaller, in the end, together
LARGE = 256 * 1024


class Key(NamedTuple):
    """Of a row of statistics: the layer, what of it (a kind of tags), and whether it is a parameter's."""

    name: str
    kind: str
    parameter: bool = False


class Layout(NamedTuple):
    """Of a matrix of statistics: the key of each row; all keys in the order in which the program comes by."""

    rows: tuple[Key, ...]
    order: tuple[Key, ...]


def collect(jaxpr: Jaxpr, results: Sequence[tuple[int, Key]], bins: bool) -> tuple[Jaxpr, Layout]:
    """The program with one more result, a row of statistics for each key, and which these are.

    Looked at is what is tagged, and the given results. The equations of the program stay what they are.
    """
    _check_names(jaxpr)
    rows = _Rows(bins)
    rows.program(jaxpr)
    for i, key in results:
        rows.look(key, jaxpr.outs[i], None)
    keys, out = rows.together()
    return Jaxpr(jaxpr.invars, rows.eqns, [*jaxpr.outs, *([out] if keys else [])], jaxpr.retraced), Layout(
        tuple(keys), tuple(dict.fromkeys(rows.order)))


def _check_names(jaxpr: Jaxpr) -> None:
    """Raises where two lines tag different values by one name."""
    lines: dict[str, Any] = {}
    todo = [jaxpr]
    while todo:
        for e in todo.pop().eqns:
            if e.op is tag and e.params["kind"] == "value" and e.src is not None:
                before = lines.setdefault(plain(e.params["name"]), e.src)
                if before[:2] != e.src[:2]:
                    raise errors.TagError(
                        f"the tag {plain(e.params['name'])!r} is used at {errors.format_location(*before)} "
                        f"and at {errors.format_location(*e.src)}.",
                        "Give each layer a name of its own, or put functrans.name_scopes around them.", False)
            todo += [p for value in e.params.values()
                     for p in (value if type(value) is tuple else (value,)) if type(p) is Jaxpr]


class _Rows:
    """Equations so far, and the rows that they give."""

    def __init__(self, bins: bool):
        self.bins = bins
        self.eqns: list[Eqn] = []
        self.columns = len(COLUMNS) + (BUCKETS if bins else 0)
        self.parts: list[tuple[list[Key], Any]] = []        # keys, and a matrix with a row for each
        self.waiting: dict[np.dtype, list[tuple[Key, Any]]] = {}
        self.order: list[Key] = []

    def bind(self, op: Any, atoms: Sequence[Any], like: Eqn | None = None, **params: Any) -> Any:
        sig = signature(op, tuple([x.aval for x in atoms]), params)
        outs = tuple([var(a, 0) for a in sig.outs])
        self.eqns.append(eqn(sig, tuple(atoms), outs, like))
        return outs if sig.multiple else outs[0]

    def look(self, key: Key, x: Any, like: Eqn | None) -> None:
        """Notes an array for its statistics."""
        self.order.append(key)
        if x.aval.dtype.kind == "c":
            x = self.bind(OPS["abs"], [x], like)
        wanted = np.dtype("f4") if x.aval.dtype.itemsize <= 4 and x.aval.dtype.kind == "f" else np.dtype("f8")
        if x.aval.dtype != wanted:
            x = self.bind(OPS["convert"], [x], like, dtype=wanted)
        if x.aval.nbytes >= LARGE:
            self.parts.append(([key], self.bind(statistics, [x], like, bins=self.bins)))
        else:
            self.waiting.setdefault(wanted, []).append((key, x))

    def together(self) -> tuple[list[Key], Any]:
        """All rows as one matrix; None without any."""
        for found in self.waiting.values():
            self.parts.append(([k for k, _ in found],
                               self.bind(statistics, [x for _, x in found], bins=self.bins)))
        keys = [k for part, _ in self.parts for k in part]
        if len(self.parts) > 1:
            return keys, self.bind(OPS["concatenate"], [m for _, m in self.parts], axis=0)
        return keys, self.parts[0][1] if self.parts else None

    # ----- programs ---------------------------------------------------------------------------

    def program(self, jaxpr: Jaxpr) -> None:
        for e in jaxpr.eqns:
            rule: Any = _RULES.get(e.op.name, _inner if "jaxpr" in e.params else None)
            if e.op is tag:
                name, kind = plain(e.params["name"]), e.params["kind"]
                sig = signature(tag, e.sig.in_avals, {"name": name, "kind": kind}, e.sig.out.weak)
                self.eqns.append(eqn(sig, e.inputs, e.outs, e))
                self.look(Key(name, kind), e.outs[0], e)
            elif rule is not None and holds_any(e):
                keys, matrix = rule(self, e)
                if keys:
                    self.parts.append((keys, matrix))
            else:
                self.eqns.append(e)

    def inside(self, jaxpr: Jaxpr) -> tuple[_Rows, list[Key], Any]:
        rows = _Rows(self.bins)
        rows.program(jaxpr)
        self.order += rows.order
        return (rows, *rows.together())

    def remade(self, e: Eqn, inputs: Sequence[Any], at: int, keys: list[Key], op: Any = None, **params: Any):
        """The equation with a matrix of rows as one more result, in place ``at``."""
        sig = signature(op or e.op, tuple([x.aval for x in inputs]), params)
        matrix = var(sig.outs[at], 0)
        self.eqns.append(eqn(sig, tuple(inputs), (*e.outs[:at], matrix, *e.outs[at:]), e))
        return keys, matrix

    # ----- rows of several turns --------------------------------------------------------------

    def extremes(self, n: int) -> Any:
        """Which elements of n rows are extremes."""
        column = self.bind(OPS["iota"], [], shape=(n, self.columns), dtype=np.dtype("i8"), axis=1)
        return self.bind(OPS["or"], [self.bind(OPS["eq"], [column, lit(c, column.aval)]) for c in EXTREMES])

    def nothing(self, n: int) -> Any:
        """The rows of arrays without elements."""
        mask = self.extremes(n)
        a = aval(mask.aval.shape, np.float64)
        return self.bind(OPS["select"], [mask, lit(-np.inf, a), lit(0, a)])

    def added(self, x: Any, y: Any) -> Any:
        return self.bind(OPS["select"], [self.extremes(x.aval.shape[0]), self.bind(OPS["max"], [x, y]),
                                         self.bind(OPS["add"], [x, y])])


def holds_any(e: Eqn) -> bool:
    return holds(Jaxpr((), (e,), ()))


def _carried(rows: _Rows, body: Jaxpr, at: int, n_carry: int) -> tuple[list[Key], Any, Jaxpr]:
    """The body of a loop that carries rows behind the inputs before ``at``, and behind its own carry."""
    inner, keys, matrix = rows.inside(body)
    if not keys:
        return keys, None, body
    before = var(matrix.aval, 0)
    after = inner.added(before, matrix)
    return keys, rows.nothing(len(keys)), Jaxpr(
        [*body.invars[:at], before, *body.invars[at:]], inner.eqns,
        [*body.outs[:n_carry], after, *body.outs[n_carry:]], body.retraced)


def _scan(rows: _Rows, e: Eqn) -> tuple[list[Key], Any]:
    p = e.params
    n_carry, at = p["n_carry"], p["n_consts"] + p["n_carry"]
    keys, start, body = _carried(rows, p["jaxpr"], at, n_carry)
    at += p["length"] is None
    return rows.remade(e, [*e.inputs[:at], start, *e.inputs[at:]], n_carry, keys,
                       **{**p, "jaxpr": body, "n_carry": n_carry + 1})


def _while(rows: _Rows, e: Eqn) -> tuple[list[Key], Any]:
    """What the condition tags is not looked at: it does not run once a turn."""
    p = e.params
    n_carry = len(e.inputs) - p["n_cond"] - p["n_body"]
    keys, start, body = _carried(rows, p["body"], p["n_body"] + n_carry, n_carry)
    if not keys:
        rows.eqns.append(e)
        return [], None
    cond = p["cond"]
    cond = Jaxpr([*cond.invars, var(start.aval, 0)], cond.eqns, cond.outs, cond.retraced)
    return rows.remade(e, [*e.inputs, start], n_carry, keys, **{**p, "body": body, "cond": cond})


def _cond(rows: _Rows, e: Eqn) -> tuple[list[Key], Any]:
    found = [rows.inside(b) for b in e.params["branches"]]
    keys = list(dict.fromkeys([k for _, own, _ in found for k in own]))
    branches = []
    for b, (inner, own, matrix) in zip(e.params["branches"], found, strict=True):
        picked: dict[Key, Any] = {}
        for i, k in enumerate(own):
            row = inner.bind(OPS["slice"], [matrix], **_row(i, rows.columns))
            picked[k] = row if k not in picked else inner.added(picked[k], row)
        parts = [picked[k] if k in picked else inner.nothing(1) for k in keys]
        out = parts[0] if len(parts) == 1 else inner.bind(OPS["concatenate"], parts, axis=0)
        branches.append(Jaxpr(b.invars, inner.eqns, [*b.outs, out], b.retraced))
    return rows.remade(e, e.inputs, len(e.outs), keys, branches=tuple(branches))


def _row(i: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {"start": (i, 0), "limit": (i + 1, columns), "stride": (1, 1)}


def _inner(rows: _Rows, e: Eqn, keep: bool = False) -> tuple[list[Key], Any]:
    """A call; of what has a user's rule too, as no transform follows."""
    inner, keys, matrix = rows.inside(e.params["jaxpr"])
    j = e.params["jaxpr"]
    body = Jaxpr(j.invars, inner.eqns, [*j.outs, matrix], j.retraced)
    params = {**e.params, "jaxpr": body} if keep else {"jaxpr": body, "name": e.op.name}
    return rows.remade(e, e.inputs, len(e.outs), keys, None if keep else OPS["call"], **params)


_RULES = {"scan": _scan, "while": _while, "cond": _cond, "remat": partial(_inner, keep=True),
          "call": partial(_inner, keep=True)}
