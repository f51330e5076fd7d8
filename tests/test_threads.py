"""Threads: how many, who starts them, and what must not disturb them: forks, interrupts, full memory."""

import asyncio
import contextlib
import contextvars
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import functrans as ft
from functrans import errors, jit, lax
from functrans.kernels import lib

LINUX = sys.platform.startswith("linux")


@pytest.fixture(autouse=True)
def setting():
    before = ft.get_num_threads()
    yield
    ft.set_num_threads(before)


def python(program, timeout=120, **env):
    """The output of a program in a fresh process; the same names are imported for all."""
    head = ("import os, sys, threading, time\nimport numpy as np\nimport functrans as ft\n"
            "from functrans import jit, lax\nfrom functrans.kernels import lib\n")
    settings = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", head + textwrap.dedent(program)], timeout=timeout,
                          env={**settings, **env}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def work(x):
    return np.sum(np.sin(x) * np.exp(-x)) + x


# ----- the number ------------------------------------------------------------------------------------


def test_set_and_get():
    for n in (1, 2, 5, np.int64(3)):
        ft.set_num_threads(n)
        assert ft.get_num_threads() == n


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", None, True])
def test_bad_numbers_are_refused(bad):
    before = ft.get_num_threads()
    for f in (ft.set_num_threads, ft.threads):
        with pytest.raises(errors.ThreadCountError, match="must be a positive integer") as e:
            f(bad)
        assert isinstance(e.value, ValueError) and "test_threads.py" in str(e.value)
    assert ft.get_num_threads() == before


def test_contexts_nest_and_restore():
    ft.set_num_threads(2)
    with ft.threads(3):
        with pytest.raises(KeyError), ft.threads(1):
            assert ft.get_num_threads() == 1
            raise KeyError
        assert ft.get_num_threads() == 3
        ft.set_num_threads(4)              # for others, and for later
        assert ft.get_num_threads() == 3
    assert ft.get_num_threads() == 4

    @ft.threads(1)
    def f():
        return ft.get_num_threads()
    assert f() == f() == 1 and ft.get_num_threads() == 4


def test_contexts_belong_to_a_thread():
    ft.set_num_threads(2)
    seen = []
    with ft.threads(5):
        other = threading.Thread(target=lambda: seen.append(ft.get_num_threads()))
        other.start()
        other.join()
        inherited = threading.Thread(target=contextvars.copy_context().run,
                                     args=(lambda: seen.append(ft.get_num_threads()),))
        inherited.start()
        inherited.join()
    assert seen == [2, 5]


def test_contexts_belong_to_a_task():
    async def limited(n):
        with ft.threads(n):
            await asyncio.sleep(0)
            here = ft.get_num_threads()
            return here, await asyncio.to_thread(ft.get_num_threads)

    async def both():
        return await asyncio.gather(limited(1), limited(3))
    assert asyncio.run(both()) == [(1, 1), (3, 3)]


