"""Programs: steps packed into C arrays, and the run of one on given values."""
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, intptr_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import numpy as np
cimport numpy as cnp

from ..kernels.lib cimport (FT_EMEM, FT_OK, enter, find, ft_entry, ft_frame, ft_operand, ft_step,
                            group_step, leave)
from .arena cimport give_arena, take_arena
from .control cimport Clock, control_step, execute, look_for_interrupts, run_state
from .donation cimport give, tell
from .outputs cimport POOLED, new_output
from .stacks cimport STACK_BYTES, free_stacks, run_stacks, stack, taken_stack
from .view cimport Buffer

cnp.import_array()

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t align, size_t nbytes)

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype descr, void *base)
    void PyArray_ScalarAsCtype(object scalar, void *to)
    bint PyArray_ISCARRAY_RO(cnp.ndarray a) nogil

cdef extern from "numpy/arrayscalars.h":
    """
    static PyObject *ft_float64(double value) {
        PyObject *scalar = PyArrayScalar_New(Double);
        if (scalar != NULL) PyArrayScalar_ASSIGN(scalar, Double, value);
        return scalar;
    }
    """
    object ft_float64(double value)

cdef extern from "threads.h":
    double FT_PARALLEL_NS

cdef extern from "fpmode.h":
    unsigned ft_fp_default() nogil
    void ft_fp_restore(unsigned mode) nogil

cdef enum:
    SMALL = 4096                   # frames up to here live on the C stack

cdef double KEEP_GIL = 20e3        # ns; releasing it for less costs more than it gives to others
cdef double DEFAULT_NS = 0.5       # per element, where the kernel does not say
cdef dict _costs = {}
cdef type _float64 = np.float64


def kernel_cost(str name):
    """Estimated ns per element of a kernel, or -1 if there is no such kernel."""
    cdef const ft_entry *entry
    cost = _costs.get(name)
    if cost is None:
        entry = find(name.encode())
        if entry is NULL:
            return -1.0
        cost = _costs[name] = entry.ns if entry.ns > 0 else DEFAULT_NS
    return cost


def kernel_address(str name):
    """Where the kernel is in memory: what the code of a block group names it by."""
    cdef const ft_entry *entry = find(name.encode())
    if entry is NULL:
        raise ValueError(f"there is no kernel {name}")
    return <intptr_t>entry.kernel


cdef class Step:
    """One kernel call, before it is packed: see ``Context.step``."""

    def __init__(self, kernel, list buffers, list offsets, tuple shape, tuple strides, tuple ints,
                 double cost, data, bint inplace, fusable=None, int nouts=1, reuse=None):
        self.kernel, self.buffers, self.offsets = kernel, buffers, offsets
        self.shape, self.strides, self.ints = shape, strides, ints
        self.cost, self.data, self.inplace = cost, data, inplace
        self.fusable, self.nouts, self.reuse, self.partly = fusable, nouts, reuse, -1


cdef Step make_step(object kernel, list buffers, list offsets, tuple shape, tuple strides, tuple ints,
                    double cost, bint inplace, object fusable, int nouts):
    """``Step(...)`` of a kernel, without the price of a call from Python."""
    cdef Step s = Step.__new__(Step)
    s.kernel, s.buffers, s.offsets = kernel, buffers, offsets
    s.shape, s.strides, s.ints = shape, strides, ints
    s.cost, s.inplace = cost, inplace
    s.fusable, s.nouts, s.partly = fusable, nouts, -1
    return s


cdef class Numbers:
    """Tuples of ints, each stored once in one array."""
    cdef dict places
    cdef list flat

    def __cinit__(self):
        self.places, self.flat = {}, []

    cdef Py_ssize_t add(self, tuple values, Py_ssize_t pad=0):
        """Where ``values`` begins, with zeros behind it up to ``pad`` numbers."""
        if len(values) < pad:
            values = values + (0,) * (pad - len(values))
        place = self.places.get(values)
        if place is None:
            place = self.places[values] = len(self.flat)
            self.flat.extend(values)
        return place


