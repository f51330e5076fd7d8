from libc.stdint cimport int32_t, int64_t, uint8_t

# What an operation of the interpreter is, beside its label.
cdef struct operation:
    int64_t label
    double ns
    int32_t negated                 # the operation ``neg`` of its dtype, or -1
    int32_t joined[9]               # of an add, sub or mul: what it joins, into what on either side
    uint8_t kind                    # how it is simplified
    uint8_t code                    # number of the dtype it is chosen by
    bint exact, load, power

# A value: what computes it. Of a load ``a`` is the pointer's number and ``imm`` the byte offset.
cdef struct node:
    int32_t op, a, b, c             # c, b: -1 where there are no such operands
    int64_t imm
    uint8_t code                    # number of its dtype
    uint8_t flags

cdef enum:
    CONSTANT = 1
    ZERO = 2
    ONE = 4
    UNSIGNED_ZERO = 8               # it is never -0.0

cdef operation *OPERATIONS
cdef int CONST, CARRY               # operations that are none of the interpreter's
cdef dict RUNS

cdef int number_of(str name) except -1

cdef class Elements:
    cdef node *v
    cdef readonly int32_t n
    cdef int32_t room, mask
    cdef int32_t *table             # open addressing: numbers of values, -1 where free
    cdef readonly dict value        # NumPy scalars of constants
    cdef readonly dict pointers
    cdef dict literals
    cdef int32_t put(self, int op, int32_t a, int32_t b, int32_t c, int64_t imm, int code) except -1
    cdef int32_t make(self, int op, int32_t a, int32_t b, int32_t c, int64_t imm, int code) except -1
    cdef int32_t simpler(self, int op, int32_t a, int32_t b, int32_t c, int64_t imm, int code) except -2
    cdef int32_t negated(self, int32_t x, int op)
    cdef int grow(self) except -1
    cpdef int constant(self, number)
    cpdef list literal(self, x)
    cpdef int pointer(self, key)
    cpdef int fresh(self, str code)
    cpdef str code(self, int32_t x)
    cdef list elementwise(self, sig, list operands)
