"""What users call: transformed functions as objects, and the fast path of jit.

Both are called from C, so that an exception leaves them without a traceback entry of ours: Cython
would add one to every function that it passes through.
"""
cimport numpy as cnp
from cpython.object cimport PyObject, PyTypeObject
from functrans.ir.core cimport Aval
from functrans.plan.run cimport Program
from functrans.trace.arrays cimport is_array_of
from functrans.trace.core cimport aval_of, top_builder
from functrans.trace.tracer cimport Tracer
from functrans.tree.core cimport TreeDef, flatten_into, leaf_def

import sys
import types

import numpy as np

from .. import errors
from ..ir.core import aval

cnp.import_array()

cdef extern from *:
    """
    /* Calls that clean the traceback of an exception on its way out. */
    static PyObject *ft_hide = NULL;            /* errors.hide_internal_frames */
    static ternaryfunc ft_inner[2];

    static void ft_hide_frames(void) {
        PyObject *type, *value, *trace, *done;
        PyErr_Fetch(&type, &value, &trace);
        PyErr_NormalizeException(&type, &value, &trace);
        if (trace) PyException_SetTraceback(value, trace);
        done = PyObject_CallOneArg(ft_hide, value);
        if (!done) PyErr_Clear();
        Py_XDECREF(done);
        Py_XDECREF(trace);
        trace = PyException_GetTraceback(value);
        PyErr_Restore(type, value, trace);
    }
    static PyObject *ft_call_0(PyObject *self, PyObject *args, PyObject *kwargs) {
        PyObject *result = ft_inner[0](self, args, kwargs);
        if (!result) ft_hide_frames();
        return result;
    }
    static PyObject *ft_call_1(PyObject *self, PyObject *args, PyObject *kwargs) {
        PyObject *result = ft_inner[1](self, args, kwargs);
        if (!result) ft_hide_frames();
        return result;
    }
    static void ft_guard(PyTypeObject *type, int which) {
        PyObject *slot = PyDict_GetItemString(type->tp_dict, "__call__");
        ft_inner[which] = type->tp_call;
        type->tp_call = which ? ft_call_1 : ft_call_0;
        if (slot && Py_TYPE(slot) == &PyWrapperDescr_Type)      /* what subclasses inherit */
            ((PyWrapperDescrObject *)slot)->d_wrapped = (void *)type->tp_call;
        PyType_Modified(type);
    }
    """
    PyObject *ft_hide
    void ft_guard(PyTypeObject *type, int which)

cdef extern from "Python.h":
    void Py_INCREF(object)


def global_name(value, fun):
    """The name of ``fun`` if it now stands for ``value`` in its module, as after decorating; or None."""
    name = getattr(fun, "__qualname__", None)
    found = sys.modules.get(getattr(fun, "__module__", None))
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    return name if found is value else None


cdef class Transformed:
    """A transformed function: called like the function that it was made from.

    Attributes:
      __wrapped__: that function; remake: ``(constructor, arguments)``, for pickling.
    """
    cdef dict __dict__
    cdef object __weakref__
    cdef readonly object call, remake

    def __init__(self, call, fun, str name, tuple remake):
        self.call, self.remake = call, remake
        for attribute in ("__module__", "__doc__", "__annotations__"):
            if hasattr(fun, attribute):
                setattr(self, attribute, getattr(fun, attribute))
        inner = getattr(fun, "__name__", None) or type(fun).__name__
        self.__name__ = self.__qualname__ = f"{name}({inner})"
        self.__wrapped__ = fun

    def __call__(self, *args, **kwargs):
        return self.call(*args, **kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self):
        return global_name(self, self.__wrapped__) or self.remake

    def __repr__(self):
        return f"<{self.__name__}>"


cdef class Entry:
    """One compiled program of a jitted function and the types of arguments that it takes."""
    cdef readonly TreeDef args_tree, kwargs_tree, out_tree
    cdef readonly tuple avals, consts
    cdef readonly Program program
    cdef readonly object names      # of the arguments, if some of them are donated

    def __init__(self, args_tree, kwargs_tree, avals, consts, program, out_tree, names):
        self.args_tree, self.kwargs_tree, self.out_tree = args_tree, kwargs_tree, out_tree
        self.avals, self.consts, self.program, self.names = avals, consts, program, names

    cdef bint matches(self, list leaves):
        """Whether the leaves have exactly the types that the program was made for."""
        cdef Py_ssize_t i
        cdef Aval a
        for i in range(len(leaves)):
            x = leaves[i]
            a = <Aval>self.avals[i]
            t = type(x)
            if t is float:
                if a is not _weak_f64:
                    return False
            elif t is cnp.ndarray:
                if not is_array_of(x, a):
                    return False
            elif t is _float64:
                if a is not _strong_f64:
                    return False
            elif t is Tracer:
                return False
            else:
                try:
                    if aval_of(x) is not a:
                        return False
                except TypeError:               # the longer way says which argument it is
                    return False
        return True

    cdef object run(self, list leaves):
        cdef list outs
        if self.consts:
            leaves.extend(self.consts)
        outs = self.program.run(leaves, self.names)
        return outs[0] if self.out_tree is leaf_def else self.out_tree.unflatten(outs)


cdef type _float64 = np.float64
cdef Aval _weak_f64 = aval((), np.float64, True)
cdef Aval _strong_f64 = aval((), np.float64)
cdef int RECENT = 6
cdef bint watched = False               # whether calls take the longer way, where results are looked at


def watch(bint on):
    """Whether ``jit`` goes without its fast path."""
    global watched
    watched = on


cdef class FastJit(Transformed):
    """The fast path of ``jit``: the programs used last, tried in turn; else ``call`` looks further."""
    cdef list recent
    cdef public Py_ssize_t fast_hits
    cdef readonly bint plain        # no static arguments

    def __init__(self, call, fun, tuple remake, bint plain):
        Transformed.__init__(self, call, fun, "jit", remake)
        self.plain, self.recent = plain, []

    def __call__(self, *args, **kwargs):
        cdef list leaves
        cdef TreeDef args_tree, kwargs_tree
        cdef Entry e
        cdef Py_ssize_t i
        if self.plain and self.recent and not watched and top_builder() is None:
            leaves = []
            args_tree = flatten_into(args, leaves)
            kwargs_tree = flatten_into(kwargs, leaves) if kwargs else None
            for i in range(len(self.recent)):
                e = <Entry>self.recent[i]
                if (e.args_tree is args_tree or e.args_tree == args_tree) and (
                        e.kwargs_tree is kwargs_tree or e.kwargs_tree == kwargs_tree):
                    if e.matches(leaves):
                        if i:
                            self.recent.remove(e)
                            self.recent.insert(0, e)
                        self.fast_hits += 1
                        return e.run(leaves)
        return self.call(*args, **kwargs)

    def remember(self, Entry e):
        """Puts a program in front of those tried first."""
        self.recent.insert(0, e)
        del self.recent[RECENT:]

    def forget(self):
        self.recent.clear()


_hide = errors.hide_internal_frames
Py_INCREF(_hide)
ft_hide = <PyObject *>_hide
ft_guard(<PyTypeObject *>Transformed, 0)
ft_guard(<PyTypeObject *>FastJit, 1)
