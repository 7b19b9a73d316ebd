"""What drift costs a plan: the intervals, the sentence of a report, and `zetaplan regret`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t
from typer.testing import CliRunner, Result

import zetaplan as zp
from tests.made import LAYERS, made_scores
from zetaplan.cli.app import app
from zetaplan.documents.convert import save_scores
from zetaplan.drift import cost as costs
from zetaplan.drift import intervals as between
from zetaplan.drift.cost import Cost, drift_sentence
from zetaplan.drift.intervals import Intervals
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import Scores
from zetaplan.spec.instance import with_quality
from zetaplan.spec.solution import Solution


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["regret", *(str(argument) for argument in arguments)])


def reversed_scores() -> Scores:
    return made_scores(gain=made_scores().gain[::-1].copy())


def cost_on(plan: Plan, scores: Scores) -> Cost:
    return costs.cost_on(plan.solution, plan.names, scores.counted(plan.request.gain))


def cost_over(plan: Plan, where: Intervals) -> Cost:
    return costs.cost_over(plan.solution, plan.names, where)


def drifted(plan: Plan, drift: float) -> Intervals:
    return between.expected_intervals(plan.scores, plan.request.gain, drift)


def measured(plan: Plan, confidence: float = between.CONFIDENCE) -> Intervals | None:
    return between.measured_intervals(plan.scores, plan.request.gain, confidence)


def enclosed(plan: Plan) -> Intervals | None:
    return between.enclosure_intervals(plan.scores, plan.request.gain)


def true_share(plan: Plan, gains: np.ndarray) -> float:
    """The regret on known gains as a share of the best objective, by cvxpy."""
    instance = with_quality(plan.instance, gains)
    best = zp.solve(instance, method="cvxpy").objective
    return (Solution(instance, plan.solution.x, 0.0).objective - best) / abs(best)


@pytest.fixture
def other_file(tmp_path: Path) -> Path:
    return save_scores(reversed_scores(), tmp_path / "other.json")


def test_the_cost_on_other_scores_is_exact(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        cost = cost_on(plan, reversed_scores())
        assert cost.share == pytest.approx(true_share(plan, reversed_scores().gain), rel=1e-5)
        assert cost.shares.sum() == pytest.approx(1.0)
        assert cost_on(plan, plan.scores).share <= 1e-12


def test_no_drift_inside_the_intervals_costs_more(plans: dict[str, Plan]) -> None:
    rng = np.random.default_rng(0)
    for plan in plans.values():
        for intervals in (drifted(plan, 0.2), measured(plan)):
            assert intervals is not None
            cost = cost_over(plan, intervals)
            worst = max(true_share(plan, rng.uniform(intervals.low, intervals.high)) for _ in range(10))
            assert worst <= cost.share + 1e-6
            assert not cost.exact


def test_sampling_intervals_hold_for_all_layers_at_once() -> None:
    scores = made_scores(low=made_scores().gain - 0.01, high=made_scores().gain + 0.02)
    intervals = measured(allocate(scores), confidence=0.9)
    assert intervals is not None
    spread = t.isf(0.05 / LAYERS, 31) * scores.standard_error
    assert intervals.low == pytest.approx(np.maximum(scores.low - spread, 0.0))
    assert intervals.high == pytest.approx(scores.high + spread)
    assert "32 sequences" in intervals.meaning
    assert "90% confidence" in intervals.meaning


def enclosed_scores() -> Scores:
    """By a surrogate that is evaluated step by step: an enclosure, and nothing that is known of noise."""
    gain = made_scores().gain
    unknown = {"noise_floor": None, "standard_error": None, "cross_fitted": None, "effective_dimension": None}
    return made_scores(low=0.8 * gain, high=1.1 * gain, curvature="ggn", **unknown)


def test_an_enclosure_is_stated_by_itself(tmp_path: Path) -> None:
    """Without errors of sampling the enclosure is what the scores say; with them it is stated besides."""
    scores = enclosed_scores()
    plan = allocate(scores, mean_rank=4)
    intervals = enclosed(plan)
    assert intervals is not None
    assert intervals.low.tolist() == scores.low.tolist()
    assert intervals.high.tolist() == scores.high.tolist()
    assert [cost.source for cost in plan.regret] == ["enclosure", "drift"]
    sentence = drift_sentence(plan.regret)
    assert sentence is not None
    assert sentence.startswith("If the gains by ggn are where its enclosure puts them, the plan loses at most ")
    file = plan.save(tmp_path / "plan.json")
    assert "where its enclosure puts them" in run(file).stdout
    assert "ggn scores have no standard error" in run(file, "--confidence", 0.9).stderr
    sampled = allocate(made_scores(low=scores.low, high=scores.high))
    assert [cost.source for cost in sampled.regret] == ["enclosure", "sampling", "drift"]
    exact = allocate(made_scores())
    assert enclosed(exact) is None
    assert enclosed(allocate(made_scores(low=scores.low), gain="unbiased")) is None


def test_an_enclosure_of_net_gains_is_net_of_the_floor() -> None:
    gain = made_scores().gain
    plan = allocate(made_scores(low=0.9 * gain, high=1.1 * gain), gain="net")
    intervals = enclosed(plan)
    assert intervals is not None
    assert intervals.low == pytest.approx(np.maximum(0.9 * gain - plan.scores.noise_floor, 0.0))


def test_a_plan_states_what_its_own_drift_costs(tmp_path: Path) -> None:
    """In the file: from sampling with its confidence, from the drift asked about, and what each layer adds."""
    plan = prune(made_scores(), sparsity=0.5, upper=0.6, drift=0.2)
    sampling, expected = json.loads(plan.save(tmp_path / "plan.json").read_text())["regret"]
    assert (sampling["source"], sampling["amount"]) == ("sampling", 0.95)
    assert (expected["source"], expected["amount"]) == ("drift", 0.2)
    assert expected["assumption"] == "no gain drifts by more than 20% of itself"
    assert expected["share"] == cost_over(plan, drifted(plan, 0.2)).share
    assert len(expected["layers"]) == LAYERS
    assert sum(expected["layers"]) == pytest.approx(expected["share"], rel=0.5)


@pytest.mark.parametrize("command", ["allocate", "prune"])
def test_the_drift_that_a_command_asks_about(command: str, tmp_path: Path) -> None:
    scores, plan = save_scores(made_scores(), tmp_path / "scores.json"), tmp_path / "plan.json"
    made = CliRunner().invoke(app, [command, str(scores), "--drift", "0.2", "--out", str(plan)])
    assert "If no gain drifts by more than 20% of itself, the plan loses at most " in made.stdout
    assert zp.load_plan(plan).request.drift == 0.2
    refused = CliRunner().invoke(app, [command, str(scores), "--drift", "1.5"])
    assert refused.exit_code == 2
    assert refused.stderr.startswith("zetaplan: drift = 1.5: expected a share of every gain, above 0 and below 1")


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_drift_that_is_none_is_refused(share: float) -> None:
    for planner in (allocate, prune):
        with pytest.raises(zp.SpecError, match=f"drift = {share}: expected a share of every gain, above 0 and below 1"):
            planner(made_scores(), drift=share)


def test_the_intervals_are_of_the_gain_that_counts() -> None:
    scores = made_scores()
    raw, net, halves = (measured(allocate(scores, gain=gain)) for gain in ("raw", "net", "unbiased"))
    assert raw is not None
    assert net is not None
    assert halves is not None
    assert net.high == pytest.approx(np.maximum(raw.high - scores.noise_floor, 0.0))
    assert halves.low.tolist() == [0.6, 0.2, 0.4, 0.3, 0.5, 0.0]
    assert halves.high.tolist() == [0.7, 0.3, 0.5, 0.35, 0.6, 0.0]


def test_scores_without_errors_say_nothing_of_sampling() -> None:
    plan = allocate(made_scores(standard_error=None))
    assert measured(plan) is None
    sentence = drift_sentence(plan.regret)
    assert sentence is not None
    assert sentence.startswith("If no gain drifts by more than 10% of itself, the plan loses at most ")


def test_the_sentence_of_a_report(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        sentence = drift_sentence(plan.regret)
        assert sentence is not None
        sampling, expected = sentence.split(". ")
        assert re.search(
            r"32 sequences .* 95% confidence, the plan loses at most [\d.]+% of the best objective", sampling
        )
        assert re.search(r"\d+% of that by model\.layers\.\d, ", expected)


def test_where_nothing_is_proved_it_says_so() -> None:
    cost = Cost(("a",), math.inf, np.zeros(1), "the sky falls", "drift")
    assert str(cost) == "If the sky falls, no bound on the regret of the plan is proved"
    much = Cost(("a",), 23.21, np.ones(1), "the sky falls", "drift")
    assert str(much) == "If the sky falls, the plan loses at most 2,322% of the best objective, 100% of that by a"
    assert not cost.shares.any()


def test_an_empty_plan_has_nothing_to_lose() -> None:
    assert drift_sentence(prune(made_scores(), sparsity=0.0).regret) is None


def test_regret_on_other_scores(plan_file: Path, other_file: Path, plans: dict[str, Plan]) -> None:
    result = run(plan_file, "--scores", other_file)
    assert result.exit_code == 0
    assert "the plan loses " in result.stdout
    facts = json.loads(run(plan_file, "--scores", other_file, "--json").stdout)
    assert facts["strength"] == "exact"
    assert facts["regret"] == cost_on(plans["allocation"], reversed_scores()).share
    assert list(facts["layers"]) == list(plans["allocation"].names)


def test_regret_at_most(plan_file: Path) -> None:
    for options in (("--drift", 0.1), ("--confidence", 0.99), ()):
        facts = json.loads(run(plan_file, *options, "--json").stdout)
        assert facts["strength"] == "upper bound"
        assert 0 < facts["regret"] < 0.05
    assert "loses at most" in run(plan_file, "--drift", 0.1).stdout
    assert run(plan_file, "--quiet").stdout == ""


def test_a_tolerance_is_a_verdict(plan_file: Path, other_file: Path) -> None:
    assert run(plan_file, "--drift", 0.1, "--tolerance", 0.05).exit_code == 0
    refused = run(plan_file, "--scores", other_file, "--tolerance", 0.05)
    assert refused.exit_code == 1
    assert "loses" in refused.stderr
    assert "the tolerance is 5% of it" in refused.stderr


def test_scores_of_other_blocks_are_refused(plan_file: Path, tmp_path: Path) -> None:
    other = save_scores(made_scores(names=tuple("abcdef")), tmp_path / "blocks.json")
    assert "expected the 6 blocks of the plan" in run(plan_file, "--scores", other).stderr


def test_help_has_an_example() -> None:
    assert "Example: zetaplan regret plan.json" in " ".join(run("--help").stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--drift", 1.0), "drift = 1.0: expected a share of every gain"),
        (("--drift", -0.1), "drift = -0.1"),
        (("--confidence", 1.0), "confidence = 1.0: expected a probability between 0 and 1"),
        (("--drift", 0.1, "--confidence", 0.9), "give one of the three"),
        (("--tolerance", -1), "tolerance = -1: expected a share of the best objective"),
    ],
)
def test_bad_options_are_one_line(plan_file: Path, options: tuple[object, ...], message: str) -> None:
    result = run(plan_file, *options)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert message in line


def test_scores_that_say_nothing_ask_for_more(tmp_path: Path) -> None:
    file = allocate(made_scores(standard_error=None)).save(tmp_path / "p.json")
    assert "give --scores or --drift" in run(file).stderr
