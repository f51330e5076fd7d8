"""Kernels by name, the instruction-set level in use, and threads."""
import os
import re

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, PyObject
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from contextvars import ContextVar

cimport numpy as cnp

cnp.import_array()


cdef extern from *:
    """
    #include <string.h>
    #include "ft_levels.h"
    #include "threads.h"

    void *ft_special[FT_SPECIALS];

    /* The features of a level, and that the system saves its registers (libgcc asks both). */
    static int ft_supports(const char *level)
    {
    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
        __builtin_cpu_init();
        if (!strcmp(level, "v2"))
            return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
        if (!strcmp(level, "v3") || !strcmp(level, "v4")) {
            int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                     __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
            if (level[1] == '3' || !v3)
                return v3;
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl");
        }
    #endif
        return !strcmp(level, "base");
    }
    """
    int FT_PARTS, FT_LEVELS
    const char *FT_TABLE_HASH
    ctypedef struct ft_level:
        const char *name
        const ft_entry **parts
    const ft_level *ft_levels
    bint ft_supports(const char *level)
    int FT_SCALAR_OPS
    const char *ft_scalar_names
    const char *ft_special_names
    int FT_SPECIAL_PART
    void *ft_special[1]

cdef extern from "lapack.h":
    void *ft_lapack[8][4]
    int ft_run_matrices(const ft_step *step, ft_frame *frame) noexcept nogil

cdef extern from "threads.h":
    void ft_enter(ft_run *run) noexcept nogil
    void ft_leave(ft_run *run) noexcept nogil
    int ft_num_threads(int asked) nogil
    void ft_set_num_threads(int n) nogil
    int ft_usable_cpus() nogil
    int ft_pool_size() nogil
    bint ft_has_openmp() nogil
    void ft_threads_init()

cdef extern from "Python.h":
    int PyContextVar_Get(object var, PyObject *default, PyObject **value) except -1

cdef extern from "driver.h":
    int ft_run_group(const ft_step *step, ft_frame *frame) noexcept nogil

cdef extern from "lanes.h":
    void ft_run_lanes(const ft_lanes *p, int64_t first, int64_t count, int64_t start, int64_t stop,
                      int64_t turns, double cost) noexcept nogil

cdef dict _entries = {}          # name -> (part, index)
cdef int _level = -1


cdef const ft_entry *find(bytes name) noexcept:
    """The kernel of this name, or NULL."""
    where = _entries.get(name)
    if where is None:
        return NULL
    return &ft_levels[_level].parts[<int>where[0]][<int>where[1]]


cdef int enter(ft_run *run) except -1:
    """``ft_enter``, with the number of threads of the context that the caller is in."""
    run.threads = asked()
    ft_enter(run)
    return 0


cdef void leave(ft_run *run) noexcept:
    ft_leave(run)


cdef ft_step_fn group_step() noexcept:
    return ft_run_group


cdef void run_lanes(const ft_lanes *p, int64_t first, int64_t count, int64_t start, int64_t stop,
                    int64_t turns, double cost) noexcept nogil:
    ft_run_lanes(p, first, count, start, stop, turns, cost)


def _choose_level():
    """The best level of this CPU, or the one that FUNCTRANS_ISA names."""
    global _level
    built = [ft_levels[i].name.decode() for i in range(FT_LEVELS)]
    usable = [n for n in built if ft_supports(n.encode())]
    wanted = os.environ.get("FUNCTRANS_ISA")
    if wanted:
        if wanted not in built:
            raise ImportError(f"functrans: FUNCTRANS_ISA={wanted!r} is not one of {built}")
        if wanted not in usable:
            raise ImportError(f"functrans: this CPU cannot run the kernels of FUNCTRANS_ISA={wanted!r}; "
                              f"it can run {usable}")
        usable = [wanted]
    if not usable:
        raise ImportError(f"functrans: this CPU can run none of the kernels that were built ({built})")
    _level = built.index(usable[len(usable) - 1])


def _read_table():
    cdef const ft_entry *e
    for part in range(FT_PARTS):
        i = 0
        e = ft_levels[_level].parts[part]
        while e[i].name != NULL:
            _entries[<bytes>e[i].name] = (part, i)
            i += 1


