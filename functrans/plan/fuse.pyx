"""Forms block groups: elementwise steps and reductions over one iteration space become one step.

A pass over the finished list of steps, before buffers are placed. Several groups may be open at a
time, one per shape; a step joins the one of its shape. No open group depends on another: when a
step needs what an open group writes, in a form that the group cannot hand over in registers, that
group is closed (emitted) first. A step that cannot join and depends on one open group only waits
behind it (``tail``), so that the group can go on growing. Other steps are emitted at once.

Results are those of the single steps: the same loops see the same operands, in pieces. Only
reductions over several axes, or over leading ones, may differ in the last bits, as their tree is
that of the blocks (fixed by the shapes, never by the number of threads).
"""

from functools import cache

from ..ir.core cimport Eqn
from ..kernels.pairs import NAMES, TREES
from .group cimport FULL, LATER, ROW, Instr, build
from .run cimport Step
from .run import kernel_cost
from .view import ARENA, dense, size_of

# What a step that may be fused tells: kernel, ns an element, ints, output, inputs, axes of a
# reduction or None.

FUSE_FROM = 2048          # elements: below, everything is in the first cache anyway
OPEN = 8                  # groups open at a time
LONG = 131072             # bytes: longer rows are not kept in registers whole
LONG_ELEMENTS = 32768
MEMBERS = 20_000
PUT_ROWS = 16             # fewer members of a batch have their updates put in another order (index.c)


cdef bint acts(Step step):
    """Whether it does something beside its results: such steps keep their order."""
    return step.kernel == "python" or (type(step.origin) is Eqn and (<Eqn>step.origin).sig.effect)


cdef class Group:
    """Members over ``shape`` (without axes of extent 1); rows are ``shape[:split]``."""
    cdef tuple shape, row_shape
    cdef object split
    cdef bint whole_rows
    cdef list instrs, tail
    cdef dict values               # what is computed here: FULL, ROW or LATER
    cdef set touched               # by members and tail

    def __init__(self, tuple shape):
        self.shape = shape
        self.split = self.row_shape = None
        self.whole_rows = False
        self.instrs, self.tail = [], []
        self.values, self.touched = {}, set()

    cdef bint reads(self, view, int kind) except -1:
        """Whether a member of this kind (FULL: over all elements, ROW: one a row) can read it."""
        have = self.values.get(view.buffer)
        if have is None:
            return kind == ROW or self.split is None or joined(self.shape, _squeezed(view), self.split)
        if have == kind:
            return view.whole
        if kind == FULL and have == ROW:
            strides = _squeezed(view)
            return view.offset == 0 and strides[:self.split] == dense(
                self.row_shape, view.dtype.itemsize) and not any(strides[self.split:])
        return False

    cdef bint puts(self, copied, tuple ins, Py_ssize_t split) except -1:
        """Whether something can be put into rows of a copy here; ``ins`` have an axis behind the rows."""
        if not self.reads(copied, FULL) or not joined(self.shape, _squeezed(copied), split):
            return False
        for v in ins:
            have = self.values.get(v.buffer)
            if have is not None and not (have == ROW and v.whole and v.shape[len(v.shape) - 1] == 1):
                return False
        return self.set_split(split)

    cdef bint set_split(self, Py_ssize_t split) except -1:
        """Makes rows of the axes before ``split``, if the members so far allow it."""
        cdef Instr instr
        if self.split is not None:
            return self.split == split
        for instr in self.instrs:
            if instr.op == "join":
                continue
            for view in instr.ins:
                if view.buffer not in self.values and not joined(self.shape, _squeezed(view), split):
                    return False
        self.split, self.row_shape = split, self.shape[:split]
        return True

    cdef tuple reduction(self, x, tuple axes):
        """How a reduction over these axes can be done here: instruction and kind of its result."""
        if not self.reads(x, FULL):
            return None
        n = len(self.shape)
        kept = [i for i, d in enumerate(x.shape) if d != 1]
        reduced = [k for k, i in enumerate(kept) if i in axes]
        if len(reduced) == n:
            return "item", LATER
        if not reduced:
            return None
        by_rows = reduced[0] != 0
        split = reduced[0] if by_rows else len(reduced)
        if reduced != list(range(split, n) if by_rows else range(split)):
            return None
        cols = size_of(self.shape[split:])
        fits = cols <= LONG_ELEMENTS and cols * x.dtype.itemsize <= LONG
        if (not fits and (not by_rows or self.whole_rows)) or not (
                joined(self.shape, _squeezed(x), split) and self.set_split(split)):
            return None
        if not fits:
            return "line", LATER
        self.whole_rows = True
        return ("row", ROW) if by_rows else ("chunk", LATER)


