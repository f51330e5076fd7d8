"""``linalg``, the matrix functions of the main namespace and ``fft`` as the array API standard has them.

Decompositions are checked by what they are (products, triangles, orthogonality), transforms against the sums
that define them. Every call is made on plain and on traced arrays.
"""

import math

import numpy as np
import pytest
from array_api_tools import COMPLEX, FLOATS, INTEGERS, both, few, filled, promoted, results
from hypothesis import given
from hypothesis import strategies as st

import functrans.numpy as fnp
from functrans import jit

la, ft = fnp.linalg, fnp.fft
INEXACT = FLOATS + COMPLEX
inexact = st.sampled_from(INEXACT)
stacks = st.lists(st.integers(0, 2), max_size=2).map(tuple)


def real(dtype):
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def loose(dtype):
    return 5e-3 if dtype in ("float32", "complex64") else 1e-8


def equal(got, want, dtype):
    np.testing.assert_allclose(
        got, want, rtol=loose(dtype), atol=loose(dtype) * max(1, np.abs(want).max(initial=0))
    )


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


@st.composite
def matrices(draw, dtype, rows=None, columns=None, stack=None):
    """Well-conditioned matrices of full rank: few digits, a large diagonal."""
    lead = draw(stacks) if stack is None else stack
    m = draw(st.integers(1, 3)) if rows is None else rows
    n = m if columns is None else columns
    size = math.prod(lead) * m * n
    entries = draw(st.lists(st.integers(-8, 8), min_size=2 * size, max_size=2 * size))
    x = np.array(entries[:size], float).reshape(*lead, m, n) / 16
    if np.dtype(dtype).kind == "c":
        x = x + 1j * np.array(entries[size:]).reshape(x.shape) / 16
    return (x + (2 + np.arange(n)) * np.eye(m, n)).astype(dtype)


def definite(x):
    return (x @ adjoint(x)).astype(x.dtype)


def named(found, fields):
    assert isinstance(found, tuple) and found._fields == tuple(fields)
    return found


# ----- decompositions -------------------------------------------------------------------------------------


@few
@given(inexact, st.booleans(), st.data())
def test_cholesky_and_eigh(dtype, upper, data):
    x = definite(data.draw(matrices(dtype)))
    for got in results(lambda x: la.cholesky(x, upper=upper), x):
        assert got.dtype == dtype and got.shape == x.shape
        equal(got, np.triu(got) if upper else np.tril(got), dtype)
        equal(adjoint(got) @ got if upper else got @ adjoint(got), x, dtype)
    for found in both(lambda x: la.eigh(x), x):
        values, vectors = named(found, ["eigenvalues", "eigenvectors"])
        assert values.dtype == real(dtype) and vectors.dtype == dtype
        assert values.shape == x.shape[:-1] and vectors.shape == x.shape
        equal(vectors * values[..., None, :] @ adjoint(vectors), x, dtype)
        for only in results(lambda x: la.eigvalsh(x), x):
            assert only.dtype == real(dtype) and only.shape == x.shape[:-1]
            equal(np.sort(only), np.sort(values), dtype)


@few
@given(inexact, st.integers(1, 3), st.integers(1, 3), st.booleans(), st.data())
def test_qr_and_svd(dtype, m, n, full, data):
    x, k = data.draw(matrices(dtype, m, n)), min(m, n)
    lead = x.shape[:-2]
    for found in both(lambda x: la.qr(x, mode="complete" if full else "reduced"), x):
        q, r = named(found, ["Q", "R"])
        inner = m if full else k
        assert q.dtype == r.dtype == dtype and q.shape == (*lead, m, inner) and r.shape == (*lead, inner, n)
        equal(q @ r, x, dtype)
        equal(adjoint(q) @ q, np.broadcast_to(np.eye(inner), (*lead, inner, inner)), dtype)
        equal(r, np.triu(r), dtype)
    for found in both(lambda x: la.svd(x, full_matrices=full), x):
        u, s, vh = named(found, ["U", "S", "Vh"])
        assert u.dtype == vh.dtype == dtype and s.dtype == real(dtype)
        assert u.shape == (*lead, m, m if full else k) and s.shape == (*lead, k)
        assert vh.shape == (*lead, n if full else k, n)
        equal(u[..., :k] * s[..., None, :] @ vh[..., :k, :], x, dtype)
        assert (np.diff(s, axis=-1) <= 0).all() and (s >= 0).all()
        for only in results(lambda x: la.svdvals(x), x):
            assert only.dtype == real(dtype)
            equal(only, s, dtype)


