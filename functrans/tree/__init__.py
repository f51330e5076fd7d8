"""Pytrees: nested containers of arrays, taken apart into leaves and a structure."""

from .core import (
    LEAF,
    TreeDef,
    all_leaves,
    flatten,
    flatten_with_path,
    leaves,
    map,
    map_with_path,
    reduce,
    register_dataclass,
    register_node,
    structure,
    transpose,
    unflatten,
)
from .keys import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, path_str

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "LEAF", "SequenceKey", "TreeDef", "all_leaves",
    "flatten", "flatten_with_path", "leaves", "map", "map_with_path", "path_str", "reduce",
    "register_dataclass", "register_node", "structure", "transpose", "unflatten",
]