cdef tuple _squeezed(view):
    if 1 in view.shape:
        return tuple([s for s, n in zip(view.strides, view.shape) if n != 1])
    return view.strides


cdef bint joined(tuple shape, tuple strides, Py_ssize_t split) except -1:
    """Whether the axes from ``split`` on can be walked as one."""
    cdef Py_ssize_t d
    for d in range(split, len(shape) - 1):
        if strides[d] != strides[d + 1] * shape[d + 1]:
            return False
    return True


def fuse(list steps):
    """The same program with groups in it; numbers the steps anew."""
    cdef Step step
    cdef Py_ssize_t number
    cdef _Fuser fuser = _Fuser(steps)
    before = None                          # a copy into which the next step may put something
    for step in steps:
        if before is not None:
            if step.fusable is not None and fuser.join_put(before, step):
                before = None
                continue
            fuser.alone(<Step>before)
            before = None
        if step.fusable is None or not fuser.join(step, <tuple>step.fusable):
            if fuser.begins_put(step):
                before = step
            else:
                fuser.alone(step)
    if before is not None:
        fuser.alone(<Step>before)
    fuser.close_all()
    result = built(fuser.result)
    for step in result:
        for b in step.buffers:
            b.first = -1
    for number, step in enumerate(result):
        for b in step.buffers:
            if b.first < 0:
                b.first = number
            b.last = number
    return result


# ----- several ops in one instruction ------------------------------------------------------------


@cache
def joined_kernel(str outer, tuple inner):
    """The kernel that computes what ``outer`` does of values that other kernels make, or None; ``inner`` are
    these and which operand each is."""
    _, op, code = outer.split(":", 2)
    if op == "convert":
        code = code[3:] if code.startswith("b1:") else ""
    ops = []
    for kernel, _ in inner:
        _, name, own = kernel.split(":", 2)
        if own != code:
            return None
        ops.append(name)
    name = TREES.get((*ops, op)) if len(inner) == 2 else NAMES.get((ops[0], op, inner[0][1]))
    if name is None or kernel_cost(f"ew:{name}:{code}") < 0:
        return None
    return f"ew:{name}:{code}"


cdef list joined_ops(list instrs, set internal):
    """The same instructions, some of several ops: a value that one other reads once needs no register."""
    cdef Instr i, inner, both
    cdef Py_ssize_t at
    cdef dict reads = {}, made = {}                 # by buffer: how often read; its place in the result
    cdef list result = [], found, choices
    for i in instrs:
        for v in i.ins:
            reads[v.buffer] = reads.get(v.buffer, 0) + 1
    for i in instrs:
        both = i
        if not i.reduces and not i.ints and i.kernel.startswith("ew:"):
            found = []
            for at, v in enumerate(i.ins):
                where = made.get(v.buffer)
                if where is None or reads[v.buffer] != 1 or v.buffer not in internal or not v.whole:
                    continue
                inner = result[where]
                if inner.op == i.op and not inner.ints:
                    found.append((where, at))
            choices = [(x,) for x in found]
            choices.sort(key=lambda x: -len((<Instr>result[x[0][0]]).ins))
            if len(found) == 2 and len(i.ins) == 2:
                choices.insert(0, tuple(found))
            for choice in choices:
                kernel = joined_kernel(i.kernel,
                                       tuple([((<Instr>result[w]).kernel, k) for w, k in choice]))
                if kernel is None:
                    continue
                ins, origins = (), ()
                for where, _ in choice:
                    ins += (<Instr>result[where]).ins
                    origins += ((<Instr>result[where]).origin,)
                    result[where] = None
                taken = [k for _, k in choice]
                ins += tuple([w for k, w in enumerate(i.ins) if k not in taken])
                both = Instr(i.op, i.result, kernel, kernel_cost(kernel), (), i.out, ins, False, i.step)
                if i.step.origin is not None:           # plans that are looked at know their equations
                    both.origin = (i.origin, *origins)
                break
            made[i.buffer] = len(result)
        result.append(both)
    return [i for i in result if i is not None]