@few
@given(inexact, st.data())
def test_inverses_and_determinants(dtype, data):
    x = data.draw(matrices(dtype))
    lead, n = x.shape[:-2], x.shape[-1]
    unit = np.broadcast_to(np.eye(n), x.shape)
    for got in results(lambda x: la.inv(x), x):
        assert got.dtype == dtype and got.shape == x.shape
        equal(got @ x, unit, dtype)
    for got in results(lambda x: la.det(x), x):
        assert got.dtype == dtype and got.shape == lead
        for i in np.ndindex(*lead):
            equal(got[i], by_minors(x[i].tolist()), dtype)
        for sign, size in both(lambda x: tuple(la.slogdet(x)), x):
            assert (
                sign.dtype == dtype and size.dtype == real(dtype) and np.shape(sign) == np.shape(size) == lead
            )
            equal(sign * np.exp(size), got, dtype)
    named(la.slogdet(x), ["sign", "logabsdet"])
    for power in (0, 1, 3, -2):
        want = unit if power == 0 else x if power == 1 else x @ x @ x if power == 3 else np.linalg.inv(x @ x)
        for got in results(lambda x, p=power: la.matrix_power(x, p), x):
            assert got.dtype == dtype and got.shape == x.shape
            equal(got, want, dtype)


def by_minors(m):
    """The determinant along the first row."""
    if not m:
        return 1
    return sum(
        (-1) ** j * v * by_minors([row[:j] + row[j + 1 :] for row in m[1:]]) for j, v in enumerate(m[0])
    )


@pytest.mark.parametrize("dtype", INEXACT)
def test_determinant_of_a_singular_matrix(dtype):
    x = np.array([[1, 2], [2, 4]], dtype)
    for sign, size in both(lambda x: tuple(la.slogdet(x)), x):
        assert sign == 0 and size == -np.inf


@few
@given(inexact, st.integers(1, 3), st.integers(1, 3), st.data())
def test_pinv_and_rank(dtype, m, n, data):
    x = data.draw(matrices(dtype, m, n))
    x[..., -1, :] = x[..., 0, :]  # rows of the same numbers
    rank = min(n, max(m - 1, 1))
    for rtol in (None, 1e-3, np.full(x.shape[:-2], 1e-3, real(dtype))):
        for got in results(lambda x, r=rtol: la.matrix_rank(x, rtol=r), x):
            assert got.dtype == "int64" and got.shape == x.shape[:-2] and (got == rank).all()
        for got in results(lambda x, r=rtol: la.pinv(x, rtol=r), x):
            assert got.dtype == dtype and got.shape == (*x.shape[:-2], n, m)
            equal(x @ got @ x, x, dtype)
            equal(adjoint(x @ got), x @ got, dtype)


@few
@given(inexact, inexact, st.booleans(), st.data())
def test_solve(a_dtype, b_dtype, vector, data):
    a = data.draw(matrices(a_dtype))
    n, out = a.shape[-1], promoted(a_dtype, b_dtype)
    lead = () if vector else data.draw(st.sampled_from([(), (1,), a.shape[:-2]]))
    b = filled(data, b_dtype, (n,) if vector else (*lead, n, 2))
    for got in results(lambda a, b: la.solve(a, b), a, b):
        shape = a.shape[:-1] if vector else (*np.broadcast_shapes(a.shape[:-2], lead), n, 2)
        assert got.dtype == out and got.shape == shape
        found = (a @ got[..., None])[..., 0] if vector else a @ got
        equal(
            found,
            np.broadcast_to(b, found.shape),
            "float32" if "32" in a_dtype + b_dtype or "64" in a_dtype else out,
        )


# ----- products, norms, parts -----------------------------------------------------------------------------

numeric = st.sampled_from(INTEGERS + FLOATS + COMPLEX)


@st.composite
def pairs(draw):
    a = draw(numeric)
    b = draw(st.sampled_from([d for d in INTEGERS + FLOATS + COMPLEX if promoted(a, d)]))
    return a, b, promoted(a, b)


def total(values, dtype):
    """A sum of products of Python numbers, in a dtype: integers wrap."""
    value = sum(values)
    return np.array(value % 2**64, np.uint64).astype(dtype) if np.dtype(dtype).kind in "iu" else value


def agrees(got, want, dtype):
    return got == want if dtype in INTEGERS else abs(complex(got) - want) <= loose(dtype) * max(1, abs(want))


