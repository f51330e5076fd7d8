"""Krylov solvers of linear systems, for matrices and for linear functions of pytrees.

With the signatures of ``jax.scipy.sparse.linalg`` (and SciPy's ``rtol``). All are ``custom_linear_solve``s:
their derivatives solve systems of the same kind, so they follow in any mode and order. Each iteration runs
natively. Saad 2003, "Iterative Methods for Sparse Linear Systems", has the methods.
"""

from __future__ import annotations

import numpy as np

from ... import errors, lax, tree
from ...numpy.core import asvalue, aval_of, convert, shape_of

# ----- vectors that are pytrees
# ------------------------------------------------------------------------------


def _dot(a, b):
    """sum conj(a) b"""
    return sum(np.sum(np.conj(x) * y) for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True))


def _squared(a):
    return sum(np.sum(np.real(x) ** 2 + np.imag(x) ** 2) for x in tree.leaves(a))


def _add(a, b):
    return tree.map(np.add, a, b)


def _sub(a, b):
    return tree.map(np.subtract, a, b)


def _scale(s, a):
    return tree.map(lambda x: convert(s * x, aval_of(x).dtype), a)


def _function(name, what, a):
    """The linear function of a matrix, or itself."""
    if callable(a):
        return a
    if hasattr(a, "toarray"):
        a = a.toarray()
    a = asvalue(a)
    if len(shape_of(a)) != 2 or shape_of(a)[0] != shape_of(a)[1]:
        raise errors.ShapeError(f"{name}: {what} must be a square matrix or a function, got {aval_of(a)}.")
    return lambda x: np.matmul(a, x)


def _inexact(x):
    a = aval_of(x)
    x = asvalue(x)
    x = np.asarray(x) if isinstance(x, (int, float, complex)) else x
    return x if a.dtype.kind in "fc" else convert(x, np.float64)


def _solve(name, method, a, b, x0, tol, rtol, atol, maxiter, m, symmetric):
    """``(x, info)``: info is 0, or the number of iterations after which the tolerance was not reached."""
    tol = tol if rtol is None else rtol
    a = _function(name, "A", a)
    m = (lambda x: x) if m is None else _function(name, "M", m)
    b = tree.map(_inexact, b)
    dtype = np.result_type(*[aval_of(x).dtype for x in tree.leaves(b)], *[
        aval_of(x).dtype for x in tree.leaves(a(b))])
    b = tree.map(lambda x: convert(x, np.result_type(aval_of(x).dtype, dtype)), b)
    x0 = tree.map(np.zeros_like, b) if x0 is None else tree.map(
        lambda x, like: convert(_inexact(x), aval_of(like).dtype), x0, b)
    if tree.structure(x0) != tree.structure(b) or any(
            shape_of(x) != shape_of(y) for x, y in zip(tree.leaves(x0), tree.leaves(b), strict=True)):
        raise errors.ShapeError(f"{name}: x0 must have the structure and shapes of b.")
    size = sum(aval_of(x).size for x in tree.leaves(b))
    maxiter = 10 * size if maxiter is None else maxiter

    def run(a, b):
        limit = np.maximum(tol ** 2 * _squared(b), atol ** 2)
        x, turns, left = method(a, b, x0, limit, maxiter, m)
        return x, np.where(left <= limit, 0, turns)

    return lax.custom_linear_solve(a, b, run, run, symmetric=symmetric, has_aux=True)


# ----- conjugate gradients
# -------------------------------------------------------------------------------------


def _cg(a, b, x, limit, maxiter, m):
    r = _sub(b, a(x))
    z = m(r)

    def go_on(state):
        _, r, _, _, k = state
        return (_squared(r) > limit) & (k < maxiter)

    def turn(state):
        x, r, gamma, p, k = state
        ap = a(p)
        alpha = gamma / _dot(p, ap)
        x, r = _add(x, _scale(alpha, p)), _sub(r, _scale(alpha, ap))
        z = m(r)
        new = _dot(r, z)
        return x, r, new, _add(z, _scale(new / gamma, p)), k + 1

    x, r, _, _, k = lax.while_loop(go_on, turn, (x, r, _dot(r, z), z, 0))
    return x, k, _squared(r)


