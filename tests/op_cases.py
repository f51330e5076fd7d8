"""The cases of the generated tests: op x sample x dtype, from the table of ops alone."""

import itertools

import numpy as np
from util import INTEGERS, TYPES, parse, recode, rng_of, sample, show

import functrans as ft
import functrans._load  # fills the table
from functrans.ir.op import CODE, OPS, ErrorSample

# Programs inside ops, named axes, matrices that must have a decomposition, distributions: their operands
# are not samples; see test_control, test_compose, test_linalg, test_random.
ELSEWHERE = ("call", "control", "collective", "linalg", "sampler", "effect", "own")
# gamma_slope: only known by differences of quantiles, see test_random; without a reference: see test_special.
RECORDS = [op for op in OPS.values() if op.family not in ELSEWHERE and op.reference is not None
           and op.name not in ("constant", "gamma_slope")]
ELEMENTWISE = [op for op in RECORDS if op.family == "elementwise"]

# No derivative by design, where differences would show one.
FLAT = ("stop_gradient",)


class Case:
    """An op with the types of its operands (texts, or arrays that stand for themselves) and parameters."""

    def __init__(self, op, operands, params, domain=None, diff=None):
        self.op, self.operands, self.params = op, tuple(operands), params
        domain = domain or op.domain or (-3.0, 3.0)
        many = isinstance(domain[0], (tuple, list))
        self.domains = [domain[i] if many else domain for i in range(len(self.operands))]
        self.wanted = diff

    @property
    def predicate(self):
        """Whether it is an elementwise question, answered by a bool."""
        return self.op.family == "elementwise" and self.operands and np.asarray(
            self.reference(*[np.ones(s, d) for s, d in self.types()])).dtype == np.bool_

    def __repr__(self):
        def text(o):
            return o if isinstance(o, str) else str(np.asarray(o).tolist())
        pars = "".join(f",{k}={v}" for k, v in self.params.items())
        return f"{self.op.name}({','.join(map(text, self.operands))}{pars})".replace(" ", "")

    def types(self):
        """(shape, dtype) of each operand."""
        return [parse(o) if isinstance(o, str) else (np.shape(o), np.asarray(o).dtype)
                for o in self.operands]

    def code(self):
        """The dtype that names this case: of the operand that the op's work is on."""
        dtypes = [d for _, d in self.types()]
        return CODE[dtypes[-1] if self.op.name == "select" else dtypes[0]] if dtypes else "none"

    def diff(self):
        """Which operands are differentiated."""
        found = [i for i, o in enumerate(self.operands)
                 if isinstance(o, str) and parse(o)[1].kind in "fc" and i not in self.op.no_rule]
        return found if self.wanted is None else [i for i in found if i in self.wanted]

    def examples(self, size):
        """Operands for several examples: sampled afresh; given arrays are rolled (scalars: stepped)."""
        rng = rng_of(repr(self))
        rows = [[sample(o, d, rng) if isinstance(o, str)
                 else np.roll(o, j) if np.ndim(o) else np.asarray(o + j)
                 for o, d in zip(self.operands, self.domains, strict=True)] for j in range(size)]
        if self.predicate:               # equal, infinite and nan operands must be met
            def special(shape):
                return rng.choice([-2.0, 0.0, 1.0, np.inf, np.nan], shape, p=[.2, .2, .2, .2, .2])
            for x in [x for row in rows for x in row if x.dtype.kind in "fc"]:
                x.real[...] = special(x.shape)
                if x.dtype.kind == "c":
                    x.imag[...] = special(x.shape)
        return rows

    def values(self):
        return self.examples(1)[0]

    def __call__(self, *xs):
        return self.op(*xs, **self.params)

    def reference(self, *xs):
        with np.errstate(all="ignore"):
            return self.op.reference(*[np.asarray(x) for x in xs], **self.params)

    def wide(self):
        """The same with double precision: what differences are taken of."""
        wide = {"f": "f64", "c": "c128"}

        def up(x):
            return TYPES[wide[x.kind]] if isinstance(x, np.dtype) and x.kind in wide else x
        return Case(self.op, [recode(o, wide[parse(o)[1].kind]) if isinstance(o, str)
                              and parse(o)[1].kind in wide else o for o in self.operands],
                    {k: up(v) for k, v in self.params.items()}, self.domains, self.wanted)

    def at(self, which, fixed, call=None):
        """The op as a function of the operands ``which``, the others fixed."""
        call = call or self

        def f(*xs):
            full = list(fixed)
            for i, x in zip(which, xs, strict=True):
                full[i] = x
            return call(*full)
        return f


def _params(op, code):
    if op.name == "lambertw":
        return [{"k": k} for k in (0, -1, 2)]
    if op.name == "integer_pow":
        return [{"y": y} for y in (-2, 0, 1, 2, 3, 5) if y >= 0 or code not in INTEGERS]
    if op.name == "convert":
        return [{"dtype": TYPES[to]} for to in op.dtypes]
    return [{}]


def _elementwise(op, shape):
    for code in op.dtypes:
        for params in _params(op, code):
            texts = [show(shape, TYPES[code])] * op.arity
            if op.name == "select":
                texts[0] = show(shape, bool)
            yield Case(op, texts, params)


