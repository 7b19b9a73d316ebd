"""Claims: one term of a claimed optimum with the gradients and volumes that `certificate` needs.

A plan in doubles is a rounded plan. So the signs of the gradient are taken at both ends of the interval that rounds to
x. The gradient rises with x, and a layer is optimal if the gradient changes its sign in that interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.derivation import Derivation
from zetaplan.spec.instance import EPSILON, Array, Channel

TOLERANCE = 1e-9  # four million roundings of a double
ROUNDING = 8.0 * EPSILON  # of every term of a sum, because the closed form rounds a few times
UNITS = 4.0  # in the last place of x; the nearest double is within half a unit, a formula within a few
LEAST = float(np.finfo(np.float64).tiny)  # below it a double has less than full precision


@dataclass(frozen=True)
class Claim:
    """One term of a claim and its derivation; arrays (K,)."""

    derivation: Derivation
    channel: Channel
    x: Array
    multiplier: float
    scalars: tuple[float, ...]

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """The lower and upper end of the interval that rounds to x, inside the box."""
        slip = UNITS * np.spacing(np.abs(self.x))
        return np.maximum(self.x - slip, self.channel.lower), np.minimum(self.x + slip, self.channel.upper)

    @cached_property
    def falls(self) -> Array:
        """g at the lower end relative to its terms, in [-1, 1], (K,): the gain of a layer by falling."""
        return self._gradient(self.ends[0])

    @cached_property
    def rises(self) -> Array:
        """-g at the upper end relative to its terms, in [-1, 1], (K,): the gain of a layer by rising."""
        return -self._gradient(self.ends[1])

    def _gradient(self, x: Array) -> Array:
        """dL/dx over the sum of the absolute values of its terms; the sign of dL/dx if it is infinite."""
        if math.isinf(self.multiplier):
            return np.full_like(x, self._sigma * math.copysign(1.0, self.multiplier))
        arguments = (x, self.multiplier, self.channel.weight, self.channel.unit_cost, *self.scalars)
        gradient = np.broadcast_to(self.derivation.lagrangian_gradient(*arguments), x.shape)
        magnitude = self.derivation.magnitude(*arguments) + underflow(self.channel.unit_cost, self.scalars)
        relative: Array = np.where(np.isinf(gradient), np.sign(gradient), gradient / magnitude)
        return relative

    @property
    def optimal(self) -> NDArray[np.bool_]:
        """Whether x is a rounding of the minimiser of the Lagrangian, (K,)."""
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
        """max(1, |x|): the programs fix the unit of a decision (the 1 of log(1 + m), the whole of a fraction)."""
        return np.maximum(1.0, np.abs(self.x))

    @property
    def _sigma(self) -> int:
        return self.derivation.program.sign * self.channel.term.usage

    @cached_property
    def volume(self) -> float:
        """The part of the resource that rounding affects: layers inside their box (x is a rounded slope u + offset) and
        layers at a bound whose gradient is 0 up to the rounding of that sum."""
        channel = self.channel
        offset = np.abs(self.derivation.offset_of(0.0, 0.0, channel.weight, channel.unit_cost, *self.scalars))
        flat = ROUNDING * (1.0 + offset)
        inside = (self.x > channel.lower) | (self.falls < flat)
        inside &= (self.x < channel.upper) | (self.rises < flat)
        inside &= channel.weight > 0.0
        return float(channel.unit_cost @ np.where(inside, np.abs(self.x) + offset, 0.0))

    def objective(self, x: Array) -> Array:
        values = self.derivation.objective(x, 0.0, self.channel.weight, self.channel.unit_cost, *self.scalars)
        return np.broadcast_to(values, x.shape)

    @cached_property
    def cheapest(self) -> Array:
        """The minimiser of the Lagrangian of every layer; x itself if it is a rounding of it."""
        minimiser = self.derivation.stationary(max(self.multiplier, 0.0), self.channel, self.scalars)
        return np.where(self.optimal | (np.abs(self.x - minimiser) <= LEAST), self.x, minimiser)

    @property
    def losses(self) -> Array:
        """L(x) - min L >= 0 of every layer."""
        moved = self._sigma * self.channel.unit_cost * (self.x - self.cheapest)
        return self.objective(self.x) - self.objective(self.cheapest) + product(self.multiplier, moved)

    @property
    def sizes(self) -> Array:
        """The sum of the absolute values of the terms of a loss; 0 if x is the minimiser."""
        use = self.channel.unit_cost * (np.abs(self.x) + np.abs(self.cheapest))
        total_price = abs(self.multiplier) + self.derivation.declared_price_of(*self.scalars)
        values = np.abs(self.objective(self.x)) + np.abs(self.objective(self.cheapest))
        return np.where(self.x == self.cheapest, 0.0, values + product(total_price, use))


def underflow(unit_cost: Any, scalars: tuple[float, ...]) -> Any:
    """The part of a gradient that doubles may lose below their range, (K,): its terms have a factor c or eta."""
    return LEAST * (1.0 + unit_cost) * max((1.0, *scalars))


def product(factor: float, values: Array) -> Array:
    """The product, with 0 inf = 0."""
    return np.where((values == 0.0) | (factor == 0.0), 0.0, factor * values)
