"""The interpreters over a jaxpr: an environment, equations in order, a rule for each.

They record into the open builder: atoms of that builder stand for variables of the program. Values that
the caller gives become atoms when an equation first uses them.
"""
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from functrans.ir.core cimport Aval, Eqn, Jaxpr, Lit, Sig, Var, lit, signature, take_source
from functrans.trace.core cimport Builder, aval_of, home, splats, top_builder, tracer
from functrans.trace.source cimport in_open_scopes, locate
from functrans.trace.tracer cimport Tracer
from functrans.transform.rules cimport Recipe, apply_rule, replay, rule_of

from ..errors import NonDifferentiableError
from ..ir.core import eqn_in
from ..ir.op import OPS, Linear
from ..ops.collective import AXIS
from ..trace.core import bind
from .zeros import Zero

cdef object _Zero = Zero


# ----- environments: Var of the program -> atom of the builder, or a value that is not yet one -------


cdef inline object atom(dict env, object x, Builder b):
    """The atom of b that stands for the operand x."""
    if type(x) is not Var:
        return x
    y = env[x]
    if type(y) is Var or type(y) is Lit:
        return y
    y = b.atom(y)
    env[x] = y
    return y


cdef inline object value(dict env, object x, Builder b):
    """The same as rules and callers take it: a tracer, a literal, or what was given."""
    if type(x) is Var:
        x = env[x]
    return tracer(b, <Var>x) if type(x) is Var else x


cdef inline object unwrapped(object x, Builder b):
    """A value that a rule returned, as an environment holds it."""
    return (<Tracer>x).var if type(x) is Tracer and (<Tracer>x).builder is b else x


cdef object copy(Eqn e, Sig sig, dict env, Builder b, Eqn like):
    """The equation itself, in b."""
    cdef Py_ssize_t i, n = PyTuple_GET_SIZE(e.inputs)
    cdef tuple atoms = PyTuple_New(n)
    cdef Eqn new
    for i in range(n):
        x = atom(env, e.inputs[i], b)
        Py_INCREF(x)
        PyTuple_SET_ITEM(atoms, i, x)
    if sig.splat and n and splats(atoms):
        env[e.outs[0]] = lit((<Lit>atoms[0]).value, sig.out)
        return None
    new = b.append(sig, atoms)
    take_source(new, like)
    for i in range(PyTuple_GET_SIZE(e.outs)):
        env[e.outs[i]] = new.outs[i]


cdef Sig strong(Sig sig):
    """The signature in a pass, where no type is weak."""
    if not sig.weak:
        return sig
    return signature(sig.op, tuple([(<Aval>a).strong for a in sig.in_avals]), sig.params)


cdef Builder recorder(values):
    """The builder that records equations on these values."""
    cdef Builder b = top_builder()
    return b if b is None else home(b, tuple(values))


cdef dict environment(Jaxpr jaxpr, values):
    cdef dict env = {}
    if len(values) != len(jaxpr.invars):
        raise ValueError(f"got {len(values)} values for {len(jaxpr.invars)} inputs")
    for v, x in zip(jaxpr.invars, values):
        env[v] = x
    return env


# ----- the program itself ----------------------------------------------------------------------------


cdef Eqn source(Eqn e, Eqn here):
    """What equations made of e take their line and scopes from: e, but for the line if ``here`` is given."""
    if here is None:
        return in_open_scopes(e)
    if e.scope is None and not e.backward:
        return here
    here = eqn_in(here, in_open_scopes(e).scope)
    return here.turned() if e.backward else here


def evaluate(Jaxpr jaxpr, args, bint shared=False):
    """Binds the equations of ``jaxpr`` on ``args`` into the current builder (or runs them).

    They keep their lines, but for a ``shared`` program, which may come from another function.
    """
    cdef Builder b = recorder(args)
    cdef dict env = environment(jaxpr, args)
    cdef Eqn e, here = None
    if shared:
        here = Eqn.__new__(Eqn)
        locate(here)
    if b is not None and not b.tangent:
        for e in jaxpr.eqns:
            copy(e, e.sig, env, b, source(e, here))
        return [value(env, x, b) for x in jaxpr.outs]
    for e in jaxpr.eqns:
        outs = apply_rule(bind, (e.sig.op, tuple([env[x] if type(x) is Var else x for x in e.inputs]),
                                 e.sig.params, e.sig.out is not None and e.sig.out.weak), {}, source(e, here))
        env.update(zip(e.outs, outs if e.sig.multiple else (outs,)))
    return [env[x] if type(x) is Var else x for x in jaxpr.outs]


