"""The kernels of matrix products against NumPy and exact sums: layouts, sizes, special values, threads,
instruction-set levels."""

import hashlib
import json
import textwrap

import numpy as np
import pytest
from kernel_cases import CODES, bits, python, rng_of, same, tame

import functrans as ft
from functrans.ir.op import DTYPE
from functrans.kernels import codegen, lib


def matmul(code, a, b, out=None, cost=0.0):
    batch, m, k = a.shape
    n = b.shape[2]
    if out is None:
        out = np.full((batch, m, n), 7, a.dtype)
    strides = [(*out.strides, 0), (a.strides[0], a.strides[1], 0, a.strides[2]),
               (b.strides[0], 0, b.strides[2], b.strides[1])]
    lib.call(f"matmul:{code}", [out], [a, b], (batch, m, n, k), (), strides, cost)
    return out


def transposed(x):
    return np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1)


def layouts(x):
    """The same matrices in row order, column order, with gaps, and backwards."""
    yield x
    yield transposed(x)
    yield np.repeat(np.repeat(x, 2, axis=1), 3, axis=2)[:, ::2, ::3]
    yield x[:, ::-1, ::-1].copy()[:, ::-1, ::-1]


def outputs(batch, m, n, dtype):
    """Places for a result that hold something else before."""
    yield np.full((batch, m, n), np.nan if np.dtype(dtype).kind == "f" else 1, dtype)
    yield transposed(np.full((batch, m, n), 1, dtype))
    yield np.full((batch, m, n, 2), 1, dtype)[..., 0]
    yield np.full((batch, m, n), 1, dtype)[:, ::-1, ::-1]


def check(a, b, got, exact=None):
    """Every element to the bound of a sum of k rounded products, in any order."""
    k = a.shape[2]
    wide = np.longdouble if a.dtype == np.float64 and got.size * k < 1e6 else np.float64
    if exact is None:
        exact = np.matmul(a.astype(wide), b.astype(wide))
    size = np.matmul(np.abs(a).astype(float), np.abs(b).astype(float))
    eps = np.finfo(a.dtype).eps
    assert np.all(np.abs(got - exact) <= (k + 2) * eps * size + np.finfo(a.dtype).tiny)


def normal(code, *shape):
    return rng_of(f"{code}{shape}").standard_normal(shape).astype(DTYPE[code])


# ----- layouts and sizes -------------------------------------------------------------------------

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (3, 1, 7, 30), (3, 7, 1, 30), (2, 1, 1, 2100), (1, 17, 33, 9),
          (1, 5, 40, 0), (0, 2, 2, 2), (2, 0, 3, 4), (1, 65, 70, 33), (2, 9, 8, 64),
          (1, 130, 20, 70)]
LARGE = [(1, 150, 140, 130), (1, 1, 200, 180), (1, 200, 1, 180), (1, 129, 259, 301), (2, 33, 203, 530),
         (1, 25, 700, 120), (1, 300, 2, 1500), (1, 4, 333, 77), (1, 3, 3, 20000), (1, 20, 17, 17000),
         (1, 400, 500, 7), (2, 90, 3, 37), (1, 3, 90, 9000), (3, 40, 50, 3), (1, 500, 410, 1),
         (1, 17, 700, 300), (1, 300, 500, 200)]


@pytest.mark.parametrize("code", CODES)
def test_layouts(code):
    floats = code in codegen.FLOATS
    for batch, m, n, k in SHAPES + (LARGE if floats else []):
        if floats:
            a, b = normal(code, batch, m, k), normal(code, batch, k, n)
            exact = np.matmul(a.astype(float), b.astype(float)) if code == "f32" else None
        else:
            rng = rng_of("matmul" + code)
            a, b = tame(code, (batch, m, k), rng), tame(code, (batch, k, n), rng)
            want = np.matmul(a, b) if code != "b1" else np.matmul(a.astype(int), b.astype(int)) > 0
        few = m * n * k > 1e6
        for i, la in enumerate(layouts(a)):
            for j, lb in enumerate(layouts(b)):
                for o, out in enumerate(outputs(batch, m, n, a.dtype)):
                    if few and (i + j + o) % 3:           # a third of the combinations of the large ones
                        continue
                    got = matmul(code, la, lb, out)
                    if floats:
                        check(a, b, got, exact)
                    else:
                        same(np.ascontiguousarray(got), want)


@pytest.mark.parametrize("code", codegen.FLOATS)
def test_sizes(code):
    a, b = normal(code, 1, 71, 71), normal(code, 1, 71, 71)
    at = transposed(a)
    for n in range(71):
        for m, cols, k in ((n, n, n), (n, 70 - n, 9), (7, n, 40), (n, 5, 70 - n)):
            x, y = at[:, :m, :k] if n % 2 else a[:, :m, :k], b[:, :k, :cols]
            check(x, y, matmul(code, x, y))


