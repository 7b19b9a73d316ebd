"""Largest remainders: the one rounding that turns fractional shares into whole counts with a given total.

Every share is rounded down; what the total still lacks goes one each to the largest remainders, the earlier part first
where remainders are equal. All numbers are integers and fractions, so the counts are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def divide(amount: int, sizes: Sequence[int]) -> list[int]:
    """The amount in proportion to the sizes: one whole count per size, each within one of amount size / sum(sizes).

    amount : 0 <= amount <= sum(sizes), so that no count exceeds its size. sizes : each at least 0; where all are 0, so
    is the amount.
    """
    whole = sum(sizes)
    return by_remainders([Fraction(amount * size, whole or 1) for size in sizes], amount, sizes)


def by_remainders(
    shares: Sequence[Fraction], total: int, room: Sequence[int], last: Sequence[bool] | None = None
) -> list[int]:
    """Whole counts with the total: the shares rounded down, then one more each by largest remainder, in rounds.

    room : the most that each count may be; floor(sum(shares)) <= total <= sum(room). last : the parts that take a
    round's units only after all others.
    """
    counts = [math.floor(share) for share in shares]
    behind = last or [False] * len(counts)
    order = sorted(range(len(counts)), key=lambda k: (behind[k], counts[k] - shares[k]))
    while lacking := total - sum(counts):  # one round, unless the shares fall short of the total by their number
        for k in [k for k in order if counts[k] < room[k]][:lacking]:
            counts[k] += 1
    return counts
