"""Products of arrays: matmul, dot, tensordot and their kin, all lowered to one dot_general.

Axes are named by labels (``contract``), so that an axis which only one operand has stays a free axis
of that operand: no operand is ever repeated in memory to match the other's batch axes.
"""

from __future__ import annotations

import math

import numpy as np

from .. import errors
from ..ir.op import OPS
from .complexes import conjugate
from .core import (
    asvalue,
    aval_of,
    axis_of,
    bind,
    convert,
    implements,
    promote,
    refuse_out,
    result_type,
    shape_of,
)
from .shape import as_array
from .ufuncs import composite

_NO_BATCH = ((), ())

# ----- labelled axes ------------------------------------------------------------------------------


def transposed(x, perm):
    """x with its axes in the order of ``perm``."""
    perm = tuple(perm)
    return x if perm == tuple(range(len(perm))) else OPS["transpose"](x, perm=perm)


def summed(x, labels, gone):
    """x and its labels without those in ``gone``, over which it is summed."""
    axes = tuple([i for i, label in enumerate(labels) if label in gone])
    if not axes:
        return x, labels
    op = OPS["reduce_or" if aval_of(x).dtype == np.bool_ else "reduce_sum"]
    return op(x, axes=axes), [label for label in labels if label not in gone]


def ordered(x, labels, out):
    """x with its axes in the order of the labels ``out``."""
    return transposed(x, [labels.index(label) for label in out])


def _without_ones(x, labels, other_labels, other_shape):
    """x without the axes of extent 1 that broadcast against a longer axis of the other operand."""
    shape = shape_of(x)
    drop = {label for label, n in zip(labels, shape, strict=True)
            if n == 1 and label in other_labels and other_shape[other_labels.index(label)] != 1}
    if not drop:
        return x, labels
    kept = [i for i, label in enumerate(labels) if label not in drop]
    return OPS["reshape"](x, shape=tuple([shape[i] for i in kept])), [labels[i] for i in kept]


def contract(a, la, b, lb, keep):
    """The product of two operands of one dtype, summed over the labels that are not in ``keep``.

    Labels of one operand are distinct. Returns the value and its labels, in dot_general's order.
    """
    shape_a = shape_of(a)
    a, la2 = _without_ones(a, la, lb, shape_of(b))
    b, lb = _without_ones(b, lb, la, shape_a)
    a, la = summed(a, la2, set(la2) - set(lb) - set(keep))
    b, lb = summed(b, lb, set(lb) - set(la) - set(keep))
    shared = [label for label in la if label in lb]
    batch = [label for label in shared if label in keep]
    inner = [label for label in shared if label not in keep]
    free_a = [label for label in la if label not in shared]
    free_b = [label for label in lb if label not in shared]
    if not inner and (batch or not (free_a and free_b)):
        return _elementwise(a, la, b, lb, batch + free_a + free_b)
    out = OPS["dot_general"](
        a, b, contract=(tuple(map(la.index, inner)), tuple(map(lb.index, inner))),
        batch=(tuple(map(la.index, batch)), tuple(map(lb.index, batch))))
    return out, batch + free_a + free_b


def _elementwise(a, la, b, lb, out):
    """A product that sums nothing."""
    extent = dict(zip(la + lb, shape_of(a) + shape_of(b), strict=True))
    shape = tuple([extent[label] for label in out])

    def spread(x, labels):
        inside = [label for label in out if label in labels]
        x = ordered(x, labels, inside)
        if inside == out:
            return x
        return OPS["broadcast_in_dim"](x, shape=shape, dims=tuple(map(out.index, inside)))

    return bind(OPS["mul"], (spread(a, la), spread(b, lb)), {}), out


# ----- matmul and its forms for vectors -----------------------------------------------------------


def _refuse(name, a, b, why):
    return errors.ShapeError(f"{name}: {aval_of(a)} and {aval_of(b)} do not fit: {why}.",
                             "The axes that are summed over need equal lengths; the axes before "
                             "the last two broadcast.")


