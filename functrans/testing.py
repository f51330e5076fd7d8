"""Checking derivatives and batching against differences and loops: of functions, and of one's own rules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import errors, tree
from .api.batching import vmap
from .api.derivatives import FLOAT0, jvp, vjp
from .calling.staging import api, check_callable, name_of
from .inspection.programs import make_jaxpr
from .ir.core import Jaxpr, Var
from .plan import run_op
from .transform.interpret import evaluate

# Per precision: the step of the differences, and the tolerance (relative, and absolute for values of size 1).
_STEP = {2: 0.1, 4: 2e-2, 8: 1e-3}
_TOLERANCE = {2: 1e-1, 4: 2e-3, 8: 1e-6}
_MOST = 2000                    # elements of the arguments that are looked at one by one for the worst


def _inexact(x) -> bool:
    return np.asarray(x).dtype.kind in "fc"


def _parts(x) -> int:
    """Bytes of a real part."""
    dtype = np.asarray(x).dtype
    return dtype.itemsize // (2 if dtype.kind == "c" else 1)


class _Flat:
    """A function of the inexact leaves of its arguments, giving the inexact leaves of its result."""

    def __init__(self, f: Callable, args: tuple, names: Any = None):
        self.names = names              # another one, that has the names of leaves
        leaves, self.treedef = tree.flatten(args)
        self.leaves = [np.asarray(x)[()] for x in leaves]
        self.places = [i for i, x in enumerate(self.leaves) if _inexact(x)]
        self.f, self.args = f, [self.leaves[i] for i in self.places]
        if not self.args:
            raise errors.IntegerInputError("no argument is a float or complex array.",
                                           "Pass 2.0 instead of 2.")
        out, self.out_tree = tree.flatten(self(*self.args, whole=True))
        self.out_places = [i for i, x in enumerate(out) if _inexact(x)]
        small = min([_parts(x) for x in (*self.args, *[out[i] for i in self.out_places])], default=8)
        self.step, self.tolerance = _STEP[small], _TOLERANCE[small]

    def tree_of(self, leaves):
        """These leaves among the others, as the arguments."""
        full = list(self.leaves)
        for i, x in zip(self.places, leaves, strict=True):
            full[i] = x
        return self.treedef.unflatten(full)

    def tangents(self, leaves):
        """The same for tangents: what is no float has none."""
        full: list[Any] = [np.zeros(np.shape(x), FLOAT0) for x in self.leaves]
        for i, x in zip(self.places, leaves, strict=True):
            full[i] = x
        return self.treedef.unflatten(full)

    def __call__(self, *leaves, whole=False):
        out = self.f(*self.tree_of(leaves))
        return out if whole else self.outs(out)

    def outs(self, out) -> list:
        leaves = self.out_tree.flatten_up_to(out, "the result", "the result before")
        return [leaves[i] for i in self.out_places]

    def name(self, i: int, at: tuple, of_result: bool) -> str:
        if self.names is not None:
            return self.names.name(i, at, of_result)
        paths = (self.out_tree if of_result else self.treedef).paths()
        path = paths[(self.out_places if of_result else self.places)[i]]
        return f"{'result' if of_result else 'args'}{path}{list(at) if at else ''}"


def _direction(x, rng):
    x = np.asarray(x)
    t = rng.normal(size=x.shape)
    return np.asarray(t + 1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else t).astype(x.dtype)[()]


def _difference(f, xs, ts, h) -> list:
    """The derivative of f along ts: central differences of steps h and h/2, extrapolated."""
    def slope(h):
        moved = [f(*[np.asarray(x + s * h * t, np.asarray(x).dtype)[()] for x, t in zip(xs, ts, strict=True)])
                 for s in (1, -1)]
        return [(np.asarray(a) - np.asarray(b)) / (2 * h) for a, b in zip(*moved, strict=True)]
    with np.errstate(all="ignore"):
        return [(4 * near - far) / 3 for near, far in zip(slope(h / 2), slope(h), strict=True)]


def _pairing(xs, ys) -> float:
    return float(sum([np.sum(np.asarray(x) * np.asarray(y)).real for x, y in zip(xs, ys, strict=True)]))


def _norm(xs) -> float:
    return float(np.sqrt(sum([np.sum(np.abs(x) ** 2) for x in xs])))


def _worst(got, want, tolerance):
    """``(excess, leaf, position, values)`` of the element that is most beyond its tolerance, or None."""
    found = None
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if not b.size:
            continue
        rtol, atol = tolerance
        with np.errstate(all="ignore"):
            excess = np.abs(a - b) / (atol * max(1.0, float(np.max(np.abs(b)))) + rtol * np.abs(b))
        same = np.isnan(a) & np.isnan(b) | (a == b)
        excess = np.where(same, 0.0, np.where(np.isnan(excess), np.inf, excess))
        at = np.unravel_index(int(np.argmax(excess)), excess.shape) if excess.shape else ()
        if excess[at] > 1 and (found is None or excess[at] > found[0]):
            found = float(excess[at]), i, tuple(map(int, at)), (a[at], b[at])
    return found


def _tolerances(flat, rtol, atol):
    return (flat.tolerance if rtol is None else rtol, flat.tolerance if atol is None else atol)


# ----- which equation it is -----------------------------------------------------------------------


def _culprit(f, args, mode, step) -> str | None:
    """The user's line whose equation has a derivative that differs most from differences of itself."""
    rng = np.random.default_rng(0)
    jaxpr = make_jaxpr(f)(*args)
    values: dict[Any, Any] = dict(zip(jaxpr.invars, args, strict=False))
    found, most = None, 1e3 * step ** 4 + 1e-9
    for e in jaxpr.eqns:
        ins = [values[x] if type(x) is Var else np.full(x.aval.shape, x.value)[()] for x in e.inputs]
        out = run_op(e.op, ins, e.params)
        values.update(zip(e.outs, out if e.sig.multiple else [out], strict=True))
        one = Jaxpr([v for v in e.inputs if type(v) is Var], (e,), e.outs, e.sig.retraced)
        if len(set(one.invars)) < len(one.invars):
            one = Jaxpr(list(dict.fromkeys(one.invars)), (e,), e.outs, e.sig.retraced)
        xs = [values[v] for v in one.invars]
        moves = [i for i, x in enumerate(xs) if _inexact(x)]
        keep = [i for i, v in enumerate(e.outs) if v.aval.dtype.kind in "fc"]
        if not moves or not keep:
            continue

        def run(*moved, one=one, xs=xs, moves=moves, keep=keep):
            full = list(xs)
            for i, x in zip(moves, moved, strict=True):
                full[i] = x
            outs = evaluate(one, full)
            return [outs[i] for i in keep]

        given = [xs[i] for i in moves]
        ts = [_direction(x, rng) for x in given]
        try:
            want = _difference(run, given, ts, step)
            if mode == "fwd":
                got = jvp(run, tuple(given), tuple(ts))[1]
                apart = [np.asarray(a) - b for a, b in zip(got, want, strict=True)]
                off = _norm(apart) / max(1.0, _norm(want))
            else:
                cts = [_direction(x, rng) for x in want]
                back = vjp(run, *given)[1](cts)
                a, b = _pairing(back, ts), _pairing(want, cts)
                off = abs(a - b) / max(1.0, _norm(want) * _norm(cts))
        except Exception:           # it has no derivative in this mode: the check itself says so
            continue
        if not off <= most and e.src is not None:
            found, most = errors.format_location(*e.src), off
    return found


