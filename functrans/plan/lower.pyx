"""Lowering: a jaxpr becomes a flat list of steps over buffers.

The equations are interpreted in order; each op's ``lower`` rule gets the views of its operands and
gives the views of its results, emitting steps through the context on the way. Where the buffers
lie is decided when all steps are known (``buffers.place``): no rule asks what will be an output.
"""

cimport cython
from libc.stdint cimport int64_t

import os

import numpy as np

from ..errors import NotSupportedError, format_location
from ..ir.core cimport Aval, Eqn, Jaxpr, Lit, Sig, Var
from ..ir.core import eqn as make_eqn
from ..ir.core import aval as make_aval
from ..ir.core import lit, signature, var
from ..ir.op import CODE, OPS
from ..kernels.lib import load_lapack, load_special

from . import clusters
from .apart import apart
from .buffers import (make_room, offers, over_operands, over_starts, place, result_variables, round_up,
                      slices_of, spares, stacks_of, without)
from .cache import ProgramCache
from .dtypes import F16, route, widened
from .fuse import FUSE_FROM as _FUSE_FROM
from .fuse import fuse
from .joins import join
from .products import together
from .recompute import cheaper, others
from .run cimport Program, Step, make_step
from .run import kernel_cost
from .stacks cimport STACK_BYTES
from .view cimport Buffer, View, dense, make_buffer, make_view, size_of, whole
from .view import collapse

cdef enum:
    ARENA = 0        # slots, as in view.pyx
    CONSTS = 1
    FIRST_INPUT = 2
    OUTSIDE = -1

cdef int64_t FUSE_FROM = _FUSE_FROM
PYTHON_NS = 2_000.0       # a call into Python, for the decision whether to keep the GIL
UNKNOWN_NS = 1e9          # a loop of unknown length
cdef double STEP_NS = 3.0, STRIDED_NS = 0.5       # dispatch of a step; an element whose neighbour is far
cdef dict _MOVED = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "c128"}    # dtype of a plain copy, by size
FUSE = os.environ.get("FUNCTRANS_FUSE", "1") != "0"

# Programs of loop bodies and branches, which an unrolled Python loop may name many times.
bodies = ProgramCache(1024, 64 << 20)


def lower(Jaxpr jaxpr, carries=(), slices=(), *, donated=(), fused=None, watch=None):
    """The program of ``jaxpr``.

    ``carries`` pairs inputs with outputs for the body of a loop. Where the program has read such an input for
    the last time before it writes the output, both lie in the same memory: then the input is listed in
    ``Program.shared``, and a large carry is updated in place. ``slices`` are pairs of which the loop decides:
    those that may lie so are in ``Program.over``. Outputs may take the memory of ``donated`` inputs: then
    these are in ``Program.given``. ``fused`` (unless FUNCTRANS_FUSE=0) makes block groups; else each equation
    is a step of its own. ``watch`` is told of all programs (see ``describe.Watch``).
    """
    cdef Context ctx
    fused = FUSE if fused is None else fused
    if fused:
        jaxpr = apart(together(jaxpr))
    ctx, inputs, outputs = _emitted(jaxpr, fused, watch, donated)
    if ctx.large and fused:
        for other in others(jaxpr):
            again = _emitted(other, fused, watch, donated)
            if cheaper(again[0].steps, ctx.steps):
                jaxpr, (ctx, inputs, outputs) = other, again
    placed = place(ctx.steps, FIRST_INPUT + len(inputs), inputs, outputs, carries, slices,
                   offers(jaxpr, donated))
    program = Program(ctx.steps if watch is None else watch.steps(ctx.steps), jaxpr.in_avals,
                      jaxpr.out_avals, bytes(ctx.blob), tuple(ctx.references), *placed)
    if watch is not None:
        watch.made(program, jaxpr, ctx.steps, outputs)
    return program


