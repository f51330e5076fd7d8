"""Sliding windows: their sums and extrema, and the derivatives of these.

``window_pick`` reads, for each window, another array where x has the window's extremum (the first one,
if there are several); ``window_put`` adds each value there. They are each other's transpose.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..ir.op import (
    CODE,
    FLOAT,
    OPS,
    REAL,
    ErrorSample,
    Hooks,
    Linear,
    Op,
    Sample,
    aval_of,
    batch_first,
    linear,
)
from .conv import count, dilated, phases, positions
from .shape import insert

_PER_AXIS = ("window", "strides", "padding", "base_dilation", "window_dilation")


def _shape(name, x, window, strides, padding, base_dilation, window_dilation):
    for what, value in zip(_PER_AXIS, (window, strides, padding, base_dilation, window_dilation),
                           strict=True):
        if len(value) != x.ndim:
            raise ValueError(f"{name}: {what} must have one entry per axis of {x}, got {value}")
    if any(n < 1 for n in (*window, *strides, *base_dilation, *window_dilation)):
        raise ValueError(f"{name}: windows, strides and dilations must be positive, got {window}, "
                         f"{strides}, {base_dilation}, {window_dilation}")
    return tuple([positions(n, k, s, *pad, base, d) for n, k, s, pad, base, d in zip(
        x.shape, window, strides, padding, base_dilation, window_dilation, strict=True)])


def _infer(name, dtypes):
    def infer(x, *, window, strides, padding, base_dilation, window_dilation):
        if CODE.get(x.dtype) not in dtypes:
            raise TypeError(f"{name} is not defined for {x}")
        return _shape(name, x, window, strides, padding, base_dilation, window_dilation), x.dtype
    return infer


def _windows(x, window, strides, padding, base_dilation, window_dilation):
    """NumPy: (output index, the values of its window, where they come from) in order."""
    shape = _shape("", x, window, strides, padding, base_dilation, window_dilation)
    for out in np.ndindex(*shape):
        places = []
        for u in np.ndindex(*window):
            at = [o * s + k * d - low for o, s, k, d, (low, _) in
                  zip(out, strides, u, window_dilation, padding, strict=True)]
            if all(a % b == 0 and 0 <= a // b < n for a, b, n in
                   zip(at, base_dilation, x.shape, strict=True)):
                places.append(tuple([a // b for a, b in zip(at, base_dilation, strict=True)]))
        yield out, places


def _identity(kind, dtype):
    if kind == "sum":
        return dtype.type(0)
    if dtype.kind == "f":
        return dtype.type(-np.inf if kind == "max" else np.inf)
    info = np.iinfo(dtype)
    return dtype.type(info.min if kind == "max" else info.max)


def _reference(kind):
    def reference(x, **params):
        out = np.empty(_shape("", x, **params), x.dtype)
        join = {"sum": np.add, "max": np.maximum, "min": np.minimum}[kind]
        for at, places in _windows(x, **params):
            out[at] = join.reduce([_identity(kind, x.dtype), *[x[p] for p in places]], dtype=x.dtype)
        return out
    return reference


def _lower(kind):
    def lower(ctx, eqn, views):
        x, p = views[0], eqn.params
        out = ctx.new(eqn.outs[0].aval)
        if not x.shape:
            return [x]
        ident = ctx.const(_identity(kind, x.dtype))
        if x.size == 0:
            ctx.fill(out, ident)
            return [out]
        each = [phases(o, k, s, low, base, d) for o, k, s, (low, _), base, d in zip(
            out.shape, p["window"], p["strides"], p["padding"], p["base_dilation"], p["window_dilation"],
            strict=True)]
        for axes in itertools.product(*each):
            to = out.slice(*zip(*[(a[0].start, a[0].stop, a[0].step) for a in axes], strict=True))
            taps = [count(a[1]) for a in axes]
            if not to.size:
                continue
            if 0 in taps:
                ctx.fill(to, ident)
                continue
            # the first tap of a phase is at its first offset already: windows count from it
            ctx.step(f"window:{kind}:{CODE[x.dtype]}", [to, x], to.shape, ints=_ints(
                x, taps, [a[2] for a in axes], [a[4] for a in axes], [a[3] for a in axes]),
                cost=_cost(to, taps))
        return [out]
    return lower


def _ints(x, window, strides, dilation, low):
    return (*x.shape, *window, *strides, *dilation, *low)


def _cost(out, window, each=0.15):
    return out.size * (1.0 + each * float(np.prod(window)))


def _wider(d, params):
    """The parameters with an axis d in which windows are single elements."""
    return {name: insert(v, d, (0, 0) if name == "padding" else 1) if name in _PER_AXIS else v
            for name, v in params.items()}


def _batch(name):
    def batch(size, operands, dims, **params):
        if len(operands) == 1:
            return [OPS[name](operands[0], **_wider(dims[0], params))], [dims[0]]
        operands = [batch_first(size, x, d) for x, d in zip(operands, dims, strict=True)]
        return [OPS[name](*operands, **_wider(0, params))], [0]
    return batch


def _samples(**more):
    def one(x, window, strides=None, padding=None, base=None, dilation=None):
        ones = (1,) * len(window)
        return Sample(x, **more, window=window, strides=strides or ones,
                      padding=padding or ((0, 0),) * len(window), base_dilation=base or ones,
                      window_dilation=dilation or ones)
    return one


_one = _samples()
_SAMPLES = [_one("f64[2,4,5]", (1, 2, 2), (1, 2, 2)),
            _one("f64[5,4]", (3, 2), (1, 2), ((1, 1), (0, 1))),
            _one("f64[7]", (2,), (2,), ((1, -1),), dilation=(3,)),
            _one("f64[4,3]", (3, 3), (2, 1), ((2, 1), (1, 0)), base=(2, 3)),
            _one("f64[2]", (3,)), _one("f64[]", ())]
_ERRORS = [ErrorSample("f64[3]", match="one entry per axis", window=(2, 2), strides=(1,),
                       padding=((0, 0),), base_dilation=(1,), window_dilation=(1,)),
           ErrorSample("f64[3]", match="positive", window=(2,), strides=(0,), padding=((0, 0),),
                       base_dilation=(1,), window_dilation=(1,))]


def _sum_transpose(cts, operands, *, window, strides, padding, base_dilation, window_dilation):
    """Each element gets the sum over the windows that hold it: windows over ct, spread by the strides."""
    ct = cts[0]
    n, o = operands[0].aval.shape, aval_of(ct).shape
    pads = []
    for a, b, m, d, c, s, (low, _) in zip(n, base_dilation, window, window_dilation, o, strides, padding,
                                          strict=True):
        before = dilated(m, d) - 1 - low
        pads.append((before, dilated(a, b) + dilated(m, d) - 1 - dilated(c, s) - before))
    return [reduce_window_sum(ct, window=window, strides=base_dilation, padding=tuple(pads),
                              base_dilation=strides, window_dilation=window_dilation)]


def _work(sig):
    """One operation for each window and element of it."""
    least = min(sig.out.size, sig.in_avals[-1].size)        # a window_put has the windows as its operand
    return least * math.prod(sig.params["window"]), 0


reduce_window_sum = linear(
    "reduce_window_sum", family="window", infer=_infer("reduce_window_sum", REAL),
    transpose=_sum_transpose, batch=_batch("reduce_window_sum"), lower=_lower("sum"),
    reference=_reference("sum"), dtypes=REAL, work=_work, samples=_SAMPLES, errors=_ERRORS)


# ----- extrema ------------------------------------------------------------------------------------------


def _apart(x, fill, base):
    """x with ``fill`` between its elements, which are ``base`` apart then."""
    zeros = (0,) * len(base)
    return OPS["pad"](x, Hooks.lit_like(fill, aval_of(x).dtype.type(0)), low=zeros, high=zeros,
                      interior=tuple([b - 1 for b in base]))


def _extremum(kind):
    name = f"reduce_window_{kind}"

    def jvp(primals, tangents, **params):
        (x,), (t,) = primals, tangents
        out = OPS[name](x, **params)
        if isinstance(t, Hooks.zero):
            return [out], [Hooks.zero(aval_of(out))]
        base = params.pop("base_dilation")
        if any(b > 1 for b in base):               # what is between the elements is never larger
            x, t = (_apart(v, fill, base) for v, fill in ((x, _identity(kind, aval_of(x).dtype)), (t, 0)))
        return [out], [window_pick(x, t, kind=kind, **params)]

    return Op(name, "window", infer=_infer(name, REAL), jvp=jvp, transpose=None, batch=_batch(name),
              lower=_lower(kind), reference=_reference(kind), dtypes=REAL, work=_work, samples=_SAMPLES,
              errors=_ERRORS)


def _pick_infer(x, t, *, kind, window, strides, padding, window_dilation):
    _two("window_pick", x, t)
    if t.shape != x.shape:
        raise ValueError(f"window_pick: both operands must have one shape, got {x}, {t}")
    return _shape("window_pick", x, window, strides, padding, (1,) * x.ndim, window_dilation), x.dtype


def _put_infer(x, ct, *, kind, window, strides, padding, window_dilation):
    _two("window_put", x, ct)
    shape = _shape("window_put", x, window, strides, padding, (1,) * x.ndim, window_dilation)
    if ct.shape != shape:
        raise ValueError(f"window_put: there are {shape} windows, got {ct}")
    return x.shape, x.dtype


def _two(name, x, y):
    if x.dtype != y.dtype or CODE.get(x.dtype) not in FLOAT:
        raise TypeError(f"{name}: both operands must be of one floating dtype, got {x}, {y}")


def _winner(x, places, kind):
    """The first extremum of a window, or the first nan; None if it holds nothing."""
    values = [x[p] for p in places]
    if not values:
        return None
    return places[int((np.argmax if kind == "max" else np.argmin)(values))]


def _pick_reference(x, t, *, kind, **params):
    params["base_dilation"] = (1,) * x.ndim
    out = np.zeros(_shape("", x, **params), t.dtype)
    for at, places in _windows(x, **params):
        where = _winner(x, places, kind)
        if where is not None:
            out[at] = t[where]
    return out


def _put_reference(x, ct, *, kind, **params):
    params["base_dilation"] = (1,) * x.ndim
    out = np.zeros(x.shape, ct.dtype)
    for at, places in _windows(x, **params):
        where = _winner(x, places, kind)
        if where is not None:
            out[where] += ct[at]
    return out


def _select_lower(name):
    def lower(ctx, eqn, views):
        x, other = views
        p = eqn.params
        if not x.shape:
            return [other]
        out = ctx.new(eqn.outs[0].aval)
        other = ctx.contiguous(other)
        if x.size == 0 or other.size == 0:
            ctx.fill(out, ctx.const(out.dtype.type(0)))
            return [out]
        low = [a for a, _ in p["padding"]]
        small = out if name == "window_pick" else other
        ctx.step(f"{name}:{p['kind']}:{CODE[x.dtype]}", [out, x, other], small.shape,
                 strides=[out.strides, x.strides, other.strides],
                 ints=_ints(x, p["window"], p["strides"], p["window_dilation"], low),
                 cost=_cost(small, p["window"], 1.0))
        return [out]
    return lower


def _select(name, infer, reference, samples, errors, other):
    def transpose(cts, operands, **params):
        x, linear_in = operands
        return [None, OPS[other](x, cts[0], **params) if isinstance(linear_in, Linear) else None]

    return linear(name, family="window", operands=(1,), infer=infer, transpose=transpose,
                  batch=_batch(name), lower=_select_lower(name), reference=reference, dtypes=FLOAT,
                  work=_work, samples=samples, errors=errors)


def _select_samples(second):
    plain = {"window_dilation": (1, 1)}
    return [Sample("f64[4,5]", second[0], diff=(1,), kind="max", window=(2, 2), strides=(2, 2),
                   padding=((0, 0), (0, 0)), **plain),
            Sample("f64[4,5]", second[1], diff=(1,), kind="min", window=(3, 2), strides=(1, 2),
                   padding=((1, 1), (0, 2)), **plain)]


_LINE = {"kind": "max", "window": (2,), "strides": (2,), "padding": ((0, 0),), "window_dilation": (1,)}

window_pick = _select("window_pick", _pick_infer, _pick_reference,
                      _select_samples(("f64[4,5]", "f64[4,5]")),
                     [ErrorSample("f64[4]", "f64[3]", match="one shape", **_LINE)], "window_put")
window_put = _select("window_put", _put_infer, _put_reference,
                     _select_samples(("f64[2,2]", "f64[4,3]")),
                     [ErrorSample("f64[4]", "f64[3]", match="windows", **_LINE)], "window_pick")
reduce_window_max = _extremum("max")
reduce_window_min = _extremum("min")
