"""Cleanup before a plan is made: dead code, common subexpressions, folding and algebra.

What an equation equals belongs to the op records (``simplify``); this pass applies it.
"""
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from functrans.ir.core cimport Aval, Eqn, Jaxpr, Lit, Sig, Var, lit, signature

import numpy as np

from ..ir.core import aval, eqn, var
from ..ir.op import OPS
from ..ops.call import inline
from . import loops


def cleanup(Jaxpr jaxpr, bint final=False):
    """An equivalent program without equations that need not run. Linear in its length.

    ``final`` says that it will only run: then rewrites are made too that another transform should not
    see, as they change where its derivatives have strong zeros, or are hard to batch.
    """
    cdef Cleaner c = Cleaner.__new__(Cleaner)
    cdef Eqn e
    cdef dict new = {}
    c.seen, c.made, c.kept, c.final = {}, {}, [], final
    for e in live(list(jaxpr.eqns), jaxpr.outs):
        c.equation(e, replaced(e.inputs, new), new)
    outs = replaced(jaxpr.outs, new)
    return Jaxpr(jaxpr.invars, live(c.kept, outs, c.loops), outs, jaxpr.retraced, jaxpr.names)


cdef tuple replaced(tuple atoms, dict new):
    """The atoms as they are now; the same tuple where nothing changed."""
    cdef Py_ssize_t i, n = PyTuple_GET_SIZE(atoms)
    cdef tuple out
    for i in range(n):
        x = atoms[i]
        if type(x) is Var and new.get(x, x) is not x:
            break
    else:
        return atoms
    out = PyTuple_New(n)
    for i in range(n):
        x = atoms[i]
        if type(x) is Var:
            x = new.get(x, x)
        Py_INCREF(x)
        PyTuple_SET_ITEM(out, i, x)
    return out


cdef list live(list eqns, outs, bint narrow=False):
    """The equations that outs depend on, and those that act beside their results; with ``narrow``, loops
    lose what nobody reads of them."""
    cdef set needed = {x for x in outs if type(x) is Var}
    cdef list kept = []
    cdef Py_ssize_t i
    cdef Eqn e
    cdef bint wanted
    for i in range(len(eqns) - 1, -1, -1):
        e = <Eqn>eqns[i]
        wanted = e.sig.effect
        for x in e.outs:
            if x in needed:
                wanted = True
                break
        if wanted:
            if narrow and e.sig.op.name in ("scan", "while"):
                e = loops.narrow(e, needed, cleanup)
            kept.append(e)
            for x in e.inputs:
                if type(x) is Var:
                    needed.add(x)
    kept.reverse()
    return kept