def _labelled(name, a, core_a, b, core_b, out):
    """A product whose last axes are named, while those before are batch axes that broadcast.

    The label ``k`` is summed over. It must have one extent: 1 does not broadcast there.
    """
    a, b = promote(a, b)
    sa, sb = shape_of(a), shape_of(b)
    na, nb = len(sa) - len(core_a), len(sb) - len(core_b)
    if na < 0 or nb < 0:
        raise errors.ShapeError(
            f"{name}: operands need at least {len(core_a)} and {len(core_b)} axes, got "
            f"{aval_of(a)} and {aval_of(b)}.", "Multiply by a scalar with *.")
    if sa[na + core_a.index("k")] != sb[nb + core_b.index("k")]:
        raise _refuse(name, a, b, f"{sa[na + core_a.index('k')]} and {sb[nb + core_b.index('k')]} "
                                  "elements are to be multiplied and summed")
    for n, m in zip(sa[:na][::-1], sb[:nb][::-1], strict=False):
        if n != m and 1 not in (n, m):
            raise _refuse(name, a, b, f"batch axes {sa[:na]} and {sb[:nb]} do not broadcast")
    lead = max(na, nb)
    la, lb = [*range(lead - na, lead), *core_a], [*range(lead - nb, lead), *core_b]
    value, labels = contract(a, la, b, lb, (*range(lead), *out))
    return ordered(value, labels, [*range(lead), *out])


def _matmul(a, b):
    a, b = asvalue(a), asvalue(b)
    na, nb = len(shape_of(a)), len(shape_of(b))
    if na == 0 or nb == 0:
        raise errors.ShapeError(f"matmul: got the scalar {aval_of(a if na == 0 else b)}, which has no "
                                "axis to sum over.", "Multiply by a scalar with *.")
    if nb <= 2:                     # by far the most frequent: one product, nothing to rearrange
        a, b = promote(a, b)
        sa, sb = shape_of(a), shape_of(b)
        if sa[-1] != sb[0]:
            raise _refuse("matmul", a, b, f"{sa[-1]} and {sb[0]} elements are to be multiplied and summed")
        return OPS["dot_general"](a, b, contract=((na - 1,), (0,)), batch=_NO_BATCH)
    core_a = ["m", "k"] if na > 1 else ["k"]
    return _labelled("matmul", a, core_a, b, ["k", "n"], [*core_a[:-1], "n"])


def _vecdot(a, b):
    return _labelled("vecdot", conjugate(asvalue(a)), ["k"], asvalue(b), ["k"], [])


def _matvec(a, b):
    return _labelled("matvec", asvalue(a), ["m", "k"], asvalue(b), ["k"], ["m"])


def _vecmat(a, b):
    return _labelled("vecmat", conjugate(asvalue(a)), ["k"], asvalue(b), ["k", "n"], ["n"])


for _name, _function in (("matmul", _matmul), ("vecdot", _vecdot), ("matvec", _matvec),
                         ("vecmat", _vecmat)):
    if hasattr(np, _name):          # matvec and vecmat came with NumPy 2.2
        composite(getattr(np, _name))(_function)


def _typed(function, a, b, dtype, out=None, casting=None, order=None, subok=None):
    refuse_out(out)
    a, b = asvalue(a), asvalue(b)
    if dtype is not None:
        a, b = convert(a, dtype), convert(b, dtype)
    return function(a, b)


def _ufunc_like(name):
    """``implements`` of a NumPy function, or our function alone where NumPy is too old to have it."""
    return implements(getattr(np, name)) if hasattr(np, name) else lambda function: function


@implements(np.matmul)
def matmul(x1, x2, /, out=None, *, dtype=None, casting="same_kind", order="K", subok=True):
    """Matrix product; axes before the last two broadcast."""
    return _typed(_matmul, x1, x2, dtype, out)


def _last(x, axis):
    """x with ``axis`` moved to the end."""
    x = asvalue(x)
    ndim = len(shape_of(x))
    axis = axis_of(axis, ndim)
    return transposed(x, [i for i in range(ndim) if i != axis] + [axis])


@implements(np.vecdot)
def vecdot(x1, x2, /, out=None, *, axis=-1, dtype=None, casting="same_kind", order="K", subok=True):
    """Dot products of the vectors along ``axis``; the other axes broadcast."""
    return _typed(_vecdot, _last(x1, axis), _last(x2, axis), dtype, out)


@_ufunc_like("matvec")
def matvec(x1, x2, /, out=None, *, dtype=None, casting="same_kind", order="K", subok=True):
    """Matrices times vectors; axes before those broadcast."""
    return _typed(_matvec, x1, x2, dtype, out)


@_ufunc_like("vecmat")
def vecmat(x1, x2, /, out=None, *, dtype=None, casting="same_kind", order="K", subok=True):
    """Vectors times matrices; axes before those broadcast."""
    return _typed(_vecmat, x1, x2, dtype, out)


# ----- dot and its kin ----------------------------------------------------------------------------


def _strong(x):
    """As these functions see a Python number: an array of the default dtype, which promotes."""
    x = as_array(x)
    return convert(x, aval_of(x).dtype)


