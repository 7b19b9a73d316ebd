"""The proof of a plan in whole units: in the file, checked by the standard library alone, and refused when forged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zetaplan as zp
from tests.made import edited
from zetaplan.documents.io import load
from zetaplan.documents.schemas.plan import PlanFile
from zetaplan.documents.verify import check
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate
from zetaplan.plans.proof import prove_whole
from zetaplan.scoring import Scores
from zetaplan.solvers.whole.doubles import in_doubles
from zetaplan.solvers.whole.grid import whole_problem
from zetaplan.solvers.whole.menus import Menus
from zetaplan.solvers.whole.units import Units
from zetaplan.verification.menus.checker import check_certificate


def failures(path: Path) -> set[str]:
    return {failure.name for failure in check(load(path, PlanFile)).failures}


def detail(path: Path) -> str:
    return next(c.detail for c in check(load(path, PlanFile)).checks if c.name == "whole optimum")


def units_of(plan: Plan) -> Units:
    units = in_doubles(whole_problem(plan.instance, plan.rounded.step).units)
    assert units is not None
    return units


@pytest.fixture
def uneven(scores: Scores) -> Plan:
    """Caps, a step, and costs that differ: its proof needs more than one bound."""
    return allocate(scores, mean_rank=11, step=2, upper=40.0)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_the_file_carries_a_proof_that_the_standard_library_checks(step: int, scores: Scores, tmp_path: Path) -> None:
    plan = allocate(scores, mean_rank=6, step=step)
    path = plan.save(tmp_path / "plan.json")
    assert plan.rounded.optimal
    document = json.loads(path.read_text())["rounded"]["proof"]
    assert check_certificate(document).claims[1] == "no choice within the budgets is better"
    assert failures(path) == set()
    assert "the rounding of losses may hide" in detail(path)
    assert zp.load_plan(path).rounded.proof == plan.rounded.proof


def test_a_file_written_before_there_were_proofs_is_solved_anew(uneven: Plan, tmp_path: Path) -> None:
    path = uneven.save(tmp_path / "plan.json")
    edited(path, lambda value: value["rounded"].pop("proof"), resealed=True)
    assert failures(path) == set()
    assert "solved again" in detail(path)
    assert zp.load_plan(path).rounded.proof is None
    zp.load_plan(path).save(tmp_path / "again.json")
    assert "proof" not in json.loads((tmp_path / "again.json").read_text())["rounded"]


def test_a_proof_that_the_checker_does_not_take_is_not_claimed(
    scores: Scores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("zetaplan.verification.menus.checker.WORK", 10)
    plan = allocate(scores, mean_rank=6)
    assert (plan.rounded.proof, plan.rounded.optimal) == (None, False)
    assert failures(plan.save(tmp_path / "plan.json")) == set()


def lower_a_loss(value: Any) -> None:
    value["menus"][0][0][1] -= 1e-9


def raise_all_losses_but_those_taken(value: Any) -> None:
    for menu, taken in zip(value["menus"], value["plan"], strict=True):
        for j, option in enumerate(menu):
            option[1] += 1.0 if j != taken else 0.0


def add_a_constant(value: Any) -> None:
    for option in value["menus"][2]:
        option[1] += 1.0


def lower_the_budget(value: Any) -> None:
    value["budgets"][0] -= 1.0


def scale_costs_and_budget(value: Any) -> None:
    value["budgets"][0] *= 2.0
    for menu in value["menus"]:
        for option in menu:
            option[0] *= 2.0


def keep_what_is_taken(value: Any) -> None:
    value["menus"] = [[menu[j]] for menu, j in zip(value["menus"], value["plan"], strict=True)]
    value["plan"] = [0] * len(value["plan"])


def drop_an_option_in_the_middle(value: Any) -> None:
    menu = next(k for k, menu in enumerate(value["menus"]) if len(menu) > 3)
    place = next(j for j in (1, 2) if j != value["plan"][menu])
    del value["menus"][menu][place]
    value["plan"][menu] -= value["plan"][menu] > place


def drop_a_layer(value: Any) -> None:
    value["menus"].pop()
    value["plan"].pop()


def swap_layers(value: Any) -> None:
    for part in ("menus", "plan"):
        value[part][0], value[part][1] = value[part][1], value[part][0]


def take_another_option(value: Any) -> None:
    menu = next(k for k, j in enumerate(value["plan"]) if j > 0)
    value["plan"][menu] -= 1


def claim_a_gap(value: Any) -> None:
    value["gap"] = 1e-3


def other_multiplier(value: Any) -> None:
    for stage in value["proof"][0]:
        stage["multipliers"] = [["0/1"]]


def no_multiplier(value: Any) -> None:
    value["proof"][0][0]["multipliers"] = []


FORGERIES = (
    lower_a_loss,
    raise_all_losses_but_those_taken,
    add_a_constant,
    lower_the_budget,
    scale_costs_and_budget,
    keep_what_is_taken,
    drop_an_option_in_the_middle,
    drop_a_layer,
    swap_layers,
    take_another_option,
    claim_a_gap,
    other_multiplier,
    no_multiplier,
)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_forged_proofs_are_refused(forge: Callable[[Any], None], uneven: Plan, tmp_path: Path) -> None:
    path = edited(uneven.save(tmp_path / "plan.json"), lambda v: forge(v["rounded"]["proof"]), resealed=True)
    assert failures(path) == {"whole optimum"}


def test_an_honest_proof_of_too_narrow_menus_does_not_prove_a_worse_plan(uneven: Plan, tmp_path: Path) -> None:
    """Menus around a worse plan, the best of these: the checker accepts them, but better counts lie outside."""
    start = uneven.rounded
    units = start.units.copy()
    units[units.argmax()] -= start.step
    assert start.proof is not None
    low = (units // start.step).astype(np.int64)
    worse = zp.solve(Menus(units_of(uneven), low, low).choice())
    proof = prove_whole(worse)
    assert proof is not None
    forged = replace(uneven, rounded=replace(start, units=units, proof=proof))
    path = forged.save(tmp_path / "plan.json")
    assert failures(path) == {"whole optimum"}
    assert detail(path) == "a better plan may hold counts outside of the menus"


@pytest.mark.parametrize("seed", range(2))
def test_highs_finds_nothing_better_in_the_whole_box(seed: int) -> None:
    """Second truth: every count that the budget allows, one binary each, and the real terms of the objective."""
    rng = np.random.default_rng(seed)
    instance = zp.allocation(10.0 ** rng.uniform(-2.0, 0.0, 12), rng.integers(20, 40, 12).astype(float), 700.0)
    found = zp.solve_integer(instance)
    losses = [[-w * math.log1p(n) for n in range(int(700 // c) + 1)] for w, c in pairs(instance)]
    costs = [[c * n for n in range(int(700 // c) + 1)] for _, c in pairs(instance)]
    other = zp.solve(zp.choice(losses, costs, 700.0), "milp")
    assert found.optimal
    assert other.objective == pytest.approx(found.objective, rel=1e-9)
    assert found.objective <= other.objective + found.rounding
    assert zp.solve(zp.choice(losses, costs, 700.0)).objective == pytest.approx(found.objective, rel=1e-14)


def pairs(instance: zp.Instance) -> list[tuple[float, float]]:
    return list(zip(instance.weight.tolist(), instance.resource.tolist(), strict=True))


def test_rounding_is_bounded_by_interval_arithmetic() -> None:
    """The real terms, as fractions around 60 digits: how far a menu's losses are from them is within the bound."""
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 60
    instance = zp.allocation([0.3, 0.7, 0.123], [2.0, 3.0, 7.0], 90.0, alpha=1e-3)
    found = zp.solve_integer(instance)
    assert found.proof is not None
    menu, owner = found.proof.instance, found.proof.instance.owner.tolist()
    gamma = Fraction(instance.parameters["gamma"])
    far = [mp.mpf(0)] * 3
    for g, loss, cost in zip(owner, menu.losses.tolist(), menu.costs[:, 0].tolist(), strict=True):
        w, c = instance.weight[g], instance.resource[g]
        real = mp.mpf(1e-3) * mp.mpf(cost) - mp.mpf(gamma.numerator) / gamma.denominator * mp.mpf(w) * mp.log(
            1 + mp.mpf(cost) / mp.mpf(c)
        )
        far[g] = max(far[g], abs(real - mp.mpf(loss)))
    assert 0 < 2 * sum(far) <= found.rounding
