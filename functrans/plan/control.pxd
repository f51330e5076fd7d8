"""What a packed program looks like to C, and the steps that run programs inside programs."""
from libc.stdint cimport int64_t

from ..kernels.lib cimport FT_OK, ft_frame, ft_run, ft_step, ft_step_fn
from .stacks cimport run_stacks

cdef extern from "abi.h":
    char *FT_PTR(const ft_step *step, ft_frame *frame, int i) nogil

cdef struct program:
    ft_step *steps
    int64_t nsteps
    char *consts
    int64_t nin
    int64_t nout
    int64_t scalars      # where in a frame the 0-d inputs and outputs of the outermost program lie
    int64_t arena        # where in a frame the arena lies; base addresses are at its start
    int64_t nbytes       # of a whole frame
    double cost

cdef struct run_state:
    ft_run run           # the executor's part; first, as it is told by address
    void *error          # a new reference to the exception that unwinds this run
    double budget        # estimated nanoseconds until the clock is read again
    double deadline      # when signals are looked at again
    run_stacks stacks
    const ft_step *failed    # the step that ended the run early; of those in each other the outermost

cdef enum:
    WATCHED = 1_000_000  # ns: programs of more work look for interrupts between their steps

cdef inline void open_frame(const program *p, char *memory, ft_frame *frame, void *run) noexcept nogil:
    frame.base = <char **>memory
    frame.run = run
    frame.base[0] = memory + p.arena
    frame.base[1] = p.consts

cdef inline int execute(const program *p, ft_frame *frame) noexcept nogil:
    cdef const ft_step *step = p.steps
    cdef const ft_step *end = p.steps + p.nsteps
    cdef int code
    if p.cost > WATCHED:
        return execute_watched(p, frame)
    while step < end:
        code = step.run(step, frame)
        if code != FT_OK:
            (<run_state *>frame.run).failed = step
            return code
        step += 1
    return FT_OK

cdef struct clock:
    double *last         # when the clock step before this one was reached
    double seconds       # between the two, in all runs
    int64_t runs

cdef class Clock:
    cdef clock c
    cdef double began
    cdef readonly Clock first

cdef int execute_watched(const program *p, ft_frame *frame) noexcept nogil
cdef int look_for_interrupts(void *run) noexcept nogil
cdef ft_step_fn control_step(str kind)
