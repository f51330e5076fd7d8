"""Where a nan or an inf comes from: ``with functrans.debug_nans(): ...``.

While it is on, the results of every program are looked at. If one holds a nan, the program runs again,
operation by operation, and what first made a nan that reaches a result is reported. Nothing is checked
in the plans themselves, so nothing is slower while it is off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import errors, plan
from ..calling import staging
from ..calling.boundary import watch
from ..ir.core import Eqn, Jaxpr, Lit, Var, eqn, signature, var
from ..ops.call import split
from ..trace.core import Captured, aval_of
from ..trace.tracer import Upward
from ..transform.cleanup import cleanup
from ..transform.programs import PASSES, own_programs

NAMES = {"nan": np.isnan, "inf": np.isinf}


class _Local(threading.local):
    wanted: tuple[str, ...] = ()    # of this thread: what is looked for


_local = _Local()
_lock = threading.Lock()
_users = 0                          # contexts that are open, in all threads
_run_op = Upward.run_op


def debug_nans(enabled: bool = True) -> Any:
    """A context in which a result with a nan is an error that says which operation made it.

    Inside it, a transformed function (also under ``jit``, in loops, in derivatives of any order) and a
    single operation raise ``FloatingPointError`` when a result holds a nan. The message names the
    operation, the user's line of the forward code, its operands, the turn if it is in a loop, and whether
    it belongs to the forward or to the backward pass. A nan that no result depends on, as in the branch
    of ``np.where`` that is not taken, is no error. ``debug_nans(False)`` ends it for a part.

    It holds for the thread that enters it. Inside, functions are traced at every call; outside it costs
    nothing. What callbacks do, they do once more when the operation is looked for.

    >>> import numpy as np
    >>> from functrans import debug_nans, grad
    >>> with debug_nans():
    ...     grad(lambda x: np.log(x - 1.0))(0.5)
    Traceback (most recent call last):
    functrans.errors.NonFiniteError: nan in the forward pass: log gave f64[] = nan.
    """
    return _watch("nan", enabled)


def debug_infs(enabled: bool = True) -> Any:
    """The same as ``debug_nans`` for infinities.

    >>> import numpy as np
    >>> from functrans import debug_infs, grad
    >>> with debug_infs():
    ...     grad(np.log)(0.0)
    Traceback (most recent call last):
    functrans.errors.NonFiniteError: inf in the forward pass: log gave f64[] = -inf.
    """
    return _watch("inf", enabled)


@contextmanager
def _watch(name: str, enabled: bool) -> Iterator[None]:
    before = _local.wanted
    others = tuple([n for n in before if n != name])
    _local.wanted = (*others, name) if enabled else others
    _count(1)
    try:
        with own_programs(staging.PROGRAMS, PASSES):
            yield
    finally:
        _count(-1)
        _local.wanted = before


def _count(by: int) -> None:
    """Hooks are there while any thread has a context open."""
    global _users
    with _lock:
        _users += by
        on = _users > 0
        staging.Watch.run = _checked_pass if on else None
        watch(on)
        Upward.run_op = staticmethod(_checked_op if on else _run_op)


def _found(values: Any) -> str | None:
    """What is looked for and in one of the values."""
    for name in _local.wanted:
        for x in values:
            if np.asarray(x).dtype.kind in "fc" and NAMES[name](x).any():
                return name
    return None


def _checked_pass(found: staging.Pass, values: list) -> list:
    """The results of a program. What nobody reads is looked at, too: the value of a function of which only
    the gradient is wanted."""
    jaxpr = found.raw
    read = {x for x in jaxpr.outs if type(x) is Var}.union(*[e.inputs for e in jaxpr.eqns])
    ends = [v for e in jaxpr.eqns for v in e.outs
            if v not in read and v.aval.dtype.kind in "fc" and not (v.aval.stacked or e.backward)]
    n, own = len(jaxpr.outs), found.n_own
    program = Jaxpr(jaxpr.invars, jaxpr.eqns, [*jaxpr.outs, *ends], jaxpr.retraced)
    given = [x.value if type(x) is Captured else x for x in values]
    outs = plan.compile(cleanup(program, True)).run(given)
    _raise_for(Jaxpr(jaxpr.invars, jaxpr.eqns, [*jaxpr.outs[:own], *ends], jaxpr.retraced), given,
               [*outs[:own], *outs[n:]])
    return outs[:n]


def _checked_op(op: Any, args: Any, params: dict) -> Any:
    outs = _run_op(op, args, params)
    if _found(results := list(outs) if op.multiple else [outs]):
        given = [x for x in args if type(x) is not Lit]
        sig = signature(op, tuple([aval_of(x).strong for x in args]), params)
        variables = [x if type(x) is Lit else var(a, i) for i, (x, a) in enumerate(
            zip(args, sig.in_avals, strict=True))]
        made = tuple([var(a, len(args) + i) for i, a in enumerate(sig.outs)])
        jaxpr = Jaxpr([v for v in variables if type(v) is Var], [eqn(sig, tuple(variables), made)], made)
        _raise_for(jaxpr, given, results)
    return outs


def _raise_for(jaxpr: Jaxpr, values: list, outs: list) -> None:
    name = _found(outs)
    if name is not None:
        origin = _Search(NAMES[name]).of(jaxpr, values)
        raise errors.NonFiniteError(*_message(name, origin))


# ----- the search ---------------------------------------------------------------------------------


class _Origin(NamedTuple):
    """Where a value came in: an operation, or an input of the program (then without a name)."""

    op: str
    source: tuple | None            # file, line, function
    operands: list[str]
    result: str
    turns: tuple[str, ...]          # "turn 3 of scan", outermost first
    backward: bool


class _Value(NamedTuple):
    value: Any
    origin: _Origin | None          # of what is looked for in it


class _Search:
    """Runs a program operation by operation and remembers where each value that is not finite began."""

    def __init__(self, bad: Callable[[Any], Any]):
        self.bad = bad
        self.turns: list[str] = []

    def of(self, jaxpr: Jaxpr, values: list) -> _Origin | None:
        given = [x.value if type(x) is Captured else x for x in values]
        outs = self.run(jaxpr, [_Value(x, self.input(i, x)) for i, x in enumerate(given)])
        return next((o.origin for o in outs if o.origin is not None), None)

    def holds(self, x: Any) -> bool:
        return np.asarray(x).dtype.kind in "fc" and bool(self.bad(x).any())

    def input(self, i: int, x: Any) -> _Origin | None:
        return _Origin("", None, [], f"input {i}: {_shown(x)}", (), False) if self.holds(x) else None

    def run(self, jaxpr: Jaxpr, values: list[_Value]) -> list[_Value]:
        env: dict[Any, _Value] = dict(zip(jaxpr.invars, values, strict=True))
        for e in jaxpr.eqns:
            ins = [env[x] if type(x) is Var else _Value(_filled(x), None) for x in e.inputs]
            rule = getattr(self, "_" + e.op.name, None)
            env.update(zip(e.outs, rule(e, ins) if rule is not None else self.single(e, ins), strict=True))
        return [env[x] if type(x) is Var else _Value(_filled(x), None) for x in jaxpr.outs]

    def single(self, e: Eqn, ins: list[_Value]) -> list[_Value]:
        values = [Captured.of(v.value, x.aval) if x.aval.stacked else v.value
                  for v, x in zip(ins, e.inputs, strict=True)]
        outs = _run_op(e.op, tuple(values), e.params)
        return [self.traced(e, ins, x) for x in (outs if e.sig.multiple else [outs])]

    def traced(self, e: Eqn, ins: list[_Value], x: Any) -> _Value:
        if not self.holds(x):
            return _Value(x, None)
        origin = next((v.origin for v in ins if v.origin is not None), None)
        return _Value(x, origin or _Origin(e.op.name, e.src, _operands([v.value for v in ins]), _shown(x),
                                           tuple(self.turns), e.backward))

    # programs within programs

    def _call(self, e: Eqn, ins: list[_Value]) -> list[_Value]:
        return self.run(e.params["jaxpr"], ins)

    _remat = _custom_jvp_call = _custom_vjp_call = _call

    def _cond(self, e: Eqn, ins: list[_Value]) -> list[_Value]:
        branches = e.params["branches"]
        return self.run(branches[min(max(int(ins[0].value), 0), len(branches) - 1)], ins[1:])

    def _scan(self, e: Eqn, ins: list[_Value]) -> list[_Value]:
        p, length = e.params, e.params["length"]
        if length is None:
            length, ins = int(ins[0].value), ins[1:]
        consts, carry, xs = split(ins, p["n_consts"], p["n_carry"])
        ys: list[Any] = [None] * length
        for t in reversed(range(length)) if p["reverse"] else range(length):
            x = [self.entry(x, t) for x in xs]
            carry, ys[t] = split(self.turn(f"turn {t} of scan", p["jaxpr"], [*consts, *carry, *x]),
                                 p["n_carry"])
        return [*carry, *self.stacked(ys, e.outs[p["n_carry"]:], length)]

    def _while(self, e: Eqn, ins: list[_Value]) -> list[_Value]:
        p = e.params
        in_cond, in_body, carry = split(ins, p["n_cond"], p["n_body"])
        ys: list[Any] = []
        n = len(carry)
        while self.run(p["cond"], [*in_cond, *carry])[0].value:
            carry, y = split(self.turn(f"turn {len(ys)} of while_loop", p["body"], [*in_body, *carry]), n)
            ys.append(y)
        return [*carry, *self.stacked(ys, e.outs[n:], len(ys))]

    def turn(self, text: str, jaxpr: Jaxpr, ins: list[_Value]) -> list[_Value]:
        self.turns.append(text)
        try:
            return self.run(jaxpr, ins)
        finally:
            self.turns.pop()

    def entry(self, x: _Value, t: int) -> _Value:
        value = x.value[t]
        return _Value(value, x.origin if self.holds(value) else None)

    def stacked(self, ys: list[list[_Value]], outs: tuple, length: int) -> list[_Value]:
        found = []
        for k, v in enumerate(outs):
            entries = [y[k] for y in ys]
            value = np.stack([y.value for y in entries]) if entries else np.zeros((0, *v.aval.shape[1:]))
            origin = next((y.origin for y in entries if y.origin is not None), None)
            found.append(_Value(value.astype(v.aval.dtype, copy=False), origin))
        return found


def _filled(x: Lit) -> Any:
    shape = tuple([max(d, 0) for d in x.aval.shape])
    return np.full(shape, x.value) if shape else x.value


# ----- the message --------------------------------------------------------------------------------


def _operands(values: Any) -> list[str]:
    return [f"operand {i}: {_shown(x.value if isinstance(x, (Captured, Lit)) else x)}"
            for i, x in enumerate(values)]


def _shown(x: Any) -> str:
    """``f64[3], 1 nan, else from 0.0 to 2.0``; a scalar with its value."""
    x = np.asarray(x)
    kind = f"{x.dtype.kind}{8 * x.dtype.itemsize}" if x.dtype.kind != "b" else "bool"
    text = f"{kind}[{','.join(map(str, x.shape))}]"
    if x.ndim == 0:
        return f"{text} = {x[()]!s}"
    if x.dtype.kind not in "fc":
        return f"{text}, from {x.min()!s} to {x.max()!s}" if x.size and x.dtype.kind in "iu" else text
    for name, is_bad in NAMES.items():
        if n := int(np.count_nonzero(is_bad(x))):
            text += f", {n} {name}"
    good = x[np.isfinite(x)]
    if good.size and x.dtype.kind == "f":
        text += f", {'else ' if good.size < x.size else ''}from {good.min():.6g} to {good.max():.6g}"
    return text


def _message(name: str, origin: _Origin | None) -> tuple:
    if origin is None:
        return f"{name} in a result.", "It comes and goes with rounding: no operation alone makes it.", False
    if not origin.op:
        return f"{name} was given: {origin.result}.", "Look at where this value was made."
    where = "backward" if origin.backward else "forward"
    lines = [f"{name} in the {where} pass: {origin.op} gave {origin.result}."]
    lines += [f"  {t}" for t in (*reversed(origin.turns), *origin.operands)]
    fix = ("The line is that of the forward code whose derivative this is; its local derivative is not "
           "finite there." if origin.backward else "Keep its operands where the function is defined.")
    location = errors.format_location(*origin.source) if origin.source else None
    return "\n".join(lines), fix, location


__all__ = ["debug_infs", "debug_nans"]
