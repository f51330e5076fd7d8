"""A bounded cache of programs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import NamedTuple

from .run import Program


class CacheInfo(NamedTuple):
    hits: int
    misses: int
    size: int
    maxsize: int
    nbytes: int
    maxbytes: int


class ProgramCache:
    """Least recently used programs go first, by number and by bytes. Keys are compared in full."""

    def __init__(self, maxsize: int, maxbytes: int):
        self.maxsize, self.maxbytes = maxsize, maxbytes
        self._lock = Lock()
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._hits = self._misses = self._nbytes = 0

    def get(self, key: Hashable, make: Callable[[], Program]) -> Program:
        """The program of ``key``; made outside of the lock, so that other threads go on."""
        with self._lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
                self._hits += 1
                return program
            self._misses += 1
        program = make()
        with self._lock:
            first = self._programs.setdefault(key, program)
            if first is program:
                self._nbytes += program.nbytes
                while len(self._programs) > self.maxsize or (
                        self._nbytes > self.maxbytes and len(self._programs) > 1):
                    self._nbytes -= self._programs.popitem(last=False)[1].nbytes
        return first

    def info(self) -> CacheInfo:
        with self._lock:
            return CacheInfo(self._hits, self._misses, len(self._programs), self.maxsize,
                             self._nbytes, self.maxbytes)

    def clear(self) -> None:
        with self._lock:
            self._programs.clear()
            self._hits = self._misses = self._nbytes = 0
