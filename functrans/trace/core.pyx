"""Builder and Tracer: how a Python function becomes a jaxpr.

A builder collects equations while a function runs on tracers. Builders nest (a stack per thread); an
op is recorded in the innermost one, and tracers of outer builders are lifted to its constants, so a
jaxpr never has a free variable and tangents of one derivative cannot reach another.
"""
cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from functrans.ir.core cimport (Aval, Eqn, Jaxpr, Lit, Sig, Var, aval_of_type, lit, make_jaxpr,
                                signature)
from functrans.trace.source cimport locate, restore_source, set_source
from functrans.trace.tracer cimport Tracer

import numpy as np

from .. import errors
from ..ir.op import CODE, Hooks
from .tracer import Upward

cnp.import_array()

cdef extern from *:
    """
    static _Thread_local PyObject *ft_top = NULL;     /* innermost open builder, owned */
    """
    PyObject *ft_top

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

# A captured array up to this size is copied; a larger one is read-only until the call returns.
cdef Py_ssize_t COPY_LIMIT = 1 << 18


cdef Builder top_builder():
    return <Builder>ft_top if ft_top != NULL else None


def var_of(Tracer x):
    """The variable that a tracer stands for (Python reads ``x.var`` as the method of arrays)."""
    return x.var


def current_builder():
    """The innermost open builder of this thread, or None."""
    return top_builder()


cdef class Captured:
    """A value that a traced function captured: an array of ours, or a number."""

    @staticmethod
    def of(value, aval=None):
        """A NumPy scalar as an input of the program instead of a literal; or an array as an ``aval``."""
        return captured(value, aval_of(value) if aval is None else aval)

    def __repr__(self):
        return f"Captured({self.aval})"


cdef Captured captured(object value, Aval a):
    cdef Captured c = Captured.__new__(Captured)
    c.value, c.aval = value, a
    return c


cdef list _protected = []           # arrays made read-only while captured; undone at the outermost close


cdef object capture_array(object x, bint by_reference):
    """The array as of now: a copy when small, else the array itself, protected from writing."""
    if by_reference:
        return x
    if x.nbytes <= COPY_LIMIT:
        return x.copy()
    base = x
    while isinstance(base, np.ndarray):     # a write through the owner would be seen too
        if base.flags.writeable:
            base.flags.writeable = False
            _protected.append((PyThread_get_thread_ident(), base))
        base = base.base
    return x


cdef void release_protected():
    global _protected
    me = PyThread_get_thread_ident()
    rest = []
    for thread, x in reversed(_protected):      # owners first: a view needs a writeable base
        if thread == me:
            x.flags.writeable = True
        else:
            rest.append((thread, x))
    _protected = rest[::-1]


cpdef Aval aval_of(object x):
    """The aval of anything an op takes: tracer, literal, captured value, ndarray, number."""
    t = type(x)
    if t is Tracer:
        return (<Tracer>x).var.aval
    if t is Lit:
        return (<Lit>x).aval
    if t is Captured:
        return (<Captured>x).aval
    if t is cnp.ndarray or isinstance(x, np.generic):
        if x.dtype not in CODE:
            return array_type(x)
        return aval_of_type(x.shape, x.dtype, False)
    if t is float:
        return aval_of_type((), _F64, True)
    if t is int:
        return aval_of_type((), _I64, True)
    if t is bool:
        return aval_of_type((), _BOOL, False)
    if t is complex:
        return aval_of_type((), _C128, True)
    if isinstance(x, cnp.ndarray):
        raise errors.DtypeError(
            f"got {t.__module__}.{t.__name__}, a subclass of ndarray whose meaning would be lost.",
            "Pass a plain ndarray, e.g. np.asarray(x).")
    found = getattr(x, "aval", None)
    if isinstance(found, Aval):
        return found
    raise errors.DtypeError(f"got {t.__name__!r} where an array or a number is needed.",
                            "Pass an ndarray, a number, or a pytree of them.")


cdef Aval array_type(object x):
    """Avals of arrays whose dtype is not canonical: byte-swapped or aliases; others are an error."""
    dtype = x.dtype
    if dtype.kind in "biufc" and dtype.itemsize <= 16 and dtype.char not in "gG":
        return aval_of_type(x.shape, np.dtype(f"{dtype.kind}{dtype.itemsize}"), False)
    raise errors.DtypeError(f"got an array of dtype {dtype}, which functrans cannot trace.",
                            "Use bool, integer or float arrays; keep objects and strings outside of "
                            "the differentiated arguments.")


