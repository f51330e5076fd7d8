"""Loops over many equal small problems, as a batched scan over a small state.

Where every value of a scan's body has one axis of the same extent, and no equation mixes its elements, the
body is a program of tiny arrays that runs in as many *lanes*. Such a program is found by taking the axis
out (``alone``); it becomes registers as a scalar loop does (``clusters.scan``), each of them a block of
lanes, and its instructions the loops of elementwise steps (``kernels/lanes.c``). So slicing and stacking
the state costs nothing, the state stays in cache, and blocks go to threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..ir.core import Aval, Eqn, Jaxpr, Sig, Var, aval, eqn, lit, signature, var
from ..ir.op import DTYPE, OPS
from ..kernels.lib import scalar_labels
from .run import kernel_address
from .scalar_ops import CALLS, FLOATS, REDUCTIONS, RUNNING

FEW = 16                    # lanes, from which on this is tried
REGISTER_BYTES = 24 << 10   # of a block: the first cache's, with room for what is loaded and stored
WAVE_BYTES = 8 << 20        # registers of the blocks that take turns at once
WAVE_NS = 4e6               # work between two looks at interrupts
MOST_POINTERS = 256         # FT_LANE_POINTERS
CALL_NS, LANE_NS = 10.0, 0.1       # of an instruction, and of a lane of it
STEP_NS, ELEMENT_NS = 11.0, 0.25    # the same of steps, which move their operands through memory


class Unfit(Exception):
    """The program has no such axis."""


# ----- the program of one lane ---------------------------------------------------------------------


def extents(avals: Sequence[Aval]) -> list[int]:
    """Numbers of lanes that these types, those of a loop's carry, allow for."""
    found = [{n for n in a.shape if n >= FEW} for a in avals]
    large = [f for f in found if f]
    return sorted(set.intersection(*large), reverse=True) if large else []


def axis_of(a: Aval, n: int) -> int | None:
    """The axis of the lanes; None where a value is shared by all of them."""
    places = [i for i, m in enumerate(a.shape) if m == n]
    if len(places) > 1:
        raise Unfit
    return places[0] if places else None


def one(a: Aval, n: int) -> Aval:
    """The type of a value in one lane."""
    d = axis_of(a, n)
    return a.strong if d is None else aval(_without(a.shape, d), a.dtype)


def alone(jaxpr: Jaxpr, n: int) -> Jaxpr | None:
    """The program that each of ``n`` lanes runs, or None."""
    try:
        return _alone(jaxpr, n)
    except Unfit:
        return None


@lru_cache(256)
def _alone(jaxpr: Jaxpr, n: int) -> Jaxpr:
    new: dict[Var, Var] = {}

    def fresh(v: Var) -> Var:
        new[v] = var(one(v.aval, n), len(new))
        return new[v]

    def now(x: Any) -> Any:
        return new[x] if type(x) is Var else lit(x.value, one(x.aval, n))

    invars = [fresh(v) for v in jaxpr.invars]
    eqns: list[Eqn] = []
    for e in jaxpr.eqns:
        sig = _sig_alone(e.sig, n)
        inputs = tuple([now(x) for x in e.inputs])
        eqns.append(eqn(sig, inputs, tuple([fresh(v) for v in e.outs]), e))
        if [v.aval for v in eqns[-1].outs] != [a.strong for a in sig.outs]:
            raise Unfit
    return Jaxpr(invars, eqns, [now(x) for x in jaxpr.outs])


@lru_cache(4096)
def _sig_alone(sig: Sig, n: int) -> Sig:
    ins = [axis_of(a, n) for a in sig.in_avals]
    outs = [axis_of(a, n) for a in sig.outs]
    if all(d is None for d in ins + outs):
        return sig
    if sig.op.lower == "elementwise":
        params: dict[str, Any] | None = sig.params
    elif sig.op.name in CALLS:
        params = {**sig.params, "jaxpr": _alone(sig.params["jaxpr"], n)}
    else:
        rule = _PARAMS.get(sig.op.name)
        params = rule(sig, ins, outs) if rule is not None else None
    if params is None:
        raise Unfit
    return signature(sig.op, tuple([one(a, n) for a in sig.in_avals]), params)