@few
@given(pairs(), st.data())
def test_matmul(types, data):
    a, b, out = types
    k, m, n = (data.draw(st.integers(0, 3)) for _ in range(3))
    left = data.draw(st.sampled_from([(k,), (m, k), (2, m, k), (1, m, k)]))
    right = data.draw(st.sampled_from([(k,), (k, n), (2, k, n), (3, 1, k, n)]))
    x, y = filled(data, a, left), filled(data, b, right)
    xs = x[None] if x.ndim == 1 else x
    ys = y[:, None] if y.ndim == 1 else y
    lead = np.broadcast_shapes(xs.shape[:-2], ys.shape[:-2])
    shape = (*lead, *([] if x.ndim == 1 else [m]), *([] if y.ndim == 1 else [n]))
    for f in (fnp.matmul, la.matmul, lambda x, y: x @ y):
        for got in results(f, x, y):
            assert got.dtype == out and got.shape == shape
            full = got.reshape(*lead, xs.shape[-2], ys.shape[-1])
            wide = np.broadcast_to(xs, lead + xs.shape[-2:]), np.broadcast_to(ys, lead + ys.shape[-2:])
            for *i, r, c in np.ndindex(*full.shape):
                want = total([wide[0][(*i, r, p)].item() * wide[1][(*i, p, c)].item() for p in range(k)], out)
                assert agrees(full[(*i, r, c)], want, out)


@pytest.mark.parametrize(
    ("x", "y"), [((), (2,)), ((2,), ()), ((2,), (3,)), ((2, 2), (3, 2)), ((2,), (3, 2)), ((2, 3), (2,))]
)
def test_matmul_refuses(x, y):
    for run in (lambda f: f, jit):
        with pytest.raises((ValueError, TypeError)):
            run(lambda x, y: fnp.matmul(x, y))(np.ones(x), np.ones(y))


@few
@given(pairs(), st.data())
def test_tensordot_vecdot_outer_cross(types, data):
    a, b, out = types
    x, y = filled(data, a, (2, 3, 2)), filled(data, b, (3, 2, 2))
    for axes, over in ((2, ([1, 2], [0, 1])), (((1,), (0,)),) * 2, (([0, 1], [2, 0]),) * 2, (0, ([], []))):
        for f in (fnp.tensordot, la.tensordot):
            for got in results(lambda x, y, f=f, axes=axes: f(x, y, axes=axes), x, y):
                free = [n for n in range(3) if n not in over[0]], [n for n in range(3) if n not in over[1]]
                shape = [x.shape[n] for n in free[0]] + [y.shape[n] for n in free[1]]
                assert got.dtype == out and list(got.shape) == shape
                for i in np.ndindex(*shape):
                    want = []
                    for j in np.ndindex(*[x.shape[n] for n in over[0]]):
                        at = dict(zip(free[0], i, strict=False)) | dict(zip(over[0], j, strict=True))
                        to = dict(zip(free[1], i[len(free[0]) :], strict=True)) | dict(
                            zip(over[1], j, strict=True)
                        )
                        want.append(
                            x[tuple(at[n] for n in range(3))].item()
                            * y[tuple(to[n] for n in range(3))].item()
                        )
                    assert agrees(got[i], total(want, out), out)
    u, v = filled(data, a, (2, 3)), filled(data, b, (1, 3))
    for f in (fnp.vecdot, la.vecdot):
        for got in results(lambda u, v, f=f: f(u, v, axis=-1), u, v):
            assert got.dtype == out and got.shape == (2,)
            for i in range(2):
                want = [p.conjugate() * q for p, q in zip(u[i].tolist(), v[0].tolist(), strict=True)]
                assert agrees(got[i], total(want, out), out)
    p, q = filled(data, a, (data.draw(st.integers(0, 3)),)), filled(data, b, (2,))
    for got in results(lambda p, q: la.outer(p, q), p, q):
        assert got.dtype == out and got.shape == (len(p), 2)
        assert all(
            agrees(got[i, j], total([p[i].item() * q[j].item()], out), out) for i, j in np.ndindex(*got.shape)
        )
    for axis in (-1, -2):
        u, v = np.moveaxis(filled(data, a, (2, 3)), -1, axis), np.moveaxis(filled(data, b, (1, 3)), -1, axis)
        for got in results(lambda u, v, axis=axis: la.cross(u, v, axis=axis), u, v):
            assert got.dtype == out
            for row, (f, g) in zip(
                np.moveaxis(got, axis, -1),
                [
                    (np.moveaxis(u, axis, -1)[n].tolist(), np.moveaxis(v, axis, -1)[0].tolist())
                    for n in (0, 1)
                ],
                strict=True,
            ):
                for n in range(3):
                    i, j = (n + 1) % 3, (n + 2) % 3
                    assert agrees(row[n], total([f[i] * g[j], -f[j] * g[i]], out), out)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: la.cross(x, x),
        lambda x: la.outer(x, x),
        lambda x: la.trace(x[0]),
        lambda x: la.cross(x, x[:, :1]),
    ],
)
def test_refused(f):
    for run in (lambda f: f, jit):
        with pytest.raises((ValueError, TypeError)):
            run(f)(np.ones((2, 2)))