# ----- forward mode ----------------------------------------------------------------------------------


cdef object residual(object x, Builder b, Builder half):
    """An atom of b in the tangent half that is open above it."""
    if type(x) is not Var or half is b:
        return x
    found = half.lifted.get(x)
    return found if found is not None else half.lift(tracer(b, <Var>x))


def jvp_values(Jaxpr jaxpr, primals, tangents, bint split=False):
    """Pushes ``tangents`` (values or Zeros) through ``jaxpr``: ``(outs, tangents of outs)``.

    ``split`` runs between the two builders of a linearization, where ops that hold programs of their
    own have a rule that keeps the halves apart.
    """
    cdef Builder half = top_builder() if split else recorder((*primals, *tangents))
    cdef Builder b = half.parent if split else half
    cdef dict env = environment(jaxpr, primals), moved = {}
    cdef Eqn e
    cdef Sig sig
    cdef Recipe rule
    cdef tuple mask, ins
    cdef list values, outs
    cdef Py_ssize_t n, i
    cdef bint any_moved
    cdef str kind = "linearize" if split else "jvp"
    for v, t in zip(jaxpr.invars, tangents, strict=True):
        if type(t) is not _Zero:
            moved[v] = unwrapped(t, half)
    for e in jaxpr.eqns:
        ins, sig = e.inputs, e.sig
        any_moved = False
        for x in ins:
            if type(x) is Var and x in moved:
                any_moved = True
                break
        if not any_moved:
            copy(e, strong(sig), env, b, e)
            continue
        mask = tuple([type(x) is Var and x in moved for x in ins])
        rule = rule_of(kind, e, mask)
        if rule is None:
            jvp_by_rule(e, env, moved, b, half, split)
            continue
        n = len(sig.outs)
        values = [atom(env, x, b) for x in ins]
        if not split:
            values += [atom(moved, x, b) for x in ins if type(x) is Var and x in moved]
            outs = replay(rule, b, values, e)
        else:
            outs = replay(rule, b, values, e)
            values = [atom(moved, x, half) for x in ins if type(x) is Var and x in moved]
            for i in range(n, len(outs)):
                values.append(residual(outs[i], b, half))
            outs = outs[:n] + replay(rule.linear, half, values, e)
        for i in range(n):
            env[e.outs[i]] = outs[i]
            if rule.keep[i]:
                moved[e.outs[i]] = outs[n]
                del outs[n]
    results = [value(env, x, b) for x in jaxpr.outs]
    return results, [value(moved, x, half) if type(x) is Var and x in moved else Zero(aval_of(y))
                     for x, y in zip(jaxpr.outs, results)]


cdef object jvp_by_rule(Eqn e, dict env, dict moved, Builder b, Builder half, bint split):
    """One equation by the op's own rule."""
    op = e.sig.op
    operands = tuple([value(env, x, b) for x in e.inputs])
    ts = [value(moved, x, half) if type(x) is Var and x in moved else Zero(aval_of(y))
          for x, y in zip(e.inputs, operands)]
    rule = (op.linearize if split else None) or op.jvp
    outs, out_ts = apply_rule(rule, (operands, ts), e.sig.params, e)
    for v, x, t in zip(e.outs, outs, out_ts, strict=True):
        env[v] = unwrapped(x, b)
        if type(t) is not _Zero:
            moved[v] = unwrapped(t, half)


# ----- reverse mode ----------------------------------------------------------------------------------


