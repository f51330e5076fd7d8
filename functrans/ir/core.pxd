cdef class Aval:
    cdef readonly tuple shape
    cdef readonly object dtype
    cdef readonly bint weak
    cdef readonly int ndim
    cdef readonly Py_ssize_t size
    cdef Aval other                 # the same type with the other weakness, once it was asked for

cdef class Var:
    cdef readonly Aval aval
    cdef readonly Py_ssize_t index  # position in its program, in order of creation
    cdef public bint known          # its value follows from known inputs alone (while it is traced)

cdef class Lit:
    cdef readonly Aval aval
    cdef readonly object value
    cdef bytes _bits
    cdef Py_hash_t _hash

cdef class Sig:
    cdef readonly object op
    cdef readonly dict params
    cdef readonly tuple in_avals
    cdef readonly tuple outs
    cdef readonly Aval out          # of an op with a single result
    cdef readonly bint multiple
    cdef readonly bint collective
    cdef readonly bint splat
    cdef readonly bint effect       # it, or a program among the parameters, acts beside its results
    cdef readonly bint retraced     # a user's rule, or a program with one, is among the parameters
    cdef readonly bint weak         # some operand or the result is weak
    cdef readonly object simplify   # the op's rule, ...
    cdef frozenset sees             # ... and the ops that it looks for, or None: any
    cdef readonly bint folds        # elementwise: literals give a literal
    cdef readonly bint commutes
    cdef bint plain                 # its rules depend on types alone: no program among the parameters
    cdef dict rules                 # what passes recorded of them

cdef class Eqn:
    cdef readonly Sig sig
    cdef readonly tuple inputs
    cdef readonly tuple outs
    cdef object code                # where the user's code bound it: code object and instruction
    cdef int lasti
    cdef readonly tuple scope       # names of the scopes that it was bound in, outermost first; None without

cdef class Jaxpr:
    cdef readonly tuple invars
    cdef readonly tuple eqns
    cdef readonly tuple outs
    cdef readonly tuple in_avals
    cdef readonly tuple out_avals
    cdef readonly bint retraced     # holds user rules, whose traces must not be cached by structure
    cdef readonly object names      # names of the first inputs, for printing
    cdef bint dense                 # its variables were numbered by one builder
    cdef tuple _key
    cdef Py_hash_t _hash
    cdef object __weakref__
    cpdef tuple key(self)

cdef inline void take_source(Eqn e, Eqn like):
    e.code, e.lasti, e.scope = like.code, like.lasti, like.scope

cdef Jaxpr make_jaxpr(tuple invars, tuple eqns, tuple outs, bint retraced)

cpdef Aval aval(object shape, object dtype, bint weak=*)
cdef Aval aval_of_type(tuple shape, object dtype, bint weak)
cpdef Sig signature(object op, tuple in_avals, dict params, bint weak=*)
cpdef Lit lit(object value, Aval a)
