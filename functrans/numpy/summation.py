"""np.einsum: subscripts are parsed into labels, pairs of operands go to dot_general."""

from __future__ import annotations

import functools
import string

import numpy as np

from .. import errors
from ..ir.op import OPS
from .core import asvalue, aval_of, convert, implements, is_number, refuse_out, result_type, shape_of
from .products import contract, ordered, summed, transposed

# A label is a letter, or ("...", n): the n-th ellipsis axis, counted from the last.

# ----- subscripts ---------------------------------------------------------------------------------


def _split(text, what):
    """A term of the subscripts as letters and Ellipsis."""
    text = text.replace(" ", "")
    head, dots, tail = text.partition("...")
    for letter in head + tail:
        if letter == ".":
            raise ValueError(f"einsum: {what} has a '.' that is not part of an ellipsis ('...')")
        if letter not in string.ascii_letters:
            raise ValueError(f"einsum: invalid subscript {letter!r} in {what}, subscripts must be letters")
    return [*head, *([Ellipsis] if dots else []), *tail]


def _parse(operands):
    """The operands, the labels of each, and the output's (None: implicit), with Ellipsis in them."""
    if operands and isinstance(operands[0], str):
        text, values = operands[0], list(operands[1:])
        left, arrow, right = text.partition("->")
        if "-" in left + right or ">" in left + right:
            raise ValueError(f"einsum: subscripts {text!r} can have only one '->'")
        terms = [_split(t, f"operand {i} of {text!r}") for i, t in enumerate(left.split(","))]
        out = _split(right, f"the output of {text!r}") if arrow else None
    else:
        values, terms = list(operands[0:len(operands) // 2 * 2:2]), list(operands[1::2])
        out = operands[-1] if len(operands) % 2 else None
        terms = [_numbered(t) for t in terms]
        out = None if out is None else _numbered(out)
    if len(values) != len(terms):
        more = "more" if len(values) > len(terms) else "fewer"
        raise ValueError(f"einsum: {more} operands provided than specified in the subscripts: "
                         f"{len(values)} for {len(terms)} terms")
    if not values:
        raise ValueError("einsum: no operands")
    return [asvalue(v) for v in values], terms, out


def _numbered(labels):
    """A list of axis numbers, as the interleaved form has, as letters of the same order."""
    out = []
    for label in labels:
        if label is Ellipsis:
            out.append(label)
            continue
        try:
            n = label.__index__()
        except AttributeError:
            raise TypeError("einsum: each subscript must be either an integer or an ellipsis, got "
                            f"{label!r}") from None
        if not 0 <= n < 52:
            raise ValueError(f"einsum: subscript {n} is not within the valid range [0, 52)")
        out.append(sorted(string.ascii_letters)[n])
    return out


def _expand(term, ndim, index):
    """The labels of one operand, its ellipsis spelled out."""
    named = len([t for t in term if t is not Ellipsis])
    if term.count(Ellipsis) > 1:
        raise ValueError(f"einsum: operand {index} has more than one ellipsis")
    extra = ndim - named
    if extra < 0:
        raise ValueError(f"einsum: too many subscripts for operand {index}, which has {ndim} axes")
    if Ellipsis not in term:
        if extra:
            raise ValueError(f"einsum: operand {index} has {ndim} axes but {named} subscripts, and no "
                             "'...' for the others")
        return list(term)
    at = term.index(Ellipsis)
    return [*term[:at], *_dots(extra), *term[at + 1:]]


def _dots(n):
    return [("...", i) for i in range(n - 1, -1, -1)]


def _output(out, labels):
    """The labels of the result."""
    n_dots = max([len([x for x in ls if isinstance(x, tuple)]) for ls in labels], default=0)
    everything = [x for ls in labels for x in ls]
    if out is None:
        named = sorted({x for x in everything if isinstance(x, str)})
        return [*_dots(n_dots), *[x for x in named if everything.count(x) == 1]]
    for x in out:
        if x is not Ellipsis and x not in everything:
            raise ValueError(f"einsum: the output subscript {x!r} never appeared in an input")
        if out.count(x) > 1:
            raise ValueError(f"einsum: the output names {x!r} more than once")
    if Ellipsis not in out:
        if n_dots:
            raise ValueError("einsum: the output needs an '...' for the broadcast axes of the operands")
        return list(out)
    at = out.index(Ellipsis)
    return [*out[:at], *_dots(n_dots), *out[at + 1:]]


# ----- contraction --------------------------------------------------------------------------------


def _diagonals(x, labels, index):
    """x with one axis per label: of axes that share a label, the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            shape = shape_of(x)
            if shape[i] != shape[j]:
                raise errors.ShapeError(
                    f"einsum: operand {index}, {aval_of(x)}, names axes {i} and {j} alike, but they "
                    "differ.", "A diagonal needs equal extents.")
            x = _diagonal(x, i, j)
            labels = [k for n, k in enumerate(labels) if n not in (i, j)] + [label]
    return x, labels


def _diagonal(x, i, j):
    """The diagonal of axes i and j as the last axis: every (n+1)-th element of both in one."""
    shape = shape_of(x)
    rest = [k for k in range(len(shape)) if k not in (i, j)]
    n = shape[i]
    lead = tuple([shape[k] for k in rest])
    flat = OPS["reshape"](transposed(x, (*rest, i, j)), shape=(*lead, n * n))
    zeros, ones = (0,) * len(lead), (1,) * len(lead)
    return OPS["slice"](flat, start=(*zeros, 0), limit=(*lead, n * n), stride=(*ones, n + 1))


def _check_extents(values, labels):
    extent: dict = {}
    for x, ls in zip(values, labels, strict=True):
        for label, n in zip(ls, shape_of(x), strict=True):
            known = extent.setdefault(label, n)
            if n != known and 1 not in (n, known):
                name = label if isinstance(label, str) else "..."
                raise errors.ShapeError(
                    f"einsum: operands {', '.join(str(aval_of(v)) for v in values)} could not be "
                    f"broadcast together: {name!r} is {known} in one and {n} in another.",
                    "Axes of one subscript must be equal, or 1.")
            if known == 1:
                extent[label] = n


@functools.lru_cache(1024)
def _path(text, shapes, optimize):
    dummies = [np.broadcast_to(np.float64(0), s) for s in shapes]
    return tuple(np.einsum_path(text, *dummies, optimize=list(optimize) if isinstance(optimize, tuple)
                                else optimize)[0][1:])


def _order(values, labels, out, optimize):
    """Pairs (or larger groups) of operands to contract, as positions in the list that shrinks."""
    if len(values) <= 2:
        return [tuple(range(len(values)))]
    if optimize is False or optimize is None:
        optimize = True
    if isinstance(optimize, list):
        optimize = tuple(optimize)
    names = dict(zip(dict.fromkeys(x for ls in labels for x in ls), string.ascii_letters, strict=False))
    if len({x for ls in labels for x in ls}) > len(names):
        return [(0, 1)] * (len(values) - 1)
    terms = ["".join([names[x] for x in ls]) for ls in labels]
    text = ",".join(terms) + "->" + "".join([names[x] for x in out])
    return _path(text, tuple([shape_of(v) for v in values]), optimize)


@implements(np.einsum)
def einsum(*operands, out=None, optimize=False, dtype=None, order="K", casting="safe"):
    """Sums of products of arrays, in Einstein's notation.

    Three operands and more are contracted in pairs, in the order that np.einsum_path finds.
    """
    refuse_out(out)
    values, terms, target = _parse(operands)
    labels = [_expand(t, len(shape_of(v)), i)
              for i, (t, v) in enumerate(zip(terms, values, strict=True))]
    keep = _output(target, labels)
    common = result_type(*[_strong(v) for v in values])
    if dtype is not None:
        if not np.can_cast(common, dtype, casting):
            raise errors.DtypeError(f"einsum: cannot cast {common} to {np.dtype(dtype)} with "
                                    f"casting={casting!r}.", "Convert the operands with astype.")
        common = np.dtype(dtype)
    values = [convert(v, common) for v in values]
    pairs = [_diagonals(v, ls, i) for i, (v, ls) in enumerate(zip(values, labels, strict=True))]
    values, labels = [list(group) for group in zip(*pairs, strict=True)]
    _check_extents(values, labels)
    for group in _order(values, labels, keep, optimize):
        chosen = [(values[i], labels[i]) for i in sorted(group)]
        values = [v for i, v in enumerate(values) if i not in group]
        labels = [ls for i, ls in enumerate(labels) if i not in group]
        x, lx = chosen[0]
        for n, (y, ly) in enumerate(chosen[1:], 2):
            later = {k for _, ls in chosen[n:] for k in ls} | {k for ls in labels for k in ls}
            x, lx = contract(x, lx, y, ly, later | set(keep))
        if len(chosen) == 1:
            x, lx = summed(x, lx, set(lx) - set(keep))
        values.append(x)
        labels.append(lx)
    (x,), (lx,) = values, labels
    return ordered(x, lx, keep)


def _strong(v):
    """einsum takes Python numbers as arrays of their own dtype."""
    return np.asarray(v).dtype if is_number(v) else aval_of(v).dtype


__all__ = ["einsum"]
