"""Bisection on the multiplier (Algorithms 1 and 2 of the paper), for every declared program.

The resource sum_k r(x_k(lambda)) is monotone in lambda. Doubles >= 0 have the order of the integers of their bits, so
bisection on these integers finds the least multiplier that satisfies the constraint in 63 steps of O(K).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import numpy as np

from zetaplan.errors import SolverError, SpecError
from zetaplan.solvers.knapsack import MISSED
from zetaplan.solvers.weightless import settle
from zetaplan.spec.checks import number
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess, plan_at

SMALLEST = 1e-290  # least price of a layer; products and quotients with it are doubles of full precision


def solve_bisection(instance: Instance, *, tolerance: float = 0.0) -> Solution:
    """The optimum by bisection on lambda, for programs of any number of terms.

    tolerance : >= 0, width of the last bracket relative to the multiplier; 0 continues to neighbouring doubles.

    Raises SpecError for an invalid tolerance, and SolverError if the price of a layer is positive but below 1e-290.
    """
    if number("tolerance", tolerance) < 0.0:
        raise SpecError(f"tolerance = {tolerance:g}: expected at least 0")
    x = plan_at(instance, 0.0)
    if excess(instance, x) <= 0.0:
        return Solution(instance, settle(instance, x), 0.0, Status.SLACK, "bisection")
    below, multiplier = _bracket(lambda trial: excess(instance, plan_at(instance, trial)) <= 0.0, tolerance)
    if _least_price(instance, multiplier) < SMALLEST:
        name = instance.program.limit_argument
        raise SolverError(
            f"{name} = {instance.limit:g}: the price of a layer is positive but below {SMALLEST:g}, the least "
            f"supported; move the {name} away from the value at which the constraint becomes slack"
        )
    return Solution(instance, _between(instance, below, multiplier), multiplier, Status.BINDING, "bisection")


def _least_price(instance: Instance, multiplier: float) -> float:
    """The least of lambda, lambda times a unit cost, and its quotient by a scalar such as eta: what plans come from."""
    unit_cost = float(np.min(instance.resource, where=instance.resource > 0.0, initial=1.0))
    return multiplier * unit_cost / max((1.0, *instance.scalars))


def _between(instance: Instance, below: float, above: float) -> Array:
    """The plan at the upper multiplier, or the plan between both that uses the whole limit if that one does not."""
    spent, spared = plan_at(instance, below), plan_at(instance, above)
    too_much, left = excess(instance, spent), -excess(instance, spared)
    if left <= MISSED * abs(instance.limit) or not math.isfinite(too_much):
        return spared
    x: Array = np.clip(spared + left / (left + too_much) * (spent - spared), instance.lower, instance.upper)
    return x


def _bracket(holds: Callable[[float], bool], tolerance: float) -> tuple[float, float]:
    """(low, high) around the least multiplier at which a monotone condition holds; high may be infinite."""
    low, high = 0, _bits(math.inf)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(_double(middle)) else (middle, high)
        below, above = _double(low), _double(high)
        if math.isfinite(above) and above - below <= tolerance * above:
            break
    return _double(low), _double(high)


def _bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def _double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])
