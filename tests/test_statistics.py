"""The kernel of statistics: one pass over arrays, against NumPy."""

import numpy as np
import pytest

from functrans import jit, threads
from functrans.ir.op import OPS
from functrans.ops.monitoring import bucket_limits, statistics
from functrans.plan import run_op

rng = np.random.default_rng(3)


def look(*arrays, bins=False):
    return run_op(statistics, list(arrays), {"bins": bins})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 5, 15, 16, 17, 100, 4095, 4097, 200_001])
@pytest.mark.parametrize("bad", [False, True])
def test_statistics(dtype, n, bad):
    """Against the reference, which is NumPy: values of all sizes, zeros, and what is not finite."""
    x = (rng.normal(size=n) * 10.0 ** rng.integers(-20, 21, n)).astype(dtype)
    x[::7] = 0
    x[3::11] = -0.0
    if bad and n > 20:
        x[[4, n // 2, n - 1]] = np.nan, np.inf, -np.inf
    for bins in (False, True):
        got, want = look(x, bins=bins), statistics.reference(x, bins=bins)
        np.testing.assert_array_equal(got[:, [0, 1, 2, 5, 6]], want[:, [0, 1, 2, 5, 6]])
        np.testing.assert_allclose(got[:, 3:5], want[:, 3:5], rtol=1e-9)
        np.testing.assert_array_equal(got[:, 7:], want[:, 7:])


def test_buckets_at_their_limits():
    """A limit itself is in the next bucket, its lesser neighbour in its own."""
    limits = bucket_limits()[:-1]
    for x, shift in ((limits, 1), (np.nextafter(limits, -np.inf), 0), (np.nextafter(limits, np.inf), 1)):
        assert np.flatnonzero(look(x, bins=True)[0, 7:]).tolist() == list(range(shift, len(limits) + shift))


def test_extreme_elements():
    x = np.array([1e308, -1e308, 5e-324, 0.0])
    assert look(x)[0, [0, 1, 2, 5, 6]].tolist() == [4, 1, 0, 1e308, 1e308] and look(x)[0, 4] == np.inf
    assert look(np.float32([3e38, 1e-45]))[0, 4] == np.float64(np.float32(3e38)) ** 2


def test_views_and_several_arrays():
    base = rng.normal(size=(300, 50))
    views = [base.T, base[::3], base[:, 1], np.broadcast_to(base[0], (9, 50)), base[5, 5]]
    program = jit(lambda *xs: OPS["statistics"](*xs, bins=False))
    np.testing.assert_allclose(program(*views), statistics.reference(*views, bins=False), rtol=1e-12)
    inside = jit(lambda x: OPS["statistics"](x.T, x[::3], x[:, 1], bins=False))
    np.testing.assert_allclose(inside(base), statistics.reference(*views[:3], bins=False), rtol=1e-12)


def test_statistics_do_not_depend_on_threads():
    x = rng.normal(size=700_001)
    with threads(1):
        want = look(x, x[:9000].copy(), bins=True).tobytes()
    with threads(4):
        assert look(x, x[:9000].copy(), bins=True).tobytes() == want


def test_statistics_refuse_other_types():
    with pytest.raises(TypeError, match="float32 or float64"):
        look(np.ones(3, int))
    with pytest.raises(TypeError, match="of one dtype"):
        look(np.ones(3), np.ones(3, np.float32))
