"""`zetaplan.plan/2`: the option that every block takes, with all that it follows from and its proof."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zetaplan._files import digest
from zetaplan._records import Record, Vector
from zetaplan.documents.schemas.document import Document
from zetaplan.documents.schemas.menu import MenuFile
from zetaplan.menus.proof import ChoiceProof
from zetaplan.menus.request import ChoiceRequest


class TakenData(Record):
    """The option that a block takes, with its loss and its cost under every budget."""

    block: str
    option: str
    loss: float
    costs: Vector


class ChoiceFile(Document):
    """`zetaplan.plan/2`: menu, request, the option of every block, and the proof.

    loss : the total loss, rounded once. spent : the total cost under every budget, rounded once.
    gap : no choice within the budgets loses less by more; 0 where status is "optimal".
    proof : the certificate in fractions, which `zetaplan.verification.menus.checker` checks in this file by itself.
    """

    schema_: Literal["zetaplan.plan/2"] = Field("zetaplan.plan/2", alias="schema")
    sha256_: str = Field("", alias="sha256", description="sha256 of this document with this field empty")
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

    def seal(self) -> str:
        """The sha256 that the field `sha256` has to hold."""
        return digest(self.model_copy(update={"sha256_": ""}).text())

    def sealed(self) -> ChoiceFile:
        """The same document with its own sha256 filled in."""
        return self.model_copy(update={"sha256_": self.seal()})
