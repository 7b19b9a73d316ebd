"""Tallies: counts of a campaign that can be added, so that the result does not depend on order and sharding.

Counts are per solver, program and decade of spread: the trials, the failures, and a histogram of the order of magnitude
of each measure. Times are separate because they differ between runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from zetaplan.verification.audit.trial import Verdict

Cell = tuple[str, str, int]  # solver, program, decade of spread
MEASURES = ("error", "sharp", "dual", "violation")
EVENTS = ("asked", "failed", "optimal", "wrong", "sides", "misread")
ZERO = -99  # order of magnitude recorded for 0
KEPT = 20  # failures kept per solver and kind, those with the fewest layers


@dataclass(frozen=True, order=True)
class Failure:
    """An instance on which a solver was wrong or gave no solution; ordered by number of layers."""

    solver: str
    kind: str
    layers: int
    index: int
    what: str

    @classmethod
    def of(cls, solver: str, layers: int, index: int, verdict: Verdict, wrong: bool) -> Failure | None:
        if verdict.failure:
            return cls(solver, "failed", layers, index, verdict.failure)
        if wrong:
            return cls(solver, "wrong", layers, index, f"error {verdict.error:.3g}, sharp {verdict.sharp:.3g}")
        if verdict.misread:
            return cls(solver, "misread", layers, index, f"status, dual off by {verdict.dual:.3g}")
        return None


@dataclass
class Tally:
    """The counts of a number of trials.

    events : (cell, event) -> trials. magnitudes : (cell, measure, floor(log10 value)) -> trials.
    worst : (solver, measure) -> (largest value, index of its instance).
    times : (solver, decade of layers, tenths of log10 seconds) -> trials.
    truths : instances whose truth was "planted" and confirmed, "computed" only, or "disputed".
    """

    truths: Counter[str] = field(default_factory=Counter)
    events: Counter[tuple[Cell, str]] = field(default_factory=Counter)
    magnitudes: Counter[tuple[Cell, str, int]] = field(default_factory=Counter)
    worst: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    failures: set[Failure] = field(default_factory=set)
    times: Counter[tuple[str, int, int]] = field(default_factory=Counter)

    def count(self, cell: Cell, index: int, layers: int, verdict: Verdict, wrong: bool) -> None:
        """Add one trial."""
        solver = cell[0]
        facts = {
            "asked": True,
            "failed": bool(verdict.failure),
            "optimal": verdict.optimal,
            "wrong": wrong,
            "sides": verdict.sides > 0,
            "misread": verdict.misread,
        }
        self.events.update((cell, event) for event, holds in facts.items() if holds)
        self.times[solver, int(math.log10(layers)), math.floor(10 * math.log10(verdict.seconds))] += 1
        failure = Failure.of(solver, layers, index, verdict, wrong)
        self.failures = _fewest({*self.failures, failure} if failure else self.failures)
        if not verdict.failure:
            for measure in MEASURES:
                value = getattr(verdict, measure)
                self.magnitudes[cell, measure, magnitude(value)] += 1
                self._worst(solver, measure, value, index)

    def dispute(self, index: int, what: str) -> None:
        """Count an instance without a truth: the planted optimum and that in fractions differ, or one is missing."""
        self.truths["disputed"] += 1
        self.failures = _fewest({*self.failures, Failure("truth", "disputed", 0, index, what)})

    def _worst(self, solver: str, measure: str, value: float, index: int) -> None:
        kept = self.worst.get((solver, measure), (-1.0, 0))
        self.worst[solver, measure] = max(kept, (value, index), key=lambda pair: (pair[0], -pair[1]))

    def __add__(self, other: Tally) -> Tally:
        """The tally of both."""
        total = Tally(
            self.truths + other.truths,
            self.events + other.events,
            self.magnitudes + other.magnitudes,
            dict(self.worst),
            _fewest(self.failures | other.failures),
            self.times + other.times,
        )
        for (solver, measure), (value, index) in other.worst.items():
            total._worst(solver, measure, value, index)
        return total

    def sum(self, solver: str, event: str, program: str | None = None, decade: int | None = None) -> int:
        """Number of trials of a solver with this event, for one program or decade or for all."""
        return sum(
            count
            for ((name, kind, spread), what), count in self.events.items()
            if name == solver and what == event and program in (None, kind) and decade in (None, spread)
        )

    def median_seconds(self, solver: str) -> float:
        """The median time of a trial, to a tenth of an order of magnitude; NaN without trials."""
        total: Counter[int] = Counter()
        for (name, _, order), count in self.times.items():
            if name == solver:
                total[order] += count
        half = total.total() / 2.0
        for order in sorted(total):
            half -= total[order]
            if half <= 0.0:
                return float(10.0 ** ((order + 0.5) / 10.0))
        return math.nan

    def document(self) -> dict[str, Any]:
        """The tally as a sorted JSON document, so that equal tallies give equal text."""
        return {
            "truths": dict(sorted(self.truths.items())),
            "events": [[*cell, event, n] for (cell, event), n in sorted(self.events.items())],
            "magnitudes": [[*cell, measure, order, n] for (cell, measure, order), n in sorted(self.magnitudes.items())],
            "worst": [[*key, *value] for key, value in sorted(self.worst.items())],
            "failures": [[getattr(failure, f.name) for f in fields(Failure)] for failure in sorted(self.failures)],
            "times": [[*key, n] for key, n in sorted(self.times.items())],
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> Tally:
        """The tally of a document."""
        return cls(
            Counter(document["truths"]),
            Counter({((s, p, d), event): n for s, p, d, event, n in document["events"]}),
            Counter({((s, p, d), measure, order): n for s, p, d, measure, order, n in document["magnitudes"]}),
            {(solver, measure): (value, index) for solver, measure, value, index in document["worst"]},
            {Failure(*values) for values in document["failures"]},
            Counter({(s, layers, order): n for s, layers, order, n in document["times"]}),
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of all tallies."""
    parts: Sequence[Tally] = list(tallies)
    if len(parts) <= 1:
        return parts[0] if parts else Tally()
    half = len(parts) // 2
    return total(parts[:half]) + total(parts[half:])


def magnitude(value: float) -> int:
    """floor(log10 value); ZERO for 0, and 99 for a value that is not finite."""
    if value == 0.0:
        return ZERO
    return math.floor(math.log10(value)) if math.isfinite(value) else 99


def _fewest(failures: set[Failure]) -> set[Failure]:
    """The failures with the fewest layers, KEPT of each solver and kind."""
    kinds = {(failure.solver, failure.kind) for failure in failures}
    return {failure for kind in kinds for failure in sorted(f for f in failures if (f.solver, f.kind) == kind)[:KEPT]}
