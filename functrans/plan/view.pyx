"""Buffers and the strided views over them that lowering works with.

A view is a value known by address only: nothing is computed or moved when one is made. Steps take
views as operands, so transposes, slices and broadcasts cost nothing until a kernel needs them
dense.
"""

cimport cython
from libc.stdint cimport int64_t

from functools import lru_cache

from ..ir.op import CODE, DTYPE, PART

ARENA = 0        # the slots of a frame: its arena, the constants, then inputs, then outputs
CONSTS = 1
FIRST_INPUT = 2
OUTSIDE = -1     # no slot of its own: ``offset`` is an address


@cython.no_gc
@cython.freelist(64)
cdef class Buffer:
    """A piece of memory of a run: ``nbytes`` bytes at ``offset`` of ``slot``.

    ``first`` and ``last`` are the steps that touch it first (and thereby define it) and last.
    """

    def __init__(self, int64_t nbytes, int slot=0, int64_t offset=0):
        self.nbytes, self.slot, self.offset = nbytes, slot, offset
        self.first = self.last = -1

    def __repr__(self):
        return f"Buffer({self.nbytes} bytes, slot {self.slot} + {self.offset})"


cdef Buffer make_buffer(int64_t nbytes):
    cdef Buffer b = Buffer.__new__(Buffer)
    b.nbytes = nbytes
    b.first = b.last = -1
    return b


