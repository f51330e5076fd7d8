"""Every op by itself, generated from the table: forward, types, layouts, special values, errors."""

import itertools
import pickle

import numpy as np
import pytest
from op_cases import CASES, ELEMENTWISE, MAIN, RECORDS, Case, batched, cases_of, errors
from util import TYPES, assert_same, assert_tree_equal, parse, rng_of, sample, show

import functrans as ft
from functrans.ir.op import CODE, OPS, Op
from functrans.ops.shape import Box

per_case = pytest.mark.parametrize("case", CASES, ids=repr)
per_main = pytest.mark.parametrize("case", MAIN, ids=repr)
per_op = pytest.mark.parametrize("op", RECORDS, ids=lambda op: op.name)

# Functions that round: ours and NumPy's differ by a few ulp (test_accuracy measures ours).
EXACT_FAMILIES = ("structural", "flat", "index")


def tolerance(case):
    """0 where a result is rounded once, and so is NumPy's: its complex products may be fused ones."""
    if case.code() in ("c64", "c128") and case.op.name in (
            "mul", "zmul", "div", "abs", "sign", "scatter_mul"):
        return None
    if case.code() == "f16" and case.op.name in ("scatter_add", "scatter_mul"):
        return None
    exact = case.op.family in EXACT_FAMILIES or case.op.name in (
        "add", "sub", "mul", "zmul", "div", "neg", "abs", "sign", "floor", "ceil", "trunc", "rint", "max",
        "min", "fmax", "fmin", "select", "convert", "copysign", "nextafter", "heaviside", "stop_gradient",
        "sqrt", "fmod", "mod", "floordiv", "reduce_max", "reduce_min", "cummax", "cummin")
    return 0.0 if exact else None


# ----- the table itself -----------------------------------------------------------------------


def test_every_op_has_cases():
    assert {c.op.name for c in CASES} == {op.name for op in RECORDS}
    assert len(MAIN) >= len(RECORDS)


@per_op
def test_record_is_complete(op):
    assert OPS[op.name] is op
    assert callable(op.reference)
    assert op.family == "elementwise" or (op.samples and op.errors)
    assert pickle.loads(pickle.dumps(op)) is op
    assert repr(op) == f"<op {op.name}>"


def test_a_record_without_a_rule_is_refused():
    def rule(*args, **params):
        return args

    given = {"infer": rule, "jvp": rule, "transpose": None, "batch": rule, "lower": rule}
    for missing in ("infer", "jvp", "batch", "lower"):
        with pytest.raises(TypeError, match=f"op 'incomplete' has no {missing} rule"):
            Op("incomplete", "test", **{**given, missing: None})
    assert "incomplete" not in OPS
    with pytest.raises(TypeError, match="'sin' is defined twice"):
        Op("sin", "test", **given)


def test_constant_is_read_at_every_run():
    box = Box(np.array([1.0, 2.0]))
    f = ft.jit(lambda x: x * OPS["constant"](box=box))
    assert_same(f(3.0), np.array([3.0, 6.0]))
    box.value[:] = 5.0
    assert_same(f(3.0), np.array([15.0, 15.0]))
    assert ft.eval_shape(lambda: OPS["constant"](box=box)).shape == (2,)


# ----- forward --------------------------------------------------------------------------------


@per_case
def test_forward(case):
    """Equal to the reference in value, dtype and shape: at once, and compiled."""
    xs = case.values()
    want = case.reference(*xs)
    copies = [np.array(x) for x in xs]
    got = case(*xs)
    assert_same(got, want, tolerance(case))
    assert_tree_equal(ft.jit(case)(*xs), got)
    for x, c in zip(xs, copies, strict=True):
        np.testing.assert_array_equal(x, c)
        assert not np.shares_memory(got, x)
    if np.ndim(got):
        assert type(got) is np.ndarray and got.flags.c_contiguous and got.flags.writeable
    else:
        assert type(got) is np.asarray(want).dtype.type


