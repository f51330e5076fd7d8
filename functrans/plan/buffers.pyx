"""Where buffers lie: outputs in place, temporaries in one arena, by liveness.

Everything here is linear in the number of steps (times the logarithm of the number of distinct
buffer sizes), since unrolled Python loops make programs of tens of thousands of equations.
"""

from libc.stdint cimport int64_t

from bisect import bisect_left, insort

from ..ir.core import Jaxpr, Lit
from .run cimport Step
from .view cimport Buffer
from .view import extent

cdef enum:
    ALIGN = 64
    LARGE = 32 * 1024     # from here on, neighbours at multiples of 4 KiB would share cache sets
    STAGGER = 256
    ARENA = 0

MOST_SLICES = 64          # pairs of xs and ys of a loop that might share memory
MOST_OFFERS = 64          # donated inputs that are tried for an output


cpdef int64_t round_up(int64_t n):
    return (n + ALIGN - 1) & -ALIGN


def spares(body, first, carry, end, stacks=None):
    """Where in a loop's scratch each carry's second buffer lies (-1: updated in place; -2, -3: in a stack,
    with and without the start)."""
    spare = []
    for k, view in enumerate(carry):
        if stacks and k in stacks:
            spare.append(-2 if stacks[k].start else -3)
        elif first + k in body.shared:
            spare.append(-1)
        else:
            end = round_up(end)
            spare.append(end)
            end += view.nbytes
    return spare, end


def over_starts(spare, n_consts, length):
    """Pairs of a carry's start, as an operand, and its end that may be written over it: a loop reads the
    start in its first turn only."""
    first = n_consts + (length is None)
    return [(first + k, k) for k, at in enumerate(spare)
            if at == -1 or at >= 0 and length is not None and length % 2 == 0]


class CarryStack:
    """A carry of a scan that is stacked as well: its values follow each other in one buffer, where each turn
    reads one and writes the next.

    Attributes:
      places: results of the scan that are views of it, and of each whether it stacks what turns begin with.
      start: whether the start value is in it.
    """

    def __init__(self, aval, length, reverse, places):
        self.places, self.reverse, self.entry = places, reverse, aval
        self.start = any(places.values())
        self.length, self.dtype = length, aval.dtype
        self.shape = (length + self.start, *aval.shape)

    def lay(self, stack, results, k):
        """Puts the views of the stack among the scan's results."""
        n, rest = self.length, self.entry.shape
        ones = (1,) * len(rest)

        def entries(i, j):
            return stack.slice((i,) + (0,) * len(rest), (j, *rest), (1, *ones))
        last = 0 if self.reverse else n - 1 + self.start
        results[k] = entries(last, last + 1).reshape(rest)
        for j, begins in self.places.items():
            first = int(self.start and bool(begins) == self.reverse)
            results[j] = entries(first, first + n)


def result_variables(jaxpr):
    """What a program gives back, reshaped or as it is."""
    found = {x for x in jaxpr.outs if type(x) is not Lit}
    for e in reversed(jaxpr.eqns):
        if e.op.name == "reshape" and e.outs[0] in found:
            found.add(e.inputs[0])
    return found


def stacks_of(eqn, results):
    """The carries of a scan that may lie in stacks, unless a stack with the start would be a result."""
    p, found = eqn.params, {}
    n_consts, n_carry, length, body = p["n_consts"], p["n_carry"], p["length"], p["jaxpr"]
    if not length:
        return found
    ys = body.outs[n_carry:]
    used = set()
    for k in range(n_carry):
        begin, end = body.invars[n_consts + k], body.outs[k]
        if end in body.invars or type(end) is Lit or end in used or not begin.aval.nbytes:
            continue
        used.add(end)
        places = {n_carry + j: y is begin for j, y in enumerate(ys) if y is begin or y is end}
        if not places:
            continue
        if any(places.values()) and not results.isdisjoint([eqn.outs[j] for j in places]):
            places = {j: False for j, begins in places.items() if not begins}
        if places:
            found[k] = CarryStack(begin.aval, length, bool(p["reverse"]), places)
    return found


def without(jaxpr, n_carry, kept):
    """The body of a scan that gives its carry and these results."""
    if len(jaxpr.outs) == n_carry + len(kept):
        return jaxpr
    return Jaxpr(jaxpr.invars, jaxpr.eqns, [*jaxpr.outs[:n_carry], *[jaxpr.outs[j] for j in kept]],
                 jaxpr.retraced)


def slices_of(jaxpr, n_consts, n_carry, stacks):
    """Pairs of xs and ys of a scan whose slices are of one size: what a turn writes might lie where what it
    has read was."""
    first = n_consts + n_carry
    pairs = [(x, y) for y, b in enumerate(jaxpr.out_avals) if b.nbytes and (y >= n_carry or y in stacks)
             for x, a in enumerate(jaxpr.in_avals) if x >= first and a.nbytes == b.nbytes]
    return pairs[:MOST_SLICES]


