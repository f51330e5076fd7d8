"""What a user can do wrong: one exception class per mistake.

Every class derives from FunctransError and from the builtin that NumPy or Python raises in such a
place, so existing ``except`` clauses keep working. A message has three parts: what was got, where
(the user's line, found by itself), and what to do about it::

    functrans.TracerBoolError: the truth value of a traced f64[] is not known under jit
      at model.py:12 in loss
      use functrans.numpy.where(cond, a, b), or functrans.lax.cond
"""

import os
import sys
from types import FrameType

import numpy as np

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PACKAGE = os.path.basename(os.path.dirname(_HERE))
_CYTHON = (".pyx", ".pxd", ".pxi")
_cache: dict[str, bool] = {}


def _is_internal(filename):
    """Whether a code object of this file belongs to functrans."""
    if filename.startswith(_HERE):
        return True
    # Cython frames carry the path that the compiler was given, usually "functrans/x/y.pyx".
    name = filename.replace("\\", "/")
    return name.endswith(_CYTHON) and (name.startswith(_PACKAGE + "/") or f"/{_PACKAGE}/" in name)


def _library_folders():
    folders = [_HERE]
    for name in ("numpy", "scipy"):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            folders.append(os.path.dirname(os.path.abspath(file)) + os.sep)
    return tuple(folders)


def _is_library(filename):
    """Whether a line of this file is of no use to the user: functrans, NumPy and SciPy."""
    known = _cache.get(filename)
    if known is None:
        known = _is_internal(filename) or filename.startswith(_library_folders())
        known = known or filename.startswith(("<frozen ", "<__array_function__"))
        if len(_cache) > 2000:  # notebooks make a new file name for each cell
            _cache.clear()
        _cache[filename] = known
    return known


