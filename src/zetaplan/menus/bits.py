"""Menus of formats: which matrices of a model belong to every block, and what a plan stores each of them as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from pydantic import Field, JsonValue, ValidationError

from zetaplan._records import Record, Whole, first_error
from zetaplan.errors import SpecError
from zetaplan.menus.cache import CacheLayer
from zetaplan.menus.menu import Menu

BYTES = "bytes"  # unit of the budget that counts what the blocks store


class Weight(Record):
    """A matrix, or a stack of matrices, of a model.

    name : of the parameter. module : of the module that owns it. layer : the decoder layer, "" outside of them.
    count, rows, columns : `count` matrices (rows, columns), the columns being the inputs. transposed : stored as
    (columns, rows).
    """

    name: str
    module: str
    layer: str = ""
    count: int = Field(default=1, ge=1)
    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    transposed: bool = False

    @property
    def numel(self) -> int:
        """The number of weights."""
        return self.count * self.rows * self.columns

    @property
    def shape(self) -> tuple[int, int, int]:
        """(count, rows, columns)."""
        return self.count, self.rows, self.columns


class WholeData(Record):
    """The whole model in one format: the sum of the blocks' losses, and divergence and rise of the loss as measured."""

    format: str
    promised: float
    measured: float
    rise: float


#: Among the details of an option: its experts that too few tokens reached, rounded by the inputs of all of their stack.
POOLED = "pooled_experts"


class MeasuredData(Record):
    """How the losses were measured.

    text_sha256, sequences : of the text. calibration_sha256 : of the text that calibrated formats are rounded on, if
    there are any. seed : of random draws. wholes : the check of whole models, if it was made; validated : whether
    predicted and measured divergence agree to a factor of 2. left_out : why formats are missing, in how many blocks.
    details : further numbers of the estimator by "block: format", and `POOLED`.
    """

    text_sha256: str
    calibration_sha256: str = ""
    sequences: int
    seed: int
    validated: bool | None = None
    wholes: tuple[WholeData, ...] = ()
    left_out: dict[str, Whole] = Field(default_factory=dict)
    details: dict[str, dict[str, float]] = Field(default_factory=dict)

    @property
    def pooled(self) -> dict[str, int]:
        """The largest number of such experts, by block."""
        found: dict[str, int] = {}
        for option, facts in self.details.items():
            if POOLED in facts:
                block = option.rpartition(": ")[0]
                found[block] = max(found.get(block, 0), int(facts[POOLED]))
        return found


class BitsFacts(Record):
    """The provenance of a menu of formats.

    weights : the matrices of every block, which all take the block's format. others : the number of entries of every
    parameter that keeps its format, by name. head : the matrix that computes the logits. cache : the layers that
    cache keys and values. stored_as : how many tensors
    the source stores in which quantised format. runtime : the program whose rules and sizes the menu follows, if one is
    chosen. measured : facts of the estimator and its text. refined : the record of a
    refinement.
    """

    decides: Literal["bits"] = "bits"
    model: str
    model_sha256: str
    architecture: str = ""
    weights: dict[str, tuple[Weight, ...]]
    others: dict[str, Whole] = Field(default_factory=dict)
    head: str = ""
    embedding: str = ""
    cache: tuple[CacheLayer, ...] = ()
    stored_as: dict[str, Whole] = Field(default_factory=dict)
    runtime: str | None = Field(default=None, description="The runtime whose rules and sizes the menu follows.")
    measured: MeasuredData | None = None
    refined: dict[str, JsonValue] | None = None

    @property
    def numel(self) -> int:
        """The number of weights that the menu covers."""
        return sum(weight.numel for _, weight in self.items())

    def items(self) -> Iterator[tuple[str, Weight]]:
        """(block, matrix) in the order of the menu."""
        return ((block, weight) for block, members in self.weights.items() for weight in members)


def bits_facts(menu: Menu) -> BitsFacts:
    """The facts of a menu of formats. Raises SpecError if the menu decides something else."""
    if menu.provenance.get("decides") != "bits":
        raise SpecError(
            "menu: it does not state which matrices its blocks hold, so it decides no formats; "
            "make one with `zetaplan measure MODEL --for bits`"
        )
    try:
        facts = BitsFacts.model_validate(dict(menu.provenance), strict=False)
    except ValidationError as error:
        raise SpecError(f"menu: provenance.{first_error(error)}") from error
    if set(facts.weights) != set(menu.names):
        raise SpecError("menu: provenance.weights: expected the blocks of the menu")
    return facts


class Planned(Protocol):
    """A menu, and the label of the option that each of its blocks takes."""

    @property
    def menu(self) -> Menu: ...

    @property
    def taken(self) -> dict[str, str]: ...


def formats_of(plan: Planned) -> dict[str, str]:
    """The label of the format of every matrix of the plan, by the name of its parameter."""
    facts, taken = bits_facts(plan.menu), plan.taken
    return {weight.name: taken[block] for block, weight in facts.items()}


def bits_of(plan: Planned) -> dict[str, float]:
    """The bits per weight of every block, from the bytes that its option stores.

    Raises SpecError for a menu that decides no formats, or without a budget in bytes.
    """
    menu, facts = plan.menu, bits_facts(plan.menu)
    if BYTES not in menu.units:
        raise SpecError(f"menu: expected a budget in bytes, got {', '.join(menu.units)}")
    m, rows = menu.units.index(BYTES), zip(menu.options, menu.costs, plan.taken.items(), strict=True)
    stored = {name: costs[labels.index(label)][m] for labels, costs, (name, label) in rows}
    return {name: 8.0 * size / sum(weight.numel for weight in facts.weights[name]) for name, size in stored.items()}
