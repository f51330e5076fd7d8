"""Derivatives in many directions, some at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors, tree
from ..inspection.programs import ShapeDtypeStruct, make_jaxpr
from .batching import vmap

BUDGET = 256 * 2**20        # bytes of temporaries that a chunk of "auto" size may take


def check_chunk(chunk_size: Any, what: str) -> None:
    """Raises unless it is None, "auto" or a positive integer."""
    if chunk_size is None or chunk_size == "auto":
        return
    if not hasattr(chunk_size, "__index__") or isinstance(chunk_size, bool) or chunk_size.__index__() < 1:
        raise errors.ArgumentError(f"{what}: chunk_size is {chunk_size!r}.",
                                   'Use a positive integer, "auto", or None for all directions at once.')


def chunked(linear: Callable, avals: Sequence[Any], chunk_size: int | str, axis: int, pick=None):
    """``linear`` of every basis vector of its arguments, whose types are ``avals``.

    Results have the directions along ``axis`` (0 or -1). With ``pick``, it is applied to a batch of results
    and to the numbers of its directions, and what it returns is joined instead.
    """
    total = sum([a.size for a in avals])
    size = _affordable(linear, avals) if chunk_size == "auto" else int(chunk_size)
    first = np.cumsum([0, *[a.size for a in avals]]).tolist()
    batched = vmap(linear, out_axes=axis)
    parts = []
    for begin in range(0, max(total, 1), size):
        numbers = np.arange(begin, min(begin + size, total))
        directions = []
        for a, at in zip(avals, first, strict=False):
            block = np.zeros((len(numbers), a.size), a.dtype)
            mine = np.flatnonzero((numbers >= at) & (numbers < at + a.size))
            block[mine, numbers[mine] - at] = 1
            directions.append(block.reshape(len(numbers), *a.shape))
        got = batched(*directions)
        parts.append(got if pick is None else pick(got, numbers))
    if len(parts) == 1:
        return parts[0]
    return tree.map(lambda *pieces: np.concatenate(pieces, axis=axis), *parts)


def _affordable(linear, avals) -> int:
    """How many directions fit the budget, if everything that one of them makes were kept."""
    jaxpr = make_jaxpr(linear)(*[ShapeDtypeStruct(a.shape, a.dtype) for a in avals])
    each = sum([v.aval.nbytes for e in jaxpr.eqns for v in e.outs]) + sum([a.nbytes for a in avals])
    return max(1, BUDGET // max(each, 1))
