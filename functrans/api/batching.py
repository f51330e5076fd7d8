"""vmap: a function of one example becomes a function of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.boundary import Transformed
from ..calling.staging import api, argument_names, check_callable, find_pass, trace_call
from ..ir.core import aval
from ..trace.core import aval_of
from ..transform.columns import basis, columns
from ..transform.interpret import batch_values
from ..transform.vmap import to_dim


def map_basis(fun: Callable, avals, dims) -> list:
    """``fun`` of every basis vector of its arguments together: a list of its results.

    ``fun`` takes tracers of types ``avals`` and returns a list; result i has the axis of directions at
    ``dims[i]`` (None: it does not depend on them), a function of the traced results.
    """
    traced = trace_call(lambda tracers: fun(*tracers), [None] * len(avals), avals, "vmap", known=False)
    jaxpr = traced.jaxpr
    first = np.cumsum([0, *[a.size for a in avals]]).tolist()
    size = first.pop()
    at = dims(jaxpr.out_avals)

    def body(*values):
        directions = [basis(a, n) for a, n in zip(avals, first, strict=True)]
        outs, got = columns(jaxpr, size, [*directions, *values], at)
        return [x if o is None else to_dim(x, g, o, size)
                for x, g, o in zip(outs, got, at, strict=True)], None

    found, values = find_pass("columns", jaxpr, (size, tuple(avals), tuple(at)), body, traced.consts)
    return traced.out_tree.unflatten(found.run(values))


@api
def vmap(fun: Callable, in_axes: Any = 0, out_axes: Any = 0, *, axis_size: int | None = None,
         axis_name: Any = None) -> Callable:
    """Maps ``fun`` over an axis of its arguments, as one batched program.

    Args:
      in_axes: which axis of each argument to map over: an integer, None (not mapped: the argument
        reaches ``fun`` as it is), or a tuple with an entry per positional argument, each of which may
        be a pytree prefix of it. Keyword arguments are mapped over their first axis.
      out_axes: where the batch axis goes in the outputs: an integer, or a pytree prefix of them; None
        says that an output does not depend on the mapped arguments.
      axis_size: needed only when nothing is mapped.
      axis_name: a name for collectives (``lax.psum`` and the like) inside ``fun``.

    Raises:
      BatchSizeError: mapped axes of different extents; TreeError: axes that do not fit the arguments.

    >>> import numpy as np
    >>> from functrans import vmap
    >>> vmap(np.dot)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    check_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)

    def call(*args, **kwargs):
        leaves, treedef = tree.flatten((args, kwargs))
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise errors.TreeError(f"vmap: in_axes has {len(in_axes)} entries for {len(args)} positional "
                                   "arguments.", "Give one entry per argument, or a single integer.")
        axes = treedef.prefix_flatten((in_axes, 0), "in_axes")
        names = argument_names(fun)
        size, dims, avals, mapped = axis_size, [], [], []
        sizes = []
        for i, (x, axis) in enumerate(zip(leaves, axes, strict=True)):
            if axis is None:
                continue
            a = aval_of(x)
            where = _vmap_name(treedef, names, i)
            if not isinstance(axis, (int, np.integer)) or not -a.ndim <= axis < a.ndim:
                raise errors.AxisError(
                    f"vmap: in_axes is {axis!r} for argument {where}, which is {a}.",
                    "Map over one of its axes, or use None for arguments that are not mapped.",
                    axis=axis if isinstance(axis, int) else 0, ndim=a.ndim)
            axis = int(axis) % a.ndim
            dims.append(axis)
            sizes.append((a.shape[axis], where, a, axis))
            avals.append(aval((*a.shape[:axis], *a.shape[axis + 1:]), a.dtype))
            mapped.append(i)
        if size is None:
            if not sizes:
                raise errors.BatchSizeError("vmap has nothing to map over: every in_axes entry is None, "
                                            "or there are no arguments.", "Pass axis_size=.")
            size = sizes[0][0]
        if any(s[0] != size for s in sizes):
            listing = "\n  ".join(f"axis {ax} of {where} ({a}) has extent {s}" for s, where, a, ax in sizes)
            raise errors.BatchSizeError(f"vmap: mapped axes have different extents:\n  {listing}",
                                        "All mapped axes must be equal" + (
                                            f" to axis_size={axis_size}." if axis_size is not None else "."))

        def one(tracers):
            full = list(leaves)
            for i, t in zip(mapped, tracers, strict=True):
                full[i] = t
            a, k = treedef.unflatten(full)
            return fun(*a, **k)

        traced = trace_call(one, [leaves[i] for i in mapped], avals, "vmap", known=False,
                            axes=None if axis_name is None else ((axis_name, size),))
        jaxpr = traced.jaxpr
        outs_at = _out_axes(traced.out_tree, out_axes, jaxpr.out_avals)
        in_dims = [*dims, *[None] * len(traced.consts)]

        def body(*values):
            outs, got = batch_values(jaxpr, size, values, in_dims, axis_name)
            bad = next((i for i, (g, o) in enumerate(zip(got, outs_at, strict=True))
                        if o is None and g is not None), None)
            return [x if o is None else to_dim(x, g, o, size)
                    for x, g, o in zip(outs, got, outs_at, strict=True)], bad

        static = (size, tuple(in_dims), tuple(outs_at), axis_name)
        found, values = find_pass("vmap", jaxpr, static, body,
                                  [*[leaves[i] for i in mapped], *traced.consts])
        if found.aux is not None:
            path = traced.out_tree.paths()[found.aux]
            raise errors.TreeError(f"vmap: out_axes is None for output{path or ''}, which depends on the "
                                   "mapped arguments.", "Give it an axis.")
        return traced.out_tree.unflatten(found.run(values))

    return Transformed(call, fun, "vmap", (_revmap, (fun, in_axes, out_axes, axis_size, axis_name)))


def _revmap(fun, in_axes, out_axes, axis_size, axis_name):
    """A vmapped function again, from its pickle."""
    return vmap(fun, in_axes, out_axes, axis_size=axis_size, axis_name=axis_name)


def _vmap_name(treedef, names, i) -> str:
    """``w['bias']`` for leaf i of ``(args, kwargs)``."""
    path = treedef.paths()[i]
    if path.startswith("[0][") and path[4].isdigit():
        number, _, rest = path[4:].partition("]")
        return f"{names(int(number))}{rest}"
    return path[3:]


def _out_axes(out_tree, out_axes, avals) -> list:
    axes = out_tree.prefix_flatten(out_axes, "out_axes")
    for i, (o, a) in enumerate(zip(axes, avals, strict=True)):
        if o is not None and (not isinstance(o, (int, np.integer)) or not -a.ndim - 1 <= o <= a.ndim):
            raise errors.AxisError(f"vmap: out_axes is {o!r} for output{out_tree.paths()[i]}, which is {a} "
                                   "per example.", f"Use {-a.ndim - 1} to {a.ndim}.",
                                   axis=o if isinstance(o, int) else 0, ndim=a.ndim + 1)
    return [None if o is None else int(o) % (a.ndim + 1) for o, a in zip(axes, avals, strict=True)]
