"""Report of a plan: the measurements, the plan, the proof and their limitations.

`report.html` is one self-contained file with style and charts. `report.md` is the same report in Markdown.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

from zetaplan._digits import percent
from zetaplan.errors import require
from zetaplan.plans.amounts import in_total, per_layer, shown
from zetaplan.plans.exponent import measured_quality
from zetaplan.plans.plan import Plan
from zetaplan.reports import summary, words
from zetaplan.reports.baselines import Baseline, baselines, uniform_objectives
from zetaplan.reports.charts import curve_chart, gain_chart, heat_chart, plan_chart, scatter_chart
from zetaplan.reports.pages import rendered, write_pages
from zetaplan.solvers.frontier import frontier

#: A linear of a decoder layer: the layer's number, and the module's own name.
LINEAR = re.compile(r".*?\.(\d+)\.(?:.*\.)?(\w+)")
CURVE = 60  # number of points of the frontier in the chart
CROWDED = 60  # largest number of layers for which the chart also shows the baselines


@dataclass(frozen=True)
class Row:
    """One row of the report's table, for one layer."""

    name: str
    gain: float
    error: float | None
    floor: float | None
    interval: tuple[float, float] | None
    value: float
    whole: str
    resource: float
    amounts: tuple[str, str, str, str]


@dataclass(frozen=True, eq=False)
class Report:
    """The data of the templates; every number comes from the plan."""

    plan: Plan
    file: str

    @property
    def title(self) -> str:
        return f"{self.plan.kind.words.title} per {self.block}"

    @property
    def block(self) -> str:
        """The block of a row in words: layer, linear or block."""
        return {"layers": "layer", "modules": "linear", "experts": "linear or expert"}.get(
            self.plan.scores.blocks, "block"
        )

    @property
    def total(self) -> tuple[str, str, str, str]:
        return shown(self.plan, in_total(self.plan), total=True)

    @cached_property
    def baselines(self) -> tuple[Baseline, ...]:
        """The baseline plans, uniform first."""
        return baselines(self.plan)

    @property
    def quality(self) -> str:
        """The measured quality of the pruned model, or that it was not measured."""
        measured = measured_quality(self.plan)
        return f"Measured: {measured}" if measured else "Quality not measured on this model"

    @property
    def versus_uniform(self) -> str | None:
        """Improvement of the objective over the uniform plan; None if that plan is not allowed or has objective 0."""
        behind = self.baselines[0].behind
        return None if behind is None else percent(behind)

    @property
    def bounds(self) -> tuple[int, int]:
        """The numbers of layers at their floor and at their cap."""
        x, instance = self.plan.solution.x, self.plan.instance
        return int((x <= instance.lower).sum()), int((x >= instance.upper).sum())

    @property
    def extremes(self) -> tuple[Row, Row]:
        """The layers with the smallest and the largest amount."""
        rows = sorted(self.rows, key=lambda row: row.value)
        return rows[0], rows[-1]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        scores, found = self.plan.scores, summary.intervals(self.plan)
        unknown = [None] * len(scores.names)
        columns = (
            self.plan.names,
            scores.gain.tolist(),
            unknown if scores.standard_error is None else scores.standard_error.tolist(),
            unknown if scores.noise_floor is None else scores.noise_floor.tolist(),
            unknown if found is None else list(zip(found.low.tolist(), found.high.tolist(), strict=True)),
            self.plan.solution.x.tolist(),
            [summary.whole(self.plan, k) for k in range(len(scores.names))],
            self.plan.instance.resource.tolist(),
            [shown(self.plan, amounts) for amounts in per_layer(self.plan).values()],
        )
        return tuple(Row(*row) for row in zip(*columns, strict=True))

    @property
    def gain_chart(self) -> Markup:
        gains, floors = [row.gain for row in self.rows], [row.floor or 0.0 for row in self.rows]
        return gain_chart(self.plan.names, gains, floors, self.half_widths)

    @cached_property
    def half_widths(self) -> list[float] | None:
        """Of the 95% interval of each gain alone; None where it is unknown."""
        found = self.plan.scores.half_widths()
        return None if found is None else found.tolist()

    @property
    def plan_chart(self) -> Markup:
        caps = [None if cap == math.inf else cap for cap in self.plan.instance.upper.tolist()]
        drawn = {baseline.kind: baseline.x.tolist() for baseline in self.baselines[1:]} if self.draws_baselines else {}
        x = [row.value for row in self.rows]
        return plan_chart(self.plan.names, x, self.plan.uniform, caps, drawn, self.plan.unit)

    @property
    def draws_caps(self) -> bool:
        """Whether a cap lies inside the chart."""
        return 'class="cap"' in self.plan_chart

    @property
    def draws_baselines(self) -> bool:
        """Whether the chart has room for the baselines."""
        return len(self.rows) <= CROWDED

    @property
    def frontier_chart(self) -> Markup:
        """The best objective for every limit up to three times the requested limit, with the chosen point."""
        instance = self.plan.instance
        least = math.fsum(instance.resource * instance.lower)
        most = min(math.fsum(instance.resource * instance.upper), 3 * instance.limit)
        limits = [least + (most - least) * i / CURVE for i in range(1, CURVE)]
        path = frontier(instance)
        chosen = (instance.limit, self.plan.solution.objective)
        label = f"Best objective over the {instance.program.limit_argument}, and the plan's"
        points = [path.at(limit) for limit in limits]
        axes = (f"{instance.program.limit_argument}, {self.plan.resource_unit}", "objective")
        best, even = [point.objective for point in points], uniform_objectives(points)
        return curve_chart(label, limits, best, chosen, axes=axes, uniform=even)

    @cached_property
    def prediction_chart(self) -> Markup | None:
        """Predicted against measured decreases of the loss; None if no steps were taken."""
        scores = self.plan.scores
        if scores.decrease is None or scores.held_out_decrease is None:
            return None
        falls = {"here": scores.decrease.tolist(), "elsewhere": scores.held_out_decrease.tolist()}
        label = "Decrease of the loss in nats: measured against the prediction, half the gain"
        return scatter_chart(label, scores.names, (scores.gain / 2).tolist(), falls)

    @cached_property
    def heat_charts(self) -> dict[str, tuple[str, Markup]]:
        """Caption and chart of the shares of the gain and of the plan, layer by module, for plans over modules."""
        places = [_place(name) for name in self.plan.names]
        if self.plan.scores.blocks != "modules" or None in places:
            return {}
        found = [place for place in places if place]
        rows, columns = (list(dict.fromkeys(place[i] for place in found)) for i in (0, 1))
        shown = {
            "gain": ("share of the gain", self.plan.instance.quality),
            "plan": (self.plan.unit, self.plan.solution.x),
        }
        return {
            kind: (
                f"{title}, layer by module: the darkest colour is {values.max():.3g}",
                heat_chart(title, rows, columns, dict(zip(found, values.tolist(), strict=True))),
            )
            for kind, (title, values) in shown.items()
        }


def _place(name: str) -> tuple[str, str] | None:
    """Layer and module of a linear, from its qualified name."""
    found = LINEAR.fullmatch(name)
    return (found[1], found[2]) if found else None


def write_report(plan: Plan, path: str | os.PathLike[str], *, file: str = "plan.json") -> tuple[Path, Path]:
    """Write the report of a plan as HTML to `path`, and as Markdown to the same path with the suffix .md.

    file : name of the plan's own file in "How to check". Raises SpecError if `path` cannot be written.

    Examples:
        >>> page, text = zp.write_report(zp.prune(scores, sparsity=0.5), "report.html")
        >>> page.name, text.name
        ('report.html', 'report.md')
    """
    require(plan, Plan, "plan", "give what zetaplan.allocate or zetaplan.prune returns")
    return write_pages(path, "report", report=Report(plan, file), plan=plan, words=words, summary=summary)


def render(report: Report, template: str) -> str:
    """The text of the report from one of its templates."""
    return rendered(template, report=report, plan=report.plan, words=words, summary=summary)
