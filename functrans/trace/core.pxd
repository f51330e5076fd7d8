from functrans.ir.core cimport Aval, Eqn, Jaxpr, Lit, Sig, Var
from functrans.trace.tracer cimport Tracer

cdef class Captured:
    cdef readonly object value
    cdef readonly Aval aval

cdef class Builder:
    cdef readonly Builder parent
    cdef readonly object name
    cdef readonly bint is_open
    cdef readonly bint tangent
    cdef readonly bint staged
    cdef bint lasting                # a Graph's: it opens again and again, and owns what it captures
    cdef bint opaque                 # its inputs have no values now: jit, vmap, loop bodies
    cdef public bint retraced
    cdef public object axes          # named axes of vmap: ((name, size), ...) innermost first
    cdef readonly list eqns
    cdef readonly list invars
    cdef readonly list const_vars
    cdef readonly list consts        # Tracer of an outer builder, or Captured
    cdef Py_ssize_t n_vars
    cdef dict lifted
    cdef dict values
    cdef dict outer_of
    cdef unsigned long thread
    cdef Var new_var(self, Aval a, bint known)
    cdef Var lift(self, object outer)
    cdef object atom(self, object x)
    cdef Eqn append(self, Sig sig, tuple atoms)
    cdef object emit(self, Sig sig, tuple atoms)
    cdef object value(self, Var v)
    cdef Jaxpr program(self, list atoms)
    cdef Py_ssize_t producer(self, Var v)

cdef Builder top_builder()
cdef void set_top(Builder b)
cdef void open_builder(Builder b, object name, bint tangent, bint staged, object axes)
cdef object raise_leaked(Tracer t)
cdef Tracer tracer(Builder b, Var v)
cdef Builder home(Builder b, tuple args)
cdef bint splats(tuple atoms)
cpdef object bind(object op, tuple args, dict params, bint weak=*)
cpdef Aval aval_of(object x)
