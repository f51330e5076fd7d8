"""scipy.cluster.vq and scipy.integrate.trapezoid against SciPy."""

import numpy as np
import pytest
import scipy.cluster.vq
import scipy.integrate
from against_numpy import sample

import functrans.scipy
from functrans import errors, grad, jit, vmap
from functrans.scipy.cluster.vq import vq
from functrans.scipy.integrate import trapezoid
from functrans.testing import check_grads


@pytest.mark.parametrize(("observations", "codes", "dtype"), [
    ((50, 3), (7, 3), "float64"), ((5, 2), (3, 2), "float32"), ((9,), (4,), "float64"),
    ((6, 2), (2, 2), "int64")])
def test_vq(observations, codes, dtype):
    a, b = sample(observations, dtype), sample(codes, dtype, seed=1)
    for got, want in zip(jit(vq)(a, b), scipy.cluster.vq.vq(a, b), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert vq(a, b)[0].dtype == scipy.cluster.vq.vq(a, b)[0].dtype


def test_vq_in_every_mode():
    a, b = sample((6, 2)), sample((3, 2), seed=1)
    check_grads(lambda a, b: vq(a, b)[1], (a, b))
    many = sample((4, 6, 2), seed=2)
    np.testing.assert_allclose(vmap(lambda a: vq(a, b)[1])(many), [vq(x, b)[1] for x in many])
    assert not grad(lambda a: vq(a, b)[1].sum())(b).any()       # at a code: 0, as norms have
    with pytest.raises(errors.ShapeError, match="do not fit"):
        jit(vq)(a, b[:, :1])
    assert functrans.scipy.cluster.vq.vq is vq


def test_trapezoid():
    y, x = sample((3, 5)), np.cumsum(np.abs(sample(5, seed=1)))
    for kw in ({}, {"dx": 0.5}, {"axis": 0}, {"x": x}):
        np.testing.assert_allclose(jit(lambda y, kw=kw: trapezoid(y, **kw))(y),
                                   scipy.integrate.trapezoid(y, **kw), rtol=1e-14)
    check_grads(lambda y, x: trapezoid(y, x), (y, x))
