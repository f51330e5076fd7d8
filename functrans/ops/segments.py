"""Loops in segments: programs equal to a loop whose reverse mode keeps the state at few turns and runs
the turns between again. They are nested loops whose bodies are ``remat``, so every transform takes them.
"""

from __future__ import annotations

import numpy as np

from ..ir.core import Jaxpr, aval
from ..ir.op import OPS
from .call import Passes, split
from .remat import remat

_INDEX = aval((), np.int64)
_ENDLESS = np.iinfo(np.int64).max


def scan_in_segments(scan, in_avals, *, jaxpr, n_consts, n_carry, length, reverse, segments) -> Jaxpr:
    """A scan as one over segments of ``segments[0]`` turns, these in segments of ``segments[1]``, and so on;
    what is left over comes behind."""
    size, inner = segments[0], segments[1:]
    q, r = divmod(length, size)

    def one(*values):
        return scan(*values, jaxpr=jaxpr, n_consts=n_consts, n_carry=n_carry, length=size, reverse=reverse,
                    segments=inner)

    def part(x, start, stop):
        a = x.aval
        return OPS["slice"](x, start=(start, *[0] * (a.ndim - 1)), limit=(stop, *a.shape[1:]),
                            stride=(1,) * a.ndim)

    def program(*values):
        consts, carry, xs = split(values, n_consts, n_carry)
        at = r if reverse else 0
        main = [OPS["reshape"](part(x, at, at + q * size), shape=(q, size, *x.aval.shape[1:])) for x in xs]
        entries = [aval(x.aval.shape[1:], x.aval.dtype) for x in main]
        once = Passes.stage(one, [x.aval for x in (*consts, *carry)] + entries)
        again = Passes.stage(lambda *v: remat(*v, jaxpr=once), list(once.in_avals))
        outs = scan(*consts, *carry, *main, jaxpr=again, n_consts=n_consts, n_carry=n_carry, length=q,
                    reverse=reverse)
        carry, ys = split(outs, n_carry)
        ys = [OPS["reshape"](y, shape=(q * size, *y.aval.shape[2:])) for y in ys]
        if r:
            rest = [part(x, 0, r) if reverse else part(x, q * size, length) for x in xs]
            outs = scan(*consts, *carry, *rest, jaxpr=jaxpr, n_consts=n_consts, n_carry=n_carry, length=r,
                        reverse=reverse)
            carry, more = split(outs, n_carry)
            ys = [OPS["concatenate"](*((b, a) if reverse else (a, b)), axis=0)
                  for a, b in zip(ys, more, strict=True)]
        return [*carry, *ys]

    return Passes.stage(program, in_avals)


def while_in_segments(while_, *, cond, body, n_cond, n_body, segments) -> Jaxpr:
    """A while loop in segments: of ``n`` turns for ``("every", n)``; for ``("levels", r)`` the k-th one of
    k turns if r is 2, of k such segments if r is 3, and so on.

    With r levels a loop of n turns keeps about r (r! n)**(1/r) states and runs every turn r times, its
    end being unknown in advance.
    """
    kind, n = segments
    program = _level(while_, None, cond, body, n_cond, n_body, None)
    for _ in range(n - 1 if kind == "levels" else 1):
        program = _level(while_, program, cond, body, n_cond, n_body, n if kind == "every" else None)
    endless = [Passes.lit(_ENDLESS, _INDEX)]

    def run(*values):
        head, carry = list(values[:n_cond + n_body]), list(values[n_cond + n_body:])
        return Passes.evaluate(program, [*head, *endless, *carry])

    avals = [*program.in_avals[:n_cond + n_body], *program.in_avals[n_cond + n_body + 1:]]
    return Passes.stage(run, avals)


def _level(while_, inner, cond, body, n_cond, n_body, every) -> Jaxpr:
    """``(consts of both, limit, state) -> state``: at most ``limit`` turns, or segments, of ``inner``."""
    consts = [a.strong for a in (*cond.in_avals[:n_cond], *body.in_avals[:n_body])]
    carry = [a.strong for a in body.in_avals[n_body:]]

    def left(limit, *values):
        cc, (i, *state) = split(values, n_cond)
        return [OPS["and"](OPS["lt"](i, limit), *Passes.evaluate(cond, [*cc, *state]))]

    def turn(*values):
        cc, cb, (i, *state) = split(values, n_cond, n_body)
        more = OPS["add"](i, 1)
        if inner is None:
            return [more, *Passes.evaluate(body, [*cb, *state])]
        limit = more if every is None else Passes.lit(every, _INDEX)
        return [more, *remat(*cc, *cb, limit, *state, jaxpr=inner)]

    tested = Passes.stage(left, [_INDEX, *consts[:n_cond], _INDEX, *carry])
    turned = Passes.stage(turn, [*consts, _INDEX, *carry])

    def program(*values):
        cc, cb, (limit, *state) = split(values, n_cond, n_body)
        return while_(limit, *cc, *cc, *cb, Passes.lit(0, _INDEX), *state, cond=tested, body=turned,
                      n_cond=1 + n_cond, n_body=n_cond + n_body)[1:]

    return Passes.stage(program, [*consts, _INDEX, *carry])