_F64, _I64, _BOOL, _C128 = (np.dtype(n) for n in ("float64", "int64", "bool", "complex128"))


@cython.final
@cython.freelist(16)
cdef class Builder:
    """One jaxpr in the making.

    Attributes:
      name: the transform that opened it, for messages.
      tangent: the tangent half of a linearization: ops without its tracers go to the parent.
      staged: opened by jit: input values are unknown, numbers become literals, captured arrays are
        read at every call.
    """

    cdef Var new_var(self, Aval a, bint known):
        cdef Var v = Var.__new__(Var)
        v.aval, v.index, v.known = a, self.n_vars, known
        self.n_vars += 1
        return v

    cdef Var lift(self, object outer):
        """The constant of this builder that stands for an outer tracer or a captured value."""
        cdef Var v
        cdef Builder b
        cdef object key
        if type(outer) is Tracer:
            key = (<Tracer>outer).var
            found = self.lifted.get(key)
            if found is not None:
                return <Var>found
            b = self.parent
            while b is not None and b is not (<Tracer>outer).builder:
                b = b.parent
            if b is None or not b.is_open:
                raise_leaked(<Tracer>outer)
            if self.lasting and b.lasting:
                raise_leaked(<Tracer>outer)
            v = self.new_var((<Var>key).aval, (<Var>key).known)
        else:
            key = outer
            found = self.lifted.get(key)
            if found is not None:
                return <Var>found
            v = self.new_var((<Captured>outer).aval, True)
            if self.lasting and type((<Captured>outer).value) is cnp.ndarray:
                outer = key = captured((<Captured>outer).value.copy(), (<Captured>outer).aval)
        self.const_vars.append(v)
        self.consts.append(outer)
        self.outer_of[v] = outer
        self.lifted[key] = v
        return v

    cdef object atom(self, object x):
        """The operand as this builder's equations hold it: a Var or a literal."""
        cdef Aval a
        t = type(x)
        if t is Tracer:
            return (<Tracer>x).var if (<Tracer>x).builder is self else self.lift(x)
        if t is Lit:
            return x
        if t is Captured:
            return self.lift(x)
        a = aval_of(x)
        if t is not cnp.ndarray:
            x = a.dtype.type(x)
            if self.staged or a.dtype.kind == "b" or x == 0 or x == 1 or x == -1 or x == 2:
                return lit(x, a)
            return self.lift(captured(x, a.strong))
        return self.lift(captured(capture_array(x, self.staged), a))

    cdef Eqn append(self, Sig sig, tuple atoms):
        """Appends an equation, which has no line yet."""
        cdef Eqn e = Eqn.__new__(Eqn)
        cdef bint known = not sig.collective and not sig.effect     # what acts, acts when the program runs
        for x in atoms:
            if type(x) is Var and not (<Var>x).known:
                known = False
                break
        if sig.retraced:
            self.retraced = True
        e.sig, e.inputs = sig, atoms
        if sig.multiple:
            e.outs = tuple([self.new_var(a, known) for a in sig.outs])
        else:
            e.outs = (self.new_var(sig.out, known),)
        self.eqns.append(e)
        return e

    cdef object emit(self, Sig sig, tuple atoms):
        """Appends an equation of the line that is at work; returns its tracer, or a list of tracers."""
        cdef Eqn e = self.append(sig, atoms)
        locate(e)
        if sig.multiple:
            return [tracer(self, <Var>v) for v in e.outs]
        return tracer(self, <Var>e.outs[0])

    cdef object value(self, Var v):
        """Value on demand: runs the part of this open program that v needs; memoised."""
        cdef Eqn e
        cdef list todo = [v]
        cdef set seen = set(), chain = set()
        while todo:
            x = todo.pop()
            if x in seen or x in self.values:
                continue
            seen.add(x)
            outer = self.outer_of.get(x)
            if outer is not None:
                self.values[x] = value_of(outer) if type(outer) is Tracer else (<Captured>outer).value
                continue
            position = self.producer(<Var>x)
            chain.add(position)
            for y in (<Eqn>self.eqns[position]).inputs:
                if type(y) is Var:
                    todo.append(y)
        for position in sorted(chain):
            e = <Eqn>self.eqns[position]
            args = tuple([self.values[x] if type(x) is Var else x for x in e.inputs])
            result = Upward.run_op(e.sig.op, args, e.sig.params)
            if e.sig.multiple:
                for out, r in zip(e.outs, result):
                    self.values[out] = captured(r, (<Var>out).aval) if (<Var>out).aval.stacked else r
            else:
                self.values[e.outs[0]] = result
        return self.values[v]

    def cause(self):
        """The transform because of which values are not known here, for messages."""
        cdef Builder b = self
        while b is not None and not b.opaque:
            b = b.parent
        return self.name if b is None else b.name

    cdef Jaxpr program(self, list atoms):
        """The finished jaxpr: inputs, then constants."""
        return make_jaxpr(tuple(self.invars + self.const_vars), tuple(self.eqns), tuple(atoms),
                          self.retraced)

    cdef Py_ssize_t producer(self, Var v):
        """Position of the equation that defines v: results are numbered in order, so by bisection."""
        cdef Py_ssize_t lo = 0, hi = len(self.eqns), mid, at
        cdef tuple outs
        while lo < hi:
            at = mid = (lo + hi) // 2
            outs = (<Eqn>self.eqns[at]).outs
            while not outs and at > lo:         # a loop that only acts
                at -= 1
                outs = (<Eqn>self.eqns[at]).outs
            if not outs or (<Var>outs[len(outs) - 1]).index < v.index:
                lo = mid + 1
            else:
                hi = at
        return lo


