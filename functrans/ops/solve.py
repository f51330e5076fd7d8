"""Triangular factors of matrices, and solvers by them.

Derivatives: Giles 2008, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation".
"""

from __future__ import annotations

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.op import OPS, Hooks, Op, aval_of, linear
from .elementwise import add, convert, mul, neg, select, sub
from .index import gather, reach
from .matrices import (
    INEXACT,
    INT64,
    batching,
    check,
    conj,
    copied,
    copied_by_columns,
    corner,
    decomposition,
    either,
    emit,
    h,
    lower_part,
    mm,
    padded,
    real,
    same_lead,
    swapped,
    t,
    upper_part,
    where,
    work,
)
from .shape import iota

# ----- Cholesky ------------------------------------------------------------------------------------------


def _cholesky_infer(a):
    check("cholesky", a, square=True)
    return a.shape, a.dtype


def _cholesky_jvp(primals, tangents):
    """da = dl l' + l dl' gives dl = l phi(l^-1 da l'^-1): the lower half, half of the diagonal."""
    (a,), (ta,) = primals, tangents
    factor = cholesky(a)
    if isinstance(ta, Hooks.zero):
        return [factor], [ta]
    s = solve_right(factor, triangular_solve(factor, ta, lower=True, trans=0, unit=False))
    phi = select(where(s, np.equal), mul(s, 0.5), lower_part(s))
    return [factor], [mm(factor, phi)]


def solve_right(factor, x):
    """x l'^-1 for lower triangular l."""
    return t(triangular_solve(conj(factor), t(x), lower=True, trans=0, unit=False))


def _cholesky_lower(ctx, eqn, views):
    out = copied(ctx, views[0])
    n = out.shape[-1]
    emit(ctx, eqn, "cholesky", [out], 1, (n,))
    return [out]


cholesky = Op("cholesky", "linalg", infer=_cholesky_infer, jvp=_cholesky_jvp, transpose=None,
              batch=batching("cholesky"), lower=_cholesky_lower, dtypes=INEXACT,
              work=work(lambda m, n: n ** 3 / 3),
              reference=lambda a: np.linalg.cholesky(a))


# ----- triangular solve ----------------------------------------------------------------------------------


def _solve_infer(name):
    def infer(a, b):
        check(name, a, square=True)
        check(name, b)
        same_lead(name, a, b)
        if b.shape[-2] != a.shape[-1]:
            raise ValueError(f"{name}: {a} and {b} do not fit")
        return b.shape, b.dtype
    return infer


def _triangular_infer(a, b, *, lower, trans, unit):
    return _solve_infer("triangular_solve")(a, b)


def _op(a, trans):
    return a if trans == 0 else t(a) if trans == 1 else h(a)


def _triangular_jvp(primals, tangents, *, lower, trans, unit):
    (a, b), (ta, tb) = primals, tangents
    out = triangular_solve(a, b, lower=lower, trans=trans, unit=unit)
    total = tb
    if not isinstance(ta, Hooks.zero):
        part = (lower_part if lower else upper_part)(ta, strict=unit)
        total = Hooks.add_tangents(tb, neg(mm(_op(part, trans), out)))
    if isinstance(total, Hooks.zero):
        return [out], [Hooks.zero(aval_of(out))]
    return [out], [triangular_solve(a, total, lower=lower, trans=trans, unit=unit)]


def _triangular_transpose(cts, operands, *, lower, trans, unit):
    a, _b = operands
    flipped = {0: 1, 1: 0, 2: 0}[trans]
    if trans == 2:                             # the transpose of a'^-1, without its conjugation
        a = conj(a)
    return [None, triangular_solve(a, cts[0], lower=lower, trans=flipped, unit=unit)]


def _triangular_lower(ctx, eqn, views):
    p = eqn.params
    a, by_columns = either(ctx, views[0])
    out = copied(ctx, views[1])
    n, k = out.shape[-2:]
    emit(ctx, eqn, "triangular_solve", [out, a], 1,
          (n, k, by_columns, int(p["lower"]), p["trans"], int(p["unit"])))
    return [out]


def _triangular_reference(a, b, *, lower, trans, unit):
    a = np.tril(a) if lower else np.triu(a)
    if unit:
        a = a - a * np.eye(a.shape[-1]) + np.eye(a.shape[-1])
    a = a if trans == 0 else np.swapaxes(a, -1, -2)
    return np.linalg.solve(np.conj(a) if trans == 2 else a, b)


triangular_solve = linear(
    "triangular_solve", family="linalg", operands=(1,), infer=_triangular_infer, jvp=_triangular_jvp,
    transpose=_triangular_transpose, batch=batching("triangular_solve"), lower=_triangular_lower,
    work=work(lambda n, k: n * n * k),
    dtypes=INEXACT, reference=_triangular_reference)


# ----- LU ------------------------------------------------------------------------------------------------


def _lu_infer(a):
    check("lu", a)
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    return [(a.shape, a.dtype), ((*lead, min(m, n)), np.dtype("int32")), ((*lead, m), INT64)]


