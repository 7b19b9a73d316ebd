"""Menus of low-rank replacements: an option is the share of a block's linear weights to remove, and costs those kept.

Every matrix W (m x n) of the block gets the rank r = floor((1 - share) m n / (m + n)) and is stored as two factors of
r (m + n) weights together. Where the share is 0, the matrices stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue, ValidationError

from zetaplan._records import Record, first_error
from zetaplan.errors import SpecError, shown
from zetaplan.menus.bits import Weight

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan


class RankFacts(Record):
    """The provenance of a menu of low-rank replacements.

    blocks : "layers", "fused" or "modules". method : the decomposition. calibration_sha256 : the
    text of its input statistics, which are those of the unchanged model. weights : the matrices of every block.
    text_sha256, refined : as of sparsity.
    """

    decides: Literal["rank"] = "rank"
    model: str
    model_sha256: str
    blocks: Literal["layers", "fused", "modules"]
    method: Literal["svd", "svd-llm"]
    calibration_sha256: str | None = None
    weights: dict[str, tuple[Weight, ...]]
    text_sha256: str | None = None
    refined: dict[str, JsonValue] | None = None

    def items(self) -> Iterator[tuple[str, Weight]]:
        """(block, matrix) in the order of the menu."""
        return ((block, weight) for block, members in self.weights.items() for weight in members)


def rank_of(weight: Weight, share: str) -> int | None:
    """The largest rank of each matrix whose factors leave out this share of its weights; None if the share is 0."""
    kept = 1 - Fraction(str(float(share)))  # of bounded size, whatever a file holds
    return None if kept == 1 else int(kept * weight.rows * weight.columns / (weight.rows + weight.columns))


def kept_weights(weight: Weight, share: str) -> int:
    """The weights that are stored: of the factors, or of the matrices themselves if the share is 0."""
    rank = rank_of(weight, share)
    return weight.numel if rank is None else weight.count * rank * (weight.rows + weight.columns)


def decides_rank(plan: ChoicePlan) -> bool:
    """Whether the options of the plan are low-rank replacements."""
    return plan.menu.provenance.get("decides") == "rank"


def rank_facts(plan: ChoicePlan) -> RankFacts:
    """The facts of a plan of low-rank replacements. Raises SpecError if the plan decides something else."""
    if not decides_rank(plan):
        raise SpecError(
            "plan: it decides no ranks of replacements; make one with `zetaplan refine --method svd-llm`, or "
            "`zetaplan measure --for rank` and `zetaplan choose`"
        )
    try:
        facts = RankFacts.model_validate(dict(plan.menu.provenance), strict=False)
    except ValidationError as error:
        raise SpecError(f"plan: menu.provenance.{first_error(error)}") from error
    if set(facts.weights) != set(plan.menu.names):
        raise SpecError("plan: menu.provenance.weights: expected the blocks of the menu")
    return facts


def ranks_by(plan: ChoicePlan) -> dict[str, int | None]:
    """The rank of every matrix of the plan, by the name of its parameter; None where it stays as it is.

    Raises SpecError if an option is no share, or costs other than its factors.
    """
    facts, menu = rank_facts(plan), plan.menu
    for block, option, costs, j in zip(menu.names, plan.taken.values(), menu.costs, plan.places, strict=True):
        try:
            expected = sum(kept_weights(weight, option) for weight in facts.weights[block])
        except (ValueError, OverflowError):
            expected = -1
        if costs[j][0] != expected or not 0 <= float(option) < 1:
            raise SpecError(
                f"plan: {block!r} takes {shown(option)} at {costs[j][0]:g} weights; expected a share of its weights "
                "at the size of its factors"
            )
    return {weight.name: rank_of(weight, plan.taken[block]) for block, weight in facts.items()}


def with_ranks(plan: ChoicePlan) -> dict[str, str]:
    """The option of every block; of low-rank replacements with the ranks, such as "0.2 (rank 230)"."""
    if not decides_rank(plan):
        return plan.taken
    ranks, members = ranks_by(plan), rank_facts(plan).weights
    own = {block: [ranks[weight.name] for weight in members[block]] for block in plan.taken}
    return {block: f"{option} ({_ranks(own[block])})" for block, option in plan.taken.items()}


def _ranks(ranks: list[int | None]) -> str:
    known = sorted({rank for rank in ranks if rank is not None})
    if not known:
        return "unchanged"
    return f"rank {known[0]:,}" if len(known) == 1 else f"ranks {known[0]:,} to {known[-1]:,}"
