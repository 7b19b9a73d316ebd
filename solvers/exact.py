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


def solve_exact(instance: Instance) -> Solution:
    """The optimum to rounding: |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|."""
    unpriced = plan_at(instance, 0.0)
    if excess(instance, unpriced) <= 0.0:
        return Solution(instance, settle(instance, unpriced), 0.0, Status.SLACK, "exact")
    derivations = derive(instance.program)
    if len(derivations) > 1:
        multiplier = _root(instance, derivations)
        return Solution(instance, plan_at(instance, multiplier), multiplier, Status.BINDING, "exact")
    (derivation,), (channel,) = derivations, instance.channels
    problem = _knapsack(derivation, channel, instance.limit, instance.scalars)
    price = knapsack.solve(problem)
    multiplier = _multiplier(derivation, price, instance.scalars)
    return Solution(instance, problem.at(price), multiplier, Status.BINDING, "exact")


def _multiplier(derivation: Derivation, price: float, scalars: tuple[float, ...]) -> float:
    return max(float(derivation.multiplier_of(0.0, np.float64(price), 0.0, 0.0, *scalars)), 0.0)


def _knapsack(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> knapsack.Knapsack:
    """The equation for the price u. A layer without weight is pinned where it spares the resource."""
    _, weight, data, lower, upper = channel
    slope, offset = derivation.line(channel, scalars)
    weightless = weight == 0.0
    if weightless.any():
        slope, offset = np.where(weightless, 1.0, slope), np.where(weightless, 0.0, offset)
        spared = lower if derivation.uses else upper
        lower, upper = np.where(weightless, spared, lower), np.where(weightless, spared, upper)
    return knapsack.Knapsack(data, slope, offset, lower, upper, limit, last=derivation.uses)


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
