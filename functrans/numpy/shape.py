"""Layout: reshaping, moving axes, broadcasting, joining and splitting traced arrays."""

from __future__ import annotations

import builtins
import math
from functools import partial
from itertools import pairwise
from operator import index

import numpy as np

from .. import errors
from ..ir.core import aval, lit
from ..ir.op import ANY, CODE, OPS
from ..trace.core import Captured, aval_of, current_builder, is_known, value_of
from ..trace.tracer import Tracer
from . import core
from .core import METHODS, asvalue, axes_of, axis_of, convert, implements, is_number, refuse_out

NO = np._NoValue

# ----- operands: shared by the modules of functions -------------------------------------------


def as_array(x):
    """x as NumPy's functions see an argument: Python numbers in their default dtype."""
    if type(x) is Tracer:
        a = x.aval
        return OPS["convert"](x, dtype=a.dtype) if a.weak else x
    x = asvalue(x)
    return np.asarray(x)[()] if type(x) in (bool, int, float, complex) else x


def shape_of(x) -> tuple[int, ...]:
    return aval_of(x).shape


def ndim_of(x) -> int:
    return aval_of(x).ndim


def dtype_of(x) -> np.dtype:
    return aval_of(x).dtype


def supported(dtype) -> np.dtype:
    """``dtype`` as a NumPy dtype; DtypeError for those that functrans cannot compute in."""
    dtype = np.dtype(dtype)
    if CODE.get(dtype) not in ANY:
        raise errors.DtypeError(f"dtype {dtype} is not supported for traced arrays.",
                                "Use bool, or an integer, float or complex type.")
    return dtype


def check_device(device) -> None:
    """Raises for a device that is not there: all arrays are on the CPU."""
    if device not in (None, "cpu"):
        raise ValueError(f"the only device is 'cpu', got {device!r}")


def fill(value, dtype, shape):
    """An operand of this type whose elements all equal the number ``value``."""
    value = np.asarray(value).astype(dtype)[()]     # NumPy's where wraps integers too
    builder = current_builder()
    if builder is None or builder.staged or value in (0, 1, -1, 2):
        return lit(value, aval(shape, dtype))
    return core.broadcast_to(Captured.of(value), shape)


def splat(value, like):
    """The literal of ``value`` in shape and dtype of ``like``: for constants of a rule."""
    a = aval_of(like)
    return lit(value, aval(a.shape, a.dtype))


def fit(x, dtype, shape):
    """x converted and broadcast."""
    return fill(x, dtype, shape) if is_number(x) else core.broadcast_to(convert(x, dtype), shape)


def reshaped(x, shape):
    return x if aval_of(x).shape == shape else OPS["reshape"](x, shape=shape)


def permuted(x, perm):
    return x if perm == tuple(range(len(perm))) else OPS["transpose"](x, perm=perm)


def cut(x, axis: int, start: int, stop: int, step: int = 1):
    """x[start:stop:step] along one axis; the bounds lie inside."""
    shape = aval_of(x).shape
    if start == 0 and stop == shape[axis] and step == 1:
        return x
    return OPS["slice"](x, start=tuple([start if i == axis else 0 for i in range(len(shape))]),
                        limit=tuple([stop if i == axis else n for i, n in enumerate(shape)]),
                        stride=tuple([step if i == axis else 1 for i in range(len(shape))]))


def taken(x, indices, axis: int):
    """x at int64 ``indices`` (one axis, in range) along ``axis``."""
    n = ndim_of(x)
    front = permuted(x, (axis, *[i for i in range(n) if i != axis]))
    got = OPS["gather"](front, indices, mode="clip")
    return permuted(got, (*range(1, axis + 1), 0, *range(axis + 1, n)))


def known_array(x, what: str, fix: str) -> np.ndarray:
    """x as an ndarray, if its value is known; ConcretizationError otherwise."""
    if type(x) is Tracer:
        if not is_known(x):
            raise errors.ConcretizationError(
                f"{what} needs the value of a traced {x.aval}, which is not known here.", fix)
        x = value_of(x)
    return np.asarray(x)


