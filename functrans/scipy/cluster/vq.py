"""scipy.cluster.vq on traced arrays; without a traced argument the function is SciPy's own."""

from __future__ import annotations

import numpy as np

from ... import errors
from ...numpy.core import asvalue, aval_of, convert, promote, shape_of
from ..public import scipy_function


@scipy_function("scipy.cluster.vq", "check_finite")
def vq(obs, code_book):
    """The nearest code of each observation (int32; int64 for integers, as SciPy) and its Euclidean distance.

    Args:
        obs: observations, ``[n]`` or ``[n, d]``.
        code_book: codes, ``[k]`` or ``[k, d]``.

    >>> import numpy as np
    >>> from functrans import jit
    >>> from functrans.scipy.cluster.vq import vq
    >>> jit(vq)(np.array([[0.0, 1.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 3.0]]))
    (array([0, 1], dtype=int32), array([1., 1.]))
    """
    obs, codes = promote(asvalue(obs), asvalue(code_book))
    if len(shape_of(obs)) != len(shape_of(codes)) or len(shape_of(obs)) not in (1, 2) or (
            shape_of(obs)[1:] != shape_of(codes)[1:]):
        raise errors.ShapeError(f"vq: observations {aval_of(obs)} and codes {aval_of(codes)} do not fit.",
                                "Pass [n, d] and [k, d], or [n] and [k].")
    dtype = np.int32 if aval_of(obs).dtype.kind == "f" else np.int64
    if aval_of(obs).dtype.kind not in "fc":
        obs, codes = convert(obs, np.float64), convert(codes, np.float64)
    if len(shape_of(obs)) == 1:
        obs, codes = obs[:, None], codes[:, None]
    squares = np.sum(np.square(np.abs(obs[:, None, :] - codes[None, :, :])), -1)
    code = np.argmin(squares, -1)
    nearest = np.take_along_axis(squares, code[:, None], -1)[:, 0]
    return convert(code, dtype), np.sqrt(nearest)


__all__ = ["vq"]
