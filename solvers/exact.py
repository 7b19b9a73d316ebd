"""The exact method (method 5.2), for every declared program: finite and right to rounding.

    x_k = clip(slope_k u + offset_k, l_k, u_k),      sum_k d_k x_k = R

Either the constraint is slack at lambda = 0, or the level u solves the equation. With one term the equation is
piecewise linear in u and one quotient solves it. With several terms each has its own level u_t(lambda) and
no quotient gives lambda, so bisection on the doubles finds lambda to the last bit. Bisection is also used if powers of
the data leave the range of doubles (m^p with p near 1).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from zetaplan.solvers import knapsack
from zetaplan.solvers.bisection import solve_bisection
from zetaplan.solvers.knapsack import Knapsack
from zetaplan.solvers.weightless import settle
from zetaplan.spec.checks import MANY
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.given import constant
from zetaplan.spec.instance import EPSILON, Array, Channel, Instance
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess

TAME = 1e70
LARGE = MANY  # layers; below it a sort is faster than the compiled loops
SMALL = 2**12  # layers; each pass over them may fix only one

#: The module of the compiled loops, which a batch loads.
LOOPS = "zetaplan.solvers.compiled_rows"


@np.errstate(all="ignore")  # the level may be infinite, and so is the slope of a layer without weight
def solve_exact(instance: Instance, near: float | None = None) -> Solution:
    """The optimum to rounding: |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|.

    near : start of Newton's method, a multiplier near the optimal one; saves the sort. It changes the time, not the
    result. Ignored for more than 65,536 layers and for several terms.
    """
    derivations, scalars = derive(instance.program), instance.scalars
    if len(derivations) > 1 or not tame(derivations[0], instance.channels[0], scalars):
        return replace(solve_bisection(instance), method="exact")
    (derivation,), (channel,) = derivations, instance.channels
    if instance.quality.size > LARGE:
        problem, solve = _layers(derivation, channel, instance.limit, scalars)
    else:
        start = None if near is None else derivation.level_at(near, scalars)
        problem, solve = equation(instance), partial(knapsack.solve, start=start)
    at_zero = derivation.level_at(0.0, scalars)
    slack, level, x = _row(instance, problem, at_zero) or _searched(instance, problem, solve, at_zero)
    if slack:
        return Solution(instance, settle(instance, x), 0.0, Status.SLACK, "exact")
    return Solution(instance, x, derivation.multiplier_at(level, scalars), Status.BINDING, "exact")


def _row(instance: Instance, problem: Any, at_zero: float) -> tuple[bool, float, Array] | None:
    """(slack, level, plan) by the compiled loop of a batch; None if rounding could change the result.

    Loading the loop takes as long as thousands of solutions, so that only a process that has it takes it.
    """
    compiled_rows = sys.modules.get(LOOPS)
    if compiled_rows is None or not isinstance(problem, Knapsack) or problem.a.size > SMALL:
        return None
    x, moving, constant = np.empty_like(problem.a), np.empty_like(problem.a), np.empty_like(problem.a)
    level, slack, certain = compiled_rows.row(*problem[:6], at_zero, instance.program.sign, x, moving, constant)
    return (slack, level, x) if certain else None


def _searched(
    instance: Instance, problem: Any, solve: Callable[[Any], float], at_zero: float
) -> tuple[bool, float, Array]:
    """(slack, level, plan), summed without error where rounding could change them."""
    if _slack(instance, problem, at_zero):
        return True, at_zero, problem.at(at_zero)
    level = solve(problem)
    return False, level, plan(instance, problem, level)


def plan(instance: Instance, problem: Any, level: float) -> Array:
    """x(u) at the level that solves the equation.

    slope u + offset is rounded in proportion to both terms. If that error is visible next to a small limit, x is
    refined.
    """
    x: Array
    x, use = problem.plan(level)
    met = abs(use - instance.limit) <= knapsack.MISSED * abs(instance.limit)
    return x if met else knapsack.refined(equation(instance), level)


def tame(derivation: Derivation, channel: Channel, scalars: tuple[float, ...]) -> bool:
    """Whether all slopes are in the range of doubles, with a margin for sums; w^(1 / (1 - p)) may leave it."""
    if not derivation.has_powers:
        return True
    weight, unit_cost = channel.weight[channel.weight > 0.0], channel.unit_cost
    ends = np.array([[weight.min()], [weight.max()]]), np.array([unit_cost.min(), unit_cost.max()])
    with np.errstate(all="ignore"):
        slopes = derivation.slope_of(0.0, 0.0, *ends, *scalars)  # monotone in both, so its extremes are at the ends
    return bool(((slopes > 1.0 / TAME) & (slopes < TAME)).all())


def _slack(instance: Instance, problem: Any, u: float) -> bool:
    """Whether the coupling constraint is satisfied at level u; summed without error if rounding could decide."""
    if problem.binds(u):
        return False
    use = problem.use(u)
    surplus = instance.program.sign * (instance.limit - instance.channels[0].term.usage * use)
    if math.isinf(use) or abs(surplus) > instance.quality.size * EPSILON * (abs(use) + abs(instance.limit)):
        return bool(surplus > 0.0)
    return excess(instance, problem.at(u)) <= 0.0


def equation(instance: Instance) -> Knapsack:
    """The equation for the level u of a program of one term."""
    (derivation,), (channel,) = derive(instance.program), instance.channels
    columns = pieces(derivation, channel, instance.scalars)
    return Knapsack(channel.unit_cost, *columns, instance.limit, last=derivation.uses)


def pieces(derivation: Derivation, channel: Channel, scalars: tuple[float, ...]) -> tuple[Array, Array, Array, Array]:
    """(slope, offset, lower, upper), of the channel's shape; a layer without weight is fixed at one of its bounds."""
    slope, offset = derivation.line(channel, scalars)
    if np.count_nonzero(channel.weight) == channel.weight.size:
        return slope, offset, channel.lower, channel.upper
    weightless = channel.weight == 0.0
    return np.where(weightless, 1.0, slope), np.where(weightless, 0.0, offset), *_pinned(derivation, channel)


def _pinned(derivation: Derivation, channel: Channel) -> tuple[Array, Array]:
    """The box, with a layer without weight fixed at the bound that uses least of the limit."""
    spared = channel.lower if derivation.uses else channel.upper
    weightless = channel.weight == 0.0
    return np.where(weightless, spared, channel.lower), np.where(weightless, spared, channel.upper)


def _some(column: Array, rows: Any) -> Array:
    """The selected layers of a column; one number for all layers is not read from memory again."""
    some = column[rows]
    return constant(float(some[0]), some.size) if some.strides == (0,) else some


def _layers(derivation: Derivation, channel: Channel, limit: float, scalars: tuple[float, ...]) -> Any:
    """The equation for many layers, and its solver."""
    from zetaplan.solvers import bracketing  # compiled on first use

    def piece(rows: bracketing.Index) -> bracketing.Piece:
        some = Channel(channel.term, *(_some(column, rows) for column in channel[1:]))
        scale, numerator, denominator, offset = derivation.quotient(some, scalars)
        lower, upper = some.lower, some.upper
        if some.weight.min() == 0.0:
            weightless = some.weight == 0.0
            numerator, denominator = np.where(weightless, 1.0, numerator), np.where(weightless, 1.0, denominator)
            lower, upper = _pinned(derivation, some)
        return bracketing.Piece(some.unit_cost, numerator, denominator, scale, offset, lower, upper)

    return bracketing.Layers(piece, channel.unit_cost.size, limit, derivation.uses), bracketing.solve
