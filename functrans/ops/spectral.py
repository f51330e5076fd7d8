"""Eigenvalues and singular values of matrices, and their vectors.

Derivatives: Giles 2008, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation"; Townsend 2016, "Differentiating the singular value
decomposition". What is not unique for equal eigenvalues or singular values, the vectors that belong to
them, has NaN as its derivative there.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.op import OPS, Hooks, aval_of
from .elementwise import add, convert, div, mul, neg, select, sub, zmul
from .matrices import (
    INT64,
    along_cols,
    along_rows,
    check,
    composed,
    conj,
    copied,
    copied_by_columns,
    decomposition,
    diagonal,
    emit,
    h,
    mm,
    real,
    real_dtype,
    same_lead,
    swapped,
    t,
    where,
    work,
)
from .shape import broadcast_in_dim
from .solve import solve

# ----- eigenvalues of symmetric matrices -----------------------------------------------------------------


def _eigh_infer(a, *, vectors):
    check("eigh", a, square=True)
    w = (a.shape[:-1], real_dtype(a.dtype))
    return [w, (a.shape, a.dtype)] if vectors else [w]


def _reciprocal_gaps(x, y, dtype):
    """1 / (x_j - y_i) where they differ by more than rounding, 0 elsewhere: directions of one eigenspace
    do not turn into each other."""
    shape = (*aval_of(x).shape, aval_of(x).shape[-1])
    gap = sub(along_rows(x, shape), along_cols(y, shape))
    size = OPS["abs"](x)
    if aval_of(x).shape[-1]:
        most = OPS["reduce_max"](size, axes=(len(shape) - 2,))
    else:
        most = OPS["reduce_sum"](size, axes=(len(shape) - 2,))
    eps = float(np.finfo(dtype).eps) * shape[-1]
    least = mul(broadcast_in_dim(most, shape=shape, dims=tuple(range(len(shape) - 2))), eps)
    close = OPS["le"](OPS["abs"](gap), least)
    return select(close, 0, div(Hooks.lit_like(1, gap), select(close, 1, gap)))


def _eigh_jvp(primals, tangents, *, vectors):
    """With m = v' da v: dw its diagonal, dv = v (m / (w_j - w_i)), 0 / 0 being 0."""
    (a,), (ta,) = primals, tangents
    w, v = eigh(a, vectors=True)
    outs = [w, v] if vectors else [w]
    if isinstance(ta, Hooks.zero):
        return outs, [Hooks.zero(aval_of(x)) for x in outs]
    m = mm(h(v), mm(ta, v))
    dw = real(diagonal(m))
    if not vectors:
        return outs, [dw]
    gaps = convert(_reciprocal_gaps(w, w, aval_of(w).dtype), dtype=aval_of(a).dtype)
    return outs, [dw, mm(v, zmul(m, gaps))]


def _eigh_lower(ctx, eqn, views):
    vectors = eqn.params["vectors"]
    a = copied(ctx, views[0])
    w = ctx.new(eqn.sig.outs[0])
    n = a.shape[-1]
    emit(ctx, eqn, "eigh", [w, a], 2, (n, int(vectors)))
    return [w, a.transpose(swapped(a.ndim))] if vectors else [w]


eigh = decomposition("eigh", infer=_eigh_infer, jvp=_eigh_jvp, lower=_eigh_lower,
                     work=work(lambda m, n: 9 * n ** 3))


# ----- eigenvalues of any square matrix ------------------------------------------------------------------


def _complex_dtype(dtype):
    return np.result_type(dtype, np.complex64)


def _eig_infer(a, *, left, right):
    check("eig", a, square=True)
    dtype = _complex_dtype(a.dtype)
    return [(a.shape[:-1], dtype), *[(a.shape, dtype)] * (left + right)]


