"""Intervals around the gains of a plan, with the assumption of each.

An interval has one of three reasons: the surrogate is enclosed and not evaluated exactly, few sequences were scored,
or a user expects the text to change. `zetaplan.drift.cost` bounds the regret of a plan inside the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zetaplan._digits import percent
from zetaplan._student import student
from zetaplan.errors import SpecError
from zetaplan.scoring.gain import Gain
from zetaplan.scoring.scores import Scores
from zetaplan.spec.instance import Array

Source = Literal["enclosure", "sampling", "halves", "drift"]

#: Confidence level of the sampling intervals, for all layers simultaneously.
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Intervals:
    """low <= gain <= high for the gain that a plan uses, (K,) each. meaning : the assumption in words.

    source : the source of the intervals. amount : the confidence of sampling, or the assumed drift; else None.
    """

    low: Array
    high: Array
    meaning: str
    source: Source
    amount: float | None = None


def expected_intervals(scores: Scores, gain: Gain, drift: float) -> Intervals:
    """Intervals of relative half-width `drift` around every gain. Raises SpecError unless 0 <= drift < 1."""
    if not 0.0 <= drift < 1.0:
        raise SpecError(f"drift = {drift}: expected a share of every gain, at least 0 and below 1, such as 0.1")
    counted = scores.counted(gain)
    meaning = f"no gain drifts by more than {percent(drift)} of itself"
    return Intervals((1 - drift) * counted, (1 + drift) * counted, meaning, "drift", drift)


def enclosure_intervals(scores: Scores, gain: Gain) -> Intervals | None:
    """Proved enclosures of the gains by an iterative surrogate; None if the gains are exact.

    For net gains, the noise floor is subtracted and treated as known. For unbiased gains the result is None.
    """
    if gain == "unbiased" or not (scores.low < scores.high).any():
        return None
    floor, meaning = _floor(scores, gain), f"the gains by {scores.curvature} are where its enclosure puts them"
    return Intervals(_gains(scores.low - floor), _gains(scores.high - floor), meaning, "enclosure")


def measured_intervals(scores: Scores, gain: Gain, confidence: float = CONFIDENCE) -> Intervals | None:
    """Intervals of the gains from the sampling error of the scores; None if the scores have no standard error.

    An unbiased gain lies between the cross-fitted gains of the two halves of the text; no confidence is stated. Any
    other gain lies in the surrogate's enclosure, widened by Student's t times the jackknife standard error (N - 1
    degrees of freedom) such that all K intervals hold simultaneously with probability `confidence` (Bonferroni),
    provided that errors are normal. Noise floors are treated as known.

    Raises SpecError for a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise SpecError(f"confidence = {confidence}: expected a probability between 0 and 1, such as 0.95")
    if gain == "unbiased":
        return _between_halves(scores)
    if scores.standard_error is None or not np.isfinite(scores.standard_error).all():
        return None
    if "sequences" not in scores.provenance:
        return None
    floor = _floor(scores, gain)
    sequences, layers = int(scores.provenance["sequences"]), len(scores.names)
    spread = student((1 - confidence) / (2 * layers), sequences - 1) * scores.standard_error
    meaning = f"the gains are where {sequences} sequences put them with {percent(confidence)} confidence"
    low, high = _gains(scores.low - spread - floor), _gains(scores.high + spread - floor)
    return Intervals(low, high, meaning, "sampling", confidence)


def _floor(scores: Scores, gain: Gain) -> Array | float:
    """The noise floor that the plan subtracts from its gains; 0 if it subtracts none."""
    floor = scores.noise_floor
    return floor if gain == "net" and floor is not None else 0.0


def _between_halves(scores: Scores) -> Intervals | None:
    if scores.cross_fitted is None:
        return None
    low, high = np.sort(scores.cross_fitted, axis=1).T
    meaning = "every gain lies between those of the two halves of the text"
    return Intervals(_gains(low), _gains(high), meaning, "halves")


def _gains(values: Array) -> Array:
    return np.maximum(values, 0.0)
