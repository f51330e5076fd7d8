"""Every kernel against NumPy: dtypes, strides, special values, threads, instruction-set levels."""

import json
import os
import warnings

import numpy as np
import pytest
from kernel_cases import (
    BY_NAME,
    CODES,
    NAMES,
    ROUNDED_ONCE,
    ROWS,
    ULPS,
    ew,
    numbers,
    operands,
    python,
    result,
    rng_of,
    same,
    unsigned_zero,
)

from functrans.ir.op import DTYPE
from functrans.kernels import codegen, lib

# ----- elementwise -------------------------------------------------------------------------------


def reference(name, args, out):
    params = {"y": 3} if name == "integer_pow" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = BY_NAME[name].reference(*args, **params)
    return np.asarray(want, DTYPE[out])


@pytest.mark.parametrize("name,code,out", [row[:3] for row in ROWS])
def test_elementwise(name, code, out):
    kernel = f"ew:{name}:{code}"
    rng = rng_of(kernel)
    args = operands(name, code, (1009,), rng)
    got = ew(kernel, np.empty(1009, DTYPE[out]), args)
    ulps = 0 if name in ROUNDED_ONCE else ULPS
    want = reference(name, args, out)
    if name in ("erf", "erfc", "logistic") and code == "f32":      # references in lower precision
        ulps = 8
    if name in ("max", "min", "fmax", "fmin"):
        got, want = unsigned_zero(got), unsigned_zero(want)
    same(got, want, ulps)


@pytest.mark.parametrize("name,code,out", [row[:3] for row in ROWS])
def test_elementwise_strides_and_places(name, code, out):
    """An element depends on its operands only: not on layout, length or place."""
    kernel = f"ew:{name}:{code}"
    rng = rng_of(kernel + "strides")
    n = 67
    args = operands(name, code, (n,), rng)
    want = ew(kernel, np.empty(n, DTYPE[out]), args)

    spread = [np.repeat(a, 3)[::3] for a in args]
    same(ew(kernel, np.empty(2 * n, DTYPE[out])[::2], spread), want)
    back = [a[::-1].copy()[::-1] for a in args]
    same(ew(kernel, np.empty(n, DTYPE[out])[::-1], back), want)
    for i in range(len(args)):                    # one operand that does not move
        mixed = list(args)
        mixed[i] = np.broadcast_to(args[i][5], (n,))
        full = [np.ascontiguousarray(a) for a in mixed]
        same(ew(kernel, np.empty(n, DTYPE[out]), mixed),
             ew(kernel, np.empty(n, DTYPE[out]), full))
    for lo, hi in ((0, 0), (0, 1), (3, 6), (1, 66)):
        same(ew(kernel, np.empty(hi - lo, DTYPE[out]), [a[lo:hi] for a in args]), want[lo:hi])
    scalar = ew(kernel, np.empty((), DTYPE[out]), [a[7:8].reshape(()) for a in args])
    same(scalar.reshape(1), want[7:8])
    if out == code:
        for i in range(1 if name == "select" else 0, len(args)):
            place = [a.copy() for a in args]
            same(ew(kernel, place[i], place), want)


def test_elementwise_many_axes():
    x = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    y = np.arange(4 * 5, dtype=float).reshape(5, 1, 4).transpose(1, 2, 0)
    y = np.broadcast_to(y, x.shape)
    out = np.empty((5, 4, 3, 2)).transpose(3, 2, 1, 0)
    same(ew("ew:sub:f64", out, [x, y]), x - y)
    same(ew("ew:sub:f64", np.empty((2, 0, 3)), [np.empty((2, 0, 3)), np.empty((2, 0, 3))]),
         np.empty((2, 0, 3)))


def test_integers_do_not_trap():
    for code in codegen.INTS:
        info = np.iinfo(DTYPE[code])
        x = np.array([5, info.min, info.min, info.max, 0], DTYPE[code])
        y = np.array([0, -1, 0, -1, 0]).astype(DTYPE[code])
        with np.errstate(all="ignore"):
            for name, want in (("floordiv", np.floor_divide(x, y)), ("mod", np.remainder(x, y)),
                               ("fmod", np.fmod(x, y))):
                same(ew(f"ew:{name}:{code}", np.empty_like(x), [x, y]), want)
    x = np.array([0, 1, -1, -1, 2], np.int64)
    y = np.array([-1, -5, -2, -3, -1], np.int64)
    same(ew("ew:pow:i64", np.empty_like(x), [x, y]), np.array([0, 1, 1, -1, 0]))


@pytest.mark.parametrize("y", [0, 1, 2, 5, 31, 33, -1, -2, -7])
@pytest.mark.parametrize("code", codegen.FLOATS)
def test_integer_pow(code, y):
    x = numbers(code, 500, rng_of(f"powi{y}"))
    with np.errstate(all="ignore"):
        want = np.power(x, DTYPE[code].type(y))
    same(ew(f"ew:integer_pow:{code}", np.empty_like(x), [x], k=y), want, ULPS)


# ----- conversion --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", CODES)
@pytest.mark.parametrize("target", CODES)
def test_convert(source, target):
    rng = rng_of(source + target)
    x = numbers(source, 1009, rng)
    if source in codegen.FLOATS and target in codegen.INTS:
        info = np.iinfo(DTYPE[target])
        wide = x.astype(np.longdouble)
        outside = ~((np.trunc(wide) >= info.min) & (np.trunc(wide) <= info.max))
        clamped = np.where(wide > 0, info.max, info.min).astype(DTYPE[target])
        clamped[np.isnan(x)] = 0
        want = np.where(outside, clamped, np.where(outside, 0, x).astype(DTYPE[target]))
    else:
        with np.errstate(all="ignore"):
            want = x.astype(DTYPE[target])
    same(ew(f"ew:convert:{source}:{target}", np.empty(1009, DTYPE[target]), [x]), want)


