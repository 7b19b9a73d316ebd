"""From scores to plans: which gain, which resource, which limit; two truths per plan."""

from __future__ import annotations

import math

import numpy as np
import pytest

import zetaplan as zp
from tests.made import LAYERS, made_scores
from zetaplan.documents.verify import check
from zetaplan.errors import CertificateError, InfeasibleError, SpecError
from zetaplan.plans import planner as planning
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, plan, prune
from zetaplan.scoring import Scores


def test_ranks_follow_the_closed_form(scores: Scores) -> None:
    """Theorem 2 where no layer is at a bound: m_k = (B + C) w_k / (c_k W) - 1."""
    made = allocate(scores, mean_rank=40)
    costs, share = scores.rank_parameters, scores.gain / scores.gain.sum()
    budget = 40 * costs.sum()
    expected = (budget + costs.sum()) * share / costs - 1
    assert (expected > 0).all()
    np.testing.assert_allclose(made.solution.x, expected, rtol=1e-12)
    assert made.uniform == pytest.approx(40)


def test_sparsity_follows_the_closed_form(scores: Scores) -> None:
    """Theorem 3 with the exponent of the paper, where no layer is at a bound: rho_k is proportional to n_k / q_k."""
    made = prune(scores, sparsity=0.2, paper=True)
    sizes = scores.linear_parameters
    slope = sizes / scores.gain
    np.testing.assert_allclose(made.solution.x, slope * 0.2 * sizes.sum() / (sizes * slope).sum(), rtol=1e-12)
    assert made.solution.x.max() < 1


def test_a_plan_is_no_worse_than_any_neighbour(plans: dict[str, Plan]) -> None:
    """Second truth: moving a little resource from one layer to another never helps."""
    for made in plans.values():
        instance, x, best = made.instance, made.solution.x, made.solution.objective
        for giver in range(LAYERS):
            for taker in range(LAYERS):
                moved = x.copy()
                moved[giver] -= 1e-3 / instance.resource[giver]
                moved[taker] += 1e-3 / instance.resource[taker]
                if ((instance.lower <= moved) & (moved <= instance.upper)).all():
                    assert zp.Solution(instance, moved, 0.0).objective >= best - 1e-12 * abs(best)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 8 * 375),
        ({"mean_rank": 2.5}, 2.5 * 375),
        ({"budget": 1234}, 1234),
        ({"budget": "1234"}, 1234),
        ({"budget": "2%"}, 0.02 * 6150),
        ({"budget": " 2.5 %"}, 0.025 * 6150),
    ],
)
def test_budgets(options: dict[str, float | str], limit: float, scores: Scores) -> None:
    made = allocate(scores, **options)  # type: ignore[arg-type]
    assert made.instance.limit == pytest.approx(limit, rel=1e-15)
    assert made.instance.resource @ made.solution.x == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "limit"), [({}, 0.5 * 5505), ({"sparsity": 0.3}, 0.3 * 5505), ({"target": 99}, 99)]
)
def test_targets(options: dict[str, float], limit: float, scores: Scores) -> None:
    made = prune(scores, **options)  # type: ignore[arg-type]
    assert made.instance.limit == pytest.approx(limit, rel=1e-15)
    assert made.instance.resource @ made.solution.x == pytest.approx(limit, rel=1e-12)


def test_costs_may_be_given(scores: Scores) -> None:
    made = allocate(scores, mean_rank=4, costs=2.0)
    assert made.instance.resource.tolist() == [2.0] * LAYERS
    assert made.instance.limit == 4 * 2.0 * LAYERS
    assert (made.request.resource, made.resource_unit) == ("given", "given by the caller")


def test_net_gain_counts_what_lies_above_the_floor(scores: Scores) -> None:
    assert scores.counted("net") == pytest.approx([0.6, 0.2, 0.35, 1 / 3 - 0.1, 0.5, 0.0])
    made = allocate(scores, mean_rank=40, gain="net")
    assert made.solution.x[-1] == 0
    assert made.request.gain == "net"


def test_the_umbrella_is_the_planner_itself(scores: Scores) -> None:
    ranks = plan(scores, program="allocation", mean_rank=3)
    assert ranks.solution.x.tolist() == allocate(scores, mean_rank=3).solution.x.tolist()
    assert plan(scores, program="pruning").unit.startswith("sparsity")
    with pytest.raises(SpecError, match="program = 'other': no kind of plan solves it"):
        plan(scores, program="other")  # type: ignore[arg-type]


