"""The finite exact algorithm (method 5.2), for every declared program.

    x_k = clip(slope_k u + offset_k, l_k, u_k),      sum_k d_k x_k = R

Either the constraint is slack at lambda = 0, or the price u solves the equation. With one term the equation is
piecewise linear in u and solved by one quotient. With several, each term has its own price u_t(lambda): the
breakpoints of all terms are sorted, the piece is found by halving, and on it one smooth equation in lambda is left.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from zetaplan.solvers import knapsack
from zetaplan.solvers.plan import excess, plan_at
from zetaplan.solvers.weightless import settle
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.solution import Solution, Status

EPSILON = float(np.finfo(np.float64).eps)


def solve_exact(instance: Instance) -> Solution:
    """The optimum to rounding: |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|."""
    derivations = derive(instance.program)
    if len(derivations) > 1:
        return _several_terms(instance, derivations)
    (derivation,), (channel,), scalars = derivations, instance.channels, instance.scalars
    problem = _knapsack(derivation, channel, instance.limit, scalars)
    unpriced = problem.at(derivation.price_at(0.0, scalars))
    if _slack(instance, unpriced):
        return Solution(instance, settle(instance, unpriced), 0.0, Status.SLACK, "exact")
    price = knapsack.solve(problem)
    multiplier = derivation.multiplier_at(price, scalars)
    return Solution(instance, problem.at(price), multiplier, Status.BINDING, "exact")


def _slack(instance: Instance, x: Array) -> bool:
    """Does x leave the coupling constraint satisfied? Summed without error only where rounding could decide."""
    use = float(instance.resource @ x)
    surplus = instance.program.sign * (instance.limit - instance.channels[0].term.usage * use)
    doubt = x.size * EPSILON * (abs(use) + abs(instance.limit))
    return surplus > 0.0 if abs(surplus) > doubt else excess(instance, x) <= 0.0


def _knapsack(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> knapsack.Knapsack:
    """The equation for the price u. A layer without weight is pinned where it spares the resource."""
    _, weight, data, lower, upper = channel
    slope, offset = derivation.affine(channel, scalars)
    if not weight.all():
        weightless = weight == 0.0
        slope, offset = np.where(weightless, 1.0, slope), np.where(weightless, 0.0, offset)
        spared = lower if derivation.uses else upper
        lower, upper = np.where(weightless, spared, lower), np.where(weightless, spared, upper)
    return knapsack.Knapsack(data, slope, offset, lower, upper, limit, last=derivation.uses)


def _several_terms(instance: Instance, derivations: tuple[Derivation, ...]) -> Solution:
    unpriced = plan_at(instance, 0.0)
    if excess(instance, unpriced) <= 0.0:
        return Solution(instance, unpriced, 0.0, Status.SLACK, "exact")
    multiplier = _root(instance, derivations)
    return Solution(instance, plan_at(instance, multiplier), multiplier, Status.BINDING, "exact")


def _root(instance: Instance, derivations: tuple[Derivation, ...]) -> float:
    """The multiplier of a program of several terms: the piece by halving, then its one equation."""
    points = _breakpoints(instance, derivations)
    low, high = 0, points.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(instance, plan_at(instance, points[middle])) > 0.0 else (low, middle)
    ends = float(points[low]), float(points[high])
    if excess(instance, plan_at(instance, ends[1])) == 0.0:
        return ends[1]
    root = brentq(lambda multiplier: excess(instance, plan_at(instance, multiplier)), *ends, xtol=1e-300, rtol=1e-15)
    return float(root)


def _breakpoints(instance: Instance, derivations: tuple[Derivation, ...]) -> Array:
    """Where a layer enters or leaves its box, as multipliers, increasing, from 0 to where every layer is spared."""
    points = [np.zeros(1)]
    with np.errstate(all="ignore"):
        for derivation, channel in zip(derivations, instance.channels, strict=True):
            slope, offset = derivation.line(channel, instance.scalars)
            prices = (np.concatenate((channel.lower, channel.upper)) - np.tile(offset, 2)) / np.tile(slope, 2)
            points.append(derivation.multiplier_of(0.0, prices, 0.0, 0.0, *instance.scalars))
    values = np.concatenate(points)
    return np.unique(values[np.isfinite(values) & (values >= 0.0)])
