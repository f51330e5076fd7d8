"""Which arguments of a jitted function are donated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

from .. import errors
from ..calling.staging import argument_names, name_of


class Donation:
    """The donated arguments by position and by name; worked out once, by ``jit``."""

    def __init__(self, nums: frozenset[int], names: frozenset[str]):
        self.nums, self.names = nums, names

    def leaves(self, fun: Callable, places: Sequence[int], n: int, args: Any, kwargs: Any) -> tuple[int, ...]:
        """The donated ones among the leaves of a call with ``n`` positional arguments, of which those at
        ``places`` have the structures ``args``; ``kwargs`` is that of the keywords."""
        at = argument_names(fun)
        nums = {i % n for i in self.nums if -n <= i < n}
        names = {*self.names, *[at(i) for i in self.nums if i >= 0]}
        chosen = [(i in nums or at(i) in self.names, part)
                  for i, part in zip(places, args.children(), strict=True)]
        chosen += [(key in names, part) for key, part in zip(kwargs.aux, kwargs.children(), strict=True)]
        flags = [given for given, part in chosen for _ in range(part.num_leaves)]
        return tuple([i for i, given in enumerate(flags) if given])


def donation(fun: Callable, argnums: Any, argnames: Any, static_argnums: Sequence[int],
             static_argnames: Sequence[str]) -> Donation | None:
    """What ``donate_argnums`` and ``donate_argnames`` say; None if nothing is donated."""
    try:
        nums = (index(argnums),) if hasattr(argnums, "__index__") else tuple([index(i) for i in argnums])
        names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
        wrong_type = not all(isinstance(k, str) for k in names)
    except TypeError:
        wrong_type = True
    if wrong_type:
        raise errors.ArgumentError(f"jit: donate_argnums={argnums!r}, donate_argnames={argnames!r}.",
                                   "Give positions of arguments as ints, and names as strings.")
    if not nums and not names:
        return None
    known, n = _parameters(fun)
    wrong = [str(i) for i in nums if n is not None and not -n <= i < n]
    wrong += [repr(k) for k in names if known is not None and k not in known]
    if wrong:
        raise errors.ArgumentError(f"jit: {name_of(fun)} has no argument {', '.join(wrong)} to donate.",
                                   "donate_argnums are positions, donate_argnames names of its arguments.")
    at = argument_names(fun)
    both = {i % n if n else i for i in nums} & {i % n if n else i for i in static_argnums}
    twice = sorted({*[at(i) for i in both if i >= 0], *(set(names) & set(static_argnames)),
                    *[at(i) for i in nums if at(i) in static_argnames],
                    *[at(i) for i in static_argnums if at(i) in names]})
    if twice:
        raise errors.ArgumentError(f"jit: {', '.join(twice)} cannot be static and donated.",
                                   "Static arguments are part of the program, donated ones are its memory.")
    return Donation(frozenset(nums), frozenset(names))


def _parameters(fun: Callable) -> tuple[set[str] | None, int | None]:
    """Names of a function's parameters, and how many may be given by position; None where any may."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return None, None
    kinds = {p.kind for p in parameters}
    names = {p.name for p in parameters}
    n = sum([p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters])
    return (None if inspect.Parameter.VAR_KEYWORD in kinds else names,
            None if inspect.Parameter.VAR_POSITIONAL in kinds else n)
