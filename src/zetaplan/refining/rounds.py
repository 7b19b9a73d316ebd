"""The rounds of a refinement: measure the moves, choose among them with proof, accept the choice by a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.menus.refined import Move, Point, Round, Trial, menu_of, significant
from zetaplan.refining.meter import Meter
from zetaplan.refining.texts import Text

#: Choices that a round tests at most; each may change half as many blocks as the one before.
TRIALS = 3

#: Rounds without an accepted choice after which the refinement stops.
PATIENCE = 2

#: Evaluations of a round beside its moves: the operating point on both texts, and one choice.
FIXED = 3


@dataclass(frozen=True)
class Step:
    """A round, and the plan that it chose; `plan` is None if no choice was accepted."""

    round: Round
    plan: ChoicePlan | None


class Search:
    """The rounds from a start. stopped : why the last round was the last.

    proposing : the text of each round, used in turn. accepting : the text of every test. evaluations : their largest
    number.
    """

    def __init__(self, meter: Meter, proposing: Sequence[Text], accepting: Text, evaluations: int) -> None:
        self.meter, self.proposing, self.accepting, self.evaluations = meter, proposing, accepting, evaluations
        self.levels = meter.levels
        self.stopped = ""

    def steps(self, start: Point) -> Iterator[Step]:
        at, rejected = start, 0
        for number in count():
            if self.left <= FIXED:
                self.stopped = "the evaluations are spent"
                return
            step = self._step(at, self.proposing[number % len(self.proposing)])
            yield step
            at, rejected = step.round.after, 0 if step.plan else rejected + 1
            if rejected == PATIENCE:
                self.stopped = f"no choice was significantly better in {PATIENCE} rounds"
                return

    @property
    def left(self) -> int:
        return self.evaluations - self.meter.evaluations

    def _step(self, at: Point, text: Text) -> Step:
        before, seconds = self.meter.evaluations, self.meter.seconds
        [base] = self.meter.readings(text, [at], near=at)
        proposed = self._moves(at)
        readings = self.meter.readings(text, [{**at, block: option} for block, option in proposed], near=at)
        moves = tuple(
            Move(block=block, option=option, divergence=tuple(reading.divergence.tolist()))
            for (block, option), reading in zip(proposed, readings, strict=True)
        )
        divergence = tuple(base.divergence.tolist())
        menu = menu_of(at, divergence, moves, self.levels.costs, self.levels.resource, self.levels.unit)
        tried = list(self._trials(menu, at))
        found = Round(
            text=text.sha256,
            at=at,
            divergence=divergence,
            moves=moves,
            trials=tuple(trial for trial, _ in tried),
            evaluations=self.meter.evaluations - before,
            seconds=self.meter.seconds - seconds,
        )
        return Step(found, next((plan for trial, plan in tried if trial.accepted), None))

    def _moves(self, at: Point) -> list[tuple[str, str]]:
        """The moves to measure: all, or as many as the evaluations allow, evenly spread over the blocks."""
        moves = [(block, option) for block in at for option in self.levels.neighbours(block, at[block])]
        room = min(len(moves), self.left - FIXED + 1)
        return [moves[place * len(moves) // room] for place in range(room)]

    def _trials(self, menu: Menu, at: Point) -> Iterator[tuple[Trial, ChoicePlan]]:
        """Choices of fewer and fewer blocks, up to the first that is accepted."""
        most = len(at)
        for _ in range(TRIALS):
            plan = choose(menu, (self.levels.budget, most))
            changed = {block: option for block, option in plan.taken.items() if option != at[block]}
            if not changed or self.left < 1:
                return
            readings = self.meter.readings(self.accepting, [at, plan.taken])
            before, after = (tuple(reading.divergence.tolist()) for reading in readings)
            accepted = significant(before, after)
            trial = Trial(most=most, changed=changed, proof=plan.proof, before=before, after=after, accepted=accepted)
            yield trial, plan
            most = len(changed) // 2
            if accepted:
                return
