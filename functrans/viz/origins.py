"""Where the equations of a program come from: the user's own ones, and those that transforms made of them.

While a function is traced here, every program that is traced on the way, such as the one that ``grad`` is
about to differentiate, has a mark put on each of its equations: a last name in its scopes, which transforms
hand on to what they make of it. So the origin of an equation of the final program is known exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..calling.staging import Watch, own_lines, rewriting
from ..inspection.programs import abstract
from ..ir.core import Eqn, Jaxpr, Lit, Var, eqn_in, signature
from ..ops.monitoring import plain
from ..trace.core import var_of
from ..trace.tracer import Tracer

# traces whose programs no derivative is taken of, but where a later trace does
NEUTRAL = {"vmap", "jit", "checkpoint"}


class Row:
    """An equation that the user's code bound, and with it all that transforms made of it.

    Attributes:
      eqn: as it was bound; level: the trace that it was bound in; order: when, among all rows.
      column: 0, but in programs inside of what a derivative made that derive nothing themselves.
    """

    def __init__(self, eqn: Eqn, level: Level, order: int, column: int = 0):
        self.eqn, self.level, self.order, self.column = eqn, level, order, column

    def __repr__(self) -> str:
        return f"<row {self.order}: {self.eqn.op.name}>"


class Mark(str):
    """A name among the scopes of an equation that says what it was made of.

    Attributes:
      row: the user's equation; column: how many derivatives it took: 0 for the user's own computation, 1
        for what the first derivative added, and so on; eqn: the equation itself, in its program; level.
    """

    row: Row
    column: int
    eqn: Eqn | None         # None: derived, so never the same as another
    level: Level


class Level:
    """A program that was traced on the way.

    Attributes:
      what: what traced it (``"grad"``, ``"vmap"``, ``"make_jaxpr"`` ...); jaxpr: with marks; values: what its
        inputs stand for, in the program around it; columns: how many it has.
    """

    def __init__(self, what: str, values: list):
        self.what, self.values = what, values
        self.jaxpr: Jaxpr | None = None
        self.columns = 1
        self.by_work: dict[tuple, Mark] = {}    # its equations by what they compute


class Origins:
    """The program of a function, each equation with its mark, and the levels that were traced for it.

    Attributes:
      jaxpr: the program; columns: how many it has; levels: in the order in which they were finished.
      out_tree: structure of its results.
    """

    def __init__(self) -> None:
        self.levels: list[Level] = []
        self.places: dict[Var, Row | tuple[Level, int]] = {}    # of variables of all levels
        self._rows = self._marks = 0
        self._thread = threading.get_ident()
        self.jaxpr: Jaxpr = Jaxpr((), (), ())
        self.out_tree: Any = None

    @classmethod
    def of(cls, fun: Callable, args: tuple, kwargs: dict, what: str) -> Origins:
        """Traces ``fun`` as ``make_jaxpr`` does, with marks."""
        self = cls()
        around, Watch.marks = Watch.marks, self
        try:
            with own_lines(), rewriting(self.traced):
                traced = abstract(fun, (), args, kwargs, what)
        finally:
            Watch.marks = around
        self.jaxpr, self.out_tree = traced.jaxpr, traced.out_tree
        return self

    @classmethod
    def guessed(cls, jaxpr: Jaxpr) -> Origins:
        """Of a program that was traced without marks: by what its equations know of their lines."""
        self = cls()
        level = Level("jaxpr", [])
        level.jaxpr = self.jaxpr = self._guess(jaxpr, level, {})
        level.columns = 1 + max([mark_of(e).column for e in all_eqns(self.jaxpr)], default=0)
        self.levels.append(level)
        return self

    @classmethod
    def of_graph(cls, graph: Any) -> Origins:
        """Of a ``Graph``: it knows of which equations ``gradients`` made others."""
        self = cls()
        level = Level("graph", [])
        marks: dict[Eqn, Mark] = {}
        lines: dict = {}
        inputs = dict.fromkeys([var_of(p) for p in graph.placeholders])
        made: set[Var] = set()
        eqns = []
        for e in graph.eqns:
            inputs.update(dict.fromkeys([x for x in e.inputs if type(x) is Var and x not in made]))
            made.update(e.outs)
            origin = graph.origin(e)
            near = [p for x in e.inputs if type(x) is Var and isinstance(p := self.places.get(x), Row)]
            if origin is not None:
                row, column = marks[origin].row, marks[origin].column + 1
            elif e.backward and near:
                row, column = near[-1], 1
            else:
                row, column = Row(e, level, self._rows), 0
                self._rows += 1
            new = _with_params(e, lambda j: self._guess(j, level, lines)) if bodies(e) else e
            new = self._with_mark(new, scope_of(e), row, column, level)
            if origin is None and not column:
                row.eqn = new
            marks[e] = mark_of(new)
            self.places.update(dict.fromkeys(e.outs, row))
            eqns.append(new)
        read = {x for e in eqns for x in e.inputs}
        found = [var_of(d.symbol) for d in graph.derivatives]
        outs = [v for e in eqns for v in e.outs if v not in read and v not in found]
        level.jaxpr = self.jaxpr = Jaxpr(inputs, eqns, [*outs, *found])
        level.columns = 1 + max([m.column for m in marks.values()], default=0)
        self.levels.append(level)
        return self

    @property
    def columns(self) -> int:
        return max([x.columns for x in self.levels], default=1)

    def name_inputs(self, names: list[str]) -> None:
        """Gives the program's inputs names."""
        j = self.jaxpr
        self.levels[-1].jaxpr = self.jaxpr = Jaxpr(j.invars, j.eqns, j.outs, j.retraced, tuple(names))

    def ghosts(self) -> list[Row]:
        """Rows of the levels that are in the program of which the user's equation is not."""
        own = {mark_of(e).row for e in self.jaxpr.eqns if mark_of(e).column == 0}
        used = {mark_of(e).row.level for e in self.jaxpr.eqns}
        found = [mark_of(e) for level in self.levels if level in used and level.jaxpr is not None
                 for e in level.jaxpr.eqns]
        rows = dict.fromkeys([m.row for m in found if m.column == 0 and m.row.level in used])
        return [row for row in rows if row not in own]

    def row_of(self, v: Var) -> Row | Var | None:
        """The row that makes a variable of any level; or the final program's input that it is."""
        place = self.places.get(v)
        while isinstance(place, tuple):
            level, i = place
            if level.jaxpr is self.jaxpr or (self.jaxpr.invars and v in self.jaxpr.invars):
                return v
            x = level.values[i] if i < len(level.values) else None
            if type(x) is not Tracer:
                return None
            v = var_of(x)
            place = self.places.get(v)
        return place

    # ----- marking ---------------------------------------------------------------------------------------

    def traced(self, jaxpr: Jaxpr, what: str, values: list) -> Jaxpr:
        """Called for each program that is traced; returns it with marks."""
        level = Level(what, values)
        level.jaxpr = self._marked(jaxpr, level)
        for i, v in enumerate(level.jaxpr.invars):
            self.places[v] = level, i
        self.levels.append(level)
        return level.jaxpr

    def derived(self, new: Jaxpr, old: Jaxpr) -> Jaxpr:
        """Called for each program that a pass made of another one; returns it with marks on all equations."""
        if threading.get_ident() != self._thread:
            return new
        marks = [m for e in all_eqns(new) if (m := last_mark(e)) is not None]
        level = next((x for x in reversed(self.levels) if x.jaxpr is old), marks[0].level if marks else None)
        return self._filled(new, level, None) if marks and level is not None else new

    def _filled(self, jaxpr: Jaxpr, level: Level, around: Mark | None) -> Jaxpr:
        """With marks also on equations that a rule bound without a source: those of their neighbours.

        A program inside that has no marks at all is no derivative of another one, and stays as it is.
        """
        if around is not None and not any(last_mark(e) for e in all_eqns(jaxpr)):
            return jaxpr
        near: dict[Var, Mark] = {}
        for e in reversed(jaxpr.eqns):
            mark = last_mark(e)
            if mark is not None:
                near.update({x: mark for x in e.inputs if type(x) is Var})
        eqns = []
        for e in jaxpr.eqns:
            mark = last_mark(e)
            if mark is None:
                found = [near[x] for x in (*e.inputs, *e.outs) if type(x) is Var and x in near]
                mark = found[0] if found else around
                if mark is not None:
                    new = Mark(f"\0{self._marks}")
                    self._marks += 1
                    new.row, new.column, new.level, new.eqn = mark.row, mark.column, mark.level, None
                    e, mark = eqn_in(e, (*(e.scope or ()), new)), new
            if mark is not None:
                near.update(dict.fromkeys(e.outs, mark))
            if bodies(e):
                e = _with_params(e, partial(self._filled, level=level, around=mark))
            eqns.append(e)
        return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.retraced, jaxpr.names)

    def _marked(self, jaxpr: Jaxpr, level: Level, base: int = 0) -> Jaxpr:
        """With marks of this level; ``base`` is the column of what was bound here."""
        known: dict[tuple[Level, Var], Var | Lit] = {}  # a variable here -> that of a former level
        taken: dict[tuple[Level, Var], Any] = {}        # and back
        met: set[Any] = set()                           # levels and marks
        # variables of programs around that are constants here
        lifted = {var_of(x): v for v, x in zip(jaxpr.invars, level.values, strict=False) if type(x) is Tracer}
        lifted.update({v: v for v in jaxpr.invars})
        rewritten: dict[Var, tuple[Eqn, Mark]] = {}     # results of what may be a user's own, rewritten
        eqns = []
        for e in jaxpr.eqns:
            old = last_mark(e)
            scope = scope_of(e)
            own = None
            if old is None:
                row, column = Row(e, level, self._rows, base), base
                self._rows += 1
            else:
                row, column = old.row, old.column
                if old.level not in met:
                    met.add(old.level)
                    _enter(old.level, lifted, known, taken)
                if old.level.what not in NEUTRAL:
                    own = old if _is_same(e, old, known, taken, met) else _merged(e, old, known, taken, met)
                    if own is None:
                        column = old.level.columns
                    else:
                        row, column = own.row, own.column
                        met.add(own)
                        _own_after_all(e, own, known, rewritten, met)
            new = self._with_mark(self._with_bodies(e, level, column), scope, row, column, level)
            if old is None:
                row.eqn = new
            if old is not None and own is None and old.eqn is not None and not e.backward:
                rewritten.update(dict.fromkeys(e.outs, (new, old)))
            level.by_work.setdefault(_work(new, new.inputs), mark_of(new))
            for v in e.outs:
                self.places[v] = row
            eqns.append(new)
        level.columns = max([level.columns, *[mark_of(e).column + 1 for e in eqns]])
        return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.retraced, jaxpr.names)

    def _with_mark(self, e: Eqn, scope: tuple, row: Row, column: int, level: Level) -> Eqn:
        mark = Mark(f"\0{self._marks}")
        self._marks += 1
        mark.row, mark.column, mark.level = row, column, level
        mark.eqn = new = eqn_in(e, (*scope, mark))
        return new

    def _with_bodies(self, e: Eqn, level: Level, column: int) -> Eqn:
        if not bodies(e):
            return e

        def body(j: Jaxpr) -> Jaxpr:
            inner = Level(level.what, [])
            inner.jaxpr = self._marked(j, inner, column)
            level.columns = max(level.columns, inner.columns)
            return inner.jaxpr
        return _with_params(e, body)

    def _guess(self, jaxpr: Jaxpr, level: Level, rows: dict) -> Jaxpr:
        eqns = []
        for e in jaxpr.eqns:
            key = e.src, e.scope
            found = None
            if e.backward:
                near = [p for x in e.inputs if type(x) is Var
                        and isinstance(p := self.places.get(x), Row)]
                found = rows.get(key) or (near[-1] if near else None)
            row = found
            if row is None:
                row = Row(e, level, self._rows)
                self._rows += 1
            if not e.backward:
                rows[key] = row
            for v in e.outs:
                self.places[v] = row
            new = _with_params(e, lambda j: self._guess(j, level, rows)) if bodies(e) else e
            new = self._with_mark(new, scope_of(e), row, int(found is not None), level)
            if found is None:
                row.eqn = new
            eqns.append(new)
        return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.retraced, jaxpr.names)


