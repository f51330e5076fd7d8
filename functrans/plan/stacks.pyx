"""Stacks: what a while loop keeps of its turns, in memory that grows while it runs.

A stack lies in the arena (or in the frame, where it is an input or output of the outermost program),
its entries in memory of its own. All stacks of a run are in one list, so that whatever ends the run
frees them. A program frees those that it made as it ends; those that are results become arrays.

Large stacks lie in pages that the kernel gives and moves, so growing copies nothing. A loop in segments
makes and frees its stacks for each segment: a run keeps the memory of freed ones for the next, since
touching new pages costs more than computing what is written to them.
"""
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetPointer, PyCapsule_New, PyCapsule_SetContext
from libc.stdint cimport int64_t
from libc.string cimport memcpy

import os

cimport numpy as cnp

cnp.import_array()

cdef extern from *:
    """
    #include <stdlib.h>
    #define FT_PAGED (64 << 10)                 /* from so many bytes on */
    #ifdef __linux__
    #include <sys/mman.h>
    static void *ft_pages(void *old, size_t before, size_t now)
    {
        void *p = old ? mremap(old, before, now, MREMAP_MAYMOVE)
                      : mmap(NULL, now, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    static void ft_unpage(void *p, size_t n) { munmap(p, n); }
    #else
    static void *ft_pages(void *old, size_t before, size_t now) { return realloc(old, now); }
    static void ft_unpage(void *p, size_t n) { free(p); }
    #endif
    """
    const int64_t PAGED "FT_PAGED"
    void *ft_pages(void *old, size_t before, size_t now) nogil
    void ft_unpage(void *p, size_t n) nogil
    void *realloc(void *p, size_t n) nogil
    void free(void *p) nogil

cdef enum:
    FIRST = 4096                 # bytes of a stack's first memory
    DOUBLE_TO = 64 << 20         # beyond, it grows by half: what is not written takes no memory
    SPARE = 64 << 20             # bytes of freed stacks that a run keeps

# More than the machine has is an endless loop or a case for ``checkpoint``.
cdef int64_t _most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


cdef void *resized(void *data, int64_t before, int64_t now) noexcept nogil:
    """Memory of ``now`` bytes with what was in it; NULL, and the old one stays, if there is none."""
    cdef void *fresh
    if before >= PAGED and now >= PAGED:
        return ft_pages(data, before, now)
    if before < PAGED and now < PAGED:
        return realloc(data, now)
    fresh = ft_pages(NULL, 0, now) if now >= PAGED else realloc(NULL, now)
    if fresh != NULL and data != NULL:
        memcpy(fresh, data, min(before, now))
        release(data, before)
    return fresh


cdef void release(void *data, int64_t nbytes) noexcept nogil:
    if nbytes >= PAGED:
        ft_unpage(data, nbytes)
    else:
        free(data)


cdef void open_stack(stack *s, run_stacks *run) noexcept nogil:
    """Empty, and in the list of its run."""
    s.data, s.n, s.nbytes = NULL, 0, 0
    s.run, s.next, s.back = run, run.first, &run.first
    if s.next != NULL:
        s.next.back = &s.next
    run.first = s


cdef int need_stack(stack *s, int64_t entries, int64_t entry_bytes) noexcept nogil:
    """Makes room for so many entries; 0, or -1 if there is no memory."""
    cdef int64_t nbytes, wanted
    cdef block *spare
    cdef void *data
    if entry_bytes and entries > _most // entry_bytes:
        return -1
    wanted = entries * entry_bytes
    if wanted <= s.nbytes:
        return 0
    if s.data == NULL and s.run != NULL and s.run.spare != NULL and wanted >= FIRST:
        spare = s.run.spare                  # the one freed last, whose pages are the likeliest in cache
        s.run.spare, s.data, s.nbytes = spare.next, <char *>spare, spare.nbytes
        s.run.spare_bytes -= s.nbytes
        if wanted <= s.nbytes:
            return 0
    nbytes = s.nbytes // 2 * 3 if s.nbytes >= DOUBLE_TO else 2 * s.nbytes
    nbytes = max(wanted, max(nbytes, FIRST))
    data = resized(s.data, s.nbytes, nbytes)
    if data == NULL:
        nbytes = wanted
        data = resized(s.data, s.nbytes, nbytes)
        if data == NULL:
            return -1
    s.data, s.nbytes = <char *>data, nbytes
    return 0


