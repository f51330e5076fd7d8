"""Between the pytrees that users optimize and the float64 vectors that SciPy sees."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize as so

from ... import errors, tree
from ...api.flattening import ravel_pytree
from ...lax.body import leaf_avals
from ...trace.core import Captured
from ...trace.tracer import Tracer


def is_traced(*values) -> bool:
    """Whether any of these pytrees holds a traced value."""
    return any(type(x) is Tracer for x in tree.leaves(values))


def known(x):
    """What a program has captured, as an array; traced values as they are."""
    return x.value if type(x) is Captured else x


def _numbers(x) -> bool:
    """Whether this is a list of plain numbers, which is an array for SciPy's users."""
    return type(x) in (list, tuple) and len(x) > 0 and all(
        [isinstance(v, (bool, int, float, np.number)) for v in x])


class Layout:
    """How a pytree lies in a vector.

    Attributes:
      avals, size: of the leaves, and how many elements they have together.
    """

    def __init__(self, value, what: str):
        leaves, self.treedef = tree.flatten(value)
        self.avals = [a.strong for a in leaf_avals(leaves, self.treedef, what)]
        self.ends = np.cumsum([a.size for a in self.avals]).tolist()
        self.size = self.ends[-1] if self.ends else 0

    def cut(self, vector):
        """A vector as a pytree of this structure, whose leaves keep the vector's dtype."""
        return self.treedef.unflatten(self._leaves(vector))

    def restore(self, vector):
        """The same with the leaves' own dtypes."""
        return self.treedef.unflatten([x if x.dtype == a.dtype else x.astype(a.dtype)
                                       for x, a in zip(self._leaves(vector), self.avals, strict=True)])

    def _leaves(self, vector) -> list:
        if len(self.ends) == 1:
            return [np.reshape(vector, self.avals[0].shape)[()]]
        return [np.reshape(vector[end - a.size:end], a.shape)[()]
                for a, end in zip(self.avals, self.ends, strict=True)]

    def side(self, value, what: str, reference: str):
        """A number, a pytree of numbers or arrays that broadcast to the leaves', or a vector: as a vector."""
        if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
            value = value.item()                            # Bounds(lb={...}) makes an array of one dict
        if np.ndim(value) == 0 if isinstance(value, (int, float, np.generic, np.ndarray)) else (
                type(value) is Tracer and not value.shape):
            return value * np.ones(self.size) if type(value) is Tracer else np.full(self.size, float(value))
        if _numbers(value):
            value = np.asarray(value, float)
        if isinstance(value, (np.ndarray, Tracer)) and (
                value.shape == (self.size,) or (value.shape == (1,) and len(self.avals) != 1)):
            return value * np.ones(self.size)
        parts = []
        for x, a in zip(self.treedef.flatten_up_to(value, what, reference), self.avals, strict=True):
            x = x if type(x) is Tracer else np.asarray(x, float)
            try:
                parts.append(np.reshape(np.broadcast_to(x, a.shape), -1))
            except ValueError:
                raise errors.ShapeError(f"{what} have shape {x.shape} for {a} of {reference}.",
                                        "Give a number for all, or one for each element.") from None
        return np.concatenate(parts) if parts else np.zeros(0)


