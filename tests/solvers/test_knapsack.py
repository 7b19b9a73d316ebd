"""The kernel where layers stand within rounding of their bounds and differ in size by many decades."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.oracle import _root
from zetaplan.solvers.knapsack import Knapsack, solve


def near_tie(rng: np.random.Generator, last: bool) -> Knapsack:
    """Large layers whose bound and limit coincide up to rounding, small ones that decide the price."""
    layers = int(rng.integers(2, 9))
    a = 10.0 ** rng.uniform(-12.0, 0.0, layers)
    p = 10.0 ** rng.uniform(-6.0, 6.0, layers)
    r = -np.ones(layers) if last else np.zeros(layers)
    at = p * 10.0 ** rng.uniform(-6.0, 6.0) + r
    lower = np.maximum(at * rng.choice([0.0, 1.0, 1.0, 1.0 - 2.0**-52], layers), 0.0)
    upper = np.maximum(at * rng.choice([1.0, 1.0 + 2.0**-51, 2.0], layers), lower)
    x = np.where(rng.random(layers) < 0.5, lower, upper)
    return Knapsack(a, p, r, lower, upper, float(a @ x), last)


@pytest.mark.parametrize("last", [False, True])
def test_price_is_right_to_rounding_where_rounding_decides_the_sides(last: bool) -> None:
    for seed in range(600):
        knapsack = near_tie(np.random.default_rng(seed), last)
        a, p, r, lower, upper, limit, _ = knapsack
        reach = [sum(Fraction(x) * Fraction(y) for x, y in zip(a, bound, strict=True)) for bound in (lower, upper)]
        if not reach[0] < Fraction(limit) < reach[1]:
            continue
        lines = [tuple(map(Fraction, row)) for row in zip(a, p, r, lower, upper, strict=True)]
        truth = float(_root(lines, Fraction(limit), last=last))
        assert solve(knapsack) == pytest.approx(truth, rel=1e-14), seed
