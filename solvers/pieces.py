"""The resource of a plan as a piecewise linear function of the level u, in integers.

    limit = rise_j u + constant_j    between the bends j - 1 and j

The running sums subtract a layer when it reaches its cap. In doubles that would cancel every digit if qualities are
decades apart. So the sums are integers (fixed-point numbers wide enough for every double of the data), and comparing
fractions orders the bends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cmp_to_key
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.derivation import Derivation
from zetaplan.spec.instance import Array, Channel

MANTISSA = 53  # bits of a double


class Pieces(NamedTuple):
    """limit = rise_j u + constant_j without rounding; both are integers in the unit 2**-(2 bits).

    bends : the limit at the end of each piece except the last, as numerator and denominator in that unit.
    reach : the extreme limit that the box allows.
    """

    rise: list[int]
    constant: list[int]
    bends: list[tuple[int, int]]
    reach: int
    bits: int

    def before(self, j: int, limit: float, or_at: bool) -> bool:
        """Whether bend j is below the limit, or (if or_at) equal to it."""
        numerator, denominator = self.bends[j]
        distance = self.excess(limit, 0)
        ahead = distance[0] * denominator - numerator * distance[1]
        return ahead > 0 or (or_at and ahead == 0)

    def excess(self, limit: float, constant: int) -> tuple[int, int]:
        """limit - constant as numerator and denominator, in the unit of the pieces."""
        numerator, denominator = limit.as_integer_ratio()
        return (numerator << 2 * self.bits) - constant * denominator, denominator

    def breakpoints(self, uses: bool) -> Array:
        """The limits at the bends, rounded once and clipped to what the box allows."""
        unit = 2 * self.bits
        rounded = np.array([quotient(above, below << unit) for above, below in self.bends], dtype=np.float64)
        end = quotient(self.reach, 1 << unit)
        beyond = self.excess(end, self.reach)[0] * (1 if uses else -1) < 0
        inner = math.nextafter(end, math.inf if uses else -math.inf) if beyond else end
        return np.maximum(rounded, inner) if uses else np.minimum(rounded, inner)


class _Bends(NamedTuple):
    """Layer and bound of every bend; turn is +1 if the layer enters its box, -1 if it leaves it."""

    layer: NDArray[np.intp]
    bound: Array
    turn: NDArray[np.int64]


def exact_pieces(derivation: Derivation, channel: Channel, scalars: tuple[float, ...]) -> tuple[Pieces, Array]:
    """The pieces before, between and after the bends, and the levels at the bends, rounded once."""
    slope, offset = _moving(derivation, channel, scalars)
    bends = _bends(channel, slope, offset)
    spared = np.where(channel.weight > 0.0, channel.lower, channel.lower if derivation.uses else channel.upper)
    tightest = channel.lower if derivation.uses else channel.upper
    bits = _fraction_bits(channel.unit_cost, slope, offset, bends.bound, spared, tightest)
    a, start, end = (_fixed(values, bits) for values in (channel.unit_cost, spared, tightest))
    rates, offsets, bounds = (_fixed(v, bits) for v in (slope[bends.layer], offset[bends.layer], bends.bound))
    heights = list(map(int.__sub__, bounds, offsets))  # slope times level
    order = _by_quotient(heights, rates)
    rates, heights = [rates[i] for i in order], [heights[i] for i in order]
    signed = [s * a[k] for s, k in zip(bends.turn[order].tolist(), bends.layer[order].tolist(), strict=True)]
    rise = list(accumulate(map(int.__mul__, signed, rates), initial=0))
    constant = list(accumulate((-s * h for s, h in zip(signed, heights, strict=True)), initial=_dot(a, start)))
    limits = [
        (c * rate + g * height, rate) for c, g, rate, height in zip(constant[1:], rise[1:], rates, heights, strict=True)
    ]
    levels = np.array(list(map(quotient, heights, rates)), dtype=np.float64)
    return Pieces(rise, constant, limits, _dot(a, end), bits), levels


def _moving(derivation: Derivation, channel: Channel, scalars: tuple[float, ...]) -> tuple[Array, Array]:
    """slope and offset of every layer; (0, 0) for a layer that does not depend on the level."""
    moves = (channel.weight > 0.0) & (channel.lower < channel.upper)
    with np.errstate(all="ignore"):
        slope, offset = derivation.line(channel, scalars)
    return np.where(moves, slope, 0.0), np.where(moves, offset, 0.0)


def _bends(channel: Channel, slope: Array, offset: Array) -> _Bends:
    """All bends in the order of their levels, up to rounding, without those at infinite levels."""
    moving = np.flatnonzero(slope > 0.0)
    layer = np.concatenate((moving, moving))
    bound = np.concatenate((channel.lower[moving], channel.upper[moving]))
    with np.errstate(over="ignore"):
        level = (bound - offset[layer]) / slope[layer]
    order = np.argsort(level, kind="stable")
    order = order[np.isfinite(level[order])]
    return _Bends(layer[order], bound[order], np.repeat([1, -1], moving.size)[order])


def _by_quotient(above: list[int], below: list[int]) -> list[int]:
    """The order of the fractions above / below; fast if they are almost sorted."""

    def compare(i: int, j: int) -> int:
        left, right = above[i] * below[j], above[j] * below[i]
        return (left > right) - (left < right)

    return sorted(range(len(above)), key=cmp_to_key(compare))


def _fraction_bits(*arrays: Array) -> int:
    """The number of binary places that represent every entry without rounding."""
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


def quotient(numerator: int, denominator: int) -> float:
    """The quotient, rounded once."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf
