"""Functions that take Python functions: piecewise, vectorize, apply_along_axis, apply_over_axes."""

from __future__ import annotations

import re

import numpy as np

from .. import errors
from ..ir.op import OPS
from ..trace.core import aval_of
from .core import asvalue, axis_of, broadcast_shape, convert, implements, traced
from .shape import as_array, dtype_of, fit, moveaxis, ndim_of, reshaped, shape_of, splat, supported


def _vmap(function, in_axes):
    from ..api.batching import vmap
    return vmap(function, in_axes)


@implements(np.piecewise)
def piecewise(x, condlist, funclist, *args, **kw):
    """For each element the function of the last condition that holds; in shape and dtype of x.

    One function more than conditions: for where none holds; without it, these elements are 0. Traced
    functions get all of x, not the elements where their condition holds: they must work elementwise.

    >>> import numpy as np
    >>> from functrans import grad
    >>> grad(lambda x: np.piecewise(x, [x < 0], [lambda x: -x, lambda x: x**2]).sum())(np.array([-1.0, 3.0]))
    array([-1.,  6.])
    """
    x = as_array(x)
    several = isinstance(condlist, (list, tuple)) or ndim_of(condlist) > ndim_of(x)
    if not several or (ndim_of(x) and not ndim_of(as_array(condlist[0]))):
        condlist = [condlist]
    conditions = [fit(as_array(c), np.bool_, shape_of(x)) for c in condlist]
    n, functions = len(conditions), list(funclist)
    if len(functions) not in (n, n + 1):
        raise errors.ArgumentError(f"piecewise: {len(functions)} functions for {n} conditions.",
                                   f"Give {n} or {n + 1}.")
    functions = functions[n:] + functions[:n]
    conditions = [None] * (len(functions) - n) + conditions
    out = splat(0, x)
    for condition, function in zip(conditions, functions, strict=True):
        value = function(x, *args, **kw) if callable(function) else function
        value = fit(asvalue(value), dtype_of(x), shape_of(x))
        out = value if condition is None else OPS["select"](condition, value, out)
    return out


# ----- vectorize ------------------------------------------------------------------------------

_ARGUMENT = r"\(\s*(?:\w+(?:\s*,\s*\w+)*)?\s*\)"
_LIST = rf"\s*{_ARGUMENT}\s*(?:,\s*{_ARGUMENT}\s*)*"


def _cores(signature):
    """The core dimensions of "(m,n),(n)->(m)": names, for each input and each output."""
    if not re.fullmatch(rf"(?:{_LIST})?->{_LIST}", signature):
        raise ValueError(f"vectorize: not a valid gufunc signature: {signature!r}")
    return [[tuple(re.findall(r"\w+", part)) for part in re.findall(_ARGUMENT, side)]
            for side in signature.split("->")]


