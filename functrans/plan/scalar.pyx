"""Tiny arrays as single numbers: an element of an array is a value of its own here.

``Elements`` interprets equations on lists of values, in C order. Ops that only move elements cost
nothing: they permute lists. Values are made once (common subexpressions), and simplified where
that changes no bit. ``registers`` turns the values that are needed into a program.
"""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from functools import lru_cache

import numpy as np

from ..ir.core cimport Aval, Eqn, Jaxpr, Lit, Sig, Var
from ..ir.op import CODE, DTYPE, OPS
from ..kernels.lib import load_special, scalar_labels
from .scalar_ops import CALLS, FLOATS, REDUCTIONS, RULES, RUNNING, choices, movement, product_of
from .view cimport View

LIMIT = 16                  # elements of one array
PRODUCT = 64                # multiply-adds of a product; matmul_body.h chains them up to here
BRANCH = 40                 # equations in all branches of a cond, of which all are computed
CHOICES = 100               # selections by which a run-time index is followed

MOVES = ("reshape", "transpose", "broadcast_in_dim", "rev", "slice", "pad", "concatenate")
EXACT = {"add", "sub", "mul", "div", "neg", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor",
         "not", "sqrt"}     # NumPy's bits are the kernels': may be computed beforehand
cdef double NS_CALLED = 5.0             # a function of the C side, on one number


@lru_cache(8192)
def costs(Sig sig):
    """Estimated ns as steps and as scalars, or None where an equation cannot be scalarised."""
    for a in sig.in_avals + sig.outs:
        if not 0 < a.size <= LIMIT or a.stacked or CODE.get(a.dtype) not in _KNOWN:
            return None
    name, size = sig.op.name, sig.outs[0].size if sig.outs else 0
    if sig.op.lower == "elementwise":
        if name == "stop_gradient":
            return 0.0, 0.0
        if name == "integer_pow" and not -2**31 <= sig.params["y"] < 2**31:
            return None
        if sig.op.arity > 3:                    # more than an instruction names
            return None
        if sig.op.calls_scipy:
            return 7.0 + sig.op.ns * size, (2.0 + sig.op.ns) * size
        called = sig.op.c is not None and name in _CALLED
        return 11.0 + (0.6 if called else 0.1) * size, (NS_CALLED if called else 1.0) * size
    if name in MOVES:
        return {"pad": 12.0, "concatenate": 6.0 * len(sig.in_avals)}.get(name, 0.0), 0.0
    if name in REDUCTIONS or name in RUNNING:
        return 15.0, sig.in_avals[0].size
    if name in ("argmax", "argmin"):
        return 15.0, 6.0 * sig.in_avals[0].size
    if name == "iota":
        return 8.0, 0.0
    if name == "dot_general":
        n = product_of(sig)[3].size * product_of(sig)[4].shape[0]
        return (15.0 + 0.3 * n, n) if n <= PRODUCT * product_of(sig)[0] else None
    if name in CALLS:
        return jaxpr_costs(sig.params["jaxpr"])
    if name in ("dynamic_slice", "dynamic_update_slice", "gather"):
        n = choices(sig)
        if name == "gather" and any([a.dtype == np.uint64 for a in sig.in_avals[1:]]):
            return None                     # their positions are not those of the i64 registers
        return (20.0, 2.0 * n) if n <= CHOICES else None
    if name == "cond":
        branches = sig.params["branches"]
        if sum([len(b.eqns) for b in branches]) > BRANCH:
            return None
        parts = [p for p in [jaxpr_costs(b) for b in branches] if p is not None]
        if len(parts) < len(branches):
            return None
        return 40.0 + parts[0][0], sum([p[1] for p in parts]) + 2.0 * sum([a.size for a in sig.outs])
    return None


def jaxpr_costs(Jaxpr jaxpr):
    cdef double steps, scalars
    cdef Eqn e
    steps = scalars = 0.0
    for a in jaxpr.in_avals + jaxpr.out_avals:
        if not 0 < a.size <= LIMIT or CODE.get(a.dtype) not in _KNOWN:
            return None
    for e in jaxpr.eqns:
        found = costs(e.sig)
        if found is None:
            return None
        steps += found[0]
        scalars += found[1]
    return steps, scalars


