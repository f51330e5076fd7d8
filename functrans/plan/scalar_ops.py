"""Scalar programs: the ops that work on whole arrays, element by element.

Orders of sums are those of the kernels on dense operands (``reduce.c``, ``matmul_body.h``), so that
an array gets the same bits whether it is computed here or by steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.core import Sig
from ..ir.op import CODE, fill_value

if TYPE_CHECKING:
    from .scalar import Elements

LANE_BYTES = 128            # FT_LANE_BYTES
FLOATS = ("f32", "f64")

Values = list[int]

CALLS = ("call", "remat", "custom_jvp_call", "custom_vjp_call")
REDUCTIONS = {"reduce_sum": "add", "reduce_prod": "mul", "reduce_max": "max", "reduce_min": "min",
              "reduce_and": "and", "reduce_or": "or", "reduce_xor": "xor"}
RUNNING = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}


# ----- ops on whole arrays ------------------------------------------------------------------------


@lru_cache(4096)
def movement(sig: Sig) -> list[int]:
    """Which of the operands' elements, counted through, each element of the result is."""
    at, numbered = 0, []
    for a in sig.in_avals:
        numbered.append(np.arange(at, at + a.size).reshape(a.shape))
        at += a.size
    if sig.op.name == "pad":
        if not sig.out.shape:
            return [0]
        numbered[1] = numbered[1][()]
    return sig.op.reference(*numbered, **sig.params).ravel().tolist()


def _pairwise(items: Sequence[Any], join: Callable[[Any, Any], Any]) -> Any:
    """As a binary counter does it: the tree of ``reduce.c``."""
    stack: list[Any] = []
    for count, item in enumerate(items):
        while count & 1:
            item = join(stack.pop(), item)
            count >>= 1
        stack.append(item)
    item = stack.pop()
    while stack:
        item = join(stack.pop(), item)
    return item


def _line(items: Values, lanes: int, join: Callable[[int, int], int]) -> int:
    """Adjacent elements: each in its lane, then the lanes by halves."""
    n = len(items)
    width = lanes if n >= lanes else 1
    lane = list(items[:width])
    for i in range(width, n):
        lane[i % width] = join(lane[i % width], items[i])
    while width > 1:
        width //= 2
        for j in range(width):
            lane[j] = join(lane[j], lane[j + width])
    return lane[0]


@lru_cache(4096)
def _reduction(sig: Sig) -> tuple[list[list[list[int]]], bool]:
    """Per element of the result its lines, and whether the lines are adjacent elements."""
    aval, axes = sig.in_avals[0], sig.params["axes"]
    long = [d for d, n in enumerate(aval.shape) if n != 1]
    reduced = [d for d in axes if aval.shape[d] != 1]
    last = reduced[-1:]
    order = ([d for d in range(aval.ndim) if d not in axes]
             + [d for d in axes if d not in last] + last)
    length = aval.shape[last[0]] if last else 1
    moved = np.arange(aval.size).reshape(aval.shape).transpose(order)
    lines = moved.reshape(sig.out.size, -1, length).tolist()
    return lines, not reduced or long[-1] in reduced


