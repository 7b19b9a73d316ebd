"""The exact optimum against the slow oracle, against planted optima, and against the bounds of its definition."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from tests import oracle
from tests.strategies import instances, random_instance
from zetaplan.solvers.exact import solve_exact
from zetaplan.solvers.rational import exact_optimum
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.pruning import pruning


def assert_exact(instance: Instance) -> None:
    optimum = exact_optimum(instance)
    x, multiplier = oracle.optimum(instance)
    assert list(optimum.x) == x
    assert optimum.multiplier == multiplier


@settings(max_examples=300, deadline=None)
@given(instances())
def test_agrees_with_the_oracle(instance: Instance) -> None:
    assert_exact(instance)


@pytest.mark.parametrize("seed", range(150))
def test_agrees_with_the_oracle_on_large_and_skew_data(seed: int) -> None:
    assert_exact(random_instance(seed))


def test_planted_allocation() -> None:
    """Choose the price 1/16 and the sides first; then w = c (1 + m) / 16 inside, less at the floor, more at the cap."""
    weight, costs = [2 / 16, 0.5 / 16, 8 / 16, 5.5 / 16], [1.0, 1.0, 2.0, 1.0]
    optimum = exact_optimum(allocation(weight, costs, 9.0, upper=[9, 9, 9, 2]))
    assert optimum.x == (1, 0, 3, 2)
    assert optimum.multiplier == Fraction(1, 16)
    assert (optimum.interior, optimum.floor, optimum.cap) == ((0, 2), (1,), (3,))


def test_planted_pruning_is_exact() -> None:
    """Weights and sizes are powers of two, so rho = u n / (2 w) is a short fraction."""
    inst = pruning([0.5, 0.25, 0.25], [2.0, 1.0, 2.0], target=2.0 * 0.25 + 1.0 * 0.25 + 2.0 * 0.5)
    optimum = exact_optimum(inst)
    assert optimum.x == (Fraction(1, 4), Fraction(1, 4), Fraction(1, 2))
    assert optimum.multiplier == Fraction(1, 8)
    assert optimum.binding
    assert optimum.unique


def test_tie_at_a_breakpoint_counts_as_floor() -> None:
    inst = allocation([0.5, 0.25, 0.25], 1.0, 1.0)
    optimum = exact_optimum(inst)
    assert optimum.x == (1, 0, 0)
    assert optimum.interior == (0,)
    assert optimum.floor == (1, 2)


def test_budget_of_zero_is_supported_by_a_least_multiplier() -> None:
    optimum = exact_optimum(allocation([0.5, 0.25, 0.25], [2.0, 1.0, 0.5], 0.0))
    assert optimum.x == (0, 0, 0)
    assert optimum.multiplier == Fraction(1, 2)


def test_limit_at_the_caps_costs_nothing_more() -> None:
    optimum = exact_optimum(allocation([0.5, 0.5], [1.0, 3.0], 8.0, upper=2.0))
    assert optimum.x == (2, 2)
    assert optimum.multiplier == 0
    assert not optimum.binding


@pytest.mark.parametrize(
    ("instance", "unique"),
    [
        (allocation([1.0, 0.0], 1.0, 2.0, upper=1.0), False),
        (allocation([1.0, 0.0], 1.0, 1.0, upper=1.0), True),
        (allocation([1.0, 0.0], 1.0, 2.0, upper=[1.0, 0.0]), True),
        (allocation([1.0, 0.0], 1.0, 2.0, upper=1.0, alpha=0.125), True),
        (allocation([1.0, 0.0], 1.0, 2.0), True),
        (pruning([1.0, 0.0], 1.0, target=0.5), False),
        (pruning([1.0, 0.0], 1.0, target=1.0), True),
        (pruning([1.0, 0.0], 1.0, target=0.5, bits=0.125), True),
    ],
)
def test_unique_unless_a_free_resource_is_left_to_layers_without_weight(instance: Instance, unique: bool) -> None:
    assert exact_optimum(instance).unique is unique


@pytest.mark.parametrize("misled", [0.0, 1.0, 0.5, math.nan])
def test_a_wrong_guess_is_repaired(misled: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The float solver only guesses: whatever it says, the answer is the same."""

    def guess(instance: Instance) -> object:
        return type("Guess", (), {"x": np.full(instance.weight.size, misled)})

    monkeypatch.setattr("zetaplan.solvers.rational.solve_exact", guess)
    for seed in range(60):
        assert_exact(random_instance(seed))


def test_the_limit_is_met_without_rounding() -> None:
    rng = np.random.default_rng(20)
    for inst in (
        allocation(rng.random(200), rng.uniform(0.5, 2.0, 200), 5e2),
        pruning(rng.random(200), rng.uniform(0.5, 2.0, 200), sparsity=0.5, upper=0.8),
    ):
        optimum = exact_optimum(inst)
        spent = sum((Fraction(a) * x for a, x in zip(inst.resource.tolist(), optimum.x, strict=True)), Fraction(0))
        assert spent == Fraction(inst.limit)
        assert np.allclose(solve_exact(inst).x, [float(x) for x in optimum.x], rtol=1e-13, atol=1e-15)
