from libc.stdint cimport int64_t

cdef class Buffer:
    cdef public int64_t nbytes, offset
    cdef public int slot
    cdef public Py_ssize_t first, last      # steps that touch it
    cdef public bint donated                # an input that an output may be written over
    cdef public int64_t lead, tail          # room in front of it and behind, for what is written over it

cdef class View:
    cdef readonly Buffer buffer
    cdef readonly int64_t offset
    cdef readonly tuple shape
    cdef readonly tuple strides
    cdef readonly object dtype
    cdef readonly bint contiguous
    cdef View _with(self, int64_t offset, tuple shape, tuple strides)

cdef View make_view(Buffer buffer, int64_t offset, tuple shape, tuple strides, object dtype, bint contiguous)
cdef Buffer make_buffer(int64_t nbytes)
cdef View whole(Buffer buffer, tuple shape, object dtype, int64_t itemsize)
cpdef int64_t size_of(tuple shape) except? -1
cpdef tuple dense(tuple shape, int64_t itemsize)
