"""Orders and ranks of the items of a table, from what each depends on."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .model import Item

Part = tuple[str | None, list[Item]]        # items under a name, or one without


def topological(before: Sequence[set[int]], keys: Sequence[Any]) -> list[int]:
    """Numbers in an order in which each comes after those before it, else by key; no members of circles."""
    after: dict[int, list[int]] = defaultdict(list)
    for k, found in enumerate(before):
        for p in found:
            after[p].append(k)
    left = [len(b) for b in before]
    ready = [(keys[k], k) for k, n in enumerate(left) if not n]
    heapq.heapify(ready)
    order = []
    while ready:
        k = heapq.heappop(ready)[1]
        order.append(k)
        for j in after[k]:
            left[j] -= 1
            if not left[j]:
                heapq.heappush(ready, (keys[j], j))
    return order


def sorted_items(items: list[Item], preds: dict[Item, set[Item]]) -> list[Item]:
    """Each after what it depends on, as near to their own order as that allows."""
    number = {i: k for k, i in enumerate(items)}
    before = [{number[p] for p in preds.get(i, ()) if p in number} for i in items]
    order = topological(before, [(i.phase, i.order) for i in items])
    return [items[k] for k in order] if len(order) == len(items) else items


def sorted_parts(parts: list[Part], preds: dict[Item, set[Item]]) -> list[Part]:
    """Parts in order of dependence; fewer than given if that goes in circles."""
    number = {i: k for k, (_, inside) in enumerate(parts) for i in inside}
    before = [{number[p] for i in inside for p in preds.get(i, ()) if p in number} - {k}
              for k, (_, inside) in enumerate(parts)]
    return [parts[k] for k in topological(before, range(len(parts)))]


def arrange_parts(order: list[Item], keys: dict[Item, tuple[str, int] | None],
                  preds: dict[Item, set[Item]]) -> list[Part]:
    """Items by key, where that makes no circle; else by runs of equal keys."""
    parts: dict[Any, list[Item]] = {}
    for i in order:
        parts.setdefault(keys[i] or i, []).append(i)
    whole: list[Part] = [(k[0] if isinstance(k, tuple) else None, v) for k, v in parts.items()]
    if len(sorted_parts(whole, preds)) == len(whole):
        return whole
    runs: list[Part] = []
    before: Any = None
    for i in order:
        key = keys[i]
        if key is not None and key == before:
            runs[-1][1].append(i)
        else:
            runs.append((key[0] if key is not None else None, [i]))
        before = key
    return runs


def give_ranks(items: list[Item], preds: dict[Item, set[Item]]) -> None:
    """The longest way from the top; an item with fewer sources than readers is moved down to these."""
    order = sorted_items([i for i in items if not i.side], preds)
    after: dict[Item, list[Item]] = defaultdict(list)
    for i in order:
        for p in preds.get(i, ()):
            after[p].append(i)
    top, last = int(any(i.side == "top" for i in items)), {}
    for phase in sorted({i.phase for i in order}):
        mine = [i for i in order if i.phase == phase]
        for i in mine:
            i.rank = max([top, *[p.rank + 1 for p in preds.get(i, ()) if not p.side]])
        top = last[phase] = max([i.rank for i in mine]) + 1
    for i in reversed(order):
        readers = [j.rank for j in after[i]]
        if readers and len(preds.get(i, ())) <= len(readers):
            i.rank = max(i.rank, min(min(readers), last[i.phase]) - 1)
    for i in items:
        if i.side:
            i.rank = 0 if i.side == "top" else top
    used = {r: k for k, r in enumerate(sorted({i.rank for i in items}))}
    for i in items:
        i.rank = used[i.rank]
