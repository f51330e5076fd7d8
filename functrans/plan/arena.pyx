"""The process-wide pool of arenas: memory for the temporaries of runs, checked out per run.

Programs own no arena, so thousands of cached programs cost no memory and one program may run in
several threads at once. Callers hold the GIL, which guards the pool.
"""
import os

from libc.stdlib cimport free
from libc.string cimport memmove

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t align, size_t nbytes)

cdef extern from *:
    """
    #include <sys/mman.h>
    static void ft_huge_pages(void *memory, size_t nbytes) {
    #ifdef MADV_HUGEPAGE
        madvise(memory, nbytes, MADV_HUGEPAGE);
    #else
        (void)memory; (void)nbytes;
    #endif
    }
    """
    void ft_huge_pages(void *memory, size_t nbytes) nogil

cdef struct block:
    char *memory
    size_t nbytes

cdef enum:
    BLOCKS = 16

cdef block _kept[BLOCKS]               # oldest first
cdef int _count = 0
cdef size_t _total = 0
cdef size_t _limit = min(1 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
cdef size_t HUGE_PAGE = 2 << 20


cdef size_t rounded(size_t nbytes) noexcept:
    """Up by at most an eighth, so that programs of similar needs share arenas."""
    cdef size_t unit = 4096
    while unit * 16 <= nbytes:
        unit *= 2
    return (nbytes + unit - 1) // unit * unit


cdef char *take_arena(size_t nbytes, size_t *capacity) except NULL:
    """Memory of at least ``nbytes``, 64-byte aligned; MemoryError if there is none."""
    global _count, _total
    cdef int i, best = -1
    cdef void *memory = NULL
    for i in range(_count - 1, -1, -1):
        if nbytes <= _kept[i].nbytes and _kept[i].nbytes // 4 <= nbytes + 65536:
            if best < 0 or _kept[i].nbytes < _kept[best].nbytes:
                best = i
    if best >= 0:
        memory = _kept[best].memory
        capacity[0] = _kept[best].nbytes
        forget(best)
        return <char *>memory
    capacity[0] = rounded(nbytes)
    if capacity[0] < nbytes or posix_memalign(
            &memory, HUGE_PAGE if nbytes >= HUGE_PAGE else 64, capacity[0]):
        raise MemoryError(f"no memory for {nbytes} bytes of temporaries")
    if nbytes >= HUGE_PAGE:
        ft_huge_pages(memory, capacity[0])
    return <char *>memory


cdef void give_arena(char *memory, size_t capacity) noexcept:
    """Back to the pool; the oldest arenas are freed when it holds too much."""
    global _count, _total
    if capacity > _limit:
        free(memory)
        return
    while _count == BLOCKS or _total + capacity > _limit:
        free(_kept[0].memory)
        forget(0)
    _kept[_count].memory = memory
    _kept[_count].nbytes = capacity
    _count += 1
    _total += capacity


cdef void forget(int i) noexcept:
    global _count, _total
    _total -= _kept[i].nbytes
    _count -= 1
    memmove(&_kept[i], &_kept[i + 1], (_count - i) * sizeof(block))


def arena_info():
    """``(arenas, bytes, limit)`` of what the pool keeps for later runs."""
    return _count, _total, _limit


def clear_arenas():
    """Frees all arenas that no run is using."""
    while _count:
        free(_kept[_count - 1].memory)
        forget(_count - 1)
