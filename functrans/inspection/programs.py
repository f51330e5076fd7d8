"""Looking at programs: the jaxpr of a function, and the types of its results, without running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..calling.arguments import Chosen, Selection, Typed, positions
from ..calling.staging import Uncollected, api, check_callable, leaf_name, own_lines, trace_call
from ..ir.core import Jaxpr, aval


class ShapeDtypeStruct(Typed):
    """Shape and dtype without data, as ``eval_shape`` returns and tracing functions take.

    >>> import numpy as np
    >>> from functrans import ShapeDtypeStruct
    >>> ShapeDtypeStruct((3, 4), np.float64)
    ShapeDtypeStruct(shape=(3, 4), dtype=float64)
    """

    __slots__ = ()

    def __init__(self, shape: Sequence[int], dtype: Any):
        self.aval = aval(tuple(shape), np.dtype(dtype))

    def __repr__(self):
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype})"

    def __eq__(self, other):
        return isinstance(other, ShapeDtypeStruct) and self.aval is other.aval

    def __hash__(self):
        return hash(self.aval)


@api
def make_jaxpr(fun: Callable, static_argnums: int | Sequence[int] = (), *,
               return_shape: bool = False) -> Callable:
    """A function that returns the program of ``fun`` instead of running it.

    Arguments may be arrays or ``ShapeDtypeStruct``s. The result prints; ``str(jaxpr)`` and
    ``jaxpr.show(sources=True)`` (with the user's lines and the ``name_scope``s). With ``return_shape`` it is
    ``(jaxpr, pytree of ShapeDtypeStruct)``.

    >>> import numpy as np
    >>> from functrans import make_jaxpr
    >>> print(make_jaxpr(lambda x: np.sin(x) + 1.0)(2.0))
    jaxpr(x:f64[])
      a:f64[] = sin(x)
      b:f64[] = add(a, 1.0)
      return b
    """
    check_callable(fun, "make_jaxpr")
    nums = positions(static_argnums, "make_jaxpr", "static_argnums")
    static = (nums,) if isinstance(nums, int) else nums

    @api
    def show(*args, **kwargs):
        with own_lines():       # also of equations that transforms have made
            traced = abstract(fun, static, args, kwargs, "make_jaxpr")
        jaxpr = traced.jaxpr
        if not return_shape:
            return jaxpr
        return jaxpr, traced.out_tree.unflatten([ShapeDtypeStruct(a.shape, a.dtype)
                                                 for a in jaxpr.out_avals])

    return show


@api
def eval_shape(fun: Callable, *args, **kwargs):
    """Shapes and dtypes of ``fun(*args, **kwargs)``, as a pytree of ``ShapeDtypeStruct``, without running it.

    >>> import numpy as np
    >>> from functrans import ShapeDtypeStruct, eval_shape
    >>> eval_shape(np.matmul, ShapeDtypeStruct((3, 4), float), ShapeDtypeStruct((4, 2), float))
    ShapeDtypeStruct(shape=(3, 2), dtype=float64)
    """
    traced = abstract(fun, (), args, kwargs, "eval_shape")
    return traced.out_tree.unflatten([ShapeDtypeStruct(a.shape, a.dtype) for a in traced.jaxpr.out_avals])


def abstract(fun, static, args, kwargs, what):
    """``fun`` traced on arguments of which only types are looked at; its inputs have their names."""
    nums = tuple([i for i in range(len(args)) if i not in {s % max(len(args), 1) for s in static}])
    chosen = Chosen(Selection(fun, nums, tuple(kwargs), what), args, kwargs)
    avals = chosen.avals()
    with Uncollected():
        traced = trace_call(chosen.call, chosen.leaves, avals, what, known=False, staged=True)
    jaxpr = traced.jaxpr
    names = [leaf_name(chosen.treedef, chosen.name, i) for i in range(len(avals))]
    named = Jaxpr(jaxpr.invars, jaxpr.eqns, jaxpr.outs, jaxpr.retraced, tuple(names))
    return traced._replace(jaxpr=named)