cdef list results_last(list instrs, dict values):
    """The same instructions, those whose results nothing here reads at the end if then more of these may take
    the place of operands: of what is not read again."""
    cdef Instr i, chosen
    cdef list rest = [], left = [], order = []
    cdef set inner = set()
    cdef dict readers = {}                          # among those that are left
    for i in instrs:
        if i.op == "put":
            return instrs
        inner.update([v.buffer for v in i.ins])
    for i in instrs:
        (left if i.op == "full" and i.buffer not in inner else rest).append(i)
    if len(left) < 2:
        return instrs
    for i in left:
        for b in {v.buffer for v in i.ins}:
            readers[b] = readers.get(b, 0) + 1
    before = list(left)
    while left:
        chosen = left[0]
        for i in left:
            if any([readers[v.buffer] == 1 and v.whole and v.nbytes == i.out.nbytes and v.buffer.slot == ARENA
                    and v.buffer not in values for v in i.ins]):
                chosen = i
                break
        left.remove(chosen)
        order.append(chosen)
        for b in {v.buffer for v in chosen.ins}:
            readers[b] -= 1
    return instrs if order == before else rest + order


# ----- after the grouping --------------------------------------------------------------------


cdef list built(list parts):
    """The steps; groups without what nobody reads any more."""
    cdef Group group
    cdef Instr instr
    cdef Step step
    cdef set needed = set(), inside
    cdef list result = [], live, code
    for part in reversed(parts):
        if type(part) is Group:
            group = part
            inside, live = set(), []
            for instr in reversed(group.instrs):
                b = instr.buffer
                if b.slot != ARENA or b in needed or b in inside:
                    live.append(instr)
                    inside.update([v.buffer for v in instr.ins])
            live.reverse()
            internal = {instr.buffer for instr in live if instr.result != LATER
                        and instr.buffer.slot == ARENA and instr.buffer not in needed}
            if not live:
                made = []
            elif len(live) == 1:
                made = [(<Instr>live[0]).step]
            else:
                code = joined_ops(results_last(live, group.values), internal)
                step = build(group.shape, group.split, group.whole_rows, code, group.values, internal)
                made = [step] if step is not None else [(<Instr>i).step for i in live]
            result.extend(reversed(made))
            needed.update([b for b in inside if b not in group.values])
        else:
            step = part
            result.append(step)
            needed.update(step.buffers)
    result.reverse()
    return result