cdef void leave_list(stack *s) noexcept nogil:
    if s.back != NULL:
        s.back[0] = s.next
        if s.next != NULL:
            s.next.back = s.back
        s.back = NULL


cdef void free_stack(stack *s) noexcept nogil:
    cdef block *spare
    leave_list(s)
    if s.nbytes >= PAGED and s.run != NULL and s.run.spare_bytes + s.nbytes <= SPARE:
        spare = <block *>s.data
        spare.next, spare.nbytes = s.run.spare, s.nbytes
        s.run.spare = spare
        s.run.spare_bytes += s.nbytes
    elif s.nbytes:
        release(s.data, s.nbytes)
    s.data, s.n, s.nbytes = NULL, 0, 0


cdef void free_stacks(run_stacks *run) noexcept nogil:
    """All that are left of a run, and what it kept of others."""
    cdef block *spare
    while run.first != NULL:
        free_stack(run.first)
    while run.spare != NULL:
        spare = run.spare
        run.spare = spare.next
        release(spare, spare.nbytes)
    run.spare_bytes = 0


cdef void free_memory(object capsule) noexcept:
    release(PyCapsule_GetPointer(capsule, "functrans_stack"), <int64_t>PyCapsule_GetContext(capsule))


cdef cnp.ndarray taken_stack(stack *s, int ndim, const int64_t *dims, int typenum, int64_t entry_bytes):
    """The entries as an array that owns them; the stack is empty afterwards."""
    cdef cnp.npy_intp shape[64]
    cdef int d
    cdef int64_t nbytes = s.n * entry_bytes
    cdef void *data
    cdef cnp.ndarray array
    shape[0] = s.n
    for d in range(1, ndim):
        shape[d] = dims[d]
    if nbytes == 0:
        free_stack(s)
        return cnp.PyArray_SimpleNew(ndim, shape, typenum)
    data = resized(s.data, s.nbytes, nbytes)
    if data != NULL:
        s.data, s.nbytes = <char *>data, nbytes
    capsule = PyCapsule_New(s.data, "functrans_stack", free_memory)
    PyCapsule_SetContext(capsule, <void *>s.nbytes)
    array = cnp.PyArray_SimpleNewFromData(ndim, shape, typenum, s.data)
    cnp.set_array_base(array, capsule)
    leave_list(s)
    s.data, s.n, s.nbytes = NULL, 0, 0
    return array


def check_stacks():
    """Grows and frees stacks, for the tests: ``(bytes after each growth, whether too much is refused, whether
    entries are still there, whether the memory of a freed one is used again)``."""
    cdef stack s, t, u
    cdef run_stacks run = run_stacks(NULL, NULL, 0)
    cdef list sizes = []
    cdef bint kept = True
    open_stack(&s, &run)
    open_stack(&t, &run)
    for k in (1, 100, 1000, 1001):
        if need_stack(&s, k, 800) or need_stack(&t, 1, 8):
            raise MemoryError
        s.data[800 * k - 1] = k % 100
        kept = kept and s.data[799] == 1
        sizes.append(s.nbytes)
    refused = need_stack(&s, _most, 16) != 0
    data = <size_t>s.data
    free_stack(&s)
    open_stack(&u, &run)
    if need_stack(&u, 10, 800):
        raise MemoryError
    again = <size_t>u.data == data
    free_stack(&t)
    free_stacks(&run)
    return sizes, refused, kept, again and u.data == NULL and run.spare == NULL
