"""A sweep over budgets: every point is the plan that one would get there alone, and all come at once."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.made import made_scores
from zetaplan.cli.app import app
from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.plans.planner import allocate, prune
from zetaplan.reports.tradeoff import tradeoff
from zetaplan.scoring import Scores


def test_every_point_is_the_plan_of_its_own_budget(scores: Scores) -> None:
    found = tradeoff(allocate(scores, mean_rank=5, lower=1, upper=20), 2, 12, 11)
    for point, rank in zip(found.points, found.shares, strict=True):
        alone = allocate(scores, mean_rank=rank, lower=1, upper=20)
        np.testing.assert_allclose(point.x, alone.solution.x, rtol=1e-12)
        assert point.multiplier == pytest.approx(alone.solution.multiplier, rel=1e-12)


def test_the_curve_is_convex_and_no_worse_than_uniform(scores: Scores) -> None:
    for plan, low, high in ((allocate(scores), 0.5, 30), (prune(scores), 0.05, 0.95)):
        found = tradeoff(plan, low, high)
        assert (np.diff(found.objectives, 2) >= -1e-12 * np.abs(found.objectives).max()).all()
        assert (found.objectives <= found.uniform + 1e-12 * np.abs(found.uniform)).all()
        slopes = np.diff(found.objectives) / np.diff(found.limits)
        prices = np.array([point.multiplier for point in found.points]) * -plan.instance.program.sign
        between = np.sort([prices[:-1], prices[1:]], axis=0)
        assert ((between[0] - 1e-9 <= slopes) & (slopes <= between[1] + 1e-9)).all()


def test_the_files_hold_what_was_found(scores: Scores, tmp_path: Path) -> None:
    found = tradeoff(prune(scores, sparsity=0.5, upper=0.9), 0.1, 0.8, 8)
    rows = list(csv.DictReader(io.StringIO(found.save(tmp_path / "s.csv").read_text())))
    assert [float(row["objective"]) for row in rows] == found.objectives.tolist()
    assert [float(row["model.layers.3"]) for row in rows] == [point.x[3] for point in found.points]
    points = json.loads(found.save(tmp_path / "s.json").read_text())["points"]
    assert [point["limit"] for point in points] == found.limits.tolist()
    drawn = found.save(tmp_path / "s.svg").read_text()
    assert drawn.count("<circle") == 1
    assert drawn.count('class="curve"') == 7
    page = found.save(tmp_path / "s.html").read_text()
    assert page.count("<tr>") == 9
    assert "<svg" in page
    assert "http" not in page
    with pytest.raises(SpecError, match=r"expected one of \.html, \.svg, \.csv, \.json"):
        found.save(tmp_path / "s.png")


def test_the_sweep_marks_the_plan_that_was_asked_for_and_draws_uniform(scores_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep.html"
    arguments = ["sweep", str(scores_file), "--from", "2", "--to", "20", "--at", "5", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    page = out.read_text()
    assert "LoRA rank 5 on every layer" in page
    assert page.count('<line class="uniform"') == 59
    assert "parameters</text>" in page


def test_bad_ranges_are_refused(scores: Scores) -> None:
    plan = allocate(scores, mean_rank=5, lower=2)
    with pytest.raises(SpecError, match="expected 0 <= from < to"):
        tradeoff(plan, 5, 5)
    with pytest.raises(InfeasibleError, match="the box requires at least"):
        tradeoff(plan, 1, 5)


def test_a_hundred_layers_and_budgets_in_a_second() -> None:
    k = np.arange(100)
    one, counts = np.ones(100), 1000 + k
    columns = dict.fromkeys(("gain", "low", "high"), 1.0 + k % 7)
    columns |= dict.fromkeys(("gradient_norm", "standard_error", "effective_dimension", "damping"), one)
    sizes = dict.fromkeys(("parameters", "linear_parameters", "rank_parameters"), counts)
    names = tuple(f"model.layers.{i}" for i in k)
    scores = made_scores(names=names, noise_floor=None, cross_fitted=None, **columns, **sizes)
    plan = allocate(scores)
    start = time.process_time()
    tradeoff(plan, 1, 32, 100).html()
    assert time.process_time() - start < 1.0


def test_the_command(scores_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep.svg"
    options = ["--program", "pruning", "--from", "0.1", "--to", "0.7", "--upper", "0.8", "--points", "5"]
    done = CliRunner().invoke(app, ["sweep", str(scores_file), *options, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["limits"]) == 5
    assert out.read_text().startswith("<svg xmlns")
