"""What a choice can lose: above every drift that is tried, proved to the checker, and attained at one vertex."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests.menus import choices, feasible, loss_of, tensors
from zetaplan.errors import SpecError
from zetaplan.solvers.menus.robust import worst_regret
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.menus.declare import choice, with_losses
from zetaplan.verification.menus.multiplier import best_multipliers

Menus = list[np.ndarray]


def box(instance: Choice, drift: float) -> tuple[Menus, Menus]:
    menus = [instance.losses[a:b] for a, b in itertools.pairwise(instance.first.tolist())]
    low, high = ([m + sign * drift * np.abs(m) for m in menus] for sign in (-1.0, 1.0))
    return low, high


@settings(max_examples=40)
@given(choices(), st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_no_drift_loses_more_than_the_bound(instance: Choice, drift: float, seed: int) -> None:
    rng, (low, high) = np.random.default_rng(seed), box(instance, drift)
    solution = zp.solve(instance)
    bound = zp.regret_bound(instance, solution, low=low, high=high)
    rough = zp.regret_bound(instance, solution, low=low, high=high, refine=False)
    for value in (bound.value, rough.value):
        for _ in range(10):
            corner = rng.random() < 0.5
            moved = with_losses(
                instance,
                [
                    np.where(rng.random(a.size) < 0.5, a, b)
                    if corner
                    else np.minimum(a + (b - a) * rng.random(a.size), b)
                    for a, b in zip(low, high, strict=True)
                ],
            )
            assert loss_of(moved, solution.choice) - feasible(moved)[0][0] <= Fraction(value)
    assert bound.value <= rough.value * (1 + 1e-9) + 1e-300


@settings(max_examples=40)
@given(choices(), st.floats(0.0, 1.0))
def test_the_worst_regret_is_attained_at_the_vertex_and_the_bound_is_its_certificate(
    instance: Choice, drift: float
) -> None:
    low, high = box(instance, drift)
    solution = zp.solve(instance)
    bound = zp.regret_bound(instance, solution, low=low, high=high)
    exact = loss_of(bound.worst, solution.choice) - feasible(bound.worst)[0][0]
    found, _ = worst_regret(instance, solution, np.concatenate(low), np.concatenate(high), {})
    assert found == float(exact)
    assert exact <= Fraction(bound.value)
    certificate = bound.certificate
    assert certificate.valid, certificate.conditions
    assert Fraction(certificate.gap) >= exact
    assert (bound.blocks >= -1e-12 * np.abs(bound.worst.losses).max()).all()
    size = np.abs(bound.worst.losses).sum() + float((bound.multipliers * instance.budgets).sum())
    assert float(bound.blocks.sum()) + bound.spare == pytest.approx(bound.value, rel=1e-6, abs=1e-9 * size + 1e-300)


def test_the_blocks_that_matter_are_those_whose_rivals_come_near() -> None:
    menus = choice([[10.0, 0.0], [1.0, 0.9], [5.0, 5.2]], [[1.0, 1.0]] * 3, 3.0, names=["a", "b", "c"])
    low, high = [[9.0, 0.0], [0.5, 0.9], [4.0, 4.9]], [[11.0, 1.0], [1.0, 1.5], [5.5, 5.5]]
    bound = zp.regret_bound(menus, zp.solve(menus), low=low, high=high)
    assert bound.matters == ("b", "c")
    assert bound.blocks == pytest.approx([0.0, 1.0, 0.6])
    assert bound.value == pytest.approx(1.6)
    assert "regret is at most" in str(bound)


def test_tensors_lose_little_under_small_drift() -> None:
    instance = tensors(0, blocks=3)
    solution = zp.solve(instance)
    low, high = box(instance, 0.05)
    bound = zp.regret_bound(instance, solution, low=low, high=high)
    exact, _ = worst_regret(instance, solution, np.concatenate(low), np.concatenate(high), {})
    assert 0.5 * bound.value <= exact <= bound.value <= 0.1 * solution.objective


@settings(max_examples=40)
@given(choices())
def test_the_multiplier_is_as_good_as_the_solver_s(instance: Choice) -> None:
    found = instance.dual(tuple(map(Fraction, best_multipliers(instance).tolist())))
    best = zp.frontier(instance).value(float(instance.budgets[0]))
    rises = instance.costs[instance.costs > 0.0]
    assume(rises.size == 0 or rises.min() > 1e-100)  # a multiplier of 1e300 is the largest that is tried
    size = Fraction(float(np.abs(instance.losses).sum())) + 1
    assert best - size * Fraction(1e-9) <= found <= best


def test_what_is_no_box_or_no_choice_is_named() -> None:
    menus = choice([[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]], 1.0)
    solution = zp.solve(menus)
    low, high = [[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(SpecError, match="low: option 0"):
        zp.regret_bound(menus, solution, low=high, high=low)
    with pytest.raises(SpecError, match="expected 2 menus of the sizes"):
        zp.regret_bound(menus, solution, low=low[:1], high=high)
    with pytest.raises(SpecError, match="kind = 'theorem-4': expected 'dual-endpoint' for a choice"):
        zp.regret_bound(menus, solution, low=low, high=high, kind="theorem-4")  # type: ignore[call-overload]
    for taken, message in (([1, 1], "it exceeds budget 0"), ([0, 7], "expected one option per block")):
        claim = zp.ChoiceSolution(menus, np.array(taken), 0.0)
        with pytest.raises(SpecError, match=message):
            zp.regret_bound(menus, claim, low=low, high=high)
    with pytest.raises(SpecError, match="a ChoiceSolution is none of a Instance"):
        zp.regret_bound(zp.pruning([1, 2], 1.0), solution, low=[1, 1], high=[1, 1])  # type: ignore[call-overload]
    with pytest.raises(SpecError, match="a ChoiceSolution is none of a Instance"):
        zp.certify(zp.pruning([1, 2], 1.0), solution)  # type: ignore[call-overload]


def test_claims_are_certified_for_what_they_are() -> None:
    menus = choice([[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]], 1.0)
    none = zp.certify(menus, zp.ChoiceSolution(menus, np.array([0, 9]), 0.0))
    assert (none.valid, none.document, none.conditions[0].name) == (False, None, "options")
    over = zp.certify(menus, zp.ChoiceSolution(menus, np.array([1, 1]), 0.0))
    assert not over.valid
    assert "budget" in {condition.name for condition in over.failures}
    worse = zp.certify(menus, zp.ChoiceSolution(menus, np.array([0, 0]), np.nan))
    assert worse.valid
    assert not worse.optimal
    assert worse.gap == 1.0
    lie = zp.solve(menus)
    lied = zp.certify(menus, zp.ChoiceSolution(menus, np.array([0, 0]), 1.0, lie.bound, lie.status, "lie", lie.proof))
    assert not lied.valid
    assert {condition.name for condition in lied.failures} == {"optimality"}
