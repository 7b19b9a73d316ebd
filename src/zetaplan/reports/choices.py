"""The report of a choice: the option of every block, the frontier of all budgets, and the proof, in one file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from zetaplan._digits import at_most
from zetaplan.menus.low_rank import with_ranks
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.refined import sentence
from zetaplan.reports.charts import curve_chart
from zetaplan.reports.pages import HEX, write_pages
from zetaplan.reports.tables import with_unit
from zetaplan.solvers.menus.frontier import choice_frontier

if TYPE_CHECKING:
    from zetaplan.reports.formats import Formats


@dataclass(frozen=True)
class Row:
    """What the table says of one block."""

    name: str
    option: str
    loss: str
    costs: tuple[str, ...]
    options: int


@dataclass(frozen=True, eq=False)
class ChoiceReport:
    """What the templates show; every number comes from the plan. file : how the plan's own file is called."""

    plan: ChoicePlan
    file: str

    @property
    def quality(self) -> str:
        """The comparison of a refined plan with uniform, or that the quality was not measured."""
        found = sentence(self.plan)
        return f"Measured on {found}" if found else "Quality not measured on this model"

    @property
    def sources(self) -> str:
        """Date, model and estimator, with the beginning of the model's sha256."""
        menu, digest = self.plan.menu, self.plan.menu.provenance.get("model_sha256")
        model = menu.provenance.get("model")
        named = f"model {model}" + (f" (sha256 {str(digest)[:HEX]}…)" if digest else "") if model else ""
        estimator = f"losses by {menu.estimator}" if menu.estimator else ""
        return " · ".join(filter(None, (self.plan.created[:10], named, estimator)))

    @property
    def proved(self) -> str:
        if self.plan.optimal:
            return "Proved optimal: no choice within the budgets has a smaller total loss"
        return f"Proved: no choice within the budgets has a total loss smaller by more than {at_most(self.plan.gap)}"

    @cached_property
    def formats(self) -> Formats | None:
        """The formats of a plan that `zetaplan.quantize` made."""
        if self.plan.request.limit is None:
            return None
        from zetaplan.reports.formats import Formats  # loads torch

        return Formats(self.plan)

    @property
    def totals(self) -> tuple[str, ...]:
        """The total loss, and what is spent of every budget."""
        menu, columns = self.plan.menu, (self.plan.solution.spent, self.plan.request.budgets)
        rows = zip(menu.budgets, menu.units, *columns, strict=True)
        spent = (f"{name}: {used:,.10g} of {with_unit(budget, unit)}" for name, unit, used, budget in rows)
        formats = self.formats.totals if self.formats else ()
        return (f"total loss: {with_unit(self.plan.loss, menu.loss_unit)}", *spent, *formats)

    @property
    def asked(self) -> tuple[str, ...]:
        """What was fixed beforehand, in sentences."""
        request = self.plan.request
        pins = (f"{block} takes {option}" for block, option in request.pins.items())
        forbidden = (f"{block} does not take {', '.join(options)}" for block, options in request.forbid.items())
        groups = (f"{', '.join(group)} take the same option" for group in (*self.plan.menu.groups, *request.groups))
        return (*pins, *forbidden, *groups)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        menu = self.plan.menu
        columns = zip(with_ranks(self.plan).items(), menu.losses, menu.costs, self.plan.places, strict=True)
        return tuple(
            Row(name, option, f"{losses[j]:.4g}", tuple(f"{c:,.10g}" for c in costs[j]), len(losses))
            for (name, option), losses, costs, j in columns
        )

    @cached_property
    def chart(self) -> Markup | None:
        """The relaxation's loss for every budget, and the plan; nothing for several budgets, or where none matters."""
        if len(self.plan.menu.budgets) > 1:
            return None
        path = choice_frontier(self.plan.solution.instance)
        if path.budgets.size < 2:
            return None
        chosen = (self.plan.solution.spent[0], self.plan.loss)
        label = f"Least loss over the {self.plan.menu.budgets[0]}, and the plan's"
        presets = {p.name: (p.bytes, p.loss) for p in self.formats.presets} if self.formats else {}
        axes = tuple(
            f"{name}, {unit}" if unit else name
            for name, unit in ((self.plan.menu.budgets[0], self.plan.menu.units[0]), ("loss", self.plan.menu.loss_unit))
        )
        curve = path.budgets.tolist(), path.losses.tolist()
        return curve_chart(label, *curve, chosen, presets, axes=(axes[0], axes[1]))


def write_choice_report(plan: ChoicePlan, path: str | os.PathLike[str], *, file: str) -> tuple[Path, Path]:
    """Write the report as HTML to `path`, and as Markdown beside it. Raises SpecError if `path` cannot be written."""
    return write_pages(path, "choice", report=ChoiceReport(plan, file), plan=plan)
