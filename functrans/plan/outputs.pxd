cimport numpy as cnp

cdef enum:
    POOLED = 1 << 20               # bytes: outputs from here on come from the pool

cdef cnp.ndarray new_output(int ndim, cnp.npy_intp *dims, int typenum)
