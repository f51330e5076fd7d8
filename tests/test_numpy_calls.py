"""Calls that users write, with unusual arguments, on dtypes and shapes at the corners: traced as NumPy's own.

Each line is a program of x. Where NumPy raises, so may we; what we refuse on purpose is in ``REFUSED``.
"""

import numpy as np
import pytest
from against_numpy import same, sample

import functrans.numpy as fnp
from functrans import at, errors, grad, jit
from functrans.testing import check_grads

CALLS = """
np.where(x > 1, x, 2); np.where(x, 1, 2.5); np.piecewise(x, [x > 0], [1, 2])
np.select([x > 0, x < 0], [x, x], default=7); x.T; x.real; x.imag; x.flat; x.flat[-1]; x.astype(np.float32)
x.astype("c8"); x.astype(bool); x.astype(np.int8); x.conj(); x.sum(0); x.prod(); x.mean(); x.std(ddof=1)
x.var(); x.max(initial=0); x.min(initial=3); x.all(); x.any(axis=-1); x.copy(); x.cumsum(); x.cumprod(0)
x.ravel(); x.flatten(); x.reshape(-1); x.squeeze(); x.clip(0, 2); x.argmax(); x.argmin(axis=-1); x.trace()
x.diagonal(); x.dot(x); x.dot(2); x.repeat(2); x.swapaxes(0, -1); x.size; x.nbytes; x.itemsize; len(x); x[0]
x[-1:]; x[..., None]; x[::-1]; x.take([0], axis=0); x.searchsorted(1); x.compress([True]); x.argsort(); x.mT
np.einsum("...i->...", x); np.einsum("i...->i...", x); np.einsum("ii", x); np.einsum("ij,jk", x, x.T)
np.einsum("...i,...i", x, x); np.einsum(x, [0, 1], [1, 0]); np.einsum("ij,kj->ik", x, x, optimize=True)
np.apply_along_axis(lambda v: v.sum(), 0, x); np.apply_over_axes(np.sum, x, [0])
np.concatenate([x, x], axis=None); np.concatenate([x, np.ones_like(x, dtype=float)], axis=-1)
np.concatenate([x, x], dtype=np.float64); np.stack([x, x], -1); np.hstack([x, x]); np.dstack([x, x])
np.column_stack([x, x]); np.block([[x, x], [x, x]]); np.append(x, 1); np.array_split(x, 2)
np.tile(x, (2, 1, 2)); np.repeat(x, 2, axis=0); np.roll(x, 2, axis=-1); np.rot90(x); np.insert(x, 0, 1)
np.pad(x, 1); np.pad(x, 1, mode="edge"); np.pad(x, 1, mode="mean")
np.pad(x, (2, 1), mode="linear_ramp", end_values=3); np.pad(x, 1, mode="maximum", stat_length=2)
np.pad(x, (1, 3), mode="median"); np.pad(x, 2, mode="minimum"); np.diff(x, axis=0, n=2); np.gradient(x)
np.unwrap(x); np.convolve(x, [1, 2]); np.outer(x, x); np.outer(x, 2); np.inner(x, 2); np.dot(x, 2)
np.dot(2, x); np.vdot(x, x); np.tensordot(x, x, 0); np.kron(x, 2); x @ x.T; np.tril(x); np.triu(x, 1)
np.diag(x); np.vander(x); np.sort(x, axis=None); np.lexsort((x, x)); np.median(x, axis=0); np.argsort(x)
np.digitize(x, [0, 1, 2]); np.nan_to_num(x); np.isclose(x, x + 1); np.array_equal(x, x); np.angle(x)
np.around(x, -1); np.fix(x); np.sinc(x); np.atleast_3d(x); np.expand_dims(x, (0, -1)); np.rollaxis(x, -1)
np.unique(x); np.ravel(x, order="F"); np.reshape(x, -1, order="F"); np.resize(x, (3, 2))
np.full_like(x, 2.7); np.linspace(x, x + 1, 3); np.linspace(0, x, 4, axis=-1); np.arange(3)[:1] + x
np.average(x, weights=np.ones_like(x)); np.interp(x, [0, 1, 2], [1, 2, 4]); np.take(x, 0, axis=-1)
np.take(x, [5], mode="clip"); np.take(x, [-9], mode="wrap"); np.compress([True], x, axis=0)
np.take_along_axis(x, np.argsort(x, axis=-1), -1); np.choose(np.zeros(x.shape, int), [x, 1])
np.count_nonzero(x, axis=0); np.add(x, 1, dtype=np.float64); np.sum(x, where=x > 0); np.mean(x, where=x > 0)
np.max(x, initial=-5, where=x > 0); np.sum(x, axis=-1, initial=3, dtype=np.float32); x + 1; x + 1.5; 1 - x
x * True; x ** 3; x / 2; 2 / x; x // 2; x % 2; -x; ~x; x & 1; x << 1; divmod(x, 2); x + np.float32(1)
x + np.int8(1); x * np.float64(2); x + np.uint8(200); x * np.array(2); np.frexp(x); np.modf(x)
np.spacing(x); np.packbits(x); np.float_power(x, 2); np.sign(x); np.reciprocal(x); np.var(x, dtype="c16")
np.nanmedian(x, axis=-1); np.nanquantile(x, 0.3, axis=0); np.nanmax(x, axis=0); np.nanmean(x, axis=0)
np.ptp(x, axis=-1); np.linalg.norm(x); np.linalg.norm(x, axis=-1); np.fft.fft(x, n=5); np.fft.rfft(x)
np.isin(x, [1, 2]); np.partition(x, 0, axis=-1)[:0]; np.quantile(x, [0.2, 0.5])
np.percentile(x, 50, axis=0, method="nearest"); np.cov(x); np.polyval([1, 2, 3], x)
"""
PROGRAMS = [c.strip() for line in CALLS.strip().splitlines() for c in line.split(";")]
DTYPES = ["bool", "uint8", "int32", "float16", "float32", "complex64"]
SHAPES = [(), (0,), (3,), (2, 3), (0, 3)]
# what is refused on purpose: (part of the program, dtypes)
REFUSED = [("choose", "bool"), ("nanquantile", "bool"), ("np.unique", None), ("np.piecewise", "bool")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_numpy(program):
    code = compile(program, program, "eval")

    def f(x):
        return eval(code, {"np": np, "x": x})

    for i, dtype in enumerate(DTYPES):
        for shape in (SHAPES[i % len(SHAPES)], SHAPES[(i + 2) % len(SHAPES)], SHAPES[(i + 3) % len(SHAPES)]):
            x = sample(shape, dtype, seed=i)
            try:
                with np.errstate(all="ignore"):
                    want = f(x)
            except Exception:  # NumPy does not have it
                continue
            if isinstance(want, np.flatiter):
                np.testing.assert_array_equal(jit(f)(x), np.asarray(want))
                continue
            try:
                same(f, x, rtol=1e-2 if dtype == "float16" else None)
            except errors.FunctransError as e:
                assert e.fix
                assert any(part in program and of in (None, dtype) for part, of in REFUSED), (program, x)


def test_own_keywords():
    """JAX's, which NumPy does not have: the functions take them for plain arrays too."""
    x = np.array([3.0, -1.0, 2.0])
    for run in (lambda f: f, jit):
        np.testing.assert_array_equal(
            run(lambda x: fnp.where(x > 0, size=4, fill_value=-1)[0])(x), [0, 2, -1, -1]
        )
        np.testing.assert_array_equal(run(lambda x: fnp.take(x, np.array([2, 5]), fill_value=9.0))(x), [2, 9])
        np.testing.assert_array_equal(
            run(lambda x: fnp.take(x[:, None], np.array([[-1, 7]]), axis=0, fill_value=0))(x), [[[2], [0]]]
        )
        np.testing.assert_array_equal(
            run(lambda x: fnp.take_along_axis(x, np.array([1, 4]), 0, mode="fill"))(x), [-1, np.nan]
        )
        np.testing.assert_array_equal(
            run(lambda x: fnp.take_along_axis(x, np.array([1, 4]), 0, mode="clip"))(x), [-1, 2]
        )
        for counts in ([2, 0, 1], [5, 1, 1], [0, 0, 1]):
            got = run(lambda x, n: fnp.repeat(x, n, total_repeat_length=4))(x, np.array(counts))
            want = [v for v, n in zip(x, counts, strict=True) for _ in range(n)]
            np.testing.assert_array_equal(got, (want + [x[-1]] * 4)[:4])
    check_grads(lambda x: fnp.repeat(x, np.array([2, 0, 1]), total_repeat_length=4), (x,))
    np.testing.assert_array_equal(grad(lambda x: x.flat[1] * 2 + sum(x.flat))(x), [1, 3, 1])
    with pytest.raises(ValueError, match="size"):
        fnp.where(x > 0, x, x, size=2)
    with pytest.raises(ValueError, match="'wrap'"):
        jit(lambda x: fnp.take_along_axis(x, np.array([1]), 0, mode="wrap"))(x)


@pytest.mark.parametrize("mode", ["mean", "maximum", "minimum", "median", "linear_ramp"])
def test_padding_by_values(mode):
    kw = {"end_values": ((1, 2), (3, 4))} if mode == "linear_ramp" else {"stat_length": ((1, 2), (2, 3))}
    for dtype in ("int32", "float64"):
        same(lambda x: np.pad(x, ((1, 2), (3, 0)), mode=mode, **kw), sample((3, 4), dtype))
        same(lambda x: np.pad(x, 2, mode=mode), sample((3, 4), dtype))
    check_grads(lambda x: np.pad(x, ((1, 2), (3, 0)), mode=mode, **kw), (sample((3, 4)),))


def test_functions_that_need_our_own_spelling():
    """NumPy would make an ndarray of a traced value and lose its derivative: an error says what to write."""
    x = np.array([1.0, 2.0])
    for f, instead in (
        (lambda x: np.array([x[0], 1.0]), lambda x: fnp.array([x[0], 1.0])),
        (lambda x: np.full((2,), x[0]), lambda x: fnp.full((2,), x[0])),
        (lambda x: np.vectorize(lambda v: v * 2)(x), lambda x: fnp.vectorize(lambda v: v * 2)(x)),
    ):
        with pytest.raises(errors.DerivativeLostError):
            grad(lambda x, f=f: f(x).sum())(x)
        assert grad(lambda x, f=instead: f(x).sum())(x).shape == (2,)
    np.testing.assert_array_equal(jit(lambda x: at(x.ravel())[0].set(5.0))(x), [5, 2])