def _lu_jvp(primals, tangents):
    """With p da = dl u + l du: m = l^-1 p da u^-1 has l^-1 dl below its diagonal and du u^-1 above."""
    (a,), (ta,) = primals, tangents
    factors, pivots, perm = lu(a)
    flat = [Hooks.zero(aval_of(pivots)), Hooks.zero(aval_of(perm))]
    if isinstance(ta, Hooks.zero):
        return [factors, pivots, perm], [ta, *flat]
    m, n = aval_of(a).shape[-2:]
    k = min(m, n)
    left = padded(lower_part(corner(factors, m, k), strict=True), m, m)
    left = select(where(left, np.equal), 1, left)
    right = padded(upper_part(corner(factors, k, n)), n, n)
    rows = iota(shape=aval_of(right).shape, dtype=INT64, axis=aval_of(right).ndim - 2)
    right = select(OPS["and"](where(right, np.equal), OPS["ge"](rows, k)), 1, right)
    x = triangular_solve(left, permute_rows(ta, perm), lower=True, trans=0, unit=True)
    x = t(triangular_solve(right, t(x), lower=False, trans=1, unit=False))
    return [factors, pivots, perm], [
        add(mm(left, lower_part(x, strict=True)), mm(upper_part(x), right)), *flat]


def permute_rows(x, perm):
    """x[..., perm, :]"""
    return gather(x, perm, **reach("clip", aval_of(perm).ndim - 1))


def _lu_lower(ctx, eqn, views):
    flipped, out = copied_by_columns(ctx, views[0])
    pivots, perm = (ctx.new(a) for a in eqn.sig.outs[1:])
    m, n = out.shape[-2:]
    emit(ctx, eqn, "lu", [perm, flipped, pivots], 3, (m, n))
    return [out, pivots, perm]


lu = decomposition("lu", infer=_lu_infer, jvp=_lu_jvp, lower=_lu_lower,
                   work=work(lambda m, n: m * n * min(m, n)))


# ----- general solve, by the factors of its matrix -------------------------------------------------------


def _lu_solve_infer(a, factors, perm, b, *, trans):
    infer = _solve_infer("solve")
    return infer(factors, b) and infer(a, b)


def _lu_solve_jvp(primals, tangents, *, trans):
    """The factors carry no tangent: the matrix itself does. a dx = db - da x."""
    a, factors, perm, b = primals
    ta, _, _, tb = tangents
    out = lu_solve(a, factors, perm, b, trans=trans)
    total = tb
    if not isinstance(ta, Hooks.zero):
        total = Hooks.add_tangents(tb, neg(mm(_op(ta, trans), out)))
    if isinstance(total, Hooks.zero):
        return [out], [Hooks.zero(aval_of(out))]
    return [out], [lu_solve(a, factors, perm, total, trans=trans)]


def _lu_solve_transpose(cts, operands, *, trans):
    a, factors, perm, _b = operands
    return [None, None, None, lu_solve(a, factors, perm, cts[0], trans=1 - trans)]


def _lu_solve_lower(ctx, eqn, views):
    factors, by_columns = either(ctx, views[1])
    perm, b = ctx.contiguous(views[2]), ctx.contiguous(views[3])
    out = ctx.new(eqn.sig.outs[0])
    n, k = out.shape[-2:]
    emit(ctx, eqn, "lu_solve", [out, factors, perm, b], 1, (n, k, by_columns, eqn.params["trans"]))
    return [out]


# operands: the matrix (for derivatives), its factors and permutation, the right-hand sides
lu_solve = linear("lu_solve", family="linalg", operands=(3,), infer=_lu_solve_infer, jvp=_lu_solve_jvp,
                  transpose=_lu_solve_transpose, batch=batching("lu_solve"), lower=_lu_solve_lower,
                  work=work(lambda n, k: 2 * n * n * k),
                  dtypes=INEXACT)


def solve(a, b, trans=0):
    """op(a)^-1 b."""
    factors, _, perm = lu(OPS["stop_gradient"](a))
    return lu_solve(a, factors, perm, b, trans=trans)


def inverse(a):
    eye = convert(where(a, np.equal), dtype=aval_of(a).dtype)
    return solve(a, eye)


# ----- QR ------------------------------------------------------------------------------------------------


def _qr_infer(a, *, full):
    check("qr", a)
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    k = m if full else min(m, n)
    return [((*lead, m, k), a.dtype), ((*lead, k, n), a.dtype)]


def _qr_jvp(primals, tangents, *, full):
    (a,), (ta,) = primals, tangents
    q, r = qr(a, full=full)
    m, n = aval_of(a).shape[-2:]
    if isinstance(ta, Hooks.zero):
        return [q, r], [Hooks.zero(aval_of(q)), Hooks.zero(aval_of(r))]
    if (m > n and full) or m < n:
        raise NonDifferentiableError(
            f"qr of {aval_of(a)} with {'all' if full else 'fewer'} columns of q has no unique derivative.",
            "Use mode='reduced' on a matrix with at least as many rows as columns.")
    x = t(triangular_solve(r, t(ta), lower=False, trans=1, unit=False))       # da r^-1
    inner = mm(h(q), x)
    below = lower_part(inner, strict=True)
    skew = sub(below, h(below))
    if aval_of(a).dtype.kind == "c":           # the diagonal of r stays real
        imag = sub(inner, convert(real(inner), dtype=aval_of(a).dtype))
        skew = add(skew, select(where(inner, np.equal), imag, 0))
    rest = sub(inner, skew)
    return [q, r], [sub(x, mm(q, rest)), mm(rest, r)]


def _qr_lower(ctx, eqn, views):
    q_aval, r_aval = eqn.sig.outs
    flipped, a = copied_by_columns(ctx, views[0])
    m, n = a.shape[-2:]
    k = q_aval.shape[-1]
    q = ctx.new((*q_aval.shape[:-2], k, m), q_aval.dtype)
    r = ctx.new(r_aval)
    emit(ctx, eqn, "qr", [q, r, flipped], 3, (m, n, k))
    return [q.transpose(swapped(q.ndim)), r]


qr = decomposition("qr", infer=_qr_infer, jvp=_qr_jvp, lower=_qr_lower,
                   work=work(lambda m, n: 4 * m * n * min(m, n)))
