"""Matrix decompositions and solvers, by SciPy's LAPACK; matrices are the last two axes.

Derivatives are those of the matrix equations that define the results (Giles 2008, "Collected matrix
derivative results for forward and reverse mode algorithmic differentiation"; Townsend 2016,
"Differentiating the singular value decomposition"). What is not unique for equal eigenvalues or
singular values, the vectors that belong to them, has NaN as its derivative there.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.op import CODE, OPS, Hooks, Op, aval_of, batch_first, instantiate, linear
from .call import Passes
from .elementwise import add, convert, div, mul, neg, select, sub, zmul
from .shape import broadcast_in_dim, iota, transpose

INEXACT = ("f32", "f64", "c64", "c128")
_INT64 = np.dtype("int64")
_SMALL = 64               # matrices up to this run one a thread; LAPACK's own threads begin above


# ----- vocabulary ---------------------------------------------------------------------------------------


def _swapped(ndim):
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def t(x):
    """The transpose of the matrices."""
    return transpose(x, perm=_swapped(aval_of(x).ndim))


def conj(x):
    return OPS["conj"](x) if aval_of(x).dtype.kind == "c" else x


def h(x):
    """The conjugate transpose of the matrices."""
    return conj(t(x))


def real(x):
    return OPS["real"](x) if aval_of(x).dtype.kind == "c" else x


def mm(a, b):
    """Matrix products over equal leading axes."""
    n = aval_of(a).ndim
    lead = tuple(range(n - 2))
    return OPS["dot_general"](a, b, contract=((n - 1,), (n - 2,)), batch=(lead, lead))


def diagonal(x):
    """The diagonals of the matrices, along a new last axis."""
    shape = aval_of(x).shape
    k = min(shape[-2:])
    x = _corner(x, k, k)
    return OPS["reduce_sum"](select(_where(x, np.equal), x, 0), axes=(len(shape) - 2,))


def _corner(x, m, n, i=0, j=0):
    """Rows from i, m of them, and columns from j, n of them."""
    shape = aval_of(x).shape
    lead = shape[:-2]
    return OPS["slice"](x, start=(*[0] * len(lead), i, j), limit=(*lead, i + m, j + n),
                        stride=(1,) * len(shape))


def _padded(x, m, n):
    """x with zeros behind it to m rows and n columns."""
    shape = aval_of(x).shape
    zeros = (0,) * len(shape)
    high = (*[0] * (len(shape) - 2), m - shape[-2], n - shape[-1])
    return OPS["pad"](x, Hooks.lit_like(0, aval_of(x).dtype.type(0)), low=zeros, high=high, interior=zeros)


_COMPARE = {np.equal: "eq", np.less: "lt", np.less_equal: "le", np.greater: "gt", np.greater_equal: "ge"}


def _where(x, compare):
    """Of each element, whether ``compare(row, column)``."""
    shape = aval_of(x).shape
    rows, cols = (iota(shape=shape, dtype=_INT64, axis=len(shape) - k) for k in (2, 1))
    return OPS[_COMPARE[compare]](rows, cols)


def lower_part(x, strict=False):
    return select(_where(x, np.greater if strict else np.greater_equal), x, 0)


def upper_part(x, strict=False):
    return select(_where(x, np.less if strict else np.less_equal), x, 0)


def _along_rows(w, shape):
    """w [..., n] as [..., m, n]: the same in each row."""
    ndim = len(shape)
    return broadcast_in_dim(w, shape=shape, dims=(*range(ndim - 2), ndim - 1))


def _along_cols(w, shape):
    return broadcast_in_dim(w, shape=shape, dims=tuple(range(len(shape) - 1)))


def _real_dtype(dtype):
    return np.zeros(0, dtype).real.dtype


def _check(name, x, square=False):
    if x.ndim < 2 or square and x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{name}: {'square ' * square}matrices are needed, got {x}")
    if CODE.get(x.dtype) not in INEXACT:
        raise TypeError(f"{name} is not defined for {x}")


def _same_lead(name, *avals):
    if len({a.shape[:-2] for a in avals}) != 1 or len({a.dtype for a in avals}) != 1:
        raise ValueError(f"{name}: operands must have equal leading axes and dtypes, got "
                         f"{', '.join(map(str, avals))}")


def _batch(name):
    """All rules here take leading axes: the batch axis becomes the first."""
    def batch(size, operands, dims, **params):
        outs = OPS[name](*[batch_first(size, x, d) for x, d in zip(operands, dims, strict=True)], **params)
        outs = list(outs) if OPS[name].multiple else [outs]
        return outs, [0] * len(outs)
    return batch


def decomposition(name, *, jvp, dtypes=INEXACT, **rest):
    """An op of several results on stacks of matrices."""
    return Op(name, "linalg", jvp=jvp, transpose=None, batch=_batch(name), dtypes=dtypes, multiple=True,
              **rest)


# ----- lowering ---------------------------------------------------------------------------------------


def _emit(ctx, eqn, kernel, operands, written, dims, cost):
    """One step that calls a matrix kernel for each matrix; the first ``written`` operands are changed."""
    from ..kernels.lib import load_lapack
    load_lapack()
    main = eqn.sig.in_avals[-1]
    n = math.prod(main.shape[:-2])
    ctx.step(f"{kernel}:{CODE[main.dtype]}", operands, (n,), nouts=written, cost=cost * n,
             strides=[(v.nbytes // n if n else 0,) for v in operands],
             ints=(int(max(dims[:2]) <= _SMALL), *dims))


def _copied(ctx, x):
    """A row-major copy, which the kernel may destroy."""
    out = ctx.new(x.shape, x.dtype)
    ctx.copy(out, x)
    return out


def _copied_by_columns(ctx, x):
    """A copy with contiguous columns: as its transpose, and as the view that it is."""
    perm = _swapped(x.ndim)
    flipped = _copied(ctx, x.transpose(perm))
    return flipped, flipped.transpose(perm)


def _either(ctx, x):
    """x as rows or as columns, whichever it is already: ``(operand, by columns)``."""
    flipped = x.transpose(_swapped(x.ndim))
    if flipped.contiguous and not x.contiguous:
        return flipped, 1
    return ctx.contiguous(x), 0


_FLOP = 0.1               # nanoseconds


# ----- Cholesky ---------------------------------------------------------------------------------------


def _cholesky_infer(a):
    _check("cholesky", a, square=True)
    return a.shape, a.dtype


def _cholesky_jvp(primals, tangents):
    """da = dl l' + l dl' gives dl = l phi(l^-1 da l'^-1): the lower half, half of the diagonal."""
    (a,), (ta,) = primals, tangents
    factor = cholesky(a)
    if isinstance(ta, Hooks.zero):
        return [factor], [ta]
    s = solve_right(factor, triangular_solve(factor, ta, lower=True, trans=0, unit=False))
    phi = select(_where(s, np.equal), mul(s, 0.5), lower_part(s))
    return [factor], [mm(factor, phi)]


def solve_right(factor, x):
    """x l'^-1 for lower triangular l."""
    return t(triangular_solve(conj(factor), t(x), lower=True, trans=0, unit=False))


def _cholesky_lower(ctx, eqn, views):
    out = _copied(ctx, views[0])
    n = out.shape[-1]
    _emit(ctx, eqn, "cholesky", [out], 1, (n,), _FLOP * n ** 3 / 3)
    return [out]


cholesky = Op("cholesky", "linalg", infer=_cholesky_infer, jvp=_cholesky_jvp, transpose=None,
              batch=_batch("cholesky"), lower=_cholesky_lower, dtypes=INEXACT,
              reference=lambda a: np.linalg.cholesky(a))


# ----- triangular solve -------------------------------------------------------------------------------


def _solve_infer(name):
    def infer(a, b):
        _check(name, a, square=True)
        _check(name, b)
        _same_lead(name, a, b)
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
    a, b = operands
    flipped = {0: 1, 1: 0, 2: 0}[trans]
    if trans == 2:                             # the transpose of a'^-1, without its conjugation
        a = conj(a)
    return [None, triangular_solve(a, cts[0], lower=lower, trans=flipped, unit=unit)]


def _triangular_lower(ctx, eqn, views):
    p = eqn.params
    a, by_columns = _either(ctx, views[0])
    out = _copied(ctx, views[1])
    n, k = out.shape[-2:]
    _emit(ctx, eqn, "triangular_solve", [out, a], 1,
          (n, k, by_columns, int(p["lower"]), p["trans"], int(p["unit"])), _FLOP * n * n * k)
    return [out]


def _triangular_reference(a, b, *, lower, trans, unit):
    a = np.tril(a) if lower else np.triu(a)
    if unit:
        a = a - a * np.eye(a.shape[-1]) + np.eye(a.shape[-1])
    a = a if trans == 0 else np.swapaxes(a, -1, -2)
    return np.linalg.solve(np.conj(a) if trans == 2 else a, b)


triangular_solve = linear(
    "triangular_solve", family="linalg", operands=(1,), infer=_triangular_infer, jvp=_triangular_jvp,
    transpose=_triangular_transpose, batch=_batch("triangular_solve"), lower=_triangular_lower,
    dtypes=INEXACT, reference=_triangular_reference)


# ----- LU ---------------------------------------------------------------------------------------------


def _lu_infer(a):
    _check("lu", a)
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    return [(a.shape, a.dtype), ((*lead, min(m, n)), np.dtype("int32")), ((*lead, m), _INT64)]


def _lu_jvp(primals, tangents):
    """With p da = dl u + l du: m = l^-1 p da u^-1 has l^-1 dl below its diagonal and du u^-1 above."""
    (a,), (ta,) = primals, tangents
    factors, pivots, perm = lu(a)
    flat = [Hooks.zero(aval_of(pivots)), Hooks.zero(aval_of(perm))]
    if isinstance(ta, Hooks.zero):
        return [factors, pivots, perm], [ta, *flat]
    m, n = aval_of(a).shape[-2:]
    k = min(m, n)
    left = _padded(lower_part(_corner(factors, m, k), strict=True), m, m)
    left = select(_where(left, np.equal), 1, left)
    right = _padded(upper_part(_corner(factors, k, n)), n, n)
    rows = iota(shape=aval_of(right).shape, dtype=_INT64, axis=aval_of(right).ndim - 2)
    right = select(OPS["and"](_where(right, np.equal), OPS["ge"](rows, k)), 1, right)
    x = triangular_solve(left, permute_rows(ta, perm), lower=True, trans=0, unit=True)
    x = t(triangular_solve(right, t(x), lower=False, trans=1, unit=False))
    return [factors, pivots, perm], [
        add(mm(left, lower_part(x, strict=True)), mm(upper_part(x), right)), *flat]


def permute_rows(x, perm):
    """x[..., perm, :]"""
    shape = aval_of(perm).shape
    lead = [iota(shape=shape, dtype=_INT64, axis=i) for i in range(len(shape) - 1)]
    return OPS["gather"](x, *lead, perm, mode="clip")


def _lu_lower(ctx, eqn, views):
    flipped, out = _copied_by_columns(ctx, views[0])
    pivots, perm = (ctx.new(a) for a in eqn.sig.outs[1:])
    m, n = out.shape[-2:]
    _emit(ctx, eqn, "lu", [perm, flipped, pivots], 3, (m, n), _FLOP * m * n * min(m, n))
    return [out, pivots, perm]


lu = decomposition("lu", infer=_lu_infer, jvp=_lu_jvp, lower=_lu_lower)


# ----- general solve, by the factors of its matrix ------------------------------------------------------


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
    a, factors, perm, b = operands
    return [None, None, None, lu_solve(a, factors, perm, cts[0], trans=1 - trans)]


def _lu_solve_lower(ctx, eqn, views):
    factors, by_columns = _either(ctx, views[1])
    perm, b = ctx.contiguous(views[2]), ctx.contiguous(views[3])
    out = ctx.new(eqn.sig.outs[0])
    n, k = out.shape[-2:]
    _emit(ctx, eqn, "lu_solve", [out, factors, perm, b], 1, (n, k, by_columns, eqn.params["trans"]),
          2 * _FLOP * n * n * k)
    return [out]


# operands: the matrix (for derivatives), its factors and permutation, the right-hand sides
lu_solve = linear("lu_solve", family="linalg", operands=(3,), infer=_lu_solve_infer, jvp=_lu_solve_jvp,
                  transpose=_lu_solve_transpose, batch=_batch("lu_solve"), lower=_lu_solve_lower,
                  dtypes=INEXACT)


def solve(a, b, trans=0):
    """op(a)^-1 b."""
    factors, _, perm = lu(OPS["stop_gradient"](a))
    return lu_solve(a, factors, perm, b, trans=trans)


def inverse(a):
    eye = convert(_where(a, np.equal), dtype=aval_of(a).dtype)
    return solve(a, eye)


# ----- determinant --------------------------------------------------------------------------------------


def composed(name, body, *, infer, jvp, multiple=False, **rest):
    """An op whose value is a composition, but whose derivative is not that of its parts.

    ``body``, a function of operands that binds ops, is what a plan runs in its place.
    """
    def program(avals, params):
        return Passes.stage(lambda *xs: body(*xs, **params) if multiple else [body(*xs, **params)], avals)

    def lower(ctx, eqn, views):
        return ctx.inline(program(eqn.sig.in_avals, eqn.params), views)

    return Op(name, "linalg", infer=infer, jvp=jvp, transpose=None, batch=_batch(name), lower=lower,
              multiple=multiple, dtypes=INEXACT, **rest)


def _diagonal_and_sign(a):
    """The diagonal of the upper factor, and the sign of the permutation."""
    factors, pivots, _ = lu(a)
    d = diagonal(factors)
    moved = convert(OPS["ne"](convert(pivots, dtype=_INT64), iota(
        shape=aval_of(pivots).shape, dtype=_INT64, axis=aval_of(pivots).ndim - 1)), dtype=_INT64)
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
    _check("det", a, square=True)
    return a.shape[:-2], a.dtype


det = composed("det", _det, infer=_det_infer, jvp=_det_jvp, reference=lambda a: np.linalg.det(a))


def _cofactor(a):
    """det(a) a'^-1, as u adj(s) vh with the signs of u and vh: exact where a is singular too."""
    u, s, vh = svd(a, full=False, vectors=True)
    shape = aval_of(a).shape
    axis = len(shape) - 2
    others = mul(_others(s, axis, False), _others(s, axis, True))
    others = convert(others, dtype=aval_of(a).dtype)
    sign = mul(det(u), det(vh))
    middle = mul(u, _along_rows(mul(others, broadcast_in_dim(
        sign, shape=shape[:-1], dims=tuple(range(len(shape) - 2)))), shape))
    return conj(mm(conj(middle), conj(vh))) if aval_of(a).dtype.kind == "c" else mm(middle, vh)


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
    _check("cofactor", a, square=True)
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
    trace = OPS["reduce_sum"](mul(ta, t(inverse(a))), axes=(n - 2, n - 1))
    if aval_of(a).dtype.kind != "c":
        return [sign, logabs], [Hooks.zero(aval_of(sign)), trace]
    turn = OPS["complex"](mul(real(trace), 0.0), OPS["imag"](trace))
    return [sign, logabs], [mul(sign, turn), real(trace)]


def _slogdet_infer(a):
    _check("slogdet", a, square=True)
    return [(a.shape[:-2], a.dtype), (a.shape[:-2], _real_dtype(a.dtype))]


slogdet = composed("slogdet", _slogdet, infer=_slogdet_infer, jvp=_slogdet_jvp, multiple=True)


# ----- QR -----------------------------------------------------------------------------------------------


def _qr_infer(a, *, full):
    _check("qr", a)
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    k = m if full else min(m, n)
    return [((*lead, m, k), a.dtype), ((*lead, k, n), a.dtype)]


def _qr_jvp(primals, tangents, *, full):
    (a,), (ta,) = primals, tangents
    q, r = qr(a, full=full)
    m, n = aval_of(a).shape[-2:]
    if isinstance(ta, Hooks.zero):
        return [q, r], [Hooks.zero(aval_of(q)), Hooks.zero(aval_of(r))]
    if m > n and full or m < n:
        raise NonDifferentiableError(
            f"qr of {aval_of(a)} with {'all' if full else 'fewer'} columns of q has no unique derivative.",
            "Use mode='reduced' on a matrix with at least as many rows as columns.")
    x = t(triangular_solve(r, t(ta), lower=False, trans=1, unit=False))       # da r^-1
    inner = mm(h(q), x)
    below = lower_part(inner, strict=True)
    skew = sub(below, h(below))
    if aval_of(a).dtype.kind == "c":           # the diagonal of r stays real
        imag = sub(inner, convert(real(inner), dtype=aval_of(a).dtype))
        skew = add(skew, select(_where(inner, np.equal), imag, 0))
    rest = sub(inner, skew)
    return [q, r], [sub(x, mm(q, rest)), mm(rest, r)]


def _qr_lower(ctx, eqn, views):
    q_aval, r_aval = eqn.sig.outs
    flipped, a = _copied_by_columns(ctx, views[0])
    m, n = a.shape[-2:]
    k = q_aval.shape[-1]
    q = ctx.new((*q_aval.shape[:-2], k, m), q_aval.dtype)
    r = ctx.new(r_aval)
    _emit(ctx, eqn, "qr", [q, r, flipped], 3, (m, n, k), 4 * _FLOP * m * n * k)
    return [q.transpose(_swapped(q.ndim)), r]


qr = decomposition("qr", infer=_qr_infer, jvp=_qr_jvp, lower=_qr_lower)


# ----- eigenvalues of symmetric matrices ------------------------------------------------------------------


def _eigh_infer(a, *, vectors):
    _check("eigh", a, square=True)
    w = (a.shape[:-1], _real_dtype(a.dtype))
    return [w, (a.shape, a.dtype)] if vectors else [w]


def _reciprocal_gaps(x, y, dtype):
    """1 / (x_j - y_i) where they differ by more than rounding; inf elsewhere, 0 on the diagonal."""
    shape = (*aval_of(x).shape, aval_of(x).shape[-1])
    gap = sub(_along_rows(x, shape), _along_cols(y, shape))
    size = OPS["abs"](x)
    if aval_of(x).shape[-1]:
        most = OPS["reduce_max"](size, axes=(len(shape) - 2,))
    else:
        most = OPS["reduce_sum"](size, axes=(len(shape) - 2,))
    eps = float(np.finfo(dtype).eps) * shape[-1]
    least = mul(broadcast_in_dim(most, shape=shape, dims=tuple(range(len(shape) - 2))), eps)
    gap = select(OPS["le"](OPS["abs"](gap), least), 0, gap)
    return select(_where(gap, np.equal), 0, div(Hooks.lit_like(1, gap), gap))


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
    a = _copied(ctx, views[0])
    w = ctx.new(eqn.sig.outs[0])
    n = a.shape[-1]
    _emit(ctx, eqn, "eigh", [w, a], 2, (n, int(vectors)), 9 * _FLOP * n ** 3)
    return [w, a.transpose(_swapped(a.ndim))] if vectors else [w]


eigh = decomposition("eigh", infer=_eigh_infer, jvp=_eigh_jvp, lower=_eigh_lower)


# ----- eigenvalues of any square matrix ---------------------------------------------------------------------


def _complex_dtype(dtype):
    return np.result_type(dtype, np.complex64)


def _eig_infer(a, *, left, right):
    _check("eig", a, square=True)
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
    largest = OPS["eq"](size, _along_rows(OPS["reduce_max"](size, axes=(axis,)), shape))
    top, dtop = (OPS["reduce_sum"](select(largest, x, 0), axes=(axis,)) for x in (v, dv))
    shift = sub(dtop, mul(top, convert(real(along), dtype=dtype)))
    turn = OPS["complex"](real(along), div(OPS["imag"](shift), real(top)))
    return [w, v], [dw, sub(dv, mul(v, _along_rows(turn, shape)))]


def _complex_gaps(w):
    """1 / (w_j - w_i) where they differ by more than rounding; inf elsewhere, 0 on the diagonal."""
    shape = (*aval_of(w).shape, aval_of(w).shape[-1])
    gap = sub(_along_rows(w, shape), _along_cols(w, shape))
    dtype = _real_dtype(aval_of(w).dtype)
    most = OPS["reduce_max"](OPS["abs"](w), axes=(len(shape) - 2,))
    least = mul(broadcast_in_dim(most, shape=shape, dims=tuple(range(len(shape) - 2))),
                float(np.finfo(dtype).eps) * shape[-1])
    close = OPS["le"](OPS["abs"](gap), least)
    inverse_gap = select(close, np.inf, div(Hooks.lit_like(1, gap), select(close, 1, gap)))
    return select(_where(gap, np.equal), 0, inverse_gap)


def _eig_lower(ctx, eqn, views):
    p = eqn.params
    flipped, _ = _copied_by_columns(ctx, views[0])
    w, *vectors = [ctx.new(a) for a in eqn.sig.outs]       # columns contiguous
    n = flipped.shape[-1]
    _emit(ctx, eqn, "eig", [w, flipped, *vectors], 2 + len(vectors), (n, int(p["left"]), int(p["right"])),
          25 * _FLOP * n ** 3)
    return [w, *[v.transpose(_swapped(v.ndim)) for v in vectors]]


eig = decomposition("eig", infer=_eig_infer, jvp=_eig_jvp, lower=_eig_lower)


# ----- singular values ------------------------------------------------------------------------------------


def _svd_infer(a, *, full, vectors):
    _check("svd", a)
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    k = min(m, n)
    s = ((*lead, k), _real_dtype(a.dtype))
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
    as_rows, as_cols = (convert(f(s, shape), dtype=dtype) for f in (_along_rows, _along_cols))
    gaps = convert(_square_gaps(s), dtype=dtype)
    by_col, by_row = mul(inner, as_rows), mul(inner, as_cols)
    du = mm(u, zmul(add(by_col, h(by_col)), gaps))
    dv = mm(v, zmul(add(by_row, h(by_row)), gaps))
    inverse_s = div(Hooks.lit_like(1, s), s)
    if dtype.kind == "c":                      # the phase that u and v share stays with u
        spin = select(_where(inner, np.equal), mul(sub(inner, h(inner)), 0.5), 0)
        du = add(du, mm(u, zmul(spin, convert(_along_rows(inverse_s, shape), dtype=dtype))))
    if m > n:
        x = mm(ta, v)
        x = sub(x, mm(u, mm(h(u), x)))
        du = add(du, zmul(x, convert(_along_rows(inverse_s, aval_of(x).shape), dtype=dtype)))
    if n > m:
        x = mm(h(ta), u)
        x = sub(x, mm(v, mm(vh, x)))
        dv = add(dv, zmul(x, convert(_along_rows(inverse_s, aval_of(x).shape), dtype=dtype)))
    return [u, s, vh], [du, ds, h(dv)]


def _square_gaps(s):
    """1 / (s_j^2 - s_i^2), as 1 / (s_j - s_i) / (s_j + s_i)."""
    shape = (*aval_of(s).shape, aval_of(s).shape[-1])
    total = add(_along_rows(s, shape), _along_cols(s, shape))
    gaps = _reciprocal_gaps(s, s, aval_of(s).dtype)
    return select(_where(gaps, np.equal), 0, div(gaps, total))


def _svd_lower(ctx, eqn, views):
    full, vectors = eqn.params["full"], eqn.params["vectors"]
    m, n = views[0].shape[-2:]
    if min(m, n) == 0:                       # all vectors of a matrix without elements
        return [ctx.contiguous(ctx.const(np.eye(*x.shape[-2:], dtype=x.dtype)).broadcast(
            x.shape, (x.ndim - 2, x.ndim - 1))) if x.size else ctx.new(x) for x in eqn.sig.outs]
    flipped, _ = _copied_by_columns(ctx, views[0])
    outs = [ctx.new(x.shape if x.ndim < flipped.ndim else (*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype) for x in eqn.sig.outs]
    operands = [outs[1], flipped, outs[0], outs[2]] if vectors else [*outs, flipped]
    _emit(ctx, eqn, "svd", operands, len(operands), (m, n, 0 if not vectors else 2 if full else 1),
          10 * _FLOP * m * n * min(m, n))
    return [v if v.ndim < flipped.ndim else v.transpose(_swapped(v.ndim)) for v in outs]


svd = decomposition("svd", infer=_svd_infer, jvp=_svd_jvp, lower=_svd_lower)


# ----- pseudo-inverse -------------------------------------------------------------------------------------


def _pinv_infer(a, *, rtol):
    _check("pinv", a)
    return (*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype


def _pinv(a, *, rtol):
    """v s^+ u', singular values of at most rtol of the largest being 0."""
    u, s, vh = svd(a, full=False, vectors=True)
    if 0 in aval_of(a).shape[-2:]:
        return t(a)
    most = OPS["reduce_max"](s, axes=(aval_of(s).ndim - 1,))
    least = broadcast_in_dim(mul(most, rtol), shape=aval_of(s).shape, dims=tuple(range(aval_of(s).ndim - 1)))
    used = OPS["gt"](s, least)
    inv = select(used, div(Hooks.lit_like(1, s), select(used, s, 1)), 0)
    v = h(vh)
    return mm(mul(v, _along_rows(convert(inv, dtype=aval_of(a).dtype), aval_of(v).shape)), h(u))


def _pinv_jvp(primals, tangents, *, rtol):
    """Golub and Pereyra 1973, for matrices whose rank does not change."""
    (a,), (ta,) = primals, tangents
    p = pinv(a, rtol=rtol)
    if isinstance(ta, Hooks.zero):
        return [p], [Hooks.zero(aval_of(p))]
    hp, hta = h(p), h(ta)
    total = neg(mm(p, mm(ta, p)))
    first = mm(mm(p, hp), hta)
    total = add(total, sub(first, mm(mm(first, a), p)))
    last = mm(hta, mm(hp, p))
    return [p], [add(total, sub(last, mm(p, mm(a, last))))]


pinv = composed("pinv", _pinv, infer=_pinv_infer, jvp=_pinv_jvp)


# ----- functions of matrices ------------------------------------------------------------------------------

_MATRIX_FUNCTIONS = ("expm", "logm", "sqrtm", "cosm", "sinm", "coshm", "sinhm")


def _call_scipy(name, a):
    import scipy.linalg
    f = getattr(scipy.linalg, name)
    if a.size == 0:
        return a.copy()
    if a.ndim == 2:
        return f(a)
    flat = a.reshape(-1, *a.shape[-2:])
    return np.stack([f(x) for x in flat]).reshape(a.shape)


def _as_dtype(x, dtype):
    x = np.asarray(x)
    if x.dtype.kind == "c" and dtype.kind != "c":
        bad = np.abs(x.imag).max(initial=0.0) > 1e3 * np.finfo(dtype).eps * np.abs(x).max(initial=1.0)
        x = np.full(x.shape, np.nan) if bad else x.real        # not a real matrix: say so with NaN
    return x.astype(dtype, copy=False)


def _block(a, b, zero, d):
    """[[a, b], [zero, d]]"""
    axis = aval_of(a).ndim - 1
    return OPS["concatenate"](OPS["concatenate"](a, b, axis=axis), OPS["concatenate"](zero, d, axis=axis),
                              axis=axis - 1)


def matrix_function(name):
    """``f(a)`` and its Frechet derivative ``L(a, e)``, from f of one matrix twice the size:
    f([[a, e], [0, a]]) = [[f(a), L(a, e)], [0, f(a)]] (Higham 2008, Functions of Matrices, 3.2).

    L is linear in e, and L(a, .) is the transpose of L(a', .). Its own derivative in a along s is
    L([[a, e], [0, a]], [[s, 0], [0, s]]), upper right, linear in s.
    """
    def infer(a):
        _check(name, a, square=True)
        return a.shape, a.dtype

    def jvp(primals, tangents):
        (a,), (ta,) = primals, tangents
        out = OPS[name](a)
        return [out], [ta if isinstance(ta, Hooks.zero) else OPS[f"{name}_frechet"](a, ta)]

    def lower(ctx, eqn, views):
        dtype = eqn.sig.outs[0].dtype
        return ctx.python(lambda a: _as_dtype(_call_scipy(name, a), dtype), eqn, views)

    def frechet_infer(a, e):
        _check(name, a, square=True)
        if a.shape != e.shape or a.dtype != e.dtype:
            raise ValueError(f"{name}: a matrix and its direction must have one type, got {a}, {e}")
        return a.shape, a.dtype

    def frechet_jvp(primals, tangents):
        (a, e), (ta, te) = primals, tangents
        op = OPS[f"{name}_frechet"]
        out, total = op(a, e), te
        if not isinstance(te, Hooks.zero):
            total = op(a, te)
        if not isinstance(ta, Hooks.zero):
            n, zero = aval_of(a).shape[-1], Hooks.lit_like(0, a)
            both = op(_block(a, e, zero, a), _block(ta, zero, zero, ta))
            total = Hooks.add_tangents(total, _corner(both, n, n, 0, n))
        return [out], [total]

    def frechet(a, e):
        n = a.shape[-1]
        both = np.concatenate([np.concatenate([a, e], -1), np.concatenate([np.zeros_like(a), a], -1)], -2)
        return _as_dtype(_call_scipy(name, both)[..., :n, n:], a.dtype)

    Op(name, "linalg", infer=infer, jvp=jvp, transpose=None, batch=_batch(name), lower=lower, dtypes=INEXACT)
    linear(f"{name}_frechet", family="linalg", operands=(1,), infer=frechet_infer, jvp=frechet_jvp,
           transpose=lambda cts, operands: [None, OPS[f"{name}_frechet"](t(operands[0]), cts[0])],
           batch=_batch(f"{name}_frechet"), dtypes=INEXACT,
           lower=lambda ctx, eqn, views: ctx.python(frechet, eqn, views))


for _name in _MATRIX_FUNCTIONS:
    matrix_function(_name)


# ----- Sylvester's equation ---------------------------------------------------------------------------------


def _sylvester_infer(a, b, c):
    _check("sylvester", a, square=True)
    _check("sylvester", b, square=True)
    _same_lead("sylvester", a, b, c)
    if c.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ValueError(f"sylvester: {a}, {b} and {c} do not fit")
    return c.shape, c.dtype


def _sylvester_jvp(primals, tangents):
    (a, b, c), (ta, tb, tc) = primals, tangents
    x = sylvester(a, b, c)
    total = tc
    if not isinstance(ta, Hooks.zero):
        total = Hooks.add_tangents(total, neg(mm(ta, x)))
    if not isinstance(tb, Hooks.zero):
        total = Hooks.add_tangents(total, neg(mm(x, tb)))
    return [x], [total if isinstance(total, Hooks.zero) else sylvester(a, b, instantiate(total))]


def _sylvester(a, b, c):
    import scipy.linalg
    lead = c.shape[:-2]
    if not lead:
        return scipy.linalg.solve_sylvester(a, b, c)
    a, b, flat = (x.reshape(-1, *x.shape[-2:]) for x in (a, b, c))
    return np.stack([scipy.linalg.solve_sylvester(*m) for m in zip(a, b, flat, strict=True)]).reshape(c.shape)


sylvester = linear(
    "sylvester", family="linalg", operands=(2,), infer=_sylvester_infer, jvp=_sylvester_jvp,
    transpose=lambda cts, operands: [None, None, sylvester(t(operands[0]), t(operands[1]), cts[0])],
    batch=_batch("sylvester"), lower=lambda ctx, eqn, views: ctx.python(_sylvester, eqn, views),
    dtypes=INEXACT, reference=_sylvester)

__all__ = ["cholesky", "cofactor", "det", "eigh", "inverse", "lu", "lu_solve", "pinv", "qr", "slogdet",
           "solve", "svd", "sylvester", "triangular_solve"]
