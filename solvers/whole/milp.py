"""The knapsack in whole units as a mixed-integer linear program, by HiGHS (Huangfu & Hall 2018).

A convex loss is a sum of increasing increments, so each unit of the window is one binary variable. Units are taken in
order without further constraints, because of two units of equal cost the earlier is better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zetaplan.errors import SolverError
from zetaplan.solvers.whole.units import Counts, Units, Window

BINARIES = 100_000  # above it branch and bound is too slow
SHARPNESS = 1e3  # the gap of the known plan after scaling; HiGHS stops within 1e-6
TIGHTENINGS = 20


class Mixed(NamedTuple):
    """A feasible plan. optimal : whether HiGHS proved it optimal (within 1e-9 of the known plan's gap)."""

    z: Counts
    optimal: bool


def solve(units: Units, window: Window) -> Mixed | None:
    """The best plan within the window, or None if there are too many binary variables.

    HiGHS may exceed the room by its tolerance. Comparison in integers rejects such a plan, and the room is reduced. A
    plan found with a reduced room is feasible but not proved optimal. Raises SolverError if HiGHS fails.
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
    raise SolverError("HiGHS: every plan exceeds the budget by its tolerance; scale the costs to comparable sizes")
