"""Tracing the function bodies that control flow holds: pytrees in, a jaxpr and its constants out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import errors, tree
from ..calling.staging import describe
from ..ir.core import Jaxpr, var
from ..numpy.core import convert, is_number
from ..trace.core import Captured, as_traced, aval_of, current_builder, trace
from ..trace.tracer import Tracer


class Body(NamedTuple):
    """A traced body: its inputs are those of ``avals`` and then ``consts``."""

    jaxpr: Jaxpr
    consts: list            # values of the surrounding trace, or captured ones
    out_tree: Any
    out_avals: list         # of the results as the function returned them: numbers are weak


def trace_body(function: Callable, avals, name: str, dtypes=()) -> Body:
    """Traces ``function(list of tracers) -> pytree``; the first results are converted to ``dtypes``."""
    def flat(*tracers):
        outs, out_tree = tree.flatten(function(list(tracers)))
        out_avals = [_result_aval(x, out_tree, i, name) for i, x in enumerate(outs)]
        for i, d in enumerate(dtypes):
            if i < len(outs) and d is not None and out_avals[i].dtype != d:
                outs[i] = convert(outs[i], d)
                out_avals[i] = aval_of(outs[i])
        return outs, (out_tree, out_avals)

    jaxpr, consts, (out_tree, out_avals) = trace(flat, avals, None, name)
    return Body(jaxpr, consts, out_tree, out_avals)


def _result_aval(x, out_tree, i, name):
    try:
        return aval_of(x)
    except (TypeError, AttributeError):
        raise errors.ResultTypeError(
            f"{name}: the body returned {describe(x)}{_at(out_tree.paths()[i])}, which is neither an array "
            "nor a number.", "Return arrays, numbers, or pytrees of them.") from None


def _at(path):
    return f" at {path}" if path else ""


def leaf_avals(leaves, treedef, what: str) -> list:
    """Avals of the leaves of an argument called ``what``."""
    out = []
    for i, x in enumerate(leaves):
        try:
            out.append(aval_of(x))
        except (TypeError, AttributeError):
            raise errors.DtypeError(
                f"{what}{treedef.paths()[i]} is {describe(x)}, where an array or a number is needed.",
                "Pass arrays, numbers, or pytrees of them.") from None
    return out


def bind_loop(op, consts, operands, params) -> list:
    """Binds a control op; where nothing is traced it runs at once, as one program."""
    operands = [*consts, *operands]
    if not any(type(x) is Tracer for x in operands):
        builder = current_builder()
        if builder is None or not (builder.axes or builder.staged):
            operands = [x.value if type(x) is Captured else x for x in operands]
        elif builder.axes and operands:         # a body may ask for its place along a named axis
            first = operands[0]
            operands[0] = as_traced(first if type(first) is Captured else np.asarray(first))
    return op(*operands, **params)


def shared_consts(bodies):
    """The constants of several bodies, each once, and per body where its own are among them."""
    consts: list = []
    position: dict[int, int] = {}
    places = []
    for body in bodies:
        for c in body.consts:
            if id(c) not in position:
                position[id(c)] = len(consts)
                consts.append(c)
        places.append([position[id(c)] for c in body.consts])
    return consts, places


def with_consts(body: Body, consts, places, n_in: int) -> Jaxpr:
    """The body's program with all shared constants as trailing inputs."""
    own = dict(zip(places, body.jaxpr.invars[n_in:], strict=True))
    extra = [own[i] if i in own else var(aval_of(c).strong, 0) for i, c in enumerate(consts)]
    return Jaxpr([*body.jaxpr.invars[:n_in], *extra], body.jaxpr.eqns, body.jaxpr.outs,
                 body.jaxpr.retraced)


# ----- carries: the same type at every turn -------------------------------------------------------


