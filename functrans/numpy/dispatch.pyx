"""The hot path of NumPy's operators and ufuncs on tracers: promote, broadcast, bind.

How operands of given types combine is worked out once (``ufuncs.make_recipe``) and kept as a recipe.
"""
cimport numpy as cnp
from functrans.ir.core cimport Aval, Lit, Sig, Var, aval_of_type, lit, signature
from functrans.trace.core cimport Builder, Captured, aval_of, bind, top_builder
from functrans.trace.core import as_traced
from functrans.trace.tracer cimport Tracer

import numpy as np

from ..ops.elementwise import convert
from ..ops.shape import broadcast_in_dim

cnp.import_array()

cdef object _power = np.power
cdef dict _recipes = {}
cdef int _MAX_RECIPES = 50_000
cdef object make_recipe = None
cdef object as_operand = None
cdef object _convert = convert
cdef object _broadcast = broadcast_in_dim


def install(make, convert_operand):
    """Sets what works out new recipes, and what turns lists and the like into operands."""
    global make_recipe, as_operand
    make_recipe, as_operand = make, convert_operand


def clear_recipes():
    _recipes.clear()


cdef class Recipe:
    """How operands of given types combine under a ufunc.

    ``op`` is bound on the first ``n`` operands, each converted to ``dtypes[i]`` and broadcast to
    ``shape``; ``literal`` is appended if given. ``composite`` is called instead where it is set.
    """
    cdef readonly object op, params, composite, literal
    cdef readonly tuple dtypes, shape
    cdef readonly Py_ssize_t n
    cdef readonly bint weak
    cdef Sig sig                    # of op on the prepared operands, once it was bound

    def __init__(self, op=None, dtypes=(), shape=(), params=None, weak=False, literal=None,
                 composite=None):
        self.op, self.dtypes, self.shape = op, dtypes, shape
        self.params = params or {}
        self.weak, self.literal, self.composite = weak, literal, composite
        self.n = len(dtypes)


cdef inline object key_of(object x):
    t = type(x)
    if t is Tracer:
        return (<Tracer>x).var.aval
    if t is float or t is int or t is bool or t is complex:
        return t
    return aval_of(x)


def call(object ufunc, tuple operands, bint operator):
    """``ufunc(*operands)`` of which at least one is traced."""
    cdef Recipe r
    cdef tuple key
    cdef Py_ssize_t n = len(operands)
    if n == 2:
        a, b = operands
        if type(a) is not Tracer:
            a = operand(a)
        if type(b) is not Tracer:
            b = operand(b)
        operands = (a, b)
        if ufunc is _power and (type(b) is int or type(b) is float):
            key = (ufunc, operator, key_of(a), type(b), b)      # exponents are part of the program
        else:
            key = (ufunc, operator, key_of(a), key_of(b))
    elif n == 1:
        key = (ufunc, operator, key_of(operands[0]))
    else:
        operands = tuple([operand(x) for x in operands])
        key = (ufunc, operator, *[key_of(x) for x in operands])
    found = _recipes.get(key)
    if found is None:
        found = make_recipe(ufunc, operands, operator, key[2:])
        if len(_recipes) > _MAX_RECIPES:
            _recipes.clear()
        _recipes[key] = found
    r = <Recipe>found
    if r.composite is not None:
        return r.composite(*operands)
    return apply(r, operands)


cdef object operand(object x):
    """The operand as a recipe takes it: arrays and numbers pass, lists and the like are converted."""
    t = type(x)
    if t is Tracer or t is cnp.ndarray or t is float or t is int or t is bool or t is Captured:
        return x
    if t is Lit or isinstance(x, np.generic):
        return x
    return as_operand(x)


cdef object apply(Recipe r, tuple operands):
    cdef Py_ssize_t i
    cdef list args = []
    cdef Aval a
    cdef Builder b = top_builder()
    cdef tuple atoms
    for i in range(r.n):
        x = operands[i]
        t = type(x)
        dtype = r.dtypes[i]
        if t is Tracer:
            a = (<Tracer>x).var.aval
        elif t is cnp.ndarray or t is Lit or t is Captured:
            a = aval_of(x)
        else:
            args.append(number(x, dtype, r.shape))
            continue
        if t is cnp.ndarray and b is not None and (a.dtype is not dtype or a.shape != r.shape):
            x = as_traced(x)        # not converted now: a jitted function reads it at every call
        if a.dtype is not dtype:
            x = bind(_convert, (x,), {"dtype": dtype}, a.weak and r.weak)
        if a.shape != r.shape:
            x = broadcast(x, a, r.shape)
        args.append(x)
    if r.literal is not None:
        args.append(r.literal)
    if b is None or b.tangent:
        return bind(r.op, tuple(args), r.params, r.weak)
    atoms = tuple([b.atom(x) for x in args])
    if r.sig is None:
        r.sig = signature(r.op, tuple([(<Var>x).aval if type(x) is Var else (<Lit>x).aval
                                       for x in atoms]), r.params, r.weak)
    return b.emit(r.sig, atoms)


cdef object broadcast(object x, Aval a, tuple shape):
    """x by NumPy's broadcasting to shape, whose compatibility the recipe has checked."""
    cdef Py_ssize_t lead = len(shape) - a.ndim
    return bind(_broadcast, (x,), {"shape": shape, "dims": tuple(range(lead, len(shape)))})


cdef object number(object x, object dtype, tuple shape):
    """A number as operand: a literal when it is part of the program, else a scalar input."""
    cdef Builder b = top_builder()
    value = dtype.type(x)
    if b is None or b.staged or value == 0 or value == 1 or value == -1 or value == 2:
        return lit(value, aval_of_type(shape, dtype, False))
    if not shape:
        return value
    return bind(_broadcast, (Captured.of(value),), {"shape": shape, "dims": ()})