_choose_level()
_read_table()
ft_threads_init()


def has(name):
    """Whether there is a kernel of this name."""
    return name.encode() in _entries


def names():
    """The names of all kernels that can be called alone: without a program, LAPACK or SciPy behind them."""
    return [n.decode() for n, (part, _) in _entries.items() if n != b"scalar" and part != FT_SPECIAL_PART
            and find(n).run != <ft_step_fn>ft_run_matrices]


def ns(name):
    """The kernel's rough cost of an element in nanoseconds."""
    cdef const ft_entry *e = find(name.encode())
    if e == NULL:
        raise KeyError(name)
    return e.ns


def level():
    """The instruction-set level in use."""
    return ft_levels[_level].name.decode()


def levels():
    """The levels that this CPU can run, best last."""
    return [ft_levels[i].name.decode() for i in range(FT_LEVELS) if ft_supports(ft_levels[i].name)]


def table_hash():
    """The hash of the op table that the kernels were built from."""
    return FT_TABLE_HASH.decode()


def scalar_labels():
    """Of the interpreter of scalar programs: the label of each operation, by name."""
    cdef int64_t *labels = <int64_t *>PyMem_Malloc(FT_SCALAR_OPS * sizeof(int64_t))
    cdef int i
    if labels == NULL:
        raise MemoryError()
    (<ft_vm_fn>find(b"scalar").kernel)(NULL, labels)
    made = {name: labels[i] for i, name in enumerate(ft_scalar_names.decode().split())}
    PyMem_Free(labels)
    return made


# ----- LAPACK ------------------------------------------------------------------------------------

_lapack_names = [("potrf",) * 2, ("getrf",) * 2, ("geqrf",) * 2, ("orgqr", "ungqr"), ("syevd", "heevd"),
                 ("gesdd",) * 2, ("geev",) * 2, ("trsm",) * 2, ("gelsd",) * 2, ("gees",) * 2, ("trsen",) * 2,
                 ("trsyl",) * 2, ("getrs",) * 2, ("lacn2",) * 2, ("gemm",) * 2, ("gemv",) * 2]


