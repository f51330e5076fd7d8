"""Schur forms, Sylvester's equation, and the functions of matrices that follow from them.

Algorithms: the headers kernels/lapack_*_body.h name theirs. What has no result, such as the logarithm of a
singular matrix or of a real one with a negative eigenvalue, is NaN.
"""

from __future__ import annotations

import numpy as np

from ..errors import NonDifferentiableError
from ..ir.op import OPS, Hooks, Op, aval_of, instantiate, linear
from .elementwise import neg
from .matrices import (
    INEXACT,
    batching,
    check,
    copied,
    copied_by_columns,
    corner,
    decomposition,
    emit,
    mm,
    same_lead,
    swapped,
    t,
    work,
)

# ----- Schur's decomposition -----------------------------------------------------------------------------


def _no_derivative(primals, tangents, **params):
    if not all([isinstance(x, Hooks.zero) for x in tangents]):
        raise NonDifferentiableError(
            "schur has no derivative: its vectors are fixed up to signs or phases only, the order of the "
            "eigenvalues is LAPACK's, and a real matrix has blocks of 2 that come and go.",
            "Eigenvalues have one (eig, eigh), functions of matrices too (expm, sqrtm, logm); put "
            "stop_gradient around the operand where no derivative is wanted.")
    op = OPS["schur" if len(primals) == 1 else "schur_order"]
    outs = op(*primals)
    return list(outs), [Hooks.zero(aval_of(x)) for x in outs]


def _schur_infer(a):
    check("schur", a, square=True)
    return [(a.shape, a.dtype)] * 2


def _schur_lower(ctx, eqn, views):
    flipped, form = copied_by_columns(ctx, views[0])
    vectors = ctx.new(form.shape, form.dtype)
    emit(ctx, eqn, "schur", [flipped, vectors], 2, (form.shape[-1],))
    return [form, vectors.transpose(swapped(vectors.ndim))]


# a = z t z': (t, z). Real matrices have real t, with standard blocks of 2 for pairs of complex eigenvalues.
schur = decomposition("schur", infer=_schur_infer, jvp=_no_derivative, lower=_schur_lower,
                      work=work(lambda m, n: 25 * n ** 3))


def _order_infer(chosen, form, vectors):
    check("schur_order", form, square=True)
    if vectors.shape != form.shape or vectors.dtype != form.dtype or chosen.dtype != np.bool_ or (
            chosen.shape != form.shape[:-1]):
        raise ValueError(f"schur_order: {form}, {vectors} and {chosen} do not fit")
    return [(form.shape, form.dtype)] * 2


def _order_lower(ctx, eqn, views):
    chosen = ctx.contiguous(views[0])
    form, vectors = (copied_by_columns(ctx, v) for v in views[1:])
    emit(ctx, eqn, "schur_order", [form[0], vectors[0], chosen], 2, (form[1].shape[-1],))
    return [form[1], vectors[1]]


# of (chosen, t, z): the same decomposition with the chosen eigenvalues first
schur_order = decomposition("schur_order", infer=_order_infer, jvp=_no_derivative, lower=_order_lower,
                            work=work(lambda m, n: 10 * n ** 3))


# ----- Sylvester's equation ------------------------------------------------------------------------------


def _sylvester_infer(a, b, c):
    check("sylvester", a, square=True)
    check("sylvester", b, square=True)
    same_lead("sylvester", a, b, c)
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


def _sylvester_lower(ctx, eqn, views):
    same = eqn.inputs[0] is eqn.inputs[1]               # one Schur form will do
    out = copied(ctx, views[2])
    factors = [copied(ctx, v) for v in views[:1 if same else 2]]
    emit(ctx, eqn, "sylvester", [out, *factors], 1 + len(factors), (*out.shape[-2:], int(same)))
    return [out]


def _sylvester_reference(a, b, c):
    """By the matrix of the system."""
    m, n = c.shape[-2:]
    eye_m, eye_n = np.eye(m), np.eye(n)
    lead = c.shape[:-2]
    whole = (a[..., :, None, :, None] * eye_n[:, None, :]
             + eye_m[:, None, :, None] * np.swapaxes(b, -1, -2)[..., None, :, None, :])
    flat = np.linalg.solve(whole.reshape(*lead, m * n, m * n), c.reshape(*lead, m * n, 1))
    return flat.reshape(c.shape).astype(c.dtype)


