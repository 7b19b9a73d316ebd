"""Whole units: the limit kept exactly, no layer a whole parameter away, and a gap that weak duality proves."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zetaplan as zp
from tests.made import LAYERS, edited
from zetaplan.documents.io import load
from zetaplan.documents.schemas.plan import PlanFile
from zetaplan.documents.verify import check
from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.plans.amounts import in_total, per_layer
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.plans.whole import Counts, Rounded, largest_remainders
from zetaplan.scoring import Scores


def test_ranks_are_the_best_of_all_whole_ones(scores: Scores) -> None:
    """Against every plan in steps of 2 that the budget allows."""
    plan = allocate(scores, mean_rank=4, upper=10.0, step=2)
    instance = plan.instance
    grid = np.array(list(itertools.product(range(0, 11, 2), repeat=LAYERS)))
    grid = grid[grid @ instance.resource <= instance.limit]
    best = (-(instance.weight * np.log1p(grid)).sum(axis=1)).min()
    assert plan.rounded.objective == pytest.approx(best, rel=1e-12)
    assert set(plan.rounded.units % 2) == {0}
    assert plan.rounded.optimal


@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_the_budget_is_never_exceeded(step: int, scores: Scores) -> None:
    for rank in (2, 3.3, 8, 40):
        rounded = allocate(scores, mean_rank=rank, step=step).rounded
        used = sum(int(c) * int(m) for c, m in zip(scores.rank_parameters, rounded.units, strict=True))
        assert used == rounded.exact_use <= rank * 375
        assert rounded.keeps_limit


def test_the_gap_is_weak_duality(plans: dict[str, Plan]) -> None:
    """Second truth: D(multiplier) by minimising the Lagrangian on a fine grid of every layer, and adding the limit."""
    for name, plan in plans.items():
        instance, price = plan.instance, plan.solution.multiplier
        dual = 0.0
        for w, a, low, high in zip(instance.weight, instance.resource, instance.lower, instance.upper, strict=True):
            x = np.linspace(low, high, 200_001)
            loss = -w * np.log1p(x) + price * a * x if name == "allocation" else w * x**2 - price * a * x
            dual += loss.min()
        dual += price * instance.limit * (-1 if name == "allocation" else 1)
        assert plan.rounded.bound == pytest.approx(dual, rel=1e-8)
        assert plan.rounded.bound <= plan.solution.objective * (1 + 1e-12 * np.sign(plan.solution.objective))
        assert plan.rounded.gap == pytest.approx(plan.rounded.objective - dual, rel=1e-5)
        assert plan.rounded.gap > 0


def relaxed(sizes: list[int], gains: list[float], sparsity: float, cap: float) -> zp.Solution:
    return zp.solve(zp.pruning(gains, sizes, sparsity=sparsity, upper=cap))


@given(st.data(), st.integers(1, 12), st.floats(0.05, 0.95))
def test_counts_meet_the_target_without_waste(data: st.DataObject, layers: int, sparsity: float) -> None:
    sizes = data.draw(st.lists(st.integers(1, 10**7), min_size=layers, max_size=layers))
    gains = data.draw(st.lists(st.floats(0.01, 1.0), min_size=layers, max_size=layers))
    cap = data.draw(st.floats(sparsity, 1.0))
    rounded = Counts().round(relaxed(sizes, gains, sparsity, cap), 1)
    target, shares = rounded.instance.limit, rounded.relaxed.x.tolist()
    assert rounded.units.sum() == math.ceil(target)
    assert rounded.keeps_limit
    for size, share, count in zip(sizes, shares, rounded.units.tolist(), strict=True):
        assert abs(count - size * Fraction(share)) < 1
        assert 0 <= count <= size


def test_a_cap_gives_way_only_where_the_target_leaves_no_choice() -> None:
    everywhere = relaxed([3, 3, 3, 3], [1.0] * 4, 0.5, 0.5)
    assert largest_remainders(everywhere) == [2, 2, 1, 1]  # 6 of 12 cannot go by ones and halves
    one = relaxed([3, 100], [0.01, 1.0], 0.6, 0.9)
    assert one.x[0] == 0.9
    assert largest_remainders(one)[0] == 2  # 2.7 would go to 3, above the cap; the wider layer takes it
    assert sum(largest_remainders(one)) == 62


def test_a_slack_target_is_rounded_as_the_optimum_is(scores: Scores) -> None:
    plan = prune(scores, sparsity=0.1, bits=1e-4, kappa=1)
    total = sum(map(Fraction, (plan.instance.resource * plan.solution.x).tolist()))
    assert plan.solution.multiplier == 0
    assert plan.rounded.units.sum() == math.floor(total) > plan.instance.limit


def test_a_plan_that_misses_its_target_is_still_rounded_to_meet_it() -> None:
    instance = zp.pruning([1.0, 1.0], [1000, 1000], target=1500)
    short = zp.Solution(instance, np.array([0.747, 0.7481]), 1.0)
    assert largest_remainders(short) == [749, 751]  # 5 are lacking, one each in turn


def test_sizes_that_are_no_counts_are_refused(scores: Scores) -> None:
    with pytest.raises(SpecError, match=r"sizes\[0\] = 2.5: expected a whole number of parameters"):
        prune(scores, sizes=2.5)
    with pytest.raises(SpecError, match=r"sizes\[0\] = 1e\+18: expected a whole number .* at most 2\^53"):
        prune(scores, sizes=1e18)


def test_boxes_without_whole_ranks_are_refused(scores: Scores) -> None:
    with pytest.raises(InfeasibleError, match="no multiple of 4 lies between the floor 5 and the cap 7"):
        allocate(scores, mean_rank=6, lower=5.0, upper=7.0, step=4)
    with pytest.raises(InfeasibleError, match="floors, rounded up to whole units, need"):
        allocate(scores, mean_rank=4, lower=3.5, step=8)
    with pytest.raises(SpecError, match=r"step\[0\] = 0: expected a whole number of at least 1"):
        allocate(scores, step=0)


def test_the_four_amounts_stand_side_by_side(plans: dict[str, Plan], scores: Scores) -> None:
    ranks, shares = plans["allocation"], plans["pruning"]
    for plan in (ranks, shares):
        amounts = per_layer(plan)
        assert tuple(amounts) == plan.names
        assert [a.relaxed for a in amounts.values()] == plan.solution.x.tolist()
        assert [a.rounded for a in amounts.values()] == plan.rounded.units.tolist()
        assert {a.requested for a in amounts.values()} == {plan.uniform}
    cost = (ranks.rounded.units * scores.rank_parameters).tolist()
    assert [a.achieved for a in per_layer(ranks).values()] == cost
    assert in_total(ranks).model_dump() == {
        "requested": 1500.0,
        "relaxed": pytest.approx(1500),
        "rounded": ranks.rounded.units.sum(),
        "achieved": sum(cost),
    }
    assert in_total(shares).requested == pytest.approx(0.5)
    assert in_total(shares).achieved == shares.rounded.units.sum() / scores.linear_parameters.sum() >= 0.5


WHOLE = [
    ("allocation", {4: 1}, "whole limit"),
    ("allocation", {0: 1, 1: -1}, "whole units"),
    ("allocation", {0: -1}, "whole gap"),
    ("pruning", {0: 1, 1: -1}, "whole units"),
    ("pruning", {0: -1}, "whole limit"),
]


@pytest.mark.parametrize(("program", "moves", "expected"), WHOLE)
def test_other_units_are_refused_though_everything_else_is_made_to_fit(
    plans: dict[str, Plan], program: str, moves: dict[int, int], expected: str, tmp_path: Path
) -> None:
    """One who moves units and recomputes amounts and digests; or only lies about the amounts."""
    plan, start = plans[program], plans[program].rounded
    units = start.units.copy()
    for k, by in moves.items():
        units[k] += by
    forged = Rounded(start.whole, start.relaxed, units, start.step, start.method, False)
    moved = Plan(**{**vars(plan), "rounded": forged})
    path = moved.save(tmp_path / "plan.json")
    found = {failure.name for failure in check(load(path, PlanFile)).failures}
    if expected != "whole gap":
        assert found == {expected} | ({"whole units"} if program == "pruning" else set())
        return
    assert found == set()  # a plan that gives a rank away is a plan; it says so by a larger gap
    assert forged.gap > start.gap

    def hide(value: Any) -> None:
        value["rounded"].update(objective=start.objective, gap=start.gap)

    assert {f.name for f in check(load(edited(path, hide, resealed=True), PlanFile)).failures} == {"whole gap"}


@pytest.mark.parametrize("figure", ["objective", "bound", "gap"])
@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_lies_about_the_gap_are_refused(plans: dict[str, Plan], program: str, figure: str, tmp_path: Path) -> None:
    def lie(value: Any) -> None:
        value["rounded"][figure] += 1e-6

    path = edited(plans[program].save(tmp_path / "plan.json"), lie, resealed=True)
    assert {failure.name for failure in check(load(path, PlanFile)).failures} == {"whole gap"}


@pytest.mark.parametrize("column", ["requested", "relaxed", "achieved"])
def test_lies_about_amounts_are_refused(plan_file: Path, column: str) -> None:
    for place in ("total", "layers"):

        def lie(value: Any, place: str = place) -> None:
            row = value["rounded"]["total"] if place == "total" else value["rounded"]["layers"]["model.layers.3"]
            row[column] *= 1 + 1e-15

        assert {f.name for f in check(load(edited(plan_file, lie, resealed=True), PlanFile)).failures} == {"whole gap"}


def test_units_are_whole_numbers_in_the_file(plan_file: Path) -> None:
    layers = json.loads(plan_file.read_text())["rounded"]["layers"]
    assert all(type(amounts["rounded"]) is int for amounts in layers.values())

    def halve(value: Any) -> None:
        value["rounded"]["layers"]["model.layers.0"]["rounded"] = 3.5

    with pytest.raises(SpecError, match=r"rounded\.layers\.model\.layers\.0\.rounded: Input should be a valid integer"):
        load(edited(plan_file, halve), PlanFile)
