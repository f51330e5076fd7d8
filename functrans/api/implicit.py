"""Fixed points, differentiated by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import lax, tree
from ..numpy.core import aval_of, convert

DENSE = 64            # unknowns up to which the tangent's equation is solved by its matrix


def _flat(x):
    """All leaves as one vector."""
    leaves = tree.leaves(x)
    if not leaves:
        return np.zeros(0)
    dtype = np.result_type(*[aval_of(v).dtype for v in leaves])
    return np.concatenate([convert(np.reshape(v, (-1,)), dtype) for v in leaves])


def _like(vector, x):
    """A vector cut into leaves like those of x."""
    leaves, treedef = tree.flatten(x)
    out, at = [], 0
    for v in leaves:
        a = aval_of(v)
        out.append(convert(np.reshape(vector[at:at + a.size], a.shape), a.dtype))
        at += a.size
    return treedef.unflatten(out)


def solve_linear(g, y, dense=DENSE):
    """x with g(x) = y for a linear function of pytrees: by its matrix up to ``dense`` unknowns, else
    by GMRES."""
    flat = _flat(y)
    n = aval_of(flat).size

    def product(v):
        return _flat(g(_like(v, y)))

    if n <= dense:
        from .batching import vmap
        matrix = vmap(product, out_axes=1)(np.eye(n, dtype=aval_of(flat).dtype))
        return _like(np.linalg.solve(matrix, flat[:, None])[:, 0], y)
    from ..scipy.sparse.linalg import gmres
    eps = float(np.finfo(aval_of(flat).dtype).eps)
    return _like(gmres(product, flat, tol=100 * eps, restart=40)[0], y)


def fixed_point(f: Callable, x0: Any, *args: Any, rtol: float | None = None, atol: float = 0.0,
                maxiter: int = 10_000, solve: Callable | None = None) -> Any:
    """x with x = f(x, *args), by iteration from ``x0``.

    Derivatives in ``args``, and in what f closes over, are those of the fixed point, of any order and mode:
    they solve a linear equation there, and do not go through the iterations. The derivative in x0 is 0.

    Args:
      f: function of a pytree (and ``args``), to one like it; near the fixed point a contraction, unless
        ``solve`` finds it in another way.
      x0: pytree of arrays where the iteration begins.
      args: further arguments of f.
      rtol, atol: the iteration ends when f moves x by no more than atol + rtol |x| (of all leaves as one
        vector; rtol is 4 ulps by default).
      maxiter: it also ends after so many turns; then the result is NaN.
      solve: ``(f of x alone, x0) -> x``, to be used instead of plain iteration.

    Returns:
      A pytree like ``x0``.

    >>> import numpy as np
    >>> from functrans import fixed_point, grad
    >>> float(fixed_point(np.cos, 1.0).round(6))
    0.739085
    >>> def root(a):                       # Heron's iteration
    ...     return fixed_point(lambda x: 0.5 * (x + a / x), 1.0)
    >>> float(grad(root)(4.0))
    0.25
    """
    def at(x):
        return tree.map(lambda new, old: convert(new, aval_of(old).dtype), f(x, *args), x)

    def iterate(difference, x0):
        def size(x):
            return np.sqrt(np.sum(np.abs(_flat(x)) ** 2))

        def go_on(state):
            x, moved, turns = state
            eps = float(np.finfo(aval_of(moved).dtype).eps)
            return (moved > atol + (4 * eps if rtol is None else rtol) * size(x)) & (turns < maxiter)

        def turn(state):
            x, _, turns = state
            new = at(x)
            return new, size(tree.map(np.subtract, new, x)), turns + 1

        start = np.full((), np.inf, aval_of(size(x0)).dtype)
        x, moved, _ = lax.while_loop(go_on, turn, (x0, start, 0))
        lost = go_on((x, moved, -1))
        return tree.map(lambda v: np.where(lost, np.nan * v, v), x)

    def chosen(difference, x0):
        return iterate(difference, x0) if solve is None else solve(at, x0)

    return lax.custom_root(lambda x: tree.map(np.subtract, at(x), x), x0, chosen, solve_linear)
