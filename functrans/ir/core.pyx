"""The IR: avals, variables, literals, equations and jaxprs. All are immutable values.

A jaxpr is ``(invars, eqns, outs)`` without free variables: what a function captured is passed as
trailing inputs. Two jaxprs are equal when they are the same program, whatever lines wrote it.
"""
cimport cython

import numpy as np

from .op import CODE, NUMPY_NAME

cdef extern from "Python.h":
    int PyCode_Addr2Line(object code, int lasti)

# A bit of the source of an equation: a derivative's backward pass made it.
BACKWARD = 1 << 28
cdef int _BACK = BACKWARD

# The leading extent of what a while_loop stacks: known when it has run.
TURNS = -(1 << 40)

cdef dict _AVALS = {}
cdef object _TURNS = TURNS
cdef dict _DTYPES = {}
cdef long _MAX_SIGS = 200_000
cdef long _n_sigs = 0

for _name in NUMPY_NAME.values():
    _DTYPES[np.dtype(_name)] = np.dtype(_name)
# C's long and long long are one type to us, as they are one size
_DTYPES[np.dtype(np.longlong)] = np.dtype(np.int64)
_DTYPES[np.dtype(np.ulonglong)] = np.dtype(np.uint64)
_DTYPES[np.dtype(np.intc)] = np.dtype(np.int32)
_DTYPES[np.dtype(np.uintc)] = np.dtype(np.uint32)


cdef class Aval:
    """What is known of a value before it exists: shape, dtype, and whether a Python number made it.

    Avals are interned: equal ones are the same object. ``str`` gives ``f64[3,4]``.
    """

    def __init__(self):
        raise TypeError("avals are interned; make them with aval(shape, dtype)")

    @property
    def strong(self):
        """The same type, no longer weak."""
        return aval_of_type(self.shape, self.dtype, False) if self.weak else self

    @property
    def stacked(self):
        """Whether a run decides the leading extent; ``size`` and ``nbytes`` are then of one entry."""
        return self.ndim > 0 and self.shape[0] == _TURNS

    @property
    def code(self):
        """Short name of the dtype: ``f64``."""
        return CODE[self.dtype]

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    def with_shape(self, shape):
        return aval(shape, self.dtype)

    def with_dtype(self, dtype):
        return aval_of_type(self.shape, dtype, False)

    def __repr__(self):
        dims = ",".join(["?" if d == _TURNS else str(d) for d in self.shape])
        code = CODE[self.dtype]
        return f"{'bool' if code == 'b1' else code}[{dims}]"

    def __reduce__(self):
        return aval, (self.shape, self.dtype, self.weak)


cpdef Aval aval(object shape, object dtype, bint weak=False):
    """The aval of ``shape`` (ints) and ``dtype`` (anything NumPy takes as one)."""
    cdef tuple dims
    dims = tuple([int(d) for d in shape])
    known = _DTYPES.get(dtype) if isinstance(dtype, np.dtype) else None
    if known is None:
        known = _DTYPES.get(np.dtype(dtype))
        if known is None:
            raise TypeError(f"dtype {np.dtype(dtype)} is not supported; functrans has "
                            f"{', '.join(NUMPY_NAME.values())}")
    return aval_of_type(dims, known, weak)


cdef Aval aval_of_type(tuple shape, object dtype, bint weak):
    cdef tuple key = (shape, dtype, weak)
    cdef Aval a
    found = _AVALS.get(key)
    if found is not None:
        return <Aval>found
    dtype = _DTYPES[dtype]
    canonical = (shape, dtype, weak)
    found = _AVALS.get(canonical)
    if found is not None:
        return <Aval>found
    a = Aval.__new__(Aval)
    a.shape, a.dtype, a.weak = shape, dtype, weak
    a.ndim = len(shape)
    a.size = 1
    for d in shape[1:] if shape and shape[0] == _TURNS else shape:
        if d < 0:
            raise ValueError(f"negative dimension in shape {shape}")
        a.size *= d
    _AVALS[canonical] = a
    return a


@cython.freelist(256)
@cython.no_gc
cdef class Var:
    """A variable of one program; ``index`` counts in order of creation."""

    def __repr__(self):
        return f"{name_of(self.index)}:{self.aval}"


cpdef str name_of(Py_ssize_t index):
    """a, b, ..., z, ba, bb, ...: the printed name of variable number ``index``."""
    cdef str text = ""
    while True:
        text = chr(97 + index % 26) + text
        index //= 26
        if index == 0:
            return text