def test_environment():
    program = "print(ft.get_num_threads())"
    assert python(program, OMP_NUM_THREADS="3") == "3"
    assert python(program, OMP_NUM_THREADS="4,2") == "4"
    assert python(program) == str(lib.usable_cpus())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_affinity():
    assert lib.usable_cpus() <= len(os.sched_getaffinity(0))
    assert python("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(ft.get_num_threads())
    """) == "1"


@pytest.mark.skipif(not lib.has_openmp(), reason="built without OpenMP")
def test_limits_of_threadpoolctl_are_kept():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    assert any(p["user_api"] == "openmp" for p in threadpoolctl.threadpool_info())
    ft.set_num_threads(4)
    with threadpoolctl.threadpool_limits(1):
        assert ft.get_num_threads() == 1
        with ft.threads(3):
            assert ft.get_num_threads() == 1
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        assert ft.get_num_threads() == 3
    assert ft.get_num_threads() == 4


def test_threads_start_with_the_first_work_that_is_worth_it():
    assert python("""
        ft.set_num_threads(3)
        x = np.linspace(0.0, 1.0, 2_000_000)
        f = jit(lambda x: np.sum(np.sin(x) * np.exp(-x)))
        f(x[:10])
        with ft.threads(1):
            f(x)
        none = lib.pool_size()
        f(x)
        print(none, lib.pool_size(), threading.active_count())
    """) == "0 2 1"


# ----- the work --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_bits_do_not_depend_on_the_number(n):
    x = np.random.default_rng(0).normal(size=(700, 501)).astype(np.float32)
    fs = [jit(f) for f in (
        lambda x: np.sum(np.sin(x) * np.exp(-x)), lambda x: np.sum(x * x, axis=0), lambda x: x.T @ x,
        lambda x: x - np.log(np.sum(np.exp(x), axis=1, keepdims=True)), lambda x: np.max(x.T + 1, axis=1),
        lambda x: lax.scan(lambda c, r: (c * 0.5 + r, np.sum(np.tanh(c))), x[0], x)[1],
        lambda x: np.take(x, np.arange(600) % 7, axis=0), lambda x: np.transpose(x) + 0)]
    with ft.threads(1):
        want = [f(x) for f in fs]
    with ft.threads(n):
        for f, y in zip(fs, want, strict=True):
            for _ in range(3):
                assert np.asarray(f(x)).tobytes() == np.asarray(y).tobytes()


def test_several_python_threads_run_one_program():
    f = jit(work)
    xs = [np.linspace(0.0, k, 200_000) for k in (1.0, 2.0, 3.0, 4.0)]
    with ft.threads(1):
        want = [f(x) for x in xs]
    ft.set_num_threads(3)
    wrong = []

    def run(k):
        for _ in range(25):
            if not np.array_equal(f(xs[k]), want[k]):
                wrong.append(k)
    team = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in team:
        t.start()
    for t in team:
        t.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_other_threads_run():
    assert python("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)      # of fork in threaded programs
        ft.set_num_threads(3)
        f = jit(lambda x: np.sum(np.sin(x)) + x)
        x = np.linspace(0.0, 1.0, 300_000)
        want, ended = f(x), []
        def run():
            while not ended:
                assert np.array_equal(f(x), want)
        team = [threading.Thread(target=run) for _ in range(2)]
        for t in team:
            t.start()
        codes = []
        for _ in range(10):
            pid = os.fork()
            if not pid:
                same = all(np.array_equal(f(x), want) for _ in range(5))
                os._exit(0 if same and lib.pool_size() == 2 else 3)
            end = time.monotonic() + 30
            while not (done := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
                time.sleep(0.002)
            if not done[0]:
                os.kill(pid, 9)
            codes.append(done[1] if done[0] else "hangs")
        ended.append(True)
        for t in team:
            t.join()
        print(set(codes))
    """) == "{0}"


GLIBC_X86 = LINUX and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not GLIBC_X86, reason="sets a register of x86-64 through glibc")
def test_denormals_are_kept_in_every_thread():
    """Even if the process flushes them, as it does once a library built with -ffast-math is loaded."""
    assert python("""
        import ctypes
        libc = ctypes.CDLL("libm.so.6")
        mode = (ctypes.c_uint32 * 8)()
        libc.fegetenv(mode)
        mode[7] |= 0x8040                  # mxcsr: flush results to zero, read denormals as zero
        libc.fesetenv(mode)
        tiny = np.full(1_000_000, 4e-310)
        flushed = (tiny * 0.5 == 0).all()
        ft.set_num_threads(3)
        f = jit(lambda x: x * 0.5)
        many = f(tiny).view(np.int64), lib.pool_size()
        few = f(tiny[:5]).view(np.int64)
        want = int(np.float64(2e-310).view(np.int64))
        print(flushed, (many[0] == want).all(), many[1], (few == want).all(), (tiny * 0.5 == 0).all())
    """) == "True True 2 True True"


def test_special_values_in_every_chunk():
    x = np.resize(np.array([np.nan, np.inf, -np.inf, 5e-324, -0.0, 1e308, 2.5e-310]), 500_000)
    with ft.threads(3), np.errstate(all="ignore"):
        for f in (lambda x: x + x, lambda x: x * 0.5, lambda x: -abs(x)):
            assert jit(f)(x).tobytes() == f(x).tobytes()


# ----- interrupts ------------------------------------------------------------------------------------


