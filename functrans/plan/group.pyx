"""Writes the code of a block group: iteration space, registers, instructions (see kernels/group.c)."""

from libc.stdint cimport int64_t

import os
from functools import cache

from ..kernels.pairs import COMMUTE
from ..kernels.pairs import still as pair_still
from .run cimport Step
from .run import kernel_address
from .view import Buffer, _merge, dense, size_of

BLOCK_BYTES = 6144        # of a register: a dozen of them stay near the first cache; enough to repay dispatch
LEAST_BLOCK = 128
CACHE = 512 * 1024        # bytes of registers that stay close
MOST_REGISTERS = 32 << 20 # bytes: more is not better than whole arrays
SHORT_STILL = 512         # the same for operands that need it only once a chunk
SHORT = 64                # shorter rows are not worth a call each: operands are spread over the block
CHUNK_NS = 10e3           # work of a chunk
MOST_CHUNKS = 1 << 16     # of a step: longer chunks beyond
INSTR_NS = 8.0            # dispatch of an instruction
STREAM_FROM = 1 << 20     # bytes of an output that goes past the caches, in groups too large for them
MOST_PARTIALS = 64        # of a reduction over rows, unless a chunk would take longer than
LONG_CHUNK_NS = 20e6      # this: an interrupt waits for the end of a chunk
PARTIALS = 64 << 20       # bytes: more are not made for that
SUM_BLOCK = 1024          # elements of a block of a sum (FT_RED_BLOCK)
MOST_ITEMS_LOG2 = 12      # of a chunk, where each leaves a partial result
ALIGN, STAGGER = 64, 256  # of registers; a stagger avoids that all lie in the same cache sets

OPS = {"flat": 0, "rows": 1, "row": 2, "load": 3, "red_row": 4, "red_item": 5, "red_chunk": 6, "stream": 7,
       "join": 8, "put": 9}


def _last_cache():
    """Bytes of the last cache."""
    try:
        return max(os.sysconf("SC_LEVEL3_CACHE_SIZE"), os.sysconf("SC_LEVEL2_CACHE_SIZE")) or 32 << 20
    except (AttributeError, OSError, ValueError):
        return 32 << 20


LAST_CACHE = _last_cache()

# Which operands the loops know as scalars, by number of operands (as in kernels/codegen.py).
STILL = {1: [()], 2: [(), (0,), (1,)], 3: [(), (1,), (2,), (1, 2)]}

address = cache(kernel_address)


@cache
def scalar_sets(str kernel, Py_ssize_t n):
    """The sets of operands of a kernel that need not move in its loop over adjacent elements."""
    op = kernel.split(":")[1]
    return STILL[n] if "." not in op else [(), *pair_still(op)]


cdef inline int64_t up(int64_t n, int64_t by):
    """How many times ``by`` it takes to hold n."""
    return (n + by - 1) // by


cdef class Instr:
    """A member of a group. ``op``: full, join (of pieces of memory, ``ints`` see ``Context.join``), put (of
    updates at positions within the rows of what the member before has copied), row (elementwise over rows);
    reductions: row (of each row), item (over all), line (of rows that are
    too long for one block), chunk (over the rows)."""

    def __init__(self, str op, int result, str kernel, double ns, tuple ints, out, ins,
                 bint reduces, Step step):
        self.op, self.result, self.kernel, self.ns, self.ints = op, result, kernel, ns, ints
        self.out, self.ins, self.reduces, self.step = out, ins, reduces, step
        self.buffer, self.origin = out.buffer, step.origin


cdef class Value:
    """What an instruction reads or writes: in a register, or in memory by operand number."""

    cdef int kind, size, place
    cdef int joined                                    # > 0: the number of the join that makes it
    cdef Py_ssize_t number, offset, last
    cdef int64_t rows, cols                            # byte strides within a block
    cdef bint pinned

    def __init__(self, int kind, int size, Py_ssize_t number, int64_t rows, int64_t cols):
        self.kind, self.size, self.number = kind, size, number
        self.rows, self.cols = rows, cols
        self.place = self.offset = self.joined = 0
        self.last = -1
        self.pinned = False


cdef class Code:
    """One instruction as it will be written, with its operands, the output first if it has one."""
    cdef str op, kernel
    cdef object param
    cdef tuple values, more                            # more: words behind the operands
    # where the items of a chunk leave results: its number is the place of its offset in the epilogues
    cdef Value local

    def __init__(self, str op, str kernel, param, tuple values):
        self.op, self.kernel, self.param, self.values, self.more = op, kernel, param, values, ()

    cdef int outs(self):
        return 0 if self.op == "red_item" or self.op == "red_chunk" or self.op == "put" else 1


