"""Trade-off between limit and objective: the best plan for every budget, as a chart or a table.

The frontier has a closed form between its breakpoints (`zetaplan.solvers.frontier`), so many plans take no longer than
one plan.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zetaplan._files import canonical, write
from zetaplan.errors import SpecError
from zetaplan.plans.plan import Plan
from zetaplan.reports.baselines import uniform_objectives
from zetaplan.reports.charts import curve_chart
from zetaplan.reports.pages import rendered
from zetaplan.solvers.frontier import frontier
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.solution import Solution

STYLE = (
    "svg{font:11px sans-serif;background:#fff}text{fill:#5b6575}.grid{stroke:#e3e1da}.curve{stroke:#1f6f8b;"
    "stroke-width:2}.uniform{stroke:#c2410c;stroke-width:2;stroke-dasharray:6 4}.chosen{fill:#c2410c}"
)


@dataclass(frozen=True, eq=False)
class Tradeoff:
    """The optimal plans at N limits, in ascending order. plan : the plan marked in the chart."""

    plan: Plan
    points: tuple[Solution, ...]

    @property
    def instance(self) -> Instance:
        return self.plan.instance

    @cached_property
    def limits(self) -> Array:
        """(N,) budgets, or targets, in parameters."""
        return np.array([point.instance.limit for point in self.points])

    @cached_property
    def shares(self) -> Array:
        """(N,) limits as the uniform plan of the same resource: rank on every layer, or share removed."""
        return self.limits / float(self.instance.resource.sum())

    @cached_property
    def objectives(self) -> Array:
        """(N,) best objectives."""
        return np.array([point.objective for point in self.points])

    @cached_property
    def uniform(self) -> Array:
        """(N,) objectives of the uniform plans of the same resource, without floors and caps."""
        return np.array(uniform_objectives(self.points))

    @property
    def chart(self) -> str:
        """The curve as SVG, with CSS classes that the enclosing page defines."""
        chosen = self.instance.limit, self.plan.solution.objective
        label = f"Best objective over the {self.instance.program.limit_argument}, with uniform"
        axes = (f"{self.instance.program.limit_argument}, {self.plan.resource_unit}", "objective")
        uniform = self.uniform.tolist()
        return curve_chart(label, self.limits.tolist(), self.objectives.tolist(), chosen, axes=axes, uniform=uniform)

    def svg(self) -> str:
        """The curve as the text of a separate SVG file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="320"><style>{STYLE}</style>'
        return f"{head}<!-- zetaplan sweep -->{self.chart}</svg>\n"

    def csv(self) -> str:
        """One row per limit: limit, uniform plan of that limit, objectives, multiplier, then the layers."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["limit", "uniform", "objective", "objective_uniform", "multiplier", *self.plan.names])
        columns = (self.points, self.limits.tolist(), self.shares.tolist(), self.uniform.tolist())
        for point, limit, share, flat in zip(*columns, strict=True):
            table.writerow([limit, share, point.objective, flat, point.multiplier, *point.x.tolist()])
        return text.getvalue()

    def json(self) -> str:
        """The limits, objectives, multipliers and plans as JSON."""
        rows = [
            {"limit": p.instance.limit, "objective": p.objective, "multiplier": p.multiplier, "x": p.x.tolist()}
            for p in self.points
        ]
        return canonical(
            {
                "schema": "zetaplan.sweep/1",
                "program": self.instance.program.name,
                "names": list(self.plan.names),
                "points": rows,
            }
        )

    def html(self) -> str:
        """One self-contained page with the curve and the table."""
        return rendered("tradeoff.html", found=self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write an .html, .svg, .csv or .json file, by the suffix of the path. Raises SpecError for another suffix."""
        texts: dict[str, Callable[[], str]] = {
            ".html": self.html,
            ".svg": self.svg,
            ".csv": self.csv,
            ".json": self.json,
        }
        suffix = Path(path).suffix
        if suffix not in texts:
            raise SpecError(f"out = {path}: expected one of {', '.join(texts)}")
        return write(path, texts[suffix]())


def tradeoff(plan: Plan, low: float, high: float, points: int = 60) -> Tradeoff:
    """The optimal plans at evenly spaced limits, under the bounds and the scalar parameters of the plan.

    low, high : in units of the uniform plan (rank on every layer, or share removed), 0 <= low < high; points : >= 2.

    Raises SpecError for a bad range and InfeasibleError for a limit that the bounds do not admit.
    """
    if not (0 <= low < high and points >= 2):
        raise SpecError(f"from {low:g} to {high:g} in {points} points: expected 0 <= from < to and at least 2 points")
    path = frontier(plan.instance)
    total = float(plan.instance.resource.sum())
    return Tradeoff(plan, tuple(path.at(share * total) for share in np.linspace(low, high, points).tolist()))
