"""Rules recorded once: what an op's rule binds depends on types alone, so a pass replays it.

The first time that a pass meets an op with given types and tangents, it runs the op's Python rule on
tracers; the equations recorded so are a recipe, kept with the interned signature. Ops that hold
programs, users' rules and collectives have none: their rules run each time.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from functrans.ir.core cimport Aval, Eqn, Jaxpr, Lit, Sig, Var, lit, take_source
from functrans.trace.core cimport Builder, splats
from functrans.trace.source cimport restore_source, set_source

from ..ir.core import aval
from ..ir.op import Linear
from ..trace.core import Tangents, trace
from .zeros import Zero


cdef class Recipe:
    """The equations that a rule binds, for operands of certain types."""


cdef Recipe recipe(Jaxpr jaxpr, tuple keep, Recipe linear):
    cdef Recipe r = Recipe.__new__(Recipe)
    cdef dict number = {v: i for i, v in enumerate(jaxpr.invars)}
    cdef list operands = []
    cdef Eqn e
    for e in jaxpr.eqns:
        operands.append(tuple([number[x] if type(x) is Var else x for x in e.inputs]))
        for v in e.outs:
            number[v] = len(number)
    r.sigs, r.operands = tuple([(<Eqn>e).sig for e in jaxpr.eqns]), tuple(operands)
    r.outs = tuple([number[x] if type(x) is Var else x for x in jaxpr.outs])
    r.keep, r.linear = keep, linear
    return r


cdef list replay(Recipe r, Builder b, list values, Eqn like):
    """Appends the recipe's equations, at the line of ``like``; ``values`` are atoms of b, and grow."""
    cdef Sig sig
    cdef Eqn e
    cdef tuple operands, atoms
    cdef Py_ssize_t i, j, n
    for i in range(PyTuple_GET_SIZE(r.sigs)):
        sig, operands = <Sig>r.sigs[i], <tuple>r.operands[i]
        n = PyTuple_GET_SIZE(operands)
        atoms = PyTuple_New(n)
        for j in range(n):
            x = operands[j]
            if type(x) is int:
                x = values[<Py_ssize_t>x]
            Py_INCREF(x)
            PyTuple_SET_ITEM(atoms, j, x)
        if sig.splat and n and splats(atoms):
            values.append(lit((<Lit>atoms[0]).value, sig.out))
            continue
        e = b.append(sig, atoms)
        take_source(e, like)
        if sig.multiple:
            values.extend(e.outs)
        else:
            values.append(e.outs[0])
    return [values[<Py_ssize_t>x] if type(x) is int else x for x in r.outs]


cdef object apply_rule(object rule, tuple args, dict params, Eqn eqn):
    """``rule(*args, **params)``, what it binds and its errors being of the line of eqn."""
    cdef PyObject *source = set_source(<PyObject *>eqn)
    try:
        return rule(*args, **params)
    finally:
        restore_source(source)


cdef Recipe rule_of(str kind, Eqn eqn, tuple how):
    """The recipe of one of the op's rules, or None where it has to run each time.

    ``how`` is what it depends on besides types: for ``jvp`` and ``linearize`` which operands have a
    tangent, for ``transpose`` which are linear and which results have a cotangent, for ``batch`` the
    size and the batch axes.
    """
    cdef Sig sig = eqn.sig
    cdef tuple key
    if not sig.plain:
        return None
    key = (kind, how)
    found = sig.rules.get(key)
    if found is None:
        found = sig.rules[key] = record(kind, eqn, how)
    return None if (<Recipe>found).fresh else <Recipe>found


_record = {}                        # kind -> (rule, operand types and how it is applied)


def record(kind, Eqn eqn, how):
    avals, run = _record[kind](eqn, how)

    def at_line(*values):
        return apply_rule(run, values, {}, eqn)

    jaxpr, consts, (keep, lin) = trace(at_line, avals, None, kind, True)
    result = recipe(jaxpr, keep, None if lin is None else recipe(lin, None, None))
    (<Recipe>result).fresh = len(consts) > 0
    return result


def _types(Eqn eqn):
    return [(<Aval>a).strong for a in eqn.sig.in_avals]


def _jvp(Eqn eqn, nonzeros):
    avals = _types(eqn)
    n = len(avals)

    def run(*values):
        rest = iter(values[n:])
        ts = [next(rest) if m else Zero(a) for m, a in zip(nonzeros, avals)]
        outs, out_ts = eqn.op.jvp(values[:n], ts, **eqn.params)
        keep = tuple([not isinstance(t, Zero) for t in out_ts])
        return [*outs, *[t for t, k in zip(out_ts, keep) if k]], (keep, None)

    return [*avals, *[a for a, m in zip(avals, nonzeros) if m]], run


def _linearize(Eqn eqn, nonzeros):
    avals = _types(eqn)

    def run(*values):
        with Tangents([a for a, m in zip(avals, nonzeros) if m]) as half:
            rest = iter(half.tracers)
            ts = [next(rest) if m else Zero(a) for m, a in zip(nonzeros, avals)]
            outs, out_ts = eqn.op.jvp(values, ts, **eqn.params)
            keep = tuple([not isinstance(t, Zero) for t in out_ts])
            half.close([t for t, k in zip(out_ts, keep) if k])
        lin, residuals = half.result
        return [*outs, *residuals], (keep, lin)

    return avals, run


def _transpose(Eqn eqn, how):
    linear, given = how
    avals = _types(eqn)
    ct_avals = [(<Aval>a).strong for a in eqn.sig.outs]

    def run(*values):
        rest = iter(values)
        operands = [Linear(a) if m else next(rest) for m, a in zip(linear, avals)]
        cts = [next(rest) if m else Zero(a) for m, a in zip(given, ct_avals)]
        got = eqn.op.transpose(cts, operands, **eqn.params)
        keep = tuple([False if ct is None or not m else not isinstance(ct, Zero)
                      for m, ct in zip(linear, got)])
        return [ct for ct, k in zip(got, keep) if k], (keep, None)

    return [a for a, m in zip(avals, linear) if not m] + [a for a, m in zip(ct_avals, given) if m], run


def _batch(Eqn eqn, how):
    size, dims = how
    avals = [a if d is None else aval((*a.shape[:d], size, *a.shape[d:]), a.dtype)
             for a, d in zip(_types(eqn), dims)]

    def run(*values):
        outs, out_dims = eqn.op.batch(size, values, list(dims), **eqn.params)
        return outs, (tuple(out_dims), None)

    return avals, run


_record.update(jvp=_jvp, linearize=_linearize, transpose=_transpose, batch=_batch)
