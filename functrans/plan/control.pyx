"""Steps that hold programs: loops and branches run in C, without Python and without the GIL.

A frame of an inner program lies in the arena of the outer one: base addresses, then its own arena.
Inputs and outputs of the inner program are pointers into the outer one's buffers, so consts are
read in place, slices of xs are read and slices of ys written in place, and a carry alternates
between two buffers (or stays in one, where the body can update it in place).
"""
from libc.stdint cimport int64_t, intptr_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from cpython.ref cimport Py_INCREF

import numpy as np
cimport numpy as cnp

from ..errors import KernelError
from ..kernels.lib cimport (FT_ECALL, FT_EINTR, FT_EMEM, FT_OK, FT_VM_END, ft_frame, ft_ins, ft_lane_ins,
                            ft_lanes, ft_reg, ft_step, ft_step_fn, ft_vm, ft_vm_fn, run_lanes)

from .stacks cimport free_stack, need_stack, open_stack, stack

cnp.import_array()

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    POINTERS = 256               # FT_LANE_POINTERS

cdef double BUDGET = 20e3        # ns of estimated work between two looks at the clock
cdef double PERIOD = 0.05        # s between two looks at signals
cdef double TURN = 20.0          # ns of one turn of a loop, beside its body
cdef int64_t FEW_TURNS = 16      # what the stacks of a scalar loop have room for at first


cdef int look(run_state *state) noexcept nogil:
    """Reads the clock, and now and then lets Python handle signals (so that Ctrl-C stops a loop)."""
    cdef timespec t
    cdef double now
    state.budget = BUDGET
    clock_gettime(CLOCK_MONOTONIC, &t)
    now = t.tv_sec + 1e-9 * t.tv_nsec
    if state.deadline == 0:
        state.deadline = now + PERIOD
    elif now >= state.deadline:
        state.deadline = now + PERIOD
        with gil:
            try:
                PyErr_CheckSignals()
            except BaseException as error:
                Py_INCREF(error)
                state.error = <void *>error
                return FT_EINTR
    return FT_OK


cdef int look_for_interrupts(void *run) noexcept nogil:
    """``poll`` of the executor: called in the middle of long steps."""
    return look(<run_state *>run)


cdef int execute_watched(const program *p, ft_frame *frame) noexcept nogil:
    cdef const ft_step *step = p.steps
    cdef const ft_step *end = p.steps + p.nsteps
    cdef run_state *state = <run_state *>frame.run
    cdef int code
    while step < end:
        code = step.run(step, frame)
        if code == FT_OK:
            code = state.run.stopped       # a step that was left early gives no code of its own
        if code == FT_OK:
            code = turn(state, step.cost)
        if code != FT_OK:
            state.failed = step
            return code
        step += 1
    return FT_OK


cdef inline int turn(run_state *state, double cost) noexcept nogil:
    state.budget -= cost
    return look(state) if state.budget < 0 else FT_OK


# ----- scan ----------------------------------------------------------------------------------

# ints: n_consts, n_carry, n_xs, n_ys, length (-1: an operand, -2: that of the first x; xs and ys are
# stacks then), reverse, then per carry where its second buffer lies in the scratch (-1: none; -2, -3: the
# carry lies at the end of a stack of all its values, with and without the start), bytes per carry, bytes of a
# slice of each x, of each y
# operands: carry out, ys; length if it is one, consts, carry in, xs, scratch

