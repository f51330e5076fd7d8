"""Convolution: conv_general_dilated in one layout, of which every other is a transposed view.

x is [images, channels, *space], w is [filters, channels of a group, *space], the result is
[images, filters, *space]. With ``feature_groups`` the channels and the filters are cut into groups
that belong together, with ``batch_groups`` the images and the filters.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..errors import NotSupportedError
from ..ir.op import CODE, OPS, REAL, ErrorSample, Hooks, Sample, aval_of, bilinear, move_axis
from .reach import convolution


def dilated(n, by):
    """The extent of n elements with by - 1 zeros between neighbours."""
    return (n - 1) * by + 1 if n else 0


def positions(n, window, stride, low, high, base, dilation):
    """How often a window fits an axis."""
    return max(0, (dilated(n, base) + low + high - dilated(window, dilation)) // stride + 1)


def phases(outs, taps, stride, low, base, dilation):
    """The windows over an axis whose elements lie ``base`` apart, as windows over the elements alone.

    Which taps meet an element depends on the output's position modulo a period: each phase is
    ``(slice of the outputs, slice of the taps, stride, low, dilation)``.
    """
    if base == 1:
        return [(slice(0, outs, 1), slice(0, taps, 1), stride, low, dilation)]
    period, step = base // math.gcd(stride, base), base // math.gcd(dilation, base)
    found = []
    for r in range(min(period, outs)):
        first = next((k for k in range(min(step, taps)) if (r * stride + k * dilation - low) % base == 0),
                     taps)
        found.append((slice(r, outs, period), slice(first, taps, step), stride * period // base,
                      (low - r * stride - first * dilation) // base, dilation * step // base))
    return found


def count(s):
    return max(0, -(-(s.stop - s.start) // s.step))


def _check(x, w, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups, batch_groups):
    name = "conv_general_dilated"
    if x.dtype != w.dtype:
        raise TypeError(f"{name}: operands must have one dtype, got {x}, {w}")
    if CODE.get(x.dtype) not in REAL:
        raise TypeError(f"{name} is not defined for {x.dtype}")
    if x.ndim != w.ndim or x.ndim < 2:
        raise ValueError(f"{name}: image and filter must have one number of axes, at least 2, got {x}, {w}")
    space = x.ndim - 2
    for what, value in (("window_strides", window_strides), ("padding", padding),
                        ("lhs_dilation", lhs_dilation), ("rhs_dilation", rhs_dilation)):
        if len(value) != space:
            raise ValueError(f"{name}: {what} must have {space} entries, one per spatial axis, got {value}")
    if any(n < 1 for n in (*window_strides, *lhs_dilation, *rhs_dilation, feature_groups, batch_groups)):
        raise ValueError(f"{name}: strides, dilations and group counts must be positive, got "
                         f"{window_strides}, {lhs_dilation}, {rhs_dilation}, {feature_groups}, "
                         f"{batch_groups}")
    if feature_groups > 1 and batch_groups > 1:
        raise ValueError(f"{name}: feature_group_count {feature_groups} and batch_group_count "
                         f"{batch_groups} cannot both be more than 1")
    if x.shape[1] != w.shape[1] * feature_groups:
        raise ValueError(f"{name}: the image {x} has {x.shape[1]} channels, the filter {w} takes "
                         f"{w.shape[1]} in each of {feature_groups} groups")
    if w.shape[0] % feature_groups or w.shape[0] % batch_groups or x.shape[0] % batch_groups:
        raise ValueError(f"{name}: the groups ({feature_groups} of features, {batch_groups} of images) do "
                         f"not divide {w.shape[0]} filters and {x.shape[0]} images")


def _conv_infer(x, w, *, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups,
                batch_groups):
    _check(x, w, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups, batch_groups)
    space = [positions(n, k, s, *pad, base, d) for n, k, s, pad, base, d in zip(
        x.shape[2:], w.shape[2:], window_strides, padding, lhs_dilation, rhs_dilation, strict=True)]
    return (x.shape[0] // batch_groups, w.shape[0], *space), x.dtype


def _conv_reference(x, w, *, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups,
                    batch_groups):
    spread = np.zeros([*x.shape[:2], *map(dilated, x.shape[2:], lhs_dilation)], x.dtype)
    spread[(..., *[np.s_[::d] for d in lhs_dilation])] = x
    spread = np.pad(spread, [(0, 0), (0, 0), *[(max(a, 0), max(b, 0)) for a, b in padding]])
    spread = spread[(..., *[np.s_[max(-a, 0):n - max(-b, 0)] for (a, b), n in
                            zip(padding, spread.shape[2:], strict=True)])]
    hole = np.zeros(spread.shape, bool)          # zeros between elements are not multiplied
    for axis, (d, (low, _)) in enumerate(zip(lhs_dilation, padding, strict=True), 2):
        hole |= ((np.arange(hole.shape[axis]) - low) % d != 0).reshape((-1, *(1,) * (x.ndim - 1 - axis)))
    space = [max(0, (n - dilated(k, d)) // s + 1) for n, k, d, s in
             zip(spread.shape[2:], w.shape[2:], rhs_dilation, window_strides, strict=True)]
    groups = max(feature_groups, batch_groups)
    exact = np.float64 if x.dtype.kind == "f" else x.dtype
    out = np.zeros((x.shape[0] // batch_groups, w.shape[0], *space), exact)
    spread, w = spread.astype(exact), w.astype(exact)
    parts, holes = (np.split(v, groups, 1 if feature_groups > 1 else 0) for v in (spread, hole))
    for part, skip, filters, to in zip(parts, holes, np.split(w, groups), np.split(out, groups, 1),
                                       strict=True):
        for tap in np.ndindex(*w.shape[2:]):
            at = (..., *[np.s_[t * d:t * d + (m - 1) * s + 1:s] if m else np.s_[:0] for t, d, m, s
                         in zip(tap, rhs_dilation, space, window_strides, strict=True)])
            one = filters[(..., *tap)]
            for c in range(w.shape[1]):
                term = np.multiply.outer(one[:, c], part[:, c][at]).swapaxes(0, 1)
                to += np.where(skip[:, c][at][:, None], 0, term).astype(exact)
    return out.astype(x.dtype)


# ----- derivatives: each is a convolution again ---------------------------------------------------------


def _split(x, axis, groups):
    """``axis`` cut in two: groups, and what each has."""
    shape = aval_of(x).shape
    return OPS["reshape"](x, shape=(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1:]))


def _merge(x, axis):
    """``axis`` and the next made one."""
    shape = aval_of(x).shape
    return OPS["reshape"](x, shape=(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2:]))


def _swap(x):
    """The first two axes exchanged."""
    return move_axis(x, 1, 0)


def _transpose_x(ct, x, w, *, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups,
                 batch_groups):
    """ct, spread by the strides, convolved with the reversed filters, whose channels and outputs change
    places within each group."""
    groups = max(feature_groups, batch_groups)
    n, k, o = x.aval.shape[2:], aval_of(w).shape[2:], aval_of(ct).shape[2:]
    turned = OPS["rev"](_merge(move_axis(_split(w, 0, groups), 2, 1), 0), axes=tuple(range(2, x.aval.ndim)))
    before = [dilated(m, d) - 1 - low for m, d, (low, _) in zip(k, rhs_dilation, padding, strict=True)]
    after = [dilated(a, b) + dilated(m, d) - 1 - dilated(c, s) - low for a, b, m, d, c, s, low in
             zip(n, lhs_dilation, k, rhs_dilation, o, window_strides, before, strict=True)]
    out = conv_general_dilated(ct, turned, window_strides=lhs_dilation, rhs_dilation=rhs_dilation,
                               padding=tuple(zip(before, after, strict=True)), lhs_dilation=window_strides,
                               feature_groups=groups, batch_groups=1)
    if batch_groups > 1:
        out = _merge(move_axis(_split(out, 1, groups), 1, 0), 0)
    return out


def _transpose_w(ct, x, w, *, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups,
                 batch_groups):
    """x, with images and channels exchanged, convolved with ct as its filters."""
    n, k, o = aval_of(x).shape[2:], w.aval.shape[2:], aval_of(ct).shape[2:]
    pads = [(low, dilated(c, s) - dilated(a, b) + dilated(m, d) - low - 1) for a, b, m, d, c, s, (low, _) in
            zip(n, lhs_dilation, k, rhs_dilation, o, window_strides, padding, strict=True)]
    return _swap(conv_general_dilated(
        _swap(x), _swap(ct), window_strides=rhs_dilation, padding=tuple(pads), lhs_dilation=lhs_dilation,
        rhs_dilation=window_strides, feature_groups=batch_groups, batch_groups=feature_groups))


def _conv_batch(size, operands, dims, **params):
    """Examples become images, filters or groups."""
    x, w = operands
    dx, dw = dims
    feature, batch = params["feature_groups"], params["batch_groups"]
    groups = max(feature, batch)
    if size == 0:                        # nothing can be folded into a group without examples
        one = [tuple(np.delete(aval_of(v).shape, d)) if d is not None else aval_of(v).shape
               for v, d in zip(operands, dims, strict=True)]
        shape, dtype = _conv_infer(*[_Shaped(s, aval_of(x).dtype) for s in one], **params)
        return [OPS["broadcast_in_dim"](Hooks.lit_like(0, dtype.type(0)), shape=(0, *shape), dims=())], [0]
    if dw is None:
        if batch == 1:
            out = conv_general_dilated(_merge(move_axis(x, dx, 0), 0), w, **params)
        else:
            x = _merge(_merge(move_axis(_split(move_axis(x, dx, 0), 1, groups), 1, 0), 0), 0)
            out = conv_general_dilated(x, w, **params)
        return [_split(out, 0, size)], [0]
    if dx is None:
        w = _merge(_merge(move_axis(_split(move_axis(w, dw, 0), 1, groups), 1, 0), 0), 0)
        out = _split(_split(conv_general_dilated(x, w, **params), 1, groups), 2, size)
        return [_merge(move_axis(out, 2, 0), 2)], [0]
    w = _merge(move_axis(w, dw, 0), 0)
    if batch > 1:
        x, params = _merge(move_axis(x, dx, 0), 0), {**params, "batch_groups": size * batch}
    else:
        x, params = _merge(move_axis(x, dx, 1), 1), {**params, "feature_groups": size * feature}
    return [_split(conv_general_dilated(x, w, **params), 1, size)], [1]


class _Shaped:
    """As much of an aval as the shape rule looks at."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)


