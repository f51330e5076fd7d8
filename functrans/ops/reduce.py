"""Reductions and cumulative ops."""

from __future__ import annotations

import numpy as np

from ..ir.op import (
    BITS,
    CODE,
    FLOAT,
    NUMBER,
    OPS,
    ORDERED,
    REAL,
    ErrorSample,
    Hooks,
    Op,
    Sample,
    aval_of,
    flat,
    linear,
)
from .elementwise import add, convert, div, eq, mul, softmax_of_two, sub, zmul
from .reach import running_sums, sums
from .shape import broadcast_in_dim, rev

# ----- reductions over axes ----------------------------------------------------------------------------


def _without(shape, axes):
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def _spread_back(x, shape, axes):
    """x, reduced over ``axes`` of ``shape``, repeated along them again."""
    return broadcast_in_dim(x, shape=shape, dims=tuple([i for i in range(len(shape)) if i not in axes]))


def _reduce_infer(name, dtypes, identity):
    def infer(x, *, axes):
        if list(axes) != sorted(set(axes)) or any(not 0 <= a < x.ndim for a in axes):
            raise ValueError(f"{name}: axes {axes} are not axes of {x}")
        if CODE.get(x.dtype) not in dtypes:
            raise TypeError(f"{name} is not defined for {x}")
        if not identity and any(x.shape[a] == 0 for a in axes):
            raise ValueError(f"{name} over the empty axes {axes} of {x} has no identity")
        return _without(x.shape, axes), x.dtype
    return infer


def _joined(sig):
    """n elements are joined by n - 1 operations."""
    return max(sig.in_avals[0].size - sig.out.size, 0), 0


def _reduce_lower(kind):
    def lower(ctx, eqn, views):
        return [ctx.reduce(f"reduce:{kind}:{CODE[views[0].dtype]}", eqn.outs[0].aval, views[0],
                           eqn.params["axes"])]
    return lower


def _reduce_batch(name):
    def batch(size, operands, dims, *, axes):
        (d,) = dims
        moved = tuple([a + (a >= d) for a in axes])
        return [OPS[name](operands[0], axes=moved)], [d - sum(a < d for a in moved)]
    return batch


def _sum_of_updates(e, axes):
    """The sum of what ``scatter_add`` put into zeros is that of its updates, if they are fewer and none is
    left out."""
    zeros, updates, *indices = e.inputs
    batch, k = e.params.get("batch", 0), len(indices)
    if getattr(zeros, "value", None) != 0 or zeros.aval.dtype.kind == "b" or e.params["mode"] == "drop" or (
            updates.aval.size >= zeros.aval.size or not set(axes).issuperset(range(batch, batch + k))):
        return None
    end = indices[0].aval.ndim                  # of the axes that count updates
    kept = [a if a < batch else a - batch - k + end for a in axes if not batch <= a < batch + k]
    return OPS["reduce_sum"], (updates,), {"axes": tuple(sorted([*kept, *range(batch, end)]))}


def _reduced(kind):
    """Over axes of one element it is a reshape; of what a broadcast repeated, one element or a product; a
    sum of negated or scattered values is made of fewer. Of negated ones it is 0 minus the sum: values that
    cancel sum to 0.0, negated or not."""
    def simplify(inputs, params, program):
        (x,), axes = inputs, params["axes"]
        shape = x.aval.shape
        if not axes:
            return x
        if all(shape[a] == 1 for a in axes):
            return OPS["reshape"], (x,), {"shape": _without(shape, axes)}
        if kind == "sum" and program.final:
            if e := program.made_by(x, "neg"):
                zero = Hooks.lit_like(0, x.aval.with_shape(_without(shape, axes)))
                return OPS["sub"], (zero, (OPS["reduce_sum"], e.inputs, params)), {}
            if (e := program.made_by(x, "scatter_add")) and (found := _sum_of_updates(e, axes)):
                return found
        e = program.made_by(x, "broadcast_in_dim")
        if e is None or kind == "prod" or x.aval.size == 0:
            return None
        (source,), dims = e.inputs, e.params["dims"]
        same = [i for i, d in enumerate(dims) if source.aval.shape[i] == shape[d]]
        repeated = [a for a in axes if a not in [dims[i] for i in same]]
        if not repeated:
            return None
        kept = [a for a in range(len(shape)) if a not in repeated]
        inner: tuple = (OPS["reshape"], (source,), {
            "shape": tuple([n for n, d in zip(source.aval.shape, dims, strict=True) if d in kept])})
        inner = (broadcast_in_dim, (inner,), {
            "shape": _without(shape, repeated), "dims": tuple([kept.index(d) for d in dims if d in kept])})
        if kind == "sum":
            count = float(np.prod([shape[a] for a in repeated])) if x.aval.dtype.kind == "f" else (
                int(np.prod([shape[a] for a in repeated])))
            inner = (mul, (inner, Hooks.lit_like(count, x.aval.with_shape(_without(shape, repeated)))), {})
        rest = tuple([kept.index(a) for a in axes if a not in repeated])
        return OPS[f"reduce_{kind}"], (inner,), {"axes": rest}
    return simplify


