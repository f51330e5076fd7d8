from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar, final

from functrans.tree.keys import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    SequenceKey,
    path_str,
)

_T = TypeVar("_T", bound=type)
_Path = tuple[DictKey | SequenceKey | GetAttrKey | FlattenedIndexKey, ...]
_IsLeaf = Callable[[Any], bool] | None

@final
class TreeDef:
    @property
    def num_leaves(self) -> int: ...
    @property
    def node_type(self) -> type | None: ...
    def unflatten(self, leaves: Iterable[Any]) -> Any: ...
    def children(self) -> list[TreeDef]: ...
    def key_paths(self) -> list[_Path]: ...
    def paths(self) -> list[str]: ...
    def flatten_up_to(self, tree: Any, what: str = ..., reference: str = ...) -> list[Any]: ...
    def prefix_flatten(self, prefix_tree: Any, what: str = ...) -> list[Any]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

LEAF: TreeDef

def flatten(tree: Any, is_leaf: _IsLeaf = None) -> tuple[list[Any], TreeDef]: ...
def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any: ...
def leaves(tree: Any, is_leaf: _IsLeaf = None) -> list[Any]: ...
def structure(tree: Any, is_leaf: _IsLeaf = None) -> TreeDef: ...
def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: _IsLeaf = None) -> Any: ...
def map_with_path(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: _IsLeaf = None) -> Any: ...
def flatten_with_path(
    tree: Any, is_leaf: _IsLeaf = None
) -> tuple[list[tuple[_Path, Any]], TreeDef]: ...
def all_leaves(iterable: Iterable[Any], is_leaf: _IsLeaf = None) -> bool: ...
def reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = ...,
    is_leaf: _IsLeaf = None,
) -> Any: ...
def transpose(outer: TreeDef, inner: TreeDef | None, tree: Any) -> Any: ...
def register_node(
    cls: _T,
    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten: Callable[[Any, tuple[Any, ...]], Any],
) -> _T: ...
def register_dataclass(
    cls: _T, data_fields: Iterable[str] | None = None, meta_fields: Iterable[str] = ()
) -> _T: ...

__all__ = [
    "LEAF",
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "SequenceKey",
    "TreeDef",
    "all_leaves",
    "flatten",
    "flatten_with_path",
    "leaves",
    "map",
    "map_with_path",
    "path_str",
    "reduce",
    "register_dataclass",
    "register_node",
    "structure",
    "transpose",
    "unflatten",
]
