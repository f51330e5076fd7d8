"""Stacks: what a while loop keeps of its turns, in memory that grows while it runs."""
cimport numpy as cnp
from libc.stdint cimport int64_t

cdef struct stack:
    char *data
    int64_t n            # entries
    int64_t nbytes       # of memory; 0: somebody else's
    stack *next          # the list of all stacks of a run
    stack **back         # what points here, NULL while it is in no list

cdef enum:
    STACK_BYTES = 64     # of a stack's buffer

cdef void open_stack(stack *s, void **run_list) noexcept nogil
cdef int need_stack(stack *s, int64_t entries, int64_t entry_bytes) noexcept nogil
cdef void free_stack(stack *s) noexcept nogil
cdef void free_stacks(void *run_list) noexcept nogil
cdef cnp.ndarray taken_stack(stack *s, int ndim, const int64_t *dims, int typenum, int64_t entry_bytes)
