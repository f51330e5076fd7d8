# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Pytrees: nested containers whose leaves are arrays, numbers or any other object.

Nodes are dict (by sorted key), OrderedDict, defaultdict, list, tuple, namedtuple, None (without
leaves), dataclasses and registered types. Everything else is a leaf.

In: a tree. Out: its leaves, and a TreeDef, the structure without the leaves. TreeDefs are
immutable, equal if and only if the structures are, and then usually the same object (recent ones
are interned).
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport Py_TYPE, PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact

cimport cython

from functrans.tree.nodes cimport (
    DICT_NODE, K_DEFAULT, K_DICT, K_LEAF, K_LIST, K_NONE, K_ORDERED, K_TUPLE, LEAF_NODE, NodeType,
    class_node, close_node, node_of, open_node, sorted_keys,
)

import functools

import numpy as np

from functrans.errors import TreeError
from functrans.tree.keys import (
    DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, child_key, count, differ, key_paths,
    path_str, show, show_short,
)
from functrans.tree.nodes import register_dataclass, register_node

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char* where) except -1
    void Py_LeaveRecursiveCall()

cdef enum:
    # A user may raise Python's recursion limit beyond what the C stack holds, so we have our own.
    MAX_DEPTH = 1000
    MAX_INTERNED = 8192

cdef object _ndarray = np.ndarray


# ---- TreeDef ----

@cython.final
cdef class TreeDef:
    """The structure of a pytree, without its leaves. Made by `structure` and `flatten`.

    >>> from functrans import tree
    >>> treedef = tree.structure({"w": [1.0, 2.0], "b": 3.0})
    >>> treedef.num_leaves
    3
    """

    def __cinit__(self):
        self.node = LEAF_NODE
        self.kids = ()
        self.num_leaves = 1
        self.hash_ = 1

    def __init__(self):
        raise TypeError("a TreeDef is made by functrans.tree.structure(tree)")

    cpdef unflatten(self, leaves):
        """The tree of this structure with these leaves."""
        cdef list given = leaves if type(leaves) is list else list(leaves)
        cdef Py_ssize_t position = 0
        if PyList_GET_SIZE(given) != self.num_leaves:
            raise TreeError(
                f"unflatten got {count(len(given), 'leaf', 'leaves')} for a structure with "
                f"{count(self.num_leaves, 'leaf', 'leaves')}: {show_short(self)}",
                "pass as many leaves as treedef.num_leaves says",
            )
        return _build(self, given, &position)

    def children(self):
        """The structures of the children, a list."""
        return list(self.kids)

    @property
    def node_type(self):
        """The class of the node at the root; None for a leaf."""
        return self.node.cls

    def key_paths(self):
        """The path of each leaf, as tuples of keys."""
        return key_paths(self)

    def paths(self):
        """The path of each leaf as text, such as ``['a'][0]``; the root's is empty."""
        if self.texts is None:
            self.texts = [path_str(p) for p in key_paths(self)]
        return list(self.texts)

    def flatten_up_to(self, tree, what="the tree", reference="the expected structure"):
        """The subtrees of `tree` at the leaves of this structure, a list."""
        cdef list out = []
        cdef list trail = []
        if not _up_to(self, tree, out, trail, False, 0):
            raise _tree_error(what, reference, trail, f"{reference} is {show_short(self)}")
        return out

    def prefix_flatten(self, prefix_tree, what="the prefix"):
        """Spread a prefix tree (as vmap's in_axes) over the leaves: a list of num_leaves entries.

        A leaf or None in the prefix tree holds for all leaves below it.
        """
        cdef list out = []
        cdef list trail = []
        if not _up_to(self, prefix_tree, out, trail, True, 0):
            raise _tree_error(
                what, "the value", trail,
                f"give one entry for all below, or entries nested as the value is: "
                f"{show_short(self)}")
        return out

    def __hash__(self):
        return self.hash_

    def __eq__(self, other):
        if self is other:
            return True
        if type(other) is not TreeDef:
            return NotImplemented
        return _equal(self, <TreeDef>other)

    def __repr__(self):
        return show(self)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return _restore, (self.node.cls, self.aux, self.kids)


