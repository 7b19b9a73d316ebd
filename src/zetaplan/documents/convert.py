"""Conversion of values to documents and back: arrays become tuples of doubles, without loss; infinite caps `null`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zetaplan._files import write
from zetaplan._records import checked
from zetaplan._uncollected import uncollected
from zetaplan.documents.columns import cells, column
from zetaplan.documents.io import load, save
from zetaplan.documents.schemas.plan import (
    CertificateData,
    ConditionData,
    InstanceData,
    PlanFile,
    RegretData,
    RoundedData,
    SolutionData,
)
from zetaplan.documents.schemas.scores import LayerScore, ScoresFile
from zetaplan.drift.cost import Cost
from zetaplan.errors import SpecError, require
from zetaplan.plans.amounts import in_total, per_layer
from zetaplan.plans.bounds import require_range
from zetaplan.plans.kinds import kind_for, kind_of
from zetaplan.plans.plan import Plan
from zetaplan.plans.whole import Rounded, Whole
from zetaplan.scoring.scores import Scores
from zetaplan.spec.instance import Instance, rebuild
from zetaplan.spec.programs import named
from zetaplan.spec.solution import Solution, Status
from zetaplan.verification.certificate import Certificate, certify

COUNTS = ("parameters", "linear_parameters", "rank_parameters")
MEASURES = ("gain", "gradient_norm", "damping", *COUNTS)
ENCLOSURE = ("low", "high")
OPTIONAL = (
    "noise_floor",
    "standard_error",
    "cross_fitted",
    "effective_dimension",
    "decrease",
    "held_out_decrease",
)


@uncollected()
def save_scores(scores: Scores, path: str | os.PathLike[str]) -> Path:
    """Write `zetaplan.scores/1` to the file atomically. Raises SpecError if it cannot be written.

    Examples:
        >>> zp.save_scores(scores, "scores.json").name
        'scores.json'
    """
    return save(path, scores_document(scores))


def load_scores(path: str | os.PathLike[str]) -> Scores:
    """The scores in a `zetaplan.scores/1` file. Raises SpecError for any other file.

    Examples:
        >>> _ = zp.save_scores(scores, "scores.json")
        >>> bool((zp.load_scores("scores.json").gain == scores.gain).all())  # every bit
        True
    """
    return scores_value(load(path, ScoresFile))


def scores_document(scores: Scores) -> ScoresFile:
    """The scores as the document that `save_scores` writes."""
    require(scores, Scores, "scores", "give what zetaplan.score or zetaplan.load_scores returns")
    columns = {name: getattr(scores, name).tolist() for name in (*MEASURES, *ENCLOSURE)}
    columns |= {name: cells(getattr(scores, name), len(scores.names)) for name in OPTIONAL}
    rows = zip(*columns.values(), strict=True)
    return checked(
        ScoresFile,
        curvature=scores.curvature,
        blocks=scores.blocks,
        loss=scores.loss,
        layers=tuple(
            checked(LayerScore, name=name, **dict(zip(columns, row, strict=True)))
            for name, row in zip(scores.names, rows, strict=True)
        ),
        left_out=scores.left_out,
        provenance=dict(scores.provenance),
    )


def scores_value(document: ScoresFile) -> Scores:
    """The scores in a document."""
    layers = document.layers
    columns: dict[str, Any] = {
        name: np.array([getattr(layer, name) for layer in layers], np.int64 if name in COUNTS else np.float64)
        for name in MEASURES
    }
    optional: dict[str, Any] = {name: column([getattr(layer, name) for layer in layers]) for name in OPTIONAL}
    scores = Scores(
        names=tuple(layer.name for layer in layers),
        low=_or_gain([layer.low for layer in layers], columns["gain"]),
        high=_or_gain([layer.high for layer in layers], columns["gain"]),
        curvature=document.curvature,
        blocks=document.blocks,
        loss=document.loss,
        left_out=document.left_out,
        provenance=document.provenance,
        **columns,
        **optional,
    )
    require_range(scores)
    return scores


@uncollected()
def save_plan(plan: Plan, path: str | os.PathLike[str]) -> Path:
    """Write `zetaplan.plan/1` to the file atomically. Raises SpecError if it cannot be written.

    Examples:
        >>> zp.save_plan(zp.allocate(scores, mean_rank=4), "plan.json").name
        'plan.json'
    """
    return write(path, _unsealed(plan).sealed_text())


def plan_document(plan: Plan) -> PlanFile:
    """The plan as the document that `save_plan` writes, with its own sha256.

    Examples:
        >>> zp.plan_document(zp.allocate(scores, mean_rank=4)).schema_
        'zetaplan.plan/1'
    """
    return _unsealed(plan).sealed()


def _unsealed(plan: Plan) -> PlanFile:
    require(plan, Plan, "plan", "give what zetaplan.allocate or zetaplan.prune returns")
    return checked(
        PlanFile,
        kind=plan.kind.name,
        created=plan.created,
        versions=dict(plan.versions),
        unit=plan.unit,
        resource_unit=plan.resource_unit,
        names=plan.names,
        warnings=plan.warnings,
        request=plan.request,
        instance=_instance_data(plan.instance),
        solution=_solution_data(plan.solution),
        certificate=certificate_data(plan.certificate),
        rounded=rounded_data(plan),
        regret=regret_data(plan.regret),
        proof=plan.proof,
        scores_sha256="",
        scores=scores_document(plan.scores),
    )


def certificate_data(certificate: Certificate) -> CertificateData:
    """The certificate as a part of a plan's document."""
    conditions = tuple(
        checked(ConditionData, name=c.name, residual=c.residual, tolerance=c.tolerance, ok=c.ok, meaning=c.meaning)
        for c in certificate.conditions
    )
    return checked(CertificateData, valid=certificate.valid, gap=certificate.gap, conditions=conditions)


