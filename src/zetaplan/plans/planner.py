"""From scores to a plan: which gain counts, what a unit costs, how much there is to spend, and the proof.

Allocation hands out LoRA rank: one rank on a layer costs its `rank_parameters` (in + out, summed over its linears).
Pruning hands out sparsity: a layer's size is its `linear_parameters`, the weights that can be removed.
Noise alone gives a layer a gain (its noise floor); `gain="net"` counts only what lies above it, and `gain="unbiased"`
the cross-fitted gain, where noise cancels.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zetaplan import __version__
from zetaplan.documents.convert import plan_document
from zetaplan.documents.schemas import CertificateFile, Limit, LimitKind, PlanFile, Request, checked, save
from zetaplan.errors import CertificateError, SpecError
from zetaplan.plans.bounds import Bound, Wish, feasible, one_each, tied, wishes_of
from zetaplan.plans.whole import Rounded, whole_counts, whole_ranks
from zetaplan.solvers import solve
from zetaplan.spec.instance import Arrayish, Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import Certificate, certify

if TYPE_CHECKING:
    from zetaplan.scoring import Scores

Array = NDArray[np.float64]
Gain = Literal["raw", "net", "unbiased"]

#: The reliability that a ranking of layers has to reach, as in psychometrics (Nunnally 1978).
RELIABLE = 0.9

#: Above this share of noise floor in the total gain, a plan says so.
NOISY = 0.5

UNITS = {"allocation": "LoRA rank", "pruning": "sparsity (share of the layer's linear weights)"}


@dataclass(frozen=True, eq=False)
class Plan:
    """Capacity or sparsity per layer, its certificate, and the scores and the request that it follows from.

    instance, solution, certificate : the program solved, its optimum, the proof. `solution.x` has shape (K,).
    rounded : the same in whole units, to be used: `rounded.units` holds LoRA ranks, or parameters to remove.
    proof : the certificate in fractions, for `zetaplan.check_certificate` or whoever has Python alone.
    scores : what was measured. request : how instance follows from scores.
    created : UTC time, ISO 8601. versions : software by name.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4)
        >>> ranks.rounded.units.shape, ranks.names == scores.names
        ((3,), True)
        >>> ranks.save("plan.json").name
        'plan.json'
    """

    instance: Instance
    solution: Solution
    certificate: Certificate
    rounded: Rounded
    proof: CertificateFile
    scores: Scores
    request: Request
    created: str
    versions: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The K layers in model order."""
        return self.scores.names

    @property
    def unit(self) -> str:
        """What one unit of `solution.x` is."""
        experts = self.request.expert_rank
        return UNITS[self.instance.program.name] if experts is None else f"LoRA experts (of rank {experts})"

    @property
    def whole_unit(self) -> str:
        """What `rounded.units` counts."""
        return "parameters to remove" if self.rounded.counts_parameters else self.unit

    @property
    def resource_unit(self) -> str:
        """What the costs, the budget and the target count."""
        return "given by the caller" if self.request.resource == "given" else "parameters"

    @property
    def uniform(self) -> float:
        """The equal amount per layer that uses as much of the resource as the limit."""
        return self.instance.limit / math.fsum(self.instance.resource)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before trusting the plan; empty when there is nothing to say."""
        found = (noise_warning(self.scores), ranking_warning(self.scores), box_warning(self), step_warning(self))
        return tuple(warning for warning in found if warning)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `zetaplan.plan/1` to the file, whole or not at all."""
        return save(path, self.document())

    def document(self) -> PlanFile:
        """The plan as the document that `save` writes, sealed with its own sha256."""
        return plan_document(self)


def plan(scores: Scores, *, program: Literal["allocation", "pruning"], **options: Any) -> Plan:
    """`allocate(scores, **options)` or `prune(scores, **options)`, by the name of the program.

    Examples:
        >>> ranks = zp.plan(scores, program="allocation", mean_rank=4)
        >>> ranks.certificate.valid
        True
    """
    planners: dict[str, Callable[..., Plan]] = {"allocation": allocate, "pruning": prune}
    if program not in planners:
        raise SpecError(f"program = {program!r}: expected 'allocation' or 'pruning'")
    return planners[program](scores, **options)