cdef Step build(tuple shape, object split, bint whole_rows, list instrs, dict kinds, set internal):
    """The step of a group, or None where it would need too much memory a thread.

    ``kinds`` are the values made in it, ``internal`` those only used in it.
    """
    return _Builder(shape, split, whole_rows, instrs, kinds, internal).step()


cdef class _Builder:
    cdef tuple shape, dims
    cdef object split
    cdef bint whole_rows, streams
    cdef list instrs
    cdef dict kinds
    cdef set internal, put         # put: what something is put into
    cdef list operands             # memory: outputs, then inputs
    cdef list walks                # their strides over the shape; of values a row: 0 behind the rows
    cdef list strides              # the same over dims
    cdef dict memory, values, loads
    cdef list before, code, after  # Code; what follows the instruction that is being written
    cdef list origins, members     # the equations of before and of code
    cdef list epilogues
    cdef Py_ssize_t partial, n_out, joins
    cdef Py_ssize_t item                      # bytes of the widest element
    cdef int64_t R, C, w, k, items, chunk
    cdef double cost

    def __init__(self, tuple shape, object split, bint whole_rows, list instrs, dict kinds,
                 set internal):
        self.shape, self.split, self.whole_rows = shape, split, whole_rows
        self.instrs, self.kinds, self.internal = instrs, kinds, internal
        self.operands, self.walks = [], []
        self.memory, self.values, self.loads = {}, {}, {}
        self.before, self.code, self.after, self.epilogues = [], [], [], []
        self.origins, self.members = [], []
        self.partial = self.joins = 0
        self.put = {(<Instr>i).buffer for i in self.instrs if (<Instr>i).op == "put"}
        self.geometry()

    # ----- iteration space --------------------------------------------------------------------

    cdef geometry(self):
        cdef Instr i
        cdef tuple shape = self.shape
        cdef int64_t block
        cdef int size, widest = 0
        cdef double ns = 0
        cdef bint partials = False, sums = False
        cdef int64_t most
        split = self.split
        for i in self.instrs:
            if i.buffer not in self.internal:
                self.operand(i.out, i.result)
        self.n_out = len(self.operands)
        self.item = 1
        for i in self.instrs:
            kind = ROW if i.op == "put" or (i.op == "row" and not i.reduces) else (
                LATER if i.op == "join" else FULL)
            self.item = max(self.item, <int>i.out.dtype.itemsize)
            for v in i.ins:
                self.item = max(self.item, <int>v.dtype.itemsize)
                if v.buffer not in self.kinds:
                    self.operand(v, kind)
            ns += i.ns if kind != ROW else i.ns * size_of(shape[:split]) / size_of(shape)
            partials = partials or i.op == "chunk"
            sums = sums or i.op == "item"
            if i.buffer in self.internal:
                size = i.out.dtype.itemsize
                widest = max(widest, size)
        walks = tuple(self.walks)
        if split is None:
            dims, merged = _merge(shape, walks, list(range(len(shape))))
        else:
            last = len(shape) - 1
            dims, merged = _merge(shape, walks, list(range(split)))
            dims = (*dims, size_of(shape[split:]))
            merged = tuple([(*m, w[last]) for m, w in zip(merged, walks)])
        if len(dims) == 1:
            dims, merged = (1, *dims), tuple([(0, *m) for m in merged])
        self.dims, self.strides = dims, list(merged)
        self.streams = sum([v.dtype.itemsize * size_of(tuple([n for n, s in zip(dims, walk) if s]))
                            for v, walk in zip(self.operands, merged)]) > LAST_CACHE
        self.R, self.C = dims[-2:]
        block = BLOCK_BYTES // (widest or 8)
        if sums:                         # blocks, and below chunks, are subtrees of the single step's sum
            block = SUM_BLOCK << (max(1, block // SUM_BLOCK).bit_length() - 1)
        live = self.registers_needed()
        while block > LEAST_BLOCK and live * block * self.item > CACHE:
            block //= 2
        if self.whole_rows or self.C <= block:
            self.w, self.k = self.C, max(1, min(self.R, block // self.C))
        else:
            self.w, self.k = block, 1
        self.items = up(self.R, self.k) * up(self.C, self.w) * size_of(dims[:-2])
        self.cost = ns * size_of(dims) + INSTR_NS * len(self.instrs) * self.items
        self.chunk = max(1, min(int(CHUNK_NS * self.items / self.cost), up(self.items, 16)))
        if partials:
            most = min(<int64_t>(self.cost / LONG_CHUNK_NS), PARTIALS // (self.C * self.item))
            self.chunk = max(self.chunk, up(self.items, max(most, MOST_PARTIALS)))
        self.chunk = max(self.chunk, self.items // MOST_CHUNKS)
        if sums:
            self.chunk = 1 << min(int(self.chunk).bit_length() - 1, MOST_ITEMS_LOG2)

    cdef Py_ssize_t operand(self, view, int kind) except -1:
        """The number of a memory operand, one for equal views."""
        key = (view.buffer, view.offset, view.shape, view.strides, kind)
        number = self.memory.get(key)
        if number is None:
            number = self.memory[key] = len(self.operands)
            self.operands.append(view)
            n = len(self.shape)
            if kind == LATER:
                walk = (0,) * n
            elif 1 in view.shape:
                walk = tuple([s for s, d in zip(view.strides, view.shape) if d != 1])
            else:
                walk = view.strides
            self.walks.append(walk + (0,) * (n - len(walk)))
        return number

    cdef Py_ssize_t registers_needed(self) except -1:
        """About how many values live at a time."""
        cdef Instr i
        cdef Py_ssize_t at, live = 0, most = 0
        cdef dict last = {}
        for at, i in enumerate(self.instrs):
            for v in i.ins:
                last[v.buffer] = at
        for at, i in enumerate(self.instrs):
            if i.result == FULL and i.buffer in self.internal and i.op != "put":
                live += 1
                most = max(most, live)
            for v in i.ins:
                b = v.buffer
                if last.get(b) == at:
                    del last[b]
                    if b in self.internal and self.kinds[b] == FULL:
                        live -= 1
        return most + 2

    # ----- values -----------------------------------------------------------------------------

    cdef Value memory_value(self, view, int kind):
        cdef Py_ssize_t number = self.operand(view, kind)
        walk = <tuple>self.strides[number]
        v = Value(kind, view.dtype.itemsize, number, walk[len(walk) - 2], walk[len(walk) - 1])
        v.place = number + 1
        return v

    cdef Value register(self, int kind, int size):
        if kind == FULL:
            return Value(FULL, size, -1, size * self.w, size)
        return Value(ROW, size, -1, size, 0)

    cdef Value result(self, Instr i):
        cdef Value v
        if i.buffer in self.internal:
            v = self.register(i.result, i.out.dtype.itemsize)
        elif (self.streams and i.result == FULL and i.out.nbytes >= STREAM_FROM
              and not any([v_.buffer.donated and v_.nbytes == i.out.nbytes for v_ in self.operands])):
            v = self.register(FULL, i.out.dtype.itemsize)
            self.after.append(Code("stream", "stream:8", 0, (self.memory_value(i.out, FULL), v)))
        else:
            v = self.memory_value(i.out, i.result)
        self.values[i.buffer] = v
        return v

    cdef Value value(self, view, int kind):
        """What a member of this kind reads."""
        have = self.values.get(view.buffer)
        return <Value>have if have is not None else self.memory_value(view, kind)

    cdef bint flat(self, Value v):
        return self.k == 1 or v.rows == v.cols * self.C

    cdef bint still(self, Value v):
        """Whether the value is an input, the same for all blocks."""
        if v.number < self.n_out or (v.cols and self.w != self.C):
            return False
        walk = <tuple>self.strides[v.number]
        for k in range(len(walk) - 1):
            if walk[k]:
                return False
        return True

    cdef Value load(self, Value v):
        """The value spread over a register of its own, once for all that want it so."""
        cdef Value have
        cdef bint still
        key = id(v) if v.number < 0 else (v.number, v.rows, v.cols)
        found = self.loads.get(key)
        if found is not None:
            return found
        have = self.loads[key] = self.register(FULL, v.size)
        # what is the same for all blocks is spread once a chunk
        have.pinned = still = self.still(v)
        (self.before if still else self.code).append(Code("load", f"copy:{v.size}", 0, (have, v)))
        return have

    # ----- instructions -------------------------------------------------------------------------

    cdef emit(self):
        cdef Instr i
        cdef Value v
        cdef list values
        cdef bint flat
        for i in self.instrs:
            param = i.ints[0] if i.ints else 0
            if i.reduces:
                self.emit_reduction(i)
            elif i.op == "join":
                self.emit_join(i)
            elif i.op == "row":
                values = [self.value(v_, ROW) for v_ in i.ins]
                self.code.append(Code("row", i.kernel, param, (self.result(i), *values)))
            elif i.op == "put":
                values = [self.value(v_, ROW) for v_ in i.ins]
                self.code.append(Code("put", i.kernel, 0, tuple(values)))
                (<Code>self.code[len(self.code) - 1]).more = i.ints
                self.flush()
            else:
                values = [self.value(v_, FULL) for v_ in i.ins]
                self.spread(values, i.kernel)
                values.insert(0, self.result(i))
                flat = True
                for v in values:
                    flat = flat and self.flat(v)
                self.code.append(Code("flat" if flat else "rows", i.kernel, param, tuple(values)))
                if i.buffer not in self.put:
                    self.flush()
            while len(self.members) < len(self.code):
                self.members.append(i.origin)
            while len(self.origins) < len(self.before):
                self.origins.append(i.origin)

    cdef flush(self):
        """What follows the instruction."""
        self.code += self.after
        self.after = []

    cdef spread(self, list ins, str kernel):
        """Strided, repeated and short operands get registers, where loops would not be vector code."""
        cdef Value v
        cdef Py_ssize_t k, n = len(ins)
        cdef list still = []
        cdef tuple best
        for k in range(n):
            v = ins[k]
            if (v.cols != 0 and v.cols != v.size) or (not self.flat(v) and self.C < (
                    SHORT_STILL if self.still(v) else SHORT)):
                ins[k] = v = self.load(v)
            if v.cols == 0:
                still.append(k)
        if not still:
            return
        heads = kernel.split(":")[1].split(".")[0].split(",")
        for k, op in enumerate(heads):                  # of commuting operands the second is the scalar
            if op in COMMUTE and n > 2 * k + 1 and 2 * k in still and 2 * k + 1 not in still:
                ins[2 * k], ins[2 * k + 1] = ins[2 * k + 1], ins[2 * k]
                still[still.index(2 * k)] = 2 * k + 1
        best = ()
        for known in scalar_sets(kernel, n):
            if len(known) > len(best) and all([k in still for k in known]):
                best = known
        for k in still:
            if k not in best:
                ins[k] = self.load(ins[k])

    cdef emit_join(self, Instr i):
        cdef Value v = self.result(i)
        cdef Py_ssize_t n = len(i.ins), k
        cdef list values = [v], ints = list(i.ints)
        if v.number < 0:
            self.joins += 1
            v.joined = self.joins
        for k, x in enumerate(i.ins):
            values.append(Value(FULL, x.dtype.itemsize, self.operand(x, LATER), ints[2 * k], ints[2 * k + 1]))
            (<Value>values[k + 1]).place = (<Value>values[k + 1]).number + 1
        cdef Code code = Code("join", f"copy:{v.size}", 0, tuple(values))
        code.more = (ints[len(ints) - 1], *ints[2 * n:])
        self.code.append(code)
        self.flush()

    cdef emit_reduction(self, Instr i):
        cdef Value x = self.value(i.ins[0], FULL)
        cdef Py_ssize_t count, outputs, width, out, size = x.size
        cdef Code made
        if i.op == "row":
            if x.cols == 0:
                x = self.load(x)
            self.code.append(Code("red_row", i.kernel, 0, (self.result(i), x)))
            return
        if i.op == "chunk":
            if x.cols != size:
                x = self.load(x)
            count, outputs, width = up(self.items, self.chunk), 1, self.C
            op = "red_chunk"
        else:
            if not self.flat(x) or x.cols == 0:
                x = self.load(x)
            count = up(self.items, self.chunk) if i.op == "item" else up(self.C, self.w)
            outputs = 1 if i.op == "item" else self.items // count
            op, width = "red_item", 1
        out = self.operand(i.out, LATER)
        made = Code(op, i.kernel, self.partial, (x,))
        made.more = (0,) if op == "red_item" else ()
        self.code.append(made)
        self.epilogues += [address(i.kernel), out, self.partial, outputs, count, width, -1]
        if i.op == "item":
            # a partial result of each item, in a register until its chunk is done
            made.local = Value(LATER, size, len(self.epilogues) - 1, 0, 0)
        self.partial += up(count * outputs * width * size, ALIGN) * ALIGN

    # ----- registers ----------------------------------------------------------------------------

    cdef Py_ssize_t allocate(self) except -1:
        """Linear scan; returns the bytes of all registers."""
        cdef Py_ssize_t at, wide, narrow, top = 0
        cdef Code c
        cdef Value v, out
        cdef list free = [[], []], after
        cdef int outs
        wide = up(self.k * self.w * self.item, ALIGN) * ALIGN + STAGGER
        narrow = up(self.k * self.item, ALIGN) * ALIGN
        for at, c in enumerate(self.code):
            for v in c.values:
                v.last = at
        for c in self.before:
            out = c.values[0]
            out.offset = top
            top += wide
        for at, c in enumerate(self.code):
            outs = c.outs()
            out = c.values[0] if outs else None
            after = []
            for v in c.values[outs:]:
                if v.number < 0 and v.last == at and not v.pinned:
                    v.last = -1                     # once, though it may be named twice
                    # in place only where the same element of the same memory is read and written
                    if (out is not None and (c.op == "flat" or c.op == "row") and v.size == out.size
                            and v.kind == out.kind and out.number < 0):
                        (<list>free[v.kind]).append(v.offset)
                    else:
                        after.append(v)
            if out is not None and out.number < 0:
                if free[out.kind]:
                    out.offset = (<list>free[out.kind]).pop()
                else:
                    out.offset = top
                    top += wide if out.kind == FULL else narrow
                if out.last == at:                  # computed, but nobody reads it
                    after.append(out)
            for v in after:
                (<list>free[v.kind]).append(v.offset)
        for c in self.code:
            if c.local is not None:
                self.epilogues[c.local.number] = c.param = top
                c.more = (1,)
                top += up(self.chunk * c.local.size, ALIGN) * ALIGN
        return max(top, ALIGN)

    # ----- the step -----------------------------------------------------------------------------

    cdef Step step(self):
        cdef Py_ssize_t nbytes
        cdef Step made
        cdef Code c
        cdef Value v
        cdef list ints, buffers, offsets, strides, reuse
        self.emit()
        nbytes = self.allocate()
        if nbytes > MOST_REGISTERS:
            return None
        bases = 1 + len(self.operands) + (self.partial != 0)        # then the results of joins
        ints = [self.k, self.w, self.chunk, nbytes, len(self.before), len(self.code),
                len(self.epilogues) // 7, self.joins, self.n_out if self.streams else 0]
        code = self.before + self.code
        for c in code:
            v = c.values[0]
            param = bases + v.joined - 1 if c.op == "join" and v.joined else c.param
            ints += (OPS[c.op], len(c.values), 5 + 4 * len(c.values) + len(c.more), address(c.kernel), param)
            for v in c.values:
                if v.joined and c.op != "join":
                    ints += (bases + v.joined - 1, 0, v.rows, v.cols)
                else:
                    ints += (v.place, v.offset, v.rows, v.cols)
            ints += c.more
        ints += self.epilogues
        buffers = [v_.buffer for v_ in self.operands]
        offsets = [v_.offset for v_ in self.operands]
        strides = list(self.strides)
        reuse = self.reuse()
        if self.partial:
            buffers.append(Buffer(self.partial))
            offsets.append(0)
            strides.append((0,) * len(self.dims))
        made = Step("group", buffers, offsets, self.dims, tuple(strides), tuple(ints), self.cost,
                    tuple([(<Code>x).kernel for x in code]), False, None, self.n_out, reuse)
        made.views, made.members = self.operands, self.origins + self.members
        made.origin = tuple([(<Instr>x).origin for x in self.instrs])
        return made

    cdef list reuse(self):
        """Per output the inputs that it may overwrite: read before, at the same places."""
        cdef Py_ssize_t at, number
        cdef Code c
        cdef Value v
        cdef dict last_read = {}, written = {}, by_walk = {}
        cdef list result = [], same
        for c in self.before:
            v = c.values[1]
            last_read[v.number] = len(self.code)        # read again by the next chunk
        for at, c in enumerate(self.code):
            if c.outs():
                v = c.values[0]
                if v.number >= 0:
                    written[v.number] = at
            for v in c.values[c.outs():]:
                if v.number >= 0:
                    last_read[v.number] = max(at, last_read.get(v.number, 0))
        for number in range(self.n_out, len(self.operands)):
            view = self.operands[number]
            if view.contiguous:
                by_walk.setdefault((self.walks[number], view.nbytes), []).append(number)
        for number in range(self.n_out):
            view = self.operands[number]
            same = []
            if number in written and self.walks[number] == dense(self.shape, view.dtype.itemsize):
                same = [j for j in by_walk.get((self.walks[number], view.nbytes), ())
                        if last_read[j] <= written[number]]
            result.append(same)
        return result
