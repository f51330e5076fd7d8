"""The user's line of each equation: where the code that binds it stands, or another equation's line."""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from functrans.ir.core cimport Eqn, take_source

import os

import numpy as np

from .. import errors
from ..ir.core import BACKWARD, eqn_in

cdef int _BACK = BACKWARD

cdef extern from *:
    """
    static _Thread_local PyObject *ft_source = NULL;  /* equation whose line new ones take, owned */
    static _Thread_local int ft_back = 0;             /* bits of the lines that are found meanwhile */
    static _Thread_local PyObject *ft_scope = NULL;   /* names of the open scopes: a tuple, owned */
    """
    PyObject *ft_source
    PyObject *ft_scope
    int ft_back

cdef extern from "Python.h":
    ctypedef struct PyFrameObject
    PyFrameObject *PyEval_GetFrame()
    object PyFrame_GetCode(PyFrameObject *)
    int PyFrame_GetLasti(PyFrameObject *)
    PyFrameObject *PyFrame_GetBack(PyFrameObject *)

cdef dict _internal_codes = {}      # id(code) -> (code, is it ours)
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep


cdef PyObject *set_source(PyObject *eqn):
    """Equations bound from here on take the source of ``eqn`` (borrowed); returns the former, owned."""
    global ft_source
    cdef PyObject *old = ft_source
    ft_source = eqn
    if eqn != NULL:
        Py_INCREF(<object>eqn)
    return old


cdef void restore_source(PyObject *owned):
    """Back to what ``set_source`` returned."""
    global ft_source, ft_back
    cdef PyObject *old = ft_source
    ft_source = owned
    ft_back = 0
    Py_XDECREF(old)


def source_of(Eqn eqn):
    """Equations bound from here on, in this thread, take the source of ``eqn``; None ends that (what a
    user's rule binds in the backward pass stays marked as such). Returns the former one."""
    global ft_back
    cdef PyObject *old
    if eqn is None and ft_source != NULL:
        ft_back = (<Eqn>ft_source).lasti & _BACK
    old = set_source(NULL if eqn is None else <PyObject *>eqn)
    former = None if old == NULL else <object>old
    Py_XDECREF(old)
    return former


def current_source():
    """``(file, line, function)`` of the equation that a pass is at, or None."""
    return (<Eqn>ft_source).src if ft_source != NULL else None


errors.pass_source = current_source


def set_scope(tuple names):
    """Equations bound from here on, in this thread, are in these scopes (None: none); returns the former."""
    global ft_scope
    cdef PyObject *old = ft_scope
    ft_scope = NULL if names is None else <PyObject *>names
    if names is not None:
        Py_INCREF(names)
    if old == NULL:
        return None
    former = <object>old
    Py_DECREF(former)
    return former


def scope_now():
    """The scopes of what is bound now: of the equation that a pass is at, or the open ones."""
    if ft_source != NULL:
        return (<Eqn>ft_source).scope
    return None if ft_scope == NULL else <tuple>ft_scope


cdef Eqn in_open_scopes(Eqn e):
    """``e``, as a source of what is bound now: of a program that was recorded elsewhere (``jit``)."""
    cdef tuple now
    if ft_scope == NULL or ft_source != NULL:
        return e
    now = <tuple>ft_scope
    if e.scope is None:
        return eqn_in(e, now)
    return e if e.scope[:len(now)] == now else eqn_in(e, now + e.scope)


cdef void locate(Eqn e):
    """Notes the user's code that binds e: the innermost frame that is not ours or NumPy's."""
    cdef PyFrameObject *frame
    cdef PyFrameObject *back
    cdef Eqn like
    if ft_source != NULL:
        like = <Eqn>ft_source
        take_source(e, like)
        return
    if ft_scope != NULL:
        e.scope = <tuple>ft_scope
    frame = PyEval_GetFrame()
    if frame == NULL:
        return
    code = PyFrame_GetCode(frame)
    if not is_internal(code):
        e.code, e.lasti = code, PyFrame_GetLasti(frame) | ft_back
        return
    Py_INCREF(<object><PyObject *>frame)
    while is_internal(code):
        back = PyFrame_GetBack(frame)
        Py_DECREF(<object><PyObject *>frame)
        if back == NULL:
            return
        frame = back
        code = PyFrame_GetCode(frame)
    e.code, e.lasti = code, PyFrame_GetLasti(frame) | ft_back
    Py_DECREF(<object><PyObject *>frame)


cdef object _last_code = None       # of the last question, and its answer
cdef bint _last_answer = False


cdef bint is_internal(object code):
    """Whether code belongs to functrans or NumPy, and so is not the user's line."""
    global _last_code, _last_answer
    if code is not _last_code:
        _last_answer = belongs_to_us(code)
        _last_code = code
    return _last_answer


cdef bint belongs_to_us(object code):
    cdef size_t key = <size_t><PyObject *>code
    found = _internal_codes.get(key)
    if found is not None and found[0] is code:
        return found[1]
    file = code.co_filename
    ours = (file.startswith(_OURS) or file.startswith(_NUMPY)) and not file.startswith(_OURS + "examples")
    if len(_internal_codes) > 20_000:
        _internal_codes.clear()
    _internal_codes[key] = (code, ours)
    return ours