def _eig_jvp(primals, tangents, *, left, right):
    """With m = v^-1 da v: dw its diagonal, dv = v (m / (w_j - w_i)), kept of length 1 and with the
    phase that LAPACK gives: the largest component of each vector is real."""
    (a,), (ta,) = primals, tangents
    if isinstance(ta, Hooks.zero):
        outs = eig(a, left=left, right=right)
        return outs, [Hooks.zero(aval_of(x)) for x in outs]
    if left:
        raise NonDifferentiableError("eig: left eigenvectors have no derivative rule.",
                                     "Take the right ones of the conjugate transpose.")
    w, v = eig(a, left=False, right=True)
    dtype = aval_of(w).dtype
    m = solve(v, mm(convert(ta, dtype=dtype), v))
    dw = diagonal(m)
    if not right:
        return [w], [dw]
    dv = mm(v, zmul(m, _complex_gaps(w)))
    shape, axis = aval_of(v).shape, aval_of(v).ndim - 2
    along = OPS["reduce_sum"](mul(conj(v), dv), axes=(axis,))              # v_j' dv_j
    size = OPS["abs"](v)
    largest = OPS["eq"](size, along_rows(OPS["reduce_max"](size, axes=(axis,)), shape))
    top, dtop = (OPS["reduce_sum"](select(largest, x, 0), axes=(axis,)) for x in (v, dv))
    shift = sub(dtop, mul(top, convert(real(along), dtype=dtype)))
    turn = OPS["complex"](real(along), div(OPS["imag"](shift), real(top)))
    return [w, v], [dw, sub(dv, mul(v, along_rows(turn, shape)))]


def _complex_gaps(w):
    """1 / (w_j - w_i) where they differ by more than rounding, 0 elsewhere."""
    shape = (*aval_of(w).shape, aval_of(w).shape[-1])
    gap = sub(along_rows(w, shape), along_cols(w, shape))
    dtype = real_dtype(aval_of(w).dtype)
    most = OPS["reduce_max"](OPS["abs"](w), axes=(len(shape) - 2,))
    least = mul(broadcast_in_dim(most, shape=shape, dims=tuple(range(len(shape) - 2))),
                float(np.finfo(dtype).eps) * shape[-1])
    close = OPS["le"](OPS["abs"](gap), least)
    return select(close, 0, div(Hooks.lit_like(1, gap), select(close, 1, gap)))


def _eig_lower(ctx, eqn, views):
    p = eqn.params
    flipped, _ = copied_by_columns(ctx, views[0])
    w, *vectors = [ctx.new(a) for a in eqn.sig.outs]       # columns contiguous
    n = flipped.shape[-1]
    emit(ctx, eqn, "eig", [w, flipped, *vectors], 2 + len(vectors), (n, int(p["left"]), int(p["right"])))
    return [w, *[v.transpose(swapped(v.ndim)) for v in vectors]]


eig = decomposition("eig", infer=_eig_infer, jvp=_eig_jvp, lower=_eig_lower,
                    work=work(lambda m, n: 25 * n ** 3))


# ----- singular values -----------------------------------------------------------------------------------


def _svd_infer(a, *, full, vectors):
    check("svd", a)
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    k = min(m, n)
    s = ((*lead, k), real_dtype(a.dtype))
    if not vectors:
        return [s]
    ku, kv = (m, n) if full else (k, k)
    return [((*lead, m, ku), a.dtype), s, ((*lead, kv, n), a.dtype)]


