"""Implicit differentiation: the derivative of a solution follows from what it solves, not from how it was
found.

``custom_root`` and ``custom_linear_solve`` have JAX's signatures. Both are calls with rules: the root's
tangent solves the linearized equation; a linear solution's tangent is another one, whose transpose solves the
transposed system. So solvers may be loops of any length, and derivatives of any order and mode follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..ir.core import Lit, lit
from ..ir.op import OPS
from ..numpy.core import convert
from ..ops.call import Passes, pick
from ..ops.custom import LinearRule, Rule, custom_jvp_call, linear_call
from ..trace.core import aval_of, current_builder
from .body import bind_loop, leaf_avals, shared_consts, trace_body, with_consts


def moving(tangents) -> tuple[bool, ...]:
    """Which tangents are not literally zero."""
    return tuple([not (type(t) is Lit and t.value == 0) and aval_of(t).dtype.kind in "fc" for t in tangents])


def pushed(jaxpr, primals, tangents) -> list:
    """Tangents of the results of a program, zeros as literals."""
    moves = moving(tangents)
    if not any(moves):
        return [lit(0, a.strong) for a in jaxpr.out_avals]
    moved, keep = Passes.jvp_jaxpr(jaxpr, moves)
    got = Passes.evaluate(moved, [*primals, *pick(tangents, moves)])[len(jaxpr.out_avals):]
    rest = iter(got)
    return [next(rest) if k else lit(0, a.strong) for k, a in zip(keep, jaxpr.out_avals, strict=True)]


def zeros_like(avals) -> list:
    return [lit(0, a.strong) for a in avals]


def _operands(x, name, what):
    """Leaves as strong floats or complex numbers, their tree, their avals."""
    leaves, treedef = tree.flatten(x)
    avals = leaf_avals(leaves, treedef, f"{name}: {what}")
    dtypes = [a.dtype if a.dtype.kind in "fc" else np.result_type(a.dtype, np.float64) for a in avals]
    leaves = [v if a.dtype == d and not a.weak else convert(v, d) for v, a, d in zip(leaves, avals, dtypes,
                                                                                   strict=True)]
    return leaves, treedef, [aval_of(v).strong for v in leaves]


def _same_types(name, function, body, treedef, avals):
    """What ``function`` returns must have the structure and the types of what it is given."""
    if body.out_tree != treedef:
        raise errors.TreeError(f"{name}: {function} must return the structure {treedef}, got "
                               f"{body.out_tree}.",
                               "It maps vectors to vectors of one structure.")
    for got, want, path in zip(body.jaxpr.out_avals, avals, treedef.paths(), strict=True):
        if got.strong is not want:
            raise errors.ShapeError(f"{name}: {function} must return {want}{' at ' + path if path else ''}, "
                                    f"got {got.strong}.", "It maps vectors to vectors of one type.")


def _split_aux(name, result, has_aux):
    """``(x, aux)`` as a solver returns it."""
    if not has_aux:
        return result, None
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        raise errors.ResultTypeError(f"{name}: with has_aux=True, solve must return a pair (solution, aux), "
                                     f"got {type(result).__name__}.")
    return tuple(result)


def _solver(name, what, run, treedef, avals, has_aux):
    """The body of ``run(x) -> solution``, which must be like ``what``, and the tree of what else it says."""
    aux_tree: Any = None

    def flat(xs):
        nonlocal aux_tree
        x, aux = _split_aux(name, run(treedef.unflatten(xs)), has_aux)
        out, out_tree = tree.flatten(x)
        if out_tree != treedef:
            raise errors.TreeError(f"{name}: solve must return the structure {treedef} of {what}, got "
                                   f"{out_tree}.")
        more, aux_tree = tree.flatten(aux)
        return [*out, *more]

    body = trace_body(flat, avals, name, [a.dtype for a in avals])
    for got, want in zip(body.jaxpr.out_avals, avals, strict=False):
        if got.strong is not want:
            raise errors.ShapeError(f"{name}: solve must return {want} as {what} has it, got {got.strong}.")
    return body, aux_tree


# ----- linear systems --------------------------------------------------------------------------------------


class _System:
    """Programs ``(vector leaves, constants) -> ...``: the product with a matrix, and its solver, whose
    results
    begin with the solution. ``transposed`` is the system of the transposed matrix, or None."""

    def __init__(self, matvec, solve, n):
        self.matvec, self.solve, self.n = matvec, solve, n
        self.transposed: _System | None = None

    def params(self):
        return {"jaxpr": self.solve, "rule": Rule("custom_linear_solve", len(self.solve.invars),
                                                  jvp=self.jvp)}

    def __call__(self, values) -> list:
        return list(custom_jvp_call(*values, **self.params()))

    def jvp(self, primals, tangents):
        """A x = b gives A dx = db - dA x."""
        n = self.n
        outs = self(primals)
        consts = primals[n:]
        changed = pushed(self.matvec, [*outs[:n], *consts], [*zeros_like(map(aval_of, outs[:n])),
                                                             *tangents[n:]])
        rhs = [_difference(t, c) for t, c in zip(tangents[:n], changed, strict=True)]
        if not any(moving(rhs)):
            return outs, zeros_like(map(aval_of, outs))
        avals = [aval_of(x).strong for x in (*consts, *rhs)]
        k = len(consts)
        program = Passes.stage(lambda *xs: self([*xs[k:], *xs[:k]])[:n], avals)
        got = linear_call(*consts, *rhs, jaxpr=program, rule=LinearRule("custom_linear_solve", self.back),
                          n_res=k)
        return outs, [*got, *zeros_like(map(aval_of, outs[n:]))]

    def back(self, consts, cts):
        if self.transposed is None:
            raise errors.NonDifferentiableError(
                "reverse-mode differentiation of custom_linear_solve, which has no transpose_solve.",
                "Give it transpose_solve, or symmetric=True, or use forward mode (jvp, jacfwd).")
        return self.transposed([*cts, *consts])[:self.n]


def _difference(a, b):
    if type(b) is Lit and b.value == 0:
        return a
    return OPS["neg"](b) if type(a) is Lit and a.value == 0 else OPS["sub"](a, b)


def custom_linear_solve(matvec: Callable, b: Any, solve: Callable, transpose_solve: Callable | None = None,
                        symmetric: bool = False, has_aux: bool = False):
    """Solves ``matvec(x) = b`` for x by ``solve(matvec, b)``, with derivatives that solve such a system
    again.

    Args:
      matvec: linear function of a pytree like ``b``, to one like it; it may close over traced values, which
        are differentiated.
      b: pytree of arrays.
      solve: ``(matvec, b) -> x``; how it does that is never differentiated.
      transpose_solve: ``(vecmat, b) -> x`` for the transposed function; reverse mode needs it.
      symmetric: matvec is its own transpose, and ``solve`` serves as ``transpose_solve`` too.
      has_aux: ``solve`` returns a pair, of the solution and of what else it has to say.

    Returns:
      x, or ``(x, aux)``.

    >>> import numpy as np
    >>> from functrans import grad, lax
    >>> def half(a, b):
    ...     return lax.custom_linear_solve(lambda x: a * x, b, lambda f, b: b / f(1.0), symmetric=True)
    >>> float(grad(half)(2.0, 3.0))
    -0.75
    """
    if transpose_solve is None and symmetric:
        transpose_solve = solve
    name = "custom_linear_solve"
    leaves, treedef, avals = _operands(b, name, "b")
    if current_builder() is None:
        return solve(matvec, treedef.unflatten(leaves))

    def vecmat(y):
        if symmetric:
            return matvec(y)
        from ..api.derivatives import linear_transpose
        return linear_transpose(matvec, treedef.unflatten([np.zeros(a.shape, a.dtype) for a in avals]))(y)[0]

    def product(f):
        body = trace_body(lambda xs: f(treedef.unflatten(xs)), avals, name, [a.dtype for a in avals])
        _same_types(name, "matvec", body, treedef, avals)
        return body

    def solver(how, f):
        return _solver(name, "b", lambda x: how(f, x), treedef, avals, has_aux)

    bodies = [product(matvec)]
    body, aux_tree = solver(solve, matvec)
    bodies.append(body)
    if transpose_solve is not None:
        bodies += [bodies[0] if symmetric else product(vecmat), solver(transpose_solve, vecmat)[0]]
    consts, places = shared_consts(bodies)
    n = len(leaves)
    programs = [with_consts(body, consts, at, n) for body, at in zip(bodies, places, strict=True)]
    system = _System(programs[0], programs[1], n)
    if transpose_solve is not None:
        system.transposed = _System(programs[2], programs[3], n)
        system.transposed.transposed = system
    outs = bind_loop(custom_jvp_call, [], [*leaves, *consts], system.params())
    x = treedef.unflatten(outs[:n])
    return (x, aux_tree.unflatten(outs[n:])) if has_aux else x


# ----- roots ------------------------------------------------------------------------------------------------


class _Root:
    """Programs ``(vector leaves, constants) -> ...``: the function, and the solver; and ``tangent``,
    ``(solution, right-hand side, constants) -> x`` with (the function's derivative at the solution) x =
    right-hand side."""

    def __init__(self, function, solve, tangent, n):
        self.function, self.solve, self.tangent, self.n = function, solve, tangent, n

    def params(self):
        return {"jaxpr": self.solve, "rule": Rule("custom_root", len(self.solve.invars), jvp=self.jvp)}

    def jvp(self, primals, tangents):
        """f(x, c) = 0 gives f_x dx = -f_c dc; the first guess does not count."""
        n = self.n
        outs = list(custom_jvp_call(*primals, **self.params()))
        x, consts = outs[:n], primals[n:]
        rhs = pushed(self.function, [*x, *consts], [*zeros_like(map(aval_of, x)), *tangents[n:]])
        if not any(moving(rhs)):
            return outs, zeros_like(map(aval_of, outs))
        got = Passes.evaluate(self.tangent, [*x, *rhs, *consts])
        return outs, [*[OPS["neg"](t) for t in got], *zeros_like(map(aval_of, outs[n:]))]


def custom_root(f: Callable, initial_guess: Any, solve: Callable, tangent_solve: Callable,
                has_aux: bool = False):
    """A root of ``f`` by ``solve(f, initial_guess)``, differentiated by the implicit function theorem.

    Args:
      f: function of a pytree like ``initial_guess``, to one like it; it may close over traced values, in
        which the root is differentiated.
      initial_guess: pytree of arrays; the derivative in it is 0.
      solve: ``(f, initial_guess) -> root``; how it does that is never differentiated.
      tangent_solve: ``(g, y) -> x`` with g(x) = y, where g is linear: the derivative of f at the root. For
        reverse mode it must be linear in y as functrans sees it, e.g. ``y / g(1.0)`` for a scalar, or
        ``custom_linear_solve``.
      has_aux: ``solve`` returns a pair, of the root and of what else it has to say.

    Returns:
      The root, or ``(root, aux)``.

    >>> import numpy as np
    >>> from functrans import grad, lax
    >>> def newton(f, x):
    ...     return lax.fori_loop(0, 20, lambda i, x: x - f(x) / grad(f)(x), x)
    >>> def root(a):
    ...     return lax.custom_root(lambda x: x ** 2 - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> float(root(4.0)), float(grad(root)(4.0))
    (2.0, 0.25)
    """
    name = "custom_root"
    leaves, treedef, avals = _operands(initial_guess, name, "initial_guess")
    if current_builder() is None:
        return solve(f, treedef.unflatten(leaves))
    n = len(leaves)
    dtypes = [a.dtype for a in avals]
    function = trace_body(lambda xs: f(treedef.unflatten(xs)), avals, name, dtypes)
    _same_types(name, "f", function, treedef, avals)
    def tangent(xs):
        from ..api.derivatives import linearize
        _, g = linearize(f, treedef.unflatten(xs[:n]))
        return tangent_solve(g, treedef.unflatten(xs[n:]))

    solver, aux_tree = _solver(name, "initial_guess", lambda x: solve(f, x), treedef, avals, has_aux)
    back = trace_body(tangent, [*avals, *avals], name, dtypes)
    _same_types(name, "tangent_solve", back, treedef, avals)
    consts, (at_f, at_solve, at_back) = shared_consts([function, solver, back])
    root = _Root(with_consts(function, consts, at_f, n), with_consts(solver, consts, at_solve, n),
                 with_consts(back, consts, at_back, 2 * n), n)
    outs = bind_loop(custom_jvp_call, [], [*leaves, *consts], root.params())
    x = treedef.unflatten(outs[:n])
    return (x, aux_tree.unflatten(outs[n:])) if has_aux else x


__all__ = ["custom_linear_solve", "custom_root"]
