from .run cimport Program

cdef list give(Program program, list values, char **base, list outs, names)
cdef tell(error, list taken, Py_ssize_t failed, names)