cdef class Lit:
    """A splat literal: an array of type ``aval`` whose every element is ``value`` (a NumPy scalar)."""

    def __eq__(self, other):
        cdef Lit o
        if self is other:
            return True
        if not isinstance(other, Lit):
            return False
        o = <Lit>other
        return self.aval is o.aval and bits_of(self) == bits_of(o)

    def __hash__(self):
        if self._hash == 0:
            self._hash = hash((id(self.aval), bits_of(self)))
        return self._hash

    def __repr__(self):
        text = str(self.value)
        return text if self.aval.ndim == 0 else f"{text}:{self.aval}"

    def __reduce__(self):
        return lit, (self.value, self.aval)


cdef bytes bits_of(Lit x):
    """The value byte by byte, so that -0.0 is not 0.0 and a nan is itself."""
    if x._bits is None:
        x._bits = x.value.tobytes()
    return x._bits


cpdef Lit lit(object value, Aval a):
    """The splat literal of ``value``, cast to the dtype of ``a``, in the shape of ``a``."""
    cdef Lit result = Lit.__new__(Lit)
    result.aval = a.strong
    result.value = a.dtype.type(value)
    result._hash = 0
    return result


cdef class Sig:
    """An op applied to avals with parameters, and the avals it gives. Interned per op."""

    def __repr__(self):
        return f"{self.op.name}{self.params or ''}{self.in_avals}"

    def __reduce__(self):
        return _sig_again, (self.op, self.in_avals, self.params, self.out is not None and self.out.weak)


def _sig_again(op, in_avals, params, weak):
    return signature(op, in_avals, params, weak)


cpdef Sig signature(object op, tuple in_avals, dict params, bint weak=False):
    """Runs the op's shape rule, once per (operand types, parameters)."""
    global _n_sigs
    cdef Sig sig
    cdef dict sigs = op.sigs
    if params:
        key = (in_avals, weak, tuple([params[p] if p in params else None for p in op.param_names]))
    else:
        key = (in_avals, weak)
    found = sigs.get(key)
    if found is not None:
        return <Sig>found
    result = op.infer(*in_avals, **params)
    sig = Sig.__new__(Sig)
    sig.op, sig.params, sig.in_avals = op, dict(params), in_avals
    sig.multiple, sig.splat, sig.collective = op.multiple, op.splat, op.family == "collective"
    sig.retraced = any([_is_retraced(p) for p in params.values()])
    sig.effect = any([_has_effect(p) for p in params.values()])
    if sig.multiple:
        sig.outs = tuple([a if isinstance(a, Aval) else aval(a[0], a[1]) for a in result])
        sig.out = None
    else:
        sig.out = result if isinstance(result, Aval) else aval(result[0], result[1], weak)
        sig.outs = (sig.out,)
    sig.weak = any([(<Aval>a).weak for a in (*in_avals, *sig.outs)])
    sig.plain = op.family not in ("call", "control", "collective")
    sig.rules = {}
    sig.simplify, sig.commutes = op.simplify, op.commutes
    sig.sees = getattr(op.simplify, "sees", None)
    sig.folds = op.c is not None and op.reference is not None
    if _n_sigs > _MAX_SIGS:
        clear_signatures()
    _n_sigs += 1
    sigs[key] = sig
    return sig


def _is_retraced(param):
    if isinstance(param, tuple):
        return any([_is_retraced(p) for p in param])
    return bool(getattr(param, "retraced", False))


def _has_effect(param):
    if isinstance(param, Jaxpr):
        return any([(<Eqn>e).sig.effect for e in (<Jaxpr>param).eqns])
    if isinstance(param, tuple):
        return any([_has_effect(p) for p in param])
    return bool(getattr(param, "effect", False))


def clear_signatures():
    """Forgets all interned signatures (programs that hold some stay valid)."""
    global _n_sigs
    from .op import OPS
    for op in OPS.values():
        op.sigs.clear()
    _n_sigs = 0