def _without(t: Sequence[Any], d: int) -> tuple[Any, ...]:
    return (*t[:d], *t[d + 1:])


def _moved(axes: Sequence[int], d: int) -> tuple[int, ...] | None:
    """Numbers of axes after axis d has gone, which must not be among them."""
    return None if d in axes else tuple([i - (i > d) for i in axes])


# Per op its parameters in one lane, or None: ``(sig, axes of the operands, of the results)``.


def _reshape(sig, ins, outs):
    (d,), (o,) = ins, outs
    before, after = sig.in_avals[0].shape, sig.out.shape
    if d is None or o is None or math.prod(before[:d]) != math.prod(after[:o]):
        return None
    return {"shape": _without(after, o)}


def _transpose(sig, ins, outs):
    (d,), perm = ins, sig.params["perm"]
    return {"perm": tuple([p - (p > d) for p in perm if p != d])}


def _broadcast(sig, ins, outs):
    (d,), (o,), dims = ins, outs, sig.params["dims"]
    if o is None or (d is not None and dims[d] != o):
        return None
    kept = dims if d is None else _without(dims, d)
    moved = _moved(kept, o)
    return None if moved is None else {"shape": _without(sig.params["shape"], o), "dims": moved}


def _slice(sig, ins, outs):
    (d,), (o,), p = ins, outs, sig.params
    if d is None or o != d:
        return None
    return {k: _without(p[k], d) for k in ("start", "limit", "stride")}


def _pad(sig, ins, outs):
    d, (o,), p = ins[0], outs, sig.params
    if d is None or o != d or p["low"][d] or p["high"][d] or p["interior"][d]:
        return None
    return {k: _without(p[k], d) for k in ("low", "high", "interior")}


def _concatenate(sig, ins, outs):
    (o,), axis = outs, sig.params["axis"]
    if o is None or axis == o or any(d != o for d in ins):
        return None
    return {"axis": axis - (axis > o)}


def _over_axes(sig, ins, outs):
    moved = None if ins[0] is None else _moved(sig.params["axes"], ins[0])
    return None if moved is None else {"axes": moved}


def _along_axis(sig, ins, outs):
    moved = None if ins[0] is None else _moved((sig.params["axis"],), ins[0])
    return None if moved is None else {**sig.params, "axis": moved[0]}


def _dot(sig, ins, outs):
    (a, b), (batch_a, batch_b) = ins, sig.params["batch"]
    if (a in batch_a) != (b in batch_b) or (a is not None and b is not None and a not in batch_a):
        return None
    contract = [c if d is None else _moved(c, d) for c, d in zip(sig.params["contract"], ins, strict=True)]
    batch = [c if d is None else tuple([i - (i > d) for i in c if i != d])
             for c, d in zip((batch_a, batch_b), ins, strict=True)]
    return None if None in contract else {"contract": tuple(contract), "batch": tuple(batch)}


_PARAMS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "reshape": _reshape, "transpose": _transpose, "broadcast_in_dim": _broadcast, "slice": _slice,
    "pad": _pad, "concatenate": _concatenate, "rev": _over_axes, "argmax": _along_axis, "argmin": _along_axis,
    "dot_general": _dot, **dict.fromkeys(REDUCTIONS, _over_axes), **dict.fromkeys(RUNNING, _along_axis)}


# ----- whether it pays, and how it is cut -------------------------------------------------------------


def steps_ns(jaxpr: Jaxpr) -> float:
    """Estimated ns of one turn in steps."""
    return sum([STEP_NS + ELEMENT_NS * e.outs[0].aval.size for e in jaxpr.eqns if e.outs])


