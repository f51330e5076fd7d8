"""Buffers and the strided views over them that lowering works with.

A view is a value known by address only: nothing is computed or moved when one is made. Steps take
views as operands, so transposes, slices and broadcasts cost nothing until a kernel needs them
dense.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..ir.op import CODE, DTYPE, PART

Shape = tuple[int, ...]

ARENA = 0        # the slots of a frame: its arena, the constants, then inputs, then outputs
CONSTS = 1
FIRST_INPUT = 2
OUTSIDE = -1     # no slot of its own: ``offset`` is an address


class Buffer:
    """A piece of memory of a run: ``nbytes`` bytes at ``offset`` of ``slot``.

    ``first`` and ``last`` are the steps that touch it first (and thereby define it) and last.
    """

    __slots__ = ("first", "last", "nbytes", "offset", "slot")

    def __init__(self, nbytes: int, slot: int = ARENA, offset: int = 0):
        self.nbytes, self.slot, self.offset = nbytes, slot, offset
        self.first = self.last = -1

    def __repr__(self) -> str:
        return f"Buffer({self.nbytes} bytes, slot {self.slot} + {self.offset})"


class View:
    """An array laid over a buffer: byte offset and byte strides. Immutable."""

    __slots__ = ("buffer", "contiguous", "dtype", "offset", "shape", "strides")

    def __init__(self, buffer: Buffer, offset: int, shape: Shape, strides: Shape, dtype: np.dtype,
                 contiguous: bool):
        self.buffer, self.offset = buffer, offset
        self.shape, self.strides, self.dtype = shape, strides, dtype
        self.contiguous = contiguous

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return size_of(self.shape)

    @property
    def nbytes(self) -> int:
        return size_of(self.shape) * self.dtype.itemsize

    @property
    def whole(self) -> bool:
        """Whether the view is its buffer, element for element."""
        return self.contiguous and self.offset == 0 and self.nbytes == self.buffer.nbytes

    def _with(self, offset: int, shape: Shape, strides: Shape) -> View:
        return View(self.buffer, offset, shape, strides, self.dtype,
                    is_contiguous(shape, strides, self.dtype.itemsize))

    def transpose(self, perm: Shape) -> View:
        shape, strides = self.shape, self.strides
        return self._with(self.offset, tuple([shape[p] for p in perm]),
                          tuple([strides[p] for p in perm]))

    def broadcast(self, shape: Shape, dims: Shape) -> View:
        """The view repeated to ``shape``; axis i of it becomes axis ``dims[i]``."""
        strides = [0] * len(shape)
        for axis, d in enumerate(dims):
            if self.shape[axis] == shape[d]:
                strides[d] = self.strides[axis]
        return self._with(self.offset, tuple(shape), tuple(strides))

    def slice(self, start: Shape, limit: Shape, stride: Shape | None = None) -> View:
        """``[start:limit:stride]`` on every axis, strides positive."""
        offset, shape, strides = self.offset, [], []
        for axis, (lo, hi) in enumerate(zip(start, limit, strict=True)):
            by = 1 if stride is None else stride[axis]
            shape.append(max(0, -(-(hi - lo) // by)))
            strides.append(self.strides[axis] * by)
            offset += self.strides[axis] * lo
        return self._with(offset, tuple(shape), tuple(strides))

    def reverse(self, axes: Shape) -> View:
        offset, strides = self.offset, list(self.strides)
        if self.size:
            for axis in axes:
                offset += strides[axis] * (self.shape[axis] - 1)
                strides[axis] = -strides[axis]
        return self._with(offset, self.shape, tuple(strides))

    def reshape(self, shape: Shape) -> View | None:
        """The same elements in C order as ``shape``, or None where that needs a copy."""
        shape = tuple(shape)
        if self.contiguous:
            return View(self.buffer, self.offset, shape, dense(shape, self.dtype.itemsize),
                        self.dtype, True)
        axes = [d for d, n in enumerate(self.shape) if n != 1]
        strides = _split(*_merge(self.shape, (self.strides,), axes), shape)
        return None if strides is None else self._with(self.offset, shape, strides)

    def reinterpreted(self, dtype: np.dtype, shape: Shape) -> View:
        """The same bytes as ``dtype``: of its size, or of another size if the view is contiguous."""
        if dtype.itemsize == self.dtype.itemsize:
            return View(self.buffer, self.offset, shape, self.strides, dtype, self.contiguous)
        return View(self.buffer, self.offset, shape, dense(shape, dtype.itemsize), dtype, True)

    def parts(self) -> View:
        """Complex numbers as real ones, with one more axis: real and imaginary part."""
        part = DTYPE[PART[CODE[self.dtype]]]
        return View(self.buffer, self.offset, (*self.shape, 2), (*self.strides, part.itemsize), part,
                    self.contiguous)

    def __repr__(self) -> str:
        return f"View({self.dtype}{list(self.shape)} strides {self.strides} of {self.buffer})"


def size_of(shape: Shape) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


@lru_cache(4096)
def dense(shape: Shape, itemsize: int) -> Shape:
    """C-contiguous strides."""
    strides, step = [], itemsize
    for d in reversed(shape):
        strides.append(step)
        step *= d
    return tuple(reversed(strides))


def is_contiguous(shape: Shape, strides: Shape, itemsize: int) -> bool:
    """As NumPy says it: strides of axes of extent 1 do not matter, nor any of an empty array."""
    step = itemsize
    for d, s in zip(reversed(shape), reversed(strides), strict=True):
        if d != 1:
            if d == 0:
                return True
            if s != step:
                return 0 in shape
            step *= d
    return True


@lru_cache(4096)
def collapse(shape: Shape, strides: tuple[Shape, ...]) -> tuple[Shape, tuple[Shape, ...]]:
    """The iteration space with as few axes as possible, at least one.

    Axes are ordered by the strides of the first operand (the output), so that it is written in the
    order of its memory; neighbours are merged where every operand walks them in one go.
    """
    out = strides[0]
    axes = [d for d, n in enumerate(shape) if n != 1]
    axes.sort(key=lambda d: -abs(out[d]))     # stable: C order where strides are equal
    return _merge(shape, strides, axes)


def _merge(shape: Shape, strides: tuple[Shape, ...],
           axes: list[int]) -> tuple[Shape, tuple[Shape, ...]]:
    merged: list[int] = []
    walks: list[list[int]] = [[] for _ in strides]
    for d in axes:
        n = shape[d]
        if merged and all([w[-1] == s[d] * n for w, s in zip(walks, strides, strict=True)]):
            merged[-1] *= n
            for w, s in zip(walks, strides, strict=True):
                w[-1] = s[d]
        else:
            merged.append(n)
            for w, s in zip(walks, strides, strict=True):
                w.append(s[d])
    if not merged:
        return (1,), tuple([(0,) for _ in strides])
    return tuple(merged), tuple([tuple(w) for w in walks])


def _split(shape: Shape, strides: tuple[Shape, ...], target: Shape) -> Shape | None:
    """Strides of ``target`` over collapsed axes, or None if one of its axes crosses them."""
    if 0 in target:
        return dense(target, 1)
    result: list[int] = []
    rest = list(zip(shape, strides[0], strict=True))
    room, step = 1, 0                         # what is left of the current memory axis
    for d in target:
        if d == 1:
            result.append(step)
            continue
        while room == 1 and rest:
            room, step = rest.pop(0)
            step *= room
        if room % d:
            return None
        room //= d
        step //= d
        result.append(step)
    return tuple(result)
