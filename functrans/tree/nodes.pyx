# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The kinds of pytree nodes: which classes are nodes, how one node is taken apart and rebuilt.

In: one object. Out: its children and static data, or back. `functrans.tree` does the recursion.
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport Py_TYPE, PyObject

from collections import OrderedDict, defaultdict

import numpy as np

from functrans.errors import TreeError
from functrans.tree.fields import check_fields, split_fields

cdef enum:
    MAX_TYPES = 4096


cdef class NodeType:
    """How nodes of one class are taken apart and rebuilt."""


cdef NodeType _node_type(int kind, object cls, tuple names=()):
    cdef NodeType node = NodeType.__new__(NodeType)
    node.kind = kind
    node.cls = cls
    node.names = names
    node.meta = ()
    return node


cdef NodeType LEAF_NODE = _node_type(K_LEAF, None)
cdef NodeType NONE_NODE = _node_type(K_NONE, type(None))
cdef NodeType TUPLE_NODE = _node_type(K_TUPLE, tuple)
cdef NodeType LIST_NODE = _node_type(K_LIST, list)
cdef NodeType DICT_NODE = _node_type(K_DICT, dict)
cdef dict _builtin_nodes = {
    type(None): NONE_NODE, tuple: TUPLE_NODE, list: LIST_NODE, dict: DICT_NODE,
    OrderedDict: _node_type(K_ORDERED, OrderedDict),
    defaultdict: _node_type(K_DEFAULT, defaultdict),
}
cdef frozenset _always_leaves = frozenset({
    bool, int, float, complex, str, bytes, np.ndarray, np.bool_, np.int64, np.float32, np.float64,
})
cdef dict _registered = {}
cdef dict _types = dict(_builtin_nodes)     # type -> NodeType, filled as types are met


cdef NodeType node_of(object x):
    cdef PyObject* hit = PyDict_GetItemWithError(_types, <object>Py_TYPE(x))
    return <NodeType>hit if hit is not NULL else class_node(type(x))


cdef NodeType class_node(object cls):
    cdef NodeType node = _types.get(cls)
    if node is not None:
        return node
    fields = getattr(cls, "_fields", None)
    if issubclass(cls, tuple) and type(fields) is tuple:
        node = _node_type(K_NAMED, cls, fields)
    elif hasattr(cls, "__dataclass_fields__") and not getattr(cls, "__functrans_leaf__", False):
        node = _dataclass_node(cls, None, ())
    else:
        node = LEAF_NODE
    if len(_types) >= MAX_TYPES:
        _types.clear()
        _types.update(_builtin_nodes)
        _types.update(_registered)
    _types[cls] = node
    return node


cdef NodeType _dataclass_node(object cls, object data_fields, object meta_fields):
    cdef NodeType node = _node_type(K_DATA, cls)
    node.names, node.meta, node.by_init, node.positional = split_fields(
        cls, data_fields, meta_fields)
    return node


def register_dataclass(cls, data_fields=None, meta_fields=()):
    """Say which fields of a dataclass are children and which are static data; returns the class.

    Without it all init fields are children, but those with ``metadata={"static": True}``. Static
    fields must be hashable; they are part of the structure.

    >>> import dataclasses
    >>> from functrans import tree
    >>> @dataclasses.dataclass
    ... class Layer:
    ...     w: float
    ...     name: str
    >>> _ = tree.register_dataclass(Layer, data_fields=["w"], meta_fields=["name"])
    >>> tree.leaves(Layer(2.0, "first"))
    [2.0]
    """
    meta_fields = tuple(meta_fields)
    check_fields(cls, data_fields, meta_fields)
    _check_free(cls)
    _types[cls] = _registered[cls] = _dataclass_node(cls, data_fields, meta_fields)
    return cls


def register_node(cls, flatten, unflatten):
    """Make a class a pytree node; returns the class. Subclasses are registered on their own.

    flatten(obj) -> (children, aux), where aux is hashable; unflatten(aux, children) -> obj.

    >>> from functrans import grad, tree
    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> _ = tree.register_node(Pair, lambda p: ((p.x, p.y), None), lambda aux, both: Pair(*both))
    >>> float(grad(lambda p: p.x * p.y)(Pair(2.0, 3.0)).x)
    3.0
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_node needs a class, got {cls!r}")
    _check_free(cls)
    cdef NodeType node = _node_type(K_CUSTOM, cls)
    node.opener = flatten
    node.closer = unflatten
    _types[cls] = _registered[cls] = node
    return cls


cdef _check_free(cls):
    if cls in _registered:
        raise ValueError(f"{cls.__name__} is registered as a pytree node already")
    if cls in _builtin_nodes:
        raise ValueError(f"{cls.__name__} is a pytree node by itself")
    if cls in _always_leaves:
        raise ValueError(f"{cls.__name__} is always a leaf")


cdef list sorted_keys(object x):
    cdef list keys = list(x)
    if PyList_GET_SIZE(keys) > 1:
        try:
            keys.sort()
        except TypeError:
            kinds = {type(k).__name__: k for k in x}
            met = ", ".join([f"{k!r:.50} ({name})" for name, k in kinds.items()])
            raise TreeError(
                f"the keys of a dict cannot be sorted: {met}",
                "use keys of one sortable type, or an OrderedDict (its order is kept)",
            ) from None
    return keys


# Takes one node apart: (children, aux).
cdef tuple open_node(NodeType node, object x):
    cdef int kind = node.kind
    if kind == K_NONE:
        return (), None
    if kind == K_TUPLE or kind == K_NAMED or kind == K_LIST:
        return tuple(x), None
    if kind == K_DICT or kind == K_DEFAULT:
        keys = sorted_keys(x)
        items = [x[k] for k in keys]
        return items, (tuple(keys) if kind == K_DICT else (x.default_factory, tuple(keys)))
    if kind == K_ORDERED:
        keys = tuple(x)
        return [x[k] for k in keys], keys
    if kind == K_DATA:
        try:
            items = [getattr(x, name) for name in node.names]
            return items, tuple([getattr(x, name) for name in node.meta])
        except AttributeError as e:
            raise TreeError(f"a field of the dataclass {node.cls.__name__} is not set: {e}") from e
    made = node.opener(x)
    try:
        items, aux = made
        return tuple(items), aux
    except (TypeError, ValueError):
        raise TreeError(
            f"the flatten function of {node.cls.__name__} returned {made!r:.200}",
            "it must return a pair (children, aux)",
        ) from None


# Rebuilds one node.
cdef object close_node(NodeType node, object aux, list items):
    cdef int kind = node.kind
    if kind == K_NONE:
        return None
    if kind == K_DICT:
        return dict(zip(aux, items))
    if kind == K_ORDERED:
        return OrderedDict(zip(aux, items))
    if kind == K_DEFAULT:
        return defaultdict(aux[0], zip(aux[1], items))
    if kind == K_NAMED:
        return tuple.__new__(node.cls, items)
    if kind == K_CUSTOM:
        return node.closer(aux, tuple(items))
    if node.positional:
        return node.cls(*items)
    fields = dict(zip(node.names, items))
    fields.update(zip(node.meta, aux))
    if node.by_init:
        return node.cls(**fields)
    obj = object.__new__(node.cls)
    for name, value in fields.items():
        object.__setattr__(obj, name, value)     # works for frozen ones too
    return obj