@few
@given(numeric, stacks, st.integers(0, 3), st.integers(0, 3), st.integers(-4, 4), st.data())
def test_diagonal_trace_transpose(dtype, lead, m, n, offset, data):
    x = filled(data, dtype, (*lead, m, n))
    places = [(i, i + offset) for i in range(m) if 0 <= i + offset < n]
    for got in results(lambda x: la.diagonal(x, offset=offset), x):
        assert got.dtype == dtype and got.shape == (*lead, len(places))
        assert all((got[..., k] == x[..., i, j]).all() for k, (i, j) in enumerate(places))
    out = {"i": "int64", "u": "uint64"}.get(np.dtype(dtype).kind, dtype)
    for kw, want in (({}, out), ({"dtype": np.dtype(promoted(dtype, dtype))}, dtype)):
        for got in results(lambda x, kw=kw: la.trace(x, offset=offset, **kw), x):
            assert got.dtype == want and got.shape == lead
            for s in np.ndindex(*lead):
                assert agrees(got[s], total([x[(*s, i, j)].item() for i, j in places], want), want)
    for f in (fnp.matrix_transpose, la.matrix_transpose, lambda x: x.mT):
        for got in results(f, x):
            assert got.dtype == dtype and got.shape == (*lead, n, m)
            assert all((got[..., j, i] == x[..., i, j]).all() for i in range(m) for j in range(n))


@few
@given(inexact, st.integers(1, 3), st.integers(1, 3), st.booleans(), st.data())
def test_norms(dtype, m, n, keepdims, data):
    x = data.draw(matrices(dtype, m, n))
    lead, size = x.shape[:-2], np.abs(x)
    values = np.linalg.svd(x, compute_uv=False)
    orders = {
        "fro": np.sqrt((size**2).sum((-1, -2))),
        "nuc": values.sum(-1),
        1: size.sum(-2).max(-1),
        -1: size.sum(-2).min(-1),
        2: values.max(-1),
        -2: values.min(-1),
        np.inf: size.sum(-1).max(-1),
        -np.inf: size.sum(-1).min(-1),
    }
    for order, want in orders.items():
        for got in results(lambda x, o=order: la.matrix_norm(x, ord=o, keepdims=keepdims), x):
            assert got.dtype == real(dtype) and got.shape == lead + (1, 1) * keepdims
            equal(got.reshape(lead), want, dtype)
    axis = data.draw(st.sampled_from([None, -1, 0, (0, -1), (-2, -1)]))
    if axis == (0, -1) and x.ndim == 1:
        return
    over = tuple(range(x.ndim)) if axis is None else axis
    shape = np.sum(size, axis=over, keepdims=keepdims).shape
    rules = {
        1: size.sum,
        2: lambda axis, keepdims: np.sqrt((size**2).sum(axis, keepdims=keepdims)),
        0: lambda axis, keepdims: (size != 0).sum(axis, keepdims=keepdims),
        3: lambda axis, keepdims: (size**3).sum(axis, keepdims=keepdims) ** (1 / 3),
        0.5: lambda axis, keepdims: (size**0.5).sum(axis, keepdims=keepdims) ** 2,
        -1: lambda axis, keepdims: 1 / (1 / size).sum(axis, keepdims=keepdims),
    }
    if 0 not in x.shape:
        rules |= {np.inf: size.max, -np.inf: size.min}
    for order, rule in rules.items():
        with np.errstate(all="ignore"):
            want = rule(axis=over, keepdims=keepdims)
        for got in results(lambda x, o=order: la.vector_norm(x, axis=axis, ord=o, keepdims=keepdims), x):
            assert got.dtype == real(dtype) and got.shape == shape
            equal(got, want, dtype)


# ----- Fourier transforms ---------------------------------------------------------------------------------


def fourier(x, n, sign, norm):
    """The sum that defines a transform of one line, cut or filled with zeros to n."""
    x = np.concatenate([x, np.zeros(max(n - len(x), 0))])[:n]
    scale = {
        "backward": 1 if sign < 0 else 1 / n,
        "forward": 1 / n if sign < 0 else 1,
        "ortho": 1 / math.sqrt(n),
    }[norm]
    return np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) @ x * scale