def test_noise_is_reported_when_it_is_most_of_the_gain() -> None:
    quiet, loud = made_scores(noise_floor=np.full(LAYERS, 0.01)), made_scores(noise_floor=np.full(LAYERS, 0.9))
    assert quiet.noise_share == pytest.approx(0.06 / quiet.gain.sum())
    assert loud.noise_share == pytest.approx(1.0)
    assert allocate(quiet).warnings == ()
    assert allocate(loud).warnings[0].startswith("100% of the total gain is noise floor")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 5, "mean_rank": 3}, "budget and mean_rank: give one of the two"),
        ({"budget": "lots"}, "budget: expected a number, such as 1500000, 1.5M or 2B, got 'lots'"),
        ({"budget": -1}, "budget = -1.0: expected a finite number, at least 0"),
        ({"mean_rank": math.nan}, "mean_rank = nan: expected a finite number"),
        ({"budget": math.inf}, "budget = inf: expected a finite number"),
        ({"lower": 9, "upper": 8}, r"layers\.0: lower = 9 and upper = 8 admit no common value"),
        ({"gain": "other"}, "gain: Input should be 'raw', 'net' or 'unbiased'"),
        ({"method": "guess"}, "method = 'guess': expected one of"),
    ],
)
def test_bad_requests_are_refused(options: dict[str, object], message: str, scores: Scores) -> None:
    with pytest.raises(SpecError, match=message):
        allocate(scores, **options)  # type: ignore[arg-type]


def test_impossible_requests_are_refused(scores: Scores) -> None:
    with pytest.raises(InfeasibleError, match="the box requires at least"):
        allocate(scores, mean_rank=4, lower=5.0)
    with pytest.raises(InfeasibleError, match="the caps allow"):
        prune(scores, sparsity=0.7, upper=0.6)
    with pytest.raises(SpecError, match="sparsity and target: give one of the two"):
        prune(scores, sparsity=0.7, target=5)