cdef class Program:
    """Steps that compute ``out_avals`` from ``in_avals``. Immutable, so runs may overlap freely.

    A frame holds all memory of one run: base addresses by slot, 0-d inputs and outputs, the arena.
    """

    def __init__(self, list steps, tuple in_avals, tuple out_avals, bytes consts,
                 tuple references, int64_t arena_bytes, tuple shared=(), tuple over=(), tuple given=()):
        cdef int64_t at
        cdef double cost = 0
        steps = [s for s in steps if (<Step>s).kernel is not None]
        for s in steps:
            cost += (<Step>s).cost
        self.in_avals, self.out_avals, self.shared, self.over = in_avals, out_avals, shared, over
        self.references = references
        number = {s: i for i, s in enumerate(steps)} if given else None
        self.given = tuple([(i, o, number.get(s, len(steps))) for i, o, s in given])
        self.dtypes = tuple([a.dtype for a in in_avals + out_avals])
        self.types = tuple([d.type for d in self.dtypes])
        self.p.nin, self.p.nout = len(in_avals), len(out_avals)
        self.p.cost = cost
        at = (8 * (2 + self.p.nin + self.p.nout) + 63) & -64
        self.p.scalars = at
        # one cell per port; the outputs' come first, as a while loop reads the single one of cond
        at += 16 * (self.p.nin + self.p.nout) + STACK_BYTES * sum([a.stacked for a in in_avals + out_avals])
        self.p.arena = (at + 63) & -64
        self.p.nbytes = self.p.arena + arena_bytes
        self.pack(steps, consts)

    def __dealloc__(self):
        PyMem_Free(self.memory)
        free(self.const_memory)

    cdef pack(self, list steps, bytes consts):
        """Copies everything into two blocks: steps and their tables, and constants."""
        cdef Numbers numbers = Numbers()
        cdef dict known = {}                                # kernel -> the first step that runs it
        cdef ft_step *same
        cdef Buffer buffer
        cdef Step s
        cdef list places = [], parts = []
        cdef Py_ssize_t i, k, n_operands = 0, n_parts = 0, nbytes, place, pad, n_stacks = 0
        cdef ft_step *step
        cdef ft_operand *operand
        cdef void **part
        cdef int64_t *table
        cdef char *at
        cdef port *q
        for s in steps:
            if len(s.strides) != len(s.buffers):
                raise ValueError(f"{s.kernel}: {len(s.strides)} strides, {len(s.buffers)} operands")
            n_operands += len(s.buffers)
            places.append(numbers.add(s.shape))
            places.append(numbers.add(s.ints))
            pad = len(s.shape)
            for walk in s.strides:
                places.append(numbers.add(<tuple>walk, pad))
            if type(s.data) is list:
                n_parts += len(s.data)
        avals = self.in_avals + self.out_avals
        dims = [numbers.add(a.shape) for a in avals]

        nbytes = (len(steps) * sizeof(ft_step) + n_operands * sizeof(ft_operand)
                  + len(dims) * sizeof(port) + n_parts * sizeof(void *)
                  + len(numbers.flat) * sizeof(int64_t))
        self.memory = at = <char *>PyMem_Malloc(nbytes)
        if at is NULL:
            raise MemoryError("no memory for a program")
        memset(at, 0, nbytes)
        self.p.steps = step = <ft_step *>at
        at += len(steps) * sizeof(ft_step)
        operand = <ft_operand *>at
        at += n_operands * sizeof(ft_operand)
        self.ports = q = <port *>at
        at += len(dims) * sizeof(port)
        part = <void **>at
        at += n_parts * sizeof(void *)
        table = <int64_t *>at
        for i in range(len(numbers.flat)):
            table[i] = numbers.flat[i]
        for i in range(len(dims)):
            q[i].typenum = (<cnp.dtype>self.dtypes[i]).type_num
            place = dims[i]
            q[i].dims = table + place
            q[i].ndim = avals[i].ndim
            q[i].nbytes = avals[i].nbytes
            k = i - self.p.nin if i >= self.p.nin else i + self.p.nout
            q[i].at = self.p.scalars + 16 * k
            q[i].stacked = avals[i].stacked
            q[i].to = -1
            if q[i].stacked:
                q[i].at = self.p.scalars + 16 * (self.p.nin + self.p.nout) + STACK_BYTES * n_stacks
                n_stacks += 1
        for i, k, _ in self.given:
            q[i].to = k

        if consts:
            if posix_memalign(&self.const_memory, 64, len(consts)):
                raise MemoryError("no memory for the constants of a program")
            memcpy(self.const_memory, <char *>consts, len(consts))
            self.p.consts = <char *>self.const_memory
        self.p.nsteps = len(steps)
        i = 0
        for s in steps:
            place = places[i]
            step.shape = table + place
            place = places[i + 1]
            step.ints = table + place
            i += 2
            step.ndim, step.nint, step.nopnd = len(s.shape), len(s.ints), len(s.buffers)
            step.opnd = operand
            step.cost = s.cost
            same_at = known.get(s.kernel)
            if same_at is None:
                set_kernel(step, s.kernel)
                known[s.kernel] = <intptr_t>step
            else:
                same = <ft_step *><intptr_t>same_at
                step.run, step.kernel = same.run, same.kernel
            if type(s.data) is list:                    # programs, by address
                step.data = part
                for x in <list>s.data:
                    part[0] = &(<Program?>x).p
                    part += 1
            elif type(s.data) is Clock:
                step.data = &(<Clock>s.data).c
            elif type(s.data) is bytes:                 # code
                step.data = <char *><bytes>s.data
            else:
                step.data = <void *>s.data
            if s.data is not None:
                parts.append(s.data)
            for k in range(len(s.buffers)):
                buffer = s.buffers[k]
                operand.slot = buffer.slot
                operand.offset = buffer.offset + <int64_t>s.offsets[k]
                if operand.slot < 0:                    # an address, told relative to the constants
                    operand.slot = 1
                    operand.offset -= <intptr_t>self.p.consts
                place = places[i]
                operand.strides = table + place
                i += 1
                operand += 1
            step += 1
        self.names = tuple([(<Step>x).kernel for x in steps])
        self.parts = tuple(parts)

        self.nbytes = nbytes + len(consts) + 200 * (len(steps) + len(dims))
        for x in parts:
            if type(x) is list:
                self.nbytes += sum([(<Program>y).nbytes for y in x])
            elif type(x) is bytes:
                self.nbytes += len(<bytes>x)

    @property
    def cost(self):
        """Estimated ns of a run on one thread."""
        return self.p.cost

    @property
    def frame_bytes(self):
        """Memory of one run, without its outputs."""
        return self.p.nbytes

    @property
    def arena_bytes(self):
        return self.p.nbytes - self.p.arena

    # ----- running ---------------------------------------------------------------------------

    def __call__(self, *values):
        return self.run(list(values))

    cpdef list run(self, list values, names=None):
        """Outputs for ``values``, which have the shapes and dtypes of ``in_avals``.

        Every output is a fresh array, or a NumPy scalar where it is 0-d. With ``names``, those of the
        arguments, inputs that are ``given`` become outputs themselves (see donation.pyx).
        """
        cdef char small[SMALL + 64]
        cdef char *memory
        cdef size_t capacity
        if len(values) != self.p.nin:
            raise TypeError(f"the program takes {self.p.nin} inputs, got {len(values)}")
        if self.p.nbytes <= SMALL:
            return self.run_in(values, <char *>((<uintptr_t>small + 63) & ~<uintptr_t>63), names)
        memory = take_arena(self.p.nbytes, &capacity)
        try:
            return self.run_in(values, memory, names)
        finally:
            give_arena(memory, capacity)

    cdef list run_in(self, list values, char *memory, names):
        cdef Py_ssize_t i
        cdef port *q = self.ports
        cdef char **base = <char **>memory
        cdef ft_frame frame
        cdef run_state state
        cdef cnp.ndarray array
        cdef list outs, kept = None, taken = None
        cdef char *data
        cdef int code
        cdef unsigned mode
        frame.base = base
        frame.run = &state
        base[0] = memory + self.p.arena
        base[1] = self.p.consts
        base += 2
        for i in range(self.p.nin):
            value = values[i]
            if q.stacked:
                array = as_stack(i, value, self.in_avals[i])
                kept = [array] if kept is None else [*kept, array]
                base[0] = memory + q.at
                data = <char *>cnp.PyArray_DATA(array)
                (<stack *>base[0])[0] = stack(data, len(array), 0, NULL, NULL, NULL)
            elif q.ndim:
                if type(value) is cnp.ndarray and fits(<cnp.ndarray>value, q):
                    base[0] = <char *>cnp.PyArray_DATA(<cnp.ndarray>value)
                else:
                    array = as_input(i, value, self.in_avals[i])
                    if kept is None:
                        kept = []
                    kept.append(array)
                    base[0] = <char *>cnp.PyArray_DATA(array)
            else:
                base[0] = memory + q.at
                if q.typenum == cnp.NPY_DOUBLE and (PyFloat_CheckExact(value)
                                                    or type(value) is _float64):
                    (<double *>base[0])[0] = PyFloat_AS_DOUBLE(value)
                elif type(value) is self.types[i]:
                    PyArray_ScalarAsCtype(value, base[0])
                else:
                    PyArray_ScalarAsCtype(as_scalar(i, value, self.in_avals[i]), base[0])
            base += 1
            q += 1
        outs = [None] * self.p.nout
        if self.given:
            taken = give(self, values, <char **>memory + 2, outs, names)
        for i in range(self.p.nout):
            if q.ndim and not q.stacked:
                if outs[i] is None:
                    array = new_array(q)
                else:
                    array = <cnp.ndarray>outs[i]
                base[0] = <char *>cnp.PyArray_DATA(array)
                outs[i] = array
            else:
                base[0] = memory + q.at
            base += 1
            q += 1

        state.error = NULL
        state.stacks = run_stacks(NULL, NULL, 0)
        state.budget = state.deadline = 0
        mode = ft_fp_default()
        if self.p.cost < FT_PARALLEL_NS:
            code = execute(&self.p, &frame)
        else:
            state.run.poll = look_for_interrupts
            enter(&state.run)
            if self.p.cost > KEEP_GIL:
                with nogil:
                    code = execute(&self.p, &frame)
            else:
                code = execute(&self.p, &frame)
            leave(&state.run)
        ft_fp_restore(mode)
        if code != FT_OK:
            free_stacks(&state.stacks)
            try:
                stop(code, &state)
            except BaseException as error:
                if taken:
                    tell(error, taken, <ft_step *>state.failed - self.p.steps, names)
                raise

        q -= self.p.nout
        base -= self.p.nout
        for i in range(self.p.nout):
            if q.stacked:
                outs[i] = taken_stack(<stack *>base[0], q.ndim, q.dims, q.typenum, q.nbytes)
            elif q.ndim == 0:
                if q.typenum == cnp.NPY_DOUBLE:
                    outs[i] = ft_float64((<double *>base[0])[0])
                else:
                    outs[i] = PyArray_Scalar(base[0], <cnp.dtype>self.dtypes[self.p.nin + i], NULL)
            base += 1
            q += 1
        free_stacks(&state.stacks)
        return outs

    # ----- looking at it (describe.py prints plans) --------------------------------------------

    def __repr__(self):
        return (f"<program ({', '.join(map(str, self.in_avals))}) -> "
                f"({', '.join(map(str, self.out_avals))}): {self.p.nsteps} steps, "
                f"{self.arena_bytes} bytes of temporaries>")

    @property
    def kernels(self):
        """The kernel of each step, of groups also those that it calls; then those of programs inside."""
        cdef Py_ssize_t i
        found = []
        for i in range(self.p.nsteps):
            found.append(self.names[i])
            if self.names[i] == "group":
                found.extend(<tuple><object>self.p.steps[i].data)
        for part in self.parts:
            if type(part) is list:
                for inner in part:
                    found.extend((<Program>inner).kernels)
        return found