# ----- lowering -----------------------------------------------------------------------------------------


def _three(values, missing):
    return (*(missing,) * (3 - len(values)), *values)


def _conv_lower(ctx, eqn, views):
    """One step; several where the image is dilated, so that no zeros are multiplied."""
    x, w = views
    p = eqn.params
    out = ctx.new(eqn.outs[0].aval)
    if x.size == 0 or w.size == 0:
        ctx.fill(out, ctx.const(out.dtype.type(0)))
        return [out]
    if len(x.shape) > 5:
        raise NotSupportedError(f"conv_general_dilated over {len(x.shape) - 2} spatial axes.",
                                "At most 3 are supported.")
    each = [phases(o, k, s, low, base, d) for o, k, s, (low, _), base, d in zip(
        out.shape[2:], w.shape[2:], p["window_strides"], p["padding"], p["lhs_dilation"],
        p["rhs_dilation"], strict=True)]
    for axes in itertools.product(*each):
        outs, taps = [a[0] for a in axes], [a[1] for a in axes]
        to = out.slice(*_bounds(out, outs))
        if all(count(t) for t in taps):
            _conv_step(ctx, to, x, w.slice(*_bounds(w, taps)), [a[2:] for a in axes], p)
        elif to.size:
            ctx.fill(to, ctx.const(out.dtype.type(0)))
    return [out]