_SAMPLES = [Sample("f64[3,4]", axes=(0,)), Sample("f64[3,4]", axes=(0, 1)),
            Sample("f32[2,3,4]", axes=(0, 2)), Sample("f64[3]", axes=()), Sample("i64[3,4]", axes=(1,))]
_WITH_EMPTY = [*_SAMPLES, Sample("f64[0,2]", axes=(0,)), Sample("f64[2,0]", axes=(0,))]
_ERRORS = [ErrorSample("f64[3]", axes=(1,), match="not axes")]


def reduction(kind, numpy_name, *, dtypes, identity, jvp, transpose=None, samples=_SAMPLES, **rest):
    """A record of the family: shape, batching and lowering follow from the name."""
    name = f"reduce_{kind}"
    common = {"infer": _reduce_infer(name, dtypes, identity), "batch": _reduce_batch(name),
              "lower": _reduce_lower(kind), "dtypes": dtypes, "errors": _ERRORS,
              "reference": lambda x, *, axes: getattr(np, numpy_name)(x, axis=axes).astype(x.dtype),
              "samples": samples, "family": "reduction", "work": _joined,
              "by": OPS[{"sum": "add", "prod": "mul"}.get(kind, kind)], "simplify": _reduced(kind), **rest}
    if transpose is not None:
        return linear(name, transpose=transpose, **common)
    if jvp is None:
        return flat(name, **common)
    return Op(name, common.pop("family"), jvp=jvp, transpose=None, **common)


reduce_sum = reduction(
    "sum", "sum", dtypes=NUMBER, identity=True, jvp=None, samples=_WITH_EMPTY, reach=sums,
    transpose=lambda cts, operands, *, axes: [_spread_back(cts[0], operands[0].aval.shape, axes)])


def _weighted(t, weights, axes):
    """Sum of strong-zero products along axes: the tangent of a reduction with these partials."""
    return reduce_sum(zmul(t, weights), axes=axes)


def _extremum_jvp(name):
    def jvp(primals, tangents, *, axes):
        (x,), (t,) = primals, tangents
        out = OPS[name](x, axes=axes)
        if isinstance(t, Hooks.zero):
            return [out], [Hooks.zero(aval_of(out))]
        shape, dtype = aval_of(x).shape, aval_of(x).dtype
        hit = convert(eq(x, _spread_back(out, shape, axes)), dtype=dtype)
        count = reduce_sum(hit, axes=axes)          # ties share equally
        return [out], [_weighted(t, mul(hit, _spread_back(div(1.0, count), shape, axes)), axes)]
    return jvp


def _prod_jvp(primals, tangents, *, axes):
    """Each partial is the product of all other elements: prefix times suffix, exact with zeros."""
    (x,), (t,) = primals, tangents
    out = reduce_prod(x, axes=axes)
    if isinstance(t, Hooks.zero):
        return [out], [Hooks.zero(aval_of(out))]
    shape = aval_of(x).shape
    kept = [i for i in range(len(shape)) if i not in axes]
    rows = _without(shape, axes)
    n = int(np.prod([shape[a] for a in axes], dtype=np.int64))

    def flat_rows(v):
        return OPS["reshape"](OPS["transpose"](v, perm=(*kept, *axes)), shape=(*rows, n))

    flat_x, axis = flat_rows(x), len(rows)
    ahead = _exclusive_product(flat_x, axis, False)
    behind = _exclusive_product(flat_x, axis, True)
    return [out], [_weighted(flat_rows(t), mul(ahead, behind), (axis,))]


def _exclusive_product(x, axis, reverse):
    shape = aval_of(x).shape
    ones = Hooks.lit_like(1, aval_of(x).dtype.type(1))
    at = tuple([int(i == axis) for i in range(len(shape))])
    zeros = (0,) * len(shape)
    low, high = (tuple([-v for v in at]), at) if reverse else (at, tuple([-v for v in at]))
    return OPS["cumprod"](OPS["pad"](x, ones, low=low, high=high, interior=zeros), axis=axis,
                          reverse=reverse)


