"""Names of what is written: a tag, and the path of a leaf behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors, tree
from ..tree.keys import path_words


def named(what: str, tag: Any) -> str:
    if not isinstance(tag, str) or not tag:
        raise errors.ArgumentError(f"{what}: tag={tag!r}.", "Give the name as a string that is not empty.")
    return tag


def leaves_by_name(what: str, tag: Any, values: Any) -> list[tuple[str, Any]]:
    """Each leaf with its path behind the tag; lists of numbers are arrays."""
    name = named(what, tag)
    if isinstance(values, (list, tuple)) and what == "add_histogram" and all(
            isinstance(x, (bool, int, float, np.generic)) for x in values):
        return [(name, np.array(values))]
    pairs = tree.flatten_with_path(values)[0]
    if not pairs:
        raise errors.ArgumentError(f"{what}: the pytree of {tag!r} has no leaves.", "Pass arrays or numbers.")
    return [("/".join([name, *path_words(path)]), x) for path, x in pairs]
