"""Dynamic programming over the core: partial choices, bounded by the dual and by each other.

A partial choice is what it has added to the loss and to the spare budget. It is dropped where another one has no less
room and loses no more, where the rest cannot make it fit, or where the dual bound of its completions exceeds

    known loss - 1     (all losses are whole numbers; better means better by one unit at least)

at one of two multipliers: the ends of the interval in which the menus that are left stay as they are. Sums and
comparisons of partial choices are exact; the bound is a double, and drops only what it drops beyond its rounding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from zetaplan.solvers.menus.core import Core
from zetaplan.solvers.menus.limbs import Limbs, add, limbs, negative, rank, rounded, whole
from zetaplan.spec.menus.answer import Leaf, Stage
from zetaplan.spec.menus.choice import EPSILON, Indices

GROWTH = 1.5  # of the number of decisions that share two multipliers in the proof, from stage to stage


@dataclass(frozen=True)
class Limits:
    """Where a search gives up: the moment (of time.monotonic), the partial choices, and a loss that is good enough."""

    deadline: float = np.inf
    states: int = 10_000_000
    enough: float = -np.inf

    def reached(self, states: int) -> bool:
        return states >= self.states or time.monotonic() > self.deadline


@dataclass(frozen=True, eq=False)
class Swept:
    """The rows (of core decisions) of the best choice found, None where the known one is; whether that is proved."""

    rows: Indices | None
    proved: bool
    states: int


@dataclass(frozen=True, eq=False)
class _States:
    """Partial choices: loss and room as limbs, and for each where it came from: (state before, row)."""

    loss: Limbs
    room: Limbs
    parent: Indices
    row: Indices

    def at(self, keep: NDArray[np.bool_] | Indices) -> _States:
        return _States(self.loss[:, keep], self.room[:, keep], self.parent[keep], self.row[keep])


def sweep(core: Core, limits: Limits) -> Swept:
    """The best choice of the core."""
    loss_width, room_width = core.parts
    states = _States(
        limbs([0], loss_width), limbs([core.spare], room_width), np.zeros(1, np.intp), np.zeros(1, np.intp)
    )
    best, found, kept = core.better, None, 0
    trail: list[tuple[Indices, Indices]] = []
    for t in range(core.decision.size):
        if limits.reached(states.parent.size * core.rows[t].size):
            return Swept(_traced(core, trail, found), False, kept)
        states = _extended(core, states, t)
        fits = np.flatnonzero(~negative(states.room))
        if fits.size:
            place = int(fits[np.argmin(rank(states.loss[:, fits]))])
            if whole(states.loss, place) < best:
                best, found = whole(states.loss, place), (t, int(states.parent[place]), int(states.row[place]))
        states = states.at(_hopeful(core, states, t + 1, best))
        states = states.at(_undominated(states))
        trail.append((states.parent, states.row))
        kept += states.parent.size
        if states.parent.size == 0:
            break
        if core.lost(best) <= limits.enough or limits.reached(kept):
            return Swept(_traced(core, trail, found), False, kept)
    return Swept(_traced(core, trail, found), True, kept)


def stages(core: Core) -> Leaf:
    """The order of the core, cut into stages that share their multipliers."""
    found, start, length = [], 0, 1.0
    while start < core.decision.size:
        end = min(start + int(length), core.decision.size)
        ends = (core.below[(start + end) // 2], core.above[(start + end) // 2])
        multipliers = tuple((Fraction(float(m)),) for m in ends if m < np.inf)
        found.append(Stage(multipliers, tuple(core.decision[start:end].tolist())))
        start, length = end, length * GROWTH
    return tuple(found)


def _extended(core: Core, states: _States, t: int) -> _States:
    """Every partial choice with every option of the next decision."""
    options = core.rows[t].size
    parents = np.repeat(np.arange(states.parent.size), options)
    loss, room = add(states.loss, core.loss[t]), add(states.room, core.room[t])
    return _States(
        loss.reshape(len(loss), -1), room.reshape(len(room), -1), parents, np.tile(core.rows[t], states.parent.size)
    )


def _hopeful(core: Core, states: _States, t: int, best: int) -> NDArray[np.bool_]:
    """Those that could become better than the best choice known, once the decisions from t on are made."""
    loss, room = rounded(states.loss, core.tops[0]), rounded(states.room, core.tops[1])
    goal = core.lost(best - 1)
    keep: NDArray[np.bool_] = ~negative(_plus(states.room, core.roomiest[:, t : t + 1]))
    for multiplier in (float(core.below[t]), float(core.above[t])):
        if multiplier < np.inf:
            with np.errstate(over="ignore", invalid="ignore"):  # what is too large for a double is kept
                doubt = abs(goal) + np.abs(loss) + core.size[0, t] + multiplier * (np.abs(room) + core.size[1, t])
                keep &= ~(loss - multiplier * room > goal + 8.0 * EPSILON * doubt)
    return keep


def _plus(a: Limbs, b: Limbs) -> Limbs:
    return add(a, b)[:, :, 0]


def _undominated(states: _States) -> Indices:
    """The places of those that lose less than all with as much room or more, in the order of falling room."""
    room, loss = rank(states.room), rank(states.loss)
    order = np.lexsort((loss, -room))
    loss = loss[order]
    keep = np.ones(order.size, dtype=np.bool_)
    keep[1:] = loss[1:] < np.minimum.accumulate(loss)[:-1]
    return order[keep]


def _traced(core: Core, trail: list[tuple[Indices, Indices]], found: tuple[int, int, int] | None) -> Indices | None:
    """The rows that a partial choice took, one for each decision up to it; the rest stay at the relaxation's rows."""
    if found is None:
        return None
    t, parent, row = found
    rows = [row]
    for before in range(t - 1, -1, -1):
        parents, taken = trail[before]
        rows.append(int(taken[parent]))
        parent = int(parents[parent])
    return np.array(rows[::-1])
