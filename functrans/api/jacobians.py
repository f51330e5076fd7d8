"""Dense Jacobians and Hessians: all derivatives at once, by batching one-direction derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import errors, tree
from ..calling.arguments import Chosen, Selection, positions
from ..calling.boundary import Transformed
from ..calling.staging import api, check_callable, describe, trace_call
from ..trace.core import aval_of
from ..trace.tracer import Tracer
from .batching import map_basis, vmap
from .chunks import check_chunk, chunked
from .derivatives import check_complex_result, jvp, linearize, vjp

FEW = 32            # directions: fewer are pushed as a dense batch, which tiny programs are best at


def at_chosen(selection, args, kwargs):
    """The function of the chosen arguments alone, and these."""
    nums = selection.check(args, kwargs)

    def partial(*chosen):
        full = list(args)
        for i, x in zip(nums, chosen, strict=True):
            full[i] = x
        return selection.fun(*full, **kwargs)
    return partial, tuple([args[i] for i in nums])


def _basis(leaves):
    """Per leaf, the directions of all leaves' elements, one after another: ``[total, *shape]``."""
    avals = [aval_of(x) for x in leaves]
    total, at, out = sum(a.size for a in avals), 0, []
    for a in avals:
        block = np.zeros((total, a.size), a.dtype)
        block[at + np.arange(a.size), np.arange(a.size)] = 1
        out.append(block.reshape(total, *a.shape))
        at += a.size
    return out


def float_leaves(values, what, holomorphic, kinds="f"):
    """The leaves, whose dtypes must be of these kinds; complex for a holomorphic function."""
    leaves, treedef = tree.flatten(values)
    for x in leaves:
        kind = aval_of(x).dtype.kind
        if holomorphic and kind != "c":
            raise errors.NotComplexError(f"{what} with holomorphic=True got {describe(x)}.",
                                         "Arguments and results must be complex then.")
        if not holomorphic and kind == "c" and kind not in kinds:
            raise errors.NotComplexError(
                f"{what} {describe(x)}: its derivative is no complex number in general.",
                "Pass holomorphic=True if the function is holomorphic; else use grad of a real result, or "
                "jvp and vjp, which take complex tangents and cotangents.")
        if kind not in "fc":
            raise errors.IntegerInputError(f"{what} {describe(x)}: only floats have derivatives here.",
                                           "Convert it with astype(float).")
    return leaves, treedef


def _blocks(stacked, leaves, axis):
    """Cuts the axis of directions of ``stacked`` into one axis group per leaf's own shape."""
    out, at = [], 0
    shape = aval_of(stacked).shape
    for x in leaves:
        a = aval_of(x)
        index = (*[slice(None)] * axis, slice(at, at + a.size))
        block = np.reshape(stacked[index], (*shape[:axis], *a.shape, *shape[axis + 1:]))
        out.append(as_result(block, len(leaves) > 1))
        at += a.size
    return out


def as_result(block, cut):
    """An array of its own: no view, no 0-d array."""
    if not isinstance(block, np.ndarray):
        return block
    if not block.ndim:
        return block[()]
    return block.copy() if cut or not block.flags.c_contiguous else block


