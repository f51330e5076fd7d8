"""The op record, and the families that fill in every rule that follows from an op's kind.

An op is one record in one place (a module of ``functrans.ops``). This module imports without the
compiled parts, so that the build can read the table of elementwise expressions from it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BOOL = ("b1",)
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64")
INT = SIGNED + UNSIGNED
FLOAT = ("f16", "f32", "f64")
COMPLEX = ("c64", "c128")
INEXACT = FLOAT + COMPLEX
REAL = INT + FLOAT
NUMBER = REAL + COMPLEX
ORDERED = BOOL + REAL
ANY = BOOL + NUMBER
BITS = BOOL + INT

NUMPY_NAME = {"b1": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
              "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
              "f16": "float16", "f32": "float32", "f64": "float64",
              "c64": "complex64", "c128": "complex128"}
CODE = {np.dtype(name): code for code, name in NUMPY_NAME.items()}
DTYPE = {code: dt for dt, code in CODE.items()}
PART = {"c64": "f32", "c128": "f64"}            # dtype of the parts of a complex number
WHOLE = {part: code for code, part in PART.items()}

OPS: dict[str, Op] = {}


class Hooks:
    """What the records need of rooms above them: set by ``trace`` and ``transform`` when they load."""

    bind: Callable[..., Any]
    lit_like: Callable[..., Any]     # (python number, reference operand) -> Lit
    aval_of: Callable[[Any], Any]
    zero: type                       # transform.zeros.Zero
    literal: type                    # ir.core.Lit
    add_tangents: Callable[[Any, Any], Any]


def sees(*names: str) -> Callable:
    """Marks a ``simplify`` rule that finds something only where an operand is a literal, is there twice, or
    is made by an op of one of these names."""
    def marked(rule):
        rule.sees = frozenset(names)
        return rule
    return marked


class Op:
    """One primitive operation: everything functrans knows of it.

    Attributes:
      name, family: how it prints; which family filled in the rest.
      infer: ``(*avals, **params) -> (shape, dtype)`` or a list of them; raises on bad operands.
      jvp: ``(primals, tangents, **params) -> (outs, tangents)``; tangents may be ``Zero``.
      transpose: ``(cts, operands, **params) -> cts of the operands``; linear operands come as
        ``Linear(aval)``; None where the op is never linear.
      batch: ``(size, operands, dims, **params) -> (outs, dims)``.
      lower: ``(ctx, eqn, views) -> views``: how a plan runs it.
      linearize: only higher-order ops: ``(primals, nonzeros, **params) -> (outs, tangent function)``.
      simplify: ``(inputs, params, program) -> atom`` that the result equals, or ``(op, operands, params)``
        (operands may be such triples again), or None; ``program.made_by(x, name)`` is the equation of
        that op that makes x, ``program.final`` whether no transform will see the program any more. One
        that is marked by ``sees`` is asked only where it may find something.
      commutes: operands may change places.
      by: of a reduction, the elementwise op that joins two elements.
      picks: elements of the result are elements of the operand, in places that its type says.
      work: ``(sig) -> (floating-point operations, transcendental functions)`` that it takes; None
        where it only moves data.
      linear_in: the operands that it is jointly linear in (``...``: all), or None; bilinear: whether it is
        linear in each of its two.
      no_rule: the operands by which its derivative has no formula.
      calls_scipy: whether the kernel calls SciPy's special functions, which a plan then loads.
      reach: of an op with linear operands: ``(avals, known, **params) -> per operand`` which elements of
        the result depend on which of its elements: ``SAME`` (element by element), ``(to, source)``
        (positions in C order, pairwise), ``ALL``, or None (none does); ``known`` has the values of
        operands that are constants, else None. Without a rule, everything depends on everything.
        Rules are in ``ops/reach.py``, where also the form of those of ops that hold programs is told.
      reference: the same with NumPy, for tests and for documentation.
      samples, errors: operands for the generated tests.
    """

    def __init__(self, name: str, family: str, *, infer, jvp, transpose, batch, lower,
                 reference=None, linearize=None, multiple=False, always=False, splat=False,
                 simplify=None, commutes=False, by=None, picks=False, work=None, reach=None,
                 samples: Sequence[Any] = (), errors: Sequence[Any] = (), c=None, ns=None,
                 dtypes: tuple[str, ...] = ANY, arity: int | None = None, no_rule=(),
                 linear_in: Any = None, bilinear=False, domain: Any = None,
                 why: dict[str, str] | None = None):
        self.name, self.family = name, family
        self.infer, self.jvp, self.transpose = infer, jvp, transpose
        self.batch, self.lower, self.linearize = batch, lower, linearize
        self.reference, self.simplify, self.commutes = reference, simplify, commutes
        self.by, self.picks, self.work, self.reach = by, picks, work, reach
        self.multiple = multiple      # bind returns a list
        self.always = always          # recorded even without a traced operand
        self.splat = splat            # moves elements only: a splat literal stays one
        self.samples, self.errors = tuple(samples), tuple(errors)
        self.c, self.ns, self.dtypes, self.arity, self.domain = c, ns, dtypes, arity, domain
        self.no_rule = tuple(no_rule)
        self.linear_in, self.bilinear = linear_in, bilinear
        self.calls_scipy = "ft_sp" in str(c)
        why = why or {}
        for rule in ("infer", "jvp", "batch", "lower"):
            if getattr(self, rule) is None and rule not in why:
                raise TypeError(f"op {name!r} has no {rule} rule; give one, or say why not in why=")
        self.why = why
        code = infer.__code__
        first = code.co_argcount
        self.param_names = tuple(code.co_varnames[first:first + code.co_kwonlyargcount])
        self.sigs: dict[Any, Any] = {}
        if name in OPS:
            raise TypeError(f"op {name!r} is defined twice")
        OPS[name] = self

    def __call__(self, *args, **params):
        return Hooks.bind(self, args, params)

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return _op_named, (self.name,)


def _op_named(name):
    return OPS[name]


class Sample:
    """Operands for a generated test: avals as text (``"f64[3,4]"``), or arrays, and parameters.

    ``diff`` lists the operands that are differentiated; None is every float operand.
    """

    def __init__(self, *operands, diff=None, domain=None, **params):
        self.operands, self.params = operands, params
        self.diff, self.domain = diff, domain

    def __repr__(self):
        args = ", ".join(str(o) for o in self.operands)
        pars = "".join(f", {k}={v}" for k, v in self.params.items())
        return f"({args}{pars})"


class ErrorSample:
    """Operands that the op must refuse, with a part of the text it must say."""

    def __init__(self, *operands, match, error=ValueError, **params):
        self.operands, self.params, self.match, self.error = operands, params, match, error


# ----- work ------------------------------------------------------------------------------------

# Functions of the C expressions that are a few instructions of arithmetic; any other is transcendental.
ARITHMETIC = frozenset([
    "ft_abs", "ft_ceil", "ft_convert", "ft_copysign", "ft_floor", "ft_floordiv", "ft_fmax", "ft_fmin",
    "ft_fmod", "ft_hypot", "ft_isfinite", "ft_isinf", "ft_max", "ft_min", "ft_mod", "ft_nextafter",
    "ft_powi", "ft_rint", "ft_shl", "ft_shr", "ft_signbit", "ft_sqrt", "ft_trunc", "ft_unsigned", "ft_wrap"])


def work_of(sig) -> tuple[int, int]:
    """Floating-point operations and transcendental functions of one equation."""
    return sig.op.work(sig) if sig.op.work is not None else (0, 0)


def program_work(jaxpr) -> tuple[int, int]:
    """The same of a program."""
    flops = transcendentals = 0
    for e in jaxpr.eqns:
        f, t = work_of(e.sig)
        flops, transcendentals = flops + f, transcendentals + t
    return flops, transcendentals


def elementwise_work(c: str | dict[str, str]) -> Callable[[Any], tuple[int, int]]:
    """One an element: a transcendental function if the expression for floats calls one."""
    text = c if isinstance(c, str) else c.get("float", "")
    hard = not ARITHMETIC.issuperset(re.findall(r"ft_\w+", text))

    def work(sig):
        n = sig.out.size
        return (0, n) if hard and sig.in_avals[0].dtype.kind in "fc" else (n, 0)
    return work


# ----- reach -----------------------------------------------------------------------------------

SAME, ALL = "same", "all"


def moved(reference):
    """The reach of an op that moves elements: its reference shows it, on numbers instead of values."""
    def reach(avals, known, **params):
        numbered, first = [], [0]
        for a in avals:
            numbered.append(np.arange(1 + first[-1], 1 + first[-1] + a.size).reshape(a.shape))
            first.append(first[-1] + a.size)
        source = reference(*numbered, **params).ravel() - 1
        found = []
        for low, high in itertools.pairwise(first):
            to = np.flatnonzero((source >= low) & (source < high))
            found.append((to, source[to] - low))
        return found
    return reach


# ----- elementwise ---------------------------------------------------------------------------


class Elementwise(Op):
    def __init__(self, name, family, *, c, work=..., reach=..., **rest):
        super().__init__(name, family, c=c, work=elementwise_work(c) if work is ... else work,
                         reach=_each_its_own if reach is ... else reach, **rest)

    def __call__(self, *args, **params):
        for a in args:
            if isinstance(a, (int, float)):     # a rule's own number takes shape and dtype of the rest
                ref = next((b for b in reversed(args) if not isinstance(b, (int, float))), None)
                if ref is None:                     # NumPy's float64 is a float, too
                    break
                args = tuple(Hooks.lit_like(a, ref) if isinstance(a, (int, float)) else a
                             for a in args)
                break
        return Hooks.bind(self, args, params)


def elementwise(name: str, c: str | dict[str, str], *, dtypes=FLOAT, arity=1,
                out: str | dict[str, str] | None = None,
                partials: Sequence[Any] | None = None, through: Sequence[Any] | None = None,
                joint=False, jvp=None, transpose=None, infer=None, reference=None, domain=(-3.0, 3.0),
                select=False, ns=None, **rest) -> Elementwise:
    """An op that works element by element; all operands have one shape (and, but for select, one dtype).

    Args:
      c: C expression of ``x``, ``y``, ``z`` in the operand type ``T``; or one per dtype class:
        keys are dtype codes, or ``"float"``, ``"complex"``, ``"signed"``, ``"unsigned"``, ``"bool"``.
      out: dtype code of the result, one per operand dtype where they differ, or None for the
        operands' own.
      partials: per operand, its local derivative: ``(out, *operands) -> value``, or the numbers 1,
        -1, 0. The family multiplies with strong zeros (``zmul``).
      through: instead of partials where the op is linear in an operand: per operand (or None)
        ``(t, *operands) -> t passed through``. The map is diagonal, so the same line serves the
        tangent and the cotangent.
      joint: linear in all its ``through`` operands together, so that it applies to their tangents.
      domain: ``(low, high)`` for sampled operands, or one such pair per operand.
    """
    first = 1 if select else 0

    def elementwise_infer(*avals):
        if len(avals) != arity:
            raise TypeError(f"{name} takes {arity} operands, got {len(avals)}")
        main = avals[first]
        if any(a.shape != main.shape for a in avals):
            raise ValueError(f"{name}: operands must have equal shapes, got {_list(avals)}")
        if any(a.dtype != main.dtype for a in avals[first:]):
            raise TypeError(f"{name}: operands must have one dtype, got {_list(avals)}")
        if select and avals[0].dtype != np.bool_:
            raise TypeError(f"{name}: the condition must be bool, got {avals[0]}")
        if CODE.get(main.dtype) not in dtypes:
            raise TypeError(f"{name} is not defined for {main.dtype}; got {_list(avals)}")
        if out is None:
            return main.shape, main.dtype
        return main.shape, DTYPE[out if isinstance(out, str) else out.get(CODE[main.dtype], CODE[main.dtype])]

    if jvp is None:
        if through is not None:
            jvp = _through_jvp(name, tuple(through), joint)
            transpose = transpose or _through_transpose(tuple(through))
        elif partials is not None:
            jvp = _partials_jvp(name, tuple(partials))
        else:
            jvp = _flat_jvp(name)
    passed = tuple([i for i, f in enumerate(through or ()) if f])
    return Elementwise(
        name, "elementwise", infer=infer or elementwise_infer, jvp=jvp, transpose=transpose,
        linear_in=passed if joint or len(passed) == 1 else None, bilinear=len(passed) == 2 and not joint,
        batch=_elementwise_batch(name), lower="elementwise", reference=reference, dtypes=dtypes,
        arity=arity, c=c, ns=ns, domain=domain, **rest)


def _each_its_own(avals, known, **params):
    return [SAME] * len(avals)


def _list(avals):
    return ", ".join(str(a) for a in avals)


def _flat_jvp(name):
    def jvp(primals, tangents, **params):
        out = OPS[name](*primals, **params)
        return [out], [Hooks.zero(Hooks.aval_of(out))]
    return jvp


def _partials_jvp(name, partials):
    def jvp(primals, tangents, **params):
        out = OPS[name](*primals, **params)
        total = Hooks.zero(Hooks.aval_of(out))
        for partial, t in zip(partials, tangents, strict=True):
            if isinstance(t, Hooks.zero) or partial is None:
                continue
            if isinstance(partial, (int, float)):
                term = t if partial == 1 else OPS["neg"](t)
            else:
                term = OPS["zmul"](t, partial(out, *primals, **params))
            total = Hooks.add_tangents(total, term)
        return [out], [total]
    return jvp


def _through_jvp(name, through, joint):
    def jvp(primals, tangents, **params):
        out = OPS[name](*primals, **params)
        total = Hooks.zero(Hooks.aval_of(out))
        if joint and not any(isinstance(t, Hooks.zero)
                             for t, f in zip(tangents, through, strict=True) if f):
            mixed = [t if f else p for p, t, f in zip(primals, tangents, through, strict=True)]
            return [out], [OPS[name](*mixed, **params)]
        for f, t in zip(through, tangents, strict=True):
            if f is not None and not isinstance(t, Hooks.zero):
                total = Hooks.add_tangents(total, f(t, *primals, **params))
        return [out], [total]
    return jvp


def _through_transpose(through):
    def transpose(cts, operands, **params):
        (ct,) = cts
        return [f(ct, *operands, **params) if isinstance(x, Linear) and f is not None else None
                for f, x in zip(through, operands, strict=True)]
    return transpose


def _elementwise_batch(name):
    def batch(size, operands, dims, **params):
        used = {d for d in dims if d is not None}
        if len(used) == 1:
            (dim,) = used
        else:
            dim = 0
            operands = [x if d is None or d == 0 else move_axis(x, d, 0)
                        for x, d in zip(operands, dims, strict=True)]
        operands = [spread(x, size, dim) if d is None else x
                    for x, d in zip(operands, dims, strict=True)]
        return [OPS[name](*operands, **params)], [dim]
    return batch


# ----- linear, bilinear, reduction, structural -------------------------------------------------


class Linear:
    """Stands for an operand that a transpose rule is linear in: only its aval is known."""

    __slots__ = ("aval",)

    def __init__(self, aval):
        self.aval = aval


def linear(name: str, *, infer, transpose, batch, lower, operands: Sequence[int] | None = None,
           jvp=None, family="linear", **rest) -> Op:
    """An op that is linear in ``operands`` taken together (all of them by default): its jvp is itself."""
    def linear_jvp(primals, tangents, **params):
        out = OPS[name](*primals, **params)
        which = range(len(primals)) if operands is None else operands
        if all(isinstance(tangents[i], Hooks.zero) for i in which):
            return [out], [Hooks.zero(Hooks.aval_of(out))]
        mixed = list(primals)
        for i in which:
            mixed[i] = instantiate(tangents[i])
        return [out], [OPS[name](*mixed, **params)]

    return Op(name, family, infer=infer, jvp=jvp or linear_jvp, transpose=transpose, batch=batch,
              lower=lower, linear_in=None if jvp else ... if operands is None else tuple(operands), **rest)


def structural(name: str, **rest) -> Op:
    """A linear op that only moves elements: a splat literal operand gives a splat literal."""
    return linear(name, family="structural", splat=True, **{"reach": moved(rest["reference"]), **rest})


def bilinear(name: str, *, infer, batch, lower, transposes, **rest) -> Op:
    """Linear in each of its two operands: ``transposes[i](ct, x, y, **params)`` for operand i."""
    def jvp(primals, tangents, **params):
        x, y = primals
        tx, ty = tangents
        out = OPS[name](x, y, **params)
        total = Hooks.zero(Hooks.aval_of(out))
        if not isinstance(tx, Hooks.zero):
            total = Hooks.add_tangents(total, OPS[name](tx, y, **params))
        if not isinstance(ty, Hooks.zero):
            total = Hooks.add_tangents(total, OPS[name](x, ty, **params))
        return [out], [total]

    def transpose(cts, operands, **params):
        (ct,) = cts
        return [f(ct, *operands, **params) if isinstance(o, Linear) else None
                for f, o in zip(transposes, operands, strict=True)]

    return Op(name, "bilinear", infer=infer, jvp=jvp, transpose=transpose, batch=batch, lower=lower,
              bilinear=True, **rest)


def flat(name: str, *, infer, batch, lower, jvp=None, **rest) -> Op:
    """An op whose result has no derivative (comparisons of indices, iota, argmax ...)."""
    return Op(name, rest.pop("family", "flat"), infer=infer, jvp=jvp or _flat_jvp(name),
              transpose=None, batch=batch, lower=lower, **rest)


# ----- vocabulary of the rules -------------------------------------------------------------------


def instantiate(t):
    """A symbolic zero as a value, anything else as it is."""
    return Hooks.lit_like(0, t) if isinstance(t, Hooks.zero) else t


def aval_of(x):
    return Hooks.aval_of(x)


def fill_value(dtype, fill=None):
    """What a gather with mode fill reads out of range, unless told: nan, the smallest signed or the
    largest unsigned integer, False."""
    if fill is None:
        fill = np.nan if dtype.kind in "fc" else False if dtype.kind == "b" else (
            np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max)
    return np.array(fill).astype(dtype)[()]


def move_axis(x, source: int, target: int):
    """x with one axis moved."""
    if source == target:
        return x
    perm = [i for i in range(aval_of(x).ndim) if i != source]
    perm.insert(target, source)
    return OPS["transpose"](x, perm=tuple(perm))


def spread(x, size: int, dim: int):
    """x repeated along a new axis ``dim`` of extent ``size``."""
    shape = aval_of(x).shape
    return OPS["broadcast_in_dim"](
        x, shape=(*shape[:dim], size, *shape[dim:]),
        dims=tuple(i if i < dim else i + 1 for i in range(len(shape))))


def batch_first(size: int, x, dim):
    """x with its batch axis first, spread if it has none."""
    return spread(x, size, 0) if dim is None else move_axis(x, dim, 0)
