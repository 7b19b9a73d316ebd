"""Layer by layer through the plans that no other plan beats: dynamic programming over the room used.

A state is (room used, objective so far). Of two states the one that uses no more and has lost no more *dominates*:
whatever completes the other completes it too. So there are never more states than distinct uses,
room / gcd(costs) + 1, and the dual bound discards those that cannot better the known plan. Uses are integers.

Where even these are too many, only the most promising are carried on (a beam). That proves nothing, but finds a
better plan, hence a smaller window, in which the next, wider beam may hold them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.solvers.whole.units import Counts, Units, Window
from zetaplan.spec.instance import Array

CANDIDATES = 1 << 22  # looked at for one layer: some 150 MB at once
HISTORY = 1 << 23  # states kept for all layers together: some 150 MB
BITS = 62  # of a use, with one to spare for a sum


class Search(NamedTuple):
    """The best plan found, and whether no state that could lead to a better one was given up."""

    z: Counts
    complete: bool


class _Stage(NamedTuple):
    """One layer's decision in every surviving state, and the state it came from."""

    layer: int
    parent: NDArray[np.intp]
    bought: NDArray[np.intp]


def solve(units: Units, window: Window, beam: int) -> Search | None:
    """The best plan within the window; None where its table is too large."""
    width = window.width.tolist()
    if max(width) * len(width) > HISTORY:
        return None
    costs, room, rate = _in_64_bits(units, window)
    penalties = window.table()
    used, lost, idle = np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1)
    stages: list[_Stage] = []
    complete, reach = True, sum(map(int.__mul__, costs, width))
    open_layers = np.flatnonzero(window.width).tolist()
    for k in sorted(open_layers, key=costs.__getitem__, reverse=True):  # the small change comes last
        counts = np.arange(width[k] + 1)
        chosen = _promising(lost + idle, min(beam, HISTORY // len(open_layers), max(CANDIDATES // counts.size, 1)))
        complete &= chosen.size == used.size
        uses = np.add.outer(used[chosen], costs[k] * counts).ravel()
        losses = np.add.outer(lost[chosen], penalties[counts, k]).ravel()
        reach -= costs[k] * width[k]
        waste = rate * np.maximum(room - reach - uses, 0)  # room that no later layer can fill
        kept = np.flatnonzero((uses <= room) & (losses + waste <= window.gap))
        kept = kept[_undominated(uses[kept], losses[kept] - rate * uses[kept])]
        used, lost, idle = uses[kept], losses[kept], waste[kept]
        stages.append(_Stage(k, chosen[kept // counts.size], kept % counts.size))
    if not used.size:  # the beam has lost every plan that fits
        return Search(window.low, False)
    z = _trace(window.low, stages, int(np.argmin(lost - rate * used)))
    return Search(z, complete) if units.left(z) >= 0 else Search(window.low, False)


def _in_64_bits(units: Units, window: Window) -> tuple[list[int], int, float]:
    """Costs, the room above the low end of the window, and the rate, in a unit of which 64 bits hold every use.

    A coarser unit rounds costs down, so that no plan that fits is lost; one that does not fit may get in, and is
    recognised by exact arithmetic in the end.
    """
    room = units.left(window.low)
    most = room + sum(map(int.__mul__, units.costs, window.width.tolist()))
    shift = max(most.bit_length() - BITS, 0)
    return [cost >> shift for cost in units.costs], room >> shift, window.rate * 2.0**shift


def _promising(bound: Array, states: int) -> NDArray[np.intp]:
    """All states, or those of the lowest bound where they are too many."""
    return np.arange(bound.size) if bound.size <= states else np.argpartition(bound, states)[:states]


def _undominated(uses: NDArray[np.int64], objective: Array) -> NDArray[np.intp]:
    """The states that lose less than every state that uses no more."""
    order = np.lexsort((objective, uses))
    least = np.minimum.accumulate(objective[order])
    better = np.append(True, least[1:] < least[:-1]) if order.size else np.empty(0, dtype=bool)
    chosen: NDArray[np.intp] = order[better]
    return chosen


def _trace(low: Counts, stages: list[_Stage], state: int) -> Counts:
    """The plan that led to the last stage's state."""
    z = low.copy()
    for stage in reversed(stages):
        z[stage.layer] += stage.bought[state]
        state = int(stage.parent[state])
    return z
