"""Dynamic programming over the room used, layer by layer, with dominated states removed.

A state is (room used, objective so far); uses are integers. A state dominates another if its use and its objective are
both at most as large, because every completion of the other also completes it. The number of states is at most the
number of distinct uses, room / gcd(costs) + 1. The dual bound removes states that cannot improve on the known plan.

If there are still too many states, only those with the lowest bounds are kept (a beam). A beam search proves nothing,
but a better plan gives a smaller window, in which the next, wider beam may be complete.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.solvers.whole.units import Counts, Units, Window
from zetaplan.spec.instance import Array

CANDIDATES = 1 << 22  # per layer; about 150 MB
HISTORY = 1 << 23  # states of all layers; about 150 MB
BITS = 62  # of a use; one bit less than int64 has, for a sum


class Search(NamedTuple):
    """The best plan found. complete : whether no state that could lead to a better plan was dropped."""

    z: Counts
    complete: bool


class _Stage(NamedTuple):
    """The decision of one layer in every kept state, and the parent of the state."""

    layer: int
    parent: NDArray[np.intp]
    bought: NDArray[np.intp]


def solve(units: Units, window: Window, beam: int) -> Search | None:
    """The best plan within the window; None if its table is too large."""
    width = window.width.tolist()
    if max(width) * len(width) > HISTORY:
        return None
    costs, room, rate = _in_64_bits(units, window)
    penalties = window.table()
    used, lost, idle = np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1)
    stages: list[_Stage] = []
    complete, reach = True, sum(map(int.__mul__, costs, width))
    open_layers = np.flatnonzero(window.width).tolist()
    for k in sorted(open_layers, key=costs.__getitem__, reverse=True):  # low costs last
        counts = np.arange(width[k] + 1)
        chosen = _promising(lost + idle, min(beam, HISTORY // len(open_layers), max(CANDIDATES // counts.size, 1)))
        complete &= chosen.size == used.size
        uses = np.add.outer(used[chosen], costs[k] * counts).ravel()
        losses = np.add.outer(lost[chosen], penalties[counts, k]).ravel()
        reach -= costs[k] * width[k]
        waste = rate * np.maximum(room - reach - uses, 0)  # room that no later layer can use
        kept = np.flatnonzero((uses <= room) & (losses + waste <= window.gap))
        kept = kept[_undominated(uses[kept], losses[kept] - rate * uses[kept])]
        used, lost, idle = uses[kept], losses[kept], waste[kept]
        stages.append(_Stage(k, chosen[kept // counts.size], kept % counts.size))
    if not used.size:  # the beam dropped every feasible plan
        return Search(window.low, False)
    z = _trace(window.low, stages, int(np.argmin(lost - rate * used)))
    return Search(z, complete) if units.left(z) >= 0 else Search(window.low, False)


def _in_64_bits(units: Units, window: Window) -> tuple[list[int], int, float]:
    """Costs, room above the low end of the window, and rate, in a unit in which every use fits 64 bits.

    A coarser unit rounds costs down, so no feasible plan is lost. An infeasible plan may be found; integers of
    unlimited size detect it at the end.
    """
    room = units.left(window.low)
    most = room + sum(map(int.__mul__, units.costs, window.width.tolist()))
    shift = max(most.bit_length() - BITS, 0)
    return [cost >> shift for cost in units.costs], room >> shift, window.rate * 2.0**shift


def _promising(bound: Array, states: int) -> NDArray[np.intp]:
    """All states, or those with the lowest bounds if there are too many."""
    return np.arange(bound.size) if bound.size <= states else np.argpartition(bound, states)[:states]


def _undominated(uses: NDArray[np.int64], objective: Array) -> NDArray[np.intp]:
    """The states with a lower objective than every state of at most the same use."""
    order = np.lexsort((objective, uses))
    least = np.minimum.accumulate(objective[order])
    better = np.append(True, least[1:] < least[:-1]) if order.size else np.empty(0, dtype=bool)
    chosen: NDArray[np.intp] = order[better]
    return chosen


def _trace(low: Counts, stages: list[_Stage], state: int) -> Counts:
    """The plan of a state of the last stage."""
    z = low.copy()
    for stage in reversed(stages):
        z[stage.layer] += stage.bought[state]
        state = int(stage.parent[state])
    return z
