"""How much of the best objective a plan can lose while every gain stays inside an interval: see `dual_ends`."""

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
    """What a plan can lose over a box of gains, as a share of the best objective.

    share : regret <= share |best objective| for all gains in the box; infinite where nothing is proved.
    layers : what each decision adds to it at the worst ends, >= 0, in the plan's shape. multiplier : that proves it.
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

    x : the plan, in the instance's shape. multiplier : its price, >= 0, where the search for a better one starts.
    low, high : (K,) 0 <= low <= high, in one unit, whatever it is.

    Raises SpecError for other shapes, and for ends in the wrong order.
    """
    plan = Solution(instance, np.asarray(x, np.float64), multiplier)
    nominal = certify(instance, plan)  # of another shape it is refused here
    boxes, towards = relative_boxes(instance, low, high), 1 if plan.objective >= nominal.gap else -1
    found = dual_ends(instance, boxes, plan.x, multiplier, towards=towards)
    return RelativeRegret(found.value, found.layers.reshape(instance.weight.shape), found.multiplier)
