"""Every plan over every budget (method 5.4): the multiplier as a function of the limit, in closed form.

The plan x_k = clip(slope_k u + offset_k, l_k, u_k) depends on one price u, so the resource it uses is piecewise
linear in u with a bend wherever a layer enters its box (leaves its floor) or leaves it (reaches its cap):

    limit(u) = rise_j u + constant_j    between the bends j and j + 1

One sort of at most 2K bends and two running sums give all pieces. A layer that reaches its cap is subtracted
again, and with qualities decades apart that would cancel every digit; so the sums run in integers
(fixed-point numbers wide enough for every double in the data) and are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import SpecError, require, shown
from zetaplan.solvers.weightless import settle
from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.instance import Array, Channel, Instance, check_feasible
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.stationary import excess, plan_at
from zetaplan.spec.summation import exact_dot

MANTISSA = 53  # bits of a double


class _Pieces(NamedTuple):
    """limit = rise_j u + constant_j, exactly; both hold integers in the unit 2**-(2 bits)."""

    rise: list[int]
    constant: list[int]
    reach: int
    bits: int

    def excess(self, limit: float, constant: int) -> tuple[int, int]:
        """limit - constant as numerator and denominator, in the unit of the pieces."""
        numerator, denominator = limit.as_integer_ratio()
        return (numerator << 2 * self.bits) - constant * denominator, denominator


@dataclass(frozen=True, eq=False)
class Frontier:
    """The optimal plans of an instance for every limit (budget or target) that its box admits.

    breakpoints : (J,) limits at which a layer enters or leaves its box, not decreasing, J <= 2K; only those at
        which the constraint binds. Rounded once from the exact value for the slopes and offsets as doubles.
    prices, multipliers : (J,) u and lambda at the breakpoints; lambda is the fall of the optimal value per unit
        of budget (it falls along the curve), or its rise per unit of target (it rises).
    slack : the limit where the constraint stops binding: budgets above it (targets below it) change nothing.

    Examples:
        >>> path = zp.frontier(zp.pruning([1, 3], sizes=1.0, sparsity=0.5))
        >>> [path.at(target).multiplier for target in (0.5, 1.0)]
        [0.1875, 0.375]
    """

    instance: Instance
    breakpoints: Array
    prices: Array
    multipliers: Array
    slack: float
    _pieces: _Pieces = field(repr=False)

    def multiplier(self, limit: float) -> float:
        """The price of the resource at a limit, in O(log K); where the curve has a kink, its one-sided slope.

        Raises InfeasibleError where no plan satisfies the limit and SpecError where it is no finite number.
        """
        limit = self._checked(limit)
        if self._slackens(limit):
            return 0.0
        return float(_multipliers(self.instance, np.float64(self._price(limit))))

    def at(self, limit: float) -> Solution:
        """The optimal plan at a limit, in O(K); its instance is this one with that limit.

        |x_k - x*_k| is a few units in the last place of |slope_k u| + |offset_k|. Raises as `multiplier` does.
        """
        multiplier = self.multiplier(limit)
        instance = replace(self.instance, limit=float(limit))
        x = plan_at(instance, multiplier)
        if self._slackens(instance.limit):
            return Solution(instance, settle(instance, x), 0.0, Status.SLACK, "frontier")
        return Solution(instance, x, multiplier, Status.BINDING, "frontier")

    def _slackens(self, limit: float) -> bool:
        return self.instance.program.sign * (self.slack - limit) <= 0.0

    def _checked(self, limit: float) -> float:
        number, program = _number(limit), self.instance.program
        if not math.isfinite(number) or (number < 0.0 and program.limit.is_nonnegative):
            raise SpecError(f"{program.limit_argument} = {number}: expected a finite number of at least 0")
        if program.sign * self._pieces.excess(number, self._pieces.reach)[0] < 0:
            check_feasible(replace(self.instance, limit=number))  # says what is missing
        return number

    def _price(self, limit: float) -> float:
        """u on the piece that holds the limit; where every layer stands at a bound, its end of smaller multiplier."""
        side: Literal["left", "right"] = "right" if self.instance.program.sense == "<=" else "left"
        j = int(np.searchsorted(self.breakpoints, limit, side=side))
        rise, constant = self._pieces.rise[j], self._pieces.constant[j]
        if rise <= 0:  # beyond the last bend that a double can hold
            return float(self.prices[min(j, self.prices.size - 1)])
        numerator, denominator = self._pieces.excess(limit, constant)
        return _quotient(numerator, rise * denominator)


def _number(limit: float) -> float:
    try:
        return float(limit)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"limit = {shown(limit)}: expected a number") from None


class _Bends(NamedTuple):
    """Layer, price and bound of every bend, and +1 where the layer enters its box, -1 where it leaves it."""

    layer: NDArray[np.intp]
    price: Array
    bound: Array
    turn: NDArray[np.int64]


def frontier(instance: Instance) -> Frontier:
    """The whole trade-off curve of an instance's program and data; its own limit is one point of it.

    O(K log K) for the construction. Raises SpecError for a program of several terms, whose plan does not
    depend on one price.

    Examples:
        >>> path = zp.frontier(zp.allocation([1, 3], costs=1.0, budget=6.0))
        >>> path.breakpoints  # the second layer is active from 0 on, the first from 2 on
        array([0., 2.])
        >>> path.at(6.0).x
        array([1., 5.])
    """
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    derivations = derive(instance.program)
    if len(derivations) != 1:
        raise SpecError(f"{instance.program.name} has {len(derivations)} terms: the frontier is for programs of one")
    (derivation,), (channel,) = derivations, instance.channels
    slope, offset = _moving(derivation, channel, instance.scalars)
    bends = _bends(channel, slope, offset)
    first, last = _binding(derivation, bends.price, instance.scalars)
    pieces, breakpoints = _sum(derivation, channel, slope, offset, bends)
    prices = bends.price[first:last]
    return Frontier(
        instance=instance,
        breakpoints=_frozen(breakpoints[first:last]),
        prices=_frozen(prices),
        multipliers=_frozen(_multipliers(instance, prices)),
        slack=_slack(instance, plan_at(instance, 0.0)),
        _pieces=pieces._replace(rise=pieces.rise[first : last + 1], constant=pieces.constant[first : last + 1]),
    )


def _slack(instance: Instance, unpriced: Array) -> float:
    """The resource that the plan without a price uses, rounded to the side where it is enough."""
    if not np.isfinite(unpriced).all():
        return math.inf
    use = exact_dot(instance.resource, unpriced)
    enough = excess(replace(instance, limit=use), unpriced) <= 0.0
    return use if enough else math.nextafter(use, instance.program.sign * math.inf)


def _moving(derivation: Derivation, channel: Channel, scalars: tuple[float, ...]) -> tuple[Array, Array]:
    """slope and offset of every layer; (0, 0) for a layer that does not move with the price."""
    moves = (channel.weight > 0.0) & (channel.lower < channel.upper)
    slope, offset = derivation.line(channel, scalars)
    return np.where(moves, slope, 0.0), np.where(moves, offset, 0.0)


def _bends(channel: Channel, slope: Array, offset: Array) -> _Bends:
    """All bends in the order of their prices; prices that a double cannot hold are never reached."""
    moving = np.flatnonzero(slope > 0.0)
    layer = np.concatenate((moving, moving))
    bound = np.concatenate((channel.lower[moving], channel.upper[moving]))
    turn = np.repeat([1, -1], moving.size)
    with np.errstate(over="ignore"):
        price = (bound - offset[layer]) / slope[layer]
    order = np.argsort(price, kind="stable")
    order = order[np.isfinite(price[order])]
    return _Bends(layer[order], price[order], bound[order], turn[order])


def _binding(derivation: Derivation, prices: Array, scalars: tuple[float, ...]) -> tuple[int, int]:
    """The range of bends at which the multiplier is not negative."""
    with np.errstate(divide="ignore"):  # a resource without a price may have an infinite u
        unpriced = derivation.price_of(0.0, np.float64(0.0), 0.0, 0.0, *scalars)
    if derivation.uses:
        return 0, int(np.searchsorted(prices, unpriced, side="right"))
    return int(np.searchsorted(prices, unpriced, side="left")), prices.size


def _sum(derivation: Derivation, channel: Channel, slope: Array, offset: Array, bends: _Bends) -> tuple[_Pieces, Array]:
    """The pieces before, between and after the bends, and the limits at the bends."""
    spared = np.where(channel.weight > 0.0, channel.lower, channel.lower if derivation.uses else channel.upper)
    tightest = channel.lower if derivation.uses else channel.upper
    bits = _fraction_bits(channel.data, slope, offset, bends.bound, spared, tightest)
    a, start, end = (_fixed(values, bits) for values in (channel.data, spared, tightest))
    p, r = (_fixed(values[bends.layer], bits) for values in (slope, offset))
    bound, turn = _fixed(bends.bound, bits), bends.turn.tolist()
    signed = [s * a[k] for s, k in zip(turn, bends.layer.tolist(), strict=True)]
    rise = list(accumulate(map(int.__mul__, signed, p), initial=0))
    above = list(map(int.__sub__, bound, r))  # slope times price
    constant = list(accumulate((-s * b for s, b in zip(signed, above, strict=True)), initial=_dot(a, start)))
    unit = 2 * bits
    limits = [
        _quotient(c * slope_k + g * b, slope_k << unit)
        for c, g, slope_k, b in zip(constant[1:], rise[1:], p, above, strict=True)
    ]
    ordered = np.maximum.accumulate(np.array(limits)) if limits else np.empty(0)  # prices a rounding apart may swap
    return _Pieces(rise, constant, _dot(a, end), bits), ordered


def _fraction_bits(*arrays: Array) -> int:
    """The number of binary places that hold every entry exactly."""
    values = np.concatenate(arrays)
    values = values[np.isfinite(values) & (values != 0.0)]
    exponents = np.frexp(values)[1]
    return int(max(0, MANTISSA - exponents.min())) if values.size else 0


def _fixed(values: Array, bits: int) -> list[int]:
    """The doubles as integers in the unit 2**-bits."""
    mantissa, exponent = np.frexp(values)
    integers = np.ldexp(mantissa, MANTISSA).astype(np.int64).tolist()
    shifts = (exponent - MANTISSA + bits).tolist()
    return [n << shift if n else 0 for n, shift in zip(integers, shifts, strict=True)]


def _dot(a: Iterable[int], b: Iterable[int]) -> int:
    return sum(map(int.__mul__, a, b))


def _quotient(numerator: int, denominator: int) -> float:
    """The quotient, rounded once."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


def _multipliers(instance: Instance, prices: Array | np.float64) -> Array:
    with np.errstate(all="ignore"):  # an infinite price of the resource is an answer
        multipliers = derive(instance.program)[0].multiplier_of(0.0, prices, 0.0, 0.0, *instance.scalars)
    clipped: Array = np.maximum(multipliers, 0.0)
    return clipped


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
