from libc.stdint cimport int32_t, int64_t


cdef extern from "abi.h":
    ctypedef struct ft_frame:
        char **base
        void *run
    ctypedef struct ft_operand:
        int32_t slot
        int32_t pad_
        int64_t offset
        const int64_t *strides
    ctypedef struct ft_step
    ctypedef int (*ft_step_fn)(const ft_step *step, ft_frame *frame) noexcept nogil
    ctypedef struct ft_step:
        ft_step_fn run
        const void *kernel
        int32_t nopnd
        int32_t ndim
        const int64_t *shape
        const ft_operand *opnd
        int64_t nint
        const int64_t *ints
        double cost
        void *data
    ctypedef struct ft_entry:
        const char *name
        ft_step_fn run
        const void *kernel
        double ns
    int FT_OK, FT_EMEM, FT_EINTR, FT_ECALL

cdef extern from "scalar_vm.h":
    ctypedef union ft_reg:
        int64_t i64
    ctypedef struct ft_ins:
        int64_t label
    ctypedef struct ft_vm:
        const ft_ins *ip
        ft_reg *r
        char **ptr
        char **moving
        const int64_t *by
        int64_t nmoving
        int64_t left
    ctypedef int (*ft_vm_fn)(ft_vm *vm, int64_t *labels) noexcept nogil
    int FT_VM_DONE, FT_VM_TURNS, FT_VM_END

cdef extern from "lanes.h":
    ctypedef struct ft_lane_ins:
        int64_t loop
    ctypedef struct ft_lanes:
        const ft_lane_ins *code
        int64_t body, end
        const int64_t *constants
        int64_t nconstants, registers
        char **ptr
        const int64_t *by
        const int64_t *across
        int64_t npointers, lanes, block
        char *space
    int FT_LANE_POINTERS

cdef extern from "threads.h":
    ctypedef struct ft_run:
        int threads
        int stopped
        int (*poll)(void *run) noexcept nogil

cdef ft_step_fn group_step() noexcept     # the driver of block groups
cdef const ft_entry *find(bytes name) noexcept
cdef int enter(ft_run *run) except -1     # around a run that is long enough for threads
cdef void leave(ft_run *run) noexcept
# turns start .. stop of some blocks of lanes
cdef void run_lanes(const ft_lanes *p, int64_t first, int64_t count, int64_t start, int64_t stop,
                    int64_t turns, double cost) noexcept nogil