def _svd_jvp(primals, tangents, *, full, vectors):
    (a,), (ta,) = primals, tangents
    m, n = aval_of(a).shape[-2:]
    if isinstance(ta, Hooks.zero):
        outs = svd(a, full=full, vectors=vectors)
        return outs, [Hooks.zero(aval_of(x)) for x in outs]
    if vectors and full and m != n:
        raise NonDifferentiableError(
            f"svd of {aval_of(a)} with all singular vectors has no unique derivative.",
            "Use full_matrices=False.")
    dtype = aval_of(a).dtype
    u, s, vh = svd(a, full=False, vectors=True)
    v = h(vh)
    inner = mm(h(u), mm(ta, v))
    ds = real(diagonal(inner))
    if not vectors:
        return [s], [ds]
    shape = aval_of(inner).shape
    as_rows, as_cols = (convert(f(s, shape), dtype=dtype) for f in (along_rows, along_cols))
    gaps = convert(_square_gaps(s), dtype=dtype)
    by_col, by_row = mul(inner, as_rows), mul(inner, as_cols)
    du = mm(u, zmul(add(by_col, h(by_col)), gaps))
    dv = mm(v, zmul(add(by_row, h(by_row)), gaps))
    null = OPS["eq"](s, Hooks.lit_like(0, s))
    inverse_s = select(null, 0, div(Hooks.lit_like(1, s), select(null, 1, s)))
    if dtype.kind == "c":                      # the phase that u and v share stays with u
        spin = select(where(inner, np.equal), mul(sub(inner, h(inner)), 0.5), 0)
        du = add(du, mm(u, zmul(spin, convert(along_rows(inverse_s, shape), dtype=dtype))))
    if m > n:
        x = mm(ta, v)
        x = sub(x, mm(u, mm(h(u), x)))
        du = add(du, zmul(x, convert(along_rows(inverse_s, aval_of(x).shape), dtype=dtype)))
    if n > m:
        x = mm(h(ta), u)
        x = sub(x, mm(v, mm(vh, x)))
        dv = add(dv, zmul(x, convert(along_rows(inverse_s, aval_of(x).shape), dtype=dtype)))
    return [u, s, vh], [du, ds, h(dv)]


def _square_gaps(s):
    """1 / (s_j^2 - s_i^2), as 1 / (s_j - s_i) / (s_j + s_i)."""
    shape = (*aval_of(s).shape, aval_of(s).shape[-1])
    total = add(along_rows(s, shape), along_cols(s, shape))
    gaps = _reciprocal_gaps(s, s, aval_of(s).dtype)
    return zmul(gaps, div(Hooks.lit_like(1, total), total))


def _svd_lower(ctx, eqn, views):
    full, vectors = eqn.params["full"], eqn.params["vectors"]
    m, n = views[0].shape[-2:]
    if min(m, n) == 0:                       # all vectors of a matrix without elements
        return [ctx.contiguous(ctx.const(np.eye(*x.shape[-2:], dtype=x.dtype)).broadcast(
            x.shape, (x.ndim - 2, x.ndim - 1))) if x.size else ctx.new(x) for x in eqn.sig.outs]
    flipped, _ = copied_by_columns(ctx, views[0])
    shapes = [x.shape if x.ndim < flipped.ndim else (*x.shape[:-2], *x.shape[:-3:-1]) for x in eqn.sig.outs]
    outs = [ctx.new(shape, x.dtype) for shape, x in zip(shapes, eqn.sig.outs, strict=True)]
    operands = [outs[1], flipped, outs[0], outs[2]] if vectors else [*outs, flipped]
    emit(ctx, eqn, "svd", operands, len(operands), (m, n, 0 if not vectors else 2 if full else 1))
    return [v if v.ndim < flipped.ndim else v.transpose(swapped(v.ndim)) for v in outs]


svd = decomposition("svd", infer=_svd_infer, jvp=_svd_jvp, lower=_svd_lower,
                    work=work(lambda m, n: 10 * m * n * min(m, n)))


# ----- pseudo-inverse -------------------------------------------------------------------------------------


