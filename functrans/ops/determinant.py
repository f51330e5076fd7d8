"""Determinants. Their derivative is the matrix of cofactors.
"""

from __future__ import annotations

import numpy as np

from ..ir.op import OPS, Hooks, aval_of
from .elementwise import convert, mul, neg, select, sub, zmul
from .matrices import INT64, along_rows, check, composed, conj, diagonal, mm, real, real_dtype, t
from .shape import broadcast_in_dim, iota
from .solve import inverse, lu
from .spectral import svd

# ----- determinant ---------------------------------------------------------------------------------------


def _diagonal_and_sign(a):
    """The diagonal of the upper factor, and the sign of the permutation: of the transposed matrix, whose
    columns LAPACK reads as they are."""
    factors, pivots, _ = lu(t(a))
    d = diagonal(t(factors))
    moved = convert(OPS["ne"](convert(pivots, dtype=INT64), iota(
        shape=aval_of(pivots).shape, dtype=INT64, axis=aval_of(pivots).ndim - 1)), dtype=INT64)
    odd = OPS["and"](OPS["reduce_sum"](moved, axes=(aval_of(d).ndim - 1,)), 1)
    return d, odd


def _det(a):
    d, odd = _diagonal_and_sign(a)
    product = OPS["reduce_prod"](d, axes=(aval_of(d).ndim - 1,))
    return select(OPS["eq"](odd, 1), neg(product), product)


def _det_jvp(primals, tangents):
    (a,), (ta,) = primals, tangents
    out = det(a)
    if isinstance(ta, Hooks.zero):
        return [out], [Hooks.zero(aval_of(out))]
    n = aval_of(a).ndim
    return [out], [OPS["reduce_sum"](zmul(ta, cofactor(a)), axes=(n - 2, n - 1))]


def _det_infer(a):
    check("det", a, square=True)
    return a.shape[:-2], a.dtype


det = composed("det", _det, infer=_det_infer, jvp=_det_jvp, reference=lambda a: np.linalg.det(a))


def _cofactor(a):
    """det(a) inv(a)', as conj(u) adj(s) conj(vh) with the signs of u and vh: exact of singular a too."""
    u, s, vh = svd(a, full=False, vectors=True)
    shape = aval_of(a).shape
    axis = len(shape) - 2
    others = mul(_others(s, axis, False), _others(s, axis, True))
    others = convert(others, dtype=aval_of(a).dtype)
    sign = mul(det(u), det(vh))
    middle = mul(conj(u), along_rows(mul(others, broadcast_in_dim(
        sign, shape=shape[:-1], dims=tuple(range(len(shape) - 2)))), shape))
    return mm(middle, conj(vh))


def _others(s, axis, reverse):
    """Of each element, the product of those before it (reverse: behind it)."""
    ndim = aval_of(s).ndim
    one = tuple([int(i == axis) for i in range(ndim)])
    minus, zeros = tuple([-v for v in one]), (0,) * ndim
    low, high = (minus, one) if reverse else (one, minus)
    moved = OPS["pad"](s, Hooks.lit_like(1, aval_of(s).dtype.type(1)), low=low, high=high, interior=zeros)
    return OPS["cumprod"](moved, axis=axis, reverse=reverse)


def _cofactor_jvp(primals, tangents):
    """Of det(a) a'^-1; second derivatives of a determinant need a matrix that is not singular."""
    (a,), (ta,) = primals, tangents
    out = cofactor(a)
    if isinstance(ta, Hooks.zero):
        return [out], [ta]
    inv = inverse(a)
    n = aval_of(a).ndim
    trace = OPS["reduce_sum"](mul(ta, t(inv)), axes=(n - 2, n - 1))
    first = mul(out, broadcast_in_dim(trace, shape=aval_of(a).shape, dims=tuple(range(n - 2))))
    return [out], [sub(first, mm(mm(out, t(ta)), t(inv)))]


def _square_infer(a):
    check("cofactor", a, square=True)
    return a.shape, a.dtype


cofactor = composed("cofactor", _cofactor, infer=_square_infer, jvp=_cofactor_jvp)


def _slogdet(a):
    d, odd = _diagonal_and_sign(a)
    axis = aval_of(d).ndim - 1
    sign = OPS["reduce_prod"](OPS["sign"](d), axes=(axis,))
    size = OPS["abs"](d)
    return [select(OPS["eq"](odd, 1), neg(sign), sign), OPS["reduce_sum"](OPS["log"](size), axes=(axis,))]


def _slogdet_jvp(primals, tangents):
    """The trace of a^-1 da; of a complex matrix its imaginary part turns the sign."""
    (a,), (ta,) = primals, tangents
    sign, logabs = slogdet(a)
    if isinstance(ta, Hooks.zero):
        return [sign, logabs], [Hooks.zero(aval_of(sign)), Hooks.zero(aval_of(logabs))]
    n = aval_of(a).ndim
    trace = OPS["reduce_sum"](mul(ta, inverse(t(a))), axes=(n - 2, n - 1))       # with the value's factors
    if aval_of(a).dtype.kind != "c":
        return [sign, logabs], [Hooks.zero(aval_of(sign)), trace]
    turn = OPS["complex"](mul(real(trace), 0.0), OPS["imag"](trace))
    return [sign, logabs], [mul(sign, turn), real(trace)]


def _slogdet_infer(a):
    check("slogdet", a, square=True)
    return [(a.shape[:-2], a.dtype), (a.shape[:-2], real_dtype(a.dtype))]


slogdet = composed("slogdet", _slogdet, infer=_slogdet_infer, jvp=_slogdet_jvp, multiple=True)
