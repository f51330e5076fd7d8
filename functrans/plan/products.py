"""Products of one large matrix with several vectors become one product, which reads the matrix once.

A Hessian-vector product has X @ w and X @ v; from memory, the second costs nothing beside the first.
"""

from __future__ import annotations

from functools import lru_cache

from ..ir.core import Eqn, Jaxpr, Sig, Var, eqn, signature, var
from ..ir.op import OPS

LARGE = 1 << 20         # bytes: a matrix that the cache does not keep until it is read again
MOST = 4                # columns that the kernels take in one pass


def together(jaxpr: Jaxpr) -> Jaxpr:
    """The program with such products made where the first of them was."""
    dot = OPS["dot_general"]
    if not any([_large(e.sig) for e in jaxpr.eqns if e.sig.op is dot]):
        return jaxpr
    defined: dict[Var, int] = {}
    turned: dict[Var, Var] = {}                        # transposed matrices: of which
    open_groups: dict[tuple[Var, int], list[int]] = {}
    groups: dict[int, list[int]] = {}
    for number, e in enumerate(jaxpr.eqns):
        if e.sig.op.name == "transpose" and e.params["perm"] == (1, 0) and type(e.inputs[0]) is Var:
            turned[e.outs[0]] = e.inputs[0]
        found = _matrix(e, turned)
        if found is not None:
            matrix, axis, vector = found
            group = open_groups.get((matrix, axis))
            if group is not None and len(group) < MOST and defined.get(vector, -1) < group[0]:
                group.append(number)
                groups[group[0]] = group
            else:
                open_groups[matrix, axis] = [number]
        for v in e.outs:
            defined[v] = number
    if not groups:
        return jaxpr
    done = {number for group in groups.values() for number in group}
    eqns: list[Eqn] = []
    for number, e in enumerate(jaxpr.eqns):
        if number in groups:
            eqns += _product([jaxpr.eqns[i] for i in groups[number]], turned)
        elif number not in done:
            eqns.append(e)
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.retraced, jaxpr.names)


@lru_cache(8192)
def _large(sig: Sig) -> bool:
    """Whether it is a product with a large matrix."""
    return any([a.ndim == 2 and a.nbytes >= LARGE for a in sig.in_avals])


def _matrix(e: Eqn, turned: dict[Var, Var]) -> tuple[Var, int, Var] | None:
    """``(matrix, its contracted axis, vector)`` if e is a product of these."""
    if e.sig.op.name != "dot_general" or e.params["batch"] != ((), ()):
        return None
    for i in (0, 1):
        matrix, vector = e.inputs[i], e.inputs[1 - i]
        axes = e.params["contract"][i]
        if (type(matrix) is Var and type(vector) is Var and matrix.aval.ndim == 2 and vector.aval.ndim == 1
                and len(axes) == 1 and matrix.aval.nbytes >= LARGE and matrix.aval.dtype.kind == "f"):
            return (turned[matrix], 1 - axes[0], vector) if matrix in turned else (matrix, axes[0], vector)
    return None


def _product(products: list[Eqn], turned: dict[Var, Var]) -> list[Eqn]:
    """The vectors as rows, their product with the matrix, and its rows."""
    made: list[Eqn] = []
    first = products[0]

    def bind(name: str, inputs: tuple, outs: tuple | None = None, **params) -> Var:
        sig = signature(OPS[name], tuple([x.aval for x in inputs]), params)
        made.append(eqn(sig, inputs, outs or (var(sig.out, 0),), first))
        return made[-1].outs[0]

    found = [m for e in products if (m := _matrix(e, turned)) is not None]
    matrix, axis, vector = found[0]
    length = vector.aval.size
    rows = [bind("reshape", (v,), shape=(1, length)) for _, _, v in found]
    out = bind("dot_general", (bind("concatenate", tuple(rows), axis=0), matrix),
               contract=((1,), (axis,)), batch=((), ()))
    many = out.aval.shape[1]
    for i, e in enumerate(products):
        row = bind("slice", (out,), start=(i, 0), limit=(i + 1, many), stride=(1, 1))
        bind("reshape", (row,), e.outs, shape=(many,))
    return made
