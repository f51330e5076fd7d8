"""Calls into Python from inside programs: they run where the program runs, under every transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors, tree
from ..calling.staging import api, check_callable, name_of
from ..ops.effects import METHODS, Callback, callback_op
from ..trace.core import aval_of, current_builder


def _announced(name, result_shape_dtypes):
    """The tree of the results and their avals."""
    typed = lambda x: hasattr(x, "shape") and hasattr(x, "dtype")
    leaves, out_tree = tree.flatten(result_shape_dtypes, typed)
    avals = []
    for i, x in enumerate(leaves):
        try:
            avals.append(aval_of(np.empty(tuple(x.shape), x.dtype)).strong)
        except (AttributeError, TypeError):
            raise errors.ArgumentError(
                f"{name}: result_shape_dtypes{out_tree.paths()[i]} is a {type(x).__name__}.",
                "Give functrans.ShapeDtypeStruct(shape, dtype), or an array like the result, for each."
            ) from None
    return out_tree, tuple(avals)


def _array_like(x) -> bool:
    try:
        aval_of(x)
    except (TypeError, AttributeError):
        return False
    return True


def bind(kind: str, function: Callable, args: tuple, kwargs: dict, *, results=None, effect: bool,
         method: str = "sequential", name: str | None = None):
    """Calls ``function`` now, or records the call where a trace is open.

    ``results`` is ``(tree, avals)`` of what it returns, or None where that does not matter.
    """
    leaves, in_tree = tree.flatten((args, kwargs))
    fixed = tuple([(i, x) for i, x in enumerate(leaves) if not _array_like(x)])
    given = [x for x in leaves if _array_like(x)]
    out_tree, out_avals = results or (None, ())
    callback = Callback(kind, function, in_tree, fixed, out_tree, out_avals, effect, method,
                        name or name_of(function))
    if current_builder() is None:
        outs = [np.array(x)[()] for x in callback.call([np.array(x) for x in given])]
    else:
        outs = callback_op(*given, callback=callback, lead=(), loops=())[:len(out_avals)]
    return out_tree.unflatten(outs) if out_tree is not None else None


@api
def pure_callback(callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, sharding: Any = None,
                  vmap_method: str | None = None, **kwargs: Any) -> Any:
    """What a Python function returns for arrays, from inside programs.

    The function must have no effects: a call whose results nobody reads may be left out, and equal calls may
    be made once. It has no derivative; give it one with ``custom_jvp`` or ``custom_vjp``.

    Args:
      callback: takes and returns pytrees of NumPy arrays (scalars where they have no axes).
      result_shape_dtypes: a pytree like its result, of ``ShapeDtypeStruct`` or arrays.
      args, kwargs: pytrees of arrays; other objects reach the function as they are.
      sharding: None.
      vmap_method: how ``vmap`` calls it. ``"sequential"`` (also None): once for each example.
        ``"expand_dims"``: once, with a leading axis, of extent 1 in arguments that are not mapped;
        ``"broadcast_all"``: the same, these repeated. The results then have the leading axis too.

    Raises:
      CallbackResultError: it returned another shape or dtype. Its own exceptions arrive at the caller of the
        program, with a note that says where it is called.

    >>> import numpy as np
    >>> from functrans import ShapeDtypeStruct, jit, pure_callback, vmap
    >>> def area(x):
    ...     return np.float64(sum(x.tolist()))
    >>> f = jit(lambda x: 2 * pure_callback(area, ShapeDtypeStruct((), "float64"), x))
    >>> f(np.arange(3.0))
    np.float64(6.0)
    >>> vmap(f)(np.arange(6.0).reshape(2, 3))
    array([ 6., 24.])
    """
    check_callable(callback, "pure_callback")
    _one_device("pure_callback", sharding)
    if vmap_method is not None and vmap_method not in METHODS:
        raise errors.ArgumentError(f"pure_callback: vmap_method={vmap_method!r}.",
                                   f"Use one of {', '.join(METHODS)}.")
    results = _announced("pure_callback", result_shape_dtypes)
    return bind("pure_callback", callback, args, kwargs, results=results, effect=False,
                method=vmap_method or "sequential")


@api
def io_callback(callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, sharding: Any = None,
                ordered: bool = False, **kwargs: Any) -> Any:
    """Calls a Python function that acts: each call is made, once for each time the program gets there.

    Calls are made in the order of the program, whether ``ordered`` or not; they have been made when the
    program has returned. ``vmap`` calls it for each example, one after the other. A call whose
    results ``checkpoint`` needs for the backward pass is made again there. It has no derivative.

    Args:
      callback: takes and returns pytrees of NumPy arrays (scalars where they have no axes).
      result_shape_dtypes: a pytree like its result, of ``ShapeDtypeStruct`` or arrays; None for no result.
      args, kwargs: pytrees of arrays; other objects reach the function as they are.
      sharding: None.

    >>> import numpy as np
    >>> from functrans import io_callback, lax
    >>> seen = []
    >>> def body(c, x):
    ...     io_callback(seen.append, None, c)
    ...     return c + x, None
    >>> lax.scan(body, 0.0, np.array([1.0, 2.0, 3.0]))[0]
    np.float64(6.0)
    >>> seen
    [np.float64(0.0), np.float64(1.0), np.float64(3.0)]
    """
    check_callable(callback, "io_callback")
    _one_device("io_callback", sharding)
    return bind("io_callback", callback, args, kwargs, results=_announced("io_callback", result_shape_dtypes),
                effect=True)


def _one_device(name, sharding):
    if sharding is not None:
        raise errors.NotSupportedError(f"{name}: sharding={sharding!r}.",
                                       "functrans runs on one CPU: leave sharding out.")


__all__ = ["io_callback", "pure_callback"]