# x of a x + x b = c
sylvester = linear(
    "sylvester", family="linalg", operands=(2,), infer=_sylvester_infer, jvp=_sylvester_jvp,
    transpose=lambda cts, operands: [None, None, sylvester(t(operands[0]), t(operands[1]), cts[0])],
    batch=batching("sylvester"), lower=_sylvester_lower, dtypes=INEXACT, reference=_sylvester_reference,
    work=work(lambda m, n: 25 * (m ** 3 + n ** 3)))


# ----- square root ---------------------------------------------------------------------------------------


def _square_infer(name):
    def infer(a):
        check(name, a, square=True)
        return a.shape, a.dtype
    return infer


def _sqrtm_jvp(primals, tangents):
    """x x = a gives x dx + dx x = da."""
    (a,), (ta,) = primals, tangents
    x = sqrtm(a)
    return [x], [ta if isinstance(ta, Hooks.zero) else sylvester(x, x, ta)]


def _sqrtm_lower(ctx, eqn, views):
    out = copied(ctx, views[0])
    emit(ctx, eqn, "sqrtm", [out], 1, (out.shape[-1],))
    return [out]


sqrtm = Op("sqrtm", "linalg", infer=_square_infer("sqrtm"), jvp=_sqrtm_jvp, transpose=None,
           batch=batching("sqrtm"), lower=_sqrtm_lower, dtypes=INEXACT, work=work(lambda m, n: 30 * n ** 3))


# ----- exponential and logarithm -------------------------------------------------------------------------


def _block(a, b, zero, d):
    """[[a, b], [zero, d]]"""
    axis = aval_of(a).ndim - 1
    return OPS["concatenate"](OPS["concatenate"](a, b, axis=axis), OPS["concatenate"](zero, d, axis=axis),
                              axis=axis - 1)


def matrix_function(name, lower, lower_frechet, count):
    """``f(a)`` and its Frechet derivative ``L(a, e)``.

    L is linear in e, and L(a, .) is the transpose of L(a', .). Its own derivative in a along s is
    L([[a, e], [0, a]], [[s, 0], [0, s]]), upper right, linear in s, since
    f([[a, e], [0, a]]) = [[f(a), L(a, e)], [0, f(a)]] (Higham 2008, Functions of Matrices, 3.2).
    """
    def jvp(primals, tangents):
        (a,), (ta,) = primals, tangents
        out = OPS[name](a)
        return [out], [ta if isinstance(ta, Hooks.zero) else OPS[f"{name}_frechet"](a, ta)]

    def frechet_infer(a, e):
        check(name, a, square=True)
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
            total = Hooks.add_tangents(total, corner(both, n, n, 0, n))
        return [out], [total]

    Op(name, "linalg", infer=_square_infer(name), jvp=jvp, transpose=None, batch=batching(name), lower=lower,
       dtypes=INEXACT, work=work(lambda m, n: count * n ** 3))
    linear(f"{name}_frechet", family="linalg", operands=(1,), infer=frechet_infer, jvp=frechet_jvp,
           transpose=lambda cts, operands: [None, OPS[f"{name}_frechet"](t(operands[0]), cts[0])],
           batch=batching(f"{name}_frechet"), dtypes=INEXACT, work=work(lambda m, n: 3 * count * n ** 3),
           lower=lower_frechet)


def _expm_lower(ctx, eqn, views):
    out = ctx.new(eqn.sig.outs[0])
    operands = [ctx.contiguous(v) for v in views]
    emit(ctx, eqn, "expm", [out, *operands], 1, (out.shape[-1], len(operands) - 1))
    return [out]


def _logm_lower(ctx, eqn, views):
    operands = [copied(ctx, v) for v in reversed(views)]
    emit(ctx, eqn, "logm", operands, len(operands), (operands[0].shape[-1], len(operands) - 1))
    return [operands[0]]


matrix_function("expm", _expm_lower, _expm_lower, 25)
matrix_function("logm", _logm_lower, _logm_lower, 60)