cdef TreeDef leaf_def = TreeDef.__new__(TreeDef)
LEAF = leaf_def

# Structures met before: by the children's, by (keys, children's), and all others. A dict of leaves
# only has its keys alone as key, which never look like a pair (the keys are strings).
cdef dict _tuple_defs = {}
cdef dict _list_defs = {}
cdef dict _dict_defs = {}
cdef dict _other_defs = {}


cdef TreeDef _new(NodeType node, object aux, tuple kids):
    cdef TreeDef td = TreeDef.__new__(TreeDef)
    cdef TreeDef kid
    td.node = node
    td.aux = aux
    td.kids = kids
    td.num_leaves = 0
    td.flat = True
    for kid in kids:
        td.num_leaves += kid.num_leaves
        if kid is not leaf_def:
            td.flat = False
    try:
        td.hash_ = hash((node.cls, aux, kids))
    except TypeError as e:
        raise TreeError(
            f"the static data of a {node.cls.__name__} cannot be hashed ({e}): {aux!r:.200}",
            "static data is compared and hashed: use tuples for lists, and children for arrays",
        ) from None
    return td


cdef TreeDef _keep(dict table, object key, TreeDef td):
    if len(table) >= MAX_INTERNED:
        table.clear()
    table[key] = td
    return td


cdef TreeDef _intern(TreeDef td):
    cdef PyObject* hit = PyDict_GetItemWithError(_other_defs, td)
    return <TreeDef>hit if hit is not NULL else _keep(_other_defs, td, td)


def _restore(cls, aux, kids):
    if cls is None:
        return LEAF
    cdef NodeType node = class_node(cls)
    if node.kind == K_LEAF:
        raise TreeError(f"a pickled structure needs {cls!r}, which is no pytree node here",
                        "call register_node for it before loading")
    return _make(node, aux, kids)


cdef TreeDef _make(NodeType node, object aux, tuple kids):
    # The tables of flatten, so that a structure made elsewhere is the same object as its own.
    cdef PyObject* hit
    cdef dict table
    if node.kind == K_TUPLE or node.kind == K_LIST:
        table = _tuple_defs if node.kind == K_TUPLE else _list_defs
        hit = PyDict_GetItemWithError(table, kids)
        return <TreeDef>hit if hit is not NULL else _keep(table, kids, _new(node, None, kids))
    if node.kind == K_DICT and all([type(k) is str for k in aux]):
        key = aux if all([k is leaf_def for k in kids]) else (aux, kids)
        hit = PyDict_GetItemWithError(_dict_defs, key)
        return <TreeDef>hit if hit is not NULL else _keep(_dict_defs, key, _new(node, aux, kids))
    return _intern(_new(node, aux, kids))


cdef bint _same(object a, object b) except -1:
    # == is too weak: a dict with the key True must not come back with the key 1.
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        if len(a) != len(b):
            return False
        for x, y in zip(a, b):
            if not _same(x, y):
                return False
        return True
    return bool(a == b)


cdef bint _equal(TreeDef a, TreeDef b) except -1:
    if a is b:
        return True
    if (a.hash_ != b.hash_ or a.node.cls is not b.node.cls or a.num_leaves != b.num_leaves
            or len(a.kids) != len(b.kids) or not _same(a.aux, b.aux)):
        return False
    for x, y in zip(a.kids, b.kids):
        if not _equal(<TreeDef>x, <TreeDef>y):
            return False
    return True


# ---- flatten ----

cdef inline TreeDef _flatten(object x, list out, object is_leaf, int depth):
    cdef PyObject* t = <PyObject*>Py_TYPE(x)
    if is_leaf is not None and is_leaf(x):
        out.append(x)
        return leaf_def
    if t == <PyObject*>_ndarray or t == <PyObject*>float:
        out.append(x)
        return leaf_def
    return _flatten_node(x, out, is_leaf, depth)


