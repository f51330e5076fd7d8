cimport numpy as cnp
from libc.stdint cimport int64_t

from .control cimport program

cdef class Step:
    cdef public object kernel       # name, or None once the step turned out to be empty
    cdef public list buffers
    cdef public list offsets
    cdef public tuple shape
    cdef public tuple strides
    cdef public tuple ints
    cdef public double cost
    cdef public object data
    cdef public bint inplace        # each element is read, if at all, before it is written
    cdef public int nouts           # so many of the buffers are written
    cdef public object fusable      # what fuse needs to know, or None
    cdef public object reuse        # of groups: per output the inputs that it may overwrite
    # for those who look at plans: views of the operands, the equation (or a tuple of them) that it
    # runs, of groups the equation of each instruction, and which operand is read or written in part
    cdef public object views
    cdef public object origin
    cdef public list members
    cdef public int partly

cdef Step make_step(object kernel, list buffers, list offsets, tuple shape, tuple strides, tuple ints,
                    double cost, bint inplace, object fusable, int nouts)

cdef struct port:                   # an input or output
    int typenum
    int ndim
    int64_t nbytes
    int64_t *dims
    int64_t at                      # 0-d, or a stack: where in the frame it lies
    bint stacked                    # a stack: ``nbytes`` is of one entry
    int64_t to                      # of an input: the output that takes its memory, or -1

cdef class Program:
    cdef program p
    cdef void *memory
    cdef void *const_memory
    cdef port *ports
    cdef readonly tuple in_avals
    cdef readonly tuple out_avals
    cdef readonly tuple shared      # inputs that lie in the memory of their carry output
    cdef readonly tuple over        # pairs of an input and an output that may lie over it
    cdef readonly tuple given       # (input, output that takes its memory, number of the step that begins to)
    cdef readonly Py_ssize_t nbytes
    cdef tuple dtypes               # of inputs and outputs
    cdef tuple types                # scalar types of inputs and outputs
    cdef readonly tuple names       # kernel of each step
    cdef tuple parts                # what the steps point to: programs, tuples of Python steps
    cdef tuple references           # arrays that the steps read in place
    cdef pack(self, list steps, bytes consts)
    cpdef list run(self, list values, names=*)
    cdef list run_in(self, list values, char *memory, names)

cdef cnp.ndarray new_array(port *q)
