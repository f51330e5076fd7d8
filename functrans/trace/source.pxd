from cpython.object cimport PyObject
from functrans.ir.core cimport Eqn

cdef PyObject *set_source(PyObject *eqn)
cdef void restore_source(PyObject *owned)
cdef void locate(Eqn e)
cdef Eqn in_open_scopes(Eqn e)
