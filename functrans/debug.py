"""Looking at values inside programs: printing, calling, stopping. They work under every transform."""

from __future__ import annotations

import builtins
import cmd
import dataclasses
import linecache
import pprint
import string
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from . import errors, tree
from .calling.staging import api, check_callable
from .rules.callbacks import bind
from .trace.core import is_live
from .trace.tracer import Tracer


@dataclasses.dataclass(frozen=True)
class _Print:
    """Prints its arguments by a format; equal for equal formats, so that programs are shared."""

    fmt: str

    def __call__(self, *args, **kwargs):
        builtins.print(self.fmt.format(*args, **kwargs))


class _Check(string.Formatter):
    """Says which fields a format has, so that a wrong one is found when the function is traced."""

    def __init__(self):
        super().__init__()
        self.used: set[Any] = set()

    def get_value(self, key, args, kwargs):
        self.used.add(key)
        return args[key] if isinstance(key, int) else kwargs[key]

    def format_field(self, value, format_spec):
        return ""

    def convert_field(self, value, conversion):
        return value

    def get_field(self, field_name, args, kwargs):
        first = field_name.split(".")[0].split("[")[0]
        key = int(first) if first.isdigit() else first
        return self.get_value(key, args, kwargs), key


def _check_format(fmt, args, kwargs):
    check = _Check()
    try:
        check.vformat(fmt, args, kwargs)
    except (IndexError, KeyError) as e:
        missing = e.args[0] if isinstance(e, KeyError) else "more values"
        raise errors.ArgumentError(f"debug.print: the format {fmt!r} needs {missing}; it gets {len(args)} "
                                   f"values and the names {sorted(kwargs)}.",
                                   "Give a value for each field.") from None
    spare = [i for i in range(len(args)) if i not in check.used] + [k for k in kwargs if k not in check.used]
    if spare:
        raise errors.ArgumentError(f"debug.print: the format {fmt!r} has no field for {spare}.",
                                   "Write {} for each value; an f-string has put its values in already.")


@api
def print(fmt: str | None = None, *args: Any, ordered: bool = False, partitioned: bool = False,
          skip_format_check: bool = False, _use_logging: bool = False, **kwargs: Any) -> Callable | None:
    """Prints values while the program runs.

    Args:
      fmt: as of ``str.format``; not an f-string, whose values would be those of the trace.
      args, kwargs: pytrees of arrays, or anything else.
      ordered: accepted as in JAX; printing always keeps the order of the program.
      partitioned: accepted as in JAX, for several devices.
      skip_format_check: whether a wrong format is found only when it prints.

    Under ``vmap`` there is a line for each example; of the forward pass only under ``grad``.

    >>> from functrans import debug, grad
    >>> def f(x):
    ...     debug.print("x is {x:.2f}", x=x)
    ...     return x * x
    >>> grad(f)(3.0)
    x is 3.00
    np.float64(6.0)
    """
    if fmt is None:
        return lambda *a, **k: print("{}", *a, **k)
    if not skip_format_check:
        _check_format(fmt, args, kwargs)
    bind("debug.print", _Print(fmt), args, kwargs, effect=True, name=repr(fmt))
    return None


@api
def callback(callback: Callable[..., None] | None = None, *args: Any, ordered: bool = False,
             partitioned: bool = False, **kwargs: Any) -> Callable | None:
    """Calls a Python function with values while the program runs; what it returns is dropped.

    The options are those of ``debug.print``. Unlike ``io_callback`` it may stand where derivatives pass.

    >>> from functrans import debug, jit
    >>> seen = []
    >>> jit(lambda x: debug.callback(seen.append, x))(1.5)
    >>> seen
    [np.float64(1.5)]
    """
    def called(function, *args, **kwargs):
        check_callable(function, "debug.callback")
        bind("debug.callback", function, args, kwargs, effect=True)

    return called if callback is None else called(callback, *args, **kwargs)


# ----- breakpoint ---------------------------------------------------------------------------------


@dataclasses.dataclass
class _Frame:
    """A frame of the user's code as it was traced; its variables get their values when it runs."""

    file: str
    line: int
    function: str
    names: dict
    globals: dict

    def head(self):
        return f"{self.file}({self.line}) in {self.function}"


def _user_frames(frame: FrameType | None, every: bool, most: int | None) -> list[FrameType]:
    found: list[FrameType] = []
    while frame is not None and (most is None or len(found) < most):
        if every or not errors._is_library(frame.f_code.co_filename):
            found.append(frame)
        frame = frame.f_back
    return found


