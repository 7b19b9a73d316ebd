"""The rounds of a refinement: the moves of single blocks, a choice among them with proof, a test of the choice.

Measured moves are evaluated one by one. Derivatives predict all moves from one pass, which costs little enough to use
all the proposing text in every round; what they leave out, and the luck of the moves that look best, shows in the test
as a shortfall of the promise. It is charged for every move when the choice is made again. Where options do not differ
by little, as formats of few bits, measured moves follow when derivatives are of no more use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from zetaplan._plural import counted
from zetaplan._records import Vector
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.menus.refined import Known, Move, Point, Round, Start, Trial, menu_of, significant
from zetaplan.refining.meter import Meter, passes_of
from zetaplan.refining.texts import Text

#: Choices that a round tests at most. After a rejected one at most half as many blocks may change, or, if these would
#: be fewer than two, its moves are not offered again. After an accepted one the charge for every move is its shortfall.
TRIALS = 4

#: Blocks of the smallest choice: under a budget that is spent, one gains what another gives.
PAIR = 2

#: Nodes of the search for a choice, a few seconds; then the best one found is tested, with its proved gap. A limit of
#: time would choose otherwise on another machine.
NODES = 200

#: Rounds without an accepted choice after which the refinement stops, if their texts differ.
PATIENCE = 2

#: Evaluations of a test: the operating point and one choice.
TEST = 2

#: Evaluations of a round beside its measured moves: the operating point on the proposing text, and a test.
FIXED = 1 + TEST

#: Of the derivatives that predict moves.
ORDERS: Mapping[Known, int] = {"measured": 0, "slopes": 1, "curvature": 2}

#: Strides that a block moves at most in a round, if derivatives predict all moves and options differ by little.
REACH = 2

#: Evaluations of the smallest round of measured moves.
LEAST = FIXED + PAIR


@dataclass(frozen=True)
class Way:
    """How moves are known. texts : of the rounds, used in turn."""

    known: Known
    texts: Sequence[Text]

    @property
    def order(self) -> int:
        """Of the derivatives that predict the moves; 0 if they are measured."""
        return ORDERS[self.known]

    @property
    def patience(self) -> int:
        """Rounds in a row that may end without an accepted choice; another round on the same text is the same round."""
        return min(PATIENCE, len(self.texts))


@dataclass(frozen=True)
class Step:
    """A round, and the plan that it chose; `plan` is None if no choice was accepted."""

    round: Round
    plan: ChoicePlan | None


def least_of(known: Known) -> int:
    """Evaluations of the smallest round."""
    return passes_of(ORDERS[known]) + TEST if ORDERS[known] else LEAST


class Search:
    """The rounds from a start. stopped : why the last round was the last.

    ways : one after the other, the next one when no choice of the last is accepted. accepting : the text of every test.
    evaluations : their largest number.
    """

    def __init__(self, meter: Meter, ways: Sequence[Way], accepting: Text, evaluations: int) -> None:
        self.meter, self.ways, self.accepting, self.evaluations = meter, ways, accepting, evaluations
        self.levels = meter.levels
        self.stopped = ""

    def steps(self, start: Point) -> Iterator[Step]:
        at = start
        for way in self.ways:
            for step in self._steps(way, at):
                yield step
                at = step.round.after

    def _steps(self, way: Way, at: Point) -> Iterator[Step]:
        rejected, charge, stride = 0, 0.0, self.levels.stride
        for number in count():
            if self.left < least_of(way.known):
                self.stopped = "the evaluations are spent"
                return
            step = self._step(way, at, way.texts[number % len(way.texts)], charge, stride)
            yield step
            if trial := step.round.accepted:
                charge = step.round.shortfall(trial, self.levels.costs)
            elif stride > 1:
                stride //= 2
                continue
            at, rejected = step.round.after, 0 if step.plan else rejected + 1
            if rejected == way.patience:
                self.stopped = f"no choice was significantly better in {counted(rejected, 'round')}"
                return

    def starts(self, plans: Sequence[Point]) -> tuple[Start, ...]:
        """The plans with their divergence on the first text of the last way, the smallest.

        As many as half of the evaluations allow, if these leave a round.
        """
        plans = plans[: max(1, min(self.evaluations // 2, self.evaluations - least_of(self.ways[0].known)))]
        if len(plans) == 1:
            return ()
        readings = self.meter.readings(self.ways[-1].texts[0], plans, near={})
        pairs = zip(plans, readings, strict=True)
        return tuple(Start(plan=plan, divergence=tuple(reading.divergence.tolist())) for plan, reading in pairs)

    @property
    def left(self) -> int:
        return self.evaluations - self.meter.evaluations

    def _step(self, way: Way, at: Point, text: Text, charge: float, stride: int) -> Step:
        before, seconds = self.meter.evaluations, self.meter.seconds
        moves = self._moves(way, at, stride)
        found = self.meter.slopes(text, at, moves, way.order) if way.order else self._measured(text, at, moves)
        divergence, *moved = found
        proposed = Round(
            text=text.sha256,
            known=way.known,
            at=at,
            divergence=divergence,
            moves=tuple(
                Move(block=block, option=option, divergence=values)
                for (block, option), values in zip(moves, moved, strict=True)
            ),
            evaluations=0,
            seconds=0.0,
        )
        tried = list(self._trials(proposed, charge))
        counted = {"evaluations": self.meter.evaluations - before, "seconds": self.meter.seconds - seconds}
        done = proposed.model_copy(update={"trials": tuple(trial for trial, _ in tried), **counted})
        return Step(done, next((plan for trial, plan in tried if trial is done.accepted), None))

    def _measured(self, text: Text, at: Point, moves: Sequence[tuple[str, str]]) -> list[Vector]:
        """The divergence at the operating point and after every move."""
        readings = self.meter.readings(text, [at, *({**at, block: option} for block, option in moves)], near=at)
        return [tuple(reading.divergence.tolist()) for reading in readings]

    def _moves(self, way: Way, at: Point, stride: int) -> list[tuple[str, str]]:
        """The moves to look at: all, or as many as the evaluations allow, evenly spread over the blocks."""
        reach = REACH if way.order and self.levels.smooth else 1
        moves = [(block, option) for block in at for option in self.levels.neighbours(block, at[block], stride, reach)]
        room = len(moves) if way.order else min(len(moves), self.left - FIXED)
        return [moves[place * len(moves) // room] for place in range(room)]

    def _trials(self, found: Round, charge: float) -> Iterator[tuple[Trial, ChoicePlan]]:
        """Choices with their tests, until one comes again."""
        most, barred, tried = len(found.at), tuple[tuple[str, str], ...](), list[Point]()
        for _ in range(TRIALS):
            plan = choose(self._menu(found, charge, barred), (self.levels.budget, most), states=NODES)
            changed = {block: option for block, option in plan.taken.items() if option != found.at[block]}
            if not changed or changed in tried or self.left < 1:
                return
            readings = self.meter.readings(self.accepting, [found.at, plan.taken])
            before, after = (tuple(reading.divergence.tolist()) for reading in readings)
            trial = Trial(
                most=most,
                charge=charge,
                barred=barred,
                changed=changed,
                proof=plan.proof,
                before=before,
                after=after,
                accepted=significant(before, after),
            )
            yield trial, plan
            tried.append(changed)
            if trial.accepted:
                charge = found.shortfall(trial, self.levels.costs)
            elif len(changed) > PAIR:
                most = max(PAIR, len(changed) // 2)
            else:
                barred += tuple(changed.items())

    def _menu(self, found: Round, charge: float, barred: tuple[tuple[str, str], ...]) -> Menu:
        moves, levels = found.offered(barred), self.levels
        return menu_of(found.at, found.divergence, moves, levels.costs, levels.resource, levels.unit, charge)