reduce_prod = reduction("prod", "prod", dtypes=NUMBER, identity=True, jvp=_prod_jvp,
                        samples=_WITH_EMPTY)
reduce_max = reduction("max", "max", dtypes=ORDERED, identity=False, jvp=_extremum_jvp("reduce_max"))
reduce_min = reduction("min", "min", dtypes=ORDERED, identity=False, jvp=_extremum_jvp("reduce_min"))
_BIT_SAMPLES = [Sample("bool[3,4]", axes=(0,)), Sample("i64[3,4]", axes=(0, 1)),
                Sample("bool[0,2]", axes=(0,))]
reduce_and = reduction("and", "all", dtypes=BITS, identity=True, jvp=None, samples=_BIT_SAMPLES)
reduce_or = reduction("or", "any", dtypes=BITS, identity=True, jvp=None, samples=_BIT_SAMPLES)
reduce_xor = reduction("xor", "logical_xor", dtypes=BITS, identity=True, jvp=None, samples=_BIT_SAMPLES,
                       simplify=None)
for _op, _ufunc in ((reduce_and, np.bitwise_and), (reduce_or, np.bitwise_or), (reduce_xor, np.bitwise_xor)):
    _op.reference = lambda x, *, axes, ufunc=_ufunc: ufunc.reduce(x, axis=axes)


# ----- positions of extrema --------------------------------------------------------------------------


def _arg(kind):
    name = f"arg{kind}"

    def infer(x, *, axis):
        if not 0 <= axis < x.ndim:
            raise ValueError(f"{name}: axis {axis} is not an axis of {x}")
        if x.dtype.kind == "c":
            raise TypeError(f"{name} is not defined for {x}")
        if x.shape[axis] == 0:
            raise ValueError(f"{name} along the empty axis {axis} of {x} has no answer")
        return _without(x.shape, (axis,)), np.dtype("int64")

    def batch(size, operands, dims, *, axis):
        (d,) = dims
        moved = axis + (axis >= d)
        return [OPS[name](operands[0], axis=moved)], [d - (moved < d)]

    def lower(ctx, eqn, views):
        (x,), axis = views, eqn.params["axis"]
        out = ctx.new(eqn.outs[0].aval)
        kept = [i for i in range(len(x.shape)) if i != axis]
        moved = x.transpose((*kept, axis))
        ctx.step(f"argreduce:{kind}:{CODE[x.dtype]}", [out, moved], moved.shape,
                 strides=[(*out.strides, 0), moved.strides], ints=(len(kept),))
        return [out]

    return flat(name, family="reduction", dtypes=ORDERED, infer=infer, batch=batch, lower=lower,
                work=_joined,
                reference=lambda x, *, axis: getattr(np, name)(x, axis=axis),
                samples=[Sample("f64[3,4]", axis=0), Sample("f32[3,4]", axis=1), Sample("i64[5]", axis=0)],
                errors=[ErrorSample("f64[3]", axis=1, match="not an axis"),
                        ErrorSample("f64[0]", axis=0, match="no answer")])


argmax, argmin = _arg("max"), _arg("min")


# ----- cumulative ops ----------------------------------------------------------------------------------


def _cumulative(kind, dtypes, *, jvp=None, transpose=None, reference, reach=None):
    name = f"cum{kind}"

    def infer(x, *, axis, reverse):
        if not 0 <= axis < x.ndim:
            raise ValueError(f"{name}: axis {axis} is not an axis of {x}")
        if CODE.get(x.dtype) not in dtypes:
            raise TypeError(f"{name} is not defined for {x}")
        return x.shape, x.dtype

    def batch(size, operands, dims, *, axis, reverse):
        (d,) = dims
        return [OPS[name](operands[0], axis=axis + (axis >= d), reverse=reverse)], [d]

    def lower(ctx, eqn, views):
        (x,), axis = views, eqn.params["axis"]
        out = ctx.new(eqn.outs[0].aval)
        perm = (*[i for i in range(len(x.shape)) if i != axis], axis)
        a, b = out.transpose(perm), x.transpose(perm)
        ctx.step(f"cumulative:{kind}:{CODE[x.dtype]}", [a, b], b.shape, ints=(int(eqn.params["reverse"]),))
        return [out]

    def full_reference(x, *, axis, reverse):
        return np.flip(reference(np.flip(x, axis), axis), axis) if reverse else reference(x, axis)

    def work(sig):
        (x,) = sig.in_avals
        n = x.size - x.size // max(x.shape[sig.params["axis"]], 1)
        return (0, n) if kind == "logsumexp" else (n, 0)

    common = {"infer": infer, "batch": batch, "lower": lower, "dtypes": dtypes, "family": "cumulative",
              "work": work, "reach": reach,
              "reference": full_reference,
              "samples": [Sample("f64[3,4]", axis=0, reverse=False), Sample("f64[5]", axis=0, reverse=True),
                          Sample("f32[2,3]", axis=1, reverse=False), Sample("f64[0,2]", axis=0,
                                                                            reverse=False)],
              "errors": [ErrorSample("f64[3]", axis=1, reverse=False, match="not an axis")]}
    if transpose is not None:
        return linear(name, transpose=transpose, **common)
    return Op(name, common.pop("family"), jvp=jvp, transpose=None, **common)


