"""Honest plans pass; a plan that breaks one condition fails that condition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import zetaplan as zp
from zetaplan.spec.solution import Solution
from zetaplan.verification.certificate import TOLERANCE, Certificate

# Two layers inside the box, one at its floor, one at its cap.
INSTANCE = zp.allocation([4, 3, 0.1, 10], [1.0, 2.0, 1.0, 1.0], 6.0, alpha=0.01, upper=[9, 9, 9, 1])
HONEST = zp.solve(INSTANCE)


def broken(certificate: Certificate) -> set[str]:
    return {condition.name for condition in certificate.failures}


def claim(**changes: object) -> set[str]:
    return broken(zp.certify(INSTANCE, replace(HONEST, **changes)))


def moved(layer: int, by: float) -> np.ndarray:
    x = HONEST.x.copy()
    x[layer] += by
    return x


def test_the_honest_plan_has_every_kind_of_layer_and_passes() -> None:
    assert HONEST.x[0] > 0 < HONEST.x[1]
    assert HONEST.x[2] == 0.0
    assert HONEST.x[3] == 1.0
    assert claim() == set()


def test_coupling_a_budget_overspent() -> None:
    assert "coupling" in claim(x=moved(0, 1e-3))


def test_box_a_plan_outside() -> None:
    assert "box" in claim(x=moved(3, 1e-3))
    assert "box" in claim(x=moved(2, -1e-3))


def test_multiplier_of_the_wrong_sign() -> None:
    """x minimises L at alpha + lambda > 0 although lambda < 0: every other sign is right."""
    roomy = zp.allocation([1.0], [1.0], 150.0, alpha=0.01)  # unconstrained optimum m = 99
    negative = Solution(roomy, np.array([150.0]), 1.0 / 151.0 - 0.01)
    assert "multiplier" in broken(zp.certify(roomy, negative))
    assert "stationarity" not in broken(zp.certify(roomy, negative))


def test_box_multipliers_a_layer_at_its_floor_that_should_rise() -> None:
    starved = zp.allocation([1.0, 1.0], [1.0, 1.0], 2.0)
    unfair = Solution(starved, np.array([0.0, 2.0]), 0.5 / 3.0)  # stationary for the layer that got all
    assert broken(zp.certify(starved, unfair)) == {"box multipliers", "duality gap"}


def test_box_multipliers_a_layer_at_its_cap_that_should_fall() -> None:
    capped = zp.allocation([1.0, 3.0], [1.0, 1.0], 2.0, upper=1.5)
    greedy = Solution(capped, np.array([1.5, 0.5]), 0.75 / 1.5)
    assert broken(zp.certify(capped, greedy)) == {"box multipliers", "duality gap"}


def test_stationarity_two_layers_that_should_trade() -> None:
    x = moved(0, 1e-3)
    x[1] -= 0.5e-3  # the same spending
    assert claim(x=x) == {"stationarity", "duality gap"}


def test_complementarity_a_price_on_a_resource_that_is_left() -> None:
    idle = zp.allocation([1.0], [1.0], 3.0)
    lazy = Solution(idle, np.array([1.0]), 0.5)  # stationary at m = 1, but 2 of 3 units are unused
    assert broken(zp.certify(idle, lazy)) == {"complementary slackness", "duality gap"}


def test_gap_alone_sees_an_optimum_of_another_problem() -> None:
    assert "duality gap" in claim(multiplier=HONEST.multiplier * 1.001)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_prove_nothing(value: float) -> None:
    assert claim(multiplier=value)
    assert claim(x=moved(0, value))


def test_another_shape_is_refused() -> None:
    with pytest.raises(zp.SpecError, match=r"solution.x has shape \(3,\), the instance has \(4,\)"):
        zp.certify(INSTANCE, replace(HONEST, x=HONEST.x[:3]))


def test_residuals_have_no_unit() -> None:
    """The same relative mistake in dollars and in cents, in parameters and in millions of them."""
    shift = 1e-4
    residuals = []
    for unit in (1e-9, 1.0, 1e9):
        i = zp.pruning([1, 2, 3], np.array([3.0, 2.0, 1.0]) * unit, sparsity=0.5, eta=7.0)
        s = zp.solve(i)
        wrong = replace(s, x=s.x * (1 - shift), multiplier=s.multiplier * (1 + shift))
        residuals.append([condition.residual for condition in zp.certify(i, wrong).conditions])
    assert np.allclose(residuals, residuals[0], rtol=1e-6, atol=TOLERANCE)


def test_a_flipped_constraint_is_not_certified() -> None:
    """minimise x^2/2 + x, x <= 0 in our alphabet: the stationary point with a negative price is not optimal."""
    i = zp.pruning([1.0], [1.0], target=0.2, bits=1.0)  # unconstrained optimum rho = 0.5
    assert zp.solve(i).x[0] == 0.5
    assert not zp.certify(i, Solution(i, np.array([0.2]), -0.6)).valid


def test_a_tiny_budget_is_no_reason_to_refuse_the_optimum() -> None:
    """1 + m is accurate to a rounding, so m = 1e-9 is accurate to seven digits: the spending is measured in 1 + m."""
    i = zp.allocation([1.0, 0.999999999], [3.0, 7.0], 1e-9)
    assert zp.certify(i, zp.solve(i)).valid
