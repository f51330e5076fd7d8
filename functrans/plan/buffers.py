"""Where buffers lie: outputs in place, temporaries in one arena, by liveness.

Everything here is linear in the number of steps (times the logarithm of the number of distinct
buffer sizes), since unrolled Python loops make programs of tens of thousands of equations.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from .run import Step
from .view import ARENA, Buffer

ALIGN = 64
LARGE = 32 * 1024     # from here on, neighbours at multiples of 4 KiB would share cache sets
STAGGER = 256


def round_up(n: int) -> int:
    return (n + ALIGN - 1) & -ALIGN


def place(steps: list[Step], first_output: int,
          carries: Sequence[tuple[Buffer, Buffer]]) -> tuple[int, list[bool]]:
    """Gives every arena buffer its offset; returns the arena's size and which carries share memory.

    Copies whose two sides end in the same place become empty steps (``kernel`` None).
    """
    shared = [_share(steps, old, new) for old, new in carries]
    together = {new: old for (old, new), yes in zip(carries, shared, strict=True) if yes}
    _reuse_outputs(steps, first_output, together)
    arena = _allocate(steps)
    for step in steps:
        if step.inplace and step.kernel.startswith("copy:"):
            dst, src = step.buffers
            if (step.offsets[0] == step.offsets[1] and step.strides[0] == step.strides[1]
                    and (together.get(dst) is src
                         or (dst.slot == src.slot and dst.offset == src.offset))):
                step.kernel = None
    return arena, shared


def _share(steps: list[Step], old: Buffer, new: Buffer) -> bool:
    """Whether a loop may write its next carry over the present one."""
    if new.first < 0 or old.last < new.first:       # the first: an empty array
        return True
    if old.last != new.first:
        return False
    step = steps[new.first]
    return _fits(step, step.buffers.index(new), old)


def _fits(step: Step, k: int, operand: Buffer) -> bool:
    """Whether a step may write its output k over ``operand``, which it is the last to read.

    It may if each element is written where, and only where, it has been read.
    """
    buffers, strides, offsets, reuse = step.buffers, step.strides, step.offsets, step.reuse
    if operand.nbytes != buffers[k].nbytes:
        return False
    if reuse is not None:
        allowed = reuse[k] if k < len(reuse) else ()
        return all([i in allowed for i, b in enumerate(buffers) if b is operand])
    if not step.inplace:
        return False
    for i in range(1, len(buffers)):
        if buffers[i] is operand and (strides[i] != strides[0] or offsets[i] != offsets[0]):
            return False
    return True


def _over(step: Step, k: int) -> Sequence[Buffer]:
    """Operands that output k might overwrite."""
    if step.reuse is None:
        return step.buffers[1:] if step.inplace and k == 0 else ()
    return [step.buffers[i] for i in step.reuse[k]] if k < len(step.reuse) else ()


def _reuse_outputs(steps: list[Step], first_output: int, together: dict[Buffer, Buffer]) -> None:
    """Computes chains of temporaries that end in an output in the output's own memory."""
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        if not step.inplace and step.reuse is None:
            continue
        for k in range(step.nouts):
            out = step.buffers[k]
            if out.slot >= first_output and out.first == number and out not in together:
                for b in _over(step, k):
                    if b.slot == ARENA and b.last == number and _fits(step, k, b):
                        b.slot = out.slot
                        break


def _allocate(steps: list[Step]) -> int:
    free = _FreeList()
    sizes: dict[Buffer, int] = {}                   # what is taken now
    for number, step in enumerate(steps):
        buffers = step.buffers
        for k, b in enumerate(buffers):
            if b.slot == ARENA and b.first == number and b not in sizes:
                old = None
                for a in _over(step, k):
                    if a.slot == ARENA and a.last == number and a in sizes and _fits(step, k, a):
                        old = a
                        break
                if old is not None:
                    sizes[b] = sizes.pop(old)
                    b.offset = old.offset
                else:
                    size = round_up(b.nbytes)
                    if size >= LARGE:
                        size += STAGGER
                    sizes[b] = size
                    b.offset = free.take(size)
        for b in buffers:
            if b.last == number and b in sizes:
                free.give(b.offset, sizes.pop(b))
    return free.top


class _FreeList:
    """Free ranges of the arena: the smallest that fits, and of these the last one freed."""

    def __init__(self) -> None:
        self.top = 0
        self._size: dict[int, int] = {}             # start -> size
        self._start: dict[int, int] = {}            # end -> start
        self._of_size: dict[int, list[int]] = {}    # size -> starts, some of them no longer free
        self._sizes: list[int] = []                 # sorted keys of _of_size

    def take(self, size: int) -> int:
        if size == 0:
            return 0
        at = bisect_left(self._sizes, size)
        while at < len(self._sizes):
            found = self._sizes[at]
            starts = self._of_size[found]
            while starts:
                start = starts.pop()
                if self._size.get(start) == found:
                    self._remove(start, found)
                    if found > size:
                        self._add(start + size, found - size)
                    return start
            del self._of_size[found], self._sizes[at]
        start = self._start.get(self.top, self.top)     # grow the last range if it is free
        if start < self.top:
            self._remove(start, self.top - start)
        self.top = start + size
        return start

    def give(self, start: int, size: int) -> None:
        if size == 0:
            return
        after = self._size.get(start + size)
        if after is not None:
            self._remove(start + size, after)
            size += after
        before = self._start.get(start)
        if before is not None:
            self._remove(before, start - before)
            size += start - before
            start = before
        self._add(start, size)

    def _add(self, start: int, size: int) -> None:
        self._size[start] = size
        self._start[start + size] = start
        starts = self._of_size.get(size)
        if starts is None:
            self._of_size[size] = [start]
            insort(self._sizes, size)
        else:
            starts.append(start)

    def _remove(self, start: int, size: int) -> None:
        del self._size[start], self._start[start + size]
