"""Allocation with the utility m^p, 0 < p < 1: every layer with weight gets capacity, and the utility is unbounded."""

from __future__ import annotations

import math
from dataclasses import replace

import sympy as sp

from zetaplan.spec.instance import Arrayish, Instance, declare
from zetaplan.spec.program import Scalar
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, m, w

p = sp.Symbol("p", positive=True)

POWER_ALLOCATION = replace(
    ALLOCATION,
    name="power_allocation",
    summary="capacity with the utility m^p, under a budget",
    terms=(replace(ALLOCATION.terms[0], objective=alpha * c * m - gamma * w * m**p),),
    scalars=(*ALLOCATION.scalars, Scalar(p, 0.5, below=1.0, least=0.0001, most=0.9999)),
)


def power_allocation(
    quality: Arrayish,
    costs: Arrayish,
    budget: float,
    *,
    p: float = 0.5,
    alpha: float = 0.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = math.inf,
) -> Instance:
    """Declare an allocation with the utility m^p; 0.0001 <= p <= 0.9999, other arguments are as in `allocation`.

    Examples:
        >>> inst = zp.power_allocation([1, 2], costs=1.0, budget=5.0, p=0.5)
        >>> zp.solve(inst).x.round(6)  # proportional to the squares of the gains
        array([1., 4.])
    """
    knobs = {"alpha": alpha, "beta": beta, "gamma": gamma, "p": p}
    return declare(POWER_ALLOCATION, quality, (costs,), budget, (lower,), (upper,), knobs)
