"""The ways in: run a jaxpr, or a single op, through the caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Aval, Jaxpr, Lit, Sig, Var, aval, eqn, signature, var
from ..ir.op import Op
from .cache import CacheInfo, ProgramCache
from .lower import bodies, lower
from .outputs import clear_outputs
from .run import Program

_jaxprs = ProgramCache(4096, 256 << 20)
_ops = ProgramCache(4096, 64 << 20)


def compile(jaxpr: Jaxpr, donated: tuple[int, ...] = ()) -> Program:
    """The program of ``jaxpr``, from the cache if an equal jaxpr was lowered before. Outputs may take the
    memory of inputs that are ``donated``."""
    return _jaxprs.get((jaxpr, donated) if donated else jaxpr, lambda: lower(jaxpr, donated=donated))


def evaluate(jaxpr: Jaxpr, values: Sequence[Any]) -> list[Any]:
    return compile(jaxpr).run(list(values))


def run_op(op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """One op applied to arrays and numbers at once: its result, or a list if it gives several.

    Splat literals may stand among ``args``; they become part of the program.
    """
    values, avals, literals = [], [], None
    for i, x in enumerate(args):
        if type(x) is Lit:
            literals = (*(literals or ()), (i, x))
            avals.append(x.aval)
        else:
            a = _aval_of(x)
            if a is None:                   # a value that tracing wrapped to keep it
                a, x = x.aval.strong, x.value
            values.append(x)
            avals.append(a)
    sig = signature(op, tuple(avals), params)
    outs = _ops.get(sig if literals is None else (sig, literals),
                    lambda: _single(sig, dict(literals or ()))).run(values)
    return outs if sig.multiple else outs[0]


def _single(sig: Sig, literals: dict[int, Lit]) -> Program:
    atoms = [literals.get(i) or var(a, i) for i, a in enumerate(sig.in_avals)]
    outs = tuple([var(a, len(atoms) + i) for i, a in enumerate(sig.outs)])
    ins = [x for x in atoms if type(x) is Var]
    return lower(Jaxpr(ins, (eqn(sig, tuple(atoms), outs),), outs))


_NUMBERS = {bool: np.dtype(bool), int: np.dtype(np.int64), float: np.dtype(np.float64),
            complex: np.dtype(np.complex128)}


def _aval_of(value: Any) -> Aval | None:
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = value.dtype
        return aval(value.shape, dtype if dtype.isnative else dtype.newbyteorder("="))
    if type(value) in _NUMBERS:
        return aval((), _NUMBERS[type(value)])
    if hasattr(value, "value"):
        return None
    raise TypeError(f"{type(value).__name__} is neither an array nor a number")


def cache_info() -> CacheInfo:
    """Of the programs of jaxprs (programs of single ops are kept apart)."""
    return _jaxprs.info()


def clear_cache() -> None:
    _jaxprs.clear()
    _ops.clear()
    bodies.clear()
    clear_outputs()
