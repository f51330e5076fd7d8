"""What a graph is made of: placeholders, constants, equations, and names of symbols."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import errors, tree
from ..calling.staging import Cache, api
from ..ir.core import Aval, Eqn, Var, aval
from ..ir.show import equation
from ..trace.core import Captured, aval_of, var_of
from ..trace.source import scope_now
from ..trace.tracer import Tracer
from .feeding import described
from .parts import Parts
from .symbols import (
    Runner,
    add_constant,
    add_input,
    belongs_to,
    new_builder,
    step_in,
    step_out,
    symbol_of,
)


class Building:
    """The part of ``Graph`` that holds symbols and adds them."""

    def __init__(self) -> None:
        self._builder = new_builder()
        self._parts = Parts(self._builder)
        self._runner = Runner(self._builder)
        self._lock = threading.RLock()          # of those who add
        self._entered: list = []
        self._finalized = False
        self._symbols: dict[Var, Tracer] = {}   # those that the graph has handed out
        self._named: dict[str, Var] = {}
        self._names: dict[Var, str] = {}
        self._passes = Cache(256)

    # ----- building -----

    @api
    def __enter__(self) -> Self:
        if self._finalized:
            raise errors.GraphError("equations were to be added to a graph that is finalized.",
                                    "Build it before graph.finalize(), or build another graph.")
        self._entered.append(step_in(self._builder))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        step_out(self._builder, *self._entered.pop())
        if isinstance(error, errors.FunctransError):
            errors.hide_internal_frames(error)

    @api
    def placeholder(self, shape: Sequence[int] | int = (), dtype: Any = "float64",
                    name: str | None = None) -> Any:
        """A symbol whose value is given to ``run``.

        Args:
          shape, dtype: of the values; all extents are known.
          name: by which ``g[name]``, ``run`` and printed programs know it; open ``name_scope``s come before
            it, as in ``"layer1/w"``. Without one it is called ``%`` and a number.

        Raises:
          ShapeError, DtypeError, GraphError (a name that is taken, a finalized graph).

        >>> from functrans import Graph
        >>> g = Graph()
        >>> x = g.placeholder((3, 2), "float32", name="x")
        >>> x.shape, x.dtype, g["x"] is x
        ((3, 2), dtype('float32'), True)
        """
        label = self._full_name(name)
        kind = symbol_type(shape, dtype, f"placeholder {label!r}" if label else "a placeholder")
        with self:
            return self._keep(add_input(self._builder, kind), label)

    @api
    def constant(self, value: Any, name: str | None = None) -> Any:
        """A symbol with a fixed value: a copy of the array as it is now.

        Arrays and numbers that stand in expressions are constants, too; this gives one a name, or makes it
        one symbol where several expressions use it.

        >>> import numpy as np
        >>> from functrans import Graph
        >>> g = Graph()
        >>> w = g.constant(np.ones(3), name="w")
        >>> g.run(w)
        array([1., 1., 1.])
        """
        label = self._full_name(name)
        if type(value) is Tracer:
            raise errors.ArgumentError(f"a constant was to be made of the symbol {self.label(value)}.",
                                       "Give an array or a number.")
        value = np.asarray(value)
        aval_of(value)
        with self:
            return self._keep(add_constant(self._builder, value), label)

    @api
    def __setitem__(self, name: str, symbol: Any) -> None:
        """Gives a symbol a name: ``g["loss"] = loss``."""
        v, label = self._var(symbol, f"g[{name!r}] = ..."), self._full_name(name)
        if label is None or v in self._names:
            raise errors.GraphError(f"the symbol {self._text(v)} was to be named {label!r}.",
                                    "A symbol has one name, a string.")
        self._keep(symbol if type(symbol) is Tracer else self._symbol(v), label)

    def _full_name(self, name: str | None) -> str | None:
        """The name with the open scopes before it, if it can be one."""
        if name is None:
            return None
        if not isinstance(name, str) or not name or name[0] == "%" or name.strip() != name:
            raise errors.GraphError(f"the name {name!r} for a symbol.",
                                    "Give a string that is not empty and does not begin with %.")
        label = "/".join([*(scope_now() or ()), name])
        if label in self._named:
            raise errors.GraphError(f"the name {label!r} is that of another symbol, "
                                    f"{self._named[label].aval}.", "Names of a graph differ; "
                                    "functrans.name_scope puts others in front.")
        return label

    def _keep(self, symbol: Any, label: str | None = None) -> Any:
        v = var_of(symbol)
        self._symbols[v] = symbol
        if label is not None:
            self._named[label], self._names[v] = v, label
        return symbol

    @api
    def finalize(self) -> None:
        """Ends building: whatever would add to the graph raises GraphError from here on."""
        if self._entered:
            raise errors.GraphError("finalize() inside of the 'with' block that builds the graph.",
                                    "Call it after the block.")
        self._finalized = True

    @property
    def finalized(self) -> bool:
        return self._finalized

    # ----- looking -----

    @api
    def __getitem__(self, name: str) -> Any:
        """The symbol of this name, as it was given or as it is printed."""
        return self._symbol(self._by_name(name))

    def _by_name(self, name: str) -> Var:
        v = self._named.get(name) if isinstance(name, str) else None
        if v is None and isinstance(name, str) and name[:1] == "%" and name[1:].isdecimal():
            self._parts.made()
            index = int(name[1:])
            v = self._parts.numbered.get(index) or next(
                (v for v in self._builder.invars if v.index == index), None)
        if v is None:
            known = ", ".join(map(repr, self._named)) or "none"
            raise errors.UnknownSymbolError(f"no symbol of the graph is named {name!r}.",
                                            f"Given names: {known}; others are printed with the graph.")
        return v

    def __contains__(self, x: Any) -> bool:
        """Whether x is a symbol of this graph, or the name of one."""
        return belongs_to(x, self._builder) if type(x) is Tracer else x in self._named

    def _symbol(self, v: Var) -> Any:
        found = self._symbols.get(v)
        return found if found is not None else self._symbols.setdefault(v, symbol_of(self._builder, v))

    @property
    def placeholders(self) -> list:
        """The placeholders, in the order in which they were made."""
        return [self._symbol(v) for v in self._builder.invars]

    @property
    def eqns(self) -> tuple[Eqn, ...]:
        """The equations up to now; those that ``gradients`` added are marked ``backward``."""
        return tuple(self._builder.eqns)

    def outputs(self, e: Eqn) -> list:
        """The symbols that an equation of the graph makes."""
        self._parts.made()
        return [self._symbol(v) for v in e.outs]

    def origin(self, e: Eqn) -> Eqn | None:
        """The equation of which ``gradients`` made e; None for what the user's code wrote."""
        return self._parts.origins.get(e)

    @api
    def label(self, symbol: Any) -> str:
        """Name of a symbol as it is printed."""
        return self._label(self._var(symbol, "label"))

    def _label(self, v: Var) -> str:
        return self._names.get(v) or f"%{v.index}"

    def _text(self, v: Var) -> str:
        """Name and type, for messages."""
        return f"{self._label(v)}:{v.aval}"

    def symbols(self, scope: str = "", backward: bool | None = None) -> dict[str, Any]:
        """The symbols that equations in a ``name_scope`` (and those inside it) make, by their labels.

        Args:
          scope: ``"layer1"``, ``"net/layer1"``; empty: all.
          backward: only those that gradients added (True), or only others (False).

        A dict of symbols can be fetched: ``g.run(g.symbols("layer1"), feeds)``.
        """
        path = tuple(scope.split("/")) if scope else ()
        return {self._label(v): self._symbol(v) for e in self._builder.eqns
                if (e.scope or ())[:len(path)] == path and backward in (None, e.backward)
                for v in e.outs if not v.aval.stacked}

    def show(self, sources: bool = False) -> str:
        """The graph as text: placeholders, constants and equations; with the user's lines if ``sources``."""
        self._parts.made()
        args = ", ".join([self._text(v) for v in self._builder.invars])
        lines = [f"graph({args})"]
        lines += [f"  {self._text(v)} = constant {_short(c)}" for v, c in self._parts.consts.items()]
        lines += [equation(e, self._label, sources, "  ") for e in self._builder.eqns]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"<Graph of {len(self._builder.eqns)} equations, {len(self._builder.invars)} placeholders>"

    def __reduce__(self):
        raise errors.ArgumentError("a Graph cannot be pickled.",
                                   "Pickle the function that builds it.")

    # ----- symbols in arguments -----

    def _var(self, x: Any, what: str) -> Var:
        """The variable that x, a symbol or a name, stands for."""
        if type(x) is Tracer:
            if not belongs_to(x, self._builder):
                raise errors.GraphError(f"{what}: the symbol {x.aval} belongs to another graph or trace.",
                                        "Use symbols of this graph.")
            return var_of(x)
        if isinstance(x, str):
            return self._by_name(x)
        raise errors.GraphError(f"{what}: {described(x)} is no symbol.",
                                "Give symbols of this graph, names of them, or pytrees of these.")

    def _vars(self, xs: Any, what: str) -> tuple[list[Var], Any]:
        """Variables of a pytree of symbols, and its structure."""
        leaves, treedef = tree.flatten(xs)
        paths = treedef.paths() if len(leaves) != 1 else [""]
        return [self._var(x, what + path) for x, path in zip(leaves, paths, strict=True)], treedef


def symbol_type(shape: Any, dtype: Any, what: str) -> Aval:
    """The type of a placeholder; errors say what is wrong with it."""
    dims = (shape,) if isinstance(shape, (int, np.integer)) else shape
    if not isinstance(dims, (tuple, list)) or not all(
            [isinstance(d, (int, np.integer)) and not isinstance(d, bool) and d >= 0 for d in dims]):
        raise errors.ShapeError(f"{what} has the shape {shape!r}.",
                                "Give a tuple of integers >= 0, e.g. (3, 4): all extents are known.")
    try:
        return aval(dims, np.dtype(dtype))
    except TypeError:
        raise errors.DtypeError(f"{what} has the dtype {dtype!r}.",
                                "Give a bool, integer, float or complex dtype, e.g. 'float32'.") from None


def _short(c: Any) -> str:
    """A captured value in one line."""
    if type(c) is not Captured:
        return repr(c)
    return np.array2string(np.asarray(c.value), threshold=6, edgeitems=2, precision=4).replace("\n", "")
