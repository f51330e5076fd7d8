"""Dtypes that few kernels take: float16 is computed in float32, conversions go by way of others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..ir.core import Sig, signature
from ..ir.op import CODE, DTYPE, PART

F16, F32 = DTYPE["f16"], DTYPE["f32"]
# What moves elements, or holds programs, takes float16 as it is.
_AS_IT_IS = ("structural", "call", "control", "collective")
_MOVES = ("gather", "scatter_set", "select", "stop_gradient", "convert", "constant")


@lru_cache(8192)
def widened(sig: Sig) -> Sig | None:
    """The same operation in float32, for those that compute with float16; else None."""
    avals = sig.in_avals + sig.outs
    if not any([a.dtype == F16 for a in avals]) or sig.op.family in _AS_IT_IS or sig.op.name in _MOVES:
        return None
    params = {k: F32 if isinstance(v, np.dtype) and v == F16 else v for k, v in sig.params.items()}
    return signature(sig.op, tuple([a.with_dtype(F32) if a.dtype == F16 else a for a in sig.in_avals]),
                     params)


def route(source: np.dtype, target: np.dtype) -> list[np.dtype]:
    """The dtypes that a conversion passes through, to ``target``. Each value is rounded once."""
    s, t = CODE[source], CODE[target]
    if s == t:
        return []
    if s in PART and t in PART:
        return [target]
    if s in PART:
        part = DTYPE[PART[s]]
        return [part, *route(part, target)]
    if t in PART:
        part = DTYPE[PART[t]]
        return [*route(source, part), target]
    if s == "f16" and t not in ("f32", "f64"):
        return [F32, *route(F32, target)]
    if t == "f16" and s not in ("f32", "f64"):
        return [*route(source, F32), target]
    return [target]