@per_case
def test_abstract_type_is_the_real_one(case):
    xs = case.values()
    want = np.asarray(case.reference(*xs))
    found = ft.eval_shape(case, *xs)
    assert (found.shape, found.dtype) == (want.shape, want.dtype)
    shape, dtype = case.op.infer(*[ft.make_jaxpr(lambda x: x)(x).in_avals[0] for x in xs], **case.params)
    assert (tuple(shape), dtype) == (want.shape, want.dtype)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (37,), (2, 0, 3), (3, 1, 2, 2)], ids=str)
def test_elementwise_shapes(op, shape):
    for case in cases_of(op, shape):
        if case.code() in ("f64", "i32", "b1"):
            xs = case.values()
            assert_same(case(*xs), case.reference(*xs), tolerance(case))


# ----- layouts --------------------------------------------------------------------------------


def _strided(x, how):
    """An array equal to x, laid out otherwise."""
    if how == "fortran":
        return np.array(x, order="F")
    if how == "every second":
        wide = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
        view = wide[(*[slice(1, None, 2) for _ in x.shape], ...)]
    elif how == "negative":
        view = np.zeros_like(x, order="C")[(*[slice(None, None, -1) for _ in x.shape], ...)]
    elif how == "misaligned":
        raw = np.zeros(x.nbytes + 1, np.uint8)
        view = np.frombuffer(raw.data, x.dtype, x.size, 1).reshape(x.shape) if x.size else x.copy()
    elif how == "byte-swapped":
        return x.astype(x.dtype.newbyteorder())
    else:
        view = np.zeros_like(x)
    view[...] = x
    if how == "read-only":
        view.flags.writeable = False
    return view


LAYOUTS = ("fortran", "every second", "negative", "read-only", "misaligned", "byte-swapped")


@per_main
def test_layouts(case):
    xs = [np.asarray(x) for x in case.values()]
    want = case(*xs)
    compiled = ft.jit(case)
    for how in LAYOUTS:
        ys = [_strided(x, how) for x in xs]
        for x, y in zip(xs, ys, strict=True):
            np.testing.assert_array_equal(x, y)
        assert_tree_equal(case(*ys), want)
        assert_tree_equal(compiled(*ys), want)
    for i in range(len(xs)):             # one odd operand among contiguous ones
        ys = [_strided(x, "every second") if i == j else x for j, x in enumerate(xs)]
        assert_tree_equal(compiled(*ys), want)


@per_main
def test_repeated_rows(case):
    """Operands with stride 0."""
    xs = [np.asarray(x) for x in case.values()]
    ys = [np.broadcast_to(x[:1], x.shape) if x.ndim and x.shape[0] and x.dtype.kind == "f" else x
          for x in xs]
    assert_same(case(*ys), case.reference(*[y.copy() for y in ys]), tolerance(case))


# ----- special values -------------------------------------------------------------------------

NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan]
SIGN_OF_ZERO_IS_FREE = ("max", "min", "fmax", "fmin",    # of two zeros NumPy's own loops take either
                        "integer_pow")


