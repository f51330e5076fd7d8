"""Scaled dot-product attention, block by block: memory is linear in the length, forward and backward.

A block is some rows of some heads against all keys that they may see; it has at most ``BLOCK`` scores. Its
softmax is exact, as it holds whole rows. Blocks are checkpoints that keep their results only: the backward
pass computes their scores again. All derivatives follow from this one program.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .. import lax
from ..api.recomputation import checkpoint, checkpoint_name
from ..checkpoint_policies import save_only_these_names
from .core import (
    OPS,
    api,
    asvalue,
    aval_of,
    bools,
    broadcasts,
    convert,
    errors,
    floats,
    integers,
    nonzero,
    number,
    program,
    top_of,
    wide,
)

BLOCK = 1 << 20         # scores at a time: 4 MiB in float32
SEGMENTS = 8            # parts of the queries, each against the keys that its rows may see
LEAST_SEGMENT = 128     # rows
_KEEP = save_only_these_names("attention")


class _Rules:
    """What rows of queries may see which keys, by their positions alone."""

    def __init__(self, causal, window):
        self.causal, self.window = causal, window

    def keys(self, start, stop, n):
        """The range of keys that rows from start to stop may see."""
        low = 0 if self.window is None else min(max(start - self.window[0], 0), n)
        high = n if self.window is None else min(stop + self.window[1], n)
        return low, max(low, min(high, stop) if self.causal else high)

    def any(self):
        return self.causal or self.window is not None

    def allowed(self, rows, keys):
        """Bools ``[rows, keys]``, of positions."""
        rows, keys = np.expand_dims(rows, -1), np.expand_dims(keys, 0)
        seen = rows >= keys if self.causal else None
        if self.window is not None:
            before, behind = self.window
            near = (keys >= rows - np.int32(before)) & (keys <= rows + np.int32(behind))
            seen = near if seen is None else seen & near
        return seen


def _block(q, k, v, bias, mask, length, rows, rules, first):
    """Rows of queries ``[p, g, t, d]`` of p problems with g heads each, against keys ``[p, s, d]``."""
    p, g, t, _ = aval_of(q).shape
    s, e = aval_of(k).shape[1], aval_of(v).shape[2]
    scores = np.matmul(np.reshape(q, (p, g * t, -1)), np.swapaxes(k, 1, 2))
    scores = np.reshape(scores, (p, g, t, s))
    low = number(-np.inf, scores)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = np.where(mask, scores, low)
    keys = OPS["iota"](shape=(s,), dtype=np.dtype(np.int32), axis=0) + np.int32(first)
    if length is not None:
        scores = np.where(keys < np.reshape(length, (p, 1, 1, 1)), scores, low)
    if rules.any():
        scores = np.where(rules.allowed(rows, keys), scores, low)
    weights = np.exp(scores - top_of(scores, -1))
    total = np.reshape(np.sum(weights, axis=-1), (p, g * t, 1))
    out = np.matmul(np.reshape(weights, (p, g * t, s)), v) / nonzero(total)
    return checkpoint_name(np.reshape(out, (p, g, t, e)), "attention")


def _cut(x, axis, start, stop):
    """Part of an operand along an axis, unless it is the same all along."""
    if x is None or aval_of(x).shape[axis] == 1:
        return x
    return x[(slice(None),) * (axis % aval_of(x).ndim) + (slice(start, stop),)]


def _rows(q, k, v, bias, mask, length, rows, *, rules, block):
    """All rows of some problems: segments, and blocks within them."""
    (p, g, t, _), s = aval_of(q).shape, aval_of(k).shape[1]
    segments = min(SEGMENTS, max(1, t // LEAST_SEGMENT)) if rules.any() else 1
    edges = [t * i // segments for i in range(segments + 1)]
    out = []
    for start, stop in itertools.pairwise(edges):
        low, high = rules.keys(start, stop, s)
        here = (k[:, low:high], v[:, low:high])
        there = [_cut(x, -1, low, high) for x in (bias, mask)]
        each = max(1, min(stop - start, BLOCK // max(p * g * (high - low), 1)))
        whole = (stop - start) // each

        def part(a, b, here=here, there=there, low=low):
            return block(_cut(q, 2, a, b), *here, *[_cut(x, -2, a, b) for x in there], length,
                         rows[a:b], rules, low)

        if whole <= 2:
            out += [part(a, min(a + each, stop)) for a in range(start, stop, each)]
            continue

        def turn(args, here=here, there=there, low=low):
            moving = iter(args[2:])
            extra = [x if x is None or aval_of(x).shape[-2] == 1 else next(moving) for x in there]
            return block(args[0], *here, *extra, length, args[1], rules, low)

        end = start + whole * each
        moving = [x for x in there if x is not None and aval_of(x).shape[-2] != 1]
        ys = lax.map(turn, (_stacked(q[:, :, start:end], whole, each),
                            np.reshape(rows[start:end], (whole, each)),
                            *[_stacked(x[:, :, start:end], whole, each) for x in moving]))
        out.append(np.reshape(np.moveaxis(ys, 0, 2), (p, g, end - start, -1)))
        if end < stop:
            out.append(part(end, stop))
    return out[0] if len(out) == 1 else np.concatenate(out, axis=2)


def _stacked(x, n, each):
    """``[p, g, n * each, d]`` as ``[n, p, g, each, d]``."""
    p, g, _, d = aval_of(x).shape
    return np.moveaxis(np.reshape(x, (p, g, n, each, d)), 2, 0)


@program
def _attend(q, k, v, bias, mask, q_lengths, lengths, *, scale, causal, window):
    """Queries ``[b, k, g, t, d]``, keys and values ``[b, k, s, d]``; bias and mask broadcast to
    ``[b, k, g, t, s]``, lengths ``[b]``."""
    dtype = aval_of(q).dtype
    q, k, v = wide(q), wide(k), wide(v)
    b, heads, g, t, d = aval_of(q).shape
    s, e, n = aval_of(k).shape[2], aval_of(v).shape[3], b * heads
    if not n * g * t * s * e:
        return convert(np.zeros((b, heads, g, t, e), aval_of(q).dtype), dtype)
    q = np.reshape(q * number(scale, q), (n, g, t, d))
    k, v = np.reshape(k, (n, s, d)), np.reshape(v, (n, s, e))
    bias = None if bias is None else convert(bias, aval_of(q).dtype)
    bias, mask = _flat_problems(bias, b, heads), _flat_problems(mask, b, heads)
    if lengths is not None:
        lengths = np.repeat(convert(lengths, np.int32), heads)
    rules = _Rules(causal, window)
    small = n * g * t * s <= BLOCK          # little enough to keep for the backward pass
    block = _block if small else _checked_block
    each = 1 if g * t * s >= BLOCK else max(i for i in range(1, n + 1) if n % i == 0 and
                                            i * g * t * s <= BLOCK)
    rows = OPS["iota"](shape=(t,), dtype=np.dtype(np.int32), axis=0)
    if each == n:
        out = _rows(q, k, v, bias, mask, lengths, rows, rules=rules, block=block)
    else:
        def turn(args):
            q, k, v, rows, *more = args
            moving = iter(more)
            extra = [x if x is None or not moves else next(moving) for x, moves in
                     zip((bias, mask, lengths), moved, strict=True)]
            return _rows(q, k, v, *extra, rows, rules=rules, block=block)

        # positions go with the turns, so that no comparison of them is kept for all
        moved = [x is not None and aval_of(x).shape[0] != 1 for x in (bias, mask)] + [lengths is not None]
        xs = [q, k, v, *[x for x, m in zip((bias, mask, lengths), moved, strict=True) if m]]
        xs = [np.reshape(x, (n // each, each, *aval_of(x).shape[1:])) for x in xs]
        xs.insert(3, np.broadcast_to(rows, (n // each, t)))
        out = lax.map(turn, tuple(xs))
    out = np.reshape(out, (b, heads, g, t, e))
    if q_lengths is not None:
        inside = rows < np.reshape(convert(q_lengths, np.int32), (b, 1, 1, 1))
        out = np.where(np.expand_dims(inside, -1), out, number(0, out))
    return convert(out, dtype)


def _checked_block(q, k, v, bias, mask, length, rows, rules, first):
    def run(*args):
        return _block(*args, rules, first)
    return checkpoint(run, policy=_KEEP)(q, k, v, bias, mask, length, rows)


def _flat_problems(x, b, heads):
    """``[b, k, g, t, s]`` as ``[b * k, g, t, s]``, or ``[1, g, t, s]`` where it is the same for all."""
    if x is None:
        return None
    shape = aval_of(x).shape
    if shape[:2] == (1, 1):
        return np.reshape(x, (1, *shape[2:]))
    return np.reshape(np.broadcast_to(x, (b, heads, *shape[2:])), (b * heads, *shape[2:]))


def _grouped(name, what, x, b, n, heads, t, s):
    """A bias or mask that broadcasts to ``[b, n, t, s]`` as ``[b, k, g, t, s]``."""
    if x is None:
        return None
    broadcasts(name, what, x, (b, n, t, s), "[batch, heads, queries, keys]")
    shape = aval_of(x).shape
    shape = (*[1] * (4 - len(shape)), *shape)
    groups = (1, 1) if shape[1] == 1 else (heads, n // heads)
    return np.reshape(x, (shape[0], *groups, *shape[2:]))


def _lengths(name, what, x, b):
    if x is None:
        return None
    x = integers(name, what, x)
    if aval_of(x).shape != (b,):
        raise errors.ShapeError(f"nn.{name}: {what} is {aval_of(x)}; integers [{b}] are needed, one for each "
                                "example.")
    return x


def _attention(name, q, k, v, bias, mask, q_lengths, lengths, scale, causal, window):
    """Of ``[b, heads, length, d]``; all checked here but the number of axes."""
    b, n, t, d = aval_of(q).shape
    heads, s = aval_of(k).shape[1:3]
    fits = (aval_of(k).shape == (b, heads, s, d) and aval_of(v).shape[:3] == (b, heads, s)
            and heads and n % heads == 0)
    if not fits:
        texts = [f"{what} {list(aval_of(x).shape)}" for what, x in (("query", q), ("key", k), ("value", v))]
        raise errors.ShapeError(f"nn.{name}: {', '.join(texts)}, as [batch, heads, length, width], do not "
                                "fit.",
                                "Batch and width must be equal, keys as many as values, and the number of "
                                "their heads must divide that of the queries.")
    if bias is not None:
        (bias,) = floats(name, bias=bias)
    if mask is not None:
        mask = bools(name, "mask", mask, (b, n, t, s), "[batch, heads, queries, keys]")
    bias, mask = (_grouped(name, what, x, b, n, heads, t, s) for what, x in (("bias", bias), ("mask", mask)))
    q_lengths = _lengths(name, "query_seq_lengths", q_lengths, b)
    lengths = _lengths(name, "key_value_seq_lengths", lengths, b)
    if window is not None:
        pair = (window, window) if hasattr(window, "__index__") else tuple(window)
        if len(pair) != 2 or not all([hasattr(w, "__index__") and w.__index__() >= 0 for w in pair]):
            raise errors.OptionError(
                f"nn.{name}: local_window_size must be a number of positions, or a pair "
                f"(before, behind), got {window!r}")
        window = tuple([w.__index__() for w in pair])
    scale = float(1 / math.sqrt(max(d, 1)) if scale is None else scale)
    out = _attend(np.reshape(q, (b, heads, n // heads, t, d)), k, v, bias, mask, q_lengths, lengths,
                  scale=scale, causal=bool(causal), window=window)
    return np.reshape(out, (b, n, t, aval_of(v).shape[3]))


@api
def dot_product_attention(query, key, value, bias=None, mask=None, *, scale: float | None = None,
                          is_causal: bool = False, query_seq_lengths=None, key_value_seq_lengths=None,
                          local_window_size: int | tuple[int, int] | None = None,
                          implementation: str | None = None):
    """softmax(query key^T * scale + bias) value, with the layout and arguments of ``jax.nn``.

    Memory is linear in the lengths, forward and backward. Rows that may see no key give 0, and have no
    gradient.

    Args:
        query: floats ``[b, t, n, d]``, or ``[t, n, d]``.
        key, value: floats ``[b, s, k, d]`` and ``[b, s, k, e]``; k divides n, and n / k heads of queries
            share one of the keys.
        bias: floats that broadcast to ``[b, n, t, s]``; added to the scores.
        mask: bools that broadcast to ``[b, n, t, s]``; False takes an element out.
        scale: 1 / sqrt(d) if not given.
        is_causal: query i sees keys 0 to i only.
        query_seq_lengths, key_value_seq_lengths: integers ``[b]``; rows and keys from there on are padding.
        local_window_size: query i sees keys i - w to i + w, or i - w[0] to i + w[1].
        implementation: accepted as in JAX; there is one.

    Returns:
        ``[b, t, n, e]`` of query's dtype.

    Raises:
        ShapeError: shapes do not fit; DtypeError: the mask is not of bools.

    That the backward pass computes the scores again is from "FlashAttention" (Dao and others, 2022).

    >>> import numpy as np
    >>> from functrans import nn
    >>> q = k = v = np.eye(3)[:, None, :]
    >>> nn.dot_product_attention(q, k, v, is_causal=True)[0, 0]
    array([1., 0., 0.])
    """
    name = "dot_product_attention"
    query, key, value = floats(name, query=query, key=key, value=value)
    ndim = aval_of(query).ndim
    if ndim not in (3, 4) or aval_of(key).ndim != ndim or aval_of(value).ndim != ndim:
        raise errors.ShapeError(f"nn.{name}: query, key and value are {aval_of(query)}, {aval_of(key)} and "
                                f"{aval_of(value)}.", "Each needs [batch, length, heads, width], or these "
                                "without batch.")
    if implementation not in (None, "xla", "cudnn"):
        raise errors.OptionError(
            f"nn.{name}: implementation must be None, 'xla' or 'cudnn', got {implementation!r}")
    if ndim == 3:
        query, key, value = (x[None] for x in (query, key, value))
    q, k, v = (np.swapaxes(x, 1, 2) for x in (query, key, value))
    bias = None if bias is None else asvalue(bias)
    out = _attention(name, q, k, v, bias, mask, query_seq_lengths, key_value_seq_lengths, scale, is_causal,
                     local_window_size)
    out = np.swapaxes(out, 1, 2)
    return out if ndim == 4 else out[0]


@api
def scaled_dot_product_attention(query, key, value, attn_mask=None, is_causal: bool = False,
                                 scale: float | None = None, enable_gqa: bool = False):
    """``dot_product_attention`` in the layout of ``torch.nn.functional``: heads before lengths.

    Args:
        query: floats ``[..., n, t, d]``; key, value: ``[..., k, s, d]`` and ``[..., k, s, e]``.
        attn_mask: bools (False takes an element out) or floats (added to the scores) that broadcast to
            ``[..., n, t, s]``.
        is_causal, scale: as of ``dot_product_attention``.
        enable_gqa: whether k may be less than n, which it divides.

    Returns:
        ``[..., n, t, e]``.

    >>> import numpy as np
    >>> from functrans import nn
    >>> x = np.ones((2, 4, 5, 8))
    >>> nn.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    (2, 4, 5, 8)
    """
    name = "scaled_dot_product_attention"
    values: list[Any] = floats(name, query=query, key=key, value=value)
    shapes = [aval_of(x).shape for x in values]
    lead = shapes[0][:-3]
    if any([len(x) < 2 for x in shapes]) or any([x[:-3] != lead or len(x) != len(shapes[0]) for x in shapes]):
        texts = ", ".join([str(aval_of(x)) for x in values])
        raise errors.ShapeError(f"nn.{name}: query, key and value are {texts}.",
                                "Each needs [..., heads, length, width] with equal leading axes.")
    if len(shapes[0]) > 2 and shapes[0][-3] != shapes[1][-3] and not enable_gqa:
        raise errors.ShapeError(f"nn.{name}: query has {shapes[0][-3]} heads and key {shapes[1][-3]}.",
                                "Pass enable_gqa=True to share keys among heads of queries.")
    heads = [1 if len(x) == 2 else x[-3] for x in shapes]
    b = math.prod(lead)
    q, k, v = (np.reshape(x, (b, h, *n[-2:])) for x, h, n in zip(values, heads, shapes, strict=True))
    full = (*lead, *([heads[0]] if len(shapes[0]) > 2 else []), shapes[0][-2], shapes[1][-2])
    bias = mask = None
    if attn_mask is not None:
        attn_mask = asvalue(attn_mask)
        broadcasts(name, "attn_mask", attn_mask, full, "[..., heads, queries, keys]")
        m = aval_of(attn_mask).shape
        if len(m) > 3 and any([n != 1 for n in m[:-3]]):
            attn_mask = np.reshape(np.broadcast_to(attn_mask, (*lead, *m[-3:])), (b, *m[-3:]))
        else:
            attn_mask = np.reshape(attn_mask, m[-3:])
        bias, mask = (None, attn_mask) if aval_of(attn_mask).dtype.kind == "b" else (attn_mask, None)
    out = _attention(name, q, k, v, bias, mask, None, None, scale, is_causal, None)
    return np.reshape(out, (*shapes[0][:-1], shapes[2][-1]))


__all__ = ["dot_product_attention", "scaled_dot_product_attention"]