@api
def jacfwd(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False,
           holomorphic: bool = False, *, chunk_size: int | str | None = None) -> Callable:
    """The Jacobian by forward mode: one pass per input element, batched. Best for few inputs.

    Args:
      argnums, has_aux: as in ``grad``.
      holomorphic: arguments and results are complex then, and so are the derivatives.
      chunk_size: how many directions are pushed at a time, to bound the memory; None is all of them, "auto"
        as many as take about 256 MiB.

    Returns:
      a function whose result is a pytree like ``fun``'s output whose leaves are pytrees like the argument
      (a tuple of them for several ``argnums``), with arrays of shape ``out.shape + in.shape``.

    >>> import numpy as np
    >>> from functrans import jacfwd
    >>> jacfwd(lambda x: x ** 2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    check_callable(fun, "jacfwd")
    check_chunk(chunk_size, "jacfwd")
    selection = Selection(fun, argnums, None, "jacfwd")

    def call(*args, **kwargs):
        partial, chosen = at_chosen(selection, args, kwargs)
        leaves, treedef = float_leaves(chosen, "jacfwd with respect to", holomorphic)
        aux: list = []

        def push(*directions):
            _, tangent, *rest = jvp(partial, chosen, treedef.unflatten(directions), has_aux=has_aux)
            if not has_aux:
                return tangent, ()
            aux[:] = tree.flatten(rest[0])
            return tangent, [x for x in aux[0] if type(x) is Tracer]    # others stay outside

        avals = [aval_of(x).strong for x in leaves]
        if chunk_size is not None:
            _, linear = linearize(lambda *xs: partial(*xs)[0] if has_aux else partial(*xs), *chosen)
            tangents = chunked(lambda *directions: linear(*treedef.unflatten(directions)), avals, chunk_size,
                               -1)
        elif sum(a.size for a in avals) < FEW:
            tangents, moved = vmap(push, out_axes=(-1, None))(*_basis(leaves))
        else:
            def dims(outs):
                n_aux = sum(type(x) is Tracer for x in aux[0]) if has_aux else 0
                return [a.ndim for a in outs[:len(outs) - n_aux]] + [None] * n_aux

            tangents, moved = map_basis(push, avals, dims)

        if holomorphic:
            for x in tree.leaves(tangents):
                check_complex_result(aval_of(x), "jacfwd")

        def unpack(stacked):
            blocks = treedef.unflatten(_blocks(stacked, leaves, aval_of(stacked).ndim - 1))
            return blocks[0] if selection.single else blocks

        jacobian = tree.map(unpack, tangents)
        if not has_aux:
            return jacobian
        if chunk_size is not None:
            return jacobian, partial(*chosen)[1]
        traced = iter(moved)
        return jacobian, aux[1].unflatten([next(traced) if type(x) is Tracer else x for x in aux[0]])

    return Transformed(call, fun, "jacfwd", (_again, ("jacfwd", fun, argnums, has_aux, holomorphic,
                                                      chunk_size)))


@api
def jacrev(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False,
           holomorphic: bool = False, *, chunk_size: int | str | None = None) -> Callable:
    """The Jacobian by reverse mode: one pass per output element, batched. Best for few outputs.

    Arguments, structure and shapes are those of ``jacfwd``; chunks are of output elements.

    >>> import numpy as np
    >>> from functrans import jacrev
    >>> jacrev(lambda x: x ** 2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    check_callable(fun, "jacrev")
    check_chunk(chunk_size, "jacrev")
    selection = Selection(fun, argnums, None, "jacrev")

    def call(*args, **kwargs):
        partial, chosen = at_chosen(selection, args, kwargs)
        float_leaves(chosen, "jacrev with respect to", holomorphic, "fc")
        out, pull, *aux = vjp(partial, *chosen, has_aux=has_aux)
        leaves, treedef = float_leaves(out, "jacrev of a function that returns", holomorphic)
        avals = [aval_of(x).strong for x in leaves]
        if chunk_size is not None:
            cts = chunked(lambda *directions: pull(treedef.unflatten(directions)), avals, chunk_size, 0)
        elif sum(a.size for a in avals) < FEW:
            cts = vmap(lambda *directions: pull(treedef.unflatten(directions)))(*_basis(leaves))
        else:
            cts = map_basis(lambda *directions: pull(treedef.unflatten(directions)), avals,
                            lambda outs: [0] * len(outs))
        # cts: like the arguments, with the directions of all output elements in front
        ct_leaves, ct_tree = tree.flatten(cts)
        columns = [_blocks(ct, leaves, 0) for ct in ct_leaves]
        rows = []
        for i in range(len(leaves)):
            block = ct_tree.unflatten([column[i] for column in columns])
            rows.append(block[0] if selection.single else block)
        jacobian = treedef.unflatten(rows)
        return (jacobian, aux[0]) if has_aux else jacobian

    return Transformed(call, fun, "jacrev", (_again, ("jacrev", fun, argnums, has_aux, holomorphic,
                                                      chunk_size)))


@api
def jacobian(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False,
             holomorphic: bool = False, *, chunk_size: int | str | None = None) -> Callable:
    """The Jacobian by the mode that takes less: reverse if the result has less than half as many elements
    as the argument, else forward. Arguments and result are those of ``jacfwd``.

    >>> import numpy as np
    >>> from functrans import jacobian
    >>> jacobian(lambda x: np.sum(x ** 2))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    check_callable(fun, "jacobian")
    check_chunk(chunk_size, "jacobian")
    selection = Selection(fun, argnums, None, "jacobian")
    options = (argnums, has_aux, holomorphic)
    modes = [mode(fun, *options, chunk_size=chunk_size) for mode in (jacfwd, jacrev)]

    def call(*args, **kwargs):
        chosen = Chosen(selection, args, kwargs)
        avals = chosen.avals()
        traced = trace_call(chosen.call, chosen.leaves, avals, "jacobian", has_aux=has_aux)
        n_out = sum([a.size for a in traced.jaxpr.out_avals[:traced.n_out]])
        return modes[2 * n_out < sum([a.size for a in avals])](*args, **kwargs)

    return Transformed(call, fun, "jacobian", (_again, ("jacobian", fun, *options, chunk_size)))


@api
def hessian(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False,
            holomorphic: bool = False, *, chunk_size: int | str | None = None) -> Callable:
    """The Hessian, by forward over reverse mode: ``jacfwd(jacrev(fun))``.

    For an array argument of shape ``s`` and a scalar function the result has shape ``s + s``. Arguments are
    those of ``jacfwd``.

    >>> import numpy as np
    >>> from functrans import hessian
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    check_callable(fun, "hessian")
    options = (positions(argnums, "hessian"), has_aux, holomorphic)
    made = jacfwd(jacrev(fun, *options), *options, chunk_size=chunk_size)
    return Transformed(made, fun, "hessian", (_again, ("hessian", fun, *options, chunk_size)))


def _again(name, fun, argnums, has_aux, holomorphic, chunk_size):
    """A Jacobian function again, from its pickle."""
    make = {"jacfwd": jacfwd, "jacrev": jacrev, "jacobian": jacobian, "hessian": hessian}[name]
    return make(fun, argnums, has_aux, holomorphic, chunk_size=chunk_size)

