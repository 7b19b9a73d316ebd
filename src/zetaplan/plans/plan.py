"""The plan: what every block gets, with the program, the proof and the scores that it follows from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zetaplan.drift.cost import Cost
from zetaplan.plans.kind import Kind
from zetaplan.plans.proof import Proof
from zetaplan.plans.request import Request
from zetaplan.plans.whole import Rounded
from zetaplan.scoring.scores import Scores
from zetaplan.spec.instance import Instance
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import Certificate


@dataclass(frozen=True, eq=False)
class Plan:
    """What every block gets, its certificate, and the scores and the request that it follows from.

    kind : what is planned. instance, solution, certificate : the program solved, its optimum, the conditions of
    optimality. `solution.x` has shape (K,).
    rounded : the same in whole units, to be used: `rounded.units` holds LoRA ranks, or parameters to remove.
    proof : the certificate in fractions, for `zetaplan.check_certificate` or the stand-alone checker; an enclosure of
    the optimum where that is not rational.
    scores : what was measured. request : how instance follows from scores.
    regret : what the plan can lose while the gains stay in the intervals of the scores, or drift as was asked.
    warnings : what a reader must know before trusting the plan; empty when there is nothing to say.
    created : UTC time, ISO 8601. versions : software by name.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4)
        >>> ranks.rounded.units.shape, ranks.names == scores.names
        ((3,), True)
        >>> ranks.save("plan.json").name
        'plan.json'
    """

    kind: Kind
    instance: Instance
    solution: Solution
    certificate: Certificate
    rounded: Rounded
    proof: Proof
    scores: Scores
    request: Request
    regret: tuple[Cost, ...]
    warnings: tuple[str, ...]
    created: str
    versions: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The K blocks in model order."""
        return self.scores.names

    @property
    def unit(self) -> str:
        """What one unit of `solution.x` is."""
        return self.kind.words.unit.format(expert_rank=self.request.expert_rank)

    @property
    def whole_unit(self) -> str:
        """What `rounded.units` counts."""
        return self.kind.words.whole.format(expert_rank=self.request.expert_rank)

    @property
    def resource_unit(self) -> str:
        """What the costs, the budget and the target count."""
        return "given by the caller" if self.request.resource == "given" else "parameters"

    @property
    def uniform(self) -> float:
        """The equal amount per block that uses as much of the resource as the limit."""
        return self.instance.limit / math.fsum(self.instance.resource)

    def document(self) -> Any:
        """The plan as the document that `save` writes, sealed with its own sha256: `zp.plan_document(plan)`."""
        import zetaplan

        return zetaplan.plan_document(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `zetaplan.plan/1` to the file, whole or not at all: short for `zp.save_plan(plan, path)`."""
        import zetaplan

        return zetaplan.save_plan(self, path)
