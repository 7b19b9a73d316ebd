"""Allocation with the utility 1 - exp(-m), which saturates: further units bring exponentially less."""

from __future__ import annotations

import math
from dataclasses import replace

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, m, w

EXPONENTIAL_ALLOCATION = replace(
    ALLOCATION,
    name="exponential_allocation",
    summary="capacity with the utility 1 - exp(-m), under a budget",
    terms=(replace(ALLOCATION.terms[0], objective=alpha * c * m - gamma * w * (1 - sp.exp(-m))),),
)


def exponential_allocation(
    quality: Arrayish,
    costs: Arrayish,
    budget: float,
    *,
    alpha: float = 0.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = math.inf,
) -> Instance:
    """Declare an allocation with the utility 1 - exp(-m); other arguments are as in `allocation`.

    Examples:
        >>> inst = zp.exponential_allocation([1, 1, 2], costs=1.0, budget=3.0)
        >>> zp.solve(inst).x.round(3)  # a gain of twice the size adds log 2
        array([0.769, 0.769, 1.462])
    """
    knobs = {"alpha": alpha, "beta": beta, "gamma": gamma}
    return declare(EXPONENTIAL_ALLOCATION, quality, (costs,), budget, (lower,), (upper,), knobs)
