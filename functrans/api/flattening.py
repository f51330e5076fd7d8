"""A pytree as one vector, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.staging import api, describe
from ..trace.core import aval_of


@api
def ravel_pytree(pytree: Any) -> tuple[Any, Callable]:
    """All elements of a pytree as one vector, and the function that puts a vector back.

    Returns:
      ``(flat, unravel)``: ``flat`` has the dtype that NumPy promotes the leaves' dtypes to; ``unravel(flat)``
      is a pytree of the same structure, shapes and dtypes, and may be traced and differentiated.

    Raises:
      DtypeError: a leaf that is no array; ShapeError: ``unravel`` of anything but such a vector.

    >>> import numpy as np
    >>> from functrans import ravel_pytree
    >>> flat, unravel = ravel_pytree({"b": 1.0, "w": np.array([[2.0, 3.0]])})
    >>> flat
    array([1., 2., 3.])
    >>> unravel(flat * 2)["w"]
    array([[4., 6.]])
    """
    leaves, treedef = tree.flatten(pytree)
    try:
        avals = [aval_of(x).strong for x in leaves]
    except TypeError:
        bad = next(x for x in leaves if not hasattr(x, "dtype") and not isinstance(x, (int, float, complex)))
        raise errors.DtypeError(f"ravel_pytree: a leaf is {describe(bad)}.",
                                "Leaves must be arrays or numbers.") from None
    dtype = np.result_type(*[a.dtype for a in avals]) if avals else np.dtype(float)
    arrays = [x if hasattr(x, "astype") else np.asarray(x) for x in leaves]
    joined = np.concatenate([np.reshape(x, -1).astype(dtype) for x in arrays]) if arrays else np.zeros(0)
    total = sum([a.size for a in avals])
    ends = np.cumsum([a.size for a in avals]).tolist()

    @api
    def unravel(vector):
        got = aval_of(vector)
        if got.shape != (total,):
            raise errors.ShapeError(f"unravel got {got} where a vector of {total} elements is needed.",
                                    "Pass a vector like the one that ravel_pytree returned.")
        return treedef.unflatten([np.reshape(vector[end - a.size:end], a.shape).astype(a.dtype)
                                  for a, end in zip(avals, ends, strict=True)])

    return joined, unravel
