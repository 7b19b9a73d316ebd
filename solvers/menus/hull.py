"""The lower hull of every menu, in one loop over the options, which `compiled` compiles for long menus."""

from __future__ import annotations

from typing import Any


def hulls(losses: Any, costs: Any, first: Any, rows: Any, ends: Any) -> int:
    """The vertices of every menu's lower left hull, in the order of their costs: rows[ends[g - 1] : ends[g]].

    Losses fall strictly from vertex to vertex, and so do the rates (loss per cost) of the steps between them. rows
    has room for every option; the number of vertices is returned.
    """
    size = 0
    for g in range(first.size - 1):
        start = size
        for place in costs[first[g] : first[g + 1]].argsort(kind="mergesort"):
            p = first[g] + place
            if size > start and costs[rows[size - 1]] == costs[p] and losses[p] < losses[rows[size - 1]]:
                size -= 1
            if size > start and losses[p] >= losses[rows[size - 1]]:
                continue
            while size > start + 1:
                a, b = rows[size - 2], rows[size - 1]
                if (losses[a] - losses[b]) / (costs[b] - costs[a]) > (losses[b] - losses[p]) / (costs[p] - costs[b]):
                    break
                size -= 1
            rows[size] = p
            size += 1
        ends[g] = size
    return size
