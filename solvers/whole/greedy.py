"""Unit by unit to the layer that gains most per cost (Fox 1966).

Every prefix of that order is optimal for the room it uses. So the plan is optimal if no unit was too dear before the
room was full: with equal unit costs always (they are 1, and the room is whole). Otherwise later, cheaper units fill
what is left, and the plan is only good.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zetaplan.solvers.whole.units import Counts, Units


class Greedy(NamedTuple):
    """A plan that fits; the gain per cost of the first unit that did not fit, 0 if all did; whether it is optimal."""

    z: Counts
    multiplier: float
    optimal: bool


def fill(units: Units) -> Greedy:
    """The greedy plan, the greater part of it taken as one prefix."""
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
    """A prefix that fits, where one more round (a unit for each layer, but for ties) does not fit as a whole."""
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