cdef set_kernel(ft_step *step, str name):
    cdef const ft_entry *entry
    step.run = group_step() if name == "group" else control_step(name)
    if step.run is NULL:
        entry = find(name.encode())
        if entry is NULL:
            raise ValueError(f"there is no kernel {name}")
        step.run = entry.run
        step.kernel = entry.kernel
    elif name == "scalar_loop":
        step.kernel = find(b"scalar").kernel


cdef cnp.ndarray new_array(port *q):
    """Memory for an output."""
    if q.nbytes >= POOLED:
        return new_output(q.ndim, <cnp.npy_intp *>q.dims, q.typenum)
    return cnp.PyArray_SimpleNew(q.ndim, <cnp.npy_intp *>q.dims, q.typenum)


cdef inline bint fits(cnp.ndarray a, port *q) noexcept:
    """Whether the array can be read in place."""
    cdef int d
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(a)
    if cnp.PyArray_NDIM(a) != q.ndim or cnp.PyArray_TYPE(a) != q.typenum:
        return False
    for d in range(q.ndim):
        if shape[d] != q.dims[d]:
            return False
    # copies move complex64 as words of 8 bytes
    return PyArray_ISCARRAY_RO(a) and (q.typenum != cnp.NPY_CFLOAT
                                       or (<uintptr_t>cnp.PyArray_DATA(a) & 7) == 0)


