from functrans.ir.core cimport Eqn, Sig
from functrans.trace.core cimport Builder

cdef class Recipe:
    cdef tuple sigs                 # per equation
    cdef tuple operands             # per equation: positions among the values so far, and literals
    cdef tuple outs                 # likewise
    cdef tuple keep                 # which tangents or cotangents there are; batch axes of the results
    cdef Recipe linear              # the tangent half of a linearization: (tangents, residuals) -> tangents
    cdef bint fresh                 # it can not be replayed: the rule has to run each time

cdef Recipe rule_of(str kind, Eqn eqn, tuple how)
cdef object apply_rule(object rule, tuple args, dict params, Eqn eqn)
cdef list replay(Recipe r, Builder b, list values, Eqn like)
