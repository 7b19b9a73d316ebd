"""One term of a claimed optimum, with what the declaration implies for it: what `certificate` judges.

A plan in doubles is the rounding of a plan. So a layer is judged by the signs of its gradient at both ends of what x
may be the rounding of: the gradient rises with x, and where it changes sign between them the layer is optimal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.derivation import Derivation
from zetaplan.spec.instance import EPSILON, Array, Channel

TOLERANCE = 1e-9  # a million times the rounding of a double, a thousandth of what any plan can resolve
ROUNDING = 8.0 * EPSILON  # of every amount that enters a sum: the closed form rounds it a few times
UNITS = 4.0  # in the last place of x: the closest double to the optimum is half a unit off, a formula some more
LEAST = float(np.finfo(np.float64).tiny)  # below the normal doubles a number has fewer digits than it shows


@dataclass(frozen=True)
class Claim:
    """One term of the claim, with what the declaration implies for it."""

    derivation: Derivation
    channel: Channel
    x: Array
    multiplier: float
    scalars: tuple[float, ...]

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """The plans within the box that x may be the rounding of, from below and from above."""
        slip = UNITS * np.spacing(np.abs(self.x))
        return np.maximum(self.x - slip, self.channel.lower), np.minimum(self.x + slip, self.channel.upper)

    @cached_property
    def falls(self) -> Array:
        """By how much g is positive at the lower end: what the layer gains by falling, between -1 and 1, shape (K,)."""
        return self._gradient(self.ends[0])

    @cached_property
    def rises(self) -> Array:
        """By how much g is negative at the upper end: what the layer gains by rising."""
        return -self._gradient(self.ends[1])

    def _gradient(self, x: Array) -> Array:
        """dL/dx over the sum of the absolute values of its terms; its sign where that is infinite."""
        if math.isinf(self.multiplier):
            return np.full_like(x, self._sigma * math.copysign(1.0, self.multiplier))
        arguments = (x, self.multiplier, self.channel.weight, self.channel.unit_cost, *self.scalars)
        gradient = np.broadcast_to(self.derivation.lagrangian_gradient(*arguments), x.shape)
        magnitude = self.derivation.magnitude(*arguments) + LEAST * (1.0 + self.channel.unit_cost)
        relative: Array = np.where(np.isinf(gradient), np.sign(gradient), gradient / magnitude)
        return relative

    @property
    def optimal(self) -> NDArray[np.bool_]:
        """Does x round the minimiser of the Lagrangian?"""
        (low, high), channel = self.ends, self.channel
        return ((self.falls <= 0.0) | (low <= channel.lower)) & ((self.rises <= 0.0) | (high >= channel.upper))

    @property
    def at_floor(self) -> NDArray[np.bool_]:
        return self.x - self.channel.lower <= TOLERANCE * self.unit

    @property
    def at_cap(self) -> NDArray[np.bool_]:
        return self.channel.upper - self.x <= TOLERANCE * self.unit

    @property
    def unit(self) -> Array:
        """The decision's own unit is fixed by the program (the 1 of log(1 + m), the whole of a fraction)."""
        return np.maximum(1.0, np.abs(self.x))

    @property
    def _sigma(self) -> int:
        return self.derivation.program.sign * self.channel.term.usage

    @cached_property
    def volume(self) -> float:
        """What rounding can touch of the resource: the layers inside their box, where x is a rounded slope u + offset,
        and those that only rounding may have put on a bound, by their gradient there."""
        channel = self.channel
        inside = (self.x > channel.lower) | (self.falls < ROUNDING)
        inside &= (self.x < channel.upper) | (self.rises < ROUNDING)
        inside &= channel.weight > 0.0
        offset = self.derivation.offset_of(0.0, 0.0, channel.weight, channel.unit_cost, *self.scalars)
        return float(channel.unit_cost @ np.where(inside, np.abs(self.x) + np.abs(offset), 0.0))

    def objective(self, x: Array) -> Array:
        values = self.derivation.objective(x, 0.0, self.channel.weight, self.channel.unit_cost, *self.scalars)
        return np.broadcast_to(values, x.shape)

    @cached_property
    def cheapest(self) -> Array:
        """The minimiser of the Lagrangian, layer by layer; x itself where that rounds it."""
        minimiser = self.derivation.stationary(max(self.multiplier, 0.0), self.channel, self.scalars)
        return np.where(self.optimal, self.x, minimiser)

    @property
    def losses(self) -> Array:
        """L(x) - min L >= 0, layer by layer."""
        moved = self._sigma * self.channel.unit_cost * (self.x - self.cheapest)
        return self.objective(self.x) - self.objective(self.cheapest) + product(self.multiplier, moved)

    @property
    def sizes(self) -> Array:
        """The sum of the absolute values of what a loss adds up, where it is no difference of equal numbers."""
        use = self.channel.unit_cost * (np.abs(self.x) + np.abs(self.cheapest))
        total_price = abs(self.multiplier) + self.derivation.declared_price_of(*self.scalars)
        values = np.abs(self.objective(self.x)) + np.abs(self.objective(self.cheapest))
        return np.where(self.x == self.cheapest, 0.0, values + product(total_price, use))


def product(factor: float, values: Array) -> Array:
    """The product, with 0 inf = 0."""
    return np.where((values == 0.0) | (factor == 0.0), 0.0, factor * values)
