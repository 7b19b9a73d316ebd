"""Sums and inner products without cancellation error.

The level is a quotient of two sums. Near a bound the numerator is a small difference of large numbers, so it is
summed without error. Products are split without error (Dekker 1971, Veltkamp 1968) and the parts are added without
error (Shewchuk 1997, as in `math.fsum`).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPLITTER = 2.0**27 + 1.0  # splits 53 bits into 26 + 26
CANCELS = 2.0**-4  # a sum below this share of its terms has lost more than 4 bits to their rounding
FOLD_ABOVE = 4096  # fsum iterates over Python floats; numpy folds longer arrays in half first


def exact_sum(values: Array, start: float = 0.0) -> float:
    """start + sum of `values` (any length), rounded once, with an error below 2**-100 sum |values| before it."""
    errors = [start]
    while values.size > FOLD_ABOVE:
        half = values.size // 2
        head, tail = values[:half], values[half : 2 * half]
        total = head + tail
        shift = total - head
        lost = (head - (total - shift)) + (tail - shift)
        errors.append(float(np.sum(lost)))
        values = np.concatenate((total, values[2 * half :]))
    return math.fsum(values.tolist() + errors)


def exact_dot(a: Array, b: Array) -> float:
    """The inner product of two arrays of equal length, rounded as in `exact_sum`."""
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return exact_sum(np.concatenate((product, error)))


def dot(a: Array, b: Array) -> float:
    """The inner product in float64. Threads of BLAS, which it starts for many layers, would hold the solver's cores."""
    return float(a.dot(b) if a.size <= FOLD_ABOVE else (a * b).sum())


def accurate_dot(a: Array, b: Array, start: float = 0.0) -> float:
    """start + a'b to ten roundings: sums of rounded products, or of exact products if the rounded ones cancel."""
    total = exact_sum(a * b, start)
    if abs(total) >= CANCELS * (abs(start) + dot(np.abs(a), np.abs(b))):
        return total
    return exact_dot(np.append(a, 1.0), np.append(b, start))


def _split(values: Array) -> tuple[Array, Array]:
    scaled = SPLITTER * values
    high = scaled - (scaled - values)
    return high, values - high


def rational_dot(a: Array, b: Array) -> Fraction:
    """The inner product in fractions."""
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    terms = [(m * n, p * q) for (m, p), (n, q) in ((x.as_integer_ratio(), y.as_integer_ratio()) for x, y in pairs)]
    below = max((q for _, q in terms), default=1)  # a power of two, as all of them
    return Fraction(sum(m * (below // q) for m, q in terms), below)
