"""From a call of a transformed function to values: trace, transform once, run or inline.

Every transform does the same four things with what is here: ``Call`` flattens the traced arguments
and traces the function; ``Pass.of`` finds the transformed program by the structure of the trace;
``Pass.run`` runs it, or inlines it into the program that an outer transform is tracing; the results
are put back into pytrees.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from .. import errors, plan, tree
from .. import numpy as namespace
from ..ir.core import Jaxpr, Lit
from ..numpy.core import FUNCTIONS
from ..trace.core import Captured, as_traced, aval_of, current_builder, trace
from ..trace.tracer import Tracer, Upward
from ..transform.cleanup import cleanup
from ..transform.interpret import evaluate, uses_axis
from ..transform.programs import PASSES, Cache, closed, unshared

PROGRAMS = Cache(4096)
Upward.run_op = staticmethod(plan.run_op)


def array_function(function, args, kwargs):
    """What ``__array_function__`` gets: the traced version of one of NumPy's functions."""
    found = FUNCTIONS.get(function)
    if found is None:
        namespace._load_for(function)
        found = FUNCTIONS.get(function)
    if found is None:
        raise namespace._refuse(function.__name__, function.__module__)
    return found(*args, **kwargs)


Upward.array_function = staticmethod(array_function)


def _getitem(x, index):
    """Indexing, until the module that does it is loaded and takes this place."""
    from ..numpy import indexing
    return indexing.getitem(x, index)


Upward.getitem = staticmethod(_getitem)
Upward.load_methods = staticmethod(lambda: namespace._load_all())


F = TypeVar("F", bound=Callable[..., Any])


