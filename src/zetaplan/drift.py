"""What drift can cost a plan: intervals around its scores, and the regret that they allow, proved.

The gains of a plan are known up to an interval each: because the surrogate is enclosed and not evaluated, because few
sequences were scored, or because a user expects the text to change. Whatever the gains are inside the intervals, the
plan loses at most `Cost.share` of the objective of the plan that is best for them. On known scores the cost is exact,
to rounding. What the scores and the request of a plan say is stated in its file and in its report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from zetaplan.digits import percent_at_most
from zetaplan.errors import CertificateError, SpecError
from zetaplan.files import IntervalKind
from zetaplan.planning import Plan, counted_gain
from zetaplan.scoring.scores import Scores
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, with_quality
from zetaplan.verification.certificate import certify
from zetaplan.verification.relative_regret import relative_regret

#: How sure the intervals of sampling are, of all layers at once.
CONFIDENCE = 0.95

FEW = 3  # layers that a sentence names
ROUNDING = 1e-9  # below this a share is not told from nothing


@dataclass(frozen=True, eq=False)
class Intervals:
    """low <= gain <= high for the gain that a plan counts, (K,) each, and in words what they allow for.

    source : where they come from. amount : the confidence of sampling, the drift that was asked about; else None.
    """

    low: Array
    high: Array
    meaning: str
    source: IntervalKind
    amount: float | None = None


@dataclass(frozen=True, eq=False)
class Cost:
    """What a plan loses, as a share of the best objective: exactly on known scores, at most over intervals.

    share : >= 0, infinite where nothing is proved. layers : (K,) what each layer adds to it, >= 0.
    meaning : what is assumed of the gains, in words.
    """

    names: tuple[str, ...]
    share: float
    layers: Array
    meaning: str
    exact: bool

    @cached_property
    def shares(self) -> Array:
        """The part of each layer in what is lost, (K,); they sum to one, or are all zero where nothing is lost."""
        total = float(self.layers.sum())
        return self.layers / total if total > 0.0 else np.zeros_like(self.layers)

    def __str__(self) -> str:
        if math.isinf(self.share):
            return f"If {self.meaning}, no bound on what the plan loses is proved"
        loses = "loses" if self.exact else "loses at most"
        if self.share < ROUNDING:
            return f"If {self.meaning}, the plan loses nothing"
        return f"If {self.meaning}, the plan {loses} {percent_at_most(self.share)} of the best objective{self._most}"

    @property
    def _most(self) -> str:
        first = np.argsort(-self.shares, kind="stable")[:FEW]
        if not self.shares.any():
            return ""
        return f", {self.shares[first].sum():.0%} of that by {', '.join(self.names[k] for k in first)}"


def drift_sentence(plan: Plan) -> str | None:
    """What enclosure, sampling and drift can cost, a sentence for each that is known; None if nothing is proved."""
    return ". ".join(str(cost) for _, cost in stated(plan) if math.isfinite(cost.share)) or None


@lru_cache(maxsize=16)
def stated(plan: Plan) -> tuple[tuple[Intervals, Cost], ...]:
    """What a plan says of its own regret: for the intervals of its scores, and for the drift that was asked about."""
    return tuple((intervals, cost_over(plan, intervals)) for intervals in _asked(plan))


def _asked(plan: Plan) -> Iterator[Intervals]:
    known = (enclosure_intervals(plan), measured_intervals(plan))
    yield from (intervals for intervals in known if intervals is not None)
    yield expected_intervals(plan, plan.request.drift)


def cost_over(plan: Plan, intervals: Intervals) -> Cost:
    """What the plan can lose at most while every gain stays in its interval."""
    solution = plan.solution
    bound = relative_regret(plan.instance, solution.x, solution.multiplier, intervals.low, intervals.high)
    return Cost(plan.names, bound.share, bound.layers, intervals.meaning, exact=False)


def cost_on(plan: Plan, scores: Scores, meaning: str = "these scores are right") -> Cost:
    """What the plan loses on other scores of the same blocks, against their own optimum, which is certified.

    Raises SpecError for other blocks, CertificateError where the optimum does not verify.
    """
    if scores.names != plan.names:
        raise SpecError(f"scores: expected the {len(plan.names)} blocks of the plan in their order")
    instance = with_quality(plan.instance, counted_gain(scores, plan.request.gain))
    best = solve(instance)
    if failures := certify(instance, best).failures:
        raise CertificateError(f"the optimum of the other scores fails {failures[0].name}; no regret is known")
    gap = relative_regret(instance, plan.solution.x, best.multiplier, instance.quality, instance.quality)
    return Cost(plan.names, gap.share, gap.layers, meaning, exact=True)


def expected_intervals(plan: Plan, drift: float) -> Intervals:
    """Every gain may fall or rise by a share `drift` of itself, 0 <= drift < 1. Raises SpecError for another share."""
    if not 0.0 <= drift < 1.0:
        raise SpecError(f"drift = {drift}: expected a share of every gain, at least 0 and below 1, such as 0.1")
    gain = counted_gain(plan.scores, plan.request.gain)
    meaning = f"no gain drifts by more than {_percent(drift)} of itself"
    return Intervals((1 - drift) * gain, (1 + drift) * gain, meaning, "drift", drift)


def enclosure_intervals(plan: Plan) -> Intervals | None:
    """Where a surrogate that is evaluated step by step proves that its gains are; None where they are exact.

    Less the noise floor, which is taken as known, if the plan counts net gains; None if it counts unbiased ones.
    """
    scores = plan.scores
    if plan.request.gain == "unbiased" or not (scores.low < scores.high).any():
        return None
    floor, meaning = _floor(plan), f"the gains by {scores.curvature} are where its enclosure puts them"
    return Intervals(_gains(scores.low - floor), _gains(scores.high - floor), meaning, "enclosure")


def measured_intervals(plan: Plan, confidence: float = CONFIDENCE) -> Intervals | None:
    """Where the scores themselves say that the gains may be; None where they do not say it.

    An unbiased gain lies between the cross-fitted gains of the two halves of the text; no confidence is stated. Any
    other lies in the surrogate's enclosure, widened by Student's t times the jackknife's standard error (N - 1 degrees
    of freedom) such that all K intervals hold at once with probability `confidence` (Bonferroni), as far as errors are
    normal. Noise floors are taken as known. Raises SpecError for a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise SpecError(f"confidence = {confidence}: expected a probability between 0 and 1, such as 0.95")
    scores = plan.scores
    if plan.request.gain == "unbiased":
        return _between_halves(scores)
    if scores.standard_error is None or not np.isfinite(scores.standard_error).all():
        return None
    if "sequences" not in scores.provenance:
        return None
    floor = _floor(plan)
    sequences, layers = int(scores.provenance["sequences"]), len(scores.names)
    spread = _student(confidence, sequences - 1, layers) * scores.standard_error
    meaning = f"the gains are where {sequences} sequences put them with {_percent(confidence)} confidence"
    low, high = _gains(scores.low - spread - floor), _gains(scores.high + spread - floor)
    return Intervals(low, high, meaning, "sampling", confidence)


def _floor(plan: Plan) -> Array | float:
    """What the plan takes off its gains."""
    floor = plan.scores.noise_floor
    return floor if plan.request.gain == "net" and floor is not None else 0.0


def _between_halves(scores: Scores) -> Intervals | None:
    if scores.cross_fitted is None:
        return None
    low, high = np.sort(scores.cross_fitted, axis=1).T
    meaning = "every gain lies between those of the two halves of the text"
    return Intervals(_gains(low), _gains(high), meaning, "halves")


def _student(confidence: float, freedom: int, layers: int) -> float:
    """How many standard errors hold `layers` errors at once."""
    from scipy.stats import t  # slow to import, and only needed here

    return float(t.ppf(1 - (1 - confidence) / (2 * layers), freedom))


def _gains(values: Array) -> Array:
    return np.maximum(values, 0.0)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share < 10.0 else f"{100 * share:,.0f}%"
