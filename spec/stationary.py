"""The plan at a multiplier and its excess over the limit, which every dual method evaluates."""

from __future__ import annotations

import math

import numpy as np

from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.summation import exact_dot

LARGE = 2.0**900  # 2**27 times smaller than the largest double, as an exact product needs


def plan_at(instance: Instance, multiplier: float) -> Array:
    """x(lambda), clipped to the box: shape of the instance's plan."""
    rows = [
        derivation.stationary(multiplier, channel, instance.scalars)
        for derivation, channel in zip(derive(instance.program), instance.channels, strict=True)
    ]
    return rows[0] if len(rows) == 1 else np.stack(rows)


def excess(instance: Instance, x: Array) -> float:
    """sigma (sum_k r(x_k) - R) with the right sign: positive if the coupling constraint is violated.

    Infinite if the plan or its use exceeds 2**900.
    """
    unit_cost = np.concatenate([channel.term.usage * channel.unit_cost for channel in instance.channels])
    plan = np.concatenate(instance.rows(x))
    with np.errstate(over="ignore", invalid="ignore"):
        largest = float(np.maximum(np.abs(plan), np.abs(unit_cost * plan)).max())
    if not largest < LARGE:
        return math.inf
    return instance.program.sign * exact_dot(np.append(unit_cost, -1.0), np.append(plan, instance.limit))
