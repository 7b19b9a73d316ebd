"""Reports: nothing fetched, nothing injected, and every mark on a chart as high as its number."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import t as student

import zetaplan as zp
from tests.made import LAYERS, made_scores
from tests.reports.reading import Page, heights, html, markdown
from zetaplan._digits import at_most
from zetaplan.drift.cost import drift_sentence
from zetaplan.errors import SpecError
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.reports.baselines import baselines
from zetaplan.reports.charts import gain_chart, plan_chart
from zetaplan.reports.report import Report, render, write_report

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b`c`",
    "{{ 7 * 7 }}",
    "x\n\n# y",
    "</pre><b>",
)


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_the_page_fetches_nothing(plans: dict[str, Plan], program: str) -> None:
    text = html(plans[program])
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not {"src", "srcset", "href", "xlink:href", "action", "data", "poster"} & {
        name for name, _ in page.attributes
    }
    assert not re.search(r"url\(|@import|https?://|//[a-z]", text)


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_every_layer_is_told_in_both_files(plans: dict[str, Plan], program: str) -> None:
    plan = plans[program]
    for text in (html(plan), markdown(plan)):
        for name, value in zip(plan.names, plan.solution.x, strict=True):
            assert name in text
            assert f"{value:.4f}" in text
        for condition in plan.certificate.conditions:
            assert condition.meaning in text
        assert plan.document().sha256_ in text
        assert plan.document().scores_sha256 in text
        assert "zetaplan verify plan.json" in text
        assert "python -m zetaplan.verification.checker plan.json" in text
        assert "a proof in fractions" in text
        assert "certificate covers the convex program, not the task" in text
        assert ("gives no speed-up" in text) == (program == "pruning")


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_whole_units_are_told_in_both_files(plans: dict[str, Plan], program: str) -> None:
    plan = plans[program]
    total = f"{sum(plan.rounded.units):,}"
    for text in (html(plan), markdown(plan)):
        row = next(line for line in text.splitlines() if "in total" in line)
        assert total in row
        assert f"within {at_most(plan.rounded.gap)}" in text
        assert all(word in text for word in ("requested", "relaxed", "rounded", "achieved"))
    [relaxed, whole] = [Report(plan, "p").rows[2].amounts[i] for i in (1, 2)]
    assert (relaxed, whole) == (f"{plan.solution.x[2]:.4f}", f"{plan.rounded.units[2]:,}")


def test_light_and_dark_and_phones(plans: dict[str, Plan]) -> None:
    text = html(plans["pruning"])
    assert "@media (prefers-color-scheme: dark)" in text
    assert 'name="viewport"' in text
    assert not re.search(r'(fill|stroke|color)="', text), "colours belong to the style sheet, which knows the scheme"


def test_hostile_names_stay_text() -> None:
    scores = made_scores(
        names=HOSTILE, provenance={"model": HOSTILE[0], HOSTILE[1]: {"deep": HOSTILE[1]}, "data": HOSTILE[5]}
    )
    plan = prune(scores)
    page = Page(html(plan))
    assert not {"script", "img", "b"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name in HOSTILE:
        assert name in page.text
    text = markdown(plan)
    assert not {"script", "img", "b"} & set(Page(text).tags)
    table = text.split("## The plan")[1].split("## Comparison")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == LAYERS + 3
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {12}


def test_bars_are_as_high_as_their_numbers() -> None:
    x = [0.0, 1.5, 3.0, 7.25]
    drawn = heights(plan_chart(list("abcd"), x, 4.0, [None] * 4), "bar")
    np.testing.assert_allclose(drawn / drawn[3] * 7.25, x, atol=1e-3)


def test_the_noise_floor_and_the_rest_add_up_to_the_gain() -> None:
    gain, floor = np.array([0.9, 0.5, 0.2]), np.array([0.3, 0.5, 0.4])
    chart = gain_chart(list("abc"), gain.tolist(), floor.tolist(), None)
    pale, strong = heights(chart, "floor"), heights(chart, "bar")
    scale = (pale + strong)[0] / 0.9
    np.testing.assert_allclose(pale / scale, np.minimum(gain, floor), atol=1e-3)
    np.testing.assert_allclose(strong / scale, np.maximum(gain - floor, 0), atol=1e-3)


def test_whiskers_are_intervals_of_95_percent(plans: dict[str, Plan]) -> None:
    plan = plans["allocation"]
    scores = plan.scores
    assert scores.standard_error is not None
    freedom = int(scores.provenance["sequences"]) - 1
    low, high = student.interval(0.95, freedom, scores.gain, scores.standard_error)
    assert scores.half_widths() == pytest.approx((high - low) / 2)
    shown = Report(plan, "plan.json").gain_chart
    assert "95% interval" in shown
    assert str(shown).count('class="whisker"') == np.count_nonzero(high > low)


@pytest.mark.parametrize("top", [1e-9, 0.031, 0.9, 1.0, 10.15, 3e7])
def test_charts_fit_any_scale(top: float) -> None:
    chart = plan_chart(["a", "b"], [top, top / 2], top / 3, [None, top])
    root = ElementTree.fromstring(chart)  # noqa: S314  our own drawing
    places = [
        float(value.rstrip("%")) for part in root.iter() for key, value in part.items() if key in {"y", "y1", "y2"}
    ]
    assert min(places) >= 0
    assert max(places) <= 100
    tallest = heights(chart, "bar").max()
    assert 30 < tallest <= 82.001


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    assert heights(plan_chart(["a"], [0.0], 0.0, [None]), "bar").tolist() == [0.0]


def test_the_comparison_with_uniform_is_the_objective(plans: dict[str, Plan]) -> None:
    plan = plans["allocation"]
    w, x, m = plan.instance.weight, plan.solution.x, plan.uniform
    benefit, even = (w * np.log1p(x)).sum(), (w * np.log1p(m)).sum()
    assert Report(plan, "p").versus_uniform == f"{(benefit - even) / even:.2%}"
    assert Report(plan, "p").bounds == (int((x == 2).sum()), int((x == 8).sum()))


def test_no_comparison_where_uniform_is_not_allowed(plans: dict[str, Plan]) -> None:
    plan = allocate(plans["allocation"].scores, mean_rank=4, upper=[3.0, *[50.0] * 5])
    assert Report(plan, "p").versus_uniform is None
    assert "Objective of the program" not in html(plan)


def test_both_files_are_written_side_by_side(plans: dict[str, Plan], tmp_path: Path) -> None:
    written = write_report(plans["pruning"], tmp_path / "report.html", file="p.json")
    assert written == (tmp_path / "report.html", tmp_path / "report.md")
    assert all("verify p.json" in path.read_text(encoding="utf-8") for path in written)
    with pytest.raises(SpecError, match="expected a name for the HTML file"):
        write_report(plans["pruning"], tmp_path / "report.md")
    with pytest.raises(SpecError, match="cannot write"):
        write_report(plans["pruning"], "/dev/null/report.html")


def test_a_plan_of_the_gradient_norm_says_that_no_curvature_is_used() -> None:
    scores = made_scores(curvature="gradient", standard_error=None, damping=np.zeros(LAYERS))
    text = markdown(allocate(scores))
    assert "no curvature is used" in text
    assert "ranking depends on the damping" not in text
    assert "ranking depends on the damping" in markdown(allocate(made_scores()))
    assert "ζ² = gᵀ" not in text
    assert "ζ² = gᵀ(H + τI)⁻¹g" in markdown(allocate(made_scores()))


def test_the_chosen_point_lies_on_the_frontier(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        drawing = ElementTree.fromstring(Report(plan, "p").frontier_chart)  # noqa: S314  our own drawing
        segments = [
            [float(line.get(key, "").rstrip("%")) for key in ("x1", "y1", "x2", "y2")]
            for line in drawing.iter("line")
            if line.get("class") == "curve"
        ]
        [dot] = [
            tuple(float(circle.get(key, "").rstrip("%")) for key in ("cx", "cy")) for circle in drawing.iter("circle")
        ]
        [near] = [s for s in segments if s[0] <= dot[0] <= s[2]][:1]
        assert min(near[1], near[3]) - 0.1 <= dot[1] <= max(near[1], near[3]) + 0.1


def test_measured_falls_are_drawn_against_the_promise() -> None:
    falls = np.array([0.4, 0.1, 0.2, np.nan, -50.0, 0.1])
    plan = allocate(made_scores(decrease=falls, held_out_decrease=falls / 2))
    drawing = ElementTree.fromstring(Report(plan, "p").prediction_chart or "")  # noqa: S314  our own drawing
    dots = [circle for circle in drawing.iter("circle") if circle.get("class") == "here"]
    assert len(dots) == LAYERS - 1
    assert all(0 <= float((dot.get("cy") or "").rstrip("%")) <= 100 for dot in dots)
    assert "measured -50" in html(plan)
    assert "lowered the loss in 4 of 6 blocks" in markdown(plan)
    assert "zeta^2" not in html(plan)
    assert Report(allocate(made_scores()), "p").prediction_chart is None


def test_a_ranking_that_halves_of_the_text_contradict_is_warned_of() -> None:
    gain = np.arange(1.0, LAYERS + 1)
    plan = allocate(made_scores(cross_fitted=np.stack([gain, gain[::-1]], axis=1)))
    assert "do not agree at all" in html(plan)
    assert "do not agree" not in html(allocate(made_scores(cross_fitted=np.stack([gain, gain], axis=1))))


def test_modules_are_drawn_layer_by_module() -> None:
    parts = ("self_attn.q_proj", "mlp.down_proj")
    names = tuple(f"model.layers.{i}.{part}" for i in (0, 1, 11) for part in parts)
    plan = allocate(made_scores(names=names, blocks="modules"))
    report = Report(plan, "p")
    (gain_caption, gains), (_, ranks) = report.heat_charts["gain"], report.heat_charts["plan"]
    assert gain_caption.endswith(f"the darkest colour is {plan.instance.quality.max():.3g}")
    assert (report.title, report.block) == ("LoRA rank per linear", "linear")
    cells = [title.text for title in ElementTree.fromstring(gains).iter("title")]  # noqa: S314  our own drawing
    assert [(cell or "").split(":")[0] for cell in cells] == [
        f"{i} {p}" for i in (0, 1, 11) for p in ("q_proj", "down_proj")
    ]
    assert ranks.count("<rect") == LAYERS
    assert Report(allocate(made_scores()), "p").heat_charts == {}


def test_the_report_says_what_drift_can_cost(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        sentence = drift_sentence(plan.regret)
        assert sentence
        assert "no gain drifts by more than 10% of itself" in sentence
        assert sentence in markdown(plan)
        assert sentence in html(plan)


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_other_rules_keep_the_limit_and_come_no_further(plans: dict[str, Plan], program: str) -> None:
    plan, instance = plans[program], plans[program].instance
    uniform, gradient, depth = baselines(plan)
    for baseline in (uniform, gradient, depth):
        assert math.fsum(instance.resource * baseline.x) == pytest.approx(instance.limit)
        assert baseline.allowed
        assert baseline.behind is not None
        assert baseline.behind >= 0
        moved = math.fsum(instance.resource * np.abs(plan.solution.x - baseline.x)) / 2 / instance.limit
        assert baseline.elsewhere == pytest.approx(moved)  # what one layer loses another gains
        assert baseline.rule in html(plan).replace("&#39;", "'")
    assert uniform.x.tolist() == [plan.uniform] * LAYERS
    norms = zp.plan(replace(plan.scores, gain=plan.scores.gradient_norm**2), program=program, **asked(plan))
    np.testing.assert_allclose(gradient.x, norms.solution.x)
    quarters = zp.plan(replace(plan.scores, gain=np.array([2.0, 2, 4, 6, 6, 8])), program=program, **asked(plan))
    np.testing.assert_allclose(depth.x, quarters.solution.x)
    points = ElementTree.fromstring(Report(plan, "p").plan_chart).iter("circle")  # noqa: S314  our own drawing
    assert [point.get("class") for point in points] == ["gradient", "depth"] * LAYERS


def asked(plan: Plan) -> dict[str, object]:
    limit, box = plan.request.limit, plan.instance
    return {limit.kind: limit.value, "lower": box.lower, "upper": box.upper}


def test_rules_that_say_nothing_are_left_out() -> None:
    by_gradient = allocate(made_scores(curvature="gradient", noise_floor=None, cross_fitted=None), mean_rank=4)
    assert [baseline.kind for baseline in baselines(by_gradient)] == ["uniform", "depth"]
    grouped = allocate(made_scores(), mean_rank=4, groups=[["*.0", "*.5"]])
    assert [baseline.kind for baseline in baselines(grouped)] == ["uniform", "gradient"]
    capped = prune(made_scores(), sparsity=0.5, upper={"*": 0.8, "*.1": 0.3})
    assert not baselines(capped)[0].allowed
    assert "not allowed" in html(capped)


def test_experts_are_called_experts() -> None:
    plan = allocate(made_scores(), mean_rank=4, expert_rank=8)
    assert Report(plan, "p").title == "LoRA experts per layer"
    assert "In whole units (LoRA experts (of rank 8)" in html(plan)


def test_the_headline_is_the_measured_quality(plans: dict[str, Plan]) -> None:
    """The quality comes before the certificate, and the objective is not called a better model."""
    tried = {"kappa": 0.5, "loss": 2.9, "difference": -0.2, "low": -0.3, "high": -0.1}
    found = {"method": "wanda", "sparsity": 0.5, "upper": 0.8, "text_sha256": "0", "sequences": 8, "length": 64}
    scores = plans["pruning"].scores
    known = replace(scores, provenance={**scores.provenance, "exponent": {**found, "tried": [tried]}})
    measured = prune(known, sparsity=0.5)
    for plan, said in (
        (plans["allocation"], "Quality not measured on this model."),
        (plans["pruning"], "Quality not measured on this model."),
        (measured, "Measured: at 50% by wanda, the plan with kappa = 0.5 was better than uniform: -0.2000 nats"),
    ):
        for text in (html(plan), render(Report(plan, "p"), "report.md")):
            assert 0 < text.index(said) < text.lower().index("proved optimal for its program")
            assert "better than uniform" not in text.replace(said, "")
            assert "objective of the program" in text.lower()