def sequence(xs, name: str) -> list:
    """The operands of a joining function."""
    if isinstance(xs, np.ndarray) or type(xs) is Tracer:
        return [part(xs, i) for i in range(len(xs))]
    if not isinstance(xs, (list, tuple)):
        raise TypeError(f"numpy.{name} takes a list or tuple of arrays, got {type(xs).__name__}")
    return [as_array(x) for x in xs]


def part(x, i: int):
    """x[i]"""
    if type(x) is not Tracer:
        return x[i]
    return reshaped(cut(x, 0, i, i + 1), x.shape[1:])


# ----- reshape --------------------------------------------------------------------------------


def sizes(shape) -> tuple[int, ...]:
    """A shape as NumPy takes one: an integer or a sequence of them."""
    if hasattr(shape, "__index__") and not (hasattr(shape, "ndim") and shape.ndim):
        return (index(shape),)
    return tuple([index(n) for n in shape])


def _resolved(a, shape) -> tuple[int, ...]:
    """The shape with its -1 worked out."""
    dims = sizes(shape)
    unknown = [i for i, n in enumerate(dims) if n == -1]
    if len(unknown) > 1:
        raise errors.ShapeError(f"a shape can leave one extent open, got {dims}.",
                                "Give all but one.")
    rest = math.prod([n for n in dims if n != -1])
    if unknown and rest > 0 and a.size % rest == 0:
        i = unknown[0]
        return (*dims[:i], a.size // rest, *dims[i + 1:])
    if unknown or rest != a.size or any(n < 0 for n in dims):
        raise errors.ShapeError(f"cannot reshape {a} of {a.size} elements to shape {dims}.",
                                "The number of elements must stay the same.")
    return dims


def _reversed_axes(x):
    return permuted(x, tuple(range(ndim_of(x)))[::-1])


def _by_columns(order: str, name: str) -> bool:
    """Whether ``order`` means the first axis fastest; traced arrays are C-ordered."""
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"numpy.{name}: order must be 'C', 'F', 'A' or 'K', got {order!r}")
    return order == "F"


@implements(np.reshape)
def reshape(a, /, shape, order="C", *, copy=None):
    """The elements of a in another shape; ``copy`` has no meaning for traced arrays."""
    x = as_array(a)
    shape = _resolved(aval_of(x), shape)
    if _by_columns(order, "reshape"):
        return _reversed_axes(reshaped(_reversed_axes(x), shape[::-1]))
    return reshaped(x, shape)


def _reshape_method(x, *shape, order="C", copy=None):
    return reshape(x, shape[0] if len(shape) == 1 else shape, order, copy=copy)


@implements(np.ravel, method="ravel")
def ravel(a, order="C"):
    """The elements of a along one axis."""
    x = as_array(a)
    x = _reversed_axes(x) if _by_columns(order, "ravel") else x
    return reshaped(x, (aval_of(x).size,))


# ----- axes -----------------------------------------------------------------------------------


@implements(np.transpose)
def transpose(a, axes=None):
    """a with its axes reversed, or in the order ``axes``."""
    x = as_array(a)
    ndim = ndim_of(x)
    if axes is None:
        return _reversed_axes(x)
    perm = tuple([axis_of(i, ndim) for i in axes])
    if len(perm) != ndim or len(set(perm)) != ndim:
        raise errors.ShapeError(f"transpose: axes {tuple(axes)} do not name the {ndim} axes of "
                                f"{aval_of(x)} once each.", "Give a permutation of all axes.")
    return permuted(x, perm)


permute_dims = transpose


def _transpose_method(x, *axes):
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return transpose(x, axes if axes is None or len(axes) else None)


@implements(np.matrix_transpose)
def matrix_transpose(x, /):
    """x with its last two axes swapped."""
    x = as_array(x)
    if ndim_of(x) < 2:
        raise errors.ShapeError(f"matrix_transpose needs at least two axes, got {aval_of(x)}.",
                                "Use np.transpose, or add an axis.")
    return swapaxes(x, -1, -2)


@implements(np.swapaxes, method="swapaxes")
def swapaxes(a, axis1, axis2):
    """a with two axes exchanged."""
    x = as_array(a)
    perm = list(range(ndim_of(x)))
    i, j = axis_of(axis1, len(perm)), axis_of(axis2, len(perm))
    perm[i], perm[j] = perm[j], perm[i]
    return permuted(x, tuple(perm))


