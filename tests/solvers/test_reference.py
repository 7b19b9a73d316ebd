"""The cvxpy reference: the declaration translated atom by atom, and accurate enough to be one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import zetaplan as zp
from tests.strategies import instances
from zetaplan.spec.instance import Instance


def error(instance: Instance, solver: str = "CLARABEL") -> float:
    """max |x - x*| / max(1, max x*)."""
    x = zp.solve(instance, "cvxpy", solver=solver).x
    truth = zp.solve(instance).x
    return float(np.abs(x - truth).max() / max(1.0, truth.max()))


@pytest.mark.parametrize("seed", range(3))
def test_clarabel_solves_a_thousand_layers_over_four_decades_to_a_millionth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality, costs = 10.0 ** rng.uniform(-4.0, 0.0, 1000), rng.uniform(0.5, 2.0, 1000)
    assert error(zp.allocation(quality, costs, 3000.0)) < 1e-6
    assert error(zp.allocation(quality, costs * 1e5, 3e7, upper=4.0)) < 1e-6
    assert error(zp.pruning(quality, costs * 1e6, sparsity=0.5, upper=0.8)) < 1e-6
    assert error(zp.pruning(quality, costs * 1e6, sparsity=0.3, bits=1e-7)) < 1e-6


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_other_solvers_by_name(solver: str) -> None:
    instance = zp.pruning([3, 2, 1], [1, 2, 3], sparsity=0.4)
    assert error(instance, solver) < 1e-3
    assert zp.solve(instance, "cvxpy", solver=solver).method == f"cvxpy:{solver}"


@given(instances())
@settings(max_examples=30, deadline=None)
def test_the_multiplier_has_our_sign_and_unit(instance: Instance) -> None:
    if (instance.weight == 0.0).any():
        return  # a weightless layer leaves the plan to the solver's choice
    truth = zp.solve(instance)
    room = np.minimum(truth.x - instance.lower, instance.upper - truth.x)
    if truth.multiplier > 1e-6 and room.max() > 1e-3:  # else the multiplier is an interval, or nearly one
        assert zp.solve(instance, "cvxpy").multiplier == pytest.approx(truth.multiplier, rel=1e-3)


def test_a_solver_that_is_not_installed_is_named() -> None:
    with pytest.raises(zp.SolverError, match="solver = 'NOSUCH' is not installed; cvxpy finds"):
        zp.solve(zp.pruning([1, 2], 1), "cvxpy", solver="NOSUCH")


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(zp.SpecError, match="method = 'magic': expected one of exact, bisection, cvxpy"):
        zp.solve(zp.pruning([1, 2], 1), "magic")
