"""The finite exact algorithm (method 5.2): for every declared program whose plan is affine in one price.

    x_k = clip(slope_k u + offset_k, l_k, u_k),      sum_k d_k x_k = R

Either the constraint is slack at lambda = 0, or the price u is the solution of the knapsack equation.
"""

from __future__ import annotations

import numpy as np
from zetaplan.solvers import knapsack
from zetaplan.solvers.weightless import settle
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Channel, Instance
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
    problem = _knapsack(derivation, channel, instance.limit, instance.scalars)
    price = knapsack.solve(problem)
    multiplier = float(derivation.multiplier_of(0.0, np.float64(price), 0.0, 0.0, *instance.scalars))
    return Solution(instance, problem.at(price), max(multiplier, 0.0), Status.BINDING, "exact")


def _knapsack(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> knapsack.Knapsack:
    """The equation for the price u. A layer without weight is pinned where it spares the resource."""
    _, weight, data, lower, upper = channel
    with np.errstate(divide="ignore"):
        slope = np.broadcast_to(derivation.slope_of(0.0, 0.0, weight, data, *scalars), data.shape)
        offset = np.broadcast_to(derivation.offset_of(0.0, 0.0, weight, data, *scalars), data.shape)
    weightless = weight == 0.0
    if weightless.any():
        slope, offset = np.where(weightless, 1.0, slope), np.where(weightless, 0.0, offset)
        spared = lower if derivation.uses else upper
        lower, upper = np.where(weightless, spared, lower), np.where(weightless, spared, upper)
    return knapsack.Knapsack(data, slope, offset, lower, upper, limit, last=derivation.uses)
