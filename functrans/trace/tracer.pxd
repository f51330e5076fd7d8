from functrans.ir.core cimport Var

cdef class Tracer:
    cdef object builder             # a Builder; not readable from Python: ndarrays have a method var
    cdef Var var
    cdef object known(self, str what)
    cdef object without_derivative(self, str what, str fix)