def cg(A, b, x0=None, *, tol=1e-5, rtol=None, atol=0.0, maxiter=None, M=None):
    """Solves A x = b for a Hermitian positive definite A by conjugate gradients.

    Args:
      A: matrix, or linear function of a pytree like ``b``; it may close over traced values.
      b: right-hand side: an array, or a pytree of arrays.
      x0: where to begin; zeros by default.
      tol, atol: ends when |b - A x| <= max(tol |b|, atol). ``rtol`` is SciPy's name of ``tol``.
      maxiter: at most so many iterations; 10 an unknown by default.
      M: approximate inverse of A, as a matrix or a function.

    Returns:
      ``(x, info)``: info is 0, or the number of iterations if they did not suffice.

    >>> import numpy as np
    >>> from functrans import grad
    >>> from functrans.scipy.sparse.linalg import cg
    >>> a = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> x, info = cg(a, np.array([3.0, 4.0]))
    >>> x.round(6), int(info)
    (array([1., 1.]), 0)
    >>> grad(lambda b: cg(a, b)[0][0])(np.array([3.0, 4.0])).round(6)
    array([ 0.6, -0.2])
    """
    return _solve("cg", _cg, A, b, x0, tol, rtol, atol, maxiter, M, True)


# ----- bi-conjugate gradients, stabilised
# ------------------------------------------------------------------------


def _bicgstab(a, b, x, limit, maxiter, m):
    r = _sub(b, a(x))
    one = _dot(r, r) * 0 + 1

    def go_on(state):
        _, r, *_, k = state
        return (_squared(r) > limit) & (k >= 0) & (k < maxiter)

    def turn(state):
        x, r, first, alpha, omega, rho, p, q, k = state
        new = _dot(first, r)
        beta = new / rho * alpha / omega
        p = _add(r, _scale(beta, _sub(p, _scale(omega, q))))
        ahead = m(p)
        q = a(ahead)
        alpha = new / _dot(first, q)
        s = _sub(r, _scale(alpha, q))
        done = _squared(s) < limit
        more = m(s)
        t = a(more)
        omega = _dot(t, s) / _dot(t, t)
        omega = np.where(done, np.zeros_like(omega), omega)      # then 0 / 0 is possible
        x = _add(x, _add(_scale(alpha, ahead), _scale(omega, more)))
        r = tree.map(lambda s, t: np.where(done, s, s - convert(omega * t, aval_of(s).dtype)), s, t)
        k = np.where(~done & ((omega == 0) | (alpha == 0)), -11, k + 1)       # a breakdown
        return x, r, first, alpha, np.where(done, np.ones_like(omega), omega), new, p, q, k

    state = (x, r, r, one, one, one, r, tree.map(np.zeros_like, r), 0)
    state = (*state[:6], tree.map(np.zeros_like, r), *state[7:])
    x, r, *_, k = lax.while_loop(go_on, turn, state)
    return x, np.abs(k), _squared(r)


def bicgstab(A, b, x0=None, *, tol=1e-5, rtol=None, atol=0.0, maxiter=None, M=None):
    """Solves A x = b by stabilised bi-conjugate gradients; arguments and result are those of ``cg``.

    >>> import numpy as np
    >>> from functrans.scipy.sparse.linalg import bicgstab
    >>> x, info = bicgstab(np.array([[2.0, 1.0], [-1.0, 3.0]]), np.array([3.0, 2.0]), tol=1e-10)
    >>> x.round(6), int(info)
    (array([1., 1.]), 0)
    """
    return _solve("bicgstab", _bicgstab, A, b, x0, tol, rtol, atol, maxiter, M, False)


# ----- minimal residuals
# -----------------------------------------------------------------------------------------