class Vector(Layout):
    """The argument that is optimized.

    A list or tuple of plain numbers is an array, as SciPy's users write it; integers become floats.
    """

    def __init__(self, x0: Any, what: str):
        self.what = what
        if _numbers(x0):
            x0 = np.asarray(x0)
        leaf_avals(*tree.flatten(x0), f"{what}: x0")
        x0 = tree.map(lambda x: x if type(x) is Tracer else np.asarray(known(x)), x0)
        x0 = tree.map(lambda x: x.astype(float) if x.dtype.kind in "biu" else x, x0)
        super().__init__(x0, f"{what}: x0")
        bad = next((i for i, a in enumerate(self.avals) if a.dtype.kind != "f"), None)
        if bad is not None:
            raise errors.DtypeError(f"{what}: x0{self.treedef.paths()[bad]} is {self.avals[bad]}.",
                                    "Optimize real and imaginary parts.")
        if not self.size:
            raise errors.ShapeError(f"{what}: x0 has no elements.", "Give it something to optimize.")
        flat = ravel_pytree(x0)[0]
        self.x0 = flat.astype(np.float64)
        if type(flat) is not Tracer and not np.isfinite(self.x0).all():
            at = int(np.flatnonzero(~np.isfinite(self.x0))[0])
            raise errors.ArgumentError(f"{what}: {self.name(at)} is {self.x0[at]}.",
                                       "Start at finite values.")

    def bounds(self, bounds: Any, sides: bool = False):
        """``(lower, upper, keep_feasible)`` as vectors; None for none.

        Args:
          bounds: ``Bounds``, or a pair of sides like its own (if ``sides``), or a pytree like x0 whose leaves
            (elements, for a single array) are pairs.
        """
        if bounds is None:
            return None
        keep: Any = False
        if isinstance(bounds, so.Bounds):
            low, high = bounds.lb, bounds.ub
            keep = np.broadcast_to(bounds.keep_feasible, self.size) if np.any(bounds.keep_feasible) else False
        elif sides:
            if not (isinstance(bounds, (tuple, list)) and len(bounds) == 2):
                raise errors.ArgumentError(f"{self.what}: bounds are a {type(bounds).__name__} of length "
                                           f"{len(bounds)}.", "Give a pair (lower, upper), or Bounds.")
            low, high = bounds
        else:
            return *self.checked(*self._pairs(bounds)), keep
        return *self.checked(self.side(low, "the lower bounds", "x0"),
                             self.side(high, "the upper bounds", "x0")), keep

    def _pairs(self, bounds):
        pairs = list(bounds) if not isinstance(bounds, dict) else None
        if pairs is not None and len(pairs) == self.size and all([_is_pair(p) for p in pairs]):
            each = [(p, 1) for p in pairs]                      # SciPy's: one pair per element
        elif pairs is not None and len(self.avals) == 1 and not (self.size == 1 and _is_pair(bounds)):
            raise errors.ShapeError(
                f"{self.what}: {len(pairs)} bounds for {self.size} elements of x0.",
                "Give a pair (lower, upper) for each element, or scipy.optimize.Bounds.")
        else:
            leaves = self.treedef.flatten_up_to(bounds, "bounds", "x0")
            each = [(p, a) for p, a in zip(leaves, self.avals, strict=True)]
        lows, highs = [], []
        for i, (pair, a) in enumerate(each):
            if pair is None:
                pair = (None, None)
            if not _is_pair(pair):
                where = f"[{i}]" if a == 1 else self.treedef.paths()[i]
                raise errors.ArgumentError(f"{self.what}: bounds{where} is no pair (lower, upper).",
                                           "Use None for a side that is not bounded.")
            for side, none, out in zip(pair, (-np.inf, np.inf), (lows, highs), strict=True):
                x = np.asarray(none if side is None else side, float) if type(side) is not Tracer else side
                out.append(np.reshape(np.broadcast_to(x, (1,) if a == 1 else a.shape), -1))
        return np.concatenate(lows), np.concatenate(highs)

    def checked(self, low, high, strictly: bool = False):
        """The sides, of which no lower one may exceed its upper one."""
        if not is_traced(low, high):
            bad = np.flatnonzero(~(low < high if strictly else low <= high))
            if len(bad):
                raise errors.BoundsError(
                    f"{self.what}: no value fits the bounds of {self.name(bad[0])}: from {low[bad[0]]:g} to "
                    f"{high[bad[0]]:g}.", "A lower bound must be "
                    f"{'less than' if strictly else 'at most'} its upper bound.")
        return low, high

    def name(self, i: int) -> str:
        """Element i of the vector in the user's terms: ``x0['w'][3]``."""
        leaf = int(np.searchsorted(self.ends, i, "right"))
        a = self.avals[leaf]
        place = np.unravel_index(i - self.ends[leaf] + a.size, a.shape)
        return f"x0{self.treedef.paths()[leaf]}" + (f"[{', '.join(map(str, place))}]" if place else "")

    def finish(self, result):
        """SciPy's result with what is like x as pytrees."""
        for name in ("x", "jac", "grad", "lagrangian_grad"):
            value = result.get(name)
            if isinstance(value, np.ndarray) and value.shape == (self.size,):
                result[name] = self.restore(value)
        if result.get("active_mask") is not None:
            result["active_mask"] = self.cut(result["active_mask"])
        return result

    def callback(self, callback: Callable | None):
        """The user's callback, which gets pytrees, in the signature that SciPy looks for."""
        if callback is None:
            return None
        try:
            named = set(inspect.signature(callback).parameters) == {"intermediate_result"}
        except (TypeError, ValueError):
            named = False

        def with_x(x, *rest):
            return callback(self.restore(np.array(x, float)), *[
                self.finish(so.OptimizeResult(r)) if isinstance(r, so.OptimizeResult) else r for r in rest])

        def with_result(intermediate_result):
            return callback(intermediate_result=self.finish(so.OptimizeResult(intermediate_result)))

        return with_result if named else with_x


def _is_pair(x) -> bool:
    if isinstance(x, (tuple, list)):
        return len(x) == 2
    return isinstance(x, np.ndarray) and x.shape == (2,)