def _pinv_infer(a, tol=None, *, rtol):
    check("pinv", a)
    if (tol is None) == (rtol is None) or (tol is not None and tol.shape != a.shape[:-2]):
        raise ValueError(f"pinv: rtol, or a tolerance for each matrix of {a}; got {rtol} and {tol}")
    return (*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype


def _pinv(a, tol=None, *, rtol):
    """v s^+ u', singular values of at most rtol (of each matrix: tol) of the largest being 0."""
    u, s, vh = svd(a, full=False, vectors=True)
    if 0 in aval_of(a).shape[-2:]:
        return t(a)
    most = OPS["reduce_max"](s, axes=(aval_of(s).ndim - 1,))
    least = mul(most, rtol if tol is None else tol)
    least = broadcast_in_dim(least, shape=aval_of(s).shape, dims=tuple(range(aval_of(s).ndim - 1)))
    used = OPS["gt"](s, least)
    inv = select(used, div(Hooks.lit_like(1, s), select(used, s, 1)), 0)
    v = h(vh)
    return mm(mul(v, along_rows(convert(inv, dtype=aval_of(a).dtype), aval_of(v).shape)), h(u))


def _pinv_jvp(primals, tangents, *, rtol):
    """Golub and Pereyra 1973, for matrices whose rank does not change."""
    a, ta = primals[0], tangents[0]
    p = pinv(*primals, rtol=rtol)
    if isinstance(ta, Hooks.zero):
        return [p], [Hooks.zero(aval_of(p))]
    hp, hta = h(p), h(ta)
    total = neg(mm(p, mm(ta, p)))
    first = mm(mm(p, hp), hta)
    total = add(total, sub(first, mm(mm(first, a), p)))
    last = mm(hta, mm(hp, p))
    return [p], [add(total, sub(last, mm(p, mm(a, last))))]


pinv = composed("pinv", _pinv, infer=_pinv_infer, jvp=_pinv_jvp)


# ----- least squares --------------------------------------------------------------------------------------


def _lstsq_infer(a, b, *, rtol):
    check("lstsq", a)
    check("lstsq", b)
    same_lead("lstsq", a, b)
    m, n = a.shape[-2:]
    if b.shape[-2] != m:
        raise ValueError(f"lstsq: {a} and {b} must have equal numbers of rows")
    lead = a.shape[:-2]
    return [((*lead, n, b.shape[-1]), a.dtype), ((*lead, min(m, n)), real_dtype(a.dtype)), (lead, INT64)]


def _lstsq_jvp(primals, tangents, *, rtol):
    """x = p b with the pseudo-inverse p, by its derivative (see _pinv_jvp), without n by m matrices of it."""
    a, b = primals
    ta, tb = tangents
    x, s, rank = lstsq(a, b, rtol=rtol)
    p = pinv(a, rtol=rtol)
    if isinstance(ta, Hooks.zero):
        ts = Hooks.zero(aval_of(s))
        tx = Hooks.zero(aval_of(x)) if isinstance(tb, Hooks.zero) else mm(p, tb)
    else:
        hp, hta = h(p), h(ta)
        rest = mm(hta, mm(hp, x))
        tx = sub(add(mm(p, mm(hp, mm(hta, sub(b, mm(a, x))))), sub(rest, mm(p, mm(a, rest)))),
                 mm(p, mm(ta, x)))
        tx = tx if isinstance(tb, Hooks.zero) else add(tx, mm(p, tb))
        u, _, vh = svd(a, full=False, vectors=True)
        ts = real(diagonal(mm(h(u), mm(ta, h(vh)))))
    return [x, s, rank], [tx, ts, Hooks.zero(aval_of(rank))]


def _lstsq_lower(ctx, eqn, views):
    a, b = views
    (m, n), k = a.shape[-2:], b.shape[-1]
    lead, most = a.shape[:-2], max(m, n)
    flipped, _ = copied_by_columns(ctx, a)
    x = ctx.new((*lead, k, most), a.dtype)                   # columns contiguous
    zeros, ones = (0,) * x.ndim, (1,) * x.ndim
    ctx.copy(x.slice(zeros, (*lead, k, m), ones), b.transpose(swapped(b.ndim)))
    s, rank = (ctx.new(aval) for aval in eqn.sig.outs[1:])
    bits = int(np.float64(eqn.params["rtol"]).view(np.int64))
    emit(ctx, eqn, "lstsq", [x, flipped, s, rank], 4, (m, n, k, bits))
    return [x.slice(zeros, (*lead, k, n), ones).transpose(swapped(x.ndim)), s, rank]


def _lstsq_work(sig):
    a, b = sig.in_avals
    m, n = a.shape[-2:]
    return int(math.prod(a.shape[:-2]) * min(m, n) * (4 * m * n + 4 * (m + n) * b.shape[-1])), 0


lstsq = decomposition("lstsq", infer=_lstsq_infer, jvp=_lstsq_jvp, lower=_lstsq_lower, work=_lstsq_work)