cumsum = _cumulative("sum", NUMBER, reach=running_sums,
                     reference=lambda x, axis: np.cumsum(x, axis).astype(x.dtype),
                     transpose=lambda cts, operands, *, axis, reverse: [
                         cumsum(cts[0], axis=axis, reverse=not reverse)])


def _pair_scan(values, tangents, combine, axis, reverse):
    """Tangents of a cumulative op by pairwise doubling: log2(n) sweeps of whole-array ops.

    ``combine(a, ta, b, tb) -> (value, tangent)`` joins a prefix with what follows it.
    """
    n = aval_of(values).shape[axis]
    if reverse:
        values, tangents = rev(values, axes=(axis,)), rev(tangents, axes=(axis,))
    step = 1
    while step < n:
        head_v, head_t = _cut(values, axis, 0, step), _cut(tangents, axis, 0, step)
        v, t = combine(_cut(values, axis, 0, n - step), _cut(tangents, axis, 0, n - step),
                       _cut(values, axis, step, n), _cut(tangents, axis, step, n))
        values = OPS["concatenate"](head_v, v, axis=axis)
        tangents = OPS["concatenate"](head_t, t, axis=axis)
        step *= 2
    return rev(tangents, axes=(axis,)) if reverse else tangents


def _cut(x, axis, start, limit):
    shape = aval_of(x).shape
    return OPS["slice"](x, start=tuple([start if i == axis else 0 for i in range(len(shape))]),
                        limit=tuple([limit if i == axis else n for i, n in enumerate(shape)]),
                        stride=(1,) * len(shape))


def _cumulative_jvp(name, combine):
    def jvp(primals, tangents, *, axis, reverse):
        out = OPS[name](primals[0], axis=axis, reverse=reverse)
        if isinstance(tangents[0], Hooks.zero):
            return [out], [Hooks.zero(aval_of(out))]
        return [out], [_pair_scan(primals[0], tangents[0], combine, axis, reverse)]
    return jvp


def _prod_pair(a, ta, b, tb):
    return mul(a, b), add(zmul(ta, b), zmul(tb, a))


def _extremum_pair(op_name):
    def combine(a, ta, b, tb):
        first = OPS["share"](*((a, b) if op_name == "max" else (b, a)))
        return OPS[op_name](a, b), add(zmul(ta, first), zmul(tb, sub(1.0, first)))
    return combine


def _logaddexp_pair(a, ta, b, tb):
    share = softmax_of_two(a, b)
    return OPS["logaddexp"](a, b), add(zmul(ta, share), zmul(tb, sub(1.0, share)))


cumprod = _cumulative("prod", NUMBER, reference=lambda x, axis: np.cumprod(x, axis).astype(x.dtype),
                      jvp=_cumulative_jvp("cumprod", _prod_pair))
cummax = _cumulative("max", REAL, reference=lambda x, axis: np.maximum.accumulate(x, axis),
                     jvp=_cumulative_jvp("cummax", _extremum_pair("max")))
cummin = _cumulative("min", REAL, reference=lambda x, axis: np.minimum.accumulate(x, axis),
                     jvp=_cumulative_jvp("cummin", _extremum_pair("min")))
cumlogsumexp = _cumulative("logsumexp", FLOAT, jvp=_cumulative_jvp("cumlogsumexp", _logaddexp_pair),
                           reference=lambda x, axis: np.logaddexp.accumulate(x, axis))
