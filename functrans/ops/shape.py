"""Structural ops: they move elements. Most are views in a plan and cost nothing."""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import (
    CODE,
    OPS,
    ErrorSample,
    Hooks,
    Linear,
    Sample,
    aval_of,
    batch_first,
    flat,
    move_axis,
    structural,
)

# ----- reshape, transpose, broadcast, reverse ------------------------------------------------------


def _reshape_infer(x, *, shape):
    if math.prod(shape) != x.size:
        raise ValueError(f"cannot reshape {x} of {x.size} elements to shape {shape} "
                         f"of {math.prod(shape)}")
    return shape, x.dtype


def _reshape_lower(ctx, eqn, views):
    (view,), shape = views, eqn.params["shape"]
    moved = view.reshape(shape)
    return [moved if moved is not None else ctx.contiguous(view).reshape(shape)]


def _reshaped(inputs, params, program):
    (x,), shape = inputs, params["shape"]
    if x.aval.shape == shape:
        return x
    e = program.made_by(x, "reshape")
    return (reshape, e.inputs, params) if e is not None else None


reshape = structural(
    "reshape", infer=_reshape_infer,
    transpose=lambda cts, operands, *, shape: [reshape(cts[0], shape=operands[0].aval.shape)],
    batch=lambda size, operands, dims, *, shape: (
        [reshape(move_axis(operands[0], dims[0], 0), shape=(size, *shape))], [0]),
    lower=_reshape_lower, reference=lambda x, *, shape: np.reshape(x, shape),
    simplify=_reshaped,
    samples=[Sample("f64[3,4]", shape=(2, 6)), Sample("f64[]", shape=(1, 1)),
             Sample("f64[0,3]", shape=(3, 0)), Sample("i64[6]", shape=(3, 2))],
    errors=[ErrorSample("f64[3]", shape=(2,), match="cannot reshape")])


def _transpose_infer(x, *, perm):
    if sorted(perm) != list(range(x.ndim)):
        raise ValueError(f"permutation {perm} does not name the {x.ndim} axes of {x} once each")
    return tuple([x.shape[p] for p in perm]), x.dtype


def _inverse(perm):
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def _transpose_batch(size, operands, dims, *, perm):
    (d,) = dims
    moved = [p + (p >= d) for p in perm]
    return [transpose(operands[0], perm=(d, *moved))], [0]


def _transposed(inputs, params, program):
    (x,), perm = inputs, params["perm"]
    if perm == tuple(range(len(perm))):
        return x
    e = program.made_by(x, "transpose")
    return (transpose, e.inputs, {"perm": tuple([e.params["perm"][p] for p in perm])}) if e else None


transpose = structural(
    "transpose", infer=_transpose_infer,
    transpose=lambda cts, operands, *, perm: [transpose(cts[0], perm=_inverse(perm))],
    batch=_transpose_batch, lower=lambda ctx, eqn, views: [views[0].transpose(eqn.params["perm"])],
    reference=lambda x, *, perm: np.transpose(x, perm),
    simplify=_transposed,
    samples=[Sample("f64[3,4,2]", perm=(2, 0, 1)), Sample("f64[]", perm=()),
             Sample("f32[0,3]", perm=(1, 0))],
    errors=[ErrorSample("f64[3,4]", perm=(0, 0), match="does not name")])


def _broadcast_infer(x, *, shape, dims):
    if len(dims) != x.ndim or list(dims) != sorted(set(dims)) or any(
            d >= len(shape) or x.shape[i] not in (1, shape[d]) for i, d in enumerate(dims)):
        raise ValueError(f"cannot broadcast {x} to shape {shape} with its axes at {dims}")
    return shape, x.dtype


def _broadcast_transpose(cts, operands, *, shape, dims):
    aval = operands[0].aval
    kept = {d for i, d in enumerate(dims) if aval.shape[i] == shape[d]}
    total = OPS["reduce_sum"](cts[0], axes=tuple(d for d in range(len(shape)) if d not in kept))
    return [reshape(total, shape=aval.shape)]


