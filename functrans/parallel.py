"""How many threads runs may use: the public settings, on top of the executor in ``kernels/threads.c``."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator

from .errors import ThreadCountError
from .kernels import lib


def get_num_threads() -> int:
    """The number of threads that a compiled function may use here and now.

    It is what the innermost enclosing ``threads(n)`` says, else ``set_num_threads(n)``, else
    ``OMP_NUM_THREADS``, else the number of cores that the process may use (its affinity mask, and the
    quota of its control group). A limit set through OpenMP meanwhile, as ``threadpoolctl`` does, holds
    as well. Little work runs on one thread whatever the number.

    >>> import functrans
    >>> functrans.get_num_threads() >= 1
    True
    """
    return lib.get_num_threads()


def set_num_threads(n: int) -> None:
    """Sets the number of threads for the whole process, from the next run on.

    Args:
      n: at least 1. Results do not depend on it, only time does.

    Raises:
      ThreadCountError: if ``n`` is no integer or less than 1.

    >>> import functrans
    >>> before = functrans.get_num_threads()
    >>> functrans.set_num_threads(1)
    >>> functrans.get_num_threads()
    1
    >>> functrans.set_num_threads(before)
    """
    lib.set_num_threads(_checked(n, "set_num_threads"))


def threads(n: int) -> contextlib.AbstractContextManager[None]:
    """A context in which runs use at most ``n`` threads; also a decorator.

    It holds for the Python thread (and the asyncio task) that enters it, as ``contextvars`` do: other
    threads keep their number, but what ``asyncio.to_thread`` or ``contextvars.copy_context().run``
    starts inside has it too. Contexts nest; the innermost counts, and each restores what was before,
    after an exception too.

    Args:
      n: at least 1. May be more than ``set_num_threads`` said.

    Raises:
      ThreadCountError: if ``n`` is no integer or less than 1.

    >>> import functrans
    >>> with functrans.threads(1):
    ...     functrans.get_num_threads()
    1
    """
    return _threads(_checked(n, "threads"))


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    before = lib.context_threads.get()
    lib.context_threads.set(n)
    try:
        yield
    finally:
        lib.context_threads.set(before)


def _checked(n: int, name: str) -> int:
    try:
        count = operator.index(n)
    except TypeError:
        count = 0
    if count < 1 or isinstance(n, bool):
        raise ThreadCountError(f"{name}({n!r}): the number of threads must be a positive integer.",
                               f"Write e.g. functrans.{name}(2).")
    return min(count, 2**31 - 1)


__all__ = ["get_num_threads", "set_num_threads", "threads"]
