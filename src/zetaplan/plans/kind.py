"""A kind: what a plan decides for every block. Each is one frozen value in one file of `zetaplan.plans.kinds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zetaplan.errors import SpecError
from zetaplan.plans.options import PlanOptions
from zetaplan.plans.request import Request
from zetaplan.plans.whole import Whole

if TYPE_CHECKING:
    from zetaplan.scoring.scores import Scores
    from zetaplan.spec.instance import Array, Instance


LARGE = 1e100  # of what a unit uses: sums of so large numbers are still doubles


@dataclass(frozen=True)
class Words:
    """What tables and reports call a kind's amounts. Texts in braces are filled from the request and the plan.

    title : what a block gets, for headings. unit : one unit of the decision. whole : what whole units count.
    command : the command that makes such plans. requested : what the columns of amounts mean.
    multiplier : what a unit of the limit more does to the objective. caveat : what it does not promise.
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

    name : as in files and in configurations. program : the declared program that it solves, by name.
    options : the record of what a user may ask. column : of the scores, what one unit uses of the resource.
    given : the option that replaces the column. limits : what each form of limit is called in reports.
    declare : from quality, resource and request, with lower, upper and knobs, to the instance.
    whole : how the optimum becomes whole units. counts : what whole units are: "ranks", "experts", "weights", "bits".
    cap : the upper bound of a block that has no other. least : a lower bound that the kind itself needs.
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
        """(K,) what one unit of the decision uses: of the scores, or as given."""
        import numpy as np

        column = given if request.resource == "given" else getattr(scores, request.resource)
        layers, numbers = len(scores.names), np.asarray(column, np.float64)
        if numbers.shape not in ((), (layers,)):
            raise SpecError(
                f"{self.given}: expected one number or {layers} of them, one per layer, got {numbers.shape}"
            )
        if not ((numbers > 0) & (numbers < LARGE)).all():
            raise SpecError(f"{self.given}: expected numbers above 0 and below {LARGE:g}")
        unit = np.broadcast_to(numbers, layers)
        return unit if request.expert_rank is None else request.expert_rank * unit