def allocate(
    scores: Scores,
    *,
    budget: float | str | None = None,
    mean_rank: float | None = None,
    costs: Arrayish | None = None,
    alpha: float = 0.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    lower: Bound = 0.0,
    upper: Bound = math.inf,
    pins: Mapping[str, float] = MappingProxyType({}),
    groups: Sequence[Sequence[str]] = (),
    expert_rank: int | None = None,
    top_k: int = 2,
    gain: Gain = "raw",
    step: int = 1,
    drift: float = 0.1,
    method: str = "exact",
) -> Plan:
    """Divide a budget of parameters over the layers as LoRA rank (Theorem 2).

    budget : parameters, or "2%" of the parameters of all blocks scored; or
    mean_rank : the rank of the uniform plan that costs the same (8 if neither is given).
    costs : (K,) resource per unit of rank; the layers' `rank_parameters` if not given.
    lower, upper : one number, (K,), or numbers by name, with wildcards. pins : values that are settled, by name.
    groups : lists of names, with wildcards, whose blocks share one value and count as one block.
    expert_rank : plan experts of this LoRA rank instead, at least one per layer; all amounts then count experts.
    top_k : experts that a token is sent to, for exports and `zetaplan.mixture`; where a layer has fewer, all of them.
    gain : "raw", "net" of the noise floor, or "unbiased" (cross-fitted).
    step : what every rank of `rounded` is a multiple of, above 0.
    drift : a share between 0 and 1: the plan states what it can lose if every gain moves by so much of itself.
    method : of `zetaplan.solve`; of a solution that is off by more than 1e-9 no plan is made.
    The rest: `zetaplan.allocation`.

    Raises SpecError or InfeasibleError for bad data, also where floors and caps leave no whole ranks, and
    CertificateError if the solution does not verify.

    Examples:
        >>> ranks = zp.allocate(scores, mean_rank=4, step=2)
        >>> int(ranks.rounded.units.sum())  # as many as rank 4 everywhere
        12
    """
    if budget is not None and mean_rank is not None:
        raise SpecError("budget and mean_rank: give one of the two, not both")
    if expert_rank is not None and (costs is not None or expert_rank < 1):
        raise SpecError(f"expert_rank = {expert_rank}: expected at least 1, and no costs, which follow from it")
    scores = tied(scores, groups)
    limit = _budget(budget) if budget is not None else _limit("mean_rank", 8.0 if mean_rank is None else mean_rank)
    resource = "rank_parameters" if costs is None else "given"
    request = checked(
        Request, gain=gain, resource=resource, limit=limit, expert_rank=expert_rank, top_k=top_k, drift=_drift(drift)
    )
    knobs = {"alpha": alpha, "beta": beta, "gamma": gamma}
    wished = wishes_of(scores.names, lower, upper, pins)
    if expert_rank is not None:
        wished.append(one_each(scores.names))
    declare = partial(instance_of, scores, request, () if costs is None else costs, **knobs)
    return _planned(scores, request, declare, wished, math.inf, method, partial(whole_ranks, step=step))


