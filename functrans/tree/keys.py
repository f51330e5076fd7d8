"""Paths into pytrees, and the texts made from structures: repr and what differs.

In: TreeDefs (seen through node, aux, kids). Out: paths and strings. Runs on errors only, so plain
Python.
"""

from collections import OrderedDict, defaultdict


class _PathKey:
    __slots__ = ("_value",)

    def __init__(self, value):
        self._value = value

    def __eq__(self, other):
        return type(self) is type(other) and self._value == other._value

    def __hash__(self):
        return hash((type(self).__name__, self._value))

    def __repr__(self):
        return f"{type(self).__name__}({self._value!r})"


class DictKey(_PathKey):
    """A step into a dict: ``['bias']``.

    >>> from functrans import tree
    >>> (path, leaf), *rest = tree.flatten_with_path({"bias": 1.0})[0]
    >>> path[0], str(path[0])
    (DictKey('bias'), "['bias']")
    """

    __slots__ = ()
    key = property(lambda self: self._value)

    def __str__(self):
        return f"[{self._value!r}]"


class SequenceKey(_PathKey):
    """A step into a list or tuple: ``[0]``.

    >>> from functrans import tree
    >>> (path, leaf), *rest = tree.flatten_with_path([1.0, 2.0])[0]
    >>> path[0], str(path[0])
    (SequenceKey(0), '[0]')
    """

    __slots__ = ()
    idx = property(lambda self: self._value)

    def __str__(self):
        return f"[{self._value}]"


class GetAttrKey(_PathKey):
    """A step into a dataclass or namedtuple: ``.bias``.

    >>> from typing import NamedTuple
    >>> from functrans import tree
    >>> class Layer(NamedTuple):
    ...     bias: float
    >>> (path, leaf), = tree.flatten_with_path(Layer(1.0))[0]
    >>> path[0], str(path[0])
    (GetAttrKey('bias'), '.bias')
    """

    __slots__ = ()
    name = property(lambda self: self._value)

    def __str__(self):
        return f".{self._value}"


class FlattenedIndexKey(_PathKey):
    """A step into a registered node, by the child's number: ``[<child 0>]``.

    >>> from functrans import tree
    >>> class Pair:
    ...     def __init__(self, *both):
    ...         self.both = both
    >>> _ = tree.register_node(Pair, lambda p: (p.both, None), lambda aux, both: Pair(*both))
    >>> tree.path_str(tree.flatten_with_path(Pair(1.0, 2.0))[0][1][0])
    '[<child 1>]'
    """

    __slots__ = ()
    key = property(lambda self: self._value)

    def __str__(self):
        return f"[<child {self._value}>]"


def path_str(path):
    """A path as Python-like text: ``['layers'][0].bias``; empty for the root.

    >>> from functrans import tree
    >>> [tree.path_str(path) for path, leaf in tree.flatten_with_path({"w": [1.0, 2.0]})[0]]
    ["['w'][0]", "['w'][1]"]
    """
    return "".join([str(key) for key in path])


def path_words(path):
    """The steps of a path as plain words: ``["hidden", "0", "w"]``."""
    return [str(key._value) for key in path]


def dict_keys(td):
    """The keys of a dict node; None for other nodes."""
    cls = td.node_type
    if cls is defaultdict:
        return td.aux[1]
    return td.aux if cls is dict or cls is OrderedDict else None


def child_key(td, i):
    """The key that leads to child i of a structure."""
    keys = dict_keys(td)
    if keys is not None:
        return DictKey(keys[i])
    if td.node_type is tuple or td.node_type is list:
        return SequenceKey(i)
    return GetAttrKey(td.node.names[i]) if td.node.names else FlattenedIndexKey(i)


def key_paths(td, path=()):
    """The path of each leaf of a structure."""
    if td.node_type is None:
        return [path]
    kids = enumerate(td.kids)
    return [p for i, kid in kids for p in key_paths(kid, (*path, child_key(td, i)))]


def show(td):
    """The structure as text: ``{'a': *, 'b': (*, None)}``."""
    cls, node = td.node_type, td.node
    if cls is None:
        return "*"
    if cls is type(None):
        return "None"
    kids = [show(kid) for kid in td.kids]
    if cls is tuple:
        return f"({kids[0]},)" if len(kids) == 1 else f"({', '.join(kids)})"
    if cls is list:
        return f"[{', '.join(kids)}]"
    keys = dict_keys(td)
    if keys is not None:
        text = ", ".join([f"{k!r}: {v}" for k, v in zip(keys, kids, strict=True)])
        if cls is dict:
            return f"{{{text}}}"
        if cls is OrderedDict:
            return f"OrderedDict({{{text}}})"
        return f"defaultdict({getattr(td.aux[0], '__name__', td.aux[0])}, {{{text}}})"
    if node.names or node.meta:
        parts = [f"{k}={v}" for k, v in zip(node.names, kids, strict=True)]
        if node.meta:
            parts += [f"{k}={v!r}" for k, v in zip(node.meta, td.aux, strict=True)]
        return f"{cls.__name__}({', '.join(parts)})"
    aux = "" if td.aux is None or td.aux == () else f"[{td.aux!r}]"
    return f"{cls.__name__}{aux}({', '.join(kids)})"


def show_short(td):
    """The same, cut for messages."""
    text = show(td)
    return text if len(text) <= 300 else text[:297] + "..."


def count(n, one, many):
    """A number with its noun: ``1 leaf``, ``2 leaves``."""
    return f"{n} {one if n == 1 else many}"


def describe(td):
    """The root of a structure in words: ``a dict with the key 'a'``."""
    cls = td.node_type
    if cls is None:
        return "a leaf"
    if cls is type(None):
        return "None"
    name = cls.__name__
    name = f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"
    keys = dict_keys(td)
    if keys:
        text = ", ".join([repr(k) for k in keys[:8]]) + ", ..." * (len(keys) > 8)
        return f"{name} with the key{'s' * (len(keys) > 1)} {text}"
    if td.node.names:
        return name
    return f"{name} of {count(len(td.kids), 'entry', 'entries')}"


def key_difference(want, got):
    """In what two nodes of one class differ, where their descriptions may not show it."""
    keys, other = dict_keys(want), dict_keys(got)
    if keys is not None:
        missing = [repr(k) for k in keys if k not in other]
        extra = [repr(k) for k in other if k not in keys]
        parts = [f"missing {', '.join(missing[:5])}"] * bool(missing)
        parts += [f"extra {', '.join(extra[:5])}"] * bool(extra)
        if not parts and want.node_type is OrderedDict:
            parts = ["in another order"]
        return f" (keys {'; '.join(parts)})" if parts else " (of another key type or factory)"
    if len(want.kids) == len(got.kids) and want.aux != got.aux:
        return f" (static data {got.aux!r:.100} instead of {want.aux!r:.100})"
    return ""


def differ(what, reference, want, got, kind, path):
    """The text of a mismatch between a tree and what it is compared with."""
    where = path_str(path) or "the root"
    if got.node_type is None:
        met = f"a leaf ({kind})"
    else:
        met = describe(got)
        if got.node_type is want.node_type:
            met += key_difference(want, got)
    return (
        f"{what} and {reference} differ at {where}: {what} has {met}, {reference} {describe(want)}"
    )
