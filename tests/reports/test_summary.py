"""The top of a report, its intervals, and charts that can be read: names of axes, legends, outliers."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.made import LAYERS, made_scores
from tests.reports.reading import heights, html, markdown
from zetaplan._digits import percent
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.reports import summary
from zetaplan.reports.charts import ceiling, plan_chart
from zetaplan.reports.report import Report


def test_cards_are_in_whole_units(plans: dict[str, Plan]) -> None:
    ranks, shares = plans["allocation"], plans["pruning"]
    least, most = Report(ranks, "p").extremes
    assert [least.whole, most.whole] == [f"{ranks.ranks[row.name]}" for row in (least, most)]
    row = Report(shares, "p").extremes[1]
    assert row.whole == percent(shares.sparsity[row.name])
    for plan in plans.values():
        assert all(f"<dd>{row.whole}<small>" in html(plan) for row in Report(plan, "p").extremes)


def test_the_top_tells_sources_sizes_and_commands(plans: dict[str, Plan]) -> None:
    for kind, plan in plans.items():
        for text in (html(plan), markdown(plan)):
            top = text.split("The plan</h2>")[0].split("## What was measured")[0]
            assert plan.created[:10] in top
            assert f"zetaplan {plan.kind.words.command} scores.json" in top
            assert "zetaplan verify plan.json" in top
            assert ("--to peft" in top) == (kind == "allocation")
            assert ("zetaplan evaluate pruned" in top) == (kind == "pruning")
    known = {**plans["pruning"].scores.provenance, "model_sha256": "ab" * 32, "data": "a text"}
    plan = prune(replace(plans["pruning"].scores, provenance=known), sparsity=0.5)
    assert summary.sources(plan).endswith("model tiny (sha256 abababababab…) · data a text")
    before = int(plan.scores.linear_parameters.sum())
    assert f"{before:,} before, {before - sum(plan.rounded.units):,} other than zero after" in (
        summary.sizes(plan) or ""
    )
    assert summary.sizes(allocate(plan.scores, costs=3.0, budget=60.0)) is None


def test_layers_are_told_apart_by_their_intervals(plans: dict[str, Plan]) -> None:
    for error, apart in ((1e-6, 15), (10.0, 0)):
        plan = allocate(made_scores(standard_error=np.full(LAYERS, error)))
        assert f"{apart} of 15 pairs of layers can be told apart" in summary.told_apart(plan)
    assert "no intervals" in summary.told_apart(allocate(made_scores(standard_error=None, cross_fitted=None)))


def test_the_reliability_is_always_told() -> None:
    gain = np.arange(1.0, LAYERS + 1)
    agree = made_scores(cross_fitted=np.stack([gain, gain], axis=1))
    for scores, said in ((agree, "1.00, supported"), (made_scores(cross_fitted=None), "not measured")):
        for text in (html(allocate(scores)), markdown(allocate(scores))):
            assert f"Reliability of the ranking: {said}" in text


def test_no_legend_for_what_is_not_drawn() -> None:
    free, capped = allocate(made_scores()), allocate(made_scores(), upper=9)
    assert ('"key cap"' in html(free), '"key cap"' in html(capped)) == (False, True)
    bare = allocate(made_scores(noise_floor=None, standard_error=None, cross_fitted=None))
    assert "noise floor: the gain" in html(free)
    assert "noise floor: the gain" not in html(bare)


def test_one_outlier_does_not_press_the_others_down() -> None:
    values = [1.0, 0.8, 0.9, 0.7, 1.1, 60.0]
    chart = plan_chart(list("abcdef"), values, 1.0, [None] * 6, unit="rank")
    assert heights(chart, "bar")[0] > 30
    assert "↑ 60" in chart
    assert "↑" not in plan_chart(list("ab"), [1.0, 2.0], 1.0, [None] * 2)
    assert ceiling([0.0, 0.0, 5.0]) == 5.0


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_axes_have_names(plans: dict[str, Plan], program: str) -> None:
    plan = plans[program]
    report = Report(plan, "p")
    for chart, names in (
        (report.plan_chart, ("layer", plan.unit)),
        (report.gain_chart, ("layer", "gain")),
        (report.frontier_chart, (f"{plan.instance.program.limit_argument}, parameters", "objective")),
    ):
        texts = [text.text for text in ElementTree.fromstring(chart).iter("text")]  # noqa: S314  our own drawing
        assert set(names) <= set(texts)