@cython.no_gc
@cython.freelist(64)
cdef class View:
    """An array laid over a buffer: byte offset and byte strides. Immutable."""

    def __init__(self, Buffer buffer, int64_t offset, tuple shape, tuple strides, dtype, bint contiguous):
        self.buffer, self.offset = buffer, offset
        self.shape, self.strides, self.dtype = shape, strides, dtype
        self.contiguous = contiguous

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return size_of(self.shape)

    @property
    def nbytes(self):
        return size_of(self.shape) * self.dtype.itemsize

    @property
    def whole(self):
        """Whether the view is its buffer, element for element."""
        return self.contiguous and self.offset == 0 and self.nbytes == self.buffer.nbytes

    cdef View _with(self, int64_t offset, tuple shape, tuple strides):
        return make_view(self.buffer, offset, shape, strides, self.dtype,
                         is_contiguous(shape, strides, self.dtype.itemsize))

    def transpose(self, tuple perm):
        cdef tuple shape, strides
        shape, strides = self.shape, self.strides
        return self._with(self.offset, tuple([shape[p] for p in perm]),
                          tuple([strides[p] for p in perm]))

    def broadcast(self, shape, dims):
        """The view repeated to ``shape``; axis i of it becomes axis ``dims[i]``."""
        cdef list strides = [0] * len(shape)
        for axis, d in enumerate(dims):
            if self.shape[axis] == shape[d]:
                strides[d] = self.strides[axis]
        return self._with(self.offset, tuple(shape), tuple(strides))

    def slice(self, start, limit, stride=None):
        """``[start:limit:stride]`` on every axis, strides positive."""
        offset, shape, strides = self.offset, [], []
        for axis, (lo, hi) in enumerate(zip(start, limit, strict=True)):
            by = 1 if stride is None else stride[axis]
            shape.append(max(0, -(-(hi - lo) // by)))
            strides.append(self.strides[axis] * by)
            offset += self.strides[axis] * lo
        return self._with(offset, tuple(shape), tuple(strides))

    def reverse(self, axes):
        offset, strides = self.offset, list(self.strides)
        if self.size:
            for axis in axes:
                offset += strides[axis] * (self.shape[axis] - 1)
                strides[axis] = -strides[axis]
        return self._with(offset, self.shape, tuple(strides))

    def reshape(self, shape):
        """The same elements in C order as ``shape``, or None where that needs a copy."""
        shape = tuple(shape)
        if self.contiguous:
            return View(self.buffer, self.offset, shape, dense(shape, self.dtype.itemsize),
                        self.dtype, True)
        axes = [d for d, n in enumerate(self.shape) if n != 1]
        strides = _split(*_merge(self.shape, (self.strides,), axes), shape)
        return None if strides is None else self._with(self.offset, shape, strides)

    def arranged(self, tuple perm, tuple shape):
        """``transpose(perm)``, then ``reshape(shape)``."""
        key = (self.shape, self.strides, self.dtype.itemsize, perm, shape)
        found = _arranged.get(key, self)
        if found is self:
            view = self.transpose(perm).reshape(shape)
            if len(_arranged) > 4096:
                _arranged.clear()
            _arranged[key] = None if view is None else (view.strides, view.contiguous)
            return view
        if found is None:
            return None
        return make_view(self.buffer, self.offset, shape, <tuple>found[0], self.dtype, found[1])

    def reinterpreted(self, dtype, tuple shape):
        """The same bytes as ``dtype``: of its size, or of another size if the view is contiguous."""
        if dtype.itemsize == self.dtype.itemsize:
            return View(self.buffer, self.offset, shape, self.strides, dtype, self.contiguous)
        return View(self.buffer, self.offset, shape, dense(shape, dtype.itemsize), dtype, True)

    def parts(self):
        """Complex numbers as real ones, with one more axis: real and imaginary part."""
        part = DTYPE[PART[CODE[self.dtype]]]
        return View(self.buffer, self.offset, (*self.shape, 2), (*self.strides, part.itemsize), part,
                    self.contiguous)

    def __repr__(self):
        return f"View({self.dtype}{list(self.shape)} strides {self.strides} of {self.buffer})"


cdef View make_view(Buffer buffer, int64_t offset, tuple shape, tuple strides, object dtype, bint contiguous):
    cdef View v = View.__new__(View)
    v.buffer, v.offset = buffer, offset
    v.shape, v.strides, v.dtype = shape, strides, dtype
    v.contiguous = contiguous
    return v


cdef View whole(Buffer buffer, tuple shape, object dtype, int64_t itemsize):
    """All of a buffer, in C order."""
    return make_view(buffer, 0, shape, dense(shape, itemsize), dtype, True)


cpdef int64_t size_of(tuple shape) except? -1:
    cdef int64_t n = 1
    for d in shape:
        n *= <int64_t>d
    return n


def extent(View view):
    """The first byte of its buffer that a view touches, and the one behind the last."""
    cdef int64_t first = view.offset, last = view.offset + view.dtype.itemsize, way
    if 0 in view.shape:
        return first, first
    for n, stride in zip(view.shape, view.strides):
        way = (<int64_t>n - 1) * <int64_t>stride
        if way < 0:
            first += way
        else:
            last += way
    return first, last


def line_walk(View view, int axis):
    """Strides from line to line and within a line, a line being all of the axes from ``axis`` on;
    None where that takes more."""
    outer = [d for d, n in enumerate(view.shape[:axis]) if n != 1]
    inner = [d for d, n in enumerate(view.shape[axis:], axis) if n != 1]
    walks = []
    for axes in (outer, inner):
        shape, (walk,) = _merge(view.shape, (view.strides,), axes)
        if len(shape) != 1:
            return None
        walks.append(walk[0])
    return (walks[0], walks[1]) if walks[1] in (0, view.dtype.itemsize) or not inner else None


cdef dict _dense = {}
cdef dict _arranged = {}            # what a view was rearranged to: strides, contiguous; None: a copy


cpdef tuple dense(tuple shape, int64_t itemsize):
    """C-contiguous strides."""
    cdef dict known = _dense.setdefault(itemsize, {})
    cdef list strides
    cdef int64_t step = itemsize
    found = known.get(shape)
    if found is None:
        strides = []
        for d in reversed(shape):
            strides.append(step)
            step *= <int64_t>d
        if len(known) > 4096:
            known.clear()
        found = known[shape] = tuple(reversed(strides))
    return <tuple>found


cpdef bint is_contiguous(tuple shape, tuple strides, int64_t itemsize) except -1:
    """As NumPy says it: strides of axes of extent 1 do not matter, nor any of an empty array."""
    cdef int64_t step = itemsize, d
    cdef Py_ssize_t k
    for k in range(len(shape) - 1, -1, -1):
        d = shape[k]
        if d != 1:
            if d == 0:
                return True
            if <int64_t>strides[k] != step:
                return 0 in shape
            step *= d
    return True


@lru_cache(4096)
def collapse(tuple shape, tuple strides):
    """The iteration space with as few axes as possible, at least one.

    Axes are ordered by the strides of the first operand (the output), so that it is written in the
    order of its memory; neighbours are merged where every operand walks them in one go.
    """
    out = strides[0]
    axes = [d for d, n in enumerate(shape) if n != 1]
    axes.sort(key=lambda d: -abs(out[d]))     # stable: C order where strides are equal
    return _merge(shape, strides, axes)


def _merge(tuple shape, tuple strides, list axes):
    cdef list merged = []
    cdef list walks = [[] for _ in strides]
    cdef Py_ssize_t d, at = -1
    for d in axes:
        n = shape[d]
        if at >= 0 and all([w[at] == s[d] * n for w, s in zip(walks, strides, strict=True)]):
            merged[at] *= n
            for w, s in zip(walks, strides, strict=True):
                w[at] = s[d]
        else:
            at += 1
            merged.append(n)
            for w, s in zip(walks, strides, strict=True):
                w.append(s[d])
    if not merged:
        return (1,), tuple([(0,) for _ in strides])
    return tuple(merged), tuple([tuple(w) for w in walks])


def _split(tuple shape, tuple strides, tuple target):
    """Strides of ``target`` over collapsed axes, or None if one of its axes crosses them."""
    if 0 in target:
        return dense(target, 1)
    cdef list result = []
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
