"""Monitor of a plan during fine-tuning: a certificate per update decides whether the plan must be replaced.

New gains give the program new weights w. For the plan x in use and any multiplier lambda >= 0,

    regret(x) = F_w(x) - min F_w  <=  F_w(x) - D_w(lambda),

the duality gap that `certify` computes in O(K). The multiplier of the last solution often gives a gap within the
tolerance. If it does not, the program is solved again, with a few iterations of Newton's method from that multiplier.
The gap then equals the regret up to rounding, and a plan beyond the tolerance is replaced by the new optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zetaplan._digits import at_most
from zetaplan._display import Columns, Display
from zetaplan._plural import counted
from zetaplan.errors import SpecError, require, shown
from zetaplan.plans.plan import Plan
from zetaplan.scoring.scores import Scores
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, Arrayish, Instance, with_quality
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import certify


@dataclass(frozen=True, eq=False, repr=False)
class Reading(Display):
    """The regret of the plan in use on new scores, and the solution to use next.

    regret : upper bound on the regret on these scores, unit of the objective; exact up to rounding if `solved`.
    tolerated : the allowed regret. solved : whether the bound exceeded the tolerance, so that the program was solved.
    solution : the solution to use next: the plan in use if `within`, else the optimum for these scores.
    moved : (K,) change of the plan, in the decision's unit; zero if `within`.

    Examples:
        >>> watch = zp.Monitor(zp.allocate(scores, mean_rank=4), tolerance=0.01)
        >>> reading = watch.update(1.1 * scores.gain)  # equal shares of the gain give an equal plan
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
        """Whether the regret is at most the tolerance."""
        return self.regret <= self.tolerated

    def __str__(self) -> str:
        strength = "is" if self.solved else "is at most"
        verdict = "the plan is kept" if self.within else "the plan is replaced by the optimum for these scores"
        return f"regret {strength} {at_most(self.regret, 3)}, {self.tolerated:.3g} is tolerated: {verdict}"

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        instance = self.solution.instance
        return {**self.solution._columns(), **instance.by_term("moved", self.moved)}


class Monitor(Display):
    """Monitor of a plan while the scores change.

    solution : the plan to use. tolerated : the allowed regret.

    The monitor checks the optimum in the decision's unit (`plan.solution`). Whole units require a new plan.

    Examples:
        >>> watch = zp.Monitor(zp.allocate(scores, mean_rank=4), tolerance=0.01)
        >>> watch.update(scores).within
        True
    """

    def __init__(self, plan: Plan, *, tolerance: float = 0.01) -> None:
        """tolerance : allowed regret as a share of the plan's objective on its own scores.

        Raises SpecError unless the tolerance is finite and above 0.
        """
        require(plan, Plan, "plan", "give what zetaplan.allocate or zetaplan.prune returns")
        if not isinstance(tolerance, int | float) or not 0.0 < tolerance < math.inf:
            raise SpecError(f"tolerance = {shown(tolerance)}: expected a share of the objective above 0, such as 0.01")
        self.plan = plan
        self.solution = plan.solution
        self.tolerated = tolerance * abs(plan.solution.objective)
        self._multiplier = plan.solution.multiplier

    def update(self, scores: Scores | Arrayish) -> Reading:
        """Bound the regret of the plan in use on new scores, and replace the plan if the regret exceeds the tolerance.

        scores : scores of the same blocks, or the gain that the plan uses, (K,), >= 0.

        Raises SpecError for other blocks or invalid gains; the monitor is then unchanged.
        """
        instance = with_quality(self.plan.instance, self._gain(scores))
        used = self.solution.x
        regret, solved = _gap(instance, used, self._multiplier), False
        if not regret <= self.tolerated:
            optimum = solve(instance, near=self._multiplier)
            self._multiplier = optimum.multiplier
            regret, solved = _gap(instance, used, self._multiplier), True
            if not regret <= self.tolerated:
                self.solution = optimum
        solution = replace(self.solution, instance=instance)
        return Reading(regret, self.tolerated, solved, solution, solution.x - used)

    def _headline(self) -> str:
        kept = "the plan" if self.solution is self.plan.solution else "a later optimum"
        layers = counted(len(self.plan.names), "layer")
        return f"{kept} of {layers} is in use, a regret of {self.tolerated:.3g} is tolerated"

    def _columns(self) -> Columns:
        return self.solution._columns()

    def _gain(self, scores: Scores | Arrayish) -> Arrayish:
        if not isinstance(scores, Scores):
            return scores
        if scores.names != self.plan.names:
            raise SpecError(f"scores: expected the {counted(len(self.plan.names), 'block')} of the plan in their order")
        return scores.counted(self.plan.request.gain)


def _gap(instance: Instance, x: Array, multiplier: float) -> float:
    """F_w(x) - D_w(multiplier), an upper bound on the regret; a negative value is rounding error and becomes 0."""
    return max(certify(instance, Solution(instance, x, multiplier)).gap, 0.0)
