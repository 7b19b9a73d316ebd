"""The exponent kappa of a plan of sparsity: what was measured on this model and method, or a default that was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from zetaplan._comparison import compared
from zetaplan._digits import percent
from zetaplan._records import Record, first_error
from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan
    from zetaplan.scoring.scores import Scores

#: Without a measurement. On SmolLM2-135M, pruned to 50% by Wanda, it was better than uniform and the paper's exponent
#: was worse. On Gemma-3-270M it was not significantly different, and the paper's exponent was better.
UNMEASURED = 0.25

#: The exponent of the paper.
PAPER = 1.0

#: Where scores keep the measurement.
KEY = "exponent"


class Tried(Record):
    """A plan of one exponent: its mean loss on the text, and its difference to uniform with a paired 95% interval."""

    kappa: float = Field(ge=0)
    loss: float
    difference: float
    low: float
    high: float


class Exponent(Record):
    """Whole plans that were applied and measured; kappa = 0 is uniform.

    method, sparsity, upper : of the plans. text_sha256, sequences, tokens : of the text of the losses. tried : by
    rising kappa, uniform first.
    """

    method: str
    sparsity: float
    upper: float
    text_sha256: str
    sequences: int
    length: int
    tried: tuple[Tried, ...] = Field(min_length=1)

    @property
    def best(self) -> Tried:
        """The plan with the smallest loss; of equal ones the first."""
        return min(self.tried, key=lambda tried: tried.loss)


def measured_exponent(scores: Scores) -> Exponent | None:
    """The measurement that the scores keep. Raises SpecError if it breaks its form."""
    found = scores.provenance.get(KEY)
    if found is None:
        return None
    try:
        return Exponent.model_validate(found, strict=False)
    except ValidationError as error:
        raise SpecError(f"scores: provenance.{KEY}.{first_error(error)}; calibrate again") from error


def exponent_of(scores: Scores, kappa: float | None, paper: bool) -> float:
    """The exponent of a plan: as given, the paper's, the best that was measured, or the default."""
    if kappa is not None and paper:
        raise SpecError(f"kappa = {kappa} and paper: give one of the two, not both")
    if kappa is not None or paper:
        return PAPER if kappa is None else kappa
    measured = measured_exponent(scores)
    return measured.best.kappa if measured else UNMEASURED


def exponent_warning(plan: Plan) -> str | None:
    """Whether plans of this exponent were measured on the model; None where that plan was better than uniform."""
    kappa = plan.instance.parameters.get("kappa")
    if kappa is None or kappa == 0:
        return None
    found = _tried(plan)
    if found is None:
        return (
            f"no plan with kappa = {kappa:g} was measured on this model, so it may be worse than uniform: "
            "`zetaplan calibrate MODEL --scores SCORES` measures whole plans and keeps the best exponent"
        )
    return None if found[1].high < 0 else f"{_verdict(*found)}; take kappa = 0"


def measured_quality(plan: Plan) -> str | None:
    """How plans of this exponent compare with uniform on the model; None without a measurement of that exponent."""
    found = _tried(plan)
    if found is None:
        return None
    return (
        "the plan has kappa = 0, with which the other exponents were compared"
        if found[1].kappa == 0
        else _verdict(*found)
    )


def _tried(plan: Plan) -> tuple[Exponent, Tried] | None:
    """The measurement of the plan's exponent."""
    measured, kappa = measured_exponent(plan.scores), plan.instance.parameters.get("kappa")
    return next(((measured, tried) for tried in measured.tried if tried.kappa == kappa), None) if measured else None


def _verdict(measured: Exponent, tried: Tried) -> str:
    verdict = compared(tried.low, tried.high)
    return (
        f"at {percent(measured.sparsity)} by {measured.method}, the plan with kappa = {tried.kappa:g} was {verdict} "
        f"uniform: {tried.difference:+.4f} nats per token (95% interval {tried.low:+.4f} to {tried.high:+.4f})"
    )
