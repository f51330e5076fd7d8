"""Control flow that stays in the program: scan, while_loop, fori_loop, cond, switch, map.

In: functions on pytrees. Out: one equation that holds their programs; it runs natively, also without
any transform around it. The names and signatures are those of ``jax.lax``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.staging import api, describe
from ..ir.core import aval
from ..ir.op import OPS
from ..numpy.core import axis_of, convert
from ..ops.control import cond as cond_op
from ..ops.control import rearranged
from ..ops.scan import scan as scan_op
from ..ops.while_loop import while_ as while_op
from ..trace.core import aval_of, bind
from ..trace.tracer import Tracer
from .body import bind_loop, carry_fixpoint, leaf_avals, number_of, shared_consts, trace_body, with_consts

_INT64 = np.dtype("int64")
_MISSING = object()


# ----- scan ---------------------------------------------------------------------------------------


@api
def scan(f: Callable, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False,
         unroll: int | bool = 1, *, checkpoint: Any = None) -> tuple[Any, Any]:
    """A loop that carries a state along the leading axis of ``xs`` and stacks what each turn returns.

    The same as::

        carry, ys = init, []
        for x in xs: carry, y = f(carry, x); ys.append(y)
        return carry, np.stack(ys)

    Args:
      f: ``(carry, x) -> (carry, y)``; traced once, so it must not depend on the values of its
        arguments in Python. The carry keeps its structure, shapes and dtypes.
      init: the first carry, a pytree. Python numbers take the dtype that the body gives them.
      xs: a pytree of arrays with a common leading axis, or None (then ``length`` says how often).
      length: the number of turns; only needed without ``xs``.
      reverse: from the last to the first; ``ys`` stays in the order of ``xs``.
      unroll: accepted for compatibility; it has no effect, as there is nothing to save: a turn costs some ns
        beside its operations. (10,000 turns over 1 to 1,000 numbers take the same time, to within the noise,
        when 2, 4 or 8 of them are written out in the body; so do their gradients.)
      checkpoint: what reverse mode keeps. None: what the derivative needs, of every turn. An integer n:
        the carry of every n-th turn, the turns between being run again; ``"sqrt"`` is an n that makes both
        few, ``"binomial"`` does it in several levels, for the least memory at four runs of each turn.

    Raises:
      CarryTypeError, TreeError: the carry changes its type or structure; the text names the leaf.

    >>> import numpy as np
    >>> from functrans import lax
    >>> total, sums = lax.scan(lambda c, x: (c + x, c + x), 0.0, np.arange(1.0, 4.0))
    >>> float(total), sums
    (6.0, array([1., 3., 6.]))
    """
    leaves, treedef = tree.flatten(xs)
    avals = leaf_avals(leaves, treedef, "scan: xs")
    length = _scan_length(avals, treedef, length)
    return _scan(f, init, leaves, treedef, [aval(a.shape[1:], a.dtype) for a in avals], length,
                 bool(reverse), "scan", _segments(checkpoint, length, "scan"))


def _scan_length(avals, treedef, length):
    found = None if length is None else length.__index__()
    source = "length"
    for i, a in enumerate(avals):
        name = f"xs{treedef.paths()[i]}"
        if not a.shape:
            raise errors.ShapeError(f"scan: {name} is the scalar {a}, which has no axis to loop over.",
                                    "Capture it in the body, or put it into the carry.")
        if found is None:
            found, source = a.shape[0], name
        elif a.shape[0] != found:
            raise errors.ShapeError(f"scan: {source} has {found} turns but {name} is {a}.",
                                    "All leading axes must be equal.")
    if found is None:
        raise errors.ShapeError("scan: without xs, the number of turns is not known.", "Pass length=n.")
    if found < 0:
        raise ValueError(f"scan: length must not be negative, got {found}")
    return found


def _segments(checkpoint, length, name):
    """How ops are told: sizes of segments for a scan, a rule for a loop of unknown length."""
    if checkpoint is None:
        return ()
    if isinstance(checkpoint, str) and checkpoint in ("sqrt", "binomial"):
        levels = 2 if checkpoint == "sqrt" else LEVELS
        if length is None:
            return "levels", levels
        return tuple([math.ceil(length ** (k / levels)) for k in range(levels - 1, 0, -1)])
    if isinstance(checkpoint, str) or not hasattr(checkpoint, "__index__") or checkpoint.__index__() < 1:
        raise ValueError(f"{name}: checkpoint must be None, 'sqrt', 'binomial' or a positive integer, got "
                         f"{checkpoint!r}")
    n = checkpoint.__index__()
    return ("every", n) if length is None else (n,)


LEVELS = 4          # of "binomial": so often is each turn run before its derivative


def _scan(f, init, xs, x_tree, x_avals, length, reverse, name, segments=(), function=None):
    carry, carry_tree = tree.flatten(init)
    carry_avals = leaf_avals(carry, carry_tree, f"{name}: init")
    n_carry, n_x = len(carry), len(xs)
    y_tree: list = []

    def step(values):
        out = f(carry_tree.unflatten(values[:n_carry]), x_tree.unflatten(values[n_carry:]))
        if not (isinstance(out, (tuple, list)) and len(out) == 2):
            raise errors.TreeError(f"{name}: the body must return a pair (carry, y), got "
                                   f"{_shown(out)}.", "Return (carry, None) if there is nothing to stack.")
        return tuple(out)

    def carry_of(body):
        ours, theirs = body.out_tree.children()
        y_tree[:] = [theirs]
        return ours, body.out_avals[:ours.num_leaves]

    body, carry = carry_fixpoint(
        lambda avals, dtypes: trace_body(step, [*avals, *x_avals], name, dtypes),
        carry, carry_avals, carry_tree, name, carry_of, function or f)
    n_in, n_consts = n_carry + n_x, len(body.consts)
    jaxpr = rearranged(body.jaxpr, [*range(n_in, n_in + n_consts), *range(n_in)],
                       range(len(body.jaxpr.outs)))
    outs = bind_loop(scan_op, body.consts, [*carry, *xs],
                     {"jaxpr": jaxpr, "n_consts": n_consts, "n_carry": n_carry, "length": length,
                      "reverse": reverse, "segments": segments})
    return carry_tree.unflatten(outs[:n_carry]), y_tree[0].unflatten(outs[n_carry:])


def _shown(out):
    return f"a tuple of {len(out)}" if isinstance(out, tuple) else describe(out)


@api
def map(f: Callable, xs: Any, *, batch_size: int | None = None) -> Any:
    """``f`` applied to each entry along the leading axis of ``xs``, one after the other.

    ``vmap`` gives the same values by one batched program: faster, but with all entries in memory.
    ``batch_size`` is between the two: so many entries at a time by ``vmap``, what is left over at last.

    Raises:
      ShapeError: the leading axes differ, or there is none; the text names the leaf.
      ValueError: ``batch_size`` is no positive integer.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.map(lambda x: x * 2, np.arange(3.0))
    array([0., 2., 4.])
    >>> lax.map(lambda x: x * 2, np.arange(3.0), batch_size=2)
    array([0., 2., 4.])
    """
    leaves, treedef = tree.flatten(xs)
    avals = leaf_avals(leaves, treedef, "map: xs")
    length = _scan_length(avals, treedef, None)
    if batch_size is not None:
        if not hasattr(batch_size, "__index__") or batch_size.__index__() < 1:
            raise ValueError(f"map: batch_size must be a positive integer, got {batch_size!r}")
        return _map_in_batches(f, xs, length, batch_size.__index__())
    return _scan(lambda _, x: ((), f(x)), (), leaves, treedef,
                 [aval(a.shape[1:], a.dtype) for a in avals], length, False, "map")[1]


def _map_in_batches(f, xs, length, size):
    from ..api.batching import vmap
    many, rest = divmod(length, size)
    if not many:
        return vmap(f)(xs)
    full = tree.map(lambda x: np.reshape(x[:many * size], (many, size, *np.shape(x)[1:])), xs)
    ys = tree.map(lambda y: np.reshape(y, (many * size, *np.shape(y)[2:])), map(vmap(f), full))
    if not rest:
        return ys
    return tree.map(lambda y, z: np.concatenate([y, z]), ys, vmap(f)(tree.map(lambda x: x[many * size:], xs)))


# ----- while_loop, fori_loop ----------------------------------------------------------------------


@api
def while_loop(cond_fun: Callable, body_fun: Callable, init_val: Any, *, checkpoint: Any = None) -> Any:
    """Applies ``body_fun`` to a state as long as ``cond_fun`` of it is true.

    Both are traced once; the state keeps its structure, shapes and dtypes. It has derivatives in both
    modes and of any order; reverse mode keeps what it needs of each turn, in memory that grows as the
    loop turns. Under ``vmap`` each example has its own number of turns.

    Args:
      cond_fun: ``state -> bool``, a scalar.
      body_fun: ``state -> state``.
      init_val: the first state, a pytree. Python numbers take the dtype that the body gives them.
      checkpoint: as for ``scan``. Since the end is not known before, segments of ``"sqrt"`` have 1, 2,
        3, ... turns, those of ``"binomial"`` so many segments.

    Raises:
      CarryTypeError, TreeError: the state changes its type or structure; the text names the leaf.
      DtypeError: the condition returns something else than one bool.

    >>> from functrans import grad, lax
    >>> int(lax.while_loop(lambda x: x < 100, lambda x: x * 2, 1))
    128
    >>> float(grad(lambda r: lax.while_loop(lambda y: y < 20, lambda y: y * r, 1.0))(3.0))
    27.0
    """
    return _while(cond_fun, body_fun, init_val, "while_loop", checkpoint)


def _while(cond_fun, body_fun, init, name, checkpoint, function=None):
    segments = _segments(checkpoint, None, name)
    leaves, treedef = tree.flatten(init)
    avals = leaf_avals(leaves, treedef, f"{name}: init_val")
    n = len(leaves)
    final: list = []

    def run(avals, dtypes):
        final[:] = [list(avals)]
        return trace_body(lambda values: body_fun(treedef.unflatten(values)), avals, name, dtypes)

    body, leaves = carry_fixpoint(run, leaves, avals, treedef, name,
                                  lambda body: (body.out_tree, body.out_avals), function or body_fun)
    test = trace_body(lambda values: cond_fun(treedef.unflatten(values)), final[0], name)
    got = test.out_avals
    if test.out_tree is not tree.LEAF or got[0].shape or got[0].dtype != np.bool_:
        what = str(test.out_tree) if test.out_tree is not tree.LEAF else str(got[0])
        raise errors.DtypeError(f"{name}: the condition must return one bool, got {what}.",
                                "Compare, e.g. x != 0; reduce an array with np.any or np.all.")
    n_cond, n_body = len(test.consts), len(body.consts)
    test_jaxpr = rearranged(test.jaxpr, [*range(n, n + n_cond), *range(n)], range(1))
    jaxpr = rearranged(body.jaxpr, [*range(n, n + n_body), *range(n)], range(n))
    outs = bind_loop(while_op, [*test.consts, *body.consts], leaves,
                     {"cond": test_jaxpr, "body": jaxpr, "n_cond": n_cond, "n_body": n_body,
                      "segments": segments})
    return treedef.unflatten(outs)


@api
def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any, *, unroll: Any = None,
              checkpoint: Any = None) -> Any:
    """``for i in range(lower, upper): val = body_fun(i, val)``, returning the last ``val``.

    With integers as bounds it is a ``scan``, with traced bounds a ``while_loop``, whose
    ``checkpoint`` it takes. ``unroll`` has no effect.

    >>> from functrans import lax
    >>> int(lax.fori_loop(0, 5, lambda i, total: total + i, 0))
    10
    """
    # The counter is weak, as the int of a Python loop: i * x keeps x's dtype. It is a carry, not an
    # array of all its values, so that a long loop needs no memory for it.
    if type(lower) is not Tracer and type(upper) is not Tracer:
        first, last = _bound(lower), _bound(upper)
        return _scan(lambda state, _: ((state[0] + 1, body_fun(_weak(state[0]), state[1])), None),
                     (np.int64(first), init_val), [], tree.structure(None), [], max(0, last - first), False,
                     "fori_loop", _segments(checkpoint, max(0, last - first), "fori_loop"), body_fun)[0][1]
    for x in (lower, upper):
        if aval_of(x).dtype.kind not in "iu" or aval_of(x).shape:
            raise errors.DtypeError(f"fori_loop: bounds must be integer scalars, got {aval_of(x)}.",
                                    "Convert them with astype(int).")
    return _while(lambda state: state[0] < state[1],
                  lambda state: (state[0] + 1, state[1], body_fun(_weak(state[0]), state[2])),
                  (convert(lower, _INT64), convert(upper, _INT64), init_val), "fori_loop", checkpoint,
                  body_fun)[2]


def _weak(i):
    """A traced integer that promotes as a Python int does."""
    return bind(OPS["convert"], (i,), {"dtype": _INT64}, True)


def _bound(x):
    try:
        return x.__index__()
    except (AttributeError, TypeError):
        raise errors.DtypeError(f"fori_loop: bounds must be integers, got {x!r:.60}.",
                                "Convert them with int().") from None


# ----- cond, switch -------------------------------------------------------------------------------


@api
def cond(pred: Any, true_fun: Callable, false_fun: Callable, *operands: Any,
         operand: Any = _MISSING) -> Any:
    """``true_fun(*operands)`` if ``pred``, else ``false_fun(*operands)``; only one of them runs.

    Args:
      pred: a scalar bool.
      true_fun, false_fun: both are traced, and must return the same structure, shapes and dtypes.
      operand: a single operand, as an alternative to ``operands``.

    Under ``vmap`` with a batched ``pred`` both run and the results are selected.

    >>> from functrans import lax
    >>> float(lax.cond(True, lambda x: x + 1, lambda x: x - 1, 1.0))
    2.0
    """
    if operand is not _MISSING:
        if operands:
            raise TypeError("cond: pass operands by position or operand=, not both")
        operands = (operand,)
    for f, name in ((true_fun, "true_fun"), (false_fun, "false_fun")):
        if not callable(f):
            raise TypeError(f"cond: {name} must be a function, got {type(f).__name__}; write cond(pred, "
                            "true_fun, false_fun, *operands)")
    pred = number_of(pred, "cond", "pred")
    if aval_of(pred).dtype != np.bool_:
        raise errors.DtypeError(f"cond: pred must be a scalar bool, got {aval_of(pred)}.",
                                "Compare, e.g. x != 0.")
    return _branch(convert(pred, _INT64), [false_fun, true_fun], ["false_fun", "true_fun"], operands,
                   "cond")


@api
def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """``branches[index](*operands)``; an index out of range is clamped.

    >>> from functrans import lax
    >>> float(lax.switch(1, [lambda x: x, lambda x: x * 10], 2.0))
    20.0
    """
    branches = list(branches)
    if not branches:
        raise ValueError("switch: no branches")
    for i, f in enumerate(branches):
        if not callable(f):
            raise TypeError(f"switch: branch {i} must be a function, got {type(f).__name__}")
    index = number_of(index, "switch", "the index")
    if aval_of(index).dtype.kind not in "iu":
        raise errors.DtypeError(f"switch: the index must be an integer, got {aval_of(index)}.",
                                "Convert it with astype(int); use cond for a bool.")
    if len(branches) == 1:
        return branches[0](*operands)
    index = np.minimum(np.maximum(convert(index, _INT64), 0), len(branches) - 1)
    return _branch(index, branches, [f"branch {i}" for i in range(len(branches))], operands, "switch")


def _branch(index, functions, names, operands, name):
    leaves, treedef = tree.flatten(operands)
    avals = leaf_avals(leaves, treedef, f"{name}: operands")
    n = len(leaves)

    def run(function, dtypes=()):
        return trace_body(lambda values: function(*treedef.unflatten(values)), avals, name, dtypes)

    bodies = [run(f) for f in functions]
    dtypes = _common_types(bodies, names, name)
    bodies = [b if [a.dtype for a in b.out_avals] == dtypes else run(f, dtypes)
              for b, f in zip(bodies, functions, strict=True)]
    consts, places = shared_consts(bodies)
    branches = tuple([with_consts(b, consts, p, n) for b, p in zip(bodies, places, strict=True)])
    operands = [x if type(x) is Tracer else np.asarray(x)[()] for x in leaves]
    outs = bind_loop(cond_op, [index], [*operands, *consts], {"branches": branches})
    return bodies[0].out_tree.unflatten(outs)


def _common_types(bodies, names, name):
    """The dtypes that all branches return; Python numbers take those of the other branches."""
    first = bodies[0]
    for body, label in zip(bodies[1:], names[1:], strict=True):
        if body.out_tree != first.out_tree:
            raise errors.TreeError(f"{name}: {label} returns {body.out_tree} but {names[0]} returns "
                                   f"{first.out_tree}.", "Branches must return the same structure.")
    dtypes = []
    for i, group in enumerate(zip(*[b.out_avals for b in bodies], strict=True)):
        strong = [a for a in group if not a.weak]
        dtype = np.result_type(*[a.dtype for a in group]) if not strong else strong[0].dtype
        fits = all(a.shape == group[0].shape and (
            a.dtype == dtype or (a.weak and "biufc".index(a.dtype.kind) <= "biufc".index(dtype.kind)))
            for a in group)
        if not fits:
            path = first.out_tree.paths()[i]
            raise errors.DtypeError(
                f"{name}: branches must return the same types; {f'at {path}, ' if path else ''}"
                + ", ".join([f"{label} returns {a.strong}" for label, a in zip(names, group, strict=True)])
                + ".", "Convert the results to one dtype (astype) and shape (np.broadcast_to).")
        dtypes.append(dtype)
    return dtypes


# ----- associative_scan ---------------------------------------------------------------------------


@api
def associative_scan(fn: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes of ``elems`` along an axis, combined by an associative function, in parallel.

    ``fn(a, b)`` combines pytrees of arrays elementwise along ``axis``: it gets many pairs at once. It
    needs 2 log2(n) calls, where ``scan`` would take n turns.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.associative_scan(np.add, np.arange(1.0, 5.0))
    array([ 1.,  3.,  6., 10.])
    """
    leaves, treedef = tree.flatten(elems)
    avals = leaf_avals(leaves, treedef, "associative_scan: elems")
    leaves = [x if type(x) is Tracer else np.asarray(x) for x in leaves]
    axes = [axis_of(axis, a.ndim) for a in avals]
    sizes = {a.shape[i] for a, i in zip(avals, axes, strict=True)}
    if len(sizes) > 1:
        raise errors.ShapeError(f"associative_scan: elems have {sorted(sizes)} entries along axis {axis}: "
                                f"{', '.join([str(a) for a in avals])}.", "They must be equal.")
    if reverse:
        leaves = [np.flip(x, i) for x, i in zip(leaves, axes, strict=True)]

    def combine(a, b):
        out = fn(treedef.unflatten(a), treedef.unflatten(b))
        return treedef.flatten_up_to(out, "the result of fn", "elems")

    def part(xs, start, stop, step=1):
        return [x[(slice(None),) * i + (slice(start, stop, step),)]
                for x, i in zip(xs, axes, strict=True)]

    def prefixes(xs):
        n = xs[0].shape[axes[0]]
        if n < 2:
            return xs
        # prefixes of pairs are every second prefix; one more combination gives those between
        odd = prefixes(combine(part(xs, 0, n - 1, 2), part(xs, 1, n, 2)))
        m = n // 2
        later = combine(part(odd, 0, m if n % 2 else m - 1), part(xs, 2, n, 2)) if n > 2 else None
        even = part(xs, 0, 1)
        if later is not None:
            even = [np.concatenate([e, x], i) for e, x, i in zip(even, later, axes, strict=True)]
        return [_interleaved(e, o, i) for e, o, i in zip(even, odd, axes, strict=True)]

    out = prefixes(leaves) if leaves else leaves
    if reverse:
        out = [np.flip(x, i) for x, i in zip(out, axes, strict=True)]
    return treedef.unflatten(out)


def _interleaved(even, odd, axis):
    """even[0], odd[0], even[1], ... along an axis; even may have one entry more."""
    n = odd.shape[axis]
    lead = (slice(None),) * axis
    pairs = np.stack([even[(*lead, slice(0, n))], odd], axis + 1)
    shape = even.shape
    both = np.reshape(pairs, (*shape[:axis], 2 * n, *shape[axis + 1:]))
    return np.concatenate([both, even[(*lead, slice(n, None))]], axis) if shape[axis] > n else both


__all__ = ["scan", "map", "while_loop", "fori_loop", "cond", "switch", "associative_scan"]