def test_convert_large_integers_round_once():
    rng = rng_of("large")
    for source in ("i64", "u64"):
        x = rng.integers(0, 2**63 - 1, 4096).astype(DTYPE[source])
        x[::3] *= -1 if source == "i64" else 2
        for target in codegen.FLOATS:
            same(ew(f"ew:convert:{source}:{target}", np.empty(4096, DTYPE[target]), [x]),
                 x.astype(DTYPE[target]))


def test_convert_at_the_edges():
    x = np.array([2.0**63, -2.0**63, np.nextafter(2.0**63, 0), 2.0**64, -0.5, np.inf, -np.inf])
    top = np.iinfo(np.int64)
    same(ew("ew:convert:f64:i64", np.empty(7, np.int64), [x]),
         np.array([top.max, top.min, 2**63 - 1024, top.max, 0, top.max, top.min]))
    whole = 2**64 - 1
    same(ew("ew:convert:f64:u64", np.empty(7, np.uint64), [x]),
         np.array([2**63, 0, 2**63 - 1024, whole, 0, whole, 0], np.uint64))
    same(ew("ew:convert:f64:i8", np.empty(4, np.int8), [np.array([127.9, -128.9, 128.0, -129.0])]),
         np.array([127, -128, 127, -128], np.int8))


# ----- threads -----------------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = lib.get_num_threads()
    yield lib.set_num_threads
    lib.set_num_threads(before)


@pytest.mark.skipif(not lib.has_openmp(), reason="built without OpenMP")
@pytest.mark.parametrize("kind", sorted({n.split(":")[0] for n in NAMES}))
def test_threads_do_not_change_bits(kind, threads):
    for name in [n for n in NAMES if n.split(":")[0] == kind]:
        if kind == "ew" and name.split(":")[2] not in ("f32", "f64", "i64"):
            continue
        threads(1)
        one = result(name, 40000, 1e9)
        threads(3)
        assert result(name, 40000, 1e9) == one, name


def test_number_of_threads(threads):
    threads(2)
    assert lib.get_num_threads() == (2 if lib.has_openmp() else 1)
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="positive integer"):
            threads(wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_a_parallel_run():
    done = python("""if True:
        import os, numpy as np
        from functrans.kernels import lib
        lib.set_num_threads(2)
        x, y = np.arange(1e6), np.empty(10**6)
        lib.call("ew:add:f64", [y], [x, x], x.shape, cost=1e9)
        pid = os.fork()
        if not pid:
            y[:] = 0
            lib.call("ew:add:f64", [y], [x, x], x.shape, cost=1e9)
            os._exit(0 if (y == 2 * x).all() else 3)
        import time
        for _ in range(200):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                break
            time.sleep(0.05)
        else:
            os.kill(pid, 9)
            raise SystemExit("the child hangs")
        assert status == 0, status
        lib.call("ew:mul:f64", [y], [x, x], x.shape, cost=1e9)
        assert (y == x * x).all()
    """)
    assert done.returncode == 0, done.stderr


def test_threads_from_the_environment():
    done = python("from functrans.kernels import lib; print(lib.get_num_threads())",
                  OMP_NUM_THREADS="3")
    assert done.stdout.strip() == ("3" if lib.has_openmp() else "1"), done.stderr


# ----- levels and the table ----------------------------------------------------------------------


def digests_at(level):
    done = python("import json, kernel_cases; print(json.dumps(kernel_cases.digests()))",
                  FUNCTRANS_ISA=level)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(len(lib.levels()) < 2, reason="one level only")
def test_levels_give_equal_bits():
    best = digests_at(lib.levels()[-1])
    for level in lib.levels()[:-1]:
        other = digests_at(level)
        assert set(other) == set(best)
        differ = {n for n in best if other[n] != best[n]}
        if level == "v2":         # without FMA: products and polynomials round differently
            allowed = {f"{kind}:{c}" for kind in ("matmul", "conv") for c in codegen.FLOATS}
            allowed |= {f"ew:{name}:{c}" for name, c, _, text in ROWS if "ft_" in text
                        and c in codegen.FLOATS and name not in ROUNDED_ONCE}
            allowed |= {f"cumulative:logsumexp:{c}" for c in codegen.FLOATS}
            differ -= allowed
        assert not differ, (level, differ)


def test_unknown_level_is_refused():
    done = python("import functrans.kernels.lib", FUNCTRANS_ISA="v9")
    assert done.returncode and "FUNCTRANS_ISA='v9' is not one of" in done.stderr


def test_lookup():
    assert lib.has("ew:add:f64") and not lib.has("ew:add:f16")
    assert lib.level() in lib.levels() and lib.ns("ew:exp:f64") > lib.ns("ew:add:f64") > 0
    with pytest.raises(KeyError):
        lib.call("ew:nothing:f64", [np.empty(1)], [np.empty(1)], (1,))


def test_every_record_has_its_kernels():
    missing = [f"ew:{n}:{c}" for n, c, _, _ in ROWS if not lib.has(f"ew:{n}:{c}")]
    assert not missing


def test_stale_kernels_are_refused(monkeypatch):
    codegen.check_table()
    monkeypatch.setattr(codegen, "table_hash", lambda: "another")
    with pytest.raises(ImportError, match="another op table; run: pip install -e"):
        codegen.check_table()
