"""`zetaplan.certificate/2`, the proof of a choice, as a record: `zetaplan.verification.menus.checker` checks it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zetaplan._records import Record, Vector

Place = Annotated[int, Field(ge=0)]


class StageData(Record):
    """Multipliers of a sweep, one per budget in each row, as quotients; decisions that it adds, in this order."""

    multipliers: tuple[tuple[str, ...], ...]
    decisions: tuple[Place, ...]


class BranchData(Record):
    """The options of one decision in parts that cover them, and the node of each part."""

    decision: Place
    parts: tuple[tuple[Place, ...], ...]
    children: tuple[Place, ...]


class ChoiceProof(Record):
    """`zetaplan.certificate/2`: no choice from the menus within the budgets loses less than the plan by more than gap.

    menus : one per decision; the costs of every option, then its loss; null where it is ruled out.
    plan : the place of the option taken from each. proof : a tree of branches and of leaves, which are sweeps.
    """

    schema_: Literal["zetaplan.certificate/2"] = Field("zetaplan.certificate/2", alias="schema")
    menus: tuple[tuple[Vector | None, ...], ...]
    budgets: Vector
    plan: tuple[Place, ...]
    gap: float
    proof: tuple[BranchData | tuple[StageData, ...], ...]
