"""Graph: the symbols of an open program, their gradients, and runs of its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import errors, tree
from ..calling.staging import Pass, Uncollected, api, argument_names, leaf_name, name_of, own_lines
from ..ir.check import MalformedJaxpr, check
from ..ir.core import Jaxpr, Lit, Var, eqn, lit, signature
from ..ir.op import OPS
from ..ops.shape import Box
from ..trace.core import aval_of, bind, var_of
from ..trace.source import set_scope
from ..trace.tracer import Tracer
from ..transform.interpret import evaluate
from ..transform.programs import checked
from ..transform.zeros import has_tangent
from .backward import Backward, backward, forward, with_source, without_known
from .building import Building
from .feeding import Target, check_unconnected, described, fed_value, seeds_of
from .symbols import MISSED, Plan, add_constant


class Derivative(NamedTuple):
    """A symbol that is the derivative of the sum of ys with respect to x."""

    ys: tuple
    x: Any
    symbol: Any


class Graph(Building):
    """An open program: build it by parts, extend it by its own derivatives, run parts of it.

    In ``with g:`` NumPy code on *symbols* adds equations to the graph. Symbols are placeholders, constants
    and whatever is computed from them; they have a shape and a dtype, and no value. ``g.gradients`` adds the
    equations of derivatives and returns symbols for them, so that these can be used, printed and
    differentiated as any others. ``g.run`` computes what is asked for from values of any symbols.

    A graph is built in one thread at a time; ``run`` may be called from several at once. Symbols may be kept
    and used in any later ``with g:`` of their graph.

    >>> import numpy as np
    >>> from functrans import Graph
    >>> with Graph() as g:
    ...     a, b = g.placeholder(name="a"), g.placeholder(name="b")
    ...     e = np.sin(a) * b
    >>> da, db = g.gradients(e, [a, b])
    >>> print(g)
    graph(a:f64[], b:f64[])
      %2:f64[] = sin(a)
      %3:f64[] = mul(%2, b)
      %4:f64[] = cos(a)
      %5:f64[] = zmul(b, %4)
    >>> g.run([e, da], {a: 0.0, b: 2.0})
    [np.float64(0.0), np.float64(2.0)]
    """

    arguments: Any = ()
    results: Any = ()

    def __init__(self) -> None:
        super().__init__()
        self._derivatives: list[Derivative] = []

    # ----- gradients -----

    @api
    def gradients(self, ys: Any, xs: Any, grad_ys: Any = None, stop_gradients: Any = None,
                  unconnected: str = "none") -> Any:
        """Adds the derivatives of ``sum(ys)`` with respect to ``xs`` to the graph.

        Args:
          ys: symbols (a pytree) of any shapes. Their derivatives are added up. Integers have none.
          xs: symbols; also results of others. Each one's derivative is total: with ``x1 = f(x0)`` both in xs,
            that of x0 includes what goes through x1.
          grad_ys: what each y's derivative is multiplied with: arrays or symbols of the ys' types, or None
            for ones. Complex ys need it.
          stop_gradients: symbols that are taken as constants: nothing passes through what made them. With
            the xs themselves here, derivatives are partial.
          unconnected: for an x that no y depends on: ``"none"`` gives None, ``"zero"`` zeros of its type,
            ``"raise"`` raises.

        Returns:
          symbols, in the structure of xs. As ``tf.gradients``, but for the structure.

        Raises:
          GraphError: symbols of another graph, a wrong number of ``grad_ys``, another ``unconnected``, an x
            that is not connected. ShapeError, DtypeError: ``grad_ys`` unlike ys.

        >>> from functrans import Graph
        >>> with Graph() as g:
        ...     a = g.placeholder(name="a")
        ...     b = 2.0 * a
        ...     y = a + b
        >>> g.run(g.gradients(y, [a, b]), {a: 0.0})
        [np.float64(3.0), np.float64(1.0)]
        >>> g.run(g.gradients(y, [a, b], stop_gradients=[a, b]), {a: 0.0})
        [np.float64(1.0), np.float64(1.0)]
        """
        check_unconnected(unconnected)
        y_vars, ys_tree = self._vars(ys, "gradients: ys")
        x_vars, xs_tree = self._vars(xs, "gradients: xs")
        stops, _ = self._vars(stop_gradients, "gradients: stop_gradients")
        if not y_vars:
            raise errors.GraphError("gradients: ys is empty.", "Give at least one symbol.")
        paths = ys_tree.paths() if len(y_vars) > 1 else [""]
        seeds = seeds_of([Target(y.aval, path, self._text(y)) for y, path in zip(y_vars, paths, strict=True)],
                         ys_tree, grad_ys, self._var)
        chosen = [i for i, y in enumerate(y_vars) if has_tangent(y.aval)]
        found: dict[Var, Any] = {}
        with self._lock, self:
            new = None
            with Uncollected():
                part = forward(self._parts, [y_vars[i] for i in chosen], x_vars, set(stops))
                if part.leaves or part.tapped:
                    new = backward(part, [seeds[i] for i in chosen], self._symbol)
                    new = without_known(new, self._parts, self._symbol)
            reached = set(new.reached) if new is not None else set()
            lost = [i for i, x in enumerate(x_vars) if x not in reached]
            if lost and unconnected == "raise":
                paths = xs_tree.paths() if len(x_vars) > 1 else [""]
                names = ", ".join([f"xs{paths[i]} ({self._text(x_vars[i])})" for i in lost])
                raise errors.GraphError(f"gradients: no y depends on {names}.",
                                        "Leave it out, or say unconnected='zero'.")
            first = len(self._builder.eqns)
            around = set_scope(None)
            try:
                if new is not None:
                    self._add(new, found)
                for i in lost if unconnected == "zero" else ():
                    found[x_vars[i]] = self._literal(lit(0, x_vars[i].aval.strong))
            finally:
                set_scope(around)
                self._mark(first)
        self._derivatives += [Derivative(tuple([self._symbol(y) for y in y_vars]), self._symbol(x), found[x])
                              for x in dict.fromkeys(x_vars) if x in found]
        return xs_tree.unflatten([found.get(x) for x in x_vars])

    @property
    def derivatives(self) -> list[Derivative]:
        """What ``gradients`` has returned so far, each with ``ys``, ``x`` and ``symbol``, the derivative."""
        return list(self._derivatives)

    def _add(self, new: Backward, found: dict[Var, Any]) -> None:
        """Adds the equations of a gradient, and its symbols to ``found``."""
        first = len(self._builder.eqns)
        with Uncollected():
            outs = evaluate(new.jaxpr, new.values)
            made = {v for e in self._builder.eqns[first:] for v in e.outs}
        for x, out in zip(new.reached, outs, strict=False):
            found[x] = self._literal(out) if type(out) is Lit else self._given(out)
        for twin in new.twins:
            if type(outs[twin.at]) is Tracer and var_of(outs[twin.at]) in made:
                beside = [var_of(outs[i]) for i in twin.beside if type(outs[i]) is Tracer]
                self._parts.twins.setdefault(twin.of, []).append((var_of(outs[twin.at]), beside))

    def _mark(self, first: int) -> None:
        """Equations from ``first`` on are those of a gradient."""
        eqns = self._builder.eqns
        for i in range(first, len(eqns)):
            eqns[i], origin = with_source(eqns[i])
            if origin is not None:
                self._parts.origins[eqns[i]] = origin

    def _given(self, x: Any) -> Any:
        """A result of a pass as a symbol: arrays and numbers become constants."""
        return self._keep(x if type(x) is Tracer else add_constant(self._builder, x))

    def _literal(self, x: Lit) -> Any:
        """A literal as a symbol: an equation that only writes it."""
        return self._keep(bind(OPS["convert"], (x,), {"dtype": x.aval.dtype}))

    # ----- running -----

    def run(self, fetches: Any, feeds: Any = None) -> Any:
        """The values of symbols, given those of others. Runs only the equations that are needed.

        Args:
          fetches: a symbol, a name, or a pytree of these (None stays None).
          feeds: ``{symbol or name: value}``, or pairs ``[(pytree of symbols, pytree of values), ...]``. Not
            only placeholders: the value of any symbol may be given, and what makes it does not run. Numbers
            and lists are converted; arrays only where nothing is lost.

        Returns:
          fresh arrays and NumPy scalars, in the structure of ``fetches``.

        Raises:
          GraphError: a placeholder that is needed is not fed; symbols of another graph.
          ShapeError, DtypeError: values unlike their symbols. UnknownSymbolError: a name.

        The plan of each set of fetches and fed symbols is kept. Values may be traced, e.g. in a function that
        ``grad`` differentiates. An equation that acts (``debug.print``) does so in each run that has all
        that it is given.

        >>> import numpy as np
        >>> from functrans import Graph
        >>> with Graph() as g:
        ...     x = g.placeholder((2,), name="x")
        ...     h = np.exp(x)
        ...     y = h.sum()
        >>> g.run({"y": y}, {"x": [0.0, 0.0]})
        {'y': np.float64(2.0)}
        >>> g.run(y, {h: [1.0, 2.0]})
        np.float64(3.0)
        """
        try:
            found = self._runner(fetches, {} if feeds is None else feeds)
            return self._run(fetches, {} if feeds is None else feeds) if found is MISSED else found
        except Exception as e:
            errors.hide_internal_frames(e)
            raise

    def _run(self, fetches: Any, feeds: Any) -> Any:
        outs, structure = self._vars(fetches, "run: fetches")
        pairs = self._pairs(feeds)
        given: dict[Var, Any] = {}
        for v, x, where in pairs:
            if v in given:
                raise errors.GraphError(f"run: {self._text(v)} is fed twice.",
                                        "Give one value for each symbol.")
            given[v] = fed_value(x, v.aval, f"the value of {where}", f"the symbol is {self._text(v)}")
        length = len(self._builder.eqns)
        found, ins, consts = self._pass(tuple(outs), tuple(given), structure)
        values = found.run([*[given[v] for v in ins], *consts])
        if type(feeds) in (dict, list) and not any([type(x) is Tracer for x in (*given.values(), *consts)]):
            place = {v: i for i, v in enumerate(ins)}
            at = tuple([place.get(v, -1) for v in given])
            captured = tuple([c.value for c in consts])
            keys = tuple(feeds) if type(feeds) is dict else tuple([own_copy(key) for key, _ in feeds])
            self._runner.remember(Plan(
                structure, tree.leaves(fetches), keys, type(feeds) is list,
                tuple([v.aval.strong for v in given]),
                at, len(ins), captured, found.compiled(), length))
        return structure.unflatten(values)

    def _pairs(self, feeds: Any) -> list[tuple[Var, Any, str]]:
        """``(variable, value, how it was called)`` of everything that is fed."""
        found: list[tuple[Var, Any, str]] = []
        try:
            pairs = list(feeds.items() if hasattr(feeds, "items") else feeds)
            given = [(k, x) for k, x in pairs]
        except (TypeError, ValueError):
            raise errors.ArgumentError(f"run: feeds is {described(feeds)}.",
                                       "Give {symbol: value}, or a list of pairs.") from None
        for key, x in given:
            if type(key) is Tracer or isinstance(key, str):
                v = self._var(key, "run: feeds")
                found.append((v, x, self._label(v)))
            else:
                keys, treedef = tree.flatten(key)
                xs = treedef.flatten_up_to(x, "a fed value", "its symbol")
                for k, value, path in zip(keys, xs, treedef.paths(), strict=True):
                    v = self._var(k, f"run: feeds{path}")
                    found.append((v, value, self._label(v)))
        return found

    def _pass(self, outs: tuple[Var, ...], given: tuple[Var, ...],
              structure: Any) -> tuple[Pass, list, list]:
        """The program of a part, its inputs among ``given``, and the constants that follow them."""
        self._parts.made()
        key = outs, frozenset(given), len(self._parts.effects)
        found = self._passes.get(key)
        if found is None:
            found = self._passes.put(key, self._new_pass(outs, given, structure))
        return found

    def _new_pass(self, outs: tuple[Var, ...], given: tuple[Var, ...], structure: Any):
        with Uncollected():
            part = self._parts.part(list(outs), set(given))
        missing = [v for v in self._builder.invars if v in part.ends and v not in given]
        if missing:
            self._raise_missing(missing, outs, given, structure)
        ins = [v for v in given if v in part.ends]
        consts = [v for v in part.ends if v not in given]
        jaxpr = Jaxpr([*ins, *consts], part.eqns, part.outs, any([e.sig.retraced for e in part.eqns]),
                      tuple([self._label(v) for v in (*ins, *consts)]))
        return Pass(checked(jaxpr, "graph"), None), ins, [self._parts.consts[v] for v in consts]

    def _raise_missing(self, missing: list[Var], outs: tuple[Var, ...], given: tuple[Var, ...],
                       structure: Any) -> None:
        """GraphError that names what is not fed, and the first fetch that needs it."""
        paths = structure.paths() if len(outs) > 1 else [""]
        for v, path in zip(outs, paths, strict=True):
            _, ends = self._parts.reach([v], given)
            lacking = [x for x in missing if x in ends]
            if lacking:
                fed = ", ".join([self._text(x) for x in given]) or "nothing"
                needs = ", ".join([self._text(x) for x in lacking])
                raise errors.GraphError(f"run: fetches{path} ({self._text(v)}) needs {needs}; {fed} is fed.",
                                        "Feed a value for each placeholder that is needed.")

    @api
    def jaxpr(self, fetches: Any, feeds: Any = None) -> Jaxpr:
        """The program that computes ``fetches`` from ``feeds``, closed: constants are equations of it.

        Args:
          fetches: as ``run`` takes them.
          feeds: symbols or names (a pytree, or a dict whose keys count). Default: the placeholders that are
            needed, in the order in which they were made.

        >>> import numpy as np
        >>> from functrans import Graph
        >>> with Graph() as g:
        ...     x = g.placeholder(name="x")
        ...     y = np.sin(x) * 3.0
        >>> print(g.jaxpr(y))
        jaxpr(x:f64[])
          a:f64[] = sin(x)
          b:f64[] = mul(a, 3.0)
          return b
        """
        if feeds is not None:
            given, _ = self._vars(list(feeds) if isinstance(feeds, dict) else feeds, "jaxpr: feeds")
            return self._closed(fetches, given, "jaxpr: fetches")
        _, ends = self._parts.reach(self._vars(fetches, "jaxpr: fetches")[0], ())
        return self._closed(fetches, [v for v in self._builder.invars if v in ends], "jaxpr: fetches")

    def _closed(self, fetches: Any, given: list[Var], what: str) -> Jaxpr:
        """The program from ``given`` to ``fetches`` in which constants are equations."""
        outs, structure = self._vars(fetches, what)
        found, ins, consts = self._pass(tuple(outs), tuple(given), structure)
        raw = found.raw
        fixed = [eqn(signature(OPS["constant"], (), {"box": Box(np.asarray(c.value))}), (), (v,))
                 for v, c in zip(raw.invars[len(ins):], consts, strict=True)]
        return Jaxpr(given, (*fixed, *raw.eqns), raw.outs, raw.retraced,
                     tuple([self._label(v) for v in given]))

    @api
    def function(self, inputs: Any, outputs: Any) -> Callable:
        """A compiled function from values of ``inputs`` to those of ``outputs``, as ``theano.function``.

        Args:
          inputs: a tuple or list of (pytrees of) symbols: the function's positional arguments.
          outputs: as ``run`` takes fetches.

        The function is what ``jit`` returns, and can be differentiated and batched.

        >>> from functrans import Graph, grad
        >>> with Graph() as g:
        ...     x = g.placeholder()
        ...     y = x ** 3
        >>> f = g.function([x], y)
        >>> f(2.0), grad(f)(2.0)
        (np.float64(8.0), np.float64(12.0))
        """
        if not isinstance(inputs, (tuple, list)):
            raise errors.ArgumentError(f"function: inputs is {described(inputs)}.", "Give a list of symbols.")
        from ..api.compilation import jit
        given, _ = self._vars(inputs, "function: inputs")
        program = self._closed(outputs, given, "function: outputs")
        structure = tree.structure(outputs)

        def call(*args):
            leaves = tree.structure(tuple(inputs)).flatten_up_to(args, "the arguments", "the inputs")
            values = [fed_value(x, v.aval, f"the value of {self._label(v)}", f"the symbol is {self._text(v)}")
                      for x, v in zip(leaves, given, strict=True)]
            return structure.unflatten(evaluate(program, values))
        return jit(call)

    # ----- graphs of functions -----

    @classmethod
    @api
    def of(cls, fun: Callable, *args: Any) -> Graph:
        """The graph of a function: its arguments are placeholders, its results ``graph.results``.

        Args:
          args: arrays or ``ShapeDtypeStruct``s, in pytrees, that say the arguments' types.

        ``graph.arguments`` is the tuple of arguments, of symbols instead of arrays.

        >>> import numpy as np
        >>> from functrans import Graph, grad
        >>> g = Graph.of(grad(lambda x: np.sin(x) ** 2), 1.0)
        >>> print(g)
        graph(x:f64[])
          %1:f64[] = sin(x)
          %2:f64[] = cos(x)
          %3:f64[] = mul(%1, 2.0)
          %4:f64[] = mul(%3, %2)
        >>> g.run("%2", {"x": 0.0})
        np.float64(1.0)
        """
        g = cls()
        leaves, treedef = tree.flatten(args)
        names = argument_names(fun)
        symbols = []
        for i, x in enumerate(leaves):
            label = leaf_name(treedef, names, i)
            try:
                kind = aval_of(x)
            except TypeError as e:
                raise errors.DtypeError(f"Graph.of({name_of(fun)}): argument {label}: {getattr(e, 'got', e)}",
                                        getattr(e, "fix", None)) from None
            symbols.append(g.placeholder(kind.shape, kind.dtype, label))
        g.arguments = treedef.unflatten(symbols)
        with own_lines(), g:
            g.results = tree.map(lambda y: y if type(y) is Tracer else g.constant(y), fun(*g.arguments))
        return g

    @classmethod
    @api
    def from_jaxpr(cls, jaxpr: Jaxpr) -> Graph:
        """The graph of a program, e.g. of what ``make_jaxpr`` returns; see ``Graph.of``.

        Raises:
          GraphError: a program that is none: a value is used before it is made (as in a cycle), or is made
            twice.
        """
        if not isinstance(jaxpr, Jaxpr):
            raise errors.ArgumentError(f"Graph.from_jaxpr: {described(jaxpr)} is no jaxpr.",
                                       "Give what make_jaxpr(f)(*args) returns.")
        try:
            check(jaxpr)
        except MalformedJaxpr as e:
            raise errors.GraphError(f"Graph.from_jaxpr: {e}",
                                    "Each value is made once, before it is used.") from None
        g = cls()
        names = [*(jaxpr.names or ()), *[None] * len(jaxpr.invars)]
        g.arguments = tuple([g.placeholder(a.shape, a.dtype, n)
                             for a, n in zip(jaxpr.in_avals, names, strict=False)])
        with g:
            outs = evaluate(jaxpr, g.arguments)
            g.results = [g._literal(x) if type(x) is Lit else g._given(x) for x in outs]
        return g


def own_copy(symbols: Any) -> tuple[Any, Any]:
    """A pytree of symbols in containers of our own, and its structure."""
    leaves, structure = tree.flatten(symbols)
    return structure.unflatten(leaves), structure
