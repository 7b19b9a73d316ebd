"""Schema of `zetaplan.plan/1`: a plan with its scores, instance, certificate and proof."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from zetaplan._records import Bounds, Record, Vector, Whole
from zetaplan.documents.schemas.document import Sealed
from zetaplan.documents.schemas.scores import ScoresFile
from zetaplan.drift.intervals import Source
from zetaplan.plans.amounts import Amounts
from zetaplan.plans.proof import ChoiceProof, EnclosureProof, FractionProof
from zetaplan.plans.request import Request


class InstanceData(Record):
    """The data of one convex program, K entries per vector; `upper` is `null` where there is no bound."""

    program: str
    parameters: dict[str, float]
    quality: Vector
    weight: Vector
    resource: Vector
    limit: float
    lower: Vector
    upper: Bounds


class SolutionData(Record):
    """The solution: capacity or sparsity per layer, and the multiplier that proves it optimal."""

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
    """The certificate, in doubles, of the solution of the plan's instance."""

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
    """Proved upper bound on the regret while every gain stays in its interval, as a share of the best objective.

    source, amount : the source of the intervals, with the confidence of sampling or the assumed drift.
    assumption : the assumption in words. share : null if no bound is proved. layers : contribution of each layer, in
    model order.
    """

    source: Source
    amount: float | None
    assumption: str
    share: float | None
    layers: Vector


class PlanFile(Sealed):
    """`zetaplan.plan/1`: instance, solution, certificate, whole units, and the scores that they were computed from.

    kind : the kind of plan; null in files before version 0.2, where the program and the request determine it.
    proof : the certificate in fractions, which `zetaplan.verification.checker` checks in this file, or an enclosure of
    the optimum.
    """

    inner: ClassVar[str] = "scores"

    schema_: Literal["zetaplan.plan/1"] = Field("zetaplan.plan/1", alias="schema")
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
        """The fields, without `kind` if the file has none, so that the sha256 covers exactly the stored fields."""
        return _without_none(inner(self), "kind")