def _axis_list(axis, ndim):
    axes = [axis_of(i, ndim) for i in (axis if isinstance(axis, (list, tuple)) else [axis])]
    axes_of(tuple(axes), ndim)      # refuses repetitions
    return axes


@implements(np.moveaxis)
def moveaxis(a, source, destination):
    """a with the axes ``source`` moved to the positions ``destination``."""
    x = as_array(a)
    ndim = ndim_of(x)
    froms, tos = _axis_list(source, ndim), _axis_list(destination, ndim)
    if len(froms) != len(tos):
        raise errors.ShapeError(f"moveaxis: {len(froms)} source axes for {len(tos)} destinations.",
                                "Give as many of both.")
    perm = [i for i in range(ndim) if i not in froms]
    for to, source_axis in sorted(zip(tos, froms, strict=True)):
        perm.insert(to, source_axis)
    return permuted(x, tuple(perm))


@implements(np.rollaxis)
def rollaxis(a, axis, start=0):
    """a with one axis moved back until it lies before position ``start``."""
    x = as_array(a)
    ndim = ndim_of(x)
    axis = axis_of(axis, ndim)
    start = start + ndim if start < 0 else start
    if not 0 <= start <= ndim:
        raise errors.AxisError(f"rollaxis: start {start} is not in 0 to {ndim}.", axis=start,
                               ndim=ndim)
    return moveaxis(x, axis, start - (start > axis))


@implements(np.squeeze, method="squeeze")
def squeeze(a, axis=None):
    """a without its axes of extent 1, or without those named."""
    x = as_array(a)
    shape = shape_of(x)
    if axis is None:
        axes = tuple([i for i, n in enumerate(shape) if n == 1])
    else:
        axes = axes_of(axis, len(shape))
        if any(shape[i] != 1 for i in axes):
            raise errors.ShapeError(f"squeeze: not all axes {axes} of {aval_of(x)} have extent 1.",
                                    "Name axes of extent 1 only.")
    return reshaped(x, tuple([n for i, n in enumerate(shape) if i not in axes]))


@implements(np.expand_dims)
def expand_dims(a, axis):
    """a with new axes of extent 1 at the positions ``axis`` of the result."""
    x = as_array(a)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    ndim = ndim_of(x) + count
    axes = axes_of(axis, ndim)
    rest = iter(shape_of(x))
    return reshaped(x, tuple([1 if i in axes else next(rest) for i in range(ndim)]))


def _atleast(function, shape_for):
    @implements(function)
    def atleast(*arys):
        xs = [as_array(x) for x in arys]
        out = [reshaped(x, shape_for(shape_of(x))) for x in xs]
        return out[0] if len(out) == 1 else tuple(out)
    atleast.__name__ = atleast.__qualname__ = function.__name__
    atleast.__doc__ = f"Each array with at least {function.__name__[-2]} axes; a tuple if several."
    return atleast


atleast_1d = _atleast(np.atleast_1d, lambda s: s or (1,))
atleast_2d = _atleast(np.atleast_2d, lambda s: s if len(s) > 1 else (1, *(s or (1,))))
atleast_3d = _atleast(np.atleast_3d, lambda s: s if len(s) > 2 else (
    (*s, 1) if len(s) == 2 else (1, *(s or (1,)), 1)))


# ----- broadcasting ---------------------------------------------------------------------------


@implements(np.broadcast_to)
def broadcast_to(array, shape, subok=False):
    """array repeated to ``shape``; the result is a value of its own, not a read-only view."""
    return core.broadcast_to(as_array(array), sizes(shape))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args, subok=False):
    """The arrays in their common shape, as a tuple."""
    return tuple(core.broadcast_arrays(*[as_array(x) for x in args]))


broadcast_shapes = np.broadcast_shapes


# ----- joining --------------------------------------------------------------------------------


