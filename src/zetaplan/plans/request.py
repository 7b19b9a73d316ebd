"""What is asked of a plan: which gain counts, what a unit costs, how much there is to spend or to remove."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zetaplan._records import Record
from zetaplan.scoring.gain import Gain


class Limit(Record):
    """How the budget or the target was asked for: `kind` is one of the forms that the plan's kind declares."""

    kind: str
    value: float


class Request(Record):
    """How the instance follows from the scores: which gain, which unit cost, which limit.

    drift : the plan states what it can lose if every gain moves by this share of itself.
    """

    gain: Gain
    resource: str = Field(description="the column of the scores that a unit uses, or 'given'")
    limit: Limit
    expert_rank: Annotated[int, Field(ge=1)] | None = Field(None, description="the unit is an expert of this LoRA rank")
    drift: Annotated[float, Field(gt=0, lt=1)] = 0.1
    top_k: Annotated[int, Field(ge=1)] = Field(
        2, description="experts that a token is sent to, where experts are planned"
    )
