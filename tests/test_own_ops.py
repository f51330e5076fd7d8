"""Ops that users add: from Python functions and from kernels, in every mode."""

import ctypes
import ctypes.util
import shutil
import subprocess

import numpy as np
import pytest
from test_lax_names import check_modes
from util import rng_of

from functrans import ShapeDtypeStruct as Struct
from functrans import errors, grad, hessian, jit, jvp, lax, vmap
from functrans.extend import primitive

X = rng_of("own").normal(size=(3, 4))


def softplus():
    @primitive(elementwise=True)
    def softplus(x):
        assert type(x) in (np.ndarray, np.float64)
        return np.logaddexp(x, 0.0)

    @softplus.def_jvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return softplus(x), t / (1.0 + np.exp(-x))
    return softplus


def joined():
    """Two operands of different kinds, two results."""
    @primitive(linear=(0, 1), shape=lambda a, b, *, times: (
        Struct((a.shape[0] + b.shape[0],), a.dtype), Struct((), a.dtype)))
    def joined(a, b, *, times):
        return np.concatenate([a, b]) * times, np.sum(a)

    @joined.def_transpose
    def rule(cts, a, b, *, times):
        return times * cts[0][:a.shape[0]] + cts[1], times * cts[0][a.shape[0]:]
    return joined


def test_python_ops_in_every_mode():
    f, g = softplus(), joined()
    check_modes(lambda x: f(x) * x, X)
    check_modes(lambda x: vmap(f, 1)(x), X)
    check_modes(lambda a, b: g(a, b, times=3)[0] * g(a, b, times=2)[1], X[0], X[1, :2])
    check_modes(lambda a, b: vmap(lambda a: g(a, b, times=3)[0])(a), X, X[1])
    check_modes(lambda a, b: vmap(vmap(lambda a, b: g(a, b, times=3)[0], (0, None)), (None, 0))(a, b), X, X)
    check_modes(lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 3)[0], X)
    np.testing.assert_allclose(hessian(f)(0.3), np.exp(-0.3) / (1 + np.exp(-0.3)) ** 2)
    assert f(1.0).shape == () and vmap(lambda a: g(a, X[0], times=1)[1])(np.ones((0, 4))).shape == (0,)


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_vmap_methods(method):
    seen = []

    @primitive(shape=lambda a, b: Struct(np.broadcast_shapes(a.shape, b.shape), a.dtype), vmap_method=method)
    def times(a, b):
        seen.append((np.shape(a), np.shape(b)))
        return np.multiply(a, b)
    np.testing.assert_allclose(vmap(times, (0, None))(X, X[0]), X * X[0])
    assert seen == {"sequential": [((4,), (4,))] * 3, "expand_dims": [((3, 4), (1, 4))],
                    "broadcast_all": [((3, 4), (3, 4))]}[method]

    @times.def_vmap
    def rule(size, in_batched, a, b):
        assert (size, in_batched) == (3, (True, False))
        return a * b + 1.0, True
    np.testing.assert_allclose(jit(vmap(times, (0, None)))(X, X[0]), X * X[0] + 1)


# ----- kernels ----------------------------------------------------------------------------------------------