def common_dtype(xs, dtype, casting, name):
    """The dtype of joined arrays: numbers count with their default dtype, as in NumPy."""
    if dtype is None:
        return supported(np.result_type(*[dtype_of(x) for x in xs]))
    dtype = supported(dtype)
    for x in xs:
        if not np.can_cast(dtype_of(x), dtype, casting):
            raise errors.DtypeError(f"{name}: {aval_of(x)} does not cast to {dtype}, {casting!r}.",
                                    "Convert it with astype, or give casting='unsafe'.")
    return dtype


def joined(xs, axis: int, dtype):
    xs = [convert(x, dtype) for x in xs]
    return xs[0] if len(xs) == 1 else OPS["concatenate"](*xs, axis=axis)


@implements(np.concatenate)
def concatenate(arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind"):
    """The arrays one after the other along ``axis``; None flattens them first."""
    refuse_out(out)
    xs = sequence(arrays, "concatenate")
    if not xs:
        raise errors.ShapeError("concatenate: there is no array to join.", "Give at least one.")
    dtype = common_dtype(xs, dtype, casting, "concatenate")
    if axis is None:
        return joined([ravel(x) for x in xs], 0, dtype)
    first = shape_of(xs[0])
    if not first:
        raise errors.ShapeError("concatenate: scalars cannot be concatenated.", "Use np.stack.")
    axis = axis_of(axis, len(first))
    for i, x in enumerate(xs):
        shape = shape_of(x)
        if len(shape) != len(first) or any(
                n != m for k, (n, m) in enumerate(zip(shape, first, strict=True)) if k != axis):
            raise errors.ShapeError(
                f"concatenate along axis {axis}: argument 0 is {aval_of(xs[0])}, argument {i} is "
                f"{aval_of(x)}.", "All axes but the joined one must agree.")
    return joined(xs, axis, dtype)


concat = concatenate


@implements(np.stack)
def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    """The arrays, all of one shape, along a new axis."""
    refuse_out(out)
    xs = sequence(arrays, "stack")
    if not xs:
        raise errors.ShapeError("stack: there is no array to stack.", "Give at least one.")
    shape = shape_of(xs[0])
    for i, x in enumerate(xs):
        if shape_of(x) != shape:
            raise errors.ShapeError(f"stack: argument 0 is {aval_of(xs[0])}, argument {i} is "
                                    f"{aval_of(x)}.", "All must have the same shape.")
    dtype = common_dtype(xs, dtype, casting, "stack")
    axis = axis_of(axis, len(shape) + 1)
    thin = (*shape[:axis], 1, *shape[axis:])
    return joined([reshaped(convert(x, dtype), thin) for x in xs], axis, dtype)


@implements(np.hstack)
def hstack(tup, *, dtype=None, casting="same_kind"):
    """The arrays side by side: along the second axis, or the only one."""
    xs = [atleast_1d(x) for x in sequence(tup, "hstack")]
    axis = 0 if xs and ndim_of(xs[0]) == 1 else 1
    return concatenate(xs, axis, dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup, *, dtype=None, casting="same_kind"):
    """The arrays as rows, one below the other."""
    xs = [atleast_2d(x) for x in sequence(tup, "vstack")]
    return concatenate(xs, dtype=dtype, casting=casting)


row_stack = vstack


@implements(np.dstack)
def dstack(tup):
    """The arrays along the third axis."""
    return concatenate([atleast_3d(x) for x in sequence(tup, "dstack")], 2)


@implements(np.column_stack)
def column_stack(tup):
    """The arrays as columns of a matrix."""
    xs = sequence(tup, "column_stack")
    return concatenate([x if ndim_of(x) > 1 else reshape(x, (-1, 1)) for x in xs], 1)


@implements(np.append)
def append(arr, values, axis=None):
    """values after arr along ``axis``; None flattens both."""
    return concatenate([as_array(arr), as_array(values)], axis)


@implements(np.block)
def block(arrays):
    """An array put together from nested lists of blocks."""
    depths, ndim = set(), 0

    def look(x, depth):
        nonlocal ndim
        if isinstance(x, tuple):
            raise TypeError("block takes nested lists, got a tuple; write [a, b] instead of (a, b)")
        if isinstance(x, list):
            if not x:
                raise errors.ShapeError("block: an inner list is empty.", "Leave it out.")
            for y in x:
                look(y, depth + 1)
            return
        depths.add(depth)
        ndim = builtins.max(ndim, ndim_of(as_array(x)))

    look(arrays, 0)
    if len(depths) > 1:
        raise errors.ShapeError(f"block: arrays lie at different depths {sorted(depths)}.",
                                "Nest all blocks equally deep.")
    (depth,) = depths
    ndim = builtins.max(ndim, depth)

    def join(x, level):
        if isinstance(x, list):
            return concatenate([join(y, level + 1) for y in x], level - depth)
        x = as_array(x)
        return reshaped(x, (1,) * (ndim - ndim_of(x)) + shape_of(x))

    return join(arrays, 0)


# ----- splitting ------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary, indices_or_sections, axis=0):
    """Parts of ary along ``axis``: a number of about equal ones, or cut at the given places."""
    x = as_array(ary)
    axis = axis_of(axis, ndim_of(x))
    n = shape_of(x)[axis]
    if isinstance(indices_or_sections, (list, tuple)) or np.ndim(indices_or_sections):
        bounds = [0, *[index(i) for i in indices_or_sections], n]
    else:
        parts = index(indices_or_sections)
        if parts <= 0:
            raise errors.ShapeError(f"cannot split into {parts} parts.", "Give a positive number.")
        size, longer = divmod(n, parts)
        bounds = [i * size + builtins.min(i, longer) for i in range(parts + 1)]
    spans = [slice(a, b).indices(n)[:2] for a, b in pairwise(bounds)]
    return [cut(x, axis, a, builtins.max(a, b)) for a, b in spans]


@implements(np.split)
def split(ary, indices_or_sections, axis=0):
    """As array_split, but a number of parts must divide the axis."""
    if not isinstance(indices_or_sections, (list, tuple)) and not np.ndim(indices_or_sections):
        n = shape_of(as_array(ary))[axis_of(axis, ndim_of(as_array(ary)))]
        if indices_or_sections and n % index(indices_or_sections):
            raise errors.ShapeError(f"split: {n} is not a multiple of {indices_or_sections}.",
                                    "Use np.array_split for unequal parts.")
    return array_split(ary, indices_or_sections, axis)


def _split_along(function, least, axis_for, name):
    @implements(function)
    def split_along(ary, indices_or_sections):
        x = as_array(ary)
        if ndim_of(x) < least:
            raise errors.ShapeError(f"{name} needs {least} or more axes, got {aval_of(x)}.",
                                    "Use np.split with an axis.")
        return split(x, indices_or_sections, axis_for(ndim_of(x)))
    split_along.__name__ = split_along.__qualname__ = name
    split_along.__doc__ = f"np.split along the axis that np.{name[0]}stack joins."
    return split_along


hsplit = _split_along(np.hsplit, 1, lambda ndim: 0 if ndim == 1 else 1, "hsplit")
vsplit = _split_along(np.vsplit, 2, lambda ndim: 0, "vsplit")
dsplit = _split_along(np.dsplit, 3, lambda ndim: 2, "dsplit")


def unstack(x, /, *, axis=0):
    """The sub-arrays along ``axis``, as a tuple."""
    x = as_array(x)
    if ndim_of(x) == 0:
        raise errors.ShapeError("unstack needs at least one axis, got a scalar.", "Use x itself.")
    moved = moveaxis(x, axis, 0)
    return tuple([part(moved, i) for i in range(shape_of(moved)[0])])


unstack = implements(getattr(np, "unstack", unstack))(unstack)      # NumPy has it from 2.1 on


METHODS["reshape"] = partial(partial, _reshape_method)
METHODS["transpose"] = partial(partial, _transpose_method)
METHODS["flatten"] = partial(partial, ravel)
PROPERTIES = {"T": _reversed_axes, "mT": matrix_transpose}
METHODS.update(PROPERTIES)

__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays",
    "broadcast_shapes", "broadcast_to", "column_stack", "concat", "concatenate", "dsplit", "dstack",
    "expand_dims", "hsplit", "hstack", "matrix_transpose", "moveaxis", "permute_dims", "ravel",
    "reshape", "rollaxis", "row_stack", "split", "squeeze", "stack", "swapaxes", "transpose", "unstack",
    "vsplit", "vstack"]
