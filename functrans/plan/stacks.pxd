"""Stacks: what a while loop keeps of its turns, in memory that grows while it runs."""
cimport numpy as cnp
from libc.stdint cimport int64_t

# Of a run: the stacks that it has made and not freed, and memory of freed ones for the next.
cdef struct run_stacks:
    stack *first
    block *spare
    int64_t spare_bytes

cdef struct block:       # at the start of its memory
    block *next
    int64_t nbytes

cdef struct stack:
    char *data
    int64_t n            # entries
    int64_t nbytes       # of memory; 0: somebody else's
    stack *next          # the list of all stacks of a run
    stack **back         # what points here, NULL while it is in no list
    run_stacks *run

cdef enum:
    STACK_BYTES = 64     # of a stack's buffer

cdef void open_stack(stack *s, run_stacks *run) noexcept nogil
cdef int need_stack(stack *s, int64_t entries, int64_t entry_bytes) noexcept nogil
cdef void free_stack(stack *s) noexcept nogil
cdef void free_stacks(run_stacks *run) noexcept nogil
cdef cnp.ndarray taken_stack(stack *s, int ndim, const int64_t *dims, int typenum, int64_t entry_bytes)