cdef TreeDef _flatten_node(object x, list out, object is_leaf, int depth):
    cdef NodeType node = node_of(x)
    if node.kind == K_LEAF:
        out.append(x)
        return leaf_def
    if depth > MAX_DEPTH:
        raise RecursionError("a pytree is nested too deeply (or contains itself)")
    Py_EnterRecursiveCall(b" while flattening a pytree")
    try:
        if node.kind == K_TUPLE or node.kind == K_LIST:
            return _flatten_sequence(x, node, out, is_leaf, depth + 1)
        if node.kind == K_DICT:
            return _flatten_dict(<dict>x, out, is_leaf, depth + 1)
        items, aux = open_node(node, x)
        return _intern(_new(
            node, aux, tuple([_flatten(item, out, is_leaf, depth + 1) for item in items])))
    finally:
        Py_LeaveRecursiveCall()


cdef TreeDef _flatten_sequence(object x, NodeType node, list out, object is_leaf, int depth):
    cdef list kids = None       # made at the first child that is no leaf
    cdef TreeDef kid
    cdef tuple key
    cdef object item
    cdef Py_ssize_t i = 0
    cdef bint is_list = node.kind == K_LIST
    cdef dict table = _list_defs if is_list else _tuple_defs
    while True:                 # the size is asked each time: is_leaf may change the list
        if is_list:
            if i >= PyList_GET_SIZE(x):
                break
            item = <object>PyList_GET_ITEM(x, i)
        else:
            if i >= PyTuple_GET_SIZE(x):
                break
            item = <object>PyTuple_GET_ITEM(x, i)
        kid = _flatten(item, out, is_leaf, depth)
        if kids is not None:
            kids.append(kid)
        elif kid is not leaf_def:
            kids = [leaf_def] * i
            kids.append(kid)
        i += 1
    key = _leaves_key(i) if kids is None else tuple(kids)
    cdef PyObject* hit = PyDict_GetItemWithError(table, key)
    return <TreeDef>hit if hit is not NULL else _keep(table, key, _new(node, None, key))


cdef list _leaf_keys = [(leaf_def,) * n for n in range(16)]


cdef inline tuple _leaves_key(Py_ssize_t n):
    return <tuple>_leaf_keys[n] if n < 16 else (leaf_def,) * n


cdef TreeDef _flatten_dict(dict x, list out, object is_leaf, int depth):
    cdef list kids = None
    cdef TreeDef kid
    cdef Py_ssize_t i = 0
    cdef bint plain = True
    cdef tuple keys = tuple(sorted_keys(x))
    cdef object key
    for key in keys:
        plain = plain and PyUnicode_CheckExact(key)
        kid = _flatten(x[key], out, is_leaf, depth)
        if kids is not None:
            kids.append(kid)
        elif kid is not leaf_def:
            kids = [leaf_def] * i
            kids.append(kid)
        i += 1
    if not plain:
        return _intern(_new(DICT_NODE, keys, _leaves_key(i) if kids is None else tuple(kids)))
    key = keys if kids is None else (keys, tuple(kids))
    cdef PyObject* hit = PyDict_GetItemWithError(_dict_defs, key)
    if hit is not NULL:
        return <TreeDef>hit
    return _keep(_dict_defs, key, _new(DICT_NODE, keys, _leaves_key(i) if kids is None else key[1]))


cdef TreeDef flatten_into(object tree, list out):
    return _flatten(tree, out, None, 0)


cpdef tuple flatten(object tree, object is_leaf=None):
    """The leaves of a tree, a list, and its TreeDef. Where is_leaf(node) is true, it is a leaf.

    >>> from functrans import tree
    >>> leaves, treedef = tree.flatten({"w": [1.0, 2.0], "b": 3.0})
    >>> leaves
    [3.0, 1.0, 2.0]
    """
    cdef PyObject* t = <PyObject*>Py_TYPE(tree)
    if is_leaf is None and (t == <PyObject*>float or t == <PyObject*>_ndarray):
        return ([tree], leaf_def)
    cdef list out = []
    cdef TreeDef td = _flatten(tree, out, is_leaf, 0)
    return (out, td)


