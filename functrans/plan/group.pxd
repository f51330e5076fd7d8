from .run cimport Step

cdef enum:
    FULL = 0             # a value an element,
    ROW = 1              # a value a row,
    LATER = 2            # a value when the group has ended

cdef class Instr:
    cdef str op, kernel
    cdef int result
    cdef double ns
    cdef tuple ints
    cdef object out, ins, buffer
    cdef bint reduces
    cdef readonly Step step
    cdef object origin       # the equations: those of a joined one are several

cdef Step build(tuple shape, object split, bint whole_rows, list instrs, dict kinds, set internal)
