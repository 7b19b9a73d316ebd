"""The finite exact algorithm (method 5.2): for every declared program whose plan is affine in one price.

    x_k = clip(slope_k u + offset_k, l_k, u_k),      sum_k d_k x_k = R

Either the constraint is slack at lambda = 0, or the price u is the solution of the knapsack equation.
"""

from __future__ import annotations

import numpy as np
from zetaplan.solvers import knapsack
from zetaplan.solvers.weightless import settle
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.summation import exact_dot

from zetaplan.errors import SolverError


def solve_exact(instance: Instance) -> Solution:
    """The optimum to rounding: |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|."""
    derivations = derive(instance.program)
    if len(derivations) != 1:
        raise SolverError(f"{instance.program.name} has {len(derivations)} terms; use method='bisection'")
    (derivation,), (channel,) = derivations, instance.channels
    unpriced = derivation.stationary(0.0, channel, instance.scalars)
    use = exact_dot(channel.data, unpriced) if np.isfinite(unpriced).all() else np.inf
    if instance.program.sign * (use - instance.limit) <= 0.0:
        return Solution(instance, settle(instance, unpriced), 0.0, Status.SLACK, "exact")
    x, price = _binding(derivation, channel, instance.limit, instance.scalars)
    multiplier = float(derivation.multiplier_of(0.0, np.float64(price), 0.0, 0.0, *instance.scalars))
    return Solution(instance, x, max(multiplier, 0.0), Status.BINDING, "exact")


def _binding(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> tuple[Array, float]:
    """The plan that uses exactly the limit, and its price u. Layers without weight spare the resource."""
    weighted = channel.weight > 0.0
    x = np.where(weighted, 0.0, channel.lower if derivation.uses else channel.upper)
    weight, a = channel.weight[weighted], channel.data[weighted]
    slope = np.broadcast_to(derivation.slope_of(0.0, 0.0, weight, a, *scalars), a.shape)
    offset = np.broadcast_to(derivation.offset_of(0.0, 0.0, weight, a, *scalars), a.shape)
    left = exact_dot(np.append(-channel.data, 1.0), np.append(x, limit))
    problem = knapsack.Knapsack(
        a, slope, offset, channel.lower[weighted], channel.upper[weighted], left, derivation.uses
    )
    price = knapsack.solve(problem)
    x[weighted] = problem.at(price)
    return x, price