cdef cnp.ndarray as_input(Py_ssize_t i, value, aval):
    """A dense, aligned copy of an array of the right type in an unusual form."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"input {i}: {type(value).__name__} where {aval} is expected")
    if value.shape != aval.shape or value.dtype.newbyteorder("=") != aval.dtype:
        raise TypeError(f"input {i}: {value.dtype}{list(value.shape)} where {aval} is expected")
    return np.array(value, aval.dtype, order="C", subok=False)


cdef cnp.ndarray as_stack(Py_ssize_t i, value, aval):
    """The array as the entries of a stack, one behind the other."""
    if not isinstance(value, np.ndarray) or value.shape[1:] != aval.shape[1:] or value.dtype != aval.dtype:
        raise TypeError(f"input {i}: {type(value).__name__} where {aval} is expected")
    return np.ascontiguousarray(value)


cdef as_scalar(Py_ssize_t i, value, aval):
    """A NumPy scalar of the right type from a Python number, another spelling, or a 0-d array."""
    dtype = aval.dtype
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.generic):
        if value.dtype.newbyteorder("=") == dtype:
            return dtype.type(value)
    elif isinstance(value, (bool, int, float, complex)):
        if np.can_cast(type(value), dtype, "same_kind") or type(value) is int and dtype.kind != "b":
            return dtype.type(value)
    raise TypeError(f"input {i}: {type(value).__name__} where {aval} is expected")


cdef stop(int code, run_state *state):
    """Raises what ended a run early."""
    if state.error is not NULL:
        error = <object>state.error
        Py_DECREF(error)
        raise error
    if code == FT_EMEM:
        raise MemoryError("a kernel found no memory for its work space")
    raise RuntimeError(f"a kernel failed with code {code}")