def _flattened(a, m, b):
    """The functions and the right-hand side on one vector, and the way back."""
    leaves, treedef = tree.flatten(b)
    dtype = np.result_type(*[aval_of(x).dtype for x in leaves])

    def flat(x):
        return np.concatenate([convert(np.reshape(v, (-1,)), dtype) for v in tree.leaves(x)])

    def full(v):
        out, at = [], 0
        for x in leaves:
            n = aval_of(x).size
            out.append(convert(np.reshape(v[at:at + n], shape_of(x)), aval_of(x).dtype))
            at += n
        return treedef.unflatten(out)

    return (lambda v: flat(a(full(v)))), (lambda v: flat(m(full(v)))), flat, full


def _gmres(restart):
    def method(a, b, x, limit, maxiter, m):
        a, m, flat, full = _flattened(a, m, b)
        b, x = flat(b), flat(x)
        n = shape_of(b)[0]
        k = min(restart, n)
        if n == 0:
            return full(x), 0, limit * 0

        def length(v):
            return np.sqrt(_squared(v))

        def grow(j, state):
            basis, h = state
            v = a(m(basis[j]))
            scale = length(v)
            total = np.zeros((k + 1,), aval_of(v).dtype)
            for _ in range(2):                   # twice is enough to be orthogonal
                c = np.matmul(np.conj(basis), v)
                v, total = v - np.matmul(c, basis), total + c
            left = length(v)
            gone = left <= float(np.finfo(aval_of(left).dtype).eps) * scale          # nothing new: the end
            v = np.where(gone, np.zeros_like(v), v / np.where(gone, np.ones_like(left), left))
            column = total + np.where(np.arange(k + 1) == j + 1, convert(np.where(gone, 0 * left, left),
                                                                         aval_of(total).dtype), 0)
            basis = lax.dynamic_update_slice(basis, v[None], (j + 1, 0))
            return basis, lax.dynamic_update_slice(h, column[:, None], (0, j))

        def go_on(state):
            _, r, turns = state
            return (_squared(r) > limit) & (turns < maxiter)

        def turn(state):
            x, r, turns = state
            beta = length(r)
            dtype = aval_of(r).dtype
            basis = np.concatenate([r[None] / convert(beta, dtype), np.zeros((k, n), dtype)])
            basis, h = lax.fori_loop(0, k, grow, (basis, np.zeros((k + 1, k), dtype)))
            target = np.where(np.arange(k + 1) == 0, convert(beta, dtype), np.zeros((k + 1,), dtype))
            y = np.linalg.lstsq(h, target, rcond=float(np.finfo(dtype).eps) * k)[0]
            x = x + m(np.matmul(y, basis[:k]))
            return x, b - a(x), turns + 1

        x, r, turns = lax.while_loop(go_on, turn, (x, b - a(x), 0))
        return full(x), turns, _squared(r)
    return method


def gmres(A, b, x0=None, *, tol=1e-5, rtol=None, atol=0.0, restart=20, maxiter=None, M=None,
          solve_method="batched"):
    """Solves A x = b by the generalised minimal residual method, begun anew after ``restart`` products.

    Arguments and result are those of ``cg``; an iteration is one such round. ``solve_method`` is accepted as
    in JAX: each round orthogonalises twice and solves one small least-squares problem.

    >>> import numpy as np
    >>> from functrans.scipy.sparse.linalg import gmres
    >>> x, info = gmres(np.array([[2.0, 1.0], [-1.0, 3.0]]), np.array([3.0, 2.0]), tol=1e-10)
    >>> x.round(6), int(info)
    (array([1., 1.]), 0)
    """
    if solve_method not in ("batched", "incremental"):
        raise ValueError(f"gmres: solve_method must be 'batched' or 'incremental', got {solve_method!r}")
    return _solve("gmres", _gmres(int(restart)), A, b, x0, tol, rtol, atol, maxiter, M, False)


__all__ = ["bicgstab", "cg", "gmres"]
