"""The record of a refinement: what every round measured, chose and accepted. It determines every menu and verdict.

A round stands at a plan, its operating point. A move gives one block another option and leaves the others as they are;
its loss is the divergence of the moved model minus that of the operating point, paired by sequence. The choice program
selects the moves within the budget and within a number of changed blocks. Other text decides whether they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, ValidationError

from zetaplan._comparison import compared
from zetaplan._interval import Interval, mean_interval
from zetaplan._records import Record, Vector, Whole, first_error
from zetaplan.errors import SpecError
from zetaplan.menus.menu import Column, Menu
from zetaplan.menus.proof import ChoiceProof

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan

#: Of the intervals of the menu and of the held-out difference, two-sided; a round is accepted at (1 + LEVEL) / 2.
LEVEL = 0.95

CHANGED = "blocks changed"
Point = dict[str, str]
Known = Literal["measured", "slopes", "curvature"]
Costs = Mapping[str, Mapping[str, float]]


class Start(Record):
    """A plan that the refinement could begin with. divergence : (n,) of every sequence, nats per token."""

    plan: Point
    divergence: Vector = Field(min_length=2)


class Move(Record):
    """A block with another option. divergence : (n,) of every sequence, nats per token."""

    block: str
    option: str
    divergence: Vector = Field(min_length=2)


class Trial(Record):
    """A choice of moves, and its test on the accepting text.

    most : the largest number of changed blocks. charge : what is added to the loss of a move of t levels, times t^2, as
    a curvature adds. barred : moves that are not offered, those of earlier choices of few blocks in this round that
    failed. changed : the new option of every block that changes. before, after : (n,) divergence at the operating point
    and at the choice.
    """

    most: Whole
    charge: float = Field(0.0, ge=0)
    barred: tuple[tuple[str, str], ...] = ()
    changed: Point
    proof: ChoiceProof
    before: Vector = Field(min_length=2)
    after: Vector = Field(min_length=2)
    accepted: bool


class Round(Record):
    """One round. text : sha256 of the proposing text. at : the option of every block. divergence : (n,) there.

    known : how the moves are known, as in `Refined`; None in a file that says it there alone.
    """

    text: str
    known: Known | None = None
    at: Point
    divergence: Vector = Field(min_length=2)
    moves: tuple[Move, ...] = Field(min_length=1)
    trials: tuple[Trial, ...] = ()
    evaluations: Whole
    seconds: float

    def offered(self, barred: tuple[tuple[str, str], ...]) -> tuple[Move, ...]:
        """The moves without the barred ones."""
        return tuple(move for move in self.moves if (move.block, move.option) not in barred)

    @property
    def accepted(self) -> Trial | None:
        """Of the choices that were accepted, the one with the least divergence; None if there are none."""
        accepted = (trial for trial in self.trials if trial.accepted)
        return min(accepted, key=lambda trial: sum(trial.after), default=None)

    def shortfall(self, trial: Trial, costs: Costs) -> float:
        """The charge with which the moves would have predicted the divergence of the test; at least 0."""
        made = [move for move in self.moves if trial.changed.get(move.block) == move.option]
        promised = sum(paired(self.divergence, move.divergence).mean for move in made)
        squares = sum(levels_between(costs[move.block], self.at[move.block], move.option) ** 2 for move in made)
        return max(0.0, (paired(trial.before, trial.after).mean - promised) / squares)

    @property
    def after(self) -> Point:
        """The option of every block after the round."""
        return {**self.at, **(self.accepted.changed if self.accepted else {})}


class HeldOut(Record):
    """The comparison with uniform on text that neither proposed nor accepted. loss : (n,) nats per token."""

    text: str
    sequences: Whole
    uniform: Vector = Field(min_length=2)
    refined: Vector = Field(min_length=2)
    difference: float
    low: float
    high: float


class Refined(Record):
    """A refinement of a plan.

    moves : how the moves of the first round are known: "measured", or predicted: the divergence after a move is that at
    the operating point and what the first derivative adds ("slopes"), or the first and the second ("curvature").
    costs : of the options of every block, level by level, in `unit`; at most `budget` in total. uniform : the plan of
    the comparison. start : the first operating point. starts : the plans it was taken from, if there were several.
    accepting : sha256 of the text that decides. stopped : why no round follows.
    """

    method: str
    moves: Known = "measured"
    resource: str
    unit: str
    budget: float
    costs: dict[str, dict[str, float]]
    uniform: Point
    start: Point
    starts: tuple[Start, ...] = ()
    accepting: str
    rounds: tuple[Round, ...]
    held_out: HeldOut | None = None
    stopped: str
    evaluations: Whole
    seconds: float


def refined_facts(provenance: Mapping[str, object]) -> Refined | None:
    """The record in the provenance of a menu; None if the menu is not of a refinement. Raises SpecError if broken."""
    found = provenance.get("refined")
    if found is None:
        return None
    try:
        return Refined.model_validate(found, strict=False)
    except ValidationError as error:
        raise SpecError(f"menu: provenance.refined.{first_error(error)}") from error


def menu_of(
    at: Point,
    base: Vector,
    moves: tuple[Move, ...],
    costs: Costs,
    resource: str,
    unit: str,
    charge: float = 0.0,
) -> Menu:
    """The menu of a round: for every block its present option, with loss 0, and the moves with their charge."""
    rows = {block: [(option, Interval(0.0, 0.0, 0.0, 0.0, LEVEL))] for block, option in at.items()}
    for move in moves:
        levels = levels_between(costs[move.block], at[move.block], move.option)
        rows[move.block].append((move.option, _charged(paired(base, move.divergence), charge * levels**2)))
    options = tuple(tuple(option for option, _ in row) for row in rows.values())

    def column(of: Callable[[Interval], float]) -> Column:
        return tuple(tuple(of(loss) for _, loss in row) for row in rows.values())

    return Menu(
        names=tuple(at),
        options=options,
        losses=column(attrgetter("mean")),
        costs=tuple(
            tuple((float(costs[block][option]), float(option != at[block])) for option in row)
            for block, row in zip(at, options, strict=True)
        ),
        budgets=(resource, CHANGED),
        units=(unit, "blocks"),
        loss_unit="nats per token",
        low=column(attrgetter("low")),
        high=column(attrgetter("high")),
        standard_error=column(attrgetter("standard_error")),
        estimator="operating point",
    )


def levels_between(costs: Mapping[str, float], one: str, other: str) -> int:
    """The number of levels between two options of a block; costs : of all its options, level by level."""
    ladder = list(costs)
    return abs(ladder.index(one) - ladder.index(other))


def _charged(loss: Interval, charge: float) -> Interval:
    return replace(loss, mean=loss.mean + charge, low=loss.low + charge, high=loss.high + charge)


def paired(before: Vector, after: Vector) -> Interval:
    """The mean of the differences after - before of n >= 2 sequences, with its interval."""
    if len(before) != len(after):
        raise SpecError(f"divergence: expected {len(before)} sequences, got {len(after)}")
    return mean_interval(np.asarray(after) - np.asarray(before), LEVEL)


def significant(before: Vector, after: Vector) -> bool:
    """Whether the divergence falls: its whole interval lies below zero."""
    return paired(before, after).high < 0


def comparison(text: str, uniform: Vector, refined: Vector) -> HeldOut:
    """The comparison of two plans, from the loss of every sequence."""
    found = paired(uniform, refined)
    return HeldOut(
        text=text,
        sequences=len(uniform),
        uniform=uniform,
        refined=refined,
        difference=found.mean,
        low=found.low,
        high=found.high,
    )


def sentence(plan: ChoicePlan) -> str:
    """Whether the refined plan is better than uniform, measured on held-out text; "" without a comparison."""
    facts = refined_facts(plan.menu.provenance)
    if facts is None or facts.held_out is None:
        return ""
    found = facts.held_out
    verdict = compared(found.low, found.high, "not significantly better than")
    return (
        f"held-out text: the plan is {verdict} uniform at the same budget: loss {found.difference:+.4f} nats per token "
        f"(95% interval {found.low:+.4f} to {found.high:+.4f}, {found.sequences} sequences)"
    )


def best_start(starts: tuple[Start, ...]) -> Point:
    """The plan with the least divergence; of equal ones the first."""
    return min(starts, key=lambda start: sum(start.divergence)).plan


def round_menu(facts: Refined, found: Round, trial: Trial | None) -> Menu:
    """The menu that follows from the measurements of a round for one of its choices, or for none."""
    charge, barred = (trial.charge, trial.barred) if trial else (0.0, ())
    return menu_of(found.at, found.divergence, found.offered(barred), facts.costs, facts.resource, facts.unit, charge)
