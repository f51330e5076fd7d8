"""Choosing arguments: which of a call's arguments a transform takes, and putting them back."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from .. import errors, tree
from .staging import argument_names, describe, leaf_avals, name_of


def positions(argnums, what, name="argnums"):
    """``argnums`` as an integer, a tuple of integers, or None; an array there is mostly a call gone wrong."""
    try:
        return argnums if argnums is None else index(argnums)
    except TypeError:
        pass
    try:
        return tuple([index(i) for i in argnums])
    except TypeError:
        raise errors.ArgumentError(
            f"{what}: {name} is {describe(argnums)}.",
            f"Write {what}(f)(x), not {what}(f, x); {name} is an integer, or several in a tuple.") from None


class Selection:
    """Which arguments of a function a transform takes: worked out once, when it is made."""

    def __init__(self, fun, argnums, argnames, what):
        argnums = positions(argnums, what)
        self.fun, self.what, self.argnums = fun, what, argnums
        self.nums = () if argnums is None else (argnums,) if isinstance(argnums, int) else tuple(argnums)
        self.names = () if argnames is None else (argnames,) if isinstance(argnames, str) else tuple(
            argnames)
        self.single = (isinstance(argnums, int) and argnames is None) or (
            isinstance(argnames, str) and argnums is None)
        self.first = self.nums == (0,) and not self.names

    def check(self, args, kwargs) -> tuple[int, ...]:
        """The positions counted from the front; TypeError where the call has no such argument."""
        n = len(args)
        for i in self.nums:
            if not -n <= i < n:
                raise errors.ArgumentError(
                    f"{self.what}: argnums={self.argnums}, but {name_of(self.fun)} was called with {n} "
                    "positional arguments.", "Pass that argument by position, or name it with argnames.")
        missing = [k for k in self.names if k not in kwargs]
        if missing:
            raise errors.ArgumentError(
                f"{self.what}: argnames {', '.join(map(repr, missing))} not among the keywords of the call "
                f"({', '.join(kwargs) or 'none'}).", "Pass that argument by keyword.")
        return tuple([i % n for i in self.nums])


class Chosen:
    """The chosen arguments of one call as a pytree; the others reach the function untouched."""

    __slots__ = ("args", "kwargs", "leaves", "nums", "selection", "treedef")

    def __init__(self, selection, args, kwargs):
        self.selection, self.args, self.kwargs = selection, args, kwargs
        if selection.first and args:
            self.nums = (0,)
            self.leaves, self.treedef = tree.flatten(args[:1])
        else:
            self.nums = selection.check(args, kwargs)
            self.leaves, self.treedef = tree.flatten(
                (*[args[i] for i in self.nums], *[kwargs[k] for k in selection.names]))

    def name(self, position: int) -> str:
        """The function's own name for chosen argument number ``position``."""
        if position < len(self.nums):
            return argument_names(self.selection.fun)(self.nums[position])
        return self.selection.names[position - len(self.nums)]

    def avals(self) -> list:
        return leaf_avals(self.leaves, self.treedef, self.name, self.selection.what)

    def call(self, leaves):
        """The function on these leaves in place of the chosen arguments' own."""
        chosen = self.treedef.unflatten(leaves)
        selection, args, kwargs = self.selection, self.args, self.kwargs
        if selection.first:
            return selection.fun(*chosen, *args[1:], **kwargs)
        args = list(args)
        for i, x in zip(self.nums, chosen[:len(self.nums)], strict=True):
            args[i] = x
        if selection.names:
            kwargs = {**kwargs, **dict(zip(selection.names, chosen[len(self.nums):], strict=True))}
        return selection.fun(*args, **kwargs)

    def restore(self, leaves):
        """Results of the chosen arguments' structure: of one argument, or a tuple of them."""
        out = self.treedef.unflatten(leaves)
        return out[0] if self.selection.single else out


def all_of(fun, args, what) -> Chosen:
    """All positional arguments of a call."""
    return Chosen(Selection(fun, tuple(range(len(args))), None, what), args, {})


class Typed:
    """Has ``aval``, and its parts as an array has them."""

    __slots__ = ("aval",)
    __functrans_leaf__ = True
    aval: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    @property
    def size(self) -> int:
        return self.aval.size
