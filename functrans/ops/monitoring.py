"""What monitors look at: tags, which mark values under a name, and statistics of arrays."""

from __future__ import annotations

import numpy as np

from ..ir.op import CODE, ErrorSample, Hooks, Op, Sample, linear

# ----- tags ----------------------------------------------------------------------------------------------

KINDS = ("value", "tangent", "gradient")
_TURNED = {"value": "gradient", "tangent": "gradient", "gradient": "tangent"}
# Elements from which a tag keeps its place in a program that runs. What groups compute does then not depend
# on whether the value is looked at, and so do no bits; smaller values are in no group.
_PINNED = 64


class Wanted:
    """The name of a value that a monitor will look at: no pass drops it, also where nothing else needs it."""

    effect = True

    def __init__(self, name: str):
        self.name = name

    def __eq__(self, other):
        return type(other) is Wanted and self.name == other.name

    def __hash__(self):
        return hash((Wanted, self.name))

    def __repr__(self):
        return self.name


def plain(name: str | Wanted) -> str:
    return name.name if isinstance(name, Wanted) else name


def _tag_infer(x, *, name, kind):
    if not isinstance(plain(name), str) or kind not in KINDS:
        raise TypeError(f"tag: name={name!r} must be a string, kind={kind!r} one of {', '.join(KINDS)}")
    return x.shape, x.dtype


def _tag_jvp(primals, tangents, *, name, kind):
    """Of a gradient that is differentiated again, the outer one will be the one with the name."""
    (x,), (t,) = primals, tangents
    if kind == "gradient":
        return [x], [t]
    return [tag(x, name=name, kind=kind)], [
        t if isinstance(t, Hooks.zero) else tag(t, name=plain(name), kind="tangent")]


def _tag_lower(ctx, eqn, views):
    """A step that does nothing, for which the value has to be in memory: statistics of no arrays."""
    ctx.step("statistics:f32", [views[0]], (), ints=(0, 4), strides=[()], cost=0.0, nouts=0)
    return views


tag = linear(
    "tag", infer=_tag_infer, jvp=_tag_jvp, lower=_tag_lower,
    transpose=lambda cts, operands, *, name, kind: [tag(cts[0], name=plain(name), kind=_TURNED[kind])],
    always=True,            # of a gradient that is a constant, too
    batch=lambda size, operands, dims, *, name, kind: ([tag(*operands, name=name, kind=kind)], dims),
    simplify=lambda inputs, params, program: (
        inputs[0] if program.final and inputs[0].aval.size < _PINNED else None),
    reference=lambda x, *, name, kind: x,
    samples=[Sample("f64[3]", name="x", kind="value"), Sample("f32[40,2]", name="y", kind="gradient")],
    errors=[ErrorSample("f64[3]", name=3, kind="value", error=TypeError, match="must be a string"),
            ErrorSample("f64[3]", name="x", kind="other", error=TypeError, match="one of value")])


# ----- statistics ----------------------------------------------------------------------------------------

# Columns of a row of results (kernels/statistics.h); of finite elements alone from the fourth on.
COLUMNS = ("count", "zeros", "nonfinite", "sum", "squares", "max", "minus_min")
EXTREMES = (5, 6)                   # two rows become one by the greater element here, by the sum elsewhere
POWERS = 774


def bucket_limits() -> np.ndarray:
    """The limits of TensorBoard's buckets: an element is in the first one whose limit is greater."""
    positive = np.multiply.accumulate([1e-12, *[1.1] * (POWERS - 1)])
    return np.concatenate([-positive[::-1], [0.0], positive, [np.finfo(float).max]])


BUCKETS = 2 * POWERS + 2


def _statistics_infer(*avals, bins):
    if not avals or len({a.dtype for a in avals}) > 1 or CODE.get(avals[0].dtype) not in ("f32", "f64"):
        raise TypeError(f"statistics takes arrays of one dtype, float32 or float64, "
                        f"got {', '.join(map(str, avals))}")
    return (len(avals), len(COLUMNS) + (BUCKETS if bins else 0)), np.dtype(float)


def _statistics_reference(*arrays, bins):
    rows = []
    for x in arrays:
        x = x.astype(float).ravel()
        finite = x[np.isfinite(x)]
        row = [x.size, np.sum(x == 0), x.size - finite.size, np.sum(finite), np.sum(finite * finite),
               np.max(finite, initial=-np.inf), np.max(-finite, initial=-np.inf)]
        if bins:
            row += np.bincount(np.searchsorted(bucket_limits(), finite, "right"), minlength=BUCKETS).tolist()
        rows.append(row)
    return np.array(rows, float)


def _in_any_order(view):
    """The elements side by side, in the order in which they lie in memory."""
    order = sorted(range(len(view.shape)), key=lambda d: -view.strides[d])
    return view.transpose(tuple(order))


_NS = {"f32": 0.17, "f64": 0.25}        # an element, one thread


def _statistics_lower(ctx, eqn, views):
    out = ctx.new(eqn.sig.out)
    arrays = [ctx.contiguous(_in_any_order(v)) for v in views]
    sizes = [a.size for a in eqn.sig.in_avals]
    code = CODE[eqn.sig.in_avals[0].dtype]
    ctx.step(f"statistics:{code}", [out, *arrays], (),
             ints=(int(eqn.params["bins"]), eqn.sig.in_avals[0].dtype.itemsize, *sizes),
             strides=[()] * (1 + len(sizes)),
             cost=sum(sizes) * (3.0 if eqn.params["bins"] else _NS[code]) + 20.0 * len(sizes))
    return [out]


# Of each operand, a row: all its elements together, those of a batch as well.
statistics = Op(
    "statistics", "effect", infer=_statistics_infer, reference=_statistics_reference,
    lower=_statistics_lower, jvp=lambda primals, tangents, *, bins: (
        [out := statistics(*primals, bins=bins)], [Hooks.zero(Hooks.aval_of(out))]),
    transpose=None,
    batch=lambda size, operands, dims, *, bins: ([statistics(*operands, bins=bins)], [None]),
    work=lambda sig: (8 * sum([a.size for a in sig.in_avals]), 0),
    samples=[Sample("f64[3]", bins=False, diff=[]),
             Sample("f32[3,5]", "f32[0]", "f32[]", bins=False, diff=[]),
             Sample("f64[7,3]", bins=True, diff=[])],
    errors=[ErrorSample("i32[3]", bins=False, error=TypeError, match="float32 or float64"),
            ErrorSample("f64[3]", "f32[3]", bins=False, error=TypeError, match="of one dtype")])

__all__ = ["BUCKETS", "COLUMNS", "EXTREMES", "KINDS", "Wanted", "bucket_limits", "plain", "statistics", "tag"]
