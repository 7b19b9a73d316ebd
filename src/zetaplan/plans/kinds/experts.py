"""LoRA experts per block, all of one rank: a plan of ranks with an expert as its unit, at least one per block."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from zetaplan.plans.kinds.rank import KIND as RANK
from zetaplan.plans.kinds.rank import RankOptions


class ExpertsOptions(RankOptions):
    """Options of a plan of LoRA experts."""

    expert_rank: int | None = Field(
        None, ge=1, description="LoRA rank of an expert; if given, amounts count experts instead of ranks."
    )
    top_k: int = Field(2, ge=1, description="Experts per token; a block with fewer experts uses all of them.")


KIND = replace(
    RANK,
    name="experts",
    options=ExpertsOptions,
    counts="experts",
    least=1.0,
    words=replace(
        RANK.words,
        title="LoRA experts",
        command="allocate --expert-rank",
        unit="LoRA experts (of rank {expert_rank})",
        whole="LoRA experts (of rank {expert_rank})",
    ),
)