def _fail(flat, mode, text):
    location: Any = False
    try:
        location = _culprit(flat, flat.args, mode, flat.step) or False
    except Exception:               # the line is a courtesy: what is known is said without it
        location = False
    raise errors.CheckError(text, "The line is that of the operation whose own derivative is off most."
                            if location else None, location)


# ----- checks -------------------------------------------------------------------------------------


@api
def check_jvp(f: Callable, f_jvp: Callable, args: Sequence[Any], atol: float | None = None,
              rtol: float | None = None, eps: float | None = None) -> None:
    """Compares a forward derivative with differences of f, in a random direction.

    Args:
      f: the function, of and to pytrees of arrays.
      f_jvp: ``(primals, tangents) -> (out, tangent)``; ``lambda p, t: jvp(f, p, t)`` checks the library's.
      args: where to check, a tuple. What is neither float nor complex is kept as it is.
      atol, rtol, eps: tolerances, and the step of the differences; by default they fit the precision of
        arguments and results.

    Raises:
      CheckError: values or derivatives differ; it names the worst element, and the line of the operation
        whose own derivative is off most.

    >>> import numpy as np
    >>> from functrans.testing import check_jvp
    >>> check_jvp(np.sin, lambda p, t: (np.sin(*p), np.cos(*p) * t[0]), (0.5,))
    """
    flat = _Flat(f, tuple(args))
    _check_forward(flat, f_jvp, atol, rtol, eps, "check_jvp")


