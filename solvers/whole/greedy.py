"""Greedy method: units are taken in the order of their gain per cost (Fox 1966).

Every prefix of this order is optimal for the room it uses. The plan is optimal if every unit fitted until the room was
full, which always holds at equal costs. Otherwise later units of smaller cost fill the remaining room, and the plan
need not be optimal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zetaplan.solvers.whole.units import Counts, Units


class Greedy(NamedTuple):
    """A feasible plan. optimal : whether it is proved so. multiplier : gain per cost of the first unit that
    did not fit, 0 if all did.
    """

    z: Counts
    multiplier: float
    optimal: bool


def fill(units: Units) -> Greedy:
    """The greedy plan; most of it is found at once as a prefix."""
    z = _prefix(units)
    left = units.left(z)
    multiplier, left_at_first = 0.0, 0
    taken = True
    while taken:
        taken = False
        ratio = units.gain(z) / units.relative_costs
        for k in np.argsort(-ratio, kind="stable").tolist():
            if ratio[k] <= 0.0:
                break
            if units.costs[k] <= left:
                z[k] += 1
                left -= units.costs[k]
                taken = True
            elif multiplier == 0.0:
                multiplier, left_at_first = float(ratio[k]), left
    return Greedy(z, multiplier, left_at_first == 0)


def _prefix(units: Units) -> Counts:
    """A feasible prefix to which one more round (up to ties, one unit per layer) cannot be added."""
    below = np.zeros_like(units.most)
    low, high = 0.0, 2.0 * float(np.max(units.gain(below) / units.relative_costs))
    above = units.cheapest(low, below, units.most)
    if units.left(above) >= 0:
        return above.copy()
    while (above - below).max() > 1 and low < (middle := 0.5 * (low + high)) < high:
        z = units.cheapest(middle, below, above)
        if units.left(z) >= 0:
            below, high = z, middle
        else:
            above, low = z, middle
    return below.copy()
