"""Every method against brute force in fractions, against each other, and against the laws that a choice obeys."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests.menus import choices, cost_of, feasible, loss_of, tensors
from zetaplan.errors import InfeasibleError, SolverError, SpecError
from zetaplan.solvers.menus import compiled, hull
from zetaplan.solvers.menus.frontier import pareto_front
from zetaplan.solvers.menus.limbs import add, highest, limbs, negative, rank, rounded, whole, width
from zetaplan.solvers.menus.reference import problem
from zetaplan.solvers.menus.relaxation import relax
from zetaplan.solvers.menus.robust import robust_choice, worst_regret
from zetaplan.spec.menus.answer import ChoiceStatus
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.menus.declare import choice


@settings(max_examples=100)
@given(choices())
def test_exact_is_the_best_of_all_choices(instance: Choice) -> None:
    solution = zp.solve(instance)
    best = feasible(instance)[0][0]
    assert loss_of(instance, solution.choice) == best
    assert solution.status is ChoiceStatus.OPTIMAL
    assert zp.certify(instance, solution).optimal


@settings(max_examples=30)
@given(choices(budgets=2))
def test_exact_is_the_best_under_two_budgets(instance: Choice) -> None:
    found = feasible(instance)
    if not found:
        with pytest.raises(InfeasibleError, match="no choice that keeps all 2 budgets exists"):
            zp.solve(instance)
        return
    solution = zp.solve(instance)
    assert loss_of(instance, solution.choice) == found[0][0]
    assert zp.certify(instance, solution).optimal


@settings(max_examples=30)
@given(choices())
def test_every_method_keeps_the_budget_and_its_bound(instance: Choice) -> None:
    best = feasible(instance)[0][0]
    for solution in (zp.solve(instance, "greedy"), zp.solve(instance, states=0), zp.solve(instance, gap=0.1)):
        assert loss_of(instance, solution.choice) >= best
        assert best >= Fraction(solution.bound) or solution.status is ChoiceStatus.OPTIMAL
        certificate = zp.certify(instance, solution)
        assert certificate.valid, certificate.conditions
        assert Fraction(certificate.gap) >= loss_of(instance, solution.choice) - best
    allowed = zp.solve(instance, gap=0.1)
    assert allowed.gap <= 0.1 * abs(allowed.objective) * (1 + 1e-12) or allowed.status is ChoiceStatus.OPTIMAL


@pytest.mark.parametrize("seed", range(4))
def test_two_independent_solvers_agree_on_tensors(seed: int) -> None:
    instance = tensors(seed, blocks=3)
    exact, highs = zp.solve(instance), zp.solve(instance, "milp")
    assert loss_of(instance, exact.choice) <= loss_of(instance, highs.choice)
    assert exact.objective == pytest.approx(highs.objective, rel=1e-9)
    assert zp.certify(instance, exact).optimal
    front = pareto_front(tensors(seed, blocks=1))
    small = zp.solve(tensors(seed, blocks=1))
    place = np.searchsorted(front.budgets, small.instance.budgets[0], side="right") - 1
    assert front.losses[place] == small.objective


def test_a_model_of_252_tensors_is_solved_and_proved() -> None:
    instance = tensors(0)
    solution = zp.solve(instance)
    assert solution.status is ChoiceStatus.OPTIMAL
    assert zp.certify(instance, solution).optimal
    started = zp.solve(instance, time_limit=0.0)
    assert started.status is ChoiceStatus.GAP
    assert 0.0 < started.gap < 0.01 * started.objective
    assert started.bound <= solution.objective <= started.objective


def test_the_reference_declares_the_same_program_integer_and_relaxed() -> None:
    instance = tensors(1, blocks=1)
    integer, relaxed = problem(instance)[0], problem(instance, relaxed=True)[0]
    scale = float(np.abs(instance.losses).max())
    assert integer.solve(solver="HIGHS") * scale == pytest.approx(zp.solve(instance).objective, rel=1e-9)
    bound = instance.dual((relax(instance).multiplier,))
    assert relaxed.solve(solver="CLARABEL") * scale == pytest.approx(float(bound), rel=1e-6)
    assert zp.solve(instance, "cvxpy").objective == pytest.approx(zp.solve(instance).objective, rel=1e-9)


def test_unknown_methods_and_limits_are_named() -> None:
    instance = choice([[1.0, 0.0]], [[0.0, 1.0]], 1.0)
    with pytest.raises(SpecError, match="method = 'magic': expected one of exact, greedy, milp, cvxpy for a choice"):
        zp.solve(instance, "magic")
    with pytest.raises(SpecError, match="gap = -1"):
        zp.solve(instance, gap=-1)
    with pytest.raises(SpecError, match="time_limit = nan"):
        zp.solve(instance, time_limit=math.nan)
    with pytest.raises(SolverError, match="'NONE' is not installed"):
        zp.solve(instance, "cvxpy", solver="NONE")
    with pytest.raises(SpecError, match="2 budgets"):
        zp.solve(choice([[1.0]], [[[1.0, 1.0]]], [1.0, 1.0]), "greedy")


@settings(max_examples=40)
@given(choices(), st.randoms(use_true_random=False))
def test_laws(instance: Choice, draw: object) -> None:
    """The order of blocks, a power of two, a constant per menu, and a menu of one option change nothing else."""
    menus = [list(range(a, b)) for a, b in zip(instance.first[:-1], instance.first[1:], strict=True)]
    losses = [instance.losses[menu].tolist() for menu in menus]
    costs = [instance.costs[menu, 0].tolist() for menu in menus]
    budget = float(instance.budgets[0])
    value = loss_of(instance, zp.solve(instance).choice)
    turned = choice(losses[::-1], costs[::-1], budget)
    assert loss_of(turned, zp.solve(turned).choice) == value
    doubled = choice(
        [[2.0 * w for w in menu] for menu in losses], [[0.5 * c for c in menu] for menu in costs], budget / 2
    )
    assert loss_of(doubled, zp.solve(doubled).choice) == 2 * value
    longer = choice([*losses, [0.0]], [*costs, [0.0]], budget)
    assert loss_of(longer, zp.solve(longer).choice) == value
    more = zp.solve(replace(instance, budgets=instance.budgets * 2.0))
    assert loss_of(instance, more.choice) <= value


@settings(max_examples=40)
@given(choices(), st.floats(0.0, 1.0))
def test_the_frontier_is_the_relaxation_of_every_budget(instance: Choice, share: float) -> None:
    path = zp.frontier(instance)
    budget = float(path.budgets[0] + share * (path.budgets[-1] - path.budgets[0]))
    budget = min(max(budget, math.nextafter(float(path.budgets[0]), math.inf)), float(path.budgets[-1]) * 2 + 1)
    there = replace(instance, budgets=np.array([budget]))
    value, slope = path.value(budget), path.slope(budget)
    assert value == there.dual((slope,))  # the bound is attained, so no other multiplier proves more
    assert relax(there).multiplier >= 0
    assert there.dual((relax(there).multiplier,)) <= value
    solution = path.at(budget)
    best = feasible(there)[0][0]
    assert loss_of(there, solution.choice) >= best >= value
    assert best >= Fraction(solution.bound) or solution.status is ChoiceStatus.OPTIMAL
    assert (np.diff(path.multipliers) <= 0.0).all()


def test_at_the_breakpoints_of_the_frontier_the_choice_is_optimal() -> None:
    instance = tensors(2, blocks=2)
    path = zp.frontier(instance)
    for budget in path.budgets.tolist():
        solution, exact = path.at(budget), zp.solve(replace(instance, budgets=np.array([budget])))
        assert loss_of(instance, solution.choice) == loss_of(instance, exact.choice)
        assert solution.status is ChoiceStatus.OPTIMAL
        assert zp.certify(solution.instance, solution).optimal
    with pytest.raises(InfeasibleError, match="the cheapest choice costs"):
        path.at(float(path.budgets[0]) - 1.0)
    with pytest.raises(SpecError, match="finite"):
        path.at(math.nan)


@settings(max_examples=30)
@given(choices())
def test_the_pareto_front_is_every_choice_that_no_other_one_beats(instance: Choice) -> None:
    loose = replace(instance, budgets=np.array([1e300]))
    front = pareto_front(loose)
    points = {(cost_of(loose, np.array(taken)), loss) for loss, taken in feasible(loose)}
    best = {(c, w) for c, w in points if not any(b <= c and v <= w and (b, v) != (c, w) for b, v in points)}
    assert {(cost_of(loose, taken), loss_of(loose, taken)) for taken in front.choices} == best
    assert front.losses.tolist() == [float(loss_of(loose, taken)) for taken in front.choices]
    assert front.budgets.tolist() == [float(cost_of(loose, taken)) for taken in front.choices]
    with pytest.raises(SpecError, match="more than 0 points"):
        pareto_front(loose, most=0)


@settings(max_examples=25)
@given(choices(), st.floats(0.0, 0.5))
def test_the_robust_choice_loses_no_more_than_the_nominal_one(instance: Choice, drift: float) -> None:
    menus = [instance.losses[a:b] for a, b in zip(instance.first[:-1], instance.first[1:], strict=True)]
    low, high = ([m + sign * drift * np.abs(m) for m in menus] for sign in (-1.0, 1.0))
    safe = robust_choice(instance, low, high)
    assert 0.0 <= safe.worst <= safe.before
    assert safe.cost >= -1e-12 * abs(safe.solution.objective)
    flat = np.concatenate(low), np.concatenate(high)
    assert worst_regret(instance, safe.solution, *flat, {})[0] == pytest.approx(safe.worst, rel=1e-12, abs=0.0)
    cautious = robust_choice(instance, low, high, worst="objective")
    assert cautious.worst == zp.solve(replace(instance, losses=flat[1])).objective
    assert cautious.worst <= cautious.before


def test_robust_menus_are_checked() -> None:
    instance = choice([[1.0, 0.0]], [[0.0, 1.0]], 1.0)
    with pytest.raises(SpecError, match="worst = 'mean'"):
        robust_choice(instance, [[0.0, 0.0]], [[1.0, 1.0]], worst="mean")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="low: expected at most high"):
        robust_choice(instance, [[2.0, 0.0]], [[1.0, 1.0]])


@given(st.lists(st.integers(-(2**200), 2**200), min_size=1), st.lists(st.integers(-(2**200), 2**200), min_size=1))
def test_limbs_add_and_compare_as_whole_numbers_do(left: list[int], right: list[int]) -> None:
    parts = width(2 * max(map(abs, left + right)) + 1)
    a, b = limbs(left, parts), limbs(right, parts)
    sums = add(a, b)
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            assert whole(sums[:, i, :], j) == x + y
    assert negative(a).tolist() == [x < 0 for x in left]
    order = np.argsort(rank(a), kind="stable")
    assert [left[i] for i in order] == sorted(left)
    assert (np.unique(rank(a)).size, a.shape[1]) == (len(set(left)), len(left))
    for value, exact in zip(rounded(a, highest(Fraction(3, 8), parts)).tolist(), left, strict=True):
        assert value == pytest.approx(float(Fraction(3, 8) * exact), rel=1e-15)


def test_limits_end_a_hard_search_with_a_proved_gap() -> None:
    """Strongly correlated: profits are costs and a constant, so that the bound hardly tells choices apart."""
    rng = np.random.default_rng(0)
    costs = np.cumsum(rng.integers(1, 100_001, (60, 10)), axis=1).astype(np.float64)
    losses = -(costs + 10.0 * np.arange(1, 11))
    hard = choice(losses, costs, float(np.floor(0.5 * (costs.min(axis=1).sum() + costs.max(axis=1).sum()))))
    for limit in ({"states": 20_000}, {"time_limit": 0.05}):
        solution = zp.solve(hard, **limit)
        certificate = zp.certify(hard, solution)
        assert certificate.valid
        assert solution.status is ChoiceStatus.GAP or certificate.optimal
        assert certificate.gap <= 1e-3 * abs(solution.objective)
    several = choice(losses, np.stack((costs, costs[::-1]), axis=2), [0.6 * costs.max(axis=1).sum()] * 2)
    solution = zp.solve(several, time_limit=0.0)
    assert solution.status is ChoiceStatus.GAP
    assert zp.certify(several, solution).valid


@given(choices())
def test_the_compiled_loop_finds_the_same_hulls(instance: Choice) -> None:
    costs = np.ascontiguousarray(instance.costs[:, 0])
    found = []
    for loop in (hull.hulls, compiled.hulls):
        rows, ends = np.zeros(costs.size, np.int64), np.zeros(instance.decisions, np.int64)
        size = loop(instance.losses, costs, instance.first, rows, ends)
        found.append((rows[:size].tolist(), ends.tolist()))
    assert found[0] == found[1]
