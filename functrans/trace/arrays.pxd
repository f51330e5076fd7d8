"""Whether a value is of a type, for the paths where each call looks."""
cimport numpy as cnp
from functrans.ir.core cimport Aval


cdef inline bint is_array_of(object x, Aval a):
    """Whether the ndarray x has exactly the dtype and shape of a."""
    cdef int k
    cdef tuple shape = a.shape
    if a.dtype is not <object>cnp.PyArray_DESCR(<cnp.ndarray>x) or a.ndim != cnp.PyArray_NDIM(<cnp.ndarray>x):
        return False
    for k in range(a.ndim):
        if <Py_ssize_t>shape[k] != cnp.PyArray_DIMS(<cnp.ndarray>x)[k]:
            return False
    return True