def libm(name, n):
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    function = getattr(library, name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * n
    return function


def test_functions_of_numbers():
    cbrt = primitive(kernel=libm("cbrt", 1), name="own_cbrt")
    cbrt.def_jvp(lambda p, t: (cbrt(p[0]), t[0] / (3.0 * cbrt(p[0]) ** 2)))
    x = np.abs(X) + 0.5
    np.testing.assert_allclose(cbrt(x), np.cbrt(x), rtol=1e-15)
    check_modes(cbrt, x)
    fdim = primitive(kernel=libm("fdim", 2), name="own_fdim")
    np.testing.assert_array_equal(jit(fdim)(X, 0.5), np.maximum(X - 0.5, 0))
    assert fdim(np.float32(2.0), np.float32(0.5)).dtype == np.float32 and fdim(3, 1) == 2.0
    fma = primitive(kernel=ctypes.cast(libm("fma", 3), ctypes.c_void_p).value, name="own_fma",
                    signature="double(double, double, double)")
    np.testing.assert_allclose(vmap(fma, (0, None, None))(X, 2.0, 1.0), 2 * X + 1)
    from scipy.special import cython_special
    capsule = cython_special.__pyx_capi__["y0"]
    y0 = primitive(kernel=capsule, name="own_y0")
    assert y0(1.0) == cython_special.y0(1.0) and jit(y0)(np.ones(3)).shape == (3,)


def test_pointers_of_other_libraries():
    """cffi's pointers know their signatures."""
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef("double cbrt(double); double fmin(double, double); float cbrtf(float);")
    libm = ffi.dlopen(ctypes.util.find_library("m"))
    x = np.abs(X) + 0.5
    cbrt = primitive(kernel=libm.cbrt, name="cffi_cbrt")
    cbrt.def_jvp(lambda p, t: (cbrt(p[0]), t[0] / (3.0 * cbrt(p[0]) ** 2)))
    np.testing.assert_allclose(jit(cbrt)(x), np.cbrt(x), rtol=1e-15)
    check_modes(cbrt, x)
    np.testing.assert_array_equal(primitive(kernel=libm.fmin, name="cffi_fmin")(X, 0.5), np.minimum(X, 0.5))
    single = primitive(kernel=libm.cbrtf, name="cffi_cbrtf")(x.astype(np.float32))
    assert single.dtype == np.float32

    @ffi.callback("int(void **, const int64_t *, const double *)")
    def doubled(data, shapes, parameters):
        out, value = ffi.cast("double *", data[0]), ffi.cast("double *", data[1])
        for i in range(shapes[1]):
            out[i] = 2.0 * value[i]
        return 0
    op = primitive(kernel=doubled, name="cffi_doubled", shape=lambda x: x)
    np.testing.assert_array_equal(vmap(op)(X), 2.0 * X)


def test_pointers_of_numba():
    numba = pytest.importorskip("numba")
    square = numba.cfunc("float64(float64)")(lambda x: x * x)
    op = primitive(kernel=square, name="numba_square")
    np.testing.assert_array_equal(jit(op)(X), X * X)


def test_pointers_of_other_libraries_know_their_signature():
    class Compiled:             # what numba.cfunc makes has these
        ctypes = libm("hypot", 2)
    hypot = primitive(kernel=Compiled(), name="own_hypot")
    np.testing.assert_array_equal(jit(hypot)(3 * X, 4 * X), np.hypot(3 * X, 4 * X))
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef("double cbrt(double); double ldexp(double, int);")
    library = ffi.dlopen(ctypes.util.find_library("m"))

    def of_pointer(pointer):
        cbrt = primitive(kernel=pointer, name="cffi_cbrt")
        cbrt.def_jvp(lambda p, t: (cbrt(p[0]), t[0] / (3.0 * cbrt(p[0]) ** 2)))
        return cbrt

    for pointer in (library.cbrt, ffi.addressof(library, "cbrt")):
        check_modes(of_pointer(pointer), np.abs(X) + 0.5)
    with pytest.raises(errors.ArgumentError, match="a kernel of signature"):
        primitive(kernel=library.ldexp, name="cffi_ldexp")



SOURCE = r"""
#include <stdint.h>
/* rows of x sorted out: out[0] = p[0] * x, out[1] = the sum of x; fails for a negative first element */
int scaled(void **data, const int64_t *shapes, const double *p)
{
    double *out = data[0], *sum = data[1], *x = data[2], *y = data[3];
    if (shapes[0] != 1 || shapes[2] != 0 || shapes[3] != 1 || shapes[4] != shapes[1] || shapes[5] != 0)
        return 100;
    if (x[0] < 0)
        return 7;
    *sum = 0;
    for (int64_t i = 0; i < shapes[1]; i++) {
        out[i] = p[0] * x[i] + p[1] * *y;
        *sum += x[i];
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if cc is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.c").write_text(SOURCE)
    subprocess.run([cc, "-shared", "-fPIC", "-O2", "-o", folder / "own.so", folder / "own.c"], check=True)
    return ctypes.CDLL(str(folder / "own.so"))


def test_kernels_of_arrays(library):
    op = primitive(kernel=library.scaled, name="own_scaled", parameters=("a", "b"),
                   shape=lambda x, y, *, a, b: (x, Struct((), x.dtype)))
    op.def_jvp(lambda p, t, *, a, b: (op(*p, a=a, b=b), (a * t[0] + b * t[1], np.sum(t[0]))))
    x = np.abs(X)
    f = lambda x, y: op(x, y, a=2.0, b=3)[0] * op(x, y, a=1, b=0)[1]
    np.testing.assert_allclose(f(x[0], 1.5), (2 * x[0] + 4.5) * x[0].sum())
    check_modes(lambda x, y: f(x, y), x[0] + 1.0, np.float64(1.5))
    np.testing.assert_allclose(vmap(f, (0, None))(x, 2.0), (2 * x + 6) * x.sum(1, keepdims=True))
    np.testing.assert_allclose(vmap(vmap(f, (None, 0)), (0, None))(x, x[0])[1, 2], f(x[1], x[0, 2]))
    loop = jit(lambda x: lax.scan(lambda c, _: (op(c, 1.0, a=0.5, b=0.5)[0], None), x, None, 50)[0])
    np.testing.assert_allclose(loop(x[0]), np.ones(4))
    with pytest.raises(errors.KernelError, match="own_scaled returned 7") as caught:
        jit(f)(-x[0], 1.0)
    assert "test_own_ops.py" in str(caught.value)
    with pytest.raises(errors.KernelError, match="100"):
        op(x, 1.0, a=1.0, b=1.0)


# ----- mistakes ---------------------------------------------------------------------------------------------


def test_mistakes():
    f = primitive(np.sin, name="own_sin", shape=lambda x: x)
    for call, kind, text in (
            (lambda: grad(f)(1.0), errors.NonDifferentiableError, "def_jvp"),
            (lambda: primitive(np.sin, name="sin"), errors.ArgumentError, "op of functrans"),
            (lambda: primitive(kernel=3.5, name="k"), errors.ArgumentError, "PyCapsule"),
            (lambda: primitive(kernel=1, name="k", signature="int(int)"), errors.ArgumentError, "double"),
            (lambda: primitive(np.sin, name="own_none")(1.0), errors.ArgumentError, "def_shape"),
            (lambda: f("text"), errors.DtypeError, "operand 0"),
            (lambda: f(1.0, how=[1]), errors.ArgumentError, "hashable"),
            (lambda: primitive(np.sin, name="own_a", shape=lambda x: 3)(1.0), errors.ResultTypeError,
             "shape rule"),
            (lambda: primitive(np.sin, name="own_b", shape=lambda x: Struct((2,), "f8"))(1.0),
             errors.CallbackResultError, r"float64\[2\]")):
        with pytest.raises(kind, match=text):
            call()
    f.def_jvp(lambda p, t: (f(*p), np.ones(2)))
    with pytest.raises(errors.ShapeError, match="tangent"):
        jvp(f, (1.0,), (1.0,))
    f.def_jvp(lambda p, t: (f(*p), 3.0 * t[0]))             # a new rule takes the place of the old one
    assert grad(f)(1.0) == 3.0
    g = primitive(np.cos, name="own_sin", elementwise=True)  # and a new op that of the old one
    assert g(0.0) == 1.0 and f(0.0) == 0.0