cdef class _Fuser:
    cdef list result
    cdef dict open                 # groups by shape
    cdef dict writer               # group by what it (or its tail) writes, while it is open
    cdef dict written              # how many steps write a buffer

    def __init__(self, list steps):
        cdef Step step
        self.result = []
        self.open, self.writer, self.written = {}, {}, {}
        for step in steps:
            for b in step.buffers[:step.nouts]:
                self.written[b] = self.written.get(b, 0) + 1

    # ----- steps -----------------------------------------------------------------------------

    cdef bint begins_put(self, Step step) except -1:
        """Whether it copies into what one more step writes."""
        return step.fusable is not None and step.kernel.startswith("copy:") and (
            self.written[step.buffers[0]] == 2)

    cdef bint join_put(self, Step copy, Step step) except -1:
        """Makes a copy and what is put into its rows (a scatter with a batch) part of a group."""
        cdef Group group
        cdef int _attempt
        cdef bint known
        kernel, ns, ints, out, ins, _ = step.fusable
        if not kernel.startswith("scatter:") or out.buffer is not copy.buffers[0]:
            return False
        shape = tuple([n for n in out.shape if n != 1])
        split = len([n for n in ins[0].shape[:len(ins[0].shape) - 1] if n != 1])
        cols = size_of(shape[split:])
        if size_of(shape) < FUSE_FROM or size_of(shape[:split]) < PUT_ROWS or split == len(shape) or (
                cols > LONG_ELEMENTS or cols * out.dtype.itemsize > LONG):
            return False
        how, copy_ns, copy_ints, _, copied, _ = copy.fusable
        for _attempt in range(2):
            group = self.open.get(shape)
            known = group is not None
            if not known:
                group = Group(shape)
            if group.puts(copied[0], ins, split):
                group.whole_rows = True
                self._add(group, copy, Instr("full", FULL, how, copy_ns, copy_ints, out, copied, False, copy))
                put = Instr("put", FULL, kernel, ns, ints, out, (out, *ins), False, step)
                return self._add(group, step, put)
            if not known:
                return False
            self.close(group)
        return False

    cdef bint join(self, Step step, tuple what) except -1:
        """Makes the step part of a group, if it can be."""
        cdef Group group
        cdef Instr instr
        cdef int attempt
        kernel, ns, ints, out, ins, axes = what
        if self.written[out.buffer] != 1:
            return False
        shape = out.shape if axes is None else ins[0].shape
        if 1 in shape:
            shape = tuple([n for n in shape if n != 1])
        if axes is None and not kernel.startswith("join"):
            group = self._row_group(shape, ins)
            if group is not None:
                return self._add(group, step, Instr("row", ROW, kernel, ns, ints, out, ins, False, step))
        if size_of(shape) < FUSE_FROM:
            return False
        for attempt in range(2):
            group = self.open.get(shape)
            if group is None:
                group = Group(shape)
            instr = self._member(group, step, kernel, ns, ints, out, ins, axes)
            if instr is not None:
                return self._add(group, step, instr)
            if attempt or axes is not None:
                return False
            self.close(group)
        return False

    cdef Group _row_group(self, tuple shape, ins):
        """The group that has one of the operands per row, if the step is over its rows."""
        cdef Group group
        for view in ins:
            group = self.writer.get(view.buffer)
            if group is not None and group.values.get(view.buffer) == ROW:
                if group.row_shape != shape:
                    return None
                for v in ins:
                    if not group.reads(v, ROW):
                        return None
                return group
        return None

    cdef Instr _member(self, Group group, Step step, kernel, ns, ints, out, ins, axes):
        if kernel.startswith("join"):       # it reads memory of other blocks
            for v in ins:
                if v.buffer in group.values:
                    return None
            return Instr("join", FULL, kernel, ns, ints, out, ins, False, step)
        if axes is None:
            for v in ins:
                if not group.reads(v, FULL):
                    return None
            return Instr("full", FULL, kernel, ns, ints, out, ins, False, step)
        how = group.reduction(ins[0], axes)
        if how is None:
            return None
        return Instr(how[0], how[1], kernel, ns, ints, out, ins, True, step)

    cdef bint _add(self, Group group, Step step, Instr instr) except -1:
        for view in instr.ins:
            other = self.writer.get(view.buffer)
            if other is not None and other is not group:
                self.close(other)
        if group.shape not in self.open:
            if len(self.open) == OPEN:
                self.close(next(iter(self.open.values())))
            self.open[group.shape] = group
        group.instrs.append(instr)
        group.values[instr.buffer] = instr.result
        group.touched.update(step.buffers)
        self.writer[instr.buffer] = group
        if len(group.instrs) == MEMBERS:
            self.close(group)
        return True

    cdef alone(self, Step step):
        """A step that is in no group: emitted now, or behind the one group it depends on."""
        cdef dict needs = {}
        cdef Group group, other
        cdef Py_ssize_t k
        for k, b in enumerate(step.buffers):
            group = self.writer.get(b)
            if group is not None:
                needs[id(group)] = group
            if k < step.nouts:
                for other in self.open.values():
                    if b in other.touched:
                        needs[id(other)] = other
        if len(needs) == 1 and not acts(step):
            group, = needs.values()
            group.tail.append(step)
            group.touched.update(step.buffers)
            for b in step.buffers[:step.nouts]:
                group.values[b] = LATER
                self.writer[b] = group
            return
        for group in needs.values():
            self.close(group)
        self.result.append(step)

    # ----- groups ----------------------------------------------------------------------------

    cdef close(self, Group group):
        if self.open.get(group.shape) is not group:
            return
        del self.open[group.shape]
        for b in group.values:
            if self.writer.get(b) is group:
                del self.writer[b]
        self.result.append(group)
        self.result.extend(group.tail)

    cdef close_all(self):
        while self.open:
            self.close(next(iter(self.open.values())))