def load_lapack():
    """Finds the routines of SciPy's LAPACK and BLAS; importing them takes SciPy 0.2 s, once."""
    if ft_lapack[0][0] is not NULL:
        return
    from scipy.linalg import cython_blas, cython_lapack
    for i in range(len(_lapack_names) - 1, -1, -1):
        for k, letter in enumerate("sdcz"):
            name = letter + _lapack_names[i][k // 2]
            capsule = (cython_lapack.__pyx_capi__.get(name) or cython_blas.__pyx_capi__[name])
            ft_lapack[i][k] = PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


# ----- SciPy's special functions -----------------------------------------------------------------

# How the macros of special.h call a function.
_special_types = {"ft_sp1": "double (double, int __pyx_skip_dispatch)",
                  "ft_sp2": "double (double, double, int __pyx_skip_dispatch)",
                  "ft_sp3": "double (double, double, double, int __pyx_skip_dispatch)",
                  "ft_sp4": "double (double, double, double, double, int __pyx_skip_dispatch)",
                  "ft_sp1of2": "void (double, double *, double *)",
                  "ft_sp1of4": "void (double, double *, double *, double *, double *)",
                  "ft_sp2of4": "void (double, double, double *, double *, double *, double *)",
                  "ft_sp1whole": "double (Py_ssize_t, double, int __pyx_skip_dispatch)",
                  "ft_sp1round": "double (Py_ssize_t, double, int __pyx_skip_dispatch, struct options *)",
                  "ft_sp1complex": "__pyx_t_double_complex (__pyx_t_double_complex, int __pyx_skip_dispatch)"}


def load_special():
    """Finds SciPy's special functions; importing them takes 0.1 s, once."""
    if ft_special[0] is not NULL:
        return
    from scipy.special import cython_special
    found = {}
    for name, capsule in cython_special.__pyx_capi__.items():       # of several types: __pyx_fuse_1name
        kind = re.sub(r"struct .*", "struct options *)", PyCapsule_GetName(capsule).decode())
        found[re.sub(r"^__pyx_fuse(_\d)+", "", name), kind] = capsule
    wanted = [text.partition(":") for text in ft_special_names.decode().split()]
    for i in range(len(wanted) - 1, -1, -1):
        macro, _, name = wanted[i]
        capsule = found[name, _special_types[macro]]
        ft_special[i] = PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


# ----- threads -----------------------------------------------------------------------------------


# The number of threads that this context asks for; 0: the general one.
context_threads = ContextVar("functrans_threads", default=0)


cdef int asked() except -1:
    cdef PyObject *value = NULL
    cdef int n
    PyContextVar_Get(context_threads, NULL, &value)
    n = <object>value
    Py_DECREF(<object>value)
    return n


def has_openmp():
    """Whether the kernels were built with OpenMP, and so keep its limits."""
    return bool(ft_has_openmp())


def usable_cpus():
    """The cores that this process may use: of its affinity mask, within the quota of its control group."""
    return ft_usable_cpus()


def pool_size():
    """How many helper threads exist."""
    return ft_pool_size()


def get_num_threads():
    """The number of threads that a run may use here and now."""
    return ft_num_threads(asked())


def set_num_threads(int n):
    """Sets the number of threads where no context has its own; 0: the default."""
    ft_set_num_threads(n)


# ----- one step, for tests and benchmarks --------------------------------------------------------


def call(str name, outs, ins, shape, ints=(), strides=None, double cost=0.0, int repeat=1):
    """Runs one kernel on NumPy arrays as a step of a plan would; returns nanoseconds a run.

    ``strides`` has one tuple of byte strides an operand, over the axes of ``shape``; by default each
    array's own. Nothing is checked: a wrong shape reads foreign memory.
    """
    cdef const ft_entry *e = find(name.encode())
    if e == NULL:
        raise KeyError(name)
    if _entries[name.encode()][0] == FT_SPECIAL_PART:
        load_special()
    arrays = [*outs, *ins]
    cdef int nop = len(arrays), nd = len(shape), i, d, code = 0
    cdef int64_t nint = len(ints)
    if strides is None:
        strides = [a.strides for a in arrays]
    cdef int64_t *numbers = <int64_t *>PyMem_Malloc((nd + nop * nd + nint + 1) * sizeof(int64_t))
    cdef ft_operand *opnd = <ft_operand *>PyMem_Malloc(nop * sizeof(ft_operand))
    cdef char **base = <char **>PyMem_Malloc(nop * sizeof(char *))
    cdef int64_t *st = numbers + nd
    cdef int64_t *params = numbers + nd + nop * nd
    cdef ft_step step
    cdef ft_frame frame
    cdef timespec t0, t1
    try:
        if numbers == NULL or opnd == NULL or base == NULL:
            raise MemoryError()
        for d in range(nd):
            numbers[d] = shape[d]
        for i in range(nop):
            if len(strides[i]) != nd and not name.startswith(("gather", "scatter")) and \
                    not (name.startswith("dyn") and i >= 2):
                raise ValueError(f"operand {i} of {name} has {len(strides[i])} strides for {nd} axes")
            base[i] = <char *>cnp.PyArray_DATA(arrays[i])
            opnd[i].slot, opnd[i].offset, opnd[i].strides = i, 0, st + i * nd
            for d in range(min(nd, len(strides[i]))):
                st[i * nd + d] = strides[i][d]
        for i in range(nint):
            params[i] = ints[i]
        step.run, step.kernel = e.run, e.kernel
        step.nopnd, step.ndim, step.shape, step.opnd = nop, nd, numbers, opnd
        step.nint, step.ints, step.cost, step.data = nint, params, cost, NULL
        frame.base, frame.run = base, NULL
        with nogil:
            clock_gettime(CLOCK_MONOTONIC, &t0)
            for _ in range(repeat):
                code |= e.run(&step, &frame)
            clock_gettime(CLOCK_MONOTONIC, &t1)
    finally:
        PyMem_Free(numbers)
        PyMem_Free(opnd)
        PyMem_Free(base)
    if code:
        raise MemoryError(f"{name} failed with code {code}")
    return ((t1.tv_sec - t0.tv_sec) * 1e9 + (t1.tv_nsec - t0.tv_nsec)) / max(repeat, 1)