cdef Tracer tracer(Builder b, Var v):
    cdef Tracer t = Tracer.__new__(Tracer)
    t.builder, t.var = b, v
    return t


cdef object raise_leaked(Tracer t):
    if (<Builder>t.builder).lasting:
        raise errors.GraphError(
            f"a symbol {t.var.aval} was used where its Graph is not being built.",
            "Use it in a 'with' block of its own graph, or its value: graph.run(symbol, feeds).")
    where = "another thread" if t.builder.is_open else f"a {t.builder.name} that has returned"
    raise errors.LeakedTracerError(
        f"a traced value {t.var.aval} of {where} was used.",
        "Return values from the function instead of storing them in globals, attributes or lists "
        "that outlive it.")


cpdef object bind(object op, tuple args, dict params, bint weak=False):
    """Applies op: records it in the innermost builder, or runs it if nothing is traced."""
    cdef Builder b = top_builder()
    cdef Sig sig
    cdef bint traced = False
    cdef tuple atoms
    for x in args:
        t = type(x)
        if t is Tracer or t is Lit or t is Captured:
            traced = True
            break
    if b is None:
        for x in args:
            if type(x) is Tracer:
                raise_leaked(<Tracer>x)
        if op.family == "collective":
            raise errors.UnboundAxisError(f"{op.name} over axis {params.get('axis_name')!r} outside of "
                                          "a vmap that names it.", "Give vmap(..., axis_name=...).")
        return Upward.run_op(op, args, params)
    if not traced and not op.always:
        return Upward.run_op(op, args, params)
    b = home(b, args)
    atoms = tuple([b.atom(x) for x in args])
    sig = signature(op, tuple([(<Var>x).aval if type(x) is Var else (<Lit>x).aval for x in atoms]),
                    params, weak)
    if sig.splat and len(atoms) > 0 and splats(atoms):
        return lit((<Lit>atoms[0]).value, sig.out)
    return b.emit(sig, atoms)


cdef Builder home(Builder b, tuple args):
    """Where an op on args is recorded: the tangent half takes only what involves its own tracers."""
    while b.tangent:
        for x in args:
            if type(x) is Tracer and (<Tracer>x).builder is b:
                return b
        b = b.parent
    return b


cdef bint splats(tuple atoms):
    """Whether all operands are literals of one value."""
    for x in atoms:
        if type(x) is not Lit or (<Lit>x).value.tobytes() != (<Lit>atoms[0]).value.tobytes():
            return False
    return True


cpdef object value_of(Tracer t):
    """The value of a known tracer; ConcretizationError for others."""
    if not t.builder.is_open:
        raise_leaked(t)
    if not t.var.known:
        raise errors.ConcretizationError(f"the value of {t.var.aval} is not known while "
                                         f"{t.builder.cause()} "
                                         "traces.", "Use functrans.numpy.where or lax.cond.")
    return (<Builder>t.builder).value(t.var)


def is_stopped(Tracer t):
    """Whether t is the result of a stop_gradient."""
    cdef Builder b = <Builder>t.builder
    cdef Py_ssize_t i = b.producer(t.var)
    return i < len(b.eqns) and (<Eqn>b.eqns[i]).outs[0] is t.var and (
        (<Eqn>b.eqns[i]).sig.op.name == "stop_gradient")


