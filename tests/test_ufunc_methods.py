"""reduce, accumulate, reduceat and outer of ufuncs on traced arrays, as NumPy has them."""

import numpy as np
import pytest
from against_numpy import same, sample

from functrans import errors, grad, jit, vmap
from functrans.testing import check_grads

FLOAT = [np.hypot, np.subtract, np.true_divide, np.fmax, np.fmin, np.logaddexp2, np.add, np.multiply,
         np.maximum, np.minimum, np.logaddexp]
BITS = [np.gcd, np.bitwise_and, np.bitwise_or, np.bitwise_xor]
TRUTH = [np.logical_and, np.logical_or, np.logical_xor]
CASES = ([(f, d) for f in FLOAT for d in ("float32", "float64")]
         + [(f, d) for f in BITS for d in ("int8", "uint32")]
         + [(f, d) for f in TRUTH for d in ("bool", "int32", "float64")]
         + [(np.subtract, "int8"), (np.maximum, "bool"), (np.minimum, "uint8"), (np.hypot, "int16")])


@pytest.mark.parametrize(("f", "dtype"), CASES, ids=lambda v: getattr(v, "__name__", v))
def test_as_numpy(f, dtype):
    for shape in ((5,), (1,), (3, 4), (2, 1, 3), (0, 3)):
        x = sample(shape, dtype)
        if f.identity is not None or shape[0]:
            same(lambda x: f.reduce(x), x)
            same(lambda x: f.reduce(x, axis=-1, keepdims=True), x)
        same(lambda x: f.accumulate(x), x)
        same(lambda x: f.accumulate(x, axis=-1), x)
        same(lambda x: f.reduce(x, initial=1), x)
        if f not in (np.subtract, np.true_divide) and x.size:
            same(lambda x: f.reduce(x, axis=None), x)
    same(lambda x, y: f.outer(x, y), sample(3, dtype), sample((2, 2), dtype, seed=1))


@pytest.mark.parametrize("f", [np.add, np.multiply, np.maximum, np.minimum])
@pytest.mark.parametrize("at", [[0, 2, 4], [3, 1, 1, 5], [0], [5, 0, 5]])
def test_reduceat(f, at):
    for dtype in ("int8", "float64", "bool"):
        same(lambda x: f.reduceat(x, at), sample(6, dtype))
        same(lambda x: f.reduceat(x, at, axis=1), sample((2, 6), dtype))
    check_grads(lambda x: f.reduceat(x, at), (sample(6),))
    rows = sample((3, 6))
    np.testing.assert_allclose(vmap(lambda x: f.reduceat(x, at))(rows), [f.reduceat(r, at) for r in rows])


def test_derivatives():
    x = np.array([3.0, 1.5, 2.0, 0.5])
    for f in (np.hypot, np.true_divide, np.subtract, np.logaddexp2):
        check_grads(lambda x, f=f: f.reduce(x), (x,))
        check_grads(lambda x, f=f: f.accumulate(x), (x,))
    np.testing.assert_allclose(grad(np.hypot.reduce)(x), x / np.sqrt(np.sum(x * x)), rtol=1e-14)


def test_where_and_several_axes():
    x, keep = sample((3, 4), "int32"), sample((3, 4), "bool", seed=2)
    for f in (np.logical_xor, np.gcd, np.bitwise_or):
        same(lambda x, k, f=f: f.reduce(x, where=k), x, keep)
    same(lambda x: np.hypot.reduce(x, axis=(0, 1)), sample((3, 4)))


@pytest.mark.parametrize(("f", "error", "text"), [
    (lambda x: np.power.reduce(x), errors.NotSupportedError, "power.reduce"),
    (lambda x: np.hypot.reduceat(x, [0]), errors.NotSupportedError, "hypot.reduceat"),
    (lambda x: np.add.reduceat(x, [7]), IndexError, r"\[0, 3\)"),
    (lambda x: np.add.reduceat(x, x.astype(int)), errors.NotSupportedError, "traced indices"),
    (lambda x: np.subtract.reduce(x[None], axis=(0, 1)), ValueError, "at most one axis"),
    (lambda x: np.bitwise_and.reduce(x), errors.DtypeError, "not defined"),
    (lambda x: np.fmax.reduce(x[:0]), ValueError, "fmax|empty|identity"),
    (lambda x: np.gcd.accumulate(x[0].astype(int)), TypeError, "scalar"),
    (lambda x: np.argmax(x, axis=(0,)), TypeError, "integer"),
    (lambda x: np.cumsum(x, axis=()), TypeError, "integer"),
    (lambda x: np.add.at(x, [0], 1.0), errors.InPlaceError, "functrans.at")])
def test_refused(f, error, text):
    with pytest.raises(error, match=text):
        jit(f)(np.array([1.0, 2.0, 3.0]))
