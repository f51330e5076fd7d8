"""From the values of ``scalar.Elements`` to instructions for the interpreter, in registers.

Registers are given out in one pass over the instructions, each for as long as its value is used.
Constants lie in the first registers, put there before a program starts.
"""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from .scalar cimport CARRY, CONST, OPERATIONS, RUNS, Elements, node, number_of, operation

cdef enum:
    FOREVER = 0x7FFFFFFF

MOST = 65535                                    # registers, and pointers

cdef int RET = number_of("ret"), UNLESS = number_of("unless"), TURN = number_of("turn")
cdef int MOVE4 = number_of("move:4"), MOVE8 = number_of("move:8"), F32 = -1
cdef int STORE[16]


cdef _read_stores():
    global F32
    b = Elements()
    for code in ("b1", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"):
        i = b.v[b.fresh(code)].code
        STORE[<int>i] = number_of("store:" + code)
        if code == "f32":
            F32 = i


_read_stores()


class TooLarge(Exception):
    """The program has more registers or pointers than an instruction can name."""


cdef struct instruction:                        # ft_ins
    int64_t label
    uint16_t d, a, b, c


@cython.final
cdef class Code:
    """Instructions, and what has to be known to run them."""
    cdef instruction *at
    cdef readonly Py_ssize_t n
    cdef Py_ssize_t room
    cdef int most
    cdef readonly double ns
    cdef bint wide                              # for lanes: an instruction has its operation's number

    def __init__(self, bint wide=False):
        self.most, self.wide = MOST, wide

    def __dealloc__(self):
        PyMem_Free(self.at)

    cdef int add(self, int op, int d, int a, int b, int c) except -1:
        cdef instruction *i
        cdef void *more
        if d > self.most or a > self.most or b > self.most or c > self.most:
            raise TooLarge
        if self.n == self.room:
            more = PyMem_Realloc(self.at, (2 * self.room + 64) * sizeof(instruction))
            if more is NULL:
                raise MemoryError
            self.at, self.room = <instruction *>more, 2 * self.room + 64
        i = self.at + self.n
        i.label = op if self.wide else OPERATIONS[op].label
        i.d, i.a, i.b, i.c = d, a, b, c
        self.n += 1
        self.ns += OPERATIONS[op].ns
        return 0

    cdef int add_imm(self, int op, int d, int a, int64_t imm) except -1:
        self.add(op, d, a, 0, 0)
        (<int32_t *>&self.at[self.n - 1].b)[0] = <int32_t>imm
        return 0

    cdef int join_runs(self) except -1:
        """The first of two to four equal operations in a row does the others too."""
        cdef Py_ssize_t k = 0, m
        cdef int64_t label
        while k < self.n:
            label, m = self.at[k].label, 1
            while m < 4 and k + m < self.n and self.at[k + m].label == label:
                m += 1
            if m > 1:
                found = RUNS.get(label)
                if found is not None:
                    self.at[k].label = found[m - 2]
            k += m
        return 0

    cdef bytes packed(self, list constants):
        """Constants, then instructions: what the program reads."""
        if not self.wide:
            self.join_runs()
        return b"".join([(x & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little") for x in constants]) + \
            PyBytes_FromStringAndSize(<char *>self.at, self.n * sizeof(instruction))


@cython.final
cdef class Writer:
    """Chooses what is computed, joins operations, gives out registers."""
    cdef Elements b
    cdef readonly Code code
    cdef readonly Py_ssize_t count              # of registers
    cdef readonly list constants
    cdef Py_ssize_t position
    cdef int32_t n
    cdef node *v                               # a copy, in which operations are joined
    cdef uint8_t *need
    cdef int32_t *uses
    cdef int32_t *home                          # register of each value that has one
    cdef int32_t *last                          # position of its last use
    cdef uint8_t *placed
    cdef list free
    cdef set pinned                             # registers that are not given out again
    cdef bint wide                              # registers hold lanes, each as wide as its dtype

    def __init__(self, Elements b, roots, bint wide=False):
        cdef int32_t i, n = b.n
        cdef node *v
        self.b, self.code, self.n, self.wide = b, Code(wide), n, wide
        self.v = v = <node *>PyMem_Calloc(n + 1, sizeof(node))
        self.need = <uint8_t *>PyMem_Calloc(2 * n + 2, 1)
        self.uses = <int32_t *>PyMem_Calloc(3 * n + 3, sizeof(int32_t))
        if v is NULL or self.need is NULL or self.uses is NULL:
            raise MemoryError
        self.placed = self.need + n + 1
        self.home, self.last = self.uses + n + 1, self.uses + 2 * n + 2
        for i in range(n):
            v[i] = b.v[i]
            self.home[i] = self.last[i] = -1
        for r in roots:
            self.need[<int32_t>r] = 1
            self.uses[<int32_t>r] += 1
        for i in range(n - 1, -1, -1):
            if self.need[i] and self.computed(i):
                self.use(v[i].a)
                self.use(v[i].b)
                self.use(v[i].c)
        self.free, self.constants, self.pinned = [], [], set()
        for i in range(n):
            if self.need[i] and v[i].op == CONST:
                self.home[i] = len(self.constants)
                self.last[i] = FOREVER
                self.constants.append(v[i].imm)
        self.count = len(self.constants)
        self.position = 0

    def __dealloc__(self):
        PyMem_Free(self.v)
        PyMem_Free(self.need)
        PyMem_Free(self.uses)

    cdef inline bint computed(self, int32_t i):
        """Whether an operation on other values makes it."""
        cdef int op = self.v[i].op
        return op != CONST and op != CARRY and not OPERATIONS[op].load

    cdef inline bint loaded(self, int32_t i):
        return self.v[i].op < CONST and OPERATIONS[self.v[i].op].load

    cdef inline void use(self, int32_t a):
        if a >= 0:
            self.need[a] = 1
            self.uses[a] += 1

    cdef join(self, const uint8_t *same):
        """Joins operations; ``same`` says in which part of the program each value is computed."""
        cdef int32_t i, p, q
        cdef int side, k
        cdef operation *o
        cdef node *v = self.v
        for i in range(self.n):
            if not self.need[i] or not self.computed(i):
                continue
            o = OPERATIONS + v[i].op
            if o.joined[0] < 0:
                continue
            for side in range(2):
                p, q = (v[i].b, v[i].a) if side else (v[i].a, v[i].b)
                if self.uses[p] != 1 or (same is not NULL and same[p] != same[i]):
                    continue
                for k in range(3):
                    if v[p].op == o.joined[k]:
                        break
                else:
                    continue
                v[i].op = o.joined[3 + 3 * side + k]
                v[i].a, v[i].b, v[i].c = v[p].a, v[p].b, q
                self.need[p] = 0
                break

    # ----- registers -----------------------------------------------------------------------

    cdef int32_t register(self):
        if self.free:
            return self.free.pop()
        self.count += 1
        return self.count - 1

    cdef int release(self, int32_t i) except -1:
        if self.last[i] <= self.position and self.home[i] not in self.pinned:
            self.free.append(self.home[i])
        return 0

    cdef inline int load_first(self, int32_t a, list order) except -1:
        if a >= 0 and not self.placed[a] and self.loaded(a):
            self.placed[a] = 1
            order.append(a)
        return 0

    cdef list scheduled(self, int32_t first, int32_t end, const uint8_t *inside, int part):
        """The computed values of ``part`` from ``first`` on, in order, each load just before its
        first use."""
        cdef list order = []
        cdef int32_t i
        for i in range(first, end):
            if not self.need[i] or (inside is not NULL and inside[i] != part) or not self.computed(i):
                continue
            self.load_first(self.v[i].a, order)
            self.load_first(self.v[i].b, order)
            self.load_first(self.v[i].c, order)
            self.placed[i] = 1
            order.append(i)
        return order

    cdef inline void used(self, int32_t a, int32_t at):
        if a >= 0 and self.last[a] < at:
            self.last[a] = at

    cdef reckon(self, list order, int32_t start):
        """Notes last uses; position ``start + k`` is that of ``order[k]``."""
        cdef int32_t i, k = start
        for i in order:
            self.used(i, k)
            if self.computed(i):
                self.used(self.v[i].a, k)
                self.used(self.v[i].b, k)
                self.used(self.v[i].c, k)
            k += 1

    cdef int write(self, int32_t i, int32_t wish=-1) except -1:
        """The instruction that makes value i, in register ``wish`` if that is given."""
        cdef node *v = self.v + i
        cdef int32_t ra, rb = 0, rc = 0, d, now = self.position
        if OPERATIONS[v.op].load:
            self.home[i] = d = wish if wish >= 0 else self.register()
            return self.code.add_imm(v.op, d, v.a, v.imm)
        if self.wide and wish < 0:                      # a result as wide as an operand may be in its place
            wish = self.register()
        ra = self.home[v.a]
        if self.last[v.a] <= now:
            self.release(v.a)
        if v.b >= 0:
            rb = self.home[v.b]
            if self.last[v.b] <= now and v.b != v.a:
                self.release(v.b)
        if v.c >= 0:
            rc = self.home[v.c]
            if self.last[v.c] <= now and v.c != v.a and v.c != v.b:
                self.release(v.c)
        self.home[i] = d = wish if wish >= 0 else self.register()
        if OPERATIONS[v.op].power:
            return self.code.add_imm(v.op, d, ra, v.imm)
        return self.code.add(v.op, d, ra, rb, rc)

    cdef int store(self, s) except -1:
        cdef int32_t i, pointer
        cdef int64_t offset
        i, pointer, offset = s
        return self.code.add_imm(STORE[self.v[i].code], self.home[i], pointer, offset)

    cdef moves(self, list wanted):
        """Moves (to, from, dtype) that happen at once, whatever registers they share."""
        cdef dict todo = {d: (s, c) for d, s, c in wanted if d != s}
        cdef dict readers = {}
        for s, _ in todo.values():
            readers[s] = readers.get(s, 0) + 1
        ready = [d for d in todo if d not in readers]
        while todo:
            if not ready:                               # a cycle: one value steps aside
                d = next(iter(todo))
                spare = self.register()
                self.code.add(MOVE8, spare, d, 0, 0)       # all of it, whatever its dtype
                for e, (s, c) in todo.items():
                    if s == d:
                        todo[e] = (spare, c)
                readers[spare] = readers.pop(d)
                ready.append(d)
            d = ready.pop()
            s, c = todo.pop(d)
            self.code.add(MOVE4 if c == F32 else MOVE8, d, s, 0, 0)
            if self.wide:                               # of one dtype: told by the store of it
                self.code.at[self.code.n - 1].label = -1 - STORE[<int>c]
            readers[s] -= 1
            if not readers[s]:
                del readers[s]
                if s in todo:
                    ready.append(s)


def straight(Elements b, list stores):
    """A program that runs through once: constants and code, how many constants, registers, ns."""
    cdef Writer w = Writer(b, [s[0] for s in stores])
    cdef list order
    cdef int32_t i
    cdef dict where = {}
    w.join(NULL)
    order = w.scheduled(0, w.n, NULL, 0)
    for s in stores:
        i = s[0]
        w.load_first(i, order)
        where.setdefault(i, []).append(s)
    w.reckon(order, 0)
    for value in list(where):
        i = value
        if w.v[i].op == CONST:
            for s in where.pop(value):
                w.store(s)
    w.position = 0
    for i in order:
        w.write(i)
        if w.uses[i] and i in where:
            for s in where[i]:
                w.store(s)
        if w.last[i] <= w.position:                     # nothing but stores read it
            w.release(i)
        w.position += 1
    w.code.add(RET, 0, 0, 0, 0)
    return w.code.packed(w.constants), len(w.constants), w.count, w.code.ns


cdef class Loop:
    """A loop's program: code before it, of one turn, and after it, one behind the other.

    ``carries`` are the values that a turn begins with, ``starts`` where they come from (values),
    ``nexts`` what they become, ``ends`` where they are stored at last (pointer, byte offsets).
    ``test`` is a value that ends the loop before a turn when it is false, made by the first
    ``n_test`` values. ``wide`` is for lanes: instructions are numbered, operands never overlap results.
    """
    cdef Writer w
    cdef readonly Py_ssize_t body_at, end_at
    cdef readonly double turn_ns
    cdef uint8_t *inside                                # computed anew every turn

    def __dealloc__(self):
        PyMem_Free(self.inside)

    def __init__(self, Elements b, list carries, list starts, list nexts, list ends, list stores,
                 set moving, test=None, int32_t n_test=0, bint wide=False):
        cdef Writer w
        cdef int32_t n = b.n, i
        cdef node *v
        cdef uint8_t *inside
        cdef double before
        roots = [*starts, *nexts, *[s[0] for s in stores], *carries]
        w = self.w = Writer(b, roots if test is None else [*roots, test], wide)
        v = w.v
        self.inside = inside = <uint8_t *>PyMem_Calloc(n + 1, 1)
        if inside is NULL:
            raise MemoryError
        for i in range(n):
            if v[i].op == CARRY:
                inside[i] = 1
            elif w.loaded(i):
                inside[i] = v[i].a in moving
            elif v[i].op != CONST:
                inside[i] = ((v[i].a >= 0 and inside[v[i].a]) or (v[i].b >= 0 and inside[v[i].b])
                             or (v[i].c >= 0 and inside[v[i].c]))
        w.join(inside)
        for i in range(n):                              # what a turn reads of outside stays
            if w.need[i] and inside[i] and w.computed(i):
                self.keep(v[i].a)
                self.keep(v[i].b)
                self.keep(v[i].c)
        for i in [*nexts, *[s[0] for s in stores], *([] if test is None else [test])]:
            self.keep(i)
        self._before(carries, starts)
        w.code.add(RET, 0, 0, 0, 0)
        self.body_at = w.code.n
        before = w.code.ns
        self._turn(carries, nexts, stores, test, n_test)
        self.turn_ns = w.code.ns - before
        self.end_at = w.code.n
        for c, (pointer, offset) in zip(carries, ends, strict=True):
            w.store((c, pointer, offset))
        w.code.add(RET, 0, 0, 0, 0)

    @property
    def packed(self):
        """Constants and code."""
        return self.w.code.packed(self.w.constants)

    @property
    def n_constants(self):
        return len(self.w.constants)

    @property
    def registers(self):
        return self.w.count

    cdef inline void keep(self, int32_t a):
        if a >= 0 and not self.inside[a]:
            self.w.last[a] = FOREVER

    cdef _before(self, list carries, list starts):
        cdef Writer w = self.w
        cdef node *v = w.v
        cdef int32_t c, s, i, end
        cdef dict direct = {}                           # loads straight into a carry's register
        cdef list order = w.scheduled(0, w.n, self.inside, 0)
        for c, s in zip(carries, starts, strict=True):
            w.home[c] = w.register()
            if w.loaded(s) and not w.placed[s] and w.last[s] < FOREVER and s not in direct:
                direct[s] = c
        for i in range(w.n):
            if w.need[i] and not self.inside[i] and i not in direct:
                w.load_first(i, order)
        w.pinned = {w.home[<int32_t>x] for x in carries}
        w.reckon(order, 0)
        end = len(order)
        for s in starts:
            if s not in direct:
                w.last[s] = max(w.last[s], end)
        w.position = 0
        for i in order:
            w.write(i)
            if w.last[i] <= w.position:
                w.release(i)
            w.position += 1
        w.position = end
        moves = []
        late = []
        for c, s in zip(carries, starts, strict=True):
            if s not in direct:
                moves.append((w.home[c], w.home[s], v[c].code))
            elif direct[s] == c:
                late.append((s, w.home[c]))
            else:
                moves.append((w.home[c], w.home[<int32_t>direct[s]], v[c].code))
        for s, d in late:
            w.write(s, d)
        w.moves(moves)
        for s in {*starts}:
            if s not in direct and w.last[s] == end:
                w.release(s)

    cdef _test(self, int32_t t, list stores):
        self.w.code.add(UNLESS, self.w.home[t], 0, 0, 0)
        for s in stores:
            self.w.store(s)

    cdef _turn(self, list carries, list nexts, list stores, test, int32_t n_test):
        cdef Writer w = self.w
        cdef node *v = w.v
        cdef uint8_t *inside = self.inside
        cdef int32_t i, c, x, start, end, tested_at, t = -1 if test is None else test
        cdef list tested = w.scheduled(0, n_test, inside, 1)
        cdef list order = tested + w.scheduled(n_test, w.n, inside, 1)
        cdef dict wishes = {}, where = {}
        for i in [*nexts, *[s[0] for s in stores], *([] if test is None else [test])]:
            if inside[i]:
                w.load_first(i, order)
        w.position += 1
        start = w.position
        w.reckon(order, start)
        end = start + len(order)
        tested_at = start + len(tested)
        early = []
        if t >= 0:
            w.last[t] = max(w.last[t], tested_at)
            for c in carries:                           # are the results if the loop ends here
                w.last[c] = max(w.last[c], tested_at)
        for c, x in zip(carries, nexts, strict=True):
            w.last[x] = max(w.last[x], end)
            wishes.setdefault(x, c)
        for s in stores:
            x = s[0]
            if inside[x] and v[x].op != CARRY:
                where.setdefault(x, []).append(s)
            else:
                early.append(s)                         # is there as the turn begins
        if t < 0:
            for s in early:
                w.store(s)
        for i in order:
            if t >= 0 and w.position == tested_at:
                self._test(t, early)
            c = wishes.get(i, -1)
            # the old value of the carry was read for the last time: the new one may take its place
            w.write(i, w.home[c] if c >= 0 and w.last[c] <= w.position else -1)
            if i in where:
                for s in where[i]:
                    w.store(s)
            if w.last[i] <= w.position:
                w.release(i)
            w.position += 1
        if t >= 0 and len(tested) == len(order):
            self._test(t, early)
        w.moves([(w.home[<int32_t>k], w.home[<int32_t>x], v[<int32_t>k].code)
                 for k, x in zip(carries, nexts, strict=True)])
        w.code.add_imm(TURN, 0, 0, self.body_at - w.code.n)
