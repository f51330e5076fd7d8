"""Tracer: what a traced function sees instead of an array.

It only carries a variable of the program that its builder (``trace.core``) is recording; what NumPy's
operators, functions and methods do with it is set by the rooms above.
"""
cimport cython
from cpython.object cimport Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE, PyObject

import numpy as np

from .. import errors

cdef extern from "Python.h":
    ctypedef struct PySequenceMethods:
        void *sq_item
    ctypedef struct PyTypeObject:
        PySequenceMethods *tp_as_sequence

cdef object _ufunc = None            # (np.ufunc, operands, is_operator) -> value; set by the numpy room
cdef object _absolute = np.absolute
cdef object _add = np.add
cdef object _bitwise_and = np.bitwise_and
cdef object _bitwise_or = np.bitwise_or
cdef object _bitwise_xor = np.bitwise_xor
cdef object _equal = np.equal
cdef object _floor_divide = np.floor_divide
cdef object _greater = np.greater
cdef object _greater_equal = np.greater_equal
cdef object _invert = np.invert
cdef object _left_shift = np.left_shift
cdef object _less = np.less
cdef object _less_equal = np.less_equal
cdef object _matmul = np.matmul
cdef object _multiply = np.multiply
cdef object _negative = np.negative
cdef object _not_equal = np.not_equal
cdef object _positive = np.positive
cdef object _power = np.power
cdef object _remainder = np.remainder
cdef object _right_shift = np.right_shift
cdef object _subtract = np.subtract
cdef object _true_divide = np.true_divide


class Upward:
    """What tracing needs of rooms above it; set when they load."""
    run_op = None          # (op, args, params) -> value or list: an op without traced operands
    array_ufunc = None     # (np.ufunc, method, operands, kwargs) -> value
    array_function = None  # (function, args, kwargs) -> value
    getitem = None         # (tracer, index) -> value
    methods = {}           # ndarray methods and properties by name
    load_methods = None    # loads the modules that define the rest of ``methods``
    namespace = None       # () -> functrans.numpy
    value_of = None        # tracer -> its value, where that is known
    is_stopped = None      # tracer -> whether it is the result of a stop_gradient


def install_ufunc(call):
    """Sets what applies a ufunc to tracers: ``(np.ufunc, operands, is_operator) -> value``."""
    global _ufunc
    _ufunc = call