def _broadcast_batch(size, operands, dims_in, *, shape, dims):
    (d,) = dims_in
    x = move_axis(operands[0], d, 0)
    return [broadcast_in_dim(x, shape=(size, *shape), dims=(0, *(i + 1 for i in dims)))], [0]


def _broadcast_reference(x, *, shape, dims):
    full = [1] * len(shape)
    for i, d in enumerate(dims):
        full[d] = x.shape[i]
    return np.broadcast_to(x.reshape(full), shape)


def _broadcast(inputs, params, program):
    (x,), shape, dims = inputs, params["shape"], params["dims"]
    if x.aval.shape == shape:
        return x
    if e := program.made_by(x, "broadcast_in_dim"):
        first = e.params["dims"]
        return broadcast_in_dim, e.inputs, {"shape": shape, "dims": tuple([dims[d] for d in first])}
    if e := program.made_by(x, "reshape"):      # that only put axes of extent 1 in
        before, after = e.inputs[0].aval.shape, x.aval.shape
        places = [dims[i] for i, n in enumerate(after) if n != 1]
        if 1 not in before and before == tuple([n for n in after if n != 1]):
            return broadcast_in_dim, e.inputs, {"shape": shape, "dims": tuple(places)}
    return None


broadcast_in_dim = structural(
    "broadcast_in_dim", infer=_broadcast_infer, transpose=_broadcast_transpose,
    batch=_broadcast_batch, reference=_broadcast_reference,
    lower=lambda ctx, eqn, views: [views[0].broadcast(eqn.params["shape"], eqn.params["dims"])],
    simplify=_broadcast,
    samples=[Sample("f64[]", shape=(2, 3), dims=()), Sample("f64[3]", shape=(2, 3), dims=(1,)),
             Sample("f64[2,1]", shape=(2, 3), dims=(0, 1)), Sample("f64[3]", shape=(3, 0), dims=(0,))],
    errors=[ErrorSample("f64[3]", shape=(2, 4), dims=(1,), match="cannot broadcast")])


def _rev_infer(x, *, axes):
    if any(not 0 <= a < x.ndim for a in axes):
        raise ValueError(f"axes {axes} are not all axes of {x}")
    return x.shape, x.dtype


rev = structural(
    "rev", infer=_rev_infer, transpose=lambda cts, operands, *, axes: [rev(cts[0], axes=axes)],
    batch=lambda size, operands, dims, *, axes: (
        [rev(operands[0], axes=tuple(a + (a >= dims[0]) for a in axes))], [dims[0]]),
    lower=lambda ctx, eqn, views: [views[0].reverse(eqn.params["axes"])],
    reference=lambda x, *, axes: np.flip(x, axes),
    simplify=lambda inputs, params, program: inputs[0] if not params["axes"] else None,
    samples=[Sample("f64[3,4]", axes=(1,)), Sample("f64[3,4]", axes=(0, 1))],
    errors=[ErrorSample("f64[3]", axes=(1,), match="not all axes")])


# ----- bits read as another dtype ---------------------------------------------------------------------------


