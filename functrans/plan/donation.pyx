"""Donated arguments: arrays of the caller that become results, memory and all.

A plan says which inputs it can write which outputs over (``Program.given``). In a run such an input is the
output itself if the array can be given: it owns its memory, is writable and dense, and nothing else that the
run reads lies there. Otherwise the run works on a copy, so that one plan serves all cases.
"""
from libc.stdint cimport uintptr_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

from cpython.mem cimport PyMem_Free, PyMem_Malloc

cimport numpy as cnp

from ..errors import DonationError
from .run cimport Program, new_array, port

cnp.import_array()

cdef struct extent:
    uintptr_t first, end
    Py_ssize_t number           # of the input; -1: an array that the plan itself refers to
    bint offered


cdef int by_address(const void *a, const void *b) noexcept nogil:
    cdef uintptr_t x = (<const extent *>a).first, y = (<const extent *>b).first
    return -1 if x < y else x > y


cdef extent extent_of(cnp.ndarray a, Py_ssize_t number, bint offered):
    """The memory that an array touches."""
    cdef extent e
    cdef Py_ssize_t way
    cdef int d
    e.first = e.end = <uintptr_t>cnp.PyArray_DATA(a)
    e.number, e.offered = number, offered
    for d in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIMS(a)[d] == 0:
            return e
        way = (cnp.PyArray_DIMS(a)[d] - 1) * cnp.PyArray_STRIDES(a)[d]
        if way < 0:
            e.first += way
        else:
            e.end += way
    e.end += cnp.PyArray_ITEMSIZE(a)
    return e


cdef list give(Program program, list values, char **base, list outs, names):
    """Sets the outputs that given inputs become; the pairs ``(input, step that begins to write)`` of the
    caller's own arrays among them. ``base`` has the addresses of the inputs, and gets those of copies.

    ``names`` are those of the arguments; inputs behind them are captured. Without, nothing is given.
    """
    cdef Py_ssize_t i, o
    cdef port *q
    cdef cnp.ndarray array
    cdef list taken = []
    cdef set offered = set()
    if names is not None:
        for i, _, _ in program.given:
            value = values[i]
            if type(value) is cnp.ndarray and cnp.PyArray_CHKFLAGS(
                    <cnp.ndarray>value, cnp.NPY_ARRAY_OWNDATA | cnp.NPY_ARRAY_WRITEABLE) and (
                    base[i] == <char *>cnp.PyArray_DATA(<cnp.ndarray>value)):
                offered.add(i)
        if offered:
            offered -= apart(program, values, offered, names)
    for i, o, step in program.given:
        if i in offered:
            outs[o] = values[i]
            taken.append((i, step))
        else:
            q = program.ports + i
            outs[o] = array = new_array(q)
            memcpy(cnp.PyArray_DATA(array), base[i], q.nbytes)
            base[i] = <char *>cnp.PyArray_DATA(array)
    return taken


cdef set apart(Program program, list values, set offered, tuple names):
    """Those of ``offered`` that something captured lies in; DonationError where another argument does."""
    cdef Py_ssize_t n = 0, i, most = len(values) + len(program.references), n_arguments = len(names)
    cdef extent *all = <extent *>PyMem_Malloc(most * sizeof(extent))
    cdef extent *e
    cdef extent *argument = NULL        # those that reach furthest so far
    cdef extent *captured = NULL
    cdef extent *given = NULL
    cdef set found = set()
    if all is NULL:
        raise MemoryError
    try:
        for i in range(len(values)):
            if type(values[i]) is cnp.ndarray:
                all[n] = extent_of(<cnp.ndarray>values[i], i, i in offered)
                n += 1
        for array in program.references:
            all[n] = extent_of(<cnp.ndarray>array, -1, False)
            n += 1
        qsort(all, n, sizeof(extent), by_address)
        for i in range(n):
            e = all + i
            if e.first == e.end:
                continue
            if 0 <= e.number < n_arguments:
                if e.offered:
                    if argument is not NULL and e.first < argument.end:
                        raise twice(e.number, argument.number, names)
                    if captured is not NULL and e.first < captured.end:
                        found.add(e.number)
                    if given is NULL or given.end < e.end:
                        given = e
                elif given is not NULL and e.first < given.end:
                    raise twice(given.number, e.number, names)
                if argument is NULL or argument.end < e.end:
                    argument = e
            else:
                if given is not NULL and e.first < given.end:
                    found.add(given.number)
                if captured is NULL or captured.end < e.end:
                    captured = e
        return found
    finally:
        PyMem_Free(all)


cdef twice(Py_ssize_t i, Py_ssize_t j, tuple names):
    return DonationError(
        f"argument {names[i]} is donated, and argument {names[j]} lies in the same memory.",
        f"Pass a copy of one of them, or leave {names[i]} out of donate_argnums and donate_argnames.")


cdef tell(error, list taken, Py_ssize_t failed, names):
    """Notes on an exception which arrays of the caller were being written when it came."""
    written = [names[i] for i, step in taken if step <= failed]
    if written:
        error.add_note("The call had begun to write its results into donated arguments, whose values are "
                       f"undefined now: {', '.join(written)}.")
