"""What is left to decide once reduced costs have fixed the rest, in whole numbers.

At the multiplier the choice of the relaxation has reduced cost 0 everywhere. An option whose reduced cost is more than
the known choice is above the dual bound is in no better choice: it is struck off. What remains is ordered as in
Pisinger's core (1995): menus whose next option is nearest to the multiplier first, dearer and cheaper ones in turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from zetaplan.solvers.menus.limbs import Limbs, Top, highest, limbs, rounded, width
from zetaplan.solvers.menus.relaxation import Relaxation
from zetaplan.spec.menus.choice import EPSILON, Array, Indices, integers, nearest


@dataclass(frozen=True, eq=False)
class Core:
    """Decisions with several options left, in the order of the sweep; all numbers relative to the relaxation's choice.

    decision : (T,). rows : T arrays of the options left. loss, room : what an option adds to loss and spare budget,
    as limbs, in units of which all are multiples. spare : of the relaxation's choice, in its unit (a whole number).
    better : the known choice's loss (a whole number, <= 0). units : the values of the units, as fractions.
    below, above : (T + 1,) the interval of multipliers at which the menus from t on stay as they are.
    size : (2, T + 1) sums of the largest |loss| and |cost| from t on. roomiest : (P, T + 1) limbs of the most room.
    """

    decision: Indices
    rows: list[Indices]
    loss: list[Limbs]
    room: list[Limbs]
    spare: int
    better: int
    units: tuple[Fraction, Fraction]
    below: Array
    above: Array
    size: Array
    roomiest: Limbs

    @property
    def parts(self) -> tuple[int, int]:
        """How many limbs losses and rooms have."""
        return len(self.loss[0]), len(self.room[0])

    @cached_property
    def tops(self) -> tuple[Top, Top]:
        """The values of the highest limbs' units."""
        return highest(self.units[0], self.parts[0]), highest(self.units[1], self.parts[1])

    def lost(self, units: int) -> float:
        """A loss in units, a whole number, as a double."""
        return float(rounded(limbs([units], self.parts[0]), self.tops[0])[0])


def core(relaxation: Relaxation, known: Indices, bound: float) -> Core | None:
    """The core of a relaxation, given the rows of a known choice and the dual bound; None where nothing is left."""
    instance, base = relaxation.steps.instance, relaxation.rows
    owner, multiplier = instance.owner, nearest(relaxation.multiplier)
    fall, rise = (
        instance.losses - instance.losses[base][owner],
        relaxation.steps.costs - relaxation.steps.costs[base][owner],
    )
    slack = (math.fsum(instance.losses[known].tolist()) - bound) * (1.0 + 4.0 * EPSILON)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large for a double is not struck off
        doubt = 8.0 * EPSILON * (np.abs(fall) + multiplier * np.abs(rise))
        left = ~(fall + multiplier * rise - doubt > slack)
    left[base] = True
    open_ = np.flatnonzero(np.add.reduceat(left, instance.first[:-1], dtype=np.int64) > 1)
    if open_.size == 0:
        return None
    below, above = _intervals(fall, rise, left, instance.first)
    order = open_[_alternating(multiplier - below[open_], above[open_] - multiplier)]
    return _exact(relaxation, known, order, left, (below[order], above[order]), (fall, rise))


def _intervals(fall: Array, rise: Array, left: NDArray[np.bool_], first: Indices) -> tuple[Array, Array]:
    """(G,) the multipliers between which a menu keeps its option: the best rates of dearer and of cheaper options."""
    with np.errstate(all="ignore"):
        rate = -fall / rise
    dearer, cheaper = left & (rise > 0.0), left & (rise < 0.0)
    below = np.maximum.reduceat(np.where(dearer, rate, 0.0), first[:-1])
    above = np.minimum.reduceat(np.where(cheaper, rate, np.inf), first[:-1])
    return np.maximum(below, 0.0), above


def _alternating(down: Array, up: Array) -> Indices:
    """The order by the better of two ranks: nearest below, nearest above, and so on."""
    ranks = [np.argsort(np.argsort(distance, kind="stable"), kind="stable") for distance in (down, up)]
    order: Indices = np.argsort(np.minimum(*ranks), kind="stable")
    return order


def _from_here(values: Array) -> Array:
    """(T + 1,) the sum from every place on."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _exact(
    relaxation: Relaxation,
    known: Indices,
    order: Indices,
    left: NDArray[np.bool_],
    interval: tuple[Array, Array],
    changes: tuple[Array, Array],
) -> Core:
    """The same in whole numbers, divided by what they have in common."""
    instance, base, costs = relaxation.steps.instance, relaxation.rows, relaxation.steps.costs
    fall, rise = changes
    rows = [
        np.flatnonzero(left[a:b]) + a for a, b in zip(instance.first[order], instance.first[order + 1], strict=True)
    ]
    flat = np.concatenate(rows)
    owner = np.repeat(np.arange(order.size), [part.size for part in rows])
    every, loss_bits = integers(np.concatenate((instance.losses[flat], instance.losses[base], instance.losses[known])))
    n, g = flat.size, base.size
    at_base = [every[n + d] for d in order.tolist()]
    loss = [every[i] - at_base[t] for i, t in enumerate(owner.tolist())]
    gained = sum(every[n + g :]) - sum(every[n : n + g])
    spent, cost_bits = integers(np.concatenate((costs[flat], costs[base], instance.budgets)))
    used = [spent[n + d] for d in order.tolist()]
    room = [used[t] - spent[i] for i, t in enumerate(owner.tolist())]
    spare = spent[-1] - sum(spent[n : n + g])
    loss_unit, cost_unit = math.gcd(*loss) or 1, math.gcd(*room) or 1
    cuts = np.cumsum([part.size for part in rows])[:-1]
    parts = [
        width(2 * sum(map(abs, numbers)) // unit + extra)
        for numbers, unit, extra in ((loss, loss_unit, abs(gained)), (room, cost_unit, abs(spare)))
    ]
    loss_limbs = limbs([v // loss_unit for v in loss], parts[0])
    room_limbs = limbs([v // cost_unit for v in room], parts[1])
    largest = [max(room[a:b]) // cost_unit for a, b in pairwise([0, *cuts.tolist(), n])]
    return Core(
        decision=order,
        rows=rows,
        loss=np.split(loss_limbs, cuts, axis=1),
        room=np.split(room_limbs, cuts, axis=1),
        spare=spare // cost_unit,
        better=min(-(-gained // loss_unit), 0),
        units=(Fraction(loss_unit, 1 << loss_bits), Fraction(cost_unit, 1 << cost_bits)),
        below=np.append(np.maximum.accumulate(interval[0][::-1])[::-1], 0.0),
        above=np.append(np.minimum.accumulate(interval[1][::-1])[::-1], np.inf),
        size=np.stack([_from_here(np.maximum.reduceat(np.abs(v[flat]), [0, *cuts.tolist()])) for v in (fall, rise)]),
        roomiest=limbs([*accumulate(reversed(largest), initial=0)][::-1], parts[1]),
    )
