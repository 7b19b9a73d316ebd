"""The exponent of a plan of sparsity: where it comes from, and what a command says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zetaplan.documents.convert import load_scores, save_scores
from zetaplan.errors import SpecError
from zetaplan.plans.exponent import KEY, UNMEASURED, exponent_warning, measured_exponent, measured_quality
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import Scores

AGAINST = {"worse": (0.2, 0.1, 0.3), "even": (-0.1, -0.3, 0.1), "better": (-0.2, -0.3, -0.1)}


def tried(kappa: float, loss: float, against: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> dict[str, float]:
    return dict(kappa=kappa, loss=loss, **dict(zip(("difference", "low", "high"), against, strict=True)))


def facts(*rows: dict[str, float], **changes: Any) -> dict[str, Any]:
    made = {"method": "wanda", "sparsity": 0.5, "upper": 0.8, "text_sha256": "0", "sequences": 8, "length": 64}
    return {**made, "tried": list(rows or [tried(0.0, 3.0)]), **changes}


def keeping(scores: Scores, found: object) -> Scores:
    return replace(scores, provenance={**scores.provenance, KEY: found})


def kappa_of(scores: Scores, **options: Any) -> float:
    return prune(scores, sparsity=0.2, **options).instance.parameters["kappa"]


def test_an_exponent_that_is_given_is_taken(scores: Scores) -> None:
    measured = keeping(scores, facts(tried(0.0, 3.0), tried(0.5, 2.5)))
    assert kappa_of(measured, kappa=2) == 2
    assert kappa_of(measured, kappa=0) == 0
    assert kappa_of(measured, paper=True) == kappa_of(scores, paper=True) == 1


def test_the_best_that_was_measured_is_the_default(scores: Scores) -> None:
    assert kappa_of(scores) == UNMEASURED == 0.25
    rows = (tried(0.0, 3.0), tried(0.25, 2.8), tried(0.5, 2.5), tried(1.0, 3.5))
    assert kappa_of(keeping(scores, facts(*rows))) == 0.5
    assert kappa_of(keeping(scores, facts(tried(0.0, 2.0), *rows[1:]))) == 0  # uniform may be the best
    assert kappa_of(keeping(scores, facts(tried(0.0, 2.0), tried(1.0, 2.0)))) == 0  # of equal losses the first


def test_kappa_and_paper_together_are_refused(scores: Scores) -> None:
    with pytest.raises(SpecError, match=r"^kappa = 0\.5 and paper: give one of the two, not both$"):
        prune(scores, sparsity=0.2, kappa=0.5, paper=True)


def test_an_exponent_that_was_not_tried_is_called_unmeasured(scores: Scores) -> None:
    told = "no plan with kappa = 0.25 was measured on this model, so it may be worse than uniform"
    for known in (scores, keeping(scores, facts(tried(0.0, 3.0), tried(1.0, 2.0, AGAINST["better"])))):
        plan = prune(known, sparsity=0.2, kappa=0.25)
        said = exponent_warning(plan)
        assert said is not None
        assert said.startswith(told)
        assert "zetaplan calibrate MODEL --scores SCORES" in said
        assert said in plan.warnings
        assert measured_quality(plan) is None


@pytest.mark.parametrize(("case", "verdict"), [("worse", "worse than"), ("even", "not measurably better than")])
def test_a_plan_that_is_not_better_is_warned_of_with_the_remedy(scores: Scores, case: str, verdict: str) -> None:
    mean, low, high = AGAINST[case]
    plan = prune(keeping(scores, facts(tried(0.0, 3.0), tried(0.5, 2.9, AGAINST[case]))), sparsity=0.2, kappa=0.5)
    quality = measured_quality(plan)
    assert quality == (
        f"at 50% by wanda, the plan with kappa = 0.5 was {verdict} uniform: {mean:+.4f} nats per token "
        f"(95% interval {low:+.4f} to {high:+.4f})"
    )
    assert exponent_warning(plan) == f"{quality}; take kappa = 0"


@pytest.mark.parametrize("high", [0.0, 1e-9])
def test_an_interval_that_reaches_zero_is_no_improvement(scores: Scores, high: float) -> None:
    found = facts(tried(0.0, 3.0), tried(0.5, 2.9, (-0.1, -0.2, high)))
    assert "not measurably better" in str(exponent_warning(prune(keeping(scores, found), sparsity=0.2)))


def test_nothing_is_said_of_a_better_plan_of_uniform_and_of_ranks(scores: Scores) -> None:
    better = keeping(scores, facts(tried(0.0, 3.0), tried(0.5, 2.9, AGAINST["better"])))
    assert exponent_warning(prune(better, sparsity=0.2)) is None
    assert "was better than uniform: -0.2000" in str(measured_quality(prune(better, sparsity=0.2)))
    for known in (scores, better):
        assert exponent_warning(prune(known, sparsity=0.2, kappa=0)) is None
        assert exponent_warning(allocate(known, mean_rank=4)) is None
    assert measured_quality(allocate(better, mean_rank=4)) is None


@pytest.mark.parametrize(
    ("found", "place"),
    [
        ("none", "exponent"),
        ({"method": "wanda"}, r"exponent\.sparsity"),
        (facts(tried=[]), r"exponent\.tried"),
        (facts(tried(-1.0, 3.0)), r"exponent\.tried\.0\.kappa"),
        (facts(tried(0.0, 3.0), more=1), r"exponent\.more"),
    ],
)
def test_a_broken_measurement_is_refused_in_one_line(scores: Scores, found: object, place: str) -> None:
    with pytest.raises(SpecError, match=rf"^scores: provenance\.{place}.*; calibrate again$") as told:
        prune(keeping(scores, found), sparsity=0.2)
    assert "\n" not in str(told.value)


def test_a_file_keeps_the_measurement(scores: Scores, tmp_path: Path) -> None:
    known = keeping(scores, facts(tried(0.0, 3.0), tried(0.5, 1 / 3, AGAINST["better"])))
    again = load_scores(save_scores(known, tmp_path / "measured.json"))
    assert measured_exponent(again) == measured_exponent(known)
    assert kappa_of(again) == 0.5
