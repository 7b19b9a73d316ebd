"""Layers of zero weight at total price 0, where every plan for them is optimal.

If the weightless layers alone can meet a pruning target, lambda = 0. All of them then get the same sparsity, clipped to
their boxes, and the target holds with equality. This is the limit of vanishing weights in proportion to size, so
splitting a layer does not change the plan.
"""

from __future__ import annotations

import numpy as np

from zetaplan.solvers import knapsack
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.summation import exact_dot


def settle(instance: Instance, x: Array) -> Array:
    """The plan at multiplier 0, with the weightless layers at the sparsity that meets the target."""
    derivations = derive(instance.program)
    if len(derivations) > 1 or derivations[0].uses or derivations[0].declared_price_of(*instance.scalars) > 0.0:
        return x
    return _share(instance.channels[0], instance.limit)


def _share(channel: Channel, limit: float) -> Array:
    free = channel.weight == 0.0
    x = channel.lower.copy()
    left = exact_dot(np.append(-channel.unit_cost[~free], 1.0), np.append(x[~free], limit))
    a, lower, upper = channel.unit_cost[free], channel.lower[free], channel.upper[free]
    if left > exact_dot(a, lower):
        problem = knapsack.Knapsack(a, np.ones_like(a), np.zeros_like(a), lower, upper, left, last=False)
        x[free] = problem.at(knapsack.solve(problem))
    return x
