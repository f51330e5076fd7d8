"""Lowering: a jaxpr becomes a flat list of steps over buffers.

The equations are interpreted in order; each op's ``lower`` rule gets the views of its operands and
gives the views of its results, emitting steps through the context on the way. Where the buffers
lie is decided when all steps are known (``buffers.place``): no rule asks what will be an output.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import NotSupportedError, format_location
from ..ir.core import Aval, Eqn, Jaxpr, Lit, Sig, Var, lit, var
from ..ir.core import eqn as make_eqn
from ..ir.op import CODE
from ..kernels.lib import load_lapack
from . import clusters
from .buffers import place, round_up
from .cache import ProgramCache
from .dtypes import F16, route, widened
from .fuse import FUSE_FROM, fuse
from .recompute import recompute, traffic
from .run import Program, Step, kernel_cost
from .view import ARENA, CONSTS, FIRST_INPUT, OUTSIDE, Buffer, Shape, View, collapse, dense, size_of

PYTHON_NS = 2_000.0       # a call into Python, for the decision whether to keep the GIL
UNKNOWN_NS = 1e9          # a loop of unknown length
STEP_NS = 3.0             # dispatch of a step
_MOVED = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "c128"}      # dtype of a plain copy, by item size

WORTH = 0.99              # of the traffic: what must be left where values are computed again

FUSE = os.environ.get("FUNCTRANS_FUSE", "1") != "0"

# Programs of loop bodies and branches, which an unrolled Python loop may name many times.
bodies = ProgramCache(1024, 64 << 20)


def lower(jaxpr: Jaxpr, carries: Sequence[tuple[int, int]] = (), *,
          fused: bool | None = None, watch: Any = None) -> Program:
    """The program of ``jaxpr``.

    ``carries`` pairs inputs with outputs for the body of a loop. Where the program has read such
    an input for the last time before it writes the output, both may lie in the same memory: then
    the input is listed in ``Program.shared``, and a large carry is updated in place. ``fused``
    (unless FUNCTRANS_FUSE=0) makes block groups; without, each equation is a step of its own.
    ``watch`` is told of this program and of all inside (see ``describe.Watch``).
    """
    fused = FUSE if fused is None else fused
    ctx, inputs, outputs = _emitted(jaxpr, fused, watch)
    if fused and (other := recompute(jaxpr)) is not jaxpr:
        again = _emitted(other, fused, watch)
        if traffic(again[0].steps) < WORTH * traffic(ctx.steps):
            jaxpr, (ctx, inputs, outputs) = other, again
    arena, shared = place(ctx.steps, FIRST_INPUT + len(inputs), [(inputs[i], outputs[o]) for i, o in carries])
    program = Program(ctx.steps if watch is None else watch.steps(ctx.steps), jaxpr.in_avals,
                      jaxpr.out_avals, bytes(ctx.blob), arena,
                      tuple([i for (i, _), yes in zip(carries, shared, strict=True) if yes]),
                      tuple(ctx.references))
    if watch is not None:
        watch.made(program, jaxpr, ctx.steps, outputs)
    return program


def _emitted(jaxpr: Jaxpr, fused: bool, watch: Any) -> tuple[Context, list[Buffer], list[Buffer]]:
    """The steps of a program, in a context, and the buffers of its inputs and outputs."""
    ctx = Context(fused)
    ctx.watch = watch
    inputs = [Buffer(a.nbytes, FIRST_INPUT + i) for i, a in enumerate(jaxpr.in_avals)]
    results = ctx.inline(jaxpr, [_whole(b, a.shape, a.dtype)
                                 for b, a in zip(inputs, jaxpr.in_avals, strict=True)])
    ctx._eqn = None
    first_output = FIRST_INPUT + len(inputs)
    outputs = []
    for slot, view in enumerate(results, first_output):
        buffer = view.buffer
        if view.whole and buffer.slot == ARENA and buffer.first >= 0:
            buffer.slot = slot             # computed here and not yet another output: no copy
        else:
            buffer = Buffer(view.nbytes, slot)
            ctx.copy(_whole(buffer, view.shape, view.dtype), view)
        outputs.append(buffer)
    if ctx.large:
        ctx.steps = fuse(ctx.steps)
    return ctx, inputs, outputs


def _whole(buffer: Buffer, shape: Shape, dtype: np.dtype) -> View:
    return View(buffer, 0, shape, dense(shape, dtype.itemsize), dtype, True)


class Context:
    """What lower rules may do: make buffers, emit steps, lower other jaxprs."""

    def __init__(self, fused: bool) -> None:
        self.fused = fused
        self.watch: Any = None
        self.large = False                              # whether there is anything worth fusing
        self.steps: list[Step] = []
        self.blob = bytearray()                         # all constants, one after the other
        self.references: list[np.ndarray] = []          # arrays of others that the steps read
        self._consts: dict[Any, View] = {}
        self._literals: dict[Lit, View] = {}
        self._kernels: dict[Sig, tuple[str | None, float, Shape]] = {}
        self._eqn: Eqn | None = None                    # the one being lowered, for errors

    # ----- values --------------------------------------------------------------------------

    def new(self, like: Aval | Shape, dtype: np.dtype | None = None) -> View:
        """A fresh contiguous buffer; what it holds is undefined until a step writes it."""
        if isinstance(like, Aval):
            shape, dtype = like.shape, like.dtype
        else:
            shape, dtype = tuple(like), np.dtype(dtype)
        return _whole(Buffer(size_of(shape) * dtype.itemsize), shape, dtype)

    def const(self, value: Any) -> View:
        """A NumPy scalar or a small array, kept with the program."""
        array = np.asarray(value)
        array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        key = (array.dtype, array.shape, array.tobytes())
        view = self._consts.get(key)
        if view is None:
            align = 64 if array.nbytes > 16 else 16
            self.blob.extend(bytes(-len(self.blob) % align))
            view = _whole(Buffer(array.nbytes, CONSTS, len(self.blob)), array.shape, array.dtype)
            self.blob.extend(key[2])
            self._consts[key] = view
        return view

    def reference(self, array: np.ndarray) -> View:
        """An array that every run reads where it is, so that changes to it are seen."""
        if not (array.flags.aligned and array.dtype.isnative):
            return self.const(array)
        self.references.append(array)
        buffer = Buffer(array.nbytes, OUTSIDE, array.__array_interface__["data"][0])
        return View(buffer, 0, array.shape, array.strides, array.dtype, array.flags.c_contiguous)

    def literal(self, x: Lit) -> View:
        view = self._literals.get(x)
        if view is None:
            view = self.const(x.value).broadcast(x.aval.shape, ())
            self._literals[x] = view
        return view

    def load_lapack(self) -> None:
        """For steps whose kernels call LAPACK: finds it."""
        load_lapack()

    def contiguous(self, view: View) -> View:
        if view.contiguous:
            return view
        dense_view = self.new(view.shape, view.dtype)
        self.copy(dense_view, view)
        return dense_view

    # ----- steps ---------------------------------------------------------------------------

    def step(self, kernel: str, operands: Sequence[View], shape: Shape,
             strides: Sequence[Shape] | None = None, ints: Shape = (), cost: float | None = None,
             *, fusable: tuple | None = None, partly: int = -1, nouts: int = 1) -> None:
        """Runs a kernel; ``operands`` are outputs first. Nothing to write, nothing emitted.

        Of operand ``partly`` it touches no more than of the other of the first two.
        """
        if operands[0].size == 0:
            return
        ns = self._cost(kernel)
        if cost is None:
            cost = ns * size_of(shape)
        if strides is None:
            strides = [v.strides for v in operands]
        self._emit(Step(kernel, [v.buffer for v in operands], [v.offset for v in operands],
                        tuple(shape), tuple(strides), tuple(ints), cost + STEP_NS, None, False,
                        fusable, nouts), operands, partly)

    def _emit(self, step: Step, views: Sequence[View], partly: int = -1) -> None:
        step.views, step.origin, step.partly = views, self._eqn, partly
        number = len(self.steps)
        for buffer in step.buffers:
            if buffer.first < 0:
                buffer.first = number
            buffer.last = number
        self.steps.append(step)

    def copy(self, dst: View, src: View) -> None:
        """Copies elements; both views have one shape, and dtypes of one size."""
        if dst.size == 0:
            return
        size = dst.dtype.itemsize
        kernel = f"copy:{size}"
        self._loop(kernel, self._cost(kernel), dst, (src,), (),
                   f"ew:stop_gradient:{_MOVED[size]}" if dst.whole else None)

    def fill(self, dst: View, value: View) -> None:
        self.copy(dst, value.broadcast(dst.shape, ()))

    def elementwise(self, eqn: Eqn, views: Sequence[View]) -> list[View]:
        sig = eqn.sig
        found = self._kernels.get(sig)
        if found is None:
            found = self._kernels[sig] = self._elementwise_kernel(sig)
        kernel, ns, ints = found
        if kernel is None:
            return [self.converted(views[0], sig.out.dtype)]
        aval = sig.out
        dtype = aval.dtype
        out = View(Buffer(aval.size * dtype.itemsize), 0, aval.shape,
                   dense(aval.shape, dtype.itemsize), dtype, True)
        if aval.size:
            self._loop(kernel, ns, out, views, ints, kernel)
        return [out]

    def converted(self, view: View, dtype: np.dtype) -> View:
        """The view's elements as ``dtype``; steps only where there is something to do."""
        if view.dtype.kind == "c" and dtype.kind == "b":
            zero = self.const(view.dtype.type(0)).broadcast(view.shape, ())
            return self.computed(f"ew:ne:{CODE[view.dtype]}", dtype, (view, zero))
        for d in route(view.dtype, dtype):
            view = self.computed(f"ew:convert:{CODE[view.dtype]}:{CODE[d]}", d, (view,))
        return view

    def computed(self, kernel: str, dtype: np.dtype, views: tuple[View, ...],
                 out: View | None = None) -> View:
        """What an elementwise kernel makes of views of one shape."""
        if out is None:
            out = self.new(views[0].shape, dtype)
        if out.size:
            self._loop(kernel, self._cost(kernel), out, views, (), kernel if out.whole else None)
        return out

    def reduce(self, kernel: str, aval: Aval, x: View, axes: Shape) -> View:
        """A step that reduces ``x`` over ``axes``."""
        out = self.new(aval)
        moved = x.transpose((*[i for i in range(len(x.shape)) if i not in axes], *axes))
        self.step(kernel, [out, moved], moved.shape,
                  strides=[out.strides + (0,) * len(axes), moved.strides],
                  ints=(len(x.shape) - len(axes),),
                  fusable=(kernel, self._cost(kernel), (), out, (x,), axes))
        return out

    def _loop(self, kernel: str, ns: float, out: View, views: Sequence[View], ints: Shape,
              loop: str | None = None) -> None:
        """A step that goes over all elements of equally shaped views; ``loop`` is the elementwise
        kernel that a group would use."""
        operands = (out, *views)
        size = size_of(out.shape)
        if size >= FUSE_FROM and self.fused:
            self.large = True
        shape: Shape = (size,)
        walks: list[Shape] = []
        for v in operands:
            if v.contiguous:
                walks.append((v.dtype.itemsize,))
            elif any(v.strides):
                shape, general = collapse(out.shape, tuple([w.strides for w in operands]))
                walks = list(general)
                break
            else:
                walks.append((0,))
        self._emit(Step(kernel, [v.buffer for v in operands], [v.offset for v in operands],
                        shape, tuple(walks), ints, ns * size + STEP_NS, None, True,
                        (loop, ns, ints, out, views, None) if loop is not None else None), operands)

    def python(self, function: Callable[..., Any], eqn: Eqn, views: Sequence[View]) -> list[View]:
        """Calls ``function`` on arrays of its own; it returns an array, or a list of several."""
        outs = [self.new(a) for a in eqn.sig.outs]
        ins = [self.contiguous(v) for v in views]
        self._control("python", outs, ins, (len(outs),), PYTHON_NS,
                      (function, eqn.sig.outs, eqn.sig.in_avals, eqn.sig.multiple))
        return outs

    def _control(self, kernel: str, outs: list[View], ins: list[View], ints: Sequence[int],
                 cost: float, data: Any, scratch: int = 0) -> None:
        operands = [*outs, *ins]
        buffers = [v.buffer for v in operands]
        offsets = [v.offset for v in operands]
        if scratch:
            buffers.append(Buffer(scratch))
            offsets.append(0)
        self._emit(Step(kernel, buffers, offsets, (), ((),) * len(buffers), tuple(ints),
                        cost + STEP_NS, data, False, None, len(outs)), operands)

    # ----- kernels -------------------------------------------------------------------------

    def _cost(self, kernel: str) -> float:
        """Estimated ns per element."""
        ns = kernel_cost(kernel)
        if ns < 0:
            name = self._eqn.sig.op.name if self._eqn is not None else "a copy"
            raise self._unsupported(f"{name}: there is no kernel {kernel}")
        return ns

    def _elementwise_kernel(self, sig: Sig) -> tuple[str | None, float, Shape]:
        """Name, ns per element, integer parameters; no name for the identity, and for conversions by
        way of other dtypes."""
        name = sig.op.name
        main = sig.in_avals[1 if name == "select" else 0].dtype
        out = sig.out.dtype
        if name == "stop_gradient" or (name == "convert" and (
                len(route(main, out)) != 1 or (main.kind == "c" and out.kind == "b"))):
            return None, 0.0, ()
        if name == "select" and main == F16:
            kernel, ints = "ew:select:u16", ()
        elif name == "convert":
            kernel, ints = f"ew:convert:{CODE[main]}:{CODE[out]}", ()
        else:
            kernel, ints = f"ew:{name}:{CODE[main]}", tuple(sig.params.values())
        ns = kernel_cost(kernel)
        if ns < 0:
            raise self._unsupported(f"{name} has no kernel for {main}")
        return kernel, ns, ints

    def _unsupported(self, got: str,
                     fix: str | None = "Convert the operands to another dtype.") -> Exception:
        src = self._eqn.src if self._eqn is not None else None
        return NotSupportedError(got, fix, format_location(*src) if src else None)

    # ----- programs within programs ---------------------------------------------------------

    def inline(self, jaxpr: Jaxpr, views: Sequence[View]) -> list[View]:
        """Emits the steps of ``jaxpr`` here."""
        env: dict[Var, View] = dict(zip(jaxpr.invars, views, strict=True))
        for e in clusters.groups(jaxpr):
            if type(e) is clusters.Cluster:
                clusters.lower_cluster(self, e, env)
            else:
                self.lower_eqn(e, env)
        return [env[x] if type(x) is Var else self.literal(x) for x in jaxpr.outs]

    def lower_eqn(self, e: Eqn, env: dict[Var, View]) -> None:
        sig = e.sig
        self._eqn = e
        wide = widened(sig)
        if wide is not None:
            self._lower_wide(e, wide, env)
            return
        operands = [env[x] if type(x) is Var else self.literal(x) for x in e.inputs]
        rule = sig.op.lower
        if rule == "elementwise":
            env[e.outs[0]] = self.elementwise(e, operands)[0]
        elif rule is None:
            raise self._unsupported(f"{sig.op.name} cannot run", sig.op.why.get("lower"))
        else:
            results = rule(self, e, operands)
            for v, aval, view in zip(e.outs, sig.outs, results, strict=True):
                if view.shape != aval.shape or view.dtype != aval.dtype:
                    raise TypeError(f"lowering {sig.op.name} gave {view} for {aval}")
                env[v] = view

    def _lower_wide(self, e: Eqn, wide: Sig, env: dict[Var, View]) -> None:
        """Float16 by way of float32: ``wide`` is the operation there."""
        inputs = []
        for x, aval in zip(e.inputs, wide.in_avals, strict=True):
            if type(x) is Var and x.aval.dtype == F16:
                v = var(aval, x.index)
                env[v] = self.converted(env[x], aval.dtype)
                inputs.append(v)
            else:
                inputs.append(x if type(x) is Var else lit(x.value, aval))
        outs = tuple([var(a, v.index) for v, a in zip(e.outs, wide.outs, strict=True)])
        self.lower_eqn(make_eqn(wide, tuple(inputs), outs, e), env)
        for v, computed in zip(e.outs, outs, strict=True):
            env[v] = self.converted(env[computed], v.aval.dtype)

    def _inner(self, jaxpr: Jaxpr, carries: Sequence[tuple[int, int]] = ()) -> Program:
        if self.watch is not None:
            return lower(jaxpr, carries, fused=self.fused, watch=self.watch)
        return bodies.get((jaxpr, self.fused, clusters.enabled, *carries),
                          lambda: lower(jaxpr, carries, fused=self.fused))

    def scan(self, eqn: Eqn, views: Sequence[View]) -> list[View]:
        scalar = clusters.scan(self, eqn, views)
        if scalar is not None:
            return scalar
        p = eqn.params
        n_consts, n_carry, length = p["n_consts"], p["n_carry"], p["length"]
        body = self._inner(p["jaxpr"], [(n_consts + k, k) for k in range(n_carry)])
        outs = [self.new(a) for a in eqn.sig.outs]
        if not outs:
            return outs
        ins = [self.contiguous(v) for v in views]
        carry = ins[n_consts:n_consts + n_carry]
        spare, scratch = _spares(body, n_consts, carry, body.frame_bytes)
        ints = [n_consts, n_carry, len(ins) - n_consts - n_carry, len(outs) - n_carry,
                length, bool(p["reverse"]), *spare, *[v.nbytes for v in carry],
                *[a.nbytes for a in body.in_avals[n_consts + n_carry:]],
                *[a.nbytes for a in body.out_avals[n_carry:]]]
        self._control("scan", outs, ins, ints, length * body.cost, [body], scratch)
        return outs

    def while_loop(self, eqn: Eqn, views: Sequence[View]) -> list[View]:
        scalar = clusters.while_loop(self, eqn, views, UNKNOWN_NS)
        if scalar is not None:
            return scalar
        p = eqn.params
        n_cond, n_body = p["n_cond"], p["n_body"]
        n_carry = len(views) - n_cond - n_body
        cond = self._inner(p["cond"])
        body = self._inner(p["body"], [(n_body + k, k) for k in range(n_carry)])
        outs = [self.new(a) for a in eqn.sig.outs]
        ins = [self.contiguous(v) for v in views]
        carry = ins[n_cond + n_body:]
        test_at = round_up(body.frame_bytes)
        spare, scratch = _spares(body, n_body, carry, test_at + cond.frame_bytes)
        ints = [n_cond, n_body, n_carry, test_at, *spare, *[v.nbytes for v in carry]]
        if outs:
            self._control("while", outs, ins, ints, UNKNOWN_NS, [body, cond], scratch)
        return outs

    def cond(self, eqn: Eqn, views: Sequence[View]) -> list[View]:
        branches = [self._inner(b) for b in eqn.params["branches"]]
        outs = [self.new(a) for a in eqn.sig.outs]
        if outs:
            self._control("cond", outs, [self.contiguous(v) for v in views],
                          [len(outs), len(views) - 1, len(branches)],
                          max([b.cost for b in branches]), branches,
                          max([b.frame_bytes for b in branches]))
        return outs


def _spares(body: Program, first: int, carry: list[View], end: int) -> tuple[list[int], int]:
    """Where in a loop's scratch each carry's second buffer lies (-1: updated in place)."""
    spare = []
    for k, view in enumerate(carry):
        if first + k in body.shared:
            spare.append(-1)
        else:
            end = round_up(end)
            spare.append(end)
            end += view.nbytes
    return spare, end
