"""Rounding of an optimum to whole units: multiples of a step (ranks, experts, bits), or counts of removed parameters.

Multiples are optimal within budget and box (`zetaplan.solvers.whole.integer`). A sparsity becomes a count of
parameters by largest remainders: every block's share is rounded down, and the parameters that the target still lacks
are taken one each from the blocks with the largest remainders, first from blocks whose cap allows it. Every block is
less than one parameter away from an optimum that meets the target. The count exceeds the target only if the target is
not a whole number (by less than 1) or if the optimum itself exceeds it.

Weak duality bounds the rounding loss of any method: no plan, whole or not, has an objective below D(multiplier).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from zetaplan._display import Columns, Display
from zetaplan._plural import counted
from zetaplan.errors import SpecError
from zetaplan.plans.divide import by_remainders

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zetaplan.plans.proof import ChoiceProof
    from zetaplan.spec.instance import Array, Instance
    from zetaplan.spec.solution import Solution

    Units = NDArray[np.int64]


class Whole(ABC):
    """The rounding of an optimum to whole units, and the resource and decision of given whole units.

    shares : whether the decision is a share of a block, in which case whole units count the parameters of that share.
    """

    shares: ClassVar[bool]

    @abstractmethod
    def round(self, relaxed: Solution, step: int) -> Rounded:
        """The optimum in whole units. Raises SpecError for a bad step, InfeasibleError where no whole plan exists."""

    @abstractmethod
    def decision(self, instance: Instance, units: Array) -> Array:
        """(K,) whole units, converted to the unit of the decision."""

    @abstractmethod
    def achieved(self, rounded: Rounded) -> Array:
        """(K,) the amount that the whole units achieve: shares removed, or resource used."""

    @abstractmethod
    def use(self, instance: Instance, units: Array) -> Fraction:
        """The resource that whole units use of the budget or contribute to the target."""

    @abstractmethod
    def verified(self, rounded: Rounded) -> tuple[bool, str]:
        """Whether this rounding can produce the units, and a description of the check."""


@dataclass(frozen=True)
class Multiples(Whole):
    """Whole units that are multiples of a step: ranks, experts, bits."""

    shares: ClassVar[bool] = False

    def round(self, relaxed: Solution, step: int) -> Rounded:
        from zetaplan.plans.proof import prove_whole
        from zetaplan.solvers.whole.integer import solve_integer

        found = solve_integer(relaxed.instance, step)
        proof = prove_whole(found.proof)
        return Rounded(self, relaxed, found.x, int(step), found.method, proof is not None, proof)

    def decision(self, instance: Instance, units: Array) -> Array:
        return units

    def achieved(self, rounded: Rounded) -> Array:
        return rounded.units * rounded.instance.resource

    def use(self, instance: Instance, units: Array) -> Fraction:
        from zetaplan.spec.summation import rational_dot

        return rational_dot(units, instance.resource)

    def verified(self, rounded: Rounded) -> tuple[bool, str]:
        units, instance = rounded.units, rounded.instance
        inside = (instance.lower <= units) & (units <= instance.upper) & (units % rounded.step == 0)
        return bool(inside.all()), f"every amount is a multiple of {rounded.step} inside its box"


@dataclass(frozen=True)
class Counts(Whole):
    """Numbers of parameters to remove per block, by largest remainders."""

    shares: ClassVar[bool] = True

    def round(self, relaxed: Solution, step: int = 1) -> Rounded:
        return Rounded(self, relaxed, _readonly(largest_remainders(relaxed)), 1, "largest remainders", False)

    def decision(self, instance: Instance, units: Array) -> Array:
        return units / instance.resource

    def achieved(self, rounded: Rounded) -> Array:
        return rounded.solution.x

    def use(self, instance: Instance, units: Array) -> Fraction:
        from zetaplan.spec.summation import rational_dot

        return rational_dot(units, units**0)

    def verified(self, rounded: Rounded) -> tuple[bool, str]:
        same = (rounded.step, rounded.units.tolist()) == (1, largest_remainders(rounded.relaxed))
        return same, "every layer's share in whole parameters, by largest remainders"


@dataclass(frozen=True, eq=False, repr=False)
class Rounded(Display):
    """A plan in whole units, with the optimum that it was rounded from.

    whole : the rounding. relaxed : the optimum. units : (K,) ranks, experts, bits, or parameters to remove. step : the
    common divisor of all units. method : the method that found the units. optimal : whether that method claims that no
    whole plan is better; the gap is proved without that claim. proof : the proof of that claim.
    """

    whole: Whole
    relaxed: Solution
    units: Units
    step: int
    method: str
    optimal: bool
    proof: ChoiceProof | None = None

    @property
    def instance(self) -> Instance:
        return self.relaxed.instance

    @cached_property
    def _doubles(self) -> Array:
        return self.units.astype(float)

    @cached_property
    def solution(self) -> Solution:
        """The whole plan in the unit of the decision (rank, or share removed), with the multiplier of the optimum."""
        from zetaplan.spec.solution import Solution

        x = self.whole.decision(self.instance, self._doubles)
        return Solution(self.instance, x, self.relaxed.multiplier, method=self.method)

    @cached_property
    def exact_use(self) -> Fraction:
        """The resource that the whole plan uses of the budget or contributes to the target."""
        return self.whole.use(self.instance, self._doubles)

    @property
    def used(self) -> float:
        """`exact_use` as a double."""
        return float(self.exact_use)

    @property
    def keeps_limit(self) -> bool:
        """Whether the plan keeps the budget or meets the target, compared in fractions without a tolerance."""
        return self.instance.program.sign * (self.exact_use - Fraction(self.instance.limit)) <= 0

    @property
    def objective(self) -> float:
        return self.solution.objective

    @cached_property
    def gap(self) -> float:
        """objective - D(multiplier) >= 0: no plan, whole or not, is better by more, up to the rounding of doubles."""
        from zetaplan.verification.certificate import certify

        return max(certify(self.instance, self.solution).gap, 0.0)

    @property
    def bound(self) -> float:
        """D(multiplier): no plan, whole or not, is below it."""
        return self.objective - self.gap

    def _headline(self) -> str:
        units = f"{int(self.units.sum()):,} whole units over {counted(self.units.size, 'block')}"
        return f"{units}, {self.used:,.10g} of {self.instance.limit:,.10g} used, by {self.method!r}"

    def _columns(self) -> Columns:
        names, relaxed = self.instance.layer_names, self.relaxed.x.tolist()
        return {"block": names, "relaxed": relaxed, "units": self.units.tolist()}


def largest_remainders(relaxed: Solution) -> list[int]:
    """The counts of a sparsity plan, computed in fractions and so the same on every machine.

    Raises SpecError for sizes that are not whole numbers.
    """
    from zetaplan.spec.summation import rational_dot

    instance = relaxed.instance
    sizes, caps = _whole(instance.resource), [cap.as_integer_ratio() for cap in instance.upper.tolist()]
    taken = [x.as_integer_ratio() for x in relaxed.x.tolist()]
    over = [
        (size * x // parts + 1) * below > cap * size  # one more would pass the cap
        for size, (x, parts), (cap, below) in zip(sizes, taken, caps, strict=True)
    ]
    total = max(math.ceil(Fraction(instance.limit)), math.floor(rational_dot(instance.resource, relaxed.x)))
    shares = [Fraction(size * x, parts) for size, (x, parts) in zip(sizes, taken, strict=True)]
    return by_remainders(shares, total, sizes, over)


def _whole(sizes: Array) -> list[int]:
    for k, size in enumerate(sizes.tolist()):
        if not (size.is_integer() and size <= 2**53):
            raise SpecError(f"sizes[{k}] = {size:g}: expected a whole number of parameters, at most 2^53")
    return [int(size) for size in sizes.tolist()]


def _readonly(counts: list[int]) -> Units:
    import numpy as np

    array = np.array(counts, dtype=np.int64)
    array.setflags(write=False)
    return array