def _check_forward(flat, f_jvp, atol, rtol, eps, what):
    rng = np.random.default_rng(1)
    ts = [_direction(x, rng) for x in flat.args]
    tolerance = _tolerances(flat, rtol, atol)
    out, moved = f_jvp(tuple(flat.tree_of(flat.args)), tuple(flat.tangents(ts)))
    _check_values(flat, out, tolerance, what)
    want = _difference(flat, flat.args, ts, eps or flat.step)
    worst = _worst(flat.outs(moved), want, tolerance)
    if worst is not None:
        _, i, at, (a, b) = worst
        _fail(flat, "fwd", f"{what} of {name_of(flat.f)}: in forward mode the derivative of "
              f"{flat.name(i, at, True)} in a random direction is {a}, by differences {b}.")


def _check_values(flat, out, tolerance, what):
    worst = _worst(flat.outs(out), flat(*flat.args), tolerance)
    if worst is not None:
        _, i, at, (a, b) = worst
        raise errors.CheckError(
            f"{what} of {name_of(flat.f)}: the rule gives {a} for {flat.name(i, at, True)}, the function "
            f"{b}.",
            "A rule must return the function's own value, too.", False)


@api
def check_vjp(f: Callable, f_vjp: Callable, args: Sequence[Any], atol: float | None = None,
              rtol: float | None = None, eps: float | None = None) -> None:
    """Compares a reverse derivative with differences of f, for random tangents and cotangents.

    Args:
      f_vjp: ``(*args) -> (out, pullback)``; ``lambda *args: vjp(f, *args)`` checks the library's.
      others: as of ``check_jvp``.

    Raises:
      CheckError: as ``check_jvp``; the element is that of an argument.

    >>> import numpy as np
    >>> from functrans import vjp
    >>> from functrans.testing import check_vjp
    >>> check_vjp(np.sin, lambda x: vjp(np.sin, x), (np.array([0.5, 1.0]),))
    """
    flat = _Flat(f, tuple(args))
    _check_reverse(flat, f_vjp, atol, rtol, eps, "check_vjp")


def _check_reverse(flat, f_vjp, atol, rtol, eps, what):
    rng = np.random.default_rng(2)
    rtol, atol = _tolerances(flat, rtol, atol)
    ts, step = [_direction(x, rng) for x in flat.args], eps or flat.step
    out, pull = f_vjp(*flat.tree_of(flat.args))
    _check_values(flat, out, (rtol, atol), what)
    leaves = flat.out_tree.flatten_up_to(out, "the result", "the result before")
    cts: list[Any] = [np.zeros(np.shape(x), FLOAT0) for x in leaves]
    for i in flat.out_places:
        cts[i] = _direction(leaves[i], rng)
    back = flat.treedef.flatten_up_to(tuple(pull(flat.out_tree.unflatten(cts))), "what the pullback returned",
                                      "the arguments")
    back = [back[i] for i in flat.places]
    given = [cts[i] for i in flat.out_places]
    want = _difference(flat, flat.args, ts, step)
    a, b = _pairing(back, ts), _pairing(want, given)
    if abs(a - b) <= atol * max(1.0, _norm(want) * _norm(given)) + rtol * abs(b):
        return
    where = _worst_argument(flat, back, given, step, (rtol, atol))
    where = where or f"the derivative in a random direction is {a}, by differences {b}"
    _fail(flat, "rev", f"{what} of {name_of(flat.f)}: in reverse mode {where}.")