def last_mark(e: Eqn) -> Mark | None:
    """The mark of an equation, if it has one."""
    return next((name for name in reversed(e.scope or ()) if isinstance(name, Mark)), None)


def mark_of(e: Eqn) -> Mark:
    """The mark of an equation of a marked program."""
    mark = last_mark(e)
    assert mark is not None
    return mark


def scope_of(e: Eqn) -> tuple[str, ...]:
    """The user's names among the scopes of an equation."""
    return tuple([name for name in e.scope or () if not isinstance(name, Mark)])


def bodies(e: Eqn) -> list[tuple[str, Jaxpr]]:
    """The programs inside an equation, by the names of the parameters that hold them."""
    found = []
    for name, p in e.params.items():
        if isinstance(p, Jaxpr):
            found.append((name, p))
        elif isinstance(p, tuple) and p and all(isinstance(q, Jaxpr) for q in p):
            found += [(f"{name}[{i}]", q) for i, q in enumerate(p)]
    return found


def all_eqns(jaxpr: Jaxpr) -> Iterator[Eqn]:
    """The equations of a program and of all programs inside."""
    for e in jaxpr.eqns:
        yield e
        for _, body in bodies(e):
            yield from all_eqns(body)


def _with_params(e: Eqn, change: Callable[[Jaxpr], Jaxpr]) -> Eqn:
    """The same equation with other programs inside."""
    params = dict(e.params)
    for name, p in params.items():
        if isinstance(p, Jaxpr):
            params[name] = change(p)
        elif isinstance(p, tuple) and p and all(isinstance(q, Jaxpr) for q in p):
            params[name] = tuple([change(q) for q in p])
    weak = e.sig.out is not None and e.sig.out.weak
    return _like(e, signature(e.sig.op, e.sig.in_avals, params, weak))


