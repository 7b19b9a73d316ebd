"""Relative regret bound: regret over a box of gains as a share of the best objective; see `dual_ends`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zetaplan.spec.instance import Array, Arrayish, Instance
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import certify
from zetaplan.verification.regret.boxes import relative_boxes
from zetaplan.verification.regret.dual_ends import dual_ends


@dataclass(frozen=True, eq=False)
class RelativeRegret:
    """Upper bound on the regret over a box of gains, as a share of the best objective.

    share : regret <= share |best objective| for all gains in the box; infinite if no bound is proved.
    layers : contribution of each decision at the worst ends, >= 0, in the plan's shape. multiplier : the one used.
    """

    share: float
    layers: Array
    multiplier: float

    def __str__(self) -> str:
        return f"regret is at most {self.share:.3g} of the best objective for all gains in the box"


def relative_regret(
    instance: Instance, x: Arrayish, multiplier: float, low: Arrayish, high: Arrayish
) -> RelativeRegret:
    """Bound the regret of a plan, as a share of the best objective, while every gain lies between low and high.

    x : the plan, in the instance's shape. multiplier : >= 0, start of the search for a better one.
    low, high : (K,) 0 <= low <= high, in any common unit.

    Raises SpecError for other shapes, and for low > high.
    """
    plan = Solution(instance, np.asarray(x, np.float64), multiplier)
    nominal = certify(instance, plan)  # raises SpecError for another shape
    boxes, towards = relative_boxes(instance, low, high), 1 if plan.objective >= nominal.gap else -1
    found = dual_ends(instance, boxes, plan.x, multiplier, towards=towards)
    return RelativeRegret(found.value, found.layers.reshape(instance.weight.shape), found.multiplier)