@cython.freelist(256)
cdef class Tracer:
    """A value that is being computed: what a traced function sees instead of an array.

    It behaves like an ndarray of its shape and dtype in NumPy functions, operators and methods.
    """
    __array_priority__ = 1000

    def __init__(self):
        raise TypeError("tracers are made by tracing a function, e.g. with functrans.grad")

    # ----- type -----

    @property
    def aval(self):
        return self.var.aval

    @property
    def shape(self):
        """Shape, a tuple of ints."""
        return self.var.aval.shape

    @property
    def dtype(self):
        """NumPy dtype."""
        return self.var.aval.dtype

    @property
    def ndim(self):
        """Number of axes."""
        return self.var.aval.ndim

    @property
    def size(self):
        """Number of elements."""
        return self.var.aval.size

    @property
    def itemsize(self):
        return self.var.aval.dtype.itemsize

    @property
    def nbytes(self):
        return self.var.aval.nbytes

    def __getattr__(self, name):
        method = Upward.methods.get(name)
        if method is None and not name.startswith("__"):
            Upward.load_methods()
            method = Upward.methods.get(name)
        if method is None:
            raise AttributeError(f"traced arrays have no attribute {name!r}")
        return method(self)

    def __repr__(self):
        return f"Tracer({self.var.aval}, {self.builder.name})"

    def __format__(self, spec):
        if spec and self.var.known and self.builder.is_open:
            return format(Upward.value_of(self), spec)
        return repr(self)

    def __hash__(self):
        return <Py_hash_t>(<size_t><PyObject *>self >> 4)

    def __reduce__(self):
        raise errors.ArgumentError(f"a traced {self.var.aval} cannot be pickled.",
                                   "Return it from the function instead.")

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    # ----- values on demand -----

    def __bool__(self):
        if self.var.aval.size != 1:
            raise errors.ShapeError(f"the truth value of an array of {self.var.aval.size} elements "
                                    f"({self.var.aval}) is ambiguous.", "Use np.any(x) or np.all(x).")
        if not self.var.known:
            raise errors.TracerBoolError(
                f"the truth value of a traced {self.var.aval} is not known while {self.builder.cause()} "
                "traces.",
                "Write np.where(condition, a, b) for a choice of values, functrans.lax.cond(condition, "
                "f, g, *args) for a choice of computations, functrans.lax.while_loop for a loop; or "
                "mark the argument static in jit (static_argnums).")
        return bool(Upward.value_of(self))

    def __index__(self):
        if self.var.aval.dtype.kind not in "iu" or self.var.aval.ndim != 0:
            raise errors.ArgumentError(f"only integer scalars can be an index or a size, got "
                                       f"{self.var.aval}.", "Convert it with astype(int) if that is meant.")
        return int(self.known("an index or a size"))

    def __int__(self):
        return int(self.known("int()"))

    def __float__(self):
        return float(self.without_derivative(
            "float(x), which math.sin(x) and b[i] = x also call,",
            "Write np.sin(x) for math.sin(x), b = functrans.at(b)[i].set(x) for b[i] = x, and x itself "
            "for float(x)"))

    def __complex__(self):
        return complex(self.without_derivative("complex(x)", "Use NumPy's functions"))

    def __round__(self, digits=None):
        if digits is None:
            return int(round(float(self.known("round()"))))
        return self.__getattr__("round")(digits)

    def __array__(self, dtype=None, copy=None):
        if dtype is not None and np.dtype(dtype) == object:
            raise errors.NotSupportedError(
                f"an object array of a traced {self.var.aval}, as np.vectorize and np.nditer make them.",
                "Use functrans.numpy.vectorize or functrans.vmap; lists and pytrees hold traced values.")
        value = self.without_derivative(
            "np.array / np.asarray, or writing into an ndarray (b[i] = x)",
            "Use np.stack([x, y]) or functrans.numpy.array([x, y]) to build an array, "
            "functrans.at(b)[i].set(x) to write an element, np.full_like(x, ...) or x * np.ones(n) "
            "for np.full(n, x), functrans.numpy.vectorize for np.vectorize")
        return np.array(value, dtype=dtype)

    def item(self, *args):
        """The element as a Python number, for known integers and bools."""
        return np.asarray(self.without_derivative("x.item()", "Use x itself, or x[()]")).item(*args)

    def tolist(self):
        """The elements as a list, for known integers and bools."""
        return np.asarray(self.without_derivative("x.tolist()", "Use x itself")).tolist()

    cdef object known(self, str what):
        if not self.var.known:
            raise errors.ConcretizationError(
                f"{what} needs the value of a traced {self.var.aval}, which is not known while "
                f"{self.builder.cause()} traces.",
                "Write functrans.numpy.take(a, i, axis=0) for a[i] of an ndarray a, and make sizes static "
                "arguments of jit (static_argnums).")
        return Upward.value_of(self)

    cdef object without_derivative(self, str what, str fix):
        if self.var.aval.dtype.kind in "biu":
            return self.known("indexing an ndarray with it, or " + what)
        if not self.builder.is_open:
            return Upward.value_of(self)        # says that it has outlived its trace
        if Upward.is_stopped(self):     # stop_gradient(x) says that no derivative is meant
            return self.known(what)
        raise errors.DerivativeLostError(
            f"{what} of a traced {self.var.aval} would silently lose its derivative.",
            fix + "; functrans.stop_gradient(x) says that no derivative is meant.")

    # ----- containers -----

    def __len__(self):
        if self.var.aval.ndim == 0:
            raise errors.ArgumentError(f"len() of the scalar {self.var.aval}.")
        return self.var.aval.shape[0]

    def __iter__(self):
        if self.var.aval.ndim == 0:
            raise errors.ArgumentError(f"iteration over the scalar {self.var.aval}.")
        return iter([Upward.getitem(self, i) for i in range(self.var.aval.shape[0])])

    def __reversed__(self):
        return iter(list(self)[::-1])

    def __getitem__(self, index):
        return Upward.getitem(self, index)

    def __setitem__(self, index, value):
        raise errors.InPlaceError(
            f"a traced {self.var.aval} cannot be changed in place.",
            "Write x = x.at[index].set(value), or .add(value) for x[index] += value.")

    def __contains__(self, value):
        return bool(_ufunc(_equal, (self, value), True).any())

    # ----- NumPy's protocols -----

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method == "__call__" and not kwargs:
            return _ufunc(ufunc, inputs, False)
        return Upward.array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return Upward.array_function(function, args, kwargs)

    def __array_namespace__(self, *, api_version=None):
        namespace = Upward.namespace()
        if api_version is not None and not "2021.12" <= str(api_version) <= namespace.__array_api_version__:
            raise ValueError(f"the array API of {api_version!r} is not known here; the latest is "
                             f"{namespace.__array_api_version__!r}")
        return namespace

    def __dlpack__(self, **options):
        raise errors.NotSupportedError(f"a traced {self.var.aval} has no memory to share.",
                                       "Return it from the function instead.")

    def __dlpack_device__(self):
        return self.__dlpack__()

    # ----- operators -----

    def __add__(self, other):
        return _ufunc(_add, (self, other), True)

    def __radd__(self, other):
        return _ufunc(_add, (other, self), True)

    def __sub__(self, other):
        return _ufunc(_subtract, (self, other), True)

    def __rsub__(self, other):
        return _ufunc(_subtract, (other, self), True)

    def __mul__(self, other):
        return _ufunc(_multiply, (self, other), True)

    def __rmul__(self, other):
        return _ufunc(_multiply, (other, self), True)

    def __truediv__(self, other):
        return _ufunc(_true_divide, (self, other), True)

    def __rtruediv__(self, other):
        return _ufunc(_true_divide, (other, self), True)

    def __floordiv__(self, other):
        return _ufunc(_floor_divide, (self, other), True)

    def __rfloordiv__(self, other):
        return _ufunc(_floor_divide, (other, self), True)

    def __mod__(self, other):
        return _ufunc(_remainder, (self, other), True)

    def __rmod__(self, other):
        return _ufunc(_remainder, (other, self), True)

    def __divmod__(self, other):
        return self // other, self % other

    def __rdivmod__(self, other):
        return other // self, other % self

    def __pow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return _ufunc(_power, (self, other), True)

    def __rpow__(self, other, modulus):
        return _ufunc(_power, (other, self), True)

    def __matmul__(self, other):
        return _ufunc(_matmul, (self, other), True)

    def __rmatmul__(self, other):
        return _ufunc(_matmul, (other, self), True)

    def __and__(self, other):
        return _ufunc(_bitwise_and, (self, other), True)

    def __rand__(self, other):
        return _ufunc(_bitwise_and, (other, self), True)

    def __or__(self, other):
        return _ufunc(_bitwise_or, (self, other), True)

    def __ror__(self, other):
        return _ufunc(_bitwise_or, (other, self), True)

    def __xor__(self, other):
        return _ufunc(_bitwise_xor, (self, other), True)

    def __rxor__(self, other):
        return _ufunc(_bitwise_xor, (other, self), True)

    def __lshift__(self, other):
        return _ufunc(_left_shift, (self, other), True)

    def __rlshift__(self, other):
        return _ufunc(_left_shift, (other, self), True)

    def __rshift__(self, other):
        return _ufunc(_right_shift, (self, other), True)

    def __rrshift__(self, other):
        return _ufunc(_right_shift, (other, self), True)

    def __neg__(self):
        return _ufunc(_negative, (self,), True)

    def __pos__(self):
        return _ufunc(_positive, (self,), True)

    def __abs__(self):
        return _ufunc(_absolute, (self,), True)

    def __invert__(self):
        return _ufunc(_invert, (self,), True)

    def __richcmp__(self, other, int kind):
        if kind == Py_EQ:
            return _ufunc(_equal, (self, other), True)
        if kind == Py_NE:
            return _ufunc(_not_equal, (self, other), True)
        if kind == Py_LT:
            return _ufunc(_less, (self, other), True)
        if kind == Py_LE:
            return _ufunc(_less_equal, (self, other), True)
        if kind == Py_GT:
            return _ufunc(_greater, (self, other), True)
        return _ufunc(_greater_equal, (self, other), True)


# No sequence protocol: NumPy would report "a sequence" where float(x) has the better message.
(<PyTypeObject *>Tracer).tp_as_sequence.sq_item = NULL
