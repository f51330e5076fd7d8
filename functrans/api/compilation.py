"""jit: trace once per types of arguments, then only run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors, tree
from ..calling.boundary import Entry, FastJit
from ..calling.staging import (
    PROGRAMS,
    Cache,
    CacheInfo,
    Pass,
    Traced,
    Uncollected,
    api,
    argument_names,
    check_callable,
    leaf_avals,
    name_of,
    own_lines,
    trace_call,
)
from ..ir.core import Jaxpr
from ..trace.core import current_builder
from ..trace.source import set_scope
from ..trace.tracer import Tracer
from .donation import donation

if TYPE_CHECKING:
    from .stages import Lowered


class _Static:
    """A static argument in a key: equal by type and value, ndarrays by content."""

    __slots__ = ("key", "value")

    def __init__(self, value, what):
        self.value = value
        if isinstance(value, np.ndarray):
            self.key = (value.dtype.str, value.shape, value.tobytes())
        else:
            try:
                hash(value)
            except TypeError:
                raise errors.ArgumentError(
                    f"jit: the static argument {what} is {value!r}, which is not hashable; static arguments "
                    "are part of the key of compiled programs.",
                    "Use a tuple instead of a list, or make it an ordinary argument.") from None
            self.key = (type(value), value)

    def __eq__(self, other):
        return isinstance(other, _Static) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


class Version:
    """One program of a jitted function: for one set of argument types.

    Attributes:
      names: of the arguments, if some of them are donated; else None.
    """

    __slots__ = ("consts", "names", "out_tree", "run_pass")

    def __init__(self, traced, donated=(), names=None):
        self.consts, self.out_tree = traced.consts, traced.out_tree
        self.run_pass = Pass(traced.jaxpr, None, donated=donated, n_own=traced.n_out)
        self.names = names

    def __call__(self, leaves):
        return self.out_tree.unflatten(self.run_pass.run([*leaves, *self.consts], self.names))

    def entry(self, args, kwargs, avals) -> Entry:
        """This program for the fast path."""
        return self.entry_of(tree.structure(args), tree.structure(kwargs) if kwargs else None, avals)

    def entry_of(self, args_tree, kwargs_tree, avals) -> Entry:
        return Entry(args_tree, kwargs_tree, tuple(avals),
                     tuple([c.value for c in self.consts]), self.run_pass.compiled(), self.out_tree,
                     self.names)


class Jitted(FastJit):
    """What ``jit`` returns: call it like the function."""

    def __init__(self, fun: Callable, static_argnums, static_argnames, cache_size, donated=None):
        super().__init__(self._call, fun,
                         (Jitted, (fun, static_argnums, static_argnames, cache_size, donated)),
                         not static_argnums and not static_argnames)
        self.fun, self.donated = fun, donated
        self.static_argnums, self.static_argnames = static_argnums, static_argnames
        self.cache = Cache(cache_size)
        self.misses: list = []

    def _call(self, *args, **kwargs):
        with Uncollected():
            compiled, leaves, avals = self._find(args, kwargs)
            if self.plain and PROGRAMS.shared and current_builder() is None:
                self.remember(compiled.entry(args, kwargs, avals))
        return compiled(leaves)

    def _find(self, args, kwargs):
        statics, dynamic, keywords = self.split(args, kwargs)
        leaves, treedef = tree.flatten((dynamic, keywords))
        names = self._names(dynamic, statics)
        avals = leaf_avals(leaves, treedef, names, name_of(self.fun), leaf_name_in)
        builder = current_builder()
        axes = builder.axes if builder is not None else ()
        key = (treedef, tuple(avals), statics, axes)
        found = self.cache.get(key) if PROGRAMS.shared else None
        if found is not None:
            return found, leaves, avals
        traced = self._trace(statics, leaves, treedef, avals)
        compiled = self._version(traced, statics, treedef)
        if PROGRAMS.shared and not any(type(c) is Tracer for c in traced.consts):
            self.misses.append(key)
            self.cache.put(key, compiled)
        return compiled, leaves, avals

    def _version(self, traced, statics, treedef) -> Version:
        if self.donated is None:
            return Version(traced)
        args, kwargs = treedef.children()
        n = len(args.children()) + sum([isinstance(i, int) for i, _ in statics])
        names = self._names(args.children(), statics)
        places = self._places(args.children(), statics)
        return Version(traced, self.donated.leaves(self.fun, places, n, args, kwargs),
                       tuple([leaf_name_in(treedef, names, i) for i in range(treedef.num_leaves)]))

    def _trace(self, statics, leaves, treedef, avals) -> Traced:
        def call(tracers):
            d, k = treedef.unflatten(tracers)
            return self.fun(*self._merge(d, statics), **k,
                            **{n: s.value for n, s in statics if isinstance(n, str)})

        around = set_scope(None)        # the scopes of a caller are added where it calls
        try:
            return trace_call(call, leaves, avals, "jit", known=False, staged=True)
        finally:
            set_scope(around)

    def split(self, args, kwargs):
        if not self.static_argnums and not self.static_argnames:
            return (), args, kwargs
        n = len(args)
        for i in self.static_argnums:
            if not -n <= i < n:
                raise errors.ArgumentError(
                    f"jit: static_argnums={self.static_argnums}, but {name_of(self.fun)} was called with {n} "
                    "positional arguments.", "Pass that argument by position, or use static_argnames.")
        nums = {i % n for i in self.static_argnums}
        names = argument_names(self.fun)
        nums |= {i for i in range(n) if names(i) in self.static_argnames}
        statics = [(i, _Static(args[i], names(i))) for i in sorted(nums)]
        statics += [(k, _Static(kwargs[k], k)) for k in sorted(kwargs) if k in self.static_argnames]
        return (tuple(statics), tuple([x for i, x in enumerate(args) if i not in nums]),
                {k: v for k, v in kwargs.items() if k not in self.static_argnames})

    def _merge(self, dynamic, statics):
        at = {i: s.value for i, s in statics if isinstance(i, int)}
        rest = iter(dynamic)
        return [at[i] if i in at else next(rest) for i in range(len(at) + len(dynamic))]

    def _places(self, dynamic, statics):
        """Positions of the arguments that are not static."""
        fixed = {i for i, _ in statics if isinstance(i, int)}
        return [i for i in range(len(dynamic) + len(fixed)) if i not in fixed]

    def _names(self, dynamic, statics):
        places = self._places(dynamic, statics)
        names = argument_names(self.fun)
        return lambda position: names(places[position])

    def cache_info(self) -> CacheInfo:
        """Hits, misses, and how many programs are kept."""
        c = self.cache
        return CacheInfo(c.hits + self.fast_hits, c.misses, len(c.entries), c.maxsize)

    def clear_cache(self) -> None:
        """Forgets the compiled programs; the next call traces again."""
        self.cache.clear()
        self.forget()
        self.misses.clear()
        self.fast_hits = 0

    def jaxpr(self, *args, **kwargs) -> Jaxpr:
        """The program that a call with these arguments runs."""
        return self._find(args, kwargs)[0].run_pass.final

    @api
    def lower(self, *args, **kwargs) -> Lowered:
        """The program for arguments of these types, to look at or to compile, without running it.

        Arguments may be arrays, numbers or ``ShapeDtypeStruct``s, in pytrees; static arguments are given
        as in a call. The function is traced once more, so that each step of the plan knows the line that
        wrote it.

        >>> import numpy as np
        >>> from functrans import ShapeDtypeStruct, jit
        >>> lowered = jit(lambda a, b: a @ b).lower(ShapeDtypeStruct((20, 30), float), np.ones((30, 4)))
        >>> lowered.cost_analysis()["flops"]
        4800
        >>> lowered.compile()(np.ones((20, 30)), np.ones((30, 4))).shape
        (20, 4)
        """
        return self.lowered(*self.split(args, kwargs))

    def lowered(self, statics, dynamic, keywords) -> Lowered:
        from .stages import Lowered
        leaves, treedef = tree.flatten((dynamic, keywords))
        at = self._names(dynamic, statics)
        avals = leaf_avals(leaves, treedef, at, name_of(self.fun), leaf_name_in)
        names = tuple([leaf_name_in(treedef, at, i) for i in range(len(avals))])
        with own_lines():
            traced = self._trace(statics, leaves, treedef, avals)
        j = traced.jaxpr
        named = Jaxpr(j.invars, j.eqns, j.outs, j.retraced, names)
        version = self._version(traced._replace(jaxpr=named), statics, treedef)
        return Lowered(self, statics, version, treedef, tuple(avals))

    def explain(self) -> str:
        """For each program that was made, which argument's type or which static value was new."""
        lines = [f"{name_of(self.fun)}: {len(self.misses)} programs"]
        names = argument_names(self.fun)
        for i, (treedef, avals, _statics, axes) in enumerate(self.misses):
            if i == 0:
                args = ", ".join(f"{leaf_name_in(treedef, names, j)}: {a}" for j, a in enumerate(avals))
                lines.append(f"1. first call: {args}")
                continue
            before = min(self.misses[:i], key=lambda m: _distance(m, self.misses[i]))
            lines.append(f"{i + 1}. " + ("; ".join(_changes(before, self.misses[i], names))
                                         or f"named axes {axes}"))
        return "\n".join(lines)