def _worst_argument(flat, back, cts, step, tolerance):
    """The element of the arguments whose cotangent is off most, found one by one."""
    if sum([np.size(x) for x in flat.args]) > _MOST:
        return None
    want = []
    for k, x in enumerate(flat.args):
        slopes = np.zeros(np.shape(x), np.asarray(x).dtype)
        for at in itertools.product(*map(range, np.shape(x))):
            for unit in ((1.0, 1j) if slopes.dtype.kind == "c" else (1.0,)):
                ts = [np.zeros_like(y) for y in flat.args]
                one = np.zeros(np.shape(x), slopes.dtype)
                one[at] = unit
                ts[k] = one[()]
                value = _pairing(_difference(flat, flat.args, ts, step), cts)
                slopes[at] += value if unit == 1.0 else -1j * value
        want.append(slopes)
    worst = _worst(back, want, tolerance)
    if worst is None:
        return None
    _, i, at, (a, b) = worst
    return f"the cotangent of {flat.name(i, at, False)} is {a}, by differences {b}"


@api
def check_grads(f: Callable, args: Sequence[Any], order: int = 1, modes: str | Sequence[str] = ("fwd", "rev"),
                atol: float | None = None, rtol: float | None = None, eps: float | None = None) -> None:
    """Compares derivatives up to an order with differences, in each mode and their compositions.

    Args:
      f: a function of and to pytrees of arrays; its own rules (``custom_jvp`` and so on) are checked as any.
      args: where to check, a tuple. Derivatives should exist there, and be of moderate size.
      order: 1 for first derivatives, 2 for these and their derivatives, and so on.
      modes: ``"fwd"``, ``"rev"`` or both.
      atol, rtol, eps: as of ``check_jvp``.

    Raises:
      CheckError: as ``check_jvp``.

    >>> import numpy as np
    >>> from functrans import custom_jvp
    >>> from functrans.testing import check_grads
    >>> check_grads(lambda x, y: np.sin(x) * y["a"], (0.5, {"a": np.ones(3)}), order=2)
    >>> @custom_jvp
    ... def f(x):
    ...     return x ** 2
    >>> _ = f.defjvp(lambda p, t: (f(*p), 3.0 * p[0] * t[0]))
    >>> check_grads(lambda x: 5.0 * f(x), (2.0,), modes="fwd")
    Traceback (most recent call last):
    functrans.errors.CheckError: check_grads of <lambda>: in forward mode ...
    """
    check_callable(f, "check_grads")
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if order < 1 or not modes or set(modes) - {"fwd", "rev"}:
        raise errors.ArgumentError(f"check_grads: order={order}, modes={modes}.",
                                   "The order is at least 1; modes are 'fwd' and 'rev'.")
    _check(_Flat(f, tuple(args)), order, modes, atol, rtol, eps, "check_grads")


