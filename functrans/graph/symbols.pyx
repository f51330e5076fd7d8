"""The symbols of a graph: tracers of a builder that opens again and again; and the fast way to run parts.

What ``Graph`` needs of the trace room in C: to step into a builder and out of it, its inputs and
constants, which variable a symbol stands for. ``Runner`` finds a plan that has run before.
"""
cimport cython
cimport numpy as cnp
from functrans.ir.core cimport Aval, Var
from functrans.plan.run cimport Program
from functrans.trace.arrays cimport is_array_of
from functrans.trace.core cimport Builder, aval_of, open_builder, set_top, top_builder, tracer
from functrans.trace.tracer cimport Tracer
from functrans.tree.core cimport TreeDef, flatten_into, leaf_def

import numpy as np

from .. import errors
from ..ir.core import aval
from ..calling.staging import Watch
from ..trace.core import as_traced

cnp.import_array()

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()


def new_builder():
    """A builder for a graph, on no stack yet. Values of its inputs are not known."""
    cdef Builder b = Builder.__new__(Builder)
    open_builder(b, "a Graph", False, True, None)
    set_top(b.parent)
    b.parent, b.axes = None, ()
    b.lasting = b.opaque = True
    b.is_open = False
    return b


def step_in(Builder b):
    """Makes b the innermost builder of this thread; returns what ``step_out`` takes."""
    cdef Builder top = top_builder(), x = top
    if b.is_open and b.thread != PyThread_get_thread_ident():
        raise errors.GraphError("a Graph was to be built in two threads at once.",
                                "Build it in one thread; graph.run may be called from several.")
    while x is not None and x is not b:
        x = x.parent
    if x is None:                       # else it is below, and only what is recorded next goes there
        b.parent, b.is_open, b.thread = top, True, PyThread_get_thread_ident()
        b.axes = () if top is None else top.axes
    set_top(b)
    return top, x is None


def step_out(Builder b, Builder top, bint first):
    """Undoes ``step_in``."""
    if first:
        b.parent, b.is_open, b.axes = None, False, ()
    set_top(top)


def add_input(Builder b, Aval a):
    """A new input of b, whose value nobody knows before a run."""
    cdef Var v = b.new_var(a, False)
    b.invars.append(v)
    return tracer(b, v)


def add_constant(Builder b, value):
    """The array or number as a constant of b, which is on top; a copy."""
    return as_traced(np.asarray(value))


def symbol_of(Builder b, Var v):
    return tracer(b, v)


def belongs_to(Tracer t, Builder b):
    return t.builder is b


@cython.final
cdef class Plan:
    """A program that has run: for the very symbols that were fetched and fed.

    Attributes:
      fetches: the same symbols in containers of our own; structure: theirs.
      keys: what was fed, in order: of a dict symbols and names; of pairs what holds them, with its structure.
      avals: types of all values.
      at: where the program takes each value (-1: it needs it not); consts follow those.
      length: how many equations the graph had when it was found.
    """
    cdef TreeDef structure
    cdef object fetches
    cdef tuple keys, avals, at, consts
    cdef Program program
    cdef Py_ssize_t n, length
    cdef bint pairs

    def __init__(self, structure, leaves, keys, bint pairs, avals, at, n, consts, program, length):
        self.structure, self.fetches = structure, structure.unflatten(leaves)
        self.keys, self.pairs, self.avals = keys, pairs, avals
        self.at, self.n, self.consts, self.program, self.length = at, n, consts, program, length

    cdef list fed(self, object feeds):
        """All values that are fed, or None if this plan is for other symbols."""
        cdef list found = []
        cdef Py_ssize_t i = 0
        if type(feeds) is dict:
            if self.pairs or len(<dict>feeds) != len(self.keys):
                return None
            for key, x in (<dict>feeds).items():
                if key is not self.keys[i]:
                    return None
                found.append(x)
                i += 1
            return found
        if not self.pairs or len(<list>feeds) != len(self.keys):
            return None
        for pair in <list>feeds:
            if type(pair) is not tuple or len(<tuple>pair) != 2:
                return None
            key, structure = <tuple>self.keys[i]
            if not same((<tuple>pair)[0], key) or flatten_into((<tuple>pair)[1], found) != structure:
                return None
            i += 1
        return found

    cdef list values(self, object feeds):
        """What the program takes, in its order; None unless each value has exactly the type of its symbol."""
        cdef list found = [None] * self.n, xs = self.fed(feeds)
        cdef Py_ssize_t i, at
        cdef Aval a
        if xs is None or len(xs) != len(self.avals):
            return None
        for i in range(len(xs)):
            x = xs[i]
            a = <Aval>self.avals[i]
            t = type(x)
            if t is float or t is _float64:
                if a is not _f64:
                    return None
            elif t is cnp.ndarray:
                if not is_array_of(x, a):
                    return None
            elif not isinstance(x, np.generic) or aval_of(x) is not a:
                return None
            at = self.at[i]
            if at >= 0:
                found[at] = x
        if self.consts:
            found.extend(self.consts)
        return found


cdef type _float64 = np.float64
cdef Aval _f64 = aval((), np.float64)
cdef int RECENT = 6
MISSED = object()


cdef bint same(object x, object y):
    """Whether x and y hold the very same symbols, in containers of the same structure."""
    cdef Py_ssize_t i
    cdef list xs, ys
    cdef TreeDef structure
    cdef object t = type(x)
    if x is y:
        return True
    if t is not type(y) or t is Tracer:
        return False
    if t is list or t is tuple:
        if len(x) != len(y):
            return False
        for i in range(len(x)):
            if not same(x[i], y[i]):
                return False
        return True
    if t is str:
        return x == y
    xs, ys = [], []
    structure = flatten_into(x, xs)
    return structure is not leaf_def and structure == flatten_into(y, ys) and same(xs, ys)


@cython.final
cdef class Runner:
    """The plans that ran last, tried in turn. Several threads may call it."""
    cdef Builder builder
    cdef tuple recent

    def __init__(self, builder):
        self.builder, self.recent = builder, ()

    def __call__(self, fetches, feeds):
        """The values, or MISSED."""
        cdef list values
        cdef Plan p
        cdef tuple recent = self.recent
        cdef Builder top = top_builder()
        if not recent or (type(feeds) is not dict and type(feeds) is not list) or (
                Watch.run is not None or (top is not None and top.axes)):
            return MISSED
        for p in recent:
            if p.length == len(self.builder.eqns) and same(fetches, p.fetches):
                values = p.values(feeds)
                if values is not None:
                    values = p.program.run(values)
                    return values[0] if p.structure is leaf_def else p.structure.unflatten(values)
        return MISSED

    def remember(self, Plan p):
        self.recent = (p, *self.recent[:RECENT - 1])