def _reduce(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    (x,) = operands
    code = CODE[sig.out.dtype]
    lines, adjacent = _reduction(sig)
    lanes = LANE_BYTES // sig.out.dtype.itemsize if adjacent else 2**62
    join = _join(b, REDUCTIONS[sig.op.name], code)
    return [[_pairwise([_line([x[i] for i in line], lanes, join) for line in part], join)
             for part in lines]]


def _join(b: Elements, name: str, code: str) -> Callable[[int, int], int]:
    return lambda x, y: b.emit(name, code, (x, y), code)


def _cumulate(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    (x,), axis = operands, sig.params["axis"]
    aval = sig.out
    join = _join(b, RUNNING[sig.op.name], CODE[aval.dtype])
    out = list(x)
    lines = np.moveaxis(np.arange(aval.size).reshape(aval.shape), axis, -1)
    for line in lines.reshape(-1, aval.shape[axis]).tolist():
        if sig.params["reverse"]:
            line.reverse()
        for before, i in pairwise(line):
            out[i] = join(out[before], x[i])
    return [out]


def _position(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    """argmax and argmin: the first extremum, nan counting as one."""
    (x,), axis = operands, sig.params["axis"]
    aval = sig.in_avals[0]
    code, beats = CODE[aval.dtype], "gt" if sig.op.name == "argmax" else "lt"
    out = []
    lines = np.moveaxis(np.arange(aval.size).reshape(aval.shape), axis, -1)
    for line in lines.reshape(-1, aval.shape[axis]).tolist():
        best, at = x[line[0]], b.constant(np.int64(0))
        for k, i in enumerate(line[1:], 1):
            v = x[i]
            better = b.emit(beats, code, (v, best), "b1")
            if code in FLOATS:
                new = b.emit("and", "b1", (b.emit("ne", code, (v, v), "b1"),
                                           b.emit("eq", code, (best, best), "b1")), "b1")
                better = b.emit("or", "b1", (better, new), "b1")
            at = b.emit("select", "i64", (better, b.constant(np.int64(k)), at), "i64")
            best = b.emit("select", code, (better, v, best), code)
        out.append(at)
    return [out]


@lru_cache(4096)
def product_of(sig: Sig) -> tuple[int, int, int, np.ndarray, np.ndarray]:
    """Batch, rows, columns; element numbers of a as [batch, row, k] and of b as [batch, column, k]."""
    a, b = sig.in_avals
    (ca, cb), (ba, bb) = sig.params["contract"], sig.params["batch"]
    free_a = [i for i in range(a.ndim) if i not in ca and i not in ba]
    free_b = [i for i in range(b.ndim) if i not in cb and i not in bb]
    batch, k = math.prod(a.shape[i] for i in ba), math.prod(a.shape[i] for i in ca)
    m, n = math.prod(a.shape[i] for i in free_a), math.prod(b.shape[i] for i in free_b)
    at_a = np.arange(a.size).reshape(a.shape).transpose((*ba, *free_a, *ca)).reshape(batch, m, k)
    at_b = np.arange(b.size).reshape(b.shape).transpose((*bb, *free_b, *cb)).reshape(batch, n, k)
    return batch, m, n, at_a, at_b.transpose(1, 0, 2)


def _dot(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    x, y = operands
    batch, m, n, at_x, at_y = product_of(sig)
    code = CODE[sig.out.dtype]
    op, zero = "mad:" + code, b.constant(sig.out.dtype.type(0))
    out = []
    for s in range(batch):
        for i in range(m):
            for j in range(n):
                total = zero
                for p, q in zip(at_x[s, i].tolist(), at_y[j, s].tolist(), strict=True):
                    total = b.new(op, (x[p], y[q], total), 0, code)
                out.append(total)
    return [out]


def _iota(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    return [[b.constant(v) for v in sig.op.reference(**sig.params).ravel()]]


def _call(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    return b.run(sig.params["jaxpr"], operands)


def _cond(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    """All branches (nothing in them can fail), of which the index selects."""
    (index,), *args = operands
    branches = [b.run(branch, args) for branch in sig.params["branches"]]
    chosen = branches[-1]
    for number in range(len(branches) - 2, -1, -1):
        taken = b.emit("le", "i64", (index, b.constant(np.int64(number))), "b1")
        chosen = [[b.emit("select", CODE[aval.dtype], (taken, x, y), CODE[aval.dtype])
                   for x, y in zip(xs, ys, strict=True)]
                  for aval, xs, ys in zip(sig.outs, branches[number], chosen, strict=True)]
    return chosen


# ----- run-time indices: every place they may name is compared with them -----------------------


def choices(sig: Sig) -> int:
    """How many selections it takes."""
    x = sig.in_avals[0]
    if sig.op.name == "gather":
        first = sig.params.get("batch", 0)
        return math.prod(x.shape[first:first + len(sig.in_avals) - 1]) * sig.out.size
    window = sig.in_avals[1].shape if sig.op.name == "dynamic_update_slice" else sig.out.shape
    places = math.prod(n - m + 1 for n, m in zip(x.shape, window, strict=True))
    return places * math.prod(window)


def _clip(b: Elements, i: int, most: int) -> int:
    if i in b.value:
        return b.constant(np.int64(min(max(int(b.value[i]), 0), most)))
    low = b.emit("max", "i64", (i, b.constant(np.int64(0))), "i64")
    return b.emit("min", "i64", (low, b.constant(np.int64(most))), "i64")


def _flat(b: Elements, index: Sequence[int], shape: Sequence[int]) -> int:
    """The position in C order of an index that is inside."""
    at = b.constant(np.int64(0))
    for i, n in zip(index, shape, strict=True):
        at = b.emit("add", "i64", (b.emit("mul", "i64", (at, b.constant(np.int64(n))), "i64"), i), "i64")
    return at


def _windows(shape: tuple[int, ...], window: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """Where a window may begin, and the elements that it then covers."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    room = [range(n - m + 1) for n, m in zip(shape, window, strict=True)]
    return [(int(numbers[at]),
             numbers[tuple([slice(a, a + m) for a, m in zip(at, window, strict=True)])].ravel().tolist())
            for at in product(*room)]


def _dynamic(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    """dynamic_slice and dynamic_update_slice."""
    update = sig.op.name == "dynamic_update_slice"
    x, shape = operands[0], sig.in_avals[0].shape
    window = sig.in_avals[1].shape if update else sig.out.shape
    starts = [_clip(b, s[0], n - m) for s, n, m in
              zip(operands[2 if update else 1:], shape, window, strict=True)]
    begin, code = _flat(b, starts, shape), CODE[sig.out.dtype]
    out = list(x) if update else []
    for first, covered in _windows(shape, window):
        here = b.emit("eq", "i64", (begin, b.constant(np.int64(first))), "b1")
        if update:
            for i, new in zip(covered, operands[1], strict=True):
                out[i] = b.emit("select", code, (here, new, out[i]), code)
        else:
            out = [b.emit("select", code, (here, x[i], old), code)
                   for i, old in zip(covered, out or [x[i] for i in covered], strict=True)]
    return [out]


def _gather(b: Elements, sig: Sig, operands: list[Values]) -> list[Values]:
    x, *indices = operands
    shape, code, mode = sig.in_avals[0].shape, CODE[sig.out.dtype], sig.params["mode"]
    batch, k = sig.params.get("batch", 0), len(indices)
    extents, width = shape[batch:batch + k], math.prod(shape[batch + k:])
    each, rows = math.prod(sig.in_avals[1].shape[batch:]), math.prod(extents)
    fill = b.constant(fill_value(sig.out.dtype, sig.params.get("fill")))
    out: Values = []
    for number, index in enumerate(zip(*indices, strict=True)):
        if sig.params.get("signed"):
            index = tuple([_from_front(b, i, n) for i, n in zip(index, extents, strict=True)])
        if mode == "wrap":
            inside = [b.emit("mod", "i64", (i, b.constant(np.int64(n))), "i64")
                      for i, n in zip(index, extents, strict=True)]
        else:
            inside = [_clip(b, i, n - 1) for i, n in zip(index, extents, strict=True)]
        at, base = _flat(b, inside, extents), number // each * rows * width
        row = x[base:base + width]
        for r in range(1, rows):
            here = b.emit("eq", "i64", (at, b.constant(np.int64(r))), "b1")
            row = [b.emit("select", code, (here, v, old), code)
                   for v, old in zip(x[base + r * width:], row, strict=False)]
        if mode == "fill":
            for i, c in zip(index, inside, strict=True):
                same = b.emit("eq", "i64", (i, c), "b1")
                row = [b.emit("select", code, (same, v, fill), code) for v in row]
        out += row
    return [out]


def _from_front(b: Elements, i: int, n: int) -> int:
    """A position that counts from the end if it is negative."""
    if i in b.value:
        at = int(b.value[i])
        return b.constant(np.int64(at + n if at < 0 else at))
    back = b.emit("lt", "i64", (i, b.constant(np.int64(0))), "b1")
    from_end = b.emit("add", "i64", (i, b.constant(np.int64(n))), "i64")
    return b.emit("select", "i64", (back, from_end, i), "i64")


RULES: dict[str, Callable[[Elements, Sig, list[Values]], list[Values]]] = {
    **dict.fromkeys(REDUCTIONS, _reduce), **dict.fromkeys(RUNNING, _cumulate), **dict.fromkeys(CALLS, _call),
    "argmax": _position, "argmin": _position, "dot_general": _dot, "iota": _iota, "cond": _cond,
    "dynamic_slice": _dynamic, "dynamic_update_slice": _dynamic, "gather": _gather}
