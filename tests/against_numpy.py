"""Checks of traced functions against NumPy, shared by the tests of functrans.numpy."""

import warnings

import numpy as np

import functrans

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
          "float64"]


def sample(shape, dtype="float64", seed=0):
    r = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return r.random(shape) < 0.6
    if dtype.kind in "iu":
        return r.integers(0 if dtype.kind == "u" else -5, 6, shape).astype(dtype)
    return np.asarray(r.normal(size=shape)).astype(dtype)


def same(f, *args, rtol=None):
    """f gives the same traced (jit) as untraced: shapes, dtypes, values."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        want = f(*args)
    got = functrans.jit(f)(*args)
    many = isinstance(want, (tuple, list))
    assert isinstance(got, type(want)) or not many
    for w, g in zip(want if many else [want], got if many else [got], strict=True):
        w, g = np.asarray(w), np.asarray(g)
        assert g.dtype == w.dtype, (g.dtype, w.dtype)
        assert g.shape == w.shape
        if w.dtype.kind in "fc":
            tol = rtol or (1e-5 if w.dtype.char in "fF" else 1e-12)
            np.testing.assert_allclose(g, w, rtol=tol, atol=tol)
        else:
            np.testing.assert_array_equal(g, w)


def gradients(f, *args, eps=1e-6, tol=1e-6):
    """Reverse and forward derivatives of f against central differences."""
    r = np.random.default_rng(5)
    weights = sample(np.shape(f(*args)), seed=7)

    def scalar(*xs):
        return np.sum(weights * f(*xs))

    found = functrans.grad(scalar, argnums=tuple(range(len(args))))(*args)
    for i, (x, g) in enumerate(zip(args, found, strict=True)):
        d = r.normal(size=np.shape(x))
        slope = (scalar(*args[:i], x + eps * d, *args[i + 1:])
                 - scalar(*args[:i], x - eps * d, *args[i + 1:])) / (2 * eps)
        np.testing.assert_allclose(np.sum(d * g), slope, rtol=tol, atol=tol)
        _, forward = functrans.jvp(lambda x, i=i: scalar(*args[:i], x, *args[i + 1:]), (x,), (d,))
        np.testing.assert_allclose(forward, slope, rtol=tol, atol=tol)
