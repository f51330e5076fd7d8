import copy
import dataclasses
import pickle
import random
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functrans import tree
from functrans.errors import TreeError

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Layer:
    w: object
    b: object = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    w: object
    act: str = dataclasses.field(default="relu", metadata={"static": True})


@dataclasses.dataclass
class Derived:
    w: object
    double: object = dataclasses.field(init=False)

    def __post_init__(self):
        self.double = (self.w, self.w)


@dataclasses.dataclass
class OwnInit:
    w: object
    b: object = dataclasses.field(init=False)

    def __init__(self, size):
        self.w, self.b = size, -size


@dataclasses.dataclass
class WithInitVar:
    w: object
    size: dataclasses.InitVar[int]

    def __post_init__(self, size):
        self.w = (self.w, size)


@dataclasses.dataclass
class Opaque:
    w: object
    __functrans_leaf__ = True


class Bag:
    def __init__(self, items, tag):
        self.items, self.tag = items, tag

    def __eq__(self, other):
        return type(other) is Bag and (self.items, self.tag) == (other.items, other.tag)

    __hash__ = None


tree.register_node(Bag, lambda b: (b.items, b.tag), lambda tag, items: Bag(list(items), tag))


def containers(kids):
    keys = st.text("abc", max_size=2)
    dicts = st.dictionaries(keys, kids, max_size=3)
    return st.one_of(
        st.lists(kids, max_size=4),
        st.lists(kids, max_size=4).map(tuple),
        dicts,
        st.dictionaries(st.integers(-2, 2), kids, max_size=3),
        dicts.map(lambda d: OrderedDict(reversed(d.items()))),
        dicts.map(lambda d: defaultdict(list, d)),
        st.builds(Point, kids, kids),
        st.builds(Layer, kids, kids),
        st.builds(Frozen, w=kids, act=st.sampled_from(["relu", "tanh"])),
        st.builds(Bag, st.lists(kids, max_size=2), st.integers(0, 1)),
    )


TREES = st.recursive(st.none() | st.integers() | st.text(max_size=2), containers, max_leaves=12)