def leaf_name_in(treedef, names, i) -> str:
    """Name of leaf i of ``(positional, keywords)``."""
    path = treedef.paths()[i]
    if path.startswith("[0]"):
        head, _, rest = path[4:].partition("]")
        return f"{names(int(head))}{rest}"
    head, _, rest = path[3:].partition("]")
    return f"{head.strip('[' + chr(39))}{rest}"


def _distance(a, b):
    if a[0] != b[0]:
        return 1000
    return sum(x is not y for x, y in zip(a[1], b[1], strict=True)) + 10 * (a[2] != b[2])


def _changes(before, now, names):
    if before[0] != now[0]:
        return [f"arguments have another structure: {now[0]!r} instead of {before[0]!r}"]
    found = [f"{leaf_name_in(now[0], names, j)} is {b}, not {a}"
             for j, (a, b) in enumerate(zip(before[1], now[1], strict=True)) if a is not b]
    found += [f"static argument {i} is {s.value!r}" for (i, s), (_, t) in
              zip(now[2], before[2], strict=False) if s != t]
    return found


@api
def jit(fun: Callable | None = None, *, static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (), donate_argnums: int | Sequence[int] = (),
        donate_argnames: str | Sequence[str] = (), cache_size: int = 256) -> Any:
    """Compiles ``fun`` to a plan, once for each set of argument shapes and dtypes.

    Args:
      static_argnums, static_argnames: arguments that ``fun`` gets as they are and that are part of the
        key: hashable values, or ndarrays (compared by content). Sizes, modes, functions.
      donate_argnums, donate_argnames: arguments whose arrays the call may write its results into, so that
        ``params, state = step(params, state, batch)`` needs no second copy and no fresh memory. An array
        whose memory is taken is what comes back in place of a result of its shape and dtype; the others are
        left as they are. Each must own its memory; else it is copied. See docs/performance.md, "Donated
        arguments".
      cache_size: how many programs are kept.

    Raises:
      DonationError: when called with a donated array whose memory is that of another argument, too.

    While ``fun`` is traced its arguments are tracers of unknown value, so Python ``if`` and ``while``
    must not depend on them. Arrays that ``fun`` closes over are read at every call; numbers are fixed.
    Works as a decorator, with or without arguments, and on methods.

    >>> import numpy as np
    >>> from functrans import grad, jit
    >>> f = jit(grad(lambda x: np.sum(np.tanh(x))))
    >>> f(np.zeros(2))
    array([1., 1.])
    >>> step = jit(lambda w, g: w - 0.5 * g, donate_argnums=0)
    >>> w = np.ones(100)
    >>> new = step(w, np.ones(100))
    >>> new is w, w[0]
    (True, np.float64(0.5))
    """
    if fun is None:
        return functools.partial(jit, static_argnums=static_argnums, static_argnames=static_argnames,
                                 donate_argnums=donate_argnums, donate_argnames=donate_argnames,
                                 cache_size=cache_size)
    check_callable(fun, "jit")
    nums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    donated = donation(fun, donate_argnums, donate_argnames, nums, names)
    return Jitted(fun, nums, names, cache_size, donated)