@pytest.mark.parametrize("code", codegen.FLOATS)
@pytest.mark.parametrize("m", [127, 128, 200])
def test_edges_of_tiles(code, m):
    # every remainder of the rows and columns of a register tile, through the packed kernels
    a, b = normal(code, 1, m + 14, 200), normal(code, 1, 200, 201)
    exact = np.matmul(a.astype(float), b.astype(float)) if code == "f32" else None
    for extra in range(0, 14):
        for n in range(150, 201, 7):
            part = exact if exact is None else exact[:, :m + extra, :n + extra % 7]
            x, y = a[:, :m + extra], b[:, :, :n + extra % 7]
            got = matmul(code, x, y)
            assert np.all(np.abs(got - np.matmul(x, y)) <= 200 * np.finfo(a.dtype).eps * 60)
            if part is not None:
                check(x, y, got, part)


@pytest.mark.parametrize("code", codegen.FLOATS)
@pytest.mark.parametrize("batch,m,n,k", [(1, 1030, 90, 513), (1, 70, 1100, 600), (1, 140, 130, 4500),
                                         (1, 4, 20, 40000), (1, 40, 4, 70001), (3, 140, 150, 100)])
def test_large(code, batch, m, n, k):
    # several tasks, several blocks of k, k beyond what is packed at once
    a, b = normal(code, batch, m, k), normal(code, batch, k, n)
    for x, y in ((a, b), (transposed(a), transposed(b))):
        check(x, y, matmul(code, x, y, cost=1e9))


@pytest.mark.parametrize("code", codegen.FLOATS)
def test_operands_without_strides(code):
    # a broadcast operand has stride 0 along the axes it repeats
    for batch, m, n, k in ((2, 9, 30, 11), (2, 150, 160, 140), (2, 200, 2, 70), (1, 2, 300, 700)):
        for axes in ((0,), (1,), (2,), (0, 1), (1, 2)):
            a = normal(code, *[1 if d in axes else s for d, s in enumerate((batch, m, k))])
            b = normal(code, *[1 if d in axes else s for d, s in enumerate((batch, k, n))])
            a, b = np.broadcast_to(a, (batch, m, k)), np.broadcast_to(b, (batch, k, n))
            check(a, b, matmul(code, a, b))


@pytest.mark.parametrize("code", codegen.FLOATS)
def test_integers_are_exact(code):
    # whole numbers whose sums are representable: every order of summation gives the same
    rng = rng_of("whole" + code)
    for m, n, k in ((5, 6, 7), (64, 1, 500), (1, 64, 500), (131, 150, 300), (3, 90, 1000), (8, 500, 400)):
        a, b = (rng.integers(-9, 9, s).astype(DTYPE[code]) for s in ((1, m, k), (1, k, n)))
        for x, y in ((a, b), (transposed(a), b), (a, transposed(b))):
            same(matmul(code, x, y), np.matmul(a.astype(int), b.astype(int)).astype(a.dtype))


# ----- special values ----------------------------------------------------------------------------


SPECIAL = [(1, 3, 4, 5), (1, 9, 20, 30), (1, 150, 160, 120), (1, 200, 1, 90), (1, 200, 3, 100),
           (1, 2, 150, 100), (1, 20, 300, 400), (1, 3, 9, 7), (1, 70, 2, 67)]


@pytest.mark.parametrize("code", codegen.FLOATS)
@pytest.mark.parametrize("batch,m,n,k", SPECIAL)
def test_nan_and_infinity_go_where_they_belong(code, batch, m, n, k):
    """An element is NaN, or infinite, exactly where IEEE arithmetic on its own terms makes it so."""
    rng = rng_of(f"special{m}{n}{k}")
    for value in (np.nan, np.inf, -np.inf):
        for turn in range(4):
            a, b = np.ones((batch, m, k), DTYPE[code]), np.ones((batch, k, n), DTYPE[code])
            a[:, :, ::3] = 0
            b[:, 1::5] = 0
            a[0, rng.integers(m), k - 1 if turn == 0 else rng.integers(k)] = value
            b[0, 0 if turn == 1 else rng.integers(k), rng.integers(n)] = value
            if turn == 2:
                a[0, m - 1, 0] = -value
            with np.errstate(all="ignore"):
                terms = a[0, :, :, None] * b[0] if m * k * n < 1e5 else None
                want = terms.sum(1) if terms is not None else np.add.reduce(
                    [a[0, :, [i]].T * b[0, i] for i in range(k)])
            for x, y in ((a, b), (transposed(a), b), (a, transposed(b))):
                same(matmul(code, x, y)[0], want.astype(a.dtype))


def test_overwrites_nan():
    for m, n, k in ((2, 2, 2), (300, 1, 300), (1, 300, 300), (150, 150, 150), (9, 9, 0)):
        got = matmul("f64", np.ones((1, m, k)), np.ones((1, k, n)), np.full((1, m, n), np.nan))
        same(got, np.full((1, m, n), float(k)))


