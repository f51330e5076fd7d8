"""Ops of one's own: from a Python function on arrays, or from a kernel in C or Cython."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import errors, tree
from .calling.staging import api, as_value, check_callable, describe, name_of
from .inspection.programs import ShapeDtypeStruct
from .ir.core import Lit
from .ops.own import own_op
from .trace.core import Captured, aval_of, bind
from .trace.tracer import Tracer

_METHODS = ("sequential", "expand_dims", "broadcast_all")
_MOST = 32                      # operands and results of a kernel


def _seen(values) -> list:
    return [as_value(x) if type(x) in (Lit, Captured) else x for x in values]


# ----- kernels ------------------------------------------------------------------------------------


# Functions of numbers: the C type and how many -> how they are called.
_CODES = {("double", 1): 1, ("double", 2): 2, ("double", 3): 3, ("float", 1): 4, ("float", 2): 5}


class Kernel:
    """A function in machine code: its address, what it takes, and what keeps it alive."""

    def __init__(self, function: Any, signature: str | None):
        self.owner = function
        self.address, found = _address(function)
        signature = signature if signature is not None else found
        self.scalars = signature is not None and "*" not in signature
        self.code, self.arity, self.dtype = 0, 0, None
        if self.scalars:
            self._numbers(signature)

    def _numbers(self, signature):
        match = re.fullmatch(r"\s*(\w+)\s*\(([^)]*)\)(?:\s*(?:noexcept|nogil))*\s*", signature)
        kinds = [re.sub(r"\s+\w+$", "", a.strip()) if " " in a.strip() else a.strip()
                 for a in match[2].split(",")] if match else []
        skips = bool(kinds) and kinds[-1] == "int"          # Cython's cpdef functions take one more
        kinds = kinds[:-1] if skips else kinds
        code = _CODES.get((match[1], len(kinds))) if match and set(kinds) == {match[1]} else None
        if code is None or (skips and code > 3):
            raise errors.ArgumentError(
                f"primitive: a kernel of signature {signature!r}.",
                "Functions of numbers are double(double), of up to three doubles, float(float) or "
                "float(float, float); others take (void **data, const int64_t *shapes, const double *).")
        self.code, self.arity = code + (5 if skips else 0), len(kinds)
        self.dtype = np.dtype(np.float64 if match[1] == "double" else np.float32)


def _address(function) -> tuple[int, str | None]:
    """Where the code is, and its signature if that is known."""
    kind = type(function)
    if isinstance(function, int):
        return function, None
    if kind.__name__ == "PyCapsule":
        api_ = ctypes.pythonapi
        api_.PyCapsule_GetName.restype = ctypes.c_char_p
        api_.PyCapsule_GetName.argtypes = [ctypes.py_object]
        api_.PyCapsule_GetPointer.restype = ctypes.c_void_p
        api_.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        name = api_.PyCapsule_GetName(function)
        return api_.PyCapsule_GetPointer(function, name), name.decode() if name and b"(" in name else None
    if any(base.__name__ in ("_CFuncPtr", "CFuncPtr") for base in kind.__mro__):
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
        names: dict[Any, str] = {ctypes.c_double: "double", ctypes.c_float: "float"}
        takes = [names.get(a) for a in function.argtypes or ()]
        if function.restype in names and takes and None not in takes:
            return address, f"{names[function.restype]}({', '.join(map(str, takes))})"
        return address, None
    if kind.__module__ == "_cffi_backend":
        import cffi
        ffi = cffi.FFI()
        ctype = ffi.typeof(function)
        known = None
        if ctype.kind == "function" and all(a.kind == "primitive" for a in ctype.args):
            # c_int: an int of its own, not the one that Cython's functions take behind their arguments
            kinds = [a.cname if a.cname in ("double", "float") else f"c_{a.cname}" for a in ctype.args]
            known = f"{ctype.result.cname}({', '.join(kinds)})"
        return int(ffi.cast("uintptr_t", function)), known
    for attribute in ("ctypes", "address", "function"):     # numba.cfunc; scipy.LowLevelCallable
        if hasattr(function, attribute):
            return _address(getattr(function, attribute))
    raise errors.ArgumentError(f"primitive: the kernel is a {kind.__name__}.",
                               "Give a ctypes or cffi function pointer (of a module that cffi compiled, "
                               "ffi.addressof(lib, name)), a PyCapsule (such as those in the "
                               "__pyx_capi__ of a Cython module), an address, or an object that has one.")


# ----- primitives ---------------------------------------------------------------------------------


class Primitive:
    """An op that a user has added: call it on arrays, numbers, or inside any transform.

    Made by ``primitive``. Its rules are set by ``def_shape``, ``def_jvp``, ``def_transpose``, ``def_vmap``,
    which work as decorators.

    >>> from functrans import grad
    >>> from functrans.extend import primitive
    >>> cube = primitive(shape=lambda x: x)(lambda x: x ** 3)
    >>> _ = cube.def_jvp(lambda primals, tangents: (cube(*primals), 3 * primals[0] ** 2 * tangents[0]))
    >>> float(grad(cube)(2.0))
    12.0
    """

    def __init__(self, run, name, shape, elementwise, linear, vmap_method, kernel, signature, parameters,
                 cost):
        self.run, self.name, self.shape, self.elementwise = run, name, shape, elementwise
        self.method = "broadcast_all" if elementwise else vmap_method
        self.parameters = tuple(parameters)
        self.kernel = None if kernel is None else Kernel(kernel, signature)
        if self.kernel is not None and self.kernel.scalars:
            self.elementwise, self.method = True, "broadcast_all"
        if linear is True:
            linear = (0,)
        self.linear = tuple(linear or ())
        self.jvp = self.transpose = self.vmap = None
        self._cost = cost
        if run is not None:
            functools.update_wrapper(self, run)
        self.op = own_op(self)

    def __repr__(self):
        return f"<primitive {self.name}>"

    def __reduce__(self):
        from .calling.boundary import global_name
        return global_name(self, self.run or self) or super().__reduce_ex__(2)

    # ----- rules ------------------------------------------------------------------------------

    def def_shape(self, shape: Callable) -> Callable:
        """``shape(*types, **params)``: the type of the result (``ShapeDtypeStruct``), or a tuple."""
        self.shape = self._new(shape)
        return shape

    def def_jvp(self, jvp: Callable) -> Callable:
        """``jvp(primals, tangents, **params) -> (out, tangent)``, written with NumPy and this op itself."""
        self.jvp = self._new(jvp)
        return jvp

    def def_transpose(self, transpose: Callable) -> Callable:
        """``transpose(ct, *operands, **params)``: a cotangent for each operand, None for those that it is
        not linear in. Operands that it is linear in are given as their types."""
        self.transpose = self._new(transpose)
        return transpose

    def def_vmap(self, vmap: Callable) -> Callable:
        """``vmap(axis_size, in_batched, *operands, **params) -> (out, out_batched)``; see ``custom_vmap``."""
        self.vmap = self._new(vmap)
        return vmap

    def _new(self, rule):
        """A rule that takes effect: what passes have recorded of earlier ones is forgotten."""
        check_callable(rule, f"a rule of {self.name}")
        self.op.sigs.clear()
        return rule

    # ----- calls ------------------------------------------------------------------------------

    def __call__(self, *operands, **params):
        try:
            return self._bound(operands, params)
        except Exception as e:
            errors.hide_internal_frames(e)
            raise

    def _bound(self, operands, params):
        values = [x if type(x) is Tracer else np.asarray(x) for x in operands]
        for i, x in enumerate(values):
            try:
                aval_of(x)
            except TypeError:
                raise errors.DtypeError(f"{self.name}: operand {i} is {describe(operands[i])}.",
                                        "Pass arrays or numbers; other things as keyword parameters."
                                        ) from None
        wanted = None if self.kernel is None else self.kernel.dtype
        given = [aval_of(x).dtype for x in values]
        if self.elementwise and values:
            values = list(np.broadcast_arrays(*values)) if len(values) > 1 else values
        if wanted is not None:
            if len(values) != self.kernel.arity:
                raise errors.ArgumentError(f"{self.name} takes {self.kernel.arity} operands, "
                                           f"got {len(values)}.")
            values = [x if aval_of(x).dtype == wanted else x.astype(wanted) for x in values]
        try:
            static = tuple(sorted(params.items()))
            hash(static)
        except TypeError:
            raise errors.ArgumentError(f"{self.name}: the parameters {sorted(params)} must be hashable.",
                                       "Pass arrays as operands, by position.") from None
        values = [np.ascontiguousarray(x) if isinstance(x, np.ndarray) and x.ndim else x for x in values]
        outs = bind(self.op, tuple(values), {"static": static, "size": 0, "mask": None})
        if wanted is not None:
            common = np.result_type(*given)
            if common.kind == "f" and common != wanted:
                outs = [x.astype(common) for x in outs]
        return self._packed(outs, [aval_of(x) for x in values], static)

    def _packed(self, outs, avals, static):
        return tuple(outs) if self._several(avals, static) else outs[0]

    def _several(self, avals, static):
        return isinstance(self._types(avals, static), (tuple, list))

    def _types(self, avals, static):
        if self.shape is None and not self.elementwise:
            raise errors.ArgumentError(f"{self.name} has no shape rule.",
                                       "Give it one with def_shape, or shape=.")
        types = [ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        return types[0] if self.shape is None else self.shape(*types, **dict(static))

    # ----- what the record asks ---------------------------------------------------------------

    def typed(self, avals, static) -> list:
        """Shapes and dtypes of the results."""
        out = self._types(avals, static)
        outs = out if isinstance(out, (tuple, list)) else [out]
        if not outs or not all(hasattr(o, "shape") and hasattr(o, "dtype") for o in outs):
            raise errors.ResultTypeError(f"the shape rule of {self.name} returned {out!r}.",
                                         "Return a ShapeDtypeStruct, or a tuple of them.")
        if self.kernel is not None and len(outs) + len(avals) > _MOST:
            raise errors.NotSupportedError(f"{self.name}: a kernel with {len(outs) + len(avals)} operands "
                                           f"and results; the most are {_MOST}.")
        return [(tuple(o.shape), np.dtype(o.dtype)) for o in outs]

    def computed(self, arrays, static) -> list:
        """The results of the Python function, of the types that the shape rule says."""
        types = self.typed([aval_of(x).strong for x in arrays], static)
        out = self.run(*[x[()] if np.ndim(x) == 0 else x for x in arrays], **dict(static))
        outs = out if isinstance(out, (tuple, list)) else [out]
        if len(outs) != len(types):
            raise errors.CallbackResultError(f"{self.name} returned {len(outs)} results where its shape rule "
                                             f"says {len(types)}.")
        got = [np.asarray(x) for x in outs]
        for x, (shape, dtype) in zip(got, types, strict=True):
            if x.shape != shape or x.dtype != dtype:
                raise errors.CallbackResultError(
                    f"{self.name} returned {x.dtype}{list(x.shape)} where its shape rule says "
                    f"{dtype}{list(shape)}.", "Both must agree, for every type of operand.")
        return got

    def cost(self, avals) -> float:
        """Estimated ns of a run of the kernel."""
        if self._cost is not None:
            return float(self._cost)
        return 50_000.0 + 20.0 * sum(a.size for a in avals)     # unknown: enough to let others have the GIL

    def forward(self, static) -> Callable:
        """The jvp rule as a flat function."""
        if self.jvp is None:
            raise errors.NonDifferentiableError(
                f"{self.name} has no derivative by this operand.",
                "Give it one with def_jvp (or say linear=... where it is linear), or put stop_gradient "
                "around the operand.")
        rule = self.jvp

        def flat(primals, tangents):
            pair = rule(tuple(_seen(primals)), tuple(_seen(tangents)), **dict(static))
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
                raise errors.TreeError(f"the jvp rule of {self.name} returned {describe(pair)}.",
                                       "Return a pair (out, tangent).")
            return (self._like(primals, pair[0], static, "output"),
                    self._like(primals, pair[1], static, "tangent"))

        return flat

    def _like(self, operands, value, static, what) -> list:
        avals = [aval_of(x).strong for x in operands]
        values = list(value) if self._several(avals, static) else [value]
        types = self.typed(avals, static)
        got = [(aval_of(x).shape, aval_of(x).dtype) for x in values]
        if got != types:
            show = lambda ts: ", ".join([f"{d}{list(s)}" for s, d in ts])
            raise errors.ShapeError(f"the jvp rule of {self.name} returned the {what} {show(got)} where "
                                    f"{show(types)} is needed.", "Types must be those of the result.")
        return values

    def backward(self, residuals, cts, avals, linear, static) -> list:
        """Cotangents of the linear operands."""
        if self.transpose is None:
            raise errors.NonDifferentiableError(f"{self.name} has no transpose.",
                                                "Give it one with def_transpose, for reverse mode.")
        rest = iter(_seen(residuals))
        operands = [ShapeDtypeStruct(a.shape, a.dtype) if m else next(rest)
                    for a, m in zip(avals, linear, strict=True)]
        cts = _seen(cts)
        ct = tuple(cts) if self._several(avals, static) else cts[0]
        got = self.transpose(ct, *operands, **dict(static))
        got = list(got) if isinstance(got, (tuple, list)) else [got]
        if len(got) != len(avals):
            raise errors.TreeError(f"the transpose of {self.name} returned {len(got)} cotangents for "
                                   f"{len(avals)} operands.",
                                   "Return one for each, None where it is not linear.")
        out = []
        for x, a, m in zip(got, avals, linear, strict=True):
            if not m:
                continue
            x = np.zeros(a.shape, a.dtype) if x is None else x
            if (aval_of(x).shape, aval_of(x).dtype) != (a.shape, a.dtype):
                raise errors.ShapeError(f"the transpose of {self.name} returned {aval_of(x)} for an operand "
                                        f"{a}.", "Types must be equal.")
            out.append(x)
        return out

    def batched(self, size, mapped, values, static) -> tuple[list, list]:
        """The user's own batching."""
        assert self.vmap is not None
        pair = self.vmap(size, tuple([bool(m) for m in mapped]), *_seen(values), **dict(static))
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise errors.TreeError(f"the vmap rule of {self.name} returned {describe(pair)}.",
                                   "Return a pair (out, out_batched).")
        outs = list(pair[0]) if isinstance(pair[0], (tuple, list)) else [pair[0]]
        flags = tree.leaves(pair[1])
        return outs, flags * len(outs) if len(flags) == 1 else flags


