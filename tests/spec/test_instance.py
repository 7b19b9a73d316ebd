"""Bad data is refused at the edge, each with a message that names the argument, the layer, the value and the remedy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zetaplan as zp
from tests.strategies import instances
from zetaplan.spec.instance import Instance, rebuild
from zetaplan.spec.programs import named, programs

BAD_ALLOCATIONS = {
    "quality[1] = nan: expected a finite number": {"quality": [1, math.nan]},
    "quality[0] = inf: expected a finite number": {"quality": [math.inf, 1]},
    "quality[1] = -2: a gain is a squared norm": {"quality": [1, -2]},
    "quality: all 2 layers are zero": {"quality": [0, 0]},
    "quality: expected one gain per layer, got none": {"quality": []},
    r"quality: expected one number per layer, shape (K,), got shape (1, 2)": {"quality": [[1, 2]]},
    "quality: expected numbers, got list": {"quality": ["a", "b"]},
    r"costs: expected one number or 2 of them": {"costs": [1, 2, 3]},
    "costs[1] = 0: expected a finite number above 0": {"costs": [1, 0]},
    "costs[0] = -1: expected a finite number above 0 (1 more)": {"costs": -1},
    "costs[0] = nan: expected a finite number above 0": {"costs": [math.nan, 1]},
    "budget = nan: expected a finite number": {"budget": math.nan},
    "budget = -1: expected at least 0": {"budget": -1},
    "budget = 'x': expected a number": {"budget": "x"},
    "alpha = -1: expected at least 0": {"alpha": -1},
    "gamma = 0: expected above 0": {"gamma": 0},
    "beta = inf: expected a finite number": {"beta": math.inf},
    "lower[0] = -1: expected a finite number of at least 0": {"lower": -1},
    "lower[1] = 3 is above upper[1] = 2: lower the floor or raise the cap of layer 1": {"lower": [1, 3], "upper": 2},
    "upper[0] = nan: expected at most inf": {"upper": [math.nan, 1]},
    "budget = 3.0: the box requires at least 4.0; raise the budget": {"budget": 3, "lower": 2},
}

BAD_PRUNINGS = {
    "sparsity = 1.5: expected a share of the parameters between 0 and 1": {"sparsity": 1.5},
    "sparsity and target: give one of the two": {"sparsity": 0.5, "target": 3},
    "upper[0] = 1.5: expected at most 1": {"upper": 1.5},
    "target = 4.0: the caps allow 1.6 at most; lower the target to that, or raise the caps": {
        "target": 4,
        "upper": 0.8,
    },
    "target = 1.0: the caps allow 0.8": {"sparsity": 0.5, "upper": 0.4},
    "eta = 0: expected above 0": {"eta": 0},
    "sizes[1] = inf: expected a finite number above 0": {"sizes": [1, math.inf]},
}


@pytest.mark.parametrize("message", BAD_ALLOCATIONS)
def test_bad_allocations_are_refused(message: str) -> None:
    arguments = {"quality": [1, 2], "costs": 1, "budget": 4} | BAD_ALLOCATIONS[message]
    with pytest.raises(zp.SpecError) as refusal:
        zp.allocation(**arguments)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("message", BAD_PRUNINGS)
def test_bad_prunings_are_refused(message: str) -> None:
    with pytest.raises(zp.SpecError) as refusal:
        zp.pruning(**({"quality": [1, 2], "sizes": 1} | BAD_PRUNINGS[message]))
    assert str(refusal.value).startswith(message)


def test_infeasible_data_have_their_own_error() -> None:
    with pytest.raises(zp.InfeasibleError):
        zp.allocation([1, 2], 1, 3, lower=2)
    with pytest.raises(zp.InfeasibleError):
        zp.pruning([1, 2], 1, target=2.5)


def test_an_unknown_parameter_is_named() -> None:
    from zetaplan.spec.instance import declare

    with pytest.raises(zp.SpecError, match="pruning has no parameter 'beta'; it has bits, eta, kappa"):
        declare(named("pruning"), [1, 2], [1.0], 1.0, parameters={"beta": 1.0})


@given(st.integers(1, 20), st.one_of(st.just(0.0), st.floats(1e-9, 1.0)))
def test_a_sparsity_equal_to_every_cap_is_a_plan(layers: int, share: float) -> None:
    rng = np.random.default_rng(layers)
    instance = zp.pruning(rng.random(layers) + 0.1, rng.uniform(1, 1e7, layers), sparsity=share, upper=share)
    assert np.allclose(zp.solve(instance).x, share, rtol=1e-12)


def test_the_callers_arrays_are_neither_kept_nor_writable() -> None:
    quality = np.array([1.0, 2.0])
    instance = zp.pruning(quality, 1)
    quality[0] = 9.0
    assert instance.quality[0] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="read-only"):
        instance.quality[0] = 1.0


@given(instances(), st.integers(-300, 300))
def test_scaling_the_gains_by_a_power_of_two_changes_no_bit(instance: Instance, exponent: int) -> None:
    from zetaplan.spec.instance import normalise

    gains = instance.quality * 2.0**-40
    assert np.array_equal(normalise(gains), normalise(np.ldexp(gains, exponent)))


@given(instances())
def test_rebuild_keeps_every_double(instance: Instance) -> None:
    names = ("quality", "weight", "resource", "limit", "lower", "upper", "parameters")
    again = rebuild(instance.program, *(getattr(instance, name) for name in names))
    for name in names[:-1]:
        assert np.array_equal(getattr(instance, name), getattr(again, name)), name


def test_rebuild_refuses_a_weight_that_is_not_the_power_of_the_quality() -> None:
    i = zp.pruning([1, 2], 1)
    with pytest.raises(zp.SpecError, match="weight: expected quality"):
        rebuild(i.program, i.quality, [0.5, 0.5], i.resource, i.limit, i.lower, i.upper, i.parameters)
    with pytest.raises(zp.SpecError, match="quality: expected shares that sum to 1"):
        rebuild(i.program, [1, 2], [1, 2], i.resource, i.limit, i.lower, i.upper, i.parameters)


def test_programs_are_found_by_their_files_and_read_like_the_displayed_problem() -> None:
    assert {"allocation", "pruning"} <= programs().keys()
    assert "minimise    sum_k  alpha c_k m_k - gamma q_k^beta log(1 + m_k)" in repr(named("allocation"))
    assert "subject to  sum_k  n_k rho_k >= P" in repr(named("pruning"))
    with pytest.raises(zp.SpecError, match="program = 'x': expected one of allocation"):
        named("x")