def as_traced(x):
    """An array or a captured value as a value of the trace in progress."""
    cdef Builder b = home(top_builder(), ())
    cdef Captured c
    if type(x) is Captured:
        c = <Captured>x
    else:
        c = captured(capture_array(x, b.staged), aval_of(x))
    return tracer(b, b.lift(c))


def is_live(Tracer t):
    """Whether t belongs to a trace that is in progress on this thread."""
    cdef Builder b = top_builder()
    while b is not None and b is not t.builder:
        b = b.parent
    return b is not None


def is_known(x):
    """Whether x has a value now: everything but tracers of unknown inputs."""
    return type(x) is not Tracer or (<Tracer>x).var.known


def trace(fun, avals, values, name, bint staged=False, axes=None):
    """Runs ``fun(*tracers)`` in a new builder and returns ``(jaxpr, consts, aux)``.

    Args:
      fun: takes tracers of ``avals``; returns ``(list of outputs, aux)``.
      values: per input its value for control flow in Python (an array, or a tracer of an outer
        builder), or None as a whole where values are not to be known.
      name: of the transform, for messages.
      staged: the trace of a jit.
      axes: ``((name, size), ...)`` that this trace adds.

    The jaxpr's inputs are ``avals`` and then the consts: tracers of outer builders and captured
    values, in the order of their first use.
    """
    cdef Builder b = Builder.__new__(Builder)
    cdef Tracer t
    cdef PyObject *source
    open_builder(b, name, False, staged, axes)
    b.opaque = values is None
    source = set_source(NULL)
    try:
        args = []
        for i, a in enumerate(avals):
            t = tracer(b, b.new_var(a, False))
            if values is not None:
                value = values[i]
                if type(value) is Tracer:
                    if (<Tracer>value).var.known:
                        t.var.known = True
                        b.outer_of[t.var] = value
                else:
                    t.var.known = True
                    b.values[t.var] = value
            b.invars.append(t.var)
            args.append(t)
        outs, aux = fun(*args)
        atoms = [b.atom(x) for x in outs]
    finally:
        restore_source(source)
        close_builder(b)
    return b.program(atoms), b.consts, aux


cdef void set_top(Builder b):
    """Makes b, or none, the innermost open builder of this thread."""
    global ft_top
    cdef PyObject *old = ft_top
    if b is not None:
        Py_INCREF(b)
    ft_top = NULL if b is None else <PyObject *>b
    Py_XDECREF(old)


cdef void open_builder(Builder b, object name, bint tangent, bint staged, object axes):
    b.parent = top_builder()
    b.name, b.is_open, b.tangent = name, True, tangent
    b.staged = staged or (b.parent is not None and b.parent.staged)
    b.axes = b.parent.axes if b.parent is not None else ()
    if axes:
        b.axes = tuple(axes) + b.axes
    b.eqns, b.invars, b.const_vars, b.consts = [], [], [], []
    b.lifted, b.values, b.outer_of = {}, {}, {}
    b.thread = PyThread_get_thread_ident()
    set_top(b)


cdef void close_builder(Builder b):
    """Takes b off the stack, and with it whatever a broken generator may have left above."""
    b.is_open = False
    set_top(b.parent)
    if b.parent is None and _protected:
        release_protected()
    b.values, b.outer_of, b.lifted = {}, {}, {}


class Tangents:
    """The tangent half of a linearization, open next to its parent builder.

    ``with Tangents(avals) as t: ...`` then ``t.close(outs)`` gives ``(jaxpr, residuals)``, the
    residuals being values of the parent.
    """

    def __init__(self, avals):
        self.avals = avals

    def __enter__(self):
        cdef Builder b = Builder.__new__(Builder)
        open_builder(b, "linearize", True, False, None)
        self.builder = b
        self.tracers = []
        for a in self.avals:
            t = tracer(b, b.new_var(a, False))
            b.invars.append(t.var)
            self.tracers.append(t)
        return self

    def close(self, outs):
        cdef Builder b = self.builder
        self.result = b.program([b.atom(x) for x in outs]), b.consts

    def __exit__(self, *exc):
        close_builder(self.builder)
        return False


def _lit_like(value, ref):
    """The splat literal of ``value`` in shape and dtype of ``ref``, a value or an aval."""
    return lit(value, ref if type(ref) is Aval else aval_of(ref))


Upward.value_of = value_of
Upward.is_stopped = is_stopped
Hooks.bind = bind
Hooks.lit_like = _lit_like
Hooks.aval_of = aval_of