def _sampled(op):
    """Each sample in its own dtype and, over the first operand's dtype, in all others."""
    for s in op.samples:
        first = next((parse(o)[1] for o in s.operands if isinstance(o, str)), None)
        codes = [CODE[first]] if first is not None else [None]
        codes += [c for c in op.dtypes if first is not None and c != codes[0]]
        for code in codes:
            yield Case(op, [recode(o, code) if isinstance(o, str) and parse(o)[1] == first else o
                            for o in s.operands], s.params, s.domain, s.diff)


def cases_of(op, shape=(2, 3)):
    """All cases of one op; elementwise operands have ``shape``."""
    found = list(_elementwise(op, shape) if op.family == "elementwise" else _sampled(op))
    return list({repr(c): c for c in found}.values())


CASES = [c for op in RECORDS for c in cases_of(op)]


def own_dtype(op):
    """One dtype for what does not depend on it: f64 if the op takes it."""
    return next((c for c in ("f64", "i64") if c in op.dtypes), op.dtypes[-1])


def _is_main(case):
    if case.op.name == "convert":
        return case.code() == "f64" and case.params["dtype"] in (TYPES["f32"], TYPES["i32"])
    return case.code() in (own_dtype(case.op), "none")


MAIN = [c for c in CASES if _is_main(c)]                  # each sample once, in the op's own dtype
DIFFERENTIABLE = [c for c in CASES if c.diff()]
COMPLEX = [c for c in CASES if c.code() == "c128" and c not in MAIN
           and ((c.op.family == "elementwise" and c.params.get("dtype") in (None, TYPES["f64"]))
                or c.op.name in ("dot_general", "reduce_prod", "cumsum", "scatter_mul"))]
SMOOTH = [c for c in MAIN + COMPLEX if c.diff() and c.op.name not in FLAT
          and np.asarray(c.reference(*c.values())).dtype.kind in "fc"]


def twice(case):
    """The case as one of those operands only by which it can be differentiated again."""
    def again(i):
        (x,) = case.values()[i:i + 1]
        def once(x):
            return ft.jvp(case.at([i], case.values()), (x,), (np.ones_like(x),))[1]
        try:
            ft.make_jaxpr(lambda x: ft.jvp(once, (x,), (np.ones_like(x),)))(x)
        except ft.errors.NonDifferentiableError:
            return False
        return True
    if not getattr(case.op, "calls_scipy", False):
        return case
    return Case(case.op, case.operands, case.params, case.domains, [i for i in case.diff() if again(i)])


def combinations(case, limit=48):
    """in_axes of all operands: every axis of each, and not mapped; at most about ``limit`` of them."""
    options = [[None, *range(len(shape) + 1)] for shape, _ in case.types()]
    every = [c for c in itertools.product(*options) if any(a is not None for a in c)]
    if len(every) <= limit:
        return every
    rng = rng_of(repr(case), "axes")
    chosen = {every[i] for i in rng.choice(len(every), limit, replace=False)}
    for i, option in enumerate(options):       # every axis of every operand, at least alone
        chosen |= {tuple(a if j == i else None for j in range(len(options))) for a in option[1:]}
    return sorted(chosen, key=str)


def batched(case, in_axes, size=3):
    """Operands whose mapped ones have ``size`` examples at the given axis."""
    rows = case.examples(max(size, 1))
    out = []
    for i, axis in enumerate(in_axes):
        column = [np.asarray(r[i]) for r in rows]
        out.append(column[0] if axis is None else np.stack(column, axis) if size else
                   np.stack(column, axis).take([], axis))
    return out


def errors():
    """(id, op, operands, params, exception, text) of everything that must be refused."""
    for op in RECORDS:
        for i, e in enumerate(op.errors):
            assert isinstance(e, ErrorSample)
            xs = [sample(o) if isinstance(o, str) else o for o in e.operands]
            yield f"{op.name}-{i}", op, xs, e.params, e.error, e.match
    for op in ELEMENTWISE:
        code, params = own_dtype(op), _params(op, own_dtype(op))[0]
        xs = [sample(show((2, 3), TYPES[code])) for _ in range(op.arity)]
        if op.name == "select":
            xs[0] = xs[0] > 0
        if op.name not in ("integer_pow", "lambertw", "convert"):
            yield (f"{op.name}-arity", op, [*xs, xs[0]], params, TypeError,
                   f"{op.name} takes {op.arity} operand")
        if op.arity > 1:
            yield (f"{op.name}-shape", op, [*xs[:-1], xs[-1][:, :2]], params, ValueError,
                   f"{op.name}: operands must have equal shapes, got .*\\[2,3\\], .*\\[2,2\\]")
            other = xs[-1].astype(np.float32 if code != "f32" else np.int8)
            yield (f"{op.name}-dtype", op, [*xs[:-1], other], params, TypeError,
                   f"{op.name}: operands must have one dtype, got .*")
        if op.name == "convert":        # it takes every dtype that has kernels
            continue
        for bad in [c for c in TYPES if c not in (*op.dtypes, "bool")][:1]:
            odd = [x.astype(TYPES[bad]) if i or op.name != "select" else x for i, x in enumerate(xs)]
            yield f"{op.name}-{bad}", op, odd, params, TypeError, "is not defined for"
