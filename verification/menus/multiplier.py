"""The multipliers at which the dual bound of a choice is largest, without a solver.

D is concave and piecewise linear; a subgradient at lambda is what the least options spend beyond the budget. Any
multiplier proves a bound, so the search may be rough: it is in doubles, and what it finds is then used exactly.
"""

from __future__ import annotations

import numpy as np

from zetaplan.spec.menus.choice import Array, Choice

HALVINGS = 2200  # at most: the range of doubles; sixty or so are needed
ROUNDS = 3  # over several budgets, one after the other


def best_multipliers(instance: Choice, start: Array | None = None) -> Array:
    """(M,) >= 0. start : (M,) multipliers to begin with, and to fall back on."""
    budgets = instance.budgets.size
    given = np.zeros(budgets) if start is None else np.where(np.isfinite(start), np.maximum(start, 0.0), 0.0)
    found = given.copy()
    for _ in range(1 if budgets == 1 else ROUNDS):
        for m in range(budgets):
            found[m] = _one(instance, found, m)
    return max(found, given, key=instance.dual_bound)


def _one(instance: Choice, multipliers: Array, m: int) -> float:
    """The best multiplier of one budget, the others as they are: by halving where the subgradient changes its sign."""
    others = multipliers.copy()
    others[m] = 0.0
    values, costs, budget = instance.priced(others), instance.costs[:, m], float(instance.budgets[m])
    low, high = 0.0, _enough(instance, values, costs)
    if _spent(instance, values, costs, low) <= budget:
        return low
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if _spent(instance, values, costs, middle) > budget else (low, middle)
    return high


def _enough(instance: Choice, values: Array, costs: Array) -> float:
    """A multiplier at which every menu takes one of its cheapest options, or nearly so."""
    dearer = costs - instance.least(costs)[instance.owner]
    rises = dearer[dearer > 0.0]
    spread = float(np.max(values) - np.min(values))
    return min(2.0 * spread / float(rises.min()), 1e300) if rises.size else 0.0


def _spent(instance: Choice, values: Array, costs: Array, multiplier: float) -> float:
    """What the least options cost; of equal ones the cheapest."""
    priced = values + multiplier * costs
    least = priced <= instance.least(priced)[instance.owner]
    return float(instance.least(np.where(least, costs, np.inf)).sum())
