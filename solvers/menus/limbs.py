"""Whole numbers of any width in numpy: (P, n) limbs of 48 bits, the highest limb signed, so that sums are exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Limbs = NDArray[np.int64]

BITS = 48
MASK = (1 << BITS) - 1


def width(largest: int) -> int:
    """How many limbs hold every whole number up to this size, and the sum of two such."""
    return 1 if largest < 1 << 61 else largest.bit_length() // BITS + 1


def limbs(numbers: Sequence[int], parts: int) -> Limbs:
    """(P, n): the numbers, cut into limbs."""
    if parts == 1:
        return np.array(numbers, dtype=np.int64).reshape(1, -1)
    low: Iterable[list[int]] = ([n >> BITS * i & MASK for n in numbers] for i in range(parts - 1))
    return np.array([*low, [n >> BITS * (parts - 1) for n in numbers]], dtype=np.int64)


def add(a: Limbs, b: Limbs) -> Limbs:
    """(P, n, m): every sum of one of the first and one of the second."""
    total: Limbs = a[:, :, np.newaxis] + b[:, np.newaxis, :]
    for i in range(len(total) - 1):
        total[i + 1] += total[i] >> BITS
        total[i] &= MASK
    return total


def negative(a: Limbs) -> NDArray[np.bool_]:
    """(n,) whether each number is below zero."""
    below: NDArray[np.bool_] = a[-1] < 0
    return below


def rank(a: Limbs) -> NDArray[np.int64]:
    """(n,) one whole number each, in the same order, and equal where the numbers are equal."""
    if len(a) == 1:
        only: NDArray[np.int64] = a[0]
        return only
    order = np.lexsort(a)
    rises = (a[:, order[1:]] != a[:, order[:-1]]).any(axis=0)
    ranks = np.empty(order.size, dtype=np.int64)
    ranks[order] = np.concatenate(([0], np.cumsum(rises)))
    return ranks


Top = tuple[float, int]  # mantissa and exponent: the unit of the highest limb may lie outside the range of doubles


def highest(unit: Fraction, parts: int) -> Top:
    """The value of the highest limb's unit, mantissa * 2**exponent."""
    exponent = unit.numerator.bit_length() - unit.denominator.bit_length()
    return float(unit / Fraction(2) ** exponent), exponent + BITS * (parts - 1)


def rounded(a: Limbs, top: Top) -> NDArray[np.float64]:
    """(n,) the numbers as doubles, right to three roundings; top : the value of the highest limb's unit."""
    mantissa, exponent = top
    value = a[-1].astype(np.float64)
    for place, limb in enumerate(a[-2::-1], start=1):
        value = value + np.ldexp(limb.astype(np.float64), -BITS * place)
    scaled: NDArray[np.float64] = np.ldexp(value * mantissa, exponent)
    return scaled


def whole(a: Limbs, place: int) -> int:
    """One of the numbers."""
    return sum(int(limb[place]) << BITS * i for i, limb in enumerate(a))
