"""`zetaplan.plan/1`: a plan with all that it follows from, its certificate and its proof."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from zetaplan._files import digest
from zetaplan._records import Bounds, Record, Vector, Whole
from zetaplan.documents.schemas.document import Document
from zetaplan.documents.schemas.scores import ScoresFile
from zetaplan.drift.intervals import Source
from zetaplan.plans.amounts import Amounts
from zetaplan.plans.proof import ChoiceProof, EnclosureProof, FractionProof
from zetaplan.plans.request import Request


class InstanceData(Record):
    """The data of one convex program, K entries per vector; `upper` holds `null` where there is no bound."""

    program: str
    parameters: dict[str, float]
    quality: Vector
    weight: Vector
    resource: Vector
    limit: float
    lower: Vector
    upper: Bounds


class SolutionData(Record):
    """The plan itself: capacity or sparsity per layer, and the multiplier that proves it."""

    x: Vector
    multiplier: float
    objective: float
    method: str
    status: str


class ConditionData(Record):
    """One condition of optimality: its scaled residual may not exceed its tolerance."""

    name: str
    residual: float
    tolerance: float
    ok: bool
    meaning: str


class CertificateData(Record):
    """The verdict in doubles on the solution of the instance it lies beside."""

    valid: bool
    gap: float
    conditions: tuple[ConditionData, ...] = Field(min_length=1)


class RoundedData(Record):
    """The plan in whole units; `gap` = objective - bound, and no plan at all is below the bound.

    proof : that no plan in whole units is better. Plans of shares have none, nor have files written before it.
    """

    unit: str
    step: Annotated[Whole, Field(ge=1)]
    layers: dict[str, Amounts]
    total: Amounts
    objective: float
    bound: float
    gap: float
    method: str
    optimal: bool = Field(description="that no plan in whole units is better; without it, the gap is proved")
    proof: ChoiceProof | None = None

    @model_serializer(mode="wrap")
    def _as_written(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `proof` where there is none."""
        return _without_none(inner(self), "proof")


def _without_none(written: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields of a record, `name` left out where it is None."""
    return {key: value for key, value in written.items() if key != name or value is not None}


class RegretData(Record):
    """What the plan loses at most, while every gain stays in an interval, as a share of the best objective; proved.

    source, amount : where the intervals come from, with the confidence of sampling or the drift asked about.
    assumption : the same in words. share : null where nothing is proved. layers : what each layer adds to it, in order.
    """

    source: Source
    amount: float | None
    assumption: str
    share: float | None
    layers: Vector


class PlanFile(Document):
    """`zetaplan.plan/1`: instance, solution, certificate, whole units, and the scores they follow from.

    kind : what is planned; files written before 0.2 have none, and the program and the request say it.
    proof : the certificate in fractions, which `zetaplan.verification.checker` checks in this file by itself, or an
    enclosure of the optimum.
    """

    schema_: Literal["zetaplan.plan/1"] = Field("zetaplan.plan/1", alias="schema")
    sha256_: str = Field("", alias="sha256", description="sha256 of this document with this field empty")
    kind: str | None = None
    created: str
    versions: dict[str, str]
    unit: str
    resource_unit: str
    names: tuple[str, ...]
    warnings: tuple[str, ...]
    request: Request
    instance: InstanceData
    solution: SolutionData
    certificate: CertificateData
    rounded: RoundedData
    regret: tuple[RegretData, ...] = ()
    proof: FractionProof | EnclosureProof = Field(discriminator="schema_")
    scores_sha256: str
    scores: ScoresFile

    @model_validator(mode="after")
    def _one_entry_per_layer(self) -> Self:
        lengths = {
            "names": len(self.names),
            "instance.quality": len(self.instance.quality),
            "instance.weight": len(self.instance.weight),
            "instance.resource": len(self.instance.resource),
            "instance.lower": len(self.instance.lower),
            "instance.upper": len(self.instance.upper),
            "solution.x": len(self.solution.x),
            "rounded.layers": len(self.rounded.layers),
        }
        layers = len(self.scores.layers)
        for field, length in lengths.items():
            if length != layers:
                raise ValueError(f"{field} has {length} entries, but there are {layers} layers")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `kind` where the file has none: its sha256 is that of its own fields."""
        return _without_none(inner(self), "kind")

    def seal(self) -> str:
        """The sha256 that the field `sha256` has to hold."""
        return digest(self.model_copy(update={"sha256_": ""}).text())

    def sealed(self) -> PlanFile:
        """The same document with its own sha256 filled in."""
        return self.model_copy(update={"sha256_": self.seal()})
