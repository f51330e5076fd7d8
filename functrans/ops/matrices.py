"""What the ops on stacks of matrices share: the matrices are the last two axes, any axes before them.

Vocabulary of their rules, their families, and how a plan calls LAPACK.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir.op import CODE, OPS, Hooks, Op, aval_of, batch_first, program_work
from .call import Passes
from .elementwise import select
from .shape import broadcast_in_dim, iota, transpose

INEXACT = ("f32", "f64", "c64", "c128")
INT64 = np.dtype("int64")
FLOP_NS = 0.1
SMALL = 64                # matrices up to this run one a thread; LAPACK's own threads begin above

def swapped(ndim):
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def t(x):
    """The transpose of the matrices."""
    return transpose(x, perm=swapped(aval_of(x).ndim))


def conj(x):
    return OPS["conj"](x) if aval_of(x).dtype.kind == "c" else x


def h(x):
    """The conjugate transpose of the matrices."""
    return conj(t(x))


def real(x):
    return OPS["real"](x) if aval_of(x).dtype.kind == "c" else x


def mm(a, b):
    """Matrix products over equal leading axes."""
    n = aval_of(a).ndim
    lead = tuple(range(n - 2))
    return OPS["dot_general"](a, b, contract=((n - 1,), (n - 2,)), batch=(lead, lead))


def diagonal(x):
    """The diagonals of the matrices, along a new last axis: every (n + 1)-th element, a view of rows."""
    *lead, m, n = aval_of(x).shape
    k = min(m, n)
    flat = OPS["reshape"](x if k == m else corner(x, k, n), shape=(*lead, k * n))
    return OPS["slice"](flat, start=(0,) * (len(lead) + 1), limit=(*lead, k * n),
                        stride=(*[1] * len(lead), n + 1))


def corner(x, m, n, i=0, j=0):
    """Rows from i, m of them, and columns from j, n of them."""
    shape = aval_of(x).shape
    lead = shape[:-2]
    return OPS["slice"](x, start=(*[0] * len(lead), i, j), limit=(*lead, i + m, j + n),
                        stride=(1,) * len(shape))


def padded(x, m, n):
    """x with zeros behind it to m rows and n columns."""
    shape = aval_of(x).shape
    zeros = (0,) * len(shape)
    high = (*[0] * (len(shape) - 2), m - shape[-2], n - shape[-1])
    return OPS["pad"](x, Hooks.lit_like(0, aval_of(x).dtype.type(0)), low=zeros, high=high, interior=zeros)


_COMPARE = {np.equal: "eq", np.less: "lt", np.less_equal: "le", np.greater: "gt", np.greater_equal: "ge"}


def where(x, compare):
    """Of each element, whether ``compare(row, column)``."""
    shape = aval_of(x).shape
    rows, cols = (iota(shape=shape, dtype=INT64, axis=len(shape) - k) for k in (2, 1))
    return OPS[_COMPARE[compare]](rows, cols)


def lower_part(x, strict=False):
    return select(where(x, np.greater if strict else np.greater_equal), x, 0)


def upper_part(x, strict=False):
    return select(where(x, np.less if strict else np.less_equal), x, 0)


def along_rows(w, shape):
    """w [..., n] as [..., m, n]: the same in each row."""
    ndim = len(shape)
    return broadcast_in_dim(w, shape=shape, dims=(*range(ndim - 2), ndim - 1))


def along_cols(w, shape):
    return broadcast_in_dim(w, shape=shape, dims=tuple(range(len(shape) - 1)))


def real_dtype(dtype):
    return np.zeros(0, dtype).real.dtype


def check(name, x, square=False):
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ValueError(f"{name}: {'square ' * square}matrices are needed, got {x}")
    if CODE.get(x.dtype) not in INEXACT:
        raise TypeError(f"{name} is not defined for {x}")


def same_lead(name, *avals):
    if len({a.shape[:-2] for a in avals}) != 1 or len({a.dtype for a in avals}) != 1:
        raise ValueError(f"{name}: operands must have equal leading axes and dtypes, got "
                         f"{', '.join(map(str, avals))}")



# ----- lowering -------------------------------------------------------------------------------------


def emit(ctx, eqn, kernel, operands, written, dims):
    """One step that calls a matrix kernel for each matrix; the first ``written`` operands are changed."""
    ctx.load_lapack()
    main = eqn.sig.in_avals[-1]
    n = math.prod(main.shape[:-2])
    ctx.step(f"{kernel}:{CODE[main.dtype]}", operands, (n,), nouts=written,
             cost=FLOP_NS * eqn.sig.op.work(eqn.sig)[0],
             strides=[(v.nbytes // n if n else 0,) for v in operands],
             ints=(int(max(dims[:2]) <= SMALL), *dims))


def copied(ctx, x):
    """A row-major copy, which the kernel may destroy."""
    out = ctx.new(x.shape, x.dtype)
    ctx.copy(out, x)
    return out


def copied_by_columns(ctx, x):
    """A copy with contiguous columns: as its transpose, and as the view that it is."""
    perm = swapped(x.ndim)
    flipped = copied(ctx, x.transpose(perm))
    return flipped, flipped.transpose(perm)


def either(ctx, x):
    """x as rows or as columns, whichever it is already: ``(operand, by columns)``."""
    flipped = x.transpose(swapped(x.ndim))
    if flipped.contiguous and not x.contiguous:
        return flipped, 1
    return ctx.contiguous(x), 0


# ----- work ---------------------------------------------------------------------------------------------


def work(formula):
    """The operations of one matrix kernel, from ``formula(*extents of the last operand)``."""
    def count(sig):
        shape = sig.in_avals[-1].shape
        return int(math.prod(shape[:-2]) * formula(*shape[-2:])), 0
    return count


# ----- families -------------------------------------------------------------------------------------


def batching(name):
    """All rules here take leading axes: the batch axis becomes the first."""
    def batch(size, operands, dims, **params):
        outs = OPS[name](*[batch_first(size, x, d) for x, d in zip(operands, dims, strict=True)], **params)
        outs = list(outs) if OPS[name].multiple else [outs]
        return outs, [0] * len(outs)
    return batch


def decomposition(name, *, jvp, dtypes=INEXACT, **rest):
    """An op of several results on stacks of matrices."""
    return Op(name, "linalg", jvp=jvp, transpose=None, batch=batching(name), dtypes=dtypes, multiple=True,
              **rest)


def composed(name, body, *, infer, jvp, multiple=False, **rest):
    """An op whose value is a composition, but whose derivative is not that of its parts.

    ``body``, a function of operands that binds ops, is what a plan runs in its place.
    """
    def work_of(sig):
        return program_work(program(sig.in_avals, sig.params))

    def program(avals, params):
        return Passes.stage(lambda *xs: body(*xs, **params) if multiple else [body(*xs, **params)], avals)

    def lower(ctx, eqn, views):
        return ctx.inline(program(eqn.sig.in_avals, eqn.params), views)

    return Op(name, "linalg", infer=infer, jvp=jvp, transpose=None, batch=batching(name), lower=lower,
              multiple=multiple, dtypes=INEXACT, work=work_of, **rest)
