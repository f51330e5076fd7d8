"""Stacks: what a while loop keeps of its turns, in memory that grows while it runs.

A stack lies in the arena (or in the frame, where it is an input or output of the outermost program),
its entries in memory of its own. All stacks of a run are in one list, so that whatever ends the run
frees them. A program frees those that it made as it ends; those that are results become arrays.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc

import os

cimport numpy as cnp

cnp.import_array()

cdef enum:
    FIRST = 4096                 # bytes of a stack's first memory
    DOUBLE_TO = 64 << 20         # beyond, it grows by half: what is not written takes no memory

# More than the machine has is an endless loop or a case for ``checkpoint``.
cdef int64_t _most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


cdef void open_stack(stack *s, void **run_list) noexcept nogil:
    """Empty, and in the list of its run."""
    s.data, s.n, s.nbytes = NULL, 0, 0
    s.next = <stack *>run_list[0]
    s.back = <stack **>run_list
    if s.next != NULL:
        s.next.back = &s.next
    run_list[0] = s


cdef int need_stack(stack *s, int64_t entries, int64_t entry_bytes) noexcept nogil:
    """Makes room for so many entries; 0, or -1 if there is no memory."""
    cdef int64_t nbytes = s.nbytes, wanted
    cdef void *data
    if entry_bytes and entries > _most // entry_bytes:
        return -1
    wanted = entries * entry_bytes
    if wanted <= nbytes:
        return 0
    nbytes = nbytes // 2 * 3 if nbytes >= DOUBLE_TO else 2 * nbytes
    data = realloc(s.data, max(wanted, max(nbytes, FIRST)))
    if data == NULL:
        data = realloc(s.data, wanted)
        if data == NULL:
            return -1
        s.nbytes = wanted
    else:
        s.nbytes = max(wanted, max(nbytes, FIRST))
    s.data = <char *>data
    return 0


cdef void leave_list(stack *s) noexcept nogil:
    if s.back != NULL:
        s.back[0] = s.next
        if s.next != NULL:
            s.next.back = s.back
        s.back = NULL


cdef void free_stack(stack *s) noexcept nogil:
    leave_list(s)
    if s.nbytes:
        free(s.data)
    s.data, s.n, s.nbytes = NULL, 0, 0


cdef void free_stacks(void *run_list) noexcept nogil:
    """All that are left of a run."""
    while run_list != NULL:
        s = <stack *>run_list
        run_list = s.next
        free_stack(s)


cdef void free_memory(object capsule) noexcept:
    free(PyCapsule_GetPointer(capsule, "functrans_stack"))


cdef cnp.ndarray taken_stack(stack *s, int ndim, const int64_t *dims, int typenum, int64_t entry_bytes):
    """The entries as an array that owns them; the stack is empty afterwards."""
    cdef cnp.npy_intp shape[64]
    cdef int d
    cdef void *data
    cdef cnp.ndarray array
    shape[0] = s.n
    for d in range(1, ndim):
        shape[d] = dims[d]
    if s.n * entry_bytes == 0:
        free_stack(s)
        return cnp.PyArray_SimpleNew(ndim, shape, typenum)
    data = realloc(s.data, s.n * entry_bytes)
    if data != NULL:
        s.data, s.nbytes = <char *>data, s.n * entry_bytes
    array = cnp.PyArray_SimpleNewFromData(ndim, shape, typenum, s.data)
    cnp.set_array_base(array, PyCapsule_New(s.data, "functrans_stack", free_memory))
    leave_list(s)
    s.data, s.n, s.nbytes = NULL, 0, 0
    return array


def check_stacks():
    """Grows and frees stacks, for the tests: ``(bytes after each growth, whether too much is refused)``."""
    cdef stack s, t
    cdef void *run = NULL
    cdef list sizes = []
    open_stack(&s, &run)
    open_stack(&t, &run)
    for k in (1, 100, 1000, 1001):
        if need_stack(&s, k, 800) or need_stack(&t, 1, 8):
            raise MemoryError
        sizes.append(s.nbytes)
    refused = need_stack(&s, _most, 16) != 0
    free_stack(&t)
    free_stacks(run)
    return sizes, refused
