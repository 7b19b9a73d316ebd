"""Cross-fitting: the gain of each half of the sequences in the curvature of the other half, without squares of noise.

For fixed H the mean of g_i' H~^-1 g_j over i != j is unbiased for g' H~^-1 g: noise of different sequences is
independent, and only the terms i = j, which contain the noise floor, are biased.
"""

from collections.abc import Callable

from torch import Tensor

from zetaplan.scoring.backward.statistics import HALVES

#: The fewest sequences for which each half has a pair i != j.
FEWEST = 4


def off_diagonal_mean(products: Tensor) -> float:
    """The mean of the entries i != j of (n, n) products, n >= 2."""
    n = len(products)
    return float((products.sum() - products.trace()) / (n * (n - 1)))


def over_halves(one: Callable[[slice, slice], float], sequences: int) -> tuple[float, float] | None:
    """`one(half, other)` for both assignments of the halves; None if a half would hold fewer than two sequences."""
    if sequences < FEWEST:
        return None
    first, second = HALVES
    return one(first, second), one(second, first)