cdef int run_scan(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef const int64_t *n = s.ints
    cdef int64_t n_consts = n[0], n_carry = n[1], n_xs = n[2], n_ys = n[3], length = n[4]
    cdef const int64_t *spare = n + 6
    cdef const int64_t *carry_bytes = spare + n_carry
    cdef const int64_t *x_bytes = carry_bytes + n_carry
    cdef const int64_t *y_bytes = x_bytes + n_xs
    cdef const program *body = (<program **>s.data)[0]
    cdef int first = <int>(n_carry + n_ys)
    cdef int init = first + <int>n_consts
    cdef int64_t k, t, back = length - 1 if n[5] else 0, by = -1 if n[5] else 1
    cdef char *scratch = FT_PTR(s, f, s.nopnd - 1)
    cdef char **ins
    cdef char **outs
    cdef char *out
    cdef char *old
    cdef ft_frame inner
    cdef int code
    cdef double cost = body.cost + TURN
    cdef run_state *state = <run_state *>f.run
    cdef bint stacked = length < 0
    if stacked:
        if length == -1:
            length = (<int64_t *>FT_PTR(s, f, first))[0]
            first += 1
            init += 1
        else:
            length = (<stack *>FT_PTR(s, f, init + <int>n_carry)).n
        back = length - 1 if n[5] else 0
        for k in range(n_ys):
            out = FT_PTR(s, f, <int>(n_carry + k))
            open_stack(<stack *>out, &state.stacks)
            if need_stack(<stack *>out, length, y_bytes[k]):
                return no_memory(state)
            (<stack *>out).n = length
    if length == 0:
        for k in range(n_carry):
            memcpy(FT_PTR(s, f, <int>k), FT_PTR(s, f, init + <int>k), carry_bytes[k])
        return FT_OK
    open_frame(body, scratch, &inner, f.run)
    ins = inner.base + 2
    outs = ins + body.nin
    for k in range(n_consts):
        ins[k] = FT_PTR(s, f, first + <int>k)
    ins += n_consts
    for k in range(n_carry):
        out = FT_PTR(s, f, <int>k)
        old = FT_PTR(s, f, init + <int>k)
        if spare[k] == -1:
            if out != old:
                memcpy(out, old, carry_bytes[k])
            ins[k] = outs[k] = out
        elif spare[k] < 0:
            ins[k], outs[k] = old, out - by * (length - 1) * carry_bytes[k]
            if spare[k] == -2:
                ins[k] = outs[k] - by * carry_bytes[k]
                memcpy(ins[k], old, carry_bytes[k])
        else:                        # the first turn reads the start value, the last writes out
            ins[k] = old
            outs[k] = out if length & 1 else scratch + spare[k]
    for k in range(n_xs):
        out = FT_PTR(s, f, init + <int>(n_carry + k))
        ins[n_carry + k] = ((<stack *>out).data if stacked else out) + back * x_bytes[k]
    for k in range(n_ys):
        out = FT_PTR(s, f, <int>(n_carry + k))
        outs[n_carry + k] = ((<stack *>out).data if stacked else out) + back * y_bytes[k]
    t = 0
    while True:
        code = execute(body, &inner)
        if code != FT_OK:
            return code
        t += 1
        if t == length:
            return FT_OK
        code = turn(state, cost)
        if code != FT_OK:
            return code
        for k in range(n_carry):
            if spare[k] >= 0:
                ins[k] = outs[k]
                out = FT_PTR(s, f, <int>k)
                outs[k] = scratch + spare[k] if outs[k] == out else out
            elif spare[k] < -1:
                ins[k] = outs[k]
                outs[k] += by * carry_bytes[k]
        for k in range(n_xs):
            ins[n_carry + k] += by * x_bytes[k]
        for k in range(n_ys):
            outs[n_carry + k] += by * y_bytes[k]


# ----- while ---------------------------------------------------------------------------------

# ints: n_cond, n_body (consts of each), n_carry, where the frame of cond lies in the scratch, n_ys, then
# per carry where its second buffer lies (-1: none), bytes per carry, bytes of an entry of each y
# operands: carry out, ys (stacks); consts of cond, of body, carry in, scratch

cdef int run_while(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef const int64_t *n = s.ints
    cdef int64_t n_cond = n[0], n_body = n[1], n_carry = n[2], k
    cdef int64_t n_ys = n[4], turns = 0
    cdef const int64_t *spare = n + 5
    cdef const int64_t *carry_bytes = spare + n_carry
    cdef const int64_t *y_bytes = carry_bytes + n_carry
    cdef const program *body = (<program **>s.data)[0]
    cdef const program *cond = (<program **>s.data)[1]
    cdef int first = <int>(n_carry + n_ys)
    cdef int init = <int>(first + n_cond + n_body)
    cdef stack *y
    cdef char *scratch = FT_PTR(s, f, s.nopnd - 1)
    cdef char **ins
    cdef char **outs
    cdef char **tested
    cdef char *out
    cdef ft_frame inner, test
    cdef int code
    cdef double cost = body.cost + cond.cost + TURN
    cdef run_state *state = <run_state *>f.run
    open_frame(body, scratch, &inner, f.run)
    open_frame(cond, scratch + n[3], &test, f.run)
    ins = inner.base + 2
    outs = ins + body.nin
    tested = test.base + 2
    for k in range(n_cond):
        tested[k] = FT_PTR(s, f, <int>(first + k))
    for k in range(n_body):
        ins[k] = FT_PTR(s, f, <int>(first + n_cond + k))
    for k in range(n_ys):
        open_stack(<stack *>FT_PTR(s, f, <int>(n_carry + k)), &state.stacks)
    ins += n_body
    tested += n_cond
    tested[n_carry] = scratch + n[3] + cond.scalars
    for k in range(n_carry):
        out = FT_PTR(s, f, <int>k)
        ins[k] = FT_PTR(s, f, init + <int>k)
        outs[k] = out
        if spare[k] < 0:
            if out != ins[k]:
                memcpy(out, ins[k], carry_bytes[k])
            ins[k] = out
        tested[k] = ins[k]
    while True:
        code = execute(cond, &test)
        if code != FT_OK:
            return code
        if not tested[n_carry][0]:
            break
        for k in range(n_ys):
            y = <stack *>FT_PTR(s, f, <int>(n_carry + k))
            if (turns + 1) * y_bytes[k] > y.nbytes and need_stack(y, turns + 1, y_bytes[k]):
                return no_memory(state)
            outs[n_carry + k] = y.data + turns * y_bytes[k]
            y.n = turns + 1
        turns += 1
        code = execute(body, &inner)
        if code != FT_OK:
            return code
        code = turn(state, cost)
        if code != FT_OK:
            return code
        for k in range(n_carry):
            if spare[k] >= 0:
                tested[k] = ins[k] = outs[k]
                out = FT_PTR(s, f, <int>k)
                outs[k] = scratch + spare[k] if outs[k] == out else out
    for k in range(n_carry):
        out = FT_PTR(s, f, <int>k)
        if ins[k] != out:
            memcpy(out, ins[k], carry_bytes[k])
    return FT_OK


cdef int no_memory(run_state *state) noexcept nogil:
    with gil:
        error = MemoryError("what a while_loop keeps for its derivative takes more memory than there is; "
                            "give the loop checkpoint='binomial' (or 'sqrt'), or make it end earlier")
        Py_INCREF(error)
        state.error = <void *>error
    return FT_EMEM


# Operands: stacks that nobody reads any more.

cdef int run_release(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef int k
    for k in range(s.nopnd):
        free_stack(<stack *>FT_PTR(s, f, k))
    return FT_OK


# ----- scalar loops --------------------------------------------------------------------------

# ints: turns (-1: until the test fails, -2: the first operand behind the results), number of constants,
# bytes of the registers, number of fixed and of moving pointers, instructions before the body, before the
# end, turns between two looks at the clock, number of results; then the operand of each pointer, where the
# moving ones start, by how much they move. What moves is a stack where turns < 0. data: the constants, the
# instructions. The last operand is the scratch: registers, then pointers.

cdef int run_scalar_loop(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef const int64_t *n = s.ints
    cdef int64_t turns = n[0], n_fixed = n[3], n_moving = n[4], look_after = n[7], k, code
    cdef int64_t done = 0, now
    cdef bint tested = turns == -1, stacked = turns < 0
    cdef stack *y
    cdef const int64_t *which = n + 9
    cdef const int64_t *start = which + n_fixed + n_moving
    cdef const int64_t *by = start + n_moving
    cdef const int64_t *constants = <const int64_t *>s.data
    cdef const ft_ins *program = <const ft_ins *>(constants + n[1])
    cdef char *scratch = FT_PTR(s, f, s.nopnd - 1)
    cdef ft_vm vm
    cdef ft_vm_fn interpret = <ft_vm_fn>s.kernel
    cdef double per_turn = BUDGET / look_after
    cdef run_state *state = <run_state *>f.run
    vm.r = <ft_reg *>scratch
    vm.ptr = <char **>(scratch + n[2])
    vm.moving = vm.ptr + n_fixed
    vm.by = by
    vm.nmoving = n_moving
    for k in range(n[1]):
        vm.r[k].i64 = constants[k]
    for k in range(n_fixed + n_moving):
        vm.ptr[k] = FT_PTR(s, f, <int>which[k])
    if turns == -2:
        turns = (<int64_t *>FT_PTR(s, f, <int>n[8]))[0]
    for k in range(n_moving):
        y = <stack *>vm.moving[k]
        if stacked and which[n_fixed + k] < n[8]:
            open_stack(y, &state.stacks)
            if not tested and need_stack(y, turns, -by[k] if by[k] < 0 else by[k]):
                return no_memory(state)
            y.n = max(turns, 0)
        if stacked:
            vm.moving[k] = y.data - (by[k] * (turns - 1) if by[k] < 0 and turns > 0 else 0)
        else:
            vm.moving[k] += start[k]
    vm.ip = program
    interpret(&vm, NULL)
    vm.ip = program + n[5]
    while tested or done < turns:
        now = look_after if tested else min(turns - done, look_after)
        if tested and n_moving:
            now = min(look_after, max(FEW_TURNS, done))
            for k in range(n_moving):
                y = <stack *>FT_PTR(s, f, <int>which[n_fixed + k])
                if need_stack(y, done + now, by[k]):
                    return no_memory(state)
                vm.moving[k] = y.data + done * by[k]
        vm.left = now
        if interpret(&vm, NULL) == FT_VM_END:
            for k in range(n_moving):
                y = <stack *>FT_PTR(s, f, <int>which[n_fixed + k])
                y.n = (vm.moving[k] - y.data) // by[k]
            break
        done += now
        code = turn(state, now * per_turn)
        if code != FT_OK:
            return <int>code
    vm.ip = program + n[6]
    interpret(&vm, NULL)
    return FT_OK


# ints: turns, number of constants, registers beside them, pointers, where the body and the end are,
# lanes, lanes of a block, blocks of a wave, turns between two looks at the clock; then per pointer its
# operand, where it starts, how far it goes from turn to turn and from lane to lane. data: the constants,
# the instructions. The last operand is the scratch: registers of a wave.

cdef int run_lane_loop(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef const int64_t *n = s.ints
    cdef int64_t turns = n[0], n_pointers = n[3], blocks, wave = n[8], look_after = n[9]
    cdef int64_t first, count, start, stop, k
    cdef const int64_t *which = n + 10
    cdef double per_turn = s.cost / turns
    cdef char *pointers[POINTERS]
    cdef run_state *state = <run_state *>f.run
    cdef ft_lanes p
    cdef int code
    p.constants = <const int64_t *>s.data
    p.code = <const ft_lane_ins *>(p.constants + n[1])
    p.nconstants, p.registers, p.npointers, p.body, p.end = n[1], n[2], n_pointers, n[4], n[5]
    p.lanes, p.block = n[6], n[7]
    p.by = which + 2 * n_pointers
    p.across = p.by + n_pointers
    p.ptr = pointers
    p.space = FT_PTR(s, f, s.nopnd - 1)
    for k in range(n_pointers):
        pointers[k] = FT_PTR(s, f, <int>which[k]) + which[n_pointers + k]
    blocks = (p.lanes + p.block - 1) // p.block
    first = 0
    while first < blocks:
        count = min(wave, blocks - first)
        start = 0
        while start < turns:
            stop = min(start + look_after, turns)
            run_lanes(&p, first, count, start, stop, turns, per_turn * (stop - start) * count / blocks)
            if state.run.stopped:
                return FT_OK
            code = turn(state, per_turn * (stop - start) * count / blocks)
            if code != FT_OK:
                return code
            start = stop
        first += count
    return FT_OK


# ----- cond ----------------------------------------------------------------------------------

# ints: number of outputs, of arguments, of branches; operands: outputs; index, arguments, scratch

cdef int run_cond(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef int n_outs = <int>s.ints[0], n_args = <int>s.ints[1], k
    cdef int64_t index = (<int64_t *>FT_PTR(s, f, n_outs))[0]
    cdef const program *branch
    cdef char **ins
    cdef ft_frame inner
    index = 0 if index < 0 else min(index, s.ints[2] - 1)
    branch = (<program **>s.data)[index]
    open_frame(branch, FT_PTR(s, f, s.nopnd - 1), &inner, f.run)
    ins = inner.base + 2
    for k in range(n_args):
        ins[k] = FT_PTR(s, f, n_outs + 1 + k)
    for k in range(n_outs):
        ins[n_args + k] = FT_PTR(s, f, k)
    return execute(branch, &inner)


# ----- python --------------------------------------------------------------------------------

# ints: number of outputs; data: (function, avals of the outputs, of the inputs, gives a list)

cdef int run_python(const ft_step *s, ft_frame *f) noexcept with gil:
    try:
        call_python(s, f)
        return FT_OK
    except BaseException as error:
        Py_INCREF(error)
        (<run_state *>f.run).error = <void *>error
        return FT_ECALL


cdef call_python(const ft_step *s, ft_frame *f):
    cdef int n_outs = <int>s.ints[0], k
    cdef tuple data = <tuple>s.data
    cdef list args = []
    cdef cnp.ndarray array
    function, out_avals, in_avals, multiple = data
    for k, aval in enumerate(in_avals):
        array = np.empty(aval.shape, aval.dtype)
        memcpy(cnp.PyArray_DATA(array), FT_PTR(s, f, n_outs + k), cnp.PyArray_NBYTES(array))
        args.append(array)
    results = function(*args)
    if not multiple:
        results = (results,)
    elif len(results) != n_outs:
        raise ValueError(f"the Python function gave {len(results)} results instead of {n_outs}")
    for k, (aval, result) in enumerate(zip(out_avals, results)):
        array = np.asarray(result, order="C")
        if array.dtype.newbyteorder("=") != aval.dtype or np.shape(result) != aval.shape:
            raise ValueError(f"the Python function gave {array.dtype}{list(np.shape(result))} "
                             f"where {aval} was announced")
        array = np.ascontiguousarray(array, aval.dtype)      # also undoes a foreign byte order
        memcpy(FT_PTR(s, f, k), cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array))


# ----- kernels of users ----------------------------------------------------------------------

# See docs/own_ops.md for what they are given, and ops/own.py for the ints; data: (name, user's line)

ctypedef int (*own_arrays)(void **data, const int64_t *shapes, const double *parameters) noexcept nogil
ctypedef double (*own_1)(double) noexcept nogil
ctypedef double (*own_2)(double, double) noexcept nogil
ctypedef double (*own_3)(double, double, double) noexcept nogil
ctypedef float (*own_4)(float) noexcept nogil
ctypedef float (*own_5)(float, float) noexcept nogil
ctypedef double (*own_6)(double, int) noexcept nogil            # cpdef functions of Cython take one more
ctypedef double (*own_7)(double, double, int) noexcept nogil
ctypedef double (*own_8)(double, double, double, int) noexcept nogil

cdef enum:
    MOST_OPERANDS = 32


cdef int run_own_arrays(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef void *data[MOST_OPERANDS]
    cdef int64_t n_parameters = s.ints[1], turns = s.ints[2], i
    cdef const int64_t *moves = s.ints + 3 + n_parameters
    cdef int k, code
    for i in range(turns):
        for k in range(s.nopnd):
            data[k] = FT_PTR(s, f, k) + i * moves[k]
        code = (<own_arrays><intptr_t>s.ints[0])(data, moves + s.nopnd, <const double *>(s.ints + 3))
        if code != 0:
            return own_failed(s, f, code)
    return FT_OK


cdef int run_own_scalars(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef intptr_t at = <intptr_t>s.ints[0]
    cdef int64_t code = s.ints[1], n = s.ints[2], i
    cdef double *o = <double *>FT_PTR(s, f, 0)
    cdef double *x = <double *>FT_PTR(s, f, 1)
    cdef double *y = <double *>FT_PTR(s, f, min(2, s.nopnd - 1))
    cdef double *z = <double *>FT_PTR(s, f, min(3, s.nopnd - 1))
    for i in range(n):
        if code == 1:
            o[i] = (<own_1>at)(x[i])
        elif code == 2:
            o[i] = (<own_2>at)(x[i], y[i])
        elif code == 3:
            o[i] = (<own_3>at)(x[i], y[i], z[i])
        elif code == 4:
            (<float *>o)[i] = (<own_4>at)((<float *>x)[i])
        elif code == 5:
            (<float *>o)[i] = (<own_5>at)((<float *>x)[i], (<float *>y)[i])
        elif code == 6:
            o[i] = (<own_6>at)(x[i], 0)
        elif code == 7:
            o[i] = (<own_7>at)(x[i], y[i], 0)
        else:
            o[i] = (<own_8>at)(x[i], y[i], z[i], 0)
    return FT_OK


cdef int own_failed(const ft_step *s, ft_frame *f, int code) noexcept with gil:
    name, where = <tuple>s.data
    error = KernelError(f"the kernel of {name} returned {code}.", None, where or False)
    Py_INCREF(error)
    (<run_state *>f.run).error = <void *>error
    return FT_ECALL


# ----- clocks --------------------------------------------------------------------------------

# Steps that a plan has only while it is profiled: one before the first step and one behind each.

cdef class Clock:
    """Adds up the time since the clock step before it; ``first`` is the first one of the program."""

    def __cinit__(self, Clock first=None):
        self.first = first
        self.c.last = &self.began if first is None else &first.began

    @property
    def seconds(self):
        return self.c.seconds

    @property
    def runs(self):
        return self.c.runs

    def reset(self):
        self.c.seconds, self.c.runs = 0, 0


cdef int run_clock(const ft_step *s, ft_frame *f) noexcept nogil:
    cdef clock *c = <clock *>s.data
    cdef timespec t
    cdef double now
    clock_gettime(CLOCK_MONOTONIC, &t)
    now = t.tv_sec + 1e-9 * t.tv_nsec
    if c.last[0] != 0:
        c.seconds += now - c.last[0]
    c.runs += 1
    c.last[0] = now
    return FT_OK


cdef ft_step_fn control_step(str kind):
    if kind == "scan":
        return run_scan
    if kind == "while":
        return run_while
    if kind == "cond":
        return run_cond
    if kind == "release":
        return run_release
    if kind == "python":
        return run_python
    if kind == "own_arrays":
        return run_own_arrays
    if kind == "own_scalars":
        return run_own_scalars
    if kind == "scalar_loop":
        return run_scalar_loop
    if kind == "lane_loop":
        return run_lane_loop
    if kind == "clock":
        return run_clock
    return NULL
