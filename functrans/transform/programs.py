"""Programs of passes: recorded in a builder of their own, checked, and remembered."""

from __future__ import annotations

import os
from contextlib import contextmanager
from threading import Lock, RLock

from ..errors import NonDifferentiableError
from ..ir.core import Jaxpr, eqn, signature
from ..ops.shape import Box, constant
from ..trace.core import Captured, trace


def closed(fun, avals, name="pass"):
    """The jaxpr of ``fun``, a pass over values, and what it returned beside: ``(jaxpr, aux)``.

    Passes capture nothing of their own. Arrays that a user's rule captured become ``constant``
    equations; a traced value there is an error, since this program outlives its trace.
    """
    jaxpr, consts, aux = trace(fun, avals, None, name, True)
    if not consts:
        return checked(jaxpr, name), aux
    n = len(avals)
    eqns = []
    for v, c in zip(jaxpr.invars[n:], consts, strict=True):
        if not isinstance(c, Captured):
            raise NonDifferentiableError(
                f"a custom rule inside {name} uses a traced {v.aval} that is not one of its arguments.",
                "Pass the value to the function (and its rule) as an argument.")
        eqns.append(eqn(signature(constant, (), {"box": Box(c.value)}), (), (v,)))
    new = Jaxpr(jaxpr.invars[:n], (*eqns, *jaxpr.eqns), jaxpr.outs, jaxpr.retraced)
    return checked(new, name), aux


CHECK = os.environ.get("FUNCTRANS_CHECK", "0") not in ("", "0")


def checked(jaxpr: Jaxpr, name: str) -> Jaxpr:
    """The program itself, type-checked when FUNCTRANS_CHECK is set."""
    if CHECK:
        from ..ir.check import check
        check(jaxpr, name)
    return jaxpr


class Cache:
    """A bounded memo, first in first out; keys are compared in full. Reading it takes no lock."""

    def __init__(self, maxsize: int):
        self.maxsize = maxsize
        self.entries: dict = {}
        self.lock = Lock()
        self.hits = self.misses = 0
        self.shared = True              # between functions of equal structure

    def get(self, key):
        found = self.entries.get(key)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, key, value):
        with self.lock:
            value = self.entries.setdefault(key, value)
            while len(self.entries) > self.maxsize:
                del self.entries[next(iter(self.entries))]
        return value

    def drop(self, value):
        """Forgets an entry by what it holds."""
        with self.lock:
            self.entries = {k: v for k, v in self.entries.items() if v is not value}

    def clear(self):
        with self.lock:
            self.entries.clear()
            self.hits = self.misses = 0


class _Nothing(dict):
    """The entries of a cache that keeps nothing."""

    def get(self, key, default=None):
        return default

    def setdefault(self, key, value=None):
        return value


_unsharing = RLock()


@contextmanager
def unshared(*caches: Cache):
    """Nothing is found in the caches meanwhile: equations then have the lines of their own function."""
    with _unsharing:
        kept = [(c, c.entries, c.shared) for c in caches]
        try:
            for c in caches:
                c.entries, c.shared = _Nothing(), False
            yield
        finally:
            for c, entries, shared in kept:
                c.entries, c.shared = entries, shared


_own = 0                                # threads that want programs of their own


@contextmanager
def own_programs(*caches: Cache):
    """As ``unshared``, for as long as any thread is inside, and without keeping others out."""
    global _own
    with _unsharing:
        _own += 1
        if _own == 1:
            kept = [(c, c.entries) for c in caches]
            for c in caches:
                c.entries, c.shared = _Nothing(), False
            _kept[:] = kept
    try:
        yield
    finally:
        with _unsharing:
            _own -= 1
            if _own == 0:
                for c, entries in _kept:
                    c.entries, c.shared = entries, True


_kept: list = []
PASSES = Cache(4096)


def cached_pass(name):
    """Memoises a pass by (jaxpr, its hashable arguments); programs with user rules are not kept."""
    def wrap(fun):
        def run(jaxpr, *static):
            if jaxpr.retraced:
                return fun(jaxpr, *static)
            key = (name, jaxpr, *static)
            found = PASSES.get(key)
            return found if found is not None else PASSES.put(key, fun(jaxpr, *static))
        run.__doc__, run.__name__ = fun.__doc__, fun.__name__
        return run
    return wrap
