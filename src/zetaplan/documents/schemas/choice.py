"""`zetaplan.plan/2`: the option that every block takes, with all that it follows from and its proof."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from zetaplan._records import Record, Vector
from zetaplan.documents.schemas.document import Sealed
from zetaplan.documents.schemas.menu import MenuFile
from zetaplan.menus.proof import ChoiceProof
from zetaplan.menus.request import ChoiceRequest


class TakenData(Record):
    """The option that a block takes, with its loss and its cost under every budget."""

    block: str
    option: str
    loss: float
    costs: Vector


class ChoiceFile(Sealed):
    """`zetaplan.plan/2`: menu, request, the option of every block, and the proof.

    loss : the total loss, rounded once. spent : the total cost under every budget, rounded once.
    gap : no choice within the budgets loses less by more; 0 where status is "optimal".
    proof : the certificate in fractions, which `zetaplan.verification.menus.checker` checks in this file by itself.
    """

    inner: ClassVar[str] = "menu"

    schema_: Literal["zetaplan.plan/2"] = Field("zetaplan.plan/2", alias="schema")
    created: str
    versions: dict[str, str]
    request: ChoiceRequest
    choice: tuple[TakenData, ...] = Field(min_length=1)
    loss: float
    spent: Vector
    status: Literal["optimal", "gap"]
    gap: float
    proof: ChoiceProof
    menu_sha256: str
    menu: MenuFile