def prune(
    scores: Scores,
    *,
    sparsity: float | None = None,
    target: float | None = None,
    sizes: Arrayish | None = None,
    bits: float = 0.0,
    eta: float = 1.0,
    kappa: float = 1.0,
    lower: Bound = 0.0,
    upper: Bound = 1.0,
    pins: Mapping[str, float] = MappingProxyType({}),
    groups: Sequence[Sequence[str]] = (),
    gain: Gain = "raw",
    drift: float = 0.1,
    method: str = "exact",
) -> Plan:
    """Divide a number of parameters to remove over the layers as sparsity (Theorem 3).

    sparsity : share of all sizes that must go (0.5 if neither is given); or target : their number.
    sizes : (K,) whole numbers of parameters; the layers' `linear_parameters` if not given.
    lower, upper : one number, (K,), or numbers by name, with wildcards. pins : values that are settled, by name.
    groups : lists of names, with wildcards, whose blocks share one value and count as one block.
    gain : "raw", "net" of the noise floor, or "unbiased" (cross-fitted).
    drift : a share between 0 and 1: the plan states what it can lose if every gain moves by so much of itself.
    method : of `zetaplan.solve`; of a solution that is off by more than 1e-9 no plan is made.
    The rest: `zetaplan.pruning`.

    Raises SpecError or InfeasibleError for bad data and CertificateError if the solution does not verify.

    Examples:
        >>> sparsity = zp.prune(scores, sparsity=0.5, upper=0.8)
        >>> int(sparsity.rounded.units.sum()) * 2 == int(scores.linear_parameters.sum())
        True
    """
    if sparsity is not None and target is not None:
        raise SpecError("sparsity and target: give one of the two, not both")
    scores = tied(scores, groups)
    share = 0.5 if sparsity is None else sparsity
    limit = _limit("sparsity", share) if target is None else _limit("target", target)
    resource = "linear_parameters" if sizes is None else "given"
    request = checked(Request, gain=gain, resource=resource, limit=limit, drift=_drift(drift))
    knobs = {"bits": bits, "eta": eta, "kappa": kappa}
    wished = wishes_of(scores.names, lower, upper, pins)
    declare = partial(instance_of, scores, request, () if sizes is None else sizes, **knobs)
    return _planned(scores, request, declare, wished, 1.0, method, whole_counts)


def instance_of(scores: Scores, request: Request, given: Arrayish, **options: Any) -> Instance:
    """The instance that follows from scores and request; `given` is the resource where the request says so."""
    quality = counted_gain(scores, request.gain)
    resource: Arrayish = given if request.resource == "given" else getattr(scores, request.resource)
    if request.expert_rank is not None:
        resource = request.expert_rank * np.asarray(resource)
    limit = request.limit
    if limit.kind in ("sparsity", "target"):
        return pruning(quality, resource, **{limit.kind: limit.value}, **options)
    return allocation(quality, resource, _parameters(limit, scores, resource), **options)


def counted_gain(scores: Scores, gain: Gain) -> Array:
    """The gain that the plan counts, never below zero: as measured, above the noise floor, or cross-fitted."""
    if gain == "raw":
        return scores.gain
    cleaned = scores.unbiased
    if gain == "net":
        cleaned = None if scores.noise_floor is None else scores.gain - scores.noise_floor
    if cleaned is None:
        raise SpecError(
            f"gain = {gain!r}: scores by {scores.curvature} do not tell noise from gain; count the raw gain, or score "
            "by block-fisher on at least four sequences"
        )
    return np.maximum(cleaned, 0.0)


def noise_share(scores: Scores) -> float | None:
    """The share of the total gain that noise alone would give; None if the surrogate cannot tell."""
    if scores.noise_floor is None:
        return None
    return float(np.minimum(scores.noise_floor, scores.gain).sum() / scores.gain.sum())


def noise_warning(scores: Scores) -> str | None:
    """What to say when most of the gain is what noise alone would give; None if it is not, or cannot be told."""
    share = noise_share(scores)
    if share is None or share <= NOISY:
        return None
    return (
        f"{share:.0%} of the total gain is noise floor: more sequences, or more damping, would make the "
        "differences between layers mean more"
    )


def ranking_warning(scores: Scores) -> str | None:
    """What to say when two halves of the text do not agree on which layers come first; None if they do."""
    reached = scores.reliability
    if reached is None or reached >= RELIABLE:
        return None
    needed = scores.sequences_for(RELIABLE)
    remedy = (
        "the two halves of the text do not agree at all, so more text of the same kind may not settle it"
        if needed is None
        else f"about {needed} sequences like these would support it to {RELIABLE:g}"
    )
    return f"The data do not support the ranking of the layers (reliability {reached:.2f}): {remedy}"