def transpose_values(Jaxpr lin, Py_ssize_t n_linear, residuals, cts):
    """Cotangents of the first ``n_linear`` inputs of ``lin``, given those of its outputs.

    ``lin: (linear inputs, residuals) -> outs``. Cotangents may be Zeros, given and returned.
    """
    cdef Builder b = recorder((*residuals, *cts))
    cdef set linear = set(lin.invars[:n_linear])
    cdef dict env = {}, sums = {}
    cdef list backward = [], values
    cdef Eqn e
    cdef Recipe rule
    cdef tuple mask, given
    cdef Py_ssize_t i
    for v, x in zip(lin.invars[n_linear:], residuals, strict=True):
        env[v] = x
    for e in lin.eqns:
        for x in e.inputs:
            if type(x) is Var and x in linear:
                linear.update(e.outs)
                backward.append(e.turned())
                break
        else:
            copy(e, strong(e.sig), env, b, e)
    for v, ct in zip(lin.outs, cts, strict=True):
        if type(v) is Var and v in linear and ct is not None and type(ct) is not _Zero:
            accumulate(sums, v, b.atom(ct), b,
                       <Eqn>backward[len(backward) - 1] if backward else None)
    for i in range(len(backward) - 1, -1, -1):
        e = <Eqn>backward[i]
        given = tuple([v in sums for v in e.outs])
        if True not in given:
            continue
        if e.sig.op.transpose is None:
            apply_rule(refuse_transpose, (e.sig.op,), {}, e)
        mask = tuple([type(x) is Var and x in linear for x in e.inputs])
        rule = rule_of("transpose", e, (mask, given))
        if rule is None:
            transpose_by_rule(e, env, linear, sums, b)
            continue
        values = [atom(env, x, b) for x in e.inputs if type(x) is not Var or x not in linear]
        for v in e.outs:
            if v in sums:
                values.append(taken(sums, v, b, e))
        values = replay(rule, b, values, e)
        values.reverse()
        for x, k in zip(e.inputs, rule.keep):
            if k:
                accumulate(sums, x, values.pop(), b, e)
    got = [taken(sums, v, b, None) if v in sums else Zero(v.aval) for v in lin.invars[:n_linear]]
    return [tracer(b, <Var>x) if type(x) is Var else x for x in got]


cdef class Pieces:
    """Cotangents of slices of one value along one axis: put side by side instead of added up."""
    cdef object axis
    cdef list found                 # (start, end, piece, the piece among zeros)
    cdef object rest                # the sum of all others, or None


cdef object accumulate(dict sums, object v, object ct, Builder b, Eqn like):
    """Adds a cotangent, an atom of b, to those of v."""
    cdef Pieces p
    before = sums.get(v)
    piece = piece_of(ct, b)
    if piece is not None and (before is None or type(before) is not Pieces):
        p = Pieces.__new__(Pieces)
        p.axis, p.found, p.rest = piece[0], [piece[1]], before
        sums[v] = p
    elif piece is not None and (<Pieces>before).axis == piece[0]:
        (<Pieces>before).found.append(piece[1])
    elif type(before) is Pieces:
        p = <Pieces>before
        p.rest = ct if p.rest is None else added(p.rest, ct, b, like)
    else:
        sums[v] = ct if before is None else added(before, ct, b, like)


cdef object piece_of(object ct, Builder b):
    """``(axis, (start, end, piece, ct))`` if ct was made just now by putting zeros around a piece."""
    cdef Eqn e
    if type(ct) is not Var or not b.eqns:
        return None
    e = <Eqn>b.eqns[len(b.eqns) - 1]
    if e.outs[0] is not ct or e.sig.op is not _pad or type(e.inputs[1]) is not Lit or (
            (<Lit>e.inputs[1]).value != 0):
        return None
    low, high, interior = e.sig.params["low"], e.sig.params["high"], e.sig.params["interior"]
    axes = [i for i in range(len(low)) if low[i] != 0 or high[i] != 0]
    if len(axes) != 1 or any(interior) or min(low) < 0 or min(high) < 0:
        return None
    i = axes[0]
    return i, (low[i], low[i] + (<Aval>e.sig.in_avals[0]).shape[i], e.inputs[0], ct)


cdef object taken(dict sums, object v, Builder b, Eqn like):
    """The sum of the cotangents of v, which are taken out."""
    cdef Pieces p
    total = sums.pop(v)
    if type(total) is not Pieces:
        return total
    p = <Pieces>total
    total = p.rest
    places, rows = {}, []           # rows: lists of pieces that do not overlap
    for start, end, x, whole in p.found:
        same = places.get((start, end))
        if same is not None:
            x, whole = added(same[2], x, b, like), None
        places[start, end] = start, end, x, whole
    for piece in sorted(places.values(), key=_first):
        for row in rows[:8]:
            if row[len(row) - 1][1] <= piece[0]:
                row.append(piece)
                break
        else:
            rows.insert(0, [piece])
    for row in rows:
        whole = row[0][3] if len(row) == 1 else None
        if whole is None:
            whole = side_by_side(row, p.axis, (<Var>v).aval, b, like)
        total = whole if total is None else added(total, whole, b, like)
    return total


def _first(piece):
    return piece[0]