def _like(e: Eqn, sig: Any) -> Eqn:
    from ..ir.core import eqn
    return eqn(sig, e.inputs, e.outs, e)


def _enter(level: Level, lifted: dict[Var, Var], known: dict, taken: dict) -> None:
    """Notes which variables of the program around stand for the inputs of ``level``."""
    for v, x in zip(level.jaxpr.invars if level.jaxpr is not None else (), level.values, strict=False):
        if v in lifted or type(x) is Tracer:    # its own program, as that of a call, or one made of it
            here = v if v in lifted else lifted.get(var_of(x), var_of(x))
            known[level, here] = v
            taken[level, v] = here


def _own_after_all(e: Eqn, own: Mark, known: dict, rewritten: dict[Var, tuple[Eqn, Mark]], met: set) -> None:
    """What e reads in the place of another of the user's equations is that one, rewritten by the clean-up."""
    assert own.eqn is not None
    for x in e.inputs:
        if x not in rewritten:
            continue
        maker, old = rewritten[x]
        there = known.get((own.level, x))
        outs = old.eqn.outs if old.eqn is not None else ()
        if there in outs or (there is None and any(y in outs for y in own.eqn.inputs)):
            mark_of(maker).column = old.column
            met.add(old)
            del rewritten[x]
            _own_after_all(maker, old, known, rewritten, met)