def make_room(over, ins, stacks):
    """Leaves room beside the first xs that a stack with the start may be written over."""
    for k, s in stacks.items():
        found = [ins[x].buffer for x, y in over if y == k and ins[x].whole] if s.start else []
        if found and found[0].slot == ARENA and s.entry.nbytes % ALIGN == 0:
            bytes_ = s.entry.nbytes
            found[0].lead, found[0].tail = (0, bytes_) if s.reverse else (bytes_, 0)


def over_operands(pairs, ins, n_outs):
    """Per output of a loop the operands that it may overwrite, of pairs ``(operand, output)``; None if there
    are no such."""
    reuse = [[] for _ in range(n_outs)]
    for x, y in pairs:
        if ins[x].whole:
            reuse[y].append(n_outs + x)
    return reuse if any(reuse) else None


def place(list steps, int first_output, inputs, outputs, carries, slices, offers=()):
    """Gives every arena buffer its offset; returns the arena's size, which inputs of ``carries`` lie in the
    memory of their outputs, which of ``slices`` may, if the caller puts them there, and which inputs of
    ``offers`` (pairs of an output and inputs that it may take) go to which output: ``(input, output, the
    step that begins to write)``.

    Copies whose two sides end in the same place become empty steps (``kernel`` None).
    """
    cdef Step step
    cdef Buffer dst, src
    shared, over = [tuple([(i, o) for i, o in pairs if _share(steps, inputs[i], outputs[o])])
                    for pairs in (carries, slices)]
    given = _given(steps, inputs, outputs, offers)
    together = {outputs[o]: inputs[i] for i, o, *_ in (*shared, *given)}
    _reuse_outputs(steps, first_output, {*together, *[outputs[o] for _, o in over]})
    arena = _allocate(steps)
    for step in steps:
        if step.inplace and len(step.buffers) == 2 and step.kernel.startswith("copy:"):
            dst, src = step.buffers
            if (step.offsets[0] == step.offsets[1] and step.strides[0] == step.strides[1]
                    and (together.get(dst) is src
                         or (dst.slot == src.slot and dst.offset == src.offset))):
                step.kernel = None
    return arena, tuple([i for i, _ in shared]), over, given


def offers(jaxpr, donated):
    """Per output the donated inputs whose memory it might take, all of its type."""
    by_type = {}
    for i in donated:
        a = jaxpr.in_avals[i]
        if a.shape and a.nbytes and not a.stacked:
            by_type.setdefault(a.strong, []).append(i)
    return [(o, by_type[a.strong]) for o, a in enumerate(jaxpr.out_avals) if a.strong in by_type]


cdef tuple _given(list steps, inputs, outputs, offers):
    """Inputs that outputs may be written over: the first one of those left, so that structures that come out
    as they went in keep each array in its place."""
    cdef list found = []
    cdef Buffer new
    for o, offered in offers:
        new = outputs[o]
        for i in offered[:MOST_OFFERS]:
            if _share(steps, inputs[i], new):
                found.append((i, o, steps[new.first]))
                offered.remove(i)
                break
    return tuple(found)


cdef bint _share(list steps, Buffer old, Buffer new) except -1:
    """Whether a loop may write its next carry over the present one."""
    cdef Step step
    if new.first < 0 or old.last < new.first:       # the first: an empty array
        return True
    if old.last != new.first or old.nbytes != new.nbytes:
        return False
    step = steps[new.first]
    return _fits(step, step.buffers.index(new), old)


cdef bint _fits(Step step, Py_ssize_t k, Buffer operand) except -1:
    """Whether a step may write its output k over ``operand``, which it is the last to read.

    It may if each element is written where, and only where, it has been read.
    """
    cdef list buffers = step.buffers
    cdef Py_ssize_t i
    cdef int64_t nbytes = (<Buffer>buffers[k]).nbytes
    if step.reuse is not None and operand.nbytes > nbytes:
        return _part(step, k, operand) >= 0
    if operand.nbytes != nbytes and (
            step.reuse is None or operand.lead + operand.nbytes + operand.tail != nbytes):
        return False
    if step.reuse is not None:
        allowed = step.reuse[k] if k < len(step.reuse) else ()
        for i in range(len(buffers)):
            if buffers[i] is operand and i not in allowed:
                return False
        return True
    if not step.inplace:
        return False
    for i in range(1, len(buffers)):
        if buffers[i] is operand and (step.strides[i] != step.strides[0]
                                      or step.offsets[i] != step.offsets[0]):
            return False
    return True


cdef int64_t _part(Step step, Py_ssize_t k, Buffer operand) except -2:
    """Where in ``operand`` output k may be written over what the step reads there; -1: nowhere.

    All else that it reads of the operand lies apart from that, or is read as ``reuse`` allows.
    """
    cdef list buffers = step.buffers, views = step.views
    cdef Py_ssize_t i, j
    cdef int64_t first, last, start, nbytes = (<Buffer>buffers[k]).nbytes
    cdef bint fits
    if k >= len(step.reuse):
        return -1
    for j in step.reuse[k]:
        if buffers[j] is not operand or step.offsets[j] % ALIGN:
            continue
        start, fits = step.offsets[j], True
        for i in range(len(buffers)):
            if buffers[i] is operand and i not in step.reuse[k]:
                first, last = extent(views[i]) if i < len(views) else (0, operand.nbytes)
                fits = fits and (last <= start or start + nbytes <= first)
            elif buffers[i] is operand and i != j:
                first = step.offsets[i]
                fits = fits and (first == start or first + nbytes <= start or start + nbytes <= first)
        if fits:
            return start
    return -1