def _bounds(view, slices):
    return ((0, 0, *[s.start for s in slices]), (*view.shape[:2], *[s.stop for s in slices]),
            (1, 1, *[s.step for s in slices]))


def _conv_step(ctx, out, x, w, axes, p):
    feature, batch = p["feature_groups"], p["batch_groups"]
    groups = max(feature, batch)
    images, filters = out.shape[0], out.shape[1] // groups
    stride, low, dilation = zip(*axes, strict=True) if axes else ((), (), ())
    taps = math.prod(w.shape[1:])
    size = out.dtype.itemsize
    work = float(out.size) * taps
    cost = work * (0.005 * size if out.dtype.kind == "f" else 0.05) + 0.03 * size * (out.size + x.size)
    pixels = math.prod(out.shape[2:])
    if groups == 1 and set(w.shape[2:]) <= {1} and set(stride) <= {1} and set(low) <= {0} and (
            x.shape[2:] == out.shape[2:]):
        flat, to = x.reshape((images, x.shape[1], pixels)), out.reshape((images, filters, pixels))
        if flat is not None and to is not None:          # no neighbours: a product for each image
            ctx.step(f"matmul:{CODE[out.dtype]}", [to, w, flat], (images, filters, pixels, x.shape[1]),
                     strides=[(*to.strides, 0), (0, w.strides[0], 0, w.strides[1]),
                              (flat.strides[0], 0, flat.strides[2], flat.strides[1])], cost=cost)
            return
    each = zip(w.shape[2:], x.shape[2:], dilation, low, strict=True)
    if groups == 1 and pixels == 1 and all(k == n and at == 0 and (k == 1 or d == 1) for k, n, d, at in each):
        # the filter lies on the whole image, as for the gradient of 1 x 1 filters: one product
        a, b = (flat if (flat := v.reshape((v.shape[0], taps))) is not None
                else ctx.contiguous(v).reshape((v.shape[0], taps)) for v in (x, w))
        ctx.step(f"matmul:{CODE[out.dtype]}", [out, a, b], (1, images, filters, taps),
                 strides=[(0, *out.strides[:2], 0), (0, a.strides[0], 0, a.strides[1]),
                          (0, 0, *b.strides)], cost=cost)
        return
    apart = (x.shape[1] // feature * x.strides[1] if feature > 1 else x.shape[0] // batch * x.strides[0],
             filters * w.strides[0], filters * out.strides[1])
    ctx.step(f"conv:{CODE[out.dtype]}", [out, x, w], (images, filters, *_three(out.shape[2:], 1)),
             strides=[(*v.strides[:2], *_three(v.strides[2:], 0)) for v in (out, x, w)],
             ints=(groups, *apart, x.shape[1] // feature, *_three(x.shape[2:], 1), *_three(w.shape[2:], 1),
                   *_three(stride, 1), *_three(dilation, 1), *_three(low, 0)), cost=cost)