@api
def breakpoint(*, backend: str | None = None, filter_frames: bool = True, num_frames: int | None = None,
               ordered: bool = False, token: Any = None, **kwargs: Any) -> None:
    """Stops when the program gets here, and shows the variables of the functions around, with their values.

    Args:
      backend: ``"cli"`` or None: a prompt in the terminal.
      filter_frames: whether frames of functrans, NumPy and SciPy are left out.
      num_frames: how many frames are kept, from the innermost; all by default.
      ordered, token: accepted as in JAX.
      stdin, stdout: streams of the prompt.

    The prompt knows ``p`` and ``pp`` (print an expression), ``u`` and ``d`` (frames), ``bt``, ``l`` (lines),
    ``c`` (continue) and ``q`` (quit: KeyboardInterrupt).

    >>> import io
    >>> from functrans import debug, jit
    >>> def f(x):
    ...     y = x + 1.0
    ...     debug.breakpoint(stdin=io.StringIO("p y * 2"), stdout=out)
    ...     return y
    >>> out = io.StringIO()
    >>> jit(f)(2.0)
    np.float64(3.0)
    >>> "6.0" in out.getvalue()
    True
    """
    if backend not in (None, "cli"):
        raise errors.NotSupportedError(f"debug.breakpoint: backend={backend!r}.", "Use 'cli'.")
    if set(kwargs) - {"stdin", "stdout"}:
        raise errors.ArgumentError(f"debug.breakpoint: unknown options {sorted(kwargs)}.",
                                   "It takes stdin and stdout.")
    here = _user_frames(sys._getframe(1), not filter_frames, num_frames)
    heads = [(f.f_code.co_filename, f.f_lineno, f.f_code.co_name) for f in here]
    everywhere = [f.f_globals for f in here]

    def stop(scopes):
        frames = [_Frame(*head, names, around) for head, names, around in
                  zip(heads, scopes, everywhere, strict=True)]
        _Prompt(frames, **kwargs).cmdloop()

    scopes = [{name: _shown(x) for name, x in f.f_locals.items()} for f in here]
    bind("debug.breakpoint", stop, (scopes,), {}, effect=True, name=heads[0][2] if heads else "a program")


class _Box:
    """A variable that is no array: a leaf, whatever it holds."""

    __functrans_leaf__ = True

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, _Box) and self.value is other.value

    __hash__ = object.__hash__


def _shown(value):
    """A variable with its traced parts open to the program, everything else boxed."""
    try:
        leaves, treedef = tree.flatten(value)
    except (TypeError, ValueError):
        return _Box(value)
    if not any(type(x) is Tracer for x in leaves):
        return _Box(value)
    return treedef.unflatten([x if type(x) is not Tracer or is_live(x) else _Box("<a leaked value>")
                              for x in leaves])


class _Prompt(cmd.Cmd):
    """Reads commands until one goes on."""

    prompt = "(functrans) "

    def __init__(self, frames, stdin=None, stdout=None):
        super().__init__(completekey="tab", stdin=stdin, stdout=stdout)
        self.use_rawinput = stdin is None
        self.frames, self.at = frames, 0
        self.show()

    def write(self, text):
        self.stdout.write(f"{text}\n")
        self.stdout.flush()

    def show(self):
        frame = self.frames[self.at] if self.frames else None
        if frame is not None:
            self.write(f"> {frame.head()}")
            self.write(f"-> {linecache.getline(frame.file, frame.line).strip()}")

    def value(self, text):
        frame = self.frames[self.at] if self.frames else _Frame("", 0, "", {}, {})
        names = {k: tree.map(lambda x: x.value if isinstance(x, _Box) else x, v)
                 for k, v in frame.names.items()}
        return eval(text, {**frame.globals, **names})

    def evaluated(self, text, show):
        try:
            self.write(show(self.value(text)))
        except Exception as e:
            self.write(f"{type(e).__name__}: {e}")

    def do_p(self, text):
        """p EXPRESSION: prints its value in this frame."""
        self.evaluated(text, repr)

    def do_pp(self, text):
        """pp EXPRESSION: prints its value over several lines."""
        self.evaluated(text, pprint.pformat)

    def do_u(self, text):
        """u: the calling frame."""
        self.move(1)

    def do_d(self, text):
        """d: the called frame."""
        self.move(-1)

    def move(self, step):
        if not 0 <= self.at + step < len(self.frames):
            self.write("there is no further frame")
            return
        self.at += step
        self.show()

    def do_bt(self, text):
        """bt: all frames, the innermost last."""
        for i, frame in reversed(list(enumerate(self.frames))):
            self.write(f"{'>' if i == self.at else ' '} {frame.head()}")

    def do_l(self, text):
        """l: the lines around."""
        if not self.frames:
            return
        frame = self.frames[self.at]
        for n in range(max(1, frame.line - 5), frame.line + 6):
            line = linecache.getline(frame.file, n).rstrip()
            self.write(f"{n:5}{' ->' if n == frame.line else '   '} {line}")

    def do_c(self, text):
        """c: goes on."""
        return True

    def do_q(self, text):
        """q: ends the program with KeyboardInterrupt."""
        raise KeyboardInterrupt("quit at a debug.breakpoint")

    def default(self, line):
        if line == "EOF":
            return True
        self.do_p(line)
        return None

    def emptyline(self):
        return False


__all__ = ["breakpoint", "callback", "print"]
