"""The cvxpy reference: the declaration translated atom by atom, and accurate enough to be one."""

from __future__ import annotations

import math
import re
from typing import Any

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


def layer_error(instance: Instance, **options: Any) -> float:
    """max_k |x_k - x*_k| / max(1, x*_k)."""
    truth = zp.solve(instance).x
    return float(np.max(np.abs(zp.solve(instance, "cvxpy", **options).x - truth) / np.maximum(1.0, truth)))


@pytest.mark.parametrize("seed", range(3))
def test_clarabel_solves_a_thousand_layers_over_four_decades_to_a_millionth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality, costs = 10.0 ** rng.uniform(-4.0, 0.0, 1000), rng.uniform(0.5, 2.0, 1000)
    assert error(zp.allocation(quality, costs, 3000.0)) < 1e-6
    assert error(zp.allocation(quality, costs * 1e5, 3e7, upper=4.0)) < 1e-6
    assert error(zp.pruning(quality, costs * 1e6, sparsity=0.5, upper=0.8)) < 1e-6
    assert error(zp.pruning(quality, costs * 1e6, sparsity=0.3, bits=1e-7)) < 1e-6


def drawn(seed: int) -> tuple[Instance, Instance]:
    """An allocation under half a unit per layer, and a pruning to a random sparsity, of the same ordinary gains."""
    rng = np.random.default_rng(seed)
    layers = int(math.exp(rng.uniform(math.log(10), math.log(3000))) + 0.5)
    gains = rng.lognormal(0.0, 1.5, layers) if seed % 2 else 10.0 ** rng.uniform(-4.0, 0.0, layers)
    costs = rng.lognormal(0.0, 0.5, layers)
    return (
        zp.allocation(gains, costs, layers / 2),
        zp.pruning(gains, costs, sparsity=rng.uniform(0.05, 0.95), upper=rng.choice([1.0, 0.96])),
    )


@pytest.mark.parametrize("seed", range(20))
def test_ordinary_data_never_fail_and_every_layer_is_right_to_a_millionth(seed: int) -> None:
    """The first of the thousand instances of `benchmarks.reference`; the accuracy reached is in the method's name."""
    for instance in drawn(seed):
        assert layer_error(instance) <= 1e-6
        assert re.fullmatch(r"cvxpy:CLARABEL, quadratic, tolerance 1e-1\d", zp.solve(instance, "cvxpy").method)


@pytest.mark.parametrize("name", ["allocation", "pruning", "barrier_pruning"])
def test_both_formulations_have_the_same_optimum(name: str) -> None:
    """Two programs that share the data alone: the cones never saw the quadratic form, nor it the logarithm."""
    rng = np.random.default_rng(5)
    for price in (0.0, 0.02):
        for layers in (1, 2, 40):
            arrays = 10.0 ** rng.uniform(-2.0, 0.0, layers), rng.uniform(0.5, 2.0, layers)
            instance = (
                zp.allocation(*arrays, 0.7 * layers, alpha=price, upper=3.0)
                if name == "allocation"
                else getattr(zp, name)(*arrays, sparsity=0.4, bits=price, upper=0.9)
            )
            quadratic, declared = (zp.solve(instance, "cvxpy", formulation=f) for f in ("quadratic", "declared"))
            assert np.abs(quadratic.x - declared.x).max() < 1e-5
            assert quadratic.objective == pytest.approx(declared.objective, rel=1e-8)
            assert zp.certify(instance, quadratic).gap <= 1e-9 * (1 + abs(quadratic.objective))


def test_a_program_without_a_quadratic_form_says_so() -> None:
    instance = zp.precision([1, 4], sizes=1000, memory=8000)
    assert "declared" in zp.solve(instance, "cvxpy").method
    with pytest.raises(zp.SolverError, match="precision has no equivalent quadratic program; use formulation='decl"):
        zp.solve(instance, "cvxpy", formulation="quadratic")


def test_a_tolerance_out_of_reach_is_stepped_down() -> None:
    """Cones of exponentials reach no 1e-14 on a thousand layers: the next tolerances are tried, one is named."""
    rng = np.random.default_rng(0)
    instance = zp.allocation(rng.lognormal(0.0, 1.5, 1000), rng.lognormal(0.0, 0.5, 1000), 500.0)
    solution = zp.solve(instance, "cvxpy", formulation="declared")
    assert re.fullmatch(r"cvxpy:CLARABEL, declared, tolerance 1e-(12|10|08)", solution.method)
    assert layer_error(instance, formulation="declared") < 1e-5


def test_a_failure_names_the_solver_the_program_and_what_it_said() -> None:
    instance = zp.allocation([3, 2, 1], [1, 2, 3], 4.0)
    with pytest.raises(zp.SolverError, match=r"^CLARABEL failed on allocation, K = 3: .*; the instance is feasible"):
        zp.solve(instance, "cvxpy", max_iter=1)


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS", "OSQP"])
def test_other_solvers_by_name(solver: str) -> None:
    for instance in (zp.pruning([3, 2, 1], [1, 2, 3], sparsity=0.4), zp.allocation([3, 2, 1], [1, 2, 3], 4.0)):
        assert error(instance, solver) < 2e-3
        assert zp.solve(instance, "cvxpy", solver=solver).method.startswith(f"cvxpy:{solver}, quadratic")


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
