"""Checks of a published plan without the scores from which it was computed.

Feasibility is a sum of fractions. Optimality is an inverse problem: the objective is linear in the weight, so for each
layer stationarity at the published x_k gives one weight,

    r_k = (weight with dL/dx_k = 0 at pi = 1),      w_k = pi r_k      for a layer inside its box,

and an inequality for a layer at its floor or its cap. The plan is optimal if and only if all weights are in these
intervals. The total price pi is free, so only shares can be recovered. share_k is least when all others are at their
largest, and largest when all others are at their least.

For integer counts at equal costs the greedy plan is optimal, so e_k is right if and only if some threshold t separates
the gains of the last unit taken and of the next one: t / log((e + 1) / e) <= w_k <= t / log((e + 2) / (e + 1)).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from zetaplan.errors import SpecError
from zetaplan.spec.instance import Array
from zetaplan.verification.claim import TOLERANCE

SIZE_LIMIT = 2**24  # bytes: thousands of layers

Layers = Annotated[tuple[float, ...], Field(min_length=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class PruningPlan(_Record):
    """A published sparsity per layer, with its box, target and multiplier.

    lower, upper : default 0 and 1. bits, eta : without effect if the target binds.
    """

    program: Literal["pruning"]
    source: str = ""
    sizes: Layers
    lower: Layers
    upper: Layers
    sparsity: Layers
    target: float = Field(ge=0.0)
    bits: float = Field(0.0, ge=0.0)
    eta: float = Field(1.0, gt=0.0)
    multiplier_published: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole_box(cls, data: Any) -> Any:
        if not (isinstance(data, dict) and isinstance(data.get("sizes"), list)):
            return data
        layers = len(data["sizes"])
        return {"lower": [0.0] * layers, "upper": [1.0] * layers, **data}


class ExpertCounts(_Record):
    """Experts per layer under a share of an unpublished budget."""

    budget_share: float = Field(gt=0.0)
    experts: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class ExpertPlans(_Record):
    """Several allocations of experts that were published together."""

    program: Literal["allocation"]
    source: str = ""
    plans: dict[str, ExpertCounts] = Field(min_length=1)


Published = Annotated[PruningPlan | ExpertPlans, Field(discriminator="program")]


@dataclass(frozen=True)
class Finding:
    """The answer to one question about a plan. holds : None if unknown. words : the answer as text."""

    question: str
    holds: bool | None
    words: str


@dataclass(frozen=True)
class PlanAudit:
    """The findings on one plan, and the intervals of the shares of quality, (K,), for which it is optimal.

    verdict : the answer in one sentence. A target that is missed by at most 1e-9 of itself, the tolerance of every
    certificate, is met, but for rounding.
    """

    name: str
    verdict: str
    findings: tuple[Finding, ...]
    least_share: tuple[float, ...]
    largest_share: tuple[float, ...]

    @property
    def negative(self) -> bool:
        return any(finding.holds is False for finding in self.findings)


def audit_plan(path: Path) -> tuple[PlanAudit, ...]:
    """Read a published plan and return its findings.

    Raises SpecError for a file that is missing, too large, or of neither schema.
    """
    plan = _read(path)
    if isinstance(plan, PruningPlan):
        return (_pruning(path.stem, plan),)
    unit = _unit_cost(plan)
    return tuple(_experts(name, counts, unit) for name, counts in plan.plans.items())


def _read(path: Path) -> PruningPlan | ExpertPlans:
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise SpecError(f"{path} is larger than {SIZE_LIMIT} bytes")
        document = json.loads(path.read_text("utf-8"))
        plan: PruningPlan | ExpertPlans = TypeAdapter(Published).validate_python(document)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise SpecError(f"{path} is no published plan: {place}: {first['msg']}; {_remedy(document)}") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not a JSON file: {error}") from error
    if isinstance(plan, PruningPlan):
        _same_length(path, plan)
    return plan


def _remedy(document: object) -> str:
    if isinstance(document, dict) and str(document.get("schema", "")).startswith("zetaplan.plan/"):
        return "it is a plan of zetaplan, which contains its certificate: use zetaplan verify"
    return "write program, sizes, sparsity and target for a pruning, or program and plans for experts"


def _same_length(path: Path, plan: PruningPlan) -> None:
    for name in ("lower", "upper", "sparsity"):
        if len(getattr(plan, name)) != len(plan.sizes):
            raise SpecError(f"{path}: {name} has {len(getattr(plan, name))} layers, sizes has {len(plan.sizes)}")
    if min(plan.sizes) <= 0.0 or min(plan.sparsity) < 0.0:
        raise SpecError(f"{path}: expected sizes above 0 and sparsities of at least 0")


def _pruning(name: str, plan: PruningPlan) -> PlanAudit:
    least, largest = _weights(plan)
    excess = sum(map(_product, plan.sizes, plan.sparsity), Fraction(0)) - Fraction(plan.target)
    rounding = excess != 0 and abs(excess) <= Fraction(TOLERANCE) * Fraction(plan.target)
    missed = Fraction(0) if rounding else excess
    findings = (
        _target(excess, rounding),
        _inside(plan),
        _some_scores(plan, least, largest, missed),
        _normalised(plan, least),
    )
    kept = "its target is met, but for rounding" if rounding else "its target is met"
    return PlanAudit(name, _verdict(findings, kept), findings, *_shares(least, largest))


def _verdict(findings: tuple[Finding, ...], kept: str) -> str:
    """The first reason for a refusal, or what was found sound."""
    refused = next((found.words for found in findings if found.holds is False), None)
    return f"refused: {refused}" if refused else f"accepted: {kept}, and it is optimal for some scores"


def _weights(plan: PruningPlan) -> tuple[Array, Array]:
    """The least and the largest weight of each layer at pi = 1: Eq. 15 solved for the weight."""
    sizes, rho, lower, upper = (np.array(v) for v in (plan.sizes, plan.sparsity, plan.lower, plan.upper))
    with np.errstate(divide="ignore"):
        rest = sizes / (2.0 * plan.eta * rho)
    return np.where(rho >= upper, 0.0, rest), np.where(rho <= lower, np.inf, rest)


def _product(a: float, b: float) -> Fraction:
    return Fraction(a) * Fraction(b)


def _target(excess: Fraction, rounding: bool) -> Finding:
    words = (
        f"it removes {abs(float(excess)):.6g} parameters {'more' if excess > 0 else 'fewer'} than the target requires"
    )
    if excess == 0:
        words = "it removes exactly as many parameters as the target requires"
    if rounding:
        words = f"yes, but for rounding: {words}"
    return Finding("Is the target met?", excess >= 0 or rounding, f"{words}, summed in fractions")


def _inside(plan: PruningPlan) -> Finding:
    rows = zip(plan.lower, plan.sparsity, plan.upper, strict=True)
    outside = [k for k, (lower, rho, upper) in enumerate(rows) if not lower <= rho <= upper]
    words = f"outside at layers {outside}" if outside else f"all {len(plan.sizes)} layers are between floor and cap"
    return Finding("Is every layer inside its box?", not outside, words)


def _some_scores(plan: PruningPlan, least: Array, largest: Array, excess: Fraction) -> Finding:
    """Whether there is a quality for which the published numbers are the optimum."""
    question = "Is it optimal for any scores at all?"
    never = np.flatnonzero(np.isinf(least)).tolist()
    if never:
        return Finding(
            question,
            False,
            f"no: layers {never} have sparsity 0 and a cap above 0, which no finite score makes optimal",
        )
    interior, capped = int((least == largest).sum()), int(((least == 0.0) & np.isfinite(largest)).sum())
    scores = (
        f"{interior} layers inside their box fix each other's scores, w_k proportional to n_k / rho_k; {capped} at "
        "their cap are only known to have at most that score"
    )
    if excess == 0:
        return Finding(question, True, f"yes, for all scores within the intervals given: {scores}")
    moved = f"As the optimum for a target moved by {float(excess):.6g} parameters it is: {scores}"
    if excess < 0:
        return Finding(question, False, f"not for this target, which it misses. {moved}")
    slack = "a target that is exceeded has multiplier 0 (complementary slackness)"
    if (plan.multiplier_published or 0.0) > 0.0:
        slack += f", but the multiplier published with it is {plan.multiplier_published:.6g}"
    if plan.bits == 0.0:
        return Finding(question, False, f"not for this target: {slack}. {moved}")
    return Finding(question, True, f"only where w_k = {plan.bits:g} n_k / (2 eta rho_k) itself: {slack}. {moved}")


def _normalised(plan: PruningPlan, least: Array) -> Finding:
    """Shares that sum to 1 bound the total price: bits <= pi <= 1 / sum of the least weights."""
    question = f"Could those scores be shares that sum to one, at bits = {plan.bits:g}?"
    total = float(least.sum())
    highest = 1.0 / total if total > 0.0 else math.inf
    if plan.bits <= highest:
        return Finding(question, True, f"yes: the total price may be anything up to {highest:.3g}")
    unit = "the scores were then on another scale, and only their ratios can be recovered"
    words = f"no: they allow a total price of at most {highest:.3g}, so the multiplier would be negative; {unit}"
    return Finding(question, None, words)


def _shares(least: Array, largest: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The least and the largest share of each layer over all weights in their intervals."""
    with np.errstate(all="ignore"):
        low = [_share(least[k], np.delete(largest, k).sum()) for k in range(least.size)]
        high = [_share(largest[k], np.delete(least, k).sum()) for k in range(least.size)]
    return tuple(low), tuple(high)