@api
def primitive(run: Callable | None = None, *, name: str | None = None, shape: Callable | None = None,
              elementwise: bool = False, linear: bool | Sequence[int] | None = None,
              vmap_method: str = "sequential", kernel: Any = None, signature: str | None = None,
              parameters: Sequence[str] = (), cost: float | None = None) -> Any:
    """An op from a Python function on arrays, or from a kernel in machine code; also a decorator.

    Args:
      run: ``(*arrays, **params) -> array`` or a tuple of several; it need not know anything of functrans. It
        may be left out where there is a kernel.
      name: that of the function by default; needed without one.
      shape: the shape rule, see ``Primitive.def_shape``; not needed for ``elementwise`` ops whose result has
        the type of their first operand.
      elementwise: whether each element of the result depends on the same elements of the operands. They are
        broadcast, and a batch is one more axis.
      linear: positions of the operands that it is linear in, together (True: the first). Its derivative by
        them is the op itself; reverse mode needs ``def_transpose``.
      vmap_method: ``"sequential"``: a batch is run one example after the other (in C, for a kernel);
        ``"broadcast_all"`` or ``"expand_dims"``: once, with a leading axis that ``run`` and ``shape`` know to
        deal with. ``def_vmap`` is an alternative.
      kernel: a pointer to a C function, which runs without the GIL: a ctypes or cffi function pointer, a
        PyCapsule, an address, a ``numba.cfunc``. Either ``double f(double)``, of up to three numbers, which
        is applied to each element; or ``int f(void **data, const int64_t *shapes, const double
        *parameters)``: the addresses of the results and then the operands, all dense; for each its number of
        axes and their extents; the values of ``parameters``. It returns 0, or a number that becomes a
        KernelError.
      signature: of the kernel, where its pointer does not tell, e.g. ``"double(double, double)"``.
      parameters: names of keyword parameters that the kernel gets, as doubles, in this order.
      cost: estimated nanoseconds of a run of the kernel.

    Returns:
      A ``Primitive``.

    >>> import numpy as np
    >>> from functrans import grad, vmap
    >>> from functrans.extend import primitive
    >>> @primitive(elementwise=True)
    ... def softplus(x):
    ...     return np.logaddexp(x, 0.0)
    >>> @softplus.def_jvp
    ... def _(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return softplus(x), t / (1.0 + np.exp(-x))
    >>> vmap(grad(softplus))(np.zeros(2))
    array([0.5, 0.5])
    """
    if run is None and kernel is None:
        return lambda f: primitive(f, name=name, shape=shape, elementwise=elementwise, linear=linear,
                                   vmap_method=vmap_method, parameters=parameters, cost=cost)
    if run is not None:
        check_callable(run, "primitive")
    if vmap_method not in _METHODS:
        raise errors.ArgumentError(f"primitive: vmap_method={vmap_method!r}.",
                                   f"Use one of {', '.join(_METHODS)}.")
    name = name or (name_of(run) if run is not None else None)
    if not name:
        raise errors.ArgumentError("primitive: a kernel without a name.", "Give name=...")
    return Primitive(run, name, shape, elementwise, linear, vmap_method, kernel, signature, parameters, cost)


__all__ = ["Primitive", "primitive"]
