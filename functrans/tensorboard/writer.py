"""The writer: what users call."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors
from ..calling.staging import api
from ..trace.tracer import Tracer
from . import wire
from .histograms import histogram, row_of
from .names import leaves_by_name, named
from .records import RecordFile


class SummaryWriter:
    """Writes an event file for TensorBoard: scalars, histograms, graphs of programs.

    Args:
      logdir: the folder, made if it is not there. TensorBoard shows each folder below its ``--logdir`` as a
        run of its own.
      flush_secs: what was added goes to the file after so many seconds, when the next thing is added; and
        with ``flush()``, ``close()``, or at the end of a ``with`` block.
      suffix: of the file's name.

    Events of a step may come in any order. Several writers may write to one folder, each its own file. A
    process that dies loses what has not gone to the file; what has is whole. Threads may share a writer; a
    forked child that uses one writes to a file of its own.

    Raises:
      functrans.errors.LogdirError: the folder cannot be made or written to.
      functrans.errors.ClosedError: something is added after ``close()``.

    >>> import tempfile
    >>> from functrans.tensorboard import SummaryWriter
    >>> with SummaryWriter(tempfile.mkdtemp()) as w:
    ...     for step in range(3):
    ...         w.add_scalar("loss", 1.0 / (step + 1), step)
    ...         w.add_histogram("weights", {"w": np.ones((2, 3)), "b": np.zeros(3)}, step)
    """

    @api
    def __init__(self, logdir: str | os.PathLike, *, flush_secs: float = 30.0, suffix: str = ""):
        try:
            path: Any = os.fspath(logdir)
        except TypeError:
            path = None
        if not isinstance(path, str) or not path:
            raise errors.ArgumentError(f"SummaryWriter: logdir={logdir!r}.",
                                       "Give the path of a folder as a string or a pathlib.Path.")
        self.logdir = path
        self._file = RecordFile(self.logdir, suffix, flush_secs,
                                wire.double(1, time.time()) + wire.text(3, "brain.Event:2"))

    # ----- what is written --------------------------------------------------------------------

    @api
    def add_scalar(self, tag: str, value: Any, step: int) -> None:
        """A number at a step, e.g. the loss. TensorBoard keeps it in single precision.

        Args:
          tag: its name; ``"loss/train"`` and ``"loss/test"`` are shown together.
          value: a number, or an array with one element. It may be infinite or nan.
          step: a non-negative integer.
        """
        self._add(step, [self._scalar("add_scalar", named("add_scalar", tag), value)])

    @api
    def add_scalars(self, tag: str, values: Any, step: int) -> None:
        """Several numbers at a step: a pytree, each leaf under its path (``loss/train``, ``loss/test``).

        >>> import tempfile
        >>> with functrans.tensorboard.SummaryWriter(tempfile.mkdtemp()) as w:
        ...     w.add_scalars("loss", {"train": 0.5, "test": 0.6}, step=0)
        """
        pairs = leaves_by_name("add_scalars", tag, values)
        self._add(step, [self._scalar("add_scalars", name, x) for name, x in pairs])

    @api
    def add_histogram(self, tag: str, values: Any, step: int) -> None:
        """How the elements of an array are distributed at a step, in TensorBoard's buckets.

        Args:
          tag: the name; of a pytree, each leaf is a histogram of its own, under its path, e.g.
            ``gradients/hidden/w``.
          values: an array of real numbers, a list of numbers, or a pytree of arrays, such as parameters or
            their gradients. What is not finite is left out and counted, as the scalar ``tag/nonfinite``.
          step: a non-negative integer.
        """
        found = []
        for name, x in leaves_by_name("add_histogram", tag, values):
            encoded, nonfinite = histogram(row_of(_array("add_histogram", name, x)))
            if encoded is not None:
                found.append(wire.text(1, name) + wire.data(5, encoded))
            if nonfinite:
                found.append(self._scalar("add_histogram", f"{name}/nonfinite", nonfinite))
        self._add(step, found)

    def add_statistics(self, step: int, numbers: dict[str, float], rows: dict[str, np.ndarray]) -> None:
        """What a monitor saw at a step, as one event: scalars by tag, rows of statistics as histograms."""
        encoded = [(tag, histogram(row)[0]) for tag, row in rows.items()]
        self._add(step, [*[scalar_value(tag, x) for tag, x in numbers.items()],
                         *[wire.text(1, tag) + wire.data(5, h) for tag, h in encoded if h is not None]])

    @api
    def add_graph(self, fun: Callable, *args, **kwargs) -> None:
        """The program of a function, for TensorBoard's page of graphs; one for each run (the last is shown).

        Args:
          fun: any function that functrans traces; of ``grad(f)``, what the backward pass adds is in boxes
            below ``gradients/``, named as the scopes of the forward pass.
          args, kwargs: its arguments: arrays, numbers or ``ShapeDtypeStruct``s, in pytrees.

        Scopes (``functrans.name_scope``) are boxes, and so are bodies of loops, branches and jitted
        functions. Edges have shapes; operations have their parameters and the user's line.

        >>> import tempfile
        >>> with functrans.tensorboard.SummaryWriter(tempfile.mkdtemp()) as w:
        ...     w.add_graph(functrans.grad(lambda x: np.sum(np.tanh(x))), np.ones(3))
        """
        from .graph import graph_def
        self._check()
        self._file.write(wire.double(1, time.time()) + wire.data(4, graph_def(fun, args, kwargs)))

    # ----- the file ---------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The event file."""
        return self._file.path

    @api
    def flush(self) -> None:
        """Writes what waits in memory to the file."""
        self._check()
        self._file.flush()

    def close(self) -> None:
        """Writes what waits, and closes the file; again does nothing."""
        self._file.close()

    def __enter__(self) -> SummaryWriter:
        self._check()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SummaryWriter({self.logdir!r}{', closed' if self._file.closed else ''})"

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __reduce__(self) -> Any:
        raise errors.ArgumentError("a SummaryWriter cannot be pickled: it holds an open file.",
                                   "Make one in each process; several may write to one folder.")

    def _check(self) -> None:
        if self._file.closed:
            raise errors.ClosedError(f"the SummaryWriter of {self.logdir!r} is closed.",
                                     "Make another one (it may write to the same folder), or add everything "
                                     "inside of the 'with' block.")

    def _add(self, step: Any, values: list[bytes]) -> None:
        self._check()
        try:
            number = operator.index(step)
        except TypeError:
            number = -1
        if not 0 <= number < 1 << 63 or isinstance(step, (bool, np.bool_)):
            raise errors.ArgumentError(f"SummaryWriter: step={step!r} is not a non-negative integer.",
                                       "Pass the number of the step, e.g. by enumerate(batches).")
        if values:
            summary = b"".join([wire.data(1, v) for v in values])
            self._file.write(wire.double(1, time.time()) + wire.integer(2, number) + wire.data(5, summary))

    def _scalar(self, what: str, name: str, value: Any) -> bytes:
        x = _array(what, name, value)
        if x.size != 1:
            raise errors.ShapeError(
                f"{what}: the value of {name!r} is {x.dtype}{list(x.shape)}, not a single number.",
                "Reduce it first, e.g. with np.mean, or use add_histogram.")
        return scalar_value(name, float(x.reshape(())))


def scalar_value(name: str, x: float) -> bytes:
    """A Summary.Value."""
    return wire.text(1, name) + wire.single(2, x)


# ----- what users pass -----------------------------------------------------------------------------------


def _array(what: str, name: str, x: Any) -> np.ndarray:
    if type(x) is Tracer:
        raise errors.ConcretizationError(
            f"{what}: the value of {name!r} is traced: it is not known while a function is transformed.",
            "Return it from the function (grad and value_and_grad take has_aux=True), and add it outside; or "
            "mark it with functrans.tag and use functrans.monitor.")
    a = np.asarray(x)
    if a.dtype.kind not in "biuf":
        got = str(a.dtype) if a.dtype.kind == "c" else type(x).__name__
        raise errors.DtypeError(f"{what}: the value of {name!r} is {got}.",
                                "Pass real numbers; of complex ones their np.abs, for example.")
    return a