cdef list _over(Step step, Py_ssize_t k):
    """Operands that output k might overwrite."""
    if step.reuse is None:
        return step.buffers[1:] if step.inplace and k == 0 else None
    return [step.buffers[i] for i in step.reuse[k]] if k < len(step.reuse) else None


cdef _reuse_outputs(list steps, int first_output, set apart):
    """Computes chains of temporaries that end in an output in the output's own memory, but for outputs
    that may lie over inputs."""
    cdef Step step
    cdef Buffer out, b
    cdef list over
    cdef Py_ssize_t number, k
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        if not step.inplace and step.reuse is None:
            continue
        for k in range(step.nouts):
            out = step.buffers[k]
            if out.slot >= first_output and out.first == number and out not in apart:
                over = _over(step, k)
                if over is None:
                    continue
                for b in over:
                    if b.slot == ARENA and b.last == number and b.nbytes == out.nbytes and _fits(step, k, b):
                        b.slot = out.slot
                        break


cdef int64_t _allocate(list steps) except -1:
    cdef _FreeList free = _FreeList()
    cdef dict sizes = {}                            # what is taken now
    cdef list later = []                            # what is free when the step has run
    cdef Step step
    cdef Buffer a, b, old
    cdef list over
    cdef Py_ssize_t number = 0, k
    cdef int64_t size, start, at
    for step in steps:
        k = 0
        for b in step.buffers:
            if b.slot == ARENA and b.first == number and b not in sizes:
                old = None
                over = _over(step, k)
                if over is not None:
                    for a in over:
                        if a.slot == ARENA and a.last == number and a in sizes and _fits(step, k, a):
                            old = a
                            break
                if old is not None and old.nbytes > b.nbytes:       # the rest of it is free from here on
                    at, start, size = _part(step, k, old) + old.lead, old.offset - old.lead, sizes.pop(old)
                    sizes[b] = round_up(b.nbytes)
                    b.offset = start + at
                    later.append((start, at))
                    later.append((b.offset + sizes[b], size - at - sizes[b]))
                elif old is not None:
                    sizes[b] = sizes.pop(old)
                    b.offset = old.offset
                    if old.nbytes == b.nbytes:
                        b.lead = old.lead
                    else:
                        b.offset -= old.lead
                else:
                    size = round_up(b.nbytes + b.lead + b.tail)
                    if size >= LARGE:
                        size += STAGGER
                    sizes[b] = size
                    b.offset = free.take(size) + b.lead
            k += 1
        for start, size in later:
            free.give(start, size)
        later.clear()
        for b in step.buffers:
            if b.last == number and b.slot == ARENA and b in sizes:
                free.give(b.offset - b.lead, sizes.pop(b))
        number += 1
    return free.top


cdef class _FreeList:
    """Free ranges of the arena: the smallest that fits, and of these the last one freed."""
    cdef int64_t top
    cdef dict size_at               # start -> size
    cdef dict start_of              # end -> start
    cdef dict of_size               # size -> starts, some of them no longer free
    cdef list sizes                 # sorted keys of of_size

    def __init__(self):
        self.top = 0
        self.size_at, self.start_of, self.of_size, self.sizes = {}, {}, {}, []

    cdef int64_t take(self, int64_t size) except -1:
        cdef Py_ssize_t at
        cdef int64_t start, found
        cdef list starts
        if size == 0:
            return 0
        at = bisect_left(self.sizes, size)
        while at < len(self.sizes):
            found = self.sizes[at]
            starts = self.of_size[found]
            while starts:
                start = starts.pop()
                if self.size_at.get(start) == found:
                    self.remove(start, found)
                    if found > size:
                        self.add(start + size, found - size)
                    return start
            del self.of_size[found], self.sizes[at]
        start = self.start_of.get(self.top, self.top)   # grow the last range if it is free
        if start < self.top:
            self.remove(start, self.top - start)
        self.top = start + size
        return start

    cdef int give(self, int64_t start, int64_t size) except -1:
        if size == 0:
            return 0
        after = self.size_at.get(start + size)
        if after is not None:
            self.remove(start + size, after)
            size += <int64_t>after
        before = self.start_of.get(start)
        if before is not None:
            self.remove(before, start - <int64_t>before)
            size += start - <int64_t>before
            start = before
        self.add(start, size)
        return 0

    cdef int add(self, int64_t start, int64_t size) except -1:
        self.size_at[start] = size
        self.start_of[start + size] = start
        starts = self.of_size.get(size)
        if starts is None:
            self.of_size[size] = [start]
            insort(self.sizes, size)
        else:
            (<list>starts).append(start)
        return 0

    cdef int remove(self, int64_t start, int64_t size) except -1:
        del self.size_at[start], self.start_of[start + size]
        return 0