def long_body():
    """A loop that does not end; one turn takes some tens of milliseconds."""
    a = np.eye(600) * 0.999
    f = jit(lambda a: lax.while_loop(lambda c: c[0, 0] < 2, lambda c: np.tanh(c @ a) @ a, a))
    return lambda: f(a)


def long_scan():
    f = jit(lambda x: lax.scan(lambda c, _: (np.sin(c) + c, None), x, None, length=100_000_000)[0])
    return lambda: f(np.linspace(0.0, 1.0, 1000))


def long_step():
    """One step of about a minute: a region of the executor is left early."""
    f = jit(lambda x, y: np.sum(np.sin(x[:, None] * y)))
    x = np.linspace(0.0, 1.0, 200_000)
    return lambda: f(x, x)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("run", [long_body, long_scan, long_step])
def test_keyboard_interrupt(run, n):
    call, x = run(), np.linspace(0.0, 1.0, 500_000)
    want = jit(work)(x)

    def stop(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, stop)
    try:
        with ft.threads(n):
            for _ in range(2):
                signal.setitimer(signal.ITIMER_REAL, 0.15)
                start = time.perf_counter()
                with pytest.raises(KeyboardInterrupt):
                    call()
                assert time.perf_counter() - start < 10        # all of them take much longer
            assert np.array_equal(jit(work)(x), want)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("f", [
    lambda x, i: np.sort(x), lambda x, i: np.argsort(x), lambda x, i: np.median(x),
    lambda x, i: np.partition(x, 1000), lambda x, i: ft.at(x)[i].add(1.0)])
def test_keyboard_interrupt_within_steps_of_several_parts(f):
    """What a part left out, the parts behind it must not rely on."""
    rng = np.random.default_rng(0)
    x, i = rng.normal(size=4_000_000), rng.integers(0, 4_000_000, 4_000_000)
    repeated = jit(lambda x, i: [f(x + k, i) for k in range(6)])
    want = repeated(x, i)

    def stop(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, stop)
    try:
        for delay in (0.06, 0.11):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, delay)
                repeated(x, i)
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert all(map(np.array_equal, repeated(x, i), want))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# ----- full memory -----------------------------------------------------------------------------------


LIMITED = """
    import resource
    def limit(more):
        with open("/proc/self/statm") as f:
            used = int(f.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
    def lift():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    ft.set_num_threads(3)
"""


@pytest.mark.skipif(not LINUX, reason="reads /proc and limits the address space")
def test_no_memory_for_threads_means_one_thread():
    assert python(LIMITED + """
    f = jit(lambda x: np.sum(np.sin(x)))
    x = np.linspace(0.0, 1.0, 2_000_000)
    with ft.threads(1):
        want = f(x)
    limit(1 << 20)                         # less than a stack
    got = [f(x) for _ in range(3)], lib.pool_size()
    lift()
    time.sleep(1.1)                        # it tries again after a second
    print(set(got[0]) == {want}, got[1], f(x) == want, lib.pool_size())
    """) == "True 0 True 2"


@pytest.mark.skipif(not LINUX, reason="reads /proc and limits the address space")
@pytest.mark.parametrize("what", ["temporaries", "output", "workspace"])
def test_no_memory_is_an_error_and_nothing_breaks(what):
    setup = {
        "temporaries": "f = jit(lambda x: np.flip(np.cumsum(np.sin(x)))[:3]); x = np.ones(30_000_000)",
        "output": "f = jit(lambda x: np.sin(x)); x = np.ones(30_000_000)",
        "workspace": "f = jit(lambda x: np.sum(x @ x)); x = np.ones((3000, 3000))",
    }[what]
    assert python(LIMITED + f"""
    {setup}
    g, small = jit(lambda x: np.sum(np.sin(x)) + x), np.linspace(0.0, 1.0, 100_000)
    want = g(small)
    f(x[:10] if x.ndim == 1 else x[:10, :10])
    ft.clear_caches()
    raised = 0
    limit(10 << 20)
    for _ in range(3):
        try:
            f(x)
        except MemoryError:
            raised += 1
    again = np.array_equal(g(small), want)
    lift()
    print(raised, again, np.shape(f(x)), np.array_equal(g(small), want))
    """).startswith("3 True (")