def _emitted(Jaxpr jaxpr, fused, watch, donated):
    """The steps of a program, in a context, and the buffers of its inputs and outputs."""
    cdef Context ctx = Context(fused)
    cdef View view
    cdef Buffer buffer
    cdef int slot
    ctx.watch, ctx.results = watch, result_variables(jaxpr)
    inputs = [Buffer(a.nbytes, FIRST_INPUT + i) for i, a in enumerate(jaxpr.in_avals)]
    for i in donated:
        (<Buffer>inputs[i]).donated = True
    results = ctx.inline(jaxpr, [_whole(b, a.shape, a.dtype)
                                 for b, a in zip(inputs, jaxpr.in_avals, strict=True)])
    ctx.eqn = None
    first_output = FIRST_INPUT + len(inputs)
    outputs = []
    for slot, (view, a) in enumerate(zip(results, jaxpr.out_avals), first_output):
        if a.stacked and view.buffer.slot != ARENA:
            view = ctx.per_entry(signature(OPS["stop_gradient"], (a,), {}), [view])
        buffer = view.buffer
        if a.stacked:
            buffer.slot = slot
        elif view.whole and buffer.slot == ARENA and buffer.first >= 0:
            buffer.slot = slot             # computed here and not yet another output: no copy
        else:
            buffer = Buffer(view.nbytes, slot)
            ctx.copy(_whole(buffer, view.shape, view.dtype), view)
        outputs.append(buffer)
    if ctx.large:
        ctx.steps = fuse(ctx.steps)
    ctx.release()
    return ctx, inputs, outputs


cdef View _whole(Buffer buffer, tuple shape, dtype):
    return whole(buffer, shape, dtype, dtype.itemsize)


cdef dict _WALKS = {size: (size,) for size in (1, 2, 4, 8, 16)}
cdef tuple _STILL = (0,)


@cython.no_gc
cdef class _Kernel:
    """What an elementwise signature runs, and where its result goes."""
    cdef str name                   # None: the op is the identity
    cdef double ns
    cdef tuple ints, shape, strides
    cdef object dtype
    cdef int64_t size, nbytes