def user_frame():
    """The innermost Python frame outside functrans, NumPy and SciPy; None when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def format_location(filename, line, function):
    """``"model.py:12 in loss"``; the path is shortened when it lies below the working folder."""
    try:
        here = os.getcwd() + os.sep
    except OSError:
        here = "\0"  # the working folder is gone: nothing lies below it
    if filename.startswith(here):
        filename = filename[len(here) :]
    return f"{filename}:{line} in {function}"


def pass_source():
    """``(file, line, function)`` of the equation that a pass is at, or None; set by ``trace``."""
    return None


def user_location():
    """The user's line as text, ``"model.py:12 in loss"``; None when there is none.

    In a pass it is the line that the equation comes from, not that of the transform's call.
    """
    source = pass_source()
    if source is not None:
        return format_location(*source)
    frame = user_frame()
    if frame is None:
        return None
    code = frame.f_code
    return format_location(code.co_filename, frame.f_lineno, code.co_name)


def hide_internal_frames(exc):
    """Drop the frames of functrans from an exception's traceback and from those it is chained to.

    Meant for the outermost wrapper of a call: ``except BaseException as e:
    hide_internal_frames(e); raise`` (a bare ``raise`` adds no entry of its own). The environment
    variable FUNCTRANS_TRACEBACK=full keeps all frames.
    """
    if os.environ.get("FUNCTRANS_TRACEBACK") == "full":
        return
    seen = set()
    todo = [exc]
    while todo:
        e = todo.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        _shorten(e)
        todo += (e.__cause__, e.__context__)
        if isinstance(e, BaseExceptionGroup):
            todo += e.exceptions


def _shorten(exc):
    entries = []
    tb = exc.__traceback__
    while tb is not None:
        entries.append(tb)
        tb = tb.tb_next
    kept = [t for t in entries if not _is_internal(t.tb_frame.f_code.co_filename)]
    if len(kept) == len(entries):
        return
    surprise = kept[-1:] != entries[-1:]  # raised by a line of functrans itself
    for t in reversed(kept):
        tb = type(t)(tb, t.tb_frame, t.tb_lasti, t.tb_lineno)
    exc.__traceback__ = tb
    if surprise and isinstance(exc, Exception) and not isinstance(exc, FunctransError):
        note = "(raised inside functrans; set FUNCTRANS_TRACEBACK=full to see all frames)"
        if note not in getattr(exc, "__notes__", ()):
            exc.add_note(note)


def _rebuild(cls, message, state):
    exc = cls.__new__(cls, message)
    exc.__dict__.update(state)
    return exc


class FunctransError(Exception):
    """Base of all exceptions of functrans.

    Parameters
    ----------
    got : str
        What was met.
    fix : str, optional
        What to do about it.
    location : str or False, optional
        Where; found from the call stack when not given, left out when False.
    """

    def __init__(self, got="", fix=None, location=None):
        if location is None:
            location = user_location()
        self.got = got
        self.fix = fix
        self.location = location or None
        lines = [got]
        if location:
            lines.append(f"at {location}")
        if fix:
            lines.append(fix.replace("\n", "\n  "))
        message = "\n  ".join(lines)
        super().__init__(message)
        self.args = (message,)  # NumPy's AxisError does not set it

    def __str__(self):
        return self.args[0] if self.args else ""

    def __reduce__(self):
        # The default would compose the message a second time.
        return _rebuild, (type(self), str(self), self.__dict__.copy())


class NonFiniteError(FunctransError, FloatingPointError):
    """``debug_nans`` or ``debug_infs`` met what it looks for; the text says which operation made it."""


class LeakedTracerError(FunctransError, RuntimeError):
    """A traced value was used after the call that made it had ended.

    >>> kept = []
    >>> jit(lambda x: kept.append(x))(1.0)  # doctest: +SKIP
    >>> kept[0] + 1                         # doctest: +SKIP

    Return the value from the function instead of storing it elsewhere.
    """


class ConcretizationError(FunctransError, ValueError):
    """A value is needed while tracing, but is not known yet.

    Not a TypeError: NumPy replaces those by its own text where it asks for a size.

    For example a shape, an axis or an index of a Python list computed from an argument of a jitted
    function: ``jit(lambda n: np.zeros(n))(3)``. Mark the argument as static.
    """


class TracerBoolError(ConcretizationError, TypeError):
    """Python control flow (``if``, ``while``, ``and``, ``assert``) on a value that is not known.

    Raised under jit, in loop bodies and for batched values: ``jit(lambda x: x if x > 0 else -x)``.
    Write ``where(x > 0, x, -x)``, or use ``lax.cond`` and ``lax.while_loop``.
    """


class DerivativeLostError(FunctransError, TypeError):
    """A traced float is turned into a plain number, which would drop its derivative.

    Raised by ``float(x)``, ``x.item()``, ``np.asarray(x)``, ``math.sin(x)``. Use the NumPy function
    (``np.sin``), ``functrans.numpy.array`` to build arrays, or ``stop_gradient`` if dropping the
    derivative is meant.
    """


class InPlaceError(FunctransError, TypeError, NotImplementedError):
    """A traced value is written into, or stored in, an existing array.

    Raised by ``x[0] = 1``, ``buffer[i] = x``, ``np.add(a, x, out=buffer)``, ``np.copyto``. Build
    the array from its parts (``np.stack``), or use ``functrans.at(x)[0].set(1)``.
    """


class ShapeError(FunctransError, ValueError):
    """Shapes do not fit together, as in ``f64[3] + f64[4]`` or a reshape to another size."""


class AxisError(FunctransError, np.exceptions.AxisError):
    """An axis is out of range or named twice, as in ``sum(f64[3], axis=1)``.

    Also a ValueError and an IndexError, as NumPy's class of this name.
    """

    def __init__(self, got="", fix=None, location=None, axis=None, ndim=None):
        super().__init__(got, fix, location)
        self.axis = axis
        self.ndim = ndim

    def __reduce__(self):
        # axis and ndim are slots of NumPy's class: they are missing from __dict__.
        state = {**self.__dict__, "axis": self.axis, "ndim": self.ndim}
        return _rebuild_axis, (type(self), str(self), state)


def _rebuild_axis(cls, message, state):
    exc = cls.__new__(cls, message)
    for name, value in state.items():
        setattr(exc, name, value)
    return exc


class DtypeError(FunctransError, TypeError):
    """An operation does not take this dtype, as in ``bitwise_and`` of floats."""


class TreeError(FunctransError, TypeError):
    """Two pytrees differ where they must agree, or a value cannot be taken apart as a pytree.

    For example ``tree.map(f, {'a': 1}, {'b': 1})``, ``vmap(f, in_axes=(0, 0))`` for a function of
    three arguments, or a dict whose keys cannot be sorted. The message names the path.
    """


class ArgumentError(FunctransError, TypeError):
    """A transform, or what it made, is called in a way that it does not take.

    For example ``grad(f, argnums=2)(x)``, an unhashable static argument of ``jit``, or ``grad(f(x))``
    instead of ``grad(f)(x)``.
    """


class NonScalarOutputError(FunctransError, TypeError):
    """``grad`` of a function that returns an array: ``grad(lambda x: x * 2)(np.ones(3))``.

    Reduce the output (``np.sum``), or use ``jacrev``, ``jacfwd`` or ``vjp``.
    """


class IntegerInputError(FunctransError, TypeError):
    """Differentiation with respect to an integer or bool: ``grad(f)(3)``.

    Pass ``3.0``, choose other ``argnums``, or give ``allow_int=True``.
    """


class NotComplexError(FunctransError, TypeError):
    """``holomorphic=True`` with real arguments or results, or a Jacobian of complex ones without it."""


class ResultTypeError(FunctransError, TypeError):
    """A transformed function returns what is no array: a string, an object, a set."""


class BatchSizeError(FunctransError, ValueError):
    """The mapped axes of a ``vmap`` differ in size, or a mapped argument has no such axis."""


class NonDifferentiableError(FunctransError, TypeError):
    """The derivative asked for does not exist or has no rule.

    For example forward mode through a ``custom_vjp`` function, or ``grad`` through a callback.
    """


class UnboundAxisError(FunctransError, NameError):
    """A collective names an axis that no enclosing ``vmap`` binds: ``psum(x, 'batch')``."""


class NotSupportedError(FunctransError, NotImplementedError):
    """A NumPy function, argument or dtype that functrans does not have (yet)."""


class MissingNameError(NotSupportedError, AttributeError):
    """A name of NumPy that has no meaning for traced arrays: ``functrans.numpy.matrix``.

    Also an AttributeError, so ``hasattr`` gives False.
    """


class IndexRangeError(FunctransError, IndexError):
    """A known index is out of range: ``x[5]`` for ``f64[3]``."""


class RandomKeyError(FunctransError, TypeError):
    """A random function got something else than a key: ``random.normal(0.5)``, ``random.normal(keys)``.

    Make a key with ``random.key(seed)``; use each key once, and ``random.split`` for more.
    """


class OptionError(FunctransError, ValueError):
    """A setting is out of its range, or none of those that there are: ``adam(-0.1)``, ``padding="FULL"``."""


class MissingPackageError(FunctransError, ImportError):
    """An optional package is needed and not installed; the text has the command that installs it."""


class CarryTypeError(FunctransError, TypeError):
    """The carry of a loop changes its shape, dtype or structure from one turn to the next.

    For example ``scan(lambda c, x: (np.stack([c, x]), None), 0.0, xs)``.
    """


class GraphError(FunctransError, ValueError):
    """A ``Graph`` is built or run in a way that it does not take.

    For example a placeholder that is not fed, a fetch or a feed that belongs to another graph, a name that
    is taken, an equation added to a finalized graph, ``grad_ys`` of another number than ``ys``.
    """


class UnknownSymbolError(GraphError, KeyError):
    """A name that no symbol of the graph has: ``graph["loss"]``, ``graph.run("loss")``."""


class SparsityError(FunctransError, ValueError):
    """A sparsity pattern that does not fit: of another shape, with entries missing, or not sparse at all."""


class BoundsError(FunctransError, ValueError):
    """No value fits given bounds: a lower one exceeds its upper one, or x0 lies outside."""


class ObjectiveError(FunctransError, ValueError):
    """A function to optimize is nan or infinite where that cannot be: at the start, or at the end."""


class CallbackResultError(FunctransError, ValueError, TypeError):
    """A function called from a program returned arrays of another shape or dtype than was announced.

    For example ``pure_callback(f, ShapeDtypeStruct((3,), "float64"), x)`` for an f that returns float32.
    """


class DrawingError(FunctransError, ValueError):
    """A picture (``functrans.viz``) that is not drawn or saved: an unknown file type, a missing package."""


class KernelError(FunctransError, RuntimeError):
    """A kernel that a user has added (``functrans.extend.primitive``) returned another number than 0."""


class DonationError(FunctransError, ValueError):
    """Memory of a donated argument is that of another argument, too."""


class LogdirError(FunctransError, ValueError):
    """A folder or file for logs cannot be made or written to."""


class ClosedError(FunctransError, ValueError):
    """Something is written after the writer was closed."""


class TagError(FunctransError, ValueError):
    """A tag's name stands for different values, or there is nothing under it."""


class CheckError(FunctransError, AssertionError):
    """A check of ``functrans.testing`` failed: a derivative or a batched result is not what it should be.

    The message names the worst element, and the line of the operation whose own derivative is off most.
    """


class ThreadCountError(FunctransError, ValueError):
    """A number of threads that is none: ``set_num_threads(0)``, ``threads("2")``."""


class BuildError(FunctransError, ImportError):
    """The compiled modules are missing or were built from other sources: rebuild functrans."""


__all__ = [name for name, v in list(globals().items()) if isinstance(v, type)] + [
    "format_location",
    "hide_internal_frames",
    "user_frame",
    "user_location",
]
