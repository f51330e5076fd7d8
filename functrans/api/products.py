"""Products with the Hessian, and its diagonal, without the matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import errors, tree
from ..calling.arguments import Selection
from ..calling.boundary import Transformed
from ..calling.staging import api, check_callable
from ..trace.core import aval_of
from .chunks import check_chunk, chunked
from .derivatives import grad, jvp, linearize
from .jacobians import at_chosen, float_leaves


@api
def hvp(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable:
    """The Hessian of a scalar function times a vector: ``hvp(f)(*args, v)``, forward over reverse mode.

    Costs a few gradients, whatever the size of the Hessian.

    Args:
      argnums: the arguments to differentiate with respect to.
      has_aux: ``fun`` returns ``(scalar, aux)``; then the result is ``(product, aux)``.

    Returns:
      a function of ``fun``'s arguments and, last, ``v``: a pytree like the argument (a tuple of them for
      several ``argnums``); its result is one, too.

    >>> import numpy as np
    >>> from functrans import hvp
    >>> hvp(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    check_callable(fun, "hvp")
    selection = Selection(fun, argnums, None, "hvp")

    def call(*args, **kwargs):
        if len(args) < 2:
            raise errors.ArgumentError(f"hvp: called with {len(args)} positional arguments.",
                                       "Write hvp(f)(x, v): the arguments of f, then the vector.")
        *args, v = args
        partial, chosen = at_chosen(selection, args, kwargs)
        gradient = grad(partial, tuple(range(len(chosen))), has_aux=has_aux)
        _, moved, *aux = jvp(gradient, chosen, (v,) if selection.single else tuple(v), has_aux=has_aux)
        moved = moved[0] if selection.single else moved
        return (moved, aux[0]) if has_aux else moved

    return Transformed(call, fun, "hvp", (hvp, (fun, argnums, has_aux)))


@api
def hessian_diag(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, *,
                 chunk_size: int | str | None = "auto") -> Callable:
    """The diagonal of the Hessian of a scalar function, as a pytree like the argument.

    It takes as many Hessian-vector products as there are elements; ``sparse.hessian`` takes fewer where
    the Hessian is sparse.

    Args:
      argnums, has_aux: as in ``hvp``.
      chunk_size: how many products are taken at a time: "auto" bounds the memory to about 256 MiB.

    >>> import numpy as np
    >>> from functrans import hessian_diag
    >>> hessian_diag(lambda x: np.sum(x ** 3) + x[0] * x[1])(np.array([1.0, 2.0]))
    array([ 6., 12.])
    """
    check_callable(fun, "hessian_diag")
    check_chunk(chunk_size, "hessian_diag")
    selection = Selection(fun, argnums, None, "hessian_diag")

    def call(*args, **kwargs):
        partial, chosen = at_chosen(selection, args, kwargs)
        leaves, treedef = float_leaves(chosen, "hessian_diag with respect to", False)
        scalar = (lambda *xs: partial(*xs)[0]) if has_aux else partial
        gradient = grad(scalar, tuple(range(len(chosen))))
        _, push = linearize(gradient, *chosen)
        avals = [aval_of(x).strong for x in leaves]
        total = sum([a.size for a in avals])

        def flat(*directions):
            moved = tree.leaves(push(*treedef.unflatten(directions)))
            return np.concatenate([np.reshape(t, -1) for t in moved])

        def own(rows, numbers):
            return np.take_along_axis(rows, numbers[:, None], axis=1)[:, 0]

        diagonal = chunked(flat, avals, total or 1 if chunk_size is None else chunk_size, 0, own)
        cuts = np.cumsum([a.size for a in avals]).tolist()
        out = treedef.unflatten([np.reshape(diagonal[end - a.size:end], a.shape).astype(a.dtype)
                                 for a, end in zip(avals, cuts, strict=True)])
        out = out[0] if selection.single else out
        return (out, partial(*chosen)[1]) if has_aux else out

    return Transformed(call, fun, "hessian_diag", (_diag_again, (fun, argnums, has_aux, chunk_size)))


def _diag_again(fun, argnums, has_aux, chunk_size):
    return hessian_diag(fun, argnums, has_aux, chunk_size=chunk_size)
