"""Algorithms 1 and 2 of the paper, generic over every declared program: bisection on the multiplier.

The use of the resource, sum_k r(x_k(lambda)), is monotone in lambda, so the multiplier of a binding
constraint is bracketed by doubling and then halved down to rounding: O(K log 1/eps).
"""

from __future__ import annotations

import math

import numpy as np
from zetaplan.solvers.weightless import settle
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.summation import exact_dot

LARGEST = math.ldexp(1.0, 1000)
SMALLEST = math.ldexp(1.0, -1000)


def solve_bisection(instance: Instance, *, tolerance: float = 2.0**-52) -> Solution:
    """The optimum by bisection on lambda, until the bracket is `tolerance` wide, relative to the multiplier."""
    x = plan_at(instance, 0.0)
    if excess(instance, x) <= 0.0:
        return Solution(instance, settle(instance, x), 0.0, Status.SLACK, "bisection")
    low, high = _bracket(instance)
    while high - low > tolerance * high:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if excess(instance, plan_at(instance, middle)) > 0.0:
            low = middle
        else:
            high = middle
    return Solution(instance, plan_at(instance, high), high, Status.BINDING, "bisection")


def plan_at(instance: Instance, multiplier: float) -> Array:
    """x(lambda), clipped to the box: shape of the instance's plan."""
    rows = [
        derivation.stationary(multiplier, channel, instance.scalars)
        for derivation, channel in zip(derive(instance.program), instance.channels, strict=True)
    ]
    return rows[0] if len(rows) == 1 else np.stack(rows)


def excess(instance: Instance, x: Array) -> float:
    """sigma (sum_k r(x_k) - R), its sign exact: positive where the coupling constraint is violated."""
    if not np.isfinite(x).all():
        return np.inf
    spent = [
        (channel.term.usage * channel.data, row)
        for channel, row in zip(instance.channels, instance.rows(x), strict=True)
    ]
    use, plan = (np.concatenate(column) for column in zip(*spent, strict=True))
    return instance.program.sign * exact_dot(np.append(use, -1.0), np.append(plan, instance.limit))


def _bracket(instance: Instance) -> tuple[float, float]:
    """Multipliers on either side, a factor of two apart."""
    high = 1.0
    while excess(instance, plan_at(instance, high)) > 0.0 and high < LARGEST:
        high *= 2.0
    while excess(instance, plan_at(instance, high / 2.0)) <= 0.0 and high > SMALLEST:
        high /= 2.0
    return high / 2.0, high
