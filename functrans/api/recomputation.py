"""checkpoint: what the backward pass computes again instead of keeping it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import errors, tree
from ..calling.boundary import Transformed
from ..calling.staging import api, check_callable, describe, in_trace, trace_call
from ..ir.op import OPS
from ..ops.remat import remat as remat_op
from ..trace.core import current_builder
from ..trace.tracer import Tracer


@api
def checkpoint(fun: Any = None, *, prevent_cse: bool = True, policy: Callable[..., bool] | None = None,
               static_argnums: int | tuple[int, ...] = ()) -> Callable:
    """``fun`` whose intermediate values are computed again in the backward pass instead of kept.

    Args:
      policy: which values are kept after all: one of ``functrans.checkpoint_policies``, or a function
        ``(op, *avals, **params) -> bool``. None keeps the arguments only.
      prevent_cse: accepted for compatibility. What is computed again is a program of its own here, so
        no pass merges it with what was computed before.
      static_argnums: positions of arguments that must not be traced; all others may be anything that
        ``fun`` takes, too.

    Without ``fun`` it is a decorator: ``@checkpoint(policy=...)``.

    Raises:
      TypeError: fun or policy is no function; a static argument is traced.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_policies, grad
    >>> grad(checkpoint(lambda x: np.sin(np.sin(x))))(0.0)
    np.float64(1.0)
    >>> @checkpoint(policy=checkpoint_policies.dots_saveable)
    ... def layer(w, x):
    ...     return np.tanh(w @ x)
    """
    if fun is None:
        return partial(checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums)
    check_callable(fun, "checkpoint")
    if policy is not None and not callable(policy):
        raise errors.ArgumentError(f"checkpoint: policy must be a function, got {describe(policy)}.",
                                   "Use one of functrans.checkpoint_policies.")
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    def call(*args, **kwargs):
        if current_builder() is None:
            return fun(*args, **kwargs)
        for i in static:
            if -len(args) <= i < len(args) and in_trace(tree.leaves(args[i])):
                raise errors.ArgumentError(f"checkpoint: argument {i} is in static_argnums but is traced.",
                                           "Take it out of static_argnums.")
        leaves, treedef = tree.flatten((args, kwargs))
        places = [i for i, x in enumerate(leaves) if type(x) is Tracer]
        made: list = []

        def body(tracers):
            full = list(leaves)
            for i, t in zip(places, tracers, strict=True):
                full[i] = t
            own_args, own_kwargs = treedef.unflatten(full)
            made.append(fun(*own_args, **own_kwargs))
            return made[0]

        given = [leaves[i] for i in places]
        traced = trace_call(body, given, [x.aval.strong for x in given], "checkpoint")
        if not given and not in_trace(traced.consts):       # nothing to differentiate
            return made[0]
        outs = remat_op(*given, *traced.consts, jaxpr=traced.jaxpr, policy=policy)
        return traced.out_tree.unflatten(outs)

    return Transformed(call, fun, "checkpoint", (_remake, (fun, prevent_cse, policy, static_argnums)))


def _remake(fun, prevent_cse, policy, static_argnums):
    return checkpoint(fun, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums)


remat = checkpoint


@api
def checkpoint_name(x: Any, name: str) -> Any:
    """x, under a name by which policies of ``checkpoint`` know it; works on pytrees.

    >>> import numpy as np
    >>> from functrans import checkpoint, checkpoint_name, checkpoint_policies, grad
    >>> def f(x):
    ...     y = checkpoint_name(np.sin(x), "y")
    ...     return np.sin(np.sin(y))
    >>> keep_y = checkpoint_policies.save_only_these_names("y")
    >>> bool(np.isclose(grad(checkpoint(f, policy=keep_y))(1.0), grad(f)(1.0)))
    True
    """
    if not isinstance(name, str):
        raise errors.ArgumentError(f"checkpoint_name: the name must be a string, got {describe(name)}.",
                                   "Write checkpoint_name(x, 'name').")
    return tree.map(lambda v: OPS["checkpoint_name"](v, name=name) if type(v) is Tracer else v, x)


__all__ = ["checkpoint", "checkpoint_name", "remat"]