def _check(flat, order, modes, atol, rtol, eps, what):
    rng = np.random.default_rng(3)
    inner = lambda *leaves: flat(*leaves)
    inner.__name__ = name_of(flat.f)
    own = _Flat(inner, tuple(flat.args), flat)
    for mode in modes:
        if mode == "fwd":
            _check_forward(own, lambda p, t: jvp(inner, p, t), atol, rtol, eps, what)
            ts = tuple([_direction(x, rng) for x in flat.args])
            deeper = lambda *xs, ts=ts: jvp(inner, xs, ts)[1]
        else:
            _check_reverse(own, lambda *xs: vjp(inner, *xs), atol, rtol, eps, what)
            cts = [_direction(x, rng) for x in own(*flat.args)]
            deeper = lambda *xs, cts=cts: vjp(inner, *xs)[1](cts)
        if order > 1:
            deeper.__name__ = f"the derivative ({mode}) of {name_of(flat.f)}"
            _check(_Flat(deeper, tuple(flat.args)), order - 1, modes, atol, rtol, eps, what)


@api
def check_vmap(f: Callable, args: Sequence[Any], in_axes: Any = 0, out_axes: Any = 0,
               atol: float | None = None, rtol: float | None = None) -> None:
    """Compares ``vmap(f, in_axes, out_axes)`` with a loop over the examples.

    Args:
      f: the function of one example; args: arrays that hold several, a tuple.
      in_axes, out_axes: as of ``vmap``.
      atol, rtol: tolerances; by default they fit the precision of the results.

    Raises:
      CheckError: results differ; it names the worst element.

    >>> import numpy as np
    >>> from functrans.testing import check_vmap
    >>> check_vmap(np.dot, (np.ones((3, 2)), np.arange(2.0)), in_axes=(0, None))
    """
    check_callable(f, "check_vmap")
    args = tuple(args)
    got = vmap(f, in_axes, out_axes)(*args)
    leaves, treedef = tree.flatten(args)
    flat_axes = _axes_of(in_axes, args)
    size = next(np.shape(x)[a] for x, a in zip(leaves, flat_axes, strict=True) if a is not None)
    rows = []
    for i in range(size):
        one = treedef.unflatten([x if a is None else np.take(x, i, a)
                                 for x, a in zip(leaves, flat_axes, strict=True)])
        rows.append(tree.flatten(f(*one)))
    if not rows:
        return
    out_tree = rows[0][1]
    outs = out_tree.flatten_up_to(got, "the result of vmap", "the result of the function")
    to = _axes_of(out_axes, out_tree.unflatten(list(range(out_tree.num_leaves))), out=True)
    want = [np.stack([np.asarray(r[0][k]) for r in rows], a) if a is not None else np.asarray(rows[0][0][k])
            for k, a in enumerate(to)]
    for k, (a, b) in enumerate(zip(outs, want, strict=True)):
        if np.shape(a) != np.shape(b) or np.asarray(a).dtype != b.dtype:
            raise errors.CheckError(f"check_vmap of {name_of(f)}: result{out_tree.paths()[k]} is "
                                    f"{np.asarray(a).dtype}{list(np.shape(a))}, by a loop "
                                    f"{b.dtype}{list(np.shape(b))}.", None, False)
    small = min([_parts(x) for x in want if _inexact(x)], default=8)
    close = _TOLERANCE[small] * 1e-3
    tolerance = (close if rtol is None else rtol, close if atol is None else atol)
    worst = _worst([np.asarray(x, np.float64) if not _inexact(x) else x for x in outs],
                   [np.asarray(x, np.float64) if not _inexact(x) else x for x in want], tolerance)
    if worst is not None:
        _, k, at, (a, b) = worst
        place = f"result{out_tree.paths()[k]}{list(at) if at else ''}"
        raise errors.CheckError(f"check_vmap of {name_of(f)}: {place} is {a}, by a loop {b}.", None, False)


def _axes_of(axes, value, out=False) -> list:
    """The axis of each leaf of ``value``, of which ``axes`` is a prefix."""
    if axes is None or isinstance(axes, int):
        return [axes] * len(tree.leaves(value))
    found: list = []
    if isinstance(axes, (tuple, list)):
        for a, v in zip(axes, value, strict=True):
            found += _axes_of(a, v)
        return found
    for key in sorted(axes):
        found += _axes_of(axes[key], value[key])
    return found


__all__ = ["check_grads", "check_jvp", "check_vjp", "check_vmap"]
