"""Sparse Jacobians and Hessians: pattern, colouring, and evaluation by a few batched products."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import errors, tree
from ..api.batching import vmap
from ..api.compilation import jit
from ..api.derivatives import check_scalar, jvp, vjp
from ..api.jacobians import float_leaves
from ..calling.arguments import Chosen, Selection
from ..calling.staging import Traced, api, check_callable, find_pass, in_trace, trace_call
from ..ir.core import Jaxpr, eqn, lit
from ..trace.core import aval_of
from ..trace.source import source_of
from ..transform.cleanup import cleanup
from ..transform.interpret import evaluate
from ..transform.jvp import jvp_jaxpr
from ..transform.linearize import joint_values, linearize_jaxpr
from ..transform.programs import Cache
from .patterns import MOST, Propagation, identity, known_value
from .structure import Structure, as_pattern, of_hessian, of_jacobian

LAYOUTS, MODES, COLORINGS = ("csr", "csc"), ("auto", "forward", "reverse"), ("star", "acyclic", "column")


class SparsityWarning(UserWarning):
    """Part of a program was taken for dense, because its pattern is not known."""


class SparseDerivative:
    """What ``sparse.jacobian`` and ``sparse.hessian`` return: call it with the function's arguments.

    Pattern and colouring are found at the first call and kept for as long as the function records the
    same program.
    """

    most = MOST             # entries that a pattern may have

    def __init__(self, what, fun: Callable, argnums, sparsity, order, layout, check, *, mode=None,
                 coloring=None):
        check_callable(fun, what)
        for name, value, known in (("format", layout, LAYOUTS), ("mode", mode, MODES),
                                   ("coloring", coloring, COLORINGS)):
            if value is not None and value not in known:
                raise errors.ArgumentError(f"{what}: {name} is {value!r}.",
                                           f"Use one of {', '.join(map(repr, known))}.")
        self.what, self.selection = what, Selection(fun, argnums, None, what)
        self.sparsity, self.order, self.layout, self.check = sparsity, order, layout, check
        self.mode, self.coloring = mode, coloring
        self.kept = Cache(16)
        self.__wrapped__ = fun
        self.__name__ = f"{what}({getattr(fun, '__name__', 'f')})"

    @api
    def __call__(self, *args, **kwargs):
        return self.prepare(args, kwargs)(*args, **kwargs)

    def trace(self, args, kwargs) -> tuple[Chosen, _Others, Traced]:
        """The arguments in two parts, and the program that the function records for them."""
        what = self.what
        chosen = Chosen(self.selection, args, kwargs)
        if in_trace(chosen.leaves):
            raise errors.NotSupportedError(
                f"{what} of a traced argument: its result is a SciPy matrix, which cannot be traced.",
                "Call it outside of jit, grad and vmap, or use functrans.jacobian or hessian.")
        float_leaves(chosen.leaves, f"{what} with respect to", False)
        others, n = _Others(chosen), len(chosen.leaves)
        traced = trace_call(lambda xs: others.put(self.selection, xs[n:]).call(xs[:n]),
                            [*chosen.leaves, *others.leaves], [*chosen.avals(), *others.avals()], what)
        traced = traced._replace(consts=[*others.leaves, *traced.consts])
        if in_trace(traced.consts):
            raise errors.NotSupportedError(f"{what} of a function that uses a traced value.",
                                           "Call it outside of jit, grad and vmap.")
        return chosen, others, traced

    def sparsity_at(self, args, kwargs) -> sp.csr_array:
        """The pattern alone."""
        chosen, _, traced = self.trace(args, kwargs)
        return self.tight(self.pattern(chosen, *self.target(chosen, traced)))

    def prepare(self, args, kwargs) -> Prepared:
        """The derivative of the program that the function records for these arguments."""
        chosen, others, traced = self.trace(args, kwargs)
        jaxpr = traced.jaxpr
        key = tuple(chosen.avals()) if jaxpr.retraced else jaxpr      # users' rules are never the same twice
        found, zeros = self.kept.get(key), _Zeros(traced.consts)
        if found is not None and found.zeros != zeros:
            self.kept.drop(found)
            found = None
        if found is not None and not jaxpr.retraced:
            return Prepared(self, chosen, others, found, traced.consts)
        target, consts = self.target(chosen, traced)
        structure = found.structure if found is not None else self.structure(chosen, target, consts)
        found = _Found(structure, zeros, _compressed(target, chosen.avals(), structure), target)
        self.kept.put(key, found)
        return Prepared(self, chosen, others, found, consts)

    def target(self, chosen, traced: Traced) -> tuple[Any, list]:
        """The program whose Jacobian is wanted, and its inputs after the arguments."""
        return traced.jaxpr, traced.consts

    def pattern(self, chosen, jaxpr, consts) -> sp.csr_array:
        """Which outputs of ``jaxpr`` depend on which elements of the arguments."""
        avals = chosen.avals()
        n = sum(a.size for a in avals)
        moved, keep = _tangent_program(jaxpr, (True,) * len(avals) + (False,) * len(consts))
        walk, first = Propagation(n, self.most), np.cumsum([0, *[a.size for a in avals]])
        own = [identity(a.size, at, n) for a, at in zip(avals, first, strict=False)]
        try:
            got, _ = walk.run(moved, [None] * len(jaxpr.invars) + own,
                              [*[None] * len(avals), *map(known_value, consts), *[None] * len(own)])
        finally:
            source_of(None)
        if walk.notes:
            places = ", ".join([f"{name} at {line[0]}:{line[1]}" if line else name
                                for name, line in walk.notes])
            warnings.warn(f"{self.what}: taken for dense: {places}. The pattern may be larger than need be; "
                          "sparsity= takes your own.", SparsityWarning, stacklevel=6)
        parts = iter(got[len(jaxpr.outs):])
        each = [next(parts) if k else None for k in keep]
        return sp.csr_array(sp.vstack([sp.csr_array((a.size, n), dtype=bool) if p is None else p
                                       for p, a in zip(each, jaxpr.out_avals, strict=True)], "csr"))

    def structure(self, chosen, jaxpr, consts) -> Structure:
        """Pattern and colouring."""
        shape = (sum(a.size for a in jaxpr.out_avals), sum(a.size for a in chosen.avals()))
        if self.sparsity is not None:
            return self.colored(as_pattern(self.sparsity, shape))
        return self.colored(self.pattern(chosen, jaxpr, consts))

    def tight(self, pattern) -> sp.csr_array:
        """The part of a pattern that the true one is within."""
        return pattern

    def colored(self, pattern) -> Structure:
        return of_jacobian(pattern, self.mode, self.order, self.layout)


class SparseJacobian(SparseDerivative):
    def target(self, chosen, traced):
        for a in traced.jaxpr.out_avals:
            if a.dtype.kind != "f":
                raise errors.DtypeError(f"{self.what} of a function that returns {a}: only real floats have "
                                        "derivatives here.", "Convert it with astype(float).")
        return traced.jaxpr, traced.consts


class SparseHessian(SparseDerivative):
    """The Jacobian of the gradient; its pattern is symmetric."""

    def target(self, chosen, traced):
        check_scalar(traced, self.what, False)
        jaxpr, n = traced.jaxpr, len(chosen.leaves)
        wrt = (True,) * n + (False,) * len(traced.consts)

        def body(*values):
            return joint_values(jaxpr, values, wrt, (0,), [lit(1, jaxpr.out_avals[0])])[1:], None

        found, values = find_pass("grad", jaxpr, (wrt, 1), body, [*chosen.leaves, *traced.consts])
        return found.jaxpr, values[n:]

    def tight(self, pattern):
        return sp.csr_array(pattern.multiply(pattern.T))       # the true one is symmetric

    def colored(self, pattern):
        return of_hessian(self.tight(pattern), self.coloring, self.order, self.layout)


def _tangent_program(jaxpr, nonzeros):
    """``(inputs, tangents) -> (outs, tangents)``, and which outs have a tangent."""
    try:
        moved, keep = jvp_jaxpr(jaxpr, nonzeros)
    except errors.NonDifferentiableError:       # custom_vjp has the linear half only
        fwd, lin, keep = linearize_jaxpr(jaxpr, nonzeros)
        linear = iter(lin.invars[sum(nonzeros):])
        names = dict(zip(linear, fwd.outs[len(jaxpr.outs):], strict=True))
        eqns = [eqn(e.sig, tuple([names.get(x, x) for x in e.inputs]), e.outs, e) for e in lin.eqns]
        moved = Jaxpr([*fwd.invars, *lin.invars[:sum(nonzeros)]], [*fwd.eqns, *eqns],
                      [*fwd.outs[:len(jaxpr.outs)], *[names.get(x, x) for x in lin.outs]], jaxpr.retraced)
    return cleanup(moved), keep


class _Others:
    """Arrays and floats among the arguments that are not differentiated: inputs of the program, too."""

    def __init__(self, chosen: Chosen):
        self.chosen, args = chosen, list(chosen.args)
        for i in chosen.nums:
            args[i] = None
        every, self.treedef = tree.flatten((args, chosen.kwargs))
        self.at = [i for i, x in enumerate(every) if isinstance(x, (float, complex)) or (
            isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufc")]
        self.leaves = [every[i] for i in self.at]
        self.fixed = [None if i in self.at else x for i, x in enumerate(every)]

    def avals(self) -> list:
        return [aval_of(x) for x in self.leaves]

    def put(self, selection, values) -> Chosen:
        """The arguments with these in place."""
        every = list(self.fixed)
        for i, x in zip(self.at, values, strict=True):
            every[i] = x
        args, kwargs = self.treedef.unflatten(every)
        for i in self.chosen.nums:
            args[i] = self.chosen.args[i]
        return Chosen(selection, args, kwargs)

    def like(self, other: _Others) -> bool:
        """Whether a program for these arguments is one for those, if their zeros agree."""
        return (self.treedef == other.treedef and self.at == other.at
                and [a.strong for a in self.avals()] == [a.strong for a in other.avals()]
                and all([x is y or bool(x == y) for x, y in zip(self.fixed, other.fixed, strict=True)]))


class _Zeros:
    """What a pattern may depend on of captured arrays: where floats are zero, and all else as it is."""

    def __init__(self, consts):
        self.arrays = [x != 0 if x.dtype.kind in "fc" else x.copy() for x in map(np.asarray, map(
            known_value, consts))]

    def __eq__(self, other):
        return all(map(np.array_equal, self.arrays, other.arrays))

    __hash__ = None         # type: ignore[assignment]     # mypy knows no other way to say: unhashable


class _Found:
    """What is kept for a program: structure, the zeros it was found with, and the program that runs."""

    def __init__(self, structure, zeros, run, target):
        self.structure, self.zeros, self.run, self.target = structure, zeros, run, target


def _compressed(jaxpr, avals, structure: Structure):
    """``(arguments, other inputs, seeds, places) -> entries``: all products, and what is read of them."""
    forward, outs = structure.mode == "forward", jaxpr.out_avals

    @jit
    def run(leaves, consts, seeds, where):
        def fun(*xs):
            return tuple(evaluate(jaxpr, [*xs, *consts]))

        if forward:
            products = vmap(lambda *ts: jvp(fun, leaves, ts)[1])(*_cut(seeds, avals))
        else:
            products = vmap(vjp(fun, *leaves)[1])(tuple(_cut(seeds, outs)))
        return np.take(_joined(products, outs if forward else avals).ravel(), where)

    return run


def _cut(flat, avals) -> list:
    """``[k, size]`` as one ``[k, *shape]`` per type."""
    at = np.cumsum([0, *[a.size for a in avals]]).tolist()
    return [flat[:, first:first + a.size].reshape(len(flat), *a.shape).astype(a.dtype)
            for first, a in zip(at, avals, strict=False)]


def _joined(values, avals):
    """``[k, *shape]`` of several as ``[k, size]``."""
    flat = [np.reshape(v, (len(v), a.size)) for v, a in zip(values, avals, strict=True)]
    return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)


class Prepared:
    """A sparse derivative with trace, pattern, colouring and plan done: calls are only numeric.

    Attributes:
      sparsity: the pattern, a csr_array of bool.
      colors, n_colors: the colour of each column (or row), and how many products an evaluation takes.
      mode: "forward" (products with columns) or "reverse" (with rows).

    >>> import numpy as np
    >>> from functrans import sparse
    >>> prepared = sparse.jacobian(lambda x: x[1:] * x[:-1]).prepare((np.ones(100),), {})
    >>> prepared.n_colors, prepared(np.ones(100)).nnz
    (2, 198)
    """

    def __init__(self, owner: SparseDerivative, chosen, others: _Others, found: _Found, consts):
        self._owner, self._treedef = owner, chosen.treedef
        self._avals = [a.strong for a in chosen.avals()]
        seeds = found.structure.seeds(np.result_type(*[a.dtype for a in self._avals]))
        # replaced as a whole: other threads may be calling
        self._state = found, seeds, others, _Zeros(others.leaves), [known_value(c) for c in consts]
        self._unchecked = owner.check

    sparsity = property(lambda self: self._state[0].structure.pattern)
    colors = property(lambda self: self._state[0].structure.colors)
    n_colors = property(lambda self: self._state[0].structure.n_colors)
    mode = property(lambda self: self._state[0].structure.mode)

    @api
    def __call__(self, *args, out=None, **kwargs):
        """The matrix at arguments of the same types; it is prepared again where the arguments that are not
        differentiated have other zeros, or are other objects that are no arrays.

        ``out`` is a result of an earlier call, whose data is overwritten.
        """
        what = self._owner.what
        chosen = Chosen(self._owner.selection, args, kwargs)
        avals = [a.strong for a in chosen.avals()]
        if chosen.treedef != self._treedef or avals != self._avals:
            raise errors.ShapeError(f"{what} was prepared for {', '.join(map(str, self._avals))} and called "
                                    f"with {', '.join(map(str, avals))}.", "Prepare it for these as well.")
        others = _Others(chosen)
        found, seeds, prepared, zeros, consts = self._state
        if not others.like(prepared) or zeros != _Zeros(others.leaves):
            self._state = found, seeds, _, _, consts = self._owner.prepare(args, kwargs)._state
        consts, structure = [*others.leaves, *consts[len(others.leaves):]], found.structure
        leaves = tuple([np.asarray(x) for x in chosen.leaves])
        data = structure.entries(found.run(leaves, consts, seeds, structure.where))
        if self._unchecked:
            self._compare(found.target, leaves, consts, structure.matrix(data))
            self._unchecked = False
        if out is None:
            return structure.matrix(data)
        if getattr(out, "format", None) != structure.layout or out.shape != structure.pattern.shape or (
                out.data.shape != data.shape) or out.data.dtype != data.dtype:
            raise errors.ArgumentError(
                f"{what}: out must be a {structure.layout} matrix of {data.dtype} with {len(data)} entries.",
                "Pass a result of an earlier call.")
        out.data[...] = data
        return out

    def _compare(self, jaxpr, leaves, consts, matrix) -> None:
        """A product with the matrix against the derivative along the same random direction."""
        direction = np.random.default_rng(0).uniform(0.5, 1.5, matrix.shape[1])
        tangents = tuple([t[0] for t in _cut(direction[None], self._avals)])
        _, moved = jvp(lambda *xs: tuple(evaluate(jaxpr, [*xs, *consts])), leaves, tangents)
        want = np.concatenate([np.ravel(t) for t in moved])
        got, scale = matrix @ direction, abs(matrix) @ direction
        tolerance = 1e3 * np.finfo(matrix.dtype).eps * (scale + abs(want))
        bad = np.flatnonzero(~(abs(got - want) <= tolerance) & np.isfinite(want))
        if len(bad):
            more = f" and of {len(bad) - 1} more" if len(bad) > 1 else ""
            raise errors.SparsityError(
                f"the sparsity pattern misses entries of row {bad[0]}{more}: along a random direction the "
                f"derivative there is {want[bad[0]]:.6g}, by the matrix it is {got[bad[0]]:.6g}.",
                "Add these entries, or leave sparsity out to have the pattern found.")


# ----- what users call -------------------------------------------------------------------------------------


@api
def jacobian(fun: Callable, argnums: int | Sequence[int] = 0, *, sparsity: Any = None, mode: str = "auto",
             order: str = "smallest_last", format: str = "csr", check: bool = False) -> SparseDerivative:
    """The Jacobian as a sparse matrix, from a few products.

    Columns that share no row get one colour and one jvp together (rows: one vjp); which these are
    follows from the pattern, found by propagating index sets through the derivative's program.

    Args:
      argnums: the arguments to differentiate with respect to: arrays or pytrees of floats, whose elements in
        order are the columns. The elements of the result in order are the rows.
      sparsity: a matrix whose nonzeros are the pattern, if you know it better.
      mode: "forward" colours columns, "reverse" rows, "auto" takes the cheaper.
      order: in which vertices are coloured: "natural", "largest_first" or "smallest_last".
      format: "csr" or "csc".
      check: compare the first result with the derivative along a random direction.

    Returns:
      a function of the same arguments that returns a ``scipy.sparse.csr_array`` (``csc_array``), whose
      structure (``indices``, ``indptr``) is shared between calls and read-only.

    Raises:
      SparsityError: a pattern of another shape, or (with ``check``) with entries missing.
      Warns with SparsityWarning where an op without a rule was taken for dense.

    >>> import numpy as np
    >>> from functrans import sparse
    >>> jac = sparse.jacobian(lambda x: x[1:] * x[:-1])
    >>> jac(np.array([1.0, 2.0, 3.0])).toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    """
    return SparseJacobian("sparse.jacobian", fun, argnums, sparsity, order, format, check, mode=mode)


@api
def hessian(fun: Callable, argnums: int | Sequence[int] = 0, *, sparsity: Any = None,
            coloring: str = "star", order: str = "smallest_last", format: str = "csr",
            check: bool = False) -> SparseDerivative:
    """The Hessian of a scalar function as a sparse matrix, from a few Hessian-vector products.

    Arguments, result and errors are those of ``sparse.jacobian``; rows and columns are the elements of the
    arguments.

    Args:
      coloring: "star" reads every entry off a product; "acyclic" needs fewer colours and substitutes
        entries into one another; "column" makes no use of symmetry.

    >>> import numpy as np
    >>> from functrans import sparse
    >>> sparse.hessian(lambda x: np.sum(x[1:] * x[:-1]))(np.ones(3)).toarray()
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    return SparseHessian("sparse.hessian", fun, argnums, sparsity, order, format, check, coloring=coloring)


