"""The knapsack in whole units as a mixed-integer linear program, by HiGHS (Huangfu & Hall 2018).

A convex loss is a sum of increments that grow worse one by one: one binary for each unit of the window. The solver
takes them in order by itself, for the earlier of two equal costs is the better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zetaplan.errors import SolverError
from zetaplan.solvers.whole.units import Counts, Units, Window

BINARIES = 100_000  # beyond that branch and bound is out of its depth
SHARPNESS = 1e3  # HiGHS stops within 1e-6: the gap of the known plan is scaled to this
TIGHTENINGS = 20


class Mixed(NamedTuple):
    """A plan that fits, and whether HiGHS proved it optimal (within 1e-9 of the known plan's gap)."""

    z: Counts
    optimal: bool


def solve(units: Units, window: Window) -> Mixed | None:
    """The best plan within the window, or None where there are too many binaries.

    HiGHS may overstep the room by its tolerance. Such a plan is refused by exact arithmetic and the room
    tightened; what is found then fits, but is not proved optimal. Raises SolverError where HiGHS fails.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    layer = np.repeat(np.arange(window.low.size), window.width)
    if layer.size > BINARIES:
        return None
    top = max(units.costs)
    cost = units.relative_costs[layer]
    table = window.table()
    worse = np.concatenate([np.diff(table[: n + 1, k]) for k, n in enumerate(window.width.tolist())])
    objective = (worse - window.rate * top * cost) * (SHARPNESS / window.gap)
    room = units.left(window.low) / top
    for tightening in range(TIGHTENINGS):
        constraint = LinearConstraint(cost[np.newaxis], ub=room)
        answer = milp(
            objective,
            integrality=np.ones(layer.size),
            bounds=Bounds(0, 1),
            constraints=constraint,
            options={"mip_rel_gap": 0.0},
        )
        if answer.x is None:
            raise SolverError(f"HiGHS: {answer.message}")
        z = window.low + np.bincount(layer[answer.x > 0.5], minlength=window.low.size)
        if units.left(z) >= 0:
            return Mixed(z, answer.status == 0 and tightening == 0)
        room += 2.0 * units.left(z) / top
    raise SolverError("HiGHS: every plan oversteps the budget; scale the costs to comparable sizes")
