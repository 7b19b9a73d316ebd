"""Costs and room as whole numbers of which doubles hold every multiple that a plan may use.

Costs that are whole, or share a divisor, are such numbers as they are. Decimal costs are nearly multiples of one
divisor u, c = a u + e: then whether a plan fits is decided by its multiples of u, and at the limit by its rests e. Both
are kept, and u is made as small as that allows. Other costs are rounded down and the room up, to 53 bits: no plan that
fits is lost, so a plan that fits and is the best of all these is the best.
"""

from __future__ import annotations

from dataclasses import replace

from zetaplan.solvers.whole.units import Units

BITS = 53  # of a double
LARGEST = 1000  # bits of the largest number: doubles end at 1024
NEAR = 40  # bits that a cost and a multiple of the divisor have in common at least


def in_doubles(units: Units) -> Units | None:
    """The same problem, or one with more plans that fit; None where costs differ too much for doubles."""
    if _total(units).bit_length() > LARGEST or units.room.bit_length() > LARGEST:
        return None
    if _exact(units):
        return units
    small = _by_divisor(units)
    return small if _exact(small) else _rounded_down(small)


def rounded_up(units: Units) -> Units:
    """Costs rounded up and the room down, to what doubles hold: only plans fit that do, some of them no more."""
    excess = max(_total(units).bit_length() - LARGEST, 0)
    pairs = zip(units.costs, units.most.tolist(), strict=True)
    costs = tuple(-_cut(-cost >> excess, BITS - most.bit_length()) for cost, most in pairs)
    return replace(units, costs=costs, room=_cut(min(units.room, _total(units)) >> excess, BITS))


def _total(units: Units) -> int:
    return sum(map(int.__mul__, units.costs, units.most.tolist()))


def _exact(units: Units) -> bool:
    """Is every multiple of the costs, and the room, a double?"""
    pairs = zip(units.costs, units.most.tolist(), strict=True)
    return _bits(units.room) <= BITS and all(_bits(cost) + most.bit_length() <= BITS for cost, most in pairs)


def _bits(value: int) -> int:
    """From the first to the last that is set."""
    return (value // (value & -value)).bit_length() if value else 0


def _by_divisor(units: Units) -> Units:
    """The same plans fit: with |E| <= spread the rests of a plan, u > 2 spread, and |rest| <= u / 2,

        u P + E <= u A + rest    if and only if    P < A,  or  P = A and E <= rest

    and 2 spread + 2 in place of u says the same, with the rest cut off where it is beyond every E.
    """
    divisor, most = _near_divisor(units.costs), units.most.tolist()
    multiples = [(cost + divisor // 2) // divisor for cost in units.costs]
    rests = [cost - multiple * divisor for cost, multiple in zip(units.costs, multiples, strict=True)]
    spread = sum(abs(rest) * count for rest, count in zip(rests, most, strict=True))
    if 2 * spread >= divisor or not all(multiples):
        return units
    room = min(units.room, _total(units))
    whole = (room + divisor // 2) // divisor
    rest = min(max(room - whole * divisor, -spread - 1), spread)
    small = 2 * spread + 2
    costs = tuple(multiple * small + rest for multiple, rest in zip(multiples, rests, strict=True))
    return replace(units, costs=costs, room=whole * small + rest)


def _near_divisor(costs: tuple[int, ...]) -> int:
    """Euclid's algorithm, with remainders that are small beside the costs taken for 0."""
    divisor, least = 0, max(costs) >> NEAR
    for cost in costs:
        while cost > least:
            divisor, cost = cost, min(divisor % cost, -divisor % cost)
    return divisor


def _rounded_down(units: Units) -> Units:
    pairs = zip(units.costs, units.most.tolist(), strict=True)
    costs = tuple(_cut(cost, BITS - most.bit_length()) for cost, most in pairs)
    return replace(units, costs=costs, room=-_cut(-units.room, BITS))


def _cut(value: int, bits: int) -> int:
    """The value with its leading bits only, rounded down; at least one of a number > 0."""
    excess = max(abs(value).bit_length() - max(bits, 1), 0)
    return value >> excess << excess