def test_reads_nothing_beyond_its_operands():
    """Operands that end at the end of a page which nothing follows."""
    done = python(textwrap.dedent("""
        import ctypes, mmap
        import numpy as np
        from test_matmul import matmul, transposed
        from functrans.ir.op import DTYPE
        libc = ctypes.CDLL(None, use_errno=True)
        page = mmap.PAGESIZE

        def last(x):
            size = -(-x.nbytes // page) * page
            m = mmap.mmap(-1, size + page)
            at = ctypes.addressof(ctypes.c_char.from_buffer(m))
            libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
            assert libc.mprotect(at + size, page, 0) == 0
            y = np.frombuffer(m, x.dtype, x.size, size - x.nbytes).reshape(x.shape)
            y[...] = x
            return y

        for code in ("f32", "f64"):
            for m, n, k in ((3, 5, 7), (1, 77, 90), (77, 1, 90), (99, 2, 101), (3, 130, 130), (150, 151, 149),
                            (150, 2, 5), (10, 333, 500), (23, 23, 23), (5, 70, 3), (70, 3, 300)):
                a, b = np.ones((1, m, k), DTYPE[code]), np.ones((1, k, n), DTYPE[code])
                for x in (last(a), last(a.transpose(0, 2, 1)).transpose(0, 2, 1)):
                    for y in (last(b), last(b.transpose(0, 2, 1)).transpose(0, 2, 1)):
                        out = last(np.zeros((1, m, n), DTYPE[code]))
                        assert (matmul(code, x, y, out) == k).all()
    """))
    assert done.returncode == 0, done.stderr


# ----- threads and levels ------------------------------------------------------------------------

BIT_SHAPES = [(1, 301, 203, 257), (1, 257, 301, 1030), (2, 129, 131, 70), (1, 5000, 1, 33),
              (1, 1, 5000, 33), (1, 3, 3001, 100), (1, 90, 2, 30001), (1, 10, 700, 260),
              (9, 65, 33, 40), (1, 20, 20, 20000), (1, 6, 5, 4), (1, 1, 1, 5000), (1, 65, 9, 300),
              (1, 70, 500, 600), (1, 300, 450, 5), (30, 20, 61, 2), (9, 7, 1, 16)]


def digest(code, batch, m, n, k):
    # whole numbers over an odd one: the same operands in every process
    a, b = (((np.arange(r * c * batch) * 7919 % 1009 - 500) / 777).reshape(batch, r, c).astype(DTYPE[code])
            for r, c in ((m, k), (k, n)))
    found = [bits(np.ascontiguousarray(matmul(code, x, y, out, cost=1e9)))
             for x, y in ((a, b), (transposed(a), b), (a, transposed(b)))
             for out in (None, transposed(np.zeros((batch, m, n), a.dtype)))]
    return hashlib.sha1(b"".join(found)).hexdigest()


def digests():
    return {f"{code}{s}": digest(code, *s) for code in codegen.FLOATS for s in BIT_SHAPES}


@pytest.mark.parametrize("code", codegen.FLOATS)
@pytest.mark.parametrize("shape", BIT_SHAPES)
def test_threads_do_not_change_bits(code, shape):
    before = lib.get_num_threads()
    found = set()
    try:
        for n in (1, 2, 3):
            lib.set_num_threads(n)
            found.add(digest(code, *shape))
    finally:
        lib.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.skipif(len(lib.levels()) < 2, reason="one level only")
@pytest.mark.parametrize("level", lib.levels()[:-1])
def test_levels(level):
    """v3 and v4 give equal bits; all levels pass the checks against exact sums."""
    done = python(textwrap.dedent("""
        import json
        import test_matmul as t
        for code in ("f32", "f64"):
            t.test_sizes(code)
            for shape in t.LARGE + t.SHAPES:
                a, b = t.normal(code, *shape[:2], shape[3]), t.normal(code, shape[0], shape[3], shape[2])
                t.check(a, b, t.matmul(code, a, b))
                t.check(a, b, t.matmul(code, t.transposed(a), t.transposed(b)))
            for shape in t.SPECIAL:
                t.test_nan_and_infinity_go_where_they_belong(code, *shape)
        t.test_reads_nothing_beyond_its_operands()
        print(json.dumps(t.digests()))
    """), FUNCTRANS_ISA=level)
    assert done.returncode == 0, done.stderr
    if level == "v3":
        assert json.loads(done.stdout) == digests()


def test_scipy_is_not_loaded():
    done = python(textwrap.dedent("""
        import sys
        import numpy as np
        from functrans import jit
        x = np.ones((300, 300))
        assert (jit(lambda x: x @ x)(x) == 300).all()
        assert not [m for m in sys.modules if m.startswith("scipy.linalg")]
    """))
    assert done.returncode == 0, done.stderr


def test_products_with_one_matrix_are_made_together():
    """Equal to each alone, whichever side the matrix is on; one that waits for another stays apart."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(3000, 70)), rng.normal(size=3000)
    w, v = rng.normal(size=(2, 70))

    def f(x, w, v, u):
        a, b = x @ w, np.dot(v, x.T)
        return a, b, x @ np.tanh(a[:70]), u @ x, x.T @ np.cos(u)
    want = f(x, w, v, u)
    for got, exact in zip(ft.jit(f)(x, w, v, u), want, strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-12 * 60)
    plan = str(ft.jit(f).lower(x, w, v, u).plan)
    assert plan.count("matmul:f64") == 4