def _share(own: float, others: float) -> float:
    if math.isinf(own):
        return 1.0
    return float(own / (own + others)) if own > 0.0 else 0.0


def _unit_cost(plan: ExpertPlans) -> tuple[Fraction, Fraction]:
    """(above, at most): costs of one expert at which every budget fits its plan and no further expert."""
    shares = [(Fraction(str(counts.budget_share)), sum(counts.experts)) for counts in plan.plans.values()]
    return max(share / (n + 1) for share, n in shares), min(share / n for share, n in shares)


def _experts(name: str, counts: ExpertCounts, unit: tuple[Fraction, Fraction]) -> PlanAudit:
    e, n = np.array(counts.experts, dtype=np.float64), sum(counts.experts)
    least, largest = 1.0 / np.log((e + 1.0) / e), 1.0 / np.log((e + 2.0) / (e + 1.0))
    low, high = map(float, unit)
    same = (
        f"yes: one expert then costs between {low:.4g} and {high:.4g} of a base layer"
        if low < high
        else f"no: some plan leaves room for a further expert at {high:.4g} of a base layer, the most that all can pay"
    )
    findings = (
        Finding(
            "Is the budget kept?",
            None,
            f"{n} experts under a share of {counts.budget_share:g}: kept if one costs at most "
            f"{counts.budget_share / n:.4g} of a base layer; the file does not state the cost",
        ),
        Finding("Do all published plans use their budgets up at one common cost?", low < high or None, same),
        Finding(
            "Is it optimal for any scores at all?",
            True,
            "yes, at equal costs for all layers: any counts are optimal for scores within the given intervals, in "
            "which the "
            "greedy method takes these units; if the floor is one expert, a layer with one may have any lower score",
        ),
        Finding(
            "Which scores were used?",
            None,
            "only shares of q^beta within the intervals; not beta, the costs, the rounding rule, nor the scale",
        ),
    )
    verdict = _verdict(findings, "whether the budget is kept is not known, as the file states no cost")
    return PlanAudit(name, verdict, findings, *_shares(least, largest))
