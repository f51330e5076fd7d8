"""gradients of functions: as of symbols, for a function that computes the ys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import errors
from ..calling.arguments import Chosen, Selection
from ..calling.boundary import Transformed
from ..calling.staging import api, as_value, check_callable, find_pass, leaf_name, trace_call
from ..ir.core import Jaxpr, lit
from ..transform.interpret import transpose_values
from ..transform.linearize import linearize_values
from ..transform.zeros import Zero, has_tangent
from .feeding import Target, check_unconnected, seeds_of


@api
def gradients(ys_fn: Callable, argnums: int | Sequence[int] = 0, grad_ys: Any = None, *,
              unconnected: str = "none") -> Callable:
    """A function that returns the derivative of the sum of all that ``ys_fn`` returns: ``tf.gradients`` of a
    function.

    Args:
      ys_fn: returns a pytree of arrays of any shapes. Integers among them are constants.
      argnums: which positional arguments: an integer, or several (then the result is a tuple).
      grad_ys: what the derivative of each result is multiplied with: a pytree of arrays like the results, in
        which None stands for ones. Complex results need it.
      unconnected: for an array that no result depends on, and for integers: ``"none"`` gives None, ``"zero"``
        zeros of its type, ``"raise"`` raises.

    Returns:
      a function of ``ys_fn``'s arguments; its result has the structure, shapes and dtypes of those in
      ``argnums``.

    Raises:
      GraphError: another number of ``grad_ys`` than of results, an argument that is not connected.
      ShapeError, DtypeError: ``grad_ys`` unlike the results.

    >>> import numpy as np
    >>> from functrans import gradients
    >>> gradients(lambda x, y: [x * y, x ** 2])(np.array([1.0, 2.0]), 3.0)
    array([5., 7.])
    >>> gradients(lambda x, y: x * y, (0, 1), grad_ys=10.0)(2.0, 3.0)
    (np.float64(30.0), np.float64(20.0))
    """
    check_callable(ys_fn, "gradients")
    check_unconnected(unconnected)
    selection = Selection(ys_fn, argnums, None, "gradients")

    def call(*args, **kwargs):
        chosen = Chosen(selection, args, kwargs)
        avals = chosen.avals()
        traced = trace_call(chosen.call, chosen.leaves, avals, "gradients")
        jaxpr = traced.jaxpr
        seeds = seeds_of([Target(a, path, str(a.strong)) for a, path in zip(
            jaxpr.out_avals, traced.out_tree.paths(), strict=True)], traced.out_tree, grad_ys)
        wrt = tuple([has_tangent(a) for a in avals]) + (False,) * (len(jaxpr.invars) - len(avals))
        ones = tuple([ct is None for ct in seeds])
        found, values = find_pass("gradients", jaxpr, (wrt, ones), lambda *v: _backward(jaxpr, wrt, ones, v),
                                  [*chosen.leaves, *traced.consts, *[ct for ct in seeds if ct is not None]])
        outs = iter(found.run(values))
        connected = iter(found.aux)
        grads = [next(outs) if w and next(connected) else None for w in wrt[:len(avals)]]
        lost = [i for i, x in enumerate(grads) if x is None]
        if lost and unconnected == "raise":
            names = [f"{leaf_name(chosen.treedef, chosen.name, i)}:{avals[i]}" for i in lost]
            raise errors.GraphError(
                f"gradients: no result depends on {', '.join(names)}.",
                "Leave it out of argnums, or say unconnected='zero'.")
        if unconnected == "zero":
            for i in lost:
                grads[i] = as_value(lit(0, avals[i].strong))
        return chosen.restore(grads)

    return Transformed(call, ys_fn, "gradients", (_remake, (ys_fn, argnums, grad_ys, unconnected)))


def _remake(ys_fn, argnums, grad_ys, unconnected):
    """The function again, from its pickle."""
    return gradients(ys_fn, argnums, grad_ys, unconnected=unconnected)


def _backward(jaxpr: Jaxpr, wrt: tuple[bool, ...], ones: tuple[bool, ...], values: Sequence[Any]):
    """``(gradients that are connected, which of the wanted ones are)``."""
    n = len(jaxpr.invars)
    _, keep, lin, residuals = linearize_values(jaxpr, values[:n], wrt)
    rest = iter(values[n:])
    cts = [lit(1, a.strong) if one else next(rest) for one, a in zip(ones, jaxpr.out_avals, strict=True)]
    got = transpose_values(lin, sum(wrt), residuals, [ct for ct, k in zip(cts, keep, strict=True) if k])
    found = tuple([not isinstance(ct, Zero) for ct in got])
    return [ct for ct, f in zip(got, found, strict=True) if f], found