class vectorize:
    """A function of scalars (or of the core dimensions of ``signature``) made one of arrays, which broadcast.

    NumPy's class and arguments. Where an argument is traced, the function runs once, batched as by
    ``functrans.vmap``, instead of once an element; so its ``if`` must not depend on elements. The dtype
    of results is the function's, or that of ``otypes``.

    >>> import functrans.numpy as fnp
    >>> from functrans import grad
    >>> dot = fnp.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")
    >>> grad(lambda a: dot(a, [[1.0, 2.0], [3.0, 4.0]]).sum())(fnp.ones(2))
    array([4., 6.])
    """

    def __init__(self, pyfunc=np._NoValue, otypes=None, doc=None, excluded=None, cache=False,
                 signature=None):
        self._plain = np.vectorize(pyfunc, otypes, doc, excluded, cache, signature)
        self.excluded = set(excluded or ())
        self.signature = signature
        self._cores = None if signature is None else _cores(signature)
        self.pyfunc = None
        if pyfunc is not np._NoValue:
            self._take(pyfunc, doc)

    def _take(self, pyfunc, doc=None):
        self.pyfunc = pyfunc
        self.__name__ = getattr(pyfunc, "__name__", type(self).__name__)
        self.__doc__ = doc if doc is not None else getattr(pyfunc, "__doc__", None)

    def __call__(self, *args, **kwargs):
        if self.pyfunc is None:                     # as a decorator with arguments
            self._plain(args[0])
            self._take(args[0], self._plain.__doc__)
            return self
        if not any(traced(x) for x in (*args, *kwargs.values())):
            return self._plain(*args, **kwargs)
        return self._traced(args, kwargs)

    def _traced(self, args, kwargs):
        places = [i for i in range(len(args)) if i not in self.excluded]
        names = [name for name in kwargs if name not in self.excluded]
        values = [as_array(x) for x in (*[args[i] for i in places], *[kwargs[n] for n in names])]

        def call(*xs):
            given, named = list(args), dict(kwargs)
            for i, x in zip(places, xs, strict=False):
                given[i] = x
            named.update(zip(names, xs[len(places):], strict=True))
            return self._checked(self.pyfunc(*given, **named), sizes)

        inputs = [()] * len(values) if self._cores is None else self._cores[0]
        if len(inputs) != len(values):
            raise errors.ArgumentError(f"vectorize: {len(values)} arguments for the signature "
                                       f"{self.signature!r}.", f"Give {len(inputs)}.")
        sizes = {}
        for i, (x, dims) in enumerate(zip(values, inputs, strict=True)):
            shape = shape_of(x)
            if len(shape) < len(dims):
                raise errors.ShapeError(f"vectorize: argument {i} is {aval_of(x)}; the signature "
                                        f"{self.signature!r} needs {len(dims)} axes.")
            for name, n in zip(dims, shape[len(shape) - len(dims):], strict=True):
                if sizes.setdefault(name, n) != n:
                    raise errors.ShapeError(f"vectorize: dimension {name} is {sizes[name]} and, in argument "
                                            f"{i}, {n} long ({self.signature!r}).")
        loops = [shape_of(x)[:ndim_of(x) - len(dims)] for x, dims in zip(values, inputs, strict=True)]
        shape = broadcast_shape(*loops)
        function = call
        for axis in range(1, len(shape) + 1):       # the last loop axis is the innermost map
            mapped = tuple([0 if len(own) >= axis and own[-axis] != 1 else None for own in loops])
            function = _mapped(function, mapped, shape[-axis])
        squeezed = [reshaped(x, tuple([n for n in own if n != 1]) + shape_of(x)[len(own):])
                    for x, own in zip(values, loops, strict=True)]
        return function(*squeezed)

    def _checked(self, out, sizes):
        """Results in the dtypes of ``otypes`` and the core shapes of the signature."""
        many = isinstance(out, tuple)
        results = [asvalue(x) for x in (out if many else (out,))]
        if self._plain.otypes is not None:
            if len(self._plain.otypes) != len(results):
                raise errors.ArgumentError(f"vectorize: otypes {self._plain.otypes!r} for "
                                           f"{len(results)} results.")
            results = [convert(x, supported(t)) for x, t in zip(results, self._plain.otypes, strict=True)]
        if self._cores is not None:
            dims = self._cores[1]
            if len(dims) != len(results):
                raise errors.ArgumentError(f"vectorize: {len(results)} results for the signature "
                                           f"{self.signature!r}.", f"Return {len(dims)}.")
            for x, names in zip(results, dims, strict=True):
                if len(names) != ndim_of(x) or any(
                        sizes.setdefault(d, n) != n for d, n in zip(names, shape_of(x), strict=True)):
                    raise errors.ShapeError(f"vectorize: a result is {aval_of(x)}, which does not fit "
                                            f"{self.signature!r} with {sizes}.")
        elif any(ndim_of(x) for x in results):
            raise errors.ShapeError(f"vectorize: the function returned {aval_of(results[0])}, not scalars.",
                                    "Give a signature, e.g. '()->(n)'.")
        return tuple(results) if many else results[0]


def _mapped(function, axes, size):
    """``function`` mapped over the arguments of axis 0; where none is, its result repeated."""
    if any(a is not None for a in axes):
        return _vmap(function, axes)

    def repeated(*xs):
        out = function(*xs)
        many = isinstance(out, tuple)
        wide = [np.broadcast_to(x, (size, *shape_of(x))) for x in (out if many else (out,))]
        return tuple(wide) if many else wide[0]
    return repeated


# ----- along axes -----------------------------------------------------------------------------


@implements(np.apply_along_axis)
def apply_along_axis(func1d, axis, arr, *args, **kwargs):
    """``func1d`` of each vector along ``axis``; its results take the place of that axis.

    On traced arrays func1d runs once, batched.

    >>> import numpy as np
    >>> from functrans import jit
    >>> jit(lambda x: np.apply_along_axis(np.sort, 0, x))(np.array([[3, 1], [2, 4]]))
    array([[2, 1],
           [3, 4]])
    """
    x = as_array(arr)
    axis = axis_of(axis, ndim_of(x))
    x = moveaxis(x, axis, -1)

    def function(row):
        return asvalue(func1d(row, *args, **kwargs))
    lead = ndim_of(x) - 1
    for _ in range(lead):
        function = _vmap(function, (0,))
    out = function(x)
    return moveaxis(out, tuple(range(axis, lead)), tuple(range(ndim_of(out) - lead + axis, ndim_of(out))))


@implements(np.apply_over_axes)
def apply_over_axes(func, a, axes):
    """``func(a, axis)`` for each of the axes in turn; axes that it removes are put back with extent 1."""
    x = as_array(a)
    ndim = ndim_of(x)
    for axis in [axes] if np.ndim(axes) == 0 else axes:
        axis = axis_of(axis, ndim) if ndim else axis        # NumPy's reductions of scalars take axis 0
        out = as_array(func(x, axis))
        if ndim_of(out) == ndim - 1:
            out = np.expand_dims(out, axis)
        if ndim_of(out) != ndim:
            raise errors.ShapeError(f"apply_over_axes: the function made {aval_of(out)} of {aval_of(x)}.",
                                    "It must keep the axis or reduce it.")
        x = out
    return x


__all__ = ["apply_along_axis", "apply_over_axes", "piecewise", "vectorize"]
