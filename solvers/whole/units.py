"""The separable knapsack in whole units, and what one price says about it (Everett 1963, Fox 1966).

    minimise  sum_k F_k(z_k)    subject to  sum_k c_k z_k <= room,   0 <= z_k <= most_k whole,   F_k convex

At a price t every layer buys the units that are worth it: z(t) minimises sum_k F_k(z_k) + t c_k z_k. If z(t) fits
into the room, it is optimal for the room it uses. Whatever fits, the objective of any plan exceeds the dual bound by

    sum_k penalty_k(z_k) + t (room - sum_k c_k z_k),     penalty_k = F_k + t c_k z_k above its least value

and every summand is >= 0. So a plan better than one known by `gap` can hold no layer whose penalty exceeds the gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.instance import Array

Counts = NDArray[np.int64]

MARGIN = 16.0  # times the rounding of a loss: what penalties are compared with
FILLS = 16  # rounds in which a plan that nothing proves is filled up


@dataclass(frozen=True, eq=False)
class Units:
    """The problem: K groups of layers, each bought in whole units.

    loss : z (K,) -> F_k(z_k) (K,), convex. rounding : z (K,) -> how far these doubles may be from F_k(z_k).
    costs : whole numbers > 0, exact. room : whole number >= 0, exact.
    most : (K,) units that the box and the room allow.
    """

    loss: Callable[[Counts], Array]
    rounding: Callable[[Counts], Array]
    costs: tuple[int, ...]
    room: int
    most: Counts

    @property
    def relative_costs(self) -> Array:
        """Costs as shares of the largest: prices are per that cost, whatever the unit."""
        top = max(self.costs)
        return np.array([cost / top for cost in self.costs])

    def left(self, z: Counts) -> int:
        """The room that a plan leaves, exactly; negative where it does not fit."""
        counts: list[int] = z.tolist()
        return self.room - sum(cost * count for cost, count in zip(self.costs, counts, strict=True))

    def gain(self, z: Counts) -> Array:
        """What the next unit of each layer takes off the objective; -inf where there is none."""
        with np.errstate(invalid="ignore"):
            gain: Array = self.loss(z) - self.loss(np.minimum(z + 1, self.most))
        return np.where(z < self.most, gain, -np.inf)

    def cheapest(self, price: float, low: Counts, high: Counts) -> Counts:
        """z(price), known to lie between low and high."""
        cost = price * self.relative_costs
        return first(lambda z: self.gain(z) <= cost, low, high)


class Window(NamedTuple):
    """What is left to decide once a plan is known: a better one has low <= z <= high, (K,) each.

    gap : by how much the known plan is above the dual bound.
    """

    low: Counts
    high: Counts
    gap: float


def first(holds: Callable[[Counts], NDArray[np.bool_]], low: Counts, high: Counts) -> Counts:
    """The first z in low..high at which a monotone condition holds, `high` where it holds nowhere before."""
    while (open_ := low < high).any():
        middle = low + (high - low) // 2
        yes = holds(middle)
        low, high = np.where(open_ & ~yes, middle + 1, low), np.where(open_ & yes, middle, high)
    return low


def window(units: Units, known: Counts, price: float) -> Window:
    """The counts that a plan better than `known` may hold; any price is valid, the dual one is the sharpest."""
    nothing = np.zeros_like(units.most)
    best = units.cheapest(price, nothing, units.most)
    cost = price * units.relative_costs
    least = units.loss(best) + cost * best

    def penalty(z: Counts) -> Array:
        return np.maximum(units.loss(z) + cost * z - least, 0.0)

    rate = price / max(units.costs)
    gap = float(penalty(known).sum()) + rate * units.left(known)
    near = np.maximum(units.rounding(best), units.rounding(np.minimum(best + 1, units.most)))
    gap += MARGIN * float(near.max())
    low = first(lambda z: penalty(z) <= gap, nothing, best)
    high = first(lambda z: penalty(np.minimum(z, units.most)) > gap, best, units.most + 1) - 1
    return Window(np.minimum(low, known), np.maximum(high, known), gap)


def bracket(units: Units, start: Counts) -> tuple[Counts, Counts]:
    """Counts of at least `start` that fit, and dearer ones that do not; the same where all that gain something fit.

    Both are the cheapest at some price, and one round apart (a unit for each layer), but for ties: the order of gain
    per cost (Fox 1966) passes through both.
    """
    below = start
    low, high = 0.0, 2.0 * max(float(np.max(units.gain(below) / units.relative_costs)), 0.0)
    above = units.cheapest(low, below, units.most)
    if units.left(above) >= 0:
        return above, above
    while (above - below).max() > 1 and low < (middle := 0.5 * (low + high)) < high:
        z = units.cheapest(middle, below, above)
        if units.left(z) >= 0:
            below, high = z, middle
        else:
            above, low = z, middle
    return below, above


def filled(units: Units, z: Counts) -> Counts:
    """A plan that fits with what its room still allows, by gain per cost; without the layers whose unit is too dear."""
    for _ in range(FILLS):
        left = units.left(z)
        fits = np.array([cost <= left for cost in units.costs]) & (units.gain(z) > 0.0)
        if not fits.any():
            break
        rest = replace(units, most=np.where(fits, units.most, z))
        more = bracket(rest, z)[0]
        if (more == z).all():
            more = z.copy()
            more[int(np.argmax(rest.gain(z) / units.relative_costs))] += 1
        z = more
    return z