@cython.freelist(256)
@cython.no_gc
cdef class Eqn:
    """``outs = op[params](inputs)``; inputs are Vars of the program or literals."""

    @property
    def op(self):
        return self.sig.op

    @property
    def params(self):
        return self.sig.params

    @property
    def src(self):
        """``(file, line, function)`` of the user's code that bound it, or None."""
        if self.code is None:
            return None
        return (self.code.co_filename, PyCode_Addr2Line(self.code, self.lasti & ~_BACK), self.code.co_name)

    @property
    def backward(self):
        """Whether the backward pass of a derivative made it; ``src`` is the line that it derives."""
        return (self.lasti & _BACK) != 0

    def turned(self):
        """The same equation as a source of those in the backward pass."""
        cdef Eqn e = eqn(self.sig, self.inputs, self.outs, self)
        e.lasti |= _BACK
        return e

    def __repr__(self):
        return f"{self.outs} = {self.sig.op.name} {self.inputs}"

    def __reduce__(self):
        return _eqn_again, (self.sig, self.inputs, self.outs, self.scope)


def _eqn_again(sig, inputs, outs, scope):
    return eqn_in(eqn(sig, inputs, outs), scope)


def eqn(Sig sig, tuple inputs, tuple outs, Eqn like=None):
    """A new equation, with the source of ``like``."""
    cdef Eqn e = Eqn.__new__(Eqn)
    e.sig, e.inputs, e.outs = sig, inputs, outs
    if like is not None:
        take_source(e, like)
    return e


def eqn_in(Eqn like, tuple scope):
    """The same equation, in other scopes."""
    cdef Eqn e = eqn(like.sig, like.inputs, like.outs, like)
    e.scope = scope
    return e


def var(Aval a, Py_ssize_t index):
    cdef Var v = Var.__new__(Var)
    v.aval, v.index = a, index
    return v


cdef void fill(Jaxpr j, tuple invars, tuple eqns, tuple outs, bint retraced):
    j.invars, j.eqns, j.outs = invars, eqns, outs
    j.in_avals = tuple([(<Var>v).aval for v in invars])
    j.out_avals = tuple([(<Var>o).aval if type(o) is Var else (<Lit>o).aval for o in outs])
    j.retraced = retraced
    j._hash = 0


cdef Jaxpr make_jaxpr(tuple invars, tuple eqns, tuple outs, bint retraced):
    cdef Jaxpr j = Jaxpr.__new__(Jaxpr)
    fill(j, invars, eqns, outs, retraced)
    j.dense = True
    return j


cdef class Jaxpr:
    """A program: ``invars -> eqns -> outs``."""

    def __init__(self, invars, eqns, outs, bint retraced=False, names=None):
        fill(self, tuple(invars), tuple(eqns), tuple(outs), retraced)
        self.names = names

    cpdef tuple key(self):
        """Everything the program does, in one flat tuple; compared in full, never by hash alone."""
        cdef list parts
        cdef Eqn e
        cdef dict number
        cdef Py_ssize_t n = 0
        if self._key is None and self.dense:
            # a builder numbered the variables in order of creation: the numbers say it all
            parts = [-1 - len(self.invars)]
            for v in self.invars:
                parts.append((<Var>v).index)
                parts.append((<Var>v).aval)
            for e in self.eqns:
                parts.append(e.sig)
                for x in e.inputs:
                    parts.append((<Var>x).index if type(x) is Var else x)
                if e.scope is not None:     # what is made of it tells the names again
                    parts.append(e.scope)
            for x in self.outs:
                parts.append((<Var>x).index if type(x) is Var else x)
            self._key = tuple(parts)
        elif self._key is None:
            number = {}
            parts = [len(self.invars)]
            for v in self.invars:
                number[v] = n
                n += 1
                parts.append((<Var>v).aval)
            for e in self.eqns:
                parts.append(e.sig)
                for x in e.inputs:
                    parts.append(number[x] if type(x) is Var else x)
                for v in e.outs:
                    number[v] = n
                    n += 1
                if e.scope is not None:
                    parts.append(e.scope)
            for x in self.outs:
                parts.append(number[x] if type(x) is Var else x)
            self._key = tuple(parts)
        return self._key

    def __hash__(self):
        if self._hash == 0:
            self._hash = hash(self.key())
        return self._hash

    def __eq__(self, other):
        if self is other:
            return True
        if not isinstance(other, Jaxpr):
            return False
        if hash(self) != hash(other):
            return False
        return self._key == (<Jaxpr>other)._key

    def __reduce__(self):
        return Jaxpr, (self.invars, self.eqns, self.outs, self.retraced, self.names)

    def show(self, bint sources=False):
        """The program as text, with the user's lines if ``sources``."""
        from .show import show
        return show(self, sources)

    def __repr__(self):
        return self.show()