cdef class Context:
    """What lower rules may do: make buffers, emit steps, lower other jaxprs."""

    cdef readonly bint fused
    cdef public bint large          # whether there is anything worth fusing
    cdef public list steps
    cdef readonly object blob       # all constants, one after the other
    cdef readonly list references   # arrays of others that the steps read
    cdef list stacks                # views of the stacks made here
    cdef dict consts, literals, kernels
    cdef dict moves                 # (signature, strides) -> offset, shape, strides, contiguous
    cdef public object watch
    cdef readonly Eqn eqn           # the one being lowered, for errors
    cdef set results                # variables that are results of the program

    def __init__(self, bint fused):
        self.fused = fused
        self.large = False
        self.steps, self.blob, self.references, self.stacks = [], bytearray(), [], []
        self.consts, self.literals, self.kernels, self.moves, self.results = {}, {}, {}, {}, set()

    # ----- values --------------------------------------------------------------------------

    def new(self, like, dtype=None):
        """A fresh contiguous buffer; what it holds is undefined until a step writes it."""
        cdef int64_t itemsize
        cdef tuple shape
        if isinstance(like, Aval):
            shape, dtype = (<Aval>like).shape, (<Aval>like).dtype
            if like.stacked:
                view = whole(make_buffer(STACK_BYTES), shape, dtype, dtype.itemsize)
                self.stacks.append(view)
                return view
        else:
            shape, dtype = tuple(like), np.dtype(dtype)
        itemsize = dtype.itemsize
        return whole(make_buffer(size_of(shape) * itemsize), shape, dtype, itemsize)

    def const(self, value):
        """A NumPy scalar or a small array, kept with the program."""
        array = np.asarray(value)
        array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        key = (array.dtype, array.shape, array.tobytes())
        view = self.consts.get(key)
        if view is None:
            align = 64 if array.nbytes > 16 else 16
            self.blob.extend(bytes(-len(self.blob) & (align - 1)))
            view = _whole(Buffer(array.nbytes, CONSTS, len(self.blob)), array.shape, array.dtype)
            self.blob.extend(key[2])
            self.consts[key] = view
        return view

    def reference(self, array):
        """An array that every run reads where it is, so that changes to it are seen."""
        if not (isinstance(array, np.ndarray) and array.flags.aligned and array.dtype.isnative):
            return self.const(array)        # a NumPy scalar has no memory of its own to point to
        self.references.append(array)
        buffer = Buffer(array.nbytes, OUTSIDE, array.__array_interface__["data"][0])
        return View(buffer, 0, array.shape, array.strides, array.dtype, array.flags.c_contiguous)

    def release(self):
        """Frees the stacks that are no results, behind all that reads them: behind ``fuse``, which sees
        no reason to keep this order."""
        stacks = [v for v in self.stacks if (<View>v).buffer.slot == ARENA]
        if stacks:
            self._control("release", [], stacks, (), STEP_NS, None)

    cpdef View literal(self, Lit x):
        view = self.literals.get(x)
        if view is None:
            view = self.const(x.value).broadcast(x.aval.shape, ())
            self.literals[x] = view
        return view

    def load_lapack(self):
        """For steps whose kernels call LAPACK: finds it."""
        load_lapack()

    def contiguous(self, View view):
        if view.contiguous:
            return view
        dense_view = self.new(view.shape, view.dtype)
        self.copy(dense_view, view)
        return dense_view

    # ----- steps ---------------------------------------------------------------------------

    def step(self, str kernel, operands, shape, strides=None, ints=(), cost=None, *, fusable=None,
             int partly=-1, int nouts=1):
        """Runs a kernel; ``operands`` are outputs first. Nothing to write, nothing emitted.

        Of operand ``partly`` it touches no more than of the other of the first two.
        """
        cdef View v = operands[0]
        if size_of(v.shape) == 0:
            return
        shape = tuple(shape)
        ns = self._cost(kernel)
        if cost is None:
            cost = ns * size_of(shape)
        if strides is None:
            strides = [v.strides for v in operands]
        self._emit(make_step(kernel, [v.buffer for v in operands], [v.offset for v in operands], shape,
                             tuple(strides), tuple(ints), cost + STEP_NS, False, fusable, nouts),
                   operands, partly)

    cdef int _emit(self, Step step, views, int partly=-1) except -1:
        cdef Py_ssize_t number = len(self.steps)
        cdef Buffer buffer
        step.views, step.origin, step.partly = views, self.eqn, partly
        for buffer in step.buffers:
            if buffer.first < 0:
                buffer.first = number
            buffer.last = number
        self.steps.append(step)
        return 0

    def copy(self, View dst, View src):
        """Copies elements; both views have one shape, and dtypes of one size."""
        cdef int64_t n = size_of(dst.shape)
        if n == 0:
            return
        size = dst.dtype.itemsize
        kernel = f"copy:{size}"
        self._loop(kernel, self._cost(kernel), n, dst, (src,), (),
                   f"ew:stop_gradient:{_MOVED[size]}" if dst.whole else None)

    def fill(self, dst, value):
        self.copy(dst, value.broadcast(dst.shape, ()))

    def join(self, pieces, int axis):
        """The pieces one after the other along an axis."""
        return join(self, pieces, axis)

    def elementwise(self, Eqn eqn, views):
        return [self._elementwise(eqn.sig, tuple(views))]

    cdef View _elementwise(self, Sig sig, tuple views):
        cdef View out
        found = self.kernels.get(sig)
        if found is None:
            found = self.kernels[sig] = self._elementwise_kernel(sig)
        cdef _Kernel k = <_Kernel>found
        if k.name is None:
            return self.converted(views[0], k.dtype)
        out = make_view(make_buffer(k.nbytes), 0, k.shape, k.strides, k.dtype, True)
        if k.size:
            self._loop(k.name, k.ns, k.size, out, views, k.ints, k.name if len(views) < 4 else None)
        return out

    def converted(self, View view, dtype):
        """The view's elements as ``dtype``; steps only where there is something to do."""
        if view.dtype is dtype:
            return view
        if view.dtype.kind == "c" and dtype.kind == "b":
            zero = self.const(view.dtype.type(0)).broadcast(view.shape, ())
            return self.computed(f"ew:ne:{CODE[view.dtype]}", dtype, (view, zero))
        for d in route(view.dtype, dtype):
            view = self.computed(f"ew:convert:{CODE[view.dtype]}:{CODE[d]}", d, (view,))
        return view

    def computed(self, str kernel, dtype, tuple views, View out=None):
        """What an elementwise kernel makes of views of one shape."""
        if out is None:
            out = self.new((<View>views[0]).shape, dtype)
        cdef int64_t n = size_of(out.shape)
        if n:
            self._loop(kernel, self._cost(kernel), n, out, views, (), kernel if out.whole else None)
        return out

    def reduce(self, str kernel, Aval aval, View x, axes):
        """A step that reduces ``x`` over ``axes``."""
        out = self.new(aval)
        moved = x.transpose((*[i for i in range(len(x.shape)) if i not in axes], *axes))
        self.step(kernel, [out, moved], moved.shape,
                  strides=[out.strides + (0,) * len(axes), moved.strides],
                  ints=(len(x.shape) - len(axes),),
                  fusable=(kernel, self._cost(kernel), (), out, (x,), axes))
        return out

    cdef int _loop(self, str kernel, double ns, int64_t size, View out, tuple views, tuple ints,
                   str loop) except -1:
        """A step that goes over all elements of equally shaped views; ``loop`` is the elementwise
        kernel that a group would use."""
        cdef View v
        cdef list buffers = [out.buffer], offsets = [out.offset], walks = []
        cdef tuple shape = (size,), strides
        cdef bint flat = out.contiguous, moves
        if size >= FUSE_FROM and self.fused:
            self.large = True
        for v in views:
            buffers.append(v.buffer)
            offsets.append(v.offset)
        if flat:
            walks.append(_WALKS[out.dtype.itemsize])
            for v in views:
                if v.contiguous:
                    walks.append(_WALKS[v.dtype.itemsize])
                    continue
                moves = False
                for s in v.strides:
                    if <int64_t>s != 0:
                        moves = True
                        break
                if moves:
                    flat = False
                    break
                walks.append(_STILL)
        if flat:
            strides = tuple(walks)
        else:
            shape, strides = collapse(out.shape, (out.strides, *[v.strides for v in views]))
            if any([walk and abs(walk[len(walk) - 1]) > 16 for walk in strides]):
                ns += STRIDED_NS
        self._emit(make_step(kernel, buffers, offsets, shape, strides, ints, ns * size + STEP_NS, True,
                             (loop, ns, ints, out, views, None) if loop is not None and self.fused
                             else None, 1),
                   (out, *views))
        return 0

    def python(self, function, Eqn eqn, views):
        """Calls ``function`` on arrays of its own; it returns an array, or a list of several."""
        return self.native("python", eqn, views, (len(eqn.sig.outs),), PYTHON_NS,
                           (function, eqn.sig.outs, eqn.sig.in_avals, eqn.sig.multiple))

    def native(self, str kernel, Eqn eqn, views, ints, double cost, data=None):
        """A step of the executor's own that reads and writes dense arrays."""
        outs = [self.new(a) for a in eqn.sig.outs]
        self._control(kernel, outs, [self.contiguous(v) for v in views], ints, cost, data)
        return outs

    def _control(self, str kernel, list outs, list ins, ints, double cost, data, int64_t scratch=0,
                 reuse=None):
        cdef View v
        operands = [*outs, *ins]
        buffers = [v.buffer for v in operands]
        offsets = [v.offset for v in operands]
        if scratch:
            buffers.append(make_buffer(scratch))
            offsets.append(0)
        self._emit(Step(kernel, buffers, offsets, (), ((),) * len(buffers), tuple(ints),
                        cost + STEP_NS, data, False, None, len(outs), reuse), operands)

    # ----- kernels -------------------------------------------------------------------------

    cdef double _cost(self, str kernel) except -1:
        """Estimated ns per element."""
        ns = kernel_cost(kernel)
        if ns < 0:
            name = self.eqn.sig.op.name if self.eqn is not None else "a copy"
            raise self._unsupported(f"{name}: there is no kernel {kernel}")
        return ns

    cdef _Kernel _elementwise_kernel(self, Sig sig):
        """What runs it; no name for the identity, and for conversions by way of other dtypes."""
        cdef _Kernel k = _Kernel.__new__(_Kernel)
        cdef str name = sig.op.name
        main = (<Aval>sig.in_avals[1 if name == "select" else 0]).dtype
        k.dtype = sig.out.dtype
        k.shape = sig.out.shape
        k.strides = dense(k.shape, k.dtype.itemsize)
        k.size = sig.out.size
        k.nbytes = k.size * <int64_t>k.dtype.itemsize
        if name == "stop_gradient" or (name == "convert" and (
                len(route(main, k.dtype)) != 1 or (main.kind == "c" and k.dtype.kind == "b"))):
            return k
        if name == "select" and main == F16:
            k.name, k.ints = "ew:select:u16", ()
        elif name == "convert":
            k.name, k.ints = f"ew:convert:{CODE[main]}:{CODE[k.dtype]}", ()
        else:
            k.name, k.ints = f"ew:{name}:{CODE[main]}", tuple(sig.params.values())
        if sig.op.calls_scipy:
            load_special()
        k.ns = kernel_cost(k.name)
        if k.ns < 0:
            raise self._unsupported(f"{name} has no kernel for {main}")
        return k

    def _unsupported(self, got, fix="Convert the operands to another dtype."):
        src = self.eqn.src if self.eqn is not None else None
        return NotSupportedError(got, fix, format_location(*src) if src else None)

    # ----- programs within programs ---------------------------------------------------------

    def inline(self, Jaxpr jaxpr, views):
        """Emits the steps of ``jaxpr`` here."""
        cdef dict env = dict(zip(jaxpr.invars, views, strict=True))
        for e in clusters.groups(jaxpr):
            if type(e) is Eqn:
                self._lower(<Eqn>e, env)
            else:
                clusters.lower_cluster(self, e, env)
        return [env[x] if type(x) is Var else self.literal(<Lit>x) for x in jaxpr.outs]

    def lower_eqn(self, Eqn e, dict env):
        self._lower(e, env)

    cdef int _lower(self, Eqn e, dict env) except -1:
        cdef Sig sig = e.sig
        cdef View view
        cdef Aval aval
        cdef list operands = []
        self.eqn = e
        wide = widened(sig)
        if wide is not None:
            return self._lower_wide(e, wide, env)
        for x in e.inputs:
            if type(x) is Var:
                operands.append(env[x])
            elif x.aval.stacked:
                operands.append(x)
            else:
                operands.append(self.literal(<Lit>x))
        rule = sig.op.lower
        if sig.out is not None and sig.out.stacked:
            env[e.outs[0]] = self.per_entry(sig, operands)
        elif rule == "elementwise":
            env[e.outs[0]] = self._elementwise(sig, tuple(operands))
        elif rule is None:
            raise self._unsupported(f"{sig.op.name} cannot run", sig.op.why.get("lower"))
        elif sig.op.family == "structural" and len(operands) == 1:
            env[e.outs[0]] = self._moved(e, <View>operands[0], rule)
        else:
            results = rule(self, e, operands)
            for v, aval, view in zip(e.outs, sig.outs, results, strict=True):
                if view.shape != aval.shape or view.dtype != aval.dtype:
                    raise TypeError(f"lowering {sig.op.name} gave {view} for {aval}")
                env[v] = view
        return 0

    cdef View _moved(self, Eqn e, View x, rule):
        """Of an op that moves elements: the rule's view, which depends on the operand's strides alone
        where it takes no step, and is then remembered."""
        cdef Py_ssize_t before = len(self.steps)
        key = (e.sig, x.strides)
        found = self.moves.get(key)
        if found is not None:
            return make_view(x.buffer, x.offset + <int64_t>found[0], found[1], found[2], x.dtype, found[3])
        (view,) = rule(self, e, [x])
        if view.shape != e.sig.out.shape or view.dtype != e.sig.out.dtype:
            raise TypeError(f"lowering {e.sig.op.name} gave {view} for {e.sig.out}")
        if len(self.steps) == before and view.buffer is x.buffer and view.dtype is x.dtype:
            self.moves[key] = (view.offset - x.offset, view.shape, view.strides, view.contiguous)
        return view

    cdef int _lower_wide(self, Eqn e, Sig wide, dict env) except -1:
        """Float16 by way of float32: ``wide`` is the operation there."""
        cdef list inputs = []
        for x, aval in zip(e.inputs, wide.in_avals):
            if type(x) is Var and x.aval.dtype == F16:
                v = var(aval, x.index)
                env[v] = self.converted(env[x], aval.dtype)
                inputs.append(v)
            else:
                inputs.append(x if type(x) is Var else lit(x.value, aval))
        outs = tuple([var(a, v.index) for v, a in zip(e.outs, wide.outs)])
        self._lower(make_eqn(wide, tuple(inputs), outs, e), env)
        for v, computed in zip(e.outs, outs):
            env[v] = self.converted(env[computed], v.aval.dtype)
        return 0

    def _inner(self, jaxpr, carries=(), slices=()):
        if self.watch is not None:
            return lower(jaxpr, carries, slices, fused=self.fused, watch=self.watch)
        return bodies.get((jaxpr, self.fused, clusters.enabled, *carries, *slices),
                          lambda: lower(jaxpr, carries, slices, fused=self.fused))

    def scan(self, Eqn eqn, views):
        p = eqn.params
        n_consts, n_carry, length = p["n_consts"], p["n_carry"], p["length"]
        scalar = clusters.scan(self, eqn, views)
        if scalar is not None:
            return scalar
        stacks = stacks_of(eqn, self.results)
        kept = [j for j in range(n_carry, len(eqn.outs)) if all([j not in s.places for s in stacks.values()])]
        jaxpr = without(p["jaxpr"], n_carry, kept)
        body = self._inner(jaxpr, [(n_consts + k, k) for k in range(n_carry) if k not in stacks],
                           () if length is None else slices_of(jaxpr, n_consts, n_carry, stacks))
        results = [self.new(eqn.sig.outs[k]) if k in kept or k < n_carry and k not in stacks else None
                   for k in range(len(eqn.outs))]
        for k, s in stacks.items():
            s.lay(self.new(s.shape, s.dtype), results, k)
        outs = results[:n_carry] + [results[j] for j in kept]
        if not outs and not eqn.sig.effect:
            return outs
        ins = [self.contiguous(v) for v in views]
        given = ins[1:] if length is None else ins
        carry = given[n_consts:n_consts + n_carry]
        spare, scratch = spares(body, n_consts, carry, body.frame_bytes, stacks)
        make_room(body.over, ins, stacks)
        over = [*body.over, *over_starts(spare, n_consts, length)]
        ints = [n_consts, n_carry, len(given) - n_consts - n_carry, len(outs) - n_carry,
                -1 if length is None else length, bool(p["reverse"]), *spare, *[v.nbytes for v in carry],
                *[a.nbytes for a in body.in_avals[n_consts + n_carry:]],
                *[a.nbytes for a in body.out_avals[n_carry:]]]
        cost = UNKNOWN_NS if length is None else length * body.cost
        self._control("scan", outs, ins, ints, cost, [body], scratch, over_operands(over, ins, len(outs)))
        return results

    def per_entry(self, Sig sig, list operands):
        """An elementwise operation on stacks of one length, or literals: on each of their entries."""
        entries = [make_aval((<Aval>a).shape[1:], a.dtype) for a in sig.in_avals]
        params = dict(sig.params)
        if sig.op.name == "broadcast_in_dim":
            params.update(shape=params["shape"][1:], dims=tuple([d - 1 for d in params["dims"][1:]]))
        inner = signature(sig.op, tuple(entries), params)
        xs = [var(a, i) for i, a in enumerate(entries)]
        out = var(inner.out, len(xs))
        atoms = tuple([lit(x.value, a) if type(x) is Lit else v for x, v, a in zip(operands, xs, entries)])
        kept = [v for v in atoms if type(v) is Var]
        body = self._inner(Jaxpr(kept, (make_eqn(inner, atoms, (out,), self.eqn),), (out,)))
        result = self.new(sig.out)
        self._control("scan", [result], [x for x in operands if type(x) is not Lit],
                      [0, 0, len(kept), 1, -2, 0, *[v.aval.nbytes for v in kept], inner.out.nbytes],
                      UNKNOWN_NS, [body], body.frame_bytes)
        return result

    def while_loop(self, Eqn eqn, views):
        p = eqn.params
        n_cond, n_body = p["n_cond"], p["n_body"]
        n_carry = len(views) - n_cond - n_body
        scalar = clusters.while_loop(self, eqn, views)
        if scalar is not None:
            return scalar
        cond = self._inner(p["cond"])
        body = self._inner(p["body"], [(n_body + k, k) for k in range(n_carry)])
        outs = [self.new(a) for a in eqn.sig.outs]
        ins = [self.contiguous(v) for v in views]
        carry = ins[n_cond + n_body:]
        test_at = round_up(body.frame_bytes)
        spare, scratch = spares(body, n_body, carry, test_at + cond.frame_bytes)
        over = over_operands(over_starts(spare, n_cond + n_body, 1), ins, len(outs))
        ints = [n_cond, n_body, n_carry, test_at, len(outs) - n_carry, *spare, *[v.nbytes for v in carry],
                *[a.nbytes for a in body.out_avals[n_carry:]]]
        if outs or eqn.sig.effect:
            self._control("while", outs, ins, ints, UNKNOWN_NS, [body, cond], scratch, over)
        return outs

    def cond(self, Eqn eqn, views):
        branches = [self._inner(b) for b in eqn.params["branches"]]
        outs = [self.new(a) for a in eqn.sig.outs]
        if outs or eqn.sig.effect:
            sizes = [len(outs), len(views) - 1, len(branches)]
            self._control("cond", outs, [self.contiguous(v) for v in views], sizes,
                          max([b.cost for b in branches]), branches, max([b.frame_bytes for b in branches]))
        return outs