def _sample(x, w, strides=None, padding=None, base=None, dilation=None, feature=1, batch=1):
    space = x.count(",") - 1
    ones = (1,) * space
    return Sample(x, w, window_strides=strides or ones, padding=padding or ((0, 0),) * space,
                  lhs_dilation=base or ones, rhs_dilation=dilation or ones, feature_groups=feature,
                  batch_groups=batch)


def _conv_work(sig):
    """A multiply-add for each result and tap; those that meet padding or nothing count too."""
    return 2 * sig.out.size * math.prod(sig.in_avals[1].shape[1:]), 0


_PLAIN = {"window_strides": (1,), "padding": ((0, 0),), "lhs_dilation": (1,), "rhs_dilation": (1,),
          "feature_groups": 1, "batch_groups": 1}

conv_general_dilated = bilinear(
    "conv_general_dilated", infer=_conv_infer, transposes=(_transpose_x, _transpose_w), batch=_conv_batch,
    lower=_conv_lower, reference=_conv_reference, reach=convolution, dtypes=REAL, work=_conv_work,
    samples=[_sample("f64[2,3,5,4]", "f64[4,3,3,2]", padding=((1, 1), (0, 1))),
             _sample("f64[1,2,7]", "f64[3,2,3]", strides=(2,), padding=((2, -1),), dilation=(2,)),
             _sample("f64[1,2,4,3]", "f64[2,2,3,2]", strides=(2, 1), padding=((2, 1), (1, 2)),
                     base=(3, 2)),
             _sample("f64[2,4,3,3]", "f64[6,2,2,2]", feature=2),
             _sample("f64[4,2,3]", "f64[2,2,2]", batch=2, padding=((1, 0),)),
             _sample("f64[2,3,4]", "f64[2,3,1]"),
             _sample("f64[1,1,2,3,2]", "f64[2,1,2,2,1]", padding=((1, 0), (0, 0), (0, 1))),
             _sample("f64[1,1,2]", "f64[1,1,3]"), _sample("f64[2,0,3]", "f64[2,0,2]")],
    errors=[ErrorSample("f64[1,2,5]", "f64[1,3,2]", match="channels", **_PLAIN),
            ErrorSample("f64[1,2,5]", "f32[1,2,2]", match="one dtype", error=TypeError, **_PLAIN),
            ErrorSample("f64[1,2,5]", "f64[1,2]", match="number of axes", **_PLAIN),
            ErrorSample("f64[1,2,5]", "f64[3,1,2]", match="divide", **{**_PLAIN, "feature_groups": 2}),
            ErrorSample("f64[1,2,5]", "f64[1,2,2]", match="window_strides must have 1",
                        **{**_PLAIN, "window_strides": (1, 1)})])
