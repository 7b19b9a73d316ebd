"""Published plans: what is claimed of them is true of plans whose scores are known."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from zetaplan.cli.app import app
from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.audit.published import PlanAudit, audit_plan

OPTIMAL = "Is it optimal for any scores at all?"
TARGET = "Is the target met?"


def published(tmp_path: Path, **changes: Any) -> Path:
    """A plan over powers of two, whose target is met exactly: quality 1 : 2 : 4 : 1, the last layer at its cap."""
    plan = {
        "program": "pruning",
        "sizes": [64.0, 64.0, 64.0, 64.0],
        "lower": [0.0] * 4,
        "upper": [1.0, 1.0, 1.0, 0.25],
        "sparsity": [0.5, 0.25, 0.125, 0.25],
        "target": 72.0,
        "bits": 0,
        "eta": 1,
        "multiplier_published": None,
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan | changes), "utf-8")
    return path


def finding(audit: PlanAudit, question: str) -> tuple[bool | None, str]:
    return next((found.holds, found.words) for found in audit.findings if found.question == question)


def test_a_sound_plan_is_optimal_for_the_scores_that_it_was_made_from(tmp_path: Path) -> None:
    (audit,) = audit_plan(published(tmp_path))
    assert not audit.negative
    assert finding(audit, TARGET) == (
        True,
        "it removes exactly as many parameters as the target requires, summed in fractions",
    )
    assert finding(audit, OPTIMAL)[0] is True
    assert audit.least_share == pytest.approx([1 / 9, 2 / 9, 4 / 9, 0.0])
    assert audit.largest_share == pytest.approx([1 / 7, 2 / 7, 4 / 7, 2 / 9])


def test_scores_within_the_intervals_give_the_plan_back_and_others_do_not(tmp_path: Path) -> None:
    (audit,) = audit_plan(published(tmp_path))
    rest = np.array([1.0, 2.0, 4.0, 2.0])  # the last layer at the most it may have
    for last, inside in ((2.0, True), (0.5, True), (0.0, True), (2.5, False)):
        quality = np.append(rest[:3], last)
        x = solve(pruning(quality, 64.0, target=72.0, upper=[1.0, 1.0, 1.0, 0.25])).x
        share = quality / quality.sum()
        fits = np.all((share >= np.array(audit.least_share) - 1e-12) & (share <= np.array(audit.largest_share) + 1e-12))
        assert fits == inside
        assert np.allclose(x, [0.5, 0.25, 0.125, 0.25], rtol=0, atol=1e-12) == inside


@pytest.mark.parametrize(("target", "missed"), [(72.0000001, "fewer"), (71.9999999, "more")])
def test_a_ten_millionth_of_a_parameter_is_seen(tmp_path: Path, target: float, missed: str) -> None:
    (audit,) = audit_plan(published(tmp_path, target=target))
    holds, words = finding(audit, TARGET)
    assert holds == (missed == "more")
    assert f"{abs(float(72 - Fraction(target))):.6g} parameters {missed}" in words
    assert finding(audit, OPTIMAL)[0] is False


@pytest.mark.parametrize(("relative", "material"), [(1e-12, False), (9e-10, False), (1.1e-9, True), (1e-6, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_deviation_below_the_tolerance_of_a_certificate_is_rounding(
    tmp_path: Path, relative: float, sign: int, material: bool
) -> None:
    (audit,) = audit_plan(published(tmp_path, target=72.0 * (1 + sign * relative)))
    holds, words = finding(audit, TARGET)
    assert words.startswith("yes, but for rounding: it removes ") is not material
    assert holds is (not material or sign < 0)
    assert finding(audit, OPTIMAL)[0] is not material
    assert audit.verdict.startswith("refused: " if material else "accepted: its target is met, but for rounding")


def test_the_verdict_is_the_first_reason_or_what_was_found(tmp_path: Path) -> None:
    (good,), (bad,) = audit_plan(published(tmp_path)), audit_plan(published(tmp_path, target=73.0))
    assert good.verdict == "accepted: its target is met, and it is optimal for some scores"
    assert bad.verdict == ("refused: it removes 1 parameters fewer than the target requires, summed in fractions")
    (counts,) = audit_plan(experts(tmp_path, a=(0.10, [5, 5])))
    assert counts.verdict.startswith("accepted: whether the budget is kept is not known")


def test_a_target_that_is_exceeded_has_no_price(tmp_path: Path) -> None:
    (audit,) = audit_plan(published(tmp_path, target=70.0, bits=16, multiplier_published=5.0))
    holds, words = finding(audit, OPTIMAL)
    assert holds is True
    assert "only where w_k = 16 n_k / (2 eta rho_k) itself" in words
    assert "the multiplier published with it is 5" in words


def test_scores_on_the_simplex_need_a_small_price(tmp_path: Path) -> None:
    question = "Could those scores be shares that sum to one, at bits = 16?"
    holds, words = finding(audit_plan(published(tmp_path, bits=16))[0], question)
    assert holds is None
    assert "at most 0.00223" in words  # 1 / (64 + 128 + 256)


def test_a_layer_that_keeps_everything_and_one_outside_its_box_are_named(tmp_path: Path) -> None:
    (audit,) = audit_plan(published(tmp_path, sparsity=[0.5, 0.375, 0.0, 0.3]))
    assert "outside at layers [3]" in finding(audit, "Is every layer inside its box?")[1]
    assert "layers [2] have sparsity 0" in finding(audit, OPTIMAL)[1]


def test_counts_that_greedy_allocation_chose_are_explained_by_its_scores(tmp_path: Path) -> None:
    quality = np.array([0.4, 0.3, 0.2, 0.1])
    counts = np.zeros(4, dtype=int)
    for _ in range(23):
        counts[np.argmax(quality * np.log((counts + 2.0) / (counts + 1.0)))] += 1
    (audit,) = audit_plan(experts(tmp_path, a=(0.23, counts.tolist())))
    assert np.all(np.array(audit.least_share) <= quality)
    assert np.all(quality <= np.array(audit.largest_share))
    assert max(audit.largest_share) < 0.5


def test_budgets_that_no_common_cost_explains_are_noted(tmp_path: Path) -> None:
    question = "Do all published plans use their budgets up at one common cost?"
    same = audit_plan(experts(tmp_path, a=(0.10, [5, 5]), b=(0.20, [10, 10])))
    other = audit_plan(experts(tmp_path, a=(0.10, [5, 5]), b=(0.30, [10, 10])))
    assert finding(same[0], question)[0] is True
    assert finding(other[1], question)[0] is None


def experts(tmp_path: Path, **plans: tuple[float, list[int]]) -> Path:
    path = tmp_path / "experts.json"
    rows = {name: {"budget_share": share, "experts": counts} for name, (share, counts) in plans.items()}
    path.write_text(json.dumps({"program": "allocation", "plans": rows}), "utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"program": "growing"}, r"is no published plan: .*; write program, sizes, sparsity and target for a pruning"),
        ({"schema": "zetaplan.plan/1", "program": None}, r"a plan of zetaplan, .* use zetaplan verify$"),
        ({"sizes": [1.0]}, "lower has 4 layers, sizes has 1"),
        ({"sparsity": [0.1, "half", 0.1, 0.1]}, r"sparsity\.1"),
        ({"sparsity": [-0.1, 0.1, 0.1, 0.1]}, "expected sizes above 0"),
        ({"target": math.inf}, "target"),
        ({"eta": 0}, "eta"),
    ],
)
def test_a_bad_plan_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        audit_plan(published(tmp_path, **changes))


def test_without_a_box_a_layer_may_lose_anything(tmp_path: Path) -> None:
    short, long = tmp_path / "short.json", tmp_path / "long.json"
    plan = {"program": "pruning", "sizes": [64.0, 64.0], "sparsity": [0.5, 0.25], "target": 48.0}
    short.write_text(json.dumps(plan), "utf-8")
    long.write_text(json.dumps(plan | {"lower": [0.0] * 2, "upper": [1.0] * 2, "bits": 0, "eta": 1}), "utf-8")
    (found,), (expected,) = audit_plan(short), audit_plan(long)
    assert found.findings == expected.findings
    assert not found.negative


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        audit_plan(tmp_path / "nothing.json")
    broken = tmp_path / "broken.json"
    for text in ("{", "[" * 100_000):
        broken.write_text(text, "utf-8")
        with pytest.raises(SpecError, match="is not a JSON file"):
            audit_plan(broken)


def test_the_plans_published_with_the_paper(shared_data: Path) -> None:
    folder = shared_data / "published_plans"
    (cola,) = audit_plan(folder / "mistral7b_cola_cap051.json")
    (commonq,) = audit_plan(folder / "mistral7b_commonq_caps.json")
    assert "but for rounding: it removes 0.0199904 parameters fewer" in finding(cola, TARGET)[1]
    assert "but for rounding: it removes 0.0644909 parameters more" in finding(commonq, TARGET)[1]
    for audit in (cola, commonq):  # of 3,489,660,928 parameters
        assert audit.verdict == "accepted: its target is met, but for rounding, and it is optimal for some scores"
        assert finding(audit, OPTIMAL)[0] is True
    assert len(audit_plan(folder / "mistral7b_experts.json")) == 5


def test_the_command_says_it_in_words_and_by_its_exit_status(tmp_path: Path) -> None:
    run = CliRunner()
    good = run.invoke(app, ["audit", "--plan", str(published(tmp_path))])
    assert good.exit_code == 0
    assert good.stdout.startswith("plan: accepted: its target is met, and it is optimal for some scores\n")
    assert "[yes] Is the target met?" in good.stdout
    bad = run.invoke(app, ["audit", "--json", "--plan", str(published(tmp_path, target=73.0))])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)[0]["findings"][0]["holds"] is False
