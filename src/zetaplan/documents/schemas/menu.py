"""`zetaplan.menu/1`: what every option of every block loses and costs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zetaplan._records import Facts, Record
from zetaplan.documents.schemas.document import Document


class BudgetData(Record):
    """What is limited, and the unit of its costs."""

    name: str
    unit: str = ""


class OptionData(Record):
    """One option of a block. costs : a number, or one per budget. low, high, standard_error : of the loss, if known."""

    label: str
    loss: float
    costs: float | tuple[float, ...]
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None


class BlockData(Record):
    """A block and the options of which it takes one."""

    name: str
    options: tuple[OptionData, ...] = Field(min_length=1)


class MenuFile(Document):
    """`zetaplan.menu/1`: the blocks with their options, the budgets, and where the numbers come from.

    groups : blocks that must take the same option. estimator : how the losses were measured.
    """

    schema_: Literal["zetaplan.menu/1"] = Field("zetaplan.menu/1", alias="schema")
    estimator: str = "given"
    loss_unit: str = ""
    budgets: tuple[BudgetData, ...] = Field((BudgetData(name="cost"),), min_length=1)
    blocks: tuple[BlockData, ...] = Field(min_length=1)
    groups: tuple[tuple[str, ...], ...] = ()
    provenance: Facts = Field(default_factory=dict)