_KNOWN = frozenset(["b1", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"])
_CALLED = frozenset([
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logistic", "logaddexp", "pow", "cbrt",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "atan2", "hypot", "erf", "erfc", "lgamma", "fmod", "mod", "floordiv", "nextafter"])


# ----- the interpreter's operations ---------------------------------------------------------------

cdef enum:
    PLAIN, ADD, SUB, MUL, ZMUL, DIV, NEG, SELECT, POWER

cdef dict _KINDS = {"add": ADD, "sub": SUB, "mul": MUL, "zmul": ZMUL, "div": DIV, "neg": NEG,
                    "select": SELECT, "integer_pow": POWER}
# Two operations of which the first is used once become one: (outer, inner) -> joined operation, for
# the inner one as first and as second operand. Both results are rounded, so no bit changes.
cdef dict _JOINED = {"add": (("mul", "muladd", "muladd"), ("zmul", "zmuladd", "zmuladd"),
                             ("add", "add3", "add3")),
                     "sub": (("mul", "mulsub", "submul"), ("zmul", "zmulsub", "zsubmul")),
                     "mul": (("mul", "mul3", "mul3"), ("zmul", "zmul3", "zmul3"))}
_CHEAP = frozenset([
    "add", "sub", "mul", "neg", "div", "zmul", "abs", "select", "load", "store", "move", "mad", "muladd",
    "mulsub", "submul", "mul3", "zmuladd", "zmulsub", "zsubmul", "zmul3", "add3",
    "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not",
    "max", "min", "sqrt", "convert", "isnan", "sign", "turn", "unless", "ret"])
cdef list _CODES = sorted(_KNOWN)
cdef dict _CODE_NUMBER = {code: i for i, code in enumerate(_CODES)}
cdef dict _NUMBERS = {}             # of operations, by name
cdef int B1 = _CODE_NUMBER["b1"], F32 = _CODE_NUMBER["f32"], F64 = _CODE_NUMBER["f64"]
cdef int MULS[16]
cdef dict RUNS = {}                 # label of an operation -> labels of it on 2, 3, 4 instructions at once


cdef bint is_float(int code):
    return code == F32 or code == F64


cdef _read_operations():
    global OPERATIONS, CONST, CARRY
    cdef dict labels = scalar_labels()
    cdef operation *o
    cdef Py_ssize_t k
    OPERATIONS = <operation *>PyMem_Calloc(len(labels) + 2, sizeof(operation))
    if OPERATIONS is NULL:
        raise MemoryError
    for i, name in enumerate(labels):
        base, _, length = name.partition("*")
        if length:
            RUNS.setdefault(labels[base], []).append(labels[name])
        else:
            _NUMBERS[name] = i
    for name, i in _NUMBERS.items():
        o = OPERATIONS + <int>i
        base, _, code = name.partition(":")
        o.label = labels[name]
        o.ns = 1.0 if base in _CHEAP else NS_CALLED
        o.kind = _KINDS.get(base, PLAIN)
        o.code = _CODE_NUMBER.get(code, 0)
        o.exact, o.load, o.power = base in EXACT, base == "load", base == "integer_pow"
        o.negated = _NUMBERS.get("neg:" + code, -1)
        if o.kind == MUL:
            MULS[o.code] = i
        for k in range(9):
            o.joined[k] = -1
    for name, i in _NUMBERS.items():
        base, _, code = name.partition(":")
        if code in FLOATS:
            o = OPERATIONS + <int>i
            for k, names in enumerate(_JOINED.get(base, ())):
                o.joined[k], o.joined[3 + k], o.joined[6 + k] = [_NUMBERS[f"{n}:{code}"] for n in names]
    CONST, CARRY = len(labels), len(labels) + 1


cdef int number_of(str name) except -1:
    return _NUMBERS[name]


_read_operations()


# ----- values ---------------------------------------------------------------------------------------


@cython.final
cdef class Elements:
    """Values by number: what computes each of them, from which others."""

    def __cinit__(self):
        self.room, self.mask = 64, 255
        self.v = <node *>PyMem_Malloc(self.room * sizeof(node))
        self.table = <int32_t *>PyMem_Malloc((self.mask + 1) * sizeof(int32_t))
        if self.v is NULL or self.table is NULL:
            raise MemoryError
        memset(self.table, 255, (self.mask + 1) * sizeof(int32_t))
        self.value, self.pointers, self.literals = {}, {}, {}

    def __dealloc__(self):
        PyMem_Free(self.v)
        PyMem_Free(self.table)

    def __len__(self):
        return self.n

    cpdef str code(self, int32_t x):
        """The dtype of a value."""
        return _CODES[self.v[x].code]

    cdef int grow(self) except -1:
        cdef void *more
        cdef int32_t i, at
        more = PyMem_Realloc(self.v, 2 * <size_t>self.room * sizeof(node))
        if more is NULL:
            raise MemoryError
        self.v = <node *>more
        more = PyMem_Realloc(self.table, 2 * (<size_t>self.mask + 1) * sizeof(int32_t))
        if more is NULL:
            raise MemoryError
        self.table = <int32_t *>more
        self.room *= 2
        self.mask = 2 * self.mask + 1
        memset(self.table, 255, (<size_t>self.mask + 1) * sizeof(int32_t))
        for i in range(self.n):
            at = <int32_t>(key_of(self.v + i) & <uint64_t>self.mask)
            while self.table[at] >= 0:
                at = (at + 1) & self.mask
            self.table[at] = i
        return 0

    cdef int32_t put(self, int op, int32_t a, int32_t b, int32_t c, int64_t imm, int code) except -1:
        """The value that is this operation, made at most once."""
        cdef node new
        cdef node *old
        cdef int32_t at
        new.op, new.a, new.b, new.c, new.imm = op, a, b, c, imm
        new.code, new.flags = code, 0
        at = <int32_t>(key_of(&new) & <uint64_t>self.mask)
        while self.table[at] >= 0:
            old = self.v + self.table[at]
            if old.op == op and old.a == a and old.b == b and old.c == c and old.imm == imm:
                return self.table[at]
            at = (at + 1) & self.mask
        if self.n == self.room:
            self.grow()
            at = <int32_t>(key_of(&new) & <uint64_t>self.mask)
            while self.table[at] >= 0:
                at = (at + 1) & self.mask
        self.table[at] = self.n
        self.v[self.n] = new
        self.n += 1
        return self.n - 1

    cpdef int fresh(self, str code):
        """A value that comes from elsewhere: a carry."""
        return self.put(CARRY, -1 - self.n, -1, -1, 0, _CODE_NUMBER[code])

    cpdef int constant(self, number):
        cdef str code = CODE[number.dtype]
        cdef int kind = _CODE_NUMBER[code]
        cdef int32_t found
        cdef int flags = CONSTANT
        if code in FLOATS:
            bits = int.from_bytes(number.tobytes(), "little")
        else:
            bits = int(number)
        bits = (bits + 0x8000000000000000 & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000
        found = self.put(CONST, kind, -1, -1, bits, kind)
        if found not in self.value:
            self.value[found] = number
            if number == 0:
                flags |= ZERO
            if number == 1:
                flags |= ONE
            if code not in FLOATS or number != 0 or not np.signbit(number):
                flags |= UNSIGNED_ZERO
            self.v[found].flags = flags
        return found

    cpdef list literal(self, x):
        found = self.literals.get(x)
        if found is None:
            found = self.literals[x] = [self.constant((<Lit>x).value)] * (<Lit>x).aval.size
        return <list>found

    cpdef int pointer(self, key):
        return self.pointers.setdefault(key, len(self.pointers))

    def load(self, key, at, str code):
        """Elements at byte offsets from the pointer that ``key`` (a buffer) names."""
        cdef int p = self.pointer(key), op = number_of("load:" + code), number = _CODE_NUMBER[code]
        cdef int64_t offset
        cdef list loads = []
        for offset in at:
            loads.append(self.put(op, p, -1, -1, offset, number))
        return loads

    def new(self, str op, args, int64_t imm, str code):
        """An operation of the interpreter as it is."""
        a, b, c = (*args, -1, -1)[:3]
        return self.put(number_of(op), a, b, c, imm, _CODE_NUMBER[code])

    def emit(self, str name, str code, args, str out, int64_t imm=0):
        """An operation of the table; ``code`` is the dtype it is chosen by."""
        a, b, c = (*args, -1, -1)[:3]
        return self.make(number_of(f"{name}:{code}"), a, b, c, imm, _CODE_NUMBER[out])

    cdef int32_t make(self, int op, int32_t a, int32_t b, int32_t c, int64_t imm, int code) except -1:
        """The value of an operation of the table, simplified where that changes no bit."""
        cdef int32_t found, last
        if OPERATIONS[op].kind != PLAIN:
            found = self.simpler(op, a, b, c, imm, code)
            if found >= 0:
                return found
        last = c if c >= 0 else b if b >= 0 else a
        if OPERATIONS[op].exact and self.v[a].flags & CONSTANT and self.v[last].flags & CONSTANT:
            name = [n for n, i in _NUMBERS.items() if i == op][0].partition(":")[0]
            with np.errstate(all="ignore"):
                folded = OPS[name].reference(*[np.asarray(self.value[x]) for x in (a, b, c) if x >= 0])
            return self.constant(DTYPE[_CODES[code]].type(folded))
        return self.put(op, a, b, c, imm, code)

    cdef int32_t negated(self, int32_t x, int op):
        """What x is the negative of, or -1."""
        return self.v[x].a if self.v[x].op == OPERATIONS[op].negated else -1

    cdef int32_t simpler(self, int op, int32_t x, int32_t y, int32_t z, int64_t imm, int out) except -2:
        """An equal value, or -1."""
        cdef operation *o = OPERATIONS + op
        cdef node *v = self.v
        cdef int code = o.code
        cdef int32_t n, m, found
        if o.kind == ADD:
            if code == B1:
                return -1
            for _ in range(2):
                if v[y].flags & ZERO and (v[x].flags & UNSIGNED_ZERO or not v[y].flags & UNSIGNED_ZERO
                                          or not is_float(code)):
                    return x                               # x + 0.0 is x but for -0.0
                n = self.negated(y, op)
                if n >= 0:
                    return self.make(number_of("sub:" + _CODES[code]), x, n, -1, 0, out)
                x, y = y, x
            if v[x].flags & UNSIGNED_ZERO or v[y].flags & UNSIGNED_ZERO:    # -0.0 only if both are
                if v[x].flags & CONSTANT and v[y].flags & CONSTANT:
                    return -1
                found = self.put(op, x, y, -1, 0, out)
                self.v[found].flags |= UNSIGNED_ZERO
                return found
        elif o.kind == SUB:
            if v[y].flags & ZERO and v[y].flags & UNSIGNED_ZERO:
                return x
            n = self.negated(y, op)
            if n >= 0:
                return self.make(number_of("add:" + _CODES[code]), x, n, -1, 0, out)
        elif o.kind == MUL:
            if code == B1:
                return -1
            if v[y].flags & ONE:
                return x
            if v[x].flags & ONE:
                return y
            m, n = self.negated(x, op), self.negated(y, op)
            if m >= 0 and n >= 0:
                return self.make(op, m, n, -1, 0, out)
            if x == y and not v[x].flags & CONSTANT:
                found = self.put(op, x, y, -1, 0, out)
                self.v[found].flags |= UNSIGNED_ZERO
                return found
        elif o.kind == ZMUL:
            if v[x].flags & ZERO or v[y].flags & ZERO:
                return self.constant(DTYPE[_CODES[code]].type(0))
        elif o.kind == DIV:
            if v[y].flags & ONE:
                return x
        elif o.kind == NEG:
            return self.negated(x, op)
        elif o.kind == SELECT:
            if y == z:
                return y
            if v[x].flags & CONSTANT:
                return y if self.value[x] else z
        elif o.kind == POWER:
            if imm == 1:
                return x
            if imm == 2 and is_float(code):                # the squarings of ft_powi, which f32
                return self.make(MULS[code], x, x, -1, 0, out)   # does in f64
            if (imm == 3 or imm == 4) and code == F64:
                m = self.make(MULS[code], x, x, -1, 0, out)
                return self.make(MULS[code], m if imm == 4 else x, m, -1, 0, out)
        return -1

    # ----- equations -----------------------------------------------------------------------

    def run(self, Jaxpr jaxpr, args):
        cdef dict env = dict(zip(jaxpr.invars, args, strict=True))
        for e in jaxpr.eqns:
            self.equation(<Eqn>e, env)
        return [env[x] if type(x) is Var else self.literal(x) for x in jaxpr.outs]

    def equation(self, Eqn e, dict env):
        cdef Sig sig = e.sig
        cdef list operands = [], flat
        for x in e.inputs:
            operands.append(env[x] if type(x) is Var else self.literal(x))
        op = sig.op
        if op.lower == "elementwise":
            env[e.outs[0]] = self.elementwise(sig, operands)
            return
        name = op.name
        if name in MOVES:
            flat = operands[0] if len(operands) == 1 else [v for part in operands for v in part]
            env[e.outs[0]] = [flat[i] for i in movement(sig)]
        else:
            env.update(zip(e.outs, RULES[name](self, sig, operands), strict=True))

    cdef list elementwise(self, sig, list operands):
        cdef list x = operands[0], y, z, made
        cdef int op, code
        cdef int64_t imm
        cdef Py_ssize_t k
        what = _elementwise(sig)
        if what is None:
            return x
        op, code, imm = what
        made = []
        if len(operands) == 1:
            for k in range(len(x)):
                made.append(self.make(op, x[k], -1, -1, imm, code))
        elif len(operands) == 2:
            y = operands[1]
            for k in range(len(x)):
                made.append(self.make(op, x[k], y[k], -1, imm, code))
        else:
            y, z = operands[1], operands[2]
            for k in range(len(x)):
                made.append(self.make(op, x[k], y[k], z[k], imm, code))
        return made


cdef inline uint64_t key_of(const node *v):
    cdef uint64_t h = <uint64_t>v.imm * <uint64_t>0x9E3779B97F4A7C15
    h ^= (<uint64_t>v.a << 32 | <uint64_t><unsigned int>v.b) * <uint64_t>0xC2B2AE3D27D4EB4F
    h ^= (<uint64_t><unsigned int>v.c << 32 | <uint64_t>v.op) * <uint64_t>0x165667B19E3779F9
    return h ^ h >> 29 ^ h >> 43


@lru_cache(8192)
def _elementwise(Sig sig):
    """Operation, dtype of the result and exponent; None where it is the identity."""
    cdef str name = sig.op.name
    main = CODE[(<Aval>sig.in_avals[1 if name == "select" else 0]).dtype]
    out = CODE[sig.out.dtype]
    if name == "stop_gradient" or (name == "convert" and main == out):
        return None
    if sig.op.calls_scipy:
        load_special()
    op = f"convert:{main}:{out}" if name == "convert" else f"{name}:{main}"
    return number_of(op), _CODE_NUMBER[out], sig.params["y"] if name == "integer_pow" else 0


# ----- memory ---------------------------------------------------------------------------------------


@lru_cache(4096)
def _offsets(tuple shape, tuple strides):
    at = [0]
    for n, s in zip(shape, strides, strict=True):
        at = [o + i * s for o in at for i in range(n)]
    return at


def offsets(View view):
    """Byte offsets of the elements of a view in its buffer."""
    return [view.offset + o for o in _offsets(view.shape, view.strides)]


def reachable(View view):
    """Whether the interpreter's offsets, of 32 bits, get there."""
    span = sum([abs(s) * n for s, n in zip(view.strides, view.shape, strict=True)])
    return abs(view.offset) + span < 2**31


def loaded(Elements b, View view):
    return b.load(view.buffer, offsets(view), CODE[view.dtype])