class Cut:
    """How a loop of ``registers`` and ``count`` instructions a turn goes through its lanes.

    Attributes:
      block, blocks: lanes of a block, and how many there are; wave: blocks that take turns at once.
      turn_ns: of all lanes, on one thread; look: turns between two looks at interrupts.
    """

    def __init__(self, lanes: int, registers: int, count: int, scalar_ns: float):
        each = 8 * max(registers, 1)
        # registers fit the first cache; even few lanes make some blocks, for threads
        self.block = max(32, min(REGISTER_BYTES // each // 16 * 16, (lanes + 63) // 64 * 16, 512))
        self.blocks = -(-lanes // self.block)
        self.wave = max(1, min(self.blocks, WAVE_BYTES // (each * self.block)))
        self.turn_ns = CALL_NS * count * self.blocks + LANE_NS * scalar_ns * lanes
        self.look = max(1, int(WAVE_NS * self.blocks / (self.turn_ns * self.wave)))
        self.scratch = self.wave * self.block * each


# ----- instructions ------------------------------------------------------------------------------------

# ft_lane_ins
INSTRUCTION = np.dtype({
    "names": ["loop", "kind", "inputs", "size", "power", "d", "a", "bc"],
    "formats": ["<i8", "u1", "u1", "4u1", "<u2", "<u2", "<u2", "<u4"],
    "offsets": [0, 8, 9, 10, 14, 16, 18, 20], "itemsize": 24})
SCALAR = np.dtype([("op", "<i8"), ("d", "<u2"), ("a", "<u2"), ("bc", "<u4")])
END, OP, LOAD, STORE, TURN = range(5)

# Operations that join two, by the loops of block groups; mad is rounded twice here.
_JOINED = {"muladd": "mul.add", "mulsub": "mul.sub", "submul": "mul.sub'", "mul3": "mul.mul",
           "zmuladd": "zmul.add", "zmulsub": "zmul.sub", "zsubmul": "zmul.sub'", "zmul3": "zmul.mul",
           "add3": "add.add", "mad": "mul.add"}


@lru_cache(4096)
def _instruction(name: str) -> tuple[int, int, int, tuple[int, ...], bool]:
    """``(loop, kind, inputs, bytes of an element of the result and of the inputs, has an exponent)``."""
    base, _, code = name.partition(":")
    if base in ("ret", "turn"):
        return 0, END if base == "ret" else TURN, 0, (0, 0, 0, 0), False
    if base in ("load", "store", "move"):
        code = {"4": "u32", "8": "u64"}.get(code, code)
        size = DTYPE[code].itemsize
        kind = {"load": LOAD, "store": STORE, "move": OP}[base]
        return kernel_address(f"ew:stop_gradient:{code}"), kind, 1, (size, size, 0, 0), False
    if base in _JOINED:
        if code not in FLOATS:
            raise Unfit
        return kernel_address(f"ew:{_JOINED[base]}:{code}"), OP, 3, (DTYPE[code].itemsize,) * 4, False
    if base == "convert":
        source, _, target = code.partition(":")
        sizes = (DTYPE[target].itemsize, DTYPE[source].itemsize, 0, 0)
        return kernel_address(f"ew:{name}"), OP, 1, sizes, False
    op = OPS[base]
    arity = op.arity or 0
    codes = ["b1" if base == "select" and i == 0 else code for i in range(arity)]
    sig = signature(op, tuple([aval((), DTYPE[c]) for c in codes]), {"y": 2} if op.param_names else {})
    sizes = (sig.out.dtype.itemsize, *[DTYPE[c].itemsize for c in codes])
    return (kernel_address(f"ew:{name}"), OP, arity, (*sizes, *[0] * (4 - len(sizes))),
            bool(op.param_names))


@lru_cache(1)
def _names() -> list[str]:
    """Operations of the interpreter by number."""
    return list(scalar_labels())


def assembled(packed: bytes, constants: int) -> bytes:
    """The constants and instructions of a scalar loop (with numbers for labels) as those of lanes."""
    names = _names()
    code = np.frombuffer(packed, SCALAR, offset=8 * constants)
    out = np.zeros(len(code), INSTRUCTION)
    for i, ins in enumerate(code):
        op = int(ins["op"])
        name = names[op] if op >= 0 else names[-1 - op].replace("store", "move")
        loop, kind, inputs, size, power = _instruction(name)
        out[i] = loop, kind, inputs, size, power, ins["d"], ins["a"], ins["bc"]
    return packed[:8 * constants] + out.tobytes()


__all__ = ["MOST_POINTERS", "Cut", "Unfit", "alone", "assembled", "axis_of", "extents", "steps_ns"]