cdef class Cleaner:
    """The program so far. ``simplify`` rules get it, to look at how their operands are made.

    Attributes:
      final: whether the program will only run.
    """
    cdef dict seen                  # (signature, inputs) -> results
    cdef dict made                  # Var -> its equation
    cdef list kept
    cdef readonly bint final
    cdef bint loops

    def made_by(self, x, str name):
        """The equation that makes x, if it is of the op ``name``; or None."""
        cdef Eqn e
        found = self.made.get(x) if type(x) is Var else None
        if found is None:
            return None
        e = <Eqn>found
        return e if e.sig.op.name == name else None

    cdef object equation(self, Eqn e, tuple inputs, dict new):
        """Appends what e is on these inputs; ``new`` gets its results."""
        if not e.sig.multiple:
            new[e.outs[0]] = self.single(e.sig, inputs, e)
        elif self.final and e.sig.retraced and e.sig.op.lower is inline:
            self.inlined(e, inputs, new)
        else:
            self.several(e, inputs, new)

    cdef object inlined(self, Eqn e, tuple inputs, dict new):
        """The program inside e, whose rule nobody asks for any more: there is a new one at every trace, so
        that no other program would equal this one."""
        cdef Jaxpr inner = e.sig.params["jaxpr"]
        cdef dict own = dict(zip(inner.invars, inputs))
        cdef Eqn k
        for k in inner.eqns:
            if k.sig.multiple:          # its results may be there already: a program may be called twice
                outs = tuple([var(a, 0) for a in k.sig.outs])
                self.equation(eqn(k.sig, k.inputs, outs, k), replaced(k.inputs, own), own)
                for v, x in zip(k.outs, outs):
                    own[v] = own.get(x, x)
            else:
                self.equation(k, replaced(k.inputs, own), own)
        new.update(zip(e.outs, replaced(inner.outs, own)))

    cdef object single(self, Sig sig, tuple inputs, Eqn like):
        """The atom that an op's only result equals, after appending what it needs."""
        cdef Eqn e
        cdef bint literal = sig.folds
        rule = sig.simplify
        if rule is not None and (sig.sees is None or self.concerns(sig.sees, inputs)):
            found = rule(inputs, sig.params, self)
            if found is not None:
                return self.built(found, sig.out.weak, like)
        for x in inputs:
            if type(x) is not Lit:
                literal = False
                break
        if literal:
            return fold(sig, inputs)
        if sig.folds:
            found = self.narrower(sig, inputs, like)
            if found is not None:
                return found
        key = (sig, (inputs[1], inputs[0]) if sig.commutes and <size_t><void *>inputs[0]
               > <size_t><void *>inputs[1] else inputs)
        before = self.seen.get(key)
        if before is not None:
            return before
        if sig is like.sig and inputs is like.inputs:
            e = like
        else:
            e = eqn(sig, inputs, like.outs if sig is like.sig else (var(sig.out, 0),), like)
        v = e.outs[0]
        if v in self.made:          # a part of what its equation became: the name is taken
            e = eqn(sig, inputs, (var(sig.out, 0),), like)
            v = e.outs[0]
        self.seen[key] = v
        self.made[v] = e
        self.kept.append(e)
        return v

    cdef bint concerns(self, frozenset sees, tuple inputs):
        """Whether a rule that looks for these ops may find something."""
        cdef Py_ssize_t i, n = PyTuple_GET_SIZE(inputs)
        for i in range(n):
            x = inputs[i]
            if type(x) is Lit or (i + 1 < n and x is inputs[i + 1]):
                return True
            found = self.made.get(x)
            if found is not None and (<Eqn>found).sig.op.name in sees:
                return True
        return False

    cdef object built(self, object x, bint weak, Eqn like):
        """What a rule returned, an atom or ``(op, operands, params)``, as an atom."""
        cdef tuple inputs
        if type(x) is not tuple:
            return x
        op, operands, params = x
        inputs = tuple([self.built(y, False, like) for y in operands])
        return self.single(signature(op, tuple([
            (<Var>y).aval if type(y) is Var else (<Lit>y).aval for y in inputs]), params, weak), inputs, like)

    cdef object narrower(self, Sig sig, tuple inputs, Eqn like):
        """Elementwise on operands that are all repeated alike: computed once, then repeated."""
        cdef Eqn e, first = None
        cdef Aval a
        for x in inputs:
            if type(x) is Lit:
                continue
            found = self.made.get(x)
            if found is None:
                return None
            e = <Eqn>found
            if e.sig.op is not _broadcast:
                return None
            if first is None:
                first = e
            elif e.sig.params["dims"] != first.sig.params["dims"] or (
                    (<Aval>e.sig.in_avals[0]).shape != (<Aval>first.sig.in_avals[0]).shape):
                return None
        a = <Aval>first.sig.in_avals[0]
        if a.size >= sig.out.size:
            return None
        small = tuple([lit((<Lit>x).value, aval(a.shape, (<Lit>x).aval.dtype)) if type(x) is Lit
                       else (<Eqn>self.made[x]).inputs[0] for x in inputs])
        return self.built((_broadcast, [(sig.op, small, sig.params)], first.sig.params), sig.out.weak, like)

    cdef object several(self, Eqn e, tuple inputs, dict new):
        """An equation with several results."""
        cdef Eqn inner
        if e.sig.op.name in loops.NAMES:
            before, inner, after, merged = loops.tidy(e, inputs, cleanup, self.final)
            for x in before:
                self.keep(x)
            new.update(merged)
            self.loops = True
        else:
            inner, after = e if inputs is e.inputs else eqn(e.sig, inputs, e.outs, e), ()
        key = (inner.sig, inner.inputs)
        same = None if e.sig.effect else self.seen.get(key)
        if same is not None and not after:
            new.update(zip(inner.outs, same))
            return
        self.seen[key] = inner.outs
        self.keep(inner)
        for x in after:
            self.keep(x)

    cdef object keep(self, Eqn e):
        for v in e.outs:
            self.made[v] = e
        self.kept.append(e)


cdef Lit fold(Sig sig, tuple inputs):
    """An elementwise equation on literals only, by the op's NumPy reference."""
    with np.errstate(all="ignore"):
        value = sig.op.reference(*[np.asarray((<Lit>x).value) for x in inputs], **sig.params)
    return lit(sig.out.dtype.type(value), sig.out)


cdef object _broadcast = OPS["broadcast_in_dim"]
