"""Kind: what a plan decides for every block. Each kind is one frozen value in one file of `zetaplan.plans.kinds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zetaplan.errors import SpecError
from zetaplan.plans.options import PlanOptions
from zetaplan.plans.request import Request
from zetaplan.plans.whole import Whole
from zetaplan.spec.named import in_order

if TYPE_CHECKING:
    from zetaplan.scoring.scores import Scores
    from zetaplan.spec.instance import Array, Instance


LARGE = 1e100  # upper bound of a unit cost, below which sums cannot overflow a double


@dataclass(frozen=True)
class Words:
    """The words for a kind's amounts in tables and reports. Fields in braces are filled from the request and the plan.

    title : the decision, for headings. unit : one unit of the decision. whole : one whole unit.
    command : the command that makes such plans. requested : the meaning of the columns of amounts.
    multiplier : the change of the objective per additional unit of the limit. caveat : a limitation of such plans.
    """

    title: str
    unit: str
    whole: str
    command: str
    requested: str
    multiplier: str
    caveat: str | None = None


@dataclass(frozen=True)
class Kind:
    """What a plan decides for every block, and how.

    name : the name in files and configurations. program : the name of the declared program that the kind solves.
    options : the record of the user's options. column : the column of the scores that holds the unit costs.
    given : the option that replaces the column. limits : the description of each form of limit in reports.
    declare : from quality, unit cost and request, with lower, upper and scalar parameters, to the instance.
    whole : the rounding of the optimum to whole units. counts : the whole units: "ranks", "experts", "weights", "bits".
    cap : the upper bound of a block without another. least : a lower bound that the kind itself needs.
    """

    name: str
    program: str
    options: type[PlanOptions]
    column: str
    given: str
    limits: Mapping[str, str]
    declare: Callable[..., Instance]
    whole: Whole
    counts: str
    words: Words
    cap: float
    least: float = 0.0

    def resource(self, scores: Scores, request: Request, given: Any) -> Array:
        """(K,) unit costs: a column of the scores, or the numbers given by the caller."""
        import numpy as np

        column = given if request.resource == "given" else getattr(scores, request.resource)
        layers, numbers = len(scores.names), np.asarray(in_order(self.given, column, scores.names), np.float64)
        if numbers.shape not in ((), (layers,)):
            raise SpecError(
                f"{self.given}: expected one number or {layers} of them, one per layer, got {numbers.shape}"
            )
        if not ((numbers > 0) & (numbers < LARGE)).all():
            raise SpecError(f"{self.given}: expected numbers above 0 and below {LARGE:g}")
        unit = np.broadcast_to(numbers, layers)
        return unit if request.expert_rank is None else request.expert_rank * unit