def api(function: F) -> F:
    """A public entry point: errors leave it without frames of ours."""
    @wraps(function)
    def entry(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as e:
            errors.hide_internal_frames(e)
            raise
    return cast(F, entry)


def name_of(fun) -> str:
    return getattr(fun, "__name__", None) or type(fun).__name__


def check_callable(fun, name: str) -> None:
    if not callable(fun):
        raise errors.ArgumentError(
            f"{name} takes a function as its first argument, got {describe(fun)}.",
            f"Write {name}(f)(x), not {name}(f(x)).")


# ----- tracing -------------------------------------------------------------------------------------------


class Traced(NamedTuple):
    """A traced function: its program, what it captured, and how its outputs are put together."""

    jaxpr: Jaxpr
    consts: list
    out_tree: Any
    aux: Any                # (aux tree, its leaves: outputs by position or plain objects)
    n_aux: int

    @property
    def n_out(self) -> int:
        return len(self.jaxpr.outs) - self.n_aux


class _Rewriting(threading.local):
    rule: Callable[[Jaxpr, str, list], Jaxpr] | None = None


Rewriting = _Rewriting()


@contextmanager
def rewriting(rule: Callable[[Jaxpr, str, list], Jaxpr]):
    """Functions that this thread traces meanwhile become what ``rule`` makes of their programs, of the name
    of what traces them (``"grad"``, ``"jit"`` ...) and of the values of their inputs."""
    before, Rewriting.rule = Rewriting.rule, rule
    try:
        yield
    finally:
        Rewriting.rule = before


def trace_call(call: Callable, leaves, avals, name: str, *, known=True, has_aux=False, staged=False,
               axes=None) -> Traced:
    """Traces ``call(list of traced leaves)``, which returns a pytree, or ``(pytree, aux)``."""
    def flat(*tracers):
        out = call(list(tracers))
        if type(out) is Tracer and not has_aux:
            return [out], (tree.LEAF, None, 0)
        aux_info, moved = None, []
        if has_aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise errors.ResultTypeError(
                    f"has_aux=True, but the function returned {describe(out)}.",
                    "Return a pair (output, aux).")
            out, aux = out
            aux_leaves, aux_tree = tree.flatten(aux)
            slots = []
            for x in aux_leaves:        # traced ones become outputs, everything else passes through
                if type(x) is Tracer:
                    slots.append(len(moved))
                    moved.append(x)
                else:
                    slots.append((x,))
            aux_info = (aux_tree, slots)
        outs, out_tree = tree.flatten(out)
        for i, x in enumerate(outs):
            check_output(x, out_tree, i, name)
        return [*outs, *moved], (out_tree, aux_info, len(moved))

    jaxpr, consts, (out_tree, aux, n_aux) = trace(flat, avals, leaves if known else None, name, staged,
                                                  axes)
    if Rewriting.rule is not None:
        jaxpr = Rewriting.rule(jaxpr, name, [*leaves, *consts])
    return Traced(jaxpr, consts, out_tree, aux, n_aux)


def describe(x) -> str:
    """A value in an error text: its type, and its aval if it has one."""
    try:
        return str(aval_of(x))
    except (TypeError, AttributeError):
        return f"a {type(x).__name__}"


def check_output(x, out_tree, i, name) -> None:
    """Raises for outputs that are not arrays or numbers."""
    try:
        aval_of(x)
    except (TypeError, AttributeError):
        where = out_tree.paths()[i]
        raise errors.ResultTypeError(
            f"the function given to {name} returned a {type(x).__name__}"
            f"{' at result' + where if where else ''}, which is neither an array nor a number.",
            "Return arrays, numbers, or pytrees of them; other things can go out through has_aux=True."
        ) from None


def leaf_avals(leaves, treedef, names, what: str, name=None) -> list:
    """Avals of argument leaves; the error for one that is no array says which it is."""
    avals = []
    for i, x in enumerate(leaves):
        try:
            avals.append(aval_of(x))
        except TypeError as e:
            got = getattr(e, "got", str(e))
            where = (name or leaf_name)(treedef, names, i)
            raise errors.DtypeError(f"argument {where} of {what}: {got}",
                                    getattr(e, "fix", None)) from None
    return avals


def leaf_name(treedef, names, i) -> str:
    """``w['bias']``: leaf i of a tuple of arguments, by the function's own names for them."""
    path = treedef.paths()[i]
    head, _, rest = path[1:].partition("]")
    try:
        return f"{names(int(head))}{rest}"
    except ValueError:
        return path


def argument_names(fun) -> Callable[[int], str]:
    """``i -> name`` of positional argument i of fun, for messages."""
    def name(i):
        code = getattr(getattr(fun, "__func__", fun), "__code__", None)
        if code is None:
            wrapped = getattr(fun, "__wrapped__", None)
            return argument_names(wrapped)(i) if wrapped is not None else f"args[{i}]"
        skip = 1 if hasattr(fun, "__self__") else 0
        names = code.co_varnames[skip:code.co_argcount]
        return names[i] if i < len(names) else f"args[{i}]"
    return name


# ----- transformed programs --------------------------------------------------------------------------------


class Uncollected:
    """A context in which Python looks for no cycles of garbage.

    A pass over a long program makes many small objects at once, none of them in a cycle. Python would
    go through all that there are again and again meanwhile: half of the time of 10,000 equations.
    """

    def __enter__(self):
        self.was = gc.isenabled()
        if self.was:
            gc.disable()

    def __exit__(self, *exc):
        if self.was:
            gc.enable()


class Watch:
    """What looks on.

    Attributes:
      run: runs the programs in place of their plans, to look at results: ``(Pass, values)``, or None.
      marks: puts marks on the equations of what passes make of programs (``viz.origins``), or None.
    """

    run: Any = None
    marks: Any = None


class Pass:
    """A transformed program, ready to run.

    Attributes:
      raw: the program as it was recorded; aux: what the pass returned beside it.
      shared: whether functions of equal structure share it, so that its lines mean nothing.
      donated: inputs whose memory outputs may take, where a run says so.
      n_own: how many outputs are looked at for nans and infs; a monitor's come after them.
    """

    __slots__ = ("aux", "clean", "donated", "ended", "n_own", "program", "raw", "shared")

    def __init__(self, raw, aux, shared=False, donated=(), n_own=None):
        self.raw, self.aux, self.shared, self.donated = raw, aux, shared, donated
        self.n_own = len(raw.outs) if n_own is None else n_own
        self.clean = self.ended = self.program = None

    @property
    def jaxpr(self) -> Jaxpr:
        """The program for other transforms. One that is looked at keeps what nobody needs of it."""
        if Watch.run is not None:
            return self.raw
        if self.clean is None:
            with Uncollected():
                self.clean = cleanup(self.raw)
        return self.clean

    @property
    def final(self) -> Jaxpr:
        """The program that runs."""
        if self.ended is None:
            with Uncollected():
                thinner = plan.thinner(self.raw if self.clean is None else self.clean, cleanup)
                self.ended = cleanup(thinner, True)
        return self.ended

    def run(self, values, names=None) -> list:
        """The outputs: inlined into the current builder if anything is traced, else run. ``names`` of the
        arguments say that donated ones may be given away, unless something is being traced."""
        for x in values:
            if type(x) is Tracer:
                return _as_values(evaluate(self.jaxpr, values, self.shared))
        builder = current_builder()
        if builder is not None and builder.axes and uses_axis(self.raw):
            return _as_values(evaluate(self.jaxpr, values, self.shared))
        if Watch.run is not None:
            return Watch.run(self, values)
        program = self.program or self.compiled()
        return program.run([x.value if type(x) is Captured else x for x in values],
                           names if builder is None else None)

    def compiled(self):
        """Its plan, made when it first runs."""
        if self.program is None:
            try:
                with Uncollected():
                    self.program = plan.compile(self.final, self.donated)
            except Exception:
                PROGRAMS.drop(self)         # its lines are one function's: the next one gets its own
                raise
        return self.program


def _as_values(outs) -> list:
    """Outputs of an inlined program as users may see them: literals and inputs become fresh arrays."""
    return [x if type(x) is Tracer else as_value(x) for x in outs]


def as_value(x):
    """A value inside a pass as users may see it."""
    if type(x) is Lit:
        x = np.full(x.aval.shape, x.value) if x.aval.shape else x.value
    if not isinstance(x, (Captured, np.ndarray, np.generic)):
        return x
    builder = current_builder()
    if builder is not None and builder.staged:      # jit reads it at every call, and traces what follows
        return as_traced(x)
    x = x.value if type(x) is Captured else x
    return x.copy() if isinstance(x, np.ndarray) and x.ndim else x[()] if isinstance(
        x, np.ndarray) else x


def find_pass(kind: str, jaxpr: Jaxpr, static: tuple, body: Callable, values) -> tuple[Pass, list]:
    """The program of ``body``, a pass over values of ``jaxpr``'s inputs (and more), and its inputs.

    It is found by the structure of ``jaxpr``; where user rules are inside, these are traced again.
    ``body(*values) -> (outs, aux)``.
    """
    if jaxpr.retraced:
        with Uncollected():
            new, consts, aux = trace(body, [aval_of(v).strong for v in values], values, kind)
        if Watch.marks is not None:
            new = Watch.marks.derived(new, jaxpr)
        return Pass(new, aux), [*values, *consts]
    key = (kind, jaxpr, static)
    found = PROGRAMS.get(key)
    if found is None:
        with Uncollected():
            new, aux = closed(body, [aval_of(v).strong for v in values], kind)
        if Watch.marks is not None:
            new = Watch.marks.derived(new, jaxpr)
        found = PROGRAMS.put(key, Pass(new, aux, PROGRAMS.shared))
    return found, values


def own_lines():
    """A context in which programs are made anew, so that each equation knows its user's line."""
    return unshared(PROGRAMS, PASSES)


def in_trace(values) -> bool:
    """Whether any value is traced, so that programs are inlined instead of run."""
    return any(type(x) is Tracer for x in values)


def restore_aux(traced: Traced, moved):
    """The aux pytree, with its traced leaves replaced by ``moved``."""
    aux_tree, slots = traced.aux
    return aux_tree.unflatten([s[0] if isinstance(s, tuple) else moved[s] for s in slots])


def clear_caches() -> None:
    """Forgets all transformed programs, plans and recipes, and gives pooled memory back."""
    from ..ir.core import clear_signatures
    from ..numpy.dispatch import clear_recipes
    PROGRAMS.clear()
    PASSES.clear()
    plan.clear_cache()
    plan.clear_arenas()
    clear_recipes()
    clear_signatures()


class CacheInfo(NamedTuple):
    """Of one cache: hits and misses so far, entries now and at most."""

    hits: int
    misses: int
    currsize: int
    maxsize: int


def cache_info() -> dict[str, CacheInfo]:
    """The bounded caches: ``programs`` (transformed, by structure), ``passes``, ``plans``."""
    made = {name: CacheInfo(c.hits, c.misses, len(c.entries), c.maxsize)
            for name, c in (("programs", PROGRAMS), ("passes", PASSES))}
    p = plan.cache_info()
    return {**made, "plans": CacheInfo(p.hits, p.misses, p.size, p.maxsize)}


__all__ = ["Cache", "Pass", "Traced", "api", "argument_names", "cache_info", "check_callable",
           "clear_caches", "current_builder", "find_pass", "in_trace", "leaf_avals",
           "leaf_name", "name_of", "own_lines", "restore_aux", "rewriting", "trace_call"]