# ---- unflatten ----

cdef object _build(TreeDef td, list leaves, Py_ssize_t* position):
    cdef int kind = td.node.kind
    cdef Py_ssize_t start = position[0]
    cdef list items
    if kind == K_LEAF:
        if start >= PyList_GET_SIZE(leaves):
            raise RuntimeError("the list of leaves changed while a tree was rebuilt from it")
        position[0] = start + 1
        return leaves[start]
    if td.flat:
        position[0] = start + td.num_leaves
        items = leaves[start:position[0]]
    else:
        items = [_build(<TreeDef>kid, leaves, position) for kid in td.kids]
    if kind == K_TUPLE:
        return tuple(items)
    if kind == K_LIST:
        return items
    return close_node(td.node, td.aux, items)


cpdef unflatten(TreeDef treedef, object leaves):
    """The tree of this structure with these leaves: the inverse of `flatten`.

    >>> from functrans import tree
    >>> tree.unflatten(tree.structure({"w": 0.0, "b": 0.0}), [1.0, 2.0])
    {'b': 1.0, 'w': 2.0}
    """
    if treedef is None:
        raise TypeError("unflatten needs a TreeDef, got None")
    return treedef.unflatten(leaves)


# ---- comparing a tree with a structure ----

# Appends to `out` the subtrees of x at the leaves of td. With `prefix`, x is a prefix tree and its
# leaves are spread instead. False where they differ; `trail` then holds the two structures, the
# type met and, innermost first, the keys that lead there.
cdef bint _up_to(TreeDef td, object x, list out, list trail, bint prefix, int depth) except -1:
    cdef NodeType node
    cdef Py_ssize_t i = 0
    if depth > MAX_DEPTH:
        raise RecursionError("a pytree is nested too deeply (or contains itself)")
    if td is leaf_def and not prefix:
        out.append(x)
        return True
    node = node_of(x)
    if prefix and (node.kind == K_LEAF or node.kind == K_NONE):
        out.extend([x] * td.num_leaves)
        return True
    if node.cls is td.node.cls:
        items, aux = open_node(node, x)
        if len(items) == len(td.kids) and (_same_keys(td, aux) if prefix else _same(td.aux, aux)):
            for item in items:
                if not _up_to(<TreeDef>td.kids[i], item, out, trail, prefix, depth + 1):
                    trail.append(child_key(td, i))
                    return False
                i += 1
            return True
    trail.append(td)
    trail.append(leaf_def)
    if node.kind != K_LEAF:
        items, aux = open_node(node, x)
        trail[1] = _make(node, aux, (leaf_def,) * len(items))
    trail.append(type(x).__name__)
    return False


cdef bint _same_keys(TreeDef td, object aux) except -1:
    # Static data that is no key has no place in a prefix tree.
    if td.node.kind == K_DEFAULT:
        return _same(td.aux[1], aux[1])
    return _same(td.aux, aux) if td.node.kind in (K_DICT, K_ORDERED) else True


cdef object _tree_error(what, reference, list trail, fix):
    text = differ(what, reference, trail[0], trail[1], trail[2], trail[:2:-1])
    return TreeError(text, fix)


# ---- what users call ----

def leaves(tree, is_leaf=None):
    """The leaves of a tree, a list.

    >>> from functrans import tree
    >>> tree.leaves({"w": [1.0, 2.0], "b": 3.0})
    [3.0, 1.0, 2.0]
    """
    return flatten(tree, is_leaf)[0]


def structure(tree, is_leaf=None):
    """The TreeDef of a tree.

    >>> from functrans import tree
    >>> tree.structure({"w": [1.0, 2.0]}) == tree.structure({"w": [5.0, 6.0]})
    True
    """
    return flatten(tree, is_leaf)[1]


