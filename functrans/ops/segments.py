"""Loops in segments: programs equal to a loop whose reverse mode keeps the state at few turns and runs
the turns between again. They are nested loops whose bodies are ``remat``, so every transform takes them.
"""

from __future__ import annotations

import numpy as np

from ..ir.core import Jaxpr, aval
from ..ir.op import OPS, aval_of
from .call import Passes, split
from .remat import remat

_INDEX = aval((), np.int64)
_ENDLESS = np.iinfo(np.int64).max


def scan_in_segments(scan, in_avals, *, jaxpr, n_consts, n_carry, length, reverse, segments) -> Jaxpr:
    """A scan as one over segments of ``segments[0]`` turns, these in segments of ``segments[1]``, and so on;
    what is left over comes behind."""
    size, inner = segments[0], segments[1:]

    def one(*values):
        return scan(*values, jaxpr=jaxpr, n_consts=n_consts, n_carry=n_carry, length=size, reverse=reverse,
                    segments=inner)

    def again(avals):
        once = Passes.stage(one, avals)
        return Passes.stage(lambda *v: remat(*v, jaxpr=once), avals)

    return _in_parts(scan, in_avals, again, size, jaxpr, n_consts, n_carry, length, reverse)


def unrolled_scan(scan, in_avals, *, jaxpr, n_consts, n_carry, length, reverse, size) -> Jaxpr:
    """A scan as one whose body is ``size`` turns, one written after the other; what is left over comes
    behind."""
    def turns(*values):
        consts, carry, xs = split(values, n_consts, n_carry)
        ys = []
        for i in range(size)[::-1 if reverse else 1]:
            row = [OPS["reshape"](_part(x, i, i + 1), shape=x.aval.shape[1:]) for x in xs]
            carry, y = split(Passes.evaluate(jaxpr, [*consts, *carry, *row]), n_carry)
            ys.append([OPS["reshape"](v, shape=(1, *aval_of(v).shape)) for v in y])
        columns = zip(*(ys[::-1] if reverse else ys), strict=True)
        return [*carry, *[OPS["concatenate"](*c, axis=0) for c in columns]]

    return _in_parts(scan, in_avals, lambda avals: Passes.stage(turns, avals), size, jaxpr, n_consts, n_carry,
                     length, reverse)


def _part(x, start, stop):
    _, *rest = x.aval.shape
    return OPS["slice"](x, start=(start, *[0] * len(rest)), limit=(stop, *rest), stride=(1,) * x.aval.ndim)


def _in_parts(scan, in_avals, body, size, jaxpr, n_consts, n_carry, length, reverse) -> Jaxpr:
    """A scan over parts of ``size`` turns, which ``body(avals)`` is a program of, and one of the rest."""
    q, r = divmod(length, size)

    def program(*values):
        consts, carry, xs = split(values, n_consts, n_carry)
        at = r if reverse else 0
        main = [OPS["reshape"](_part(x, at, at + q * size), shape=(q, size, *x.aval.shape[1:])) for x in xs]
        entries = [aval(x.aval.shape[1:], x.aval.dtype) for x in main]
        several = body([x.aval for x in (*consts, *carry)] + entries)
        outs = scan(*consts, *carry, *main, jaxpr=several, n_consts=n_consts, n_carry=n_carry, length=q,
                    reverse=reverse)
        carry, ys = split(outs, n_carry)
        ys = [OPS["reshape"](y, shape=(q * size, *y.aval.shape[2:])) for y in ys]
        if r:
            rest = [_part(x, 0, r) if reverse else _part(x, q * size, length) for x in xs]
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
