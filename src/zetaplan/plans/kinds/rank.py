"""LoRA rank per block under a budget of parameters, the program `allocation` (Theorem 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from zetaplan._quantities import count, read, share
from zetaplan.errors import SpecError
from zetaplan.plans.kind import Kind, Words
from zetaplan.plans.options import Bound, PlanOptions, amount
from zetaplan.plans.request import Limit, Request
from zetaplan.plans.whole import Multiples

if TYPE_CHECKING:
    from zetaplan.scoring.scores import Scores
    from zetaplan.spec.instance import Array, Instance


class RankOptions(PlanOptions):
    """Options of a plan of LoRA ranks."""

    forms: ClassVar[tuple[str, ...]] = ("budget", "mean_rank")
    default: ClassVar[Limit] = Limit(kind="mean_rank", value=8.0)

    budget: float | str | None = Field(
        None, description="Budget of parameters, such as 2M, or 2% of the parameters of all scored blocks."
    )
    mean_rank: float | None = Field(
        None, description="Instead of a budget, the cost of this rank on every block (8 if neither is given)."
    )
    costs: Bound | None = Field(
        None, description="Unit costs, parameters per unit of rank, also by name; each block's in + out if not given."
    )
    beta: float = Field(1.0, description="Exponent of a layer's share of the gain.")
    alpha: float = Field(0.0, description="Declared price of a parameter in the objective; at 0 the budget binds.")
    gamma: float = Field(1.0, description="Weight of the benefit; without effect while the budget binds.")
    step: int = Field(1, description="Every rank is a multiple of this number.")

    def limit(self) -> Limit:
        """The limit; a budget such as "2%" is a share of the scored parameters."""
        return _budget(self.budget, self.mean_rank) if isinstance(self.budget, str) else super().limit()


def _budget(budget: str, mean_rank: float | None) -> Limit:
    if mean_rank is not None:
        raise SpecError("budget and mean_rank: give one of the two, not both")
    if budget.strip().endswith("%"):
        return amount("parameter_share", read("budget", budget, share))
    return amount("budget", read("budget", budget, count))


def declare(quality: Array, resource: Array, scores: Scores, request: Request, **knobs: Any) -> Instance:
    """The allocation of K blocks under the request's limit."""
    from zetaplan.spec.programs.allocation import allocation

    limit = request.limit
    budget = {
        "mean_rank": limit.value * math.fsum(resource),
        "parameter_share": limit.value * float(scores.parameters.sum()),
    }.get(limit.kind, limit.value)
    return allocation(quality, resource, budget, **knobs)


KIND = Kind(
    name="rank",
    program="allocation",
    options=RankOptions,
    column="rank_parameters",
    given="costs",
    limits={
        "budget": "a budget of {amount}",
        "parameter_share": "a budget of {share} of the scored parameters, {amount}",
        "mean_rank": "a budget of {amount}, the cost of rank {value:g} on every layer",
    },
    declare=declare,
    whole=Multiples(),
    counts="ranks",
    cap=math.inf,
    words=Words(
        title="LoRA rank",
        unit="LoRA rank",
        whole="LoRA rank",
        command="allocate",
        requested=(
            "Requested is the uniform plan, relaxed is the optimum, rounded is the plan in whole units (multiples of "
            "{step}), and achieved is the cost of the whole units in parameters. The last row compares parameters."
        ),
        multiplier="one more unit of budget would lower the objective by {multiplier:.4g}",
    ),
)
