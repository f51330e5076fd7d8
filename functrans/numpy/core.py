"""What the modules of this room share: registration, promotion, broadcasting, axes."""

from __future__ import annotations

import functools
import inspect

import numpy as np

from .. import errors
from ..ir.core import Lit, aval
from ..ir.op import CODE, OPS
from ..trace.core import Captured, as_traced, aval_of, bind, current_builder
from ..trace.tracer import Tracer, Upward
from . import dispatch

FUNCTIONS: dict = {}        # NumPy function -> ours, for tracers
METHODS = Upward.methods    # name -> (tracer -> attribute)


def traced(x) -> bool:
    """Whether x is a tracer, or a list or tuple that holds one."""
    if type(x) is Tracer:
        return True
    return isinstance(x, (list, tuple)) and any(traced(y) for y in x)


def _any_traced(args, kwargs) -> bool:
    return any(traced(x) for x in args) or (bool(kwargs) and any(traced(x) for x in kwargs.values()))


def implements(*numpy_functions, method: str | None = None, own: tuple[str, ...] = ()):
    """Registers the function below as what ``numpy_functions`` do on tracers.

    The name then bound is the public function: NumPy's own where nothing is traced and no keyword is among
    ``own``, those that NumPy does not have. ``method`` also makes it a method of traced arrays.
    """
    def wrap(function):
        for f in numpy_functions:
            FUNCTIONS[f] = function
        if method is not None:
            METHODS[method] = functools.partial(functools.partial, function)
        original = numpy_functions[0]

        @functools.wraps(function)
        def public_function(*args, **kwargs):
            if _any_traced(args, kwargs) or (own and any(k in kwargs for k in own)):
                return function(*args, **kwargs)
            return original(*args, **kwargs)

        public_function.traced = function
        return public_function
    return wrap


def signature_of(function):
    """A NumPy function's signature; None where its C code does not tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def public(function):
    """Marks a function that NumPy does not have."""
    function.traced = function
    return function


def asvalue(x):
    """x as an operand: tracers, arrays and numbers pass; lists and tuples become arrays."""
    if type(x) is Tracer or type(x) is Lit or type(x) is Captured:
        return x
    if isinstance(x, (np.generic, bool, int, float, complex)):
        return x
    if isinstance(x, (list, tuple)):
        if traced(x):
            return np.stack([asvalue(y) for y in x])
        return _checked(np.asarray(x))
    if type(x) is np.ndarray:
        return _checked(x)
    aval_of(x)       # raises for what cannot be traced
    return x


def _checked(x):
    aval_of(x)
    return x


def is_number(x) -> bool:
    """A Python or NumPy scalar."""
    return isinstance(x, (np.generic, bool, int, float, complex))


def _promotion_operand(x):
    """What NumPy's promotion sees of x: weak tracers count as the Python numbers they come from."""
    if type(x) in (int, float, bool, complex):
        return x
    a = aval_of(x)
    return {"f": 0.0, "i": 0, "c": 0j}[a.dtype.kind] if a.weak else a.dtype


def result_type(*xs) -> np.dtype:
    """NumPy's promoted dtype of operands and dtypes."""
    found = np.result_type(*[x if isinstance(x, np.dtype) else _promotion_operand(x) for x in xs])
    if found not in CODE:
        raise errors.DtypeError(f"the operands promote to {found}, which functrans does not have.",
                                "Convert one of them with astype.")
    return found


def _recorded(x):
    """An array that a jitted function captures, as a traced value. It is read at every call, so what is done
    to it on the way to an operation is done at every call, too."""
    if type(x) is np.ndarray and (b := current_builder()) is not None and b.staged:
        return as_traced(x)
    return x


def convert(x, dtype):
    """x as ``dtype``; numbers become NumPy scalars."""
    dtype = np.dtype(dtype)
    if is_number(x):
        return dtype.type(x)
    a = aval_of(x)
    return x if a.dtype == dtype and not a.weak else OPS["convert"](_recorded(x), dtype=dtype)


def promote(*xs) -> list:
    """The operands in their common dtype."""
    values = [asvalue(x) for x in xs]
    dtype = result_type(*values)
    return [convert(x, dtype) for x in values]


def shape_of(x) -> tuple[int, ...]:
    return aval_of(x).shape


def broadcast_to(x, shape):
    """x repeated to ``shape`` by NumPy's rules."""
    shape = tuple(shape)
    a = aval_of(x)
    if a.shape == shape:
        return x
    lead = len(shape) - a.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(a.shape, shape[lead:], strict=True)):
        raise errors.ShapeError(f"cannot broadcast {a} to shape {shape}.",
                                "Each axis must be equal, or 1, counted from the last.")
    return OPS["broadcast_in_dim"](_recorded(x), shape=shape, dims=tuple(range(lead, len(shape))))


def broadcast_shape(*shapes) -> tuple[int, ...]:
    """The common shape; ShapeError where there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise errors.ShapeError(f"shapes {', '.join(map(str, shapes))} do not broadcast.",
                                "Each axis must be equal, or 1, counted from the last.") from None


def broadcast_arrays(*xs) -> list:
    """The operands in their common shape."""
    values = [asvalue(x) for x in xs]
    shape = broadcast_shape(*[shape_of(x) for x in values])
    return [broadcast_to(x, shape) for x in values]


def ufunc(np_ufunc, *xs):
    """``np_ufunc(*xs)``, bound if anything is traced."""
    if any(type(x) is Tracer for x in xs):
        return dispatch.call(np_ufunc, xs, False)
    return np_ufunc(*xs)


def axis_of(axis, ndim: int) -> int:
    """``axis`` counted from the front; AxisError outside."""
    try:
        index = int(axis.__index__())
    except AttributeError:
        raise errors.AxisError(f"an axis must be an integer, got {axis!r}.", axis=0, ndim=ndim) from None
    if not -ndim <= index < ndim:
        raise errors.AxisError(f"axis {index} is out of bounds for an array of {ndim} dimensions.",
                               f"Use {-ndim} to {ndim - 1}." if ndim else "A scalar has no axes.",
                               axis=index, ndim=ndim)
    return index % ndim


def axes_of(axis, ndim: int) -> tuple[int, ...]:
    """The sorted axes that ``axis`` (None: all; an integer; a tuple) names."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple([axis_of(a, ndim) for a in axis]) if isinstance(axis, (tuple, list)) else (
        axis_of(axis, ndim),)
    if len(set(axes)) != len(axes):
        raise errors.AxisError(f"axes {axis} name an axis twice.", "Name each axis once.", axis=axes[0],
                               ndim=ndim)
    return tuple(sorted(axes))


def refuse_out(out) -> None:
    """Raises for ``out=``: results of traced functions are new values."""
    if any(x is not None for x in (out if isinstance(out, tuple) else (out,))):
        raise errors.InPlaceError("out= would write a traced value into an ndarray.",
                                  "Use the returned value: y = np.f(x) instead of np.f(x, out=y).")


__all__ = ["METHODS", "FUNCTIONS", "asvalue", "aval", "aval_of", "axes_of", "axis_of", "bind",
           "broadcast_arrays", "broadcast_shape", "broadcast_to", "convert", "implements", "is_number",
           "promote", "public", "refuse_out", "result_type", "shape_of", "signature_of", "traced", "ufunc"]