def lines(f, x, axis):
    return np.apply_along_axis(f, axis, np.asarray(x, complex))


norms = st.sampled_from(["backward", "ortho", "forward"])


@few
@given(
    inexact, st.integers(1, 6), st.none() | st.integers(1, 7), norms, st.sampled_from([0, -1, -2]), st.data()
)
def test_transforms_along_an_axis(dtype, length, n, norm, axis, data):
    shape = (2, length) if axis == -1 else (length, 2)
    x, out = filled(data, dtype, shape), "complex64" if dtype in ("float32", "complex64") else "complex128"
    size = n or length
    kw = {"n": n, "axis": axis, "norm": norm}
    for f, sign in ((ft.fft, -1), (ft.ifft, 1)):
        for got in results(lambda x, f=f: f(x, **kw), x):
            assert got.dtype == out
            equal(got, lines(lambda v, s=sign: fourier(v, size, s, norm), x, axis), out)
    half = size // 2 + 1
    if dtype in FLOATS:
        for f, sign in ((ft.rfft, -1), (ft.ihfft, 1)):
            for got in results(lambda x, f=f: f(x, **kw), x):
                assert got.dtype == out
                equal(got, lines(lambda v, s=sign: fourier(v, size, s, norm)[:half], x, axis), out)
        return
    back = n or 2 * (length - 1)
    if back:
        for f, sign in ((ft.irfft, 1), (ft.hfft, -1)):
            for got in results(lambda x, f=f: f(x, **kw), x):
                assert got.dtype == real(dtype)

                def whole(v, sign=sign):
                    v = np.concatenate([v, np.zeros(back)])[: back // 2 + 1].copy()
                    full = np.zeros(back, complex)
                    full[: len(v)] = v
                    for k in range(1, (back + 1) // 2):
                        full[back - k] = np.conj(v[k])
                    full[0] = full[0].real
                    if back % 2 == 0:
                        full[back // 2] = full[back // 2].real
                    return fourier(full, back, sign, norm)

                equal(got, lines(whole, x, axis).real, out)


@few
@given(
    inexact, norms, st.sampled_from([(None, None), ((2, 3), (0, 1)), (None, (1,)), ((3,), (-1,))]), st.data()
)
def test_transforms_along_several_axes(dtype, norm, where, data):
    s, axes = where
    x, out = filled(data, dtype, (3, 4)), "complex64" if dtype in ("float32", "complex64") else "complex128"
    over = (0, 1) if axes is None else axes
    sizes = [x.shape[a] for a in over] if s is None else s
    kw = {"s": s, "axes": axes, "norm": norm}

    def several(x, sign, over, sizes):
        for a, n in zip(over, sizes, strict=True):
            x = lines(lambda v, n=n: fourier(v, n, sign, norm), x, a)
        return x

    for f, sign in ((ft.fftn, -1), (ft.ifftn, 1)):
        for got in results(lambda x, f=f: f(x, **kw), x):
            assert got.dtype == out
            equal(got, several(x, sign, over, sizes), out)
    if dtype in FLOATS:
        for got in results(lambda x: ft.rfftn(x, **kw), x):
            assert got.dtype == out
            want = several(x, -1, over, sizes)
            equal(got, np.take(want, range(sizes[-1] // 2 + 1), axis=over[-1]), out)
        for got in results(lambda x: ft.irfftn(ft.rfftn(x, **kw), s=tuple(sizes), axes=over, norm=norm), x):
            assert got.dtype == dtype
            cut = x
            for a, n in zip(over, sizes, strict=True):
                cut = np.take(cut, range(n), axis=a)
            equal(got, cut, dtype)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("dtype", [None, *FLOATS])
def test_frequencies_and_shifts(n, dtype):
    kw = {} if dtype is None else {"dtype": np.dtype(dtype)}
    first = list(range((n - 1) // 2 + 1))
    for f, want in ((ft.fftfreq, first + list(range(-(n // 2), 0))), (ft.rfftfreq, list(range(n // 2 + 1)))):
        got = f(n, d=0.5, device="cpu", **kw)
        assert got.dtype == (dtype or "float64")
        np.testing.assert_allclose(got, np.array(want) / (n * 0.5), rtol=1e-6)
    x = np.arange(n * 2).reshape(n, 2)
    for got in results(lambda x: ft.fftshift(x, axes=0), x):
        assert got.tolist() == [x[(i - n // 2) % n].tolist() for i in range(n)]
    for got in results(lambda x: ft.ifftshift(ft.fftshift(x)), x):
        assert got.tolist() == x.tolist()
