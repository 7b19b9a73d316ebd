"""Is the plan still good? Fine-tuning moves the scores; a certificate per reading says whether the plan must follow.

With the gains of the moment the program has other weights w. For the plan x in use and any price lambda >= 0,

    regret(x) = F_w(x) - min F_w  <=  F_w(x) - D_w(lambda),

the duality gap that `certify` computes in O(K). At the price of the last solution that is often proof enough. Where
it is not, the program is solved anew from that price, a few passes of Newton's method; now the gap is the regret
itself, to rounding, and a plan that is beyond the tolerance gives way to the new optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zetaplan._digits import at_most
from zetaplan._plural import counted
from zetaplan.errors import SpecError, require, shown
from zetaplan.plans.plan import Plan
from zetaplan.scoring.scores import Scores
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, Arrayish, Instance, with_quality
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import certify


@dataclass(frozen=True, eq=False)
class Reading:
    """What new scores say of the plan in use.

    regret : what the plan loses at these scores at most, unit of the objective; exact to rounding where `solved`.
    tolerated : the regret that is allowed. solved : whether the certificate was not enough and a solution was needed.
    solution : what to use from now on: the plan as it was if `within`, else the optimum for these scores.
    moved : (K,) what that changes, in the decision's unit; zero if `within`.

    Examples:
        >>> watch = zp.Monitor(zp.allocate(scores, mean_rank=4), tolerance=0.01)
        >>> reading = watch.update(1.1 * scores.gain)  # all gains alike: the shares stay, and so does the plan
        >>> reading.within, reading.solved
        (True, False)
    """

    regret: float
    tolerated: float
    solved: bool
    solution: Solution
    moved: Array

    @property
    def within(self) -> bool:
        """Is the plan still as good as tolerated?"""
        return self.regret <= self.tolerated

    def __str__(self) -> str:
        strength = "is" if self.solved else "is at most"
        verdict = "the plan holds" if self.within else "the plan gives way to the optimum for these scores"
        return f"regret {strength} {at_most(self.regret, 3)}, {self.tolerated:.3g} is tolerated: {verdict}"


class Monitor:
    """Watches a plan while the scores move. `solution` is what to use now, `tolerated` the regret that is allowed.

    It watches the optimum in the decision's own unit (`plan.solution`); whole units are made from it by a new plan.

    Examples:
        >>> watch = zp.Monitor(zp.allocate(scores, mean_rank=4), tolerance=0.01)
        >>> watch.update(scores).within
        True
    """

    def __init__(self, plan: Plan, *, tolerance: float = 0.01) -> None:
        """tolerance : tolerated regret, as a share > 0 of the plan's objective at its own scores, else SpecError."""
        require(plan, Plan, "plan", "give what zetaplan.allocate or zetaplan.prune returns")
        if not isinstance(tolerance, int | float) or not 0.0 < tolerance < math.inf:
            raise SpecError(f"tolerance = {shown(tolerance)}: expected a share of the objective above 0, such as 0.01")
        self.plan = plan
        self.solution = plan.solution
        self.tolerated = tolerance * abs(plan.solution.objective)
        self._price = plan.solution.multiplier

    def update(self, scores: Scores | Arrayish) -> Reading:
        """Judge the plan in use by new scores, and replace it where it loses more than is tolerated.

        scores : of the same blocks, of which the gain counts that the plan counts; or that gain itself, (K,), >= 0.

        Raises SpecError for other blocks, or for numbers that are no gains; the monitor then stays as it was.
        """
        instance = with_quality(self.plan.instance, self._gain(scores))
        used = self.solution.x
        regret, solved = _gap(instance, used, self._price), False
        if not regret <= self.tolerated:
            optimum = solve(instance, near=self._price)
            self._price = optimum.multiplier
            regret, solved = _gap(instance, used, self._price), True
            if not regret <= self.tolerated:
                self.solution = optimum
        solution = replace(self.solution, instance=instance)
        return Reading(regret, self.tolerated, solved, solution, solution.x - used)

    def _gain(self, scores: Scores | Arrayish) -> Arrayish:
        if not isinstance(scores, Scores):
            return scores
        if scores.names != self.plan.names:
            raise SpecError(f"scores: expected the {counted(len(self.plan.names), 'block')} of the plan in their order")
        return scores.counted(self.plan.request.gain)


def _gap(instance: Instance, x: Array, price: float) -> float:
    """F_w(x) - D_w(price), never below the regret; rounding may leave less than nothing."""
    return max(certify(instance, Solution(instance, x, price)).gap, 0.0)
