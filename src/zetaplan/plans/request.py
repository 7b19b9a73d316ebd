"""Request of a plan: the gain to plan with, the unit cost, and the budget or target."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zetaplan._records import Record
from zetaplan.scoring.gain import Gain


class Limit(Record):
    """The budget or target as given. kind : one of the forms that the plan's kind declares."""

    kind: str
    value: float


class Request(Record):
    """The choices that determine the instance from the scores: the gain, the unit cost and the limit.

    drift : largest relative change of every gain covered by the regret bound of the plan.
    """

    gain: Gain
    resource: str = Field(description="the column of the scores that holds the unit costs, or 'given'")
    limit: Limit
    expert_rank: Annotated[int, Field(ge=1)] | None = Field(None, description="the unit is an expert of this LoRA rank")
    drift: Annotated[float, Field(gt=0, lt=1)] = 0.1
    top_k: Annotated[int, Field(ge=1)] = Field(2, description="experts per token, for plans of experts")