def same(a, b):
    """Equal with equal types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return sorted(map(repr, a)) == sorted(map(repr, b)) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, k.name), getattr(b, k.name)) for k in dataclasses.fields(a))
    return same(a.items, b.items) and a.tag == b.tag if type(a) is Bag else a == b


@given(TREES)
def test_round_trip(x):
    leaves, td = tree.flatten(x)
    assert len(leaves) == td.num_leaves == tree.leaves(x).__len__()
    assert tree.structure(x) == td and hash(tree.structure(x)) == hash(td)
    back = td.unflatten(leaves)
    assert same(back, x)
    assert tree.flatten(back)[1] is td
    assert same(tree.unflatten(td, iter(leaves)), x)
    assert same(tree.map(lambda v: v, x), x)
    assert same(tree.map(lambda a, b: b, x, x), x)
    assert tree.all_leaves(leaves)


@given(TREES)
def test_structure_pickles_to_the_same_object(x):
    td = tree.structure(x)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(td, protocol)) is td
    assert copy.copy(td) is td and copy.deepcopy(td) is td


@given(TREES, TREES)
def test_equal_structures_have_equal_reprs_and_paths(x, y):
    a, b = tree.structure(x), tree.structure(y)
    assert (a == b) == (a is b)
    if a == b:
        assert repr(a) == repr(b) and a.paths() == b.paths()
    else:
        with pytest.raises(TreeError):
            b.flatten_up_to(tree.map(lambda _: 0, x))
            a.flatten_up_to(tree.map(lambda _: 0, y))


@given(TREES)
def test_paths_lead_to_the_leaves(x):
    pairs, td = tree.flatten_with_path(x)
    assert [leaf for _, leaf in pairs] == tree.leaves(x)
    assert [tree.path_str(p) for p, _ in pairs] == td.paths()
    assert len({p for p, _ in pairs}) == len(pairs)
    for path, leaf in pairs:
        text = tree.path_str(path)
        if "<child" not in text:
            assert eval("x" + text, {"x": x}) is leaf


@given(TREES)
def test_prefix_of_itself_and_of_one_entry(x):
    td = tree.structure(x)
    assert td.prefix_flatten(0) == [0] * td.num_leaves
    assert td.prefix_flatten(None) == [None] * td.num_leaves
    marks = list(range(td.num_leaves))
    assert td.prefix_flatten(td.unflatten(marks)) == marks


@given(TREES, TREES)
def test_transpose(x, y):
    outer, inner = tree.structure(x), tree.structure(y)
    n, m = outer.num_leaves, inner.num_leaves
    rows = [inner.unflatten([(i, j).__repr__() for j in range(m)]) for i in range(n)]
    turned = tree.transpose(outer, inner, outer.unflatten(rows))
    assert tree.leaves(turned) == [repr((i, j)) for j in range(m) for i in range(n)]
    assert same(tree.transpose(inner, outer, turned), outer.unflatten(rows)) or not (n and m)


def test_leaves_and_nodes():
    x = np.arange(3)
    for leaf in (1.0, 1, True, "a", x, np.float64(1), len, {1, 2}, Opaque(1), range(3)):
        leaves, td = tree.flatten(leaf)
        assert leaves[0] is leaf and td is tree.LEAF and td.node_type is None
        assert td.unflatten([5]) == 5
    assert tree.flatten(None) == ([], tree.structure(None))
    assert tree.structure(()) != tree.structure([]) != tree.structure({}) != tree.structure(None)
    assert tree.leaves({"b": 1, "a": (2, [3, None])}) == [2, 3, 1]
    assert tree.leaves(OrderedDict(b=1, a=2)) == [1, 2]
    assert tree.leaves(defaultdict(int, b=1, a=2)) == [2, 1]


def test_subclasses_of_containers_are_leaves_but_namedtuples_are_not():
    class MyList(list):
        pass

    assert tree.structure(MyList([1])) is tree.LEAF
    assert tree.structure(sys.version_info) is tree.LEAF
    assert isinstance(tree.map(lambda v: v + 1, Point(1, 2)), Point)


def test_is_leaf():
    stop = lambda v: v is None or type(v) is tuple
    assert tree.leaves([None, (1, 2), [3]], is_leaf=stop) == [None, (1, 2), 3]
    assert tree.flatten(None, lambda v: True) == ([None], tree.LEAF)
    assert tree.map(lambda v: 0, [(1, 2), 3], is_leaf=stop) == [0, 0]
    assert tree.map(lambda a, b: b, [(1, 2), 3], [4, 5], is_leaf=stop) == [4, 5]
    with pytest.raises(ZeroDivisionError):
        tree.flatten([1], lambda v: 1 / 0)
    x = [1, 2, 3]
    assert tree.leaves(x, lambda v: type(v) is int and x.clear()) == [1]


def test_repr():
    show = lambda x: repr(tree.structure(x))
    assert show(1) == "*"
    assert show({"b": (1, None), "a": 2}) == "{'a': *, 'b': (*, None)}"
    assert show([(1,), (), []]) == "[(*,), (), []]"
    assert show(Point(1, [2])) == "Point(x=*, y=[*])"
    assert show(Frozen(w=1)) == "Frozen(w=*, act='relu')"
    assert show(OrderedDict(b=1)) == "OrderedDict({'b': *})"
    assert show(defaultdict(list, a=1)) == "defaultdict(list, {'a': *})"
    assert show(Bag([1, 2], "t")) == "Bag['t'](*, *)"


def test_paths():
    x = {"a": [1, Point(2, 3)], "b": Layer(4, Bag([5], 0)), 3: 6}
    x = OrderedDict(x)
    assert tree.structure(x).paths() == [
        "['a'][0]", "['a'][1].x", "['a'][1].y", "['b'].w", "['b'].b[<child 0>]", "[3]",
    ]  # fmt: skip
    assert tree.LEAF.paths() == [""]
    path = tree.structure(x).key_paths()[1]
    assert path == (tree.DictKey("a"), tree.SequenceKey(1), tree.GetAttrKey("x"))
    assert (path[0].key, path[1].idx, path[2].name) == ("a", 1, "x")
    assert pickle.loads(pickle.dumps(path)) == path
    doubled = tree.map_with_path(lambda p, v, w: (tree.path_str(p), v + w), [1, (2,)], [3, (4,)])
    assert doubled == [("[0]", 4), (("[1][0]", 6),)]


def test_equal_keys_of_other_types_stay_apart():
    for a, b in ((1, True), (1, 1.0), ((1, "a"), (True, "a"))):
        ta, tb = tree.structure({a: 0}), tree.structure({b: 0})
        assert ta != tb
        for key, td in ((a, ta), (b, tb)):
            (back,) = td.unflatten([0])
            assert repr(back) == repr(key)
    assert tree.structure(Bag([], 1)) != tree.structure(Bag([], True))


def test_structures_stay_equal_after_the_tables_were_emptied():
    first = {n: tree.structure([(0, [0] * n)]) for n in range(3)}
    named = tree.structure(Point(1, {"a": 1}))
    for n in range(9000):
        tree.flatten([None] * (n % 100) + [()] * (n // 100))
        tree.flatten({f"k{n}": 1})
        tree.flatten(Bag([], n))
    for n, td in first.items():
        again = tree.structure([(0, [0] * n)])
        assert again == td and hash(again) == hash(td) and {td: 1}[again] == 1
        assert td != tree.structure([(0, [0] * (n + 1))])
        assert td.flatten_up_to([(0, [0] * n)]) == [0] * (n + 1)
    assert tree.structure(Point(1, {"a": 1})) == named
    assert tree.map(lambda a, b: a + b, Point(1, {"a": 1}), Point(1, {"a": 1})).x == 2


def test_dataclasses():
    x = Frozen(w=(1, 2), act="tanh")
    assert tree.map(lambda v: -v, x) == Frozen(w=(-1, -2), act="tanh")
    assert tree.structure(x) != tree.structure(Frozen(w=(1, 2)))
    assert tree.leaves(Derived(1)) == [1]
    assert tree.map(lambda v: v + 1, Derived(1)).double == (2, 2)
    own = tree.map(lambda v: v * 10, OwnInit(1))
    assert (own.w, own.b) == (10, -10)
    assert tree.map(lambda v: v * 10, WithInitVar(1, 2)).w == (10, 20)
    half = OwnInit(1)
    del half.b
    with pytest.raises(TreeError, match=r"a field of the dataclass OwnInit is not set.*'b'"):
        tree.flatten(half)
    with pytest.raises(TreeError, match=r"static data of a Frozen cannot be hashed.*\['no'\]"):
        tree.flatten(Frozen(w=1, act=["no"]))


def test_register_dataclass():
    @dataclasses.dataclass
    class Model:
        w: object
        name: str = "m"
        count: int = dataclasses.field(default=0, init=False)

    for args, text in [
        ((["w"],), "'name' of Model is in neither"),
        ((["w", "z"], ["name"]), "Model has no field 'z'"),
        ((["w"], ["w", "name"]), "'w' of Model is named twice"),
        ((["w", "count"], ["name"]), "'count' of Model has init=False"),
    ]:
        with pytest.raises(ValueError, match=text):
            tree.register_dataclass(Model, *args)
    assert tree.leaves(Model(1)) == [1, "m"]
    assert tree.register_dataclass(Model, meta_fields=["name"]) is Model
    assert tree.leaves(Model(1)) == [1]
    assert tree.map(lambda v: v + 1, Model(1, "k")) == Model(2, "k")
    with pytest.raises(ValueError, match="registered as a pytree node already"):
        tree.register_dataclass(Model)
    with pytest.raises(TypeError, match="needs a dataclass"):
        tree.register_dataclass(int)


def test_register_node():
    class Odd:
        pass

    assert tree.structure(Odd()) is tree.LEAF
    tree.register_node(Odd, lambda o: o.made, lambda aux, kids: (aux, kids))
    odd = Odd()
    odd.made = ([1, 2], "aux")
    leaves, td = tree.flatten(odd)
    assert leaves == [1, 2] and td.unflatten([3, 4]) == ("aux", (3, 4))
    for bad in (5, (1,), (1, 2), [(), 1, 2]):
        odd.made = bad
        with pytest.raises(TreeError, match=r"flatten function of Odd returned"):
            tree.flatten(odd)
    odd.made = ((), [])
    with pytest.raises(TreeError, match="cannot be hashed"):
        tree.flatten(odd)
    for cls, text in ((Bag, "already"), (list, "by itself"), (np.ndarray, "always a leaf")):
        with pytest.raises(ValueError, match=text):
            tree.register_node(cls, None, None)
    with pytest.raises(TypeError, match="needs a class"):
        tree.register_node(5, None, None)


def message(call, *args, **kwargs):
    with pytest.raises(TreeError) as info:
        call(*args, **kwargs)
    assert f"at {__file__}" in str(info.value) or "test_tree.py:" in str(info.value)
    return str(info.value)


def test_map_names_where_trees_differ():
    add = lambda a, b: 0
    text = message(tree.map, add, {"a": [1, (2, 3)]}, {"a": [1, [2, 3]]})
    assert "tree 2 of 2 and tree 1 differ at ['a'][1]:" in text
    assert "tree 2 of 2 has a list of 2 entries, tree 1 a tuple of 2 entries" in text
    assert "tree 1 is {'a': [*, (*, *)]}" in text
    text = message(tree.map, add, {"a": 1, "b": 2}, {"a": 1, "c": 2})
    assert "differ at the root" in text and "(keys missing 'b'; extra 'c')" in text
    text = message(tree.map, lambda *a: 0, [Point(1, ())], [Point(1, ())], [Point(1, 2.0)])
    assert "tree 3 of 3 and tree 1 differ at [0].y" in text and "has a leaf (float)" in text
    text = message(tree.map, add, Frozen(w=1), Frozen(w=1, act="tanh"))
    assert "static data ('tanh',) instead of ('relu',)" in text
    assert "in another order" in message(
        tree.map, add, OrderedDict(a=1, b=1), OrderedDict(b=1, a=1)
    )
    assert "another key type" in message(tree.map, add, {1: 0}, {True: 0})
    assert "a list of 1 entry" in message(tree.map, add, [None], [[()]])
    assert tree.map(lambda a, b: b, [1, 2], [(3, 4), None]) == [(3, 4), None]


def test_prefix_flatten():
    args = tree.structure(({"w": 1, "b": [2, 3]}, 4))
    assert args.prefix_flatten((0, None)) == [0, 0, 0, None]
    assert args.prefix_flatten(({"b": 1, "w": None}, 2)) == [1, 1, None, 2]
    assert tree.structure((Frozen(w=(1, 2), act="tanh"),)).prefix_flatten((Frozen(w=0),)) == [0, 0]
    text = message(args.prefix_flatten, (0, 0, 0), "in_axes")
    assert "in_axes and the value differ at the root: in_axes has a tuple of 3 entries" in text
    assert "({'b': [*, *], 'w': *}, *)" in text
    text = message(args.prefix_flatten, ({"w": 0, "b": (0, 1)}, 0), "in_axes")
    assert "differ at [0]['b']: in_axes has a tuple of 2 entries, the value a list" in text
    text = message(args.prefix_flatten, (0, (1, 2)), "in_axes")
    assert "differ at [1]: in_axes has a tuple of 2 entries, the value a leaf" in text
    text = message(args.prefix_flatten, ({"w": 0}, 1), "in_axes")
    assert "differ at [0]" in text and "(keys missing 'b')" in text


def test_other_errors():
    text = message(tree.flatten, [{1: 0, "a": 0}])
    assert "keys of a dict cannot be sorted: 1 (int), 'a' (str)" in text and "OrderedDict" in text
    td = tree.structure([1, (2,)])
    assert "got 1 leaf for a structure with 2 leaves: [*, (*,)]" in message(td.unflatten, [1])
    assert "got 3 leaves" in message(tree.unflatten, td, [1, 2, 3])
    with pytest.raises(TypeError):
        tree.unflatten(None, [1])
    with pytest.raises(TypeError, match=r"structure\(tree\)"):
        tree.TreeDef()
    with pytest.raises(AttributeError):
        td.num_leaves = 3
    with pytest.raises(TypeError):
        tree.transpose(None, None, 1)
    assert "no inner one" in message(tree.transpose, tree.structure([]), None, [])
    text = message(tree.transpose, tree.structure([1, 2]), None, [(1, 2), 3])
    assert "the subtree at [1] and the inner structure differ at the root" in text
    assert isinstance(TreeError("x"), TypeError)


def test_reduce_and_all_leaves():
    assert tree.reduce(lambda a, b: a + b, {"a": [1, 2], "b": 3}) == 6
    assert tree.reduce(lambda a, b: a + b, [], 5) == 5
    with pytest.raises(TypeError):
        tree.reduce(lambda a, b: a + b, [])
    assert not tree.all_leaves([1, None]) and not tree.all_leaves([()])
    assert tree.all_leaves([1, None], is_leaf=lambda v: v is None)


def nest(depth, kind):
    x = 1.0
    for _ in range(depth):
        x = {"k": x} if kind == "dict" else Point(x, None) if kind == "point" else [x]
    return x


@pytest.mark.parametrize("kind", ["list", "dict", "point"])
def test_deep_and_recursive_trees(kind):
    leaves, td = tree.flatten(nest(300, kind))
    assert leaves == [1.0] and td.unflatten([2.0]) is not None
    limit = sys.getrecursionlimit()
    try:
        for n in (limit, 1_000_000):
            sys.setrecursionlimit(n)
            with pytest.raises(RecursionError):
                tree.flatten(nest(100_000, kind))
    finally:
        sys.setrecursionlimit(limit)
    ring = [1]
    ring.append(ring)
    for call in (tree.flatten, tree.LEAF.prefix_flatten, lambda r: tree.map(max, r, r)):
        with pytest.raises((RecursionError, TreeError)):
            call(ring)


def test_threads():
    def work(seed):
        rng = random.Random(seed)
        for _ in range(300):
            n = rng.randrange(50)
            x = [(i, {"a": None, str(n): i}) for i in range(n)]
            ok.append(tree.map(lambda v: v, x) == x)

    ok = []
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(ok) == 1200 and all(ok)
