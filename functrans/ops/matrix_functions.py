"""Functions of matrices and the Sylvester equation, by SciPy.
"""

from __future__ import annotations

import numpy as np

from ..ir.op import OPS, Hooks, Op, aval_of, instantiate, linear
from .elementwise import neg
from .matrices import INEXACT, batching, check, corner, mm, same_lead, t, work

# ----- functions of matrices -----------------------------------------------------------------------------

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
        check(name, a, square=True)
        return a.shape, a.dtype

    def jvp(primals, tangents):
        (a,), (ta,) = primals, tangents
        out = OPS[name](a)
        return [out], [ta if isinstance(ta, Hooks.zero) else OPS[f"{name}_frechet"](a, ta)]

    def lower(ctx, eqn, views):
        dtype = eqn.sig.outs[0].dtype
        return ctx.python(lambda a: _as_dtype(_call_scipy(name, a), dtype), eqn, views)

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

    def frechet(a, e):
        n = a.shape[-1]
        both = np.concatenate([np.concatenate([a, e], -1), np.concatenate([np.zeros_like(a), a], -1)], -2)
        return _as_dtype(_call_scipy(name, both)[..., :n, n:], a.dtype)

    Op(name, "linalg", infer=infer, jvp=jvp, transpose=None, batch=batching(name), lower=lower,
       dtypes=INEXACT, work=work(lambda m, n: 30 * n ** 3))
    linear(f"{name}_frechet", family="linalg", operands=(1,), infer=frechet_infer, jvp=frechet_jvp,
           transpose=lambda cts, operands: [None, OPS[f"{name}_frechet"](t(operands[0]), cts[0])],
           batch=batching(f"{name}_frechet"), dtypes=INEXACT, work=work(lambda m, n: 240 * n ** 3),
           lower=lambda ctx, eqn, views: ctx.python(frechet, eqn, views))


for _name in _MATRIX_FUNCTIONS:
    matrix_function(_name)


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
    batch=batching("sylvester"), lower=lambda ctx, eqn, views: ctx.python(_sylvester, eqn, views),
    dtypes=INEXACT, reference=_sylvester, work=work(lambda m, n: 25 * (m ** 3 + n ** 3)))