def _bitcast_infer(x, *, dtype):
    old, new = x.dtype.itemsize, dtype.itemsize
    if x.dtype == np.bool_ or dtype == np.bool_ or CODE.get(dtype) is None:
        raise TypeError(f"bitcast: {x} cannot be read as {dtype}; bool is no dtype of free bits")
    if new == old:
        return x.shape, dtype
    if new < old:
        return (*x.shape, old // new), dtype
    if not x.ndim or x.shape[-1] != new // old:
        raise ValueError(f"bitcast: the last axis of {x} must have {new // old} elements to be read as "
                         f"{dtype}")
    return x.shape[:-1], dtype


def _bitcast_lower(ctx, eqn, views):
    (x,), aval = views, eqn.outs[0].aval
    if x.dtype.itemsize != aval.dtype.itemsize:
        x = ctx.contiguous(x)
    return [x.reinterpreted(aval.dtype, aval.shape)]


def _bitcast_reference(x, *, dtype):
    shape, _ = _bitcast_infer(aval_of(x), dtype=dtype)
    return np.frombuffer(np.ascontiguousarray(x).tobytes(), dtype).reshape(shape)


bitcast = flat(
    "bitcast", infer=_bitcast_infer, lower=_bitcast_lower, family="structural",
    batch=lambda size, operands, dims, *, dtype: (
        [bitcast(move_axis(operands[0], dims[0], 0), dtype=dtype)], [0]),
    reference=_bitcast_reference,
    dtypes=("f64",),
    samples=[Sample("f64[3]", dtype=np.dtype("int64")), Sample("f32[3,2]", dtype=np.dtype("uint64")),
             Sample("i64[2,3]", dtype=np.dtype("uint16")), Sample("f32[2,3]", dtype=np.dtype("int32")),
             Sample("f16[3]", dtype=np.dtype("uint16"))],
    errors=[ErrorSample("f32[3]", dtype=np.dtype("float64"), match="must have 2 elements"),
            ErrorSample("bool[3]", dtype=np.dtype("int8"), match="cannot be read", error=TypeError)])


# ----- slice, pad, concatenate -----------------------------------------------------------------------


def _slice_infer(x, *, start, limit, stride):
    if not len(start) == len(limit) == len(stride) == x.ndim or any(
            not (0 <= a <= b <= n and s > 0)
            for a, b, s, n in zip(start, limit, stride, x.shape, strict=True)):
        raise ValueError(f"slice {start} to {limit} by {stride} does not fit {x}")
    return tuple([-(-(b - a) // s) for a, b, s in zip(start, limit, stride, strict=True)]), x.dtype


def _slice_transpose(cts, operands, *, start, limit, stride):
    shape = operands[0].aval.shape
    ct = aval_of(cts[0]).shape
    high = tuple([n - a - ((m - 1) * s + 1 if m else 0)
                  for n, a, s, m in zip(shape, start, stride, ct, strict=True)])
    return [pad(cts[0], Hooks.lit_like(0, _scalar(cts[0])), low=start, high=high,
                interior=tuple([s - 1 for s in stride]))]


def _scalar(x):
    """A 0-d value of x's dtype, to take a literal's type from."""
    return aval_of(x).dtype.type(0)


def _put(values, d, value):
    return (*values[:d], value, *values[d + 1:])


def insert(values, d, value):
    return (*values[:d], value, *values[d:])


def _slice_batch(size, operands, dims, *, start, limit, stride):
    (d,) = dims
    return [slice(operands[0], start=insert(start, d, 0), limit=insert(limit, d, size),
                  stride=insert(stride, d, 1))], [d]


def _sliced(inputs, params, program):
    (x,), start, limit, stride = inputs, params["start"], params["limit"], params["stride"]
    if tuple(limit) == x.aval.shape and not any(start) and all(s == 1 for s in stride):
        return x
    if e := program.made_by(x, "slice"):
        p = e.params
        at = tuple([a + b * s for a, b, s in zip(p["start"], start, p["stride"], strict=True)])
        end = tuple([a + (b - c - 1) // t * t * s + 1 if b > c else a for a, b, c, t, s in zip(
            at, limit, start, stride, p["stride"], strict=True)])
        return slice, e.inputs, {"start": at, "limit": end, "stride": tuple(
            [s * t for s, t in zip(p["stride"], stride, strict=True)])}
    if e := program.made_by(x, "concatenate"):
        axis, first = e.params["axis"], 0
        for piece in e.inputs:                  # of one of the pieces
            n = piece.aval.shape[axis]
            if first <= start[axis] and limit[axis] <= first + n:
                return slice, (piece,), {
                    "start": tuple([a - first * (i == axis) for i, a in enumerate(start)]),
                    "limit": tuple([a - first * (i == axis) for i, a in enumerate(limit)]),
                    "stride": stride}
            first += n
    return None


slice = structural(
    "slice", simplify=_sliced, picks=True, infer=_slice_infer, transpose=_slice_transpose,
    batch=_slice_batch,
    lower=lambda ctx, eqn, views: [views[0].slice(**eqn.params)],
    reference=lambda x, *, start, limit, stride: x[tuple(
        np.s_[a:b:s] for a, b, s in zip(start, limit, stride, strict=True))],
    samples=[Sample("f64[5,4]", start=(1, 0), limit=(5, 3), stride=(2, 1)),
             Sample("f64[5]", start=(2,), limit=(2,), stride=(1,)), Sample("f64[]", start=(), limit=(),
                                                                       stride=())],
    errors=[ErrorSample("f64[3]", start=(1,), limit=(4,), stride=(1,), match="does not fit")])


def _pad_infer(x, value, *, low, high, interior):
    if value.ndim or value.dtype != x.dtype:
        raise TypeError(f"the padding must be a scalar of dtype {x.dtype}, got {value}")
    if not len(low) == len(high) == len(interior) == x.ndim or any(i < 0 for i in interior):
        raise ValueError(f"padding {low}, {high}, {interior} does not fit {x}")
    shape = [a + b + (n + (n - 1) * i if n else 0)
             for n, a, b, i in zip(x.shape, low, high, interior, strict=True)]
    if any(n < 0 for n in shape):
        raise ValueError(f"padding {low}, {high} would leave {x} with a negative extent")
    return tuple(shape), x.dtype


def _pad_transpose(cts, operands, *, low, high, interior):
    ct = cts[0]
    x, value = operands
    ct_x = ct_value = None
    aval = x.aval if isinstance(x, Linear) else aval_of(x)
    zeros = (0,) * aval.ndim
    inner = pad(ct, Hooks.lit_like(0, _scalar(ct)), low=tuple([-a for a in low]),
                high=tuple([-b for b in high]), interior=zeros)
    inner = slice(inner, start=zeros, limit=aval_of(inner).shape,
                  stride=tuple([i + 1 for i in interior]))
    if isinstance(x, Linear):
        ct_x = inner
    if isinstance(value, Linear):
        total = OPS["reduce_sum"](ct, axes=tuple(range(aval.ndim)))
        ct_value = OPS["sub"](total, OPS["reduce_sum"](inner, axes=tuple(range(aval.ndim))))
    return [ct_x, ct_value]


def _pad_batch(size, operands, dims, *, low, high, interior):
    x, value = operands
    dx, dv = dims
    if dv is None:
        return [pad(x, value, low=insert(low, dx, 0), high=insert(high, dx, 0),
                    interior=insert(interior, dx, 0))], [dx]
    x = batch_first(size, x, dx)        # a value per example: pad with 0 and add it outside
    zero, one = (Hooks.lit_like(v, _scalar(x)) for v in (0, 1))
    wide = {"low": (0, *low), "high": (0, *high), "interior": (0, *interior)}
    padded = pad(x, zero, **wide)
    outside = pad(Hooks.lit_like(0, x), one, **wide)
    shape = aval_of(padded).shape
    return [OPS["select"](OPS["eq"](outside, 1), broadcast_in_dim(value, shape=shape, dims=(0,)),
                          padded)], [0]


def _pad_lower(ctx, eqn, views):
    x, value = views
    low, interior, high = eqn.params["low"], eqn.params["interior"], eqn.params["high"]
    axes = [d for d in range(len(low)) if low[d] or high[d]]
    if len(axes) == 1 and not any(interior) and x.size:
        d, = axes
        a, b, n = low[d], high[d], x.shape[d]
        if -a < n and -b < n and a + b + n > 0:
            zeros = (0,) * len(low)
            inner = x.slice(_put(zeros, d, max(-a, 0)), _put(x.shape, d, n - max(-b, 0)), (1,) * len(low))
            around = [value.broadcast(_put(x.shape, d, max(k, 0)), ()) for k in (a, b)]
            return [ctx.join([around[0], inner, around[1]], d)]
    out = ctx.new(eqn.outs[0].aval)
    ctx.fill(out, value)
    start, limit, stride, cut, end = [], [], [], [], []
    for n, a, i, m in zip(x.shape, low, interior, out.shape, strict=True):
        step = i + 1
        first = 0 if a >= 0 else -(a // step)           # elements that a negative low drops
        last = first
        if m > 0:
            last = max(first, min(n, (m - 1 - a) // step + 1))
        start.append(a + first * step if last > first else 0)
        limit.append(start[-1] + (last - first - 1) * step + 1 if last > first else start[-1])
        stride.append(step)
        cut.append(first)
        end.append(last)
    ones = (1,) * len(low)
    if all(b > a for a, b in zip(cut, end, strict=True)):
        ctx.copy(out.slice(tuple(start), tuple(limit), tuple(stride)),
                 x.slice(tuple(cut), tuple(end), ones))
    return [out]


def _pad_reference(x, value, *, low, high, interior):
    shape = [n + (n - 1) * i if n else 0 for n, i in zip(x.shape, interior, strict=True)]
    wide = np.full(shape, value, x.dtype)
    wide[tuple(np.s_[::i + 1] for i in interior)] = x
    around = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    outer = np.pad(wide, around, constant_values=value) if around else wide
    return outer[tuple(np.s_[max(-a, 0):n - max(-b, 0)]
                       for a, b, n in zip(low, high, outer.shape, strict=True))]


pad = structural(
    "pad", infer=_pad_infer, transpose=_pad_transpose, batch=_pad_batch, lower=_pad_lower,
    reference=_pad_reference,
    samples=[Sample("f64[3]", "f64[]", low=(1,), high=(2,), interior=(0,)),
             Sample("f64[3,2]", "f64[]", low=(0, 1), high=(-1, 0), interior=(1, 2)),
             Sample("f64[4]", "f64[]", low=(-2,), high=(1,), interior=(1,)),
             Sample("f64[0]", "f64[]", low=(2,), high=(1,), interior=(0,))],
    errors=[ErrorSample("f64[3]", "f64[]", low=(-4,), high=(0,), interior=(0,),
                        match="negative extent")])


def _concatenate_infer(*xs, axis):
    first = xs[0]
    if not 0 <= axis < first.ndim:
        raise ValueError(f"cannot concatenate along axis {axis} of {first}")
    for x in xs[1:]:
        if x.dtype != first.dtype or x.ndim != first.ndim or any(
                a != b for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True)) if i != axis):
            raise ValueError(f"cannot concatenate {first} and {x} along axis {axis}: "
                             "all other axes and the dtype must agree")
    shape = list(first.shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return tuple(shape), first.dtype


def _pieces(whole, operands, axis, of):
    """(slice of whole, operand) pairs: where each operand lies in the concatenation."""
    ndim, at = len(of), 0
    for x in operands:
        n = (x.aval if isinstance(x, Linear) else x).shape[axis]
        yield x, {"start": tuple([at if i == axis else 0 for i in range(ndim)]),
                  "limit": tuple([at + n if i == axis else m for i, m in enumerate(of)]),
                  "stride": (1,) * ndim}
        at += n


def _concatenate_transpose(cts, operands, *, axis):
    ct = cts[0]
    return [slice(ct, **where) if isinstance(x, Linear) else None
            for x, where in _pieces(ct, [x if isinstance(x, Linear) else aval_of(x) for x in operands],
                                    axis, aval_of(ct).shape)]


def _concatenate_lower(ctx, eqn, views):
    return [ctx.join(views, eqn.params["axis"])]


def _concatenated(inputs, params, program):
    if len(inputs) == 1:
        return inputs[0]
    axis = params["axis"]
    flat_inputs: list = []
    for x in inputs:
        e = program.made_by(x, "concatenate")
        if x.aval.shape[axis] == 0:
            continue
        flat_inputs += e.inputs if e is not None and e.params["axis"] == axis else [x]
    return (concatenate, tuple(flat_inputs), params) if 0 < len(flat_inputs) != len(inputs) else None


concatenate = structural(
    "concatenate", simplify=_concatenated, infer=_concatenate_infer, transpose=_concatenate_transpose,
    batch=lambda size, operands, dims, *, axis: (
        [concatenate(*[batch_first(size, x, d) for x, d in zip(operands, dims, strict=True)],
                     axis=axis + 1)], [0]),
    lower=_concatenate_lower, reference=lambda *xs, axis: np.concatenate(xs, axis),
    samples=[Sample("f64[2,3]", "f64[1,3]", axis=0), Sample("f64[2,1]", "f64[2,0]", "f64[2,2]", axis=1),
             Sample("f64[3]", axis=0)],
    errors=[ErrorSample("f64[2,3]", "f64[2,2]", axis=0, match="cannot concatenate")])


def _roll_infer(x, *, shift, axis):
    if not 0 <= axis < x.ndim or not 0 <= shift < max(x.shape[axis], 1):
        raise ValueError(f"cannot roll {x} by {shift} along axis {axis}")
    return x.shape, x.dtype


def _roll_lower(ctx, eqn, views):
    (x,), d = views, eqn.params["axis"]
    cut = x.shape[d] - eqn.params["shift"]
    zeros, ones = (0,) * len(x.shape), (1,) * len(x.shape)
    return [ctx.join([x.slice(_put(zeros, d, cut), x.shape, ones),
                      x.slice(zeros, _put(x.shape, d, cut), ones)], d)]


def _rolled(inputs, params, program):
    (x,), shift, axis = inputs, params["shift"], params["axis"]
    if not shift:
        return x
    e = program.made_by(x, "roll")
    if e is None or e.params["axis"] != axis:
        return None
    shift = (shift + e.params["shift"]) % x.aval.shape[axis]
    return (roll, e.inputs, {"shift": shift, "axis": axis}) if shift else e.inputs[0]


# Elements move to higher positions by ``shift``, those at the end to the beginning.
roll = structural(
    "roll", infer=_roll_infer,
    transpose=lambda cts, operands, *, shift, axis: [
        roll(cts[0], shift=-shift % max(aval_of(cts[0]).shape[axis], 1), axis=axis)],
    batch=lambda size, operands, dims, *, shift, axis: (
        [roll(operands[0], shift=shift, axis=axis + (axis >= dims[0]))], [dims[0]]),
    lower=_roll_lower, reference=lambda x, *, shift, axis: np.roll(x, shift, axis),
    simplify=_rolled, picks=True,
    samples=[Sample("f64[5]", shift=2, axis=0), Sample("f64[3,4]", shift=1, axis=1),
             Sample("f64[3,4,2]", shift=2, axis=0), Sample("f64[0]", shift=0, axis=0)],
    errors=[ErrorSample("f64[3]", shift=3, axis=0, match="cannot roll")])


# ----- iota, constants -----------------------------------------------------


def _iota_lower(ctx, eqn, views):
    out = ctx.new(eqn.outs[0].aval)
    ctx.step(f"iota:{CODE[out.dtype]}", [out], out.shape, ints=(eqn.params["axis"],))
    return [out]


def _iota_infer(*, shape, dtype, axis):
    if not 0 <= axis < len(shape):
        raise ValueError(f"iota: axis {axis} is not an axis of shape {shape}")
    return shape, dtype


def _iota_reference(*, shape, dtype, axis):
    along = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(along, shape).astype(dtype)


iota = flat("iota", infer=_iota_infer, batch=None, lower=_iota_lower, always=True,
            reference=_iota_reference, why={"batch": "it has no operands"},
            samples=[Sample(shape=(3, 4), dtype=np.dtype("int64"), axis=1),
                     Sample(shape=(3,), dtype=np.dtype("float32"), axis=0)],
            errors=[ErrorSample(shape=(3,), dtype=np.dtype("int64"), axis=1, match="not an axis")])


class Box:
    """Holds an array that a user's rule captured; equal only to itself, read at every run."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"{CODE[self.value.dtype]}[{','.join(map(str, self.value.shape))}]"


constant = flat("constant", infer=lambda *, box: (box.value.shape, box.value.dtype), batch=None,
                lower=lambda ctx, eqn, views: [ctx.reference(eqn.params["box"].value)], always=True,
                why={"batch": "it has no operands"})