def specials(code):
    dtype = TYPES[code]
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "c":
        parts = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan], dtype.type(0).real.dtype)
        out = np.empty((7, 7), dtype)
        out.real, out.imag = parts[:, None], parts
        return out.ravel()
    if dtype.kind == "f":
        info = np.finfo(dtype)
        return np.array([*NUMBERS, info.max, -info.max, info.tiny, -info.tiny, info.smallest_subnormal],
                        dtype)
    info = np.iinfo(dtype)
    near = [0, 1, 2, 3, 7, info.max // 2, info.max - 1, info.max, info.min, info.min + 1]
    return np.array(near + ([-1, -2, -7] if dtype.kind == "i" else [8, 9, 31]), dtype)


def _saturated(x, dtype):
    """Float to integer: nan to 0, else toward zero and clamped."""
    info = np.iinfo(dtype)
    out = [0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
           for v in x.astype(object).ravel()]
    return np.array(out, dtype).reshape(x.shape)


@pytest.mark.parametrize("case", [c for c in CASES if c.op.family == "elementwise"], ids=repr)
def test_special_values(case):
    codes = [np.dtype(d) for _, d in case.types()]
    columns = [specials(CODE[d]) for d in codes]
    rows = np.array(list(itertools.product(*[range(len(c)) for c in columns])))
    xs = [c[rows[:, i]] for i, c in enumerate(columns)]
    if case.op.name == "pow" and codes[1].kind == "i":
        xs = [x[xs[1] >= 0] for x in xs]           # NumPy refuses integers to negative powers
    got = case(*xs)
    to = case.params.get("dtype")
    if to is not None and to.kind in "iu" and codes[0].kind == "f":
        np.testing.assert_array_equal(got, _saturated(xs[0], to))
        return
    want = case.reference(*xs)
    free = case.op.name in SIGN_OF_ZERO_IS_FREE
    tol = tolerance(case)
    if tol is None:
        tol = {"f8": 1e-14, "c16": 1e-14, "f2": 2e-3}.get(codes[-1].str[1:], 3e-6)
    assert_same(got, want, tol, signs=not free)


@pytest.mark.parametrize("case", [c for c in CASES if c.op.family != "elementwise"], ids=repr)
def test_special_values_are_moved_and_reduced(case):
    xs = case.values()
    if case.op.name in ("fft", "rfft", "irfft") or (
            case.op.name in ("reduce_sum", "reduce_prod", "cumprod") and case.code() in ("c64", "c128")):
        return                                     # which parts are nan depends on the order
    rng = rng_of(repr(case), "special")
    for i, o in enumerate(case.operands):
        shape, dtype = parse(o) if isinstance(o, str) else ((), np.dtype(bool))
        if dtype.kind != "b":
            pool = np.array(NUMBERS[2:], dtype) if dtype.kind in "fc" else specials(CODE[dtype])
            xs[i] = np.where(rng.random(shape) < 0.3, rng.choice(pool, shape), xs[i]).astype(dtype)
    assert_same(case(*xs), case.reference(*xs), tolerance(case))


# ----- errors ---------------------------------------------------------------------------------

ERRORS = list(errors())


@pytest.mark.parametrize(("op", "xs", "params", "error", "match"), [e[1:] for e in ERRORS],
                         ids=[e[0] for e in ERRORS])
def test_errors(op, xs, params, error, match):
    """Refused at once, and while a function of all operands is traced."""
    with pytest.raises(error, match=match):
        op(*xs, **params)
    if xs:
        with pytest.raises(error, match=match):
            ft.jit(lambda *xs: op(*xs, **params))(*xs)


# ----- threads --------------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = ft.get_num_threads()
    yield ft.set_num_threads
    ft.set_num_threads(before)


def _on_one_and_more(threads, f, *xs):
    threads(1)
    one = f(*xs)
    for n in (2, 3, 5):
        threads(n)
        assert_tree_equal(f(*xs), one)
    return one


def _many(case, size):
    """Operands of ``vmap(case)``: ``size`` examples of each text operand."""
    rng = rng_of(repr(case), "many")
    return [sample(show((size, *parse(o)[0]), parse(o)[1]), d, rng) if isinstance(o, str) else o
            for o, d in zip(case.operands, case.domains, strict=True)]


@pytest.mark.parametrize("case", [c for c in MAIN if any(isinstance(o, str) for o in c.operands)], ids=repr)
def test_threads_many_examples(case, threads):
    size = 30_000
    xs = _many(case, size)
    axes = tuple(0 if isinstance(o, str) else None for o in case.operands)
    out = _on_one_and_more(threads, ft.jit(ft.vmap(case, axes)), *xs)
    for i in (0, size // 2 - 1, size // 2, size - 1):
        row = [x if a is None else x[i] for x, a in zip(xs, axes, strict=True)]
        assert_same(out[i], case.reference(*row), tolerance(case))


LARGE = [("reduce_sum", "f64[1200,700]", {"axes": (0,)}), ("reduce_sum", "f64[1200,700]", {"axes": (1,)}),
         ("reduce_sum", "f64[1200,700]", {"axes": (0, 1)}), ("reduce_sum", "f32[1000003]", {"axes": (0,)}),
         ("reduce_sum", "f64[40,50,600]", {"axes": (0, 2)}), ("reduce_prod", "f64[900001]", {"axes": (0,)}),
         ("reduce_max", "f64[1000003]", {"axes": (0,)}), ("reduce_min", "f32[30,40001]", {"axes": (1,)}),
         ("reduce_and", "b1[999999]", {"axes": (0,)}), ("argmax", "f64[1000003]", {"axis": 0}),
         ("argmin", "f32[900,1000]", {"axis": 0}), ("cumsum", "f64[1000003]", {"axis": 0, "reverse": False}),
         ("cumsum", "f64[900,1000]", {"axis": 0, "reverse": True}),
         ("cumlogsumexp", "f64[300,1001]", {"axis": 1, "reverse": False}),
         ("cummax", "f32[700001]", {"axis": 0, "reverse": True}),
         ("transpose", "f64[1001,999]", {"perm": (1, 0)}), ("rev", "f32[2000001]", {"axes": (0,)})]


@pytest.mark.parametrize(("name", "text", "params"), LARGE, ids=str)
def test_threads_one_large_array(name, text, params, threads):
    case = Case(OPS[name], [text], params, domain=(0.9999, 1.0001) if name == "reduce_prod" else None)
    (x,) = case.values()
    out = _on_one_and_more(threads, ft.jit(case), x)
    assert_same(out, case.reference(x), {"f4": 1e-3, "f8": 1e-9}.get(x.dtype.str[1:], 0.0)
                if tolerance(case) is None else 0.0)


@pytest.mark.parametrize("texts", [("f64[301,257]", "f64[257,203]"), ("f32[301,257]", "f32[257,203]"),
                                   ("i64[151,157]", "i64[157,103]")], ids=str)
def test_threads_products(texts, threads):
    case = Case(OPS["dot_general"], texts, {"contract": ((1,), (0,)), "batch": ((), ())})
    xs = case.values()
    out = _on_one_and_more(threads, ft.jit(case), *xs)
    assert_same(out, xs[0] @ xs[1], 1e-4 if xs[0].dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("name", ["scatter_add", "scatter_set", "scatter_mul", "scatter_min", "scatter_max"])
def test_threads_scatter(name, threads):
    """Many updates of few positions: the order of the sums must not depend on the team."""
    rng = rng_of(name)
    x, updates = rng.uniform(0.9, 1.1, (50, 64)), rng.uniform(0.9, 1.1, (5000, 64))
    at = rng.integers(0, 50, 5000)
    f = ft.jit(lambda x, u, i: OPS[name](x, u, i, mode="drop"))
    out = _on_one_and_more(threads, f, x, updates, at)
    assert_same(out, OPS[name].reference(x, updates, at, mode="drop"))


def test_threads_gather(threads):
    rng = rng_of("gather")
    x, at = rng.normal(size=(5000, 40)), rng.integers(-10, 5010, 40_000)
    f = ft.jit(lambda x, i: OPS["gather"](x, i, mode="clip"))
    assert_same(_on_one_and_more(threads, f, x, at), x[np.clip(at, 0, 4999)])


# ----- batches of size 0 and 1 ----------------------------------------------------------------


@per_main
@pytest.mark.parametrize("size", [0, 1])
def test_degenerate_batches(case, size):
    if not case.operands:
        with pytest.raises(ValueError):
            ft.vmap(case, ())()
        return
    want = np.asarray(case.reference(*case.values()))
    ndims = [len(shape) for shape, _ in case.types()]
    choices = {tuple(0 for _ in ndims), tuple(ndims)}
    choices |= {tuple(0 if j == i else None for j in range(len(ndims))) for i in range(len(ndims))}
    for axes in sorted(choices, key=str):
        for out_axis in (0, want.ndim):
            got = ft.vmap(case, axes, out_axis)(*batched(case, axes, size))
            assert got.dtype == want.dtype
            assert got.shape == (*want.shape[:out_axis], size, *want.shape[out_axis:])
            if size:
                assert_same(got.reshape(want.shape), want, tolerance(case))