def carry_fixpoint(run, leaves, avals, treedef, name, carry_of, function):
    """Traces a loop's body until the types of its carry agree.

    Args:
      run: (carry avals, dtypes of the results) -> Body.
      leaves, avals, treedef: of the initial carry.
      carry_of: Body -> (the tree of the carry it returns, its avals).
      function: the user's body, whose lines errors name.

    A weak start takes the dtype that the body gives it, a weak result that of the start. Returns the
    body and the leaves in their final types.
    """
    avals, dtypes = list(avals), [None] * len(leaves)
    for _ in range(2 * len(leaves) + 2):
        body = run(avals, dtypes)
        out_tree, outs = carry_of(body)
        if out_tree != treedef:
            _structure_error(name, treedef, out_tree, _defined(function))
        settled = True
        for i, (a, out) in enumerate(zip(avals, outs, strict=True)):
            if a.weak and a is not out and _weaker(a, out):
                avals[i], settled = out, False
            elif out.weak and not a.weak and a.dtype != out.dtype and _weaker(out, a):
                dtypes[i], settled = a.dtype, False
        if settled:
            break
    for i, (a, out) in enumerate(zip(avals, outs, strict=True)):
        if a.strong is not out.strong:
            raise errors.CarryTypeError(
                f"{name}: carry{treedef.paths()[i]} starts as {a.strong} but the body returns "
                f"{out.strong}.", _carry_advice(a, out), _made_at(body.jaxpr, i) or _defined(function))
    return body, [_in_type(x, a) for x, a in zip(leaves, avals, strict=True)]


def _weaker(a, b):
    """Whether numbers of the weak type a become values of type b without loss of kind."""
    return a.shape == b.shape and "biufc".index(a.dtype.kind) <= "biufc".index(b.dtype.kind)


def _in_type(x, a):
    if is_number(x) or aval_of(x).dtype != a.dtype:
        return convert(x, a.dtype)
    return x


def _made_at(jaxpr, i):
    """The user's line that makes result i of a body, if any does."""
    made = next((e for e in jaxpr.eqns if jaxpr.outs[i] in e.outs), None)
    return errors.format_location(*made.src) if made is not None and made.src else None


def _defined(function):
    """Where a function begins."""
    code = getattr(function, "__code__", None)
    return errors.format_location(code.co_filename, code.co_firstlineno, code.co_name) if code else None


def _structure_error(name, want, got, location):
    sentinel = object()
    try:
        want.flatten_up_to(got.unflatten([sentinel] * got.num_leaves), "the carry that the body returns",
                           "the initial carry")
    except errors.TreeError as e:
        raise errors.TreeError(f"{name}: {e.got}.", "The body must return a carry of the structure that "
                                                    "it is given.", location) from None
    where = next((p for p, kid in zip(want.paths(), _subtrees(want, got), strict=True)
                  if kid.num_leaves != 1 or kid.node_type is not None), "")
    raise errors.TreeError(f"{name}: carry{where} is one value at first, but the body returns a container "
                           f"there: {got} instead of {want}.",
                           "The body must return a carry of the structure that it is given.", location)


def _subtrees(want, got):
    marks = got.unflatten(list(range(got.num_leaves)))
    return [tree.structure(x) for x in want.flatten_up_to(marks)]


def _carry_advice(a, out):
    if a.shape != out.shape:
        return (f"Shapes must stay the same: start with np.zeros({out.shape}) or the like, or reduce the "
                "result.")
    return (f"Start with dtype {out.dtype} (x.astype(np.{out.dtype})), or return "
            f"carry.astype(np.{a.dtype}).")


def number_of(x, name: str, what: str) -> Any:
    """A scalar operand: a tracer, or a NumPy scalar."""
    if type(x) is not Tracer and not isinstance(x, Captured):
        x = np.asarray(x)[()]
    if aval_of(x).shape:
        raise errors.ShapeError(f"{name}: {what} must be a scalar, got {aval_of(x)}.",
                                "Use np.where for an elementwise choice, or vmap.")
    return x
