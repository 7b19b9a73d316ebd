"""A conformance suite for solvers of choices: run any function from instance to solution through it.

    from zetaplan.verification.menus.conformance import choice_conformance
    report = choice_conformance(my_solve)          # my_solve(instance) -> ChoiceSolution
    assert report.passed, report.failures

The optimum of every instance is known without a solver: either a multiplier with few bits is chosen first, and the
budget is what the options that are best at it use up; or all choices of a few small menus are tried in fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

import numpy as np

from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.menus.declare import choice
from zetaplan.verification.menus.proof import certify_choice

Solver = Callable[[Choice], ChoiceSolution]

BLOCKS = (1, 2, 5, 32)
SEEDS = 4


@dataclass(frozen=True)
class ChoiceCase:
    """What a solver made of an instance: by how much it lost more than the optimum, and what failed."""

    name: str
    excess: float
    failed: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.failed and self.excess == 0.0


@dataclass(frozen=True)
class ChoiceReport:
    """All cases, in a fixed order."""

    cases: tuple[ChoiceCase, ...]

    @property
    def failures(self) -> tuple[ChoiceCase, ...]:
        return tuple(case for case in self.cases if not case.ok)

    @property
    def passed(self) -> bool:
        return not self.failures


def choice_conformance(solve: Solver, *, proved: bool = True) -> ChoiceReport:
    """Run a solver through every instance; losses are compared in fractions, without a tolerance.

    proved : also ask that `zetaplan.certify` proves the answer optimal. An exception of the solver's is a failed case.
    """
    return ChoiceReport(tuple(_case(solve, *known, proved) for known in known_choices()))


def known_choices() -> Iterator[tuple[str, Choice, Fraction]]:
    """(name, instance, its optimal loss): planted and small ones, tied, pinned, of whole numbers and of tenths."""
    for blocks in BLOCKS:
        for seed in range(SEEDS):
            rng = np.random.default_rng([blocks, seed])
            yield f"planted, K = {blocks}", *_planted(blocks, rng)
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed])
        for name, instance in _small(rng):
            yield name, instance, _best(instance)


def _planted(blocks: int, rng: np.random.Generator) -> tuple[Choice, Fraction]:
    multiplier = float(rng.integers(0, 64)) / 16.0
    losses = [rng.integers(0, 4096, size) / 16.0 for size in rng.integers(1, 9, blocks)]
    costs = [rng.integers(0, 64, loss.size).astype(np.float64) for loss in losses]
    best = [int(np.argmin(w + multiplier * c)) for w, c in zip(losses, costs, strict=True)]
    budget = sum(float(c[j]) for c, j in zip(costs, best, strict=True))
    objective = sum((Fraction(float(w[j])) for w, j in zip(losses, best, strict=True)), Fraction(0))
    return choice(losses, costs, budget), objective


def _small(rng: np.random.Generator) -> Iterator[tuple[str, Choice]]:
    """Three blocks of three options."""
    losses, costs = rng.integers(0, 9, (3, 3)).astype(np.float64), rng.integers(0, 9, (3, 3)).astype(np.float64)
    budget = float(np.floor(costs.mean(axis=1).sum()))
    yield "whole numbers", choice(losses, costs, budget)
    yield "tenths", choice(0.1 * losses, 0.1 * costs, 0.1 * budget)
    yield "even costs, odd budget", choice(-2.0 * costs, 2.0 * costs, 2.0 * budget + 1.0)
    yield "losses below zero", choice(-losses, costs, budget)
    yield "budget to spare", choice(losses, costs, 100.0)
    yield "tied", choice(losses, costs, 2.0 * budget, groups=[(0, 2)])
    yield "pinned and forbidden", choice(losses, costs, 3.0 * budget + 9.0, pins={0: 1}, forbid={1: 2})
    yield "200 orders of magnitude", choice(10.0 ** (25.0 * losses - 100.0), 10.0 ** (25.0 * costs - 100.0), 1e100)
    yield "two budgets", choice(losses, np.stack((costs, costs[::-1]), axis=2), [2.0 * budget, 2.0 * budget + 9.0])


def _best(instance: Choice) -> Fraction:
    """The least loss of all choices that keep the budgets."""
    losses = [Fraction(w) for w in instance.losses.tolist()]
    costs = [[Fraction(c) for c in row] for row in instance.costs.tolist()]
    found = []
    for rows in product(*(range(a, b) for a, b in pairwise(instance.first.tolist()))):
        spent = [sum(column) for column in zip(*(costs[row] for row in rows), strict=True)]
        if all(use <= budget for use, budget in zip(spent, instance.budgets.tolist(), strict=True)):
            found.append(sum((losses[row] for row in rows), Fraction(0)))
    return min(found)


def _case(solve: Solver, name: str, instance: Choice, best: Fraction, proved: bool) -> ChoiceCase:
    try:
        solution = solve(instance)
    except Exception as failure:
        return ChoiceCase(name, 0.0, (f"{type(failure).__name__}: {failure}",))
    if not instance.admits(solution.choice):
        return ChoiceCase(name, 0.0, ("options",))
    losses = instance.losses[instance.rows(solution.choice)].tolist()
    certificate = certify_choice(instance, solution)
    failed = [condition.name for condition in certificate.failures]
    failed += ["proof of optimality"] if proved and certificate.valid and not certificate.optimal else []
    return ChoiceCase(name, float(sum(map(Fraction, losses), -best)), tuple(failed))