def map(f, tree, *rest, is_leaf=None):
    """The tree of f(leaf, *leaves of the other trees at the same place).

    The other trees must have the structure of the first, or subtrees where it has leaves.

    >>> from functrans import tree
    >>> tree.map(lambda p, g: p - 0.1 * g, {"w": 1.0, "b": 2.0}, {"w": 10.0, "b": 0.0})
    {'b': 2.0, 'w': 0.0}
    """
    cdef list given = []
    cdef list other
    cdef TreeDef td = _flatten(tree, given, is_leaf, 0)
    cdef Py_ssize_t i
    if not rest:
        return td.unflatten([f(x) for x in given])
    columns = [given]
    for i in range(len(rest)):
        other = []
        # Trees of equal structure, the usual case, are faster taken apart than compared.
        if is_leaf is not None or _flatten(rest[i], other, None, 0) is not td:
            other = td.flatten_up_to(rest[i], f"tree {i + 2} of {len(rest) + 1}", "tree 1")
        columns.append(other)
    return td.unflatten([f(*row) for row in zip(*columns)])


def map_with_path(f, tree, *rest, is_leaf=None):
    """As `map`, for f(path, leaf, ...).

    >>> from functrans import tree
    >>> tree.map_with_path(lambda path, x: tree.path_str(path), {"w": [1.0, 2.0]})
    {'w': ["['w'][0]", "['w'][1]"]}
    """
    paths = structure(tree, is_leaf).key_paths()
    position = iter(paths)
    return map(lambda *row: f(next(position), *row), tree, *rest, is_leaf=is_leaf)


def flatten_with_path(tree, is_leaf=None):
    """A list of pairs (path, leaf), and the TreeDef. A path is a tuple of keys; see `path_str`.

    >>> from functrans import tree
    >>> pairs, treedef = tree.flatten_with_path({"w": [1.0, 2.0]})
    >>> pairs[1]
    ((DictKey('w'), SequenceKey(1)), 2.0)
    """
    given, td = flatten(tree, is_leaf)
    return list(zip(td.key_paths(), given)), td


def all_leaves(iterable, is_leaf=None):
    """Whether no element is a node (None is a node).

    >>> from functrans import tree
    >>> tree.all_leaves([1.0, 2.0]), tree.all_leaves([1.0, [2.0]])
    (True, False)
    """
    for x in iterable:
        if not (is_leaf is not None and is_leaf(x)) and node_of(x).kind != K_LEAF:
            return False
    return True


cdef object _missing = object()


def reduce(function, tree, initializer=_missing, is_leaf=None):
    """functools.reduce over the leaves.

    >>> from functrans import tree
    >>> tree.reduce(lambda total, x: total + x, {"w": [1.0, 2.0], "b": 3.0})
    6.0
    """
    given = leaves(tree, is_leaf)
    if initializer is _missing:
        return functools.reduce(function, given)
    return functools.reduce(function, given, initializer)


def transpose(TreeDef outer not None, inner, tree):
    """Turn a tree of structure `outer` whose leaves are of structure `inner` inside out.

    With `inner` None, the structure of the first subtree is taken.

    >>> from functrans import tree
    >>> tree.transpose(tree.structure([0, 0]), None, [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    {'a': [1, 3], 'b': [2, 4]}
    """
    subtrees = outer.flatten_up_to(tree, "the tree", "the outer structure")
    if inner is None:
        if not subtrees:
            raise TreeError("transpose got an outer structure without leaves and no inner one",
                            "give the inner structure")
        inner = structure(subtrees[0])
    cdef list rows = []
    for i, x in enumerate(subtrees):
        where = f"the subtree at {path_str(outer.key_paths()[i]) or 'the root'}"
        rows.append(inner.flatten_up_to(x, where, "the inner structure"))
    return inner.unflatten(
        [outer.unflatten([row[j] for row in rows]) for j in range(inner.num_leaves)])


__all__ = [
    "LEAF", "DictKey", "FlattenedIndexKey", "GetAttrKey", "SequenceKey", "TreeDef", "all_leaves",
    "flatten", "flatten_with_path", "leaves", "map", "map_with_path", "path_str", "reduce",
    "register_dataclass", "register_node", "structure", "transpose", "unflatten",
]
