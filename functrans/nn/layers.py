"""Embedding lookup and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from .. import random
from ..numpy.indexing import take
from .core import (
    api,
    asvalue,
    aval_of,
    axes_of,
    check_range,
    errors,
    floats,
    integers,
    number,
    program,
    stop_gradient,
)


@api
def embedding(indices, table, padding_idx: int | None = None):
    """The rows of a table that integers name.

    Args:
        indices: integers ``[...]``.
        table: floats ``[rows, width]``.
        padding_idx: a row that gets no gradient.

    Returns:
        ``[..., width]``.

    Raises:
        IndexRangeError: a known index names no row. One that is not known yet (under jit) is clamped, and a
            negative one counts from the end.

    >>> import numpy as np
    >>> from functrans import nn
    >>> nn.embedding(np.array([1, 0, 1]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3., 4.],
           [1., 2.],
           [3., 4.]])
    """
    name = "embedding"
    indices, (table,) = integers(name, "indices", indices), floats(name, table=table)
    a = aval_of(table)
    if a.ndim != 2:
        raise errors.ShapeError(f"nn.{name}: table is {a}; [rows, width] is needed.")
    check_range(name, "indices", indices, a.shape[0], "rows")
    out = take(table, indices, axis=0)
    if padding_idx is None:
        return out
    row = index(padding_idx)
    if not -a.shape[0] <= row < a.shape[0]:
        raise errors.IndexRangeError(f"nn.{name}: padding_idx is {row}, but there are {a.shape[0]} rows.")
    padding = np.expand_dims(np.equal(indices, row % a.shape[0]), -1)
    return np.where(padding, stop_gradient(out), out)


@program
def _dropout(x, key, *, rate, shape):
    keep = random.bernoulli(key, 1 - rate, shape)
    return np.where(keep, x * number(1 / (1 - rate), x), number(0, x))


@api
def dropout(x, p: float = 0.5, *, key=None, training: bool = True,
            broadcast_dims: int | Sequence[int] = ()):
    """x with elements set to 0 with probability p, the others divided by 1 - p.

    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, 2014.

    Args:
        x: floats.
        p: the probability; with 0, and without ``training``, x is returned as it is.
        key: of ``functrans.random``; the same key drops the same elements.
        broadcast_dims: axes along which elements are dropped together.

    Raises:
        ArgumentError: there is no key; OptionError: p is not in [0, 1].

    >>> import numpy as np
    >>> from functrans import nn, random
    >>> y = nn.dropout(np.ones(1000), 0.25, key=random.key(0))
    >>> sorted(set(y.round(6).tolist())), bool(abs(y.mean() - 1) < 0.1)
    ([0.0, 1.333333], True)
    """
    (x,) = floats("dropout", x=x)
    if not 0 <= p <= 1:
        raise errors.OptionError(f"nn.dropout: p must be in [0, 1], got {p}")
    if not training or p == 0:
        return x
    if key is None:
        raise errors.ArgumentError("nn.dropout: there is no key.",
                                   "Pass key=functrans.random.key(...), split for each call, or "
                                   "training=False.")
    if p == 1:
        return np.zeros_like(x)
    a = aval_of(x)
    one = axes_of(tuple(broadcast_dims) if isinstance(broadcast_dims, list) else broadcast_dims, a.ndim)
    shape = tuple([1 if i in one else n for i, n in enumerate(a.shape)])
    return _dropout(asvalue(x), key, rate=float(p), shape=shape)


__all__ = ["dropout", "embedding"]
