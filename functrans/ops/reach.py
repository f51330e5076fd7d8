"""Which elements of a linear op's result depend on which of its operands': the ``reach`` of the records.

Positions count in C order. A rule gives for each operand ``SAME``, ``ALL``, None, a pair of arrays
``(to, source)``, or stages ``[(to, source, size of the result), ...]`` that are applied one after another.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import ALL, SAME, moved

Pair = tuple[np.ndarray, np.ndarray]


def numbers(shape) -> np.ndarray:
    """The positions of an array of this shape."""
    return np.arange(math.prod(shape)).reshape(shape)


def pair(to, source) -> Pair:
    """Two arrays of positions, broadcast against each other."""
    to, source = np.broadcast_arrays(to, source)
    return to.ravel(), source.ravel()


def some(mask) -> Pair:
    """The elements under a mask keep their places."""
    at = np.flatnonzero(mask)
    return at, at


# ----- elementwise ---------------------------------------------------------------------------------------


def factors(avals, known):
    """A factor that is known to be 0 lets nothing through."""
    return [SAME if other is None or np.all(other) else some(np.broadcast_to(other, avals[0].shape))
            for other in known[::-1]]


def choice(avals, known):
    """Where it is known which side is taken, only that side counts."""
    if known[0] is None:
        return [None, SAME, SAME]
    taken = np.broadcast_to(known[0], avals[1].shape)
    return [None, some(taken), some(~taken)]


# ----- sums ----------------------------------------------------------------------------------------------


def sums(avals, known, *, axes):
    shape = avals[0].shape
    kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return [pair(numbers(kept), numbers(shape))]


def running_sums(avals, known, *, axis, reverse):
    each = np.moveaxis(numbers(avals[0].shape), axis, -1)
    late, early = np.tril_indices(each.shape[-1])
    return [pair(each[..., early if reverse else late], each[..., late if reverse else early])]


def products(avals, known, *, contract, batch):
    """Of a matrix that is known only its nonzeros count."""
    labels = iter(range(sum(a.ndim for a in avals)))
    of = [[next(labels) for _ in range(a.ndim)] for a in avals]
    for i, j in zip((*contract[0], *batch[0]), (*contract[1], *batch[1]), strict=True):
        of[1][j] = of[0][i]
    sizes = {n: size for a, names in zip(avals, of, strict=True)
             for n, size in zip(names, a.shape, strict=True)}
    summed = [of[0][i] for i in contract[0]]
    out = [of[0][i] for i in batch[0]]
    out += [n for names in of for n in names if n not in summed and n not in out]

    def place(names, every):
        """Positions of an array with these axes, over a grid with all of ``every``."""
        at = numbers([sizes[n] for n in names]).transpose(np.argsort([every.index(n) for n in names]))
        return at.reshape([sizes[n] if n in names else 1 for n in every])

    found = []
    for mine, theirs, other in ((of[0], of[1], known[1]), (of[1], of[0], known[0])):
        if other is None:                   # sums over what is contracted, each used by many results
            rest = [n for n in mine if n not in summed]
            inner = [*rest, *summed]
            found.append([(*pair(place(rest, inner), place(mine, inner)), math.prod(sizes[n] for n in rest)),
                          (*pair(place(out, out), place(rest, out)), math.prod(sizes[n] for n in out))])
            continue
        free = [n for n in mine if n not in theirs]
        every = [*theirs, *free]
        hit = other != 0
        found.append(tuple([np.broadcast_to(p, [sizes[n] for n in every])[hit].ravel() for p in (
            place(out, every), place(mine, every))]))
    return found


def convolution(avals, known, *, window_strides, padding, lhs_dilation, rhs_dilation, feature_groups,
                batch_groups):
    """An image's channels of one group count together; a filter reaches all of its outputs."""
    x, w = avals
    if batch_groups > 1:
        return [ALL, ALL]
    space, filters = range(2, x.ndim), w.shape[0]
    taps = []                   # per axis: (output, input) positions that a tap joins
    extents = []
    for i, stride, (low, high), base, dilation in zip(
            space, window_strides, padding, lhs_dilation, rhs_dilation, strict=True):
        n = (x.shape[i] - 1) * base + 1 if x.shape[i] else 0
        outs = max(0, (n + low + high - ((w.shape[i] - 1) * dilation + 1)) // stride + 1)
        at = np.arange(outs)[:, None] * stride - low + np.arange(w.shape[i]) * dilation
        o, _ = hit = np.nonzero((at >= 0) & (at < n) & (at % base == 0))
        taps.append((o, at[hit] // base))
        extents.append(outs)
    images, groups = x.shape[0], feature_groups
    merged = (images, groups, *x.shape[2:])
    by_group = numbers((images, groups, x.shape[1] // groups, *x.shape[2:]))
    joined = (images, groups, *extents)
    to, source = (numbers(s).reshape(images * groups, -1) for s in (joined, merged))
    grids = [np.meshgrid(*[t[side] for t in taps], indexing="ij") if taps else [] for side in (0, 1)]
    flat = [np.ravel_multi_index([g.ravel() for g in grid], shape) if taps else np.zeros(1, np.int64)
            for grid, shape in zip(grids, (extents, x.shape[2:]), strict=True)]
    out = numbers((images, groups, filters // groups, *extents))
    result = out.size
    of_filter = numbers((images, filters, *extents))
    rows = np.arange(filters).reshape(-1, *[1] * len(extents))
    return [[(*pair(np.expand_dims(numbers(merged), 2), by_group), math.prod(merged)),
             (*pair(to[:, flat[0]], source[:, flat[1]]), math.prod(joined)),
             (*pair(out, np.expand_dims(numbers(joined), 2)), result)],
            [(*pair(np.arange(filters)[:, None], numbers(w.shape).reshape(filters, -1)), filters),
             (*pair(of_filter, rows), result)]]


# ----- indexing ------------------------------------------------------------------------------------------


def reading(reference):
    """Of ``gather(x, *indices)``."""
    def reach(avals, known, **params):
        x, *indices = avals
        nothing = [None] * len(indices)
        if all(i is not None for i in known[1:]):
            at = moved(lambda n: reference(n, *known[1:], **params))([x], known)
            return [*at, *nothing]
        rest = numbers(x.shape[len(indices):])
        out = numbers((*indices[0].shape, *rest.shape))
        first = pair(rest, numbers(x.shape).reshape(-1, *rest.shape))
        return [[(*first, rest.size), (*pair(out, rest), out.size)], *nothing]
    return reach


def writing(replaces, locate):
    """Of ``scatter(x, updates, *indices)``; ``locate(numbers of x, *indices, **params)`` says where each
    update goes, with a negative number for one that is dropped."""
    def reach(avals, known, **params):
        x, updates, *indices = avals
        nothing = [None] * len(indices)
        if all(i is not None for i in known[2:]):
            at = locate(numbers(x.shape), *known[2:], **params).ravel()
            met = np.flatnonzero((at >= 0) & (at < x.size))
            kept = np.ones(x.size, bool)
            kept[at[met]] = not replaces
            return [some(kept), (at[met], met), *nothing]
        rest = numbers(x.shape[len(indices):])
        first = pair(rest, numbers(updates.shape).reshape(-1, *rest.shape))
        return [SAME, [(*first, rest.size), (*pair(numbers(x.shape), rest), x.size)], *nothing]
    return reach


def _windows(shape, sizes, starts):
    """``(element of the window, element of the array)`` for windows that may lie at several places."""
    inner, outer = [np.zeros(1, np.int64)] * 2
    for n, m, s in zip(shape, sizes, starts, strict=True):
        at = np.arange(n - m + 1) if s is None else np.clip(np.ravel(s), 0, n - m)
        i, o = pair(np.arange(m)[:, None], np.arange(m)[:, None] + at)
        inner, outer = (a[:, None] * extent + b for a, extent, b in ((inner, m, i), (outer, n, o)))
        inner, outer = inner.ravel(), outer.ravel()
    return inner, outer


def cutting(avals, known, *, sizes):
    """Of ``dynamic_slice(x, *starts)``."""
    return [_windows(avals[0].shape, sizes, known[1:]), *[None] * (len(avals) - 1)]


def pasting(avals, known):
    """Of ``dynamic_update_slice(x, update, *starts)``."""
    x, update, *starts = avals
    inner, outer = _windows(x.shape, update.shape, known[2:])
    kept = np.ones(x.size, bool)
    if all(s is not None for s in known[2:]):
        kept[outer] = False
    return [some(kept), (outer, inner), *[None] * len(starts)]


# ----- ops that hold programs ------------------------------------------------------------------------------
# Their rules are (walk, eqn, patterns, known) -> (patterns, known values) of the results: ``walk`` goes
# through programs, and patterns are its business (sparse/patterns.py).

TURNS = 50_000              # equations of a loop that are gone through one turn after another


def inside(walk, e, patterns, known):
    return walk.run(e.params["jaxpr"], patterns, known)


def branches(walk, e, patterns, known):
    """A known branch, or all of them together."""
    programs = e.params["branches"]
    if known[0] is not None:
        index = int(np.clip(walk.value(known[0]), 0, len(programs) - 1))
        return walk.run(programs[index], patterns[1:], known[1:])
    outs = [None] * len(e.outs)
    for program in programs:
        got, _ = walk.run(program, patterns[1:], known[1:])
        outs = [walk.union(a, b) for a, b in zip(outs, got, strict=True)]
    return outs, [None] * len(outs)


def turns(walk, e, patterns, known):
    """The turns of a scan one after another; a long one is taken for dense."""
    p = e.params
    body, length, n_carry = p["jaxpr"], p["length"], p["n_carry"]
    if length is None:
        return _until_it_stays(walk, body, patterns[1:], known[1:], p["n_consts"], n_carry)
    if length * max(len(body.eqns), 1) > TURNS:
        return walk.everything(e, patterns), [None] * len(e.outs)
    first = p["n_consts"] + n_carry
    carry, carried = patterns[p["n_consts"]:first], known[p["n_consts"]:first]
    ys, y_values = ([[None] * length for _ in e.outs[n_carry:]] for _ in range(2))
    sizes = [x.aval.size // max(length, 1) for x in e.inputs[first:]]
    held = [walk.value(v) for v in known[first:]]
    for i in reversed(range(length)) if p["reverse"] else range(length):
        rows = [walk.row(q, i, size) for q, size in zip(patterns[first:], sizes, strict=True)]
        row_values = [None if v is None else v[i] for v in held]
        outs, values = walk.run(body, [*patterns[:p["n_consts"]], *carry, *rows],
                                [*known[:p["n_consts"]], *carried, *row_values])
        carry, carried = outs[:n_carry], values[:n_carry]
        for y, v, out, value in zip(ys, y_values, outs[n_carry:], values[n_carry:], strict=True):
            y[i], v[i] = out, walk.value(value)
    avals = [v.aval for v in e.outs[n_carry:]]
    stacked = [walk.stacked(y, a.size // max(length, 1)) for y, a in zip(ys, avals, strict=True)]
    whole = [None if any(row is None for row in v) else np.reshape(v, a.shape)
             for v, a in zip(y_values, avals, strict=True)]
    return [*carry, *stacked], [*carried, *whole]


def any_turns(walk, e, patterns, known):
    """A while loop: what is stacked has the pattern of a row, which holds for each."""
    n_cond, n_body = e.params["n_cond"], e.params["n_body"]
    n_carry = len(e.inputs) - n_cond - n_body
    return _until_it_stays(walk, e.params["body"], patterns[n_cond:], known[n_cond:], n_body, n_carry)


def _until_it_stays(walk, body, patterns, known, n_consts, n_carry):
    """However many turns: what the carry depends on grows until another turn adds nothing."""
    consts, first = patterns[:n_consts], n_consts + n_carry
    carry, xs = patterns[n_consts:first], patterns[first:]
    values = [*known[:n_consts], *[None] * (n_carry + len(xs))]
    entries = -1
    while entries != (entries := sum(p.nnz for p in carry if p is not None)):
        outs, _ = walk.run(body, [*consts, *carry, *xs], values)
        carry = [walk.union(a, b) for a, b in zip(carry, outs, strict=False)]
    return [*carry, *outs[n_carry:]], [None] * len(outs)
