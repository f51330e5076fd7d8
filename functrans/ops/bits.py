"""Ops on the bits of floats that are compositions of integer ops, but have a derivative of their own."""

from __future__ import annotations

import numpy as np

from ..ir.op import CODE, FLOAT, OPS, ErrorSample, Sample, linear
from .call import Passes
from .elementwise import and_, or_, select

# per dtype: unsigned integers of its size, bits of the exponent and of the mantissa
_LAYOUT = {"f32": (np.dtype("uint32"), 8, 23), "f64": (np.dtype("uint64"), 11, 52)}


def _precision_infer(x, *, exponent_bits, mantissa_bits):
    if CODE.get(x.dtype) not in FLOAT:
        raise TypeError(f"reduce_precision is not defined for {x}")
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ValueError(f"reduce_precision: exponent_bits={exponent_bits} must be positive, "
                         f"mantissa_bits={mantissa_bits} not negative")
    return x.shape, x.dtype


def _rounded(x, e, m):
    """Mantissas to the nearest, ties to even; what the exponent cannot hold to infinity or 0."""
    unsigned, exponent, mantissa = _LAYOUT[CODE[x.dtype]]
    u = OPS["bitcast"](x, dtype=unsigned)
    if m < mantissa:
        drop = mantissa - m
        even = and_(OPS["shr"](u, drop), 1)
        whole = 2 ** (1 + exponent + mantissa) - 2 ** drop
        u = and_(OPS["add"](OPS["add"](u, even), 2 ** (drop - 1) - 1), whole)
    if e < exponent:
        bias, small = 2 ** (exponent - 1) - 1, 2 ** (e - 1) - 1
        sign = and_(u, 2 ** (exponent + mantissa))
        size = and_(u, 2 ** (exponent + mantissa) - 1)
        infinity = or_(sign, (2 ** exponent - 1) << mantissa)
        u = select(OPS["ge"](size, (bias + small + 1) << mantissa), infinity,
                   select(OPS["lt"](size, (bias - small + 1) << mantissa), sign, u))
    return select(OPS["isnan"](x), x, OPS["bitcast"](u, dtype=x.dtype))


def _precision_lower(ctx, eqn, views):
    e, m = eqn.params["exponent_bits"], eqn.params["mantissa_bits"]
    return ctx.inline(Passes.stage(lambda x: [_rounded(x, e, m)], eqn.sig.in_avals), views)


def _precision_reference(x, *, exponent_bits, mantissa_bits):
    """By scaling: a whole number of units of the last place."""
    wide = np.asarray(x, np.longdouble)
    least = 2 - 2 ** (exponent_bits - 1)
    _, power = np.frexp(wide)
    unit = np.ldexp(np.longdouble(1), power - 1 - mantissa_bits)
    out = np.rint(wide / unit) * unit
    most = (2 - np.ldexp(np.longdouble(1), -mantissa_bits)) * np.ldexp(np.longdouble(1), 1 - least)
    out = np.where(np.abs(out) > most, np.copysign(np.inf, wide), out)
    small = np.abs(out) < np.ldexp(np.longdouble(1), least)
    return np.where(small, np.copysign(0, wide), out).astype(x.dtype)


# Linear for derivatives: tangents are rounded as values are.
reduce_precision = linear(
    "reduce_precision", infer=_precision_infer, lower=_precision_lower, reference=_precision_reference,
    dtypes=FLOAT, work=lambda sig: (sig.out.size, 0),
    transpose=lambda cts, operands, **params: [reduce_precision(cts[0], **params)],
    batch=lambda size, operands, dims, **params: ([reduce_precision(operands[0], **params)], dims),
    samples=[Sample("f64[3,4]", exponent_bits=11, mantissa_bits=50, diff=()),
             Sample("f32[7]", exponent_bits=5, mantissa_bits=10, diff=()),
             Sample(np.array([1e300, -1e-300, 65519.0, 65520.0, -0.0, 6.1e-5, 2049.0, 2051.0]),
                    exponent_bits=5, mantissa_bits=10, diff=()),
             Sample("f64[4]", exponent_bits=4, mantissa_bits=0, diff=())],
    errors=[ErrorSample("f64[2]", exponent_bits=0, mantissa_bits=2, match="must be positive"),
            ErrorSample("i64[2]", exponent_bits=5, mantissa_bits=2, error=TypeError, match="not defined")])

__all__ = ["reduce_precision"]
