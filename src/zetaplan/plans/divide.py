"""Largest-remainder rounding of fractional shares to whole counts with a given total.

Every share is rounded down. The units that the total still lacks go one each to the largest remainders; of equal
remainders, the earlier comes first. All numbers are integers and fractions, so every machine gets the same counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def divide(amount: int, sizes: Sequence[int]) -> list[int]:
    """The amount in proportion to the sizes: one whole count per size, each within 1 of amount size / sum(sizes).

    amount : 0 <= amount <= sum(sizes), so that no count exceeds its size. sizes : each at least 0; the amount is 0 if
    all sizes are.
    """
    whole = sum(sizes)
    return by_remainders([Fraction(amount * size, whole or 1) for size in sizes], amount, sizes)


def by_remainders(
    shares: Sequence[Fraction], total: int, room: Sequence[int], last: Sequence[bool] | None = None
) -> list[int]:
    """Whole counts with the given total: shares rounded down, then one more unit each by largest remainder, in rounds.

    room : the largest value of each count; floor(sum(shares)) <= total <= sum(room). last : the parts that get a unit
    in a round only after all others.
    """
    below = math.lcm(*(share.denominator for share in shares))
    whole = [share.numerator * (below // share.denominator) for share in shares]
    counts = [share // below for share in whole]
    behind = last or [False] * len(counts)
    order = sorted(range(len(counts)), key=lambda k: (behind[k], -(whole[k] % below)))
    while lacking := total - sum(counts):  # one round, unless the total lacks as many units as there are shares
        for k in [k for k in order if counts[k] < room[k]][:lacking]:
            counts[k] += 1
    return counts
