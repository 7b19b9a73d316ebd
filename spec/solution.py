"""What a solver claims: a plan and its multiplier. A claim is data; verification decides what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.instance import Instance
from zetaplan.spec.values import Value


class Status(Enum):
    """Why the solver stopped; the value says cause and remedy.

    Examples:
        >>> zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0)).status.name
        'BINDING'
        >>> zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0, alpha=2.0)).status.name  # not worth its price
        'SLACK'
    """

    BINDING = "optimal: the constraint binds and the multiplier is its price"
    SLACK = (
        "optimal: the best plan leaves the constraint slack, so its price is 0; "
        "set alpha = 0 (or bits = 0) if the whole budget should be used"
    )
    INACCURATE = "inaccurate: the solver stopped before its own tolerance; use method='exact'"
    CLAIMED = "claimed: read from a file or another tool; zetaplan.certify says what it is worth"


@dataclass(frozen=True, eq=False)
class Solution(Value):
    """A claimed optimum of an instance.

    x : (K,) the plan, in the decision's unit (shape (T, K) for a program of T terms).
    multiplier : >= 0; the fall of the optimal value per unit of budget, or its rise per unit of target.

    Examples:
        >>> sol = zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0))
        >>> sol.x, sol.multiplier
        (array([1., 5.]), 0.125)
    """

    instance: Instance
    x: NDArray[np.float64]
    multiplier: float
    status: Status = Status.CLAIMED
    method: str = "claimed"

    @property
    def objective(self) -> float:
        """The program's objective at x."""
        from zetaplan.spec.derivation import derive  # sympy loads when first needed

        inst = self.instance
        channels = zip(derive(inst.program), inst.channels, inst.rows(self.x), strict=True)
        return float(sum(d.objective(x, 0.0, c.weight, c.unit_cost, *inst.scalars).sum() for d, c, x in channels))