def rounded_data(plan: Plan) -> RoundedData:
    """The whole units as a part of a plan's document."""
    rounded = plan.rounded
    return checked(
        RoundedData,
        unit=plan.whole_unit,
        step=rounded.step,
        layers=per_layer(plan),
        total=in_total(plan),
        objective=rounded.objective,
        bound=rounded.bound,
        gap=rounded.gap,
        method=rounded.method,
        optimal=rounded.optimal,
        proof=rounded.proof,
    )


def regret_data(costs: Sequence[Cost]) -> tuple[RegretData, ...]:
    """The bounds on the regret as a part of a plan's document."""
    return tuple(
        checked(
            RegretData,
            source=cost.source,
            amount=cost.amount,
            assumption=cost.meaning,
            share=cost.share if math.isfinite(cost.share) else None,
            layers=_vector(cost.layers),
        )
        for cost in costs
    )


def plan_value(document: PlanFile) -> Plan:
    """The plan with the numbers of the document and a newly computed certificate, which may be invalid."""
    request = document.request
    kind = kind_of(document.kind) if document.kind else kind_for(document.instance.program, request.expert_rank)
    instance = instance_value(document.instance, document.names)
    solution = solution_value(document.solution, instance)
    return Plan(
        kind=kind,
        instance=instance,
        solution=solution,
        certificate=certify(instance, solution),
        rounded=rounded_value(document.rounded, kind.whole, solution),
        proof=document.proof,
        scores=scores_value(document.scores),
        request=request,
        regret=tuple(regret_value(data, document.names) for data in document.regret),
        warnings=document.warnings,
        created=document.created,
        versions=dict(document.versions),
    )


def regret_value(data: RegretData, names: tuple[str, ...]) -> Cost:
    """The bound on the regret that a document claims."""
    share = math.inf if data.share is None else data.share
    return Cost(names, share, np.array(data.layers), data.assumption, data.source, data.amount)


def instance_value(data: InstanceData, names: tuple[str, ...]) -> Instance:
    """The instance with exactly the doubles of the document. Raises SpecError if they do not describe a program."""
    return rebuild(
        named(data.program),
        data.quality,
        data.weight,
        data.resource,
        data.limit,
        data.lower,
        [math.inf if cap is None else cap for cap in data.upper],
        data.parameters,
        names,
    )


def solution_value(data: SolutionData, instance: Instance) -> Solution:
    """The solution that a document claims for the instance."""
    if data.status not in Status.__members__:
        raise SpecError(f"solution.status = {data.status!r}: expected one of {', '.join(Status.__members__)}")
    return Solution(instance, np.array(data.x), data.multiplier, Status[data.status], data.method)


def rounded_value(data: RoundedData, whole: Whole, relaxed: Solution) -> Rounded:
    """The whole units that a document claims for a plan."""
    units = np.array([amounts.rounded for amounts in data.layers.values()], np.int64)
    return Rounded(whole, relaxed, units, data.step, data.method, data.optimal, data.proof)


def _instance_data(instance: Instance) -> InstanceData:
    return checked(
        InstanceData,
        program=instance.program.name,
        parameters=dict(instance.parameters),
        quality=_vector(instance.quality),
        weight=_vector(instance.weight),
        resource=_vector(instance.resource),
        limit=instance.limit,
        lower=_vector(instance.lower),
        upper=tuple(None if cap == math.inf else cap for cap in instance.upper.tolist()),
    )


def _solution_data(solution: Solution) -> SolutionData:
    return checked(
        SolutionData,
        x=_vector(solution.x),
        multiplier=solution.multiplier,
        objective=solution.objective,
        method=solution.method,
        status=solution.status.name,
    )


def _vector(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.tolist())


def _or_gain(values: Sequence[float | None], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([own if value is None else value for value, own in zip(values, gain.tolist(), strict=True)])
