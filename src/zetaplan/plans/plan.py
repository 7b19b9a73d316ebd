"""Plan: the amount of every block, with the program, the proof and the scores that it was computed from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zetaplan._digits import at_most
from zetaplan._display import ByName, Columns, Picture, bars
from zetaplan._plural import counted
from zetaplan.drift.cost import Cost
from zetaplan.errors import SpecError
from zetaplan.plans.kind import Kind
from zetaplan.plans.proof import Proof
from zetaplan.plans.request import Request
from zetaplan.plans.whole import Rounded
from zetaplan.scoring.scores import Scores
from zetaplan.spec.instance import Instance
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import Certificate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Plan(ByName, Picture):
    """The amount of every block, its certificate, and the scores and the request that it was computed from.

    kind : what the plan decides. instance, solution, certificate : the program solved, its optimum, the conditions of
    optimality. `solution.x` has shape (K,).
    rounded : the plan in whole units, for use: `rounded.units` holds LoRA ranks, or parameters to remove.
    proof : the certificate in fractions, for `zetaplan.check_certificate` or the stand-alone checker; an enclosure of
    the optimum if that is not rational.
    scores : the measurements. request : the options that determine the instance from the scores.
    regret : upper bounds on the regret while the gains stay in the intervals of the scores, or drift as requested.
    warnings : reasons for caution, one sentence each; empty if there are none.
    created : UTC time, ISO 8601. versions : versions of the software by name.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4)
        >>> ranks.rounded.units.shape, ranks.names == scores.names
        ((3,), True)
        >>> list(ranks.ranks) == list(ranks.names), ranks.ranks["model.layers.0"] == ranks[0]
        (True, True)
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
        """The unit of `solution.x`."""
        return self.kind.words.unit.format(expert_rank=self.request.expert_rank)

    @property
    def whole_unit(self) -> str:
        """The unit of `rounded.units`."""
        return self.kind.words.whole.format(expert_rank=self.request.expert_rank)

    @property
    def resource_unit(self) -> str:
        """The unit of the costs, the budget and the target."""
        return "given by the caller" if self.request.resource == "given" else "parameters"

    @property
    def uniform(self) -> float:
        """The equal amount per block that uses as much of the resource as the limit."""
        return self.instance.limit / math.fsum(self.instance.resource)

    @property
    def ranks(self) -> dict[str, int]:
        """The LoRA rank of every block by name. Raises SpecError for a plan of another kind."""
        return self._counted("ranks")

    @property
    def experts(self) -> dict[str, int]:
        """The number of LoRA experts of every block by name. Raises SpecError for a plan of another kind."""
        return self._counted("experts")

    @property
    def sparsity(self) -> dict[str, float]:
        """The share of every block's weights to remove, in whole weights. Raises SpecError for another kind."""
        return self._counted("weights")

    def _counted(self, units: str) -> dict[str, Any]:
        if self.kind.counts != units:
            title = self.kind.words.title
            raise SpecError(f"{units}: this plan decides {title}; plan[name] is the amount of a block")
        return self._entries()

    def _entries(self) -> dict[str, Any]:
        amounts = self.rounded.solution.x if self.kind.whole.shares else self.rounded.units
        return dict(zip(self.names, amounts.tolist(), strict=True))

    def _headline(self) -> str:
        blocks, unit = counted(len(self.names), "block"), self.resource_unit
        used = f"{self.rounded.used:,.10g} of {self.instance.limit:,.10g} {unit}"
        proved = "proved optimal" if self.certificate.valid else "not optimal"
        whole = f"whole units within {at_most(self.rounded.gap)} of the best objective"
        return f"{self.kind.words.title} of {blocks}, {used}; {proved}, {whole}"

    def _columns(self) -> Columns:
        rounded = self.rounded
        return {
            "block": self.names,
            "gain": self.scores.gain.tolist(),
            "requested": [self.uniform] * len(self.names),
            "relaxed": self.solution.x.tolist(),
            "rounded": rounded.units.tolist(),
            "achieved": rounded.whole.achieved(rounded).tolist(),
        }

    def _draw(self, axes: Axes) -> None:
        bars(axes, self.values(), self.kind.words.title, names=self.names, label="plan")
        axes.axhline(self.uniform, color="black", linestyle="--", label="uniform")
        axes.legend()

    def document(self) -> Any:
        """The plan as the document that `save` writes, with its own sha256; short for `zp.plan_document(plan)`."""
        import zetaplan

        return zetaplan.plan_document(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `zetaplan.plan/1` to the file atomically; short for `zp.save_plan(plan, path)`."""
        import zetaplan

        return zetaplan.save_plan(self, path)