@api
def jacobian_sparsity(fun: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """The pattern of the Jacobian: a function of the same arguments that returns a csr_array of bool.

    It has an entry wherever the derivative may differ from zero: values do not count, except those of
    captured arrays. Where Python code branches on values, it is the pattern of the branch taken.

    >>> import numpy as np
    >>> from functrans import sparse
    >>> sparse.jacobian_sparsity(lambda x: x[1:] * x[:-1])(np.ones(3)).toarray().astype(int)
    array([[1, 1, 0],
           [0, 1, 1]])
    """
    return _sparsity(SparseJacobian("sparse.jacobian_sparsity", fun, argnums, None, "natural", "csr", False,
                                    mode="forward"))


@api
def hessian_sparsity(fun: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """The pattern of the Hessian of a scalar function, as ``jacobian_sparsity`` gives that of the Jacobian.

    >>> import numpy as np
    >>> from functrans import sparse
    >>> sparse.hessian_sparsity(lambda x: x[0] * x[1] + x[2])(np.ones(3)).toarray().astype(int)
    array([[0, 1, 0],
           [1, 0, 0],
           [0, 0, 0]])
    """
    return _sparsity(SparseHessian("sparse.hessian_sparsity", fun, argnums, None, "natural", "csr", False,
                                   coloring="column"))


def _sparsity(derivative: SparseDerivative) -> Callable:
    @api
    def pattern(*args, **kwargs):
        return derivative.sparsity_at(args, kwargs)

    return pattern
