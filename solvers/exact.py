"""The finite exact algorithm (method 5.2), for every declared program.

    x_k = clip(slope_k u + offset_k, l_k, u_k),      sum_k d_k x_k = R

Either the constraint is slack at lambda = 0, or the price u solves the equation. With one term the equation is
piecewise linear in u and solved by one quotient. With several, each term has its own price u_t(lambda): the
breakpoints of all terms are sorted, the piece is found by halving, and on it one smooth equation in lambda is left.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from zetaplan.solvers import knapsack
from zetaplan.solvers.knapsack import Knapsack
from zetaplan.solvers.weightless import settle
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import EPSILON, Array, Channel, Instance
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess, plan_at

LARGE = 2**16  # layers; up to here a sort is quicker than starting the compiled loops


@np.errstate(all="ignore")  # an infinite price is an answer, and a layer without weight has an infinite slope
def solve_exact(instance: Instance, near: float | None = None) -> Solution:
    """The optimum to rounding: |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|.

    near : a multiplier near the optimum's, where one is known: Newton's method starts there and needs no sort. It
    decides how long the solver takes, not what it finds. Not used for many layers, nor for several terms.
    """
    derivations = derive(instance.program)
    if len(derivations) > 1:
        return _several_terms(instance, derivations)
    (derivation,), (channel,), scalars = derivations, instance.channels, instance.scalars
    if instance.quality.size > LARGE:
        problem, solve = _layers(derivation, channel, instance.limit, scalars)
    else:
        start = None if near is None else derivation.price_at(near, scalars)
        problem, solve = _knapsack(derivation, channel, instance.limit, scalars), partial(knapsack.solve, start=start)
    unpriced = derivation.price_at(0.0, scalars)
    if _slack(instance, problem, unpriced):
        return Solution(instance, settle(instance, problem.at(unpriced)), 0.0, Status.SLACK, "exact")
    price = solve(problem)
    return Solution(instance, problem.at(price), derivation.multiplier_at(price, scalars), Status.BINDING, "exact")


def _slack(instance: Instance, problem: Any, u: float) -> bool:
    """Is the coupling constraint satisfied at price u? Summed without error only where rounding could decide."""
    use = problem.use(u)
    surplus = instance.program.sign * (instance.limit - instance.channels[0].term.usage * use)
    if math.isinf(use) or abs(surplus) > instance.quality.size * EPSILON * (abs(use) + abs(instance.limit)):
        return bool(surplus > 0.0)
    return excess(instance, problem.at(u)) <= 0.0


def _knapsack(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> Knapsack:
    """The equation for the price u."""
    slope, offset = derivation.affine(channel, scalars)
    lower, upper = channel.lower, channel.upper
    if not channel.weight.all():
        weightless = channel.weight == 0.0
        slope, offset = np.where(weightless, 1.0, slope), np.where(weightless, 0.0, offset)
        lower, upper = _pinned(derivation, channel)
    return Knapsack(channel.data, slope, offset, lower, upper, limit, last=derivation.uses)


def _pinned(derivation: Derivation, channel: Channel) -> tuple[Array, Array]:
    """The box; a layer without weight stands where it spares the resource, at every price."""
    spared = channel.lower if derivation.uses else channel.upper
    weightless = channel.weight == 0.0
    return np.where(weightless, spared, channel.lower), np.where(weightless, spared, channel.upper)


def _layers(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> Any:
    """The same equation for many layers, and its solver."""
    from zetaplan.solvers import bracketing  # compiled when first needed

    def piece(rows: bracketing.Index) -> bracketing.Piece:
        some = Channel(channel.term, *(column[rows] for column in channel[1:]))
        scale, numerator, denominator, offset = derivation.quotient(some, scalars)
        lower, upper = some.lower, some.upper
        if some.weight.min() == 0.0:
            weightless = some.weight == 0.0
            numerator, denominator = np.where(weightless, 1.0, numerator), np.where(weightless, 1.0, denominator)
            lower, upper = _pinned(derivation, some)
        return bracketing.Piece(some.data, numerator, denominator, scale, offset, lower, upper)

    return bracketing.Layers(piece, channel.data.size, limit, derivation.uses), bracketing.solve


def _several_terms(instance: Instance, derivations: tuple[Derivation, ...]) -> Solution:
    unpriced = plan_at(instance, 0.0)
    if excess(instance, unpriced) <= 0.0:
        return Solution(instance, unpriced, 0.0, Status.SLACK, "exact")
    multiplier = _root(instance, derivations)
    return Solution(instance, plan_at(instance, multiplier), multiplier, Status.BINDING, "exact")


def _root(instance: Instance, derivations: tuple[Derivation, ...]) -> float:
    """The multiplier of a program of several terms: the piece by halving, then its one equation."""
    from scipy.optimize import brentq  # slow to import, and only needed here

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
