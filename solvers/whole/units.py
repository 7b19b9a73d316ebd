"""The separable knapsack problem in whole units, and its bounds at a multiplier (Everett 1963, Fox 1966).

    minimise  sum_k F_k(z_k)    subject to  sum_k c_k z_k <= room,   0 <= z_k <= most_k whole,   F_k convex

At a multiplier t the plan z(t) minimises sum_k F_k(z_k) + t c_k z_k. If z(t) keeps the room, it is optimal for the room
that it uses. The objective of any plan z exceeds the dual bound by

    sum_k penalty_k(z_k) + t (room - sum_k c_k z_k),     penalty_k = F_k + t c_k z_k above its least value

and every summand is >= 0. If the known plan is `gap` above the dual bound, no layer of a better plan has a penalty
above the gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.instance import Array

Counts = NDArray[np.int64]

ROUNDING = 2.0**-44  # of the largest loss; far above the rounding of a sum of a few losses


@dataclass(frozen=True, eq=False)
class Units:
    """The problem: K groups of layers, each with a whole number of units.

    loss : z (K,) -> F_k(z_k) (K,), convex. costs : whole numbers > 0. room : whole number >= 0.
    most : (K,) largest number of units that the box and the room allow.
    """

    loss: Callable[[Counts], Array]
    costs: tuple[int, ...]
    room: int
    most: Counts

    @property
    def relative_costs(self) -> Array:
        """Costs divided by the largest one; multipliers refer to that cost."""
        top = max(self.costs)
        return np.array([cost / top for cost in self.costs])

    def left(self, z: Counts) -> int:
        """The room minus the use of a plan, in integers; negative if the plan is infeasible."""
        counts: list[int] = z.tolist()
        return self.room - sum(cost * count for cost, count in zip(self.costs, counts, strict=True))

    def gain(self, z: Counts) -> Array:
        """The decrease of the objective by the next unit of each layer; -inf if there is none."""
        with np.errstate(invalid="ignore"):
            gain: Array = self.loss(z) - self.loss(np.minimum(z + 1, self.most))
        return np.where(z < self.most, gain, -np.inf)

    def cheapest(self, multiplier: float, low: Counts, high: Counts) -> Counts:
        """z(t) at a multiplier t, which must lie between low and high."""
        cost = multiplier * self.relative_costs
        return first(lambda z: self.gain(z) <= cost, low, high)


@dataclass(frozen=True, eq=False)
class Window:
    """Bounds on every plan better than the known one: low <= z <= high, (K,) each.

    penalty : z -> (K,), as above. rate : the multiplier t per unit of cost. gap : the known plan above the dual bound.
    """

    low: Counts
    high: Counts
    penalty: Callable[[Counts], Array]
    rate: float
    gap: float

    @property
    def width(self) -> Counts:
        return self.high - self.low

    def table(self) -> Array:
        """The penalties at low, low + 1, ..., high, one row each, (max width + 1, K); the row of high is repeated."""
        return np.array([self.penalty(np.minimum(self.low + j, self.high)) for j in range(int(self.width.max()) + 1)])


def first(holds: Callable[[Counts], NDArray[np.bool_]], low: Counts, high: Counts) -> Counts:
    """The first z in low..high at which a monotone condition holds, `high` if it holds nowhere before."""
    while (open_ := low < high).any():
        middle = low + (high - low) // 2
        yes = holds(middle)
        low, high = np.where(open_ & ~yes, middle + 1, low), np.where(open_ & yes, middle, high)
    return low


def window(units: Units, known: Counts, multiplier: float) -> Window:
    """Bounds on plans better than `known`, valid at any multiplier and tightest at the dual optimum."""
    nothing = np.zeros_like(units.most)
    best = units.cheapest(multiplier, nothing, units.most)
    cost = multiplier * units.relative_costs
    least = units.loss(best) + cost * best

    def penalty(z: Counts) -> Array:
        return np.maximum(units.loss(z) + cost * z - least, 0.0)

    rate = multiplier / max(units.costs)
    gap = float(penalty(known).sum()) + rate * units.left(known)
    gap += ROUNDING * float(np.abs(least).max())
    low = first(lambda z: penalty(z) <= gap, nothing, best)
    high = first(lambda z: penalty(np.minimum(z, units.most)) > gap, best, units.most + 1) - 1
    return Window(np.minimum(low, known), np.maximum(high, known), penalty, rate, gap)
