"""Regret of a plan as a share of the best objective: exact on known scores, an upper bound over intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zetaplan._digits import percent_at_most
from zetaplan._display import Columns, Display
from zetaplan.drift.intervals import Intervals, Source, enclosure_intervals, expected_intervals, measured_intervals
from zetaplan.errors import CertificateError
from zetaplan.scoring.gain import Gain
from zetaplan.scoring.scores import Scores
from zetaplan.solvers import solve
from zetaplan.spec.instance import Array, Instance, with_quality
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import certify
from zetaplan.verification.regret.relative import relative_regret

FEW = 3  # number of layers named in a sentence
ROUNDING = 1e-9  # shares below this are rounding error


@dataclass(frozen=True, eq=False, repr=False)
class Cost(Display):
    """Regret of a plan as a share of the best objective: exact on known scores, an upper bound over intervals.

    share : >= 0, infinite if no bound is proved. layers : (K,) contribution of each layer to the share, >= 0.
    meaning : the assumption about the gains, in words. source : the source of the intervals, or "scores" if the regret
    is exact. amount : the confidence of sampling, or the assumed drift; else None.
    """

    names: tuple[str, ...]
    share: float
    layers: Array
    meaning: str
    source: Source | Literal["scores"]
    amount: float | None = None

    @property
    def exact(self) -> bool:
        """Whether the regret is exact up to rounding, and not only bounded."""
        return self.source == "scores"

    @property
    def shares(self) -> Array:
        """(K,) share of each layer in the regret; all zero if the regret is zero."""
        total = self.layers.sum()
        return self.layers / total if total > 0 else np.zeros_like(self.layers)

    def __str__(self) -> str:
        if math.isinf(self.share):
            return f"If {self.meaning}, no bound on the regret of the plan is proved"
        loses = "loses" if self.exact else "loses at most"
        if self.share < ROUNDING:
            return f"If {self.meaning}, the plan loses nothing"
        return f"If {self.meaning}, the plan {loses} {percent_at_most(self.share)} of the best objective{self._most}"

    def _headline(self) -> str:
        return str(self)

    def _columns(self) -> Columns:
        return {"layer": self.names, "share": self.layers.tolist(), "share of the regret": self.shares.tolist()}

    @property
    def _most(self) -> str:
        first = np.argsort(-self.shares, kind="stable")[:FEW]
        if not self.shares.any():
            return ""
        return f", {self.shares[first].sum():.0%} of that by {', '.join(self.names[k] for k in first)}"


def drift_sentence(costs: Sequence[Cost]) -> str | None:
    """One sentence for each proved bound; None if no bound is proved."""
    return ". ".join(str(cost) for cost in costs if math.isfinite(cost.share)) or None


def stated_costs(solution: Solution, scores: Scores, gain: Gain, drift: float) -> tuple[Cost, ...]:
    """The regret bounds of every plan: over the intervals of its scores, and over the requested drift."""
    return tuple(cost_over(solution, scores.names, intervals) for intervals in _asked(scores, gain, drift))


def _asked(scores: Scores, gain: Gain, drift: float) -> Iterator[Intervals]:
    known = (enclosure_intervals(scores, gain), measured_intervals(scores, gain))
    yield from (intervals for intervals in known if intervals is not None)
    yield expected_intervals(scores, gain, drift)


def cost_over(solution: Solution, names: tuple[str, ...], intervals: Intervals) -> Cost:
    """Upper bound on the regret of the plan while every gain stays in its interval."""
    instance = solution.instance
    bound = relative_regret(instance, solution.x, solution.multiplier, intervals.low, intervals.high)
    return Cost(names, bound.share, bound.layers, intervals.meaning, intervals.source, intervals.amount)


def cost_on(solution: Solution, names: tuple[str, ...], gain: Array, meaning: str = "these scores are right") -> Cost:
    """Exact regret of the plan on the given gains, (K,), against the certified optimum of these gains.

    Raises CertificateError if that optimum violates a condition of optimality.
    """
    instance = with_quality(solution.instance, gain)
    best = _certified(instance)
    gap = relative_regret(instance, solution.x, best.multiplier, instance.quality, instance.quality)
    return Cost(names, gap.share, gap.layers, meaning, "scores")


def _certified(instance: Instance) -> Solution:
    best = solve(instance)
    if failures := certify(instance, best).failures:
        raise CertificateError(f"the optimum of the other scores fails {failures[0].name}, so the regret is unknown")
    return best
