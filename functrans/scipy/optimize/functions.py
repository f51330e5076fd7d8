"""Functions of the vector with the derivatives that SciPy's methods ask for, each compiled when first used.

All take ``(v, consts)``: the vector, and a list of arrays that the function uses beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ... import errors, sparse, tree
from ...api.batching import vmap
from ...api.compilation import jit
from ...api.derivatives import jvp, value_and_grad, vjp
from ...api.jacobians import hessian, jacobian
from ...api.products import hvp
from ...trace.core import aval_of
from .vectors import Layout, is_traced

FEW = 64                    # unknowns up to which a Hessian is made as a matrix
SMALL = 1 << 14             # entries of a Jacobian up to which no pattern is looked for
DENSITY = 1 / 8             # a Jacobian with fewer entries than this part is sparse
PATTERN = 20_000_000        # entries of patterns that are looked at
MOST = 256 * 2**20          # bytes that a dense Jacobian may take


def check_start(values, what: str) -> None:
    """Raises where a function is not finite: nothing can be found from there."""
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        where = f"element {bad[0]} of {what}" if len(values) > 1 else what
        raise errors.ObjectiveError(f"{where} is {values[bad[0]]} at the start.",
                                    "Start where it is finite; debug_nans finds where a nan comes from.")


def values_needed() -> errors.NotSupportedError:
    """The error for a function that uses a traced value, and cannot become a program."""
    return errors.NotSupportedError(
        "a solution inside of jit, grad or vmap, of a function that looks at values.",
        "Its derivative is that of a program: use np.where or lax.cond, or call it outside.")


def sparse_pattern(derivative, args, most: int):
    """The pattern, if it has no more than ``most`` entries, else None."""
    derivative.most = PATTERN
    try:
        found = derivative.sparsity_at(args, {})
    except errors.SparsityError:
        return None
    return None if found.nnz > most else found


class Compiled:
    """A function compiled by ``jit``; run as it is if its Python code looks at values.

    ``opaque``: also if it cannot be traced at all, as a call into another library cannot.
    """

    def __init__(self, fun: Callable, opaque: bool = False):
        self.fun, self.run = fun, jit(fun)
        self.because = Exception if opaque else errors.ConcretizationError

    @property
    def plain(self) -> bool:
        return self.run is self.fun

    def __call__(self, *args):
        try:
            return self.run(*args)
        except self.because:
            if self.plain:
                raise
            self.run = self.fun
        result = self.fun(*args)
        if is_traced(result):
            raise values_needed()
        return result


class Objective:
    """A scalar function ``fun(v, consts)``."""

    def __init__(self, fun: Callable, what: str):
        self.fun, self.what = fun, what

    @cached_property
    def value(self):
        return Compiled(self._scalar, True)

    def _scalar(self, v, consts):
        out = self.fun(v, consts)
        a = aval_of(out) if tree.structure(out) is tree.LEAF else None
        if a is None or a.shape or a.dtype.kind not in "fiub":
            raise errors.NonScalarOutputError(
                f"{self.what}: fun must return a real scalar, got {a or f'a {type(out).__name__}'}.",
                "Reduce it (np.sum), or use least_squares or root.")
        return out

    @cached_property
    def value_and_grad(self):
        return Compiled(value_and_grad(self._scalar))

    @cached_property
    def hessian(self):
        return Compiled(hessian(self._scalar))

    @cached_property
    def hessp(self):
        return Compiled(lambda v, p, consts: hvp(self._scalar)(v, consts, p))


class Rows:
    """A function ``fun(v, consts)`` that returns a pytree, as a function that returns one vector.

    Attributes:
      layout: how its result lies in the vector; known when it has run.
    """

    def __init__(self, fun: Callable, what: str):
        self.fun, self.what = fun, what
        self.layout: Any = None

    def flat(self, v, consts):
        out = self.fun(v, consts)
        self.layout = Layout(out, self.what)
        leaves = [x if hasattr(x, "astype") else np.asarray(x, float) for x in tree.leaves(out)]
        if any([a.dtype.kind == "c" for a in self.layout.avals]):
            raise errors.DtypeError(f"{self.what} is complex.", "Return real and imaginary parts as floats.")
        flat = [np.reshape(x, -1).astype(np.float64) for x in leaves]
        return flat[0] if len(flat) == 1 else np.concatenate(flat) if flat else np.zeros(0)

    @cached_property
    def value(self):
        return Compiled(self.flat)

    @cached_property
    def opaque(self):
        """The value for methods without derivatives."""
        return Compiled(self.flat, True)

    @cached_property
    def jacobian(self):
        return Compiled(jacobian(self.flat))

    @cached_property
    def weighted_hessian(self):
        return Compiled(lambda v, w, consts: hessian(lambda v: w @ self.flat(v, consts))(v))

    @cached_property
    def weighted_hessp(self):
        return Compiled(lambda v, w, p, consts: hvp(lambda v: w @ self.flat(v, consts))(v, p))

    @cached_property
    def jvp(self):
        return Compiled(lambda v, t, consts: jvp(lambda v: self.flat(v, consts), (v,), (t,))[1])

    @cached_property
    def vjp(self):
        return Compiled(lambda v, ct, consts: vjp(lambda v: self.flat(v, consts), v)[1](ct)[0])

    def best_jacobian(self, v, consts, m: int, *, pattern: Any = None, check: bool = False,
                      operators: bool = False) -> Callable:
        """``v -> matrix``: sparse where that pays, else dense, or an operator where that would not fit."""
        n = len(v)
        found = pattern
        if found is None and m * n > SMALL:
            found = sparse_pattern(sparse.jacobian(self.flat), (v, consts), int(m * n * DENSITY))
        if found is not None:
            if self.value.plain:                            # each branch has a program and a pattern
                made = sparse.jacobian(self.flat, sparsity=pattern, check=check)
                return lambda v: made(v, consts)
            prepared = sparse.jacobian(self.flat, sparsity=found, check=check).prepare((v, consts), {})
            return lambda v: prepared(v, consts)
        if operators and m * n * 8 > MOST:
            return lambda v: self._operator(v, consts, m)
        return lambda v: self.jacobian(v, consts)

    def _operator(self, v, consts, m) -> LinearOperator:
        v = np.array(v)
        single = lambda f: lambda t: f(v, np.ravel(t).astype(float), consts)
        several = lambda f: lambda t: vmap(lambda c: f(v, c, consts), 1, 1)(np.asarray(t, float))
        return LinearOperator((m, len(v)), matvec=single(self.jvp), rmatvec=single(self.vjp),
                              matmat=several(self.jvp), rmatmat=several(self.vjp), dtype=float)
