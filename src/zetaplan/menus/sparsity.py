"""Menus of sparsity: an option is the share of a block's linear weights to remove, and costs the weights it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue, ValidationError

from zetaplan._records import Record, Whole, first_error
from zetaplan.errors import SpecError

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan


class SparsityFacts(Record):
    """The provenance of a menu of sparsity.

    blocks : "layers" or "modules". method : the pruning method that the losses were measured with.
    calibration_sha256 : the text of its input statistics, which are those of the unchanged model. sizes : linear
    weights by block. text_sha256 : the text of losses that were measured from the unchanged model. refined : the record
    of a refinement.
    """

    decides: Literal["sparsity"] = "sparsity"
    model: str
    model_sha256: str
    blocks: Literal["layers", "modules"]
    method: str
    calibration_sha256: str | None = None
    sizes: dict[str, Whole]
    text_sha256: str | None = None
    refined: dict[str, JsonValue] | None = None


def decides_sparsity(plan: ChoicePlan) -> bool:
    """Whether the options of the plan are shares of weights to remove."""
    return plan.menu.provenance.get("decides") == "sparsity"


def sparsity_facts(plan: ChoicePlan) -> SparsityFacts:
    """The facts of a plan of sparsity. Raises SpecError if the plan decides something else."""
    provenance = plan.menu.provenance
    if not decides_sparsity(plan):
        raise SpecError(
            "plan: it decides no sparsity; make one with `zetaplan prune`, `zetaplan refine`, or "
            "`zetaplan measure --for sparsity` and `zetaplan choose`"
        )
    try:
        facts = SparsityFacts.model_validate(dict(provenance), strict=False)
    except ValidationError as error:
        raise SpecError(f"plan: menu.provenance.{first_error(error)}") from error
    if set(facts.sizes) != set(plan.menu.names):
        raise SpecError("plan: menu.provenance.sizes: expected the blocks of the menu")
    return facts


def removed_by(plan: ChoicePlan) -> dict[str, int]:
    """The number of linear weights that the plan removes of every block."""
    sizes = sparsity_facts(plan).sizes
    kept = {name: costs[j][0] for name, costs, j in zip(plan.menu.names, plan.menu.costs, plan.places, strict=True)}
    for name, weights in kept.items():
        if not (float(weights).is_integer() and weights <= sizes[name]):
            raise SpecError(f"plan: {name!r} keeps {weights:g} weights; expected a whole number up to {sizes[name]:,}")
    return {name: sizes[name] - int(weights) for name, weights in kept.items()}
