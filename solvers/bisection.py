"""Algorithms 1 and 2 of the paper, generic over every declared program: bisection on the multiplier.

The use of the resource, sum_k r(x_k(lambda)), is monotone in lambda, so the multiplier of a binding
constraint is bracketed by doubling and then halved down to rounding: O(K log 1/eps).
"""

from __future__ import annotations

import math

from zetaplan.solvers.weightless import settle
from zetaplan.spec.instance import Instance
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess, plan_at

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


def _bracket(instance: Instance) -> tuple[float, float]:
    """Multipliers on either side, a factor of two apart."""
    high = 1.0
    while excess(instance, plan_at(instance, high)) > 0.0 and high < LARGEST:
        high *= 2.0
    while excess(instance, plan_at(instance, high / 2.0)) <= 0.0 and high > SMALLEST:
        high /= 2.0
    return high / 2.0, high