@implements(np.dot, method="dot")
def dot(a, b, out=None):
    """NumPy's dot: sums over the last axis of ``a`` and the last but one of ``b``."""
    refuse_out(out)
    a, b = promote(_strong(a), _strong(b))
    sa, sb = shape_of(a), shape_of(b)
    if not sa or not sb:
        return np.multiply(a, b)
    at = max(len(sb) - 2, 0)
    if sa[-1] != sb[at]:
        raise _refuse("dot", a, b, f"{sa[-1]} and {sb[at]} elements are to be multiplied and summed")
    return OPS["dot_general"](a, b, contract=((len(sa) - 1,), (at,)), batch=_NO_BATCH)


def _flat(x):
    n = math.prod(shape_of(x))
    return x if shape_of(x) == (n,) else np.reshape(x, (n,))


@implements(np.vdot)
def vdot(a, b, /):
    """Dot product of two arrays read as vectors."""
    a, b = promote(_strong(a), _strong(b))
    return dot.traced(conjugate(_flat(a)), _flat(b))


@implements(np.inner)
def inner(a, b, /):
    """Sums the product over the last axis of both."""
    a, b = promote(_strong(a), _strong(b))
    sa, sb = shape_of(a), shape_of(b)
    if not sa or not sb:
        return np.multiply(a, b)
    if sa[-1] != sb[-1]:
        raise _refuse("inner", a, b, f"{sa[-1]} and {sb[-1]} elements are to be multiplied and summed")
    return OPS["dot_general"](a, b, contract=((len(sa) - 1,), (len(sb) - 1,)), batch=_NO_BATCH)


@implements(np.outer)
def outer(a, b, out=None):
    """All products of the elements of two arrays, which are read as vectors."""
    refuse_out(out)
    a, b = promote(_strong(a), _strong(b))
    return OPS["dot_general"](_flat(a), _flat(b), contract=((), ()), batch=_NO_BATCH)


@implements(np.tensordot)
def tensordot(a, b, axes=2):
    """Sums over given axes of both: the last ``axes`` of a with the first of b, or pairs of axes."""
    a, b = promote(a, b)
    sa, sb = shape_of(a), shape_of(b)
    if hasattr(axes, "__len__") or hasattr(axes, "__iter__"):
        axes_a, axes_b = axes
        axes_a = list(axes_a) if hasattr(axes_a, "__iter__") else [axes_a]
        axes_b = list(axes_b) if hasattr(axes_b, "__iter__") else [axes_b]
    else:
        n = axes.__index__()
        if n > min(len(sa), len(sb)):
            raise _refuse("tensordot", a, b, f"axes={n} is more than they have")
        axes_a, axes_b = list(range(len(sa) - n, len(sa))), list(range(n))
    axes_a = tuple([axis_of(i, len(sa)) for i in axes_a])
    axes_b = tuple([axis_of(i, len(sb)) for i in axes_b])
    if [sa[i] for i in axes_a] != [sb[i] for i in axes_b]:
        raise _refuse("tensordot", a, b, f"axes {axes_a} and {axes_b} have other lengths")
    for chosen in (axes_a, axes_b):
        if len(set(chosen)) != len(chosen):
            raise errors.AxisError(f"tensordot: axes {chosen} name an axis twice.",
                                   "Name each axis once.", axis=chosen[0], ndim=len(sa))
    return OPS["dot_general"](a, b, contract=(axes_a, axes_b), batch=_NO_BATCH)


# ----- cross --------------------------------------------------------------------------------------


@implements(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """Cross products of vectors of 3 (or 2) components along an axis."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _last(a, axisa), _last(b, axisb)
    na, nb = shape_of(a)[-1], shape_of(b)[-1]
    if na not in (2, 3) or nb not in (2, 3):
        raise errors.ShapeError(f"cross: vectors must have 2 or 3 components, got {aval_of(a)} and "
                                f"{aval_of(b)}.", "Say with axis= where the components are.")
    dtype = result_type(a, b)
    a0, a1, a2 = _components(convert(a, dtype))
    b0, b1, b2 = _components(convert(b, dtype))
    c2 = a0 * b1 - a1 * b0
    if na == nb == 2:
        return c2
    c0 = a1 * b2 if a2 is None else -(a2 * b1) if b2 is None else a1 * b2 - a2 * b1
    c1 = -(a0 * b2) if a2 is None else a2 * b0 if b2 is None else a2 * b0 - a0 * b2
    return np.stack([c0, c1, c2], axis=axis_of(axisc, len(shape_of(c2)) + 1))


def _components(x):
    """The components along the last axis; None for a missing third."""
    parts = [x[..., i] for i in range(shape_of(x)[-1])]
    return parts if len(parts) == 3 else [*parts, None]


__all__ = ["matmul", "vecdot", "matvec", "vecmat", "dot", "vdot", "inner", "outer", "tensordot", "cross"]