def test_a_solution_that_does_not_verify_makes_no_plan(scores: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(instance: zp.Instance, method: str) -> zp.Solution:
        return zp.Solution(instance, np.ones(LAYERS), 0.0, method=method)

    monkeypatch.setattr(planning, "solve", wrong)
    with pytest.raises(CertificateError, match=r"the solution by 'exact' fails .*stationarity"):
        allocate(scores)


def test_certify_answers_in_doubles_or_in_fractions(plans: dict[str, Plan]) -> None:
    plan = plans["allocation"]
    assert isinstance(zp.certify(plan.instance, plan.solution), zp.Certificate)
    exact = zp.certify(plan.instance, plan.solution, exact=True)
    assert isinstance(exact, zp.ExactCertificate)
    assert exact.valid
    assert exact.document is not None
    assert zp.check_certificate(exact.document).program == "allocation"


def test_wishes_by_name_are_kept(scores: Scores) -> None:
    wanted = {"lower": {"*.1": 2, "*": 0.5}, "upper": {"model.layers.0": 9.5}, "pins": {"*.3": 4, "*.5": 1}}
    made = allocate(scores, mean_rank=8, **wanted)  # type: ignore[arg-type]
    assert made.instance.lower.tolist() == [0.5, 2, 0.5, 4, 0.5, 1]
    assert made.instance.upper.tolist() == [9.5, math.inf, math.inf, 4, math.inf, 1]
    assert made.solution.x[3] == 4
    same = allocate(scores, mean_rank=8, lower=made.instance.lower, upper=made.instance.upper)
    np.testing.assert_array_equal(made.solution.x, same.solution.x)


@pytest.mark.parametrize(
    "made", [{"program": "allocation", "mean_rank": 12}, {"program": "pruning", "sparsity": 0.2, "kappa": 1}]
)
def test_a_group_is_the_plan_under_equality(scores: Scores, made: dict[str, object]) -> None:
    """Second truth: tie the variables in the original program, and search the tied plans by hand.

    Gains add up, and so do their weights in the objective if kappa = 1.
    """
    groups = [["*.1", "*.4"], ["model.layers.2", "model.layers.3"]]
    tied = plan(scores, **made, groups=groups)  # type: ignore[arg-type]
    assert tied.names[1:3] == ("model.layers.1+model.layers.4", "model.layers.2+model.layers.3")
    free = plan(scores, **made)  # type: ignore[arg-type]
    of = {part: x for name, x in zip(tied.names, tied.solution.x, strict=True) for part in name.split("+")}
    spread = np.array([of[name] for name in scores.names])
    assert spread @ free.instance.resource == pytest.approx(free.instance.limit, rel=1e-12)
    best = zp.Solution(free.instance, spread, 0.0).objective
    members = [[0], [1, 4], [2, 3], [5]]
    costs = np.array([free.instance.resource[group].sum() for group in members])
    for giver in range(4):
        for taker in range(4):
            moved = spread.copy()
            moved[members[giver]] -= 1e-3 / costs[giver]
            moved[members[taker]] += 1e-3 / costs[taker]
            assert zp.Solution(free.instance, moved, 0.0).objective >= best - 1e-12 * abs(best)


def test_a_plan_with_groups_verifies(scores: Scores) -> None:
    made = allocate(scores, mean_rank=8, groups=[["*.0", "*.5"]], pins={"*.0": 6})
    assert check(made.document()).valid
    assert made.solution.x[0] == 6
    assert made.document().scores.provenance["tied"] == [["model.layers.0", "model.layers.5"]]


def test_experts_have_a_floor_and_their_own_price(scores: Scores) -> None:
    made = allocate(scores, mean_rank=3, expert_rank=8)
    assert made.instance.resource.tolist() == (8 * scores.rank_parameters).tolist()
    assert made.rounded.units.min() >= 1
    assert made.rounded.used <= 3 * 8 * scores.rank_parameters.sum()
    assert made.unit == made.whole_unit == "LoRA experts (of rank 8)"
    assert check(made.document()).valid
    assert made.document().rounded.unit == made.unit
    with pytest.raises(SpecError, match="expert_rank: Input should be greater than or equal to 1"):
        allocate(scores, expert_rank=0)
    with pytest.raises(SpecError, match="top_k"):
        allocate(scores, expert_rank=8, top_k=0)
    with pytest.raises(InfeasibleError, match=r"in conflict with it: lower = 1 \(every layer needs experts\)$"):
        allocate(scores, mean_rank=0.5, expert_rank=8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"pins": {"model.layer.3": 4}},
            r"pins\['model\.layer\.3'\]: no layer has this name; the closest is 'model\.l",
        ),
        ({"groups": [["*.1"], ["*"]]}, r"model\.layers\.1 is in more than one of them"),
        ({"groups": ["*.1"]}, r"expected lists of names, got '\*\.1'"),
        (
            {"upper": {"*": 5}, "pins": {"*.2": 6}},
            r"layers\.2: pins\['\*\.2'\] = 6 and upper\['\*'\] = 5 admit no common value",
        ),
        ({"pins": {"*.2": math.nan}}, r"pins\['\*\.2'\] = nan: expected a number"),
        ({"lower": -1}, r"lower\[0\] = -1: expected a finite number of at least 0"),
        ({"lower": [1, 2]}, r"lower: expected one number, 6 of them or numbers by name"),
    ],
)
def test_wishes_that_make_no_sense(scores: Scores, options: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        allocate(scores, mean_rank=4, **options)  # type: ignore[arg-type]


def test_only_the_wishes_that_conflict_are_named(scores: Scores) -> None:
    floors = {"*.0": 3, "*.1": 3, "*.2": 60, "*.3": 1}
    with pytest.raises(InfeasibleError, match=r"in conflict with it: lower\['\*\.2'\] = 60, pins\['\*\.4'\] = 50$"):
        allocate(scores, mean_rank=12, lower=floors, pins={"*.4": 50})  # 12 * 375 = 4500 < 60 * 62 + 50 * 64
    with pytest.raises(InfeasibleError, match=r"in conflict with it: upper\['\*'\] = 0\.4$"):
        prune(scores, sparsity=0.5, upper={"*": 0.4, "*.1": 0.2})


def test_wishes_that_leave_no_whole_ranks_are_named_too(scores: Scores) -> None:
    with pytest.raises(InfeasibleError, match=r"no multiple of 4 .* in conflict with it: pins\['\*\.1'\] = 5$"):
        allocate(scores, mean_rank=8, step=4, pins={"*.1": 5, "*.2": 8}, upper=40)
    floors = {"*.0": 9, "*.1": 1}  # 16 * 60 + 8 * 61 = 1448
    with pytest.raises(InfeasibleError, match=r"rounded up to whole units, need 1448.* with it: lower\['\*\.0'\] = 9$"):
        allocate(scores, budget=900, step=8, lower=floors)


def test_a_plan_says_when_its_limit_decides_nothing(scores: Scores) -> None:
    capped = allocate(scores, mean_rank=8, upper=4)
    spare = 4 * scores.rank_parameters.sum()
    assert f"every layer is at its cap: {spare:,} parameters of the budget are left over" in capped.warnings
    floored = prune(scores, sparsity=0.5, lower=0.6)
    assert any(warning.startswith("every layer is at its floor") for warning in floored.warnings)
    nothing = allocate(scores, mean_rank=0.5, step=16)
    assert any("does not pay for a step of 16 anywhere" in warning for warning in nothing.warnings)
    for made in (capped, floored, nothing):
        assert check(made.document()).valid
    assert not any("every layer" in warning for warning in allocate(scores, mean_rank=8).warnings)
