"""What a plan makes of a model, by what the plan decides: the name of the result, and what `apply` refuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zetaplan.errors import SpecError, shown

if TYPE_CHECKING:
    from zetaplan.jobs.options import ApplyOptions
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.plans.plan import Plan

#: The result, in one word, by what the plan decides.
RESULTS = {"sparsity": "pruned", "layers": "shortened", "rank": "low-rank", "bits": "quantized"}

#: What is stored as safetensors alone.
STORED = {"sparsity": "a sparsity plan", "layers": "a model without layers", "rank": "a model of low rank"}

#: Why a plan that was refined, or chosen from a menu, has no structure such as 2:4.
UNSTRUCTURED = {
    "sparsity": "a refined plan is unstructured",
    "layers": "the plan leaves layers out whole",
    "rank": "the plan removes no single weights",
}


#: Rows and columns that every group and block of a format divides.
SIDE = 4096


def decided_by(method: str) -> str:
    """What a refinement by this method decides."""
    from zetaplan.models.pruners import pruner_names
    from zetaplan.refining.levels import dropping, replacement

    families = {"sparsity": pruner_names(), "rank": replacement.methods(), "layers": dropping.methods()}
    return next((decision for decision, methods in families.items() if method in methods), "bits")


def result_of(plan: Plan | ChoicePlan) -> str:
    """The result of a plan, in one word."""
    from zetaplan.menus.plan import ChoicePlan

    return RESULTS[str(plan.menu.provenance.get("decides", "bits"))] if isinstance(plan, ChoicePlan) else "pruned"


def require_stored(decides: str, options: ApplyOptions) -> None:
    """Raise SpecError for an output that such a plan does not have."""
    if decides in STORED and options.to != "safetensors":
        raise SpecError(f"to = {shown(options.to)}: {STORED[decides]} is written as safetensors")


def require_takes(options: ApplyOptions, labels: Iterable[str]) -> None:
    """Raise SpecError if the output has no place for one of these formats, whatever the shape of a matrix."""
    from zetaplan.menus.bits import Weight
    from zetaplan.models.checkpoints import find_form
    from zetaplan.models.quantizers import find_quantizer

    form, matrix = find_form(options.to), Weight(name="any", module="any", layer="any", rows=SIDE, columns=SIDE)
    for label in labels:
        if found := form.obstacle(find_quantizer(label), matrix):
            raise SpecError(f"apply: to = {shown(options.to)}: the plan may take {label}: {found}")


def require_unstructured(decides: str, options: ApplyOptions) -> None:
    """Raise SpecError for a structure that a refined plan does not have."""
    if decides in UNSTRUCTURED and options.structure != "unstructured":
        raise SpecError(f"structure = {options.structure!r}: {UNSTRUCTURED[decides]}; leave it out")
