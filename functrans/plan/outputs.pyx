"""The pool of large outputs: memory of arrays that died is handed to the next ones.

Fresh memory costs a page fault every few KiB, more than most arithmetic. The arrays own their data:
the pool is an allocation handler of NumPy's, set around our own allocation only, and NumPy calls it
again when the array dies or is resized. Callers hold the GIL; the lock is for builds without one.
"""
import os

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memmove, memset

cimport numpy as cnp

cnp.import_array()

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t align, size_t nbytes)

cdef extern from "pthread.h" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_lock(pthread_mutex_t *m)
    int pthread_mutex_unlock(pthread_mutex_t *m)

cdef extern from *:
    """
    #include <pthread.h>
    #include <sys/mman.h>
    static pthread_mutex_t ft_outputs_lock = PTHREAD_MUTEX_INITIALIZER;
    static void ft_advise_huge(void *memory, size_t nbytes) {
    #ifdef MADV_HUGEPAGE
        madvise(memory, nbytes, MADV_HUGEPAGE);
    #else
        (void)memory; (void)nbytes;
    #endif
    }
    /* A forked child must not inherit a lock that another thread held. */
    static void ft_before_fork(void) { pthread_mutex_lock(&ft_outputs_lock); }
    static void ft_after_fork(void) { pthread_mutex_unlock(&ft_outputs_lock); }
    static void ft_outputs_fork_safe(void) {
        pthread_atfork(ft_before_fork, ft_after_fork, ft_after_fork);
    }
    """
    pthread_mutex_t ft_outputs_lock
    void ft_advise_huge(void *memory, size_t nbytes) nogil
    void ft_outputs_fork_safe()

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept nogil
        void *(*calloc)(void *ctx, size_t nelem, size_t elsize) noexcept nogil
        void *(*realloc)(void *ctx, void *ptr, size_t new_size) noexcept nogil
        void (*free)(void *ctx, void *ptr, size_t size) noexcept nogil
    ctypedef struct PyDataMem_Handler:
        char name[127]
        uint8_t version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object handler)

# Before the data of an array lies what it was cut from. The data start at varying distances from
# a page, since equal ones would share cache sets.
cdef struct block:
    char *memory
    size_t nbytes

cdef enum:
    BLOCKS = 64
    HUGE = 2 << 20
    UNIT = 64 << 10
    HEAD = 64
    STAGGER = 256
    PLACES = 12

cdef block _kept[BLOCKS]                   # oldest first
cdef int _count = 0
cdef size_t _total = 0
cdef size_t _turn = 0
cdef size_t _limit = min(1 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


cdef inline block *head(void *data) noexcept nogil:
    return <block *>(<char *>data - sizeof(block))


cdef void forget(int i) noexcept nogil:
    """The caller holds the lock."""
    global _count, _total
    _total -= _kept[i].nbytes
    _count -= 1
    memmove(&_kept[i], &_kept[i + 1], (_count - i) * sizeof(block))


cdef void give_back() noexcept nogil:
    pthread_mutex_lock(&ft_outputs_lock)
    while _count:
        free(_kept[_count - 1].memory)
        forget(_count - 1)
    pthread_mutex_unlock(&ft_outputs_lock)


cdef void *pool_malloc(void *ctx, size_t size) noexcept nogil:
    global _turn
    cdef size_t need = size + HEAD + STAGGER * PLACES, place
    cdef block found
    cdef void *memory = NULL
    cdef char *data
    cdef int i, best = -1
    if need < size:
        return NULL
    need = (need + UNIT - 1) & ~<size_t>(UNIT - 1)      # not to whole huge pages: of a few MiB that is much
    found.memory = NULL
    found.nbytes = need
    pthread_mutex_lock(&ft_outputs_lock)
    _turn += 1
    place = HEAD + STAGGER * (_turn % PLACES)
    for i in range(_count - 1, -1, -1):                # the last one freed is the warmest
        if need <= _kept[i].nbytes <= need + need // 8 and (best < 0 or _kept[i].nbytes < _kept[best].nbytes):
            best = i
            if _kept[i].nbytes == need:
                break
    if best >= 0:
        found = _kept[best]
        forget(best)
    pthread_mutex_unlock(&ft_outputs_lock)
    if found.memory == NULL:
        if posix_memalign(&memory, HUGE, need):
            give_back()                                # what the pool keeps may be what is missing
            if posix_memalign(&memory, HUGE, need):
                return NULL
        ft_advise_huge(memory, need)
        found.memory = <char *>memory
    data = found.memory + place
    head(data)[0] = found
    return data


cdef void *pool_calloc(void *ctx, size_t n, size_t size) noexcept nogil:
    cdef void *data
    if size and n > (<size_t>-1) // size:
        return NULL
    data = pool_malloc(ctx, n * size)
    if data != NULL:
        memset(data, 0, n * size)
    return data


cdef void pool_free(void *ctx, void *data, size_t size) noexcept nogil:
    cdef block b
    if data == NULL:
        return
    b = head(data)[0]
    pthread_mutex_lock(&ft_outputs_lock)
    if b.nbytes <= _limit:
        while _count == BLOCKS or _total + b.nbytes > _limit:
            free(_kept[0].memory)
            forget(0)
        keep(b)
        b.memory = NULL
    pthread_mutex_unlock(&ft_outputs_lock)
    free(b.memory)


cdef void keep(block b) noexcept nogil:
    global _count, _total
    _kept[_count] = b
    _count += 1
    _total += b.nbytes


cdef void *pool_realloc(void *ctx, void *data, size_t size) noexcept nogil:
    cdef block b
    cdef size_t have
    cdef void *moved
    if data == NULL:
        return pool_malloc(ctx, size)
    b = head(data)[0]
    have = b.nbytes - (<char *>data - b.memory)
    if size <= have and size >= have // 2:
        return data
    moved = pool_malloc(ctx, size)
    if moved != NULL:
        memcpy(moved, data, min(size, have))
        pool_free(ctx, data, 0)
    return moved


cdef PyDataMem_Handler _handler
memset(&_handler, 0, sizeof(_handler))
memcpy(_handler.name, b"functrans_outputs", 17)
_handler.version = 1
_handler.allocator.malloc = pool_malloc
_handler.allocator.calloc = pool_calloc
_handler.allocator.realloc = pool_realloc
_handler.allocator.free = pool_free
cdef object _capsule = PyCapsule_New(&_handler, "mem_handler", NULL)
ft_outputs_fork_safe()


cdef cnp.ndarray new_output(int ndim, cnp.npy_intp *dims, int typenum):
    before = PyDataMem_SetHandler(_capsule)
    try:
        return cnp.PyArray_SimpleNew(ndim, dims, typenum)
    finally:
        PyDataMem_SetHandler(before)


def outputs_info():
    """``(blocks, bytes, limit)`` of what the pool keeps for later outputs."""
    return _count, _total, _limit


def clear_outputs():
    """Gives back all memory that no array uses."""
    give_back()
