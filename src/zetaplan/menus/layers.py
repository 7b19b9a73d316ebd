"""Menus of decoder layers: an option keeps a layer or leaves it out, and costs the layers that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue, ValidationError

from zetaplan._records import Record, first_error
from zetaplan.errors import SpecError, shown

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan

DROP, KEEP = "drop", "keep"


class LayersFacts(Record):
    """The provenance of a menu of layers.

    text_sha256 : the text of losses that were measured from the unchanged model. refined : the record of a refinement.
    """

    decides: Literal["layers"] = "layers"
    model: str
    model_sha256: str
    text_sha256: str | None = None
    refined: dict[str, JsonValue] | None = None


def decides_layers(plan: ChoicePlan) -> bool:
    """Whether the options of the plan keep a layer or leave it out."""
    return plan.menu.provenance.get("decides") == "layers"


def layers_facts(plan: ChoicePlan) -> LayersFacts:
    """The facts of a plan of layers. Raises SpecError if the plan decides something else."""
    if not decides_layers(plan):
        raise SpecError(
            "plan: it leaves out no layers; make one with `zetaplan refine --method drop`, or "
            "`zetaplan measure --for drop` and `zetaplan choose`"
        )
    try:
        return LayersFacts.model_validate(dict(plan.menu.provenance), strict=False)
    except ValidationError as error:
        raise SpecError(f"plan: menu.provenance.{first_error(error)}") from error


def left_out_by(plan: ChoicePlan) -> tuple[str, ...]:
    """The names of the layers that the plan leaves out: at least one, and not all."""
    layers_facts(plan)
    for name, option in plan.taken.items():
        if option not in (DROP, KEEP):
            raise SpecError(f"plan: {name!r} takes {shown(option)}; expected {DROP!r} or {KEEP!r}")
    found = tuple(name for name, option in plan.taken.items() if option == DROP)
    if not 0 < len(found) < len(plan.taken):
        raise SpecError(
            f"plan: it leaves out {len(found)} of {len(plan.taken)} layers; expected at least 1, and not all"
        )
    return found
