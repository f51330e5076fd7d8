"""Tiny arrays as single numbers: an element of an array is a value of its own here.

``Elements`` interprets equations on lists of values, in C order. Ops that only move elements cost
nothing: they permute lists. Values are made once (common subexpressions), and simplified where
that changes no bit. ``registers`` turns the values that are needed into a program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..ir.core import Eqn, Jaxpr, Lit, Sig, Var
from ..ir.op import CODE, DTYPE, OPS
from .scalar_ops import CALLS, FLOATS, REDUCTIONS, RULES, RUNNING, Values, choices, movement, product_of
from .view import View

LIMIT = 16                  # elements of one array
PRODUCT = 64                # multiply-adds of a product; matmul_body.h chains them up to here
BRANCH = 40                 # equations in all branches of a cond, of which all are computed
CHOICES = 100               # selections by which a run-time index is followed

MOVES = ("reshape", "transpose", "broadcast_in_dim", "rev", "slice", "pad", "concatenate")
EXACT = {"add", "sub", "mul", "div", "neg", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor",
         "not", "sqrt"}     # NumPy's bits are the kernels': may be computed beforehand
NS_CALLED = 5.0             # a function of the C side, on one number


@lru_cache(8192)
def costs(sig: Sig) -> tuple[float, float] | None:
    """Estimated ns as steps and as scalars, or None where an equation cannot be scalarised."""
    for a in sig.in_avals + sig.outs:
        if not 0 < a.size <= LIMIT or CODE.get(a.dtype) not in _KNOWN:
            return None
    name, size = sig.op.name, sig.outs[0].size if sig.outs else 0
    if sig.op.lower == "elementwise":
        if name == "stop_gradient":
            return 0.0, 0.0
        if name == "integer_pow" and not -2**31 <= sig.params["y"] < 2**31:
            return None
        called = sig.op.c is not None and name in _CALLED
        return 7.0 + (0.6 if called else 0.1) * size, (NS_CALLED if called else 1.0) * size
    if name in MOVES:
        return {"pad": 12.0, "concatenate": 6.0 * len(sig.in_avals)}.get(name, 0.0), 0.0
    if name in REDUCTIONS or name in RUNNING:
        return 15.0, sig.in_avals[0].size
    if name in ("argmax", "argmin"):
        return 15.0, 6.0 * sig.in_avals[0].size
    if name == "iota":
        return 8.0, 0.0
    if name == "dot_general":
        n = product_of(sig)[3].size * product_of(sig)[4].shape[0]
        return (15.0 + 0.3 * n, n) if n <= PRODUCT * product_of(sig)[0] else None
    if name in CALLS:
        return jaxpr_costs(sig.params["jaxpr"])
    if name in ("dynamic_slice", "dynamic_update_slice", "gather"):
        n = choices(sig)
        return (20.0, 2.0 * n) if n <= CHOICES else None
    if name == "cond":
        branches = sig.params["branches"]
        if sum([len(b.eqns) for b in branches]) > BRANCH:
            return None
        parts = [p for p in [jaxpr_costs(b) for b in branches] if p is not None]
        if len(parts) < len(branches):
            return None
        return 40.0 + parts[0][0], sum([p[1] for p in parts]) + 2.0 * sum([a.size for a in sig.outs])
    return None


def jaxpr_costs(jaxpr: Jaxpr) -> tuple[float, float] | None:
    steps = scalars = 0.0
    for a in jaxpr.in_avals + jaxpr.out_avals:
        if not 0 < a.size <= LIMIT or CODE.get(a.dtype) not in _KNOWN:
            return None
    for e in jaxpr.eqns:
        found = costs(e.sig)
        if found is None:
            return None
        steps += found[0]
        scalars += found[1]
    return steps, scalars


_KNOWN = frozenset(["b1", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"])
_CALLED = frozenset([
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logistic", "logaddexp", "pow", "cbrt",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "atan2", "hypot", "erf", "erfc", "lgamma", "fmod", "mod", "floordiv", "nextafter"])


class Elements:
    """Values by number: what computes each of them, from which others.

    ``op`` is the interpreter's operation, or ``const``, ``carry``; of a load ``args`` is
    the pointer's number and ``imm`` the byte offset.
    """

    def __init__(self) -> None:
        self.op: list[str] = []
        self.args: list[tuple[int, ...]] = []
        self.imm: list[int] = []
        self.code: list[str] = []
        self.value: dict[int, np.generic] = {}         # of constants
        self.unsigned_zero: set[int] = set()           # values that are never -0.0
        self.pointers: dict[Any, int] = {}
        self._memo: dict[Any, int] = {}
        self._literals: dict[Lit, Values] = {}

    # ----- values --------------------------------------------------------------------------

    def new(self, op: str, args: tuple[int, ...], imm: int, code: str) -> int:
        key = (op, args, imm)
        found = self._memo.setdefault(key, len(self.op))
        if found == len(self.op):
            self.op.append(op)
            self.args.append(args)
            self.imm.append(imm)
            self.code.append(code)
        return found

    def fresh(self, op: str, code: str) -> int:
        return self.new(op, (-1 - len(self.op),), 0, code)

    def constant(self, value: np.generic) -> int:
        code = CODE[value.dtype]
        raw = value.tobytes()
        bits = int.from_bytes(raw, "little") if code in FLOATS else int(value)
        bits = (bits + 2**63) % 2**64 - 2**63
        found = self.new("const", (_CODE_NUMBER[code],), bits, code)
        self.value[found] = value
        if code not in FLOATS or value != 0 or not np.signbit(value):
            self.unsigned_zero.add(found)
        return found

    def literal(self, x: Lit) -> Values:
        found = self._literals.get(x)
        if found is None:
            found = self._literals[x] = [self.constant(x.value)] * x.aval.size
        return found

    def pointer(self, key: Any) -> int:
        return self.pointers.setdefault(key, len(self.pointers))

    def load(self, key: Any, at: Sequence[int], code: str) -> Values:
        """Elements at byte offsets from the pointer that ``key`` (a buffer) names."""
        p = (self.pointer(key),)
        op = "load:" + code
        return [self.new(op, p, offset, code) for offset in at]

    def emit(self, name: str, code: str, args: tuple[int, ...], out: str, imm: int = 0) -> int:
        """An operation of the table; ``code`` is the dtype it is chosen by."""
        rule = _SIMPLER.get(name)
        if rule is not None:
            found = rule(self, code, args, imm)
            if found is not None:
                return found
        if name in EXACT and args[0] in self.value and args[-1] in self.value:
            with np.errstate(all="ignore"):
                folded = OPS[name].reference(*[np.asarray(self.value[a]) for a in args])
            return self.constant(DTYPE[out].type(folded))
        return self.new(f"{name}:{code}", args, imm, out)

    # ----- equations -----------------------------------------------------------------------

    def run(self, jaxpr: Jaxpr, args: Sequence[Values]) -> list[Values]:
        env = dict(zip(jaxpr.invars, args, strict=True))
        for e in jaxpr.eqns:
            self.equation(e, env)
        return [env[x] if type(x) is Var else self.literal(x) for x in jaxpr.outs]

    def equation(self, e: Eqn, env: dict[Var, Values]) -> None:
        sig = e.sig
        operands = [env[x] if type(x) is Var else self.literal(x) for x in e.inputs]
        name = sig.op.name
        if sig.op.lower == "elementwise":
            env[e.outs[0]] = self._elementwise(name, sig, operands)
        elif name in MOVES:
            flat = operands[0] if len(operands) == 1 else [v for part in operands for v in part]
            env[e.outs[0]] = [flat[i] for i in movement(sig)]
        else:
            env.update(zip(e.outs, RULES[name](self, sig, operands), strict=True))

    def _elementwise(self, name: str, sig: Sig, operands: list[Values]) -> Values:
        main = CODE[sig.in_avals[1 if name == "select" else 0].dtype]
        out = CODE[sig.out.dtype]
        if name == "stop_gradient" or (name == "convert" and main == out):
            return operands[0]
        if name == "convert":
            op = f"convert:{main}:{out}"
            return [self.new(op, (x,), 0, out) for x in operands[0]]
        imm = sig.params["y"] if name == "integer_pow" else 0
        return [self.emit(name, main, args, out, imm) for args in zip(*operands, strict=True)]


_CODE_NUMBER = {code: i for i, code in enumerate(sorted(_KNOWN))}


# ----- simplifications that change no bit ------------------------------------------------------


def _is(b: Elements, x: int, value: float) -> bool:
    found = b.value.get(x)
    return found is not None and found == value


def _source(b: Elements, x: int, op: str) -> int | None:
    """The operand of the one-operand operation that made x, if that was ``op``."""
    return b.args[x][0] if b.op[x] == op else None


def _add(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    x, y = args
    if code == "b1":
        return None
    for p, q in ((x, y), (y, x)):
        if _is(b, q, 0) and (p in b.unsigned_zero or q not in b.unsigned_zero or code not in FLOATS):
            return p                                       # x + 0.0 is x but for -0.0
        n = _source(b, q, "neg:" + code)
        if n is not None:
            return b.emit("sub", code, (p, n), code)
    if x in b.unsigned_zero or y in b.unsigned_zero:       # a sum is -0.0 only if both are
        found = None if x in b.value and y in b.value else b.new("add:" + code, args, 0, code)
        if found is not None:
            b.unsigned_zero.add(found)
        return found
    return None


def _sub(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    x, y = args
    if _is(b, y, 0) and y in b.unsigned_zero:
        return x
    n = _source(b, y, "neg:" + code)
    return b.emit("add", code, (x, n), code) if n is not None else None


def _mul(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    x, y = args
    if code == "b1":
        return None
    if _is(b, y, 1):
        return x
    if _is(b, x, 1):
        return y
    m, n = _source(b, x, "neg:" + code), _source(b, y, "neg:" + code)
    if m is not None and n is not None:
        return b.emit("mul", code, (m, n), code)
    if x == y and x not in b.value:
        found = b.new("mul:" + code, args, 0, code)
        b.unsigned_zero.add(found)
        return found
    return None


def _zmul(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    for x in args:
        if _is(b, x, 0):
            return b.constant(DTYPE[code].type(0))
    return None


def _div(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    return args[0] if _is(b, args[1], 1) else None


def _neg(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    return _source(b, args[0], "neg:" + code)


def _select(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    c, x, y = args
    if x == y:
        return x
    return (x if b.value[c] else y) if c in b.value else None


def _power(b: Elements, code: str, args: tuple[int, ...], imm: int) -> int | None:
    (x,) = args
    if imm == 1:
        return x
    if imm == 2 and code in FLOATS:                        # the squarings of ft_powi, which f32
        return b.emit("mul", code, (x, x), code)           # does in f64
    if imm in (3, 4) and code == "f64":
        square = b.emit("mul", code, (x, x), code)
        return b.emit("mul", code, (square, square) if imm == 4 else (x, square), code)
    return None


_SIMPLER: dict[str, Callable[[Elements, str, tuple[int, ...], int], int | None]] = {
    "add": _add, "sub": _sub, "mul": _mul, "zmul": _zmul, "div": _div, "neg": _neg,
    "select": _select, "integer_pow": _power}


# ----- memory ---------------------------------------------------------------------------------------


@lru_cache(4096)
def _offsets(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    at = [0]
    for n, s in zip(shape, strides, strict=True):
        at = [o + i * s for o in at for i in range(n)]
    return at


def offsets(view: View) -> list[int]:
    """Byte offsets of the elements of a view in its buffer."""
    return [view.offset + o for o in _offsets(view.shape, view.strides)]


def reachable(view: View) -> bool:
    """Whether the interpreter's offsets, of 32 bits, get there."""
    span = sum([abs(s) * n for s, n in zip(view.strides, view.shape, strict=True)])
    return abs(view.offset) + span < 2**31


def loaded(b: Elements, view: View) -> Values:
    return b.load(view.buffer, offsets(view), CODE[view.dtype])
