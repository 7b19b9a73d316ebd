"""From the optimum to whole units: LoRA ranks that are multiples of a step, parameters that stay or go.

Ranks are the best whole ones within budget and box (`zetaplan.solvers.integer`). Sparsity becomes a count of
parameters by largest remainders: every layer's share is rounded down, and the parameters that the target still lacks
are taken one each where the largest remainder was cut off, first from layers whose cap allows it. So no layer is a
whole parameter away from an optimum that meets the target, and the target is exceeded only where it is no whole number
(by less than one) or where the optimum itself exceeds it.

Weak duality bounds what is lost, whoever did the rounding: no plan, whole or not, is below D(multiplier).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zetaplan.divide import by_remainders
from zetaplan.errors import SpecError
from zetaplan.solvers.integer import COUNTABLE, solve_integer
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.solution import Solution
from zetaplan.spec.summation import rational_dot
from zetaplan.verification.certificate import certify

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rounded:
    """A plan in whole units beside the optimum that it comes from.

    relaxed : the optimum. units : (K,) ranks, or parameters to remove. step : what every entry of units is a multiple
    of. method : how the units were found. optimal : whether that method says that no whole plan is better; what can be
    proved without it is the gap.
    """

    relaxed: Solution
    units: Counts
    step: int
    method: str
    optimal: bool

    @property
    def instance(self) -> Instance:
        return self.relaxed.instance

    @cached_property
    def solution(self) -> Solution:
        """The whole plan in the program's own unit (rank, or share removed), with the multiplier of the optimum."""
        x = self.units.astype(np.float64)
        plan = x / self.instance.resource if self.counts_parameters else x
        return Solution(self.instance, plan, self.relaxed.multiplier, method=self.method)

    @property
    def counts_parameters(self) -> bool:
        return self.instance.program.name == "pruning"

    @cached_property
    def exact_use(self) -> Fraction:
        """What the whole plan uses of the budget, or gives to the target."""
        units = self.units.astype(np.float64)
        return rational_dot(units, np.ones_like(units) if self.counts_parameters else self.instance.resource)

    @property
    def used(self) -> float:
        """`exact_use` as a double."""
        return float(self.exact_use)

    @property
    def keeps_limit(self) -> bool:
        """Whether the budget is kept, or the target met: compared as fractions, with no tolerance."""
        return self.instance.program.sign * (self.exact_use - Fraction(self.instance.limit)) <= 0

    @property
    def objective(self) -> float:
        return self.solution.objective

    @cached_property
    def gap(self) -> float:
        """objective - D(multiplier) >= 0: no plan, whole or not, is better by more, up to the rounding of doubles."""
        return max(certify(self.instance, self.solution).gap, 0.0)

    @property
    def bound(self) -> float:
        """D(multiplier): no plan, whole or not, is below it."""
        return self.objective - self.gap


def whole_ranks(relaxed: Solution, step: int = 1) -> Rounded:
    """The best ranks that are multiples of `step`, within budget and box.

    Raises SpecError for a bad step and InfeasibleError where no multiple lies in a box or the budget.
    """
    found = solve_integer(relaxed.instance, step)
    return Rounded(relaxed, found.x, int(step), found.method, found.optimal)


def whole_counts(relaxed: Solution) -> Rounded:
    """How many parameters of every layer go, by largest remainders. Raises SpecError for sizes that are not whole."""
    return Rounded(relaxed, _readonly(largest_remainders(relaxed)), 1, "largest remainders", False)


def largest_remainders(relaxed: Solution) -> list[int]:
    """The counts of a sparsity plan, from fractions: the same on every machine."""
    instance = relaxed.instance
    sizes, caps = _whole(instance.resource), map(Fraction, instance.upper.tolist())
    shares = [size * Fraction(x) for size, x in zip(sizes, relaxed.x.tolist(), strict=True)]
    over = [math.floor(share) + 1 > cap * size for share, cap, size in zip(shares, caps, sizes, strict=True)]
    total = max(math.ceil(Fraction(instance.limit)), math.floor(sum(shares)))
    return by_remainders(shares, total, sizes, over)


def _whole(sizes: Array) -> list[int]:
    for k, size in enumerate(sizes.tolist()):
        if not (size.is_integer() and size <= COUNTABLE):
            raise SpecError(f"sizes[{k}] = {size:g}: expected a whole number of parameters, at most 2^53")
    return [int(size) for size in sizes.tolist()]


def _readonly(counts: list[int]) -> Counts:
    array = np.array(counts, dtype=np.int64)
    array.setflags(write=False)
    return array
