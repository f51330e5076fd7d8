"""Derivatives as SciPy linear operators: products only, for iterative solvers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..api.batching import vmap
from ..api.derivatives import grad, linearize, vjp
from ..api.flattening import ravel_pytree
from ..api.jacobians import at_chosen, float_leaves
from ..calling.arguments import Selection
from ..calling.staging import api, check_callable


@api
def jacobian_operator(fun: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """The Jacobian as a ``scipy.sparse.linalg.LinearOperator``: a function of ``fun``'s arguments.

    Its ``matvec`` is a jvp, its ``rmatvec`` a vjp, ``matmat`` and ``rmatmat`` are batched; ``fun`` runs once
    for each direction of differentiation. Rows and columns are the elements of result and argument, in order.

    >>> import numpy as np
    >>> from functrans import sparse
    >>> J = sparse.jacobian_operator(lambda x: x ** 2)(np.array([1.0, 2.0]))
    >>> J @ np.ones(2)
    array([2., 4.])
    """
    return _operator_at(fun, argnums, "sparse.jacobian_operator", False)


@api
def hessian_operator(fun: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """The Hessian of a scalar function as a ``scipy.sparse.linalg.LinearOperator``, which is symmetric.

    >>> import numpy as np
    >>> from functrans import sparse
    >>> H = sparse.hessian_operator(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]))
    >>> H @ np.ones(2)
    array([ 6., 12.])
    """
    return _operator_at(fun, argnums, "sparse.hessian_operator", True)


def _operator_at(fun, argnums, what, second) -> Callable:
    """The operator as a function of ``fun``'s arguments; that of its gradient if ``second``."""
    check_callable(fun, what)
    selection = Selection(fun, argnums, None, what)

    @api
    def operator(*args, **kwargs):
        partial, chosen = at_chosen(selection, args, kwargs)
        float_leaves(chosen, f"{what} with respect to", False)
        return _operator(grad(partial, tuple(range(len(chosen)))) if second else partial, chosen, second)

    return operator


def _operator(fun, primals, symmetric) -> LinearOperator:
    x, unravel = ravel_pytree(primals)

    def flat(v):
        return ravel_pytree(fun(*unravel(v)))[0]

    out, push = linearize(flat, x)
    pulls: list = []

    def pull(ct):
        if not pulls:
            pulls.append(vjp(flat, x)[1])
        return pulls[0](ct)[0]

    def single(linear):
        return lambda v: linear(np.ravel(v).astype(x.dtype, copy=False))

    def several(linear):
        return lambda m: vmap(linear, 1, 1)(np.asarray(m).astype(x.dtype, copy=False))

    back = push if symmetric else pull
    return LinearOperator((len(out), len(x)), matvec=single(push), rmatvec=single(back), matmat=several(push),
                          rmatmat=several(back), dtype=np.result_type(x, out))
