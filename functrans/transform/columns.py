"""Jacobians column by column: a program is run on every basis vector, of which it sees the nonzeros.

A value that depends on the direction has one example per basis vector. As long as the program only
moves, scales and adds elements, few of its elements differ from zero, and which ones follows from the
shapes alone. ``Sparse`` keeps just those. Any other op gets the value with a batch axis, as in ``vmap``.
Zeros are strong here: an element that no input reaches stays 0, whatever it is multiplied with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Eqn, Jaxpr, Lit, Var, aval, lit
from ..ir.op import OPS, move_axis
from ..ops.shape import Box, constant
from ..trace.core import aval_of, bind
from ..trace.source import source_of
from .zeros import Zero

DENSE = 4                   # one nonzero in so many elements, or more: the value gets its batch axis


class Sparse:
    """Nonzeros of a value for every basis vector: element ``at[k]`` of example ``rows[k]``.

    A place may be named several times; its element is the sum.
    """

    __slots__ = ("at", "dtype", "rows", "shape", "values")

    def __init__(self, shape, dtype, rows, at, values):
        self.shape, self.dtype, self.rows, self.at, self.values = shape, dtype, rows, at, values

    def like(self, values) -> Sparse:
        return Sparse(self.shape, aval_of(values).dtype, self.rows, self.at, values)

    def same_places(self, other: Sparse) -> bool:
        return np.array_equal(self.at, other.at) and np.array_equal(self.rows, other.rows)


def basis(a, first: int) -> Sparse:
    """Directions ``first``, ``first + 1`` and so on: one per element of an input of type ``a``."""
    every = np.arange(a.size)
    return Sparse(a.shape, a.dtype, first + every, every, lit(1, aval((a.size,), a.dtype)))


def columns(jaxpr: Jaxpr, size: int, args: Sequence[Any], wanted: Sequence[int | None]):
    """Runs ``jaxpr`` on values of which some are ``Sparse``: ``(outs, batch axes of outs)``.

    ``wanted`` are the axes that the caller would like best.
    """
    try:
        outs, dims = _run(jaxpr, size, args, [None] * len(args))
    finally:
        source_of(None)
    for i, x in enumerate(outs):
        if type(x) is Sparse:
            outs[i], dims[i] = _dense(x, size, wanted[i] == 0)
    return outs, dims


def _run(jaxpr, size, args, dims):
    env: dict[Var, tuple[Any, Any]] = dict(zip(jaxpr.invars, zip(args, dims, strict=True), strict=True))
    for e in jaxpr.eqns:
        source_of(e)
        pairs = [env[x] if type(x) is Var else (x, None) for x in e.inputs]
        values, at = [p[0] for p in pairs], [p[1] for p in pairs]
        if any(type(x) is Sparse for x in values):
            outs = _sparse(e, size, values, at)
            if outs is not None:
                env.update(zip(e.outs, outs, strict=True))
                continue
            for i, x in enumerate(values):
                if type(x) is Sparse:
                    values[i], at[i] = _dense(x, size)
        if all(d is None for d in at):
            outs = bind(e.op, tuple(values), e.params)
            env.update(zip(e.outs, [(x, None) for x in (outs if e.op.multiple else [outs])], strict=True))
        else:
            outs, out_dims = e.op.batch(size, tuple(values), at, **e.params)
            env.update(zip(e.outs, zip(outs, out_dims, strict=True), strict=True))
    pairs = [env[x] if type(x) is Var else (x, None) for x in jaxpr.outs]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def _dense(x: Sparse, size: int, front: bool = False):
    """The value with a batch axis, before or behind its own."""
    each = int(np.prod(x.shape, dtype=np.int64))
    n = each * size
    places = x.rows * each + x.at if front else x.at * size + x.rows
    name = "scatter_set" if len(np.unique(places)) == len(places) else "scatter_add"
    flat = OPS[name](lit(0, aval((n,), x.dtype)), x.values, constant(box=Box(places)), mode="drop")
    if front:
        return OPS["reshape"](flat, shape=(size, *x.shape)), 0
    return OPS["reshape"](flat, shape=(*x.shape, size)), len(x.shape)


def _take(x, index: np.ndarray):
    """Elements of a vector, as a slice where that can be."""
    n, a = len(index), aval_of(x)
    if type(x) is Lit or n == 0:
        return lit(x.value if n else 0, aval((n,), a.dtype))
    steps = np.unique(np.diff(index)) if n > 1 else np.ones(1, np.int64)
    if len(steps) == 1 and steps[0] > 0:
        first, by = int(index[0]), int(steps[0])
        if by == 1 and n == a.size:
            return x
        return OPS["slice"](x, start=(first,), limit=(first + (n - 1) * by + 1,), stride=(by,))
    return OPS["gather"](x, constant(box=Box(index)), mode="clip")


def _elements(x, index: np.ndarray):
    """Elements of an array by their number in C order."""
    a = aval_of(x)
    return _take(x if a.ndim == 1 else OPS["reshape"](x, shape=(a.size,)), index)


def _zero(x) -> bool:
    return type(x) is Lit and x.value == 0


def _sparse(e: Eqn, size: int, values, dims) -> list | None:
    """The results of an equation, each with its batch axis; None where it needs that of its operands."""
    name = e.op.name
    if name == "call":
        outs, out_dims = _run(e.params["jaxpr"], size, values, dims)
        return list(zip(outs, out_dims, strict=True))
    if any(d is not None for d in dims):
        return None
    if name == "dot_general":
        return _product(e, size, values)
    if e.sig.op.lower == "elementwise":
        out = _each(e, values)
    elif e.op.family == "structural" or e.op.by == "add":
        out = _moved(e, values)
    else:
        out = None
    if out is not None and len(out.at) == 0:
        return [(lit(0, e.outs[0].aval), None)]
    if out is None or DENSE * len(out.at) > size * max(int(np.prod(out.shape, dtype=np.int64)), 1):
        return None
    return [(out, None)]


def _each(e: Eqn, values) -> Sparse | None:
    """An op that works element by element: on the nonzeros, if it is linear in them."""
    op, which = e.op, [i for i, x in enumerate(values) if type(x) is Sparse]
    linear = which if op.bilinear and len(which) == 1 else range(op.arity) if op.linear_in is ... \
        else op.linear_in or ()
    rest = [i for i in linear if i not in which]
    if e.outs[0].aval.dtype.kind not in "fc" or not set(which) <= set(linear) \
            or not all([_zero(values[i]) for i in rest]):
        return None
    first = values[which[0]]
    if not rest and all([values[i].same_places(first) for i in which]):
        there = [x.values if type(x) is Sparse else _elements(x, first.at) for x in values]
        return first.like(bind(op, tuple(there), e.params))
    return _joined([_alone(e, values, i, linear) for i in which])


def _alone(e: Eqn, values, i: int, linear) -> Sparse:
    """What one of several linear operands adds to the result: the tangent, if the others have none."""
    x = values[i]
    primals, tangents = [], []
    for k, (v, other) in enumerate(zip(e.inputs, values, strict=True)):
        a = aval((len(x.at),), v.aval.dtype)
        primals.append(lit(0, a) if k in linear else _elements(other, x.at))
        tangents.append(x.values if k == i else Zero(a))
    (total,) = e.op.jvp(primals, tangents, **e.params)[1]
    return x.like(total)


def _joined(parts):
    x = parts[0]
    if len(parts) == 1:
        return x
    return Sparse(x.shape, x.dtype, np.concatenate([p.rows for p in parts]),
                  np.concatenate([p.at for p in parts]),
                  OPS["concatenate"](*[p.values for p in parts], axis=0))


def _moved(e: Eqn, values) -> Sparse | None:
    """Ops that move elements, or add some up: their reach tells from where to where."""
    if not all([type(x) is Sparse or _zero(x) for x in values]):
        return None
    shape = e.outs[0].aval.shape
    known = [np.asarray(x.value) if type(x) is Lit else None for x in e.inputs]
    reach = e.op.reach(e.sig.in_avals, known, **e.params)
    ways = [(x, way) for x, way in zip(values, reach, strict=True) if type(x) is Sparse]
    if not all([type(way) is tuple for _, way in ways]):
        return None
    return _joined([_sent(x, shape, *way) for x, way in ways])


def _sent(x: Sparse, shape, to: np.ndarray, source: np.ndarray) -> Sparse:
    """Element ``source[k]`` of x goes to element ``to[k]`` of a value of this shape."""
    goal = np.full(int(np.prod(x.shape, dtype=np.int64)), -1)
    goal[source] = to
    if len(np.unique(source)) == len(source):           # each to one place: nothing has to be moved
        entry = np.flatnonzero(goal[x.at] >= 0)
        return Sparse(shape, x.dtype, x.rows[entry], goal[x.at[entry]], _take(x.values, entry))
    order = np.argsort(x.at, kind="stable")
    low = np.searchsorted(x.at[order], source, "left")
    many = np.searchsorted(x.at[order], source, "right") - low
    begin = np.repeat(low - np.cumsum(many) + many, many)
    entry = order[begin + np.arange(len(begin))]
    return Sparse(shape, x.dtype, x.rows[entry], np.repeat(to, many), _take(x.values, entry))


def _product(e: Eqn, size: int, values) -> list | None:
    """A matrix times vectors of one nonzero each: its columns, scaled."""
    k = 0 if type(values[0]) is Sparse else 1
    x, m = values[k], values[1 - k]
    axes = e.params["contract"][1 - k]
    if type(m) is Sparse or len(axes) != 1 or len(x.shape) != 1 \
            or not np.array_equal(x.rows, np.arange(size)):
        return None
    m = move_axis(m, axes[0], aval_of(m).ndim - 1)
    shape = aval_of(m).shape[:-1]
    if not np.array_equal(x.at, np.arange(aval_of(m).shape[-1])):
        m = move_axis(OPS["gather"](move_axis(m, len(shape), 0), constant(box=Box(x.at)), mode="clip"),
                      0, len(shape))
    if not (type(x.values) is Lit and x.values.value == 1):
        m = OPS["mul"](m, OPS["broadcast_in_dim"](x.values, shape=(*shape, size), dims=(len(shape),)))
    return [(m, len(shape))]

