"""Contractions: dot_general, the one product of arrays that all matrix products lower to."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..ir.core import Lit
from ..ir.op import CODE, OPS, ErrorSample, Hooks, Sample, aval_of, bilinear, move_axis
from .reach import products

# ``contract`` and ``batch`` are pairs: (axes of a, axes of b), matched in order.


def _free(ndim, contract, batch):
    return [i for i in range(ndim) if i not in contract and i not in batch]


def _dot_infer(a, b, *, contract, batch):
    (ca, cb), (ba, bb) = contract, batch
    if a.dtype != b.dtype:
        raise TypeError(f"dot_general: operands must have one dtype, got {a}, {b}")
    if len(ca) != len(cb) or len(ba) != len(bb) or len({*ca, *ba}) != len(ca) + len(ba) or len(
            {*cb, *bb}) != len(cb) + len(bb):
        raise ValueError(f"dot_general: contract={contract} and batch={batch} do not match for {a}, {b}")
    for i, j in zip((*ca, *ba), (*cb, *bb), strict=True):
        if not (0 <= i < a.ndim and 0 <= j < b.ndim) or a.shape[i] != b.shape[j]:
            raise ValueError(f"dot_general: axis {i} of {a} and axis {j} of {b} do not have equal extents")
    shape = [a.shape[i] for i in ba]
    shape += [a.shape[i] for i in _free(a.ndim, ca, ba)]
    shape += [b.shape[i] for i in _free(b.ndim, cb, bb)]
    return tuple(shape), a.dtype


def _dot_reference(a, b, *, contract, batch):
    (ca, cb), (ba, bb) = contract, batch
    letters = iter(range(a.ndim + b.ndim))
    la = [next(letters) for _ in range(a.ndim)]
    lb = [next(letters) for _ in range(b.ndim)]
    for i, j in zip((*ca, *ba), (*cb, *bb), strict=True):
        lb[j] = la[i]
    out = [la[i] for i in ba] + [la[i] for i in _free(a.ndim, ca, ba)]
    out += [lb[i] for i in _free(b.ndim, cb, bb)]
    return np.einsum(a, la, b, lb, out).astype(a.dtype)


def _transpose_a(ct, a, b, *, contract, batch):
    """Cotangent of a: ct contracted with b over b's free axes, and its axes put in a's order."""
    (ca, cb), (ba, bb) = contract, batch
    ndim_a, ndim_b = a.aval.ndim, aval_of(b).ndim
    n_free_a = ndim_a - len(ca) - len(ba)
    free_b = _free(ndim_b, cb, bb)
    first = len(ba) + n_free_a
    of_ct, batch_ct = tuple(range(first, first + len(free_b))), tuple(range(len(ba)))
    # a's axes in the product's output: batch, then its free ones and those that meet b's contracted
    # axes in b's order; or the other way round, where that is the order in which a has them
    free_a = _free(ndim_a, ca, ba)
    met = [ca[cb.index(i)] for i in range(ndim_b) if i in cb]
    where = [*ba, *met, *free_a]
    if where == sorted(where):
        return OPS["dot_general"](b, ct, contract=(tuple(free_b), of_ct), batch=(bb, batch_ct))
    where = [*ba, *free_a, *met]
    out = OPS["dot_general"](ct, b, contract=(of_ct, tuple(free_b)), batch=(batch_ct, bb))
    return OPS["transpose"](out, perm=tuple(sorted(range(ndim_a), key=where.__getitem__)))


def _transpose_b(ct, a, b, *, contract, batch):
    (ca, cb), (ba, bb) = contract, batch
    n_batch = len(ba)
    n_free_a = aval_of(a).ndim - len(ca) - n_batch
    n_free_b = b.aval.ndim - len(cb) - n_batch
    swapped = OPS["transpose"](ct, perm=(*range(n_batch),
                                         *range(n_batch + n_free_a, n_batch + n_free_a + n_free_b),
                                         *range(n_batch, n_batch + n_free_a)))
    return _transpose_a(swapped, b, a, contract=(cb, ca), batch=(bb, ba))


def _dot_batch(size, operands, dims, *, contract, batch):
    a, b = operands
    da, db = dims
    (ca, cb), (ba, bb) = contract, batch

    def shifted(axes, d):
        return tuple([i + (i >= d) for i in axes])

    if da is not None and db is not None:
        a, b = move_axis(a, da, 0), move_axis(b, db, 0)
        out = OPS["dot_general"](a, b, contract=(shifted(ca, 0), shifted(cb, 0)),
                                 batch=((0, *shifted(ba, 0)), (0, *shifted(bb, 0))))
        return [out], [0]
    if da is not None:
        ca, ba = shifted(ca, da), shifted(ba, da)
        out = OPS["dot_general"](a, b, contract=(ca, cb), batch=(ba, bb))
        return [out], [len(ba) + _free(aval_of(a).ndim, ca, ba).index(da)]
    cb, bb = shifted(cb, db), shifted(bb, db)
    if not ba and _free(aval_of(b).ndim, cb, bb) == [db]:       # the examples come first in what follows, too
        return [OPS["dot_general"](b, a, contract=(cb, ca), batch=((), ()))], [0]
    out = OPS["dot_general"](a, b, contract=(ca, cb), batch=(ba, bb))
    n_free_a = aval_of(a).ndim - len(ca) - len(ba)
    return [out], [len(ba) + n_free_a + _free(aval_of(b).ndim, cb, bb).index(db)]


@lru_cache(8192)
def _as_matrices(sig):
    """Order and shape of a as [batch, M, K], of b as [batch, N, K], and the shape of the result."""
    (ca, cb), (ba, bb) = sig.params["contract"], sig.params["batch"]
    a, b = sig.in_avals
    free_a, free_b = _free(a.ndim, ca, ba), _free(b.ndim, cb, bb)
    batch, m, k = [math.prod([a.shape[i] for i in g]) for g in (ba, free_a, ca)]
    n = math.prod([b.shape[i] for i in free_b])
    return ((*ba, *free_a, *ca), (batch, m, k)), ((*bb, *free_b, *cb), (batch, n, k)), (batch, m, n)


def _dot_lower(ctx, eqn, views):
    """One batched matrix product [batch, M, N, K]: axes of a group are merged where strides allow."""
    *arranged, shape = _as_matrices(eqn.sig)
    a, b = [merged if (merged := view.arranged(order, shape)) is not None
            else ctx.contiguous(view.transpose(order)).reshape(shape)
            for view, (order, shape) in zip(views, arranged, strict=True)]
    out = ctx.new(eqn.outs[0].aval)
    if out.dtype.kind == "c":
        _complex_product(ctx, out.reshape(shape), a, b)
    else:
        _product(ctx, out.reshape(shape), a, b)
    return [out]


def _product(ctx, out, a, b):
    """out[batch, m, n] = sum over k of a[batch, m, k] b[batch, n, k]"""
    kernel, cost = _kernel(out.dtype, out.shape, a.shape[2])
    x, y = a.strides, b.strides
    ctx.step(kernel, [out, a, b], (*out.shape, a.shape[2]),
             strides=[(*out.strides, 0), (x[0], x[1], 0, x[2]), (y[0], 0, y[1], y[2])], cost=cost)


@lru_cache(8192)
def _kernel(dtype, shape, k):
    """The kernel, and nanoseconds: a multiply-add, and an element that comes from memory; integers run
    slower."""
    batch, m, n = shape
    each, moved = (0.005 * dtype.itemsize, 0.012 * dtype.itemsize) if dtype.kind == "f" else (0.1, 0.0)
    return f"matmul:{CODE[dtype]}", batch * (each * m * n * k + moved * (m * k + k * n + m * n))


def _complex_product(ctx, out, a, b):
    """One product of real matrices: a is read as it lies, real and imaginary parts in turn, and each
    number of b becomes [re im; -im re], so that the result's parts come in turn as well."""
    (batch, m, n), k = out.shape, a.shape[2]
    if m == 1 and n > 1:                # the operand that is spread should be the small one
        m, n, a, b = n, m, b, a
        out = out.reshape((batch, m, n))
    spread = ctx.new((batch, n, 2, k), out.dtype)
    columns = [spread.slice((0, 0, i, 0), (batch, n, i + 1, k)).reshape((batch, n, k)) for i in (0, 1)]
    ctx.computed(f"ew:conj:{CODE[out.dtype]}", out.dtype, (b,), columns[0])
    ctx.copy(columns[1].parts(), b.parts().reverse((3,)))
    rows = a.parts().reshape((batch, m, 2 * k))
    if rows is None:
        rows = ctx.contiguous(a).parts().reshape((batch, m, 2 * k))
    _product(ctx, out.parts().reshape((batch, m, 2 * n)), rows,
             spread.parts().reshape((batch, 2 * n, 2 * k)))