cdef object side_by_side(list row, Py_ssize_t axis, Aval a, Builder b, Eqn like):
    """Pieces, and zeros between them, as one value of type a."""
    cdef Py_ssize_t at = 0
    parts = []
    for start, end, x, _ in [*row, (a.shape[axis], a.shape[axis], None, None)]:
        if start > at:
            parts.append(lit(0, a.with_shape((*a.shape[:axis], start - at, *a.shape[axis + 1:]))))
        if x is not None:
            parts.append(x)
        at = end
    return joined(_concatenate, tuple(parts), {"axis": axis}, b, like)


cdef object added(object x, object y, Builder b, Eqn like):
    return joined(_add, (x, y), {}, b, like)


cdef object joined(object op, tuple atoms, dict params, Builder b, Eqn like):
    """The result of a new equation."""
    cdef Eqn e = b.append(signature(op, tuple([
        (<Var>x).aval if type(x) is Var else (<Lit>x).aval for x in atoms]), params), atoms)
    if like is not None:
        take_source(e, like)
    return e.outs[0]


cdef object transpose_by_rule(Eqn e, dict env, set linear, dict sums, Builder b):
    """One equation by the op's own rule."""
    cts = []
    for v in e.outs:
        ct = taken(sums, v, b, e) if v in sums else None
        cts.append(Zero((<Var>v).aval) if ct is None else tracer(b, <Var>ct) if type(ct) is Var else ct)
    operands = [Linear((<Var>x).aval) if type(x) is Var and x in linear else value(env, x, b)
                for x in e.inputs]
    got = apply_rule(e.sig.op.transpose, (cts, operands), e.sig.params, e)
    for x, ct in zip(e.inputs, got, strict=True):
        if ct is not None and type(ct) is not _Zero and type(x) is Var and x in linear:
            accumulate(sums, x, b.atom(ct), b, e)


def refuse_transpose(op):
    raise NonDifferentiableError(
        f"{op.name} cannot be transposed: it is not linear, or has no reverse rule.",
        op.why.get("transpose", "Use forward mode (jvp, jacfwd) here."))


cdef object _add = OPS["add"], _pad = OPS["pad"], _concatenate = OPS["concatenate"]


# ----- batching --------------------------------------------------------------------------------------


def batch_values(Jaxpr jaxpr, size, args, dims, axis_name=None):
    """Runs ``jaxpr`` on values of which some have a batch axis: ``(outs, dims of outs)``."""
    cdef Builder b = recorder(args)
    cdef dict env = environment(jaxpr, args), at = {}
    cdef Eqn e
    cdef Recipe rule
    cdef tuple axes
    for v, d in zip(jaxpr.invars, dims, strict=True):
        if d is not None:
            at[v] = d
    outer, AXIS.name = AXIS.name, axis_name
    try:
        for e in jaxpr.eqns:
            for x in e.inputs:
                if type(x) is Var and x in at:
                    break
            else:
                if axis_name is None or not needs_axis(e, axis_name):
                    copy(e, strong(e.sig), env, b, e)
                    continue
            axes = tuple([at.get(x) if type(x) is Var else None for x in e.inputs])
            rule = rule_of("batch", e, (size, axes))
            if rule is not None:
                outs, out_dims = replay(rule, b, [atom(env, x, b) for x in e.inputs], e), rule.keep
            else:
                outs, out_dims = apply_rule(e.sig.op.batch, (
                    size, tuple([value(env, x, b) for x in e.inputs]), list(axes)), e.sig.params, e)
            for v, x, d in zip(e.outs, outs, out_dims, strict=True):
                env[v] = unwrapped(x, b)
                if d is not None:
                    at[v] = d
    finally:
        AXIS.name = outer
    return ([value(env, x, b) for x in jaxpr.outs],
            [at.get(x) if type(x) is Var else None for x in jaxpr.outs])


def needs_axis(Eqn e, axis_name):
    """Whether an equation without batched operands still depends on the axis, by its name."""
    return e.sig.params.get("axis_name") == axis_name or any(
        [uses_axis(p, axis_name) for p in programs(e.sig.params)])


def programs(params):
    found = []
    for p in params.values():
        found += [q for q in (p if type(p) is tuple else (p,)) if type(q) is Jaxpr]
    return found


def uses_axis(Jaxpr jaxpr, axis_name=None):
    """Whether a collective over ``axis_name`` (None: over any axis) is anywhere inside."""
    cdef Eqn e
    for e in jaxpr.eqns:
        if axis_name is not None:
            if needs_axis(e, axis_name):
                return True
        elif e.sig.collective or any([uses_axis(p) for p in programs(e.sig.params)]):
            return True
    return False