def box_warning(plan: Plan) -> str | None:
    """What to say when floors or caps decide alone, so that the limit is not what the plan comes to."""
    instance, x = plan.instance, plan.solution.x
    spare = instance.limit - math.fsum(instance.resource * x)
    if instance.program.sense == "<=" and spare > 0 and (x >= instance.upper).all():
        return f"every layer is at its cap: {spare:,.10g} {plan.resource_unit} of the budget are left over"
    if instance.program.sense == ">=" and spare < 0 and (x <= instance.lower).all():
        return f"every layer is at its floor: {-spare:,.10g} {plan.resource_unit} more go than the target asks"
    return None


def step_warning(plan: Plan) -> str | None:
    """What to say when no layer gets anything, although there is something to spend."""
    rounded = plan.rounded
    if rounded.counts_parameters or rounded.units.any() or not plan.solution.x.any():
        return None
    return f"every layer gets 0: the budget does not pay for a step of {rounded.step} anywhere; take a smaller step"


def prediction_note(scores: Scores) -> str | None:
    """Whether the promised falls of the loss came true, where the steps were taken."""
    if scores.decrease is None or scores.held_out_decrease is None:
        return None
    here, elsewhere = (scores.rank_correlation(fall) for fall in (scores.decrease, scores.held_out_decrease))
    kept = int((scores.decrease > 0).sum())
    return (
        f"the step of zeta^2 lowered the loss in {kept} of {len(scores.names)} blocks; rank correlation of zeta^2/2 "
        f"with what the loss did: {here:.2f} on the scored text, {elsewhere:.2f} on held-out text"
    )


def _planned(
    scores: Scores,
    request: Request,
    declare: Callable[..., Instance],
    wishes: Sequence[Wish],
    cap: float,
    method: str,
    rounding: Callable[[Solution], Rounded],
) -> Plan:
    """The plan under all wishes, relaxed and in whole units. declare : takes lower and upper. cap : without a wish."""

    def attempt(lower: Array, upper: Array) -> tuple[Solution, Rounded]:
        optimum = solve(declare(lower=lower, upper=upper), method=method)
        return optimum, rounding(optimum)

    solution, rounded = feasible(scores.names, wishes, attempt, cap)
    instance = solution.instance
    certificate, exact = certify(instance, solution), certify(instance, solution, exact=True)
    if failures := (*certificate.failures, *exact.failures):
        failing = ", ".join(condition.name for condition in failures)
        raise CertificateError(f"the solution by {method!r} fails {failing}; no plan is made; use method='exact'")
    proof = CertificateFile.model_validate_json(json.dumps(exact.document))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Plan(instance, solution, certificate, rounded, proof, scores, request, now, _versions())


def _budget(budget: float | str) -> Limit:
    share = isinstance(budget, str) and budget.strip().endswith("%")
    try:
        number = float(str(budget).strip().removesuffix("%"))
    except ValueError:
        raise SpecError(f"budget = {budget!r}: expected a number of parameters, or a percentage like '2%'") from None
    return _limit("parameter_share", number / 100) if share else _limit("budget", number)


def _drift(drift: float) -> float:
    if not 0.0 < drift < 1.0:
        raise SpecError(f"drift = {drift}: expected a share of every gain, above 0 and below 1, such as 0.1")
    return float(drift)


def _limit(kind: LimitKind, value: float) -> Limit:
    if not 0 <= value < math.inf:
        raise SpecError(f"{kind} = {value}: expected a finite number, at least 0")
    return Limit(kind=kind, value=float(value))


def _parameters(limit: Limit, scores: Scores, resource: Arrayish) -> float:
    if limit.kind == "mean_rank":
        return limit.value * math.fsum(np.broadcast_to(np.asarray(resource, np.float64), len(scores.names)))
    if limit.kind == "parameter_share":
        return limit.value * float(scores.parameters.sum())
    return limit.value


def _versions() -> Mapping[str, str]:
    return MappingProxyType({"zetaplan": __version__, "python": platform.python_version(), "numpy": np.__version__})
