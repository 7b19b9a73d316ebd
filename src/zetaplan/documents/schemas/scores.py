"""Schema of `zetaplan.scores/1`: the measurements on every block of a model."""

from __future__ import annotations

from collections import Counter
from typing import Literal, Self

from pydantic import Field, model_validator

from zetaplan._records import Facts, Record
from zetaplan.documents.schemas.document import Document
from zetaplan.errors import shown


class LayerScore(Record):
    """The measurements on one block; `zetaplan.scoring.Scores` defines each number.

    Files before version 0.2 have no enclosure (low and high then equal the gain) and none of the later columns.
    """

    name: str
    gain: float
    low: float | None = None
    high: float | None = None
    noise_floor: float | None
    standard_error: float | None
    cross_fitted: tuple[float, float] | None = None
    effective_dimension: float | None = None
    decrease: float | None = None
    held_out_decrease: float | None = None
    gradient_norm: float
    damping: float
    parameters: int
    linear_parameters: int
    rank_parameters: int


class ScoresFile(Document):
    """`zetaplan.scores/1`: one record per block, the surrogate, and the provenance of the numbers."""

    schema_: Literal["zetaplan.scores/1"] = Field("zetaplan.scores/1", alias="schema")
    curvature: str
    blocks: str
    loss: float
    layers: tuple[LayerScore, ...] = Field(min_length=1)
    left_out: tuple[str, ...]
    provenance: Facts

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        twice = [name for name, count in Counter(layer.name for layer in self.layers).items() if count > 1]
        if twice:
            raise ValueError(f"layer {twice[0]!r} appears more than once")
        return self

    @model_validator(mode="after")
    def _sequences_are_counted(self) -> Self:
        sequences = self.provenance.get("sequences", 1)
        if type(sequences) is not int or not 1 <= sequences <= 2**53:
            raise ValueError(f"provenance.sequences = {shown(sequences)}: expected a whole number above 0")
        return self