def _dot_work(sig):
    """A product and a sum for each element of the output and each step along the contracted axes."""
    a = sig.in_avals[0]
    return 2 * sig.out.size * math.prod([a.shape[i] for i in sig.params["contract"][0]]), 0


def _scaled(inputs, params, program):
    """A product with a number contracts nothing."""
    for x, number in (inputs, inputs[::-1]):
        if not number.aval.shape and params["batch"] == ((), ()):
            return OPS["mul"], (x, Hooks.lit_like(number.value, x) if type(number) is Lit else (
                OPS["broadcast_in_dim"], (number,), {"shape": x.aval.shape, "dims": ()})), {}
    return None


dot_general = bilinear(
    "dot_general", infer=_dot_infer, transposes=(_transpose_a, _transpose_b), batch=_dot_batch,
    lower=_dot_lower, reference=_dot_reference, simplify=_scaled, reach=products, work=_dot_work,
    samples=[Sample("f64[3,4]", "f64[4,2]", contract=((1,), (0,)), batch=((), ())),
             Sample("f64[3]", "f64[3]", contract=((0,), (0,)), batch=((), ())),
             Sample("f64[2,3,4]", "f64[2,5,4]", contract=((2,), (2,)), batch=((0,), (0,))),
             Sample("f64[3,2]", "f64[4]", contract=((), ()), batch=((), ())),
             Sample("f32[4,2,3]", "f32[3,5,4]", contract=((2, 0), (0, 2)), batch=((), ())),
             Sample("f64[3,0]", "f64[0,2]", contract=((1,), (0,)), batch=((), ())),
             Sample("i64[3,4]", "i64[4,2]", contract=((1,), (0,)), batch=((), ()))],
    errors=[ErrorSample("f64[3,4]", "f64[3,2]", contract=((1,), (0,)), batch=((), ()),
                        match="do not have equal extents"),
            ErrorSample("f64[3]", "f32[3]", contract=((0,), (0,)), batch=((), ()), error=TypeError,
                        match="one dtype")])