def _is_same(e: Eqn, old: Mark, known: dict, taken: dict, met: set) -> bool:
    """Whether ``e`` is the equation of the mark itself, not something derived from it."""
    f, level = old.eqn, old.level
    if f is None or e.op is not f.op or old in met or len(e.outs) < len(f.outs):
        return False
    if e.backward and not f.backward:
        return False
    if not bodies(e):
        if _settings(e) != _settings(f):
            return False
        pairs = list(zip(e.inputs, f.inputs, strict=True))
        turned = list(zip(e.inputs[::-1], f.inputs, strict=True)) if e.sig.commutes else pairs
        for chosen in (pairs, turned):
            if all(_stands_for(x, y, level, known, taken) for x, y in chosen):
                break
        else:
            return False
        for x, y in chosen:
            if type(x) is Var and type(y) is Var:
                known[level, x], taken[level, y] = y, x
    # a loop that keeps something has further results, also before its own: readers tell which is which
    for v, w in zip(e.outs, f.outs, strict=True) if len(e.outs) == len(f.outs) else ():
        known[level, v], taken[level, w] = w, v
    return True


def _settings(e: Eqn) -> frozenset:
    """The parameters, whether or not a monitor looks at the value."""
    return frozenset([(k, plain(v)) for k, v in e.params.items()])


def _work(e: Eqn, inputs: tuple) -> tuple:
    return e.op, _settings(e) if not bodies(e) else e, inputs


def _merged(e: Eqn, old: Mark, known: dict, taken: dict, met: set) -> Mark | None:
    """The mark of an equation of the level that computes the same, so that the clean-up kept one of them."""
    level = old.level
    for inputs in (e.inputs, e.inputs[::-1]) if e.sig.commutes else (e.inputs,):
        there = tuple([known.get((level, x), x) for x in inputs])
        found = level.by_work.get(_work(e, there))
        if found is not None and found is not old and _is_same(e, found, known, taken, met):
            return found
    return None


def _stands_for(x: Any, y: Any, level: Level, known: dict, taken: dict) -> bool:
    """Whether the operand x is y of ``level``, as far as is known."""
    if type(y) is Lit:
        return type(x) is Lit and x == y
    if type(x) is Lit:
        return (level, y) not in taken
    found = known.get((level, x))
    return found is y if found is not None else (level, y) not in taken and x.aval.strong is y.aval.strong
